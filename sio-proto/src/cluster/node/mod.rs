//! The machine of one node.

mod answering;
mod asking;
mod channels;
mod peers;
mod reading;
mod receiving;
mod requests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::comeback::NotRestored;
use super::counters::{Counters, Traffic};
use super::delivery::{Delivery, Outcome, RequestId};
use super::emitter::NotSent;
use super::messages::{Body, EMITTER};
use super::order::NodeId;
use super::output::Outputs;
use super::record::RecordWriter;
use super::seal::{Guard, Seal, Signer, split};
use super::sending::Outgoing;
use super::voice::Voice;
use crate::broker::{Answer, BrokerError, Command, Event};
use crate::codec::pieces;
use crate::{ClusterConfig, ClusterKind, ConfigError, Entropy, Time};
use channels::Place;
use peers::Peers;
pub use reading::{Message, Reader, Unread};
use requests::Requests;

/// One node of a cluster.
///
/// Inputs: [`open_namespace`](Self::open_namespace), [`close_namespace`](Self::close_namespace),
/// [`open_room`](Self::open_room), [`close_room`](Self::close_room) follow what this node has.
/// [`handle_local`](Self::handle_local) takes what its application wants from the others,
/// [`handle_broker`](Self::handle_broker) what the broker brings, `answer_…` what was answered
/// here, and [`handle_timeout`](Self::handle_timeout) the time. Each writes into [`Outputs`].
///
/// A node keeps nothing for questions of others, and nothing for orders. What it keeps are the
/// channels of its own rooms, its own requests, and the names of other nodes; the last two are
/// bounded by [`ClusterConfig`], the first by the rooms that the application lets its sockets
/// join.
pub struct Node {
    config: Arc<ClusterConfig>,
    reader: Arc<Reader>,
    entropy: Box<dyn Entropy>,
    instances: BTreeMap<ByteString, Instance>,
    /// What each channel is for. Two names can be equal only if a namespace or room has `#` in its
    /// name; then all of them are meant.
    channels: BTreeMap<Bytes, Vec<Place>>,
    /// Number of namespaces of each stream.
    streams: BTreeMap<Bytes, usize>,
    /// The namespaces with nodes that send heartbeats. Mostly there are none.
    beating: BTreeSet<ByteString>,
    /// The namespaces that are open only for questions. Mostly there are none.
    guests: BTreeSet<ByteString>,
    requests: Requests,
    counters: Counters,
    signer: Signer,
    guard: Guard,
    /// Whether the broker has gone, and has not come back yet.
    is_down: bool,
    /// How many entries of streams the broker has said to have failed.
    failed_entries: u64,
}

/// One namespace of this node.
struct Instance {
    id: NodeId,
    /// How own messages begin or end. An own message that comes back is not read.
    marks: [Bytes; 3],
    /// The channels that have to be heard before clients may come.
    awaited: BTreeSet<Bytes>,
    /// The questions that wait until these channels are heard, and what asks them.
    held: Vec<(u64, [Command; 2])>,
    /// Until when the namespace is open although the application has not opened it: for questions
    /// of this node.
    guest_until: Option<Time>,
    peers: Peers,
    /// When this node has last said something in the stream. Only nodes of the streams adapter 0.2
    /// have to know that it is alive.
    said: Time,
}

/// The kind of a request to the broker, in the last two bits of its tag.
mod tag {
    /// The number of subscribers, for a request.
    pub(super) const COUNT: u64 = 0;
    /// An order that is stored, whose sender hears of it.
    pub(super) const ORDER: u64 = 1;
    /// Another entry.
    pub(super) const ENTRY: u64 = 2;
}

