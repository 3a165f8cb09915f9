//! The URL of a server, as people write it.

use std::fmt;
use std::str::FromStr;

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
    /// The query, without what belongs to Engine.IO.
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
    let is_protocol = ["EIO", "transport", "sid", "t", "j", "b64"].contains(&name);
    (!name.is_empty() && !is_protocol).then(|| (name.to_owned(), value.to_owned()))
}

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
