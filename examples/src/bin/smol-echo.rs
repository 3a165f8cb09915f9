//! A server on smol, without tokio. It sends what a client says back to the client, and to the
//! others in its room.
//!
//! `cargo run --bin smol-echo --no-default-features --features smol`, then any Socket.IO client at
//! port 3000. `--port N` chooses another port. Handlers are the same as on tokio.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the line that says it listens is for whoever started it"
)]

use std::time::Duration;

use sio_async_std::{Ack, Config, RawArgs, Server, Socket};
use sio_examples::Arguments;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = Arguments::read("usage: smol-echo [--port N]", &["--port"]).port(3000);
    let io = Server::new(Config::default())?;
    io.of("/")
        .on_connect(|socket: Socket| socket.join("lobby"))
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("shout", |socket: Socket, text: String| {
            socket.to("lobby").emit("heard", text)
        })
        .on("later", async |_: Socket, text: String, ack: Ack| {
            smol::Timer::after(Duration::from_secs(1)).await;
            ack.send(text)
        });
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening {}", listener.local_addr()?.port());
        io.serve(listener).await?;
        Ok(())
    })
}
