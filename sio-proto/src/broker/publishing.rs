//! What goes to the broker: which connection it takes, and how it waits for it.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use bytes::Bytes;

use super::cluster::{Redirect, SlotMap};
use super::config::Address;
use super::connection::{Connection, Expect, Kept, Role, Waiting, What};
use super::error::BrokerError;
use super::machine::{Broker, MAIN};
use crate::Time;
use crate::resp::{Value, slot};

/// What a message costs besides its bytes while it waits.
const OVERHEAD: usize = 96;

impl Broker {
    pub(super) fn publish(&mut self, now: Time, channel: Bytes, payload: Bytes, sharded: bool) {
        let weight = weight(&channel, &payload);
        if !self.has_room(weight) {
            self.counters.dropped_full += 1;
            return;
        }
        if self.write_now(now, &channel, &payload, sharded) {
            return;
        }
        self.held_bytes += weight;
        let what = What::Publish {
            channel,
            payload,
            sharded,
            redirects: 0,
            asking: false,
            batch: self.batches.open(),
        };
        let until = now + self.config.max_waiting_age;
        let number = self.number();
        self.route(
            now,
            Waiting {
                number,
                until,
                weight,
                what,
            },
        );
    }

    /// Writes a message if nothing waits before it. Returns false if it has to wait, or if it is
    /// kept until its slot has been found.
    fn write_now(&mut self, now: Time, channel: &Bytes, payload: &Bytes, sharded: bool) -> bool {
        if sharded && (!self.is_discovered || self.cluster.is_some()) {
            return false;
        }
        let Some(Some(connection)) = self.connections.get_mut(MAIN) else {
            return false;
        };
        if !connection.queue.is_empty() || !connection.has_room() {
            return false;
        }
        self.counters.published += 1;
        self.counters.published_bytes += payload.len() as u64;
        let expect = Expect::Publish(self.batches.open());
        connection.publish(now, name(sharded), channel, payload, expect);
        true
    }

