//! The shard: inputs in, outputs out.
//!
//! [`Shard`] is the public type. It owns the sessions and, beside them, the [`Core`]. An input
//! finds its session, and the rules of the session's generation handle it with a cursor
//! ([`at`](super::at)). The effects on sockets, namespaces and rooms are written once for all
//! generations: [`sessions`] has the part of sessions, [`sockets`] has the part of sockets, and
//! [`broadcast`] finds the recipients of a message.
//!
//! ```text
//!   handle_request ─┐                      ┌─ engine ─┬─ revision5 ─┐
//!   handle_packets ─┼─► links ─► At ───────┤          └─ revision4 ─┤
//!   handle_closed  ─┤                      ├─ legacy09 ─────────────┼─► At: ask, event, acknowledged, left
//!   handle_timeout ─┘                      └─ legacy06 ─────────────┘
//! ```

mod breaches;
mod broadcast;
mod commands;
mod crowd;
mod drain;
mod events;
#[cfg(feature = "steps")]
mod holding;
mod inputs;
mod pacing;
mod pipelined;
mod questions;
mod recording;
mod refusals;
mod returned;
mod sessions;
mod sockets;
mod timeout_reason;
mod waiting;

pub(crate) use breaches::kept_too_much;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;

use super::command::Welcome;
use super::links::{Links, Role};
use super::lobby::Lobby;
use super::membership::{Member, Membership, NoEntry, Standing};
use super::quota::{LocalQuota, QuotaLimits};
use super::timers::{Due, Timers};
use super::{
    AckError, AckRequest, Admission, Alarm, Asker, At, Auth, Backlog, Blocked, Breach, BreachKind, Budget, Carriage,
    Cause, Command, Counters, Delivery, Encoded, EngineMessage, Form, Forms, Handshake, Held, Input, Key, Measured,
    Message, Outputs, Part, Permit, Policy, Posted, Queued, Reason, Refused, Request, RoomWatch, SendError, Session,
    SessionQuota, State, Target, TransportKind, Write, engine, legacy06,
};
use crate::config::ConfigError;
use crate::id::SessionSlot;
use crate::id::{SessionId, SidKey};
use crate::slab::Slab;
use crate::socket::Args;
use crate::wire::Inbound;
use crate::{Config, Entropy, Frame, Legacy06, LinkId, SessionKey, Sid, SocketKey, Time};

pub use events::{BinaryEvent, EventsIn};
#[cfg(feature = "transcript")]
pub(crate) use recording::Script;
use recording::noted;
pub use timeout_reason::{NextTimeout, TimeoutReason};

/// A complete Socket.IO server as one value. The [module](super) has a picture.
pub struct Shard {
    pub(crate) core: Core,
    pub(crate) sessions: Slab<SessionSlot, Session>,
    /// Writes the transcript, if there is one.
    #[cfg(feature = "transcript")]
    recorder: Option<Box<super::transcript::Recorder>>,
}

/// The part of a shard beside its sessions.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) links: Links,
    quota: recording::Quota,
    lobby: Lobby,
    pub(crate) timers: Timers,
    /// A scratch buffer for encoding.
    pub(crate) buffer: BytesMut,
    membership: Membership,
    ready: VecDeque<SessionSlot>,
    /// The place of a GET that was held, for the next one.
    pub(crate) spare_asker: Option<Box<Asker>>,
    pub(crate) counters: Counters,
    /// Sessions of each codec of plain messages.
    plain_sessions: [u32; Legacy06::MAX_CODECS],
    /// How many sessions have begun and ended.
    turnover: u64,
    shutting_down: bool,
    /// Whether another process serves new connections, while the server drains.
    hands_over: bool,
    /// How long clients are told to stay away, while the server drains.
    pause: Option<Duration>,
    /// Whether the caller asks for reports about refused requests.
    tells_errors: bool,
    /// How long the shard waits for a session that leaves, if the server drains.
    patience: Option<Duration>,
    /// Sessions whose clients have sent faster than they may.
    hasty: Vec<(SessionKey, Measured)>,
    /// Whether any client has a limit of what it may send.
    measures: bool,
    /// Sessions for which perhaps no work is under way any more.
    departing: Vec<SessionKey>,
    /// Sessions with more protocol packets than a peer that reads can cause.
    overfull: Vec<SessionKey>,
    /// Sessions whose queues have room again, and somebody waits for it.
    roomy: Vec<SessionKey>,
    pub(crate) backlog: Backlog,
    index: u8,
    key: SidKey,
    entropy: recording::Source,
}

