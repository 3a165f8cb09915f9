//! A client of Socket.IO 0.8 or 0.9 on an RFC 6455 websocket.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Cause, Command, Message, Peer, Reason, SendError};
use sio_proto::{Bytes, Config, LinkId};

fn handshake(world: &mut World) -> String {
    let answer = world.reply(&get("/socket.io/1/?k=v&t=1795447587417"));
    answer.text().split(':').next().unwrap().to_string()
}

fn join(world: &mut World) -> LinkId {
    let id = handshake(world);
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}?k=v")));
    assert_eq!(world.frames(link), ["1::"]);
    world.heard();
    link
}

/// The capture sio-0.9.17-websocket, with its heartbeat of 3 s.
#[test]
fn a_captured_conversation() {
    let mut config = Config::default();
    config.legacy09.heartbeat_interval = std::time::Duration::from_secs(3);
    let mut world = World::new(config);
    let id = handshake(&mut world);
    let root = world.last_socket();
    world.emit(root, "welcome", "\"\"").unwrap();
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}?k=v")));
    assert_eq!(
        world.frames(link),
        ["1::", "5:::{\"name\":\"welcome\",\"args\":[\"\"]}"]
    );
    world.heard();
    for packet in [
        "4:::{\"a\":[1,\"♥\"]}",
        "5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}",
        "3:2::with-ack",
    ] {
        world.send(link, &text(packet));
        world.echo();
    }
    assert_eq!(
        world.frames(link),
        [
            "4:::{\"a\":[1,\"♥\"]}",
            "6:::1+[1,{\"x\":null}]",
            "6:::2",
            "3:::with-ack"
        ]
    );
    for _ in 0..3 {
        world.pass(3_000);
        assert_eq!(world.frames(link), ["2::"]);
        world.send(link, &text("2::"));
    }
    for packet in ["1::/chat", "5:1+:/chat:{\"name\":\"echo\",\"args\":[\"in-chat\"]}"] {
        world.send(link, &text(packet));
    }
    let chat = world.last_socket();
    world.ack("/chat", chat, 1, args("\"in-chat\""));
    assert_eq!(world.frames(link), ["1::/chat", "6::/chat:1+[\"in-chat\"]"]);
    world.disconnect(chat, false);
    assert_eq!(world.frames(link), ["0::/chat"]);
    world.heard();
    world.disconnect(root, false);
    assert_eq!(world.frames(link), ["0::", "close"]);
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    assert_eq!(world.sessions(), 0);
}

/// An endpoint that is longer than a namespace with its query may be is repeated in no answer: an
/// answer of 14 bytes and an answer of a megabyte would be one packet in a queue.
#[test]
fn an_endpoint_without_end_is_not_repeated() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.send(link, &text("1::/a"));
    assert_eq!(world.frames(link), ["1::/a"]);
    let long = "x".repeat(512 + 8 * 1024 + 1);
    for packet in [
        format!("3:1:/{long}:x"),
        format!("3:1:{long}:x"),
        format!("3:1:/a?{long}:x"),
        format!("3:1:?{long}:x"),
        format!("1::/{long}"),
        format!("1::/a?{long}"),
        format!("1:1:/a?{long}"),
        format!("1::/b?{long}"),
    ] {
        world.send(link, &text(&packet));
        assert_eq!(world.frames(link), [""; 0], "{}", &packet[..8]);
    }
    assert!(
        world.breaches[0].contains("endpoint longer than any"),
        "{:?}",
        world.breaches
    );
    // The longest that may be.
    let query = "q".repeat(512 + 8 * 1024 - 3);
    world.send(link, &text(&format!("3:7:/a?{query}:x")));
    assert_eq!(world.frames(link), [format!("6::/a?{query}:7")]);
    world.send(link, &text("3:8::x"));
    assert_eq!(world.frames(link), ["6:::8"]);
}

#[test]
fn an_unknown_session_is_told_so_on_the_websocket() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/1/websocket/nosuch"));
    assert_eq!(world.frames(link), ["7:::1+0", "close"]);
    assert_eq!(world.ended, [link]);
}

