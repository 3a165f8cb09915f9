//! The WebSocket decoder, as a server and as a client: the events do not depend on how the bytes
//! are cut, and can be written and read again.

use bytes::BytesMut;
use sio_proto::websocket::{
    Decoder, Error, Event, Limits, Opcode, Role, encode_close, encode_frame, encode_message,
};

use crate::pieces::every_cut_is_the_same;

fn limits() -> Limits {
    Limits::default().max_frame_bytes(256).max_message_bytes(384).max_fragments(8)
}

/// See the [module](self).
pub fn websocket_decoder(data: &[u8]) {
    let limits = limits();
    for role in [Role::Server, Role::Client] {
        let (events, _) = every_cut_is_the_same(data, |more| read(more, role, limits));
        for event in &events {
            match event {
                Event::Text(text) => assert!(text.len() <= limits.max_message_bytes),
                Event::Binary(data) => assert!(data.len() <= limits.max_message_bytes),
                Event::Ping(data) | Event::Pong(data) => assert!(data.len() <= 125),
                Event::Close(frame) => assert!(frame.as_ref().is_none_or(|f| f.reason.len() <= 123)),
            }
        }
        let mask = (role == Role::Server).then_some([0xa5, 0x00, 0x5a, 0xff]);
        assert_eq!(read_back(&events, role, mask), events, "what we write is what we read");
    }
}

fn read(
    more: &mut dyn FnMut(&mut BytesMut) -> bool,
    role: Role,
    limits: Limits,
) -> (Vec<Event>, Result<bool, Error>) {
    let (mut decoder, mut buffer, mut events) = (Decoder::new(role, limits), BytesMut::new(), Vec::new());
    while more(&mut buffer) {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(event)) => {
                    assert!(!matches!(events.last(), Some(Event::Close(_))), "nothing comes after a Close");
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error), "an error is final");
                    return (events, Err(error));
                }
            }
        }
        assert!(decoder.missing_bytes() <= limits.max_frame_bytes);
    }
    (events, Ok(decoder.is_ended()))
}

/// Writes events, with long messages in two frames, and reads them again.
fn read_back(events: &[Event], role: Role, mask: Option<[u8; 4]>) -> Vec<Event> {
    let mut out = BytesMut::new();
    for event in events {
        let (opcode, payload): (Opcode, &[u8]) = match event {
            Event::Text(text) => (Opcode::Text, text.as_bytes()),
            Event::Binary(data) => (Opcode::Binary, data),
            Event::Ping(data) => (Opcode::Ping, data),
            Event::Pong(data) => (Opcode::Pong, data),
            Event::Close(frame) => {
                encode_close(&mut out, frame.as_ref().map(|f| (f.code, &*f.reason)), mask);
                continue;
            }
        };
        if opcode.is_control() || payload.len() < 4 {
            encode_message(&mut out, opcode, payload, mask);
        } else {
            let (first, second) = payload.split_at(payload.len() / 2);
            encode_frame(&mut out, opcode, false, first, mask);
            encode_frame(&mut out, Opcode::Continuation, true, second, mask);
        }
    }
    let mut decoder = Decoder::new(role, limits());
    std::iter::from_fn(|| decoder.decode(&mut out).expect("what we wrote")).collect()
}
