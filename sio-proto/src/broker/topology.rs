//! Which servers the broker has, and which connection leads where.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use core::str;

use super::cluster::SlotMap;
use super::config::Address;
use super::connection::{Expect, Role, Stage};
use super::error::{BrokerError, Refusal};
use super::machine::{Broker, MAIN, SENTINEL, SUBSCRIBER};
use crate::Time;
use crate::resp::Value;

impl Broker {
    /// Where a connection is to be made; `None` if this is not known yet.
    pub(super) fn destination(&self, at: usize) -> Option<Address> {
        let connection = self.connections.get(at)?.as_ref()?;
        let main = || Some(self.connections.get(MAIN)?.as_ref()?.address.clone());
        match &connection.role {
            Role::Main if self.config.sentinel_master.is_some() => self.master.clone(),
            Role::Main => {
                let masters = self.cluster.as_ref().map_or(&[][..], SlotMap::masters);
                let servers = self.config.servers.iter().chain(masters);
                let count = self.config.servers.len().saturating_add(masters.len());
                servers.cycle().nth(self.server_at.checked_rem(count)?).cloned()
            }
            Role::Sentinel => {
                let servers = &self.config.servers;
                servers.get(self.sentinel_at.checked_rem(servers.len())?).cloned()
            }
            Role::Node | Role::NodeSubscriber => Some(connection.address.clone()),
            // Somebody who only publishes has no such connection.
            Role::Subscriber if self.channels.wanted == 0 && !connection.is_open() => None,
            Role::Subscriber => main().filter(|_| self.is_discovered),
            Role::Reader(stream) => match &self.cluster {
                _ if !self.is_discovered => None,
                Some(cluster) => cluster.owner(stream).cloned().or_else(main),
                None => main(),
            },
        }
    }

    /// The main connection can be used, so it is known what kind of broker it is.
    pub(super) fn main_ready(&mut self, now: Time) {
        self.is_discovered = true;
        self.slots_wanted = None;
        self.move_followers(now);
        self.route_again(now);
        self.dial_due(now);
    }

    /// Ends the connections that belong to another server by now.
    fn move_followers(&mut self, now: Time) {
        for at in SUBSCRIBER..self.connections.len() {
            let Some(Some(connection)) = self.connections.get(at) else {
                continue;
            };
            let follows = match connection.role {
                Role::Subscriber => self.cluster.is_none(),
                Role::Reader(_) => true,
                Role::Main | Role::Node | Role::NodeSubscriber | Role::Sentinel => false,
            };
            let is_elsewhere = self.destination(at).as_ref() != Some(&connection.address);
            if follows && connection.is_open() && is_elsewhere {
                self.lose(now, at, BrokerError::Closed);
                self.retry_now(now, at);
            }
        }
    }

    pub(super) fn retry_now(&mut self, now: Time, at: usize) {
        if let Some(connection) = self.connection(at)
            && let Stage::Idle { retry_at } = &mut connection.stage
        {
            *retry_at = now;
        }
    }

    /// The main connection has ended: another server may be the better one.
    pub(super) fn main_lost(&mut self, now: Time, was_ready: bool) {
        match self.config.sentinel_master.is_some() {
            true => self.ask_sentinel(now),
            // A server that has worked is tried once more where there is no cluster.
            false if was_ready && self.cluster.is_none() => {}
            false => self.server_at = self.server_at.wrapping_add(1),
        }
    }

    /// A server says that it is no master.
    pub(super) fn suspect_master(&mut self, now: Time, at: usize) {
        if self.cluster.is_some() {
            return self.want_slots(now);
        }
        if at == MAIN && (self.config.sentinel_master.is_some() || self.config.servers.len() > 1) {
            self.server_at = self.server_at.wrapping_add(1);
            let text = "READONLY this server is not a master";
            self.lose(now, MAIN, BrokerError::refused(text.as_bytes()));
        }
    }

    /// The slots of the cluster are asked for soon.
    pub(super) fn want_slots(&mut self, now: Time) {
        if self.cluster.is_some() && !self.is_stopped() {
            let at = now + self.config.reconnect_delay;
            self.slots_wanted.get_or_insert(at);
        }
    }

    /// Takes over the answer to `CLUSTER SLOTS`. Returns false if it cannot be read.
    pub(super) fn learn_slots(&mut self, now: Time, at: usize, reply: &Value) -> bool {
        let Some(from) = self.connection(at).map(|known| known.address.clone()) else {
            return true;
        };
        let is_master_gone = self.each().any(|(_, known)| known.has_lost_its_master());
        let cluster = match reply {
            // What is known stays where the server does not say more: the user may not ask, the
            // command has another name, or the answers to other commands have told of the cluster.
            // If a master does not come back, all of it is learned again, because nothing else
            // would tell who has its slots now.
            Value::Error(text) if BrokerError::refused(text).is_refused_as(Refusal::NotNow) => {
                self.want_slots(now);
                self.route_again(now);
                return true;
            }
            Value::Error(text) if !is_no_cluster(text) && !is_master_gone => {
                self.slots_moved();
                self.is_discovered = true;
                self.topology_changed(now);
                return true;
            }
            Value::Error(_) => None,
            reply => match SlotMap::read(reply, &from, self.config.max_nodes) {
                Some(map) => Some(map),
                None => return false,
            },
        };
        if cluster.as_ref().map(SlotMap::masters) != self.cluster.as_ref().map(SlotMap::masters) {
            self.topology = self.topology.wrapping_add(1);
        }
        self.cluster = cluster;
        self.slots_moved();
        self.is_discovered = true;
        self.topology_changed(now);
        true
    }

