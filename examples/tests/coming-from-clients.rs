//! The code of `docs/client-javascript.md` and `docs/client-rust-socketio.md`, the pages for people
//! who come from another client. Here it is compiled, and a test compares it with the pages.
#![allow(
    clippy::print_stdout,
    dead_code,
    unused_variables,
    reason = "the code of the pages is compiled and not run"
)]

use std::future::ready;
use std::time::Duration;

use serde_json::json;
use sio_tokio::client::{
    Ack, AckError, Attempt, ClientBuilder, ClientConfig, ClientError, ClientTls, ConnectionState, Credentials,
    DisconnectReason, Generation, Offline, OnRefused, Recovery, Socket, Transport,
};
use sio_tokio::codec::MessagePack;
use sio_tokio::rustls::RootCertStore;
use sio_tokio::{Binary, Client, RawArgs, State};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(serde::Deserialize)]
struct Said {
    who: String,
    text: String,
}

#[derive(Clone, Default)]
struct Db(u32);

fn connecting(client: &Client, token: &str) -> Outcome {
    {
        // To connect.
        let client = Client::builder("https://chat.example").build()?;
        let socket = client.of("/")?;
        socket.connect()?;
    }
    {
        // In one line, with the default settings.
        let client = Client::connect("https://chat.example")?;
    }
    // Another namespace.
    let admin = client.of("/admin")?;
    admin.connect()?;
    // What a namespace says of itself, once.
    admin.set_auth(&json!({ "token": token }))?;
    // To leave a namespace.
    admin.disconnect();
    // To close everything.
    client.close();
    Ok(())
}

fn builders(builder: fn() -> ClientBuilder, roots: RootCertStore, hash: [u8; 32], fetch: fn() -> String) -> Outcome {
    let builders = [
        builder().path("/my/"),
        builder().transports([Transport::WebSocket]),
        builder().config(|config| config.try_all_transports(true).remember_upgrade(true)),
        builder().credentials(move |_: Attempt| {
            ready(Ok::<_, String>(Credentials::new().auth(&json!({ "token": fetch() }))))
        }),
        builder().credentials(async |attempt: Attempt| {
            Ok::<_, String>(Credentials::new().header("X-Attempt", attempt.number.to_string()))
        }),
        builder().header("Authorization", "Bearer x"),
        builder().query("room", "7"),
        builder().tls(ClientTls::with_roots(roots)?),
        builder().tls(ClientTls::pinned([hash])?),
        builder().proxy("http://user:password@proxy.example:3128"),
        builder().no_proxy(),
        builder().config(|config| config.parser(MessagePack::default())),
        builder().generation(Generation::Two),
        builder().state(Db::default()),
        builder().config(|config| config.reconnection(false)),
        builder().config(|config| config.reconnection_attempts(Some(5))),
        builder().config(|config| {
            config
                .reconnection_delay(Duration::from_secs(2))
                .reconnection_delay_max(Duration::from_secs(30))
        }),
        builder().config(|config| config.randomization_factor(0.2)),
        builder().config(|config| config.connect_timeout(Duration::from_secs(10))),
        builder().config(|config| config.join_timeout(Some(Duration::from_secs(10)))),
        builder().config(|config| config.ack_timeout(Duration::from_secs(10)).retries(3)),
        builder().config(|config| config.retries(3).retry_window(8)),
        builder().config(|config| config.close_with_last(false)),
        builder().config(|config| config.on_refused(OnRefused::Retry)),
    ];
    Ok(())
}

fn receiving(socket: &Socket) {
    // A handler of an event.
    socket.on("said", |text: String| println!("{text}"));
    // Several arguments.
    socket.on("said", |(who, text): (String, String)| println!("{who}: {text}"));
    // An object.
    socket.on("said", |said: Said| println!("{}: {}", said.who, said.text));
    // Any arguments.
    socket.on("said", |args: RawArgs| println!("{}", args.json()));
    // Binary.
    socket.on("file", |file: Binary| println!("{} bytes", file.0.len()));
    // With the socket, to send something.
    socket.on("ping me", |socket: Socket| socket.emit("pinged", 1));
    // To acknowledge.
    socket.on("sum", |(a, b): (f64, f64), ack: Ack| ack.send(a + b));
    // To acknowledge with the returned value.
    socket.on("half", |n: f64| Ok::<_, String>(n / 2.0));
    // A handler that waits.
    socket.on("load", async |socket: Socket, key: String| {
        socket
            .emit_with_ack::<u32>("get", key)
            .await
            .map_err(|error| error.to_string())
    });
    // State.
    socket.on("x", |State(db): State<Db>| println!("{}", db.0));
    // Once.
    socket.once("welcome", || println!("welcome"));
    // To remove handlers.
    socket.off("said");
    // Every event.
    socket.on_any(|_: &Socket, event: &str, args: &RawArgs| println!("{event} {}", args.json()));
    // Connected.
    socket.on_connect(|socket: Socket| println!("{:?}", socket.id()));
    // Not connected any more.
    socket.on_disconnect(|reason: DisconnectReason| println!("{reason}"));
    // Refused, or not reached.
    socket.on_connect_error(|error: ClientError| println!("{error} {:?}", error.data));
}

