//! The server: it accepts connections, and starts one task for each.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::{Async, Timer};
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
use sio_app::Tls;
use sio_app::adapter::{Connection, Driver, Outlet, Piped, Runtime, Serve, Source};
use sio_app::{Config, ConfigError, Io, Options, Peer};

#[cfg(feature = "redis")]
use crate::connect::NETWORK;
use crate::executor::{self, ToSocketAddrs, spawn};
use crate::stream::Stream;
use crate::{IntoAsync, clock, entropy, tcp};

/// A Socket.IO server on async-std or smol.
///
/// It is an [`Io`] (by `Deref`) that can listen. Like an [`Io`] it is a handle and cheap to clone.
/// The methods that serve may be awaited in any runtime. The runtime that the
/// [features](crate#async-std-or-smol) select runs the connections and the asynchronous handlers.
///
/// ```no_run
/// use sio_async_std::{Config, Server, Socket};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let io = Server::new(Config::default())?;
///     io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", (socket.id(), text)));
///     async_io::block_on(io.listen("127.0.0.1:3000"))?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Server(Driver);

impl Server {
    /// Creates a server with these settings of the protocol, and with default [`Options`].
    ///
    /// # Errors
    /// If the settings do not make sense.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_options(config, Options::default())
    }

    /// Creates a server with these settings of the protocol (`config`) and of the process
    /// (`options`).
    ///
    /// # Errors
    /// If the settings do not make sense.
    pub fn with_options(config: Config, options: Options) -> Result<Self, ConfigError> {
        let runtime = Runtime {
            now: clock::now,
            unix_time: clock::unix_time,
            spawn,
            fill: entropy::fill,
        };
        let server = Self(Driver::new(&Io::new(config, options, runtime)?));
        // Namespaces are heard before clients come, if there is a runtime already.
        #[cfg(feature = "redis")]
        if (NETWORK.can_spawn)() {
            server.0.join_cluster(NETWORK);
        }
        Ok(server)
    }

    /// Returns the server as an [`Io`], the handle that handlers keep.
    #[must_use]
    pub const fn io(&self) -> &Io {
        self.0.io()
    }

    /// Serves an address until [`Io::close`] is called and its connections have ended.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(executor::TcpListener::bind(address).await?).await
    }

    /// Serves a listener until [`Io::close`] is called and its connections have ended. Await the
    /// returned [`Serve`]. Before that you can give it a signal to end:
    /// [`Serve::with_graceful_shutdown`]. A server may serve several listeners at once.
    ///
    /// ```no_run
    /// # async fn example(io: sio_async_std::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:3000")?; // or one of async_std::net, or of smol::net
    /// let signal = std::future::pending::<()>(); // for example one of the async-signal crate
    /// io.serve(listener).with_graceful_shutdown(signal).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve(&self, listener: impl IntoAsync<TcpListener>) -> Serve {
        self.accept(listener, false, |stream| Ok(tcp::split(stream)), Connection::new)
    }

    /// Serves an address as [`Server::listen`] does, with TLS.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(&self, address: impl ToSocketAddrs, tls: Tls) -> io::Result<()> {
        self.serve_tls(executor::TcpListener::bind(address).await?, tls).await
    }

    /// Serves a listener as [`Server::serve`] does, with TLS: `https` and `wss`. A peer counts as a
    /// connection from the moment it is accepted. Within [`Options::idle_timeout`] it must complete
    /// the TLS handshake and send the first byte of a request.
    ///
    /// ```no_run
    /// # async fn example(io: sio_async_std::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// use sio_async_std::Tls;
    ///
    /// let tls = Tls::from_pem(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
    /// io.serve_tls(std::net::TcpListener::bind("127.0.0.1:3000")?, tls).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn serve_tls(&self, listener: impl IntoAsync<TcpListener>, tls: Tls) -> Serve {
        self.accept(
            listener,
            true,
            move |stream| tls.wrap(tcp::split(stream)),
            Connection::new,
        )
    }

    /// Serves the Flash policy ([`Config::flash_policy`]), and nothing else, on an address until
    /// [`Io::close`] is called. Flash asks for the policy before it opens a socket: clients of 0.6
    /// and 0.7 ask on port 843, later clients on port 10843. The server's own port always answers
    /// this question as well (docs/protocol/legacy-0.6.md §11).
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn listen_flash_policy(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        self.serve_flash_policy(executor::TcpListener::bind(address).await?)
            .await
    }

    /// Serves a listener as [`Server::listen_flash_policy`] does.
    pub fn serve_flash_policy(&self, listener: impl IntoAsync<TcpListener>) -> Serve {
        self.accept(
            listener,
            false,
            |stream| Ok(tcp::split(stream)),
            Connection::flash_policy,
        )
    }

    /// Serves a listener. `split` splits each accepted connection into the end that is read and the
    /// end that is written to. `take_up` makes a [`Connection`] of them.
    fn accept<S: Source + Unpin + Send + 'static, O: Outlet>(
        &self,
        listener: impl IntoAsync<TcpListener>,
        secure: bool,
        split: impl Fn(Arc<Async<TcpStream>>) -> io::Result<(S, O)> + Send + 'static,
        take_up: impl Fn(&Io, Peer, O) -> Option<Connection> + Send + 'static,
    ) -> Serve {
        let server = self.clone();
        let accept = listener.into_async().map(|listener| {
            move |cx: &mut Context<'_>| {
                server.tick();
                let (stream, address) = ready!(tcp::poll_accept(&listener, cx))?;
                let peer = Peer {
                    address: Some(address),
                    secure,
                };
                let (source, outlet) = split(stream)?;
                if let Some(connection) = take_up(server.io(), peer, outlet) {
                    spawn(connection.drive(source));
                }
                Poll::Ready(Ok(()))
            }
        });
        Serve::new(self.io(), accept, |duration| {
            Box::pin(async move { _ = Timer::after(duration).await })
        })
    }

    /// Serves one connection of your own listener, until it ends.
    pub async fn serve_tcp(&self, connection: impl IntoAsync<TcpStream>) {
        self.tick();
        let socket = match connection.into_async() {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "cannot serve a connection"),
        };
        let address = socket.get_ref().peer_addr().ok();
        let (source, outlet) = tcp::split(socket);
        if let Some(connection) = Connection::new(self.io(), Peer { address, secure: false }, outlet) {
            connection.drive(source).await;
        }
    }

    /// Serves one connection over a stream of your own: TLS, a Unix socket, a pipe. `peer` is what
    /// the application sees as the other end of the connection.
    ///
    /// ```
    /// # async fn example(stream: impl futures_io::AsyncRead + futures_io::AsyncWrite + Unpin + Send) -> Result<(), Box<dyn std::error::Error>> {
    /// # let io = sio_async_std::Server::new(sio_async_std::Config::default())?;
    /// io.serve_stream(stream, Default::default()).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_stream(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send, peer: Peer) {
        self.tick();
        let (source, outlet) = Piped::split(Stream(stream));
        if let Some(connection) = Connection::new(self.io(), peer, outlet) {
            connection.drive(source).await;
        }
    }

    /// Shuts down a server whose connections your own code accepts: calls [`Io::close`], unless it
    /// has been called before, and then waits until the connections have ended, or until
    /// [`Options::shutdown_jitter`] and [`Options::shutdown_timeout`] are over.
    pub async fn finish(&self) {
        if !self.is_closing() {
            self.close();
        }
        self.0.finish(self.ended(), Timer::after).await;
    }

    /// Starts the tasks that watch the time, unless they run already.
    fn tick(&self) {
        self.0.keep_time(Timer::after);
    }
}

impl Deref for Server {
    type Target = Io;

    fn deref(&self) -> &Io {
        self.0.io()
    }
}
