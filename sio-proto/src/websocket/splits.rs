//! Tests: what a stream says, and what is known of it, does not depend on where its bytes were cut.

use alloc::vec;
use alloc::vec::Vec;

use bytes::BytesMut;
use proptest::prelude::*;

use super::decoder::tests::{KEY, decode_all};
use super::decoder::{Decoder, Event, LONG};
use super::encoder::encode_frame;
use super::frame::{Opcode, Role};
use super::limits::Limits;

/// Messages and control frames. The numbers are the lengths of all fragments of a message
/// except the last.
fn messages() -> impl Strategy<Value = Vec<(Event, Vec<usize>)>> {
    let data = prop_oneof![
        "\\PC{0,40}".prop_map(|text| Event::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..140).prop_map(|data| Event::Binary(data.into())),
        (120..132usize, any::<u8>()).prop_map(|(length, byte)| Event::Binary(vec![byte; length].into())),
        prop_oneof![65_530..65_540usize].prop_map(|length| Event::Text("x".repeat(length).into())),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|data| Event::Ping(data.into())),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|data| Event::Pong(data.into())),
    ];
    prop::collection::vec((data, prop::collection::vec(0..30usize, 0..4)), 0..6)
}

fn encode(messages: &[(Event, Vec<usize>)], key: Option<[u8; 4]>) -> BytesMut {
    let mut out = BytesMut::new();
    for (event, cuts) in messages {
        let (mut opcode, payload) = match event {
            Event::Text(text) => (Opcode::Text, text.as_bytes()),
            Event::Binary(data) => (Opcode::Binary, data),
            Event::Ping(data) => (Opcode::Ping, data),
            Event::Pong(data) => (Opcode::Pong, data),
            Event::Close(_) => unreachable!("not generated"),
        };
        let mut rest = &payload[..];
        let cuts = if opcode.is_control() { &[][..] } else { cuts };
        for cut in cuts {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            encode_frame(&mut out, opcode, false, piece, key);
            (opcode, rest) = (Opcode::Continuation, after);
        }
        encode_frame(&mut out, opcode, true, rest, key);
    }
    out
}

/// Bytes that are nearly a stream of frames: some bytes are overwritten, and the end may be cut
/// off.
pub(super) fn damaged(key: Option<[u8; 4]>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (messages(), damage, prop::option::of(any::<prop::sample::Index>())).prop_map(move |(messages, damage, end)| {
        let mut stream = encode(&messages, key).to_vec();
        if stream.is_empty() {
            return stream;
        }
        for (index, byte) in damage {
            let index = index.index(stream.len());
            stream[index] = byte;
        }
        if let Some(end) = end {
            stream.truncate(end.index(stream.len()));
        }
        stream
    })
}

fn key_for(role: Role) -> Option<[u8; 4]> {
    (role == Role::Server).then_some(KEY)
}

proptest! {
    /// What is said of control characters is so, however the text arrives, and it is said of
    /// each long text in one frame with a key.
    #[test]
    fn texts_without_control_characters_are_known(
        texts in prop::collection::vec(("[ -~é]{0,400}", prop::option::weighted(0.3, any::<prop::sample::Index>()), any::<bool>()), 1..5),
        key: [u8; 4],
        cuts in prop::collection::vec(1..300usize, 0..12),
    ) {
        let mut stream = BytesMut::new();
        let mut expected = Vec::new();
        for (text, control, in_pieces) in texts {
            let mut text = text.into_bytes();
            if let Some(control) = control {
                text.insert(0, b' ');
                let place = control.index(text.len());
                if text[place].is_ascii() {
                    text[place] = 0x1f;
                }
            }
            let half = if in_pieces { text.len() / 2 } else { text.len() };
            encode_frame(&mut stream, Opcode::Text, !in_pieces, &text[..half], Some(key));
            if in_pieces {
                encode_frame(&mut stream, Opcode::Continuation, true, &text[half..], Some(key));
            }
            let has_none = text.iter().all(|byte| *byte >= 0x20);
            expected.push((text.clone(), has_none && !in_pieces && text.len() >= LONG && key != [0; 4]));
        }
        let (mut decoder, mut bytes, mut rest) = (Decoder::new(Role::Server, Limits::default()), BytesMut::new(), &stream[..]);
        let mut decoded = Vec::new();
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            bytes.extend_from_slice(piece);
            rest = after;
            while let Some(event) = decoder.decode(&mut bytes).unwrap() {
                let Event::Text(text) = event else { panic!("{event:?}") };
                decoded.push((text.as_bytes().to_vec(), decoder.reader.is_plain()));
            }
        }
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn what_was_encoded_is_decoded(messages in messages(), server: bool, cuts in prop::collection::vec(1..40usize, 0..40)) {
        let role = if server { Role::Server } else { Role::Client };
        let stream = encode(&messages, key_for(role));
        let events = messages.into_iter().map(|(event, _)| event).collect::<Vec<_>>();
        prop_assert_eq!(decode_all(Decoder::new(role, Limits::default()), &stream, cuts), (events, Ok(())));
    }

    #[test]
    fn any_split_gives_the_same(stream in prop_oneof![damaged(None), damaged(Some(KEY)), prop::collection::vec(any::<u8>(), 0..64)],
        server: bool, most in prop_oneof![Just(70_000usize), 0..130usize], most_in_frame in prop_oneof![Just(70_000usize), 0..130usize],
        cuts in prop::collection::vec(1..20usize, 0..60)) {
        let decoder = || {
            let limits = Limits::default().max_message_bytes(most).max_frame_bytes(most_in_frame).max_fragments(4);
            Decoder::new(if server { Role::Server } else { Role::Client }, limits)
        };
        let whole = decode_all(decoder(), &stream, []);
        prop_assert_eq!(&decode_all(decoder(), &stream, cuts), &whole);
        if stream.len() < 1000 {
            prop_assert_eq!(&decode_all(decoder(), &stream, vec![1; stream.len()]), &whole);
        }
    }
}
