//! Metrics for operators: a snapshot of counts.
//!
//! The shards count packets, under the lock under which they handle the packets anyway. Bytes are
//! counted once for each read and each batch of writes, next to the system call, in cells that
//! threads do not share. Counting costs a few additions for each message. A snapshot asks each
//! shard once.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use sio_proto::server::{BreachKind, Counters, Reason, Refused};

use crate::turn::comeback_counts::RecoveryCounts;
#[cfg(feature = "redis")]
use crate::user::cluster::counts::ClusterCounts;
use crate::user::io::Io;

/// The counts of a server at one moment. [`Io::metrics`] returns them. Totals count from the start
/// of the server.
///
/// ```
/// # use sio_app::{Generation, Io};
/// # fn example(io: &Io) {
/// let metrics = io.metrics();
/// let oldest: u32 = metrics
///     .sessions
///     .iter()
///     .filter(|(generation, ..)| *generation == Generation::Legacy06)
///     .map(|(.., count)| count.current)
///     .sum();
/// if oldest == 0 {
///     println!("the last client of 0.6 is gone");
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The number of open connections, including requests that another HTTP server has handed over.
    pub connections: usize,
    /// The number of connections since the start.
    pub connections_total: u64,
    /// The number of connections that were refused because of
    /// [`Options::max_connections`](crate::Options::max_connections).
    pub connections_refused_total: u64,
    /// The number of connections that were refused because of
    /// [`Options::max_connections_per_address`](crate::Options::max_connections_per_address).
    pub connections_refused_by_address_total: u64,
    /// Counts of sessions: sessions by generation and transport, how sessions ended, which requests
    /// were refused, how many packets came, and the most packets that waited for one session.
    pub sessions: Counters,
    /// The number of sockets: those that are connected, and those that wait for a decision.
    pub sockets: usize,
    /// The number of rooms that have members. Each shard counts its own part of a room.
    pub rooms: usize,
    /// The number of deadlines and of handlers that sleep. A deadline may belong to a session that
    /// has ended; then it goes when its time has come, at the latest.
    pub timers: usize,
    /// The number of sockets that are connected or away, and may come back
    /// ([`Options::recovery`](crate::Options::recovery)).
    pub recoverable: usize,
    /// What became of clients that wanted to come back.
    pub recovery: RecoveryCounts,
    /// The number of packets that were sent.
    pub packets_out: u64,
    /// The number of bytes of HTTP and websocket that were read.
    pub bytes_in: u64,
    /// The number of bytes of HTTP and websocket that were written, without answers that another
    /// HTTP server writes.
    pub bytes_out: u64,
    /// The number of bytes that wait for clients which do not take them at the moment
    /// ([`Config::max_total_queued_bytes`](sio_proto::Config::max_total_queued_bytes)).
    pub queued_bytes: usize,
    /// The most things that have waited for the handlers of one socket at one time.
    /// [`Options::max_waiting_events`](crate::Options::max_waiting_events) says what counts.
    pub most_waiting_events: usize,
    /// How often reading from a client has paused because its handlers lagged
    /// ([`Options::max_waiting_events`](crate::Options::max_waiting_events)).
    pub lagging_pauses_total: u64,
    /// How often reading from a client has paused because the client may not send so fast
    /// ([`Config::session_rate`](sio_proto::Config::session_rate)).
    pub throttling_pauses_total: u64,
    /// The number of rooms with a history ([`Namespace::history`](crate::Namespace::history)).
    pub histories: usize,
    /// The number of bytes that the histories of all rooms keep.
    pub history_bytes: usize,
    /// What this node has heard and said in its cluster, if there is one.
    #[cfg(feature = "redis")]
    pub cluster: Option<ClusterCounts>,
    /// The number of handlers that failed, or were not called because the arguments did not fit.
    pub handler_errors: u64,
    /// The number of handlers that panicked.
    pub handler_panics: u64,
}

