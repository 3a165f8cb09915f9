//! `sio doctor`, with a server of ours that is well, and behind things that go wrong.

#[path = "doctor/certificates.rs"]
mod certificates;
#[path = "doctor/hostile.rs"]
mod hostile;
#[path = "doctor/pages.rs"]
mod pages;
#[path = "running/proxy.rs"]
mod proxy;
#[path = "doctor/query.rs"]
mod query;
mod running;
#[path = "doctor/sessions.rs"]
mod sessions;
#[path = "running/tls.rs"]
mod tls;
#[path = "running/tunnel.rs"]
mod tunnel;

use std::time::Duration;

use proxy::{Fate, page, proxy};
use running::{said, server, sio, sio_in};
use serde_json::Value;
use sio_tokio::{Config, Cors, Hosts, Origins, Transports};
use tunnel::{Speaks, Tunnels};

/// What the doctor has found, and its exit code.
fn examined(port: u16, more: &[&str]) -> (Vec<Value>, i32) {
    examined_in(&[], &format!("127.0.0.1:{port}"), more)
}

/// The same, with these variables of the environment.
fn examined_in(variables: &[(&str, &str)], url: &str, more: &[&str]) -> (Vec<Value>, i32) {
    let mut arguments = vec!["doctor", url, "--json"];
    arguments.extend_from_slice(more);
    let (text, code) = said(&sio_in(variables, &arguments, ""));
    let objects = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}")));
    (objects.collect(), code)
}

/// The verdict of a check; the worst one if it has several.
fn verdict<'a>(findings: &'a [Value], check: &str) -> &'a str {
    let verdicts: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["check"] == check)
        .filter_map(|finding| finding["verdict"].as_str())
        .collect();
    let worst = ["problem", "warning", "skipped", "note", "good"]
        .into_iter()
        .find(|verdict| verdicts.contains(verdict));
    worst.unwrap_or_else(|| panic!("{check}: {findings:#?}"))
}

/// The findings of a check, as one text.
fn words(findings: &[Value], check: &str) -> String {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(Value::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_that_is_well() {
    let server = server(Config::default());
    let (findings, code) = examined(server.port, &[]);
    assert_eq!(code, 0, "{findings:#?}");
    let good = [
        "address",
        "Engine.IO 4",
        "Engine.IO 3",
        "websocket",
        "stream",
        "upgrade",
        "long poll",
        "JSONP",
        "sessions",
        "own page",
        "foreign page",
        "heartbeat",
        "client",
    ];
    for check in good {
        assert_eq!(verdict(&findings, check), "good", "{check}: {findings:#?}");
    }
    let summary = findings.last().unwrap();
    assert_eq!(summary["summary"]["problems"], 0, "{summary}");
    // The example of the README has the same checks, in this order.
    let readme = include_str!("../../README.md");
    let (_, example) = readme.split_once("$ sio doctor localhost:3000\n").unwrap();
    let (example, _) = example.split_once("\n\n").unwrap();
    let shown: Vec<String> = example
        .lines()
        .map(|line| line.chars().skip(2).take(16).collect::<String>().trim().to_owned())
        .collect();
    let checks = findings.iter().filter_map(|finding| finding["check"].as_str());
    assert_eq!(shown, checks.collect::<Vec<_>>());
}

#[test]
fn nobody_serves_the_path() {
    let port = proxy(|_, _| page("404 Not Found"));
    let (findings, code) = examined(port, &[]);
    assert_eq!((code, verdict(&findings, "path")), (1, "problem"), "{findings:#?}");
}

/// A proxy sends the page of the application for every path but one.
#[test]
fn a_page_answers_and_the_server_is_elsewhere() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| match head.contains(" /api/socket.io/") {
        true => {
            let head = head.replacen("/api/socket.io/", "/socket.io/", 1);
            // This proxy changes only the first request of a connection.
            let more = if head.contains("Upgrade:") {
                ""
            } else {
                "Connection: close\r\n"
            };
            Fate::Forward(head.replacen("Host:", &format!("{more}Host:"), 1), backend)
        }
        false => page("200 OK"),
    });
    let (findings, code) = examined(port, &[]);
    assert_eq!((code, verdict(&findings, "path")), (1, "problem"), "{findings:#?}");
    let found = findings.iter().any(|finding| {
        finding["what"]
            .as_str()
            .is_some_and(|what| what.contains("/api/socket.io/"))
    });
    assert!(found, "{findings:#?}");
    let (findings, code) = examined(port, &["--path", "/api/socket.io/"]);
    assert_eq!(code, 0, "{findings:#?}");
}

