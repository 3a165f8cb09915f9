//! What an operator can set: one plain struct, every limit in it, every default stated.
//!
//! A [`Config`] is checked once, by [`Config::validate`] inside the constructors that take it; the machines then rely
//! on it. Everything a peer can grow (a queue, a buffer, a map, a count, a nesting) has a limit here.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::codec::{Codec, Framing, MessageLimits, PacketParser};
use crate::engine::Dialect;
use crate::{Origins, http, socket, websocket};

/// Settings of a server. Plain data: build one with [`Config::default`] and the chainable setters, or set fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Path prefix under which Socket.IO is served, without a trailing slash. Default `/socket.io`.
    pub path: String,
    /// Path prefix under which raw Engine.IO sessions are served, without a trailing slash. Default none.
    pub engine_path: Option<String>,
    /// Whether [`Config::path`] and [`Config::engine_path`] are served with their final slash only, as by genuine servers unless their option of this
    /// name is false: `/socket.io/?EIO=4` is, `/socket.io?EIO=4` is the application's own. Default false: both are served, so that clients with
    /// `addTrailingSlash: false` are, and those behind a proxy that takes the slash away. With true such clients get the application's answer. Longer
    /// names are never served: `/socket.iox` is the application's either way (docs/protocol/engine-io.md §1).
    pub add_trailing_slash: bool,
    /// How often a server pings an Engine.IO 4 client. Default 25 s. Too long and dead peers linger and proxies cut idle
    /// connections; too short costs CPU and radio time (docs/protocol/engine-io.md §6).
    pub ping_interval: Duration,
    /// How long an answer to a ping may take. Default 20 s. Too short drops peers on slow links.
    pub ping_timeout: Duration,
    /// How long a new session may go without joining a namespace. Default 45 s (docs/protocol/socket-io.md §3.1).
    pub connect_timeout: Duration,
    /// How long an upgrade may take from the probe's connection to packet `5` (docs/protocol/engine-io.md §7), and a hixie-76 handshake of
    /// 0.6 to 0.9 from its head to the 8 bytes behind it. Default 10 s.
    pub upgrade_timeout: Duration,
    /// How long a closing polling session waits for a GET that can carry the close packet. Default 30 s
    /// (docs/protocol/engine-io.md §8).
    pub close_timeout: Duration,
    /// Largest HTTP body and largest websocket message a peer may send, in bytes. Default 1 000 000; announced to clients as
    /// `maxPayload`.
    pub max_payload: usize,
    /// Whether polling sessions are told about, and may move to, websocket. Default true.
    pub allow_upgrades: bool,
    /// Which transports are offered. Default both.
    pub transports: Transports,
    /// Which generations are served. Default all that exist.
    pub generations: Generations,
    /// How Engine.IO 3 clients are taken to encode text. Default [`Dialect::Auto`]: each session by what it sends. Fix it only if all
    /// such clients are known to be of one kind (docs/protocol/engine-io.md §3.3).
    pub dialect: Dialect,
    /// Whether the answer to a handshake of Engine.IO 3 by polling also carries the CONNECT of `/`, if the application lets the client in at once. Default
    /// false: it comes with the next poll, as from genuine servers of 1.x, and from those of 2.x that have a middleware; some clients of other makes never
    /// report the connection otherwise. True saves clients of 1.x and 2.x a round trip before they are connected.
    pub engine3_connect_at_once: bool,
    /// Whether all polls of Engine.IO 3 are answered in binary framing, to clients that have not said `b64`. Default false: only those with binary packets
    /// in them are, as from genuine servers of 2.x. Genuine servers of 1.x do so always, and clients that know only those (the Python package
    /// `socketIO-client` of versions 0.6 and 0.7) can read nothing else. Genuine clients of 1.x and 2.x read both; those that cannot read binary and do not
    /// say so lose their connection when this is true (docs/protocol/engine-io.md §3.4).
    pub engine3_binary_polls: bool,
    /// Most packets in the answer to one poll of Engine.IO 4 and 3. Default 16, because the client `python-socketio` throws an answer with more away. The
    /// rest waits for the next poll, which is answered at once: so a polling client gets at most so many packets in a round trip. More is faster for
    /// clients far away that stay on polling; genuine clients take any number.
    pub max_packets_per_poll: usize,
    /// Most bytes in the answer to one poll of Engine.IO 4 and 3, before base64 and escapes; a packet that is larger goes alone. Default 1 000 000. Too
    /// small costs round trips; too large lets one answer hold much memory while a slow client reads it.
    pub max_bytes_per_poll: usize,
    /// How clients of Engine.IO 4 and 3 write Socket.IO packets. Default none, which is the standard wire, [`socket::text`]. Nothing on the wire says
    /// it: clients have to be given the same parser, and those that have another are closed.
    pub parser: Option<Arc<dyn PacketParser>>,
    /// Cookie set on the handshake response of polling. Default none.
    pub cookie: Option<Cookie>,
    /// CORS headers. Default none: a browser then lets only same-origin pages read polling responses.
    pub cors: Option<Cors>,
    /// Which pages may open sessions at all, over any transport. Default [`Origins::SameHost`].
    pub origins: Origins,
    /// Whose pages the Flash policy lets open sockets, each `domain[:port]` with `*` for any; no port means any port. It is told to whoever asks
    /// for it, as long as a generation is served that has flashsocket. Default `*:*`, as with genuine servers: the policy is not what protects
    /// sessions, since it says no more than that Flash may connect, which programs other than Flash do without asking. Who may open a session is
    /// [`Config::origins`]' business, over flashsocket too. An empty list lets nobody.
    pub flash_policy: Vec<String>,
    /// Limits on what one connection may send as HTTP.
    pub http: http::Limits,
    /// Limits on what one connection may send as websocket frames.
    pub websocket: websocket::Limits,
    /// Limits on one Socket.IO packet.
    pub packet: socket::text::Limits,
    /// Most sessions at once in one shard. Default 1 000 000. Further handshakes are answered 503.
    pub max_sessions: usize,
    /// Most bytes queued for one session while its transport cannot take them, in the session and on its link. Default 1 MiB. Beyond it a send is
    /// refused as full and a broadcast closes the session, because a gap in an ordered stream cannot be repaired. Packets of the protocol itself
    /// have an eighth more (at least 16 KiB), and a peer that causes still more of them without reading is cut. Too small breaks bursts, and
    /// refuses every message that is larger ([`SendError::TooLarge`](crate::server::SendError::TooLarge)); too large lets each client that does not
    /// read hold so much memory.
    pub max_queued_bytes: usize,
    /// Most packets queued for one session. Default 8 192: about as much memory around the packets as there may be in them. Packets of the
    /// protocol itself have an eighth more (at least 64). Too small breaks bursts of small events, too large lets them weigh more than their bytes.
    pub max_queued_packets: usize,
    /// Most bytes that wait for all sessions of the server together, because their links are blocked or they are between two polls. Default 1 GiB.
    /// While more waits a send to a session that cannot take it at once is refused as full, and those sessions are ended for which most waits,
    /// until less does. Bytes of a broadcast count once for each recipient. Too small ends sessions of slow clients under load, too large lets
    /// clients that do not read fill the memory.
    pub max_total_queued_bytes: usize,
    /// How many bytes are read from a peer that does not read itself, before it is not read from until it does. Default 16 KiB. The answer to a
    /// heartbeat has to fit; what is read meanwhile may cause answers, which wait. Too small misses answers of clients that send and do not read for a
    /// while; larger is of no use.
    pub max_blocked_bytes: usize,
    /// Most namespaces one session may be in at once. Default 32.
    pub max_namespaces_per_session: usize,
    /// Most namespaces that exist at once in one shard. Default 65 536. Empty ones are forgotten.
    pub max_namespaces: usize,
    /// Most rooms one socket may be in. Default 4 096.
    pub max_rooms_per_socket: usize,
    /// Most acknowledgements one socket may owe. Default 65 536. Further requests for one are refused as full.
    pub max_pending_acks: usize,
    /// How long attachments may trail behind their packet. Default 10 s.
    pub attachment_timeout: Duration,
    /// Settings of the 0.6 family: the plain-message transports and their codecs.
    pub legacy: Legacy,
    /// Settings of the 0.7-0.9 generation.
    pub legacy09: Legacy09,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io".to_owned(),
            engine_path: None,
            add_trailing_slash: false,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            max_payload: 1_000_000,
            allow_upgrades: true,
            transports: Transports::default(),
            generations: Generations::default(),
            dialect: Dialect::Auto,
            engine3_connect_at_once: false,
            engine3_binary_polls: false,
            max_packets_per_poll: 16,
            max_bytes_per_poll: 1_000_000,
            parser: None,
            cookie: None,
            cors: None,
            origins: Origins::SameHost,
            flash_policy: alloc::vec!["*:*".to_owned()],
            http: http::Limits::default(),
            websocket: websocket::Limits::default(),
            packet: socket::text::Limits::default(),
            max_sessions: 1_000_000,
            max_queued_bytes: 1 << 20,
            max_queued_packets: 8_192,
            max_total_queued_bytes: 1 << 30,
            max_blocked_bytes: 16 * 1024,
            max_namespaces_per_session: 32,
            max_namespaces: 65_536,
            max_rooms_per_socket: 4_096,
            max_pending_acks: 65_536,
            attachment_timeout: Duration::from_secs(10),
            legacy: Legacy::default(),
            legacy09: Legacy09::default(),
        }
    }
}

