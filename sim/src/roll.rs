//! The roll call: when faults have stopped and all is quiet, each client has to hear, and to be
//! heard (promises 1 to 3).
//!
//! While something goes wrong, much may be lost: a volatile message, one that its policy lets go,
//! an answer. So a server that loses all of these breaks no promise. Here nothing goes wrong, and
//! there is room for everything. In each namespace of each client the server sends one message by
//! each policy, then asks a question that is answered at once, and the client does the same. Each
//! message has to come, and each question has to be answered, with exactly the right content.
//!
//! These are left out:
//!
//! - a client of whose requests a proxy has repeated one, if nothing is promised for its messages
//! - a client with two sockets in a namespace: one belongs to a session that it has lost, and
//!   nobody can say which
//! - a client for which something waits even now, on a slow network
//! - all, if few bytes may wait for all clients together: the messages here are more
//! - a question, if the client owes as many answers as it may: answers to earlier questions were
//!   not given

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use sio_proto::ByteString;
use sio_proto::client::{EmitId, Generation, Offline};
use sio_proto::server::{Key, Policy, SendError};

use crate::host::Socket;
use crate::straits::Straits;
use crate::users::Saying;
use crate::violation::Promise;
use crate::world::{NAMESPACES, World, note};

/// How long it may take until all have answered.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same, if a poll takes few messages and the way is long.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked whether all have answered.
const OFTEN: Duration = Duration::from_millis(250);

/// The most letters of a message, and the most bytes of its attachment.
const LETTERS: usize = 60;

/// What ends a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The user at the other end answers.
    Words,
    /// The other end says by itself that it has come, as on the wire of 0.9.
    Receipt,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// The messages that have to come: their numbers, their clients, and how they were sent.
    messages: BTreeMap<u64, (usize, String)>,
    /// The questions of the server that have to be answered, by their ids.
    questions: BTreeMap<u64, (usize, Answer)>,
    /// The numbers of all questions.
    asked: BTreeSet<u64>,
    /// The numbers of those that are messages.
    messages_asked: BTreeSet<u64>,
    /// The events of clients that have to end.
    emits: BTreeMap<(usize, EmitId), Answer>,
    /// The events that have to be heard: the client, its namespace and their numbers.
    unheard: BTreeSet<(usize, usize, usize)>,
    /// All events.
    said: BTreeSet<(usize, usize, usize)>,
}

impl Roll {
    pub(crate) fn note_arrived(&mut self, client: usize, number: u64) {
        if self.messages.get(&number).is_some_and(|message| message.0 == client) {
            self.messages.remove(&number);
        }
    }

    pub(crate) fn note_heard(&mut self, client: usize, namespace: usize, number: usize) {
        self.unheard.remove(&(client, namespace, number));
    }

    pub(crate) fn has_question(&self, number: u64) -> bool {
        self.asked.contains(&number)
    }

    /// Whether a question is a message, and no event.
    pub(crate) fn is_message(&self, number: u64) -> bool {
        self.messages_asked.contains(&number)
    }

    pub(crate) fn has_event(&self, client: usize, namespace: usize, number: usize) -> bool {
        self.said.contains(&(client, namespace, number))
    }

    pub(crate) fn end_question(&mut self, id: u64) -> Option<Answer> {
        self.questions.remove(&id).map(|(_, answer)| answer)
    }

    pub(crate) fn end_emit(&mut self, client: usize, emit: EmitId) -> Option<Answer> {
        self.emits.remove(&(client, emit))
    }

    fn is_complete(&self) -> bool {
        let Self {
            messages,
            questions,
            emits,
            unheard,
            ..
        } = self;
        messages.is_empty() && questions.is_empty() && emits.is_empty() && unheard.is_empty()
    }
}

