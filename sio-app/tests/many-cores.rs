//! Several threads use several shards at the same time: the promises of `sio_app`'s page, each
//! tried many times.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use memory::{Script, Wall};
use sio_app::adapter::{Connection, Runtime, Task, Time};
use sio_app::{
    Ack, Breach, Config, EngineHandler, EngineMessage, EngineSocket, Io, Offset, Options, Peer, RawArgs, Reason, Ring,
    Socket,
};

const SHARDS: usize = 5;
const THREADS: usize = 4;
const CLIENTS: usize = 12;
const ROUNDS: usize = 300;

static TASKS: Mutex<Vec<Task>> = Mutex::new(Vec::new());

/// It moves only where a client waits behind the head of its handshake.
static NOW: AtomicU64 = AtomicU64::new(0);

const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.load(Ordering::Relaxed)),
    unix_time: || 784_111_777,
    spawn: |task| TASKS.lock().unwrap().push(task),
    fill: |out| {
        static STATE: AtomicU64 = AtomicU64::new(1);
        for byte in out {
            let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            *byte = (state ^ (state >> 31))
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
                .to_be_bytes()[0];
        }
    },
};

/// Polls each waiting task once.
fn run_tasks() {
    let mut tasks = std::mem::take(&mut *TASKS.lock().unwrap());
    tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    TASKS.lock().unwrap().append(&mut tasks);
}

struct Client {
    /// The mutex is needed because a connection may be sent to other threads, but not shared.
    connection: Mutex<Connection>,
    wall: Wall,
    socket: Socket,
    /// The acknowledgements that the client has received.
    acknowledged: BTreeSet<String>,
}

impl Client {
    /// Answers the questions that have arrived, and notes the acknowledgements that have arrived.
    fn answer(&mut self) {
        let heard = self.heard();
        let answers = heard.iter().filter_map(|packet| {
            let (id, asked) = packet.strip_prefix("42")?.split_once("[\"q\",")?;
            Some(format!("43{id}[{asked}"))
        });
        let answers: Vec<_> = answers.collect();
        self.say(&answers);
        self.acknowledged
            .extend(heard.into_iter().filter(|packet| packet.starts_with("43")));
    }

    fn say(&mut self, packets: &[String]) {
        if packets.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for packet in packets {
            bytes.extend([0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0]);
            bytes.extend(packet.as_bytes());
        }
        self.read(bytes);
    }

    fn read(&mut self, bytes: Vec<u8>) {
        let cx = &mut Context::from_waker(Waker::noop());
        let connection = self.connection.get_mut().unwrap();
        assert!(connection.poll(cx, &mut Script(Some(bytes))).is_pending());
    }

    /// Returns the packets that have arrived since the last call.
    fn heard(&self) -> Vec<String> {
        let bytes = self.wall.take();
        let mut rest = &bytes[..];
        let mut packets = Vec::new();
        while let [_, length, tail @ ..] = rest {
            let (length, tail) = match length {
                126 => (u16::from_be_bytes([tail[0], tail[1]]).into(), &tail[2..]),
                length => (usize::from(*length), tail),
            };
            packets.push(String::from_utf8(tail[..length].to_vec()).unwrap());
            rest = &tail[length..];
        }
        packets
    }
}

fn server() -> Io {
    Io::new(Config::default(), Options::default().shards(SHARDS), RUNTIME).unwrap()
}

