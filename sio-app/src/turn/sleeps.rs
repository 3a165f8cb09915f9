//! Sleeping on any runtime: a handler's sleep is an entry beside the deadlines of a shard, and is
//! woken together with them.
//!
//! A sleep needs no task and no timer. When a sleep is dropped, its entry is removed, so there are
//! as many entries as waiting futures.

use std::collections::BTreeMap;
use std::task::Waker;

use sio_proto::Time;

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
