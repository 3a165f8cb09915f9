//! TLS on both runtimes. The program sends back what a client says over `https` or `wss`.
//!
//! ```text
//! tls-echo [--port P] [--ca FILE] [--cert FILE --key FILE]
//! ```
//! The program serves port P (default: 3443) on tokio, and port P+1 on async-std, with the same
//! handlers. `--cert` and `--key` name PEM files. Without them the program makes its own
//! certificate for `localhost` and 127.0.0.1, and `--ca` names the file to which it writes the
//! certificate, for clients that shall trust it. It prints `listening P` when both ports accept.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the line that says it listens is for whoever started it"
)]

use std::error::Error;
use std::fs;
use std::net::TcpListener;

use sio_app::{Ack, Config, Io, RawArgs, Socket, Tls};
use sio_examples::{Arguments, asked_to_end};

const USAGE: &str = "usage: tls-echo [--port N] [--ca FILE] [--cert FILE --key FILE]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(USAGE, &["--port", "--ca", "--cert", "--key"]);
    let port = arguments.port(3443);
    let Some(next) = port.checked_add(1) else {
        arguments.refuse("--port leaves no room for the one above it")
    };
    let tls = tls(&arguments)?;

    let on_tokio = sio_tokio::Server::new(Config::default())?;
    let on_async_std = sio_async_std::Server::new(Config::default())?;
    register(&on_tokio);
    register(&on_async_std);

    let first = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let second = TcpListener::bind(("127.0.0.1", next))?;
    println!("listening {port}");
    let first = on_tokio
        .serve_tls(first, tls.clone())
        .with_graceful_shutdown(asked_to_end());
    let second = on_async_std
        .serve_tls(second, tls)
        .with_graceful_shutdown(asked_to_end());
    tokio::try_join!(first.into_future(), second.into_future())?;
    Ok(())
}

fn register(io: &Io) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("secure", |socket: Socket, ack: Ack| {
            ack.send(socket.handshake().peer().secure)
        });
}

fn tls(arguments: &Arguments) -> Result<Tls, Box<dyn Error>> {
    match (arguments.value("--cert"), arguments.value("--key")) {
        (Some(chain), Some(key)) => return Ok(Tls::from_pem(&fs::read(chain)?, &fs::read(key)?)?),
        (None, None) => {}
        _ => arguments.refuse("--cert and --key go together"),
    }
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let chain = made.cert.pem();
    if let Some(path) = arguments.value("--ca") {
        fs::write(path, &chain)?;
    }
    Ok(Tls::from_pem(
        chain.as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    )?)
}
