//! The host names that the server answers to. This is the defence against DNS rebinding.
//!
//! An attacker can point the name of his page, `attacker.example`, at the address of a server. The
//! page then talks to this server as to its own host, because the browser compares names and not
//! addresses. The `Origin` and the `Host` of its requests agree, and its GETs carry no `Origin` at
//! all. Only the server can know that the name is not its own.
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
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::origins::{is_host, read_port, split_host};

/// Which host names requests may name. The server checks this for every request of a protocol, with
/// or without an `Origin`, before it checks the page ([`Origins`](crate::Origins)). The name comes
/// from the `Host` field, or from a target in absolute form. Fields that proxies add
/// (`X-Forwarded-Host`) are not read, because any client can send them.
///
/// Requests that belong to the application itself are not checked. An application that is reached
/// by loopback and serves secrets has to check `Host` itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// A peer on the loopback interface ([`Peer::is_loopback`](crate::server::Peer::is_loopback))
    /// may use only the names of loopback: `localhost`, names below it, `127.0.0.0/8` and `[::1]`,
    /// with any port. Other peers may use any name. So a page whose name is rebound to a program on
    /// its user's machine is refused. A proxy on the same machine that passes on the public name
    /// needs a list here, or has to send `Host: localhost`. If [`Origins`](crate::Origins) are open
    /// to all pages, nothing is checked.
    #[default]
    Loopback,
    /// These names and no others, for every peer; `localhost` has to be listed too. A request
    /// without a host is refused. An empty list refuses every request.
    List(Vec<HostPattern>),
    /// Any name. This is for servers that only permitted browsers can reach, such as a server
    /// behind a proxy that checks names.
    Any,
}

impl Hosts {
    /// A list of [patterns](HostPattern).
    ///
    /// # Errors
    /// Returns the error of the first text that is no pattern.
    ///
    /// ```
    /// use sio_proto::{Config, Hosts};
    /// let hosts = Hosts::list(["chat.example", "*.chat.example", "localhost:8080"])?;
    /// let config = Config::default().hosts(hosts);
    /// # Ok::<(), sio_proto::HostPatternError>(())
    /// ```
    pub fn list<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, HostPatternError> {
        let patterns = patterns.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::List(patterns))
    }
}

/// The hosts that one entry of a list means.
///
/// | pattern | the hosts that fit |
/// |---|---|
/// | `chat.example` | this host, whatever the port |
/// | `chat.example:8080` | this host with this port; a missing port is 80 or 443 |
/// | `*.chat.example` | all hosts below `chat.example`, but not `chat.example`; a port may follow |
/// | `[::1]`, `192.0.2.7` | an address, written as browsers write it |
///
/// Names are compared without regard to case and without regard to a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// In small letters, without `*.` and without a dot at the end.
    name: String,
    below: bool,
    port: Option<u16>,
}

