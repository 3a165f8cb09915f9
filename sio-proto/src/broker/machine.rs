//! The broker as a value: its inputs and outputs, and how connections begin and end.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::abandoned::Abandoned;
use super::channels::Channels;
use super::cluster::SlotMap;
use super::command::{Command, Event};
use super::config::{Address, BrokerConfig, BrokerConfigError};
use super::connection::{Connection, Expect, Probe, Role, Sharded, Stage, Waiting};
use super::counters::Counters;
use super::error::{BrokerError, Refusal};
use super::flushing::Batches;
use super::reading::Reading;
use super::requests::Requests;
use super::{publishing, requests};
use crate::{Entropy, LinkId, Time};

/// The place of the connection for publishing.
pub(super) const MAIN: usize = 0;

/// The place of the connection for subscribing.
pub(super) const SUBSCRIBER: usize = 1;

/// The place of the connection to a sentinel, if there are sentinels.
pub(super) const SENTINEL: usize = 2;

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a TCP connection.
    Open {
        /// Its name from now on. The caller says how it goes on with
        /// [`Broker::handle_connected`] or [`Broker::handle_closed`].
        link: LinkId,
        /// Where to.
        address: Address,
        /// Whether TLS is spoken on it.
        tls: bool,
    },
    /// Write these bytes.
    Write {
        /// The connection.
        link: LinkId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Close the connection, or give up opening it. It is not named again.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Something has happened.
    Event(Event),
}

/// All connections of a node to its broker. See the [module](super).
pub struct Broker {
    pub(super) config: BrokerConfig,
    pub(super) entropy: Box<dyn Entropy>,
    pub(super) connections: Vec<Option<Connection>>,
    link_generation: u32,
    pub(super) outputs: VecDeque<Output>,
    pub(super) channels: Channels,
    /// When subscriptions that were refused are tried again.
    pub(super) resubscribe_at: Option<Time>,
    pub(super) requests: Requests,
    pub(super) streams: BTreeMap<Bytes, Reading>,
    /// Slots whose messages were written to a master that does not own them any more, and that has
    /// not answered all of them, each with the connection. All other messages of the slot wait,
    /// because some of these are written again. So the messages of a slot are on their way to one
    /// master at a time.
    pub(super) moving: BTreeSet<(u16, usize)>,
    /// Whether some connection has messages of such a slot in its queue.
    pub(super) queues_move: bool,
    /// Whether an input has come since the connections were last asked for bytes to write. Only
    /// inputs put bytes together, or let bytes leave that wait.
    pub(super) may_write: bool,
    /// Whether what has no connection has to be routed again, behind the bytes that are being read.
    pub(super) routes_again: bool,
    /// Whether no entries of streams are taken now.
    pub(super) holds_streams: bool,
    /// Connections that were given up, and that their servers may still hear.
    pub(super) abandoned: VecDeque<Abandoned>,
    /// How many entries of streams have failed.
    pub(super) failed_entries: u64,
    /// How many of them were not taken over, because there was no room.
    pub(super) refused_entries: u64,
    /// How many entries in order are not answered, and the connection that has all of them. If
    /// there is none, some were sent on to another master.
    pub(super) in_order: (usize, Option<usize>),
    /// What waits and has no connection to wait for. It is brought into its order when it is
    /// routed.
    pub(super) unrouted: VecDeque<Waiting>,
    /// How much has waited.
    pub(super) numbers: u64,
    /// What waits, in bytes.
    pub(super) held_bytes: usize,
    /// The messages that are not settled, and the questions when they are.
    pub(super) batches: Batches,
    /// Whether it is known what kind of broker it is.
    pub(super) is_discovered: bool,
    pub(super) cluster: Option<SlotMap>,
    /// How often the masters of the cluster have been learned. What was counted on other masters
    /// is counted again.
    pub(super) topology: u64,
    /// When the slots of the cluster may be asked for again.
    pub(super) slots_wanted: Option<Time>,
    /// The next server that is tried.
    pub(super) server_at: usize,
    pub(super) sentinel_at: usize,
    pub(super) master: Option<Address>,
    pub(super) counters: Counters,
    is_up: bool,
    /// Whether [`Event::Down`] was told, since the start.
    is_down_told: bool,
    is_stopped: bool,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Begins: the first connection is opened.
    ///
    /// # Errors
    /// If the settings make no sense.
    pub fn new(now: Time, config: BrokerConfig, entropy: Box<dyn Entropy>) -> Result<Self, BrokerConfigError> {
        config.validate()?;
        let mut broker = Self {
            entropy,
            connections: Vec::new(),
            link_generation: 0,
            outputs: VecDeque::new(),
            channels: Channels::default(),
            resubscribe_at: None,
            requests: Requests::default(),
            streams: BTreeMap::new(),
            moving: BTreeSet::new(),
            queues_move: false,
            may_write: true,
            routes_again: false,
            holds_streams: false,
            abandoned: VecDeque::new(),
            failed_entries: 0,
            refused_entries: 0,
            in_order: (0, None),
            unrouted: VecDeque::new(),
            numbers: 0,
            held_bytes: 0,
            batches: Batches::default(),
            is_discovered: false,
            cluster: None,
            topology: 0,
            slots_wanted: None,
            server_at: 0,
            sentinel_at: 0,
            master: None,
            counters: Counters::default(),
            is_up: false,
            is_down_told: false,
            is_stopped: false,
            config,
        };
        let first = broker.config.servers[0].clone();
        broker.add(now, Role::Main, first.clone());
        broker.add(now, Role::Subscriber, first.clone());
        if broker.config.sentinel_master.is_some() {
            broker.add(now, Role::Sentinel, first);
        }
        broker.handle_timeout(now);
        Ok(broker)
    }

