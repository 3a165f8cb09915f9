//! What every adapter must do, done by this one.

#[path = "../../sio-app/tests/adapters/mod.rs"]
mod adapters;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use sio_tokio::{Config, Io, Options, Server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("the tests' runtime"));

/// Serves a port until the signal, and then says how it ended.
fn start(
    config: Config,
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce(io::Result<()>) + Send + 'static,
) -> (Io, SocketAddr) {
    let server = Server::with_options(config, options).expect("these make sense");
    setup(&server);
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let io = server.io().clone();
    RUNTIME.spawn(async move { ends(server.serve(listener).with_graceful_shutdown(signal).await) });
    (io, address)
}

/// Serves one stream that is no TCP connection, until it ends.
#[cfg(unix)]
fn start_stream(
    stream: std::os::unix::net::UnixStream,
    setup: impl FnOnce(&Io),
    ends: impl FnOnce() + Send + 'static,
) -> Io {
    let server = Server::new(Config::default()).expect("these make sense");
    setup(&server);
    let io = server.io().clone();
    stream.set_nonblocking(true).expect("a stream that does not block");
    RUNTIME.spawn(async move {
        let stream = tokio::net::UnixStream::from_std(stream).expect("a stream for the reactor");
        server.serve_stream(stream, sio_tokio::Peer::default()).await;
        ends();
    });
    io
}