impl World {
    /// See the [module](self).
    pub(crate) fn call_roll(&mut self) {
        if self.plan.straits.is_some_and(Straits::ends_who_waits) {
            return;
        }
        // The operations before it stay what they are.
        let mut rng = Rng::with_seed(self.plan.seed ^ 0x2011_ca11);
        for namespace in 0..NAMESPACES.len() {
            self.wait_for(|world| world.present(namespace).iter().all(|socket| world.is_idle(*socket)));
            let present = self.present(namespace);
            let present: Vec<Socket> = present.into_iter().filter(|socket| self.is_idle(*socket)).collect();
            note!(self, "roll call in {namespace}: {present:?} of {}", self.members.len());
            self.send_volatile(present.clone(), &mut rng);
            for socket in &present {
                self.send_by_each_policy(*socket, &mut rng);
            }
            self.wait_for(|world| world.roll.is_complete());
            for socket in present {
                self.ask_both(socket, &mut rng);
            }
            self.wait_for(|world| world.roll.is_complete());
            self.judge_roll();
        }
    }

    /// Lets time pass until something is so, or has not become so for long.
    fn wait_for(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) {
        let plan = &self.plan;
        let is_slow = plan.server.max_packets_per_poll < 16 && (plan.traffic.latency > 5 || plan.traffic.holds > 0);
        let end = self.now + if is_slow { LONG_PATIENCE } else { PATIENCE };
        self.settle();
        while self.failure.is_none() && self.now < end && !is_so(self) {
            self.advance(self.now + OFTEN);
        }
    }

    /// The sockets of this namespace that have to answer.
    fn present(&self, namespace: usize) -> Vec<Socket> {
        let here = |client: usize| {
            let members = self.members.iter();
            members.filter(move |(_, member)| member.client == client && member.namespace == namespace)
        };
        let users = (0..self.users()).filter(|client| !self.peers[*client].is_doubled);
        let alone = users.filter_map(|client| here(client).next().filter(|_| here(client).count() == 1));
        alone
            .filter(|(_, member)| member.is_accepted)
            .map(|(socket, _)| *socket)
            .collect()
    }

    /// Whether nothing waits for the client of a socket.
    fn is_idle(&mut self, socket: Socket) -> bool {
        let queued = self
            .server
            .shard(self.now, socket.shard, |shard, _| shard.queued(socket.key));
        queued.is_some_and(|queued| queued.packets == 0 && queued.bytes == 0)
    }

    /// Sends a volatile message to each socket. It leaves at once or not at all, so it is sent
    /// again until it leaves: between two polls it cannot.
    fn send_volatile(&mut self, mut sockets: Vec<Socket>, rng: &mut Rng) {
        let padding = rng.usize(0..=LETTERS);
        self.wait_for(|world| {
            sockets.retain(|socket| !world.send_in_roll(*socket, padding, (true, Policy::Ordered), false));
            sockets.is_empty()
        });
        let left = sockets.first().and_then(|socket| self.members.get(socket));
        if let Some(client) = left.map(|member| member.client) {
            let words = format_args!("no volatile message leaves for client {client}");
            self.fail(Promise::Order, words);
        }
    }

    fn send_by_each_policy(&mut self, socket: Socket, rng: &mut Rng) {
        // Each has a key of its own, so none takes the place of another.
        let key = |text| Key::from_text(text);
        let policies = [
            Policy::Ordered,
            Policy::Refuse,
            Policy::Drop,
            Policy::DropOldest,
            Policy::Newest(key("roll-newest")),
            Policy::Merge(key("roll-merge")),
            Policy::Behind(key("roll-behind")),
        ];
        // An attachment is a packet more, and a queue may have room for twelve.
        let with_bytes = rng.usize(0..policies.len());
        for (at, policy) in policies.into_iter().enumerate() {
            let padding = rng.usize(0..=LETTERS);
            self.send_in_roll(socket, padding, (false, policy), at == with_bytes);
            self.settle();
        }
    }

