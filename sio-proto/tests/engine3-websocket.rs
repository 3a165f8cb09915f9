//! A client of Socket.IO 1 or 2 on websocket: namespaces, acknowledgements, binary, the upgrade,
//! and wrong input.

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Cause, Delivery, SendError};
use sio_proto::{Bytes, Config, LinkId};

const WEBSOCKET: &str = "/socket.io/?EIO=3&transport=websocket";

fn join(world: &mut World) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade(WEBSOCKET));
    let frames = world.frames(link);
    assert_eq!(
        frames,
        [
            format!(
                "0{{\"sid\":\"{}\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}}",
                sid(&frames[0])
            ),
            "40".to_string()
        ]
    );
    world.heard();
    link
}

/// The captures 1.7.4-websocket and 2.5.1-websocket, which differ in one comma. The genuine server
/// writes text raw.
#[test]
fn a_captured_conversation() {
    for comma in ["", ","] {
        let mut world = World::new(Config::default());
        let link = join(&mut world);
        let root = world.last_socket();
        world.send(link, &text("420[\"echo\",\"hi\",1,{\"uni\":\"é€😀\"},[true,null]]"));
        assert_eq!(world.echo(), ["event echo \"hi\",1,{\"uni\":\"é€😀\"},[true,null] #0"]);
        assert_eq!(
            world.frames(link),
            ["430[\"hi\",1,{\"uni\":\"\\u00e9\\u20ac\\ud83d\\ude00\"},[true,null]]"]
        );

        world.send(
            link,
            &text("451-[\"bin\",{\"_placeholder\":true,\"num\":0},{\"k\":\"v\"}]"),
        );
        world.send(link, &binary(&[4, 1, 2, 3, 4]));
        assert_eq!(
            world.heard(),
            ["event bin {\"_placeholder\":true,\"num\":0},{\"k\":\"v\"} b\"\\x01\\x02\\x03\\x04\""]
        );
        let mut back = args("{\"_placeholder\":true,\"num\":0},{\"nested\":{\"b\":{\"_placeholder\":true,\"num\":1}}}");
        back.attachments = vec![Bytes::from_static(&[1, 2, 3, 4]), Bytes::from_static(&[9, 8])];
        world.tell("/", root, "bin-back", back, None).unwrap();
        assert_eq!(
            world.frames(link),
            [
                "452-[\"bin-back\",{\"_placeholder\":true,\"num\":0},{\"nested\":{\"b\":{\"_placeholder\":true,\"num\":1}}}]",
                "b\"\\x04\\x01\\x02\\x03\\x04\"",
                "b\"\\x04\\t\\x08\""
            ]
        );

        world.send(link, &text("421[\"bin-ack\"]"));
        let mut reply = args("{\"_placeholder\":true,\"num\":0}");
        reply.attachments = vec![Bytes::from_static(&[0, 255, 128])];
        world.ack("/", root, 1, reply);
        assert_eq!(
            world.frames(link),
            ["461-1[{\"_placeholder\":true,\"num\":0}]", "b\"\\x04\\0\\xff\\x80\""]
        );

        world.heard();
        world.tell("/", root, "question", args("7"), Some(0)).unwrap();
        assert_eq!(world.frames(link), ["420[\"question\",7]"]);
        world.send(link, &text("430[42,\"yes\"]"));
        // After the answer, the id is unknown.
        world.send(link, &text("430[42,\"yes\"]"));
        assert_eq!(world.heard(), ["ack 0 42,\"yes\""]);

        world.accepts = false;
        world.send(link, &text(&format!("40/admin?token=t0ken{comma}")));
        assert_eq!(world.heard(), ["connect /admin {\"token\":\"t0ken\"}"]);
        let admin = world.last_socket();
        world.accept(admin);
        assert_eq!(world.frames(link), ["40/admin,"]);
        world.heard();
        world.send(link, &text("42/admin,0[\"echo\",5]"));
        assert_eq!(world.heard(), ["event echo 5 #0"]);
        world.ack("/admin", admin, 0, args("5"));
        assert_eq!(world.frames(link), ["43/admin,0[5]"]);

        world.send(link, &text(&format!("40/denied{comma}")));
        let denied = world.last_socket();
        world.refuse(denied, "denied", Some("{\"code\":\"E1\"}"));
        world.send(link, &text(&format!("40/nope{comma}")));
        let nope = world.last_socket();
        world.refuse(nope, "Invalid namespace", None);
        assert_eq!(
            world.frames(link),
            ["44/denied,{\"code\":\"E1\"}", "44/nope,\"Invalid namespace\""]
        );
        world.heard();
        world.disconnect(admin, false);
        assert_eq!(world.frames(link), ["41/admin,"]);
        world.send(link, &text("41"));
        assert_eq!(
            world.heard(),
            [
                "disconnect server namespace disconnect",
                "disconnect client namespace disconnect"
            ]
        );
        assert_eq!(world.sessions(), 1);
    }
}

