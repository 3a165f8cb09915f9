//! Requests: each is answered exactly once.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::answers::answer;
use super::cluster::Redirect;
use super::command::{Answer, Event, Request};
use super::connection::{Expect, Role, Waiting, What};
use super::error::{BrokerError, Refusal};
use super::machine::{Broker, MAIN};
use crate::Time;
use crate::resp::Value;

/// What a request costs besides its bytes.
const OVERHEAD: usize = 256;

#[derive(Debug)]
struct Pending {
    tag: u64,
    until: Time,
    request: Request,
    weight: usize,
    /// How many servers have not answered.
    parts: usize,
    sum: u64,
    /// [`Broker::topology`] when it was brought to its servers.
    topology: u64,
    redirects: u8,
    /// Why the transaction will not be done.
    error: Option<Bytes>,
    /// [`Broker::refused_entries`] when it was taken over: later ones stand behind it.
    refused_entries: u64,
    /// Whether it counts in [`Broker::in_order`].
    is_counted: bool,
}

/// The requests that are not answered, in their order.
#[derive(Debug, Default)]
pub(super) struct Requests {
    map: BTreeMap<u64, Pending>,
    next: u64,
}

impl Requests {
    /// The next deadline. All requests wait for the same time, so it is that of the oldest one.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.map.first_key_value().map(|(_, pending)| pending.until)
    }

    /// The number of the next request. All that were asked before have lower numbers.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether a request with a lower number is not answered.
    pub(super) fn has_before(&self, number: u64) -> bool {
        self.map.first_key_value().is_some_and(|(first, _)| *first < number)
    }
}

impl Broker {
    pub(super) fn request(&mut self, now: Time, tag: u64, request: Request) {
        self.counters.requests += 1;
        let weight = weight(&request);
        if !self.has_room(weight) {
            self.counters.failed_requests += 1;
            let is_entry = u64::from(matches!(request, Request::AddEntry { .. }));
            self.failed_entries += is_entry;
            self.refused_entries += is_entry;
            let answer = Err(BrokerError::Full);
            return self.tell(Event::Answer { tag, answer });
        }
        self.held_bytes += weight;
        let id = self.requests.next;
        self.requests.next += 1;
        let pending = Pending {
            tag,
            until: now + self.config.request_timeout,
            request,
            weight,
            parts: 0,
            sum: 0,
            topology: 0,
            redirects: 0,
            error: None,
            refused_entries: self.refused_entries,
            is_counted: false,
        };
        self.requests.map.insert(id, pending);
        self.dispatch(now, id);
    }

    /// Brings a request to the servers that can answer it.
    pub(super) fn dispatch(&mut self, now: Time, id: u64) {
        let Some(pending) = self.requests.map.get(&id) else {
            return;
        };
        if !self.is_discovered {
            let what = What::Part {
                request: id,
                asking: false,
            };
            let until = pending.until;
            let number = self.number();
            return self.unroute(Waiting {
                number,
                until,
                weight: 0,
                what,
            });
        }
        let masters: Vec<_> = match (&self.cluster, &pending.request) {
            (None, _) => Vec::new(),
            (Some(cluster), Request::Subscribers { .. }) => cluster.masters().to_vec(),
            (Some(cluster), request) => cluster.owner(key(request)).cloned().into_iter().collect(),
        };
        let until = pending.until;
        let mut parts = Vec::new();
        for master in masters {
            match self.node(now, Role::Node, &master) {
                Some(at) => parts.push(at),
                None => return self.fail_request(id, BrokerError::unexpected()),
            }
        }
        // If no owner is known, any server answers or tells it.
        if parts.is_empty() {
            parts.push(MAIN);
        }
        if let Some(pending) = self.requests.map.get_mut(&id) {
            (pending.parts, pending.sum) = (parts.len(), 0);
            pending.topology = self.topology;
        }
        if let [at] = &parts[..]
            && !self.keeps_order(id, *at)
        {
            return self.fail_unordered(id);
        }
        for at in parts {
            let what = What::Part {
                request: id,
                asking: false,
            };
            let number = self.number();
            self.submit(
                now,
                at,
                Waiting {
                    number,
                    until,
                    weight: 0,
                    what,
                },
            );
        }
    }

