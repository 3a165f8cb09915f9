//! The manual: how to put this crate into a loop of your own, step by step. The module has no code
//! except the examples of its pages, and all examples are compiled and run.
//!
//! 1. [`facade`]: one thread, bytes in and bytes out. [`server::Server`](crate::server::Server) has
//!    everything except the sockets and the clock.
//! 2. [`shard`]: requests, messages, packets and commands, for programs that already have an HTTP
//!    server, or use several cores.
//!
//! A program that wants handlers with typed arguments on a loop of its own takes `sio-app`, and the
//! loop in the examples (`sio_examples::event_loop`).

pub mod facade;
pub mod shard;
