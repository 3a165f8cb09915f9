//! A lie detector for limits: each limit is filled in turn. The peer and the user must see what the
//! documentation of the limit says, and another client must live on.

mod common;

use common::*;
use sio_proto::server::{AckRequest, SendError};
use sio_proto::websocket::Opcode;
use sio_proto::{BytesMut, Config, ConfigError, LinkId, SocketKey};
use std::time::Duration;

struct Story {
    world: World,
    link: LinkId,
    socket: SocketKey,
    bystander: (LinkId, SocketKey),
}

impl Story {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let mut world = World::new(config);
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

    fn say(&mut self, packet: &str) {
        self.world.send(self.link, &text(packet));
    }

    fn assert_fine(&mut self) {
        self.world.assert_works(self.link, self.socket);
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }

    fn assert_closed(&mut self, reason: &str, said: &str) {
        assert_eq!(self.world.heard(), [format!("disconnect {reason}")]);
        assert_eq!(self.world.frames(self.link), [said]);
        assert_eq!(self.world.sessions(), 1);
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }
}

#[test]
fn max_payload_on_websocket() {
    for excess in [0, 1] {
        let mut story = Story::new(|c| c.max_payload = 200);
        story.say(&format!("42[\"m\",\"{}\"]", "x".repeat(200 - 10 + excess)));
        if excess == 0 {
            assert_eq!(story.world.heard().len(), 1);
            story.assert_fine();
        } else {
            story.assert_closed("transport error", "close 1009");
        }
    }
    // The message is refused however it is cut into fragments, and before it has arrived: its
    // header is enough.
    let mut story = Story::new(|c| c.max_payload = 200);
    let fragment = |head: u8| [&[head, 0x80 | 101, 0, 0, 0, 0][..], &[b'4'; 101]].concat();
    story.world.send(story.link, &fragment(0x01));
    story.world.send(story.link, &fragment(0x80)[..6]);
    story.assert_closed("transport error", "close 1009");
    let mut story = Story::new(|_| ());
    story.world.send(
        story.link,
        &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
    );
    story.assert_closed("transport error", "close 1009");
}

#[test]
fn max_payload_on_polling() {
    let mut story = Story::new(|c| c.max_payload = 200);
    let sid = story.world.join_polling();
    let packet = |len: usize| format!("42[\"{}\"]", "x".repeat(len - 6));
    assert_eq!(status(&story.world.push(&sid, &packet(200))), 200);
    assert_eq!(status(&story.world.push(&sid, &packet(201))), 413);
    assert_eq!(
        status(&story.world.push(&sid, &packet(200))),
        400,
        "the session is over"
    );
    assert!(
        story.world.ask(&get(POLLING)).contains("\"maxPayload\":200}"),
        "and clients are told"
    );
    story.assert_fine();
}

#[test]
fn websocket_fragments() {
    for fragments in [3, 4] {
        let mut story = Story::new(|c| c.websocket.max_fragments = 3);
        let pieces: Vec<&[u8]> = vec![b"42[", b"\"m\"", b"]", b" "];
        for (at, piece) in pieces.iter().take(fragments).enumerate() {
            let first = if at == 0 { 1 } else { 0 };
            let fin = if at + 1 == fragments { 0x80 } else { 0 };
            let head = [fin | first, 0x80 | piece.len() as u8, 0, 0, 0, 0];
            story.world.send(story.link, &[&head[..], piece].concat());
        }
        if fragments == 3 {
            assert_eq!(story.world.heard(), ["event m "]);
            story.assert_fine();
        } else {
            assert_eq!(story.world.heard(), ["disconnect transport error"]);
            assert_eq!(story.world.frames(story.link), ["close 1008"]);
        }
    }
}

/// Hardening C7: a message as in the hardest cases of the Autobahn test suite, with an empty frame
/// at the end.
#[test]
fn a_message_of_the_largest_size_in_frames_of_one_byte() {
    for count in [65_536, 999_999] {
        let mut story = Story::new(|_| ());
        let packet = format!("42[\"m\",\"{}\"]", "x".repeat(count - 10));
        let mut bytes = Vec::new();
        for (at, byte) in packet.bytes().enumerate() {
            bytes.extend_from_slice(&[u8::from(at == 0), 0x81, 0, 0, 0, 0, byte]);
        }
        bytes.extend_from_slice(&[0x80, 0x80, 0, 0, 0, 0]);
        bytes
            .chunks(64 * 1024)
            .for_each(|piece| story.world.send(story.link, piece));
        assert_eq!(story.world.heard().len(), 1, "{count}");
        story.assert_fine();
    }
}

