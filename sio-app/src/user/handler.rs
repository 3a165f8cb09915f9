//! Handlers: functions of several shapes, sync or async, under one roof.
//!
//! | shape | for |
//! |---|---|
//! | `\|\|` | who needs nothing |
//! | `\|socket: Socket\|` | events without arguments |
//! | `\|socket: Socket, args: A\|` | `A` is any type that arguments can be read as (see [`args`](crate::args)) |
//! | `\|socket: Socket, ack: Ack\|` | events without arguments that want an acknowledgement |
//! | `\|socket: Socket, args: A, ack: Ack\|` | all of it |
//!
//! Arguments are owned, because a handler may keep them: `&str` does not work, `String` does.
//!
//! The result is nothing, or a `Result` whose error is reported to
//! [`Io::on_error`](crate::Io::on_error). With `async` before them, or returning a future, they may
//! wait. `async move |…|` that captures does not compile, because the future may outlive the call.
//! Take a clone for each future, in a closure that returns it:
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
//! | the handler panics, at once or later | is disconnected by the server (from 1.x on: `io server disconnect`), and does not come back by itself | is not answered, if it has not been | hears [`HandlerError::Panicked`] |
//! | it returns an error | goes on | as the handler has done | [`HandlerError::Failed`] |
//! | the arguments are not what it asks for: it is not called | goes on | is not answered | [`HandlerError::Args`] |
//! | there is no handler for the event | goes on | is not answered | nothing |
//! | a middleware panics, or the function of [`Io::of_fn`](crate::Io::of_fn) | is refused, and told `Internal server error` | | [`HandlerError::Panicked`] |
//!
//! The application hears in [`Io::on_error`](crate::Io::on_error), or else in the log. A client
//! whose acknowledgement is not answered waits until its own timeout, and for ever if it has none.
//! Who wants to tell it that its arguments are wrong takes [`RawArgs`](crate::RawArgs) or
//! `serde_json::Value`, and looks at them. Other sockets of the same session go on, but for clients
//! of 0.6 to 0.9 whose handler of `/` panics: theirs is the whole session.
//!
//! # What takes long
//!
//! A handler that blocks stops everybody whom its thread serves; see [the crate's
//! page](crate#handlers-that-take-long).
//!
//! The marker `M` of the traits here says which shape it is; it is always inferred.

use std::fmt::Display;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use serde::de::DeserializeOwned;
use sio_proto::server::Reason;

use crate::args::{ArgsError, from_args, from_args_to_keep};
use crate::error::HandlerError;
use crate::turn::refusal::Refusal;
use crate::turn::table::HandlerFuture;
use crate::user::ack::Ack;
use crate::user::socket::Socket;

#[doc(hidden)]
pub use crate::turn::table::{Call, Started, StartedMiddleware};

/// What a handler may return: nothing, or a `Result` of anything.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "handlers return `()` or a `Result<T, E>` with `E: Display`; end the closure with a semicolon to return nothing"
)]
pub trait Outcome {
    /// The error, if it is one, as text.
    fn into_error(self) -> Option<String>;
}

impl Outcome for () {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    fn into_error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

impl Call {
    /// The handler may wait, and keep its arguments meanwhile.
    fn into_kept(mut self) -> Self {
        self.keeps = true;
        self
    }

    fn args_as<A: DeserializeOwned + 'static>(&mut self) -> Result<A, ArgsError> {
        let args = std::mem::take(&mut self.args);
        match self.keeps {
            true => from_args_to_keep(args),
            false => from_args(args),
        }
    }

    fn socket(self) -> Socket {
        Socket(self.socket)
    }

    fn ack(&self) -> Ack {
        Ack::new(&self.socket, self.ack)
    }
}

fn outcome(outcome: impl Outcome) -> Result<(), HandlerError> {
    outcome
        .into_error()
        .map_or(Ok(()), |error| Err(HandlerError::Failed(error)))
}

fn done(result: impl Outcome) -> Started {
    Started::Done(outcome(result))
}

/// Polls a future once, in place. The waker does nothing: a future that has to wait is polled again
/// by the task it becomes.
fn start<R: Outcome>(future: impl Future<Output = R> + Send + 'static) -> Started {
    let mut future: HandlerFuture = Box::pin(async move { outcome(future.await) });
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Started::Done(result),
        Poll::Pending => Started::Waiting(future),
    }
}

/// Marks shapes of functions.
#[doc(hidden)]
pub struct Sync<A>(A);
/// Marks shapes of functions that return futures.
#[doc(hidden)]
pub struct Async<A>(A);

/// A function that handles an event. See [the module](self) for its shapes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle an event",
    label = "not an event handler",
    note = "the shapes are `|socket: Socket|`, `|socket: Socket, args: T|`, `|socket: Socket, ack: Ack|` and `|socket: Socket, args: T, ack: Ack|`, \
            `async` or not, where `T` can be deserialized (a tuple for several arguments)",
    note = "an `async` closure that captures must be written `move |…| {{ let x = x.clone(); async move {{ … }} }}`"
)]
pub trait EventHandler<M>: Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    fn call(&self, call: Call) -> Started;
}

