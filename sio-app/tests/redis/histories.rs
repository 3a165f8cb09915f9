//! Histories of rooms over the stream of a genuine Redis: the same on all nodes, also on one that
//! starts anew and after Redis was away. A client goes from node to node with its place.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, Io, Offset, Ring, Socket, StreamsConfig};
use tungstenite::Message;

use super::connections::config;
use super::peers::{Served, dial, said};
use super::servers::Redis;
use super::{note, say};

/// The longest time until something is true.
const SOON: Duration = Duration::from_secs(20);

fn with_histories(io: &Io) {
    let ring = Ring {
        packets: 1000,
        ..Ring::default()
    };
    io.of("/").history("h*", ring).on(
        "follow",
        async |socket: Socket, (room, seen): (String, Option<Offset>)| {
            socket.resume(&room, seen).await.unwrap();
        },
    );
}

fn start(url: &str) -> Served {
    let kind = ClusterKind::Streams(StreamsConfig::default());
    Served::start(Cluster::new(config(url)).kind(kind), with_histories)
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < SOON, "{what}");
        sleep(Duration::from_millis(2));
    }
}

fn until_up(node: &Served) {
    until("the cluster is there", || {
        node.io.metrics().cluster.is_some_and(|cluster| cluster.is_up)
    });
}

/// The places and numbers in a history.
fn history(node: &Served) -> Vec<(Offset, u64)> {
    let events = node.io.of("/").room("h").since(None).events;
    let event = |event: &sio_app::HistoryEvent| (event.at, event.args.json().parse().unwrap());
    events.iter().map(event).collect()
}

/// Follows the room, and returns the events until the mark `ready`: places and numbers, and whether
/// something was missing.
fn follow(node: &Served, seen: Option<Offset>) -> (bool, Vec<(Offset, u64)>) {
    let mut socket = dial(node.address);
    let seen = seen.map_or_else(|| "null".to_owned(), |seen| format!("\"{seen}\""));
    socket
        .send(Message::text(format!(r#"42["follow","h",{seen}]"#)))
        .unwrap();
    let (mut is_truncated, mut events) = (false, Vec::new());
    loop {
        let packet = said(&mut socket);
        if packet == "2" {
            socket.send(Message::text("3")).unwrap();
        } else if packet.contains(r#""state":"ready""#) {
            return (is_truncated, events);
        } else if packet.contains(r#""state":"truncated""#) {
            is_truncated = true;
        } else {
            let parts: Vec<&str> = packet.strip_prefix(r#"42["n","#).unwrap().split(',').collect();
            let place = parts[1].trim_matches(|letter| letter == '"' || letter == ']');
            events.push((place.parse().unwrap(), parts[0].parse().unwrap()));
        }
    }
}

/// Two nodes of which both speak at once, while nobody is in the namespace. Returns the history of
/// each.
fn speak(nodes: &[Served; 2]) -> [Vec<(Offset, u64)>; 2] {
    nodes.iter().for_each(until_up);
    // A reader begins at the end of the stream when it is there.
    sleep(Duration::from_millis(500));
    std::thread::scope(|scope| {
        for (at, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for number in 0..200_u64 {
                    node.io.to("h").emit("n", number * 2 + at as u64);
                    node.io.to("other").emit("n", number);
                    if number % 10 == 0 {
                        sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
    until("all is read", || nodes.iter().all(|node| history(node).len() == 400));
    let said = [0, 1].map(|at: usize| history(&nodes[at]));
    for said in &said {
        let all: BTreeSet<u64> = said.iter().map(|(_, number)| *number).collect();
        assert_eq!(all.len(), 400, "each once");
        for parity in 0..2 {
            let of_one = said.iter().filter(|(_, number)| number % 2 == parity);
            assert!(of_one.is_sorted_by_key(|(_, number)| number), "each node in its order");
        }
    }
    said
}

#[test]
#[ignore = "needs redis-server"]
fn histories_are_the_same_on_all_nodes() {
    let run = |_| {
        let redis = Redis::start(&["enable-debug-command local"]);
        let url = format!("redis://127.0.0.1:{}", redis.port);
        let nodes = [start(&url), start(&url)];
        let said = speak(&nodes);
        (redis, url, nodes, said)
    };
    // A node waits 250 ms for the stream. A machine with other work may take longer: then events
    // have places of their node, and the orders may differ.
    let in_time = |(_, _, _, said): &(_, _, _, [Vec<(Offset, u64)>; 2])| {
        let mut places = said.iter().flatten().map(|(place, _)| place);
        places.all(|place| place.is_entry())
    };
    let (redis, url, nodes, [said, other]) = (0..8).map(run).find(in_time).expect("a stream in time");
    assert_eq!(said, other, "in one order");

    // A client that comes at once to a node that starts anew.
    let started = Instant::now();
    let anew = start(&url);
    let seen = said[150].0;
    assert_eq!(follow(&anew, Some(seen)), (false, said[151..].to_vec()));
    note("a new node has the history", started, Instant::now());
    assert_eq!(history(&anew), said);
    for node in [&nodes[0], &nodes[1], &anew] {
        assert_eq!(follow(node, Some(seen)), (false, said[151..].to_vec()));
        assert_eq!(follow(node, None), (false, said.clone()));
    }

    // Redis hangs: the node goes on, and all have everything afterwards.
    redis.cli(&["CLIENT", "PAUSE", "1500", "ALL"]);
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(1) {
        nodes[0]
            .io
            .to("h")
            .emit("n", 1000 + paused.elapsed().as_millis() as u64);
        sleep(Duration::from_millis(50));
    }
    let alone = history(&nodes[0]).len() - 400;
    say(&format!(
        "{alone} events went into the history of their node without Redis"
    ));
    assert!(alone > 0);
    until("all is read", || {
        let count = history(&nodes[0]).len();
        count > 410 && [&nodes[1], &anew].iter().all(|node| history(node).len() == count)
    });
    nodes[1].io.to("h").emit("n", 9999);
    let is_read = |node: &Served| history(node).last().is_some_and(|(_, number)| *number == 9999);
    until("the order of the stream", || {
        [&nodes[0], &nodes[1], &anew].iter().all(|node| is_read(node))
    });
    let there = history(&nodes[1]);
    assert_eq!(there, history(&anew));
    let numbers = |said: &[(Offset, u64)]| said.iter().map(|(_, number)| *number).collect::<Vec<_>>();
    assert_eq!(numbers(&history(&nodes[0])), numbers(&there), "in their order, once");
    // With a place from before, nothing is missing. With one from within, it is not said so where
    // the order may be another.
    for node in [&nodes[0], &nodes[1], &anew] {
        let (is_truncated, missed) = follow(node, Some(seen));
        assert_eq!((is_truncated, numbers(&missed)), (false, numbers(&there[151..])));
        let (_, missed) = follow(node, Some(there[there.len() - 2].0));
        assert_eq!(missed.last().map(|(_, number)| *number), Some(9999));
        assert_eq!(follow(node, Some(there[there.len() - 1].0)), (false, vec![]));
    }
}
