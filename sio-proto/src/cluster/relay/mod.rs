//! Requests that come to a node that does not have their session, and are passed on to the one that
//! has it. So a load balancer need not be sticky.
//!
//! ```text
//!   client ══ connection ══ node of the connection ── Open, Data, Credit ──► node of the session
//!                                                  ◄── Data, Credit ────────
//! ```
//! A *relay* is one request with its answer, or a websocket. It is a connection over the broker's
//! publish and subscribe: bytes in both directions, each with the number of bytes that the other
//! end takes. The node of the session, its *owner*, reads them as it reads the bytes of a socket.
//! docs/protocol/cluster-redis.md §11 has the messages.
//!
//! **A session id names its owner to nodes, and to nobody else.** Each node tells the others the
//! key with which it makes session ids. An id has a tag that only who has the key can tell from
//! chance, so a node finds the owner of an id among the nodes that it knows, and a client learns
//! nothing. An id that no known node has made is refused where it comes: whoever makes ids up
//! causes no message. The 128 random bits of an id are known to its owner only.
//!
//! # Invariants
//!
//! - No byte reaches a client or a session twice or behind a gap: the position of each is checked,
//!   and a relay with a gap ends.
//! - Each end sends only what the other has allowed, so what waits for one relay is bounded
//!   ([`RelayConfig::max_waiting_bytes`]), and so is what waits for all. If all together is too
//!   much, the client address with the most bytes gives way, and of its relays the one with the
//!   most bytes ends, in units of 1 KiB, whichever it is that brings more.
//! - A relay ends exactly once on each node ([`RelayDelivery::Ended`], or the end of the answer):
//!   at once if its other node or the broker is known to be gone, and at its deadline otherwise.
//! - A request causes at most one message before the other node has taken it up.
//! - Nothing that somebody publishes ends a node or makes it keep more than [`RelayConfig`] allows.
//!   Whoever can publish can send requests, as with everything in a cluster, unless the cluster has
//!   a secret: then messages that are not signed with it are refused before they are read.

mod addresses;
mod counters;
mod line;
mod message;
mod receiving;
mod request;
mod roster;
mod sending;
mod signing;
#[cfg(test)]
mod tests;
mod watching;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;

use super::channels::Channels;
use crate::broker::{Answer, Command, Event};
use crate::id::SidKey;
use crate::request::Peer;
use crate::shares::Shares;
use crate::{ClusterConfig, ConfigError, Entropy, RelayConfig, Time};

use addresses::Addresses;
use line::Line;
use message::{Body, Message};
use roster::Roster;
use signing::Signing;

pub use counters::{RelayCounters, RelayEnd, RelayTraffic};
pub use message::{Final, NodeName, Reset};
pub use request::encode_request;
pub use signing::{RelayMessage, RelayReader};

/// The name of a relay on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineId {
    /// The connection is here, and the session elsewhere.
    Outgoing(u64),
    /// The session is here, and the connection on this node. The other node has given the number.
    Incoming(NodeName, u64),
}

/// What the relays of a node give out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayOutputs {
    /// For the broker, in their order, before the next input.
    pub commands: Vec<Command>,
    /// For the connections and sessions of this node, in their order.
    pub deliveries: Vec<RelayDelivery>,
}

/// What has become of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayDelivery {
    /// Another node brings a connection of this peer. These are its first bytes.
    Opened {
        /// Its name. It is always [`LineId::Incoming`].
        line: LineId,
        /// The client, as the other node knows it.
        peer: Peer,
        /// The beginning of its request.
        bytes: Bytes,
    },
    /// Bytes have come. They wait on this node until [`Relays::keep`] says that they do not.
    Bytes {
        /// The relay.
        line: LineId,
        /// The bytes.
        bytes: Bytes,
        /// Whether the answer ends behind them. Then the relay has ended.
        end: Option<Final>,
    },
    /// [`Relays::send`] takes bytes again.
    Room {
        /// The relay.
        line: LineId,
    },
    /// The relay has ended, and not with an answer.
    Ended {
        /// The relay.
        line: LineId,
        /// Why.
        why: RelayEnd,
        /// What the other node has said, if it was the other node that ended it.
        reset: Option<Reset>,
    },
}

/// The relays of one node, as a value.
pub struct Relays {
    config: RelayConfig,
    name: NodeName,
    key: SidKey,
    /// The beginning of the names of channels. It is the channel of all nodes itself.
    all: Bytes,
    /// The channel of this node.
    own: Bytes,
    sharded: bool,
    is_up: bool,
    /// Whether the broker has confirmed that this node's channel is heard.
    is_heard: bool,
    is_closed: bool,
    roster: Roster,
    addresses: Addresses,
    outgoing: BTreeMap<u64, Line>,
    incoming: BTreeMap<(NodeName, u64), Line>,
    /// The number of the next relay.
    next_line: u64,
    /// When to look at which relay.
    deadlines: BTreeSet<(Time, LineId)>,
    /// Whose bytes wait here.
    room: Shares<Option<IpAddr>, LineId>,
    /// What signs messages, if the cluster has a secret.
    signing: Option<Signing>,
    /// What reads and verifies them.
    reader: Arc<RelayReader>,
    /// When this node says hello next.
    hello: Time,
    /// When to look at the nodes next.
    look: Time,
    /// When a node that is not known may be asked for its name again.
    ask: Time,
    /// The last question to the broker.
    last_tag: u64,
    counters: RelayCounters,
}

