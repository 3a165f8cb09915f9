//! Scripts end: with a refusal, with a server that goes, and with one that never comes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sio_tokio::Config;

use crate::running::{finished, said, server, sio, started};
use crate::{objects, with};

/// The namespace is refused, and the events for it do not wait for ever.
#[test]
fn a_refused_namespace_ends_what_a_script_sends_to_it() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let input =
        "connect private\nemit echo 1\nack echo 2\n{\"emit\":\"echo\",\"args\":[3],\"ack\":true,\"ns\":\"/\"}\n";
    let (text, code) = said(&sio(&["connect", &url, "--json"], input));
    let found = objects(&text);
    assert_eq!(code, 1, "{text}");
    let errors = with(&found, "error");
    assert_eq!(errors.len(), 2, "{text}");
    for error in errors {
        assert!(
            error["error"]
                .as_str()
                .unwrap()
                .contains("has refused the namespace /private"),
            "{text}"
        );
    }
    // Other namespaces go on.
    assert_eq!(with(&found, "ack")[0]["args"], json!([3]), "{text}");
}

/// A namespace that was left: its events wait, but not for ever.
#[test]
fn an_emit_of_a_script_waits_for_the_timeout() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let input = "connect private\nleave\nemit echo 1\n";
    let arguments = [
        "connect",
        &url,
        "--json",
        "-a",
        "{\"token\":\"secret\"}",
        "--timeout",
        "1",
    ];
    let (text, code) = said(&sio(&arguments, input));
    let found = objects(&text);
    let ack = with(&found, "ack")[0];
    assert_eq!((code, &ack["ack"]), (1, &json!(1)), "{text}");
    assert_eq!(ack["error"], "the event was not sent: it waited for too long", "{text}");
}

/// The server goes while a script has more to send.
#[test]
fn a_server_that_goes_away_ends_a_script() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let mut child = started(&[], &["connect", &url, "--json", "--timeout", "1"]);
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"connect\"")));
    drop(server);
    assert!(lines.any(|line| line.unwrap().contains("\"lost\"")));
    input.write_all(b"emit echo 1\n").unwrap();
    drop(input);
    let rest: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert_eq!(
        with(&rest, "ack")[0]["error"],
        "the event was not sent: it waited for too long",
        "{rest:?}"
    );
    assert_eq!(finished(child).status.code(), Some(1), "{rest:?}");
}

/// A server that never comes, with and without `--retry`, and one that is there and says nothing.
#[test]
fn a_server_that_never_comes_ends_a_script() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let input = "emit echo 1\n";
    let (text, code) = said(&sio(&["connect", &free], input));
    assert_eq!(code, 3, "{text}");
    let (text, code) = said(&sio(&["connect", &free, "--retry", "--give-up", "2"], input));
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("gave up waiting for the namespace /: there is no connection"),
        "{text}"
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (text, code) = said(&sio(&["connect", &address, "--timeout", "1"], input));
    assert_eq!(code, 3, "{text}");
}

/// A server that opens a session, and does not answer the namespace.
#[test]
fn a_namespace_without_an_answer_ends_a_script() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    #[expect(clippy::disallowed_methods, reason = "a server with threads of its own")]
    thread::spawn(move || {
        for client in listener.incoming().take(10) {
            thread::spawn(move || client.and_then(half_a_server));
        }
    });
    let arguments = ["connect", &url, "-t", "polling", "-g", "4", "--give-up", "2"];
    let (text, code) = said(&sio(&arguments, "emit echo 1\n"));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("gave up waiting for the namespace /: the server does not answer it"),
        "{text}"
    );
}

/// Answers one request. Polls are held.
fn half_a_server(client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    if request.starts_with("GET") && request.contains("sid=") {
        return lines.try_for_each(|line| line.map(drop));
    }
    let body = match request.starts_with("GET") {
        true => r#"0{"sid":"a","upgrades":[],"pingInterval":60000,"pingTimeout":60000,"maxPayload":1000}"#,
        false => "ok",
    };
    write!(
        &client,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    // Bytes that nobody reads would cut the answer off.
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut &client, &mut io::sink()).map(drop)
}

/// A volatile event that cannot leave at once is dropped, and this is said.
#[test]
fn volatile_events_that_are_dropped_are_told() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let input = "volatile echo 0\nconnect private\nleave\nvolatile echo 1\n";
    let base = ["connect", &url, "-t", "websocket", "-a", "{\"token\":\"secret\"}"];
    let (text, code) = said(&sio(&base, input));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("emit 2 was dropped: it was volatile"), "{text}");
    assert!(!text.contains("emit 1 was dropped"), "{text}");
    let mut arguments = base.to_vec();
    arguments.push("--json");
    let (text, code) = said(&sio(&arguments, input));
    let found = objects(&text);
    let dropped = with(&found, "dropped");
    assert_eq!(
        (code, dropped.len(), &dropped[0]["dropped"]),
        (0, 1, &json!(2)),
        "{text}"
    );
    assert!(dropped[0]["why"].as_str().unwrap().contains("volatile"), "{text}");
}

/// A script that still gets its input does not end while it has nothing to wait for.
#[test]
fn a_script_with_an_open_input_goes_on() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let mut child = started(&[], &["connect", &url, "--json", "--timeout", "1", "--give-up", "1"]);
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"connect\"")));
    #[expect(clippy::disallowed_methods, reason = "longer than both limits")]
    thread::sleep(Duration::from_millis(1500));
    input.write_all(b"ack echo 1\n").unwrap();
    drop(input);
    assert!(lines.any(|line| line.unwrap().contains("\"ack\"")));
    assert!(finished(child).status.success());
}
