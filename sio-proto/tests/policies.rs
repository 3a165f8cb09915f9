//! What becomes of messages for clients that do not take them, in every generation: policies, and
//! the room in a queue.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use sio_proto::server::{Command, Direct, Form, Key, Message, Policy, Queued, SendError, Sent, Target};
use sio_proto::{Bytes, BytesMut, Config, LinkId, SocketKey};

/// A client that polls at a URL, or has a websocket.
enum Client {
    Polling(String),
    WebSocket(LinkId),
}

struct Story {
    world: World,
    client: Client,
    socket: SocketKey,
}

const GENERATIONS: [&str; 6] = [
    "4.x websocket",
    "4.x polling",
    "2.x websocket",
    "0.9 websocket",
    "0.9 polling",
    "0.6 websocket",
];

impl Story {
    /// A client of this generation that has joined `/`, and then takes nothing.
    fn new(generation: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let mut world = World::new(config);
        let client = match generation {
            "4.x websocket" => Client::WebSocket(world.join()),
            "4.x polling" => Client::Polling(session(&world.join_polling())),
            "2.x websocket" => {
                let link = world.open();
                world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
                Client::WebSocket(link)
            }
            "0.6 websocket" => {
                let link = world.open();
                world.send(link, &upgrade("/socket.io/websocket"));
                Client::WebSocket(link)
            }
            _ => {
                let answer = world.reply(&get("/socket.io/1/"));
                let id = answer.text().split(':').next().unwrap().to_string();
                if generation == "0.9 websocket" {
                    let link = world.open();
                    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
                    Client::WebSocket(link)
                } else {
                    let target = format!("/socket.io/1/xhr-polling/{id}");
                    world.reply(&get(&target));
                    Client::Polling(target)
                }
            }
        };
        world.heard();
        let socket = world.last_socket();
        let mut story = Self { world, client, socket };
        story.stall(0);
        story
    }

    /// The client takes nothing from now on. Its link holds so many bytes.
    fn stall(&mut self, held: usize) {
        if let Client::WebSocket(link) = self.client {
            self.world.frames(link);
            self.world.server.handle_blocked(self.world.now, link, held);
        }
    }

    /// The client takes all that waits. Returns the numbers of the messages.
    fn take(&mut self) -> Vec<u32> {
        let mut text = String::new();
        match &self.client {
            Client::WebSocket(link) => {
                self.world.server.handle_drained(self.world.now, *link);
                self.world.settle();
                text = self.world.frames(*link).join(" ");
            }
            Client::Polling(target) => {
                while self.world.shard(|shard, _| shard.queued(self.socket)).unwrap().packets > 0 {
                    let answer = self.world.reply(&get(target));
                    text.push_str(answer.text());
                }
            }
        }
        let parts = text.split('<').skip(1);
        parts
            .map(|part| part.split('>').next().unwrap().parse().unwrap())
            .collect()
    }

    fn emit(&mut self, number: u32, policy: Policy) -> Result<(), SendError> {
        let now = self.world.now;
        let socket = self.socket;
        let mut message = message(number, policy);
        self.world.shard(|shard, _| shard.emit(now, socket, &mut message, None))
    }

    fn broadcast(&mut self, message: Message) -> (Sent, Vec<String>) {
        let now = self.world.now;
        let target = Target {
            namespace: "/".into(),
            ..Target::default()
        };
        self.world.shard(|shard, out| {
            shard.handle_command(now, Command::Broadcast { target, message }, out);
            let waiting = out.collisions.drain(..).map(|one| one.waiting.json.to_string());
            (out.sent, waiting.collect())
        })
    }

    fn queued(&mut self) -> Queued {
        self.world.shard(|shard, _| shard.queued(self.socket)).unwrap()
    }
}

fn most_packets(config: &mut Config, packets: usize) {
    config.max_queued_packets = packets;
    config.legacy09.max_pending_messages = packets;
}

fn message(number: u32, policy: Policy) -> Message {
    let json = format!("\"<{number}>\"");
    Message::event("/".into(), "m".into(), args(&json), None).policy(policy)
}

fn args(json: &str) -> sio_proto::socket::Args {
    bytestring::ByteString::from(json).into()
}

fn key(text: &str) -> Key {
    Key::new("/", "m", text).unwrap()
}

const SENT: Sent = Sent {
    reached: 0,
    dropped: 0,
    refused: 0,
};

