//! The client of this crate, against its server, over the sockets of the adapter.

use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sio_app::client::{
    self, AckError, Attempt, BuildError, ClientError, ConnectError, ConnectionState, Credentials, DisconnectReason,
    EmitError, ErrorClass, Generation, Offline, Outcome, StopReason, Transport, UrlError,
};
use sio_app::{Ack, Auth, Binary, HandlerError, Io, Refusal, Socket, State};

use super::{PATIENCE, Served, eventually, heard, serve};

/// Runs a future in the adapter's runtime, for a while.
pub(super) fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(tell.send(crate::block_on(future))));
    match told.recv_timeout(PATIENCE) {
        Ok(value) => value,
        // If the future has panicked, its message is what matters.
        Err(_) if thread.is_finished() => std::panic::resume_unwind(thread.join().unwrap_err()),
        Err(_) => panic!("the future is not ready in time"),
    }
}

pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The ways to a server.
pub(super) fn ways() -> [Vec<Transport>; 3] {
    [
        vec![Transport::Polling],
        vec![Transport::WebSocket],
        vec![Transport::Polling, Transport::WebSocket],
    ]
}

fn echoing(io: &Io) {
    io.of("/")
        .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
        .on("turn", |_: Socket, bytes: Binary, ack: Ack| {
            let mut bytes = bytes.0.to_vec();
            bytes.reverse();
            ack.send(Binary::from(bytes));
        })
        .on("say", |socket: Socket, text: String| socket.emit("said", (text, 1)))
        .on("ask me", async |socket: Socket, x: u32| {
            let answer: Result<Value, _> = socket.emit_with_ack("question", x).await;
            let _ = socket.emit("answer", answer.unwrap_or_else(|error| json!(error.to_string())));
        });
}

/// Client C14: handlers have the shapes of a server's, and answer as on the server.
#[test]
fn a_client_and_a_server_talk_over_every_transport() {
    #[derive(Clone)]
    struct Scale(u32);

    for transports in ways() {
        let server = serve(echoing);
        let (tell, told) = mpsc::channel();
        let url = url(server.address);
        let client = run(async move {
            let builder = crate::client(&url).transports(transports).state(Scale(2));
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            let tell_answer = tell.clone();
            root.on("said", move |(text, one): (String, u32)| {
                drop(tell.send(format!("{text} {one}")))
            })
            .on("question", async |State(scale): State<Scale>, x: u32| {
                Ok::<_, String>(scale.0 * x)
            })
            .on("answer", move |_: client::Socket, x: Value| {
                drop(tell_answer.send(x.to_string()))
            });
            root.connect().unwrap();
            let sum: f64 = root.emit_with_ack("sum", (1, 2)).await.unwrap();
            assert_eq!(sum, 3.0);
            let turned: Binary = root.emit_with_ack("turn", Binary::from(&b"abc"[..])).await.unwrap();
            assert_eq!(&*turned.0, b"cba");
            assert!(root.is_connected() && root.id().is_some());
            root.emit("say", "hello").unwrap();
            root.emit("ask me", 21).unwrap();
            client
        });
        assert_eq!(heard(&told), "hello 1");
        assert_eq!(heard(&told), "42");
        client.close();
    }
}

/// Client C17, C18: without handlers, events and states are streams. They end with the client, and
/// nothing leaves after the close.
#[test]
fn events_and_states_are_streams() {
    let server = serve(echoing);
    let url = url(server.address);
    run(async move {
        let client = crate::client(&url).build().unwrap();
        let mut states = client.states();
        let root = client.of("/").unwrap();
        let mut events = root.events();
        root.connect().unwrap();
        for number in 0..100 {
            root.emit("say", number.to_string()).unwrap();
        }
        for number in 0..100 {
            let event = events.next_event().await.unwrap();
            assert_eq!(event.name(), "said");
            assert_eq!(event.args::<(String, u32)>().unwrap(), (number.to_string(), 1));
        }
        root.emit("ask me", 5).unwrap();
        let question = events.next_event().await.unwrap();
        assert!(question.args::<u32>().unwrap() == 5);
        question.into_ack().send("five");
        let answer = events.next_event().await.unwrap();
        assert_eq!(
            (answer.name(), answer.args::<String>().unwrap()),
            ("answer", "five".into())
        );
        assert_eq!(states.next_state().await, Some(ConnectionState::Connecting(0)));
        let connected = ConnectionState::Connected {
            generation: Generation::Four,
            transport: Transport::Polling,
        };
        assert_eq!(states.next_state().await, Some(connected));
        assert_eq!(states.next_state().await, Some(ConnectionState::Upgraded));
        let receipt = root.emit_with_receipt("say", "last").unwrap();
        assert!(matches!(receipt.await, Outcome::Sent));
        client.close();
        assert!(matches!(root.emit("say", "late"), Err(EmitError::Closed)));
        assert!(matches!(root.connect(), Err(ConnectError::Command(_))));
        let stopped = ConnectionState::Stopped(StopReason::Closed);
        assert_eq!(states.next_state().await, Some(stopped));
        assert_eq!(states.next_state().await, None);
        while let Some(event) = events.next_event().await {
            assert_eq!(event.name(), "said");
        }
    });
}

