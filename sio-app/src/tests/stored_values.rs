//! Values of the application in a store: the order of their rows, and what becomes of them when the
//! socket of a record changes, when the record ends, and when the store is filled again.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, mpsc};

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::{Memory, Row, Store};
use crate::tests::recovery::{Client, settings};
use crate::tests::stored::{Faulty, kill, stored};
use crate::tests::{pass, run_tasks};
use crate::{Io, Socket};

type Act = Box<dyn FnOnce()>;

thread_local! {
    /// What happens when a [`Score`] has been encoded, and is not in the store yet.
    static BEHIND: Cell<Option<Act>> = const { Cell::new(None) };
    /// Other threads.
    static MANY: RefCell<Vec<Act>> = const { RefCell::new(Vec::new()) };
}

/// A value whose encoding lasts: other threads do something meanwhile.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Score(pub(super) u32);

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == u32::MAX {
            return Err(S::Error::custom("no score"));
        }
        let act = BEHIND.take().or_else(|| MANY.with_borrow_mut(Vec::pop));
        if let Some(act) = act {
            act();
        }
        serializer.serialize_newtype_struct("Score", &self.0)
    }
}

pub(super) fn behind(act: impl FnOnce() + 'static) {
    BEHIND.set(Some(Box::new(act)));
}

pub(super) fn scoring(store: &Arc<Faulty>) -> Io {
    let io = stored(1, settings(), store);
    io.keep_data::<Score>("score");
    io
}

/// The rows of one kind in a store, without their checks.
pub(super) fn of_kind(disk: &Memory, kind: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let read = disk.read(&mut |key, value| {
        if key[0] == kind {
            found.push((key.to_vec(), value[..value.len() - 8].to_vec()));
        }
        Ok(())
    });
    read.map(|()| found).unwrap()
}

/// The values in a store.
pub(super) fn rows(disk: &Memory) -> Vec<Vec<u8>> {
    of_kind(disk, 5).into_iter().map(|(_, value)| value).collect()
}

/// The value that the next process finds for a client that comes back.
pub(super) fn next(disk: &Arc<Memory>, pid: &str) -> Option<u32> {
    let io = scoring(&Faulty::of(disk));
    let back = Client::back(&io, pid, None);
    let socket = io.socket(&back.sid).unwrap();
    assert!(socket.recovered());
    socket.data::<Score>().map(|score| score.0)
}

pub(super) fn world() -> (Arc<Memory>, Arc<Faulty>, Io) {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = scoring(&store);
    (disk, store, io)
}

/// Recovery R6: while one thread encodes a value, another one replaces it. The store has the later
/// one, whoever is faster.
#[test]
fn r6_rows_of_values_are_in_the_order_of_the_changes() {
    let (disk, store, io) = world();
    let client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    let other = socket.clone();
    behind(move || other.set_data(Score(2)));
    socket.set_data(Score(1));
    assert_eq!(rows(&disk), [b"2"]);
    // The later one is taken out.
    let other = socket.clone();
    behind(move || {
        other.take_data::<Score>().unwrap();
    });
    socket.set_data(Score(3));
    assert_eq!((rows(&disk).len(), socket.data::<Score>()), (0, None));
    // It is replaced by one that cannot be kept.
    let other = socket.clone();
    behind(move || other.set_data(Score(u32::MAX)));
    socket.set_data(Score(4));
    assert_eq!(rows(&disk).len(), 0);
    // Again and again.
    let act = |number: u32| {
        let other = socket.clone();
        Box::new(move || other.set_data(Score(number))) as Act
    };
    MANY.set((10..15).rev().map(act).collect());
    socket.set_data(Score(9));
    let last = socket.data::<Score>().unwrap().0;
    assert!(MANY.with_borrow(Vec::is_empty) && last >= 10);
    assert_eq!(rows(&disk), [last.to_string().as_bytes()]);
    kill(io, &store);
    assert_eq!(next(&disk, &client.pid), Some(last));
}

