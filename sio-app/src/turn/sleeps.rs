//! Sleeping on any runtime: a handler's sleep is an entry beside the deadlines of a shard, and is
//! woken together with them.
//!
//! A sleep needs no task and no timer. When a sleep is dropped, its entry is removed, so there are
//! as many entries as waiting futures.

use std::collections::BTreeMap;
use std::task::Waker;

use sio_proto::Time;

use crate::turn::shard::ShardCell;

/// The sleeps of one shard, in the order in which they end.
#[derive(Default)]
pub(crate) struct Sleeps {
    entries: BTreeMap<(Time, u64), Waker>,
    count: u64,
    over: bool,
}

impl Sleeps {
    /// Returns how many sleeps there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns when the first sleep ends.
    pub(crate) fn next(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((until, _), _)| *until)
    }

    /// Adds an entry, or gives an old entry its present waker. Returns `None` if there is nothing
    /// to wait for.
    ///
    /// It also returns the waker that is not needed any more. The caller must drop it when it holds
    /// no lock.
    pub(crate) fn wait(
        &mut self,
        now: Time,
        until: Time,
        number: Option<u64>,
        waker: Waker,
    ) -> (Option<u64>, Option<Waker>) {
        if until <= now || self.over {
            let old = number.and_then(|number| self.entries.remove(&(until, number)));
            return (None, old);
        }
        let number = number.unwrap_or_else(|| {
            self.count += 1;
            self.count
        });
        (Some(number), self.entries.insert((until, number), waker))
    }

    /// Removes an entry whose future is gone.
    pub(crate) fn forget(&mut self, until: Time, number: u64) -> Option<Waker> {
        self.entries.remove(&(until, number))
    }

    /// Takes out the entries whose time has come.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(entry) = self.entries.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        due
    }

    /// Ends all sleeps, because nobody watches the time any more.
    pub(crate) fn end(&mut self) -> Vec<Waker> {
        self.over = true;
        std::mem::take(&mut self.entries).into_values().collect()
    }
}

impl ShardCell {
    /// Adds an entry for a sleep until this time, or keeps the old entry. Returns `None` if the
    /// time has come.
    pub(crate) fn sleep(&self, until: Time, number: Option<u64>, waker: &Waker) -> Option<u64> {
        let (now, waker) = ((self.runtime.now)(), waker.clone());
        let (number, _old, wake) = self.ask("sleep", |state| {
            let (number, old) = state.sleeps.wait(now, until, number, waker);
            let wake = number.and_then(|_| state.come_by(until));
            (number, old, wake)
        });
        if let Some(timer) = wake {
            timer.wake();
        }
        number
    }

    /// Removes the entry of a sleep whose future has been dropped.
    pub(crate) fn wake_up(&self, until: Time, number: u64) {
        let waker = self.ask("forget sleep", |state| state.sleeps.forget(until, number));
        drop(waker);
    }

    /// Wakes the sleeps that are over.
    pub(crate) fn wake_sleepers(&self) {
        let now = (self.runtime.now)();
        let due = self.ask("wake sleepers", |state| state.sleeps.take_due(now));
        due.into_iter().for_each(Waker::wake);
    }
}
