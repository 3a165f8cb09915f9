//! The connections of one node to its broker, Redis or a server that speaks the same protocol.
//!
//! The values in [`Command`] go in and the values in [`Event`] come out. Nothing here knows what
//! the bytes of a message mean.

mod command;
mod error;

pub use command::{Answer, Command, Entry, Event, Request, StreamPosition};
pub use error::{BrokerError, Refusal};
