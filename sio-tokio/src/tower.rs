//! Socket.IO inside another HTTP server: a [layer](SocketIoLayer) and a [service](SocketIoService)
//! for requests of hyper 1.
//!
//! Socket.IO takes the requests under [`Config::path`](crate::Config::path) (`/socket.io/`). All
//! other requests go unchanged to the application's own service. So there is one port, one TLS
//! setup and one stack of middleware.
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
//! An application without a service of its own uses [`Server::service`](crate::Server::service). An
//! axum application mounts the layer with
//! [`Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer): see the module
//! `axum`.
//!
//! # What handlers see
//!
//! [`Socket::handshake`](crate::Socket::handshake) has the headers, path and query of the request
//! that opened the session, as hyper read them. It also has the request's extensions: what the
//! middleware in front of Socket.IO has put there is found by its type:
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
//! A session keeps the extensions until it ends: put handles into them, not large values.
//! [`HttpRequest::extension`](crate::HttpRequest::extension) finds them in
//! [`Io::allow_request`](crate::Io::allow_request), where a session can be refused before it
//! begins.
//!
//! A request does not say the peer's address: insert a [`Peer`](crate::Peer) as an extension, with
//! `secure` set if your listener has TLS. (With the feature `axum`, the address in axum's
//! `ConnectInfo` is used as well.)
//!
//! # Who sets which limit
//!
//! | limit | who sets it, and what it counts |
//! |---|---|
//! | TLS, HTTP/2, the number of TCP connections, how long they may be idle or take to send a head | the host sets them |
//! | [`Options::max_connections`](crate::Options::max_connections), and the limit for one address | they count what Socket.IO holds: parked polls, websockets and requests under way. A request above the limit is answered with 503 |
//! | [`Options::body_timeout`](crate::Options::body_timeout) | the time for the body of a POST. A later body is answered with 408 |
//! | [`Config::max_payload`](crate::Config::max_payload) | the size of bodies and of websocket messages. A larger body is answered with 413, after its rest has been read and thrown away, for [`Options::linger_timeout`](crate::Options::linger_timeout) at most |
//! | limits on request heads in [`Config`](crate::Config) | should be below the host's own limits. A larger head is answered with 414 or 431, because a session keeps the head of its handshake |
//! | timeouts of whole requests in your middleware | you set them. They must be longer than the ping interval (25 s): a poll waits that long when nothing happens |
//!
//! **Hosts.** An attacker can let a name of its own point at your machine (DNS rebinding).
//! [`Config::hosts`](crate::Config::hosts) lists the server's own names, so that requests for other
//! names are refused. By default there is a rule for requests from loopback only. The server can
//! apply that rule only if it knows the peer's address (see above). If it does not know the
//! address, list the hosts.
//!
//! **CORS.** Sio answers preflights and sets CORS headers itself if
//! [`Config::cors`](crate::Config::cors) says so, or if [`Config::origins`](crate::Config::origins)
//! lists pages. If the application's middleware does this for all routes, set
//! [`Config::cors`](crate::Config::cors) to an empty `Cors::list`, and say in
//! [`Config::origins`](crate::Config::origins) whether pages of other hosts may open sessions. CORS
//! middleware cannot keep such pages from opening a websocket;
//! [`Origins::SameHost`](crate::Origins::SameHost) does.
//!
//! **HTTP/2.** Polling works. A websocket over HTTP/2 (RFC 8441) is refused with 501. Browsers use
//! HTTP/1.1 for websockets unless the host announces that it takes websockets over HTTP/2.
//!
//! **Old clients.** Everything that hyper can carry works, including double slashes in the path.
//! The websocket handshakes before RFC 6455 (hixie-75, hixie-76) are not valid HTTP, and hyper
//! cannot read them. They are answered with 400, and their clients use polling instead.
//! [`Server::listen`](crate::Server::listen) serves them.
//!
//! # Shutdown
//!
//! Shut down Socket.IO first, then the host. [`Server::finish`](crate::Server::finish) tells all
//! clients, over their websockets and in their polls, and waits until they have left. The host has
//! to serve requests meanwhile, because some clients are between two polls. The host's own graceful
//! shutdown comes afterwards. (The host's shutdown does not wait for websockets, because hyper has
//! handed them over.)
//!
//! ```
//! # use sio_tokio::Server;
//! # async fn example(io: Server) {
//! let signal = async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     io.finish().await;
//! };
//! // The host's graceful shutdown waits for `signal`.
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
    /// Creates a layer for this server.
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

/// Answers the requests that are for Socket.IO. All other requests go to the service `S`.
#[derive(Clone, Debug)]
pub struct SocketIoService<S = OwnAnswers> {
    server: Server,
    inner: S,
}

impl SocketIoService {
    /// Creates a service with no other service behind it. The function of
    /// [`Io::on_request`](crate::Io::on_request) answers requests that are not for Socket.IO, as it
    /// does behind the server's own listener. So this service is the whole server.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self::with_inner(server, OwnAnswers(server.clone()))
    }
}

impl<S> SocketIoService<S> {
    /// Creates a service that gives requests that are not for Socket.IO to the service `inner`.
    #[must_use]
    pub fn with_inner(server: &Server, inner: S) -> Self {
        Self {
            server: server.clone(),
            inner,
        }
    }
}

/// Available with the feature `tower`.
impl Server {
    /// Returns the layer that puts this server in front of a service, such as an axum `Router`.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self)
    }

    /// Returns this server as a service. The function of [`Io::on_request`](crate::Io::on_request)
    /// answers requests that are not for Socket.IO.
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

/// The inner service of a server that has no other: the function of
/// [`Io::on_request`](crate::Io::on_request) answers, and if there is no such function, the answer
/// is 404.
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
