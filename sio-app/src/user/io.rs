//! The server: all shards, all namespaces, and everything that the application decides.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use sio_proto::server::Budget;
use sio_proto::{Config, ConfigError};

use crate::args::Data;
use crate::error::RegisterError;
use crate::lock::Mutex;
use crate::options::Options;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn::application::Application;
use crate::turn::later::Kept;
use crate::turn::order::{Order, To, carry_out};
use crate::turn::policy::Policy;
use crate::turn::shards::NewShards;
#[cfg(feature = "redis")]
use crate::user::cluster::ClusterNode;
use crate::user::emitter::Emitter;
use crate::user::hooks::Hooks;
use crate::user::inner::Inner;
use crate::user::namespace::Namespace;
use crate::user::registry::{self, Namespaces};
use crate::user::rooms::Rooms;
use crate::user::shutdown::Shutdown;
use crate::user::sleep::Sleep;
use crate::user::socket::Socket;
use crate::user::tally::Tally;
use crate::user::timed_emitter::TimedEmitter;
use sio_proto::server::Sent;

/// A Socket.IO server without a network: it has namespaces and sockets, and reaches them.
///
/// It is a handle, cheap to clone, and may be kept in handlers. The adapters add a network to it.
///
/// ```
/// # use sio_app::{Io, Socket};
/// # fn chat(io: &Io) {
/// io.of("/")
///     .on_connect(|socket: Socket| socket.broadcast().emit("joined", socket.id()))
///     .on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", (socket.id(), text)));
/// # }
/// ```
#[derive(Clone)]
pub struct Io(pub(crate) Arc<Inner>);

/// Namespaces.
impl Io {
    /// Makes a server. Adapters call this function. Users call the adapter's constructor instead.
    ///
    /// # Errors
    /// If the config is not valid, or if [`Runtime::fill`] gives nothing but zeros.
    pub fn new(config: Config, options: Options, runtime: Runtime) -> Result<Self, ConfigError> {
        let budget = Arc::new(Budget::new(config.max_total_queued_bytes));
        let shards = NewShards::new(config, &options, runtime, &budget)?;
        let warnings = Arc::new(Warnings::new());
        #[cfg(feature = "redis")]
        let cluster = options.cluster.as_ref();
        #[cfg(feature = "redis")]
        let cluster = cluster
            .map(|settings| ClusterNode::new(settings, shards.key(), runtime))
            .transpose()?;
        let io = Self(Arc::new_cyclic(|io: &Weak<Inner>| {
            let application: Weak<dyn Application> = io.clone();
            Inner {
                shards: shards.of(&application, &options, &warnings),
                namespaces: Namespaces::default(),
                hooks: Hooks::default(),
                connections: Mutex::default(),
                shutdown: Shutdown::new(options.shards),
                tally: Tally::new(budget, runtime),
                kept: Arc::new(Kept::new(options.max_left_bytes)),
                warnings,
                #[cfg(feature = "redis")]
                cluster,
                ticking: AtomicBool::new(false),
                options,
            }
        }));
        if let Err(error) = io.0.shards.recovery.restore(&io.0.shards) {
            io.0.note_mistake(RegisterError::Store(error.to_string()));
        }
        #[cfg(feature = "redis")]
        if let Some(cluster) = &io.0.cluster {
            cluster.serve(Arc::downgrade(&io.0));
            io.0.shards.news.track();
        }
        // The main namespace always exists, as on genuine servers.
        io.of("/").create();
        Ok(io)
    }

    /// Returns the namespace with this name. `chat` means `/chat`.
    ///
    /// The result is a handle; the call does not create the namespace. A namespace exists when
    /// something is registered for it ([`Namespace::create`] if there is nothing to register), or
    /// when a pattern or a function covers its name. A client that asks for any other name is
    /// refused. So an application may address a name that came from a client, and nothing is left
    /// behind.
    ///
    /// Names and rules ([`Io::of_pattern`], [`Io::of_fn`]) count in the order in which they were
    /// registered. If a name is registered before every rule that covers it, it is a separate
    /// namespace. If a rule covers the name already, the registration is added to the rule: the
    /// rule's middleware runs first and has to agree, too, and the name's handlers replace the
    /// rule's handlers for the same event.
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of_pattern("/locked-*").with(|_: Socket| Err("nobody comes in here"));
    /// io.of("/locked-1").emit("news", "nobody hears this");
    /// io.of("/locked-2").on("knock", |socket: Socket| socket.emit("nobody", "comes in here, either"));
    /// # }
    /// ```
    pub fn of(&self, name: &str) -> Namespace {
        Namespace::named(Arc::clone(&self.0), registry::normalized(name))
    }

    /// Returns all namespaces whose names fit a pattern. In the pattern each `*` stands for any
    /// text without a slash: `/tenant-*`.
    ///
    /// These namespaces share handlers, and each has its own sockets and rooms. A message to the
    /// handle reaches all of them. [`Io::of`] explains what happens if one of their names also has
    /// its own handlers. The time to match a name is proportional to the length of the name.
    ///
    /// The first call with a pattern makes its rule. Later calls with the same pattern return a
    /// handle of the same namespaces.
    pub fn of_pattern(&self, pattern: &str) -> Namespace {
        let behaviour = self.0.namespaces.patterned(registry::normalized(pattern));
        Namespace::ruled(Arc::clone(&self.0), behaviour)
    }