    /// Sends a message that has to come. Returns whether it was taken.
    fn send_in_roll(
        &mut self,
        socket: Socket,
        padding: usize,
        (is_volatile, policy): (bool, Policy),
        has_bytes: bool,
    ) -> bool {
        let how = format!("{policy:?}, volatile {is_volatile}");
        let sent = self.emit_to(socket, padding, (is_volatile, policy), has_bytes);
        let client = self.members.get(&socket).map(|member| member.client);
        match (sent, client) {
            (Some(Ok(number)), Some(client)) => {
                self.roll.messages.insert(number, (client, how));
            }
            (Some(Err(SendError::Dropped)), _) if is_volatile => return false,
            (Some(Err(error)), Some(client)) => {
                let words = format_args!("a message for client {client} is not sent ({how}): {error}");
                self.fail(Promise::Order, words);
            }
            _ => {}
        }
        true
    }

    /// The server and a client ask each other, and the client says what needs no answer.
    fn ask_both(&mut self, socket: Socket, rng: &mut Rng) {
        let Some(member) = self.members.get(&socket) else {
            return;
        };
        let (client, namespace, owes) = (member.client, member.namespace, member.asks.len());
        let peer = &self.peers[client];
        let (is_plain, has_bytes) = (peer.is_plain(), !peer.is_old());
        let has_receipts = peer.config.generation == Generation::V0_9;
        let questions = [
            ("m", Answer::Words, !is_plain),
            ("message", Answer::Receipt, has_receipts),
        ];
        for (at, (name, answer, _)) in questions.into_iter().filter(|question| question.2).enumerate() {
            if owes + at >= self.plan.server.max_pending_acks {
                continue;
            }
            let (number, id) = (self.number(), self.number());
            let shape = self.shaped(number, rng.usize(0..=LETTERS), has_bytes, false);
            self.roll.asked.insert(number);
            if answer == Answer::Receipt {
                self.roll.messages_asked.insert(number);
            }
            if self.ask_in(socket, None, (number, id), (name, shape)) {
                self.roll.questions.insert(id, (client, answer));
            }
            self.settle();
        }
        let newest = || Offline::Newest(ByteString::from_static("roll"));
        let events = [
            (Offline::Queue, None, true),
            (newest(), None, true),
            (Offline::Queue, Some(Answer::Words), !is_plain),
            (Offline::Queue, Some(Answer::Receipt), has_receipts),
        ];
        for (offline, answer, _) in events.into_iter().filter(|event| event.2) {
            let saying = Saying {
                padding: rng.usize(0..=LETTERS),
                has_bytes,
                asks: answer.is_some(),
                timeout: answer.map(|_| LONG_PATIENCE),
                offline,
                is_message: answer == Some(Answer::Receipt),
            };
            // It may be heard, and even answered, before its number is known here.
            let number = self.place(client, namespace).up.len();
            self.roll.said.insert((client, namespace, number));
            self.roll.unheard.insert((client, namespace, number));
            match (self.say(client, namespace, saying), answer) {
                (Some((emit, _)), Some(answer)) => {
                    self.roll.emits.insert((client, emit), answer);
                }
                (Some(_), None) => {}
                (None, _) => {
                    let words = format_args!("client {client} cannot say {number} in {namespace}");
                    self.fail(Promise::Acknowledgement, words);
                }
            }
        }
    }

    /// Everything has to have come.
    fn judge_roll(&mut self) {
        let Roll {
            messages,
            questions,
            emits,
            unheard,
            ..
        } = std::mem::take(&mut self.roll);
        let promise = match self.plan.recovery {
            Some(_) => Promise::Recovery,
            None => Promise::Order,
        };
        if let Some((number, (client, how))) = messages.first_key_value() {
            let words = format_args!("{number} has not come to client {client} in the roll call: {how}");
            self.fail(promise, words);
        }
        if let Some((client, _, number)) = unheard.first() {
            let words = format_args!("{number} of client {client} was not heard in the roll call");
            self.fail(promise, words);
        }
        if let Some((id, (client, answer))) = questions.first_key_value() {
            let words = format_args!("client {client} has not answered question {id} of the roll call: {answer:?}");
            self.fail(Promise::Acknowledgement, words);
        }
        if let Some(((client, emit), answer)) = emits.first_key_value() {
            let words = format_args!("client {client} has no answer to {emit:?} of the roll call: {answer:?}");
            self.fail(Promise::Acknowledgement, words);
        }
    }
}
