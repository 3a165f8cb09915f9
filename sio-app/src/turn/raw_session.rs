//! The data beside a raw Engine.IO session of a shard: its number, the request that opened it, and
//! the user's data.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::SessionKey;
use sio_proto::server::Handshake;

use crate::lock::Mutex;
use crate::turn::shard::ShardCell;

/// The number of the next raw session of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

type Kept = Arc<dyn Any + Send + Sync>;

pub(crate) struct RawSession {
    pub(crate) cell: Arc<ShardCell>,
    pub(crate) session: SessionKey,
    pub(crate) number: u64,
    pub(crate) handshake: Arc<Handshake>,
    data: Mutex<Vec<Kept>>,
}

impl RawSession {
    pub(crate) fn new(cell: Arc<ShardCell>, session: SessionKey, handshake: Arc<Handshake>) -> Self {
        Self {
            cell,
            session,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            handshake,
            data: Mutex::default(),
        }
    }

    /// Ends the session.
    pub(crate) fn close(&self) {
        self.cell.close_engine(self.session);
    }

    /// Keeps a value. Returns the earlier value of the same type. The caller must drop it when it
    /// holds no lock.
    pub(crate) fn replace(&self, value: Kept) -> Option<Kept> {
        let mut data = self.data.lock();
        let same = data.iter_mut().find(|old| (***old).type_id() == (*value).type_id());
        match same {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                data.push(value);
                None
            }
        }
    }

    /// Returns the kept value of this type.
    pub(crate) fn find(&self, kind: TypeId) -> Option<Kept> {
        let data = self.data.lock();
        data.iter().find(|value| (***value).type_id() == kind).cloned()
    }

    /// Takes the kept value of this type.
    pub(crate) fn take(&self, kind: TypeId) -> Option<Kept> {
        let mut data = self.data.lock();
        let at = data.iter().position(|value| (**value).type_id() == kind)?;
        Some(data.swap_remove(at))
    }
}
