//! One namespace of a client: what waits for a connection, what waits for an acknowledgement, and
//! what the server needs to recover it.
//!
//! ```text
//!   Idle ─ connect ─▶ Wanted ─ session open ─▶ (Asking ─▶) Connecting ─ CONNECT ─▶ Connected
//!    ▲                  ▲                                       │                      │
//!    │                  └──────────── session lost ─────────────┴──────────────────────┤
//!    └───────────── refused, DISCONNECT, disconnect() ─────────────────────────────────┘
//! ```

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::config::ClientConfig;
use super::emit::Pending;
use super::event::{EmitId, NotSent, Outcome};
use super::joining::{Due, JoinTime};
use super::outputs::give_back;
use super::protocol::Protocol;
use super::session::Packed;
use super::unconfirmed::Unconfirmed;
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::socket::{Args, Packet};

/// What an event costs besides its bytes.
const ENTRY_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Event {
    pub(super) emit: EmitId,
    pub(super) name: ByteString,
    pub(super) args: Args,
    pub(super) since: Time,
    /// The user waits for the acknowledgement.
    pub(super) wants_ack: bool,
    pub(super) timeout: Duration,
    pub(super) key: Option<ByteString>,
    /// It was written before, and waits to be written again: the server may have it.
    pub(super) was_written: bool,
    /// It is sent again until it is acknowledged.
    pub(super) retries: bool,
    pub(super) tries: u32,
    /// It is never sent again.
    pub(super) is_volatile: bool,
    /// It came while there was no connection.
    pub(super) buffered: bool,
    /// When its acknowledgement, or its place in the queue, ends.
    pub(super) deadline: Option<Time>,
}

impl Event {
    pub(super) fn bytes(&self) -> usize {
        bytes_of_event(&self.name, &self.args)
    }

    /// How the event ends if it is taken out of the queue for this reason. Of an event that was
    /// written before, nobody may say that it was not.
    const fn outcome_unless_written(&self, why: NotSent) -> Outcome {
        match self.was_written {
            true => Outcome::Disconnected,
            false => Outcome::NotSent(why),
        }
    }
}

/// What an event counts while it waits.
pub(super) fn bytes_of_event(name: &ByteString, args: &Args) -> usize {
    name.len() + args.bytes() + ENTRY_BYTES
}

/// What an answer counts while it waits.
pub(super) fn bytes_of_answer(args: &Args) -> usize {
    args.bytes() + ENTRY_BYTES
}

/// The answer to an event of the server.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) id: u64,
    pub(super) args: Args,
}

/// What is written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Event,
    Answer,
}

/// An event that was written and waits for its acknowledgement.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) emit: EmitId,
    pub(super) deadline: Time,
    /// The whole event, if it may have to be sent again.
    pub(super) again: Option<Event>,
    /// Whether the server has confirmed that it has had the event.
    pub(super) is_heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    Idle,
    Wanted,
    /// Somebody is asked for credentials.
    Asking {
        question: u64,
        until: Time,
    },
    Connecting,
    Connected,
}

/// An event that has come before its namespace is connected.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) packet: Packet,
    /// Whether it may be answered, if it is a question.
    pub(super) may_answer: bool,
}

