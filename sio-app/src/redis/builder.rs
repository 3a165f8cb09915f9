//! The settings of the connections to a broker, and how they begin.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

use sio_proto::ConfigError;
use sio_proto::broker::{Broker, BrokerConfig, BrokerConfigError, BrokerUrlError, Event};

use super::driver::{Driver, hear};
use super::handle::{BrokerHandle, Core, Shared};
use crate::client::network::Network;
#[cfg(feature = "tls")]
use crate::client::{ClientTls, ClientTlsError};
use crate::lock::Mutex;
use crate::options::Cluster;

/// Why connections to a broker cannot begin.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BrokerBuildError {
    /// The URL is not that of a broker.
    #[error(transparent)]
    Url(#[from] BrokerUrlError),
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] BrokerConfigError),
    /// The settings of the cluster make no sense.
    #[error(transparent)]
    Cluster(#[from] ConfigError),
    /// There is no runtime: the call has to be made inside of one.
    #[error("there is no runtime to run the broker's task")]
    NoRuntime,
    /// `rediss` needs TLS.
    #[error("a broker over TLS needs the feature `tls`")]
    NoTls,
    /// The TLS could not be set up.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
}

crate::readable::says_why!(BrokerBuildError);

/// Makes connections to a broker.
pub struct BrokerBuilder {
    network: Network,
    config: BrokerConfig,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
}

impl BrokerBuilder {
    /// Begins with settings.
    pub const fn new(network: Network, config: BrokerConfig) -> Self {
        Self {
            network,
            config,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Begins with a URL, see [`BrokerConfig::from_url`].
    ///
    /// # Errors
    /// If the text is not such a URL.
    pub fn from_url(network: Network, url: &str) -> Result<Self, BrokerBuildError> {
        Ok(Self::new(network, BrokerConfig::from_url(url)?))
    }

    /// Begins with the settings of a cluster.
    pub(crate) fn for_cluster(network: Network, cluster: &Cluster) -> Self {
        let builder = Self::new(network, cluster.broker.clone());
        #[cfg(feature = "tls")]
        if let Some(config) = cluster.tls.clone() {
            return builder.tls(ClientTls::new(config));
        }
        builder
    }

    /// Sets whom connections over TLS trust. Default: the certificate authorities of the platform.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Begins to connect. `listener` gets every event, from the task that has the connections: it
    /// must not block. If it panics, the panic is logged, and the next event comes all the same.
    ///
    /// # Errors
    /// [`BrokerBuildError`]. A broker that cannot be reached is no error: that is an event.
    pub fn connect(self, mut listener: impl FnMut(Event) + Send + 'static) -> Result<BrokerHandle, BrokerBuildError> {
        let listener = move |events: &mut Vec<Event>| {
            for event in events.drain(..) {
                hear(|| listener(event));
            }
        };
        self.connect_in_batches(listener, |_| true)
    }

    /// Begins to connect. `listener` gets all events that have come at once in one list, which it
    /// has to empty. `may_read` is asked before each read. If it says no, entries of streams wait
    /// in the broker, and it wakes the waker when more may be read.
    pub(crate) fn connect_in_batches(
        self,
        listener: impl FnMut(&mut Vec<Event>) + Send + 'static,
        may_read: impl FnMut(&Waker) -> bool + Send + 'static,
    ) -> Result<BrokerHandle, BrokerBuildError> {
        #[cfg(feature = "tls")]
        let tls = match self.config.tls {
            true => Some(ClientTls::or_platform(self.tls)?.without_alpn()),
            false => None,
        };
        #[cfg(not(feature = "tls"))]
        if self.config.tls {
            return Err(BrokerBuildError::NoTls);
        }
        if !(self.network.can_spawn)() {
            return Err(BrokerBuildError::NoRuntime);
        }
        let runtime = self.network.runtime;
        let machine = Broker::new((runtime.now)(), self.config, Box::new(runtime.fill))?;
        let shared = Arc::new(Shared {
            is_commanded: AtomicBool::new(false),
            core: Mutex::new(Core { machine, alarm: None }),
            network: self.network,
        });
        let driver = Driver::new(
            Arc::clone(&shared),
            (Box::new(listener), Box::new(may_read)),
            #[cfg(feature = "tls")]
            tls,
        );
        (runtime.spawn)(Box::pin(driver));
        Ok(BrokerHandle::new(shared))
    }
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder")
            .field("servers", &self.config.servers)
            .finish_non_exhaustive()
    }
}
