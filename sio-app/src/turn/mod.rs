//! The turn: what one thread does between reading some bytes and having written everything that
//! they caused.
//!
//! ```text
//!   parse ─► lock, input, unlock ─► handlers, in place ─► lock, take what is ready, unlock ─► write
//!                     ▲                  │ emit: lock, queue, unlock                            │
//!                     └── more work ◄────┴──────────────────────────────────────────────────────┘
//! ```
//!
//! What handlers emit while their turn runs is only queued, so that all of it leaves in one write
//! per link at the turn's end. An emit from anywhere else is a turn of its own: it is written at
//! once. Handlers never run inside a call that the user makes: in a turn they run after the handler
//! that made it, elsewhere in a task of their own.
//!
//! A turn that lasts too long stops between two pieces of its work and leaves the rest
//! ([`Leftover`]): to the connection that it is for, which reads nothing before the rest is done,
//! or to a task.
//!
//! Everything a turn needs belongs to its thread and is used again: a turn on a connection that has
//! been used before allocates nothing.

pub(crate) mod directory;
pub(crate) mod entry;
pub(crate) mod gone;
pub(crate) mod guest;
pub(crate) mod later;
pub(crate) mod load;
pub(crate) mod mailbox;
pub(crate) mod quota;
pub(crate) mod shard;
pub(crate) mod sleep;
pub(crate) mod socket_id;
pub(crate) mod work;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use sio_proto::server::Outputs;
use sio_proto::{LinkId, Time};

use crate::link::{Link, Progress};
use crate::runtime::Runtime;
use crate::turn::mailbox::Owner;
use crate::turn::shard::{Batch, Note, ShardCell, trim};
use crate::turn::work::Work;

thread_local!(static TURN: Turn = const { Turn::new() });

/// After so many bytes emitted, a turn writes before it goes on: a handler that emits without end
/// neither fills the memory nor keeps its clients waiting.
const BYTES_BETWEEN_WRITES: usize = 256 * 1024;

/// Which handlers of a turn are timed.
const TIMED_HANDLERS: u32 = 4;

/// A handler that keeps its thread for so long keeps others waiting.
const SLOW: Duration = Duration::from_millis(50);

/// What an emitted packet counts for at least: with nothing in them, so many packets are written at
/// once as are well below what may wait for a session.
const WEIGHT_OF_A_PACKET: usize = 64;

/// A turn that has worked for so long leaves the rest of its work for later, so that others of its
/// thread have their turn: what a payload of thousands of events costs is decided by how many each
/// of them is sent on to, which nobody knows beforehand.
///
/// It is short because runtimes look at their sockets only after some dozens of tasks as long as
/// there are tasks that can go on.
const PATIENCE: Duration = Duration::from_millis(1);

/// After so many pieces of work the clock is read. An ordinary turn has fewer.
const WORK_BETWEEN_LOOKS: u32 = 8;

/// So many recipients of broadcasts take about as long as a turn may last.
const MOST_RECIPIENTS: usize = 2048;

/// So many packets of broadcasts wait for recipients before the turn writes: each takes a slot of
/// some queue.
const PACKETS_BETWEEN_WRITES: usize = 256 * 1024;

/// So many entries of a list of scratch a thread keeps from turn to turn.
const MOST_SCRATCH: usize = 4096;

/// So many bytes may be kept by the tasks to which turns have left their work. What would be more
/// is done at once: the work of a payload is several times as large as the payload, and whoever has
/// sent it may be gone.
const MOST_LEFT_TO_TASKS: usize = 8 * 1024 * 1024;

/// How many there are.
static LEFT_TO_TASKS: AtomicUsize = AtomicUsize::new(0);

/// Some of them, until it is dropped.
struct LeftToTask(usize);

