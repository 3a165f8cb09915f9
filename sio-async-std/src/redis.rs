//! The connections of a process to its Redis, for code that speaks to Redis in the way of a
//! Socket.IO cluster: channels, messages, a few requests, streams. It is not a general client of
//! Redis. An [`Emitter`] sends to the clients of a cluster from a process that has no server.

use std::ops::Deref;

use sio_app::Cluster;
use sio_app::adapter::ClusterEmitter;

pub use sio_app::adapter::broker::{
    Address, Answer, BrokerConfig, BrokerConfigError, BrokerError, BrokerUrlError, Command, Counters, Credentials,
    Entry, Event, Refusal, Request, StreamPosition,
};
pub use sio_app::adapter::{
    BrokerBuildError, BrokerBuilder, BrokerHandle, EmitterCounts, EmitterError, NotFlushed, Recipients,
};

use crate::connect::NETWORK;

/// Begins connections to a broker with these settings. [`BrokerBuilder::connect`] makes them.
///
/// ```no_run
/// use sio_async_std::redis::{self, BrokerConfig, Command, Event};
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

/// Sends to the clients and servers of a cluster from a process that has no server, such as a job
/// or a command. It is a [`ClusterEmitter`] (by `Deref`), a handle, cheap to clone. Servers of
/// Node.js hear it as they hear `@socket.io/redis-emitter`.
///
/// ```no_run
/// use sio_async_std::redis::Emitter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async_io::block_on(async {
///     let emitter = Emitter::connect("redis://127.0.0.1:6379")?;
///     emitter.emit("news", ("to everybody on /", 1))?;
///     emitter.to("eu").except("away").emit("news", "to the members of a room")?;
///     emitter.of("/admin").to("guests").leave("lobby")?;
///     emitter.server_side_emit("reload", "prices")?;
///     // Everything has reached Redis, or the error says what was lost.
///     emitter.close().await?;
///     Ok(())
/// })
/// # }
/// ```
/// For the sharded adapter, streams, another prefix or TLS of your own, begin with a [`Cluster`]:
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sio_async_std::redis::Emitter;
/// use sio_async_std::{Cluster, ClusterKind};
///
/// let cluster = Cluster::from_url("redis://a,b,c")?.kind(ClusterKind::Sharded { mode: Default::default() });
/// let emitter = Emitter::with_cluster(&cluster)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Emitter(ClusterEmitter);

impl Emitter {
    /// Begins to connect to the Redis of a cluster with the classic adapter and the prefix
    /// `socket.io`. The URL is that of [`Cluster::from_url`].
    ///
    /// # Errors
    /// If the URL is not that of a Redis, or there is no runtime. A Redis that cannot be reached is
    /// no error: messages wait for it, and [`ClusterEmitter::flush`] says what became of them.
    pub fn connect(url: &str) -> Result<Self, BrokerBuildError> {
        Self::with_cluster(&Cluster::from_url(url)?)
    }

    /// Begins to connect to the Redis of a cluster with these settings.
    ///
    /// # Errors
    /// If the settings make no sense, or there is no runtime.
    pub fn with_cluster(cluster: &Cluster) -> Result<Self, BrokerBuildError> {
        ClusterEmitter::new(NETWORK, cluster).map(Self)
    }
}

impl Deref for Emitter {
    type Target = ClusterEmitter;

    fn deref(&self) -> &ClusterEmitter {
        &self.0
    }
}
