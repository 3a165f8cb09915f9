//! A client that reads one JSON command a line and writes one JSON line for each observation, for
//! suites that test clients of Socket.IO against genuine servers.
//!
//! `sioc-probe --url http://127.0.0.1:3000 --transports polling,websocket --generation 4` connects
//! at once. Commands are `{"on": name}`, `{"emit": [name, …args], "ack": true, "timeout": ms}`,
//! `{"send": text or JSON}` before 1.0, `{"close": "engine"}`, `{"close": "socket"}`, `{"open": 1}`
//! and `{"quit": 1}`. Bytes are `{"$b": "hex"}` in both directions.
//!
//! With a member `"ns"`, a command is for another namespace on the same connection, and `"ns"` is
//! a member of what is observed there. `{"token": T}` changes the token for later connections of
//! the namespace. With `--fresh-token`, the tokens come from a provider: `--token` first, and this
//! one for each later question.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead as _, Write as _};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Value, json};
use sio_examples::{Arguments, JsonArgs};
use sio_tokio::RawArgs;
use sio_tokio::client::{
    Ack, AckError, Attempt, Client, ClientError, ConnectionState, Credentials, DisconnectReason, Generation, Outcome,
    Receipt, Recovery, Socket, Transport,
};
use sio_tokio::codec::MessagePack;
use tokio::sync::mpsc;

const USAGE: &str = "\
usage: sioc-probe --url URL [--transports polling|websocket|polling,websocket]
                  [--generation 0.9|0.6|streaming|1|2|3|4] [--ns NS]
                  [--token T] [--fresh-token T] [--parser msgpack] [--reconnect-delay MS]
                  [--reconnect-delay-max MS] [--connect-timeout MS] [--runtime tokio|async-std]
                  [--confirm-events on|off]

--confirm-events on  ask the server to confirm events, so that each is handled exactly once over a
                     recovery; the end of each emit without `ack` is then told as `receipt`";

const OPTIONS: [&str; 12] = [
    "--url",
    "--transports",
    "--generation",
    "--ns",
    "--token",
    "--fresh-token",
    "--parser",
    "--reconnect-delay",
    "--reconnect-delay-max",
    "--connect-timeout",
    "--runtime",
    "--confirm-events",
];

/// The command to emit.
#[derive(Deserialize)]
struct EmitCommand {
    ns: Option<String>,
    emit: Vec<Value>,
    #[serde(default)]
    ack: bool,
    timeout: Option<u64>,
}

// One thread: observations are written in the order in which they are made.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::read(USAGE, &OPTIONS);
    let (client, socket) = match client(&arguments) {
        Ok(made) => made,
        Err(error) => arguments.refuse(error),
    };
    observe_socket(&socket, None);
    let mut states = client.states();
    if let Err(error) = socket.connect() {
        arguments.refuse(error);
    }
    let mut lines = commands();
    let mut probe = Probe::new(socket, confirms(&arguments) == Ok(true));
    // Before 1.0, `message` is no event that one asks for.
    if matches!(arguments.value("--generation"), Some("0.9" | "0.6" | "streaming")) {
        let socket = probe.sockets[0].1.clone();
        probe.report(&socket, None, "message");
    }
    let mut acks = FuturesUnordered::new();
    let mut receipts = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(ack) = acks.next() => tell_ack(ack),
            Some((number, outcome)) = receipts.next() => tell_receipt(number, &outcome),
            Some(state) = states.next_state() => tell_state(&state),
            line = lines.recv() => match line.as_deref().map(|line| probe.obey(line)) {
                Some(Step::Go) => {}
                Some(Step::Await(number, timeout, answer)) => {
                    acks.push(async move { (number, timeout, answer.await) });
                }
                Some(Step::Receive(number, receipt)) => {
                    receipts.push(async move { (number, receipt.await) });
                }
                Some(Step::Quit) | None => break,
            },
        }
    }
    client.close();
    let goodbye = async { while states.next_state().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_millis(500), goodbye).await;
    exit(0);
}

