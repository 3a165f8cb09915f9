//! The rules of Socket.IO 5 at the level of a session: which packet may come when, and how a breach
//! is punished (docs/protocol/socket-io.md §3.1, §4, §5, §9).

mod common;

use common::*;
use sio_proto::server::{AckRequest, Delivery, SendError};
use sio_proto::{ByteString, Config, LinkId, SocketKey};
use std::time::Duration;

/// A session that misbehaves, and another that must not be affected.
struct Story {
    world: World,
    link: LinkId,
    socket: SocketKey,
    bystander: (LinkId, SocketKey),
}

impl Story {
    fn new() -> Self {
        let mut world = World::new(Config::default());
        let bystander = world.bystander();
        let link = world.join();
        let socket = world.last_socket();
        world.heard();
        Self {
            world,
            link,
            socket,
            bystander,
        }
    }

    fn say(&mut self, packets: &[&str]) {
        for packet in packets {
            self.world.send(self.link, &text(packet));
        }
    }

    /// Checks that the connection is closed for it, that the user has received this, and that no
    /// other session is affected.
    fn assert_closed(mut self, heard: &[&str], what: &str) {
        assert_eq!(self.world.heard(), heard, "{what}");
        assert_eq!(
            self.world.frames(self.link).last().map(|f| &**f),
            Some("close"),
            "{what}"
        );
        assert_eq!(
            (self.world.sessions(), &self.world.ended[..]),
            (1, &[self.link][..]),
            "{what}"
        );
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }

    fn assert_fine(&mut self) {
        self.world.assert_works(self.link, self.socket);
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }
}

/// docs/protocol/socket-io.md §9, the column for a robust server: packets that close the
/// connection.
#[test]
fn malformed_packets_close_the_connection() {
    let deep = format!("42[\"m\",{}{}]", "[".repeat(5000), "]".repeat(5000));
    let digits = format!("42{}[\"m\"]", "9".repeat(100_000));
    let commas = format!("42/{}", ",".repeat(100_000));
    for packet in [
        "4",
        "47",
        "4x",
        "4é",
        "44{\"message\":\"x\"}",
        "40",
        "40/a,[1]",
        "40/a,\"x\"",
        "40/a,null",
        "42{\"a\":1}",
        "42[]",
        "42[\"m\"",
        "42[\"m\"]x",
        "42[null]",
        "42[[\"m\"]]",
        "42[{\"toString\":\"foo\"}]",
        "42[true]",
        "43{\"a\":1}",
        "43\"x\"",
        "41\"x\"",
        "42-1[\"m\"]",
        "42 [\"m\"]",
        "4299999999999999999999[\"m\"]",
        "451[\"m\"]",
        "45-[\"m\"]",
        "45-1-[\"m\"]",
        "451.5-[\"m\"]",
        "451e0-[\"m\"]",
        "450x1-[\"m\"]",
        "45 1-[\"m\"]",
        "450-[\"m\"]",
        "4511-[\"m\"]",
        "4599999999-[\"m\"]",
        "42[\"m\",\"\u{1}\"]",
        "42[\"connect\"]",
        "42[\"connect_error\"]",
        "42[\"disconnect\"]",
        "42[\"disconnecting\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\"]",
        "42[\"disc\\u006fnnect\"]",
        "42/a[\"m\",1]",
        "42/b,[\"m\"]",
        "43/b,1[]",
        "41/b,",
        "40/a,{\"a\":1",
        &deep,
        &digits,
        &commas,
    ] {
        let mut story = Story::new();
        story.say(&[packet]);
        story.assert_closed(&["disconnect forced close"], &packet[..packet.len().min(60)]);
    }
}

