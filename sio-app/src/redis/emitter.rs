//! An emitter: a process without a server that sends to the clients of a cluster
//! (docs/protocol/cluster-redis.md §5).
//!
//! It writes what servers write, over connections of its own, and hears nothing. What it sends
//! waits for the broker within the limits of
//! [`BrokerConfig`](sio_proto::broker::BrokerConfig::max_waiting_bytes).

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::broker::{BrokerError, Command};
use sio_proto::cluster::{self, Emit, NotSent, Order};

use super::builder::{BrokerBuildError, BrokerBuilder};
use super::handle::BrokerHandle;
use super::losses::{ENTRY, EmitterCounts, NotFlushed, Told};
use super::recipients::Recipients;
use crate::args::{ArgsError, Data};
use crate::client::network::Network;
use crate::client::slot::Slot;
use crate::error::EmitError;
use crate::options::Cluster;
use crate::user::message::{Draft, with_scratch};
use crate::user::rooms::Rooms;

/// Why an emitter did not send something. After an error nothing has been sent.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The arguments cannot be written.
    #[error("arguments: {0}")]
    Args(#[from] ArgsError),
    /// The name belongs to the protocol, or no server may be sent an event of this name.
    #[error("the event name {0:?} is reserved")]
    Reserved(String),
    /// The message is longer than
    /// [`ClusterConfig::max_message_bytes`](sio_proto::ClusterConfig::max_message_bytes).
    #[error("the message is larger than messages of a cluster may be")]
    TooLarge,
    /// As many bytes wait for the broker as may wait
    /// ([`BrokerConfig::max_waiting_bytes`](sio_proto::broker::BrokerConfig::max_waiting_bytes)).
    #[error("too much waits for the broker")]
    Full,
    /// The emitter was closed, or its runtime has ended.
    #[error("the emitter is closed")]
    Closed,
}

crate::readable::says_why!(EmitterError);

/// Sends to the clients and servers of a cluster from a process that has no server. It is a handle,
/// cheap to clone. When the last handle is dropped, its connections are closed; what still waits
/// for the broker is lost then, so end with [`close`](Self::close). With the secret of the cluster
/// ([`Cluster::secret`]) it signs its messages, as servers do.
///
/// Nothing waits: [`emit`](Self::emit) and the other methods return at once. What the broker cannot
/// take now waits, for 5 seconds and in 16 MiB at most, if the settings do not say otherwise
/// ([`BrokerConfig`](sio_proto::broker::BrokerConfig)). [`flush`](Self::flush) says whether
/// everything has reached the broker, and [`counts`](Self::counts) what was lost.
#[derive(Clone)]
pub struct ClusterEmitter(Arc<Core>);

struct Core {
    broker: BrokerHandle,
    writer: cluster::Emitter,
    /// The clock and the random number of this process that signatures have, if messages are
    /// signed.
    signs: Option<(fn() -> u64, u64)>,
    told: Arc<Told>,
    /// The tag of the last question of [`ClusterEmitter::flush`].
    last_flush: AtomicU64,
}

impl ClusterEmitter {
    /// Makes an emitter for the cluster with these settings, and begins to connect. All servers of
    /// the cluster have to have the same adapter and the same prefix.
    ///
    /// # Errors
    /// If the settings make no sense, or there is no runtime. A broker that cannot be reached is no
    /// error here: messages wait for it.
    pub fn new(network: Network, cluster: &Cluster) -> Result<Self, BrokerBuildError> {
        let mut writer = cluster::Emitter::new(cluster.config.clone())?;
        let runtime = network.runtime;
        let mut random = [0; 8];
        (runtime.fill)(&mut random);
        let signs = match cluster.config.secrets.is_empty() {
            true => None,
            false => Some((runtime.unix_time, u64::from_ne_bytes(random))),
        };
        set_time(&mut writer, signs);
        let told = Arc::new(Told::default());
        let hears = Arc::clone(&told);
        let broker = BrokerBuilder::for_cluster(network, cluster).connect(move |event| hears.handle_event(event))?;
        Ok(Self(Arc::new(Core {
            broker,
            writer,
            signs,
            told,
            last_flush: AtomicU64::new(ENTRY),
        })))
    }

    /// Chooses all sockets of a namespace. A name without a slash at its beginning gets one.
    pub fn of(&self, namespace: &str) -> Recipients {
        let namespace = match namespace.starts_with('/') {
            true => namespace.into(),
            false => format!("/{namespace}").into(),
        };
        Recipients::new(self.clone(), namespace)
    }

    fn root(&self) -> Recipients {
        Recipients::new(self.clone(), ByteString::from_static("/"))
    }

    /// Chooses the members of a room of `/`, or of several rooms; see [`Recipients::to`].
    pub fn to<M>(&self, rooms: impl Rooms<M>) -> Recipients {
        self.root().to(rooms)
    }

    /// Chooses the sockets of `/` that are not in this room, or in these rooms.
    pub fn except<M>(&self, rooms: impl Rooms<M>) -> Recipients {
        self.root().except(rooms)
    }

