//! The URL of a server, as people write it.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sio_proto::client::Endpoint;

/// Where Socket.IO is mounted by default.
const PATH: &str = "/socket.io/";

/// A server, and perhaps a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `scheme://host[:port]`.
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// The path in the URL, if it names the place of Socket.IO.
    pub(crate) path: Option<String>,
    /// The path in the URL, if it is a namespace, as in JavaScript.
    pub(crate) namespace: Option<String>,
    /// The query, decoded, without what belongs to Engine.IO.
    pub(crate) query: Vec<(String, String)>,
}

impl Target {
    /// The path of Socket.IO: what the user says, or the URL, or the default.
    pub(crate) fn path(&self, said: Option<&str>) -> String {
        let path = said.or(self.path.as_deref()).unwrap_or(PATH);
        let begins = if path.starts_with('/') { "" } else { "/" };
        let ends = if path.ends_with('/') { "" } else { "/" };
        format!("{begins}{path}{ends}")
    }

    /// The value of `Host`.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The origin of a page of the server itself.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let (scheme, rest) = full.split_once("://").unwrap_or(("http", &full));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let url = format!("{scheme}://{authority}");
        let endpoint = Endpoint::parse(&url).map_err(|error| error.to_string())?;
        let is_mount = path.contains("socket.io") || path.contains("engine.io");
        Ok(Self {
            host: endpoint.host().to_owned(),
            port: endpoint.port(),
            is_tls: endpoint.is_tls(),
            path: is_mount.then(|| path.to_owned()),
            namespace: Some(path).filter(|path| !is_mount && path.len() > 1).map(str::to_owned),
            query: query.split('&').filter_map(pair).collect(),
            url,
        })
    }
}

/// A parameter of the application.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (name, value) = (decoded(name), decoded(value));
    let is_protocol = ["EIO", "transport", "sid", "t", "j", "b64"].contains(&name.as_str());
    (!name.is_empty() && !is_protocol).then_some((name, value))
}

/// Appends a parameter to a path and query. Everything but the unreserved characters is encoded
/// (RFC 3986 §2.3).
pub(crate) fn put_parameter(target: &mut String, name: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.extend(utf8_percent_encode(name, ENCODED));
    target.push('=');
    target.extend(utf8_percent_encode(value, ENCODED));
}

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        let target: Target = "localhost:3000".parse().unwrap();
        assert_eq!(
            (target.url.as_str(), target.port, target.is_tls),
            ("http://localhost:3000", 3000, false)
        );
        assert!(target.is_loopback());
        let target: Target = "https://example.com/chat?token=x&EIO=4".parse().unwrap();
        assert_eq!(target.namespace.as_deref(), Some("/chat"));
        assert_eq!(target.query, [("token".to_owned(), "x".to_owned())]);
        assert_eq!((target.authority().as_str(), target.port), ("example.com", 443));
        // A query is written again as it was read.
        let target: Target = "host?token=a%20b%26c&flag&%F0%9F%98%80=1+1".parse().unwrap();
        let wanted = [("token", "a b&c"), ("flag", ""), ("😀", "1+1")];
        assert_eq!(
            target.query,
            wanted.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let mut written = "/socket.io/?EIO=4".to_owned();
        for (name, value) in &target.query {
            put_parameter(&mut written, name, value);
        }
        assert_eq!(written, "/socket.io/?EIO=4&token=a%20b%26c&flag=&%F0%9F%98%80=1%2B1");
        let target: Target = "http://[::1]:8080/socket.io/?EIO=4&transport=polling".parse().unwrap();
        assert_eq!(target.path(None), "/socket.io/");
        assert_eq!((target.namespace, target.path.as_deref()), (None, Some("/socket.io/")));
        let target: Target = "127.0.0.1".parse().unwrap();
        assert_eq!(target.path(Some("api")), "/api/");
        for wrong in ["", "ftp://a", "http://", "http://a:b", "a b", "http://user@host"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong:?}");
        }
    }
}
