//! The cookies of one server (RFC 6265), so that a load balancer sees its sticky cookie again.
//!
//! The jar is a part of the machine, and not one of a crate (ARCHITECTURE.md, "Cookies", has the
//! reasons). The tests compare it with the crate `cookie_store`. A client talks to one host only,
//! so a cookie never reaches another one, and a list of public suffixes would decide nothing:
//! `Domain` may name the host or a domain above it. `HttpOnly` and `SameSite` are for browsers.
//!
//! `Expires` is a date, and this crate has no clock of dates. So its distance from the `Date` of
//! the same response counts, as in a cache (RFC 9111 §4.2.1). This is right even if one of the two
//! clocks is wrong. Without `Date`, a date before 2000 removes the cookie, which is how servers
//! remove one, and other dates do not count.
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
use core::net::IpAddr;
use core::time::Duration;

use super::cookie_date;
use super::endpoint::Endpoint;
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::http::Headers;

/// What a cookie costs besides its texts.
const ENTRY_BYTES: usize = 64;

/// The longest life of a cookie: 400 days, as in browsers.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// The beginning of 2000, in seconds since 1970. No server of today writes an earlier `Expires`,
/// except to remove a cookie.
const YEAR_2000: i64 = 946_684_800;

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    /// The domain above the host that the server named, in lower case. Empty for the host itself.
    /// Every request is for the host, so this only tells cookies apart (RFC 6265 §5.3, step 11).
    domain: String,
    secure: bool,
    expires: Option<Time>,
}

impl Cookie {
    fn bytes(&self) -> usize {
        [&self.name, &self.value, &self.path, &self.domain]
            .iter()
            .fold(ENTRY_BYTES, |bytes, part| bytes.saturating_add(part.len()))
    }
}

/// For so many cookies there may always be room: a server that removes its only cookie and sets it
/// again costs no list each time.
const MOST_KEPT: usize = 8;

/// The cookies, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct CookieJar {
    cookies: Vec<Cookie>,
}

impl CookieJar {
    /// Takes the cookies of a response. A cookie that does not fit into `max_bytes` with the others
    /// is ignored.
    pub(super) fn store(&mut self, now: Time, headers: &Headers, from: &Endpoint, max_bytes: usize) {
        let mut date = None;
        for line in headers.get_all("set-cookie") {
            step!(bulk line.len());
            let Some(found) = core::str::from_utf8(line).ok().and_then(|line| parse(line, from)) else {
                continue;
            };
            let date = *date.get_or_insert_with(|| cookie_date::parse(&headers.text("date")?));
            self.put(now, found, date, max_bytes);
        }
    }

    fn put(&mut self, now: Time, found: Found, date: Option<i64>, max_bytes: usize) {
        let life = found.life(date);
        let mut cookie = found.cookie;
        let is_same =
            |old: &Cookie| (&old.name, &old.path, &old.domain) == (&cookie.name, &cookie.path, &cookie.domain);
        step!(each self.cookies.len());
        let place = self.cookies.iter().position(is_same);
        if life.is_some_and(|seconds| seconds <= 0) {
            if let Some(place) = place {
                self.cookies.remove(place);
                self.give_back();
            }
            return;
        }
        cookie.expires = life.map(|seconds| end(now, seconds.unsigned_abs()));
        if let Some(place) = place {
            // It keeps its place (RFC 6265 §5.3, step 11), if there is room for its new value.
            if let Some(old) = self.cookies.get_mut(place) {
                *old = cookie;
            }
            if self.held() > max_bytes {
                self.cookies.remove(place);
                self.give_back();
            }
            return;
        }
        self.cookies
            .retain(|old| old.expires.is_none_or(|expires| now < expires));
        self.give_back();
        if self.held().saturating_add(cookie.bytes()) <= max_bytes {
            self.cookies.push(cookie);
        }
    }