impl Node {
    /// A node without namespaces. `entropy` names it and its requests.
    ///
    /// # Errors
    ///
    /// Those of [`ClusterConfig::validate`].
    pub fn new(config: ClusterConfig, mut entropy: Box<dyn Entropy>) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut sender = [0; 8];
        if !config.secrets.is_empty() {
            entropy.fill(&mut sender);
        }
        Ok(Self {
            reader: Arc::new(Reader::new(&config)),
            config: Arc::new(config),
            entropy,
            instances: BTreeMap::new(),
            channels: BTreeMap::new(),
            streams: BTreeMap::new(),
            beating: BTreeSet::new(),
            guests: BTreeSet::new(),
            requests: Requests::default(),
            counters: Counters::default(),
            signer: Signer::new(u64::from_be_bytes(sender)),
            guard: Guard::default(),
            is_down: false,
            failed_entries: 0,
        })
    }

    /// The name of this node in a namespace that is open.
    #[must_use]
    pub fn id(&self, namespace: &str) -> Option<&NodeId> {
        let instance = self.instances.get(namespace);
        let own = instance.filter(|instance| instance.guest_until.is_none());
        own.map(|instance| &instance.id)
    }

    /// What reads the messages of others. It is the same for the whole life of the node.
    #[must_use]
    pub const fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// What writes one message of this node in a namespace that is open.
    pub fn voice(&mut self, now: Time, namespace: &ByteString) -> Option<Voice> {
        let instance = self.instances.get(namespace)?;
        Some(Voice {
            number: self.requests.number(),
            in_stream: instance.peers.has_stream_only(),
            uid: instance.id.0.clone(),
            config: Arc::clone(&self.config),
            namespace: namespace.clone(),
            question: None,
            seal: self.seal(now),
        })
    }

    fn seal(&mut self, now: Time) -> Option<Seal> {
        let secret = self.config.secrets.first()?.clone();
        Some(self.signer.seal(now, secret))
    }

    /// What writes one record of a client that may come back.
    pub fn record_writer(&mut self, now: Time) -> RecordWriter {
        RecordWriter {
            seal: self.seal(now),
            config: Arc::clone(&self.config),
        }
    }

    /// Counts why a record was not believed, if it was not ([`Counters::unsigned`] and others).
    pub const fn count_doubt(&mut self, why: &NotRestored) {
        match why {
            NotRestored::Unsigned => self.counters.unsigned += 1,
            NotRestored::Forged => self.counters.forged += 1,
            NotRestored::Stale => self.counters.stale += 1,
            _ => {}
        }
    }

    /// Says what time it is: `now` is so long after the beginning of 1970. With
    /// [`ClusterConfig::secrets`] this has to be said at the beginning, and again every few
    /// seconds, because clocks are set. Without secrets nobody needs it.
    pub const fn set_unix_time(&mut self, now: Time, time: Duration) {
        self.signer.set_unix_time(now, time);
    }

    /// What writes one order in a namespace that is not open: the voice of an emitter, which is no
    /// node of the namespace.
    pub fn guest_voice(&mut self, now: Time, namespace: &ByteString) -> Voice {
        Voice {
            number: self.requests.number(),
            seal: self.seal(now),
            config: Arc::clone(&self.config),
            in_stream: matches!(self.config.kind, ClusterKind::Streams(_)),
            uid: ByteString::from_static(EMITTER),
            namespace: namespace.clone(),
            question: None,
        }
    }

    /// What writes one question. A namespace that is not open is opened for its answers, until no
    /// question has been asked in it for [`ClusterConfig::request_timeout`].
    ///
    /// # Errors
    ///
    /// [`NotSent::TooManyRequests`].
    pub fn asking_voice(&mut self, now: Time, namespace: &ByteString, out: &mut Outputs) -> Result<Voice, NotSent> {
        if self.requests.len() >= self.config.max_requests {
            return Err(NotSent::TooManyRequests);
        }
        self.open_as_guest(now, namespace, out)?;
        let question = Some(self.draw());
        let voice = self.voice(now, namespace).ok_or(NotSent::UnknownNamespace)?;
        Ok(Voice { question, ..voice })
    }

    /// The other nodes that have been heard in a namespace lately, and when. Nodes say nothing as
    /// long as they have nothing to say, except those of the streams adapter 0.2, so the list has
    /// all nodes only after a request.
    pub fn nodes(&self, now: Time, namespace: &str) -> impl Iterator<Item = (&NodeId, Time)> {
        let instance = self.instances.get(namespace).into_iter();
        instance.flat_map(move |instance| instance.peers.heard(now))
    }

    /// The counts since the beginning.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Number of requests that wait for answers.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Takes what the broker brings.
    pub fn handle_broker(&mut self, now: Time, event: Event, out: &mut Outputs) {
        let (mut unread, reader) = (Vec::new(), Arc::clone(&self.reader));
        self.recognise(event, &mut unread);
        for message in unread {
            let message = reader.read(message);
            self.handle_message(now, message, out);
        }
    }

    /// Takes what the broker says of itself and of channels.
    fn handle_event(&mut self, now: Time, event: Event, out: &mut Outputs) {
        match event {
            Event::Subscribed { channel, .. } => self.subscribed(&channel, out),
            Event::Answer { tag, answer } => {
                match &answer {
                    Err(BrokerError::NotInOrder { failed }) => self.failed_entries = *failed,
                    Err(_) if tag & 3 != tag::COUNT => self.failed_entries += 1,
                    _ => {}
                }
                self.answered(now, tag, answer, out);
            }
            // Channels and streams are the broker's to restore. Requests have their deadlines.
            Event::Up => self.is_down = false,
            Event::Down { why } => {
                self.is_down = true;
                self.refuse_held(now, &why, out);
            }
            // They are read first, or are nothing to a node.
            Event::Message { .. } | Event::Entry { .. } | Event::Reading { .. } => {}
        }
    }

    /// The questions that were not asked yet will not be asked: nobody knows when the broker comes
    /// back.
    fn refuse_held(&mut self, now: Time, why: &BrokerError, out: &mut Outputs) {
        let mut held = Vec::new();
        for instance in self.instances.values_mut() {
            held.append(&mut instance.held);
        }
        for (number, _) in held {
            self.end(now, number, Outcome::Broker(why.clone()), out);
        }
    }

    /// The request with this tag was not given to the broker, for this reason.
    pub fn handle_refused(&mut self, now: Time, tag: u64, why: BrokerError, out: &mut Outputs) {
        self.answered(now, tag, Err(why), out);
    }

    fn answered(&mut self, now: Time, tag: u64, answer: Result<Answer, BrokerError>, out: &mut Outputs) {
        let number = tag >> 2;
        match (tag & 3, answer) {
            (tag::COUNT, Ok(Answer::Count(count))) => {
                if let Some(pending) = self.requests.get_mut(number) {
                    // As long as the own channels are not heard, this node is not counted for sure.
                    // Then rather one node too many is waited for than an answer is lost.
                    let instance = self.instances.get(&pending.namespace);
                    let is_heard = instance.is_some_and(|instance| instance.awaited.is_empty());
                    let own = u64::from(is_heard && !self.is_down);
                    pending.subscribers = Some(count.saturating_sub(own));
                }
                self.end_if_complete(now, number, out);
            }
            (tag::COUNT, answer) => {
                let why = answer.err().unwrap_or(BrokerError::Unreadable("no number".into()));
                self.end(now, number, Outcome::Broker(why), out);
            }
            (kind, answer) => {
                let entry = match answer {
                    Ok(Answer::Added(id)) => Ok(id),
                    Ok(_) => Err(BrokerError::Unreadable("no id".into())),
                    Err(why) => Err(why),
                };
                self.counters.not_stored += u64::from(entry.is_err());
                match (kind, entry) {
                    (tag::ORDER, entry) => {
                        let request = RequestId(number);
                        out.deliveries.push(Delivery::Stored { request, entry });
                    }
                    // If it was a question, nobody has heard it.
                    (_, Err(why)) => self.end(now, number, Outcome::Broker(why), out),
                    (_, Ok(_)) => {}
                }
            }
        }
    }

    /// Takes the time. Requests whose deadline has come end, and heartbeats are sent.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Outputs) {
        while let Some(number) = self.requests.due(now) {
            self.end(now, number, Outcome::Deadline, out);
        }
        self.keep_alive(now, out);
        self.close_guests(now, out);
    }

    /// Heartbeats, if some node needs them.
    fn keep_alive(&mut self, now: Time, out: &mut Outputs) {
        let mut namespaces = Vec::new();
        for namespace in &self.beating {
            let Some(instance) = self.instances.get(namespace) else {
                continue;
            };
            let dead = instance.peers.dead(now, self.config.heartbeat_timeout);
            if dead.is_some() || instance.next_beat(&self.config).is_some_and(|due| due <= now) {
                namespaces.push(namespace.clone());
            }
        }
        for namespace in namespaces {
            while let Some(dead) = self.dead_peer(now, &namespace) {
                self.lose(now, &namespace, &dead, out);
            }
            let instance = self.instances.get(&namespace);
            if instance.is_none_or(|instance| !instance.peers.any_beats()) {
                self.beating.remove(&namespace);
            }
            let due = instance.and_then(|instance| instance.next_beat(&self.config));
            if due.is_some_and(|due| due <= now) {
                self.beat(now, &namespace, Body::Heartbeat { subscribes: true }, out);
            }
        }
    }

    fn dead_peer(&self, now: Time, namespace: &str) -> Option<NodeId> {
        let instance = self.instances.get(namespace)?;
        instance.peers.dead(now, self.config.heartbeat_timeout)
    }

    fn beat(&mut self, now: Time, namespace: &ByteString, body: Body, out: &mut Outputs) {
        let Some(voice) = self.voice(now, namespace) else {
            return;
        };
        let ClusterKind::Streams(streams) = &self.config.kind else {
            return;
        };
        let outgoing = voice.sender().entry(streams, body);
        let number = self.requests.number();
        self.counters.sent.heartbeats += 1;
        let command = self.command(now, namespace, outgoing, number << 2 | tag::ENTRY, None);
        out.commands.push(command);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called, if ever.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let mut next = self.requests.next_deadline();
        for guest in self.guests.iter().filter_map(|guest| self.instances.get(guest)) {
            next = [next, guest.guest_until].into_iter().flatten().min();
        }
        for instance in self
            .beating
            .iter()
            .filter_map(|namespace| self.instances.get(namespace))
        {
            let death = instance.peers.next_death(self.config.heartbeat_timeout);
            let beat = instance.next_beat(&self.config);
            next = [next, death, beat].into_iter().flatten().min();
        }
        next
    }

    /// Counts a message, and makes it a command for the broker.
    fn command(
        &mut self,
        now: Time,
        namespace: &str,
        outgoing: Outgoing,
        tag: u64,
        known_failures: Option<u64>,
    ) -> Command {
        self.counters.sent.bytes += outgoing.bytes() as u64;
        if let (Outgoing::Entry { .. }, Some(instance)) = (&outgoing, self.instances.get_mut(namespace)) {
            instance.said = now;
        }
        outgoing.command(tag, known_failures)
    }

    /// A name that nobody can guess: 6 characters with the classic adapter, otherwise 16 digits.
    fn draw(&mut self) -> ByteString {
        if self.config.kind == ClusterKind::Classic {
            let mut bytes = [0; 6];
            self.entropy.fill(&mut bytes);
            let mut text = URL_SAFE_NO_PAD.encode(bytes);
            text.truncate(6);
            return text.into();
        }
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        alloc::format!("{:016x}", u64::from_be_bytes(bytes)).into()
    }
}

