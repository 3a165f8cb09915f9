//! The last numbers of namespaces with recovery, for those who read them without a look-up or
//! without the lock of recovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytestring::ByteString;
use sio_proto::server::Message;
use sio_proto::socket::{Epoch, Offset};

/// The number of the last message of a namespace, and that of the next one.
#[derive(Clone, Copy)]
pub(crate) struct Last {
    last: Offset,
    next: Offset,
}

impl Last {
    pub(crate) const fn new(last: Offset) -> Self {
        Self::in_epoch(last, last.epoch)
    }

    /// `epoch` is that of the next message.
    pub(super) const fn in_epoch(last: Offset, epoch: u32) -> Self {
        let sequence = last.sequence + 1;
        let next = Offset { epoch, sequence };
        Self { last, next }
    }

    /// The next message has this number.
    pub(super) const fn before(self, next: Offset) -> Self {
        Self { next, ..self }
    }

    /// Returns the offset of the next message that has a number of its own.
    #[inline]
    pub(crate) const fn next(self) -> Offset {
        self.next
    }

    /// Returns the place of a message in the history of a room. A volatile message has the place of
    /// the message before it, as [`Last::offset_of`] says.
    pub(crate) const fn place_of(self, volatile: bool) -> Offset {
        if volatile { self.last } else { self.next }
    }

    /// Returns the offset that a message carries if it is the next one.
    ///
    /// A volatile message is not kept and has no number of its own. It carries the number of the
    /// message before it, because a client would take a text at its end for an offset.
    pub(crate) const fn offset_of(self, message: &Message) -> Option<Offset> {
        match (message.carries_offset(), message.is_volatile()) {
            (false, _) => None,
            (true, true) => Some(self.last),
            (true, false) => Some(self.next),
        }
    }
}

/// The last number of a namespace. It changes under the lock of recovery, with each message that
/// gets a number, so whoever holds the lock reads the last number itself. Without the lock it is
/// the number that a message will probably follow. If another message comes between, the message is
/// encoded again. So a number that is out of date costs time and nothing else.
pub(crate) struct LastNumber {
    epoch: Epoch,
    sequence: AtomicU64,
    /// Whether the stream of a cluster has given the number.
    is_entry: AtomicBool,
}

impl LastNumber {
    #[inline]
    pub(crate) fn last(&self) -> Last {
        let epoch = match self.is_entry.load(Ordering::Relaxed) {
            true => Offset::STREAM,
            false => self.epoch.number(),
        };
        let sequence = self.sequence.load(Ordering::Relaxed);
        Last::in_epoch(Offset { epoch, sequence }, self.epoch.number())
    }

    /// The epoch of the process.
    #[inline]
    pub(crate) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    #[inline]
    pub(super) fn set(&self, last: Offset) {
        debug_assert!(
            last.epoch == self.epoch.number() || last.is_entry(),
            "a process has one epoch, and that of a stream"
        );
        self.sequence.store(last.sequence, Ordering::Relaxed);
        self.is_entry.store(last.is_entry(), Ordering::Relaxed);
    }
}

/// The last numbers by the names of their namespaces. A socket with a record holds that of its
/// namespace, so a message to one socket looks for no name.
#[derive(Default)]
pub(super) struct LastNumbers(BTreeMap<ByteString, Arc<LastNumber>>);

impl LastNumbers {
    /// Returns the last number of a namespace, which is `last`, for a socket that holds it.
    /// `epoch` is that of the process.
    pub(super) fn open(&mut self, namespace: &str, last: Offset, epoch: u32) -> Arc<LastNumber> {
        if let Some(known) = self.0.get(namespace).filter(|known| known.epoch.number() == epoch) {
            known.set(last);
            return Arc::clone(known);
        }
        let opened = Arc::new(LastNumber {
            epoch: Epoch::new(epoch),
            sequence: AtomicU64::new(last.sequence),
            is_entry: AtomicBool::new(last.is_entry()),
        });
        self.0.insert(namespace.into(), Arc::clone(&opened));
        opened
    }

    /// Notes the last number of a namespace.
    pub(super) fn set(&self, namespace: &str, last: Offset) {
        if let Some(known) = self.0.get(namespace) {
            known.set(last);
        }
    }

    /// Forgets the namespaces that recovery has forgotten.
    pub(super) fn retain(&mut self, mut is_known: impl FnMut(&str) -> bool) {
        self.0.retain(|namespace, _| is_known(namespace));
    }
}
