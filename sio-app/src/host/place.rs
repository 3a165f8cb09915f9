//! The place of a link: its number among all connections, and its seat in the shard of its session.
//!
//! Connections and exchanges both have a place. When the place is dropped for any reason, the shard
//! is told.

use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(feature = "redis")]
use bytes::BytesMut;
use sio_proto::LinkId;
use sio_proto::Time;
#[cfg(feature = "redis")]
use sio_proto::cluster::relay::RelayEnd;
use sio_proto::server::{Admission, Breach, Cause, Outputs, Peer, Request, Routed, Write};

use crate::guarded::guarded;
use crate::host::aside::{Aside, Parts};
use crate::host::asking::{Asked, Asking};
#[cfg(feature = "redis")]
use crate::host::relay::{Passed, Passing};
use crate::link::{Link, wake};
use crate::turn::later::Later;
use crate::turn::shard::{ShardCell, State};
use crate::turn::{self, Leftover, Turn};
use crate::user::hooks::{AllowLaterFn, Allows};
use crate::user::inner::Inner;

pub(crate) struct Place {
    pub(crate) io: Arc<Inner>,
    pub(crate) link: Arc<Link>,
    /// The slot among the connections, and [`FAILS_IF_DROPPED`].
    number: u32,
    /// How many packets of a websocket are handed over next.
    most_packets: u32,
    pub(crate) seat: Option<Seat>,
    pub(super) aside: Aside,
}

// Every connection has one.
const _: () = assert!(size_of::<Place>() <= 56);

/// The bit of [`Place::number`] which says that the shard is told that the link has failed when the
/// place is dropped. Otherwise it is told that the link was closed.
const FAILS_IF_DROPPED: u32 = 1 << 31;

pub(crate) struct Seat {
    pub(crate) cell: Arc<ShardCell>,
    pub(crate) id: LinkId,
}

impl Place {
    /// Takes a place. Returns `None` if a limit of connections is reached.
    pub(crate) fn new(io: &Arc<Inner>, link: Arc<Link>, peer: &Peer, fails_if_dropped: bool) -> Option<Self> {
        let number = io.enter(&link, peer)? as u32;
        let mut place = Self {
            io: Arc::clone(io),
            link,
            number,
            most_packets: 1,
            seat: None,
            aside: Aside::default(),
        };
        if fails_if_dropped {
            place.fail_if_dropped();
        }
        if !io.paces() {
            place.set_most_packets(place.portion());
        }
        Some(place)
    }

    /// The shard shall be told that the link has failed when this value is dropped.
    pub(super) const fn fail_if_dropped(&mut self) {
        self.number |= FAILS_IF_DROPPED;
    }

    /// The slot among the connections.
    #[inline]
    pub(super) const fn slot(&self) -> usize {
        (self.number & !FAILS_IF_DROPPED) as usize
    }

