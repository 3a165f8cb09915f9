//! The tables of limits in SECURITY.md name every limit, with its default.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::collections::BTreeMap;

use sio_app::{Config, Options, RecoveryConfig};
use sio_proto::broker::BrokerConfig;
use sio_proto::client::ClientConfig;
use sio_proto::{ClusterConfig, RelayConfig};

const PAGE: &str = include_str!("../../SECURITY.md");

/// Settings whose name begins with `max_`, and that limit nobody: how long a client keeps a
/// connection that it does not use.
const NO_LIMITS: &[&str] = &["client.max_idle"];

/// The tables in which a limit has its bare name, and whose limits these are.
const TABLES: &[(&str, &str)] = &[
    ("### Limits of a client", "client"),
    ("### Limits of a node towards its broker", "broker"),
];

/// Returns the limits in a value's debug text, by their path (`http.max_headers`), as they stand
/// there: `1024`, `5s`, `None`.
fn limits(root: &str, text: &str) -> BTreeMap<String, String> {
    let mut path = vec![root.to_owned()];
    let mut limits = BTreeMap::new();
    for line in text.lines().skip(1).map(str::trim) {
        let name = line.split(':').next().unwrap_or_default();
        if line.ends_with(['{', '(', '[']) {
            path.push(name.to_owned());
        } else if line.starts_with(['}', ')', ']']) {
            path.pop();
        } else if let Some(value) = line.strip_prefix(name).filter(|_| name.starts_with("max_")) {
            let value = value.trim_matches([':', ' ', ',']);
            limits.insert(format!("{}.{name}", path.join(".")), value.to_owned());
        }
    }
    limits
}

/// Reads a default as people write it: `65 536`, `16 KiB, and more`, `60 s`, `none`,
/// `100 each`.
fn default_of(text: &str) -> String {
    let text = text.split(',').next().unwrap_or_default().trim_end_matches(" each");
    if text == "none" {
        return "None".to_owned();
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number: u128 = digits.parse().unwrap_or_else(|_| panic!("{text}"));
    match text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ') {
        "" => number.to_string(),
        "KiB" => (number << 10).to_string(),
        "MiB" => (number << 20).to_string(),
        "GiB" => (number << 30).to_string(),
        "s" => format!("{number}s"),
        "day" => format!("{}s", number * 86_400),
        _ => panic!("{text}"),
    }
}

/// The limits in the tables, with their defaults.
fn written(page: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut of = None;
    for line in page.lines() {
        if line.starts_with('#') {
            of = TABLES
                .iter()
                .find(|(heading, _)| *heading == line)
                .map(|(_, root)| *root);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, _, limit, default, _, _] = cells[..] else {
            continue;
        };
        let name = limit.trim_matches('`');
        let roots = ["cluster.", "config.", "options.", "recovery.", "relay."];
        let name = match of {
            _ if roots.iter().any(|root| name.starts_with(root)) => name.to_owned(),
            Some(root) if name.starts_with("max_") => format!("{root}.{name}"),
            _ => continue,
        };
        assert!(limit.starts_with('`'), "{line}");
        let default = default_of(default);
        let before = found.insert(name.clone(), default.clone());
        // One limit of a broker's node holds for several stores.
        let may_repeat = of == Some("broker") && before.as_ref() == Some(&default);
        assert!(before.is_none() || may_repeat, "{name} stands twice");
    }
    found
}

/// What is wrong with the tables of a page.
fn faults(page: &str) -> Vec<String> {
    let client = ClientConfig::default();
    let mut expected = limits("config", &format!("{:#?}", Config::default()));
    expected.extend(limits("options", &format!("{:#?}", Options::default())));
    expected.extend(limits("cluster", &format!("{:#?}", ClusterConfig::default())));
    expected.extend(limits("recovery", &format!("{:#?}", RecoveryConfig::default())));
    expected.extend(limits("relay", &format!("{:#?}", RelayConfig::default())));
    expected.extend(limits("client", &format!("{client:#?}")));
    expected.extend(limits("broker", &format!("{:#?}", BrokerConfig::default())));
    // One row says that they are those of a server.
    expected.retain(|name, _| !name.starts_with("client.packet.") && !NO_LIMITS.contains(&name.as_str()));
    assert!(expected.len() > 100, "{expected:?}");
    let found = written(page);
    let wrong = expected
        .iter()
        .filter(|(name, default)| found.get(*name) != Some(default));
    let wrong = wrong.map(|(name, default)| format!("{name} is {default}, and in SECURITY.md {:?}", found.get(name)));
    let others = found.keys().filter(|name| !expected.contains_key(*name));
    wrong
        .chain(others.map(|name| format!("{name} in SECURITY.md is no limit")))
        .collect()
}