    /// Gives back the memory of a list that is much longer than what is in it.
    fn give_back(&mut self) {
        if self.cookies.capacity() > MOST_KEPT && self.cookies.len() < self.cookies.capacity() / 4 {
            self.cookies
                .shrink_to(MOST_KEPT.max(self.cookies.len().saturating_mul(2)));
        }
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let texts = |cookie: &Cookie| cookie.bytes().saturating_sub(ENTRY_BYTES);
        Holding::shrinking::<Cookie>(self.cookies.capacity(), self.cookies.len()).with(self.cookies.iter().map(texts))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// How many bytes the cookies have.
    fn held(&self) -> usize {
        step!(each self.cookies.len());
        self.cookies
            .iter()
            .fold(0, |held, cookie| held.saturating_add(cookie.bytes()))
    }

    /// The value of `Cookie` for a request, if there is any: long paths first, then in the order in
    /// which the cookies came (RFC 6265 §5.4). Cookies whose name `is_given` knows are left out:
    /// their values come from the user.
    pub(super) fn header(&self, now: Time, path: &str, tls: bool, is_given: impl Fn(&str) -> bool) -> Option<String> {
        let fits = |cookie: &&Cookie| {
            (tls || !cookie.secure)
                && cookie.expires.is_none_or(|expires| now < expires)
                && is_below(path, &cookie.path)
                && !is_given(&cookie.name)
        };
        step!(each self.cookies.len());
        let mut cookies: Vec<&Cookie> = self.cookies.iter().filter(fits).collect();
        cookies.sort_by_key(|cookie| core::cmp::Reverse(cookie.path.len()));
        let mut value = String::new();
        for cookie in cookies {
            step!();
            if !value.is_empty() {
                value.push_str("; ");
            }
            value.push_str(&cookie.name);
            value.push('=');
            value.push_str(&cookie.value);
        }
        (!value.is_empty()).then_some(value)
    }
}

/// When a cookie ends that lives for so many seconds.
fn end(now: Time, seconds: u64) -> Time {
    now + Duration::from_secs(seconds).min(LONGEST)
}

/// RFC 6265 §5.1.4.
fn is_below(path: &str, of: &str) -> bool {
    let rest = path.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// The path of a cookie that names none: that of the request, up to its last `/` (RFC 6265 §5.1.4).
fn default_path(of: &str) -> &str {
    match of.rfind('/') {
        None | Some(0) => "/",
        Some(at) => of.get(..at).unwrap_or("/"),
    }
}

/// What a field says.
struct Found {
    cookie: Cookie,
    max_age: Option<i64>,
    expires: Option<i64>,
}

impl Found {
    /// How long the cookie lives, in seconds; without an end if there is none. `Max-Age` counts
    /// before `Expires`.
    fn life(&self, date: Option<i64>) -> Option<i64> {
        match (self.max_age, self.expires, date) {
            (Some(max_age), _, _) => Some(max_age),
            (None, Some(expires), Some(date)) => Some(expires.saturating_sub(date)),
            (None, Some(expires), None) => (expires < YEAR_2000).then_some(0),
            (None, None, _) => None,
        }
    }
}

/// RFC 6265 §5.2.
fn parse(line: &str, from: &Endpoint) -> Option<Found> {
    let mut parts = line.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_sound = |text: &str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    if name.is_empty() || !is_sound(name) || !is_sound(value) {
        return None;
    }
    let (mut max_age, mut expires, mut path, mut secure, mut domain) = (None, None, "", false, "");
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (key, value) = (key.trim(), value.trim());
        // The last attribute of a name counts.
        if key.eq_ignore_ascii_case("max-age") {
            max_age = read_age(value).or(max_age);
        } else if key.eq_ignore_ascii_case("expires") {
            expires = cookie_date::parse(value).or(expires);
        } else if key.eq_ignore_ascii_case("path") {
            path = value;
        } else if key.eq_ignore_ascii_case("secure") {
            secure = true;
        } else if key.eq_ignore_ascii_case("domain") && !value.is_empty() {
            domain = value;
        }
    }
    if !path.starts_with('/') {
        path = default_path(&from.path);
    }
    let cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        path: path.to_owned(),
        domain: own_domain(&from.host, domain)?,
        secure,
        expires: None,
    };
    Some(Found {
        cookie,
        max_age,
        expires,
    })
}

/// Reads `Max-Age`. A number that is too large counts as the largest one.
fn read_age(value: &str) -> Option<i64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(
        value
            .parse()
            .unwrap_or_else(|_| if value.starts_with('-') { 0 } else { i64::MAX }),
    )
}

/// The domain above `host` that `Domain` names; empty if it names the host or nothing. `None` if
/// the host may not set cookies for it (RFC 6265 §5.1.3).
fn own_domain(host: &str, domain: &str) -> Option<String> {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    if domain.is_empty() || domain == host {
        return Some(String::new());
    }
    if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        return None; // an address has no domain above it
    }
    host.strip_suffix(&*domain)?.ends_with('.').then_some(domain)
}

