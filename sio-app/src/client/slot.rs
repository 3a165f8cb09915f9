//! The place of one result that somebody may wait for.

use std::task::Waker;

use crate::lock::Mutex;

/// The place of a result, which comes once.
pub(crate) struct Slot<T>(Mutex<Place<T>>);

struct Place<T> {
    result: Option<T>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Place {
            result: None,
            waker: None,
        }))
    }

    pub(crate) fn fill(&self, result: T) {
        let waker = {
            let mut place = self.0.lock();
            place.result.get_or_insert(result);
            place.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the result. If it has not come yet, it will wake `waker`.
    pub(crate) fn take_or_wait(&self, waker: Waker) -> Option<T> {
        let (result, _old) = {
            let mut place = self.0.lock();
            (place.result.take(), place.waker.replace(waker))
        };
        result
    }
}
