//! What an operator can set: one plain struct, every limit in it, every default stated.
//!
//! A [`Config`] is checked once, by [`Config::validate`] inside the constructors that take it; the
//! machines then rely on it. Everything a peer can grow (a queue, a buffer, a map, a count, a
//! nesting) has a limit here.

mod cookie;
mod cors;
mod legacy;
mod recovery;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::codec::PacketParser;
use crate::engine::Dialect;
use crate::{Hosts, Origins, http, socket, websocket};

pub use cookie::{Cookie, Priority, SameSite};
pub use cors::{Cors, CorsOrigins};
pub use legacy::{Legacy06, Legacy09, Mount};
pub use recovery::RecoveryConfig;

/// Settings of a server. Plain data: build one with [`Config::default`] and the chainable setters,
/// or set fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Path prefix under which Socket.IO is served, without a trailing slash. Default `/socket.io`.
    pub path: String,
    /// Path prefix under which raw Engine.IO sessions are served, without a trailing slash. Default
    /// none.
    pub engine_path: Option<String>,
    /// Whether [`Config::path`] and [`Config::engine_path`] are served with their final slash only,
    /// as by genuine servers unless their option of this name is false: `/socket.io/?EIO=4` is,
    /// `/socket.io?EIO=4` is the application's own. Default false: both are served, so that clients
    /// with `addTrailingSlash: false` are, and those behind a proxy that takes the slash away. With
    /// true such clients get the application's answer. Longer names are never served: `/socket.iox`
    /// is the application's either way (docs/protocol/engine-io.md §1).
    pub add_trailing_slash: bool,
    /// How often a server pings an Engine.IO 4 client. Default 25 s. Too long and dead peers linger
    /// and proxies cut idle connections; too short costs CPU and radio time
    /// (docs/protocol/engine-io.md §6).
    pub ping_interval: Duration,
    /// How long an answer to a ping may take. Default 20 s. Too short drops peers on slow links.
    pub ping_timeout: Duration,
    /// How long a new session may go without joining a namespace. Default 45 s
    /// (docs/protocol/socket-io.md §3.1), as with genuine servers: a client on a slow link behind a
    /// slow middleware needs some of it. In a crowd it is [`Config::crowded_connect_timeout`].
    pub connect_timeout: Duration,
    /// How long a session may go without joining a namespace when three quarters of
    /// [`Config::max_sessions`] or [`Config::max_kept_bytes`] are taken. Default 5 s. Each
    /// handshake then ends up to two sessions that have had so long. Too short ends clients on slow
    /// links whenever many come at once; too long lets those who want nothing take the room of
    /// those who do.
    pub crowded_connect_timeout: Duration,
    /// How long an upgrade may take from the probe's connection to packet `5`
    /// (docs/protocol/engine-io.md §7), and a hixie-76 handshake of 0.6 to 0.9 from its head to the
    /// 8 bytes behind it. Default 10 s.
    pub upgrade_timeout: Duration,
    /// How long a closing polling session waits for a GET that can carry the close packet. Default
    /// 30 s (docs/protocol/engine-io.md §8).
    pub close_timeout: Duration,
    /// Largest HTTP body and largest websocket message a peer may send, in bytes. Default 1 000
    /// 000; announced to clients as `maxPayload`.
    pub max_payload: usize,
    /// Whether polling sessions are told about, and may move to, websocket. Default true.
    pub allow_upgrades: bool,
    /// Which transports are offered. Default both.
    pub transports: Transports,
    /// Which generations are served. Default all that exist.
    pub generations: Generations,
    /// How Engine.IO 3 clients are taken to encode text. Default [`Dialect::Auto`]: each session by
    /// what it sends. Fix it only if all such clients are known to be of one kind
    /// (docs/protocol/engine-io.md §3.3).
    pub dialect: Dialect,
    /// Whether the answer to a handshake of Engine.IO 3 by polling also carries the CONNECT of `/`,
    /// if the application lets the client in at once. Default false: it comes with the next poll,
    /// as from genuine servers of 1.x, and from those of 2.x that have a middleware; some clients
    /// of other makes never report the connection otherwise. True saves clients of 1.x and 2.x a
    /// round trip before they are connected.
    pub engine3_connect_at_once: bool,
    /// Whether all polls of Engine.IO 3 are answered in binary framing, to clients that have not
    /// said `b64`. Default false: only those with binary packets in them are, as from genuine
    /// servers of 2.x. Genuine servers of 1.x do so always, and clients that know only those (the
    /// Python package `socketIO-client` of versions 0.6 and 0.7) can read nothing else. Genuine
    /// clients of 1.x and 2.x read both; those that cannot read binary and do not say so lose their
    /// connection when this is true (docs/protocol/engine-io.md §3.4).
    pub engine3_binary_polls: bool,
    /// Most packets in the answer to one poll of Engine.IO 4 and 3. Default 16, because the client
    /// `python-socketio` throws an answer with more away. The rest waits for the next poll, which
    /// is answered at once: so a polling client gets at most so many packets in a round trip. More
    /// is faster for clients far away that stay on polling; genuine clients take any number.
    pub max_packets_per_poll: usize,
    /// Most bytes in the answer to one poll of Engine.IO 4 and 3, before base64 and escapes; a
    /// packet that is larger goes alone. Default 1 000 000. Too small costs round trips; too large
    /// lets one answer hold much memory while a slow client reads it.
    pub max_bytes_per_poll: usize,
    /// How clients of Engine.IO 4 and 3 write Socket.IO packets. Default none, which is the
    /// standard wire, [`socket::text`]. Nothing on the wire says it: clients have to be given the
    /// same parser, and those that have another are closed.
    pub parser: Option<Arc<dyn PacketParser>>,
    /// Cookie set on the handshake response of polling. Default none.
    pub cookie: Option<Cookie>,
    /// CORS headers of Engine.IO. Default none, which means those that [`Config::origins`] imply:
    /// pages of listed origins may read answers, with credentials; where all pages are allowed all
    /// may read them, without credentials; otherwise only pages of the same origin can. Where this
    /// is set, pages of listed origins may read answers as well. `Cors::list` of nothing sends no
    /// header for others than those. Clients of 0.9 and before get the headers that they need
    /// wherever their page is allowed.
    pub cors: Option<Cors>,
    /// Which pages may open sessions at all, over any transport. Default [`Origins::SameHost`].
    pub origins: Origins,
    /// Which names of hosts requests may be for. Default [`Hosts::Loopback`]: from the machine
    /// itself only names of loopback, from elsewhere any. Name the server's hosts where it is in
    /// reach of browsers without TLS (a development machine, an intranet): without that a page
    /// whose name is pointed at the server's address counts as the same host. Too narrow and
    /// clients are refused, which is logged with the name that they have asked for.
    pub hosts: Hosts,
    /// Whether all clients come over TLS, which a proxy in front takes off. Default false: only
    /// [`Peer::secure`](crate::server::Peer::secure) says so, because a header such as
    /// `X-Forwarded-Proto` can be sent by everybody. When true pages of the same host have to be
    /// `https`, cookies say `Secure`, and old websockets are told `wss`.
    pub behind_tls: bool,
    /// Whose pages the Flash policy lets open sockets, each `domain[:port]` with `*` for any; no
    /// port means any port. It is told to whoever asks for it, as long as a generation is served
    /// that has flashsocket. Default `*:*`, as with genuine servers: the policy is not what
    /// protects sessions, since it says no more than that Flash may connect, which programs other
    /// than Flash do without asking. Who may open a session is [`Config::origins`]' business, over
    /// flashsocket too. An empty list lets nobody.
    pub flash_policy: Vec<String>,
    /// Limits on what one connection may send as HTTP.
    pub http: http::Limits,
    /// Limits on what one connection may send as websocket frames.
    pub websocket: websocket::Limits,
    /// Limits on one Socket.IO packet.
    pub packet: socket::text::Limits,
    /// Most sessions at once, in all shards of a server that share their quota
    /// ([`Shard::share_quota`](crate::server::Shard::share_quota)). Default 1 000 000. When there
    /// are as many, the oldest of those that have joined nothing goes; if there is none, the
    /// handshake is answered 503. Too few turn people away, too many let the memory be filled.
    pub max_sessions: usize,
    /// Most sessions at once of clients at one address: of IPv6 a network of 64 bits, or what the
    /// adapter's options say. Default 10 000. When there are as many, the oldest of that address
    /// that has joined nothing goes; if there is none, the handshake is answered 503.
    ///
    /// It holds without a connection, so it bounds sessions that poll. Behind a proxy all clients
    /// have the proxy's address: raise it to [`Config::max_sessions`] there, and let the proxy
    /// limit its clients. Too few shut out the people behind one address of an office or a mobile
    /// carrier.
    pub max_sessions_per_address: usize,
    /// Most bytes that all sessions together keep of what their clients have sent: handshakes
    /// ([`Config::max_handshake_bytes`]), `auth` ([`Config::max_auth_bytes`]), CONNECTs that wait,
    /// packets whose attachments have not come, what comes ahead of an upgrade, packets for
    /// namespaces that are not joined yet, and 1 KiB for each session itself. Default 2 GiB less
    /// one byte. Beyond it handshakes are answered 503 and a session that would keep more ends. It
    /// is counted in steps of 64 KiB for each session. Too little ends sessions that have done
    /// nothing wrong when many large messages are under way.
    pub max_kept_bytes: usize,
    /// The same for all sessions of clients at one address. Default 24 MiB, which are ten thousand
    /// handshakes with heads of 2 KB. Behind a proxy raise it as
    /// [`Config::max_sessions_per_address`].
    pub max_kept_bytes_per_address: usize,
    /// Most bytes of header fields that a session keeps of the request that opened it, 8 for each
    /// field included. Default 8 KiB. Fields that do not fit are left out whole: first those that
    /// [`Config::handshake_headers`] does not name. The request's target is kept as a whole; its
    /// limit is [`http::Limits::max_target_bytes`]. Too few leave out cookies that handlers look
    /// for ([`Handshake::left_out`](crate::server::Handshake::left_out) says how many fields are
    /// missing); more is more memory for each session.
    pub max_handshake_bytes: usize,
    /// Names of header fields that a session keeps before all others when not all fit, the first of
    /// them first. Default: those that applications look for, `authorization`, `cookie`, `host`,
    /// `origin`, `user-agent`, `x-forwarded-for`, `forwarded`, `x-real-ip`, `referer`,
    /// `accept-language`.
    pub handshake_headers: Vec<String>,
    /// Most bytes of `auth`, or of queries of CONNECTs, that one session keeps for all its
    /// namespaces together. Default 64 KiB. A CONNECT with more is refused. Too few refuse large
    /// tokens.
    pub max_auth_bytes: usize,
    /// Most CONNECTs that one session may send within a second. Default 128, four times
    /// [`Config::max_namespaces_per_session`]. One more closes the session, because each costs the
    /// application more than the client. Too few close clients that join many namespaces at once.
    pub max_connects_per_second: usize,
    /// Most packets in the body of one POST, of Engine.IO and of 0.7 to 0.9. Default 65 536. More
    /// are a breach of the protocol in Engine.IO, and are dropped in 0.7 to 0.9. Too few end
    /// clients that have emitted much between two POSTs; each packet costs some hundred bytes while
    /// its POST is handled.
    pub max_packets_per_payload: usize,
    /// Most bytes queued for one session while its transport cannot take them, in the session and
    /// on its link. Default 1 MiB. Beyond it a send is refused as full and a broadcast closes the
    /// session, because a gap in an ordered stream cannot be repaired. Packets of the protocol
    /// itself have an eighth more (at least 16 KiB), and a peer that causes still more of them
    /// without reading is cut. Too small breaks bursts, and refuses every message that is larger
    /// ([`SendError::TooLarge`](crate::server::SendError::TooLarge)); too large lets each client
    /// that does not read hold so much memory.
    pub max_queued_bytes: usize,
    /// Most packets queued for one session. Default 8 192: about as much memory around the packets
    /// as there may be in them. Packets of the protocol itself have an eighth more (at least 64).
    /// Too small breaks bursts of small events, too large lets them weigh more than their bytes.
    pub max_queued_packets: usize,
    /// Most bytes that wait for all sessions of the server together, because their links are
    /// blocked or they are between two polls. Default 1 GiB. While more waits a send to a session
    /// that cannot take it at once is refused as full, and those sessions are ended for which most
    /// waits, until less does. Bytes of a broadcast count once for each recipient, and each packet
    /// counts 96 more for its place. Too small ends sessions of slow clients under load, too large
    /// lets clients that do not read fill the memory.
    pub max_total_queued_bytes: usize,
    /// How many bytes are read from a peer that does not read itself, before it is not read from
    /// until it does. Default 16 KiB. The answer to a heartbeat has to fit; what is read meanwhile
    /// may cause answers, which wait. Too small misses answers of clients that send and do not read
    /// for a while; larger is of no use.
    pub max_blocked_bytes: usize,
    /// Most namespaces one session may be in at once. Default 32.
    pub max_namespaces_per_session: usize,
    /// Most namespaces that exist at once in one shard. Default 65 536. Empty ones are forgotten.
    pub max_namespaces: usize,
    /// Most rooms one socket may be in. Default 4 096.
    pub max_rooms_per_socket: usize,
    /// Most bytes of a room's name. Default 1 024. A longer one cannot be joined: the call fails as
    /// full. Applications that make names of what clients say should check the length themselves.
    pub max_room_name_bytes: usize,
    /// Most bytes of the names of all rooms that one socket is in. Default 256 KiB. One more cannot
    /// be joined: the call fails as full.
    pub max_room_bytes_per_socket: usize,
    /// Most acknowledgements one socket may owe. Default 65 536. Further requests for one are
    /// refused as full.
    pub max_pending_acks: usize,
    /// How long attachments may trail behind their packet. Default 10 s.
    pub attachment_timeout: Duration,
    /// Settings of the 0.6 family: the plain-message transports and their codecs.
    pub legacy06: Legacy06,
    /// Settings of the 0.7-0.9 generation.
    pub legacy09: Legacy09,
}