#[test]
fn http_heads() {
    let mut story = Story::new(|c| {
        c.http = c.http.max_head_bytes(1_000).max_target_bytes(300).max_headers(10);
    });
    let field = |len: usize| format!("X: {}", "x".repeat(len));
    let line = field(700);
    assert_eq!(status(&story.world.ask(&request("GET", POLLING, &[&line], ""))), 200);
    let line = field(1_000);
    let lines = vec!["X: y"; 9];
    assert_eq!(status(&story.world.ask(&request("GET", POLLING, &lines, ""))), 200);
    let too_many = vec!["X: y"; 10];
    let target = format!("{POLLING}&x={}", "x".repeat(300));
    for (bytes, code) in [
        (request("GET", POLLING, &[&line], ""), 431),
        (request("GET", POLLING, &too_many, ""), 431),
        (request("GET", &target, &[], ""), 414),
    ] {
        let link = story.world.open();
        story.world.send(link, &bytes);
        assert_eq!(status(&story.world.received(link)), code);
        assert_eq!(story.world.ended.pop(), Some(link));
    }
    // A head that never ends is not kept.
    let link = story.world.open();
    for _ in 0..100 {
        story.world.send(
            link,
            b"GET /socket.io/ HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyy"[..40].as_ref(),
        );
    }
    assert!(story.world.received(link).starts_with("HTTP/1.1 4"));
    assert_eq!(story.world.sessions(), 4);
    story.assert_fine();
}

#[test]
fn chunk_extensions() {
    let mut story = Story::new(|c| c.http = c.http.max_chunk_extra_bytes(50));
    let sid = story.world.join_polling();
    let link = story.world.open();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        session(&sid)
    );
    story.world.send(link, head.as_bytes());
    story
        .world
        .send(link, format!("1;{}\r\n4\r\n", "x".repeat(60)).as_bytes());
    assert_eq!(status(&story.world.received(link)), 413);
    assert_eq!(story.world.ended, [link]);
    story.assert_fine();
}

/// While a request waits for its answer, bytes behind it are kept, up to a limit. Here the request
/// is a handshake of 0.9, which waits for the application.
#[test]
fn bytes_behind_a_request_that_waits() {
    let mut story = Story::new(|c| c.max_payload = 10_000);
    let sid = story.world.join_polling();
    story.world.heard();
    story.world.accepts = false;
    let ask = |story: &mut Story| {
        let link = story.world.open();
        story.world.send(link, &get("/socket.io/1/"));
        assert_eq!(story.world.heard().len(), 1);
        assert_eq!(story.world.received(link), "");
        link
    };
    let waiting = ask(&mut story);
    story.world.send(waiting, &post(&session(&sid), "42[\"next\"]"));
    assert_eq!(story.world.heard(), [""; 0]);
    let socket = story.world.last_socket();
    let now = story.world.now;
    story.world.shard(|shard, out| shard.accept(now, socket, out));
    assert!(
        story.world.received(waiting).ends_with("ok"),
        "both are answered, in order"
    );
    assert_eq!(story.world.heard(), ["event next "]);
    let waiting = ask(&mut story);
    for _ in 0..26 {
        story.world.send(waiting, &[b'x'; 1_000]);
        assert_eq!(story.world.ended, []);
    }
    story.world.send(waiting, &[b'x'; 1_000]);
    assert_eq!(story.world.ended, [waiting]);
    story.world.accepts = true;
    story.assert_fine();
}

#[test]
fn packet_limits() {
    let close = |change: fn(&mut Config), packets: &[&str], fits: bool| {
        let mut story = Story::new(change);
        packets.iter().for_each(|packet| story.say(packet));
        if fits {
            story.world.frames(story.link);
            story.world.heard();
            if !packets[0].starts_with("45") {
                story.assert_fine();
            }
        } else {
            story.world.heard();
            assert_eq!(story.world.frames(story.link), ["close"], "{packets:?}");
            story.world.assert_works(story.bystander.0, story.bystander.1);
        }
    };
    let attachments: fn(&mut Config) = |c| c.packet.max_attachments = 2;
    close(attachments, &["452-[\"m\"]"], true);
    close(attachments, &["453-[\"m\"]"], false);
    let depth: fn(&mut Config) = |c| c.packet.max_depth = 3;
    close(depth, &["42[\"m\",[[]]]"], true);
    close(depth, &["42[\"m\",[[[]]]]"], false);
    let namespace: fn(&mut Config) = |c| c.packet.max_namespace_bytes = 5;
    close(namespace, &["40/1234,"], true);
    close(namespace, &["40/12345,"], false);
    let name: fn(&mut Config) = |c| c.packet.max_event_name_bytes = 13;
    close(name, &["42[\"1234567890123\"]"], true);
    close(name, &["42[\"12345678901234\"]"], false);

    let mut story = Story::new(|c| c.packet.max_attachment_bytes = 10);
    story.say("452-[\"m\"]");
    story.world.send(story.link, &binary(&[0; 5]));
    story.world.send(story.link, &binary(&[0; 5]));
    assert_eq!(story.world.heard().len(), 1);
    story.say("452-[\"m\"]");
    story.world.send(story.link, &binary(&[0; 5]));
    story.world.send(story.link, &binary(&[0; 6]));
    story.assert_closed("forced close", "close");
}

