//! The place that the stream of a cluster has given to the message that this thread is sending.
//!
//! One task reads the stream and sends what it reads. Other threads send at the same time, and
//! their messages have numbers of this process. So the place belongs to the thread.

use std::cell::Cell;

use sio_proto::socket::Offset;

thread_local!(static PLACE: Cell<Option<Offset>> = const { Cell::new(None) });

/// Returns the place for the next message of this thread.
#[inline]
pub(super) fn current() -> Option<Offset> {
    PLACE.get()
}

/// Sends a message, which has this place.
#[cfg(feature = "redis")]
pub(crate) fn with<R>(place: Option<Offset>, send: impl FnOnce() -> R) -> R {
    /// Takes the place back, also if the sending panics.
    struct Taken(Option<Offset>);
    impl Drop for Taken {
        fn drop(&mut self) {
            PLACE.set(self.0);
        }
    }
    let _before = Taken(PLACE.replace(place));
    send()
}
