//! Settings of recovery: what is kept for clients that come back.

use core::time::Duration;

use super::ConfigError;
use super::setters::setters;

/// What is kept for clients of 4.6 and later whose connection was cut
/// (docs/protocol/socket-io.md §6). Each limit is one of a namespace or of a client unless it says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryConfig {
    /// How long a client may be away, and how long a message is kept for it. Default 2 minutes, as
    /// with genuine servers. Too short loses clients on trains; too long holds memory for clients
    /// that never come back.
    pub window: Duration,
    /// Most bytes of messages kept in each namespace; each counts 256 more than it has. Default 16
    /// MiB. When there are more the oldest go, and clients that have not seen those are not
    /// recovered.
    pub max_log_bytes: usize,
    /// Most messages kept in each namespace. Default 65,536; what happens beyond is the same.
    pub max_log_packets: usize,
    /// Most bytes of messages kept in all namespaces together. Default 64 MiB. When there are more
    /// the oldest of the namespace that keeps most go.
    pub max_total_log_bytes: usize,
    /// Most clients that are away at once, in all namespaces. Default 100,000. When there are more,
    /// the one that has been away for longest is forgotten.
    pub max_away: usize,
    /// Most clients of one address that are away at once. Default 10,000; when there are more, that
    /// one of them which has been away for longest is forgotten, so that one address cannot push
    /// out the records of others. An address is what [`Config::max_sessions_per_address`] takes for
    /// one.
    ///
    /// [`Config::max_sessions_per_address`]: super::Config::max_sessions_per_address
    pub max_away_per_address: usize,
    /// Most bytes that the records of all clients that are away keep: the heads of their
    /// handshakes, their `auth`, the names of their rooms, and about 1,500 for each. The
    /// application's own values do not count. Default 64 MiB. When there are more, those
    /// who have been away for longest are forgotten: of the address whose clients keep the most, if
    /// that is more than a part in 64 of this limit, and else of all. So clients of one address
    /// with much in their handshakes do not push out those of others. A room that a client joins
    /// while it is away counts as one that it was in before, and others may be forgotten for it.
    /// Only a host of its own makes a client join then, and up to `max_record_bytes`; with
    /// `sio-app`, nobody joins while away. A client that alone needs more than all may
    /// keep is itself forgotten. If it was away already, it is given up, and told when it comes
    /// back.
    pub max_away_bytes: usize,
    /// Most bytes of names of rooms in the record of one client; each counts 64 more than it has,
    /// and rooms that the client has left lately count. Default 64 KiB. The record of a client that
    /// needs more is given up, and the client is told when it comes back.
    pub max_record_bytes: usize,
    /// Most bytes of messages that are fetched from the stream of a cluster for clients that come
    /// back from other servers, for all of them together; each message counts 256 more than it has.
    /// Default 16 MiB. What was fetched is kept for as long as `window` says, because the client
    /// may be cut off again before it has been sent everything. If there is no room, the address
    /// whose clients have the most bytes gives way, and of these the client with the most; sizes
    /// are compared in units of 1 KiB. A client that gives way is not recovered, and is told so.
    /// While it is read for, it keeps its bytes until the broker has answered. An address is what
    /// [`Config::max_sessions_per_address`] takes for one.
    ///
    /// [`Config::max_sessions_per_address`]: super::Config::max_sessions_per_address
    pub max_brought_bytes: usize,
    /// Whether a client that is recovered gets in without the middlewares of its namespace. Default
    /// false, unlike with genuine servers: who was locked out meanwhile stays outside. A client
    /// that comes from another server of a cluster is decided about in any case: what a middleware
    /// of that server has set with it (data, a deadline) is not here.
    pub skip_middlewares: bool,
    /// Whether the events of clients that ask for it are confirmed, so that clients of this project
    /// send each event exactly once over a recovery (docs/protocol/extensions.md §2). Default true.
    /// Genuine clients do not ask.
    pub confirm_events: bool,
}

setters!(RecoveryConfig {
    window: Duration,
    max_log_bytes: usize,
    max_log_packets: usize,
    max_total_log_bytes: usize,
    max_away: usize,
    max_away_per_address: usize,
    max_away_bytes: usize,
    max_record_bytes: usize,
    max_brought_bytes: usize,
    skip_middlewares: bool,
    confirm_events: bool,
});

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            max_log_bytes: 16 << 20,
            max_log_packets: 65_536,
            max_total_log_bytes: 64 << 20,
            max_away: 100_000,
            max_away_per_address: 10_000,
            max_away_bytes: 64 << 20,
            max_record_bytes: 64 << 10,
            max_brought_bytes: 16 << 20,
            skip_middlewares: false,
            confirm_events: true,
        }
    }
}

impl RecoveryConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLimit`] for a limit that leaves no room for anything.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = [
            ("recovery.window", self.window.is_zero()),
            ("recovery.max_log_bytes", self.max_log_bytes == 0),
            ("recovery.max_log_packets", self.max_log_packets == 0),
            ("recovery.max_total_log_bytes", self.max_total_log_bytes == 0),
            ("recovery.max_away", self.max_away == 0),
            ("recovery.max_away_per_address", self.max_away_per_address == 0),
            ("recovery.max_away_bytes", self.max_away_bytes == 0),
            ("recovery.max_record_bytes", self.max_record_bytes == 0),
            ("recovery.max_brought_bytes", self.max_brought_bytes == 0),
        ];
        match limits.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::ZeroLimit(name)),
            None => Ok(()),
        }
    }
}
