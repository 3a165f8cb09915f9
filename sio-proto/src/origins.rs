//! Which pages may open sessions, and how an operator writes this down: `host:port`, with `*` for
//! any (docs/protocol/legacy-0.6.md §13.1, §14, docs/protocol/legacy-0.9.md §17).
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
use core::str::FromStr;

/// The length of the longest text that is accepted as an origin, in bytes. A host name has 253
/// bytes at most (RFC 1035 §2.3.4).
pub(crate) const MAX_ORIGIN_BYTES: usize = 512;

/// Which pages may open sessions. A browser lets any page open a websocket to any host, and sends
/// the host's cookies with it. CORS does not stop a page from doing so; this rule does.
///
/// The decision depends on what the request says about its page:
///
/// | the request | it passes |
/// |---|---|
/// | has an `Origin` | if this origin is allowed |
/// | has none, and asks for a script or a page of scripts (JSONP, htmlfile) | if its `Referer` names an allowed origin, or `Sec-Fetch-Site` says `same-origin` |
/// | has none, and posts the form of a JSONP client | if its `Referer` names an allowed origin, or `Sec-Fetch-Site` says `same-origin` |
/// | has none, and asks for anything else | yes: a page of another site cannot read the answer, and a program that is not a page has no origin |
///
/// A request for a script is refused if it does not say which page it is for, because every page
/// may load a script and read it. Where all pages are allowed, the request passes. Before all these
/// checks, [`Hosts`](crate::Hosts) decides whether the host that the request names is the server's
/// own.
///
/// Origins and CORS agree: an origin that is listed here may read answers too (see
/// [`Config::cors`](crate::Config::cors)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Pages whose origin names the same host and port as the request's `Host`, and pages that are
    /// listed for CORS. The scheme of the origin must be `https` where the link is encrypted
    /// ([`Peer::secure`](crate::server::Peer::secure),
    /// [`Config::behind_tls`](crate::Config::behind_tls)). Elsewhere it may be `http` or `https`,
    /// because a proxy may have removed TLS. If a proxy rewrites `Host`, this setting refuses every
    /// page. Use a list with the public origin then.
    #[default]
    SameHost,
    /// Pages whose origin fits one of these patterns, and no others. The host's own pages have to
    /// be listed too. An empty list refuses every page.
    List(Vec<OriginPattern>),
    /// Every page. Genuine servers do this. If sessions are recognised by cookies or by the user's
    /// network, any page that a user visits can then open sessions in the user's name.
    Any,
}

impl Origins {
    /// A list of [patterns](OriginPattern).
    ///
    /// # Errors
    /// Returns the error of the first text that is no pattern.
    ///
    /// ```
    /// use sio_proto::{Config, Origins};
    /// let origins = Origins::list(["good.example:*", "https://shop.example", "capacitor://localhost"])?;
    /// let config = Config::default().origins(origins);
    /// # Ok::<(), sio_proto::OriginPatternError>(())
    /// ```
    pub fn list<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginPatternError> {
        let patterns = patterns.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::List(patterns))
    }

    /// Whether every page may open sessions.
    pub(crate) fn are_open(&self) -> bool {
        match self {
            Self::Any => true,
            Self::List(patterns) => patterns.iter().any(|pattern| pattern.0 == Pattern::All),
            Self::SameHost => false,
        }
    }
}

/// The origins that one entry of a list means.
///
/// | pattern | the origins that fit |
/// |---|---|
/// | `*:*`, `*` | all, whatever their scheme, `null` and `file://` too |
/// | `good.example:*`, `good.example` | this host, whatever the port |
/// | `*.good.example`, `*.good.example:*` | all hosts below this one, whatever the port: `a.good.example` and `a.b.good.example`, not `good.example` |
/// | `*:8080` | this port, whatever the host |
/// | `good.example:8080` | this host with this port |
/// | `https://good.example` | this origin and no other: the scheme counts, and a missing port is the default port of the scheme |
/// | `capacitor://localhost`, `chrome-extension://abcdef` | the origin of an app or an extension: any scheme can be listed |
/// | `app://*` | all origins of this scheme that have a host |
/// | `file://` | this scheme without a host: some web views send this for files |
/// | `null` | `null`: pages without an origin send this, such as files and sandboxed frames |
///
/// An origin without a port has the default port of its scheme: 80 for `http` and `ws`, 443 for
/// `https` and `wss`, and no port for other schemes. The genuine servers meant this, but none of
/// them does it. 0.6 compares the host with its port still attached, so that `good.example:8080`
/// fits nothing. 0.7 finds no match either. 0.8 needs the port to be written. 0.9 assumes 80 for
/// `https` too, and accepts `null` for any host. Hosts are compared without regard to case. A host
/// in brackets is an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    All,
    Null,
    /// `None` means any.
    Page {
        scheme: Option<String>,
        host: Option<String>,
        port: Option<u16>,
    },
}

