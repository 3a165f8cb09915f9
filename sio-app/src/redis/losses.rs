//! What has become of the messages of an emitter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::broker::{BrokerError, Counters, Event};

use crate::client::slot::Slot;
use crate::lock::Mutex;

/// The tag of entries of streams. Questions of [`flush`](super::ClusterEmitter::flush) have greater
/// tags.
pub(super) const ENTRY: u64 = 0;

/// What has become of the messages of an emitter so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitterCounts {
    /// Messages that were written for the broker.
    pub written: u64,
    /// Messages that were dropped: too many bytes waited, or the message had waited for too long.
    pub dropped: u64,
    /// Messages that the broker has refused.
    pub refused: u64,
    /// Messages that were written and that the broker has not confirmed before its connection
    /// ended, or in time. It may have taken them.
    pub unconfirmed: u64,
    /// Bytes that wait for the broker now.
    pub waiting_bytes: usize,
    /// How often a connection was made again.
    pub reconnects: u64,
    /// Whether the broker is there now.
    pub is_up: bool,
}

/// Not everything that an emitter has sent has reached the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not everything has reached the broker: {dropped} dropped, {refused} refused, {unconfirmed} unconfirmed{}{}",
    if *.is_waiting { ", and some wait" } else { "" },
    .why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
)]
#[non_exhaustive]
pub struct NotFlushed {
    /// Messages that were dropped since the last flush, because they had waited for too long.
    pub dropped: u64,
    /// Messages that the broker has refused since the last flush.
    pub refused: u64,
    /// Messages that the broker has not confirmed since the last flush. It may have taken them.
    pub unconfirmed: u64,
    /// Whether messages still wait.
    pub is_waiting: bool,
    /// Why the broker is away, if it is.
    pub why: Option<BrokerError>,
}

/// Messages that did not reach the broker for sure.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    dropped: u64,
    refused: u64,
    unconfirmed: u64,
}

/// What the broker's task has told.
#[derive(Default)]
pub(super) struct Told {
    /// Why the broker is away.
    why: Mutex<Option<BrokerError>>,
    /// Messages for which there was no room.
    full: AtomicU64,
    entries: Entries,
    /// Who waits until the messages before are settled.
    flushes: Mutex<HashMap<u64, Arc<Slot<bool>>>>,
    /// What the last flush has reported.
    reported: Mutex<Lost>,
}

/// Entries of streams. Messages on channels are counted by the broker.
#[derive(Default)]
struct Entries {
    stored: AtomicU64,
    refused: AtomicU64,
    unconfirmed: AtomicU64,
}

impl Told {
    pub(super) fn handle_event(&self, event: Event) {
        match event {
            Event::Answer { tag: ENTRY, answer } => {
                let count = match answer {
                    Ok(_) => &self.entries.stored,
                    Err(BrokerError::Refused { .. }) => &self.entries.refused,
                    Err(_) => &self.entries.unconfirmed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Event::Answer { tag, answer } => self.flushed(tag, answer.is_ok()),
            Event::Up => *self.why.lock() = None,
            Event::Down { why } => *self.why.lock() = Some(why),
            Event::Reading { .. } | Event::Message { .. } | Event::Entry { .. } | Event::Subscribed { .. } => {}
        }
    }

    /// A message was refused because there was no room for it.
    pub(super) fn note_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn await_flush(&self, tag: u64, slot: Arc<Slot<bool>>) {
        self.flushes.lock().insert(tag, slot);
    }

    /// Answers the question with this tag: whether everything before it is settled.
    pub(super) fn flushed(&self, tag: u64, is_settled: bool) {
        let slot = self.flushes.lock().remove(&tag);
        if let Some(slot) = slot {
            slot.fill(is_settled);
        }
    }

    pub(super) fn counts(&self, broker: &Counters) -> EmitterCounts {
        let Lost {
            dropped,
            refused,
            unconfirmed,
        } = self.lost(broker);
        EmitterCounts {
            written: broker.published + self.entries.stored.load(Ordering::Relaxed) + self.refused_entries(),
            dropped: dropped + self.full.load(Ordering::Relaxed),
            refused,
            unconfirmed,
            waiting_bytes: broker.waiting_bytes,
            reconnects: broker.reconnects,
            is_up: broker.is_up,
        }
    }

    fn refused_entries(&self) -> u64 {
        self.entries.refused.load(Ordering::Relaxed)
    }

    fn lost(&self, broker: &Counters) -> Lost {
        Lost {
            dropped: broker.dropped_late,
            refused: broker.refused + self.refused_entries(),
            unconfirmed: broker.unconfirmed + self.entries.unconfirmed.load(Ordering::Relaxed),
        }
    }

    /// Reports what was lost since the last report.
    pub(super) fn report(&self, broker: &Counters, is_settled: bool) -> Result<(), NotFlushed> {
        let now = self.lost(broker);
        let before = std::mem::replace(&mut *self.reported.lock(), now);
        let not_flushed = NotFlushed {
            dropped: now.dropped.saturating_sub(before.dropped),
            refused: now.refused.saturating_sub(before.refused),
            unconfirmed: now.unconfirmed.saturating_sub(before.unconfirmed),
            is_waiting: !is_settled,
            why: self.why.lock().clone(),
        };
        match not_flushed {
            NotFlushed {
                dropped: 0,
                refused: 0,
                unconfirmed: 0,
                is_waiting: false,
                ..
            } => Ok(()),
            not_flushed => Err(not_flushed),
        }
    }
}
