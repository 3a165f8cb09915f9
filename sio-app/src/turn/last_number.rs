//! The last numbers of namespaces with recovery, for those who read them without a look-up or
//! without the lock of recovery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use sio_proto::socket::{Epoch, Offset};

/// The last number of a namespace. It changes under the lock of recovery, with each message that
/// gets a number, so whoever holds the lock reads the last number itself. Without the lock it is
/// the number that a message will probably follow. If another message comes between, the message is
/// encoded again. So a number that is out of date costs time and nothing else.
pub(crate) struct LastNumber {
    epoch: Epoch,
    sequence: AtomicU64,
}

impl LastNumber {
    #[inline]
    pub(crate) fn get(&self) -> Offset {
        self.epoch.offset(self.sequence.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    #[inline]
    pub(super) fn set(&self, last: Offset) {
        debug_assert_eq!(last.epoch, self.epoch.number(), "a process has one epoch");
        self.sequence.store(last.sequence, Ordering::Relaxed);
    }
}

/// The last numbers by the names of their namespaces. A socket with a record holds that of its
/// namespace, so a message to one socket looks for no name.
#[derive(Default)]
pub(super) struct LastNumbers(BTreeMap<ByteString, Arc<LastNumber>>);

impl LastNumbers {
    /// Returns the last number of a namespace, which is `last`, for a socket that holds it.
    pub(super) fn open(&mut self, namespace: &str, last: Offset) -> Arc<LastNumber> {
        if let Some(known) = self.0.get(namespace).filter(|known| known.epoch.number() == last.epoch) {
            known.set(last);
            return Arc::clone(known);
        }
        let opened = Arc::new(LastNumber {
            epoch: Epoch::new(last.epoch),
            sequence: AtomicU64::new(last.sequence),
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
