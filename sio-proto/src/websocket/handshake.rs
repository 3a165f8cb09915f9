//! The opening handshake (RFC 6455 §4) of both ends, as functions of header values.
//!
//! ```text
//! GET /chat HTTP/1.1                              HTTP/1.1 101 Switching Protocols
//! Host: server.example.com                        Upgrade: websocket
//! Upgrade: websocket                     --->     Connection: Upgrade
//! Connection: Upgrade                             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//! Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
//! Sec-WebSocket-Version: 13
//! ```
//!
//! This module does not know HTTP. Callers pass the values of a few headers, without the white
//! space around them. If a header came on several lines, the caller passes its values joined with
//! `", "`. Extensions are not negotiated, so a server leaves `Sec-WebSocket-Extensions` out of its
//! answer. Versions 8 and 7 (the drafts of 2011) have the same handshake and the same frames as 13.

use alloc::string::String;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

/// The versions that [`UpgradeRequest::accept`] accepts, as a `Sec-WebSocket-Version` header lists
/// them.
pub const SUPPORTED_VERSIONS: &str = "13, 8, 7";

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key is a nonce that nobody decodes, so unused bits at its end may be set. The reference server
/// permits this too.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The parts of a request that a server checks.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpgradeRequest<'a> {
    /// The method of the request line.
    pub method: &'a str,
    /// The digit after `HTTP/1.` in the request line.
    pub http_minor: u8,
    /// `Upgrade`.
    pub upgrade: Option<&'a str>,
    /// `Connection`.
    pub connection: Option<&'a str>,
    /// `Sec-WebSocket-Key`.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a str>,
}

/// The answer of a server that accepts a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    accept: [u8; 28],
    version: u8,
}

impl Accept {
    /// The value of the answer's `Sec-WebSocket-Accept`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.accept).unwrap_or_default() // base64 is ASCII
    }

    /// The value of `Sec-WebSocket-Accept` as bytes, all of them ASCII.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 28] {
        self.accept
    }

    /// The version agreed upon: 13, 8 or 7.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }
}

/// Why a request does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The method is not GET.
    #[error("the method of a WebSocket handshake is GET")]
    Method,
    /// The request is HTTP/1.0, which has no upgrades.
    #[error("a WebSocket handshake needs HTTP/1.1")]
    HttpVersion,
    /// `Upgrade` is missing or does not list `websocket`.
    #[error("missing or invalid Upgrade header")]
    Upgrade,
    /// `Connection` is missing or does not list `Upgrade`.
    #[error("missing or invalid Connection header")]
    Connection,
    /// `Sec-WebSocket-Key` is missing, or is not 16 bytes in base64.
    #[error("missing or invalid Sec-WebSocket-Key header")]
    Key,
    /// `Sec-WebSocket-Version` is missing, or is not a supported version.
    #[error("missing or invalid Sec-WebSocket-Version header")]
    Version,
}

impl HandshakeError {
    /// The status to answer with: 405 for a wrong method, 400 for every other mistake.
    ///
    /// A wrong version is answered with 400 too, as the reference server does. RFC 6455 gives 426
    /// as an example, but an answer with 426 must carry an `Upgrade` header.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion | Self::Upgrade | Self::Connection | Self::Key | Self::Version => 400,
        }
    }

    /// The header that the answer has to carry. It tells the client what the server accepts.
    #[must_use]
    pub const fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Method => Some(("Allow", "GET")),
            Self::Version => Some(("Sec-WebSocket-Version", SUPPORTED_VERSIONS)),
            Self::HttpVersion | Self::Upgrade | Self::Connection | Self::Key => None,
        }
    }
}

impl UpgradeRequest<'_> {
    /// Whether the request asks for a WebSocket at all, even with mistakes.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.upgrade.is_some_and(|value| lists(value, "websocket"))
    }

    /// Checks the request.
    ///
    /// # Errors
    ///
    /// The first mistake, in the order of [`HandshakeError`]'s variants.
    pub fn accept(&self) -> Result<Accept, HandshakeError> {
        if self.method != "GET" {
            return Err(HandshakeError::Method);
        }
        if self.http_minor == 0 {
            return Err(HandshakeError::HttpVersion);
        }
        if !self.is_upgrade() {
            return Err(HandshakeError::Upgrade);
        }
        if !self.connection.is_some_and(|value| lists(value, "upgrade")) {
            return Err(HandshakeError::Connection);
        }
        let key = self.key.filter(|key| is_key(key)).ok_or(HandshakeError::Key)?;
        let version = match self.version {
            Some("13") => 13,
            Some("8") => 8,
            Some("7") => 7,
            _ => return Err(HandshakeError::Version),
        };
        Ok(Accept {
            accept: accept_key(key),
            version,
        })
    }
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes are 28 characters");
    accept
}