/// See [`Config::handshake_headers`].
const HANDSHAKE_HEADERS: [&str; 10] = [
    "authorization",
    "cookie",
    "host",
    "origin",
    "user-agent",
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "referer",
    "accept-language",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io".to_owned(),
            engine_path: None,
            add_trailing_slash: false,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            crowded_connect_timeout: Duration::from_secs(5),
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
            hosts: Hosts::Loopback,
            behind_tls: false,
            flash_policy: alloc::vec!["*:*".to_owned()],
            http: http::Limits::default(),
            websocket: websocket::Limits::default(),
            packet: socket::text::Limits::default(),
            max_sessions: 1_000_000,
            max_sessions_per_address: 10_000,
            max_kept_bytes: (2 << 30) - 1,
            max_kept_bytes_per_address: 24 << 20,
            max_handshake_bytes: 8 * 1024,
            handshake_headers: HANDSHAKE_HEADERS.map(str::to_owned).to_vec(),
            max_auth_bytes: 64 * 1024,
            max_connects_per_second: 128,
            max_packets_per_payload: 65_536,
            max_queued_bytes: 1 << 20,
            max_queued_packets: 8_192,
            max_total_queued_bytes: 1 << 30,
            max_blocked_bytes: 16 * 1024,
            max_namespaces_per_session: 32,
            max_namespaces: 65_536,
            max_rooms_per_socket: 4_096,
            max_room_name_bytes: 1024,
            max_room_bytes_per_socket: 256 * 1024,
            max_pending_acks: 65_536,
            attachment_timeout: Duration::from_secs(10),
            legacy06: Legacy06::default(),
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
    /// A cookie's name, path or domain is empty, or holds characters that a header cannot carry.
    #[error("cookie name, path or domain is empty, or holds characters a header cannot carry; a path starts with '/'")]
    Cookie,
    /// Browsers would throw the cookie away.
    #[error("browsers throw away a cookie with {0}")]
    CookieLost(&'static str),
    /// `*` does not go together with credentials.
    #[error(
        "credentials with `Cors::any()`: list the origins, or say `Cors::any_with_credentials()` if every page may act for its visitors"
    )]
    CorsCredentials,
    /// No browser sends such an origin.
    #[error(
        "CORS origin {0:?}: an origin is `scheme://host[:port]`, without `*` or a slash at its end; all pages are `Cors::any()`"
    )]
    CorsOrigin(String),
    /// A mount's path is that of something else, or lies below or above it.
    #[error("mount {0:?} would answer requests of another path")]
    Mount(String),
    /// More codecs than a server can have at once.
    #[error("{0} codecs: a server can have 8, that of the path and 7 mounts")]
    Codecs(usize),
    /// A 0.7-0.9 client would give the server up: it has to hear something before its timeouts are
    /// over.
    #[error(
        "legacy09: heartbeat_interval and poll_duration must be shorter than close_timeout, and heartbeat_interval than heartbeat_timeout"
    )]
    Impatient,
}