pub(super) struct Socket {
    pub(super) namespace: ByteString,
    pub(super) auth: Option<ByteString>,
    pub(super) provided: Option<ByteString>,
    pub(super) state: SocketState,
    /// The CONNECT that was written on this session, and whose answer has not come.
    pub(super) due: Option<Due>,
    /// When the server has to answer, while the namespace connects.
    pub(super) answer: Option<JoinTime>,
    /// The server has connected or refused the namespace on this session. Engine.IO 3 servers do
    /// this once for `/` without being asked.
    pub(super) was_answered: bool,
    /// The user has left the namespace on this session. Until it is connected again, events may
    /// come that were sent to the socket before.
    pub(super) was_left: bool,
    /// How often the namespace was refused in a row.
    pub(super) refusals: u32,
    pub(super) sid: ByteString,
    /// Counts the connections of this namespace.
    pub(super) connection: u64,
    pub(super) pid: Option<ByteString>,
    pub(super) offset: Option<ByteString>,
    pub(super) early: Vec<Early>,
    pub(super) early_bytes: usize,
    /// Events that wait, in the order of their numbers.
    pub(super) queue: VecDeque<Event>,
    /// Answers that wait. They are written between the events, in the order of their numbers, and
    /// do not wait for an event that has to wait: the server may wait for an answer before it
    /// acknowledges.
    answers: VecDeque<Answer>,
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    /// How many of them may have to be sent again.
    repeatable: usize,
    pub(super) deadlines: BTreeSet<(Time, EmitId)>,
    next_ack: u64,
    pub(super) unconfirmed: Unconfirmed,
    /// Bytes of events that wait or may be sent again.
    pub(super) held_bytes: usize,
    /// Bytes of answers that wait.
    pub(super) answer_bytes: usize,
}

/// The ends of emits, for the user.
pub(super) type Receipts = Vec<(EmitId, Outcome)>;

impl Socket {
    pub(super) const fn new(namespace: ByteString) -> Self {
        Self {
            namespace,
            auth: None,
            provided: None,
            state: SocketState::Idle,
            due: None,
            answer: None,
            was_answered: false,
            was_left: false,
            refusals: 0,
            sid: ByteString::from_static(""),
            connection: 0,
            pid: None,
            offset: None,
            early: Vec::new(),
            early_bytes: 0,
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            in_flight: BTreeMap::new(),
            repeatable: 0,
            deadlines: BTreeSet::new(),
            next_ack: 0,
            unconfirmed: Unconfirmed::new(),
            held_bytes: 0,
            answer_bytes: 0,
        }
    }

    #[cfg(feature = "steps")]
    pub(super) fn waiting_answers(&self) -> Holding {
        let answers = self.answers.iter().map(|answer| answer.args.holding(0));
        Holding::shrinking::<Answer>(self.answers.capacity(), self.answers.len()).with_all(answers)
    }

    pub(super) fn is_active(&self) -> bool {
        self.state != SocketState::Idle
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == SocketState::Connected
    }

    /// How many emits wait for an acknowledgement, or will.
    fn unacknowledged(&self) -> usize {
        step!(each self.queue.len());
        self.in_flight.len() + self.queue.iter().filter(|event| self.asks(event)).count()
    }

    /// Whether so many emits wait for an acknowledgement, or will. The queue is looked through only
    /// if there may be so many.
    pub(super) fn has_unacknowledged(&self, most: usize) -> bool {
        self.in_flight.len() + self.queue.len() >= most && self.unacknowledged() >= most
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = Pending<'_>> {
        self.queue.iter().map(|event| Pending {
            emit: event.emit,
            name: &event.name,
            args: &event.args,
            since: event.since,
        })
    }

    pub(super) fn push(&mut self, event: Event) {
        self.held_bytes += event.bytes();
        self.deadlines.extend(event.deadline.map(|time| (time, event.emit)));
        self.queue.push_back(event);
    }

    pub(super) fn push_answer(&mut self, answer: Answer) {
        self.answer_bytes += bytes_of_answer(&answer.args);
        self.answers.push_back(answer);
    }

    fn drop_answers(&mut self) {
        step!(each self.answers.len());
        self.answers = VecDeque::new();
        self.answer_bytes = 0;
    }

    /// The bytes of the events with this key that wait.
    pub(super) fn bytes_of_key(&self, key: &ByteString) -> usize {
        let has_key = |event: &&Event| event.key.as_ref() == Some(key);
        step!(each self.queue.len());
        self.queue.iter().filter(has_key).map(Event::bytes).sum()
    }

