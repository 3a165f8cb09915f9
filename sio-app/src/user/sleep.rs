//! A future for a point in time, on any runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::Time;

use crate::turn::shard::ShardCell;

/// A future that waits until a point in time. [`Io::sleep`](crate::Io::sleep) and
/// [`Socket::sleep`](crate::Socket::sleep) return it.
///
/// It counts from the moment it was made. Dropping it ends the wait. It also ends when its server
/// has come to its end ([`Driver::clear`](crate::adapter::Driver::clear)): nobody would wake it
/// after that. A sleep that begins later gives its thread to others once, and ends.
#[must_use = "await this to sleep"]
pub struct Sleep {
    cell: Arc<ShardCell>,
    until: Time,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
    /// Whether it has given its thread to others after the end of the server.
    has_yielded: bool,
}

impl Sleep {
    pub(crate) const fn new(cell: Arc<ShardCell>, until: Time) -> Self {
        Self {
            cell,
            until,
            number: None,
            has_yielded: false,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            cell,
            until,
            number,
            has_yielded,
        } = &mut *self;
        match cell.sleep(*until, *number, cx.waker()) {
            Some(entry) => {
                *number = Some(entry);
                Poll::Pending
            }
            // A loop that sleeps between its steps must not keep its runtime from ending its task.
            None if number.is_none() && !*has_yielded && cell.now() < *until => {
                *has_yielded = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                *number = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.cell.wake_up(self.until, number);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Driver;
    use crate::tests::{Counted, Driven, now, run_tasks, server, set_now, text};
    use crate::{Io, Socket};
    use std::task::Waker;
    use std::time::Duration;

    /// Lets time pass, and handles each deadline as an adapter's task does.
    fn advance(io: &Io, millis: u64) {
        let end = now() + millis * 1000;
        while let Some(next) = Driver::new(io)
            .handle_timeout(0, Waker::noop())
            .filter(|next| next.as_micros() <= end)
        {
            set_now(next.as_micros());
        }
        set_now(end);
        Driver::new(io).handle_timeout(0, Waker::noop());
        run_tasks();
    }

    #[test]
    fn a_handler_sleeps_on_the_time_of_its_shard() {
        let io = server(1);
        io.of("/").on("later", async |socket: Socket, millis: u64| {
            socket.sleep(Duration::from_millis(millis)).await;
            socket.emit("later", millis)
        });
        let mut client = Driven::connected(&io);
        for millis in [30, 10, 0] {
            let _ = client.read(&text(&format!(r#"42["later",{millis}]"#)));
        }
        assert!(client.written().ends_with(r#"42["later",0]"#), "no time is no wait");
        advance(&io, 9);
        assert_eq!(client.written(), "");
        advance(&io, 1);
        assert!(client.written().ends_with(r#"42["later",10]"#));
        advance(&io, 20);
        assert!(client.written().ends_with(r#"42["later",30]"#));
    }

    #[test]
    fn a_sleep_makes_the_deadline_task_come_earlier_and_leaves_nothing_behind() {
        let (timer, sleeper) = (Counted::default(), Counted::default());
        let (timer_waker, sleeper_waker) = (timer.waker(), sleeper.waker());
        let io = server(1);
        assert_eq!(Driver::new(&io).handle_timeout(0, &timer_waker), None);
        let start = Time::from_micros(now());
        let poll = |sleep: &mut Sleep| Pin::new(sleep).poll(&mut Context::from_waker(&sleeper_waker));

        let mut long = io.sleep(Duration::from_secs(9));
        assert!(poll(&mut long).is_pending());
        assert_eq!(timer.take(), 1);
        let mut longer = io.sleep(Duration::from_secs(10));
        assert!(poll(&mut longer).is_pending());
        assert_eq!(timer.take(), 0, "it comes early enough");
        assert_eq!(
            Driver::new(&io).handle_timeout(0, &timer_waker),
            Some(start + Duration::from_secs(9))
        );
        drop(long);
        assert_eq!(
            Driver::new(&io).handle_timeout(0, &timer_waker),
            Some(start + Duration::from_secs(10))
        );

        set_now((start + Duration::from_secs(10)).as_micros());
        assert_eq!(Driver::new(&io).handle_timeout(0, &timer_waker), None);
        assert_eq!(sleeper.take(), 1);
        assert!(poll(&mut longer).is_ready());

        // The end of the server ends all sleeps.
        let mut last = io.sleep(Duration::from_secs(1));
        assert!(poll(&mut last).is_pending());
        Driver::new(&io).clear();
        assert_eq!(sleeper.take(), 1);
        assert!(poll(&mut last).is_ready());
        // A later sleep yields once, so that a loop of sleeps cannot keep a thread.
        let mut late = io.sleep(Duration::from_secs(1));
        assert!(poll(&mut late).is_pending());
        assert_eq!(sleeper.take(), 1);
        assert!(poll(&mut late).is_ready());
    }
}
