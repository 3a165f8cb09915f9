//! What is written to a store is read as it was, and nothing else is: whatever a store returns, a
//! row is refused, or is one that could have been written.

use std::borrow::Cow;

use bytes::BytesMut;
use bytestring::ByteString;
use proptest::prelude::*;
use proptest::sample::Index;
use sio_proto::recovery::{Audience, Change, SavedNamespace, SavedRecord, SavedStay};
use sio_proto::server::Kept;
use sio_proto::{Frame, Sid, Time};

use super::Found;
use crate::store::{Row, StoreError};
use crate::turn::rows::{Dates, Head, Noted, check};
use crate::turn::socket_id::SocketId;

/// The clock began with the year 1970, so a date is a time.
const DATES: Dates = Dates::new(Time::ZERO, 0);

/// Later dates are no times, because a time has microseconds.
const LAST_DATE: u64 = u64::MAX / 1000;

/// Cases of each property, unless the environment says how many.
const CASES: u32 = 10_000;

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            given.cases
        } else {
            CASES
        },
        failure_persistence: None,
        ..given
    }
}

/// Writes what was read.
fn written(found: Found) -> Row {
    let noted = match found {
        Found::Head(head) => Noted::Head(head),
        Found::Alive(date) => Noted::Alive(DATES.time(date)),
        Found::Namespace(saved) => Noted::Change(Change::Namespace(saved)),
        Found::Counted { namespace, last } => Noted::Change(Change::Counted { namespace, last }),
        Found::Stay(saved) => Noted::Change(Change::Stay(saved)),
        Found::Record(mut saved, until) => {
            saved.away_until = (until > 0).then(|| DATES.time(until));
            Noted::Change(Change::Record(saved))
        }
        Found::Value { record, name, json } => Noted::Value {
            record,
            name: Cow::Owned(name),
            json: Some(json),
        },
        Found::Socket { record, expires, id } => Noted::Socket {
            record,
            expires: expires.map(|date| DATES.time(date)),
            id,
        },
        Found::Pruned {
            namespace,
            room,
            sequence,
        } => Noted::Change(Change::Pruned {
            namespace,
            room,
            sequence,
        }),
        Found::Message {
            namespace,
            sequence,
            at,
            until,
            audience,
            frames,
        } => Noted::Message {
            namespace,
            sequence,
            at: DATES.time(at),
            until: DATES.time(until),
            audience,
            message: Kept::of_frames(frames).expect("a message has packets").0,
        },
    };
    noted.row(DATES)
}

/// The dates of a row.
fn dates(found: &Found) -> [u64; 2] {
    match found {
        Found::Alive(date) | Found::Record(_, date) => [*date, 0],
        Found::Socket { expires, .. } => [expires.unwrap_or(0), 0],
        Found::Message { at, until, .. } => [*at, *until],
        _ => [0, 0],
    }
}

/// About how many bytes of memory a row takes.
fn memory(found: &Found) -> usize {
    let names = |names: &Vec<ByteString>| {
        let texts: usize = names.iter().map(|name| name.len()).sum();
        names.capacity() * size_of::<ByteString>() + texts
    };
    match found {
        Found::Namespace(saved) => saved.name.len() + saved.epochs.capacity() * size_of::<(u32, u64)>(),
        Found::Stay(saved) => saved.room.len(),
        Found::Value { name, json, .. } => name.capacity() + json.capacity(),
        Found::Socket { id, .. } => id.as_ref().map_or(0, |id| id.as_str().len()),
        Found::Pruned { room, .. } => room.as_ref().map_or(0, |room| room.len()),
        Found::Message { audience, frames, .. } => {
            let packets: usize = frames.iter().map(|frame| frame.payload().len() + 64).sum();
            names(&audience.rooms) + names(&audience.except) + frames.capacity() * size_of::<Frame>() + packets
        }
        Found::Head(_) | Found::Alive(_) | Found::Counted { .. } | Found::Record(..) => 0,
    }
}

/// A row with a right check.
fn checked(key: &[u8], body: &[u8]) -> Row {
    Row {
        key: key.to_vec(),
        value: Some([body, &check(key, body).to_be_bytes()].concat()),
    }
}

fn read(row: &Row) -> Result<Found, StoreError> {
    Found::read(&row.key, row.value.as_deref().expect("a row that is there"))
}

