//! Settings of a node that passes requests on to the node of their session.

use core::time::Duration;

use super::ConfigError;
use super::setters::setters;

/// How nodes of ours pass requests on to the node that has the session
/// ([`cluster::relay`](crate::cluster::relay)), so that a load balancer need not be sticky.
///
/// A relay is one request on its way to another node with its answer, or a websocket. The limits
/// hold for each node, and once more for the relays that other nodes bring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Most relays to other nodes at the same time, and most relays from other nodes. Default
    /// 100 000. A request above the limit is answered with 503.
    pub max_relays: usize,
    /// Most relays of one client address to other nodes at the same time; for IPv6, 64 bits of an
    /// address count. Default 10 000. Behind a proxy all clients have the proxy's address: raise
    /// this limit to [`RelayConfig::max_relays`], and let the proxy limit its clients.
    pub max_relays_per_address: usize,
    /// Most requests in a second of one client address that are passed on, after a burst of twice
    /// as many. Default 10 000. A request above the limit is answered with 503, and nothing is
    /// sent. Behind a proxy this is the limit of all its clients.
    pub max_requests_per_second: u32,
    /// Most client addresses that are remembered for the two limits above. Default 100 000. An
    /// address takes some 100 bytes; it is forgotten when it has no relay and has been quiet for
    /// two seconds.
    pub max_addresses: usize,
    /// Most bytes that wait on a node for one relay, in each direction. Default 64 KiB, at least 16
    /// KiB and at most 16 MiB. The other node sends no more before these have been read. A larger
    /// window makes large answers faster when the broker is far away.
    pub max_waiting_bytes: u32,
    /// Most bytes that wait on a node for all relays together. Default 64 MiB. If there are more,
    /// the client address with the most bytes gives way (for IPv6, 64 bits of an address), and of
    /// its relays the one with the most bytes is ended. Sizes are compared in units of 1 KiB. So an
    /// address loses nothing to others as long as it has 1 KiB less than this limit divided by the
    /// number of addresses with bytes.
    pub max_total_waiting_bytes: usize,
    /// How long the other node may take to say that it has a request. Default 5 s. Then the client
    /// is answered with 503. If the other node is known to be gone, nobody waits: see
    /// [`RelayConfig::probe_interval`].
    pub answer_timeout: Duration,
    /// How often the broker is asked whether a node with relays still hears its channel. Default
    /// 1 s. So long a client may wait after the process of its session was killed.
    pub probe_interval: Duration,
    /// How often a node says that it is there. Default 5 s. A node that has said nothing for three
    /// times as long is forgotten.
    pub hello_interval: Duration,
    /// How long nothing may be heard about a relay. Default 60 s. Each side sends something three
    /// times as often, also if its client sends nothing.
    pub max_silence: Duration,
    /// How long a relay may last. Default one day. A websocket that has been passed on for longer
    /// is closed, and its client connects again.
    pub max_age: Duration,
    /// Most other nodes that are remembered. Default 1 024. A request that names a session of
    /// somebody else is compared with each of them, which takes some 50 ns. In a cluster with a
    /// secret, twice as many signers are remembered, with 8 KiB each. A process that is started
    /// again is a new node. The old one has said goodbye, or is remembered until it has been silent
    /// for three times [`RelayConfig::hello_interval`]: leave room for it.
    pub max_nodes: usize,
}

setters!(RelayConfig {
    max_relays: usize,
    max_relays_per_address: usize,
    max_requests_per_second: u32,
    max_addresses: usize,
    max_waiting_bytes: u32,
    max_total_waiting_bytes: usize,
    answer_timeout: Duration,
    probe_interval: Duration,
    hello_interval: Duration,
    max_silence: Duration,
    max_age: Duration,
    max_nodes: usize,
});

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            max_relays: 100_000,
            max_relays_per_address: 10_000,
            max_requests_per_second: 10_000,
            max_addresses: 100_000,
            max_waiting_bytes: 64 << 10,
            max_total_waiting_bytes: 64 << 20,
            answer_timeout: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            hello_interval: Duration::from_secs(5),
            max_silence: Duration::from_secs(60),
            max_age: Duration::from_secs(86_400),
            max_nodes: 1_024,
        }
    }
}

impl RelayConfig {
    /// The bytes of a request that are sent before the other node has said how many it takes. So
    /// each node takes as many.
    pub const FIRST_BYTES: u32 = 16 << 10;

    /// The largest [`RelayConfig::max_waiting_bytes`].
    pub(crate) const MOST_WAITING: u32 = 16 << 20;

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLimit`] for a limit that leaves no room for anything,
    /// [`ConfigError::Duration`] for a time that makes no sense, [`ConfigError::TooMany`] for
    /// [`RelayConfig::max_waiting_bytes`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let most = Duration::from_secs(365 * 86_400);
        for (name, time) in [
            ("relay.answer_timeout", self.answer_timeout),
            ("relay.probe_interval", self.probe_interval),
            ("relay.hello_interval", self.hello_interval),
            ("relay.max_silence", self.max_silence),
            ("relay.max_age", self.max_age),
        ] {
            if time.is_zero() || time > most {
                return Err(ConfigError::Duration(name));
            }
        }
        for (name, is_zero) in [
            ("relay.max_relays", self.max_relays == 0),
            ("relay.max_relays_per_address", self.max_relays_per_address == 0),
            ("relay.max_requests_per_second", self.max_requests_per_second == 0),
            ("relay.max_addresses", self.max_addresses == 0),
            ("relay.max_waiting_bytes", self.max_waiting_bytes < Self::FIRST_BYTES),
            ("relay.max_total_waiting_bytes", self.max_total_waiting_bytes == 0),
            ("relay.max_nodes", self.max_nodes == 0),
        ] {
            if is_zero {
                return Err(ConfigError::ZeroLimit(name));
            }
        }
        match self.max_waiting_bytes > Self::MOST_WAITING {
            true => Err(ConfigError::TooMany("relay.max_waiting_bytes", Self::MOST_WAITING)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let config = RelayConfig::default;
        assert_eq!(config().validate(), Ok(()));
        for (config, name) in [
            (config().max_relays(0), "relay.max_relays"),
            (config().max_relays_per_address(0), "relay.max_relays_per_address"),
            (config().max_requests_per_second(0_u32), "relay.max_requests_per_second"),
            (config().max_addresses(0), "relay.max_addresses"),
            (config().max_waiting_bytes(16_383_u32), "relay.max_waiting_bytes"),
            (config().max_total_waiting_bytes(0), "relay.max_total_waiting_bytes"),
            (config().max_nodes(0), "relay.max_nodes"),
        ] {
            assert_eq!(config.validate(), Err(ConfigError::ZeroLimit(name)));
        }
        for (config, name) in [
            (config().answer_timeout(Duration::ZERO), "relay.answer_timeout"),
            (config().probe_interval(Duration::ZERO), "relay.probe_interval"),
            (config().hello_interval(Duration::MAX), "relay.hello_interval"),
            (config().max_silence(Duration::ZERO), "relay.max_silence"),
            (config().max_age(Duration::ZERO), "relay.max_age"),
        ] {
            assert_eq!(config.validate(), Err(ConfigError::Duration(name)));
        }
        let wide = config().max_waiting_bytes(17_u32 << 20);
        assert_eq!(
            wide.validate(),
            Err(ConfigError::TooMany("relay.max_waiting_bytes", 16 << 20))
        );
    }
}