    /// Sends to clients of `/` that can take the message now; see [`Recipients::volatile`].
    pub fn volatile(&self) -> Recipients {
        self.root().volatile()
    }

    /// Says whether servers may compress the message; see [`Recipients::compress`].
    pub fn compress(&self, may: bool) -> Recipients {
        self.root().compress(may)
    }

    /// Sends an event to all sockets of `/`; see [`Recipients::emit`].
    ///
    /// # Errors
    /// Those of [`Recipients::emit`].
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), EmitterError> {
        self.root().emit(event, args)
    }

    /// Sends a message without a name to all sockets of `/`; see [`Recipients::send`].
    ///
    /// # Errors
    /// Those of [`Recipients::emit`].
    pub fn send(&self, data: impl Into<Data>) -> Result<(), EmitterError> {
        self.root().send(data)
    }

    /// Sends an event to all servers, for their namespace `/`; see
    /// [`Recipients::server_side_emit`].
    ///
    /// # Errors
    /// Those of [`Recipients::server_side_emit`].
    pub fn server_side_emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), EmitterError> {
        self.root().server_side_emit(event, args)
    }

    /// Waits until the broker has everything that was sent before. The wait ends after
    /// [`BrokerConfig::request_timeout`](sio_proto::broker::BrokerConfig::request_timeout) (5 s) at
    /// the latest. That the broker has a message does not mean that a server has heard it.
    ///
    /// # Errors
    /// If something was lost since the last call, may have been lost, or still waits. The error
    /// says how much.
    pub async fn flush(&self) -> Result<(), NotFlushed> {
        let Core {
            broker,
            told,
            last_flush,
            ..
        } = &*self.0;
        let tag = last_flush.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = Arc::new(Slot::new());
        told.await_flush(tag, Arc::clone(&slot));
        // The broker answers every question, also when it is stopped. If it was stopped before,
        // nobody is there to bring the answer.
        if broker.try_send(Command::Flush { tag }).is_err() {
            told.flushed(tag, false);
        }
        let is_settled = poll_fn(|cx| match slot.take_or_wait(cx.waker().clone()) {
            Some(is_settled) => Poll::Ready(is_settled),
            None => Poll::Pending,
        })
        .await;
        told.report(&broker.counters(), is_settled)
    }

    /// Waits as [`flush`](Self::flush) does, and closes the connections. Nothing can be sent
    /// afterwards, by any handle.
    ///
    /// # Errors
    /// Those of [`flush`](Self::flush). The emitter is closed all the same.
    pub async fn close(&self) -> Result<(), NotFlushed> {
        let flushed = self.flush().await;
        self.0.broker.close();
        flushed
    }

    /// Returns what has become of the messages so far.
    #[must_use]
    pub fn counts(&self) -> EmitterCounts {
        self.0.told.counts(&self.0.broker.counters())
    }

    pub(super) fn order(&self, namespace: &ByteString, order: Order) -> Result<(), EmitterError> {
        let name = match &order {
            Order::Broadcast { emit, .. } => emit.name.clone(),
            Order::Join { .. } | Order::Leave { .. } | Order::Disconnect { .. } => ByteString::new(),
        };
        self.give(self.writer().order(namespace, order, ENTRY), &name)
    }

    pub(super) fn tell_servers(&self, namespace: &ByteString, emit: Emit) -> Result<(), EmitterError> {
        let name = emit.name.clone();
        self.give(self.writer().server_side_emit(namespace, emit, ENTRY), &name)
    }

    /// What writes the next message. If messages are signed, it knows the time.
    fn writer(&self) -> Cow<'_, cluster::Emitter> {
        let Core { writer, signs, .. } = &*self.0;
        if signs.is_none() {
            return Cow::Borrowed(writer);
        }
        // A copy counts on with the numbers of the original.
        let mut writer = writer.clone();
        set_time(&mut writer, *signs);
        Cow::Owned(writer)
    }

    fn give(&self, command: Result<Command, NotSent>, event: &ByteString) -> Result<(), EmitterError> {
        let command = command.map_err(|error| match error {
            NotSent::ReservedName => EmitterError::Reserved(event.to_string()),
            _ => EmitterError::TooLarge,
        })?;
        self.0.broker.try_send(command).map_err(|error| match error {
            BrokerError::Stopped => EmitterError::Closed,
            _ => {
                self.0.told.note_full();
                EmitterError::Full
            }
        })
    }
}

fn set_time(writer: &mut cluster::Emitter, signs: Option<(fn() -> u64, u64)>) {
    if let Some((unix_time, sender)) = signs {
        writer.set_unix_time(sender, Duration::from_secs(unix_time()));
    }
}

/// Writes an event.
pub(super) fn written<A: Serialize>(event: &str, args: &A) -> Result<Emit, EmitterError> {
    let draft = with_scratch(|scratch| Draft::new(event, args, scratch)).map_err(|error| match error {
        EmitError::Args(error) => EmitterError::Args(error),
        _ => EmitterError::Reserved(event.to_owned()),
    })?;
    let (name, args) = draft.into_parts();
    Ok(Emit { name, args })
}

impl fmt::Debug for ClusterEmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterEmitter")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
