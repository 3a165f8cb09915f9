//! The turn: everything that one thread does from reading some bytes to writing everything that
//! they caused.
//!
//! ```text
//!   parse ─► lock, input, unlock ─► handlers, in place ─► lock, take what is ready, unlock ─► write
//!                     ▲                  │ emit: lock, queue, unlock                            │
//!                     └── more work ◄────┴──────────────────────────────────────────────────────┘
//! ```
//!
//! Messages that handlers emit while their turn runs are only queued, so that all of them leave in
//! one write for each link at the end of the turn. An emit from anywhere else is a turn of its own:
//! it is written at once. Handlers do not run inside a call of the user: in a turn, they run after
//! the handler that made the call, and elsewhere in another task. The exception is a handler that
//! polls a connection itself: the handlers of that connection run inside this call.
//!
//! A turn that lasts too long stops between two pieces of work and leaves the rest ([`Leftover`])
//! to its connection, which reads nothing before the rest is done, or to a task.
//!
//! Everything that a turn needs belongs to its thread and is used again. So a turn on a connection
//! that has been used before allocates nothing.

pub(crate) mod ack_slot;
pub(crate) mod admit;
pub(crate) mod adopting;
pub(crate) mod application;
pub(crate) mod asking;
pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod comeback;
pub(crate) mod comeback_counts;
pub(crate) mod coming;
pub(crate) mod credentials;
pub(crate) mod directory;
pub(crate) mod entering;
pub(crate) mod entry;
pub(crate) mod entry_place;
pub(crate) mod events;
mod found;
pub(crate) mod guest;
pub(crate) mod heard;
pub(crate) mod history;
pub(crate) mod ids;
pub(crate) mod incoming;
pub(crate) mod keeper;
pub(crate) mod last_number;
pub(crate) mod later;
mod leftover;
pub(crate) mod links;
pub(crate) mod load;
pub(crate) mod mailbox;
pub(crate) mod merging;
pub(crate) mod mourners;
pub(crate) mod note;
pub(crate) mod numbered;
pub(crate) mod order;
pub(crate) mod own;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod raw_session;
pub(crate) mod recovery;
pub(crate) mod refusal;
pub(crate) mod restore;
pub(crate) mod room_news;
pub(crate) mod rows;
mod said;
pub(crate) mod server_side;
pub(crate) mod shard;
pub(crate) mod shards;
pub(crate) mod sleeps;
pub(crate) mod socket;
pub(crate) mod socket_id;
pub(crate) mod states;
mod stored_values;
pub(crate) mod survey;
pub(crate) mod table;
pub(crate) mod values;
pub(crate) mod work;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sio_proto::server::{Outputs, Sent};
use sio_proto::wire::Inbound;
use sio_proto::{LinkId, Time};

use crate::link::{Link, Progress};
use crate::runtime::Runtime;
use crate::trim::trim;
use crate::turn::batch::Batch;
use crate::turn::events::Events;
pub(crate) use crate::turn::leftover::Leftover;
use crate::turn::load::Load;
use crate::turn::mailbox::Owner;
use crate::turn::note::Note;
use crate::turn::shard::ShardCell;
use crate::turn::socket::SocketCell;
use crate::turn::work::Work;

thread_local!(static TURN: Turn = const { Turn::new() });

/// When this many bytes have been emitted, a turn writes before it goes on. So a handler that emits
/// without end does not fill the memory, and its clients do not wait.
const BYTES_BETWEEN_WRITES: usize = 256 * 1024;

/// How many handlers of a turn are timed.
const TIMED_HANDLERS: u32 = 4;

/// A handler that keeps its thread for this time keeps others waiting.
const SLOW: Duration = Duration::from_millis(50);

/// The bytes that a packet counts in addition to its own. So even for empty packets, a turn writes
/// long before a session's limit of waiting packets is reached.
const WEIGHT_OF_A_PACKET: usize = 512;

/// A turn that has worked for this time leaves the rest of its work for later, so that other
/// connections of its thread have their turn. The cost of a payload with thousands of events
/// depends on the number of recipients of each event, which nobody knows beforehand.
///
/// The time is short, because a runtime with many ready tasks looks at its sockets only after some
/// dozens of tasks.
const PATIENCE: Duration = Duration::from_millis(1);

/// The clock is read after each such number of pieces of work. A usual turn has fewer pieces.
const WORK_BETWEEN_LOOKS: u32 = 8;

