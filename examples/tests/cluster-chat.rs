//! The cluster chat: it starts from one command, people on three ports talk to each other, and its
//! Redis ends with it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_cluster-chat");

/// A program that ends with its value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first of three free ports.
fn three_ports() -> u16 {
    for _ in 0..50 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut ports = port..port.saturating_add(3);
        if port < u16::MAX - 3 && ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no three free ports");
}

struct Person(WebSocket<TcpStream>);

impl Person {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        let mut person = Self(socket);
        assert!(person.next().starts_with('0'));
        person.send("40");
        assert!(person.next().starts_with("40{"));
        person
    }

    fn send(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).unwrap();
    }

    /// The next packet that is no heartbeat.
    fn next(&mut self) -> String {
        loop {
            let packet = self.0.read().unwrap().into_text().unwrap().to_string();
            if packet != "2" {
                return packet;
            }
            self.send("3");
        }
    }

    fn until(&mut self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let packet = self.next();
            if packet.starts_with(wanted) {
                return packet;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted} does not come");
        }
    }
}

/// Asks until the answer has this text: nodes hear of each other within moments.
fn sees(person: &mut Person, wanted: &[&str]) {
    let begun = Instant::now();
    loop {
        person.send(r#"427["who"]"#);
        let answer = person.until("437[");
        if wanted.iter().all(|text| answer.contains(text)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs redis-server"]
fn people_on_three_ports_talk_to_each_other() {
    let port = three_ports();
    let started = Command::new(PROGRAM)
        .args(["--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn();
    let mut program = Program(started.unwrap());
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let redis: u16 = first.rsplit(' ').next().unwrap().parse().unwrap();
    for node in 0..3 {
        assert_eq!(
            lines.next().unwrap().unwrap(),
            format!("cluster-chat: http://localhost:{}", port + node)
        );
    }
    // Each port has the page.
    for node in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", port + node)).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<title>Cluster chat</title>"));
    }
    let mut people: Vec<Person> = (0..3).map(|node| Person::connect(port + node)).collect();
    for (node, name) in ["ada", "bob", "eve"].iter().enumerate() {
        people[node].send(&format!(r#"421["hello","{name}"]"#));
        let welcome = people[node].until("431[");
        assert!(welcome.starts_with(&format!("431[{node},[")), "{welcome}");
    }
    let all = [
        r#"{"name":"ada","node":0}"#,
        r#"{"name":"bob","node":1}"#,
        r#"{"name":"eve","node":2}"#,
    ];
    people.iter_mut().for_each(|person| sees(person, &all));
    for (node, name) in ["ada", "bob", "eve"].iter().enumerate() {
        people[node].send(&format!(r#"42["say","I am {name}"]"#));
        for person in &mut people {
            person.until(&format!(r#"42["said","{name}",{node},"I am {name}"]"#));
        }
    }
    // Who goes is missed on the other servers.
    drop(people.remove(1));
    people
        .iter_mut()
        .for_each(|person| drop(person.until(r#"42["went","bob",1]"#)));

    let pid = program.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    drop(people);
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = program.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    assert!(
        TcpStream::connect(("127.0.0.1", redis)).is_err(),
        "its Redis has ended, too"
    );
}

/// Without `redis-server` the program says what is missing, and does not begin.
#[test]
fn what_is_missing_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["--port", &three_ports().to_string()])
        .env("PATH", empty.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("redis-server") && said.contains("not installed") && said.contains("--redis URL"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}
