//! Recovery over the end of the process: a server with a store is killed or ended, and a client
//! comes back to the next process (recovery F6).

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::{Message, WebSocket};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(runtime: &str, store: &Path) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if port < u16::MAX - 3
                && let Some(server) = Self::try_start(runtime, port, store, &[])
            {
                return server;
            }
        }
        panic!("no three free ports");
    }

    /// Starts a server that hands over its ports.
    fn start_with_handover(runtime: &str, store: &Path) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut ports = port..port.saturating_add(3);
            if port < u16::MAX - 3 && ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Self::try_start(runtime, port, store, &["--handover"]).unwrap();
            }
        }
        panic!("no three free ports");
    }

    /// Starts the next process, which has the ports and waits for the store.
    fn next(&self, runtime: &str, store: &Path) -> Self {
        Self::try_start(runtime, self.port, store, &["--handover"]).unwrap()
    }

    fn ask_to_end(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    fn try_start(runtime: &str, port: u16, store: &Path, words: &[&str]) -> Option<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_conformance-server"))
            .args([
                "--runtime",
                runtime,
                "--threads",
                "2",
                "--ping-interval",
                "20000",
                "--store",
            ])
            .arg(store)
            .args(["--port", &port.to_string()])
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        if line.starts_with("listening") {
            return Some(Self { process, port });
        }
        let ended = process.wait().unwrap();
        assert!(!ended.success());
        None
    }

    /// Kills the process (`kill -9`).
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends the process as a service manager does.
    fn terminate(mut self) {
        self.ask_to_end();
        assert!(self.process.wait().unwrap().success());
    }
}

/// A client of 4.6 or later, as far as recovery needs it.
struct Client {
    socket: WebSocket<TcpStream>,
    sid: String,
    pid: String,
    offset: Option<String>,
    /// The numbers that it has heard.
    heard: Vec<u64>,
}

impl Client {
    fn connect(server: &Server, connect: &str) -> Self {
        Self::try_connect(server, connect).unwrap()
    }

