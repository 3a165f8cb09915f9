//! The phases of a server's shutdown, and the futures that wait for them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::lock::Mutex;

pub(super) const OPEN: u8 = 0;
pub(super) const LEAVING: u8 = 1;
pub(super) const CLOSING: u8 = 2;
pub(super) const EMPTY: u8 = 3;
/// Handlers and sockets have been dropped.
pub(super) const OVER: u8 = 4;

/// The state of a server's shutdown.
pub(crate) struct Shutdown {
    pub(super) phase: AtomicU8,
    /// The time, in microseconds, at which accepting stops at the latest and the remaining
    /// connections are ended.
    pub(super) until: AtomicU64,
    /// The number of shards with sessions.
    pub(super) shards: AtomicUsize,
    /// The wakers of futures that wait for one of the phases, or for the end of the last
    /// connection.
    waiters: Mutex<Vec<Waker>>,
}

impl Shutdown {
    pub(crate) const fn new(shards: usize) -> Self {
        Self {
            phase: AtomicU8::new(OPEN),
            until: AtomicU64::new(0),
            shards: AtomicUsize::new(shards),
            waiters: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn has_come_to(&self, phase: u8) -> bool {
        self.phase.load(Ordering::SeqCst) >= phase
    }

    /// Waits until `done` returns true. It is asked again when a phase begins, and when the last
    /// connection ends.
    pub(crate) async fn wait(&self, done: impl Fn() -> bool) {
        poll_fn(|cx: &mut Context<'_>| {
            if done() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            let left = {
                let mut waiters = self.waiters.lock();
                if waiters.iter().any(|waiter| waiter.will_wake(&waker)) {
                    Some(waker)
                } else {
                    waiters.push(waker);
                    None
                }
            };
            drop(left);
            // The condition may have become true before the waker was registered.
            if done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(crate) fn wake_waiters(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        waiters.into_iter().for_each(Waker::wake);
    }
}
