//! A client of Socket.IO 1 or 2 polls. The rows come from captures of genuine 1.7.4 and 2.5.1
//! servers. Comments name the differences.

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::engine::Dialect;
use sio_proto::server::{Admission, Delivery, Peer, Request};
use sio_proto::{Bytes, Config, http};

const HANDSHAKE: &str = "/socket.io/?EIO=3&transport=polling";
const TEXT: &str = "text/plain;charset=UTF-8";
const BYTES: &str = "application/octet-stream";

/// Opens a session and fetches its `40`. Returns the URL of the session's requests.
fn open(world: &mut World, query: &str) -> String {
    let target = format!("{HANDSHAKE}{query}");
    let sid = sid(&world.reply(&get(&target)).text().replace('\\', ""));
    let target = format!("{target}&sid={sid}");
    assert!(world.reply(&get(&target)).text().contains("2:40"));
    world.heard();
    target
}

fn post(world: &mut World, target: &str, content_type: &str, body: &[u8]) {
    let answer = world.reply(&post_bytes(target, content_type, body));
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text()),
        (200, Some("text/html"), "ok")
    );
}

#[test]
fn the_handshake_is_that_of_2_5() {
    let mut world = World::new(Config::default());
    for eio in ["3", "2"] {
        let answer = world.reply(&get(&format!(
            "/socket.io/?EIO={eio}&transport=polling&t=Q893489&b64=1"
        )));
        let sid = sid(answer.text());
        assert_eq!(
            answer.text(),
            format!(
                "109:0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000}}"
            )
        );
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        let answer = world.reply(&get(&format!("{HANDSHAKE}&sid={sid}")));
        assert_eq!(answer.text(), "2:40");
    }
    assert_eq!(world.generations(), ["1.x-2.x", "1.x-2.x"]);
    assert_eq!(world.heard(), ["connect / ", "connect / "]);
}

/// Payloads as captured (payloads-2.5.1). Each has the event that an application receives, and the
/// payload that the client gets when the application sends the event back.
#[test]
fn payloads() {
    let binary = b"\x00\x03\x09\xff451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x01\x05\xff\x04\x01\x02\x03\xff";
    let event = "event b {\"_placeholder\":true,\"num\":0}";
    type Row<'a> = (&'a str, &'a str, &'a [u8], &'a str, &'a str, &'a [u8]);
    let rows: &[Row<'_>] = &[
        (
            "",
            TEXT,
            b"11:42[\"t\",\"a\"]",
            "event t \"a\"",
            "text/plain; charset=UTF-8",
            b"11:42[\"t\",\"a\"]",
        ),
        // Genuine servers write it raw, but half of the clients cannot read it raw.
        (
            "",
            TEXT,
            "14:42[\"t\",\"é€😀\"]".as_bytes(),
            "event t \"é€😀\"",
            "text/plain; charset=UTF-8",
            b"34:42[\"t\",\"\\u00e9\\u20ac\\ud83d\\ude00\"]",
        ),
        (
            "",
            TEXT,
            b"39:451-[\"b\",{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==",
            &format!("{event} b\"\\x01\\x02\\x03\\x04\""),
            BYTES,
            b"\x00\x03\x09\xff451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x01\x05\xff\x04\x01\x02\x03\x04",
        ),
        (
            "",
            BYTES,
            b"\x00\x01\x09\xff42[\"t\",\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"]",
            "event t \"é€😀\"",
            "text/plain; charset=UTF-8",
            b"34:42[\"t\",\"\\u00e9\\u20ac\\ud83d\\ude00\"]",
        ),
        (
            "",
            BYTES,
            binary,
            &format!("{event} b\"\\x01\\x02\\x03\\xff\""),
            BYTES,
            binary,
        ),
        (
            "&b64=1",
            TEXT,
            b"39:451-[\"b\",{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==",
            &format!("{event} b\"\\x01\\x02\\x03\\x04\""),
            "text/plain; charset=UTF-8",
            b"39:451-[\"b\",{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==",
        ),
        // A 1.x client, which encodes twice. Genuine 2.x servers deliver wrong text.
        (
            "&b64=1",
            TEXT,
            "19:42[\"t\",\"Ã©â\u{82}¬ð\u{9f}\u{98}\u{80}\"]".as_bytes(),
            "event t \"é€😀\"",
            "text/plain; charset=UTF-8",
            b"34:42[\"t\",\"\\u00e9\\u20ac\\ud83d\\ude00\"]",
        ),
        (
            "&b64=1",
            TEXT,
            b"0:11:42[\"t\",\"z\"]",
            "event t \"z\"",
            "text/plain; charset=UTF-8",
            b"11:42[\"t\",\"z\"]",
        ),
        (
            "&b64=1",
            TEXT,
            b"011:42[\"t\",\"z\"]",
            "event t \"z\"",
            "text/plain; charset=UTF-8",
            b"11:42[\"t\",\"z\"]",
        ),
        (
            "&b64=1&j=7",
            "application/x-www-form-urlencoded",
            b"d=20%3A42%5B%22t%22%2C%22a%5C%5Cnb%5Cu2028%22%5D",
            "event t \"a\\nb\\u2028\"",
            "text/javascript; charset=UTF-8",
            b"___eio[7](\"20:42[\\\"t\\\",\\\"a\\\\nb\\\\u2028\\\"]\");",
        ),
    ];
    for (query, content_type, body, heard, answer_type, answered) in rows {
        let mut world = World::new(Config::default());
        let target = open(&mut world, query);
        post(&mut world, &target, content_type, body);
        assert_eq!(world.echo(), [*heard]);
        let answer = world.reply(&get(&target));
        assert_eq!(answer.header("content-type"), Some(*answer_type), "{heard}");
        assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(answered));
    }
}