impl core::fmt::Debug for Shard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.core.index)
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

/// Inputs from links and from the clock.
impl Shard {
    /// A shard without sessions. All shards of one server share `config` and `sid_key` (random, one
    /// per process). Each has another `index`.
    ///
    /// # Errors
    /// The config does not make sense.
    pub fn new(config: Config, index: u8, sid_key: [u8; 16], entropy: Box<dyn Entropy>) -> Result<Self, ConfigError> {
        let config = config.validate()?;
        Ok(Self {
            core: Core {
                timers: Timers::new(config.ping_interval, config.ping_timeout, config.connect_timeout),
                backlog: Backlog::new(Arc::new(Budget::new(config.max_total_queued_bytes))),
                quota: recording::quota(Box::new(LocalQuota::new(QuotaLimits::new(&config)))),
                lobby: Lobby::new(),
                config: Arc::new(config),
                links: Links::default(),
                buffer: BytesMut::new(),
                membership: Membership::new(),
                ready: VecDeque::new(),
                spare_asker: None,
                counters: Counters::default(),
                plain_sessions: [0; Legacy06::MAX_CODECS],
                turnover: 0,
                shutting_down: false,
                hands_over: false,
                pause: None,
                tells_errors: false,
                patience: None,
                hasty: Vec::new(),
                measures: false,
                departing: Vec::new(),
                overfull: Vec::new(),
                roomy: Vec::new(),
                index,
                key: sid_key,
                entropy: recording::source(entropy),
            },
            sessions: Slab::new(),
            #[cfg(feature = "transcript")]
            recorder: None,
        })
    }

