//! The order of the stream: in a namespace with recovery, or to a room with a history, an event of
//! this node is sent to its own sockets when it is read from the stream, as the events of others
//! are.
//!
//! ```text
//!   emit ─► XADD, kept here ── read from the stream ─► sent, with the id of its entry as offset
//!                    └── the broker is away, or too slow ─► sent, with an offset of this process
//! ```
//! So all nodes send all events in one order, and the offset of a client means the same everywhere:
//! a client that comes back to another node gets what is behind it, once. The price is one command
//! and one round trip to the broker for each event, also for one that is for one socket.
//!
//! Sockets of this node never wait for longer than [`PATIENCE`]. What could not be written is kept,
//! within limits, and is written when the broker is back ([`Unread`]). Before that, an entry of no
//! effect is written and read, a fence: what the broker had taken after all has been read then, and
//! is not written twice. The fence also ends what the broker had taken and nobody can read any
//! more, so this node goes back to the order of the stream.
//!
//! An event that was sent without the stream is early until it is read. As long as there is one in
//! a namespace, its other events get offsets of this process as well: a client with the offset of
//! an entry would be sent the early event again elsewhere.
//!
//! What is sent to the sockets of this node, and what others have ordered, passes through one
//! queue, which one thread at a time works off under no lock (`queue.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, atomic};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::cluster::{Emit, Flags, LocalOrder, Node, NotSent, Order, RequestId, Target, Voice, Written};
use sio_proto::socket::Offset;
use sio_proto::{ClusterKind, Time, server};

use super::ClusterNode;
use super::bringing::Slot;
use super::fences::{Fence, Then};
use super::queue::{Action, Entry, Ready};
use super::sending::{emit_of, target_of};
use super::unread::{EVENT_BYTES, Event, Unread};
use crate::lock::Alarm;
use crate::turn::application::Application;
use crate::turn::order::Audience;
use crate::turn::policy::Policy;
use crate::turn::socket::SocketCell;
use crate::user::message::Draft;

/// How long the node waits before it tries again to write what the broker has not taken, and before
/// it asks with a fence whether what it has written can still be read.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// How many things a thread of the application does for others, before the task does the rest.
pub(super) const MOST_FOR_OTHERS: usize = 256;

/// The events of this node that have not been read from the stream, and what is to be done.
#[derive(Default)]
pub(super) struct Ordering {
    pub(super) unread: Unread<Body>,
    pub(super) dropped: u64,
    /// Entries of no effect that have been written.
    pub(super) fences: BTreeMap<RequestId, Fence>,
    /// When each of them is given up, in this order. Some have been read.
    pub(super) fence_limits: VecDeque<(Time, RequestId)>,
    /// When absent events are written again.
    pub(super) retry: Option<Time>,
    /// When a fence is written behind which all records are written.
    pub(super) records: Option<Time>,
    /// When it was last tried to write a fence because of events that are not read.
    pub(super) asked: Time,
    /// The namespaces of the clients that are about to come from other nodes, and how many.
    pub(super) coming: BTreeMap<ByteString, usize>,
    /// The namespaces in which the order of this node is not that of the stream, or was not until
    /// the next event is read there.
    mixed: BTreeSet<ByteString>,
    /// What is done next, in this order.
    pub(super) ready: VecDeque<Ready>,
    /// Bytes of the own events in it, and of the orders of others.
    ready_bytes: usize,
    others_bytes: usize,
    /// Wakes the task that reads, which waits until there is less of others.
    pub(super) reader: Option<Alarm>,
    /// Whether a thread does it.
    pub(super) is_draining: bool,
    /// Whom the event of this node is for that this thread sends.
    pub(super) sending: Option<server::Target>,
    /// Whether a thread has left something for the task.
    pub(super) is_left: bool,
    /// What is done when the sockets of this node have been sent all events up to this number.
    pub(super) parting: Option<(u64, Action)>,
}

/// An event for the sockets of this node.
pub(super) struct Body {
    pub(super) target: server::Target,
    pub(super) sender: Option<Arc<SocketCell>>,
    pub(super) draft: Draft,
    pub(super) policy: Option<Policy>,
    bytes: usize,
}

