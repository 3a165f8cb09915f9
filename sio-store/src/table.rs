//! The table of the store, in one file of redb.

use std::error::Error;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError, ReadableTable, StorageBackend, StorageError, TableDefinition};
use sio_app::store::{Each, Row, StoreError};

use crate::backend::Backend;
use crate::mark::Mark;
use crate::{Sync, failed};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("recovery");

/// The lock of a directory, in a file of its own that stays. The file of the table cannot be the
/// lock: it goes when the store has failed, while the process goes on.
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held")] FileBackend);

impl Lock {
    /// Takes the lock, which has this path.
    pub(crate) fn take(path: &Path) -> Result<Arc<Self>, StoreError> {
        let file = open_or_make(path).map_err(failed)?;
        Ok(Arc::new(Self(FileBackend::new(file).map_err(of_database)?)))
    }
}

/// The table. It is closed when nothing more is to be written.
pub(crate) struct Table {
    path: PathBuf,
    mark: Arc<Mark>,
    /// No other process has the table, also while there is no file. It is held until the end.
    lock: Option<Arc<Lock>>,
    sync: Sync,
    cache_bytes: usize,
    state: State,
}

enum State {
    Open(Database),
    /// The file is gone, and is made anew by the next write.
    Empty,
    Closed,
}

impl Table {
    /// Opens the file, which is made if there is none, and checks all of its pages. A file that is
    /// out of date is removed first.
    pub(crate) fn open(path: PathBuf, lock: &Arc<Lock>, sync: Sync, cache_bytes: usize) -> Result<Self, StoreError> {
        let mut table = Self {
            mark: Arc::new(Mark::of(&path)),
            path,
            lock: Some(Arc::clone(lock)),
            sync,
            cache_bytes,
            state: State::Closed,
        };
        let mut backend = table.open_file()?;
        if table.mark.is_set().map_err(failed)? {
            tracing::error!(path = %table.path.display(), "the store of recovery is out of date, and begins anew");
            drop(backend);
            table.state = State::Empty;
            table.clear()?;
            backend = table.open_file()?;
        }
        check(&table.path)?;
        table.state = State::Open(table.begin(backend)?);
        Ok(table)
    }

    /// Opens the file and takes its lock, which is the only one that earlier versions know.
    fn open_file(&self) -> Result<Backend, StoreError> {
        let file = open_or_make(&self.path).map_err(failed)?;
        let same = file.try_clone().map_err(failed)?;
        let backend = Backend::new(file, self.sync).map_err(of_database)?;
        // A process of an earlier version may have removed the file meanwhile.
        match is_at(&same, &self.path) {
            true => Ok(backend),
            false => Err(StoreError::Locked),
        }
    }

    fn begin(&self, backend: Backend) -> Result<Database, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        guarded(|| builder.create_with_backend(backend).map_err(of_database))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let State::Open(database) = &self.state else {
            return Ok(None);
        };
        guarded(|| {
            let reading = database.begin_read().map_err(other)?;
            let table = match reading.open_table(ROWS) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(other(error)),
            };
            let value = table.get(key).map_err(of_storage)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    pub(crate) fn read(&self, each: Each<'_>) -> Result<(), StoreError> {
        let State::Open(database) = &self.state else {
            return Ok(());
        };
        guarded(|| {
            let reading = database.begin_read().map_err(other)?;
            let table = match reading.open_table(ROWS) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(other(error)),
            };
            for row in table.iter().map_err(of_storage)? {
                let (key, value) = row.map_err(of_storage)?;
                each(key.value(), value.value())?;
            }
            Ok(())
        })
    }

    /// Writes all rows, or none.
    pub(crate) fn write(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        if matches!(self.state, State::Empty) {
            let backend = self.open_file()?;
            self.state = State::Open(self.begin(backend)?);
        }
        let State::Open(database) = &self.state else {
            return Err(failed(io::Error::other("the store is closed")));
        };
        guarded(|| {
            let writing = database.begin_write().map_err(other)?;
            {
                let mut table = writing.open_table(ROWS).map_err(other)?;
                for Row { key, value } in rows {
                    match value {
                        Some(value) => table.insert(&key[..], &value[..]).map_err(of_storage)?,
                        None => table.remove(&key[..]).map_err(of_storage)?,
                    };
                }
            }
            writing.commit().map_err(other)
        })
    }

    /// Removes the file, which also works when the disk is full.
    pub(crate) fn clear(&mut self) -> Result<(), StoreError> {
        if matches!(self.state, State::Closed) {
            return Ok(());
        }
        self.close_file();
        if let Err(error) = remove(&self.path) {
            // Perhaps a new file can be made where the old one cannot be removed.
            self.mark.set();
            self.state = State::Empty;
            return Err(failed(error));
        }
        self.state = State::Empty;
        self.mark.unset().map_err(failed)
    }

    pub(crate) const fn mark(&self) -> &Arc<Mark> {
        &self.mark
    }

    /// Closes the file, and gives the table to the next process.
    pub(crate) fn close(&mut self) {
        self.close_file();
        self.lock = None;
    }

    fn close_file(&mut self) {
        let old = std::mem::replace(&mut self.state, State::Closed);
        // Closing writes, and what it says of errors is of no use any more.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
    }
}

/// Opens a file that only its owner can read.
fn open_or_make(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether this file is the one at this path.
#[cfg(unix)]
fn is_at(file: &fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (known, found) = (file.metadata(), fs::metadata(path));
    matches!((known, found), (Ok(known), Ok(found)) if (known.dev(), known.ino()) == (found.dev(), found.ino()))
}

/// Whether this file is the one at this path. A file that is open cannot be removed here.
#[cfg(not(unix))]
const fn is_at(_: &fs::File, _: &Path) -> bool {
    true
}

/// Checks all pages of a file, in memory: redb repairs what it checks, by going back to an older
/// state, which clients are ahead of. The file itself stays as it is.
fn check(path: &Path) -> Result<(), StoreError> {
    let bytes = fs::read(path).map_err(failed)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64).map_err(failed)?;
    copy.write(0, &bytes).map_err(failed)?;
    drop(bytes);
    let is_whole = guarded(|| {
        let mut database = Builder::new().create_with_backend(copy).map_err(of_database)?;
        database.check_integrity().map_err(of_database)
    })?;
    match is_whole {
        true => Ok(()),
        false => Err(StoreError::Damaged(
            "pages of the file are not what was written".to_owned(),
        )),
    }
}

/// Calls redb, whose code may panic on a damaged file.
fn guarded<R>(act: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    let damaged = |_| Err(StoreError::Damaged("the file cannot be read".to_owned()));
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(damaged)
}

fn of_database(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked,
        DatabaseError::UpgradeRequired(version) => StoreError::Foreign(version.into()),
        DatabaseError::Storage(error) => of_storage(error),
        error => StoreError::Damaged(error.to_string()),
    }
}

fn of_storage(error: StorageError) -> StoreError {
    match error {
        StorageError::Corrupted(what) => StoreError::Damaged(what),
        StorageError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::Damaged("the file is too short".to_owned())
        }
        // A file that begins with other bytes than those of redb.
        StorageError::Io(error) if error.kind() == io::ErrorKind::InvalidData => StoreError::Damaged(error.to_string()),
        error => other(error),
    }
}

fn other(error: impl Error + Send + std::marker::Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}
