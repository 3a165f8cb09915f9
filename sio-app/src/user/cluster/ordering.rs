//! The order of the stream: in a namespace with recovery, an event of this node is sent to its own
//! sockets when it is read from the stream, as the events of others are.
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
//! What is sent to the sockets of this node, and what others have ordered, passes through one
//! queue, which one thread at a time works off under no lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::broker::BrokerError;
use sio_proto::cluster::{Emit, Flags, LocalOrder, Node, NotSent, Order, RequestId, Target, Voice, Written};
use sio_proto::socket::Offset;
use sio_proto::{ClusterKind, Time, server};

use super::bringing::{Slot, TAKEN};
use super::receiving::carry_out;
use super::sending::{emit_of, target_of};
use super::unread::{EVENT_BYTES, Event, Unread};
use super::{ClusterNode, State};
use crate::turn::application::Application;
use crate::turn::entry_place;
use crate::turn::order::Audience;
use crate::turn::policy::Policy;
use crate::turn::socket::SocketCell;
use crate::user::emitter::broadcast;
use crate::user::inner::Inner;
use crate::user::message::Draft;

/// How long the node waits before it tries again to write what the broker has not taken, and before
/// it asks with a fence whether what it has written can still be read.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// How many things a thread of the application does for others, before the task does the rest.
const MOST_FOR_OTHERS: usize = 256;

/// A room that nobody is in: an order for its members that are not in it has no effect.
const NOBODY: &str = "sio:nobody";

/// The events of this node that have not been read from the stream, and what is to be done.
#[derive(Default)]
pub(super) struct Ordering {
    pub(super) unread: Unread<Body>,
    dropped: u64,
    /// Entries of no effect that have been written.
    fences: BTreeMap<RequestId, Fence>,
    /// When each of them is given up, in this order. Some have been read.
    fence_limits: VecDeque<(Time, RequestId)>,
    /// When absent events are written again.
    retry: Option<Time>,
    /// When it was last tried to write a fence because of events that are not read.
    asked: Time,
    /// What is done next, in this order.
    ready: VecDeque<Ready>,
    /// Bytes of the own events in it.
    ready_bytes: usize,
    /// Whether a thread does it.
    is_draining: bool,
    /// Whether a thread has left something for the task.
    is_left: bool,
}

/// Something that the stream has brought into its place.
enum Ready {
    /// An event of this node is sent to its own sockets.
    Own(Box<Body>, Option<Offset>),
    /// An order of another node is carried out.
    Others(ByteString, Box<Order>, Option<Offset>),
    /// An entry has been read. With a namespace, it was an event there.
    Passed(Option<ByteString>, Offset),
    /// Somebody who has waited for this goes on.
    Waiter(Arc<Slot<()>>),
    /// What is not in the stream is written. So many writes came before the fence that was read.
    Again(u64),
}

struct Fence {
    /// How many had been written to the stream, this one included.
    writes: u64,
    then: Then,
}

enum Then {
    /// What could not be written is written again.
    Again,
    Waiter(Arc<Slot<()>>),
}

/// An event for the sockets of this node.
pub(super) struct Body {
    target: server::Target,
    sender: Option<Arc<SocketCell>>,
    draft: Draft,
    policy: Option<Policy>,
    bytes: usize,
}

impl Ordering {
    fn push_own(&mut self, body: Body, place: Option<Offset>) {
        self.ready_bytes += body.bytes;
        self.ready.push_back(Ready::Own(Box::new(body), place));
    }

    fn pop(&mut self) -> Option<Ready> {
        let next = self.ready.pop_front()?;
        if let Ready::Own(body, _) = &next {
            self.ready_bytes -= body.bytes;
        }
        Some(next)
    }

    /// Whether an entry is on its way behind which what could not be written is written again.
    fn writes_again(&self) -> bool {
        self.fences.values().any(|fence| matches!(fence.then, Then::Again))
    }

    /// When it is asked whether what was written can still be read.
    fn overdue_at(&self) -> Option<Time> {
        let oldest = self.unread.oldest()?;
        Some(oldest.max(self.asked) + RETRY)
    }

