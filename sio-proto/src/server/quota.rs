//! How many sessions there may be, and how many bytes they may keep: in total, and for each client
//! address.
//!
//! No connection belongs to a session that polls, so limits of connections do not bound it. It is
//! counted here from its handshake to its end, by the network of one subscriber. The bytes that
//! sessions keep of their clients' data are counted too
//! ([`Config::max_kept_bytes`](crate::Config::max_kept_bytes)).
//!
//! A shard calls a [`SessionQuota`]. [`LocalQuota`] is the quota of a single shard. The shards of
//! one server share a quota behind a lock of the caller
//! ([`Shard::share_quota`](super::Shard::share_quota)).
//!
//! Invariant: everything that has been taken for a session is given back with the same address when
//! the session ends. So nothing is kept for an address without sessions.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Config;

/// The bytes that every session takes beside its client's data: its places in tables, and its share
/// of small values.
pub(crate) const SESSION_BYTES: usize = 1024;

/// Counts the sessions of a server, and the bytes that they keep.
///
/// It is called while the shard works: at the beginning and the end of a session, and when a
/// session keeps many bytes more or less, but not for each message. It must neither wait for a
/// shard nor call one.
pub trait SessionQuota: Send {
    /// Counts one more session of a client at this address, which keeps this many bytes. If there
    /// is no room, nothing is counted.
    ///
    /// # Errors
    /// The limit that is reached.
    fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom>;

    /// Counts more bytes for a session. If there is no room, nothing is counted.
    ///
    /// # Errors
    /// The limit that is reached.
    fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom>;

    /// Counts fewer bytes for a session.
    fn shrink(&mut self, address: Option<IpAddr>, bytes: usize);

    /// Counts the end of a session that kept this many bytes.
    fn leave(&mut self, address: Option<IpAddr>, bytes: usize);

    /// Whether there are so many sessions that sessions which have joined nothing get less time.
    fn is_crowded(&self) -> bool;

    /// The network of an address, for the limits: the network of one subscriber.
    fn network(&self, address: IpAddr) -> IpAddr;
}

/// The limit of a [`SessionQuota`] that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The limit of the whole server.
    Total,
    /// The limit of the client's address.
    Address,
}

/// The limits of a [`SessionQuota`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// [`Config::max_sessions`](crate::Config::max_sessions).
    pub max_sessions: usize,
    /// [`Config::max_sessions_per_address`](crate::Config::max_sessions_per_address).
    pub max_sessions_per_address: usize,
    /// [`Config::max_kept_bytes`](crate::Config::max_kept_bytes).
    pub max_kept_bytes: usize,
    /// [`Config::max_kept_bytes_per_address`](crate::Config::max_kept_bytes_per_address).
    pub max_kept_bytes_per_address: usize,
    /// How many leading bits of an IPv6 address count.
    pub ipv6_prefix: u8,
}

impl QuotaLimits {
    /// The limits of a config. For IPv6 addresses 64 bits count, because one subscriber has at
    /// least so many addresses.
    #[must_use]
    pub const fn new(config: &Config) -> Self {
        Self {
            max_sessions: config.max_sessions,
            max_sessions_per_address: config.max_sessions_per_address,
            max_kept_bytes: config.max_kept_bytes,
            max_kept_bytes_per_address: config.max_kept_bytes_per_address,
            ipv6_prefix: 64,
        }
    }
}

/// A [`SessionQuota`] that is a plain value.
#[derive(Debug)]
pub struct LocalQuota {
    limits: QuotaLimits,
    total: Share,
    by_network: ByNetwork,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    sessions: usize,
    bytes: usize,
}

impl Share {
    const fn has_room(self, sessions: usize, bytes: usize, max_sessions: usize, max_bytes: usize) -> bool {
        (sessions == 0 || self.sessions + sessions <= max_sessions) && self.bytes.saturating_add(bytes) <= max_bytes
    }

    const fn add(&mut self, sessions: usize, bytes: usize) {
        self.sessions += sessions;
        self.bytes += bytes;
    }