/// Reads a row with a right check, whatever is in it.
fn is_refused_or_written(row: &Row) -> Result<(), TestCaseError> {
    match read(row) {
        Err(StoreError::Damaged(_) | StoreError::Foreign(_)) => {}
        Err(other) => return Err(TestCaseError::fail(format!("{other}"))),
        Ok(found) => {
            let bytes = row.key.len() + row.value.as_ref().map_or(0, Vec::len);
            let memory = memory(&found);
            prop_assert!(memory <= 20 * bytes + 256, "{} bytes for {} of a row", memory, bytes);
            if dates(&found).iter().all(|date| *date <= LAST_DATE) {
                prop_assert_eq!(&written(found), row);
            }
        }
    }
    Ok(())
}

fn date() -> impl Strategy<Value = u64> {
    prop_oneof![0..3u64, 1_000_000_000_000..2_000_000_000_000u64, 0..=LAST_DATE]
}

fn name() -> impl Strategy<Value = ByteString> {
    "[a-zé/😀]{0,6}".prop_map(ByteString::from)
}

fn sid() -> impl Strategy<Value = Sid> {
    "[A-Za-z0-9_-]{20}".prop_filter_map("no id", |text| Sid::parse(&text))
}

fn id() -> impl Strategy<Value = SocketId> {
    prop_oneof![
        "[a-zé]{1,8}".prop_map(|name| SocketId::named(&name)),
        sid().prop_map(SocketId::new)
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let write = |bytes: &[u8], is_binary: bool| {
        let (mut scratch, write) = (BytesMut::new(), |out: &mut BytesMut| out.extend_from_slice(bytes));
        match is_binary {
            true => Frame::binary(&mut scratch, write),
            false => Frame::text(&mut scratch, write),
        }
    };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(move |bytes| write(&bytes, true)),
        "[ -~é😀]{0,130}".prop_map(move |text| write(text.as_bytes(), false)),
    ]
}

fn message() -> impl Strategy<Value = Found> {
    let names = || prop::collection::vec(name(), 0..4);
    let audience = (names(), names()).prop_map(|(rooms, except)| Audience { rooms, except });
    let parts = (
        any::<u32>(),
        any::<u64>(),
        date(),
        date(),
        audience,
        prop::collection::vec(frame(), 1..4),
    );
    parts.prop_map(|(namespace, sequence, at, until, audience, frames)| Found::Message {
        namespace,
        sequence,
        at,
        until,
        audience,
        frames,
    })
}

fn record() -> impl Strategy<Value = Found> {
    let parts = (
        any::<(u64, u32, [u8; 18], u128)>(),
        sid(),
        any::<(u64, u64, bool, u64)>(),
        date(),
    );
    parts.prop_map(
        |((number, namespace, secret, network), sid, (start, forgotten, spoilt, heard), until)| {
            let record = SavedRecord {
                number,
                namespace,
                secret,
                sid,
                network,
                start,
                forgotten,
                spoilt,
                heard,
                away_until: None,
            };
            Found::Record(record, until)
        },
    )
}

/// Everything that can be read.
fn any_found() -> impl Strategy<Value = Found> {
    let epochs = prop::collection::vec(any::<(u32, u64)>(), 0..4);
    let expires = prop::option::of(date());
    prop_oneof![
        any::<([u8; 16], u64)>().prop_map(|(id_key, print)| Found::Head(Head { id_key, print })),
        date().prop_map(Found::Alive),
        (any::<u32>(), name(), epochs).prop_map(|(number, name, epochs)| Found::Namespace(SavedNamespace {
            number,
            name,
            epochs
        })),
        any::<(u32, u64)>().prop_map(|(namespace, last)| Found::Counted { namespace, last }),
        (any::<(u64, u32, u64)>(), prop::option::of(0..u64::MAX), name()).prop_map(
            |((record, ordinal, from), until, room)| Found::Stay(SavedStay {
                record,
                ordinal,
                room,
                from,
                until,
            })
        ),
        record(),
        (any::<u64>(), "[a-zé]{0,8}", any::<Vec<u8>>()).prop_map(|(record, name, json)| Found::Value {
            record,
            name,
            json
        }),
        (any::<u64>(), expires, id()).prop_map(|(record, expires, id)| Found::Socket {
            record,
            expires,
            id: Some(id).filter(|_| expires.is_none_or(|date| date % 2 == 0)),
        }),
        (any::<u32>(), prop::option::of(name()), 1..=u64::MAX).prop_map(|(namespace, room, sequence)| {
            Found::Pruned {
                namespace,
                room,
                sequence,
            }
        }),
        message(),
    ]
}

