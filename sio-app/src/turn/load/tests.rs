use std::future::pending;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::tests::{Driven, RUNTIME, once_pending, run_tasks, server, text};
use crate::{Ack, Config, EmitError, Io, Reason, Refusal, Socket};

fn with(options: Options) -> Io {
    Io::new(Config::default(), options.shards(1), RUNTIME).unwrap()
}

fn counts(io: &Io) -> (usize, usize) {
    let Tally { things, bytes } = &io.0.shards.cells[0].loads().count;
    (things.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
}

/// Returns how many CONNECTs of the session of a socket wait for middlewares.
fn undecided(socket: &Arc<SocketCell>) -> usize {
    Rest::of(socket.load().begin()).unwrap().undecided.lock().len()
}

/// Sends these packets `times` times on one connection. Returns the highest number of futures.
fn most_tasks(client: &mut Driven, packets: &[&str], times: usize) -> usize {
    (0..times).fold(0, |most, _| {
        for packet in packets {
            let _ = client.read(&text(packet));
        }
        most.max(run_tasks())
    })
}

/// Another thread takes a waiting socket as soon as a middleware of its session is done. From then
/// on, the turn that has put it there must not change its mailbox any more.
#[test]
fn a_connect_that_waits_is_parked_before_another_thread_can_take_it() {
    let io = with(Options::default().max_waiting_middlewares(1));
    let _client = Driven::connected(&io);
    let socket = Arc::clone(&io.sockets()[0].0);
    let load = socket.load();
    assert!(load.may_decide(&socket));
    let turn = turn::new_owner();
    socket.mailbox.open(turn);
    assert!(!load.may_decide(&socket));
    assert!(!socket.mailbox.is_owned_by(turn), "nobody's turn works for it");
    assert!(load.decided().is_some_and(|next| Arc::ptr_eq(&next, &socket)));
    socket.mailbox.resume(turn);
    let _ = socket.mailbox.done(load);
    assert!(socket.mailbox.is_idle());
}

/// Hardening A10.
#[test]
fn a_session_that_comes_and_goes_keeps_few_middlewares() {
    // Another limit would close a client that connects and leaves so fast, so it is switched off.
    let config = Config::default().max_connects_per_second(usize::MAX);
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    io.of("/slow").with(async |_: Socket| {
        pending::<()>().await;
        Ok::<_, Refusal>(())
    });
    let mut client = Driven::connected(&io);
    assert_eq!(most_tasks(&mut client, &["40/slow,", "41/slow,"], 100), 8);
    assert_eq!(counts(&io).0, 8);
    // A socket that has gone does not wait for its turn.
    let socket = Arc::clone(&io.sockets()[0].0);
    assert_eq!(undecided(&socket), 0);
    let _ = client.read(&text("40/slow,"));
    assert_eq!(undecided(&socket), 1);
    assert!(!client.written().contains("44/slow"));
    drop(client);
    run_tasks();
    assert_eq!(undecided(&socket), 0);
    assert_eq!(counts(&io).0, 8, "JavaScript runs them on");
    crate::tests::drop_tasks();
    assert_eq!(counts(&io).0, 0);
}

/// Hardening A10.
#[test]
fn connects_of_a_session_are_decided_in_their_order() {
    let io = with(Options::default().max_waiting_middlewares(2));
    let order = Arc::new(Mutex::new(Vec::new()));
    let begun = Arc::clone(&order);
    io.of_pattern("/n*").with(move |socket: Socket| {
        begun
            .lock()
            .unwrap()
            .push(socket.namespace()[2..].parse::<usize>().unwrap());
        async {
            once_pending().await;
            Ok::<_, Refusal>(())
        }
    });
    let mut client = Driven::connected(&io);
    let connects: Vec<u8> = (0..9).flat_map(|n| text(&format!("40/n{n},"))).collect();
    let _ = client.read(&connects);
    assert_eq!(*order.lock().unwrap(), [0, 1]);
    let _ = client.read(&text("41/n5"));
    while run_tasks() > 0 {}
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(client.written().matches("40/n").count(), 8);
    assert_eq!(counts(&io), (0, 0));
}

/// A session whose CONNECT waits for nobody needs no queue.
#[test]
fn a_connect_that_is_decided_at_once_takes_no_memory() {
    let io = with(Options::default().max_waiting_middlewares(1));
    io.of_pattern("/n*").with(|_: Socket| Ok::<_, Refusal>(()));
    let mut client = Driven::connected(&io);
    for n in 0..4 {
        let _ = client.read(&text(&format!("40/n{n},")));
    }
    assert_eq!(client.written().matches("40/n").count(), 4);
    let socket = Arc::clone(&io.sockets()[0].0);
    assert!(socket.load().own().is_none());
    assert_eq!(HostSide::of(socket.handshake()).number().load(Ordering::Relaxed), 0);
}

/// A session keeps a count only from the first thing on that waits.
#[test]
fn a_session_for_which_nothing_has_waited_has_no_count() {
    let io = server(1);
    io.of("/").on("now", |_: Socket| ()).on("later", once_pending);
    let mut client = Driven::connected(&io);
    let socket = Arc::clone(&io.sockets()[0].0);
    let _ = client.read(&text(r#"42["now"]"#).repeat(3));
    assert!(socket.load().own().is_none());
    let _ = client.read(&text(r#"42["later"]"#));
    assert_eq!(socket.load().waiting().0, 1);
    while run_tasks() > 0 {}
    assert_eq!(socket.load().waiting(), (0, 0));
}

/// Hardening A10.
#[test]
fn handlers_of_sockets_that_have_gone_count() {
    let io = server(1);
    io.of("/").on("wait", pending::<()>);
    let mut client = Driven::connected(&io);
    for _ in 0..3 {
        client.press(&io, &text(r#"42["wait"]"#).repeat(1_000));
        client.press(&io, &[text("41"), text("40")].concat());
    }
    assert_eq!((run_tasks(), counts(&io).0, io.sessions()), (3_000, 3_000, 1));
    client.press(&io, &text(r#"42["wait"]"#).repeat(2_000));
    assert_eq!(
        (run_tasks(), io.sessions()),
        (4_096, 0),
        "no more, and the session is closed"
    );
}

/// Hardening A10.
#[test]
fn an_address_keeps_its_debts_when_its_sessions_end() {
    let io = with(
        Options::default()
            .max_waiting_events_per_address(100)
            .max_waiting_bytes_per_address(4_000),
    );
    io.of("/").on("wait", |_: Socket, _: String| pending::<()>());
    io.of("/gone").on_disconnect(pending::<()>);
    let from = |address: &str| Driven::connected_from(&io, address);
    for _ in 0..3 {
        let mut client = from("192.0.2.1:1");
        let _ = client.read(&text(r#"42["wait",""]"#).repeat(33));
        assert_eq!(io.sessions(), 1);
    }
    assert_eq!((run_tasks(), io.sessions()), (99, 0));
    let mut client = from("192.0.2.1:2");
    let _ = client.read(&text(r#"42["wait",""]"#).repeat(33));
    assert_eq!((run_tasks(), io.sessions()), (100, 0));
    // The address may start nothing that may have to wait. So its sockets are not let in either.
    let mut client = from("[::ffff:192.0.2.1]:3");
    assert!(!client.written().contains("40{\"sid\""));
    assert_eq!(io.sessions(), 0);
    let mut other = from("192.0.2.2:1");
    assert!(other.written().contains("40{\"sid\""));
    let large = format!(r#"42["wait","{}"]"#, "x".repeat(100));
    let _ = other.read(&text(&large).repeat(50));
    assert_eq!(
        (run_tasks(), io.sessions()),
        (140, 0),
        "so many fit into 4,000 bytes, and one more"
    );
    assert_eq!(io.0.shards.cells[0].loads().addresses(), 2);
}

/// Hardening A10.
#[test]
fn the_whole_is_bounded_and_empty_again_afterwards() {
    let io = with(Options::default().max_total_waiting_events(50));
    io.of("/")
        .on("wait", once_pending)
        .on("keep", |_: Socket, ack: Ack| async move {
            once_pending().await;
            ack.send(());
        });
    let mut clients: Vec<_> = (0..3)
        .map(|n| Driven::connected_from(&io, &format!("192.0.2.{n}:1")))
        .collect();
    for client in &mut clients {
        let _ = client.read(&text(r#"42["wait"]"#).repeat(20));
    }
    assert_eq!((run_tasks(), io.sessions()), (0, 2), "the third one went beyond");
    let _ = clients[0].read(&text(r#"421["keep"]"#));
    assert_eq!(counts(&io).0, 2, "the handler, and the acknowledgement that it owes");
    while run_tasks() > 0 {}
    drop(clients);
    run_tasks();
    assert_eq!((counts(&io), io.0.shards.cells[0].loads().addresses()), ((0, 0), 0));
}

/// Hardening A10.
#[test]
fn a_handler_hears_of_the_end_of_its_socket() {
    let io = server(1);
    io.of("/")
        .one_at_a_time()
        .on("wait", |socket: Socket| async move { socket.gone().await });
    let mut client = Driven::connected(&io);
    let _ = client.read(&text(r#"42["wait"]"#));
    let socket = io.sockets().remove(0);
    let waker = crate::tests::Counted::default();
    let mut gone = Box::pin(socket.gone());
    let poll =
        |gone: &mut std::pin::Pin<Box<crate::Gone>>| gone.as_mut().poll(&mut Context::from_waker(&waker.waker()));
    assert_eq!((poll(&mut gone), run_tasks()), (Poll::Pending, 1));
    drop(client);
    run_tasks();
    assert_eq!((poll(&mut gone), waker.take(), run_tasks()), (Poll::Ready(()), 1, 0));
    assert!(
        Box::pin(socket.gone())
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
    assert_eq!(counts(&io), (0, 0));
}

/// Hardening B3.
#[test]
fn a_socket_that_is_about_to_leave_has_its_rooms() {
    let io = server(2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let [before, after] = [(); 2].map(|()| Arc::clone(&seen));
    io.of("/")
        .on_connect(|socket: Socket| socket.join("den").and_then(|()| socket.join("lobby")))
        .on_disconnecting(move |socket: Socket, reason: Reason| {
            let mut rooms: Vec<_> = socket.rooms().iter().map(ToString::to_string).collect();
            rooms.retain(|room| *room != *socket.id());
            socket.to("den").emit("left", reason.as_str());
            assert!(matches!(socket.join("late"), Err(EmitError::Disconnected)));
            before.lock().unwrap().push(rooms);
            async { once_pending().await }
        })
        .on_disconnect(move |socket: Socket| {
            let rooms = socket.rooms().iter().map(ToString::to_string).collect();
            after.lock().unwrap().push(rooms);
        });
    let mut stays = Driven::connected(&io);
    let expected = [vec!["den".to_owned(), "lobby".to_owned()], Vec::new()];
    type End = fn(&Io, Driven);
    let ends: [(&str, End); 4] = [
        ("client namespace disconnect", |_, mut client| {
            let _ = client.read(&text("41"));
        }),
        ("transport error", |_, client| drop(client)),
        ("server namespace disconnect", |io, _client| {
            io.except("stays").disconnect();
            run_tasks();
        }),
        ("forced close", |io, mut client| {
            let _ = client.read(&text("4nonsense"));
            assert_eq!(io.sockets().len(), 1);
        }),
    ];
    io.sockets()[0].join("stays").unwrap();
    for (reason, end) in ends {
        end(&io, Driven::connected(&io));
        run_tasks();
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), expected, "{reason}");
        let heard = stays.written();
        assert!(
            heard.contains(&format!(r#"42["left","{reason}"]"#)),
            "{reason}: {heard}"
        );
    }
}

/// Hardening B5.
#[test]
fn what_a_middleware_does_counts_once_the_socket_is_in() {
    let io = server(1);
    io.of("/in").with(|socket: Socket| {
        assert!(["a", "b"].iter().all(|room| socket.join(room).is_ok()));
        socket.leave("b");
        assert!(socket.join(socket.id()).is_ok());
        socket.set_data(7_u8);
        assert_eq!(socket.rooms(), ["a"]);
        socket.emit("welcome", 1).unwrap();
        socket.volatile().emit("lost", ());
        let mut asked = Box::pin(socket.emit_with_ack::<u8>("ask", ()));
        let asked = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(asked, Poll::Ready(Err(_))), "it would wait for itself");
        assert!(socket.to("a").sockets().is_empty(), "not yet");
        Ok::<_, Refusal>(())
    });
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    io.of("/out").with(move |socket: Socket| {
        assert!(socket.join("a").is_ok() && socket.emit("welcome", 1).is_ok());
        socket.set_data(7_u8);
        *keep.lock().unwrap() = Some(socket);
        Err::<(), _>("no")
    });
    let mut client = Driven::connected(&io);
    let _ = client.read(&[text("40/in,"), text("40/out,")].concat());
    let written = client.written();
    let places = ["40/in,{", r#"42/in,["welcome",1]"#, "44/out,"].map(|part| written.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{written}");
    assert!(!written.contains("42/out"));
    let socket = io.of("/in").to("a").sockets().remove(0);
    assert_eq!((socket.data::<u8>().as_deref(), socket.rooms().len()), (Some(&7), 2));
    let refused = kept.lock().unwrap().take().unwrap();
    assert_eq!((refused.data::<u8>(), refused.rooms().len()), (None, 0));
    assert!(refused.join("a").is_err() && refused.emit("late", 1).is_err());
}

/// A POST asks whether handlers lag as soon as those of any session may: half of some limit is
/// taken, of a session, of an address, or of the whole server, in number or in bytes.
#[test]
fn posts_ask_as_soon_as_handlers_may_lag() {
    type Limit = fn(Options) -> Options;
    let limits: [(Limit, usize); 6] = [
        (|options| options.max_waiting_events(10), 1),
        (|options| options.max_waiting_events_per_address(10), 1),
        (|options| options.max_total_waiting_events(10), 1),
        (|options| options.max_waiting_bytes(1_000), 100),
        (|options| options.max_waiting_bytes_per_address(1_000), 100),
        (|options| options.max_total_waiting_bytes(1_000), 100),
    ];
    for (number, (limit, bytes)) in limits.into_iter().enumerate() {
        let whole = Loads::new(&limit(Options::default()));
        for _ in 0..5 {
            whole.count.add(bytes);
        }
        assert!(!whole.paces(), "{number}: half of it");
        whole.count.add(bytes);
        assert!(whole.paces(), "{number}: more than half of it");
    }
}
