//! Channels: on which connection each is heard, and what the broker is told about it.

use bytes::Bytes;

use super::channels::Key;
use super::command::Event;
use super::connection::{Expect, Probe, Role};
use super::error::BrokerError;
use super::machine::{Broker, SUBSCRIBER};
use crate::Time;

impl Broker {
    /// The node wants to hear a channel, or wants it no more.
    pub(super) fn want(&mut self, now: Time, key: Key, wanted: bool) {
        if !self.channels.want(&key, wanted) {
            if wanted && self.channels.is_heard(&key) {
                let (channel, sharded) = key;
                self.tell(Event::Subscribed { channel, sharded });
            }
            return;
        }
        if wanted && self.channels.wanted == 1 {
            // The first channel: the connection for subscribing is needed from now on.
            self.dial_due(now);
        }
        if wanted && self.channels.map.get(&key).is_some_and(|channel| channel.at.is_none()) {
            let at = self.hearer(now, &key);
            if let Some(channel) = self.channels.map.get_mut(&key) {
                channel.at = at;
            }
        }
        if let Some(at) = self.list(&key) {
            self.pump(now, at);
        }
        self.channels.tidy(&key);
    }

    /// The connection that has to hear a channel, if this is known.
    fn hearer(&mut self, now: Time, key: &Key) -> Option<usize> {
        match (&self.cluster, key.1) {
            (_, false) => Some(SUBSCRIBER),
            (None, true) => self.is_discovered.then_some(SUBSCRIBER),
            (Some(cluster), true) => {
                // If the owner is not known, any server tells it.
                let Some(owner) = cluster.owner(&key.0).cloned() else {
                    return Some(SUBSCRIBER);
                };
                self.node(now, Role::NodeSubscriber, &owner)
            }
        }
    }

    /// Puts a channel on the list of its connection. A connection that is not ready has no list:
    /// once it is, all of its channels are looked at.
    fn list(&mut self, key: &Key) -> Option<usize> {
        let channel = self.channels.map.get_mut(key)?;
        let at = channel.at?;
        let connection = self.connections.get_mut(at)?.as_mut()?;
        if !connection.is_ready() {
            return None;
        }
        if !core::mem::replace(&mut channel.is_listed, true) {
            connection.changed.push_back(key.clone());
        }
        Some(at)
    }

    /// A subscribing connection can be used: it has to hear all of its channels.
    pub(super) fn subscriber_ready(&mut self, now: Time, at: usize) {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let name = alloc::format!("{}{:016x}", self.config.probe_prefix, u64::from_le_bytes(random));
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        connection.probe_channel = Bytes::from(name);
        let probe = connection.probe_channel.clone();
        connection.ask(now, &[b"SUBSCRIBE", &probe], Expect::ProbeSubscribe);
        for (key, channel) in &mut self.channels.map {
            if channel.at == Some(at) && channel.wanted {
                channel.is_listed = true;
                connection.changed.push_back(key.clone());
            }
        }
    }

