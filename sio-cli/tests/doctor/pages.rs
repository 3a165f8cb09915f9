//! Origins, CORS and cookies: servers and proxies that are wrong about pages.
#![allow(clippy::unwrap_used, reason = "tests")]

use sio_tokio::{Config, Cookie, Cors, Origins, SameSite};

use crate::proxy::{Fate, page, proxy};
use crate::running::server;
use crate::tls::{Authority, LONG};
use crate::{examined, examined_in, verdict, words};

const PAGE: &str = "https://app.example";

/// A proxy that adds this field to each answer.
fn adding(server: u16, field: &'static str) -> u16 {
    proxy(move |_, head| {
        let add = move |answer: String| answer.replacen("\r\n", &format!("\r\n{field}\r\n"), 1);
        Fate::Change(head.to_owned(), server, Box::new(add))
    })
}

#[test]
fn cookies_with_attributes_and_without() {
    let cookie = || Cookie::default().name("io");
    let cases = [
        (cookie(), "good", ""),
        (cookie().http_only(false), "warning", "not HttpOnly"),
    ];
    for (cookie, wanted, what) in cases {
        let server = server(Config::default().cookie(cookie));
        let (findings, _) = examined(server.port, &["--sessions", "1"]);
        assert_eq!(verdict(&findings, "cookies"), wanted, "{findings:#?}");
        assert!(words(&findings, "cookies").contains(what), "{findings:#?}");
    }
    // One that browsers drop: a balancer sets it, not the server.
    let server = server(Config::default());
    let port = adding(server.port, "Set-Cookie: lb=1; Path=/; HttpOnly; SameSite=None");
    let (findings, _) = examined(port, &["--sessions", "1"]);
    assert_eq!(verdict(&findings, "cookies"), "warning", "{findings:#?}");
    assert!(
        words(&findings, "cookies").contains("SameSite=None needs Secure"),
        "{findings:#?}"
    );
}

/// TLS ends at a proxy: the server does not know of it, unless it is told.
#[test]
fn cookies_over_tls_are_secure_if_the_server_knows_of_it() {
    let authority = Authority::new();
    for (behind_tls, wanted) in [(false, "warning"), (true, "good")] {
        let cookie = Cookie::default().same_site(SameSite::Strict);
        let server = server(Config::default().cookie(cookie).behind_tls(behind_tls));
        let front = authority.before(server.port, "127.0.0.1", LONG);
        let url = format!("https://127.0.0.1:{}", front.port);
        let (findings, _) = examined_in(&[], &url, &["--ca", authority.file(), "--sessions", "1"]);
        assert_eq!(verdict(&findings, "cookies"), wanted, "{findings:#?}");
        assert_eq!(
            words(&findings, "cookies").contains("not Secure"),
            !behind_tls,
            "{findings:#?}"
        );
    }
}

/// A proxy names another host to the server, as nginx does without a line for it.
#[test]
fn a_proxy_that_changes_the_host_makes_the_own_page_foreign() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| {
        let lines = head.split("\r\n").map(|line| match line.starts_with("Host:") {
            true => format!("Host: localhost:{backend}"),
            false => line.to_owned(),
        });
        Fate::Forward(lines.collect::<Vec<_>>().join("\r\n"), backend)
    });
    let (findings, code) = examined(port, &["--sessions", "1"]);
    assert_eq!((code, verdict(&findings, "own page")), (1, "problem"), "{findings:#?}");
    assert!(
        words(&findings, "own page").contains("proxy_set_header Host"),
        "{findings:#?}"
    );
}

/// A page that gets a session, and cannot read it: the headers are missing, or a proxy has doubled
/// them.
#[test]
fn headers_of_cors_that_browsers_refuse() {
    let origin = ["--origin", PAGE, "--sessions", "1"];
    let none = server(
        Config::default()
            .origins(Origins::Any)
            .cors(Cors::list(["https://other.example"])),
    );
    let (findings, code) = examined(none.port, &origin);
    assert_eq!(
        (code, verdict(&findings, "wanted page")),
        (1, "problem"),
        "{findings:#?}"
    );
    assert!(
        words(&findings, "wanted page").contains("no CORS header"),
        "{findings:#?}"
    );

    let good = server(Config::default().cors(Cors::list([PAGE])));
    let (findings, _) = examined(good.port, &origin);
    assert_eq!(verdict(&findings, "wanted page"), "good", "{findings:#?}");
    let port = adding(good.port, "Access-Control-Allow-Origin: *");
    let (findings, code) = examined(port, &origin);
    assert_eq!(
        (code, verdict(&findings, "wanted page")),
        (1, "problem"),
        "{findings:#?}"
    );
    assert!(words(&findings, "wanted page").contains("twice"), "{findings:#?}");
}

/// A proxy lets a page poll, and refuses its websocket.
#[test]
fn a_page_that_may_poll_and_gets_no_websocket() {
    let server = server(Config::default().cors(Cors::list([PAGE])));
    let backend = server.port;
    let port = proxy(move |_, head| match head.contains("Upgrade") && head.contains(PAGE) {
        true => page("403 Forbidden"),
        false => Fate::Forward(head.to_owned(), backend),
    });
    let (findings, code) = examined(port, &["--origin", PAGE, "--sessions", "1"]);
    assert_eq!(
        (code, verdict(&findings, "wanted page")),
        (1, "problem"),
        "{findings:#?}"
    );
    assert!(
        words(&findings, "wanted page").contains("refused a websocket"),
        "{findings:#?}"
    );
}

/// Pages that nobody has allowed: no page, every page without cookies, every page with them.
#[test]
fn how_foreign_pages_are_treated() {
    let one = ["--sessions", "1"];
    let closed = server(Config::default());
    let (findings, _) = examined(closed.port, &one);
    assert_eq!(verdict(&findings, "foreign page"), "good", "{findings:#?}");

    let open = server(Config::default().origins(Origins::Any));
    let (findings, _) = examined(open.port, &one);
    assert_eq!(verdict(&findings, "foreign page"), "note", "{findings:#?}");
    assert!(
        words(&findings, "foreign page").contains("without cookies"),
        "{findings:#?}"
    );

    let reckless = Cors::any_with_credentials();
    let reckless = server(Config::default().origins(Origins::Any).cors(reckless));
    let (findings, code) = examined(reckless.port, &one);
    assert_eq!(
        (code, verdict(&findings, "foreign page")),
        (0, "warning"),
        "{findings:#?}"
    );
    assert!(
        words(&findings, "foreign page").contains("with the cookies"),
        "{findings:#?}"
    );
    // The answer to a preflight is written down, too.
    assert!(
        words(&findings, "CORS").contains("allows https://foreign.example"),
        "{findings:#?}"
    );
}