/// Reads the lines of the standard input, on a thread of its own.
#[expect(clippy::disallowed_methods, reason = "the standard input blocks its reader")]
fn commands() -> mpsc::UnboundedReceiver<String> {
    let (tell, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn client(arguments: &Arguments) -> Result<(Client, Socket), Box<dyn std::error::Error>> {
    let url = arguments.value("--url").ok_or("--url is missing")?;
    let transports = arguments.value("--transports").unwrap_or("polling,websocket");
    let transports: Result<Vec<Transport>, String> = transports
        .split(',')
        .map(|name| match name {
            "polling" => Ok(Transport::Polling),
            "websocket" => Ok(Transport::WebSocket),
            _ => Err(format!("--transports: {name}")),
        })
        .collect();
    let (generation, has_auth) = match arguments.value("--generation").unwrap_or("4") {
        "3" | "4" => (Generation::Four, true),
        "1" | "2" => (Generation::Two, false),
        "0.9" => (Generation::V0_9, false),
        "0.6" => (Generation::V0_6, false),
        "streaming" => (Generation::Streaming, false),
        other => return Err(format!("--generation: {other}").into()),
    };
    let connect_timeout = millis(arguments, "--connect-timeout", 4000)?;
    let delay = millis(arguments, "--reconnect-delay", 1000)?;
    let delay_max = millis(arguments, "--reconnect-delay-max", 5000)?.max(delay);
    let builder = match arguments.value("--runtime").unwrap_or("tokio") {
        "tokio" => sio_tokio::Client::builder(url),
        "async-std" => sio_async_std::Client::builder(url),
        other => return Err(format!("--runtime: {other}").into()),
    };
    let mut builder = builder.transports(transports?).generation(generation).config(|config| {
        let config = config.connect_timeout(connect_timeout).randomization_factor(0.0);
        let config = config.reconnection_delay(delay).reconnection_delay_max(delay_max);
        // The client in JavaScript counts no attempts in a minute.
        let config = config.max_attempts_per_minute(100_000);
        // A command says itself how long an acknowledgement may take.
        config
            .ack_timeout(Duration::from_secs(24 * 60 * 60))
            .max_queued_bytes(64usize << 20)
    });
    let confirms = confirms(arguments)?;
    builder = builder.config(|config| config.confirm_events(confirms));
    match arguments.value("--parser") {
        None => {}
        Some("msgpack") => builder = builder.config(|config| config.parser(MessagePack::default())),
        Some(other) => return Err(format!("--parser: {other}").into()),
    }
    let namespace = arguments.value("--ns").unwrap_or("/");
    let token = arguments.value("--token").map(str::to_owned);
    // Servers without `auth` know the query of the handshake, and that of the namespace.
    let in_query = !has_auth && namespace == "/";
    let fresh = arguments.value("--fresh-token").map(str::to_owned);
    if let Some(fresh) = fresh {
        builder = builder.credentials(provider(token.unwrap_or_default(), fresh, in_query));
        let client = builder.build()?;
        let socket = client.of(namespace)?;
        return Ok((client, socket));
    }
    if let Some(token) = token.as_ref().filter(|_| !has_auth) {
        builder = builder.query("token", token);
    }
    let client = builder.build()?;
    let socket = client.of(namespace)?;
    if let Some(token) = token.filter(|_| has_auth) {
        socket.set_auth(&json!({ "token": token }))?;
    }
    Ok((client, socket))
}

/// A provider of credentials, which has the first token once.
fn provider(
    first: String,
    fresh: String,
    in_query: bool,
) -> impl Fn(Attempt) -> Ready<Result<Credentials, Infallible>> + Send + Sync + 'static {
    let was_asked = AtomicBool::new(false);
    move |_| {
        let token = match was_asked.swap(true, Ordering::Relaxed) {
            false => &first,
            true => &fresh,
        };
        ready(Ok(match in_query {
            true => Credentials::new().query("token", token),
            false => Credentials::new().auth(&json!({ "token": token })),
        }))
    }
}

fn confirms(arguments: &Arguments) -> Result<bool, String> {
    match arguments.value("--confirm-events") {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(other) => Err(format!("--confirm-events: {other}")),
    }
}

fn millis(arguments: &Arguments, name: &str, default: u64) -> Result<Duration, String> {
    let number = arguments.value(name).map_or(Ok(default), str::parse);
    let number = number.map_err(|error| format!("{name}: {error}"))?;
    Ok(Duration::from_millis(number.max(1)))
}

/// Writes a line.
fn tell(observation: &Value) {
    let mut out = std::io::stdout().lock();
    // Without a reader there is nobody to tell.
    if writeln!(out, "{observation}").and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

fn tell_state(state: &ConnectionState) {
    match state {
        ConnectionState::Upgraded => tell(&json!({ "upgrade": "websocket" })),
        ConnectionState::Connecting(attempt @ 1..) => tell(&json!({ "reconnect_attempt": attempt })),
        _ => {}
    }
}

fn tell_ack((number, timeout, answer): (u64, bool, Result<RawArgs, AckError>)) {
    match answer {
        Ok(args) => tell(&json!({ "ack": JsonArgs::of(&args).0, "of": number })),
        Err(AckError::Emit(_)) => {} // it was not taken, so nothing is waited for
        Err(_) if timeout => tell(&json!({ "ack_timeout": true, "of": number })),
        Err(_) => {}
    }
}

fn tell_receipt(number: u64, outcome: &Outcome) {
    tell(&json!({ "receipt": format!("{outcome:?}"), "of": number }));
}

/// Reports what happens to a namespace. `ns` is its name, unless it is the first.
fn observe_socket(socket: &Socket, ns: Option<&str>) {
    let (connected, disconnected, failed) = (named(ns), named(ns), named(ns));
    socket
        .on_connect(move |socket: Socket, client: Client| {
            let transport = client.transport().map(Transport::as_str);
            let recovered = socket.recovery() == Some(Recovery::Recovered);
            connected(json!({ "connect": socket.id(), "transport": transport, "recovered": recovered }));
        })
        .on_disconnect(move |reason: DisconnectReason| disconnected(json!({ "disconnect": reason.as_str() })))
        .on_connect_error(move |error: ClientError| {
            let message = Some(&*error.message).filter(|message| !message.is_empty());
            let data = error
                .data
                .as_deref()
                .map(|data| serde_json::from_str(data).unwrap_or(Value::Null));
            failed(json!({ "connect_error": { "message": message, "data": data } }));
        });
}

/// Writes a line about this namespace.
fn named(ns: Option<&str>) -> impl Fn(Value) + Send + Sync + 'static {
    let ns = ns.map(str::to_owned);
    move |mut observation| {
        if let Some(ns) = &ns {
            observation["ns"] = json!(ns);
        }
        tell(&observation);
    }
}

/// What to do after a command.
enum Step {
    Go,
    /// An acknowledgement comes for the emit of this number; it may have a time.
    Await(u64, bool, sio_tokio::client::AckFuture<RawArgs>),
    /// The end of the emit of this number is told.
    Receive(u64, Receipt),
    Quit,
}

struct Probe {
    client: Client,
    /// Whether the ends of emits are told.
    confirms: bool,
    /// The first namespace, then those that a command has named.
    sockets: Vec<(Option<String>, Socket)>,
    asked_for: BTreeSet<(Option<String>, String)>,
    emits: u64,
}

impl Probe {
    fn new(socket: Socket, confirms: bool) -> Self {
        Self {
            client: socket.client(),
            confirms,
            sockets: vec![(None, socket)],
            asked_for: BTreeSet::new(),
            emits: 0,
        }
    }

    /// Returns the namespace of a command.
    fn socket(&mut self, ns: Option<&str>) -> Option<Socket> {
        if let Some((_, socket)) = self.sockets.iter().find(|(known, _)| known.as_deref() == ns) {
            return Some(socket.clone());
        }
        let socket = self.client.of(ns?).ok()?;
        observe_socket(&socket, ns);
        self.sockets.push((ns.map(str::to_owned), socket.clone()));
        Some(socket)
    }

    fn obey(&mut self, line: &str) -> Step {
        if let Ok(command) = serde_json::from_str::<EmitCommand>(line) {
            return self.emit(command);
        }
        let command: Value = serde_json::from_str(line).unwrap_or_default();
        let ns = command["ns"].as_str();
        let Some(socket) = self.socket(ns) else {
            return Step::Go;
        };
        if let Some(name) = command["on"].as_str() {
            self.report(&socket, ns, name);
        } else if let Some(message) = command.get("send") {
            drop(socket.emit("message", JsonArgs(vec![message.clone()])));
        } else if let Some(token) = command["token"].as_str() {
            drop(socket.set_auth(&json!({ "token": token })));
        } else if command["close"] == "engine" {
            // The client comes back by itself.
            self.client.network_lost();
        } else if command["close"] == "socket" {
            socket.disconnect();
        } else if command.get("open").is_some() {
            drop(socket.connect());
        } else if command.get("quit").is_some() {
            return Step::Quit;
        }
        Step::Go
    }

    /// Reports this event from now on.
    fn report(&mut self, socket: &Socket, ns: Option<&str>, name: &str) {
        if self.asked_for.insert((ns.map(str::to_owned), name.to_owned())) {
            report(socket, ns, name.to_owned());
        }
    }

    fn emit(&mut self, command: EmitCommand) -> Step {
        let number = self.emits;
        self.emits += 1;
        let Some(socket) = self.socket(command.ns.as_deref()) else {
            return Step::Go;
        };
        let mut parts = command.emit.into_iter();
        let Some(Value::String(name)) = parts.next() else {
            return Step::Go;
        };
        let args = JsonArgs(parts.collect());
        if !command.ack {
            // An event that is not taken is missed by whoever waits for its effect.
            if !self.confirms {
                drop(socket.emit(&name, args));
                return Step::Go;
            }
            let receipt = socket.emit_with_receipt(&name, args);
            return receipt.map_or(Step::Go, |receipt| Step::Receive(number, receipt));
        }
        let answer = match command.timeout {
            Some(timeout) => {
                let emitter = socket.timeout(Duration::from_millis(timeout.max(1)));
                emitter.emit_with_ack(&name, args)
            }
            None => socket.emit_with_ack(&name, args),
        };
        Step::Await(number, command.timeout.is_some(), answer)
    }
}

/// Reports this event of a namespace, and answers it if the server wants an answer.
fn report(socket: &Socket, ns: Option<&str>, name: String) {
    let (event, tell) = (name.clone(), named(ns));
    socket.on(&event, move |args: RawArgs, ack: Ack| {
        let parts: Vec<Value> = [json!(name)].into_iter().chain(JsonArgs::of(&args).0).collect();
        tell(json!({ "event": parts }));
        if name != "question-never" {
            ack.send(args);
        }
    });
}
