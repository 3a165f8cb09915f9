//! The whole: all shards, all namespaces, and everything that is the application's to decide.

use std::any::Any;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use sio_proto::server::Budget;
use sio_proto::{Config, ConfigError, SessionKey, Time};

use crate::args::Data;
use crate::error::HandlerError;
use crate::link::connections::{Connections, Deadlines};
use crate::lock::Mutex;
use crate::options::Options;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn::application::{Application, EngineNews};
use crate::turn::later::Kept;
use crate::turn::shard::ShardCell;
use crate::turn::shards::{NewShards, Shards};
use crate::turn::sleep::Sleep;
use crate::turn::socket::SocketCell;
use crate::turn::table::Table;
use crate::user::emitter::Emitter;
use crate::user::engine::EngineSocket;
use crate::user::hooks::Hooks;
use crate::user::metrics::Tally;
use crate::user::namespace::Namespace;
use crate::user::registry::{self, Namespaces};
use crate::user::shutdown::Shutdown;
use crate::user::socket::Socket;

/// A Socket.IO server without a network: namespaces, sockets, and the means to reach them.
///
/// It is a handle, cheap to clone, and may be kept in handlers. The adapters put a network around
/// it.
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

/// All that an [`Io`] is a handle of.
pub(crate) struct Inner {
    pub(crate) shards: Shards,
    pub(crate) options: Options,
    pub(crate) namespaces: Namespaces,
    pub(crate) hooks: Hooks,
    /// Every connection, so that a shutdown can end those that do not end by themselves.
    pub(crate) connections: Mutex<Connections>,
    pub(crate) deadlines: Mutex<Deadlines>,
    pub(crate) shutdown: Shutdown,
    pub(crate) tally: Tally,
    /// Bytes of work that connections have left for later.
    pub(crate) kept: Arc<Kept>,
    /// What peers can make the log say.
    pub(crate) warnings: Arc<Warnings>,
    /// Whether the tasks that watch the time have been started.
    pub(crate) ticking: AtomicBool,
}

/// Namespaces.
impl Io {
    /// A server. Adapters call this; users call the adapter's constructor.
    ///
    /// # Errors
    /// If the config does not make sense, or [`Runtime::fill`] gives nothing but zeros.
    pub fn new(config: Config, options: Options, runtime: Runtime) -> Result<Self, ConfigError> {
        let budget = Arc::new(Budget::new(config.max_total_queued_bytes));
        let shards = NewShards::new(config, &options, runtime, &budget)?;
        let warnings = Arc::new(Warnings::new());
        let io = Self(Arc::new_cyclic(|io: &Weak<Inner>| {
            let application: Weak<dyn Application> = io.clone();
            Inner {
                shards: shards.of(&application, &options, &warnings),
                namespaces: Namespaces::default(),
                hooks: Hooks::default(),
                connections: Mutex::default(),
                deadlines: Mutex::default(),
                shutdown: Shutdown::new(options.shards),
                tally: Tally::new(budget, runtime),
                kept: Arc::new(Kept::new(options.max_left_bytes)),
                warnings,
                ticking: AtomicBool::new(false),
                options,
            }
        }));
        // There is always a main namespace, as there is on genuine servers.
        io.of("/").create();
        Ok(io)
    }

    /// The namespace of this name. `chat` means `/chat`.
    ///
    /// This is a handle: asking for it makes no namespace. The namespace exists once something is
    /// registered for it ([`Namespace::create`] if there is nothing to register), or a pattern or a
    /// function covers its name; a client that asks for another name is refused. So a name that
    /// came from a client may be addressed, and leaves nothing behind.
    ///
    /// Names and rules ([`Io::of_pattern`], [`Io::of_fn`]) count in the order in which they were
    /// registered. What is registered for a name before any rule that covers it is a namespace of
    /// its own. What is registered for a name that a rule covers already is added to what the rule
    /// says: the rule's middleware runs first, and has to agree, too; handlers take the place of
    /// the rule's handlers for the same event.
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

    /// All namespaces whose names fit a pattern, in which each `*` stands for any text without a
    /// slash: `/tenant-*`.
    ///
    /// They share handlers; sockets and rooms are each one's own. What is sent to the handle
    /// reaches all of them. One that has a handler of its own under its name is [`Io::of`]'s to
    /// explain. A name is matched in time that is proportional to its length.
    pub fn of_pattern(&self, pattern: &str) -> Namespace {
        let pattern = registry::normalized(pattern);
        self.of_fn(move |name, _| registry::fits(&pattern, name))
    }

