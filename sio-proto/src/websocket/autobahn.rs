//! Cases 1 to 7 and 9.3 of the Autobahn test suite, as tables: the frames that the peer sends and
//! the events that must follow.
//!
//! Each case runs in one piece, byte by byte, and in the pieces that the suite uses. Answers (Pong,
//! Close, echoes) are the caller's task, so a case about an answer checks only the event that the
//! decoder reports.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::decoder::tests::{KEY, decode_all};
use super::*;

/// One frame: opcode, FIN, payload.
type Part<'a> = (Opcode, bool, &'a [u8]);

fn stream(parts: &[Part<'_>]) -> BytesMut {
    let mut out = BytesMut::new();
    for (opcode, fin, payload) in parts {
        encode_frame(&mut out, *opcode, *fin, payload, Some(KEY));
    }
    out
}

fn text(text: &str) -> Event {
    Event::Text(ByteString::from(text))
}

fn binary(data: &[u8]) -> Event {
    Event::Binary(Bytes::copy_from_slice(data))
}

fn ping(data: &[u8]) -> Event {
    Event::Ping(Bytes::copy_from_slice(data))
}

#[track_caller]
fn expect(stream: &[u8], events: &[Event], verdict: Result<(), Error>) {
    for chop in [usize::MAX, 1, 2, 997] {
        let cuts = vec![chop; if chop == usize::MAX { 0 } else { stream.len() / chop }];
        let (seen, result) = decode_all(Decoder::new(Role::Server, Limits::default()), stream, cuts);
        assert_eq!(result, verdict, "in pieces of {chop}");
        assert!(seen == events, "in pieces of {chop}");
    }
}

use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};

#[test]
fn case_1_lengths_at_their_borders() {
    for length in [0, 1, 125, 126, 127, 128, 65535, 65536] {
        let payload = vec![b'*'; length];
        expect(
            &stream(&[(Text, true, &payload)]),
            &[text(core::str::from_utf8(&payload).unwrap())],
            Ok(()),
        );
        let payload = vec![0xfe; length];
        expect(&stream(&[(Binary, true, &payload)]), &[binary(&payload)], Ok(()));
    }
}

#[test]
fn case_2_pings_and_pongs() {
    for payload in [
        &b""[..],
        b"Hello, world!",
        b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        &[0xfe; 125],
    ] {
        expect(&stream(&[(Ping, true, payload)]), &[ping(payload)], Ok(()));
    }
    // 2.5: 126 bytes are too many.
    expect(&[0x89, 0xfe, 0, 126], &[], Err(Error::ControlTooLong));
    // 2.7 to 2.9: unsolicited Pongs.
    let pong = Event::Pong(Bytes::from_static(b"unsolicited"));
    let parts = [(Pong, true, &b"unsolicited"[..]), (Ping, true, b"x")];
    expect(&stream(&parts), &[pong, ping(b"x")], Ok(()));
    // 2.10 and 2.11: ten Pings.
    let payloads = (0..10u8).map(|number| [b'p', number]).collect::<Vec<_>>();
    let parts = payloads
        .iter()
        .map(|payload| (Ping, true, &payload[..]))
        .collect::<Vec<_>>();
    let pings = payloads.iter().map(|payload| ping(payload)).collect::<Vec<_>>();
    expect(&stream(&parts), &pings, Ok(()));
}

#[test]
fn case_3_reserved_bits() {
    for bits in 1..8 {
        for frame in [
            (Text, true, &b"Hello"[..]),
            (Binary, true, b"\x00"),
            (Ping, true, b""),
            (Close, true, b""),
        ] {
            let mut bytes = stream(&[(Text, true, b"before")]);
            let at = bytes.len();
            bytes.unsplit(stream(&[frame, (Ping, true, b"")]));
            bytes[at] |= bits << 4;
            expect(&bytes, &[text("before")], Err(Error::ReservedBits));
        }
    }
}

#[test]
fn case_4_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let mut bytes = stream(&[(Text, true, b"before"), (Ping, true, b"")]);
        let at = bytes.len() - 6;
        bytes[at] = 0x80 | opcode;
        expect(&bytes, &[text("before")], Err(Error::ReservedOpcode(opcode)));
    }
}

