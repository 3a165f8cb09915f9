//! The client of this crate in the generations before 1.0, over the sockets of the adapter.

use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use sio_app::client::{self, ConnectionState, EmitError, Feature, Generation, Offline, Recovery, Transport};
use sio_app::codec::Streaming;
use sio_app::{Ack, Binary, Config, Io, Options, Socket};

use super::client::{Relay, run, url, ways};
use super::{Served, heard, serve_with};

const PATH: &str = "/streaming";

fn serve(setup: impl FnOnce(&Io)) -> Served {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount(PATH, Streaming);
    serve_with(config, Options::default(), setup)
}

fn echoing(io: &Io) {
    io.of("/")
        .on("message", |socket: Socket, value: Value| socket.emit("message", value))
        .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
        .on("ask me", async |socket: Socket, x: u32| {
            let answer: Result<Value, _> = socket.emit_with_ack("question", x).await;
            let _ = socket.emit("answer", answer.unwrap_or_else(|error| json!(error.to_string())));
        });
    io.of("/chat").on("hi", |_: Socket, ack: Ack| ack.send("there"));
}

fn builder(url: &str, generation: Generation, transports: &[Transport]) -> client::ClientBuilder {
    let builder = crate::client(url)
        .generation(generation)
        .transports(transports.to_vec());
    let builder = match generation {
        Generation::Streaming => builder.path(PATH),
        _ => builder,
    };
    builder.config(|config| {
        let delay = Duration::from_millis(100);
        config.reconnection_delay(delay).reconnection_delay_max(delay)
    })
}

/// Messages both ways, then a cut: 0.9 begins a new session, the others go back to theirs, and what
/// was sent meanwhile leaves in its order.
#[test]
fn messages_and_a_cut_before_1_0() {
    for generation in [Generation::V0_9, Generation::V0_6, Generation::Streaming] {
        for transports in ways() {
            let server = serve(echoing);
            let relay = Relay::to(&server);
            let builder = builder(&url(relay.address), generation, &transports);
            run(async move {
                let client = builder.build().unwrap();
                let (root, mut states) = (client.of("/").unwrap(), client.states());
                let (tell, told) = mpsc::channel();
                let (connect, connected) = mpsc::channel();
                root.on("message", move |value: Value| tell.send(value).unwrap_or_default());
                root.on_connect(move |socket: client::Socket| {
                    connect.send(socket.recovery()).unwrap_or_default();
                });
                root.connect().unwrap();
                assert_eq!(heard(&connected), Some(Recovery::New));
                assert_eq!(states.next_state().await, Some(ConnectionState::Connecting(0)));
                let transport = match transports[..] {
                    [Transport::Polling] => Transport::Polling,
                    _ => Transport::WebSocket,
                };
                let opened = ConnectionState::Connected { generation, transport };
                assert_eq!(states.next_state().await, Some(opened));
                for value in [json!("é€😀\n"), json!({ "a": [1, null] }), json!("")] {
                    root.emit("message", &value).unwrap();
                    assert_eq!(heard(&told), value);
                }
                let refused = root.emit("message", Binary::from(&b"x"[..]));
                assert!(matches!(refused, Err(EmitError::Unsupported(Feature::Binary))));
                relay.cut();
                // No more than a few: what waits leaves at the pace of `drain_per_second` later.
                for _ in 0..20 {
                    let _ = root.offline(Offline::Reject).emit("message", "before");
                    super::yield_now().await;
                }
                // A poll may not have been under way, and then the client has lost nothing.
                let mut cx = Context::from_waker(Waker::noop());
                relay.cut_until(|| {
                    loop {
                        match states.poll_next_state(&mut cx) {
                            Poll::Ready(Some(ConnectionState::Lost(_))) => return Some(()),
                            Poll::Ready(_) => {}
                            Poll::Pending => return None,
                        }
                    }
                });
                for number in 0..10 {
                    root.emit("message", number).unwrap();
                }
                let recovery = heard(&connected);
                let resumes = generation != Generation::V0_9;
                let expected = if resumes { Recovery::Recovered } else { Recovery::New };
                assert_eq!(recovery, Some(expected), "{generation:?} {transports:?}");
                let mut after = std::iter::from_fn(|| Some(heard(&told))).filter(|value| value != "before");
                for number in 0..10 {
                    assert_eq!(after.next(), Some(json!(number)), "{generation:?} {transports:?}");
                }
                client.close();
            });
        }
    }
}

#[test]
fn acknowledgements_and_namespaces_of_0_9() {
    for transports in ways() {
        let server = serve(echoing);
        // `Auto` would choose Engine.IO 4 here.
        let builder = builder(&url(server.address), Generation::V0_9, &transports);
        run(async move {
            let client = builder.build().unwrap();
            let (root, chat) = (client.of("/").unwrap(), client.of("/chat").unwrap());
            let (tell, told) = mpsc::channel();
            root.on("question", |x: u32, ack: client::Ack| ack.send(2 * x))
                .on("answer", move |x: Value| tell.send(x).unwrap_or_default());
            root.connect().unwrap();
            chat.connect().unwrap();
            let sum: f64 = root.emit_with_ack("sum", (1, 2)).await.unwrap();
            assert_eq!(sum, 3.0);
            let there: String = chat.emit_with_ack("hi", ()).await.unwrap();
            assert_eq!(there, "there");
            root.emit("ask me", 21).unwrap();
            assert_eq!(heard(&told), json!(42));
            client.close();
        });
    }
}
