//! The facts about a refused request, for the application.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::stranger::{Said, printable, without_path};
use super::{Peer, Request};
use crate::http;

/// A request that was answered with an error instead of a session: the `connection_error` of
/// genuine servers (docs/protocol/engine-io.md §4.5).
///
/// Its texts come from a stranger. Each text has at most 131 characters and no control characters,
/// so that it can be logged. Ids of sessions are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionError {
    /// The status of the answer.
    pub status: u16,
    /// The error code of Engine.IO, 0 to 5. `None` in the older generations, and if the server had
    /// no room.
    pub code: Option<u8>,
    /// The message that the client got.
    pub message: String,
    /// The fault, and the setting that decides about it, if this is more than the message says.
    pub context: Option<&'static str>,
    /// The method of the request.
    pub method: http::Method,
    /// The path, without the query.
    pub path: String,
    /// The value of `Origin`. For a script without `Origin`, the value of `Referer`.
    pub origin: Option<String>,
    /// The host that the request names.
    pub host: Option<String>,
    /// The value of `User-Agent`.
    pub user_agent: Option<String>,
    /// The sender of the request.
    pub peer: Peer,
}

/// The content of an answer that refuses a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusing<'a> {
    pub(crate) status: u16,
    pub(crate) code: Option<u8>,
    pub(crate) message: &'a [u8],
    pub(crate) context: Option<&'static str>,
}

impl ConnectionError {
    pub(crate) fn new(request: &Request, refusing: Refusing<'_>) -> Box<Self> {
        let http = &request.http;
        let said = Said::of(http);
        let path = format!("{:?}", http::Shown(http.path()));
        let path = path.trim_matches('"');
        Box::new(Self {
            status: refusing.status,
            code: refusing.code,
            message: shortened(refusing.message),
            context: refusing.context,
            method: http.method,
            path: printable(path.as_bytes()),
            origin: said.origin.or_else(|| said.referer.map(without_path)).map(printable),
            host: said.host.map(|host| printable(host.as_bytes())),
            user_agent: http.headers.get("user-agent").map(shortened),
            peer: request.peer,
        })
    }
}

/// Like [`printable`], but keeps blanks.
fn shortened(text: &[u8]) -> String {
    let mut words = text.split(|byte| *byte == b' ').map(printable);
    let mut all = words.next().unwrap_or_default();
    for word in words {
        step!(bulk word.len());
        if all.len().saturating_add(word.len()) > 127 {
            all.push_str("...");
            break;
        }
        all.push(' ');
        all.push_str(&word);
    }
    all
}
