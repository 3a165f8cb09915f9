//! Waiting, on whatever runtime: a handler's sleep is an entry beside the deadlines of a shard, and wakes with them.
//!
//! There is no task and no timer per sleep. Entries are exact: a sleep that is dropped takes its own out, so there are as many as there are futures that wait.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sio_proto::Time;

use crate::shard::ShardCell;

/// A wait for a point in time: what [`Io::sleep`](crate::Io::sleep) and [`Socket::sleep`](crate::Socket::sleep) give.
///
/// It counts from the moment it was made. Dropping it ends the wait. It is also over when its server is
/// ([`Io::clear`](crate::Io::clear)), because nobody would wake it after that.
#[must_use = "await this to sleep"]
pub struct Sleep {
    cell: Arc<ShardCell>,
    until: Time,
    /// Its entry, once it has waited.
    number: Option<u64>,
}

impl Sleep {
    pub(crate) const fn new(cell: Arc<ShardCell>, until: Time) -> Self {
        Self {
            cell,
            until,
            number: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { cell, until, number } = &mut *self;
        match cell.sleep(*until, *number, cx.waker()) {
            Some(entry) => {
                *number = Some(entry);
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

/// The sleeps of one shard, in the order in which they end.
#[derive(Default)]
pub(crate) struct Sleeps {
    entries: BTreeMap<(Time, u64), Waker>,
    count: u64,
    over: bool,
}

impl Sleeps {
    /// When the first of them ends.
    pub(crate) fn next(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((until, _), _)| *until)
    }

    /// Adds an entry, or gives an old one its present waker. `None` if there is nothing to wait for.
    pub(crate) fn wait(&mut self, now: Time, until: Time, number: Option<u64>, waker: &Waker) -> Option<u64> {
        if until <= now || self.over {
            if let Some(number) = number {
                self.entries.remove(&(until, number));
            }
            return None;
        }
        let number = number.unwrap_or_else(|| {
            self.count += 1;
            self.count
        });
        self.entries
            .entry((until, number))
            .and_modify(|entry| entry.clone_from(waker))
            .or_insert_with(|| waker.clone());
        Some(number)
    }

    /// Takes out an entry whose future is gone.
    pub(crate) fn forget(&mut self, until: Time, number: u64) {
        self.entries.remove(&(until, number));
    }

    /// Takes out those whose time has come.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(entry) = self.entries.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        due
    }

    /// Nobody will look at the time any more: all of them end.
    pub(crate) fn end(&mut self) -> Vec<Waker> {
        self.over = true;
        std::mem::take(&mut self.entries).into_values().collect()
    }
}
