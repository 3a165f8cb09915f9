//! The whole: all shards, all namespaces, and everything that is the application's to decide.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use sio_proto::server::{Command, Reason, Request, Router, Shard, Verdict};
use sio_proto::{Config, ConfigError, Time};

use crate::args::Data;
use crate::emitter::Emitter;
use crate::engine::{EngineHandler, Ignore};
use crate::error::HandlerError;
use crate::link::Link;
use crate::namespace::{self, Namespace, Namespaces, Table};
use crate::request::{HttpRequest, HttpResponse};
use crate::runtime::Runtime;
use crate::shard::ShardCell;
use crate::sleep::Sleep;
use crate::socket::Socket;
use crate::turn;
use crate::work::guarded;

/// How long the peer has to close its side once ours is closed.
const LINGER: Duration = Duration::from_secs(2);

/// A Socket.IO server without a network: namespaces, sockets, and the means to reach them.
///
/// It is a handle, cheap to clone, and may be kept in handlers. The adapters put a network around it.
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

/// What an adapter can be told beside the protocol's [`Config`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many shards: parts that work beside each other. Default: one per processor this process may use. More than there are
    /// processors only makes broadcasts dearer; fewer make threads wait for each other.
    pub shards: usize,
    /// Most connections at once. Default 1 000 000. Further ones are closed as soon as they are accepted.
    pub max_connections: usize,
    /// How long a connection may take for one whole request, and how long it may be kept open without one. Default 30 s.
    /// Too short cuts clients with slow links, too long lets idle ones pile up.
    pub request_timeout: Duration,
    /// How long a shutdown waits for connections to end by themselves. Default 10 s.
    pub shutdown_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            max_connections: 1_000_000,
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Chainable setters; each names the field it sets, where the default and the trade-off are written.
impl Options {
    /// Sets [`Options::shards`](#structfield.shards).
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets [`Options::max_connections`](#structfield.max_connections).
    #[must_use]
    pub const fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets [`Options::request_timeout`](#structfield.request_timeout).
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`Options::shutdown_timeout`](#structfield.shutdown_timeout).
    #[must_use]
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }
}

pub(crate) struct Inner {
    pub(crate) runtime: Runtime,
    pub(crate) cells: Box<[Arc<ShardCell>]>,
    pub(crate) config: Arc<Config>,
    pub(crate) options: Options,
    pub(crate) router: Router,
    next_shard: AtomicUsize,
    namespaces: RwLock<Namespaces>,
    hooks: RwLock<Hooks>,
    /// Every connection, so that a shutdown can end those that do not end by themselves.
    connections: Mutex<Connections>,
    /// Connections with a deadline, in its order.
    idle: Mutex<VecDeque<(Time, Weak<Link>)>>,
    lingering: Mutex<VecDeque<(Time, Weak<Link>)>>,
    closing: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

#[derive(Clone)]
struct Hooks {
    request: Option<RequestFn>,
    allow: Option<AllowFn>,
    error: Option<ErrorFn>,
    engine: Arc<dyn EngineHandler>,
}

type RequestFn = Arc<dyn Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync>;
type AllowFn = Arc<dyn Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync>;
type ErrorFn = Arc<dyn Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync>;

/// What becomes of a connection whose time has come.
enum Sweep {
    /// It needs no deadline any more.
    Keep,
    Later(Time),
    Cut,
}

#[derive(Default)]
struct Connections {
    slots: Vec<Option<Weak<Link>>>,
    free: Vec<usize>,
    count: usize,
}

/// Namespaces.
impl Io {
    /// A server. Adapters call this; users call the adapter's constructor.
    ///
    /// # Errors
    /// If the config does not make sense.
    pub fn new(config: Config, options: Options, runtime: Runtime) -> Result<Self, ConfigError> {
        let mut key = [0; 16];
        (runtime.fill)(&mut key);
        if !(1..=256).contains(&options.shards) {
            return Err(ConfigError::Shards(options.shards));
        }
        let shards = (0..=255u8)
            .take(options.shards)
            .map(|index| Shard::new(config.clone(), index, key, Box::new(runtime.fill)));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let config = shards
            .first()
            .map_or_else(Arc::default, |shard| Arc::clone(shard.config()));
        let io = Self(Arc::new_cyclic(|io| Inner {
            runtime,
            router: Router::new(&config, key, shards.len()),
            cells: shards
                .into_iter()
                .map(|shard| Arc::new(ShardCell::new(io.clone(), runtime, shard)))
                .collect(),
            config,
            options,
            next_shard: AtomicUsize::new(0),
            namespaces: RwLock::default(),
            hooks: RwLock::new(Hooks {
                request: None,
                allow: None,
                error: None,
                engine: Arc::new(Ignore),
            }),
            connections: Mutex::default(),
            idle: Mutex::default(),
            lingering: Mutex::default(),
            closing: AtomicBool::new(false),
            waiters: Mutex::default(),
        }));
        // There is always a main namespace, as there is on genuine servers.
        drop(io.of("/"));
        Ok(io)
    }