/// A full queue refuses a message, or drops it, and what waits is not affected.
#[test]
fn a_full_queue_refuses_or_drops() {
    for generation in GENERATIONS {
        let mut story = Story::new(generation, |config| most_packets(config, 3));
        for number in 0..3 {
            story.emit(number, Policy::Ordered).unwrap();
        }
        assert_eq!(story.emit(3, Policy::Ordered), Err(SendError::Full), "{generation}");
        assert_eq!(story.emit(4, Policy::Refuse), Err(SendError::Full));
        assert_eq!(story.emit(5, Policy::Drop), Err(SendError::Dropped));
        assert_eq!(
            story.emit(6, Policy::DropOldest),
            Err(SendError::Dropped),
            "no other may be dropped"
        );
        assert_eq!(story.emit(7, Policy::Newest(key("a"))), Err(SendError::Full));
        let dropped = story.broadcast(message(8, Policy::Drop)).0;
        assert_eq!(dropped, Sent { dropped: 1, ..SENT });
        let refused = story.broadcast(message(9, Policy::Refuse)).0;
        assert_eq!(refused, Sent { refused: 1, ..SENT });
        assert_eq!(story.world.heard(), [""; 0], "{generation}: the session stays");
        assert_eq!(story.take(), [0, 1, 2], "{generation}");
        story.emit(10, Policy::Ordered).unwrap();
        assert_eq!(story.take(), [10]);
    }
}

/// A broadcast in order ends the session of a full queue, and says so to the sender and to the
/// handler of the end.
#[test]
fn an_ordered_broadcast_ends_a_full_session() {
    let mut story = Story::new("4.x websocket", |config| most_packets(config, 2));
    assert_eq!(
        story.broadcast(message(0, Policy::Ordered)).0,
        Sent { reached: 1, ..SENT }
    );
    story.emit(1, Policy::Ordered).unwrap();
    assert_eq!(
        story.broadcast(message(2, Policy::Ordered)).0,
        Sent { refused: 1, ..SENT }
    );
    let heard = story.world.heard().join(" ");
    assert!(heard.contains("disconnect forced server close"), "{heard}");
}

/// The oldest of the messages that may be dropped make room. Other messages stay.
#[test]
fn the_oldest_are_dropped() {
    for generation in GENERATIONS {
        let mut story = Story::new(generation, |config| most_packets(config, 4));
        story.emit(0, Policy::Ordered).unwrap();
        for number in 1..10 {
            story.emit(number, Policy::DropOldest).unwrap();
        }
        story.emit(10, Policy::Ordered).unwrap_err();
        assert_eq!(story.queued().packets, 4);
        assert_eq!(story.take(), [0, 7, 8, 9], "{generation}");
        assert_eq!(story.queued(), Queued::default());
    }
}

/// A large message drops as many small ones as it needs, and none if that does not help.
#[test]
fn the_oldest_make_room_in_bytes() {
    let mut story = Story::new("4.x websocket", |config| config.max_queued_bytes = 1_000);
    let large = |bytes: usize| {
        let json = format!("\"<77>{}\"", "x".repeat(bytes));
        Message::event("/".into(), "m".into(), args(&json), None).policy(Policy::DropOldest)
    };
    for _ in 0..10 {
        story.emit(0, Policy::Ordered).unwrap();
    }
    for number in 1..20 {
        story.emit(number, Policy::DropOldest).unwrap();
    }
    assert_eq!(
        story.broadcast(large(990)).0,
        Sent { refused: 1, ..SENT },
        "too large for any queue"
    );
    assert_eq!(story.broadcast(large(880)).0, Sent { dropped: 1, ..SENT });
    assert_eq!(story.queued().packets, 29, "nothing was dropped in vain");
    assert_eq!(story.broadcast(large(780)).0, Sent { reached: 1, ..SENT });
    let taken = story.take();
    assert_eq!((&taken[..10], taken.last()), (&[0; 10][..], Some(&77)));
    assert!((11..16).contains(&taken.len()), "{taken:?}");
}

/// The newest of each key waits, in the order in which they were sent.
#[test]
fn the_newest_of_a_key_waits() {
    for generation in GENERATIONS {
        let mut story = Story::new(generation, |config| most_packets(config, 4));
        let newest = |text| Policy::Newest(key(text));
        story.emit(1, newest("a")).unwrap();
        story.emit(2, newest("b")).unwrap();
        story.emit(3, Policy::Ordered).unwrap();
        for number in 4..50 {
            story.emit(number, newest("a")).unwrap();
        }
        assert_eq!(story.broadcast(message(50, newest("a"))).0, Sent { reached: 1, ..SENT });
        assert_eq!(story.queued().packets, 3);
        assert_eq!(story.take(), [2, 3, 50], "{generation}");
        // A client that takes what is sent gets everything.
        story.emit(51, newest("a")).unwrap();
        assert_eq!(story.take(), [51]);
    }
}

