//! What a node holds after Redis was killed again and again: as many descriptors as before, and
//! memory that does not grow. The numbers are those of a process, so the test runs in one of its
//! own.

use std::env;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::Cluster;

use super::connections::config;
use super::peers::{Hearer, Served};
use super::say;
use super::servers::Redis;

const ALONE: &str = "SIO_ALONE";
const KILLS: usize = 20;

/// So often Redis is killed before it is measured first.
const WARM: usize = 5;

/// A message that is sent while Redis is away. All of them wait.
const BYTES: usize = 10_000;
const MESSAGES: usize = 100;

/// The memory of twenty times what has waited would be 20 MB.
const MAX_GROWTH_KB: usize = 4_000;

/// Until something is true. Fails after 20 s.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(2));
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

fn resident_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number of kilobytes")
}

/// Kills Redis, sends while it is away, and waits until both nodes have everything behind them.
fn round(redis: &mut Redis, nodes: &[Served; 2], clients: &[Hearer; 2], number: &mut u64) {
    let counts = |node: &Served| node.io.metrics().cluster.expect("a cluster");
    redis.kill();
    until("both nodes notice it", || nodes.iter().all(|node| !counts(node).is_up));
    for _ in 0..MESSAGES {
        nodes[0].io.emit("large", "x".repeat(BYTES));
    }
    redis.start_again();
    until("both nodes are back", || {
        nodes
            .iter()
            .all(|node| counts(node).is_up && counts(node).waiting_bytes == 0)
    });
    // A number that the other node's client hears: until then, some are lost.
    let has = |client: &Hearer, number| client.heard().iter().any(|(heard, _)| *heard == number);
    until("the other node hears", || {
        *number += 1;
        nodes[0].io.emit("n", *number);
        sleep(Duration::from_millis(5));
        has(&clients[1], *number)
    });
    until("the client of this node hears", || has(&clients[0], *number));
}

fn alone() {
    let mut redis = Redis::start(&[]);
    let broker = config(&format!("redis://127.0.0.1:{}", redis.port))
        .reconnect_delay(Duration::from_millis(5))
        .reconnect_delay_max(Duration::from_millis(20));
    let nodes = [(); 2].map(|()| Served::start(Cluster::new(broker.clone()), |_| {}));
    let clients = [0, 1].map(|at: usize| Hearer::connect(nodes[at].address));
    let counts = |at: usize| nodes[at].io.metrics().cluster.expect("a cluster");
    until("the cluster is there", || (0..2).all(|at| counts(at).is_up));
    let mut number = 0;
    (0..WARM).for_each(|_| round(&mut redis, &nodes, &clients, &mut number));
    let before = (descriptors(), resident_kb());
    let reconnects = counts(0).broker.reconnects;
    let started = Instant::now();
    (0..KILLS).for_each(|_| round(&mut redis, &nodes, &clients, &mut number));
    let took = started.elapsed();
    // What was closed last may still be open for a moment.
    until("there are as many descriptors as before", || descriptors() <= before.0);
    let after = (descriptors(), resident_kb());
    say(&format!(
        "{KILLS} kills of Redis in {} ms: {} descriptors before and {} after; {} kB and {} kB of memory",
        took.as_millis(),
        before.0,
        after.0,
        before.1,
        after.1,
    ));
    assert!(
        counts(0).broker.reconnects - reconnects >= KILLS as u64,
        "each one was noticed"
    );
    assert!(
        after.1 < before.1 + MAX_GROWTH_KB,
        "{} kB, then {} kB",
        before.1,
        after.1
    );
}

#[test]
#[ignore = "needs redis-server"]
fn nothing_leaks_when_redis_is_killed_again_and_again() {
    if env::var_os(ALONE).is_some() {
        return alone();
    }
    let name = "redis::leaks::nothing_leaks_when_redis_is_killed_again_and_again";
    let program = env::current_exe().expect("its path");
    let words = ["--ignored", "--exact", "--nocapture", "--test-threads", "1", name];
    let mut command = Command::new(program);
    let output = command.args(words).env(ALONE, "1").output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    let seen = said.lines().find(|line| line.contains("kills of Redis"));
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    say(seen.expect("the test has run"));
}
