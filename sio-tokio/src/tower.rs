//! Socket.IO inside another HTTP server: a [layer](SocketIoLayer) and a [service](SocketIoService)
//! for requests of hyper 1.
//!
//! Requests under [`Config::path`](crate::Config::path) (`/socket.io/`) are Socket.IO's, all others
//! go to the application's own service as they came. One port, one TLS, one stack of middleware.
//!
//! ```
//! use sio_tokio::{Config, Server, Socket};
//! use sio_tokio::tower::SocketIoLayer;
//! use tower_layer::Layer;
//!
//! # fn example<S>(own_service: S) -> Result<(), Box<dyn std::error::Error>> {
//! let io = Server::new(Config::default())?;
//! io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", text));
//! let service = SocketIoLayer::new(&io).layer(own_service);
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//! Without a service of the application's own, [`Server::service`](crate::Server::service) is all
//! of it. With axum it is one line,
//! [`Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer): see the module
//! `axum`.
//!
//! # What handlers see
//!
//! [`Socket::handshake`](crate::Socket::handshake) has the headers, path and query of the request
//! that opened the session, as hyper read them. What middleware in front has put into the request's
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
//! Extensions are kept as long as the session is: put handles into them, not bulk.
//! [`HttpRequest::extension`](crate::HttpRequest::extension) finds them in
//! [`Io::allow_request`](crate::Io::allow_request), where a session can be refused before it
//! begins.
//!
//! The peer's address is not in a request: insert a [`Peer`](crate::Peer) as an extension, with
//! `secure` where your listener has TLS. (With the feature `axum`, its `ConnectInfo` does for the
//! address.)
//!
//! # What is whose business
//!
//! | | |
//! |---|---|
//! | TLS, HTTP/2, how many TCP connections, how long they may be idle or take for a head | the host's |
//! | [`Options::max_connections`](crate::Options::max_connections), and by address | count what Socket.IO holds: parked polls, websockets and requests under way; more are answered 503 |
//! | [`Options::body_timeout`](crate::Options::body_timeout) | for the body of a POST: 408 |
//! | [`Config::max_payload`](crate::Config::max_payload) | for bodies (413, once the rest has been read and thrown away for [`Options::linger_timeout`](crate::Options::linger_timeout) at most) and for websocket messages |
//! | limits on request heads in [`Config`](crate::Config) | below the host's own: 414, 431. A session keeps the head of its handshake |
//! | timeouts of whole requests in your middleware | must be longer than the ping interval (25 s): a poll waits that long when nothing happens |
//!
//! **Hosts.** A name that is pointed at the machine (DNS rebinding) is told from the server's own
//! by [`Config::hosts`](crate::Config::hosts). Whether a request comes from loopback, for which
//! there is a rule by default, is known only if the peer's address is: see above. Otherwise list
//! the hosts.
//!
//! **CORS.** Sio answers preflights and sets CORS headers itself if
//! [`Config::cors`](crate::Config::cors) says so, or if [`Config::origins`](crate::Config::origins)
//! lists pages. If the application's middleware does that for all routes, say `Cors::list` of
//! nothing and with [`Config::origins`](crate::Config::origins) whether pages of other hosts may
//! open sessions: middleware cannot keep them from a websocket,
//! [`Origins::SameHost`](crate::Origins::SameHost) does.
//!
//! **HTTP/2.** Polling works. A websocket over HTTP/2 (RFC 8441) is refused with 501; browsers take
//! HTTP/1.1 for websockets unless the host has announced the other.
//!
//! **Old clients.** Everything works that hyper can carry, double slashes in the path included. The
//! handshakes before RFC 6455 (hixie-75, hixie-76) are none of HTTP, and hyper cannot read them:
//! they are answered 400, and their clients poll. They are served by
//! [`Server::listen`](crate::Server::listen).
//!
//! # Shutdown
//!
//! First Socket.IO, then the host: [`Server::finish`](crate::Server::finish) tells all clients,
//! over their websockets and in their polls, and waits until they have left. The host has to serve
//! meanwhile, for those who are between two polls; its own graceful shutdown comes after it. (That
//! knows nothing of websockets, which hyper has handed over.)
//!
//! ```
//! # use sio_tokio::Server;
//! # async fn example(io: Server) {
//! let signal = async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     io.finish().await;
//! };
//! // `signal` is what the host's graceful shutdown waits for.
//! # signal.await;
//! # }
//! ```

mod body;
mod future;
mod head;
mod upgrade;

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use sio_app::adapter::Exchanged;
use tower_layer::Layer;
use tower_service::Service;

pub use body::ResponseBody;
pub use future::ResponseFuture;

use crate::Server;
use future::Serving;
use head::Refusal;

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

/// Answers the requests that are Socket.IO's; the others go to `S`.
#[derive(Clone, Debug)]
pub struct SocketIoService<S = OwnAnswers> {
    server: Server,
    inner: S,
}

impl SocketIoService {
    /// A service without another behind it: what is not Socket.IO's is answered by
    /// [`Io::on_request`](crate::Io::on_request), as by the server's own listener. So this is the
    /// whole server as a service.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self::with_inner(server, OwnAnswers(server.clone()))
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

/// With the feature `tower`.
impl Server {
    /// The layer that puts this server in front of a service, such as an axum `Router`.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self)
    }

    /// This server as a service: what is not Socket.IO's is answered by
    /// [`Io::on_request`](crate::Io::on_request).
    #[must_use]
    pub fn service(&self) -> SocketIoService {
        SocketIoService::new(self)
    }
}

impl<S, B, R> Service<Request<B>> for SocketIoService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        if !self.server.driver().concerns(target) {
            return ResponseFuture::inner(self.inner.call(request));
        }
        let (mut parts, body) = request.into_parts();
        let head = match head::convert(&parts, &self.server.config().http) {
            Ok(head) => head,
            Err(refusal) => return ResponseFuture::refusal(refusal, parts.version),
        };
        let peer = head::peer(&parts.extensions);
        let mut upgrade = None;
        let exchanged = self.server.driver().exchange(head, peer, || {
            upgrade = parts.extensions.remove();
            head::extension(&mut parts.extensions)
        });
        match exchanged {
            Exchanged::Ours(exchange) => {
                let upgrade = upgrade.or_else(|| parts.extensions.remove());
                ResponseFuture::ours(Serving::new(exchange, body, &self.server, parts.version, upgrade))
            }
            Exchanged::Foreign(_) => ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body))),
            Exchanged::Full => ResponseFuture::refusal(FULL, parts.version),
        }
    }
}

/// The service of those who have no other: [`Io::on_request`](crate::Io::on_request) answers, or
/// 404.
#[derive(Clone, Debug)]
pub struct OwnAnswers(Server);

impl<B: Body> Service<Request<B>> for OwnAnswers {
    type Response = Response<ResponseBody<String>>;
    type Error = Infallible;
    type Future = ResponseFuture<Ready<Result<Response<String>, Infallible>>, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let head = match head::convert(&parts, &self.0.config().http) {
            Ok(head) => head,
            Err(refusal) => return ResponseFuture::refusal(refusal, parts.version),
        };
        let peer = head::peer(&parts.extensions);
        let extension = head::extension(&mut parts.extensions);
        match self.0.driver().take_up(head, peer, extension) {
            Some(exchange) => ResponseFuture::ours(Serving::new(exchange, body, &self.0, parts.version, None)),
            None => ResponseFuture::refusal(FULL, parts.version),
        }
    }
}

const FULL: Refusal = (
    StatusCode::SERVICE_UNAVAILABLE,
    "there are as many connections as may be",
);
