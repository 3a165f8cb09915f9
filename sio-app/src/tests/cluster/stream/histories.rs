//! Histories of rooms in a cluster over one stream.

use super::*;
use crate::tests::UPGRADE;
use crate::{HistoryEvent, Offset, Ring};

const RING: Ring = Ring {
    packets: 5,
    ..RING_OF_DEFAULT
};

const RING_OF_DEFAULT: Ring = Ring {
    bytes: 256 << 10,
    packets: 512,
    age: Duration::from_secs(3600),
};

/// The places and the numbers in the history of the room `h1`, and whether something is missing.
fn history(io: &Io, seen: Option<Offset>) -> (bool, Vec<(Offset, String)>) {
    let since = io.of("/").room("h1").since(seen);
    let event = |event: &HistoryEvent| (event.at, event.args.json().to_owned());
    (since.truncated, since.events.iter().map(event).collect())
}

fn texts(io: &Io) -> Vec<String> {
    history(io, None).1.into_iter().map(|(_, text)| text).collect()
}

fn with_ring(ring: Ring) -> impl Fn(&Io) {
    move |io| {
        io.of("/").recovery(false).history("h*", ring).on(
            "follow",
            async |socket: Socket, (room, seen): (String, Option<Offset>)| {
                socket.resume(&room, seen).await.unwrap();
            },
        );
    }
}

fn with_histories(io: &Io) {
    with_ring(RING)(io);
}

fn of_histories() -> Servers {
    Servers::new(|cluster| cluster, with_histories)
}

