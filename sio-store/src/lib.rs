//! A store on disk for recovery, so that the clients of a server are recovered by the next process:
//! after a deploy, a crash or a kill.
//!
//! ```no_run
//! use std::sync::Arc;
//! use sio_app::{Options, RecoveryConfig};
//! use sio_store::Disk;
//!
//! # fn options() -> Result<Options, sio_app::store::StoreError> {
//! let store = Disk::at("/var/lib/chat").open()?;
//! Ok(Options::default().recovery(RecoveryConfig::default()).store(Arc::new(store)))
//! # }
//! ```
//! The directory has one file of [redb](https://docs.rs/redb), an embedded store that is one file,
//! has no threads of its own, reports every error, and leaves the syncing to us. One process at a
//! time can have the store open. It holds the lock of a second file, `recovery.lock`, which is
//! empty and stays. Do not remove it while a process runs.
//!
//! # What is safe, and when
//!
//! | what happens | [`Sync::System`], the default | [`Sync::Disk`] |
//! |---|---|---|
//! | the process ends, crashes or is killed (`kill -9`) | nothing is lost | nothing is lost |
//! | the machine loses power, or its kernel crashes | the store may be damaged, and then does not open | nothing is lost |
//! | a batch of changes costs | writes to memory of the kernel | these, and a sync of the disk: milliseconds |
//!
//! # When the store cannot be used
//!
//! [`Disk::open`] checks the whole file, and returns an error if anything is wrong
//! ([`StoreError`]). The server should then not start: an operator decides. With
//! [`Damaged::SetAside`], a damaged file, or one of another version, is renamed, and the store
//! begins anew: then all clients of the last process begin anew, too, and are told so.
//!
//! An error while the server runs, such as a full disk, stops nothing: the server goes on in
//! memory, and fills the store again when it can (`sio_app::store`). [`Disk::timeout`] bounds the
//! time for which a disk that hangs holds up the server.
//!
//! A file that could not be written is out of date. It is removed; if this is not possible, either,
//! a file `recovery.stale` is put beside it. [`Disk::open`] then begins anew, so that no client is
//! recovered without the messages that the file does not have. Only if nothing at all can be
//! changed in the directory is the next process not warned; `StoreReport::stale` of the server says
//! so, and the log, too.
//!
//! # Two processes at a deploy
//!
//! The next process may be started while the old one still has the store. [`Disk::wait`] says how
//! long it waits until the old one has ended and has written everything.

#![forbid(unsafe_code)]

mod backend;
mod mark;
mod table;
mod worker;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mark::Mark;
use sio_app::check_store;
pub use sio_app::store::StoreError;
use sio_app::store::{Each, Row, Store};
use table::{Lock, Table};
use worker::Worker;

/// The name of the file in the directory.
const FILE: &str = "recovery.redb";

/// The name of the file whose lock says that a process has the store.
const LOCK: &str = "recovery.lock";

/// How often a store that another process has open is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// When the disk itself has what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// When the operating system writes it. It survives the process, not a loss of power.
    #[default]
    System,
    /// Before the server goes on. It survives a loss of power. Each batch of changes waits for the
    /// disk, and so do all clients.
    Disk,
}

/// What is done with a store that is damaged, or that another version has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damaged {
    /// [`Disk::open`] returns an error, and the file is left as it is.
    #[default]
    Refuse,
    /// The file is renamed to `recovery.redb.damaged`, in place of an earlier one, and the store
    /// begins anew. This is logged at level `error`.
    SetAside,
}

/// The settings of a store on disk.
#[derive(Clone, Debug)]
pub struct Disk {
    directory: PathBuf,
    sync: Sync,
    damaged: Damaged,
    timeout: Duration,
    wait: Duration,
    cache_bytes: usize,
}

