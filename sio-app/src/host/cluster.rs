//! The tasks of a cluster: the connections to its broker, and its time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sio_proto::Time;
use sio_proto::broker::{Command, Counters};

use crate::client::network::{Network, Sleeping};
use crate::host::driver::Driver;
use crate::host::relay;
use crate::redis::{BrokerBuilder, BrokerHandle};
use crate::user::cluster::ClusterNode;
use crate::user::cluster::outbox::Link;

impl Driver {
    /// Starts the task that has the connections to the broker, and the one that watches the time of
    /// the cluster, unless the server has no cluster or they have been started before. The tasks
    /// end with the server.
    ///
    /// The first task also does what other nodes order: handlers that this causes run in it.
    pub fn join_cluster(&self, network: Network) {
        let Some(node) = self.0.cluster_to_join() else { return };
        node.set_take_up(relay::take_up);
        let builder = BrokerBuilder::for_cluster(network, node.settings());
        // The node has the handle of the connections, so they do not keep the node.
        let (hears, takes) = (Arc::downgrade(node), Arc::downgrade(node));
        let listener = move |events: &mut Vec<_>| match hears.upgrade() {
            Some(node) => node.handle_events(events),
            None => events.clear(),
        };
        let may_read = move |waker: &Waker| takes.upgrade().is_none_or(|node| node.may_read(waker));
        match builder.connect_in_batches(listener, may_read) {
            Ok(broker) => {
                node.set_link(Box::new(broker));
                (network.runtime.spawn)(Box::pin(keep_time(Arc::clone(node), network)));
            }
            Err(error) => {
                node.be_alone();
                tracing::error!(%error, "the broker of the cluster cannot be used");
            }
        }
    }
}

impl Link for BrokerHandle {
    fn send_all(&self, commands: &mut Vec<Command>) {
        Self::send_all(self, commands);
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }

    fn close(&self) {
        Self::close(self);
    }
}

/// Watches the time of the node.
async fn keep_time(node: Arc<ClusterNode>, network: Network) {
    let mut sleeping: Option<(Time, Sleeping)> = None;
    poll_fn(|cx| {
        loop {
            let Some(next) = node.handle_timeout(cx.waker()) else {
                return Poll::Ready(());
            };
            if sleeping.as_ref().is_none_or(|(time, _)| *time != next) {
                let duration = next.saturating_since((network.runtime.now)());
                sleeping = Some((next, (network.sleep)(duration)));
            }
            let is_over = |(_, sleeping): &mut (Time, Sleeping)| sleeping.as_mut().poll(cx).is_ready();
            if !sleeping.as_mut().is_some_and(is_over) {
                return Poll::Pending;
            }
            sleeping = None;
        }
    })
    .await;
}
