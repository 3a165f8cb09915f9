//! Frames of a websocket that RFC 6455 forbids, or that are more than a server takes.

use crate::hostile::rows::{End, Row, Say};
use crate::hostile::session::Wire;
use crate::hostile::wire::{self, BINARY, PING, TEXT};

const ALL: &[Wire] = &[
    Wire::WebSocket4,
    Wire::Unjoined4,
    Wire::Candidate4,
    Wire::MessagePack,
    Wire::WebSocket3,
    Wire::WebSocket09,
    Wire::WebSocket06,
];
const TEXTS: &[Wire] = &[Wire::WebSocket4, Wire::WebSocket3, Wire::WebSocket09, Wire::WebSocket06];

/// FIN, and the reserved bits.
const FIN: u8 = 0x80;
const RSV: [u8; 3] = [0x40, 0x20, 0x10];
const CLOSE: u8 = 0x8;

/// The websocket ends with this code.
const fn coded(name: &'static str, code: u16, make: fn() -> Vec<u8>) -> Row {
    named(name, &[], code, make)
}

const fn named(name: &'static str, advisories: &'static [&'static str], code: u16, make: fn() -> Vec<u8>) -> Row {
    Row {
        name,
        advisories,
        say: Say::Frames(make),
        ends: match code {
            1007 => &[(ALL, End::Code(1007))],
            1009 => &[(ALL, End::Code(1009))],
            1002 => &[(ALL, End::Code(1002))],
            _ => panic!("no such row yet"),
        },
    }
}

/// A Close frame with a code that only libraries use among themselves.
fn close(code: u16) -> Vec<u8> {
    wire::frame(CLOSE, code.to_be_bytes())
}

/// The head of a frame that announces this length in 64 bits.
fn announced(length: u64) -> Vec<u8> {
    [&[FIN | TEXT, FIN | 127], &length.to_be_bytes()[..], &[0; 4]].concat()
}

/// A text in two fragments, with a ping between them.
fn split(first: &[u8], second: &[u8]) -> Vec<u8> {
    [
        wire::frame_with(TEXT, first),
        wire::frame(PING, "between"),
        wire::frame_with(FIN, second),
    ]
    .concat()
}

/// A text in fragments of one byte.
fn crumbled(text: &str) -> Vec<u8> {
    let mut frames = wire::frame_with(TEXT, "");
    for byte in text.bytes() {
        frames.extend(wire::frame_with(0, [byte]));
    }
    frames.extend(wire::frame_with(FIN, ""));
    frames
}

/// A text of 5,000 characters, which each generation echoes in a way of its own.
fn long(before: &str, after: &str) -> String {
    format!("{before}{}{after}", "f".repeat(5000))
}

pub(super) const VIOLATIONS: &[Row] = &[
    coded("rsv1", 1002, || wire::frame_with(FIN | RSV[0] | TEXT, "42")),
    named("rsv2", &["CVE-2022-21676"], 1002, || {
        wire::frame_with(FIN | RSV[1] | TEXT, "42")
    }),
    coded("rsv3", 1002, || wire::frame_with(FIN | RSV[2] | BINARY, "42")),
    coded("opcode-3", 1002, || wire::frame(3, "42")),
    coded("opcode-7", 1002, || wire::frame(7, "42")),
    coded("opcode-11", 1002, || wire::frame(11, "42")),
    coded("opcode-15", 1002, || wire::frame(15, "42")),
    coded("unmasked-text", 1002, || b"\x81\x0242".to_vec()),
    coded("unmasked-empty", 1002, || b"\x81\x00".to_vec()),
    coded("unmasked-ping", 1002, || b"\x89\x00".to_vec()),
    coded("ping-126", 1002, || wire::frame(PING, [0; 126])),
    coded("ping-64-bits", 1002, || wire::frame(PING, vec![0; 70_000])),
    coded("ping-fragment", 1002, || wire::frame_with(PING, "x")),
    coded("close-fragment", 1002, || wire::frame_with(CLOSE, "")),
    coded("continuation-alone", 1002, || wire::frame_with(FIN, "42")),
    coded("continuation-open", 1002, || wire::frame_with(0, "42")),
    coded("text-in-fragments", 1002, || {
        [wire::frame_with(TEXT, "4"), wire::frame(TEXT, "2")].concat()
    }),
    coded("binary-in-fragments", 1002, || {
        [wire::frame_with(TEXT, "4"), wire::frame(BINARY, "2")].concat()
    }),
    coded("close-one-byte", 1002, || wire::frame(CLOSE, [3])),
    coded("close-0", 1002, || close(0)),
    coded("close-999", 1002, || close(999)),
    coded("close-1004", 1002, || close(1004)),
    coded("close-1005", 1002, || close(1005)),
    coded("close-1006", 1002, || close(1006)),
    coded("close-1015", 1002, || close(1015)),
    coded("close-2999", 1002, || close(2999)),
    coded("close-5000", 1002, || close(5000)),
    coded("close-reason", 1007, || wire::frame(CLOSE, b"\x03\xe8\xff")),
    coded("length-sign", 1002, || announced(1 << 63)),
    coded("length-64-bits", 1002, || announced(u64::MAX)),
    named("length-63-bits", &["CVE-2016-10542"], 1009, || announced((1 << 63) - 1)),
    coded("length-32-bits", 1009, || announced(u64::from(u32::MAX))),
    coded("length-limit", 1009, || announced(1_000_001)),
    coded("fragments-limit", 1009, || {
        let half = "4".repeat(600_000);
        [wire::frame_with(TEXT, &half), wire::frame_with(0, &half)].concat()
    }),
    coded("utf8-byte", 1007, || wire::frame(TEXT, b"42[\"echo\",\"\xff\"]")),
    coded("utf8-overlong", 1007, || {
        wire::frame(TEXT, b"42[\"echo\",\"\xc0\xaf\"]")
    }),
    coded("utf8-surrogate", 1007, || {
        wire::frame(TEXT, b"42[\"echo\",\"\xed\xa0\x80\"]")
    }),
    coded("utf8-beyond", 1007, || {
        wire::frame(TEXT, b"42[\"echo\",\"\xf4\x90\x80\x80\"]")
    }),
    coded("utf8-unfinished", 1007, || wire::frame(TEXT, b"42[\"echo\",\"\xf0\x9f")),
    coded("utf8-split", 1007, || split(b"42[\"echo\",\"\xf0\x9f", b"A\x80\"]")),
    coded("utf8-split-unfinished", 1007, || {
        split(b"42[\"echo\",\"\xf0\x9f", b"\x98")
    }),
    coded("utf8-split-surrogate", 1007, || {
        split(b"42[\"echo\",\"\xed", b"\xa0\x80\"]")
    }),
    // The first fragment alone is wrong, so nobody waits for the next.
    coded("utf8-first-fragment", 1007, || {
        wire::frame_with(TEXT, b"42[\"echo\",\"\xff")
    }),
    Row {
        name: "fragments-flood",
        advisories: &["CVE-2026-48779", "GHSA-96hv-2xvq-fx4p"],
        say: Say::Frames(|| {
            let mut frames = wire::frame_with(TEXT, "4");
            frames.extend(wire::frame_with(0, "").repeat(1_048_580));
            frames
        }),
        ends: &[(&[Wire::WebSocket4, Wire::WebSocket09], End::Code(1008))],
    },
];

/// Frames that are unusual and right.
pub(super) const UNUSUAL: &[Row] = &[
    Row {
        name: "utf8-split-4",
        advisories: &[],
        say: Say::Frames(|| split(b"42[\"echo\",\"\xf0\x9f", b"\x98\x80\"]")),
        ends: &[
            (&[Wire::WebSocket4], End::Says("42[\"echo\",\"\u{1f600}\"]")),
            (&[Wire::WebSocket3], End::Says("42[\"echo\",\"\\ud83d\\ude00\"]")),
        ],
    },
    Row {
        name: "utf8-split-09",
        advisories: &[],
        say: Say::Frames(|| split(b"3:::\xf0\x9f", b"\x98\x80")),
        ends: &[(&[Wire::WebSocket09], End::Says("3:::\u{1f600}"))],
    },
    Row {
        name: "utf8-split-06",
        advisories: &[],
        say: Say::Frames(|| split(b"~m~2~m~\xf0\x9f", b"\x98\x80")),
        ends: &[(&[Wire::WebSocket06], End::Says("~m~2~m~\u{1f600}"))],
    },
    Row {
        name: "fragments-4",
        advisories: &["CVE-2026-48779", "GHSA-96hv-2xvq-fx4p"],
        say: Say::Frames(|| crumbled(&long("42[\"echo\",\"", "\"]"))),
        ends: &[(&[Wire::WebSocket4, Wire::WebSocket3], End::Says("42[\"echo\",\"ffffff"))],
    },
    Row {
        name: "fragments-09",
        advisories: &[],
        say: Say::Frames(|| crumbled(&long("3:::", ""))),
        ends: &[(&[Wire::WebSocket09], End::Says("3:::ffffff"))],
    },
    Row {
        name: "fragments-06",
        advisories: &[],
        say: Say::Frames(|| crumbled(&long("~m~5000~m~", ""))),
        ends: &[(&[Wire::WebSocket06], End::Says("~m~5000~m~ffffff"))],
    },
    // Pings and pongs that nobody has asked for.
    Row {
        name: "pongs",
        advisories: &[],
        say: Say::Frames(|| wire::repeat(&wire::frame(0xa, "x"), 1000)),
        ends: &[(TEXTS, End::Ignores)],
    },
];
