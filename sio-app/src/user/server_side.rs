//! Events from servers to servers.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::socket::Args;

use crate::args::{ArgsError, from_args};
use crate::error::{EmitError, HandlerError, RegisterError};
use crate::turn::server_side::ServerSideEvent;
use crate::user::io::Io;
use crate::user::message::{Draft, with_scratch};
use crate::user::namespace::Namespace;
use crate::user::request::{Answers, RequestError, Requests};

/// The answers of the other servers, when all have answered or have been silent for too long.
/// [`Namespace::server_side_emit_with_ack`] returns it. The event has been sent already, even if
/// this value is never polled.
#[must_use = "the event is sent at once; await this for the answers, or use `server_side_emit`"]
pub struct ServerSideAcks<T> {
    requests: Result<Requests, Option<EmitError>>,
    answer: PhantomData<fn() -> T>,
}

/// What the other servers have answered to an event.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerSideAnswers<T> {
    /// The answers, in the order in which they came.
    pub answers: Vec<T>,
    /// Why answers could not be read as the type, one error for each such answer.
    pub unreadable: Vec<ArgsError>,
    /// How many servers have not answered in time.
    pub silent: u64,
    /// The names of those of the silent servers that are known.
    pub silent_nodes: Vec<String>,
    /// Why not all other servers could be asked.
    pub error: Option<RequestError>,
}

impl<T: DeserializeOwned + 'static> Future for ServerSideAcks<T> {
    type Output = Result<ServerSideAnswers<T>, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let requests = match &mut self.requests {
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or(EmitError::Disconnected))),
            Ok(requests) => requests,
        };
        let Answers {
            values,
            silent,
            silent_nodes,
            error,
            ..
        } = ready!(requests.poll(cx.waker()));
        let (mut answers, mut unreadable) = (Vec::with_capacity(values.len()), Vec::new());
        for value in values {
            match one(value) {
                Ok(answer) => answers.push(answer),
                Err(error) => unreadable.push(error),
            }
        }
        Poll::Ready(Ok(ServerSideAnswers {
            answers,
            unreadable,
            silent,
            silent_nodes,
            error,
        }))
    }
}

/// Reads an answer, which is one value or, from a server that answers without a value, none.
fn one<T: DeserializeOwned + 'static>(value: Args) -> Result<T, ArgsError> {
    match value.is_empty() {
        true => from_args(value),
        false => from_args(value).map(|(one,)| one),
    }
}

impl<T> fmt::Debug for ServerSideAcks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSideAcks").finish_non_exhaustive()
    }
}

/// Events from servers to servers.
impl Namespace {
    /// Sends an event to all other servers of the cluster, where the handlers of
    /// [`Namespace::on_server_side`] get it. No client gets it. Without a cluster there are no
    /// other servers.
    ///
    /// ```
    /// # use sio_app::{Io, ServerSideEvent};
    /// # fn example(io: &Io) {
    /// io.of("/").on_server_side("reload", |event: ServerSideEvent| println!("reload {:?}", event.parse::<String>()));
    /// io.of("/").server_side_emit("reload", "prices");
    /// # }
    /// ```
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) {
        match with_scratch(|scratch| Draft::new(event, &args, scratch)) {
            Ok(draft) => self.all().tell_servers(&draft),
            Err(error) => self.io.report(None, event, &HandlerError::Emit(error)),
        }
    }

    /// Sends an event to all other servers of the cluster, and collects their answers
    /// ([`ServerSideEvent::answer`]). The result is ready when all have answered, or after the time
    /// limit of the cluster's requests, and then says how many servers were silent. Without a
    /// cluster there are no answers.
    ///
    /// ```
    /// # use sio_app::{EmitError, Io, ServerSideEvent};
    /// # async fn example(io: Io) -> Result<(), EmitError> {
    /// io.of("/").on_server_side("load", |event: ServerSideEvent| drop(event.answer(0.5)));
    /// let loads = io.of("/").server_side_emit_with_ack::<f64>("load", ()).await?;
    /// println!("{:?}, and {} servers were silent", loads.answers, loads.silent);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the arguments cannot be written, or the name is reserved. Then nothing is sent.
    pub fn server_side_emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> ServerSideAcks<T> {
        let draft = with_scratch(|scratch| Draft::new(event, &args, scratch));
        ServerSideAcks {
            requests: draft.map(|draft| self.all().ask_servers(&draft)).map_err(Some),
            answer: PhantomData,
        }
    }

    /// Handles an event that another server sends to all servers. Several handlers of one event are
    /// called in the order in which they were registered. If several of them answer, the first
    /// answer counts.
    ///
    /// The handler runs on the thread that reads from the broker, so it must not block. It gets the
    /// event whoever has sent it: everybody who can write to the broker can.
    pub fn on_server_side(&self, event: &str, handler: impl Fn(ServerSideEvent) + Send + Sync + 'static) -> Self {
        if let Err(mistake) = RegisterError::of_name(event) {
            self.io.note_mistake(mistake);
            return self.clone();
        }
        self.change(|table| {
            let handlers = table.server_side.entry(event.into()).or_default();
            handlers.push(Arc::new(handler));
        })
    }
}

/// Events from servers to servers, in `/`.
impl Io {
    /// Sends an event to all other servers; see [`Namespace::server_side_emit`].
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) {
        self.of("/").server_side_emit(event, args);
    }

    /// Sends an event to all other servers, and collects their answers; see
    /// [`Namespace::server_side_emit_with_ack`].
    pub fn server_side_emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> ServerSideAcks<T> {
        self.of("/").server_side_emit_with_ack(event, args)
    }
}