/// While a value is encoded, the record ends. Nothing is left of it.
#[test]
fn no_value_is_written_behind_the_end_of_its_record() {
    let (disk, _store, io) = world();
    let client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    let other = socket.clone();
    behind(move || {
        other.disconnect();
        run_tasks();
    });
    socket.set_data(Score(1));
    assert_eq!((io.recoverable(), rows(&disk).len()), (0, 0));
}

/// What a middleware has set is in the store in one step with the record: as soon as the record has
/// begun, another thread may write to the client, and the process may be killed.
#[test]
fn a_record_is_never_in_the_store_without_its_values() {
    let (disk, store, io) = world();
    io.of("/").with(|socket: Socket| {
        socket.set_data(Score(5));
        Ok::<(), &'static str>(())
    });
    let (thread, on_disk) = (io.clone(), Arc::clone(&disk));
    let (found, records) = mpsc::channel();
    behind(move || {
        // Another thread brings what waits to the store, and to the clients.
        std::thread::scope(|scope| {
            scope.spawn(|| thread.emit("news", 1));
        });
        found.send(of_kind(&on_disk, 4).len()).unwrap();
    });
    let client = Client::new(&io);
    assert_eq!(records.try_iter().collect::<Vec<_>>(), [0]);
    kill(io, &store);
    assert_eq!(next(&disk, &client.pid), Some(5));
}

/// A value is replaced by another thread while its client is let in. The store has the earlier one
/// in one step with the record, and then the later one.
#[test]
fn a_value_that_is_replaced_at_the_beginning_of_a_record_is_not_missing() {
    let (disk, store, io) = world();
    let (thread, on_disk) = (io.clone(), Arc::clone(&disk));
    let (found, values) = mpsc::channel();
    io.of("/").with(move |socket: Socket| {
        socket.set_data(Score(5));
        let (thread, on_disk, found) = (thread.clone(), Arc::clone(&on_disk), found.clone());
        let later = move || {
            // Another thread brings what waits to the store, and to the clients.
            std::thread::scope(|scope| {
                scope.spawn(|| thread.emit("news", 1));
            });
            found.send((of_kind(&on_disk, 4).len(), rows(&on_disk))).unwrap();
        };
        let replace = move || socket.set_data(Score(6));
        MANY.set(vec![Box::new(later), Box::new(replace)]);
        Ok::<(), &'static str>(())
    });
    let client = Client::new(&io);
    assert_eq!(values.try_iter().collect::<Vec<_>>(), [(1, vec![b"5".to_vec()])]);
    assert_eq!(rows(&disk), [b"6"]);
    kill(io, &store);
    assert_eq!(next(&disk, &client.pid), Some(6));
}

/// A type is named again under another name. When its client is gone, nothing is left under the
/// earlier one.
#[test]
fn values_under_an_earlier_name_of_a_type_go_with_their_record() {
    let (disk, _store, io) = world();
    let client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.set_data(Score(5));
    io.keep_data::<Score>("points");
    socket.set_data(Score(6));
    assert_eq!(rows(&disk), [b"6", b"5"]);
    socket.disconnect();
    run_tasks();
    pass(&io, 1_000);
    assert_eq!(rows(&disk).len(), 0);
}

