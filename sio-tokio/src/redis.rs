//! The connections of a process to its Redis, for code that speaks to Redis in the way of a
//! Socket.IO cluster: channels, messages, a few requests, streams. It is not a general client of
//! Redis.

pub use sio_app::adapter::broker::{
    Address, Answer, BrokerConfig, BrokerConfigError, BrokerError, BrokerUrlError, Command, Counters, Credentials,
    Entry, Event, Refusal, Request, StreamPosition,
};
pub use sio_app::adapter::{BrokerBuildError, BrokerBuilder, BrokerHandle};

use crate::connect::NETWORK;

/// Begins connections to a broker with these settings. [`BrokerBuilder::connect`] makes them.
///
/// ```no_run
/// use sio_tokio::redis::{self, BrokerConfig, Command, Event};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = BrokerConfig::from_url("redis://127.0.0.1")?;
/// let handle = redis::builder(config).connect(|event| {
///     if let Event::Message { payload, .. } = event {
///         println!("{}", payload.escape_ascii());
///     }
/// })?;
/// handle.send(Command::Subscribe { channel: "news".into(), sharded: false });
/// handle.send(Command::Publish { channel: "news".into(), payload: "hello".into(), sharded: false });
/// # Ok(())
/// # }
/// ```
#[must_use]
pub const fn builder(config: BrokerConfig) -> BrokerBuilder {
    BrokerBuilder::new(NETWORK, config)
}
