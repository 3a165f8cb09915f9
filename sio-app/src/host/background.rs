//! Tasks beside the connections, which watch the time: one per shard for its deadlines, and one for
//! what is only roughly on time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::Io;

/// How often connections that take too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

impl Io {
    /// For adapters: starts the tasks that watch the time, unless they have been started before;
    /// true if not. `sleep` is the runtime's. They end with the server.
    pub fn keep_time<S: Future + Send + 'static>(&self, sleep: fn(Duration) -> S) -> bool {
        let begins = !self.0.ticking.load(Ordering::Relaxed) && !self.0.ticking.swap(true, Ordering::Relaxed);
        if begins {
            let spawn = self.0.runtime.spawn;
            for shard in 0..self.shards() {
                spawn(Box::pin(deadlines(self.clone(), shard, sleep)));
            }
            spawn(Box::pin(sweep(self.clone(), sleep)));
        }
        begins
    }

    /// For adapters: the end of a shutdown that [`Io::close`] has begun. It waits for `ended`,
    /// which is [`Io::ended`] or [`Io::emptied`], ends the connections that are left when
    /// [`Options::shutdown_jitter`](crate::Options::shutdown_jitter) and
    /// [`Options::shutdown_timeout`](crate::Options::shutdown_timeout) are over, and lets go of all
    /// handlers. `sleep` is the runtime's.
    pub async fn finish<S: Future>(&self, ended: impl Future<Output = ()>, sleep: fn(Duration) -> S) {
        let left = self.0.shutdown_until().saturating_since((self.0.runtime.now)());
        if !comes_before(pin!(ended), pin!(sleep(left))).await {
            tracing::info!(
                connections = self.connections(),
                "ending connections that did not end by themselves"
            );
            self.abort();
            self.ended().await;
        }
        self.clear();
    }
}

/// Whether the first comes before the second does.
async fn comes_before<S: Future>(mut first: Pin<&mut impl Future<Output = ()>>, mut late: Pin<&mut S>) -> bool {
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => late.as_mut().poll(cx).map(|_| false),
    })
    .await
}

async fn deadlines<S: Future>(io: Io, shard: usize, sleep: fn(Duration) -> S) {
    let mut ended = pin!(io.over());
    let mut sleeping = pin!(None);
    poll_fn(|cx| {
        loop {
            if ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let left = io
                .handle_timeout(shard, cx.waker())
                .map(|next| next.saturating_since((io.0.runtime.now)()));
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

async fn sweep<S: Future>(io: Io, sleep: fn(Duration) -> S) {
    let mut ended = pin!(io.over());
    while !comes_before(ended.as_mut(), pin!(sleep(SWEEP))).await {
        io.sweep();
    }
}
