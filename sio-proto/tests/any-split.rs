//! The result of a conversation does not depend on how its bytes are cut into reads. Bytes that
//! stand behind an answer or an upgrade in one read wait for their turn (RFC 9112 §9.3.2).

mod cases;
mod common;
mod older;

use common::*;
use older::*;
use proptest::prelude::*;
use sio_proto::codec::Streaming;
use sio_proto::engine::payload_v3::BinaryWriter;
use sio_proto::{BytesMut, Config, LinkId};

/// Everything that the client and the application received.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    ended: usize,
    heard: Vec<String>,
    sessions: usize,
}

/// Sends `bytes` cut at these points.
fn feed(world: &mut World, link: LinkId, bytes: &[u8], cuts: &[usize]) -> Seen {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        if start < end {
            world.send(link, &bytes[start..end]);
        }
        start = end;
    }
    let mut sent = Vec::new();
    world.sent.drain(..).for_each(|(to, bytes)| {
        assert_eq!(to, link);
        sent.extend(bytes);
    });
    Seen {
        bytes: sent,
        ended: world.ended.len(),
        heard: world.heard(),
        sessions: world.sessions(),
    }
}

/// Checks that a conversation has one result: in one piece, byte by byte, and cut at these points.
fn assert_same(cuts: &[usize], start: impl Fn() -> (World, LinkId, Vec<u8>)) -> Seen {
    let (mut world, link, bytes) = start();
    let whole = feed(&mut world, link, &bytes, &[]);
    let (mut world, link, bytes) = start();
    assert_eq!(feed(&mut world, link, &bytes, cuts), whole);
    let (mut world, link, bytes) = start();
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(feed(&mut world, link, &bytes, &every), whole);
    whole
}

/// A text message in fragments of this many bytes. If `pings` is set, a ping follows each fragment.
fn fragments(payload: &str, size: usize, pings: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let pieces: Vec<&[u8]> = payload.as_bytes().chunks(size).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let fin = if at + 1 == pieces.len() { 0x80 } else { 0 };
        let opcode = if at == 0 { 1 } else { 0 };
        out.extend([fin | opcode, 0x80 | piece.len() as u8, 0, 0, 0, 0]);
        out.extend_from_slice(piece);
        if pings {
            out.extend([0x89, 0x81, 0, 0, 0, 0, b'0' + at as u8 % 10]);
        }
    }
    out
}

/// The bytes that a websocket client may send at once, and its end: an error of the websocket, or
/// an error of the layers above it. After an error above, pongs for the read are not written any
/// more, so these talks have no pings.
fn websocket_talk(end: &[u8], below: bool) -> Vec<u8> {
    let attached = "452-12[\"b\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]";
    [
        text("42[\"a\",1]"),
        text("3"),
        text(attached),
        binary(b"first"),
        text("3"),
        binary(&[0; 130]),
        fragments("421[\"ö\",\"😀\"]", 3, below),
        text("43"),
        text("6"),
        end.to_vec(),
    ]
    .concat()
}

