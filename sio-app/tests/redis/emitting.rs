//! An emitter without a server: what it says when Redis has its messages, and when not.

use std::time::{Duration, Instant};

use sio_app::Cluster;
use sio_app::adapter::broker::{BrokerConfig, Refusal};
use sio_app::adapter::{ClusterEmitter, EmitterError};

use super::connections::{Node, config};
use super::note;
use super::peers::{Hearer, Served};
use super::servers::Redis;

fn emitter(broker: BrokerConfig) -> ClusterEmitter {
    crate::emitter(&Cluster::new(broker)).expect("settings")
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_flushed_has_reached_redis() {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let hears = Node::connect(config(&url));
    let channels = [
        "socket.io#/#",
        "socket.io#/#eu#",
        "socket.io#/admin#",
        "socket.io-request#/#",
    ];
    channels.iter().for_each(|channel| hears.subscribe(channel, false));
    hears.up();
    let emitter = crate::emitter(&Cluster::from_url(&url).unwrap()).unwrap();
    for number in 0..1000 {
        emitter.emit("news", number).unwrap();
    }
    emitter.to("eu").volatile().emit("news", [1, 2]).unwrap();
    emitter.of("admin").emit("news", ()).unwrap();
    emitter.of("/").except("away").join(["a", "b"]).unwrap();
    emitter.of("/").to("x").close().unwrap();
    emitter.server_side_emit("reload", "prices").unwrap();
    // Nobody is chosen.
    emitter.to::<_>(Vec::<String>::new()).emit("news", 1).unwrap();
    crate::wait(emitter.flush()).unwrap();
    assert_eq!(emitter.counts().written, 1005);
    // It hears nothing, so it has one connection. The node that hears has two.
    let clients = redis.cli(&["CLIENT", "LIST"]);
    assert_eq!(clients.matches(" name=sio ").count(), 3, "{clients}");
    let request = r#"{"type":4,"opts":{"rooms":["x"],"except":[]},"close":true}"#;
    hears.hears(request);
    for name in ["connect", "disconnecting"] {
        assert!(matches!(emitter.emit(name, ()), Err(EmitterError::Reserved(known)) if known == name));
    }
    assert!(matches!(
        emitter.server_side_emit("error", ()),
        Err(EmitterError::Reserved(_))
    ));
    let large = vec![0_u8; 17 << 20];
    assert!(matches!(
        emitter.emit("news", sio_app::Binary::from(large)),
        Err(EmitterError::TooLarge)
    ));
    crate::wait(emitter.close()).unwrap();
    assert!(matches!(emitter.emit("news", 1), Err(EmitterError::Closed)));
    let after = crate::wait(emitter.flush()).unwrap_err();
    assert!(after.is_waiting && after.dropped == 0, "{after}");
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_lost_is_told() {
    let mut redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let emitter = emitter(
        config(&url)
            .max_waiting_age(Duration::from_millis(500))
            .max_waiting_bytes(20_000),
    );
    let started = Instant::now();
    while !emitter.counts().is_up {
        assert!(started.elapsed() < Duration::from_secs(20), "it is not connected");
        std::thread::sleep(Duration::from_millis(1));
    }
    emitter.emit("news", 1).unwrap();
    crate::wait(emitter.flush()).unwrap();
    redis.kill();
    let killed = Instant::now();
    while emitter.counts().is_up {
        assert!(killed.elapsed() < Duration::from_secs(20), "it is not noticed");
        std::thread::sleep(Duration::from_millis(1));
    }
    // What fits waits, until it has waited for too long.
    let text = "x".repeat(1000);
    let mut refused = 0;
    for _ in 0..40 {
        match emitter.emit("news", &text) {
            Ok(()) => {}
            Err(EmitterError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused >= 20, "40 kilobytes do not fit into 20: {refused}");
    let begun = Instant::now();
    let lost = crate::wait(emitter.flush()).unwrap_err();
    note("kill -9: an emitter knows what is lost after", begun, Instant::now());
    assert_eq!(
        (lost.dropped + lost.unconfirmed, lost.is_waiting),
        (40 - refused, false),
        "{lost}"
    );
    assert!(lost.why.is_some(), "{lost}");
    assert_eq!(emitter.counts().dropped, lost.dropped + refused);
    redis.start_again();
    let begun = Instant::now();
    // What was reported is not reported again.
    while let Err(lost) = {
        emitter.emit("news", 2).unwrap();
        crate::wait(emitter.flush())
    } {
        assert!(lost.dropped + lost.unconfirmed <= 1, "{lost}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{lost}");
    }
    note("restart: an emitter writes again after", begun, Instant::now());
    crate::wait(emitter.close()).unwrap();
}

#[test]
#[ignore = "needs redis-server"]
fn a_stranger_is_told_why() {
    let redis = Redis::start(&["requirepass right"]);
    let stranger = |password: &str| {
        let url = format!("redis://:{password}@127.0.0.1:{}", redis.port);
        emitter(config(&url).max_waiting_age(Duration::from_secs(2)))
    };
    let wrong = stranger("wrong");
    wrong.emit("news", 1).unwrap();
    let error = crate::wait(wrong.close()).unwrap_err();
    let why = error.why.clone().expect("a reason");
    assert!(error.dropped == 1 && why.is_refused_as(Refusal::Credentials), "{error}");
    let right = stranger("right");
    right.emit("news", 1).unwrap();
    crate::wait(right.close()).unwrap();
}

/// Servers with a secret hear an emitter that has it, and no other.
#[test]
#[ignore = "needs redis-server"]
fn an_emitter_knows_the_secret_of_its_cluster() {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let cluster = |secret: &str| Cluster::new(config(&url)).secret(secret);
    let served = Served::start(cluster("the secret of this cluster"), |_| {});
    let client = Hearer::connect(served.address);
    let started = Instant::now();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("the server is in its cluster", &|| {
        served.io.metrics().cluster.is_some_and(|cluster| cluster.is_up)
    });
    let emitters = [
        Cluster::new(config(&url)),
        cluster("the secret of others"),
        cluster("the secret of this cluster"),
    ];
    for (number, cluster) in emitters.iter().enumerate() {
        let emitter = crate::emitter(cluster).unwrap();
        for more in 0..3 {
            emitter.emit("n", number * 10 + more).unwrap();
        }
        crate::wait(emitter.close()).unwrap();
    }
    until("the emitter is heard", &|| client.heard().len() >= 3);
    let heard: Vec<u64> = client.heard().iter().map(|(number, _)| *number).collect();
    assert_eq!(heard, [20, 21, 22]);
}
