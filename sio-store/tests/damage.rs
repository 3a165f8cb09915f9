//! What happens to a store on disk that was cut, damaged, written by something else, or is in use.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what is not a test here is part of one"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sio_app::store::{Row, Store, StoreError};
use sio_store::{Damaged, Disk, DiskStore, Sync};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(directory: &Path) -> Result<DiskStore, StoreError> {
    Disk::at(directory).timeout(Duration::from_secs(60)).open()
}

/// Rows as the server writes them: the check of a value is FNV-1a over the key and the value.
fn row(kind: u8, number: u64, last: u64) -> Row {
    let mut key = vec![kind];
    key.extend_from_slice(&(number as u32).to_be_bytes());
    let mut value = last.to_be_bytes().to_vec();
    let bytes = key.iter().chain(&value);
    let check = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    value.extend_from_slice(&check.to_be_bytes());
    Row {
        key,
        value: Some(value),
    }
}

fn rows(store: &DiskStore) -> Rows {
    let mut rows = Rows::new();
    store
        .read(&mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            Ok(())
        })
        .unwrap();
    rows
}

fn filled(directory: &Path, count: u64) -> Rows {
    let store = open(directory).unwrap();
    for number in 0..count {
        store.write(&[row(2, number, number * 7)]).unwrap();
    }
    let rows = rows(&store);
    assert_eq!(rows.len() as u64, count);
    store.close();
    rows
}

#[test]
fn what_was_written_is_there_when_the_store_is_opened_again() {
    for sync in [Sync::System, Sync::Disk] {
        let directory = tempfile::tempdir().unwrap();
        let store = Disk::at(directory.path())
            .sync(sync)
            .timeout(Duration::from_secs(60))
            .open()
            .unwrap();
        store.write(&[row(2, 1, 1), row(2, 2, 2)]).unwrap();
        let gone = Row {
            value: None,
            ..row(2, 1, 1)
        };
        store.write(&[gone.clone(), row(2, 3, 3)]).unwrap();
        assert_eq!(store.get(&gone.key).unwrap(), None);
        assert_eq!(store.get(&row(2, 3, 3).key).unwrap(), row(2, 3, 3).value);
        store.close();
        assert!(store.write(&[row(2, 4, 4)]).is_err(), "it is closed");
        assert_eq!(rows(&open(directory.path()).unwrap()).len(), 2);
    }
}

#[test]
fn a_store_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    assert!(matches!(open(directory.path()), Err(StoreError::Locked)));
    store.close();
    open(directory.path()).unwrap();
}

#[test]
fn a_store_that_was_emptied_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    store.write(&[row(2, 1, 1)]).unwrap();
    store.clear().unwrap();
    assert!(!store.path().exists());
    store.write(&[row(2, 2, 2)]).unwrap();
    assert_eq!(rows(&store).len(), 1);
}

/// Nobody else on the machine reads messages and secrets.
#[cfg(unix)]
#[test]
fn the_file_belongs_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_file_and_another_format_are_refused_or_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recovery.redb");
    fs::write(&path, "a file of somebody else, which is not a database").unwrap();
    assert!(matches!(open(directory.path()), Err(StoreError::Damaged(_))));
    let settings = Disk::at(directory.path()).timeout(Duration::from_secs(60));
    let set_aside = || settings.clone().damaged(Damaged::SetAside).open().unwrap();
    let store = set_aside();
    assert!(directory.path().join("recovery.redb.damaged").exists());
    // The head of a later version.
    let mut head = row(2, 1, 1);
    head.key = b"\0v".to_vec();
    let mut value = 9_u32.to_be_bytes().to_vec();
    let check = head
        .key
        .iter()
        .chain(&value)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    value.extend_from_slice(&check.to_be_bytes());
    head.value = Some(value);
    store.write(&[head]).unwrap();
    store.close();
    assert!(matches!(open(directory.path()), Err(StoreError::Foreign(9))));
    assert!(rows(&set_aside()).is_empty());
}