    /// Other servers are there: what belongs to them goes there.
    pub(super) fn topology_changed(&mut self, now: Time) {
        for at in SUBSCRIBER..self.connections.len() {
            let Some(Some(connection)) = self.connections.get(at) else {
                continue;
            };
            let masters = self.cluster.as_ref().map_or(&[][..], SlotMap::masters);
            let of_a_master = matches!(connection.role, Role::Node | Role::NodeSubscriber);
            if of_a_master && !masters.contains(&connection.address) {
                self.remove(now, at);
            }
        }
        self.move_followers(now);
        self.assign_channels(now);
        self.route_again(now);
        self.dial_due(now);
    }

    /// Gives up a connection for ever.
    pub(super) fn remove(&mut self, now: Time, at: usize) {
        if self.connection(at).is_some_and(|connection| connection.is_open()) {
            self.lose(now, at, BrokerError::Closed);
        }
        let removed = self.connections.get_mut(at).and_then(Option::take);
        for waiting in removed.into_iter().flat_map(|connection| connection.queue) {
            self.unroute(waiting);
        }
    }

    /// The connection for publishing to a master, or for hearing from it.
    pub(super) fn node(&mut self, now: Time, role: Role, address: &Address) -> Option<usize> {
        let known = self
            .each()
            .find(|(_, known)| known.role == role && known.address == *address);
        if let Some((at, _)) = known {
            return Some(at);
        }
        let same = self.each().filter(|(_, known)| known.role == role).count();
        if same >= self.config.max_nodes {
            return None;
        }
        let at = self.add(now, role, address.clone());
        self.dial(now, at);
        Some(at)
    }

    /// Asks the sentinel again who the master is.
    pub(super) fn ask_sentinel(&mut self, now: Time) {
        let Some(Some(sentinel)) = self.connections.get(SENTINEL) else {
            return;
        };
        match (sentinel.is_ready(), sentinel.speaks_resp3) {
            (true, true) => self.ask_for_master(now, SENTINEL),
            // It subscribes, so it takes no more questions.
            (true, false) => {
                self.lose(now, SENTINEL, BrokerError::Closed);
                self.retry_now(now, SENTINEL);
            }
            (false, _) => {}
        }
    }

    pub(super) fn ask_for_master(&mut self, now: Time, at: usize) {
        let Some(name) = self.config.sentinel_master.clone() else {
            return;
        };
        if let Some(connection) = self.connection(at) {
            let parts: &[&[u8]] = &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()];
            connection.ask(now, parts, Expect::Master);
        }
    }

    /// A sentinel has said who the master is.
    pub(super) fn master_answered(&mut self, now: Time, at: usize, reply: &Value) {
        if let Value::Error(text) = reply {
            return self.lose(now, at, BrokerError::refused(text));
        }
        let told = match reply.items() {
            Some([host, port]) => address(host, port),
            _ => None,
        };
        let Some(master) = told else {
            return self.lose(now, at, BrokerError::NoMaster);
        };
        if let Some(connection) = self.connection(at) {
            connection.ask(now, &[b"SUBSCRIBE", b"+switch-master"], Expect::Watch);
        }
        self.set_master(now, master);
    }

    /// A sentinel tells of a new master: `name old-host old-port new-host new-port`.
    pub(super) fn master_switched(&mut self, now: Time, payload: &[u8]) {
        let Ok(text) = str::from_utf8(payload) else { return };
        let mut words = text.split(' ');
        if words.next() != self.config.sentinel_master.as_deref() {
            return;
        }
        if let (Some(host), Some(Ok(port))) = (words.nth(2), words.next().map(str::parse)) {
            let host = host.into();
            self.set_master(now, Address { host, port });
        }
    }

    fn set_master(&mut self, now: Time, master: Address) {
        if self.master.as_ref() == Some(&master) {
            return self.dial_due(now);
        }
        self.master = Some(master);
        if self.connection(MAIN).is_some_and(|main| main.is_open()) {
            self.lose(now, MAIN, BrokerError::Closed);
        }
        self.retry_now(now, MAIN);
        self.dial_due(now);
    }
}

/// Whether a server says that it belongs to no cluster.
fn is_no_cluster(error: &[u8]) -> bool {
    memchr::memmem::find(error, b"cluster support disabled").is_some()
}

fn address(host: &Value, port: &Value) -> Option<Address> {
    let host = str::from_utf8(host.text()?).ok()?;
    let port = str::from_utf8(port.text()?).ok()?.parse().ok()?;
    let is_one = !host.is_empty() && host.len() <= 255;
    is_one.then(|| Address {
        host: host.into(),
        port,
    })
}
