//! A large body, or a message in large fragments, that is not decoded yet: a decoded one is several
//! times as large, and the connections and requests of the server have left much work already.
//!
//! ```text
//!   more than 64 KiB, much work is left ─► waits; nothing is read ─► there is room ─────────► decoded
//!                                             └── longest_pause is over ─► decoded all the same ─┘
//! ```
//! Who waits sleeps. Those who wait go on one after the other as work is done, in the order of
//! their coming. The time for which one message waits is limited, because meanwhile its client
//! cannot be heard, and others may leave new work all the time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::Time;

use crate::host::aside::Parts;
use crate::host::place::Place;
use crate::turn::later::{AwaitsRoom, LARGE};
use crate::user::inner::Inner;
use crate::user::sleep::Sleep;

/// The delay of one message.
pub(super) struct Delay {
    /// The message waits no longer than until then, with all of its pieces.
    until: Time,
    /// Set while the message waits.
    waiting: Option<Waiting>,
    /// Whether the time is over.
    is_over: bool,
}

struct Waiting {
    room: AwaitsRoom,
    sleep: Sleep,
}

impl Waiting {
    fn new(io: &Inner, until: Time) -> Option<Self> {
        let cell = io.shards.cells.first()?;
        Some(Self {
            room: AwaitsRoom::new(Arc::clone(&io.kept)),
            sleep: Sleep::new(Arc::clone(cell), until),
        })
    }
}

impl Delay {
    pub(super) const fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits until there is room, or the time is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.waiting
            && waiting.room.poll(cx).is_pending()
        {
            std::task::ready!(Pin::new(&mut waiting.sleep).poll(cx));
            self.is_over = true;
        }
        self.waiting = None;
        Poll::Ready(())
    }
}

impl Place {
    /// Whether nothing more of a message is decoded for now. So many bytes of it have come.
    #[inline]
    pub(crate) fn must_wait(&mut self, bytes: usize) -> bool {
        (bytes > LARGE || self.aside.get().is_some()) && self.must_wait_with(bytes)
    }

    #[cold]
    fn must_wait_with(&mut self, bytes: usize) -> bool {
        if bytes <= LARGE {
            self.end_delay();
        }
        if self.is_paced() {
            return true;
        }
        if bytes <= LARGE || !self.io.kept.is_full() {
            return false;
        }
        let now = self.io.now();
        let delay = self.aside.parts().delay.get_or_insert_with(|| {
            Box::new(Delay {
                until: now + self.io.config().longest_pause(),
                waiting: None,
                is_over: false,
            })
        });
        if !delay.is_over && delay.waiting.is_none() {
            delay.waiting = Waiting::new(&self.io, delay.until);
        }
        delay.waits()
    }

    /// Whether nothing is read from the connection for now.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.aside.get().is_some_and(Parts::hold_back)
    }

    /// Waits until the next portion may be handed over, or the next piece of a large message may be
    /// decoded. The result is ready when something may have changed. No work must have been left,
    /// and some may be left then.
    pub(crate) fn poll_held_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_delay(cx) {
            Some(polled) => polled,
            None => self.poll_pace(cx),
        }
    }

    /// Waits until the next piece of a large message may be decoded. `None` if none waits.
    pub(super) fn poll_delay(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let delay = self.aside.get_mut()?.delay.as_mut()?;
        delay.waits().then(|| delay.poll(cx))
    }

    /// The message that has waited is complete, or will not be.
    pub(super) fn end_delay(&mut self) {
        drop(self.aside.take(|aside| aside.delay.take()));
    }
}