    /// A complete request came on `link`. It is answered now, or the link waits for its answer. The
    /// packets of its body are taken out of it, and nothing else changes in it.
    ///
    /// Before the first limit, the cost is a look at the slots of the link and the session. The
    /// classification of the request, and the packets in its body, were made without a lock. By
    /// kind:
    /// | request | limit that is checked first | cost before it |
    /// |---|---|---|
    /// | opens a session | admission, then the quota ([`SessionQuota::enter`]) | none if it was [prepared](Request::prepare), otherwise a copy of the head |
    /// | GET, poll or stream | one at a time for each session | the look |
    /// | POST | [`Config::max_packets_per_payload`], checked earlier | the look; then each packet has the cost in [`Shard::handle_packets`] |
    /// | upgrade | one candidate for each session | the answer to the handshake |
    /// | preflight, refusal | none: it costs its answer | |
    pub fn handle_request(&mut self, now: Time, link: LinkId, request: &mut Request, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.request(link, request);
                false
            },
            {
                self.input(now, out).handle_request(link, request);
            }
        )
    }

    /// The head of a POST has arrived, and its body has not. Two such POSTs for one session are a
    /// breach of the protocol, and the end of its link ends the session. The complete request
    /// follows with [`Shard::handle_request`], unless the answer is in `out`.
    pub fn handle_body_started(&mut self, now: Time, link: LinkId, request: &Request, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.body_started(link, request);
                false
            },
            {
                self.input(now, out).handle_body_started(link, request);
            }
        )
    }

    /// Packets came on a websocket. `packets` is emptied. The packets have been decoded without a
    /// lock, within [`Config::packet`].
    ///
    /// Each packet costs a look at the slots of the link and the session. A packet for a namespace
    /// also costs one comparison for each namespace of the session
    /// ([`Config::max_namespaces_per_session`]). By kind:
    ///
    /// | packet | limit that is checked first | cost before it |
    /// |---|---|---|
    /// | CONNECT | the queue ([`Config::max_queued_bytes`]), [`Config::max_connects_per_second`], namespaces, [`Config::max_auth_bytes`] | none |
    /// | event | none here: it is passed on unchanged, and the caller has to bound the events that wait for handlers | |
    /// | acknowledgement | whether it is owed | a search among the pending ones ([`Config::max_pending_acks`]) |
    /// | part of a packet, attachment | the limits of the packet ([`Config::packet`]), then the bytes that the session keeps ([`Config::max_kept_bytes`]) | none |
    /// | packet of a candidate for an upgrade | [`Config::max_upgrade_packets`], [`Config::max_payload`] bytes together, then the bytes that the session keeps | none |
    /// | DISCONNECT | none: its cost depends on the rooms of the socket ([`Config::max_rooms_per_socket`]), and joins have paid for them | |
    /// | ping, pong, heartbeat | one answer in the queue | none |
    pub fn handle_packets(&mut self, now: Time, link: LinkId, packets: &mut Vec<Inbound>, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            Some(packets.as_slice()),
            |line, _| {
                line.at_link("packets", link);
                packets.is_empty()
            },
            {
                self.input(now, out).handle_packets(link, packets);
            }
        )
    }

    /// `link` is gone. Links that no session uses are ignored. If a rule was broken on such a link,
    /// the shard counts it and reports it for the log.
    ///
    /// Call it also for a link that the shard has ended (by [`Write::Close`], [`Write::Abort`] or
    /// another one after which the link ends): a session of 0.6 that was taken over waits for the
    /// end of its former link ([`Shard::handle_returned`]).
    pub fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.closed(link, &cause);
                false
            },
            {
                self.input(now, out).handle_closed(link, cause);
            }
        )
    }

    /// Time has passed: everything that is due at `now` happens. Call it at
    /// [`Shard::next_timeout`]. An early call is harmless; a late call makes the timers late.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, shard| {
                line.verb("timeout");
                shard.next_timeout().is_none_or(|next| next > now)
            },
            {
                self.input(now, out).handle_timeout();
            }
        )
    }

    fn input<'a>(&'a mut self, now: Time, out: &'a mut Outputs) -> Input<'a> {
        Input { shard: self, now, out }
    }

    /// The number of links for which [`Shard::flush_ready`] has packets.
    #[must_use]
    pub fn ready_links(&self) -> usize {
        self.core.ready.len()
    }

    /// When [`Shard::handle_timeout`] has to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.core.timers.next()
    }

    /// Until when a caller may wait with [`Shard::handle_timeout`]: [`Shard::next_timeout`], but a
    /// heartbeat of the server may be late by up to 1/256 of its interval or of the time in which
    /// it is answered, and by at most 100 ms. So one call serves the heartbeats of many clients,
    /// and the caller sleeps longer. Whatever is a limit is not late.
    #[must_use]
    pub fn latest_timeout(&self) -> Option<Time> {
        self.core.timers.latest()
    }

    /// Takes the packets of the first ready links, as long as only one packet waits for a link, and
    /// it is a frame. This is the usual case of an answer and of a broadcast, and costs less than
    /// outputs. At most `max` packets are taken, and `each` is called with each of them. Returns
    /// how many there were. Then the caller calls [`Shard::flush_ready`] for the links that are
    /// still ready. It has the same effect for such packets. What is in `out.writes` is older than
    /// these packets: write it first. Nothing is taken if a transcript is written.
    #[inline]
    pub fn take_frames(&mut self, now: Time, max: usize, out: &mut Outputs, each: impl FnMut(LinkId, Frame)) -> usize {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return 0;
        }
        self.input(now, out).take_frames(max, each)
    }

    /// Takes the packets of the first ready link, if two wait for it, and each is a frame, as after
    /// a message with one attachment. It does for them what [`Shard::take_frames`] does for one
    /// packet.
    #[inline]
    pub fn take_pair(&mut self, now: Time, out: &mut Outputs) -> Option<(LinkId, [Frame; 2])> {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return None;
        }
        self.input(now, out).take_pair()
    }

    /// Pulls the packets of at most `max` ready links into `out.writes`. The writes of one link
    /// stand together. True if there is more.
    pub fn flush_ready(&mut self, now: Time, max: usize, out: &mut Outputs) -> bool {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, shard| {
                line.counted("flush", max);
                shard.ready_links() == 0
            },
            { self.input(now, out).flush_ready(max) }
        )
    }
}

#[cfg(test)]
mod tests;