/// Why a [`Config`] was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A path does not start with `/`, or ends with one.
    #[error("path {0:?} must start with '/' and must not end with one")]
    Path(String),
    /// The two paths would answer the same requests.
    #[error("path and engine_path are the same")]
    SamePath,
    /// A duration is zero or longer than a day, where neither makes sense.
    #[error("{0} must be longer than zero and at most a day")]
    Duration(&'static str),
    /// A limit of zero would refuse every peer.
    #[error("{0} must not be zero")]
    ZeroLimit(&'static str),
    /// More shards than a session id can name.
    #[error("{0} shards: a session id can name 1 to 256")]
    Shards(usize),
    /// The source of unpredictable bytes has filled the key of the session ids with zeros.
    #[error("the source of random bytes gives zeros")]
    Entropy,
    /// A cookie name or path holds characters that a header cannot carry.
    #[error("cookie name or path holds characters a header cannot carry")]
    Cookie,
    /// A mount's path is that of something else, or lies below or above it.
    #[error("mount {0:?} would answer requests of another path")]
    Mount(String),
    /// More codecs than a server can have at once.
    #[error("{0} codecs: a server can have 8, that of the path and 7 mounts")]
    Codecs(usize),
    /// A 0.7-0.9 client would give the server up: it has to hear something before its timeouts are over.
    #[error(
        "legacy09: heartbeat_interval and poll_duration must be shorter than close_timeout, and heartbeat_interval than heartbeat_timeout"
    )]
    Impatient,
}