    /// Whether work has been left. Nothing else is done before this work is done.
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.aside.get().is_some_and(|aside| !aside.later.is_empty())
    }

    /// About how many bytes of the peer's data the work keeps that has been left.
    #[inline]
    pub(super) fn left_bytes(&self) -> usize {
        self.aside.get().map_or(0, |aside| aside.later.bytes())
    }

    /// Leaves this work, if there is any.
    #[inline]
    pub(super) fn leave_work(&mut self, leftover: Option<Box<Leftover>>) {
        if leftover.is_some() {
            self.aside.parts().later.put(leftover, &self.io.kept);
        }
    }

    /// Takes out the work that has been left. A task does it when the result is dropped.
    pub(super) fn take_left(&mut self) -> Option<Later> {
        self.aside.take(|aside| Some(std::mem::take(&mut aside.later)))
    }

    /// Goes on with the work that has been left, for one more turn.
    pub(super) fn go_on_with_left(&mut self) {
        if let Some(aside) = self.aside.get_mut() {
            aside.later.go_on();
            self.aside.tidy();
        }
    }

    /// How many packets of a websocket are handed over next.
    #[inline]
    pub(super) const fn most_packets(&self) -> usize {
        self.most_packets as usize
    }

    pub(super) fn set_most_packets(&mut self, packets: usize) {
        self.most_packets = u32::try_from(packets).unwrap_or(u32::MAX);
    }

    /// Gives a complete request to its shard, or to the application if it is not for Socket.IO.
    ///
    /// A request is large, so it stays where it is. It is taken out of `arrived` only if it has to
    /// wait.
    pub(crate) fn handle_request(&mut self, turn: &Turn, arrived: &mut Option<Request>) {
        if let Some(request) = arrived {
            self.io.add_headers(request);
        }
        self.route_request(turn, arrived);
    }

    /// Passes a request on to the node of its session, if that is another one. Returns true if this
    /// node does nothing more for it.
    #[cfg(feature = "redis")]
    fn pass_request(&mut self, turn: &Turn, arrived: &mut Option<Request>) -> bool {
        if self.is_passing() {
            return false;
        }
        match Passing::begin(&self.io, &self.link, arrived) {
            Passed::Not => return false,
            Passed::On(passing) => self.aside.parts().passing = Some(passing),
            Passed::Refused => {
                if let Some(request) = arrived.take() {
                    self.answer_unavailable(turn, &request);
                }
            }
        }
        true
    }

    /// Tells the client that its session cannot be reached now.
    #[cfg(feature = "redis")]
    fn answer_unavailable(&self, turn: &Turn, request: &Request) {
        let answer = sio_proto::server::unavailable(self.io.config(), LinkId(0), request);
        self.link.push(answer.into());
        turn.touch_link(&self.link, None);
    }

    /// Whether a request was passed on to another node.
    #[cfg(feature = "redis")]
    #[inline]
    pub(super) fn is_passing(&self) -> bool {
        self.passing().is_some()
    }

    #[cfg(feature = "redis")]
    #[inline]
    fn passing(&self) -> Option<&Passing> {
        self.aside.get()?.passing.as_deref()
    }

    /// Answers the request that was passed on, if the other node will not. Returns true if it has.
    #[cfg(feature = "redis")]
    pub(super) fn answer_failed_relay(&mut self) -> bool {
        let Some(why) = self.passing().and_then(Passing::failed) else {
            return false;
        };
        let passing = self.aside.take(|aside| aside.passing.take());
        let Some(request) = passing.and_then(|mut passing| passing.take_request()) else {
            return false;
        };
        turn::run(self.io.runtime(), |turn| match why {
            // The session is gone with its node, as after a restart.
            RelayEnd::Gone => self.dispatch(turn, &mut Some(request)),
            _ => self.answer_unavailable(turn, &request),
        });
        true
    }

    /// Whether what the client sends goes to another node as it is.
    #[cfg(feature = "redis")]
    pub(super) fn is_tunnel(&self) -> bool {
        self.passing().is_some_and(Passing::is_tunnel)
    }

    /// Sends bytes to the other node, and removes them. Returns false if it takes no more now.
    #[cfg(feature = "redis")]
    pub(super) fn pass_on(&self, bytes: &mut BytesMut) -> bool {
        self.passing()
            .is_none_or(|passing| (bytes.is_empty() || passing.send(bytes)) && passing.has_room())
    }

    /// The client has read what waited for it.
    pub(super) fn note_drained(&self) {
        #[cfg(feature = "redis")]
        if let Some(passing) = self.passing() {
            passing.drained();
        }
    }

    /// Forgets the request that was passed on: all requests are answered. If a GET was held in
    /// front of it, the answer of the GET is not its own.
    pub(super) fn note_all_answered(&mut self) {
        #[cfg(feature = "redis")]
        drop(self.aside.take(|aside| aside.passing.take()));
    }

    /// The memory of the request that is passed on, in bytes.
    pub(super) fn passing_bytes(&self) -> usize {
        #[cfg(feature = "redis")]
        return self.passing().map_or(0, Passing::bytes);
        #[cfg(not(feature = "redis"))]
        0
    }

    fn route_request(&mut self, turn: &Turn, arrived: &mut Option<Request>) {
        #[cfg(feature = "redis")]
        if self.pass_request(turn, arrived) {
            return;
        }
        let Some(request) = arrived else { return };
        // The application is asked before the lock is taken. It is also asked if the request seems
        // to name a session, because only the shard knows whether the session exists.
        if request.may_open_session() {
            request.unix_time = Some((self.io.runtime().unix_time)());
            match self.io.allows() {
                Allows::All => request.admission = Admission::Allowed,
                Allows::Now(hook) => request.admission = self.io.admission(&hook, request),
                // A request that will be refused because of its host or origin need not wait for a
                // decision.
                Allows::Later(_) if request.is_stranger() => {}
                Allows::Later(hook) => return self.ask(turn, arrived, &hook),
            }
        }
        self.dispatch(turn, arrived);
    }

    /// Asks the application, whose decision may take time. The request goes on at once, or when the
    /// decision is there ([`Place::poll_decision`]).
    fn ask(&mut self, turn: &Turn, arrived: &mut Option<Request>, hook: &AllowLaterFn) {
        let Some(request) = arrived.take() else { return };
        let request = match Asking::begin(&self.io, hook, request, turn.now()) {
            Asked::Decided(request) => request,
            Asked::Waits(asking) => {
                let may_wait =
                    self.asking().is_none() && self.io.connections.lock().begin_asking(self.slot(), &self.io.options);
                if may_wait {
                    self.aside.parts().asking = Some(asking);
                    return;
                }
                asking.refuse(&self.io)
            }
        };
        self.dispatch(turn, &mut Some(request));
    }

    /// Polls the decision about a request that waits for one. Returns true if the request has gone
    /// on: its turn is over, and may have left work.
    #[inline]
    pub(crate) fn poll_decision(&mut self, cx: &mut Context<'_>) -> bool {
        self.asking().is_some() && self.poll_asking(cx)
    }

    #[inline]
    fn asking(&self) -> Option<&Asking> {
        self.aside.get()?.asking.as_deref()
    }

    #[inline(never)]
    fn poll_asking(&mut self, cx: &mut Context<'_>) -> bool {
        let asking = self.aside.get_mut().and_then(|aside| aside.asking.as_deref_mut());
        let Some(asking) = asking else { return false };
        let Poll::Ready(admission) = asking.poll(&self.io, cx) else {
            return false;
        };
        let Some(request) = self.stop_asking().map(|asking| asking.decided(admission)) else {
            return false;
        };
        let ((), leftover) = turn::run_a_while(self.io.runtime(), |turn| self.dispatch(turn, &mut Some(request)));
        self.leave_work(leftover);
        true
    }

    fn stop_asking(&mut self) -> Option<Box<Asking>> {
        let asking = self.aside.take(|aside| aside.asking.take())?;
        self.io.connections.lock().end_asking(self.slot());
        Some(asking)
    }

    /// Whether nothing waits here that counts as received.
    #[inline]
    pub(super) fn keeps_nothing(&self) -> bool {
        self.aside.get().is_none_or(Parts::counts_nothing)
    }

    /// The memory that a request takes while it waits for a decision, in bytes.
    pub(crate) fn asking_bytes(&self) -> usize {
        self.asking().map_or(0, Asking::bytes)
    }

    fn dispatch(&mut self, turn: &Turn, arrived: &mut Option<Request>) {
        let Some(request) = arrived.as_mut() else { return };
        let paces = |shard: usize, request: &Request| {
            let cell = self.io.shards.cells.get(shard);
            cell.is_some_and(|cell| self.must_pace(cell, request))
        };
        let shard = match self.io.shards.router.route(request) {
            Routed::Session(shard) if paces(shard, request) => {
                if let Some(request) = arrived.take() {
                    self.pace(turn, shard, request);
                }
                return;
            }
            Routed::Session(shard) => shard,
            Routed::New => {
                if request.admission == Admission::Allowed {
                    request.prepare(self.io.config(), turn.now());
                }
                self.io.shards.pick()
            }
            Routed::Foreign => {
                let mut response = self.io.answer(request).0;
                response.exchange = request.http.exchange();
                response.exchange.keep_alive &= !self.io.is_closing();
                self.link.push(Write::Response(LinkId(0), Box::new(response)).into());
                turn.touch_link(&self.link, None);
                return;
            }
        };
        self.input(turn, shard, |state, now, id, out| {
            state.shard.handle_request(now, id, request, out)
        });
    }

    /// Tells the session that the body of a request is under way.
    pub(crate) fn handle_body_started(&mut self, turn: &Turn, request: &mut Request) {
        if let Routed::Session(shard) = self.io.shards.router.route(request) {
            self.input(turn, shard, |state, now, id, out| {
                state.shard.handle_body_started(now, id, request, out)
            });
        }
    }

    /// Gives an input to a shard. The link takes a seat in the shard if it has none there.
    pub(super) fn input(
        &mut self,
        turn: &Turn,
        shard: usize,
        input: impl FnOnce(&mut State, Time, LinkId, &mut Outputs),
    ) {
        let is_here = |seat: &Seat| {
            self.io
                .shards
                .cells
                .get(shard)
                .is_some_and(|cell| Arc::ptr_eq(cell, &seat.cell))
        };
        if self.seat.as_ref().is_some_and(|seat| !is_here(seat)) {
            self.change_seat(turn, Cause::Closed, false);
        }
        let known = self.seat.as_ref().map(|seat| seat.id);
        let Some(cell) = self.io.shards.cells.get(shard) else {
            return;
        };
        let link = &self.link;
        let id = cell.input("request", turn, |state, now, out| {
            let id = known.unwrap_or_else(|| state.links.insert(Arc::clone(link)));
            input(state, now, id, out);
            id
        });
        if known.is_none() {
            self.seat = Some(Seat {
                cell: Arc::clone(cell),
                id,
            });
        }
    }

    /// Whether a GET is held on the link. Then the request behind it may be read.
    pub(crate) fn holds(&self) -> bool {
        let held = |seat: &Seat| seat.cell.ask("holds", |state| state.shard.holds(seat.id));
        self.seat.as_ref().is_some_and(held)
    }

    /// Handles a complete request that has come behind a held GET. If it may overtake the GET, this
    /// returns the writes for the time when the GET has been answered ([`Place::answer_in_order`]).
    ///
    /// A POST that is handed over in portions does not overtake: its client may have to wait, and
    /// the GET does not wait with it.
    pub(crate) fn handle_behind(&mut self, turn: &Turn, arrived: &mut Option<Request>) -> Option<Vec<Write>> {
        if let Some(request) = arrived {
            self.io.add_headers(request);
        }
        let paced = match (&self.seat, &*arrived) {
            (Some(seat), Some(request)) => self.must_pace(&seat.cell, request),
            _ => false,
        };
        let mut answers = None;
        if let Self {
            link,
            seat: Some(seat),
            aside,
            ..
        } = self
        {
            seat.cell.input("pipelined request", turn, |state, now, out| {
                let overtakes = |request: &&mut Request| !paced && state.shard.may_overtake(seat.id, request);
                let Some(request) = arrived.as_mut().filter(overtakes) else {
                    return state.shard.end_poll(now, seat.id, out);
                };
                let overtaking = &mut aside.parts().overtaking;
                let id = *overtaking.get_or_insert_with(|| state.links.insert(Arc::clone(link)));
                state.shard.handle_request(now, id, request, out);
                answers = Some(out.writes.extract_if(.., |write| write.link() == id).collect());
            });
        }
        if answers.is_none() {
            self.route_request(turn, arrived);
        }
        answers
    }

    /// Answers the held GET, if there is one, and then the request that has overtaken it.
    pub(crate) fn answer_in_order(&self, turn: &Turn, overtaken: Vec<Write>) {
        if let Some(Seat { cell, id, .. }) = &self.seat {
            cell.input("end poll", turn, |state, now, out| {
                state.shard.end_poll(now, *id, out);
                out.writes.extend(overtaken);
            });
        }
    }

    /// Notes that the connection has received this number of incomplete bytes. Returns false if
    /// there is no room for them.
    #[must_use]
    pub(crate) fn receive(&self, bytes: usize) -> bool {
        let Inner {
            connections, options, ..
        } = &*self.io;
        connections.lock().receive(self.slot(), bytes, options)
    }

    /// Tells the shard that the link is gone.
    pub(crate) fn leave_seat(&mut self, turn: &Turn, cause: Cause) {
        self.change_seat(turn, cause, true);
    }

    /// Gives up the seat. If the connection has ended, packets that have not been written come back
    /// to their session.
    fn change_seat(&mut self, turn: &Turn, cause: Cause, has_ended: bool) {
        let link = &self.link;
        if has_ended {
            link.await_writer();
        }
        let overtaking = self.aside.take(|aside| aside.overtaking.take());
        if let Some(Seat { cell, id }) = self.seat.take() {
            let mut waker = None;
            cell.input("closed", turn, |state, now, out| {
                if let Some(overtaking) = overtaking {
                    // A broken rule is reported only once.
                    let cause = match &cause {
                        Cause::Broken(_) => Cause::Failed,
                        cause => cause.clone(),
                    };
                    state.shard.handle_closed(now, overtaking, cause, out);
                    state.links.remove(overtaking);
                }
                if has_ended
                    && state.shard.takes_back(id)
                    && let Some(frames) = link.take_unwritten(&mut waker)
                {
                    state.shard.handle_returned(now, id, frames);
                }
                state.shard.handle_closed(now, id, cause, out);
                state.links.remove(id);
            });
            wake(waker);
        } else if let Cause::Broken(breach) = cause {
            self.note_breach(&breach);
        }
    }

    /// Counts and logs a broken rule of a connection that no shard knows.
    #[cold]
    fn note_breach(&self, breach: &Breach) {
        self.io.tally.broken(breach);
        tracing::debug!(
            kind = breach.kind().as_str(),
            ends = true,
            why = breach.text(),
            "a client broke a rule of its protocol"
        );
    }

    /// Gives up the seat when the link has ended while its task runs.
    pub(crate) fn end(&mut self, cause: Cause) {
        let asking = self.stop_asking();
        let pacing = self.aside.take(|aside| aside.pacing.take());
        drop((asking, pacing));
        self.end_delay();
        #[cfg(feature = "redis")]
        if let Some(mut passing) = self.aside.take(|aside| aside.passing.take()) {
            passing.ends(&cause);
        }
        if self.seat.is_some() {
            turn::run(self.io.runtime(), |turn| self.leave_seat(turn, cause));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.cut();
        if self.seat.is_some() && !std::thread::panicking() {
            // The task was cancelled. Handlers run in another task, if the runtime still runs one.
            let cause = match self.number & FAILS_IF_DROPPED {
                0 => Cause::Closed,
                _ => Cause::Failed,
            };
            let _ = guarded(|| turn::act(self.io.runtime(), |turn| self.leave_seat(turn, cause)));
        }
        self.io.leave(self.slot());
    }
}

impl Inner {
    /// Adds a connection. Returns `None` if a limit of connections is reached.
    fn enter(&self, link: &Arc<Link>, peer: &Peer) -> Option<usize> {
        let place = { self.connections.lock().enter(link, peer.address, &self.options) };
        if let Err(why) = place {
            tracing::debug!(address = ?peer.address, ?why, "connection refused");
        }
        place.ok()
    }

    fn leave(&self, place: usize) {
        let empty = {
            let mut connections = self.connections.lock();
            connections.leave(place);
            connections.count() == 0
        };
        if empty {
            self.shutdown.wake_waiters();
        }
    }

    /// Warns that more is being received than there is room for, so that a connection has to be
    /// closed.
    pub(crate) fn warn_of_crowd(&self) {
        self.warnings.receiving.say(self.now(), || {
            tracing::warn!("too much is being received: a connection is closed");
        });
    }
}
