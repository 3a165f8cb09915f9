//! The settings of a cluster.

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::broker::{BrokerConfig, BrokerUrlError};
use sio_proto::{ClusterConfig, ClusterKind, RelayConfig, Secret};

/// A cluster of servers over Redis: which other servers there are, and the broker between them
/// ([`Options::cluster`](super::Options::cluster)).
///
/// ```
/// # fn cluster() -> Result<sio_app::Cluster, Box<dyn std::error::Error>> {
/// use sio_app::{Cluster, ClusterKind};
///
/// // One server, as `createAdapter` of `@socket.io/redis-adapter` uses it.
/// let classic = Cluster::from_url("redis://user:password@redis.example:6379")?;
/// // A Redis cluster, and `createShardedAdapter`.
/// let sharded = Cluster::from_url("rediss://a:6379,b:6379,c:6379")?.kind(ClusterKind::Sharded { mode: Default::default() });
/// // Sentinels, who know where the server `main` is, and a `key` of the other servers.
/// let watched = Cluster::from_url("redis+sentinel://a,b,c/main")?.prefix("shop");
/// # Ok(classic)
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Cluster {
    /// Which adapter the other servers use, and what this server accepts from them.
    pub config: ClusterConfig,
    /// Where the broker is, and what its connections may cost.
    pub broker: BrokerConfig,
    /// Which servers are trusted, for a URL with TLS (`rediss://`). Default none: then the
    /// certificate authorities of the platform are.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How requests whose session is on another server are passed on
    /// ([`Cluster::without_sticky_sessions`]). Default none: such requests are refused.
    pub relay: Option<RelayConfig>,
}

impl Cluster {
    /// A cluster over this broker. All other settings have their defaults: the classic adapter, and
    /// the prefix `socket.io`.
    #[must_use]
    pub fn new(broker: BrokerConfig) -> Self {
        Self {
            config: ClusterConfig::default(),
            broker,
            #[cfg(feature = "tls")]
            tls: None,
            relay: None,
        }
    }

    /// A cluster over the broker at this URL: `redis://host`, `rediss://host` for TLS, several
    /// hosts separated by commas for a Redis cluster, `redis+sentinel://a,b/NAME` for sentinels
    /// ([`BrokerConfig::from_url`]).
    ///
    /// # Errors
    /// If the text is not such a URL.
    pub fn from_url(url: &str) -> Result<Self, BrokerUrlError> {
        BrokerConfig::from_url(url).map(Self::new)
    }

    /// Sets the adapter of the other servers. Default classic.
    #[must_use]
    pub fn kind(mut self, kind: ClusterKind) -> Self {
        self.config.kind = kind;
        self
    }

    /// Sets what the names of channels begin with: `key` or `channelPrefix` of the other servers.
    /// Default `socket.io`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<ByteString>) -> Self {
        self.config.prefix = prefix.into();
        self
    }

    /// Sets which servers are trusted, for a URL with TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<rustls::ClientConfig>>) -> Self {
        self.tls = Some(config.into());
        self
    }

    /// Sets the secret that all servers of the cluster share: random bytes, at least 16. This
    /// server signs its messages with it, and carries out only messages that are signed with it.
    /// So whoever can write to the broker, but does not know the secret, can send nothing to
    /// clients.
    ///
    /// Servers of Node.js cannot sign. In a cluster with them use no secret, or
    /// [`Cluster::accept_unsigned`]. docs/cluster.md says what a secret protects, and what not.
    ///
    /// # Errors
    /// A secret that is too short is refused when the server is made.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.config.secrets.insert(0, Secret::new(secret));
        self
    }

    /// Accepts messages that are signed with another secret, too: the next one or the last one,
    /// while the servers change their secret one after the other. It is for a server that has
    /// [`Cluster::secret`].
    #[must_use]
    pub fn accept_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.config.secrets.push(Secret::new(secret));
        self
    }

    /// With a secret: whether messages without a signature are carried out, those of servers of
    /// Node.js for example. Default false: they are refused and counted.
    #[must_use]
    pub const fn accept_unsigned(mut self, accept: bool) -> Self {
        self.config.accept_unsigned = accept;
        self
    }

    /// Sets how long a request waits for the answers of other servers. Default 5 s.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }
}

/// Load balancers.
impl Cluster {
    /// Passes requests on to the server that has their session, so that any load balancer will do:
    /// a poll, a POST or an upgrade may come to any server of this cluster. Otherwise the load
    /// balancer has to be sticky for clients that poll, as with genuine servers. Default off.
    ///
    /// All servers of ours in the cluster need this setting. A request that is passed on goes
    /// through the broker, and so does its answer: signed with [`Cluster::secret`], if there is
    /// one, and not encrypted. `docs/cluster.md` has what this costs.
    ///
    /// It is the same as `relay` with the default settings.
    #[must_use]
    pub fn without_sticky_sessions(self) -> Self {
        self.relay(RelayConfig::default())
    }

    /// Passes requests on to the server that has their session, with these settings; see
    /// [`Cluster::without_sticky_sessions`].
    #[must_use]
    pub fn relay(mut self, config: RelayConfig) -> Self {
        self.relay = Some(config);
        self
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The broker's settings do not show the password.
        f.debug_struct("Cluster")
            .field("config", &self.config)
            .field("broker", &self.broker)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}
