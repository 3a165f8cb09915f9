//! The file that says that a table is out of date and could not be removed.
//!
//! While the thread that writes hangs, another one makes this file. It may be late: when it gets
//! there, the table may have been emptied and filled again. Then it makes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::table::remove;

pub(crate) struct Mark {
    path: PathBuf,
    /// Whether the table is out of date, as far as is known.
    is_wanted: AtomicBool,
    /// Held while the file is made or removed.
    changing: Mutex<()>,
}

impl Mark {
    /// The mark of the table with this path.
    pub(crate) fn of(table: &Path) -> Self {
        Self {
            path: table.with_extension("stale"),
            is_wanted: AtomicBool::new(false),
            changing: Mutex::new(()),
        }
    }

    /// Whether the file is there.
    pub(crate) fn is_set(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    /// Returns what makes the file, for a thread that may hang, unless it is made already.
    pub(crate) fn set_later(self: &Arc<Self>) -> Option<impl FnOnce() + Send + 'static> {
        let mark = Arc::clone(self);
        let is_new = !self.is_wanted.swap(true, Ordering::AcqRel);
        is_new.then_some(move || mark.make())
    }

    /// Makes the file, if this is possible.
    pub(crate) fn set(&self) {
        self.is_wanted.store(true, Ordering::Release);
        self.make();
    }

    fn make(&self) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_wanted.load(Ordering::Acquire) {
            let _ = fs::write(&self.path, []);
        }
        drop(changing);
    }

    /// Removes the file: the table is not out of date any more.
    pub(crate) fn unset(&self) -> io::Result<()> {
        // In this order, whoever is late either sees it, or has made the file already.
        self.is_wanted.store(false, Ordering::Release);
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = remove(&self.path);
        drop(changing);
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recovery F16: a thread that comes too late marks nothing, so the next process does not throw
    /// away a table that is whole.
    #[test]
    fn f16_a_mark_that_comes_too_late_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let mark = Arc::new(Mark::of(&directory.path().join("recovery.redb")));
        let late = mark.set_later().unwrap();
        assert!(mark.set_later().is_none(), "somebody makes it already");
        mark.unset().unwrap();
        late();
        assert!(!mark.is_set().unwrap());
        // And one that is in time.
        mark.set_later().unwrap()();
        assert!(mark.is_set().unwrap());
        mark.unset().unwrap();
        assert!(!mark.is_set().unwrap());
        mark.set();
        assert!(mark.is_set().unwrap());
    }
}