#[test]
fn a_proxy_drops_the_upgrade() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| {
        let lines = head
            .split("\r\n")
            .filter(|line| !line.to_ascii_lowercase().starts_with("upgrade:"));
        let head = lines
            .collect::<Vec<_>>()
            .join("\r\n")
            .replace("Connection: Upgrade", "Connection: close");
        Fate::Forward(head, backend)
    });
    let (findings, code) = examined(port, &[]);
    assert_eq!((code, verdict(&findings, "websocket")), (1, "problem"), "{findings:#?}");
    assert_eq!(verdict(&findings, "upgrade"), "problem");
    assert_eq!(verdict(&findings, "long poll"), "good");
    let advice = findings.iter().find(|finding| finding["check"] == "websocket").unwrap();
    assert!(
        advice["advice"].as_str().unwrap().contains("proxy_set_header Upgrade"),
        "{advice}"
    );
}

#[test]
fn a_proxy_holds_the_answers_of_polls_back() {
    let server = server(Config::default());
    let backend = server.port;
    let port =
        proxy(
            move |_, head| match head.starts_with("GET") && head.contains("sid=") && !head.contains("websocket") {
                true => Fate::Hold(head.to_owned(), backend, Duration::from_millis(2500)),
                false => Fate::Forward(head.to_owned(), backend),
            },
        );
    let (findings, code) = examined(port, &["--timeout", "10"]);
    assert_eq!((code, verdict(&findings, "long poll")), (1, "problem"), "{findings:#?}");
}

/// A page that the user wants to be served, and the server refuses.
#[test]
fn origins_that_are_refused() {
    let server = server(Config::default());
    let (findings, code) = examined(server.port, &["--origin", "https://wanted.example"]);
    assert_eq!(
        (code, verdict(&findings, "wanted page")),
        (1, "problem"),
        "{findings:#?}"
    );
    let open = self::server(Config::default().cors(Cors::list(["https://wanted.example"])));
    let (findings, code) = examined(open.port, &["--origin", "https://wanted.example"]);
    assert_eq!((code, verdict(&findings, "wanted page")), (0, "good"), "{findings:#?}");
    let open = self::server(Config::default().origins(Origins::Any));
    let (findings, _) = examined(open.port, &[]);
    assert_ne!(verdict(&findings, "foreign page"), "good", "{findings:#?}");
}

#[test]
fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (findings, code) = examined(free, &[]);
    assert_eq!((code, verdict(&findings, "address")), (3, "problem"), "{findings:#?}");
    // A port that speaks no TLS.
    let server = server(Config::default());
    let url = format!("https://127.0.0.1:{}", server.port);
    let (text, code) = said(&sio(&["doctor", &url], ""));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("TLS"), "{text}");
}