/// Connects clients whose sockets are spread over all shards.
fn clients(io: &Io, count: usize) -> Vec<Client> {
    let known = Mutex::new(Vec::new());
    let connect = || {
        let wall = Wall::default();
        let mut connection = Connection::new(io, Peer::default(), wall.clone()).unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        for bytes in [
            &b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"[..],
            b"\x81\x82\0\0\0\x0040",
        ] {
            assert!(connection.poll(cx, &mut Script(Some(bytes.to_vec()))).is_pending());
            // What follows the head is written after a pause, with the next poll.
            NOW.fetch_add(200, Ordering::Relaxed);
            assert!(connection.poll(cx, &mut Script(None)).is_pending());
        }
        let mut known = known.lock().unwrap();
        let socket = io.sockets().into_iter().find(|socket| !known.contains(socket)).unwrap();
        known.push(socket.clone());
        wall.0.lock().unwrap().clear();
        Client {
            connection: Mutex::new(connection),
            wall,
            socket,
            acknowledged: BTreeSet::new(),
        }
    };
    (0..count).map(|_| connect()).collect()
}

fn number(packet: &str, prefix: &str) -> Option<usize> {
    packet.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// The messages of one thread reach each recipient in the order in which they were sent, whether
/// they were sent to all, to a room or to one socket.
#[test]
fn each_recipient_gets_the_messages_of_one_thread_in_order() {
    let io = server();
    let clients = clients(&io, CLIENTS);
    for client in &clients {
        client.socket.join("all").unwrap();
    }
    thread::scope(|scope| {
        for emitter in 0..THREADS {
            let (io, clients) = (&io, &clients);
            scope.spawn(move || {
                let name = format!("e{emitter}");
                for n in 0..ROUNDS {
                    match n % 3 {
                        0 => _ = io.emit(&name, n),
                        1 => _ = io.to("all").emit(&name, n),
                        _ => clients.iter().for_each(|client| client.socket.emit(&name, n).unwrap()),
                    }
                }
            });
        }
    });
    for client in &clients {
        let heard = client.heard();
        assert_eq!(heard.len(), THREADS * ROUNDS);
        for emitter in 0..THREADS {
            let prefix = format!("42[\"e{emitter}\",");
            let numbers = heard.iter().filter_map(|packet| number(packet, &prefix));
            assert!(numbers.eq(0..ROUNDS));
        }
    }
}

/// When a join or leave has returned, the thread's later messages respect it, even while other
/// threads join and leave the same rooms.
#[test]
fn who_has_joined_hears_and_who_has_left_does_not() {
    let io = server();
    let clients = clients(&io, CLIENTS);
    thread::scope(|scope| {
        for (mine, client) in clients.iter().enumerate() {
            let io = &io;
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    let room = format!("room {}", n % 3);
                    let (heard, missed) = (format!("in{mine}"), format!("out{mine}"));
                    if n % 2 == 0 {
                        client.socket.join(&room).unwrap();
                    } else {
                        io.to(client.socket.id()).join(&room);
                    }
                    io.to(&room).emit(&heard, n);
                    client.socket.leave(&room);
                    io.to(&room).emit(&missed, n);
                }
            });
        }
    });
    for (mine, client) in clients.iter().enumerate() {
        let heard = client.heard();
        let prefix = format!("42[\"in{mine}\",");
        let numbers = heard.iter().filter_map(|packet| number(packet, &prefix));
        assert!(numbers.eq(0..ROUNDS), "client {mine}");
        let prefix = format!("42[\"out{mine}\",");
        assert!(!heard.iter().any(|packet| packet.starts_with(&prefix)), "client {mine}");
    }
}

