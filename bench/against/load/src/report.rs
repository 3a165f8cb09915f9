//! The result, as one line of JSON.

use std::fmt::Write;

use crate::arguments::Options;
use crate::histogram::Histogram;
use crate::turns::Measured;

pub(crate) struct Report(String);

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let mut report = Self(format!("{{\"scenario\":\"{}\"", options.name()));
        report.number("n", options.clients as f64);
        report.number("s", options.bytes as f64);
        report.number("w", options.in_flight as f64);
        report
    }

    /// Adds what is common to all scenarios that count operations.
    pub(crate) fn operations(&mut self, count: u64, measured: &Measured, waits: &Histogram) {
        let server = measured.server.as_secs_f64();
        self.number("ops", count as f64);
        self.number("secs", measured.seconds);
        self.number("server_us", server * 1e6 / count as f64);
        self.number("ops_s", count as f64 / measured.seconds);
        self.number("server_cores", server / measured.seconds);
        self.number("generator_cores", measured.generator.as_secs_f64() / measured.seconds);
        for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
            if let Some(micros) = waits.micros(share) {
                self.number(name, micros);
            }
        }
    }

    /// Adds a number. What is no number, such as a price of nothing, is left out.
    pub(crate) fn number(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            let _ = write!(self.0, ",\"{name}\":{}", (value * 1000.0).round() / 1000.0);
        }
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
