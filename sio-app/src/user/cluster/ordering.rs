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
//! within limits, and is written when the broker is back. Before anything is written again, an
//! entry of no effect is written and read: what the broker had taken after all has been read then,
//! and is not written twice.

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
use super::{ClusterNode, State};
use crate::turn::application::Application;
use crate::turn::entry_place;
use crate::turn::order::Audience;
use crate::turn::policy::Policy;
use crate::turn::socket::SocketCell;
use crate::user::emitter::broadcast;
use crate::user::inner::Inner;
use crate::user::message::Draft;

/// How long an event waits for the stream before it is sent to the sockets of this node without it.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long the node waits before it tries again to write what the broker has not taken.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// What an item takes besides its bytes.
const ITEM_BYTES: usize = 512;

/// A room that nobody is in: an order for its members that are not in it has no effect.
const NOBODY: &str = "sio:nobody";

/// The events of this node that have not been read from the stream.
#[derive(Default)]
pub(super) struct Ordering {
    items: VecDeque<Item>,
    bytes: usize,
    dropped: u64,
    /// How many items there have been.
    numbers: u64,
    /// Entries of no effect that have been written, and who waits until each is read.
    fences: BTreeMap<RequestId, Fence>,
    retry: Option<Time>,
    /// What is done next, in this order.
    ready: VecDeque<Ready>,
    /// Whether a thread does it.
    is_draining: bool,
}

/// Something that the stream has brought into its place.
enum Ready {
    /// An event of this node is sent to its own sockets.
    Own(Box<Body>, Option<Offset>),
    /// An order of another node is carried out.
    Others(ByteString, Box<Order>, Option<Offset>),
    /// An entry has been read.
    Passed(ByteString, Offset),
    Fence(Fence),
}

struct Item {
    /// Its name here, also when it is not written.
    number: u64,
    namespace: ByteString,
    to: Target,
    emit: Emit,
    bytes: usize,
    since: Time,
    /// Under which name it was written, if it was.
    request: Option<RequestId>,
    /// How it is sent to the sockets of this node, until it is.
    body: Option<Body>,
}

enum Fence {
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
}

impl Ordering {
    /// Whether the oldest event has waited for too long.
    fn is_stuck(&self, now: Time) -> bool {
        self.items.front().is_some_and(|oldest| oldest.since + PATIENCE <= now)
    }

    /// Returns the events that the sockets of this node have not been sent, in their order.
    fn take_unsent(&mut self) -> Vec<Body> {
        self.items.iter_mut().filter_map(|item| item.body.take()).collect()
    }

    fn put(&mut self, item: Item, max_bytes: usize) {
        self.bytes += item.bytes;
        self.items.push_back(item);
        while self.bytes > max_bytes {
            // What the sockets of this node wait for is never dropped.
            let Some(at) = self.items.iter().position(|item| item.body.is_none()) else {
                return;
            };
            self.remove(at);
            self.dropped += 1;
        }
    }

    fn remove(&mut self, at: usize) -> Option<Item> {
        let item = self.items.remove(at)?;
        self.bytes -= item.bytes;
        Some(item)
    }

    const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Returns an item that is not in the stream.
    fn missing(&mut self, number: u64) -> Option<&mut Item> {
        let mut found = self.items.iter_mut().filter(|item| item.number == number);
        found.next().filter(|item| item.request.is_none())
    }

    /// Whether an entry is on its way behind which what could not be written is written again.
    fn writes_again(&self) -> bool {
        self.fences.values().any(|fence| matches!(fence, Fence::Again))
    }

    fn find(&self, request: RequestId) -> Option<usize> {
        self.items.iter().position(|item| item.request == Some(request))
    }