impl Config {
    /// Checks that the settings make sense together and copies `max_payload` to where it is enforced.
    ///
    /// # Errors
    /// The first setting that does not make sense.
    pub fn validate(mut self) -> Result<Self, ConfigError> {
        for path in self.paths() {
            if !path.starts_with('/') || path.len() < 2 || path.ends_with('/') {
                return Err(ConfigError::Path(path.to_owned()));
            }
        }
        if self.engine_path.as_ref() == Some(&self.path) {
            return Err(ConfigError::SamePath);
        }
        self.legacy.check_mounts(&self.path, self.engine_path.as_deref())?;
        let day = Duration::from_secs(86_400);
        for (name, value) in [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("connect_timeout", self.connect_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("close_timeout", self.close_timeout),
            ("attachment_timeout", self.attachment_timeout),
            ("legacy.heartbeat_interval", self.legacy.heartbeat_interval),
            ("legacy.heartbeat_timeout", self.legacy.heartbeat_timeout),
            ("legacy.poll_duration", self.legacy.poll_duration),
            ("legacy.reconnect_timeout", self.legacy.reconnect_timeout),
            ("legacy09.heartbeat_interval", self.legacy09.heartbeat_interval),
            ("legacy09.heartbeat_timeout", self.legacy09.heartbeat_timeout),
            ("legacy09.close_timeout", self.legacy09.close_timeout),
            ("legacy09.poll_duration", self.legacy09.poll_duration),
            ("legacy09.open_timeout", self.legacy09.open_timeout),
        ] {
            if value.is_zero() || value > day {
                return Err(ConfigError::Duration(name));
            }
        }
        for (name, value) in [
            ("max_payload", self.max_payload),
            ("http.max_head_bytes", self.http.max_head_bytes),
            ("http.max_target_bytes", self.http.max_target_bytes),
            ("http.max_headers", self.http.max_headers),
            ("http.max_chunks", self.http.max_chunks),
            ("max_sessions", self.max_sessions),
            ("max_packets_per_poll", self.max_packets_per_poll),
            ("max_bytes_per_poll", self.max_bytes_per_poll),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_queued_packets", self.max_queued_packets),
            ("max_total_queued_bytes", self.max_total_queued_bytes),
            ("max_blocked_bytes", self.max_blocked_bytes),
            ("max_namespaces_per_session", self.max_namespaces_per_session),
            ("max_namespaces", self.max_namespaces),
            ("max_rooms_per_socket", self.max_rooms_per_socket),
            ("legacy.max_pending_messages", self.legacy.max_pending_messages),
            ("legacy.max_buffered_bytes", self.legacy.max_buffered_bytes),
            ("legacy.max_messages_per_payload", self.legacy.max_messages_per_payload),
            ("legacy09.max_pending_messages", self.legacy09.max_pending_messages),
        ] {
            if value == 0 {
                return Err(ConfigError::ZeroLimit(name));
            }
        }
        if self.cookie.as_ref().is_some_and(|c| !c.is_sound()) {
            return Err(ConfigError::Cookie);
        }
        if !self.legacy09.is_patient() {
            return Err(ConfigError::Impatient);
        }
        self.http.max_body_bytes = self.max_payload;
        self.websocket.max_message_bytes = self.max_payload;
        self.websocket.max_frame_bytes = self.max_payload;
        Ok(self)
    }
}

impl Config {
    /// Sets [`Config::parser`](#structfield.parser).
    #[must_use]
    pub fn parser(mut self, parser: impl PacketParser + 'static) -> Self {
        self.parser = Some(Arc::new(parser));
        self
    }