/// While a client takes what is sent, its messages are not held back for each other: all that are
/// sent in one turn arrive.
#[test]
fn a_client_that_reads_gets_all() {
    let mut story = Story::new("4.x websocket", |_| ());
    story.take();
    let Client::WebSocket(link) = story.client else {
        unreachable!()
    };
    let (now, socket) = (story.world.now, story.socket);
    story.world.shard(|shard, _| {
        for number in 0..3 {
            let mut message = message(number, Policy::Newest(key("a")));
            shard.emit(now, socket, &mut message, None).unwrap();
            let mut message = self::message(10 + number, Policy::DropOldest);
            shard.emit(now, socket, &mut message, None).unwrap();
        }
    });
    assert_eq!(story.world.frames(link).len(), 6);
}

/// A message that is merged: the caller reads what waits, and replaces it. A broadcast reports it.
#[test]
fn what_waits_can_be_merged() {
    for generation in GENERATIONS {
        let mut story = Story::new(generation, |_| ());
        let (merge, socket) = (Policy::Merge(key("a")), story.socket);
        story.emit(1, merge.clone()).unwrap();
        story.emit(2, Policy::Ordered).unwrap();
        let waiting = |story: &mut Story| {
            let waiting = story.world.shard(|shard, _| shard.waiting(socket, &key("a")).cloned());
            waiting.map(|args| args.json.to_string())
        };
        assert_eq!(waiting(&mut story).unwrap(), "\"<1>\"");
        let collided = story.broadcast(message(3, merge.clone()));
        assert_eq!(collided, (SENT, vec![String::from("\"<1>\"")]), "{generation}");
        // The caller puts 1 and 3 together.
        story.emit(13, merge.clone()).unwrap();
        assert_eq!(waiting(&mut story).unwrap(), "\"<13>\"");
        // Enough for one message: the next one begins.
        story.emit(4, Policy::Behind(key("a"))).unwrap();
        assert_eq!(waiting(&mut story).unwrap(), "\"<4>\"");
        assert_eq!(story.take(), [2, 13, 4], "{generation}");
        assert_eq!(waiting(&mut story), None);
    }
}

/// A message that replaces another may have another number of attachments.
#[test]
fn attachments_leave_with_their_message() {
    let mut story = Story::new("4.x websocket", |_| ());
    let with = |number: u32, attachments: usize| {
        let places = (0..attachments).map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}"));
        let mut args = args(&format!("\"<{number}>\"{}", places.collect::<String>()));
        args.attachments = vec![Bytes::from_static(b"attached"); attachments];
        Message::event("/".into(), "m".into(), args, None).policy(Policy::Newest(key("a")))
    };
    story.broadcast(with(1, 2));
    story.emit(2, Policy::Ordered).unwrap();
    assert_eq!(story.queued().packets, 4);
    story.broadcast(with(3, 1));
    assert_eq!(story.queued().packets, 3);
    let Client::WebSocket(link) = story.client else {
        unreachable!()
    };
    story.world.server.handle_drained(story.world.now, link);
    story.world.settle();
    let frames = story.world.frames(link);
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert!(frames[0].contains("<2>") && frames[1].starts_with("451-") && frames[1].contains("<3>"));
}

/// Keys and kept arguments count as bytes of the queue, so they have its limit.
#[test]
fn what_is_kept_for_a_message_is_counted() {
    let mut story = Story::new("4.x websocket", |config| config.max_queued_bytes = 4_000);
    let mut sent = 0;
    while story.emit(1, Policy::Newest(key(&format!("{sent:0200}")))).is_ok() {
        sent += 1;
    }
    assert!((10..20).contains(&sent), "{sent}");
    let queued = story.queued().bytes;
    assert!((3_700..=4_000).contains(&queued), "{queued}");
    let mut story = Story::new("4.x websocket", |_| ());
    story.emit(1, Policy::Newest(key("a"))).unwrap();
    let newest = story.queued().bytes;
    story.emit(1, Policy::Merge(key("a"))).unwrap();
    assert_eq!(story.queued().bytes, newest + "\"<1>\"".len());
}

