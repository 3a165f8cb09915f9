//! Reads that hold nothing but events for one socket go to the turn without the shard's outputs
//! ([`ShardCell::take_events`](crate::turn::shard::ShardCell::take_events)). What follows is the
//! same as for any other read. A pong that nobody has asked for does nothing, and makes another
//! read of a read: so the second server of each test handles the same events in the general way.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::{Driven, RUNTIME, once_pending, run_tasks, text};
use crate::host::connection::is_read_buffer_free;
use crate::{Ack, Binary, Config, Io, Options, RawArgs, Refusal, Socket};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A server with handlers of all kinds, which note their calls.
fn server(options: Options) -> (Io, Log) {
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let log = Log::default();
    for namespace in ["/", "/one", "/filtered", "/all"] {
        let space = io.of(namespace);
        let space = match namespace {
            "/one" => space.one_at_a_time(),
            "/filtered" => space.filter(|_: &Socket, event: &mut crate::Incoming| match event.name() {
                "typed" => Err("not here"),
                _ => Ok(()),
            }),
            "/all" => {
                let log = log.clone();
                space.on_any(move |_: &Socket, name: &str, args: &RawArgs| log.add(format!("any {name} {args:?}")))
            }
            _ => space,
        };
        let noted = |name: &'static str| {
            let log = log.clone();
            move |args: String| log.add(format!("{namespace} {name} {args}"))
        };
        let (echoed, typed, slow, bye) = (noted("echo"), noted("typed"), Arc::new(noted("slow")), noted("bye"));
        let (first, second, binary) = (noted("first"), noted("second"), noted("binary"));
        space
            .on("echo", move |socket: Socket, args: RawArgs, ack: Ack| {
                echoed(format!("{args:?} {}", ack.is_wanted()));
                match ack.is_wanted() {
                    true => ack.send(args),
                    false => drop(socket.emit("echo", args)),
                }
            })
            .on("typed", move |(text, number): (String, u64)| {
                typed(format!("{text} {number}"));
                Ok::<_, Refusal>((number, text))
            })
            .on("slow", move |socket: Socket, args: RawArgs| {
                let slow = Arc::clone(&slow);
                async move {
                    slow(format!("begins {args:?}"));
                    once_pending().await;
                    slow("ends".to_owned());
                    socket.emit("slow", args)
                }
            })
            .on("bye", move |socket: Socket| {
                bye(String::new());
                socket.disconnect();
            })
            .on("twice", move |n: Option<u64>| first(format!("{n:?}")))
            .on("twice", move |n: Option<u64>| second(format!("{n:?}")))
            .on("binary", move |socket: Socket, bytes: Binary| {
                binary(format!("{bytes:?}"));
                socket.emit("binary", bytes)
            })
            .on("own", |socket: Socket| drop(socket.once("echo", |_: RawArgs| ())))
            .on("panics", |n: Option<u64>| assert!(n.is_some(), "on purpose"));
        let gone = log.clone();
        io.of(namespace)
            .on_disconnect(move |_: Socket, reason: crate::Reason| gone.add(format!("{namespace} gone: {reason:?}")));
    }
    let errors = log.clone();
    io.on_error(move |_, event, error| errors.add(format!("error {event}: {error}")));
    (io, log)
}