/// What a client has missed and what comes are one sequence, while other threads speak in the room.
///
/// Recovery R12.
#[test]
fn who_resumes_hears_each_event_once_and_in_order() {
    let io = server();
    io.of("/").history("talk", Ring::default());
    let clients = clients(&io, CLIENTS);
    let resume = |client: &Client, seen: Option<Offset>| {
        let mut resume = pin!(client.socket.resume("talk", seen));
        let resumed = resume.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(resumed, Poll::Ready(Ok(resumed)) if !resumed.truncated));
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                io.to("talk").emit("n", n);
                thread::yield_now();
            }
        });
        for (number, client) in clients.iter().enumerate() {
            let io = &io;
            scope.spawn(move || {
                // The clients come one after the other, and have seen different parts.
                let behind = number * ROUNDS / CLIENTS;
                let seen = loop {
                    let said = io.of("/").room("talk").since(None).events;
                    if said.len() > behind {
                        break said.get(behind / 2).map(|event| event.at);
                    }
                    thread::yield_now();
                };
                resume(client, seen);
            });
        }
    });
    for (number, client) in clients.iter().enumerate() {
        let first = number * ROUNDS / CLIENTS / 2 + 1;
        let numbers = client.heard().into_iter().filter_map(|packet| {
            let event = packet.strip_prefix("42[\"n\",")?;
            Some(event.split(',').next()?.parse().unwrap())
        });
        assert_eq!(numbers.collect::<Vec<usize>>(), (first..ROUNDS).collect::<Vec<_>>());
    }
    assert_eq!(io.of("/").room("talk").since(None).events.len(), ROUNDS);
}

/// When `disconnect` or `close` has returned, nobody can send anything more to the socket.
#[test]
fn nothing_follows_a_disconnect() {
    // The client is told by a packet, or by the Close frame of the websocket, which is empty.
    for (end, last) in [(Socket::disconnect as fn(&Socket), "41"), (Socket::close, "")].repeat(20) {
        let io = server();
        let clients = clients(&io, CLIENTS);
        thread::scope(|scope| {
            for half in clients.chunks(CLIENTS / 2) {
                let io = &io;
                scope.spawn(move || {
                    for client in half {
                        io.emit("before", 1);
                        end(&client.socket);
                        assert!(client.socket.emit("after", 1).is_err());
                        assert!(!io.sockets().contains(&client.socket));
                    }
                });
            }
            scope.spawn(|| (0..ROUNDS).for_each(|n| _ = io.emit("noise", n)));
        });
        for client in &clients {
            let heard = client.heard();
            assert_eq!(heard.iter().filter(|packet| **packet == last).count(), 1);
            assert_eq!(heard.last().unwrap(), last);
        }
    }
}

/// Handlers of one socket start in the order of its events, and run one at a time if the namespace
/// says so, whichever threads read the events and however the handlers wait.
#[test]
fn handlers_of_one_socket_run_in_order() {
    for one_at_a_time in [false, true] {
        let io = server();
        let running = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&running);
        let root = io.of("/").on("n", move |socket: Socket, n: usize| {
            let count = Arc::clone(&count);
            let order = socket.data::<Mutex<Vec<usize>>>().unwrap();
            order.lock().unwrap().push(n);
            async move {
                let data = socket.data::<AtomicUsize>().unwrap();
                let beside = data.fetch_add(1, Ordering::SeqCst);
                assert!(!one_at_a_time || beside == 0);
                let mut waits = n % 3;
                std::future::poll_fn(|_| {
                    waits = waits.saturating_sub(1);
                    if waits == 0 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                data.fetch_sub(1, Ordering::SeqCst);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        root.on_disconnect(|socket: Socket| {
            let order = socket.data::<Mutex<Vec<usize>>>().unwrap();
            order.lock().unwrap().push(usize::MAX);
        });
        if one_at_a_time {
            root.one_at_a_time();
        }
        let clients = clients(&io, CLIENTS);
        for client in &clients {
            client.socket.set_data(Mutex::new(Vec::<usize>::new()));
            client.socket.set_data(AtomicUsize::new(0));
        }
        let clients: Vec<_> = clients.into_iter().map(|client| Mutex::new((client, 0))).collect();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let clients = &clients;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let (client, next) = &mut *clients[round % CLIENTS].lock().unwrap();
                        let packets = [*next, *next + 1].map(|n| format!("42[\"n\",{n}]"));
                        *next += 2;
                        client.say(&packets);
                        run_tasks();
                    }
                });
            }
        });
        // The handlers see a client's disconnection after all of its events.
        for client in &clients {
            let (client, count) = &mut *client.lock().unwrap();
            let packets = [*count, *count + 1].map(|n| format!("42[\"n\",{n}]"));
            *count += 2;
            client.say(&[&packets[..], &["41".to_owned()]].concat());
        }
        let total: usize = clients.iter().map(|client| client.lock().unwrap().1).sum();
        for _ in 0..10 * total {
            if running.load(Ordering::SeqCst) == total {
                break;
            }
            run_tasks();
        }
        assert_eq!(running.load(Ordering::SeqCst), total);
        for client in &clients {
            let (client, count) = &*client.lock().unwrap();
            let order = client.socket.data::<Mutex<Vec<usize>>>().unwrap();
            let order = order.lock().unwrap();
            assert!(order.iter().copied().eq((0..*count).chain([usize::MAX])));
        }
    }
}