/// Client C3, C15: several namespaces share a connection, each with its own `auth` and errors. A
/// refused namespace connects again, and the others do not notice.
#[test]
fn a_refused_namespace_connects_again() {
    #[derive(serde::Deserialize)]
    struct Token {
        token: String,
    }
    let server = serve(|io| {
        echoing(io);
        io.of("/admin").with(|Auth(auth): Auth<Token>| match &*auth.token {
            "secret" => Ok(()),
            _ => Err(Refusal::new("forbidden").with_data(&json!({"need": "secret"}))),
        });
    });
    let url = url(server.address);
    let (tell, told) = mpsc::channel();
    let (left, tell_left) = (Arc::new(Mutex::new(0)), tell.clone());
    let count = Arc::clone(&left);
    run(async move {
        let client = crate::client(&url).build().unwrap();
        let (root, admin) = (client.of("/").unwrap(), client.of("admin").unwrap());
        root.on_disconnect(move || *count.lock().unwrap() += 1);
        admin
            .on_connect_error(move |error: ClientError| drop(tell.send(Err(error))))
            .on_connect(move |socket: client::Socket| drop(tell_left.send(Ok(socket.id()))));
        admin.set_auth(&json!({"token": "wrong"})).unwrap();
        assert!(matches!(admin.set_auth("text"), Err(ConnectError::Command(_))));
        root.connect().unwrap();
        admin.connect().unwrap();
        let error = heard(&told).unwrap_err();
        assert_eq!((error.class, &*error.message), (ErrorClass::Refused, "forbidden"));
        assert_eq!(error.data.as_deref(), Some(r#"{"need":"secret"}"#));
        admin.set_auth(&json!({"token": "secret"})).unwrap();
        admin.connect().unwrap();
        assert!(heard(&told).unwrap().is_some());
        let sum: f64 = root.emit_with_ack("sum", (1, 1)).await.unwrap();
        assert_eq!((sum, *left.lock().unwrap()), (2.0, 0));
    });
}

/// Client C1: the provider is asked before each handshake, and told the last error.
#[test]
fn credentials_are_provided_anew() {
    let server = serve(|io| {
        io.of("/").with(|Auth(auth): Auth<Value>| match auth["token"].as_u64() {
            Some(1) => Ok(()),
            _ => Err("expired"),
        });
    });
    let url = url(server.address);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let attempts = Arc::clone(&asked);
    run(async move {
        let builder = crate::client(&url).credentials(move |attempt: Attempt| {
            let asked = Arc::clone(&attempts);
            async move {
                let error = attempt.last_error.map(|error| error.message.to_string());
                let token = u32::from(error.is_some());
                asked.lock().unwrap().push(error);
                Ok::<_, String>(Credentials::new().auth(&json!({"token": token})).header("x-a", "b"))
            }
        });
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        let (tell, told) = mpsc::channel();
        root.on_connect(move || tell.send(()).unwrap_or_default());
        root.connect().unwrap();
        heard(&told);
    });
    assert_eq!(*asked.lock().unwrap(), [None, Some("expired".to_owned())]);
}

/// Client C1: what the provider says goes with each handshake: header fields, cookies, query and
/// `auth`. After a cut it is asked again, and nothing of its last answer is shown.
#[test]
fn each_handshake_shows_new_credentials() {
    for transports in ways() {
        let (tell, told) = mpsc::channel();
        let tell_auth = tell.clone();
        let server = serve(|io| {
            io.allow_request(move |request| {
                let shown =
                    ["authorization", "cookie"].map(|name| request.header(name).unwrap_or_default().into_owned());
                let query = request.query().get("token").map(|token| token.to_string());
                tell.send(format!("{} {} {}", shown[0], shown[1], query.unwrap_or_default()))
                    .map_err(|error| error.to_string())
            });
            io.of("/").with(move |Auth(auth): Auth<Value>| {
                tell_auth
                    .send(auth["token"].to_string())
                    .map_err(|error| error.to_string())
            });
        });
        let relay = Relay::to(&server);
        let url = url(relay.address);
        run(async move {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let (asks, delay) = (Arc::clone(&asked), Duration::from_millis(50));
            let builder = crate::client(&url)
                .transports(transports)
                .config(|config| config.reconnection_delay(delay).reconnection_delay_max(delay))
                .credentials(move |attempt: Attempt| {
                    let mut asked = asks.lock().unwrap();
                    asked.push((attempt.number, attempt.last_error.is_some()));
                    let number = asked.len();
                    let credentials = Credentials::new()
                        .header("Authorization", format!("h{number}"))
                        .header("Cookie", format!("session=c{number}"))
                        .query("token", format!("q{number}"))
                        .auth(&json!({ "token": number }));
                    async move { Ok::<_, String>(credentials) }
                });
            let client = builder.connect().unwrap();
            let root = client.of("/").unwrap();
            for number in 1..4 {
                assert_eq!(heard(&told), format!("h{number} session=c{number} q{number}"));
                assert_eq!(heard(&told), number.to_string());
                eventually(|| root.is_connected());
                relay.cut_until(|| {
                    let has_noticed = !root.is_connected() || asked.lock().unwrap().len() > number;
                    has_noticed.then_some(())
                });
            }
            let asked = asked.lock().unwrap();
            assert_eq!(asked[..3], [(0, false), (1, true), (1, true)]);
        });
    }
}

/// Client C10, C11: what waits is edited before it goes; and events that are emitted by the handler
/// of `connect` go once for each connection, also with retries.
#[test]
fn what_waits_is_edited_and_what_connects_is_sent_once() {
    for transports in ways() {
        let (tell, told) = mpsc::channel();
        let server = serve(|io| {
            io.of("/").on("count", move |number: u32, ack: Ack| {
                ack.send(());
                tell.send(number).unwrap_or_default();
            });
        });
        let relay = Relay::to(&server);
        let url = url(relay.address);
        run(async move {
            let delay = Duration::from_millis(50);
            let builder = crate::client(&url).transports(transports).config(|config| {
                let config = config.retries(3).retry_window(4);
                config.reconnection_delay(delay).reconnection_delay_max(delay)
            });
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            let connections = Arc::new(Mutex::new(0));
            let count = Arc::clone(&connections);
            root.on_connect(move |socket: client::Socket| {
                let mut connections = count.lock().unwrap();
                for number in 0..5 {
                    socket.emit("count", *connections * 10 + number).unwrap();
                }
                *connections += 1;
            });
            let waits = root.emit_with_receipt("count", 70).unwrap();
            assert!(root.replace_pending(waits.id(), "count", 77).unwrap());
            assert!(root.replace_pending(waits.id(), "disconnect", 1).is_err());
            assert_eq!(root.pending()[0].args.json(), "77");
            root.connect().unwrap();
            assert_eq!(heard(&told), 77);
            assert!(matches!(waits.await, Outcome::Acknowledged(_)));
            for round in 0..3 {
                for number in 0..5 {
                    assert_eq!(heard(&told), round * 10 + number);
                }
                // What is not acknowledged would go again, so the acknowledgements are waited for.
                root.emit_with_ack::<()>("count", 99).await.unwrap();
                assert_eq!(heard(&told), 99);
                eventually(|| root.pending().is_empty());
                relay.cut_until(|| {
                    let has_noticed = !root.is_connected() || *connections.lock().unwrap() > round + 1;
                    has_noticed.then_some(())
                });
            }
        });
    }
}

/// A relay between a client and a server, which cuts connections.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub(super) fn to(server: &Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, target) = (listener.local_addr().unwrap(), server.address);
        let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&streams);
        // The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(target).unwrap();
                let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                kept.lock().unwrap().extend(ends);
                let (from_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from_client, server));
                std::thread::spawn(move || pass(from_server, client));
            }
        });
        Self { address, streams }
    }

    pub(super) fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts connections until the client has noticed. A session that polls, or that moves to
    /// websocket, has no poll under way for a moment. It survives a cut in this moment: it polls
    /// again, on a new connection.
    pub(super) fn cut_until<T>(&self, mut noticed: impl FnMut() -> Option<T>) -> T {
        let (mut cuts, mut last) = (0, Instant::now());
        loop {
            if let Some(what) = noticed() {
                return what;
            }
            if cuts == 0 || last.elapsed() > PATIENCE / 20 {
                assert!(cuts < 20, "the client notices that its connections are cut");
                self.cut();
                (cuts, last) = (cuts + 1, Instant::now());
            }
            std::thread::yield_now();
        }
    }
}