    fn take(&mut self, sessions: usize, bytes: usize) {
        debug_assert!(
            self.sessions >= sessions && self.bytes >= bytes,
            "what is given back has been taken"
        );
        self.sessions = self.sessions.saturating_sub(sessions);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The shares of the networks. A crowd often comes from as many networks as it has clients, so each
/// version has its own map, in which an entry is as small as it can be.
#[derive(Debug)]
struct ByNetwork {
    version_4: BTreeMap<Ipv4Addr, Packed>,
    version_6: BTreeMap<Ipv6Addr, Packed>,
}

/// A [`Share`] in little room: the sessions, and the lower and the upper half of the bytes.
#[derive(Clone, Copy, Debug)]
struct Packed([u32; 3]);

// Every network with sessions has one.
const _: () = assert!(size_of::<(Ipv4Addr, Packed)>() <= 16 && size_of::<(Ipv6Addr, Packed)>() <= 28);

impl Packed {
    /// More sessions than there are numbers of this size find no memory.
    fn new(share: Share) -> Self {
        let bytes = share.bytes as u64;
        let sessions = u32::try_from(share.sessions).unwrap_or(u32::MAX);
        Self([sessions, bytes as u32, (bytes >> u32::BITS) as u32])
    }

    const fn share(self) -> Share {
        let [sessions, low, high] = self.0;
        Share {
            sessions: sessions as usize,
            bytes: ((high as u64) << u32::BITS | low as u64) as usize,
        }
    }
}

impl ByNetwork {
    const fn new() -> Self {
        Self {
            version_4: BTreeMap::new(),
            version_6: BTreeMap::new(),
        }
    }

    fn get(&self, network: IpAddr) -> Option<Share> {
        let packed = match network {
            IpAddr::V4(network) => self.version_4.get(&network),
            IpAddr::V6(network) => self.version_6.get(&network),
        };
        packed.copied().map(Packed::share)
    }

    fn set(&mut self, network: IpAddr, share: Share) {
        let packed = Packed::new(share);
        match network {
            IpAddr::V4(network) => _ = self.version_4.insert(network, packed),
            IpAddr::V6(network) => _ = self.version_6.insert(network, packed),
        }
    }

    fn remove(&mut self, network: IpAddr) {
        match network {
            IpAddr::V4(network) => _ = self.version_4.remove(&network),
            IpAddr::V6(network) => _ = self.version_6.remove(&network),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.version_4.len() + self.version_6.len()
    }
}

impl LocalQuota {
    /// A quota that is not used yet.
    #[must_use]
    pub const fn new(limits: QuotaLimits) -> Self {
        Self {
            limits,
            total: Share { sessions: 0, bytes: 0 },
            by_network: ByNetwork::new(),
        }
    }

    /// How many sessions there are, and how many bytes they keep.
    #[must_use]
    pub const fn taken(&self) -> (usize, usize) {
        (self.total.sessions, self.total.bytes)
    }

    fn add(&mut self, address: Option<IpAddr>, sessions: usize, bytes: usize) -> Result<(), NoRoom> {
        let limits = &self.limits;
        if !self
            .total
            .has_room(sessions, bytes, limits.max_sessions, limits.max_kept_bytes)
        {
            return Err(NoRoom::Total);
        }
        if let Some(address) = address {
            let network = network_of(address, limits.ipv6_prefix);
            let mut share = self.by_network.get(network).unwrap_or_default();
            let (max_sessions, max_bytes) = (limits.max_sessions_per_address, limits.max_kept_bytes_per_address);
            if !share.has_room(sessions, bytes, max_sessions, max_bytes) {
                return Err(NoRoom::Address);
            }
            share.add(sessions, bytes);
            self.by_network.set(network, share);
        }
        self.total.add(sessions, bytes);
        Ok(())
    }

    fn take(&mut self, address: Option<IpAddr>, sessions: usize, bytes: usize) {
        self.total.take(sessions, bytes);
        let Some(address) = address else { return };
        let network = network_of(address, self.limits.ipv6_prefix);
        if let Some(mut share) = self.by_network.get(network) {
            share.take(sessions, bytes);
            match share.sessions {
                0 => self.by_network.remove(network),
                _ => self.by_network.set(network, share),
            }
        }
    }
}

impl SessionQuota for LocalQuota {
    fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.add(address, 1, bytes)
    }

    fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.add(address, 0, bytes)
    }

    fn shrink(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.take(address, 0, bytes);
    }

    fn leave(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.take(address, 1, bytes);
    }

    fn is_crowded(&self) -> bool {
        let crowded = |taken: usize, max: usize| taken >= max - max / 4;
        crowded(self.total.sessions, self.limits.max_sessions) || crowded(self.total.bytes, self.limits.max_kept_bytes)
    }

    fn network(&self, address: IpAddr) -> IpAddr {
        network_of(address, self.limits.ipv6_prefix)
    }
}

/// The network of an address. For an IPv6 address it is the first `ipv6_prefix` bits (more than 128
/// means 128). For an IPv4 address it is the whole address, even if it is written as IPv6.
#[must_use]
pub fn network_of(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(ipv6_prefix.into()))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn quota(change: impl FnOnce(&mut QuotaLimits)) -> LocalQuota {
        let mut limits = QuotaLimits::new(&Config::default());
        change(&mut limits);
        LocalQuota::new(limits)
    }