    /// All namespaces that a function agrees to. It sees the name and the socket that asks for it,
    /// with its [`auth`](Socket::auth) and [`handshake`](Socket::handshake); rules are asked in the
    /// order in which they were added, when a client asks for a namespace and never else. A
    /// function that says no leaves the decision to the rules and the name behind it: what refuses
    /// clients is a middleware ([`Namespace::with`]).
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

/// Sending: all of these mean the main namespace, `/`.
impl Io {
    fn all(&self) -> Emitter {
        Emitter::new(self.0.application(), const { bytestring::ByteString::from_static("/") })
    }

    /// Sends an event to everybody.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) {
        self.all().emit(event, args);
    }

    /// Sends a message without a name to everybody.
    pub fn send(&self, data: impl Into<Data>) {
        self.all().send(data);
    }

    /// To the members of a room.
    pub fn to(&self, room: impl AsRef<str>) -> Emitter {
        self.all().to(room)
    }

    /// To all who are not in this room.
    pub fn except(&self, room: impl AsRef<str>) -> Emitter {
        self.all().except(room)
    }

    /// To those who can take it right now.
    pub fn volatile(&self) -> Emitter {
        self.all().volatile()
    }

    /// To sockets of this node only.
    pub fn local(&self) -> Emitter {
        self.all().local()
    }

    /// How long acknowledgements may take.
    pub fn timeout(&self, timeout: Duration) -> Emitter {
        self.all().timeout(timeout)
    }

    /// All sockets of the main namespace.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.all().sockets()
    }

    /// The connected socket with this id, whatever its namespace: with this [`Socket::id`], or the
    /// id by which the client knows itself ([`Socket::wire_id`]).
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.0.shards.find(id).map(Socket)
    }

    /// How many sessions are open, of all kinds.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0
            .shards
            .cells
            .iter()
            .map(|cell| cell.ask("count", |state| state.shard.sessions()))
            .sum()
    }

    /// How many connections are open, those of other HTTP requests among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.lock().count()
    }

    /// What the adapter was told.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.0.config()
    }
}

/// Time, for handlers.
impl Io {
    /// Waits so long, whatever the runtime, on the time of the server: it passes only while the
    /// server is served. In a handler of a socket, [`Socket::sleep`] is the better choice, because
    /// it stays with the socket's own shard.
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

impl Inner {
    /// The one that these shards belong to.
    pub(crate) fn of(application: Arc<dyn Application>) -> Option<Arc<Self>> {
        let any: Arc<dyn Any + Send + Sync> = application;
        any.downcast().ok()
    }

    /// Itself, as a turn knows it.
    pub(crate) fn application(self: &Arc<Self>) -> Weak<dyn Application> {
        let application: Weak<Self> = Arc::downgrade(self);
        application
    }

    pub(crate) const fn runtime(&self) -> Runtime {
        self.shards.runtime
    }

    /// The time.
    pub(crate) fn now(&self) -> Time {
        (self.shards.runtime.now)()
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.shards.config
    }
}

impl Application for Inner {
    fn shards(&self) -> &Shards {
        &self.shards
    }

    fn table(&self, socket: &Arc<SocketCell>) -> Option<Arc<Table>> {
        self.namespaces.find(&Socket(Arc::clone(socket)))
    }

    fn engine(&self, cell: Arc<ShardCell>, session: SessionKey, news: EngineNews) {
        let Some(handler) = self.hooks.engine() else { return };
        let socket = EngineSocket { cell, session };
        match news {
            EngineNews::Opened(handshake) => handler.open(&socket, &handshake),
            EngineNews::Message(message) => handler.message(&socket, message),
            EngineNews::Closed(reason) => handler.close(&socket, reason),
        }
    }

    fn report(&self, socket: Option<&Arc<SocketCell>>, event: &str, error: &HandlerError) {
        let socket = socket.map(|socket| Socket(Arc::clone(socket)));
        Self::report(self, socket.as_ref(), event, error);
    }

    fn shard_emptied(&self) {
        Self::shard_emptied(self);
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
