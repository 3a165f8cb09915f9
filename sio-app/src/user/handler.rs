//! Handlers: functions that say by their parameters what they need, sync or async.
//!
//! | parameters, in this order | what |
//! |---|---|
//! | any number of types that implement [`Extract`] | [`Socket`](crate::Socket), [`Io`](crate::Io), [`State<T>`](State), [`Auth<T>`](Auth), and types of your own |
//! | in handlers of events: one type that the arguments can be read as | any owned `Deserialize` type; a tuple for several arguments; see [`args`](crate::args) |
//! | in handlers of events: [`Ack`](crate::Ack) | the means to answer the client |
//!
//! Each may be left out, and there are at most eight. A handler of disconnections may also ask for
//! the [`Reason`](crate::Reason) and, as `Option<Breach>`, for what stands behind it
//! ([`Breach`](crate::Breach)).
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
//! | returned | by a client that has asked for an acknowledgement |
//! |---|---|
//! | `()` | none is heard, unless the handler sends its [`Ack`](crate::Ack) |
//! | `Ok(value)`, without `Ack` among the parameters | `value` is heard: `()` is no argument, a tuple several |
//! | `Err(error)`, without `Ack` among the parameters | the error is heard as `{ "error": message }` |
//! | `Ok(())`, `Err(error)`, with `Ack` | what the handler sends |
//!
//! An error is told to [`Namespace::on_error`](crate::Namespace::on_error) or
//! [`Io::on_error`](crate::Io::on_error), too. [`HandlerResult`] is a short name for a type in
//! which `?` takes any error:
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
//! # What clients read of errors
//!
//! The errors of a database or a library are none of a client's business. Errors of the types
//! `&'static str`, `String` and [`Refusal`](crate::Refusal) are words for the client, and it reads
//! them; so it does a `Refusal` in a [`HandlerResult`]. Of arguments that do not fit it reads
//! `arguments do not fit`, of `auth` that does not, `auth does not fit`. Of all other errors it
//! reads `Internal server error`. A shape of your own is
//! [`Namespace::answer_errors`](crate::Namespace::answer_errors).
//!
//! # Async handlers
//!
//! With `async` before them, or returning a future, handlers may wait. `async move |…|` that
//! captures does not compile, because the future may outlive the call. Take the value as
//! [`State`], or a clone for each future, in a closure that returns it:
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
//! # What goes wrong
//!
//! | what | its client | its acknowledgement | the application |
//! |---|---|---|---|
//! | the handler panics, at once or later | is disconnected by the server (from 1.x on: `io server disconnect`), and does not come back by itself | is not answered, if it has not been | hears [`HandlerError::Panicked`](crate::HandlerError::Panicked) |
//! | it returns an error | goes on | the error, unless the handler takes `Ack` | [`HandlerError::Failed`](crate::HandlerError::Failed) |
//! | the arguments are not what it asks for: it is not called | goes on | the error | [`HandlerError::Args`](crate::HandlerError::Args) |
//! | an extractor fails: it is not called | goes on | the error | [`HandlerError::Extract`](crate::HandlerError::Extract) |
//! | there is no handler for the event | goes on | is not answered | nothing |
//! | a middleware panics, or the function of [`Io::of_fn`](crate::Io::of_fn) | is refused, and told `Internal server error` | | [`HandlerError::Panicked`](crate::HandlerError::Panicked) |
//!
//! The application hears in [`Namespace::on_error`](crate::Namespace::on_error),
//! [`Io::on_error`](crate::Io::on_error), or else in the log. A handler that wants to decide itself
//! what it means that arguments do not fit asks for `Result<T, ArgsError>`. Other sockets of the
//! same session go on, but for clients of 0.6 to 0.9 whose handler of `/` panics: theirs is the
//! whole session.
//!
//! # What takes long
//!
//! A handler that blocks stops everybody whom its thread serves; see [the crate's
//! page](crate#handlers-that-take-long).
//!
//! # When it does not compile
//!
//! The compiler says of each parameter, and of what is returned, what does not fit in its place.

mod call;
mod extract;
mod outcome;
mod parameters;
mod words;

pub use crate::turn::call::Call;
pub use extract::{Auth, AuthError, Extract, Needs, NoState, State};
pub use outcome::{Decision, Outcome, Reply, Returns};
pub use parameters::{
    BehindArgs, ConnectParameters, EndParameters, EndPart, EventParameters, FromArgs, Function, Last, Middle,
};

pub(crate) use words::Told;

use std::error::Error;

use crate::turn::call::{Failure, NotCalled, Started, StartedMiddleware};
use crate::turn::refusal::Refusal;
use outcome::Free;

/// What a handler can return in which several kinds of errors may happen: `?` takes any of them. To
/// say what the client reads of one, make it a [`Refusal`](crate::Refusal):
/// `Err(Refusal::new("no such room").into())`.
pub type HandlerResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a middleware can return: `?` takes a [`Refusal`](crate::Refusal), a `&str` or a `String`,
/// which the client reads, and an [`EmitError`](crate::EmitError), of which it reads `Internal
/// server error`.
pub type MiddlewareResult = Result<(), Refusal>;

/// A function that handles an event. See [the module](self) for what it can take and return.
pub trait EventHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: Call<'_>) -> Started;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, M, R> EventHandler<(P, M, R)> for F
where
    F: Function<P>,
    P: EventParameters<M>,
    F::Output: Returns<P::Owes, R>,
{
    fn call(&self, mut call: Call<'_>) -> Started {
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

/// A function that is told of a connection: any number of types that implement [`Extract`], `async`
/// or not.
pub trait ConnectHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: &Call<'_>) -> Started;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, R> ConnectHandler<(P, R)> for F
where
    F: Function<P>,
    P: ConnectParameters,
    F::Output: Returns<Free, R>,
{
    fn call(&self, call: &Call<'_>) -> Started {
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

/// A function that is told of the end of a connection: any number of types that implement
/// [`Extract`], the [`Reason`](crate::Reason), and `Option<Breach>`, in any order, `async` or not.
///
/// The [`Reason`](crate::Reason) is one of nine. The [`Breach`](crate::Breach) says what stands
/// behind the reason if the client has broken a rule: the rule that has ended the session, or else
/// the first rule that was broken without ending it. JavaScript has a `description` in this place.
pub trait DisconnectHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: &Call<'_>) -> Started;
    #[doc(hidden)]
    fn needs() -> Needs;
}

impl<F, P, M, R> DisconnectHandler<(P, M, R)> for F
where
    F: Function<P>,
    P: EndParameters<M>,
    F::Output: Returns<Free, R>,
{
    fn call(&self, call: &Call<'_>) -> Started {
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
    /// The error is of an extractor.
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