proptest! {
    #![proptest_config(cases::usually(100))]

    #[test]
    fn of_a_websocket(cuts in prop::collection::vec(any::<usize>(), 0..20), end in 0..4usize) {
        let below = end < 2;
        let end = [&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8][..], &[0xf1, 0x80], &text("4x"), &text("bAQI=")][end].to_vec();
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let link = world.join();
            world.heard();
            (world, link, websocket_talk(&end, below))
        });
        prop_assert_eq!(seen.heard.len(), 4);
        prop_assert_eq!(&seen.heard[0], "event a 1");
        prop_assert!(seen.heard[1].ends_with("\\0\" #12"));
        prop_assert_eq!(&seen.heard[2], "event ö \"😀\" #1");
        prop_assert_eq!(seen.sessions, 0);
    }

    #[test]
    fn of_requests_on_one_connection(cuts in prop::collection::vec(any::<usize>(), 0..20), last in 0..4usize) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default().max_payload(100));
            let sid = world.join_polling();
            world.heard();
            let target = session(&sid);
            let chunked = format!("POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\n42[\r\n4\r\n\"c\"]\r\n0\r\nT: u\r\n\r\n");
            let last = match last {
                0 => post(&target, &"x".repeat(101)),
                1 => request("GET", POLLING, &["Connection: close"], ""),
                2 => upgrade(&websocket("nobody")),
                _ => b"BROKEN\r\n\r\n".to_vec(),
            };
            let bytes = [
                post(&target, "42[\"a\"]"),
                get("/socket.io/?EIO=4"),
                post(&target, "451-[\"b\",{\"_placeholder\":true,\"num\":0}]"),
                request("PUT", &target, &[], "some body"),
                post(&target, "bAQI=\u{1e}42[\"after\"]"),
                chunked.into_bytes(),
                request("HEAD", POLLING, &[], ""),
                get("/socket.io/xhr-polling/unknown"),
                last,
                b"whatever follows".to_vec(),
            ]
            .concat();
            let link = world.open();
            (world, link, bytes)
        });
        let text = String::from_utf8_lossy(&seen.bytes);
        let codes: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        prop_assert_eq!(&codes[..8], ["200", "400", "200", "500", "200", "200", "400", "400"]);
        prop_assert_eq!(codes[8], ["413", "200", "400", "400"][last]);
        prop_assert_eq!(&seen.heard[..4], ["event a ", "event b {\"_placeholder\":true,\"num\":0} b\"\\x01\\x02\"", "event after ", "event c "]);
        // A body that is too large ends its session.
        let ended: &[&str] = if last == 0 { &["disconnect transport error"] } else { &[] };
        prop_assert_eq!(&seen.heard[4..], ended);
        prop_assert_eq!(seen.ended, 1);
    }

    #[test]
    fn of_an_upgrade_and_what_is_behind_it(cuts in prop::collection::vec(any::<usize>(), 0..20), end in 0..4usize) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let link = world.open();
            let rest = match end {
                0 => [text("40/a,"), text("40/b,{\"x\":1}")].concat(),
                1 => text("4x"),
                2 => text("42[\"too early\"]"),
                _ => vec![0x88, 0x80, 0, 0, 0, 0],
            };
            (world, link, [WEBSOCKET, &rest].concat())
        });
        let end_of_head = seen.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let frames = parse_frames(&seen.bytes[end_of_head..]);
        prop_assert!(frames[0].starts_with("0{\"sid\":"), "the open packet comes first: {:?}", frames);
        if end == 0 {
            prop_assert_eq!(&seen.heard[..], ["connect /a ", "connect /b {\"x\":1}"]);
            prop_assert!(frames[1].starts_with("40/a,") && frames[2].starts_with("40/b,"));
        } else {
            prop_assert_eq!(&frames[1..], ["close"]);
            prop_assert_eq!(seen.sessions, 0);
        }
    }

    #[test]
    fn of_a_candidate(cuts in prop::collection::vec(any::<usize>(), 0..20), good in any::<bool>()) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let sid = world.join_polling();
            world.heard();
            let socket = world.last_socket();
            world.emit(socket, "queued", "").unwrap();
            let link = world.open();
            let five = if good { "5" } else { "42[\"lost\"]" };
            (world, link, [upgrade(&websocket(&sid)), text("2probe"), text(five), text("42[\"m\"]")].concat())
        });
        let end_of_head = seen.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let frames = parse_frames(&seen.bytes[end_of_head..]);
        let expected = if good { ["3probe", "42[\"queued\"]"] } else { ["3probe", "close"] };
        prop_assert_eq!(frames, expected);
        prop_assert_eq!(seen.heard.len(), usize::from(good));
    }

    #[test]
    fn of_engine_io_3(cuts in prop::collection::vec(any::<usize>(), 0..20), websocket in any::<bool>()) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let attached = "451-[\"b\",{\"_placeholder\":true,\"num\":0}]";
            let link = world.open();
            if websocket {
                world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
                world.received(link);
                world.heard();
                let rest = fragments("421[\"ö\",\"😀\"]", 3, false);
                let talk = [text("42[\"a\",1]"), text("2"), text(attached), binary(b"\x04\x01\x02"), rest, text("1")];
                return (world, link, talk.concat());
            }
            let polling = "/socket.io/?EIO=3&transport=polling&b64=1";
            let target = format!("{polling}&sid={}", sid(&world.ask(&get(polling))));
            world.heard();
            let mut payload = BytesMut::new();
            let mut writer = BinaryWriter::new(&mut payload);
            writer.text("42[\"a\",1]");
            writer.text(attached);
            writer.binary(&[1, 2]);
            let bytes = [
                post_bytes(&target, "application/octet-stream", &payload),
                post_bytes(&target, "text/plain;charset=UTF-8", "1:213:421[\"ö\",\"😀\"]1:1".as_bytes()),
            ];
            (world, link, bytes.concat())
        });
        prop_assert_eq!(&seen.heard[0], "event a 1");
        prop_assert!(seen.heard[1].starts_with("event b {\"_placeholder\":true,\"num\":0} b\"\\x01\\x02\""), "{:?}", seen.heard);
        prop_assert_eq!(&seen.heard[2], "event ö \"😀\" #1");
        prop_assert_eq!((seen.heard.len(), seen.sessions), (3 + usize::from(!websocket), 1), "{:?}", seen.heard);
    }

    #[test]
    fn of_0_9(cuts in prop::collection::vec(any::<usize>(), 0..20), websocket in any::<bool>()) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let answer = world.ask(&get("/socket.io/1/"));
            let id = body(&answer).split(':').next().unwrap().to_owned();
            let (link, framed) = (world.open(), "\u{fffd}6\u{fffd}3:::😀\u{fffd}5\u{fffd}3:::b\u{fffd}3\u{fffd}2::");
            let event = "5:2+::{\"name\":\"e\",\"args\":[\"é\"]}";
            if websocket {
                world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
                world.received(link);
                world.heard();
                let talk = [text("3:1::hi"), text(event), fragments("4:::{\"a\":[1]}", 3, false), text("3:::😀"), text("3:::b"), text("0::")];
                return (world, link, talk.concat());
            }
            let target = format!("/socket.io/1/xhr-polling/{id}");
            world.ask(&get(&target));
            world.heard();
            let bytes = [post(&target, "3:1::hi"), post(&target, event), post(&target, "4:::{\"a\":[1]}"), post(&target, framed)];
            (world, link, bytes.concat())
        });
        let events: Vec<&String> = seen.heard.iter().filter(|line| line.starts_with("event ")).collect();
        prop_assert_eq!(events.len(), 5, "{:?}", seen.heard);
        prop_assert!(events[0].starts_with("event message \"hi\""));
        prop_assert_eq!(events[1], "event e \"é\" #2");
        prop_assert_eq!(events[3], "event message \"😀\"");
        prop_assert_eq!(seen.sessions, usize::from(!websocket));
    }

    /// Packets of this wire may be cut between messages, too.
    #[test]
    fn of_the_streaming_codec(cuts in prop::collection::vec(any::<usize>(), 0..20), websocket in any::<bool>()) {
        let seen = assert_same(&cuts, || {
            let mut config = Config::default();
            config.legacy06 = config.legacy06.mount("/streaming", Streaming);
            let mut world = World::new(config);
            let link = world.open();
            world.send(link, &upgrade("/streaming/websocket"));
            let id = world.frames(link)[0].split(':').nth(2).unwrap().trim_end_matches(',').to_owned();
            world.heard();
            if websocket {
                let bytes = [text("1:6::hello,1:4"), text(":j\n:1,2:1:7,"), fragments("1:5::hé😀,", 2, false), text("0:0:,")];
                return (world, link, bytes.concat());
            }
            let link = world.open();
            let target = format!("/streaming/xhr-polling/{id}/send");
            let bytes = ["data=1:6::hello,1:4", "data=:j%0A:1,2:1:7,", "data=1:5::h%C3%A9%F0%9F%98%80,"];
            (world, link, bytes.map(|body| post(&target, body)).concat())
        });
        prop_assert_eq!(&seen.heard[..3], ["event message \"hello\"", "event message 1", "event message \"hé😀\""]);
    }

    #[test]
    fn of_the_old_wire(cuts in prop::collection::vec(any::<usize>(), 0..20), websocket in any::<bool>()) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default());
            let link = world.open();
            world.send(link, &upgrade("/socket.io/websocket"));
            let id = world.frames(link)[0].split_off("~m~39~m~".len());
            world.heard();
            if websocket {
                let bytes = [text("~m~2~m~hi~m~4~m~~j~5"), fragments("~m~4~m~hé😀", 2, true), text("~h~")].concat();
                (world, link, bytes)
            } else {
                let link = world.open();
                let target = format!("/socket.io/xhr-polling/{id}/send");
                let (first, second) = ("data=~m~2~m~hi~m~4~m~~j~5", "data=~m~4~m~h%C3%A9%F0%9F%98%80");
                (world, link, [post(&target, first), post(&target, second)].concat())
            }
        });
        prop_assert_eq!(&seen.heard[..], ["event message \"hi\"", "event message 5", "event message \"hé😀\""]);
    }

    /// The handshake of a hixie websocket with the bytes behind its head, messages on such a
    /// websocket, and a policy request.
    #[test]
    fn of_the_years_before_rfc_6455(cuts in prop::collection::vec(any::<usize>(), 0..20), kind in 0..5usize) {
        let seen = assert_same(&cuts, || {
            let mut world = World::new(Config::default().max_payload(64));
            let link = world.open();
            let open = |target| {
                let keys = ["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00"];
                let headers = ["Upgrade: WebSocket", "Connection: Upgrade", keys[0], keys[1]];
                [&request("GET", target, &headers, ""), &b"^n:ds[4U"[..]].concat()
            };
            let end = match kind {
                0 => return (world, link, open("/socket.io/websocket")),
                1 => return (world, link, [&open("/socket.io/1/websocket/nosuch"), &b"\0after\xff"[..]].concat()),
                2 => return (world, link, b"<policy-file-request/>\0".to_vec()),
                3 => &b"\xff\x00after"[..],
                _ => &b"\x81\x02"[..],
            };
            world.send(link, &open("/socket.io/websocket"));
            world.received(link);
            world.heard();
            let said = "\0~m~2~m~hi|\0~m~4~m~hé😀|";
            let mut bytes: Vec<u8> = said.bytes().map(|b| if b == b'|' { 0xff } else { b }).collect();
            bytes.extend_from_slice(end);
            (world, link, bytes)
        });
        prop_assert_eq!(seen.ended, usize::from(kind > 0));
        prop_assert_eq!(seen.sessions, usize::from(matches!(kind, 0 | 3 | 4)));
        let heard: &[&str] = match kind {
            0 => &["connect / "],
            1 | 2 => &[],
            _ => &["event message \"hi\"", "event message \"hé😀\""],
        };
        prop_assert_eq!(&seen.heard[..], heard);
    }
}

