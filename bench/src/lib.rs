//! What operations of sio cost.
//!
//! A [`Row`] is one operation: an echo, a poll, one delivery of a broadcast. It runs in this
//! process, on one thread, without a socket and without a clock, so that the number of its
//! instructions depends on nothing but the code. `cargo xtask bench` counts them
//! (`docs/performance.md`), and the benches with Criterion measure their time.
//!
//! | module | its rows |
//! |---|---|
//! | [`turns`], [`polls`], [`connects`], [`crowds`] | whole turns: bytes are read, handlers run, answers are written; with `sio-app` |
//! | [`machine`] | the same without `sio-app`: the facade of `sio-proto` |
//! | [`calls`] | single calls: formats, and the classification of a request |
//!
//! The inputs of [`worst`] are no rows. They are as expensive to read as inputs can be, and show
//! that the work grows no faster than the input.
//!
//! Everything that is random is pinned: the server draws its ids from a generator that begins at
//! the same place in every process ([`world`]).
#![forbid(unsafe_code)]

pub mod calls;
pub mod client;
pub mod connects;
pub mod crowds;
pub mod machine;
pub mod polls;
pub mod redis;
pub mod turns;
pub mod wire;
pub mod world;
pub mod worst;

/// One operation that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the table of counts, without blanks.
    pub name: &'static str,
    /// How many operations one round is: the counts are divided by it.
    pub operations: u64,
    /// How many rounds are counted, after a quarter as many that are not.
    pub rounds: u64,
    /// Makes everything that the operation needs.
    pub make: fn() -> Box<dyn Case>,
}

/// The number of rounds of a row whose operation is cheap. It is large enough for what is done only
/// sometimes, for example for the reads that get the thread's buffer back.
const MANY: u64 = 512;

/// The number of rounds of a row whose operation is expensive.
const SOME: u64 = 128;

/// The number of rounds of a row that is an operation for each of many clients.
const FEW: u64 = 32;

impl Row {
    const fn new(name: &'static str, make: fn() -> Box<dyn Case>) -> Self {
        Self {
            name,
            operations: 1,
            rounds: MANY,
            make,
        }
    }

    /// One round is this many operations.
    const fn of(mut self, operations: u64) -> Self {
        self.operations = operations;
        self.rounds = if operations > 100 { FEW } else { SOME };
        self
    }

    /// The operation is expensive.
    const fn heavy(mut self) -> Self {
        self.rounds = SOME;
        self
    }

    /// Runs the rounds of this row. `count` is called for each step that is counted, and has to run
    /// it.
    pub fn run(&self, mut count: impl FnMut(&mut dyn Case, usize)) {
        let mut case = (self.make)();
        for _ in 0..self.rounds / 4 {
            for step in 0..case.steps() {
                case.prepare(step);
                case.run(step);
            }
        }
        for _ in 0..self.rounds {
            for step in 0..case.steps() {
                case.prepare(step);
                count(&mut *case, step);
            }
        }
        case.check();
    }
}

/// An operation, and what it needs.
pub trait Case {
    /// How many steps one round has. Default one.
    fn steps(&self) -> usize {
        1
    }

    /// Prepares a step. This is not counted.
    fn prepare(&mut self, step: usize) {
        let _ = step;
    }

    /// Does a step. This is counted.
    fn run(&mut self, step: usize);

    /// Does one more round, and looks at what came out of it.
    ///
    /// # Panics
    /// If the operation has not done what its row says.
    fn check(&mut self);
}

/// Returns all rows, in the order of the table.
#[must_use]
pub fn rows() -> Vec<Row> {
    [
        turns::ROWS,
        polls::ROWS,
        connects::ROWS,
        crowds::ROWS,
        machine::ROWS,
        calls::ROWS,
    ]
    .concat()
}
