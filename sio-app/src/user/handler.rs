//! Handlers: functions, synchronous or asynchronous, whose parameters say what they need.
//!
//! | parameters, in this order | what |
//! |---|---|
//! | any number of types that implement [`Extract`] | [`Socket`](crate::Socket), [`Io`](crate::Io), [`State<T>`](State), [`Auth<T>`](Auth), and types of your own |
//! | in handlers of events: one type that the arguments can be read as | any owned `Deserialize` type; a tuple for several arguments; see [`args`](crate::args) |
//! | in handlers of events: [`Ack`](crate::Ack) | answers the client |
//!
//! Each parameter may be left out. There may be at most eight. A handler of disconnections may also
//! ask for the [`Reason`](crate::Reason), and, as `Option<Breach>`, for the rule that the client
//! has broken ([`Breach`](crate::Breach)).
//!
//! ```
//! use sio_app::handler::State;
//! use sio_app::{Ack, Io, Socket};
//!
//! #[derive(Clone)]
//! struct Scale(f64);
//!
//! fn register(io: &Io) {
//!     io.state(Scale(2.0));
//!     io.of("/")
//!         .on("hello", || println!("somebody says hello"))
//!         .on("say", |socket: Socket, text: String| socket.broadcast().emit("said", text))
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
//!         .on("scale", |State(scale): State<Scale>, x: f64| Ok::<_, String>(scale.0 * x));
//! }
//! ```
//!
//! Arguments are owned, because a handler may keep them: `&str` does not work, `String` does.
//!
//! # What a handler returns
//!
//! | returned | what a client gets that has asked for an acknowledgement |
//! |---|---|
//! | `()` | nothing, unless the handler sends its [`Ack`](crate::Ack) |
//! | `Ok(value)`, without `Ack` among the parameters | `value`: `()` means no arguments, and a tuple means several |
//! | `Err(error)`, without `Ack` among the parameters | the error as `{ "error": message }` |
//! | `Ok(())`, `Err(error)`, with `Ack` | what the handler sends |
//!
//! An error is also reported to [`Namespace::on_error`](crate::Namespace::on_error) or
//! [`Io::on_error`](crate::Io::on_error). [`HandlerResult`] is a short name for a result type in
//! which `?` accepts any error:
//!
//! ```
//! # use sio_app::{Io, Socket};
//! use sio_app::handler::HandlerResult;
//!
//! # fn register(io: &Io) {
//! io.of("/").on("enter", |socket: Socket, room: String| -> HandlerResult<usize> {
//!     socket.join(format!("chat:{room}"))?;
//!     Ok(socket.rooms().len())
//! });
//! # }
//! ```
//!
//! # What clients get to know of errors
//!
//! A client must not see the errors of a database or a library. Errors of the types `&'static str`,
//! `String` and [`Refusal`] are meant for the client, and it gets their text. This
//! also holds for a `Refusal` in a [`HandlerResult`]. If arguments do not fit, the client gets
//! `arguments do not fit`. If `auth` does not fit, it gets `auth does not fit`. For all other
//! errors it gets `Internal server error`.
//! [`Namespace::answer_errors`](crate::Namespace::answer_errors) sets an answer of your own.
//!
//! # Async handlers
//!
//! A handler that is `async`, or that returns a future, may wait. An `async move |…|` closure that
//! captures a value does not compile, because the future may outlive the call. Ask for the value as
//! [`State`], or write a closure that returns a future, and clone the value for each future:
//!
//! ```
//! # use sio_app::{Io, Socket};
//! # fn register(io: &Io) {
//! let names = std::sync::Arc::new(vec!["ada", "grace"]);
//! io.of("/").on("pick", move |socket: Socket, index: usize| {
//!     let names = names.clone();
//!     async move { socket.emit("picked", names.get(index)) }
//! });
//! # }
//! ```
//!
//! # Errors and panics
//!
//! | what | its client | its acknowledgement | the application |
//! |---|---|---|---|
//! | the handler panics, at once or later | is disconnected by the server (from 1.x on: `io server disconnect`), and does not reconnect by itself | is not answered, unless it has been answered before | gets [`HandlerError::Panicked`](crate::HandlerError::Panicked) |
//! | no handler handles the event | goes on | is not answered, or is the error with [`Namespace::refuse_unknown`](crate::Namespace::refuse_unknown) | hears nothing |
//! | the handler returns an error | goes on | is the error, unless the handler takes `Ack` | gets [`HandlerError::Failed`](crate::HandlerError::Failed) |
//! | the arguments do not fit the handler, which is not called | goes on | is the error | gets [`HandlerError::Args`](crate::HandlerError::Args) |
//! | an extractor fails, so that the handler is not called | goes on | is the error | gets [`HandlerError::Extract`](crate::HandlerError::Extract) |
//! | the value of the acknowledgement cannot be written as JSON, or is too large | goes on | is the error `Internal server error` | gets [`HandlerError::Emit`](crate::HandlerError::Emit) |
//! | a middleware panics, or the function of [`Io::of_fn`](crate::Io::of_fn) | is refused with `Internal server error` | | gets [`HandlerError::Panicked`](crate::HandlerError::Panicked) |
//!
//! The application gets the error in [`Namespace::on_error`](crate::Namespace::on_error) or
//! [`Io::on_error`](crate::Io::on_error); without them, the error is logged. A handler that asks
//! for `Result<T, ArgsError>` decides itself what to do when arguments do not fit. Other sockets of
//! the same session go on. There is one exception: for clients of 0.6 to 0.9, a panic in a handler
//! of `/` ends the whole session.
//!
//! When the server has disconnected a socket, no handler starts for its later events, even if they
//! have arrived already. If the client has left, the events that it sent before are handled.
//!
//! # Handlers that take long
//!
//! A handler that blocks stops all connections of its thread; see [the crate's
//! page](crate#handlers-that-take-long).
//!
//! # When it does not compile
//!
//! The compiler says for each parameter, and for the returned value, what does not fit.

