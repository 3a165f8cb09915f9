//! Settings of a client: one plain struct with every limit and every default.
//!
//! The names are those of the options of socket.io-client (docs/protocol/socket-io.md §8.2), where
//! it has an option. Everything that a server can grow has a limit here, in bytes or as a number.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::protocol::Feature;
use crate::codec::PacketParser;
use crate::config::setters;
use crate::{http, socket, websocket};

/// A transport of Engine.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Transport {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// The generation of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Socket.IO 3 and 4, over Engine.IO 4.
    #[default]
    Four,
    /// Socket.IO 1 and 2, over Engine.IO 3.
    Two,
    /// Socket.IO 0.7 to 0.9. It has no bytes as arguments.
    V0_9,
    /// Socket.IO 0.5 and 0.6, and the Go server of 2011. It has plain messages only: the event
    /// `message`, in the namespace `/`, without acknowledgements and bytes.
    V0_6,
    /// The streaming codec of the Go server of 2011. It has what [`Generation::V0_6`] has.
    Streaming,
    /// Engine.IO 4 first. If the server shows that it speaks another generation, or answers that it
    /// does not know the request, the next attempt follows at once, in Engine.IO 3 and then in 0.9.
    /// [`State::Connected`](super::State::Connected) tells what was chosen. The older generations
    /// are never tried, because their servers answer nothing to such requests.
    Auto,
}

/// The wire that is spoken, for people.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Four => "Engine.IO 4",
            Self::Two => "Engine.IO 3",
            Self::V0_9 => "Socket.IO 0.9",
            Self::V0_6 => "Socket.IO 0.6",
            Self::Streaming => "the streaming codec",
            Self::Auto => "an unknown wire",
        })
    }
}

/// What happens after a server has refused a handshake (HTTP 401, 403, 407) or a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRefused {
    /// If there is a provider of credentials, it is asked once more. If the second answer is
    /// refused too, or there is no provider, the client stops and says so.
    #[default]
    AskOnce,
    /// The client stops at once.
    Stop,
    /// The refusal of a handshake counts as any failed attempt. A namespace is not tried again.
    Retry,
}

