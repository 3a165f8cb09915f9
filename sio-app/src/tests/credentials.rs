//! The end of credentials: deadlines of sockets, and revocations.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use sio_proto::server::Reason;

use crate::adapter::Driver;
use crate::tests::recovery::{Client, DRAWING, settings};
use crate::tests::{Driven, now, pass, run_tasks, server, set_now};
use crate::{Comeback, Config, Io, Options, Refusal, Socket};

/// The user to whom a socket belongs.
struct User(String);

/// A server that knows its users by a token. `ended` hears of the end of each socket.
fn with_users(io: &Io) -> mpsc::Receiver<(String, Reason)> {
    let (tell, ended) = mpsc::channel();
    for name in ["/", "/admin"] {
        let tell = tell.clone();
        io.of(name)
            .with(|socket: Socket| {
                let token = socket.auth::<serde_json::Value>();
                let user = token.and_then(|token| Some(token.get("token")?.as_str()?.to_owned()));
                socket.set_data(User(user.ok_or_else(|| Refusal::new("no token"))?));
                Ok::<_, Refusal>(())
            })
            .on_disconnect(move |socket: Socket, reason: Reason| {
                let user = socket.data::<User>().map_or_else(String::new, |user| user.0.clone());
                let _ = tell.send((user, reason));
            });
    }
    ended
}