    /// Whether a target is one of those that a path covers.
    pub(crate) fn is_below(&self, path: &str, target: &str) -> bool {
        target.strip_prefix(path).is_some_and(|rest| match rest.bytes().next() {
            Some(b'/') => true,
            None | Some(b'?') => !self.add_trailing_slash,
            Some(_) => false,
        })
    }

    /// Every path under which something is served.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let mounts = self.legacy.mounts.iter().map(|mount| &mount.path);
        let paths = core::iter::once(&self.path).chain(&self.engine_path).chain(mounts);
        paths.map(String::as_str)
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty),* $(,)?) => {
        /// Chainable setters; each names the field it sets, where the default and the trade-off are written.
        impl Config {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $kind) -> Self { self.$name = $name.into(); self })*
        }
    };
}

setters! {
    /// Sets [`Config::path`](#structfield.path).
    path: &str,
    /// Sets [`Config::add_trailing_slash`](#structfield.add_trailing_slash).
    add_trailing_slash: bool,
    /// Sets [`Config::ping_interval`](#structfield.ping_interval).
    ping_interval: Duration,
    /// Sets [`Config::ping_timeout`](#structfield.ping_timeout).
    ping_timeout: Duration,
    /// Sets [`Config::connect_timeout`](#structfield.connect_timeout).
    connect_timeout: Duration,
    /// Sets [`Config::upgrade_timeout`](#structfield.upgrade_timeout).
    upgrade_timeout: Duration,
    /// Sets [`Config::max_payload`](#structfield.max_payload).
    max_payload: usize,
    /// Sets [`Config::max_queued_bytes`](#structfield.max_queued_bytes).
    max_queued_bytes: usize,
    /// Sets [`Config::max_queued_packets`](#structfield.max_queued_packets).
    max_queued_packets: usize,
    /// Sets [`Config::max_total_queued_bytes`](#structfield.max_total_queued_bytes).
    max_total_queued_bytes: usize,
    /// Sets [`Config::max_blocked_bytes`](#structfield.max_blocked_bytes).
    max_blocked_bytes: usize,
    /// Sets [`Config::transports`](#structfield.transports).
    transports: Transports,
    /// Sets [`Config::generations`](#structfield.generations).
    generations: Generations,
    /// Sets [`Config::dialect`](#structfield.dialect).
    dialect: Dialect,
    /// Sets [`Config::engine3_connect_at_once`](#structfield.engine3_connect_at_once).
    engine3_connect_at_once: bool,
    /// Sets [`Config::engine3_binary_polls`](#structfield.engine3_binary_polls).
    engine3_binary_polls: bool,
    /// Sets [`Config::max_packets_per_poll`](#structfield.max_packets_per_poll).
    max_packets_per_poll: usize,
    /// Sets [`Config::max_bytes_per_poll`](#structfield.max_bytes_per_poll).
    max_bytes_per_poll: usize,
    /// Sets [`Config::cookie`](#structfield.cookie).
    cookie: Cookie,
    /// Sets [`Config::cors`](#structfield.cors).
    cors: Cors,
    /// Sets [`Config::origins`](#structfield.origins).
    origins: Origins,
    /// Sets [`Config::legacy`](#structfield.legacy).
    legacy: Legacy,
    /// Sets [`Config::legacy09`](#structfield.legacy09).
    legacy09: Legacy09,
}