pub(super) fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Client C8, C10, C13, C26: after a cut the client comes back. What was sent meanwhile waits, can
/// be looked at, and leaves in its order.
#[test]
fn a_client_comes_back_after_a_cut() {
    for transports in ways() {
        let (tell, told) = mpsc::channel();
        let server = serve(|io| {
            echoing(io);
            io.of("/")
                .on("count", move |number: u32| tell.send(number).unwrap_or_default());
        });
        let relay = Relay::to(&server);
        let url = url(relay.address);
        let last = transports.last().copied();
        run(async move {
            let builder = crate::client(&url).transports(transports).config(|config| {
                let delay = Duration::from_millis(100);
                config.reconnection_delay(delay).reconnection_delay_max(delay)
            });
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            let (lose, lost) = mpsc::channel();
            root.on_disconnect(move |reason: DisconnectReason| lose.send(reason).unwrap_or_default());
            root.connect().unwrap();
            for round in 0..3 {
                let _: f64 = root.emit_with_ack("sum", (1, 2)).await.unwrap();
                eventually(|| client.transport() == last);
                let reason = relay.cut_until(|| lost.try_recv().ok());
                let by_cut = [DisconnectReason::TransportClose, DisconnectReason::TransportError];
                assert!(by_cut.contains(&reason), "{reason:?}");
                assert!(matches!(
                    root.offline(Offline::Reject).emit("count", 99),
                    Err(EmitError::NotConnected)
                ));
                for number in 0..10 {
                    root.emit("count", round * 10 + number).unwrap();
                }
                let removed = root.emit_with_receipt("count", 77).unwrap();
                assert!(root.remove_pending(removed.id()));
                assert!(matches!(removed.await, Outcome::NotSent(client::NotSent::Removed)));
                let pending: Vec<_> = root
                    .pending()
                    .iter()
                    .map(|event| event.args.json().to_owned())
                    .collect();
                let expected: Vec<_> = (0..10).map(|number| (round * 10 + number).to_string()).collect();
                assert!(expected.ends_with(&pending), "{pending:?}");
                for number in 0..10 {
                    assert_eq!(heard(&told), round * 10 + number);
                }
            }
        });
    }
}

