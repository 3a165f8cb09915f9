//! Settings for operators: one plain struct with every limit and every default.
//!
//! [`Config::validate`] checks a [`Config`] once, inside the constructors that take it. After this
//! the machines rely on it. Everything that a peer can grow (a queue, a buffer, a map, a count, a
//! nesting) has a limit here.

mod check;
mod cluster;
mod cookie;
mod cors;
mod legacy;
mod rates;
mod recovery;
mod relay;
mod secret;
mod served;
mod setters;
mod socket_ids;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::codec::PacketParser;
use crate::engine::Dialect;
use crate::{Hosts, Origins, http, socket, websocket};

pub use check::ConfigError;
pub use cluster::{ClusterConfig, ClusterKind, ShardedMode, StreamsConfig};
pub use cookie::{Cookie, Priority, SameSite};
pub use cors::{Cors, CorsOrigins, OriginRule};
pub use legacy::{Legacy06, Legacy09, Mount};
pub use rates::{Excess, Rate, RateLimit};
pub use recovery::RecoveryConfig;
pub use relay::RelayConfig;
pub use secret::Secret;
pub use served::{Generations, Transports};
pub(crate) use setters::setters;
pub use socket_ids::SocketIdError;

/// Settings of a server. This is plain data: build it with [`Config::default`] and the chainable
/// setters, or set fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Path prefix under which Socket.IO is served, without a trailing slash. Default `/socket.io`.
    pub path: String,
    /// Path prefix under which raw Engine.IO sessions are served, without a trailing slash. Default
    /// none.
    pub engine_path: Option<String>,
    /// Whether [`Config::path`] and [`Config::engine_path`] are served only with their final slash.
    /// Genuine servers do this, unless their option of this name is false: `/socket.io/?EIO=4` is
    /// served, and `/socket.io?EIO=4` belongs to the application. Default false: both forms are
    /// served. So clients with `addTrailingSlash: false` are served, and clients behind a proxy
    /// that removes the slash. If true, such clients get the application's answer. Longer names are
    /// never served: `/socket.iox` always belongs to the application (docs/protocol/engine-io.md
    /// §1).
    pub add_trailing_slash: bool,
    /// How often a server pings an Engine.IO 4 client. Default 25 s. If it is too long, dead peers
    /// stay, and proxies cut idle connections. If it is too short, it costs CPU and radio time
    /// (docs/protocol/engine-io.md §6). A host may let pings be late by up to 1/256 of this time
    /// or of [`Config::ping_timeout`], and by at most 100 ms, so that many clients are pinged at
    /// once ([`Shard::latest_timeout`](crate::server::Shard::latest_timeout)).
    pub ping_interval: Duration,
    /// How long an answer to a ping may take. Default 20 s. If it is too short, peers on slow links
    /// are dropped.
    pub ping_timeout: Duration,
    /// How long a new session may exist without joining a namespace. Default 45 s
    /// (docs/protocol/socket-io.md §3.1), as with genuine servers: a client on a slow link, behind
    /// a slow middleware, needs some of this time. In a crowd, [`Config::crowded_connect_timeout`]
    /// applies instead.
    pub connect_timeout: Duration,
    /// How long a session may exist without joining a namespace when three quarters of
    /// [`Config::max_sessions`] or [`Config::max_kept_bytes`] are taken. Default 5 s. Each
    /// handshake then ends up to two sessions that have had this time. If it is too short, clients
    /// on slow links are ended whenever many come at once. If it is too long, clients that join
    /// nothing take the room of others.
    pub crowded_connect_timeout: Duration,
    /// How long each of the two parts of an upgrade may take: from the connection of the websocket
    /// to the probe on it, and from the answer to the probe to packet `5`
    /// (docs/protocol/engine-io.md §7). A POST that is under way when the probe comes is waited
    /// for. The second part is not over while a POST of the client is under way, and goes on for a
    /// while when the POST is answered, because the client sends `5` then: for half of this time,
    /// or for all of it behind a POST that has outlasted it. It is also the time for a hixie-76
    /// handshake of 0.6 to 0.9, from its head to the 8 bytes behind the head. Default 10 s.
    pub upgrade_timeout: Duration,
    /// How long a closing polling session waits for a GET that can carry the close packet. Default
    /// 30 s (docs/protocol/engine-io.md §8).
    pub close_timeout: Duration,
    /// How long the answer to a goodbye by POST waits for a GET that the client sent before the
    /// goodbye on another connection, but that is read after it. Default 30 ms
    /// (docs/protocol/engine-io.md §8). If it is shorter than the delays of busy threads, the GET
    /// finds no session. If it is longer, a client that closes while no GET is held waits longer
    /// for its `ok`.
    pub crossing_timeout: Duration,
    /// Largest HTTP body and largest websocket message that a peer may send, in bytes. Default 1
    /// 000 000. It is announced to clients as `maxPayload`. The corresponding fields of
    /// [`Config::http`] and [`Config::websocket`], which are limits of one connection, follow this
    /// field.
    pub max_payload: usize,
    /// Whether polling sessions are offered websocket, and may move to it. Default true.
    pub allow_upgrades: bool,
    /// Which transports are offered. Default both.
    pub transports: Transports,
    /// Which generations are served. Default all that exist.
    pub generations: Generations,
    /// How the server reads the text of Engine.IO 3 clients. Default [`Dialect::Auto`]: the text
    /// that each session sends decides. Set another value only if all such clients are known to be
    /// of one kind (docs/protocol/engine-io.md §3.3).
    pub dialect: Dialect,
    /// Whether the answer to a handshake of Engine.IO 3 by polling also carries the CONNECT of `/`,
    /// if the application lets the client in at once. Default false: the CONNECT comes with the
    /// next poll, as from genuine servers of 1.x, and from servers of 2.x that have a middleware.
    /// Some clients of other authors never report the connection if it comes with the handshake. If
    /// true, clients of 1.x and 2.x save a round trip before they are connected.
    pub engine3_connect_at_once: bool,
    /// Whether all polls of Engine.IO 3 are answered in binary framing, to clients that have not
    /// sent `b64`. Default false: only answers with binary packets are, as from genuine servers of
    /// 2.x. Genuine servers of 1.x always use binary framing, and clients that know only these
    /// servers (the Python package `socketIO-client` of versions 0.6 and 0.7) can read nothing
    /// else. Genuine clients of 1.x and 2.x read both. If this is true, clients that cannot read
    /// binary and do not say so lose their connection (docs/protocol/engine-io.md §3.4).
    pub engine3_binary_polls: bool,
    /// Most packets in the answer to one poll of Engine.IO 4 and 3. Default 16, because the client
    /// `python-socketio` discards an answer with more packets. The rest waits for the next poll,
    /// which is answered at once: so a polling client gets at most this many packets in a round
    /// trip. A larger value is faster for distant clients that stay on polling. Genuine clients
    /// accept any number.
    pub max_packets_per_poll: usize,
    /// Most bytes in the answer to one poll of Engine.IO 4 and 3, before base64 and escapes. A
    /// packet that is larger goes alone. Default 1 000 000. If it is too small, it costs round
    /// trips. If it is too large, one answer can hold much memory while a slow client reads it.
    pub max_bytes_per_poll: usize,
    /// The parser with which clients of Engine.IO 4 and 3 write Socket.IO packets. Default none,
    /// which is the standard wire, [`socket::text`]. Nothing on the wire names the parser: clients
    /// have to be configured with the same parser, and clients with another parser are closed.
    pub parser: Option<Arc<dyn PacketParser>>,
    /// Cookie set on the handshake response of polling. Default none.
    pub cookie: Option<Cookie>,
    /// CORS headers of Engine.IO. Default none: then [`Config::origins`] decides. Pages of listed
    /// origins may read answers, with credentials. If all pages are allowed, all pages may read
    /// answers, without credentials. Otherwise only pages of the same origin can. If this field is
    /// set, pages of listed origins may read answers as well. `Cors::list` of nothing sends headers
    /// only to pages of listed origins. Clients of 0.9 and before get the headers that they need
    /// wherever their page is allowed.
    pub cors: Option<Cors>,
    /// Which pages may open sessions at all, over any transport. Default [`Origins::SameHost`].
    pub origins: Origins,
    /// Which host names requests may name. Default [`Hosts::Loopback`]: requests from the machine
    /// itself may use only names of loopback, and requests from elsewhere may use any name. List
    /// the server's hosts if browsers can reach it without TLS (a development machine, an
    /// intranet). Without a list, a page whose name is pointed at the server's address counts as
    /// the same host. If the list is too narrow, clients are refused; the log has the name that
    /// they asked for.
    pub hosts: Hosts,
    /// Whether all clients come over TLS, which a proxy in front removes. Default false: only
    /// [`Peer::secure`](crate::server::Peer::secure) says whether a link is encrypted, because any
    /// client can send a header such as `X-Forwarded-Proto`. If true, pages of the same host have
    /// to be `https`, cookies are `Secure`, and the handshakes of old websockets say `wss`.
    pub behind_tls: bool,
    /// The origins whose pages the Flash policy lets open sockets. Each is `domain[:port]` with `*`
    /// for any; without a port any port is allowed. The policy is sent to every client that asks
    /// for it, as long as a generation with flashsocket is served. Default `*:*`, as with genuine
    /// servers: the policy does not protect sessions. It only says that Flash may connect, and
    /// other programs connect without asking. [`Config::origins`] decides who may open a session,
    /// over flashsocket too. An empty list allows nobody.
    pub flash_policy: Vec<String>,
    /// Limits on the HTTP requests of one connection. `max_body_bytes` follows
    /// [`Config::max_payload`]: another value in it is an error.
    pub http: http::Limits,
    /// Limits on the websocket frames of one connection. `max_frame_bytes` and `max_message_bytes`
    /// follow [`Config::max_payload`]: another value in one of them is an error.
    pub websocket: websocket::Limits,
    /// Limits on one Socket.IO packet. `max_auth_bytes` follows [`Config::max_auth_bytes`]: another
    /// value in it is an error.
    pub packet: socket::text::Limits,
    /// Most sessions at once, in all shards of a server that share their quota
    /// ([`Shard::share_quota`](crate::server::Shard::share_quota)). Default 1 000 000. When this
    /// number is reached, the oldest session that has joined nothing is ended. If there is none,
    /// the handshake is answered with 503. If it is too small, people are turned away. If it is too
    /// large, memory can be filled.
    pub max_sessions: usize,
    /// Most sessions at once of clients at one address. For IPv6, an address is a network of 64
    /// bits, or of the size in the adapter's options. Default 10 000. When this number is reached,
    /// the oldest session of this address that has joined nothing is ended. If there is none, the
    /// handshake is answered with 503.
    ///
    /// A session counts even without a connection, so this also bounds sessions that poll. Behind a
    /// proxy all clients have the proxy's address: raise this to [`Config::max_sessions`] there,
    /// and let the proxy limit its clients. If it is too small, people behind one address of an
    /// office or a mobile carrier are refused.
    pub max_sessions_per_address: usize,
    /// Most bytes that all sessions together keep of the data that their clients have sent:
    /// handshakes ([`Config::max_handshake_bytes`]), `auth` ([`Config::max_auth_bytes`]), CONNECTs
    /// that wait, packets whose attachments have not come, packets ahead of an upgrade, packets for
    /// namespaces that are not joined yet, the tokens of a namespace with a limit
    /// ([`Config::socket_rate`]), and 1 KiB for each session itself. Not counted: what the
    /// server makes of a CONNECT beside its `auth`, up to about 2 KiB for each socket with the name
    /// of its namespace, also while nobody has decided about it. Its limits are
    /// [`Config::max_namespaces_per_session`], [`Config::max_connects_per_second`] and
    /// [`Config::max_namespaces`]. Default 2 GiB less one byte. Beyond it, handshakes are answered
    /// with 503, and a session that would keep more ends. The bytes are counted in steps of 64 KiB
    /// for each session. If it is too small, sessions that have done nothing wrong are ended when
    /// many large messages are under way.
    pub max_kept_bytes: usize,
    /// Most such bytes for all sessions of clients at one address. Default 24 MiB, which is enough
    /// for ten thousand handshakes with heads of 2 KB. Behind a proxy, raise it like
    /// [`Config::max_sessions_per_address`].
    pub max_kept_bytes_per_address: usize,
    /// Most bytes of header fields that a session keeps of the request that opened it, including 8
    /// bytes for each field. Default 8 KiB. A field that does not fit is left out as a whole.
    /// Fields that [`Config::handshake_headers`] does not name are left out first. The request's
    /// target is kept as a whole; its limit is [`http::Limits::max_target_bytes`]. If it is too
    /// small, cookies that handlers look for are left out
    /// ([`Handshake::left_out`](crate::server::Handshake::left_out) is the number of missing
    /// fields). If it is larger, each session needs more memory.
    pub max_handshake_bytes: usize,
    /// Names of header fields that a session keeps before all others if not all fit, in order of
    /// importance. Default: the fields that applications look for, `authorization`, `cookie`,
    /// `host`, `origin`, `user-agent`, `x-forwarded-for`, `forwarded`, `x-real-ip`, `referer`,
    /// `accept-language`.
    pub handshake_headers: Vec<String>,
    /// Most bytes of `auth`, or of queries of CONNECTs, that one session keeps for all its
    /// namespaces together. Default 64 KiB. A CONNECT with more is refused. If it is too small,
    /// large tokens are refused.
    pub max_auth_bytes: usize,
    /// Most CONNECTs that one session may send within a second. Default 128, four times
    /// [`Config::max_namespaces_per_session`]. One more closes the session, because each CONNECT
    /// costs the application more than the client. If it is too small, clients that join many
    /// namespaces at once are closed.
    pub max_connects_per_second: usize,
    /// Most packets in the body of one POST, of Engine.IO and of 0.7 to 0.9. Default 65 536. In
    /// Engine.IO, more packets are a breach of the protocol. In 0.7 to 0.9 they are dropped. If it
    /// is too small, clients that have emitted much between two POSTs are ended. Each packet costs
    /// some hundred bytes while its POST is handled.
    pub max_packets_per_payload: usize,
    /// Most packets that a websocket may send behind its `5` while a POST of its session is under
    /// way. Together they may be as large as [`Config::max_payload`]. Default 16. One more ends the
    /// session. Genuine clients wait for the answer to their POST and send none.
    pub max_upgrade_packets: usize,
    /// Most bytes queued for one session while its transport cannot take them, in the session and
    /// on its link. Default 1 MiB. Beyond it, a send is refused as full. A broadcast closes the
    /// session, because a gap in an ordered stream cannot be repaired. A
    /// [`Policy`](crate::server::Policy) of the message can change both. Packets of the protocol
    /// itself have an eighth more (at least 16 KiB), and a peer that causes still more of them
    /// without reading is cut. If it is too small, bursts fail, and every message that is larger is
    /// refused ([`SendError::TooLarge`](crate::server::SendError::TooLarge)). If it is too large,
    /// each client that does not read can hold this much memory.
    pub max_queued_bytes: usize,
    /// Most packets queued for one session. Default 1 024. All sockets of a session share one
    /// queue, because their packets leave in one order, so this is also the limit of each socket. A
    /// message is one packet, and one more for each attachment. Packets of the protocol itself have
    /// an eighth more (at least 64). If it is too small, bursts of small events fail, and clients
    /// that have missed much are not recovered. If it is too large, the packets can take more
    /// memory than their bytes.
    pub max_queued_packets: usize,
    /// Most bytes that wait for all sessions of the server together, because their links are
    /// blocked or they are between two polls. Default 1 GiB. While more bytes wait, a send to a
    /// session that cannot take it at once is refused as full. The sessions for which most bytes
    /// wait are ended, until the total is below the limit. Bytes of a broadcast count once for each
    /// recipient, and each packet counts 96 bytes more for its place. If it is too small, sessions
    /// of slow clients are ended under load. If it is too large, clients that do not read can fill
    /// the memory.
    pub max_total_queued_bytes: usize,
    /// How many bytes are read from a peer that does not read. Beyond it, the server stops reading
    /// from the peer until the peer reads. Default 16 KiB. The answer to a heartbeat has to fit.
    /// The bytes that are read may cause answers, which wait. If it is too small, answers of
    /// clients that send and do not read for a while are missed. A larger value has no use.
    pub max_blocked_bytes: usize,
    /// How fast a client may send, in all of its namespaces together. Default: as fast as it wants.
    /// It counts for the session, whatever number of connections its polls use. A client that
    /// polls or has left its websocket for another keeps its tokens.
    pub session_rate: RateLimit,
    /// How fast a client may send in one namespace. Default: as fast as it wants. The caller can
    /// set another limit for each socket that it lets in
    /// ([`Welcome::rate`](crate::server::Welcome::rate)). A client that leaves a namespace and
    /// joins it again has the tokens that it had there.
    pub socket_rate: RateLimit,
    /// Most namespaces one session may be in at once. A namespace with a limit
    /// ([`Config::socket_rate`]) that it has left counts until all tokens are there again. Default
    /// 32.
    pub max_namespaces_per_session: usize,
    /// Most namespaces that exist at once in one shard. Default 65 536. Empty ones are forgotten.
    pub max_namespaces: usize,
    /// Most rooms one socket may be in. Default 4 096.
    pub max_rooms_per_socket: usize,
    /// Most bytes of a room's name. Default 1 024. A room with a longer name cannot be joined: the
    /// call fails as full. Applications that make names of rooms from clients' texts should check
    /// the length themselves.
    pub max_room_name_bytes: usize,
    /// Most bytes of the names of all rooms that one socket is in. Default 256 KiB. Beyond it, a
    /// further room cannot be joined: the call fails as full.
    pub max_room_bytes_per_socket: usize,
    /// How the ids begin that the application makes for its sockets, for example `user:`. Default
    /// none: then the server draws all ids. With a prefix, an id that the server draws can still be
    /// any socket's. A prefix consists of ASCII letters, digits, and `-_.:@~`, with at least one of
    /// `.:@~`, which no drawn id has. No room can have a name that begins with the prefix.
    pub socket_id_prefix: Option<String>,
    /// Most bytes of an id that the application makes, with [`Config::socket_id_prefix`]. Default
    /// 64. A socket with a longer id is not let in. If it is too large, each socket can keep this
    /// much memory for its name.
    pub max_socket_id_bytes: usize,
    /// Most acknowledgements that one socket may owe. Default 65 536. Further requests for
    /// acknowledgements are refused as full.
    pub max_pending_acks: usize,
    /// How long attachments may come after their packet, without the time in which the server reads
    /// nothing from the client ([`Shard::excuse`](crate::server::Shard::excuse)). Default 10 s.
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
            crossing_timeout: Duration::from_millis(30),
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
            max_upgrade_packets: 16,
            max_queued_bytes: 1 << 20,
            max_queued_packets: 1_024,
            max_total_queued_bytes: 1 << 30,
            max_blocked_bytes: 16 * 1024,
            session_rate: RateLimit::NONE,
            socket_rate: RateLimit::NONE,
            max_namespaces_per_session: 32,
            max_namespaces: 65_536,
            max_rooms_per_socket: 4_096,
            max_room_name_bytes: 1024,
            max_room_bytes_per_socket: 256 * 1024,
            socket_id_prefix: None,
            max_socket_id_bytes: 64,
            max_pending_acks: 65_536,
            attachment_timeout: Duration::from_secs(10),
            legacy06: Legacy06::default(),
            legacy09: Legacy09::default(),
        }
    }
}

