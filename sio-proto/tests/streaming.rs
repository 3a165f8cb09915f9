//! Clients of the development branch of November 2010, and of the servers of 2011 that kept its
//! codec (docs/protocol/legacy-streaming.md; the captures sio-dev-websocket, sio-dev-xhr-polling
//! and sio-dev-jsonp-polling). They have a path of their own, beside all other clients.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::codec::Streaming;
use sio_proto::server::{Cause, Peer, Reason};
use sio_proto::{Config, LinkId};

fn config() -> Config {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount("/streaming", Streaming);
    config
}

fn world() -> World {
    World::new(config())
}

/// The id in a type-3 packet, which must be the only packet.
fn id_of(payload: &str) -> String {
    let id = payload.strip_prefix("3:39:").and_then(|rest| rest.strip_suffix(','));
    id.unwrap_or_else(|| panic!("{payload:?}")).into()
}

fn open(world: &mut World) -> String {
    let answer = world.ask(&get("/streaming/xhr-polling//1795447966090"));
    assert_eq!(status(&answer), 200);
    id_of(body(&answer))
}

fn open_websocket(world: &mut World) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade("/streaming/websocket"));
    let frames = world.frames(link);
    assert_eq!(frames.len(), 1, "the id goes alone");
    id_of(&frames[0]);
    link
}

fn poll(world: &mut World, id: &str) -> LinkId {
    let link = world.open();
    world.send(link, &get(&format!("/streaming/xhr-polling/{id}/1795447966104")));
    link
}