impl Ordering {
    pub(super) fn push_own(&mut self, body: Body, place: Option<Offset>) {
        if place.is_none() {
            self.mixes(&body.target.namespace);
        }
        self.ready_bytes += body.bytes;
        self.ready.push_back(Ready::Own(Box::new(body), place));
    }

    /// An event of a namespace is sent without the stream.
    fn mixes(&mut self, namespace: &ByteString) {
        if !self.mixed.contains(namespace) {
            self.mixed.insert(namespace.clone());
        }
    }

    /// No event of a namespace is early, up to this place.
    pub(super) fn settle(&mut self, namespace: &str, place: Offset) {
        if let Some(namespace) = self.mixed.take(namespace) {
            self.ready.push_back(Ready::Settled(namespace, place));
        }
    }

    pub(super) fn push_others(&mut self, namespace: ByteString, order: Order, entry: Entry) {
        self.others_bytes += order_bytes(&order);
        self.ready.push_back(Ready::Others(namespace, Box::new(order), entry));
    }

    /// Whether orders of others wait that take more than this.
    pub(super) const fn is_crowded(&self, max_bytes: usize) -> bool {
        self.others_bytes > max_bytes
    }

    pub(super) fn pop(&mut self) -> Option<Ready> {
        self.part();
        let next = self.ready.pop_front()?;
        self.sending = match &next {
            Ready::Own(body, _) => {
                self.ready_bytes -= body.bytes;
                Some(body.target.clone())
            }
            Ready::Others(_, order, _) => {
                self.others_bytes -= order_bytes(order);
                None
            }
            _ => None,
        };
        Some(next)
    }

    /// A client has come to a namespace, or has not.
    pub(super) fn no_more_coming(&mut self, namespace: &str) {
        if let Some(count) = self.coming.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.coming.remove(namespace);
            }
        }
    }

    /// Lets that be done which waits for the events before it, behind them.
    pub(super) fn part(&mut self) {
        let unread = &self.unread;
        if let Some((_, act)) = self.parting.take_if(|(last, _)| unread.is_sent_up_to(*last)) {
            self.ready.push_back(Ready::Then(act));
        }
    }

    /// Whether an entry is on its way behind which what could not be written is written again.
    pub(super) fn writes_again(&self) -> bool {
        self.fences.values().any(|fence| matches!(fence.then, Then::Again))
    }

    /// When it is asked whether what was written can still be read.
    pub(super) fn overdue_at(&self) -> Option<Time> {
        let oldest = self.unread.oldest()?;
        Some(oldest.max(self.asked) + RETRY)
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes of events of this node that wait for the stream, or for their turn behind it.
    pub(super) const fn bytes(&self) -> usize {
        self.unread.bytes() + self.ready_bytes
    }

    /// The same, with those of the orders of others.
    pub(super) const fn all_bytes(&self) -> usize {
        self.bytes() + self.others_bytes
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let limit = self.fence_limits.front().map(|(limit, _)| *limit);
        let times = [
            self.unread.impatient_at(),
            self.retry,
            self.records,
            self.overdue_at(),
            limit,
        ];
        let next = times.into_iter().flatten().min();
        match self.is_left {
            true => Some(Time::ZERO),
            false => next,
        }
    }

    /// Gives up fences that were not read in time. Returns who has waited for them.
    pub(super) fn give_up_fences(&mut self, now: Time) -> Vec<Arc<Slot<()>>> {
        let mut late = Vec::new();
        while let Some((_, request)) = self.fence_limits.front().copied().filter(|(limit, _)| *limit <= now) {
            self.fence_limits.pop_front();
            match self.fences.remove(&request).map(|fence| fence.then) {
                Some(Then::Waiter(slot)) => late.push(slot),
                Some(Then::Again) => self.retry = Some(now),
                Some(Then::Records) => self.records = Some(now),
                None => {}
            }
        }
        late
    }

    /// Ends it. Returns who waits.
    pub(super) fn end(&mut self) -> Vec<Arc<Slot<()>>> {
        self.fence_limits.clear();
        let fences = std::mem::take(&mut self.fences).into_values();
        let waiters = fences.filter_map(|fence| match fence.then {
            Then::Waiter(slot) => Some(slot),
            Then::Again | Then::Records => None,
        });
        waiters.collect()
    }
}

