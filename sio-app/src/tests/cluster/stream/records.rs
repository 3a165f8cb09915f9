//! Records of clients in Redis, and what clients that come back cost.

use super::*;

/// What was written for clients that never come back is forgotten.
#[test]
fn records_that_end_unused_are_forgotten() {
    let servers = plain();
    for _ in 0..10 {
        drop(join(&servers.ios[0]));
        servers.pass(20 * MILLISECOND);
    }
    assert_eq!(node(&servers.ios[0]).known_records(), 10);
    for _ in 0..4 {
        servers.pass(WINDOW);
    }
    assert_eq!(node(&servers.ios[0]).known_records(), 0);
}

/// A server whose Redis comes back does not write the old record of a client that has gone on.
#[test]
fn an_old_record_does_not_replace_a_newer_one() {
    let servers = plain();
    let (_back, is_back, written) = come_back(&servers, || {
        up(&servers.ios[0], false);
        servers.hold(0, 0);
    });
    assert!(is_back, "{written}");
    socket(&servers.ios[1]).leave("red");
    servers.pass(20 * MILLISECOND);
    let newest = servers.records();
    up(&servers.ios[0], true);
    servers.settle();
    for _ in 0..2 {
        servers.pass(20 * MILLISECOND);
    }
    assert_eq!(servers.records(), newest);
    servers.release(0);
    servers.pass(20 * MILLISECOND);
    assert_eq!(servers.records(), newest);
    // What Redis has forgotten is written again.
    servers.model.borrow_mut().values.clear();
    up(&servers.ios[1], false);
    up(&servers.ios[1], true);
    servers.settle();
    servers.pass(20 * MILLISECOND);
    assert_eq!(servers.records().len(), 1);
}