/// What happens to bytes.
#[derive(Clone, Debug)]
enum Harm {
    Change(Index, u8),
    Cut(Index),
    Remove(Index),
    Insert(Index, u8),
    Append(Vec<u8>),
}

impl Harm {
    fn happen(&self, bytes: &mut Vec<u8>) {
        match self {
            _ if bytes.is_empty() => bytes.push(0),
            Self::Change(at, by) => {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Append(more) => bytes.extend_from_slice(more),
        }
    }
}

fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let harm = prop_oneof![
        4 => (any::<Index>(), 1..=255u8).prop_map(|(at, by)| Harm::Change(at, by)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => any::<Index>().prop_map(Harm::Remove),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Insert(at, byte)),
        1 => prop::collection::vec(any::<u8>(), 1..12).prop_map(Harm::Append),
    ];
    prop::collection::vec(harm, 1..4)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read_as_it_was(found in any_found()) {
        let row = written(found.clone());
        prop_assert_eq!(read(&row).expect("what was written"), found);
    }

    /// A row that a disk has changed is refused.
    #[test]
    fn a_damaged_row_is_refused(found in any_found(), of_key in any::<bool>(), harms in harms()) {
        let whole = written(found);
        let mut row = whole.clone();
        let bytes = if of_key { Some(&mut row.key) } else { row.value.as_mut() };
        let bytes = bytes.expect("a row that is there");
        harms.iter().for_each(|harm| harm.happen(bytes));
        if row != whole {
            prop_assert!(matches!(read(&row), Err(StoreError::Damaged(_))), "{:?}", row);
        }
    }

    /// If the check is right although the row is not, the row is refused or is another one that
    /// could have been written, and takes little memory.
    #[test]
    fn a_wrong_row_with_a_right_check_is_refused_or_could_have_been_written(
        found in any_found(),
        of_key in any::<bool>(),
        harms in harms(),
    ) {
        let row = written(found);
        let (mut key, mut body) = (row.key, row.value.expect("a row that is there"));
        body.truncate(body.len() - 8);
        harms.iter().for_each(|harm| harm.happen(if of_key { &mut key } else { &mut body }));
        is_refused_or_written(&checked(&key, &body))?;
    }

    #[test]
    fn any_row_with_a_right_check_is_refused_or_could_have_been_written(
        kind in 0..10u8,
        key in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..20),
        body in prop::collection::vec(prop_oneof![4 => Just(0), 1 => 0..4u8, 1 => any::<u8>()], 0..80),
    ) {
        is_refused_or_written(&checked(&[&[kind], &key[..]].concat(), &body))?;
    }

    #[test]
    fn any_bytes_are_refused(key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        prop_assert!(matches!(Found::read(&key, &value), Err(StoreError::Damaged(_))));
    }
}

#[test]
fn what_no_server_writes_is_refused() {
    let zeros = [0; 16];
    let packet = |is_binary: u8, byte: u8| [&zeros[..], &[0; 8], &[is_binary, 0, 0, 0, 1, byte]].concat();
    let message = [&[7][..], &zeros[..12]].concat();
    let rows = [
        ("a text that is not UTF-8", message.clone(), packet(0, 0xff)),
        ("a packet of a third kind", message.clone(), packet(2, b'a')),
        (
            "a room that is neither",
            vec![6, 0, 0, 0, 1, 2],
            vec![0, 0, 0, 0, 0, 0, 0, 1],
        ),
        ("a number of zero", vec![6, 0, 0, 0, 1, 0], vec![0; 8]),
        (
            "a socket without anything",
            [&[8][..], &zeros[..8]].concat(),
            vec![0xff; 8],
        ),
    ];
    let taken: Vec<&str> = rows
        .iter()
        .filter(|(_, key, body)| read(&checked(key, body)).is_ok())
        .map(|(what, ..)| *what)
        .collect();
    assert_eq!(taken, [""; 0]);
    for (is_binary, byte) in [(0, b'a'), (1, 0xff)] {
        assert!(read(&checked(&message, &packet(is_binary, byte))).is_ok());
    }
}
