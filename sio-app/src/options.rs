//! The settings of the process. The settings of the protocol are in [`Config`](sio_proto::Config).

#[cfg(feature = "redis")]
mod cluster;

use std::sync::Arc;
use std::time::Duration;

use sio_proto::RecoveryConfig;

use crate::store::Store;
use crate::web::client_files::ClientFiles;

#[cfg(feature = "redis")]
pub use cluster::Cluster;

/// The settings of the process, in addition to the protocol's [`Config`](sio_proto::Config).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The number of shards, the parts of the server that work in parallel. Default: one for each
    /// processor that this process may use. With more shards than processors, broadcasts cost more.
    /// With fewer, threads wait for each other.
    pub shards: usize,
    /// The most connections at the same time. Default 1 000 000. Further connections are closed as
    /// soon as they are accepted.
    pub max_connections: usize,
    /// The most connections at the same time from one address. Default 10 000. Further connections
    /// are closed as soon as they are accepted.
    ///
    /// This limits what one machine can take from the others. It holds for every address, including
    /// loopback. Behind a proxy all connections have the proxy's address: raise this limit to
    /// [`Options::max_connections`], and let the proxy limit its clients. A limit that is too low
    /// shuts out people behind one address of an office or a mobile carrier. Sessions have their
    /// own limit, because a polling session needs no open connection:
    /// [`Config::max_sessions_per_address`](sio_proto::Config::max_sessions_per_address). An
    /// application can limit its users in [`Io::allow_request`](crate::Io::allow_request).
    pub max_connections_per_address: usize,
    /// How many leading bits of an IPv6 address count as the address in
    /// [`Options::max_connections_per_address`] and
    /// [`Config::max_sessions_per_address`](sio_proto::Config::max_sessions_per_address). Default
    /// 64, because one subscriber usually gets at least a whole /64 network. A value above 128
    /// means 128. An IPv4 address always counts as a whole, even if it is written as IPv6.
    pub ipv6_prefix: u8,
    /// How long a connection may be open without a request: before its first request, and between
    /// two requests. It is also how long a peer may take to read the last bytes before a connection
    /// is closed. Default 30 s. If it is too short, polling clients have to connect again and
    /// again. If it is too long, idle connections accumulate.
    pub idle_timeout: Duration,
    /// How long the head of a request may take, from its first byte to its last. Default 10 s. If
    /// it is too short, clients with very slow links are cut. A peer that sends a byte now and then
    /// (slow loris) holds a connection for this time.
    pub head_timeout: Duration,
    /// How long the body of a request may take, from the end of the head. Default 30 s. If it is
    /// too short, large messages of polling clients with slow links are cut.
    pub body_timeout: Duration,
    /// How long a peer may read nothing of an answer that waits for it. Default 45 s; it is checked
    /// every few seconds. If it is too short, clients whose network fails for a moment are cut. If
    /// it is too long, answers that nobody reads stay in memory. For websockets and streams, the
    /// time is that of a heartbeat and its answer.
    pub write_timeout: Duration,
    /// How long a peer has to close its side of a connection, after the server has written
    /// everything and closed its own side. Default 2 s. What the peer still sends meanwhile is
    /// thrown away. If it is too short, answers to slow clients are lost on the way, because
    /// closing a connection with unread bytes resets it. On a connection that another node of a
    /// cluster brings, the last bytes have [`Options::idle_timeout`] to reach the client there.
    pub linger_timeout: Duration,
    /// About how many bytes a connection may send ahead while its request waits for the answer.
    /// Default 64 KiB. At this limit the connection is not read from until the answer has been
    /// sent. A lower limit costs clients that pipeline large requests a round trip.
    pub max_pipelined_bytes: usize,
    /// How many bytes of decoded events may wait for later turns. Above this limit no further large
    /// bodies (over 64 KiB) are decoded, because a decoded body is many times as large. They wait
    /// for [`Config::longest_pause`](crate::Config::longest_pause) at most. What waits because its
    /// client is too fast or its handlers lag does not count here, but as received. Default 8 MiB.
    /// If it is too low, the thousands of events of one client delay the large bodies of others. If
    /// it is too high, clients that send thousands of events in each body can fill the memory.
    pub max_left_bytes: usize,
    /// The most bytes of incomplete requests and websocket messages that all connections together
    /// may have received: heads, bodies, frames, messages in several frames. Default 512 MiB. A
    /// connection that would exceed the limit is closed. The first 4 KiB of a connection do not
    /// count, so up to 4 KiB for each of [`Options::max_connections`] come in addition. If it is
    /// too low, connections are closed when many of them send large messages at the same time. If
    /// it is too high, slow senders can fill the memory. Bodies that another HTTP server reads
    /// count as well (`Exchange::receive`). Heads that another HTTP server reads do not count:
    /// limit them there. Events that have arrived and wait for their turn count, too; when there is
    /// no room for them, they are handled at once.
    pub max_receiving_bytes: usize,
    /// The limit of [`Options::max_receiving_bytes`] for the connections from one address, as
    /// [`Options::max_connections_per_address`] counts them. Default 32 MiB: from 16 to 33 messages
    /// of the largest size at the same time, because the memory that they are read into counts, and
    /// it is up to twice as large. Behind a proxy raise this limit to
    /// [`Options::max_receiving_bytes`].
    pub max_receiving_bytes_per_address: usize,
    /// How many things may wait for one session: events whose turn has not come; handlers and
    /// middlewares that wait, including those of sockets that have left; and acknowledgements that
    /// the application owes. Default 4 096. When half of it waits, nothing more is read from the
    /// client, until only a quarter waits. So a client that is faster than its handlers waits. An
    /// event above the limit closes the session: its handlers make no progress, or its client sends
    /// on several connections at once. What was read is handed over in portions of a quarter. If
    /// the limit is too low, clients that send bursts to slow handlers wait.
    pub max_waiting_events: usize,
    /// How many bytes may wait for one session: the names and arguments of events whose turn has
    /// not come, and the arguments of events whose handlers wait. Default 16 MiB. One single event
    /// may wait whatever its size. From half of it on, nothing more is read from the client, as
    /// with [`Options::max_waiting_events`]. It should be more than four times
    /// [`Config::max_payload`](sio_proto::Config::max_payload).
    pub max_waiting_bytes: usize,
    /// How many acknowledgements of broadcasts
    /// ([`TimedEmitter::emit_with_ack`](crate::TimedEmitter::emit_with_ack)) may be awaited at the
    /// same time: the recipients of all such broadcasts, until the application has taken the
    /// answers. Default 1 000 000. It is checked before a broadcast, so the last one may exceed it
    /// by its own recipients. Each takes some hundred bytes, until its answer or its time limit. If
    /// the limit is too low, such broadcasts fail as full.
    pub max_broadcast_acks: usize,
    /// How many bytes of answers to one broadcast may wait until the application takes them.
    /// Default 16 MiB. An answer above the limit is dropped, and its socket is missing with
    /// [`AckError::TooLarge`](crate::AckError::TooLarge). If it is too low, large answers of many
    /// clients are lost; take the answers as they come
    /// ([`BroadcastAcks::next`](crate::BroadcastAcks::next)).
    pub max_broadcast_ack_bytes: usize,
    /// How many bytes of answers to all broadcasts together may wait until the application takes
    /// them. Default 64 MiB. The effect is that of [`Options::max_broadcast_ack_bytes`].
    pub max_total_broadcast_ack_bytes: usize,
    /// How many own handlers a socket may have ([`Socket::on`](crate::Socket::on),
    /// [`Socket::once`](crate::Socket::once)). Default 64. Each handler takes memory for a name of
    /// at most 256 bytes, and for the values that it captures. Further handlers are refused: if a
    /// handler adds handlers, a client could add any number by sending events. For each event of
    /// the socket, all of its own handlers are searched.
    pub max_handlers_per_socket: usize,
    /// How many things may wait for all sessions of one address, counted as in
    /// [`Options::max_waiting_events`], including sessions that have ended. Default 32 768. An
    /// event above the limit closes its session. [`Options::ipv6_prefix`] says what counts as an
    /// address. Behind a proxy all sessions have the proxy's address: raise this limit to
    /// [`Options::max_total_waiting_events`]. If it is too low, sessions of people behind one
    /// address are closed. If it is too high, one machine can fill the memory.
    pub max_waiting_events_per_address: usize,
    /// How many bytes may wait for all sessions of one address, counted as in
    /// [`Options::max_waiting_bytes`]. Default 32 MiB.
    pub max_waiting_bytes_per_address: usize,
    /// How many things may wait for all sessions together, counted as in
    /// [`Options::max_waiting_events`]. Default 1 000 000. An event above the limit closes its
    /// session. A waiting future takes from some hundred bytes to some KiB, in addition to its
    /// arguments.
    pub max_total_waiting_events: usize,
    /// How many bytes may wait for all sessions together, counted as in
    /// [`Options::max_waiting_bytes`]. Default 256 MiB.
    pub max_total_waiting_bytes: usize,
    /// How many middlewares of one session may wait at the same time. Default 8. Further CONNECTs
    /// wait for them, in their order; at most
    /// [`Config::max_namespaces_per_session`](sio_proto::Config::max_namespaces_per_session)
    /// CONNECTs may wait. Zero means one. With a lower limit, a client that connects to many
    /// namespaces waits longer. With a higher limit, a client that connects and leaves again can
    /// keep more futures.
    pub max_waiting_middlewares: usize,
    /// The longest time that a decision of
    /// [`Io::allow_request_async`](crate::Io::allow_request_async) may take. Default 10 s. After
    /// this time the request is refused. If it is too short, clients are refused while the decision
    /// is slow. If it is too long, more requests wait, and clients give up after 20 s by default.
    pub allow_request_timeout: Duration,
    /// The most requests that may wait for such a decision at the same time. Default 4 096. Further
    /// requests are refused. Each waiting request keeps a connection, a copy of its head, and the
    /// future that decides. If it is too low, clients that come back all at once are refused, for
    /// example after a restart.
    pub max_waiting_requests: usize,
    /// The limit of [`Options::max_waiting_requests`] for the connections from one address, as
    /// [`Options::max_connections_per_address`] counts them. Default 256. Behind a proxy raise this
    /// limit to [`Options::max_waiting_requests`].
    pub max_waiting_requests_per_address: usize,
    /// The time over which a shutdown spreads the sessions: each session leaves at a random moment
    /// of it. Default zero. With many clients, a longer time keeps all of them from connecting to
    /// the next server at once. Until its moment, a session goes on.
    pub shutdown_jitter: Duration,
    /// How long a shutdown waits for the work under way for a session: acknowledgements that its
    /// client or a handler owes, and handlers that wait. After that, it waits for the same time for
    /// a client between two polls, which is told of the end in its next poll. The client may open a
    /// new connection for this poll, because connections are accepted until no session is left.
    /// Meanwhile handshakes are answered with 503. Default 3 s. With zero, a shutdown waits for
    /// nothing, and a client between two polls is not told.
    pub shutdown_drain: Duration,
    /// How long a shutdown waits for connections to end by themselves, after
    /// [`Options::shutdown_jitter`] is over. Default 10 s. Then the listener is closed within a
    /// second, and the remaining connections are ended. The sum of this time and the jitter must be
    /// less than the time that the service manager gives the process to end. It should be more than
    /// twice [`Options::shutdown_drain`] and two seconds, so that clients can close their side.
    pub shutdown_timeout: Duration,
    /// How long clients are told to stay away when the server shuts down. Default none: they are
    /// told nothing. Clients of this project do as they are told; genuine clients ignore it and
    /// come back after a time of their own (docs/protocol/extensions.md §1). Set it to the time
    /// that passes until the next process serves.
    pub shutdown_pause: Option<Duration>,
    /// Who serves the address when this server has ended. Default [`Handover::None`]: nobody, as
    /// far as this server knows. `docs/deploy.md` explains all choices.
    pub handover: Handover,
    /// The genuine clients' files, for pages that load `/socket.io/socket.io.js`. Default none:
    /// then such requests go to the application.
    pub client_files: Option<ClientFiles>,
    /// Recovery: what is kept for clients of 4.6 and later whose connection was cut, so that they
    /// come back as the same sockets and get what they have missed. Default none: then only
    /// namespaces that ask for it ([`Namespace::recovery`](crate::Namespace::recovery)) have
    /// recovery, with the default settings. Every event to such clients is longer by its offset,
    /// and their handlers get the offset as a last argument, as with genuine servers.
    pub recovery: Option<RecoveryConfig>,
    /// Where recovery keeps its records and messages, so that the next process recovers the clients
    /// of this one. Default none: then they are kept in memory. The crate `sio-store` has a store
    /// on disk. Each turn writes what it has changed before it writes to its clients, so a slow
    /// store makes everything slow.
    pub store: Option<Arc<dyn Store>>,
    /// How many bytes may wait for the store. Default 16 MiB. What comes when there are more makes
    /// the store count as failed: the server goes on in memory, and fills the store again some
    /// seconds later. If it is too low, bursts of messages make this happen. While the store is
    /// filled again, all that is said while the values of the application are encoded has to fit.
    /// One step counts as a half of this at most, however large it is: one message, or the end of
    /// all records whose clients were waited for up to this moment. So three such steps may wait.
    pub max_store_queue_bytes: usize,
    /// Most rooms with a history ([`Namespace::history`](crate::Namespace::history)). Default
    /// 10,000. When there are more, the history of a room that has not been used for long goes;
    /// clients of this room are told that they have missed something.
    pub max_history_rooms: usize,
    /// Most bytes of the histories of all rooms. Default 64 MiB. When there are more, histories of
    /// rooms that have not been used for long go.
    pub max_history_bytes: usize,
    /// The other servers, and the broker over which they speak with this one ([`Cluster`]). Default
    /// none: this server is alone.
    #[cfg(feature = "redis")]
    pub cluster: Option<Cluster>,
}