/// The client has come back while its old connection still stands. What handlers of the old socket
/// do to its values is not written for the new one.
#[test]
fn an_old_socket_does_not_change_what_is_kept_for_the_new_one() {
    for takes in [true, false] {
        let (disk, store, io) = world();
        let client = Client::new(&io);
        let old = io.socket(&client.sid).unwrap();
        old.set_data(Score(1));
        old.join("red").unwrap();
        let back = Client::back(&io, &client.pid, None);
        let socket = io.socket(&back.sid).unwrap();
        socket.set_data(Score(2));
        match takes {
            true => assert_eq!(old.take_data::<Score>().as_deref(), Some(&Score(1))),
            false => old.set_data(Score(3)),
        }
        assert_eq!(socket.data::<Score>().as_deref(), Some(&Score(2)));
        assert_eq!(rows(&disk), [b"2"]);
        // Nor what they do to its rooms.
        old.leave("red");
        assert_eq!(socket.rooms().len(), 2);
        io.to("red").emit("news", 1);
        let again = Client::back(&io, &back.pid, None);
        assert_eq!(again.first.len(), 1);
        assert_eq!(io.socket(&again.sid).unwrap().rooms().len(), 2);
        kill(io, &store);
        assert_eq!(next(&disk, &client.pid), Some(2));
    }
}

/// Recovery F16: a client that is away since the last process has its values in a store that was
/// filled again, also those whose types this process has not named.
#[test]
fn f16_a_refill_keeps_the_values_of_clients_that_are_away() {
    let (disk, store, io) = world();
    let pids = [5, 6].map(|number| {
        let client = Client::new(&io);
        let socket = io.socket(&client.sid).unwrap();
        socket.set_data(Score(number));
        socket.set_data(100 + number);
        client.cut()
    });
    kill(io, &store);
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    Faulty::set(&store.failing, true);
    io.emit("news", 1);
    assert!(!io.store().unwrap().complete);
    Faulty::set(&store.failing, false);
    pass(&io, 6_000);
    assert!(io.store().unwrap().complete);
    assert_eq!(rows(&disk).len(), 4);
    // One comes back to this process, and ends.
    let back = Client::back(&io, &pids[1], None);
    let socket = io.socket(&back.sid).unwrap();
    assert_eq!(socket.data::<u32>().as_deref(), Some(&106));
    socket.disconnect();
    run_tasks();
    pass(&io, 1_000);
    assert_eq!(rows(&disk).len(), 2, "none is left under a name that nobody has named");
    kill(io, &store);
    let io = scoring(&Faulty::of(&disk));
    let back = Client::back(&io, &pids[0], None);
    let socket = io.socket(&back.sid).unwrap();
    assert_eq!(socket.data::<Score>().as_deref(), Some(&Score(5)));
    assert_eq!(socket.data::<u32>().as_deref(), Some(&105));
}

/// A value of another type under the same name.
#[derive(Serialize, Deserialize)]
struct Word(String);

/// Recovery F16: a client comes back to a process that cannot read its value, because the type is
/// not named, or is another one. The value stays in the store, also if the store is filled again,
/// until the application sets another one.
#[test]
fn f16_a_value_that_cannot_be_read_stays_for_the_next_process() {
    for (is_named, sets) in [(false, false), (true, false), (true, true)] {
        let (disk, store, io) = world();
        let client = Client::new(&io);
        let socket = io.socket(&client.sid).unwrap();
        socket.set_data(Score(5));
        socket.set_data(105_u32);
        let pid = client.cut();
        kill(io, &store);
        let store = Faulty::of(&disk);
        let io = stored(1, settings(), &store);
        if is_named {
            io.keep_data::<Word>("score");
        }
        // A function sees what can be read, and the client comes back.
        assert_eq!(io.revoke(|socket| socket.data::<u32>().is_none()), 0);
        let back = Client::back(&io, &pid, None);
        let socket = io.socket(&back.sid).unwrap();
        assert_eq!(socket.data::<u32>().as_deref(), Some(&105));
        assert_eq!(rows(&disk), [&b"105"[..], b"5"]);
        if sets {
            socket.set_data(Word("six".to_owned()));
            drop(socket.take_data::<Word>());
        }
        Faulty::set(&store.failing, true);
        io.emit("news", 1);
        Faulty::set(&store.failing, false);
        pass(&io, 6_000);
        assert!(io.store().unwrap().complete);
        kill(io, &store);
        assert_eq!(next(&disk, &pid), (!sets).then_some(5));
    }
}

