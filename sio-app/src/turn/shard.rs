//! A shard behind its lock, and the tables beside it: which link belongs to a [`LinkId`], and which
//! socket to a [`SocketKey`].
//!
//! Everything that happens under the lock is in this file, in [`deliveries`] and in [`events`], and
//! is short: no user code, no encoding, no write to a socket, and never the lock of a second shard.
//! Locks are taken in this order: recovery, shard, link, mailbox.

mod deliveries;
mod events;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use sio_proto::server::{Breach, BreachKind, Command, Extension, Forms, Outputs, Shard};
use sio_proto::{Config, LinkId, SessionKey, SocketKey, Time};

use crate::guarded::guarded;
use crate::link::Link;
use crate::lock::Mutex;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::trim::trim;
use crate::turn::application::Application;
use crate::turn::credentials::Expiries;
use crate::turn::links::Links;
use crate::turn::load::Loads;
use crate::turn::raw_session::RawSession;
use crate::turn::recovery::Recovery;
use crate::turn::room_news::RoomNotes;
use crate::turn::sleeps::Sleeps;
use crate::turn::socket::SocketCell;
use crate::turn::work::Work;
use crate::turn::{self, Turn, Unwritten};

/// How many links one flush serves before it releases the lock.
const LINKS_PER_FLUSH: usize = 64;

pub(crate) struct ShardCell {
    /// The application that the shard belongs to.
    pub(crate) application: Weak<dyn Application>,
    pub(crate) runtime: Runtime,
    pub(crate) config: Arc<Config>,
    /// The counts of what waits on the server.
    loads: Arc<Loads>,
    /// The server's warnings.
    pub(super) warnings: Arc<Warnings>,
    /// The notes about the shard's rooms.
    rooms: Arc<RoomNotes>,
    /// The records of sockets that may come back. Its lock is taken before the shard's.
    pub(crate) recovery: Arc<Recovery>,
    state: Mutex<State>,
    /// Copies of values of the shard, with which a caller decides whether to take the lock at all.
    forms: AtomicU32,
    sessions: AtomicUsize,
    most_waiting: AtomicUsize,
    /// How many messages to one socket were too large for its queue.
    too_large: AtomicU64,
}

pub(crate) struct State {
    pub(crate) shard: Shard,
    pub(crate) links: Links,
    pub(super) sockets: Vec<Option<Arc<SocketCell>>>,
    /// Sockets that are gone for good, and whose records a store has. The records end before
    /// anything more is written to clients ([`ShardCell::flush`]).
    parted: Vec<Arc<SocketCell>>,
    /// The raw sessions, by their slots.
    raw: Vec<Option<Arc<RawSession>>>,
    pub(crate) packets_out: u64,
    pub(crate) unwritten: Unwritten,
    pub(super) sleeps: Sleeps,
    /// When the credentials of sockets end.
    pub(crate) expiries: Expiries,
    /// The sessions that had begun and ended when their copies were made.
    turnover: u64,
    /// Whether the server shuts down and still has sessions in this shard.
    draining: bool,
    /// The latest time that the shard has seen. Turns of several threads may arrive here in another
    /// order than they have read the clock.
    latest: Time,
    /// When the timer task will come, and the waker that makes it come earlier.
    armed: Option<Time>,
    timer: Option<Waker>,
}

/// Returns the breach of a client for which too many events wait.
fn too_many_events() -> Breach {
    Breach::new(BreachKind::Limit, "too many events wait for a handler")
}

/// What inputs leave to be done when no lock is held. Almost always nothing is left.
#[derive(Default)]
pub(crate) struct Aftermath(Option<Box<Left>>);

#[derive(Default)]
struct Left {
    released: Vec<Extension>,
    timers: Vec<Waker>,
    /// How many shards have lost their last session during a shutdown.
    emptied: usize,
}

impl Aftermath {
    fn left(&mut self) -> &mut Left {
        self.0.get_or_insert_default()
    }

    /// Does what is left.
    #[inline]
    pub(crate) fn finish(self, turn: &Turn, cell: &ShardCell) {
        if self.0.is_some() || turn.has_notes() {
            self.finish_all(turn, cell);
        }
    }