impl Relays {
    /// The relays of a node whose session ids are made with `key`. `cluster` says how the channels
    /// of the cluster are called.
    ///
    /// # Errors
    /// If the settings make no sense ([`RelayConfig::validate`]).
    pub fn new(
        config: RelayConfig,
        cluster: &ClusterConfig,
        key: [u8; 16],
        mut entropy: Box<dyn Entropy>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut name = [0; NodeName::LEN];
        entropy.fill(&mut name);
        let mut number = [0; 8];
        entropy.fill(&mut number);
        let signing = Signing::new(cluster, entropy.as_mut());
        let all = Bytes::from(alloc::format!("{}-relay#", cluster.prefix));
        let name = NodeName(name);
        let own = channel_of(&all, name);
        Ok(Self {
            reader: Arc::new(RelayReader::new(&config, cluster, (&all, &own))),
            own,
            all,
            name,
            key,
            sharded: Channels(cluster).sharded(),
            is_up: false,
            is_heard: false,
            is_closed: false,
            roster: Roster::default(),
            addresses: Addresses::default(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
            next_line: u64::from_be_bytes(number),
            deadlines: BTreeSet::new(),
            room: Shares::new(),
            signing,
            hello: Time::ZERO,
            look: Time::ZERO,
            ask: Time::ZERO,
            last_tag: 0,
            counters: RelayCounters::default(),
            config,
        })
    }

    /// The name of this node.
    #[must_use]
    pub const fn name(&self) -> NodeName {
        self.name
    }

    /// What the names of all channels of relays begin with.
    #[must_use]
    pub const fn channel_prefix(&self) -> &Bytes {
        &self.all
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// The counts since the beginning.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        let mut counters = self.counters;
        counters.outgoing.current = self.outgoing.len();
        counters.incoming.current = self.incoming.len();
        counters.nodes = self.roster.len();
        counters.waiting_bytes = self.room.bytes();
        counters
    }

    /// Whether requests can be passed on: the broker is there and hears this node's channel.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.is_up && self.is_heard && !self.is_closed
    }

    /// The node that has made this session id, if one is known. The session may have ended.
    #[must_use]
    pub fn owner_of(&self, id: &str) -> Option<NodeName> {
        self.roster.owner_of(id)
    }

    /// Whether a relay exists and has not ended.
    #[must_use]
    pub fn is_open(&self, line: LineId) -> bool {
        match line {
            LineId::Outgoing(number) => self.outgoing.contains_key(&number),
            LineId::Incoming(node, number) => self.incoming.contains_key(&(node, number)),
        }
    }

    /// Begins: the node hears its channels.
    pub fn start(&mut self, out: &mut RelayOutputs) {
        for channel in [&self.all, &self.own] {
            out.commands.push(Command::Subscribe {
                channel: channel.clone(),
                sharded: self.sharded,
            });
        }
    }

    /// Ends: the node says goodbye, and all relays end.
    pub fn close(&mut self, now: Time, out: &mut RelayOutputs) {
        if core::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.end_all(now, RelayEnd::Gone, out);
        self.publish(now, self.all.clone(), 0, false, Body::Bye, out);
        for channel in [&self.all, &self.own] {
            out.commands.push(Command::Unsubscribe {
                channel: channel.clone(),
                sharded: self.sharded,
            });
        }
    }

    /// What reads the messages of the broker. A caller whose relays stand behind a lock reads them
    /// without it, because signatures take time, and gives them to
    /// [`handle_message`](Self::handle_message).
    #[must_use]
    pub const fn reader(&self) -> &Arc<RelayReader> {
        &self.reader
    }

    /// Takes what the broker brings. Returns whether it was for the relays only.
    pub fn handle_event(&mut self, now: Time, event: &Event, out: &mut RelayOutputs) -> bool {
        match event {
            Event::Up => self.is_up = true,
            Event::Down { .. } => {
                (self.is_up, self.is_heard) = (false, false);
                self.end_all(now, RelayEnd::NoBroker, out);
            }
            Event::Subscribed { channel, .. } if *channel == self.own => {
                self.heard(now, out);
                return true;
            }
            Event::Subscribed { channel, .. } => return *channel == self.all,
            Event::Answer { tag, answer } if is_relay_tag(*tag) => {
                let count = match answer {
                    Ok(Answer::Count(count)) => Some(*count),
                    Ok(_) | Err(_) => None,
                };
                self.probed(now, *tag, count, out);
                return true;
            }
            Event::Message { .. } => {
                let message = self.reader.read(event);
                return message.map(|message| self.handle_message(now, message, out)).is_some();
            }
            Event::Entry { .. } | Event::Answer { .. } | Event::Reading { .. } => {}
        }
        false
    }

