//! What can be wrong with a proxy, or with its URL.

use core::fmt;

use crate::client::UrlError;
use crate::http::HttpError;

/// Why a text is no URL of a proxy.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// The scheme is another one than `http`, `https`, `socks5` and `socks5h`.
    #[error("the scheme of a proxy is http, https, socks5 or socks5h")]
    Scheme,
    /// The address is wrong.
    #[error("the address of the proxy: {0}")]
    Address(UrlError),
    /// The URL has a path, a query or a fragment.
    #[error("the URL of a proxy has no path, no query and no fragment")]
    Extra,
    /// The user is missing or has a colon, or the user or the password is not UTF-8 or is longer
    /// than 255 bytes.
    #[error("the user or the password of the proxy is not valid")]
    Login,
}

crate::readable::says_why!(ProxyUrlError);

/// Why a proxy did not lead the connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy has answered CONNECT with this status. 407: it wants a name and a password.
    #[error("the proxy has answered {0}")]
    Status(u16),
    /// The answer is no HTTP.
    #[error("the proxy does not speak HTTP: {0}")]
    Http(HttpError),
    /// The answer is longer than [`MAX_REPLY_BYTES`](super::MAX_REPLY_BYTES).
    #[error("the answer of the proxy is too long")]
    TooLong,
    /// There are bytes behind the answer, before the client has said anything to the server.
    #[error("the proxy has sent something behind its answer")]
    Surplus,
    /// The connection ended inside the answer.
    #[error("the connection ended inside the answer of the proxy")]
    Cut,
    /// The answer has another version than SOCKS 5, or than that of its login.
    #[error("the proxy does not speak SOCKS 5: its version is {0}")]
    Version(u8),
    /// The proxy has chosen a way to log in that was not offered.
    #[error("the proxy has chosen the method {0}, which was not offered")]
    Method(u8),
    /// The proxy accepts none of the offered ways to log in: it wants a name and a password, or
    /// something that is not supported.
    #[error("the proxy accepts none of the ways to log in")]
    NoMethod,
    /// The proxy does not accept the name and the password.
    #[error("the proxy does not accept the name and the password")]
    Login,
    /// The proxy has refused to connect.
    #[error("the proxy has refused: {0}")]
    Socks(SocksRefusal),
    /// The answer has an address of an unknown type.
    #[error("the answer of the proxy has an address of the unknown type {0}")]
    AddressType(u8),
    /// The name of the server is longer than 255 bytes, which SOCKS 5 cannot say.
    #[error("the name of the server is too long for SOCKS 5")]
    NameTooLong,
}

impl ProxyError {
    /// Whether the proxy has said no to this client, so that another attempt would not help.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Status(401 | 403 | 407) | Self::NoMethod | Self::Login => true,
            Self::Socks(refusal) => refusal.0 == 2,
            _ => false,
        }
    }

    /// The status of the answer to CONNECT.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }
}

/// The code with which a SOCKS 5 proxy has refused to connect (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocksRefusal(pub u8);

impl fmt::Display for SocksRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "the network is unreachable",
            4 => "the host is unreachable",
            5 => "the connection was refused",
            6 => "the time to live is over",
            7 => "the command is not supported",
            8 => "the type of the address is not supported",
            code => return write!(f, "code {code}"),
        })
    }
}