/// What an order takes in memory, while it waits.
fn order_bytes(order: &Order) -> usize {
    let names = |names: &[ByteString]| {
        names
            .iter()
            .map(|name| size_of::<ByteString>() + name.len())
            .sum::<usize>()
    };
    let (to, more) = match order {
        Order::Broadcast { to, emit, .. } => (to, emit.name.len() + emit.args.bytes()),
        Order::Join { to, rooms } | Order::Leave { to, rooms } => (to, names(rooms)),
        Order::Disconnect { to, .. } => (to, 0),
    };
    EVENT_BYTES + names(&to.rooms) + names(&to.except) + more
}

pub(super) fn broadcast_of(to: &Target, emit: &Emit) -> Order {
    Order::Broadcast {
        to: to.clone(),
        flags: Flags::default(),
        emit: emit.clone(),
    }
}

/// Returns what writes one message in a namespace, if this node has it open for itself: an emitter
/// does not read its own entries.
pub(super) fn own_voice(node: &mut Node, now: Time, namespace: &ByteString) -> Option<Voice> {
    node.id(namespace)?;
    node.voice(now, namespace)
}

/// Reads the id of an entry.
pub(super) fn place_of(entry: &Bytes) -> Option<Offset> {
    let text = std::str::from_utf8(entry).ok()?;
    Offset::parse(text).filter(|place| place.is_entry())
}

/// Events of this node.
impl ClusterNode {
    /// Whether the order of the stream is the order of events. With several streams there is none.
    pub(in crate::user) fn follows_stream(&self) -> bool {
        matches!(&self.settings.config.kind, ClusterKind::Streams(streams) if streams.count == 1)
    }

    /// Whether events for these sockets are sent in the order of the stream.
    pub(in crate::user) fn orders(&self, to: Audience<'_>) -> bool {
        let namespace = &to.target.namespace;
        // Also for the first client that comes: an event that is not sent to it has to be read
        // before.
        let is_coming = || {
            let is_any = self.bringing.load(atomic::Ordering::Relaxed) > 0;
            is_any && self.state.lock().ordering.coming.contains_key(namespace)
        };
        let has_history = || {
            let [room] = &to.target.rooms[..] else { return false };
            to.shards.histories.covers(namespace, room) && !to.shards.is_id(room)
        };
        self.follows_stream() && (to.shards.recovery.has_records(namespace) || is_coming() || has_history())
    }

    /// Takes an event over, to send it to all nodes and to the sockets of this node. Returns false
    /// if the caller has to send it to the sockets of this node now, because as much waits as may:
    /// other nodes get it, or it is counted.
    pub(in crate::user) fn broadcast_in_order(
        self: &Arc<Self>,
        to: Audience<'_>,
        draft: &Draft,
        policy: Option<&Policy>,
    ) -> bool {
        let now = (self.runtime.now)();
        let draft = draft.clone().owned();
        let emit = emit_of(draft.clone());
        let bytes = EVENT_BYTES + emit.name.len() + emit.args.bytes();
        let (fits, is_calm) = {
            let ordering = &self.state.lock().ordering;
            let fits = ordering.bytes().saturating_add(bytes) <= self.settings.broker.max_waiting_bytes;
            (fits, self.is_up() && !ordering.unread.is_stuck(now))
        };
        let body = fits.then(|| Body {
            target: to.target.clone(),
            sender: to.sender.map(Arc::clone),
            draft,
            policy: policy.cloned(),
            bytes,
        });
        let (waits, direct) = match is_calm {
            true => (body, None),
            false => (None, body),
        };
        let has_to_wait = waits.is_some();
        let event = Event {
            namespace: to.target.namespace.clone(),
            to: target_of(to),
            emit,
            bytes,
            since: now,
            body: waits,
        };
        // The caller sends an event that does not fit behind all this.
        let histories = &to.shards.histories;
        let mixed = if fits { None } else { histories.mix(to.target) };
        let unsent = self.write(event, fits);
        if has_to_wait && unsent.is_none() {
            return true;
        }
        {
            // Behind what waits.
            let ordering = &mut self.state.lock().ordering;
            let waiting = ordering.unread.take_unsent().into_iter();
            let all = waiting.chain(unsent).chain(direct);
            all.for_each(|body| ordering.push_own(body, None));
            if !fits {
                ordering.mixes(&to.target.namespace);
            }
            if let Some(last) = mixed {
                // What ends the order before may be in the queue, and what ends this one comes
                // behind it.
                let namespace = &to.target.namespace;
                let is_last = matches!(ordering.ready.back(), Some(Ready::Mixed(name, _)) if name == namespace);
                if !is_last {
                    ordering.ready.push_back(Ready::Mixed(namespace.clone(), last));
                }
            }
        }
        self.drain(MOST_FOR_OTHERS);
        fits
    }