    pub(super) fn write_request(&mut self, now: Time, at: usize, id: u64, asking: bool) {
        // Who is not there any more was answered already.
        let Some(pending) = self.requests.map.get(&id) else {
            return;
        };
        let behind = self.refused_entries - pending.refused_entries;
        if known_failures(&pending.request).is_some_and(|known| known + behind != self.failed_entries) {
            return self.fail_unordered(id);
        }
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        if asking {
            connection.ask(now, &[b"ASKING"], Expect::Skip);
        }
        match &pending.request {
            Request::Subscribers { channel, sharded } => {
                let kind: &[u8] = if *sharded { b"SHARDNUMSUB" } else { b"NUMSUB" };
                connection.ask(now, &[b"PUBSUB", kind, channel], Expect::Part(id));
            }
            Request::AddEntry {
                stream,
                max_len,
                fields,
                known_failures: _,
            } => {
                let max_len = max_len.to_string();
                let mut parts: Vec<&[u8]> = alloc::vec![b"XADD", stream];
                if max_len != "0" {
                    parts.extend([&b"MAXLEN"[..], b"~", max_len.as_bytes()]);
                }
                parts.push(b"*");
                parts.extend(fields.iter().flat_map(|(name, value)| [&name[..], value]));
                connection.ask(now, &parts, Expect::Part(id));
            }
            Request::Range {
                stream,
                from,
                to,
                count,
            } => {
                let count = count.to_string();
                let parts: &[&[u8]] = &[b"XRANGE", stream, from, to, b"COUNT", count.as_bytes()];
                connection.ask(now, parts, Expect::Part(id));
            }
            Request::RangeBack { stream, from, count } => {
                let count = count.to_string();
                let parts: &[&[u8]] = &[b"XREVRANGE", stream, from, b"-", b"COUNT", count.as_bytes()];
                connection.ask(now, parts, Expect::Part(id));
            }
            Request::Set {
                key,
                value,
                milliseconds,
                only_if_there,
            } => {
                let milliseconds = milliseconds.to_string();
                let parts: &[&[u8]] = &[b"SET", key, value, b"PX", milliseconds.as_bytes(), b"XX"];
                let parts = parts.get(..5 + usize::from(*only_if_there)).unwrap_or(parts);
                connection.ask(now, parts, Expect::Part(id));
            }
            Request::Delete { key } => connection.ask(now, &[b"DEL", key], Expect::Part(id)),
            Request::Length { stream } => connection.ask(now, &[b"XLEN", stream], Expect::Part(id)),
            Request::Take { key } => {
                connection.ask(now, &[b"MULTI"], Expect::Skip);
                connection.ask(now, &[b"GET", key], Expect::Queued(id));
                connection.ask(now, &[b"DEL", key], Expect::Queued(id));
                connection.ask(now, &[b"EXEC"], Expect::Part(id));
            }
        }
    }

    /// A command of a transaction was queued, or refused.
    pub(super) fn request_queued(&mut self, id: u64, reply: &Value) {
        if let (Value::Error(text), Some(pending)) = (reply, self.requests.map.get_mut(&id)) {
            pending.error.get_or_insert_with(|| text.clone());
        }
    }

    pub(super) fn request_answered(&mut self, now: Time, at: usize, id: u64, reply: Value) {
        let Some(pending) = self.requests.map.get_mut(&id) else {
            return;
        };
        if let Value::Error(text) = reply {
            let text = pending.error.take().unwrap_or(text);
            return self.request_refused(now, at, id, &text);
        }
        if let Request::Subscribers { .. } = pending.request {
            let count = reply
                .items()
                .and_then(|items| u64::try_from(items.get(1)?.integer()?).ok());
            let Some(count) = count else {
                return self.fail_request(id, BrokerError::unexpected());
            };
            pending.sum = pending.sum.saturating_add(count);
            pending.parts = pending.parts.saturating_sub(1);
            if pending.parts > 0 {
                return;
            }
            let sum = pending.sum;
            // A master has come or gone while they were asked: its subscribers may not be in the
            // sum, or twice.
            if pending.topology != self.topology && pending.redirects < self.config.max_redirects {
                pending.redirects += 1;
                return self.dispatch(now, id);
            }
            self.finish_request(id, Ok(Answer::Count(sum)));
            return;
        }
        let answer = answer(&pending.request, reply).ok_or_else(BrokerError::unexpected);
        self.finish_request(id, answer);
    }

