//! Where the server is. The path of HTTP and the namespace are different things: an [`Endpoint`]
//! has the first, and a socket has the second.
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

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::net::Ipv6Addr;

/// Host, port, TLS and path of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

/// Why a text is no URL of a server.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is missing or is another one.
    #[error("a URL starts with http://, https://, ws:// or wss://")]
    Scheme,
    /// The host is missing, or has characters that no host has.
    #[error("the URL has no valid host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the URL has no valid port")]
    Port,
    /// The URL has a path. JavaScript's client takes it as a namespace, others take it as the path
    /// of HTTP.
    #[error(
        "the URL has the path `{0}`: leave it out. If it is a namespace, connect to `{0}` as a namespace. If \
             the server is mounted there, set it with `Endpoint::with_path`"
    )]
    Path(String),
    /// The URL has a query, a fragment or a user.
    #[error("the URL has a query, a fragment or a user: set the query and headers in the settings")]
    Extra,
}

crate::readable::says_why!(UrlError);

impl Endpoint {
    /// Reads `scheme://host[:port]`, with the path `/socket.io/`.
    ///
    /// ```
    /// use sio_proto::client::{Endpoint, UrlError};
    ///
    /// let endpoint = Endpoint::parse("wss://chat.example")?;
    /// assert_eq!((endpoint.host(), endpoint.port(), endpoint.is_tls()), ("chat.example", 443, true));
    /// assert_eq!(Endpoint::parse("http://a/chat"), Err(UrlError::Path("/chat".into())));
    /// # Ok::<(), UrlError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#', '@']) {
            return Err(UrlError::Extra);
        }
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(UrlError::Path(path.to_owned()));
        }
        let (host, port) = authority(address)?;
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: "/socket.io/".to_owned(),
        })
    }

    /// The same server with another path of HTTP. Default `/socket.io/`. A `/` is added in front if
    /// it is missing; the path is used as it is otherwise.
    #[must_use]
    pub fn with_path(mut self, path: &str) -> Self {
        self.path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        self
    }

    /// The name or address of the host. An IPv6 address has its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The value of `Host`.
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether both are the same place: scheme, host, port and path.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_origin = (self.tls, self.port) == (other.tls, other.port) && self.host.eq_ignore_ascii_case(&other.host);
        is_origin && self.path == other.path
    }

    /// The endpoint that a redirect of this endpoint leads to: the same origin (scheme, host and
    /// port), or the default port of `https` from that of `http`, with the path up to the query.
    /// Everything else is refused, because the credentials are for this server: another port may be
    /// somebody else's.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        let without_query = location.split(['?', '#']).next().unwrap_or_default();
        if without_query.starts_with('/') && !without_query.starts_with("//") {
            return Some(self.clone().with_path(without_query));
        }
        let (scheme, rest) = without_query.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let to = Self::parse(&format!("{scheme}://{authority}")).ok()?;
        let is_upgrade = !self.tls && to.tls && (self.port, to.port) == (80, 443);
        let is_same = (to.tls, to.port) == (self.tls, self.port);
        let is_safe = to.host.eq_ignore_ascii_case(&self.host) && (is_same || is_upgrade);
        is_safe.then(|| to.with_path(path))
    }
}

/// Whether this is an IPv6 address, perhaps with a zone (`fe80::1%eth0`).
fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_of_zone = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(is_of_zone)
}

/// Reads `host[:port]`. An IPv6 address has its brackets.
pub(super) fn authority(text: &str) -> Result<(&str, Option<u16>), UrlError> {
    // The colons of an IPv6 address stand in its brackets.
    let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, digits)) => {
            let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
            (host, Some(port.ok_or(UrlError::Port)?))
        }
        None => (text, None),
    };
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_sound = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(is_address),
        None => !host.is_empty() && host.bytes().all(is_of_name),
    };
    if !is_sound {
        return Err(UrlError::Host);
    }
    Ok((host, port))
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Client C16.
    #[test]
    fn a_path_is_an_error_that_says_what_to_do() {
        let error = Endpoint::parse("http://localhost:3000/chat").unwrap_err();
        assert_eq!(error, UrlError::Path("/chat".to_owned()));
        assert!(error.to_string().contains("with_path"), "{error}");
        assert!(Endpoint::parse("http://localhost:3000/").is_ok());
        for (url, error) in [
            ("localhost:3000", UrlError::Scheme),
            ("ftp://a", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http://a b", UrlError::Host),
            ("http://::1", UrlError::Host),
            ("http://[]", UrlError::Host),
            ("http://[::1", UrlError::Host),
            ("http://a]", UrlError::Host),
            ("http://[a]", UrlError::Host),
            ("http://[::1]x", UrlError::Host),
            ("http://[::1%]", UrlError::Host),
            ("http://[::1%a|]", UrlError::Host),
            ("http://a:0", UrlError::Port),
            ("http://a:65536", UrlError::Port),
            ("http://a:+80", UrlError::Port),
            ("http://a?x=1", UrlError::Extra),
            ("http://u@a", UrlError::Extra),
        ] {
            assert_eq!(Endpoint::parse(url), Err(error), "{url}");
        }
        let six = Endpoint::parse("https://[::1]:8443").unwrap();
        assert_eq!((six.host(), six.port()), ("[::1]", 8443));
        assert_eq!(six.authority(), "[::1]:8443");
        for url in [
            "http://[::]",
            "https://[fe80::1%eth0]",
            "http://a",
            "https://a:443",
            "https://a:80",
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            let shown = url.strip_suffix(":443").unwrap_or(url);
            assert_eq!(
                endpoint.to_string(),
                format!("{shown}/socket.io/"),
                "without the default port"
            );
        }
    }

    #[test]
    fn the_same_path_of_another_origin_is_another_place() {
        let plain = Endpoint::parse("http://a").unwrap();
        for same in ["http://a", "ws://A:80/"] {
            assert!(plain.is_same(&Endpoint::parse(same).unwrap()), "{same}");
        }
        for other in ["https://a", "https://a:80", "http://a:81", "http://b"] {
            assert!(!plain.is_same(&Endpoint::parse(other).unwrap()), "{other}");
        }
        assert!(!plain.is_same(&plain.clone().with_path("/x/")));
    }

    #[test]
    fn redirects_stay_at_the_origin_and_never_lose_tls() {
        let plain = Endpoint::parse("http://a").unwrap();
        assert_eq!(plain.redirected("/x/?EIO=4").unwrap().path, "/x/");
        let secure = plain.redirected("https://A/socket.io/?EIO=4").unwrap();
        assert!(secure.tls && secure.port == 443);
        for refused in [
            "http://b/",
            "//b/",
            "ftp://a/",
            "x",
            "http://a:81/",
            "https://a:444/",
            "https://a:80/",
            "http://a:443/",
        ] {
            assert_eq!(plain.redirected(refused), None, "{refused}");
        }
        for refused in ["http://a/", "http://a:443/", "https://a:444/"] {
            assert_eq!(secure.redirected(refused), None, "{refused}");
        }
        let other = Endpoint::parse("https://a:80").unwrap();
        assert_eq!(other.redirected("https://a/"), None, "another port of TLS");
    }
}
