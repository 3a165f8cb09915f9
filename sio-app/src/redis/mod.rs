//! The connections to a broker (Redis): a task that drives
//! [`sio_proto::broker::Broker`] over the network of an adapter, and the handle
//! that gives it commands.
//!
//! ```text
//!   any thread ─ send ─► Core (one lock) ◄─ bytes, time ─ the broker's task ─► connections
//!                          │                                   │
//!                          └── outputs, taken by the task ─────┴─► the listener
//! ```
//! A command never waits: it changes the machine and wakes the task. The listener is called by the
//! task, with all events that one read has brought and under no lock.

mod builder;
mod driver;
mod handle;

pub use builder::{BrokerBuildError, BrokerBuilder};
pub use handle::BrokerHandle;
