//! The rows of a store: what is kept for recovery, as keys and values.
//!
//! ```text
//!   key                          value
//!   0 'v'                        the format, the key of ids, and how packets are written
//!   0 'a'                        the last time when the process was alive
//!   1 namespace                  its name and epochs
//!   2 namespace                  the number of its last message
//!   3 record stay                a room of a socket, and from which message to which
//!   4 record                     the socket: ids, secret, until when its client is waited for
//!   5 record name                a value of the application that it keeps with the socket
//!   6 namespace 0|1 room         up to which number messages to everybody, or to a room, are gone
//!   7 namespace number           a message: for whom, until when, and its packets
//!   8 record                     when the socket's credentials end, and the id of the application
//! ```
//! Numbers are big-endian, so the order of keys is that in which a process needs the rows. Times
//! are milliseconds since the beginning of the year 1970. Each value ends with a check of 8 bytes
//! over the key and the value, so that a damaged value is recognised whatever the store does.
//!
//! A change of this format needs a new number ([`FORMAT`]).

use std::borrow::Cow;

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::recovery::{Audience, Change, Entry, SavedNamespace, SavedRecord};
use sio_proto::server::{Form, Kept, Message};
use sio_proto::socket::Args;
use sio_proto::{Arena, Config, Time};

use crate::store::Row;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;

/// The number of the format.
pub(super) const FORMAT: u32 = 3;

/// The key of the row with the format.
pub(super) const HEAD: &[u8] = b"\0v";

/// A clock of dates, as a difference to the clock of the process. It is read once, so that a jump
/// of the machine's clock does not end anybody's time.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    /// Milliseconds from the beginning of 1970 to the start of the clock of the process.
    start: u64,
}

impl Dates {
    pub(super) const fn new(now: Time, unix_time: u64) -> Self {
        Self {
            start: (unix_time * 1000).saturating_sub(now.as_micros() / 1000),
        }
    }

    pub(super) const fn date(self, time: Time) -> u64 {
        self.start + time.as_micros() / 1000
    }

    /// The time of a date. Dates before the start of the clock are the start.
    pub(super) const fn time(self, date: u64) -> Time {
        Time::from_millis(date.saturating_sub(self.start))
    }
}

/// Something that a store has to know.
pub(super) enum Noted {
    Change(Change),
    Message {
        namespace: u32,
        sequence: u64,
        at: Time,
        until: Time,
        audience: Audience,
        message: Kept,
    },
    /// A value of the application. `None` removes it.
    Value {
        record: u64,
        name: Cow<'static, str>,
        json: Option<Vec<u8>>,
    },
    /// When the credentials of a socket end, and the id that the application has made for it. If it
    /// has neither, there is no row.
    Socket {
        record: u64,
        expires: Option<Time>,
        id: Option<SocketId>,
    },
    /// The process is alive.
    Alive(Time),
    Head(Head),
}

/// What a process has to know before it reads anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The key of ids.
    pub(super) id_key: [u8; 16],
    /// How packets are written, as a hash ([`print_of`]).
    pub(super) print: u64,
}

/// Returns a hash of how packets for clients of 4.x are written. It differs if the parser of the
/// config differs. Packets that another parser has written must not reach a client.
pub(super) fn print_of(config: &Config) -> u64 {
    let args = Args {
        json: "1,\"a\"".into(),
        ..Args::default()
    };
    let mut message = Message::event("/print".into(), "print".into(), args, None);
    // A parser that cannot write this writes nothing that could be kept.
    let _ = message.encode(Form::Engine4, config, &mut BytesMut::new());
    let kept = message.kept(&mut Arena::default());
    let packets = kept.iter().flat_map(|(kept, _)| kept.payloads());
    packets.fold(0, |print: u64, (payload, is_binary)| {
        print.rotate_left(1) ^ check(&[is_binary.into()], payload)
    })
}

impl Noted {
    /// What belongs to the socket of the record with this number.
    pub(super) fn socket(record: u64, socket: &SocketCell) -> Self {
        Self::Socket {
            record,
            expires: socket.expiry(),
            id: (socket.id() != socket.drawn_id()).then(|| socket.id().clone()),
        }
    }