    /// The namespace of this name, made if there is none. `chat` means `/chat`.
    pub fn of(&self, name: &str) -> Namespace {
        let name = namespace::normalized(name);
        let behaviour = self.0.namespaces.write().named(name.clone());
        Namespace::new(Arc::clone(&self.0), behaviour, Some(name))
    }

    /// All namespaces whose names fit a pattern, in which each `*` stands for any text without a slash: `/tenant-*`.
    ///
    /// They share handlers; sockets and rooms are each one's own.
    pub fn of_pattern(&self, pattern: &str) -> Namespace {
        let pattern = namespace::normalized(pattern);
        self.of_fn(move |name, _| namespace::fits(&pattern, name))
    }

    /// All namespaces that a function agrees to. It sees the name and the socket that asks for it, with its
    /// [`auth`](Socket::auth) and [`handshake`](Socket::handshake); rules are asked in the order in which they were added.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn register(io: &Io) {
    /// io.of_fn(|name, _| name.strip_prefix("/tenant-").is_some_and(|n| n.parse::<u32>().is_ok()));
    /// # }
    /// ```
    pub fn of_fn(&self, rule: impl Fn(&str, &Socket) -> bool + Send + Sync + 'static) -> Namespace {
        let behaviour = self.0.namespaces.write().ruled(Arc::new(rule));
        Namespace::new(Arc::clone(&self.0), behaviour, None)
    }
}

/// Sending: all of these mean the main namespace, `/`.
impl Io {
    fn all(&self) -> Emitter {
        Emitter::new(&self.0, const { bytestring::ByteString::from_static("/") })
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

    /// The connected socket with this id, whatever its namespace.
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<Socket> {
        let find = |cell: &Arc<ShardCell>| cell.ask(|state| state.find(state.shard.find(id)?));
        self.0.cells.iter().find_map(find).map(Socket)
    }

    /// How many sessions are open, of all kinds.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0
            .cells
            .iter()
            .map(|cell| cell.ask(|state| state.shard.sessions()))
            .sum()
    }

    /// How many connections are open, those of other HTTP requests among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.lock().count
    }

    /// What the adapter was told.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }
}

/// The application's decisions.
impl Io {
    /// Answers requests that are not Socket.IO's. Without this they get 404.
    ///
    /// The function is called in place and must not wait.
    ///
    /// ```
    /// # use sio_app::{HttpResponse, Io};
    /// # fn register(io: &Io) {
    /// io.on_request(|request| match request.path() {
    ///     "/" => HttpResponse::html("<script src=/socket.io/socket.io.js></script>"),
    ///     _ => HttpResponse::new(404),
    /// });
    /// # }
    /// ```
    pub fn on_request(&self, answer: impl Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync + 'static) {
        self.0.hooks.write().request = Some(Arc::new(answer));
    }

    /// Decides about requests that would open a session. The error is what the client is told.
    pub fn allow_request(&self, decide: impl Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync + 'static) {
        self.0.hooks.write().allow = Some(Arc::new(decide));
    }

    /// Is told what goes wrong in handlers: the socket it was for, the event's name, and what. Without this it is logged.
    pub fn on_error(&self, tell: impl Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync + 'static) {
        self.0.hooks.write().error = Some(Arc::new(tell));
    }

