//! The async-std and smol adapter of sio. **It does not exist yet**: this crate holds its name and says what will be here.
//!
//! What will be here is what `sio-tokio` has, on futures-io traits and async-io timers, so that one code base serves async-std and smol: accept, the read and
//! write loop, clock, entropy, shutdown. Handlers, namespaces and arguments live in `sio-app` and are the same for every adapter, so moving from one to
//! another changes the line that makes the server.
//!
//! Until then there are two ways to serve without tokio: the `Server` facade of `sio-proto` (bytes in, bytes out) in an event loop of your own, and its `Shard` below that.
//!
//! async-std itself is discontinued upstream. New code is better off with smol.
#![no_std]
#![forbid(unsafe_code)]
