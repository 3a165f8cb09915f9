//! What the stream has brought, and what is sent without it: one queue, which one thread at a time
//! works off under no lock.
//!
//! A thread of the application does a part of it, and leaves the rest to the task of the node.

use std::sync::{Arc, atomic};
use std::task::Waker;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::cluster::{Order, RequestId};
use sio_proto::server::{self, Target};
use sio_proto::socket::Offset;

use super::ClusterNode;
use super::bringing::{Slot, TAKEN};
use super::fences::{Fence, NOBODY, Then};
use super::ordering::{Body, MOST_FOR_OTHERS, Ordering, place_of};
use super::receiving::carry_out;
use super::unread::Event;
use crate::error::HandlerError;
use crate::guarded::guarded;
use crate::lock::Alarm;
use crate::turn::entry_place;
use crate::turn::order::Audience;
use crate::user::emitter::broadcast;
use crate::user::inner::Inner;
use crate::user::socket::Socket;

/// Something that the stream has brought into its place.
pub(super) enum Ready {
    /// An event of this node is sent to its own sockets.
    Own(Box<Body>, Option<Offset>),
    /// An order of another node is carried out.
    Others(ByteString, Box<Order>, Entry),
    /// An entry has been read. With a namespace, it was an event there.
    Passed(Option<ByteString>, Offset),
    /// An event of a namespace is sent without the stream when this entry was the last that was
    /// read.
    Mixed(ByteString, u64),
    /// The early events of a namespace stand before this place in the stream, or at it.
    Settled(ByteString, Offset),
    /// Somebody who has waited for this goes on.
    Waiter(Arc<Slot<()>>),
    /// What is not in the stream is written. So many writes came before the fence that was read.
    Again(u64),
    /// All records are written.
    Records,
    /// Something of this node is done behind the events before it.
    Then(Action),
}

/// What is done behind events of this node.
pub(super) type Action = Box<dyn FnOnce() + Send>;

/// The entry of an order.
pub(super) struct Entry {
    place: Option<Offset>,
    /// Whether there was an early event in its namespace when it was read.
    is_early: bool,
}

/// What the stream brings.
impl ClusterNode {
    /// Carries out what others have written to the stream, behind what came before it.
    pub(super) fn carry_out_in_order(self: &Arc<Self>, namespace: ByteString, order: Order, entry: &Bytes) {
        {
            let ordering = &mut self.state.lock().ordering;
            let entry = Entry {
                place: place_of(entry),
                is_early: ordering.unread.has_early(&namespace),
            };
            if let Some(place) = entry.place.filter(|_| !entry.is_early) {
                // The event itself stands behind them.
                ordering.settle(&namespace, place.entry_before());
            }
            ordering.push_others(namespace, order, entry);
            let is_crowded = ordering.is_crowded(self.settings.broker.max_waiting_bytes);
            self.is_crowded.store(is_crowded, atomic::Ordering::Relaxed);
        }
        self.drain(usize::MAX);
    }

    /// Whether the task that has the connections to the broker may read from streams. It may not
    /// while another thread does what others have ordered and more bytes of it wait than
    /// [`BrokerConfig::max_waiting_bytes`](sio_proto::broker::BrokerConfig::max_waiting_bytes);
    /// then the waker is woken when there is room. So what others write waits in the broker.
    pub(crate) fn may_read(&self, waker: &Waker) -> bool {
        if !self.is_crowded.load(atomic::Ordering::Relaxed) {
            return true;
        }
        let alarm = Alarm::new(waker);
        let before = {
            let ordering = &mut self.state.lock().ordering;
            if !ordering.is_crowded(self.settings.broker.max_waiting_bytes) {
                return true;
            }
            ordering.reader.replace(alarm)
        };
        drop(before);
        false
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
            let body = ordering.unread.read(request);
            let fence = ordering.fences.remove(&request);
            let over = fence.as_ref().map(|fence| ordering.unread.passed(fence.writes));
            let is_early = ordering.unread.has_early(&namespace);
            if let Some(place) = place.filter(|_| !is_early) {
                let is_sent_now = body.is_some();
                ordering.settle(&namespace, if is_sent_now { place.entry_before() } else { place });
            }
            if let Some(body) = body {
                ordering.push_own(body, place.filter(|_| !is_early));
            }
            if let Some(place) = place {
                let namespace = Some(namespace).filter(|_| !is_early);
                ordering.ready.push_back(Ready::Passed(namespace, place));
            }
            let over = over.into_iter().flatten();
            over.for_each(|body| ordering.push_own(body, None));
            if let Some(Fence { writes, then }) = fence {
                ordering.ready.push_back(match then {
                    Then::Waiter(slot) => Ready::Waiter(slot),
                    Then::Records => Ready::Records,
                    Then::Again => Ready::Again(writes),
                });
            }
        }
        self.drain(usize::MAX);
    }
}