/// A case opens a file three times, so there are few, unless `PROPTEST_CASES` says how many.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            given.cases
        } else {
            16
        },
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    /// A file with a wrong byte, or without its end, is refused, or has exactly the rows that were
    /// written. Set aside, it is no obstacle.
    #[test]
    fn a_damaged_file_is_refused_or_whole(
        count in 1..30_u64,
        places in prop::collection::vec((0.0..1.0_f64, 1..=255_u8), 1..4),
        cut in prop::option::of(0.0..1.0_f64),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let written = filled(directory.path(), count);
        let path = directory.path().join("recovery.redb");
        let mut bytes = fs::read(&path).unwrap();
        // Most of the file is unused: damage is done where something stands.
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        match cut {
            Some(cut) => bytes.truncate((bytes.len() as f64 * cut) as usize),
            None => for (place, flip) in places {
                bytes[used[(used.len() as f64 * place) as usize]] ^= flip;
            },
        }
        fs::write(&path, &bytes).unwrap();
        match open(directory.path()) {
            Ok(store) => {
                let found = rows(&store);
                // An empty file is a new store.
                prop_assert!(found == written || bytes.is_empty() && found.is_empty());
                store.close();
            }
            Err(StoreError::Damaged(_) | StoreError::Foreign(_)) => {
                let store = Disk::at(directory.path()).damaged(Damaged::SetAside).open().unwrap();
                prop_assert!(rows(&store).is_empty());
                store.close();
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

/// Recovery F16: a file that is out of date and cannot be removed is not given to the next process.
#[test]
fn a_file_that_cannot_be_removed_is_marked_and_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 3);
    let store = open(directory.path()).unwrap();
    // A directory in its place cannot be removed as a file.
    let (file, aside) = (store.path().to_owned(), directory.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(matches!(store.clear(), Err(StoreError::Failed(_))));
    drop(store);
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let store = open(directory.path()).unwrap();
    assert!(rows(&store).is_empty());
    // It is a store like any other from now on.
    store.write(&[row(2, 1, 7)]).unwrap();
    drop(store);
    assert_eq!(rows(&open(directory.path()).unwrap()).len(), 1);
}

/// Recovery F6: the next process waits for the old one, and no longer than it may.
#[test]
fn a_store_that_is_in_use_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let old = open(directory.path()).unwrap();
    let patient = Disk::at(directory.path())
        .timeout(Duration::from_secs(60))
        .wait(Duration::from_secs(60));
    let hasty = Disk::at(directory.path()).wait(Duration::from_millis(100));
    assert!(matches!(hasty.open(), Err(StoreError::Locked)));
    let next = std::thread::spawn(move || patient.open().map(|store| rows(&store).len()));
    old.write(&[row(2, 1, 7), row(2, 2, 14)]).unwrap();
    old.close();
    assert_eq!(next.join().unwrap().unwrap(), 2);
}

/// Recovery F16: a process whose store has failed, and was emptied, still has the store: the next
/// process waits for it, and its file is not removed by this one.
#[test]
fn f16_a_store_that_has_failed_is_in_use_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let old = open(directory.path()).unwrap();
    old.write(&[row(2, 1, 7)]).unwrap();
    old.clear().unwrap();
    assert!(!old.path().exists());
    assert!(matches!(open(directory.path()), Err(StoreError::Locked)));
    // It is filled again, and fails again.
    old.write(&[row(2, 1, 7)]).unwrap();
    old.clear().unwrap();
    assert!(matches!(open(directory.path()), Err(StoreError::Locked)));
    old.close();
    let next = open(directory.path()).unwrap();
    next.write(&[row(2, 2, 14)]).unwrap();
    // What the old process does behind its end touches nothing of the next one.
    let _ = old.clear();
    drop(old);
    assert!(next.path().exists());
    drop(next);
    assert_eq!(rows(&open(directory.path()).unwrap()).len(), 1);
}
