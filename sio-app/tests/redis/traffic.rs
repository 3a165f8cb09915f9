//! What a node reads: with rooms of ten on four nodes, only what concerns its own rooms, by the
//! counters of Redis.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, ShardedMode, Socket};

use super::connections::config;
use super::peers::{Served, dial, said};
use super::say;
use super::servers::Redis;

const NODES: usize = 4;
const ROOMS: usize = 100;
const MEMBERS: usize = 10;
const BYTES: usize = 1000;

struct Read {
    /// Messages that each node has read.
    heard: Vec<u64>,
    /// Bytes that Redis has written, to all connections together.
    written: u64,
}

/// Sends one message to each room, from a node that has no member of it.
fn measure(kind: &ClusterKind) -> Read {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let nodes: Vec<Served> = (0..NODES)
        .map(|node| {
            let joined = AtomicUsize::new(0);
            // The first ten sockets of a node are in its first room, and so on.
            let join = move |socket: Socket| {
                let room = joined.fetch_add(1, Ordering::Relaxed) / MEMBERS * NODES + node;
                socket.join(format!("room{room}"))
            };
            Served::start(Cluster::new(config(&url)).kind(kind.clone()), |io| {
                io.of("/").on_connect(join);
            })
        })
        .collect();
    let mut members: Vec<Vec<_>> = nodes
        .iter()
        .map(|node| (0..ROOMS / NODES * MEMBERS).map(|_| dial(node.address)).collect())
        .collect();
    let counts = || nodes.iter().map(|node| node.io.metrics().cluster.expect("a cluster"));
    // The channels are heard, and stay as they are.
    let started = Instant::now();
    while !counts().all(|counts| counts.is_up && counts.broker.connections >= 2) {
        assert!(started.elapsed() < Duration::from_secs(30), "the cluster is not there");
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_secs(1));
    let (before, heard_before) = (
        written(&redis),
        counts().map(|counts| counts.broker.heard).collect::<Vec<_>>(),
    );
    let payload = "x".repeat(BYTES);
    for room in 0..ROOMS {
        nodes[(room + 1) % NODES]
            .io
            .to(format!("room{room}"))
            .emit("news", &payload);
    }
    // Each member gets the message of its room.
    for (node, sockets) in members.iter_mut().enumerate() {
        for (at, socket) in sockets.iter_mut().enumerate() {
            let event = said(socket);
            assert!(
                event.len() > BYTES && event.starts_with(r#"42["news","xxx"#),
                "member {at} of node {node}: {event:.60}"
            );
        }
    }
    sleep(Duration::from_millis(200));
    Read {
        heard: counts()
            .zip(heard_before)
            .map(|(counts, before)| counts.broker.heard - before)
            .collect(),
        written: written(&redis) - before,
    }
}

fn written(redis: &Redis) -> u64 {
    let info = redis.cli(&["INFO", "stats"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.and_then(|digits| digits.trim().parse().ok()).expect("a count")
}

#[test]
#[ignore = "needs redis-server"]
fn a_node_reads_what_concerns_its_own_rooms() {
    let of_static = ClusterKind::Sharded {
        mode: ShardedMode::Static,
    };
    let of_dynamic = ClusterKind::Sharded {
        mode: ShardedMode::Dynamic,
    };
    let all = measure(&of_static);
    for (name, kind) in [("classic", ClusterKind::Classic), ("sharded", of_dynamic)] {
        let own = measure(&kind);
        say(&format!(
            "{name}: {ROOMS} rooms of {MEMBERS} on {NODES} nodes, a message of {BYTES} bytes to each room: the nodes read \
             {:?} messages, Redis wrote {} bytes; where every node hears everything: {:?} messages, {} bytes",
            own.heard, own.written, all.heard, all.written
        ));
        // Each node reads the messages for its 25 rooms, and nothing else.
        assert_eq!(own.heard, [(ROOMS / NODES) as u64; NODES], "{name}");
        let payloads = (ROOMS * BYTES) as u64;
        assert!(
            (payloads..payloads * 3 / 2).contains(&own.written),
            "{name}: {}",
            own.written
        );
        assert!(own.written * 5 / 2 < all.written, "{name}");
    }
    // The measure can fail: a node without channels of rooms reads all messages.
    assert_eq!(all.heard, [ROOMS as u64; NODES]);
}
