//! Namespaces: names, patterns, and the handlers behind them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::RwLock;
use serde::Serialize;
use sio_proto::server::Reason;

use crate::args::{Data, RawArgs};
use crate::emitter::Emitter;
use crate::handler::{Call, ConnectHandler, DisconnectHandler, EventHandler, Middleware, Started, StartedMiddleware};
use crate::io::Inner;
use crate::socket::Socket;

/// A namespace: what happens to those who connect to it.
///
/// It is a handle, cheap to clone; every method that registers something gives it back, so that they chain. Handlers registered
/// later count for sockets that connect later.
///
/// ```
/// # use sio_app::{Ack, Io, Reason, Socket};
/// # fn register(io: &Io) {
/// io.of("/chat")
///     .with(|socket: Socket| socket.auth::<String>().map(drop).ok_or("who are you?"))
///     .on_connect(|socket: Socket| socket.join("lobby"))
///     .on("say", async |socket: Socket, (room, text): (String, String)| socket.to(room).emit("said", text))
///     .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
///     .on_disconnect(|socket: Socket, reason: Reason| println!("{} left: {reason}", socket.id()));
/// # }
/// ```
#[derive(Clone)]
pub struct Namespace {
    io: Arc<Inner>,
    behaviour: Arc<Behaviour>,
    /// Its name, unless it stands for many.
    name: Option<ByteString>,
}

/// Handlers that one or many namespaces share. The table is replaced as a whole, so that sockets can keep the one they began with
/// and look things up in it without any lock.
#[derive(Default)]
pub(crate) struct Behaviour(RwLock<Arc<Table>>);

#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) events: HashMap<Box<str>, EventFn, BuildHasherDefault<NameHasher>>,
    pub(crate) any: Option<AnyFn>,
    pub(crate) connect: Option<ConnectFn>,
    pub(crate) disconnect: Option<DisconnectFn>,
    pub(crate) middleware: Vec<MiddlewareFn>,
    pub(crate) one_at_a_time: bool,
}

/// Hashes event names (FNV-1a). The names in the table are the application's own, so nobody can make them collide.
#[derive(Clone)]
pub(crate) struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type EventFn = Arc<dyn Fn(Call) -> Started + Send + Sync>;
pub(crate) type AnyFn = Arc<dyn Fn(&Socket, &str, &RawArgs) + Send + Sync>;
pub(crate) type ConnectFn = Arc<dyn Fn(Socket) -> Started + Send + Sync>;
pub(crate) type DisconnectFn = Arc<dyn Fn(Socket, Reason) -> Started + Send + Sync>;
pub(crate) type MiddlewareFn = Arc<dyn Fn(Socket) -> StartedMiddleware + Send + Sync>;

impl Behaviour {
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn clear(&self) {
        let table = std::mem::take(&mut *self.0.write());
        drop(table);
    }
}

impl Namespace {
    pub(crate) const fn new(io: Arc<Inner>, behaviour: Arc<Behaviour>, name: Option<ByteString>) -> Self {
        Self { io, behaviour, name }
    }

    fn change(&self, change: impl FnOnce(&mut Table)) -> Self {
        change(Arc::make_mut(&mut self.behaviour.0.write()));
        self.clone()
    }

    /// Handles an event. One handler per name: a later one takes the place of an earlier one.
    ///
    /// The shapes a handler can have are those of [`EventHandler`]. Handlers of one socket start in the order in which its events
    /// arrive. An `async` one is polled at once and goes on beside later ones only if it has to wait; see
    /// [`Namespace::one_at_a_time`].
    pub fn on<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Self {
        self.change(|table| {
            table
                .events
                .insert(event.into(), Arc::new(move |call| handler.call(call)));
        })
    }

    /// Handles messages without a name: what clients send with `send`, and all that 0.6 knows. They are the event `message`.
    ///
    /// The argument is usually a [`Data`], but any type will do.
    ///
    /// ```
    /// # use sio_app::{Data, Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on_message(|socket: Socket, data: Data| socket.send(data));
    /// # }
    /// ```
    pub fn on_message<M, H: EventHandler<M>>(&self, handler: H) -> Self {
        self.on("message", handler)
    }

    /// Sees every event, before its own handler does.
    pub fn on_any(&self, handler: impl Fn(&Socket, &str, &RawArgs) + Send + Sync + 'static) -> Self {
        self.change(|table| table.any = Some(Arc::new(handler)))
    }

    /// Handles connections: the socket is in, and none of its events has been handled yet.
    pub fn on_connect<M, H: ConnectHandler<M>>(&self, handler: H) -> Self {
        self.change(|table| table.connect = Some(Arc::new(move |socket| handler.call(socket))))
    }

    /// Handles the end of connections that had been let in. The socket is gone already: it is in no room and takes nothing.
    pub fn on_disconnect<M, H: DisconnectHandler<M>>(&self, handler: H) -> Self {
        self.change(|table| table.disconnect = Some(Arc::new(move |socket, reason| handler.call(socket, reason))))
    }

