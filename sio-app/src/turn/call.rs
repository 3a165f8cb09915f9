//! A call of a handler: what happened, the acknowledgement that is owed, and how the call ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use sio_proto::server::{Breach, Reason};
use sio_proto::socket::Args;

use crate::error::HandlerError;
use crate::turn::refusal::Refusal;

/// The end of a connection whose handlers are called: a server's ([`ServerSide`]) or a client's.
/// Both ends have handlers of the same shapes, but other sockets.
pub trait Side: Sized + 'static {
    /// The socket that a call concerns.
    #[doc(hidden)]
    type Socket: Clone + Send + Sync + 'static;
    /// The peer's question for an acknowledgement.
    #[doc(hidden)]
    type Question: Send + Sync + 'static;
    /// How a connection has ended.
    #[doc(hidden)]
    type End;

    /// Finds a state that was given to this end.
    #[doc(hidden)]
    fn state<T: Send + Sync + 'static>(socket: &Self::Socket) -> Option<&T>;

    /// Answers the peer. Arguments that cannot be written are reported.
    #[doc(hidden)]
    fn answer<A: Serialize>(socket: &Self::Socket, question: Self::Question, args: &A);
}

/// The handlers of a server.
#[derive(Debug)]
pub struct ServerSide;

/// A call of a handler: the socket, the event and its arguments. An
/// [`Extract`](crate::handler::Extract) reads from it.
pub struct Call<'a, S: Side = ServerSide> {
    pub(crate) socket: &'a S::Socket,
    pub(crate) event: &'a str,
    /// The arguments, until the handler takes them.
    pub(crate) args: Option<Args>,
    pub(crate) ack: Option<S::Question>,
    /// Notes that the handler may wait, and keeps its arguments meanwhile.
    pub(crate) keeps: bool,
    pub(crate) end: Option<&'a S::End>,
}

impl<'a, S: Side> Call<'a, S> {
    /// Makes the call of a handler of an event.
    #[inline]
    pub(crate) const fn new(socket: &'a S::Socket, event: &'a str, args: Args, ack: Option<S::Question>) -> Self {
        Self {
            socket,
            event,
            args: Some(args),
            ack,
            keeps: false,
            end: None,
        }
    }

    /// Makes a call without arguments, of a handler of a connection or of its end.
    pub(crate) const fn bare(socket: &'a S::Socket, event: &'a str, end: Option<&'a S::End>) -> Self {
        Self {
            socket,
            event,
            args: None,
            ack: None,
            keeps: false,
            end,
        }
    }

    /// Takes the acknowledgement that follows from what the handler returns, unless the handler has
    /// taken the [`Ack`](crate::Ack).
    pub(crate) fn owed(&mut self) -> Option<Owed<S>> {
        let question = self.ack.take()?;
        Some(Owed::new(self.socket, question))
    }
}

/// How a connection has ended.
#[derive(Clone, Debug)]
pub struct Ending {
    pub(crate) reason: Reason,
    pub(crate) breach: Option<Breach>,
}

/// The client has asked for an acknowledgement, with this id.
#[derive(Clone)]
pub struct Question {
    pub(crate) id: u64,
    /// Set if several handlers may answer. Only the first answer counts.
    answered: Option<Arc<AtomicBool>>,
}

impl Question {
    /// The question of an event that has one handler.
    pub(crate) const fn new(id: u64) -> Self {
        Self { id, answered: None }
    }

    /// The question of an event that has several handlers.
    pub(crate) fn of_several(id: u64) -> Self {
        Self {
            id,
            answered: Some(Arc::default()),
        }
    }

    /// Whether an answer may be sent. If there are several handlers, only the first that asks may
    /// answer.
    pub(crate) fn take(&self) -> bool {
        self.answered
            .as_ref()
            .is_none_or(|answered| !answered.swap(true, Ordering::Relaxed))
    }
}

/// An acknowledgement that follows from what a handler returns.
pub struct Owed<S: Side = ServerSide> {
    pub(crate) socket: S::Socket,
    pub(crate) question: S::Question,
}

impl<S: Side> Owed<S> {
    pub(crate) fn new(socket: &S::Socket, question: S::Question) -> Self {
        Self {
            socket: socket.clone(),
            question,
        }
    }
}

/// Why a handler has failed, and which client has to be told.
pub struct Failure<S: Side = ServerSide> {
    pub(crate) error: HandlerError,
    /// What the client gets of the error. `None` for an error that only the application may see.
    pub(crate) words: Option<Refusal>,
    pub(crate) owed: Option<Owed<S>>,
}

impl<S: Side> Failure<S> {
    /// Makes the failure of a handler that was not called.
    pub(crate) fn not_called(NotCalled(why): NotCalled, owed: Option<Owed<S>>) -> Box<Self> {
        let (error, words) = *why;
        Box::new(Self { error, words, owed })
    }

    /// Makes the failure of an event that a filter has refused.
    pub(crate) fn refused(refusal: Refusal, owed: Option<Owed<S>>) -> Box<Self> {
        Box::new(Self {
            error: HandlerError::Refused(refusal.message().to_owned()),
            words: Some(refusal),
            owed,
        })
    }

    /// Makes the failure of a handler that has panicked.
    pub(crate) fn panicked(error: HandlerError) -> Box<Self> {
        Box::new(Self {
            error,
            words: None,
            owed: None,
        })
    }
}

/// Why a handler cannot be called, and what its client gets of the reason.
pub struct NotCalled(pub(crate) Box<(HandlerError, Option<Refusal>)>);

impl NotCalled {
    /// Returns the error, and the refusal for a socket whose middleware could not be called.
    pub(crate) fn into_refusal(self) -> (HandlerError, Refusal) {
        let (error, words) = *self.0;
        (error, words.unwrap_or_else(Refusal::internal))
    }
}

pub(crate) type HandlerFuture<S = ServerSide> = Pin<Box<dyn Future<Output = Result<(), Box<Failure<S>>>> + Send>>;

/// A handler that has been started.
#[doc(hidden)]
pub enum Started<S: Side = ServerSide> {
    Done(Result<(), Box<Failure<S>>>),
    Waiting(HandlerFuture<S>),
}

/// A middleware that has been started.
#[doc(hidden)]
pub enum StartedMiddleware {
    Done(Result<(), Refusal>),
    Waiting(Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>),
}
