//! What clients send: plausible requests, packets and frames, which the input chooses and changes.

use bytes::BytesMut;
use sio_proto::engine::Revision;
use sio_proto::engine::payload_v3::{BinaryWriter, TextWriter};
use sio_proto::legacy::hixie::{BODY_LEN, CLOSE, write_text};
use sio_proto::legacy::legacy09;
use sio_proto::websocket::{CloseCode, Opcode, encode_close, encode_frame, encode_message};

use crate::cursor::Cursor;

/// The parts of a hixie-76 handshake: two keys, and the body that follows the head.
pub(super) const KEY1: &str = "18x 6]8vM;54 *(5:  {   U1]8  z [  8";
pub(super) const KEY2: &str = "1_ tx7X d  <  nw  334J702) 7]o}` 0";
pub(super) const DIGEST_BODY: &[u8; BODY_LEN] = b"Tm[K T2u";

/// How a request asks for a websocket.
#[derive(Clone, Copy, PartialEq)]
enum Upgrade {
    No,
    Rfc6455,
    Hixie75,
    Hixie76,
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// Makes one request. A part of its body may be missing.
pub(super) fn request(cursor: &mut Cursor<'_>, sids: &[String]) -> Vec<u8> {
    let kind = cursor.index(24);
    let options = cursor.byte();
    let revision = if options & 0x60 == 0x20 { Revision::V3 } else { Revision::V4 };
    let eio = if revision == Revision::V3 { 3 } else { 4 };
    let is_binary = options & 7 == 7;
    let plain = match options >> 3 & 3 {
        1 => "/streaming",
        2 => "/envelope",
        _ => "/socket.io",
    };
    // This option chooses the oldest transports and handshakes, instead of other ones of the same
    // generation.
    let is_oldest = options & 0x80 == 0x80;
    let old_upgrade = match (is_oldest, options & 1) {
        (false, _) => Upgrade::Rfc6455,
        (true, 0) => Upgrade::Hixie76,
        (true, _) => Upgrade::Hixie75,
    };
    let endless = if options & 1 == 1 { "htmlfile" } else { "xhr-multipart" };
    let sid = cursor.one_of(sids).map_or("AAAAAAAAAAAAAAAAAAAA", String::as_str);
    let (method, target, upgrade, body) = match kind {
        0 => ("GET", format!("/socket.io/?EIO={eio}&transport=polling"), Upgrade::No, None),
        1 => ("GET", format!("/socket.io/?EIO={eio}&transport=websocket"), Upgrade::Rfc6455, None),
        2 | 3 => ("GET", format!("/socket.io/?EIO={eio}&transport=polling&sid={sid}"), Upgrade::No, None),
        4 | 5 => {
            let target = format!("/socket.io/?EIO={eio}&transport=polling&sid={sid}");
            ("POST", target, Upgrade::No, Some(payload(cursor, revision, is_binary)))
        }
        6 => ("GET", format!("/socket.io/?EIO={eio}&transport=websocket&sid={sid}"), Upgrade::Rfc6455, None),
        7 if is_oldest => ("GET", format!("{plain}/{endless}//1795447966090"), Upgrade::No, None),
        7 => ("GET", format!("{plain}/xhr-polling//1795447966090"), Upgrade::No, None),
        8 if is_oldest => ("GET", format!("{plain}/{endless}/{sid}/1795447966090"), Upgrade::No, None),
        8 if options & 1 == 1 => ("GET", format!("{plain}/jsonp-polling/{sid}/1795447966104/0"), Upgrade::No, None),
        8 => ("GET", format!("{plain}/xhr-polling/{sid}/1795447966104"), Upgrade::No, None),
        9 => {
            let body = format!("data={}", plain_payload(cursor)).into_bytes();
            let target = match options & 4 {
                0 => format!("{plain}/xhr-polling/{sid}/send"),
                _ => format!("{plain}/jsonp-polling/{sid}/1795447966104/0"),
            };
            ("POST", target, Upgrade::No, Some(body))
        }
        10 => ("GET", format!("{plain}/websocket"), old_upgrade, None),
        11 => ("GET", format!("{plain}/websocket/{sid}"), old_upgrade, None),
        12 => ("GET", format!("/engine.io/?EIO={eio}&transport=polling"), Upgrade::No, None),
        13 => ("GET", format!("/engine.io/?EIO={eio}&transport=websocket&sid={sid}"), Upgrade::Rfc6455, None),
        14 => ("GET", format!("/engine.io/?EIO={eio}&transport=polling&sid={sid}"), Upgrade::No, None),
        15 => {
            let target = format!("/engine.io/?EIO={eio}&transport=polling&sid={sid}");
            ("POST", target, Upgrade::No, Some(payload(cursor, revision, is_binary)))
        }
        16 => {
            let query = cursor.pick(&["&b64=1", "&j=3", "&EIO=3", "&sid=", "&transport=websocket", "&x=%ff"]);
            ("GET", format!("/socket.io/?EIO={eio}&transport=polling{query}"), Upgrade::No, None)
        }
        17 => {
            let target = format!("/socket.io/?EIO={eio}&transport=polling&j=0&sid={sid}");
            let payload = payload(cursor, revision, false);
            let body = format!("d={}", String::from_utf8_lossy(&payload).replace('\u{1e}', "%1e")).into_bytes();
            ("POST", target, Upgrade::No, Some(body))
        }
        18 => {
            let method = cursor.pick(&["OPTIONS", "HEAD", "PUT", "DELETE", "GET", "BREW"]);
            let body = (options & 1 == 0).then(|| payload(cursor, revision, is_binary));
            let target = format!("/socket.io/?EIO={eio}&transport=polling&sid={sid}");
            (method, target, Upgrade::No, body)
        }
        20 => ("GET", format!("/socket.io/1/{}", if options & 1 == 1 { "?jsonp=2" } else { "" }), Upgrade::No, None),
        21 => ("GET", v1_target(cursor, sid), Upgrade::if_wanted(options & 0x10 == 0x10), None),
        22 => ("POST", v1_target(cursor, sid), Upgrade::No, Some(v1_payload(cursor, options & 4 == 4))),
        23 => ("GET", format!("/socket.io/1/websocket/{sid}"), old_upgrade, None),
        _ => {
            let target = cursor.pick(&[
                "/",
                "/socket.io/1/",
                "/socket.io/socket.io.js",
                "/socket.io/jsonp-polling//1795447966090/0",
                "/socket.io/?EIO=3&transport=polling",
                "/socket.io/?EIO=4&transport=flashsocket",
                "/socket.io/2/",
                "*",
            ]);
            ("GET", target.to_owned(), Upgrade::if_wanted(options & 64 != 0), None)
        }
    };
    write(method, &target, upgrade, body.as_deref(), options)
}

impl Upgrade {
    const fn if_wanted(wanted: bool) -> Self {
        if wanted { Self::Rfc6455 } else { Self::No }
    }
}

fn write(method: &str, target: &str, upgrade: Upgrade, body: Option<&[u8]>, options: u8) -> Vec<u8> {
    let version = if options & 15 == 15 { 0 } else { 1 };
    let mut out = format!("{method} {target} HTTP/1.{version}\r\nHost: localhost\r\n");
    match upgrade {
        Upgrade::Rfc6455 => out += UPGRADE,
        Upgrade::Hixie75 => out += "Upgrade: WebSocket\r\nConnection: Upgrade\r\nOrigin: http://localhost\r\n",
        Upgrade::Hixie76 => {
            out += "Upgrade: WebSocket\r\nConnection: Upgrade\r\nOrigin: http://localhost\r\n";
            out += &format!("Sec-WebSocket-Key1: {KEY1}\r\nSec-WebSocket-Key2: {KEY2}\r\n\r\n");
            return [out.as_bytes(), DIGEST_BODY].concat();
        }
        Upgrade::No if options & 0x18 == 0x18 => out += "Connection: close\r\n",
        Upgrade::No => {}
    }
    if options & 0x40 == 0 {
        out += "Referer: http://localhost/page\r\n"; // The server refuses scripts without it.
    }
    if options & 0x60 == 0x60 {
        out += "Origin: http://localhost\r\nCookie: a=b\r\n";
    }
    let Some(body) = body else {
        out += "\r\n";
        return out.into_bytes();
    };
    if options & 7 == 7 {
        out += "Content-Type: application/octet-stream\r\n";
    }
    if options & 0xc0 == 0xc0 {
        out += "Expect: 100-continue\r\n";
    }
    if options & 3 == 3 && !body.is_empty() {
        out += &format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
        [out.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    } else {
        out += &format!("Content-Length: {}\r\n\r\n", body.len());
        [out.as_bytes(), body].concat()
    }
}

/// The body of a POST.
fn payload(cursor: &mut Cursor<'_>, revision: Revision, is_binary: bool) -> Vec<u8> {
    let packets: Vec<String> = (0..=cursor.index(4)).map(|_| packet(cursor)).collect();
    let mut out = BytesMut::new();
    match revision {
        Revision::V4 => return packets.join("\u{1e}").into_bytes(),
        Revision::V3 if is_binary => {
            let mut writer = BinaryWriter::new(&mut out);
            for packet in &packets {
                match packet.strip_prefix('b') {
                    Some(bytes) => writer.binary(bytes.as_bytes()),
                    None => writer.text(packet),
                }
            }
        }
        Revision::V3 => {
            let mut writer = TextWriter::new(&mut out);
            packets.iter().for_each(|packet| writer.text(packet));
        }
    }
    out.to_vec()
}

/// Makes one Engine.IO packet as text.
fn packet(cursor: &mut Cursor<'_>) -> String {
    let packet = cursor.pick(&[
        "40",
        "40/a,",
        "40/b,{\"t\":1}",
        "41",
        "41/a,",
        "42[\"m\",1]",
        "42/a,7[\"m\",{\"x\":\"é\"}]",
        "420[\"e\"]",
        "430[]",
        "431[1,2]",
        "43/a,0[\"x\"]",
        "451-[\"b\",{\"_placeholder\":true,\"num\":0}]",
        "452-0[\"b\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]",
        "461-1[{\"_placeholder\":true,\"num\":0}]",
        "bAQID",
        "2probe",
        "3",
        "5",
        "1",
        "6",
        "2",
        "",
        "4",
        "40/c,",
        "40/d,",
        "44{}",
        "42[\"disconnect\"]",
        "0",
        "9",
        "40/a?x=1",
        "b4AQID",
        "30-1[\"x\"]",
        "~",
    ]);
    match packet {
        "~" => cursor.text().into_owned(),
        packet => packet.to_owned(),
    }
}

/// A request target of a session of 0.7 to 0.9.
fn v1_target(cursor: &mut Cursor<'_>, sid: &str) -> String {
    match cursor.index(5) {
        0 => format!("/socket.io/1/xhr-polling/{sid}?t=1"),
        1 => format!("/socket.io/1/htmlfile/{sid}?t=1"),
        2 => format!("/socket.io/1/jsonp-polling/{sid}?t=1&i=2"),
        3 => format!("/socket.io/1/xhr-polling/{sid}/?disconnect=1"),
        _ => format!("/socket.io/1//{sid}/?disconnect=1"),
    }
}

/// The body of a POST of 0.7 to 0.9.
fn v1_payload(cursor: &mut Cursor<'_>, is_form: bool) -> Vec<u8> {
    let packets: Vec<String> = (0..=cursor.index(3)).map(|_| v1_packet(cursor)).collect();
    let mut out = BytesMut::new();
    if is_form {
        out.extend_from_slice(b"d=");
    }
    legacy09::payload::write(packets.iter().map(|packet| &**packet), &mut out);
    out.to_vec()
}

/// One packet of 0.7 to 0.9.
fn v1_packet(cursor: &mut Cursor<'_>) -> String {
    let packet = cursor.pick(&[
        "1::/a",
        "1::/b?x=1",
        "3:::hello",
        "3:1::hello",
        "4::/a:{\"a\":1}",
        "5:::{\"name\":\"m\",\"args\":[1]}",
        "5:1+:/a:{\"name\":\"e\"}",
        "6:::1+[1]",
        "6:::0",
        "2::",
        "0::/a",
        "0::",
        "1::",
        "8::",
        "~",
    ]);
    match packet {
        "~" => cursor.text().into_owned(),
        packet => packet.to_owned(),
    }
}

/// Makes a payload in one of the codecs of the 0.6 family, or a piece of one.
fn plain_payload(cursor: &mut Cursor<'_>) -> String {
    let payload = cursor.pick(&[
        "~m~5~m~hello",
        "~m~10~m~~j~{\"a\":1}",
        "~m~4~m~~h~1",
        "~m~4~m~~h~2",
        "~m~0~m~",
        "~m~3~m~one~m~3~m~two",
        "~m~4~m~~j~{",
        "1:6::hello,",
        "1:10:j\n:{\"a\":1},",
        "1:9::",
        "2:1:1,",
        "0:0:,",
        "[\"hello\",{\"a\":1}]",
        "[",
        "~",
    ]);
    match payload {
        "~" => cursor.text().into_owned(),
        payload => payload.to_owned(),
    }
}

/// Makes one message of a websocket of 2010, or something similar.
pub(super) fn old_frame(cursor: &mut Cursor<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    match cursor.index(8) {
        0..=2 => write_text(&plain_payload(cursor), &mut out),
        3..=5 => write_text(&v1_packet(cursor), &mut out),
        6 => out.extend_from_slice(CLOSE),
        _ => out.extend_from_slice(cursor.bytes()),
    }
    out.to_vec()
}

/// Makes one websocket message, or something similar.
pub(super) fn frame(cursor: &mut Cursor<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    match cursor.index(14) {
        0..=5 => encode_message(&mut out, Opcode::Text, packet(cursor).as_bytes(), MASK),
        6 => encode_message(&mut out, Opcode::Text, plain_payload(cursor).as_bytes(), MASK),
        7 => encode_message(&mut out, Opcode::Binary, cursor.bytes(), MASK),
        8 => {
            let packet = packet(cursor);
            let (first, second) = packet.as_bytes().split_at(packet.len() / 2);
            encode_frame(&mut out, Opcode::Text, false, first, MASK);
            encode_frame(&mut out, Opcode::Continuation, true, second, MASK);
        }
        9 => encode_message(&mut out, cursor.pick(&[Opcode::Ping, Opcode::Pong]), b"beat", MASK),
        12 | 13 => encode_message(&mut out, Opcode::Text, v1_packet(cursor).as_bytes(), MASK),
        10 => encode_close(&mut out, CloseCode::new(1000).map(|code| (code, "")), MASK),
        _ => encode_frame(&mut out, Opcode::Text, true, cursor.bytes(), None),
    }
    out.to_vec()
}
