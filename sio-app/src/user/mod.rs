//! The API of users: handles, and the handlers that users register.

pub(crate) mod ack;
pub(crate) mod application;
pub(crate) mod broadcast_acks;
pub(crate) mod closing;
#[cfg(feature = "redis")]
pub(crate) mod cluster;
mod credentials;
pub(crate) mod data;
pub(crate) mod decisions;
pub(crate) mod emitter;
pub(crate) mod engine;
pub(crate) mod fetched;
pub(crate) mod gone;
pub mod handler;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod inner;
pub(crate) mod io;
pub(crate) mod membership;
pub(crate) mod merging;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod own;
pub(crate) mod ready;
pub(crate) mod recovery;
pub(crate) mod registry;
pub(crate) mod remote_socket;
pub(crate) mod request;
pub(crate) mod rooms;
pub(crate) mod sending;
pub(crate) mod server_side;
pub(crate) mod shared_data;
pub(crate) mod shutdown;
pub(crate) mod sleep;
pub(crate) mod socket;
pub(crate) mod socket_emitter;
pub(crate) mod tally;
pub(crate) mod timed_emitter;
#[cfg(feature = "transcript")]
mod transcript;