/// With this many recipients of broadcasts, a turn has lasted about as long as it may.
const MOST_RECIPIENTS: usize = 2048;

/// The most packets of broadcasts that wait for recipients before the turn writes. Each packet
/// takes a slot in a queue.
const PACKETS_BETWEEN_WRITES: usize = 256 * 1024;

/// The most entries that a thread keeps allocated in a list from turn to turn.
const MOST_SCRATCH: usize = 4096;

/// The number for the next thread, starting with one. It is the high half of an [`Owner`], so that
/// threads can choose the low half without asking each other.
static THREADS: AtomicU64 = AtomicU64::new(1);

/// Returns a new number for a turn or a future that owns mailboxes.
pub(crate) fn new_owner() -> Owner {
    thread_local!(static NEXT: Cell<Owner> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 32));
    NEXT.with(|next| next.replace(next.get() >> 32 << 32 | (next.get() + 1) & 0xffff_ffff))
}

/// Returns what a packet counts: more than its bytes, because queues are limited in number, too.
const fn weight(bytes: usize) -> usize {
    bytes + WEIGHT_OF_A_PACKET
}

/// What has been emitted on a shard since the shard was last written out, by turns that left their
/// work before they wrote. Each of these turns may be far below the limit of one turn. Together
/// they could fill the queues of clients that read everything.
#[derive(Default)]
pub(crate) struct Unwritten {
    bytes: usize,
    packets: usize,
}

impl Unwritten {
    /// Notes a message of this size for `ready` links. Returns true if there is enough for a write.
    pub(crate) const fn add(&mut self, bytes: usize, ready: usize) -> bool {
        self.bytes += weight(bytes);
        self.packets += ready;
        self.bytes > BYTES_BETWEEN_WRITES || self.packets > PACKETS_BETWEEN_WRITES
    }
}

/// A thread's turn. Between turns its memory is kept for the next one.
pub(crate) struct Turn {
    running: Cell<bool>,
    now: Cell<Time>,
    /// The owner number of this turn. It is zero until the turn needs one.
    owner: Cell<Owner>,
    /// How many handlers have run in this turn, and when the last timed handler ended.
    handled: Cell<u32>,
    timed: Cell<Time>,
    /// The bytes emitted since the last write, and the packets for recipients of broadcasts.
    emitted: Cell<usize>,
    packets: Cell<usize>,
    /// The number of recipients of broadcasts in this turn.
    recipients: Cell<usize>,
    /// How many pieces of work have been done, and whether the turn has lasted long enough.
    done: Cell<u32>,
    is_over: Cell<bool>,
    work: RefCell<VecDeque<Work>>,
    /// Whether the turn has not begun to work.
    is_fresh: Cell<bool>,
    /// Events that came before the turn has begun to work, and before other work.
    events: Cell<Option<(Arc<SocketCell>, Events)>>,
    /// The memory of a list of events that have been handled.
    list: Cell<Vec<Inbound>>,
    shards: RefCell<Vec<Arc<ShardCell>>>,
    links: RefCell<Vec<TouchedLink>>,
    /// What has to be logged as soon as no lock is held.
    notes: RefCell<Vec<Note>>,
    /// The recipients of a broadcast for which a message of the same key waits.
    collided: RefCell<Vec<Arc<SocketCell>>>,
    /// Whether so much waits for the handlers of a session that nothing more should be read from
    /// its client.
    lags: Cell<bool>,
    pub(crate) outputs: Lent<Outputs>,
    pub(crate) batch: Lent<Batch>,
}

/// A value that is taken out for use and put back. It is boxed, so that only a pointer moves.
pub(crate) struct Lent<T>(Cell<Option<Box<T>>>);

impl<T: Default> Lent<T> {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Lends the value. A caller that asks while it is lent gets a new one.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.take().unwrap_or_default();
        let result = act(&mut value);
        self.0.set(Some(value));
        result
    }
}

/// A link with something queued, and the shard that has to be told when the link is full.
struct TouchedLink {
    link: Arc<Link>,
    seat: Option<(Arc<ShardCell>, LinkId)>,
}

