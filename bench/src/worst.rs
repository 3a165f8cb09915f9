//! The worst that a peer can send, for each decoder and for the whole server: many bytes that are
//! as expensive to read as any.
//!
//! `cargo xtask bench --worst` counts the instructions of one input of 512 KiB and of one of 1 MiB.
//! It fails if the second takes more than 2.2 times as many: then a peer pays once for each byte,
//! and we pay more. Limits that would refuse an input early are raised, because they must not be
//! what keeps the work small. The example `worst` measures times.

mod cluster;
mod formats;
mod json;
mod legacy;
mod server;

use std::hint::black_box;

use crate::Case;

/// Inputs of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Worst {
    /// Its name, without blanks: what reads it, a slash, and what is bad about it.
    pub name: &'static str,
    make: fn(usize) -> Box<dyn Case>,
}

impl Worst {
    const fn new(name: &'static str, make: fn(usize) -> Box<dyn Case>) -> Self {
        Self { name, make }
    }

    /// Makes an input of about this many bytes. It is read once with each `run`.
    #[must_use]
    pub fn input(&self, bytes: usize) -> Box<dyn Case> {
        (self.make)(bytes)
    }
}

/// Returns all kinds of inputs.
#[must_use]
pub fn inputs() -> Vec<Worst> {
    [
        json::INPUTS,
        formats::INPUTS,
        legacy::INPUTS,
        cluster::INPUTS,
        server::INPUTS,
    ]
    .concat()
}

/// An input, and the function that reads it.
struct Reading<T> {
    make: Box<dyn Fn() -> T>,
    input: Option<T>,
    read: fn(T) -> usize,
    /// How many things are in the input. Reading has to find all of them: a decoder that gives up
    /// early would look fast.
    things: usize,
}

impl<T> Case for Reading<T> {
    fn prepare(&mut self, _: usize) {
        self.input = Some((self.make)());
    }

    fn run(&mut self, _: usize) {
        if let Some(input) = self.input.take() {
            black_box((self.read)(black_box(input)));
        }
    }

    fn check(&mut self) {
        assert_eq!((self.read)((self.make)()), self.things);
    }
}

/// A case that reads `input` with `read`, which returns how many things it has found.
fn reading<S, T>(input: S, things: usize, read: fn(T) -> usize) -> Box<dyn Case>
where
    S: Clone + Into<T> + 'static,
    T: 'static,
{
    Box::new(Reading {
        make: Box::new(move || input.clone().into()),
        input: None,
        read,
        things,
    })
}

/// How many pieces of this length are in an input of so many bytes.
fn count(bytes: usize, piece: &[u8]) -> usize {
    bytes / piece.len()
}

/// A text of about `bytes` bytes, between `before` and `after`, and how often `piece` is in it.
fn repeated(before: &str, piece: &str, after: &str, bytes: usize) -> (String, usize) {
    let times = count(bytes, piece.as_bytes());
    (format!("{before}{}{after}", piece.repeat(times)), times)
}
