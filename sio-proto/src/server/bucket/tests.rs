//! The buckets, compared with a naive model that knows all events that ever came.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const START: Time = Time::from_micros(7);

/// A bucket that remembers everything: it steps through each microsecond.
struct Naive {
    rate: Rate,
    /// In millionths.
    level: i128,
    now: u64,
}

impl Naive {
    fn advance(&mut self, micros: u64) {
        for _ in 0..micros {
            let full = i128::from(self.rate.burst) * 1_000_000;
            self.level = (self.level + i128::from(self.rate.per_second)).min(full);
        }
        self.now += micros;
    }

    fn take(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * 1_000_000;
    }

    fn tokens(&self) -> u64 {
        u64::try_from(self.level.div_euclid(1_000_000)).unwrap_or(0)
    }

    /// How many microseconds pass until there is a token.
    fn wait(&self) -> u64 {
        let mut later = Self { ..*self };
        while later.tokens() == 0 {
            later.advance(1);
        }
        later.now - self.now
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Take(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![(0..5_000_u64).prop_map(Step::Pass), (0..40_u64).prop_map(Step::Take)];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    /// However often a bucket is asked, it has the tokens of the model, and says when the next one
    /// comes to the microsecond.
    #[test]
    fn a_bucket_is_the_naive_bucket(per_second in 1_000..2_000_000_u64, burst in 40..60_u64, steps in steps()) {
        let rate = Rate { per_second, burst };
        let (mut bucket, mut now) = (Bucket::new(rate, START), START);
        let mut naive = Naive { rate, level: i128::from(burst) * 1_000_000, now: 0 };
        for step in steps {
            match step {
                Step::Pass(micros) => {
                    now = now + Duration::from_micros(micros);
                    naive.advance(micros);
                }
                // Whoever obeys takes nothing while there is no token.
                Step::Take(tokens) if naive.tokens() > 0 => {
                    bucket.take(now, tokens);
                    naive.take(tokens);
                }
                Step::Take(_) => {}
            }
            prop_assert_eq!(bucket.tokens(now), naive.tokens());
            prop_assert_eq!(bucket.wait(now).as_micros(), u128::from(naive.wait()));
        }
    }

    /// In no window of time does more come than the burst, what the rate allows in this time, and
    /// the one event that made the debt.
    #[test]
    fn no_window_has_more_than_the_rate_allows(per_second in 1..500_u64, burst in 1..50_u64, gaps in proptest::collection::vec(0..200_u64, 1..60)) {
        let limit = RateLimit::NONE.events(per_second, burst);
        let mut meter = Meter::new(limit, START);
        let (mut now, mut taken) = (START, Vec::new());
        for gap in gaps {
            now = now + Duration::from_millis(gap);
            let pace = meter.pace(now);
            prop_assert_eq!(pace.until.is_none(), pace.packets > 0);
            for _ in 0..pace.packets {
                prop_assert_eq!(meter.measure(now, 10), Measured::Fits);
                taken.push(now);
            }
            if let Some(until) = pace.until {
                let mut later = meter;
                prop_assert!(later.pace(until).packets >= 1, "the time that it names is right");
            }
        }
        for (from, first) in taken.iter().enumerate() {
            let last = taken[taken.len() - 1];
            let allowed = burst + last.saturating_since(*first).as_micros() as u64 * per_second / 1_000_000 + 1;
            prop_assert!((taken.len() - from) as u64 <= allowed);
        }
    }
}

#[test]
fn the_largest_rates_do_not_overflow() {
    let limit = RateLimit::NONE.events(1 << 40, 1 << 40).bytes(1 << 40, 1 << 40);
    assert_eq!(limit.validate("x"), Ok(()));
    let mut meter = Meter::new(limit, Time::ZERO);
    let end = Time::from_micros(u64::MAX);
    assert_eq!(meter.measure(Time::ZERO, 1 << 40), Measured::Fits);
    assert!(meter.pace(Time::ZERO).until.is_some());
    assert_eq!(meter.pace(end).until, None);
    assert_eq!(meter.measure(end, usize::MAX), Measured::TooLarge);
}

#[test]
fn a_clock_that_goes_back_gives_no_tokens() {
    let mut bucket = Bucket::new(
        Rate {
            per_second: 10,
            burst: 1,
        },
        Time::from_millis(1_000),
    );
    bucket.take(Time::from_millis(1_000), 1);
    assert_eq!(bucket.tokens(Time::from_millis(10)), 0);
    assert_eq!(bucket.tokens(Time::from_millis(1_099)), 0);
    assert_eq!(bucket.tokens(Time::from_millis(1_100)), 1);
}

#[test]
fn who_is_disconnected_never_waits() {
    let limit = RateLimit::NONE.events(1, 2).excess(Excess::Disconnect);
    let mut meter = Meter::new(limit, START);
    let results: Vec<_> = (0..3).map(|_| meter.measure(START, 0)).collect();
    assert_eq!(results, [Measured::Fits, Measured::Fits, Measured::TooFast]);
    assert_eq!(meter.pace(START), Pace::FREE);
}

/// After a long rest the bucket is full and not more than full, whatever is asked first.
#[test]
fn a_rest_fills_the_bucket_and_no_more() {
    let rate = Rate {
        per_second: 1,
        burst: 10,
    };
    let rested = START + Duration::from_secs(100);
    let mut bucket = Bucket::new(rate, START);
    bucket.take(START, 10);
    let mut other = bucket;
    bucket.take(rested, 4);
    assert_eq!(bucket.tokens(rested), 6);
    assert_eq!(
        other.wait(START + Duration::from_millis(400)),
        Duration::from_millis(600)
    );
    assert_eq!(other.wait(rested), Duration::ZERO);
}