    /// Returns all namespaces that a function accepts. The function gets the name, and the socket
    /// that asks for it, with its [`auth`](Socket::auth) and [`handshake`](Socket::handshake).
    /// Rules are asked in the order in which they were added, and only when a client asks for a
    /// namespace. If the function returns false, the rules and names after it decide. To refuse a
    /// client, use a middleware ([`Namespace::with`]).
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn register(io: &Io) {
    /// io.of_fn(|name, _| name.strip_prefix("/tenant-").is_some_and(|n| n.parse::<u32>().is_ok()));
    /// # }
    /// ```
    pub fn of_fn(&self, rule: impl Fn(&str, &Socket) -> bool + Send + Sync + 'static) -> Namespace {
        let behaviour = self.0.namespaces.ruled(Arc::new(rule));
        Namespace::ruled(Arc::clone(&self.0), behaviour)
    }
}

/// Sending. All of these methods mean the main namespace, `/`.
impl Io {
    fn all(&self) -> Emitter {
        Emitter::new(self.0.application(), const { bytestring::ByteString::from_static("/") })
    }

    /// Sends an event to all sockets.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Sent {
        self.all().emit(event, args)
    }

    /// Sends a message without a name to all sockets.
    pub fn send(&self, data: impl Into<Data>) -> Sent {
        self.all().send(data)
    }

    /// Chooses the members of a room, or of several rooms. A member of several rooms counts once.
    pub fn to<M>(&self, rooms: impl Rooms<M>) -> Emitter {
        self.all().to(rooms)
    }

    /// Chooses all sockets that are in none of these rooms.
    pub fn except<M>(&self, rooms: impl Rooms<M>) -> Emitter {
        self.all().except(rooms)
    }

    /// Chooses clients that can take a message now.
    pub fn volatile(&self) -> Emitter {
        self.all().volatile()
    }

    /// Says what becomes of an event to all sockets of `/` that do not take it at once; see
    /// [`Policy`].
    pub fn policy(&self, policy: Policy) -> Emitter {
        self.all().policy(policy)
    }

    /// Chooses sockets of this node only.
    pub fn local(&self) -> Emitter {
        self.all().local()
    }

    /// Sets how long acknowledgements may take: `io.timeout(limit).emit_with_ack(…)` asks all
    /// sockets.
    pub fn timeout(&self, timeout: Duration) -> TimedEmitter {
        self.all().timeout(timeout)
    }

    /// Returns all sockets of the main namespace.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.all().sockets()
    }

    /// Returns the connected socket with this id, in any namespace. The id may be its
    /// [`Socket::id`], or the id by which the client knows itself ([`Socket::wire_id`]).
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<Socket> {
        let mut socket = None;
        // The order finds one socket or none, and does not fail.
        let _ = carry_out(Order::Find {
            to: To::Id(&self.0.shards, id),
            found: &mut |found| socket = Some(Socket(found)),
        });
        socket
    }

    /// Returns the number of open sessions of all kinds.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0
            .shards
            .cells
            .iter()
            .map(|cell| cell.ask("count", |state| state.shard.sessions()))
            .sum()
    }

    /// Returns the number of open connections, including those with other HTTP requests.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.lock().count()
    }

    /// Returns the settings of the process.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Returns the settings of the protocol.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.0.config()
    }
}

/// State, and the check of what was registered.
impl Io {
    /// Gives the server a value that handlers can ask for as [`State<T>`](crate::handler::State).
    /// There is one value for each type. Give it before clients connect, because sockets that have
    /// connected before do not have it.
    ///
    /// A server does not start if its handlers ask for a state that it was not given, or if it was
    /// given two states of one type ([`Io::check`]).
    pub fn state<T: Clone + Send + Sync + 'static>(&self, value: T) -> &Self {
        if let Err(mistake) = self.0.namespaces.give_state(value) {
            self.0.note_mistake(mistake);
        }
        self
    }

    /// Checks that everything could be registered, and that handlers have the states that they ask
    /// for. A function that serves a listener does this check first, and returns its error. If the
    /// server is mounted in another HTTP server, call this before the other server starts. An error
    /// is always logged.
    ///
    /// ```
    /// # use sio_app::{Io, RegisterError, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on("disconnect", |_: Socket| println!("never"));
    /// let wrong = io.check().unwrap_err();
    /// assert_eq!(
    ///     wrong.to_string(),
    ///     r#"no event is called "disconnect": `on_disconnect` handles their end"#
    /// );
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the first mistake.
    pub fn check(&self) -> Result<(), RegisterError> {
        self.0.namespaces.mistake().map_or(Ok(()), Err)
    }
}

/// Time, for handlers.
impl Io {
    /// Waits for this duration, on any runtime. It uses the server's time, which passes only while
    /// the server is served. In a handler of a socket, use [`Socket::sleep`], because it stays in
    /// the socket's own shard.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::Io;
    /// # async fn example(io: Io) {
    /// io.sleep(Duration::from_secs(1)).await;
    /// io.emit("second", ());
    /// # }
    /// ```
    pub fn sleep(&self, duration: Duration) -> Sleep {
        // There is at least one shard.
        Sleep::new(Arc::clone(&self.0.shards.cells[0]), self.0.now() + duration)
    }
}

/// The server of a socket.
impl Socket {
    /// Returns the server that the socket belongs to, or `None` after the end of the server.
    #[must_use]
    pub fn io(&self) -> Option<Io> {
        Inner::of(self.0.application()?).map(Io)
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("shards", &self.0.shards.cells.len())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
