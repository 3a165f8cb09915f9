//! Certificates: each mistake is named, and a good certificate is not blamed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sio_tokio::Config;

use crate::running::{said, server, sio};
use crate::tls::{Authority, Front, LONG, self_signed};
use crate::{examined_in, verdict, words};

/// Examines the TLS end, perhaps with an authority of its own.
fn seen(front: &Front, ca: Option<&str>) -> (String, String, i32) {
    let url = format!("https://127.0.0.1:{}", front.port);
    let mut more = vec!["--timeout", "10"];
    if let Some(file) = ca {
        more.extend(["--ca", file]);
    }
    let (findings, code) = examined_in(&[], &url, &more);
    (verdict(&findings, "TLS").to_owned(), words(&findings, "TLS"), code)
}

#[test]
fn a_good_certificate_of_an_own_authority() {
    let server = server(Config::default().behind_tls(true));
    let authority = Authority::new();
    let front = authority.before(server.port, "127.0.0.1", LONG);
    let url = format!("https://127.0.0.1:{}", front.port);
    let (findings, code) = examined_in(&[], &url, &["--ca", authority.file()]);
    assert_eq!(code, 0, "{findings:#?}");
    for check in [
        "TLS",
        "websocket",
        "upgrade",
        "long poll",
        "sessions",
        "own page",
        "client",
    ] {
        assert_eq!(verdict(&findings, check), "good", "{check}: {findings:#?}");
    }
}

#[test]
fn an_issuer_that_nobody_knows() {
    let server = server(Config::default());
    let authority = Authority::new();
    let another = Authority::named("another authority");
    let front = authority.before(server.port, "127.0.0.1", LONG);
    let own = self_signed(server.port, "127.0.0.1");
    for (front, ca) in [(&front, None), (&front, Some(another.file())), (&own, None)] {
        let (verdict, words, code) = seen(front, ca);
        assert_eq!((verdict.as_str(), code), ("problem", 3), "{words}");
        assert!(words.contains("UnknownIssuer") && words.contains("--ca"), "{words}");
    }
    // An authority of the same name that has another key.
    let older = Authority::new();
    let (verdict, words, code) = seen(&front, Some(older.file()));
    assert_eq!((verdict.as_str(), code), ("problem", 3), "{words}");
    assert!(words.contains("another key"), "{words}");
    // A file without certificates is a mistake of the user.
    let (text, code) = said(&sio(&["doctor", "https://127.0.0.1:1", "--ca", "/dev/null"], ""));
    assert!(code == 2 && text.contains("no certificate in the file"), "{text}");
}

#[test]
fn a_certificate_for_another_name() {
    let server = server(Config::default());
    let authority = Authority::new();
    let front = authority.before(server.port, "elsewhere.example", LONG);
    let (verdict, words, code) = seen(&front, Some(authority.file()));
    assert_eq!((verdict.as_str(), code), ("problem", 3), "{words}");
    assert!(
        words.contains("elsewhere.example") && words.contains("other names"),
        "{words}"
    );
}

#[test]
fn a_certificate_that_has_ended_and_one_that_has_not_begun() {
    let server = server(Config::default());
    let authority = Authority::new();
    for (span, advice) in [
        ([(2000, 1, 1), (2001, 1, 1)], "renew it"),
        ([(2900, 1, 1), (2999, 1, 1)], "not valid yet"),
    ] {
        let front = authority.before(server.port, "127.0.0.1", span);
        let (verdict, words, code) = seen(&front, Some(authority.file()));
        assert_eq!((verdict.as_str(), code), ("problem", 3), "{words}");
        assert!(words.contains(advice), "{advice}: {words}");
    }
}

/// A certificate that ends in the next two weeks works, and is a warning.
#[test]
fn a_certificate_that_ends_soon() {
    let server = server(Config::default());
    let authority = Authority::new();
    for (days, wanted) in [(5, "warning"), (40, "good")] {
        let front = authority.before(server.port, "127.0.0.1", [LONG[0], day_in(days)]);
        let (verdict, words, code) = seen(&front, Some(authority.file()));
        assert_eq!(
            (verdict.as_str(), words.contains("14 days")),
            (wanted, wanted == "warning"),
            "{words}"
        );
        // The server behind believes that it has no TLS, so its own page may be foreign.
        assert_ne!(code, 3, "{words}");
    }
}

/// The date in some days, in the calendar of certificates.
fn day_in(days: u64) -> (i32, u8, u8) {
    #[expect(clippy::disallowed_methods, reason = "a certificate has a date")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut left = (now + Duration::from_secs(days * 86_400)).as_secs() / 86_400;
    let is_leap = |year: i32| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    (year, month, u8::try_from(left).unwrap() + 1)
}

/// A port that speaks TLS, and a URL without it.
#[test]
fn tls_without_https() {
    let server = server(Config::default());
    let front = self_signed(server.port, "127.0.0.1");
    let (findings, code) = examined_in(&[], &format!("http://127.0.0.1:{}", front.port), &[]);
    assert_eq!((code, verdict(&findings, "handshake")), (1, "problem"), "{findings:#?}");
    assert!(words(&findings, "handshake").contains("https://"), "{findings:#?}");
}