#[test]
fn two_messages_and_a_ping_in_one_post() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "&b64=1");
    post(
        &mut world,
        &target,
        TEXT,
        b"11:42[\"t\",\"a\"]11:42[\"t\",\"b\"]6:2hello",
    );
    world.echo();
    assert_eq!(
        world.reply(&get(&target)).text(),
        "1:311:42[\"t\",\"a\"]11:42[\"t\",\"b\"]"
    );
}

#[test]
fn a_script_is_answered_with_a_script() {
    let mut world = World::new(Config::default());
    let answer = world.reply(&get(&format!("{HANDSHAKE}&b64=1&j=1);alert(1")));
    let sid = sid(&answer.text().replace('\\', ""));
    assert!(
        answer.text().starts_with("___eio[11](\"109:0{\\\"sid\\\":\\\""),
        "{}",
        answer.text()
    );
    // The index comes from the handshake. The indexes of later requests are ignored, and may be
    // missing.
    let target = format!("{HANDSHAKE}&b64=1&j=3&sid={sid}");
    assert_eq!(world.reply(&get(&target)).text(), "___eio[11](\"2:40\");");
    post(&mut world, &target, "application/x-www-form-urlencoded", b"d=1%3A2");
    assert_eq!(world.reply(&get(&target)).text(), "___eio[11](\"1:3\");");
    // But the page of a later request is checked.
    let bare = format!("{HANDSHAKE}&sid={sid}");
    assert_eq!(world.reply(&get(&bare)).status, 403);
    assert_eq!(world.reply(&post_bytes(&bare, TEXT, b"d=1%3A2")).status, 403);
    let form = with_headers(&post_bytes(&bare, TEXT, b"d=1%3A2"), "Origin: http://localhost");
    assert_eq!(world.reply(&form).text(), "ok");
    assert_eq!(world.reply(&get(&target)).text(), "___eio[11](\"1:3\");");
    // A form without its field has no packets.
    post(&mut world, &target, "application/x-www-form-urlencoded", b"e=1%3A2");
    let parked = world.park(&get(&target));
    post(&mut world, &target, "application/x-www-form-urlencoded", b"d=1%3A1");
    assert_eq!(world.answer(parked).text(), "___eio[11](\"1:6\");");
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_script_of_another_page_gets_nothing() {
    for (headers, status) in [
        ("Accept: */*", 403),
        ("Referer: http://localhost/page", 200),
        ("Sec-Fetch-Site: same-origin", 200),
        ("Referer: http://evil.example/page", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Origin: http://localhost\r\nReferer: http://evil.example/", 200),
    ] {
        let mut world = World::new(Config::default());
        let request = request("GET", &format!("{HANDSHAKE}&b64=1&j=0"), &[headers], "");
        assert_eq!(world.reply(&request).status, status, "{headers}");
    }
}

/// Text of 1.x is encoded twice on polling. A session remembers the dialect that it has found
/// (docs/protocol/engine-io.md §3.3).
#[test]
fn the_dialect_is_the_sessions() {
    let doubled = |text: &str| -> String { text.bytes().map(char::from).collect() };
    let packet = |text: &str| format!("{}:42[\"t\",\"{text}\"]", text.encode_utf16().count() + 10);
    for (dialect, sent, heard) in [
        (
            Dialect::Auto,
            vec![doubled("é"), doubled("€"), "plain".into()],
            vec!["é", "€", "plain"],
        ),
        // A client that has sent a character above U+00FF does not encode twice: the text is taken
        // as it is.
        (Dialect::Auto, vec!["€".into(), doubled("é")], vec!["€", "Ã©"]),
        (Dialect::Plain, vec![doubled("é")], vec!["Ã©"]),
        (Dialect::Double, vec![doubled("é😀")], vec!["é😀"]),
    ] {
        let mut world = World::new(Config::default().dialect(dialect));
        let target = open(&mut world, "&b64=1");
        for text in &sent {
            post(&mut world, &target, TEXT, packet(text).as_bytes());
        }
        let expected: Vec<String> = heard.iter().map(|text| format!("event t \"{text}\"")).collect();
        assert_eq!(world.heard(), expected, "{dialect:?}");
    }
}

#[test]
fn the_client_pings() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "&b64=1");
    for _ in 0..3 {
        world.pass(40_000);
        let parked = world.park(&get(&target));
        post(&mut world, &target, TEXT, b"1:2");
        assert_eq!(world.answer(parked).text(), "1:3");
    }
    // Only a ping is a sign of life.
    world.pass(40_000);
    post(&mut world, &target, TEXT, b"11:42[\"t\",\"a\"]");
    let parked = world.park(&get(&target));
    world.pass(4_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.answer(parked).text(), "1:1");
    assert_eq!(world.heard(), ["event t \"a\"", "disconnect ping timeout"]);
    let answer = world.reply(&get(&target));
    assert_eq!(
        (answer.status, answer.text()),
        (400, "{\"code\":1,\"message\":\"Session ID unknown\"}")
    );
}

