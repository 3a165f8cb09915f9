//! The command line.

use std::time::Duration;

use crate::failure::{Failure, Outcome};

pub(crate) const USAGE: &str = "\
usage: against-load SCENARIO --port P --pid PID [options]

The server listens on 127.0.0.1:P; PID is its process. One line of JSON is the result.

scenarios:
  echo        each client sends an event, and the server emits it back
  ack         the same, with an acknowledgement as the answer
  binary      the same, with an attachment
  cast        one client sends an event, and the server emits it to all
  rooms       the clients are in rooms of ten; one of each room sends events to it
  connect     clients come over a websocket, and go
  upgrade     clients come over polling, move to a websocket, and go
  polling     echo over polling: one POST and one GET
  idle        memory of clients that do nothing, before and after a large echo
  heartbeat   processor time of clients that only answer heartbeats

options:
  --n N           clients (connect, upgrade: at the same time); 1 to 20000, default 50
  --s BYTES       size of the string or attachment; 4 to 1048576, default 16
  --w N           messages in flight for each client that sends; 1 to 32, default 1
  --secs S        how long to measure; at most 120, default 5
  --warmup S      how long to run before; at most 120, default 1
  --raw           the server has no protocol: no session is opened on the websocket";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scenario {
    Echo,
    Ack,
    Binary,
    Cast,
    Rooms,
    Connect,
    Upgrade,
    Polling,
    Idle,
    Heartbeat,
}

const NAMES: [(&str, Scenario); 10] = [
    ("echo", Scenario::Echo),
    ("ack", Scenario::Ack),
    ("binary", Scenario::Binary),
    ("cast", Scenario::Cast),
    ("rooms", Scenario::Rooms),
    ("connect", Scenario::Connect),
    ("upgrade", Scenario::Upgrade),
    ("polling", Scenario::Polling),
    ("idle", Scenario::Idle),
    ("heartbeat", Scenario::Heartbeat),
];

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) scenario: Scenario,
    pub(crate) port: u16,
    pub(crate) pid: String,
    pub(crate) clients: usize,
    pub(crate) bytes: usize,
    pub(crate) in_flight: usize,
    pub(crate) measured: Duration,
    pub(crate) warmup: Duration,
    pub(crate) is_raw: bool,
}

impl Options {
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Outcome<Self> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let scenario = NAMES.iter().find(|(known, _)| *known == name);
        let (_, scenario) = scenario.ok_or_else(|| Failure::new(format!("there is no scenario `{name}`")))?;
        let mut options = Self {
            scenario: *scenario,
            port: 0,
            pid: String::new(),
            clients: 50,
            bytes: 16,
            in_flight: 1,
            measured: Duration::from_secs(5),
            warmup: Duration::from_secs(1),
            is_raw: false,
        };
        while let Some(name) = words.next() {
            if name == "--raw" {
                options.is_raw = true;
                continue;
            }
            let value = words.next().unwrap_or_default();
            match name.as_str() {
                "--port" => options.port = number(&name, &value, 1, 65_535)? as u16,
                "--pid" => options.pid = number(&name, &value, 1, u32::MAX as usize)?.to_string(),
                "--n" => options.clients = number(&name, &value, 1, 20_000)?,
                "--s" => options.bytes = number(&name, &value, 4, 1 << 20)?,
                "--w" => options.in_flight = number(&name, &value, 1, 32)?,
                "--secs" => options.measured = seconds(&name, &value)?,
                "--warmup" => options.warmup = seconds(&name, &value)?,
                _ => return Err(Failure::new(format!("there is no option `{name}`"))),
            }
        }
        if options.port == 0 || options.pid.is_empty() {
            return Err(Failure::new("`--port` and `--pid` are needed"));
        }
        if options.scenario == Scenario::Rooms && !options.clients.is_multiple_of(10) {
            return Err(Failure::new("rooms of ten need a multiple of ten clients"));
        }
        Ok(options)
    }

    pub(crate) fn name(&self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, scenario)| *scenario == self.scenario)
            .map_or("", |(name, _)| name)
    }
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Outcome<usize> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Failure::new(format!("`{name}` takes a number from {least} to {most}")))
}

fn seconds(name: &str, value: &str) -> Outcome<Duration> {
    value
        .parse()
        .ok()
        .filter(|seconds| (0.0..=120.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Failure::new(format!("`{name}` takes seconds from 0 to 120")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn good_and_bad_lines() {
        let options = parse("echo --port 3000 --pid 7 --n 2 --secs 0.5 --raw").expect("a good line");
        assert_eq!((options.port, options.clients, options.is_raw), (3000, 2, true));
        assert_eq!(options.name(), "echo");
        for bad in [
            "",
            "dance --port 1 --pid 1",
            "echo --port 1",
            "echo --pid 1",
            "echo --port 0 --pid 1",
            "echo --port 1 --pid 1 --n 0",
            "echo --port 1 --pid 1 --s 3",
            "echo --port 1 --pid 1 --w 33",
            "echo --port 1 --pid 1 --secs 121",
            "echo --port 1 --pid 1 --secs NaN",
            "echo --port 1 --pid 1 --n",
            "echo --port 1 --pid 1 --x 1",
            "rooms --port 1 --pid 1 --n 15",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
