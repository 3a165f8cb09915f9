//! What is remembered of the request that opened a session.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::Request;
use crate::detect::Transport;
use crate::{Time, http, json};

/// Who is at the other end of a link, as far as the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The remote address, where there is one.
    pub address: Option<SocketAddr>,
    /// Whether the link is encrypted.
    pub secure: bool,
}

impl Peer {
    /// The network that one client is taken to come from: an address of version 4, or the first 64 bits of one of version 6, of which a host has
    /// many and changes them.
    pub(crate) fn network(&self) -> Option<IpAddr> {
        Some(match self.address?.ip().to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            version_4 @ IpAddr::V4(_) => version_4,
        })
    }
}

/// A value of the caller's own that comes with a request, such as what the middleware of a web framework has found out about it.
pub type Extension = Arc<dyn Any + Send + Sync>;

/// Which generation of the wire a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// Plain messages, in whatever codec: Socket.IO 0.6 and before.
    Legacy06,
    /// The `/1/` wire of Socket.IO 0.7 to 0.9.
    Legacy09,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x.
    Engine3,
    /// Engine.IO 4: Socket.IO 3.x and 4.x.
    Engine4,
}

impl Generation {
    /// The releases that speak it, for people: `"0.6"`, `"1.x-2.x"`, `"4.x"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy06 => "0.6",
            Self::Legacy09 => "0.7-0.9",
            Self::Engine3 => "1.x-2.x",
            Self::Engine4 => "4.x",
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a session's packets travel at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Long polling. Sessions of Engine.IO count here if they poll with JSONP, too: to them it is one transport.
    Polling,
    /// Polling by scripts, in the generations that give it a name of its own: 0.6 to 0.9.
    JsonpPolling,
    /// An endless page of scripts, 0.6 to 0.9.
    Htmlfile,
    /// An endless multipart answer, 0.6.
    XhrMultipart,
    /// A websocket, of RFC 6455 or older. Sessions of Engine.IO count here if Flash speaks it, too.
    WebSocket,
    /// A websocket spoken by Flash, 0.6 to 0.9.
    Flashsocket,
}

impl TransportKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Polling,
        Self::JsonpPolling,
        Self::Htmlfile,
        Self::XhrMultipart,
        Self::WebSocket,
        Self::Flashsocket,
    ];

    /// As operators name it: `"polling"`, `"jsonp-polling"`, `"htmlfile"`, `"xhr-multipart"`, `"websocket"`, `"flashsocket"`. Of sessions of
    /// Engine.IO it is `"polling"` or `"websocket"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::JsonpPolling => "jsonp-polling",
            Self::Htmlfile => "htmlfile",
            Self::XhrMultipart => "xhr-multipart",
            Self::WebSocket => "websocket",
            Self::Flashsocket => "flashsocket",
        }
    }

    /// Whether each answer takes one request, so that between two of them there is no way to the client.
    pub(crate) const fn is_polling(self) -> bool {
        matches!(self, Self::Polling | Self::JsonpPolling)
    }
}

/// The other way round: of several that are one kind, that of the same name.
impl From<TransportKind> for Transport {
    fn from(kind: TransportKind) -> Self {
        match kind {
            TransportKind::Polling => Self::XhrPolling,
            TransportKind::JsonpPolling => Self::JsonpPolling,
            TransportKind::Htmlfile => Self::Htmlfile,
            TransportKind::XhrMultipart => Self::XhrMultipart,
            TransportKind::WebSocket => Self::Websocket,
            TransportKind::Flashsocket => Self::Flashsocket,
        }
    }
}

impl From<Transport> for TransportKind {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::XhrPolling => Self::Polling,
            Transport::JsonpPolling => Self::JsonpPolling,
            Transport::Htmlfile => Self::Htmlfile,
            Transport::XhrMultipart => Self::XhrMultipart,
            Transport::Websocket => Self::WebSocket,
            Transport::Flashsocket => Self::Flashsocket,
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The request that opened a session: target and headers, copied out of the receive buffer into one allocation so that an
/// idle session does not keep the buffer alive.
pub struct Handshake {
    text: Box<str>,
    /// Ends of the target, then of each header's name and value, as offsets into `text`.
    ends: Box<[u32]>,
    /// Who sent it.
    pub peer: Peer,
    /// When it came.
    pub issued: Time,
    /// What the caller had to say of it beside the request.
    pub extension: Option<Extension>,
}

impl Handshake {
    /// Copies what is kept of `request`.
    #[must_use]
    pub fn new(request: &Request, issued: Time) -> Self {
        let Request {
            http, peer, extension, ..
        } = request;
        let mut text = String::with_capacity(http.target.len() + 64);
        let mut ends = Vec::new();
        text.push_str(&http.target);
        ends.push(text.len() as u32);
        for (name, value) in http.headers.iter() {
            let Ok(value) = core::str::from_utf8(value) else {
                continue;
            };
            text.push_str(name);
            ends.push(text.len() as u32);
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        Self {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            peer: *peer,
            issued,
            extension: extension.clone(),
        }
    }

    /// The request target as it came: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.text[..self.ends[0] as usize]
    }

    /// The raw query, without the `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The decoded value of the query's last pair with this key.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<String> {
        http::Query::new(self.query())
            .get(key)
            .map(alloc::borrow::Cow::into_owned)
    }

    /// The value of the first header with this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers whose values are UTF-8, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends.windows(3).step_by(2).map(|w| {
            let [start, middle, end] = [w[0] as usize, w[1] as usize, w[2] as usize];
            (&self.text[start..middle], &self.text[middle..end])
        })
    }
}

/// The pairs of raw queries as one JSON object, without the keys that are the protocol's own; `None` if nothing is left. Of equal keys the
/// last one counts.
pub(crate) fn query_object(queries: &[&str], without: &[&str]) -> Option<ByteString> {
    let mut pairs = BTreeMap::new();
    for query in queries {
        for (key, value) in http::Query::new(*query).iter() {
            if !without.contains(&&*key) {
                pairs.insert(key.into_owned(), value.into_owned());
            }
        }
    }
    if pairs.is_empty() {
        return None;
    }
    let mut object = BytesMut::new();
    for (key, value) in &pairs {
        object.put_u8(if object.is_empty() { b'{' } else { b',' });
        json::write_string(&mut object, key);
        object.put_u8(b':');
        json::write_string(&mut object, value);
    }
    object.put_u8(b'}');
    ByteString::try_from(object.freeze()).ok()
}

impl fmt::Debug for Handshake {
    /// The path and the peer; headers and query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target().split('?').next().unwrap_or_default();
        f.debug_struct("Handshake")
            .field("path", &http::Shown(path))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
