//! Proxies between a client and its server: which one, and how a connection is led through it.
//!
//! ```text
//!   environment or setting ─ Proxy::from_environment, Proxy::parse ─► Proxy
//!   TCP connection to the proxy ─ Tunnel (CONNECT, or SOCKS 5) ─► the bytes of the server
//! ```
//! Every connection goes through a tunnel, for `http` and `ws` too: what a proxy that rewrites
//! requests would do to long polls and upgrades is then not the client's trouble. Nothing here
//! opens a connection or reads the environment; the caller does.
//!
//! A proxy is a stranger like a server. Its answers have a limit, [`MAX_REPLY_BYTES`], and every
//! other answer than "go on" is a [`ProxyError`].
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod bypass;
mod environment;
mod error;
mod socks;
mod tunnel;

pub use environment::EnvironmentError;
pub use error::{ProxyError, ProxyUrlError, SocksRefusal};
pub use tunnel::{MAX_REPLY_BYTES, Progress, Tunnel};

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use super::endpoint::authority;
use crate::percent;

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyScheme {
    /// `http`: the request CONNECT (RFC 9110 §9.3.6). The proxy resolves names.
    Http,
    /// `https`: as `http`, over a connection that the caller has encrypted.
    Https,
    /// `socks5`: SOCKS 5 (RFC 1928). The client resolves names, and the proxy gets an address.
    Socks5,
    /// `socks5h`: SOCKS 5. The proxy resolves names.
    Socks5h,
}

impl ProxyScheme {
    /// The name in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// Name and password for a proxy.
#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// Most bytes of a name or a password, in every scheme. It is the limit of SOCKS 5 (RFC 1929 §2).
const MAX_LOGIN_BYTES: usize = 255;

/// A proxy: its protocol, its address, and what it wants to know of its user.
///
/// `Display` and `Debug` show neither the user nor the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: ProxyScheme,
    host: String,
    port: u16,
    login: Option<Login>,
}

impl Proxy {
    /// Reads `[scheme://][user[:password]@]host[:port]`.
    ///
    /// The scheme is `http`, `https`, `socks5` or `socks5h`, and `http` if there is none. The port
    /// is 80 for `http`, 443 for `https` and 1080 for the others if there is none. User and
    /// password are percent-encoded.
    ///
    /// ```
    /// use sio_proto::client::proxy::{Proxy, ProxyUrlError};
    ///
    /// let proxy = Proxy::parse("http://me:secret@proxy.example:3128")?;
    /// assert_eq!(proxy.to_string(), "http://proxy.example:3128");
    /// assert_eq!(Proxy::parse("ftp://proxy.example"), Err(ProxyUrlError::Scheme));
    /// # Ok::<(), ProxyUrlError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ProxyUrlError`]. No error shows a part of the URL, which may have a password.
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = match url.split_once("://") {
            None => (ProxyScheme::Http, url),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "http" => (ProxyScheme::Http, rest),
                "https" => (ProxyScheme::Https, rest),
                "socks5" => (ProxyScheme::Socks5, rest),
                "socks5h" => (ProxyScheme::Socks5h, rest),
                _ => return Err(ProxyUrlError::Scheme),
            },
        };
        let (login, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, address)) => (Some(Login::parse(login)?), address),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        if address.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Extra);
        }
        let (host, port) = authority(address).map_err(ProxyUrlError::Address)?;
        Ok(Self {
            scheme,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or_else(|| scheme.default_port()),
            login,
        })
    }

    /// The protocol.
    #[must_use]
    pub const fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The name or address of the proxy. An IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of the proxy.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (unescaped(user)?, unescaped(password)?);
        // A name with a colon cannot be told from its password in HTTP (RFC 7617 §2).
        if user.is_empty() || user.contains(':') {
            return Err(ProxyUrlError::Login);
        }
        Ok(Self { user, password })
    }
}

/// Takes percent-encoding off. A `+` is a `+` in this part of a URL.
fn unescaped(text: &str) -> Result<String, ProxyUrlError> {
    let decoded = percent::decode(text.replace('+', "%2B").as_bytes());
    let decoded = match decoded {
        None => text.to_owned(),
        Some(bytes) => String::from_utf8(bytes).map_err(|_| ProxyUrlError::Login)?,
    };
    (decoded.len() <= MAX_LOGIN_BYTES)
        .then_some(decoded)
        .ok_or(ProxyUrlError::Login)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::UrlError;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn urls_of_proxies() {
        for (url, shown) in [
            ("proxy.example", "http://proxy.example:80"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://proxy.example:3128/", "http://proxy.example:3128"),
            ("https://proxy.example", "https://proxy.example:443"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
            ("socks5h://u:p@[::1]:9050", "socks5h://[::1]:9050"),
            ("u:p%40@x@proxy.example", "http://proxy.example:80"),
        ] {
            assert_eq!(Proxy::parse(url).unwrap().to_string(), shown, "{url}");
        }
        for (url, error) in [
            ("", ProxyUrlError::Address(UrlError::Host)),
            ("ftp://p", ProxyUrlError::Scheme),
            ("socks4://p", ProxyUrlError::Scheme),
            ("http://p:0", ProxyUrlError::Address(UrlError::Port)),
            ("http://p:x", ProxyUrlError::Address(UrlError::Port)),
            ("http://a b", ProxyUrlError::Address(UrlError::Host)),
            ("http://p\r\nx", ProxyUrlError::Address(UrlError::Host)),
            ("http://p/path", ProxyUrlError::Extra),
            ("http://p?x", ProxyUrlError::Extra),
            ("http://@p", ProxyUrlError::Login),
            ("http://:secret@p", ProxyUrlError::Login),
            ("http://a%3Ab:c@p", ProxyUrlError::Login),
            ("http://%ff@p", ProxyUrlError::Login),
        ] {
            assert_eq!(Proxy::parse(url), Err(error), "{url}");
        }
        let long = format!("{}:x@p", "u".repeat(256));
        assert_eq!(Proxy::parse(&long), Err(ProxyUrlError::Login));
        let longest = format!("{}:x@p", "u".repeat(255));
        assert!(Proxy::parse(&longest).is_ok());
    }

    #[test]
    fn a_login_is_read_and_never_shown() {
        let proxy = Proxy::parse("http://m%65+:s%3Ae:cret@p").unwrap();
        let login = proxy.login.as_ref().unwrap();
        assert_eq!((&*login.user, &*login.password), ("me+", "s:e:cret"));
        assert!(!format!("{proxy} {proxy:?}").contains("me+"));
        let error = Proxy::parse("http://me:hidden@p/x").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
}
