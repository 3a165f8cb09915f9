//! The client: it brings connections and the time to a [`ClientBuilder`].

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use async_io::Timer;
use sio_app::adapter::{Dialing, Network, Resolving, Runtime, Sleeping, Wire};
use sio_app::client::{self, BuildError, ClientBuilder};

use crate::executor::{self, TcpStream, spawn};
use crate::stream::Stream;
use crate::{clock, entropy};

pub(crate) const NETWORK: Network = Network {
    runtime: Runtime {
        now: clock::now,
        unix_time: clock::unix_time,
        spawn,
        fill: entropy::fill,
    },
    can_spawn: || true,
    connect,
    resolve,
    sleep,
};

/// A Socket.IO client on async-std or smol. It is a [`client::Client`] (by `Deref`), a handle,
/// cheap to clone.
///
/// ```no_run
/// use sio_async_std::Client;
/// use sio_async_std::client::Socket;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// async_io::block_on(async {
///     let client = Client::builder("http://127.0.0.1:3000").build()?;
///     let root = client.of("/")?;
///     root.on("chat", |_: Socket, (who, text): (String, String)| println!("{who}: {text}"));
///     root.connect()?;
///     let sum: f64 = root.emit_with_ack("sum", (1, 2)).await?;
///     println!("{sum}");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(client::Client);

impl Client {
    /// Begins a client of the server at this URL, `scheme://host[:port]`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(NETWORK, url)
    }

    /// Makes a client with default settings, and connects its namespace `/`.
    ///
    /// # Errors
    /// If the URL is not that of a server.
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
    Box::pin(executor::resolve(host, port))
}

fn sleep(duration: Duration) -> Sleeping {
    Box::pin(async move {
        Timer::after(duration).await;
    })
}