    #[inline(never)]
    fn finish_all(self, turn: &Turn, cell: &ShardCell) {
        let left = *self.0.unwrap_or_default();
        for extension in left.released {
            let _ = guarded(|| drop(extension));
        }
        while let Some(note) = turn.take_note() {
            // A subscriber of the log is code of the user. If it panics, the other notes remain,
            // and the wakers.
            let _ = guarded(|| cell.tell(note));
        }
        for _ in 0..left.emptied {
            if let Some(application) = cell.application.upgrade() {
                application.shard_emptied();
            }
        }
        left.timers.into_iter().for_each(Waker::wake);
    }
}

impl ShardCell {
    pub(crate) fn new(
        application: Weak<dyn Application>,
        runtime: Runtime,
        shard: Shard,
        rooms: Arc<RoomNotes>,
        loads: Arc<Loads>,
        warnings: Arc<Warnings>,
        recovery: Arc<Recovery>,
    ) -> Self {
        let config = Arc::clone(shard.config());
        let state = State {
            shard,
            links: Links::default(),
            sockets: Vec::new(),
            parted: Vec::new(),
            raw: Vec::new(),
            packets_out: 0,
            unwritten: Unwritten::default(),
            sleeps: Sleeps::default(),
            expiries: Expiries::default(),
            turnover: 0,
            draining: false,
            latest: Time::ZERO,
            armed: None,
            timer: None,
        };
        Self {
            application,
            runtime,
            config,
            loads,
            warnings,
            rooms,
            recovery,
            state: Mutex::new(state),
            forms: AtomicU32::new(0),
            sessions: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
            too_large: AtomicU64::new(0),
        }
    }

    /// Closes the session of a socket for which too much waits.
    pub(crate) fn end_overrun(self: &Arc<Self>, turn: &Turn, socket: SocketKey) {
        self.warn_of_overflow(socket);
        self.input("overrun", turn, |state, now, out| {
            state.shard.disconnect_for(now, socket, too_many_events(), out);
        });
    }

    /// Forgets the acknowledgements with this id that these sockets owe.
    pub(crate) fn forget_acks(self: &Arc<Self>, id: u64, sockets: &[SocketKey]) {
        turn::act(self.runtime, |turn| {
            self.input("forget acks", turn, |state, now, out| {
                for socket in sockets {
                    state.shard.forget_ack(now, *socket, id, out);
                }
            });
        });
    }

    /// Ends a raw session.
    pub(crate) fn close_engine(self: &Arc<Self>, session: SessionKey) {
        turn::act(self.runtime, |turn| {
            self.input("close", turn, |state, now, out| {
                state.shard.close_engine(now, session, out)
            });
        });
    }

    /// Returns the forms that the shard's sessions need.
    pub(crate) fn forms(&self) -> Forms {
        Forms::from_bits(self.forms.load(Ordering::Relaxed))
    }

    pub(crate) fn loads(&self) -> &Arc<Loads> {
        &self.loads
    }

    /// Returns the number of the shard's sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Notes how much waits for one of the shard's sockets.
    pub(crate) fn note_waiting(&self, waiting: usize) {
        if waiting > self.most_waiting() {
            self.most_waiting.fetch_max(waiting, Ordering::Relaxed);
        }
    }

    /// Returns the most that has waited for one of the shard's sockets.
    pub(crate) fn most_waiting(&self) -> usize {
        self.most_waiting.load(Ordering::Relaxed)
    }

    /// Counts a message to one socket that is too large for an empty queue.
    pub(crate) fn note_too_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many messages to one socket were too large for an empty queue.
    pub(crate) fn too_large(&self) -> u64 {
        self.too_large.load(Ordering::Relaxed)
    }

    /// Calls a function of the shard that has no outputs. `name` says what the lock of the shard is
    /// taken for ([`Mutex::lock_for`]), here and in all other methods with a `name`.
    pub(crate) fn ask<R>(&self, name: &'static str, question: impl FnOnce(&mut State) -> R) -> R {
        question(&mut self.state.lock_for(name))
    }

