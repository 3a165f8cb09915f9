//! Where the user's code begins: under no lock, and a panic of it becomes an error.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::HandlerError;
use crate::lock;

/// Runs user code; a panic becomes an error.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, HandlerError> {
    lock::assert_none_held();
    // What the code may have left half done is the user's own, and the socket it was for ends.
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| HandlerError::Panicked(panic_message(&*panic)))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// A future whose panics become errors.
pub(crate) struct CatchUnwind<T>(pub(crate) Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Future for CatchUnwind<T> {
    type Output = Result<T, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match guarded(|| self.0.as_mut().poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// The same for handlers, whose own errors are errors too.
pub(crate) struct Guarded(pub(crate) Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>);

impl Future for Guarded {
    type Output = Result<(), HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        guarded(|| self.0.as_mut().poll(cx)).unwrap_or_else(|panic| Poll::Ready(Err(panic)))
    }
}
