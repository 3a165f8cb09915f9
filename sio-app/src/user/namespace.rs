//! Namespaces, as the application sees them: a handle that registers handlers and reaches sockets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;

use crate::args::{Data, RawArgs};
use crate::turn::socket::SocketCell;
use crate::turn::table::Table;
use crate::user::emitter::Emitter;
use crate::user::handler::{ConnectHandler, DisconnectHandler, EventHandler, Middleware};
use crate::user::io::Inner;
use crate::user::registry::Behaviour;
use crate::user::socket::Socket;

/// A namespace: what happens to those who connect to it.
///
/// It is a handle, cheap to clone; every method that registers something gives it back, so that
/// they chain. Handlers registered later count for sockets that connect later.
///
/// ```
/// # use sio_app::{Ack, Io, Reason, Socket};
/// # fn register(io: &Io) {
/// io.of("/chat")
///     .with(|socket: Socket| socket.auth::<String>().map(drop).ok_or("who are you?"))
///     .on_connect(|socket: Socket| socket.join("chat:lobby"))
///     .on("say", async |socket: Socket, (room, text): (String, String)| socket.to(format!("chat:{room}")).emit("said", text))
///     .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
///     .on_disconnect(|socket: Socket, reason: Reason| println!("{} left: {reason}", socket.id()));
/// # }
/// ```
#[derive(Clone)]
pub struct Namespace {
    io: Arc<Inner>,
    whom: Whom,
}

/// What a handle stands for.
#[derive(Clone)]
enum Whom {
    /// The namespace of this name, whether there is one or not.
    Named(ByteString),
    /// All namespaces of a rule.
    Ruled(Arc<Behaviour>),
}

impl Namespace {
    pub(crate) const fn named(io: Arc<Inner>, name: ByteString) -> Self {
        Self {
            io,
            whom: Whom::Named(name),
        }
    }

    pub(crate) const fn ruled(io: Arc<Inner>, behaviour: Arc<Behaviour>) -> Self {
        Self {
            io,
            whom: Whom::Ruled(behaviour),
        }
    }

    /// Registers something, which makes the namespace if there is none of the name.
    fn change(&self, change: impl FnOnce(&mut Table)) -> Self {
        match &self.whom {
            Whom::Named(name) => self.io.namespaces.named(name).change(change),
            Whom::Ruled(behaviour) => behaviour.change(change),
        }
        self.clone()
    }

    /// Makes the namespace exist without registering anything: clients may connect to it, and hear
    /// what is sent to it.
    ///
    /// A name for which nothing has been registered is no namespace, and clients that ask for it
    /// are refused, unless a pattern or a function covers it. Every method that registers something
    /// makes the namespace, too.
    pub fn create(&self) -> Self {
        self.change(|_| ())
    }

    /// Handles an event. One handler per name: a later one takes the place of an earlier one.
    ///
    /// The shapes a handler can have are those of [`EventHandler`]. Handlers of one socket start in
    /// the order in which its events arrive. An `async` one is polled at once and goes on beside
    /// later ones only if it has to wait; see [`Namespace::one_at_a_time`].
    pub fn on<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Self {
        self.change(|table| {
            table
                .events
                .insert(event.into(), Arc::new(move |call| handler.call(call)));
        })
    }

    /// Handles messages without a name: what clients send with `send`, and all that 0.6 knows. They
    /// are the event `message`.
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
        self.change(|table| {
            table.any = Some(Arc::new(move |socket: &Arc<SocketCell>, name: &str, args: &RawArgs| {
                handler(&Socket(Arc::clone(socket)), name, args);
            }))
        })
    }

    /// Handles connections: the socket is in, and none of its events has been handled yet.
    pub fn on_connect<M, H: ConnectHandler<M>>(&self, handler: H) -> Self {
        self.change(|table| table.connect = Some(Arc::new(move |socket| handler.call(Socket(socket)))))
    }

    /// Handles connections that are about to end, which had been let in, before
    /// [`Namespace::on_disconnect`] does. The socket takes nothing any more, but [`Socket::rooms`]
    /// still gives the rooms that it was in, and the others in them can be told:
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on_disconnecting(|socket: Socket| {
    ///     for room in socket.rooms() {
    ///         socket.to(room).emit("left", socket.id());
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// An `async` one has the rooms until it has to wait for the first time; the disconnect handler
    /// does not wait for it.
    pub fn on_disconnecting<M, H: DisconnectHandler<M>>(&self, handler: H) -> Self {
        self.change(|table| {
            table.disconnecting = Some(Arc::new(move |socket, reason| handler.call(Socket(socket), reason)))
        })
    }

    /// Handles the end of connections that had been let in. The socket is gone already: it is in no
    /// room and takes nothing. See [`Namespace::on_disconnecting`] for what has to know its rooms.
    pub fn on_disconnect<M, H: DisconnectHandler<M>>(&self, handler: H) -> Self {
        self.change(|table| {
            table.disconnect = Some(Arc::new(move |socket, reason| handler.call(Socket(socket), reason)))
        })
    }

    /// Adds a middleware: it decides whether a socket may join. They run in order, the first
    /// refusal counts, and until the last one has agreed the socket neither gets nor sends
    /// anything.
    ///
    /// What a middleware does for its socket counts once the socket is let in, and has not happened
    /// if it is refused: [`join`](Socket::join) and [`leave`](Socket::leave),
    /// [`emit`](Socket::emit) and [`send`](Socket::send), which leave behind the answer to the
    /// client, and [`set_data`](Socket::set_data). A question
    /// ([`emit_with_ack`](Socket::emit_with_ack)) fails with
    /// [`EmitError::Disconnected`](crate::EmitError::Disconnected), because its answer cannot come
    /// before the middleware has agreed, and a volatile message is dropped.
    ///
    /// A middleware that panics refuses: the client is told `Internal server error`, and
    /// [`Io::on_error`](crate::Io::on_error) or the log the rest.
    ///
    /// Of one session only a few middlewares wait at once
    /// ([`Options::max_waiting_middlewares`](crate::Options::max_waiting_middlewares)).
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
        self.change(|table| {
            table
                .middleware
                .push(Arc::new(move |socket| middleware.call(Socket(socket))))
        })
    }

    /// Makes the handlers of one socket run one at a time: the next starts when the one before has
    /// finished, however long that waits.
    ///
    /// Events that arrive meanwhile queue up; a socket with too many of them is closed.
    pub fn one_at_a_time(&self) -> Self {
        self.change(|table| table.one_at_a_time = true)
    }

    /// Its name; `None` if it stands for many ([`Io::of_pattern`](crate::Io::of_pattern),
    /// [`Io::of_fn`](crate::Io::of_fn)).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.whom {
            Whom::Named(name) => Some(name),
            Whom::Ruled(_) => None,
        }
    }

    /// All sockets of the namespace, as the start of a choice. Of a handle that stands for many
    /// namespaces: all sockets of all namespaces in which a client has been let in by its pattern
    /// or function. Asking makes no namespace.
    pub fn all(&self) -> Emitter {
        match &self.whom {
            Whom::Named(name) => Emitter::new(self.io.application(), name.clone()),
            Whom::Ruled(behaviour) => Emitter::to_many(self.io.application(), behaviour.names()),
        }
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
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