#[test]
fn attachment_timeout() {
    let mut story = Story::new(|c| c.attachment_timeout = Duration::from_secs(2));
    story.say("451-[\"m\"]");
    story.world.pass(2_000);
    story.assert_closed("forced close", "close");
}

#[test]
fn max_sessions() {
    let mut story = Story::new(|c| c.max_sessions = 2);
    for bytes in [get(POLLING), WEBSOCKET.to_vec(), get("/socket.io/xhr-polling//1")] {
        let answer = story.world.ask(&bytes);
        assert_eq!((status(&answer), body(&answer)), (503, ""));
    }
    let old = story.world.open();
    story.world.send(old, &upgrade("/socket.io/websocket"));
    assert_eq!(story.world.frames(old), ["close"]);
    story.assert_fine();
    story.world.cut(story.link, sio_proto::server::Cause::Closed);
    assert_eq!(status(&story.world.ask(&get(POLLING))), 200, "there is room again");
}

/// A sender gets an error. A broadcast has no sender to report to, so it ends a session that cannot
/// keep up.
#[test]
fn max_queued_bytes_and_packets() {
    for bytes in [true, false] {
        let change = |c: &mut Config| {
            if bytes {
                c.max_queued_bytes = 1_000;
            } else {
                c.max_queued_packets = 10;
            }
        };
        let big = format!("\"{}\"", "x".repeat(if bytes { 300 } else { 1 }));
        let room = if bytes { 3 } else { 10 };

        let mut story = Story::new(change);
        story.world.server.handle_blocked(story.world.now, story.link, 0);
        for _ in 0..room {
            story.world.emit(story.socket, "m", &big).unwrap();
        }
        assert_eq!(story.world.emit(story.socket, "m", &big), Err(SendError::Full));
        assert_eq!(story.world.frames(story.link), [""; 0]);
        let now = story.world.now;
        story.world.server.handle_drained(now, story.link);
        story.world.settle();
        assert_eq!(
            story.world.frames(story.link).len(),
            room,
            "what was taken arrives, and there is room again"
        );
        story.assert_fine();

        story.world.server.handle_blocked(story.world.now, story.link, 0);
        for _ in 0..room {
            story.world.broadcast(&[], "m", &big);
        }
        assert_eq!(story.world.heard(), [""; 0]);
        story.world.broadcast(&[], "m", &big);
        assert_eq!(story.world.heard(), ["disconnect forced server close"]);
        assert_eq!(story.world.frames(story.link), [""; 0], "nobody reads it");
        assert_eq!(story.world.ended, [story.link]);
        assert_eq!(story.world.frames(story.bystander.0).len(), room + 1);
        story.world.assert_works(story.bystander.0, story.bystander.1);
        assert_eq!(story.world.sessions(), 1);

        // A client that polls too rarely is treated in the same way.
        let mut story = Story::new(change);
        let sid = story.world.join_polling();
        story.world.heard();
        for _ in 0..=room {
            story.world.broadcast(&[], "m", &big);
        }
        assert_eq!(story.world.heard(), ["disconnect forced server close"]);
        let answer = story.world.fetch(&sid);
        assert_eq!(body(&answer).split('\u{1e}').count(), room);
        assert_eq!(body(&story.world.fetch(&sid)), "6\u{1e}1");
    }
}

