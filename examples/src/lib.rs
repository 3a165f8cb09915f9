//! What the example programs share: [the chat](chat), [a loop of one's own](event_loop) to run servers on, and how they are asked to end.

#![forbid(unsafe_code)]

pub mod chat;
pub mod event_loop;

mod ending;

pub use ending::asked_to_end;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