/// The client follows the room `h1`, and nothing passes but time.
fn follow(client: &mut Driven, seen: Option<&str>) {
    let seen = seen.map_or_else(|| "null".to_owned(), |seen| format!("\"{seen}\""));
    let _ = client.read(&text(&format!(r#"42["follow","h1",{seen}]"#)));
    run_tasks();
}

/// What the client has heard: the numbers of events, and the states of marks.
fn heard_of(client: &mut Driven) -> Vec<String> {
    let written = client.written();
    let events = written.split("42[\"").skip(1);
    let event = |event: &str| match event.strip_prefix("n\",") {
        Some(rest) => rest.split([',', ']']).next().unwrap().to_owned(),
        None => event
            .split(r#""state":""#)
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or(event)
            .to_owned(),
    };
    events.map(event).collect()
}

/// The place at which the client is ready.
fn place_of_mark(client: &mut Driven) -> Option<String> {
    let written = client.written();
    let at = written.split(r#""at":"#).last().unwrap_or_else(|| panic!("{written}"));
    at.strip_prefix('"')
        .and_then(|at| at.split('"').next())
        .map(str::to_owned)
}

/// What is said on one server is in the histories of all, in one order, with the same places. A
/// server that starts anew has it, too.
#[test]
fn histories_are_the_same_on_all_servers() {
    let mut servers = of_histories();
    servers.ios[0].to("h1").emit("n", 0);
    assert_eq!(history(&servers.ios[0], None).1, [], "it waits for the stream");
    for number in 1..6 {
        servers.ios[number % 2].to("h1").emit("n", number);
        servers.ios[number % 2].to("h2").emit("n", 100 + number);
        servers.ios[number % 2].to("other").emit("n", 200 + number);
        servers.pass(MILLISECOND);
    }
    let (truncated, said) = history(&servers.ios[0], None);
    let expected: Vec<String> = (1..6).map(|number| number.to_string()).collect();
    assert_eq!(
        (truncated, texts(&servers.ios[0])),
        (true, expected),
        "there is room for five"
    );
    assert!(said.iter().all(|(place, _)| place.is_entry()));
    assert_eq!(history(&servers.ios[1], None), (true, said.clone()));
    servers.add(with_histories);
    assert_eq!(
        history(&servers.ios[2], None),
        (true, said.clone()),
        "read from the stream"
    );
    // A client goes to another server with the place that it has.
    let seen = Some(said[2].0);
    for io in &servers.ios {
        assert_eq!(history(io, seen), (false, said[3..].to_vec()));
    }
    servers.ios[2].to("h1").emit("n", 6);
    servers.settle();
    let after = history(&servers.ios[2], seen);
    assert_eq!(after.1.len(), 3);
    for io in &servers.ios {
        assert_eq!(history(io, seen), after);
    }
    // A place that this server has not read yet, and one from before everything that is known.
    let millisecond = 784_111_777_000;
    for unknown in [millisecond * 2, millisecond - 5000] {
        let unknown = Offset::of_entry(unknown, 0);
        assert!(history(&servers.ios[2], unknown).0, "{unknown:?}");
    }
}

/// What was said without the stream has a place of its server, and is in the other histories when
/// it has been written.
#[test]
fn a_history_goes_on_without_redis() {
    let servers = of_histories();
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    servers.up(false);
    servers.ios[0].to("h1").emit("n", 2);
    let (_, said) = history(&servers.ios[0], None);
    assert_eq!(said.len(), 2);
    assert!(said[0].0.is_entry() && !said[1].0.is_entry());
    assert_eq!(history(&servers.ios[0], Some(said[1].0)), (false, vec![]));
    assert!(history(&servers.ios[1], Some(said[1].0)).0, "only its server knows it");
    servers.up(true);
    servers.pass(Duration::from_secs(1));
    for io in &servers.ios {
        assert_eq!(texts(io), ["1", "2"]);
        assert_eq!(history(io, Some(said[0].0)).1.len(), 1, "a place from before is good");
    }
    servers.ios[1].to("h1").emit("n", 3);
    servers.settle();
    let (_, said) = history(&servers.ios[1], None);
    for io in &servers.ios {
        assert!(!history(io, Some(said[1].0)).0, "and so is one from afterwards");
        assert_eq!(history(io, Some(said[1].0)).1, [said[2].clone()]);
    }
}

/// The server has sent an event that stands behind another one in the stream. Who has seen the
/// other one elsewhere is not told that nothing is missing.
#[test]
fn a_place_among_early_events_is_never_missing_something_silently() {
    let servers = of_histories();
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    let first = history(&servers.ios[0], None).1[0].0;
    servers.hold(0, 0);
    servers.ios[1].to("h1").emit("n", 3);
    servers.settle();
    servers.ios[0].to("h1").emit("n", 2);
    servers.settle();
    servers.pass(250 * MILLISECOND);
    assert_eq!(
        (texts(&servers.ios[0]), texts(&servers.ios[1])),
        (
            vec!["1".to_owned(), "2".to_owned()],
            vec!["1".to_owned(), "3".to_owned(), "2".to_owned()],
        )
    );
    let there = history(&servers.ios[1], None).1;
    let (three, two) = (there[1].0, there[2].0);
    let here = &servers.ios[0];
    assert!(
        history(here, Some(three)).0 && history(here, Some(two)).0,
        "it has not read them"
    );
    // It reads the other one, and then its own.
    let at = servers.model.borrow().entries.len() - 1;
    servers.model.borrow_mut().readable.insert(0, at);
    servers.settle();
    assert_eq!(texts(here), ["1", "2", "3"]);
    assert!(history(here, Some(three)).0, "2 would be missing");
    servers.release(0);
    assert_eq!(history(here, Some(first)).1.len(), 2);
    assert!(history(here, Some(three)).0, "2 would be missing");
    assert_eq!(history(here, Some(two)), (false, vec![]), "nothing is missing");
    servers.ios[1].to("h1").emit("n", 4);
    servers.settle();
    let four = history(&servers.ios[1], Some(two));
    assert_eq!((four.1.len(), history(here, Some(two))), (1, four));
}

/// A client follows a room at one server, is cut off, and follows it at the other.
#[test]
fn a_client_resumes_at_another_server() {
    let servers = of_histories();
    let mut clients = servers.clients();
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    follow(&mut clients[0], None);
    assert_eq!(heard_of(&mut clients[0]), ["1", "ready"]);
    servers.ios[1].to("h1").emit("n", 2);
    servers.settle();
    let written = clients[0].written();
    let seen = written.rsplit('"').nth(1).unwrap().to_owned();
    assert!(Offset::parse(&seen).unwrap().is_entry(), "{written}");
    for number in 3..6 {
        servers.ios[number % 2].to("h1").emit("n", number);
        servers.settle();
    }
    follow(&mut clients[1], Some(&seen));
    assert_eq!(heard_of(&mut clients[1]), ["3", "4", "5", "ready"]);
    servers.ios[0].to("h1").emit("n", 6);
    servers.settle();
    assert_eq!(heard_of(&mut clients[1]), ["6"]);
}

/// The server that a client comes to has not read yet what the client has seen. It waits a little.
#[test]
fn a_server_reads_up_to_the_place_of_a_client_first() {
    let servers = of_histories();
    let mut clients = servers.clients();
    servers.hold(1, 0);
    servers.ios[0].to("h1").emit("n", 1);
    servers.ios[0].to("h1").emit("n", 2);
    servers.settle();
    let seen = history(&servers.ios[0], None).1[0].0.to_string();
    follow(&mut clients[1], Some(&seen));
    servers.pass(100 * MILLISECOND);
    assert_eq!(heard_of(&mut clients[1]), [""; 0]);
    servers.release(1);
    servers.pass(20 * MILLISECOND);
    assert_eq!(heard_of(&mut clients[1]), ["2", "ready"]);
    // Not for ever, and not for a place that says nothing.
    follow(&mut clients[1], Some("999999999999-0"));
    for _ in 0..10 {
        servers.pass(100 * MILLISECOND);
    }
    assert_eq!(heard_of(&mut clients[1]), [""; 0]);
    for _ in 0..11 {
        servers.pass(100 * MILLISECOND);
    }
    assert_eq!(heard_of(&mut clients[1]), ["truncated", "1", "2", "ready"]);
    follow(&mut clients[1], Some("k3f9xq-17"));
    assert_eq!(heard_of(&mut clients[1]), ["truncated", "1", "2", "ready"]);
}

/// A client that asks for a room where nothing was said makes no history, and keeps its place.
#[test]
fn a_client_makes_no_history() {
    let servers = of_histories();
    let mut clients = servers.clients();
    servers.ios[0].to("h2").emit("n", 1);
    servers.settle();
    let place = servers.ios[0].of("/").room("h2").since(None).at.unwrap().to_string();
    let histories = servers.ios[1].metrics().histories;
    for (seen, at) in [(None, None), (Some(&*place), Some(place.clone()))] {
        follow(&mut clients[1], seen);
        assert_eq!(place_of_mark(&mut clients[1]), at);
    }
    assert_eq!(servers.ios[1].metrics().histories, histories);
    let since = servers.ios[1]
        .of("/")
        .room("h1")
        .since(Some(Offset::parse(&place).unwrap()));
    assert_eq!(
        (since.truncated, since.at.map(|at| at.to_string())),
        (false, Some(place))
    );
    servers.ios[0].to("h1").emit("n", 2);
    servers.settle();
    assert_eq!(heard_of(&mut clients[1]), ["2"]);
}

/// What the stream had before is bounded by the bytes of all histories, and by the age and the
/// limits of each.
#[test]
fn a_new_server_reads_a_bounded_tail() {
    let mut servers = Servers::new(|cluster| cluster, with_ring(RING_OF_DEFAULT));
    for number in 0..100 {
        servers.ios[0].to("h1").emit("n", number);
        servers.ios[0].to("other").emit("n", number);
    }
    servers.settle();
    let said = history(&servers.ios[0], None).1;
    assert_eq!(said.len(), 100);
    servers.add(with_ring(RING_OF_DEFAULT));
    assert_eq!(history(&servers.ios[2], None), (false, said.clone()));
    assert!(servers.model.borrow().asked <= 200 + 8, "each entry is read once");

    // The limits of the room.
    servers.add(with_ring(RING));
    assert_eq!(history(&servers.ios[3], None), (true, said[95..].to_vec()));
    assert!(history(&servers.ios[3], Some(said[90].0)).0);
    assert_eq!(history(&servers.ios[3], Some(said[96].0)), (false, said[97..].to_vec()));

    // The bytes of all histories.
    servers.add_with(
        |mut options| {
            options.max_history_bytes = 20_000;
            options
        },
        with_ring(RING_OF_DEFAULT),
    );
    let some = history(&servers.ios[4], None).1;
    assert!(
        (20..50).contains(&some.len()) && said.ends_with(&some),
        "{}",
        some.len()
    );
    assert!(servers.ios[4].metrics().history_bytes <= 20_000);
    assert!(history(&servers.ios[4], Some(said[10].0)).0);
    assert_eq!(history(&servers.ios[4], Some(some[0].0)), (false, some[1..].to_vec()));

    // The age.
    let old = Ring {
        age: Duration::from_secs(10),
        ..RING_OF_DEFAULT
    };
    for (number, entry) in servers.model.borrow_mut().entries[..50].iter_mut().enumerate() {
        entry.id = Bytes::from(format!("{}-{number}", 784_111_777_000_u64 - 11_000));
    }
    servers.add(with_ring(old));
    let young = history(&servers.ios[5], None).1;
    assert!(
        !young.is_empty() && young.len() < 100 && said.ends_with(&young),
        "{}",
        young.len()
    );
    let too_old = Offset::of_entry(784_111_777_000 - 11_000, 10);
    assert!(history(&servers.ios[5], too_old).0);
    servers.add(with_ring(RING_OF_DEFAULT));
    assert!(!history(&servers.ios[6], too_old).0, "here it is kept");
}

/// Clients that come while a new server reads the tail wait for it, also if it fails.
#[test]
fn a_client_waits_for_the_tail() {
    for is_good in [true, false] {
        let mut servers = of_histories();
        servers.ios[0].to("h1").emit("n", 1);
        servers.ios[0].to("h1").emit("n", 2);
        servers.settle();
        let seen = history(&servers.ios[0], None).1[0].0.to_string();
        servers.model.borrow_mut().late_tail = Some(Vec::new());
        servers.add(with_histories);
        let mut clients: Vec<Driven> = (0..2).map(|_| Driven::new(&servers.ios[2], usize::MAX)).collect();
        for client in &mut clients {
            let _ = client.read(UPGRADE);
            let _ = client.read(&text("40"));
            servers.pass(20 * MILLISECOND);
            let _ = client.written();
        }
        follow(&mut clients[0], None);
        follow(&mut clients[1], Some(&seen));
        servers.pass(100 * MILLISECOND);
        for client in &mut clients {
            assert_eq!(heard_of(client), [""; 0]);
        }
        let late = servers.model.borrow_mut().late_tail.take().unwrap();
        assert_eq!(late.len(), 1);
        for (tag, request) in late {
            let command = Command::Request { tag, request };
            let event = match is_good {
                true => servers.handle(2, command).unwrap(),
                false => Event::Answer {
                    tag,
                    answer: Err(BrokerError::TimedOut),
                },
            };
            node(&servers.ios[2]).handle_events(&mut vec![event]);
        }
        servers.settle();
        servers.pass(20 * MILLISECOND);
        let [all, rest] = [0, 1].map(|at: usize| heard_of(&mut clients[at]));
        match is_good {
            true => assert_eq!(
                (all, rest),
                (
                    vec!["1".to_owned(), "2".to_owned(), "ready".to_owned()],
                    vec!["2".to_owned(), "ready".to_owned()],
                )
            ),
            false => assert_eq!(
                (all, rest),
                (
                    vec!["ready".to_owned()],
                    vec!["truncated".to_owned(), "ready".to_owned()],
                )
            ),
        }
    }
}

/// A server that has not read a part of the stream begins its histories anew.
#[test]
fn a_gap_in_the_stream_ends_histories() {
    let servers = of_histories();
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    let place = history(&servers.ios[0], None).1[0].0;
    assert!(!history(&servers.ios[0], Some(place)).0);
    let after = Bytes::from(format!("{}-0", 784_111_779_000_u64));
    let stream = "socket.io".into();
    node(&servers.ios[0]).handle_events(&mut vec![Event::Reading { stream, after }]);
    servers.settle();
    assert_eq!(history(&servers.ios[0], Some(place)), (true, vec![]));
}

/// A client that catches up is given one part after the other. What it was given is no place that
/// it shows: it goes on also where the order of the stream is not known any more.
#[test]
fn a_client_gets_a_long_history_among_early_events_once() {
    let servers = Servers::new(|cluster| cluster, with_ring(RING_OF_DEFAULT));
    for number in 0..100 {
        servers.ios[1].to("h1").emit("n", number);
    }
    servers.settle();
    for number in 100..110 {
        servers.ios[0].to("h1").emit("n", number);
        // Events go out before others leave the room, without the stream.
        servers.ios[0].to("h1").leave("h1");
        servers.settle();
    }
    let said = history(&servers.ios[0], None).1;
    assert!(
        history(&servers.ios[0], Some(said[63].0)).0,
        "nobody may show this place"
    );
    let mut clients = servers.clients();
    let numbers = (0..110).map(|number: usize| number.to_string());
    let expected: Vec<String> = numbers.chain(["ready".to_owned()]).collect();
    follow(&mut clients[0], None);
    assert_eq!(heard_of(&mut clients[0]), expected);
    follow(&mut clients[0], Some(&said[63].0.to_string()));
    let heard = heard_of(&mut clients[0]);
    assert_eq!((&*heard[0], &heard[1..]), ("truncated", &expected[..]));
}

/// An event without an entry stands behind all that was read: who has seen the last entry of
/// another room elsewhere has not seen it.
#[test]
fn an_early_event_stands_behind_what_was_read() {
    let servers = of_histories();
    servers.ios[0].to("h1").emit("n", 1);
    servers.ios[0].to("h2").emit("n", 1);
    servers.settle();
    let seen = servers.ios[1].of("/").room("h2").since(None).at;
    assert_eq!(history(&servers.ios[0], seen), (false, vec![]));
    servers.up(false);
    servers.ios[0].to("h1").emit("n", 2);
    servers.ios[1].local().to("h1").emit("n", 3);
    for (io, text) in servers.ios.iter().zip(["2", "3"]) {
        let (truncated, said) = history(io, seen);
        assert_eq!((truncated, said.len(), &*said[0].1), (false, 1, text));
    }
}

/// A history that is dropped behind its own event knows that this event is missing.
#[test]
fn a_history_without_room_for_its_event_is_never_missing_it_silently() {
    let mut servers = of_histories();
    let small = |mut options: Options| {
        options.max_history_bytes = 2000;
        options
    };
    servers.add_with(small, with_histories);
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    let seen = history(&servers.ios[2], None).1[0].0;
    assert!(!history(&servers.ios[2], Some(seen)).0);
    servers.ios[0].to("h1").emit("n", "x".repeat(3000));
    servers.settle();
    assert_eq!(servers.ios[2].metrics().histories, 0);
    assert_eq!(history(&servers.ios[2], Some(seen)), (true, vec![]));
    let last = history(&servers.ios[0], None).1[1].0;
    assert!(!history(&servers.ios[2], Some(last)).0, "nothing is missing");
}

/// The tail of the stream is read for the longest age. A room that keeps less knows that older
/// events are missing.
#[test]
fn what_is_too_old_for_one_room_is_never_missing_silently() {
    let millisecond = 784_111_777_000_u64;
    for is_all_old in [true, false] {
        let mut servers = of_histories();
        servers.ios[0].to("h1").emit("n", 1);
        servers.ios[0].to("h1").emit("n", 2);
        servers.settle();
        if !is_all_old {
            servers.ios[0].to("h1").emit("n", 3);
            servers.settle();
        }
        for (number, entry) in servers.model.borrow_mut().entries[..2].iter_mut().enumerate() {
            entry.id = Bytes::from(format!("{}-{number}", millisecond - 600_000));
        }
        let minute = Ring {
            age: Duration::from_secs(60),
            ..RING
        };
        servers.add(|io| {
            with_ring(minute)(io);
            io.of("/").history("k*", RING);
        });
        let seen = |number| Offset::of_entry(millisecond - 600_000, number);
        let kept = if is_all_old { 0 } else { 1 };
        let (truncated, said) = history(&servers.ios[2], seen(0));
        assert_eq!((truncated, said.len()), (true, kept));
        let (truncated, said) = history(&servers.ios[2], seen(1));
        assert_eq!((truncated, said.len()), (false, kept), "it has seen all that is gone");
    }
}

/// A history that has begun before the stream was read cannot have in front what the stream had
/// before. Then it says that something is missing.
#[test]
fn an_event_before_the_first_reading_hides_nothing_silently() {
    let mut servers = of_histories();
    servers.ios[0].to("h1").emit("n", 1);
    servers.ios[0].to("h1").emit("n", 2);
    servers.settle();
    let said = history(&servers.ios[0], None).1;
    servers.add(|io| {
        with_histories(io);
        io.local().to("h1").emit("n", 77);
    });
    for seen in [None, Some(said[0].0), Some(said[1].0)] {
        let (truncated, own) = history(&servers.ios[2], seen);
        assert_eq!((truncated, own.len(), &*own[0].1), (true, 1, "77"), "{seen:?}");
    }
    servers.ios[0].to("h1").emit("n", 3);
    servers.settle();
    let last = history(&servers.ios[0], None).1[2].0;
    assert_eq!(history(&servers.ios[2], Some(last)), (false, vec![]));
}

/// While a namespace of a rule has no members at a server, the server does not hear what others say
/// there. Its histories begin anew.
#[test]
fn what_is_said_while_a_namespace_is_closed_is_never_missing_silently() {
    let servers = Servers::new(
        |cluster| cluster,
        |io| {
            io.of_pattern("/t*").recovery(false).history("h*", RING);
        },
    );
    let mut clients = servers.clients();
    let say = |client: &mut Driven, packet: &str| {
        let _ = client.read(&text(packet));
        servers.pass(20 * MILLISECOND);
    };
    let since = |server: usize, seen| {
        let since = servers.ios[server].of("/t1").room("h1").since(seen);
        (since.truncated, since.events.len(), since.at)
    };
    let emit = |number| {
        servers.ios[1].of("/t1").to("h1").emit("n", number);
        servers.settle();
    };
    for client in &mut clients {
        say(client, "40/t1,");
    }
    emit(1);
    let (_, count, seen) = since(0, None);
    assert_eq!((count, since(0, seen)), (1, (false, 0, seen)));
    say(&mut clients[0], "41/t1,");
    assert_eq!(servers.ios[0].metrics().histories, 0);
    emit(2);
    say(&mut clients[0], "40/t1,");
    assert!(since(0, seen).0, "the second event is missing");
    let (_, _, seen) = since(1, None);
    emit(3);
    assert_eq!((since(0, seen).1, since(1, seen).1), (1, 1));
    assert!(!since(0, since(1, None).2).0);
}

/// What is beyond the limit of what waits is sent at once. The order is that of the stream again
/// when the next event of the namespace has been read.
#[test]
fn places_are_known_again_behind_an_event_beyond_the_limit() {
    let servers = Servers::new(
        |mut cluster| {
            cluster.broker.max_waiting_bytes = 1024;
            cluster
        },
        with_histories,
    );
    servers.ios[0].to("h1").emit("n", 1);
    servers.settle();
    servers.ios[0].to("h1").emit("n", "x".repeat(2000));
    assert_eq!(texts(&servers.ios[0]).len(), 2, "at once");
    for number in 3..6 {
        servers.settle();
        servers.pass(Duration::from_secs(1));
        servers.ios[1].to("h1").emit("n", number);
    }
    servers.settle();
    let last = history(&servers.ios[1], None).1.last().unwrap().0;
    assert_eq!(history(&servers.ios[0], Some(last)), (false, vec![]));
}

/// In a namespace with recovery, a client that comes back to another server as the same socket gets
/// what was said in its rooms with histories, with its places, and goes on from there anywhere.
#[test]
fn what_is_brought_to_a_client_has_its_place() {
    let servers = Servers::new(
        |cluster| cluster,
        |io| {
            io.of("/").history("red", RING_OF_DEFAULT);
        },
    );
    let (mut back, is_back, written) = come_back(&servers, || {});
    assert!(is_back, "{written}");
    let said = servers.ios[0].of("/").room("red").since(None);
    assert_eq!(said.events.len(), 2);
    let place = said.events[1].at;
    // Once as the place in the room, once as the offset of the client.
    assert!(
        written.contains(&format!(r#"["n",2,"{place}","{place}"]"#)),
        "{written}"
    );
    servers.ios[0].to("red").emit("n", 4);
    servers.settle();
    let place = servers.ios[1].of("/").room("red").since(None).at.unwrap();
    let live = back.written();
    assert!(live.contains(&format!(r#"["n",4,"{place}","{place}"]"#)), "{live}");
}
