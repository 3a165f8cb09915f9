//! The delays between attempts, as in socket.io-client (docs/protocol/socket-io.md §8.4).

use core::time::Duration;

use super::config::ClientConfig;
use crate::Entropy;

/// Counts attempts and says how long the client waits before the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How many delays have been given since the last reset.
    pub(super) const fn attempts(self) -> u32 {
        self.attempts
    }

    pub(super) const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next delay, in whole milliseconds: `delay * 2^attempts`, plus or minus up to
    /// `randomization_factor` of it, and no more than the maximum.
    pub(super) fn next(&mut self, config: &ClientConfig, entropy: &mut dyn Entropy) -> Duration {
        let max = millis(config.reconnection_delay_max);
        let nominal = millis(config.reconnection_delay).saturating_mul(1 << self.attempts.min(31));
        self.attempts = self.attempts.saturating_add(1);
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let random = u64::from_le_bytes(random) >> 11;
        // 53 random bits are a fraction of at least 0 and less than 1.
        let fraction = random as f64 / (1u64 << 53) as f64;
        let deviation = (fraction * config.randomization_factor * nominal as f64) as u64;
        let lower = ((fraction * 10.0) as u64).is_multiple_of(2);
        let delay = match lower {
            true => nominal.saturating_sub(deviation),
            false => nominal.saturating_add(deviation),
        };
        Duration::from_millis(delay.min(max))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Client C28: delays have jitter, and lie in the documented band.
        #[test]
        fn delays_lie_in_their_band(random in any::<[u64; 8]>(), factor in 0.0..=1.0f64) {
            let config = ClientConfig::default().randomization_factor(factor);
            let mut backoff = Backoff::default();
            for (attempt, random) in random.into_iter().enumerate() {
                let mut entropy = |out: &mut [u8]| out.copy_from_slice(&random.to_le_bytes());
                let delay = backoff.next(&config, &mut entropy).as_millis() as f64;
                let nominal = 1000.0 * f64::from(1u32 << attempt);
                prop_assert!(delay >= (nominal * (1.0 - factor)).floor().min(5000.0), "{delay}");
                prop_assert!(delay <= (nominal * (1.0 + factor)).min(5000.0), "{delay}");
            }
        }
    }

    /// Client C28: the random numbers make delays shorter and longer, and not two alike.
    #[test]
    fn jitter_goes_both_ways() {
        let mut delays: Vec<u128> = (0..20u64)
            .map(|step| {
                let random = u64::MAX / 20 * step;
                let mut entropy = |out: &mut [u8]| out.copy_from_slice(&random.to_le_bytes());
                let delay = Backoff::default().next(&ClientConfig::default(), &mut entropy);
                delay.as_millis()
            })
            .collect();
        let longer = delays.iter().filter(|delay| **delay > 1000).count();
        assert!((8..=10).contains(&longer), "{delays:?}");
        delays.sort_unstable();
        delays.dedup();
        assert_eq!(delays.len(), 20);
    }

    #[test]
    fn without_jitter_delays_double_up_to_the_maximum() {
        let config = ClientConfig::default().randomization_factor(0.0);
        let (mut backoff, mut entropy) = (Backoff::default(), |out: &mut [u8]| out.fill(0x77));
        let delays = [1000, 2000, 4000, 5000, 5000];
        for delay in delays {
            assert_eq!(backoff.next(&config, &mut entropy), Duration::from_millis(delay));
        }
        backoff.reset();
        assert_eq!(backoff.next(&config, &mut entropy), Duration::from_secs(1));
    }
}
