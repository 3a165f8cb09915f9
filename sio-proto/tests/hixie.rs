//! The websockets of 2010, which are older than RFC 6455 (docs/protocol/legacy-0.6.md §10.1,
//! docs/protocol/legacy-0.9.md §9).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use sio_proto::legacy::hixie::{CLOSE, write_text};
use sio_proto::server::{Cause, Generation, Peer, SendError, TransportKind};
use sio_proto::{BytesMut, Config, Generations, LinkId};

const OPEN: &str = "/socket.io/websocket";
const KEYS: [&str; 2] = [
    "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
    "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00",
];
const BODY: &[u8] = b"^n:ds[4U";
const DIGEST: &str = "8jKS'y:G*Co,Wxa-";

/// The head of a request. With keys it is hixie-76, without keys it is hixie-75.
fn head(target: &str, keys: &[&str]) -> Vec<u8> {
    let mut headers = vec!["Upgrade: WebSocket", "Connection: Upgrade", "Origin: http://localhost"];
    headers.extend(keys);
    request("GET", target, &headers, "")
}

fn whole(target: &str) -> Vec<u8> {
    [&head(target, &KEYS), BODY].concat()
}

fn message(text: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_text(text, &mut out);
    out.to_vec()
}

/// The messages that have arrived on a link since the last call; `close` stands for the closing
/// handshake.
fn messages(world: &mut World, link: LinkId) -> Vec<String> {
    let mut found = Vec::new();
    let bytes = world.bytes(link);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(CLOSE) {
            found.push("close".into());
            rest = after;
            continue;
        }
        let end = rest.iter().position(|&b| b == 0xff).unwrap();
        assert_eq!(rest[0], 0, "{rest:?}");
        found.push(String::from_utf8(rest[1..end].to_vec()).unwrap());
        rest = &rest[end + 1..];
    }
    found
}