/// Hardening A14.
#[test]
fn every_limit_is_in_the_table_with_its_default() {
    assert_eq!(faults(PAGE), Vec::<String>::new());
}

/// Behind a proxy, all clients have one address: the pages name every limit that counts by it.
#[test]
fn the_page_for_proxies_has_every_limit_by_address() {
    let page = include_str!("../../docs/proxy.md");
    let section = PAGE.split("## Behind a proxy").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut by_address = 0;
    for name in written(PAGE).into_keys().filter(|name| name.ends_with("_per_address")) {
        let name = name.rsplit('.').next().unwrap();
        assert!(page.contains(name), "docs/proxy.md has no {name}");
        assert!(section.contains(name), "SECURITY.md has no {name} for proxies");
        by_address += 1;
    }
    assert_eq!(by_address, 9);
}

/// The row of `packet` is right.
#[test]
fn a_client_has_the_limits_of_packets_of_a_server() {
    let (client, server) = (ClientConfig::default(), Config::default());
    assert_eq!(format!("{:?}", client.packet), format!("{:?}", server.packet));
    assert!(PAGE.lines().any(|line| line.contains("| `packet` | as for a server |")));
}

/// The settings of `ClientBuilder` have no type of their own: their defaults stand in its source.
#[test]
fn the_limits_of_a_client_builder_are_in_the_table() {
    let source = include_str!("../src/client/builder.rs");
    for (name, constant) in [
        ("max_waiting_handlers", "MAX_WAITING_HANDLERS"),
        ("max_inbox_bytes", "MAX_INBOX_BYTES"),
        ("inbox_reserve_bytes", "INBOX_RESERVE_BYTES"),
    ] {
        let value = source.split(&format!("const {constant}: usize = ")).nth(1).unwrap();
        let value = value.split(';').next().unwrap();
        let expected = match value.split_once(" << ") {
            Some((number, shift)) => number.parse::<u128>().unwrap() << shift.parse::<u32>().unwrap(),
            None => value.parse().unwrap(),
        };
        let row = PAGE
            .lines()
            .find(|line| line.contains(&format!("| `ClientBuilder::{name}` |")));
        let default = row.unwrap_or_else(|| panic!("{name}")).split('|').nth(4).unwrap();
        assert_eq!(default_of(default.trim()), expected.to_string(), "{name}");
    }
}

/// A row that is missing, wrong or too much in any of the tables is found.
#[test]
fn a_wrong_row_is_found() {
    for name in [
        "config.max_sessions",
        "options.max_connections",
        "cluster.max_nodes",
        "recovery.max_away",
        "relay.max_age",
        "max_cookie_bytes",
        "max_reply_bytes",
    ] {
        let row = PAGE
            .lines()
            .find(|line| line.contains(&format!("| `{name}` |")))
            .unwrap();
        let without = PAGE.replace(row, "");
        assert_eq!(faults(&without).len(), 1, "{name}: {:?}", faults(&without));
        let default = row.split('|').nth(4).unwrap();
        let wrong = PAGE.replace(row, &row.replace(&format!("|{default}|"), "| 7 |"));
        assert_eq!(faults(&wrong).len(), 1, "{name}: {:?}", faults(&wrong));
    }
    let more = PAGE.replace(
        "| redirects of a handshake",
        "| x | x | `max_nothing` | 1 | x |\n| redirects of a handshake",
    );
    assert_eq!(faults(&more), ["client.max_nothing in SECURITY.md is no limit"]);
}
