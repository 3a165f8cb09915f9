//! The time: attempts, deadlines, and whether the broker is there and heard.

use super::connection::{Connection, Expect, Probe, Role, Stage};
use super::error::BrokerError;
use super::machine::{Broker, MAIN};
use crate::resp::Value;
use crate::{LinkId, Time};

impl Broker {
    /// When [`Broker::handle_timeout`] has to be called; `None` if it need not be.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        if self.is_stopped() {
            return None;
        }
        let mut next = None;
        let mut wants = |time: Option<Time>| {
            if let Some(time) = time
                && next.is_none_or(|known| time < known)
            {
                next = Some(time);
            }
        };
        for (at, connection) in self.each() {
            match connection.stage {
                Stage::Idle { retry_at } => wants(self.destination(at).map(|_| retry_at)),
                Stage::Dialing { until } | Stage::Greeting { until } => wants(Some(until)),
                Stage::Ready { .. } if connection.expects.is_empty() => wants(connection.ping_at(&self.config)),
                Stage::Ready { .. } => wants(self.late_at(connection)),
            }
            match connection.probe {
                Probe::Hears { next: time } | Probe::Sent { until: time } => wants(Some(time)),
                Probe::Off | Probe::Asked { .. } => {}
            }
            wants(connection.queue.front().map(|waiting| waiting.until));
        }
        wants(self.requests.next_timeout());
        wants(self.batches.next_timeout());
        wants(self.unrouted.front().map(|waiting| waiting.until));
        wants(self.resubscribe_at);
        if self.slots_wanted.is_some() && self.connections[MAIN].as_ref().is_some_and(|main| main.has_room()) {
            wants(self.slots_wanted);
        }
        next
    }

    /// The time has come: attempts are made, and what is late ends.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.is_stopped() {
            return;
        }
        self.may_write = true;
        for at in 0..self.connections.len() {
            self.watch(now, at);
        }
        self.end_late_requests(now);
        self.drop_all_late(now);
        self.end_late_flushes(now);
        if self.resubscribe_at.is_some_and(|at| at <= now) {
            self.resubscribe_at = None;
            self.resubscribe(now);
        }
        if self.slots_wanted.is_some_and(|at| at <= now)
            && let Some(main) = self.connection(MAIN)
            && main.has_room()
        {
            main.ask(now, &[b"CLUSTER", b"SLOTS"], Expect::Slots);
            self.slots_wanted = None;
        }
        self.dial_due(now);
        self.settle();
    }

    /// Says whether entries of streams are not to be taken now. While they are not, do not read the
    /// connections for which [`Broker::is_held`] is true: what they bring waits in the broker,
    /// which is not late meanwhile. Everything else goes on.
    pub fn hold_streams(&mut self, now: Time, holds: bool) {
        if self.holds_streams && !holds {
            let connections = self.connections.iter_mut().flatten();
            let readers = connections.filter(|connection| connection.waits_for_entries());
            readers.for_each(|reader| reader.wait_anew(now));
        }
        self.holds_streams = holds;
    }

    /// Whether a connection is not to be read now ([`Broker::hold_streams`]).
    #[must_use]
    pub fn is_held(&self, link: LinkId) -> bool {
        let connection = self.find(link).and_then(|at| self.connections[at].as_ref());
        self.holds_streams && connection.is_some_and(Connection::waits_for_entries)
    }

    fn late_at(&self, connection: &Connection) -> Option<Time> {
        let is_held = self.holds_streams && connection.waits_for_entries();
        connection.late_at(&self.config).filter(|_| !is_held)
    }

    /// Makes the connections whose time has come.
    pub(super) fn dial_due(&mut self, now: Time) {
        for at in 0..self.connections.len() {
            let stage = self.connections[at].as_ref().map(|connection| connection.stage);
            if let Some(Stage::Idle { retry_at }) = stage
                && retry_at <= now
            {
                self.dial(now, at);
            }
        }
    }

    fn watch(&mut self, now: Time, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        match connection.stage {
            Stage::Dialing { until } | Stage::Greeting { until } if until <= now => {
                return self.lose(now, at, BrokerError::TimedOut);
            }
            Stage::Idle { .. } | Stage::Dialing { .. } | Stage::Greeting { .. } => return,
            Stage::Ready { .. } => {}
        }
        let is_held = self.holds_streams && connection.waits_for_entries();
        if !is_held && connection.late_at(&self.config).is_some_and(|late| late <= now) {
            return self.lose(now, at, BrokerError::TimedOut);
        }
        if connection.ping_at(&self.config).is_some_and(|due| due <= now) {
            connection.ask(now, &[b"PING"], Expect::Ping);
        }
        match connection.probe {
            Probe::Hears { next } if next <= now => self.send_probe(now, at),
            Probe::Sent { until } if until <= now => self.lose(now, at, BrokerError::Deaf),
            Probe::Hears { .. } | Probe::Sent { .. } | Probe::Off | Probe::Asked { .. } => {}
        }
    }

    /// Publishes a message for a subscribing connection, on the way to the same server if there is
    /// one.
    fn send_probe(&mut self, now: Time, of: usize) {
        let next = now + self.config.probe_interval;
        let Some(Some(hearer)) = self.connections.get(of) else {
            return;
        };
        let (channel, generation) = (hearer.probe_channel.clone(), hearer.generation);
        let is_near = |role: &Role| matches!(role, Role::Node | Role::Main);
        let near = self
            .each()
            .find(|(_, other)| is_near(&other.role) && other.address == hearer.address && other.has_room());
        let by = near.map_or(MAIN, |(at, _)| at);
        let mut probe = Probe::Hears { next };
        if let Some(carrier) = self.connection(by)
            && carrier.has_room()
        {
            carrier.ask(now, &[b"PUBLISH", &channel, b"1"], Expect::Probe(of, generation));
            probe = Probe::Asked { by };
        }
        if let Some(hearer) = self.connection(of) {
            hearer.probe = probe;
            hearer.probed_at = now;
        }
    }

    /// The broker has taken the message for a subscribing connection, or has refused it.
    pub(super) fn probe_answered(&mut self, now: Time, by: usize, of: (usize, u32), reply: &Value) {
        let until = now + self.config.probe_timeout;
        let is_cluster = self.cluster.is_some();
        let Some(hearer) = self.connection(of.0) else { return };
        if hearer.generation != of.1 || hearer.probe != (Probe::Asked { by }) {
            return;
        }
        match reply {
            // The broker itself says that nobody subscribes. The other servers of a cluster are not
            // counted.
            Value::Integer(0) if !is_cluster => self.lose(now, of.0, BrokerError::Deaf),
            Value::Integer(_) => hearer.probe = Probe::Sent { until },
            _ => hearer.probe = Probe::Off,
        }
    }
}