    /// Gives the shard one input. Its deliveries go to the turn's work. Its writes wait in the
    /// links until the end of the turn.
    pub(crate) fn input<R>(
        self: &Arc<Self>,
        name: &'static str,
        turn: &Turn,
        input: impl FnOnce(&mut State, Time, &mut Outputs) -> R,
    ) -> R {
        let mut after = Aftermath::default();
        let result = self.input_held(name, turn, &mut after, input);
        after.finish(turn, self);
        result
    }

    /// Does what [`ShardCell::input`] does for a caller that holds the lock of recovery. What may
    /// not be done under a lock is left in `after`.
    pub(crate) fn input_held<R>(
        self: &Arc<Self>,
        name: &'static str,
        turn: &Turn,
        after: &mut Aftermath,
        input: impl FnOnce(&mut State, Time, &mut Outputs) -> R,
    ) -> R {
        let result = turn.outputs.with(|out| {
            let mut state = self.state.lock_for(name);
            let now = state.time(turn);
            let result = input(&mut state, now, out);
            self.note_rooms(&state, turn);
            if !out.collisions.is_empty() {
                let collisions = out.collisions.drain(..);
                turn.collide(collisions.filter_map(|collision| state.find(collision.socket)));
            }
            if !out.writes.is_empty() || !out.deliveries.is_empty() {
                self.settle(&mut state, turn, out);
            }
            if state.turnover != state.shard.turnover() {
                self.note_sessions(&mut state);
            }
            if state.draining && state.shard.sessions() == 0 {
                state.draining = false;
                after.left().emptied += 1;
            }
            if let Some(timer) = state.rearm() {
                after.left().timers.push(timer);
            }
            if !out.released.is_empty() {
                after.left().released.append(&mut out.released);
            }
            result
        });
        turn.touch(self);
        result
    }

    /// Copies what depends on the sessions of the shard. Called when a session has begun or ended.
    fn note_sessions(&self, state: &mut State) {
        state.turnover = state.shard.turnover();
        self.forms.store(state.shard.forms_in_use().bits(), Ordering::Relaxed);
        self.sessions.store(state.shard.sessions(), Ordering::Relaxed);
    }

    /// Gives the events of rooms to the turn, if somebody wants them. The sockets in these
    /// events are still in the table, because deliveries have not been given out yet.
    fn note_rooms(&self, state: &State, turn: &Turn) {
        if !self.rooms.news.is_tracked() {
            return;
        }
        for note in self.rooms.take() {
            if let Some(event) = note.resolved(|key| Some(state.socket(key)?.id().clone())) {
                turn.add(Work::Room(self.application.clone(), Box::new(event)));
            }
        }
    }

    /// Changes the rooms of one socket. If somebody wants events of rooms, this runs in a turn.
    pub(crate) fn change_rooms<R>(self: &Arc<Self>, why: &'static str, change: impl FnOnce(&mut State) -> R) -> R {
        match self.rooms.news.is_tracked() {
            false => self.ask(why, change),
            true => turn::act(self.runtime, |turn| self.input(why, turn, |state, _, _| change(state))),
        }
    }

    /// Begins the shutdown of the shard: its sessions leave, and the server is told when none is
    /// left.
    pub(crate) fn drain(self: &Arc<Self>, turn: &Turn, command: Command) {
        self.input("drain", turn, |state, now, out| {
            state.draining = true;
            state.shard.handle_command(now, command, out);
        });
    }

    /// Gives the shard an input that only queues something, and has no other effect than a
    /// deadline.
    pub(crate) fn queue<R>(
        self: &Arc<Self>,
        name: &'static str,
        turn: &Turn,
        queue: impl FnOnce(&mut State, Time) -> R,
    ) -> R {
        let (result, wake) = self.queue_held(name, turn, queue);
        if let Some(timer) = wake {
            timer.wake();
        }
        result
    }

