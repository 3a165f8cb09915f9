//! The events that the conformance tests need (the contract).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sio_app::{
    Ack, AckError, Binary, Data, EmitError, Generation, Io, Namespace, Raw, RawArgs, Refusal, Socket, TransportKind,
};
use sio_examples::{JsonArg, JsonArgs};

use crate::everybody;

/// The longest text that one event makes, in bytes.
const MAX_BIG: usize = 900_000;

pub(crate) fn register(io: &Io) {
    let root = io.of("/").with(async |socket: Socket| root_admits(&socket).await);
    everywhere(&root);
    root_only(&root);
    everybody::register(&root, io);
    legacy_06(&root);
    everywhere(&io.of("/admin").with(|socket: Socket| match token(&socket).as_deref() {
        Some("secret") => Ok(()),
        _ => Err(Refusal::new("forbidden").with_data(&json!({ "need": "secret" }))),
    }));
    let tenants = io.of_fn(|name, _| {
        name.strip_prefix("/tenant-")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    everywhere(&tenants);
    legacy_09(&tenants);
}

async fn root_admits(socket: &Socket) -> Result<(), Refusal> {
    match token(socket).as_deref() {
        Some("reject") => Err(Refusal::new("not authorized").with_data(&json!({ "code": 401 }))),
        Some("slow") => {
            socket.sleep(Duration::from_millis(300)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns `auth.token`, or the parameter `token` of the query.
fn token(socket: &Socket) -> Option<String> {
    let auth: Option<Value> = socket.auth();
    let from_auth = auth
        .as_ref()
        .and_then(|auth| auth.get("token"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    from_auth.or_else(|| socket.handshake().query_value("token"))
}

/// Registers the events of every namespace.
fn everywhere(namespace: &Namespace) {
    namespace
        .on("echo", |socket: Socket, args: RawArgs| {
            let _ = socket.emit("echo", args);
        })
        .on("echo-ack", |_: Socket, args: RawArgs, ack: Ack| ack.send(args))
        .on("cast", |socket: Socket, data: Raw| {
            socket.broadcast().emit("cast", data)
        })
        .on("whoami", |socket: Socket, ack: Ack| ack.send(who(&socket)))
        .on_message(said);
}

/// Returns what the server knows of a socket. The socket asks on its own connection, so the answer
/// may contain its secret id. No other client may learn that id.
fn who(socket: &Socket) -> Value {
    let (id, wire_id) = (socket.id(), socket.wire_id());
    let mut rooms: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    for room in rooms.iter_mut().filter(|room| **room == *id) {
        wire_id.reveal().clone_into(room);
    }
    rooms.sort_unstable();
    json!({
        "id": wire_id.reveal(),
        "ns": socket.namespace(),
        "transport": socket.transport().map(kind_of_transport),
        "eio": if socket.generation() == Generation::Engine4 { 4 } else { 3 },
        "recovered": socket.recovered(),
        "rooms": rooms,
        "token": token(socket),
    })
}

/// Returns the contract's word for a transport: `polling` or `websocket`. Streams are neither and
/// keep their own names.
fn kind_of_transport(transport: TransportKind) -> &'static str {
    match transport {
        TransportKind::JsonpPolling => TransportKind::Polling.as_str(),
        TransportKind::Flashsocket => TransportKind::WebSocket.as_str(),
        other => other.as_str(),
    }
}

/// Registers the events of `/` alone.
fn root_only(root: &Namespace) {
    rooms(root);
    root.on("binary", |socket: Socket, bytes: Binary| {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        let answer = Reversed {
            n: bytes.len(),
            rev: Binary::from(reversed),
            list: (bytes.clone(), Again { again: bytes.clone() }),
        };
        let _ = socket.emit("binary", answer);
    })
    .on("volatile", |socket: Socket, n: usize| {
        let n = n.min(1000);
        for i in 0..n {
            socket.volatile().emit("tick", i);
        }
        let _ = socket.emit("tick-end", n);
    })
    .on("burst", burst)
    .on("big", |_: Socket, size: usize, ack: Ack| {
        ack.send("b".repeat(size.min(MAX_BIG)))
    })
    .on("ask-me", ask)
    .on("ask-room", ask_room)
    .on("ask-timeout", async |socket: Socket| {
        let asked = socket
            .timeout(Duration::from_millis(200))
            .emit_with_ack::<RawArgs>("question-never", ());
        if let Err(AckError::TimedOut) = asked.await {
            let _ = socket.emit("timed-out", true);
        }
    })
    .on("later", async |socket: Socket, (millis, data): (u64, Value)| {
        let (id, io) = (socket.id(), socket.io());
        socket.sleep(Duration::from_millis(millis.min(5000))).await;
        if let Some(io) = io {
            io.to(id).emit("later", data);
        }
    })
    .on("numbered", numbered)
    .on("no-ack", || ())
    .on("bye", |socket: Socket| socket.disconnect())
    .on("bye-all", |socket: Socket| socket.close());
}

fn rooms(root: &Namespace) {
    root.on("castall", |socket: Socket, data: Raw| {
        if let Some(io) = socket.io() {
            io.emit("castall", data);
        }
    })
    .on("join", async |socket: Socket, room: String, ack: Ack| {
        // Whoever has the answer may have another node send to the room.
        if socket.join_everywhere(room).await.is_ok() {
            ack.send("ok");
        }
    })
    .on("leave", |socket: Socket, room: String, ack: Ack| {
        socket.leave(room);
        ack.send("ok");
    })
    .on("room", |socket: Socket, (room, data): (String, Raw)| {
        socket.to(&room).emit("room", (&room, data))
    })
    .on("roomall", |socket: Socket, (room, data): (String, Raw)| {
        if let Some(io) = socket.io() {
            io.to(&room).emit("roomall", (&room, data));
        }
    })
    .on("flood", flood);
}

/// Broadcasts `n` messages. A broadcast cannot wait for its slowest member, so this function pauses
/// between the messages: a member that reads at the usual speed of a program loses nothing.
async fn flood(socket: Socket, (n, size): (usize, usize)) {
    let (n, text) = (n.min(20_000), "f".repeat(size.min(65_536)));
    let Some(io) = socket.io() else { return };
    let mut sent = 0;
    for i in 0..n {
        io.to("flood").emit("flood", (i, &text));
        sent += text.len() + 32;
        if sent > 1 << 20 {
            sent = 0;
            socket.sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn burst(socket: Socket, (n, size): (usize, usize)) {
    let (n, text) = (n.min(5000), "x".repeat(size.min(10_000)));
    for i in 0..n {
        if !say(&socket, "burst", (i, &text)).await {
            return;
        }
    }
    say(&socket, "burst-end", n).await;
}

/// Whether a run of numbered messages is under way.
static NUMBERING: AtomicBool = AtomicBool::new(false);

/// Sends the numbers from 1 to `n` to all, one every `millis` milliseconds. There is one run at a
/// time, which goes on when its sender is gone. It ends early when the server shuts down, because
/// the shutdown waits for handlers.
async fn numbered(socket: Socket, (n, millis): (usize, u64)) {
    let Some(io) = socket.io() else { return };
    if NUMBERING.swap(true, Ordering::Relaxed) {
        return;
    }
    let n = n.min(100_000);
    for i in 1..=n {
        if io.is_closing() {
            return;
        }
        io.emit("num", i);
        io.sleep(Duration::from_millis(millis.min(1000))).await;
    }
    NUMBERING.store(false, Ordering::Relaxed);
    io.emit("num-end", n);
}

/// Emits as fast as the client reads. While the client's queue is full, this function waits, which
/// costs nothing. Returns false if the client has gone.
async fn say(socket: &Socket, event: &str, args: impl Serialize) -> bool {
    loop {
        match socket.emit(event, &args) {
            Err(EmitError::Full) => socket.sleep(Duration::from_millis(2)).await,
            emitted => return emitted.is_ok(),
        }
    }
}

async fn ask(socket: Socket, data: Raw) {
    if let Ok(answer) = socket.emit_with_ack::<RawArgs>("question", data).await {
        let _ = socket.emit("answer", answer);
    }
}

/// Asks all members of a room the question, and answers with what they have answered.
async fn ask_room(io: Io, (room, millis, data): (String, u64, Raw), ack: Ack) {
    let limit = Duration::from_millis(millis.min(10_000));
    let Ok(acks) = io
        .to(&room)
        .timeout(limit)
        .emit_with_ack::<RawArgs>("question", data)
        .await
    else {
        return;
    };
    let missing = acks.missing.len();
    let first = |args: RawArgs| JsonArgs::of(&args).0.into_iter().next().unwrap_or_default();
    let mut answers: Vec<Value> = acks.into_values().into_iter().map(first).collect();
    answers.sort_by_key(Value::to_string);
    ack.send(JsonArg(json!({ "answers": answers, "missing": missing })));
}

/// Handles a message without an event name, from a client before 1.0: it is sent back as it came.
/// In 0.6, a text that starts with `cast:` goes to the other clients of 0.6 instead, and one that
/// starts with `castall:` to everybody.
fn said(io: Io, socket: Socket, data: Data) {
    match (socket.generation(), &data) {
        (Generation::Legacy06, Data::Text(text)) if text.starts_with("cast:") => {
            socket.to(LEGACY_06).send(data);
        }
        (Generation::Legacy06, Data::Text(text)) if text.starts_with("castall:") => {
            io.send(data);
        }
        (Generation::Legacy06 | Generation::Legacy09, _) => {
            let _ = socket.send(data);
        }
        _ => {}
    }
}

/// The room of all 0.6 clients. No client can ask for this name by accident.
const LEGACY_06: &str = "\u{0}generation 0.6";

fn legacy_06(root: &Namespace) {
    root.on_connect(|socket: Socket| {
        if socket.generation() == Generation::Legacy06 {
            let _ = socket.join(LEGACY_06);
        }
    });
}

/// Registers the events that the contract has for clients of 0.7 to 0.9 in every namespace. For
/// later clients the contract has them in `/` alone.
fn legacy_09(namespace: &Namespace) {
    let is_meant = |socket: &Socket| socket.generation() == Generation::Legacy09;
    namespace
        .on("burst", move |socket: Socket, size: (usize, usize)| async move {
            if is_meant(&socket) {
                burst(socket, size).await;
            }
        })
        .on("ask-me", move |socket: Socket, data: Raw| async move {
            if is_meant(&socket) {
                ask(socket, data).await;
            }
        })
        .on("bye", move |socket: Socket| {
            if is_meant(&socket) {
                socket.disconnect();
            }
        });
}

#[derive(Serialize)]
struct Reversed {
    n: usize,
    rev: Binary,
    list: (Binary, Again),
}

#[derive(Serialize)]
struct Again {
    again: Binary,
}
