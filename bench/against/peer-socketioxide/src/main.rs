//! socketioxide with the events of the comparison: `against-socketioxide PORT`.
//!
//! Its settings are the defaults, on tokio with one worker (the thread of `main`), as the server
//! that it is compared with: both have one core.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::serve::ListenerExt;
use bytes::Bytes;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::{self, FromMessageParts};
use socketioxide::socket::Socket;
use tokio::net::TcpSocket;

/// Whether a client asks for an acknowledgement. `AckSender` does not say it.
struct Asked(bool);

impl<A: Adapter> FromMessageParts<A> for Asked {
    type Error = Infallible;

    fn from_message_parts(_: &Arc<Socket<A>>, _: &mut handler::Value, id: &Option<i64>) -> Result<Self, Self::Error> {
        Ok(Self(id.is_some()))
    }
}

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        eprintln!("usage: against-socketioxide PORT");
        return ExitCode::from(2);
    };
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(port)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("against-socketioxide: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> std::io::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", register);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    // Without it, Nagle's algorithm holds messages back. The other servers set it by themselves.
    let listener = socket.listen(4096)?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await
}

/// A client that does not take what is sent to it loses only its own events, so the results of
/// emits are left alone.
async fn register(socket: SocketRef) {
    socket.on(
        "echo",
        async |socket: SocketRef, Data::<Value>(data), Asked(asked): Asked, ack: AckSender| {
            if asked {
                let _ = ack.send(&data);
            } else {
                let _ = socket.emit("echo", &data);
            }
        },
    );
    socket.on("bin", async |socket: SocketRef, Data::<Bytes>(data)| {
        let _ = socket.emit("bin", &data);
    });
    socket.on("cast", async |io: SocketIo, Data::<Value>(data)| {
        let _ = io.emit("cast", &data).await;
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room)| {
        socket.join(room);
    });
    socket.on("room", async |io: SocketIo, Data::<(String, Value)>((room, data))| {
        let _ = io.to(room).emit("room", &data).await;
    });
}
