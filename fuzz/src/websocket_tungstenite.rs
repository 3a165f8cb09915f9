//! The WebSocket decoder, as a server and as a client, against `tungstenite`: the same bytes give
//! the same messages and the same end.
//!
//! There are three documented differences, as in `sio-proto/src/websocket/differential.rs`: this
//! decoder refuses a length that is not in its shortest form; it refuses a wrong frame at its first
//! wrong byte, where `tungstenite` waits for the frame; and it refuses a close code that is not
//! allowed on the wire, where `tungstenite` replaces it.

use std::io::{Cursor, Read, Result as IoResult, Write};

use bytes::BytesMut;
use sio_proto::websocket::{CloseCode, Decoder, Error, Event, Limits, Role};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error as TheirError, Message};

const MAX_FRAME_BYTES: usize = 1000;
const MAX_MESSAGE_BYTES: usize = 1500;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Nothing was wrong; more bytes could come.
    Open,
    Closed,
    Refused,
}

/// A stream that yields these bytes and discards the answers.
struct Wire(Cursor<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> IoResult<usize> {
        self.0.read(out)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

/// See the [module](self).
pub fn websocket_tungstenite(data: &[u8]) {
    compare(Role::Server, data);
    compare(Role::Client, data);
}

fn ours(role: Role, data: &[u8]) -> (Vec<Event>, Result<(), Error>) {
    let limits = Limits::default()
        .max_frame_bytes(MAX_FRAME_BYTES)
        .max_message_bytes(MAX_MESSAGE_BYTES)
        .max_fragments(u32::MAX);
    let (mut decoder, mut buffer, mut events) = (Decoder::new(role, limits), BytesMut::from(data), Vec::new());
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, Ok(())),
            Err(error) => return (events, Err(error)),
        }
    }
}

fn theirs(role: Role, data: Vec<u8>) -> (Vec<Message>, End) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(data)), role, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => {
                let is_close = message.is_close();
                messages.push(message);
                if is_close {
                    return (messages, End::Closed);
                }
            }
            Err(TheirError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (messages, End::Open),
            Err(_) => return (messages, End::Refused),
        }
    }
}

fn same(event: &Event, message: &Message) -> bool {
    match (event, message) {
        (Event::Text(ours), Message::Text(theirs)) => **ours == *theirs.as_str(),
        (Event::Binary(ours), Message::Binary(theirs))
        | (Event::Ping(ours), Message::Ping(theirs))
        | (Event::Pong(ours), Message::Pong(theirs)) => ours == theirs,
        (Event::Close(None), Message::Close(None)) => true,
        (Event::Close(Some(ours)), Message::Close(Some(theirs))) => {
            let code = u16::from(theirs.code);
            (code == ours.code.get() && *ours.reason == *theirs.reason.as_str())
                || (ours.code == CloseCode::BAD_GATEWAY && code == 1002)
        }
        _ => false,
    }
}

fn compare(role: Role, data: &[u8]) {
    let (events, verdict) = ours(role, data);
    let (messages, end) = theirs(role, data.to_vec());
    assert!(events.len() <= messages.len(), "{role:?} {events:?} {messages:?}");
    let pairs = events.iter().zip(&messages);
    assert!(pairs.into_iter().all(|(event, message)| same(event, message)), "{role:?} {events:?} {messages:?}");
    let more = &messages[events.len()..];
    match verdict {
        Ok(()) => {
            let is_closed = matches!(events.last(), Some(Event::Close(_)));
            let expected = if is_closed { End::Closed } else { End::Open };
            assert_eq!((more, end), (&[][..], expected), "{role:?}");
        }
        // Any result of `tungstenite` is accepted. This decoder also refuses a control frame with a
        // long form of its length.
        Err(Error::LengthNotMinimal | Error::ControlTooLong) => {}
        Err(Error::CloseCode(_)) => match more {
            [Message::Close(Some(close))] => assert_eq!(u16::from(close.code), 1002),
            _ => assert_eq!((more, end), (&[][..], End::Refused), "{role:?}"),
        },
        Err(error) => {
            assert!(more.is_empty(), "{role:?} {error} {more:?}");
            if end == End::Open {
                // `tungstenite` refuses the frame too when it is complete.
                let complete = [data, &vec![0; MAX_FRAME_BYTES + 14]].concat();
                let (messages, end) = theirs(role, complete);
                assert_eq!((messages.len(), end), (events.len(), End::Refused), "{role:?} {error}");
            } else {
                assert_eq!(end, End::Refused, "{role:?} {error}");
            }
        }
    }
}