    /// Takes events out of the queue, and reports them.
    pub(super) fn remove(&mut self, why: NotSent, receipts: &mut Receipts, which: impl Fn(&Event) -> bool) {
        let (deadlines, held_bytes) = (&mut self.deadlines, &mut self.held_bytes);
        step!(each self.queue.len());
        self.queue.retain(|event| {
            let goes = which(event);
            if goes {
                *held_bytes -= event.bytes();
                if let Some(deadline) = event.deadline {
                    deadlines.remove(&(deadline, event.emit));
                }
                receipts.push((event.emit, event.outcome_unless_written(why)));
            }
            !goes
        });
        give_back(&mut self.queue);
    }

    /// Takes the first event out of the queue, and reports it.
    pub(super) fn remove_first(&mut self, why: NotSent, receipts: &mut Receipts) {
        let Some(event) = self.queue.pop_front() else { return };
        step!();
        give_back(&mut self.queue);
        self.held_bytes -= event.bytes();
        self.forget_age(&event);
        receipts.push((event.emit, event.outcome_unless_written(why)));
    }

    /// An event that waits and was never written.
    pub(super) fn unwritten(&self, emit: EmitId) -> Option<&Event> {
        let is_it = |event: &&Event| event.emit == emit && !event.was_written;
        self.queue.iter().find(is_it)
    }

    /// Gives an event that waits another name and other arguments.
    pub(super) fn replace(&mut self, emit: EmitId, name: ByteString, args: Args) {
        if let Some(event) = self.queue.iter_mut().find(|event| event.emit == emit) {
            self.held_bytes -= event.bytes();
            (event.name, event.args) = (name, args);
            self.held_bytes += event.bytes();
        }
    }

    /// What may be written now, and its number in the order of all namespaces.
    fn next(&self, config: &ClientConfig, may_drain: bool) -> Option<(u64, Next)> {
        let stalls = |event: &&Event| {
            event.buffered && !may_drain
                || event.retries && self.repeatable >= config.retry_window
                || self.unconfirmed.is_full(config.max_unconfirmed)
        };
        let event = self.queue.front().filter(|event| !stalls(event));
        let event = event.map(|event| (event.emit.0, Next::Event));
        let answer = self.answers.front().map(|answer| (answer.number, Next::Answer));
        event.into_iter().chain(answer).min()
    }

    /// The event that may be written now, if an event is next.
    pub(super) fn next_event(&self, config: &ClientConfig, may_drain: bool) -> Option<&Event> {
        match self.next(config, may_drain)? {
            (_, Next::Event) => self.queue.front(),
            (_, Next::Answer) => None,
        }
    }

    /// The packet of an event that would be written now.
    pub(super) fn draft(&self, name: &ByteString, args: &Args, has_id: bool) -> Packet {
        Packet::Event {
            namespace: self.namespace.clone(),
            name: name.clone(),
            id: has_id.then_some(self.next_ack),
            args: args.clone(),
        }
    }

    pub(super) fn next_number(&self, config: &ClientConfig, may_drain: bool) -> Option<u64> {
        self.next(config, may_drain).map(|(number, _)| number)
    }

    /// Whether the next event only waits for its turn.
    pub(super) fn waits_to_drain(&self) -> bool {
        self.queue.front().is_some_and(|event| event.buffered)
    }

