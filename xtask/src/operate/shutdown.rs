//! SIGTERM with two thousand clients.

use super::peers::{Kind, Peer};
use super::{Stage, descriptors};
use crate::failure::{Failure, Outcome};
use std::time::{Duration, Instant};

/// The number of clients of each kind. Clients whose heartbeats cannot be slowed down come last.
const CLIENTS: &[(Kind, usize)] = &[
    (Kind::WebSocket4, 600),
    (Kind::WebSocket3, 400),
    (Kind::Polling4, 250),
    (Kind::Polling3, 150),
    (Kind::Between4, 50),
    (Kind::WebSocket09, 250),
    (Kind::Polling09, 80),
    (Kind::Between09, 20),
    (Kind::WebSocket06, 150),
    (Kind::Polling06, 50),
];

/// The longest time from SIGTERM to the end of the process.
const LIMIT: Duration = Duration::from_secs(10);

/// How many descriptors a process needs apart from its clients.
const OTHER_DESCRIPTORS: usize = 100;

pub(super) fn run(stage: &Stage) -> Outcome {
    let clients: usize = CLIENTS.iter().map(|(_, count)| count).sum();
    let (have, needed) = (descriptors()?, clients + OTHER_DESCRIPTORS);
    if have < needed {
        return Err(Failure::new(format!(
            "{clients} clients need {needed} descriptors, and this process may have {have}: raise the limit (ulimit -n)"
        )));
    }
    let (mut server, port) = stage.start(needed)?;
    let mut peers = Vec::new();
    let connecting = Instant::now();
    for &(kind, count) in CLIENTS {
        for _ in 0..count {
            peers.push(Peer::join(kind, port)?);
        }
    }
    println!(
        "{clients} clients have joined in {:.1} s",
        connecting.elapsed().as_secs_f32()
    );
    let asked = Instant::now();
    server.ask_to_go()?;
    // The clients between two polls come first, because the server waits for them only a limited
    // time.
    let (between, others): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(Peer::is_between_polls);
    let mut untold = Vec::new();
    for peer in between.into_iter().chain(others) {
        untold.extend(peer.hear_the_end().err());
    }
    let told = asked.elapsed();
    server.wait_for_end()?;
    let ended = asked.elapsed();
    println!(
        "all were told in {:.2} s, and the server has ended after {:.2} s",
        told.as_secs_f32(),
        ended.as_secs_f32()
    );
    if let Some(first) = untold.first() {
        return Err(Failure::new(format!(
            "{} of {clients} clients were not told; the first: {first}",
            untold.len()
        )));
    }
    if ended >= LIMIT {
        return Err(Failure::new(format!(
            "the server took longer than {} s",
            LIMIT.as_secs()
        )));
    }
    Ok(())
}
