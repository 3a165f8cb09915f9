//! A second, naive account of a client's attempts (docs/protocol/socket-io.md §8.4): how they are
//! counted, how long the client waits before them, and after what it gives up.

use std::time::Duration;

use sio_proto::Time;
use sio_proto::client::{ClientConfig, State, StopReason};

/// What the answers of a failing network ask for (`Retry-After`).
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What has come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Connecting,
    Connected,
    Lost,
    Failed,
    Waiting { until: Time },
    Stopped,
    Closed,
}

pub struct Law {
    delay: f64,
    max: f64,
    factor: f64,
    attempts: Option<u32>,
    /// A client with a provider asks it once more after a refusal, and then connects at once.
    asks: bool,
    /// How many states have been read.
    read: usize,
    /// How many delays have been given since the last connection.
    given: u32,
    last: Last,
    /// The machine has slept: the attempt under way may begin anew.
    slept: bool,
}

impl Law {
    pub fn new(config: &ClientConfig) -> Self {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Self {
            delay: millis(config.reconnection_delay),
            max: millis(config.reconnection_delay_max),
            factor: config.randomization_factor,
            attempts: config.reconnection_attempts,
            asks: config.provider,
            read: 0,
            given: 0,
            last: Last::Nothing,
            slept: false,
        }
    }

    /// The user wakes the client: if it waits, it connects now, and counts from the beginning.
    pub fn wakes(&mut self, now: Time) {
        if matches!(self.last, Last::Waiting { .. }) {
            self.given = 0;
            self.last = Last::Waiting { until: now };
        }
    }

    /// The machine has slept: an attempt that is under way is given up, and another one begins at
    /// once, and counts from the beginning.
    pub fn sleeps(&mut self) {
        self.slept = true;
    }

    /// Reads the states that are new.
    ///
    /// # Panics
    ///
    /// If the client has broken a promise.
    pub fn read(&mut self, states: &[(Time, State)]) {
        for (now, state) in &states[self.read..] {
            assert_ne!(self.last, Last::Closed, "a closed client says nothing: {states:?}");
            self.last = self.next(*now, state, states);
        }
        self.read = states.len();
    }

    fn next(&mut self, now: Time, state: &State, states: &[(Time, State)]) -> Last {
        match state {
            State::Connecting(number) => {
                assert_eq!(*number, self.given, "attempts are counted: {states:?}");
                match self.last {
                    Last::Waiting { until } => assert!(now >= until, "the delay is kept: {states:?}"),
                    Last::Lost => panic!("a lost connection is followed by a delay: {states:?}"),
                    Last::Failed => assert!(self.asks, "a failure is followed by a delay: {states:?}"),
                    Last::Nothing | Last::Connecting | Last::Connected | Last::Stopped | Last::Closed => {}
                }
                Last::Connecting
            }
            State::Connected { .. } => {
                assert_eq!(self.last, Last::Connecting, "{states:?}");
                self.given = 0;
                Last::Connected
            }
            State::Lost(_) => {
                assert_eq!(self.last, Last::Connected, "{states:?}");
                Last::Lost
            }
            State::Failed(error) => {
                assert_eq!(self.last, Last::Connecting, "{states:?}");
                if self.slept && &*error.message == "the machine has slept" {
                    (self.slept, self.given) = (false, 0);
                    return Last::Nothing;
                }
                Last::Failed
            }
            State::Waiting(until) => {
                self.delay(until.saturating_since(now), states);
                Last::Waiting { until: *until }
            }
            State::Stopped(reason) => {
                if *reason == StopReason::AttemptsExhausted {
                    let attempts = self.attempts.map(|most| self.given >= most);
                    assert_eq!(attempts, Some(true), "the attempts are not over: {states:?}");
                    assert!(matches!(self.last, Last::Lost | Last::Failed), "{states:?}");
                }
                self.given = 0;
                match reason {
                    StopReason::Closed => Last::Closed,
                    _ => Last::Stopped,
                }
            }
            _ => self.last,
        }
    }

    /// A delay: `delay * 2^n`, plus or minus the factor, and no more than the maximum. A server may
    /// ask for more.
    fn delay(&mut self, delay: Duration, states: &[(Time, State)]) {
        assert!(matches!(self.last, Last::Lost | Last::Failed), "{states:?}");
        let more = self.attempts.is_none_or(|most| self.given < most);
        assert!(more, "the attempts are over: {states:?}");
        let nominal = self.delay * f64::from(1u32 << self.given.min(20));
        let least = (nominal * (1.0 - self.factor)).min(self.max).floor();
        let most = (nominal * (1.0 + self.factor)).min(self.max);
        let millis = delay.as_secs_f64() * 1000.0;
        let is_in_band = millis + 0.001 >= least && millis <= most + 0.001;
        assert!(
            is_in_band || delay == RETRY_AFTER && least <= 2000.0,
            "{millis} ms is not between {least} and {most}: {states:?}"
        );
        self.given += 1;
    }
}
