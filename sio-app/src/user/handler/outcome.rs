//! The values that handlers return, directly or from a future, and what the crate does with them.

use std::fmt::Display;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use sio_proto::server::Sent;

use crate::turn::call::{Failure, HandlerFuture, Owed, Side, Started, StartedMiddleware};
use crate::turn::refusal::Refusal;

/// The return type of a handler whose return value is not the acknowledgement: `()` or a
/// `Result<(), E>`. This is a handler of connections, or a handler of events that takes an
/// [`Ack`](crate::Ack) and sends it itself.
#[diagnostic::on_unimplemented(
    message = "this handler cannot return `{Self}`",
    label = "`{Self}` would be lost",
    note = "it returns `()`, or a `Result<(), E>` with `E: Display`; `.map(drop)` makes one of a `Result<T, E>`",
    note = "a handler of an event that takes no `Ack` may return `Result<T, E>`: the value is the acknowledgement"
)]
pub trait Outcome: Sized {
    #[doc(hidden)]
    fn finish<S: Side>(self) -> Result<(), Box<Failure<S>>>;
}

impl Outcome for () {
    fn finish<S: Side>(self) -> Result<(), Box<Failure<S>>> {
        Ok(())
    }
}

impl Outcome for Sent {
    fn finish<S: Side>(self) -> Result<(), Box<Failure<S>>> {
        Ok(())
    }
}

impl<E: Display + 'static> Outcome for Result<(), E> {
    fn finish<S: Side>(self) -> Result<(), Box<Failure<S>>> {
        self.map_err(|error| Failure::returned(&error, None))
    }
}

/// The return type of a handler of an event that takes no [`Ack`](crate::Ack): `()`, or a `Result`
/// whose value or error is the acknowledgement.
#[diagnostic::on_unimplemented(
    message = "a handler of an event cannot return `{Self}`",
    label = "`{Self}` is neither `()` nor a `Result`",
    note = "it returns `()`, or a `Result<T, E>` where the value, `T: Serialize`, is the acknowledgement and `E: Display`",
    note = "a closure returns nothing if its last expression ends with a semicolon; one that can only panic has to name its type: `|| -> ()`, then the block"
)]
pub trait Reply: Sized {
    #[doc(hidden)]
    fn finish<S: Side>(self, owed: Option<Owed<S>>) -> Result<(), Box<Failure<S>>>;
}

impl Reply for () {
    fn finish<S: Side>(self, _: Option<Owed<S>>) -> Result<(), Box<Failure<S>>> {
        Ok(())
    }
}

impl Reply for Sent {
    fn finish<S: Side>(self, _: Option<Owed<S>>) -> Result<(), Box<Failure<S>>> {
        Ok(())
    }
}

impl<T: Serialize, E: Display + 'static> Reply for Result<T, E> {
    fn finish<S: Side>(self, owed: Option<Owed<S>>) -> Result<(), Box<Failure<S>>> {
        match self {
            Ok(value) => {
                if let Some(owed) = owed {
                    owed.send(&value);
                }
                Ok(())
            }
            Err(error) => Err(Failure::returned(&error, owed)),
        }
    }
}

/// Marks handlers whose return value is the acknowledgement.
#[doc(hidden)]
pub struct Owing;
/// Marks handlers whose return value is not the acknowledgement.
#[doc(hidden)]
pub struct Free;
/// Marks handlers that return their value directly.
#[doc(hidden)]
pub struct Now;
/// Marks handlers that return a future of their value.
#[doc(hidden)]
pub struct Later;

/// The return type of a handler: an [`Outcome`], a [`Reply`], or a future of one of these.
#[diagnostic::on_unimplemented(
    message = "this handler cannot return `{Self}`",
    label = "neither `()`, nor a `Result`, nor a future of one",
    note = "a handler returns `()` or a `Result<T, E>` with `E: Display`; `async` or not. In handlers of events that take no `Ack` the value is the \
            acknowledgement and `T: Serialize`, in all others it is `()`",
    note = "a closure returns nothing if its last expression ends with a semicolon; one that can only panic has to name its type: `|| -> ()`, then the block",
    note = "the future of an `async` handler has to be `Send`"
)]
pub trait Returns<Owes, M> {
    /// Whether the handler may go on running after its call has returned.
    #[doc(hidden)]
    const WAITS: bool;

    #[doc(hidden)]
    fn start<S: Side>(self, owed: Option<Owed<S>>) -> Started<S>;
}

impl<R: Reply> Returns<Owing, Now> for R {
    const WAITS: bool = false;

    fn start<S: Side>(self, owed: Option<Owed<S>>) -> Started<S> {
        Started::Done(self.finish(owed))
    }
}

impl<R: Outcome> Returns<Free, Now> for R {
    const WAITS: bool = false;

    fn start<S: Side>(self, _: Option<Owed<S>>) -> Started<S> {
        Started::Done(self.finish())
    }
}

impl<F: Future<Output: Reply> + Send + 'static> Returns<Owing, Later> for F {
    const WAITS: bool = true;

    fn start<S: Side>(self, owed: Option<Owed<S>>) -> Started<S> {
        poll_once(Box::pin(async move { self.await.finish(owed) }))
    }
}

impl<F: Future<Output: Outcome> + Send + 'static> Returns<Free, Later> for F {
    const WAITS: bool = true;

    fn start<S: Side>(self, _: Option<Owed<S>>) -> Started<S> {
        poll_once(Box::pin(async move { self.await.finish() }))
    }
}

/// Polls a future once, directly. The waker does nothing: if the future has to wait, it becomes a
/// task, which polls it again.
fn poll_once<S: Side>(mut future: HandlerFuture<S>) -> Started<S> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Started::Done(result),
        Poll::Pending => Started::Waiting(future),
    }
}

/// The decision of a middleware: a `Result<(), E>` whose error becomes a [`Refusal`].
pub trait Verdict {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Refusal>;
}

impl<E: Into<Refusal>> Verdict for Result<(), E> {
    fn into_result(self) -> Result<(), Refusal> {
        self.map_err(Into::into)
    }
}

/// The return type of a middleware: a [`Verdict`], or a future of one.
#[diagnostic::on_unimplemented(
    message = "a middleware cannot return `{Self}`",
    label = "not a `Result<(), E>` that says whether the socket is let in",
    note = "it returns a `Result<(), E>`, `async` or not, where `E` is a `Refusal`, a `&str`, a `String` or an `EmitError`"
)]
pub trait Decision<M> {
    #[doc(hidden)]
    fn start(self) -> StartedMiddleware;
}

impl<V: Verdict> Decision<Now> for V {
    fn start(self) -> StartedMiddleware {
        StartedMiddleware::Done(self.into_result())
    }
}

impl<F: Future<Output: Verdict> + Send + 'static> Decision<Later> for F {
    fn start(self) -> StartedMiddleware {
        StartedMiddleware::Waiting(Box::pin(async move { self.await.into_result() }))
    }
}
