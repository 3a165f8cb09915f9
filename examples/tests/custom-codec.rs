//! The example `custom-codec`, used as its documentation says.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Example {
    process: Child,
    port: u16,
}

impl Example {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_custom-codec"))
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().strip_prefix("listening ").unwrap().parse().unwrap();
        Self { process, port }
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        body.to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn lines() {
    let example = Example::start();
    let open = || {
        let first = example.ask("GET", "/lines/xhr-polling//", "");
        first.strip_prefix("id ").unwrap().trim_end().to_owned()
    };
    let (id, other) = (open(), open());
    let send = format!("/lines/xhr-polling/{id}/send");
    assert_eq!(example.ask("POST", &send, "data=\"hello\"%0A{\"a\""), "ok");
    assert_eq!(example.ask("POST", &send, "data=:1}%0A"), "ok");
    for id in [id, other] {
        let said = example.ask("GET", &format!("/lines/xhr-polling/{id}/"), "");
        assert_eq!(said, "\"hello\"\n{\"a\":1}\n");
    }
}