impl Metrics {
    /// Returns all numbers in the text format of Prometheus, under these names, which will not
    /// change:
    ///
    /// | name | labels |
    /// |---|---|
    /// | `sio_connections`, `sio_connections_total` | |
    /// | `sio_connections_refused_total` | `why`: `total`, `address` |
    /// | `sio_sessions`, `sio_sessions_total` | `generation`, `transport` |
    /// | `sio_sockets`, `sio_rooms`, `sio_timers`, `sio_recoverable` | |
    /// | `sio_recovered_total`, `sio_replayed_messages_total`, `sio_records_expired_total` | |
    /// | `sio_recovered_away_seconds_total`, `sio_recovered_longest_away_seconds` | |
    /// | `sio_not_recovered_total` | `why`, in the words of [`NotRecovered::WORDS`](sio_proto::recovery::NotRecovered::WORDS) |
    /// | `sio_sessions_closed_total` | `reason`, in the words of [`Reason`] |
    /// | `sio_rules_broken_total` | `kind`, in the words of [`BreachKind`] |
    /// | `sio_requests_refused_total` | `why`, in the words of [`Refused`] |
    /// | `sio_packets_in_total`, `sio_packets_out_total`, `sio_bytes_in_total`, `sio_bytes_out_total` | |
    /// | `sio_queued_bytes` | |
    /// | `sio_messages_unconfirmed_total`, `sio_messages_dropped_total`, `sio_messages_displaced_total`, `sio_messages_unsent_total` | |
    /// | `sio_most_queued_packets`, `sio_most_queued_bytes`, `sio_most_waiting_events` | |
    /// | `sio_pauses_total` | `why`: `lagging`, `throttled` |
    /// | `sio_histories`, `sio_history_bytes` | |
    /// | `sio_handler_errors_total`, `sio_handler_panics_total` | |
    ///
    /// With a cluster, besides. `out` is what goes to other nodes, `in` what comes from them:
    ///
    /// | name | labels |
    /// |---|---|
    /// | `sio_cluster_nodes`, `sio_cluster_up`, `sio_cluster_requests`, `sio_cluster_channels`, `sio_cluster_connections` | |
    /// | `sio_cluster_waiting_bytes`, `sio_cluster_oldest_waiting_milliseconds` | |
    /// | `sio_cluster_probe_round_trip_microseconds`, `sio_cluster_stream_lag_milliseconds` | |
    /// | `sio_cluster_messages_total` | `direction`: `in`, `out`; `kind`: `broadcasts`, `orders`, `server_side_emits`, `questions`, `answers`, `heartbeats` |
    /// | `sio_cluster_bytes_total` | `direction`: `in`, `out` |
    /// | `sio_cluster_lost_total` | `why`: `dropped`, `unsent`, `unconfirmed`, `refused_by_broker`, `failed_requests`, `refused_subscriptions`, `malformed`, `misplaced`, `unsigned`, `forged`, `stale`, `replayed`, `late`, `refused`, `incomplete`, `forgotten`, `not_stored`, `oversized` |
    /// | `sio_cluster_reconnects_total`, `sio_cluster_deaf_total`, `sio_cluster_silent_total` | |
    /// | `sio_cluster_restored_total`, `sio_cluster_not_restored_total` | |
    ///
    /// With `Cluster::without_sticky_sessions`, besides. `out` are requests that have come here, of
    /// sessions that are on other nodes:
    ///
    /// | name | labels |
    /// |---|---|
    /// | `sio_cluster_relays`, `sio_cluster_relays_total`, `sio_cluster_relay_messages_total`, `sio_cluster_relay_bytes_total` | `direction`: `in`, `out` |
    /// | `sio_cluster_relays_ended_total` | `direction`: `in`, `out`; `why`: `answered`, `client`, `owner`, `gone`, `no_broker`, `silent`, `broken`, `no_room`, `too_old` |
    /// | `sio_cluster_relay_nodes`, `sio_cluster_relay_waiting_bytes`, `sio_cluster_relay_malformed_total` | |
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let mut number = |name: &str, value: u64| {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            // Writing to a string cannot fail.
            let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
        };
        number("sio_connections", self.connections as u64);
        number("sio_connections_total", self.connections_total);
        number("sio_sockets", self.sockets as u64);
        number("sio_rooms", self.rooms as u64);
        number("sio_timers", self.timers as u64);
        number("sio_recoverable", self.recoverable as u64);
        number("sio_recovered_total", self.recovery.recovered);
        number("sio_replayed_messages_total", self.recovery.replayed);
        number("sio_records_expired_total", self.recovery.expired);
        number("sio_recovered_away_seconds_total", self.recovery.away.as_secs());
        number(
            "sio_recovered_longest_away_seconds",
            self.recovery.longest_away.as_secs(),
        );
        number("sio_packets_in_total", self.sessions.packets_in);
        number("sio_packets_out_total", self.packets_out);
        number("sio_bytes_in_total", self.bytes_in);
        number("sio_bytes_out_total", self.bytes_out);
        number("sio_queued_bytes", self.queued_bytes as u64);
        number("sio_messages_unconfirmed_total", self.sessions.unconfirmed);
        number("sio_messages_dropped_total", self.sessions.dropped);
        number("sio_messages_displaced_total", self.sessions.displaced);
        number("sio_messages_unsent_total", self.sessions.unsent);
        number("sio_most_queued_packets", self.sessions.most_queued_packets as u64);
        number("sio_most_queued_bytes", self.sessions.most_queued_bytes as u64);
        number("sio_most_waiting_events", self.most_waiting_events as u64);
        number("sio_histories", self.histories as u64);
        number("sio_history_bytes", self.history_bytes as u64);
        number("sio_handler_errors_total", self.handler_errors);
        number("sio_handler_panics_total", self.handler_panics);