impl LeftToTask {
    fn new(bytes: usize) -> Self {
        LEFT_TO_TASKS.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for LeftToTask {
    fn drop(&mut self) {
        LEFT_TO_TASKS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Numbers for threads, from one on: the high half of an [`Owner`], so that threads need not agree
/// on the low half.
static THREADS: AtomicU64 = AtomicU64::new(1);

/// A name for a turn or a future that owns mailboxes.
pub(crate) fn new_owner() -> Owner {
    thread_local!(static NEXT: Cell<Owner> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 32));
    NEXT.with(|next| next.replace(next.get() >> 32 << 32 | (next.get() + 1) & 0xffff_ffff))
}

/// Small things weigh more than their bytes, and queues are limited in number, too.
const fn weight(bytes: usize) -> usize {
    bytes + WEIGHT_OF_A_PACKET
}

/// What has been emitted on a shard since it was written out, by turns that have left their work
/// before they wrote: each of them may be far from what one turn may emit, and together they would
/// fill the queues of members who read all they are sent.
#[derive(Default)]
pub(crate) struct Unwritten {
    bytes: usize,
    packets: usize,
}

impl Unwritten {
    /// Something of this size is on its way to so many links. True if that is enough for a write.
    pub(crate) const fn add(&mut self, bytes: usize, ready: usize) -> bool {
        self.bytes += weight(bytes);
        self.packets += ready;
        self.bytes > BYTES_BETWEEN_WRITES || self.packets > PACKETS_BETWEEN_WRITES
    }
}

/// A thread's turn. All of it is scratch between turns.
pub(crate) struct Turn {
    running: Cell<bool>,
    now: Cell<Time>,
    /// Who owns the mailboxes of this turn's work; zero until one is needed.
    owner: Cell<Owner>,
    /// How many handlers have run in this turn, and when the last one that was timed had ended.
    handled: Cell<u32>,
    timed: Cell<Time>,
    /// Bytes emitted since something was written, and packets for recipients of broadcasts.
    emitted: Cell<usize>,
    packets: Cell<usize>,
    /// Recipients of broadcasts in this turn.
    recipients: Cell<usize>,
    work: RefCell<VecDeque<Work>>,
    shards: RefCell<Vec<Arc<ShardCell>>>,
    links: RefCell<Vec<TouchedLink>>,
    /// What the log has to hear as soon as no lock is held.
    notes: RefCell<Vec<Note>>,
    pub(crate) outputs: Lent<Outputs>,
    pub(crate) batch: Lent<Batch>,
}

/// A value that is taken out for use and put back: boxed, so that this moves a pointer.
pub(crate) struct Lent<T>(Cell<Option<Box<T>>>);

impl<T: Default> Lent<T> {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Lends the value; to who asks while it is lent, a fresh one.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.take().unwrap_or_default();
        let result = act(&mut value);
        self.0.set(Some(value));
        result
    }
}

/// A link with something queued, and the shard that has to know when it is full.
struct TouchedLink {
    link: Arc<Link>,
    seat: Option<(Arc<ShardCell>, LinkId)>,
}

/// Runs `act` in a turn whose handlers run in place: what an adapter does with bytes and deadlines.
/// What takes longer than a turn may goes on in a task of its own.
pub(crate) fn run<R>(runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> R {
    let (result, leftover) = run_a_while(runtime, act);
    if let Some(leftover) = leftover {
        leftover.leave_to_task();
    }
    result
}

/// The same for a caller that takes the rest of the work upon itself, and brings no more before it
/// is done.
pub(crate) fn run_a_while<R>(runtime: Runtime, act: impl FnOnce(&Turn) -> R) -> (R, Option<Leftover>) {
    TURN.with(|turn| {
        if turn.running.get() {
            return (act(turn), None);
        }
        let _ending = turn.begin(runtime);
        let result = act(turn);
        let leftover = turn.work_off(runtime);
        (result, leftover.map(Leftover::detached))
    })
}

/// Runs `act` in the turn that this thread is in; if there is none, in one that writes at once and
/// leaves handlers to a task.
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

/// Work that a turn has left. It is done in the turn's name, which still owns the mailboxes that
/// the work is for: what arrives for their sockets in the meantime waits there.
pub(crate) struct Leftover {
    runtime: Runtime,
    owner: Owner,
    work: VecDeque<Work>,
    bytes: usize,
    shards: Vec<Arc<ShardCell>>,
    links: Vec<TouchedLink>,
    emitted: usize,
    packets: usize,
}

impl Leftover {
    /// The same in memory of its own: its turn has read it into a buffer that others need.
    fn detached(mut self) -> Self {
        // In place: it may be thousands of pieces.
        for _ in 0..self.work.len() {
            if let Some(work) = self.work.pop_front() {
                self.work.push_back(work.detached());
            }
        }
        self.bytes = self.work.iter().map(Work::bytes).sum();
        self
    }

    /// About how many bytes of a peer's it keeps.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Works for one more turn. What is left even then is given back.
    pub(crate) fn go_on(self) -> Option<Self> {
        let bytes = self.bytes;
        TURN.with(|turn| {
            let _ending = turn.begin(self.runtime);
            turn.owner.set(self.owner);
            turn.work.replace(self.work);
            turn.shards.replace(self.shards);
            turn.links.replace(self.links);
            turn.emitted.set(self.emitted);
            turn.packets.set(self.packets);
            turn.work_off(self.runtime).map(|left| Self { bytes, ..left })
        })
    }

    /// Leaves it to a task, as far as tasks may keep it; what is more is done now.
    pub(crate) fn leave_to_task(self) {
        let mut leftover = Some(self);
        while let Some(left) = leftover {
            if LEFT_TO_TASKS.load(Ordering::Relaxed) + left.bytes() <= MOST_LEFT_TO_TASKS {
                return left.finish();
            }
            leftover = left.go_on();
        }
    }

    /// Leaves it to a task, which lets others have their turn as well.
    pub(crate) fn finish(self) {
        let (runtime, counted) = (self.runtime, LeftToTask::new(self.bytes));
        let mut left = Some(self);
        (runtime.spawn)(Box::pin(poll_fn(move |cx| {
            let _ = &counted;
            left = left.take().and_then(Self::go_on);
            if left.is_none() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
    }
}

/// A handler has returned, or has to wait: how long it kept its thread, if that was long.
///
/// The clock is read for the first few handlers of a turn, so that many events in one read do not
/// pay for it. A turn whose later handlers are slow makes its thread wait as well, but then their
/// socket sends many, and one of them is the first of another turn.
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

/// How long the volatile messages that a thread sends outside of turns count as sent at once.
const MOMENT: Duration = Duration::from_millis(1);

/// The moment of a volatile message; `None` in a turn, which is a moment by itself.
///
/// Outside of turns a message is written at once, so that the next one would find its connection
/// idle; but code that sends two in a row means them to be one moment, of which the first counts. A
/// moment begins with the first of them and ends a millisecond later.
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
            work: RefCell::new(VecDeque::new()),
            shards: RefCell::new(Vec::new()),
            links: RefCell::new(Vec::new()),
            notes: RefCell::new(Vec::new()),
            outputs: Lent::new(),
            batch: Lent::new(),
        }
    }

    /// Gives back what one large payload has left of the scratch: the thread may not see another.
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
        self.timed.set(self.now.get());
        self.recipients.set(0);
        Ending(self)
    }

    /// The time, read once per turn.
    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    pub(crate) fn owner(&self) -> Owner {
        if self.owner.get() == 0 {
            self.owner.set(new_owner());
        }
        self.owner.get()
    }

    pub(crate) fn add(&self, work: Work) {
        self.work.borrow_mut().push_back(work);
    }

    pub(crate) fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    /// One of the notes, the latest first.
    pub(crate) fn take_note(&self) -> Option<Note> {
        self.notes.borrow_mut().pop()
    }

    /// Works, and writes what it causes, until nothing is left or the turn has lasted long enough.
    fn work_off(&self, runtime: Runtime) -> Option<Leftover> {
        let mut done = 0_u32;
        loop {
            while let Some(work) = self.next_work() {
                work.perform(self);
                done = done.wrapping_add(1);
                if self.is_long(runtime, done) && self.work.borrow().front().is_some_and(Work::may_be_left) {
                    return Some(self.leave(runtime));
                }
            }
            if !self.write_out() {
                return None;
            }
        }
    }

    /// Whether the others come before the rest of its work.
    fn is_long(&self, runtime: Runtime, done: u32) -> bool {
        self.recipients.get() >= MOST_RECIPIENTS
            || done.is_multiple_of(WORK_BETWEEN_LOOKS) && (runtime.now)().saturating_since(self.now.get()) >= PATIENCE
    }

    /// What is left of its work. What it has emitted is written with the rest, so that it leaves in
    /// few writes.
    fn leave(&self, runtime: Runtime) -> Leftover {
        Leftover {
            runtime,
            owner: self.owner.get(),
            work: self.work.take(),
            bytes: 0,
            shards: self.shards.take(),
            links: self.links.take(),
            emitted: self.emitted.get(),
            packets: self.packets.get(),
        }
    }

    fn next_work(&self) -> Option<Work> {
        self.work.borrow_mut().pop_front()
    }

    /// Something of this size is on its way, and maybe its shard has enough to write.
    pub(crate) fn emitted(&self, bytes: usize, enough: bool) {
        self.emitted.set(self.emitted.get() + weight(bytes));
        if enough || self.emitted.get() > BYTES_BETWEEN_WRITES {
            self.write_out();
        }
    }

    /// A broadcast is on its way, and so many links have something to write; maybe one of its
    /// shards has enough.
    pub(crate) fn broadcast(&self, bytes: usize, ready: usize, enough: bool) {
        self.recipients.set(self.recipients.get() + ready);
        self.packets.set(self.packets.get() + ready);
        self.emitted(bytes, enough || self.packets.get() > PACKETS_BETWEEN_WRITES);
    }

    /// A shard has something ready, maybe.
    pub(crate) fn touch(&self, shard: &Arc<ShardCell>) {
        let mut shards = self.shards.borrow_mut();
        if !shards.iter().rev().any(|touched| Arc::ptr_eq(touched, shard)) {
            shards.push(Arc::clone(shard));
        }
    }

    /// A link has something queued.
    pub(crate) fn touch_link(&self, link: &Arc<Link>, seat: Option<(&Arc<ShardCell>, LinkId)>) {
        let seat = seat.map(|(shard, id)| (Arc::clone(shard), id));
        self.links.borrow_mut().push(TouchedLink {
            link: Arc::clone(link),
            seat,
        });
    }

    /// Writes what is ready. False if there was nothing left to look at.
    fn write_out(&self) -> bool {
        let mut any = false;
        self.emitted.set(0);
        self.packets.set(0);
        while let Some(shard) = { self.shards.borrow_mut().pop() } {
            any = true;
            shard.flush(self);
        }
        // In the order in which they were touched: what one input causes on several links leaves in
        // the order of its outputs.
        let mut links = self.links.take();
        for TouchedLink { link, seat } in links.drain(..) {
            any = true;
            self.write_queued(&link, seat);
        }
        let mut touched = self.links.borrow_mut();
        if touched.is_empty() {
            *touched = links;
        }
        any
    }

    fn write_queued(&self, link: &Link, seat: Option<(Arc<ShardCell>, LinkId)>) {
        if link.claim_queued().is_none() {
            return;
        }
        let progress = self
            .batch
            .with(|batch| link.write(batch.pen(), &mut std::iter::empty()));
        if progress != Progress::Done {
            match seat {
                Some((shard, id)) => shard.block(self, id, link),
                None => link.hand_over(),
            }
        }
    }
}

/// Ends the turn, even by a panic.
struct Ending<'a>(&'a Turn);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.owner.set(0);
        if !std::thread::panicking() {
            self.0.trim();
        } else {
            self.0.work.take();
            self.0.shards.take();
            self.0.links.take();
            self.0.notes.take();
        }
    }
}