impl Config {
    /// Checks that the settings make sense together and copies `max_payload` to where it is
    /// enforced.
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
        self.legacy06.check_mounts(&self.path, self.engine_path.as_deref())?;
        let day = Duration::from_secs(86_400);
        for (name, value) in [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("connect_timeout", self.connect_timeout),
            ("crowded_connect_timeout", self.crowded_connect_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("close_timeout", self.close_timeout),
            ("attachment_timeout", self.attachment_timeout),
            ("legacy06.heartbeat_interval", self.legacy06.heartbeat_interval),
            ("legacy06.heartbeat_timeout", self.legacy06.heartbeat_timeout),
            ("legacy06.poll_duration", self.legacy06.poll_duration),
            ("legacy06.reconnect_timeout", self.legacy06.reconnect_timeout),
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
            ("max_sessions_per_address", self.max_sessions_per_address),
            ("max_kept_bytes", self.max_kept_bytes),
            ("max_kept_bytes_per_address", self.max_kept_bytes_per_address),
            ("max_handshake_bytes", self.max_handshake_bytes),
            ("max_auth_bytes", self.max_auth_bytes),
            ("max_connects_per_second", self.max_connects_per_second),
            ("max_packets_per_payload", self.max_packets_per_payload),
            ("max_room_name_bytes", self.max_room_name_bytes),
            ("max_room_bytes_per_socket", self.max_room_bytes_per_socket),
            ("packet.max_query_bytes", self.packet.max_query_bytes),
            ("max_packets_per_poll", self.max_packets_per_poll),
            ("max_bytes_per_poll", self.max_bytes_per_poll),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_queued_packets", self.max_queued_packets),
            ("max_total_queued_bytes", self.max_total_queued_bytes),
            ("max_blocked_bytes", self.max_blocked_bytes),
            ("max_namespaces_per_session", self.max_namespaces_per_session),
            ("max_namespaces", self.max_namespaces),
            ("max_rooms_per_socket", self.max_rooms_per_socket),
            ("legacy06.max_pending_messages", self.legacy06.max_pending_messages),
            ("legacy06.max_buffered_bytes", self.legacy06.max_buffered_bytes),
            (
                "legacy06.max_messages_per_payload",
                self.legacy06.max_messages_per_payload,
            ),
            ("legacy09.max_pending_messages", self.legacy09.max_pending_messages),
        ] {
            if value == 0 {
                return Err(ConfigError::ZeroLimit(name));
            }
        }
        if let Some(cookie) = &self.cookie {
            cookie.check(cookie.secure || self.behind_tls)?;
        }
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        if !self.legacy09.is_patient() {
            return Err(ConfigError::Impatient);
        }
        self.packet.max_auth_bytes = self.max_auth_bytes;
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
        let mounts = self.legacy06.mounts.iter().map(|mount| &mount.path);
        let paths = core::iter::once(&self.path).chain(&self.engine_path).chain(mounts);
        paths.map(String::as_str)
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty),* $(,)?) => {
        /// Chainable setters; each names the field it sets, where the default and the trade-off are
        /// written.
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
    /// Sets [`Config::crowded_connect_timeout`](#structfield.crowded_connect_timeout).
    crowded_connect_timeout: Duration,
    /// Sets [`Config::max_sessions`](#structfield.max_sessions).
    max_sessions: usize,
    /// Sets [`Config::max_sessions_per_address`](#structfield.max_sessions_per_address).
    max_sessions_per_address: usize,
    /// Sets [`Config::max_kept_bytes`](#structfield.max_kept_bytes).
    max_kept_bytes: usize,
    /// Sets [`Config::max_kept_bytes_per_address`](#structfield.max_kept_bytes_per_address).
    max_kept_bytes_per_address: usize,
    /// Sets [`Config::max_handshake_bytes`](#structfield.max_handshake_bytes).
    max_handshake_bytes: usize,
    /// Sets [`Config::handshake_headers`](#structfield.handshake_headers).
    handshake_headers: Vec<String>,
    /// Sets [`Config::max_auth_bytes`](#structfield.max_auth_bytes).
    max_auth_bytes: usize,
    /// Sets [`Config::max_connects_per_second`](#structfield.max_connects_per_second).
    max_connects_per_second: usize,
    /// Sets [`Config::max_packets_per_payload`](#structfield.max_packets_per_payload).
    max_packets_per_payload: usize,
    /// Sets [`Config::max_namespaces_per_session`](#structfield.max_namespaces_per_session).
    max_namespaces_per_session: usize,
    /// Sets [`Config::max_namespaces`](#structfield.max_namespaces).
    max_namespaces: usize,
    /// Sets [`Config::max_rooms_per_socket`](#structfield.max_rooms_per_socket).
    max_rooms_per_socket: usize,
    /// Sets [`Config::max_room_name_bytes`](#structfield.max_room_name_bytes).
    max_room_name_bytes: usize,
    /// Sets [`Config::max_room_bytes_per_socket`](#structfield.max_room_bytes_per_socket).
    max_room_bytes_per_socket: usize,
    /// Sets [`Config::max_pending_acks`](#structfield.max_pending_acks).
    max_pending_acks: usize,
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
    /// Sets [`Config::hosts`](#structfield.hosts).
    hosts: Hosts,
    /// Sets [`Config::behind_tls`](#structfield.behind_tls).
    behind_tls: bool,
    /// Sets [`Config::legacy06`](#structfield.legacy06).
    legacy06: Legacy06,
    /// Sets [`Config::legacy09`](#structfield.legacy09).
    legacy09: Legacy09,
}

