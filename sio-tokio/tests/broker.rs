//! The tests of clusters that need genuine Redis servers, run with this adapter.

#[path = "../../sio-app/tests/redis/mod.rs"]
mod redis;

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::sync::LazyLock;

use sio_app::adapter::ClusterEmitter;
use sio_tokio::redis::{BrokerBuildError, BrokerBuilder, BrokerConfig, BrokerHandle, Emitter, Event};
use sio_tokio::{Cluster, Config, Io, Options, Server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("the tests' runtime"));

/// Begins the settings of connections.
fn builder(config: BrokerConfig) -> BrokerBuilder {
    sio_tokio::redis::builder(config)
}

/// Makes connections.
fn connect(
    builder: BrokerBuilder,
    listener: impl FnMut(Event) + Send + 'static,
) -> Result<BrokerHandle, BrokerBuildError> {
    let _inside = RUNTIME.enter();
    builder.connect(listener)
}

/// Makes an emitter.
fn emitter(cluster: &Cluster) -> Result<ClusterEmitter, BrokerBuildError> {
    let _inside = RUNTIME.enter();
    Emitter::with_cluster(cluster).map(|emitter| ClusterEmitter::clone(&emitter))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Serves a port until the signal.
fn serve(
    options: Options,
    setup: impl FnOnce(&Io),
    signal: impl Future<Output = ()> + Send + 'static,
) -> (Io, SocketAddr) {
    let server = Server::with_options(Config::default(), options).expect("these make sense");
    setup(&server);
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = server.serve(listener).with_graceful_shutdown(signal).into_future();
    RUNTIME.spawn(async move { served.await.expect("it serves") });
    (server.io().clone(), address)
}
