//! The counts of a node, for operators.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
    /// How long the oldest of what waits has waited: a message that is not written, an answer of
    /// the broker, or an event of this node that it has not read from the stream. Zero if nothing
    /// waits.
    pub oldest_waiting: Duration,
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
        let now = (self.runtime.now)();
        let state = self.state.lock();
        let oldest = [broker.waiting_since, state.ordering.unread.since()];
        let oldest = oldest.into_iter().flatten().min();
        ClusterCounts {
            nodes,
            is_up: self.is_up(),
            requests: state.node.requests(),
            dropped: dropped + state.ordering.dropped() + broker.dropped_full + broker.dropped_late,
            unsent: self.unsent.load(Ordering::Relaxed) + state.sessions.unwritten,
            restored: self.restored.load(Ordering::Relaxed),
            not_restored: self.not_restored.load(Ordering::Relaxed),
            waiting_bytes: waits + broker.waiting_bytes + state.ordering.all_bytes(),
            oldest_waiting: oldest.map_or(Duration::ZERO, |since| now.saturating_since(since)),
            messages: *state.node.counters(),
            broker,
            relays,
        }
    }
}

/// What an operator is told about once, when it has begun or grown: messages that were lost or not
/// believed, and what the broker or other nodes have refused or not answered.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    dropped: u64,
    unsent: u64,
    unconfirmed: u64,
    refused_by_broker: u64,
    refused_subscriptions: u64,
    failed_requests: u64,
    malformed: u64,
    doubted: u64,
    /// Answers that were refused.
    refused: u64,
    /// What came from more nodes than may be remembered.
    forgotten: u64,
    not_stored: u64,
    oversized: u64,
    incomplete: u64,
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
            refused,
            incomplete,
            forgotten,
            not_stored,
            ..
        } = counts.messages;
        let (malformed_relays, doubted_relays, forgotten_relays) = match &counts.relays {
            Some(relays) => (
                relays.malformed,
                relays.unsigned + relays.forged + relays.stale + relays.replayed,
                relays.forgotten,
            ),
            None => (0, 0, 0),
        };
        Self {
            dropped: counts.dropped,
            unsent: counts.unsent,
            unconfirmed: counts.broker.unconfirmed,
            refused_by_broker: counts.broker.refused,
            refused_subscriptions: counts.broker.refused_subscriptions,
            failed_requests: counts.broker.failed_requests,
            malformed: malformed + misplaced + malformed_relays,
            doubted: unsigned + forged + stale + replayed + doubted_relays,
            refused,
            forgotten: forgotten + forgotten_relays,
            not_stored,
            oversized: counts.broker.oversized_entries,
            incomplete,
        }
    }

    /// Logs what is new since `before`, in one line.
    pub(super) fn log_since(self, before: Self) {
        if self == before {
            return;
        }
        tracing::warn!(
            dropped = self.dropped - before.dropped,
            unsent = self.unsent - before.unsent,
            unconfirmed = self.unconfirmed - before.unconfirmed,
            refused_by_broker = self.refused_by_broker - before.refused_by_broker,
            refused_subscriptions = self.refused_subscriptions - before.refused_subscriptions,
            failed_requests = self.failed_requests - before.failed_requests,
            malformed = self.malformed - before.malformed,
            doubted = self.doubted - before.doubted,
            refused = self.refused - before.refused,
            forgotten = self.forgotten - before.forgotten,
            not_stored = self.not_stored - before.not_stored,
            oversized = self.oversized - before.oversized,
            incomplete = self.incomplete - before.incomplete,
            "messages between the servers of the cluster were lost or refused, or requests have failed"
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
        let oldest = self.oldest_waiting.as_millis() as u64;
        table("sio_cluster_oldest_waiting_milliseconds", "gauge", &plain(oldest));
        let trip = self.broker.probe_round_trip.as_micros() as u64;
        table("sio_cluster_probe_round_trip_microseconds", "gauge", &plain(trip));
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

    /// Whatever grows among the losses in the metrics is trouble, which is logged. Answers that are
    /// too late are not: they have come, and their request has ended with others.
    #[test]
    fn each_loss_in_the_metrics_is_logged() {
        type Lose = fn(&mut ClusterCounts);
        let losses: [(&str, Lose); 18] = [
            ("dropped", |counts| counts.dropped = 1),
            ("unsent", |counts| counts.unsent = 1),
            ("unconfirmed", |counts| counts.broker.unconfirmed = 1),
            ("refused_by_broker", |counts| counts.broker.refused = 1),
            ("failed_requests", |counts| counts.broker.failed_requests = 1),
            ("refused_subscriptions", |counts| {
                counts.broker.refused_subscriptions = 1
            }),
            ("malformed", |counts| counts.messages.malformed = 1),
            ("misplaced", |counts| counts.messages.misplaced = 1),
            ("unsigned", |counts| counts.messages.unsigned = 1),
            ("forged", |counts| counts.messages.forged = 1),
            ("stale", |counts| counts.messages.stale = 1),
            ("replayed", |counts| counts.messages.replayed = 1),
            ("late", |counts| counts.messages.late = 1),
            ("refused", |counts| counts.messages.refused = 1),
            ("incomplete", |counts| counts.messages.incomplete = 1),
            ("forgotten", |counts| counts.messages.forgotten = 1),
            ("not_stored", |counts| counts.messages.not_stored = 1),
            ("oversized", |counts| counts.broker.oversized_entries = 1),
        ];
        let mut text = String::new();
        ClusterCounts::default().write(&mut text);
        let shown = text
            .lines()
            .filter_map(|line| line.strip_prefix("sio_cluster_lost_total{why=\""));
        let shown: Vec<&str> = shown.filter_map(|line| line.split('"').next()).collect();
        assert_eq!(shown, losses.map(|(why, _)| why));
        for (why, lose) in losses {
            let mut counts = ClusterCounts::default();
            lose(&mut counts);
            let mut text = String::new();
            counts.write(&mut text);
            assert!(
                text.contains(&format!("sio_cluster_lost_total{{why=\"{why}\"}} 1\n")),
                "{text}"
            );
            let is_logged = Trouble::of(&counts) != Trouble::default();
            assert_eq!(is_logged, why != "late", "{why}");
        }
    }
}