    /// Does what [`ShardCell::queue`] does for a caller that holds the lock of recovery. The caller
    /// wakes the waker when it holds no lock.
    #[inline(always)]
    pub(crate) fn queue_held<R>(
        self: &Arc<Self>,
        name: &'static str,
        turn: &Turn,
        queue: impl FnOnce(&mut State, Time) -> R,
    ) -> (R, Option<Waker>) {
        let (result, wake) = {
            let mut state = self.state.lock_for(name);
            let now = state.time(turn);
            let result = queue(&mut state, now);
            (result, state.rearm())
        };
        turn.touch(self);
        (result, wake)
    }

    /// Does what [`ShardCell::queue`] does for an input that moves no deadline.
    #[inline(always)]
    pub(crate) fn enqueue<R>(
        self: &Arc<Self>,
        name: &'static str,
        turn: &Turn,
        queue: impl FnOnce(&mut State, Time) -> R,
    ) -> R {
        let result = {
            let mut state = self.state.lock_for(name);
            let now = state.time(turn);
            queue(&mut state, now)
        };
        turn.touch(self);
        result
    }

    /// Takes the ready writes out of the shard, and writes them.
    pub(crate) fn flush(self: &Arc<Self>, turn: &Turn) {
        turn.batch.with(|batch| {
            turn.outputs.with(|out| {
                loop {
                    // The memory of an answer that was written outside of a flush, or in the last
                    // round.
                    if let Some(answer) = batch.pen().take_spare() {
                        out.recycle(answer);
                    }
                    let (mut roomy, mut parted, mut any) = (Vec::new(), Vec::new(), false);
                    let more = {
                        let mut state = self.state.lock_for("flush");
                        let now = state.time(turn);
                        let mut left = LINKS_PER_FLUSH;
                        if out.writes.is_empty() {
                            let State { shard, links, .. } = &mut *state;
                            let taken = shard.take_frames(now, left, out, |id, frame| {
                                batch.collect_frame(links, id, frame);
                            });
                            any = taken > 0;
                            left -= taken;
                            state.packets_out += taken as u64;
                        }
                        let mut is_more = state.shard.ready_links() > 0;
                        if is_more
                            && out.writes.is_empty()
                            && let Some((id, pair)) = state.shard.take_pair(now, out)
                        {
                            batch.collect_pair(&state.links, id, pair);
                            any = true;
                            left = left.saturating_sub(1);
                            state.packets_out += 2;
                            is_more = state.shard.ready_links() > 0;
                        }
                        let more = is_more && (left == 0 || state.shard.flush_ready(now, left, out));
                        if !more {
                            state.unwritten = Unwritten::default();
                        }
                        if !out.writes.is_empty() {
                            any = true;
                            let packets = batch.collect(&state.links, out);
                            state.packets_out += packets as u64;
                        }
                        if state.shard.has_roomy() {
                            roomy = state.take_roomy();
                        }
                        if !state.parted.is_empty() {
                            parted = std::mem::take(&mut state.parted);
                        }
                        more
                    };
                    for socket in parted {
                        self.recovery.part(&socket);
                        // It may be the last handle, and its data belongs to the user.
                        turn.add(Work::Release(socket));
                    }
                    // What a client gets is in the store before.
                    self.recovery.settle(turn.now(), || any || turn.has_queued());
                    if any {
                        batch.write(|id, link| self.block(turn, id, link));
                    }
                    roomy.iter().for_each(|socket| socket.wake_awaiting_room());
                    if !more {
                        break;
                    }
                }
                if let Some(answer) = batch.pen().take_spare() {
                    out.recycle(answer);
                }
            });
        });
    }

    /// Tells the shard that a link's socket is full. The shard is told before the link, so that it
    /// cannot be told of the drain first.
    ///
    /// Call this again whenever the socket has taken some of the bytes that the link holds.
    pub(crate) fn block(self: &Arc<Self>, turn: &Turn, id: LinkId, link: &Link) {
        self.queue("blocked", turn, |state, now| {
            state.shard.handle_blocked(now, id, link.held())
        });
        link.hand_over();
    }

