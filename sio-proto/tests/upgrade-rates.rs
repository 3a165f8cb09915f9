//! An upgrade of a client that may not send so fast (docs/protocol/engine-io.md §7,
//! docs/flow-control.md).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::server::TransportKind;
use sio_proto::{Config, RateLimit};

/// A client whose POSTs have put it in debt moves to its websocket in time. What it sends behind
/// its `5` waits as it would on any other websocket, and is not lost.
#[test]
fn a_client_in_debt_upgrades_in_time_and_pays_behind_its_5() {
    let events = |numbers: std::ops::Range<usize>| numbers.map(|n| format!(r#"42["n",{n}]"#)).collect::<Vec<_>>();
    for (together, long_post) in [(false, false), (true, false), (true, true), (false, true)] {
        // `n` and `10` are three bytes, each event. The third POST leaves a debt of 20 seconds.
        let limit = RateLimit::NONE.bytes(2, 60);
        let config = Config::default().session_rate(limit);
        let mut world = World::new(config.upgrade_timeout(std::time::Duration::from_secs(3)));
        let sid = world.join_polling();
        let large = format!(r#"42["n","{}"]"#, "x".repeat(47));
        assert_eq!(body(&world.push(&sid, &large)), "ok");
        assert_eq!(body(&world.push(&sid, &large)), "ok");
        world.heard();
        let candidate = world.candidate(&sid);
        let waiting = long_post.then(|| {
            let link = world.open();
            world.send(link, &post(&session(&sid), r#"42["n",9]"#));
            link
        });
        let packets: Vec<String> = ["2probe", "2probe", "5"]
            .map(String::from)
            .into_iter()
            .chain(events(10..20))
            .collect();
        match together {
            true => world.send(
                candidate,
                &packets.iter().flat_map(|packet| text(packet)).collect::<Vec<_>>(),
            ),
            false => packets.iter().for_each(|packet| world.send(candidate, &text(packet))),
        }
        let upgraded = |world: &mut World| {
            let socket = world.last_socket();
            world.shard(|shard, _| shard.transport(socket)) == Some(TransportKind::WebSocket)
        };
        assert_eq!(upgraded(&mut world), !long_post, "{together} {long_post}");
        world.pass(19_000);
        assert_eq!(world.heard(), [""; 0], "{together} {long_post}: it is in debt");
        world.pass(30_000);
        assert!(upgraded(&mut world), "{together} {long_post}");
        let came = world.heard();
        let expected: Vec<String> = long_post
            .then_some(9)
            .into_iter()
            .chain(10..20)
            .map(|n| format!("event n {n}"))
            .collect();
        assert_eq!(came, expected, "{together} {long_post}");
        if let Some(link) = waiting {
            assert_eq!(body(&world.received(link)), "ok");
        }
    }
}