/// Packets of the protocol itself are always queued, so the actions that cause them must be
/// bounded.
#[test]
fn questions_whose_answers_nobody_fetches() {
    for accepts in [true, false] {
        let mut story = Story::new(|c| c.max_queued_packets = 20);
        let sid = story.world.join_polling();
        story.world.heard();
        story.world.accepts = accepts;
        let mut asked = 0;
        while story.world.sessions() == 3 && story.world.ended.is_empty() && asked < 1_000 {
            let answer = story.world.push(&sid, "40/a,");
            if body(&answer) != "ok" {
                break;
            }
            let socket = story.world.last_socket();
            if accepts {
                story.world.push(&sid, "41/a,");
            } else {
                let now = story.world.now;
                story
                    .world
                    .shard(|shard, out| shard.refuse(now, socket, "no", None, out));
            }
            asked += 1;
            if story.world.heard().iter().any(|h| h == "disconnect forced close") {
                break;
            }
        }
        assert_eq!(asked, 21, "{accepts}");
        // Two answers carry all packets.
        assert!(!body(&story.world.fetch(&sid)).ends_with('1'));
        assert!(!body(&story.world.fetch(&sid)).ends_with('1'));
        assert_eq!(body(&story.world.fetch(&sid)), "6\u{1e}1");
        story.assert_fine();
    }
}

#[test]
fn namespaces() {
    let mut story = Story::new(|c| c.max_namespaces_per_session = 3);
    for name in ["/a", "/b"] {
        story.say(&format!("40{name},"));
        assert!(story.world.frames(story.link)[0].starts_with(&format!("40{name},")));
    }
    story.world.heard();
    story.say("40/c,");
    assert_eq!(
        story.world.frames(story.link),
        ["44/c,{\"message\":\"Too many namespaces\"}"]
    );
    assert_eq!(story.world.heard(), [""; 0], "the user is not asked");
    story.say("41/a,");
    story.say("40/c,");
    assert!(story.world.frames(story.link)[0].starts_with("40/c,"));
    story.assert_fine();

    let mut story = Story::new(|c| c.max_namespaces = 2);
    story.say("40/a,");
    story.world.frames(story.link);
    story.say("40/b,");
    assert_eq!(
        story.world.frames(story.link),
        ["44/b,{\"message\":\"Too many namespaces\"}"]
    );
    story.world.send(story.bystander.0, &text("40/a,"));
    assert!(
        story.world.frames(story.bystander.0)[0].starts_with("40/a,"),
        "one that exists is no more"
    );
    story.say("41/a,");
    story.world.send(story.bystander.0, &text("41/a,"));
    story.say("40/b,");
    assert!(
        story.world.frames(story.link)[0].starts_with("40/b,"),
        "empty ones are forgotten"
    );
    story.assert_fine();
}

#[test]
fn max_rooms_per_socket() {
    let mut story = Story::new(|c| c.max_rooms_per_socket = 2);
    let socket = story.socket;
    story.world.shard(|shard, _| {
        assert_eq!(shard.join(socket, "a"), Ok(()));
        assert_eq!(shard.join(socket, "b"), Ok(()));
        assert_eq!(shard.join(socket, "c"), Err(SendError::Full));
        assert_eq!(shard.join(socket, "a"), Ok(()), "is in it already");
        shard.leave(socket, "a");
        assert_eq!(shard.join(socket, "c"), Ok(()));
    });
    story.assert_fine();
}

#[test]
fn max_pending_acks() {
    let mut story = Story::new(|c| c.max_pending_acks = 2);
    let socket = story.socket;
    let ask = |story: &mut Story, id| {
        let timeout = Some(Duration::from_secs(1));
        story
            .world
            .emit_in("/", socket, "q", "", Some(AckRequest { id, timeout }))
    };
    assert_eq!((ask(&mut story, 1), ask(&mut story, 2)), (Ok(()), Ok(())));
    assert_eq!(ask(&mut story, 3), Err(SendError::Full));
    assert_eq!(story.world.frames(story.link).len(), 2, "and it was not sent");
    story.say("431[]");
    assert_eq!(ask(&mut story, 3), Ok(()));
    story.world.pass(1_000);
    assert_eq!(ask(&mut story, 4), Ok(()), "what has timed out is owed no more");
    story.assert_fine();
}

#[test]
fn timeouts() {
    let mut story = Story::new(|c| c.connect_timeout = Duration::from_secs(3));
    let link = story.world.open();
    story.world.send(link, WEBSOCKET);
    story.world.frames(link);
    story.world.pass(3_000);
    assert_eq!(story.world.frames(link), ["close"]);
    story.assert_fine();

    let mut story = Story::new(|c| c.upgrade_timeout = Duration::from_secs(1));
    let sid = story.world.join_polling();
    let candidate = story.world.candidate(&sid);
    story.world.pass(1_000);
    assert_eq!(story.world.frames(candidate), ["close"]);
    story.assert_fine();

    let mut story = Story::new(|c| c.close_timeout = Duration::from_secs(4));
    let _ = story.world.join_polling();
    story.world.disconnect(story.world.last_socket(), true);
    story.world.pass(4_000);
    assert_eq!(story.world.sessions(), 2);
    story.assert_fine();

    let mut story =
        Story::new(|c| (c.ping_interval, c.ping_timeout) = (Duration::from_secs(3), Duration::from_secs(2)));
    story.world.pass(3_000);
    story.world.send(story.bystander.0, &text("3"));
    story.world.frames(story.link);
    story.world.pass(2_000);
    story.assert_closed("ping timeout", "close");
}