/// Which transports are offered to clients of Engine.IO and of 0.7 to 0.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long polling, and htmlfile. Default true.
    pub polling: bool,
    /// WebSocket, whoever speaks it. Default true.
    pub websocket: bool,
}

impl Default for Transports {
    fn default() -> Self {
        Self {
            polling: true,
            websocket: true,
        }
    }
}

/// Which generations of the wire are served. One that is off is refused the way a server without it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generations {
    /// Engine.IO 4: Socket.IO 3.x and 4.x. Default true.
    pub engine4: bool,
    /// Engine.IO 2 and 3: Socket.IO 1.x and 2.x. Default true.
    pub engine3: bool,
    /// The `/1/` wire of 0.7 to 0.9. Default true.
    pub legacy09: bool,
    /// The plain-message wire of 0.6 and before, in whatever codec. Default true.
    pub legacy06: bool,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            engine4: true,
            engine3: true,
            legacy09: true,
            legacy06: true,
        }
    }
}

impl Generations {
    /// Only Engine.IO 4.
    #[must_use]
    pub const fn modern() -> Self {
        Self {
            engine4: true,
            engine3: false,
            legacy09: false,
            legacy06: false,
        }
    }
}

/// `Set-Cookie` on the handshake response of polling (docs/protocol/engine-io.md §4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Default `io`.
    pub name: String,
    /// Default `/`.
    pub path: String,
    /// Default true.
    pub http_only: bool,
    /// Default [`SameSite::Lax`].
    pub same_site: SameSite,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            path: "/".to_owned(),
            http_only: true,
            same_site: SameSite::Lax,
        }
    }
}

