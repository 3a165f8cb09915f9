//! The events about all nodes of a cluster. Without a cluster there is this node alone.

use serde_json::{Value, json};
use sio_app::{Ack, Emitter, Io, Namespace, Raw, RawArgs, RemoteSocket, ServerSideEvent, Socket};
use sio_examples::{JsonArg, JsonArgs};

pub(crate) fn register(root: &Namespace, io: &Io) {
    root.on("fetch", fetch)
        .on("all-join", |io: Io, (room, other): (String, String)| {
            io.to(room).join(other)
        })
        .on("all-leave", |io: Io, (room, other): (String, String)| {
            io.to(room).leave(other)
        })
        .on("except", |io: Io, (room, without, data): (String, String, Raw)| {
            io.to(room).except(without).emit("except", data);
        })
        .on("all-disconnect", |io: Io, room: String| io.to(room).disconnect())
        .on("share", |socket: Socket, data: Value, ack: Ack| {
            if socket.set_shared_data(data).is_ok() {
                ack.send("ok");
            }
        })
        .on("emit-to", |io: Io, (id, data): (String, Raw)| {
            remote(io, id, move |to| to.emit("news", data))
        })
        .on("join-of", |io: Io, (id, room): (String, String)| {
            remote(io, id, move |to| to.join(room))
        })
        .on("leave-of", |io: Io, (id, room): (String, String)| {
            remote(io, id, move |to| to.leave(room))
        })
        .on("end-of", |io: Io, (id, close): (String, bool)| {
            remote(io, id, move |to| if close { to.close() } else { to.disconnect() })
        })
        .on("castlocal", |io: Io, data: Raw| {
            io.local().emit("castlocal", data);
        })
        .on("sse", |io: Io, data: Raw| io.server_side_emit("sse", data))
        .on("sse-ask", ask_servers);
    let hears = io.clone();
    root.on_server_side("sse", move |event: ServerSideEvent| {
        hears.local().emit("sse-heard", event.args().clone());
    });
    root.on_server_side("sse-ask", |event: ServerSideEvent| {
        let x = first(event.args());
        // An answer of JSON and bytes can be written.
        let _ = event.answer(JsonArg(json!({ "node": std::process::id(), "x": x })));
    });
}

/// Answers with the sockets of all nodes, and, if nodes were silent, with how many.
async fn fetch(io: Io, room: Option<String>, ack: Ack) {
    let chosen: Emitter = match room {
        Some(room) => io.to(room),
        None => io.of("/").all(),
    };
    let found = chosen.fetch_sockets().await;
    let mut sockets: Vec<Value> = Vec::new();
    for socket in &found.sockets {
        let mut rooms: Vec<&str> = socket.rooms().iter().map(|room| &**room).collect();
        rooms.sort_unstable();
        sockets.push(json!({
            "id": socket.id(),
            "rooms": rooms,
            "data": json_of(socket.data_json()),
            "handshake": json_of(socket.handshake_json()),
        }));
    }
    sockets.sort_by_key(|socket| socket["id"].to_string());
    match found.is_complete() {
        true => ack.send((sockets,)),
        false => ack.send((sockets, found.silent)),
    }
}

/// Finds this socket, wherever it is, and does this with it.
async fn remote(io: Io, id: String, act: impl FnOnce(&RemoteSocket)) {
    if let [socket] = &io.to(id).fetch_sockets().await.sockets[..] {
        act(socket);
    }
}

/// What is no JSON is seen as such.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| json!({ "error": error.to_string(), "text": text }))
}

async fn ask_servers(io: Io, args: RawArgs, ack: Ack) {
    let Ok(said) = io.server_side_emit_with_ack::<Raw>("sse-ask", args).await else {
        return;
    };
    let mut answers: Vec<Value> = said.answers.into_iter().map(|answer| first(&answer.into())).collect();
    answers.sort_by_key(|answer| answer["node"].as_u64());
    ack.send(JsonArg(json!({ "answers": answers, "missing": said.silent })));
}

/// The first argument, with its bytes.
fn first(args: &RawArgs) -> Value {
    JsonArgs::of(args).0.into_iter().next().unwrap_or_default()
}