#[test]
fn malformed_attachments_close_the_connection() {
    let header = |num: &str| format!("451-[\"m\",{{\"_placeholder\":true,\"num\":{num}}}]");
    for num in ["1", "-1", "0.5", "\"splice\"", "1e9", "null"] {
        let mut story = Story::new();
        story.say(&[&header(num)]);
        assert_eq!(
            story.world.heard(),
            [""; 0],
            "nothing is wrong yet, or nobody has looked"
        );
        story.world.send(story.link, &binary(b"x"));
        story.assert_closed(&["disconnect forced close"], num);
    }
    for late in ["42[\"m\"]", "40/a,", "41", "451-[\"m\"]"] {
        let mut story = Story::new();
        story.say(&[&header("0"), late]);
        story.assert_closed(&["disconnect forced close"], late);
    }
    let mut story = Story::new();
    story.world.send(story.link, &binary(b"x"));
    story.assert_closed(&["disconnect forced close"], "binary without header");
    let mut story = Story::new();
    story.say(&[&header("0")]);
    story.world.send(story.link, &[binary(b"x"), binary(b"y")].concat());
    story.assert_closed(
        &[
            "event m {\"_placeholder\":true,\"num\":0} b\"x\"",
            "disconnect forced close",
        ],
        "one too many",
    );
}

/// Packets that look odd but are no breach.
#[test]
fn odd_packets_are_no_breach() {
    for (packet, heard) in [
        ("43", &[][..]),
        ("43[1]", &[]),
        ("4399[1]", &[]),
        ("42[5]", &["event 5 "]),
        ("42[\"\"]", &["event  "]),
        ("42[\"error\",1]", &["event error 1"]),
        ("42[\"connection\"]", &["event connection "]),
        (
            "42[\"__proto__\",{\"__proto__\":1}]",
            &["event __proto__ {\"__proto__\":1}"],
        ),
        ("42007[\"m\"]", &["event m  #7"]),
        (
            "42[\"m\",{\"_placeholder\":true,\"num\":9}]",
            &["event m {\"_placeholder\":true,\"num\":9}"],
        ),
        ("42[\"m\",12345678901234567890]", &["event m 12345678901234567890"]),
        ("42/,[\"m\"]", &["event m "]),
    ] {
        let mut story = Story::new();
        story.say(&[packet]);
        assert_eq!(story.world.heard(), heard, "{packet}");
        story.assert_fine();
    }
}

#[test]
fn nothing_may_be_said_before_connect() {
    for packet in ["42[\"m\"]", "430[]", "41", "42/a,[\"m\"]"] {
        let mut story = Story::new();
        let link = story.world.open();
        story.world.send(link, WEBSOCKET);
        story.world.send(link, &text(packet));
        assert_eq!(story.world.frames(link).last().unwrap(), "close", "{packet}");
        assert_eq!(story.world.heard(), [""; 0]);
        story.assert_fine();
    }
}

#[test]
fn who_joins_no_namespace_in_time_is_closed() {
    let mut story = Story::new();
    story.world.accepts = false;
    let silent = story.world.open();
    story.world.send(silent, WEBSOCKET);
    let refused = story.world.open();
    story.world.send(refused, WEBSOCKET);
    story.world.send(refused, &text("40/nope,"));
    let socket = story.world.last_socket();
    let now = story.world.now;
    story
        .world
        .shard(|shard, out| shard.refuse(now, socket, "Invalid namespace", None, out));
    let asked = story.world.open();
    story.world.send(asked, WEBSOCKET);
    story.world.send(asked, &text("40"));
    let polling = sid(&story.world.ask(&get(POLLING)));
    let parked = story.world.poll(&polling);
    story.world.heard();
    story.world.pass(25_000);
    for link in [silent, refused, asked, story.link, story.bystander.0] {
        story.world.send(link, &text("3"));
        story.world.frames(link);
    }
    story.world.received(parked);
    assert_eq!(status(&story.world.push(&polling, "3")), 200);
    let parked = story.world.poll(&polling);
    story.world.pass(19_999);
    assert_eq!(story.world.ended, []);
    story.world.pass(1);
    for link in [silent, refused, asked] {
        assert_eq!(story.world.frames(link), ["close"]);
    }
    assert_eq!(body(&story.world.received(parked)), "1");
    assert_eq!(
        story.world.heard(),
        ["gone forced server close"],
        "the question is withdrawn"
    );
    assert_eq!(story.world.sessions(), 2);
    story.assert_fine();
}

