//! A session: the part that all generations have in common.
//!
//! ```text
//!                     ┌─ link (websocket, stream, or parked GET) ◄── flush_ready
//!   outbox ──────────►│
//!   (frames, bounded) └─ none: packets wait
//! ```
//! The differences between generations stand in their own folders, behind [`Wiring`]. The decisions
//! that depend on the generation are in [`generation`](super::generation).
//!
//! Invariants:
//! - At the end of a turn, the outbox is empty if there is a parked GET, or a websocket or stream
//!   that is not blocked.
//! - `charged` is the part of the outbox that the budget of all sessions knows: all bytes that have
//!   to wait.
//! - A session that is `ready` stands in the shard's ready list. An entry of the list may be stale,
//!   and then finds nothing to do.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::few::Few;
use super::http_answer::Asker;
use super::lobby::Place;
use super::outbox::{Hold, Outbox};
use super::{
    Backlog, Breach, Deadline, Encoded, Form, Generation, Handshake, Heartbeat, Message, Meter, More, Outputs, Part,
    Peer, Policy, Queued, SendError, Spent, StreamForm, TransportKind, Unconfirmed, Wiring, Write,
};
use crate::id::{MaybeLink, SessionId, SocketSlot};
use crate::wire::Reassembly;
use crate::{Config, Frame, LinkId, Time};

/// Number of protocol packets that always have room, even if the queue is small.
const MIN_CONTROL_PACKETS: usize = 64;
/// Bytes of protocol packets that always have room, even if the queue is small.
const MIN_CONTROL_BYTES: usize = 16 * 1024;

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Packets flow.
    Open,
    /// The user has been told that the session is over, but queued packets may still leave. Packets
    /// of the peer are ignored.
    Closing,
    /// The session has ended. It leaves its slot when the rule that has ended it returns.
    Over,
}

/// The form in which packets leave on the session's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carriage {
    /// In the answer to a poll.
    Poll,
    /// As frames of RFC 6455.
    Frames,
    /// In the form that the link makes of them ([`Session::stream`]).
    Stream,
}

impl Carriage {
    /// The usual carriage of a transport. A stream needs its own.
    pub(crate) const fn of(transport: TransportKind) -> Self {
        match transport.is_polling() {
            true => Self::Poll,
            false => Self::Frames,
        }
    }
}

/// Why a session's link takes no packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked(u8);

impl Blocked {
    /// The link takes packets.
    pub(crate) const NO: Self = Self(0);
    /// The kernel takes no more bytes.
    pub(crate) const FULL: Self = Self(1);
    /// The last bytes of a hixie-76 handshake have not come.
    pub(crate) const OPENING: Self = Self(2);
    /// The packets on the link before it have not come back.
    pub(crate) const RECLAIMING: Self = Self(4);

    pub(crate) const fn is_blocked(self) -> bool {
        self.0 != 0
    }

    pub(crate) const fn is_full(self) -> bool {
        self.0 & Self::FULL.0 != 0
    }

    pub(crate) const fn is_opening(self) -> bool {
        self.0 & Self::OPENING.0 != 0
    }

    pub(crate) const fn add(&mut self, why: Self) {
        self.0 |= why.0;
    }

    pub(crate) const fn remove(&mut self, why: Self) {
        self.0 &= !why.0;
    }
}

/// What is known of a session's client, in one byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks(u8);

impl Marks {
    const CAME_BACK: u8 = 1;
    const EXCUSED: u8 = 2;

    const fn new(came_back: bool) -> Self {
        Self(if came_back { Self::CAME_BACK } else { 0 })
    }

    /// Whether the client has done more than open the session.
    pub(crate) const fn came_back(self) -> bool {
        self.0 & Self::CAME_BACK != 0
    }

    pub(crate) const fn set_came_back(&mut self) {
        self.0 |= Self::CAME_BACK;
    }

    /// Nothing was read from the client lately, so that its silence says nothing
    /// ([`Shard::excuse`](super::Shard::excuse)).
    pub(crate) const fn excuse(&mut self) {
        self.0 |= Self::EXCUSED;
    }

