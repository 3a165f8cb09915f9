//! Recovery across nodes, with the streams adapter: a client whose connection was cut comes back to
//! any node (docs/protocol/cluster-redis.md §4.3).
//!
//! ```text
//!   save ─► SET sio:session:<pid> … PX            when the client is away
//!   Comeback::new ─► GET and DEL the record ─► XRANGE <offset> + COUNT 101 ─► XRANGE … ─► Restored
//!                          └── nothing ──────────────┴── the offset is not there ──────► NotRestored
//! ```
//! The stream is never read as a whole: each step reads at most 101 entries, there are at most 100
//! steps, and what was missed is bounded in bytes
//! ([`ClusterConfig::max_missed_bytes`](crate::ClusterConfig::max_missed_bytes)).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::channels::stream;
use super::messages::{MessageLimits, MissedFilter, Session, is_entry_id, next_entry_id};
use super::node::Reader;
use super::order::Emit;
use crate::broker::{Answer, BrokerError, Entry, Request};
use crate::{ClusterConfig, ClusterKind, StreamsConfig};

/// How many entries one step reads, besides the one with the offset.
const ENTRIES: u32 = 100;

/// How many steps there are at most, as with genuine nodes.
const MAX_STEPS: u32 = 100;

/// The request that keeps a session for a client that may come back. With another adapter than the
/// streams adapter there is none.
#[must_use]
pub fn save(config: &ClusterConfig, session: &Session, window: Duration) -> Option<Request> {
    let streams = streams(config)?;
    Some(Request::Set {
        key: key(streams, &session.pid),
        value: session.encode(),
        milliseconds: u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1),
    })
}

const fn streams(config: &ClusterConfig) -> Option<&StreamsConfig> {
    match &config.kind {
        ClusterKind::Streams(streams) => Some(streams),
        ClusterKind::Classic | ClusterKind::Sharded { .. } => None,
    }
}

fn key(streams: &StreamsConfig, pid: &str) -> Bytes {
    Bytes::from(alloc::format!("{}{pid}", streams.session_prefix))
}

/// A client that is coming back.
#[derive(Clone, Debug)]
pub struct Comeback {
    namespace: ByteString,
    pid: ByteString,
    offset: ByteString,
    stream: Bytes,
    limits: MessageLimits,
    reader: Reader,
    max_bytes: usize,
    session: Option<Session>,
    missed: Vec<(Bytes, Emit)>,
    /// Bytes of the entries that were missed.
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
    /// What it has missed, the oldest first: the id of each entry, which goes behind the arguments,
    /// and the event.
    pub missed: Vec<(Bytes, Emit)>,
    /// The last entry that was read. What the node hears behind it, it has to send to the client as
    /// to everybody.
    pub position: ByteString,
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
    /// The client has missed more than is read for it.
    #[error("the client has missed too much")]
    TooMuch,
    /// The broker did not answer.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Comeback {
    /// Begins with what the client shows: its private id and the offset that it has seen last.
    ///
    /// # Errors
    ///
    /// [`NotRestored::NoStreams`], [`NotRestored::InvalidOffset`].
    pub fn new(
        config: &ClusterConfig,
        namespace: &ByteString,
        pid: &ByteString,
        offset: &ByteString,
    ) -> Result<(Self, Request), NotRestored> {
        let streams = streams(config).ok_or(NotRestored::NoStreams)?;
        if !is_entry_id(offset) {
            return Err(NotRestored::InvalidOffset);
        }
        let comeback = Self {
            namespace: namespace.clone(),
            pid: pid.clone(),
            offset: offset.clone(),
            stream: stream(streams, namespace),
            limits: MessageLimits::from(config),
            reader: Reader::new(config),
            max_bytes: config.max_missed_bytes,
            session: None,
            missed: Vec::new(),
            bytes: 0,
            steps: 0,
            position: offset.clone(),
        };
        let key = key(streams, pid);
        Ok((comeback, Request::Take { key }))
    }

    /// Takes the answer of the broker to the last request.
    pub fn handle_answer(&mut self, answer: Result<Answer, BrokerError>) -> Step {
        self.step(answer).unwrap_or_else(Step::NotRestored)
    }

    fn step(&mut self, answer: Result<Answer, BrokerError>) -> Result<Step, NotRestored> {
        match answer? {
            Answer::Value(value) if self.session.is_none() => {
                let value = value.ok_or(NotRestored::UnknownSession)?;
                let session = Session::decode(&value, &self.limits).map_err(|_| NotRestored::Malformed)?;
                if session.pid != self.pid {
                    return Err(NotRestored::Malformed);
                }
                self.session = Some(session);
                // The entry with the offset comes first, so one request shows whether it is there.
                Ok(self.read(self.offset.clone(), ENTRIES + 1))
            }
            Answer::Entries(entries) if self.session.is_some() => self.take(entries),
            _ => Err(NotRestored::Broker(BrokerError::Unreadable("another answer".into()))),
        }
    }

    fn read(&mut self, from: ByteString, count: u32) -> Step {
        self.steps += 1;
        Step::Ask(Request::Range {
            stream: self.stream.clone(),
            from: from.into_bytes(),
            to: Bytes::from_static(b"+"),
            count,
        })
    }

    fn take(&mut self, entries: Vec<Entry>) -> Result<Step, NotRestored> {
        let (mut entries, mut full) = (&*entries, entries.len() >= ENTRIES as usize);
        if self.steps == 1 {
            let (first, rest) = entries.split_first().ok_or(NotRestored::Truncated)?;
            if first.id != self.offset.as_bytes() {
                return Err(NotRestored::Truncated);
            }
            (entries, full) = (rest, rest.len() >= ENTRIES as usize);
        }
        let session = self.session.take().unwrap_or_default();
        let filter = MissedFilter {
            namespace: &self.namespace,
            rooms: &session.rooms,
        };
        for entry in entries {
            // What nobody believes, nobody has received.
            if !self.reader.believes(&self.stream, entry) {
                continue;
            }
            // Neither what cannot be read.
            let Ok(Some(emit)) = filter.missed(entry, &self.limits) else {
                continue;
            };
            let bytes = entry.fields.iter().map(|(name, value)| name.len() + value.len());
            self.bytes = self.bytes.saturating_add(bytes.sum());
            if self.bytes > self.max_bytes {
                return Err(NotRestored::TooMuch);
            }
            self.missed.push((entry.id.clone(), emit));
        }
        if let Some(last) = entries.last() {
            self.position = ByteString::try_from(last.id.clone()).map_err(|_| NotRestored::Malformed)?;
        }
        if !full {
            return Ok(Step::Restored(Box::new(Restored {
                session,
                missed: core::mem::take(&mut self.missed),
                position: self.position.clone(),
            })));
        }
        if self.steps == MAX_STEPS {
            return Err(NotRestored::TooMuch);
        }
        self.session = Some(session);
        let next = next_entry_id(&self.position).ok_or(NotRestored::Malformed)?;
        Ok(self.read(next, ENTRIES))
    }
}
