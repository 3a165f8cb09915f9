//! What an operator can tell the process, beside the protocol's [`Config`](sio_proto::Config).

use std::time::Duration;

use crate::web::client_files::ClientFiles;

/// What an adapter can be told beside the protocol's [`Config`](sio_proto::Config).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many shards: parts that work beside each other. Default: one per processor this process
    /// may use. More than there are processors only makes broadcasts dearer; fewer make threads
    /// wait for each other.
    pub shards: usize,
    /// Most connections at once. Default 1 000 000. Further ones are closed as soon as they are
    /// accepted.
    pub max_connections: usize,
    /// Most connections at once from one address. Default 10 000. Further ones are closed as soon
    /// as they are accepted.
    ///
    /// It bounds what one machine can take from the others, so no address is exempt, the loopback's
    /// neither. Behind a proxy all connections have the proxy's address: raise this to
    /// [`Options::max_connections`] and let the proxy limit its clients. Too low shuts out the
    /// people behind one address of an office or a mobile carrier. Sessions have a limit of their
    /// own: one that polls is held by no connection, and is bounded by
    /// [`Config::max_sessions_per_address`](sio_proto::Config::max_sessions_per_address);
    /// [`Io::allow_request`](crate::Io::allow_request) is where an application counts its users.
    pub max_connections_per_address: usize,
    /// How many leading bits of an IPv6 address count as the address in
    /// [`Options::max_connections_per_address`] and
    /// [`Config::max_sessions_per_address`](sio_proto::Config::max_sessions_per_address). Default
    /// 64, because one subscriber has at least so many addresses. More than 128 is 128. IPv4
    /// addresses count whole, also where they are written as IPv6.
    pub ipv6_prefix: u8,
    /// How long a connection may be open without a request: before its first, and between two. Also
    /// how long a peer may take to read the last bytes before a connection is closed. Default 30 s.
    /// Too short makes polling clients connect again and again, too long lets idle connections pile
    /// up.
    pub idle_timeout: Duration,
    /// How long the head of a request may take, from its first byte to its last. Default 10 s. Too
    /// short cuts clients with very slow links; a peer that sends a byte now and then (slow loris)
    /// holds a connection this long.
    pub head_timeout: Duration,
    /// How long the body of a request may take, from the end of the head. Default 30 s. Too short
    /// cuts large messages of clients that poll over slow links.
    pub body_timeout: Duration,
    /// How long a peer may take nothing of an answer that waits for it. Default 45 s, looked at
    /// every few seconds. Too short cuts clients whose network is away for a while; too long lets
    /// answers that nobody reads stay in memory. Websockets and streams have as long as a heartbeat
    /// and its answer may take.
    pub write_timeout: Duration,
    /// How long a peer has to close its side of a connection, once all that there was for it has
    /// been written and ours is closed. Default 2 s. What it still sends is thrown away meanwhile.
    /// Too short cuts answers that are on their way to slow clients, because a connection that is
    /// closed with unread bytes is reset.
    pub linger_timeout: Duration,
    /// About how many bytes a connection may send ahead while its request waits for the answer.
    /// Default 64 KiB. When there are as many it is not read from until the answer is there. Less
    /// costs clients that pipeline large requests a round trip.
    pub max_pipelined_bytes: usize,
    /// How much of what has arrived may wait for later turns before no more large bodies (over 64
    /// KiB) are taken apart: taken apart they are many times as large. Default 8 MiB. Too little
    /// lets one client's thousands of events delay the large bodies of others; more lets some
    /// clients that send thousands of events in each body fill the memory.
    pub max_left_bytes: usize,
    /// Most bytes that all connections together may have received of requests and websocket
    /// messages that are not complete: heads, bodies, frames, messages in several frames. Default
    /// 512 MiB. The connection that would take more is closed. The first 4 KiB of a connection do
    /// not count, so 4 KiB for each of [`Options::max_connections`] come on top. Too little closes
    /// connections that send large messages when many do; more lets slow senders fill the memory.
    /// Bodies that another HTTP server reads count as well (`Exchange::receive`); heads that it
    /// reads do not: limit them there. Events that have arrived and wait for their turn count too;
    /// what there is no room for is done at once.
    pub max_receiving_bytes: usize,
    /// The same for the connections from one address, as [`Options::max_connections_per_address`]
    /// counts them. Default 32 MiB: from 16 to 33 messages of the largest size at once, because
    /// what counts is the memory that they are read into, which is up to twice as large. Behind a
    /// proxy raise it to [`Options::max_receiving_bytes`].
    pub max_receiving_bytes_per_address: usize,
    /// How much may wait for one session: events whose turn has not come, handlers and middlewares
    /// that wait, those of sockets that have left among them, acknowledgements that the application
    /// owes. Default 4 096. An event that comes when there is so much closes the session, because a
    /// client that is faster than its handlers would fill the memory. Too few closes sessions of
    /// clients that send bursts to slow handlers.
    pub max_waiting_events: usize,
    /// The same in bytes: names and arguments of events whose turn has not come, and arguments of
    /// events whose handlers wait. Default 16 MiB. One event may wait whatever its size.
    pub max_waiting_bytes: usize,
    /// How many handlers of its own a socket may have ([`Socket::on`](crate::Socket::on),
    /// [`Socket::once`](crate::Socket::once)). Default 64. Each has a name of at most 256 bytes,
    /// and what it captures. More are refused, because handlers that are given in other handlers
    /// grow with what a client sends. All of them are looked through for each event of their
    /// socket.
    pub max_handlers_per_socket: usize,
    /// How much may wait for all sessions of one address, counted as in
    /// [`Options::max_waiting_events`], those that have ended among them. Default 32 768. An event
    /// that comes when there is so much closes its session. What counts as an address is what
    /// [`Options::ipv6_prefix`] says. Behind a proxy all sessions have the proxy's address: raise
    /// this to [`Options::max_total_waiting_events`]. Too few closes sessions of people behind one
    /// address; too many lets one machine fill the memory.
    pub max_waiting_events_per_address: usize,
    /// The same in bytes. Default 32 MiB.
    pub max_waiting_bytes_per_address: usize,
    /// How much may wait for all sessions together, counted as in [`Options::max_waiting_events`].
    /// Default 1 000 000. An event that comes when there is so much closes its session. A future
    /// that waits takes from some hundred bytes to some KiB, beside its arguments.
    pub max_total_waiting_events: usize,
    /// The same in bytes. Default 256 MiB.
    pub max_total_waiting_bytes: usize,
    /// How many middlewares of one session may wait at once. Default 8. Further CONNECTs wait for
    /// them, in their order, and at most
    /// [`Config::max_namespaces_per_session`](sio_proto::Config::max_namespaces_per_session) of
    /// them. Zero is one. Fewer make a client that connects to many namespaces wait longer; more
    /// let one that connects and leaves again keep as many futures.
    pub max_waiting_middlewares: usize,
    /// The longest time that a decision of
    /// [`Io::allow_request_async`](crate::Io::allow_request_async) may take. Default 10 s. After it
    /// the request is refused. Too short refuses clients while what decides is slow; too long lets
    /// more requests wait, and clients give up after 20 s by default.
    pub allow_request_timeout: Duration,
    /// The most requests that may wait for such a decision at once. Default 4 096. Further requests
    /// are refused. Each of them keeps a connection, a copy of its head, and the future that
    /// decides. Too few refuse clients that come back all at once, for example after a restart.
    pub max_waiting_requests: usize,
    /// The same for the connections from one address, as [`Options::max_connections_per_address`]
    /// counts them. Default 256. Behind a proxy raise it to [`Options::max_waiting_requests`]: all
    /// connections have the proxy's address there.
    pub max_waiting_requests_per_address: usize,
    /// Over how long a shutdown spreads the sessions, each leaving at a random moment of it.
    /// Default zero. With many clients, what they connect to next meets all of them at once
    /// otherwise. Sessions whose moment has not come go on.
    pub shutdown_jitter: Duration,
    /// How long a shutdown waits for what is under way for a session: acknowledgements that its
    /// client or a handler owes, handlers that wait. After that, how long it waits for a client
    /// between two polls, which hears of the end in the next; it may open a connection for it,
    /// because connections are accepted until no session is left. Handshakes are answered 503
    /// meanwhile. Default 3 s. Zero waits for nothing: then a client between two polls is not told.
    pub shutdown_drain: Duration,
    /// How long a shutdown waits for connections to end by themselves, once
    /// [`Options::shutdown_jitter`] is over. Default 10 s. Then the listener is closed, within a
    /// second, and connections that are left are ended. Together with the jitter it has to be less
    /// than what whoever ends the process allows; more than twice [`Options::shutdown_drain`] and
    /// two seconds, so that clients can close their side.
    pub shutdown_timeout: Duration,
    /// The genuine clients' files, for pages that load `/socket.io/socket.io.js`. Default none:
    /// such requests are the application's.
    pub client_files: Option<ClientFiles>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            max_connections: 1_000_000,
            max_connections_per_address: 10_000,
            ipv6_prefix: 64,
            idle_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(45),
            linger_timeout: Duration::from_secs(2),
            max_pipelined_bytes: 64 * 1024,
            max_left_bytes: 8 << 20,
            max_receiving_bytes: 512 << 20,
            max_receiving_bytes_per_address: 32 << 20,
            max_waiting_events: 4096,
            max_waiting_bytes: 16 << 20,
            max_waiting_events_per_address: 32_768,
            max_waiting_bytes_per_address: 32 << 20,
            max_total_waiting_events: 1_000_000,
            max_total_waiting_bytes: 256 << 20,
            max_waiting_middlewares: 8,
            allow_request_timeout: Duration::from_secs(10),
            max_waiting_requests: 4_096,
            max_waiting_requests_per_address: 256,
            max_handlers_per_socket: 64,
            shutdown_jitter: Duration::ZERO,
            shutdown_drain: Duration::from_secs(3),
            shutdown_timeout: Duration::from_secs(10),
            client_files: None,
        }
    }
}

