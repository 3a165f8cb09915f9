//! A store that has failed is filled again: what happens meanwhile, and what the next process
//! finds.

use std::cell::Cell;
use std::sync::{Arc, mpsc};

use serde::{Deserialize, Serialize, Serializer};

use crate::adapter::Driver;
use crate::store::{Memory, Store};
use crate::tests::recovery::{Client, sent, settings};
use crate::tests::stored::{DATED, Faulty, kill};
use crate::tests::stored_values::{Score, behind, next, rows, scoring, world};
use crate::tests::{pass, run_tasks};
use crate::{Config, Io, Options, Socket};

/// A value that another thread takes out while it is encoded, and whose end is a mistake.
#[derive(Deserialize)]
struct Bomb(u32);

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(socket) = TAKEN.take() {
            drop(socket.take_data::<Self>());
        }
        serializer.serialize_u32(self.0)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert_ne!(self.0, 7, "as if the application had a mistake");
    }
}

thread_local!(static TAKEN: Cell<Option<Socket>> = const { Cell::new(None) });

/// Has the store of a server fail once.
fn fail(io: &Io, store: &Faulty) {
    Faulty::set(&store.failing, true);
    io.emit("news", 1);
    Faulty::set(&store.failing, false);
    assert!(!io.store().unwrap().complete);
}