/// Each acknowledgement reaches the side that asked for it, in both directions.
#[test]
fn acknowledgements_find_their_way() {
    let io = server();
    io.of("/")
        .on("ask", |_: Socket, args: RawArgs, ack: Ack| ack.send(args));
    let clients: Vec<_> = clients(&io, CLIENTS).into_iter().map(Mutex::new).collect();
    thread::scope(|scope| {
        for asker in 0..THREADS {
            let clients = &clients;
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    let client = &clients[(asker + n) % CLIENTS];
                    let socket = client.lock().unwrap().socket.clone();
                    let question = asker * ROUNDS + n;
                    let mut answer = Box::pin(socket.emit_with_ack::<usize>("q", question));
                    client
                        .lock()
                        .unwrap()
                        .say(&[format!("42{question}[\"ask\",{question}]")]);
                    let (acknowledged, mut answered) = (format!("43{question}[{question}]"), Poll::Pending);
                    // Another thread may be writing to this client. Then that thread also writes
                    // this packet, a moment later.
                    for _ in 0..1_000_000 {
                        let client = &mut *client.lock().unwrap();
                        client.answer();
                        answered = match answered {
                            Poll::Pending => answer.as_mut().poll(&mut Context::from_waker(Waker::noop())),
                            answered => answered,
                        };
                        if answered.is_ready() && client.acknowledged.contains(&acknowledged) {
                            break;
                        }
                        thread::yield_now();
                    }
                    assert!(client.lock().unwrap().acknowledged.remove(&acknowledged));
                    assert!(matches!(answered, Poll::Ready(Ok(n)) if n == question), "{answered:?}");
                }
            });
        }
    });
}

/// Any targets over several shards, compared with a model of sets of names.
#[test]
fn targets_over_several_shards_mean_what_a_model_says() {
    let io = server();
    let mut clients: Vec<_> = clients(&io, CLIENTS).into_iter().map(Some).collect();
    let mut rooms = BTreeMap::<String, BTreeSet<usize>>::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    for step in 0..6_000 {
        let at = random(CLIENTS);
        let name = |n: usize| format!("r{n}");
        let room = name(random(9));
        let Some(client) = &clients[at] else { continue };
        match random(40) {
            0..12 => {
                client.socket.join(&room).unwrap();
                rooms.entry(room).or_default().insert(at);
            }
            12..20 => {
                client.socket.leave(&room);
                rooms.entry(room).or_default().remove(&at);
            }
            20 if step > 4_000 => {
                clients[at] = None;
                for members in rooms.values_mut() {
                    members.remove(&at);
                }
            }
            _ => {
                let (other, without) = (name(random(9)), name(random(9)));
                let members = |room: &str| rooms.get(room).cloned().unwrap_or_default();
                let id = client.socket.id();
                let mut expected = &(&members(&room) | &members(&other)) - &members(&without);
                io.to(&room).to(&other).except(&without).emit("x", step);
                let mine = members(&room).contains(&at);
                client.socket.to(&room).emit("y", step);
                io.to(&id).emit("z", step);
                let counted = io.to(&room).sockets().len();
                assert_eq!(counted, members(&room).len());
                for (place, client) in clients.iter().enumerate() {
                    let Some(client) = client else { continue };
                    let mut packets = Vec::new();
                    if expected.remove(&place) {
                        packets.push(format!("42[\"x\",{step}]"));
                    }
                    if members(&room).contains(&place) && !(mine && place == at) {
                        packets.push(format!("42[\"y\",{step}]"));
                    }
                    if place == at {
                        packets.push(format!("42[\"z\",{step}]"));
                    }
                    assert_eq!(client.heard(), packets, "step {step}, client {place}");
                }
                assert!(expected.is_empty());
            }
        }
    }
}