/// The client's `Sec-WebSocket-Key` for 16 random bytes.
#[must_use]
pub fn challenge(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Whether `accept` answers `key`.
#[must_use]
pub fn verify(key: &str, accept: &str) -> bool {
    accept.as_bytes() == accept_key(key)
}

/// The parts of an answer that a client checks.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpgradeResponse<'a> {
    /// The status code.
    pub status: u16,
    /// `Upgrade`.
    pub upgrade: Option<&'a str>,
    /// `Connection`.
    pub connection: Option<&'a str>,
    /// `Sec-WebSocket-Accept`.
    pub accept: Option<&'a str>,
    /// `Sec-WebSocket-Extensions`.
    pub extensions: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`.
    pub protocol: Option<&'a str>,
}

/// Why an answer does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server answered with a status other than 101.
    #[error("unexpected server response: {0}")]
    Status(u16),
    /// `Upgrade` is missing or not `websocket`.
    #[error("invalid Upgrade header")]
    Upgrade,
    /// `Connection` is missing or does not list `Upgrade`.
    #[error("invalid Connection header")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing or does not answer our key.
    #[error("invalid Sec-WebSocket-Accept header")]
    Accept,
    /// The server chose an extension, although none was offered.
    #[error("unexpected Sec-WebSocket-Extensions header")]
    Extensions,
    /// The server chose a subprotocol that was not offered.
    #[error("server sent an invalid subprotocol")]
    Protocol,
}

impl UpgradeResponse<'_> {
    /// Checks the answer to a request that carried `key` and offered the subprotocols `offered`.
    ///
    /// A server that chooses no subprotocol is accepted. The application decides whether it needs
    /// one.
    ///
    /// # Errors
    ///
    /// The first mistake, in the order of [`ResponseError`]'s variants.
    pub fn verify(&self, key: &str, offered: &[&str]) -> Result<(), ResponseError> {
        if self.status != 101 {
            return Err(ResponseError::Status(self.status));
        }
        if !self
            .upgrade
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        {
            return Err(ResponseError::Upgrade);
        }
        if !self.connection.is_some_and(|value| lists(value, "upgrade")) {
            return Err(ResponseError::Connection);
        }
        if !self.accept.is_some_and(|accept| verify(key, accept)) {
            return Err(ResponseError::Accept);
        }
        if self.extensions.is_some_and(|value| !value.is_empty()) {
            return Err(ResponseError::Extensions);
        }
        if self.protocol.is_some_and(|chosen| !offered.contains(&chosen)) {
            return Err(ResponseError::Protocol);
        }
        Ok(())
    }
}

/// The first subprotocol of a client's `Sec-WebSocket-Protocol`. The reference server chooses this
/// subprotocol.
///
/// A browser fails a connection if it offered subprotocols and the server chooses none of them.
/// `None` if the first item is not a token. The time is linear in the length of the value
/// (CVE-2021-32640, `docs/protocol/engine-io.md` §11).
#[must_use]
pub fn first_protocol(value: &str) -> Option<&str> {
    step!(bulk value.len());
    let first = items(value).next()?;
    (!first.is_empty() && first.bytes().all(is_token_byte)).then_some(first)
}

/// Whether a comma-separated list has `token`, in any case.
fn lists(value: &str, token: &str) -> bool {
    step!(bulk value.len());
    value.eq_ignore_ascii_case(token) || items(value).any(|item| item.eq_ignore_ascii_case(token))
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|item| item.trim_matches([' ', '\t']))
}

/// Whether a byte may be part of a token (RFC 9110 §5.6.2).
const fn is_token_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

fn is_key(key: &str) -> bool {
    // 24 characters decode to at most 18 bytes. The padding decides whether there are exactly 16.
    key.len() == 24 && KEY_BASE64.decode_slice(key, &mut [0; 18]) == Ok(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    const REQUEST: UpgradeRequest<'static> = UpgradeRequest {
        method: "GET",
        http_minor: 1,
        upgrade: Some("websocket"),
        connection: Some("Upgrade"),
        key: Some(KEY),
        version: Some("13"),
    };

    const RESPONSE: UpgradeResponse<'static> = UpgradeResponse {
        status: 101,
        upgrade: Some("websocket"),
        connection: Some("Upgrade"),
        accept: Some(ACCEPT),
        extensions: None,
        protocol: None,
    };

    #[test]
    fn rfc_6455_section_1_3() {
        assert_eq!(challenge(*b"the sample nonce"), KEY);
        assert_eq!(accept_key(KEY), ACCEPT.as_bytes());
        let accept = REQUEST.accept().unwrap();
        assert_eq!((accept.as_str(), accept.version()), (ACCEPT, 13));
        assert!(verify(KEY, ACCEPT));
        assert!(!verify(KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"));
        assert_eq!(RESPONSE.verify(KEY, &[]), Ok(()));
    }

    #[test]
    fn what_browsers_and_proxies_send() {
        for request in [
            UpgradeRequest {
                connection: Some("keep-alive, Upgrade"),
                ..REQUEST
            },
            UpgradeRequest {
                connection: Some("keep-alive ,\tupgrade"),
                upgrade: Some("WebSocket"),
                ..REQUEST
            },
            UpgradeRequest {
                upgrade: Some("h2c, websocket"),
                ..REQUEST
            },
            // Unused bits are set in the last character of the key.
            UpgradeRequest {
                key: Some("dGhlIHNhbXBsZSBub25jZf=="),
                ..REQUEST
            },
        ] {
            assert_eq!(request.accept().map(|accept| accept.version()), Ok(13));
        }
        for (version, number) in [("8", 8), ("7", 7)] {
            let request = UpgradeRequest {
                version: Some(version),
                ..REQUEST
            };
            assert_eq!(request.accept().map(|accept| accept.version()), Ok(number));
        }
    }

    #[test]
    fn refused_requests() {
        use HandshakeError as E;
        let key = |key| (UpgradeRequest { key, ..REQUEST }, E::Key);
        let version = |version| (UpgradeRequest { version, ..REQUEST }, E::Version);
        let cases = [
            (
                UpgradeRequest {
                    method: "POST",
                    ..REQUEST
                },
                E::Method,
            ),
            (
                UpgradeRequest {
                    method: "get",
                    ..REQUEST
                },
                E::Method,
            ),
            (
                UpgradeRequest {
                    http_minor: 0,
                    ..REQUEST
                },
                E::HttpVersion,
            ),
            (
                UpgradeRequest {
                    upgrade: None,
                    ..REQUEST
                },
                E::Upgrade,
            ),
            (
                UpgradeRequest {
                    upgrade: Some("websockets"),
                    ..REQUEST
                },
                E::Upgrade,
            ),
            (
                UpgradeRequest {
                    connection: None,
                    ..REQUEST
                },
                E::Connection,
            ),
            (
                UpgradeRequest {
                    connection: Some("close"),
                    ..REQUEST
                },
                E::Connection,
            ),
            (
                UpgradeRequest {
                    connection: Some("not-upgrade"),
                    ..REQUEST
                },
                E::Connection,
            ),
            key(None),
            key(Some("")),
            key(Some("dGhlIHNhbXBsZSBub25jZQ")),
            key(Some("dGhlIHNhbXBsZSBub25jZTE=")),
            key(Some("dGhlIHNhbXBsZSBub25jZTEy")),
            key(Some("dGhlIHNhbXBsZSBub25jZTEyMw==")),
            key(Some("dGhlIHNhbXBsZSBub25jZ===")),
            key(Some("dGhlIHNhbXBsZSBub25j-Q==")),
            key(Some("dGhlIHNhbXBsZSBub25jé==")),
            version(None),
            version(Some("")),
            version(Some("6")),
            version(Some("14")),
            version(Some("013")),
            version(Some("13, 8")),
        ];
        for (request, error) in cases {
            assert_eq!(request.accept(), Err(error), "{request:?}");
        }
        assert_eq!(E::Version.header(), Some(("Sec-WebSocket-Version", "13, 8, 7")));
        assert_eq!(
            (E::Version.status(), E::Key.status(), E::Method.status()),
            (400, 400, 405)
        );
    }

    #[test]
    fn refused_responses() {
        use ResponseError as E;
        let cases = [
            (
                UpgradeResponse {
                    status: 400,
                    ..RESPONSE
                },
                E::Status(400),
            ),
            (
                UpgradeResponse {
                    status: 200,
                    ..RESPONSE
                },
                E::Status(200),
            ),
            (
                UpgradeResponse {
                    upgrade: Some("h2c, websocket"),
                    ..RESPONSE
                },
                E::Upgrade,
            ),
            (
                UpgradeResponse {
                    connection: None,
                    ..RESPONSE
                },
                E::Connection,
            ),
            (
                UpgradeResponse {
                    accept: None,
                    ..RESPONSE
                },
                E::Accept,
            ),
            (
                UpgradeResponse {
                    accept: Some("S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                    ..RESPONSE
                },
                E::Accept,
            ),
            (
                UpgradeResponse {
                    extensions: Some("permessage-deflate"),
                    ..RESPONSE
                },
                E::Extensions,
            ),
            (
                UpgradeResponse {
                    protocol: Some("other"),
                    ..RESPONSE
                },
                E::Protocol,
            ),
        ];
        for (response, error) in cases {
            assert_eq!(response.verify(KEY, &["chat"]), Err(error), "{response:?}");
        }
        assert_eq!(
            UpgradeResponse {
                protocol: Some("chat"),
                ..RESPONSE
            }
            .verify(KEY, &["chat"]),
            Ok(())
        );
    }

    #[test]
    fn protocols() {
        assert_eq!(first_protocol("chat, superchat"), Some("chat"));
        assert_eq!(first_protocol("  v1.json\t,v2"), Some("v1.json"));
        for value in ["", ",chat", "a b, chat", "caf\u{e9}", "\"x\""] {
            assert_eq!(first_protocol(value), None);
        }
        let spaces = alloc::format!("b{}x", " ".repeat(100_000));
        assert_eq!(first_protocol(&spaces), None);
    }
}
