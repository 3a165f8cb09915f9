//! A server with a store ends, and the next process takes over what it has kept, while other
//! servers of its cluster go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::NotRecovered;
use crate::store::{Memory, Store};
use crate::tests::stored::{Faulty, kill};

/// Two servers without a store, and one with a store, which is killed and follows itself.
struct Restarts {
    servers: Servers,
    disk: Arc<Memory>,
    store: Arc<Faulty>,
    /// How many clients the middleware of the last process was asked about.
    asked: Arc<AtomicUsize>,
    /// The values of the records that have ended unused in the last process.
    expired: Arc<Mutex<Vec<Option<u32>>>>,
    /// Whether the next process makes connections to Redis.
    joins: bool,
}

/// The place of the server with the store.
const STORED: usize = 2;

/// What a client knows when it was cut.
struct Cut {
    id: String,
    pid: String,
    offset: String,
}

impl Restarts {
    fn new() -> Self {
        let disk = Arc::new(Memory::default());
        let mut all = Self {
            servers: Servers::new(|cluster| cluster, |io| drop(io.of_pattern("/t*"))),
            store: Faulty::of(&disk),
            disk,
            asked: Arc::default(),
            expired: Arc::default(),
            joins: true,
        };
        all.begin(true);
        all
    }

    /// Begins a process with the store. `is_up` says whether Redis answers it.
    fn begin(&mut self, is_up: bool) {
        self.store = Faulty::of(&self.disk);
        let (store, asked, expired) = (
            Arc::clone(&self.store),
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<Option<u32>>>>::default(),
        );
        (self.asked, self.expired) = (Arc::clone(&asked), Arc::clone(&expired));
        let recovery = RecoveryConfig::default();
        let with = |options: Options| options.store(Arc::clone(&store) as Arc<dyn Store>);
        let io = server(
            &recovery,
            |cluster| cluster,
            with,
            |io| {
                io.keep_data::<u32>("number");
                let (asked, expired) = (Arc::clone(&asked), Arc::clone(&expired));
                io.of("/").with(move |_: Socket| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, crate::Refusal>(())
                });
                io.on_expired(move |socket| {
                    let value = socket.data::<u32>().as_deref().copied();
                    expired.lock().unwrap().push(value);
                });
                drop(io.of_pattern("/t*"));
                io.of("/").on("hear", |_: Socket| ());
            },
        );
        if self.joins {
            let _ = io.cluster_to_join();
        }
        self.servers.ios.push(io);
        self.servers.model.borrow_mut().read.push(None);
        self.servers.settle();
        if is_up {
            up(&self.servers.ios[STORED], true);
            self.servers.settle();
        }
        self.servers.pass(20 * MILLISECOND);
    }

    fn kill(&mut self) {
        self.servers.model.borrow_mut().read.pop();
        kill(self.servers.ios.pop().unwrap(), &self.store);
    }

    fn say(&self, room: &str, number: u64) {
        self.servers.ios[0].to(room.to_owned()).emit("n", number);
        self.servers.settle();
    }

    /// A client that is in a room, has a value, a deadline and shared data, was confirmed two
    /// events, and has got the first event. It is cut when the process is killed.
    fn client_is_killed(&mut self) -> Cut {
        self.client_is_killed_after(|_| ())
    }

    /// The same. This happens when the client has got the event.
    fn client_is_killed_after(&mut self, act: impl FnOnce(&Self)) -> Cut {
        let io = &self.servers.ios[STORED];
        let mut client = Driven::new(io, usize::MAX);
        let _ = client.read(crate::tests::UPGRADE);
        let _ = client.read(&text(r#"40{"sio.confirmed":0}"#));
        let (id, pid) = told(&mut client);
        let socket = io.socket(&id).unwrap();
        socket.join("red").unwrap();
        socket.set_data(7_u32);
        socket.expires_in(Duration::from_secs(50));
        socket.set_shared_data("shared").unwrap();
        for _ in 0..2 {
            let _ = client.read(&text(r#"42["hear"]"#));
        }
        self.servers.pass(Duration::from_secs(1));
        self.say("red", 1);
        let offset = client.written().rsplit('"').nth(1).unwrap().to_owned();
        act(self);
        self.servers.pass(Duration::from_secs(1));
        self.kill();
        drop(client);
        run_tasks();
        Cut { id, pid, offset }
    }

    /// The client comes back. Returns it with what it has read, and whether it is the same socket.
    fn back(&self, server: usize, cut: &Cut) -> (Driven, String, bool) {
        let mut back = Driven::new(&self.servers.ios[server], usize::MAX);
        let _ = back.read(crate::tests::UPGRADE);
        let Cut { id, pid, offset } = cut;
        let confirmed = if server == STORED { r#","sio.confirmed":2"# } else { "" };
        let _ = back.read(&text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"{confirmed}}}"#)));
        self.servers.settle();
        let written = back.written();
        let is_back = written.contains(&format!("\"sid\":\"{id}\""));
        self.servers.pass(20 * MILLISECOND);
        (back, written, is_back)
    }

    fn counts(&self) -> (usize, usize) {
        (self.asked.load(Ordering::Relaxed), self.expired.lock().unwrap().len())
    }

    /// The stream has lost this entry.
    fn trim(&self, place: &str) {
        let mut model = self.servers.model.borrow_mut();
        let entry = model.entries.iter_mut().find(|entry| entry.id == place.as_bytes());
        entry.unwrap().id = "784111776000-1".into();
    }

    /// A client with this CONNECT. Returns it with what it has read.
    fn connect(&self, server: usize, packet: &str) -> (Driven, String) {
        let mut client = Driven::new(&self.servers.ios[server], usize::MAX);
        let _ = client.read(crate::tests::UPGRADE);
        let _ = client.written();
        let _ = client.read(&text(packet));
        self.servers.settle();
        let written = client.written();
        self.servers.pass(20 * MILLISECOND);
        (client, written)
    }
}

/// Recovery R7: a client of a server that was killed comes back to the next process, with all that
/// the store has kept. What other servers have said while no process was here is read from the
/// stream, and the client hears everything once.
#[test]
fn r7_a_client_hears_what_was_said_while_no_process_was_here() {
    let mut all = Restarts::new();
    let mut cut = all.client_is_killed();
    // And once more, by a client that has not been back in between.
    for round in 0..2 {
        all.say("red", 2 + 10 * round);
        all.say("blue", 3 + 10 * round);
        let before = all.servers.records();
        all.begin(true);
        all.say("red", 4 + 10 * round);
        assert_eq!(all.servers.records(), before, "the next process has said nothing yet");
        let (mut back, written, is_back) = all.back(STORED, &cut);
        assert!(is_back, "{written}");
        assert_eq!(numbers_of(&written), [2 + 10 * round, 4 + 10 * round], "{written}");
        all.say("red", 5 + 10 * round);
        assert_eq!(numbers_of(&back.written()), [5 + 10 * round]);
        let socket = all.servers.ios[STORED].socket(&cut.id).unwrap();
        assert!(matches!(socket.recovery(), Comeback::Recovered { missed: 2 }));
        assert_eq!(socket.data::<u32>().as_deref(), Some(&7));
        assert_eq!(socket.shared_data_json(), "\"shared\"");
        assert!(socket.expires().is_some() && socket.rooms().iter().any(|room| **room == *"red"));
        assert_eq!(all.counts(), (0, 0), "no middleware is asked, and nobody has expired");
        assert_eq!(all.servers.records().len(), 1);
        all.say("red", 6 + 10 * round);
        cut.offset = back.written().rsplit('"').nth(1).unwrap().to_owned();
        all.kill();
        drop(back);
        run_tasks();
    }
}

/// Recovery R7: nobody can say what was said while no process was here, or whether the client has
/// been to another server meanwhile. The client is told that it is not recovered.
#[test]
fn r7_without_redis_a_client_of_the_last_process_is_not_recovered() {
    for what in ["not there yet", "silent", "empty"] {
        let mut all = Restarts::new();
        let cut = all.client_is_killed();
        all.say("red", 2);
        all.begin(what != "not there yet");
        match what {
            "empty" => all.servers.model.borrow_mut().values.clear(),
            _ => all.servers.fail(Fault::Silent),
        }
        let (_back, written, is_back) = all.back(STORED, &cut);
        assert!(!is_back && numbers_of(&written).is_empty(), "{what}: {written}");
        let socket = &all.servers.ios[STORED].sockets()[0];
        let why = socket.recovery();
        assert!(
            matches!(why, Comeback::Lost(NotRecovered::Truncated(_) | NotRecovered::Unknown)),
            "{what}: {why:?}"
        );
        assert_eq!(all.counts().0, 1, "a middleware is asked");
    }
}

/// A client that is faster than the first connection to Redis waits for it.
#[test]
fn a_client_of_the_last_process_waits_for_redis() {
    let mut all = Restarts::new();
    let cut = all.client_is_killed();
    all.say("red", 2);
    all.begin(false);
    let (_back, written, is_back) = all.back(STORED, &cut);
    assert!(is_back, "{written}");
    assert_eq!(numbers_of(&written), [2]);
    up(&all.servers.ios[STORED], true);
    all.servers.settle();
    all.servers.pass(20 * MILLISECOND);
    assert_eq!(all.servers.records().len(), 1);
}

/// The client has gone to another server while no process was here. The next process writes nothing
/// over its record, also when Redis is back again, and takes the client over as any other server
/// does.
#[test]
fn a_record_of_another_server_is_not_written_over_by_the_next_process() {
    let mut all = Restarts::new();
    let mut cut = all.client_is_killed();
    let (mut there, written, is_there) = all.back(1, &cut);
    assert!(is_there, "{written}");
    all.servers.ios[1].socket(&cut.id).unwrap().leave("red");
    all.servers.pass(20 * MILLISECOND);
    let newest = all.servers.records();
    all.begin(true);
    for is_up in [false, true] {
        up(&all.servers.ios[STORED], is_up);
        all.servers.settle();
        all.servers.pass(20 * MILLISECOND);
    }
    assert_eq!(all.servers.records(), newest);
    all.servers.ios[0].emit("n", 8);
    all.servers.settle();
    cut.offset = there.written().rsplit('"').nth(1).unwrap().to_owned();
    drop(there);
    all.servers.settle();
    all.say("red", 9);
    // The events of the client are counted anew on the other server.
    let Cut { id, pid, offset } = &cut;
    let mut back = Driven::new(&all.servers.ios[STORED], usize::MAX);
    let _ = back.read(crate::tests::UPGRADE);
    let _ = back.read(&text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#)));
    all.servers.settle();
    let written = back.written();
    assert!(written.contains(&format!("\"sid\":\"{id}\"")), "{written}");
    assert!(numbers_of(&written).is_empty(), "it has left the room: {written}");
    let socket = all.servers.ios[STORED].socket(id).unwrap();
    assert_eq!(
        (socket.rooms().len(), socket.shared_data_json()),
        (1, "\"shared\"".into())
    );
    assert_eq!(all.counts(), (1, 0), "a middleware is asked, and nobody has expired");
}

/// The client goes to another server when the next process is here. The next process lets it go,
/// although it has never written its record.
#[test]
fn the_next_process_lets_a_client_go() {
    let mut all = Restarts::new();
    let cut = all.client_is_killed();
    all.begin(true);
    assert_eq!(all.servers.ios[STORED].recoverable(), 1);
    let (_there, written, is_there) = all.back(1, &cut);
    assert!(is_there, "{written}");
    assert_eq!(all.servers.ios[STORED].recoverable(), 0);
}

/// Recovery R9: the next process revokes a client that is away, whose record another process has
/// written. No other server recovers it.
#[test]
fn r9_the_next_process_revokes_for_all_servers() {
    let mut all = Restarts::new();
    let cut = all.client_is_killed();
    all.begin(true);
    assert_eq!(all.servers.records().len(), 1);
    assert_eq!(all.servers.ios[STORED].revoke(|_| true), 1);
    all.servers.settle();
    assert!(all.servers.records().is_empty());
    for server in [1, STORED] {
        let (_back, written, is_back) = all.back(server, &cut);
        assert!(!is_back, "{written}");
    }
}

/// A server that has no connections to Redis, and makes none, lets a client of the last process in
/// as a new one. Nobody would answer it, whatever time passes.
#[test]
fn a_client_does_not_wait_for_a_redis_to_which_nobody_connects() {
    for joins in [false, true] {
        let mut all = Restarts::new();
        let cut = all.client_is_killed();
        all.joins = joins;
        all.begin(false);
        if joins {
            node(&all.servers.ios[STORED]).be_alone();
        }
        let (_back, written, is_back) = all.back(STORED, &cut);
        assert!(written.contains("40{\"sid\"") && !is_back, "{joins}: {written}");
        let why = all.servers.ios[STORED].sockets()[0].recovery();
        assert!(matches!(why, Comeback::Lost(NotRecovered::Truncated(_))), "{why:?}");
    }
}

/// The same for a client that waits already when it turns out that nobody connects, and for one
/// that is about to ask.
#[test]
fn a_client_that_waits_for_redis_is_let_in_when_nobody_connects() {
    let mut all = Restarts::new();
    let cut = all.client_is_killed();
    all.begin(false);
    let alone = node(&all.servers.ios[STORED]);
    let mut waiting = Driven::new(&all.servers.ios[STORED], usize::MAX);
    let _ = waiting.read(crate::tests::UPGRADE);
    let Cut { pid, offset, .. } = &cut;
    let _ = waiting.read(&text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#)));
    // Nothing of what was asked leaves the server.
    run_tasks();
    let written = waiting.written();
    assert!(!written.contains("40{"), "{written}");
    alone.be_alone();
    run_tasks();
    let written = waiting.written();
    assert!(
        written.contains("40{\"sid\"") && !written.contains(&cut.id),
        "{written}"
    );
    let key = Bytes::from_static(b"key");
    let mut asking = pin!(alone.ask_broker(Request::Take { key }));
    let answer = poll(asking.as_mut());
    assert!(matches!(answer, Poll::Ready(Err(_))), "{answer:?}");
}

/// A namespace that only a rule knows is heard before anybody is there, when somebody comes back to
/// it: to the next process, and to a server on which it has never been.
#[test]
fn a_client_comes_back_to_a_namespace_of_a_rule_in_which_nobody_is() {
    for server in [STORED, 1] {
        let mut all = Restarts::new();
        let _other = all.connect(0, "40/t1,");
        let say = |all: &Restarts, number: u64| {
            all.servers.ios[0].of("/t1").emit("n", number);
            all.servers.settle();
        };
        let (mut client, written) = all.connect(STORED, "40/t1,");
        let part = |written: &str, name: &str| {
            let at = written.find(name).unwrap_or_else(|| panic!("{written}")) + name.len();
            written[at..].split('"').next().unwrap().to_owned()
        };
        let (id, pid) = (part(&written, "40/t1,{\"sid\":\""), part(&written, "\"pid\":\""));
        say(&all, 1);
        let offset = part(&client.written(), "[\"n\",1,\"");
        all.servers.pass(Duration::from_secs(1));
        all.kill();
        drop(client);
        run_tasks();
        say(&all, 2);
        all.begin(true);
        say(&all, 3);
        let (mut back, written) = all.connect(server, &format!(r#"40/t1,{{"pid":"{pid}","offset":"{offset}"}}"#));
        assert!(written.contains(&format!("\"sid\":\"{id}\"")), "{server}: {written}");
        assert_eq!(numbers_of(&written), [2, 3], "{server}");
        say(&all, 4);
        assert_eq!(numbers_of(&back.written()), [4], "{server}");
        // It is away once more, and hears what is said meanwhile.
        drop(back);
        all.servers.settle();
        all.servers.pass(Duration::from_secs(4));
        say(&all, 5);
        let (_back, written) = all.connect(server, &format!(r#"40/t1,{{"pid":"{pid}","offset":"{offset}"}}"#));
        assert_eq!(numbers_of(&written), [2, 3, 4, 5], "{server}");
    }
}

/// What the last process has heard is in its log and is not read again. So a client that was quiet
/// for long costs little, and is recovered although the stream has lost its offset.
#[test]
fn what_the_log_has_is_not_read_from_the_stream_again() {
    let mut all = Restarts::new();
    let cut = all.client_is_killed_after(|all| {
        all.say("red", 2);
        (0..60).for_each(|number| all.say("blue", number));
        all.say("red", 3);
    });
    all.trim(&cut.offset);
    all.say("red", 4);
    all.begin(true);
    let before = all.servers.model.borrow().asked;
    let (_back, written, is_back) = all.back(STORED, &cut);
    assert!(is_back, "{written}");
    assert_eq!(numbers_of(&written), [2, 3, 4]);
    let asked = all.servers.model.borrow().asked - before;
    assert!(asked < 10, "{asked}");
}

/// A client has moved here from another server and has heard nothing since. The next process reads
/// what it has missed from the stream, from its offset on.
#[test]
fn a_client_that_moved_here_comes_back_to_the_next_process() {
    let mut all = Restarts::new();
    let mut client = join(&all.servers.ios[1]);
    let (id, pid) = told(&mut client);
    all.servers.ios[1].socket(&id).unwrap().join("red").unwrap();
    all.servers.pass(20 * MILLISECOND);
    all.say("red", 1);
    let offset = client.written().rsplit('"').nth(1).unwrap().to_owned();
    drop(client);
    all.servers.settle();
    all.say("red", 2);
    let packet = format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#);
    let (client, written) = all.connect(STORED, &packet);
    assert_eq!(numbers_of(&written), [2], "{written}");
    all.kill();
    drop(client);
    run_tasks();
    all.say("red", 3);
    all.begin(true);
    let (_back, written) = all.connect(STORED, &packet);
    assert!(written.contains(&format!("\"sid\":\"{id}\"")), "{written}");
    assert_eq!(numbers_of(&written), [2, 3], "{written}");
}

/// A client has been to another server, and what it has missed cannot be read. The application is
/// told of the socket that it knows, with its values.
#[test]
fn the_socket_of_the_store_is_reported_if_reading_fails() {
    let mut all = Restarts::new();
    let mut cut = all.client_is_killed();
    let (mut there, written, is_there) = all.back(1, &cut);
    assert!(is_there, "{written}");
    all.say("red", 2);
    cut.offset = there.written().rsplit('"').nth(1).unwrap().to_owned();
    drop(there);
    all.servers.settle();
    all.begin(true);
    all.trim(&cut.offset);
    let (_back, written, is_back) = all.back(STORED, &cut);
    assert!(!is_back, "{written}");
    assert_eq!(*all.expired.lock().unwrap(), [Some(7)]);
}
