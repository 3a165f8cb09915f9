use super::*;
use crate::engine::Packet;
use crate::server::{Cause, Output, Peer, Server};
use crate::socket::text::Decoded;
use crate::wire::{Wire, WireDecoder};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;

/// A server, its time, and all its writes.
struct World {
    server: Server,
    now: Time,
    written: String,
}

impl World {
    fn new() -> Self {
        let entropy = |out: &mut [u8]| out.fill(7);
        let server = Server::new(Config::default(), [1; 16], Box::new(entropy)).unwrap();
        Self {
            server,
            now: Time::ZERO,
            written: String::new(),
        }
    }

    fn send(&mut self, link: Option<LinkId>, bytes: &[u8]) -> LinkId {
        let link = link.unwrap_or_else(|| self.server.open(Peer::default()));
        self.server.handle_bytes(self.now, link, &mut BytesMut::from(bytes));
        self.settle();
        link
    }

    fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bytes(_, bytes) => self.written.push_str(&String::from_utf8_lossy(&bytes)),
                Output::Delivery(Delivery::Connect { socket, .. }) => {
                    self.server
                        .shard(self.now, |shard, out| shard.accept(self.now, socket, out));
                }
                Output::Delivery(_) | Output::End(_) => {}
                Output::Request(..) => panic!("foreign request"),
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(next) = self.server.next_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.server.handle_timeout(next);
            self.settle();
        }
        self.now = end;
    }

    fn alarms(&mut self) -> usize {
        self.server.shard(self.now, |shard, _| shard.core.timers.len())
    }
}

const WEBSOCKET: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn text(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text.as_bytes()].concat()
}

/// Hardening A16: when an acknowledgement has come, its deadline is removed, and does not stay
/// until its time.
#[test]
fn deadlines_of_answered_questions_go() {
    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    world.send(Some(link), &text("40"));
    let socket = SocketKey {
        slot: crate::id::SocketSlot(0),
        generation: 0,
    };
    for id in 0..20_000 {
        let timeout = Some(Duration::from_secs(3_600));
        let ask = |shard: &mut Shard, _: &mut Outputs| {
            let mut message = Message::event("/".into(), "ask".into(), Args::default(), Some(id));
            shard.emit(Time::ZERO, socket, &mut message, Some(AckRequest { id, timeout }))
        };
        assert_eq!(world.server.shard(world.now, ask), Ok(()));
        world.settle();
        world.send(Some(link), &text(&format!("43{id}[]")));
        assert!(world.alarms() <= 2_100, "{id}: {}", world.alarms());
    }
}

/// Hardening A16: when a socket is gone, the deadlines of its open questions are removed, and do
/// not stay until their time.
#[test]
fn deadlines_of_open_questions_go_with_their_socket() {
    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    for round in 0..200 {
        world.send(Some(link), &text("40"));
        let socket = SocketKey {
            slot: crate::id::SocketSlot(0),
            generation: round,
        };
        for id in 0..100 {
            let timeout = Some(Duration::from_secs(3_600));
            let ask = |shard: &mut Shard, _: &mut Outputs| {
                let mut message = Message::event("/".into(), "ask".into(), Args::default(), Some(id));
                shard.emit(Time::ZERO, socket, &mut message, Some(AckRequest { id, timeout }))
            };
            assert_eq!(world.server.shard(world.now, ask), Ok(()), "{round}");
        }
        world.settle();
        world.send(Some(link), &text("41"));
        world.pass(100);
        assert!(world.alarms() <= 2_100, "{round}: {}", world.alarms());
    }
}

