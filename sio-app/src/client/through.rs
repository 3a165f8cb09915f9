//! Connections through a proxy: what [`Tunnel`] says and hears, over a connection of the adapter.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::client::ClientError;
use sio_proto::client::ErrorClass;
use sio_proto::client::proxy::{Progress, Proxy, ProxyError, ProxyScheme, Tunnel};

use super::dial::{dial, in_turns};
use super::network::{Dialing, Network, Wire};
#[cfg(feature = "tls")]
use super::tls::ClientTls;

/// How many bytes of an answer are read at once.
const READ_BYTES: usize = 1024;

/// The way to the server.
pub(super) struct Through {
    pub(super) proxy: Proxy,
    /// How long it may take until the connection to the server stands.
    pub(super) timeout: Duration,
    /// The TLS of the connection to the proxy, if its scheme is `https`.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

/// What went wrong on the way. It names the proxy, without its user and password.
#[derive(Debug, thiserror::Error)]
#[error("{proxy}: {trouble}")]
struct Failure {
    proxy: String,
    trouble: Trouble,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("{0}")]
    Network(#[from] io::Error),
    #[error("the connection did not stand in time")]
    TooSlow,
}

impl Through {
    /// Connects to a server. The future is dropped when nobody wants the connection any more.
    pub(super) fn dial(self: Arc<Self>, network: Network, host: String, port: u16) -> Dialing {
        Box::pin(async move {
            let mut sleeping = (network.sleep)(self.timeout);
            let mut connecting = pin!(self.connect(network, &host, port));
            let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
                Poll::Pending => sleeping.as_mut().poll(cx).map(|()| Err(Trouble::TooSlow)),
                ready => ready,
            });
            connected.await.map_err(|trouble| {
                let proxy = self.proxy.to_string();
                io::Error::other(Failure { proxy, trouble })
            })
        })
    }

    async fn connect(&self, network: Network, host: &str, port: u16) -> Result<Wire, Trouble> {
        if self.proxy.scheme() != ProxyScheme::Socks5 || host.parse::<IpAddr>().is_ok() {
            return self.reach(network, host, port).await;
        }
        let addresses = in_turns((network.resolve)(host.to_owned(), port).await?);
        let mut last = Trouble::Network(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match self.reach(network, &address.ip().to_string(), port).await {
                // Another address may be reachable.
                Err(trouble @ Trouble::Proxy(ProxyError::Socks(_))) => last = trouble,
                reached => return reached,
            }
        }
        Err(last)
    }

    /// Leads one connection through the proxy.
    async fn reach(&self, network: Network, host: &str, port: u16) -> Result<Wire, Trouble> {
        let (mut tunnel, first) = Tunnel::begin(&self.proxy, host, port)?;
        let mut wire = dial(network, self.proxy.host().to_owned(), self.proxy.port()).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            wire = tls.wrap(self.proxy.host(), wire)?;
        }
        write(&mut wire, first).await?;
        let mut heard = BytesMut::new();
        loop {
            heard.reserve(READ_BYTES);
            if poll_fn(|cx| wire.poll_read(cx, &mut heard)).await? == 0 {
                return Err(tunnel.receive_end().into());
            }
            match tunnel.receive(&mut heard)? {
                Progress::Wait => {}
                Progress::Write(bytes) => write(&mut wire, bytes).await?,
                Progress::Open => return Ok(wire),
            }
        }
    }
}

impl fmt::Debug for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Through").field(&self.proxy).finish()
    }
}

async fn write(wire: &mut Wire, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| wire.poll_write(cx, &bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes.advance(written),
        }
    }
    poll_fn(|cx| wire.poll_flush(cx)).await
}

/// Returns what a proxy has said no to, or that its TLS has failed, if that is the error.
pub(super) fn refusal(error: &io::Error) -> Option<ClientError> {
    let failure = error.get_ref()?.downcast_ref::<Failure>()?;
    let (class, status) = match &failure.trouble {
        Trouble::Proxy(said) if said.is_refusal() => (ErrorClass::Refused, said.status()),
        Trouble::Proxy(said) => (ErrorClass::Unreachable, said.status()),
        Trouble::Network(error) if error.kind() == io::ErrorKind::InvalidData => (ErrorClass::Tls, None),
        Trouble::Network(_) | Trouble::TooSlow => return None,
    };
    Some(ClientError {
        class,
        status,
        message: failure.to_string().into(),
        data: None,
    })
}