    /// Notes when the timer task will come, and keeps the waker that makes it come earlier.
    pub(crate) fn arm(&self, waker: &Waker) -> Option<Time> {
        let waker = waker.clone();
        let (_old, armed) = {
            let mut state = self.state.lock_for("arm");
            state.armed = [state.shard.latest_timeout(), state.sleeps.next(), state.expiries.next()]
                .into_iter()
                .flatten()
                .min();
            (state.timer.replace(waker), state.armed)
        };
        armed
    }

    /// Returns the time of the runtime.
    pub(crate) fn now(&self) -> Time {
        (self.runtime.now)()
    }

    /// Drops all sockets, so that nothing refers to the server any more, and ends all sleeps,
    /// because nobody watches the time any more.
    pub(crate) fn clear(&self) {
        let (sockets, parted, raw, sleepers) = {
            let mut state = self.state.lock_for("clear");
            let (sockets, raw) = (std::mem::take(&mut state.sockets), std::mem::take(&mut state.raw));
            state.expiries = Expiries::default();
            (sockets, std::mem::take(&mut state.parted), raw, state.sleeps.end())
        };
        sockets.iter().flatten().for_each(|socket| socket.drop_own());
        drop((sockets, parted, raw));
        sleepers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Returns how many handlers sleep.
    pub(crate) fn sleeping(&self) -> usize {
        self.sleeps.len()
    }

    /// Returns the turn's time, or a later time if the shard has seen one: its time does not go
    /// backwards.
    fn time(&mut self, turn: &Turn) -> Time {
        self.latest = self.latest.max(turn.now());
        self.latest
    }

    pub(super) fn socket(&self, key: SocketKey) -> Option<&Arc<SocketCell>> {
        self.sockets
            .get(key.slot())?
            .as_ref()
            .filter(|socket| socket.key == key)
    }

    /// Takes the sockets whose queues have room again.
    fn take_roomy(&mut self) -> Vec<Arc<SocketCell>> {
        let mut keys = Vec::new();
        self.shard.take_roomy(&mut keys);
        keys.into_iter().filter_map(|key| self.find(key)).collect()
    }

    /// Returns the handle of a socket.
    pub(crate) fn find(&self, key: SocketKey) -> Option<Arc<SocketCell>> {
        self.socket(key).cloned()
    }

    fn raw(&self, key: SessionKey) -> Option<&Arc<RawSession>> {
        self.raw.get(key.slot())?.as_ref().filter(|raw| raw.session == key)
    }

    /// Takes a raw session out of the table, if it is still there.
    fn forget_raw(&mut self, key: SessionKey) -> Option<Arc<RawSession>> {
        let forgotten = self.raw.get_mut(key.slot())?.take_if(|raw| raw.session == key);
        while let Some(None) = self.raw.last() {
            self.raw.pop();
        }
        trim(&mut self.raw);
        forgotten
    }

    /// Puts a new socket into the table.
    fn remember(&mut self, socket: &Arc<SocketCell>) {
        let slot = socket.key.slot();
        if self.sockets.len() <= slot {
            self.sockets.resize(slot + 1, None);
        }
        self.sockets[slot] = Some(Arc::clone(socket));
    }

    /// Takes a socket out of the table, if it is still in it.
    pub(crate) fn forget(&mut self, key: SocketKey) -> Option<Arc<SocketCell>> {
        let forgotten = self.sockets.get_mut(key.slot())?.take_if(|socket| socket.key == key);
        while let Some(None) = self.sockets.last() {
            self.sockets.pop();
        }
        trim(&mut self.sockets);
        if let Some(socket) = &forgotten {
            self.forget_expiry(socket);
        }
        forgotten
    }

    /// Returns the timer task's waker, if the task has to come earlier than it plans.
    pub(super) fn rearm(&mut self) -> Option<Waker> {
        let next = self
            .shard
            .latest_timeout()
            .into_iter()
            .chain(self.expiries.next())
            .min()?;
        self.come_by(next)
    }

    /// Returns the timer task's waker, if the task has to come by this time and plans to come
    /// later.
    pub(super) fn come_by(&mut self, next: Time) -> Option<Waker> {
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        // When the task is woken it comes, and gives a new waker.
        self.timer.take()
    }
}