/// Events for one socket each. A read of such events goes to the turn directly.
const EVENTS: [&[&str]; 4] = [
    &[
        r#"42/one,["slow",5]"#,
        r#"42/one,["slow",6]"#,
        r#"42/one,["echo",7]"#,
        r#"42/one,3["typed","x",9]"#,
        r#"42/one,["twice",8]"#,
    ],
    &[r#"42/all,["echo",8]"#, r#"42/all,["twice",8]"#, r#"42/all,["slow"]"#],
    &[r#"42/filtered,["echo",9]"#, r#"42/filtered,1["typed","x",9]"#],
    &[
        r#"451-["binary",{"_placeholder":true,"num":0}]"#,
        r#"451-7["echo",{"deep":[{"num":0,"_placeholder":true}]},8]"#,
        r#"452-["slow",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
        r#"451-["typed",{"_placeholder":true,"num":0}]"#,
        r#"452-9["echo","x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        r#"451-["a name that nobody has registered, and that makes the text a longer one than most are",{"_placeholder":true,"num":0}]"#,
        r#"451-["slow",{"_placeholder":true,"num":0},"an argument that makes the text a longer one than most are, and longer than 128 bytes"]"#,
        r#"451-["twice",{"_placeholder":true,"num":0}]"#,
        r#"451-["echo",1]"#,
        r#"451-["echo"]"#,
        r#"42["echo",1]"#,
    ],
];

/// What clients say. Events for the main namespace stand in front.
const SAID: &[&str] = &[
    r#"42["echo",1]"#,
    r#"42["echo",2]"#,
    r#"42["echo"]"#,
    r#"4217["echo","a","b"]"#,
    r#"42["typed","x",7]"#,
    r#"427["typed","x",7]"#,
    r#"428["typed",7]"#,
    r#"42["slow",3]"#,
    r#"42["twice",3]"#,
    r#"42["unknown",3]"#,
    r#"42["\u0065cho",4]"#,
    r#"42 ["echo",4]"#,
    r#"42["own"]"#,
    "3",
    r#"43["nothing"]"#,
    r#"451-["binary",{"_placeholder":true,"num":0}]"#,
    r#"451-/one,["slow",{"_placeholder":true,"num":0}]"#,
    r#"451-/all,["binary",{"_placeholder":true,"num":0}]"#,
    r#"451-/filtered,1["typed",{"_placeholder":true,"num":0}]"#,
    r#"451-["echo",{"_placeholder":true,"num":1}]"#,
    r#"452-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
    "40/one,",
    "40/all,",
    "40/filtered,",
    r#"42/one,["slow",5]"#,
    r#"42/one,["slow",6]"#,
    r#"42/one,["echo",7]"#,
    r#"42/all,["echo",8]"#,
    r#"42/all,["twice",8]"#,
    r#"42/filtered,["echo",9]"#,
    r#"42/filtered,1["typed","x",9]"#,
    "41/one,",
    r#"42["bye"]"#,
    r#"42/all,["panics"]"#,
];

/// A sequence that looks random (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// How many attachments follow a packet.
fn attachments(packet: &str) -> u8 {
    let count = packet.strip_prefix("45").and_then(|rest| rest[..1].parse().ok());
    count.unwrap_or(0)
}

fn frames(packets: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        bytes.extend(text(packet));
        for number in 0..attachments(packet) {
            bytes.extend([0x82, 0x82, 0, 0, 0, 0, number, 2]);
        }
    }
    bytes
}

#[test]
fn both_ways_do_the_same_with_whatever_comes() {
    let mut handled = 0;
    for seed in 1..=150 {
        let mut dice = Dice(seed << 32 | 0x9e37_79b9);
        let options = || Options::default().shards(1).max_waiting_events(40);
        let ((direct, direct_log), (general, general_log)) = (server(options()), server(options()));
        let mut clients = [Driven::connected(&direct), Driven::connected(&general)];
        for client in &mut clients {
            let _ = client.read(&frames(&["40/one,", "40/all,", "40/filtered,"]));
            let _ = client.written();
        }
        for round in 0..12 {
            // In most reads there are events for one namespace only.
            let words = match dice.roll(10) {
                0..3 => &SAID[..9],
                space @ 3..7 => EVENTS[space - 3],
                _ => SAID,
            };
            let mut said: Vec<&str> = (0..=dice.roll(8)).map(|_| words[dice.roll(words.len())]).collect();
            // A read is handed over in portions of ten, and the answers to one portion leave before
            // the next one. The other read has one packet more.
            while said.iter().map(|packet| 1 + attachments(packet)).sum::<u8>() > 9 {
                said.pop();
            }
            let mixed = [&["3"], &said[..]].concat();
            let ended = [
                clients[0].read(&frames(&said)) == Poll::Ready(()),
                clients[1].read(&frames(&mixed)) == Poll::Ready(()),
            ];
            if dice.roll(2) == 0 {
                // The tasks of both servers: as many of one as of the other.
                run_tasks();
            }
            let what = format!("seed {seed}, round {round}: {said:?}");
            let calls = direct_log.take();
            handled += calls.len();
            assert_eq!(calls, general_log.take(), "{what}");
            assert_eq!(clients[0].written(), clients[1].written(), "{what}: {calls:?}");
            let counts = |io: &Io| (io.metrics().handler_panics, io.metrics().handler_errors, io.sessions());
            assert_eq!(counts(&direct), counts(&general), "{what}");
            assert_eq!(ended[0], ended[1], "{what}");
            if ended[0] {
                break;
            }
        }
        while run_tasks() > 0 {}
        assert_eq!(direct_log.take(), general_log.take(), "seed {seed}, at the end");
        assert_eq!(clients[0].written(), clients[1].written(), "seed {seed}, at the end");
    }
    assert!(handled > 2_000, "{handled} calls were compared");
}

/// The events that are left when a turn has lasted long enough keep no read buffer, and are handled
/// before anything that comes later.
#[test]
fn events_that_are_left_for_later_keep_their_order() {
    let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
    let log = Log::default();
    let calls = log.clone();
    io.of("/").on("slow", move |n: u32| {
        super::set_now(super::now() + 300);
        calls.add(n.to_string());
    });
    let mut client = Driven::connected(&io);
    let packets: Vec<String> = (0..100).map(|n| format!(r#"42["slow",{n}]"#)).collect();
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| text(packet)).collect();
    let waker = std::task::Waker::noop();
    client.script.reads.push(bytes);
    client.script.reads.push(text(r#"42["slow",100]"#));
    let _ = client
        .connection
        .poll(&mut std::task::Context::from_waker(waker), &mut client.script);
    let first = log.take();
    assert!((8..20).contains(&first.len()), "{} in one turn", first.len());
    assert!(is_read_buffer_free(), "what waits has been copied");
    let _ = client.poll();
    let all: Vec<String> = first.into_iter().chain(log.take()).collect();
    let expected: Vec<String> = (0..=100).map(|n| n.to_string()).collect();
    assert_eq!(all, expected);
    assert_eq!(io.metrics().sessions.packets_in, 102, "with the CONNECT");
}

/// A handler may let another connection read, if the server runs in a loop of one's own. Events
/// that come in this way are handled in the same turn, behind the handler.
#[test]
fn events_that_are_read_inside_of_a_handler_are_handled() {
    let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
    let log = Log::default();
    let other = Arc::new(Mutex::new(None));
    let (calls, inner) = (log.clone(), Arc::clone(&other));
    io.of("/")
        .on("outer", move |n: u32| {
            calls.add(format!("outer {n} begins"));
            let mut other = inner.lock().unwrap();
            let other: &mut Driven = other.as_mut().unwrap();
            let _ = other.read(&frames(&[r#"42["inner",1]"#, r#"42["inner",2]"#]));
            calls.add(format!("outer {n} ends"));
        })
        .on("inner", {
            let calls = log.clone();
            move |n: u32| calls.add(format!("inner {n}"))
        });
    *other.lock().unwrap() = Some(Driven::connected(&io));
    let mut client = Driven::connected(&io);
    let _ = client.read(&frames(&[r#"42["outer",1]"#, r#"42["outer",2]"#]));
    let calls = log.take();
    assert_eq!(calls.iter().filter(|call| call.starts_with("outer")).count(), 4);
    let inner: Vec<&String> = calls.iter().filter(|call| call.starts_with("inner")).collect();
    assert_eq!(inner, ["inner 1", "inner 2", "inner 1", "inner 2"], "{calls:?}");
}

/// The same in a handler that begins because the one before it has ended: its socket still handles
/// one event after the other.
#[test]
fn events_that_are_read_when_the_next_handler_begins_wait_for_it() {
    let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
    let log = Log::default();
    let own = Arc::new(Mutex::new(None));
    let (calls, inner) = (log.clone(), Arc::clone(&own));
    io.of("/").one_at_a_time().on("x", move |n: u32| {
        calls.add(format!("{n} begins"));
        if n == 2 {
            let mut own = inner.lock().unwrap();
            let own: &mut Driven = own.as_mut().unwrap();
            let _ = own.read(&frames(&[r#"42["x",3]"#, r#"42["x",4]"#]));
        }
        let calls = calls.clone();
        async move {
            once_pending().await;
            calls.add(format!("{n} ends"));
        }
    });
    *own.lock().unwrap() = Some(Driven::connected(&io));
    let read = frames(&[r#"42["x",1]"#, r#"42["x",2]"#]);
    let _ = own.lock().unwrap().as_mut().unwrap().read(&read);
    for _ in 0..20 {
        run_tasks();
    }
    let expected: Vec<String> = (1..=4)
        .flat_map(|n| [format!("{n} begins"), format!("{n} ends")])
        .collect();
    assert_eq!(log.take(), expected);
}