/// Redis has forgotten the record of a client, and no server has taken it over.
#[test]
fn a_record_that_redis_has_forgotten_is_known_to_its_own_server() {
    let servers = plain();
    for is_unknown in [false, true] {
        let (back, is_back, written) = come_back(&servers, || {});
        assert!(is_back, "{written}");
        let mut again = {
            let mut client = join(&servers.ios[1]);
            let (id, pid) = told(&mut client);
            servers.pass(20 * MILLISECOND);
            drop(client);
            servers.pass(20 * MILLISECOND);
            let model = &mut *servers.model.borrow_mut();
            assert!(model.values.values().count() >= 2);
            model.values.clear();
            (id, pid)
        };
        if is_unknown {
            // Nobody has a record with this secret.
            again.1.replace_range(..1, "_");
        }
        let mut client = Driven::new(&servers.ios[1], usize::MAX);
        let _ = client.read(crate::tests::UPGRADE);
        let _ = client.read(&text(&format!(r#"40{{"pid":"{}"}}"#, again.1)));
        servers.settle();
        let written = client.written();
        assert_eq!(
            written.contains(&format!("\"sid\":\"{}\"", again.0)),
            !is_unknown,
            "{written}"
        );
        drop((client, back));
        servers.settle();
        servers.pass(20 * MILLISECOND);
        assert!(!servers.records().is_empty(), "it is written again");
    }
}

/// What Redis has not deleted is deleted later.
#[test]
fn a_goodbye_that_redis_has_not_heard_is_repeated() {
    for is_down in [false, true] {
        let servers = plain();
        let mut client = join(&servers.ios[0]);
        servers.pass(20 * MILLISECOND);
        assert_eq!(servers.records().len(), 1);
        match is_down {
            true => servers.up(false),
            false => servers.fail(Fault::Refused),
        }
        let _ = client.read(&text("41"));
        servers.settle();
        assert_eq!((servers.records().len(), node(&servers.ios[0]).due_records().1), (1, 1));
        servers.fail(Fault::None);
        match is_down {
            true => servers.up(true),
            false => servers.pass(Duration::from_secs(2)),
        }
        servers.settle();
        assert_eq!((servers.records().len(), node(&servers.ios[0]).due_records().1), (0, 0));
    }
}

/// While Redis is away, nothing is kept in mind of records that begin: all are written later.
#[test]
fn an_outage_marks_no_records() {
    let servers = plain();
    servers.up(false);
    let clients = [(); 10].map(|()| join(&servers.ios[0]));
    assert_eq!(node(&servers.ios[0]).due_records(), (0, 0));
    servers.up(true);
    servers.pass(20 * MILLISECOND);
    assert_eq!(servers.records().len(), clients.len());
}

/// What all clients that come back have missed together is bounded while it is read.
#[test]
fn clients_that_come_back_share_their_room() {
    let missed = |servers: &Servers| {
        for number in 0..100 {
            servers.ios[0].to("red").emit("n", number);
        }
        servers.settle();
    };
    for (most, is_back) in [(1 << 20, true), (1000, false)] {
        let recovery = RecoveryConfig::default().max_brought_bytes(most);
        let servers = Servers::with_recovery(&recovery, |cluster| cluster, |_| {});
        let (_client, came, written) = come_back(&servers, || missed(&servers));
        assert_eq!(came, is_back, "{written}");
        let asked = servers.model.borrow().asked;
        assert_eq!(asked > 100, is_back, "{asked} entries were read");
    }
}

/// There is one limit for the time that a client waits for all of the stream.
#[test]
fn a_client_does_not_wait_for_a_slow_stream() {
    let servers = plain();
    let (_client, is_back, written) = come_back(&servers, || {
        for number in 0..200 {
            servers.ios[0].to("red").emit("n", number);
        }
        servers.settle();
        servers.model.borrow_mut().slow = Duration::from_secs(8);
    });
    assert!(!is_back, "{written}");
    let asked = servers.model.borrow().asked;
    assert!((26..=100).contains(&asked), "{asked} entries were read");
}

/// The caller of `emit` has gone on when an event is found to be too large for the queues.
#[test]
fn errors_of_events_that_wait_for_the_stream_are_reported() {
    let servers = plain();
    let errors = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&errors);
    servers.ios[0].on_error(move |_, event, error| noted.lock().unwrap().push(format!("{event}: {error}")));
    let mut clients = servers.clients();
    servers.ios[0].emit("large", "x".repeat(12 << 20));
    servers.settle();
    let errors = errors.lock().unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("large: "), "{errors:?}");
    assert_eq!(heard(&mut clients[0]).0, [0; 0]);
}

/// A client that shows an old offset is not sent what was said to a room before it has joined it,
/// on whatever server, and all that was said to it since.
#[test]
fn what_was_said_before_a_client_joins_is_not_for_it() {
    let servers = plain();
    let mut client = join(&servers.ios[0]);
    let (id, pid) = told(&mut client);
    servers.pass(20 * MILLISECOND);
    servers.ios[1].emit("n", 1);
    servers.settle();
    let written = client.written();
    let offset = written.rsplit('"').nth(1).unwrap().to_owned();
    servers.ios[1].to("red").emit("n", 2);
    servers.settle();
    socket(&servers.ios[0]).join("red").unwrap();
    servers.pass(20 * MILLISECOND);
    drop(client);
    for number in [3, 4] {
        servers.ios[number % 2].to("red").emit("n", number);
        servers.settle();
    }
    // It is cut off before it has got anything, and comes back elsewhere, and once more.
    for at in [1, 0, 1] {
        let mut back = Driven::new(&servers.ios[at], usize::MAX);
        let _ = back.read(crate::tests::UPGRADE);
        let _ = back.read(&text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#)));
        servers.settle();
        let written = back.written();
        assert!(written.contains(&format!("\"sid\":\"{id}\"")), "{at}: {written}");
        assert_eq!(numbers_of(&written), [3, 4], "{at}: {written}");
        servers.pass(20 * MILLISECOND);
    }
}

/// While a namespace of a rule has no members at a server, a client that comes back to its own
/// server gets what others have said there.
#[test]
fn a_client_gets_what_others_have_said_while_nobody_was_in_its_namespace() {
    let servers = Servers::new(|cluster| cluster, |io| drop(io.of_pattern("/t*")));
    let open = |server: usize, packet: &str| {
        let mut client = Driven::new(&servers.ios[server], usize::MAX);
        let _ = client.read(crate::tests::UPGRADE);
        let _ = client.read(&text(packet));
        servers.pass(20 * MILLISECOND);
        client
    };
    let say = |number| {
        servers.ios[1].of("/t1").emit("n", number);
        servers.settle();
    };
    for is_closed in [false, true] {
        let _other = open(1, "40/t1,");
        let stays = (!is_closed).then(|| open(0, "40/t1,"));
        let mut client = open(0, "40/t1,");
        say(1);
        let written = client.written();
        let part = |name: &str| {
            let at = written.find(name).unwrap_or_else(|| panic!("{written}")) + name.len();
            written[at..].split('"').next().unwrap()
        };
        let (id, pid, offset) = (part("40/t1,{\"sid\":\""), part("\"pid\":\""), part("[\"n\",1,\""));
        drop(client);
        servers.settle();
        servers.pass(20 * MILLISECOND);
        say(2);
        // It opens the namespace again.
        let _newer = open(0, "40/t1,");
        say(3);
        let mut back = open(0, &format!(r#"40/t1,{{"pid":"{pid}","offset":"{offset}"}}"#));
        let written = back.written();
        assert!(written.contains(&format!("\"sid\":\"{id}\"")), "{is_closed}: {written}");
        assert_eq!(numbers_of(&written), [2, 3], "{is_closed}");
        drop(stays);
    }
}

/// What the new server has sent early is among what the client has missed.
#[test]
fn a_client_that_comes_back_gets_what_was_sent_early() {
    let servers = plain();
    let (mut back, ..) = come_back(&servers, || servers.hold(1, 0));
    servers.ios[1].to("red").emit("n", 7);
    servers.settle();
    servers.pass(250 * MILLISECOND);
    // The fence is read, and the event is not.
    let fence = servers.model.borrow().read[1].unwrap() + 1;
    servers.model.borrow_mut().readable.insert(1, fence);
    servers.settle();
    servers.release(1);
    assert_eq!(heard(&mut back).0, [2, 7]);
    servers.pass(Duration::from_secs(1));
    assert_eq!(heard(&mut back).0, [0; 0], "once");
}

/// Recovery R9: a client comes from another server, and a middleware refuses it here, or its
/// connection is cut before it is let in. Then the process is killed. The store knows nothing of
/// the client, so the next process asks its middleware, as about any client of another server. It
/// does not ask about a client that was let in, which has its id and its rooms.
#[test]
fn r9_a_store_does_not_know_a_client_that_was_not_let_in() {
    use crate::store::{Memory, Store};
    use crate::tests::stored::{Faulty, kill};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    for what in ["let in", "refused", "cut"] {
        let mut servers = plain();
        let disk = Arc::new(Memory::default());
        let store = Faulty::of(&disk);
        let asked = Arc::new(AtomicUsize::new(0));
        let register = |io: &Io| {
            let asked = Arc::clone(&asked);
            io.of("/").with(move |_: Socket| {
                asked.fetch_add(1, Ordering::Relaxed);
                if what == "refused" { Err("no") } else { Ok(()) }
            });
        };
        let with = |store: &Arc<Faulty>| {
            let store = Arc::clone(store);
            move |options: Options| options.store(Arc::clone(&store) as Arc<dyn Store>)
        };
        servers.add_with(with(&store), |_| {});
        let mut client = join(&servers.ios[0]);
        let (id, pid) = told(&mut client);
        servers.ios[0].sockets()[0].join("red").unwrap();
        let mut witness = join(&servers.ios[2]);
        register(&servers.ios[2]);
        servers.pass(20 * MILLISECOND);
        servers.ios[1].to("red").emit("n", 1);
        servers.settle();
        let last = |client: &mut Driven| client.written().rsplit('"').nth(1).unwrap().to_owned();
        let show = |offset: String| text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#));
        let offset = last(&mut client);
        drop(client);
        servers.settle();
        let mut back = Driven::new(&servers.ios[2], usize::MAX);
        let _ = back.read(crate::tests::UPGRADE);
        crate::turn::admit::CUT.set(what == "cut");
        let _ = back.read(&show(offset));
        servers.settle();
        assert_eq!(back.written().contains(&id), what == "let in");
        assert_eq!((servers.counts(2).restored, asked.load(Ordering::Relaxed)), (1, 1));
        servers.pass(20 * MILLISECOND);
        // Something is said behind this, and the client says that it has it.
        servers.ios[1].emit("n", 2);
        servers.settle();
        let offset = last(&mut witness);

        servers.model.borrow_mut().read.pop();
        kill(servers.ios.pop().unwrap(), &store);
        servers.add_with(with(&Faulty::of(&disk)), register);
        let io = &servers.ios[2];
        assert_eq!(io.recoverable() > 1, what == "let in", "and the witness");
        let mut again = Driven::new(io, usize::MAX);
        let _ = again.read(crate::tests::UPGRADE);
        let _ = again.read(&show(offset));
        servers.settle();
        let written = again.written();
        let is_back = written.contains(&format!("\"sid\":\"{id}\""));
        assert_eq!(is_back, what != "refused", "{what}: {written}");
        let is_asked = asked.load(Ordering::Relaxed) > 1;
        assert_eq!(is_asked, what != "let in", "{what}: {written}");
        if is_back {
            let socket = io.socket(&id).unwrap();
            assert!(socket.recovered() && socket.rooms().iter().any(|room| **room == *"red"));
        }
    }
}