/// What is told of a raw session. The handler of the message `first` waits until it may go on.
struct Told {
    lines: Arc<Mutex<Vec<String>>>,
    begun: Mutex<mpsc::Sender<()>>,
    may_go_on: Mutex<mpsc::Receiver<()>>,
}

impl EngineHandler for Told {
    fn message(&self, _: &EngineSocket, message: EngineMessage) {
        let EngineMessage::Text(text) = message else { return };
        self.lines.lock().unwrap().push(text.to_string());
        if text == "first" {
            self.begun.lock().unwrap().send(()).unwrap();
            self.may_go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            self.lines.lock().unwrap().push("first is done".to_owned());
        }
    }

    fn close(&self, _: &EngineSocket, _: Reason, _: Option<&Breach>) {
        self.lines.lock().unwrap().push("close".to_owned());
    }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Sends bytes on a connection of their own. Returns what is written on it.
fn ask(io: &Io, bytes: String) -> String {
    let wall = Wall::default();
    let mut connection = Connection::new(io, Peer::default(), wall.clone()).unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    let _ = connection.poll(cx, &mut Script(Some(bytes.into_bytes())));
    String::from_utf8(wall.take()).unwrap()
}

/// Posts these bodies to a raw session one after the other, while another thread handles the
/// message `first`. Returns what was told of the session.
fn told_behind_a_slow_message(options: Options, bodies: &[&str]) -> Vec<String> {
    let config = Config::default().engine_path("/engine.io");
    let io = Io::new(config, options.shards(SHARDS), RUNTIME).unwrap();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    io.on_engine(Told {
        lines: Arc::clone(&lines),
        begun: Mutex::new(begun),
        may_go_on: Mutex::new(may_go_on),
    });
    let target = "/engine.io/?EIO=4&transport=polling";
    let opened = ask(&io, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (_, behind) = opened.split_once("\"sid\":\"").unwrap();
    let sid = behind.split('"').next().unwrap();
    let post = |body: &str| {
        let head = format!(
            "POST {target}&sid={sid} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}",
            body.len()
        );
        let answer = ask(&io, format!("{head}\r\n\r\n{body}"));
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    };
    thread::scope(|scope| {
        scope.spawn(|| post("4first"));
        has_begun.recv_timeout(PATIENCE).unwrap();
        bodies.iter().for_each(|body| post(body));
        assert_eq!(*lines.lock().unwrap(), ["first"]);
        go_on.send(()).unwrap();
    });
    let lines = lines.lock().unwrap();
    lines.clone()
}

/// Two threads read the POSTs of one raw session. The last of them breaks a rule, which ends it.
#[test]
fn a_raw_session_is_told_of_in_order_and_its_end_comes_last() {
    let told = told_behind_a_slow_message(Options::default(), &["4second", "4third\u{1e}4fourth", "9"]);
    assert_eq!(told, ["first", "first is done", "second", "third", "fourth", "close"]);
}

#[test]
fn a_raw_session_for_which_too_much_waits_is_closed() {
    // From half of the limit on, a POST would wait. What waits before the last one is less.
    let options = Options::default().max_waiting_bytes(30);
    let told = told_behind_a_slow_message(options, &["4second", "4a message with more than is left"]);
    assert_eq!(told, ["first", "first is done", "second", "close"]);
}
