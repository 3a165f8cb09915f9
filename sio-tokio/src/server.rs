//! The server: it accepts connections, and starts one task for each.

use std::io;
use std::ops::Deref;
use std::task::{Context, Poll, ready};

#[cfg(feature = "tls")]
use sio_app::Tls;
use sio_app::adapter::{Connection, Driver, Outlet, Piped, Runtime, Serve, Source};
use sio_app::{Config, ConfigError, Io, Options, Peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::time::sleep;

#[cfg(feature = "redis")]
use crate::connect::NETWORK;
use crate::stream::Stream;
use crate::tcp::SendsAtOnce;
use crate::{background, clock, entropy, tcp};

/// A Socket.IO server on tokio.
///
/// It is an [`Io`] (by `Deref`) that can listen. Like an [`Io`] it is a handle and cheap to clone.
/// Call the methods that serve inside a tokio runtime.
///
/// ```no_run
/// use sio_tokio::{Config, Server, Socket};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let io = Server::new(Config::default())?;
///     io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", (socket.id(), text)));
///     io.listen("127.0.0.1:3000").await?;
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
            spawn: background::spawn,
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
        self.serve(TcpListener::bind(address).await?).await
    }

    /// Serves a listener until [`Io::close`] is called and its connections have ended. Await the
    /// returned [`Serve`]. Before that you can give it a signal to end:
    /// [`Serve::with_graceful_shutdown`]. A server may serve several listeners at once.
    ///
    /// ```no_run
    /// # async fn example(io: sio_tokio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let signal = async { let _ = tokio::signal::ctrl_c().await; }; // with tokio's feature `signal`
    /// io.serve(listener).with_graceful_shutdown(signal).await?;
    /// # Ok(())
    /// # }
    /// ```
    /// [The crate's page](crate#the-end) shows a signal that also waits for SIGTERM.
    pub fn serve(&self, listener: TcpListener) -> Serve {
        self.accept(listener, false, |stream| Ok(tcp::split(stream)), Connection::new)
    }

    /// Serves an address as [`Server::listen`] does, with TLS.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(&self, address: impl ToSocketAddrs, tls: Tls) -> io::Result<()> {
        self.serve_tls(TcpListener::bind(address).await?, tls).await
    }

    /// Serves a listener as [`Server::serve`] does, with TLS: `https` and `wss`. A peer counts as a
    /// connection from the moment it is accepted. Within [`Options::idle_timeout`] it must complete
    /// the TLS handshake and send the first byte of a request.
    ///
    /// ```no_run
    /// # async fn example(io: sio_tokio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// use sio_tokio::Tls;
    ///
    /// let tls = Tls::from_pem(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
    /// io.serve_tls(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, tls).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn serve_tls(&self, listener: TcpListener, tls: Tls) -> Serve {
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
        self.serve_flash_policy(TcpListener::bind(address).await?).await
    }

    /// Serves a listener as [`Server::listen_flash_policy`] does.
    pub fn serve_flash_policy(&self, listener: TcpListener) -> Serve {
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
        listener: TcpListener,
        secure: bool,
        split: impl Fn(TcpStream) -> io::Result<(S, O)> + Send + 'static,
        take_up: impl Fn(&Io, Peer, O) -> Option<Connection> + Send + 'static,
    ) -> Serve {
        let server = self.clone();
        let mut sends_at_once = SendsAtOnce::of(&listener);
        let accept = move |cx: &mut Context<'_>| {
            server.tick();
            let (stream, address) = ready!(listener.poll_accept(cx))?;
            sends_at_once.accepted(&stream);
            let peer = Peer {
                address: Some(address),
                secure,
            };
            let (source, outlet) = split(stream)?;
            if let Some(connection) = take_up(server.io(), peer, outlet) {
                tokio::spawn(connection.drive(source));
            }
            Poll::Ready(Ok(()))
        };
        Serve::new(self.io(), Ok(accept), |duration| Box::pin(sleep(duration)))
    }

    /// Serves one connection of your own listener, until it ends.
    pub async fn serve_tcp(&self, connection: TcpStream) {
        let address = connection.peer_addr().ok();
        self.tick();
        tcp::send_at_once(&connection);
        let (source, outlet) = tcp::split(connection);
        let connection = Connection::new(self.io(), Peer { address, secure: false }, outlet);
        let Some(driven) = connection.map(|connection| connection.drive(source)) else {
            return;
        };
        driven.await;
    }

    /// Serves one connection over a stream of your own: TLS, a Unix socket, a pipe. `peer` is what
    /// the application sees as the other end of the connection.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let io = sio_tokio::Server::new(sio_tokio::Config::default())?;
    /// let (client, server) = tokio::io::duplex(4096);
    /// tokio::spawn(async move { io.serve_stream(server, Default::default()).await });
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_stream(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send, peer: Peer) {
        self.tick();
        let (source, outlet) = Piped::split(Stream(stream));
        let connection = Connection::new(self.io(), peer, outlet);
        let Some(driven) = connection.map(|connection| connection.drive(source)) else {
            return;
        };
        driven.await;
    }

    /// Shuts down a server that is mounted in another HTTP server: calls [`Io::close`], and then
    /// waits until the last session has left, or until [`Options::shutdown_jitter`] and
    /// [`Options::shutdown_timeout`] are over. Let the other HTTP server go on meanwhile: clients
    /// that poll fetch the news of the end with their next request.
    pub async fn finish(&self) {
        self.close();
        self.0.finish(self.emptied(), sleep).await;
    }

    /// The calls that drive the server.
    #[cfg(feature = "tower")]
    pub(crate) const fn driver(&self) -> &Driver {
        &self.0
    }

    /// Starts the tasks that watch the time, unless they run already.
    pub(crate) fn tick(&self) {
        if self.0.keep_time(sleep) {
            background::remember();
            #[cfg(feature = "redis")]
            self.0.join_cluster(NETWORK);
        }
    }
}

impl Deref for Server {
    type Target = Io;

    fn deref(&self) -> &Io {
        self.0.io()
    }
}
