//! What a stream had before a node has begun to read it, for the histories of rooms: the newest
//! entries, read backwards and within limits.
//!
//! ```text
//!   Tail::new ─► XREVRANGE <begun> - COUNT 26 ─► XREVRANGE <oldest read> - COUNT 26 ─► … ─► Over
//! ```
//! Each step begins with the entry that was read last. If it is not there any more, the stream was
//! trimmed up to there, and nothing older is read. The stream is never read as a whole: there are
//! at most 400 steps, what is wanted is bounded in bytes, and entries from before a time end it.
//!
//! The reading may be stopped at any time: what has been read is everything behind a known entry.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::messages::{Body, Envelope, MessageLimits};
use super::node::Reader;
use super::order::Emit;
use super::record::streams;
use super::seal::milliseconds_of;
use crate::ClusterConfig;
use crate::broker::{Answer, BrokerError, Entry, Request};

/// How many entries one step reads at most, besides the one that was read last. If the answer is
/// too large for the connection to the broker, it is asked again for half as many.
const ENTRIES: u32 = 25;

/// How many steps there are at most: for as many entries as genuine nodes keep.
const MAX_STEPS: u32 = 400;

/// What an event takes in memory besides its bytes.
const EVENT_BYTES: usize = 512;

/// The tail of a stream that is being read.
#[derive(Clone, Debug)]
pub struct Tail {
    stream: Bytes,
    reader: Reader,
    limits: MessageLimits,
    /// No entry before this time is wanted, in milliseconds since the beginning of 1970.
    oldest: u64,
    max_bytes: usize,
    bytes: usize,
    steps: u32,
    /// How many entries a step reads.
    count: u32,
    /// Whether nothing has been read.
    is_first: bool,
    /// Everything behind this entry has been read.
    position: Bytes,
    /// What is wanted, the newest first. What was stored again later is taken out.
    events: Vec<Option<TailEvent>>,
    /// The senders and numbers of signed entries, and where their events are.
    signed: BTreeMap<(u64, u64), usize>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailStep {
    /// Ask the broker this, and give the answer to [`Tail::handle_answer`].
    Ask(Request),
    /// Nothing more is read. Take what was read with [`Tail::finish`].
    Over,
}

/// What was read of a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailEnd {
    /// The events, the newest first.
    pub events: Vec<TailEvent>,
    /// Everything behind this entry has been read.
    pub behind: Bytes,
}

/// An event for one room, without the question for an acknowledgement. It is in memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailEvent {
    /// The id of its entry.
    pub entry: Bytes,
    /// Its namespace.
    pub namespace: ByteString,
    /// Its room.
    pub room: ByteString,
    /// The event.
    pub emit: Emit,
}

impl TailEvent {
    fn bytes(&self) -> usize {
        let names = self.entry.len() + self.namespace.len() + self.room.len() + self.emit.name.len();
        EVENT_BYTES + names + self.emit.args.bytes()
    }
}

impl Tail {
    /// Begins with the entry up to which the node reads nothing itself
    /// ([`Event::Reading`](crate::broker::Event::Reading)). Entries from before `oldest`, in
    /// milliseconds since 1970, are not wanted. The events that are wanted take at most
    /// `max_bytes`: their bytes, and 512 for each. `None` with another adapter than the streams
    /// adapter.
    #[must_use]
    pub fn new(
        config: &ClusterConfig,
        stream: Bytes,
        begun: Bytes,
        oldest: u64,
        max_bytes: usize,
    ) -> Option<(Self, Request)> {
        streams(config)?;
        let mut tail = Self {
            stream,
            reader: Reader::new(config),
            limits: MessageLimits::from(config),
            oldest,
            max_bytes,
            bytes: 0,
            steps: 0,
            count: ENTRIES,
            is_first: true,
            position: begun,
            events: Vec::new(),
            signed: BTreeMap::new(),
        };
        let request = tail.ask();
        Some((tail, request))
    }

    fn ask(&mut self) -> Request {
        self.steps += 1;
        Request::RangeBack {
            stream: self.stream.clone(),
            from: self.position.clone(),
            count: self.count + 1,
        }
    }