fn escaped(payload: &str) -> String {
    payload.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn push(world: &mut World, id: &str, payload: &str) -> u16 {
    let form = format!("data={}", escaped(payload));
    status(&world.ask(&post(&format!("/streaming/xhr-polling/{id}/send"), &form)))
}

fn events(json: &[&str]) -> Vec<String> {
    json.iter().map(|json| format!("event message {json}")).collect()
}

#[test]
fn a_websocket_as_captured() {
    let mut world = world();
    let link = open_websocket(&mut world);
    world.heard();
    world.send(link, &text("1:7::early1,1:14:j\n:{\"early\":2},"));
    assert_eq!(world.heard(), events(&["\"early1\"", "{\"early\":2}"]));
    for (wire, json) in [
        ("1:14:j\n:[\"a1\",\"a2\"],", "[\"a1\",\"a2\"]"),
        ("1:3::42,", "\"42\""),
        ("1:7:j\n:null,", "null"),
        ("1:1::,", "\"\""),
        ("1:20:j\n:{\"a\":{\"b\":\"♥😀\"}},", "{\"a\":{\"b\":\"♥😀\"}}"),
        ("1:9::thré♥e😀,", "\"thré♥e😀\""),
        ("1:8::thré♥e😀,", "\"thré♥e😀\""), // Go counts code points
        ("1:9:r:chat\n:x,", "\"x\""),
    ] {
        world.send(link, &text(wire));
        assert_eq!(world.heard(), events(&[json]), "{wire}");
    }
    let socket = world.last_socket();
    for (name, json, wire) in [
        ("message", "\"hello, world\"", "1:13::hello, world,"),
        ("message", "{\"a\":1}", "1:10:j\n:{\"a\":1},"),
        ("message", "\"a\",null", "1:2::a,1:7:j\n:null,"),
        ("message", "\"öäö¥£♥\"", "1:7::öäö¥£♥,"),
        ("chat", "1", "1:30:j\n:{\"event\":\"chat\",\"args\":[1]},"),
    ] {
        world.emit(socket, name, json).unwrap();
        assert_eq!(world.frames(link), [wire]);
    }
    assert_eq!(world.garbled, [""; 0]);
}

#[test]
fn heartbeats_are_echoed() {
    let mut world = world();
    let link = open_websocket(&mut world);
    world.heard();
    world.pass(10_000);
    assert_eq!(world.frames(link), ["2:1:1,"]);
    world.pass(1_000);
    world.send(link, &text("2:3:one,2:1:9,"));
    world.send(link, &text("2:1:1,"));
    world.pass(10_000);
    assert_eq!(world.frames(link), ["2:1:2,"]);
    world.pass(8_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.frames(link), ["0:0:,", "close"]);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn either_end_says_goodbye() {
    let mut world = world();
    let link = open_websocket(&mut world);
    world.heard();
    // Packets behind a goodbye are ignored, and so is the content of the goodbye.
    world.send(link, &text("1:3::hi,0:2:xx,1:3::no,"));
    assert_eq!(
        world.heard(),
        ["event message \"hi\"", "disconnect client namespace disconnect"]
    );
    assert_eq!(world.frames(link), ["0:0:,", "close"]);

    let id = open(&mut world);
    world.heard();
    assert_eq!(push(&mut world, &id, "0:0:,"), 200);
    assert_eq!(world.heard(), ["disconnect client namespace disconnect"]);
    assert_eq!(push(&mut world, &id, "0:0:,"), 400);

    let id = open(&mut world);
    let (socket, parked) = (world.last_socket(), poll(&mut world, &id));
    world.disconnect(socket, true);
    assert_eq!(body(&world.received(parked)), "0:0:,");
    assert_eq!(world.sessions(), 0);
}

/// A stream of POSTs continues from one POST to the next, on any connection. A stream on a
/// websocket continues from one message to the next.
#[test]
fn packets_are_cut_anywhere() {
    let mut world = world();
    let id = open(&mut world);
    let link = open_websocket(&mut world);
    world.heard();
    let stream = "1:7::early1,1:14:j\n:{\"early\":2},2:1:7,1:9::thré♥e😀,1:1::,";
    for size in 1..9 {
        let pieces: Vec<String> = stream
            .chars()
            .collect::<Vec<_>>()
            .chunks(size)
            .map(String::from_iter)
            .collect();
        let expected = events(&["\"early1\"", "{\"early\":2}", "\"thré♥e😀\"", "\"\""]);
        for piece in &pieces {
            assert_eq!(push(&mut world, &id, piece), 200);
        }
        assert_eq!(world.heard(), expected, "POSTs of {size}");
        for piece in &pieces {
            world.send(link, &text(piece));
        }
        assert_eq!(world.heard(), expected, "messages of {size}");
    }
    // A websocket begins its own stream: half a packet of a lost stream is lost with it.
    assert_eq!(push(&mut world, &id, "1:3::h"), 200);
    let resumed = world.open();
    world.send(resumed, &upgrade(&format!("/streaming/websocket/{id}")));
    world.send(resumed, &text("1:3::yo,"));
    assert_eq!(world.heard(), events(&["\"yo\""]));
    assert_eq!(push(&mut world, &id, "i,"), 200);
    assert_eq!(world.heard(), events(&["\"hi\""]));
}

/// docs/protocol/legacy-streaming.md §7 and §8: which messages are delivered, and whether the
/// session lives.
#[test]
fn malformed_input() {
    let cases: &[(&str, &[&str], bool)] = &[
        ("", &[], true),
        ("1:7::wadap!,", &["\"wadap!\""], true),
        ("5:9:123456789,1:3::hi,", &["\"hi\""], true),
        ("3:3:abc,1:3::hi,", &["\"hi\""], true),
        ("2:1:x,1:3::hi,", &["\"hi\""], true),
        ("1:10:j\n:♥wadap!,1:3::hi,", &["\"hi\""], true), // no JSON: dropped
        ("1:3::hi,1:3::fael!,", &["\"hi\""], false),
        (":3::hi,", &[], false),
        ("hello", &[], false),
        ("11:3::hi,", &[], false),
        ("257:3::hi,", &[], false),
        ("1:::hi,", &[], false),
        ("1:x::hi,", &[], false),
        ("1:-3::hi,", &[], false),
        ("1:99999999999::hi,", &[], false),
        ("1:1000001::hi,", &[], false),
        ("1:3::hi;", &[], false),
        ("1:3:\n:x,", &[], false),
        ("1:3:xyz,", &[], false),
        ("1:1::😀,", &[], false),
    ];
    for (payload, json, lives) in cases {
        let mut world = world();
        let id = open(&mut world);
        let (link, bystander) = (open_websocket(&mut world), open_websocket(&mut world));
        world.heard();
        let mut expected = events(json);
        expected.extend((!lives).then(|| "disconnect parse error".to_owned()));
        assert_eq!(
            push(&mut world, &id, payload),
            if *lives { 200 } else { 400 },
            "{payload}"
        );
        assert_eq!(world.heard(), expected, "POST {payload}");
        world.send(link, &text(payload));
        assert_eq!(world.heard(), expected, "websocket {payload}");
        assert_eq!(world.sessions(), if *lives { 3 } else { 1 }, "{payload}");
        assert_eq!(world.garbled.len(), if *lives { 0 } else { 2 }, "{payload}");
        world.send(bystander, &text("1:3::hi,"));
        assert_eq!(world.heard(), events(&["\"hi\""]));
    }
}

#[test]
fn jsonp_has_no_semicolon_and_its_newlines_are_repaired() {
    let mut world = world();
    let answer = world.ask(&get("/streaming/jsonp-polling//1795447980466/0"));
    let id = body(&answer)
        .strip_prefix("io.JSONP[0]._(\"3:39:")
        .and_then(|rest| rest.strip_suffix(",\")"))
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned();
    let socket = world.last_socket();
    world.heard();
    let parked = world.open();
    world.send(parked, &get(&format!("/streaming/jsonp-polling/{id}/1795447980505/3")));
    world.emit(socket, "message", "{\"a\":\"</script>\"}").unwrap();
    assert_eq!(
        body(&world.received(parked)),
        "io.JSONP[3]._(\"1:20:j\\n:{\\\"a\\\":\\\"</script>\\\"},\")"
    );
    // As captured: the browser has written two characters for the one behind the annotation.
    let form = "data=1%3A14%3Aj%0D%0A%3A%7B%22early%22%3A2%7D%2C1%3A3%3A%3Ahi%2C";
    let target = format!("/streaming/jsonp-polling/{id}/1795447980505/0");
    assert_eq!(status(&world.ask(&post(&target, form))), 200);
    assert_eq!(world.heard(), events(&["{\"early\":2}", "\"hi\""]));
    assert_eq!(world.garbled, [""; 0]);
}

/// On the endless answers, its payloads and heartbeats stand where those of 0.6 stand.
#[test]
fn streams() {
    let mut world = world();
    let htmlfile = world.open();
    world.send(htmlfile, &get("/streaming/htmlfile//1795447994871"));
    let chunks = Chunks::read(&world.bytes(htmlfile)).chunks;
    let first = chunks[1].strip_prefix("<script>parent.s._(\"");
    let id = id_of(
        first
            .and_then(|rest| rest.strip_suffix("\", document);</script>"))
            .unwrap(),
    );
    world.heard();
    world.emit(world.last_socket(), "message", "{\"a\":1}").unwrap();
    let script = "<script>parent.s._(\"1:10:j\\n:{\\\"a\\\":1},\", document);</script>";
    assert_eq!(world.chunks(htmlfile), [script]);
    assert_eq!(push(&mut world, &id, "1:3::hi,"), 200);
    assert_eq!(world.heard(), events(&["\"hi\""]));
    world.pass(10_000);
    assert_eq!(
        world.chunks(htmlfile),
        ["<script>parent.s._(\"2:1:1,\", document);</script>"]
    );
    assert_eq!(push(&mut world, &id, "0:0:,"), 200);
    let bye = "<script>parent.s._(\"0:0:,\", document);</script>";
    assert_eq!(world.chunks(htmlfile), [bye, "end"]);

    let multipart = world.open();
    world.send(multipart, &get("/streaming/xhr-multipart/"));
    assert!(
        world
            .received(multipart)
            .contains("--socketio\nContent-Type: text/plain\n\n3:39:")
    );
    world.emit(world.last_socket(), "message", "\"hi\"").unwrap();
    assert_eq!(
        world.received(multipart),
        "Content-Type: text/plain\n\n1:3::hi,\n--socketio\n"
    );
}

#[test]
fn what_is_held_back_has_a_limit() {
    let mut config = config();
    config.legacy06.max_buffered_bytes = 16;
    let mut world = World::new(config);
    let id = open(&mut world);
    let link = open_websocket(&mut world);
    world.heard();
    // A length above the limit is refused before any byte is held back.
    world.send(link, &text("1:17::"));
    assert_eq!(world.heard(), ["disconnect parse error"]);
    // Lengths count characters, the limit counts bytes.
    assert_eq!(push(&mut world, &id, "1:10::♥♥♥"), 200);
    assert_eq!(push(&mut world, &id, "♥♥"), 400);
    assert_eq!(world.heard(), ["disconnect parse error"]);
    assert_eq!(
        world.garbled[1],
        "streaming not nothing: an unfinished message is too long"
    );
    // A message that arrives complete is not held back.
    let link = open_websocket(&mut world);
    world.heard();
    world.send(link, &text("1:9::♥♥♥♥♥♥♥♥,"));
    assert_eq!(world.heard(), events(&["\"♥♥♥♥♥♥♥♥\""]));
}

#[test]
fn a_payload_has_so_many_messages() {
    let mut config = config();
    config.legacy06.max_messages_per_payload = 2;
    let mut world = World::new(config);
    let streaming = open_websocket(&mut world);
    let framing = world.open();
    world.send(framing, &upgrade("/socket.io/websocket"));
    world.heard();
    world.send(streaming, &text("1:2::a,1:2::b,1:2::c,"));
    let mut expected = events(&["\"a\"", "\"b\""]);
    world.send(framing, &text("~m~1~m~a~m~1~m~b~m~1~m~c"));
    expected.push("disconnect parse error".into());
    expected.extend(events(&["\"a\"", "\"b\""]));
    assert_eq!(world.heard(), expected);
}

/// A session whose websocket is lost can be resumed by its id, as in 0.6. A session that is not
/// resumed ends in time.
#[test]
fn sessions_survive_their_transport() {
    let mut world = world();
    let link = open_websocket(&mut world);
    let socket = world.last_socket();
    world.heard();
    world.cut(link, Cause::Failed);
    world.emit(socket, "message", "\"kept\"").unwrap();
    world.pass(9_999);
    assert_eq!(world.heard(), [""; 0]);
    world.pass(1);
    assert_eq!(world.heard(), [format!("disconnect {}", Reason::PingTimeout)]);
}

/// Each path has its own wire and its own sessions.
#[test]
fn other_paths_know_nothing_of_it() {
    let mut world = world();
    let id = open(&mut world);
    for target in [
        format!("/socket.io/xhr-polling/{id}/1"),
        format!("/socket.io/jsonp-polling/{id}/1/0"),
    ] {
        assert_eq!(status(&world.ask(&get(&target))), 400, "{target}");
    }
    let answer = world.ask(&get("/socket.io/xhr-polling//1"));
    let other = body(&answer).strip_prefix("~m~39~m~").unwrap().to_owned();
    let answer = world.ask(&get(&format!("/streaming/xhr-polling/{other}/1")));
    assert_eq!(status(&answer), 400);
    assert_eq!(push(&mut world, &other, "1:3::hi,"), 400);
    // Clients of today and clients of 2010 are in the same rooms.
    let modern = world.join();
    let parked = poll(&mut world, &id);
    world.broadcast(&[], "message", "\"all\"");
    assert_eq!(body(&world.received(parked)), "1:4::all,");
    assert_eq!(world.frames(modern), ["42[\"message\",\"all\"]"]);
}

/// docs/protocol/detection.md §4: a client that uses the wrong path is recognised by its first
/// payload.
#[test]
fn wrong_wires_are_named() {
    let mut world = world();
    let link = open_websocket(&mut world);
    world.send(link, &text("~m~5~m~hello"));
    assert_eq!(world.garbled, ["streaming not ~m~: invalid packet type"]);
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    world.garbled.clear();
    world.send(link, &text("1:6::hello,"));
    world.send(link, &text("[\"hello\"]"));
    assert_eq!(
        world.garbled,
        ["~m~ not streaming: frame without delimiter"],
        "told once"
    );
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    world.garbled.clear();
    world.send(link, &text("[\"hello\"]"));
    assert_eq!(world.garbled, ["~m~ not envelope: frame without delimiter"]);
}

/// Other requests under its path belong to the application. If the generation is off, all requests
/// under it do.
#[test]
fn a_mount_serves_nothing_else() {
    use sio_proto::server::{Output, Peer, Server};
    use sio_proto::{BytesMut, Generations, Time};
    let mut off = Generations::default();
    off.legacy06 = false;
    for (generations, targets) in [
        (
            Generations::default(),
            &[
                "/streaming",
                "/streaming/",
                "/streaming/?EIO=4&transport=polling",
                "/streaming/1/",
                "/streaming/2/",
                "/streaming/socket.io.js",
                "/streaming/other",
                "/streamingx/xhr-polling//1",
            ][..],
        ),
        (off, &["/streaming/xhr-polling//1", "/streaming/socket.io.js"]),
    ] {
        let config = config().generations(generations);
        let mut server = Server::new(config, [0; 16], Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
        for target in targets {
            let link = server.open(Peer::default());
            server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(&get(target)[..]));
            let output = server.poll_output();
            assert!(
                matches!(&output, Some(Output::Request(_, request)) if &*request.target == *target),
                "{target} {output:?}"
            );
        }
    }
}

/// What a session keeps of an unfinished message counts for its address. What has no room ends the
/// session, and the POST says so.
#[test]
fn what_is_held_back_counts_for_its_address() {
    let mut config = config().max_kept_bytes_per_address(100_000);
    config.legacy06.max_buffered_bytes = 400_000;
    let mut world = World::new(config);
    let peer = || Peer {
        address: Some("192.0.2.1:1".parse().unwrap()),
        ..Peer::default()
    };
    let ask = |world: &mut World, request: &[u8]| {
        let link = world.server.open(peer());
        world.send(link, request);
        world.received(link)
    };
    let answer = ask(&mut world, &get("/streaming/xhr-polling//1795447966090"));
    let id = id_of(body(&answer));
    world.heard();
    let target = format!("/streaming/xhr-polling/{id}/send");
    let piece = "x".repeat(60_000);
    let first = ask(&mut world, &post(&target, &format!("data=1:300000::{piece}")));
    assert_eq!((status(&first), world.sessions()), (200, 1));
    let second = ask(&mut world, &post(&target, &format!("data={piece}")));
    assert_eq!((status(&second), world.sessions()), (413, 0));
    assert_eq!(
        world.breaches,
        ["limit, ends: more is kept of what the client has sent than its address has room for"]
    );
    assert_eq!(world.heard(), ["disconnect forced close"]);
}
