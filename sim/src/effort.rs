//! How long one input takes the server, compared with its size.
//!
//! The unit is the time of one small event on this machine and in this build, which is measured
//! once. A clock cannot be part of a run that has to be repeatable, so nothing in a world depends
//! on it: an input that takes too long is only written down. Then the seed is run again, several
//! times, and only an input that is too slow in every run breaks the promise. These runs count the
//! time of the processor, where the system tells it. So another program that takes the processor
//! breaks nothing.
//!
//! It sees all work, in loops, copies and searches, but only work that is far beyond the unit.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sio_proto::server::{Delivery, Output, Peer, Server};
use sio_proto::{BytesMut, Config, Time};

use crate::clock;
use crate::house;
use crate::violation::Promise;
use crate::world::World;

/// How many units any input may take.
const BASE: u32 = 1500;

/// How many bytes of an input may take one unit.
const BYTES_PER_UNIT: u32 = 4;

/// How many units each socket of the server may take, as the recipient of what an input causes.
const PER_MEMBER: u32 = 200;

/// How many events are measured at once.
const EVENTS: u32 = 200;

/// How often a seed with a slow input is run again.
pub(crate) const AGAIN: usize = 4;

static UNIT: OnceLock<Duration> = OnceLock::new();

/// An input that took too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    /// The number of the input in its run.
    pub(crate) input: u64,
    pub(crate) words: String,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Effort {
    unit: Duration,
    inputs: u64,
    /// Whether the time of the processor counts. It takes longer to read.
    is_exact: bool,
    pub(crate) slow: Vec<Slow>,
}

/// When an input began, and how long the thread had used a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    at: Instant,
    used: Option<Duration>,
}

impl Begun {
    fn elapsed(self) -> Duration {
        let used = self.used.and_then(|before| Some(clock::processor_time()? - before));
        used.unwrap_or_else(|| self.at.elapsed())
    }
}

impl Effort {
    pub(crate) fn new(is_exact: bool) -> Self {
        Self {
            is_exact,
            unit: *UNIT.get_or_init(|| (0..15).map(|_| measure()).min().unwrap_or_default()),
            inputs: 0,
            slow: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self) -> Begun {
        self.inputs += 1;
        Begun {
            at: clock::now(),
            used: if self.is_exact { clock::processor_time() } else { None },
        }
    }

    /// Notes an input of this size.
    fn end(&mut self, size: usize, members: usize, begun: Begun) {
        let most = self.unit * (BASE + size as u32 / BYTES_PER_UNIT + PER_MEMBER * members as u32);
        let taken = begun.elapsed();
        if taken > most {
            self.slow.push(Slow {
                input: self.inputs,
                words: format!("an input of {size} bytes takes {taken:?}, at most {most:?}"),
            });
        }
    }
}

impl World {
    /// Promise 7: the time of one input is bounded by its size.
    pub(crate) fn check_effort(&mut self, size: usize, begun: Begun) {
        self.effort.end(size, self.members.len(), begun);
    }

    /// Promise 12: each session was allowed. Promise 7: an address has no more than it may.
    pub(crate) fn check_door(&mut self) {
        if let Some(peer) = self.door.intruder() {
            self.fail(
                Promise::Admission,
                format_args!("client {peer} opens a session, and nobody has allowed it"),
            );
        }
        if house::was_dropped() {
            let words = format_args!("something of the application is dropped while a shard works");
            return self.fail(Promise::Release, words);
        }
        let most = self.plan.server.max_sessions_per_address;
        for peer in 0..self.peers.len() {
            let sessions = self.door.sessions(peer);
            if sessions > most {
                let words = format_args!("client {peer} has {sessions} sessions, at most {most}");
                return self.fail(Promise::Price, words);
            }
        }
    }
}

/// Measures one small event.
fn measure() -> Duration {
    let now = Time::from_millis(1);
    let random = Box::new(|out: &mut [u8]| out.fill(7));
    let mut server = match Server::new(Config::default(), [7; 16], random) {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    };
    let link = server.open(Peer::default());
    let give = |server: &mut Server, bytes: &[u8]| {
        server.handle_bytes(now, link, &mut BytesMut::from(bytes));
        while let Some(output) = server.poll_output() {
            if let Output::Delivery(Delivery::Connect { socket, .. }) = output {
                server.shard(now, |shard, out| shard.accept(now, socket, out));
            }
        }
    };
    give(
        &mut server,
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: sim\r\n\
          Connection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    give(&mut server, b"\x81\x82\0\0\0\x0040");
    let event = b"\x81\x8b\0\0\0\x0042[\"e\",\"x\"]";
    let begun = clock::now();
    for _ in 0..EVENTS {
        give(&mut server, event);
    }
    (begun.elapsed() / EVENTS).max(Duration::from_nanos(50))
}