mod call;
mod extract;
mod outcome;
mod parameters;
mod words;

pub use crate::turn::call::{Call, ServerSide, Side};
pub use extract::{Auth, AuthError, Extract, Needs, NoState, State};
pub use outcome::{Decision, Outcome, Reply, Returns, Verdict};
pub use parameters::{
    BehindArgs, ConnectParameters, EndParameters, EndPart, EventParameters, FromArgs, Function, Last, Middle,
};

pub(crate) use outcome::Free;
pub(crate) use parameters::{ViaAck, ViaEnd, ViaExtract};
pub(crate) use words::Told;

use std::error::Error;

use crate::turn::call::{Failure, NotCalled, Started, StartedMiddleware};
use crate::turn::refusal::Refusal;

/// The result of a handler in which several kinds of errors may happen: `?` accepts any of them. To
/// choose the text that the client gets, return a [`Refusal`]:
/// `Err(Refusal::new("no such room").into())`.
pub type HandlerResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The result of a middleware. `?` accepts a [`Refusal`], a `&str` or a `String`,
/// whose text the client gets. It also accepts an [`EmitError`](crate::EmitError); then the client
/// gets `Internal server error`.
pub type MiddlewareResult = Result<(), Refusal>;

/// A function that handles an event. See [the module](self) for what it can take and return.
pub trait EventHandler<M, S: Side = ServerSide>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: Call<'_, S>) -> Started<S>;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, M, R, S: Side> EventHandler<(P, M, R), S> for F
where
    F: Function<P>,
    P: EventParameters<M, S>,
    F::Output: Returns<P::Owes, R>,
{
    fn call(&self, mut call: Call<'_, S>) -> Started<S> {
        call.keeps = <F::Output as Returns<P::Owes, R>>::WAITS;
        match P::take(&mut call) {
            Ok(parameters) => self.invoke(parameters).start(call.owed()),
            Err(error) => Started::Done(Err(Failure::not_called(error, call.owed()))),
        }
    }

    fn needs() -> Needs {
        let mut needs = Needs::default();
        P::needs(&mut needs);
        needs
    }
}

/// A function that handles a connection: any number of types that implement [`Extract`], `async` or
/// not.
pub trait ConnectHandler<M, S: Side = ServerSide>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: &Call<'_, S>) -> Started<S>;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, R, S: Side> ConnectHandler<(P, R), S> for F
where
    F: Function<P>,
    P: ConnectParameters<S>,
    F::Output: Returns<Free, R>,
{
    fn call(&self, call: &Call<'_, S>) -> Started<S> {
        match P::take(call) {
            Ok(parameters) => self.invoke(parameters).start(None),
            Err(error) => Started::Done(Err(Failure::not_called(error, None))),
        }
    }

    fn needs() -> Needs {
        let mut needs = Needs::default();
        P::needs(&mut needs);
        needs
    }
}

/// A function that handles the end of a connection: any number of types that implement [`Extract`],
/// the [`Reason`](crate::Reason), and `Option<Breach>`, in any order, `async` or not.
///
/// The [`Reason`](crate::Reason) is one of nine. If the client has broken a rule, the
/// [`Breach`](crate::Breach) gives the cause behind the reason: the rule that ended the session, or
/// else the first rule that was broken without ending it. JavaScript has a `description` in this
/// place.
pub trait DisconnectHandler<M, S: Side = ServerSide>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: &Call<'_, S>) -> Started<S>;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, M, R, S: Side> DisconnectHandler<(P, M, R), S> for F
where
    F: Function<P>,
    P: EndParameters<M, S>,
    F::Output: Returns<Free, R>,
{
    fn call(&self, call: &Call<'_, S>) -> Started<S> {
        match P::take(call) {
            Ok(parameters) => self.invoke(parameters).start(None),
            Err(error) => Started::Done(Err(Failure::not_called(error, None))),
        }
    }

    fn needs() -> Needs {
        let mut needs = Needs::default();
        P::needs(&mut needs);
        needs
    }
}

/// A function that decides whether a socket may join: any number of types that implement
/// [`Extract`], `async` or not, with a `Result` whose error becomes a [`Refusal`].
pub trait Middleware<M>: Send + Sync + 'static {
    /// Calls the middleware. The error comes from an extractor.
    #[doc(hidden)]
    fn call(&self, call: &Call<'_>) -> Result<StartedMiddleware, NotCalled>;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, M> Middleware<(P, M)> for F
where
    F: Function<P>,
    P: ConnectParameters,
    F::Output: Decision<M>,
{
    fn call(&self, call: &Call<'_>) -> Result<StartedMiddleware, NotCalled> {
        Ok(self.invoke(P::take(call)?).start())
    }

    fn needs() -> Needs {
        let mut needs = Needs::default();
        P::needs(&mut needs);
        needs
    }
}
