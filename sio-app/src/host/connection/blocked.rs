//! What a connection does while bytes wait for its socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sio_proto::wire::Wire;

use super::{Connection, Marks};
use crate::host::place::Seat;
#[cfg(test)]
use crate::link::Standing;
use crate::link::{Progress, REST};
use crate::turn;
use crate::turn::batch::Batch;
use crate::user::sleep::Sleep;

impl Connection {
    /// Whether the connection pauses behind the head of a handshake.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> bool {
        self.place.link.standing() == Standing::Resting
    }

    /// Waits for the end of the pause behind the head of a handshake. A connection without a
    /// session has no clock to wait for, and needs no pause. Nor do clients of Engine.IO 4.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_short = self.conn.wire().is_some_and(Wire::may_follow_head);
        if let (false, Some(Seat { cell, .. })) = (is_short, &self.place.seat) {
            let begin = || Sleep::new(Arc::clone(cell), cell.now() + REST);
            let rest = self.place.aside.parts().rest.get_or_insert_with(begin);
            ready!(Pin::new(rest).poll(cx));
        }
        drop(self.place.aside.take(|aside| aside.rest.take()));
        self.place.link.end_rest();
        self.write_queue(false);
        Poll::Ready(())
    }

    /// Writes the queue when the socket has room, and tells the shard when everything has been
    /// written.
    pub(super) fn drain(&mut self) {
        self.write_queue(true);
    }

    /// Writes the queue. If the socket is full, the shard is told, unless it knows: it does not
    /// know of a link that has only paused.
    fn write_queue(&mut self, is_known: bool) {
        if self.place.link.take_over().is_none() {
            return;
        }
        turn::run(self.place.io.runtime(), |turn| {
            let write = |batch: &mut Batch| self.place.link.write(batch.pen(), &mut std::iter::empty());
            let progress = turn.batch.with(write);
            match (progress, &self.place.seat) {
                (Progress::Full, Some(Seat { cell, id, .. })) => cell.block(turn, *id, &self.place.link),
                (Progress::Stuck, Some(Seat { cell, id, .. })) if !is_known => {
                    cell.block(turn, *id, &self.place.link);
                }
                // The shard still knows that the link is full.
                (Progress::Full | Progress::Stuck, _) => self.place.link.hand_over(),
                (Progress::Resting, _) => self.place.link.rest(),
                (Progress::Done, Some(Seat { cell, id, .. })) => {
                    cell.input("drained", turn, |state, now, _| state.shard.handle_drained(now, *id));
                }
                (Progress::Done, None) => {}
            }
        });
        self.place.note_drained();
    }

    /// Whether a connection with a full socket is cut because the whole server has too much to
    /// write. An answer that its peer does not take is not kept then. For websockets, the shard
    /// decides.
    pub(super) fn is_unwelcome(&self) -> bool {
        !self.conn.is_websocket() && self.place.io.tally.traffic.waiting.is_exceeded()
    }

    /// Sets a deadline for the end of a connection whose socket is full, so that no peer can keep
    /// it by not reading.
    pub(super) fn limit_end(&mut self) {
        if !self.marks.has(Marks::ENDING) && self.place.link.is_ending() {
            self.marks.set(Marks::ENDING, true);
            self.place.io.end_soon(self.place.slot());
        }
    }
}