#[test]
fn pings_that_nobody_reads_do_not_pile_up() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "&b64=1");
    for _ in 0..10 {
        post(&mut world, &target, TEXT, b"1:21:21:2");
    }
    assert_eq!(world.reply(&get(&target)).text(), "1:3");
}

/// Misuse as captured from 2.5.1 (http-errors-2.5.1). Where the generations differ, our answer is
/// that of 4.x, as for its own clients.
#[test]
fn refusals() {
    let json = |code: u8, message: &str| format!("{{\"code\":{code},\"message\":\"{message}\"}}");
    for (request, status, body) in [
        (get("/socket.io/?EIO=3"), 400, json(0, "Transport unknown")),
        (
            get("/socket.io/?EIO=3&transport=tobi"),
            400,
            json(0, "Transport unknown"),
        ),
        (
            get("/socket.io/?EIO=3&transport=constructor"),
            400,
            json(0, "Transport unknown"),
        ),
        (
            get("/socket.io/?EIO=3&transport=flashsocket"),
            400,
            json(3, "Bad request"),
        ),
        (
            get("/socket.io/?EIO=3&transport=polling&sid=nope"),
            400,
            json(1, "Session ID unknown"),
        ),
        (
            get("/socket.io/?EIO=3&transport=polling&sid=constructor"),
            400,
            json(1, "Session ID unknown"),
        ),
        (common::post(HANDSHAKE, "2:40"), 400, json(2, "Bad handshake method")),
        (
            get("/socket.io/?EIO=3&transport=websocket"),
            400,
            json(3, "Bad request"),
        ),
        (
            get("/socket.io/?transport=polling"),
            400,
            json(5, "Unsupported protocol version"),
        ),
        (
            get("/socket.io/?EIO=1&transport=polling"),
            400,
            json(5, "Unsupported protocol version"),
        ),
        (
            get("/socket.io/?EIO=5&transport=polling"),
            400,
            json(5, "Unsupported protocol version"),
        ),
        (
            upgrade("/socket.io/?EIO=3&transport=foo"),
            400,
            "Transport unknown".into(),
        ),
        (
            upgrade("/socket.io/?EIO=3&transport=websocket&sid=nope"),
            400,
            "Session ID unknown".into(),
        ),
    ] {
        let mut world = World::new(Config::default());
        let answer = world.reply(&request);
        assert_eq!((answer.status, answer.text()), (status, &*body));
        assert_eq!(world.sessions(), 0);
    }
}

