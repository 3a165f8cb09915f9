//! The table of limits in SECURITY.md names every limit, with its default.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::collections::BTreeMap;

use sio_app::{Config, Options, RecoveryConfig};
use sio_proto::ClusterConfig;

/// Returns the limits in a value's debug text, by their path: `http.max_headers`.
fn limits(root: &str, text: &str) -> BTreeMap<String, u128> {
    let mut path = vec![root.to_owned()];
    let mut limits = BTreeMap::new();
    for line in text.lines().skip(1).map(str::trim) {
        let name = line.split(':').next().unwrap_or_default();
        if line.ends_with(['{', '(', '[']) {
            path.push(name.to_owned());
        } else if line.starts_with(['}', ')', ']']) {
            path.pop();
        } else if let Some(value) = line.strip_prefix(name).filter(|_| name.starts_with("max_")) {
            let value = value.trim_matches([':', ' ', ',']).parse().unwrap();
            limits.insert(format!("{}.{name}", path.join(".")), value);
        }
    }
    limits
}

/// Reads a number as people write it: `65 536`, `16 KiB`.
fn number(text: &str) -> u128 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let shift = ["", "KiB", "MiB", "GiB"].iter().position(|known| *known == unit);
    digits.parse::<u128>().unwrap() << (10 * shift.unwrap_or_else(|| panic!("{text}")))
}

/// Hardening A14.
#[test]
fn every_limit_is_in_the_table_with_its_default() {
    let mut expected = limits("config", &format!("{:#?}", Config::default()));
    expected.extend(limits("options", &format!("{:#?}", Options::default())));
    expected.extend(limits("cluster", &format!("{:#?}", ClusterConfig::default())));
    expected.extend(limits("recovery", &format!("{:#?}", RecoveryConfig::default())));
    assert!(expected.len() > 40, "{expected:?}");
    let rows = include_str!("../../SECURITY.md")
        .lines()
        .filter(|line| line.starts_with('|'));
    let mut found = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, _, limit, default, _, _] = cells[..] else {
            continue;
        };
        let name = limit.trim_matches('`');
        if ["cluster.", "config.", "options.", "recovery."]
            .iter()
            .any(|root| name.starts_with(root))
        {
            assert!(limit.starts_with('`'), "{row}");
            assert_eq!(
                found.insert(name.to_owned(), number(default)),
                None,
                "{name} stands twice"
            );
        }
    }
    for (name, default) in &expected {
        assert_eq!(found.get(name), Some(default), "{name} in SECURITY.md");
    }
    let other = found.keys().find(|name| !expected.contains_key(*name));
    assert_eq!(other, None, "what stands in SECURITY.md is a limit");
}