#[test]
fn refused_with_data_and_asked_again() {
    let mut story = Story::new();
    story.world.accepts = false;
    story.say(&["40/admin,{\"token\":\"x\"}"]);
    assert_eq!(story.world.heard(), ["connect /admin {\"token\":\"x\"}"]);
    let socket = story.world.last_socket();
    let now = story.world.now;
    story
        .world
        .shard(|shard, out| shard.refuse(now, socket, "not \"authorized\"", Some("{\"code\":401}"), out));
    let refusal = "44/admin,{\"message\":\"not \\\"authorized\\\"\",\"data\":{\"code\":401}}";
    assert_eq!(story.world.frames(story.link), [refusal]);
    assert!(
        !story
            .world
            .shard(|shard, out| shard.accept(sio_proto::Time::ZERO, socket, out)),
        "too late"
    );
    assert_eq!(story.world.heard(), [""; 0], "the user knows already");
    story.world.accepts = true;
    story.say(&["40/admin"]);
    assert!(story.world.frames(story.link)[0].starts_with("40/admin,{\"sid\":\""));
    story.assert_fine();
}

#[test]
fn asking_twice() {
    // While the user decides about the first CONNECT, a second one is ignored;
    let mut story = Story::new();
    story.world.accepts = false;
    story.say(&["40/a,", "40/a,{}", "40/a,"]);
    assert_eq!(story.world.heard(), ["connect /a "]);
    let socket = story.world.last_socket();
    let now = story.world.now;
    assert!(story.world.shard(|shard, out| shard.accept(now, socket, out)));
    assert!(!story.world.shard(|shard, out| shard.accept(now, socket, out)));
    assert_eq!(story.world.frames(story.link).len(), 1);
    story.assert_fine();
    // when the client is in, a second CONNECT is a breach,
    story.say(&["40/a,"]);
    story.assert_closed(&["disconnect forced close", "disconnect forced close"], "CONNECT twice");
    // and an event before the answer is a breach too.
    let mut story = Story::new();
    story.world.accepts = false;
    story.say(&["40/a,", "42/a,[\"m\"]"]);
    story.assert_closed(
        &["connect /a ", "disconnect forced close", "gone forced close"],
        "an event while asked",
    );
}

#[test]
fn a_question_can_be_withdrawn() {
    let mut story = Story::new();
    story.world.accepts = false;
    story.say(&["40/a,", "41/a,"]);
    assert_eq!(story.world.heard(), ["connect /a ", "gone client namespace disconnect"]);
    let socket = story.world.last_socket();
    let now = story.world.now;
    assert!(!story.world.shard(|shard, out| shard.accept(now, socket, out)));
    assert_eq!(story.world.frames(story.link), [""; 0]);
    story.assert_fine();
}

#[test]
fn a_query_is_part_of_the_name() {
    let mut story = Story::new();
    story.say(&["40/a?x=1,"]);
    assert_eq!(story.world.heard(), ["connect /a?x=1 "]);
    assert!(story.world.frames(story.link)[0].starts_with("40/a?x=1,{"));
}

/// Packets that crossed the server's disconnect on the wire are late, and for a while they are not
/// a breach.
#[test]
fn late_packets_after_the_server_has_disconnected() {
    let mut story = Story::new();
    story.world.disconnect(story.socket, false);
    assert_eq!(story.world.frames(story.link), ["41"]);
    assert_eq!(story.world.heard(), ["disconnect server namespace disconnect"]);
    story.say(&["42[\"late\"]", "421[\"late\"]", "431[]", "41"]);
    story.say(&["451-[\"late\",{\"_placeholder\":true,\"num\":0}]"]);
    story.world.send(story.link, &binary(b"x"));
    story.world.pass(4_999);
    story.say(&["42[\"late\"]"]);
    assert_eq!(story.world.heard(), [""; 0]);
    story.say(&["40"]);
    assert_eq!(story.world.heard(), ["connect / "], "it may come back");
    story.say(&["41"]);
    story.world.heard();
    story.world.pass(1);
    story.say(&["42[\"late\"]"]);
    story.assert_closed(&[], "five seconds later");
    // After the client's own goodbye, a packet is a breach.
    let mut story = Story::new();
    story.say(&["41", "42[\"late\"]"]);
    story.assert_closed(&["disconnect client namespace disconnect"], "after its own disconnect");
}

