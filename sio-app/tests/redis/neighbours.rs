//! What other nodes and strangers do to a node: they are silent, they wait, they publish what they
//! want. The numbers of [`World::observe`] go on all the time, and none is lost.

use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::adapter::broker::Command;
use sio_app::{Bytes, Cluster, ServerSideEvent};

use super::connections::{Node, config};
use super::observing::World;
use super::servers::Redis;
use super::{note, say};

/// The deadline of requests. A busy machine that runs all tests at once may need more than a second
/// for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

fn world(redis: &Redis) -> World {
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let world = World::start(|| Cluster::new(config(&url)).request_timeout(PATIENCE));
    world.until_up();
    world
}

/// Something subscribes to the channel of requests and answers nothing: a monitor, or a node whose
/// process stands still.
#[test]
#[ignore = "needs redis-server"]
fn a_silent_node_is_waited_for_until_the_deadline() {
    let redis = Redis::start(&[]);
    let world = world(&redis);
    let monitor = Node::connect(config(&format!("redis://127.0.0.1:{}", redis.port)));
    monitor.subscribe("socket.io-request#/#", false);
    monitor.up();
    let report = world.observe("a silent node", || {
        let asked = Instant::now();
        let found = crate::wait(world.nodes[0].io.fetch_sockets());
        note("a silent node: a request ended after", asked, Instant::now());
        assert!(asked.elapsed() >= PATIENCE && asked.elapsed() < 3 * PATIENCE);
        // The sockets of the node that has answered are there, and the silent one is counted.
        assert_eq!((found.sockets.len(), found.silent, found.error), (2, 1, None));
        Instant::now()
    });
    assert_eq!(report.lost, 0);
    let silent = world.nodes[0].io.metrics().cluster.unwrap().messages.silent;
    assert_eq!(silent, 1);
}

/// A handler that answers late, or never, and thousands of questions that wait for it.
#[test]
#[ignore = "needs redis-server"]
fn a_handler_that_waits_stops_no_other_namespace() {
    let redis = Redis::start(&[]);
    let world = world(&redis);
    let kept = std::sync::Arc::new(Mutex::new(Vec::new()));
    let keeps = std::sync::Arc::clone(&kept);
    // The event is kept, so it may still be answered.
    let keep = move |event: ServerSideEvent| keeps.lock().unwrap().push(event);
    let [near, far] = [0, 1].map(|at: usize| world.nodes[at].io.clone());
    near.of("/slow").on_server_side("question", |_: ServerSideEvent| ());
    far.of("/slow").on_server_side("question", keep);
    far.of("/quick")
        .on_server_side("question", |event: ServerSideEvent| event.answer("here").unwrap());
    // The channels of a namespace are heard when there is an answer.
    let started = Instant::now();
    let is_there = || crate::wait(near.of("/quick").server_side_emit_with_ack::<String>("question", ()));
    while is_there().unwrap().answers != ["here"] {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the namespace is not heard"
        );
        sleep(Duration::from_millis(10));
    }
    let report = world.observe("1000 questions that nobody answers", || {
        let ask = |_| near.of("/slow").server_side_emit_with_ack::<String>("question", ());
        let asked = Instant::now();
        let slow: Vec<_> = (0..1000).map(ask).collect();
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            let answers = crate::wait(near.of("/quick").server_side_emit_with_ack::<String>("question", ()));
            assert_eq!(answers.unwrap().answers, ["here"]);
            longest = longest.max(asked.elapsed());
        }
        assert!(longest < PATIENCE, "{longest:?}");
        say(&format!(
            "beside 1000 questions that wait, another namespace answered within {} ms",
            longest.as_millis()
        ));
        for answers in slow {
            let answers = crate::wait(answers).unwrap();
            assert_eq!((answers.answers.len(), answers.silent), (0, 1));
        }
        assert!(asked.elapsed() < 5 * PATIENCE);
        Instant::now()
    });
    assert_eq!(report.lost, 0);
    assert_eq!(kept.lock().unwrap().len(), 1000);
}

/// Somebody who can write to Redis publishes nonsense, and, in a cluster with a secret, events.
#[test]
#[ignore = "needs redis-server"]
fn a_stranger_publishes() {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let world = World::start(|| Cluster::new(config(&url)).secret([7; 32]));
    world.until_up();
    let stranger = Node::connect(config(&url));
    stranger.up();
    let emitter = crate::emitter(&Cluster::new(config(&url))).unwrap();
    let report = world.observe("a stranger publishes 400 messages", || {
        for _ in 0..100 {
            emitter.emit("n", 0).unwrap();
            for payload in [&b"\xc1\xff"[..], b"{", b"\x93\xa6stolen\x80\x80"] {
                stranger.handle.send(Command::Publish {
                    channel: Bytes::from_static(b"socket.io#/#"),
                    payload: Bytes::copy_from_slice(payload),
                    sharded: false,
                });
            }
        }
        crate::wait(emitter.flush()).unwrap();
        sleep(Duration::from_millis(300));
        Instant::now()
    });
    // The numbers are in their order and none came twice, so no forged one was heard.
    assert_eq!(report.lost, 0);
    assert_eq!(world.count(|counts| counts.messages.unsigned), 2 * 400);
}
