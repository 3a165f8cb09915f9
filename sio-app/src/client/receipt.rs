//! How emits end: receipts, and acknowledgements of the server.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;
use sio_proto::client::{self as machine, EmitId, Feature, NotSent};

use super::shared::Alive;
use super::slot::Slot;
use crate::args::{ArgsError, RawArgs, from_args};

/// Why a client has not taken an event. After an error nothing waits, and nothing is sent.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The client has closed.
    #[error("the client has closed")]
    Closed,
    /// The name belongs to the protocol: `connect`, `disconnect` and a few more.
    #[error("the event name is reserved")]
    Reserved,
    /// The events that wait have as many bytes as they may
    /// ([`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes)).
    #[error("the queue is full")]
    QueueFull,
    /// It is larger than the server takes, which the server says when the client connects
    /// (`maxPayload` of Engine.IO 4; on polling, bytes have the size of their base64). Or it would
    /// have to wait, and is larger than the whole queue
    /// ([`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes)). An event that
    /// waits for a connection may still end as [`NotSent::TooLarge`].
    #[error("the event has {bytes} bytes, and at most {max} are allowed")]
    TooLarge {
        /// The size of the event.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// There are [`ClientConfig::max_in_flight`](super::ClientConfig::max_in_flight) events that
    /// wait for their acknowledgement.
    #[error("too many events wait for acknowledgements")]
    TooManyInFlight,
    /// The generation of the server does not have what the event needs. With
    /// [`Generation::Auto`](super::Generation::Auto) this is known while the client is connected;
    /// an event that waits for a connection may still end as [`NotSent::Unsupported`].
    #[error("this generation does not have {0}")]
    Unsupported(Feature),
    /// The namespace is not connected, and the event was not to wait.
    #[error("not connected")]
    NotConnected,
    /// The arguments cannot be written as JSON.
    #[error("arguments: {0}")]
    Args(#[from] ArgsError),
}

impl From<machine::EmitError> for EmitError {
    fn from(error: machine::EmitError) -> Self {
        match error {
            machine::EmitError::ReservedEvent => Self::Reserved,
            machine::EmitError::QueueFull => Self::QueueFull,
            machine::EmitError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            machine::EmitError::TooManyInFlight => Self::TooManyInFlight,
            machine::EmitError::NotConnected => Self::NotConnected,
            machine::EmitError::Unsupported(feature) => Self::Unsupported(feature),
            _ => Self::Closed,
        }
    }
}

/// How an emit has ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was written to a connection.
    Sent,
    /// The server has had it, and has begun to handle it. Only with
    /// [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events).
    Confirmed,
    /// The server has acknowledged it, with these arguments.
    Acknowledged(RawArgs),
    /// It was written, and no acknowledgement came in time.
    TimedOut,
    /// The server has had it and handles it once, and the acknowledgement was lost with the
    /// connection. Only with
    /// [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events).
    Unanswered,
    /// It was written, and the connection ended before the acknowledgement or the confirmation.
    /// Nobody knows whether the server has had it.
    Disconnected,
    /// It was never written.
    NotSent(NotSent),
}

impl From<machine::Outcome> for Outcome {
    fn from(outcome: machine::Outcome) -> Self {
        match outcome {
            machine::Outcome::Sent => Self::Sent,
            machine::Outcome::Confirmed => Self::Confirmed,
            machine::Outcome::Unanswered => Self::Unanswered,
            machine::Outcome::Acknowledged(args) => Self::Acknowledged(RawArgs(args)),
            machine::Outcome::TimedOut => Self::TimedOut,
            machine::Outcome::Disconnected => Self::Disconnected,
            machine::Outcome::NotSent(why) => Self::NotSent(why),
        }
    }
}

/// An emit whose end is awaited.
pub(super) struct Waiting {
    alive: Arc<Alive>,
    emit: EmitId,
    slot: Arc<Slot<Outcome>>,
}

impl Waiting {
    pub(super) const fn new(alive: Arc<Alive>, emit: EmitId, slot: Arc<Slot<Outcome>>) -> Self {
        Self { alive, emit, slot }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Outcome> {
        match self.slot.take_or_wait(cx.waker().clone()) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let forgotten = self.alive.0.core.lock_for("forget").waiting.remove(&self.emit);
        drop(forgotten);
    }
}

/// A future for the end of an emit. Each emit ends exactly once.
/// [`Socket::emit_with_receipt`](super::Socket::emit_with_receipt) returns it.
///
/// The event goes its way even if this future is dropped.
#[must_use = "the event is sent at once; await this for its end, or use `emit`"]
pub struct Receipt(pub(super) Waiting);

impl Receipt {
    /// The number of the emit, as in [`Socket::pending`](super::Socket::pending).
    #[must_use]
    pub const fn id(&self) -> EmitId {
        self.0.emit
    }
}

impl Future for Receipt {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll(cx)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.id()).finish()
    }
}

/// Why no acknowledgement came.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The client has not taken the event.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The event was never written.
    #[error("the event was not sent: {0}")]
    NotSent(NotSent),
    /// The event was written, and no acknowledgement came in time.
    #[error("operation has timed out")]
    TimedOut,
    /// The event was written, and the connection ended before the acknowledgement. Nobody knows
    /// whether the server has had it.
    #[error("socket has been disconnected")]
    Disconnected,
    /// The server has had the event and handles it once, and the acknowledgement was lost with the
    /// connection. Only with
    /// [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events).
    #[error("the server has had the event, and its acknowledgement was lost")]
    Unanswered,
    /// The acknowledgement came, and is not of the type that the caller asked for.
    #[error("the acknowledgement does not fit: {0}")]
    Args(#[from] ArgsError),
}

crate::readable::says_why!(EmitError, AckError);

/// A future for an acknowledgement of the server.
/// [`Socket::emit_with_ack`](super::Socket::emit_with_ack) returns it.
///
/// The event goes its way even if this future is never polled. If it is dropped, the answer is
/// ignored.
#[must_use = "the event is sent at once; await this for the answer, or use `emit`"]
pub struct AckFuture<T> {
    state: State,
    answer: PhantomData<fn() -> T>,
}

enum State {
    Failed(Option<EmitError>),
    Waiting(Waiting),
}

impl<T> AckFuture<T> {
    pub(super) fn new(waiting: Result<Waiting, EmitError>) -> Self {
        let state = match waiting {
            Ok(waiting) => State::Waiting(waiting),
            Err(error) => State::Failed(Some(error)),
        };
        Self {
            state,
            answer: PhantomData,
        }
    }
}

impl<T: DeserializeOwned + 'static> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = match &mut self.state {
            State::Failed(error) => {
                return Poll::Ready(Err(error.take().map_or(AckError::Disconnected, AckError::Emit)));
            }
            State::Waiting(waiting) => waiting,
        };
        waiting.poll(cx).map(|outcome| match outcome {
            Outcome::Acknowledged(args) => from_args(args.0).map_err(AckError::Args),
            Outcome::TimedOut => Err(AckError::TimedOut),
            Outcome::NotSent(why) => Err(AckError::NotSent(why)),
            Outcome::Unanswered => Err(AckError::Unanswered),
            Outcome::Disconnected | Outcome::Sent | Outcome::Confirmed => Err(AckError::Disconnected),
        })
    }
}

impl<T> fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}