fn ack(id: u64, timeout: Option<u64>) -> AckRequest {
    AckRequest {
        id,
        timeout: timeout.map(Duration::from_millis),
    }
}

#[test]
fn acknowledgements_both_ways() {
    let mut story = Story::new();
    story.say(&["4212[\"sum\",1,2]"]);
    let Some(Delivery::Event {
        socket, ack: Some(12), ..
    }) = story.world.deliveries.pop()
    else {
        panic!()
    };
    let mut message = sio_proto::server::Message::ack("/".into(), 12, ByteString::from("3").into());
    let now = story.world.now;
    story
        .world
        .shard(|shard, _| shard.emit(now, socket, &mut message, None))
        .unwrap();
    assert_eq!(story.world.frames(story.link), ["4312[3]"]);

    story.world.emit_in("/", socket, "q", "1", Some(ack(7, None))).unwrap();
    story.world.emit_in("/", socket, "q", "", Some(ack(8, None))).unwrap();
    assert_eq!(story.world.frames(story.link), ["427[\"q\",1]", "428[\"q\"]"]);
    story.say(&["438[\"b\",2]", "437[]", "437[1]", "4399[1]", "43[1]"]);
    assert_eq!(
        story.world.heard(),
        ["ack 8 \"b\",2", "ack 7 "],
        "once each, and no others"
    );

    story.world.emit_in("/", socket, "q", "1", Some(ack(9, None))).unwrap();
    story.say(&["462-9[{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]"]);
    story.world.send(story.link, &[binary(b"x"), binary(b"y")].concat());
    assert_eq!(
        story.world.heard(),
        ["ack 9 {\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0} b\"x\" b\"y\""]
    );
    story.world.frames(story.link);
    let args = sio_proto::socket::Args {
        json: "{\"_placeholder\":true,\"num\":0}".into(),
        attachments: vec![sio_proto::Bytes::from_static(b"z")],
        ..Default::default()
    };
    let mut message = sio_proto::server::Message::ack("/".into(), 13, args);
    story
        .world
        .shard(|shard, _| shard.emit(now, socket, &mut message, None))
        .unwrap();
    assert_eq!(
        story.world.frames(story.link),
        ["461-13[{\"_placeholder\":true,\"num\":0}]", "b\"z\""]
    );
    story.assert_fine();
}

#[test]
fn acknowledgements_that_do_not_come() {
    let mut story = Story::new();
    let socket = story.socket;
    story
        .world
        .emit_in("/", socket, "q", "", Some(ack(1, Some(200))))
        .unwrap();
    story
        .world
        .emit_in("/", socket, "q", "", Some(ack(2, Some(100))))
        .unwrap();
    story
        .world
        .emit_in("/", socket, "q", "", Some(ack(3, Some(300))))
        .unwrap();
    story.world.emit_in("/", socket, "q", "", Some(ack(4, None))).unwrap();
    story.world.pass(99);
    story.say(&["433[]"]);
    assert_eq!(story.world.heard(), ["ack 3 "]);
    story.world.pass(1);
    assert_eq!(story.world.heard(), ["ack 2 failed: operation has timed out"]);
    story.world.pass(200);
    assert_eq!(story.world.heard(), ["ack 1 failed: operation has timed out"]);
    story.say(&["431[1]", "432[1]"]);
    assert_eq!(story.world.heard(), [""; 0], "late ones are ignored");
    story.say(&["41"]);
    assert_eq!(
        story.world.heard(),
        [
            "ack 4 failed: socket has been disconnected",
            "disconnect client namespace disconnect"
        ]
    );
    assert_eq!(story.world.emit(socket, "q", ""), Err(SendError::Disconnected));
    story.world.pass(1_000);
    assert_eq!(story.world.heard(), [""; 0]);
}

#[test]
fn an_ack_of_one_namespace_is_not_that_of_another() {
    let mut story = Story::new();
    story.say(&["40/a,"]);
    let other = story.world.last_socket();
    story.world.emit_in("/a", other, "q", "", Some(ack(5, None))).unwrap();
    assert_eq!(story.world.frames(story.link)[1], "42/a,5[\"q\"]");
    story.world.heard();
    story.say(&["435[]"]);
    assert_eq!(story.world.heard(), [""; 0]);
    story.say(&["43/a,5[]"]);
    assert_eq!(story.world.heard(), ["ack 5 "]);
}

