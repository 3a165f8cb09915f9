//! Calls of user code: no lock is held during the call, and a panic becomes an error.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::HandlerError;
use crate::lock;

/// Runs user code. A panic becomes an error.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, HandlerError> {
    lock::assert_none_held();
    // The user's code may have left its own values half changed. This crate does not use these
    // values, and the socket ends.
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