impl Cookie {
    fn is_sound(&self) -> bool {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !self.name.is_empty()
            && self.name.bytes().all(token)
            && self.path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';')
    }
}

/// The `SameSite` attribute of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `SameSite=Strict`.
    Strict,
    /// `SameSite=Lax`.
    Lax,
    /// `SameSite=None`.
    None,
}

/// CORS headers for polling and preflights (docs/protocol/engine-io.md §4.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins whose pages may read responses, as `scheme://host[:port]`; empty means any (`*`).
    pub origins: Vec<String>,
    /// Whether responses say `Access-Control-Allow-Credentials: true`.
    pub credentials: bool,
}

impl Cors {
    /// Any page may read responses, without credentials.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            origins: Vec::new(),
            credentials: false,
        }
    }

    /// Only pages of these origins may read responses.
    #[must_use]
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self {
            origins: origins.into_iter().map(Into::into).collect(),
            credentials: false,
        }
    }

    /// Adds `Access-Control-Allow-Credentials: true`.
    #[must_use]
    pub const fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self
    }
}

/// Settings of the 0.6 family (docs/protocol/legacy-0.6.md §4, §6, §13).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Legacy {
    /// Time between heartbeats on websocket and streams, unless the codec has its own. Default 10 s; genuine clients give up after 15 s of silence.
    pub heartbeat_interval: Duration,
    /// How long an echo may take. Default 8 s.
    pub heartbeat_timeout: Duration,
    /// How long a poll is held before it is answered empty. Default 20 s; genuine clients give up after 25 s.
    pub poll_duration: Duration,
    /// How long a session outlives its transport, waiting to be resumed by its id. Default 10 s.
    pub reconnect_timeout: Duration,
    /// Most messages kept for a session that has no transport, which between two polls every polling session has not. Default 1 024.
    /// Beyond it a send is refused as full and a broadcast ends the session.
    pub max_pending_messages: usize,
    /// What the payloads under [`Config::path`] are. Default [`Framing`], the `~m~` of 0.5 and 0.6. Nothing in a request says which wire its client
    /// speaks, so others have to be given a path of their own, or this one (docs/protocol/detection.md §4).
    pub codec: Codec,
    /// Further paths, with a codec each. Default none. A session of one is unknown under all others. At most
    /// [`Legacy::MAX_CODECS`] less one.
    pub mounts: Vec<Mount>,
    /// Most bytes that a codec may hold back of a message that comes in pieces, per session and per websocket. Default 1 000 000. More ends the
    /// session.
    pub max_buffered_bytes: usize,
    /// Most messages in one payload from a client. Default 65 536. The rest of the payload is dropped.
    pub max_messages_per_payload: usize,
}

/// A path under which plain messages travel in a codec of their own ([`Legacy::mounts`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path prefix, without a trailing slash: `/streaming` serves `/streaming/websocket`, `/streaming/xhr-polling/…` and so on.
    pub path: String,
    /// What the payloads are.
    pub codec: Codec,
}

impl Default for Legacy {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(8),
            poll_duration: Duration::from_secs(20),
            reconnect_timeout: Duration::from_secs(10),
            max_pending_messages: 1024,
            codec: Codec::new(Framing),
            mounts: Vec::new(),
            max_buffered_bytes: 1_000_000,
            max_messages_per_payload: 65_536,
        }
    }
}

impl Legacy {
    /// Most codecs one server can have: that of its path, and those of mounts. Each is one encoding of every broadcast while it is in use.
    pub const MAX_CODECS: usize = 8;

