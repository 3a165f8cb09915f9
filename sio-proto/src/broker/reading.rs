//! Streams: each is read by a connection of its own, because reading waits for the next entry.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answers::entry;
use super::cluster::Redirect;
use super::command::{Event, StreamPosition};
use super::connection::{Expect, Role};
use super::error::{BrokerError, Refusal};
use super::machine::{Broker, MAIN};
use crate::Time;
use crate::resp::{DecodeError, Value};

/// A stream that is read.
#[derive(Debug)]
pub(super) struct Reading {
    position: StreamPosition,
    /// When the reading was asked for.
    since: Time,
    at: usize,
    /// The last entry that there was when somebody asked first, until the reading has begun.
    last: Last,
    /// How many entries are read at once. It shrinks where entries are too large for one reply.
    count: u32,
    /// Reads that have brought entries since the count has changed.
    successes: u32,
}

#[derive(Debug)]
enum Last {
    NotAsked,
    /// The user may not ask.
    Forbidden,
    Id(Bytes),
}

/// After so many reads in a row that went well, one entry more is read at once. Each step too far
/// costs a connection.
const READS_BEFORE_MORE: u32 = 16;

impl Broker {
    pub(super) fn read_stream(&mut self, now: Time, stream: Bytes, after: StreamPosition) {
        if self.streams.contains_key(&stream) {
            return;
        }
        let Some(address) = self.connection(MAIN).map(|main| main.address.clone()) else {
            return;
        };
        let at = self.add(now, Role::Reader(stream.clone()), address);
        let (position, count) = (after, self.config.stream_count);
        let since = now;
        let reading = Reading {
            position,
            since,
            at,
            last: Last::NotAsked,
            count,
            successes: 0,
        };
        self.streams.insert(stream, reading);
        self.dial(now, at);
    }

    pub(super) fn stop_stream(&mut self, stream: &Bytes) {
        let Some(reading) = self.streams.remove(stream) else {
            return;
        };
        if let Some(Some(connection)) = self.connections.get(reading.at)
            && connection.is_open()
        {
            let link = connection.link(reading.at);
            self.outputs.push_back(super::Output::Close { link });
        }
        if let Some(place) = self.connections.get_mut(reading.at) {
            *place = None;
        }
    }

    pub(super) fn reader_ready(&mut self, now: Time, at: usize, stream: &Bytes) {
        let Some(reading) = self.streams.get(stream) else {
            return;
        };
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        match &reading.position {
            // The end gets a name before anything is waited for. Otherwise, what comes while no
            // read is under way would be left out. The time is asked for behind the last entry:
            // then an id behind it is one that the clock did not make.
            StreamPosition::End => match reading.last {
                Last::NotAsked => {
                    let parts: &[&[u8]] = &[b"XREVRANGE", stream, b"+", b"-", b"COUNT", b"1"];
                    connection.ask(now, parts, Expect::LastEntry);
                }
                Last::Forbidden | Last::Id(_) => connection.ask(now, &[b"TIME"], Expect::Clock),
            },
            StreamPosition::After(id) => {
                let (count, block) = (
                    reading.count.to_string(),
                    self.config.stream_block.as_millis().to_string(),
                );
                let parts: &[&[u8]] = &[
                    b"XREAD",
                    b"COUNT",
                    count.as_bytes(),
                    b"BLOCK",
                    block.as_bytes(),
                    b"STREAMS",
                    stream,
                    id,
                ];
                connection.ask(now, parts, Expect::Entries);
            }
        }
    }