    /// Handles raw Engine.IO sessions ([`Config::engine_path`]).
    pub fn on_engine(&self, handler: impl EngineHandler) {
        self.0.hooks.write().engine = Arc::new(handler);
    }
}

/// The end.
impl Io {
    /// Begins a shutdown: clients are told so that they connect elsewhere, new ones are refused, and adapters stop accepting.
    ///
    /// An adapter's `serve` returns once all connections have ended.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        turn::act(self.0.runtime, |turn| {
            for cell in &self.0.cells {
                let reason = Reason::ServerShuttingDown;
                cell.input(turn, |state, now, out| {
                    state.shard.handle_command(now, Command::Shutdown { reason }, out)
                });
            }
        });
        self.end_connections(|link| link.awaiting().is_some());
        self.0.wake();
    }

    /// Ends all connections that are left, without a word. Adapters do this when a shutdown has taken long enough.
    pub fn abort(&self) {
        self.end_connections(|_| true);
    }

    fn end_connections(&self, which: impl Fn(&Link) -> bool) {
        let links: Vec<_> = self
            .0
            .connections
            .lock()
            .slots
            .iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect();
        links.iter().filter(|link| which(link)).for_each(|link| link.cut());
    }

    /// Lets go of all handlers and sockets. Handlers often hold the [`Io`] that holds them; this breaks the ring. Adapters do it
    /// when they have come to their end.
    pub fn clear(&self) {
        self.0.cells.iter().for_each(|cell| cell.clear());
        self.0.namespaces.read().all().for_each(|behaviour| behaviour.clear());
        let engine: Arc<dyn EngineHandler> = Arc::new(Ignore);
        let hooks = std::mem::replace(
            &mut *self.0.hooks.write(),
            Hooks {
                request: None,
                allow: None,
                error: None,
                engine,
            },
        );
        drop(hooks);
    }

    /// Whether [`Io::close`] has been called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Waits for [`Io::close`].
    pub async fn closing(&self) {
        self.0.wait(|| self.is_closing()).await;
    }

    /// Waits for the end: [`Io::close`] has been called and no connection is open any more.
    pub async fn ended(&self) {
        self.0.wait(|| self.is_closing() && self.connections() == 0).await;
    }
}

/// Time, for handlers.
impl Io {
    /// Waits so long, whatever the runtime, on the time of the server: it passes only while the server is served. In a handler of a socket, [`Socket::sleep`] is the
    /// better choice, because it stays with the socket's own shard.
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
        Sleep::new(Arc::clone(&self.0.cells[0]), (self.0.runtime.now)() + duration)
    }
}

/// Time, for adapters: one task per shard, and one for what is only roughly on time.
impl Io {
    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.cells.len()
    }

    /// Does what is due in a shard, and says when to come again. `waker` is woken if that becomes earlier.
    pub fn handle_timeout(&self, shard: usize, waker: &Waker) -> Option<Time> {
        let cell = self.0.cells.get(shard)?;
        turn::run(self.0.runtime, |turn| {
            cell.input(turn, |state, now, out| state.shard.handle_timeout(now, out));
        });
        cell.wake_sleepers();
        cell.arm(waker)
    }

    /// Ends connections that take too long for a request, or to close. Call it about once a second.
    pub fn sweep(&self) {
        let now = (self.0.runtime.now)();
        let timeout = self.0.options.request_timeout;
        self.0.sweep_queue(&self.0.idle, now, |link| match link.awaiting() {
            _ if link.is_websocket() => Sweep::Keep,
            Some(since) if since + timeout <= now => Sweep::Cut,
            Some(since) => Sweep::Later(since + timeout),
            None => Sweep::Later(now + timeout),
        });
        self.0.sweep_queue(&self.0.lingering, now, |_| Sweep::Cut);
    }
}

impl Inner {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A shard for a new session: each in turn.
    pub(crate) fn pick_shard(&self) -> usize {
        self.next_shard.fetch_add(1, Ordering::Relaxed) % self.cells.len()
    }

    pub(crate) fn find_namespace(&self, socket: &Socket) -> Option<Arc<Table>> {
        namespace::find(&self.namespaces, socket)
    }

