//! A list of origins, for clients of every generation (docs/protocol/legacy-0.6.md §13.1, §14,
//! docs/protocol/legacy-0.9.md §17).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Delivery, Peer, Strangeness};
use sio_proto::{Config, Cookie, Cors, Hosts, Origins, Transports};

const POLLS: [&str; 4] = [
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/1/",
    "/socket.io/xhr-polling//1",
];
const WEBSOCKETS: [&str; 3] = [
    "/socket.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/websocket",
];
const SCRIPTS: [&str; 3] = [
    "/socket.io/?EIO=3&transport=polling&j=0",
    "/socket.io/1/?jsonp=0",
    "/socket.io/jsonp-polling//1/0",
];

fn world(patterns: &[&str]) -> World {
    let origins = Origins::list(patterns.iter().copied()).unwrap();
    World::new(Config::default().origins(origins))
}

/// Whether a request with this header line opens a session.
fn opens(world: &mut World, target: &str, is_websocket: bool, line: &str) -> bool {
    let before = world.sessions();
    let mut headers = vec![line];
    if is_websocket {
        headers.extend(UPGRADE);
    }
    let link = world.open();
    world.send(link, &request("GET", target, &headers, ""));
    world.received(link);
    world.sessions() > before
}

#[test]
fn every_generation_keeps_to_the_list() {
    let mut world = world(&["good.example:8080", "*:9999", "https://shop.example"]);
    for (origin, allowed) in [
        ("http://good.example:8080", true),
        ("http://good.example", false),
        ("http://localhost:9999", true),
        ("http://localhost", false), // not even pages of the host itself
        ("https://shop.example", true),
        ("http://shop.example", false),
        ("null", false),
        ("", false),
        ("\u{e9}", false),
    ] {
        let line = format!("Origin: {origin}");
        for target in POLLS.iter().chain(&SCRIPTS) {
            assert_eq!(opens(&mut world, target, false, &line), allowed, "{target} {origin}");
        }
        for target in WEBSOCKETS {
            assert_eq!(opens(&mut world, target, true, &line), allowed, "{target} {origin}");
            let line = format!("Sec-WebSocket-{line}");
            assert_eq!(opens(&mut world, target, true, &line), allowed, "{target} {line}");
        }
    }
    // A client that is not a page is let in, unless every page could read the answer.
    for target in POLLS {
        assert!(opens(&mut world, target, false, "Accept: */*"), "{target}");
    }
}

/// Browsers send no origin when they load a script. Only the referring page can be checked.
#[test]
fn scripts_are_judged_by_their_page() {
    let mut world = world(&["good.example:*"]);
    for target in SCRIPTS {
        for (line, allowed) in [
            ("Referer: http://good.example/page?x=http://evil.example", true),
            ("Referer: http://good.example:81", true),
            ("Referer: http://evil.example/good.example", false),
            ("Referer: nonsense", false),
            ("Sec-Fetch-Site: cross-site", false),
            ("Sec-Fetch-Site: same-origin", true),
        ] {
            assert_eq!(opens(&mut world, target, false, line), allowed, "{target} {line}");
        }
    }
    // For other requests the page has no effect, because a page cannot read their answers.
    for target in POLLS {
        assert!(
            opens(&mut world, target, false, "Referer: http://evil.example/"),
            "{target}"
        );
    }
}

#[test]
fn null_and_nobody() {
    for (patterns, null, page) in [
        (&["*:*"][..], true, true),
        (&["null"], true, false),
        (&["*:80"], false, true),
        (&[], false, false),
    ] {
        let mut world = world(patterns);
        for target in POLLS {
            assert_eq!(opens(&mut world, target, false, "Origin: null"), null, "{patterns:?}");
            assert_eq!(opens(&mut world, target, false, "Origin: http://a.example"), page);
        }
    }
}

/// Pages of origins that are listed for CORS may read answers, and nothing more: a list of origins
/// is the complete list.
#[test]
fn a_list_is_not_widened_by_cors() {
    let config = Config::default().cors(Cors::any());
    let mut world = World::new(config.origins(Origins::list(["good.example"]).unwrap()));
    assert!(!opens(&mut world, POLLS[0], false, "Origin: http://evil.example"));
    assert!(opens(&mut world, POLLS[0], false, "Origin: http://good.example"));
}

