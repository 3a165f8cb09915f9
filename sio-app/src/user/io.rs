//! The whole: all shards, all namespaces, and everything that is the application's to decide.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::RwLock;
use serde::Serialize;
use sio_proto::conn::Stage;
use sio_proto::http::{self, Method};
use sio_proto::server::{Admission, Budget, Peer, Request, Router, Shard};
use sio_proto::{Config, ConfigError, Time};

use crate::args::Data;
use crate::error::HandlerError;
use crate::host::connections::{Connections, Deadlines, Then};
use crate::link::{Item, Link};
use crate::lock::Mutex;
use crate::options::Options;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::directory::{Directory, Watch};
use crate::turn::later::Kept;
use crate::turn::load::Loads;
use crate::turn::quota::SharedQuota;
use crate::turn::shard::ShardCell;
use crate::turn::sleep::Sleep;
use crate::turn::work::guarded;
use crate::user::emitter::Emitter;
use crate::user::engine::{EngineHandler, Ignore};
use crate::user::metrics::Tally;
use crate::user::namespace::Namespace;
use crate::user::registry::{self, Namespaces, Table};
use crate::user::shutdown::Shutdown;
use crate::user::socket::Socket;
use crate::web::request::{HttpRequest, HttpResponse};

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

pub(crate) struct Inner {
    pub(crate) runtime: Runtime,
    pub(crate) cells: Box<[Arc<ShardCell>]>,
    pub(crate) config: Arc<Config>,
    pub(crate) options: Options,
    pub(crate) router: Router,
    next_shard: AtomicUsize,
    pub(crate) namespaces: Namespaces,
    hooks: RwLock<Hooks>,
    /// Every connection, so that a shutdown can end those that do not end by themselves.
    pub(crate) connections: Mutex<Connections>,
    deadlines: Mutex<Deadlines>,
    pub(crate) shutdown: Shutdown,
    pub(crate) tally: Tally,
    /// Bytes of work that connections have left for later.
    pub(crate) kept: Arc<Kept>,
    /// What peers can make the log say.
    pub(crate) warnings: Arc<Warnings>,
    pub(crate) directory: Arc<Directory>,
    /// Whether the tasks that watch the time have been started.
    pub(crate) ticking: AtomicBool,
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

/// Namespaces.
impl Io {
    /// A server. Adapters call this; users call the adapter's constructor.
    ///
    /// # Errors
    /// If the config does not make sense, or [`Runtime::fill`] gives nothing but zeros.
    pub fn new(config: Config, options: Options, runtime: Runtime) -> Result<Self, ConfigError> {
        let mut key = [0; 16];
        (runtime.fill)(&mut key);
        if key == [0; 16] {
            return Err(ConfigError::Entropy);
        }
        if !(1..=256).contains(&options.shards) {
            return Err(ConfigError::Shards(options.shards));
        }
        let directory = Arc::new(Directory::new(options.shards));
        let budget = Arc::new(Budget::new(config.max_total_queued_bytes));
        let quota = SharedQuota::new(&config, &options);
        let shards = (0..=255u8).take(options.shards).map(|index| {
            let mut shard = Shard::new(config.clone(), index, key, Box::new(runtime.fill))?;
            shard.share_quota(Box::new(quota.clone()));
            shard.watch_rooms(Box::new(Watch::new(&directory, index.into())));
            shard.share_budget(Arc::clone(&budget));
            Ok(shard)
        });
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let config = shards
            .first()
            .map_or_else(Arc::default, |shard| Arc::clone(shard.config()));
        let loads = Arc::new(Loads::new(&options));
        let warnings = Arc::new(Warnings::new());
        let kept = Arc::new(Kept::new(options.max_left_bytes));
        let io = Self(Arc::new_cyclic(|io| Inner {
            runtime,
            router: Router::new(&config, key, shards.len()),
            shutdown: Shutdown::new(shards.len()),
            tally: Tally::new(budget, runtime),
            directory,
            cells: shards
                .into_iter()
                .map(|shard| {
                    Arc::new(ShardCell::new(
                        io.clone(),
                        runtime,
                        shard,
                        Arc::clone(&loads),
                        Arc::clone(&warnings),
                    ))
                })
                .collect(),
            config,
            options,
            next_shard: AtomicUsize::new(0),
            namespaces: Namespaces::default(),
            hooks: RwLock::new(Hooks {
                request: None,
                allow: None,
                error: None,
                engine: Arc::new(Ignore),
            }),
            connections: Mutex::default(),
            deadlines: Mutex::default(),
            warnings,
            kept,
            ticking: AtomicBool::new(false),
            waiters: Mutex::default(),
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

    /// The connected socket with this id, whatever its namespace: with this [`Socket::id`], or the
    /// id by which the client knows itself ([`Socket::wire_id`]).
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<Socket> {
        let cell = self.0.cells.get(self.0.router.shard_of(id)?)?;
        cell.ask(|state| state.find(state.shard.find(id)?)).map(Socket)
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
        &self.0.config
    }
}

/// The application's decisions.
impl Io {
    /// Answers requests that are not Socket.IO's. Without this they get 404, or 405 if their method
    /// is none that this server knows.
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
        let old = self.0.hooks.write().request.replace(Arc::new(answer));
        drop(old);
    }

    /// Decides about requests that would open a session. The error is what the client is told.
    pub fn allow_request(&self, decide: impl Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync + 'static) {
        let old = self.0.hooks.write().allow.replace(Arc::new(decide));
        drop(old);
    }

    /// Is told what goes wrong in handlers: the socket it was for, the event's name, and what.
    /// Without this it is logged.
    pub fn on_error(&self, tell: impl Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync + 'static) {
        let old = self.0.hooks.write().error.replace(Arc::new(tell));
        drop(old);
    }

    /// Handles raw Engine.IO sessions ([`Config::engine_path`]).
    pub fn on_engine(&self, handler: impl EngineHandler) {
        let handler: Arc<dyn EngineHandler> = Arc::new(handler);
        let old = std::mem::replace(&mut self.0.hooks.write().engine, handler);
        drop(old);
    }
}

/// After the end.
impl Io {
    /// Lets go of all handlers and sockets. Handlers often hold the [`Io`] that holds them; this
    /// breaks the ring. Adapters do it when they have come to their end.
    pub fn clear(&self) {
        self.0.cells.iter().for_each(|cell| cell.clear());
        self.0.namespaces.clear();
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
        self.0.set_over();
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
        Sleep::new(Arc::clone(&self.0.cells[0]), (self.0.runtime.now)() + duration)
    }
}

/// Time, for adapters that do not leave it to [`Io::keep_time`]: one task per shard, and one for
/// what is only roughly on time.
impl Io {
    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.cells.len()
    }

    /// Does what is due in a shard, and says when to come again. `waker` is woken if that becomes
    /// earlier.
    pub fn handle_timeout(&self, shard: usize, waker: &Waker) -> Option<Time> {
        let cell = self.0.cells.get(shard)?;
        turn::run(self.0.runtime, |turn| {
            cell.input(turn, |state, now, out| state.shard.handle_timeout(now, out));
        });
        cell.wake_sleepers();
        cell.arm(waker)
    }

    /// Ends connections whose peers take longer than [`Options`] allow. Call it about once a
    /// second.
    pub fn sweep(&self) {
        let now = (self.0.runtime.now)();
        self.0.sweep_shutdown(now);
        loop {
            let Some((link, then)) = ({ self.0.deadlines.lock().pop(now) }) else {
                return;
            };
            match (then, link.awaiting()) {
                // Its session looks after it.
                (Then::Look, _) if link.is_websocket() => {}
                (Then::Look, _) if link.is_stalled(now, self.0.options.write_timeout) => link.cut(),
                (Then::Look, None) => self.0.look_after(&link, now, None),
                (Then::Look, Some(awaiting)) if awaiting.until > now => {
                    self.0.look_after(&link, now, Some(awaiting.until));
                }
                (Then::Look, Some(awaiting)) if awaiting.stage == Stage::Body => {
                    self.0.refuse_late_body(&link);
                    link.cut();
                }
                (Then::Look | Then::Cut, _) => link.cut(),
            }
        }
    }
}

impl Inner {
    /// Tells a peer that its body has taken too long, as far as its socket takes the answer at once
    /// (docs/protocol/engine-io.md §4.4). Its session hears of it when the connection is cut.
    fn refuse_late_body(&self, link: &Arc<Link>) {
        let mut answer = BytesMut::new();
        let date = self.tally.traffic.date();
        let date = date.as_ref().map(|date| ("Date", date.as_str()));
        let closing = http::Exchange::CLOSING;
        if http::encode_response(&mut answer, closing, 408, None, date.as_slice(), b"").is_ok() {
            link.push(Item::Bytes(answer.freeze()));
            turn::run(self.runtime, |turn| turn.touch_link(link, None));
        }
    }

    /// A shard for a new session: each in turn.
    pub(crate) fn pick_shard(&self) -> usize {
        self.next_shard.fetch_add(1, Ordering::Relaxed) % self.cells.len()
    }

    pub(crate) fn find_namespace(&self, socket: &Socket) -> Option<Arc<Table>> {
        self.namespaces.find(socket)
    }

    pub(crate) fn engine(&self) -> Arc<dyn EngineHandler> {
        Arc::clone(&self.hooks.read().engine)
    }

    /// The client's file that a request asks for, if there is one.
    pub(crate) fn client_file(&self, request: &http::Request) -> Option<HttpResponse> {
        let files = self.options.client_files.as_ref()?;
        files.answer(&self.config.path, request)
    }

    /// The answer to a request that is not Socket.IO's: a file of the client's, or what the
    /// application says.
    pub(crate) fn answer(&self, request: &Request) -> HttpResponse {
        if let Some(answer) = self.client_file(&request.http) {
            return answer;
        }
        // It asks about the server as a whole (RFC 9110 §9.3.7), which is none of the application's
        // pages.
        if request.http.method == Method::Options && &*request.http.target == "*" {
            return HttpResponse::new(204).header("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        }
        let hook = self.hooks.read().request.clone();
        let Some(hook) = hook else {
            return match request.http.method {
                Method::Other => HttpResponse::new(405).header("Allow", "GET, HEAD, POST, OPTIONS"),
                _ => HttpResponse::new(404),
            };
        };
        guarded(|| hook(&HttpRequest::new(request))).unwrap_or_else(|error| {
            self.report(None, "request", &error);
            HttpResponse::new(500)
        })
    }

    /// The application's word on a request that would open a session.
    pub(crate) fn admission(&self, request: &Request) -> Admission {
        let hook = self.hooks.read().allow.clone();
        let Some(hook) = hook else {
            return Admission::Allowed;
        };
        match guarded(|| hook(&HttpRequest::new(request))) {
            Ok(Ok(())) => Admission::Allowed,
            Ok(Err(message)) => Admission::Refused(message.into()),
            Err(error) => {
                self.report(None, "allow_request", &error);
                Admission::Refused("Internal server error".into())
            }
        }
    }

    /// Tells the application, or the log, what went wrong.
    pub(crate) fn report(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) {
        self.tally.failed(error);
        let hook = self.hooks.read().error.clone();
        let told = hook.is_some_and(|hook| guarded(|| hook(socket, event, error)).is_ok());
        if told {
            return;
        }
        let namespace = socket.map_or("", Socket::namespace);
        // A name for which there is no handler is a client's word, and so is what arguments are
        // that do not fit.
        let is_ours = socket.is_none_or(|socket| socket.0.table().is_none_or(|table| table.knows(event)));
        let event = if is_ours { event } else { "(any)" };
        let rated = match error {
            HandlerError::Panicked(_) => &self.warnings.panicked,
            HandlerError::Failed(_) => &self.warnings.failed,
            HandlerError::Args(_) => &self.warnings.misfits,
            HandlerError::Emit(_) => &self.warnings.unsent,
        };
        rated.say((self.runtime.now)(), || match error {
            HandlerError::Panicked(error) => tracing::error!(namespace, event, error, "handler panicked"),
            HandlerError::Failed(error) => tracing::warn!(namespace, event, error, "handler failed"),
            HandlerError::Args(_) => tracing::warn!(namespace, event, "arguments do not fit"),
            HandlerError::Emit(_) => tracing::warn!(namespace, event, "cannot emit"),
        });
    }

    /// Adds a connection; `None` if there are as many as may be.
    pub(crate) fn enter(&self, link: &Arc<Link>, peer: &Peer) -> Option<usize> {
        let place = { self.connections.lock().enter(link, peer.address, &self.options) };
        if let Err(why) = place {
            tracing::debug!(address = ?peer.address, ?why, "connection refused");
        }
        place.ok()
    }

    pub(crate) fn leave(&self, place: usize) {
        let empty = {
            let mut connections = self.connections.lock();
            connections.leave(place);
            connections.count() == 0
        };
        if empty {
            self.wake();
        }
    }

    /// More is being received than there is room for, and somebody has to go.
    pub(crate) fn warn_of_crowd(&self) {
        self.warnings.receiving.say((self.runtime.now)(), || {
            tracing::warn!("too much is being received: a connection is closed");
        });
    }

    /// Has a connection looked at again: when its peer will be late, and in any case before
    /// whatever it may begin to be late with from here on.
    pub(crate) fn look_after(&self, link: &Arc<Link>, now: Time, late: Option<Time>) {
        let Options {
            idle_timeout,
            head_timeout,
            body_timeout,
            ..
        } = self.options;
        let soonest = now + idle_timeout.min(head_timeout).min(body_timeout);
        let at = late.map_or(soonest, |late| late.min(soonest));
        self.deadlines.lock().add(at, link, Then::Look);
    }

    /// A connection's last byte is written: the peer has a moment to close its side.
    pub(crate) fn linger(&self, link: &Arc<Link>) {
        self.cut_after(link, self.options.linger_timeout);
    }

    /// A connection ends with what its peer has yet to read: it has as long for that as for a next
    /// request.
    pub(crate) fn end_soon(&self, link: &Arc<Link>) {
        self.cut_after(link, self.options.idle_timeout);
    }

    fn cut_after(&self, link: &Arc<Link>, patience: Duration) {
        let at = (self.runtime.now)() + patience;
        self.deadlines.lock().add(at, link, Then::Cut);
    }

    pub(crate) async fn wait(&self, done: impl Fn() -> bool) {
        poll_fn(|cx: &mut Context<'_>| {
            if done() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            let left = {
                let mut waiters = self.waiters.lock();
                if waiters.iter().any(|waiter| waiter.will_wake(&waker)) {
                    Some(waker)
                } else {
                    waiters.push(waker);
                    None
                }
            };
            drop(left);
            // It may have become true before the waker was there.
            if done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(crate) fn wake(&self) {
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
