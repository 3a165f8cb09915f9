//! Work that a turn has left, because it has lasted long enough. Its connection or a task does it,
//! in turns of their own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use sio_proto::Time;

use super::{TURN, TouchedLink, Turn};
use crate::runtime::Runtime;
use crate::turn::events::Events;
use crate::turn::mailbox::Owner;
use crate::turn::shard::ShardCell;
use crate::turn::socket::SocketCell;
use crate::turn::work::Work;

/// The most bytes of work that tasks may keep for turns. Work above this limit is done at once: the
/// work of a payload is several times as large as the payload, and the client that has sent it may
/// be gone.
const MOST_LEFT_TO_TASKS: usize = 8 * 1024 * 1024;

/// How many bytes of work tasks keep now.
static LEFT_TO_TASKS: AtomicUsize = AtomicUsize::new(0);

/// A part of these bytes. They are counted until this value is dropped.
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

/// Work that a turn has left. It is done with the turn's owner number, which still owns the
/// mailboxes that the work is for. Events that arrive for these sockets meanwhile wait in the
/// mailboxes. It is boxed, because it is large and almost no turn leaves any.
pub(crate) struct Leftover {
    pub(super) runtime: Runtime,
    pub(super) owner: Owner,
    pub(super) work: VecDeque<Work>,
    pub(super) bytes: usize,
    pub(super) shards: Vec<Arc<ShardCell>>,
    pub(super) links: Vec<TouchedLink>,
    pub(super) emitted: usize,
    pub(super) packets: usize,
}

impl Leftover {
    /// Copies the work into memory of its own, because its turn has read it into a buffer that
    /// others need.
    pub(super) fn detached(mut self: Box<Self>) -> Box<Self> {
        // The pieces are copied in place, because there may be thousands of them.
        for _ in 0..self.work.len() {
            if let Some(work) = self.work.pop_front() {
                self.work.push_back(work.detached());
            }
        }
        self.bytes = self.work.iter().map(Work::bytes).sum();
        self
    }

    /// About how many bytes of a peer's data it keeps.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Works for one more turn. Returns the work that is still left.
    ///
    /// If a handler asks for this, because it polls a connection itself, the turn of the handler is
    /// interrupted: the work needs the owner number of its own turn.
    pub(crate) fn go_on(self: Box<Self>) -> Option<Box<Self>> {
        let bytes = self.bytes;
        TURN.with(|turn| {
            let _outer = turn.interrupt();
            let _ending = turn.begin(self.runtime);
            turn.owner.set(self.owner);
            turn.work.replace(self.work);
            turn.shards.replace(self.shards);
            turn.links.replace(self.links);
            turn.emitted.set(self.emitted);
            turn.packets.set(self.packets);
            let mut left = turn.work_off(self.runtime)?;
            left.bytes = bytes;
            Some(left)
        })
    }

    /// Leaves the work to a task, up to the limit of what tasks may keep. Work above the limit is
    /// done now.
    pub(crate) fn leave_to_task(self: Box<Self>) {
        let mut leftover = Some(self);
        while let Some(left) = leftover {
            if LEFT_TO_TASKS.load(Ordering::Relaxed) + left.bytes() <= MOST_LEFT_TO_TASKS {
                return left.finish();
            }
            leftover = left.go_on();
        }
    }

    /// Leaves the work to a task, which also lets others have their turn.
    pub(crate) fn finish(self: Box<Self>) {
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

/// The state of a turn that another one interrupts on its thread. The turn goes on when this value
/// is dropped.
pub(super) struct Interrupted<'a> {
    turn: &'a Turn,
    now: Time,
    owner: Owner,
    handled: u32,
    timed: Time,
    emitted: usize,
    packets: usize,
    recipients: usize,
    done: u32,
    is_over: bool,
    is_fresh: bool,
    lags: bool,
    work: VecDeque<Work>,
    events: Option<(Arc<SocketCell>, Events)>,
    shards: Vec<Arc<ShardCell>>,
    links: Vec<TouchedLink>,
}

impl Turn {
    /// Takes out the state of the running turn, if there is one, so that another turn can run
    /// meanwhile.
    pub(super) fn interrupt(&self) -> Option<Interrupted<'_>> {
        self.running.get().then(|| Interrupted {
            turn: self,
            now: self.now.get(),
            owner: self.owner.replace(0),
            handled: self.handled.get(),
            timed: self.timed.get(),
            emitted: self.emitted.replace(0),
            packets: self.packets.replace(0),
            recipients: self.recipients.get(),
            done: self.done.get(),
            is_over: self.is_over.get(),
            is_fresh: self.is_fresh.get(),
            lags: self.lags.take(),
            work: self.work.take(),
            events: self.events.take(),
            shards: self.shards.take(),
            links: self.links.take(),
        })
    }
}

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        let turn = self.turn;
        turn.running.set(true);
        turn.now.set(self.now);
        turn.owner.set(self.owner);
        turn.handled.set(self.handled);
        turn.timed.set(self.timed);
        turn.emitted.set(self.emitted);
        turn.packets.set(self.packets);
        turn.recipients.set(self.recipients);
        turn.done.set(self.done);
        turn.is_over.set(self.is_over);
        turn.is_fresh.set(self.is_fresh);
        turn.lags.set(turn.lags.get() || self.lags);
        turn.events.set(self.events.take());
        // A turn that has ended leaves nothing here.
        drop(turn.work.replace(std::mem::take(&mut self.work)));
        drop(turn.shards.replace(std::mem::take(&mut self.shards)));
        drop(turn.links.replace(std::mem::take(&mut self.links)));
    }
}