    #[test]
    fn an_address_is_what_one_subscriber_has() {
        for (address, prefix, expected) in [
            ("192.0.2.1", 64, "192.0.2.1"),
            ("::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 255, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 0, "::"),
        ] {
            let counted = network_of(address.parse().unwrap(), prefix);
            assert_eq!(counted, expected.parse::<IpAddr>().unwrap(), "{address}/{prefix}");
        }
    }

    #[test]
    fn a_packed_share_is_the_same_share() {
        for bytes in [0, 1, u32::MAX as usize, (u32::MAX as usize).wrapping_add(1), usize::MAX] {
            let share = Share { sessions: 7, bytes };
            assert_eq!(Packed::new(share).share(), share);
        }
    }

    #[test]
    fn three_quarters_are_a_crowd() {
        for (sessions, bytes) in [(3, 10), (1, 75)] {
            let mut quota = quota(|limits| (limits.max_sessions, limits.max_kept_bytes) = (4, 100));
            for _ in 0..sessions {
                assert!(!quota.is_crowded());
                assert_eq!(quota.enter(None, bytes), Ok(()));
            }
            assert!(quota.is_crowded(), "{sessions} sessions of {bytes} bytes");
        }
    }

    #[test]
    fn number_and_bytes_are_bounded_in_total_and_by_network() {
        let mut quota = quota(|limits| {
            (limits.max_sessions, limits.max_sessions_per_address) = (3, 2);
            (limits.max_kept_bytes, limits.max_kept_bytes_per_address) = (100, 50);
        });
        let (a, b) = (address("2001:db8::1"), address("192.0.2.1"));
        assert_eq!(quota.enter(a, 51), Err(NoRoom::Address));
        assert_eq!(quota.enter(a, 10), Ok(()));
        assert_eq!(quota.enter(address("2001:db8::2"), 10), Ok(()), "of the same network");
        assert_eq!(quota.enter(a, 0), Err(NoRoom::Address));
        assert_eq!(quota.grow(a, 31), Err(NoRoom::Address));
        assert_eq!(quota.grow(a, 30), Ok(()));
        assert_eq!(
            quota.enter(None, 51),
            Err(NoRoom::Total),
            "who has no address is counted in total"
        );
        assert_eq!(quota.enter(b, 50), Ok(()));
        assert!(quota.is_crowded());
        assert_eq!(quota.enter(None, 0), Err(NoRoom::Total));
        quota.shrink(a, 30);
        assert_eq!(quota.grow(b, 1), Err(NoRoom::Address));
        quota.leave(b, 50);
        quota.leave(a, 10);
        quota.leave(a, 10);
        assert_eq!((quota.taken(), quota.by_network.len()), ((0, 0), 0));
        assert!(!quota.is_crowded());
    }
}