    /// Whether something of a namespace is not in the stream.
    pub(super) fn is_behind(&self, namespace: &str) -> bool {
        self.unread.is_behind(namespace)
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes of events that wait for the stream, or for their turn behind it.
    pub(super) const fn bytes(&self) -> usize {
        self.unread.bytes() + self.ready_bytes
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let limit = self.fence_limits.front().map(|(limit, _)| *limit);
        let times = [self.unread.impatient_at(), self.retry, self.overdue_at(), limit];
        let next = times.into_iter().flatten().min();
        match self.is_left {
            true => Some(Time::ZERO),
            false => next,
        }
    }

    /// Gives up fences that were not read in time. Returns who has waited for them.
    fn give_up_fences(&mut self, now: Time) -> Vec<Arc<Slot<()>>> {
        let mut late = Vec::new();
        while let Some((_, request)) = self.fence_limits.front().copied().filter(|(limit, _)| *limit <= now) {
            self.fence_limits.pop_front();
            match self.fences.remove(&request).map(|fence| fence.then) {
                Some(Then::Waiter(slot)) => late.push(slot),
                Some(Then::Again) => self.retry = Some(now),
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
            Then::Again => None,
        });
        waiters.collect()
    }
}

fn broadcast_of(to: &Target, emit: &Emit) -> Order {
    Order::Broadcast {
        to: to.clone(),
        flags: Flags::default(),
        emit: emit.clone(),
    }
}

/// Returns what writes one message in a namespace, if this node has it open for itself: an emitter
/// does not read its own entries.
fn own_voice(node: &mut Node, now: Time, namespace: &ByteString) -> Option<Voice> {
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
    pub(super) fn follows_stream(&self) -> bool {
        matches!(&self.settings.config.kind, ClusterKind::Streams(streams) if streams.count == 1)
    }

    /// Whether events for these sockets are sent in the order of the stream.
    pub(in crate::user) fn orders(&self, to: Audience<'_>) -> bool {
        self.follows_stream() && to.shards.recovery.has_records(&to.target.namespace)
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
            namespace: socket.namespace.clone(),
            rooms: vec![socket.id().as_str().into()],
            except: Vec::new(),
            except_socket: None,
        };
        let to = Audience {
            shards: application.shards(),
            target: &target,
            sender: None,
        };
        let own = application.policy(&socket.namespace, draft.name());
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
                let request = match written.map(|written| state.node.send(now, written, &mut state.out)) {
                    Some(Ok(request)) => request,
                    Some(Err(error)) => return Some((error, event)),
                    None => None,
                };
                match (keeps, request) {
                    (true, request) => {
                        unread.put(now, event, request);
                        if request.is_none() && is_up {
                            state.ordering.retry.get_or_insert(now + RETRY);
                        }
                    }
                    (false, Some(_)) => drop(unread.count_write()),
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
    fn written(&self, namespace: &ByteString, order: Order) -> Result<Written, NotSent> {
        let voice = {
            let now = (self.runtime.now)();
            own_voice(&mut self.state.lock_for("cluster voice").node, now, namespace)
        };
        let voice = voice.ok_or(NotSent::UnknownNamespace)?;
        voice.write(LocalOrder::CarryOut(order))
    }

    /// Sends the sockets of this node what waits for the stream, for example because one of them is
    /// about to leave.
    pub(in crate::user) fn send_waiting(self: &Arc<Self>) {
        {
            let ordering = &mut self.state.lock().ordering;
            let bodies = ordering.unread.take_unsent();
            if bodies.is_empty() {
                return;
            }
            bodies.into_iter().for_each(|body| ordering.push_own(body, None));
        }
        self.drain(MOST_FOR_OTHERS);
    }
}

/// What the stream brings.
impl ClusterNode {
    /// Carries out what others have written to the stream, behind what came before it.
    pub(super) fn carry_out_in_order(self: &Arc<Self>, namespace: ByteString, order: Order, entry: &Bytes) {
        let others = Ready::Others(namespace, Box::new(order), place_of(entry));
        self.state.lock().ordering.ready.push_back(others);
        self.drain(usize::MAX);
    }

    /// The stream has been read up to here.
    pub(super) fn read_up_to(self: &Arc<Self>, place: Offset) {
        self.state.lock().ordering.ready.push_back(Ready::Passed(None, place));
        self.drain(usize::MAX);
    }

    /// An own order was read from the stream.
    pub(super) fn echoed(self: &Arc<Self>, namespace: ByteString, request: RequestId, entry: &Bytes) {
        let place = place_of(entry);
        {
            let ordering = &mut self.state.lock().ordering;
            if let Some(body) = ordering.unread.read(request) {
                ordering.push_own(body, place);
            }
            if let Some(place) = place {
                ordering.ready.push_back(Ready::Passed(Some(namespace), place));
            }
            match ordering.fences.remove(&request) {
                Some(Fence {
                    then: Then::Waiter(slot),
                    ..
                }) => ordering.ready.push_back(Ready::Waiter(slot)),
                Some(Fence {
                    then: Then::Again,
                    writes,
                }) => {
                    let over = ordering.unread.passed(writes);
                    over.into_iter().for_each(|body| ordering.push_own(body, None));
                    ordering.ready.push_back(Ready::Again(writes));
                }
                None => {}
            }
        }
        self.drain(usize::MAX);
    }

    /// Does what is ready, in order, or a part of it: the task of the node does the rest. One
    /// thread at a time does this, under no lock; what others put in meanwhile is done by this
    /// thread, too.
    fn drain(self: &Arc<Self>, most: usize) {
        /// Lets others go on, also behind a panic.
        struct Draining<'a>(&'a ClusterNode, bool);
        impl Drop for Draining<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    self.0.state.lock().ordering.is_draining = false;
                }
            }
        }
        if std::mem::replace(&mut self.state.lock().ordering.is_draining, true) {
            return;
        }
        let mut draining = Draining(self, false);
        for done in 0.. {
            let ready = {
                let ordering = &mut self.state.lock().ordering;
                let ready = if done < most { ordering.pop() } else { None };
                ordering.is_draining = ready.is_some();
                ordering.is_left = ready.is_none() && !ordering.ready.is_empty();
                ready.ok_or(ordering.is_left)
            };
            match ready {
                Ok(ready) => {
                    if let Some(server) = self.server.get().and_then(std::sync::Weak::upgrade) {
                        self.act(&server, ready);
                    }
                }
                Err(is_left) => {
                    draining.1 = true;
                    if is_left {
                        // This wakes the task.
                        self.with_state(|_, _| ());
                    }
                    return;
                }
            }
        }
    }

    fn act(self: &Arc<Self>, server: &Arc<Inner>, ready: Ready) {
        let recovery = &server.shards.recovery;
        match ready {
            Ready::Own(body, place) => send(server, *body, place),
            Ready::Passed(namespace, place) => recovery.passed(namespace.as_deref(), place),
            Ready::Others(namespace, order, place) => {
                if let Order::Disconnect { to, .. } = &*order
                    && let [id] = &to.rooms[..]
                    && to.except == [TAKEN]
                {
                    return self.let_go(server, &namespace, id);
                }
                let name = namespace.clone();
                carry_out(server, namespace, *order, place);
                if let Some(place) = place {
                    recovery.passed(Some(&name), place);
                }
            }
            Ready::Waiter(slot) => slot.fill(Ok(())),
            Ready::Again(writes) => self.write_again(writes),
        }
    }

    /// A client that was here has come back to another node.
    fn let_go(self: &Arc<Self>, server: &Inner, namespace: &ByteString, id: &ByteString) {
        let key = {
            let sessions = &mut self.state.lock().sessions;
            let key = sessions.find(namespace, id);
            key.inspect(|key| drop(sessions.forget(*key)))
        };
        if let Some(key) = key {
            server.shards.recovery.take_away(key);
        }
    }
}

