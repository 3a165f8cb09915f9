//! Requests whose session is on another node: this node's relays, and who waits for them.
//!
//! ```text
//!   connection ─► End ─► Relays ─► commands ─► the broker ─► Relays ─► End ─► session
//!   (host)               one lock                            one lock          (host)
//! ```
//! The rules are those of [`sio_proto::cluster::relay::Relays`]. It stands behind a lock of its
//! own, under which the outbox and the timer of the node may be taken. Each relay has an [`End`]
//! here, which belongs to the host: a client's connection, or a connection that another node
//! brings. An end is called under no lock. Messages are read, and their signatures verified, under
//! no lock either.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use sio_proto::broker::{BrokerError, Command, Event};
use sio_proto::cluster::relay::{
    Final, LineId, NodeName, RelayCounters, RelayDelivery, RelayEnd, RelayMessage, RelayOutputs, RelayReader, Relays,
    Reset,
};
use sio_proto::server::Peer;
use sio_proto::{ConfigError, Time};

use super::ClusterNode;
use crate::lock::{Alarm, Mutex, assert_none_held};
use crate::options::Cluster;
use crate::runtime::Runtime;
use crate::user::io::Io;

/// Who has one relay on this node.
pub(crate) trait End: Send + Sync {
    /// Bytes have come. If the answer ends behind them, the relay has ended.
    fn take(&self, bytes: Bytes, end: Option<Final>);

    /// The other node takes bytes again.
    fn go_on(&self);

    /// The relay has ended, and not with an answer.
    fn end(&self, why: RelayEnd, reset: Option<Reset>);
}

/// Takes up a connection that another node brings, with its first bytes. `None` if there is no room
/// for it.
pub(crate) type TakeUp = fn(&Io, LineId, Peer, Bytes) -> Option<Arc<dyn End>>;

/// The relays of this node.
pub(super) struct Relaying {
    state: Mutex<State>,
    /// What reads messages under no lock.
    reader: Arc<RelayReader>,
    /// What the names of the channels begin with, so that messages on others cost no lock.
    prefix: Bytes,
    take_up: OnceLock<TakeUp>,
}

struct State {
    relays: Relays,
    out: RelayOutputs,
    ends: HashMap<LineId, Slot>,
}

/// The place of an end.
enum Slot {
    /// It is being made. What has come for it meanwhile waits, in its order.
    Coming(Vec<RelayDelivery>),
    Made(Arc<dyn End>),
}

/// A delivery, and to whom it goes.
type Due = (RelayDelivery, Option<Arc<dyn End>>);

impl Relaying {
    /// Makes the relays of a node, if its settings have them.
    ///
    /// # Errors
    /// If the settings are not valid.
    pub(super) fn new(settings: &Cluster, key: [u8; 16], runtime: Runtime) -> Result<Option<Self>, ConfigError> {
        let Some(config) = &settings.relay else { return Ok(None) };
        let mut relays = Relays::new(config.clone(), &settings.config, key, Box::new(runtime.fill))?;
        relays.set_unix_time((runtime.now)(), Duration::from_secs((runtime.unix_time)()));
        Ok(Some(Self {
            prefix: relays.channel_prefix().clone(),
            reader: Arc::clone(relays.reader()),
            state: Mutex::new(State {
                relays,
                out: RelayOutputs::default(),
                ends: HashMap::new(),
            }),
            take_up: OnceLock::new(),
        }))
    }

    /// Whether the relays have to know of an event.
    fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::Message { channel, .. } | Event::Subscribed { channel, .. } => channel.starts_with(&self.prefix),
            Event::Up | Event::Down { .. } | Event::Answer { .. } => true,
            Event::Entry { .. } | Event::Reading { .. } => false,
        }
    }

    /// Reads the messages among these events. Whoever can publish can make a node compute
    /// signatures, so no lock is held meanwhile.
    fn read(&self, events: &[Event]) -> Vec<Option<RelayMessage>> {
        assert_none_held();
        events.iter().map(|event| self.reader.read(event)).collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.state.lock().relays.next_timeout()
    }

    pub(super) fn counters(&self) -> RelayCounters {
        self.state.lock().relays.counters()
    }
}