/// Settings of a client. This is plain data: build it with [`ClientConfig::default`] and the
/// chainable setters, or set fields. `Debug` shows no values of header fields and of the query.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The transports, in order: the first one opens. Default polling, then websocket.
    pub transports: Vec<Transport>,
    /// Whether a polling session moves to websocket if both ends can. Default true. In generations
    /// without upgrades, before 1.0, websocket is tried first, and polling if it does not open.
    pub upgrade: bool,
    /// Whether a connection begins with websocket if the last websocket worked. Default false.
    pub remember_upgrade: bool,
    /// Whether the next transport of the list is tried if one cannot open, or has not opened within
    /// [`ClientConfig::upgrade_timeout`]. Default false. All of them together have
    /// [`ClientConfig::connect_timeout`].
    pub try_all_transports: bool,
    /// The generation of the server. Default [`Generation::Four`].
    pub generation: Generation,
    /// Header fields of every request. Default none.
    pub headers: Vec<(String, String)>,
    /// Parameters of the query of every request. Default none.
    pub query: Vec<(String, String)>,
    /// Whether credentials are asked for before each handshake, with
    /// [`Output::CredentialsWanted`](super::Output::CredentialsWanted). Default false: the fields
    /// above and [`Client::set_auth`](super::Client::set_auth) are used.
    pub provider: bool,
    /// What happens after a refusal. Default [`OnRefused::AskOnce`].
    pub on_refused: OnRefused,
    /// Time from the start of an attempt to the open packet. It is also the time for an answer to
    /// [`Output::CredentialsWanted`](super::Output::CredentialsWanted). Default 20 s.
    pub connect_timeout: Duration,
    /// Time for the server's answer to the CONNECT of a namespace. Default none, as in JavaScript:
    /// who decides there may take any time. When it is over, and the server is there, the namespace
    /// is not connected, and [`Delivery::ConnectError`](super::Delivery::ConnectError) says so. An
    /// answer that comes later makes the server let the namespace go again. The server is there if
    /// it has said something shortly before, other than an answer to a POST. Otherwise the
    /// namespace waits on, for the time of a heartbeat at most: a server that is gone is noticed
    /// by its heartbeat, and the namespace connects again with the next session. This limit
    /// takes no other namespace with it.
    pub join_timeout: Option<Duration>,
    /// Time for an upgrade, from the probe's connection to packet `5`. In generations without
    /// upgrades, it is the time for the websocket to open before polling is tried; and with
    /// [`ClientConfig::try_all_transports`], the time for each transport that another one follows.
    /// Default 10 s.
    pub upgrade_timeout: Duration,
    /// Time after a failed upgrade until the next one is tried, on the open connection or on a
    /// later one. [`Client::wake`](super::Client::wake) ends it, because the network may be another
    /// one. Default 10 minutes.
    pub upgrade_pause: Duration,
    /// Time for the goodbye of a closed client to leave. If the client is closed while the answer
    /// to a handshake over polling is due, it is also the time for the answer: the server has made
    /// a session that only the goodbye ends. Default 2 s.
    pub close_timeout: Duration,
    /// Time for an answer to the probe of [`Client::wake`](super::Client::wake). Default 3 s.
    pub wake_timeout: Duration,
    /// How late the client may be woken before it assumes that the machine has slept, and does what
    /// [`Client::wake`](super::Client::wake) does. It is also how far the clock of dates may go
    /// ahead of the other one
    /// ([`Client::handle_clock_jump`](super::Client::handle_clock_jump)): the small steps of NTP
    /// are no sleep. Default 5 s.
    pub clock_jump: Duration,
    /// How long an open connection may be silent, beside the heartbeat of the server. Default none:
    /// the heartbeat decides. [`Generation::V0_6`] and [`Generation::Streaming`] do not say when
    /// the next heartbeat comes; their default is that of the genuine client, 15 s on websocket and
    /// 25 s on polling.
    pub max_silence: Option<Duration>,
    /// Whether the client connects again by itself. Default true.
    pub reconnection: bool,
    /// The delay before the first attempt after a loss. It doubles with each attempt. Default 1 s.
    pub reconnection_delay: Duration,
    /// The longest delay between two attempts. Default 5 s.
    pub reconnection_delay_max: Duration,
    /// How much a delay may differ from its nominal value: 0 to 1. Default 0.5. With 0, all clients
    /// of a server that was restarted come back in the same moment.
    pub randomization_factor: f64,
    /// The number of attempts after which the client stops. Default none: it never stops.
    pub reconnection_attempts: Option<u32>,
    /// Most attempts in a minute, whatever the reason. Default 60. It bounds what a server that
    /// accepts and drops connections can make of this client.
    pub max_attempts_per_minute: usize,
    /// The longest `Retry-After` that is honoured; a longer one counts as this. Default 60 s.
    pub max_retry_after: Duration,
    /// Whether the connection is closed with its last namespace. Default true.
    pub close_with_last: bool,
    /// Time for an acknowledgement, from the emit. Default 30 s. With
    /// [`ClientConfig::retries`], it is the time of each try, from its write.
    pub ack_timeout: Duration,
    /// How often an event that is not acknowledged is sent again. Default 0: events are sent once,
    /// and need no acknowledgement. With 1 or more, each event that is not volatile asks for one.
    /// Such an event waits while its namespace is not connected, and
    /// [`ClientConfig::max_queue_age`] says for how long.
    pub retries: u32,
    /// How many events may wait for their acknowledgement if [`ClientConfig::retries`] is not 0.
    /// Default 1. If one has to be sent again, all unacknowledged events behind it are, too, so the
    /// server sees them in order.
    pub retry_window: usize,
    /// Whether the server is asked to confirm the events of this client, so that each event is
    /// handled exactly once as long as the client is recovered (docs/protocol/extensions.md §2).
    /// Default false. Servers of this project with recovery agree. Others ignore the question,
    /// which is a member `sio.confirmed` of the `auth` in each CONNECT to a server of 3.x or 4.x.
    /// Events are kept until they are confirmed, and count for [`ClientConfig::max_queued_bytes`].
    pub confirm_events: bool,
    /// Most events that are written and not confirmed, for each namespace, with
    /// [`ClientConfig::confirm_events`]. Default 1024. Further events wait in the queue.
    pub max_unconfirmed: usize,
    /// Most bytes of events that wait for a connection or for a confirmation, all namespaces
    /// together, and of what the caller has not taken to the network yet. Default 1 000 000.
    /// Further events are refused.
    pub max_queued_bytes: usize,
    /// Most bytes of answers to events of the server that wait because the server does not read.
    /// Default 1 000 000. Beyond it, the connection ends. On 0.9, it is also the limit of the
    /// acknowledgements that the client sends by itself, with one byte more for each (`6:::1234`
    /// counts 9). It is meant for those that one answer to a poll can ask for: by default they are
    /// some 100 000, unless the namespace has a long name.
    pub max_answer_bytes: usize,
    /// How long an event may wait for a connection. Default none: for ever, as in JavaScript, also
    /// while the client has stopped. An event that was written and is not confirmed
    /// ([`ClientConfig::confirm_events`]), or that is sent again ([`ClientConfig::retries`]), waits
    /// from the loss of its connection on, or from the moment in which its namespace was left, and
    /// then ends as [`Outcome::Disconnected`](super::Outcome::Disconnected).
    pub max_queue_age: Option<Duration>,
    /// How many events per second leave the queue after a connection is back. Default 0: all at
    /// once.
    pub drain_per_second: u32,
    /// Most events that wait for an acknowledgement, for each namespace. Default 10 000.
    pub max_in_flight: usize,
    /// Largest body of a response, in bytes. Default 64 MiB: genuine servers put everything that
    /// waits into one poll.
    pub max_body_bytes: usize,
    /// Largest websocket message, in bytes. Default 64 MiB.
    pub max_message_bytes: usize,
    /// Most packets in one body. Default 100 000.
    pub max_packets_per_payload: usize,
    /// Most packets in one POST. Default 16, because servers with `python-engineio` discard a POST
    /// with more packets, and answer it 200 (docs/protocol/engine-io.md §14.4). The rest waits for
    /// the next POST, which follows at once. A larger value is faster on polling with distant
    /// servers. Genuine servers accept any number. Servers before 1.0 get everything at once.
    pub max_packets_per_post: usize,
    /// Most bytes of events that arrive before the namespace is connected (a server that recovers
    /// a session sends them first), for each namespace. Default 10 000 000.
    pub max_early_bytes: usize,
    /// Most bytes of all cookies; each counts 64 more. Default 16 KiB. Further cookies are ignored.
    pub max_cookie_bytes: usize,
    /// Most redirects of one handshake. Default 3. Only redirects inside the origin of the
    /// server (scheme, host and port) are followed, and those from port 80 to `https` on port 443.
    pub max_redirects: u32,
    /// Most namespaces. Default 100.
    pub max_namespaces: usize,
    /// How long an idle connection of HTTP is used again. Default 4 s, because Node's servers close
    /// such connections after 5 s.
    pub max_idle: Duration,
    /// Limits of packets.
    pub packet: socket::text::Limits,
    /// The parser of Socket.IO packets. Default none, which is the standard wire.
    pub parser: Option<Arc<dyn PacketParser>>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            transports: vec![Transport::Polling, Transport::WebSocket],
            upgrade: true,
            remember_upgrade: false,
            try_all_transports: false,
            generation: Generation::default(),
            headers: Vec::new(),
            query: Vec::new(),
            provider: false,
            on_refused: OnRefused::default(),
            connect_timeout: Duration::from_secs(20),
            join_timeout: None,
            upgrade_timeout: Duration::from_secs(10),
            upgrade_pause: Duration::from_secs(600),
            close_timeout: Duration::from_secs(2),
            wake_timeout: Duration::from_secs(3),
            clock_jump: Duration::from_secs(5),
            max_silence: None,
            reconnection: true,
            reconnection_delay: Duration::from_secs(1),
            reconnection_delay_max: Duration::from_secs(5),
            randomization_factor: 0.5,
            reconnection_attempts: None,
            max_attempts_per_minute: 60,
            max_retry_after: Duration::from_secs(60),
            close_with_last: true,
            ack_timeout: Duration::from_secs(30),
            retries: 0,
            retry_window: 1,
            confirm_events: false,
            max_unconfirmed: 1024,
            max_queued_bytes: 1_000_000,
            max_answer_bytes: 1_000_000,
            max_queue_age: None,
            drain_per_second: 0,
            max_in_flight: 10_000,
            max_body_bytes: 64 << 20,
            max_message_bytes: 64 << 20,
            max_packets_per_payload: 100_000,
            max_packets_per_post: 16,
            max_early_bytes: 10_000_000,
            max_cookie_bytes: 16 * 1024,
            max_redirects: 3,
            max_namespaces: 100,
            max_idle: Duration::from_secs(4),
            packet: socket::text::Limits::default(),
            parser: None,
        }
    }
}