    fn request_refused(&mut self, now: Time, at: usize, id: u64, text: &[u8]) {
        let Some(pending) = self.requests.map.get_mut(&id) else {
            return;
        };
        let (until, may_follow) = (pending.until, pending.redirects < self.config.max_redirects);
        if let Some(redirect) = self.redirect(at, text).filter(|_| may_follow)
            && let Some(pending) = self.requests.map.get_mut(&id)
        {
            pending.redirects += 1;
            let asking = matches!(redirect, Redirect::Ask(_));
            let may_be_late = !asking && known_failures(&pending.request).is_some();
            let what = What::Part { request: id, asking };
            if let Some(to) = self.follow(now, redirect)
                && !may_be_late
            {
                self.is_sent_on(id, to);
                let at = to;
                let number = self.number();
                let waiting = Waiting {
                    number,
                    until,
                    weight: 0,
                    what,
                };
                return self.submit(now, at, waiting);
            }
        }
        let error = BrokerError::refused(text);
        if error.is_refused_as(Refusal::ReadOnly) {
            self.suspect_master(now, at);
        }
        self.fail_request(id, error);
    }

    /// Whether an entry may go to this connection: one in order may not if some before it are not
    /// answered and have gone elsewhere.
    fn keeps_order(&mut self, id: u64, at: usize) -> bool {
        let Some(pending) = self.requests.map.get_mut(&id) else {
            return true;
        };
        if known_failures(&pending.request).is_none() {
            return true;
        }
        let (count, place) = self.in_order;
        let others = count - usize::from(pending.is_counted);
        if others > 0 && place != Some(at) {
            return false;
        }
        self.in_order = (others + 1, Some(at));
        pending.is_counted = true;
        true
    }

    /// An entry goes to another master while its slot moves.
    fn is_sent_on(&mut self, id: u64, to: usize) {
        if self.requests.map.get(&id).is_some_and(|pending| pending.is_counted) {
            let (count, _) = self.in_order;
            self.in_order = (count, (count == 1).then_some(to));
        }
    }

    fn fail_unordered(&mut self, id: u64) {
        let failed = self.failed_entries + 1;
        self.fail_request(id, BrokerError::NotInOrder { failed });
    }

    pub(super) fn fail_request(&mut self, id: u64, error: BrokerError) {
        self.finish_request(id, Err(error));
    }

    pub(super) fn fail_all_requests(&mut self, error: &BrokerError) {
        while let Some((id, _)) = self.requests.map.first_key_value() {
            let id = *id;
            self.fail_request(id, error.clone());
        }
    }

    /// Answers the requests whose time is over.
    pub(super) fn end_late_requests(&mut self, now: Time) {
        while let Some((id, pending)) = self.requests.map.first_key_value()
            && pending.until <= now
        {
            let id = *id;
            self.fail_request(id, BrokerError::TimedOut);
        }
    }

    fn finish_request(&mut self, id: u64, answer: Result<Answer, BrokerError>) {
        let Some(pending) = self.requests.map.remove(&id) else {
            return;
        };
        self.held_bytes -= pending.weight;
        self.in_order.0 -= usize::from(pending.is_counted);
        self.counters.failed_requests += u64::from(answer.is_err());
        self.failed_entries += u64::from(answer.is_err() && matches!(pending.request, Request::AddEntry { .. }));
        let tag = pending.tag;
        self.tell(Event::Answer { tag, answer });
        self.end_flushes();
    }
}

/// What decides about the server that is asked.
fn key(request: &Request) -> &[u8] {
    match request {
        Request::Subscribers { channel, .. } => channel,
        Request::AddEntry { stream, .. }
        | Request::Range { stream, .. }
        | Request::RangeBack { stream, .. }
        | Request::Length { stream } => stream,
        Request::Set { key, .. } | Request::Take { key } | Request::Delete { key } => key,
    }
}

/// For an entry in order, how many entries its caller knows to have failed.
const fn known_failures(request: &Request) -> Option<u64> {
    match request {
        Request::AddEntry { known_failures, .. } => *known_failures,
        _ => None,
    }
}

/// What a request counts for in the waiting bytes.
pub(super) fn weight(request: &Request) -> usize {
    let more = match request {
        Request::AddEntry { fields, .. } => fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum(),
        Request::Range { from, to, .. } => from.len() + to.len(),
        Request::RangeBack { from, .. } => from.len(),
        Request::Set { value, .. } => value.len(),
        Request::Subscribers { .. } | Request::Take { .. } | Request::Delete { .. } | Request::Length { .. } => 0,
    };
    key(request).len() + more + OVERHEAD
}
