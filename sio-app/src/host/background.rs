//! The tasks that watch the time: one for the deadlines of each shard, and one for checks that need
//! not be exact.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::host::driver::Driver;

/// How often the server looks for connections that take too long.
const SWEEP: Duration = Duration::from_secs(1);

impl Driver {
    /// Starts the tasks that watch the time, unless they have been started before. Returns true if
    /// this call started them. `sleep` is the runtime's. The tasks end with the server.
    pub fn keep_time<S: Future + Send + 'static>(&self, sleep: fn(Duration) -> S) -> bool {
        let begins = !self.0.0.ticking.load(Ordering::Relaxed) && !self.0.0.ticking.swap(true, Ordering::Relaxed);
        if begins {
            if let Err(wrong) = self.0.check() {
                tracing::error!(error = %wrong, "cannot register");
            }
            let spawn = self.0.0.runtime().spawn;
            for shard in 0..self.shards() {
                spawn(Box::pin(deadlines(self.clone(), shard, sleep)));
            }
            spawn(Box::pin(sweep(self.clone(), sleep)));
        }
        begins
    }

    /// Does the last part of a shutdown that [`Io::close`](crate::Io::close) has begun. It waits
    /// for `ended`, which is [`Io::ended`](crate::Io::ended) or
    /// [`Io::emptied`](crate::Io::emptied). When
    /// [`Options::shutdown_jitter`](crate::Options::shutdown_jitter) and
    /// [`Options::shutdown_timeout`](crate::Options::shutdown_timeout) are over, it ends the
    /// remaining connections. At the end it drops all handlers. `sleep` is the runtime's.
    pub async fn finish<S: Future>(&self, ended: impl Future<Output = ()>, sleep: fn(Duration) -> S) {
        let left = self.0.0.shutdown_until().saturating_since(self.0.0.now());
        if !comes_before(pin!(ended), pin!(sleep(left))).await {
            tracing::info!(
                connections = self.0.connections(),
                "ending connections that did not end by themselves"
            );
            self.abort();
            self.0.ended().await;
        }
        self.clear();
    }
}

/// Returns true if the first future is ready before the second.
async fn comes_before<S: Future>(mut first: Pin<&mut impl Future<Output = ()>>, mut late: Pin<&mut S>) -> bool {
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => late.as_mut().poll(cx).map(|_| false),
    })
    .await
}

async fn deadlines<S: Future>(driver: Driver, shard: usize, sleep: fn(Duration) -> S) {
    let mut ended = pin!(driver.0.over());
    let mut sleeping = pin!(None);
    poll_fn(|cx| {
        loop {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let left = driver
                .handle_timeout(shard, cx.waker())
                .map(|next| next.saturating_since(driver.0.0.now()));
            sleeping.set(left.map(sleep));
            if sleeping
                .as_mut()
                .as_pin_mut()
                .is_none_or(|sleep| sleep.poll(cx).is_pending())
            {
                return Poll::Pending;
            }
        }
    })
    .await;
}

async fn sweep<S: Future>(driver: Driver, sleep: fn(Duration) -> S) {
    let mut ended = pin!(driver.0.over());
    while !comes_before(ended.as_mut(), pin!(sleep(SWEEP))).await {
        driver.sweep();
    }
}