impl State {
    /// Takes the deliveries out, each with its end.
    fn due(&mut self) -> Vec<Due> {
        let deliveries = std::mem::take(&mut self.out.deliveries);
        deliveries
            .into_iter()
            .filter_map(|delivery| self.find(delivery))
            .collect()
    }

    /// Returns a delivery with its end. `None` if there is no end (any more), or if the delivery
    /// waits for it.
    fn find(&mut self, delivery: RelayDelivery) -> Option<Due> {
        let (line, is_last) = match &delivery {
            RelayDelivery::Opened { line, .. } => {
                self.ends.insert(*line, Slot::Coming(Vec::new()));
                return Some((delivery, None));
            }
            RelayDelivery::Bytes { line, end, .. } => (*line, end.is_some()),
            RelayDelivery::Room { line } => (*line, false),
            RelayDelivery::Ended { line, .. } => (*line, true),
        };
        let end = match self.ends.get_mut(&line)? {
            Slot::Coming(waiting) => {
                waiting.push(delivery);
                return None;
            }
            Slot::Made(end) => Arc::clone(end),
        };
        if is_last {
            self.ends.remove(&line);
        }
        Some((delivery, Some(end)))
    }

    /// Takes out what waits for an end that is made now. If nothing waits any more, the end has its
    /// place.
    fn settle(&mut self, line: LineId, end: &Arc<dyn End>) -> Settled {
        match self.ends.get_mut(&line) {
            Some(Slot::Coming(waiting)) if !waiting.is_empty() => Settled::Waits(std::mem::take(waiting)),
            Some(slot) if self.relays.is_open(line) => {
                *slot = Slot::Made(Arc::clone(end));
                Settled::Open
            }
            Some(_) => {
                // Its last delivery was among those that have waited.
                self.ends.remove(&line);
                Settled::Ended
            }
            None => Settled::Ended,
        }
    }
}

/// What has become of a relay while its end was made.
enum Settled {
    /// These have come, and more may come.
    Waits(Vec<RelayDelivery>),
    Open,
    Ended,
}

impl ClusterNode {
    /// Does something with the relays, and then all that they want.
    fn with_relays<R>(self: &Arc<Self>, act: impl FnOnce(&mut State, Time) -> R) -> Option<R> {
        let relaying = self.relaying.as_ref()?;
        let now = (self.runtime.now)();
        let (result, due, alarm, leaving) = {
            let mut state = relaying.state.lock_for("relays");
            let result = act(&mut state, now);
            // In the order of the relays, so under their lock.
            let leaving = self.put_relays(&mut state, now);
            let alarm = self.hurry(state.relays.next_timeout());
            (result, state.due(), alarm, leaving)
        };
        self.give_on(leaving);
        if let Some(alarm) = alarm {
            Alarm::wake(alarm);
        }
        due.into_iter()
            .for_each(|(delivery, end)| self.hand_over(delivery, end));
        Some(result)
    }

    /// Puts the commands of the relays into the outbox. A question for which there is no room is
    /// answered at once, so that it can be asked again. Returns what the caller has to give on.
    fn put_relays(&self, state: &mut State, now: Time) -> Option<Vec<Command>> {
        let State { relays, out, .. } = state;
        let mut leaving = None;
        while !out.commands.is_empty() {
            let (full, next) = self.put(&mut out.commands);
            leaving = leaving.or(next);
            for tag in full {
                let answer = Err(BrokerError::Full);
                relays.handle_event(now, &Event::Answer { tag, answer }, out);
            }
        }
        leaving
    }

