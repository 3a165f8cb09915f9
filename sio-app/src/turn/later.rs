//! Work that a connection or a request has left for later. The work of all of them is counted
//! together.
//!
//! The work of a payload is several times as large as the payload. So while much work is kept, no
//! other large payload is decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guarded::guarded;
use crate::turn::Leftover;

/// A body above this size may contain thousands of events.
const LARGE: usize = 64 * 1024;

/// How many bytes all connections and requests keep as work.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: AtomicUsize,
    /// [`Options::max_left_bytes`](crate::Options::max_left_bytes).
    max: usize,
}

impl Kept {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            max,
        }
    }

    /// Whether a body of this size has to wait before it is decoded.
    pub(crate) fn delays(&self, bytes: usize) -> bool {
        bytes > LARGE && self.bytes.load(Ordering::Relaxed) > self.max
    }
}

/// Bytes of what a connection has decoded and does not hand over yet. They count as work that is
/// kept until this value is dropped.
pub(crate) struct KeptBytes {
    kept: Arc<Kept>,
    bytes: usize,
}

impl KeptBytes {
    pub(crate) fn new(kept: &Arc<Kept>, bytes: usize) -> Self {
        kept.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            kept: Arc::clone(kept),
            bytes,
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.bytes
    }
}

impl Drop for KeptBytes {
    fn drop(&mut self) {
        self.kept.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The work that one connection or request has left. When the connection goes away, a task does the
/// rest, so that everything that has arrived is handled.
#[derive(Default)]
pub(crate) struct Later(Option<Box<Work>>);

// Every connection has one.
const _: () = assert!(size_of::<Later>() <= 8);

struct Work {
    leftover: Box<Leftover>,
    kept: Arc<Kept>,
}

impl Later {
    /// Whether there is nothing to be done.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// About how many bytes of a peer's data it keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |work| work.leftover.bytes())
    }

    /// Keeps this work, and counts it there. Nothing must be kept already.
    #[inline]
    pub(crate) fn put(&mut self, leftover: Option<Box<Leftover>>, kept: &Arc<Kept>) {
        debug_assert!(self.0.is_none(), "nothing is begun before the rest is done");
        if let Some(leftover) = leftover {
            self.keep(leftover, Arc::clone(kept));
        }
    }

    #[cold]
    fn keep(&mut self, leftover: Box<Leftover>, kept: Arc<Kept>) {
        kept.bytes.fetch_add(leftover.bytes(), Ordering::Relaxed);
        self.0 = Some(Box::new(Work { leftover, kept }));
    }

    /// Works for one more turn, if there is something to do.
    pub(crate) fn go_on(&mut self) {
        if let Some(Work { leftover, kept }) = self.take() {
            self.put(leftover.go_on(), &kept);
        }
    }

    fn take(&mut self) -> Option<Work> {
        let work = *self.0.take()?;
        work.kept.bytes.fetch_sub(work.leftover.bytes(), Ordering::Relaxed);
        Some(work)
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(Work { leftover, .. }) = self.take() {
            // The runtime may be at its end. Then nobody does this work.
            let _ = guarded(|| leftover.leave_to_task());
        }
    }
}
