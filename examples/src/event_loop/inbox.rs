//! The inbox of a loop: other threads, and wakers on the loop's own thread, put work for the loop
//! into it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

use sio_app::adapter::Task;

/// The ready queue of one loop, and the alarm that ends the loop's sleep.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    alarm: mio::Waker,
}

#[derive(Default)]
struct State {
    /// The slots of the entries to poll. Each stands here at most once.
    ready: VecDeque<usize>,
    spawned: Vec<Task>,
    /// Whether the loop sleeps or is about to sleep. The thread that sets this to false also ends
    /// the sleep, so the sleep is ended only once.
    asleep: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(alarm: mio::Waker) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            alarm,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(&self, task: Task) {
        self.add(|state| state.spawned.push(task));
    }

    /// Adds work. This costs a system call only if the loop sleeps.
    fn add(&self, add: impl FnOnce(&mut State)) {
        let asleep = {
            let mut state = self.state();
            add(&mut state);
            std::mem::take(&mut state.asleep)
        };
        if asleep {
            self.alarm.wake().expect("the poller's own waker works while it lives");
        }
    }

    /// Returns how long the poller may wait. This is zero if there is something to do.
    pub(super) fn fall_asleep(&self, timeout: Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        if !state.ready.is_empty() || !state.spawned.is_empty() {
            return Some(Duration::ZERO);
        }
        state.asleep = true;
        timeout
    }

    /// Notes that the sleep is over: nobody has to end it any more.
    pub(super) fn awake(&self) {
        self.state().asleep = false;
    }

    /// Takes everything out: moves the ready entries into `ready`, and returns the new tasks.
    pub(super) fn take(&self, ready: &mut VecDeque<usize>) -> Vec<Task> {
        let mut state = self.state();
        std::mem::swap(&mut state.ready, ready);
        std::mem::take(&mut state.spawned)
    }
}

/// A waker that puts one entry into the ready queue, unless the entry is in the queue already.
///
/// A waker can outlive its entry. Then it wakes the entry that has the slot now, and this entry
/// finds nothing to do.
#[derive(Debug)]
pub(super) struct EntryWaker {
    inbox: Arc<Inbox>,
    slot: usize,
    queued: AtomicBool,
}

impl EntryWaker {
    pub(super) fn new(inbox: &Arc<Inbox>, slot: usize) -> Arc<Self> {
        Arc::new(Self {
            inbox: Arc::clone(inbox),
            slot,
            queued: AtomicBool::new(false),
        })
    }

    /// Notes that the entry is about to be polled. If it is woken after this, it is polled once
    /// more.
    pub(super) fn begin(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for EntryWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.inbox.add(|state| state.ready.push_back(self.slot));
        }
    }
}

thread_local!(static HERE: RefCell<Option<Arc<Inbox>>> = const { RefCell::new(None) });

/// The inbox of the loop that started last. Calls from threads without a loop use it.
static LAST: Mutex<Option<Arc<Inbox>>> = Mutex::new(None);

/// Notes that this thread runs the loop of this inbox, until the returned value is dropped.
pub(super) fn enter(inbox: &Arc<Inbox>) -> impl Drop + use<> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            HERE.take();
        }
    }
    HERE.replace(Some(Arc::clone(inbox)));
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(inbox));
    Leave
}

/// Runs a task on the loop of this thread. A thread without a loop uses the loop that started last.
pub(super) fn spawn(task: Task) {
    let inbox = HERE.with_borrow(Clone::clone);
    let inbox = inbox.or_else(|| LAST.lock().unwrap_or_else(PoisonError::into_inner).clone());
    inbox.expect("a loop runs where handlers do").spawn(task);
}
