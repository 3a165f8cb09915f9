//! What a client has spent in namespaces that it has left. A client that joins one of them again
//! has the tokens that it had there, so that leaving brings it none.
//!
//! ```text
//!   accepted ─► the socket has the meter ─► left ─► full: forgotten
//!       ▲                                     │
//!       └────────── joins again ──────────────┘ not full: kept here
//! ```
//! The number of meters has a limit: a namespace whose meter is kept counts as one that the session
//! is in ([`Config::max_namespaces_per_session`](crate::Config::max_namespaces_per_session)). Their
//! bytes count from the moment on at which their sockets are accepted.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::Meter;
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// The meters of namespaces that a session has left.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    left: Vec<Left>,
    /// The bytes of these meters, and of those of the session's sockets.
    bytes: usize,
}

#[derive(Debug)]
struct Left {
    /// Shared with the namespace, as long as this exists.
    namespace: Arc<ByteString>,
    meter: Box<Meter>,
}

/// The bytes of a meter of this namespace.
fn bytes_of(namespace: &ByteString) -> usize {
    size_of::<Left>() + size_of::<Meter>() + namespace.len()
}

impl Spent {
    /// A socket with a limit joins a namespace. Returns the meter that is kept of an earlier one.
    pub(crate) fn enter(&mut self, namespace: &ByteString) -> Option<Box<Meter>> {
        step!(each self.left.len());
        match self.left.iter().position(|left| *left.namespace == *namespace) {
            Some(at) => Some(self.left.swap_remove(at).meter),
            None => {
                self.bytes = self.bytes.saturating_add(bytes_of(namespace));
                None
            }
        }
    }

    /// A socket with this meter has left its namespace.
    pub(crate) fn leave(&mut self, now: Time, namespace: Arc<ByteString>, mut meter: Box<Meter>) {
        match meter.is_full(now) {
            true => self.bytes = self.bytes.saturating_sub(bytes_of(&namespace)),
            false => self.left.push(Left { namespace, meter }),
        }
    }

    /// Forgets the meters that are full again. Returns how many namespaces are left, without those
    /// that count already.
    pub(crate) fn beside(&mut self, now: Time, counts: impl Fn(&ByteString) -> bool) -> usize {
        step!(each self.left.len());
        let Self { left, bytes } = self;
        left.retain_mut(|left| {
            let is_full = left.meter.is_full(now);
            if is_full {
                *bytes = bytes.saturating_sub(bytes_of(&left.namespace));
            }
            !is_full
        });
        left.iter().filter(|left| !counts(&left.namespace)).count()
    }

    /// The bytes of the meters of all namespaces, those that the session is in and those that it
    /// has left.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let meters = Holding::memory(self.left.len() * size_of::<Meter>());
        let names = self.left.iter().map(|left| left.namespace.len());
        meters.and(Holding::list::<Left>(self.left.capacity())).with(names)
    }
}
