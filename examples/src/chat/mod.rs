//! The chat itself: what any of the programs that serve it have in common, whatever drives their
//! sockets.
//!
//! [`register`] gives a server the chat's handlers and pages. Two files beside it: `room` is the
//! chat, which knows nothing of sockets; `pages` answers what is not Socket.IO; here they are
//! joined.

mod pages;
mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sio_app::{Ack, Config, Data, HttpRequest, Io, Options, Socket};

use room::{Entry, Person, Room};

#[derive(Clone, Default)]
struct Chat(Arc<Mutex<Room>>);

impl Chat {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client says first.
#[derive(Deserialize)]
struct Hello {
    name: String,
}

/// What it is answered.
#[derive(Serialize)]
struct Welcome {
    id: String,
    name: String,
    history: Vec<Entry>,
    present: Vec<Person>,
}

/// What clients send that know only messages.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spoken {
    Hello(String),
    Say(String),
}

/// The settings that suit the chat.
#[must_use]
pub fn config() -> Config {
    // A frame of 0.6 that is closed says nothing: do not wait long for it to come back.
    let mut config = Config::default()
        .ping_interval(Duration::from_secs(10))
        .ping_timeout(Duration::from_secs(10));
    config.legacy06.reconnect_timeout = Duration::from_secs(3);
    config
}

/// The port to serve: `--port N`, or the environment's `PORT`, or 8080. Whatever else is on the
/// command line ends the process, with `usage` ([`Arguments::read`](crate::Arguments::read)).
#[must_use]
pub fn port(usage: &'static str) -> u16 {
    let arguments = crate::Arguments::read(usage, &["--port"]);
    let default = match std::env::var("PORT").map_or(Ok(8080), |port| port.parse()) {
        Ok(port) => port,
        Err(error) => arguments.refuse(format_args!("PORT: {error}")),
    };
    arguments.port(default)
}

/// What whoever started it is told if the port cannot be served, as when another program has it.
#[must_use]
pub fn no_port(port: u16, error: &std::io::Error) -> String {
    format!("cannot listen on port {port} ({error}); --port N chooses another")
}

/// What the process is told: to serve the genuine clients, where they have been fetched.
#[must_use]
pub fn options() -> Options {
    let mut options = Options::default();
    options.client_files = pages::client_files();
    options
}

/// Makes a server the chat: its pages and its events.
pub fn register(io: &Io) {
    let pages = pages::Pages::load();
    io.on_request(move |request: &HttpRequest<'_>| pages.answer(request));
    let chat = Chat::default();
    let (hello, say, rename, message, bye) = (chat.clone(), chat.clone(), chat.clone(), chat.clone(), chat);
    io.of("/")
        .on("hello", move |socket: Socket, Hello { name }: Hello, ack: Ack| {
            let (welcome, entry) = enter(&hello, &socket, &name);
            ack.send(welcome);
            announce(&hello, &socket, entry);
        })
        .on("say", move |socket: Socket, text: String, ack: Ack| {
            match say.room().say(&socket.id(), &text, transport(&socket)) {
                Ok(entry) => {
                    ack.send(serde_json::json!({ "ok": true }));
                    publish(&socket, &entry);
                }
                Err(reason) => ack.send(serde_json::json!({ "error": reason })),
            }
        })
        .on("rename", move |socket: Socket, name: String| {
            let entry = rename.room().rename(&socket.id(), &name);
            announce(&rename, &socket, entry);
        })
        .on("typing", |socket: Socket, on: bool| {
            let name = socket.data::<String>().map(|name| (*name).clone()).unwrap_or_default();
            let typing = serde_json::json!({ "id": socket.id().as_str(), "name": name, "on": on });
            socket.broadcast().volatile().emit("typing", typing);
        })
        .on_message(move |socket: Socket, data: Data| hear(&message, &socket, &data))
        .on_disconnect(move |socket: Socket| {
            let entry = bye.room().leave(&socket.id());
            announce(&bye, &socket, entry);
        });
}

/// Brings a client into the room, which may be in it already after a reconnect.
fn enter(chat: &Chat, socket: &Socket, name: &str) -> (Welcome, Option<Entry>) {
    let mut room = chat.room();
    let (person, entry) = room.enter(&socket.id(), name, socket.generation().as_str(), transport(socket));
    socket.set_data(person.name.clone());
    let welcome = Welcome {
        id: person.id,
        name: person.name,
        history: room.history(),
        present: room.present(),
    };
    (welcome, entry)
}

/// A message without a name: all that clients of 0.6 have.
fn hear(chat: &Chat, socket: &Socket, data: &Data) {
    let spoken = match data {
        Data::Text(text) => Ok(Spoken::Say(text.to_string())),
        Data::Json(json) => serde_json::from_str(json),
        _ => return,
    };
    let id = socket.id();
    match spoken {
        Ok(Spoken::Hello(name)) => {
            let (welcome, entry) = enter(chat, socket, &name);
            for entry in welcome.history {
                let _ = socket.emit("entry", entry);
            }
            announce(chat, socket, entry);
        }
        Ok(Spoken::Say(text)) => {
            let known = chat.room().knows(&id);
            if !known {
                let (_, entry) = enter(chat, socket, "");
                announce(chat, socket, entry);
            }
            let said = chat.room().say(&id, &text, transport(socket));
            if let Ok(entry) = said {
                publish(socket, &entry);
            }
        }
        // It said something that this chat has no word for.
        Err(_) => {}
    }
}

/// Tells everybody what happened, and who is there now.
fn announce(chat: &Chat, socket: &Socket, entry: Option<Entry>) {
    let Some(entry) = entry else { return };
    publish(socket, &entry);
    let present = chat.room().present();
    if let Some(io) = socket.io() {
        io.emit("present", (present,));
    }
}

fn publish(socket: &Socket, entry: &Entry) {
    if let Some(io) = socket.io() {
        io.emit("entry", entry);
    }
}

fn transport(socket: &Socket) -> &'static str {
    socket.transport().map_or("", |transport| transport.as_str())
}