        let mut table = |name: &str, kind: &str, rows: Vec<(String, u64)>| {
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        };
        let refused = [
            ("why=\"total\"".to_owned(), self.connections_refused_total),
            ("why=\"address\"".to_owned(), self.connections_refused_by_address_total),
        ];
        table("sio_connections_refused_total", "counter", refused.into());
        let pauses = [
            ("why=\"lagging\"".to_owned(), self.lagging_pauses_total),
            ("why=\"throttled\"".to_owned(), self.throttling_pauses_total),
        ];
        table("sio_pauses_total", "counter", pauses.into());
        let kinds = || {
            let kinds = self.sessions.iter();
            kinds.map(|(generation, transport, count)| {
                let labels = format!("generation=\"{generation}\",transport=\"{transport}\"");
                (labels, count)
            })
        };
        let current = kinds().map(|(labels, count)| (labels, count.current.into()));
        table("sio_sessions", "gauge", current.collect());
        let total = kinds().map(|(labels, count)| (labels, count.total));
        table("sio_sessions_total", "counter", total.collect());
        let closed = Reason::ALL.map(|reason| (format!("reason=\"{reason}\""), self.sessions.closed(reason)));
        table("sio_sessions_closed_total", "counter", closed.into());
        let lost = self.recovery.lost();
        let lost = lost.map(|(why, count)| (format!("why=\"{why}\""), count));
        table("sio_not_recovered_total", "counter", lost.collect());
        let broken = BreachKind::ALL.map(|kind| (format!("kind=\"{kind}\""), self.sessions.broken(kind)));
        table("sio_rules_broken_total", "counter", broken.into());
        let refused = Refused::ALL.map(|why| (format!("why=\"{}\"", why.as_str()), self.sessions.refused(why)));
        table("sio_requests_refused_total", "counter", refused.into());
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster {
            cluster.write(&mut text);
        }
        text
    }
}

