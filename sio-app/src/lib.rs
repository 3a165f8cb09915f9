//! The code that all adapters of `sio` share, and the API that their users see.
//!
//! [`sio_proto`] is the protocol as a value. An adapter (`sio-tokio`, `sio-async-std`) has the
//! sockets and the clock. This crate is between them: it has the locks, the handlers and the
//! handles. It knows no runtime ([`adapter::Runtime`] is four function pointers). It does no I/O
//! ([`adapter::Source`] and [`adapter::Outlet`] are the two ends of a socket), except that it reads
//! [`ClientFiles`] before a server starts.
//!
//! # For users
//!
//! Everything begins with [`Io`]; an adapter's server is an [`Io`]:
//!
//! ```
//! use sio_app::{Ack, Io, Reason, Socket};
//!
//! fn chat(io: &Io) {
//!     io.of("/")
//!         .on_connect(|socket: Socket| socket.join("chat:lobby"))
//!         .on("say", async |socket: Socket, (room, text): (String, String)| {
//!             // Clients choose this name. The prefix keeps it apart from your other rooms.
//!             socket.to(format!("chat:{room}")).emit("said", (socket.id(), text));
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
//!         .on_disconnect(|socket: Socket, reason: Reason| println!("{} left: {reason}", socket.id()));
//! }
//! ```
//!
//! * [`Io`] – the server: namespaces, broadcasts, hooks, the shutdown.
//! * [`Namespace`] – the handlers for the sockets that connect to it.
//! * [`Socket`] – one client in one namespace.
//! * [`Emitter`] – to whom a message goes, and how: the builder that all three share.
//! * [`SocketEmitter`] – how to send to one socket.
//! * [`args`] – how arguments become types; [`handler`] – what handlers can ask for and return, and
//!   what clients get.
//!
//! # For adapters
//!
//! The API for adapters is in [`adapter`]. Users of a server do not need it.
//!
//! # Logs
//!
//! The log is [`tracing`], and there are few lines at level `info`. A program without a subscriber
//! logs nothing: call `tracing_subscriber::fmt::init()` in its `main`, or use [`Io::on_error`],
//! which needs no subscriber. These names will not change:
//!
//! | level | message or span | fields |
//! |---|---|---|
//! | error | `handler panicked` | `namespace`, `event`, `error` |
//! | warn | `handler failed` | `namespace`, `event`, `error` |
//! | warn | `arguments do not fit`, `cannot emit` | `namespace`, `event` |
//! | warn | `a handler cannot be called`: it asks for a `what` that is not available | `namespace`, `event`, `what` |
//! | error | `cannot register`: the server does not start ([`Io::check`]) | `error` |
//! | warn | `too many events wait for a handler: the session is closed` | `socket` |
//! | warn | `a client's payload cannot be read` | `socket`, `codec`, `looks_like`, `error` |
//! | warn | `a handler kept its thread, and others waited`: a handler took 50 ms or longer | `namespace`, `event`, `millis` |
//! | warn | `cannot accept`: logged once, until the server can accept again | `error` |
//! | warn | `request refused for where it comes from`: `origin` and `host` are the request's, cut short; `setting` is the setting that would let it in | `origin`, `host`, `setting`, `why` |
//! | warn | `too much is being received: a connection is closed` | |
//! | error | `the store of recovery failed: the server goes on in memory` ([`Options::store`]) | `error` |
//! | warn | `warnings were left out`: more than ten of one kind came in ten seconds; `kind` is their text in this table | `kind`, `left_out` |
//! | info | `shutting down` | `sessions`, `connections` |
//! | info | `ending connections that did not end by themselves` | `connections` |
//! | debug | `connected` | `socket`, `namespace`, `generation` |
//! | debug | `disconnected`; `why` if the client has broken a rule | `socket`, `namespace`, `reason`, `why` |
//! | debug | `a client broke a rule of its protocol`: logged once for each session when the session ends for it (`ends`), and once before for a rule that has cost the client only the packet; `kind` is a [`BreachKind`], `why` a [`Breach`] in one line; connections without a session have no `socket`, `generation`, `transport` | `socket`, `generation`, `transport`, `kind`, `ends`, `why` |
//! | debug | `refused` | `socket`, `namespace` |
//! | debug | `connection refused` | `address`, `why` |
//! | debug | `request refused` | `status` |
//! | debug | `a lock was held for long`, target `sio_app::lock`, in debug builds: for more than 1 ms; `waited` lists who waited meanwhile | `holder`, `micros`, `waited` |
//! | trace | span `event`, around the part of a handler that runs in place | `socket`, `namespace`, `name` |
//!
//! No payload is logged. No id of a session is logged either, because anybody who knows the id can
//! act as its client: `socket` is a place in a table. `error` is the text of the error that your
//! handler returned. `event` and `name` are names for which a handler was registered; any other
//! name is logged as `(any)`. `why` contains only words of this library and numbers. For an error
//! of your own codec, it is the error's text, cut to one line. If you have namespaces by pattern,
//! `namespace` is the name that the client asked for. An error that the function of
//! [`Io::on_error`] gets is not logged.
//!
//! # Order and visibility
//!
//! Threads work in parallel, and so do shards. The following promises hold for calls that one
//! thread makes one after the other. They also hold for calls of two threads, if the second thread
//! knows that the first call has returned (through a channel, a lock, a join):
//!
//! * **To one recipient**, messages go in the order in which they were sent, whether to the socket,
//!   to a room or to all.
//! * **To several recipients** there is no common order: if two threads broadcast at the same time,
//!   one client may get the first message first, and another client the second message first.
//! * **`join` and `leave`** that have returned are visible to every emit, `sockets()` and `rooms()`
//!   that begins afterwards. A call that runs at the same time may see the state before or after.
//! * **`disconnect` and `close`** that have returned are final: an emit to the socket fails with
//!   [`EmitError::Disconnected`], broadcasts leave the socket out, and the client gets nothing
//!   after the packet that tells it of the end.
//! * **Handlers** of one socket start in the order in which its events arrived, and two of them
//!   never run at the same moment, whichever threads read the events. A handler that waits goes on
//!   while later handlers run, unless its namespace asks for [one at a
//!   time](Namespace::one_at_a_time). Handlers of different sockets run in parallel.
//! * **An acknowledgement** answers the event that asked for it, and keeps its place among the
//!   other packets of its sender. The disconnect handler is called after all events.
//!
//! Each promise has a test in `tests/many-cores.rs`, with several threads and shards.
//!
//! # Handlers that take long
//!
//! A handler runs on the thread that has read its event. Until the handler returns, or waits at an
//! `.await`, this thread serves nobody else: all other connections that the runtime has given to
//! the thread stand still, including their heartbeats and acknowledgements. So a handler must not
//! block: do not use `std::thread::sleep` (use [`Socket::sleep`] instead), do not hold a lock for
//! long, and use files and databases only by `async` calls. Run code that computes or blocks for
//! more than some milliseconds on another thread, and await it in an `async` handler:
//! `tokio::task::spawn_blocking`, `async_std::task::spawn_blocking`, `blocking::unblock` with smol.
//! A handler that emits in a long loop without an `.await` blocks, too: each emit is encoded and
//! queued before the next. In a loop with thousands of emits, call
//! `socket.sleep(Duration::from_millis(1)).await` now and then, so that others have their turn. A
//! warning names handlers that have kept their thread for 50 ms or longer; a middleware is named
//! `middleware`.
//!
//! A handler that waits counts for its client ([`Options::max_waiting_events`]). A handler that
//! nobody needs any more can end itself with the help of [`Socket::gone`].
//!
//! # How it is fast
//!
//! One read is one *turn*: bytes are parsed without a lock, the shard's lock is taken once for
//! everything in the turn, handlers run directly on the thread, and their messages leave in one
//! write for each connection, from the thread that has them. There is only one task for each
//! session, which reads. There is no channel, and an idle connection has no buffer.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod args;
pub mod client;
#[cfg(feature = "redis")]
mod redis;