#[test]
fn misuse_of_a_session() {
    // The request, its answer, and whether the session lives on.
    for (method, body, status, answered, lives) in [
        ("PUT", "x", 500, "", true),
        ("DELETE", "", 500, "", true),
        ("POST", "", 200, "ok", false),
        ("POST", "4:9abc", 200, "ok", false),
        ("POST", "1:1", 200, "ok", false),
        ("POST", "1:3", 200, "ok", true),
        ("POST", "99:42[\"t\",\"z\"]", 200, "ok", false),
        ("POST", "1.1e1:42[\"t\",\"z\"]", 200, "ok", false),
        ("POST", "9e999:42", 200, "ok", false),
        ("POST", "7:42[\"t\"]12", 200, "ok", false),
        ("POST", "2:b!", 200, "ok", false),
        ("POST", "7:42[\"t\"]", 200, "ok", true),
    ] {
        let mut world = World::new(Config::default());
        let target = open(&mut world, "");
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let link = world.open();
        world.send(link, request.as_bytes());
        // The answer to a goodbye waits for a poll that may have been sent before the goodbye.
        world.pass(if body == "1:1" { 30 } else { 0 });
        let answer = world.answer(link);
        assert_eq!((answer.status, answer.text()), (status, answered), "{method} {body}");
        assert_eq!(world.sessions(), usize::from(lives), "{method} {body}");
    }
}

/// The binary payloads of docs/protocol/engine-io.md §11, which must cost nothing.
#[test]
fn malformed_binary_payloads() {
    let good = b"\x00\x09\xff42[\"t\",1]";
    for bad in [
        &b"\x00"[..],
        b"\x00\xff",
        b"\x00\x0a\xff",
        b"\x00\x09\x09\xff42",
        b"\x02\x01\xff2",
        b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff2",
        b"\x01\x01\xff\x07",
        b"4hello",
        b"",
    ] {
        let mut world = World::new(Config::default());
        let target = open(&mut world, "");
        let body = if bad.is_empty() {
            Vec::new()
        } else {
            [good, bad].concat()
        };
        post(&mut world, &target, BYTES, &body);
        let mut story = world.heard();
        assert_eq!(story.pop().as_deref(), Some("disconnect parse error"), "{bad:?}");
        // Packets before the error are delivered.
        assert_eq!(story, if bad.is_empty() { vec![] } else { vec!["event t 1"] });
    }
}

#[test]
fn a_second_poll_is_an_error() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "&b64=1");
    let first = world.park(&get(&target));
    assert_eq!(world.reply(&get(&target)).status, 400);
    assert_eq!(world.answer(first).text(), "1:1");
    assert_eq!(world.heard(), ["disconnect transport error"]);
}

