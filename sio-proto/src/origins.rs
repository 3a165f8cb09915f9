//! Which pages may open sessions, and how an operator says it: `host:port`, with `*` for any (docs/protocol/legacy-0.6.md §13.1, §14,
//! docs/protocol/legacy-0.9.md §17).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// Which pages may open sessions. Browsers let any page open a websocket to any host and send the host's cookies
/// with it; CORS does not stop that, this rule does. Requests without an `Origin` header (not from a page) always pass; only where the answer is a
/// script, which every page may run, does `Referer` say whose it is, as in 0.8.5 and later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Pages whose origin names the same host and port as the request's `Host`, and those listed for CORS. A proxy that rewrites
    /// `Host` makes this refuse everybody: list the public origin then.
    #[default]
    SameHost,
    /// Pages whose origin fits one of these patterns and no others, be it the host's own. An empty list refuses every page.
    List(Vec<OriginPattern>),
    /// Every page. This is what genuine servers do.
    Any,
}

impl Origins {
    /// A list of [patterns](OriginPattern).
    ///
    /// # Errors
    /// The first text that is no pattern.
    ///
    /// ```
    /// use sio_proto::{Config, Origins};
    /// let origins = Origins::list(["good.example:*", "https://shop.example"])?;
    /// let config = Config::default().origins(origins);
    /// # Ok::<(), sio_proto::OriginPatternError>(())
    /// ```
    pub fn list<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginPatternError> {
        let patterns = patterns.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::List(patterns))
    }
}

/// The origins that one entry of a list means.
///
/// | pattern | the origins that fit |
/// |---|---|
/// | `*:*`, `*` | all, `null` too |
/// | `good.example:*`, `good.example` | this host, whatever the port |
/// | `*:8080` | this port, whatever the host |
/// | `good.example:8080` | both |
/// | `https://good.example` | this origin and no other: the scheme counts, and a port that is missing is the scheme's |
/// | `null` | `null`: what pages say that have no origin, such as files and sandboxed frames |
///
/// An origin without a port has its scheme's: 80 for `http` and `ws`, 443 for `https` and `wss`. That is how it is meant, and what no genuine server does:
/// 0.6 compares the host with its port still attached, so that `good.example:8080` fits nothing; 0.7 finds none either; 0.8 wants it to be written; 0.9
/// takes 80 for `https` too, and `null` for any host. Hosts are compared without regard to case; one in brackets is an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Null,
    /// `None` is any.
    Page {
        scheme: Option<String>,
        host: Option<String>,
        port: Option<u16>,
    },
}

/// Why a text is no pattern for origins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginPatternError {
    /// It has no host, or one with characters that no host has; a `*` stands for a whole host.
    #[error("origin pattern {0:?}: no host, nor `*`")]
    Host(String),
    /// What follows the host is neither a port nor `*`.
    #[error("origin pattern {0:?}: no port from 1 to 65535, nor `*`")]
    Port(String),
    /// It begins with a scheme that no page has: `http`, `https`, `ws` and `wss` are known.
    #[error("origin pattern {0:?}: unknown scheme")]
    Scheme(String),
}

impl FromStr for OriginPattern {
    type Err = OriginPatternError;

