//! The work of one input, in allocations and in steps, is bounded by the size of the input
//! (promise 7).
//!
//! Both are counted, and no clock is read: the numbers are the same in each run. The product counts
//! its own steps, with the feature `steps` of `sio-proto`: the turns of its loops over what a peer
//! can make long. [`effort`](crate::effort) measures time in addition, and so sees work that
//! nobody counts.
//!
//! Bytes of which nothing comes out yet belong to the same input as those behind them. What they
//! have cost together is compared with what they are together. So a message that comes in many
//! pieces may not be looked at from its beginning with each piece.

use crate::held::Held;
use crate::network::Wire;
use crate::violation::Promise;
use crate::world::World;

/// How many steps any piece of an input may take: what a session holds is looked at, moved or
/// thrown away.
const STEPS_OF_PIECE: usize = 1_000;

/// How many steps each further piece may take, of which nothing has come out.
const STEPS_OF_MORE: usize = 50;

/// How many steps each byte of an input may take.
const STEPS_OF_BYTE: usize = 8;

/// How many bytes that leave may take one step: what has waited for a client leaves when the client
/// asks for it.
const WRITTEN_OF_STEP: usize = 4;

/// How many steps each socket of the server may take, as the recipient of what an input causes.
const STEPS_OF_SOCKET: usize = 16;

/// How many bytes of memory any piece of an input may take from the allocator.
const MEMORY_OF_PIECE: usize = 128 << 10;

/// How many bytes of memory each further piece may take, of which nothing has come out.
const MEMORY_OF_MORE: usize = 1 << 10;

/// How many bytes of memory each byte of an input, or each byte that leaves, may take.
const MEMORY_OF_BYTE: usize = 64;

/// How many steps each session and each deadline of the server may take when deadlines are over.
const STEPS_OF_DEADLINE: usize = 32;

/// What there is before some work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    held: Held,
    /// How many bytes the server has had for connections.
    written: u64,
    /// How many bytes wait behind requests on other connections.
    waiting: usize,
}

/// What the pieces of one input have cost so far, of which nothing has come out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// How many bytes there are.
    pub(crate) bytes: usize,
    pieces: usize,
    steps: usize,
    /// How many bytes of memory were taken from the allocator, whether they were given back or not.
    memory: usize,
}

impl Spent {
    /// Something has come out, so a new input begins. The end of the last piece may be its
    /// beginning.
    pub(crate) fn behind(piece: usize) -> Self {
        Self {
            bytes: piece,
            ..Self::default()
        }
    }
}

impl World {
    /// What there is before an input on this connection, or before deadlines are over.
    pub(crate) fn before(&self, number: Option<u64>) -> Before {
        Before {
            held: self.held,
            written: self.written,
            waiting: self.waiting_bytes(number),
        }
    }

    /// The work of one input is bounded by its size. What comes out of it has come out.
    pub(crate) fn check_work(&mut self, number: u64, size: usize, before: Before, after: Held) {
        let written = (self.written - before.written) as usize;
        let waiting = before.waiting;
        let before = before.held;
        let members = self.members.len();
        let allocations = after.allocations - before.allocations;
        let most = 400 + size * 4 + members * 16;
        if allocations > most {
            let words = format_args!("{size} bytes cost {allocations} allocations, at most {most}");
            self.fail(Promise::Price, words);
        }
        let steps = after.steps - before.steps;
        let memory = after.allocated - before.allocated;
        let spent = match self.wires.get_mut(&number) {
            Some(wire) => {
                wire.spent.pieces += 1;
                wire.spent.steps += steps;
                wire.spent.memory += memory;
                wire.spent
            }
            None => Spent {
                bytes: size,
                pieces: 1,
                steps,
                memory,
            },
        };
        let others = spent.pieces.saturating_sub(1);
        let most = STEPS_OF_PIECE + STEPS_OF_MORE * others + STEPS_OF_BYTE * size + STEPS_OF_SOCKET * members;
        let most = most + written / WRITTEN_OF_STEP + STEPS_OF_BYTE * waiting;
        if spent.steps > most {
            let Spent { pieces, steps, .. } = spent;
            let words = format_args!("{size} bytes in {pieces} pieces cost {steps} steps, at most {most}");
            self.fail(Promise::Price, words);
        }
        let most = MEMORY_OF_PIECE + MEMORY_OF_MORE * others + MEMORY_OF_BYTE * (size + written + waiting);
        if spent.memory > most {
            let Spent { pieces, memory, .. } = spent;
            let words = format_args!("{size} bytes in {pieces} pieces take {memory} bytes of memory, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// The most bytes that wait on other connections until a request there has its answer. They are
    /// read when something else gives this answer.
    fn waiting_bytes(&self, except: Option<u64>) -> usize {
        let config = &self.plan.server;
        let most = config.http.max_head_bytes + config.max_payload;
        let waits = |(number, wire): &(&u64, &Wire)| Some(**number) != except && wire.line.waits();
        self.wires
            .iter()
            .filter(waits)
            .map(|(_, wire)| wire.given.min(most))
            .sum()
    }

    /// Deadlines are over. The work is bounded by what there is, by what leaves, and by what has
    /// waited behind the answers to requests.
    pub(crate) fn handle_deadlines(&mut self) {
        let now = self.now;
        let there = self.server.sum(now, |shard| shard.sessions() + shard.held().timers);
        let before = self.before(None);
        self.held.charge(|| self.server.handle_timeout(now));
        let steps = self.held.steps - before.held.steps;
        self.settle();
        let written = (self.written - before.written) as usize;
        let most = STEPS_OF_PIECE + STEPS_OF_DEADLINE * there + written / WRITTEN_OF_STEP;
        let most = most + STEPS_OF_BYTE * before.waiting;
        if steps > most {
            let words =
                format_args!("deadlines cost {steps} steps, at most {most}: there are {there} sessions and deadlines");
            self.fail(Promise::Price, words);
        }
    }
}
