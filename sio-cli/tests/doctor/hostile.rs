//! Servers that trickle, flood, never read and redirect for ever: the examination ends in its time,
//! and says what it has seen.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde_json::Value;
use sio_proto::websocket::handshake::accept_key;
use sio_proto::websocket::{Opcode, encode_message};
use sio_tokio::Config;

use crate::proxy::{Fate, proxy};
use crate::running::server;
use crate::{examined, examined_in, verdict, words};

/// Examines, and asserts that it has not taken longer.
fn examined_within(seconds: u64, port: u16, more: &[&str]) -> (Vec<Value>, i32) {
    #[expect(clippy::disallowed_methods, reason = "this is a test of deadlines")]
    let began = Instant::now();
    let found = examined(port, more);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(seconds), "{took:?}: {:#?}", found.0);
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "hostile servers are slow, in threads of their own"
)]
fn pause() {
    thread::sleep(Duration::from_millis(50));
}

/// Writes bytes again and again, until the client goes.
fn for_ever(mut client: TcpStream, begin: &[u8], bytes: &[u8], is_slow: bool) -> io::Result<()> {
    client.write_all(begin)?;
    loop {
        client.write_all(bytes)?;
        if is_slow {
            pause();
        }
    }
}

/// A head that never ends, a body that never ends, slowly and fast.
#[test]
fn an_answer_that_never_ends() {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let cases: [(&'static str, String, bool, &str); 4] = [
        ("HTTP/1.1 200 OK\r\nX-Slow: ", "x".into(), true, "no answer in time"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "x".repeat(4096), false, "head"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x".into(), true, "no answer in time"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunk,
            false,
            "body",
        ),
    ];
    for (begin, bytes, is_slow, wanted) in cases {
        let port = proxy(move |_, _| {
            let bytes = bytes.clone();
            Fate::Take(Box::new(move |client| {
                for_ever(client, begin.as_bytes(), bytes.as_bytes(), is_slow)
            }))
        });
        // Four requests of a second each.
        let (findings, code) = examined_within(15, port, &["--timeout", "1"]);
        assert_eq!((code, verdict(&findings, "handshake")), (1, "problem"), "{findings:#?}");
        assert!(
            words(&findings, "handshake").contains(wanted),
            "{wanted}: {findings:#?}"
        );
    }
}

/// A websocket that opens, sends packets for ever, and never what the client waits for.
#[test]
fn packets_that_never_answer() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| {
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        match key {
            Some(key) => {
                let accept = String::from_utf8(accept_key(key.trim()).to_vec()).unwrap();
                Fate::Take(Box::new(move |client| chatter(client, &accept)))
            }
            None => Fate::Forward(head.to_owned(), backend),
        }
    });
    let (findings, code) = examined_within(40, port, &["--timeout", "1", "--sessions", "1"]);
    assert_eq!((code, verdict(&findings, "stream")), (1, "problem"), "{findings:#?}");
    assert!(
        words(&findings, "stream").contains("no answer in time"),
        "{findings:#?}"
    );
    assert_eq!(verdict(&findings, "upgrade"), "problem", "{findings:#?}");
}

fn chatter(client: TcpStream, accept: &str) -> io::Result<()> {
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#;
    let mut begin = BytesMut::new();
    begin.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    begin.extend_from_slice(format!("Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
    encode_message(&mut begin, Opcode::Text, open.as_bytes(), None);
    let mut more = BytesMut::new();
    encode_message(&mut more, Opcode::Text, b"42[\"news\"]", None);
    encode_message(&mut more, Opcode::Ping, b"", None);
    for_ever(client, &begin, &more, true)
}

/// Where the redirect of a request leads, by its number and its path.
type Next = fn(usize, &str) -> String;

/// Redirects in a circle, of one place and of two, and redirects that always lead somewhere else.
#[test]
fn redirects_that_never_end() {
    let place = |head: &str| head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let cases: [(Next, &str); 3] = [
        (|_, place| place.to_owned(), "in a circle"),
        (
            |_, place| if place == "/a/" { "/b/".into() } else { "/a/".into() },
            "in a circle",
        ),
        (|number, _| format!("/{number}/"), "more than 10 redirections"),
    ];
    for (next, wanted) in cases {
        let port = proxy(move |number, head| {
            let next = next(number, &place(head));
            Fate::Answer(format!(
                "HTTP/1.1 302 Found\r\nLocation: {next}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
        });
        let (findings, code) = examined_within(20, port, &["--timeout", "2"]);
        assert_eq!((code, verdict(&findings, "path")), (1, "problem"), "{findings:#?}");
        assert!(words(&findings, "path").contains(wanted), "{wanted}: {findings:#?}");
    }
    // A redirect that leads to a server.
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| match head.contains(" /new/") {
        true => Fate::Forward(head.replacen("/new/", "/socket.io/", 1), backend),
        false => Fate::Answer(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: /new/?EIO=4&transport=polling\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
                .into(),
        ),
    });
    let (findings, _) = examined(port, &["--timeout", "2"]);
    assert!(
        words(&findings, "path").contains("/new/?EIO=4&transport=polling, which answers 200"),
        "{findings:#?}"
    );
}

/// Each answer comes just in time, and all of them together do not.
#[test]
fn the_whole_examination_has_a_limit() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| Fate::Hold(head.to_owned(), backend, Duration::from_millis(700)));
    let (findings, code) = examined_within(8, port, &["--timeout", "2", "--limit", "3"]);
    assert_eq!((code, verdict(&findings, "time")), (1, "problem"), "{findings:#?}");
    assert!(words(&findings, "time").contains("after 3 s"), "{findings:#?}");
    assert_eq!(verdict(&findings, "address"), "good", "{findings:#?}");
    assert!(findings.last().unwrap()["summary"].is_object(), "{findings:#?}");
}

/// The limit ends the examination before the server is reached: it takes connections, and says
/// nothing of TLS.
#[test]
fn a_limit_before_the_server_is_reached() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let (findings, code) = examined_in(&[], &url, &["--timeout", "20", "--limit", "1"]);
    assert_eq!((code, verdict(&findings, "time")), (3, "problem"), "{findings:#?}");
}

/// A server that takes connections and is silent.
#[test]
fn a_server_that_says_nothing() {
    let port = proxy(|_, _| {
        Fate::Take(Box::new(|client| {
            let mut nothing = [0];
            let ended = io::Read::read(&mut &client, &mut nothing);
            ended.map(drop)
        }))
    });
    let (findings, code) = examined_within(15, port, &["--timeout", "1"]);
    assert_eq!((code, verdict(&findings, "handshake")), (1, "problem"), "{findings:#?}");
}
