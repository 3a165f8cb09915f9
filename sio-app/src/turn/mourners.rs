//! The futures that wait for the end of a socket.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::lock::Mutex;

/// The futures that wait for the end of a socket. Each has one entry, which is removed together
/// with the future.
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

    /// Wakes all futures, because the socket is gone.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}
