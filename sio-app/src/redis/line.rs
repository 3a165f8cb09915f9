//! The connections of a broker's task, each with a waker of its own. So a turn of the task polls
//! only those that have something to do.
//!
//! An executor need not let a task see what was stored before a wake-up of the task, if it had been
//! woken already (tokio does so since 1.47.2). So both sides have a fence: whoever wakes, between
//! the flag and the wake-up, and the task, between the beginning of its turn and the flags
//! ([`see_flags`]). Then either the turn sees the flag, or the wake-up comes behind its beginning
//! and causes another turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};

use crate::client::link::Link;

/// Whether a connection has something to do, and the task that then has to run.
struct Flag {
    is_set: AtomicBool,
    task: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is woken, so that it sees the flag in its next turn. If it runs at this
        // moment and has seen the flag already, it has one turn more.
        self.is_set.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.task.wake_by_ref();
    }
}

/// Has this turn see all flags whose wake-ups came before it. It is called once in each turn,
/// before flags are taken.
pub(super) fn see_flags() {
    fence(Ordering::SeqCst);
}

/// A connection that is polled when it has something to do: it was woken, there are bytes to write,
/// or it was not polled to its end.
pub(super) struct Line {
    pub(super) link: Link,
    flag: Arc<Flag>,
    /// Sets the flag, and wakes the task.
    pub(super) waker: Waker,
}

impl Line {
    /// A connection that nobody has polled.
    pub(super) fn new(link: Link, task: &Waker) -> Self {
        let flag = Arc::new(Flag {
            is_set: AtomicBool::new(true),
            task: task.clone(),
        });
        let waker = Waker::from(Arc::clone(&flag));
        Self { link, flag, waker }
    }

    /// Wakes another task from now on. The connection is polled once more: until then, who has been
    /// given the old waker wakes the old task.
    pub(super) fn set_task(&mut self, task: &Waker) {
        let flag = Arc::new(Flag {
            is_set: AtomicBool::new(true),
            task: task.clone(),
        });
        self.waker = Waker::from(Arc::clone(&flag));
        self.flag = flag;
    }

    /// Has the connection polled in the next turn. The caller is the task, which has this turn
    /// before it sleeps.
    pub(super) fn set(&self) {
        self.flag.is_set.store(true, Ordering::Release);
    }

    /// Takes the flag, before the connection is polled: what comes from then on sets it again.
    pub(super) fn take(&self) -> bool {
        self.flag.is_set.load(Ordering::Relaxed) && self.flag.is_set.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests;
