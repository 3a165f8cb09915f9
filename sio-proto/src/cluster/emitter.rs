//! An emitter: a process without a server that sends to the clients of a cluster
//! (docs/protocol/cluster-redis.md §5, §4.4).

use core::time::Duration;

use bytestring::ByteString;

use super::messages::EMITTER;
use super::order::{Emit, Order};
use super::seal::{Seal, Signer};
use super::sending::{Outgoing, Sender};
use crate::broker::Command;
use crate::socket::is_reserved_event;
use crate::{ClusterConfig, ClusterKind, ConfigError, Time};

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The node does not know the namespace: it was not opened, or it is closed.
    #[error("the namespace is not open")]
    UnknownNamespace,
    /// The message is longer than
    /// [`ClusterConfig::max_message_bytes`](crate::ClusterConfig::max_message_bytes).
    #[error("the message is too large")]
    TooLarge,
    /// [`ClusterConfig::max_requests`](crate::ClusterConfig::max_requests) requests wait already.
    #[error("too many requests wait for answers")]
    TooManyRequests,
    /// Only the library itself sends events of this name.
    #[error("a reserved event name")]
    ReservedName,
}

/// Writes the messages of an emitter. It hears nothing.
#[derive(Clone, Debug)]
pub struct Emitter {
    config: ClusterConfig,
    uid: ByteString,
    signer: Option<Signer>,
}

impl Emitter {
    /// An emitter for the cluster that these settings describe.
    ///
    /// # Errors
    ///
    /// Those of [`ClusterConfig::validate`].
    pub fn new(config: ClusterConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            uid: ByteString::from_static(EMITTER),
            signer: None,
        })
    }

    /// Signs all messages from now on with the first of [`ClusterConfig::secrets`], if there is
    /// one. `sender` is a random number, drawn once for each process. The time is that since the
    /// beginning of 1970; it has to be set again before each message, or every few seconds. An
    /// emitter for which this was never called signs nothing.
    pub fn set_unix_time(&mut self, sender: u64, time: Duration) {
        let signer = self.signer.get_or_insert_with(|| Signer::new(sender));
        signer.set_unix_time(Time::ZERO, time);
    }

    fn seal(&self) -> Option<Seal> {
        let secret = self.config.secrets.first()?.clone();
        self.signer.as_ref().map(|signer| signer.seal(Time::ZERO, secret))
    }

    /// The command for the broker that makes all nodes carry out the order in the namespace. With
    /// the streams adapter it is a request with this tag, and its answer says whether the order was
    /// stored.
    ///
    /// # Errors
    ///
    /// [`NotSent::ReservedName`], [`NotSent::TooLarge`].
    pub fn order(&self, namespace: &ByteString, order: Order, tag: u64) -> Result<Command, NotSent> {
        check_order(&order)?;
        let seal = self.seal();
        let outgoing = self.sender(namespace, seal.as_ref()).order(order, None);
        self.command(outgoing, tag)
    }

    /// The command for the broker that gives the event to all servers. Nobody can answer. The tag
    /// is that of [`Emitter::order`].
    ///
    /// # Errors
    ///
    /// [`NotSent::ReservedName`], [`NotSent::TooLarge`].
    pub fn server_side_emit(&self, namespace: &ByteString, emit: Emit, tag: u64) -> Result<Command, NotSent> {
        check_server_side_name(&emit)?;
        let in_stream = matches!(self.config.kind, ClusterKind::Streams(_));
        let seal = self.seal();
        let outgoing = self.sender(namespace, seal.as_ref()).server_side_emit(emit, in_stream);
        self.command(outgoing, tag)
    }

    const fn sender<'a>(&'a self, namespace: &'a ByteString, seal: Option<&'a Seal>) -> Sender<'a> {
        Sender {
            config: &self.config,
            uid: &self.uid,
            namespace,
            seal,
        }
    }

    fn command(&self, outgoing: Outgoing, tag: u64) -> Result<Command, NotSent> {
        if outgoing.bytes() > self.config.max_message_bytes {
            return Err(NotSent::TooLarge);
        }
        Ok(outgoing.command(tag, None))
    }
}

/// Refuses a broadcast that no packet may carry.
pub(super) fn check_order(order: &Order) -> Result<(), NotSent> {
    match order {
        Order::Broadcast { emit, .. } if is_reserved_event(&emit.name) => Err(NotSent::ReservedName),
        Order::Broadcast { .. } | Order::Join { .. } | Order::Leave { .. } | Order::Disconnect { .. } => Ok(()),
    }
}

/// Refuses the names that genuine nodes refuse here, and `error`: an emitter of Node.js throws it
/// if nobody listens, and the node that hears it ends, or reads its entry of the stream for ever.
pub(super) fn check_server_side_name(emit: &Emit) -> Result<(), NotSent> {
    match ["connect", "connection", "new_namespace", "error"].contains(&&*emit.name) {
        true => Err(NotSent::ReservedName),
        false => Ok(()),
    }
}