/// Which transports are offered. [`Transports::polling`] and [`Transports::websocket`] are for
/// clients of Engine.IO and of 0.7 to 0.9, the others for clients of 0.6, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// HTTP long polling, and htmlfile. Default true.
    pub polling: bool,
    /// WebSocket, whoever speaks it. Default true.
    pub websocket: bool,
    /// Polling by scripts (JSONP), where there is polling. Default true: old browsers have nothing
    /// else from another origin. Answers are scripts, which every page may load, so all that keeps
    /// other pages from reading them is what the request says of its page ([`Origins`]). Servers
    /// without clients of before 2013 do well to turn it off.
    pub jsonp: bool,
    /// Endless pages of scripts (htmlfile), where there is polling. Default true. Only Internet
    /// Explorer before 10 uses them.
    pub htmlfile: bool,
}

impl Default for Transports {
    fn default() -> Self {
        Self {
            polling: true,
            websocket: true,
            jsonp: true,
            htmlfile: true,
        }
    }
}

impl Transports {
    /// Sets [`Transports::polling`](#structfield.polling).
    #[must_use]
    pub const fn polling(mut self, polling: bool) -> Self {
        self.polling = polling;
        self
    }

    /// Sets [`Transports::websocket`](#structfield.websocket).
    #[must_use]
    pub const fn websocket(mut self, websocket: bool) -> Self {
        self.websocket = websocket;
        self
    }

    /// Sets [`Transports::jsonp`](#structfield.jsonp).
    #[must_use]
    pub const fn jsonp(mut self, jsonp: bool) -> Self {
        self.jsonp = jsonp;
        self
    }

    /// Sets [`Transports::htmlfile`](#structfield.htmlfile).
    #[must_use]
    pub const fn htmlfile(mut self, htmlfile: bool) -> Self {
        self.htmlfile = htmlfile;
        self
    }
}

/// Which generations of the wire are served. One that is off is refused the way a server without it
/// refuses.
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

#[cfg(test)]
mod tests;