    /// The broker has told its time. Ids of entries are mostly times of the same clock, so the end
    /// of the stream at the time of the command has a name, however long the connection has taken
    /// since.
    ///
    /// Ids can be ahead of the clock, behind a failover to a replica whose clock is late. Then the
    /// time says nothing about the end, and the reading begins behind the last entry that was there
    /// when the connection first asked. What is written between the command and that moment is not
    /// read in this case: the other choice would bring old entries as new ones.
    pub(super) fn clock_answered(&mut self, now: Time, at: usize, reply: &Value) {
        let Some(Some(connection)) = self.connections.get(at) else {
            return;
        };
        let Role::Reader(stream) = connection.role.clone() else {
            return;
        };
        let Some(reading) = self.streams.get_mut(&stream) else {
            return;
        };
        let part = |item: &Value| -> Option<u64> { core::str::from_utf8(item.text()?).ok()?.parse().ok() };
        let time = match reply.items() {
            Some([seconds, micros]) => part(seconds).zip(part(micros)),
            _ => None,
        };
        let told = time.map(|(seconds, micros)| seconds.saturating_mul(1000).saturating_add(micros / 1000));
        let after = match (told, &reading.last) {
            (Some(told), Last::Id(last)) if milliseconds_of(last).is_some_and(|last| last > told) => last.clone(),
            (Some(told), _) => {
                let elapsed = u64::try_from(now.saturating_since(reading.since).as_millis()).unwrap_or(u64::MAX);
                let begin = told.saturating_sub(elapsed).saturating_sub(1);
                Bytes::from(alloc::format!("{begin}-0"))
            }
            // A user that may not ask for the time begins at the end of that moment.
            (None, Last::Id(last)) => last.clone(),
            (None, Last::NotAsked | Last::Forbidden) => {
                let why = match reply {
                    Value::Error(text) => BrokerError::refused(text),
                    _ => BrokerError::unexpected(),
                };
                return self.lose(now, at, why);
            }
        };
        reading.position = StreamPosition::After(after.clone());
        self.tell(Event::Reading {
            stream: stream.clone(),
            after,
        });
        self.reader_ready(now, at, &stream);
    }

    /// A stream has answered: with its last entry, or with those behind the position.
    pub(super) fn stream_answered(&mut self, now: Time, at: usize, is_last: bool, reply: Value) {
        let Some(Some(connection)) = self.connections.get(at) else {
            return;
        };
        let Role::Reader(stream) = connection.role.clone() else {
            return;
        };
        if let Value::Error(text) = reply {
            // Who may not ask for the last entry has the time.
            if is_last
                && BrokerError::refused(&text).is_refused_as(Refusal::Permission)
                && let Some(reading) = self.streams.get_mut(&stream)
            {
                reading.last = Last::Forbidden;
                return self.reader_ready(now, at, &stream);
            }
            // The next connection goes to the owner of the stream, also where the slots cannot be
            // asked for. It has a delay, so servers that send it to each other cost little.
            if let Some(Redirect::Moved(slot, owner)) = self.redirect(at, &text) {
                self.learn_owner(now, slot, &owner);
            }
            return self.lose(now, at, BrokerError::refused(&text));
        }
        let entries = match is_last {
            true => entries(reply),
            false => of_stream(reply),
        };
        let Some(entries) = entries else {
            return self.lose(now, at, BrokerError::unexpected());
        };
        let Some(reading) = self.streams.get_mut(&stream) else {
            return;
        };
        if is_last {
            let last = entries.last().map_or(&b"0-0"[..], |entry| &entry.id);
            reading.last = Last::Id(Bytes::copy_from_slice(last));
            return self.reader_ready(now, at, &stream);
        }
        // The position is moved before anybody looks at the entries. So an entry that nobody can
        // read is not read again.
        if let Some(last) = entries.last() {
            reading.position = StreamPosition::After(Bytes::copy_from_slice(&last.id));
            reading.successes = reading.successes.saturating_add(1);
            if reading.successes >= READS_BEFORE_MORE {
                reading.successes = 0;
                reading.count = reading.count.saturating_add(1).min(self.config.stream_count);
            }
        }
        for entry in entries {
            self.counters.entries = self.counters.entries.saturating_add(1);
            self.tell(Event::Entry {
                stream: stream.clone(),
                id: entry.id,
                fields: entry.fields,
            });
        }
        self.reader_ready(now, at, &stream);
    }