    /// Sets [`Legacy::codec`](#structfield.codec).
    #[must_use]
    pub fn codec(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// Adds to [`Legacy::mounts`](#structfield.mounts).
    #[must_use]
    pub fn mount(mut self, path: impl Into<String>, codec: impl Into<Codec>) -> Self {
        self.mounts.push(Mount {
            path: path.into(),
            codec: codec.into(),
        });
        self
    }

    /// All codecs by their numbers: that of the server's path, then those of the mounts in their order.
    pub fn codecs(&self) -> impl Iterator<Item = &Codec> {
        core::iter::once(&self.codec).chain(self.mounts.iter().map(|mount| &mount.codec))
    }

    /// The codec of this number.
    pub(crate) fn codec_at(&self, number: u8) -> &Codec {
        match usize::from(number).checked_sub(1) {
            None => &self.codec,
            Some(mount) => self.mounts.get(mount).map_or(&self.codec, |mount| &mount.codec),
        }
    }

    /// What decoders are given.
    pub(crate) const fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            max_buffered_bytes: self.max_buffered_bytes,
            max_messages: self.max_messages_per_payload,
        }
    }

    fn check_mounts(&self, path: &str, engine_path: Option<&str>) -> Result<(), ConfigError> {
        if self.mounts.len() >= Self::MAX_CODECS {
            return Err(ConfigError::Codecs(self.mounts.len() + 1));
        }
        let is_below = |path: &str, other: &str| {
            path.strip_prefix(other)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for (at, mount) in self.mounts.iter().enumerate() {
            let before = self.mounts[..at].iter().map(|other| &*other.path);
            let mut others = core::iter::once(path).chain(engine_path).chain(before);
            if others.any(|other| is_below(other, &mount.path) || is_below(&mount.path, other)) {
                return Err(ConfigError::Mount(mount.path.clone()));
            }
        }
        Ok(())
    }
}

/// Settings of the 0.7-0.9 generation (docs/protocol/legacy-0.9.md §2.3, §6, §10).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Legacy09 {
    /// Time between heartbeats on websocket and htmlfile. Default 25 s.
    pub heartbeat_interval: Duration,
    /// How long an echo may take. Default 60 s; announced to clients, which give up after as long a silence of ours.
    pub heartbeat_timeout: Duration,
    /// How long a polling session lives without a poll. Default 60 s; announced to clients, which give up after as long a silence of ours.
    pub close_timeout: Duration,
    /// How long a poll is held before it is answered with nothing to say. Default 20 s.
    pub poll_duration: Duration,
    /// Whether flashsocket is among the transports that a handshake offers, as it is not with genuine servers. Default false: clients with Flash
    /// would then want the plugin's file, which is yours to serve. Who comes by flashsocket is served either way.
    pub flashsocket: bool,
    /// How long a client may take from the handshake to the opening of a transport. Default 30 s.
    pub open_timeout: Duration,
    /// Most messages kept for a session that has no transport, which between two polls every polling session has not. Default 1 024.
    /// Beyond it a send is refused as full and a broadcast ends the session.
    pub max_pending_messages: usize,
    /// Whether a text with a line break is written as JSON, which has none. Default false: it is a text packet, as from genuine servers, which clients of
    /// 0.8.3 and later read. Clients of 0.7.0 to 0.8.2 take such a packet for none, and nothing on the wire tells them apart; true serves them, but some
    /// clients of other makes take no JSON where they expect text (docs/protocol/legacy-0.9.md §13, §15).
    pub line_breaks_as_json: bool,
}

impl Default for Legacy09 {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(60),
            poll_duration: Duration::from_secs(20),
            flashsocket: false,
            open_timeout: Duration::from_secs(30),
            max_pending_messages: 1024,
            line_breaks_as_json: false,
        }
    }
}

impl Legacy09 {
    /// Sets [`Legacy09::line_breaks_as_json`](#structfield.line_breaks_as_json).
    #[must_use]
    pub const fn line_breaks_as_json(mut self, line_breaks_as_json: bool) -> Self {
        self.line_breaks_as_json = line_breaks_as_json;
        self
    }

    /// Whether a client hears something from us before it gives up.
    fn is_patient(&self) -> bool {
        self.heartbeat_interval < self.heartbeat_timeout
            && self.heartbeat_interval < self.close_timeout
            && self.poll_duration < self.close_timeout
    }
}

#[cfg(test)]
mod tests;
