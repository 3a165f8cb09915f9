//! The server: accepts, and gives each connection a task.

use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use sio_app::{Config, ConfigError, Connection, Io, Options, Peer, Runtime, Source};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::{background, clock, entropy, stream, tcp};

/// How long accepting pauses when the process has no more descriptors or memory for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
pub struct Server {
    io: Io,
    /// Whether the tasks that watch the time have been started.
    ticking: Arc<AtomicBool>,
}

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
        Ok(Self {
            io: Io::new(config, options, runtime)?,
            ticking: Arc::default(),
        })
    }

    /// The server as the handle that handlers keep.
    #[must_use]
    pub const fn io(&self) -> &Io {
        &self.io
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
    pub fn serve(&self, listener: TcpListener) -> Serve {
        Serve {
            server: self.clone(),
            listener,
            shutdown: None,
        }
    }

    /// Serves one connection of your own listener, until it ends.
    pub async fn serve_tcp(&self, connection: TcpStream) {
        let address = connection.peer_addr().ok();
        self.tick();
        let (source, outlet) = tcp::split(connection);
        if let Some(connection) = Connection::new(&self.io, Peer { address, secure: false }, outlet) {
            Drive { connection, source }.await;
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
        let (source, outlet) = stream::split(stream);
        if let Some(connection) = Connection::new(&self.io, peer, outlet) {
            Drive { connection, source }.await;
        }
    }

    /// Starts the tasks that watch the time, once.
    fn tick(&self) {
        if !self.ticking.swap(true, Ordering::Relaxed) {
            background::tick(&self.io);
        }
    }
}

impl Deref for Server {
    type Target = Io;

    fn deref(&self) -> &Io {
        &self.io
    }
}

/// A connection's task: as small as it can be, because there is one for every idle client.
struct Drive<S> {
    connection: Connection,
    source: S,
}

impl<S: Source + Unpin> Future for Drive<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { connection, source } = self.get_mut();
        connection.poll(cx, source)
    }
}

/// A listener being served: a future, once it is awaited.
#[must_use = "a listener is served only while this is awaited"]
pub struct Serve {
    server: Server,
    listener: TcpListener,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Serve {
    /// Ends when `signal` does, gracefully: clients are told so that they connect elsewhere, and the future is ready when they have gone, or
    /// [`Options::shutdown_timeout`] later.
    ///
    /// ```no_run
    /// # async fn example(io: sio_tokio::Server) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let signal = async { std::future::pending().await }; // for example tokio::signal::ctrl_c()
    /// io.serve(listener).with_graceful_shutdown(signal).await
    /// # }
    /// ```
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    async fn run(self) -> io::Result<()> {
        let Self {
            server,
            listener,
            mut shutdown,
        } = self;
        server.tick();
        let mut closing = pin!(server.io.closing());
        loop {
            let accepted = poll_fn(|cx| {
                if let Some(signal) = &mut shutdown
                    && signal.as_mut().poll(cx).is_ready()
                {
                    shutdown = None;
                    server.io.close();
                }
                if closing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => break,
                Some(Ok((stream, address))) => server.accepted(stream, address),
                Some(Err(error)) => pause_after(&error).await,
            }
        }
        // Who connects from here on is refused at once instead of waiting in the backlog.
        drop(listener);
        let io = &server.io;
        if tokio::time::timeout(io.options().shutdown_timeout, io.ended())
            .await
            .is_err()
        {
            tracing::info!(
                connections = io.connections(),
                "ending connections that did not end by themselves"
            );
            io.abort();
            io.ended().await;
        }
        io.clear();
        Ok(())
    }
}

impl Server {
    fn accepted(&self, stream: TcpStream, address: SocketAddr) {
        let (source, outlet) = tcp::split(stream);
        let peer = Peer {
            address: Some(address),
            secure: false,
        };
        if let Some(connection) = Connection::new(&self.io, peer, outlet) {
            tokio::spawn(Drive { connection, source });
        }
    }
}

/// One failed accept says something about one client, or about the whole process; in the second case trying again at once would only spin.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
