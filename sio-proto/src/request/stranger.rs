//! Which requests are refused because of their host or their page: whether the host that a request
//! names belongs to the server, and whether its page may open sessions.
//!
//! ```text
//!   Host ──► ours? ──► Origin? ── yes ──► allowed?
//!                        └── no ──► a script? ── no ──► passes: no other page can read the answer
//!                                      └── yes ──► Referer, Sec-Fetch-Site: do they name an allowed page?
//! ```
//! The places of the fields that matter are known since the head was read. If all pages and all
//! hosts are allowed, no field is looked at.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::Peer;
use crate::hosts::Host;
use crate::http::Name;
use crate::origins::{MAX_ORIGIN_BYTES, Parts};
use crate::{Config, Hosts, Origins, http};

/// How many bytes of each text of a stranger are kept.
const KEPT_BYTES: usize = 128;

/// A request that was refused because of its host or page, as far as the request describes itself.
/// The texts that are kept are short and printable, so that they can be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The reason.
    pub why: Strangeness,
    /// The value of its `Origin`. For a script without one, the value of its `Referer`.
    pub origin: Option<String>,
    /// The host that the request names.
    pub host: Option<String>,
}

/// Why a request is refused because of its host or page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strangeness {
    /// The host that it names does not belong to the server ([`Config::hosts`]).
    Host,
    /// Its page may not open sessions ([`Config::origins`]).
    Origin,
    /// Its answer would be a script, and the request does not say for which page
    /// ([`Config::origins`]).
    NoPage,
}

impl Strangeness {
    /// The fault, and the setting that decides about it, for the operator. The text does not show
    /// the values of the setting.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Host => "this name of the host is not one of Config::hosts",
            Self::Origin => "this origin is not one of Config::origins",
            Self::NoPage => "a script without Referer is only for Config::origins that are open to all",
        }
    }

    /// The setting that decides about it.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Host => "Config::hosts",
            Self::Origin | Self::NoPage => "Config::origins",
        }
    }
}

impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stranger")
            .field("why", &self.why)
            .field("origin", &self.origin)
            .field("host", &self.host)
            .finish()
    }
}

/// The page that a request names by `Origin`, and whether it may read the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page<'a> {
    origin: Option<&'a str>,
    pub(crate) may_read: bool,
}

impl<'a> Page<'a> {
    /// A page may read answers if CORS allows it, or if its origin is listed ([`Config::origins`]).
    /// The application's own rule is called here, once for each request, so it is called while no
    /// lock is held.
    pub(crate) fn of(config: &Config, request: &'a http::Request) -> Self {
        if config.cors.is_none() && !matches!(config.origins, Origins::List(_)) {
            return Self::default();
        }
        let origin = origin(request);
        let may_read = origin.is_some_and(|origin| {
            let listed = match &config.origins {
                Origins::List(patterns) => patterns.iter().any(|pattern| pattern.fits(origin)),
                Origins::SameHost | Origins::Any => false,
            };
            listed || config.cors.as_ref().is_some_and(|cors| cors.fits(origin))
        });
        Self { origin, may_read }
    }

    /// Whether CORS allows this origin, if no origins are listed.
    fn fits_cors(self, config: &Config, origin: &str) -> bool {
        match self.origin == Some(origin) {
            true => self.may_read,
            false => config.cors.as_ref().is_some_and(|cors| cors.fits(origin)),
        }
    }
}

/// The value of `Origin`, if it can be repeated in an answer.
pub(crate) fn origin(request: &http::Request) -> Option<&str> {
    let value = request.headers.known(Name::Origin)?;
    core::str::from_utf8(value)
        .ok()
        .filter(|origin| origin.len() <= MAX_ORIGIN_BYTES)
}

/// What a page of another site can do with a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: such a page cannot read the answer, and cannot send the request without an origin.
    Closed,
    /// A script, a page of scripts, or the answer to a form: every page can request it, and every
    /// page can read a script.
    Script,
}

/// Whether every page may open sessions, because of the origins, or because of the CORS headers
/// beside the setting for the same host.
pub(crate) fn is_open(config: &Config) -> bool {
    match &config.origins {
        Origins::SameHost => config.cors.as_ref().is_some_and(crate::Cors::is_open),
        origins => origins.are_open(),
    }
}

/// Whether a request may be served, as far as its host and its page decide. It holds the fault for
/// each reach of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) closed: Option<Strangeness>,
    pub(crate) script: Option<Strangeness>,
}

impl Verdicts {
    /// For requests that do not need the check.
    pub(crate) const REFUSED: Self = Self {
        closed: Some(Strangeness::Origin),
        script: Some(Strangeness::Origin),
    };