/// docs/protocol/engine-io.md §4.5, docs/protocol/legacy-0.9.md §2, docs/protocol/legacy-0.6.md
/// §5.2, §7.
#[test]
fn refusals_are_those_of_each_generation() {
    let mut world = world(&["good.example:*"]);
    const ENGINE: &str =
        "{\"code\":4,\"message\":\"Forbidden\",\"hint\":\"this origin is not one of Config::origins\"}";
    let evil = "Origin: http://evil.example";
    for (target, status, body) in [
        (POLLS[0], 403, ENGINE),
        (POLLS[1], 403, ENGINE),
        (POLLS[2], 403, "handshake bad origin"),
        (POLLS[3], 401, "unauthorized"),
        (SCRIPTS[1], 200, "io.j[0](new Error(\"handshake bad origin\"));"),
        (SCRIPTS[2], 200, "alert('Cross domain security restrictions not met');"),
    ] {
        let answer = world.reply(&request("GET", target, &[evil], ""));
        assert_eq!((answer.status, answer.text()), (status, body), "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{target}");
    }
    let id = world.reply(&get(POLLS[3])).text()[8..].to_owned();
    let send = post(&format!("/socket.io/xhr-polling/{id}/send"), "data=~m~2~m~hi");
    assert_eq!(world.reply(&with_headers(&send, evil)).status, 401);
    assert_eq!(
        world.reply(&with_headers(&send, "Origin: http://good.example")).status,
        200
    );
}

// ---- scripts ----------------------------------------------------------------------------------------------------------

const PAGES: [&str; 1] = ["/socket.io/htmlfile//1"];

/// Hardening A6. A page could read a script that does not say which page it is for:
/// `referrerpolicy="no-referrer"` on plain HTTP.
#[test]
fn a_script_without_a_page_opens_nothing() {
    let silent = "Accept: */*";
    let mut world = World::new(Config::default());
    for target in SCRIPTS.iter().chain(&PAGES) {
        assert!(!opens(&mut world, target, false, silent), "{target}");
        for (line, allowed) in [
            ("Referer: http://localhost/page", true),
            ("Referer: http://LOCALHOST:80/page", true),
            ("Origin: http://localhost", true),
            ("Sec-Fetch-Site: same-origin", true),
            ("Referer: http://localhost@evil.example/", false),
            ("Referer: http://evil.example/http://localhost/", false),
            ("Referer: http://localhost.evil.example/", false),
            ("Referer: http://localhost:81/", false),
            ("Referer: http://localhost\\@evil.example/", false),
            ("Referer: localhost", false),
            ("Referer: about:blank", false),
            ("Referer:", false),
            ("Sec-Fetch-Site: none", false),
            ("Sec-Fetch-Site: same-site", false),
            ("Referer: http://localhost/\r\nReferer: http://evil.example/", false),
            ("Referer: http://localhost/\r\nOrigin: http://evil.example", false),
        ] {
            assert_eq!(opens(&mut world, target, false, line), allowed, "{target} {line}");
        }
    }
    // If all pages may open sessions, the page does not matter.
    for config in [
        Config::default().origins(Origins::Any),
        Config::default().origins(Origins::list(["*:*"]).unwrap()),
        Config::default().cors(Cors::any_with_credentials()),
    ] {
        let mut world = World::new(config);
        for target in SCRIPTS.iter().chain(&PAGES) {
            assert!(opens(&mut world, target, false, silent), "{target}");
        }
    }
}