    fn from_str(text: &str) -> Result<Self, OriginPatternError> {
        if text == "null" {
            return Ok(Self(Pattern::Null));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let scheme_port = match &scheme {
            Some(scheme) => Some(default_port(scheme).ok_or_else(|| OriginPatternError::Scheme(text.to_owned()))?),
            None => None,
        };
        let (host, port) = split_host(rest).ok_or_else(|| OriginPatternError::Host(text.to_owned()))?;
        let host = match host {
            "*" => None,
            host if is_host(host) => Some(host.to_ascii_lowercase()),
            _ => return Err(OriginPatternError::Host(text.to_owned())),
        };
        let port = match port {
            None => scheme_port,
            Some("*") => None,
            Some(port) => Some(read_port(port).ok_or_else(|| OriginPatternError::Port(text.to_owned()))?),
        };
        Ok(Self(Pattern::Page { scheme, host, port }))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern::Page { scheme, host, port } = &self.0 else {
            return f.write_str("null");
        };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(host.as_deref().unwrap_or("*"))?;
        match port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl OriginPattern {
    /// Whether this origin, as a browser writes it, fits.
    #[must_use]
    pub fn fits(&self, origin: &str) -> bool {
        let Pattern::Page { scheme, host, port } = &self.0 else {
            return origin == "null";
        };
        if origin == "null" {
            return scheme.is_none() && host.is_none() && port.is_none();
        }
        let Some((its_scheme, rest)) = origin.split_once("://") else {
            return false;
        };
        let its_port = match split_host(rest) {
            Some((its_host, its_port)) if is_host(its_host) => {
                if host.as_ref().is_some_and(|host| !host.eq_ignore_ascii_case(its_host)) {
                    return false;
                }
                its_port
            }
            _ => return false,
        };
        let its_port = match its_port {
            None => default_port(its_scheme),
            Some(port) => match read_port(port) {
                None => return false,
                port => port,
            },
        };
        scheme
            .as_ref()
            .is_none_or(|scheme| scheme.eq_ignore_ascii_case(its_scheme))
            && port.is_none_or(|port| Some(port) == its_port)
    }
}

/// The port that a scheme means.
fn default_port(scheme: &str) -> Option<u16> {
    [("http", 80), ("ws", 80), ("https", 443), ("wss", 443)]
        .into_iter()
        .find_map(|(known, port)| known.eq_ignore_ascii_case(scheme).then_some(port))
}

/// Host and port of `host[:port]`, where the colons of an IPv6 address stand in brackets.
fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    match rest {
        "" => Some((host, None)),
        rest => Some((host, Some(rest.strip_prefix(':')?))),
    }
}

fn read_port(text: &str) -> Option<u16> {
    let is_plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port > 0)
}

fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        None => !text.is_empty() && text.bytes().all(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn pattern(text: &str) -> OriginPattern {
        text.parse().unwrap()
    }

    /// The quirks of docs/protocol/legacy-0.6.md §14 and docs/protocol/legacy-0.9.md §17, in the robust reading.
    #[test]
    fn what_fits() {
        for (text, fitting, others) in [
            (
                "*:*",
                &[
                    "http://a.example",
                    "https://b:9",
                    "null",
                    "http://[::1]:80",
                    "moz-extension://x",
                ][..],
                &[
                    "",
                    "a.example",
                    "http://",
                    "http://a b",
                    "http://a:b",
                    "http://a,http://b",
                    "http://u@a",
                ][..],
            ),
            (
                "good.example:*",
                &[
                    "http://good.example",
                    "https://good.example:8443",
                    "HTTP://GOOD.example",
                ],
                &[
                    "http://good.example.evil",
                    "http://evil-good.example",
                    "null",
                    "http://x.good.example",
                ],
            ),
            // 0.6 finds no origin for this one, 0.7 neither.
            (
                "good.example:8080",
                &[
                    "http://good.example:8080",
                    "https://good.example:8080",
                    "http://good.example:08080",
                ],
                &[
                    "http://good.example",
                    "http://good.example:80",
                    "http://good.example:8080:1",
                ],
            ),
            // 0.8 wants the port to be written.
            (
                "good.example:80",
                &["http://good.example", "http://good.example:80", "ws://good.example"],
                &["https://good.example", "moz-extension://good.example"],
            ),
            // 0.9 takes 80 for this.
            (
                "good.example:443",
                &["https://good.example", "wss://good.example", "https://good.example:443"],
                &["http://good.example"],
            ),
            (
                "*:8080",
                &["http://a:8080", "https://b:8080"],
                &["http://a", "null", "http://a:80800"],
            ),
            (
                "https://good.example",
                &["https://good.example", "https://good.example:443"],
                &[
                    "http://good.example:443",
                    "https://good.example:8443",
                    "wss://good.example",
                ],
            ),
            (
                "https://good.example:*",
                &["https://good.example:1"],
                &["http://good.example"],
            ),
            (
                "[::1]:3000",
                &["http://[::1]:3000"],
                &["http://[::1]", "http://[::2]:3000", "http://::1:3000"],
            ),
            ("null", &["null"], &["http://null", "NULL", ""]),
            ("null:*", &["http://null"], &["null"]),
        ] {
            for origin in fitting {
                assert!(pattern(text).fits(origin), "{text} {origin:?}");
            }
            for origin in others {
                assert!(!pattern(text).fits(origin), "{text} {origin:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        type Made = fn(String) -> OriginPatternError;
        let (host, port, scheme): (Made, Made, Made) = (
            OriginPatternError::Host,
            OriginPatternError::Port,
            OriginPatternError::Scheme,
        );
        for (text, error) in [
            ("", host),
            (":80", host),
            ("*.good.example", host),
            ("good example", host),
            ("good.example/path", host),
            ("user@good.example", host),
            ("[::1", host),
            ("[]:80", host),
            ("::1", host),
            ("http://", host),
            ("good.example:", port),
            ("good.example:0", port),
            ("good.example:65536", port),
            ("good.example:+80", port),
            ("good.example:8*", port),
            ("good.example:80:90", port),
            ("good.example:80/", port),
            ("ftp://good.example", scheme),
            ("://good.example", scheme),
        ] {
            assert_eq!(text.parse::<OriginPattern>(), Err(error(text.into())), "{text:?}");
            assert_eq!(Origins::list(["*:*", text]), Err(error(text.into())));
        }
    }

    #[test]
    fn patterns_are_written_in_full() {
        for (text, full) in [
            ("*", "*:*"),
            ("Good.Example", "good.example:*"),
            ("*:80", "*:80"),
            ("HTTPS://good.example", "https://good.example:443"),
            ("[::1]", "[::1]:*"),
            ("null", "null"),
        ] {
            assert_eq!(pattern(text).to_string(), full);
            assert_eq!(pattern(full), pattern(text));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(https?://|null|\\*|:|\\[|\\]|[a-z0-9.é]){0,8}", origin in any::<String>()) {
            if let Ok(pattern) = text.parse::<OriginPattern>() {
                let _ = pattern.fits(&origin);
                let _ = pattern.fits(&text);
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }
    }
}
