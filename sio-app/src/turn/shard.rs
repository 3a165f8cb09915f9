//! A shard behind its lock, with the tables that stand beside it: which link a [`LinkId`] is, which
//! socket a [`SocketKey`] is.
//!
//! Everything that happens under the lock is here, and is short: no user code, no encoding, no
//! write to a socket, and never a second shard's lock. Order inside: shard, then link, then
//! mailbox.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use sio_proto::server::{Command, Delivery, Forms, Garbled, Handshake, Outputs, Shard, Write};
use sio_proto::{Config, LinkId, SessionKey, SocketKey, Time};

use crate::link::{Claim, Item, Link, Pen, Progress};
use crate::lock::Mutex;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn::load::{Load, Loads, Overflow};
use crate::turn::mailbox::Mail;
use crate::turn::sleep::Sleeps;
use crate::turn::socket_id::SocketId;
use crate::turn::work::{Work, guarded};
use crate::turn::{Turn, Unwritten};
use crate::user::io::Inner;
use crate::user::socket::SocketInner;

/// How many links one flush serves before it lets go of the lock.
const LINKS_PER_FLUSH: usize = 64;

pub(crate) struct ShardCell {
    /// The whole it is part of.
    pub(crate) io: Weak<Inner>,
    pub(crate) runtime: Runtime,
    pub(crate) config: Arc<Config>,
    /// What waits on the whole.
    loads: Arc<Loads>,
    /// Those of the whole.
    warnings: Arc<Warnings>,
    state: Mutex<State>,
    /// Copies of what the shard knows, for those who decide whether to take the lock at all.
    forms: AtomicU32,
    sessions: AtomicUsize,
    most_waiting: AtomicUsize,
}

pub(crate) struct State {
    pub(crate) shard: Shard,
    pub(crate) links: Links,
    sockets: Vec<Option<Arc<SocketInner>>>,
    /// What waits for each session that has sockets, by its slot.
    loads: Vec<Option<(SessionKey, Weak<Load>)>>,
    pub(crate) packets_out: u64,
    pub(crate) unwritten: Unwritten,
    sleeps: Sleeps,
    /// The server goes away, and has sessions here.
    draining: bool,
    /// The latest time that it has heard of. Turns of several threads come in another order than
    /// they read the clock.
    latest: Time,
    /// When the timer task will come, and how to make it come earlier.
    armed: Option<Time>,
    timer: Option<Waker>,
}

/// A socket in logs, unlike its id of use to nobody: its slot in its shard, and how often that has
/// been used.
pub(crate) struct Named(pub(crate) SocketKey);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.slot(), self.0.generation())
    }
}

/// Something for the log.
pub(crate) enum Note {
    /// A request was answered with this status.
    Refused(u16),
    /// Too much waits for this socket.
    Overflow(SocketKey),
    /// Whose payload cannot be read by this codec.
    Garbled(SocketKey, &'static str, Garbled),
}

/// What the shard has to hear when all deliveries have been given out.
#[derive(Default)]
struct Verdicts {
    /// Too many events wait for these.
    overflown: Vec<SocketKey>,
    /// For these nothing is under way.
    free: Vec<SocketKey>,
}

impl ShardCell {
    pub(crate) fn new(
        io: Weak<Inner>,
        runtime: Runtime,
        shard: Shard,
        loads: Arc<Loads>,
        warnings: Arc<Warnings>,
    ) -> Self {
        let config = Arc::clone(shard.config());
        let state = State {
            shard,
            links: Links::default(),
            sockets: Vec::new(),
            loads: Vec::new(),
            packets_out: 0,
            unwritten: Unwritten::default(),
            sleeps: Sleeps::default(),
            draining: false,
            latest: Time::ZERO,
            armed: None,
            timer: None,
        };
        Self {
            io,
            runtime,
            config,
            loads,
            warnings,
            state: Mutex::new(state),
            forms: AtomicU32::new(0),
            sessions: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
        }
    }

    /// Too much waits for a socket, see [`Mailbox`](mailbox::Mailbox).
    pub(crate) fn warn_of_overflow(&self, socket: SocketKey) {
        self.warnings.overflows.say(
            (self.runtime.now)(),
            || tracing::warn!(socket = %Named(socket), "too many events wait for a handler: the session is closed"),
        );
    }