#[cfg(test)]
mod against_cookie_store;

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn jar(lines: &[&str], max: usize) -> CookieJar {
        let mut jar = CookieJar::default();
        store(&mut jar, "http://a.example", None, lines, max);
        jar
    }

    fn store(jar: &mut CookieJar, url: &str, date: Option<&str>, lines: &[&str], max: usize) {
        let cookies = lines.iter().map(|line| ("Set-Cookie", line.as_bytes()));
        let date = date.iter().map(|date| ("Date", date.as_bytes()));
        let headers: Headers = cookies.chain(date).collect();
        jar.store(Time::ZERO, &headers, &Endpoint::parse(url).unwrap(), max);
    }

    /// Client C25.
    #[test]
    fn sticky_cookies_come_back() {
        let jar = jar(
            &[
                "AWSALB=x1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                "here=1",
                "io=abc; Path=/socket.io; HttpOnly",
                "other=1; Path=/socket",
                "safe=1; Secure; Path=/",
                "foreign=1; Domain=b.example",
                "above=1; Domain=.example",
                "short=1; Max-Age=10",
                "gone=1; Max-Age=0",
                "no-value",
                "=1",
            ],
            1000,
        );
        let header = jar.header(Time::ZERO, "/socket.io/", false, |_| false);
        assert_eq!(header.as_deref(), Some("here=1; io=abc; above=1; short=1; AWSALB=x1"));
        let later = jar.header(Time::from_millis(10_000), "/x", true, |_| false);
        assert_eq!(later.as_deref(), Some("AWSALB=x1; safe=1"));
    }

    /// The limit `max_cookie_bytes`.
    #[test]
    fn a_jar_has_a_limit_in_bytes() {
        let limit = 2 * (ENTRY_BYTES + 10);
        let mut jar = jar(
            &["a=1234; Path=/", "b=123456789012345678; Path=/", "c=1; Path=/"],
            limit,
        );
        let held = |jar: &CookieJar| jar.header(Time::ZERO, "/", false, |_| false);
        assert_eq!(held(&jar).as_deref(), Some("a=1234; c=1"));
        // A value that has grown beyond the limit is forgotten, and what has expired makes room.
        let mut again = |lines: &[&str]| store(&mut jar, "http://a.example", None, lines, limit);
        again(&["a=123456789012345678; Path=/"]);
        again(&["d=1; Path=/; Max-Age=0"]);
        assert_eq!(held(&jar).as_deref(), Some("c=1"));
        let many: Vec<String> = (0..1000).map(|n| alloc::format!("n{n}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        store(&mut jar, "http://a.example", None, &many, limit);
        assert_eq!(jar.cookies.len(), 2);
    }

    /// Also the places of cookies whose new values do not fit. A few places stay.
    #[test]
    fn a_jar_gives_its_places_back() {
        let lines = |value: &str| {
            let line = |number| format!("{number}={value}; Path=/");
            (0..200).map(line).collect::<Vec<_>>()
        };
        let limit = 200 * (ENTRY_BYTES + 10);
        let (small, large) = (lines("1"), lines(&"1".repeat(limit)));
        let of = |lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
            let mut jar = jar(&lines, limit);
            jar.cookies.shrink_to_fit();
            jar
        };
        let mut jar = of(&small);
        assert_eq!(jar.cookies.len(), 200);
        let large: Vec<&str> = large.iter().map(|line| &**line).collect();
        store(&mut jar, "http://a.example", None, &large, limit);
        assert_eq!((jar.cookies.len(), jar.cookies.capacity()), (0, MOST_KEPT));
    }

    #[test]
    fn a_cookie_is_replaced_and_removed() {
        let header = |lines: &[&str]| jar(lines, 999).header(Time::ZERO, "/", false, |_| false);
        assert_eq!(
            header(&["a=1; Path=/", "b=1; Path=/", "a=2; Path=/"]).as_deref(),
            Some("a=2; b=1")
        );
        assert_eq!(header(&["a=1; Path=/", "a=2; Path=/; Max-Age=-1"]), None);
        let past = "a=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(header(&["a=1; Path=/", past]), None);
        // One for the host, and one for the domain above it.
        assert_eq!(
            header(&[
                "a=1; Path=/",
                "a=2; Path=/; Domain=Example",
                "a=3; Path=/; Domain=A.example"
            ])
            .as_deref(),
            Some("a=3; a=2")
        );
    }

    /// RFC 6265 §5.2.1, §5.2.2 and §5.3: how long a cookie lives.
    #[test]
    fn cookies_expire() {
        let noon = Some("Fri, 27 Nov 2026 12:00:00 GMT");
        for (attributes, date, life) in [
            ("", noon, None),
            ("; Expires=Fri, 27 Nov 2026 12:00:10 GMT", noon, Some(10)),
            ("; Expires=Fri, 27-Nov-26 12:01:00 GMT", noon, Some(60)),
            ("; expires=Fri, 27 Nov 2026 12:00:00 GMT", noon, Some(0)),
            ("; Expires=Fri, 27 Nov 2026 11:59:59 GMT", noon, Some(0)),
            ("; Expires=Fri, 27 Nov 2026 12:00:10 GMT; Max-Age=20", noon, Some(20)),
            ("; Max-Age=20; Expires=Thu, 01 Jan 1970 00:00:00 GMT", noon, Some(20)),
            ("; Max-Age=99999999999999999999", noon, Some(LONGEST.as_secs())),
            ("; Max-Age=-99999999999999999999", noon, Some(0)),
            ("; Max-Age=+5", noon, None),
            ("; Max-Age=x; Expires=x", noon, None),
            ("; Max-Age=30; Max-Age=40", noon, Some(40)),
            // Without the server's date, only a date of long ago counts.
            ("; Expires=Fri, 27 Nov 2026 12:00:10 GMT", None, None),
            ("; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None, Some(0)),
            ("; Expires=Fri, 31 Dec 1999 23:59:59 GMT", None, Some(0)),
            ("; Expires=Sat, 01 Jan 2000 00:00:00 GMT", None, None),
            ("; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some("now"), Some(0)),
        ] {
            let mut jar = CookieJar::default();
            let line = alloc::format!("a=1; Path=/{attributes}");
            store(&mut jar, "http://a.example", date, &[&line], 999);
            let lives = |seconds: u64| {
                jar.header(Time::ZERO + Duration::from_secs(seconds), "/", false, |_| false)
                    .is_some()
            };
            match life {
                None => assert!(lives(LONGEST.as_secs() * 2), "{attributes}"),
                Some(0) => assert!(!lives(0), "{attributes}"),
                Some(life) => assert!(lives(life - 1) && !lives(life), "{attributes}"),
            }
        }
    }

    /// Cookies fill the jar to its last byte. One that is over makes room, and one whose new value
    /// does not fit is gone.
    #[test]
    fn a_full_jar_has_room_when_a_cookie_is_over() {
        let endpoint = Endpoint::parse("http://a.example").unwrap();
        let mut jar = CookieJar::default();
        let mut put = |seconds: u64, line: &str| {
            let now = Time::ZERO + Duration::from_secs(seconds);
            let found = parse(line, &endpoint).unwrap();
            // 64 bytes, the name and the path are 66.
            jar.put(now, found, None, 2 * 66 + 4);
            jar.header(now, "/", false, |_| false).unwrap_or_default()
        };
        assert_eq!(put(0, "a=11; Path=/; Max-Age=10"), "a=11");
        assert_eq!(put(0, "b=222; Path=/"), "a=11", "one byte too many");
        assert_eq!(put(0, "b=22; Path=/"), "a=11; b=22");
        assert_eq!(put(0, "b=33; Path=/"), "a=11; b=33");
        assert_eq!(put(0, "c=1; Path=/"), "a=11; b=33");
        assert_eq!(put(9, "c=1; Path=/"), "a=11; b=33");
        assert_eq!(put(10, "c=1; Path=/"), "b=33; c=1");
        assert_eq!(put(10, "b=4444; Path=/"), "c=1");
    }

    /// RFC 6265 §5.1.3: which `Domain` a server may name.
    #[test]
    fn domains_are_those_of_the_host() {
        for (url, domain, is_own) in [
            ("http://a.b.example", "a.b.example", true),
            ("http://a.b.example", ".B.Example", true),
            ("http://a.b.example", "", true),
            ("http://a.b.example", "x.a.b.example", false),
            ("http://a.b.example", ".b.example.", false),
            ("http://ab.example", "b.example", false),
            ("http://10.0.0.1", "10.0.0.1", true),
            ("http://10.0.0.1", "0.0.1", false),
            ("http://[::1]", "[::1]", true),
            ("http://[::1]", "1]", false),
        ] {
            let mut jar = CookieJar::default();
            store(
                &mut jar,
                url,
                None,
                &[&alloc::format!("a=1; Path=/; Domain={domain}")],
                999,
            );
            let header = jar.header(Time::ZERO, "/", false, |_| false);
            assert_eq!(header.is_some(), is_own, "{url} {domain}");
        }
    }

    /// RFC 6265 §5.1.4: which requests a cookie is for.
    #[test]
    fn paths_are_matched_as_a_whole() {
        for (path, request, fits) in [
            ("/", "/socket.io/", true),
            ("/socket.io", "/socket.io/", true),
            ("/socket.io/", "/socket.io/", true),
            ("/socket.io/", "/socket.io", false),
            ("/socket", "/socket.io/", false),
            ("socket.io", "/socket.io/", true),
            ("socket.io", "/other/", false),
        ] {
            let jar = jar(&[&alloc::format!("a=1; Path={path}")], 999);
            assert_eq!(
                jar.header(Time::ZERO, request, false, |_| false).is_some(),
                fits,
                "{path} {request}"
            );
        }
    }
}