    /// Whether the client is excused. It is not any more then.
    pub(crate) const fn take_excuse(&mut self) -> bool {
        let excused = self.0 & Self::EXCUSED != 0;
        self.0 &= !Self::EXCUSED;
        excused
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    /// The secret that makes a request one of this session.
    pub(crate) id: SessionId,
    pub(crate) state: State,
    pub(crate) transport: TransportKind,
    pub(crate) carriage: Carriage,
    /// The server drains, and the session ends when no work is under way for it.
    pub(crate) leaving: bool,
    /// Why the link takes no packets at this moment, if it does not. Packets then wait in the
    /// session.
    pub(crate) blocked: Blocked,
    /// Whether the session stands in the ready list.
    pub(crate) ready: bool,
    /// Whether somebody waits until the queue has room.
    pub(crate) awaits_room: bool,
    /// The websocket, the stream, or the parked GET ([`Session::link`]).
    link: MaybeLink,
    /// How to answer the parked GET.
    pub(crate) parked: Option<Box<Asker>>,
    /// Whether frames are changed for this session before they are queued ([`Session::adapt`]).
    /// This is rare.
    pub(crate) adapts: bool,
    /// The moment of the last volatile message: the low half of its microseconds, to save room.
    /// Sometimes two moments look equal. Then a message is dropped that might have been dropped
    /// anyway.
    pub(crate) volatile_at: u32,
    pub(crate) outbox: Outbox,
    /// The bytes of the outbox that the budget of all sessions is charged with.
    pub(crate) charged: usize,
    /// Bytes that a blocked link was given and still holds.
    pub(crate) held: usize,
    /// When the peer last took something: a poll was answered, or the link took bytes.
    pub(crate) taken: Time,
    pub(crate) heartbeat: Heartbeat,
    /// When the heartbeat was given to the link, or left. It counts in these states only. In
    /// revision 3 of Engine.IO there are none of these states, and it is
    /// [`Session::silent_until`].
    pub(super) heartbeat_at: Time,
    /// Sockets of this session, connected or asked.
    pub(crate) sockets: Few<SocketSlot>,
    pub(crate) handshake: Arc<Handshake>,
    /// A packet whose attachments have not all arrived.
    pub(crate) reassembly: Reassembly,
    /// The place in the lobby, if the session is there.
    pub(crate) place: Option<Place>,
    /// Bytes that the quota has counted, in addition to those of the session and its handshake.
    pub(crate) reserved: u32,
    /// Bytes of credentials that are kept for its sockets.
    pub(crate) auth_bytes: u32,
    /// How many CONNECTs came in the second `connects_in`.
    pub(crate) connects: u32,
    /// The second in which CONNECTs are counted, since the start of time.
    pub(crate) connects_in: u32,
    /// How much the client may send, if there is a limit.
    pub(crate) meter: Option<Box<Meter>>,
    pub(crate) marks: Marks,
    pub(crate) wiring: Wiring,
    /// The form of the wiring. It never changes, and each message asks for it.
    form: Form,
    /// The parts that few sessions need.
    pub(crate) rare: Option<Box<Rare>>,
}

// There are hundreds of thousands of sessions.
const _: () = assert!(size_of::<Session>() <= 240);

/// The parts of a session that few sessions need.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The address from which the websocket or stream came, in generations before 1.0.
    pub(crate) holder: Option<IpAddr>,
    /// The POST whose body is still coming.
    pub(crate) post: Option<LinkId>,
    /// When a blocked link that takes nothing is given up.
    pub(crate) stall: Deadline,
    /// When the attachments of the packet in [`Session::reassembly`] are overdue.
    pub(crate) attachments: Deadline,
    /// The rule that its client has broken, if any: the rule that ends the session, or otherwise
    /// the first one.
    pub(crate) breach: Option<Breach>,
    /// What its client has spent in namespaces that it has left.
    pub(crate) spent: Spent,
}

impl Session {
    /// A session that has just been opened.
    pub(crate) fn new(
        id: SessionId,
        transport: TransportKind,
        link: Option<LinkId>,
        handshake: Arc<Handshake>,
        meter: Option<Box<Meter>>,
        wiring: Wiring,
    ) -> Self {
        Self {
            id,
            state: State::Open,
            transport,
            carriage: Carriage::of(transport),
            leaving: false,
            blocked: Blocked::NO,
            ready: false,
            awaits_room: false,
            link: MaybeLink::new(link),
            parked: None,
            adapts: false,
            volatile_at: u32::MAX,
            outbox: Outbox::new(),
            charged: 0,
            held: 0,
            taken: handshake.issued,
            heartbeat: Heartbeat::Answered,
            heartbeat_at: Time::ZERO,
            sockets: Few::default(),
            handshake,
            reassembly: Reassembly::new(),
            place: None,
            reserved: 0,
            auth_bytes: 0,
            connects: 0,
            connects_in: 0,
            meter,
            marks: Marks::new(!transport.is_polling()),
            form: wiring.form(),
            wiring,
            rare: None,
        }
    }

