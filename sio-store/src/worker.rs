//! The thread that writes, so that a disk that hangs does not hold up the server for ever.
//!
//! The caller of a write waits for the thread, up to a time. After this it gets an error, and so do
//! all later callers until the thread is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use sio_app::store::StoreError;

use crate::table::Table;

type Job = Box<dyn FnOnce(&mut Table) -> Result<(), StoreError> + Send>;
type Answer = Result<(), StoreError>;

pub(crate) struct Worker {
    table: Arc<Mutex<Table>>,
    /// The two ends of the caller: one caller at a time.
    ends: Mutex<(SyncSender<Job>, Receiver<Answer>, State)>,
    /// Whether the server has gone on without the thread. Then the table is out of date when the
    /// thread is back.
    is_stale: Arc<AtomicBool>,
    timeout: Duration,
}

/// Whether the thread still owes the answer to a caller that has not waited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Late,
}

impl Worker {
    pub(crate) fn new(table: Table, timeout: Duration) -> io::Result<Self> {
        let table = Arc::new(Mutex::new(table));
        let (jobs, next) = sync_channel::<Job>(1);
        let (done, answers) = sync_channel(1);
        let own = Arc::clone(&table);
        let is_stale = Arc::new(AtomicBool::new(false));
        let was_given_up = Arc::clone(&is_stale);
        let work = move || {
            for job in next {
                let answer = {
                    let mut table = own.lock().unwrap_or_else(PoisonError::into_inner);
                    let answer = job(&mut table);
                    // Nobody has waited for this: the server has gone on without the store.
                    if was_given_up.swap(false, Ordering::Relaxed) {
                        let _ = table.clear();
                    }
                    answer
                };
                if done.send(answer).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("sio-store".to_owned()).spawn(work)?;
        Ok(Self {
            table,
            ends: Mutex::new((jobs, answers, State::Idle)),
            is_stale,
            timeout,
        })
    }

    /// The table, for reading at the start.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread do something, and waits for it.
    pub(crate) fn run(
        &self,
        job: impl FnOnce(&mut Table) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let mut ends = match self.ends.try_lock() {
            Ok(ends) => ends,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The server calls with one thread at a time.
            Err(TryLockError::WouldBlock) => return Err(StoreError::Slow),
        };
        let (jobs, answers, state) = &mut *ends;
        if mem::replace(state, State::Idle) == State::Late && answers.try_recv().is_err() {
            *state = State::Late;
            return Err(StoreError::Slow);
        }
        if jobs.send(Box::new(job)).is_err() {
            return Err(StoreError::Damaged("the thread of the store is gone".to_owned()));
        }
        answers.recv_timeout(self.timeout).unwrap_or_else(|_| {
            *state = State::Late;
            self.is_stale.store(true, Ordering::Relaxed);
            Err(StoreError::Slow)
        })
    }
}
