//! The server: accepts, and gives each connection a task.

use std::io;
use std::ops::Deref;
use std::task::{Context, Poll, ready};

use sio_app::{Config, ConfigError, Connection, Io, Options, Peer, Piped, Runtime, Serve};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::time::sleep;

use crate::stream::Stream;
use crate::{background, clock, entropy, tcp};

/// A Socket.IO server on tokio.
///
/// It is an [`Io`] (by `Deref`) that can listen. Like that it is a handle, cheap to clone. Methods that serve must be called inside a tokio runtime.
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
pub struct Server(Io);

impl Server {
    /// A server with these settings of the protocol, and default [`Options`].
    ///
    /// # Errors
    /// If the settings do not make sense.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_options(config, Options::default())
    }

    /// A server with these settings of the protocol and of the process.
    ///
    /// # Errors
    /// If the settings do not make sense.
    pub fn with_options(config: Config, options: Options) -> Result<Self, ConfigError> {
        let runtime = Runtime {
            now: clock::now,
            spawn: background::spawn,
            fill: entropy::fill,
        };
        Ok(Self(Io::new(config, options, runtime)?))
    }

    /// The server as the handle that handlers keep.
    #[must_use]
    pub const fn io(&self) -> &Io {
        &self.0
    }

    /// Serves an address until [`Io::close`] is called and its connections have ended.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        self.serve(TcpListener::bind(address).await?).await
    }

    /// Serves a listener until [`Io::close`] is called and its connections have ended. Await it, or give it a reason to end first:
    /// [`Serve::with_graceful_shutdown`]. A server may serve several listeners at once.
    ///
    /// ```no_run
    /// # async fn example(io: sio_tokio::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let signal = async { std::future::pending().await }; // for example tokio::signal::ctrl_c()
    /// io.serve(listener).with_graceful_shutdown(signal).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve(&self, listener: TcpListener) -> Serve {
        let server = self.clone();
        let accept = move |cx: &mut Context<'_>| {
            server.tick();
            let (stream, address) = ready!(listener.poll_accept(cx))?;
            let peer = Peer {
                address: Some(address),
                secure: false,
            };
            let (source, outlet) = tcp::split(stream);
            if let Some(connection) = Connection::new(&server.0, peer, outlet) {
                tokio::spawn(connection.drive(source));
            }
            Poll::Ready(Ok(()))
        };
        Serve::new(&self.0, Ok(accept), |duration| Box::pin(sleep(duration)))
    }

    /// Serves one connection of your own listener, until it ends.
    pub async fn serve_tcp(&self, connection: TcpStream) {
        let address = connection.peer_addr().ok();
        self.tick();
        let (source, outlet) = tcp::split(connection);
        if let Some(connection) = Connection::new(&self.0, Peer { address, secure: false }, outlet) {
            connection.drive(source).await;
        }
    }

    /// Serves one connection over a stream of your own: TLS, a Unix socket, a pipe. `peer` is what the application is told of the other end.
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
        if let Some(connection) = Connection::new(&self.0, peer, outlet) {
            connection.drive(source).await;
        }
    }

    /// Shuts down a server whose connections are accepted by others: [`Io::close`], unless that has been called, and then waits until they have ended, or
    /// [`Options::shutdown_timeout`] long.
    pub async fn finish(&self) {
        if !self.is_closing() {
            self.close();
        }
        self.0.finish(sleep).await;
    }

    /// Starts the tasks that watch the time, once.
    pub(crate) fn tick(&self) {
        if self.0.keep_time(sleep) {
            background::remember();
        }
    }
}

impl Deref for Server {
    type Target = Io;

    fn deref(&self) -> &Io {
        &self.0
    }
}
