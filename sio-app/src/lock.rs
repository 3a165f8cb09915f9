//! The locks of this crate. No user code runs while a lock is held, and no value of the user is
//! dropped: user code could take the same lock again and wait for itself for ever. Debug builds
//! count the locks that a thread holds, so that the places where user code begins can assert that
//! there is none. Debug builds also log each lock that was held for long, with the names of its
//! holder and of the threads that waited ([`watch`]).
//!
//! User code and values of the user are: handlers, hooks and the values that they capture, rules,
//! extensions of requests, socket data, arguments of handlers, wakers, and subscribers of logs.
//! There are exceptions, whose documentation says so: codecs and parsers ([`codec`](crate::codec)),
//! stores ([`store`](crate::store)), and the callbacks of a rustls configuration.

#[cfg(debug_assertions)]
mod clock;
#[cfg(debug_assertions)]
mod watch;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Waker;

use parking_lot::MutexGuard;

/// A mutex whose holders are counted, named and timed in debug builds.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

pub(crate) struct Locked<'a, T> {
    // This field is dropped first: the report about the lock is written when the lock is free.
    guard: MutexGuard<'a, T>,
    #[cfg(debug_assertions)]
    hold: watch::Hold,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Takes the lock. The holder has no name; reports show the line that calls this.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        self.lock_for("")
    }

    /// Takes the lock. `name` says what the lock is taken for. Debug builds log who holds a lock
    /// for longer than [`watch::LONG`], and who waits meanwhile. Release builds ignore the name.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn lock_for(&self, name: &'static str) -> Locked<'_, T> {
        #[cfg(not(debug_assertions))]
        {
            let _ = name;
            Locked { guard: self.0.lock() }
        }
        #[cfg(debug_assertions)]
        {
            let (holder, which) = (watch::Holder::new(name), watch::Which::of(&self.0));
            let guard = match self.0.try_lock() {
                Some(guard) => guard,
                None => watch::wait(which, holder, || self.0.lock()),
            };
            Locked {
                guard,
                hold: watch::Hold::begin(which, holder),
            }
        }
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.hold.end();
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

/// Asserts that this thread holds no lock. It is called wherever user code begins.
#[inline]
pub(crate) fn assert_none_held() {
    #[cfg(debug_assertions)]
    assert_eq!(watch::held(), 0, "user code under a lock");
}

impl<T> Mutex<T> {
    /// Waits for whoever holds the lock. Call this when something was seen that the holder has done
    /// under another lock: all that it does under this one is seen afterwards. If nobody holds the
    /// lock any more, this is one load of an atomic. The caller holds no lock.
    #[inline]
    pub(crate) fn pass(&self, name: &'static str) {
        assert_none_held();
        let is_held = self.0.is_locked();
        // Together with the release of the lock: if it is free now, what was done under it is seen.
        fence(Ordering::Acquire);
        if is_held {
            drop(self.lock_for(name));
        }
    }
}

/// A waker that is kept behind a lock and woken by many threads. Cloning it under the lock runs no
/// code of the runtime.
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