    /// The websocket, the stream, or the parked GET.
    #[inline]
    pub(crate) const fn link(&self) -> Option<LinkId> {
        self.link.get()
    }

    pub(crate) const fn set_link(&mut self, link: Option<LinkId>) {
        self.link = MaybeLink::new(link);
    }

    pub(crate) const fn take_link(&mut self) -> Option<LinkId> {
        core::mem::replace(&mut self.link, MaybeLink::NONE).get()
    }

    /// Makes its link a stream in this form, or none.
    pub(crate) fn set_stream(&mut self, form: Option<StreamForm>) {
        self.carriage = match form {
            Some(_) => Carriage::Stream,
            None => Carriage::of(self.transport),
        };
        self.wiring.set_stream(form);
    }

    /// The form of the packets on its stream, if its link is a stream.
    pub(crate) fn stream(&self) -> Option<&StreamForm> {
        self.wiring.stream()
    }

    /// The form in which its packets are written.
    #[inline]
    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Whether something may be unconfirmed in its generation ([`Wiring::unconfirmed`]).
    #[inline]
    pub(super) const fn is_legacy(&self) -> bool {
        matches!(self.form, Form::Legacy09 | Form::Plain(_))
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.form().generation()
    }

    /// The parts that few sessions need.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The rule that its client has broken, if any ([`Rare::breach`]).
    pub(crate) fn breach(&self) -> Option<&Breach> {
        self.rare.as_ref()?.breach.as_ref()
    }

    /// The POST whose body is still coming.
    pub(crate) fn post(&self) -> Option<LinkId> {
        self.rare.as_ref()?.post
    }

    /// Forgets the POST whose body was coming.
    pub(crate) fn take_post(&mut self) -> Option<LinkId> {
        self.rare.as_mut()?.post.take()
    }

    /// Whether the session has a websocket or stream from another place than this peer. A client
    /// older than 1.0 does not use its session in two ways at once, so this peer is somebody else
    /// who knows the id. Between two polls a client may move.
    pub(crate) fn is_held_against(&self, peer: &Peer) -> bool {
        let holder = self.rare.as_ref().and_then(|rare| rare.holder);
        self.link().is_some() && self.parked.is_none() && holder != peer.network()
    }

    /// A moment in the form of [`Session::volatile_at`].
    pub(crate) const fn volatile_moment(moment: Time) -> u32 {
        moment.as_micros() as u32
    }

    /// Whether a volatile message of this moment would leave at once. A message that was queued in
    /// the same moment counts as not yet left, even if the link has taken it
    /// (docs/protocol/socket-io.md §7: a websocket with a write in progress).
    pub(crate) fn is_writable(&self, moment: Time) -> bool {
        let idle = self.link().is_some() && !self.blocked.is_blocked() && self.outbox.is_empty();
        idle && self.volatile_at != Self::volatile_moment(moment)
    }

    /// Whether queued packets leave when the turn ends.
    pub(crate) const fn flows(&self) -> bool {
        self.link().is_some() && !self.blocked.is_blocked()
    }

    /// Whether the session has packets and a way for them, and does not stand in the ready list
    /// yet. The caller has to put it there.
    #[must_use]
    pub(crate) fn becomes_ready(&mut self) -> bool {
        let becomes = !self.ready && self.flows() && !self.outbox.is_empty();
        self.ready |= becomes;
        becomes
    }