    /// Whether something of a namespace is not in the stream.
    pub(super) fn is_behind(&self, namespace: &str) -> bool {
        self.items
            .iter()
            .any(|item| item.request.is_none() && *item.namespace == *namespace)
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let waits = self.items.iter().find(|item| item.body.is_some());
        let waits = waits.map(|item| item.since + PATIENCE);
        waits.into_iter().chain(self.retry).min()
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
    /// if the caller has to send it to the sockets of this node now, and then has to call
    /// [`ClusterNode::broadcast_late`].
    pub(in crate::user) fn broadcast_in_order(
        self: &Arc<Self>,
        to: Audience<'_>,
        draft: &Draft,
        policy: Option<&Policy>,
    ) -> bool {
        let can_wait = self.is_up() && !self.state.lock().ordering.is_stuck((self.runtime.now)());
        let taken = can_wait && {
            let body = Body {
                target: to.target.clone(),
                sender: to.sender.map(Arc::clone),
                draft: draft.clone().owned(),
                policy: policy.cloned(),
            };
            self.write(to, body.draft.clone(), Some(body))
        };
        if !taken {
            self.send_waiting();
        }
        taken
    }

    /// Takes over an event for one socket of this node. Returns false if it has to be sent at once.
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

    /// Gives other nodes an event that the sockets of this node have been sent.
    pub(in crate::user) fn broadcast_late(self: &Arc<Self>, to: Audience<'_>, draft: Draft) {
        self.write(to, draft.owned(), None);
    }

    /// Writes an event to the stream, or keeps it until the broker is there. The event is written
    /// outside the lock of the node, and gets its place among the others when it is sent.
    fn write(self: &Arc<Self>, to: Audience<'_>, draft: Draft, body: Option<Body>) -> bool {
        let namespace = to.target.namespace.clone();
        let (target, emit) = (target_of(to), emit_of(draft));
        let bytes = ITEM_BYTES + emit.name.len() + emit.args.bytes();
        let written = match self.is_up() {
            true => self.written(&namespace, broadcast_of(&target, &emit)).map(Some),
            false => Ok(None),
        };
        let put = written.and_then(|written| {
            self.with_state(|state, now| {
                let request = match written {
                    Some(written) => state.node.send(now, written, &mut state.out)?,
                    None => None,
                };
                let item = Item {
                    number: state.ordering.number(),
                    namespace,
                    to: target,
                    emit,
                    bytes,
                    since: now,
                    request,
                    body,
                };
                state.ordering.put(item, self.settings.broker.max_waiting_bytes);
                Ok(())
            })
        });
        put.inspect_err(|error| self.note_unsent(error)).is_ok()
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
            let bodies = ordering.take_unsent();
            if bodies.is_empty() {
                return;
            }
            ordering
                .ready
                .extend(bodies.into_iter().map(|body| Ready::Own(Box::new(body), None)));
        }
        self.drain();
    }

    /// Carries out what others have written to the stream, behind what came before it.
    pub(super) fn carry_out_in_order(self: &Arc<Self>, namespace: ByteString, order: Order, entry: &Bytes) {
        let place = place_of(entry);
        self.state
            .lock()
            .ordering
            .ready
            .push_back(Ready::Others(namespace, Box::new(order), place));
        self.drain();
    }

    /// An own order was read from the stream.
    pub(super) fn echoed(self: &Arc<Self>, namespace: ByteString, request: RequestId, entry: &Bytes) {
        let place = place_of(entry);
        {
            let ordering = &mut self.state.lock().ordering;
            let item = ordering.find(request).and_then(|at| ordering.remove(at));
            let body = item.and_then(|item| item.body);
            let body = body.map(|body| Ready::Own(Box::new(body), place));
            let passed = place.map(|place| Ready::Passed(namespace, place));
            let fence = ordering.fences.remove(&request).map(Ready::Fence);
            ordering.ready.extend(body.into_iter().chain(passed).chain(fence));
        }
        self.drain();
    }

    /// Does what is ready, in order. One thread at a time does this, under no lock; what others put
    /// in meanwhile is done by this thread, too.
    fn drain(self: &Arc<Self>) {
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
        loop {
            let ready = {
                let ordering = &mut self.state.lock().ordering;
                let ready = ordering.ready.pop_front();
                ordering.is_draining = ready.is_some();
                ready
            };
            let Some(ready) = ready else {
                draining.1 = true;
                return;
            };
            if let Some(server) = self.server.get().and_then(std::sync::Weak::upgrade) {
                self.act(&server, ready);
            }
        }
    }

