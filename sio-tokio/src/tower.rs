//! Socket.IO inside another HTTP server: a [layer](SocketIoLayer) and a [service](SocketIoService) for requests of hyper 1.
//!
//! Requests under [`Config::path`](crate::Config::path) (`/socket.io/`) are Socket.IO's, all others go to the application's own service as they came. One port, one TLS, one
//! stack of middleware.
//!
//! ```
//! use sio_tokio::{Config, Server, Socket};
//! use sio_tokio::tower::SocketIoLayer;
//! use tower_layer::Layer;
//!
//! # fn own_service() -> sio_tokio::tower::NotFound { Default::default() }
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let io = Server::new(Config::default())?;
//! io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", text));
//! // What `own_service` was, with Socket.IO in front of it.
//! let service = SocketIoLayer::new(&io).layer(own_service());
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//! With axum it is one line, [`Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer): see the module `axum`.
//!
//! # What handlers see
//!
//! [`Socket::handshake`](crate::Socket::handshake) has the headers, path and query of the request that opened the session, as hyper read them. What middleware in front has put into the request's
//! extensions is there too, by type:
//!
//! ```
//! # use sio_tokio::{Refusal, Server, Socket};
//! #[derive(Clone)]
//! struct User(String);
//!
//! # fn example(io: &Server) {
//! io.of("/").with(|socket: Socket| match socket.extension::<User>() {
//!     Some(user) => Ok(socket.set_data(user.clone())),
//!     None => Err(Refusal::new("log in first")),
//! });
//! # }
//! ```
//! Extensions are kept as long as the session is: put handles into them, not bulk. [`HttpRequest::extension`](crate::HttpRequest::extension) finds them in
//! [`Io::allow_request`](crate::Io::allow_request), where a session can be refused before it begins.
//!
//! The peer's address is not in a request: insert a [`Peer`](crate::Peer) as an extension, with `secure` where your listener has TLS. (With the feature `axum`, its `ConnectInfo`
//! does for the address.)
//!
//! # What is whose business
//!
//! | | |
//! |---|---|
//! | TLS, HTTP/2, how many TCP connections, how long they may be idle or take for a head | the host's |
//! | [`Options::max_connections`](crate::Options::max_connections), and by address | count what Socket.IO holds: parked polls, websockets and requests under way; more are answered 503 |
//! | [`Options::body_timeout`](crate::Options::body_timeout) | for the body of a POST: 408 |
//! | [`Config::max_payload`](crate::Config::max_payload) | for bodies (413) and for websocket messages |
//! | limits on request heads in [`Config`](crate::Config) | below the host's own: 414, 431. A session keeps the head of its handshake |
//! | timeouts of whole requests in your middleware | must be longer than the ping interval (25 s): a poll waits that long when nothing happens |
//!
//! **CORS.** Sio answers preflights and sets CORS headers itself if [`Config::cors`](crate::Config::cors) says so. If the application's middleware does that for all routes, leave `cors` unset and say with
//! [`Config::origins`](crate::Config::origins) whether pages of other hosts may open sessions: middleware cannot keep them from a websocket, [`Origins::SameHost`](crate::Origins::SameHost) does.
//!
//! **HTTP/2.** Polling works. A websocket over HTTP/2 (RFC 8441) is refused with 501; browsers take HTTP/1.1 for websockets unless the host has announced the other.
//!
//! **Old clients.** Everything works that hyper can carry, double slashes in the path included. The handshakes before RFC 6455 (hixie-75, hixie-76) are none of HTTP, and hyper cannot read them: they are
//! answered 400, and their clients poll. They are served by [`Server::listen`](crate::Server::listen).
//!
//! # Shutdown
//!
//! [`Io::close`](crate::Io::close) ends parked polls and websockets, [`Io::ended`](crate::Io::ended) waits for the last. The host's own graceful shutdown does not know of websockets, which hyper has handed over:
//!
//! ```
//! # use sio_tokio::Server;
//! # async fn example(io: Server, serve: impl Future<Output = ()>) {
//! // `serve` is the host, with a graceful shutdown of its own whose signal calls `io.close()`.
//! serve.await;
//! io.finish().await;
//! # }
//! ```

mod body;
mod future;
mod head;
mod upgrade;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use sio_app::Exchanged;
use tower_layer::Layer;
use tower_service::Service;

pub use body::ResponseBody;
pub use future::ResponseFuture;

use crate::Server;
use future::Serving;

/// Puts Socket.IO in front of a service.
#[derive(Clone, Debug)]
pub struct SocketIoLayer(Server);

impl SocketIoLayer {
    /// A layer for this server.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self(server.clone())
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SocketIoService::with_inner(&self.0, inner)
    }
}

/// Answers the requests that are Socket.IO's; the others go to `S`, by default to 404.
#[derive(Clone, Debug)]
pub struct SocketIoService<S = NotFound> {
    server: Server,
    inner: S,
}

impl SocketIoService {
    /// A service for Socket.IO alone.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self::with_inner(server, NotFound)
    }
}

impl<S> SocketIoService<S> {
    /// A service that gives what is not Socket.IO's to another.
    #[must_use]
    pub fn with_inner(server: &Server, inner: S) -> Self {
        Self {
            server: server.clone(),
            inner,
        }
    }
}

/// Mounting.
impl Server {
    /// The layer that puts this server in front of a service, such as an axum `Router`.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self)
    }

    /// The service that answers this server's requests, and 404 to others.
    #[must_use]
    pub fn service(&self) -> SocketIoService {
        SocketIoService::new(self)
    }
}

impl<S, B, R> Service<http::Request<B>> for SocketIoService<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    B: http_body::Body,
    R: http_body::Body<Data = Bytes>,
{
    type Response = http::Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        if !self.server.concerns(target) {
            return ResponseFuture::inner(self.inner.call(request));
        }
        let (parts, body) = request.into_parts();
        match self.take_up(parts, body) {
            Ok(taken) => taken,
            Err(request) => ResponseFuture::inner(self.inner.call(*request)),
        }
    }
}

impl<S> SocketIoService<S> {
    /// Takes up a request under our path; gives it back if it is not ours after all.
    fn take_up<F, B>(
        &self,
        mut parts: http::request::Parts,
        body: B,
    ) -> Result<ResponseFuture<F, B>, Box<http::Request<B>>> {
        let head = match head::convert(&parts, &self.server.config().http) {
            Ok(head) => head,
            Err(refusal) => return Ok(ResponseFuture::refusal(refusal)),
        };
        self.server.tick();
        let peer = head::peer(&parts.extensions);
        let mut upgrade = None;
        let exchanged = self.server.exchange(head, peer, || {
            upgrade = parts.extensions.remove();
            head::extension(&mut parts.extensions)
        });
        match exchanged {
            Exchanged::Ours(exchange) => {
                let upgrade = upgrade.or_else(|| parts.extensions.remove());
                let serving = Serving::new(exchange, body, &self.server, parts.version, upgrade);
                Ok(ResponseFuture::ours(serving))
            }
            Exchanged::Foreign(_) => Err(Box::new(http::Request::from_parts(parts, body))),
            Exchanged::Full => Ok(ResponseFuture::refusal((
                StatusCode::SERVICE_UNAVAILABLE,
                "as many connections as there may be",
            ))),
        }
    }
}

/// The service of those who have no other: every answer is 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl<B> Service<http::Request<B>> for NotFound {
    type Response = http::Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        let mut response = http::Response::new("Not Found".to_owned());
        *response.status_mut() = StatusCode::NOT_FOUND;
        let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        ready(Ok(response))
    }
}
