//! A large body, or a message in large fragments, that is not decoded yet: a decoded one is several
//! times as large, and the connections and requests of the server have left much work already.
//!
//! ```text
//!   more than 64 KiB, much work is left ─► waits; nothing is read ─► there is room ─────────► decoded
//!                                             └── longest_pause is over ─► decoded all the same ─┘
//! ```
//! Who waits sleeps. Those who wait go on one after the other as work is done, in the order of
//! their coming. The time for which one message waits is limited, because meanwhile its client
//! cannot be heard, and others may leave new work all the time. The answer to a heartbeat may stand
//! in what waits. So the client is excused: the limit is half of the shortest time for an answer,
//! and the time begins anew once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::server::{Request, Routed};
use sio_proto::{LinkId, SessionKey, Time};

use crate::host::aside::Parts;
use crate::host::place::{Place, Seat};
use crate::turn::later::{AwaitsRoom, LARGE};
use crate::turn::shard::{ShardCell, State};
use crate::turn::{self, Turn};
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
    /// Whether the client of the message is excused.
    is_excused: bool,
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
                is_excused: false,
            })
        });
        if !delay.is_over && delay.waiting.is_none() {
            delay.waiting = Waiting::new(&self.io, delay.until);
        }
        delay.waits()
    }

    /// A message waits: its client is not expected to answer a heartbeat meanwhile. `started` is
    /// the head of the request whose body waits. If there is none, a websocket waits.
    #[cold]
    pub(crate) fn excuse_delayed(&mut self, started: impl FnOnce() -> Option<Request>) {
        let delay = self.aside.get_mut().and_then(|aside| aside.delay.as_mut());
        let Some(delay) = delay.filter(|delay| delay.waits() && !delay.is_excused) else {
            return;
        };
        delay.is_excused = true;
        let runtime = self.io.runtime();
        match started() {
            Some(mut request) => {
                if let Routed::Session(shard) = self.io.shards.router.route(&mut request)
                    && let Some(cell) = self.io.shards.cells.get(shard)
                {
                    let named = |state: &State| state.shard.session_named_by(&request);
                    turn::run(runtime, |turn| excuse(turn, cell, named));
                }
            }
            None => {
                if let Some(Seat { cell, id, .. }) = &self.seat {
                    turn::run(runtime, |turn| excuse(turn, cell, |state| state.shard.session_on(*id)));
                }
            }
        }
    }

    /// The whole body of a request waits: its session is told, as if the body were still coming,
    /// and its client is excused. Returns false if the request is refused. Then it is answered.
    pub(super) fn note_waiting_body(&mut self, turn: &Turn, request: &mut Request) -> bool {
        let Routed::Session(shard) = self.io.shards.router.route(request) else {
            return true;
        };
        let mut waits = true;
        self.input(turn, shard, |state, now, id: LinkId, out| {
            if let Some(session) = state.shard.session_named_by(request) {
                waits = state.shard.handle_waiting_post(now, id, request, out);
                state.shard.excuse(now, session, out);
            }
        });
        waits
    }

    /// A message is complete. The next one has a time of its own.
    #[inline]
    pub(crate) fn note_complete(&mut self) {
        if self.aside.get().is_some_and(Parts::is_delayed) {
            self.end_delay();
        }
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

/// Excuses the client of a session, if there is one.
fn excuse(turn: &Turn, cell: &Arc<ShardCell>, session: impl FnOnce(&State) -> Option<SessionKey>) {
    cell.input("excuse", turn, |state, now, out| {
        if let Some(session) = session(state) {
            state.shard.excuse(now, session, out);
        }
    });
}