/// The head of the answer, without the bytes behind it.
fn answer_head(world: &mut World, link: LinkId) -> String {
    let bytes = world.bytes(link);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    world.sent.insert(0, (link, bytes[end..].to_vec()));
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

fn head_76(scheme: &str, target: &str) -> String {
    format!(
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: http://localhost\r\nSec-WebSocket-Location: {scheme}://localhost{target}\r\n\r\n"
    )
}

/// Opens a session of 0.6 over hixie-76. Returns its link and id.
fn open(world: &mut World) -> (LinkId, String) {
    let link = world.open();
    world.send(link, &whole(OPEN));
    assert_eq!(answer_head(world, link), head_76("ws", OPEN));
    let rest = world.bytes(link);
    let rest = rest.strip_prefix(DIGEST.as_bytes()).unwrap();
    let id = rest.strip_prefix(b"\0~m~39~m~").and_then(|r| r.strip_suffix(b"\xff"));
    (link, String::from_utf8(id.unwrap().to_vec()).unwrap())
}

fn handshake(world: &mut World) -> String {
    let answer = world.reply(&get("/socket.io/1/"));
    answer.text().split(':').next().unwrap().to_string()
}

#[test]
fn a_session_of_0_6() {
    let mut world = World::new(Config::default());
    let (link, id) = open(&mut world);
    assert_eq!(id.len(), 39);
    world.send(link, &message("~m~2~m~hi~m~6~m~\u{fffd}♥😀"));
    assert_eq!(world.echo()[..2], ["connect / ", "event message \"hi\""]);
    world.heard();
    assert_eq!(messages(&mut world, link)[0], "~m~2~m~hi");
    world.send(link, &message("~m~4~m~\u{fffd}♥😀"));
    assert_eq!(world.echo(), ["event message \"\u{fffd}♥😀\""]);
    assert_eq!(messages(&mut world, link), ["~m~4~m~\u{fffd}♥😀"]);
    world.pass(10_000);
    assert_eq!(messages(&mut world, link), ["~m~4~m~~h~1"]);
    world.send(link, &message("~m~4~m~~h~1"));
    let count = world.shard(|shard, _| shard.counters().get(Generation::Legacy06, TransportKind::WebSocket));
    assert_eq!(count.current, 1);
    // The closing handshake is answered, and the session waits for the client to come back.
    world.send(link, CLOSE);
    assert_eq!(messages(&mut world, link), ["close"]);
    assert_eq!(world.ended, [link]);
    world.emit(world.last_socket(), "message", "\"late\"").unwrap();
    let target = format!("{OPEN}/{id}");
    let link = world.open();
    world.send(link, &whole(&target));
    assert_eq!(answer_head(&mut world, link), head_76("ws", &target));
    let rest = world.bytes(link);
    assert_eq!(rest, [DIGEST.as_bytes(), &message("~m~4~m~late")].concat());
    world.disconnect(world.last_socket(), false);
    assert_eq!(messages(&mut world, link), ["close"]);
    assert_eq!(world.ended[1..], [link]);
}

#[test]
fn a_session_of_0_9() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    for (name, kind) in [
        ("websocket", TransportKind::WebSocket),
        ("flashsocket", TransportKind::Flashsocket),
    ] {
        let target = format!("/socket.io/1/{name}/{id}?k=v");
        let link = world.open();
        world.send(link, &whole(&target));
        assert_eq!(answer_head(&mut world, link), head_76("ws", &target));
        let bytes = world.bytes(link);
        let rest = bytes.strip_prefix(DIGEST.as_bytes()).unwrap();
        assert_eq!(rest, message("1::"), "{name}");
        let count = world.shard(|shard, _| shard.counters().get(Generation::Legacy09, kind));
        assert_eq!((count.current, count.total), (1, 1));
        world.send(link, &message("3:::hi"));
        world.echo();
        assert_eq!(messages(&mut world, link), ["3:::hi"]);
        world.pass(25_000);
        assert_eq!(messages(&mut world, link), ["2::"]);
        world.send(link, &message("2::"));
    }
    world.heard();
    let link = world.open();
    world.send(link, &head(&format!("/socket.io/1/websocket/{id}"), &[]));
    answer_head(&mut world, link);
    assert_eq!(messages(&mut world, link), ["1::"]);
    world.cut(link, Cause::Closed);
    assert_eq!(world.heard(), ["disconnect transport close"]);
}

#[test]
fn hixie_75_has_no_keys_and_no_goodbye() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &head(OPEN, &[]));
    assert_eq!(
        answer_head(&mut world, link),
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         WebSocket-Origin: http://localhost\r\nWebSocket-Location: ws://localhost/socket.io/websocket\r\n\r\n"
    );
    assert!(messages(&mut world, link)[0].starts_with("~m~39~m~"));
    world.send(link, &message("~m~1~m~a"));
    world.echo();
    assert_eq!(messages(&mut world, link), ["~m~1~m~a"]);
    world.disconnect(world.last_socket(), false);
    assert_eq!((world.received(link).as_str(), &world.ended[..]), ("", &[link][..]));
}

/// Behind some proxies the 8 bytes arrive only after the head of the answer has left. Until then
/// nothing else is sent to the client.
#[test]
fn the_last_bytes_come_late() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &head(OPEN, &KEYS));
    assert_eq!(world.received(link), head_76("ws", OPEN));
    let socket = world.last_socket();
    world.emit(socket, "message", "\"early\"").unwrap();
    world.broadcast(&[], "message", "\"all\"");
    world.pass(9_999);
    let now = world.now;
    world.server.handle_blocked(world.now, link, 0);
    world.server.handle_drained(now, link);
    world.send(link, &BODY[..7]);
    assert_eq!(world.received(link), "");
    world.send(link, &[&BODY[7..], &message("~m~2~m~hi")[..]].concat());
    let bytes = world.bytes(link);
    let rest = bytes.strip_prefix(DIGEST.as_bytes()).unwrap();
    world.sent.push((link, rest.to_vec()));
    let said = messages(&mut world, link);
    assert!(said[0].starts_with("~m~39~m~"), "{said:?}");
    assert_eq!(said[1..], ["~m~5~m~early", "~m~3~m~all"]);
    assert_eq!(world.heard()[1..], ["event message \"hi\""]);
    world.pass(1);
    assert_eq!(
        messages(&mut world, link),
        ["~m~4~m~~h~1"],
        "the time limit is over and forgotten"
    );
}

