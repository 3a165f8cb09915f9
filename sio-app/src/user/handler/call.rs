//! A call on its way to a handler, what is owed to its client, and how it ends.

use std::any::type_name;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use sio_proto::server::Reason;
use sio_proto::socket::Args;

use crate::args::{ArgsError, RawArgs, from_args, from_args_to_keep};
use crate::error::HandlerError;
use crate::user::ack::Ack;
use crate::user::handler::words::{Words, words_of};
use crate::user::message;
use crate::user::middleware::Refusal;
use crate::user::socket::{Socket, SocketInner};

/// What happened, on its way to a handler: what an [`Extract`](super::Extract) looks at.
pub struct Call<'a> {
    pub(crate) socket: &'a Arc<SocketInner>,
    pub(crate) event: &'a str,
    pub(crate) args: Args,
    pub(crate) ack: Option<Question>,
    /// The handler may wait, and keep its arguments meanwhile.
    pub(crate) keeps: bool,
    pub(crate) end: Option<Reason>,
}

/// That the client has asked for an acknowledgement, with its id.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) id: u64,
    /// Of several handlers that may answer, the first does.
    pub(crate) answered: Option<Arc<AtomicBool>>,
}

impl Question {
    /// Of an event that one handler has.
    pub(crate) const fn new(id: u64) -> Self {
        Self { id, answered: None }
    }

    /// Of an event that several handlers have.
    pub(crate) fn of_several(id: u64) -> Self {
        Self {
            id,
            answered: Some(Arc::default()),
        }
    }

    /// Whether an answer may be sent. True once.
    pub(crate) fn take(&self) -> bool {
        self.answered
            .as_ref()
            .is_none_or(|answered| !answered.swap(true, Ordering::Relaxed))
    }
}

impl<'a> Call<'a> {
    /// Something that brings no arguments.
    pub(crate) fn bare(socket: &'a Arc<SocketInner>, event: &'a str) -> Self {
        Self {
            socket,
            event,
            args: Args::default(),
            ack: None,
            keeps: false,
            end: None,
        }
    }

    /// The socket it concerns.
    #[must_use]
    pub fn socket(&self) -> Socket {
        Socket(Arc::clone(self.socket))
    }

    /// The name of the event; `connect` in connect handlers and middlewares, `disconnecting` and
    /// `disconnect` in the handlers of these.
    #[must_use]
    pub const fn event(&self) -> &str {
        self.event
    }

    /// The arguments of the event, untouched. None in handlers of connections.
    #[must_use]
    pub fn args(&self) -> RawArgs {
        RawArgs(self.args.clone())
    }

    /// Whether the client has asked for an acknowledgement.
    #[must_use]
    pub const fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// The state of this type that the server was given ([`Io::state`](crate::Io::state)). In
    /// handlers of a socket that connected before the server was given it, there is none.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.socket.table()?.states.get()
    }

    pub(crate) fn args_as<A: serde::de::DeserializeOwned + 'static>(&mut self) -> Result<A, ArgsError> {
        let args = std::mem::take(&mut self.args);
        match self.keeps {
            true => from_args_to_keep(args),
            false => from_args(args),
        }
    }

    /// The answer becomes the handler's to give.
    pub(crate) fn take_ack(&mut self) -> Ack {
        Ack::new(self.socket, self.ack.take())
    }

    /// The answer that is still the server's to give.
    pub(crate) fn owed(&mut self) -> Option<Owed> {
        let question = self.ack.take()?;
        Some(Owed::new(self.socket, question))
    }
}

/// An acknowledgement that follows from what a handler returns.
pub struct Owed {
    socket: Arc<SocketInner>,
    question: Question,
}

impl Owed {
    pub(crate) fn new(socket: &Arc<SocketInner>, question: Question) -> Self {
        Self {
            socket: Arc::clone(socket),
            question,
        }
    }

    pub(crate) fn send<A: Serialize>(self, args: &A) {
        if self.question.take() {
            message::send_ack_or_report(&self.socket, self.question.id, args);
        }
    }

    /// The same as something that a function of the user's can answer.
    pub(crate) fn into_ack(self) -> Ack {
        Ack::new(&self.socket, Some(self.question))
    }
}

/// Why a handler has not done what it was for, and who is still to be told.
pub struct Failure {
    pub(crate) error: HandlerError,
    /// What the client may read of it.
    pub(crate) words: Words,
    pub(crate) owed: Option<Owed>,
}

impl Failure {
    /// What a handler has returned as its error.
    pub(crate) fn returned<E: Display + 'static>(error: &E, owed: Option<Owed>) -> Box<Self> {
        Box::new(Self {
            words: words_of(error),
            error: HandlerError::Failed(error.to_string()),
            owed,
        })
    }

    /// A handler was not called.
    pub(crate) fn not_called(NotCalled(why): NotCalled, owed: Option<Owed>) -> Box<Self> {
        let (error, words) = *why;
        Box::new(Self { error, words, owed })
    }

    /// A filter has refused the event.
    pub(crate) fn refused(refusal: Refusal, owed: Option<Owed>) -> Box<Self> {
        Box::new(Self {
            error: HandlerError::Refused(refusal.message().to_owned()),
            words: Words::Said(refusal),
            owed,
        })
    }

    /// A handler has panicked.
    pub(crate) fn panicked(error: HandlerError) -> Box<Self> {
        Box::new(Self {
            error,
            words: Words::Internal,
            owed: None,
        })
    }
}

/// Why a handler cannot be called, and what its client may read of that.
pub struct NotCalled(Box<(HandlerError, Words)>);

impl NotCalled {
    /// An extractor has failed.
    pub(crate) fn not_extracted<T, E: Display + 'static>(error: &E) -> Self {
        let words = words_of(error);
        let error = HandlerError::Extract {
            what: type_name::<T>(),
            error: error.to_string(),
        };
        Self(Box::new((error, words)))
    }

    /// The arguments are not what it asks for.
    pub(crate) fn misfit(error: ArgsError) -> Self {
        Self(Box::new((error.into(), Words::misfit())))
    }

    /// What went wrong, and the refusal of a socket for which a middleware could not be called.
    pub(crate) fn into_refusal(self) -> (HandlerError, Refusal) {
        let (error, words) = *self.0;
        (error, words.into_refusal())
    }
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), Box<Failure>>> + Send>>;

/// A handler that has been started.
#[doc(hidden)]
pub enum Started {
    Done(Result<(), Box<Failure>>),
    Waiting(HandlerFuture),
}
