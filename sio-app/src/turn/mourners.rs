//! The futures that wait for one thing: for the end of a socket, for handlers that lag, or for room
//! for more work.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::lock::Mutex;

/// The futures that wait for one thing. Each has one entry, which is removed together with the
/// future.
#[derive(Debug, Default)]
pub(crate) struct Mourners(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Mourners {
    /// Adds a future, or replaces the waker of one that waits. Returns its number.
    pub(crate) fn wait(&self, number: Option<u64>, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let (number, _old) = {
            let mut waiting = self.0.lock();
            waiting.count += 1;
            let number = number.unwrap_or(waiting.count);
            (number, waiting.wakers.insert(number, waker))
        };
        number
    }

    /// Removes the entry of a future that has been dropped.
    pub(crate) fn forget(&self, number: u64) {
        let waker = self.0.lock().wakers.remove(&number);
        drop(waker);
    }

    /// Wakes the future that has waited longest. It adds itself again if it has to wait on.
    pub(crate) fn wake_first(&self) {
        let first = self.0.lock().wakers.pop_first();
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    /// Wakes all futures, because what they wait for has happened.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}