#[test]
fn case_5_fragmentation() {
    let (f1, f2) = (&b"fragment1"[..], &b"fragment2"[..]);
    let whole = text("fragment1fragment2");
    // 5.1 and 5.2: fragmented Ping and Pong.
    expect(&stream_unchecked(&[0x09, 0x8a]), &[], Err(Error::FragmentedControl));
    expect(&stream_unchecked(&[0x0a, 0x8a]), &[], Err(Error::FragmentedControl));
    // 5.3 to 5.5, then 5.6 to 5.8 with a Ping between the fragments.
    expect(
        &stream(&[(Text, false, f1), (Continuation, true, f2)]),
        core::slice::from_ref(&whole),
        Ok(()),
    );
    let parts = [(Text, false, f1), (Ping, true, &b"ping"[..]), (Continuation, true, f2)];
    expect(&stream(&parts), &[ping(b"ping"), whole], Ok(()));
    // 5.9 to 5.14: a continuation without a message, with and without FIN, before and after a
    // message.
    for fin in [true, false] {
        let error = Err(Error::UnexpectedContinuation);
        expect(&stream(&[(Continuation, fin, f1), (Text, true, f2)]), &[], error);
        expect(
            &stream(&[(Text, true, f2), (Continuation, fin, f1)]),
            &[text("fragment2")],
            error,
        );
    }
    // 5.15: a complete message in two parts, then a continuation without a message.
    let parts = [
        (Text, false, f1),
        (Continuation, true, f2),
        (Continuation, false, f1),
        (Text, true, f2),
    ];
    expect(
        &stream(&parts),
        &[text("fragment1fragment2")],
        Err(Error::UnexpectedContinuation),
    );
    // 5.18: a second text message inside the first.
    expect(
        &stream(&[(Text, false, f1), (Text, true, f2)]),
        &[],
        Err(Error::ExpectedContinuation),
    );
    expect(
        &stream(&[(Binary, false, f1), (Text, false, f2)]),
        &[],
        Err(Error::ExpectedContinuation),
    );
    // 5.19 and 5.20: five fragments with Pings.
    let parts = [
        (Text, false, &b"fragment1"[..]),
        (Continuation, false, b"fragment2"),
        (Ping, true, b"pongme 1!"),
        (Continuation, false, b"fragment3"),
        (Continuation, false, b"fragment4"),
        (Ping, true, b"pongme 2!"),
        (Continuation, true, b"fragment5"),
    ];
    let message = text("fragment1fragment2fragment3fragment4fragment5");
    expect(
        &stream(&parts),
        &[ping(b"pongme 1!"), ping(b"pongme 2!"), message],
        Ok(()),
    );
}

/// Masked empty frames with these first bytes.
fn stream_unchecked(first: &[u8]) -> Vec<u8> {
    first.iter().flat_map(|first| [*first, 0x80, 1, 2, 3, 4]).collect()
}

#[test]
fn case_6_1_empty_fragments() {
    let empty = &b""[..];
    expect(&stream(&[(Text, true, empty)]), &[text("")], Ok(()));
    let parts = [
        (Text, false, empty),
        (Continuation, false, empty),
        (Continuation, true, empty),
    ];
    expect(&stream(&parts), &[text("")], Ok(()));
    let parts = [
        (Text, false, empty),
        (Continuation, false, b"middle frame payload"),
        (Continuation, true, empty),
    ];
    expect(&stream(&parts), &[text("middle frame payload")], Ok(()));
}

#[test]
fn case_6_2_text_cut_between_and_within_characters() {
    let message = "Hello-µ@ßöäüàá-UTF-8!!";
    for cut in 0..=message.len() {
        let (first, second) = message.as_bytes().split_at(cut);
        expect(
            &stream(&[(Text, false, first), (Continuation, true, second)]),
            &[text(message)],
            Ok(()),
        );
    }
    let parts = "κόσμε".as_bytes();
    let last = parts.len() - 1;
    let parts = parts
        .chunks(1)
        .enumerate()
        .map(|(index, byte)| (if index == 0 { Text } else { Continuation }, index == last, byte));
    expect(&stream(&parts.collect::<Vec<_>>()), &[text("κόσμε")], Ok(()));
}

/// 6.3, 6.5 to 6.23: whole texts that are not UTF-8.
const INVALID: &[&[u8]] = &[
    // 6.3.1
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    // 6.6: cut in the middle.
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\xce\xba\xe1\xbd\xb9\xcf",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce",
    // 6.8: first possible sequences of length 5 and 6.
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    // 6.10: last possible sequences of length 4, 5 and 6.
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    // 6.11.5
    b"\xf4\x90\x80\x80",
    // 6.12: unexpected continuation bytes.
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80\xbf\x80\xbf\x80\xbf",
    // 6.13: lonely start characters.
    b"\xc0 \xc1 \xc2 \xc3 \xc4 \xdf ",
    b"\xe0 \xe1 \xe2 \xef ",
    b"\xf0 \xf1 \xf7 ",
    b"\xf8 \xf9 ",
    b"\xfc ",
    // 6.14: sequences with the last byte missing; 6.15: several of them.
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
    b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80",
    // 6.16: impossible bytes.
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    // 6.17 to 6.19: overlong sequences.
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xfc\x83\xbf\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xf8\x80\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80\x80",
    // 6.20 and 6.21: surrogates, alone and in pairs.
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbe\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
];

#[test]
fn case_6_invalid_texts() {
    for payload in INVALID {
        expect(&stream(&[(Text, true, payload)]), &[], Err(Error::InvalidUtf8));
        let (first, second) = payload.split_at(payload.len() / 2);
        expect(
            &stream(&[(Text, false, first), (Continuation, true, second)]),
            &[],
            Err(Error::InvalidUtf8),
        );
        expect(&stream(&[(Binary, true, payload)]), &[binary(payload)], Ok(()));
    }
}

