//! The tests that every adapter must pass, run with this adapter.

#[path = "../../sio-app/tests/adapters/mod.rs"]
mod adapters;

use std::future::{Future, IntoFuture};
use std::io;
use std::net::{SocketAddr, TcpListener};

use sio_async_std::{Config, Io, Options, Serve, Server};

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "async-std")]
    drop(async_std::task::spawn(task));
    #[cfg(not(feature = "async-std"))]
    smol::spawn(task).detach();
}

/// Serves a port until the signal, and then calls `ends` with the result.
fn start(
    config: Config,
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce(io::Result<()>) + Send + 'static,
) -> (Io, SocketAddr) {
    let server = Server::with_options(config, options).expect("these make sense");
    start_with(server, setup, Server::serve, signal, ends)
}

/// Serves nothing but the Flash policy, on a port, until the signal.
fn start_flash_policy(
    config: Config,
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce(io::Result<()>) + Send + 'static,
) -> (Io, SocketAddr) {
    let server = Server::with_options(config, options).expect("these make sense");
    start_with(server, setup, Server::serve_flash_policy, signal, ends)
}

/// Serves a port with TLS until the signal.
#[cfg(feature = "tls")]
fn start_tls(
    config: Config,
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce(io::Result<()>) + Send + 'static,
    tls: sio_app::Tls,
) -> (Io, SocketAddr) {
    let server = Server::with_options(config, options).expect("these make sense");
    let serve = |server: &Server, listener| server.serve_tls(listener, tls);
    start_with(server, setup, serve, signal, ends)
}

fn start_with(
    server: Server,
    setup: impl FnOnce(&Io),
    serve: impl FnOnce(&Server, TcpListener) -> Serve,
    signal: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce(io::Result<()>) + Send + 'static,
) -> (Io, SocketAddr) {
    setup(&server);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = serve(&server, listener).with_graceful_shutdown(signal).into_future();
    spawn(async move { ends(served.await) });
    (server.io().clone(), address)
}

/// Begins a client.
fn client(url: &str) -> sio_app::client::ClientBuilder {
    sio_async_std::Client::builder(url)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(future)
}

/// Serves one stream that is not a TCP connection, until it ends.
#[cfg(unix)]
fn start_stream(
    stream: std::os::unix::net::UnixStream,
    setup: impl FnOnce(&Io),
    ends: impl FnOnce() + Send + 'static,
) -> Io {
    let server = Server::new(Config::default()).expect("these make sense");
    setup(&server);
    let io = server.io().clone();
    spawn(async move {
        let stream = async_io::Async::new(stream).expect("a stream for the reactor");
        server.serve_stream(stream, sio_async_std::Peer::default()).await;
        ends();
    });
    io
}
