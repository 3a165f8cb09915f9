//! Recovery across nodes, with the streams adapter: a client whose connection was cut comes back to
//! any node (docs/protocol/cluster-redis.md §4.3).
//!
//! ```text
//!   RecordWriter ─► SET sio:session:<pid> … PX    while the client is here, and when it is away
//!   Comeback::new ─► GET and DEL the record ─► Found ── read(until) ─► XRANGE <last read> <until> COUNT 26 ─► …
//!                          └── nothing ─► NotRestored                     │         └─► Restored
//!                                                                         └─ the offset is not there ─► XLEN
//! ```
//! The stream is never read as a whole: each step reads at most 26 entries, there are at most 400
//! steps, and what was missed is bounded in bytes
//! ([`ClusterConfig::max_missed_bytes`](crate::ClusterConfig::max_missed_bytes)).
//!
//! Each step begins with the entry that was read last. If it is not there any more, the stream was
//! trimmed meanwhile, and what followed it may be gone as well: then the client is not recovered.
//!
//! A client is sent nothing from before its record has begun, also if it shows an older offset:
//! what was said then was not for its socket.
//!
//! An offset that a client shows has to be the id of an entry that is there, as with genuine nodes.
//! The offset of a client that has seen no event is the place at which its record has begun, where
//! there may have been no entry. Then it is enough that nothing has been trimmed.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::channels::stream;
use super::messages::{MessageLimits, MissedFilter, Session, entry_id, is_entry_id};
use super::node::Reader;
use super::order::Emit;
use super::record::{key, streams};
use super::seal::Doubt;
use crate::ClusterConfig;
use crate::broker::{Answer, BrokerError, Entry, Request};
use crate::socket::Offset;

/// How many entries one step reads, besides the one that was read last. An entry of ours has up to
/// a MiB, and an answer of the broker up to 32.
const ENTRIES: u32 = 25;

/// How many steps there are at most: for as many entries as genuine nodes keep.
const MAX_STEPS: u32 = 400;

/// What an entry that was missed counts for besides its bytes, as in the log of recovery.
const MISSED_BYTES: usize = 256;

/// Most bytes of a private id. Genuine nodes make 20, ours 24.
const MAX_PID_BYTES: usize = 64;

/// A client that is coming back.
#[derive(Clone, Debug)]
pub struct Comeback {
    namespace: ByteString,
    pid: ByteString,
    /// Under which key its record is.
    key: Bytes,
    /// Since the beginning of 1970.
    unix_time: Duration,
    offset: ByteString,
    /// Whether the client has shown the offset.
    is_shown: bool,
    /// The offset that the client has shown, if something behind it is left out.
    skipped: Option<ByteString>,
    stream: Bytes,
    max_entries: u64,
    /// The last entry that is read.
    until: Bytes,
    limits: MessageLimits,
    reader: Reader,
    max_bytes: usize,
    session: Option<Session>,
    /// Behind which entry it is in each of its rooms.
    since: Vec<Option<(u64, u64)>>,
    /// Up to which entry it was in each of them, if it has left it.
    left: Vec<Option<(u64, u64)>>,
    /// Set while it is not known whether others before the entries that were read were trimmed:
    /// whether there may be more behind them.
    unproven: Option<bool>,
    missed: Vec<Missed>,
    /// The senders and numbers of signed entries that were read, at most one for each entry.
    taken: BTreeSet<(u64, u64)>,
    /// Bytes of the entries that were missed, and [`MISSED_BYTES`] for each.
    bytes: usize,
    steps: u32,
    /// The last entry that was read.
    position: ByteString,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the broker this, and give the answer to [`Comeback::handle_answer`].
    Ask(Request),
    /// The record is there, and is taken out of the broker. Go on with [`Comeback::read`].
    Found(Box<Session>),
    /// The client is recovered.
    Restored(Box<Restored>),
    /// The client is treated as a new one.
    NotRestored(NotRestored),
}