/// While the values for the store are encoded, clients are served. What they are told is in the
/// batch that fills the store: a process that is killed behind this batch leaves no store that
/// looks complete, and knows less than the clients.
#[test]
fn f16_what_is_said_while_a_store_is_filled_is_in_the_same_batch() {
    let (disk, store, io) = world();
    let mut client = Client::new(&io);
    io.socket(&client.sid).unwrap().set_data(Score(1));
    let leaving = Client::new(&io);
    let socket = io.socket(&leaving.sid).unwrap();
    let away = Client::new(&io).cut();
    fail(&io, &store);
    assert_eq!(client.packets().len(), 1);
    let thread = io.clone();
    behind(move || {
        thread.emit("news", 2);
        socket.disconnect();
        run_tasks();
    });
    Faulty::set(&store.killed_next, true);
    pass(&io, 6_000);
    assert_eq!(client.packets().len(), 1, "everybody is served");
    kill(io, &store);
    let io = scoring(&Faulty::of(&disk));
    assert_eq!(io.recoverable(), 2, "a goodbye is final");
    let back = Client::back(&io, &away, None);
    assert_eq!(sent(&back.first), [r#"42["news",1"#, r#"42["news",2"#]);
}

/// The limit [`Options::max_store_queue_bytes`] while a store is filled: what was said is not all
/// there, so the store is no good, and is filled another time.
#[test]
fn f16_more_than_may_wait_while_a_store_is_filled_is_an_error() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let options = Options::default().shards(1).recovery(settings());
    let options = options.store(Arc::clone(&store) as Arc<dyn Store>);
    let io = Io::new(Config::default(), options.max_store_queue_bytes(20_000), DATED).unwrap();
    io.keep_data::<Score>("score");
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().set_data(Score(1));
    fail(&io, &store);
    let thread = io.clone();
    behind(move || {
        for _ in 0..4 {
            thread.emit("news", "x".repeat(30_000));
        }
    });
    Faulty::set(&store.killed_next, true);
    pass(&io, 6_000);
    let report = io.store().unwrap();
    assert_eq!((report.complete, report.stale, report.failures), (false, false, 2));
    assert!(disk.is_empty(), "what is out of date is gone");
    Faulty::set(&store.killed_next, false);
    pass(&io, 11_000);
    assert!(io.store().unwrap().complete);
}

/// Ends a server as its host does.
fn end(io: &Io) {
    io.close();
    run_tasks();
    Driver::new(io).clear();
}

/// A server ends while its store has failed. The store is tried a last time, whenever it would have
/// been its turn, and has everything if it works again.
#[test]
fn f16_a_server_that_ends_tries_a_failed_store_a_last_time() {
    let (disk, store, io) = world();
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().set_data(Score(1));
    let away = Client::new(&io).cut();
    fail(&io, &store);
    end(&io);
    assert_eq!(next(&disk, &client.pid), Some(1));
    let io = scoring(&Faulty::of(&disk));
    let back = Client::back(&io, &away, None);
    assert_eq!(sent(&back.first), [r#"42["news",1"#]);
}

/// A server ends while its store is filled again by another thread. The end does not wait for the
/// values to be encoded, and the other thread writes nothing behind it.
#[test]
fn f16_a_server_that_ends_while_its_store_is_filled_leaves_everything() {
    let (disk, store, io) = world();
    let client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.set_data(Score(1));
    let away = Client::new(&io).cut();
    fail(&io, &store);
    let (thread, on_disk) = (io.clone(), Arc::clone(&disk));
    let (found, rows) = mpsc::channel();
    behind(move || {
        socket.set_data(Score(2));
        thread.emit("news", 2);
        end(&thread);
        found.send(on_disk.len()).unwrap();
    });
    pass(&io, 6_000);
    assert_eq!(rows.recv(), Ok(disk.len()), "nothing is written after the end");
    assert_eq!(next(&disk, &client.pid), Some(2));
    let io = scoring(&Faulty::of(&disk));
    let back = Client::back(&io, &away, None);
    assert_eq!(sent(&back.first), [r#"42["news",1"#, r#"42["news",2"#]);
}

/// A server ends with a store that does not work. The store is emptied at least. If this does not
/// work either, the report says so also after the end.
#[test]
fn f16_a_server_that_ends_says_whether_its_store_is_out_of_date() {
    for can_empty in [true, false] {
        let (disk, store, io) = world();
        let pid = Client::new(&io).cut();
        Faulty::set(&store.failing, true);
        io.emit("news", 1);
        assert!(io.store().unwrap().stale && !disk.is_empty());
        Faulty::set(&store.full, can_empty);
        Faulty::set(&store.failing, !can_empty);
        end(&io);
        let report = io.store().unwrap();
        assert_eq!((report.complete, report.stale), (false, !can_empty));
        assert_eq!(disk.is_empty(), can_empty);
        // Nothing touches the store behind the end.
        Faulty::set(&store.failing, false);
        pass(&io, 1_000);
        end(&io);
        let report = io.store().unwrap();
        assert_eq!((report.stale, disk.is_empty()), (!can_empty, can_empty));
        if can_empty {
            let io = scoring(&Faulty::of(&disk));
            let back = Client::back(&io, &pid, None);
            assert!(!io.socket(&back.sid).unwrap().recovered());
        }
    }
    // It fails only at the end.
    let (disk, store, io) = world();
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().set_data(Score(1));
    Faulty::set(&store.full, true);
    end(&io);
    let report = io.store().unwrap();
    assert_eq!((report.complete, report.stale, disk.is_empty()), (false, false, true));
}

/// A middleware has given a socket a value that another thread takes out while the socket is let
/// in, and whose drop panics. The socket is let in all the same, and its handler is called.
#[test]
fn a_value_whose_drop_panics_keeps_nobody_out() {
    let (_disk, _store, io) = world();
    io.keep_data::<Bomb>("bomb");
    io.of("/").with(|socket: Socket| {
        socket.set_data(Bomb(7));
        TAKEN.set(Some(socket));
        Ok::<(), &'static str>(())
    });
    let (told, connected) = mpsc::channel();
    io.of("/").on_connect(move |_: Socket| told.send(()).unwrap());
    let client = Client::new(&io);
    assert!(TAKEN.take().is_none() && io.socket(&client.sid).unwrap().data::<Bomb>().is_none());
    assert_eq!(connected.try_iter().count(), 1);
}

/// While a store is filled again, a value of the application is dropped by the thread that fills
/// it, and this panics. The store is filled, and the thread goes on.
#[test]
fn f16_a_value_whose_drop_panics_does_not_stop_a_refill() {
    let (disk, store, io) = world();
    io.keep_data::<Bomb>("bomb");
    let client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.set_data(Score(1));
    socket.set_data(Bomb(7));
    let other = Client::new(&io);
    io.socket(&other.sid).unwrap().set_data(Score(2));
    fail(&io, &store);
    TAKEN.set(Some(socket));
    pass(&io, 6_000);
    assert!(io.store().unwrap().complete);
    assert_eq!(rows(&disk), [b"1", b"2"]);
    kill(io, &store);
    assert_eq!(next(&disk, &client.pid), Some(1));
}
