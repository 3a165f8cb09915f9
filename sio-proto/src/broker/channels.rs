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

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::super::{Broker, BrokerConfig, Command, Output};
    use crate::{LinkId, Time};

    /// The last connection that is to be opened.
    fn opened(broker: &mut Broker) -> Option<LinkId> {
        let outputs = core::iter::from_fn(|| broker.poll_output());
        let links = outputs.filter_map(|output| match output {
            Output::Open { link, .. } => Some(link),
            _ => None,
        });
        links.last()
    }

    fn say(broker: &mut Broker, link: LinkId, said: &str) {
        broker.handle_bytes(Time::ZERO, link, &mut said.into());
    }

    /// Names come and go for as long as a node runs, so each is forgotten.
    #[test]
    fn channels_that_nobody_wants_are_forgotten() {
        let entropy = |out: &mut [u8]| out.fill(0);
        let config = BrokerConfig::default();
        let mut broker = Broker::new(Time::ZERO, config, Box::new(entropy)).expect("the defaults");
        let want = |broker: &mut Broker, wanted| {
            let (channel, sharded) = ("c".into(), false);
            let command = match wanted {
                true => Command::Subscribe { channel, sharded },
                false => Command::Unsubscribe { channel, sharded },
            };
            broker.handle_command(Time::ZERO, command);
        };
        // Nothing is told to the server yet.
        want(&mut broker, true);
        assert_eq!(broker.channels.map.len(), 1);
        want(&mut broker, false);
        assert!(broker.channels.map.is_empty());

        want(&mut broker, true);
        let main = opened(&mut broker).expect("a main connection");
        broker.handle_connected(Time::ZERO, main);
        say(
            &mut broker,
            main,
            "%0\r\n-ERR no\r\n-ERR This instance has cluster support disabled\r\n",
        );
        broker.handle_timeout(Time::ZERO);
        let hears = opened(&mut broker).expect("a subscribing connection");
        broker.handle_connected(Time::ZERO, hears);
        say(&mut broker, hears, "%0\r\n");
        say(&mut broker, hears, "-NOPERM\r\n>3\r\n+subscribe\r\n+c\r\n:1\r\n");
        assert!(broker.counters().is_up);
        want(&mut broker, false);
        assert_eq!(broker.channels.map.len(), 1, "the server is told");
        say(&mut broker, hears, ">3\r\n+unsubscribe\r\n+c\r\n:0\r\n");
        assert!(broker.channels.map.is_empty());

        // The connection ends before the server has answered.
        want(&mut broker, true);
        want(&mut broker, false);
        assert_eq!(broker.channels.map.len(), 1);
        broker.handle_closed(Time::ZERO, hears, None);
        assert!(broker.channels.map.is_empty());
    }
}
