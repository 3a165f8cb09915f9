//! What fails in the field, on servers: each test does to Redis what happens there, and says what
//! was lost, how long local delivery waited, and when the other node heard again
//! ([`World::observe`]). A message may only be lost while Redis is away, none comes twice or out of
//! order, and local delivery never waits.

use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, ShardedMode};

use super::connections::config;
use super::observing::{Report, Since, World};
use super::say;
use super::servers::{Proxy, Redis, free_port};

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
    let far = world.nodes[1].io.metrics().cluster;
    assert!(far.is_some_and(|cluster| cluster.broker.reconnects > 0));
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

/// The process starts, and serves its own clients, without a Redis. What was sent meanwhile waits
/// until Redis is there. It is lost for a node that subscribes later than the sender has connected,
/// so nobody can say how much that is.
#[test]
#[ignore = "needs redis-server"]
fn redis_comes_later() {
    let port = free_port();
    let world = World::start(|| Cluster::new(config(&format!("redis://127.0.0.1:{port}"))));
    let mut redis = None;
    world.observe_since(Since::Start, "no Redis from the start, started after 2 s", || {
        assert!(
            !world.clients[0].heard().is_empty(),
            "the clients of this node are served"
        );
        sleep(Duration::from_secs(2));
        redis = Some(Redis::start_on(port, &[]));
        Instant::now()
    });
    assert_eq!(
        world.count(|counts| counts.dropped),
        0,
        "nothing has waited for 5 seconds"
    );
}

/// What waits for longer than it may is dropped and counted, from the start.
#[test]
#[ignore = "needs redis-server"]
fn redis_comes_too_late() {
    let port = free_port();
    let broker = config(&format!("redis://127.0.0.1:{port}")).max_waiting_age(Duration::from_millis(500));
    let world = World::start(|| Cluster::new(broker.clone()));
    let mut redis = None;
    let report = world.observe_since(
        Since::Start,
        "no Redis from the start, messages wait for 500 ms",
        || {
            sleep(Duration::from_secs(2));
            redis = Some(Redis::start_on(port, &[]));
            Instant::now()
        },
    );
    let dropped = world.count(|counts| counts.dropped) as usize;
    // They were sent in the first two seconds, one every ten milliseconds; the machine may be slow.
    assert!(dropped >= 50, "{dropped}");
    // Beyond these, only what was published before the other node has subscribed.
    assert!(report.lost >= dropped, "{} of {dropped}", report.lost);
}

/// The connection for subscribing comes to another server than that for publishing, as it happens
/// where an address moves. Both work, and nothing is heard.
#[test]
#[ignore = "needs redis-server"]
fn a_subscriber_is_deaf() {
    let (right, wrong) = (Redis::start(&[]), Redis::start(&[]));
    let proxy = Proxy::start(right.port);
    let world = World::classic(&format!("redis://127.0.0.1:{}", proxy.port));
    world.observe("subscribers are on another server for 2 s", || {
        proxy.lead_to(wrong.port);
        right.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        sleep(Duration::from_secs(2));
        proxy.lead_to(right.port);
        Instant::now()
    });
    assert!(world.count(|counts| counts.broker.deaf) > 0, "it was noticed");
}

/// All connections of both nodes end, those of the readers of the stream, too. Then Redis sleeps.
fn all_connections_are_killed(world: &World, redis: &Redis, what: &str) -> Report {
    let reconnects = world.count(|counts| counts.broker.reconnects);
    let report = world.observe(
        &format!("{what}, CLIENT KILL of all connections and DEBUG SLEEP 1"),
        || {
            let killed = ["pubsub", "normal"].map(|kind| redis.cli(&["CLIENT", "KILL", "TYPE", kind]));
            let killed = killed.map(|count| count.trim().parse::<u64>().unwrap());
            // The subscriber of each node, then its reader and the connection that it writes to.
            assert!(killed[0] >= 2 && killed[1] >= 4, "{killed:?}");
            redis.cli(&["DEBUG", "SLEEP", "1"]);
            Instant::now()
        },
    );
    let reconnects = world.count(|counts| counts.broker.reconnects) - reconnects;
    assert!(reconnects >= 6, "{reconnects}");
    report
}