/// A value whose decoding lasts: other threads do something meanwhile.
#[derive(Serialize)]
struct Slow(u32);

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if let Some(act) = BEHIND.take() {
            act();
        }
        u32::deserialize(deserializer).map(Self)
    }
}

/// Two threads read what another process has kept at one time. When one is done, the application
/// takes a value out. The slower one does not bring it back.
#[test]
fn a_value_that_was_taken_out_is_not_read_again_by_a_slower_thread() {
    let (disk, store, io) = world();
    io.keep_data::<Slow>("slow");
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().set_data(Slow(5));
    io.socket(&client.sid).unwrap().set_data(105_u32);
    let pid = client.cut();
    kill(io, &store);
    let io = scoring(&Faulty::of(&disk));
    io.keep_data::<Slow>("slow");
    let (other, (taken, seen)) = (io.clone(), mpsc::channel());
    behind(move || {
        other.revoke(move |socket| {
            let _ = taken.send(socket.take_data::<Slow>().map(|value| value.0));
            false
        });
    });
    io.revoke(|socket| {
        assert!(socket.data::<Slow>().is_none());
        assert_eq!(socket.data::<u32>().as_deref(), Some(&105));
        false
    });
    assert_eq!(seen.try_recv(), Ok(Some(5)));
    let back = Client::back(&io, &pid, None);
    assert!(io.socket(&back.sid).unwrap().data::<Slow>().is_none());
}

/// The values are in the batch that fills the store: a process that is killed behind it has lost
/// none. A value that changes while they are encoded is in the batch, behind the earlier one.
#[test]
fn f16_a_refill_is_one_batch_with_all_values() {
    for changes in [false, true] {
        let (disk, store, io) = world();
        let client = Client::new(&io);
        let socket = io.socket(&client.sid).unwrap();
        socket.set_data(Score(1));
        Faulty::set(&store.failing, true);
        io.emit("news", 1);
        Faulty::set(&store.failing, false);
        Faulty::set(&store.killed_next, true);
        if changes {
            behind(move || socket.set_data(Score(2)));
        }
        pass(&io, 6_000);
        kill(io, &store);
        assert_eq!(next(&disk, &client.pid), Some(1 + u32::from(changes)));
    }
}

/// Records that end while they are read, because there are too many, leave no values behind.
#[test]
fn values_of_records_that_end_while_they_are_read_are_removed() {
    let (disk, store, io) = world();
    let pids = [1, 2, 3].map(|number| {
        let client = Client::new(&io);
        io.socket(&client.sid).unwrap().set_data(Score(number));
        client.cut()
    });
    kill(io, &store);
    assert_eq!(rows(&disk).len(), 3);
    let store = Faulty::of(&disk);
    let io = stored(1, settings().max_away(1), &store);
    assert_eq!((io.recoverable(), rows(&disk).len()), (1, 1));
    kill(io, &store);
    assert_eq!(next(&disk, &pids[2]), Some(3));
}

/// Two rows have one secret, which only a damaged store has. The rooms of the one that is left out
/// go with it.
#[test]
fn rooms_of_a_record_that_is_left_out_are_removed() {
    let (disk, store, io) = world();
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().join(["a", "b"]).unwrap();
    kill(io, &store);
    let stays = of_kind(&disk, 3);
    assert_eq!(stays.len(), 3);
    for (mut key, mut value) in of_kind(&disk, 4).into_iter().chain(stays) {
        key[8] += 7;
        let check = crate::turn::rows::check(&key, &value);
        value.extend_from_slice(&check.to_be_bytes());
        let value = Some(value);
        disk.write(&[Row { key, value }]).unwrap();
    }
    let io = scoring(&Faulty::of(&disk));
    assert_eq!(
        (io.recoverable(), of_kind(&disk, 4).len(), of_kind(&disk, 3).len()),
        (1, 1, 3)
    );
}