    /// Takes a message that was read by the [reader](Self::reader).
    pub fn handle_message(&mut self, now: Time, message: RelayMessage, out: &mut RelayOutputs) {
        if !self.is_closed {
            self.receive(now, message, out);
        }
    }

    /// Publishes a message. `bytes` of a connection are counted by the caller.
    fn publish(&self, now: Time, channel: Bytes, line: u64, is_answer: bool, body: Body, out: &mut RelayOutputs) {
        let message = Message {
            sender: self.name,
            line,
            is_answer,
            body,
        };
        let payload = match &self.signing {
            None => message.encode(),
            Some(signing) => signing.sign(now, &channel, &message),
        };
        out.commands.push(Command::Publish {
            channel,
            payload,
            sharded: self.sharded,
        });
    }

    /// Tells the other node of a relay something.
    fn tell(&mut self, now: Time, line: LineId, peer: NodeName, body: Body, out: &mut RelayOutputs) {
        let known = self.roster.get_mut(peer).map(|known| known.channel.clone());
        let channel = known.unwrap_or_else(|| channel_of(&self.all, peer));
        let (number, is_answer) = match line {
            LineId::Outgoing(number) => (number, false),
            LineId::Incoming(_, number) => (number, true),
        };
        self.traffic(line).messages += 1;
        self.publish(now, channel, number, is_answer, body, out);
    }

    const fn traffic(&mut self, line: LineId) -> &mut RelayTraffic {
        match line {
            LineId::Outgoing(_) => &mut self.counters.outgoing,
            LineId::Incoming(..) => &mut self.counters.incoming,
        }
    }

    fn line(&mut self, line: LineId) -> Option<&mut Line> {
        match line {
            LineId::Outgoing(number) => self.outgoing.get_mut(&number),
            LineId::Incoming(node, number) => self.incoming.get_mut(&(node, number)),
        }
    }

    /// Notes how much waits here for a relay.
    fn note_waiting(&mut self, id: LineId) {
        let Some(line) = self.line(id) else { return };
        let (address, now) = (line.address, line.waiting());
        let before = core::mem::replace(&mut line.noted, now);
        self.room.change(address, id, before, now);
    }

    /// Forgets a relay.
    fn remove(&mut self, line: LineId, why: RelayEnd) -> Option<Line> {
        let removed = match line {
            LineId::Outgoing(number) => {
                let removed = self.outgoing.remove(&number)?;
                self.addresses.leave(removed.address);
                removed
            }
            LineId::Incoming(node, number) => self.incoming.remove(&(node, number))?,
        };
        self.deadlines.remove(&(removed.due, line));
        self.room.change(removed.address, line, removed.noted, 0);
        self.roster.end_line(removed.peer);
        self.traffic(line).end(why);
        Some(removed)
    }

    /// Ends a relay, and tells the other node if it has to know.
    fn end(&mut self, now: Time, line: LineId, why: RelayEnd, tells: Option<Reset>, out: &mut RelayOutputs) {
        let Some(removed) = self.remove(line, why) else { return };
        if let Some(reset) = tells {
            self.tell(now, line, removed.peer, Body::Reset(reset), out);
        }
        out.deliveries.push(RelayDelivery::Ended { line, why, reset: None });
    }

    /// Ends all relays, without a word to other nodes.
    fn end_all(&mut self, now: Time, why: RelayEnd, out: &mut RelayOutputs) {
        self.end_where(now, |_| true, why, out);
    }

    /// Ends the relays of a node that is gone, and forgets it.
    fn end_node(&mut self, now: Time, node: NodeName, out: &mut RelayOutputs) {
        self.roster.remove(node);
        self.end_where(now, |peer| peer == node, RelayEnd::Gone, out);
    }

    fn end_where(&mut self, now: Time, chosen: impl Fn(NodeName) -> bool, why: RelayEnd, out: &mut RelayOutputs) {
        let outgoing = self
            .outgoing
            .iter()
            .map(|(number, line)| (LineId::Outgoing(*number), line.peer));
        let incoming = self
            .incoming
            .keys()
            .map(|(node, number)| (LineId::Incoming(*node, *number), *node));
        let ended: Vec<_> = outgoing.chain(incoming).filter(|(_, peer)| chosen(*peer)).collect();
        for (line, _) in ended {
            self.end(now, line, why, None, out);
        }
    }
}

impl core::fmt::Debug for Relays {
    /// Shows no key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Relays")
            .field("name", &self.name)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// `PREFIX-relay#NAME#`, the channel of one node.
fn channel_of(all: &Bytes, name: NodeName) -> Bytes {
    let all = core::str::from_utf8(all).unwrap_or_default();
    Bytes::from(alloc::format!("{all}{name}#"))
}

/// The tags of questions to the broker end in these bits, with other bits in front of them: those
/// of a [`Node`](super::Node) end in others. A tag with the highest bit is the application's.
const TAG: u64 = 3;

const fn is_relay_tag(tag: u64) -> bool {
    tag & TAG == TAG && tag > TAG && tag >> 63 == 0
}