/// A GET that is held ends if another request stands behind it on its connection.
#[test]
fn answers_come_in_the_order_of_the_requests() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.heard();
    let link = world.open();
    let target = session(&sid);
    let requests = [
        post(&target, "42[\"1\"]"),
        get(&target),
        post(&target, "42[\"2\"]"),
        get(&target),
    ]
    .concat();
    world.send(link, &requests);
    let answers = world.received(link);
    let bodies: Vec<&str> = answers.split("HTTP/1.1 200").skip(1).map(body).collect();
    assert_eq!(bodies, ["ok", "6", "ok"]);
    assert_eq!(world.heard(), ["event 1 ", "event 2 "]);
    let socket = world.last_socket();
    world.emit(socket, "b", "").unwrap();
    assert!(world.received(link).ends_with("42[\"b\"]"));
}

/// Two requests in one read; the first one ends the connection.
#[test]
fn nothing_is_read_behind_the_last_request() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.heard();
    let last = request("POST", &session(&sid), &["Connection: close"], "42[\"last\"]");
    let link = world.open();
    world.send(link, &[last, post(&session(&sid), "42[\"never\"]")].concat());
    assert_eq!(world.received(link).matches("HTTP/1.1").count(), 1);
    assert_eq!(
        (world.heard(), &world.ended[..]),
        (vec!["event last ".to_string()], &[link][..])
    );
    assert_eq!(world.sessions(), 1);
}
