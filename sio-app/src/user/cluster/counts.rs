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
    /// Clients of other nodes that have come back to this one.
    pub restored: u64,
    /// Clients that showed the secret of a record, and could not come back: nobody had the record,
    /// what they have missed was not all there, or something could not be read.
    pub not_restored: u64,
    /// Bytes of messages that wait for the broker, for its answers, until they are read from the
    /// stream, or, of other nodes, until they are carried out behind those before them.
    pub waiting_bytes: usize,
    /// The messages of this node and of others.
    pub messages: Counters,
    /// The connections to the broker.
    pub broker: broker::Counters,
    /// The requests that were passed on, if the cluster does this
    /// ([`Cluster::without_sticky_sessions`](crate::Cluster::without_sticky_sessions)).
    pub relays: Option<RelayCounters>,
}

impl ClusterNode {
    pub(crate) fn counts(&self) -> ClusterCounts {
        let nodes = self.nodes();
        let (dropped, waits) = {
            let outbox = self.outbox.lock();
            (outbox.dropped(), outbox.bytes())
        };
        let broker = self.link.get().map(|link| link.counters()).unwrap_or_default();
        let relays = self.relaying.as_ref().map(Relaying::counters);
        let state = self.state.lock();
        ClusterCounts {
            nodes,
            is_up: self.is_up(),
            requests: state.node.requests(),
            dropped: dropped + state.ordering.dropped() + broker.dropped_full + broker.dropped_late,
            unsent: self.unsent.load(Ordering::Relaxed) + state.sessions.unwritten,
            restored: self.restored.load(Ordering::Relaxed),
            not_restored: self.not_restored.load(Ordering::Relaxed),
            waiting_bytes: waits + broker.waiting_bytes + state.ordering.all_bytes(),
            messages: *state.node.counters(),
            broker,
            relays,
        }
    }
}

/// What an operator is told about once, when it has begun or grown: messages that were lost or not
/// believed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    dropped: u64,
    malformed: u64,
    doubted: u64,
    /// What came from more nodes than may be remembered.
    forgotten: u64,
    not_stored: u64,
}

impl Trouble {
    pub(super) const fn of(counts: &ClusterCounts) -> Self {
        let Counters {
            malformed,
            misplaced,
            unsigned,
            forged,
            stale,
            replayed,
            forgotten,
            not_stored,
            ..
        } = counts.messages;
        let (relays, forgotten_relays) = match &counts.relays {
            Some(relays) => (
                relays.unsigned + relays.forged + relays.stale + relays.replayed,
                relays.forgotten,
            ),
            None => (0, 0),
        };
        Self {
            dropped: counts.dropped,
            malformed: malformed + misplaced,
            doubted: unsigned + forged + stale + replayed + relays,
            forgotten: forgotten + forgotten_relays,
            not_stored,
        }
    }

    /// Logs what is new since `before`, in one line.
    pub(super) fn log_since(self, before: Self) {
        if self == before {
            return;
        }
        tracing::warn!(
            dropped = self.dropped - before.dropped,
            malformed = self.malformed - before.malformed,
            doubted = self.doubted - before.doubted,
            forgotten = self.forgotten - before.forgotten,
            not_stored = self.not_stored - before.not_stored,
            "messages between the servers of the cluster were lost or refused"
        );
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
            "sio_cluster_connections",
            "gauge",
            &plain(self.broker.connections as u64),
        );
        table("sio_cluster_waiting_bytes", "gauge", &plain(self.waiting_bytes as u64));
        let lag = self.messages.stream_lag_millis;
        table("sio_cluster_stream_lag_milliseconds", "gauge", &plain(lag));
        table("sio_cluster_silent_total", "counter", &plain(self.messages.silent));
        table(
            "sio_cluster_reconnects_total",
            "counter",
            &plain(self.broker.reconnects),
        );
        table("sio_cluster_deaf_total", "counter", &plain(self.broker.deaf));
        table("sio_cluster_restored_total", "counter", &plain(self.restored));
        table("sio_cluster_not_restored_total", "counter", &plain(self.not_restored));
        let Counters { sent, received, .. } = self.messages;
        let both = [("out", sent), ("in", received)];
        let rows: Vec<_> = both.iter().flat_map(|(way, traffic)| kinds(way, traffic)).collect();
        table("sio_cluster_messages_total", "counter", &rows);
        let bytes = both.map(|(way, traffic)| (format!("{{direction=\"{way}\"}}"), traffic.bytes));
        table("sio_cluster_bytes_total", "counter", &bytes);
        let relays = self.relays.unwrap_or_default();
        let lost = [
            ("dropped", self.dropped),
            ("unsent", self.unsent),
            ("unconfirmed", self.broker.unconfirmed),
            ("refused_by_broker", self.broker.refused),
            ("failed_requests", self.broker.failed_requests),
            ("refused_subscriptions", self.broker.refused_subscriptions),
            ("malformed", self.messages.malformed),
            ("misplaced", self.messages.misplaced),
            ("unsigned", self.messages.unsigned + relays.unsigned),
            ("forged", self.messages.forged + relays.forged),
            ("stale", self.messages.stale + relays.stale),
            ("replayed", self.messages.replayed + relays.replayed),
            ("late", self.messages.late),
            ("refused", self.messages.refused),
            ("incomplete", self.messages.incomplete),
            ("forgotten", self.messages.forgotten + relays.forgotten),
            ("not_stored", self.messages.not_stored),
            ("oversized", self.broker.oversized_entries),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that are too many for the relays are shown where those that are too many for messages
    /// are.
    #[test]
    fn what_was_forgotten_is_shown_and_logged() {
        let mut counts = ClusterCounts::default();
        counts.messages.forgotten = 2;
        let mut relays = RelayCounters::default();
        relays.forgotten = 3;
        let trouble = Trouble::of(&counts);
        counts.relays = Some(relays);
        assert_eq!(Trouble::of(&counts).forgotten, 5);
        assert!(Trouble::of(&counts) != trouble && trouble != Trouble::default());
        let mut text = String::new();
        counts.write(&mut text);
        let line = "sio_cluster_lost_total{why=\"forgotten\"} 5\n";
        assert!(text.contains(line), "{text}");
    }
}
