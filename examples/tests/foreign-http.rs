//! The shard behind hyper and tungstenite, as a client sees it: polling, websocket and the upgrade
//! between them, with both revisions of Engine.IO.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "what is not a test here is part of one, and tests may block"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// The longest time that a test waits, long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running program. It is ended when this value is dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foreign-http"))
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().replace("listening ", "127.0.0.1:");
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request on a new connection.
    fn send(&self, method: &str, target: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        // If the server refuses the request for its head, it may close the connection before the
        // body is written.
        let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        stream
    }

    fn get(&self, target: &str) -> (u16, String) {
        answer(self.send("GET", target, ""))
    }

    fn post(&self, target: &str, body: &str) -> (u16, String) {
        answer(self.send("POST", target, body))
    }

    fn websocket(&self, target: &str) -> Client {
        let url = format!("ws://{}{target}", self.address);
        Client(tungstenite::client(url, self.connect()).unwrap().0)
    }

    /// Opens a session of Engine.IO `revision` by polling. Returns the target of its requests,
    /// session id included.
    fn open(&self, revision: u8) -> String {
        let target = format!("/socket.io/?EIO={revision}&transport=polling");
        let (status, body) = self.get(&target);
        let (_, rest) = body.split_once(r#""sid":""#).unwrap();
        let (sid, rest) = rest.split_once('"').unwrap();
        assert!(status == 200 && rest.contains(r#""upgrades":["websocket"]"#), "{body}");
        format!("{target}&sid={sid}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Reads an answer, and returns its status and body.
fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

struct Client(WebSocket<TcpStream>);

impl Client {
    fn say(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).unwrap();
    }

    /// Reads the next message that is not a ping.
    fn hear(&mut self) -> Message {
        loop {
            let message = self.0.read().unwrap();
            if message != Message::text("2") {
                return message;
            }
        }
    }

    fn hear_text(&mut self) -> String {
        self.hear().into_text().unwrap().to_string()
    }
}

#[test]
fn polls_wait_and_posts_answer_them() {
    let program = Program::start();
    let target = program.open(4);
    assert_eq!(program.post(&target, "40"), ok("ok"));
    assert!(program.get(&target).1.starts_with(r#"40{"sid":""#));
    // Either the poll is parked when its answer is made, or the answer waits for the poll. This
    // depends on the order in which hyper runs the two requests.
    let poll = program.send("GET", &target, "");
    assert_eq!(program.post(&target, r#"42["a",1]"#), ok("ok"));
    assert_eq!(answer(poll), ok(r#"42["a",1]"#));
    assert_eq!(program.post(&target, "427[\"b\",2]\x1e40/chat,"), ok("ok"));
    let mut heard = String::new();
    while !heard.contains("40/chat,{") {
        heard += &program.get(&target).1;
    }
    assert!(heard.starts_with("437[2]"), "{heard}");

    let target = program.open(3);
    assert_eq!(program.get(&target), ok("2:40"));
    let poll = program.send("GET", &target, "");
    assert_eq!(program.post(&target, r#"10:420["a",1]"#), ok("ok"));
    assert_eq!(answer(poll), ok("6:430[1]"));
}

#[test]
fn websockets_carry_text_and_binary_until_either_side_ends_them() {
    let program = Program::start();
    let mut client = program.websocket("/socket.io/?EIO=4&transport=websocket");
    assert!(client.hear_text().starts_with("0{"));
    client.say("40");
    assert!(client.hear_text().starts_with("40{"));
    client.say(r#"421["a","b"]"#);
    assert_eq!(client.hear_text(), r#"431["b"]"#);
    client.say(r#"451-["c",{"_placeholder":true,"num":0}]"#);
    client.0.send(Message::binary(vec![1, 2])).unwrap();
    assert_eq!(client.hear_text(), r#"451-["c",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.hear(), Message::binary(vec![1, 2]));
    // These messages are more than one turn writes. The messages that are queued while the
    // websocket is busy come in order.
    for n in 0..500 {
        client.say(&format!(r#"42["many",{n}]"#));
    }
    for n in 0..500 {
        assert_eq!(client.hear_text(), format!(r#"42["many",{n}]"#));
    }
    // On a websocket, genuine servers ignore the packet that ends a polling session
    // (docs/protocol/engine-io.md, §5).
    client.say("1");
    client.say(r#"42["still","here"]"#);
    assert_eq!(client.hear_text(), r#"42["still","here"]"#);
    client.say("no packet");
    assert!(matches!(client.hear(), Message::Close(_)));

    let mut client = program.websocket("/socket.io/?EIO=3&transport=websocket");
    assert!(client.hear_text().starts_with("0{"));
    assert_eq!(client.hear_text(), "40");
    client.say(r#"42["a",1]"#);
    assert_eq!(client.hear_text(), r#"42["a",1]"#);
    client.0.close(None).unwrap();
    assert!(matches!(client.hear(), Message::Close(_)));
    assert!(client.0.read().is_err(), "the connection goes on after its end");
}

#[test]
fn a_polling_session_moves_to_a_websocket() {
    let program = Program::start();
    for (revision, connect) in [(4, "40"), (3, "")] {
        let target = program.open(revision);
        if !connect.is_empty() {
            assert_eq!(program.post(&target, connect), ok("ok"));
        }
        assert!(program.get(&target).1.contains("40"));
        let poll = program.send("GET", &target, "");
        let mut client = program.websocket(&target.replace("polling", "websocket"));
        client.say("2probe");
        assert_eq!(client.hear_text(), "3probe");
        // The poll is answered without any message.
        assert_eq!(answer(poll), ok(if revision == 4 { "6" } else { "1:6" }));
        client.say("5");
        client.say(r#"42["moved"]"#);
        assert_eq!(client.hear_text(), r#"42["moved"]"#);
    }
}

#[test]
fn what_is_wrong_is_answered_and_who_is_gone_is_gone() {
    let program = Program::start();
    assert_eq!(program.get("/other"), (404, "only Socket.IO here\n".to_owned()));
    let (status, body) = program.get("/socket.io/?EIO=4&transport=carrier-pigeon");
    assert!(status == 400 && body.contains("Transport unknown"), "{status} {body}");
    // The old generations are switched off.
    assert_eq!(program.get("/socket.io/1/").0, 400);

    let target = program.open(4);
    let mut long = program.connect();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n");
    long.write_all(head.as_bytes()).unwrap();
    // The body is only one byte larger than the limit. A longer body could stay unread, and then
    // its answer could be lost.
    long.write_all(&vec![b'4'; 1_000_001]).unwrap();
    assert_eq!(answer(long).0, 413);

    let target = program.open(4);
    drop(program.send("GET", &target, ""));
    // When the client of a poll has gone, its session ends sooner or later.
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        program.post(&target, "3").0 == 400
    });
    assert!(gone, "the session lives on");

    let mut client = program.websocket("/socket.io/?EIO=4&transport=websocket");
    assert!(client.hear_text().starts_with("0{"));
    let _ = client.0.send(Message::binary(vec![0; 1_000_001]));
    let Message::Close(Some(close)) = client.hear() else {
        panic!("no Close")
    };
    assert_eq!(close.code, CloseCode::Size);
}