/// A client that has come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was kept of it.
    pub session: Session,
    /// What it has missed, the oldest first.
    pub missed: Vec<Missed>,
    /// The last entry that was read. What the node hears behind it, it has to send to the client as
    /// to everybody.
    pub position: ByteString,
}

/// An event that a client has missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The id of its entry, which goes behind the arguments.
    pub entry: Bytes,
    /// The room that it was for, if it was for one room.
    pub room: Option<ByteString>,
    /// The event.
    pub emit: Emit,
}

/// Why a client is not recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRestored {
    /// Only the streams adapter has recovery.
    #[error("this adapter has no recovery")]
    NoStreams,
    /// What the client shows is no id of an entry.
    #[error("the offset is no id of an entry")]
    InvalidOffset,
    /// Nothing was kept, or it is too old, or somebody has already come back with it.
    #[error("there is no session with this id")]
    UnknownSession,
    /// What was kept cannot be read.
    #[error("the session cannot be read")]
    Malformed,
    /// The stream has no entry with the offset: it was trimmed.
    #[error("the stream no longer has the offset")]
    Truncated,
    /// The record has no signature, in a cluster with a secret.
    #[error("the session is not signed")]
    Unsigned,
    /// The signature of the record does not fit: another secret, another client, or changed bytes.
    #[error("the session has a signature that does not fit")]
    Forged,
    /// The record was stored again when its time was over.
    #[error("the session is too old")]
    Stale,
    /// The client has missed more than is read for it.
    #[error("the client has missed too much")]
    TooMuch,
    /// The broker did not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Comeback {
    /// Begins with what the client shows: its private id and the offset that it has seen last, if
    /// it has seen any. `unix_time` is the time since the beginning of 1970. In a cluster with a
    /// secret, records are measured by it.
    ///
    /// # Errors
    ///
    /// [`NotRestored::NoStreams`], [`NotRestored::InvalidOffset`].
    pub fn new(
        config: &ClusterConfig,
        namespace: &ByteString,
        pid: &ByteString,
        offset: Option<&ByteString>,
        unix_time: Duration,
    ) -> Result<(Self, Request), NotRestored> {
        let streams = streams(config).ok_or(NotRestored::NoStreams)?;
        if pid.is_empty() || pid.len() > MAX_PID_BYTES {
            return Err(NotRestored::UnknownSession);
        }
        if offset.is_some_and(|offset| !is_entry_id(offset)) {
            return Err(NotRestored::InvalidOffset);
        }
        let key = key(streams, pid);
        let comeback = Self {
            key: key.clone(),
            unix_time,
            namespace: namespace.clone(),
            pid: pid.clone(),
            offset: offset.cloned().unwrap_or_default(),
            is_shown: offset.is_some(),
            skipped: None,
            max_entries: streams.max_entries,
            until: Bytes::from_static(b"+"),
            stream: stream(streams, namespace),
            limits: MessageLimits::from(config),
            reader: Reader::new(config),
            max_bytes: config.max_missed_bytes,
            session: None,
            since: Vec::new(),
            left: Vec::new(),
            unproven: None,
            missed: Vec::new(),
            taken: BTreeSet::new(),
            bytes: 0,
            steps: 0,
            position: ByteString::new(),
        };
        Ok((comeback, Request::Take { key }))
    }

    /// Takes the answer of the broker to the last request.
    pub fn handle_answer(&mut self, answer: Result<Answer, BrokerError>) -> Step {
        self.step(answer).unwrap_or_else(Step::NotRestored)
    }

    /// The offset from which the stream is read, once the record is found.
    #[must_use]
    pub const fn offset(&self) -> &ByteString {
        &self.offset
    }

    /// The client was in these rooms, and not in those of its record, which is older: each with the
    /// entry behind which it was in it, and the last entry before it has left it. A room may be
    /// there several times. Call it when the record is found.
    pub fn set_stays(&mut self, stays: impl IntoIterator<Item = (ByteString, Option<Offset>, Option<Offset>)>) {
        let place = |place: Option<Offset>| place.and_then(|place| entry_id(&place.text()));
        let mut rooms = Vec::new();
        (self.since, self.left) = (Vec::new(), Vec::new());
        for (room, since, left) in stays {
            rooms.push(room);
            self.since.push(place(since));
            self.left.push(place(left));
        }
        if let Some(session) = &mut self.session {
            session.rooms = rooms;
        }
    }

    /// What was said up to this entry is known without the stream, so it is not read. Call it when
    /// the record is found. If the stream does not have the entry, it is read from the client's
    /// offset on, as without this call.
    pub fn skip_to(&mut self, entry: Offset) {
        let entry = entry.text();
        if entry_id(&self.position) < entry_id(&entry) {
            let shown = core::mem::replace(&mut self.position, entry);
            self.skipped = Some(shown).filter(|_| core::mem::take(&mut self.is_shown));
        }
    }

    /// The bytes of what has been read and is for the client, with its names, and 256 for each
    /// entry. Nothing else of what was read is held.
    #[must_use]
    pub const fn missed_bytes(&self) -> usize {
        self.bytes
    }

    /// Reads what the client has missed, up to this entry. Call it when the record is found.
    pub fn read(&mut self, until: &ByteString) -> Step {
        self.until = until.as_bytes().clone();
        self.range()
    }

    fn step(&mut self, answer: Result<Answer, BrokerError>) -> Result<Step, NotRestored> {
        match answer? {
            Answer::Value(value) if self.session.is_none() => {
                let value = value.ok_or(NotRestored::UnknownSession)?;
                let session = self.session(&value)?;
                // A client that is in one namespace comes back to no other.
                let is_elsewhere = !session.namespace.is_empty() && session.namespace != self.namespace;
                if session.pid != self.pid || is_elsewhere {
                    return Err(NotRestored::Malformed);
                }
                let is_old = entry_id(&self.offset) < entry_id(&session.offset);
                if !self.is_shown || is_old {
                    self.is_shown = false;
                    self.offset = session.offset.clone();
                    if !is_entry_id(&self.offset) {
                        return Err(NotRestored::InvalidOffset);
                    }
                }
                self.position = self.offset.clone();
                self.since = session.places();
                self.session = Some(session.clone());
                Ok(Step::Found(Box::new(session)))
            }
            Answer::Count(count) if self.unproven.is_some() => {
                let full = self.unproven.take().unwrap_or_default();
                match count < self.max_entries {
                    true => self.go_on(full),
                    false => Err(NotRestored::Truncated),
                }
            }
            Answer::Entries(entries) if self.session.is_some() => self.take(entries),
            _ => Err(NotRestored::Broker(BrokerError::Unreadable("another answer".into()))),
        }
    }

    /// Reads a record, if it is believed.
    fn session(&self, value: &Bytes) -> Result<Session, NotRestored> {
        let record = Session::unwrap(value, &self.limits).map_err(|_| NotRestored::Malformed)?;
        let is_signed = match self.reader.believes_record(&self.key, &record) {
            Ok(is_signed) => is_signed,
            Err(Doubt::Unsigned) => return Err(NotRestored::Unsigned),
            Err(Doubt::Forged) => return Err(NotRestored::Forged),
        };
        let session = Session::read(&record, &self.limits).map_err(|_| NotRestored::Malformed)?;
        let oldest = self.unix_time.saturating_sub(self.reader.max_age());
        match is_signed && u128::from(session.until) < oldest.as_millis() {
            true => Err(NotRestored::Stale),
            false => Ok(session),
        }
    }

    /// Reads on. The entry that was read last comes first, so an answer shows whether it is there.
    fn range(&mut self) -> Step {
        self.steps += 1;
        Step::Ask(Request::Range {
            stream: self.stream.clone(),
            from: self.position.as_bytes().clone(),
            to: self.until.clone(),
            count: ENTRIES + 1,
        })
    }

    fn take(&mut self, entries: Vec<Entry>) -> Result<Step, NotRestored> {
        match entries.split_first() {
            Some((first, rest)) if first.id == self.position.as_bytes() => {
                if self.steps == 1 {
                    // The client has it. A copy of it behind it would be the second one.
                    self.reader.believes(&self.stream, first, &mut self.taken);
                }
                let full = self.keep(rest)?;
                self.go_on(full)
            }
            _ if self.steps == 1 && self.skipped.is_some() => {
                self.position = self.skipped.take().unwrap_or_default();
                (self.is_shown, self.steps) = (true, 0);
                Ok(self.range())
            }
            _ if self.is_shown || self.steps > 1 => Err(NotRestored::Truncated),
            // One entry more than a step has may have come.
            _ => {
                self.unproven = Some(self.keep(&entries)?);
                let stream = self.stream.clone();
                Ok(Step::Ask(Request::Length { stream }))
            }
        }
    }

    /// Keeps what is for the client, in memory of its own: an entry that was read is a slice of
    /// everything that the broker has said with it. Returns whether there may be more entries.
    fn keep(&mut self, entries: &[Entry]) -> Result<bool, NotRestored> {
        let filter = MissedFilter {
            namespace: &self.namespace,
            rooms: self.session.as_ref().map_or(&[], |session| &session.rooms),
            since: &self.since,
            left: &self.left,
        };
        for entry in entries {
            // What nobody believes, nobody has received, and nothing is received twice. Signatures
            // cost the most, so what is for others is left out first.
            if !filter.is_event_here(entry) || !self.reader.believes(&self.stream, entry, &mut self.taken) {
                continue;
            }
            let entry = own(entry);
            // Neither what cannot be read.
            let Ok(Some((to, emit))) = filter.missed(&entry, &self.limits) else {
                continue;
            };
            let bytes = entry.fields.iter().map(|(name, value)| name.len() + value.len());
            self.bytes = self.bytes.saturating_add(bytes.sum::<usize>() + MISSED_BYTES);
            if self.bytes > self.max_bytes {
                return Err(NotRestored::TooMuch);
            }
            let room = match &to.rooms[..] {
                [room] => Some(room.clone()),
                _ => None,
            };
            let entry = entry.id;
            self.missed.push(Missed { entry, room, emit });
        }
        if let Some(last) = entries.last() {
            let last = core::str::from_utf8(&last.id).map_err(|_| NotRestored::Malformed)?;
            self.position = last.into();
        }
        Ok(entries.len() >= ENTRIES as usize)
    }

    /// Reads on, or ends where nothing is left.
    fn go_on(&mut self, full: bool) -> Result<Step, NotRestored> {
        if !full {
            return Ok(Step::Restored(Box::new(Restored {
                session: self.session.take().unwrap_or_default(),
                missed: core::mem::take(&mut self.missed),
                position: self.position.clone(),
            })));
        }
        if self.steps == MAX_STEPS {
            return Err(NotRestored::TooMuch);
        }
        Ok(self.range())
    }
}

/// Copies an entry, with its values in one piece.
fn own(entry: &Entry) -> Entry {
    let bytes = entry.fields.iter().map(|(_, value)| value.len());
    let mut values = BytesMut::with_capacity(bytes.sum());
    entry
        .fields
        .iter()
        .for_each(|(_, value)| values.extend_from_slice(value));
    let mut values = values.freeze();
    let fields = entry.fields.iter();
    let fields = fields.map(|(name, value)| (name.clone(), values.split_to(value.len())));
    Entry {
        id: Bytes::copy_from_slice(&entry.id),
        fields: fields.collect(),
    }
}
