//! The API for adapters: connections, the time, and the shutdown. Users of a server do not need it.
//!
//! ```text
//!   Serve: accept ─► Connection::new ─► Connection::drive              one task per listener, and one per connection
//!   parsed request ─► Driver::exchange ─► Exchange::poll_answer        inside another HTTP server
//!   Driver::keep_time: Driver::handle_timeout, sleep until it says     one task per shard
//!                      Driver::sweep, once a second                    one task
//! ```
//! An adapter contains what is different in each runtime: how to accept, to read, to write without
//! blocking ([`Source`], [`Outlet`]; for streams that only their owner can write to, [`Duplex`]),
//! to sleep, to spawn, and where the clock and the randomness are ([`Runtime`]).
//!
//! An adapter gives its users an [`Io`](crate::Io), and keeps a [`Driver`] of it. An `Io` has no
//! method that drops handlers or drives the server.

pub use crate::client::network::{Dialing, Network, Resolving, Sleeping, Wire};
pub use crate::entropy::fill_from_stock;
pub use crate::host::connection::{Connection, Driven};
pub use crate::host::driver::Driver;
pub use crate::host::exchange::{Answer, EndlessBody, Exchange, Exchanged};
#[cfg(feature = "handover")]
pub use crate::host::handover;
pub use crate::host::serve::{Serve, is_of_one_client};
pub use crate::link::ends::{Outlet, Source};
pub use crate::link::pipe::{Duplex, Piped};
#[cfg(feature = "tls")]
pub use crate::link::tls::{TlsOutlet, TlsSource};
#[cfg(feature = "redis")]
pub use crate::redis::{
    BrokerBuildError, BrokerBuilder, BrokerHandle, ClusterEmitter, EmitterCounts, EmitterError, NotFlushed, Recipients,
};
pub use crate::runtime::{Runtime, Task};
pub use sio_proto::Time;
#[cfg(feature = "redis")]
pub use sio_proto::broker;