fn log_in(io: &Io, user: &str) -> Client {
    Client::with(io, &format!(r#"40{{"token":"{user}"}}"#))
}

fn is(user: &'static str) -> impl Fn(&Socket) -> bool + Send + Sync + 'static {
    move |socket| socket.data::<User>().is_some_and(|known| known.0 == user)
}

/// Lets time pass, and handles the deadlines of all shards on the way.
fn wait(io: &Io, millis: u64) {
    let driver = Driver::new(io);
    let end = now() + millis * 1000;
    loop {
        let next = (0..driver.shards()).filter_map(|shard| driver.handle_timeout(shard, Waker::noop()));
        match next.min().map(|next| next.as_micros()).filter(|next| *next <= end) {
            Some(next) => set_now(next.max(now())),
            None => break,
        }
    }
    set_now(end);
    run_tasks();
}

/// Returns how many deadlines the shards have.
fn deadlines(io: &Io) -> usize {
    let cells = io.0.shards.cells.iter();
    cells.map(|cell| cell.ask("test", |state| state.expiries.len())).sum()
}

fn recovering(skip_middlewares: bool) -> Io {
    let config = Config::default().ping_interval(Duration::from_secs(3600));
    let settings = settings().skip_middlewares(skip_middlewares);
    Io::new(config, Options::default().shards(2).recovery(settings), DRAWING).unwrap()
}

fn quiet(shards: usize) -> Io {
    let config = Config::default().ping_interval(Duration::from_secs(3600));
    Io::new(config, Options::default().shards(shards), DRAWING).unwrap()
}

#[test]
fn a_socket_ends_at_its_deadline() {
    let io = quiet(2);
    let ended = with_users(&io);
    let mut clients = [log_in(&io, "ann"), log_in(&io, "bob")];
    for socket in io.sockets() {
        socket.expires_in(Duration::from_secs(10));
    }
    assert_eq!(io.sockets()[0].expires(), Some(Duration::from_secs(10)));
    wait(&io, 9_999);
    assert!(ended.try_recv().is_err() && clients[0].packets().is_empty());
    assert_eq!(deadlines(&io), 2);
    wait(&io, 1);
    for (client, user) in clients.iter_mut().zip(["ann", "bob"]) {
        assert_eq!(client.packets(), ["41"]);
        assert_eq!(ended.try_recv(), Ok((user.to_owned(), Reason::CredentialsExpired)));
    }
    assert_eq!((io.sockets().len(), deadlines(&io)), (0, 0));
}

#[test]
fn a_deadline_can_be_moved_and_removed() {
    let io = quiet(1);
    let ended = with_users(&io);
    let mut client = log_in(&io, "ann");
    let socket = io.sockets().remove(0);
    assert_eq!(socket.expires(), None);
    socket.never_expires();
    socket.expires_in(Duration::from_secs(10));
    wait(&io, 9_000);
    socket.expires_in(Duration::from_secs(10));
    assert_eq!(deadlines(&io), 1, "one socket has one deadline");
    wait(&io, 9_000);
    assert!(client.packets().is_empty());
    socket.never_expires();
    assert_eq!((socket.expires(), deadlines(&io)), (None, 0));
    wait(&io, 60_000);
    assert!(client.packets().is_empty());
    // A time that has passed is an end at once.
    socket.expires_in(Duration::ZERO);
    wait(&io, 0);
    assert_eq!(client.packets(), ["41"]);
    assert_eq!(ended.try_recv(), Ok(("ann".to_owned(), Reason::CredentialsExpired)));
}

#[test]
fn the_deadlines_of_sockets_that_have_gone_are_given_back() {
    let io = quiet(1);
    let _ended = with_users(&io);
    for round in 0..50 {
        let client = log_in(&io, "ann");
        io.sockets()[0].expires_in(Duration::from_secs(round));
        drop(client);
        run_tasks();
        assert_eq!(deadlines(&io), 0);
    }
    // A handle of a socket that is gone makes no entry.
    let client = log_in(&io, "ann");
    let socket = io.sockets().remove(0);
    drop(client);
    run_tasks();
    socket.expires_in(Duration::from_secs(1));
    assert_eq!(deadlines(&io), 0);
}

/// The runtime of these tests says that it is second 784,111,777.
#[test]
fn a_date_is_a_deadline_up_to_a_second_early() {
    let io = quiet(1);
    let _ended = with_users(&io);
    let _client = log_in(&io, "ann");
    let socket = io.sockets().remove(0);
    for (second, left) in [(784_111_780, 2), (784_111_778, 0), (784_111_777, 0), (0, 0)] {
        socket.expires_at(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(socket.expires(), Some(Duration::from_secs(left)));
    }
}

#[test]
fn the_timer_comes_earlier_for_a_deadline() {
    let io = quiet(1);
    let _ended = with_users(&io);
    let _client = log_in(&io, "ann");
    let timer = crate::tests::Counted::default();
    Driver::new(&io).handle_timeout(0, &timer.waker());
    timer.take();
    io.sockets()[0].expires_in(Duration::from_secs(5));
    assert_eq!(timer.take(), 1);
    let next = Driver::new(&io).handle_timeout(0, &timer.waker());
    assert_eq!(next.map(|next| next.as_micros()), Some(now() + 5_000_000));
}

/// Thousands of deadlines at one moment are handled, a part of them under each lock.
#[test]
fn many_end_at_once() {
    let io = server(1);
    io.of("/")
        .on_connect(|socket: Socket| socket.expires_in(Duration::from_secs(1)));
    let clients: Vec<_> = (0..600).map(|_| Driven::connected(&io)).collect();
    assert_eq!(deadlines(&io), 600);
    set_now(now() + 1_000_000);
    Driver::new(&io).handle_timeout(0, Waker::noop());
    assert_eq!((io.sockets().len(), deadlines(&io)), (0, 0));
    drop(clients);
}

/// Makes a middleware of `/` wait until the result is set to true.
fn slow_door(io: &Io, expires: Option<Duration>) -> Arc<AtomicBool> {
    let open = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&open);
    io.of("/").with(move |socket: Socket| {
        if let Some(expires) = expires {
            socket.expires_in(expires);
        }
        let waits = Arc::clone(&waits);
        async move {
            poll_fn(|_| match waits.load(Ordering::Relaxed) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            Ok::<_, Refusal>(())
        }
    });
    open
}

/// Says a CONNECT and returns what is written when the door is open.
fn knock(io: &Io, connect: &str, open: &AtomicBool, meanwhile: impl FnOnce()) -> String {
    open.store(false, Ordering::Relaxed);
    let mut driven = Driven::new(io, usize::MAX);
    let _ = driven.read(crate::tests::UPGRADE);
    let _ = driven.written();
    assert_eq!(driven.says(connect), "");
    meanwhile();
    open.store(true, Ordering::Relaxed);
    while run_tasks() > 0 {}
    driven.written()
}

#[test]
fn a_client_whose_time_is_over_before_it_is_let_in_is_refused() {
    let io = quiet(1);
    let open = slow_door(&io, Some(Duration::from_secs(1)));
    let written = knock(&io, "40", &open, || wait(&io, 1_000));
    assert!(written.ends_with(r#"44{"message":"credentials expired"}"#), "{written}");
    assert_eq!(deadlines(&io), 0);
    let written = knock(&io, "40", &open, || wait(&io, 999));
    assert!(written.contains(r#"40{"sid":"#), "{written}");
}

#[test]
fn a_client_that_comes_back_keeps_its_deadline() {
    for skip_middlewares in [true, false] {
        let io = recovering(skip_middlewares);
        let ended = with_users(&io);
        let client = log_in(&io, "ann");
        io.sockets()[0].expires_in(Duration::from_secs(5));
        let sid = client.sid.clone();
        let pid = client.cut();
        assert_eq!(ended.try_recv(), Ok(("ann".to_owned(), Reason::TransportError)));
        pass(&io, 3_000);
        let show = format!(r#"40{{"token":"ann","pid":"{pid}"}}"#);
        let mut back = Client::with(&io, &show);
        assert_eq!(back.sid, sid);
        assert_eq!(io.sockets()[0].expires(), Some(Duration::from_secs(2)));
        wait(&io, 2_000);
        assert_eq!(back.packets(), ["41"]);
        assert_eq!(ended.try_recv(), Ok(("ann".to_owned(), Reason::CredentialsExpired)));
        assert_eq!(io.recoverable(), 0, "an end of credentials is no lost connection");
    }
}

#[test]
fn a_client_whose_time_was_over_while_it_was_away_does_not_come_back() {
    let io = recovering(true);
    let _ended = with_users(&io);
    let (tell, expired) = mpsc::channel();
    io.on_expired(move |socket| tell.send(socket.id()).unwrap());
    let client = log_in(&io, "ann");
    io.sockets()[0].expires_in(Duration::from_secs(5));
    let sid = client.sid.clone();
    let pid = client.cut();
    pass(&io, 5_000);
    let back = Client::with(&io, &format!(r#"40{{"token":"ann","pid":"{pid}"}}"#));
    assert_ne!(back.sid, sid, "the middleware has let it in as a new client");
    assert!(matches!(io.sockets()[0].recovery(), Comeback::Lost(_)));
    assert_eq!(io.sockets()[0].expires(), None);
    assert_eq!(expired.try_iter().map(|id| id.to_string()).collect::<Vec<_>>(), [sid]);
    assert_eq!(io.recoverable(), 1);
}

#[test]
fn a_revocation_ends_sockets_in_all_shards_and_namespaces() {
    let io = quiet(4);
    let ended = with_users(&io);
    let mut clients: Vec<_> = (0..8)
        .map(|n| log_in(&io, if n % 2 == 0 { "ann" } else { "bob" }))
        .collect();
    for client in &mut clients {
        let _ = client.driven.says(r#"40/admin,{"token":"ann"}"#);
    }
    assert_eq!(io.revoke(is("ann")), 4 + 8);
    for (n, client) in clients.iter_mut().enumerate() {
        let mut told = client.packets();
        told.sort();
        let expected: &[&str] = if n % 2 == 0 {
            &["41", "41/admin,"]
        } else {
            &["41/admin,"]
        };
        assert_eq!(told, expected);
    }
    run_tasks();
    let reasons: Vec<_> = ended.try_iter().collect();
    assert_eq!(reasons, vec![("ann".to_owned(), Reason::CredentialsRevoked); 12]);
    assert_eq!((io.sockets().len(), io.of("/admin").sockets().len()), (4, 0));
    assert_eq!(io.revoke(is("ann")), 0);
}

#[test]
fn a_revocation_ends_the_records_of_clients_that_are_away() {
    let io = recovering(true);
    let _ended = with_users(&io);
    let (tell, expired) = mpsc::channel();
    io.on_expired(move |socket| tell.send(socket.id()).unwrap());
    let (ann, bob) = (log_in(&io, "ann"), log_in(&io, "bob"));
    io.sockets().iter().for_each(|socket| socket.join("hall").unwrap());
    let (ann_sid, bob_sid) = (ann.sid.clone(), bob.sid.clone());
    let (ann, bob) = (ann.cut(), bob.cut());
    // What is known of those who are away.
    let (tell_rooms, rooms) = mpsc::channel();
    let all = io.revoke(move |socket| {
        let has_auth = socket.auth_json().is_some_and(|auth| auth.contains("token"));
        tell_rooms.send((socket.rooms().len(), has_auth)).unwrap();
        false
    });
    assert_eq!(all, 0);
    assert_eq!(rooms.try_iter().collect::<Vec<_>>(), [(2, true); 2]);
    assert_eq!(io.revoke(is("ann")), 1);
    assert_eq!(
        expired.try_iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        [&*ann_sid]
    );
    let show = |pid: &str| format!(r#"40{{"token":"x","pid":"{pid}"}}"#);
    assert_ne!(Client::with(&io, &show(&ann)).sid, ann_sid);
    assert_eq!(Client::with(&io, &show(&bob)).sid, bob_sid);
}

/// A socket that is connected and may come back is ended for good.
#[test]
fn a_revoked_client_does_not_come_back() {
    let io = recovering(true);
    let ended = with_users(&io);
    let mut client = log_in(&io, "ann");
    assert_eq!(io.revoke(is("ann")), 1);
    run_tasks();
    assert_eq!(client.packets(), ["41"]);
    assert_eq!(ended.try_recv(), Ok(("ann".to_owned(), Reason::CredentialsRevoked)));
    assert_eq!(io.recoverable(), 0);
    let (sid, pid) = (client.sid.clone(), client.cut());
    let back = Client::with(&io, &format!(r#"40{{"token":"bob","pid":"{pid}"}}"#));
    assert_ne!(back.sid, sid);
}

#[test]
fn a_socket_that_is_being_let_in_is_not_missed() {
    let io = quiet(1);
    let _ended = with_users(&io);
    let (tell, connected) = mpsc::channel();
    io.of("/").on_connect(move |_: Socket| tell.send(()).unwrap());
    let open = slow_door(&io, None);
    let ann = r#"40{"token":"ann"}"#;
    let written = knock(&io, ann, &open, || assert_eq!(io.revoke(is("ann")), 0));
    assert!(written.ends_with(r#"44{"message":"credentials revoked"}"#), "{written}");
    assert!(connected.try_recv().is_err());
    // It does not concern others, and not those who come later.
    let bob = r#"40{"token":"bob"}"#;
    let written = knock(&io, bob, &open, || assert_eq!(io.revoke(is("ann")), 0));
    assert!(written.contains(r#"40{"sid":"#), "{written}");
    let written = knock(&io, ann, &open, || ());
    assert!(written.contains(r#"40{"sid":"#), "{written}");
    // A panic is a yes.
    let written = knock(&io, bob, &open, || {
        io.revoke(|socket| match socket.is_connected() {
            true => false,
            false => panic!("on purpose"),
        });
    });
    assert!(written.ends_with(r#"44{"message":"credentials revoked"}"#), "{written}");
}

/// A client that was recognised, and whose old socket is revoked before it is let in.
#[test]
fn a_client_that_is_coming_back_is_not_missed() {
    let io = recovering(false);
    let _ended = with_users(&io);
    let open = slow_door(&io, None);
    open.store(true, Ordering::Relaxed);
    let client = log_in(&io, "ann");
    let pid = client.cut();
    let show = format!(r#"40{{"token":"ann","pid":"{pid}"}}"#);
    let mut asked = 0;
    let written = knock(&io, &show, &open, || asked = io.revoke(is("ann")));
    assert_eq!(asked, 1, "the record of the client");
    assert!(written.ends_with(r#"44{"message":"credentials revoked"}"#), "{written}");
    assert_eq!(io.recoverable(), 0);
}

/// The function of a revocation may use the server: it runs under no lock.
#[test]
fn the_function_of_a_revocation_may_do_anything() {
    let io = recovering(true);
    let _ended = with_users(&io);
    let mut client = log_in(&io, "ann");
    let away = log_in(&io, "bob").cut();
    assert!(!away.is_empty());
    let server = io.clone();
    let ended = io.revoke(move |socket| {
        server.emit("news", server.sockets().len());
        socket.set_data(7_u32);
        socket.is_connected()
    });
    assert_eq!(ended, 1);
    assert_eq!(client.packets().last().map(String::as_str), Some("41"));
}

/// A handler that has waited may hold the socket of before. The deadline that it sets is that of
/// its client, whether the client has come back meanwhile or not.
#[test]
fn a_deadline_that_is_set_by_the_socket_of_before_counts() {
    let io = recovering(false);
    let client = log_in(&io, "ann");
    let before = io.sockets().remove(0);
    let pid = client.cut();
    before.expires_in(Duration::from_secs(60));
    let _back = Client::with(&io, &format!(r#"40{{"token":"ann","pid":"{pid}"}}"#));
    let after = io.sockets().remove(0);
    assert_eq!(after.id(), before.id());
    assert_eq!(after.expires(), Some(Duration::from_secs(60)));
    before.expires_in(Duration::from_secs(600));
    assert_eq!(after.expires(), Some(Duration::from_secs(600)));
    assert_eq!((before.expires(), deadlines(&io)), (after.expires(), 1));
    before.never_expires();
    assert_eq!((after.expires(), deadlines(&io)), (None, 0));
}

/// A deadline that the socket of before gets while a middleware still decides about the socket with
/// which its client comes back counts for the client. If the middleware sets one, too, the earlier
/// of the two counts.
#[test]
fn a_deadline_that_is_set_while_a_middleware_decides_counts() {
    for (by_middleware, by_handler, expected) in [
        (None, Some(60), Some(60)),
        (Some(30), Some(60), Some(30)),
        (Some(90), Some(60), Some(60)),
        (Some(30), None, Some(30)),
    ] {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let io = recovering(false);
        let open = slow_door(&io, seconds(by_middleware));
        open.store(true, Ordering::Relaxed);
        let client = log_in(&io, "ann");
        let before = io.sockets().remove(0);
        before.expires_in(Duration::from_secs(1000));
        let pid = client.cut();
        let written = knock(&io, &format!(r#"40{{"token":"ann","pid":"{pid}"}}"#), &open, || {
            if let Some(left) = seconds(by_handler) {
                before.expires_in(left);
                assert_eq!(before.expires(), Some(left));
            }
        });
        assert!(written.contains(&pid), "{written}");
        // This is the deadline of the socket with which the client has come back.
        assert_eq!(before.expires(), seconds(expected));
    }
}

/// The client has lost the connection with which it had come back. A deadline that its first socket
/// gets then is that of the client, as well.
#[test]
fn a_deadline_of_a_client_that_is_away_again_counts() {
    let io = recovering(true);
    let client = log_in(&io, "ann");
    let first = io.sockets().remove(0);
    let show = |pid: &str| format!(r#"40{{"token":"ann","pid":"{pid}"}}"#);
    let pid = Client::with(&io, &show(&client.cut())).cut();
    first.expires_in(Duration::from_secs(60));
    assert_eq!(first.expires(), Some(Duration::from_secs(60)));
    let _back = Client::with(&io, &show(&pid));
    assert_eq!(io.sockets()[0].id(), first.id());
    assert_eq!(io.sockets()[0].expires(), Some(Duration::from_secs(60)));
}

/// A revocation that comes when the middlewares have decided, and before the socket is connected,
/// ends the socket before a handler gets to know it.
#[test]
fn a_revocation_at_the_last_moment_comes_before_the_connect_handler() {
    for recovers in [false, true] {
        let config = Config::default()
            .ping_interval(Duration::from_secs(3600))
            .socket_id_prefix("user:");
        let options = Options::default().shards(1);
        let options = match recovers {
            true => options.recovery(settings()),
            false => options,
        };
        let io = Io::new(config, options, DRAWING).unwrap();
        let ended = with_users(&io);
        let (tell, connected) = mpsc::channel();
        io.of("/").on_connect(move |socket: Socket| {
            let _ = tell.send(socket.auth_json().map(str::to_owned));
        });
        // The id is made when the middlewares have decided.
        let server = io.clone();
        io.generate_id(move |_| {
            // With recovery, the record of the socket is found as well.
            server.revoke(is("ann"));
            Some(format!("user:{}", server.sockets().len()))
        });
        let mut driven = Driven::new(&io, usize::MAX);
        let _ = driven.read(crate::tests::UPGRADE);
        let _ = driven.written();
        let written = driven.says(r#"40{"token":"ann"}"#);
        run_tasks();
        let written = written + &driven.written();
        assert!(written.contains("40{") && written.ends_with("41"), "{written}");
        assert!(connected.try_recv().is_err() && ended.try_recv().is_err());
        assert_eq!((io.sockets().len(), io.recoverable()), (0, 0));
        let _bob = log_in(&io, "bob");
        assert_eq!(connected.try_recv(), Ok(Some(r#"{"token":"bob"}"#.to_owned())));
    }
}
