//! The exchange before the first packet: the answer to `GET /socket.io/1/`
//! (docs/protocol/legacy-0.9.md §2).
//!
//! ```text
//! sid ":" heartbeat ":" close ":" transports      f2OB-Gs9-F9dtPdjA7X9:60:60:websocket,htmlfile,xhr-polling
//! ```
//!
//! If the request has `jsonp=`, the body is wrapped in a script, see
//! [`transports`](crate::legacy::transports).

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use crate::digits::put_decimal;
use crate::legacy::lengths::take_decimal;
use crate::legacy::transports::Transport;

/// Body of a refusal because of `Origin` (status 403).
pub const BAD_ORIGIN: &str = "handshake bad origin";
/// Body of a refusal by the application (status 403).
pub const UNAUTHORIZED: &str = "handshake unauthorized";
/// Body of the answer if the application fails to decide (status 500).
pub const ERROR: &str = "handshake error";
/// Body of the answer to a protocol segment other than `1` (status 500).
pub const UNKNOWN_PROTOCOL: &str = "Protocol version not supported.";
/// Body of the answer to a request that names neither a session nor a transport (status 200).
pub const WELCOME: &str = "Welcome to socket.io.";

/// A longer id is refused.
const MAX_SID_BYTES: usize = 256;

/// The body of a successful handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The session id, without `:` and `/`.
    pub sid: ByteString,
    /// How long the server waits for a heartbeat, in seconds. Old clients use it as their own
    /// timeout for the server, so it is never 0. For a session without heartbeats, use a day.
    pub heartbeat_seconds: Option<u32>,
    /// How long the server keeps a session without a connection, in seconds; never 0.
    pub close_seconds: Option<u32>,
    /// The transports that the server offers, in its order of preference. The list is never empty,
    /// because 0.7 and 0.8 clients would not connect.
    pub transports: Vec<Transport>,
}

/// Why a 200 answer is no handshake. It probably comes from another kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The body does not have four fields.
    #[error("not a handshake")]
    Shape,
    /// The id is empty, too long, or would not survive in a URL.
    #[error("invalid session id")]
    InvalidSid,
    /// A time is not a number.
    #[error("invalid timeout")]
    InvalidTimeout,
}

impl Handshake {
    /// Appends the body. Absent times and zero are written as a day, because clients read an empty
    /// time or 0 as "at once".
    pub fn encode(&self, out: &mut BytesMut) {
        const DAY: u32 = 86_400;
        debug_assert!(!self.sid.contains([':', '/']), "fields are separated by colons");
        debug_assert!(!self.transports.is_empty(), "0.7 clients need a transport");
        out.put_slice(self.sid.as_bytes());
        for seconds in [self.heartbeat_seconds, self.close_seconds] {
            out.put_u8(b':');
            put_decimal(seconds.filter(|&s| s > 0).unwrap_or(DAY).into(), out);
        }
        for (n, transport) in self.transports.iter().enumerate() {
            out.put_u8(if n == 0 { b':' } else { b',' });
            out.put_slice(transport.name().as_bytes());
        }
    }

    /// Reads a body. Unknown transports are left out. An empty time is `None`.
    ///
    /// # Errors
    ///
    /// Says why the body is no handshake.
    pub fn decode(body: &ByteString) -> Result<Self, HandshakeError> {
        let mut fields = body.split(':');
        let mut field = || fields.next().ok_or(HandshakeError::Shape);
        let (sid, heartbeat, close, transports) = (field()?, field()?, field()?, field()?);
        let url_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        if sid.is_empty() || sid.len() > MAX_SID_BYTES || !sid.bytes().all(url_safe) {
            return Err(HandshakeError::InvalidSid);
        }
        Ok(Self {
            sid: body.slice_ref(sid),
            heartbeat_seconds: decode_seconds(heartbeat)?,
            close_seconds: decode_seconds(close)?,
            transports: decode_transports(transports),
        })
    }
}

fn decode_seconds(field: &str) -> Result<Option<u32>, HandshakeError> {
    if field.is_empty() {
        return Ok(None);
    }
    match take_decimal(field.as_bytes(), 10) {
        Some((seconds, digits)) if digits == field.len() => Ok(Some(u32::try_from(seconds).unwrap_or(u32::MAX))),
        _ => Err(HandshakeError::InvalidTimeout),
    }
}

/// The known names of the list, each once, so that a server cannot make the list long.
fn decode_transports(field: &str) -> Vec<Transport> {
    let mut transports = Vec::new();
    for transport in field.split(',').filter_map(Transport::parse) {
        if !transports.contains(&transport) {
            transports.push(transport);
        }
    }
    transports
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn captured() -> Handshake {
        Handshake {
            sid: "f2OB-Gs9-F9dtPdjA7X9".into(),
            heartbeat_seconds: Some(60),
            close_seconds: Some(60),
            transports: [
                Transport::Websocket,
                Transport::Htmlfile,
                Transport::XhrPolling,
                Transport::JsonpPolling,
            ]
            .into(),
        }
    }

    #[test]
    fn the_captured_body() {
        let body = "f2OB-Gs9-F9dtPdjA7X9:60:60:websocket,htmlfile,xhr-polling,jsonp-polling";
        assert_eq!(Handshake::decode(&body.into()), Ok(captured()));
        let mut out = BytesMut::new();
        captured().encode(&mut out);
        assert_eq!(out, body.as_bytes());
    }

    #[test]
    fn times_are_never_empty_or_zero() {
        let mut out = BytesMut::new();
        Handshake {
            heartbeat_seconds: None,
            close_seconds: Some(0),
            transports: [Transport::XhrPolling].into(),
            ..captured()
        }
        .encode(&mut out);
        assert_eq!(out, &b"f2OB-Gs9-F9dtPdjA7X9:86400:86400:xhr-polling"[..]);
    }

    #[test]
    fn foreign_bodies() {
        for (body, error) in [
            (WELCOME, HandshakeError::Shape),
            ("", HandshakeError::Shape),
            ("a:1:2", HandshakeError::Shape),
            (":1:2:websocket", HandshakeError::InvalidSid),
            ("a/b:1:2:websocket", HandshakeError::InvalidSid),
            ("a b:1:2:websocket", HandshakeError::InvalidSid),
            ("a:x:2:websocket", HandshakeError::InvalidTimeout),
            ("a:1:-2:websocket", HandshakeError::InvalidTimeout),
        ] {
            assert_eq!(Handshake::decode(&body.into()), Err(error), "{body}");
        }
        let odd = Handshake::decode(&"1:::websocket,constructor,websocket".into()).unwrap();
        assert_eq!((odd.heartbeat_seconds, odd.close_seconds), (None, None));
        assert_eq!(odd.transports, [Transport::Websocket]);
    }

    proptest! {
        #[test]
        fn never_panics(body in "[a-z0-9:,/-]{0,30}", any in any::<String>()) {
            let _ = Handshake::decode(&body.into());
            let _ = Handshake::decode(&any.into());
        }
    }
}
