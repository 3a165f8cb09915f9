//! The connections to a broker (Redis): a task that drives
//! [`sio_proto::broker::Broker`] over the network of an adapter, and the handle
//! that gives it commands.
//!
//! ```text
//!   any thread ─ send ─► Core (one lock) ◄─ bytes, time ─ the broker's task ─► connections
//!                          │                                   │
//!                          └── outputs, taken by the task ─────┴─► the listener
//! ```
//! An emitter ([`ClusterEmitter`]) sends to the clients of a cluster over such connections.
//!
//! A command never waits: it changes the machine and wakes the task. The listener is called by the
//! task, with all events that one read has brought and under no lock.

mod builder;
mod driver;
mod emitter;
mod handle;
mod line;
mod losses;
mod recipients;

pub use builder::{BrokerBuildError, BrokerBuilder};
pub use emitter::{ClusterEmitter, EmitterError};
pub use handle::BrokerHandle;
pub use losses::{EmitterCounts, NotFlushed};
pub use recipients::Recipients;
