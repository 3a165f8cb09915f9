//! The code that the example programs share: [the chat](chat), [an event loop](event_loop) to run
//! servers on, [the command line](Arguments), [arguments of events as JSON](JsonArgs), and [the
//! signal to end](asked_to_end).

#![forbid(unsafe_code)]

pub mod chat;
pub mod event_loop;

mod arguments;
mod ending;
mod json_args;
#[cfg(feature = "transcript")]
mod transcript;

pub use arguments::Arguments;
pub use ending::asked_to_end;
pub use json_args::{JsonArg, JsonArgs};
#[cfg(feature = "transcript")]
pub use transcript::Transcripts;

/// This item checks that the examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
