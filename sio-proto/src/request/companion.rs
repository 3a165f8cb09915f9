//! What a caller counts and keeps for a session beside its request.
//!
//! All who have to do with a session share its request. So the caller needs no table of its own,
//! and no memory until it has something to count.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize};

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

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, shared, .. } = self;
        f.debug_struct("Companion")
            .field("own", own)
            .field("shared", shared)
            .finish_non_exhaustive()
    }
}
