//! The counts that are kept outside of shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::server::{Breach, BreachKind, Budget};

use crate::error::HandlerError;
use crate::link::traffic::Traffic;
use crate::runtime::Runtime;

/// The counts outside of shards.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) traffic: Arc<Traffic>,
    pub(super) errors: AtomicU64,
    pub(super) panics: AtomicU64,
    /// How often reading from a client has paused because the client was too fast, and because its
    /// handlers lagged.
    pub(super) throttled: AtomicU64,
    pub(super) lagged: AtomicU64,
    /// The numbers of broken rules on connections that no shard knows, by [`BreachKind`].
    pub(super) broken: [AtomicU64; BreachKind::ALL.len()],
}

impl Tally {
    /// Makes counts of zero. `waiting` counts the bytes that wait.
    pub(crate) fn new(waiting: Arc<Budget>, runtime: Runtime) -> Self {
        Self {
            traffic: Arc::new(Traffic::new(waiting, runtime)),
            ..Self::default()
        }
    }

    /// Counts a broken rule of a connection that no shard knows.
    pub(crate) fn broken(&self, breach: &Breach) {
        self.broken[breach.kind() as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a pause in reading from a client, which is too fast or whose handlers lag.
    pub(crate) fn paused(&self, is_throttled: bool) {
        let count = match is_throttled {
            true => &self.throttled,
            false => &self.lagged,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handler that has failed.
    pub(crate) fn failed(&self, error: &HandlerError) {
        let count = match error {
            HandlerError::Panicked(_) => &self.panics,
            HandlerError::Args(_)
            | HandlerError::Failed(_)
            | HandlerError::Extract { .. }
            | HandlerError::Refused(_)
            | HandlerError::Id(_)
            | HandlerError::Emit(_) => &self.errors,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
