//! Two processes in sequence: the next one takes over the port of the old one, and no client is
//! refused a connection. The processes are `conformance-server --handover`, on each runtime.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

/// The longest time that a test waits, long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance-server");

struct Process(Child);

impl Process {
    /// Starts a command, and waits until the program listens.
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("listening "), "{line:?}");
        Self(process)
    }

    /// Starts the program on a port that another one may have.
    fn on(runtime: &str, port: u16) -> Self {
        let words = ["--bench", "--handover", "--runtime", runtime, "--port"];
        Self::start(Command::new(PROGRAM).args(words).arg(port.to_string()))
    }

    /// Starts the program with a listening socket as descriptor 3, as a service manager does.
    fn with(listener: &TcpListener, runtime: &str) -> Self {
        let port = listener.local_addr().unwrap().port();
        let socket: OwnedFd = listener.try_clone().unwrap().into();
        let script = r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@" 3<&0 </dev/null"#;
        let words = ["--bench", "--handover", "--runtime", runtime, "--port"];
        let mut command = Command::new("sh");
        command.args(["-c", script, PROGRAM]).args(words).arg(port.to_string());
        Self::start(command.stdin(Stdio::from(socket)))
    }

    /// Sends SIGTERM.
    fn ask_to_end(&self) {
        let sent = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end.
    fn ended(mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a GET and returns the answer, or `None` if the connection ended before it.
fn get(stream: &mut TcpStream, target: &str) -> Option<String> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
    }
}

/// How often a client tries to come back.
const TRIES: usize = 10;

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

/// A client that holds a connection, and comes back as stock clients do.
struct Client {
    port: u16,
    socket: WebSocket<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap()
    }

    /// Connects. Returns `None` if the server answers with an error, or resets the connection.
    fn try_connect(port: u16) -> Option<Self> {
        let url = format!("ws://localhost:{port}/socket.io/?EIO=4&transport=websocket");
        let stream = match TcpStream::connect(("127.0.0.1", port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            stream => stream.unwrap(),
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(url, stream).ok()?;
        let mut client = Self { port, socket };
        assert!(client.text().starts_with("0{"));
        client.socket.send(Message::text("40")).unwrap();
        assert!(client.text().starts_with("40{"));
        Some(client)
    }

    fn text(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return text.as_str().to_owned();
            }
        }
    }

    fn echo(&mut self) {
        self.socket.send(Message::text(r#"42["echo",1]"#)).unwrap();
        assert_eq!(self.text(), r#"42["echo",1]"#);
    }

    /// Waits until the server ends the connection, and connects again at once. The old process may
    /// have had the new connection in its queue: then the client is told to come again, or its
    /// connection is reset (docs/deploy.md), and it tries again after a pause, as stock clients do.
    fn come_back(&mut self) {
        while self.socket.read().is_ok_and(|message| !message.is_close()) {}
        let back = (0..TRIES).find_map(|_| {
            let back = Self::try_connect(self.port);
            if back.is_none() {
                thread::sleep(Duration::from_millis(100));
            }
            back
        });
        *self = back.unwrap();
    }
}

/// New clients, one after the other, until they are told to stop. Returns how many there were, and
/// what went wrong.
fn newcomers(port: u16, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => wrong.push("no answer".to_owned()),
            Err(error) => wrong.push(format!("connection: {error}")),
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                match get(&mut stream, HANDSHAKE) {
                    Some(answer) if answer.starts_with("HTTP/1.1 200 ") => {}
                    Some(answer) => wrong.push(answer.lines().next().unwrap_or_default().to_owned()),
                    None => wrong.push("no answer".to_owned()),
                }
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    (count, wrong)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The next process is there before the old one is asked to end.
fn hand_over(runtime: &str) {
    let port = free_port();
    let old = Process::on(runtime, port);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(port)).collect();
    // A connection that is kept for further requests, and whose session has ended.
    let mut kept = open(port);
    let answer = get(&mut kept, HANDSHAKE).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let next = Process::on(runtime, port);
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let newcomers = thread::spawn(move || newcomers(port, &stopping));
    old.ask_to_end();
    for client in &mut clients {
        client.come_back();
        client.echo();
    }
    old.ended();
    stop.store(true, Ordering::Relaxed);
    let (count, wrong) = newcomers.join().unwrap();
    // Those whom the old process had in its queue when it was asked to end are told to come again,
    // or reset. Nobody is refused a connection.
    let told_off = wrong
        .iter()
        .filter(|wrong| ["HTTP/1.1 503 Service Unavailable", "no answer"].contains(&&***wrong))
        .count();
    assert_eq!(told_off, wrong.len(), "{wrong:?}");
    assert!(told_off < 20, "{told_off} of {count}");
    for client in &mut clients {
        client.echo();
    }
    drop(next);
}

#[test]
fn the_next_process_takes_over_on_tokio() {
    hand_over("tokio");
}

#[test]
fn the_next_process_takes_over_on_async_std() {
    hand_over("async-std");
}

#[test]
fn the_next_process_takes_over_on_the_event_loop() {
    hand_over("loop");
}

/// A service manager holds the socket: clients wait while no process is there, and none is refused.
#[test]
fn a_socket_that_both_processes_inherit_loses_nothing() {
    for runtime in ["tokio", "async-std", "loop"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let old = Process::with(&listener, runtime);
        let mut client = Client::connect(port);
        client.echo();
        old.ask_to_end();
        while client.socket.read().is_ok_and(|message| !message.is_close()) {}
        old.ended();
        // Nobody serves the port.
        let mut waiting: Vec<_> = (0..5).map(|_| open(port)).collect();
        let _next = Process::with(&listener, runtime);
        for stream in &mut waiting {
            let answer = get(stream, HANDSHAKE).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        Client::connect(port).echo();
    }
}
