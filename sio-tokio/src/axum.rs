//! Socket.IO inside an axum application.
//!
//! Mounting takes one line: `layer(io.layer())`, or `merge(io.routes())`. The application keeps its
//! routes, its middleware, its state and its listener.
//!
//! ```no_run
//! use axum::Router;
//! use axum::routing::get;
//! use sio_tokio::{Config, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let io = Server::new(Config::default())?;
//!     io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", text));
//!     let app = Router::new().route("/", get(async || "hello")).layer(io.layer());
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! # State, users, addresses
//!
//! Layers *outside* of Socket.IO's layer (layers that are added after it) can put values into a
//! request's extensions. Handlers find such a value by its type
//! ([`Socket::extension`](crate::Socket::extension),
//! [`HttpRequest::extension`](crate::HttpRequest::extension)):
//!
//! ```
//! use std::sync::Arc;
//! use axum::{Extension, Router};
//! use sio_tokio::{Server, Socket};
//!
//! struct Database;
//!
//! fn app(io: &Server, database: Arc<Database>) -> Router {
//!     io.of("/").on("save", |socket: Socket, text: String| {
//!         let database = socket.extension::<Arc<Database>>();
//!         # drop((database.cloned(), text));
//!     });
//!     Router::new().layer(io.layer()).layer(Extension(database))
//! }
//! ```
//! Routes can emit, too: a [`Server`] is a handle, so put a clone of it into the application's
//! state.
//!
//! With `app.into_make_service_with_connect_info::<SocketAddr>()` the peer's address is the one in
//! axum's [`ConnectInfo`].
//!
//! # Layer or routes
//!
//! A layer sees requests before they are routed, wherever it stands. [`Server::routes`] returns
//! ordinary routes: they can be nested and merged, and can have their own layers. (Under a nested
//! router, axum removes the router's prefix from the path before Socket.IO sees the path. Clients
//! give the whole path, prefix included, in their option `path`.) The page of
//! [`tower`](crate::tower) says everything else.
//!
//! # Shutdown
//!
//! ```no_run
//! # async fn example(io: sio_tokio::Server, app: axum::Router) -> std::io::Result<()> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let signal = async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     io.finish().await;
//! };
//! axum::serve(listener, app).with_graceful_shutdown(signal).await
//! # }
//! ```
//! [The crate's page](crate#the-end) shows a signal that also waits for SIGTERM.

use std::net::SocketAddr;

use ::axum::Router;
use ::axum::extract::ConnectInfo;
use http::Extensions;

use crate::Server;

/// Available with the feature `axum`.
impl Server {
    /// Returns the routes of Socket.IO: everything under [`Config::path`](crate::Config::path), and
    /// under [`Config::engine_path`](crate::Config::engine_path) if it is set.
    ///
    /// ```
    /// # fn example(io: sio_tokio::Server) -> axum::Router {
    /// axum::Router::new()
    ///     .route("/", axum::routing::get(async || "hello"))
    ///     .merge(io.routes())
    /// # }
    /// ```
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let config = self.config();
        let paths = [Some(&config.path), config.engine_path.as_ref()];
        paths.into_iter().flatten().fold(Router::new(), |router, path| {
            let router = match config.add_trailing_slash {
                true => router,
                false => router.route_service(path, self.service()),
            };
            router
                .route_service(&format!("{path}/"), self.service())
                .route_service(&format!("{path}/{{*rest}}"), self.service())
        })
    }
}

pub(crate) fn remote_address(extensions: &Extensions) -> Option<SocketAddr> {
    let info = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(info.0)
}