/// Runs `act` in a turn whose handlers run directly on this thread. It is for bytes and deadlines
/// that an adapter brings. Work that takes longer than a turn may last goes on in another task. If
/// a turn is running, `act` is a part of it.
pub(crate) fn run<R>(runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> R {
    if TURN.with(|turn| turn.running.get()) {
        return TURN.with(act);
    }
    let (result, leftover) = run_a_while(runtime, act);
    if let Some(leftover) = leftover {
        leftover.leave_to_task();
    }
    result
}

/// Runs `act` as [`run`] does, for a caller that does the rest of the work itself, and brings
/// nothing more before the rest is done. If a handler asks for this, because it polls a connection
/// itself, its turn is interrupted, as by [`Leftover::go_on`].
pub(crate) fn run_a_while<R>(runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> (R, Option<Box<Leftover>>) {
    TURN.with(|turn| match turn.running.get() {
        false => begin_a_while(turn, runtime, act),
        true => interrupt_a_while(turn, runtime, act),
    })
}

#[inline(always)]
fn begin_a_while<R>(turn: &Turn, runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> (R, Option<Box<Leftover>>) {
    let _ending = turn.begin(runtime);
    turn.is_fresh.set(true);
    let result = act(turn);
    let leftover = turn.work_off(runtime);
    (result, leftover.map(Leftover::detached))
}

/// It stands apart, because hardly any turn is interrupted.
#[cold]
#[inline(never)]
fn interrupt_a_while<R>(turn: &Turn, runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> (R, Option<Box<Leftover>>) {
    let _outer = turn.interrupt();
    begin_a_while(turn, runtime, act)
}

/// Runs `act` in the present turn of this thread. If there is none, it runs in a new turn that
/// writes at once and leaves handlers to a task.
pub(crate) fn act<R>(runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> R {
    TURN.with(|turn| {
        if turn.running.get() {
            return act(turn);
        }
        let _ending = turn.begin(runtime);
        let result = act(turn);
        while turn.write_out() {}
        if !turn.work.borrow().is_empty() {
            turn.leave(runtime).finish();
        }
        result
    })
}

/// Called when a handler has returned or has to wait. Returns how long it kept its thread, if this
/// was long.
///
/// The clock is read only for the first few handlers of a turn, so that it costs nothing for many
/// events in one read. A slow handler later in the turn is not noticed. But its socket sends many
/// events, and sooner or later the slow handler is among the first of a turn.
pub(crate) fn slow(runtime: Runtime) -> Option<Duration> {
    TURN.with(|turn| {
        let handled = turn.handled.get();
        turn.handled.set(handled.saturating_add(1));
        if handled >= TIMED_HANDLERS {
            return None;
        }
        let now = (runtime.now)();
        let took = now.saturating_since(turn.timed.replace(now));
        (took >= SLOW).then_some(took)
    })
}

/// For this time, the volatile messages that a thread sends outside of turns count as sent at one
/// moment.
const MOMENT: Duration = Duration::from_millis(1);

/// Returns the moment of a volatile message. Returns `None` in a turn, because a turn is one
/// moment.
///
/// Outside of turns a message is written at once, so the next message would find its connection
/// idle. But code that sends two volatile messages in a row means one moment, and only the first
/// message counts. A moment begins with the first message and ends a millisecond later.
pub(crate) fn moment(runtime: Runtime) -> Option<Time> {
    thread_local!(static BEGAN: Cell<Option<Time>> = const { Cell::new(None) });
    if TURN.with(|turn| turn.running.get()) {
        return None;
    }
    let now = (runtime.now)();
    let goes_on = BEGAN.get().filter(|began| *began <= now && now < *began + MOMENT);
    BEGAN.set(goes_on.or(Some(now)));
    BEGAN.get()
}

/// Notes that something waits for the handlers of a session. If it is much, the connection that has
/// this turn reads nothing more.
pub(crate) fn note_load(load: Load<'_>) {
    TURN.with(|turn| turn.note_load(load));
}

/// Whether handlers lag since this was last asked. If they are the handlers of the caller's session
/// is another question.
#[inline]
pub(crate) fn take_lag() -> bool {
    TURN.with(|turn| turn.lags.get() && turn.lags.take())
}

/// Takes what has become of the broadcasts of this thread: the counts, and the recipients for which
/// a message of the same key waits.
pub(crate) fn take_sent() -> (Sent, Vec<Arc<SocketCell>>) {
    TURN.with(|turn| {
        let sent = turn.outputs.with(|out| std::mem::take(&mut out.sent));
        (sent, turn.collided.take())
    })
}

impl Turn {
    const fn new() -> Self {
        Self {
            running: Cell::new(false),
            now: Cell::new(Time::ZERO),
            owner: Cell::new(0),
            handled: Cell::new(0),
            timed: Cell::new(Time::ZERO),
            emitted: Cell::new(0),
            packets: Cell::new(0),
            recipients: Cell::new(0),
            done: Cell::new(0),
            is_over: Cell::new(false),
            work: RefCell::new(VecDeque::new()),
            is_fresh: Cell::new(false),
            events: Cell::new(None),
            list: Cell::new(Vec::new()),
            shards: RefCell::new(Vec::new()),
            links: RefCell::new(Vec::new()),
            notes: RefCell::new(Vec::new()),
            collided: RefCell::new(Vec::new()),
            lags: Cell::new(false),
            outputs: Lent::new(),
            batch: Lent::new(),
        }
    }

    /// Gives back the memory that one large payload has needed, because the thread may never see
    /// another such payload.
    fn trim(&self) {
        let mut work = self.work.borrow_mut();
        if work.is_empty() && work.capacity() > MOST_SCRATCH {
            *work = VecDeque::new();
        }
        trim(&mut self.links.borrow_mut());
        self.outputs.with(|out| {
            let is_large = out.deliveries.capacity() > MOST_SCRATCH || out.writes.capacity() > MOST_SCRATCH;
            if is_large && out.deliveries.is_empty() && out.writes.is_empty() {
                *out = Outputs::default();
            }
        });
    }

    fn begin(&self, runtime: Runtime) -> Ending<'_> {
        self.running.set(true);
        self.now.set((runtime.now)());
        self.handled.set(0);
        self.is_fresh.set(false);
        self.timed.set(self.now.get());
        self.recipients.set(0);
        Ending(self)
    }

    /// Returns the time, which is read once per turn.
    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    pub(crate) fn owner(&self) -> Owner {
        if self.owner.get() == 0 {
            self.owner.set(new_owner());
        }
        self.owner.get()
    }

    /// Does what [`note_load`] does.
    pub(crate) fn note_load(&self, load: Load<'_>) {
        if load.lags() {
            self.lags.set(true);
        }
    }

    pub(crate) fn add(&self, work: Work) {
        self.work.borrow_mut().push_back(work);
    }

    /// Adds events for one socket. Their list is exchanged for an empty one.
    #[inline]
    pub(crate) fn add_events(&self, socket: Arc<SocketCell>, packets: &mut Vec<Inbound>) {
        let events = Events::new(std::mem::replace(packets, self.list.take()));
        match self.is_fresh.replace(false) && self.work.borrow().is_empty() {
            true => self.events.set(Some((socket, events))),
            false => self.add(Work::Events(socket, events)),
        }
    }

    /// Keeps the memory of a list of events that have been handled.
    fn keep_list(&self, mut list: Vec<Inbound>) {
        list.clear();
        trim(&mut list);
        self.list.set(list);
    }

    /// Makes a piece of work the next one.
    fn put_back(&self, work: Work) {
        self.work.borrow_mut().push_front(work);
    }

    pub(crate) fn collide(&self, sockets: impl Iterator<Item = Arc<SocketCell>>) {
        self.collided.borrow_mut().extend(sockets);
    }

    pub(crate) fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        !self.notes.borrow().is_empty()
    }

    /// Takes one of the notes, the latest first.
    pub(crate) fn take_note(&self) -> Option<Note> {
        self.notes.borrow_mut().pop()
    }

    /// Works, and writes what the work causes, until nothing is left or the turn was long enough.
    fn work_off(&self, runtime: Runtime) -> Option<Box<Leftover>> {
        self.done.set(0);
        self.is_over.set(false);
        self.is_fresh.set(false);
        if let Some((socket, events)) = self.events.take() {
            events.perform_first(self, socket);
            if self.is_long(runtime) && !self.work.borrow().is_empty() {
                return Some(self.leave(runtime));
            }
        }
        loop {
            while let Some(work) = { self.work.borrow_mut().pop_front() } {
                work.perform(self);
                if self.is_long(runtime) && !self.work.borrow().is_empty() {
                    return Some(self.leave(runtime));
                }
            }
            let has_output = !self.shards.borrow().is_empty() || !self.links.borrow().is_empty();
            if !has_output {
                self.emitted.set(0);
                self.packets.set(0);
                return None;
            }
            self.write_out();
        }
    }

    /// Called after each piece of work. Returns whether the turn has lasted so long that others
    /// come before the rest of its work.
    fn is_long(&self, runtime: Runtime) -> bool {
        let done = self.done.get().wrapping_add(1);
        self.done.set(done);
        let is_late = || (runtime.now)().saturating_since(self.now.get()) >= PATIENCE;
        if self.recipients.get() >= MOST_RECIPIENTS || done.is_multiple_of(WORK_BETWEEN_LOOKS) && is_late() {
            self.is_over.set(true);
        }
        self.is_over.get()
    }

    /// Returns the rest of the turn's work. Emitted messages are written together with those of the
    /// rest, so that they leave in few writes.
    fn leave(&self, runtime: Runtime) -> Box<Leftover> {
        Box::new(Leftover {
            runtime,
            owner: self.owner.get(),
            work: self.work.take(),
            bytes: 0,
            shards: self.shards.take(),
            links: self.links.take(),
            emitted: self.emitted.get(),
            packets: self.packets.get(),
        })
    }

    /// Notes an emitted message of this size. `enough` says that its shard has enough to write.
    pub(crate) fn emitted(&self, bytes: usize, enough: bool) {
        self.emitted.set(self.emitted.get() + weight(bytes));
        if enough || self.emitted.get() > BYTES_BETWEEN_WRITES {
            self.write_out();
        }
    }

    /// Notes a broadcast for `ready` links. `enough` says that one of its shards has enough to
    /// write.
    pub(crate) fn broadcast(&self, bytes: usize, ready: usize, enough: bool) {
        self.recipients.set(self.recipients.get() + ready);
        self.packets.set(self.packets.get() + ready);
        self.emitted(bytes, enough || self.packets.get() > PACKETS_BETWEEN_WRITES);
    }

    /// Notes that a shard may have something ready.
    pub(crate) fn touch(&self, shard: &Arc<ShardCell>) {
        let mut shards = self.shards.borrow_mut();
        if !shards.iter().rev().any(|touched| Arc::ptr_eq(touched, shard)) {
            shards.push(Arc::clone(shard));
        }
    }

    /// Whether a link has something queued that this turn writes.
    pub(crate) fn has_queued(&self) -> bool {
        !self.links.borrow().is_empty()
    }

    /// Notes that a link has something queued.
    pub(crate) fn touch_link(&self, link: &Arc<Link>, seat: Option<(&Arc<ShardCell>, LinkId)>) {
        let seat = seat.map(|(shard, id)| (Arc::clone(shard), id));
        self.links.borrow_mut().push(TouchedLink {
            link: Arc::clone(link),
            seat,
        });
    }

    /// Writes what is ready. Returns false if there was nothing to check.
    fn write_out(&self) -> bool {
        let mut any = false;
        self.emitted.set(0);
        self.packets.set(0);
        while let Some(shard) = { self.shards.borrow_mut().pop() } {
            any = true;
            shard.flush(self);
        }
        if !self.links.borrow().is_empty() {
            any = true;
            self.write_touched();
        }
        any
    }

    /// Writes what is queued on links, in the order in which they were touched. So the outputs of
    /// one input leave in their order, even on several links.
    #[inline(never)]
    fn write_touched(&self) {
        let mut links = self.links.take();
        for TouchedLink { link, seat } in links.drain(..) {
            self.write_queued(&link, seat);
        }
        let mut touched = self.links.borrow_mut();
        if touched.is_empty() {
            *touched = links;
        }
    }

    fn write_queued(&self, link: &Link, seat: Option<(Arc<ShardCell>, LinkId)>) {
        if link.claim_queued().is_none() {
            return;
        }
        let progress = self.batch.with(|batch| link.write_queue(batch.pen()));
        match (progress, seat) {
            (Progress::Done, _) => {}
            (Progress::Full | Progress::Stuck, Some((shard, id))) => shard.block(self, id, link),
            (Progress::Full | Progress::Stuck, None) => link.hand_over(),
            (Progress::Resting, _) => link.rest(),
        }
    }
}

/// Ends the turn, even after a panic.
struct Ending<'a>(&'a Turn);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.owner.set(0);
        if !std::thread::panicking() {
            self.0.trim();
        } else {
            self.0.work.take();
            self.0.events.take();
            self.0.shards.take();
            self.0.links.take();
            self.0.notes.take();
        }
    }
}
