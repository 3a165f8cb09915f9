//! The manual: how to put this crate into a loop of your own, step by step. There is no code in it
//! but what its pages show, and all of that is compiled and run.
//!
//! 1. [`facade`]: one thread, bytes in and bytes out. [`server::Server`](crate::server::Server) has
//!    everything but the sockets and the clock.
//! 2. [`shard`]: requests, messages, packets and commands, for those who have an HTTP server
//!    already, or several cores.
//!
//! Who wants handlers with typed arguments on a loop of his own takes `sio-app`, and the loop in
//! the examples (`sio_examples::event_loop`).

pub mod facade;
pub mod shard;
