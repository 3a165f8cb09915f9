//! The functions for adapters: connections, requests of other HTTP servers, listeners, and the
//! tasks that watch the time.

pub(crate) mod aside;
pub(crate) mod asking;
pub(crate) mod background;
#[cfg(feature = "redis")]
mod cluster;
pub(crate) mod connection;
mod delay;
pub(crate) mod driver;
pub(crate) mod exchange;
#[cfg(feature = "handover")]
pub mod handover;
pub(crate) mod pacing;
mod patience;
pub(crate) mod place;
#[cfg(feature = "redis")]
pub(crate) mod relay;
mod remains;
pub(crate) mod serve;
