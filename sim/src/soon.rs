//! Promise 10: when faults stop, each client is connected within the longest delay between its
//! attempts and five seconds.
//!
//! By design, a client that polls gets what waits for it in order, a few packets with each poll. On
//! a slow network much may stand in front of the answer to its CONNECT, of a refusal, or of the
//! word to leave. Such a client has the time that this takes in addition. It is known from its own
//! queue, and nobody else has it.

use std::collections::BTreeSet;
use std::time::Duration;

use sio_proto::Time;

use crate::door;
use crate::violation::Promise;
use crate::world::{NAMESPACES, World};

/// How long clients may take to be connected after faults have stopped, beside their longest delay.
const SOON: Duration = Duration::from_secs(5);

/// How often their queues are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What is said meanwhile, and heartbeats, may double a queue.
const MORE: u32 = 2;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// From when on nothing has stood in front of what it waits for, or was under way.
    from: Time,
    /// When what was queued at the beginning has arrived at the latest.
    behind: Time,
    /// Whether something stands in front.
    is_behind: bool,
    /// Whether its user says once more that it wants to be connected.
    asks: bool,
}

impl World {
    /// Waits until all clients have to be connected, and looks whether they are.
    pub(crate) fn await_clients(&mut self) {
        let begun = self.now;
        let wait = |client| {
            let behind = begun + self.time_of_queue(client) * MORE;
            Wait {
                // What has left last is still under way, and may be the word to leave.
                from: begun + self.there_and_back() * MORE,
                behind,
                is_behind: behind > begun,
                asks: true,
            }
        };
        let mut waits: Vec<Wait> = (0..self.users()).map(wait).collect();
        while self.failure.is_none() {
            let (now, mut next) = (self.now, None);
            for (client, wait) in waits.iter_mut().enumerate() {
                if wait.is_behind {
                    wait.is_behind = now < wait.behind && !self.time_of_queue(client).is_zero();
                    // What has left last is still under way.
                    wait.from = now + self.there_and_back() * MORE;
                    wait.asks = true;
                } else if wait.asks && now >= wait.from {
                    // It may have been refused or told to leave behind its queue. Then it does not
                    // come back by itself.
                    wait.asks = false;
                    self.connect_all(client);
                    self.settle();
                }
                let due = wait.from + self.peers[client].config.reconnection_delay_max + SOON;
                if now >= due {
                    self.check_connected(client);
                } else {
                    let look = due.min(now + LOOK);
                    next = Some(next.map_or(look, |next: Time| next.min(look)));
                }
            }
            let Some(next) = next else { return };
            self.advance(next);
        }
    }

    fn check_connected(&mut self, client: usize) {
        let now = self.now;
        let peer = &self.peers[client];
        let mut sockets = peer.sockets.iter().zip(NAMESPACES);
        let lacks = sockets.find(|(socket, _)| !peer.payer.client().is_connected(**socket));
        if let Some((_, name)) = lacks {
            let words = format_args!("client {client} is not connected in {name} at {now}");
            self.fail(Promise::Liveness, words);
        }
    }

    /// How much longer than others a client may take for what waits for it, and for what it has to
    /// say: at worst one event with each way there and back.
    pub(crate) fn time_of_rest(&self) -> Duration {
        let times = (0..self.users()).map(|client| {
            let emits = u32::try_from(self.peers[client].emits.len()).unwrap_or(u32::MAX);
            (self.time_of_queue(client) + self.there_and_back() * emits) * MORE
        });
        times.max().unwrap_or_default()
    }

    /// How long what waits for a client that polls is under way: each poll takes one way there and
    /// back, and so do the bytes that a window takes.
    fn time_of_queue(&self, client: usize) -> Duration {
        let (traffic, most) = (self.plan.traffic, self.plan.server.max_packets_per_poll.max(1));
        let wires = self.wires.values().filter(|wire| wire.client == client);
        let live: BTreeSet<_> = wires
            .filter(|wire| wire.at_client.is_some())
            .filter_map(|wire| wire.line.session())
            .collect();
        let mut ways = 0;
        self.server.holding_of_sessions(|session, holding| {
            let is_own = holding.address.and_then(door::index) == Some(client);
            if is_own && holding.polls && live.contains(&session) {
                ways += holding.queue.count.div_ceil(most) + holding.queue.bytes / traffic.window;
            }
        });
        self.there_and_back() * u32::try_from(ways).unwrap_or(u32::MAX)
    }

    /// The longest time from a request to its answer.
    const fn there_and_back(&self) -> Duration {
        let traffic = self.plan.traffic;
        Duration::from_millis(2 * (traffic.latency + traffic.holds))
    }
}
