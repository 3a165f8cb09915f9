//! The way to the server: a connection to one of its addresses, or through a proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use sio_proto::client::proxy::{Progress, Proxy, ProxyError, ProxyScheme, Tunnel};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls::Tls;
use super::wire::Trouble;
use crate::clock;

/// A stream of bytes in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// How connections to the server are opened.
pub(super) struct Way {
    pub(super) proxy: Option<Proxy>,
    /// The TLS of the connection to the proxy, if its scheme is `https`.
    pub(super) tls: Option<Tls>,
    /// How long each step may take.
    pub(super) patience: Duration,
}

impl Way {
    /// Opens a connection to the server. Returns it with the address that was reached. All of it
    /// has the time of one step.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<(Box<dyn Duplex>, String), Trouble> {
        let Some(proxy) = &self.proxy else {
            let reached = timeout(self.patience, self.reach(host, port)).await;
            let (stream, address) = reached.map_err(|_| Trouble::Timeout)??;
            return Ok((Box::new(stream), address.to_string()));
        };
        let late = |_| Trouble::Proxy(format!("{proxy}: no answer in time"));
        let led = timeout(self.patience, self.through(proxy, host, port)).await;
        Ok((led.map_err(late)??, format!("through {proxy}")))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
        let addresses = tokio::net::lookup_host((host, port)).await;
        let addresses = addresses.map_err(|error| Trouble::Resolve(error.to_string()))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        if addresses.is_empty() {
            return Err(Trouble::Resolve("it has no address".into()));
        }
        Ok(addresses)
    }

    async fn reach(&self, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), Trouble> {
        let deadline = clock::now() + self.patience;
        let addresses = self.resolve(host, port).await?;
        let (stream, address) = first_of(&addresses, deadline, TcpStream::connect).await?;
        // A request is written whole. Nagle's algorithm would only delay it.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }

    async fn through(&self, proxy: &Proxy, host: &str, port: u16) -> Result<Box<dyn Duplex>, Trouble> {
        if proxy.scheme() != ProxyScheme::Socks5 || host.parse::<IpAddr>().is_ok() {
            return self.lead(proxy, host, port).await;
        }
        let mut last = Trouble::Timeout;
        for address in self.resolve(host, port).await? {
            match self.lead(proxy, &address.ip().to_string(), port).await {
                Ok(stream) => return Ok(stream),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// Leads one connection through the proxy.
    async fn lead(&self, proxy: &Proxy, host: &str, port: u16) -> Result<Box<dyn Duplex>, Trouble> {
        let of_proxy = |error: ProxyError| Trouble::Proxy(format!("{proxy}: {error}"));
        let (mut tunnel, first) = Tunnel::begin(proxy, host, port).map_err(of_proxy)?;
        let reached = self.reach(proxy.host(), proxy.port()).await;
        let (stream, _) = reached.map_err(|trouble| Trouble::Proxy(format!("{proxy}: {}", trouble.words())))?;
        let mut stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let secured = tls.secure(proxy.host(), stream).await;
                let of_tls = |trouble: Trouble| Trouble::Proxy(format!("{proxy}: {}", trouble.words()));
                Box::new(secured.map_err(of_tls)?.0)
            }
        };
        let cut = |error: io::Error| Trouble::Proxy(format!("{proxy}: {error}"));
        stream.write_all(&first).await.map_err(cut)?;
        stream.flush().await.map_err(cut)?;
        let mut heard = BytesMut::new();
        loop {
            if stream.read_buf(&mut heard).await.map_err(cut)? == 0 {
                return Err(of_proxy(tunnel.receive_end()));
            }
            match tunnel.receive(&mut heard).map_err(of_proxy)? {
                Progress::Wait => {}
                Progress::Write(bytes) => {
                    stream.write_all(&bytes).await.map_err(cut)?;
                    stream.flush().await.map_err(cut)?;
                }
                Progress::Open => return Ok(stream),
            }
        }
    }
}

/// Connects to the first address that lets it. An address that is silent leaves time for the
/// others, and what one does not take is for those behind it.
async fn first_of<S, F: Future<Output = io::Result<S>>>(
    addresses: &[SocketAddr],
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(S, SocketAddr), Trouble> {
    let mut last = Trouble::Timeout;
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let remaining = deadline.saturating_duration_since(clock::now());
        let share = remaining / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout(share, connect(*address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => last = Trouble::Connect(error.to_string()),
            Err(_) => last = Trouble::Timeout,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first address refuses at once, so the second one has all of the time, and the time of a
    /// silent one is its share.
    #[test]
    fn what_one_address_leaves_is_for_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let patience = Duration::from_millis(1200);
        let connect = |address: SocketAddr| async move {
            match address.port() {
                1 => return Err(io::ErrorKind::ConnectionRefused.into()),
                2 => std::future::pending().await,
                // Longer than a third of the time, and shorter than a half.
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
            Ok(())
        };
        let reached = runtime.unwrap().block_on(async {
            let deadline = clock::now() + patience;
            first_of(&addresses, deadline, connect).await
        });
        assert_eq!(reached.unwrap(), ((), addresses[2]));
    }
}