    /// Takes the answer of the broker to the last request. `wants` says whether an event for a room
    /// of a namespace is wanted.
    ///
    /// # Errors
    ///
    /// The broker's. Then nothing more is read. If the answer could not be read
    /// ([`BrokerError::Unreadable`]), the entries may be large: then a smaller number of them is
    /// asked for first.
    pub fn handle_answer(
        &mut self,
        answer: Result<Answer, BrokerError>,
        wants: impl Fn(&str, &str) -> bool,
    ) -> Result<TailStep, BrokerError> {
        let answer = match answer {
            Err(BrokerError::Unreadable(_)) if self.count > 1 && self.steps < MAX_STEPS => {
                self.count /= 2;
                return Ok(TailStep::Ask(self.ask()));
            }
            answer => answer?,
        };
        let Answer::Entries(entries) = answer else {
            return Err(BrokerError::Unreadable("another answer than entries".into()));
        };
        let is_first = core::mem::take(&mut self.is_first);
        if !is_first && entries.first().is_none_or(|first| first.id != self.position) {
            // It was trimmed, and all that is older.
            return Ok(TailStep::Over);
        }
        let is_last = entries.len() <= self.count as usize || self.steps >= MAX_STEPS;
        for entry in entries.iter().skip(usize::from(!is_first)) {
            if !self.take(entry, &wants) {
                return Ok(TailStep::Over);
            }
        }
        match is_last {
            true => Ok(TailStep::Over),
            false => Ok(TailStep::Ask(self.ask())),
        }
    }

    /// Takes one entry more. Returns false if it is beyond a limit: then what is behind it is
    /// known, and it is not.
    fn take(&mut self, entry: &Entry, wants: &impl Fn(&str, &str) -> bool) -> bool {
        let Some(at) = milliseconds_of(&entry.id) else {
            return false;
        };
        // Bytes of its own: an answer is not kept because of an id.
        self.position = Bytes::copy_from_slice(&entry.id);
        if at < self.oldest {
            return false;
        }
        // Signatures cost the most, so what is for others is left out first.
        let Some(event) = self.event(entry, wants) else {
            return true;
        };
        let Some(signer) = self.reader.signer_of(&self.stream, entry) else {
            return true;
        };
        let all = self.bytes.saturating_add(event.bytes());
        if all > self.max_bytes {
            return false;
        }
        self.bytes = all;
        if let Some(signer) = signer
            // Of an entry that was stored again, the first one counts, which comes last here.
            && let Some(again) = self.signed.insert(signer, self.events.len())
            && let Some(again) = self.events.get_mut(again).and_then(Option::take)
        {
            self.bytes -= again.bytes();
        }
        self.events.push(Some(event));
        true
    }

    /// Reads an entry, if it is an event that is wanted. Nobody has heard what cannot be read.
    fn event(&self, entry: &Entry, wants: &impl Fn(&str, &str) -> bool) -> Option<TailEvent> {
        let mut kinds = entry.fields.iter().rev().filter(|(name, _)| name == &b"type"[..]);
        kinds.next().filter(|(_, kind)| kind == &b"3"[..])?;
        let envelope = Envelope::decode_entry(&entry.fields, &self.limits).ok()?;
        let Body::Broadcast {
            to,
            flags,
            emit,
            request_id: None,
        } = envelope.body
        else {
            return None;
        };
        let [room] = &to.rooms[..] else { return None };
        let is_wanted = !flags.volatile && wants(&envelope.namespace, room);
        is_wanted.then(|| TailEvent {
            entry: Bytes::copy_from_slice(&entry.id),
            namespace: ByteString::from(&*envelope.namespace),
            room: ByteString::from(&**room),
            emit: Emit {
                name: ByteString::from(&*emit.name),
                args: emit.args.detached(),
            },
        })
    }

    /// Returns what has been read, also if the reading is not over.
    #[must_use]
    pub fn finish(self) -> TailEnd {
        TailEnd {
            events: self.events.into_iter().flatten().collect(),
            behind: self.position,
        }
    }
}
