//! Clients that ask for confirmations: what they have sent is handled once, and in order
//! (docs/protocol/extensions.md §2).

use std::sync::{Arc, Mutex};

use crate::store::Memory;
use crate::tests::recovery::{Client, DRAWING, packets, settings};
use crate::tests::stored::{Faulty, kill, stored};
use crate::tests::{Counted, once_pending, pass, run_tasks, run_tasks_with, text};
use crate::{Comeback, Config, Io, NotRecovered, Options, RecoveryConfig, Socket};

/// What the handlers have handled.
type Heard = Arc<Mutex<Vec<u32>>>;

/// Handles the event `n`, which has a number.
fn hear(io: &Io) -> Heard {
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    io.of("/")
        .on("n", move |_: Socket, number: u32| list.lock().unwrap().push(number));
    heard
}

fn hearing(shards: usize, settings: RecoveryConfig) -> (Io, Heard) {
    let config = Config::default().ping_interval(std::time::Duration::from_secs(3600));
    let io = Io::new(config, Options::default().shards(shards).recovery(settings), DRAWING).unwrap();
    let heard = hear(&io);
    (io, heard)
}

fn asking(io: &Io) -> Client {
    Client::with(io, r#"40{"sio.confirmed":0}"#)
}

fn back(io: &Io, pid: &str, confirmed: u64) -> (Client, u64) {
    let connect = format!(r#"40{{"pid":"{pid}","sio.confirmed":{confirmed}}}"#);
    let mut client = Client::with(io, &connect);
    run_tasks();
    let _ = client.packets();
    let count = client.confirmed.expect("the server confirms");
    (client, count)
}

fn send(client: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let _ = client.driven.read(&text(&format!(r#"42["n",{number}]"#)));
    }
}

fn heard(heard: &Heard) -> Vec<u32> {
    heard.lock().unwrap().clone()
}

/// Recovery R11, F13: a client that comes back learns what the server has had, sends the rest, and
/// nothing is handled twice.
#[test]
fn r11_a_client_that_comes_back_learns_what_was_had() {
    let (io, list) = hearing(3, settings());
    let mut client = asking(&io);
    assert_eq!(client.confirmed, Some(0));
    send(&mut client, 0..3);
    let (mut client, had) = back(&io, &client.cut(), 0);
    assert_eq!(had, 3);
    send(&mut client, 3..5);
    // And with a connection that the server takes for alive.
    let (mut new, had) = back(&io, &client.pid, 3);
    assert_eq!(had, 5);
    send(&mut client, 5..6);
    send(&mut new, 5..7);
    assert_eq!(heard(&list), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(back(&io, &new.cut(), 5).1, 7);
}

/// Recovery R11: confirmations come after some events, after some bytes, or with the next sweep,
/// and not with each event.
#[test]
fn r11_confirmations_are_few() {
    let (io, _) = hearing(1, settings());
    let mut client = asking(&io);
    send(&mut client, 0..70);
    assert_eq!(
        client.packets(),
        [r#"40{"sio.confirmed":32}"#, r#"40{"sio.confirmed":64}"#]
    );
    pass(&io, 1000);
    assert_eq!(client.packets(), [r#"40{"sio.confirmed":70}"#]);
    pass(&io, 10_000);
    assert!(client.packets().is_empty());
    let large = format!(r#"42["large","{}"]"#, "x".repeat(64 * 1024));
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend_from_slice(&(large.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(large.as_bytes());
    let _ = client.driven.read(&frame);
    assert_eq!(client.packets(), [r#"40{"sio.confirmed":71}"#]);
}

/// Recovery R11: nothing changes for a client that does not ask, and for a server that does not
/// confirm.
#[test]
fn r11_who_does_not_ask_is_told_nothing() {
    let (io, list) = hearing(1, settings());
    for connect in [
        "40",
        r#"40{"sio.confirmed":"0"}"#,
        r#"40{"sio.confirmed":-1}"#,
        r#"40{"sio.confirmed":1.5}"#,
    ] {
        let mut client = Client::with(&io, connect);
        assert_eq!((client.confirmed, client.pid.len()), (None, 24), "{connect}");
        send(&mut client, 0..40);
        pass(&io, 2000);
        assert!(client.packets().is_empty());
    }
    assert_eq!(heard(&list).len(), 160);
    for settings in [Some(settings().confirm_events(false)), None] {
        let options = Options::default().shards(1);
        let options = match settings {
            Some(settings) => options.recovery(settings),
            None => options,
        };
        let io = Io::new(Config::default(), options, DRAWING).unwrap();
        let mut client = asking(&io);
        assert_eq!(client.confirmed, None);
        send(&mut client, 0..40);
        pass(&io, 2000);
        assert!(client.packets().is_empty());
    }
}

/// Recovery R11: a client that shows more confirmations than it was given is not recovered. It
/// gains nothing by showing fewer.
#[test]
fn r11_numbers_that_were_never_given_recover_nobody() {
    let (io, list) = hearing(1, settings());
    for confirmed in [3, u64::MAX] {
        let mut client = asking(&io);
        send(&mut client, 0..2);
        let pid = client.cut();
        let (lost, had) = back(&io, &pid, confirmed);
        let socket = io.socket(&lost.sid).unwrap();
        let why = NotRecovered::Events { confirmed, heard: 2 };
        assert_eq!((socket.recovery(), had), (Comeback::Lost(why), 0));
        assert_ne!(lost.pid, pid);
    }
    assert_eq!(heard(&list), [0, 1, 0, 1]);
    let mut client = asking(&io);
    send(&mut client, 0..2);
    pass(&io, 1000);
    let (client, had) = back(&io, &client.cut(), 0);
    assert_eq!(had, 2);
    drop(client);
}

/// Recovery R11: events that wait behind a handler of the old connection are not handled there any
/// more when the client has come back. The new socket begins when that handler has ended, so
/// nothing is handled twice or out of order.
#[test]
fn r11_what_waits_on_a_half_dead_connection_is_not_handled_twice() {
    let (io, _) = hearing(2, settings());
    io.of("/").one_at_a_time();
    let list = Heard::default();
    let (events, ends) = (Arc::clone(&list), Arc::clone(&list));
    io.of("/").on("slow", move |_: Socket, number: u32| {
        let list = Arc::clone(&events);
        async move {
            list.lock().unwrap().push(number);
            once_pending().await;
            once_pending().await;
            list.lock().unwrap().push(number + 100);
        }
    });
    io.of("/")
        .on_disconnect(move |_: Socket| ends.lock().unwrap().push(1000));
    let slow = |client: &mut Client, number: u32| {
        let _ = client.driven.read(&text(&format!(r#"42["slow",{number}]"#)));
    };
    let mut old = asking(&io);
    (0..3).for_each(|number| slow(&mut old, number));
    assert_eq!(heard(&list), [0], "the others wait");
    let connect = format!(r#"40{{"pid":"{}","sio.confirmed":0}}"#, old.pid);
    let mut new = Client::with(&io, &connect);
    assert_eq!(new.confirmed, Some(1));
    slow(&mut old, 3);
    (1..4).for_each(|number| slow(&mut new, number));
    // The handlers of this test wake nobody. The end of the first one wakes the new socket.
    let woken = Counted::default();
    for _ in 0..3 {
        run_tasks_with(&woken.waker());
    }
    assert_eq!(woken.take(), 1);
    for _ in 0..20 {
        run_tasks();
    }
    assert_eq!(heard(&list), [0, 100, 1000, 1, 101, 2, 102, 3, 103]);
}

/// Recovery R11: an event that finds no room is handled by nobody, and neither is what comes behind
/// it. So the count says exactly what was handled.
#[test]
fn r11_an_event_without_room_is_not_counted() {
    let options = Options::default().shards(1).recovery(settings()).max_waiting_events(4);
    let io = Io::new(Config::default(), options, DRAWING).unwrap();
    io.of("/").one_at_a_time();
    let list = Heard::default();
    let events = Arc::clone(&list);
    io.of("/").on("n", move |_: Socket, number: u32| {
        events.lock().unwrap().push(number);
        once_pending()
    });
    let mut client = asking(&io);
    let pid = client.pid.clone();
    let frames: Vec<u8> = (0..20)
        .flat_map(|number| text(&format!(r#"42["n",{number}]"#)))
        .collect();
    let _ = client.driven.read(&frames);
    for _ in 0..20 {
        run_tasks();
    }
    drop(client);
    run_tasks();
    let handled = heard(&list);
    assert!(handled.len() < 20, "{handled:?}");
    if let Some(had) = Client::with(&io, &format!(r#"40{{"pid":"{pid}","sio.confirmed":0}}"#)).confirmed {
        // Either the client is not recovered, and begins anew, or it learns exactly this.
        assert!(had == 0 || had == handled.len() as u64, "{had} {handled:?}");
    }
}

/// Recovery R11: what a client was confirmed is in the store before. After a kill, the client sends
/// what was not confirmed again, and the next process handles it.
#[test]
fn r11_what_was_confirmed_survives_the_process() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let list = hear(&io);
    let mut client = asking(&io);
    send(&mut client, 0..40);
    assert_eq!(client.packets(), [r#"40{"sio.confirmed":32}"#]);
    let pid = client.pid.clone();
    kill(io, &store);
    assert_eq!(heard(&list).len(), 40);

    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let list = hear(&io);
    let (mut client, had) = back(&io, &pid, 32);
    assert_eq!(had, 32, "8 events were handled and not confirmed: they come again");
    send(&mut client, 32..45);
    // A connection that ends while the process lives leaves the exact count.
    let pid = client.cut();
    pass(&io, 500);
    kill(io, &store);
    assert_eq!(heard(&list), (32..45).collect::<Vec<_>>());

    let store = Faulty::of(&disk);
    let io = stored(3, settings(), &store);
    assert_eq!(back(&io, &pid, 32).1, 45);
    kill(io, &store);
    // A store that is older than its client.
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let (lost, had) = back(&io, &pid, 46);
    let why = NotRecovered::Events {
        confirmed: 46,
        heard: 45,
    };
    assert_eq!(
        (io.socket(&lost.sid).unwrap().recovery(), had),
        (Comeback::Lost(why), 0)
    );
}

/// Recovery R11: an event that waits behind a handler when its process ends in a regular way is
/// handled by the next process, and only there.
#[test]
fn r11_what_waits_at_the_end_of_a_process_is_handled_by_the_next() {
    let disk = Arc::new(Memory::default());
    let slow = |io: &Io, list: &Heard| {
        io.of("/").one_at_a_time();
        let list = Arc::clone(list);
        io.of("/").on("n", move |_: Socket, number: u32| {
            list.lock().unwrap().push(number);
            once_pending()
        });
    };
    let list = Heard::default();
    let io = stored(1, settings(), &Faulty::of(&disk));
    slow(&io, &list);
    let mut client = asking(&io);
    send(&mut client, 0..3);
    assert_eq!(heard(&list), [0], "the others wait");
    crate::adapter::Driver::new(&io).clear();
    for _ in 0..10 {
        run_tasks();
    }
    let io = stored(1, settings(), &Faulty::of(&disk));
    slow(&io, &list);
    let (mut client, had) = back(&io, &client.pid, 0);
    assert_eq!(had, 1);
    send(&mut client, 1..3);
    for _ in 0..10 {
        run_tasks();
    }
    assert_eq!(heard(&list), [0, 1, 2]);
}

/// A middleware that decides about clients with `slow` in their `auth` when the door is open.
fn door(io: &Io) -> Arc<std::sync::atomic::AtomicBool> {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Poll;
    let open = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&open);
    io.of("/").with(move |socket: Socket| {
        let is_slow = socket.auth_json().is_some_and(|auth| auth.contains("slow"));
        let waits = Arc::clone(&waits);
        async move {
            std::future::poll_fn(|_| match !is_slow || waits.load(Ordering::Relaxed) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            Ok::<_, crate::Refusal>(())
        }
    });
    open
}

/// Recovery R3: a connection that was cut while its middleware decided takes nothing over.
#[test]
fn who_is_gone_takes_nothing_over() {
    use std::sync::atomic::Ordering;
    // The client has come back by another connection meanwhile.
    let (io, list) = hearing(2, settings());
    let open = door(&io);
    let mut first = asking(&io);
    send(&mut first, 0..2);
    let pid = first.cut();
    let mut gone = crate::tests::Driven::new(&io, usize::MAX);
    let _ = gone.read(crate::tests::UPGRADE);
    let _ = gone.read(&text(&format!(r#"40{{"pid":"{pid}","sio.confirmed":0,"slow":1}}"#)));
    drop(gone);
    run_tasks();
    let (mut living, had) = back(&io, &pid, 0);
    assert_eq!(had, 2);
    send(&mut living, 2..3);
    assert_eq!(heard(&list), [0, 1, 2]);
    open.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        run_tasks();
    }
    let told = living.packets();
    let sockets = io.sockets().len();
    assert!(!told.iter().any(|packet| packet == "(end)"), "{told:?}");
    assert_eq!(sockets, 1);
}

/// A connection that was cut while its middleware decided is no way around a handler that runs.
#[test]
fn r11_a_handler_that_runs_is_waited_for_behind_a_connection_that_is_gone() {
    use std::sync::atomic::Ordering;
    let (io, _) = hearing(2, settings());
    io.of("/").one_at_a_time();
    let open = door(&io);
    let go = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (list, waits) = (Heard::default(), Arc::clone(&go));
    let events = Arc::clone(&list);
    io.of("/").on("slow", move |_: Socket, number: u32| {
        let (list, waits) = (Arc::clone(&events), Arc::clone(&waits));
        async move {
            list.lock().unwrap().push(number);
            std::future::poll_fn(|_| match waits.load(Ordering::Relaxed) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            })
            .await;
            list.lock().unwrap().push(number + 100);
        }
    });
    let mut first = asking(&io);
    (0..2).for_each(|number| _ = first.driven.read(&text(&format!(r#"42["slow",{number}]"#))));
    let pid = first.pid;
    let mut gone = crate::tests::Driven::new(&io, usize::MAX);
    let _ = gone.read(crate::tests::UPGRADE);
    let _ = gone.read(&text(&format!(r#"40{{"pid":"{pid}","sio.confirmed":0,"slow":1}}"#)));
    drop(gone);
    run_tasks();
    open.store(true, Ordering::Relaxed);
    run_tasks();
    let connect = format!(r#"40{{"pid":"{pid}","sio.confirmed":0}}"#);
    let mut new = Client::with(&io, &connect);
    let had = new.confirmed;
    let _ = new.driven.read(&text(r#"42["slow",1]"#));
    for _ in 0..5 {
        run_tasks();
    }
    let early = heard(&list);
    go.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        run_tasks();
    }
    assert_eq!((had, early), (Some(1), vec![0]));
    assert_eq!(heard(&list), [0, 100, 1, 101]);
}

/// Recovery R1, R11: what a client shows counts as in JavaScript, where the last of two members
/// with one name wins, and nothing in an `auth` that is valid JSON is an error.
#[test]
fn r1_members_of_the_auth_count_as_in_javascript() {
    let (io, _) = hearing(1, settings());
    for (shown, confirmed) in [
        (r#""pid":"x","pid":"PID","sio.confirmed":0"#, Some(1)),
        (r#""sio.confirmed":9,"pid":"PID","sio.confirmed":0"#, Some(1)),
        (r#""pid":"PID","sio.confirmed":0,"sio.confirmed":"0""#, None),
        (r#""offset":"1-1","pid":"PID","offset":null"#, None),
        (r#""\u0070id":"PID","sio.confirmed":1"#, Some(1)),
        (r#""pid":"PID","sio.confirmed":1e999"#, None),
        (r#""n":[1e999,"\ud800",{"\ud800":{}}],"\ud800":1,"pid":"PID""#, None),
        (r#" "pid" : "PID" , "sio.confirmed" : 1 "#, Some(1)),
    ] {
        let mut client = asking(&io);
        send(&mut client, 0..1);
        let (sid, pid) = (client.sid.clone(), client.cut());
        let back = Client::with(&io, &format!("40{{{}}}", shown.replace("PID", &pid)));
        assert_eq!((&back.sid, back.confirmed), (&sid, confirmed), "{shown}");
    }
    let mut client = asking(&io);
    send(&mut client, 0..1);
    let pid = client.cut();
    let new = Client::with(&io, &format!(r#"40{{"pid":"{pid}","pid":null}}"#));
    assert_eq!(io.socket(&new.sid).unwrap().recovery(), Comeback::New);
}

/// Recovery R11: a sweep tells so many clients that nobody waits long, and a task tells the rest.
/// What a client is told is in the store before.
#[test]
fn r11_a_crowd_is_told_in_portions() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let list = hear(&io);
    let mut crowd: Vec<Client> = (0..600).map(|_| asking(&io)).collect();
    crowd.iter_mut().for_each(|client| send(client, 0..1));
    assert_eq!(heard(&list).len(), 600);
    let told = |crowd: &mut Vec<Client>| {
        let told = crowd.iter_mut().map(|client| !client.packets().is_empty());
        told.collect::<Vec<_>>()
    };
    let count = |told: &[bool]| told.iter().filter(|told| **told).count();
    pass(&io, 500);
    let first = told(&mut crowd);
    assert_eq!(count(&first), 256);
    // The next sweep leaves the list to the task.
    pass(&io, 500);
    assert_eq!(count(&told(&mut crowd)), 0);
    run_tasks();
    assert_eq!(count(&told(&mut crowd)), 256);
    run_tasks();
    assert_eq!(count(&told(&mut crowd)), 88);
    // A task that is dropped is no reason to tell nobody any more.
    crowd.iter_mut().for_each(|client| send(client, 1..2));
    pass(&io, 500);
    crate::tests::drop_tasks();
    assert_eq!(count(&told(&mut crowd)), 256);
    pass(&io, 500);
    assert_eq!(count(&told(&mut crowd)), 256);
    let pids: Vec<String> = crowd.iter().map(|client| client.pid.clone()).collect();
    kill(io, &store);
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let had: Vec<u64> = pids.iter().map(|pid| back(&io, pid, 1).1).collect();
    let twice = had.iter().filter(|had| **had == 2).count();
    assert_eq!((twice, had.len()), (512, 600), "{had:?}");
}

/// Recovery R3: a connection whose middleware has decided late takes nothing from the connection
/// by which the client has come back since. It ends, because its client has left it.
#[test]
fn who_was_recognised_earlier_takes_nothing_over() {
    use std::sync::atomic::Ordering;
    for is_cut in [false, true] {
        let (io, list) = hearing(2, settings());
        let open = door(&io);
        let mut first = asking(&io);
        send(&mut first, 0..2);
        let (sid, pid) = (first.sid.clone(), first.cut());
        let mut late = crate::tests::Driven::new(&io, usize::MAX);
        let _ = late.read(crate::tests::UPGRADE);
        let _ = late.written();
        let _ = late.read(&text(&format!(r#"40{{"pid":"{pid}","sio.confirmed":0,"slow":1}}"#)));
        let (mut living, had) = back(&io, &pid, 0);
        assert_eq!((had, &living.sid), (2, &sid));
        send(&mut living, 2..3);
        if is_cut {
            // The client is away when the late one is decided about.
            drop(living);
            run_tasks();
            open.store(true, Ordering::Relaxed);
            (0..10).for_each(|_| _ = run_tasks());
            assert_eq!(io.recoverable(), 1);
            living = back(&io, &pid, 0).0;
            assert_eq!(living.confirmed, Some(3));
        } else {
            open.store(true, Ordering::Relaxed);
            (0..10).for_each(|_| _ = run_tasks());
        }
        let told = living.packets();
        assert!(!told.iter().any(|packet| packet == "(end)"), "{told:?}");
        assert_eq!((io.sockets().len(), &living.sid), (1, &sid));
        send(&mut living, 3..4);
        assert_eq!(heard(&list), [0, 1, 2, 3]);
        // The client has left this connection.
        assert_eq!(packets(&mut late).last().map(String::as_str), Some("(end)"));
    }
}

/// Recovery R3, R11: a connection that is cut at the moment at which it is let in gives the record
/// back to the socket before, whose handler may still run, and whose end is told.
#[test]
fn who_is_cut_while_it_is_let_in_gives_the_record_back() {
    use std::sync::atomic::Ordering;
    for comes_back in [true, false] {
        let (io, _) = hearing(2, settings());
        io.of("/").one_at_a_time();
        let go = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (list, waits, gone) = (Heard::default(), Arc::clone(&go), Heard::default());
        let (events, expired) = (Arc::clone(&list), Arc::clone(&gone));
        io.of("/").on("slow", move |_: Socket, number: u32| {
            let (list, waits) = (Arc::clone(&events), Arc::clone(&waits));
            async move {
                list.lock().unwrap().push(number);
                std::future::poll_fn(|_| match waits.load(Ordering::Relaxed) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                })
                .await;
                list.lock().unwrap().push(number + 100);
            }
        });
        io.on_expired(move |_: &Socket| expired.lock().unwrap().push(1));
        let mut first = asking(&io);
        (0..2).for_each(|number| _ = first.driven.read(&text(&format!(r#"42["slow",{number}]"#))));
        let (sid, pid) = (first.sid.clone(), first.pid.clone());
        crate::turn::admit::CUT.set(true);
        let mut cut = crate::tests::Driven::new(&io, usize::MAX);
        let _ = cut.read(crate::tests::UPGRADE);
        let _ = cut.read(&text(&format!(r#"40{{"pid":"{pid}","sio.confirmed":0}}"#)));
        assert!(!crate::turn::admit::CUT.get(), "it was cut");
        drop((cut, first));
        run_tasks();
        assert_eq!((io.sockets().len(), io.recoverable()), (0, 1));
        if !comes_back {
            go.store(true, Ordering::Relaxed);
            pass(&io, 20_000);
            assert_eq!((io.recoverable(), heard(&gone)), (0, vec![1]));
            continue;
        }
        let connect = format!(r#"40{{"pid":"{pid}","sio.confirmed":0}}"#);
        let mut new = Client::with(&io, &connect);
        assert_eq!((new.confirmed, &new.sid), (Some(1), &sid));
        let _ = new.driven.read(&text(r#"42["slow",1]"#));
        (0..5).for_each(|_| _ = run_tasks());
        assert_eq!(heard(&list), [0], "the handler of the first connection runs");
        go.store(true, Ordering::Relaxed);
        (0..20).for_each(|_| _ = run_tasks());
        assert_eq!(heard(&list), [0, 100, 1, 101]);
    }
}