/// The server is found through proxies only: nobody but the proxy knows its name.
#[test]
fn a_server_behind_proxies() {
    let server = server(Config::default().hosts(Hosts::Any));
    let url = "chat.example:3000";
    for (speaks, scheme, login) in [
        (Speaks::Connect, "http", "me:secret@"),
        (Speaks::Socks, "socks5h", "me:secret@"),
        (Speaks::Connect, "http", ""),
    ] {
        let tunnels = Tunnels::start(speaks, !login.is_empty(), server.port);
        let proxy = format!("{scheme}://{login}127.0.0.1:{}", tunnels.port);
        let (findings, code) = examined_in(&[], url, &["--proxy", &proxy]);
        assert_eq!(code, 0, "{findings:#?}");
        for check in [
            "address",
            "websocket",
            "upgrade",
            "long poll",
            "JSONP",
            "sessions",
            "client",
        ] {
            assert_eq!(verdict(&findings, check), "good", "{scheme} {check}: {findings:#?}");
        }
        assert!(!findings.iter().any(|finding| finding.to_string().contains("secret")));
        let asked = tunnels.asked();
        assert!(asked.len() > 20 && asked.iter().all(|asked| asked == url), "{asked:?}");
    }
    // The proxy of the environment, which is not for this machine.
    let tunnels = Tunnels::start(Speaks::Connect, false, server.port);
    let proxy = format!("http://127.0.0.1:{}", tunnels.port);
    let variables = [("HTTP_PROXY", proxy.as_str())];
    let (findings, code) = examined_in(&variables, url, &[]);
    assert_eq!(code, 0, "{findings:#?}");
    assert!(tunnels.asked().len() > 20);
    let here = format!("127.0.0.1:{}", server.port);
    let (findings, code) = examined_in(&variables, &here, &[]);
    assert_eq!(code, 0, "{findings:#?}");
    assert!(tunnels.asked().is_empty());
    let (text, code) = said(&sio_in(&variables, &["connect", url, "--json"], "ack echo 1\n"));
    assert_eq!((code, tunnels.asked().is_empty()), (0, false), "{text}");
    // SOCKS 5 with names that this machine resolves.
    let tunnels = Tunnels::start(Speaks::Socks, false, server.port);
    let proxy = format!("socks5://127.0.0.1:{}", tunnels.port);
    let (findings, code) = examined_in(&[], "localhost:3000", &["--proxy", &proxy]);
    assert_eq!(code, 0, "{findings:#?}");
    let asked = tunnels.asked();
    assert!(asked.iter().all(|asked| !asked.starts_with("localhost")), "{asked:?}");
}

#[test]
fn proxies_that_do_not_lead_to_the_server() {
    let server = server(Config::default());
    for (speaks, scheme, words) in [(Speaks::Connect, "http", "407"), (Speaks::Socks, "socks5h", "password")] {
        let tunnels = Tunnels::start(speaks, true, server.port);
        let proxy = format!("{scheme}://me:wrong@127.0.0.1:{}", tunnels.port);
        let (findings, code) = examined_in(&[], "chat.example", &["--proxy", &proxy]);
        assert_eq!((code, verdict(&findings, "proxy")), (3, "problem"), "{findings:#?}");
        let text = findings[0].to_string();
        assert!(text.contains(words) && !text.contains("wrong"), "{text}");
        // Nothing listens at the proxy, and a client says it, too.
        let nothing = format!("{scheme}://127.0.0.1:1");
        let (findings, code) = examined_in(&[], "chat.example", &["--proxy", &nothing]);
        assert_eq!((code, verdict(&findings, "proxy")), (3, "problem"), "{findings:#?}");
    }
    let (text, code) = said(&sio(&["doctor", "chat.example", "--proxy", "ftp://me:secret@p"], ""));
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("--proxy: the scheme") && !text.contains("secret"),
        "{text}"
    );
    let (text, code) = said(&sio_in(&[("all_proxy", "ftp://p")], &["doctor", "chat.example"], ""));
    assert_eq!((code, text.contains("all_proxy")), (2, true), "{text}");
}

/// Pages may not poll by scripts.
#[test]
fn a_server_without_jsonp() {
    let server = server(Config::default().transports(Transports::default().jsonp(false)));
    let (findings, code) = examined(server.port, &[]);
    assert_eq!((code, verdict(&findings, "JSONP")), (0, "note"), "{findings:#?}");
}
