//! The numbers of a run, and how they are written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use sio_tokio::client::Transport;

use crate::arguments::{Bench, Work};
use crate::clock;
use crate::ending::Failed;
use crate::output::Output;

/// The longest latency that is counted as it is, in microseconds: an hour.
const MAX_MICROS: u64 = 3_600_000_000;

/// The shares of latencies that are written.
const SHARES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// How many kinds of errors are kept apart.
const MAX_KINDS: usize = 8;

/// All other kinds.
const OTHERS: &str = "other errors";

/// The widest bar of the histogram.
const WIDTH: u64 = 40;

/// How often something was done, and how long it took.
pub(super) struct Latencies(Option<Histogram<u64>>);

impl Latencies {
    fn new() -> Self {
        // The bounds are constants that a histogram takes.
        Self(Histogram::new_with_bounds(1, MAX_MICROS, 3).ok())
    }

    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MAX_MICROS);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(micros.max(1));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    fn at(&self, share: f64) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |histogram| histogram.value_at_percentile(share))
    }

    fn to_json(&self) -> Value {
        let shares = SHARES.iter().map(|share| (format!("p{share}"), json!(self.at(*share))));
        let mut object: serde_json::Map<String, Value> = shares.collect();
        object.insert("count".into(), json!(self.count()));
        object.insert("unit".into(), json!("microseconds"));
        Value::Object(object)
    }

    fn words(&self) -> String {
        SHARES
            .map(|share| format!("p{share} {}", millis(self.at(share))))
            .join(", ")
    }

    /// The distribution, in steps that double.
    fn bars(&self) -> Vec<String> {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Vec::new();
        };
        let (mut below, mut step) = (0, 16);
        let mut steps = Vec::new();
        while below < histogram.max() {
            let count = histogram.count_between(below + 1, step);
            steps.push((below, step, count));
            (below, step) = (step, step.saturating_mul(2));
        }
        let first = steps.iter().position(|(_, _, count)| *count > 0).unwrap_or(0);
        let most = steps.iter().map(|(_, _, count)| *count).max().unwrap_or(1).max(1);
        let line = |(from, to, count): &(u64, u64, u64)| {
            let width = usize::try_from((count * WIDTH).div_ceil(most)).unwrap_or(0);
            format!(
                "{:>9} – {:>9}  {:<40} {count}",
                millis(*from),
                millis(*to),
                "█".repeat(width)
            )
        };
        steps[first..].iter().map(line).collect()
    }
}

