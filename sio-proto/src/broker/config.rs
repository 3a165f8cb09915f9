//! Where a broker is, and what its connections may cost.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytestring::ByteString;

use crate::config::setters;

/// A server by its name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The name of the host, or its address; an IPv6 address without brackets.
    pub host: ByteString,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A name and a password. `Debug` shows the name only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the user. Redis calls the user `default` who needs none.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Settings of the connections to a broker: one plain struct with every limit and every default.
/// [`BrokerConfig::from_url`] begins with what a URL says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The servers that are tried, in this order. Where the server says that it belongs to a
    /// cluster, all masters of the cluster are used, whatever is named here. With several servers
    /// and no cluster, the one that is a master is used. With
    /// [`BrokerConfig::sentinel_master`], these are the sentinels.
    pub servers: Vec<Address>,
    /// The name of the master that sentinels are asked for. Default none: no sentinels.
    pub sentinel_master: Option<ByteString>,
    /// Whether the adapter wraps connections in TLS. Default false.
    pub tls: bool,
    /// Who the node is. Default nobody.
    pub credentials: Option<Credentials>,
    /// Who the node is for the sentinels. Default nobody.
    pub sentinel_credentials: Option<Credentials>,
    /// The number of the database, for streams and values. Channels belong to no database. A
    /// cluster has only the database 0, which is the default.
    pub database: u32,
    /// The name of the connections in `CLIENT LIST`. Default `sio`.
    pub client_name: ByteString,
    /// What the names of the channels begin with on which a node listens for itself. If the broker
    /// restricts channels, the node has to be allowed these. Otherwise it does not notice that it
    /// has become deaf. Default `socket.io-probe#`.
    pub probe_prefix: ByteString,
    /// The most bytes that wait for the broker, or for its answers: messages, requests, and what is
    /// kept of a message until the broker has taken it. A message beyond is dropped, and a request
    /// is answered at once with [`BrokerError::Full`](super::BrokerError::Full). Default 16 MiB.
    ///
    /// A server of `sio-app` has three more stores with this limit each: for what waits until the
    /// connections have been started, for its own events in the order of a stream, and for what
    /// others have ordered over a stream. So it may keep four times as much.
    pub max_waiting_bytes: usize,
    /// How long a message may wait for the broker. A broadcast that arrives minutes late is worse
    /// than a lost one, so older messages are dropped. Default 5 s.
    pub max_waiting_age: Duration,
    /// The most bytes of one reply of the broker, see
    /// [`resp::Limits`](crate::resp::Limits::max_reply_bytes). Default 32 MiB.
    pub max_reply_bytes: usize,
    /// The most servers of a cluster. Each master costs up to two connections. Default 1000.
    pub max_nodes: usize,
    /// How often a message or request follows the broker to another server. Default 5.
    pub max_redirects: u8,
    /// How long a request waits for its answer. Default 5 s.
    pub request_timeout: Duration,
    /// How long a connection may take until it can be used. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the broker may take for an answer. A broker that takes longer is taken for gone.
    /// Default 5 s.
    pub answer_timeout: Duration,
    /// How long a connection is silent until the broker is asked whether it is there. Default 5 s.
    pub ping_interval: Duration,
    /// How often a node publishes a message for itself. Default 10 s.
    pub probe_interval: Duration,
    /// How long such a message may take. Default 5 s.
    pub probe_timeout: Duration,
    /// The delay before the first attempt to connect again. It doubles with each attempt, and each
    /// delay is shortened at random by up to a half. Default 100 ms.
    pub reconnect_delay: Duration,
    /// The longest delay. Default 2 s.
    pub reconnect_delay_max: Duration,
    /// How long one read of a stream waits for an entry. Default 5 s.
    pub stream_block: Duration,
    /// How many entries one read of a stream takes. Default 100.
    pub stream_count: u32,
}

impl Default for BrokerConfig {
    /// A server on this machine, on the port of Redis.
    fn default() -> Self {
        Self {
            servers: alloc::vec![Address {
                host: ByteString::from_static("127.0.0.1"),
                port: 6379,
            }],
            sentinel_master: None,
            tls: false,
            credentials: None,
            sentinel_credentials: None,
            database: 0,
            client_name: ByteString::from_static("sio"),
            probe_prefix: ByteString::from_static("socket.io-probe#"),
            max_waiting_bytes: 16 << 20,
            max_waiting_age: Duration::from_secs(5),
            max_reply_bytes: 32 << 20,
            max_nodes: 1000,
            max_redirects: 5,
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            probe_interval: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
            reconnect_delay: Duration::from_millis(100),
            reconnect_delay_max: Duration::from_secs(2),
            stream_block: Duration::from_secs(5),
            stream_count: 100,
        }
    }
}

setters!(BrokerConfig {
    servers: Vec<Address>,
    sentinel_master: Option<ByteString>,
    tls: bool,
    credentials: Option<Credentials>,
    sentinel_credentials: Option<Credentials>,
    database: u32,
    client_name: ByteString,
    probe_prefix: ByteString,
    max_waiting_bytes: usize,
    max_waiting_age: Duration,
    max_reply_bytes: usize,
    max_nodes: usize,
    max_redirects: u8,
    request_timeout: Duration,
    connect_timeout: Duration,
    answer_timeout: Duration,
    ping_interval: Duration,
    probe_interval: Duration,
    probe_timeout: Duration,
    reconnect_delay: Duration,
    reconnect_delay_max: Duration,
    stream_block: Duration,
    stream_count: u32,
});

impl BrokerConfig {
    /// Checks the settings. [`Broker::new`](super::Broker::new) does this, too.
    ///
    /// # Errors
    /// The first setting with which no node can work.
    pub fn validate(&self) -> Result<(), BrokerConfigError> {
        use BrokerConfigError as E;
        if self.servers.is_empty() {
            return Err(E::NoServer);
        }
        let times = [
            ("max_waiting_age", self.max_waiting_age),
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
            ("ping_interval", self.ping_interval),
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("reconnect_delay", self.reconnect_delay),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(E::Zero(name));
        }
        if self.stream_block.as_millis() == 0 {
            // For Redis, zero milliseconds are for ever.
            return Err(E::Zero("stream_block"));
        }
        let counts = [
            ("max_waiting_bytes", self.max_waiting_bytes),
            ("max_reply_bytes", self.max_reply_bytes),
            ("max_nodes", self.max_nodes),
            ("stream_count", self.stream_count as usize),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(E::Zero(name));
        }
        if self.max_nodes > super::cluster::MOST_NODES {
            return Err(E::Nodes);
        }
        if self.reconnect_delay_max < self.reconnect_delay {
            return Err(E::DelayMax);
        }
        // Redis takes no other names.
        if !self.client_name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(E::ClientName);
        }
        Ok(())
    }
}

/// Why a [`BrokerConfig`] cannot work.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerConfigError {
    /// [`BrokerConfig::servers`] is empty.
    #[error("servers is empty")]
    NoServer,
    /// This setting is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// [`BrokerConfig::max_nodes`] is larger than a cluster can be.
    #[error("max_nodes is larger than a cluster can be")]
    Nodes,
    /// [`BrokerConfig::reconnect_delay_max`] is smaller than the delay.
    #[error("reconnect_delay_max is smaller than reconnect_delay")]
    DelayMax,
    /// [`BrokerConfig::client_name`] has blanks or other characters that Redis refuses.
    #[error("client_name has characters that Redis refuses")]
    ClientName,
}

crate::readable::says_why!(BrokerConfigError);