    /// Gives a delivery to its end. No lock is held.
    fn hand_over(self: &Arc<Self>, delivery: RelayDelivery, end: Option<Arc<dyn End>>) {
        match (delivery, end) {
            (RelayDelivery::Opened { line, peer, bytes }, _) => self.take_up_relay(line, peer, bytes),
            (RelayDelivery::Bytes { bytes, end, .. }, Some(to)) => to.take(bytes, end),
            (RelayDelivery::Room { .. }, Some(to)) => to.go_on(),
            (RelayDelivery::Ended { why, reset, .. }, Some(to)) => to.end(why, reset),
            // Its end has given it up meanwhile.
            (RelayDelivery::Bytes { .. } | RelayDelivery::Room { .. } | RelayDelivery::Ended { .. }, None) => {}
        }
    }

    fn take_up_relay(self: &Arc<Self>, line: LineId, peer: Peer, bytes: Bytes) {
        let server = self.server.get().and_then(Weak::upgrade);
        let take_up = self.relaying.as_ref().and_then(|relaying| relaying.take_up.get());
        let end = match (server, take_up) {
            (Some(server), Some(take_up)) => take_up(&Io(server), line, peer, bytes),
            _ => None,
        };
        let Some(end) = end else {
            return self.reset_relay(line, Reset::NoRoom);
        };
        let mut has_ended = false;
        loop {
            match self.with_relays(|state, _| state.settle(line, &end)) {
                Some(Settled::Waits(waiting)) => {
                    for delivery in waiting {
                        has_ended |= matches!(delivery, RelayDelivery::Ended { .. });
                        self.hand_over(delivery, Some(Arc::clone(&end)));
                    }
                }
                Some(Settled::Open) => return,
                Some(Settled::Ended) | None => break,
            }
        }
        if !has_ended {
            // Its own task has given it up meanwhile.
            end.end(RelayEnd::Gone, None);
        }
    }

    /// Says who takes up connections that other nodes bring.
    pub(crate) fn set_take_up(&self, take_up: TakeUp) {
        if let Some(relaying) = &self.relaying {
            let _ = relaying.take_up.set(take_up);
        }
    }

    /// Begins to hear the channels of relays.
    pub(super) fn start_relays(self: &Arc<Self>) {
        self.with_relays(|state, _| state.relays.start(&mut state.out));
    }

    pub(super) fn close_relays(self: &Arc<Self>) {
        self.with_relays(|state, now| state.relays.close(now, &mut state.out));
    }

    /// Takes out of the events of the broker what is for the relays only, and lets them know of the
    /// others. Messages of other kinds cost no lock.
    pub(super) fn relays_handle(self: &Arc<Self>, events: &mut Vec<Event>) {
        let Some(relaying) = &self.relaying else { return };
        if !events.iter().any(|event| relaying.concerns(event)) {
            return;
        }
        let mut read = relaying.read(events).into_iter();
        self.with_relays(|state, now| {
            let State { relays, out, .. } = state;
            events.retain(|event| match read.next().flatten() {
                Some(message) => {
                    relays.handle_message(now, message, out);
                    false
                }
                None => !(relaying.concerns(event) && relays.handle_event(now, event, out)),
            });
        });
    }

    pub(super) fn relays_handle_timeout(self: &Arc<Self>) {
        self.with_relays(|state, now| {
            // The clock of the machine may have been set.
            let unix_time = Duration::from_secs((self.runtime.unix_time)());
            state.relays.set_unix_time(now, unix_time);
            state.relays.handle_timeout(now, &mut state.out);
        });
    }
}

/// The calls of ends.
impl ClusterNode {
    /// Whether requests of other nodes' sessions are passed on.
    pub(crate) const fn relays(&self) -> bool {
        self.relaying.is_some()
    }

    /// Returns the node that has made this session id, if it is a known one.
    pub(crate) fn owner_of(&self, id: &str) -> Option<NodeName> {
        let relaying = self.relaying.as_ref()?;
        relaying.state.lock_for("relay's owner").relays.owner_of(id)
    }

