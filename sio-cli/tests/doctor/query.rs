//! The query of the URL, ids that a server has chosen, and what is not served.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::sync::{Arc, Mutex};

use sio_tokio::{Config, Transports};

use crate::proxy::{Fate, page, proxy};
use crate::running::server;
use crate::{examined, examined_in, verdict, words};

/// A middleware before the server wants a token in each query, and the client sends it, too.
#[test]
fn the_query_of_the_url_goes_with_every_request() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| {
        let target = head.split(' ').nth(1).unwrap_or_default();
        match target.contains("token=a%20b%26") && target.contains("more=1") {
            true => Fate::Forward(head.to_owned(), backend),
            false => page("401 Unauthorized"),
        }
    });
    let url = format!("http://127.0.0.1:{port}/?token=a%20b%26");
    let (findings, code) = examined_in(&[], &url, &["--query", "more=1"]);
    assert_eq!(code, 0, "{findings:#?}");
    for check in [
        "Engine.IO 4",
        "websocket",
        "upgrade",
        "long poll",
        "JSONP",
        "sessions",
        "own page",
        "client",
    ] {
        assert_eq!(verdict(&findings, check), "good", "{check}: {findings:#?}");
    }
    // Without it, nothing is served.
    let (findings, code) = examined_in(&[], &url, &[]);
    assert_eq!((code, verdict(&findings, "path")), (1, "problem"), "{findings:#?}");
}

/// An id with characters that end a parameter or a request line comes back as the server has chosen
/// it.
#[test]
fn an_id_is_encoded_in_the_next_query() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let port = proxy(move |_, head| {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_first = target.contains("EIO=4") && !target.contains("sid=");
        seen.lock().unwrap().push(target);
        let open = r#"0{"sid":"a b&EIO=3#c","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
        match is_first && !head.contains("Upgrade") {
            true => Fate::Answer(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{open}",
                open.len()
            )),
            false => page("404 Not Found"),
        }
    });
    let (findings, _) = examined_in(&[], &format!("127.0.0.1:{port}"), &["--timeout", "1"]);
    assert_eq!(verdict(&findings, "Engine.IO 4"), "good", "{findings:#?}");
    let asked = asked.lock().unwrap();
    let with_id: Vec<&String> = asked.iter().filter(|target| target.contains("sid=")).collect();
    assert!(with_id.len() > 5, "{asked:#?}");
    for target in with_id {
        assert!(target.contains("&sid=a%20b%26EIO%3D3%23c"), "{target}");
    }
}

/// A server that does not answer requests for other paths, as one of Node.js without handlers.
#[test]
fn a_path_without_an_answer_and_a_server_elsewhere() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| match head.contains(" /api/socket.io/") {
        true => Fate::Forward(head.replacen("/api/socket.io/", "/socket.io/", 1), backend),
        false => Fate::Take(Box::new(|client| io::copy(&mut &client, &mut io::sink()).map(drop))),
    });
    let (findings, code) = examined(port, &["--timeout", "1"]);
    assert_eq!((code, verdict(&findings, "handshake")), (1, "problem"), "{findings:#?}");
    assert!(
        words(&findings, "handshake").contains("a path that nobody serves"),
        "{findings:#?}"
    );
    assert!(
        words(&findings, "path").contains("answers at /api/socket.io/"),
        "{findings:#?}"
    );
}

/// Without polling, what needs it is not examined, and this is said.
#[test]
fn a_server_without_polling() {
    let server = server(Config::default().transports(Transports::default().polling(false)));
    let (findings, code) = examined(server.port, &[]);
    assert_eq!((code, verdict(&findings, "polling")), (0, "skipped"), "{findings:#?}");
    for check in ["websocket", "stream", "client"] {
        assert_eq!(verdict(&findings, check), "good", "{check}: {findings:#?}");
    }
}
