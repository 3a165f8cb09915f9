//! The jar does what the crate `cookie_store` does, for any answers of a server and any requests:
//! the same cookies come back, in the order of RFC 6265, and each lives as long.
//!
//! What the crate does in its own way is not generated: an empty `Max-Age` (the crate keeps such a
//! cookie for ever, RFC 6265 §5.2.2 ignores the attribute), dates in other forms than those that
//! the crate knows (§5.1.1 reads many more), `Secure` on a loopback host, and `Domain` of an IPv6
//! host.
//!
//! The crate does not sort the cookies of a request (§5.4). So the test notes in which order the
//! crate has made them, and sorts what the crate would send. The longest life is that of the jar,
//! 400 days: the crate has no limit.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use cookie_store::{CookieExpiration, CookieStore};
use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

use super::*;

/// The clock of the server. The dates of the cookies are far before and far behind it, so it does
/// not matter that the crate compares them with the clock of this machine.
const DATE: &str = "Sat, 28 Nov 2026 12:00:00 GMT";

const HOSTS: [&str; 4] = ["a.b.example", "A.b.Example", "10.0.0.1", "b.example"];
const PATHS: [&str; 8] = ["/", "/x", "/x/", "/x/y", "/x/y/", "/xy/", "/socket.io/", "/socket.io/x"];

