//! The rooms that the broker does not hear yet, and who waits until it does.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::broker::Command;

use super::ClusterNode;
use crate::lock::Alarm;
use crate::user::inner::Inner;

/// The channels of rooms that were subscribed to, and whose subscriptions the broker has not
/// confirmed.
#[derive(Default)]
pub(super) struct Opening {
    channels: HashSet<Bytes>,
    waiters: HashMap<Bytes, Vec<Alarm>>,
}

impl Opening {
    /// Notes what the node has just asked of the broker for one room.
    pub(super) fn note(&mut self, commands: &[Command]) {
        match commands.last() {
            Some(Command::Subscribe { channel, .. }) => _ = self.channels.insert(channel.clone()),
            Some(Command::Unsubscribe { channel, .. }) => _ = self.channels.remove(channel),
            _ => {}
        }
    }

    /// The broker hears a channel. Returns what wakes those who wait for it.
    pub(super) fn opened(&mut self, channel: &Bytes) -> Vec<Alarm> {
        self.channels.remove(channel);
        self.waiters.remove(channel).unwrap_or_default()
    }
}

impl ClusterNode {
    /// Waits until the broker hears a room, or is away, or `late` is ready.
    pub(in crate::user) async fn hear_room(
        self: &Arc<Self>,
        server: &Inner,
        namespace: &ByteString,
        room: &ByteString,
        late: impl Future<Output = ()>,
    ) {
        // The news of a room that has just begun may not have come here yet.
        self.room_changed(server, namespace, room);
        let Some(channel) = self.state.lock().node.room_channel(namespace, room) else {
            return;
        };
        let mut late = pin!(late);
        std::future::poll_fn(|cx| {
            if self.is_open(&channel, cx.waker()) {
                return Poll::Ready(());
            }
            late.as_mut().poll(cx)
        })
        .await;
    }

    fn is_open(&self, channel: &Bytes, waker: &Waker) -> bool {
        let alarm = Alarm::new(waker);
        let mut state = self.state.lock();
        let is_open = !self.is_up() || !state.opening.channels.contains(channel);
        if !is_open {
            state.opening.waiters.entry(channel.clone()).or_default().push(alarm);
        }
        is_open
    }
}
