//! What the example programs share: [the chat](chat), [a loop of one's own](event_loop) to run
//! servers on, [what they are told](Arguments), and how they are asked to end.

#![forbid(unsafe_code)]

pub mod chat;
pub mod event_loop;

mod arguments;
mod ending;

pub use arguments::Arguments;
pub use ending::asked_to_end;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
