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
use crate::violation::Promise;
use crate::world::{NAMESPACES, World};

/// How many steps any piece of an input may take.
const STEPS_OF_PIECE: usize = 100;

/// How many steps each further piece may take, of which nothing has come out.
const STEPS_OF_MORE: usize = 50;

/// How many steps each byte of an input may take.
pub(crate) const STEPS_OF_BYTE: usize = 8;

/// How many bytes that leave may take one step: what has waited for a client leaves when the client
/// asks for it.
pub(crate) const WRITTEN_OF_STEP: usize = 4;

/// How many bytes of memory any piece of an input may take from the allocator.
const MEMORY_OF_PIECE: usize = 128 << 10;

/// How many bytes of memory each further piece may take, of which nothing has come out.
const MEMORY_OF_MORE: usize = 1 << 10;

/// How many bytes of memory each byte of an input, or each byte that leaves, may take.
const MEMORY_OF_BYTE: usize = 64;

/// How many bytes of memory each question may take that one client may be asked in all of its
/// namespaces, in a seed that asks many at once.
const MEMORY_OF_QUESTION: usize = 512;

/// How many steps each session and each deadline of the server may take when deadlines are over.
const STEPS_OF_DEADLINE: usize = 32;

/// How many steps all deadlines together may take for each thing that is done, and so may have set
/// some.
const STEPS_OF_DEED: usize = 10;

/// How many bytes of an input may set as many deadlines as one small input.
const BYTES_OF_DEED: usize = 8;

/// How many steps each thing that is done saves, for work that is done seldom: deadlines that mean
/// nothing any more are removed when there are as many as others.
const SAVED_BY_DEED: usize = 8;

/// How many steps may be saved.
const MOST_SAVED: usize = 4_096;

/// What there is before some work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    held: Held,
    /// How many bytes the server has had for connections.
    written: u64,
    /// How many bytes had waited behind requests that were answered.
    released: usize,
}

/// What is paid by all inputs and orders together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Steps that are saved for work that is done seldom.
    saved: usize,
    /// How many steps deadlines have taken so far, and how many they may.
    deadlines: (usize, usize),
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
    /// What there is before an input, or before deadlines are over.
    pub(crate) const fn before(&self) -> Before {
        Before {
            held: self.held,
            written: self.written,
            released: self.released.1,
        }
    }

    /// Something is done, with an input of so many bytes or none.
    pub(crate) fn earn(&mut self, bytes: usize) {
        let account = &mut self.account;
        account.saved = (account.saved + SAVED_BY_DEED).min(MOST_SAVED);
        account.deadlines.1 += STEPS_OF_DEED * (1 + bytes / BYTES_OF_DEED);
    }

    /// As much is saved as can be.
    pub(crate) const fn save_all(&mut self) {
        self.account.saved = MOST_SAVED;
    }

    /// Whether so many steps may be taken, if at most `most` cost nothing that was saved.
    pub(crate) fn affords(&mut self, steps: usize, most: usize) -> bool {
        let left = self.account.saved.checked_sub(steps.saturating_sub(most));
        self.account.saved = left.unwrap_or_default();
        left.is_some()
    }

    /// The work of one input is bounded by its size. What comes out of it has come out.
    pub(crate) fn check_work(&mut self, number: u64, size: usize, before: Before, after: Held) {
        self.earn(size);
        let written = (self.written - before.written) as usize;
        let released = self.released.1 - before.released;
        let before = before.held;
        let allocations = after.allocations - before.allocations;
        let most = 400 + size * 4;
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
        let most = STEPS_OF_PIECE + STEPS_OF_MORE * others + STEPS_OF_BYTE * (size + released);
        let most = most + written / WRITTEN_OF_STEP;
        if !self.affords(spent.steps, most) {
            let Spent { pieces, steps, .. } = spent;
            let words = format_args!("{size} bytes in {pieces} pieces cost {steps} steps, at most {most}");
            self.fail(Promise::Price, words);
        }
        if let Some(wire) = self.wires.get_mut(&number) {
            // What was saved is spent once.
            wire.spent.steps = wire.spent.steps.min(most);
        }
        // The list of deadlines is made shorter in one go.
        let asked = MEMORY_OF_QUESTION * self.most_asked() * NAMESPACES.len();
        let most = asked + MEMORY_OF_PIECE + MEMORY_OF_MORE * others + MEMORY_OF_BYTE * (size + written + released);
        if spent.memory > most {
            let Spent { pieces, memory, .. } = spent;
            let words = format_args!("{size} bytes in {pieces} pieces take {memory} bytes of memory, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// What was done with a client has had its price.
    pub(crate) fn check_client(&mut self, client: usize) {
        if let Some(fault) = self.peers[client].payer.take_fault() {
            self.fail(Promise::Price, format_args!("{fault}"));
        }
    }

    /// The most bytes of a connection that the server may not have looked at yet, because it could
    /// not write.
    pub(crate) fn most_unread(&self, number: u64) -> usize {
        let config = &self.plan.server;
        let most = config.http.max_head_bytes + config.max_payload;
        self.wires.get(&number).map_or(0, |wire| wire.given.min(most))
    }

    /// Deadlines are over. The work is bounded by what there is, by what leaves, and by what has
    /// waited behind the answers to requests. And all deadlines together cost no more than what has
    /// set them.
    pub(crate) fn handle_deadlines(&mut self) {
        let now = self.now;
        let there = self.server.sum(now, |shard| shard.sessions() + shard.held().timers);
        let before = self.before();
        self.held.charge(|| self.server.handle_timeout(now));
        let steps = self.held.steps - before.held.steps;
        self.settle();
        self.earn(0);
        let written = (self.written - before.written) as usize;
        let caused = written / WRITTEN_OF_STEP + STEPS_OF_BYTE * (self.released.1 - before.released);
        let most = STEPS_OF_PIECE + STEPS_OF_DEADLINE * there + caused;
        if !self.affords(steps, most) {
            let words =
                format_args!("deadlines cost {steps} steps, at most {most}: there are {there} sessions and deadlines");
            self.fail(Promise::Price, words);
        }
        let (taken, allowed) = &mut self.account.deadlines;
        *taken += steps;
        *allowed += caused;
        let (taken, allowed) = (*taken, *allowed + STEPS_OF_PIECE);
        if taken > allowed {
            let words = format_args!("all deadlines together cost {taken} steps, at most {allowed}");
            self.fail(Promise::Price, words);
        }
    }
}