#[test]
fn a_heartbeat_that_is_not_echoed() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2::"]);
    // Other packets are no sign of life.
    world.send(link, &text("3:::hi"));
    world.pass(59_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.heard(), ["event message \"hi\"", "disconnect ping timeout"]);
}

#[test]
fn a_lost_websocket_is_a_lost_session() {
    for (cause, heard) in [
        (Cause::Closed, "disconnect transport close"),
        (Cause::Failed, "disconnect transport error"),
    ] {
        let mut world = World::new(Config::default());
        let link = join(&mut world);
        world.cut(link, cause);
        assert_eq!(world.heard(), [heard]);
        assert_eq!(world.sessions(), 0);
    }
    // The client's own goodbye comes before the close.
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.send(link, &text("0::"));
    assert_eq!(world.frames(link), ["0::", "close"]);
    assert_eq!(world.heard(), ["disconnect client namespace disconnect"]);
}

/// A client whose websocket cannot connect tries the next transport with the same id, and waits for
/// its `1::` (docs/protocol/legacy-0.9.md §10).
#[test]
fn another_transport_with_the_same_id() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let first = world.open();
    world.send(first, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.frames(first), ["1::"]);
    let polling = format!("/socket.io/1/xhr-polling/{id}?t=1");
    let answer = world.reply(&get(&polling));
    assert_eq!(answer.text(), "1::");
    assert_eq!(world.frames(first), ["close"]);
    let parked = world.park(&get(&polling));
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.answer(parked).text(), "8::");
    assert_eq!(world.frames(link), ["1::"]);
    // The link that was given up does not belong to the session any more.
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2::"]);
    assert_eq!(world.sessions(), 1);
}

/// A client that has given up a websocket which opens late goes on by polling with the same
/// session. What the websocket was given is perhaps lost, and is counted. Answers to heartbeats
/// confirm, and the end of the session counts nothing, because it is the end for the client too.
#[test]
fn messages_on_a_websocket_that_is_given_up_are_counted() {
    let unconfirmed = |world: &mut World| world.shard(|shard, _| shard.counters().unconfirmed);
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let socket = world.last_socket();
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    world.emit(socket, "one", "").unwrap();
    world.emit(socket, "two", "").unwrap();
    assert_eq!(world.frames(link).len(), 3);
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2::"]);
    world.emit(socket, "three", "").unwrap();
    world.send(link, &text("2::"));
    world.emit(socket, "four", "").unwrap();
    assert_eq!(unconfirmed(&mut world), 0);
    let polling = format!("/socket.io/1/xhr-polling/{id}?t=1");
    assert_eq!(world.reply(&get(&polling)).text(), "1::");
    assert_eq!(unconfirmed(&mut world), 2, "three and four");
    // A session that ends with its websocket tells its client so.
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    let socket = world.last_socket();
    world.emit(socket, "five", "").unwrap();
    world.cut(link, Cause::Failed);
    assert_eq!((world.sessions(), unconfirmed(&mut world)), (0, 0));
}

#[test]
fn never_several_packets_in_a_message() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    // The server does not accept payloads, binary messages or empty messages either.
    world.send(link, &text("\u{fffd}6\u{fffd}3:::hi\u{fffd}6\u{fffd}3:::ho"));
    world.send(link, &text(""));
    world.send(link, &binary(b"3:::hi"));
    assert_eq!(world.heard(), [""; 0]);
    world.send(link, &text("3:::hi"));
    assert_eq!(world.heard(), ["event message \"hi\""]);
}

#[test]
fn binary_becomes_base64() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    let mut bytes = args("{\"n\":2,\"list\":[{\"_placeholder\":true,\"num\":0}]}");
    bytes.attachments = vec![Bytes::from_static(&[1, 2, 3, 4])];
    world.cast("/", &[], "bin", bytes);
    assert_eq!(
        world.frames(link),
        ["5:::{\"name\":\"bin\",\"args\":[{\"n\":2,\"list\":[{\"base64\":\"AQIDBA==\"}]}]}"]
    );
}