async fn sending(socket: &Socket, cursor: &str) -> Outcome {
    // An event.
    socket.emit("say", "hello")?;
    // Several arguments.
    socket.emit("say", ("hello", 1, json!({ "a": true })))?;
    // Binary.
    socket.emit("file", Binary::from(vec![1, 2]))?;
    // A message without a name.
    socket.emit("message", "hello")?;
    // To wait for the answer.
    let sum: f64 = socket.emit_with_ack("sum", (1, 2)).await?;
    // With a time limit.
    let answer: Result<f64, AckError> = socket
        .timeout(Duration::from_secs(5))
        .emit_with_ack("sum", (1, 2))
        .await;
    // Volatile.
    socket.volatile().emit("cursor", cursor)?;
    // The newest of its kind.
    socket
        .offline(Offline::Newest("cursor".into()))
        .emit("cursor", cursor)?;
    // Only while connected.
    socket.offline(Offline::Reject).emit("say", "now")?;
    // What became of it.
    let outcome = socket.emit_with_receipt("say", "hello")?.await;
    // What waits for a connection.
    let id = socket.pending()[0].id;
    let changed = socket.replace_pending(id, "say", "hi")?;
    let waiting = socket.pending().len();
    socket.clear_pending();
    Ok(())
}

async fn states(client: &Client, socket: &Socket) {
    // To watch the connection.
    let mut states = client.states();
    while let Some(state) = states.next_state().await {
        println!("{state:?}");
    }
    // The number of an attempt.
    if let Some(ConnectionState::Connecting(attempt)) = states.next_state().await {
        println!("{attempt}");
    }
    // Whether it is connected, and over what.
    let (connected, transport) = (socket.is_connected(), client.transport());
    // The id.
    let id = socket.id();
    // Whether nothing was missed.
    let recovered = socket.recovery() == Some(Recovery::Recovered);
    // After sleep, or when the network is back.
    client.wake();
    client.network_lost();
    // Events as a stream.
    let mut events = socket.events();
    while let Some(event) = events.next_event().await {
        println!("{}", event.name());
    }
}

/// What the formatter does not decide.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !",{}".contains(*c))
        .collect()
}

/// Client: all code in the last column of both pages compiles.
#[test]
fn the_pages_show_what_compiles() {
    let compiled = bare(include_str!("coming-from-clients.rs"));
    for (page, least) in [
        (include_str!("../../docs/client-javascript.md"), 45),
        (include_str!("../../docs/client-rust-socketio.md"), 25),
    ] {
        let mut rows = 0;
        // The first table says what is different, in words.
        let (_, tables) = page.split_once("| you want |").expect("tables");
        for row in tables.lines().filter(|line| line.ends_with("` |")) {
            let code = row.trim_end_matches("` |").rsplit(" `").next().unwrap_or_default();
            let code = bare(&code.replace("\\|", "|"));
            assert!(compiled.contains(&code), "{row}");
            rows += 1;
        }
        assert!(rows >= least, "{rows} rows");
    }
}

/// Client: the defaults that the pages name are those of the settings.
#[test]
fn the_pages_name_the_defaults() {
    let config = ClientConfig::default();
    assert_eq!(config.reconnection_delay, Duration::from_secs(1));
    assert_eq!(config.reconnection_delay_max, Duration::from_secs(5));
    assert_eq!(config.connect_timeout, Duration::from_secs(20));
    assert_eq!(config.join_timeout, None);
    assert_eq!(config.ack_timeout, Duration::from_secs(30));
    assert_eq!(config.max_queued_bytes, 1_000_000);
    assert_eq!(config.max_attempts_per_minute, 60);
    assert_eq!(config.transports, [Transport::Polling, Transport::WebSocket]);
    assert!(config.reconnection && config.upgrade && config.close_with_last);
    assert!(config.reconnection_attempts.is_none() && config.retries == 0);
    assert_eq!(config.on_refused, OnRefused::AskOnce);
}