    /// Takes the next entry as messages of the transport, which `encode` makes of a packet. Also
    /// returns whether it had waited for a connection. An entry for which `encode` returns `None`
    /// goes on waiting. An event that the protocol cannot carry or that `encode` makes no messages
    /// of ends here, and counts nowhere.
    pub(super) fn take(
        &mut self,
        now: Time,
        config: &ClientConfig,
        protocol: Protocol,
        may_drain: bool,
        encode: impl FnOnce(&Packet) -> Option<Vec<Packed>>,
        receipts: &mut Receipts,
    ) -> Option<Option<(Vec<Packed>, bool)>> {
        let packed = match self.next(config, may_drain)? {
            (_, Next::Event) => {
                let event = self.queue.front()?;
                let fits = protocol.check_args(&event.args).is_ok();
                match fits {
                    true => encode(&self.draft(&event.name, &event.args, self.asks(event)))?,
                    false => Vec::new(),
                }
            }
            (_, Next::Answer) => {
                let Answer { id, args, .. } = self.answers.front()?;
                let (namespace, args) = (self.namespace.clone(), args.clone());
                let bytes = bytes_of_answer(&args);
                let packed = encode(&Packet::Ack {
                    namespace,
                    id: *id,
                    args,
                })?;
                self.answers.pop_front();
                give_back(&mut self.answers);
                self.answer_bytes -= bytes;
                return Some(Some((packed, false)));
            }
        };
        if packed.is_empty() {
            self.remove_first(NotSent::Unsupported, receipts);
            return Some(None);
        }
        let event = self.queue.pop_front()?;
        give_back(&mut self.queue);
        let buffered = event.buffered;
        self.note_written(now, config, event, receipts);
        Some(Some((packed, buffered)))
    }

    /// Notes that an event was written.
    fn note_written(&mut self, now: Time, config: &ClientConfig, mut event: Event, receipts: &mut Receipts) {
        let is_kept = self.is_kept(&event);
        if self.unconfirmed.is_on() && event.is_volatile {
            self.unconfirmed.skip();
        }
        if !self.asks(&event) {
            if let Some(deadline) = event.deadline.take() {
                self.deadlines.remove(&(deadline, event.emit));
            }
            if is_kept {
                self.unconfirmed.push(event, None);
            } else {
                self.held_bytes -= event.bytes();
                receipts.push((event.emit, Outcome::Sent));
            }
            return;
        }
        let id = self.next_ack;
        self.next_ack += 1;
        let emit = event.emit;
        let deadline = match event.retries {
            // Without repetitions, all tries are one.
            true if is_kept => now + event.timeout.saturating_mul(config.retries.saturating_add(1)),
            true => now + event.timeout,
            false => event.since + event.timeout,
        };
        if let Some(old) = event.deadline {
            self.deadlines.remove(&(old, emit));
        }
        self.deadlines.insert((deadline, emit));
        event.tries += 1;
        event.was_written = true;
        event.deadline = Some(deadline);
        let again = match (is_kept, event.retries) {
            (true, _) => {
                self.unconfirmed.push(event, Some(id));
                None
            }
            (false, true) => Some(event),
            (false, false) => {
                self.held_bytes -= event.bytes();
                None
            }
        };
        let sent = InFlight {
            emit,
            deadline,
            again,
            is_heard: false,
        };
        self.repeatable += usize::from(sent.again.is_some());
        self.in_flight.insert(id, sent);
    }

    /// An event does not wait for its acknowledgement any more.
    pub(super) fn take_in_flight(&mut self, id: u64) -> Option<InFlight> {
        let sent = self.in_flight.remove(&id)?;
        self.deadlines.remove(&(sent.deadline, sent.emit));
        self.repeatable -= usize::from(sent.again.is_some());
        Some(sent)
    }

    /// The server has answered an event. An unknown id is that of an event that has ended.
    pub(super) fn acknowledge(&mut self, id: u64, args: Args, receipts: &mut Receipts) {
        if let Some(sent) = self.take_in_flight(id) {
            self.held_bytes -= sent.again.as_ref().map_or(0, Event::bytes);
            receipts.push((sent.emit, Outcome::Acknowledged(args)));
            self.give_up(id);
        }
    }

