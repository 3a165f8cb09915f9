//! Requests: the head, the sender, the application's decision, and the body. A replay decodes the
//! body again.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use bytestring::ByteString;

use super::Problem;
use super::line::Line;
use super::words::Words;
use crate::server::{Admission, Peer, Request};
use crate::{Config, http};

/// The parameters of a query that a short transcript shows. They determine the kind of the request.
const SHOWN_PARAMETERS: [&str; 5] = ["EIO", "transport", "j", "b64", "jsonp"];

/// Writes a request: `GET "target" 1 peer plain admission prepared body headers`.
pub(super) fn put_request(line: &mut Line<'_>, request: &Request) {
    let Request {
        http, peer, admission, ..
    } = request;
    line.word(http.method.name().unwrap_or("OTHER"));
    match line.is_full() {
        true => line.payload(http.target.as_bytes()),
        false => line.name(&short_target(http)),
    };
    line.word(http.version_minor).optional_word(peer.address);
    line.flag(peer.secure, "tls", "plain");
    match admission {
        Admission::NotAsked => line.word("not-asked"),
        Admission::Allowed => line.word("allowed"),
        Admission::Refused(message) => line.word("refused").payload(message.as_bytes()),
    };
    match request.prepared() {
        Some(handshake) => line.word("prepared").time(handshake.issued),
        None => line.word("unprepared"),
    };
    match &http.body {
        Ok(body) => {
            line.flag(request.packets.is_empty(), "body", "decoded");
            line.payload(body)
        }
        Err(_) => line.word("too-large"),
    };
    line.word(http.headers.len());
    if line.is_full() {
        for (name, value) in http.headers.iter() {
            line.payload(name.as_bytes()).payload(value);
        }
    }
}

/// The path, and the parameters that determine the kind of the request. Ids are left out, as in
/// every name.
fn short_target(request: &http::Request) -> String {
    let mut target = String::from(request.path());
    let mut before = '?';
    for pair in request.query().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if SHOWN_PARAMETERS.contains(&name) {
            target.push(before);
            target.push_str(pair);
            before = '&';
        }
    }
    target
}

/// Reads a request, in the form in which a shard with this config gets it.
pub(super) fn request(words: &mut Words<'_>, config: &Config) -> Result<Request, Problem> {
    let method = http::Method::from_name(words.word("a method")?);
    let target = words.text("a target")?;
    let version_minor = words.number("a version of HTTP")?;
    let address: Option<SocketAddr> = words.optional_number("an address")?;
    let secure = words.flag("tls or plain", "tls", "plain")?;
    let admission = match words.word("what the application said")? {
        "not-asked" => Admission::NotAsked,
        "allowed" => Admission::Allowed,
        "refused" => Admission::Refused(words.text("a message")?),
        _ => return Err(Problem::Invalid("what the application said")),
    };
    let prepared = match words.flag("prepared or unprepared", "prepared", "unprepared")? {
        true => Some(words.time("a time")?),
        false => None,
    };
    let (body, is_decoded) = body(words)?;
    let http = http::Request {
        method,
        target,
        version_minor,
        headers: headers(words)?,
        body,
    };
    let mut request = Request::new(config, http, Peer { address, secure }).admission(admission);
    if is_decoded {
        request.decode_body(config);
    }
    if let Some(issued) = prepared {
        request.prepare(config, issued);
    }
    Ok(request)
}

type Body = Result<Bytes, http::BodyTooLarge>;

fn body(words: &mut Words<'_>) -> Result<(Body, bool), Problem> {
    let (body, is_decoded) = match words.word("a body")? {
        "body" => (words.bytes("a body")?, false),
        "decoded" => (words.bytes("a body")?, true),
        "too-large" => return Ok((Err(http::BodyTooLarge), false)),
        _ => return Err(Problem::Invalid("a body")),
    };
    Ok((Ok(body), is_decoded))
}

fn headers(words: &mut Words<'_>) -> Result<http::Headers, Problem> {
    let count = words.count("header fields")?;
    let fields = (0..count).map(|_| Ok((words.text("a name")?, words.bytes("a value")?)));
    let fields: Vec<(ByteString, Bytes)> = fields.collect::<Result<_, Problem>>()?;
    Ok(fields.iter().map(|(name, value)| (&**name, &**value)).collect())
}