    /// A handler has kept its thread.
    pub(crate) fn warn_of_slowness(&self, namespace: &str, event: &str, took: Duration) {
        self.warnings.slow.say((self.runtime.now)(), || {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(namespace, event, millis, "a handler kept its thread, and others waited");
        });
    }

    /// Tells the log, where no lock is held: who reads it may come back.
    fn tell(&self, note: Note) {
        match note {
            Note::Refused(status) => tracing::debug!(status, "request refused"),
            Note::Overflow(socket) => self.warn_of_overflow(socket),
            Note::Garbled(socket, codec, garbled) => {
                let (error, looks_like) = (garbled.error, garbled.looks_like);
                self.warnings.garbled.say((self.runtime.now)(), || {
                    tracing::warn!(socket = %Named(socket), codec, looks_like, %error, "a client's payload cannot be read");
                });
            }
        }
    }

    /// The forms that its sessions need.
    pub(crate) fn forms(&self) -> Forms {
        Forms::from_bits(self.forms.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn loads(&self) -> &Arc<Loads> {
        &self.loads
    }

    /// How many sessions it has.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// So much waits for one of its sockets.
    pub(crate) fn note_waiting(&self, waiting: usize) {
        if waiting > self.most_waiting() {
            self.most_waiting.fetch_max(waiting, Ordering::Relaxed);
        }
    }

    /// How much has waited for one of its sockets at most.
    pub(crate) fn most_waiting(&self) -> usize {
        self.most_waiting.load(Ordering::Relaxed)
    }

    /// Asks the shard something that changes nothing.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&mut State) -> R) -> R {
        question(&mut self.state.lock())
    }

    /// One input: what it causes for users goes to the turn's work, what it causes for links waits
    /// there for the turn's end.
    pub(crate) fn input<R>(
        self: &Arc<Self>,
        turn: &Turn,
        input: impl FnOnce(&mut State, Time, &mut Outputs) -> R,
    ) -> R {
        let (result, wake, emptied) = turn.outputs.with(|out| {
            let all = {
                let mut state = self.state.lock();
                let now = state.time(turn);
                let result = input(&mut state, now, out);
                if !out.writes.is_empty() || !out.deliveries.is_empty() {
                    self.settle(&mut state, turn, out);
                }
                let emptied = state.draining && state.shard.sessions() == 0;
                state.draining &= !emptied;
                (result, state.rearm(), emptied)
            };
            for extension in out.released.drain(..) {
                let _ = guarded(|| drop(extension));
            }
            all
        });
        while let Some(note) = turn.take_note() {
            self.tell(note);
        }
        turn.touch(self);
        if emptied && let Some(io) = self.io.upgrade() {
            io.shard_emptied();
        }
        if let Some(timer) = wake {
            timer.wake();
        }
        result
    }

    /// The server goes away: sessions leave, and the whole hears when none is left.
    pub(crate) fn drain(self: &Arc<Self>, turn: &Turn, spread: Duration, patience: Duration) {
        self.input(turn, |state, now, out| {
            state.draining = true;
            state
                .shard
                .handle_command(now, Command::Drain { spread, patience }, out);
        });
    }

    /// An input that only queues something, and can cause nothing but a deadline.
    pub(crate) fn queue<R>(self: &Arc<Self>, turn: &Turn, queue: impl FnOnce(&mut State, Time) -> R) -> R {
        let (result, wake) = {
            let mut state = self.state.lock();
            let now = state.time(turn);
            let result = queue(&mut state, now);
            (result, state.rearm())
        };
        turn.touch(self);
        if let Some(timer) = wake {
            timer.wake();
        }
        result
    }

    /// What happened is given to those it concerns.
    fn settle(self: &Arc<Self>, state: &mut State, turn: &Turn, out: &mut Outputs) {
        for write in out.writes.drain(..) {
            let id = write.link();
            state.packets_out += write.packets() as u64;
            if let Write::Response(_, response) = &write
                && response.status >= 400
            {
                turn.note(Note::Refused(response.status));
            }
            if let Some(link) = state.links.get(id) {
                link.push(write.into());
                turn.touch_link(link, Some((self, id)));
            }
        }
        if out.deliveries.is_empty() {
            return;
        }
        let mut verdicts = Verdicts::default();
        let mut deliveries = std::mem::take(&mut out.deliveries);
        for delivery in deliveries.drain(..) {
            self.deliver(state, turn, delivery, &mut verdicts);
        }
        out.deliveries = deliveries;
        self.forms.store(state.shard.forms_in_use().bits(), Ordering::Relaxed);
        self.sessions.store(state.shard.sessions(), Ordering::Relaxed);
        for socket in verdicts.free {
            let now = state.time(turn);
            state.shard.release(now, socket, out);
            self.settle(state, turn, out);
        }
        for socket in verdicts.overflown {
            turn.note(Note::Overflow(socket));
            let now = state.time(turn);
            state.shard.disconnect(now, socket, true, out);
            self.settle(state, turn, out);
        }
    }

    fn deliver(self: &Arc<Self>, state: &mut State, turn: &Turn, delivery: Delivery, verdicts: &mut Verdicts) {
        match delivery {
            Delivery::Event {
                socket,
                name,
                args,
                ack,
            } => {
                let Some(inner) = state.socket(socket) else { return };
                match inner
                    .mailbox
                    .admit(turn.owner(), Mail::Event { name, args, ack }, &inner.load)
                {
                    Ok(Some(mail)) => turn.add(Work::Mail(Arc::clone(inner), mail)),
                    Ok(None) => self.note_waiting(inner.mailbox.waiting()),
                    Err(Overflow) if verdicts.overflown.contains(&socket) => {}
                    Err(Overflow) => verdicts.overflown.push(socket),
                }
            }
            Delivery::Ack { socket, id, result } => {
                if let Some(inner) = state.socket(socket) {
                    turn.add(Work::Ack(Arc::clone(inner), id, result));
                }
            }
            Delivery::Connect {
                socket,
                session,
                sid,
                wire_id,
                namespace,
                auth,
                handshake,
                generation: _,
                transport: _,
                form,
            } => {
                let load = state.load(session, &handshake, &self.loads);
                let inner = SocketInner::new(
                    Arc::clone(self),
                    load,
                    socket,
                    (SocketId::new(sid), wire_id),
                    namespace,
                    auth,
                    handshake,
                    form,
                );
                let inner = Arc::new(inner);
                inner.mailbox.open(turn.owner());
                if state.sockets.len() <= socket.slot() {
                    state.sockets.resize(socket.slot() + 1, None);
                }
                state.sockets[socket.slot()] = Some(Arc::clone(&inner));
                turn.add(Work::Connect(inner));
            }
            Delivery::Disconnect {
                socket,
                reason,
                connected,
                rooms,
            } => {
                let Some(inner) = state.forget(socket) else { return };
                inner.set_gone();
                if connected && let Some(names) = inner.table().and_then(|table| table.names.as_ref()) {
                    names.leave(&inner.namespace);
                }
                let mail = Mail::Disconnect {
                    reason,
                    connected,
                    rooms,
                };
                let given = inner.mailbox.admit(turn.owner(), mail, &inner.load);
                turn.add(Work::Gone(Arc::clone(&inner)));
                match given {
                    Ok(Some(mail)) => turn.add(Work::Mail(inner, mail)),
                    Ok(None) | Err(Overflow) => turn.add(Work::Release(inner)),
                }
            }
            Delivery::Leaving { socket } => {
                if state.socket(socket).is_none_or(|inner| inner.mailbox.leave()) {
                    verdicts.free.push(socket);
                }
            }
            Delivery::Garbled { socket, codec, garbled } => {
                turn.note(Note::Garbled(socket, codec, garbled));
            }
            Delivery::EngineOpen { session, handshake } => {
                turn.add(Work::EngineOpen(Arc::clone(self), session, handshake));
            }
            Delivery::EngineMessage { session, message } => {
                turn.add(Work::EngineMessage(Arc::clone(self), session, message));
            }
            Delivery::EngineClose { session, reason } => turn.add(Work::EngineClose(Arc::clone(self), session, reason)),
            Delivery::Stranger(stranger) => turn.add(Work::Stranger(Arc::clone(self), stranger)),
            _ => debug_assert!(false, "every delivery is known here"),
        }
    }

    /// Takes what is ready out of the shard and writes it.
    pub(crate) fn flush(self: &Arc<Self>, turn: &Turn) {
        turn.batch.with(|batch| {
            turn.outputs.with(|out| {
                loop {
                    let more = {
                        let mut state = self.state.lock();
                        let now = state.time(turn);
                        let more = state.shard.flush_ready(now, LINKS_PER_FLUSH, out);
                        if !more {
                            state.unwritten = Unwritten::default();
                        }
                        state.packets_out += out.writes.iter().map(Write::packets).sum::<usize>() as u64;
                        batch.collect(&state.links, out);
                        more
                    };
                    batch.write(|id, link| self.block(turn, id, link));
                    if !more {
                        return;
                    }
                }
            });
        });
    }

    /// A link's socket is full. The shard is told first, so that it cannot hear of the drain
    /// before.
    ///
    /// Say so again whenever the socket has taken something of what it holds.
    pub(crate) fn block(self: &Arc<Self>, turn: &Turn, id: LinkId, link: &Link) {
        self.queue(turn, |state, now| state.shard.handle_blocked(now, id, link.held()));
        link.hand_over();
    }

    /// Notes when the timer task will come, and how to make it come earlier.
    pub(crate) fn arm(&self, waker: &Waker) -> Option<Time> {
        let waker = waker.clone();
        let (_old, armed) = {
            let mut state = self.state.lock();
            state.armed = [state.shard.next_timeout(), state.sleeps.next()]
                .into_iter()
                .flatten()
                .min();
            (state.timer.replace(waker), state.armed)
        };
        armed
    }

    /// Waits until then: a new entry among the sleeps, or the old one again. `None` if the wait is
    /// over.
    pub(crate) fn sleep(&self, until: Time, number: Option<u64>, waker: &Waker) -> Option<u64> {
        let (now, waker) = ((self.runtime.now)(), waker.clone());
        let (number, _old, wake) = {
            let mut state = self.state.lock();
            let (number, old) = state.sleeps.wait(now, until, number, waker);
            let wake = number.and_then(|_| state.come_by(until));
            (number, old, wake)
        };
        if let Some(timer) = wake {
            timer.wake();
        }
        number
    }

    /// The future of a sleep is gone.
    pub(crate) fn wake_up(&self, until: Time, number: u64) {
        let waker = self.state.lock().sleeps.forget(until, number);
        drop(waker);
    }

    /// Wakes those whose sleep is over.
    pub(crate) fn wake_sleepers(&self) {
        let now = (self.runtime.now)();
        let due = self.state.lock().sleeps.take_due(now);
        due.into_iter().for_each(Waker::wake);
    }

    /// Lets go of all sockets, so that nothing refers to the whole any more, and ends all sleeps,
    /// because nobody looks at the time any more.
    pub(crate) fn clear(&self) {
        let (sockets, sleepers) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.sockets), state.sleeps.end())
        };
        drop(sockets);
        sleepers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// The turn's time, or a later one if the shard has seen that already: its time does not go
    /// backwards.
    fn time(&mut self, turn: &Turn) -> Time {
        self.latest = self.latest.max(turn.now());
        self.latest
    }

