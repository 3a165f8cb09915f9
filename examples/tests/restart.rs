//! Recovery over the end of the process: a server with a store is killed or ended, and a client
//! comes back to the next process (recovery F6).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

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
                && let Some(server) = Self::try_start(runtime, port, store)
            {
                return server;
            }
        }
        panic!("no three free ports");
    }

    fn try_start(runtime: &str, port: u16, store: &Path) -> Option<Self> {
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
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
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
        let stream = TcpStream::connect(("127.0.0.1", server.port + 2)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!(
            "ws://127.0.0.1:{}/socket.io/?EIO=4&transport=websocket",
            server.port + 2
        );
        let (socket, _) = tungstenite::client(url, stream).unwrap();
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
        client
    }

    fn new(server: &Server) -> Self {
        Self::connect(server, "40")
    }

    /// Comes back, with what it has heard so far.
    fn back(self, server: &Server) -> Self {
        let offset = self.offset.as_ref().map(|offset| format!(r#","offset":"{offset}""#));
        let show = format!(r#"40{{"pid":"{}"{}}}"#, self.pid, offset.unwrap_or_default());
        let back = Self::connect(server, &show);
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

/// A second process with the same store does not start.
#[test]
fn a_store_that_is_in_use_is_refused() {
    let store = tempfile::tempdir().unwrap();
    let server = Server::start("tokio", store.path());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let second = Command::new(env!("CARGO_BIN_EXE_conformance-server"))
        .args(["--port", &port.to_string(), "--store"])
        .arg(store.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        String::from_utf8(second.stderr)
            .unwrap()
            .contains("the store is in use")
    );
    server.kill();
}