/// A queue that is more than half full has no room. Whoever waits is told once when it has.
#[test]
fn room_is_told_once() {
    let mut story = Story::new("4.x websocket", |config| config.max_queued_packets = 10);
    let socket = story.socket;
    assert_eq!(story.world.shard(|shard, _| shard.await_room(socket, 0)), Some(true));
    for number in 0..6 {
        story.emit(number, Policy::Ordered).unwrap();
    }
    assert_eq!(story.world.shard(|shard, _| shard.await_room(socket, 0)), Some(false));
    let roomy = |story: &mut Story| {
        let mut sockets = Vec::new();
        story.world.shard(|shard, _| shard.take_roomy(&mut sockets));
        sockets
    };
    assert_eq!(roomy(&mut story), []);
    story.take();
    assert_eq!(roomy(&mut story), [socket]);
    assert_eq!(roomy(&mut story), []);
    // Nobody has asked since.
    story.stall(0);
    story.emit(6, Policy::Ordered).unwrap();
    story.take();
    assert_eq!(roomy(&mut story), []);
    // The bytes that a link holds count, too.
    story.stall(900_000);
    assert_eq!(story.queued().bytes, 900_000);
    assert_eq!(story.world.shard(|shard, _| shard.await_room(socket, 0)), Some(false));
    story.stall(600_000);
    assert_eq!(roomy(&mut story), []);
    story.stall(500_000);
    assert_eq!(roomy(&mut story), [socket]);
    story.world.disconnect(socket, true);
    assert_eq!(story.world.shard(|shard, _| shard.await_room(socket, 0)), None);
}

/// The packets of one message are counted one by one.
#[test]
fn a_message_of_several_packets_is_counted_as_such() {
    for policy in [Policy::Ordered, Policy::DropOldest, Policy::Newest(key("a"))] {
        let emit = |story: &mut Story, attachments: usize, policy: &Policy| {
            let mut args = args("{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}");
            args.attachments = vec![Bytes::from_static(b"b"); attachments];
            let (now, socket) = (story.world.now, story.socket);
            let message = Message::event("/".into(), "m".into(), args, None);
            let mut message = message.policy(policy.clone());
            story
                .world
                .shard(|shard, _| shard.emit(now, socket, &mut message, None))
        };
        let mut story = Story::new("4.x websocket", |config| most_packets(config, 2));
        assert_eq!(emit(&mut story, 2, &policy), Err(SendError::TooLarge), "{policy:?}");
        let mut story = Story::new("4.x websocket", |config| most_packets(config, 3));
        assert_eq!(emit(&mut story, 2, &policy), Ok(()), "{policy:?}");
        assert_eq!(story.queued().packets, 3);
        assert_eq!(story.emit(1, Policy::Ordered), Err(SendError::Full));
        let mut story = Story::new("4.x websocket", |config| most_packets(config, 4));
        story.emit(1, Policy::Ordered).unwrap();
        assert_eq!(emit(&mut story, 2, &policy), Ok(()), "{policy:?}");
    }
}

/// A queue that is exactly half full has room.
#[test]
fn half_a_queue_is_room() {
    let mut story = Story::new("4.x websocket", |config| config.max_queued_packets = 10);
    let socket = story.socket;
    let roomy = |story: &mut Story| story.world.shard(|shard, _| shard.await_room(socket, 0)).unwrap();
    for number in 0..5 {
        story.emit(number, Policy::Ordered).unwrap();
    }
    assert!(roomy(&mut story));
    story.emit(5, Policy::Ordered).unwrap();
    assert!(!roomy(&mut story));
    story.take();
    for (held, is_room) in [(1 << 19, true), ((1 << 19) + 1, false)] {
        story.stall(held);
        assert_eq!(roomy(&mut story), is_room, "{held}");
    }
}

/// Who asks whether a message of so many bytes has room gets the answer of the limit. What is
/// larger than the whole queue waits for nothing.
#[test]
fn room_for_a_message_is_exact() {
    let mut story = Story::new("4.x websocket", |config| config.max_queued_bytes = 1_000);
    let socket = story.socket;
    let has_room =
        |story: &mut Story, bytes: usize| story.world.shard(|shard, _| shard.await_room(socket, bytes)).unwrap();
    assert!(has_room(&mut story, 1_000) && has_room(&mut story, 1_001));
    story.emit(1, Policy::Ordered).unwrap();
    let left = 1_000 - story.queued().bytes;
    for (bytes, expected) in [(left, true), (left + 1, false), (1_000, false), (1_001, true)] {
        assert_eq!(has_room(&mut story, bytes), expected, "{bytes}");
    }
}

