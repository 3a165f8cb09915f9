//! Makes one of our connections from an upgraded connection of hyper.

use bytes::BytesMut;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use sio_app::adapter::{Exchange, Outlet, Piped, Source};
use tokio::net::TcpStream;

use crate::stream::Stream;
use crate::tcp;

/// Waits until hyper hands over the socket, and starts a task for it.
pub(super) async fn connect(exchange: Exchange, upgrade: OnUpgrade) {
    match upgrade.await {
        Ok(upgraded) => attach(exchange, upgraded),
        // The exchange is dropped here, and so the session learns of it.
        Err(error) => tracing::debug!(%error, "the client has gone before it was a websocket"),
    }
}

/// Attaches the upgraded stream to its session. A plain TCP socket is taken out of hyper's wrapper,
/// so that any thread can write to it directly. Any other stream is written to by its task.
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
    let stream = socket.into_inner();
    tcp::send_at_once(&stream);
    let (source, outlet) = tcp::split(stream);
    drive(exchange, source, outlet, BytesMut::from(ahead));
}

fn drive(exchange: Exchange, source: impl Source + Send + Unpin + 'static, outlet: impl Outlet, ahead: BytesMut) {
    if let Some(connection) = exchange.attach(outlet, ahead) {
        // The connection gets a new task, as small as the tasks of our own listener. The present
        // task still holds what the upgrade needed.
        tokio::spawn(connection.drive(source));
    }
}
