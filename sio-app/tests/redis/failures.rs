//! What fails in the field, on servers: two nodes, and a number every ten milliseconds from one of
//! them to the clients of both. Each test says what was lost, how long the client of the same node
//! waited, and when the client of the other node heard again. A message may only be lost while
//! Redis is away, none comes twice or out of order, and local delivery never waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, ShardedMode, StreamsConfig};

use super::connections::config;
use super::peers::{Hearer, Served};
use super::say;
use super::servers::{Redis, free_port};

/// The pause between two numbers.
const PACE: Duration = Duration::from_millis(10);

/// The longest time that a client of the same node may wait. The machine may have other work.
const LOCAL: Duration = Duration::from_secs(1);

/// The longest time until another node hears again. Delays between attempts are two seconds at
/// most.
const BACK: Duration = Duration::from_secs(15);

/// A message that was sent this long before Redis went may still have been under way.
const UNDER_WAY: Duration = Duration::from_millis(500);

struct World {
    nodes: [Served; 2],
    clients: [Hearer; 2],
}

struct Report {
    lost: usize,
}

impl World {
    fn start(cluster: impl Fn() -> Cluster) -> Self {
        let nodes = [(); 2].map(|()| Served::start(cluster(), |_| {}));
        let clients = [0, 1].map(|at: usize| Hearer::connect(nodes[at].address));
        Self { nodes, clients }
    }

    fn classic(url: &str) -> Self {
        let world = Self::start(|| Cluster::new(config(url)));
        world.until_up();
        world
    }

    fn streams(url: &str) -> Self {
        let kind = ClusterKind::Streams(StreamsConfig::default());
        let world = Self::start(|| Cluster::new(config(url)).kind(kind.clone()));
        world.until_up();
        // A reader begins at the end of the stream when it is there.
        sleep(Duration::from_millis(500));
        world
    }