    /// A message that is kept in the namespace with this number.
    pub(super) fn message(namespace: u32, entry: &Entry<Kept>) -> Self {
        Self::Message {
            namespace,
            sequence: entry.sequence,
            at: entry.at,
            until: entry.until,
            audience: entry.audience().clone(),
            message: entry.message.clone(),
        }
    }

    /// About what it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        let of_names = |names: &[ByteString]| names.iter().map(|name| name.len() + size_of::<ByteString>()).sum();
        let own = match self {
            Self::Message { message, audience, .. } => {
                let names: usize = [&audience.rooms, &audience.except]
                    .map(|names| of_names(names))
                    .iter()
                    .sum();
                message.bytes() + names
            }
            Self::Value { json, .. } => json.as_ref().map_or(0, Vec::len),
            Self::Change(Change::Stay(stay)) => stay.room.len(),
            Self::Change(Change::Pruned { room, .. }) => room.as_ref().map_or(0, |room| room.len()),
            Self::Change(Change::Namespace(saved)) => saved.name.len() + saved.epochs.len() * size_of::<(u32, u64)>(),
            Self::Change(_) | Self::Alive(_) | Self::Head(_) | Self::Socket { .. } => 0,
        };
        own + size_of::<Self>()
    }

    /// The row that is written. A value of the application is not copied for it.
    pub(super) fn row(self, dates: Dates) -> Row {
        let mut key = Vec::with_capacity(16);
        let mut value = Vec::new();
        let mut is_gone = false;
        match self {
            Self::Head(Head { id_key, print }) => {
                key.extend_from_slice(HEAD);
                value.extend_from_slice(&FORMAT.to_be_bytes());
                value.extend_from_slice(&id_key);
                value.extend_from_slice(&print.to_be_bytes());
            }
            Self::Socket { record, expires, id } => {
                key.push(8);
                key.extend_from_slice(&record.to_be_bytes());
                let date = expires.map_or(u64::MAX, |at| dates.date(at));
                value.extend_from_slice(&date.to_be_bytes());
                value.extend_from_slice(id.as_ref().map_or(b"", |id| id.as_str().as_bytes()));
                is_gone = expires.is_none() && id.is_none();
            }
            Self::Alive(now) => {
                key.extend_from_slice(b"\0a");
                value.extend_from_slice(&dates.date(now).to_be_bytes());
            }
            Self::Change(change) => is_gone = !write_change(&change, dates, &mut key, &mut value),
            Self::Value { record, name, json } => {
                key.push(5);
                key.extend_from_slice(&record.to_be_bytes());
                key.extend_from_slice(name.as_bytes());
                match json {
                    Some(json) => value = json,
                    None => is_gone = true,
                }
            }
            Self::Message {
                namespace,
                sequence,
                at,
                until,
                audience,
                message,
            } => {
                message_key(&mut key, namespace, sequence);
                value.extend_from_slice(&dates.date(at).to_be_bytes());
                value.extend_from_slice(&dates.date(until).to_be_bytes());
                put_names(&mut value, &audience.rooms);
                put_names(&mut value, &audience.except);
                for (payload, is_binary) in message.payloads() {
                    value.push(is_binary.into());
                    put_bytes(&mut value, payload);
                }
            }
        }
        let value = (!is_gone).then(|| {
            let check = check(&key, &value);
            value.extend_from_slice(&check.to_be_bytes());
            value
        });
        Row { key, value }
    }
}

impl Noted {
    /// Removes the rows that go with a row: the values of a record, and the numbers of a namespace.
    /// `names` are the names of values.
    pub(super) fn rows_below<'a>(&self, names: impl Iterator<Item = &'a str>, rows: &mut Vec<Row>) {
        let mut remove = |kind: u8, number: &[u8], rest: &[u8]| {
            let key = [&[kind][..], number, rest].concat();
            rows.push(Row { key, value: None });
        };
        match self {
            Self::Change(Change::RecordGone { record }) => {
                names.for_each(|name| remove(5, &record.to_be_bytes(), name.as_bytes()));
                remove(8, &record.to_be_bytes(), &[]);
            }
            Self::Change(Change::NamespaceGone { namespace }) => {
                remove(2, &namespace.to_be_bytes(), &[]);
                remove(6, &namespace.to_be_bytes(), &[0]);
            }
            _ => {}
        }
    }
}

