//! Tasks beside the connections: one per shard for its deadlines, one for what is only roughly on time, and those of handlers that wait.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use sio_app::{Io, Task};
use tokio::runtime::Handle;

use crate::clock;

/// How often connections that take too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// The runtime that serves, for calls that come from outside of any.
static SERVING: Mutex<Option<Handle>> = Mutex::new(None);

/// Runs a task in the caller's runtime, or in the one that serves.
pub(crate) fn spawn(task: Task) {
    let handle = Handle::try_current().ok();
    match handle.or_else(|| SERVING.lock().unwrap_or_else(PoisonError::into_inner).clone()) {
        Some(handle) => drop(handle.spawn(task)),
        None => tracing::error!("a handler was to run, and no runtime serves"),
    }
}

/// Starts the tasks that watch the time. They end with the server.
pub(crate) fn tick(io: &Io) {
    *SERVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handle::current());
    for shard in 0..io.shards() {
        tokio::spawn(deadlines(io.clone(), shard));
    }
    tokio::spawn(sweep(io.clone()));
}

async fn deadlines(io: Io, shard: usize) {
    let mut ended = pin!(io.ended());
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(next) = io.handle_timeout(shard, cx.waker()) else {
                return Poll::Pending;
            };
            sleep.as_mut().reset(clock::instant(next));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

async fn sweep(io: Io) {
    let mut ended = pin!(io.ended());
    loop {
        let mut sleep = pin!(tokio::time::sleep(SWEEP));
        let is_over = poll_fn(|cx| match ended.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| false),
        });
        if is_over.await {
            return;
        }
        io.sweep();
    }
}
