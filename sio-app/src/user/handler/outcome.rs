//! What handlers return, at once or later, and what follows from it.

use std::fmt::Display;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use serde::Serialize;

use crate::turn::call::{Failure, HandlerFuture, Owed, Started, StartedMiddleware};
use crate::turn::refusal::Refusal;

/// What a handler may return that has no acknowledgement to give, or takes an
/// [`Ack`](crate::Ack) and gives it by itself: nothing, or a `Result` of nothing.
#[diagnostic::on_unimplemented(
    message = "this handler cannot return `{Self}`",
    label = "`{Self}` would be lost",
    note = "it returns `()`, or a `Result<(), E>` with `E: Display`; `.map(drop)` makes one of a `Result<T, E>`",
    note = "a handler of an event that takes no `Ack` may return `Result<T, E>`: the value is the acknowledgement"
)]
pub trait Outcome: Sized {
    #[doc(hidden)]
    fn finish(self) -> Result<(), Box<Failure>>;
}

impl Outcome for () {
    fn finish(self) -> Result<(), Box<Failure>> {
        Ok(())
    }
}

impl<E: Display + 'static> Outcome for Result<(), E> {
    fn finish(self) -> Result<(), Box<Failure>> {
        self.map_err(|error| Failure::returned(&error, None))
    }
}

/// What a handler of an event may return that takes no [`Ack`](crate::Ack): nothing, or a `Result`,
/// whose value or error is the acknowledgement.
#[diagnostic::on_unimplemented(
    message = "a handler of an event cannot return `{Self}`",
    label = "`{Self}` is neither `()` nor a `Result`",
    note = "it returns `()`, or a `Result<T, E>` where the value, `T: Serialize`, is the acknowledgement and `E: Display`",
    note = "a closure returns nothing if its last expression ends with a semicolon"
)]
pub trait Reply: Sized {
    #[doc(hidden)]
    fn finish(self, owed: Option<Owed>) -> Result<(), Box<Failure>>;
}

impl Reply for () {
    fn finish(self, _: Option<Owed>) -> Result<(), Box<Failure>> {
        Ok(())
    }
}

impl<T: Serialize, E: Display + 'static> Reply for Result<T, E> {
    fn finish(self, owed: Option<Owed>) -> Result<(), Box<Failure>> {
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

/// Marks what a handler owes: the acknowledgement.
#[doc(hidden)]
pub struct Owing;
/// Marks what a handler owes: nothing.
#[doc(hidden)]
pub struct Free;
/// Marks handlers that return what they return.
#[doc(hidden)]
pub struct Now;
/// Marks handlers that return a future of it.
#[doc(hidden)]
pub struct Later;

/// What a handler returns: an [`Outcome`] or a [`Reply`], or a future of one.
#[diagnostic::on_unimplemented(
    message = "this handler cannot return `{Self}`",
    label = "neither `()`, nor a `Result`, nor a future of one",
    note = "a handler returns `()` or a `Result<T, E>` with `E: Display`; `async` or not. In handlers of events that take no `Ack` the value is the \
            acknowledgement and `T: Serialize`, in all others it is `()`",
    note = "a closure returns nothing if its last expression ends with a semicolon",
    note = "the future of an `async` handler has to be `Send`"
)]
pub trait Returns<Owes, M> {
    /// Whether the handler may still run when it has been called.
    #[doc(hidden)]
    const WAITS: bool;

    #[doc(hidden)]
    fn start(self, owed: Option<Owed>) -> Started;
}

impl<R: Reply> Returns<Owing, Now> for R {
    const WAITS: bool = false;

    fn start(self, owed: Option<Owed>) -> Started {
        Started::Done(self.finish(owed))
    }
}

impl<R: Outcome> Returns<Free, Now> for R {
    const WAITS: bool = false;

    fn start(self, _: Option<Owed>) -> Started {
        Started::Done(self.finish())
    }
}

impl<F: Future<Output: Reply> + Send + 'static> Returns<Owing, Later> for F {
    const WAITS: bool = true;

    fn start(self, owed: Option<Owed>) -> Started {
        poll_once(Box::pin(async move { self.await.finish(owed) }))
    }
}

impl<F: Future<Output: Outcome> + Send + 'static> Returns<Free, Later> for F {
    const WAITS: bool = true;

    fn start(self, _: Option<Owed>) -> Started {
        poll_once(Box::pin(async move { self.await.finish() }))
    }
}

/// Polls a future once, directly. The waker does nothing: if the future has to wait, it becomes a
/// task, which polls it again.
fn poll_once(mut future: HandlerFuture) -> Started {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Started::Done(result),
        Poll::Pending => Started::Waiting(future),
    }
}

/// What a middleware returns: a `Result<(), E>` whose error becomes a [`Refusal`], or a future of
/// one.
#[diagnostic::on_unimplemented(
    message = "a middleware cannot return `{Self}`",
    label = "not a `Result<(), E>` that says whether the socket is let in",
    note = "it returns a `Result<(), E>`, `async` or not, where `E` is a `Refusal`, a `&str`, a `String` or an `EmitError`"
)]
pub trait Decision<M> {
    #[doc(hidden)]
    fn start(self) -> StartedMiddleware;
}

impl<E: Into<Refusal>> Decision<(Now, E)> for Result<(), E> {
    fn start(self) -> StartedMiddleware {
        StartedMiddleware::Done(self.map_err(Into::into))
    }
}

impl<F, E> Decision<(Later, E)> for F
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Refusal>,
{
    fn start(self) -> StartedMiddleware {
        StartedMiddleware::Waiting(Box::pin(async move { self.await.map_err(Into::into) }))
    }
}