mod entropy;
mod error;
mod guarded;
mod host;
mod link;
mod lock;
mod options;
mod rated;
mod readable;
mod runtime;
pub mod store;
#[cfg(test)]
mod tests;
mod trim;
mod turn;
mod user;
mod web;
mod wildcard;

pub use args::{ArgsError, Binary, Data, Raw, RawArgs};
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use error::{AckError, EmitError, HandlerError, IdError, RegisterError, Unsent};
#[cfg(feature = "tls")]
pub use link::tls::{Tls, TlsError};
#[cfg(feature = "redis")]
pub use options::Cluster;
pub use options::{Handover, Options};
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "redis")]
pub use sio_proto::cluster::relay::{RelayCounters, RelayEnd, RelayTraffic};
pub use sio_proto::codec;
pub use sio_proto::http::{HeaderError, Method, ResponseHeaders};
pub use sio_proto::recovery::{Absence, NotRecovered, Ring};
#[cfg(feature = "transcript")]
pub use sio_proto::server::transcript;
pub use sio_proto::server::{
    Breach, BreachKind, ConnectionError, Count, Counters, EngineMessage, Extension, Generation, Handshake, Peer,
    Queued, Reason, Refused, Sent, TransportKind,
};
pub use sio_proto::socket::{Offset, OffsetError};
#[cfg(feature = "redis")]
pub use sio_proto::{ClusterConfig, ClusterKind, RelayConfig, Secret, ShardedMode, StreamsConfig};
pub use sio_proto::{
    Config, ConfigError, Cookie, Cors, CorsOrigins, Generations, HostPattern, HostPatternError, Hosts, Legacy06,
    Legacy09, Mount, OriginPattern, OriginPatternError, OriginRule, Origins, Priority, RecoveryConfig, SameSite,
    SocketIdError, Transports,
};
pub use sio_proto::{Excess, Rate, RateLimit};
pub use turn::comeback::Comeback;
pub use turn::comeback_counts::RecoveryCounts;
pub use turn::incoming::Incoming;
pub use turn::own::HandlerId;
pub use turn::policy::Policy;
pub use turn::refusal::Refusal;
pub use turn::restore::check_store;
pub use turn::room_news::RoomEvent;
pub use turn::server_side::ServerSideEvent;
pub use turn::socket_id::{SocketId, WireId};
pub use user::ack::{Ack, AckFuture};
pub use user::broadcast_acks::{BroadcastAcks, BroadcastAnswer, BroadcastAnswers};
#[cfg(feature = "redis")]
pub use user::cluster::counts::ClusterCounts;
pub use user::emitter::Emitter;
pub use user::engine::{EngineHandler, EngineSocket};
pub use user::fetched::{FetchSockets, Fetched};
pub use user::gone::Gone;
pub use user::handler::{self, Auth, Extract, HandlerResult, MiddlewareResult, State};
pub use user::history::{HistoryEvent, ResumeError, Resumed, Room, RoomSince};
pub use user::io::Io;
pub use user::metrics::Metrics;
pub use user::namespace::Namespace;
pub use user::ready::Ready;
pub use user::remote_socket::RemoteSocket;
pub use user::request::RequestError;
pub use user::rooms::Rooms;
pub use user::server_side::{ServerSideAcks, ServerSideAnswers};
pub use user::sleep::Sleep;
pub use user::socket::Socket;
pub use user::socket_emitter::SocketEmitter;
pub use user::timed_emitter::TimedEmitter;
pub use web::client_files::{ClientFiles, ClientFilesError};
pub use web::request::{HttpRequest, HttpResponse};
