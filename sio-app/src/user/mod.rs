//! What users hold: handles, and the handlers they register.

pub(crate) mod ack;
pub(crate) mod emitter;
pub(crate) mod engine;
pub mod handler;
pub(crate) mod hooks;
pub(crate) mod io;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod registry;
pub(crate) mod shutdown;
pub(crate) mod socket;
#[cfg(feature = "transcript")]
mod transcript;
