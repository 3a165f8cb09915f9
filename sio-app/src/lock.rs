//! The locks of this crate. No code of the user's runs while one of them is held, and nothing of
//! the user's is dropped: it could come back for the same lock, and wait for itself. Debug builds
//! count the locks that a thread holds, so that the places where user code begins can say that
//! there is none. They also tell the log when a lock is held for long, with the names of the holder
//! and of those who waited ([`watch`]).
//!
//! The user's are handlers, hooks and what they capture, rules, extensions of requests, socket
//! data, arguments that handlers have made of what came, wakers, and subscribers of logs. What is
//! exempt says so itself: codecs and parsers ([`codec`](crate::codec)), and the callbacks of a
//! rustls configuration.

#[cfg(debug_assertions)]
mod clock;
#[cfg(debug_assertions)]
mod watch;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::MutexGuard;

/// A mutex whose holders are counted, named and timed in debug builds.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

pub(crate) struct Locked<'a, T> {
    // Let go of first: what is told of it is told when it is not held any more.
    guard: MutexGuard<'a, T>,
    #[cfg(debug_assertions)]
    hold: watch::Hold,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Takes the lock, for what the line says in which this is called.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        self.lock_for("")
    }

    /// Takes the lock for something that has a name. Debug builds tell who holds a lock for longer
    /// than [`watch::LONG`], and who has waited meanwhile; in others the name is nothing.
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

/// User code begins here.
#[inline]
pub(crate) fn assert_none_held() {
    #[cfg(debug_assertions)]
    assert_eq!(watch::held(), 0, "user code under a lock");
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