fn millis(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "people read three digits of it")]
    let millis = micros as f64 / 1000.0;
    if millis < 10.0 {
        format!("{millis:.2} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// Everything that a run has found.
pub(super) struct Summary {
    title: String,
    pub(super) asked: u32,
    pub(super) connected: u32,
    pub(super) connecting: Latencies,
    /// How long all connections took.
    pub(super) connected_in: Duration,
    pub(super) rounds: Latencies,
    pub(super) took: Duration,
    /// When the work began. An interrupt may come before it has ended.
    pub(super) began: Option<Instant>,
    /// How often each error has happened.
    errors: BTreeMap<String, u64>,
    /// How many clients have ended on each transport.
    transports: BTreeMap<&'static str, u32>,
    /// How many connections ended during the work.
    pub(super) lost: u32,
    work: Work,
    /// What the user should know.
    pub(super) hint: Option<String>,
}

impl Summary {
    pub(super) fn new(arguments: &Bench) -> Self {
        let dial = &arguments.dial;
        let via: Vec<String> = dial
            .transport
            .iter()
            .map(|via| format!("{via:?}").to_lowercase())
            .collect();
        Self {
            title: format!(
                "{} of {}, generation {}, {} clients over {}, {} bytes",
                arguments.work.name(),
                dial.target,
                dial.generation.name(),
                arguments.clients,
                via.join(","),
                arguments.size
            ),
            asked: arguments.clients,
            connected: 0,
            connecting: Latencies::new(),
            connected_in: Duration::ZERO,
            rounds: Latencies::new(),
            took: Duration::ZERO,
            began: None,
            errors: BTreeMap::new(),
            transports: BTreeMap::new(),
            lost: 0,
            work: arguments.work,
            hint: None,
        }
    }

    /// Counts an error. A server may choose its words, so only some kinds are kept apart.
    pub(super) fn fail(&mut self, error: &str) {
        let error = crate::explain::shown(error, 200);
        let is_known = self.errors.contains_key(&error) || self.errors.len() < MAX_KINDS;
        let kind = if is_known { error } else { OTHERS.to_owned() };
        *self.errors.entry(kind).or_default() += 1;
    }

    /// Counts a client that is connected over this transport, or has lost its connection.
    pub(super) fn ends_on(&mut self, transport: Option<Transport>) {
        let name = transport.map_or("none", Transport::as_str);
        *self.transports.entry(name).or_default() += 1;
    }

    pub(super) fn is_good(&self) -> bool {
        let worked = self.work == Work::Connections || self.rounds.count() > 0;
        self.connected == self.asked && self.errors.is_empty() && self.lost == 0 && worked
    }

    /// How long the work has taken, also if it was interrupted.
    fn seconds(&self) -> f64 {
        let until_now = |began: Instant| clock::now().saturating_duration_since(began);
        let took = match (self.took, self.began) {
            (Duration::ZERO, Some(began)) => until_now(began),
            (took, _) => took,
        };
        took.as_secs_f64()
    }

    fn rate(&self) -> f64 {
        let seconds = self.seconds();
        #[expect(clippy::cast_precision_loss, reason = "people read three digits of it")]
        let count = self.rounds.count() as f64;
        if seconds > 0.0 { count / seconds } else { 0.0 }
    }

    /// `48 websocket, 2 polling`.
    fn transport_words(&self) -> String {
        let counts = self.transports.iter().map(|(name, count)| format!("{count} {name}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn write(&self, out: &mut Output, as_json: bool) -> Result<(), Failed> {
        if as_json {
            return out.json(&self.to_json());
        }
        let version = env!("CARGO_PKG_VERSION");
        out.line(&out.bold(&format!("sio bench {version}: {}", self.title)))?;
        let seconds = self.connected_in.as_secs_f64();
        out.line(&format!(
            "connections  {} of {} in {seconds:.2} s",
            self.connected, self.asked
        ))?;
        if self.connecting.count() > 0 {
            out.line(&format!("             {}", self.connecting.words()))?;
        }
        if !self.transports.is_empty() {
            out.line(&format!("transports   {}", self.transport_words()))?;
        }
        if self.work != Work::Connections && self.connected > 0 {
            let what = if self.work == Work::Echo {
                "echoes      "
            } else {
                "deliveries  "
            };
            let (count, rate, seconds) = (self.rounds.count(), self.rate(), self.seconds());
            out.line(&format!("{what} {count} in {seconds:.1} s, {rate:.0} a second"))?;
        }
        if self.rounds.count() > 0 {
            out.line(&format!("             {}", self.rounds.words()))?;
        }
        let bars = if self.work == Work::Connections {
            self.connecting.bars()
        } else {
            self.rounds.bars()
        };
        for bar in bars {
            out.line(&format!("  {bar}"))?;
        }
        if self.lost > 0 {
            out.line(&out.red(&format!("lost         {} connections", self.lost)))?;
        }
        for (error, count) in &self.errors {
            out.line(&out.red(&format!("errors       {count} × {error}")))?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| out.line(hint))
    }

    fn to_json(&self) -> Value {
        json!({
            "title": self.title,
            "asked": self.asked,
            "connected": self.connected,
            "connected_in_s": self.connected_in.as_secs_f64(),
            "connecting": self.connecting.to_json(),
            "rounds": self.rounds.to_json(),
            "seconds": self.seconds(),
            "per_second": self.rate(),
            "transports": self.transports,
            "lost": self.lost,
            "errors": self.errors,
            "hint": self.hint,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Cli, Command};

    /// A server that answers each event with another error keeps no memory.
    #[test]
    fn errors_are_counted_in_a_few_kinds() {
        let Command::Bench(arguments) = Cli::parse_from(["sio", "bench", "localhost"]).command else {
            panic!("another command");
        };
        let mut summary = Summary::new(&arguments);
        for number in 0..1000 {
            summary.fail(&format!("{number} {}", "x".repeat(1000)));
        }
        summary.fail("0");
        assert_eq!(summary.errors.len(), MAX_KINDS + 1);
        assert_eq!(summary.errors.values().sum::<u64>(), 1001);
        assert!(summary.errors.keys().all(|kind| kind.chars().count() < 220));
    }

    #[test]
    fn bars_count_every_latency_once() {
        let mut latencies = Latencies::new();
        for micros in [1, 16, 17, 32, 33, 1000, 1000, 5_000_000] {
            latencies.add(Duration::from_micros(micros));
        }
        let counted: u64 = latencies
            .bars()
            .iter()
            .map(|bar| bar.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!((counted, latencies.count()), (8, 8));
        assert!(latencies.bars()[0].contains("████"), "{:?}", latencies.bars());
        assert_eq!(Latencies::new().bars(), Vec::<String>::new());
    }
}
