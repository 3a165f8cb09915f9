//! Faults concern only the connection or socket in which they occur.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sio_app::{Config, HandlerError, HttpResponse, Options, Reason, Socket};
use tungstenite::Message;

use super::{Client, Served, dial, eventually, heard, http, serve, serve_with, yield_now};

#[test]
fn a_panic_ends_its_own_socket_only() {
    let (tell, told) = mpsc::channel();
    let server = serve(move |io| {
        io.of("/")
            .on("now", |_: Socket, _: String| -> () { panic!("at once") })
            .on("later", async |_: Socket| -> () {
                yield_now().await;
                panic!("later")
            })
            .on("typed", |socket: Socket, n: u8| socket.emit("typed", n))
            .on("fails", |_: Socket| Err::<(), _>("no"));
        io.on_error(move |_, event, error| {
            let _ = tell.send((
                event.to_owned(),
                matches!(error, HandlerError::Panicked(_)),
                error.to_string(),
            ));
        });
    });
    let mut other = Client::connect(server.address);
    for event in [r#"42["now","x"]"#, r#"42["later"]"#] {
        let mut client = Client::connect(server.address);
        client.send(event);
        assert_eq!(client.text(), "41");
        let (_, panicked, message) = heard(&told);
        assert!(panicked && message.contains("at"), "{message}");
    }
    // Wrong types and errors are reported, and nothing else happens.
    other.send(r#"42["typed","no number"]"#);
    other.send(r#"42["fails"]"#);
    other.send(r#"42["typed",7]"#);
    assert_eq!(other.text(), r#"42["typed",7]"#);
    let (event, panicked, _) = heard(&told);
    assert_eq!((&*event, panicked), ("typed", false));
    assert_eq!(heard(&told), ("fails".into(), false, "failed: no".into()));
}

#[test]
fn a_slow_reader_holds_nobody_up_and_is_bounded() {
    let server = serve(|io| {
        io.of("/").on("flood", |socket: Socket, n: usize| {
            let text = "f".repeat(10_000);
            (0..n).for_each(|_| _ = socket.io().unwrap().emit("flood", &text));
        });
    });
    let mut slow = Client::connect(server.address);
    let mut quick = Client::connect(server.address);
    // The flood has 60 MB, more than the kernel's buffers and the session's queue together.
    for _ in 0..60 {
        quick.send(r#"42["flood",100]"#);
        for _ in 0..100 {
            quick.text();
        }
    }
    slow.closed();
    assert_eq!(server.io.sockets().len(), 1);
}

#[test]
fn what_a_slow_reader_missed_comes_in_order() {
    let server = serve(|io| {
        io.of("/").on("flood", |socket: Socket| {
            let text = "f".repeat(50_000);
            (0..200).try_for_each(|n| socket.emit("flood", (n, &text)))
        });
    });
    let mut client = Client::connect(server.address);
    client.send(r#"42["flood"]"#);
    // The client reads only after the server has started to queue: 10 MB do not fit into a loopback
    // connection.
    eventually(|| server.io.sessions() > 0);
    for n in 0..200 {
        assert!(client.text().starts_with(&format!(r#"42["flood",{n},"#)));
    }
}

#[test]
fn shutdown_tells_clients_and_ends() {
    let (tell, told) = mpsc::channel();
    let server = serve(|io| {
        io.of("/")
            .on_disconnect(move |_: Socket, reason: Reason| tell.send(reason));
    });
    let mut client = Client::connect(server.address);
    let mut idle = http::Connection::open(server.address);
    server.signal.give();
    client.closed();
    idle.closed();
    drop(client);
    heard(&server.ended).unwrap();
    assert_eq!(heard(&told), Reason::ServerShuttingDown);
    assert_eq!((server.io.sessions(), server.io.connections()), (0, 0));
    assert!(TcpStream::connect(server.address).is_err());
}

/// Such a client opens a connection for each request, and also for the poll that tells it of the
/// end.
#[test]
fn who_connects_anew_for_each_poll_hears_of_the_end() {
    let server = serve(|io| {
        io.of("/").create();
    });
    let once = |request: String| {
        let mut connection = http::Connection::open(server.address);
        connection.write(&request.replacen("\r\n", "\r\nConnection: close\r\n", 1));
        let answer = connection.response_with_head();
        connection.closed();
        answer
    };
    let handshake = "/socket.io/?EIO=4&transport=polling";
    let (_, open) = once(http::get(handshake));
    let sid = open.split('"').nth(3).unwrap();
    let session = format!("{handshake}&sid={sid}");
    assert_eq!(once(http::post(&session, "40")).1, "ok");
    assert!(once(http::get(&session)).1.starts_with("40{"));
    server.signal.give();
    eventually(|| server.io.is_closing());
    assert!(once(http::get(handshake)).0.starts_with("HTTP/1.1 503"));
    assert_eq!(once(http::get(&session)).1, "6\u{1e}1");
    heard(&server.ended).unwrap();
    assert_eq!((server.io.sessions(), server.io.connections()), (0, 0));
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn requests_that_come_too_slowly_are_cut() {
    let options = Options::default()
        .idle_timeout(Duration::from_millis(50))
        .head_timeout(Duration::from_millis(50))
        .body_timeout(Duration::from_millis(50));
    let server = serve_with(Config::default(), options, |_| ());
    let mut silent = http::Connection::open(server.address);
    let mut trickling = http::Connection::open(server.address);
    trickling.write("GET / HT");
    let mut unfinished = http::Connection::open(server.address);
    unfinished.write(http::post("/", "abc").trim_end_matches('c'));
    let mut done = http::Connection::open(server.address);
    done.get("/");
    silent.closed();
    trickling.closed();
    unfinished.closed();
    done.closed();
    eventually(|| server.io.connections() == 0);
}

#[test]
fn connections_are_limited() {
    // The limit is for all connections, or for one address. Loopback is an address like any other.
    for options in [
        Options::default().max_connections(1),
        Options::default().max_connections_per_address(1),
    ] {
        let server = serve_with(Config::default(), options, |_| ());
        let mut client = Client::connect(server.address);
        http::Connection::open(server.address).closed();
        client.send("41");
        client.socket.close(None).unwrap();
        client.closed();
        drop(client);
        eventually(|| server.io.connections() == 0);
        Client::connect(server.address);
    }
}

#[test]
fn the_applications_own_requests() {
    let server = serve(|io| {
        io.on_request(|request| match request.path() {
            "/hello" => HttpResponse::text(format!("hello {}", request.query().iter().count())).header("X-Test", "1"),
            "/panic" => panic!("in a request"),
            _ => HttpResponse::new(404),
        });
        io.allow_request(|request| request.header("x-no").map_or(Ok(()), |why| Err(why.into_owned())));
    });
    let mut connection = http::Connection::open(server.address);
    assert_eq!(connection.get("/hello?a=1&b=2"), "hello 2");
    connection.write(&http::get("/panic"));
    assert!(connection.response_with_head().0.starts_with("HTTP/1.1 500"));
    connection.write("HEAD /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.closed();
    let mut connection = http::Connection::open(server.address);
    connection.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nX-No: go away\r\n\r\n");
    let (head, body) = connection.response_with_head();
    assert!(
        head.starts_with("HTTP/1.1 403") && body.contains("go away"),
        "{head} {body}"
    );
}

/// Hardening A1. The application is asked for every kind of request that can open a session, and
/// its refusal is respected.
#[test]
fn who_is_refused_gets_in_by_no_road() {
    let server = serve(|io| io.allow_request(|_| Err("no".into())));
    for (target, expected) in [
        ("/socket.io/?EIO=4&transport=polling", "403"),
        ("/socket.io?EIO=4&transport=polling", "403"),
        ("http://x/socket.io/?EIO=3&transport=polling", "403"),
        ("/socket.io/1/?t=1", "403"),
        ("/socket.io/1/f2OB-Gs9-F9dtPdjA7X9?disconnect", "403"),
        ("/socket.io/xhr-polling//1795447966090", "401"),
        ("/socket.io/xhr-polling/1234567890123", "401"),
        ("/socket.io/xhr-multipart/1234567890123", "401"),
    ] {
        let mut connection = http::Connection::open(server.address);
        connection.write(&http::get(target));
        let (head, _) = connection.response_with_head();
        assert_eq!(&head[9..12], expected, "{target}");
    }
    assert_eq!(server.io.sessions(), 0);
}

/// Hardening B6. Hardening B20.
#[test]
fn answers_to_odd_requests_are_clean() {
    let options = Options::default().body_timeout(Duration::from_millis(50));
    let server = serve_with(Config::default(), options, |_| ());
    for (request, expected) in [
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "204"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "501"),
        ("GET x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na", "408"),
    ] {
        let mut connection = http::Connection::open(server.address);
        connection.write(request);
        let (head, _) = connection.response_with_head();
        assert_eq!(&head[9..12], expected, "{request}");
    }
}

#[cfg(unix)]
#[test]
fn any_stream_will_do() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let (tell, told) = mpsc::channel();
    let setup = |io: &sio_app::Io| {
        io.of("/")
            .on("echo", |socket: Socket, text: String| socket.emit("echo", text));
    };
    let io = crate::start_stream(far, setup, move || _ = tell.send(()));
    let url = "ws://x/socket.io/?EIO=4&transport=websocket";
    let mut socket = tungstenite::client(url, near).unwrap().0;
    socket.send(Message::text("40")).unwrap();
    // The text is longer than the pipe and the kernel's buffers hold together.
    let text = "x".repeat(300_000);
    let packet = format!(r#"42["echo","{text}"]"#);
    for _ in 0..3 {
        // The messages are sent one after the other, because a server that cannot write does not
        // read on.
        socket.send(Message::text(packet.clone())).unwrap();
        while socket.read().unwrap().into_text().unwrap() != packet.as_str() {}
    }
    drop(socket);
    heard(&told);
    assert_eq!(io.connections(), 0);
}

#[test]
fn a_half_closed_connection_still_gets_its_answer() {
    let server = serve(|io| io.on_request(|_| HttpResponse::text("x".repeat(100))));
    let mut stream = dial(server.address);
    stream.write_all(http::get("/").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("xxx"));
}

#[test]
fn handlers_run_after_the_call_that_causes_them() {
    // The caller holds a lock during `disconnect`. The disconnect handler takes the same lock, and
    // must not run inside of the call.
    let lock = Arc::new(std::sync::Mutex::new(0));
    let server = serve({
        let lock = Arc::clone(&lock);
        move |io| {
            io.of("/").on_disconnect(move |_: Socket| *lock.lock().unwrap() += 1);
        }
    });
    let mut client = Client::connect(server.address);
    let socket = server.io.sockets().remove(0);
    let outside = std::thread::spawn({
        let lock = Arc::clone(&lock);
        move || {
            let guard = lock.lock().unwrap();
            socket.disconnect();
            drop(guard);
        }
    });
    outside.join().unwrap();
    assert_eq!(client.text(), "41");
    eventually(|| *lock.lock().unwrap() == 1);
}

/// Starts a server whose middlewares, and whose rule for names, panic: at once, or after they have
/// waited. In `/after-one` another middleware agrees before.
fn panicking() -> (Served, mpsc::Receiver<(String, String)>) {
    let (tell, told) = mpsc::channel();
    let server = serve(move |io| {
        io.of("/sync")
            .with(|_: Socket| -> Result<(), String> { panic!("sync") });
        io.of("/early")
            .with(async |_: Socket| -> Result<(), String> { panic!("early") });
        io.of("/late").with(async |_: Socket| -> Result<(), String> {
            yield_now().await;
            panic!("late")
        });
        io.of("/after-one")
            .with(|socket: Socket| socket.join("room").map_err(|error| error.to_string()))
            .with(|_: Socket| -> Result<(), String> { panic!("after-one") });
        io.of_fn(|name, _| name == "/rule" && panic!("rule")).on_connect(|| {});
        io.of("/").create();
        io.of("/fine").on_connect(|socket: Socket| socket.emit("hello", ()));
        io.on_error(move |socket, event, error| {
            let who = socket.map_or("", Socket::namespace);
            assert!(matches!(error, HandlerError::Panicked(_)) && event == "connect");
            drop(tell.send((who.to_owned(), error.to_string())));
        });
    });
    (server, told)
}

const PANICKING: [&str; 5] = ["sync", "early", "late", "after-one", "rule"];

/// Hardening B5.
#[test]
fn a_panic_in_a_middleware_refuses() {
    let (server, told) = panicking();
    let mut client = Client::open(server.address);
    for name in PANICKING {
        for _ in 0..2 {
            client.send(&format!("40/{name},"));
            assert_eq!(
                client.text(),
                format!(r#"44/{name},{{"message":"Internal server error"}}"#)
            );
            assert_eq!(heard(&told), (format!("/{name}"), format!("panicked: {name}")));
        }
    }
    // The session goes on.
    client.send("40/fine,");
    assert!(client.text().starts_with(r#"40/fine,{"sid":"#));
    assert_eq!(client.text(), r#"42/fine,["hello"]"#);
    assert!(told.try_recv().is_err());
}

/// Hardening B5.
#[test]
fn a_panic_in_a_middleware_refuses_clients_of_2() {
    let (server, _told) = panicking();
    let url = format!("ws://{}/socket.io/?EIO=3&transport=websocket", server.address);
    let (socket, _) = tungstenite::client(url, dial(server.address)).unwrap();
    let mut client = Client { socket };
    assert!(client.text().starts_with('0'));
    assert_eq!(client.text(), "40");
    for name in PANICKING {
        client.send(&format!("40/{name}"));
        assert_eq!(client.text(), format!(r#"44/{name},"Internal server error""#));
    }
    client.send("40/fine");
    assert!(client.text().starts_with("40/fine"));
}

/// Hardening B5.
#[test]
fn a_panic_in_a_middleware_refuses_clients_before_1() {
    for late in [false, true] {
        let server = serve(move |io| {
            match late {
                false => io.of("/").with(|_: Socket| -> Result<(), String> { panic!("at once") }),
                true => io.of("/").with(async |_: Socket| -> Result<(), String> {
                    yield_now().await;
                    panic!("later")
                }),
            };
            io.on_error(|_, _, _| {});
        });
        for (target, status, said) in [
            ("/socket.io/1/?t=1", "403", "handshake unauthorized"),
            ("/socket.io/xhr-polling//1795447966090", "401", "unauthorized"),
        ] {
            let mut connection = http::Connection::open(server.address);
            connection.write(&http::get(target));
            let (head, body) = connection.response_with_head();
            assert_eq!((&head[9..12], &*body), (status, said), "{target}");
        }
        assert_eq!(server.io.sessions(), 0);
    }
}
