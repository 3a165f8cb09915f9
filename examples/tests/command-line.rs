//! Every example program must answer unknown words properly, on its command line and in requests.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Each program: its name and its path.
const PROGRAMS: &[(&str, &str)] = &[
    ("chat", env!("CARGO_BIN_EXE_chat")),
    ("own-event-loop", env!("CARGO_BIN_EXE_own-event-loop")),
    ("custom-codec", env!("CARGO_BIN_EXE_custom-codec")),
    ("custom-parser", env!("CARGO_BIN_EXE_custom-parser")),
    ("axum-app", env!("CARGO_BIN_EXE_axum-app")),
    ("credentials", env!("CARGO_BIN_EXE_credentials")),
    ("tls-echo", env!("CARGO_BIN_EXE_tls-echo")),
    ("foreign-http", env!("CARGO_BIN_EXE_foreign-http")),
    ("conformance-server", env!("CARGO_BIN_EXE_conformance-server")),
    ("stream", env!("CARGO_BIN_EXE_stream")),
    ("sioc-probe", env!("CARGO_BIN_EXE_sioc-probe")),
    ("ws-echo", env!("CARGO_BIN_EXE_ws-echo")),
    #[cfg(feature = "smol")]
    ("smol-echo", env!("CARGO_BIN_EXE_smol-echo")),
];

/// Hardening C11.
#[test]
fn an_unknown_argument_is_answered_with_the_usage() {
    for (name, program) in PROGRAMS {
        for words in [
            &["--prot", "0"][..],
            &["8080"],
            &["--port", "0", "more"],
            &["--port"],
            &["--port", "x"],
        ] {
            let ended = Command::new(program).args(words).output().unwrap();
            let [out, err] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(ended.status.code(), Some(2), "{name} {words:?}: {out}{err}");
            assert!(err.contains(&format!("usage: {name}")), "{name} {words:?}: {err}");
            assert_eq!(out, "", "{name} {words:?}");
        }
        let asked = Command::new(program).arg("--help").output().unwrap();
        let usage = String::from_utf8(asked.stdout).unwrap();
        assert_eq!(asked.status.code(), Some(0), "{name}");
        assert!(usage.starts_with(&format!("usage: {name}")), "{name}: {usage}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let serving = ["chat", "own-event-loop", "axum-app"];
    for (name, program) in PROGRAMS.iter().filter(|(name, _)| serving.contains(name)) {
        let ended = Command::new(program).args(["--port", &port]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&port) && said.contains("--port"), "{name}: {said}");
    }
}

/// A running program that serves. It is ended when this value is dropped.
struct Running {
    process: Child,
    port: u16,
}

impl Running {
    /// Starts a program. Returns `None` if the port was taken.
    fn start(program: &str, port: u16) -> Option<Self> {
        let mut process = Command::new(program)
            .args(["--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let digits = line.trim().rsplit([' ', ':']).next().unwrap();
        let mut running = Self { process, port };
        running.port = digits.parse().ok()?;
        Some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended by itself, because its port was taken.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// Starts the conformance server. It needs a port number and the two ports above it, so it cannot
/// choose a free port itself.
fn conformance_server(program: &str) -> Running {
    let started = (0..50).find_map(|_| {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Running::start(program, free.min(u16::MAX - 2))
    });
    started.unwrap()
}

/// Hardening C11.
#[test]
fn an_unknown_method_is_not_served() {
    // `tls-echo` is left out: it uses the same code as the others, over TLS. `sioc-probe` is a
    // client.
    let servers = PROGRAMS
        .iter()
        .filter(|(name, _)| !["tls-echo", "sioc-probe"].contains(name));
    for (name, program) in servers {
        let running = match *name {
            "conformance-server" => conformance_server(program),
            _ => Running::start(program, 0).unwrap(),
        };
        let mut stream = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
            .write_all(b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 "), "{name}: {answer}");
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("\r\nallow: get"), "{name}: {answer}");
    }
}
