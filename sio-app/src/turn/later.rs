//! Work that a connection or a request has left for later. The work of all of them is counted
//! together.
//!
//! The work of a payload is several times as large as the payload. So while much work is kept, no
//! other large payload is decoded. What a connection does not hand over yet, because its client is
//! too fast or its handlers lag, is no such work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::guarded::guarded;
use crate::turn::Leftover;
use crate::turn::mourners::Mourners;

/// A body above this size may contain thousands of events.
pub(crate) const LARGE: usize = 64 * 1024;

/// How many bytes all connections and requests keep as work, and who waits until these are fewer.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: AtomicUsize,
    /// [`Options::max_left_bytes`](crate::Options::max_left_bytes).
    max: usize,
    waiting: Mourners,
}

impl Kept {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            max,
            waiting: Mourners::default(),
        }
    }

    /// Whether so much is kept that a large body has to wait before it is decoded.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Stops counting these bytes. If there is room now, the first of those who wait is woken, and
    /// wakes the next one if there is still room.
    fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.max && before - bytes <= self.max {
            self.waiting.wake_first();
        }
    }
}

/// A place among those who wait for room.
pub(crate) struct AwaitsRoom {
    kept: Arc<Kept>,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
}

impl AwaitsRoom {
    pub(crate) const fn new(kept: Arc<Kept>) -> Self {
        Self { kept, number: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.kept.is_full() {
            self.number = Some(self.kept.waiting.wait(self.number, cx.waker()));
            // There may be room since before the waker was registered.
            if self.kept.is_full() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for AwaitsRoom {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.kept.waiting.forget(number);
            if !self.kept.is_full() {
                self.kept.waiting.wake_first();
            }
        }
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
    counted: Counted,
}

/// Bytes of work. They count until this value is dropped, also while a turn works on them.
struct Counted {
    kept: Arc<Kept>,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.kept.remove(self.bytes);
    }
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
        let bytes = leftover.bytes();
        kept.add(bytes);
        let counted = Counted { kept, bytes };
        self.0 = Some(Box::new(Work { leftover, counted }));
    }

    /// Works for one more turn, if there is something to do.
    pub(crate) fn go_on(&mut self) {
        if let Some(work) = self.0.take() {
            let Work { leftover, counted } = *work;
            self.0 = leftover.go_on().map(|leftover| Box::new(Work { leftover, counted }));
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            let Work { leftover, counted } = *work;
            // Tasks count what they keep by themselves.
            drop(counted);
            // The runtime may be at its end. Then nobody does this work.
            let _ = guarded(|| leftover.leave_to_task());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Counted as Wakes;

    /// Who waits for room goes on one after the other, as long as there is room.
    #[test]
    fn who_waits_goes_on_in_the_order_of_coming() {
        let kept = Arc::new(Kept::new(10));
        kept.add(11);
        let wakes = [(); 3].map(|()| Wakes::default());
        let wakers = wakes.each_ref().map(Wakes::waker);
        let mut waiting = wakers.each_ref().map(|waker| {
            let mut place = AwaitsRoom::new(Arc::clone(&kept));
            assert!(place.poll(&mut Context::from_waker(waker)).is_pending());
            Some(place)
        });
        let woken = || wakes.each_ref().map(Wakes::take);
        let poll = |place: Option<&mut AwaitsRoom>| place.unwrap().poll(&mut Context::from_waker(&wakers[1]));
        kept.remove(1);
        assert_eq!(woken(), [1, 0, 0]);
        waiting[0] = None;
        assert_eq!(woken(), [0, 1, 0], "there is still room");
        kept.add(1);
        assert!(poll(waiting[1].as_mut()).is_pending(), "the room has gone");
        kept.remove(1);
        assert_eq!(woken(), [0, 1, 0], "it keeps its place");
        assert!(poll(waiting[1].as_mut()).is_ready());
        kept.add(1);
        waiting[1] = None;
        assert_eq!(woken(), [0, 0, 0]);
        kept.remove(1);
        assert_eq!(woken(), [0, 0, 1]);
        waiting[2] = None;
        kept.add(1);
        kept.remove(1);
        assert_eq!(woken(), [0, 0, 0]);
    }
}