#[test]
fn the_last_bytes_never_come() {
    // A session of 0.6 waits for another link, as after any lost link.
    let mut world = World::new(Config::default());
    let (lost, id) = open(&mut world);
    world.cut(lost, Cause::Failed);
    world.heard();
    let link = world.open();
    world.send(link, &head(&format!("{OPEN}/{id}"), &KEYS));
    world.received(link);
    world.pass(9_999);
    assert_eq!((world.ended.len(), world.sessions()), (0, 1));
    world.pass(1);
    assert_eq!((world.received(link).as_str(), &world.ended[..]), ("", &[link][..]));
    world.pass(9_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    // A session of 0.7 to 0.9 ends.
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let link = world.open();
    world.send(link, &head(&format!("/socket.io/1/websocket/{id}"), &KEYS));
    world.received(link);
    world.heard();
    let socket = world.last_socket();
    world.emit(socket, "x", "").unwrap();
    world.pass(10_000);
    assert_eq!(world.heard(), ["disconnect transport error"]);
    assert_eq!((world.received(link).as_str(), &world.ended[..]), ("", &[link][..]));
    assert_eq!(world.sessions(), 0);
    // The queue for such a link has the limits of every session.
    let mut config = Config::default();
    config.max_queued_packets = 3;
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, &head(OPEN, &KEYS));
    let socket = world.last_socket();
    for _ in 0..2 {
        world.emit(socket, "message", "1").unwrap();
    }
    assert_eq!(world.emit(socket, "message", "1"), Err(SendError::Full));
    world.disconnect(socket, true);
    assert_eq!(
        world.received(link),
        head_76("ws", OPEN),
        "nothing goes before the digest"
    );
    assert_eq!((world.ended.len(), world.sessions()), (1, 0));
}

/// Another link takes over the session of a link whose handshake is not complete. The time limit of
/// the first link does not end the second.
#[test]
fn a_newer_link_has_a_time_limit_of_its_own() {
    let mut world = World::new(Config::default());
    let (_, id) = open(&mut world);
    let target = format!("{OPEN}/{id}");
    let first = world.open();
    world.send(first, &head(&target, &KEYS));
    world.pass(6_000);
    let second = world.open();
    world.send(second, &head(&target, &KEYS));
    assert_eq!(world.ended.last(), Some(&first));
    world.received(second);
    world.pass(6_000);
    world.send(second, BODY);
    assert_eq!(world.received(second), DIGEST);
    world.emit(world.last_socket(), "message", "\"x\"").unwrap();
    assert_eq!(messages(&mut world, second), ["~m~1~m~x"]);
}

#[test]
fn an_unknown_session_is_told_so_when_the_handshake_is_complete() {
    let mut world = World::new(Config::default());
    let target = "/socket.io/1/websocket/nosuch";
    for pieces in [&[whole(target)][..], &[head(target, &KEYS), BODY.to_vec()]] {
        let link = world.open();
        for piece in pieces {
            world.send(link, piece);
        }
        assert_eq!(answer_head(&mut world, link), head_76("ws", target));
        let bytes = world.bytes(link);
        let said = [DIGEST.as_bytes(), &message("7:::1+0"), CLOSE].concat();
        assert_eq!(bytes, said);
        assert_eq!(world.ended.last(), Some(&link));
    }
    let link = world.open();
    world.send(link, &head(target, &[]));
    answer_head(&mut world, link);
    assert_eq!(messages(&mut world, link), ["7:::1+0"]);
    assert_eq!(world.ended.last(), Some(&link));
}