#[test]
fn a_server_that_goes_away_says_nothing() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.heard(), ["disconnect server shutting down"]);
}

#[test]
fn receipts_that_nobody_fetches_have_an_end() {
    let mut config = Config::default();
    config.max_queued_packets = 10;
    let mut world = World::new(config);
    let link = join(&mut world);
    world.server.handle_blocked(world.now, link, 0);
    for n in 0..50 {
        world.send(link, &text(&format!("3:{n}::hi")));
    }
    world.server.handle_drained(world.now, link);
    world.settle();
    assert_eq!(world.frames(link).len(), 10);
}

/// A client asks once: what is not answered is waited for without end. (Found by the simulator,
/// seed 87239.)
#[test]
fn a_full_queue_keeps_nobody_out_of_a_namespace() {
    let mut config = Config::default();
    config.max_queued_packets = 10;
    let mut world = World::new(config);
    let link = join(&mut world);
    let root = world.last_socket();
    world.server.handle_blocked(world.now, link, 0);
    for _ in 0..10 {
        world.emit(root, "x", "").unwrap();
    }
    world.send(link, &text("1::/a"));
    assert_eq!(world.heard(), ["connect /a {\"k\":\"v\"}"]);
    world.server.handle_drained(world.now, link);
    world.settle();
    assert_eq!(world.frames(link).last().map(String::as_str), Some("1::/a"));
}

/// Nor is a client that asks again and again, and reads nothing, a way to fill the memory.
#[test]
fn connects_whose_answers_nobody_fetches_have_an_end() {
    let mut config = Config::default();
    config.max_queued_packets = 10;
    config.max_connects_per_second = 1_000;
    let mut world = World::new(config);
    let link = join(&mut world);
    world.send(link, &text("1::/a"));
    world.server.handle_blocked(world.now, link, 0);
    for _ in 0..500 {
        world.send(link, &text("1::/a"));
    }
    assert_eq!(world.sessions(), 0);
    assert_eq!(
        world.breaches,
        ["limit, ends: the client causes answers and does not fetch them"]
    );
}

#[test]
fn the_id_of_a_socket_is_the_sessions() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    world.frames(link);
    world.broadcast(&[&id], "message", "\"you\"");
    assert_eq!(world.frames(link), ["3:::you"]);
}

/// Packets for a namespace that were sent ahead wait for its decision. When the client is refused,
/// they are gone.
#[test]
fn packets_for_a_refused_namespace_are_dropped() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    let say = |world: &mut World, packet: &str| world.send(link, &text(packet));
    world.accepts = false;
    for accepts in [false, true] {
        say(&mut world, "5::/admin:{\"name\":\"ahead\"}");
        say(&mut world, "5::/chat:{\"name\":\"other\"}");
        say(&mut world, "1::/admin");
        let admin = world.last_socket();
        match accepts {
            false => world.refuse(admin, "forbidden", None),
            true => world.accept(admin),
        }
        let heard = world.heard();
        assert_eq!(
            heard.iter().filter(|line| line.contains("ahead")).count(),
            usize::from(accepts),
            "{heard:?}"
        );
    }
    say(&mut world, "1::/chat");
    let chat = world.last_socket();
    world.accept(chat);
    let heard = world.heard();
    assert_eq!(
        heard.iter().filter(|line| line.contains("other")).count(),
        2,
        "{heard:?}"
    );
}