    fn socket(&self, key: SocketKey) -> Option<&Arc<SocketInner>> {
        self.sockets
            .get(key.slot())?
            .as_ref()
            .filter(|socket| socket.key == key)
    }

    /// What waits for a session, also for those of its sockets that have gone.
    fn load(&mut self, session: SessionKey, handshake: &Handshake, loads: &Arc<Loads>) -> Arc<Load> {
        if self.loads.len() <= session.slot() {
            self.loads.resize(session.slot() + 1, None);
        }
        let known = &mut self.loads[session.slot()];
        let load = known
            .as_ref()
            .filter(|(key, _)| *key == session)
            .and_then(|(_, load)| load.upgrade());
        load.unwrap_or_else(|| {
            let load = loads.session(handshake.peer.address);
            *known = Some((session, Arc::downgrade(&load)));
            load
        })
    }

    /// The handle of a socket.
    pub(crate) fn find(&self, key: SocketKey) -> Option<Arc<SocketInner>> {
        self.socket(key).cloned()
    }

    /// Takes a socket out of the table, if it is still there.
    pub(crate) fn forget(&mut self, key: SocketKey) -> Option<Arc<SocketInner>> {
        let forgotten = self.sockets.get_mut(key.slot())?.take_if(|socket| socket.key == key);
        while let Some(None) = self.sockets.last() {
            self.sockets.pop();
        }
        trim(&mut self.sockets);
        forgotten
    }

