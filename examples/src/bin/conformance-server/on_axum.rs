//! `--runtime axum`: tokio, with each server mounted in an axum application.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use sio_examples::asked_to_end;
use sio_tokio::Server;
use tokio::net::TcpListener;

/// Serves one port. The layer takes the requests that are for Socket.IO. For all other requests the
/// application's fallback is the server's own service.
pub(crate) async fn serve(server: Server, listener: TcpListener) -> io::Result<()> {
    let app = Router::new().fallback_service(server.service()).layer(server.layer());
    let signal = async move {
        asked_to_end().await;
        server.finish().await;
    };
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(signal)
        .await
}