    /// The connection has ended: acknowledgements will not come, and answers cannot be given. As
    /// long as the socket has a `pid`, events that the server confirms wait until it is known
    /// whether the client is recovered. A socket that was refused or has stopped has it, too: its
    /// server goes on counting, and may recover it at the next `connect()`.
    pub(super) fn lose(&mut self, receipts: &mut Receipts) {
        if self.pid.is_none() {
            self.abandon(receipts);
        }
        self.end_heard(receipts);
        self.due = None;
        self.was_left = false;
        self.early = Vec::new();
        self.early_bytes = 0;
        self.drop_answers();
        for event in &mut self.queue {
            step!();
            event.buffered = true;
        }
        let kept = self.unconfirmed.acks();
        let ended = |sent: &InFlight| Some((sent.emit, Outcome::Disconnected));
        self.send_again(|id| !kept.contains(&id), ended, receipts);
    }

    /// Puts written events back to the front of the queue, in their order. Events that are not
    /// sent again end.
    fn send_again(
        &mut self,
        which: impl Fn(u64) -> bool,
        end: impl Fn(&InFlight) -> Option<(EmitId, Outcome)>,
        receipts: &mut Receipts,
    ) {
        step!(each self.in_flight.len());
        let ids: Vec<u64> = self.in_flight.keys().copied().filter(|id| which(*id)).collect();
        for id in ids.into_iter().rev() {
            let Some(mut sent) = self.take_in_flight(id) else {
                continue;
            };
            match sent.again.take() {
                Some(mut event) => {
                    event.tries = event.tries.saturating_sub(1);
                    event.deadline = None;
                    self.queue.push_front(event);
                }
                None => receipts.extend(end(&sent)),
            }
        }
    }

    /// Ends all emits: nothing of this socket will be written any more.
    pub(super) fn end(&mut self, receipts: &mut Receipts) {
        self.abandon(receipts);
        self.end_heard(receipts);
        self.repeatable = 0;
        for sent in core::mem::take(&mut self.in_flight).into_values() {
            step!();
            self.deadlines.remove(&(sent.deadline, sent.emit));
            self.held_bytes -= sent.again.as_ref().map_or(0, Event::bytes);
            receipts.push((sent.emit, Outcome::Disconnected));
        }
        self.drop_answers();
        self.remove(NotSent::Closed, receipts, |_| true);
        self.queue = VecDeque::new();
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Ends what is late, or sends it again.
    pub(super) fn expire(&mut self, now: Time, config: &ClientConfig, receipts: &mut Receipts) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let is_due = |event: &Event| event.deadline.is_some_and(|deadline| deadline <= now);
        // Mostly the oldest events are due first.
        while self.queue.front().is_some_and(is_due) {
            self.remove_first(NotSent::Expired, receipts);
        }
        step!(each self.in_flight.len());
        let due: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, sent)| sent.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        // The rest of the queue is looked through only if a deadline is due that is nobody else's.
        let all_due = self.deadlines.range(..=(now, EmitId(u64::MAX))).take(due.len() + 1);
        if all_due.count() > due.len() {
            self.remove(NotSent::Expired, receipts, is_due);
            self.expire_unconfirmed(now, receipts);
        }
        let mut first_again = None;
        for id in due {
            let is_over = |sent: &InFlight| sent.again.as_ref().is_none_or(|event| event.tries > config.retries);
            if self.in_flight.get(&id).is_some_and(is_over) {
                if let Some(sent) = self.take_in_flight(id) {
                    self.held_bytes -= sent.again.as_ref().map_or(0, Event::bytes);
                    receipts.push((sent.emit, Outcome::TimedOut));
                    self.give_up(id);
                }
            } else if let Some(event) = self.in_flight.get_mut(&id).and_then(|sent| sent.again.as_mut()) {
                // This try has failed, so it counts.
                event.tries += 1;
                first_again = first_again.or(Some(id));
            }
        }
        if let Some(first) = first_again {
            let retried: BTreeSet<u64> = self
                .in_flight
                .iter()
                .filter(|(id, sent)| **id >= first && sent.again.is_some())
                .map(|(id, _)| *id)
                .collect();
            self.send_again(|id| retried.contains(&id), |_| None, receipts);
        }
    }
}
