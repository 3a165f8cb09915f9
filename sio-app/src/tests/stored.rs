//! Recovery with a store: what one server has kept is good in the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::Waker;
use std::time::Duration;

use crate::adapter::{Driver, Runtime};
use crate::store::{Each, Memory, Row, Store, StoreError};
use crate::tests::recovery::{Client, DRAWING, packets, parts, sent, settings};
use crate::tests::stored_values::of_kind;
use crate::tests::{Driven, UPGRADE, now, pass, run_tasks, text};
use crate::turn::recovery::BEFORE_NOTED;
use crate::{Comeback, Config, Io, NotRecovered, Options, RecoveryConfig, RegisterError, Socket, check_store};

/// A runtime whose clock of dates goes with its time.
pub(super) const DATED: Runtime = Runtime {
    unix_time: || 784_111_777 + now() / 1_000_000,
    ..DRAWING
};

/// A store in memory that can fail, and that can lose its process.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    inner: Arc<Memory>,
    /// The process has been killed: nothing more reaches the store.
    killed: AtomicBool,
    /// It is killed behind the next rows that are written.
    pub(super) killed_next: AtomicBool,
    /// Nothing works.
    pub(super) failing: AtomicBool,
    /// Nothing can be written.
    pub(super) full: AtomicBool,
    panicking: AtomicBool,
}

impl Faulty {
    pub(super) fn of(inner: &Arc<Memory>) -> Arc<Self> {
        let inner = Arc::clone(inner);
        Arc::new(Self {
            inner,
            ..Self::default()
        })
    }

    pub(super) fn set(flag: &AtomicBool, to: bool) {
        flag.store(to, Ordering::Relaxed);
    }

    fn act(&self, act: impl FnOnce(&Memory) -> Result<(), StoreError>) -> Result<(), StoreError> {
        assert!(!self.panicking.load(Ordering::Relaxed), "as if the store had a mistake");
        match self.failing.load(Ordering::Relaxed) {
            true => Err(StoreError::Failed("no space left".into())),
            false if self.killed.load(Ordering::Relaxed) => Ok(()),
            false => act(&self.inner),
        }
    }
}

impl Store for Faulty {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn read(&self, each: Each<'_>) -> Result<(), StoreError> {
        self.inner.read(each)
    }

    fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(StoreError::Failed("no space left".into())),
            false => self.act(|inner| {
                inner.write(rows)?;
                Self::set(&self.killed, self.killed_next.load(Ordering::Relaxed));
                Ok(())
            }),
        }
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.act(Memory::clear)
    }
}

pub(super) fn stored(shards: usize, settings: RecoveryConfig, store: &Arc<Faulty>) -> Io {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    let options = Options::default().shards(shards).recovery(settings).store(store);
    let config = Config::default().ping_interval(Duration::from_secs(3600));
    let io = Io::new(config, options, DATED).unwrap();
    io.keep_data::<u32>("number");
    io
}

/// Ends the process of a server without a word.
pub(super) fn kill(io: Io, store: &Faulty) {
    Faulty::set(&store.killed, true);
    Driver::new(&io).clear();
}

