//! What a server has while only the bystander is there: before an attack, and after it.

use super::clients;
use super::field::Field;
use super::watch::HOME;
use crate::failure::{Failure, Outcome};
use crate::process::open_descriptors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// How long the first look waits until newcomers have gone.
const FIRST: Duration = Duration::from_secs(10);

/// How often descriptors are counted. The question about sessions is a connection of its own, which
/// is gone in one of these counts.
const COUNTS: usize = 10;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What `/__stats` counts that must be as before. Deadlines are not among them: those of sessions
/// that have ended may stay until their time, and their memory is weighed.
const HELD: [&str; 5] = ["connections", "sockets", "rooms", "recoverable", "queued_bytes"];

/// Numbers of what a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Open sessions by generation and transport, and the counts of [`HELD`].
    counts: BTreeMap<String, u64>,
    descriptors: u64,
}

impl Rest {
    /// Waits until the bystander alone has a session, and returns what there is then. Newcomers
    /// must be kept away meanwhile.
    pub(super) fn first(port: u16, process: u32) -> Outcome<Self> {
        let end = Instant::now() + FIRST;
        loop {
            let rest = Self::read(port, process)?;
            if rest.is_of_one() {
                return Ok(rest);
            }
            if Instant::now() > end {
                return Err(Failure::new(format!("the bystander is not alone: {rest:?}")));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether there is one session, with its socket, and nothing waits.
    fn is_of_one(&self) -> bool {
        let is_one = |name: &str| self.counts.get(name) == Some(&1);
        is_one("sessions") && is_one("sockets") && self.counts.get("queued_bytes") == Some(&0)
    }

    fn read(port: u16, process: u32) -> Outcome<Self> {
        let counts = counts(&clients::stats(HOME, port)?)?;
        let mut descriptors = u64::MAX;
        for _ in 0..COUNTS {
            descriptors = descriptors.min(open_descriptors(process)? as u64);
            thread::sleep(PAUSE / 10);
        }
        Ok(Self { counts, descriptors })
    }

    /// Names what is not as it was at first.
    fn differences(&self, first: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.counts.keys().chain(first.counts.keys()).collect();
        let count = |rest: &Self, name: &str| rest.counts.get(name).copied().unwrap_or(0);
        let counted = names
            .into_iter()
            .map(|name| (name.as_str(), count(self, name), count(first, name)));
        counted
            .chain([("descriptors", self.descriptors, first.descriptors)])
            .filter(|(_, now, before)| now != before)
            .map(|(name, now, before)| format!("{now} {name} instead of {before}"))
            .collect()
    }
}

/// Waits until everything is as it was at first. Newcomers must be kept away meanwhile.
pub(super) fn settle(field: &Field, process: u32, first: &Rest, limit: Duration) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        let rest = Rest::read(field.port, process).map_err(|why| format!("what is left is not known: {why}"))?;
        let differences = rest.differences(first);
        if differences.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!(
                "after {} s there are {}",
                limit.as_secs(),
                differences.join(", ")
            ));
        }
        thread::sleep(PAUSE);
    }
}

/// Reads the numbers in an answer of `/__stats`. A number that is missing is a mistake, because it
/// would always be as before.
fn counts(stats: &Value) -> Outcome<BTreeMap<String, u64>> {
    let number = |value: &Value, name: &str| {
        let number = value[name].as_u64();
        number.ok_or_else(|| Failure::new(format!("no {name} in {stats}")))
    };
    let mut counts = BTreeMap::from([("sessions".to_owned(), number(stats, "sessions")?)]);
    for name in HELD {
        counts.insert(name.to_owned(), number(&stats["held"], name)?);
    }
    let kinds = stats["by_kind"].as_object();
    for (kind, _) in kinds.ok_or_else(|| Failure::new(format!("no by_kind in {stats}")))? {
        counts.insert(format!("sessions of {kind}"), number(&stats["by_kind"], kind)?);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stats() -> Value {
        json!({
            "sessions": 1,
            "by_kind": { "4.x polling": 0, "4.x websocket": 1 },
            "held": { "connections": 2, "sockets": 1, "rooms": 0, "recoverable": 0, "queued_bytes": 0, "timers": 3 },
        })
    }

    fn rest(stats: &Value, descriptors: u64) -> Rest {
        Rest {
            counts: counts(stats).unwrap(),
            descriptors,
        }
    }

    #[test]
    fn one_of_anything_is_seen() {
        let first = rest(&stats(), 14);
        assert!(first.is_of_one());
        assert!(rest(&stats(), 14).differences(&first).is_empty());
        assert_eq!(rest(&stats(), 15).differences(&first), ["15 descriptors instead of 14"]);
        assert_eq!(rest(&stats(), 13).differences(&first).len(), 1);
        for (place, name) in [
            ("/sessions", "2 sessions instead of 1"),
            ("/by_kind/4.x websocket", "2 sessions of 4.x websocket instead of 1"),
            ("/held/sockets", "2 sockets instead of 1"),
            ("/held/rooms", "1 rooms instead of 0"),
            ("/held/connections", "3 connections instead of 2"),
            ("/held/queued_bytes", "1 queued_bytes instead of 0"),
        ] {
            let mut more = stats();
            let number = more.pointer_mut(place).unwrap();
            *number = json!(number.as_u64().unwrap() + 1);
            assert_eq!(rest(&more, 14).differences(&first), [name]);
        }
        // A kind that was not there before is a difference, too.
        let mut more = stats();
        more["by_kind"]["0.9 websocket"] = json!(1);
        assert_eq!(
            rest(&more, 14).differences(&first),
            ["1 sessions of 0.9 websocket instead of 0"]
        );
        // A deadline may stay.
        let mut more = stats();
        more["held"]["timers"] = json!(9);
        assert!(rest(&more, 14).differences(&first).is_empty());
    }

    #[test]
    fn what_is_not_told_is_a_mistake() {
        for name in ["sessions", "by_kind", "held"] {
            let mut less = stats();
            less.as_object_mut().unwrap().remove(name);
            assert!(counts(&less).is_err(), "{name}");
        }
        for name in HELD {
            let mut less = stats();
            less["held"].as_object_mut().unwrap().remove(name);
            assert!(counts(&less).is_err(), "{name}");
        }
    }
}