/// With streams, what was written before is read afterwards. What was on its way to Redis when the
/// connection for writing ended may be lost, and is counted then.
#[test]
#[ignore = "needs redis-server"]
fn streams_lose_nothing_that_redis_has_taken() {
    let redis = Redis::start(&["enable-debug-command local"]);
    let world = World::streams(&url(&redis));
    let report = all_connections_are_killed(&world, &redis, "streams");
    lost_are_counted(&world, &report);
}

/// With recovery, what was on its way is written again.
#[test]
#[ignore = "needs redis-server"]
fn streams_with_recovery_lose_nothing_when_all_connections_end() {
    let redis = Redis::start(&["enable-debug-command local"]);
    let world = World::recovered(&url(&redis));
    let report = all_connections_are_killed(&world, &redis, "streams with recovery");
    assert_eq!(report.lost, 0);
}

/// What was lost was not confirmed by Redis, which the sender has counted.
fn lost_are_counted(world: &World, report: &Report) {
    let counted = world.count(|counts| counts.messages.not_stored + counts.dropped);
    say(&format!("{} lost, {counted} counted", report.lost));
    assert!(report.lost as u64 <= counted, "{} of {counted}", report.lost);
}

/// Without recovery nothing is written again: what Redis did not confirm before it was killed, and
/// what has waited for too long, may be lost.
#[test]
#[ignore = "needs redis-server"]
fn streams_lose_what_a_killed_redis_has_not_confirmed() {
    let mut redis = Redis::start(&["appendonly yes", "appendfsync always"]);
    let world = World::streams(&url(&redis));
    let report = world.observe("streams, kill -9, started again after 1 s", || {
        redis.kill();
        sleep(Duration::from_secs(1));
        redis.start_again();
        Instant::now()
    });
    lost_are_counted(&world, &report);
}

/// A replica gets what its master has written a moment later. When it is promoted, what has not
/// come to it is lost, and the master has confirmed it: nobody can count it.
fn promoted(world: &World, what: &str, mut master: Redis) -> Report {
    world.observe(what, || {
        master.kill();
        Instant::now()
    })
}

#[test]
#[ignore = "needs redis-server"]
fn a_sentinel_promotes_a_replica_of_a_stream() {
    let (master, _replica, sentinel) = Redis::start_with_sentinel();
    let world = World::streams(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port));
    promoted(&world, "streams, kill -9 of a master, its replica is promoted", master);
}

#[test]
#[ignore = "needs redis-server"]
fn a_sentinel_promotes_a_replica_of_a_stream_with_recovery() {
    let (master, _replica, sentinel) = Redis::start_with_sentinel();
    let world = World::recovered(&format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port));
    let what = "streams with recovery, kill -9 of a master, its replica is promoted";
    let report = promoted(&world, what, master);
    // Only what the master has confirmed and not given on: some milliseconds, here one number each
    // ten.
    assert!(report.lost <= 50, "{}", report.lost);
}

/// With recovery over streams, also what Redis has not taken is written later: nothing is lost,
/// also if Redis is killed, as long as it keeps what it has taken.
#[test]
#[ignore = "needs redis-server"]
fn streams_with_recovery_lose_nothing_when_redis_is_killed() {
    let mut redis = Redis::start(&["appendonly yes", "appendfsync always"]);
    let world = World::recovered(&url(&redis));
    let report = world.observe("streams with recovery, kill -9, started again after 1 s", || {
        redis.kill();
        sleep(Duration::from_secs(1));
        redis.start_again();
        Instant::now()
    });
    assert_eq!(report.lost, 0);
}

/// The same for a Redis that is half open.
#[test]
#[ignore = "needs redis-server"]
fn streams_with_recovery_lose_nothing_when_redis_stands_still() {
    let redis = Redis::start(&[]);
    let world = World::recovered(&url(&redis));
    let report = world.observe("streams with recovery, SIGSTOP for 4 s", || {
        redis.signal("STOP");
        sleep(Duration::from_secs(4));
        redis.signal("CONT");
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
    let redirects = world.count(|counts| counts.broker.redirects);
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