/// Who serves the address when a server has ended ([`Options::handover`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handover {
    /// Nobody. While sessions leave, the server accepts connections, so that clients between two
    /// polls are told of the end. New clients are answered with 503.
    #[default]
    None,
    /// Another process, which has its own listening socket for the same port. Both sockets have
    /// `SO_REUSEPORT` (`handover::bind` of the adapters). At [`Io::close`](crate::Io::close), the
    /// server accepts the connections that wait in its queue, and then closes its listener. From
    /// then on all new connections go to the other process. So start the other process first.
    SamePort,
    /// Another process, which uses the same listening socket: it has inherited the socket from a
    /// service manager, as this process has (`handover::inherited` of the adapters). At
    /// [`Io::close`](crate::Io::close), the server stops accepting. What waits in the queue is
    /// accepted by the other process, also if that process does not run yet.
    SameSocket,
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
            max_broadcast_acks: 1_000_000,
            max_broadcast_ack_bytes: 16 << 20,
            max_total_broadcast_ack_bytes: 64 << 20,
            shutdown_jitter: Duration::ZERO,
            shutdown_drain: Duration::from_secs(3),
            shutdown_timeout: Duration::from_secs(10),
            shutdown_pause: None,
            handover: Handover::None,
            client_files: None,
            recovery: None,
            store: None,
            max_store_queue_bytes: 16 << 20,
            max_history_rooms: 10_000,
            max_history_bytes: 64 << 20,
            #[cfg(feature = "redis")]
            cluster: None,
        }
    }
}

