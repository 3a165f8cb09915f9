//! Where other threads, and wakers on the loop's own, leave what the loop has to do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

use sio_app::adapter::Task;

/// The ready queue of one loop, and the means to end its sleep.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    alarm: mio::Waker,
}

#[derive(Default)]
struct State {
    /// Entries to be polled, each at most once.
    ready: VecDeque<usize>,
    spawned: Vec<Task>,
    /// The loop sleeps, or is about to. Who changes this ends the sleep, and nobody does it twice.
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

    /// A system call only if the loop sleeps.
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

    /// How long the poller may wait: not at all if there is something to do.
    pub(super) fn fall_asleep(&self, timeout: Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        if !state.ready.is_empty() || !state.spawned.is_empty() {
            return Some(Duration::ZERO);
        }
        state.asleep = true;
        timeout
    }

    /// The sleep is over: from here on nobody has to end it.
    pub(super) fn awake(&self) {
        self.state().asleep = false;
    }

    /// Takes everything out: entries into `ready`, new tasks as the result.
    pub(super) fn take(&self, ready: &mut VecDeque<usize>) -> Vec<Task> {
        let mut state = self.state();
        std::mem::swap(&mut state.ready, ready);
        std::mem::take(&mut state.spawned)
    }
}

/// Puts one entry into the ready queue, unless it stands there already.
///
/// One that outlives its entry wakes whoever has the place then, who finds nothing to do.
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

    /// The entry is about to be polled: what wakes it from here on counts for the next time.
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

/// The loop that took up its work last, for calls from threads that have none.
static LAST: Mutex<Option<Arc<Inbox>>> = Mutex::new(None);

/// This thread runs the loop of this inbox, until the result is dropped.
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

/// Runs a task on the loop of this thread, or else on the one that began last.
pub(super) fn spawn(task: Task) {
    let inbox = HERE.with_borrow(Clone::clone);
    let inbox = inbox.or_else(|| LAST.lock().unwrap_or_else(PoisonError::into_inner).clone());
    inbox.expect("a loop runs where handlers do").spawn(task);
}