impl Io {
    /// Returns the counts of this server: sessions by generation and transport, traffic, refusals,
    /// errors. Each shard is asked once. So you may call it every few seconds, but not for every
    /// message.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics {
            handler_errors: self.0.tally.errors.load(Ordering::Relaxed),
            handler_panics: self.0.tally.panics.load(Ordering::Relaxed),
            lagging_pauses_total: self.0.tally.lagged.load(Ordering::Relaxed),
            throttling_pauses_total: self.0.tally.throttled.load(Ordering::Relaxed),
            recoverable: self.recoverable(),
            recovery: self.0.shards.recovery.counts(),
            queued_bytes: self.0.tally.traffic.waiting.used(),
            ..Metrics::default()
        };
        #[cfg(feature = "redis")]
        {
            metrics.cluster = self.0.cluster.as_ref().map(|cluster| cluster.counts());
        }
        (metrics.histories, metrics.history_bytes) = self.0.shards.histories.size();
        (metrics.bytes_in, metrics.bytes_out) = self.0.tally.traffic.bytes();
        {
            let connections = self.0.connections.lock();
            metrics.connections = connections.count();
            let refused;
            (metrics.connections_total, refused) = connections.totals();
            [
                metrics.connections_refused_total,
                metrics.connections_refused_by_address_total,
            ] = refused;
        }
        for cell in &self.0.shards.cells {
            cell.ask("metrics", |state| {
                metrics.sessions.add(state.shard.counters());
                metrics.packets_out += state.packets_out;
                let held = state.shard.held();
                metrics.sockets += held.sockets;
                metrics.rooms += held.rooms;
                metrics.timers += held.timers + state.sleeping();
            });
            metrics.sessions.unsent += cell.too_large();
            metrics.most_waiting_events = metrics.most_waiting_events.max(cell.most_waiting());
        }
        for (kind, count) in BreachKind::ALL.into_iter().zip(&self.0.tally.broken) {
            metrics.sessions.add_broken(kind, count.load(Ordering::Relaxed));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "redis")]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::tests::{Driven, server, text};
    use crate::{Config, Generation, Options, Socket, TransportKind};

    #[test]
    fn everything_is_counted() {
        let io = server(2);
        io.of("/")
            .on("echo", |socket: Socket, x: u8| socket.emit("echo", x))
            .on("panic", || -> () { panic!("as asked") });
        let start = io.metrics();
        let mut client = Driven::connected(&io);
        let mut other = Driven::connected(&io);
        let before = io.metrics();
        let frame = text(r#"42["echo",1]"#);
        let _ = client.read(&[&*frame, &frame].concat());
        let after = io.metrics();
        assert_eq!((after.sockets, after.rooms, after.recoverable), (2, 0, 0));
        // Each session waits for its next ping.
        assert!(after.timers >= 2, "{after:?}");
        assert_eq!(after.sessions.packets_in - before.sessions.packets_in, 2);
        assert_eq!(after.packets_out - before.packets_out, 2);
        assert_eq!(after.bytes_in - before.bytes_in, 2 * frame.len() as u64);
        let written = client.wall.take().len() as u64;
        let other_written = other.wall.take().len() as u64;
        assert_eq!(
            after.bytes_out - start.bytes_out,
            written + other_written + client.taken + other.taken
        );
        assert_eq!(after.sessions.most_queued_packets, 2);

        let _ = client.read(&text(r#"42["echo","no number"]"#));
        let _ = client.read(&text(r#"42["panic"]"#));
        let _ = other.read(&text("41"));
        let mut late = Driven::new(&io, usize::MAX);
        let _ = late.read(b"GET /socket.io/?EIO=4&transport=what HTTP/1.1\r\nHost: a\r\n\r\n");
        drop(other);
        let metrics = io.metrics();
        assert_eq!((metrics.handler_errors, metrics.handler_panics), (1, 1));
        assert_eq!((metrics.connections, metrics.connections_total), (2, 3));
        let count = metrics.sessions.get(Generation::Engine4, TransportKind::WebSocket);
        assert_eq!((count.current, count.total), (1, 2));
        assert_eq!(metrics.sessions.closed(Reason::TransportError), 1);
        assert_eq!(metrics.sessions.refused(Refused::BadRequest), 1);
        let text = metrics.to_prometheus();
        for line in [
            "# TYPE sio_connections gauge",
            "sio_connections 2",
            "# TYPE sio_sessions_total counter",
            "sio_sessions_total{generation=\"4.x\",transport=\"websocket\"} 2",
            "sio_sessions_closed_total{reason=\"transport error\"} 1",
            "sio_requests_refused_total{why=\"bad_request\"} 1",
            "sio_handler_panics_total 1",
            "sio_messages_unconfirmed_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    /// A row of the documented table: its names, and the names of its labels, with all values where
    /// they are listed.
    #[cfg(feature = "redis")]
    fn documented(line: &str) -> Option<(Vec<&str>, Labels)> {
        let mut cells = line.trim().strip_prefix("/// | `sio_")?.split(" | ");
        let names = cells.next()?.split(", `");
        let names = names.map(|name| name.trim_start_matches("sio_").trim_end_matches('`'));
        let words = |text: &str| -> Vec<String> {
            let words = text.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        let labels = cells.next().unwrap_or_default().split("; ").flat_map(|clause| {
            match (clause.split_once(": "), clause.split_once(", in the words of")) {
                (Some((name, values)), None) => vec![(words(name).remove(0), words(values).into_iter().collect())],
                (_, Some((name, _))) => vec![(words(name).remove(0), BTreeSet::new())],
                (None, None) => words(clause).into_iter().map(|name| (name, BTreeSet::new())).collect(),
            }
        });
        Some((names.collect(), labels.collect()))
    }

    #[cfg(feature = "redis")]
    type Labels = BTreeMap<String, BTreeSet<String>>;

    /// What is documented of names, labels and values is what is written, and all of it.
    #[cfg(feature = "redis")]
    #[test]
    fn the_table_of_names_is_what_is_written() {
        let cluster = crate::Cluster::from_url("redis://127.0.0.1").unwrap();
        let options = Options::default().cluster(cluster.without_sticky_sessions());
        let io = Io::new(Config::default(), options, crate::tests::RUNTIME).unwrap();
        let _client = Driven::connected(&io);
        let mut written: BTreeMap<String, Labels> = BTreeMap::new();
        let mut kinds: BTreeMap<String, String> = BTreeMap::new();
        for line in io.metrics().to_prometheus().lines() {
            if let Some(kind) = line.strip_prefix("# TYPE sio_") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(
                    kinds.insert(name.to_owned(), kind.to_owned()),
                    None,
                    "{name} comes once"
                );
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                written.entry(name.to_owned()).or_default();
                continue;
            }
            let (name, _) = line.strip_prefix("sio_").unwrap().rsplit_once(' ').unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let known = written.get_mut(name).expect("its type comes before it");
            for label in labels
                .trim_end_matches('}')
                .split(',')
                .filter(|label| !label.is_empty())
            {
                let (name, value) = label.split_once('=').unwrap();
                let values = known.entry(name.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
        let mut listed = BTreeSet::new();
        for (names, labels) in include_str!("metrics.rs").lines().filter_map(documented) {
            for name in names {
                assert!(listed.insert(name.to_owned()), "{name} is listed once");
                let found = written.get(name).unwrap_or_else(|| panic!("{name} is not written"));
                assert!(found.keys().eq(labels.keys()), "{name}: {found:?}, {labels:?}");
                for (label, values) in labels.iter().filter(|(_, values)| !values.is_empty()) {
                    assert_eq!(found[label], *values, "{name}, {label}");
                }
            }
        }
        let all: BTreeSet<String> = written.into_keys().collect();
        assert_eq!(listed, all);
    }

    #[test]
    fn who_is_refused_is_counted_by_why() {
        let options = Options::default().shards(1).max_connections(2);
        let mut config = Config::default();
        config.max_sessions = 1;
        let io = Io::new(config, options, crate::tests::RUNTIME).unwrap();
        io.allow_request(|request| request.header("x-no").map_or(Ok(()), |_| Err("no".into())));
        let mut asking = Driven::new(&io, usize::MAX);
        let _client = Driven::connected(&io);
        assert!(Driven::try_new(&io, 0).is_none());
        for headers in ["", "X-No: 1\r\n", "Origin: http://evil.example\r\n"] {
            let request = format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
            let _ = asking.read(request.as_bytes());
        }
        let _ = asking.read(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n");
        io.close();
        let _ = asking.read(b"\r\n");
        let metrics = io.metrics();
        for why in [
            Refused::Full,
            Refused::ShuttingDown,
            Refused::Application,
            Refused::Forbidden,
        ] {
            assert_eq!(metrics.sessions.refused(why), 1, "{why:?}");
        }
        assert_eq!(metrics.connections_refused_total, 1);
        assert_eq!(metrics.connections_refused_by_address_total, 0);
    }
}
