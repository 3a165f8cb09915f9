//! The chat on an event loop without an async runtime: one thread and a poller.
//!
//! ```text
//! cargo run --release --bin own-event-loop          then open http://localhost:8080
//! ```
//! The program `chat` serves exactly the same chat on tokio: handlers do not know what runs them.
//! The loop is [`sio_examples::event_loop`].

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells where to look")]

use std::net::TcpListener;

use sio_app::Io;
use sio_examples::event_loop::{EventLoop, RUNTIME};
use sio_examples::{asked_to_end, chat};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = chat::port("usage: own-event-loop [--port N]");
    let io = Io::new(chat::config(), chat::options().shards(1), RUNTIME)?;
    chat::register(&io);
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| chat::no_port(port, &error))?;
    println!("chat: http://localhost:{}", listener.local_addr()?.port());

    let mut event_loop = EventLoop::new()?;
    event_loop.serve(&io, listener)?;
    let asked = asked_to_end();
    event_loop.spawn(async move {
        asked.await;
        io.close();
    });
    event_loop.run()?;
    Ok(())
}
