//! Packets that no client sends: the tables of docs/protocol/socket-io.md §9, msgpack.md,
//! legacy-0.9.md §13 and legacy-0.6.md §16, in the column of the robust server.

use crate::hostile::rows::{End, Row, Say};
use crate::hostile::session::Wire;
use crate::hostile::wire;

const MODERN: &[Wire] = &[Wire::WebSocket4, Wire::Polling4];
const ENGINE3: &[Wire] = &[Wire::WebSocket3, Wire::Polling3];
const BOTH: &[Wire] = &[Wire::WebSocket4, Wire::Polling4, Wire::WebSocket3, Wire::Polling3];
const COLON: &[Wire] = &[Wire::WebSocket09, Wire::Polling09];
const TILDE: &[Wire] = &[Wire::WebSocket06, Wire::Polling06];

/// The depth of JSON at which everybody's parser must have stopped.
const ABYSS: usize = 100_000;

/// A packet that ends a session of 1.x to 4.x.
const fn fatal(name: &'static str, packets: &'static [&'static str]) -> Row {
    known(name, &[], packets)
}

const fn known(name: &'static str, advisories: &'static [&'static str], packets: &'static [&'static str]) -> Row {
    Row {
        name,
        advisories,
        say: Say::Texts(packets),
        ends: &[(BOTH, End::Closes)],
    }
}

/// A packet that ends a session of 3.x and later. Earlier protocols have another rule for it.
const fn modern(name: &'static str, packets: &'static [&'static str]) -> Row {
    with(name, Say::Texts(packets), &[(MODERN, End::Closes)])
}

/// A packet with one attachment that ends a session of 1.x to 4.x.
const fn attached(name: &'static str, advisories: &'static [&'static str], packet: &'static str) -> Row {
    Row {
        name,
        advisories,
        say: Say::Attached(packet),
        ends: &[(BOTH, End::Closes)],
    }
}

const fn with(name: &'static str, say: Say, ends: &'static [(&'static [Wire], End)]) -> Row {
    Row {
        name,
        advisories: &[],
        say,
        ends,
    }
}

const fn said(name: &'static str, packet: &'static [&'static str], wires: &'static [(&'static [Wire], End)]) -> Row {
    with(name, Say::Texts(packet), wires)
}

/// JSON of this depth.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// An event whose arguments are so deep. Its own array is one level more.
fn nested_event(depth: usize) -> String {
    format!("42[\"echo\",{}]", nested(depth))
}

const IGNORED: &[(&[Wire], End)] = &[(BOTH, End::Ignores)];

pub(super) const PACKETS: &[Row] = &[
    fatal("empty", &["4"]),
    fatal("type-7", &["47"]),
    fatal("type-letter", &["4x"]),
    fatal("error-from-client", &["44{\"message\":\"no\"}"]),
    said(
        "connect-twice",
        &["40"],
        &[(MODERN, End::Closes), (ENGINE3, End::Says("40"))],
    ),
    modern("connect-array", &["40/tenant-1,[1]"]),
    modern("connect-string", &["40/tenant-1,\"x\""]),
    modern("connect-null", &["40/tenant-1,null"]),
    modern("connect-half", &["40/tenant-1,{\"a\":"]),
    said(
        "connect-inherited",
        &["40/__proto__,"],
        &[(BOTH, End::Says("44/__proto__,"))],
    ),
    said(
        "connect-constructor",
        &["40/constructor,"],
        &[(BOTH, End::Says("44/constructor,"))],
    ),
    fatal("event-without-payload", &["42"]),
    fatal("event-object", &["42{\"a\":1}"]),
    fatal("event-empty", &["42[]"]),
    fatal("event-half", &["42[\"echo\""]),
    fatal("event-tail", &["42[\"echo\"]x"]),
    fatal("event-null", &["42[null]"]),
    fatal("event-array", &["42[[\"echo\"]]"]),
    known(
        "event-to-string",
        &["CVE-2023-32695", "CVE-2024-38355"],
        &["42[{\"toString\":\"foo\"}]"],
    ),
    modern("event-elsewhere", &["42/tenant-1,[\"echo\"]"]),
    fatal("ack-object", &["430{\"a\":1}"]),
    fatal("disconnect-payload", &["41\"x\""]),
    fatal("ack-id-negative", &["42-1[\"echo\"]"]),
    fatal("ack-id-space", &["42 [\"echo\"]"]),
    fatal("ack-id-65-bits", &["4218446744073709551616[\"echo-ack\"]"]),
    fatal(
        "ack-id-long",
        &["4299999999999999999999999999999999999999[\"echo-ack\"]"],
    ),
    said(
        "ack-id-54-bits",
        &["429007199254740993[\"echo-ack\"]"],
        &[(BOTH, End::Says("439007199254740993[]"))],
    ),
    said("ack-id-unknown", &["439007199254740993[\"x\"]"], IGNORED),
    fatal("attachments-missing", &["45-[\"echo\"]"]),
    fatal("attachments-no-dash", &["451[\"echo\"]"]),
    fatal("attachments-minus", &["45-1-[\"echo\"]"]),
    fatal("attachments-fraction", &["451.5-[\"echo\"]"]),
    fatal(
        "attachments-exponent",
        &["451e0-[\"echo\",{\"_placeholder\":true,\"num\":0}]"],
    ),
    fatal(
        "attachments-hex",
        &["450x1-[\"echo\",{\"_placeholder\":true,\"num\":0}]"],
    ),
    fatal(
        "attachments-space",
        &["45 1-[\"echo\",{\"_placeholder\":true,\"num\":0}]"],
    ),
    known("attachments-0", &["CVE-2026-69185"], &["450-[\"echo\"]"]),
    known(
        "attachments-11",
        &["CVE-2026-33151", "GHSA-677m-j7p3-52f9"],
        &["4511-[\"echo\"]"],
    ),
    known(
        "attachments-599999999",
        &["CVE-2026-33151", "GHSA-677m-j7p3-52f9"],
        &["4599999999-[\"echo\"]"],
    ),
    fatal("attachments-65-bits", &["4518446744073709551617-[\"echo\"]"]),
    attached(
        "placeholder-beyond",
        &[],
        "451-[\"echo\",{\"_placeholder\":true,\"num\":1}]",
    ),
    attached(
        "placeholder-negative",
        &["CVE-2022-2421", "GHSA-qm95-pgcg-qqfq"],
        "451-[\"echo\",{\"_placeholder\":true,\"num\":-1}]",
    ),
    attached(
        "placeholder-splice",
        &["CVE-2022-2421", "GHSA-qm95-pgcg-qqfq"],
        "451-[\"echo\",{\"_placeholder\":true,\"num\":\"splice\"}]",
    ),
    attached(
        "placeholder-fraction",
        &[],
        "451-[\"echo\",{\"_placeholder\":true,\"num\":0.5}]",
    ),
    attached(
        "placeholder-twice",
        &[],
        "451-[\"echo\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}]",
    ),
    // Ten attachments are announced, and a text comes after the first of them.
    fatal(
        "attachments-10-and-text",
        &["4510-[\"echo\",{\"_placeholder\":true,\"num\":0}]", "42[\"echo\",1]"],
    ),
    with(
        "attachment-unannounced",
        Say::Attached("42[\"no-such-event\"]"),
        &[(BOTH, End::Closes)],
    ),
    fatal("control-character", &["42[\"echo\",\"\u{1}\"]"]),
    fatal("reserved-connect", &["42[\"connect\"]"]),
    fatal("reserved-connect-error", &["42[\"connect_error\"]"]),
    fatal("reserved-disconnect", &["42[\"disconnect\"]"]),
    fatal("reserved-disconnecting", &["42[\"disconnecting\"]"]),
    fatal("reserved-new-listener", &["42[\"newListener\"]"]),
    fatal("reserved-remove-listener", &["42[\"removeListener\"]"]),
    said(
        "inherited-event",
        &["42[\"__proto__\",{\"__proto__\":{\"a\":1}}]"],
        IGNORED,
    ),
    said(
        "inherited-constructor",
        &["42[\"constructor\",{\"constructor\":{\"prototype\":1}}]"],
        IGNORED,
    ),
    said(
        "inherited-room",
        &["427[\"join\",\"__proto__\"]"],
        &[(BOTH, End::Says("437[\"ok\"]"))],
    ),
    said(
        "inherited-keys",
        &["42[\"echo\",{\"__proto__\":1}]"],
        &[(BOTH, End::Says("42[\"echo\",{\"__proto__\":1}]"))],
    ),
    said("event-error", &["42[\"error\",1]"], IGNORED),
    with(
        "depth-limit",
        Say::Made(|| nested_event(127)),
        &[(BOTH, End::Says("42[\"echo\",[[[[[[[["))],
    ),
    with("depth-beyond", Say::Made(|| nested_event(128)), &[(BOTH, End::Closes)]),
    with(
        "depth-100000",
        Say::Made(|| nested_event(ABYSS)),
        &[(BOTH, End::Closes)],
    ),
    with(
        "depth-100000-open",
        Say::Made(|| format!("42[\"echo\",{}", "[".repeat(ABYSS))),
        &[(BOTH, End::Closes)],
    ),
    with(
        "depth-100000-objects",
        Say::Made(|| format!("42[\"echo\",{}1{}]", "{\"a\":".repeat(ABYSS), "}".repeat(ABYSS))),
        &[(BOTH, End::Closes)],
    ),
    with(
        "depth-100000-auth",
        Say::Made(|| format!("40/tenant-1,{{\"a\":{}}}", nested(ABYSS))),
        &[(MODERN, End::Closes)],
    ),
    // In a string, brackets are text.
    with(
        "depth-100000-text",
        Say::Made(|| format!("42[\"echo\",\"{}\"]", nested(ABYSS))),
        &[(BOTH, End::Says("42[\"echo\",\"[[[["))],
    ),
    Row {
        name: "digits",
        advisories: &["CVE-2020-36049"],
        say: Say::Made(|| format!("42{}", "1".repeat(900_000))),
        ends: &[(BOTH, End::Closes)],
    },
    Row {
        name: "commas",
        advisories: &["CVE-2020-36049"],
        say: Say::Made(|| format!("42/{},[\"echo\"]", ",".repeat(900_000))),
        ends: &[(BOTH, End::Closes)],
    },
];

/// Engine.IO packets, payloads of polling, and packets before CONNECT.
pub(super) const ENGINE: &[Row] = &[
    fatal("type-unknown", &["7"]),
    fatal("type-none", &["x"]),
    said("heartbeat-direction", &["2"], &[(MODERN, End::Closes)]),
    with("payload-of-nothing", Say::Texts(&[""]), &[(MODERN, End::Closes)]),
    with(
        "payload-of-separators",
        Say::Made(|| "\u{1e}".repeat(100_000)),
        &[(&[Wire::Polling4], End::Closes)],
    ),
    // Bodies of POSTs of Engine.IO 3, whose packets have lengths.
    length("length-word", |target| {
        wire::post(target, "x:42[\"echo\"]").into_bytes()
    }),
    length("length-exponent", |target| {
        wire::post(target, "9e999:42[\"echo\"]").into_bytes()
    }),
    length("length-beyond", |target| {
        wire::post(target, "500:42[\"echo\"]").into_bytes()
    }),
    length("length-minus", |target| {
        wire::post(target, "-5:42[\"echo\"]").into_bytes()
    }),
    length("length-65-bits", |target| {
        wire::post(target, "18446744073709551618:42[\"echo\"]").into_bytes()
    }),
    length("length-digits", |target| {
        wire::post(target, &format!("{}:4", "9".repeat(900_000))).into_bytes()
    }),
    length("binary-digit", |target| binary(target, b"\x00\x0a\xff42")),
    length("binary-beyond", |target| binary(target, b"\x00\x09\x09\xff42")),
    length("binary-no-length", |target| binary(target, b"\x00\xff42")),
    length("binary-no-end", |target| binary(target, b"\x00\x02\x02\x02\x02")),
    length("binary-digits", |target| {
        binary(target, &[&[0][..], &[9; 5000], &[255]].concat())
    }),
    // Packets before CONNECT.
    early("early-event", &["42[\"echo\",1]"]),
    early("early-ack", &["430[\"x\"]"]),
    early("early-disconnect", &["41"]),
    early("early-disconnect-elsewhere", &["41/tenant-1,"]),
    early("early-event-elsewhere", &["42/tenant-1,[\"echo\"]"]),
    early(
        "early-attachments",
        &["451-[\"echo\",{\"_placeholder\":true,\"num\":0}]"],
    ),
];

const fn length(name: &'static str, make: fn(&str) -> Vec<u8>) -> Row {
    with(name, Say::Request(make), &[(&[Wire::Polling3], End::GoneKept(200))])
}

/// A POST of Engine.IO 3 in binary.
fn binary(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const fn early(name: &'static str, packets: &'static [&'static str]) -> Row {
    with(name, Say::Texts(packets), &[(&[Wire::Unjoined4], End::Closes)])
}

const fn colon(name: &'static str, packet: &'static [&'static str]) -> Row {
    with(name, Say::Texts(packet), &[(COLON, End::Ignores)])
}

/// Packets of 0.7 to 0.9, and frames in the bodies of its POSTs.
pub(super) const COLONS: &[Row] = &[
    colon("garbage", &["garbage"]),
    colon("bare", &["0"]),
    colon("colons", &["::::"]),
    colon("type-9", &["9:::x"]),
    colon("type-behind", &["xx3:::hi"]),
    colon("type-minus", &["-1:::hi"]),
    colon("id-word", &["3:x::hi"]),
    colon("event-half", &["5:::{bad"]),
    colon("event-null", &["5:::null"]),
    colon("event-list", &["5:::[]"]),
    colon("event-without-name", &["5:::{\"args\":[1]}"]),
    colon("event-number", &["5:::{\"name\":5}"]),
    colon("event-disconnect", &["5:::{\"name\":\"disconnect\"}"]),
    colon("event-error", &["5:::{\"name\":\"error\",\"args\":[1]}"]),
    colon("event-inherited", &["5:::{\"name\":\"__proto__\"}"]),
    colon("event-elsewhere", &["5::/nowhere:{\"name\":\"echo\"}"]),
    colon("json-half", &["4:::{\"a\":"]),
    colon("ack-word", &["6:::x"]),
    colon("ack-unknown", &["6:::9007199254740993+[\"x\"]"]),
    colon("connect-twice", &["1::"]),
    colon("error-from-client", &["7:::1+0"]),
    with(
        "depth-100000",
        Say::Made(|| format!("4:::{}", nested(ABYSS))),
        &[(COLON, End::Ignores)],
    ),
    with(
        "depth-100000-event",
        Say::Made(|| format!("5:::{{\"name\":\"echo\",\"args\":{}}}", nested(ABYSS))),
        &[(COLON, End::Ignores)],
    ),
    with(
        "depth-100",
        Say::Made(|| format!("4:::{}", nested(100))),
        &[(COLON, End::Says("4:::[[[["))],
    ),
    with(
        "depth-100000-text",
        Say::Made(|| format!("3:::{}", nested(ABYSS))),
        &[(COLON, End::Says("3:::[[[["))],
    ),
    frame09("frame-mark", &["\u{fffd}"]),
    frame09("frame-word", &["\u{fffd}x\u{fffd}3:::hi"]),
    frame09("frame-minus", &["\u{fffd}-5\u{fffd}3:::hi"]),
    frame09("frame-beyond", &["\u{fffd}50\u{fffd}3:::hi"]),
    frame09("frame-65-bits", &["\u{fffd}18446744073709551621\u{fffd}3:::hi"]),
    with(
        "frame-digits",
        Say::Made(|| format!("\u{fffd}{}\u{fffd}3:::hi", "9".repeat(100_000))),
        &[(&[Wire::Polling09], End::Ignores)],
    ),
];

const fn frame09(name: &'static str, packet: &'static [&'static str]) -> Row {
    with(name, Say::Texts(packet), &[(&[Wire::Polling09], End::Ignores)])
}

const fn tilde(name: &'static str, payload: &'static [&'static str]) -> Row {
    with(name, Say::Texts(payload), &[(TILDE, End::Ignores)])
}

/// Payloads of 0.6.
pub(super) const TILDES: &[Row] = &[
    tilde("no-header", &["hello"]),
    tilde("header-alone", &["~m~"]),
    tilde("header-half", &["~m~12"]),
    tilde("no-digits", &["~m~~m~x"]),
    tilde("length-minus", &["~m~-2~m~ok"]),
    tilde("length-word", &["~m~x~m~hi"]),
    tilde("length-space", &["~m~ 2~m~ok"]),
    tilde("length-beyond", &["~m~20~m~hi"]),
    tilde("length-65-bits", &["~m~18446744073709551618~m~hi"]),
    with(
        "length-digits",
        Say::Made(|| format!("~m~{}~m~hi", "9".repeat(100_000))),
        &[(TILDE, End::Ignores)],
    ),
    tilde("delimiter", &["~m~2XYZok"]),
    tilde("json-half", &["~m~8~m~~j~{\"a\":"]),
    tilde("heartbeat-number", &["~m~8~m~~h~99999"]),
    tilde("heartbeat-word", &["~m~7~m~~h~fake"]),
    tilde("later-wire", &["1:6::hello,"]),
    with(
        "depth-100000",
        Say::Made(|| wire::framed06(&format!("~j~{}", nested(ABYSS)))),
        &[(TILDE, End::Ignores)],
    ),
    with(
        "depth-100",
        Say::Made(|| wire::framed06(&format!("~j~{}", nested(100)))),
        &[(TILDE, End::Says("~m~203~m~~j~[[[["))],
    ),
    with(
        "depth-100000-text",
        Say::Made(|| wire::framed06(&nested(ABYSS))),
        &[(TILDE, End::Says("~m~200000~m~[[[["))],
    ),
];

const fn packed(name: &'static str, make: fn() -> Vec<u8>) -> Row {
    with(name, Say::Bytes(make), &[(&[Wire::MessagePack], End::Closes)])
}

/// `{type: 2, nsp: "/", data: ...}`, where the data are these bytes.
fn event(data: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", data].concat()
}

/// `{type: 2, nsp: "/", data: ["echo-ack"], id: ...}`.
fn event_with_id(id: &[u8]) -> Vec<u8> {
    [b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa8echo-ack\xa2id", id].concat()
}

/// Packets in MessagePack.
pub(super) const MESSAGE_PACK: &[Row] = &[
    with("text", Say::Texts(&["40"]), &[(&[Wire::MessagePack], End::Closes)]),
    packed("empty", Vec::new),
    packed("no-map", || vec![0xc0]),
    packed("reserved-byte", || event(&[0xc1])),
    packed("half", || event(b"\x92\xa4echo")),
    packed("tail", || event(b"\x91\xa4echo\x00")),
    packed("type-7", || b"\x82\xa4type\x07\xa3nsp\xa1/".to_vec()),
    packed("type-5", || {
        b"\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa4echo".to_vec()
    }),
    packed("type-minus", || b"\x82\xa4type\xff\xa3nsp\xa1/".to_vec()),
    packed("type-float", || {
        b"\x82\xa4type\xcb\x40\x00\x00\x00\x00\x00\x00\x01\xa3nsp\xa1/".to_vec()
    }),
    packed("connect-twice", || b"\x82\xa4type\x00\xa3nsp\xa1/".to_vec()),
    packed("keys", || b"\x81\x01\x02".to_vec()),
    packed("array-32-bits", || event(b"\xdd\xff\xff\xff\xff")),
    packed("map-32-bits", || event(b"\x92\xa4echo\xdf\xff\xff\xff\xff")),
    packed("bin-32-bits", || event(b"\x92\xa4echo\xc6\xff\xff\xff\xff")),
    packed("str-32-bits", || event(b"\x92\xa4echo\xdb\xff\xff\xff\xff")),
    packed("ext-32-bits", || event(b"\x92\xa4echo\xc9\xff\xff\xff\xff\x05")),
    packed("ext-unknown", || event(b"\x92\xa4echo\xd4\x05\x00")),
    packed("utf8", || event(b"\x92\xa4echo\xa1\xff")),
    packed("id-minus", || event_with_id(&[0xff])),
    packed("id-float", || event_with_id(b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c")),
    packed("reserved-disconnect", || event(b"\x91\xaadisconnect")),
    Row {
        name: "event-to-string",
        advisories: &["CVE-2023-32695"],
        say: Say::Bytes(|| event(b"\x91\x81\xa8toString\x01")),
        ends: &[(&[Wire::MessagePack], End::Closes)],
    },
    packed("depth-100000", || event(&[&[0x91; ABYSS][..], &[0xc0]].concat())),
    packed("depth-100000-echo", || {
        event(&[b"\x92\xa4echo", &[0x91; ABYSS][..], &[0xc0]].concat())
    }),
    with(
        "inherited-keys",
        Say::Bytes(|| event(b"\x92\xa9__proto__\x81\xa9__proto__\x01")),
        &[(&[Wire::MessagePack], End::Ignores)],
    ),
];