setters!(ClientConfig {
    transports: Vec<Transport>,
    upgrade: bool,
    remember_upgrade: bool,
    try_all_transports: bool,
    generation: Generation,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    provider: bool,
    on_refused: OnRefused,
    connect_timeout: Duration,
    join_timeout: Option<Duration>,
    upgrade_timeout: Duration,
    upgrade_pause: Duration,
    close_timeout: Duration,
    wake_timeout: Duration,
    clock_jump: Duration,
    max_silence: Option<Duration>,
    reconnection: bool,
    reconnection_delay: Duration,
    reconnection_delay_max: Duration,
    randomization_factor: f64,
    reconnection_attempts: Option<u32>,
    max_attempts_per_minute: usize,
    max_retry_after: Duration,
    close_with_last: bool,
    ack_timeout: Duration,
    retries: u32,
    retry_window: usize,
    confirm_events: bool,
    max_unconfirmed: usize,
    max_queued_bytes: usize,
    max_answer_bytes: usize,
    max_queue_age: Option<Duration>,
    drain_per_second: u32,
    max_in_flight: usize,
    max_body_bytes: usize,
    max_message_bytes: usize,
    max_packets_per_payload: usize,
    max_packets_per_post: usize,
    max_early_bytes: usize,
    max_cookie_bytes: usize,
    max_redirects: u32,
    max_namespaces: usize,
    max_idle: Duration,
    packet: socket::text::Limits,
} by hand { parser });

