//! The decoder compared with `tungstenite`: the same bytes give the same messages and the same
//! result.
//!
//! There are three documented differences, and the tests below check that there are no others:
//! - *Lengths*: this decoder refuses a length that is not in its shortest form; `tungstenite`
//!   accepts it.
//! - *Haste*: this decoder refuses a wrong frame at its first wrong byte; `tungstenite` refuses it
//!   when the whole frame (or its header) has arrived.
//! - *Close codes*: a code that is not allowed on the wire is an error here; `tungstenite` replaces
//!   it, and replaces 1014 too.

extern crate std;

use std::io::{Cursor, Read, Result as IoResult, Write};

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error as TheirError, Message, error::ProtocolError};

use super::decoder::tests::{KEY, decode_all};
use super::splits::damaged;
use super::*;

const MAX_FRAME_BYTES: usize = 66_000;
const MAX_MESSAGE_BYTES: usize = 70_000;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing was wrong; more bytes could come.
    Open,
    /// The stream ends with a Close.
    Closed,
    /// The stream ends with an error.
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

fn ours(role: Role, stream: &[u8]) -> (Vec<Event>, Result<(), Error>) {
    let limits = Limits::default()
        .max_frame_bytes(MAX_FRAME_BYTES)
        .max_message_bytes(MAX_MESSAGE_BYTES);
    decode_all(Decoder::new(role, limits), stream, [])
}

fn theirs(role: Role, stream: Vec<u8>) -> (Vec<Message>, End) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(stream)), role, Some(config));
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

fn compare(role: Role, stream: &[u8]) -> Result<(), TestCaseError> {
    let (events, verdict) = ours(role, stream);
    let (messages, end) = theirs(role, stream.to_vec());
    prop_assert!(events.len() <= messages.len(), "{events:?} {messages:?}");
    prop_assert!(
        events
            .iter()
            .zip(&messages)
            .all(|(event, message)| same(event, message)),
        "{events:?} {messages:?}"
    );
    let more = &messages[events.len()..];
    match verdict {
        Ok(()) => {
            let expected = if matches!(events.last(), Some(Event::Close(_))) {
                End::Closed
            } else {
                End::Open
            };
            prop_assert_eq!((more, end), (&[][..], expected));
        }
        // Lengths: any result of `tungstenite` is accepted. This decoder also refuses a control
        // frame with a long form of its length.
        Err(Error::LengthNotMinimal | Error::ControlTooLong) => {}
        // Close codes: `tungstenite` replaces them, unless the reason is wrong as well.
        Err(Error::CloseCode(_)) => match more {
            [Message::Close(Some(close))] => prop_assert_eq!(u16::from(close.code), 1002),
            _ => prop_assert_eq!((more, end), (&[][..], End::Refused)),
        },
        Err(error) => {
            prop_assert!(more.is_empty(), "{error} {more:?}");
            if end == End::Open {
                // Haste: `tungstenite` refuses the frame too when it is complete.
                let complete = [stream, &vec![0; MAX_FRAME_BYTES + 14]].concat();
                let (messages, end) = theirs(role, complete);
                prop_assert_eq!((messages.len(), end), (events.len(), End::Refused), "{}", error);
            } else {
                prop_assert_eq!(end, End::Refused, "{}", error);
            }
        }
    }
    Ok(())
}

/// A frame in which any part may be wrong, although most parts are right.
#[derive(Clone, Debug)]
struct Wild {
    first: u8,
    masked: bool,
    /// 0 means the shortest form. 2 and 8 mean that the length takes this many bytes.
    length_bytes: usize,
    payload: Vec<u8>,
}