impl Disk {
    /// A store in this directory, which is created if it does not exist. Nobody but the server
    /// should be able to read it: it contains messages, and the secrets by which clients are
    /// recognised.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            sync: Sync::default(),
            damaged: Damaged::default(),
            timeout: Duration::from_secs(2),
            wait: Duration::ZERO,
            cache_bytes: 8 << 20,
        }
    }

    /// Sets when the disk itself has what was written. Default [`Sync::System`].
    #[must_use]
    pub const fn sync(mut self, sync: Sync) -> Self {
        self.sync = sync;
        self
    }

    /// Sets what is done with a damaged store. Default [`Damaged::Refuse`].
    #[must_use]
    pub const fn damaged(mut self, damaged: Damaged) -> Self {
        self.damaged = damaged;
        self
    }

    /// Sets how long a write may take. Default 2 s. After this the store counts as failed, and the
    /// server goes on in memory. Meanwhile no client gets anything, so the time should be shorter
    /// than a heartbeat's. If it is too short, a busy disk is taken for a broken one.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long [`Disk::open`] waits for another process that has the store open. Default
    /// zero: a store that is in use is an error at once. At a deploy in which the next process is
    /// started before the old one has ended, the time should be longer than the end of the old
    /// process takes (`shutdown_jitter` and `shutdown_timeout` of its options together).
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets how many bytes of the file are kept in memory. Default 8 MiB. The store is read only at
    /// the start, so more is of little use.
    #[must_use]
    pub const fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// Opens the store, and checks everything in it. For this, the file is read into memory, and
    /// the time grows with its size. If another process has the store open, the thread sleeps for
    /// up to [`Disk::wait`]; call this where a thread may block.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process still has the store open, [`StoreError::Damaged`]
    /// and [`StoreError::Foreign`] for a file that cannot be used, [`StoreError::Failed`] if the
    /// directory or the file cannot be read or written.
    pub fn open(self) -> Result<DiskStore, StoreError> {
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let mut left = self.wait;
        loop {
            let opened = self.try_open();
            if !matches!(opened, Err(StoreError::Locked)) || left.is_zero() {
                return opened;
            }
            let pause = left.min(RETRY);
            pause_for(pause);
            left -= pause;
        }
    }

    fn try_open(&self) -> Result<DiskStore, StoreError> {
        // It is held over everything that is done with the files.
        let lock = Lock::take(&self.directory.join(LOCK))?;
        match (self.open_file(&lock), self.damaged) {
            (Err(error @ (StoreError::Damaged(_) | StoreError::Foreign(_))), Damaged::SetAside) => {
                let path = self.path();
                let aside = path.with_extension("redb.damaged");
                tracing::error!(error = %error, aside = %aside.display(), "the store of recovery begins anew");
                fs::rename(&path, &aside).map_err(failed)?;
                self.open_file(&lock)
            }
            (opened, _) => opened,
        }
    }

    fn open_file(&self, lock: &Arc<Lock>) -> Result<DiskStore, StoreError> {
        let table = Table::open(self.path(), lock, self.sync, self.cache_bytes)?;
        let mark = Arc::clone(table.mark());
        let worker = Worker::new(table, self.timeout).map_err(failed)?;
        let store = DiskStore {
            path: self.path(),
            worker,
            mark,
        };
        check_store(&store)?;
        Ok(store)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

/// An open store on disk. It is closed when the server has ended, or when it is dropped.
pub struct DiskStore {
    path: PathBuf,
    worker: Worker,
    mark: Arc<Mark>,
}

impl DiskStore {
    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store for DiskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.worker.table().get(key)
    }

    fn read(&self, each: Each<'_>) -> Result<(), StoreError> {
        self.worker.table().read(each)
    }

    fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let rows = rows.to_vec();
        self.worker.run(move |table| table.write(&rows))
    }

    fn clear(&self) -> Result<(), StoreError> {
        let cleared = self.worker.run(Table::clear);
        // The thread hangs in a write, and empties the file when it is back. If the process is
        // killed before, the next one has to know. Making a file may hang, too.
        if matches!(cleared, Err(StoreError::Slow))
            && let Some(set) = self.mark.set_later()
        {
            let _ = thread::Builder::new().name("sio-store-mark".to_owned()).spawn(set);
        }
        cleared
    }

    fn close(&self) {
        // What cannot be closed in time is closed by the end of the process.
        let _ = self.worker.run(|table| {
            table.close();
            Ok(())
        });
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the caller asks for a thread that waits")]
fn pause_for(pause: Duration) {
    thread::sleep(pause);
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Failed(Box::new(error))
}