    /// Tells the broker about the channels on the list of a connection, as many as there is room
    /// for.
    pub(super) fn subscribe_changed(&mut self, now: Time, at: usize) {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(at) else {
                return;
            };
            if !connection.has_room() {
                return;
            }
            let Some(key) = connection.changed.pop_front() else {
                return;
            };
            let Some(channel) = self.channels.map.get_mut(&key) else {
                continue;
            };
            if channel.at != Some(at) {
                continue;
            }
            channel.is_listed = false;
            let expect = |key: &Key| match channel.wanted {
                true => Expect::Subscribe(key.0.clone(), key.1),
                false => Expect::Unsubscribe(key.0.clone(), key.1),
            };
            let command: &[u8] = match (channel.wanted, key.1) {
                (true, false) => b"SUBSCRIBE",
                (true, true) => b"SSUBSCRIBE",
                (false, false) => b"UNSUBSCRIBE",
                (false, true) => b"SUNSUBSCRIBE",
            };
            if channel.wanted != channel.asked {
                connection.ask(now, &[command, &key.0], expect(&key));
                channel.asked = channel.wanted;
                channel.in_flight += 1;
            }
            // The channel may have been left and wanted again while it stood on the list.
            self.hear(&key);
        }
    }

    /// The broker has confirmed the last command about a channel on its connection, or a command
    /// before it.
    pub(super) fn subscription_answered(&mut self, at: usize, key: &Key) {
        let Some(channel) = self.channels.map.get_mut(key).filter(|channel| channel.at == Some(at)) else {
            return;
        };
        channel.in_flight = channel.in_flight.saturating_sub(1);
        self.hear(key);
    }

    /// Tells that a channel is heard, if it is wanted and its last command was a subscription that
    /// is answered. Forgets a channel that nobody wants.
    fn hear(&mut self, key: &Key) {
        let channel = self.channels.map.get(key);
        let is_heard = channel.is_some_and(|channel| channel.in_flight == 0 && channel.asked && channel.wanted);
        if is_heard && self.channels.confirm(key, true) {
            let (channel, sharded) = key.clone();
            self.tell(Event::Subscribed { channel, sharded });
        }
        self.channels.tidy(key);
    }

    /// The broker does not let the node hear a channel.
    pub(super) fn subscription_refused(&mut self, now: Time, at: usize, key: &Key, error: &[u8]) {
        let Some(channel) = self.channels.map.get_mut(key).filter(|channel| channel.at == Some(at)) else {
            return;
        };
        channel.in_flight = channel.in_flight.saturating_sub(1);
        if channel.in_flight == 0 {
            channel.asked = false;
        }
        // Servers that send it to each other must not keep it going round.
        let may_follow = channel.redirects < self.config.max_redirects;
        channel.redirects = channel.redirects.saturating_add(1);
        self.channels.tidy(key);
        if let Some(redirect) = self.redirect(at, error).filter(|_| may_follow) {
            self.follow(now, redirect);
            self.assign(now, key);
            if let Some(at) = self.list(key) {
                self.subscribe_changed(now, at);
            }
            return;
        }
        let error = BrokerError::refused(error);
        self.counters.refused_subscriptions += 1;
        let later = now + self.config.reconnect_delay_max;
        self.resubscribe_at.get_or_insert(later);
        self.want_slots(now);
        self.go_down(error);
    }

    /// The broker has ended a subscription without being asked: its slot has moved.
    pub(super) fn subscription_taken(&mut self, now: Time, at: usize, key: &Key) {
        let Some(channel) = self.channels.map.get_mut(key).filter(|channel| channel.at == Some(at)) else {
            return;
        };
        if channel.in_flight > 0 || !channel.asked {
            return;
        }
        channel.asked = false;
        let (is_wanted, may_follow) = (channel.wanted, channel.redirects < self.config.max_redirects);
        self.channels.confirm(key, false);
        self.want_slots(now);
        if is_wanted {
            self.go_down(BrokerError::Closed);
            if let Some(channel) = self.channels.map.get_mut(key) {
                channel.redirects = channel.redirects.saturating_add(1);
            }
            match may_follow {
                // The same server knows best who hears it now.
                true => {
                    self.list(key);
                }
                false => {
                    let later = now + self.config.reconnect_delay_max;
                    self.resubscribe_at.get_or_insert(later);
                }
            }
        }
        self.channels.tidy(key);
    }

    /// Looks at all channels whose subscription is not what it should be.
    pub(super) fn resubscribe(&mut self, now: Time) {
        self.assign_channels(now);
        let open = |channel: &super::channels::Channel| channel.wanted && !channel.asked;
        let keys = self.channels.map.iter().filter(|(_, channel)| open(channel));
        let keys: alloc::vec::Vec<Key> = keys.map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(channel) = self.channels.map.get_mut(&key) {
                channel.redirects = 0;
            }
            self.list(&key);
        }
        for at in 0..self.connections.len() {
            self.subscribe_changed(now, at);
        }
    }

    /// Gives all channels of sharded pub/sub to the connections of the masters that own them now.
    pub(super) fn assign_channels(&mut self, now: Time) {
        let keys = self.channels.map.keys().filter(|key| key.1);
        let keys: alloc::vec::Vec<Key> = keys.cloned().collect();
        for key in keys {
            self.assign(now, &key);
        }
        for at in 0..self.connections.len() {
            self.subscribe_changed(now, at);
        }
    }

    /// Gives a channel to the connection that has to hear it now.
    fn assign(&mut self, now: Time, key: &Key) {
        let to = self.hearer(now, key);
        let Some(channel) = self.channels.map.get_mut(key) else {
            return;
        };
        let from = channel.at;
        if from == to {
            return;
        }
        let was_asked = core::mem::take(&mut channel.asked);
        channel.at = to;
        channel.in_flight = 0;
        channel.is_listed = false;
        self.channels.confirm(key, false);
        // The connection that has heard it hears it no more, or messages would come twice.
        if was_asked
            && let Some(from) = from
            && let Some(Some(old)) = self.connections.get_mut(from)
            && old.is_ready()
        {
            old.ask(now, &[b"SUNSUBSCRIBE", &key.0], Expect::Leave(key.0.clone()));
        }
        self.list(key);
        self.channels.tidy(key);
    }

    /// Something came on a channel.
    pub(super) fn heard(&mut self, now: Time, at: usize, channel: Bytes, payload: Bytes, sharded: bool) {
        let next = now + self.config.probe_interval;
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        if connection.role == Role::Sentinel {
            if &channel[..] == b"+switch-master" {
                self.master_switched(now, &payload);
            }
            return;
        }
        if !sharded && channel == connection.probe_channel {
            if let Probe::Asked { .. } | Probe::Sent { .. } = connection.probe {
                self.counters.probe_round_trip = now.saturating_since(connection.probed_at);
            }
            if connection.probe != Probe::Off {
                connection.probe = Probe::Hears { next };
            }
            return;
        }
        // What nobody wants any more may still be on its way.
        let key = (channel, sharded);
        if !self
            .channels
            .map
            .get(&key)
            .is_some_and(|channel| channel.wanted && channel.at == Some(at))
        {
            return;
        }
        self.counters.heard += 1;
        self.counters.heard_bytes += payload.len() as u64;
        let (channel, sharded) = key;
        self.tell(Event::Message {
            channel,
            payload,
            sharded,
        });
    }
}