    /// Connects. Returns `None` if the server resets the connection or answers with an error.
    fn try_connect(server: &Server, connect: &str) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port + 2)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!(
            "ws://127.0.0.1:{}/socket.io/?EIO=4&transport=websocket",
            server.port + 2
        );
        let (socket, _) = tungstenite::client(url, stream).ok()?;
        let mut client = Self {
            socket,
            sid: String::new(),
            pid: String::new(),
            offset: None,
            heard: Vec::new(),
        };
        assert!(client.packet().starts_with('0'));
        client.say(connect);
        let answer = client.packet();
        let json: serde_json::Value = serde_json::from_str(answer.strip_prefix("40").expect("an answer")).unwrap();
        client.sid = json["sid"].as_str().unwrap().to_owned();
        client.pid = json["pid"].as_str().unwrap().to_owned();
        Some(client)
    }

    fn new(server: &Server) -> Self {
        Self::connect(server, "40")
    }

    /// Comes back, with what it has heard so far.
    fn back(self, server: &Server) -> Self {
        let offset = self.offset.as_ref().map(|offset| format!(r#","offset":"{offset}""#));
        let show = format!(r#"40{{"pid":"{}"{}}}"#, self.pid, offset.unwrap_or_default());
        // A connection that is still in the queue of a process that ends is refused or reset, and
        // stock clients try again.
        let mut tries = (0..50).map(|_| {
            let back = Self::try_connect(server, &show);
            if back.is_none() {
                std::thread::sleep(Duration::from_millis(100));
            }
            back
        });
        let back = tries.find_map(|back| back).unwrap();
        assert_eq!((&back.sid, &back.pid), (&self.sid, &self.pid), "recovered");
        Self {
            offset: self.offset,
            heard: self.heard,
            ..back
        }
    }

    fn say(&mut self, packet: &str) {
        self.socket.send(Message::text(packet)).unwrap();
    }

    /// Reads until the server ends the connection.
    fn hear_the_end(&mut self) {
        while let Ok(message) = self.socket.read() {
            self.take(message.into_text().unwrap_or_default().as_str());
        }
    }

    /// Takes the number of a packet, if it has one.
    fn take(&mut self, packet: &str) {
        if let Some(rest) = packet.strip_prefix(r#"42["num","#) {
            self.heard.push(rest.split(',').next().unwrap().parse().unwrap());
            self.offset = Some(packet.rsplit('"').nth(1).unwrap().to_owned());
        }
    }

    /// Returns the next packet that is not a ping.
    fn packet(&mut self) -> String {
        loop {
            match self.socket.read().unwrap().into_text().unwrap().as_str() {
                "2" => self.say("3"),
                packet => return packet.to_owned(),
            }
        }
    }

    /// Reads the next number.
    fn number(&mut self) -> u64 {
        loop {
            let packet = self.packet();
            let Some(event) = packet.strip_prefix("42") else {
                continue;
            };
            let args: Vec<serde_json::Value> = serde_json::from_str(event).unwrap();
            self.offset = Some(args.last().unwrap().as_str().expect("an offset").to_owned());
            if args[0] == "num" {
                let number = args[1].as_u64().unwrap();
                self.heard.push(number);
                return number;
            }
        }
    }
}

/// One client is cut early, another is there until the process ends. The first one must hear
/// everything that the other has heard, once and in order, from the next process.
fn nothing_is_lost(runtime: &str, end: fn(Server)) {
    let store = tempfile::tempdir().unwrap();
    let mut server = Server::start(runtime, store.path());
    let mut cut = Client::new(&server);
    for round in 0..3 {
        let mut witness = Client::new(&server);
        let before = cut.heard.len();
        witness.say(r#"42["numbered",100000,1]"#);
        while cut.number() < 20 + 5 * round {}
        let _ = cut.socket.get_mut().shutdown(std::net::Shutdown::Both);
        let mut last = 0;
        while last < 120 {
            last = witness.number();
        }
        end(server);
        // What the kernel has of the process is read to its end.
        while let Ok(message) = witness.socket.read() {
            let packet = message.into_text().unwrap_or_default();
            if let Some(rest) = packet.strip_prefix(r#"42["num","#) {
                last = rest.split(',').next().unwrap().parse().unwrap();
            }
        }
        server = Server::start(runtime, store.path());
        cut = cut.back(&server);
        while *cut.heard.last().unwrap() < last {
            cut.number();
        }
        let expected: Vec<u64> = (1..=*cut.heard.last().unwrap()).collect();
        assert_eq!(cut.heard[before..], expected, "round {round}");
        // What was written, and was heard by nobody, comes too. Then this process begins to count.
        let mut rest = cut.heard.last().copied().unwrap();
        cut.say(r#"42["echo","end"]"#);
        loop {
            let packet = cut.packet();
            if packet.contains(r#""echo""#) {
                break;
            }
            let number: u64 = packet
                .strip_prefix(r#"42["num","#)
                .unwrap()
                .split(',')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(number, rest + 1);
            rest = number;
            cut.offset = Some(packet.rsplit('"').nth(1).unwrap().to_owned());
        }
        cut.heard.clear();
    }
    server.kill();
}

#[test]
fn after_kill_9_nothing_is_lost_and_nothing_comes_twice() {
    nothing_is_lost("tokio", Server::kill);
}

#[test]
fn after_kill_9_of_the_event_loop_nothing_is_lost_and_nothing_comes_twice() {
    nothing_is_lost("loop", Server::kill);
}

#[test]
fn after_sigterm_nothing_is_lost_and_nothing_comes_twice() {
    nothing_is_lost("tokio", Server::terminate);
}

/// A deploy: the next process has the ports while the old one still serves, waits for its store,
/// and recovers its clients. A numbered stream to several clients has no gap, and nothing comes
/// twice. One client was cut before.
fn a_deploy_loses_nothing(runtime: &str) {
    let store = tempfile::tempdir().unwrap();
    let mut server = Server::start_with_handover(runtime, store.path());
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(&server)).collect();
    for _ in 0..2 {
        clients[0].say(r#"42["numbered",100000,1]"#);
        while clients[3].number() < 20 {}
        let _ = clients[3].socket.get_mut().shutdown(std::net::Shutdown::Both);
        while clients[0].number() < 100 {}
        let next = server.next(runtime, store.path());
        // The next process waits, and the old one serves.
        let before = clients[0].heard.last().copied().unwrap();
        while clients[0].number() < before + 50 {}
        server.ask_to_end();
        clients[..3].iter_mut().for_each(Client::hear_the_end);
        clients = clients.into_iter().map(|client| client.back(&next)).collect();
        let last = clients.iter().filter_map(|client| client.heard.last()).max().copied();
        for client in &mut clients {
            client.say(r#"42["echo","end"]"#);
            loop {
                let packet = client.packet();
                if packet.contains(r#""echo""#) {
                    break;
                }
                client.take(&packet);
            }
            let expected: Vec<u64> = (1..=client.heard.last().copied().unwrap()).collect();
            assert_eq!(client.heard, expected);
            assert!(client.heard.last().copied() >= last);
        }
        // All have heard the same. The next process begins to count.
        assert!(
            clients
                .iter()
                .all(|client| client.heard.len() == clients[0].heard.len())
        );
        clients.iter_mut().for_each(|client| client.heard.clear());
        assert!(server.process.wait().unwrap().success());
        server = next;
    }
    server.kill();
}

#[test]
fn a_deploy_with_two_processes_at_once_loses_nothing_on_tokio() {
    a_deploy_loses_nothing("tokio");
}

#[test]
fn a_deploy_with_two_processes_at_once_loses_nothing_on_async_std() {
    a_deploy_loses_nothing("async-std");
}

#[test]
fn a_deploy_with_two_processes_at_once_loses_nothing_on_the_event_loop() {
    a_deploy_loses_nothing("loop");
}

/// A second process with the same store does not start.
#[test]
fn a_store_that_is_in_use_is_refused() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start("tokio", store.path());
    // Another test may take one of the ports first. Then the program ends with this error.
    let said = (0..20).find_map(|_| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let second = Command::new(env!("CARGO_BIN_EXE_conformance-server"))
            .args(["--port", &port.to_string(), "--store"])
            .arg(store.path())
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8(second.stderr).unwrap();
        (!said.contains("in use (os error")).then_some(said)
    });
    let said = said.expect("three free ports");
    assert!(said.contains("the store is in use"), "{said}");
    server.kill();
}
