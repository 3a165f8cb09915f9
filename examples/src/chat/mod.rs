//! The chat itself. Several programs serve it, each with another runtime; this module is the same
//! for all of them.
//!
//! [`register`] gives a server the chat's handlers and pages. There are two more files: `room` is
//! the chat without any sockets, and `pages` answers requests that are not for Socket.IO. This file
//! joins them.

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

/// The first event of a client.
#[derive(Deserialize)]
struct Hello {
    name: String,
}

/// The answer to [`Hello`].
#[derive(Serialize)]
struct Welcome {
    id: String,
    name: String,
    history: Vec<Entry>,
    present: Vec<Person>,
}

/// A message of a client that knows messages and no events.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spoken {
    Hello(String),
    Say(String),
}

/// The settings that suit the chat.
#[must_use]
pub fn config() -> Config {
    // When a page of 0.6 is closed, its client sends nothing. So the server does not wait long for
    // it to come back.
    let mut config = Config::default()
        .ping_interval(Duration::from_secs(10))
        .ping_timeout(Duration::from_secs(10));
    config.legacy06.reconnect_timeout = Duration::from_secs(3);
    config
}

/// Returns the port to serve: `--port N`, or the environment variable `PORT`, or 8080. Any other
/// option on the command line ends the process with `usage`
/// ([`Arguments::read`](crate::Arguments::read)).
#[must_use]
pub fn port(usage: &'static str) -> u16 {
    let arguments = crate::Arguments::read(usage, &["--port"]);
    let default = match std::env::var("PORT").map_or(Ok(8080), |port| port.parse()) {
        Ok(port) => port,
        Err(error) => arguments.refuse(format_args!("PORT: {error}")),
    };
    arguments.port(default)
}

/// The message for the user when the port cannot be served, for example because another program has
/// it.
#[must_use]
pub fn no_port(port: u16, error: &std::io::Error) -> String {
    format!("cannot listen on port {port} ({error}); --port N chooses another")
}

/// The settings of the process: it serves the genuine clients, if they have been fetched.
#[must_use]
pub fn options() -> Options {
    let mut options = Options::default();
    options.client_files = pages::client_files();
    options
}

/// Registers the chat's pages and events on a server.
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

/// Brings a client into the room. After a reconnect the client may be in it already.
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

/// Handles a message without an event name. Clients of 0.6 have only such messages.
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
        // The chat ignores a message that it does not know.
        Err(_) => {}
    }
}

/// Tells all clients what happened, and who is in the room now.
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