    /// Queues frames that belong together: all of them or none.
    pub(crate) fn queue<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Frame>,
        packets: usize,
        bytes: usize,
        config: &Config,
        backlog: &mut Backlog,
    ) -> Result<(), SendError> {
        self.may_queue(packets, bytes, config)?;
        if self.adapts {
            for frame in frames {
                step!(bulk frame.len());
                let frame = self.adapt(frame);
                self.outbox.push(frame);
            }
        } else {
            self.outbox.extend(frames);
        }
        self.recharge(backlog);
        Ok(())
    }

    /// Queues a message that nobody else gets: all of its packets or none.
    #[inline]
    pub(crate) fn queue_whole(
        &mut self,
        encoded: Encoded,
        config: &Config,
        backlog: &mut Backlog,
    ) -> Result<(), SendError> {
        if !self.adapts && encoded.only().is_some() {
            return self.queue_one(encoded.first, config, backlog);
        }
        let (packets, bytes) = (encoded.packets(), encoded.bytes());
        if self.adapts {
            return self.queue(encoded.frames(), packets, bytes, config, backlog);
        }
        self.may_queue(packets, bytes, config)?;
        let Encoded { first, attachments } = encoded;
        self.outbox.push(first);
        match attachments {
            More::None => {}
            More::One(second) => self.outbox.push(second),
            More::Many(frames) => frames.into_iter().for_each(|frame| self.outbox.push(frame)),
        }
        self.recharge(backlog);
        Ok(())
    }

    /// Checks whether a message of this size has room behind what waits.
    fn may_queue(&self, packets: usize, bytes: usize, config: &Config) -> Result<(), SendError> {
        if self.has_space(packets, bytes, config) {
            return Ok(());
        }
        let never = packets > self.max_packets(config) || bytes > config.max_queued_bytes;
        Err(if never { SendError::TooLarge } else { SendError::Full })
    }

    /// Queues the only packet of a message, for a session that gets it unchanged. This is the usual
    /// case.
    #[inline]
    pub(crate) fn queue_one(&mut self, frame: Frame, config: &Config, backlog: &mut Backlog) -> Result<(), SendError> {
        debug_assert!(!self.adapts, "the caller looks before");
        if !self.has_space(1, frame.len(), config) {
            return Err(match frame.len() > config.max_queued_bytes {
                true => SendError::TooLarge,
                false => SendError::Full,
            });
        }
        self.outbox.push(frame);
        self.recharge(backlog);
        Ok(())
    }

    /// Whether a message of this size has room behind what waits.
    #[inline(always)]
    fn has_space(&self, packets: usize, bytes: usize, config: &Config) -> bool {
        self.outbox.len() + packets <= self.max_packets(config)
            && self.outbox.bytes() + self.held + bytes <= config.max_queued_bytes
    }

    /// Queues a message that is subject to a policy. A message that leaves with the turn is queued
    /// as any other: it takes nobody's place, and nothing takes its place.
    pub(crate) fn queue_by(
        &mut self,
        message: &Message,
        config: &Config,
        backlog: &mut Backlog,
    ) -> Result<(), SendError> {
        let (encoded, policy) = (message.made(self.form())?, &message.policy);
        let (packets, bytes) = (encoded.packets(), encoded.bytes());
        let sorts = !self.flows() && !matches!(policy, Policy::Ordered | Policy::Refuse | Policy::Drop);
        if !sorts {
            let queued = self.queue(encoded.frames(), packets, bytes, config, backlog);
            return queued.map_err(|error| policy.verdict(error));
        }
        if packets > self.max_packets(config) || bytes > config.max_queued_bytes {
            return Err(SendError::TooLarge);
        }
        let adapted = match self.adapts {
            true => encoded.converted(|frame| self.adapt(frame)),
            false => encoded.clone(),
        };
        let kept = || Some(Box::new(message.args.clone()));
        let hold = match policy {
            Policy::Newest(key) => Hold::Keyed(key.clone(), None),
            Policy::Merge(key) | Policy::Behind(key) => Hold::Keyed(key.clone(), kept()),
            Policy::Ordered | Policy::Refuse | Policy::Drop | Policy::DropOldest => Hold::Droppable,
        };
        if !self.make_space(policy, packets, adapted.bytes() + hold.bytes(), config, backlog) {
            return Err(policy.verdict(SendError::Full));
        }
        self.outbox.push_sorted(adapted, hold);
        self.recharge(backlog);
        Ok(())
    }

    /// Drops what a message of this policy and size takes the place of. If it still has no room
    /// then, nothing is dropped.
    fn make_space(
        &mut self,
        policy: &Policy,
        packets: usize,
        bytes: usize,
        config: &Config,
        backlog: &mut Backlog,
    ) -> bool {
        let (freed_bytes, freed_packets) = match policy {
            Policy::Newest(key) | Policy::Merge(key) => self.outbox.size_of(key),
            Policy::DropOldest => self.outbox.droppable(),
            Policy::Ordered | Policy::Refuse | Policy::Drop | Policy::Behind(_) => (0, 0),
        };
        let has_space = self.outbox.len() - freed_packets + packets <= self.max_packets(config)
            && self.outbox.bytes() - freed_bytes + self.held + bytes <= config.max_queued_bytes;
        if has_space {
            match policy {
                Policy::Newest(key) | Policy::Merge(key) => backlog.note_displaced(self.outbox.remove(key)),
                Policy::Behind(key) => self.outbox.release(key),
                Policy::DropOldest => {
                    while !self.has_space(packets, bytes, config) && self.outbox.drop_oldest() {
                        step!();
                        backlog.note_displaced(true);
                    }
                }
                Policy::Ordered | Policy::Refuse | Policy::Drop => {}
            }
        }
        has_space
    }

    /// How much waits for the client.
    pub(crate) fn queued(&self) -> Queued {
        Queued {
            bytes: self.outbox.bytes() + self.held,
            packets: self.outbox.len(),
        }
    }

    /// Whether at most half of the queue is in use.
    pub(crate) fn has_room(&self, config: &Config) -> bool {
        let Queued { bytes, packets } = self.queued();
        bytes <= config.max_queued_bytes / 2 && packets <= self.max_packets(config) / 2
    }

    /// Whether the queue has room again, and somebody waits for it. Returns true once.
    #[must_use]
    pub(crate) fn becomes_roomy(&mut self, config: &Config) -> bool {
        let becomes = self.awaits_room && self.has_room(config);
        self.awaits_room &= !becomes;
        becomes
    }

    /// Tells the budget how many bytes wait. Bytes that leave when the turn ends do not count.
    #[inline]
    pub(crate) fn recharge(&mut self, backlog: &mut Backlog) {
        // This is usual, and nothing changes.
        let owes_nothing = self.charged == 0 && self.flows() && !self.is_legacy();
        if !owes_nothing {
            self.recharge_waiting(backlog);
        }
    }

    fn recharge_waiting(&mut self, backlog: &mut Backlog) {
        let waiting = match self.flows() {
            true => 0,
            false => self.outbox.memory(),
        };
        let due = waiting + self.wiring.unconfirmed().map_or(0, Unconfirmed::answer_bytes);
        backlog.recharge(self.charged, due);
        self.charged = due;
    }

    /// Records how many bytes the link holds.
    pub(crate) const fn hold(&mut self, bytes: usize, backlog: &mut Backlog) {
        backlog.note_held(self.held, bytes);
        self.held = bytes;
    }

    /// The session has lost its link, or has a new link.
    pub(crate) fn unblock(&mut self, backlog: &mut Backlog) {
        let unconfirmed = self.wiring.unconfirmed();
        self.blocked = match unconfirmed.is_some_and(Unconfirmed::is_reclaiming) {
            true => Blocked::RECLAIMING,
            false => Blocked::NO,
        };
        self.hold(0, backlog);
    }

    /// Puts packets in front of those that wait.
    pub(super) fn queue_again(&mut self, frames: Vec<Frame>) {
        for frame in frames.into_iter().rev() {
            step!();
            self.outbox.push_front(frame);
        }
    }

    /// Bytes of the client's data that the session keeps, without the handshake.
    pub(crate) fn kept_bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| {
            rare.breach.as_ref().map_or(0, Breach::bytes) + rare.spent.bytes()
        });
        self.auth_bytes as usize + self.reassembly.pending_bytes() + self.wiring_bytes() + rare
    }

    /// Whether a limit of the queue is reached.
    pub(crate) fn is_full(&self, config: &Config) -> bool {
        self.outbox.len() >= self.max_packets(config) || self.outbox.bytes() + self.held >= config.max_queued_bytes
    }

    /// Whether more protocol packets wait than a peer that reads can cause. They may take an eighth
    /// of the queue in addition to the messages.
    pub(crate) fn is_overfull(&self, config: &Config) -> bool {
        let (packets, bytes) = (self.max_packets(config), config.max_queued_bytes);
        self.outbox.len() > packets + packets / 8 + MIN_CONTROL_PACKETS
            || self.outbox.bytes() > bytes + bytes / 8 + MIN_CONTROL_BYTES
    }

    /// The write that ends the session's link in the regular way, if the link is not a poll.
    pub(crate) fn farewell(&self, link: LinkId) -> Write {
        match self.stream() {
            // Nothing can be written on it yet.
            Some(_) if self.blocked.is_opening() => Write::Abort(link),
            Some(form) => Write::StreamEnd(link, Box::new(form.clone())),
            None => Write::Close(link, None),
        }
    }

    /// Ends the session's link, if it is not a poll, after the queued packets.
    pub(crate) fn end_link(&mut self, out: &mut Outputs) {
        let Some(link) = self.link() else { return };
        let frames: Vec<Frame> = self.outbox.drain().collect();
        match self.stream() {
            Some(_) if frames.is_empty() || self.blocked.is_opening() => {}
            Some(form) => {
                let form = form.clone();
                out.writes.push(Write::Part(link, Box::new(Part { frames, form })));
            }
            None => out
                .writes
                .extend(frames.into_iter().map(|frame| Write::Frame(link, frame))),
        }
        out.writes.push(self.farewell(link));
    }
}