    /// Adds a middleware: it decides whether a socket may join. They run in order, the first refusal counts, and until the last one has
    /// agreed the socket neither gets nor sends anything.
    ///
    /// ```
    /// # use sio_app::{Io, Refusal, Socket};
    /// # fn register(io: &Io) {
    /// #[derive(serde::Deserialize)]
    /// struct Auth { token: String }
    ///
    /// io.of("/admin").with(async |socket: Socket| match socket.auth::<Auth>() {
    ///     Some(auth) if auth.token == "secret" => Ok(()),
    ///     _ => Err(Refusal::new("forbidden").with_data("a token is needed")),
    /// });
    /// # }
    /// ```
    pub fn with<M, H: Middleware<M>>(&self, middleware: H) -> Self {
        self.change(|table| table.middleware.push(Arc::new(move |socket| middleware.call(socket))))
    }

    /// Makes the handlers of one socket run one at a time: the next starts when the one before has finished, however long that waits.
    ///
    /// Events that arrive meanwhile queue up; a socket with too many of them is closed.
    pub fn one_at_a_time(&self) -> Self {
        self.change(|table| table.one_at_a_time = true)
    }

    /// Its name; `None` if it stands for many ([`Io::of_pattern`](crate::Io::of_pattern), [`Io::of_fn`](crate::Io::of_fn)).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// All sockets of the namespace, as the start of a choice. A namespace that stands for many has none here: choose one of
    /// them by its name.
    pub fn all(&self) -> Emitter {
        Emitter::new(&self.io, self.name.clone().unwrap_or_default())
    }

    /// Sends an event to all sockets of the namespace.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) {
        self.all().emit(event, args);
    }

    /// Sends a message without a name to all sockets of the namespace.
    pub fn send(&self, data: impl Into<Data>) {
        self.all().send(data);
    }

    /// To the members of a room.
    pub fn to(&self, room: impl AsRef<str>) -> Emitter {
        self.all().to(room)
    }

    /// To all sockets that are not in this room.
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

    /// All sockets of the namespace.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.all().sockets()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All namespaces, by name and by rule. Static names win over rules, earlier rules over later ones.
#[derive(Default)]
pub(crate) struct Namespaces {
    named: HashMap<ByteString, Arc<Behaviour>>,
    rules: Arc<Vec<Rule>>,
}

#[derive(Clone)]
struct Rule {
    matches: RuleFn,
    behaviour: Arc<Behaviour>,
}

pub(crate) type RuleFn = Arc<dyn Fn(&str, &Socket) -> bool + Send + Sync>;

impl Table {
    /// Whether the name of an event is the application's, or one of those that [`Io::on_error`](crate::Io::on_error) gives to what is no event.
    pub(crate) fn knows(&self, event: &str) -> bool {
        self.events.contains_key(event) || matches!(event, "connect" | "disconnect" | "ack")
    }
}

impl Namespaces {
    /// The namespace of this name, made if there is none.
    pub(crate) fn named(&mut self, name: ByteString) -> Arc<Behaviour> {
        Arc::clone(self.named.entry(name).or_default())
    }

    pub(crate) fn ruled(&mut self, matches: RuleFn) -> Arc<Behaviour> {
        let behaviour = Arc::<Behaviour>::default();
        Arc::make_mut(&mut self.rules).push(Rule {
            matches,
            behaviour: Arc::clone(&behaviour),
        });
        behaviour
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Behaviour>> {
        self.named.values().chain(self.rules.iter().map(|rule| &rule.behaviour))
    }
}

/// The handlers for a socket, if there is a namespace for it. Rules are the user's code: they run under no lock.
pub(crate) fn find(namespaces: &RwLock<Namespaces>, socket: &Socket) -> Option<Arc<Table>> {
    let rules = {
        let namespaces = namespaces.read();
        if let Some(behaviour) = namespaces.named.get(socket.namespace()) {
            return Some(behaviour.table());
        }
        Arc::clone(&namespaces.rules)
    };
    let rule = rules.iter().find(|rule| (rule.matches)(socket.namespace(), socket))?;
    Some(rule.behaviour.table())
}

/// A name as it travels: `chat` means `/chat`.
pub(crate) fn normalized(name: &str) -> ByteString {
    if name.starts_with('/') {
        name.into()
    } else {
        format!("/{name}").into()
    }
}

/// Whether `name` fits `pattern`, in which each `*` stands for any text without a slash.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    let longest = rest.find('/').unwrap_or(rest.len());
    // Patterns are the application's own and short: trying every length is fine.
    (0..=longest)
        .rev()
        .filter(|&end| rest.is_char_boundary(end))
        .any(|end| fits(tail, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("/tenant-*", "/tenant-1", true),
            ("/tenant-*", "/tenant-", true),
            ("/tenant-*", "/tenant", false),
            ("/tenant-*", "/tenant-1/x", false),
            ("/*/x", "/é/x", true),
            ("/*/x", "/a/b/x", false),
            ("/a*b*c", "/axxbyyc", true),
            ("/a*b*c", "/abbc", true),
            ("/a*b*c", "/abb", false),
            ("*", "/", false),
            ("/*", "/", true),
            ("/a", "/a", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(normalized("a"), "/a");
        assert_eq!(normalized("/a"), "/a");
    }
}
