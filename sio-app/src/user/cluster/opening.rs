//! The channels that the broker does not hear yet, and who waits until it does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::broker::Command;

use super::ClusterNode;
use crate::lock::Alarm;
use crate::user::inner::Inner;

/// The channels that were subscribed to, and whose subscriptions the broker has not confirmed. A
/// channel leaves the set when it is confirmed or left, and nobody waits for a channel outside of
/// the set.
#[derive(Default)]
pub(super) struct Opening {
    channels: HashSet<Bytes>,
    /// Who waits for a channel, each under a number of its own.
    waiters: HashMap<Bytes, BTreeMap<u64, Alarm>>,
    last: u64,
}

impl Opening {
    /// Notes what the node asks of the broker. Returns what wakes those who wait for channels that
    /// are left.
    pub(super) fn note(&mut self, commands: &[Command]) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for command in commands {
            match command {
                Command::Subscribe { channel, .. } => _ = self.channels.insert(channel.clone()),
                Command::Unsubscribe { channel, .. } => alarms.extend(self.opened(channel)),
                _ => {}
            }
        }
        alarms
    }

    /// The broker hears a channel. Returns what wakes those who wait for it.
    pub(super) fn opened(&mut self, channel: &Bytes) -> Vec<Alarm> {
        self.channels.remove(channel);
        let waiters = self.waiters.remove(channel);
        waiters.unwrap_or_default().into_values().collect()
    }

    /// The broker is away: nobody waits any more. Returns what wakes them.
    pub(super) fn gone(&mut self) -> Vec<Alarm> {
        let waiters = std::mem::take(&mut self.waiters);
        waiters.into_values().flat_map(BTreeMap::into_values).collect()
    }
}

/// One who waits for a channel. It leaves no trace when it goes.
struct Waiter<'a> {
    cluster: &'a ClusterNode,
    channel: Bytes,
    number: u64,
}

impl Waiter<'_> {
    fn is_over(&self, waker: &Waker) -> bool {
        let alarm = Alarm::new(waker);
        let mut state = self.cluster.state.lock();
        let opening = &mut state.opening;
        if !self.cluster.is_up() || !opening.channels.contains(&self.channel) {
            return true;
        }
        let waiters = opening.waiters.entry(self.channel.clone()).or_default();
        let before = waiters.insert(self.number, alarm);
        // A waker is dropped under no lock, because it is code of the runtime.
        drop(state);
        drop(before);
        false
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.cluster.state.lock();
        let waiters = &mut state.opening.waiters;
        let own = waiters.get_mut(&self.channel);
        let alarm = own.and_then(|own| own.remove(&self.number));
        if waiters.get(&self.channel).is_some_and(BTreeMap::is_empty) {
            waiters.remove(&self.channel);
        }
        drop(state);
        drop(alarm);
    }
}

impl ClusterNode {
    /// Waits until the broker hears a room, or is away, or nobody is in the room any more, or
    /// `late` is ready.
    pub(in crate::user) async fn hear_room(
        self: &Arc<Self>,
        server: &Inner,
        namespace: &ByteString,
        room: &ByteString,
        late: impl Future<Output = ()>,
    ) {
        // The news of a room that has just begun may not have come here yet.
        self.room_changed(server, namespace, room);
        let Some(waiter) = self.waiter(namespace, room) else {
            return;
        };
        let mut late = pin!(late);
        poll_fn(|cx| match waiter.is_over(cx.waker()) {
            true => Poll::Ready(()),
            false => late.as_mut().poll(cx),
        })
        .await;
    }

    fn waiter(&self, namespace: &ByteString, room: &ByteString) -> Option<Waiter<'_>> {
        let mut state = self.state.lock();
        let channel = state.node.room_channel(namespace, room)?;
        state.opening.last += 1;
        Some(Waiter {
            cluster: self,
            channel,
            number: state.opening.last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channel: &'static str) -> Command {
        Command::Subscribe {
            channel: channel.into(),
            sharded: false,
        }
    }

    fn unsubscribe(channel: &'static str) -> Command {
        Command::Unsubscribe {
            channel: channel.into(),
            sharded: false,
        }
    }

    fn wait(opening: &mut Opening, channel: &'static str, number: u64) {
        let waiters = opening.waiters.entry(channel.into()).or_default();
        waiters.insert(number, Alarm::new(Waker::noop()));
    }

    /// What clients can make the server wait for leaves nothing behind, however it ends.
    #[test]
    fn nobody_waits_for_a_channel_that_is_heard_or_left() {
        let mut opening = Opening::default();
        assert!(
            opening
                .note(&[subscribe("a"), subscribe("b"), subscribe("c")])
                .is_empty()
        );
        wait(&mut opening, "a", 1);
        wait(&mut opening, "a", 2);
        wait(&mut opening, "b", 3);
        wait(&mut opening, "c", 4);
        assert_eq!(opening.opened(&Bytes::from("a")).len(), 2);
        assert_eq!(opening.note(&[unsubscribe("b"), subscribe("d")]).len(), 1);
        assert_eq!(opening.gone().len(), 1);
        assert!(opening.waiters.is_empty());
        // The broker tells these when it is back.
        assert_eq!(opening.channels, HashSet::from([Bytes::from("c"), Bytes::from("d")]));
    }
}