impl Options {
    /// Sets [`Options::client_files`](#structfield.client_files).
    ///
    /// ```no_run
    /// # fn options() -> Result<sio_app::Options, sio_app::ClientFilesError> {
    /// use sio_app::{ClientFiles, Options};
    /// let files = ClientFiles::load("clients/4.8.4")?.version("0.9.17", "clients/0.9.17")?;
    /// Ok(Options::default().client_files(files))
    /// # }
    /// ```
    #[must_use]
    pub fn client_files(mut self, files: ClientFiles) -> Self {
        self.client_files = Some(files);
        self
    }
}

impl Options {
    /// Sets [`Options::recovery`](#structfield.recovery): all namespaces have recovery, unless they
    /// say otherwise.
    #[must_use]
    pub fn recovery(mut self, recovery: RecoveryConfig) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Sets [`Options::store`](#structfield.store).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use sio_app::{Options, RecoveryConfig, store::Memory};
    /// let options = Options::default()
    ///     .recovery(RecoveryConfig::default())
    ///     .store(Arc::new(Memory::default()));
    /// ```
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }
}

#[cfg(feature = "redis")]
impl Options {
    /// Sets [`Options::cluster`](#structfield.cluster).
    ///
    /// ```
    /// # fn options() -> Result<sio_app::Options, Box<dyn std::error::Error>> {
    /// use sio_app::{Cluster, Options};
    /// let options = Options::default().cluster(Cluster::from_url("redis://127.0.0.1:6379")?);
    /// # Ok(options)
    /// # }
    /// ```
    #[must_use]
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }
}

