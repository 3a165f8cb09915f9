//! Close frames (RFC 6455 §5.5.1 and §7.4): empty, or with a status code and a reason.
//!
//! ```text
//! +--------+--------+----------------- - - -
//! |  code, 2 bytes  | reason, UTF-8, at most 123 bytes
//! +--------+--------+----------------- - - -
//! ```
//!
//! Codes that are allowed on the wire: 1000–1003 and 1007–1014 (registered), 3000–3999 (libraries),
//! 4000–4999 (private use). 1004 is reserved. 1005, 1006 and 1015 exist only in reports to the
//! application.

use core::fmt;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::error::Error;

/// The longest reason in bytes: a control frame has 125 bytes, and the code takes two.
pub const MAX_REASON_BYTES: usize = 123;

/// A status code that is allowed on the wire. Other codes cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a type of data that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that does not fit the type of its message, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy of the endpoint was violated.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client needed an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from its upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code with this number, if it is allowed on the wire.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The content of a Close frame that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection ends.
    pub code: CloseCode,
    /// Text for people who debug; often empty.
    pub reason: ByteString,
}

impl CloseFrame {
    /// Reads the payload of a Close frame; an empty one is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::CloseLength`], [`Error::CloseCode`] or [`Error::CloseReason`].
    pub fn parse(mut payload: Bytes) -> Result<Option<Self>, Error> {
        let code = match *payload {
            [] => return Ok(None),
            [_] => return Err(Error::CloseLength),
            [high, low, ..] => u16::from_be_bytes([high, low]),
        };
        let code = CloseCode::new(code).ok_or(Error::CloseCode(code))?;
        payload.advance(2);
        let reason = ByteString::try_from(payload).map_err(|_| Error::CloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn codes_on_the_wire() {
        let valid = (0..=u16::MAX)
            .filter(|code| CloseCode::new(*code).is_some())
            .collect::<Vec<_>>();
        let expected = [1000, 1001, 1002, 1003]
            .into_iter()
            .chain(1007..=1014)
            .chain(3000..=4999)
            .collect::<Vec<_>>();
        assert_eq!(valid, expected);
    }

    #[test]
    fn autobahn_7_5_and_7_9_refuses() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            let payload = Bytes::copy_from_slice(&code.to_be_bytes());
            assert_eq!(CloseFrame::parse(payload), Err(Error::CloseCode(code)));
        }
        assert_eq!(CloseFrame::parse(Bytes::from_static(b"\x03")), Err(Error::CloseLength));
        assert_eq!(
            CloseFrame::parse(Bytes::from_static(b"\x03\xe8\xce\xba\xed\xa0\x80")),
            Err(Error::CloseReason)
        );
    }

    #[test]
    fn autobahn_7_7_accepts() {
        assert_eq!(CloseFrame::parse(Bytes::new()), Ok(None));
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
        ] {
            let payload = [&u16::to_be_bytes(code)[..], "Привет".as_bytes()].concat();
            let frame = CloseFrame::parse(Bytes::from(payload)).unwrap().unwrap();
            assert_eq!((frame.code.get(), &*frame.reason), (code, "Привет"));
        }
    }
}