    /// Passes a request on. Returns the name of the relay, and how many bytes were sent.
    ///
    /// # Errors
    /// See [`Relays::open`].
    pub(crate) fn open_relay(
        self: &Arc<Self>,
        owner: NodeName,
        peer: Peer,
        bytes: &[u8],
        end: Arc<dyn End>,
    ) -> Result<(LineId, usize), RelayEnd> {
        let opened = self.with_relays(|state, now| {
            let opened = state.relays.open(now, owner, peer, bytes, &mut state.out);
            if let Ok((line, _)) = opened {
                state.ends.insert(line, Slot::Made(end));
            }
            opened
        });
        opened.unwrap_or(Err(RelayEnd::Gone))
    }

    /// Sends bytes of a relay, see [`Relays::send`].
    pub(crate) fn send_relay(self: &Arc<Self>, line: LineId, bytes: &[u8], end: Option<Final>) -> usize {
        let sent = self.with_relays(|state, now| {
            let sent = state.relays.send(now, line, bytes, end, &mut state.out);
            if end.is_some() && !state.relays.is_open(line) {
                let ended = state.ends.remove(&line);
                return (sent, ended);
            }
            (sent, None)
        });
        // The end is dropped under no lock.
        sent.map_or(0, |(sent, _)| sent)
    }

    /// Returns how many bytes [`ClusterNode::send_relay`] takes now.
    pub(crate) fn relay_room(self: &Arc<Self>, line: LineId) -> usize {
        self.with_relays(|state, _| state.relays.room(line)).unwrap_or(0)
    }

    /// Tells the other node that the relay is taken up.
    pub(crate) fn confirm_relay(self: &Arc<Self>, line: LineId) {
        self.with_relays(|state, now| state.relays.take_up(now, line, &mut state.out));
    }

    /// Says how many of the bytes that have come still wait, see [`Relays::keep`].
    pub(crate) fn keep_relay(self: &Arc<Self>, line: LineId, waiting: usize) {
        self.with_relays(|state, now| state.relays.keep(now, line, waiting, &mut state.out));
    }

    /// Gives a relay up.
    pub(crate) fn reset_relay(self: &Arc<Self>, line: LineId, reset: Reset) {
        let ended = self.with_relays(|state, now| {
            state.relays.reset(now, line, reset, &mut state.out);
            state.ends.remove(&line)
        });
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stranger publishes what looks signed: the lock that all relays share is not held while it
    /// is found out.
    #[test]
    fn signatures_are_verified_without_the_lock() {
        let settings = Cluster::from_url("redis://127.0.0.1").unwrap();
        let settings = settings.without_sticky_sessions().secret([7; 32]);
        let relaying = Relaying::new(&settings, [0; 16], crate::tests::RUNTIME);
        let relaying = relaying.unwrap().unwrap();
        let mut forged = vec![2; 60_000];
        forged[1] = 1;
        let event = |channel: &Bytes, payload: &[u8]| Event::Message {
            channel: channel.clone(),
            payload: Bytes::copy_from_slice(payload),
            sharded: false,
        };
        let events = [
            event(&relaying.prefix, &forged),
            event(&relaying.prefix, b"x"),
            Event::Up,
        ];
        let read = std::thread::scope(|scope| {
            // Another thread has the lock for as long as this one reads.
            let state = relaying.state.lock();
            let read = scope.spawn(|| relaying.read(&events)).join();
            drop(state);
            read
        });
        let mut read = read.unwrap().into_iter();
        let state = &mut *relaying.state.lock();
        for message in read.by_ref().flatten() {
            state.relays.handle_message(Time::ZERO, message, &mut state.out);
        }
        let counters = state.relays.counters();
        assert_eq!((counters.forged, counters.unsigned), (1, 1));
    }
}