    /// Brings something to its connection, if this is known.
    fn route(&mut self, now: Time, waiting: Waiting) {
        let to = match &waiting.what {
            What::Part { request, .. } => return self.dispatch(now, *request),
            What::Publish { sharded: false, .. } => Some(MAIN),
            What::Publish { .. } if !self.is_discovered => None,
            // What was written before it is written again first.
            What::Publish { channel, .. } if self.is_moving(channel) => None,
            What::Publish { channel, .. } => match &self.cluster {
                None => Some(MAIN),
                // If the owner is not known, any server tells it.
                Some(cluster) => match cluster.owner(channel).cloned() {
                    Some(owner) => self.node(now, Role::Node, &owner),
                    None => Some(MAIN),
                },
            },
        };
        match to {
            Some(at) => self.submit(now, at, waiting),
            None => self.unroute(waiting),
        }
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Keeps something until its connection is known.
    pub(super) fn unroute(&mut self, waiting: Waiting) {
        self.unrouted.push_back(waiting);
    }

    /// Looks again where everything belongs that had no connection.
    pub(super) fn route_again(&mut self, now: Time) {
        let mut unrouted = core::mem::take(&mut self.unrouted);
        // What was refused, or was taken out of a queue, stands behind later messages.
        unrouted.make_contiguous().sort_by_key(|waiting| waiting.number);
        for waiting in unrouted {
            self.route(now, waiting);
        }
    }

    /// Writes something, or lets it wait for its connection. What is late by now is dropped.
    pub(super) fn submit(&mut self, now: Time, at: usize, waiting: Waiting) {
        if waiting.until < now {
            return self.drop_late(&waiting);
        }
        let Some(connection) = self.connection(at) else {
            return self.unroute(waiting);
        };
        if connection.queue.is_empty() && connection.has_room() {
            self.write(now, at, waiting);
        } else {
            connection.queue.push_back(waiting);
        }
    }

    /// Writes what waits, as much as there is room for.
    pub(super) fn pump(&mut self, now: Time, at: usize) {
        self.subscribe_changed(now, at);
        while let Some(connection) = self.connection(at) {
            if !connection.has_room() {
                return;
            }
            let Some(waiting) = connection.queue.pop_front() else {
                return;
            };
            match waiting.until <= now {
                true => self.drop_late(&waiting),
                false => self.write(now, at, waiting),
            }
        }
    }

    fn write(&mut self, now: Time, at: usize, waiting: Waiting) {
        let (number, until) = (waiting.number, waiting.until);
        let (channel, payload, sharded, redirects, asking, batch) = match waiting.what {
            What::Part { request, asking } => return self.write_request(now, at, request, asking),
            What::Publish {
                channel,
                payload,
                sharded,
                redirects,
                asking,
                batch,
            } => (channel, payload, sharded, redirects, asking, batch),
        };
        let may_move = sharded && self.cluster.is_some();
        let weight = waiting.weight;
        if !may_move {
            self.held_bytes -= weight;
        }
        self.counters.published += 1;
        self.counters.published_bytes += payload.len() as u64;
        let Some(connection) = self.connection(at) else { return };
        if asking {
            connection.ask(now, &[b"ASKING"], Expect::Skip);
        }
        let kept = may_move.then(|| Kept {
            number,
            channel: channel.clone(),
            payload: payload.clone(),
            redirects,
            weight,
            until,
            batch,
        });
        connection.sharded.written += u64::from(kept.is_some());
        let expect = kept.map_or(Expect::Publish(batch), Expect::Sharded);
        connection.publish(now, name(sharded), &channel, &payload, expect);
    }

    /// The broker has answered a message that was not kept.
    pub(super) fn published(&mut self, now: Time, at: usize, batch: u64, reply: &Value) {
        self.settled(batch);
        if let Value::Error(text) = reply {
            self.counters.refused += 1;
            if let Some(redirect) = self.redirect(at, text) {
                self.follow(now, redirect);
            }
        }
    }

    /// A master of a cluster has answered a message.
    pub(super) fn sharded_published(&mut self, now: Time, at: usize, kept: Kept, reply: &Value) {
        let redirect = match reply {
            Value::Error(text) => self.redirect(at, text),
            _ => None,
        };
        if let Some(connection) = self.connection(at) {
            connection.sharded.answered += 1;
        }
        if let Some(Redirect::Moved(slot, _)) = &redirect {
            self.slot_moves(*slot, at);
        }
        let is_moved = matches!(redirect, Some(Redirect::Moved(..)));
        let may_follow = kept.redirects < self.config.max_redirects && kept.until > now;
        match redirect.filter(|_| may_follow) {
            Some(redirect) => {
                let what = What::Publish {
                    channel: kept.channel,
                    payload: kept.payload,
                    sharded: true,
                    redirects: kept.redirects + 1,
                    asking: !is_moved,
                    batch: kept.batch,
                };
                let waiting = Waiting {
                    number: kept.number,
                    until: kept.until,
                    weight: kept.weight,
                    what,
                };
                // It was counted, and is counted again when it is written again.
                self.counters.published -= 1;
                match self.follow(now, redirect).filter(|_| !is_moved) {
                    Some(at) => self.submit(now, at, waiting),
                    // They go to the owner in their order when this master has answered all.
                    None => self.unroute(waiting),
                }
            }
            None => {
                self.held_bytes -= kept.weight;
                self.published(now, at, kept.batch, reply);
            }
        }
        let sharded = self.connection(at).map(|connection| connection.sharded);
        if sharded.is_some_and(|sharded| sharded.moved > 0 && sharded.answered >= sharded.moved) {
            self.has_answered_all(at);
        }
    }

    /// Whether messages of this channel's slot are on their way to a master that does not own it
    /// any more.
    fn is_moving(&self, channel: &[u8]) -> bool {
        is_moving(&self.moving, slot(channel))
    }

    /// A master does not own a slot any more. Other messages of the slot may be under way to it:
    /// all others wait for their answers. Those that wait for the connection are taken out of its
    /// queue behind the bytes that are being read, for all slots at once: with one search for each
    /// slot, the work would be the product of the slots and of what waits.
    fn slot_moves(&mut self, moved: u16, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        if self.moving.insert((moved, at)) {
            connection.sharded.moved = connection.sharded.written;
            connection.sharded.queue_moves = true;
            self.queues_move = true;
        }
    }

    /// Somebody has learned who owns a slot. Messages of the slot may be under way to the master
    /// that was taken for the owner.
    fn owner_changes(&mut self, slot: u16, to: &Address) {
        let before = self.cluster.as_ref().and_then(|cluster| cluster.owner_of(slot));
        let at = match before {
            Some(before) if before == to => None,
            Some(before) => {
                let is_it = |known: &Connection| known.role == Role::Node && known.address == *before;
                self.each().find(|(_, known)| is_it(known)).map(|(at, _)| at)
            }
            None => Some(MAIN),
        };
        if let Some(at) = at
            && let Some(Some(connection)) = self.connections.get(at)
            && connection.has_sharded()
        {
            self.slot_moves(slot, at);
        }
    }

    /// Takes out of the queues of all connections what belongs to slots that have moved.
    pub(super) fn take_all_moving(&mut self) {
        if !core::mem::take(&mut self.queues_move) {
            return;
        }
        for at in 0..self.connections.len() {
            let sharded = self.connection(at).map(|connection| connection.sharded);
            let Some(sharded) = sharded.filter(|sharded| sharded.queue_moves) else {
                continue;
            };
            match sharded.answered >= sharded.moved {
                // They have all waited in the queue.
                true => self.has_answered_all(at),
                false => self.take_moving(at),
            }
        }
    }

    /// Takes out of the queue of a connection what belongs to slots that have moved.
    pub(super) fn take_moving(&mut self, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        if core::mem::take(&mut connection.sharded.queue_moves) {
            let moving = &self.moving;
            self.unrouted
                .extend(connection.take_waiting(|channel| is_moving(moving, slot(channel))));
        }
    }

    /// A master has answered all messages of the slots that it does not own any more, or its
    /// connection has ended: those behind them may go to their owners.
    pub(super) fn has_answered_all(&mut self, at: usize) {
        self.take_moving(at);
        if let Some(connection) = self.connection(at) {
            connection.sharded.moved = 0;
        }
        let before = self.moving.len();
        self.moving.retain(|(_, from)| *from != at);
        self.routes_again |= self.moving.len() < before;
    }

    /// Routes again what has waited for slots that move, if some have moved.
    pub(super) fn route_moved(&mut self, now: Time) {
        if core::mem::take(&mut self.routes_again) && !self.is_stopped() {
            self.route_again(now);
        }
    }

    /// The slots of the cluster are others: what is on its way to a master that does not own its
    /// slot any more goes first. The caller routes again what has no connection.
    pub(super) fn slots_moved(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        for (at, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            let address = connection.address.clone();
            let is_elsewhere = |channel: &[u8]| cluster.owner(channel).is_some_and(|owner| *owner != address);
            for expect in &connection.expects {
                if let Expect::Sharded(Kept { channel, .. }) = expect
                    && is_elsewhere(channel)
                {
                    self.moving.insert((slot(channel), at));
                    connection.sharded.moved = connection.sharded.written;
                }
            }
            self.unrouted.extend(connection.take_waiting(is_elsewhere));
        }
    }

    /// Reads a redirection.
    pub(super) fn redirect(&self, at: usize, error: &[u8]) -> Option<Redirect> {
        Redirect::read(error, &self.connections[at].as_ref()?.address)
    }

    /// Returns the connection to which a redirection leads.
    pub(super) fn follow(&mut self, now: Time, redirect: Redirect) -> Option<usize> {
        self.counters.redirects += 1;
        let address = match redirect {
            Redirect::Moved(slot, address) => {
                self.learn_owner(now, slot, &address);
                address
            }
            Redirect::Ask(address) => address,
        };
        self.node(now, Role::Node, &address)
    }

    /// Takes over what a server has said about one slot.
    pub(super) fn learn_owner(&mut self, now: Time, slot: u16, owner: &Address) {
        self.owner_changes(slot, owner);
        // A user that may not ask for the slots learns of the cluster here.
        let cluster = self.cluster.get_or_insert_with(SlotMap::unknown);
        let before = cluster.masters().len();
        cluster.correct(slot, owner.clone(), self.config.max_nodes);
        // Where the slots may not be asked for, nobody is subscribed at the masters that
        // redirections name, and whoever counts subscribers has to stay at the first one.
        if cluster.is_whole && cluster.masters().len() != before {
            self.topology = self.topology.wrapping_add(1);
        }
        self.want_slots(now);
    }

    /// Since when the oldest message, request or answer waits ([`Counters::waiting_since`]).
    ///
    /// [`Counters::waiting_since`]: super::Counters::waiting_since
    pub(super) fn waiting_since(&self) -> Option<Time> {
        let before = |until: Time, age: Duration| {
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            Time::from_micros(until.as_micros().saturating_sub(age))
        };
        let begun = |until: Time| before(until, self.config.max_waiting_age);
        // Messages wait equally long, so the first one of a queue is its oldest.
        let first = |queue: &VecDeque<Waiting>| {
            let mut messages = queue
                .iter()
                .filter(|waiting| matches!(waiting.what, What::Publish { .. }));
            messages.next().map(|waiting| begun(waiting.until))
        };
        let connections = self.each().map(|(_, connection)| {
            let answer = connection.asked_at.filter(|_| !connection.waits_for_entries());
            first(&connection.queue).into_iter().chain(answer).min()
        });
        // Requests, too, wherever they are. Those of a queue may have been answered.
        let request = self.requests.next_timeout();
        let request = request.map(|until| before(until, self.config.request_timeout));
        connections.flatten().chain(first(&self.unrouted)).chain(request).min()
    }

    /// Drops what has waited for too long.
    pub(super) fn drop_all_late(&mut self, now: Time) {
        for at in 0..self.connections.len() {
            while let Some(connection) = self.connection(at)
                && let Some(waiting) = pop_late(now, &mut connection.queue)
            {
                self.drop_late(&waiting);
            }
        }
        while let Some(waiting) = pop_late(now, &mut self.unrouted) {
            self.drop_late(&waiting);
        }
    }

    fn drop_late(&mut self, waiting: &Waiting) {
        match waiting.what {
            What::Publish { batch, .. } => {
                self.held_bytes -= waiting.weight;
                self.counters.dropped_late += 1;
                self.settled(batch);
            }
            What::Part { request, .. } => self.fail_request(request, BrokerError::TimedOut),
        }
    }
}

/// The name of the command.
const fn name(sharded: bool) -> &'static [u8] {
    if sharded { b"SPUBLISH" } else { b"PUBLISH" }
}

/// Whether a slot moves, away from whatever connection.
fn is_moving(moving: &BTreeSet<(u16, usize)>, slot: u16) -> bool {
    moving.range((slot, 0)..=(slot, usize::MAX)).next().is_some()
}

/// What a message counts for in the waiting bytes.
pub(super) const fn weight(channel: &Bytes, payload: &Bytes) -> usize {
    channel.len() + payload.len() + OVERHEAD
}

/// Takes the first one off a queue if it has waited for too long.
fn pop_late(now: Time, queue: &mut VecDeque<Waiting>) -> Option<Waiting> {
    match queue.front() {
        Some(waiting) if waiting.until <= now => queue.pop_front(),
        _ => None,
    }
}
