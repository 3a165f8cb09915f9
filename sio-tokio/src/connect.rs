//! The client: it brings connections and the time to a [`ClientBuilder`].

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use sio_app::adapter::{Dialing, Network, Resolving, Runtime, Sleeping, Wire};
use sio_app::client::{self, BuildError, ClientBuilder};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::stream::Stream;
use crate::{background, clock, entropy};

pub(crate) const NETWORK: Network = Network {
    runtime: Runtime {
        now: clock::now,
        unix_time: clock::unix_time,
        spawn: background::spawn,
        fill: entropy::fill,
    },
    can_spawn,
    connect,
    resolve,
    sleep,
};

/// A Socket.IO client on tokio. It is a [`client::Client`] (by `Deref`), a handle, cheap to clone.
///
/// ```no_run
/// use sio_tokio::Client;
/// use sio_tokio::client::Socket;
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let client = Client::builder("http://127.0.0.1:3000").build()?;
///     let root = client.of("/")?;
///     root.on("chat", |_: Socket, (who, text): (String, String)| println!("{who}: {text}"));
///     root.connect()?;
///     let sum: f64 = root.emit_with_ack("sum", (1, 2)).await?;
///     println!("{sum}");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client(client::Client);

impl Client {
    /// Begins a client of the server at this URL, `scheme://host[:port]`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(NETWORK, url)
    }

    /// Makes a client with default settings, and connects its namespace `/`. Call it inside of a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the URL is not that of a server, or there is no runtime.
    pub fn connect(url: &str) -> Result<Self, BuildError> {
        Self::builder(url).connect().map(Self)
    }
}

impl Deref for Client {
    type Target = client::Client;

    fn deref(&self) -> &client::Client {
        &self.0
    }
}

fn can_spawn() -> bool {
    Handle::try_current().is_ok()
}

fn connect(address: SocketAddr) -> Dialing {
    Box::pin(async move {
        let stream = TcpStream::connect(address).await?;
        // Packets are small and each is written whole. Nagle's algorithm would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        Ok(Box::new(Stream(stream)) as Wire)
    })
}

fn resolve(host: String, port: u16) -> Resolving {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

fn sleep(duration: Duration) -> Sleeping {
    Box::pin(tokio::time::sleep(duration))
}