    /// The cost is a comparison with each pattern of the config, and one walk over the header
    /// fields if one of those that matter stands there twice. At this point only [`http::Limits`]
    /// have been checked. `page` belongs to the same request.
    pub(crate) fn of(config: &Config, request: &http::Request, peer: &Peer, page: Page<'_>) -> Self {
        let both = |why| Self {
            closed: why,
            script: why,
        };
        let open = is_open(config);
        if open && !matches!(config.hosts, Hosts::List(_)) {
            return both(None);
        }
        let said = Said::of(request);
        if !said.host_is_ours(config, peer, open) {
            return both(Some(Strangeness::Host));
        }
        if open {
            return both(None);
        }
        let secure = peer.secure || config.behind_tls;
        if said.is_ambiguous {
            return both(Some(Strangeness::Origin));
        }
        if let Some(origin) = said.origin.map(core::str::from_utf8) {
            return both(refused(
                origin.is_ok_and(|origin| said.is_allowed(config, secure, origin, page)),
            ));
        }
        Self {
            closed: None,
            script: said.judge_script(config, secure, page),
        }
    }
}

impl Stranger {
    /// A request that is refused for this reason.
    pub(crate) fn new(request: &http::Request, why: Strangeness) -> Box<Self> {
        let said = Said::of(request);
        Box::new(Self {
            why,
            origin: said.origin.or_else(|| said.referer.map(without_path)).map(printable),
            host: said.host.map(|host| printable(host.as_bytes())),
        })
    }
}

/// The fields of a request that say where it comes from.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) host: Option<&'a str>,
    /// The first value, if there are several.
    pub(super) origin: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    fetch_site: Option<&'a [u8]>,
    /// A field stands there twice, with different values.
    is_ambiguous: bool,
}

impl<'a> Said<'a> {
    pub(super) fn of(request: &'a http::Request) -> Self {
        let headers = &request.headers;
        let names = [Name::Host, Name::Origin, Name::Referer, Name::SecFetchSite];
        // The older name of `Origin` is rare, and both may stand there.
        let is_plain = headers.known(Name::SecWebSocketOrigin).is_none();
        if !is_plain || !names.into_iter().all(|name| headers.comes_once_at_most(name)) {
            return Self::walk(request);
        }
        Self {
            host: headers.known(Name::Host).map(host_text),
            origin: headers.known(Name::Origin),
            referer: headers.known(Name::Referer),
            fetch_site: headers.known(Name::SecFetchSite),
            is_ambiguous: false,
        }
    }

    /// Reads fields of which one may stand there twice.
    #[cold]
    fn walk(request: &'a http::Request) -> Self {
        let mut said = Self::default();
        for (name, value) in request.headers.raw() {
            step!();
            let place = match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => {
                    // The decoder refuses a second `Host`.
                    said.host = Some(host_text(value));
                    continue;
                }
                6 if name.eq_ignore_ascii_case(b"origin") => &mut said.origin,
                7 if name.eq_ignore_ascii_case(b"referer") => &mut said.referer,
                14 if name.eq_ignore_ascii_case(b"sec-fetch-site") => &mut said.fetch_site,
                // The drafts of WebSocket before RFC 6455 have the origin in their own field
                // (docs/protocol/legacy-0.9.md §9).
                20 if name.eq_ignore_ascii_case(b"sec-websocket-origin") => &mut said.origin,
                _ => continue,
            };
            match place {
                Some(before) => said.is_ambiguous |= *before != value,
                None => *place = Some(value),
            }
        }
        said
    }

    fn host_is_ours(&self, config: &Config, peer: &Peer, open: bool) -> bool {
        let host = self.host.filter(|host| !host.is_empty());
        match &config.hosts {
            Hosts::Any => true,
            Hosts::List(patterns) => host.is_some_and(|host| patterns.iter().any(|pattern| pattern.fits(host))),
            Hosts::Loopback if open || !peer.is_loopback() => true,
            // Browsers always send it.
            Hosts::Loopback => host.is_none_or(|host| Host::of(host).is_some_and(Host::is_loopback)),
        }
    }

    /// What is wrong with the page that loads a script, if the request has no `Origin`.
    fn judge_script(&self, config: &Config, secure: bool, asked: Page<'_>) -> Option<Strangeness> {
        if let Some(referer) = self.referer {
            let page = core::str::from_utf8(referer).ok().and_then(origin_of);
            return refused(page.is_some_and(|page| self.is_allowed(config, secure, page, asked)));
        }
        // Only modern browsers send this field, and no page can set it (Fetch Metadata §2.3).
        match self.fetch_site {
            Some(b"same-origin") => None,
            Some(_) => Some(Strangeness::Origin),
            None => Some(Strangeness::NoPage),
        }
    }

    fn is_allowed(&self, config: &Config, secure: bool, origin: &str, page: Page<'_>) -> bool {
        if origin.len() > MAX_ORIGIN_BYTES {
            return false;
        }
        match &config.origins {
            Origins::Any => true,
            Origins::List(patterns) => patterns.iter().any(|pattern| pattern.fits(origin)),
            Origins::SameHost => {
                page.fits_cors(config, origin) || self.host.is_some_and(|host| is_same_host(origin, host, secure))
            }
        }
    }
}