#[test]
fn case_6_valid_texts() {
    let texts = [
        // 6.5 to 6.7, 6.9, 6.11: the first and last characters of every length.
        "κόσμε",
        "\0",
        "\u{80}",
        "\u{800}",
        "\u{10000}",
        "\u{7f}",
        "\u{7ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        // 6.22: non-characters are characters; 6.23: the replacement character, three times.
        "\u{fffe}",
        "\u{1fffe}",
        "\u{1ffff}",
        "\u{2fffe}",
        "\u{fdd0}",
        "\u{10fffe}",
        "\u{fffd}\u{fffd}\u{fffd}",
    ];
    for message in texts {
        expect(&stream(&[(Text, true, message.as_bytes())]), &[text(message)], Ok(()));
    }
}

#[test]
fn case_6_4_fails_fast() {
    let before = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
    // The payload, and the index of the byte after which no continuation can repair it.
    let cases: &[(&[u8], usize)] = &[
        (b"\xf4\x90\x80\x80edited", before.len() + 1),
        (b"\xed\xa0\x80edited", before.len() + 1),
        (b"\xffedited", before.len()),
        (b"\xe2\x82a", before.len() + 2),
    ];
    for (after, fatal) in cases {
        let payload = [before, *after].concat();
        // 6.4.3 and 6.4.4: the payload arrives in pieces of one frame. 6.4.1 and 6.4.2: it arrives
        // in fragments.
        let fragments = payload.len();
        for whole in [true, false] {
            let bytes = if whole {
                stream(&[(Text, true, &payload)])
            } else {
                let parts = payload.chunks(1).enumerate();
                let parts = parts.map(|(index, byte)| {
                    (
                        if index == 0 { Text } else { Continuation },
                        index + 1 == fragments,
                        byte,
                    )
                });
                stream(&parts.collect::<Vec<_>>())
            };
            let position = if whole { 6 + fatal } else { 7 * fatal + 6 };
            let mut decoder = Decoder::new(Role::Server, Limits::default());
            let mut buffer = BytesMut::new();
            for (index, byte) in bytes.iter().enumerate().take(position + 1) {
                buffer.extend_from_slice(&[*byte]);
                let verdict = if index == position {
                    Err(Error::InvalidUtf8)
                } else {
                    Ok(None)
                };
                assert_eq!(decoder.decode(&mut buffer), verdict, "byte {index}");
            }
        }
    }
}

#[test]
fn case_7_close() {
    let close = |code, reason: &str| {
        let code = CloseCode::new(code).unwrap();
        Event::Close(Some(CloseFrame {
            code,
            reason: ByteString::from(reason),
        }))
    };
    // 7.1: frames after a Close are ignored, and an open message is not finished (7.1.5).
    expect(
        &stream(&[(Close, true, b""), (Ping, true, b""), (Text, true, b"\xff")]),
        &[Event::Close(None)],
        Ok(()),
    );
    let parts = [
        (Text, false, &b"fragment1"[..]),
        (Close, true, b""),
        (Continuation, true, b"fragment2"),
    ];
    expect(&stream(&parts), &[Event::Close(None)], Ok(()));
    // 7.3: payloads of 0, 1, 2 bytes, with a reason, with the longest reason and with one byte
    // more.
    expect(&stream(&[(Close, true, b"\x03")]), &[], Err(Error::CloseLength));
    expect(&stream(&[(Close, true, b"\x03\xe8")]), &[close(1000, "")], Ok(()));
    expect(
        &stream(&[(Close, true, b"\x03\xe8Hello World!")]),
        &[close(1000, "Hello World!")],
        Ok(()),
    );
    let reason = "*".repeat(123);
    let payload = [b"\x03\xe8", reason.as_bytes()].concat();
    expect(&stream(&[(Close, true, &payload)]), &[close(1000, &reason)], Ok(()));
    expect(&[0x88, 0xfe, 0, 126], &[], Err(Error::ControlTooLong));
    // 7.5: a reason that is not UTF-8.
    let payload = b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    expect(&stream(&[(Close, true, payload)]), &[], Err(Error::CloseReason));
    // 7.7, 7.9 and 7.13.
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        expect(
            &stream(&[(Close, true, &u16::to_be_bytes(code))]),
            &[close(code, "")],
            Ok(()),
        );
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        expect(
            &stream(&[(Close, true, &u16::to_be_bytes(code))]),
            &[],
            Err(Error::CloseCode(code)),
        );
    }
}

#[test]
fn case_9_3_a_big_message_in_small_fragments() {
    let payload = vec![b'*'; 4 << 20];
    let parts = payload.chunks(64).enumerate();
    let last = payload.len() / 64 - 1;
    let parts = parts.map(|(index, piece)| (if index == 0 { Text } else { Continuation }, index == last, piece));
    let bytes = stream(&parts.collect::<Vec<_>>());
    let limits = Limits::default().max_message_bytes(4 << 20);
    let (events, verdict) = decode_all(Decoder::new(Role::Server, limits), &bytes, vec![65536; 100]);
    assert_eq!(verdict, Ok(()));
    assert!(events == [text(core::str::from_utf8(&payload).unwrap())]);
}