/// Why a text is no pattern for hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// The text is no host: it is empty, or it has a scheme, a path, or a `*` that does not stand
    /// for whole labels at the beginning. To allow all hosts, use [`Hosts::Any`].
    #[error("host pattern {0:?}: no host; it has neither scheme nor path, and `*.` may stand at its beginning")]
    Host(String),
    /// The text behind the host is no port.
    #[error("host pattern {0:?}: no port from 1 to 65535")]
    Port(String),
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (host, port) = split_host(text).ok_or_else(|| HostPatternError::Host(text.to_owned()))?;
        let (name, below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host, false),
        };
        let name = without_dot(name);
        if !is_name(name) || below && name.starts_with('[') {
            return Err(HostPatternError::Host(text.to_owned()));
        }
        let port = match port {
            None => None,
            Some(port) => Some(read_port(port).ok_or_else(|| HostPatternError::Port(text.to_owned()))?),
        };
        let name = name.to_ascii_lowercase();
        Ok(Self { name, below, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str("*.")?;
        }
        f.write_str(&self.name)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl HostPattern {
    /// Whether a host, as it stands in a `Host` field, fits.
    #[must_use]
    pub fn fits(&self, host: &str) -> bool {
        let Some(host) = Host::of(host) else { return false };
        let is_name = match self.below {
            false => host.name.eq_ignore_ascii_case(&self.name),
            true => is_below(&self.name, host.name),
        };
        let is_port = match (self.port, host.port) {
            (None, _) => true,
            (Some(80 | 443), None) => true,
            (port, its) => port == its,
        };
        is_name && is_port
    }
}

/// A host and its port, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host<'a> {
    /// Without a dot at the end.
    pub(crate) name: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Host<'a> {
    /// `None` for a text that no browser writes into `Host`.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let (host, port) = split_host(text)?;
        let name = without_dot(host);
        let port = match port {
            None => None,
            Some(port) => Some(read_port(port)?),
        };
        is_name(name).then_some(Self { name, port })
    }

    /// Whether the name can only mean the machine itself. Resolvers answer these names without
    /// asking a server (RFC 6761 §6.3), so nobody can point them elsewhere.
    pub(crate) fn is_loopback(self) -> bool {
        if self.name.eq_ignore_ascii_case("localhost") || is_below("localhost", self.name) {
            return true;
        }
        let address = self.name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match address {
            Some(address) => address
                .parse::<Ipv6Addr>()
                .is_ok_and(|address| IpAddr::V6(address).to_canonical().is_loopback()),
            None => self.name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        }
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a host name is valid. One dot at its end has been removed before; a second dot is an
/// error.
fn is_name(name: &str) -> bool {
    is_host(name) && !name.ends_with('.')
}

/// Whether `name` has labels in front of `parent`.
fn is_below(parent: &str, name: &str) -> bool {
    let Some((above, end)) = name
        .len()
        .checked_sub(parent.len())
        .and_then(|at| name.split_at_checked(at))
    else {
        return false;
    };
    above.len() >= 2 && above.ends_with('.') && end.eq_ignore_ascii_case(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    /// The test `never_panics` found this case.
    #[test]
    fn a_second_dot_at_the_end_is_no_host() {
        for text in ["..", "chat.example..", "*..", ".", "..:80"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
            assert_eq!(Host::of(text), None, "{text}");
        }
    }

    #[test]
    fn what_fits() {
        for (text, fitting, others) in [
            (
                "chat.example",
                &["chat.example", "CHAT.example:3000", "chat.example.", "chat.example.:80"][..],
                &[
                    "x.chat.example",
                    "chat.example.evil",
                    "chat.example..",
                    "",
                    "chat.example:0",
                    "chat.example:x",
                    "u@chat.example",
                    "chat.example/",
                ][..],
            ),
            (
                "chat.example:80",
                &["chat.example", "chat.example:80"],
                &["chat.example:8080", "chat.example:443"],
            ),
            ("chat.example:8080", &["chat.example:8080"], &["chat.example"]),
            (
                "*.chat.example",
                &["a.chat.example", "a.b.Chat.Example:1"],
                &["chat.example", ".chat.example", "xchat.example", "evil"],
            ),
            ("[::1]", &["[::1]", "[::1]:3000"], &["::1", "[::2]"]),
            ("192.0.2.7", &["192.0.2.7:1"], &["192.0.2.70"]),
        ] {
            for host in fitting {
                assert!(pattern(text).fits(host), "{text} {host:?}");
            }
            for host in others {
                assert!(!pattern(text).fits(host), "{text} {host:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        type Made = fn(String) -> HostPatternError;
        let (host, port): (Made, Made) = (HostPatternError::Host, HostPatternError::Port);
        for (text, error) in [
            ("", host),
            ("*", host),
            ("*.", host),
            ("*.[::1]", host),
            ("a.*.b", host),
            ("http://a", port),
            ("//a", host),
            ("a/b", host),
            ("a b", host),
            ("[::1", host),
            ("a:", port),
            ("a:*", port),
            ("a:65536", port),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(error(text.into())), "{text:?}");
            assert_eq!(Hosts::list(["a", text]), Err(error(text.into())));
        }
    }

    #[test]
    fn names_of_loopback() {
        for host in [
            "localhost",
            "LocalHost:3000",
            "localhost.",
            "a.b.localhost:1",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:3000",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(Host::of(host).is_some_and(Host::is_loopback), "{host}");
        }
        for host in [
            "attacker.example:3000",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "notlocalhost",
            ".localhost",
            "127.1",
            "0127.0.0.1",
            "0.0.0.0",
            "192.168.1.2",
            "[::2]",
            "[fe80::1]",
            "localhost..",
            "localhost@evil",
            "",
        ] {
            assert!(!Host::of(host).is_some_and(Host::is_loopback), "{host}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\*\\.|:|\\[|\\]|[a-z0-9.é]){0,8}", host in any::<String>()) {
            let _ = Host::of(&host).map(Host::is_loopback);
            if let Ok(pattern) = text.parse::<HostPattern>() {
                let _ = pattern.fits(&host);
                let _ = pattern.fits(&text);
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }
    }
}
