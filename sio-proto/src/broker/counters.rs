//! What the connections to a broker have done, for operators.

use core::time::Duration;

use crate::Time;

/// Counts since the start, and the present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages that were written for the broker.
    pub published: u64,
    /// Their payloads in bytes.
    pub published_bytes: u64,
    /// Messages that came, without those that a node sends to itself.
    pub heard: u64,
    /// Their payloads in bytes.
    pub heard_bytes: u64,
    /// Entries of streams that came.
    pub entries: u64,
    /// Entries of streams that were left out because they are larger than
    /// [`BrokerConfig::max_reply_bytes`](super::BrokerConfig::max_reply_bytes).
    pub oversized_entries: u64,
    /// Messages that were dropped because too many bytes waited.
    pub dropped_full: u64,
    /// Messages that were dropped because they had waited for too long.
    pub dropped_late: u64,
    /// Messages that were written to a connection which ended before the broker had confirmed them.
    /// The broker may have taken them.
    pub unconfirmed: u64,
    /// Messages that the broker has refused.
    pub refused: u64,
    /// Requests that were asked.
    pub requests: u64,
    /// Requests that were answered with an error.
    pub failed_requests: u64,
    /// Messages and requests that were sent again to another server of a cluster.
    pub redirects: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// Subscribing connections that heard nothing.
    pub deaf: u64,
    /// Subscriptions that the broker has refused.
    pub refused_subscriptions: u64,
    /// Bytes that wait now.
    pub waiting_bytes: usize,
    /// Since when the oldest message waits that could not be written yet, or the oldest request
    /// that is not answered, or since when the broker owes the next answer on a connection,
    /// whichever is earliest. A read of a stream that waits
    /// for entries does not count. `None` if nothing waits.
    pub waiting_since: Option<Time>,
    /// How long the last probe took: a message of this node to itself, from the order to publish
    /// it until the subscribing connection heard it
    /// ([`BrokerConfig::probe_interval`](super::BrokerConfig::probe_interval)). Zero before the
    /// first one.
    pub probe_round_trip: Duration,
    /// Channels that are wanted now.
    pub channels: usize,
    /// Connections that can be used now.
    pub connections: usize,
    /// Whether the broker is there, as [`Event::Up`](super::Event::Up) says.
    pub is_up: bool,
}