    /// A command of the node.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        self.may_write = true;
        if self.is_stopped {
            if let Command::Request { tag, .. } | Command::Flush { tag } = command {
                self.counters.failed_requests += 1;
                let answer = Err(BrokerError::Stopped);
                self.tell(Event::Answer { tag, answer });
            }
            return;
        }
        match command {
            Command::Subscribe { channel, sharded } => self.want(now, (channel, sharded), true),
            Command::Unsubscribe { channel, sharded } => self.want(now, (channel, sharded), false),
            Command::Publish {
                channel,
                payload,
                sharded,
            } => self.publish(now, channel, payload, sharded),
            Command::Request { tag, request } => self.request(now, tag, request),
            Command::Flush { tag } => self.flush_asked(now, tag),
            Command::ReadStream { stream, after } => self.read_stream(now, stream, after),
            Command::StopStream { stream } => self.stop_stream(&stream),
        }
        self.settle();
    }

    /// Whether a command would be taken now: the broker has not been stopped, and there is room for
    /// the bytes of a message or a request.
    #[must_use]
    pub fn would_take(&self, command: &Command) -> bool {
        match command {
            _ if self.is_stopped => false,
            Command::Publish { channel, payload, .. } => self.has_room(publishing::weight(channel, payload)),
            Command::Request { request, .. } => self.has_room(requests::weight(request)),
            Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Flush { .. }
            | Command::ReadStream { .. }
            | Command::StopStream { .. } => true,
        }
    }

    /// Whether this weight may wait besides what waits.
    pub(super) const fn has_room(&self, weight: usize) -> bool {
        self.held_bytes.saturating_add(weight) <= self.config.max_waiting_bytes
    }

    /// A connection stands, with TLS if it was asked for.
    pub fn handle_connected(&mut self, now: Time, link: LinkId) {
        self.may_write = true;
        let Some(at) = self.find(link) else { return };
        if let Some(connection) = self.connection(at)
            && let Stage::Dialing { until } = connection.stage
        {
            connection.stage = Stage::Greeting { until };
            self.greet(now, at);
        }
    }

    /// A connection has ended, or could not be made. `why` is the reason that a person can read, if
    /// it is not just the end.
    pub fn handle_closed(&mut self, now: Time, link: LinkId, why: Option<ByteString>) {
        self.may_write = true;
        let Some(at) = self.find(link) else { return };
        let why = why.map_or(BrokerError::Closed, BrokerError::Unreachable);
        self.end(now, at, why, false);
        self.settle();
    }

    /// Bytes have come. What is left in the buffer belongs to a reply that is not complete: the
    /// next bytes go behind it.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        self.may_write = true;
        while let Some(at) = self.find(link) {
            let Some(connection) = self.connection(at) else { return };
            match connection.decoder.decode(bytes) {
                Ok(Some(reply)) => self.handle_reply(now, at, reply),
                Ok(None) => {
                    self.take_all_moving();
                    self.route_moved(now);
                    self.pump(now, at);
                    self.settle();
                    return;
                }
                Err(error) => {
                    self.hold_back(at, error);
                    let why = alloc::format!("{error}").into();
                    self.lose(now, at, BrokerError::Unreadable(why));
                }
            }
        }
        // The connection has ended, and nothing that came behind counts.
        bytes.clear();
        self.take_all_moving();
        self.route_moved(now);
        self.settle();
    }

    /// The connection takes no more bytes now. Until it is drained, what is to be written waits
    /// here, where it is bounded.
    pub fn handle_blocked(&mut self, link: LinkId) {
        if let Some(at) = self.find(link)
            && let Some(connection) = self.connection(at)
        {
            connection.blocked = true;
        }
    }

    /// The connection has written everything.
    pub fn handle_drained(&mut self, now: Time, link: LinkId) {
        self.may_write = true;
        let Some(at) = self.find(link) else { return };
        if let Some(connection) = self.connection(at) {
            connection.blocked = false;
        }
        self.pump(now, at);
    }

    /// Gives up everything: connections are closed, and requests are answered with
    /// [`BrokerError::Stopped`]. Later commands do nothing.
    pub fn stop(&mut self, now: Time) {
        if self.is_stopped {
            return;
        }
        self.flush();
        self.is_stopped = true;
        for at in 0..self.connections.len() {
            if self.connection(at).is_some_and(|connection| connection.is_open()) {
                self.end(now, at, BrokerError::Stopped, true);
            }
        }
        self.connections.clear();
        self.unrouted.clear();
        self.streams.clear();
        self.channels = Channels::default();
        self.fail_all_requests(&BrokerError::Stopped);
        self.fail_all_flushes(&BrokerError::Stopped);
        self.held_bytes = 0;
        self.go_down(BrokerError::Stopped);
    }

    /// What has to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && core::mem::take(&mut self.may_write) {
            self.flush();
        }
        self.outputs.pop_front()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            waiting_bytes: self.held_bytes,
            waiting_since: self.waiting_since(),
            channels: self.channels.wanted,
            connections: self.each().filter(|(_, connection)| connection.is_ready()).count(),
            is_up: self.is_up,
            ..self.counters
        }
    }

    /// Hands over the bytes that have been put together.
    fn flush(&mut self) {
        for (at, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            if !connection.unsent.is_empty() && !connection.blocked {
                let link = connection.link(at);
                connection.take_unsent(|bytes| self.outputs.push_back(Output::Write { link, bytes }));
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &Connection)> {
        let places = self.connections.iter().enumerate();
        places.filter_map(|(at, connection)| Some((at, connection.as_ref()?)))
    }

    pub(super) fn connection(&mut self, at: usize) -> Option<&mut Connection> {
        self.connections.get_mut(at)?.as_mut()
    }

    pub(super) fn find(&self, link: LinkId) -> Option<usize> {
        let connection = self.connections.get(link.slot())?.as_ref()?;
        (connection.is_open() && connection.link(link.slot()) == link).then_some(link.slot())
    }

    /// Adds a connection, which is dialed as soon as it may. Returns its place.
    pub(super) fn add(&mut self, now: Time, role: Role, address: Address) -> usize {
        let connection = Some(Connection::new(now, role, address, &self.config));
        match self.connections.iter().position(Option::is_none) {
            Some(at) => {
                self.connections[at] = connection;
                at
            }
            None => {
                self.connections.push(connection);
                self.connections.len() - 1
            }
        }
    }

    /// Dials, if the connection may be dialed. The caller knows that it is idle.
    pub(super) fn dial(&mut self, now: Time, at: usize) {
        let Some(address) = self.destination(at) else { return };
        self.link_generation = self.link_generation.wrapping_add(1);
        let generation = self.link_generation;
        let (tls, until) = (self.config.tls, now + self.config.connect_timeout);
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        if connection.attempts > 0 {
            self.counters.reconnects += 1;
        }
        connection.address = address.clone();
        connection.begin(generation, until, &self.config);
        let link = connection.link(at);
        self.outputs.push_back(Output::Open { link, address, tls });
    }

    /// Ends a connection that the adapter still has.
    pub(super) fn lose(&mut self, now: Time, at: usize, why: BrokerError) {
        self.end(now, at, why, true);
    }

    /// Ends a connection: everything that waited for its answers is told, and another one is made
    /// after a delay.
    fn end(&mut self, now: Time, at: usize, why: BrokerError, closes: bool) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        let link = connection.link(at);
        let was_ready = connection.is_ready();
        let expects = core::mem::take(&mut connection.expects);
        self.abandon(at, &expects);
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        connection.end(now, &self.config, self.entropy.as_mut());
        let role = connection.role.clone();
        if closes {
            self.outputs.push_back(Output::Close { link });
        }
        if matches!(why, BrokerError::Deaf) {
            self.counters.deaf += 1;
        }
        self.give_up(expects, &why);
        self.forget_probes(now, at);
        match role {
            Role::Subscriber | Role::NodeSubscriber => self.channels.lose(at),
            Role::Main => self.main_lost(now, was_ready),
            Role::Node | Role::Reader(_) => self.want_slots(now),
            Role::Sentinel => self.sentinel_at = self.sentinel_at.wrapping_add(1),
        }
        if role == Role::NodeSubscriber {
            self.want_slots(now);
        }
        // What has waited for the answers of this connection waits no more.
        self.has_answered_all(at);
        if let Some(connection) = self.connection(at) {
            connection.sharded = Sharded::default();
        }
        self.route_moved(now);
        // While the master is known and stands, sentinels are not needed.
        if role != Role::Sentinel || self.master.is_none() {
            self.go_down(why);
        }
    }

    /// The answers to these will not come.
    fn give_up(&mut self, expects: VecDeque<Expect>, why: &BrokerError) {
        for expect in expects {
            match expect {
                Expect::Publish(batch) => {
                    self.counters.unconfirmed += 1;
                    self.settled(batch);
                }
                Expect::Sharded(kept) => {
                    self.counters.unconfirmed += 1;
                    self.held_bytes -= kept.weight;
                    self.settled(kept.batch);
                }
                Expect::Part(request) => self.fail_request(request, why.clone()),
                Expect::Kill(old) => self.remember_abandoned(old),
                Expect::Step(_)
                | Expect::Ping
                | Expect::Skip
                | Expect::Queued(_)
                | Expect::Slots
                | Expect::Subscribe(..)
                | Expect::Unsubscribe(..)
                | Expect::Leave(_)
                | Expect::ProbeSubscribe
                | Expect::Probe(..)
                | Expect::Clock
                | Expect::LastEntry
                | Expect::Entries
                | Expect::Master
                | Expect::Watch => {}
            }
        }
    }

    /// Probes that this connection has carried are forgotten: nobody knows whether they arrived.
    fn forget_probes(&mut self, now: Time, carrier: usize) {
        let next = now + self.config.probe_interval;
        for connection in self.connections.iter_mut().flatten() {
            if connection.probe == (Probe::Asked { by: carrier }) {
                connection.probe = Probe::Hears { next };
            }
        }
    }

    /// The broker is away, for the reason that is told.
    pub(super) fn go_down(&mut self, why: BrokerError) {
        if self.is_up || !self.is_down_told {
            self.is_up = false;
            self.is_down_told = true;
            self.tell(Event::Down { why });
        }
    }

    /// Looks whether the broker is there again.
    pub(super) fn settle(&mut self) {
        if self.is_up || self.is_stopped || !self.is_discovered || !self.channels.are_all_heard() {
            return;
        }
        let is_needed = |connection: &Connection| match connection.role {
            Role::Sentinel => false,
            Role::Subscriber => self.channels.wanted > 0,
            _ => true,
        };
        let is_there = self
            .each()
            .all(|(_, connection)| connection.is_ready() || !is_needed(connection));
        if is_there {
            self.is_up = true;
            self.tell(Event::Up);
        }
    }

    /// Whether [`Broker::stop`] was called.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The error of a server makes its connection useless, for now at least.
    pub(super) fn is_fatal(error: &BrokerError) -> bool {
        error.is_refused_as(Refusal::Credentials) || error.is_refused_as(Refusal::NotNow)
    }
}
