//! The cookies of one server (RFC 6265), so that a load balancer sees its sticky cookie again.
//!
//! A client talks to one host, so all cookies are host-only. `Expires` needs a calendar and is
//! ignored: a connection lives shorter than such cookies. `Max-Age`, `Path` and `Secure` count.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Time;
use crate::http::Headers;

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    secure: bool,
    expires: Option<Time>,
}

impl Cookie {
    fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + self.path.len()
    }
}

/// The cookies, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct CookieJar {
    cookies: Vec<Cookie>,
}

impl CookieJar {
    /// Takes the cookies of a response. A cookie that does not fit into `max_bytes` with the others
    /// is ignored.
    pub(super) fn store(&mut self, now: Time, headers: &Headers, host: &str, max_bytes: usize) {
        for line in headers.get_all("set-cookie") {
            if let Some((cookie, max_age)) = core::str::from_utf8(line).ok().and_then(|line| parse(line, host)) {
                self.put(now, cookie, max_age, max_bytes);
            }
        }
    }

    fn put(&mut self, now: Time, mut cookie: Cookie, max_age: Option<i64>, max_bytes: usize) {
        self.cookies
            .retain(|old| (&old.name, &old.path) != (&cookie.name, &cookie.path));
        match max_age {
            Some(seconds) if seconds <= 0 => return,
            Some(seconds) => cookie.expires = Some(now + Duration::from_secs(seconds.unsigned_abs())),
            None => {}
        }
        let held: usize = self.cookies.iter().map(Cookie::bytes).sum();
        if held + cookie.bytes() <= max_bytes {
            self.cookies.push(cookie);
        }
    }

    /// The value of `Cookie` for a request, if there is any.
    pub(super) fn header(&self, now: Time, path: &str, tls: bool) -> Option<String> {
        let mut value = String::new();
        let fits = |cookie: &&Cookie| {
            (tls || !cookie.secure)
                && cookie.expires.is_none_or(|expires| now < expires)
                && is_below(path, &cookie.path)
        };
        for cookie in self.cookies.iter().filter(fits) {
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

/// RFC 6265 §5.1.4.
fn is_below(path: &str, of: &str) -> bool {
    let rest = path.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// RFC 6265 §5.2. Also returns `Max-Age`.
fn parse(line: &str, host: &str) -> Option<(Cookie, Option<i64>)> {
    let mut parts = line.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_sound = |text: &str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    if name.is_empty() || !is_sound(name) || !is_sound(value) {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        path: "/".to_owned(),
        secure: false,
        expires: None,
    };
    let mut max_age = None;
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let (key, value) = (key.trim(), value.trim());
        if key.eq_ignore_ascii_case("max-age") {
            max_age = value.parse().ok().or(max_age);
        } else if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
            value.clone_into(&mut cookie.path);
        } else if key.eq_ignore_ascii_case("secure") {
            cookie.secure = true;
        } else if key.eq_ignore_ascii_case("domain") && !is_own_domain(host, value) {
            return None;
        }
    }
    Some((cookie, max_age))
}

fn is_own_domain(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let above = host.strip_suffix(&*domain);
    domain.is_empty() || above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(lines: &[&str], max: usize) -> CookieJar {
        let mut jar = CookieJar::default();
        let headers: Headers = lines.iter().map(|line| ("Set-Cookie", line.as_bytes())).collect();
        jar.store(Time::ZERO, &headers, "a.example", max);
        jar
    }

    /// Client C25.
    #[test]
    fn sticky_cookies_come_back() {
        let jar = jar(
            &[
                "AWSALB=x1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                "io=abc; Path=/socket.io; HttpOnly",
                "other=1; Path=/socket",
                "safe=1; Secure",
                "foreign=1; Domain=b.example",
                "above=1; Domain=.example",
                "short=1; Max-Age=10",
                "gone=1; Max-Age=0",
                "no-value",
                "=1",
            ],
            1000,
        );
        let header = jar.header(Time::ZERO, "/socket.io/", false);
        assert_eq!(header.as_deref(), Some("AWSALB=x1; io=abc; above=1; short=1"));
        let later = jar.header(Time::from_millis(10_000), "/x", true);
        assert_eq!(later.as_deref(), Some("AWSALB=x1; safe=1; above=1"));
    }

    #[test]
    fn a_jar_has_a_limit_in_bytes() {
        let jar = jar(&["a=1234", "b=12345678", "c=1"], 10);
        assert_eq!(jar.header(Time::ZERO, "/", false).as_deref(), Some("a=1234; c=1"));
    }

    #[test]
    fn a_cookie_is_replaced_and_removed() {
        assert_eq!(
            jar(&["a=1", "a=2"], 99).header(Time::ZERO, "/", false).as_deref(),
            Some("a=2")
        );
        assert_eq!(
            jar(&["a=1", "a=2; Max-Age=-1"], 99).header(Time::ZERO, "/", false),
            None
        );
    }
}
