//! From an upgraded connection of hyper's to one of ours.

use bytes::BytesMut;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sio_app::adapter::{Exchange, Outlet, Piped, Source};
use tokio::net::TcpStream;

use crate::stream::Stream;
use crate::tcp;

/// Waits until hyper lets go of the socket, and gives it a task of its own.
pub(super) async fn connect(exchange: Exchange, upgrade: OnUpgrade) {
    match upgrade.await {
        Ok(upgraded) => attach(exchange, upgraded),
        // Dropping the exchange tells the session.
        Err(error) => tracing::debug!(%error, "the client has gone before it was a websocket"),
    }
}

/// A plain TCP socket is taken out of its wrapping, and written to directly; through any other
/// stream bytes leave with its task.
fn attach(exchange: Exchange, upgraded: Upgraded) {
    let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return attach_tcp(exchange, parts.io, parts.read_buf),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => attach_tcp(exchange, parts.io, parts.read_buf),
        Err(upgraded) => {
            let (source, outlet) = Piped::split(Stream(TokioIo::new(upgraded)));
            drive(exchange, source, outlet, BytesMut::new());
        }
    }
}

fn attach_tcp(exchange: Exchange, socket: TokioIo<TcpStream>, ahead: bytes::Bytes) {
    let (source, outlet) = tcp::split(socket.into_inner());
    drive(exchange, source, outlet, BytesMut::from(ahead));
}

fn drive(exchange: Exchange, source: impl Source + Send + Unpin + 'static, outlet: impl Outlet, ahead: BytesMut) {
    if let Some(connection) = exchange.attach(outlet, ahead) {
        // A task as small as those of our own listener: this one holds what the upgrade needed.
        tokio::spawn(connection.drive(source));
    }
}