/// How the messages of a node begin or end, so that an own message is recognised without reading
/// it.
///
/// ```text
/// classic   93 [a6 uid] …      85 [a3 "uid" a6 uid] …    {["uid":"…"] …      behind the first byte
/// others    … [a3 "uid" b0 uid a3 "nsp" nsp]             … [,"uid":"…","nsp":"…"]}
/// ```
/// Behind the marks of the others there may be a signature.
fn marks(kind: &ClusterKind, id: &NodeId, namespace: &str) -> [Bytes; 3] {
    let pack = |pieces: &[&str]| {
        let mut out = BytesMut::new();
        pieces.iter().for_each(|piece| pieces::put_text(&mut out, piece));
        out.freeze()
    };
    if *kind == ClusterKind::Classic {
        let json = alloc::format!("\"uid\":\"{id}\"");
        return [pack(&[&id.0]), pack(&["uid", &id.0]), json.into()];
    }
    let mut json = BytesMut::from(&*alloc::format!(",\"uid\":\"{id}\",\"nsp\":"));
    crate::json::write_string(&mut json, namespace);
    let pack = pack(&["uid", &id.0, "nsp", namespace]);
    [pack.clone(), pack, json.freeze()]
}

impl Instance {
    /// When this node has to say that it is alive, if some node needs to know.
    fn next_beat(&self, config: &ClusterConfig) -> Option<Time> {
        let needed = self.peers.has_stream_only();
        needed.then(|| self.said + config.heartbeat_interval)
    }

