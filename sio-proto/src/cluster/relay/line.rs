//! One relay: which bytes have come and gone, and how many more may.

use core::net::IpAddr;

use bytes::{Buf, Bytes};

use super::message::NodeName;
use crate::Time;

/// The state that both ends of a relay have.
#[derive(Debug)]
pub(super) struct Line {
    /// The node at the other end.
    pub(super) peer: NodeName,
    /// How many bytes this end has sent.
    sent: u64,
    /// How many it may send in all.
    allowed: u64,
    /// How many bytes have come.
    received: u64,
    /// How many of them do not wait on this node any more.
    consumed: u64,
    /// How many the other end may send in all.
    granted: u64,
    /// How many bytes may wait on this node.
    window: u64,
    /// Since when the relay exists.
    pub(super) opened: Time,
    /// When the other end was heard last, if ever.
    pub(super) heard: Option<Time>,
    /// When this end has last said something.
    pub(super) told: Time,
    /// The time of its entry among the deadlines.
    pub(super) due: Time,
    /// The network of the client, if it is known.
    pub(super) address: Option<IpAddr>,
    /// How many bytes are noted as waiting here ([`Shares`](crate::shares::Shares)).
    pub(super) noted: usize,
    /// Whether this end waits until it may send more.
    pub(super) waits: bool,
}

/// What becomes of bytes that have come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// These are new.
    New(Bytes),
    /// They have come before.
    Old,
    /// Some before them are missing.
    Gap,
    /// They are more than were allowed.
    Overrun,
}

impl Line {
    /// A relay whose other end may send `granted` bytes, of which `window` may wait here.
    pub(super) const fn new(
        now: Time,
        peer: NodeName,
        address: Option<IpAddr>,
        allowed: u32,
        granted: u32,
        window: u32,
    ) -> Self {
        Self {
            peer,
            sent: 0,
            allowed: allowed as u64,
            received: 0,
            consumed: 0,
            granted: granted as u64,
            window: window as u64,
            opened: now,
            heard: None,
            told: now,
            due: now,
            address,
            noted: 0,
            waits: false,
        }
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.allowed.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    /// Notes that bytes are sent. Returns how many were sent before.
    pub(super) fn send(&mut self, now: Time, bytes: usize) -> u64 {
        let position = self.sent;
        self.sent += bytes as u64;
        self.told = now;
        position
    }

    /// The other end allows so many bytes in all. Returns whether there is room for the first time
    /// since this end waits.
    pub(super) fn allow(&mut self, allowed: u64) -> bool {
        self.allowed = self.allowed.max(allowed);
        self.waits && self.room() > 0 && core::mem::take(&mut self.waits)
    }

    /// Takes bytes that begin at this position.
    pub(super) fn take(&mut self, position: u64, mut bytes: Bytes) -> Taken {
        let Some(old) = self.received.checked_sub(position) else {
            return Taken::Gap;
        };
        // Bytes that have come before are cut off: an older message never brings newer bytes than
        // a later one, but nothing depends on it here.
        let length = bytes.len() as u64;
        if old > 0 && old >= length {
            return Taken::Old;
        }
        bytes.advance(usize::try_from(old).unwrap_or(usize::MAX).min(bytes.len()));
        let received = self.received + bytes.len() as u64;
        if received > self.granted {
            return Taken::Overrun;
        }
        self.received = received;
        Taken::New(bytes)
    }

    /// How many bytes wait on this node.
    pub(super) fn waiting(&self) -> usize {
        usize::try_from(self.received - self.consumed).unwrap_or(usize::MAX)
    }

    /// Notes how many bytes still wait here. Returns what the other end may send in all, when it is
    /// time to tell it.
    pub(super) fn keep(&mut self, waiting: usize) -> Option<u64> {
        self.consumed = self.consumed.max(self.received.saturating_sub(waiting as u64));
        let allowed = self.consumed + self.window;
        let tells = allowed.saturating_sub(self.granted) >= self.window / 2;
        if tells {
            self.granted = allowed;
        }
        tells.then_some(allowed)
    }

    /// What the other end may send in all, from now on.
    pub(super) fn grant(&mut self) -> u64 {
        self.granted = self.granted.max(self.consumed + self.window);
        self.granted
    }
}