    /// Takes over an event for one socket of this node. Returns what
    /// [`broadcast_in_order`](Self::broadcast_in_order) returns.
    pub(in crate::user) fn send_in_order(
        self: &Arc<Self>,
        application: &Arc<dyn Application>,
        socket: &Arc<SocketCell>,
        draft: &Draft,
        policy: Option<&Policy>,
    ) -> bool {
        if !self.follows_stream() {
            return false;
        }
        let target = server::Target {
            namespace: socket.namespace().clone(),
            rooms: vec![socket.id().as_str().into()],
            except: Vec::new(),
            except_socket: None,
        };
        let to = Audience {
            shards: application.shards(),
            target: &target,
            sender: None,
        };
        let own = application.policy(socket.namespace(), draft.name());
        self.broadcast_in_order(to, draft, policy.or(own.as_ref()))
    }

    /// Writes an event to the stream. With `keeps`, it is kept until it is read there. The event is
    /// written outside the lock of the node, and gets its place among the others when it is sent.
    /// If it can never be written, returns how it is sent to the sockets of this node.
    fn write(self: &Arc<Self>, event: Event<Body>, keeps: bool) -> Option<Body> {
        let is_up = self.is_up();
        let written = match is_up {
            true => self
                .written(&event.namespace, broadcast_of(&event.to, &event.emit))
                .map(Some),
            false => Ok(None),
        };
        let failed = match written {
            Err(error) => Some((error, event)),
            // A socket of the event must not be dropped under the lock.
            Ok(written) => self.with_state(|state, now| {
                let unread = &mut state.ordering.unread;
                // What was not written before comes first.
                let written = written.filter(|_| !unread.has_absent());
                let request = match written.map(|written| state.node.send(now, written.in_order(), &mut state.out)) {
                    Some(Ok(request)) => request,
                    Some(Err(error)) => return Some((error, event)),
                    None => None,
                };
                match (keeps, request) {
                    (true, request) => {
                        unread.put(now, event, request);
                        // It may be there since this was looked at: it comes under this lock.
                        if request.is_none() && self.is_up() {
                            state.ordering.retry.get_or_insert(now + RETRY);
                        }
                    }
                    (false, Some(_)) => {
                        unread.wrote_untracked(event.namespace);
                        state.ordering.retry.get_or_insert(now + RETRY);
                    }
                    (false, None) => state.ordering.dropped += 1,
                }
                None
            }),
        };
        let (error, event) = failed?;
        self.note_unsent(&error);
        event.body
    }

    /// Writes an order in a namespace of this node.
    pub(super) fn written(&self, namespace: &ByteString, order: Order) -> Result<Written, NotSent> {
        let voice = {
            let now = (self.runtime.now)();
            own_voice(&mut self.state.lock_for("cluster voice").node, now, namespace)
        };
        let voice = voice.ok_or(NotSent::UnknownNamespace)?;
        voice.write(LocalOrder::CarryOut(order))
    }
}