/// `/` is entered without a CONNECT. Until the application has decided about `/`, no other
/// namespace is entered.
#[test]
fn other_namespaces_wait_for_the_first() {
    for refused in [false, true] {
        let mut world = World::new(Config::default());
        world.accepts = false;
        let link = world.open();
        world.send(link, &upgrade(&format!("{WEBSOCKET}&token=a%26b&token=c")));
        assert_eq!(world.frames(link).len(), 1);
        world.send(link, &text("40/a?x=1&token=d"));
        world.send(link, &text("40/b,"));
        world.send(link, &text("40/a,"));
        world.send(link, &text("42[\"early\"]"));
        assert_eq!(world.heard(), ["connect / {\"token\":\"c\"}"]);
        let root = world.last_socket();
        world.heard();
        if refused {
            world.refuse(root, "not authorized", Some("{\"code\":401}"));
            world.send(link, &text("40/c,"));
            assert_eq!(
                world.frames(link),
                [
                    "44{\"code\":401}",
                    "44/a,\"Not connected to /\"",
                    "44/b,\"Not connected to /\"",
                    "44/c,\"Not connected to /\""
                ]
            );
            assert_eq!(world.sessions(), 1);
            world.pass(45_000);
            assert_eq!(world.sessions(), 0);
            assert_eq!(world.frames(link), ["close"]);
        } else {
            world.accept(root);
            assert_eq!(
                world.heard(),
                [
                    "connect /a {\"token\":\"d\",\"x\":\"1\"}",
                    "connect /b {\"token\":\"c\"}"
                ]
            );
            assert_eq!(world.frames(link), ["40"]);
        }
    }
}

#[test]
fn a_refusal_without_data_is_its_message() {
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.open();
    world.send(link, &upgrade(WEBSOCKET));
    let root = world.last_socket();
    world.refuse(root, "né \"", None);
    assert_eq!(world.frames(link)[1], "44\"n\\u00e9 \\\"\"");
}

#[test]
fn asking_twice_is_confirmed_twice() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.send(link, &text("40/a,"));
    world.heard();
    for packet in ["40", "40/", "40/a", "40/a?x=2,"] {
        world.send(link, &text(packet));
    }
    assert_eq!(world.frames(link), ["40/a,", "40", "40", "40/a,", "40/a,"]);
    assert_eq!(world.heard(), Vec::<String>::new());
}

/// In `/`, the client knows itself by the session's id, so this id is an address of the socket. For
/// others, the socket has another name.
#[test]
fn the_socket_is_found_by_the_id_that_its_client_believes_in() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade(WEBSOCKET));
    let id = sid(&world.frames(link)[0]);
    world.send(link, &text("40/a,"));
    let sids: Vec<String> = world
        .deliveries
        .iter()
        .map(|d| {
            if let Delivery::Connect { sid, .. } = d {
                sid.to_string()
            } else {
                panic!()
            }
        })
        .collect();
    assert!(!sids.contains(&id) && sids[0] != sids[1], "ids are unique");
    let found = world.server.shard(world.now, |shard, _| shard.find(&id));
    assert_eq!(found, Some(world.sockets[0]));
    // The id is a room, like the id of every socket.
    world.frames(link);
    world.cast("/", &[&id], "you", args("1"));
    world.cast("/a", &[&sids[1]], "you", args("2"));
    assert_eq!(world.frames(link), ["42[\"you\",1]", "42/a,[\"you\",2]"]);
    let other = join(&mut world);
    world.cut(link, Cause::Closed);
    world.cast("/", &[&id], "you", args("3"));
    assert_eq!(world.frames(other), Vec::<String>::new());
}

