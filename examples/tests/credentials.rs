//! The example `credentials`, used as its documentation says.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

struct Example {
    process: Child,
    port: u16,
    /// The other end of its output, so that it can go on writing.
    _said: BufReader<ChildStdout>,
}

impl Example {
    /// Starts the program with tokens of this many seconds.
    fn start(seconds: u32) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_credentials"))
            .args(["--port", "0", "--seconds", &seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").unwrap().parse().unwrap();
        Self {
            process,
            port,
            _said: said,
        }
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn log_in(&self, user: &str) -> String {
        let mut stream = self.open();
        write!(
            stream,
            "GET /login?user={user} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Connects with a token. Returns the answer to the CONNECT.
    fn connect(&self, token: &str) -> (Client, String) {
        let url = format!("ws://localhost:{}/socket.io/?EIO=4&transport=websocket", self.port);
        let (socket, _) = tungstenite::client(url, self.open()).unwrap();
        let mut client = Client(socket);
        assert!(client.read().starts_with("0{"));
        client.say(&format!(r#"40{{"token":"{token}"}}"#));
        let answer = client.read();
        (client, answer)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

struct Client(WebSocket<TcpStream>);

impl Client {
    fn say(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).unwrap();
    }

    /// Returns the next packet that is no ping.
    fn read(&mut self) -> String {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) if text.as_str() == "2" => self.say("3"),
                Message::Text(text) => return text.as_str().to_owned(),
                _ => {}
            }
        }
    }

    fn ask(&mut self, packet: &str) -> String {
        self.say(packet);
        self.read()
    }
}

#[test]
fn a_socket_ends_with_its_token_unless_the_client_shows_a_newer_one() {
    let example = Example::start(6);
    let (_, refused) = example.connect("made up");
    assert!(refused.starts_with(r#"44{"message":"unknown token""#), "{refused}");
    let (mut keeps, answer) = example.connect(&example.log_in("ada"));
    assert!(answer.starts_with("40{"), "{answer}");
    let (mut forgets, _) = example.connect(&example.log_in("bob"));
    // A token of somebody else changes nothing.
    let other = format!(r#"420["auth","{}"]"#, example.log_in("bob"));
    let answer = keeps.ask(&other);
    assert!(answer.contains("the token of another user"), "{answer}");
    let began = Instant::now();
    let (_never, pause) = mpsc::channel::<()>();
    while began.elapsed() < Duration::from_secs(9) {
        let newer = format!(r#"420["auth","{}"]"#, example.log_in("ada"));
        let answer = keeps.ask(&newer);
        assert!(answer.starts_with("430["), "{answer}");
        assert_eq!(
            pause.recv_timeout(Duration::from_millis(500)),
            Err(RecvTimeoutError::Timeout)
        );
    }
    assert_eq!(forgets.read(), "41");
    assert_eq!(keeps.read(), "41");
}

#[test]
fn a_user_can_log_out_everywhere() {
    let example = Example::start(600);
    let token = example.log_in("ada");
    let (mut first, _) = example.connect(&token);
    let (mut second, _) = example.connect(&example.log_in("ada"));
    let (mut other, _) = example.connect(&example.log_in("bob"));
    first.say(r#"42["log out everywhere"]"#);
    assert_eq!((first.read(), second.read()), ("41".to_owned(), "41".to_owned()));
    let (_, refused) = example.connect(&token);
    assert!(refused.starts_with(r#"44{"message":"unknown token""#), "{refused}");
    let newer = format!(r#"420["auth","{}"]"#, example.log_in("bob"));
    assert!(other.ask(&newer).starts_with("430[59"));
}