/// Client C26: a server that wants one socket for each user keeps the newest one, by a key of its
/// own. This is the code of docs/credentials.md.
#[test]
fn the_newest_client_of_a_user_wins() {
    #[derive(serde::Deserialize)]
    struct User {
        name: String,
    }
    let users = Arc::new(Mutex::new(HashMap::<String, Socket>::new()));
    let (held, left) = (Arc::clone(&users), Arc::clone(&users));
    let server = serve(move |io| {
        io.of("/")
            .on_connect(move |socket: Socket, Auth(user): Auth<User>| {
                let before = held.lock().unwrap().insert(user.name, socket);
                if let Some(before) = before {
                    let _ = before.emit("replaced", ());
                    before.disconnect();
                }
            })
            .on_disconnect(move |socket: Socket| {
                left.lock().unwrap().retain(|_, held| held.id() != socket.id());
            });
    });
    let (tell, told) = mpsc::channel();
    let url = url(server.address);
    let replaced = Arc::new(Mutex::new(0));
    let count = Arc::clone(&replaced);
    run(async move {
        let mut clients = Vec::new();
        for (number, name) in ["ann", "bob", "ann", "ann"].into_iter().enumerate() {
            let client = crate::client(&url).build().unwrap();
            let root = client.of("/").unwrap();
            let (tell, tell_end) = (tell.clone(), tell.clone());
            root.set_auth(&json!({ "name": name })).unwrap();
            let count = Arc::clone(&count);
            root.on("replaced", move || *count.lock().unwrap() += 1);
            root.on_connect(move || tell.send((number, None)).unwrap_or_default())
                .on_disconnect(move |reason: DisconnectReason| {
                    tell_end.send((number, Some(reason))).unwrap_or_default()
                });
            root.connect().unwrap();
            let mut news = vec![heard(&told)];
            if number > 1 {
                // The end of the one before may be heard first.
                news.push(heard(&told));
                let before = if number == 2 { 0 } else { 2 };
                assert!(news.contains(&(before, Some(DisconnectReason::Server))), "{news:?}");
            }
            assert!(news.contains(&(number, None)), "{news:?}");
            clients.push((client, root));
        }
        let connected: Vec<bool> = clients.iter().map(|(_, root)| root.is_connected()).collect();
        assert_eq!(connected, [false, true, false, true]);
    });
    assert_eq!(*replaced.lock().unwrap(), 2, "they are told why");
    eventually(|| users.lock().unwrap().is_empty());
}