/// Recovery F6, F7, R2, R5, R6: a server is killed, and the next one knows everything that clients
/// have been told.
#[test]
fn a_killed_server_has_lost_nothing() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let mut client = Client::new(&io);
    let away = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.join(["a", "b"]).unwrap();
    socket.leave("b");
    socket.set_data(7_u32);
    let (away_sid, away_pid) = (away.sid.clone(), away.cut());
    io.to("a").emit("news", 1);
    io.to("b").emit("news", 2);
    io.to(&away_sid).emit("alone", "you");
    io.emit("bytes", crate::Binary::from(vec![1, 2, 3]));
    let heard = client.packets();
    assert_eq!(heard.len(), 3);
    let (sid, pid, seen) = (client.sid.clone(), client.pid.clone(), parts(&heard[0]).1.to_owned());
    kill(io, &store);

    let store = Faulty::of(&disk);
    let io = stored(3, settings(), &store);
    assert_eq!(io.recoverable(), 2);
    io.to("a").emit("news", 3);
    let mut back = Client::back(&io, &pid, Some(&seen));
    assert_eq!((&back.sid, &back.pid), (&sid, &pid));
    let socket = io.socket(&sid).expect("found by the id of the other process");
    assert_eq!(socket.data::<u32>().as_deref(), Some(&7));
    assert_eq!(socket.rooms().len(), 2);
    assert_eq!((back.first.len(), parts(&back.first[2]).0), (3, r#"42["news",3"#));
    let seen = parts(&back.first[2]).1.to_owned();
    io.socket(&sid).unwrap().emit("news", 4).unwrap();
    assert_eq!(sent(&back.packets()), [r#"42["news",4"#]);
    let other = Client::back(&io, &away_pid, None);
    assert_eq!(
        other.first.len(),
        3,
        "the message to its id, and one with an attachment"
    );
    drop((back, other));
    kill(io, &store);

    // And once more, with an offset of the second process.
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let back = Client::back(&io, &pid, Some(&seen));
    assert_eq!(sent(&back.first), [r#"42["news",4"#]);
    assert_eq!(io.socket(&sid).unwrap().data::<u32>().as_deref(), Some(&7));
}

/// A shutdown leaves the clients to the next process.
#[test]
fn a_server_that_ends_leaves_its_clients_to_the_next() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let client = Client::new(&io);
    let left = Client::new(&io);
    io.socket(&left.sid).unwrap().disconnect();
    io.close();
    run_tasks();
    Driver::new(&io).clear();
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    assert_eq!(io.recoverable(), 1, "a goodbye is final");
    let back = Client::back(&io, &client.pid, None);
    assert_eq!(back.sid, client.sid);
}

/// An older process has written the rooms of a client whose record it could not keep. The next one
/// removes them, so that the client that gets the number of this record later is not in them.
#[test]
fn rooms_without_a_record_are_those_of_nobody() {
    const STAY: u8 = 3;
    const RECORD: u8 = 4;
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().join("a").unwrap();
    kill(io, &store);
    let records = of_kind(&disk, RECORD).into_iter();
    let records: Vec<Row> = records.map(|(key, _)| Row { key, value: None }).collect();
    assert_eq!((records.len(), of_kind(&disk, STAY).len()), (1, 2));
    disk.write(&records).unwrap();

    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    assert_eq!((io.recoverable(), of_kind(&disk, STAY).len()), (0, 0));
    let client = Client::new(&io);
    let numbers: Vec<_> = of_kind(&disk, RECORD).into_iter().map(|(key, _)| key).collect();
    assert_eq!(numbers, [records[0].key.clone()], "it has the number of the other one");
    kill(io, &store);

    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let back = Client::back(&io, &client.pid, None);
    let socket = io.socket(&back.sid).unwrap();
    assert!(socket.recovered());
    assert_eq!(socket.rooms().len(), 1, "the room of its id");
}

/// Recovery R10, F12: time goes on while no process runs, and those whose time is over are
/// reported.
#[test]
fn time_that_passes_between_two_processes_counts() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let early = Client::new(&io);
    io.socket(&early.sid).unwrap().set_data(5_u32);
    let (sid, pid) = (early.sid.clone(), early.cut());
    let late = Client::new(&io);
    pass(&io, 6_000);
    kill(io, &store);
    crate::tests::set_now(now() + 6_000_000);
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let (told, expired) = mpsc::channel();
    io.on_expired(move |socket| {
        let data = socket.data::<u32>().as_deref().copied();
        told.send((socket.id().to_string(), data)).unwrap();
    });
    pass(&io, 1_000);
    assert_eq!(expired.try_iter().collect::<Vec<_>>(), [(sid.clone(), Some(5))]);
    assert_ne!(Client::back(&io, &pid, None).sid, sid);
    // This one was there until the process was killed.
    assert_eq!(Client::back(&io, &late.pid, None).sid, late.sid);
}

/// The clock of the machine is set back while no process runs. Nobody is waited for, and nothing is
/// kept, for longer than the window.
#[test]
fn a_clock_that_is_set_back_makes_no_window_longer() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    crate::tests::set_now(3_600_000_000);
    let io = stored(1, settings(), &store);
    let (away, here) = (Client::new(&io).cut(), Client::new(&io));
    io.emit("news", 1);
    kill(io, &store);
    crate::tests::set_now(1_000_000);
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    assert_eq!(io.recoverable(), 2);
    pass(&io, 9_000);
    assert_eq!(sent(&Client::back(&io, &away, None).first), [r#"42["news",1"#]);
    pass(&io, 2_000);
    assert_eq!(io.recoverable(), 1);
    assert_ne!(Client::back(&io, &here.pid, None).sid, here.sid);
}

/// Recovery R2: a server has had no clients for a long time, and is killed a moment after the first
/// one has come. This client was there until then.
#[test]
fn r2_the_first_client_after_a_quiet_time_survives_a_kill() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    for _ in 0..60 {
        pass(&io, 1_000);
    }
    let client = Client::new(&io);
    kill(io, &store);
    crate::tests::set_now(now() + 1_000_000);
    let io = stored(1, settings(), &Faulty::of(&disk));
    pass(&io, 1_000);
    assert_eq!(Client::back(&io, &client.pid, None).sid, client.sid);
}

/// Recovery F16: an error of the store costs nobody anything, and the store is good again later.
#[test]
fn a_store_that_fails_is_filled_again() {
    for panics in [false, true] {
        let disk = Arc::new(Memory::default());
        let store = Faulty::of(&disk);
        let fault = if panics { &store.panicking } else { &store.failing };
        let io = stored(1, settings(), &store);
        let mut client = Client::new(&io);
        io.emit("news", 1);
        Faulty::set(fault, true);
        io.emit("news", 2);
        io.emit("news", 3);
        assert_eq!(client.packets().len(), 3, "everybody is served");
        let report = io.store().unwrap();
        assert_eq!((report.complete, report.failures), (false, 1));
        let pid = client.cut();
        io.emit("news", 4);
        let back = Client::back(&io, &pid, None);
        assert_eq!(back.first.len(), 4, "from memory");
        // The store is tried again from time to time.
        pass(&io, 6_000);
        assert_eq!(io.store().unwrap().failures, 2);
        Faulty::set(fault, false);
        io.socket(&back.sid).unwrap().join("late").unwrap();
        pass(&io, 11_000);
        assert!(io.store().unwrap().complete);
        io.to("late").emit("news", 5);
        kill(io, &store);
        let store = Faulty::of(&disk);
        let io = stored(1, settings().window(Duration::from_secs(60)), &store);
        let again = Client::back(&io, &pid, Some(parts(&back.first[3]).1));
        assert_eq!((&again.sid, sent(&again.first)), (&back.sid, vec![r#"42["news",5"#]));
        assert_eq!(io.socket(&again.sid).unwrap().rooms().len(), 2);
    }
}

/// Recovery F16: clients wait for each try to fill a store again, so a store that goes on failing
/// is tried less and less often. One that has worked for a while is tried soon.
#[test]
fn f16_a_store_that_goes_on_failing_is_tried_less_often() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let _client = Client::new(&io);
    let failures = |seconds: u32| {
        let before = io.store().unwrap().failures;
        (0..seconds).for_each(|_| pass(&io, 1_000));
        io.store().unwrap().failures - before
    };
    let again = || {
        Faulty::set(&store.failing, true);
        io.emit("news", 1);
        // After 5, 15, 35, 75, 155 and 315 seconds, and then each 320 seconds.
        assert_eq!((failures(6), failures(154), failures(160)), (1, 4, 1));
        assert_eq!(failures(960), 3);
        Faulty::set(&store.failing, false);
        assert_eq!(failures(320), 0);
        assert!(io.store().unwrap().complete);
    };
    again();
    // It fails at once when it is filled: this is no success.
    Faulty::set(&store.failing, true);
    io.emit("news", 1);
    assert_eq!((failures(310), failures(20)), (0, 1));
    Faulty::set(&store.failing, false);
    assert_eq!(failures(700), 0);
    again();
}

/// A server whose store has little room for what waits.
fn narrow(settings: RecoveryConfig, disk: &Arc<Memory>) -> Io {
    let store: Arc<dyn Store> = Arc::clone(disk) as _;
    let options = Options::default().shards(1).recovery(settings).store(store);
    let config = Config::default().ping_interval(Duration::from_secs(3600));
    Io::new(config, options.max_store_queue_bytes(20_000), DATED).unwrap()
}

/// The limit [`Options::max_store_queue_bytes`].
#[test]
fn more_than_may_wait_for_the_store_is_an_error_of_the_store() {
    let disk = Arc::new(Memory::default());
    let io = narrow(settings(), &disk);
    io.of("/").on("go", |socket: Socket, count: u32| {
        (0..count).for_each(|_| drop(socket.emit("news", "x".repeat(30_000))));
    });
    let mut client = Client::new(&io);
    // One message that is larger is no sign of a slow store.
    let _ = client.driven.read(&text(r#"42["go",1]"#));
    assert!(io.store().unwrap().complete);
    let _ = client.driven.read(&text(r#"42["go",4]"#));
    let report = io.store().unwrap();
    assert_eq!((report.complete, report.failures, report.waiting_bytes), (false, 1, 0));
    assert!(disk.is_empty(), "what is out of date is gone");
    assert!(client.driven.wall.take().len() > 150_000, "the client has everything");
}

/// The records of many clients end in one step, as after a kill from which nobody comes back. This
/// is no error of the store.
#[test]
fn f16_many_records_that_end_at_once_are_no_error_of_the_store() {
    let disk = Arc::new(Memory::default());
    let io = narrow(settings(), &disk);
    let leave = |io: &Io| {
        for _ in 0..100 {
            let client = Client::new(io);
            io.socket(&client.sid).unwrap().join(["a", "b", "c", "d"]).unwrap();
            client.cut();
            assert!(io.store().unwrap().complete);
        }
        assert!(disk.len() > 600);
    };
    leave(&io);
    let _here = Client::new(&io);
    pass(&io, 11_000);
    let check = |io: &Io| {
        let report = io.store().unwrap();
        assert_eq!((report.complete, report.failures, io.recoverable()), (true, 0, 1));
        assert!(disk.len() < 60);
    };
    check(&io);
    // And when a process begins that waits for fewer clients.
    leave(&io);
    Driver::new(&io).clear();
    check(&narrow(settings().max_away(1), &disk));
}

/// Whatever is wrong with a store, a server either does not start, or it knows what was written.
#[test]
fn a_damaged_store_is_recognised() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().join("a").unwrap();
    io.socket(&client.sid).unwrap().set_data(5_u32);
    io.to("a").emit("news", 1);
    kill(io, &store);
    check_store(&*disk).unwrap();
    let mut rows = Vec::new();
    disk.read(&mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    assert!(rows.len() > 7);
    for (key, value) in &rows {
        for at in 0..value.len() {
            let mut wrong = value.clone();
            wrong[at] ^= 1 << (at % 8);
            check_damaged(&disk, key, &wrong);
            check_damaged(&disk, key, &value[..at]);
        }
        let row = Row {
            key: key.clone(),
            value: Some(value.clone()),
        };
        disk.write(&[row]).unwrap();
    }
    check_store(&*disk).unwrap();
    let io = stored(1, settings(), &Faulty::of(&disk));
    assert_eq!(Client::back(&io, &client.pid, None).sid, client.sid);
}

fn check_damaged(disk: &Arc<Memory>, key: &[u8], wrong: &[u8]) {
    let row = Row {
        key: key.to_vec(),
        value: Some(wrong.to_vec()),
    };
    disk.write(&[row]).unwrap();
    assert!(matches!(check_store(&**disk), Err(StoreError::Damaged(_))));
    let before = disk.len();
    let io = stored(1, settings(), &Faulty::of(disk));
    assert!(matches!(io.check(), Err(RegisterError::Store(_))));
    assert_eq!(io.recoverable(), 0, "nothing has been taken over");
    Driver::new(&io).clear();
    assert_eq!(disk.len(), before, "what is damaged is left as it is");
}

/// A record that gets the number of one that is not there is in none of its rooms.
#[test]
fn rooms_without_their_record_are_removed() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().join(["a", "b"]).unwrap();
    kill(io, &store);
    let keys = |kind: u8| {
        let mut keys = Vec::new();
        let read = disk.read(&mut |key, _| {
            keys.extend((key[0] == kind).then(|| key.to_vec()));
            Ok(())
        });
        read.map(|()| keys).unwrap()
    };
    let (records, stays) = (keys(4), keys(3));
    assert_eq!((records.len(), stays.is_empty()), (1, false));
    let gone = |key| Row { key, value: None };
    disk.write(&records.into_iter().map(gone).collect::<Vec<_>>()).unwrap();
    let io = stored(1, settings(), &Faulty::of(&disk));
    assert_eq!((io.recoverable(), keys(3).len()), (0, 0));
}

/// Recovery F16: a store that can be read and not written is a store that has failed. The server
/// begins with what was read, and fills the store when it can.
#[test]
fn f16_a_store_that_cannot_be_cleaned_at_the_start_is_filled_again() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let pid = Client::new(&io).cut();
    io.emit("news", 1);
    kill(io, &store);
    // A row that belongs to nothing, as it was written by this process.
    let (mut key, mut value) = ([vec![5], 77_u64.to_be_bytes().to_vec()].concat(), b"7".to_vec());
    key.extend_from_slice(b"number");
    value.extend_from_slice(&crate::turn::rows::check(&key, &value).to_be_bytes());
    let value = Some(value);
    disk.write(&[Row {
        key: key.clone(),
        value,
    }])
    .unwrap();
    let store = Faulty::of(&disk);
    Faulty::set(&store.full, true);
    let io = stored(1, settings(), &store);
    io.check().expect("a server starts");
    let report = io.store().unwrap();
    assert_eq!((report.complete, report.stale, report.failures), (false, false, 1));
    assert!(disk.is_empty(), "what is out of date is gone");
    let back = Client::back(&io, &pid, None);
    assert_eq!(sent(&back.first), [r#"42["news",1"#], "from memory");
    let pid = back.cut();
    Faulty::set(&store.full, false);
    pass(&io, 6_000);
    assert!(io.store().unwrap().complete);
    kill(io, &store);
    assert_eq!(disk.get(&key).unwrap(), None);
    let io = stored(1, settings(), &Faulty::of(&disk));
    assert!(io.socket(&Client::back(&io, &pid, None).sid).unwrap().recovered());
}

/// Recovery R7: messages that were lost with a store are not missing without a word.
#[test]
fn a_store_that_is_older_than_its_clients_recovers_none_of_them() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let mut client = Client::new(&io);
    io.emit("news", 1);
    // The disk says that it has written, and has not.
    Faulty::set(&store.killed, true);
    io.emit("news", 2);
    let seen = parts(&client.packets()[1]).1.to_owned();
    kill(io, &store);
    let io = stored(1, settings(), &Faulty::of(&disk));
    let back = Client::back(&io, &client.pid, Some(&seen));
    let outcome = io.socket(&back.sid).unwrap().recovery();
    assert!(matches!(outcome, Comeback::Lost(NotRecovered::Truncated(_))));
}

/// Nothing is left in a store of clients that have come and gone.
#[test]
fn a_store_is_empty_when_everybody_is_gone() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let begins = disk.len();
    for n in 0..50_u32 {
        let client = Client::new(&io);
        let socket = io.socket(&client.sid).unwrap();
        for room in 0..30 {
            socket.join(format!("{n}-{room}")).unwrap();
            socket.leave(format!("{n}-{room}"));
        }
        socket.set_data(n);
        let pid = client.cut();
        io.to(format!("{n}-1")).emit("news", n);
        io.emit("news", n);
        if n % 3 == 0 {
            let _back = Client::back(&io, &pid, None);
        }
    }
    assert!(disk.len() > begins + 50);
    run_tasks();
    pass(&io, 11_000);
    assert_eq!(io.recoverable(), 0);
    assert_eq!(disk.len(), begins);
}

/// Has another thread do something when this one has queued something for a client, and has not
/// noted it for the store yet. It says how many rows of a kind it finds behind that.
#[expect(clippy::disallowed_methods, reason = "somebody has to come while the lock is held")]
fn meanwhile(io: &Io, disk: &Arc<Memory>, kind: u8, act: impl FnOnce(&Io) + Send + 'static) -> mpsc::Receiver<usize> {
    let (io, disk) = (io.clone(), Arc::clone(disk));
    let (found, rows) = mpsc::channel();
    let (done, waits) = mpsc::channel();
    BEFORE_NOTED.set(Some(Box::new(move || {
        std::thread::spawn(move || {
            act(&io);
            found.send(of_kind(&disk, kind).len()).unwrap();
            let _ = done.send(());
        });
        // It has to wait for this step, so it is not done in time.
        let _ = waits.recv_timeout(Duration::from_millis(100));
    })));
    rows
}

/// Recovery F7: one thread lets a client in, or sends an event, and another thread writes it out
/// before the first one is done. The client hears nothing that is not in the store.
#[test]
fn f7_a_thread_that_writes_out_a_step_of_another_one_waits_for_its_end() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let write_out = |io: &Io| {
        let _ = Driver::new(io).handle_timeout(0, Waker::noop());
    };
    let mut driven = Driven::new(&io, usize::MAX);
    let _ = driven.read(UPGRADE);
    drop(driven.written());
    let records = meanwhile(&io, &disk, 4, write_out);
    let _ = driven.read(&text("40"));
    assert_eq!(records.recv(), Ok(1));
    assert!(packets(&mut driven)[0].starts_with("40{"), "the client is told");
    let messages = meanwhile(&io, &disk, 7, write_out);
    io.emit("news", 1);
    assert_eq!(messages.recv(), Ok(1));
    assert_eq!(sent(&packets(&mut driven)), [r#"42["news",1"#]);
}

/// Recovery F7: the same for a client that polls, whose request is brought by the other thread.
#[test]
fn f7_a_poll_that_takes_what_another_thread_sends_waits_for_its_end() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let mut client = Driven::new(&io, usize::MAX);
    let target = "/socket.io/?EIO=4&transport=polling";
    let _ = client.read(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let id = client.written().split('"').nth(3).unwrap().to_owned();
    let target = format!("{target}&sid={id}");
    let post = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40");
    let _ = client.read(post.as_bytes());
    let get = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let _ = client.read(get.as_bytes());
    assert!(client.written().contains("40{"));
    let (said, answer) = mpsc::channel();
    let messages = meanwhile(&io, &disk, 7, move |io| {
        let mut client = Driven::new(io, usize::MAX);
        let _ = client.read(get.as_bytes());
        said.send(client.written()).unwrap();
    });
    io.emit("news", 1);
    assert_eq!(messages.recv(), Ok(1));
    assert!(answer.recv().unwrap().contains(r#"42["news",1"#));
}