impl Wild {
    fn write(&self, out: &mut BytesMut) {
        let mask = if self.masked { 0x80 } else { 0 };
        let length = self.payload.len();
        match self.length_bytes {
            2 => out.extend(
                [self.first, 126 | mask]
                    .into_iter()
                    .chain((length as u16).to_be_bytes()),
            ),
            8 => out.extend(
                [self.first, 127 | mask]
                    .into_iter()
                    .chain((length as u64).to_be_bytes()),
            ),
            _ => {
                let header = frame::encode_header(length, Opcode::Binary, true, None);
                out.extend(
                    [self.first, header[1] | mask]
                        .into_iter()
                        .chain(header[2..].iter().copied()),
                );
            }
        }
        let start = out.len();
        if self.masked {
            out.extend_from_slice(&KEY);
        }
        let start = start + if self.masked { 4 } else { 0 };
        out.extend_from_slice(&self.payload);
        if self.masked {
            mask::apply(&mut out[start..], KEY);
        }
    }
}

/// Pieces of characters.
const PIECES: &[&[u8]] = &[b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xf0", b"\x9f", b"\x98\x80"];

fn wild(role: Role) -> impl Strategy<Value = Wild> {
    let right = role == Role::Server;
    let first = prop_oneof![
        12 => prop::sample::select(&[0x81u8, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a][..]),
        2 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "\\PC{0,12}".prop_map(alloc::string::String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (3u8..5, any::<u8>(), "\\PC{0,6}").prop_map(|(high, low, text)| [&[high, low], text.as_bytes()].concat()),
        1 => (124..128usize).prop_map(|length| vec![b'x'; length]),
        2 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
    ];
    let masked = prop_oneof![60 => Just(right), 1 => Just(!right)];
    let length_bytes = prop_oneof![60 => Just(0usize), 1 => Just(2usize), 1 => Just(8usize)];
    (first, masked, length_bytes, payload).prop_map(|(first, masked, length_bytes, payload)| Wild {
        first,
        masked,
        length_bytes,
        payload,
    })
}

fn wild_stream(role: Role) -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(wild(role), 0..10),
        prop::option::weighted(0.3, any::<prop::sample::Index>()),
    )
        .prop_map(|(frames, end)| {
            let mut out = BytesMut::new();
            frames.iter().for_each(|frame| frame.write(&mut out));
            if let Some(end) = end.filter(|_| !out.is_empty()) {
                out.truncate(end.index(out.len()));
            }
            out.to_vec()
        })
}

proptest! {
    #![proptest_config(crate::cases::usually(1000))]

    #[test]
    fn a_server_on_wild_frames(stream in wild_stream(Role::Server)) {
        compare(Role::Server, &stream)?;
    }

    #[test]
    fn a_client_on_wild_frames(stream in wild_stream(Role::Client)) {
        compare(Role::Client, &stream)?;
    }

    #[test]
    fn a_server_on_damaged_streams(stream in damaged(Some(KEY))) {
        compare(Role::Server, &stream)?;
    }

    #[test]
    fn a_client_on_damaged_streams(stream in damaged(None)) {
        compare(Role::Client, &stream)?;
    }

    #[test]
    fn what_tungstenite_writes_is_read(text in "\\PC{0,200}", data in prop::collection::vec(any::<u8>(), 0..300), client: bool) {
        struct Sink(Vec<u8>);
        impl Read for Sink {
            fn read(&mut self, _: &mut [u8]) -> IoResult<usize> {
                Ok(0)
            }
        }
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
                self.0.write(bytes)
            }
            fn flush(&mut self) -> IoResult<()> {
                Ok(())
            }
        }
        let (theirs, role) = if client { (TheirRole::Client, Role::Server) } else { (TheirRole::Server, Role::Client) };
        let mut socket = WebSocket::from_raw_socket(Sink(Vec::new()), theirs, None);
        socket.send(Message::text(text.as_str())).unwrap();
        socket.send(Message::binary(data.clone())).unwrap();
        socket.close(None).unwrap();
        let (events, verdict) = ours(role, &socket.get_ref().0);
        prop_assert_eq!(verdict, Ok(()));
        prop_assert_eq!(events, vec![Event::Text(text.into()), Event::Binary(Bytes::from(data)), Event::Close(None)]);
    }
}