#[test]
fn attachments_may_come_in_another_post() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.heard();
    for (posts, attached) in [
        (
            &[
                "452-[\"m\",{\"_placeholder\":true,\"num\":0},{\"num\":1,\"_placeholder\":true}]",
                "bAQI=",
                "bAw",
            ][..],
            "b\"\\x01\\x02\" b\"\\x03\"",
        ),
        (
            &[
                "452-[\"m\",{\"_placeholder\":true,\"num\":0},{\"num\":1,\"_placeholder\":true}]\u{1e}bAQI=",
                "bAw",
            ],
            "b\"\\x01\\x02\" b\"\\x03\"",
        ),
        (
            &["452-[\"m\",{\"_placeholder\":true,\"num\":0},{\"num\":1,\"_placeholder\":true}]\u{1e}bAQI=\u{1e}b"],
            "b\"\\x01\\x02\" b\"\"",
        ),
    ] {
        for body in posts {
            assert_eq!(status(&world.push(&sid, body)), 200);
        }
        assert_eq!(
            world.heard(),
            [format!(
                "event m {} {attached}",
                r#"{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}"#
            )]
        );
    }
    assert_eq!(body(&world.push(&sid, "451-[\"m\"]\u{1e}42[\"text\"]")), "ok");
    assert_eq!(world.heard(), ["disconnect forced close"]);
    assert_eq!(body(&world.fetch(&sid)), "6\u{1e}1");
}

/// Heartbeats may stand between a packet and its attachments, but no other packets. The time for
/// the attachments is limited.
#[test]
fn attachments_have_a_deadline() {
    let mut story = Story::new();
    story.world.pass(20_000);
    story.say(&["451-[\"m\",{\"_placeholder\":true,\"num\":0}]"]);
    story.world.pass(5_000);
    assert_eq!(story.world.frames(story.link), ["2"]);
    story.say(&["3"]);
    story.world.pass(4_999);
    story.world.send(story.link, &binary(b"x"));
    assert_eq!(story.world.heard().len(), 1, "in time");
    story.say(&["451-[\"m\",{\"_placeholder\":true,\"num\":0}]"]);
    story.world.pass(9_999);
    assert_eq!(
        story.world.heard(),
        [""; 0],
        "the deadline is its own, not that of the one before"
    );
    story.world.send(story.bystander.0, &text("3"));
    story.world.pass(1);
    assert_eq!(story.world.heard(), ["disconnect forced close"]);
    assert_eq!(story.world.frames(story.link), ["close"]);
    story.world.assert_works(story.bystander.0, story.bystander.1);
}

#[test]
fn sockets_of_a_session_are_strangers() {
    let mut story = Story::new();
    story.say(&["40/a,", "40/b,"]);
    let frames = story.world.frames(story.link);
    let sids: std::collections::BTreeSet<_> = frames.iter().map(|frame| sid(frame)).collect();
    assert_eq!(sids.len(), 2, "each has an id of its own");
    story.world.heard();
    story.say(&["42/a,[\"m\"]", "41/a,", "42/b,[\"m\"]", "42[\"m\"]"]);
    assert_eq!(
        story.world.heard(),
        [
            "event m ",
            "disconnect client namespace disconnect",
            "event m ",
            "event m "
        ]
    );
}

/// What is under way for a namespace that the server has closed is late, and no fault, for the last
/// eight of them.
#[test]
fn the_last_namespaces_that_were_closed_are_remembered() {
    for (first, ends) in [(1, false), (0, true)] {
        let mut world = World::new(Config::default());
        let link = world.join();
        for number in 0..9 {
            world.send(link, &text(&format!("40/{number},")));
            world.disconnect(world.last_socket(), false);
        }
        world.heard();
        for number in first..9 {
            world.send(link, &text(&format!("42/{number},[\"late\"]")));
        }
        assert_eq!(world.heard().is_empty(), !ends, "from {first} on");
        assert_eq!(world.sessions(), usize::from(!ends));
    }
}