/// One POST is one payload, and the number of packets in a payload is limited.
#[test]
fn packets_in_one_post() {
    let mut story = Story::new(|_| ());
    let sid = story.world.join_polling();
    story.world.heard();
    let flood = vec!["3"; 65_536].join("\u{1e}");
    assert_eq!(body(&story.world.push(&sid, &flood)), "ok");
    assert_eq!(story.world.heard(), [""; 0]);
    assert_eq!(body(&story.world.push(&sid, &format!("{flood}\u{1e}3"))), "ok");
    assert_eq!(story.world.heard(), ["disconnect parse error"]);
    story.assert_fine();
}

/// The depth of the stack must not be a limit that a peer can reach.
#[test]
fn a_read_full_of_requests() {
    let mut story = Story::new(|_| ());
    let count = 20_000;
    let bytes = b"GET /socket.io/ HTTP/1.1\r\nHost:\r\n\r\n".repeat(count);
    let answers = story.world.ask(&bytes);
    assert_eq!(answers.matches("HTTP/1.1 400").count(), count);
    let mut frames = BytesMut::new();
    for _ in 0..count {
        sio_proto::websocket::encode_message(&mut frames, Opcode::Text, b"42[\"m\"]", Some([0; 4]));
    }
    story.world.send(story.link, &frames);
    assert_eq!(story.world.heard().len(), count);
    story.assert_fine();
}

#[test]
fn a_limit_that_refuses_everybody_is_refused_itself() {
    let zero = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validate().map(drop)
    };
    for (change, error) in [
        (
            (|c| c.max_sessions = 0) as fn(&mut Config),
            ConfigError::ZeroLimit("max_sessions"),
        ),
        (|c| c.max_queued_bytes = 0, ConfigError::ZeroLimit("max_queued_bytes")),
        (
            |c| c.max_sessions_per_address = 0,
            ConfigError::ZeroLimit("max_sessions_per_address"),
        ),
        (|c| c.max_kept_bytes = 0, ConfigError::ZeroLimit("max_kept_bytes")),
        (
            |c| c.max_kept_bytes_per_address = 0,
            ConfigError::ZeroLimit("max_kept_bytes_per_address"),
        ),
        (
            |c| c.max_handshake_bytes = 0,
            ConfigError::ZeroLimit("max_handshake_bytes"),
        ),
        (|c| c.max_auth_bytes = 0, ConfigError::ZeroLimit("max_auth_bytes")),
        (
            |c| c.max_connects_per_second = 0,
            ConfigError::ZeroLimit("max_connects_per_second"),
        ),
        (
            |c| c.max_packets_per_payload = 0,
            ConfigError::ZeroLimit("max_packets_per_payload"),
        ),
        (
            |c| c.max_room_name_bytes = 0,
            ConfigError::ZeroLimit("max_room_name_bytes"),
        ),
        (
            |c| c.max_room_bytes_per_socket = 0,
            ConfigError::ZeroLimit("max_room_bytes_per_socket"),
        ),
        (
            |c| c.packet.max_query_bytes = 0,
            ConfigError::ZeroLimit("packet.max_query_bytes"),
        ),
        (
            |c| c.crowded_connect_timeout = Duration::ZERO,
            ConfigError::Duration("crowded_connect_timeout"),
        ),
        (
            |c| c.max_queued_packets = 0,
            ConfigError::ZeroLimit("max_queued_packets"),
        ),
        (|c| c.max_namespaces = 0, ConfigError::ZeroLimit("max_namespaces")),
        (
            |c| c.max_namespaces_per_session = 0,
            ConfigError::ZeroLimit("max_namespaces_per_session"),
        ),
        (
            |c| c.max_rooms_per_socket = 0,
            ConfigError::ZeroLimit("max_rooms_per_socket"),
        ),
        (
            |c| c.close_timeout = Duration::ZERO,
            ConfigError::Duration("close_timeout"),
        ),
        (
            |c| c.legacy06.poll_duration = Duration::from_secs(86_401),
            ConfigError::Duration("legacy06.poll_duration"),
        ),
        (
            |c| c.legacy06.max_pending_messages = 0,
            ConfigError::ZeroLimit("legacy06.max_pending_messages"),
        ),
    ] {
        assert_eq!(zero(change), Err(error));
    }
}
