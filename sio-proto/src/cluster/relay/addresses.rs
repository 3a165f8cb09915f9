//! How many relays each client address has, and how many requests it may still have passed on.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv6Addr};

use crate::{RelayConfig, Time};

/// What one token is in the unit of a level. In a microsecond, as many millionths come as tokens in
/// a second. So all numbers are whole.
const TOKEN: u64 = 1_000_000;

/// The client addresses that have relays, or had some a moment ago.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    shares: BTreeMap<IpAddr, Share>,
    /// Where the next look for addresses that can be forgotten begins.
    hand: Option<IpAddr>,
}

#[derive(Debug)]
struct Share {
    relays: usize,
    /// In millionths of a token, right at the time `at`.
    level: u64,
    at: Time,
}

impl Share {
    fn fill(&mut self, now: Time, config: &RelayConfig) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        let come = micros.saturating_mul(config.max_requests_per_second.into());
        self.level = self.level.saturating_add(come).min(burst(config));
        self.at = self.at.max(now);
    }
}

fn burst(config: &RelayConfig) -> u64 {
    2 * TOKEN * u64::from(config.max_requests_per_second)
}

impl Addresses {
    /// Counts one more relay of an address. Returns false if it may not have one; then nothing is
    /// counted. An address that is not known (a pipe) has no limit of its own.
    pub(super) fn enter(&mut self, now: Time, address: Option<IpAddr>, config: &RelayConfig) -> bool {
        let Some(network) = address.map(network) else {
            return true;
        };
        if !self.shares.contains_key(&network) {
            self.forget_some(now, config);
            if self.shares.len() >= config.max_addresses {
                return false;
            }
        }
        let share = self.shares.entry(network).or_insert_with(|| Share {
            relays: 0,
            level: burst(config),
            at: now,
        });
        share.fill(now, config);
        if share.relays >= config.max_relays_per_address || share.level < TOKEN {
            return false;
        }
        share.relays += 1;
        share.level -= TOKEN;
        true
    }

    /// A relay of the address has ended.
    pub(super) fn leave(&mut self, address: Option<IpAddr>) {
        let share = address.and_then(|address| self.shares.get_mut(&network(address)));
        debug_assert!(share.is_some() || address.is_none(), "who leaves has entered");
        if let Some(share) = share {
            share.relays = share.relays.saturating_sub(1);
        }
    }

    /// Looks at two addresses, or at more if there is no room, and forgets those that are as good
    /// as new. So there are never many more than are needed.
    fn forget_some(&mut self, now: Time, config: &RelayConfig) {
        let looks = if self.shares.len() < config.max_addresses {
            2
        } else {
            64
        };
        for _ in 0..looks {
            let after = self
                .hand
                .map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
            let next = self.shares.range_mut((after, core::ops::Bound::Unbounded)).next();
            let Some((address, share)) = next else {
                self.hand = None;
                continue;
            };
            let address = *address;
            share.fill(now, config);
            self.hand = Some(address);
            if share.relays == 0 && share.level == burst(config) {
                self.shares.remove(&address);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shares.len()
    }
}

/// The network of one subscriber: an IPv4 address, or the first 64 bits of an IPv6 address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        version_4 @ IpAddr::V4(_) => version_4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(core::net::Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn number_and_rate_are_bounded_by_address() {
        let config = RelayConfig::default()
            .max_relays_per_address(2)
            .max_requests_per_second(4_u32);
        let (mut addresses, now) = (Addresses::default(), Time::from_millis(1_000));
        assert!(addresses.enter(now, address(1), &config) && addresses.enter(now, address(1), &config));
        assert!(!addresses.enter(now, address(1), &config), "two at the same time");
        assert!(addresses.enter(now, address(2), &config) && addresses.enter(now, None, &config));
        for _ in 0..6 {
            addresses.leave(address(1));
            assert!(addresses.enter(now, address(1), &config));
        }
        addresses.leave(address(1));
        assert!(!addresses.enter(now, address(1), &config), "a burst of eight");
        assert!(addresses.enter(Time::from_millis(1_250), address(1), &config));
        let v6 = |last: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
        assert!(addresses.enter(now, v6(1), &config) && addresses.enter(now, v6(2), &config));
        assert!(!addresses.enter(now, v6(3), &config), "one subscriber");
    }

    /// What has come in a time comes once.
    #[test]
    fn tokens_do_not_come_twice() {
        let config = RelayConfig::default().max_requests_per_second(1_u32);
        let mut addresses = Addresses::default();
        for (millis, may) in [
            (0, true),
            (0, true),
            (0, false),
            (1_000, true),
            (1_100, false),
            (1_999, false),
            (2_000, true),
        ] {
            assert_eq!(
                addresses.enter(Time::from_millis(millis), address(1), &config),
                may,
                "{millis}"
            );
        }
    }

    /// Whoever comes when there is no room is refused, and who is known already is not. An address
    /// is forgotten when it is as good as new, and not before.
    #[test]
    fn an_address_is_remembered_as_long_as_it_matters() {
        let config = RelayConfig::default()
            .max_addresses(10_usize)
            .max_relays_per_address(2_usize)
            .max_requests_per_second(1_u32);
        let (mut addresses, now) = (Addresses::default(), Time::ZERO);
        let busy = address(0);
        for number in (0..10).rev() {
            assert!(addresses.enter(now, address(number), &config));
        }
        assert!(!addresses.enter(now, address(10), &config) && addresses.enter(now, busy, &config));
        (1..10).for_each(|number| addresses.leave(address(number)));
        assert!(
            !addresses.enter(now, address(10), &config),
            "nine have used what they may"
        );
        for number in (0..100).rev() {
            let now = Time::from_millis(3_000 * (101 - u64::from(number)));
            let new = address(10 + number);
            assert!(addresses.enter(now, new, &config), "{number}");
            addresses.leave(new);
            assert!(addresses.enter(now, new, &config));
            addresses.leave(new);
            // Who asks and goes again and again has not more for it.
            assert!(addresses.enter(now, address(1_000), &config) && addresses.enter(now, address(1_000), &config));
            (0..2).for_each(|_| addresses.leave(address(1_000)));
            assert!(addresses.enter(now, None, &config) && !addresses.enter(now, new, &config));
            assert!(!addresses.enter(now, busy, &config), "it has two");
        }
        assert!(addresses.count() <= 5, "{}", addresses.count());
    }

    /// What strangers can make a node remember is bounded, and goes again.
    #[test]
    fn addresses_are_bounded_and_forgotten() {
        let config = RelayConfig::default().max_addresses(100_usize);
        let mut addresses = Addresses::default();
        for number in 0..100 {
            assert!(addresses.enter(Time::ZERO, address(number), &config));
        }
        assert!(!addresses.enter(Time::ZERO, address(100), &config));
        (0..50).for_each(|number| addresses.leave(address(number)));
        let later = Time::from_millis(2_000);
        for number in 1_000..1_050 {
            assert!(addresses.enter(later, address(number), &config), "{number}");
        }
        assert!(addresses.count() <= 100);
        for number in 0..10_000 {
            let address = address(1 << 20 | number);
            if addresses.enter(Time::from_millis(u64::from(number) * 3_000), address, &config) {
                addresses.leave(address);
            }
        }
        assert!(addresses.count() <= 102, "{}", addresses.count());
    }
}