/// Why a text is no pattern for origins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginPatternError {
    /// The text has no host, or its host has a character that no host has. A `*` stands for a whole
    /// host, or for everything before a dot.
    #[error("origin pattern {0:?}: no host, nor `*`")]
    Host(String),
    /// The text behind the host is neither a port nor `*`.
    #[error("origin pattern {0:?}: no port from 1 to 65535, nor `*`")]
    Port(String),
    /// The text before `://` is no scheme (RFC 3986 §3.1).
    #[error("origin pattern {0:?}: no scheme before `://`")]
    Scheme(String),
}

impl FromStr for OriginPattern {
    type Err = OriginPatternError;

    fn from_str(text: &str) -> Result<Self, OriginPatternError> {
        match text {
            "null" => return Ok(Self(Pattern::Null)),
            "*" | "*:*" => return Ok(Self(Pattern::All)),
            _ => {}
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, _)) if !is_scheme(scheme) => return Err(OriginPatternError::Scheme(text.to_owned())),
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let scheme_port = scheme.as_deref().and_then(default_port);
        if rest.is_empty() && scheme.is_some() && scheme_port.is_none() {
            let (host, port) = (Some(String::new()), None);
            return Ok(Self(Pattern::Page { scheme, host, port }));
        }
        let (host, port) = split_host(rest).ok_or_else(|| OriginPatternError::Host(text.to_owned()))?;
        let host = match host {
            "*" => None,
            host if is_host(
                host.strip_prefix("*.")
                    .filter(|rest| !rest.starts_with('['))
                    .unwrap_or(host),
            ) =>
            {
                Some(host.to_ascii_lowercase())
            }
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
        let (scheme, host, port) = match &self.0 {
            Pattern::All => return f.write_str("*:*"),
            Pattern::Null => return f.write_str("null"),
            Pattern::Page { scheme, host, port } => (scheme, host, port),
        };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(host.as_deref().unwrap_or("*"))?;
        match port {
            Some(port) => write!(f, ":{port}"),
            None if host.as_deref() == Some("") => Ok(()),
            None => f.write_str(":*"),
        }
    }
}

impl OriginPattern {
    /// Whether this origin, as a browser writes it, fits.
    #[must_use]
    pub fn fits(&self, origin: &str) -> bool {
        let (scheme, host, port) = match &self.0 {
            Pattern::All => return true,
            Pattern::Null => return origin == "null",
            Pattern::Page { scheme, host, port } => (scheme, host, port),
        };
        let Some(its) = Parts::of(origin) else { return false };
        let is_host = match host {
            Some(host) => fits_host(host, its.host),
            None => !its.host.is_empty(),
        };
        is_host
            && scheme
                .as_ref()
                .is_none_or(|scheme| scheme.eq_ignore_ascii_case(its.scheme))
            && port.is_none_or(|port| Some(port) == its.port)
    }
}

/// Whether a host is the one of a pattern, or below it where the pattern begins with `*.`.
fn fits_host(pattern: &str, host: &str) -> bool {
    let Some(tail) = pattern.strip_prefix('*') else {
        return pattern.eq_ignore_ascii_case(host);
    };
    let start = host.len().checked_sub(tail.len()).filter(|start| *start > 0);
    let end = start.and_then(|start| host.as_bytes().get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(tail.as_bytes()))
}

/// An origin taken apart (RFC 6454 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) scheme: &'a str,
    /// Empty for `file://` and similar origins.
    pub(crate) host: &'a str,
    /// The default port of the scheme if no port is written.
    pub(crate) port: Option<u16>,
}

