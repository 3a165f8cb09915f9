//! Waiting times, counted in ranges that are at most 1/64 wide of what they hold.

use std::time::Duration;

/// Each power of two is cut into this many ranges.
const STEPS: u64 = 64;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; (STEPS * 60) as usize],
            total: 0,
        }
    }

    pub(crate) fn add(&mut self, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let place = place(nanos).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.total += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The time within which this share of all waits was over, in microseconds. `None` if nothing
    /// was counted.
    pub(crate) fn micros(&self, share: f64) -> Option<f64> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Some(value(place) as f64 / 1000.0);
            }
        }
        None
    }
}

fn place(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEPS.ilog2();
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The lower end of a range.
fn value(place: usize) -> u64 {
    let place = place as u64;
    if place < STEPS {
        return place;
    }
    let shift = place / STEPS - 1;
    (place - shift * STEPS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_narrow() {
        for nanos in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456, 10_000_000_000] {
            let low = value(place(nanos));
            assert!(low <= nanos && nanos - low <= nanos / STEPS, "{nanos}: {low}");
        }
    }

    #[test]
    fn shares() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.micros(0.5), None);
        for micros in 1..=100 {
            histogram.add(Duration::from_micros(micros));
        }
        let median = histogram.micros(0.5).expect("a hundred waits");
        let slow = histogram.micros(0.99).expect("a hundred waits");
        assert!((49.0..=50.0).contains(&median), "{median}");
        assert!((97.0..=99.0).contains(&slow), "{slow}");
    }
}