    fn until_up(&self) {
        let started = Instant::now();
        let is_up = |node: &Served| node.io.metrics().cluster.is_some_and(|cluster| cluster.is_up);
        while !self.nodes.iter().all(is_up) {
            assert!(started.elapsed() < Duration::from_secs(20), "the cluster is not there");
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends numbers while `fail` does something to Redis and mends it. `fail` returns when it
    /// was mended.
    fn observe(&self, what: &str, fail: impl FnOnce() -> Instant) -> Report {
        let is_over = AtomicBool::new(false);
        let (sent, failed, mended, back) = std::thread::scope(|scope| {
            let speaker = scope.spawn(|| {
                let mut sent = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    sent.push(Instant::now());
                    self.nodes[0].io.emit("n", sent.len() as u64 - 1);
                    sleep(PACE);
                }
                sent
            });
            sleep(Duration::from_millis(500));
            let failed = Instant::now();
            let mended = fail();
            // Heard again is a number that came behind the last one that was lost, so the clients
            // hear for one second more.
            let mut back = None;
            while back.is_none() && mended.elapsed() < BACK {
                let heard = self.clients[1].heard();
                back = heard.iter().map(|(_, at)| *at).find(|at| *at > mended);
                sleep(Duration::from_millis(2));
            }
            sleep(Duration::from_secs(2));
            is_over.store(true, Ordering::Relaxed);
            (speaker.join().unwrap(), failed, mended, back)
        });
        let back = back.unwrap_or_else(|| panic!("{what}: nothing is heard within {BACK:?}"));
        self.until_heard(sent.len() as u64 - 1);
        let [near, far] = [0, 1].map(|at: usize| self.clients[at].heard());
        let all: Vec<u64> = (0..sent.len() as u64).collect();
        assert_eq!(
            near.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            all,
            "{what}: near"
        );
        let waited = near
            .iter()
            .map(|(number, at)| at.saturating_duration_since(sent[*number as usize]))
            .max();
        let waited = waited.unwrap_or_default();
        assert!(waited < LOCAL, "{what}: local delivery waited for {waited:?}");
        assert!(
            far.is_sorted_by(|(one, _), (next, _)| one < next),
            "{what}: out of order, or twice"
        );
        let heard: std::collections::BTreeSet<u64> = far.iter().map(|(number, _)| *number).collect();
        let lost: Vec<u64> = all.iter().filter(|number| !heard.contains(number)).copied().collect();
        for number in &lost {
            let at = sent[*number as usize];
            let last = mended.max(back) + UNDER_WAY;
            assert!(
                at + UNDER_WAY > failed && at < last,
                "{what}: {number} is lost without a reason"
            );
        }
        say(&format!(
            "{what}: {} of {} lost; local delivery waited {} ms at most; heard again after {} ms",
            lost.len(),
            sent.len(),
            waited.as_millis(),
            back.saturating_duration_since(mended).as_millis(),
        ));
        Report { lost: lost.len() }
    }

    /// Waits until both clients have heard the last number.
    fn until_heard(&self, last: u64) {
        let started = Instant::now();
        let has = |client: &Hearer| client.heard().last().is_some_and(|(number, _)| *number == last);
        while !self.clients.iter().all(has) {
            assert!(started.elapsed() < BACK, "the last number is not heard");
            sleep(Duration::from_millis(5));
        }
    }
}

fn url(redis: &Redis) -> String {
    format!("redis://127.0.0.1:{}", redis.port)
}

#[test]
#[ignore = "needs redis-server"]
fn redis_is_killed_and_started_again() {
    let mut redis = Redis::start(&[]);
    let world = World::classic(&url(&redis));
    world.observe("kill -9, started again after 1 s", || {
        redis.kill();
        sleep(Duration::from_secs(1));
        redis.start_again();
        Instant::now()
    });
}

#[test]
#[ignore = "needs redis-server"]
fn redis_stands_still() {
    let redis = Redis::start(&[]);
    let world = World::classic(&url(&redis));
    world.observe("SIGSTOP for 4 s", || {
        redis.signal("STOP");
        sleep(Duration::from_secs(4));
        redis.signal("CONT");
        Instant::now()
    });
}

#[test]
#[ignore = "needs redis-server"]
fn redis_sleeps() {
    let redis = Redis::start(&["enable-debug-command local"]);
    let world = World::classic(&url(&redis));
    let report = world.observe("DEBUG SLEEP 1", || {
        redis.cli(&["DEBUG", "SLEEP", "1"]);
        Instant::now()
    });
    assert_eq!(
        report.lost, 0,
        "a pause that is shorter than the patience of a node loses nothing"
    );
}

#[test]
#[ignore = "needs redis-server"]
fn redis_pauses() {
    let redis = Redis::start(&[]);
    let world = World::classic(&url(&redis));
    let report = world.observe("CLIENT PAUSE 1000 ALL", || {
        redis.cli(&["CLIENT", "PAUSE", "1000", "ALL"]);
        sleep(Duration::from_secs(1));
        Instant::now()
    });
    assert_eq!(
        report.lost, 0,
        "a pause that is shorter than the patience of a node loses nothing"
    );
}

#[test]
#[ignore = "needs redis-server"]
fn subscribers_are_killed() {
    let redis = Redis::start(&[]);
    let world = World::classic(&url(&redis));
    world.observe("CLIENT KILL TYPE pubsub", || {
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        Instant::now()
    });
}

#[test]
#[ignore = "needs redis-server"]
fn a_subscriber_is_too_slow_for_redis() {
    let redis = Redis::start(&[]);
    let world = World::classic(&url(&redis));
    redis.cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 32kb 16kb 5"]);
    world.observe("client-output-buffer-limit pubsub 32kb", || {
        // Nobody is in the room on either node, but a node hears it.
        world.nodes[1].io.of("/").all().join("large");
        sleep(Duration::from_millis(300));
        world.nodes[0].io.to("large").emit("large", "x".repeat(900_000));
        Instant::now()
    });
    let [_, far] = &world.nodes;
    assert!(
        far.io
            .metrics()
            .cluster
            .is_some_and(|cluster| cluster.broker.reconnects > 0)
    );
}

#[test]
#[ignore = "needs redis-server"]
fn users_need_no_psubscribe() {
    let redis = Redis::start(&[]);
    let mut rules = vec![
        "ACL",
        "SETUSER",
        "node",
        "on",
        ">p",
        "~*",
        "resetchannels",
        "&socket.io*",
    ];
    rules.extend(["+@all", "-psubscribe", "-cluster", "-config", "-debug"]);
    assert_eq!(redis.cli(&rules).trim(), "OK");
    redis.cli(&["ACL", "SETUSER", "default", "resetpass", ">other"]);
    let world = World::classic(&format!("redis://node:p@127.0.0.1:{}", redis.port));
    let report = world.observe("an ACL without PSUBSCRIBE", Instant::now);
    assert_eq!(report.lost, 0);
}

/// The process starts, and serves its own clients, without a Redis.
#[test]
#[ignore = "needs redis-server"]
fn redis_comes_later() {
    let port = free_port();
    let world = World::start(|| Cluster::new(config(&format!("redis://127.0.0.1:{port}"))));
    let mut redis = None;
    world.observe("no Redis from the start, started after 2 s", || {
        assert!(
            !world.clients[0].heard().is_empty(),
            "the clients of this node are served"
        );
        sleep(Duration::from_secs(2));
        redis = Some(Redis::start_on(port, &[]));
        Instant::now()
    });
}

/// With streams, what was written before is read afterwards.
#[test]
#[ignore = "needs redis-server"]
fn streams_lose_nothing_while_redis_keeps_them() {
    let redis = Redis::start(&["enable-debug-command local"]);
    let world = World::streams(&url(&redis));
    let report = world.observe("streams, CLIENT KILL TYPE pubsub and DEBUG SLEEP 1", || {
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        redis.cli(&["DEBUG", "SLEEP", "1"]);
        Instant::now()
    });
    assert_eq!(report.lost, 0);
}

#[test]
#[ignore = "needs redis-server"]
fn a_slot_moves_to_another_master() {
    let servers = Redis::start_cluster();
    let addresses: Vec<String> = servers
        .iter()
        .map(|redis| format!("127.0.0.1:{}", redis.port))
        .collect();
    let kind = ClusterKind::Sharded {
        mode: ShardedMode::Dynamic,
    };
    let url = format!("redis://{}", addresses.join(","));
    let world = World::start(|| Cluster::new(config(&url)).kind(kind.clone()));
    world.until_up();
    world.observe("a slot of a Redis cluster moves", || {
        let slot = servers[0]
            .cli(&["CLUSTER", "KEYSLOT", "socket.io#/#"])
            .trim()
            .to_owned();
        // The three masters have a third of the slots each.
        let from = slot.parse::<usize>().unwrap() / 5462;
        let (from, to) = (&servers[from], &servers[(from + 1) % 3]);
        let id = |redis: &Redis| redis.cli(&["CLUSTER", "MYID"]).trim().to_owned();
        let (old, new) = (id(from), id(to));
        let told = [
            to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old]),
            from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new]),
            to.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]),
            from.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &new]),
        ];
        assert!(told.iter().all(|told| told.trim() == "OK"), "{told:?}");
        Instant::now()
    });
    let redirects: u64 = world
        .nodes
        .iter()
        .filter_map(|node| Some(node.io.metrics().cluster?.broker.redirects))
        .sum();
    assert!(redirects > 0, "the slot of the channel has moved");
}

#[test]
#[ignore = "needs redis-server"]
fn a_sentinel_promotes_a_replica() {
    let (mut master, _replica, sentinel) = Redis::start_with_sentinel();
    let world = World::classic(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port));
    world.observe("kill -9 of a master, its replica is promoted", || {
        master.kill();
        Instant::now()
    });
}