/// Hardening A6. A script cannot read a session whose id is known either, and a form of another
/// page cannot send in it.
#[test]
fn scripts_and_forms_are_judged_in_a_session_too() {
    let page = "Referer: http://localhost/page";
    let evil = [
        "Accept: */*",
        "Referer: http://evil.example/",
        "Origin: http://evil.example",
    ];
    let mut world = World::new(Config::default());
    let answer = world.ask(&get(SCRIPTS[0]));
    let engine = format!("{}&sid={}", SCRIPTS[0], sid(&answer.replace('\\', "")));
    let bare = engine.replace("&j=0", "");
    let answer = world.ask(&get("/socket.io/1/"));
    let nine = format!("/socket.io/1/jsonp-polling/{}", &body(&answer)[..20]);
    let answer = world.ask(&get(SCRIPTS[2]));
    let id = answer.split("~m~").last().unwrap().trim_end_matches("\");").to_owned();
    let six = format!("/socket.io/jsonp-polling/{id}/1/0");
    for (get, post, form) in [
        (&engine, &engine, "d=1%3A2"),
        (&bare, &bare, "d=1%3A2"),
        (&nine, &nine, "d=8%3A%3A"),
        (&six, &six, "data=~m~2~m~hi"),
    ] {
        for line in evil {
            let read = world.ask(&request("GET", get, &[line], ""));
            let is_said = body(&read).contains("Cross domain") || body(&read).contains("bad origin");
            assert!(status(&read) >= 400 || is_said, "{get} {line} {read}");
            let said = world.ask(&request("POST", post, &[line], form));
            assert!(status(&said) >= 400, "{post} {line} {said}");
        }
        assert_eq!(status(&world.ask(&request("POST", post, &[page], form))), 200, "{post}");
    }
}

