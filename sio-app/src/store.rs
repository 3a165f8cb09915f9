//! Where the records and messages of recovery are kept, so that they survive the process.
//!
//! A store is an ordered table of bytes. What the bytes mean is decided in one place
//! (`turn/rows.rs`), so a store needs no knowledge of sockets or messages. Without a store
//! everything is kept in memory. [`Memory`] is a store that does not survive the process, for tests
//! and as an example. The crate `sio-store` has a store on disk.
//!
//! ```text
//!   emit, join, end of a connection ─► changes wait, in memory ─► end of the turn: write ─► sockets
//! ```
//! The changes of a turn are written in one batch, before anything of the turn leaves the process.
//! So a client has no message that the store does not have. There is one exception: what is queued
//! for a connection that another thread writes to at this moment, or whose socket is full, may
//! leave while the store is being written. If the process is killed in this moment, the client is
//! told that it is not recovered.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use crate::lock::Mutex;

/// A place that survives the process: an ordered table of keys and values.
///
/// The methods block the calling thread, and are called by one thread at a time while the lock of
/// the server's store is held. They must not call the server. A panic counts as an error. If an
/// error is returned, the server goes on in memory, empties the store when it can, and writes
/// everything again later.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Calls `each` with all keys and values, in the order of the keys, until it returns an error.
    ///
    /// # Errors
    /// If the store cannot be read, or the error of `each`.
    fn read(&self, each: Each<'_>) -> Result<(), StoreError>;

    /// Writes all rows, in order, or none. When it returns, a crash of the process loses none of
    /// them.
    ///
    /// # Errors
    /// If the rows could not be written.
    fn write(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// Removes everything. It is called after an error, when the contents are out of date. A client
    /// that a later process recovered from them would miss messages without a word. So this should
    /// work even if [`Store::write`] does not. If it fails, it is called again about once a second.
    ///
    /// # Errors
    /// If it could not be done. Then the contents may still be read by another process.
    fn clear(&self) -> Result<(), StoreError>;

    /// Gives the store back, so that another process can open it. Nothing is written after this.
    fn close(&self) {}
}

/// The function that [`Store::read`] calls with each key and value.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// A key with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value. `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// Why a store cannot be used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another server of this process, uses the store.
    #[error("the store is in use")]
    Locked,
    /// The contents are not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store was written by a version of this library that this one cannot read.
    #[error("the store has the format {0}, which this version cannot read")]
    Foreign(u32),
    /// The store does not answer in time.
    #[error("the store takes too long")]
    Slow,
    /// The store cannot be read or written.
    #[error("the store cannot be used: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

crate::readable::says_why!(StoreError);

/// How the store of recovery does. [`Io::store`](crate::Io::store) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreReport {
    /// Whether everything that is kept is in the store, apart from the turn under way. After an
    /// error this is false until everything has been written again.
    pub complete: bool,
    /// Whether the store has failed, and has contents that are out of date and could not be removed
    /// ([`Store::clear`]). It is tried again about once a second, and at the end of the server. If
    /// the process is killed meanwhile, or if this is still true after the end of the server, the
    /// store must not be given to the next process.
    pub stale: bool,
    /// How often the store has failed.
    pub failures: u64,
    /// How many rows have been written.
    pub rows: u64,
    /// How many bytes wait to be written.
    pub waiting_bytes: usize,
}

/// A store in memory. It keeps what is written as long as it lives, for tests and for a server that
/// takes the place of another one in the same process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Memory {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().get(key).cloned())
    }

    fn read(&self, each: Each<'_>) -> Result<(), StoreError> {
        let rows = self.0.lock().clone();
        rows.iter().try_for_each(|(key, value)| each(key, value))
    }

    fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut table = self.0.lock();
        for Row { key, value } in rows {
            match value {
                Some(value) => table.insert(key.clone(), value.clone()),
                None => table.remove(key),
            };
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.lock().clear();
        Ok(())
    }
}
