//! The example `custom-parser`, used by a client that writes packets as `socket.io-json-parser`
//! does.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, connect};

struct Example {
    process: Child,
    port: u16,
}

impl Example {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_custom-parser"))
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

    fn join(&self) -> Client {
        let url = format!("ws://127.0.0.1:{}/socket.io/?EIO=4&transport=websocket", self.port);
        let (socket, _) = connect(url).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        }
        let mut client = Client(socket);
        assert!(client.hear().starts_with("0{\"sid\":"));
        client.say(r#"4{"type":0,"nsp":"/"}"#);
        assert!(client.hear().starts_with(r#"4{"data":{"sid":""#));
        client
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

struct Client(WebSocket<MaybeTlsStream<TcpStream>>);

impl Client {
    fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Reads the next message. Returns its text, or `close`.
    fn hear(&mut self) -> String {
        match self.0.read().unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Close(_) => "close".to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_whole_packet_is_one_json_text() {
    let example = Example::start();
    let (mut one, mut other) = (example.join(), example.join());
    one.say(r#"4{"type":2,"data":["say","hi",{"n":1}],"options":{"compress":true},"nsp":"/"}"#);
    for client in [&mut one, &mut other] {
        assert_eq!(client.hear(), r#"4{"data":["said","hi",{"n":1}],"nsp":"/","type":2}"#);
    }
    one.say(r#"4{"type":2,"data":["echo",1,"é"],"id":7,"nsp":"/"}"#);
    assert_eq!(one.hear(), r#"4{"data":[1,"é"],"id":7,"nsp":"/","type":3}"#);
    one.say(r#"4{"type":0,"nsp":"/nowhere"}"#);
    assert_eq!(
        one.hear(),
        r#"4{"data":{"message":"Invalid namespace"},"nsp":"/nowhere","type":4}"#
    );
    for malformed in [
        "4{",
        "42[\"say\"]",
        r#"4{"type":2,"data":["disconnect"],"nsp":"/"}"#,
        r#"4{"type":2,"data":["say"],"nsp":"/,1"}"#,
        r#"4{"type":5,"data":["say"],"nsp":"/"}"#,
    ] {
        let mut client = example.join();
        client.say(malformed);
        assert_eq!(client.hear(), "close", "{malformed}");
    }
    other.say(r#"4{"type":2,"data":["echo"],"id":0,"nsp":"/"}"#);
    assert_eq!(other.hear(), r#"4{"data":[],"id":0,"nsp":"/","type":3}"#);
}