/// The answers of one server, and one request: the cookies of both have to be equal.
#[derive(Debug)]
struct Story {
    host: &'static str,
    answers: Vec<(bool, &'static str, Vec<String>)>,
    request: (bool, &'static str),
}

fn attribute() -> impl Strategy<Value = String> {
    let domain = select(vec![
        "a.b.example",
        ".b.example",
        "B.EXAMPLE",
        "example",
        ".",
        "",
        "x.a.b.example",
        "c.example",
        "xample",
        "b.example.",
        "10.0.0.1",
        "0.0.1",
        ".10.0.0.1",
    ]);
    let path = select(vec![
        "/",
        "/x",
        "/x/",
        "/x/y",
        "/xy",
        "",
        "x",
        "/socket.io",
        "/Socket.io",
    ]);
    let age = select(vec![
        "0",
        "-1",
        "-0",
        "60",
        "61",
        "3600",
        "34559999",
        "34560001",
        "007",
        "99999999999999999999",
        "-99999999999999999999",
        "x",
        "+5",
        "6x",
        "1.5",
        " 60 ",
    ]);
    let expires = select(vec![
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01-Jan-1970 00:00:01 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Fri, 31 Dec 2066 23:59:59 GMT",
        "Friday, 31-Dec-66 23:59:59 GMT",
        "Fri, 31-Dec-2066 23:59:59 GMT",
        "Fri, 29 Feb 2064 00:00:01 GMT",
        "Sun, 29 Feb 2004 01:02:03 GMT",
        "never",
        "",
    ]);
    let names = |names: &[&'static str]| select(names.to_vec());
    prop_oneof![
        (names(&["Domain", "domain", " DOMAIN "]), domain).prop_map(|(name, value)| format!("{name}={value}")),
        (names(&["Path", "path", " pAth"]), path).prop_map(|(name, value)| format!("{name}={value}")),
        (names(&["Max-Age", "max-age "]), age).prop_map(|(name, value)| format!("{name}={value}")),
        (names(&["Expires", " expires"]), expires).prop_map(|(name, value)| format!("{name} = {value}")),
        select(vec![
            "Secure",
            "secure=0",
            " SECURE ",
            "HttpOnly",
            "SameSite=None",
            "Partitioned",
            "",
            "=",
            "x=y"
        ])
        .prop_map(str::to_owned),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let pair = select(vec![
        "a=1",
        "a=2",
        "A=3",
        "b=",
        " b = x y ",
        "b=\"q\"",
        "c=x=y",
        "c",
        "=x",
        " =x",
        "",
        "=",
        "io=%20,z",
    ]);
    let attributes = prop::collection::vec(attribute(), 0..5);
    (pair, attributes).prop_map(|(pair, attributes)| {
        let mut line = pair.to_owned();
        for attribute in attributes {
            line.push(';');
            line.push_str(&attribute);
        }
        line
    })
}

fn story() -> impl Strategy<Value = Story> {
    let answer = (
        any::<bool>(),
        select(PATHS.to_vec()),
        prop::collection::vec(line(), 0..4),
    );
    let request = (any::<bool>(), select(PATHS.to_vec()));
    (select(HOSTS.to_vec()), prop::collection::vec(answer, 1..6), request).prop_map(|(host, answers, request)| Story {
        host,
        answers,
        request,
    })
}

fn url(host: &str, (tls, path): (bool, &str)) -> String {
    format!("{}://{host}{path}", if tls { "https" } else { "http" })
}

/// What tells cookies apart (RFC 6265 §5.3, step 11).
type Key = (String, String, String);

/// A cookie that is kept: its key, and the seconds that it lives, if it has an end.
type Life = (Key, Option<i64>);

fn key(cookie: &cookie_store::Cookie<'_>) -> Key {
    let domain = cookie.domain.as_cow().unwrap_or_default();
    (domain.into_owned(), cookie.path.to_string(), cookie.name().to_owned())
}

/// The cookies that the crate would send, and those that it keeps.
fn of_the_crate(story: &Story) -> (Vec<String>, Vec<Life>) {
    let mut store = CookieStore::default();
    let mut made: Vec<Key> = Vec::new();
    for (tls, path, lines) in &story.answers {
        let url = Url::parse(&url(story.host, (*tls, path))).unwrap();
        for line in lines {
            let _refused = store.parse(line, &url);
            let kept: Vec<Key> = store.iter_unexpired().map(key).collect();
            made.retain(|key| kept.contains(key));
            let new: Vec<Key> = kept.into_iter().filter(|key| !made.contains(key)).collect();
            assert!(new.len() <= 1, "a line makes one cookie");
            made.extend(new);
        }
    }
    let lives = store.iter_unexpired().map(|cookie| {
        let life = match &cookie.expires {
            CookieExpiration::SessionEnd => None,
            // `Max-Age` counts from now on, and `Expires` is a date.
            CookieExpiration::AtUtc(time) => Some(match cookie.max_age() {
                Some(age) => age.whole_seconds(),
                None => time.unix_timestamp() - cookie_date::parse(DATE).unwrap(),
            }),
        };
        (key(cookie), life.map(|life| life.min(LONGEST.as_secs() as i64)))
    });
    let mut lives: Vec<Life> = lives.collect();
    lives.sort();
    let url = Url::parse(&url(story.host, story.request)).unwrap();
    let mut sent = store.matches(&url);
    sent.sort_by_key(|cookie| {
        let at = made.iter().position(|made| *made == key(cookie));
        (core::cmp::Reverse(cookie.path.len()), at)
    });
    let sent = sent
        .iter()
        .map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
    (sent.collect(), lives)
}

fn of_the_jar(story: &Story) -> (Vec<String>, Vec<Life>) {
    let mut jar = CookieJar::default();
    for (tls, path, lines) in &story.answers {
        let from = Endpoint::parse(&url(story.host, (*tls, ""))).unwrap().with_path(path);
        let lines = lines.iter().map(|line| ("Set-Cookie", line.as_bytes()));
        let headers: Headers = lines.chain([("Date", DATE.as_bytes())]).collect();
        jar.store(Time::ZERO, &headers, &from, usize::MAX);
    }
    let lives = jar.cookies.iter().map(|cookie| {
        let domain = match &*cookie.domain {
            "" => story.host.to_ascii_lowercase(),
            domain => domain.to_owned(),
        };
        let life = cookie
            .expires
            .map(|end| end.saturating_since(Time::ZERO).as_secs() as i64);
        ((domain, cookie.path.clone(), cookie.name.clone()), life)
    });
    let mut lives: Vec<Life> = lives.collect();
    lives.sort();
    let (tls, path) = story.request;
    let header = jar.header(Time::ZERO, path, tls, |_| false).unwrap_or_default();
    let sent = header.split("; ").filter(|cookie| !cookie.is_empty());
    (sent.map(ToString::to_string).collect(), lives)
}

proptest! {
    #![proptest_config(crate::cases::usually(2000))]

    /// Client C25: RFC 6265.
    #[test]
    fn the_same_cookies_come_back(story in story()) {
        prop_assert_eq!(of_the_jar(&story), of_the_crate(&story));
    }
}
