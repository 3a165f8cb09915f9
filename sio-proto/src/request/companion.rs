//! What a caller counts and keeps for a session beside its request.
//!
//! All who have to do with a session share its request. So the caller needs no table of its own,
//! and no memory until it has something to count.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize};

use super::handshake::Handshake;

/// A number of things, and of their bytes.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many things there are.
    pub things: AtomicUsize,
    /// How many bytes they have.
    pub bytes: AtomicUsize,
}

/// What a caller counts and keeps for a session, from the first time on that it has something to
/// count.
///
/// It is dropped with the last handle of the request, perhaps while the caller's lock is held. So
/// nothing of the application may be in it then. What is shared is dropped before the value.
pub struct Companion {
    /// What is counted for this session.
    pub own: Tally,
    /// What is counted for this session and others.
    pub shared: Option<Arc<Tally>>,
    /// A number, which is zero at first.
    pub number: AtomicU32,
    /// What else the caller keeps.
    pub value: Box<dyn Any + Send + Sync>,
}

impl Companion {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(shared: Option<Arc<Tally>>, value: Box<dyn Any + Send + Sync>) -> Self {
        Self {
            own: Tally::default(),
            shared,
            number: AtomicU32::new(0),
            value,
        }
    }
}

/// What the host of a session keeps beside its request: who drives a
/// [`Shard`](crate::server::Shard) may use it, and nobody else. An application that gets a request
/// finds nothing of it there. Who keeps a handle of a request also keeps what is counted for its
/// session.
#[derive(Clone, Copy, Debug)]
pub struct HostSide<'a>(&'a Handshake);

impl<'a> HostSide<'a> {
    /// What is kept beside this request.
    #[inline]
    #[must_use]
    pub const fn of(handshake: &'a Handshake) -> Self {
        Self(handshake)
    }

    /// A number that the host keeps for the session. At first it is zero.
    #[inline]
    #[must_use]
    pub const fn number(self) -> &'a AtomicU32 {
        &self.0.number
    }

    /// What the host counts and keeps for the session, if there is something.
    #[inline]
    #[must_use]
    pub fn companion(self) -> Option<&'a Companion> {
        self.0.companion.get()
    }

    /// What the host counts and keeps for the session. If there is nothing yet, it is made now. If
    /// two threads make it at one time, one of the two is dropped.
    #[inline]
    pub fn companion_or(self, make: impl FnOnce() -> Companion) -> &'a Companion {
        self.0.companion.get_or_init(|| Box::new(make()))
    }
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, shared, .. } = self;
        f.debug_struct("Companion")
            .field("own", own)
            .field("shared", shared)
            .finish_non_exhaustive()
    }
}