/// A client knows a namespace by the endpoint with which it has joined it last. What it was before
/// is forgotten, however it has left: by itself, by the server, or because it was refused.
#[test]
fn an_endpoint_is_that_of_the_last_join() {
    let mut world = World::new(Config::default());
    let link = join(&mut world);
    let say = |world: &mut World, packet: &str| {
        world.send(link, &text(packet));
        world.frames(link)
    };
    // This one stays all the time.
    assert_eq!(say(&mut world, "1::/b?x=2"), ["1::/b?x=2"]);
    for way in ["leaves", "is disconnected", "is refused"] {
        world.accepts = way != "is refused";
        let asked = say(&mut world, "1::/a?x=1");
        let socket = world.last_socket();
        match way {
            "leaves" => {
                assert_eq!(asked, ["1::/a?x=1"]);
                assert_eq!(say(&mut world, "0::/a?x=1"), [""; 0]);
            }
            "is disconnected" => {
                world.disconnect(socket, false);
                assert_eq!(world.frames(link), ["0::/a?x=1"]);
            }
            _ => {
                world.refuse(socket, "no", None);
                assert_eq!(world.frames(link), ["7::/a?x=1:2"]);
            }
        }
        world.accepts = true;
        assert_eq!(say(&mut world, "1::/a"), ["1::/a"], "{way}");
        world.cast("/a", &[], "n", args(""));
        world.cast("/b", &[], "n", args(""));
        assert_eq!(
            world.frames(link),
            ["5::/a:{\"name\":\"n\"}", "5::/b?x=2:{\"name\":\"n\"}"],
            "{way}"
        );
        say(&mut world, "0::/a");
    }
}

/// The limits of the names of namespaces, of their queries, and of the names of events are exact. A
/// client that asks for more is refused, and its words are not repeated.
#[test]
fn names_and_queries_have_exact_limits() {
    let mut config = Config::default();
    config.packet.max_namespace_bytes = 12;
    config.packet.max_query_bytes = 5;
    config.packet.max_event_name_bytes = 5;
    let mut world = World::new(config);
    let link = join(&mut world);
    for (packet, answer) in [
        ("1::/long-enough", "1::/long-enough"),
        ("1::/longer-is-no", "7::/longer-is-no:2"),
        ("1::/a:?a=123", "1::/a"),
        ("1::/b:?a=1234", "7::/b:2"),
        ("1::/long-enoug?a", "7::/long-enoug:2"),
    ] {
        world.send(link, &text(packet));
        assert_eq!(world.frames(link), [answer], "{packet}");
    }
    world.heard();
    world.send(link, &text("5:::{\"name\":\"12345\"}"));
    assert_eq!((world.heard().len(), world.breaches.len()), (1, 0));
    world.send(link, &text("5:::{\"name\":\"123456\"}"));
    assert_eq!((world.heard().len(), world.breaches.len()), (0, 1));
}

/// A transport that is switched off is not served, although the client has a session.
#[test]
fn a_transport_that_is_off_is_refused_in_a_session_too() {
    for (polling, websocket) in [(false, true), (true, false)] {
        let mut config = Config::default();
        (config.transports.polling, config.transports.websocket) = (polling, websocket);
        let mut world = World::new(config);
        let id = handshake(&mut world);
        let at = |transport: &str| format!("/socket.io/1/{transport}/{id}");
        world.heard();
        let (good, bad) = match websocket {
            true => (upgrade(&at("websocket")), get(&at("xhr-polling"))),
            false => (get(&at("xhr-polling")), upgrade(&at("websocket"))),
        };
        assert_eq!(world.reply(&bad).status, 400);
        let said = world.reply(&post(&at("xhr-polling"), "3:::hi")).status;
        assert_eq!(said, if polling { 200 } else { 400 });
        assert_eq!(world.heard().len(), usize::from(polling));
        let link = world.open();
        world.send(link, &good);
        assert!(world.received(link).contains("1::"));
    }
}

/// The count of messages that were perhaps lost is a count of messages. Receipts, and the packet
/// that tells a client again that it is connected, are none.
#[test]
fn what_is_no_message_is_not_counted_as_lost() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let socket = world.last_socket();
    let (mut link, polling) = (world.open(), format!("/socket.io/1/xhr-polling/{id}?t=1"));
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    for expected in [1, 2] {
        world.send(link, &text("3:1::hi"));
        world.emit(socket, "one", "").unwrap();
        assert!(world.frames(link).len() >= 3);
        assert_eq!(world.reply(&get(&polling)).text(), "1::");
        let unconfirmed = world.shard(|shard, _| shard.counters().unconfirmed);
        assert_eq!(unconfirmed, expected);
        link = world.open();
        world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    }
}

