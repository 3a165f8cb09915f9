//! Which messages are not settled yet, and who waits until they are.
//!
//! ```text
//!   messages ─► batch 7 ─ flush ─ batch 8 ─ flush ─ batch 9 ◄─ the next message
//! ```
//! A question when everything is settled ends a batch and begins the next one. Each message keeps
//! the number of its batch, and its end is noted there, wherever it comes: the broker has answered,
//! its connection has ended, or it was dropped. A batch with a question goes when all of its
//! messages are settled, and those of the batches before, and the requests that were asked before.

use alloc::collections::VecDeque;

use super::command::{Answer, Event};
use super::error::BrokerError;
use super::machine::Broker;
use crate::Time;

/// The question at the end of a batch.
#[derive(Debug)]
struct Flush {
    tag: u64,
    until: Time,
    /// The requests with lower numbers were asked before.
    requests: u64,
}

#[derive(Debug, Default)]
struct Batch {
    /// How many of its messages are not settled.
    open: usize,
    /// Empty if the batch goes on, or if the question has timed out.
    flush: Option<Flush>,
}

/// The batches that are not settled. The last one goes on.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// The number of the first batch in the list, or of the next message if the list is empty.
    first: u64,
    list: VecDeque<Batch>,
}

impl Batches {
    /// Opens a message. Returns the number of its batch.
    pub(super) fn open(&mut self) -> u64 {
        if self.list.is_empty() {
            self.list.push_back(Batch::default());
        }
        let last = self.list.len() - 1;
        self.list[last].open += 1;
        self.first + last as u64
    }

    fn get(&mut self, number: u64) -> Option<&mut Batch> {
        let at = number.checked_sub(self.first)?;
        self.list.get_mut(usize::try_from(at).ok()?)
    }

    /// The first deadline of a question. All questions wait for the same time.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.list.iter().find_map(|batch| Some(batch.flush.as_ref()?.until))
    }
}

impl Broker {
    /// Somebody asks when everything that was given before is settled.
    pub(super) fn flush_asked(&mut self, now: Time, tag: u64) {
        let flush = Some(Flush {
            tag,
            until: now + self.config.request_timeout,
            requests: self.requests.next(),
        });
        match self.batches.list.back_mut() {
            Some(last) => last.flush = flush,
            None => self.batches.list.push_back(Batch { open: 0, flush }),
        }
        self.batches.list.push_back(Batch::default());
        self.end_flushes();
    }

    /// A message is settled: it was answered, or it is lost.
    pub(super) fn settled(&mut self, batch: u64) {
        let Some(batch) = self.batches.get(batch) else {
            debug_assert!(false, "a message is settled once, and its batch waits for it");
            return;
        };
        batch.open -= 1;
        if batch.open == 0 {
            self.end_flushes();
        }
    }

    /// Answers the questions whose messages and requests are settled.
    pub(super) fn end_flushes(&mut self) {
        while self.batches.list.len() > 1
            && let Some(first) = self.batches.list.front()
            && first.open == 0
        {
            if let Some(flush) = &first.flush {
                if self.requests.has_before(flush.requests) {
                    return;
                }
                let (tag, answer) = (flush.tag, Ok(Answer::Done));
                self.tell(Event::Answer { tag, answer });
            }
            self.batches.list.pop_front();
            self.batches.first += 1;
        }
    }

    /// Answers the questions whose time is over. Their batches stay until they are settled.
    pub(super) fn end_late_flushes(&mut self, now: Time) {
        while self.batches.next_timeout().is_some_and(|until| until <= now) {
            self.fail_first_flush(BrokerError::TimedOut);
        }
        self.end_flushes();
    }

    pub(super) fn fail_all_flushes(&mut self, error: &BrokerError) {
        while self.batches.next_timeout().is_some() {
            self.fail_first_flush(error.clone());
        }
        self.batches = Batches::default();
    }

    fn fail_first_flush(&mut self, error: BrokerError) {
        let first = self.batches.list.iter_mut().find_map(|batch| batch.flush.take());
        if let Some(Flush { tag, .. }) = first {
            let answer = Err(error);
            self.tell(Event::Answer { tag, answer });
        }
    }
}
