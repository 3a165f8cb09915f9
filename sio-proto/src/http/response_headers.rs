//! Header fields that an application adds to the answers of the server.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::headers::{is_field_value, is_token};

/// Names that only the server may write: they frame the message, belong to the handshake of a
/// websocket, or follow from another setting.
const RESERVED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "x-content-type-options",
    "x-xss-protection",
];

/// Names that begin with one of these texts may also be written only by the server.
const RESERVED_PREFIXES: [&str; 2] = ["sec-websocket-", "access-control-"];

/// Header fields that an application adds to the answers of the server.
///
/// No value of this type can end its header field early, or change what the rest of an answer
/// means: [`ResponseHeaders::add`] refuses such names and values.
///
/// ```
/// use sio_proto::http::{HeaderError, ResponseHeaders};
/// let mut headers = ResponseHeaders::new();
/// headers.add("Set-Cookie", "seen=1; HttpOnly")?;
/// assert_eq!(headers.add("X-Name", "a\r\nSet-Cookie: sid=b"), Err(HeaderError::Value("X-Name")));
/// # Ok::<(), HeaderError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    fields: Vec<(&'static str, ByteString)>,
    bytes: usize,
}

/// Why a header field was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is empty, or has a character that is not allowed in names.
    #[error("{0:?} is no name of a header field")]
    Name(&'static str),
    /// Only the server may write a field of this name.
    #[error("{0} is written by the server; the CORS fields are Config::cors")]
    Reserved(&'static str),
    /// The value has a character that is not allowed in values, such as a line break.
    #[error("the value of {0} has a character that no header field can hold")]
    Value(&'static str),
    /// The fields would be larger than [`ResponseHeaders::MAX_BYTES`].
    #[error("with {0} there are more than 8 KiB of header fields")]
    TooLarge(&'static str),
}

impl ResponseHeaders {
    /// Most bytes of all names and values together: 8 KiB. A held GET keeps them until it is
    /// answered.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            fields: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a field. Several fields may have the same name.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with the name or the value. Nothing is added then.
    pub fn add(&mut self, name: &'static str, value: impl Into<ByteString>) -> Result<&mut Self, HeaderError> {
        let value = value.into();
        if !is_token(name.as_bytes()) {
            return Err(HeaderError::Name(name));
        }
        let begins_with = |prefix: &&str| {
            let start = name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
            || RESERVED_PREFIXES.iter().any(begins_with)
        {
            return Err(HeaderError::Reserved(name));
        }
        if !is_field_value(value.as_bytes()) {
            return Err(HeaderError::Value(name));
        }
        let bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        if bytes > Self::MAX_BYTES {
            return Err(HeaderError::TooLarge(name));
        }
        self.bytes = bytes;
        self.fields.push((name, value));
        Ok(self)
    }

    /// The fields, in the order in which they were added.
    #[must_use]
    pub fn fields(&self) -> &[(&'static str, ByteString)] {
        &self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// API: hook for response headers: fields that the application may not set are refused.
    #[test]
    fn nothing_but_a_field_can_be_added() {
        let mut headers = ResponseHeaders::new();
        for name in ["", "a b", "a:", "x\r\ny", "é"] {
            assert_eq!(headers.add(name, "v"), Err(HeaderError::Name(name)));
        }
        for name in [
            "Content-Length",
            "TRANSFER-ENCODING",
            "connection",
            "Upgrade",
            "Sec-WebSocket-Accept",
            "Access-Control-Allow-Origin",
        ] {
            assert_eq!(headers.add(name, "v"), Err(HeaderError::Reserved(name)));
        }
        for value in ["a\r\nb", "a\nb", "a\0", "\u{7f}"] {
            assert_eq!(headers.add("x-a", value), Err(HeaderError::Value("x-a")));
        }
        assert_eq!(headers, ResponseHeaders::new(), "nothing was added");
        headers.add("x-a", "1").unwrap().add("X-A", "two words").unwrap();
        let fields: Vec<_> = headers.fields().iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(fields, [("x-a", "1"), ("X-A", "two words")]);
    }

    #[test]
    fn fields_are_limited_in_bytes() {
        let mut headers = ResponseHeaders::new();
        headers.add("x", "y".repeat(ResponseHeaders::MAX_BYTES - 1)).unwrap();
        assert_eq!(headers.add("x", String::new()), Err(HeaderError::TooLarge("x")));
    }
}