    /// A reply was too large: fewer entries are read at once. A single entry that is too large is
    /// left out. Its id comes before its fields, so it is known.
    pub(super) fn hold_back(&mut self, at: usize, error: DecodeError) {
        let Some(Some(connection)) = self.connections.get(at) else {
            return;
        };
        if let (DecodeError::TooLarge, Role::Reader(stream)) = (error, &connection.role)
            && let Some(reading) = self.streams.get_mut(stream)
        {
            let is_begun = matches!(reading.position, StreamPosition::After(_));
            reading.successes = 0;
            if is_begun && reading.count > 1 {
                reading.count /= 2;
                return;
            }
            let mut begun = connection.decoder.begun().filter(|text| *text != stream);
            if let Some(id) = begun.find(|text| is_entry_id(text)) {
                // Of the last entry, nothing but its id is asked for.
                if !is_begun {
                    reading.last = Last::Id(Bytes::copy_from_slice(id));
                    return;
                }
                reading.position = StreamPosition::After(Bytes::copy_from_slice(id));
                self.counters.oversized_entries = self.counters.oversized_entries.saturating_add(1);
            }
        }
    }
}

/// The time in the id of an entry.
fn milliseconds_of(id: &[u8]) -> Option<u64> {
    let digits = id.split(|byte| *byte == b'-').next()?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a text is the id of an entry: digits, a dash, digits.
fn is_entry_id(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'-');
    let digits = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    digits(parts.next()) && digits(parts.next()) && parts.next().is_none()
}

/// Reads the answer to `XREAD` of one stream: `[[name, entries]]`, as a map in RESP 3.
fn of_stream(reply: Value) -> Option<Vec<super::Entry>> {
    match reply {
        Value::Null => Some(Vec::new()),
        Value::Map(pair) => entries(pair.into_iter().nth(1)?),
        Value::List(streams) => match streams.into_iter().next()? {
            Value::List(pair) => entries(pair.into_iter().nth(1)?),
            _ => None,
        },
        _ => None,
    }
}

fn entries(value: Value) -> Option<Vec<super::Entry>> {
    match value {
        Value::List(items) => items.into_iter().map(entry).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn ids_of_entries_are_told_from_other_texts() {
        for id in ["0-0", "1700000000000-12"] {
            assert!(is_entry_id(id.as_bytes()), "{id}");
        }
        assert_eq!(milliseconds_of(b"1700000000000-12"), Some(1_700_000_000_000));
        assert_eq!(milliseconds_of(b"x-1"), None);
        assert_eq!(milliseconds_of(b"\xff-1"), None);
        for other in ["", "-", "1", "1-", "-1", "a-1", "1a-1", "1-a", "1-1a", "1-2-3", "s"] {
            assert!(!is_entry_id(other.as_bytes()), "{other}");
        }
    }

    /// What is no stream with entries is malformed.
    #[test]
    fn a_stream_is_read_as_a_list_and_as_a_map() {
        let text = |words: &'static str| Value::Text(Bytes::from_static(words.as_bytes()));
        let one = || Value::List(vec![Value::List(vec![text("1-0"), Value::Null])]);
        let read = |reply: Value| of_stream(reply).map(|entries| entries.len());
        assert_eq!(read(Value::Null), Some(0));
        assert_eq!(read(Value::Map(vec![text("s"), one()])), Some(1));
        assert_eq!(read(Value::List(vec![Value::List(vec![text("s"), one()])])), Some(1));
        for wrong in [
            Value::Integer(1),
            Value::Map(vec![text("s")]),
            Value::List(vec![]),
            Value::List(vec![text("s")]),
            Value::List(vec![Value::List(vec![text("s")])]),
            Value::List(vec![Value::List(vec![text("s"), text("x")])]),
            Value::Map(vec![text("s"), Value::List(vec![text("x")])]),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong:?}");
        }
    }
}
