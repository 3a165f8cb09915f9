//! The file below the table: redb's own, except that the operator decides when the disk is synced.

use std::fs::File;
use std::io;

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::Sync;

#[derive(Debug)]
pub(crate) struct Backend {
    file: FileBackend,
    sync: Sync,
}

impl Backend {
    /// Takes the lock of the file.
    pub(crate) fn new(file: File, sync: Sync) -> Result<Self, redb::DatabaseError> {
        let file = FileBackend::new(file)?;
        Ok(Self { file, sync })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        match self.sync {
            // The kernel has everything already, in the order in which it was written, and keeps it
            // when the process is gone.
            Sync::System => Ok(()),
            Sync::Disk => self.file.sync_data(eventual),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}
