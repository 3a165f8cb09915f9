//! Streams: each is read by a connection of its own, because reading waits for the next entry.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::command::{Event, StreamPosition};
use super::connection::{Expect, Role};
use super::error::BrokerError;
use super::machine::{Broker, MAIN};
use super::requests::entry;
use crate::Time;
use crate::resp::{DecodeError, Value};

/// A stream that is read.
#[derive(Debug)]
pub(super) struct Reading {
    position: StreamPosition,
    /// When the reading was asked for.
    since: Time,
    at: usize,
    /// How many entries are read at once. It shrinks where entries are too large for one reply.
    count: u32,
}

impl Broker {
    pub(super) fn read_stream(&mut self, now: Time, stream: Bytes, after: StreamPosition) {
        if self.streams.contains_key(&stream) {
            return;
        }
        let Some(address) = self.connections[MAIN].as_ref().map(|main| main.address.clone()) else {
            return;
        };
        let at = self.add(now, Role::Reader(stream.clone()), address);
        let (position, count) = (after, self.config.stream_count);
        let since = now;
        let reading = Reading {
            position,
            since,
            at,
            count,
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
        self.connections[reading.at] = None;
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
            // read is under way would be left out.
            StreamPosition::End => connection.ask(now, &[b"TIME"], Expect::Clock),
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

    /// The broker has told its time. Ids of entries are times of the same clock, so the end of the
    /// stream at the time of the command has a name, however long the connection has taken since.
    pub(super) fn clock_answered(&mut self, now: Time, at: usize, reply: &Value) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
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
        let Some((seconds, micros)) = time else {
            // A user that may not ask for the time begins at the end of this moment.
            let parts: &[&[u8]] = &[b"XREVRANGE", &stream, b"+", b"-", b"COUNT", b"1"];
            return connection.ask(now, parts, Expect::LastEntry);
        };
        let told = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        let elapsed = u64::try_from(now.saturating_since(reading.since).as_millis()).unwrap_or(u64::MAX);
        let begin = told.saturating_sub(elapsed).saturating_sub(1);
        let after = Bytes::from(alloc::format!("{begin}-0"));
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
            self.want_slots(now);
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
            let after = Bytes::copy_from_slice(last);
            reading.position = StreamPosition::After(after.clone());
            self.tell(Event::Reading {
                stream: stream.clone(),
                after,
            });
            return self.reader_ready(now, at, &stream);
        }
        // The position is moved before anybody looks at the entries. So an entry that nobody can
        // read is not read again.
        if let Some(last) = entries.last() {
            reading.position = StreamPosition::After(Bytes::copy_from_slice(&last.id));
            reading.count = reading.count.saturating_mul(2).min(self.config.stream_count);
        }
        for entry in entries {
            self.counters.entries += 1;
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
            if reading.count > 1 {
                reading.count /= 2;
                return;
            }
            let mut begun = connection.decoder.begun().filter(|text| *text != stream);
            if let Some(id) = begun.find(|text| is_entry_id(text)) {
                reading.position = StreamPosition::After(Bytes::copy_from_slice(id));
                self.counters.oversized_entries += 1;
            }
        }
    }
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
