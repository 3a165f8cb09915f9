//! The event loop of the examples over real sockets. These tests check the loop, not the protocol.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sio_app::{Config, Io, Options, Socket};
use sio_examples::event_loop::{EventLoop, RUNTIME};
use tungstenite::{Message, WebSocket};

/// The longest time that a test waits, long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FLOOD: usize = 2_000;

type Loops = Vec<JoinHandle<std::io::Result<()>>>;

/// Starts a server on this number of loops. Each loop has its own thread and its own shard.
fn start(loops: usize) -> (Io, SocketAddr, Loops) {
    let mut config = Config::default();
    config.max_queued_bytes = 64 << 20;
    config.max_queued_packets = 2 * FLOOD;
    let io = Io::new(config, Options::default().shards(loops), RUNTIME).unwrap();
    io.of("/")
        .on("echo", |socket: Socket, text: String| socket.emit("echo", text))
        .on("later", async |socket: Socket, text: String| {
            socket.sleep(Duration::from_millis(20)).await;
            socket.emit("later", text)
        })
        .on("flood", |socket: Socket| {
            let text = "f".repeat(10_000);
            for n in 0..FLOOD {
                let _ = socket.emit("flood", (n, &text));
            }
        });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let threads = (0..loops).map(|shard| {
        let (io, listener) = (io.clone(), listener.try_clone().unwrap());
        thread::spawn(move || {
            let mut event_loop = EventLoop::new()?;
            event_loop.serve_shards(&io, listener, shard..shard + 1)?;
            event_loop.run()
        })
    });
    let threads = threads.collect();
    (io, address, threads)
}

struct Client(WebSocket<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        let mut client = Self(socket);
        assert!(client.hear().starts_with("0{"));
        client.say("40");
        assert!(client.hear().starts_with("40{"));
        client
    }

    fn say(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).unwrap();
    }

    /// Reads the next packet that is not a ping.
    fn hear(&mut self) -> String {
        loop {
            let text = self.0.read().unwrap().into_text().unwrap();
            if text != "2" {
                return text.to_string();
            }
        }
    }
}

/// Closes the server from outside of the loops, and checks that the clients hear of it and that the
/// loops return.
fn end(io: &Io, loops: Loops, mut clients: Vec<Client>) {
    io.close();
    for client in &mut clients {
        while client.0.read().is_ok() {}
    }
    drop(clients);
    for event_loop in loops {
        event_loop.join().unwrap().unwrap();
    }
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

#[test]
fn handlers_run_and_those_that_wait_go_on() {
    let (io, address, loops) = start(1);
    let mut client = Client::connect(address);
    client.say(r#"42["echo","a"]"#);
    assert_eq!(client.hear(), r#"42["echo","a"]"#);
    client.say(r#"42["later","b"]"#);
    assert_eq!(client.hear(), r#"42["later","b"]"#);
    // This emit comes from a thread that has no loop.
    io.emit("news", 1);
    assert_eq!(client.hear(), r#"42["news",1]"#);
    end(&io, loops, vec![client]);
}

/// Hardening C1.
#[test]
fn a_handshake_is_read_before_the_first_packet() {
    const ROUNDS: usize = 50;
    let (io, address, loops) = start(1);
    let request = "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let is_alone = |_: &usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 4096];
        let read = stream.read(&mut first).unwrap();
        first[..read].ends_with(b"\r\n\r\n")
    };
    // A busy machine delays the client in some rounds, and for some time perhaps in many.
    let is_enough = (0..5).any(|_| (0..ROUNDS).filter(is_alone).count() * 4 >= ROUNDS * 3);
    assert!(is_enough, "fewer than three of four heads came alone");
    end(&io, loops, Vec::new());
}

/// Hardening B9.
#[test]
fn answers_say_the_date() {
    let (io, address, loops) = start(1);
    for target in ["/", "/socket.io/?EIO=4&transport=what", "nonsense"] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.matches("\r\nDate: ").count(), 1, "{answer}");
    }
    end(&io, loops, Vec::new());
}

#[test]
fn who_does_not_read_gets_everything_later_and_holds_nobody_up() {
    let (io, address, loops) = start(1);
    let (mut slow, mut quick) = (Client::connect(address), Client::connect(address));
    slow.say(r#"42["flood"]"#);
    for n in 0..100 {
        quick.say(&format!(r#"42["echo","{n}"]"#));
        assert_eq!(quick.hear(), format!(r#"42["echo","{n}"]"#));
    }
    for n in 0..FLOOD {
        let packet = slow.hear();
        assert!(packet.starts_with(&format!(r#"42["flood",{n},"#)), "{}", &packet[..30]);
    }
    end(&io, loops, vec![slow, quick]);
}

#[test]
fn several_loops_share_a_listener_and_reach_each_others_clients() {
    let (io, address, loops) = start(3);
    let mut clients: Vec<Client> = (0..12).map(|_| Client::connect(address)).collect();
    for round in 0..10 {
        io.emit("round", round);
        for client in &mut clients {
            assert_eq!(client.hear(), format!(r#"42["round",{round}]"#));
            client.say(r#"42["later","x"]"#);
            assert_eq!(client.hear(), r#"42["later","x"]"#);
        }
    }
    end(&io, loops, clients);
}

fn status_line(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The program runs in a process that may open only a few files. It survives, serves again when
/// there is room, and ends properly.
#[cfg(unix)]
#[test]
fn it_survives_having_no_descriptors_left_and_ends_with_0_on_sigterm() {
    let limited = r#"ulimit -n 24; exec "$0" --port 0"#;
    let mut server = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_own-event-loop")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().replace("chat: http://localhost", "127.0.0.1");
    assert_eq!(status_line(&address), "HTTP/1.1 200 OK");
    let many: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // The program has reached its limit when one of the connections gets no answer. The other
    // connections keep it at the limit.
    let mut last = many.last().unwrap();
    last.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    last.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(
        last.read(&mut [0]).is_err(),
        "it has more descriptors than it was meant to have"
    );
    drop(many);
    assert_eq!(status_line(&address), "HTTP/1.1 200 OK");
    let asked = Command::new("kill").args(["-TERM", &server.id().to_string()]).status();
    assert!(asked.unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