    /// The timer task's waker, if it has to come earlier than it thinks.
    fn rearm(&mut self) -> Option<Waker> {
        let next = self.shard.next_timeout()?;
        self.come_by(next)
    }

    /// The same, if it has to come by then.
    fn come_by(&mut self, next: Time) -> Option<Waker> {
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        // Once woken it comes, and arms itself again.
        self.timer.take()
    }
}

/// Links by the names the shard knows them by. Slots are used again with another generation, the
/// lowest first, so that those at the end become vacant after a crowd and give their memory back.
#[derive(Default)]
pub(crate) struct Links {
    slots: Vec<(u32, Option<Arc<Link>>)>,
    free: BTreeSet<u32>,
    /// The generation of slots yet to be made: none that an earlier one of the same number had.
    generation: u32,
}

impl Links {
    pub(crate) fn insert(&mut self, link: Arc<Link>) -> LinkId {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push((self.generation, None));
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.1 = Some(link);
        LinkId::new(slot, entry.0)
    }

    fn get(&self, id: LinkId) -> Option<&Arc<Link>> {
        self.slots
            .get(id.slot())
            .filter(|slot| slot.0 == id.generation())?
            .1
            .as_ref()
    }

    pub(crate) fn remove(&mut self, id: LinkId) {
        if let Some(slot) = self.slots.get_mut(id.slot()).filter(|slot| slot.0 == id.generation())
            && slot.1.take().is_some()
        {
            slot.0 = slot.0.wrapping_add(1);
            self.free.insert(id.slot() as u32);
            // Each slot that goes was made for one link, so this is constant work for each.
            while let Some((generation, None)) = self.slots.last() {
                self.generation = self.generation.max(*generation);
                self.slots.pop();
                self.free.remove(&(self.slots.len() as u32));
            }
            trim(&mut self.slots);
        }
    }
}