/// Messages that gave way to others are counted.
#[test]
fn what_gives_way_is_counted() {
    for (policy, given_way) in [
        (Policy::DropOldest, 6),
        (Policy::Newest(key("a")), 8),
        (Policy::Merge(key("a")), 8),
        (Policy::Behind(key("a")), 0),
    ] {
        let mut story = Story::new("4.x websocket", |config| most_packets(config, 4));
        story.emit(0, Policy::Ordered).unwrap();
        for number in 1..10 {
            let _ = story.emit(number, policy.clone());
        }
        let displaced = story.world.shard(|shard, _| shard.counters().displaced);
        assert_eq!(displaced, given_way, "{policy:?}");
    }
}

/// A queue takes messages up to its limit of bytes, and not a byte more, in whatever way they are
/// sent. What its link holds counts.
#[test]
fn room_in_bytes_is_exact() {
    let key = |number: u32| key(&format!("{number}"));
    let policies: [&dyn Fn(u32) -> Policy; 5] = [
        &|_| Policy::Ordered,
        &|_| Policy::DropOldest,
        &|number| Policy::Newest(key(number)),
        &|number| Policy::Merge(key(number)),
        &|number| Policy::Behind(key(number)),
    ];
    for policy in policies {
        let mut story = Story::new("4.x websocket", |_| ());
        story.emit(1, policy(1)).unwrap();
        let size = story.queued().bytes;
        for missing in [0, 1] {
            let mut story = Story::new("4.x websocket", |config| config.max_queued_bytes = 1_000);
            story.stall(1_000 - 2 * size + missing);
            assert_eq!(story.emit(1, policy(1)), Ok(()));
            let second = story.emit(2, policy(2));
            let expected = match (missing, policy(2)) {
                // The first one gives way, if it has to.
                (0, _) | (_, Policy::DropOldest) => Ok(()),
                _ => Err(SendError::Full),
            };
            assert_eq!(
                (second, story.queued().packets),
                (expected, 2 - missing),
                "{:?}",
                policy(2)
            );
        }
    }
}

/// A message that was written in one go takes the same room, and is written for a client that reads
/// no binary messages as any other.
#[test]
fn a_message_written_in_one_go_is_a_message() {
    let emit = |world: &mut World, socket: SocketKey, form: Form, attachments: &[Bytes]| {
        let config = world.shard(|shard, _| shard.config().clone());
        let mut buffer = BytesMut::new();
        let direct = Direct::event(form, &config, "/", "m", &mut buffer).unwrap();
        let places = (0..attachments.len()).map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}"));
        buffer.extend_from_slice(format!("1{}", places.collect::<String>()).as_bytes());
        let encoded = direct.finish(attachments, &mut buffer).unwrap();
        let now = world.now;
        world.shard(|shard, _| shard.emit_encoded(now, socket, form, encoded))
    };
    let two = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    for (room, waiting, sent) in [
        (3, 0, Ok(())),
        (3, 1, Err(SendError::Full)),
        (2, 0, Err(SendError::TooLarge)),
    ] {
        let mut story = Story::new("4.x websocket", |config| config.max_queued_packets = room);
        for number in 0..waiting {
            story.emit(number, Policy::Ordered).unwrap();
        }
        let socket = story.socket;
        assert_eq!(
            emit(&mut story.world, socket, Form::Engine4, &two),
            sent,
            "{room} {waiting}"
        );
        assert_eq!(
            emit(&mut story.world, socket, Form::Engine3, &two),
            Err(SendError::Unsupported)
        );
    }
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket&b64=1"));
    world.frames(link);
    let socket = world.last_socket();
    assert_eq!(emit(&mut world, socket, Form::Engine3, &two[..1]), Ok(()));
    let expected = ["451-[\"m\",1,{\"_placeholder\":true,\"num\":0}]", "b4YQ=="];
    assert_eq!(world.frames(link), expected);
    assert_eq!(emit(&mut world, socket, Form::Engine3, &[]), Ok(()));
    assert_eq!(world.frames(link), ["42[\"m\",1]"]);
}

/// A session stands once in the list of those that are flushed, however much is sent to it.
#[test]
fn a_session_is_ready_once() {
    let mut world = World::new(Config::default());
    world.join();
    let (now, socket) = (world.now, world.last_socket());
    world.shard(|shard, _| {
        for number in 0..10 {
            shard
                .emit(now, socket, &mut message(number, Policy::Ordered), None)
                .unwrap();
        }
        assert_eq!(shard.ready_links(), 1);
    });
}