/// Client C13: an acknowledgement that does not come ends, in time or with the connection.
#[test]
fn every_acknowledgement_ends() {
    let server = serve(|io| drop(io.of("/").on("never", || {})));
    let relay = Relay::to(&server);
    let url = url(relay.address);
    run(async move {
        let client = crate::client(&url).connect().unwrap();
        let root = client.of("/").unwrap();
        let soon = root.timeout(Duration::from_millis(200));
        let ack = soon.emit_with_ack::<()>("never", ()).await;
        assert!(matches!(ack, Err(AckError::TimedOut)), "{ack:?}");
        let ack = root.emit_with_ack::<()>("never", ());
        eventually(|| root.pending().is_empty());
        relay.cut_until(|| (!root.is_connected()).then_some(()));
        let ack = ack.await;
        assert!(matches!(ack, Err(AckError::Disconnected)), "{ack:?}");
        let ack = root.emit_with_ack::<()>("connect", ()).await;
        assert!(matches!(ack, Err(AckError::Emit(EmitError::Reserved))), "{ack:?}");
    });
}

/// Client C19: dropping the last handle closes the client, and the server hears of it.
#[test]
fn a_dropped_client_leaves() {
    for transports in ways() {
        let (tell, told) = mpsc::channel();
        let server = serve(|io| {
            echoing(io);
            io.of("/").on_disconnect(move || tell.send(()).unwrap_or_default());
        });
        let url = url(server.address);
        run(async move {
            let client = crate::client(&url).transports(transports).connect().unwrap();
            let root = client.of("/").unwrap();
            drop(client);
            let _: f64 = root.emit_with_ack("sum", (1, 2)).await.unwrap();
        });
        heard(&told);
        eventually(|| server.io.metrics().sockets == 0 && server.io.metrics().connections == 0);
    }
}

/// Client C21: a panic in a handler is reported, and the connection goes on. A server that waits
/// for an acknowledgement hears of an error.
#[test]
fn a_panic_is_contained() {
    let server = serve(echoing);
    let url = url(server.address);
    let (tell, told) = mpsc::channel();
    run(async move {
        let builder = crate::client(&url).on_error(move |namespace: &str, event: &str, error: &HandlerError| {
            let _ = tell.send(format!("{namespace} {event} {error}"));
        });
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        let mut events = root.events();
        root.on("said", |text: String| assert_eq!(text, "y"))
            .on("question", |x: u32| Err::<u32, _>(format!("no {x}")));
        root.connect().unwrap();
        root.emit("say", "x").unwrap();
        assert!(heard(&told).starts_with("/ said panicked: "));
        root.emit("ask me", 4).unwrap();
        loop {
            let event = events.next_event().await.unwrap();
            if event.name() == "answer" {
                break assert_eq!(event.args::<Value>().unwrap(), json!({"error": "no 4"}));
            }
        }
        assert_eq!(heard(&told), "/ question failed: no 4");
    });
}

/// A stream that nobody reads stops the client's reading at its limit in bytes, and no event is
/// lost.
#[test]
fn a_full_stream_stops_the_reading() {
    const EVENTS: u32 = 200;
    for transports in ways() {
        let server = serve(|io| {
            io.of("/").on("flood", |socket: Socket| {
                for number in 0..EVENTS {
                    socket.emit("drop", (number, "x".repeat(1000)))?;
                }
                Ok::<(), sio_app::EmitError>(())
            });
        });
        let url = url(server.address);
        run(async move {
            let client = crate::client(&url)
                .transports(transports)
                .max_inbox_bytes(10_000)
                .build()
                .unwrap();
            let root = client.of("/").unwrap();
            let mut events = root.events();
            root.connect().unwrap();
            root.emit("flood", ()).unwrap();
            for number in 0..EVENTS {
                let event = events.next_event().await.unwrap();
                assert_eq!(event.args::<(u32, String)>().unwrap().0, number);
            }
        });
    }
}

/// Client C16: mistakes are errors that say what to do.
#[test]
fn mistakes_are_told() {
    run(async {
        let built = crate::client("http://localhost/chat").build();
        assert!(matches!(built, Err(BuildError::Url(UrlError::Path(_)))));
        // What a `main` prints that returns the error.
        let printed = format!("{:?}", crate::client("localhost:3000").build().unwrap_err());
        assert_eq!(printed, UrlError::Scheme.to_string());
        let client = crate::client("http://localhost:1").build().unwrap();
        assert!(client.of("a,b").is_err());
        let root = client.of("/").unwrap();
        root.on("x", |_: State<u8>| {});
        let error = root.connect().unwrap_err();
        assert!(error.to_string().contains("State<u8>"), "{error}");
    });
}