/// Gives back what a crowd has left of a list that has become much shorter: constant work for each
/// that went.
pub(crate) fn trim<T>(list: &mut Vec<T>) {
    let room = list.capacity();
    if room > 1024 && list.len() < room / 4 {
        list.shrink_to(2 * list.len());
    }
}

/// What one flush takes out, on its way to the links.
#[derive(Default)]
pub(crate) struct Batch {
    writes: Vec<Write>,
    groups: Vec<Group>,
    pen: Pen,
}

/// The next `count` writes go to this link; to none if it could not be claimed.
struct Group {
    link: Option<(Arc<Link>, Claim)>,
    id: LinkId,
    count: usize,
}

impl Batch {
    /// Claims the links that the writes are for, in order. The writes of one link stand together.
    /// Under the shard's lock.
    fn collect(&mut self, links: &Links, out: &mut Outputs) {
        debug_assert!(self.writes.is_empty(), "what was taken out before has been written");
        std::mem::swap(&mut self.writes, &mut out.writes);
        let mut rest = &mut self.writes[..];
        while let Some(id) = rest.first().map(Write::link) {
            let count = 1 + rest[1..].iter().take_while(|write| write.link() == id).count();
            let (run, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            let link = links.get(id).and_then(|link| {
                let claim = link.claim(&mut taken(run))?;
                Some((Arc::clone(link), claim))
            });
            self.groups.push(Group { link, id, count });
        }
    }

    fn write(&mut self, block: impl Fn(LinkId, &Link)) {
        let mut rest = &mut self.writes[..];
        for Group { link, id, count } in self.groups.drain(..) {
            let (run, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            let Some((link, claim)) = link else { continue };
            let progress = match (run, claim) {
                ([Write::Frame(_, frame)], Claim::Clear) => link.write_frame(&mut self.pen, frame),
                (run, Claim::Clear) => link.write(&mut self.pen, &mut taken(run)),
                // They stand in the queue, behind what was there before.
                (_, Claim::Queued) => link.write(&mut self.pen, &mut std::iter::empty()),
            };
            if progress != Progress::Done {
                block(id, &link);
            }
        }
        self.writes.clear();
        // Scratch, but not what a broadcast to a crowd has made of it.
        trim(&mut self.writes);
        trim(&mut self.groups);
    }

    /// Scratch for writing outside a flush.
    pub(crate) const fn pen(&mut self) -> &mut Pen {
        &mut self.pen
    }
}

/// The writes, taken out of their places.
fn taken(writes: &mut [Write]) -> impl Iterator<Item = Item> {
    writes.iter_mut().map(|write| {
        let id = write.link();
        std::mem::replace(write, Write::Abort(id)).into()
    })
}