/// The client has given up a websocket that takes nothing. What waits for it comes by the next
/// transport.
#[test]
fn a_blocked_websocket_does_not_block_what_follows() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let socket = world.last_socket();
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.frames(link), ["1::"]);
    world.emit(socket, "one", "").unwrap();
    world.frames(link);
    world.block(link, 3);
    world.emit(socket, "two", "").unwrap();
    let answer = world.reply(&get(&format!("/socket.io/1/xhr-polling/{id}")));
    assert!(answer.text().contains("two"), "{answer:?}");
    assert_eq!(world.ended, [link]);
}

/// Between two polls the client is not there: a volatile message is dropped, what has to wait
/// counts in the budget, and the client may come from another address. So it is also if the poll
/// has ended without an answer.
#[test]
fn a_poll_that_was_lost_leaves_no_way() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let socket = world.last_socket();
    let polling = format!("/socket.io/1/xhr-polling/{id}");
    assert_eq!(world.reply(&get(&polling)).text(), "1::");
    let poll = world.park(&get(&polling));
    world.cut(poll, Cause::Failed);
    let event = |name: &'static str| Message::event("/".into(), name.into(), args(""), None);
    let now = world.now;
    let sent = world.shard(|shard, _| shard.emit(now, socket, &mut event("fast").volatile(true), None));
    assert_eq!(sent, Err(SendError::Dropped));
    let before = world.shard(|shard, _| shard.budget().used());
    world.emit(socket, "slow", "").unwrap();
    assert!(world.shard(|shard, _| shard.budget().used()) > before);
    let elsewhere = world.server.open(Peer {
        address: Some("192.0.2.7:1".parse().unwrap()),
        ..Peer::default()
    });
    world.send(elsewhere, &get(&polling));
    assert!(world.received(elsewhere).contains("slow"));
}

/// Packets for namespaces that have not been joined are few, count for their address, and are
/// refused with a report.
#[test]
fn packets_ahead_of_a_namespace_have_limits() {
    let mut config = Config::default();
    config.legacy09.max_unjoined_packets = 2;
    let mut world = World::new(config);
    let link = join(&mut world);
    for _ in 0..3 {
        world.send(link, &text("3::/a:hi"));
    }
    assert_eq!(
        world.breaches,
        ["limit, goes on: too much for namespaces that have not been joined"]
    );

    let mut world = World::new(Config::default().max_kept_bytes_per_address(100_000));
    let address = Some("192.0.2.7:1".parse().unwrap());
    let peer = || Peer {
        address,
        ..Peer::default()
    };
    let link = world.server.open(peer());
    world.send(link, &get("/socket.io/1/"));
    let id = body(&world.received(link)).split(':').next().unwrap().to_owned();
    let link = world.server.open(peer());
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    let large = format!("3::/a:{}", "x".repeat(50_000));
    world.send(link, &text(&large));
    assert_eq!(world.sessions(), 1);
    world.send(link, &text(&large));
    assert_eq!(world.sessions(), 0);
    assert_eq!(
        world.breaches,
        ["limit, ends: more is kept of what the client has sent than its address has room for"]
    );
}

/// A POST behind a GET that is held, on the same connection: the GET is answered first, with a noop
/// if there is nothing for the client.
#[test]
fn a_post_behind_a_held_poll_ends_the_poll() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let socket = world.last_socket();
    let polling = format!("/socket.io/1/xhr-polling/{id}");
    assert_eq!(world.reply(&get(&polling)).text(), "1::");
    let link = world.park(&get(&polling));
    world.heard();
    world.send(link, &post(&polling, "3:::hi"));
    assert_eq!(world.heard(), ["event message \"hi\""]);
    let answers = world.received(link);
    let bodies: Vec<_> = answers.split("HTTP/1.1 200").skip(1).map(body).collect();
    assert_eq!(bodies, ["8::", "1"]);
    world.emit(socket, "one", "").unwrap();
    assert_eq!(world.reply(&get(&polling)).text(), "5:::{\"name\":\"one\"}");
}
