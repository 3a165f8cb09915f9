//! What goes wrong stays where it is.

mod client;

use std::sync::Arc;
use std::time::Duration;

use client::{Client, http, patiently, serve, serve_with};
use futures_util::SinkExt;
use sio_tokio::{Config, HandlerError, HttpResponse, Options, Peer, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_panic_ends_its_own_socket_only() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = serve(move |io| {
        io.of("/")
            .on("now", |_: Socket, _: String| -> () { panic!("at once") })
            .on("later", async |_: Socket| -> () {
                tokio::task::yield_now().await;
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
    })
    .await;
    let mut other = Client::connect(server.address).await;
    for event in [r#"42["now","x"]"#, r#"42["later"]"#] {
        let mut client = Client::connect(server.address).await;
        client.send(event).await;
        assert_eq!(client.text().await, "41");
        let (_, panicked, message) = told.recv().await.unwrap();
        assert!(panicked && message.contains("at"), "{message}");
    }
    // Wrong types and errors are reported and cost nothing.
    other.send(r#"42["typed","no number"]"#).await;
    other.send(r#"42["fails"]"#).await;
    other.send(r#"42["typed",7]"#).await;
    assert_eq!(other.text().await, r#"42["typed",7]"#);
    let (event, panicked, _) = told.recv().await.unwrap();
    assert_eq!((&*event, panicked), ("typed", false));
    assert_eq!(told.recv().await.unwrap(), ("fails".into(), false, "failed: no".into()));
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_up_and_is_bounded() {
    let server = serve(|io| {
        io.of("/").on("flood", |socket: Socket, n: usize| {
            let text = "f".repeat(10_000);
            (0..n).for_each(|_| socket.io().unwrap().emit("flood", &text));
        });
    })
    .await;
    let mut slow = Client::connect(server.address).await;
    let mut quick = Client::connect(server.address).await;
    // 60 MB: more than the kernel's buffers and the session's queue together.
    for _ in 0..60 {
        quick.send(r#"42["flood",100]"#).await;
        for _ in 0..100 {
            quick.text().await;
        }
    }
    slow.closed().await;
    assert_eq!(server.io.sockets().len(), 1);
}

#[tokio::test]
async fn what_a_slow_reader_missed_comes_in_order() {
    let server = serve(|io| {
        io.of("/").on("flood", |socket: Socket| {
            let text = "f".repeat(50_000);
            (0..200).try_for_each(|n| socket.emit("flood", (n, &text)))
        });
    })
    .await;
    let mut client = Client::connect(server.address).await;
    client.send(r#"42["flood"]"#).await;
    // Nothing is read until the server has everything queued: 10 MB do not fit into a loopback connection.
    while server.io.sessions() == 0 {
        tokio::task::yield_now().await;
    }
    for n in 0..200 {
        assert!(client.text().await.starts_with(&format!(r#"42["flood",{n},"#)));
    }
}

#[tokio::test]
async fn shutdown_tells_clients_and_ends() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let io = sio_tokio::Server::new(Config::default()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    io.of("/").on_disconnect(move |_: Socket, reason| tell.send(reason));
    let signal = async move { drop(stopped.await) };
    let task = tokio::spawn(io.serve(listener).with_graceful_shutdown(signal).into_future());
    let mut client = Client::connect(address).await;
    let mut idle = http::Connection::open(address).await;
    stop.send(()).unwrap();
    client.closed().await;
    idle.closed().await;
    drop(client);
    patiently(task).await.unwrap().unwrap();
    assert_eq!(told.recv().await, Some(sio_tokio::Reason::ServerShuttingDown));
    assert_eq!((io.sessions(), io.connections()), (0, 0));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn requests_that_come_too_slowly_are_cut() {
    let options = Options::default()
        .idle_timeout(Duration::from_millis(50))
        .head_timeout(Duration::from_millis(50))
        .body_timeout(Duration::from_millis(50));
    let server = serve_with(Config::default(), options, |_| ()).await;
    let mut silent = http::Connection::open(server.address).await;
    let mut trickling = http::Connection::open(server.address).await;
    trickling.write("GET / HT").await;
    let mut unfinished = http::Connection::open(server.address).await;
    unfinished.write(http::post("/", "abc").trim_end_matches('c')).await;
    let mut done = http::Connection::open(server.address).await;
    done.get("/").await;
    silent.closed().await;
    trickling.closed().await;
    unfinished.closed().await;
    done.closed().await;
    assert_eq!(server.io.connections(), 0);
}

#[tokio::test]
async fn connections_are_limited() {
    // In total; and the loopback is an address like others.
    for options in [
        Options::default().max_connections(1),
        Options::default().max_connections_per_address(1),
    ] {
        let server = serve_with(Config::default(), options, |_| ()).await;
        let mut client = Client::connect(server.address).await;
        http::Connection::open(server.address).await.closed().await;
        client.send("41").await;
        client.socket.close(None).await.unwrap();
        client.closed().await;
        drop(client);
        while server.io.connections() > 0 {
            tokio::task::yield_now().await;
        }
        Client::connect(server.address).await;
    }
}

#[tokio::test]
async fn the_applications_own_requests() {
    let server = serve(|io| {
        io.on_request(|request| match request.path() {
            "/hello" => HttpResponse::text(format!("hello {}", request.query().iter().count())).header("X-Test", "1"),
            "/panic" => panic!("in a request"),
            _ => HttpResponse::new(404),
        });
        io.allow_request(|request| request.header("x-no").map_or(Ok(()), |why| Err(why.into_owned())));
    })
    .await;
    let mut connection = http::Connection::open(server.address).await;
    assert_eq!(connection.get("/hello?a=1&b=2").await, "hello 2");
    connection.write(&http::get("/panic")).await;
    assert!(connection.response_with_head().await.0.starts_with("HTTP/1.1 500"));
    connection
        .write("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    connection.closed().await;
    let mut connection = http::Connection::open(server.address).await;
    connection
        .write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-No: go away\r\n\r\n")
        .await;
    let (head, body) = connection.response_with_head().await;
    assert!(
        head.starts_with("HTTP/1.1 403") && body.contains("go away"),
        "{head} {body}"
    );
}

#[tokio::test]
async fn any_stream_will_do() {
    let io = sio_tokio::Server::new(Config::default()).unwrap();
    io.of("/")
        .on("echo", |socket: Socket, text: String| socket.emit("echo", text));
    let (near, far) = tokio::io::duplex(1000);
    let served = tokio::spawn({
        let io = io.clone();
        async move {
            io.serve_stream(
                far,
                Peer {
                    address: None,
                    secure: true,
                },
            )
            .await
        }
    });
    let url = "ws://x/socket.io/?EIO=4&transport=websocket";
    let (mut socket, _) = tokio_tungstenite::client_async(url, near).await.unwrap();
    socket.send(Message::text("40")).await.unwrap();
    let text = "x".repeat(300_000);
    let packet = format!(r#"42["echo","{text}"]"#);
    for _ in 0..3 {
        socket.send(Message::text(packet.clone())).await.unwrap();
    }
    let mut echoes = 0;
    while echoes < 3 {
        use futures_util::StreamExt;
        let message = patiently(socket.next()).await.unwrap().unwrap();
        echoes += usize::from(message.into_text().unwrap() == packet.as_str());
    }
    drop(socket);
    patiently(served).await.unwrap();
    assert_eq!(io.connections(), 0);
}

#[tokio::test]
async fn a_half_closed_connection_still_gets_its_answer() {
    let server = serve(|io| io.on_request(|_| HttpResponse::text("x".repeat(100)))).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(http::get("/").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("xxx"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_run_after_the_call_that_causes_them() {
    // A lock held across `disconnect` is not met again by the handler of the disconnection.
    let lock = Arc::new(std::sync::Mutex::new(0));
    let server = serve({
        let lock = Arc::clone(&lock);
        move |io| {
            io.of("/").on_disconnect(move |_: Socket| *lock.lock().unwrap() += 1);
        }
    })
    .await;
    let mut client = Client::connect(server.address).await;
    let socket = server.io.sockets().remove(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread outside of the runtime is what this is about"
    )]
    let outside = std::thread::spawn({
        let lock = Arc::clone(&lock);
        move || {
            let guard = lock.lock().unwrap();
            socket.disconnect();
            drop(guard);
        }
    });
    outside.join().unwrap();
    assert_eq!(client.text().await, "41");
    while *lock.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
}