/// Hardening A6.
#[test]
fn scripts_can_be_switched_off() {
    let page = "Referer: http://localhost/page";
    let transports = Transports::default().jsonp(false);
    let mut world = World::new(Config::default().origins(Origins::Any).transports(transports));
    for target in SCRIPTS {
        let answer = world.reply(&request("GET", target, &[page], ""));
        assert_eq!(answer.status, 400, "{target}");
        let answer = world.reply(&request("POST", target, &[page], "d=1"));
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(world.sessions(), 0);
    assert!(opens(&mut world, PAGES[0], false, page));
    for target in POLLS {
        assert!(opens(&mut world, target, false, "Accept: */*"), "{target}");
    }
    assert!(!world.ask(&get("/socket.io/1/")).contains("jsonp"), "not offered");
    let transports = Transports::default().htmlfile(false);
    let mut world = World::new(Config::default().transports(transports));
    assert_eq!(world.reply(&request("GET", PAGES[0], &[page], "")).status, 400);
    assert!(!world.ask(&get("/socket.io/1/")).contains("htmlfile"), "not offered");
    assert!(opens(&mut world, SCRIPTS[0], false, page));
}

/// Hardening A6. An answer that is no script is never run as one, and scripts have the media type
/// of scripts.
#[test]
fn no_answer_is_taken_for_another() {
    let mut world = World::new(Config::default());
    for (target, content_type) in [
        (POLLS[0], "text/plain; charset=UTF-8"),
        (POLLS[1], "text/plain; charset=UTF-8"),
        (POLLS[2], "text/plain"),
        (POLLS[3], "text/plain; charset=UTF-8"),
        (SCRIPTS[0], "text/javascript; charset=UTF-8"),
        (SCRIPTS[1], "text/javascript; charset=UTF-8"),
        (SCRIPTS[2], "text/javascript; charset=UTF-8"),
    ] {
        let answer = world.reply(&get(target));
        assert_eq!(answer.header("content-type"), Some(content_type), "{target}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        // This is also true for errors.
        let answer = world.reply(&request("GET", target, &["Origin: http://evil.example"], ""));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
}

// ---- hosts ------------------------------------------------------------------------------------------------------------

/// Whether a request for this host, with this line, opens a session. It comes from the machine
/// itself, or from elsewhere.
fn opens_for(world: &mut World, from: &str, target: &str, host: &str, line: &str) -> bool {
    let before = world.sessions();
    let peer = Peer {
        address: Some(from.parse().unwrap()),
        ..Peer::default()
    };
    let link = world.server.open(peer);
    let is_websocket = target.contains("websocket");
    let mut headers = vec![line];
    if is_websocket {
        headers.extend(UPGRADE);
    }
    let text = String::from_utf8(request("GET", target, &headers, "")).unwrap();
    world.send(
        link,
        text.replace("Host: localhost", &format!("Host: {host}")).as_bytes(),
    );
    world.received(link);
    world.sessions() > before
}

const HERE: &str = "127.0.0.1:50000";
const ELSEWHERE: &str = "192.0.2.1:50000";

/// Hardening A13. A page whose name points at this machine: its `Origin` and its `Host` agree, and
/// its GETs have no `Origin`.
#[test]
fn a_page_that_is_rebound_to_this_machine_opens_nothing() {
    let mut world = World::new(Config::default());
    let silent = "Accept: */*";
    for from in [HERE, "[::1]:50000", "[::ffff:127.0.0.1]:50000"] {
        for target in POLLS.iter().chain(&WEBSOCKETS).chain(&SCRIPTS).chain(&PAGES) {
            for host in [
                "attacker.example:3000",
                "127.0.0.1.attacker.example",
                "192.168.1.2",
                "u@localhost",
            ] {
                let rebound = format!("Origin: http://{host}");
                let referer = format!("Referer: http://{host}/");
                for line in [&*rebound, &*referer, "Sec-Fetch-Site: same-origin", silent] {
                    assert!(
                        !opens_for(&mut world, from, target, host, line),
                        "{target} {host} {line}"
                    );
                }
            }
        }
    }
    for host in [
        "localhost:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "chat.localhost",
        "LOCALHOST.",
    ] {
        for target in POLLS.iter().chain(&WEBSOCKETS) {
            for line in [&*format!("Origin: http://{host}"), silent] {
                assert!(
                    opens_for(&mut world, HERE, target, host, line),
                    "{target} {host} {line}"
                );
            }
        }
    }
    // For a request from elsewhere, every name is accepted unless names are configured.
    assert!(opens_for(&mut world, ELSEWHERE, POLLS[0], "chat.example", silent));
    // The host of an absolute target counts, whatever the `Host` field says.
    let target = "http://attacker.example/socket.io/?EIO=4&transport=polling";
    assert!(!opens_for(&mut world, HERE, target, "localhost", silent));
    let target = "http://localhost:3000/socket.io/?EIO=4&transport=polling";
    assert!(opens_for(&mut world, HERE, target, "attacker.example", silent));
}

/// Hardening A13.
#[test]
fn hosts_that_are_listed_are_the_only_ones() {
    let hosts = Hosts::list(["chat.example", "*.chat.example:8443"]).unwrap();
    // The setting for pages does not matter.
    for config in [Config::default(), Config::default().origins(Origins::Any)] {
        let mut world = World::new(config.hosts(hosts.clone()));
        for from in [HERE, ELSEWHERE] {
            for target in POLLS.iter().chain(&WEBSOCKETS) {
                for (host, ours) in [
                    ("chat.example", true),
                    ("Chat.Example.:3000", true),
                    ("a.chat.example:8443", true),
                    ("a.chat.example", false),
                    ("localhost", false),
                    ("evil.example", false),
                    ("chat.example.evil", false),
                    ("", false),
                ] {
                    let origin = format!("Origin: http://{host}");
                    for line in ["Accept: */*", &*origin] {
                        assert_eq!(
                            opens_for(&mut world, from, target, host, line),
                            ours,
                            "{target} {host} {line}"
                        );
                    }
                }
            }
        }
    }
    // Servers that are open to all pages, and servers that do not check hosts.
    for config in [
        Config::default().hosts(Hosts::Any),
        Config::default().origins(Origins::Any),
    ] {
        let mut world = World::new(config);
        assert!(opens_for(&mut world, HERE, POLLS[0], "any.example", "Accept: */*"));
    }
}

/// Hardening A13. The scheme of the origin counts if the scheme of the link is known.
#[test]
fn a_page_of_plain_http_is_no_page_of_a_host_with_tls() {
    for (secure, behind_tls) in [(false, false), (true, false), (false, true)] {
        let mut world = World::new(Config::default().behind_tls(behind_tls));
        for (origin, passes) in [
            ("http://localhost", !secure && !behind_tls),
            ("https://localhost", true),
            ("ftp://localhost:443", false),
        ] {
            let peer = Peer {
                secure,
                ..Peer::default()
            };
            let link = world.server.open(peer);
            world.send(link, &request("GET", POLLS[0], &[&format!("Origin: {origin}")], ""));
            let answer = world.received(link);
            assert_eq!(status(&answer) == 200, passes, "{origin} {secure} {behind_tls}");
        }
    }
}

/// Hardening B18. The log entry about a stranger has the values of its request, cut short, and the
/// setting that decides.
#[test]
fn a_stranger_is_described() {
    let mut world = World::new(Config::default());
    let long = format!("Origin: http://{}.example", "x".repeat(300));
    for (line, why, origin) in [
        (
            "Origin: http://evil.example",
            Strangeness::Origin,
            Some("http://evil.example"),
        ),
        (
            "Referer: http://evil.example/?token=1",
            Strangeness::Origin,
            Some("http://evil.example"),
        ),
        ("Origin: http://\u{e9}vil", Strangeness::Origin, Some("http://??vil")),
        ("Accept: */*", Strangeness::NoPage, None),
        (&*long, Strangeness::Origin, None),
    ] {
        for target in SCRIPTS {
            world.deliveries.clear();
            assert!(!opens(&mut world, target, false, line));
            let [Delivery::Stranger(stranger)] = &world.deliveries[..] else {
                panic!("{:?}", world.deliveries)
            };
            assert_eq!(
                (stranger.why, stranger.host.as_deref()),
                (why, Some("localhost")),
                "{line}"
            );
            match line == long {
                true => assert_eq!(stranger.origin.as_ref().unwrap().len(), 131),
                false => assert_eq!(stranger.origin.as_deref(), origin, "{line}"),
            }
        }
    }
}

// ---- schemes, CORS and cookies ----------------------------------------------------------------------------------------

/// Hardening B1.
#[test]
fn devices_and_web_views_can_be_let_in() {
    let apps = [
        "file://",
        "null",
        "capacitor://localhost",
        "ionic://localhost",
        "chrome-extension://abcdefghijklmnop",
        "app://x",
        "ms-appx-web://x",
    ];
    let mut all = world(&["*:*"]);
    let mut listed = world(&apps);
    let mut none = world(&["good.example"]);
    for origin in apps {
        let line = format!("Origin: {origin}");
        for (target, is_websocket) in POLLS
            .map(|t| (t, false))
            .into_iter()
            .chain(WEBSOCKETS.map(|t| (t, true)))
        {
            assert!(opens(&mut all, target, is_websocket, &line), "{target} {origin}");
            assert!(opens(&mut listed, target, is_websocket, &line), "{target} {origin}");
            assert!(!opens(&mut none, target, is_websocket, &line), "{target} {origin}");
            assert!(
                !opens(&mut listed, target, is_websocket, "Origin: evil://x"),
                "{target}"
            );
        }
    }
}

/// Hardening B1. Origins and CORS agree: a page that may open a session may read its answers.
#[test]
fn a_listed_page_can_read_what_it_asked_for() {
    let listed = || Origins::list(["good.example:*"]).unwrap();
    let (good, evil) = ("http://good.example:8080", "http://evil.example");
    for (config, origin, allowed, credentials) in [
        (Config::default().origins(listed()), good, Some(good), true),
        (Config::default().origins(listed()), evil, None, true),
        (Config::default().origins(Origins::Any), evil, Some("*"), false),
        (
            Config::default().origins(Origins::list(["*"]).unwrap()),
            evil,
            Some("*"),
            false,
        ),
        (
            Config::default().cors(Cors::list([good])).origins(listed()),
            good,
            Some(good),
            false,
        ),
        (
            Config::default().cors(Cors::list([evil])).origins(listed()),
            good,
            Some(good),
            false,
        ),
        (Config::default().cors(Cors::list([evil])), evil, Some(evil), false),
        (Config::default().cors(Cors::any()), evil, Some("*"), false),
        (
            Config::default().cors(Cors::list([""; 0])).origins(Origins::Any),
            evil,
            None,
            false,
        ),
    ] {
        let what = format!("{:?} {:?} {origin}", config.origins, config.cors);
        let mut world = World::new(config);
        let line = format!("Origin: {origin}");
        let answer = world.reply(&request("GET", POLLS[0], &[&line], ""));
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{what}");
        let says = answer.header("access-control-allow-credentials").is_some();
        assert_eq!(says, credentials, "{what}");
        if allowed != Some("*") && !what.contains("List([])") {
            assert_eq!(answer.header("vary"), Some("Origin"), "{what}");
        }
    }
}

/// Hardening C2. Clients of 1.x and 2.x send credentials with every poll. Then browsers need their
/// origin in the answer.
#[test]
fn any_origin_with_credentials() {
    let mut world = World::new(Config::default().cors(Cors::any_with_credentials()));
    let page = "Origin: http://any.example";
    for target in &POLLS[..2] {
        let answer = world.reply(&request("GET", target, &[page, "Cookie: a=b"], ""));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://any.example"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    let asked = [
        page,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-a, content-type",
    ];
    let answer = world.reply(&request("OPTIONS", POLLS[0], &asked, ""));
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-a, content-type"));
    assert_eq!(answer.header("vary"), Some("Origin, Access-Control-Request-Headers"));
    // Values that no browser sends are not repeated.
    for odd in ["x".repeat(1025), "a;b=\"c\"".to_owned()] {
        let asked = format!("Access-Control-Request-Headers: {odd}");
        for target in [POLLS[0], POLLS[2]] {
            let answer = world.reply(&request("OPTIONS", target, &[page, &asked], ""));
            assert_eq!(answer.header("access-control-allow-headers"), None);
        }
    }
}

/// Hardening A16. A cache does not give the answer for one page to another page, in any generation.
#[test]
fn answers_that_vary_by_page_say_so() {
    let mut world = World::new(Config::default());
    for target in &POLLS[2..] {
        for line in ["Origin: http://localhost", "Origin: http://evil.example", "Accept: */*"] {
            let answer = world.reply(&request("GET", target, &[line], ""));
            assert_eq!(answer.header("vary"), Some("Origin"), "{target} {line}");
        }
    }
    // `*` and credentials are not allowed together (docs/protocol/legacy-0.6.md §16).
    let answer = world.reply(&get(POLLS[3]));
    let id = answer.text()[8..].to_owned();
    let headers = ["Origin: http://localhost", "Cookie: a=b"];
    let send = request(
        "POST",
        &format!("/socket.io/xhr-polling/{id}/send"),
        &headers,
        "data=~m~2~m~hi",
    );
    let answer = world.reply(&send);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

/// Hardening A16, B2. The cookie of a session that was opened over TLS is never sent without TLS.
#[test]
fn a_cookie_over_tls_is_secure() {
    for (secure, behind_tls) in [(false, false), (true, false), (false, true)] {
        let mut world = World::new(Config::default().cookie(Cookie::default()).behind_tls(behind_tls));
        let peer = Peer {
            secure,
            ..Peer::default()
        };
        let link = world.server.open(peer);
        world.send(link, &get(POLLING));
        let answer = world.received(link);
        let says = header(&answer, "set-cookie").unwrap().contains("; Secure;");
        assert_eq!(says, secure || behind_tls, "{answer}");
    }
}

/// Two fields that contradict each other fit nothing, and neither does a field that is too long for
/// an origin.
#[test]
fn origins_that_contradict_each_other_open_nothing() {
    let mut world = World::new(Config::default());
    let (good, evil) = ("http://localhost", "http://evil.example");
    for (first, second, allowed) in [(good, good, true), (good, evil, false), (evil, good, false)] {
        for name in ["Origin", "Sec-WebSocket-Origin"] {
            let line = format!("Origin: {first}\r\n{name}: {second}");
            for target in POLLS {
                assert_eq!(opens(&mut world, target, false, &line), allowed, "{target} {line}");
            }
        }
    }
}