/// What is sent without the stream.
impl ClusterNode {
    /// Sends the sockets of this node what waits for the stream.
    pub(in crate::user) fn send_waiting(self: &Arc<Self>) {
        {
            let ordering = &mut self.state.lock().ordering;
            let bodies = ordering.unread.take_unsent();
            if bodies.is_empty() && ordering.parting.is_none() {
                return;
            }
            bodies.into_iter().for_each(|body| ordering.push_own(body, None));
        }
        self.drain(MOST_FOR_OTHERS);
    }

    /// Does something that takes events from sockets of this node, for example because they leave a
    /// room. The events of this node that are chosen are sent before it, without the stream, by the
    /// names of their namespace, their rooms and the rooms that they leave out. If another thread
    /// sends events at this moment, it does this behind them.
    pub(in crate::user) fn behind_events(
        self: &Arc<Self>,
        is_chosen: impl Fn(&str, &[ByteString], &[ByteString]) -> bool,
        act: Action,
    ) {
        let at_once = {
            let ordering = &mut self.state.lock().ordering;
            let bodies = ordering.unread.take_unsent_before(|event: &Event<Body>| {
                is_chosen(&event.namespace, &event.to.rooms, &event.to.except)
            });
            let matters = |to: &Target| is_chosen(&to.namespace, &to.rooms, &to.except);
            let waits = |ready: &Ready| matches!(ready, Ready::Own(body, _) if matters(&body.target));
            let is_sent = !ordering.sending.as_ref().is_some_and(matters);
            let is_free = bodies.is_empty() && is_sent && !ordering.ready.iter().any(waits);
            bodies.into_iter().for_each(|body| ordering.push_own(body, None));
            match is_free {
                true => Ok(act),
                false => {
                    ordering.ready.push_back(Ready::Then(act));
                    Err(ordering.ready.len())
                }
            }
        };
        match at_once {
            Ok(act) => act(),
            Err(most) => self.drain(most),
        }
    }

    /// Does something when the sockets of this node have been sent all events that it has taken
    /// over, with the stream or, if it is too slow, without.
    pub(in crate::user) fn behind_all_events(self: &Arc<Self>, act: Action) {
        let before = {
            let ordering = &mut self.state.lock().ordering;
            let last = ordering.unread.last();
            ordering.parting.replace((last, act))
        };
        drop(before);
        self.drain(MOST_FOR_OTHERS);
    }
}

