//! A chat in which a Socket.IO client of 2011 and a client of today talk to each other.
//!
//! ```text
//! cargo run --release --bin chat          then open http://localhost:8080
//! ```
//! Nothing else is needed: the page and its client module are in the program. `--port N` or the
//! environment variable `PORT` chooses another port. If `cargo xtask clients` has put genuine
//! clients into `clients/`, the program serves them too. Then the page `/generations` runs one
//! frame for each generation, all in the same room.
//!
//! If it is built with `--features transcript`, the program writes the inputs and outputs of the
//! server into files (`docs/transcript.md`). The environment variable `SIO_TRANSCRIPT` has the name
//! of the files.
//!
//! The chat itself is [`sio_examples::chat`]. This file runs it on tokio.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells where to look")]

use std::process::ExitCode;

use sio_examples::chat;
use sio_tokio::{HandlerError, Server};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let port = chat::port("usage: chat [--port N]");
    let server = Server::with_options(chat::config(), chat::options())?;
    #[cfg(feature = "transcript")]
    let _transcripts = sio_examples::Transcripts::write_if_asked(&server)?;
    chat::register(&server);
    // Without this function, or a subscriber of `tracing`, the program would report no errors. The
    // arguments that a client has sent are not written to the terminal.
    server.on_error(|_, event, error| match error {
        HandlerError::Args(_) => eprintln!("chat: {event:?}: arguments do not fit"),
        error => eprintln!("chat: {event:?}: {error}"),
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| chat::no_port(port, &error))?;
    println!("chat: http://localhost:{}", listener.local_addr()?.port());
    server
        .serve(listener)
        .with_graceful_shutdown(sio_examples::asked_to_end())
        .await?;
    Ok(())
}