impl ClientConfig {
    /// Sets [`ClientConfig::parser`](#structfield.parser).
    #[must_use]
    pub fn parser(mut self, parser: impl PacketParser + 'static) -> Self {
        self.parser = Some(Arc::new(parser));
        self
    }

    /// Checks the settings. [`Client::new`](super::Client::new) does this, too.
    ///
    /// # Errors
    ///
    /// The first setting with which no client can work.
    pub fn validate(&self) -> Result<(), ClientConfigError> {
        use ClientConfigError as E;
        if self.transports.is_empty() {
            return Err(E::NoTransport);
        }
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            return Err(E::RandomizationFactor);
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("close_timeout", self.close_timeout),
            ("wake_timeout", self.wake_timeout),
            ("clock_jump", self.clock_jump),
            ("reconnection_delay", self.reconnection_delay),
            ("ack_timeout", self.ack_timeout),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(E::Zero(name));
        }
        if self.join_timeout.is_some_and(|time| time.is_zero()) {
            return Err(E::Zero("join_timeout"));
        }
        if self.reconnection_delay_max < self.reconnection_delay {
            return Err(E::DelayMax);
        }
        let counts = [
            ("max_attempts_per_minute", self.max_attempts_per_minute),
            ("retry_window", self.retry_window),
            ("max_unconfirmed", self.max_unconfirmed),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_answer_bytes", self.max_answer_bytes),
            ("max_in_flight", self.max_in_flight),
            ("max_body_bytes", self.max_body_bytes),
            ("max_message_bytes", self.max_message_bytes),
            ("max_packets_per_payload", self.max_packets_per_payload),
            ("max_packets_per_post", self.max_packets_per_post),
            ("max_namespaces", self.max_namespaces),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(E::Zero(name));
        }
        match self.generation {
            Generation::V0_9 | Generation::V0_6 | Generation::Streaming if self.parser.is_some() => {
                Err(E::Unsupported(Feature::Parser))
            }
            Generation::V0_6 | Generation::Streaming if self.retries > 0 => {
                Err(E::Unsupported(Feature::Acknowledgements))
            }
            _ => Ok(()),
        }
    }

    /// Limits of responses.
    pub(super) fn http(&self) -> http::Limits {
        http::Limits::DEFAULT
            .max_body_bytes(self.max_body_bytes)
            .max_chunks(1_000_000)
    }

    /// Limits of websocket messages.
    pub(super) fn websocket(&self) -> websocket::Limits {
        websocket::Limits::default()
            .max_frame_bytes(self.max_message_bytes)
            .max_message_bytes(self.max_message_bytes)
    }
}

/// Why a [`ClientConfig`] cannot work.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientConfigError {
    /// [`ClientConfig::transports`] is empty.
    #[error("transports is empty: name polling, websocket or both")]
    NoTransport,
    /// [`ClientConfig::randomization_factor`] is not between 0 and 1.
    #[error("randomization_factor is not between 0 and 1")]
    RandomizationFactor,
    /// [`ClientConfig::reconnection_delay_max`] is smaller than the delay.
    #[error("reconnection_delay_max is smaller than reconnection_delay")]
    DelayMax,
    /// This setting is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// The settings need what the [`ClientConfig::generation`] does not have.
    #[error("this generation does not have {0}")]
    Unsupported(Feature),
}

crate::readable::says_why!(ClientConfigError);
