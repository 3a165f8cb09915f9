//! The promises that the simulator checks, by their numbers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A promise. Its number is that of the list in `docs/simulator.md`, which says where each promise
/// is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// In a session, a reliable message is delivered at most once and in order, without a gap (G1,
    /// G3, G14, G15, G17).
    Order = 1,
    /// Within the window of recovery no message is lost, and outside of it the client is told (G9,
    /// G10, G20).
    Recovery = 2,
    /// An acknowledgement, and every emit of a client, ends exactly once (G6, G18).
    Acknowledgement = 3,
    /// A broadcast reaches exactly those who are members at its moment (G3).
    Broadcast = 4,
    /// There is one disconnect for each connect, at both ends (the page of `sio-app`).
    Disconnect = 5,
    /// Nothing of a client that has gone survives its timeouts (SECURITY.md).
    Leftover = 6,
    /// The memory that is held for peers stays within their limits, and the work of one input is
    /// bounded by its size (SECURITY.md).
    Price = 7,
    /// A peer that answers is not timed out, and a dead one is (docs/protocol/engine-io.md §6).
    Heartbeat = 8,
    /// An upgrade neither loses, nor repeats, nor reorders messages (G1).
    Upgrade = 9,
    /// When faults stop, each client is connected within its longest delay and five seconds, behind
    /// its own queue if it has one, and messages flow in both directions (docs/client.md).
    Liveness = 10,
    /// Nobody opens a session, joins, reads or speaks without permission (SECURITY.md).
    Admission = 12,
    /// Nothing of the application is dropped while a shard works (`Outputs::released`).
    Release = 13,
    /// Neither end breaks a rule of the protocol, panics, or asks to be woken without end.
    Conduct = 11,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) words: String,
}

impl Violation {
    /// Whether the same is wrong, with other numbers.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let plain = |words: &str| {
            words
                .split(|c: char| !c.is_alphabetic())
                .filter(|word| word.len() > 2)
                .take(6)
                .collect::<String>()
        };
        self.promise == other.promise && plain(&self.words) == plain(&other.words)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {} ({:?}): {}", self.promise as u8, self.promise, self.words)
    }
}

/// Does something. If it panics, the words of the panic are the error.
pub(crate) fn caught<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default()
    })
}
