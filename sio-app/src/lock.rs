//! The locks of this crate. No code of the user's runs while one of them is held, and nothing of
//! the user's is dropped: it could come back for the same lock, and wait for itself. Debug builds
//! count the locks that a thread holds, so that the places where user code begins can say that
//! there is none.
//!
//! The user's are handlers, hooks and what they capture, rules, extensions of requests, socket
//! data, arguments that handlers have made of what came, wakers, and subscribers of logs. What is
//! exempt says so itself: codecs and parsers ([`codec`](crate::codec)), and the callbacks of a
//! rustls configuration.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::MutexGuard;

#[cfg(debug_assertions)]
thread_local!(static HELD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });

/// A mutex whose holders are counted in debug builds.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

pub(crate) struct Locked<'a, T> {
    guard: MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let guard = self.0.lock();
        #[cfg(debug_assertions)]
        HELD.set(HELD.get() + 1);
        Locked { guard }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        HELD.set(HELD.get() - 1);
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// User code begins here.
#[inline]
pub(crate) fn assert_none_held() {
    #[cfg(debug_assertions)]
    assert_eq!(HELD.get(), 0, "user code under a lock");
}

/// A waker that stands behind a lock, and is woken by many: taking a copy of it there runs no code
/// of the runtime's.
#[derive(Clone)]
pub(crate) struct Alarm(Arc<Waker>);

impl Alarm {
    pub(crate) fn new(waker: &Waker) -> Self {
        Self(Arc::new(waker.clone()))
    }

    pub(crate) fn wake(self) {
        self.0.wake_by_ref();
    }
}

#[cfg(test)]
mod tests;
