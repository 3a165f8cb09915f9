//! What a handler can learn of its call, and how its errors are kept.

use std::any::type_name;
use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{ArgsError, RawArgs, from_args, from_args_to_keep};
use crate::error::HandlerError;
use crate::turn::call::{Call, Failure, NotCalled, Owed};
use crate::user::ack::Ack;
use crate::user::handler::words::{misfit, words_of};
use crate::user::message;
use crate::user::socket::Socket;

impl Call<'_> {
    /// The socket it concerns.
    #[must_use]
    pub fn socket(&self) -> Socket {
        Socket(Arc::clone(self.socket))
    }

    /// The name of the event. In connect handlers and middlewares it is `connect`, in the handlers
    /// of the end of a connection `disconnecting` or `disconnect`.
    #[must_use]
    pub const fn event(&self) -> &str {
        self.event
    }

    /// The arguments of the event, untouched. There are none in handlers of connections.
    #[must_use]
    pub fn args(&self) -> RawArgs {
        RawArgs(self.args.clone())
    }

    /// Whether the client has asked for an acknowledgement.
    #[must_use]
    pub const fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// The state of this type that the server was given ([`Io::state`](crate::Io::state)). A socket
    /// that connected before the server was given it has none.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.socket.table()?.states.get()
    }

    pub(crate) fn args_as<A: DeserializeOwned + 'static>(&mut self) -> Result<A, ArgsError> {
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
}

impl Owed {
    pub(crate) fn send<A: Serialize>(self, args: &A) {
        if self.question.take() {
            message::send_ack_or_report(&self.socket, self.question.id, args);
        }
    }
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
}

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
        Self(Box::new((error.into(), Some(misfit()))))
    }
}