/// A value of `Host` as text. One that is not text is no name of ours.
fn host_text(value: &[u8]) -> &str {
    core::str::from_utf8(value).unwrap_or("?")
}

const fn refused(allowed: bool) -> Option<Strangeness> {
    if allowed { None } else { Some(Strangeness::Origin) }
}

/// Whether an origin belongs to the host of a request. A missing port is the default port of the
/// scheme.
fn is_same_host(origin: &str, host: &str, secure: bool) -> bool {
    let (Some(page), Some(host)) = (Parts::of(origin), Host::of(host)) else {
        return false;
    };
    let default_port = match page.scheme {
        scheme if scheme.eq_ignore_ascii_case("https") => 443,
        scheme if scheme.eq_ignore_ascii_case("http") && !secure => 80,
        _ => return false,
    };
    let name = page.host.strip_suffix('.').unwrap_or(page.host);
    name.eq_ignore_ascii_case(host.name) && page.port == Some(host.port.unwrap_or(default_port))
}

/// The origin of a page, from its address. A text that is no origin stays as it is, because it fits
/// nothing.
fn origin_of(page: &str) -> Option<&str> {
    let (_, behind) = page.split_once("://")?;
    let path = behind.find(['/', '?', '#']).and_then(|at| behind.get(at..));
    page.strip_suffix(path.unwrap_or_default())
}

/// A referer without its path, which may hold secrets.
pub(super) fn without_path(referer: &[u8]) -> &[u8] {
    match core::str::from_utf8(referer).ok().and_then(origin_of) {
        Some(origin) => origin.as_bytes(),
        None => b"(no origin)",
    }
}

/// The first bytes of a stranger's text. A `?` stands for each byte that does not belong into a log
/// line.
pub(super) fn printable(bytes: &[u8]) -> String {
    let kept = bytes.get(..KEPT_BYTES).unwrap_or(bytes);
    let mut text: String = kept
        .iter()
        .map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' })
        .collect();
    if kept.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The origin of a page is the part before its path, and a user name does not change the host.
    #[test]
    fn pages_have_origins() {
        for (page, origin) in [
            (
                "http://good.example/page?x=http://evil.example",
                Some("http://good.example"),
            ),
            ("http://good.example:81", Some("http://good.example:81")),
            ("http://good.example?x/y", Some("http://good.example")),
            ("http://good.example#@evil", Some("http://good.example")),
            ("http://good.example@evil/", Some("http://good.example@evil")),
            ("http://good.example\\@evil/", Some("http://good.example\\@evil")),
            ("about:client", None),
            ("", None),
        ] {
            assert_eq!(origin_of(page), origin, "{page}");
        }
        assert_eq!(Parts::of("http://good.example@evil"), None);
        assert_eq!(Parts::of("http://good.example\\@evil"), None);
    }

    #[test]
    fn the_same_host() {
        for (origin, host, plain, secure) in [
            ("http://a.example", "a.example", true, false),
            ("https://a.example", "a.example", true, true),
            ("HTTP://A.example:80", "a.EXAMPLE", true, false),
            ("http://a.example", "a.example:80", true, false),
            ("https://a.example:443", "a.example", true, true),
            ("https://a.example", "a.example:80", false, false),
            ("http://a.example.", "a.example", true, false),
            ("http://a.example", "a.example.", true, false),
            ("http://[::1]:3000", "[::1]:3000", true, false),
            ("http://a.example:8080", "a.example", false, false),
            ("http://a.example", "b.example", false, false),
            ("http://a.example", "x.a.example", false, false),
            ("ftp://a.example:80", "a.example", false, false),
            ("app://a.example", "a.example", false, false),
            ("http://u@a.example", "u@a.example", false, false),
            ("http://a.example/", "a.example/", false, false),
            ("null", "null", false, false),
            ("a.example", "a.example", false, false),
            ("http://", "", false, false),
        ] {
            assert_eq!(is_same_host(origin, host, false), plain, "{origin} {host}");
            assert_eq!(is_same_host(origin, host, true), secure, "{origin} {host} over TLS");
        }
    }

    #[test]
    fn what_is_logged_is_short_and_printable() {
        assert_eq!(printable(b"http://a\x1b[31m\xff b"), "http://a?[31m??b");
        let long = printable(&[b'x'; 5000]);
        assert_eq!((long.len(), long.ends_with("x...")), (KEPT_BYTES + 3, true));
        assert_eq!(without_path(b"http://a/secret?token=1"), b"http://a");
        assert_eq!(without_path(b"token=1"), b"(no origin)");
    }
}