/// docs/protocol/socket-io.md §9, the column "Robust", and the captures malformed-1.7.4 and
/// malformed-2.5.1: whether the session is closed, and what the application receives.
#[test]
fn malformed_packets() {
    const CLOSED: Option<&str> = None;
    let ignored = Some("");
    let deep = format!("42[\"m\",{}]", "[".repeat(5000));
    for (packet, heard) in [
        ("4", CLOSED),
        ("47", CLOSED),
        ("4x", CLOSED),
        ("44{\"message\":\"x\"}", CLOSED),
        ("40/a,[1]", CLOSED),
        ("40/a,\"x\"", CLOSED),
        ("40/a,null", CLOSED),
        ("42", CLOSED),
        ("42{\"a\":1}", CLOSED),
        ("42[]", CLOSED),
        ("42[\"m\"", CLOSED),
        ("42[\"m\"]x", CLOSED),
        ("42[null]", CLOSED),
        ("42[[\"m\"]]", CLOSED),
        ("42[{\"toString\":\"foo\"}]", CLOSED),
        ("43{\"a\":1}", CLOSED),
        ("431{\"a\":1}", CLOSED),
        ("431", ignored),
        ("43[1]", ignored),
        ("4399[1]", ignored),
        ("430-99[1]", ignored),
        ("41\"x\"", CLOSED),
        ("42-1[\"m\"]", CLOSED),
        ("4299999999999999999999[\"m\"]", CLOSED),
        ("42007[\"m\"]", Some("event m  #7")),
        ("42 [\"m\"]", CLOSED),
        ("421 [\"m\"]", CLOSED),
        ("451[\"m\"]", CLOSED),
        ("45-[\"m\"]", CLOSED),
        ("45-1-[\"m\"]", CLOSED),
        ("451.5-[\"m\"]", CLOSED),
        ("451e0-[\"m\"]", CLOSED),
        ("450x1-[\"m\"]", CLOSED),
        ("45 1-[\"m\"]", CLOSED),
        ("450-[\"m\",1]", CLOSED),
        ("4511-[\"m\"]", CLOSED),
        ("4599999999-[\"m\"]", CLOSED),
        ("42[\"\"]", Some("event  ")),
        ("42[5]", Some("event 5 ")),
        ("42[\"__proto__\",\"x\"]", Some("event __proto__ \"x\"")),
        ("42[\"error\",\"x\"]", Some("event error \"x\"")),
        ("42[\"connection\",\"x\"]", Some("event connection \"x\"")),
        ("42[\"connect\",\"x\"]", CLOSED),
        ("42[\"disconnect\",\"x\"]", CLOSED),
        ("42[\"newListener\",\"x\"]", CLOSED),
        ("42[\"m\",\"a\u{1e}b\"]", CLOSED),
        (&deep, CLOSED),
        (
            "42[\"m\",{\"_placeholder\":true,\"num\":0}]",
            Some("event m {\"_placeholder\":true,\"num\":0}"),
        ),
        ("42/a,[\"m\",1]", ignored),
        ("43/a,1[]", ignored),
        ("41/a", ignored),
        ("42/a[\"m\",1]", CLOSED),
        // Engine.IO
        ("", CLOSED),
        ("9", CLOSED),
        ("1", ignored),
        ("3", ignored),
        ("5", ignored),
        ("6", ignored),
        ("b", CLOSED),
        ("b2AQ==", CLOSED),
    ] {
        let mut world = World::new(Config::default());
        let link = join(&mut world);
        world.send(link, &text(packet));
        let shown = &packet[..packet.len().min(40)];
        match heard {
            None => {
                assert_eq!(world.frames(link), ["close"], "{shown}");
                assert_eq!(world.sessions(), 0, "{shown}");
            }
            Some(heard) => {
                assert_eq!(world.heard().join(""), heard, "{shown}");
                assert_eq!(world.frames(link), Vec::<String>::new(), "{shown}");
                assert_eq!(world.sessions(), 1, "{shown}");
            }
        }
    }
}