impl Config {
    /// Sets [`Config::engine_path`](#structfield.engine_path).
    #[must_use]
    pub fn engine_path(mut self, path: &str) -> Self {
        self.engine_path = Some(path.to_owned());
        self
    }

    /// Sets [`Config::socket_id_prefix`](#structfield.socket_id_prefix).
    #[must_use]
    pub fn socket_id_prefix(mut self, prefix: &str) -> Self {
        self.socket_id_prefix = Some(prefix.to_owned());
        self
    }

    /// Sets [`Config::parser`](#structfield.parser).
    #[must_use]
    pub fn parser(mut self, parser: impl PacketParser + 'static) -> Self {
        self.parser = Some(Arc::new(parser));
        self
    }

    /// For how long the caller may read nothing from a client before it has to
    /// [excuse](crate::server::Shard::excuse) it again: half of the shortest time that an answer to
    /// a heartbeat may take.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        let old = self.legacy06.heartbeat_timeout.min(self.legacy09.heartbeat_timeout);
        self.ping_timeout.min(old) / 2
    }

    /// Whether a target is one of the targets that a path covers.
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

setters! {
    Config {
        path: &str,
        add_trailing_slash: bool,
        ping_interval: Duration,
        ping_timeout: Duration,
        connect_timeout: Duration,
        crowded_connect_timeout: Duration,
        upgrade_timeout: Duration,
        close_timeout: Duration,
        crossing_timeout: Duration,
        max_payload: usize,
        allow_upgrades: bool,
        transports: Transports,
        generations: Generations,
        dialect: Dialect,
        engine3_connect_at_once: bool,
        engine3_binary_polls: bool,
        max_packets_per_poll: usize,
        max_bytes_per_poll: usize,
        cookie: Cookie,
        cors: Cors,
        origins: Origins,
        hosts: Hosts,
        behind_tls: bool,
        flash_policy: Vec<String>,
        http: http::Limits,
        websocket: websocket::Limits,
        packet: socket::text::Limits,
        max_sessions: usize,
        max_sessions_per_address: usize,
        max_kept_bytes: usize,
        max_kept_bytes_per_address: usize,
        max_handshake_bytes: usize,
        handshake_headers: Vec<String>,
        max_auth_bytes: usize,
        max_connects_per_second: usize,
        max_packets_per_payload: usize,
        max_upgrade_packets: usize,
        max_queued_bytes: usize,
        max_queued_packets: usize,
        max_total_queued_bytes: usize,
        max_blocked_bytes: usize,
        session_rate: RateLimit,
        socket_rate: RateLimit,
        max_namespaces_per_session: usize,
        max_namespaces: usize,
        max_rooms_per_socket: usize,
        max_room_name_bytes: usize,
        max_room_bytes_per_socket: usize,
        max_socket_id_bytes: usize,
        max_pending_acks: usize,
        attachment_timeout: Duration,
        legacy06: Legacy06,
        legacy09: Legacy09,
    }
    by hand { parser, engine_path, socket_id_prefix }
}

#[cfg(test)]
mod tests;
