//! What a handler can read about its call, and how errors of handlers are stored.

use std::any::type_name;
use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{ArgsError, RawArgs, from_args, from_args_to_keep};
use crate::error::HandlerError;
use crate::turn::call::{Call, Ending, Failure, NotCalled, Owed, Question, ServerSide, Side};
use crate::turn::socket::SocketCell;
use crate::user::ack::Ack;
use crate::user::handler::words::{misfit, words_of};
use crate::user::message;
use crate::user::socket::Socket;

impl Side for ServerSide {
    type Socket = Arc<SocketCell>;
    type Question = Question;
    type End = Ending;

    fn state<T: Send + Sync + 'static>(socket: &Arc<SocketCell>) -> Option<&T> {
        socket.table()?.states.get()
    }

    fn answer<A: Serialize>(socket: &Arc<SocketCell>, question: Question, args: &A) {
        if question.take() {
            message::send_ack_or_report(socket, question.id, args);
        }
    }
}

impl Call<'_> {
    /// Returns the socket of this call.
    #[must_use]
    pub fn socket(&self) -> Socket {
        Socket(Arc::clone(self.socket))
    }

    /// Gives the acknowledgement to the handler, which then has to send it.
    pub(crate) fn take_ack(&mut self) -> Ack {
        Ack::new(self.socket, self.ack.take())
    }
}

impl<S: Side> Call<'_, S> {
    /// Returns the name of the event. It is `connect` in connect handlers and middlewares, and
    /// `disconnecting` or `disconnect` in the handlers of those events.
    #[must_use]
    pub const fn event(&self) -> &str {
        self.event
    }

    /// Returns the arguments of the event, before they are converted to a type. Handlers of
    /// connections have no arguments.
    #[must_use]
    pub fn args(&self) -> RawArgs {
        RawArgs(self.args.clone().unwrap_or_default())
    }

    /// Whether the client has asked for an acknowledgement.
    #[must_use]
    pub const fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Returns the state of this type that the server was given with
    /// [`Io::state`](crate::Io::state). Returns `None` if there is no such state, or if the socket
    /// connected before the server was given it.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        S::state(self.socket)
    }

    pub(crate) fn args_as<A: DeserializeOwned + 'static>(&mut self) -> Result<A, ArgsError> {
        let args = self.args.take().unwrap_or_default();
        match self.keeps {
            true => from_args_to_keep(args),
            false => from_args(args),
        }
    }
}

impl<S: Side> Owed<S> {
    pub(crate) fn send<A: Serialize>(self, args: &A) {
        S::answer(&self.socket, self.question, args);
    }
}

impl<S: Side> Failure<S> {
    /// Makes a failure of the error that a handler has returned.
    pub(crate) fn returned<E: Display + 'static>(error: &E, owed: Option<Owed<S>>) -> Box<Self> {
        Box::new(Self {
            words: words_of(error),
            error: HandlerError::Failed(error.to_string()),
            owed,
        })
    }
}

impl NotCalled {
    /// Reports that an extractor has failed.
    pub(crate) fn not_extracted<T, E: Display + 'static>(error: &E) -> Self {
        let words = words_of(error);
        let error = HandlerError::Extract {
            what: type_name::<T>(),
            error: error.to_string(),
        };
        Self(Box::new((error, words)))
    }

    /// Reports that the event's arguments do not fit the handler's type.
    pub(crate) fn misfit(error: ArgsError) -> Self {
        Self(Box::new((error.into(), Some(misfit()))))
    }
}
