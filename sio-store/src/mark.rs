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
    /// Whether the file was made, or a thread is about to make it.
    is_begun: AtomicBool,
    /// Held while the file is made or removed.
    changing: Mutex<()>,
}

impl Mark {
    /// The mark of the table with this path.
    pub(crate) fn of(table: &Path) -> Self {
        Self {
            path: table.with_extension("stale"),
            is_wanted: AtomicBool::new(false),
            is_begun: AtomicBool::new(false),
            changing: Mutex::new(()),
        }
    }

    /// Whether the file is there.
    pub(crate) fn is_set(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    /// Returns what makes the file, for a thread that may hang, unless it is made already or
    /// another thread is about to make it. If that fails, or the thread never runs, the next call
    /// returns it again.
    pub(crate) fn set_later(self: &Arc<Self>) -> Option<impl FnOnce() + Send + 'static> {
        self.is_wanted.store(true, Ordering::Release);
        let is_first = !self.is_begun.swap(true, Ordering::AcqRel);
        let making = is_first.then(|| Making(Arc::clone(self), false));
        making.map(|mut making| move || making.1 = making.0.make())
    }

    /// Makes the file, if this is possible.
    pub(crate) fn set(&self) {
        self.is_wanted.store(true, Ordering::Release);
        self.make();
    }

    /// Returns false if the file is wanted and cannot be made.
    fn make(&self) -> bool {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_made = !self.is_wanted.load(Ordering::Acquire) || fs::write(&self.path, []).is_ok();
        drop(changing);
        is_made
    }

    /// Removes the file: the table is not out of date any more.
    pub(crate) fn unset(&self) -> io::Result<()> {
        // In this order, whoever is late either sees it, or has made the file already.
        self.is_wanted.store(false, Ordering::Release);
        self.is_begun.store(false, Ordering::Release);
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = remove(&self.path);
        drop(changing);
        removed
    }
}

/// A thread that makes the file, and whether it has.
struct Making(Arc<Mark>, bool);

impl Drop for Making {
    fn drop(&mut self) {
        let Self(mark, is_made) = self;
        if !*is_made {
            mark.is_begun.store(false, Ordering::Release);
        }
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

    /// Recovery F16: a file that could not be made is tried again, and so is one whose thread never
    /// ran.
    #[test]
    fn f16_a_mark_that_could_not_be_made_is_made_later() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let mark = Arc::new(Mark::of(&missing.join("recovery.redb")));
        mark.set_later().unwrap()();
        assert!(!mark.is_set().unwrap());
        drop(mark.set_later().expect("it failed"));
        fs::create_dir(&missing).unwrap();
        let make = mark.set_later().expect("the thread never ran");
        assert!(mark.set_later().is_none(), "another thread makes it");
        make();
        assert!(mark.is_set().unwrap());
        assert!(mark.set_later().is_none(), "it is there");
    }
}