/// Writes the setters. A field without a setter is a compile error. A field whose setter is written
/// by hand has to be named behind `by hand`.
macro_rules! setters {
    ($($name:ident: $kind:ty),* $(,)?; by hand $($(#[$when:meta])* $own:ident),*) => {
        /// Chainable setters. Each sets the field with its name; the field's documentation has the
        /// default and the trade-off.
        impl Options {
            $(
                #[doc = concat!("Sets [`Options::", stringify!($name), "`](#structfield.", stringify!($name), ").")]
                #[must_use]
                pub const fn $name(mut self, $name: $kind) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }

        const _: fn(Options) = |Options { $($name: _,)* $($(#[$when])* $own: _,)* }| {};
    };
}

setters! {
    shards: usize,
    max_connections: usize,
    max_connections_per_address: usize,
    ipv6_prefix: u8,
    idle_timeout: Duration,
    head_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    linger_timeout: Duration,
    max_pipelined_bytes: usize,
    max_left_bytes: usize,
    max_receiving_bytes: usize,
    max_receiving_bytes_per_address: usize,
    max_waiting_events: usize,
    max_waiting_bytes: usize,
    max_waiting_events_per_address: usize,
    max_waiting_bytes_per_address: usize,
    max_total_waiting_events: usize,
    max_total_waiting_bytes: usize,
    max_waiting_middlewares: usize,
    allow_request_timeout: Duration,
    max_waiting_requests: usize,
    max_waiting_requests_per_address: usize,
    max_handlers_per_socket: usize,
    max_broadcast_acks: usize,
    max_broadcast_ack_bytes: usize,
    max_total_broadcast_ack_bytes: usize,
    shutdown_jitter: Duration,
    shutdown_drain: Duration,
    shutdown_timeout: Duration,
    shutdown_pause: Option<Duration>,
    max_store_queue_bytes: usize,
    handover: Handover,
    max_history_rooms: usize,
    max_history_bytes: usize,
    ; by hand client_files, recovery, store, #[cfg(feature = "redis")] cluster
}
