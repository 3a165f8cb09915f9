//! Sticky sessions, and proxies that hold bytes back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use sio_tokio::Config;

use crate::proxy::{Fate, proxy};
use crate::running::server;
use crate::{examined, verdict, words};

/// Two processes, and a balancer that gives each connection to the other one.
#[test]
fn sessions_are_not_sticky() {
    let (one, two) = (server(Config::default()), server(Config::default()));
    let backends = [one.port, two.port];
    let port = proxy(move |number, head| Fate::Forward(head.to_owned(), backends[number % 2]));
    let (findings, code) = examined(port, &[]);
    assert_eq!((code, verdict(&findings, "sessions")), (1, "problem"), "{findings:#?}");
    let finding = findings.iter().find(|finding| finding["check"] == "sessions").unwrap();
    assert!(finding["advice"].as_str().unwrap().contains("sticky"), "{finding}");
}

/// A balancer that knows its clients by a cookie: browsers are well, and others have to know it.
#[test]
fn sessions_are_sticky_by_a_cookie() {
    let (one, two) = (server(Config::default()), server(Config::default()));
    let backends = [one.port, two.port];
    let port = proxy(move |number, head| {
        let known = (0..2).find(|at| head.contains(&format!("lb={at}")));
        let at = known.unwrap_or(number % 2);
        let add = move |answer: String| {
            let field = format!("\r\nSet-Cookie: lb={at}; HttpOnly; SameSite=Lax\r\n");
            answer.replacen("\r\n", &field, 1)
        };
        match known {
            Some(_) => Fate::Forward(head.to_owned(), backends[at]),
            None => Fate::Change(head.to_owned(), backends[at], Box::new(add)),
        }
    });
    let (findings, _) = examined(port, &[]);
    assert_eq!(verdict(&findings, "sessions"), "warning", "{findings:#?}");
    assert!(words(&findings, "sessions").contains("cookie jar"), "{findings:#?}");
    for check in ["upgrade", "long poll", "client"] {
        assert_eq!(verdict(&findings, check), "good", "{check}: {findings:#?}");
    }
}

/// A balancer that sends an address always to the same process.
#[test]
fn sessions_are_sticky_by_address() {
    let (one, two) = (server(Config::default()), server(Config::default()));
    let backends = [one.port, two.port];
    let port = proxy(move |_, head| Fate::Forward(head.to_owned(), backends[0]));
    let (findings, _) = examined(port, &["--sessions", "3"]);
    assert_eq!(verdict(&findings, "sessions"), "good", "{findings:#?}");
}

/// A proxy forwards the upgrade, and holds the bytes of the websocket back.
#[test]
fn a_proxy_buffers_websockets() {
    let server = server(Config::default());
    let backend = server.port;
    let port = proxy(move |_, head| match head.contains("websocket") {
        true => {
            let head = head.to_owned();
            Fate::Take(Box::new(move |client| slow(client, &head, backend)))
        }
        false => Fate::Forward(head.to_owned(), backend),
    });
    let (findings, _) = examined(port, &["--timeout", "10"]);
    assert_eq!(verdict(&findings, "stream"), "warning", "{findings:#?}");
    assert!(
        words(&findings, "stream").contains("proxy_buffering off"),
        "{findings:#?}"
    );
}

/// Leads a websocket. Each piece of the server's bytes after the open packet is more than a
/// second late.
fn slow(mut client: TcpStream, head: &str, server: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    server.write_all(head.as_bytes())?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    #[expect(clippy::disallowed_methods, reason = "the two directions are two threads")]
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let mut piece = [0; 4096];
    let mut has_opened = false;
    loop {
        let read = server.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        if has_opened {
            #[expect(clippy::disallowed_methods, reason = "this proxy is slow")]
            thread::sleep(Duration::from_millis(1200));
        }
        has_opened |= String::from_utf8_lossy(&piece[..read]).contains("pingInterval");
        client.write_all(&piece[..read])?;
    }
}