#[test]
fn malformed_attachments() {
    for (packet, attachment, closed) in [
        ("451-[\"m\",{\"_placeholder\":true,\"num\":5}]", &[4u8, 1][..], true),
        ("451-[\"m\",{\"_placeholder\":true,\"num\":\"splice\"}]", &[4, 1], true),
        ("451-[\"m\",{\"_placeholder\":true,\"num\":-1}]", &[4, 1], true),
        ("451-[\"m\",{\"_placeholder\":true,\"num\":0.5}]", &[4, 1], true),
        ("451-[\"m\",{\"_placeholder\":1,\"num\":0}]", &[4, 1], false),
        ("451-[\"m\",1]", &[4, 1], false),
        (
            "451-[\"m\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
            &[4],
            true,
        ),
        // A type byte that is not that of a message, or no type byte.
        ("451-[\"m\",1]", &[2, 97], true),
        ("451-[\"m\",1]", &[], true),
        // No packet has announced the attachment.
        ("2", &[4, 1, 2], true),
    ] {
        let mut world = World::new(Config::default());
        let link = join(&mut world);
        world.send(link, &text(packet));
        world.send(link, &binary(attachment));
        assert_eq!(world.sessions(), usize::from(!closed), "{packet} {attachment:?}");
    }
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.send(link, &text("451-[\"m\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &text("2"));
    assert_eq!(world.frames(link), ["3"], "a ping may come between");
    world.send(link, &text("42[\"m\",1]"));
    assert_eq!(world.frames(link), ["close"]);
}

/// Clients of 1.0.0-1.0.2 announce the attachments of every acknowledgement.
#[test]
fn acknowledgements_of_revision_3() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.send(link, &text("42[\"x\"]"));
    let socket = world.last_socket();
    world.heard();
    world.tell("/", socket, "q", args(""), Some(1)).unwrap();
    world.tell("/", socket, "q", args(""), Some(2)).unwrap();
    world.send(link, &text("430-1[\"x\"]"));
    world.send(link, &text("431-2[{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &binary(&[4, 7]));
    assert_eq!(
        world.heard(),
        ["ack 1 \"x\"", "ack 2 {\"_placeholder\":true,\"num\":0} b\"\\x07\""]
    );
}

#[test]
fn a_peer_without_binary() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade(&format!("{WEBSOCKET}&b64=1")));
    world.frames(link);
    world.send(link, &text("451-[\"b\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &text("b4AQID"));
    world.deliveries.remove(0);
    assert_eq!(
        world.echo(),
        ["event b {\"_placeholder\":true,\"num\":0} b\"\\x01\\x02\\x03\""]
    );
    assert_eq!(
        world.frames(link),
        ["451-[\"b\",{\"_placeholder\":true,\"num\":0}]", "b4AQID"]
    );
}

/// The capture 2.5.1-upgrade, with the races of upgrade-races-2.5.1.
#[test]
fn an_upgrade() {
    let mut world = World::new(Config::default());
    let polling = "/socket.io/?EIO=3&transport=polling&b64=1";
    let id = sid(world.reply(&get(polling)).text());
    let polling = format!("{polling}&sid={id}");
    assert_eq!(world.reply(&get(&polling)).text(), "2:40");
    world.heard();

    // The version may not change.
    let answer = world.reply(&upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={id}")));
    assert_eq!((answer.status, answer.text()), (400, "Bad request"));

    let candidate = world.open();
    world.send(candidate, &upgrade(&format!("{WEBSOCKET}&sid={id}")));
    let parked = world.park(&get(&polling));
    world.send(candidate, &text("2probe"));
    assert_eq!(world.frames(candidate), ["3probe"]);
    assert_eq!(world.answer(parked).text(), "1:6");
    for _ in 0..2 {
        assert_eq!(world.reply(&get(&polling)).text(), "1:6");
    }
    // Packets that are sent between probe and switch leave with the next poll, or on the websocket.
    // A client that keeps the rules waits for the end of this poll. So a poll that is still open
    // was sent behind the switch.
    let parked = world.park(&get(&polling));
    world.send(candidate, &text("5"));
    assert_eq!(world.answer(parked).status, 400);
    world.send(candidate, &text("451-[\"bin\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(candidate, &binary(&[4, 1]));
    world.echo();
    // The poll could not carry binary, but the websocket can.
    assert_eq!(
        world.frames(candidate),
        ["451-[\"bin\",{\"_placeholder\":true,\"num\":0}]", "b\"\\x04\\x01\""]
    );
    let answer = world.reply(&get(&polling));
    assert_eq!(
        (answer.status, answer.text()),
        (400, "{\"code\":3,\"message\":\"Bad request\"}")
    );
}

/// Genuine servers forget the deadline at the switch, and some never set it again.
#[test]
fn silence_counts_from_the_switch() {
    let mut world = World::new(Config::default());
    let polling = "/socket.io/?EIO=3&transport=polling&b64=1";
    let id = sid(world.reply(&get(polling)).text());
    world.pass(40_000);
    let link = world.open();
    world.send(link, &upgrade(&format!("{WEBSOCKET}&sid={id}")));
    world.send(link, &text("2probe"));
    world.send(link, &text("5"));
    world.pass(44_999);
    assert_eq!(world.sessions(), 1);
    world.send(link, &text("2"));
    assert_eq!(world.frames(link), ["3probe", "40", "3"]);
    world.pass(44_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.heard().last().unwrap(), "disconnect ping timeout");
}

#[test]
fn raw_sessions() {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, &upgrade("/engine.io/?EIO=3&transport=websocket"));
    assert_eq!(world.frames(link).len(), 1, "no 40");
    world.send(link, &text("4hello é€"));
    world.send(link, &binary(&[4, 1, 2]));
    assert_eq!(world.heard(), ["open", "Text(\"hello é€\")", "Binary(b\"\\x01\\x02\")"]);
}

#[test]
fn volatile_messages_are_for_those_who_listen() {
    use sio_proto::server::Message;
    let mut world = World::new(Config::default());
    let polling = "/socket.io/?EIO=3&transport=polling";
    let id = sid(world.reply(&get(polling)).text());
    let polling = format!("{polling}&sid={id}");
    assert_eq!(world.reply(&get(&polling)).text(), "2:40");
    let (now, socket) = (world.now, world.last_socket());
    let mut tick = || {
        let mut message = Message::event("/".into(), "tick".into(), args(""), None).volatile(true);
        let result = world
            .server
            .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
        world.settle();
        result
    };
    assert_eq!(tick(), Err(SendError::Dropped));
    let parked = world.park(&get(&polling));
    let mut message = Message::event("/".into(), "tick".into(), args(""), None).volatile(true);
    let result = world
        .server
        .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
    assert_eq!(result, Ok(()));
    world.settle();
    assert_eq!(world.answer(parked).text(), "10:42[\"tick\"]");
}

/// Hardening C8: the first of two volatile messages in a row is sent, because it has been written
/// by then. The next volatile message has to come later. Reliable messages are always sent.
#[test]
fn the_second_volatile_message_in_a_row_is_dropped() {
    use sio_proto::server::Message;
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    let socket = world.last_socket();
    world.frames(link);
    let tick =
        |number: usize| Message::event("/".into(), "tick".into(), args(&number.to_string()), None).volatile(true);
    let send = |world: &mut World, mut message: Message| {
        let now = world.now;
        world.shard(|shard, _| shard.emit(now, socket, &mut message, None))
    };
    assert_eq!(send(&mut world, tick(0)), Ok(()));
    assert_eq!(world.frames(link), ["42[\"tick\",0]"], "it has left");
    assert_eq!(send(&mut world, tick(1)), Err(SendError::Dropped));
    world.emit(socket, "end", "1").unwrap();
    let target = sio_proto::server::Target {
        namespace: "/".into(),
        ..Default::default()
    };
    for number in [2, 3] {
        world.pass(u64::from(number == 2));
        let (target, message) = (target.clone(), tick(number));
        world.command(sio_proto::server::Command::Broadcast { target, message });
    }
    let moment = Some(world.now);
    world.pass(1);
    assert_eq!(send(&mut world, tick(4).moment(moment)), Err(SendError::Dropped));
    assert_eq!(send(&mut world, tick(5)), Ok(()));
    assert_eq!(
        world.frames(link),
        ["42[\"end\",1]", "42[\"tick\",2]", "42[\"tick\",5]"]
    );
}
