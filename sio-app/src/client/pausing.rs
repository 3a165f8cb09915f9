//! When a client reads whose user has not taken the events that came before.
//!
//! ```text
//!   0 ───────── max_inbox_bytes ───────── half of the reserve ───────── all of the reserve
//!     everything │ what somebody waits for, │ connections that open,       │ answers to POSTs
//!                │ heartbeats               │ answers to POSTs             │
//! ```
//! So the user may wait for a receipt between two events, and a client that is slow keeps its
//! connection. What comes in the end has a limit, whatever the server sends.

use sio_proto::client::Reading;
use sio_proto::{LinkId, Time};

use super::shared::Shared;

impl Shared {
    /// The bytes of the fullest queue of events: of a stream, or of what waits for handlers.
    pub(super) fn fullest(&self, for_handlers: usize) -> usize {
        let places = self.places.lock().clone();
        let inboxes = places.iter().flat_map(|place| place.inboxes());
        inboxes.map(|inbox| inbox.bytes()).fold(for_handlers, usize::max)
    }

    /// From when on a connection is read, if so many bytes wait in the fullest queue. `None`: not
    /// before the user has taken events.
    pub(super) fn reads_from(&self, link: LinkId, fullest: usize) -> Option<Time> {
        if fullest < self.max_inbox_bytes {
            return Some(Time::ZERO);
        }
        let core = self.core.lock_for("reading");
        let half = self.inbox_reserve_bytes / 2;
        let (room, from) = match core.machine.reading(link) {
            Reading::NoEvents => return Some(Time::ZERO),
            Reading::Events { heartbeat } if core.waiting.is_empty() => (half, heartbeat),
            Reading::Events { .. } => (half, Time::ZERO),
            // What was lost with the connection comes back with the next one, and some of it is
            // what the user waits for.
            _ => (self.inbox_reserve_bytes, Time::ZERO),
        };
        (fullest < self.max_inbox_bytes.saturating_add(room)).then_some(from)
    }
}