impl<'a> Parts<'a> {
    /// `None` for a text that is no origin: `null`, user names, paths, and everything else that no
    /// browser writes.
    pub(crate) fn of(origin: &'a str) -> Option<Self> {
        if origin.len() > MAX_ORIGIN_BYTES {
            return None;
        }
        let (scheme, rest) = origin.split_once("://").filter(|(scheme, _)| is_scheme(scheme))?;
        let scheme_port = default_port(scheme);
        if rest.is_empty() {
            let (host, port) = ("", None);
            return scheme_port.is_none().then_some(Self { scheme, host, port });
        }
        let (host, port) = split_host(rest).filter(|(host, _)| is_host(host))?;
        let port = match port {
            None => scheme_port,
            Some(port) => Some(read_port(port)?),
        };
        Some(Self { scheme, host, port })
    }
}

/// The default port of a scheme.
fn default_port(scheme: &str) -> Option<u16> {
    [("http", 80), ("ws", 80), ("https", 443), ("wss", 443)]
        .into_iter()
        .find_map(|(known, port)| known.eq_ignore_ascii_case(scheme).then_some(port))
}

/// Whether a text is a scheme (RFC 3986 §3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Host and port of `host[:port]`, where the colons of an IPv6 address stand in brackets.
pub(crate) fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let end = if text.starts_with('[') {
        text.find(']')?.saturating_add(1)
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    match rest {
        "" => Some((host, None)),
        rest => Some((host, Some(rest.strip_prefix(':')?))),
    }
}

pub(crate) fn read_port(text: &str) -> Option<u16> {
    let is_plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port > 0)
}

/// Whether a text can be a host: an ASCII name (browsers write international names in ASCII) or an
/// address. An IPv6 address stands in brackets.
pub(crate) fn is_host(text: &str) -> bool {
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

    /// The cases of docs/protocol/legacy-0.6.md §14 and docs/protocol/legacy-0.9.md §17, read as
    /// their authors meant them.
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
                    "file://",
                    "",
                    "a.example",
                ][..],
                &[][..],
            ),
            (
                "app://*",
                &["app://x", "APP://x:1"],
                &["app://", "http://x", "app://u@x", "app://x/y"],
            ),
            (
                "file://",
                &["file://", "FILE://"],
                &["file:///", "file://x", "null", "app://"],
            ),
            (
                "capacitor://localhost",
                &["capacitor://localhost"],
                &[
                    "capacitor://localhost:1x",
                    "http://localhost",
                    "capacitor://",
                    "capacitor://evil",
                ],
            ),
            (
                "chrome-extension://abcdef",
                &["chrome-extension://abcdef"],
                &["chrome-extension://abcdeg", "https://abcdef"],
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
                    "http://good.example@evil",
                    "http://evil:80@good.example",
                    "http://good.example/",
                    "http://good.example,http://evil",
                    "http://good.example:",
                    "http:// good.example",
                    "http://g\u{f6}od.example",
                    "good.example",
                    "",
                ],
            ),
            // 0.6 finds no match for this origin, and 0.7 finds none either.
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
            // 0.8 needs the port to be written.
            (
                "good.example:80",
                &["http://good.example", "http://good.example:80", "ws://good.example"],
                &["https://good.example", "moz-extension://good.example"],
            ),
            // 0.9 assumes port 80 for this origin.
            (
                "good.example:443",
                &["https://good.example", "wss://good.example", "https://good.example:443"],
                &["http://good.example"],
            ),
            (
                "https://*.Good.example",
                &["https://a.good.example", "https://a.b.GOOD.example:443"],
                &[
                    "https://good.example",
                    "https://.good.example",
                    "https://evilgood.example",
                    "https://a.good.example.evil",
                    "https://a.good.example:1",
                    "http://a.good.example",
                ],
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
            ("*good.example", host),
            ("a.*.example", host),
            ("*.*.example", host),
            ("*.", host),
            ("*.[::1]", host),
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
            ("://good.example", scheme),
            ("1x://good.example", scheme),
            ("*://good.example", scheme),
            ("app://a b", host),
            ("file://:80", host),
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
            ("file://", "file://"),
            ("App://x", "app://x:*"),
            ("app://*:8", "app://*:8"),
        ] {
            assert_eq!(pattern(text).to_string(), full);
            assert_eq!(pattern(full), pattern(text));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(https?://|app://|null|\\*|:|\\[|\\]|[a-z0-9.é]){0,8}", origin in any::<String>()) {
            if let Ok(pattern) = text.parse::<OriginPattern>() {
                let _ = pattern.fits(&origin);
                let _ = pattern.fits(&text);
                prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
            }
        }
    }
}
