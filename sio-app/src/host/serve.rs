//! The accept loop for a listener. Every adapter uses it, and gives it the few functions in which
//! adapters differ.
//!
//! ```text
//!   accepting ──── no session is left, after the signal or Io::close ────► ending ──── all gone, or too late and cut ────► over
//!       │ ▲                                                                  the listener is let go first
//!       ▼ │
//!     a pause, when the process cannot take more
//! ```

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::host::driver::Driver;
use crate::options::Handover;
use crate::runtime::Task;
use crate::user::io::Io;

/// How long the loop pauses before it accepts again, when the process has no more descriptors or
/// memory for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most connections that are accepted before the other tasks of the thread have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// The most connections that are taken out of the queue of a listener before it is closed. No queue
/// is longer, unless the machine is told so.
const MOST_QUEUED: usize = 4096;

type Accept = Box<dyn FnMut(&mut Context<'_>) -> Poll<io::Result<()>> + Send>;

/// A server on one listener. Await it to serve.
#[must_use = "a listener is served only while this is awaited"]
pub struct Serve {
    io: Io,
    accept: io::Result<Accept>,
    sleep: fn(Duration) -> Task,
    signal: Option<Task>,
}

impl Serve {
    /// For adapters. `accept` takes up the next waiting connection and starts a task for it. It
    /// owns the listener, and is dropped when nothing more is accepted. If `accept` is an error,
    /// awaiting this value returns the error. `sleep` is the runtime's.
    pub fn new(
        io: &Io,
        accept: io::Result<impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>> + Send + 'static>,
        sleep: fn(Duration) -> Task,
    ) -> Self {
        Self {
            io: io.clone(),
            accept: accept.map(|accept| Box::new(accept) as Accept),
            sleep,
            signal: None,
        }
    }

    /// Shuts the server down gracefully when `signal` is ready, whatever it gives. Clients are
    /// told, so that they connect elsewhere. The future is ready when they have gone, or when
    /// [`Options::shutdown_jitter`](crate::Options::shutdown_jitter) and
    /// [`Options::shutdown_timeout`](crate::Options::shutdown_timeout) are over.
    ///
    /// ```
    /// # async fn example(serve: sio_app::adapter::Serve) -> std::io::Result<()> {
    /// let signal = async { std::future::pending::<()>().await }; // for example the end of the process, asked for by whoever started it
    /// serve.with_graceful_shutdown(signal).await
    /// # }
    /// ```
    pub fn with_graceful_shutdown(mut self, signal: impl Future + Send + 'static) -> Self {
        self.signal = Some(Box::pin(async move { drop(signal.await) }));
        self
    }

    async fn run(self) -> io::Result<()> {
        let Self {
            io,
            accept,
            sleep,
            mut signal,
        } = self;
        let mut accept = accept?;
        io.check()
            .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, wrong))?;
        let mut closing = pin!(io.closing());
        let mut at_once = 0;
        let mut pauses = false;
        loop {
            let accepted = poll_fn(|cx| {
                if let Some(ends) = &mut signal
                    && ends.as_mut().poll(cx).is_ready()
                {
                    signal = None;
                    io.close();
                }
                if closing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if at_once == ACCEPTED_AT_ONCE {
                    at_once = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let accepted = accept(cx).map(Some);
                at_once = if accepted.is_ready() { at_once + 1 } else { 0 };
                accepted
            });
            match accepted.await {
                None => break,
                Some(Ok(())) => pauses = false,
                Some(Err(error)) if is_of_one_client(&error) => {}
                Some(Err(error)) => {
                    // This is logged once, and not twenty times a second while the problem lasts.
                    if !std::mem::replace(&mut pauses, true) {
                        let warnings = &io.0.warnings;
                        warnings
                            .accepting
                            .say((io.0.runtime().now)(), || tracing::warn!(%error, "cannot accept"));
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if io.options().handover == Handover::SamePort {
            take_up_the_rest(&mut accept).await;
        }
        // From here on the system refuses new connections at once, or gives them to the process
        // that has taken over, instead of leaving them in the backlog.
        drop(accept);
        Driver::new(&io).finish(io.ended(), sleep).await;
        Ok(())
    }
}

/// Takes up the connections that have waited in the queue of a listener. Together with the
/// listener, the system would end them. Each is served, as one that has come before.
async fn take_up_the_rest(accept: &mut Accept) {
    poll_fn(|cx| {
        for _ in 0..MOST_QUEUED {
            match accept(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if is_of_one_client(&error) => {}
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// For adapters that do not use [`Serve`]: whether a failed accept concerns one client only, so
/// that the loop need not pause.
///
/// Other errors concern the whole process. Then trying again at once would only use processor time.
#[must_use]
pub fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("io", &self.io).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::server;
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    thread_local! {
        static SLEPT: Cell<usize> = const { Cell::new(0) };
    }

    fn sleep(_: Duration) -> Task {
        SLEPT.set(SLEPT.get() + 1);
        Box::pin(std::future::ready(()))
    }

    #[test]
    fn it_pauses_when_the_process_cannot_take_more_and_not_for_one_client() {
        use io::ErrorKind::{ConnectionReset, Interrupted, OutOfMemory};
        let io = server(1);
        let mut errors = VecDeque::from([ConnectionReset, OutOfMemory, Interrupted, OutOfMemory]);
        let accept = move |_: &mut Context<'_>| match errors.pop_front() {
            Some(error) => Poll::Ready(Err(error.into())),
            None => Poll::Pending,
        };
        let mut serving = Serve::new(&io, Ok(accept), sleep).into_future();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(serving.as_mut().poll(cx).is_pending());
        assert_eq!(SLEPT.get(), 2);
        io.close();
        assert!(serving.as_mut().poll(cx).is_ready());
    }

    #[test]
    fn it_lets_others_have_their_turn_and_hears_the_signal() {
        let io = server(1);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let accept = move |_: &mut Context<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        };
        let (ask, asked) = std::sync::mpsc::channel();
        let signal = poll_fn(move |_| asked.try_recv().map_or(Poll::Pending, Poll::Ready));
        let mut serving = Serve::new(&io, Ok(accept), sleep)
            .with_graceful_shutdown(signal)
            .into_future();
        let cx = &mut Context::from_waker(Waker::noop());
        for turn in 1..4 {
            assert!(serving.as_mut().poll(cx).is_pending());
            let accepted = accepted.load(Ordering::Relaxed);
            assert_eq!(accepted, turn * ACCEPTED_AT_ONCE);
        }
        ask.send(()).unwrap();
        assert!(serving.as_mut().poll(cx).is_ready());
        assert!(io.is_closing());
        assert_eq!(Arc::strong_count(&accepted), 1, "the listener is gone");
    }

    /// Newcomers D6: if something could not be registered, the server does not start.
    #[test]
    fn it_does_not_begin_after_a_mistake() {
        let io = server(1);
        io.of("/").on("connection", |_: crate::Socket| ());
        let accept = |_: &mut Context<'_>| -> Poll<io::Result<()>> { panic!("nothing is accepted") };
        let mut serving = Serve::new(&io, Ok(accept), sleep).into_future();
        let Poll::Ready(Err(error)) = serving.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it ends at once");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mistake = error.into_inner().unwrap().downcast::<crate::RegisterError>().unwrap();
        assert!(mistake.to_string().contains("on_connect"), "{mistake}");
    }

    /// Newcomers D9: any future can be the signal to end, with any result.
    #[test]
    fn any_future_is_a_signal() {
        let io = server(1);
        let accept = |_: &mut Context<'_>| Poll::<io::Result<()>>::Pending;
        let signal = std::future::ready(Err::<(), io::Error>(io::ErrorKind::Other.into()));
        let serving = Serve::new(&io, Ok(accept), sleep).with_graceful_shutdown(signal);
        let mut serving = serving.into_future();
        assert!(
            serving
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
        assert!(io.is_closing());
    }
}
