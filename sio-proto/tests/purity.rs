//! Equal inputs give equal outputs, byte for byte: the core does not read the time, does not draw
//! random numbers, and does not depend on memory addresses.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod cases;
mod common;

use std::fmt::Write;
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use sio_proto::server::{Cause, Command, Reason};
use sio_proto::{Config, LinkId};

#[derive(Clone, Debug)]
enum Step {
    OpenWebSocket,
    OpenPolling,
    OpenOld(bool),
    Say(usize, u8),
    Poll(usize),
    Post(usize, u8),
    Upgrade(usize),
    Emit(usize, u8),
    Broadcast(u8),
    Join(usize, u8),
    Disconnect(usize, bool),
    Cut(usize, bool),
    Garbage(usize, Vec<u8>),
    Pass(u16),
    Shutdown,
    Drain(u16, u16),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let at = || any::<usize>();
    prop_oneof![
        3 => Just(OpenWebSocket),
        3 => Just(OpenPolling),
        2 => any::<bool>().prop_map(OpenOld),
        8 => (at(), any::<u8>()).prop_map(|(a, b)| Say(a, b)),
        6 => at().prop_map(Poll),
        6 => (at(), any::<u8>()).prop_map(|(a, b)| Post(a, b)),
        3 => at().prop_map(Upgrade),
        4 => (at(), any::<u8>()).prop_map(|(a, b)| Emit(a, b)),
        3 => any::<u8>().prop_map(Broadcast),
        3 => (at(), any::<u8>()).prop_map(|(a, b)| Join(a, b)),
        1 => (at(), any::<bool>()).prop_map(|(a, b)| Disconnect(a, b)),
        2 => (at(), any::<bool>()).prop_map(|(a, b)| Cut(a, b)),
        1 => (at(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(a, b)| Garbage(a, b)),
        5 => any::<u16>().prop_map(Pass),
        1 => Just(Shutdown),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Drain(a, b)),
    ]
}

const PACKETS: [&str; 14] = [
    "40",
    "40/a,",
    "42[\"m\",1]",
    "421[\"m\"]",
    "430[]",
    "41",
    "3",
    "2probe",
    "5",
    "~m~2~m~hi",
    "4x",
    "1",
    "451-[\"b\",{\"_placeholder\":true,\"num\":0}]",
    "bAQI=",
];

/// Runs the steps. Returns all outputs as text.
fn run(steps: &[Step]) -> String {
    let mut world = World::new(Config::default());
    let mut log = String::new();
    let mut links: Vec<LinkId> = Vec::new();
    let mut sids: Vec<String> = Vec::new();
    for step in steps {
        let link = |at: &usize| (!links.is_empty()).then(|| links[at % links.len()]);
        let sid = |at: &usize| (!sids.is_empty()).then(|| sids[at % sids.len()].clone());
        let socket =
            |world: &World, at: &usize| (!world.sockets.is_empty()).then(|| world.sockets[at % world.sockets.len()]);
        let packet = |at: &u8| PACKETS[usize::from(*at) % PACKETS.len()];
        match step {
            Step::OpenWebSocket => {
                let link = world.open();
                world.send(link, &[WEBSOCKET, &text("40")].concat());
                links.push(link);
            }
            Step::OpenPolling => {
                let link = world.open();
                world.send(link, &get(POLLING));
                if let Some((_, bytes)) = world.sent.last()
                    && let text = String::from_utf8_lossy(bytes)
                    && text.contains("\"sid\"")
                {
                    sids.push(common::sid(&text));
                }
                links.push(link);
            }
            Step::OpenOld(websocket) => {
                let link = world.open();
                let bytes = if *websocket {
                    upgrade("/socket.io/websocket")
                } else {
                    get("/socket.io/xhr-polling//1")
                };
                world.send(link, &bytes);
                links.push(link);
            }
            Step::Say(at, n) => {
                if let Some(link) = link(at) {
                    world.send(link, &text(packet(n)));
                }
            }
            Step::Poll(at) => {
                if let Some(sid) = sid(at) {
                    links.push(world.poll(&sid));
                }
            }
            Step::Post(at, n) => {
                if let Some(sid) = sid(at) {
                    let link = world.open();
                    world.send(link, &post(&session(&sid), packet(n)));
                }
            }
            Step::Upgrade(at) => {
                if let Some(sid) = sid(at) {
                    links.push(world.candidate(&sid));
                }
            }
            Step::Emit(at, n) => {
                if let Some(socket) = socket(&world, at) {
                    let result = world.emit(socket, "e", &n.to_string());
                    writeln!(log, "{result:?}").unwrap();
                }
            }
            Step::Broadcast(n) => {
                let room = format!("r{}", n % 3);
                let rooms: &[&str] = if n % 4 == 0 { &[] } else { &[&room] };
                world.broadcast(rooms, "all", &n.to_string());
            }
            Step::Join(at, n) => {
                if let Some(socket) = socket(&world, at) {
                    let result = world.shard(|shard, _| shard.join(socket, &format!("r{}", n % 3)));
                    writeln!(log, "{result:?}").unwrap();
                }
            }
            Step::Disconnect(at, close) => {
                if let Some(socket) = socket(&world, at) {
                    world.disconnect(socket, *close);
                }
            }
            Step::Cut(at, failed) => {
                if let Some(link) = link(at) {
                    world.cut(link, if *failed { Cause::Failed } else { Cause::Closed });
                }
            }
            Step::Garbage(at, bytes) => {
                if let Some(link) = link(at) {
                    world.send(link, bytes);
                }
            }
            Step::Pass(millis) => world.pass((*millis).into()),
            Step::Drain(spread, patience) => {
                if steps.len().is_multiple_of(3) {
                    world.releases = patience % 2 == 0;
                    world.command(Command::Drain {
                        spread: Duration::from_millis((*spread).into()),
                        patience: Duration::from_millis((*patience).into()),
                        handover: patience.is_multiple_of(2),
                        pause: patience.is_multiple_of(3).then_some(Duration::from_secs(1)),
                    });
                }
            }
            Step::Shutdown => {
                if steps.len().is_multiple_of(5) {
                    world.command(Command::Shutdown {
                        reason: Reason::ServerShuttingDown,
                    });
                }
            }
        }
        for (link, bytes) in world.sent.drain(..) {
            writeln!(log, "{} {link:?} {}", world.now, bytes.escape_ascii()).unwrap();
        }
        for link in world.ended.drain(..) {
            writeln!(log, "{} {link:?} ends", world.now).unwrap();
        }
        for delivery in world.deliveries.drain(..) {
            writeln!(log, "{} {delivery:?}", world.now).unwrap();
        }
        writeln!(
            log,
            "next {:?}, {} sessions",
            world.server.next_timeout(),
            world.sessions()
        )
        .unwrap();
    }
    // At the end all clients leave, and nothing is left.
    for link in links {
        world.cut(link, Cause::Closed);
    }
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    world.pass(120_000);
    assert_eq!((world.sessions(), world.server.next_timeout()), (0, None), "{log}");
    log
}

proptest! {
    #![proptest_config(cases::usually(200))]

    #[test]
    fn twice_the_same(steps in prop::collection::vec(step(), 1..80)) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