/// What is not in the stream, and fences.
impl ClusterNode {
    /// Writes what is not in the stream. A fence has been read before which so many had been
    /// written.
    fn write_again(self: &Arc<Self>, writes: u64) {
        // A part of what may wait for the broker, so that nothing of it is refused.
        let max_bytes = self.settings.broker.max_waiting_bytes / 4;
        let missing: Vec<(u64, Option<Voice>, Order)> = {
            let now = (self.runtime.now)();
            let mut state = self.state.lock_for("cluster voice");
            let State { node, ordering, .. } = &mut *state;
            let absent = ordering.unread.absent(writes, max_bytes).into_iter();
            let missing = absent.map(|(number, event)| {
                let voice = own_voice(node, now, &event.namespace);
                (number, voice, broadcast_of(&event.to, &event.emit))
            });
            missing.collect()
        };
        let written = missing.into_iter().map(|(number, voice, order)| {
            let voice = voice.ok_or(NotSent::UnknownNamespace);
            (number, voice.and_then(|voice| voice.write(LocalOrder::CarryOut(order))))
        });
        let written: Vec<(u64, Result<Written, NotSent>)> = written.collect();
        self.with_state(|state, now| {
            let State {
                node, out, ordering, ..
            } = state;
            for (number, written) in written {
                match written.and_then(|written| node.send(now, written, out)) {
                    Ok(Some(request)) => ordering.unread.wrote(now, number, request),
                    // Its namespace has ended, or it can never be written.
                    Ok(None) | Err(_) => {
                        let Some(event) = ordering.unread.remove(number) else {
                            continue;
                        };
                        ordering.dropped += 1;
                        if let Some(body) = event.body {
                            ordering.push_own(body, None);
                        }
                    }
                }
            }
            ordering.retry = ordering.unread.has_absent().then_some(now);
        });
    }