    pub(crate) fn engine(&self) -> Arc<dyn EngineHandler> {
        Arc::clone(&self.hooks.read().engine)
    }

    /// The application's answer to a request.
    pub(crate) fn answer(&self, request: &Request) -> HttpResponse {
        let hook = self.hooks.read().request.clone();
        let Some(hook) = hook else {
            return HttpResponse::new(404);
        };
        guarded(|| hook(&HttpRequest::new(request))).unwrap_or_else(|error| {
            self.report(None, "request", &error);
            HttpResponse::new(500)
        })
    }

    /// The application's word on a request that would open a session.
    pub(crate) fn verdict(&self, request: &Request) -> Verdict {
        let hook = self.hooks.read().allow.clone();
        let Some(hook) = hook else { return Verdict::Allowed };
        match guarded(|| hook(&HttpRequest::new(request))) {
            Ok(Ok(())) => Verdict::Allowed,
            Ok(Err(message)) => Verdict::Refused(message.into()),
            Err(error) => {
                self.report(None, "allow_request", &error);
                Verdict::Refused("Internal server error".into())
            }
        }
    }

    /// Tells the application, or the log, what went wrong.
    pub(crate) fn report(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) {
        let hook = self.hooks.read().error.clone();
        let told = hook.is_some_and(|hook| guarded(|| hook(socket, event, error)).is_ok());
        if told {
            return;
        }
        let namespace = socket.map_or("", Socket::namespace);
        if matches!(error, HandlerError::Panicked(_)) {
            tracing::error!(namespace, event, %error, "handler");
        } else {
            tracing::warn!(namespace, event, %error, "handler");
        }
    }

    /// Adds a connection; `None` if there are as many as may be.
    pub(crate) fn enter(&self, link: &Arc<Link>, now: Time) -> Option<usize> {
        let slot = {
            let mut connections = self.connections.lock();
            if connections.count >= self.options.max_connections {
                return None;
            }
            connections.count += 1;
            let entry = Some(Arc::downgrade(link));
            match connections.free.pop() {
                Some(slot) => {
                    connections.slots[slot] = entry;
                    slot
                }
                None => {
                    connections.slots.push(entry);
                    connections.slots.len() - 1
                }
            }
        };
        self.idle
            .lock()
            .push_back((now + self.options.request_timeout, Arc::downgrade(link)));
        Some(slot)
    }

    pub(crate) fn leave(&self, slot: usize) {
        let empty = {
            let mut connections = self.connections.lock();
            connections.slots[slot] = None;
            connections.free.push(slot);
            connections.count -= 1;
            connections.count == 0
        };
        if empty {
            self.wake();
        }
    }

    /// A connection's last byte is written: the peer has a moment to close its side.
    pub(crate) fn linger(&self, link: &Arc<Link>) {
        let now = (self.runtime.now)();
        self.lingering.lock().push_back((now + LINGER, Arc::downgrade(link)));
    }

    /// Looks at the links whose time has come.
    fn sweep_queue(&self, queue: &Mutex<VecDeque<(Time, Weak<Link>)>>, now: Time, judge: impl Fn(&Link) -> Sweep) {
        let mut later = VecDeque::new();
        loop {
            let link = {
                let mut queue = queue.lock();
                if queue.front().is_none_or(|(deadline, _)| *deadline > now) {
                    break;
                }
                queue.pop_front()
            };
            let Some(link) = link.and_then(|(_, link)| link.upgrade()) else {
                continue;
            };
            match judge(&link) {
                Sweep::Keep => {}
                Sweep::Later(deadline) => later.push_back((deadline, Arc::downgrade(&link))),
                Sweep::Cut => link.cut(),
            }
        }
        queue.lock().extend(later);
    }

    async fn wait(&self, done: impl Fn() -> bool) {
        poll_fn(|cx: &mut Context<'_>| {
            if done() {
                return Poll::Ready(());
            }
            {
                let mut waiters = self.waiters.lock();
                if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                    waiters.push(cx.waker().clone());
                }
            }
            // It may have become true before the waker was there.
            if done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn wake(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        waiters.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("shards", &self.shards())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