impl Options {
    /// Sets [`Options::client_files`](#structfield.client_files).
    ///
    /// ```no_run
    /// # fn options() -> Result<sio_app::Options, sio_app::ClientFilesError> {
    /// use sio_app::{ClientFiles, Options};
    /// let files = ClientFiles::load("clients/4.8.1")?.version("0.9.17", "clients/0.9.17")?;
    /// Ok(Options::default().client_files(files))
    /// # }
    /// ```
    #[must_use]
    pub fn client_files(mut self, files: ClientFiles) -> Self {
        self.client_files = Some(files);
        self
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty),* $(,)?) => {
        /// Chainable setters; each names the field it sets, where the default and the trade-off are
        /// written.
        impl Options {
            $($(#[$doc])* #[must_use] pub const fn $name(mut self, $name: $kind) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets [`Options::shards`](#structfield.shards).
    shards: usize,
    /// Sets [`Options::max_connections`](#structfield.max_connections).
    max_connections: usize,
    /// Sets [`Options::max_connections_per_address`](#structfield.max_connections_per_address).
    max_connections_per_address: usize,
    /// Sets [`Options::ipv6_prefix`](#structfield.ipv6_prefix).
    ipv6_prefix: u8,
    /// Sets [`Options::idle_timeout`](#structfield.idle_timeout).
    idle_timeout: Duration,
    /// Sets [`Options::head_timeout`](#structfield.head_timeout).
    head_timeout: Duration,
    /// Sets [`Options::body_timeout`](#structfield.body_timeout).
    body_timeout: Duration,
    /// Sets [`Options::write_timeout`](#structfield.write_timeout).
    write_timeout: Duration,
    /// Sets [`Options::linger_timeout`](#structfield.linger_timeout).
    linger_timeout: Duration,
    /// Sets [`Options::max_pipelined_bytes`](#structfield.max_pipelined_bytes).
    max_pipelined_bytes: usize,
    /// Sets [`Options::max_left_bytes`](#structfield.max_left_bytes).
    max_left_bytes: usize,
    /// Sets [`Options::max_receiving_bytes`](#structfield.max_receiving_bytes).
    max_receiving_bytes: usize,
    /// Sets
    /// [`Options::max_receiving_bytes_per_address`](#structfield.max_receiving_bytes_per_address).
    max_receiving_bytes_per_address: usize,
    /// Sets [`Options::max_waiting_events`](#structfield.max_waiting_events).
    max_waiting_events: usize,
    /// Sets [`Options::max_waiting_bytes`](#structfield.max_waiting_bytes).
    max_waiting_bytes: usize,
    /// Sets
    /// [`Options::max_waiting_events_per_address`](#structfield.max_waiting_events_per_address).
    max_waiting_events_per_address: usize,
    /// Sets [`Options::max_waiting_bytes_per_address`](#structfield.max_waiting_bytes_per_address).
    max_waiting_bytes_per_address: usize,
    /// Sets [`Options::max_total_waiting_events`](#structfield.max_total_waiting_events).
    max_total_waiting_events: usize,
    /// Sets [`Options::max_total_waiting_bytes`](#structfield.max_total_waiting_bytes).
    max_total_waiting_bytes: usize,
    /// Sets [`Options::max_waiting_middlewares`](#structfield.max_waiting_middlewares).
    max_waiting_middlewares: usize,
    /// Sets [`Options::allow_request_timeout`](#structfield.allow_request_timeout).
    allow_request_timeout: Duration,
    /// Sets [`Options::max_waiting_requests`](#structfield.max_waiting_requests).
    max_waiting_requests: usize,
    /// Sets
    /// [`Options::max_waiting_requests_per_address`](#structfield.max_waiting_requests_per_address).
    max_waiting_requests_per_address: usize,
    /// Sets [`Options::max_handlers_per_socket`](#structfield.max_handlers_per_socket).
    max_handlers_per_socket: usize,
    /// Sets [`Options::shutdown_jitter`](#structfield.shutdown_jitter).
    shutdown_jitter: Duration,
    /// Sets [`Options::shutdown_drain`](#structfield.shutdown_drain).
    shutdown_drain: Duration,
    /// Sets [`Options::shutdown_timeout`](#structfield.shutdown_timeout).
    shutdown_timeout: Duration,
}