/// The queue.
impl ClusterNode {
    /// Does what is ready, in order, or a part of it: the task of the node does the rest. One
    /// thread at a time does this, under no lock; what others put in meanwhile is done by this
    /// thread, too.
    pub(super) fn drain(self: &Arc<Self>, most: usize) {
        /// Lets others go on, also behind a panic.
        struct Draining<'a>(&'a ClusterNode, bool);
        impl Drop for Draining<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    let ordering = &mut self.0.state.lock().ordering;
                    (ordering.is_draining, ordering.sending) = (false, None);
                }
            }
        }
        if std::mem::replace(&mut self.state.lock().ordering.is_draining, true) {
            return;
        }
        let mut draining = Draining(self, false);
        for done in 0.. {
            let (ready, reader) = {
                let ordering = &mut self.state.lock().ordering;
                let ready = if done < most { ordering.pop() } else { None };
                let reader = self.let_read(ordering);
                ordering.is_draining = ready.is_some();
                if ready.is_none() {
                    ordering.sending = None;
                    ordering.part();
                }
                ordering.is_left = ready.is_none() && !ordering.ready.is_empty();
                (ready.ok_or(ordering.is_left), reader)
            };
            reader.into_iter().for_each(Alarm::wake);
            match ready {
                Ok(ready) => {
                    if let Some(server) = self.server.get().and_then(std::sync::Weak::upgrade) {
                        // A panic keeps nothing of others back.
                        if let Err(error) = guarded(|| self.act(&server, ready)) {
                            tracing::error!(%error, "an order of the cluster is not carried out");
                        }
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

    /// Returns what wakes the task that reads, if it waits and there is room again.
    fn let_read(&self, ordering: &mut Ordering) -> Option<Alarm> {
        if ordering.is_crowded(self.settings.broker.max_waiting_bytes) {
            return None;
        }
        self.is_crowded.store(false, atomic::Ordering::Relaxed);
        ordering.reader.take()
    }

    fn act(self: &Arc<Self>, server: &Arc<Inner>, ready: Ready) {
        let (recovery, histories) = (&server.shards.recovery, &server.shards.histories);
        match ready {
            Ready::Own(body, place) => {
                if place.is_none() {
                    histories.mix(&body.target);
                }
                send(server, *body, place);
            }
            Ready::Passed(namespace, place) => {
                recovery.passed(namespace.as_deref(), place);
                histories.read_up_to(place);
            }
            Ready::Mixed(namespace, last) => histories.mix_from(&namespace, last),
            Ready::Settled(namespace, place) => histories.settle(&namespace, place),
            Ready::Others(namespace, order, Entry { place, is_early }) => {
                if let Order::Disconnect { to, .. } = &*order
                    && let [id] = &to.rooms[..]
                {
                    match &to.except[..] {
                        [taken] if *taken == *TAKEN => return self.let_go(server, &namespace, id),
                        // A fence of another node.
                        [nobody] if *nobody == *NOBODY && *id == *NOBODY => return,
                        _ => {}
                    }
                }
                let name = namespace.clone();
                carry_out(server, namespace, *order, place.filter(|_| !is_early));
                if let Some(place) = place {
                    recovery.passed(Some(&*name).filter(|_| !is_early), place);
                    histories.read_up_to(place);
                }
            }
            Ready::Records => self.write_all_records(server),
            Ready::Then(act) => act(),
            Ready::Waiter(slot) => slot.fill(Ok(())),
            Ready::Again(writes) => self.write_again(writes),
        }
    }

    /// A client that was here has come back to another node.
    fn let_go(self: &Arc<Self>, server: &Inner, namespace: &ByteString, id: &ByteString) {
        let key = self.state.lock().sessions.find(namespace, id);
        let key = key.or_else(|| server.shards.recovery.find_behind(namespace, id));
        if let Some(key) = key {
            // In this order: a record that is known, and is not kept any more, is not written.
            server.shards.recovery.take_away(key);
            self.state.lock().sessions.forget(key);
        }
    }
}

/// Sends an event to the sockets of this node. Its errors are reported: the caller of `emit` has
/// gone on.
fn send(server: &Inner, body: Body, place: Option<Offset>) {
    let audience = Audience {
        shards: &server.shards,
        target: &body.target,
        sender: body.sender.as_ref(),
    };
    let event = body.draft.name().clone();
    let mut sent = server::Sent::default();
    let result = entry_place::with(place, || {
        broadcast(audience, body.draft, false, body.policy.as_ref(), &mut sent)
    });
    if let Err(error) = result {
        let sender = body.sender.map(Socket);
        server.report(sender.as_ref(), &event, &HandlerError::Emit(error));
    }
}