    fn is_own(&self, kind: &ClusterKind, payload: &[u8]) -> bool {
        if *kind == ClusterKind::Classic {
            let behind = payload.get(1..).unwrap_or_default();
            return self.marks.iter().any(|mark| behind.starts_with(mark));
        }
        let end = match split(payload) {
            (front, Some(_)) => front,
            (all, None) => all.strip_suffix(b"}").unwrap_or(all),
        };
        self.marks[1..]
            .iter()
            .any(|mark| end.ends_with(mark) || payload.ends_with(mark))
    }
}

/// Adds bytes and one message of a kind.
fn count(traffic: &mut Traffic, bytes: usize, kind: impl FnOnce(&mut Traffic) -> &mut u64) {
    traffic.bytes += bytes as u64;
    *kind(traffic) += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamsConfig;
    use crate::cluster::messages::Envelope;

    /// What a namespace needs ends with it, and what other nodes need ends with them.
    #[test]
    fn what_has_ended_is_kept_nowhere() {
        let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
        let mut node = Node::new(config, Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
        let (now, mut out) = (Time::ZERO, Outputs::default());
        let root = ByteString::from_static("/");
        let hear = |node: &mut Node, out: &mut Outputs| {
            let (uid, namespace) = (ByteString::from_static("old"), root.clone());
            let body = Body::InitialHeartbeat;
            let fields = Envelope { uid, namespace, body }.encode_entry();
            let (stream, id) = (Bytes::from_static(b"socket.io"), Bytes::from_static(b"1-0"));
            node.handle_broker(now, Event::Entry { stream, id, fields }, out);
        };
        node.open_namespace(now, &root, &mut out);
        hear(&mut node, &mut out);
        assert_eq!(node.beating.len(), 1);
        let later = now + node.config.heartbeat_timeout;
        node.handle_timeout(later, &mut out);
        assert!(node.beating.is_empty());
        hear(&mut node, &mut out);
        node.close_namespace(now, &root, &mut out);
        assert!(node.instances.is_empty() && node.channels.is_empty() && node.streams.is_empty());
        assert!(node.beating.is_empty() && node.guests.is_empty());
    }
}