    /// An order was written to the stream, or was not.
    pub(super) fn stored(self: &Arc<Self>, request: RequestId, entry: &Result<Bytes, BrokerError>) {
        let Err(why) = entry else {
            self.state.lock().ordering.unread.answered(request, true);
            return;
        };
        let fence = self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            let fence = ordering.fences.remove(&request);
            let is_again = fence.as_ref().is_some_and(|fence| matches!(fence.then, Then::Again));
            if ordering.unread.answered(request, false) || is_again {
                ordering.retry = Some(now + RETRY);
            }
            fence
        });
        if let Some(Fence {
            then: Then::Waiter(slot),
            ..
        }) = fence
        {
            slot.fill(Err(why.clone()));
        }
        self.send_waiting();
    }

    /// What is not in the stream is written, behind an entry of no effect.
    pub(super) fn write_missing(self: &Arc<Self>) {
        let window = self.window();
        let namespace = self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            (ordering.retry, ordering.asked) = (None, now);
            ordering.dropped += ordering.unread.drop_old(now, window);
            let namespace = ordering.unread.namespace().cloned();
            namespace.filter(|_| !ordering.writes_again())
        });
        let Some(namespace) = namespace else { return };
        if !self.write_fence(&namespace, NOBODY.into(), Then::Again) {
            // The namespace has ended. Another one is taken the next time.
            self.with_state(|state, now| {
                state.ordering.dropped += state.ordering.unread.forget(&namespace);
                state.ordering.retry = state.ordering.unread.has_absent().then_some(now + RETRY);
            });
        }
    }

    /// Writes an entry, and fills the slot when it is read. With a socket's id, other nodes let the
    /// record of the socket go. Returns false if it cannot be written.
    pub(super) fn fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, slot: &Arc<Slot<()>>) -> bool {
        self.write_fence(namespace, id, Then::Waiter(Arc::clone(slot)))
    }

    fn write_fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, then: Then) -> bool {
        let order = Order::Disconnect {
            to: Target {
                rooms: vec![id.clone()],
                except: match *id == *NOBODY {
                    true => vec![id],
                    false => vec![TAKEN.into()],
                },
            },
            close: true,
        };
        let Ok(written) = self.written(namespace, order) else {
            return false;
        };
        let limit = self.settings.config.request_timeout;
        self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            // Another thread may have written it meanwhile.
            if matches!(then, Then::Again) && ordering.writes_again() {
                return true;
            }
            let request = state.node.send(now, written, &mut state.out).ok().flatten();
            request.is_some_and(|request| {
                let writes = ordering.unread.count_write();
                ordering.fences.insert(request, Fence { writes, then });
                ordering.fence_limits.push_back((now + limit, request));
                true
            })
        })
    }

    /// Takes the time.
    pub(super) fn keep_order(self: &Arc<Self>) {
        let now = (self.runtime.now)();
        let (is_impatient, is_due, late) = {
            let ordering = &mut self.state.lock().ordering;
            let is_over = |time: Option<Time>| time.is_some_and(|time| time <= now);
            let is_impatient = is_over(ordering.unread.impatient_at());
            let is_due = is_over(ordering.retry) || is_over(ordering.overdue_at());
            (is_impatient, is_due, ordering.give_up_fences(now))
        };
        late.iter().for_each(|slot| slot.fill(Err(BrokerError::TimedOut)));
        if is_impatient {
            self.send_waiting();
        }
        match is_due {
            true if self.is_up() => self.write_missing(),
            // It is tried when the broker is back.
            true => {
                let ordering = &mut self.state.lock().ordering;
                (ordering.retry, ordering.asked) = (None, now);
            }
            false => {}
        }
        self.drain(usize::MAX);
    }

    fn window(&self) -> Duration {
        let server = self.server.get().and_then(std::sync::Weak::upgrade);
        server.map_or(Duration::from_secs(120), |server| server.shards.recovery.window())
    }
}

/// Sends an event to the sockets of this node. Errors of the event have been told to nobody: the
/// caller of `emit` has gone on.
fn send(server: &Inner, body: Body, place: Option<Offset>) {
    let audience = Audience {
        shards: &server.shards,
        target: &body.target,
        sender: body.sender.as_ref(),
    };
    let mut sent = server::Sent::default();
    let result = entry_place::with(place, || {
        broadcast(audience, body.draft, false, body.policy.as_ref(), &mut sent)
    });
    if let Err(error) = result {
        tracing::debug!(%error, "an event is not sent to the sockets of this node");
    }
}