#[test]
fn a_secure_peer_is_told_a_secure_location() {
    let mut world = World::new(Config::default());
    let peer = Peer {
        secure: true,
        ..Peer::default()
    };
    let link = world.server.open(peer);
    let head = String::from_utf8(head(OPEN, &KEYS)).unwrap();
    let head = head.replace("Origin: http:", "Origin: https:");
    world.send(link, head.as_bytes());
    let answer = head_76("wss", OPEN).replace("Origin: http:", "Origin: https:");
    assert_eq!(world.received(link), answer);
}

#[test]
fn what_is_no_frame_ends_the_link() {
    let config = Config::default().max_payload(20);
    for bad in [
        &b"x"[..],
        b"\x81\x02hi",
        b"\xff\x01",
        b"\x00\xc3\xff",
        b"\x00aaaaaaaaaaaaaaaaaaaaa",
        b"\x00aaaaaaaaaaaaaaaaaaaaa\xff",
    ] {
        let mut world = World::new(config.clone());
        let (link, _) = open(&mut world);
        world.send(link, &[&message("~m~1~m~a"), bad].concat());
        assert_eq!(world.heard()[1..], ["event message \"a\""], "{bad:?}");
        assert_eq!((world.received(link).as_str(), &world.ended[..]), ("", &[link][..]));
    }
    let mut world = World::new(config);
    let (link, _) = open(&mut world);
    world.send(link, &message("~m~12~m~aaaaaaaaaaaa"));
    assert_eq!(
        world.heard()[1..],
        ["event message \"aaaaaaaaaaaa\""],
        "of just this length"
    );
}

#[test]
fn what_is_refused() {
    let mut world = World::new(Config::default());
    let keys = |key| ["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", key];
    for (request, status) in [
        (head(OPEN, &keys("Sec-WebSocket-Key2: 123")), 400),
        (head(OPEN, &keys("Sec-WebSocket-Key2: 1  ")), 400),
        (head(OPEN, &["Sec-WebSocket-Version: 6"]), 400),
        (head("/socket.io/websocket/nosuch", &KEYS), 400),
        (head("/socket.io/xhr-polling//1", &KEYS), 400),
        (head("/socket.io/?EIO=3&transport=websocket", &KEYS), 400),
        (head("/socket.io/?EIO=3&transport=websocket", &[]), 400),
        (head("/socket.io/?EIO=3&transport=flashsocket", &KEYS), 400),
        (head("/socket.io/?EIO=4&transport=websocket", &KEYS), 400),
    ] {
        let answer = world.reply(&request);
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&request));
    }
    for target in [OPEN, "/socket.io/1/websocket/x"] {
        let evil = request(
            "GET",
            target,
            &[
                "Upgrade: WebSocket",
                "Connection: Upgrade",
                "Origin: http://evil.example",
                KEYS[0],
                KEYS[1],
            ],
            "",
        );
        assert!(matches!(world.reply(&evil).status, 401 | 403));
    }
    assert_eq!(world.sessions(), 0);
    // If the old generations are off, none of these websockets is served.
    let mut world = World::new(Config::default().generations(Generations::modern()));
    assert_eq!(world.reply(&whole(OPEN)).status, 400);
}

/// The drafts 7 and 8 differ from RFC 6455 only in the version number, and in the header that names
/// the origin of the page.
#[test]
fn the_drafts_between() {
    for version in ["7", "8"] {
        let mut world = World::new(Config::default());
        let id = handshake(&mut world);
        let version = format!("Sec-WebSocket-Version: {version}");
        let headers = |origin| [UPGRADE[0], UPGRADE[1], UPGRADE[3], &version, origin];
        for target in [OPEN, &format!("/socket.io/1/websocket/{id}")] {
            let link = world.open();
            let good = headers("Sec-WebSocket-Origin: http://localhost");
            world.send(link, &request("GET", target, &good, ""));
            assert_eq!(world.frames(link).len(), 1);
            let evil = headers("Sec-WebSocket-Origin: http://evil.example");
            let answer = world.reply(&request("GET", target, &evil, ""));
            assert!(matches!(answer.status, 401 | 403), "{target}");
        }
    }
}
