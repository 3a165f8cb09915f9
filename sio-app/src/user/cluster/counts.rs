//! The counts of a node, for operators.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use sio_proto::broker;
use sio_proto::cluster::relay::{RelayCounters, RelayEnd};
use sio_proto::cluster::{Counters, Traffic};

use super::ClusterNode;
use super::relays::Relaying;

/// What a node has heard and said in its cluster
/// ([`Metrics::cluster`](crate::Metrics::cluster)).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ClusterCounts {
    /// How many nodes there are, with this one, as far as is known.
    pub nodes: usize,
    /// Whether the broker is there.
    pub is_up: bool,
    /// How many requests wait for answers of other nodes.
    pub requests: usize,
    /// Messages for other nodes that were dropped because too many bytes waited for the broker or
    /// because they had waited for too long.
    pub dropped: u64,
    /// Orders that were not sent to other nodes, because they are too large.
    pub unsent: u64,
    /// The messages of this node and of others.
    pub messages: Counters,
    /// The connections to the broker.
    pub broker: broker::Counters,
    /// The requests that were passed on, if the cluster does this
    /// ([`Cluster::without_sticky_sessions`](crate::Cluster::without_sticky_sessions)).
    pub relays: Option<RelayCounters>,
}

impl ClusterNode {
    pub(in crate::user) fn counts(&self) -> ClusterCounts {
        let nodes = self.nodes();
        let dropped = self.outbox.lock().dropped();
        let broker = self.link.get().map(|link| link.counters()).unwrap_or_default();
        let relays = self.relaying.as_ref().map(Relaying::counters);
        let state = self.state.lock();
        ClusterCounts {
            nodes,
            is_up: self.is_up(),
            requests: state.node.requests(),
            dropped: dropped + broker.dropped_full + broker.dropped_late,
            unsent: self.unsent.load(Ordering::Relaxed),
            messages: *state.node.counters(),
            broker,
            relays,
        }
    }
}

impl ClusterCounts {
    /// Writes all numbers in the text format of Prometheus.
    pub(in crate::user) fn write(&self, text: &mut String) {
        let mut table = |name: &str, kind: &str, rows: &[(String, u64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let plain = |value: u64| [(String::new(), value)];
        table("sio_cluster_nodes", "gauge", &plain(self.nodes as u64));
        table("sio_cluster_up", "gauge", &plain(self.is_up.into()));
        table("sio_cluster_requests", "gauge", &plain(self.requests as u64));
        table("sio_cluster_channels", "gauge", &plain(self.broker.channels as u64));
        table(
            "sio_cluster_reconnects_total",
            "counter",
            &plain(self.broker.reconnects),
        );
        table("sio_cluster_deaf_total", "counter", &plain(self.broker.deaf));
        let Counters { sent, received, .. } = self.messages;
        let both = [("out", sent), ("in", received)];
        let rows: Vec<_> = both.iter().flat_map(|(way, traffic)| kinds(way, traffic)).collect();
        table("sio_cluster_messages_total", "counter", &rows);
        let bytes = both.map(|(way, traffic)| (format!("{{direction=\"{way}\"}}"), traffic.bytes));
        table("sio_cluster_bytes_total", "counter", &bytes);
        let lost = [
            ("dropped", self.dropped),
            ("unsent", self.unsent),
            ("malformed", self.messages.malformed),
            ("misplaced", self.messages.misplaced),
            ("late", self.messages.late),
            ("refused", self.messages.refused),
            ("incomplete", self.messages.incomplete),
            ("forgotten", self.messages.forgotten),
            ("not_stored", self.messages.not_stored),
        ];
        let lost = lost.map(|(why, count)| (format!("{{why=\"{why}\"}}"), count));
        table("sio_cluster_lost_total", "counter", &lost);
        if let Some(relays) = &self.relays {
            write_relays(relays, &mut table);
        }
    }
}

/// Writes the numbers of relays: `out` are requests that came here, of sessions that are elsewhere.
fn write_relays(relays: &RelayCounters, table: &mut impl FnMut(&str, &str, &[(String, u64)])) {
    let plain = |value: u64| [(String::new(), value)];
    let both = [("out", &relays.outgoing), ("in", &relays.incoming)];
    let current = both.map(|(way, traffic)| (format!("{{direction=\"{way}\"}}"), traffic.current as u64));
    table("sio_cluster_relays", "gauge", &current);
    let total = both.map(|(way, traffic)| (format!("{{direction=\"{way}\"}}"), traffic.total));
    table("sio_cluster_relays_total", "counter", &total);
    let messages = both.map(|(way, traffic)| (format!("{{direction=\"{way}\"}}"), traffic.messages));
    table("sio_cluster_relay_messages_total", "counter", &messages);
    let bytes = both.map(|(way, traffic)| {
        let bytes = traffic.bytes_in + traffic.bytes_out;
        (format!("{{direction=\"{way}\"}}"), bytes)
    });
    table("sio_cluster_relay_bytes_total", "counter", &bytes);
    let ended = both.iter().flat_map(|(way, traffic)| {
        RelayEnd::ALL.map(|why| {
            let labels = format!("{{direction=\"{way}\",why=\"{}\"}}", why.as_str());
            (labels, traffic.ended(why))
        })
    });
    table("sio_cluster_relays_ended_total", "counter", &ended.collect::<Vec<_>>());
    table("sio_cluster_relay_nodes", "gauge", &plain(relays.nodes as u64));
    table(
        "sio_cluster_relay_waiting_bytes",
        "gauge",
        &plain(relays.waiting_bytes as u64),
    );
    table("sio_cluster_relay_malformed_total", "counter", &plain(relays.malformed));
}

fn kinds(way: &str, traffic: &Traffic) -> Vec<(String, u64)> {
    let kinds = [
        ("broadcasts", traffic.broadcasts),
        ("orders", traffic.orders),
        ("server_side_emits", traffic.server_side_emits),
        ("questions", traffic.questions),
        ("answers", traffic.answers),
        ("heartbeats", traffic.heartbeats),
    ];
    let labelled = kinds.map(|(kind, count)| (format!("{{direction=\"{way}\",kind=\"{kind}\"}}"), count));
    labelled.into()
}