    fn act(self: &Arc<Self>, server: &Arc<Inner>, ready: Ready) {
        let recovery = &server.shards.recovery;
        match ready {
            Ready::Own(body, place) => send(server, *body, place),
            Ready::Passed(namespace, place) => recovery.passed(Some(&namespace), place),
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
            Ready::Fence(Fence::Waiter(slot)) => slot.fill(Ok(())),
            Ready::Fence(Fence::Again) => self.write_again(),
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

    /// Writes what is not in the stream.
    fn write_again(self: &Arc<Self>) {
        let missing: Vec<(u64, Voice, Order)> = {
            let now = (self.runtime.now)();
            let mut state = self.state.lock_for("cluster voice");
            let State { node, ordering, .. } = &mut *state;
            let items = ordering.items.iter().filter(|item| item.request.is_none());
            let missing = items.filter_map(|item| {
                let voice = own_voice(node, now, &item.namespace)?;
                Some((item.number, voice, broadcast_of(&item.to, &item.emit)))
            });
            missing.collect()
        };
        let written = missing.into_iter().filter_map(|(number, voice, order)| {
            let written = voice.write(LocalOrder::CarryOut(order)).ok()?;
            Some((number, written))
        });
        let written: Vec<(u64, Written)> = written.collect();
        self.with_state(|state, now| {
            let State {
                node, out, ordering, ..
            } = state;
            for (number, written) in written {
                // It may have been dropped meanwhile.
                let Some(item) = ordering.missing(number) else {
                    continue;
                };
                if let Ok(ticket) = node.send(now, written, out) {
                    item.request = ticket;
                    item.since = now;
                }
            }
        });
    }

    /// An order was written to the stream, or was not.
    pub(super) fn stored(self: &Arc<Self>, request: RequestId, entry: &Result<Bytes, BrokerError>) {
        let Err(why) = entry else { return };
        let fence = self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            if let Some(at) = ordering.find(request) {
                if let Some(item) = ordering.items.get_mut(at) {
                    item.request = None;
                }
                ordering.retry = Some(now + RETRY);
            }
            let fence = ordering.fences.remove(&request);
            if matches!(fence, Some(Fence::Again)) {
                ordering.retry = Some(now + RETRY);
            }
            fence
        });
        if let Some(Fence::Waiter(slot)) = fence {
            slot.fill(Err(why.clone()));
        }
        self.send_waiting();
    }

    /// The broker is back: what is not in the stream is written, behind an entry of no effect.
    pub(super) fn write_missing(self: &Arc<Self>) {
        let window = self.window();
        let namespace = self.with_state(|state, now| {
            state.ordering.retry = None;
            while state
                .ordering
                .items
                .front()
                .is_some_and(|item| item.request.is_none() && item.body.is_none() && item.since + window <= now)
            {
                state.ordering.remove(0);
                state.ordering.dropped += 1;
            }
            let missing = state.ordering.items.iter().find(|item| item.request.is_none());
            let namespace = missing.map(|item| item.namespace.clone());
            namespace.filter(|_| !state.ordering.writes_again())
        });
        if let Some(namespace) = namespace
            && !self.write_fence(&namespace, NOBODY.into(), Fence::Again)
        {
            self.with_state(|state, now| state.ordering.retry = Some(now + RETRY));
        }
    }

    /// Writes an entry, and fills the slot when it is read. With a socket's id, other nodes let the
    /// record of the socket go. Returns false if it cannot be written.
    pub(super) fn fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, slot: &Arc<Slot<()>>) -> bool {
        self.write_fence(namespace, id, Fence::Waiter(Arc::clone(slot)))
    }

    fn write_fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, fence: Fence) -> bool {
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
        self.with_state(|state, now| {
            // Another thread may have written it meanwhile.
            if matches!(fence, Fence::Again) && state.ordering.writes_again() {
                return true;
            }
            let request = state.node.send(now, written, &mut state.out).ok().flatten();
            request.is_some_and(|request| {
                state.ordering.fences.insert(request, fence);
                true
            })
        })
    }

    /// Takes the time.
    pub(super) fn keep_order(self: &Arc<Self>) {
        let now = (self.runtime.now)();
        let (is_stuck, is_due) = {
            let ordering = &self.state.lock().ordering;
            let is_due = ordering.retry.is_some_and(|retry| retry <= now);
            (ordering.is_stuck(now), is_due)
        };
        if is_stuck {
            self.send_waiting();
        }
        match is_due {
            true if self.is_up() => self.write_missing(),
            // It is tried when the broker is back.
            true => self.state.lock().ordering.retry = None,
            false => {}
        }
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