/// Hardening A16: handshakes that come and go leave nothing: no sessions, no deadlines and no
/// links.
#[test]
fn a_crowd_that_has_gone_leaves_nothing() {
    let mut world = World::new();
    let links: Vec<_> = (0..5_000).map(|_| world.send(None, WEBSOCKET)).collect();
    for link in &links {
        world.send(Some(*link), &text("40"));
        world.written.clear();
    }
    for link in links {
        world.server.handle_closed(world.now, link, Cause::Closed);
        world.settle();
    }
    assert!(world.alarms() <= 2_100, "{}", world.alarms());
    let room = |shard: &mut Shard, _: &mut Outputs| {
        let core = &shard.core;
        (shard.sessions.room(), core.membership.room(), core.links.len())
    };
    let (sessions, sockets, links) = world.server.shard(world.now, room);
    assert!(
        sessions <= 64 && sockets <= 64 && links == 0,
        "{sessions} {sockets} {links}"
    );
}

/// However long a session lives, and whatever its client repeats, it has only a few entries in the
/// timers.
#[test]
fn alarms_do_not_pile_up() {
    let mut world = World::new();
    world.send(None, b"GET /socket.io/xhr-polling//1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let id = world.written.split_off(world.written.len() - SessionId::BASE32_LEN);
    let poll = format!("GET /socket.io/xhr-polling/{id}/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    for round in 0..1_000 {
        let link = world.send(None, poll.as_bytes());
        world.pass(round * 7_919 % 19_000);
        world.server.handle_closed(world.now, link, Cause::Closed);
        world.pass(round * 104_729 % 9_000);
        assert!(world.alarms() <= 3, "round {round}: {}", world.alarms());
    }

    let mut world = World::new();
    let link = world.send(
        None,
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let text = |text: &[u8]| [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat();
    world.send(Some(link), &text(b"40"));
    for round in 0..1_000 {
        world.send(Some(link), &[text(b"451-[\"m\"]"), text(b"3")].concat());
        world.send(Some(link), &[0x82, 0x80, 0, 0, 0, 0]);
        world.pass(500);
        assert!(world.alarms() <= 4, "round {round}: {}", world.alarms());
    }
}

/// A rule finds a session of its own generation and no other. A session that a rule has ended is
/// gone when the rule returns, with its link, and its name finds nothing.
#[test]
fn a_cursor_stands_at_a_live_session_of_its_generation() {
    use crate::server::engine::Engine;
    use crate::server::legacy09::Legacy09;

    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    let now = world.now;
    world.server.shard(now, |shard, out| {
        let key = shard.sessions.keys()[0];
        let mut input = shard.input(now, out);
        let wrong = input.at(key, |_: At<'_, Legacy09>| ());
        let right = input.at(key, |at: At<'_, Engine>| at.key);
        assert_eq!((wrong, right), (None, Some(key)));
        assert!(input.shard.core.links.get(link).is_some());
        let ended = input.at(key, |at: At<'_>| {
            let ended = at.end(Reason::ForcedServerClose);
            ended.out.deliveries.len()
        });
        assert!(ended.is_some());
        assert_eq!(input.at(key, |_: At<'_>| ()), None);
        assert_eq!((shard.sessions(), shard.core.links.get(link)), (0, None));
    });
}

/// The packets of these messages, as a websocket brings them. A text that begins with `b` stands
/// for the bytes behind it.
fn decoded(texts: &[String]) -> Vec<Inbound> {
    let (config, mut packets) = (Config::default(), Vec::new());
    let mut decoder = WireDecoder::new(Wire::Engine4, &config);
    for text in texts {
        match text.strip_prefix('b') {
            None => decoder.decode_text(text.as_str().into(), &config, &mut packets),
            Some(bytes) => decoder.decode_binary(bytes.as_bytes().to_vec().into(), &config, &mut packets),
        }
    }
    packets
}

/// Gives packets to a shard. `takes` says what the caller does with events that go to the user
/// without a delivery. Returns whether they have, what the user gets, and what the shard knows.
fn given(world: &mut World, link: LinkId, texts: &[String], takes: Option<bool>) -> (bool, Vec<String>, String) {
    let (now, mut told) = (world.now, Vec::new());
    let (taken, known) = world.server.shard(now, |shard, _| {
        let (mut packets, mut out) = (decoded(texts), Outputs::default());
        let mut socket = None;
        let events = EventsIn::of(&packets, &shard.config().packet);
        let taken = takes.zip(events).is_some_and(|(takes, events)| {
            shard.take_events(link, &events, |key| {
                socket = Some(key);
                takes
            })
        });
        match taken {
            true => {
                let (mut at, count) = (0, events.unwrap().count());
                for _ in 0..count {
                    let (name, args, ack) = match &packets[at] {
                        Inbound::Event(event) => {
                            at += 1;
                            (event.name().into(), event.args(), event.id())
                        }
                        Inbound::Partial(_) if at % 2 == 0 => {
                            let (event, attachments) = BinaryEvent::split(&mut packets[at..], vec![]).unwrap();
                            at += 1 + attachments.len();
                            let (name, id) = (event.name().into(), event.id());
                            let mut args = event.take_args();
                            args.attachments = attachments;
                            (name, args, id)
                        }
                        _ => {
                            let (event, length) = BinaryEvent::take(&mut packets[at..], vec![]).unwrap();
                            at += length;
                            (event.name, event.args, event.id)
                        }
                    };
                    let socket = socket.expect("it was told");
                    let delivery = Delivery::Event {
                        socket,
                        name,
                        args,
                        ack,
                    };
                    told.push(format!("{delivery:?}"));
                }
                assert_eq!(at, packets.len());
            }
            false => shard.handle_packets(now, link, &mut packets, &mut out),
        }
        told.extend(out.deliveries.iter().map(|delivery| format!("{delivery:?}")));
        for delivery in out.deliveries {
            if let Delivery::Connect { socket, .. } = delivery {
                shard.accept(now, socket, &mut Outputs::default());
            }
        }
        // An attachment that waits for no other read needs no alarm ([`World::alarms`]).
        let held = Held {
            timers: 0,
            ..shard.held()
        };
        (taken, format!("{:?} {held:?}", shard.counters()))
    });
    world.settle();
    (taken, told, format!("{known} {}", world.written))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

proptest! {
    /// A shard that passes events on does the same as a shard that delivers them: the same events
    /// in the same order for the same sockets, the same counts, and the same answers to everything
    /// that comes between them and later.
    #[test]
    fn events_are_the_same_with_and_without_a_delivery(
        reads in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    8 => Just(r#"42["e",1]"#),
                    3 => Just(r#"4217["a","b"]"#),
                    2 => Just("40/a,"),
                    3 => Just(r#"42/a,["e"]"#),
                    1 => Just("41/a,"),
                    1 => Just("3"),
                    1 => Just(r#"43["x"]"#),
                    3 => Just(r#"451-["x",{"_placeholder":true,"num":0}]"#),
                    1 => Just(r#"452-/a,7["x",{"_placeholder":true,"num":1},[{"num":0,"_placeholder":true}]]"#),
                    2 => Just(r#"452-/a,7["x","y",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#),
                    1 => Just(r#"452-["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#),
                    1 => Just(r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#),
                    1 => Just(r#"451-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#),
                    1 => Just(r#"452-["x",{"_placeholder":true,"num":0}]"#),
                    1 => Just(r#"451-["x",{"_placeholder":true,"num":1}]"#),
                    1 => Just(r#"451-["x"]"#),
                    1 => Just(r#"461-1[{"_placeholder":true,"num":0}]"#),
                    6 => Just("b123"),
                    1 => Just(r#"42["\u0065"]"#),
                    1 => Just("42[1,2]"),
                    1 => Just("41"),
                    1 => Just("42[null]"),
                ],
                0..7,
            ),
            0..8,
        ),
        refuses: bool,
    ) {
        let mut worlds = [World::new(), World::new()];
        let links = worlds.each_mut().map(|world| {
            let link = world.send(None, WEBSOCKET);
            world.send(Some(link), &text("40"));
            link
        });
        for read in reads {
            let [direct, general] = &mut worlds;
            let (taken, told, known) = given(direct, links[0], &owned(&read), Some(!refuses));
            prop_assert!(!(taken && refuses));
            prop_assert_eq!((false, told, known), given(general, links[1], &owned(&read), None));
            prop_assert!(direct.alarms() <= general.alarms());
        }
    }
}

#[test]
fn only_events_for_one_connected_socket_are_taken() {
    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    assert!(!given(&mut world, link, &owned(&[r#"42["early"]"#]), Some(true)).0);

    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    world.send(Some(link), &text("40"));
    world.send(Some(link), &text("40/a,"));
    let mut takes = |texts: &[&str]| given(&mut world, link, &owned(texts), Some(true)).0;
    assert!(takes(&[r#"42["e"]"#, r#"4217["e",1]"#, "42[5]"]));
    assert!(takes(&[r#"42/a,["e"]"#]));
    assert!(!takes(&[]));
    assert!(!takes(&[r#"42["e"]"#, r#"42/a,["e"]"#]), "two sockets");
    assert!(!takes(&[r#"42["e"]"#, "3"]), "another packet");
    const ONE: &str = r#"451-["e",{"_placeholder":true,"num":0}]"#;
    assert!(takes(&[ONE, "b1", r#"42["e"]"#, ONE, "b"]));
    assert!(
        !takes(&[ONE, "b1", r#"451-/a,["e",{"_placeholder":true,"num":0}]"#, "b1"]),
        "two sockets"
    );
    assert!(
        !takes(&["461-1[{\"_placeholder\":true,\"num\":0}]", "b1"]),
        "an acknowledgement"
    );
    assert!(!takes(&[r#"451-["e"]"#, "b1"]), "an attachment that nothing names");
    assert!(!takes(&["451-[\"e\"]"]));
    assert!(!takes(&[r#"42["e"]"#]), "an attachment is awaited");
    assert!(!takes(&[ONE, "b1"]), "an attachment is awaited");
}

#[test]
fn attachments_that_are_too_large_are_not_taken() {
    let packets = decoded(&owned(&[
        r#"452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        "b12",
        "b3",
    ]));
    let mut limits = Config::default().packet;
    assert_eq!(EventsIn::of(&packets, &limits).map(|events| events.count()), Some(1));
    limits.max_attachment_bytes = 3;
    assert!(EventsIn::of(&packets, &limits).is_some());
    limits.max_attachment_bytes = 2;
    assert!(EventsIn::of(&packets, &limits).is_none());
    assert!(
        EventsIn::of(&packets[..2], &Config::default().packet).is_none(),
        "one is missing"
    );
}

/// What comes to a session with a heartbeat, and how long that takes.
#[derive(Clone, Debug)]
enum Beat {
    Pass(u64),
    Read(Vec<&'static str>),
}

proptest! {
    /// A shard that takes the answers to pings by themselves does the same as a shard that handles
    /// them as any packets: the same pings and the same end at the same times, and the same counts.
    #[test]
    fn pongs_are_the_same_with_and_without_outputs(
        beats in prop::collection::vec(
            prop_oneof![
                3 => (0..26_000u64).prop_map(Beat::Pass),
                2 => Just(Beat::Pass(25_000)),
                6 => Just(Beat::Read(vec!["3"])),
                1 => Just(Beat::Read(vec!["3words"])),
                1 => Just(Beat::Read(vec!["3", "3"])),
                1 => Just(Beat::Read(vec!["2"])),
                1 => Just(Beat::Read(vec!["41"])),
                1 => Just(Beat::Read(vec![r#"451-["x"]"#])),
                1 => Just(Beat::Read(vec![r#"42["e"]"#, "3"])),
            ],
            0..20,
        ),
    ) {
        let mut worlds = [World::new(), World::new()];
        let links = worlds.each_mut().map(|world| {
            let link = world.send(None, WEBSOCKET);
            world.send(Some(link), &text("40"));
            link
        });
        for beat in beats {
            let mut known = Vec::new();
            for (is_direct, (world, link)) in [true, false].into_iter().zip(worlds.iter_mut().zip(links)) {
                match &beat {
                    Beat::Pass(millis) => world.pass(*millis),
                    Beat::Read(texts) => {
                        let (now, mut packets) = (world.now, decoded(&owned(texts)));
                        world.server.shard(now, |shard, out| {
                            if !(is_direct && shard.take_pong(now, link, &packets)) {
                                shard.handle_packets(now, link, &mut packets, out);
                            }
                        });
                        world.settle();
                    }
                }
                let next = world.server.next_timeout();
                let counters = world.server.shard(world.now, |shard, _| format!("{:?}", shard.counters()));
                known.push((next, counters, world.written.clone(), world.alarms()));
            }
            prop_assert_eq!(&known[0], &known[1]);
        }
    }
}

#[test]
fn only_the_answer_to_a_ping_is_taken_by_itself() {
    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    world.send(Some(link), &text("40"));
    let take = |world: &mut World, texts: &[&str]| {
        let (now, packets) = (world.now, decoded(&owned(texts)));
        world.server.shard(now, |shard, _| shard.take_pong(now, link, &packets))
    };
    world.pass(25_000);
    assert!(world.written.ends_with("\u{1}2"), "{:?}", world.written);
    assert!(!take(&mut world, &[]) && !take(&mut world, &["2"]) && !take(&mut world, &["3", "3"]));
    assert!(take(&mut world, &["3"]));
    world.pass(24_999);
    let before = world.written.len();
    world.pass(1);
    assert!(world.written.len() > before, "the next ping");
    world.send(Some(link), &text("451-[\"e\"]"));
    assert!(!take(&mut world, &["3"]), "an attachment is awaited");
    let away = LinkId(link.0 + 1);
    let now = world.now;
    assert!(
        !world
            .server
            .shard(now, |shard, _| shard.take_pong(now, away, &decoded(&owned(&["3"]))))
    );
}

/// What comes is taken with its parts in its text, if it is short and its placeholders are plain.
#[test]
fn most_events_with_attachments_keep_their_text() {
    let plain = r#"451-["e",{"_placeholder":true,"num":0}]"#;
    let unusual = r#"451-["e",{"num":0,"_placeholder":true}]"#;
    let packets = decoded(&owned(&[plain, "b1", unusual, "b1"]));
    assert!(matches!(
        packets[..],
        [
            Inbound::Partial(_),
            Inbound::Engine(Packet::Binary(_)),
            Inbound::Socket(Decoded::Partial(_)),
            Inbound::Engine(Packet::Binary(_)),
        ]
    ));
    let events = EventsIn::of(&packets, &Config::default().packet);
    assert_eq!(events.map(|events| events.count()), Some(2));
}

/// Two frames leave together, if nothing else waits for their link.
#[test]
fn two_frames_for_one_link_are_a_pair() {
    let mut world = World::new();
    let link = world.send(None, WEBSOCKET);
    world.send(Some(link), &text("40"));
    let socket = SocketKey {
        slot: crate::id::SocketSlot(0),
        generation: 0,
    };
    let now = world.now;
    world.server.shard(now, |shard, out| {
        for count in 0..4 {
            let mut event = Message::event("/".into(), "e".into(), Args::default(), None);
            (0..count).for_each(|_| shard.emit(now, socket, &mut event, None).unwrap());
            let pair = shard.take_pair(now, out);
            assert_eq!(pair.is_some(), count == 2, "{count}");
            if let Some((to, [first, second])) = pair {
                assert_eq!(
                    (to, first.payload(), second.payload()),
                    (link, &b"42[\"e\"]"[..], &b"42[\"e\"]"[..])
                );
                assert_eq!(shard.ready_links(), 0);
            }
            while shard.flush_ready(now, 10, out) {}
            out.writes.clear();
        }
    });
}

/// What happens to a session whose packets are flushed.
#[derive(Clone, Debug)]
enum Sends {
    Events(u8),
    Volatile,
    Ask,
    AwaitRoom,
    Heartbeat,
    Block,
    Drain,
    Broadcast,
}

proptest! {
    /// A shard whose frames are taken by themselves, one or two for a link, does the same as a
    /// shard that flushes them: the same frames, counts and deadlines.
    #[test]
    fn a_frame_is_the_same_with_and_without_outputs(
        all in prop::collection::vec(
            (prop_oneof![
                6 => (0..3u8).prop_map(Sends::Events),
                1 => Just(Sends::Volatile),
                1 => Just(Sends::Ask),
                1 => Just(Sends::AwaitRoom),
                1 => Just(Sends::Heartbeat),
                1 => Just(Sends::Block),
                2 => Just(Sends::Drain),
                3 => Just(Sends::Broadcast),
            ], 0..3usize, 0..5usize),
            0..20,
        ),
    ) {
        let mut worlds = [World::new(), World::new()];
        let links = worlds.each_mut().map(|world| {
            [(); 3].map(|()| {
                let link = world.send(None, WEBSOCKET);
                world.send(Some(link), &text("40"));
                link
            })
        });
        for (id, (sends, client, most)) in (0..).zip(all) {
            let mut known = Vec::new();
            let socket = SocketKey {
                slot: crate::id::SocketSlot(client as u32),
                generation: 0,
            };
            for (takes, (world, links)) in [true, false].into_iter().zip(worlds.iter_mut().zip(links)) {
                let link = links[client];
                let passed = match sends {
                    Sends::Heartbeat => 25_000,
                    _ => 7,
                };
                let now = world.now + Duration::from_millis(passed);
                world.now = now;
                let act = |shard: &mut Shard, out: &mut Outputs| {
                    let mut event = Message::event("/".into(), "e".into(), Args::default(), None);
                    let result = match sends {
                        Sends::Events(count) => {
                            let emit = |_| shard.emit(now, socket, &mut event, None);
                            format!("{:?}", (0..count).map(emit).collect::<Vec<_>>())
                        }
                        Sends::Volatile => format!("{:?}", shard.emit(now, socket, &mut event.volatile(true), None)),
                        Sends::Ask => {
                            let mut ask = Message::event("/".into(), "ask".into(), Args::default(), Some(id));
                            let ack = Some(AckRequest { id, timeout: None });
                            format!("{:?}", shard.emit(now, socket, &mut ask, ack))
                        }
                        Sends::AwaitRoom => format!("{:?}", shard.await_room(socket, 10)),
                        Sends::Heartbeat => format!("{:?}", shard.handle_timeout(now, out)),
                        Sends::Block => format!("{:?}", shard.handle_blocked(now, link, 10)),
                        Sends::Drain => format!("{:?}", shard.handle_drained(now, link)),
                        Sends::Broadcast => {
                            let target = Target {
                                namespace: "/".into(),
                                rooms: Vec::new(),
                                except: Vec::new(),
                                except_socket: None,
                            };
                            let command = Command::Broadcast { target, message: event };
                            format!("{:?}", shard.handle_command(now, command, out))
                        }
                    };
                    if takes {
                        let mut frames = Vec::new();
                        let count = shard.take_frames(now, most, out, |link, frame| frames.push((link, frame)));
                        assert!(count <= most && count == frames.len());
                        out.writes.extend(frames.into_iter().map(|(link, frame)| Write::Frame(link, frame)));
                        for _ in count..most {
                            let Some((link, pair)) = shard.take_pair(now, out) else {
                                break;
                            };
                            out.writes.extend(pair.map(|frame| Write::Frame(link, frame)));
                        }
                    }
                    let mut roomy = Vec::new();
                    shard.take_roomy(&mut roomy);
                    (result, roomy)
                };
                let result = world.server.shard(now, act);
                world.settle();
                let ready = world.server.shard(now, |shard, _| {
                    let session = shard.core.membership.find(socket).map(|member| member.session);
                    let session = session.and_then(|slot| shard.sessions.get(slot));
                    let taken = session.map(|session| (session.taken, session.ready));
                    (shard.ready_links(), taken, format!("{:?}", shard.counters()))
                });
                known.push((result.0, ready, world.server.next_timeout(), world.written.clone(), world.alarms()));
            }
            prop_assert_eq!(&known[0], &known[1]);
        }
    }
}
