//! The channels that a node wants to hear, and what the broker knows of them.
//!
//! Invariant: a channel that is wanted is either subscribed on its connection, or stands in the
//! connection's list of changes, or waits for a connection or for another try. So nothing is
//! forgotten, whatever happens to connections.
//!
//! The set has one entry for each room with local members, so the memberships bound it.

use alloc::collections::BTreeMap;

use bytes::Bytes;

/// A name, and whether it belongs to sharded pub/sub.
pub(super) type Key = (Bytes, bool);

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) wanted: bool,
    /// The last command about it was a subscription, on a connection that still stands.
    pub(super) asked: bool,
    /// Commands about it that are not answered.
    pub(super) in_flight: u32,
    confirmed: bool,
    /// How often servers have sent it on or ended it since it was heard, or tried with a delay.
    pub(super) redirects: u8,
    /// It stands in its connection's list of changes.
    pub(super) is_listed: bool,
    /// The connection on which it is heard.
    pub(super) at: Option<usize>,
}

impl Channel {
    const fn is_forgotten(&self) -> bool {
        !self.wanted && !self.asked && self.in_flight == 0 && !self.is_listed
    }
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) map: BTreeMap<Key, Channel>,
    /// How many are wanted.
    pub(super) wanted: usize,
    /// How many are wanted and confirmed.
    heard: usize,
}

impl Channels {
    /// Whether every channel that is wanted is heard.
    pub(super) const fn are_all_heard(&self) -> bool {
        self.heard == self.wanted
    }

    /// Returns whether something has changed.
    pub(super) fn want(&mut self, key: &Key, wanted: bool) -> bool {
        if !wanted && !self.map.contains_key(key) {
            return false;
        }
        let channel = self.map.entry(key.clone()).or_default();
        if channel.wanted == wanted {
            return false;
        }
        channel.wanted = wanted;
        match wanted {
            true => self.wanted += 1,
            false => {
                self.wanted -= 1;
                self.confirm(key, false);
            }
        }
        true
    }

    pub(super) fn is_heard(&self, key: &Key) -> bool {
        self.map.get(key).is_some_and(|channel| channel.confirmed)
    }

    /// Says whether the channel is heard. Returns whether this is new.
    pub(super) fn confirm(&mut self, key: &Key, confirmed: bool) -> bool {
        let Some(channel) = self.map.get_mut(key) else {
            return false;
        };
        if channel.confirmed == confirmed {
            return false;
        }
        channel.confirmed = confirmed;
        match confirmed {
            true => {
                self.heard += 1;
                channel.redirects = 0;
            }
            false => self.heard -= 1,
        }
        true
    }

    /// Forgets the channel if nobody wants it, and the broker does not know it.
    pub(super) fn tidy(&mut self, key: &Key) {
        if self.map.get(key).is_some_and(Channel::is_forgotten) {
            self.map.remove(key);
        }
    }

    /// A connection has gone, and with it all that its server knew.
    pub(super) fn lose(&mut self, at: usize) {
        let mut lost = 0;
        self.map.retain(|_, channel| {
            if channel.at != Some(at) {
                return true;
            }
            lost += usize::from(core::mem::take(&mut channel.confirmed));
            channel.asked = false;
            channel.in_flight = 0;
            channel.is_listed = false;
            channel.wanted
        });
        self.heard -= lost;
    }
}
