//! The tests of clusters that need genuine Redis servers, run with this adapter.

#[path = "../../sio-app/tests/redis/mod.rs"]
mod redis;

use std::future::{Future, IntoFuture};
use std::net::{SocketAddr, TcpListener};

use sio_app::adapter::ClusterEmitter;
use sio_async_std::redis::{BrokerBuildError, BrokerBuilder, BrokerConfig, BrokerHandle, Emitter, Event};
use sio_async_std::{Cluster, Config, Io, Options, Server};

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "async-std")]
    drop(async_std::task::spawn(task));
    #[cfg(not(feature = "async-std"))]
    smol::spawn(task).detach();
}

/// Begins the settings of connections.
fn builder(config: BrokerConfig) -> BrokerBuilder {
    sio_async_std::redis::builder(config)
}

/// Makes connections.
fn connect(
    builder: BrokerBuilder,
    listener: impl FnMut(Event) + Send + 'static,
) -> Result<BrokerHandle, BrokerBuildError> {
    builder.connect(listener)
}

/// Makes an emitter.
fn emitter(cluster: &Cluster) -> Result<ClusterEmitter, BrokerBuildError> {
    Emitter::with_cluster(cluster).map(|emitter| ClusterEmitter::clone(&emitter))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    async_io::block_on(future)
}

/// Serves a port until the signal.
fn serve(
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
) -> (Io, SocketAddr) {
    let server = Server::with_options(Config::default(), options).expect("these make sense");
    setup(&server);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = server.serve(listener).with_graceful_shutdown(signal).into_future();
    spawn(async move { served.await.expect("it serves") });
    (server.io().clone(), address)
}