/// Hardening B20. The handshake fixes the revision. Genuine servers treat everything except `EIO=4`
/// as revision 3.
#[test]
fn the_revision_of_later_requests_is_that_of_the_session() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "");
    for eio in ["", "EIO=2&", "EIO=9&"] {
        let target = target.replace("EIO=3&", eio);
        post(&mut world, &target, TEXT, b"11:42[\"t\",\"a\"]");
        assert_eq!(world.heard(), ["event t \"a\""]);
    }
    let other = target.replace("EIO=3&", "EIO=4&");
    let refused = (
        400,
        Some("application/json"),
        "{\"code\":3,\"message\":\"Bad request\"}",
    );
    for bytes in [get(&other), post_bytes(&other, TEXT, b"42[\"t\",\"a\"]")] {
        let answer = world.reply(&bytes);
        assert_eq!((answer.status, answer.header("content-type"), answer.text()), refused);
    }
    // The session is not affected.
    post(&mut world, &target, TEXT, b"11:42[\"t\",\"a\"]");
    assert_eq!(world.heard(), ["event t \"a\""]);
}

#[test]
fn without_the_generation() {
    let mut config = Config::default();
    config.generations.engine3 = false;
    let mut world = World::new(config);
    for eio in ["2", "3"] {
        let answer = world.reply(&get(&format!("/socket.io/?EIO={eio}&transport=polling")));
        assert_eq!(
            (answer.status, answer.text()),
            (400, "{\"code\":5,\"message\":\"Unsupported protocol version\"}")
        );
        let answer = world.reply(&upgrade(&format!("/socket.io/?EIO={eio}&transport=websocket")));
        assert_eq!((answer.status, answer.text()), (400, "Unsupported protocol version"));
    }
}

/// The client pings again an interval after the answer. Behind a queue that is fetched in parts,
/// the answer would come so late that the server gives the client up.
#[test]
fn a_pong_leaves_before_the_messages_that_wait() {
    let mut world = World::new(Config::default().max_packets_per_poll(1usize));
    let target = open(&mut world, "&b64=1");
    let socket = world.last_socket();
    for number in 0..2 {
        world.emit(socket, "m", &number.to_string()).unwrap();
    }
    for _ in 0..2 {
        post(&mut world, &target, TEXT, b"1:2");
    }
    assert_eq!(world.reply(&get(&target)).text(), "1:3", "one answer is enough");
    assert_eq!(world.reply(&get(&target)).text(), "9:42[\"m\",0]");
    assert_eq!(world.reply(&get(&target)).text(), "9:42[\"m\",1]");
}

/// With `engine3_connect_at_once`, the first answer has the CONNECT too, if the application has let
/// the client in meanwhile. A raw session does not wait for anybody.
#[test]
fn the_first_answer_may_have_the_connect() {
    let mut config = Config::default().engine_path("/engine.io");
    config.engine3_connect_at_once = true;
    for (path, has_connect) in [("/socket.io", true), ("/engine.io", false)] {
        let mut world = World::new(config.clone());
        let (now, link) = (world.now, world.open());
        world.shard(|shard, out| {
            let http = http::Request {
                method: http::Method::Get,
                target: format!("{path}/?EIO=3&transport=polling").into(),
                version_minor: 1,
                headers: http::Headers::from_iter([("host", "localhost")]),
                body: Ok(Bytes::new()),
            };
            let mut request = Request::new(shard.config(), http, Peer::default()).admission(Admission::Allowed);
            shard.handle_request(now, link, &mut request, out);
            let asked = out.deliveries.iter().find_map(|delivery| match delivery {
                Delivery::Connect { socket, .. } => Some(*socket),
                _ => None,
            });
            if let Some(socket) = asked {
                shard.accept(now, socket, out);
            }
            assert_eq!(asked.is_some(), has_connect);
        });
        let answer = world.received(link);
        assert!(body(&answer).contains("\"sid\""), "{answer}");
        assert_eq!(body(&answer).ends_with("2:40"), has_connect, "{answer}");
    }
}
