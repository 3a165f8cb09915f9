//! What a server says: answers, in the order of the commands, and what it says without being asked.
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

use alloc::vec::Vec;

use bytes::Bytes;

use super::cluster::Redirect;
use super::connection::{Expect, Probe, Role};
use super::error::{BrokerError, Refusal};
use super::machine::Broker;
use crate::Time;
use crate::resp::{Value, slot};

impl Broker {
    pub(super) fn handle_reply(&mut self, now: Time, at: usize, reply: Value) {
        let Some(connection) = self.connection(at) else { return };
        let subscribes = connection.hears() || connection.role == Role::Sentinel;
        match reply {
            Value::Push(items) => self.handle_push(now, at, items),
            // In RESP 2, they are told apart by their first word.
            Value::List(items) if subscribes && is_unasked(&items) => self.handle_push(now, at, items),
            reply => self.handle_answer(now, at, reply),
        }
    }

    fn handle_push(&mut self, now: Time, at: usize, items: Vec<Value>) {
        let mut items = items.into_iter();
        let (Some(Value::Text(kind)), Some(Value::Text(channel))) = (items.next(), items.next()) else {
            return;
        };
        match (&kind[..], items.next()) {
            (b"message", Some(Value::Text(payload))) => self.heard(now, at, channel, payload, false),
            (b"smessage", Some(Value::Text(payload))) => self.heard(now, at, channel, payload, true),
            (b"subscribe" | b"ssubscribe", _) => self.subscribed(now, at, &channel),
            (b"unsubscribe", _) => self.unsubscribed(now, at, channel, false),
            (b"sunsubscribe", _) => self.unsubscribed(now, at, channel, true),
            // Whatever else a server may say unasked was not asked for.
            _ => {}
        }
    }

    fn subscribed(&mut self, now: Time, at: usize, channel: &Bytes) {
        let next = now + self.config.probe_interval;
        let Some(connection) = self.connection(at) else { return };
        match connection.answered(now) {
            Some(Expect::Subscribe(asked, sharded)) if asked == *channel => {
                self.subscription_answered(at, &(asked, sharded));
            }
            Some(Expect::ProbeSubscribe) if *channel == connection.probe_channel => {
                connection.probe = Probe::Hears { next };
            }
            Some(Expect::Watch) => {}
            _ => self.lose(now, at, BrokerError::unexpected()),
        }
    }

    fn unsubscribed(&mut self, now: Time, at: usize, channel: Bytes, sharded: bool) {
        let Some(connection) = self.connection(at) else { return };
        let is_asked = match connection.expects.front() {
            // A channel of sharded pub/sub and one that is not may have the same name.
            Some(Expect::Unsubscribe(asked, kind)) => *asked == channel && *kind == sharded,
            Some(Expect::Leave(asked)) => *asked == channel && sharded,
            _ => false,
        };
        if !is_asked {
            return self.subscription_taken(now, at, &(channel, sharded));
        }
        let answered = connection.take_expected(now);
        if sharded {
            connection.has_ended(slot(&channel));
        }
        if let Some(Expect::Unsubscribe(asked, sharded)) = answered {
            self.subscription_answered(at, &(asked, sharded));
        }
    }

    /// Takes what an answer belongs to. `None` if it belongs to the command that leaves a channel
    /// which the server had ended before
    /// ([`Connection::has_ended`](super::connection::Connection::has_ended)).
    ///
    /// All commands about channels of a slot that has moved have the same answer. So the first of
    /// these answers goes to the first command that is still expected, and the one that is left
    /// over belongs to no command any more.
    fn expectation(&mut self, now: Time, at: usize, reply: &Value) -> Option<Option<Expect>> {
        let may_be_of_ended = self.connection(at)?.has_any_ended();
        let moved = match reply {
            Value::Error(text) if may_be_of_ended => self.redirect(at, text),
            _ => None,
        };
        let connection = self.connection(at)?;
        match moved {
            Some(Redirect::Moved(slot, _)) if connection.expects_channel_of(slot) => {
                Some(connection.take_expected(now))
            }
            Some(Redirect::Moved(slot, _)) if connection.is_of_ended(slot) => None,
            _ => Some(connection.answered(now)),
        }
    }

    fn handle_answer(&mut self, now: Time, at: usize, reply: Value) {
        let Some(expect) = self.expectation(now, at, &reply) else {
            return;
        };
        let Some(expect) = expect else {
            return self.lose(now, at, BrokerError::unexpected());
        };
        if let Value::Error(text) = &reply {
            let error = BrokerError::refused(text);
            let ends = matches!(
                expect,
                Expect::Ping | Expect::ProbeSubscribe | Expect::Watch | Expect::Unsubscribe(..) | Expect::Leave(_)
            );
            if ends && Self::is_fatal(&error) {
                return self.lose(now, at, error);
            }
        }
        match (expect, reply) {
            (Expect::Step(step), reply) => self.step_answered(now, at, step, &reply),
            (Expect::Publish(batch), reply) => self.published(now, at, batch, &reply),
            (Expect::Sharded(kept), reply) => self.sharded_published(now, at, kept, &reply),
            (Expect::Part(request), reply) => self.request_answered(now, at, request, reply),
            (Expect::Queued(request), reply) => self.request_queued(request, &reply),
            (Expect::Slots, reply) => {
                if !self.learn_slots(now, at, &reply) {
                    self.lose(now, at, BrokerError::unexpected());
                }
            }
            (Expect::Subscribe(channel, sharded), Value::Error(text)) => {
                self.subscription_refused(now, at, &(channel, sharded), &text);
            }
            (Expect::Unsubscribe(channel, sharded), Value::Error(_)) => {
                self.subscription_answered(at, &(channel, sharded));
            }
            (Expect::Probe(of, generation), reply) => self.probe_answered(now, at, (of, generation), &reply),
            (Expect::Clock, reply) => self.clock_answered(now, at, &reply),
            (Expect::LastEntry, reply) => self.stream_answered(now, at, true, reply),
            (Expect::Entries, reply) => self.stream_answered(now, at, false, reply),
            (Expect::Master, reply) => self.master_answered(now, at, &reply),
            // The server has not ended it, so the next connection tries again.
            (Expect::Kill(old), Value::Error(text)) if BrokerError::refused(&text).is_refused_as(Refusal::NotNow) => {
                self.remember_abandoned(old);
            }
            (Expect::Ping | Expect::Skip | Expect::Kill(_), _) => {}
            // A user that may not listen for itself is not watched. The pings are left.
            (Expect::ProbeSubscribe | Expect::Watch | Expect::Leave(_), Value::Error(_)) => {}
            (
                Expect::Subscribe(..)
                | Expect::Unsubscribe(..)
                | Expect::Leave(_)
                | Expect::ProbeSubscribe
                | Expect::Watch,
                _,
            ) => self.lose(now, at, BrokerError::unexpected()),
        }
    }
}

/// Whether a list is something that a server says unasked.
fn is_unasked(items: &[Value]) -> bool {
    let kinds: [&[u8]; 6] = [
        b"message",
        b"smessage",
        b"subscribe",
        b"ssubscribe",
        b"unsubscribe",
        b"sunsubscribe",
    ];
    let first = items.first().and_then(Value::text);
    first.is_some_and(|first| kinds.contains(&&first[..]))
}