fn message_key(key: &mut Vec<u8>, namespace: u32, sequence: u64) {
    key.push(7);
    key.extend_from_slice(&namespace.to_be_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
}

/// Writes the row of a change. Returns false if the row goes.
fn write_change(change: &Change, dates: Dates, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
    let mut numbered = |kind: u8, number: &[u8]| {
        key.push(kind);
        key.extend_from_slice(number);
    };
    match change {
        Change::Namespace(SavedNamespace { number, name, epochs }) => {
            numbered(1, &number.to_be_bytes());
            put_bytes(value, name.as_bytes());
            for (epoch, first) in epochs {
                value.extend_from_slice(&epoch.to_be_bytes());
                value.extend_from_slice(&first.to_be_bytes());
            }
        }
        Change::NamespaceGone { namespace } => {
            numbered(1, &namespace.to_be_bytes());
            return false;
        }
        Change::Counted { namespace, last } => {
            numbered(2, &namespace.to_be_bytes());
            value.extend_from_slice(&last.to_be_bytes());
        }
        Change::Dropped { namespace, sequence } => {
            message_key(key, *namespace, *sequence);
            return false;
        }
        Change::Pruned {
            namespace,
            room,
            sequence,
        } => {
            numbered(6, &namespace.to_be_bytes());
            key.push(room.is_some().into());
            key.extend_from_slice(room.as_ref().map_or(b"", |room| room.as_bytes()));
            value.extend_from_slice(&sequence.to_be_bytes());
            return *sequence > 0;
        }
        Change::Record(record) => {
            numbered(4, &record.number.to_be_bytes());
            put_record(value, record, dates);
        }
        Change::RecordGone { record } => {
            numbered(4, &record.to_be_bytes());
            return false;
        }
        Change::Stay(stay) => {
            numbered(3, &stay.record.to_be_bytes());
            key.extend_from_slice(&stay.ordinal.to_be_bytes());
            value.extend_from_slice(&stay.from.to_be_bytes());
            value.extend_from_slice(&stay.until.unwrap_or(u64::MAX).to_be_bytes());
            value.extend_from_slice(stay.room.as_bytes());
        }
        Change::StayGone { record, ordinal } => {
            numbered(3, &record.to_be_bytes());
            key.extend_from_slice(&ordinal.to_be_bytes());
            return false;
        }
    }
    true
}

fn put_record(value: &mut Vec<u8>, record: &SavedRecord, dates: Dates) {
    value.extend_from_slice(&record.namespace.to_be_bytes());
    value.extend_from_slice(&record.secret);
    value.extend_from_slice(&record.sid.base64());
    value.extend_from_slice(&record.network.to_be_bytes());
    value.extend_from_slice(&record.start.to_be_bytes());
    value.extend_from_slice(&record.forgotten.to_be_bytes());
    value.push(record.spoilt.into());
    value.extend_from_slice(&record.heard.to_be_bytes());
    let until = record.away_until.map_or(0, |until| dates.date(until).max(1));
    value.extend_from_slice(&until.to_be_bytes());
}

fn put_bytes(value: &mut Vec<u8>, bytes: &[u8]) {
    value.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    value.extend_from_slice(bytes);
}

fn put_names(value: &mut Vec<u8>, names: &[ByteString]) {
    value.extend_from_slice(&(names.len() as u32).to_be_bytes());
    names.iter().for_each(|name| put_bytes(value, name.as_bytes()));
}

/// FNV-1a: each step is reversible, so one wrong byte is always noticed.
pub(crate) fn check(key: &[u8], value: &[u8]) -> u64 {
    let bytes = key.iter().chain(value);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