macro_rules! event_handlers {
    ($(($($kind:ty),*) $(<$args:ident>)? |$call:ident| { $($ready:tt)* } ($($value:expr),*);)*) => {$(
        impl<F, R $(, $args)?> EventHandler<Sync<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Outcome,
            $($args: DeserializeOwned + 'static,)?
        {
            fn call(&self, $call: Call) -> Started {
                $($ready)*
                done(self($($value),*))
            }
        }

        impl<F, R $(, $args)?> EventHandler<Async<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Future<Output: Outcome> + Send + 'static,
            $($args: DeserializeOwned + 'static,)?
        {
            fn call(&self, $call: Call) -> Started {
                let $call = $call.into_kept();
                $($ready)*
                start(self($($value),*))
            }
        }
    )*};
}

/// Binds the arguments as a type, or returns with the error.
macro_rules! args_or_return {
    ($call:expr) => {
        match $call.args_as() {
            Ok(args) => args,
            Err(error) => return Started::Done(Err(error.into())),
        }
    };
}

impl<F, R> EventHandler<Sync<()>> for F
where
    F: Fn() -> R + Send + std::marker::Sync + 'static,
    R: Outcome,
{
    fn call(&self, _: Call) -> Started {
        done(self())
    }
}

impl<F, R> EventHandler<Async<()>> for F
where
    F: Fn() -> R + Send + std::marker::Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    fn call(&self, _: Call) -> Started {
        start(self())
    }
}

event_handlers! {
    (Socket) |call| {} (call.socket());
    (Socket, Ack) |call| { let ack = call.ack(); } (call.socket(), ack);
    (Socket, A) <A> |call| { let mut call = call; let args: A = args_or_return!(call); } (call.socket(), args);
    (Socket, A, Ack) <A> |call| { let mut call = call; let ack = call.ack(); let args: A = args_or_return!(call); } (call.socket(), args, ack);
}

/// A function that is told of a connection: `|socket: Socket|` or `||`, `async` or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle a connection",
    label = "not a connect handler",
    note = "the shapes are `|socket: Socket|` and `||`, `async` or not"
)]
pub trait ConnectHandler<M>: Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    fn call(&self, socket: Socket) -> Started;
}

/// A function that is told of the end of a connection: `|socket: Socket, reason: Reason|`,
/// `|socket: Socket|` or `||`, `async` or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle a disconnection",
    label = "not a disconnect handler",
    note = "the shapes are `|socket: Socket, reason: Reason|`, `|socket: Socket|` and `||`, `async` or not"
)]
pub trait DisconnectHandler<M>: Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    fn call(&self, socket: Socket, reason: Reason) -> Started;
}

macro_rules! connect_handlers {
    ($(|$socket:ident| ($($kind:ty),*) ($($value:expr),*);)*) => {$(
        impl<F, R> ConnectHandler<Sync<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Outcome,
        {
            fn call(&self, $socket: Socket) -> Started {
                let _ = &$socket;
                done(self($($value),*))
            }
        }

        impl<F, R> ConnectHandler<Async<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Future<Output: Outcome> + Send + 'static,
        {
            fn call(&self, $socket: Socket) -> Started {
                let _ = &$socket;
                start(self($($value),*))
            }
        }
    )*};
}

connect_handlers! {
    |socket| () ();
    |socket| (Socket) (socket);
}

macro_rules! disconnect_handlers {
    ($(|$socket:ident, $reason:ident| ($($kind:ty),*) ($($value:expr),*);)*) => {$(
        impl<F, R> DisconnectHandler<Sync<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Outcome,
        {
            fn call(&self, $socket: Socket, $reason: Reason) -> Started {
                let _ = (&$socket, $reason);
                done(self($($value),*))
            }
        }

        impl<F, R> DisconnectHandler<Async<($($kind,)*)>> for F
        where
            F: Fn($($kind),*) -> R + Send + std::marker::Sync + 'static,
            R: Future<Output: Outcome> + Send + 'static,
        {
            fn call(&self, $socket: Socket, $reason: Reason) -> Started {
                let _ = (&$socket, $reason);
                start(self($($value),*))
            }
        }
    )*};
}

disconnect_handlers! {
    |socket, reason| () ();
    |socket, reason| (Socket) (socket);
    |socket, reason| (Socket, Reason) (socket, reason);
}

/// A function that decides whether a socket may join: `|socket: Socket|`, `async` or not, with a
/// `Result` whose error becomes a [`Refusal`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a middleware",
    label = "not a middleware",
    note = "the shape is `|socket: Socket| -> Result<(), E>`, `async` or not, where `E` is a `Refusal`, a `&str` or a `String`"
)]
pub trait Middleware<M>: Send + std::marker::Sync + 'static {
    #[doc(hidden)]
    fn call(&self, socket: Socket) -> StartedMiddleware;
}

impl<F, E> Middleware<Sync<(Socket, E)>> for F
where
    F: Fn(Socket) -> Result<(), E> + Send + std::marker::Sync + 'static,
    E: Into<Refusal>,
{
    fn call(&self, socket: Socket) -> StartedMiddleware {
        StartedMiddleware::Done(self(socket).map_err(Into::into))
    }
}

impl<F, R, E> Middleware<Async<(Socket, E)>> for F
where
    F: Fn(Socket) -> R + Send + std::marker::Sync + 'static,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Refusal>,
{
    fn call(&self, socket: Socket) -> StartedMiddleware {
        let future = self(socket);
        StartedMiddleware::Waiting(Box::pin(async move { future.await.map_err(Into::into) }))
    }
}
