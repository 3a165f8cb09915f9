//! Namespaces for the application: a handle that registers handlers and reaches sockets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;

use crate::args::{Data, RawArgs};
use crate::error::{HandlerError, RegisterError};
use crate::turn::call::Owed;
use crate::turn::incoming::Incoming;
use crate::turn::policy::Policy;
use crate::turn::refusal::Refusal;
use crate::turn::socket::SocketCell;
use crate::turn::table::{AnswerFn, AnyFn, FilterFn, OutgoingFn, Table};
use crate::user::emitter::Emitter;
use crate::user::handler::{ConnectHandler, DisconnectHandler, EventHandler, Middleware};
use crate::user::inner::Inner;
use crate::user::registry::Behaviour;
use crate::user::rooms::Rooms;
use crate::user::socket::Socket;
use crate::user::timed_emitter::TimedEmitter;
use sio_proto::RateLimit;
use sio_proto::server::Sent;

/// A namespace: the handlers for the sockets that connect to it.
///
/// It is a handle, cheap to clone. Every method that registers something returns it, so that calls
/// can be chained. A handler that is registered later counts only for sockets that connect later.
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
    pub(super) io: Arc<Inner>,
    pub(super) whom: Whom,
}

/// The namespaces that a handle stands for.
#[derive(Clone)]
pub(super) enum Whom {
    /// The namespace with this name, whether it exists or not.
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

    /// Registers something. This creates the namespace if it does not exist.
    pub(super) fn change(&self, change: impl FnOnce(&mut Table)) -> Self {
        match &self.whom {
            Whom::Named(name) => {
                self.io.namespaces.named(name).change(change);
                #[cfg(feature = "redis")]
                if let Some(cluster) = &self.io.cluster {
                    cluster.namespace_changed(&self.io, name);
                }
            }
            Whom::Ruled(behaviour) => behaviour.change(change),
        }
        self.clone()
    }

    /// Creates the namespace without registering anything: clients may connect to it, and get what
    /// is sent to it.
    ///
    /// A name for which nothing has been registered is not a namespace, and clients that ask for it
    /// are refused, unless a pattern or a function covers the name. Every method that registers
    /// something creates the namespace, too.
    pub fn create(&self) -> Self {
        self.change(|_| ())
    }

    /// Handles an event. Several handlers of one event start in the order in which they were
    /// registered. If several of them answer the client, the first answer counts.
    ///
    /// The page of [`handler`](crate::handler) says what a handler can take and return. Handlers of
    /// one socket start in the order in which its events arrive. An `async` handler is polled at
    /// once. Only if it has to wait, later handlers run before it ends; see
    /// [`Namespace::one_at_a_time`].
    ///
    /// No event can have a name of the protocol (`connection`, `disconnect`). With such a name
    /// nothing is registered, and the server does not start ([`Io::check`](crate::Io::check)).
    pub fn on<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Self {
        if let Err(mistake) = RegisterError::of_name(event) {
            self.io.note_mistake(mistake);
            return self.clone();
        }
        let needs = H::needs();
        if !needs.states.is_empty() {
            self.io.namespaces.need(needs, &format!("the handler of {event:?}"));
        }
        self.change(|table| table.add(event, Arc::new(move |call| handler.call(call))))
    }

    /// Removes all handlers of an event, for sockets that connect later.
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").off("say").on("say", |socket: Socket| socket.emit("said", "nothing more"));
    /// # }
    /// ```
    pub fn off(&self, event: &str) -> Self {
        self.change(|table| drop(table.events.remove(event)))
    }

    /// Sets what becomes of an event of this name, when it is sent to sockets of the namespace and
    /// a client does not take it at once. A policy of the emitter comes before it. Volatile events,
    /// and events that ask for an acknowledgement, have no policy. A socket keeps the policies that
    /// were set when it connected.
    ///
    /// ```
    /// # use sio_app::{Io, Policy, Socket};
    /// # fn register(io: &Io, socket: &Socket) {
    /// io.of("/").event_policy("position", Policy::newest("")).event_policy("log", Policy::DROP_OLDEST);
    /// io.emit("log", "dropped before anything else is");
    /// # }
    /// ```
    pub fn event_policy(&self, event: &str, policy: Policy) -> Self {
        self.io.namespaces.set_policed();
        self.change(|table| _ = table.policies.insert(event.into(), policy))
    }

    /// Handles messages without a name, which clients send with `send`. Clients of 0.6 have no
    /// other messages. They count as the event `message`.
    ///
    /// The argument is usually a [`Data`], but any type works.
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

    /// Calls the function for every event, before filters and the event's own handlers. Several
    /// such functions are called in the order in which they were registered. Acknowledgements are
    /// not events.
    pub fn on_any(&self, handler: impl Fn(&Socket, &str, &RawArgs) + Send + Sync + 'static) -> Self {
        self.change(|table| table.any.push(seeing(handler)))
    }

    /// Calls the function for every event, before the functions of [`Namespace::on_any`] that are
    /// registered already.
    pub fn prepend_any(&self, handler: impl Fn(&Socket, &str, &RawArgs) + Send + Sync + 'static) -> Self {
        self.change(|table| table.any.insert(0, seeing(handler)))
    }

    /// Removes all functions that are called for every event, for sockets that connect later.
    pub fn off_any(&self) -> Self {
        self.change(|table| table.any.clear())
    }

    /// Calls the function for every event that is sent to sockets of the namespace, before it is
    /// sent. The function gets the socket, or `None` for an event to many sockets, for which it is
    /// called only once. Acknowledgements are not events. The function is not called for events
    /// that it sends itself.
    ///
    /// ```
    /// # use sio_app::{Io, RawArgs, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on_any_outgoing(|to: Option<&Socket>, event: &str, args: &RawArgs| match to {
    ///     Some(socket) => println!("to {}: {event} {}", socket.id(), args.json()),
    ///     None => println!("to many: {event} {}", args.json()),
    /// });
    /// # }
    /// ```
    pub fn on_any_outgoing(&self, handler: impl Fn(Option<&Socket>, &str, &RawArgs) + Send + Sync + 'static) -> Self {
        self.io.namespaces.set_watched();
        self.change(|table| table.outgoing.push(seeing_outgoing(handler)))
    }

    /// Calls the function for every event that is sent, before the functions that are registered
    /// already.
    pub fn prepend_any_outgoing(
        &self,
        handler: impl Fn(Option<&Socket>, &str, &RawArgs) + Send + Sync + 'static,
    ) -> Self {
        self.io.namespaces.set_watched();
        self.change(|table| table.outgoing.insert(0, seeing_outgoing(handler)))
    }

    /// Removes all functions that are called for every event that is sent.
    pub fn off_any_outgoing(&self) -> Self {
        self.change(|table| table.outgoing.clear())
    }

    /// Adds a filter. It decides about every event before the event's handlers are called, and may
    /// change the event. Filters run in order, and the first refusal counts: then no handler is
    /// called, and a client that has asked for an acknowledgement gets `{ "error": message }`. A
    /// filter must not block.
    ///
    /// ```
    /// # use sio_app::{Incoming, Io, Socket};
    /// # struct Admin;
    /// # fn register(io: &Io) {
    /// io.of("/").filter(|socket: &Socket, event: &mut Incoming| match event.name() {
    ///     "ban" if socket.data::<Admin>().is_none() => Err("forbidden"),
    ///     "old-name" => Ok(event.set_name("new-name")),
    ///     _ => Ok(()),
    /// });
    /// # }
    /// ```
    pub fn filter<E: Into<Refusal>>(
        &self,
        filter: impl Fn(&Socket, &mut Incoming) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let filter: FilterFn = Arc::new(move |socket: &Arc<SocketCell>, event: &mut Incoming| {
            filter(&Socket(Arc::clone(socket)), event).map_err(Into::into)
        });
        self.change(|table| table.filters.push(filter))
    }

    /// Gets the errors of the namespace's handlers, instead of
    /// [`Io::on_error`](crate::Io::on_error): the socket, the event's name, and the error. If
    /// arguments do not fit, the error is [`HandlerError::Args`].
    pub fn on_error(&self, tell: impl Fn(&Socket, &str, &HandlerError) + Send + Sync + 'static) -> Self {
        self.change(|table| {
            table.error = Some(Arc::new(
                move |socket: &Arc<SocketCell>, event: &str, error: &HandlerError| {
                    tell(&Socket(Arc::clone(socket)), event, error);
                },
            ));
        })
    }

    /// Sets the acknowledgement that a client gets for an event that has failed, instead of `{
    /// "error": message }`: because its arguments do not fit, an extractor or a handler has failed,
    /// or a filter has refused it.
    ///
    /// ```
    /// # use sio_app::{HandlerError, Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").answer_errors(|_: &Socket, event: &str, error: &HandlerError| match error {
    ///     HandlerError::Args(error) => serde_json::json!({ "code": 400, "event": event, "detail": error.to_string() }),
    ///     _ => serde_json::json!({ "code": 500 }),
    /// });
    /// # }
    /// ```
    pub fn answer_errors<A: Serialize>(
        &self,
        answer: impl Fn(&Socket, &str, &HandlerError) -> A + Send + Sync + 'static,
    ) -> Self {
        let answer: AnswerFn = Arc::new(move |event: &str, error: &HandlerError, owed: Owed| {
            let socket = Socket(Arc::clone(&owed.socket));
            owed.send(&answer(&socket, event, error));
        });
        self.change(|table| table.answer = Some(answer))
    }

    /// Answers a client that asks for the acknowledgement of an event that no handler handles, with
    /// `{ "error": "unknown event" }` or the answer of [`Namespace::answer_errors`]. Without this,
    /// such a client gets no answer, as from genuine servers. A function of [`Namespace::on_any`]
    /// is no handler in this sense.
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").refuse_unknown().on("known", |_: Socket| Ok::<_, String>("yes"));
    /// # }
    /// ```
    pub fn refuse_unknown(&self) -> Self {
        self.change(|table| table.refuses_unknown = true)
    }

    /// Handles connections: the socket has been let in, and none of its events has been handled
    /// yet. Several handlers start in the order in which they were registered.
    pub fn on_connect<M, H: ConnectHandler<M>>(&self, handler: H) -> Self {
        self.io.namespaces.need(H::needs(), "the connect handler");
        self.change(|table| table.connect.push(Arc::new(move |call| handler.call(call))))
    }

    /// Handles the end of connections that had been let in, before [`Namespace::on_disconnect`]
    /// does. Nothing can be sent to the socket any more, but [`Socket::rooms`] still returns the
    /// rooms that it was in, so that you can tell the others in these rooms:
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
    /// An `async` handler has the rooms until it has to wait for the first time. The disconnect
    /// handler does not wait for it.
    pub fn on_disconnecting<M, H: DisconnectHandler<M>>(&self, handler: H) -> Self {
        self.io.namespaces.need(H::needs(), "the disconnecting handler");
        self.change(|table| table.disconnecting.push(Arc::new(move |call| handler.call(call))))
    }

    /// Handles the end of connections that had been let in. The socket is gone already: it is in no
    /// room, and nothing can be sent to it. Use [`Namespace::on_disconnecting`] if you need its
    /// rooms.
    pub fn on_disconnect<M, H: DisconnectHandler<M>>(&self, handler: H) -> Self {
        self.io.namespaces.need(H::needs(), "the disconnect handler");
        self.change(|table| table.disconnect.push(Arc::new(move |call| handler.call(call))))
    }

    /// Adds a middleware, which decides whether a socket may join. Middlewares run in order, and
    /// the first refusal counts. Until the last middleware has agreed, the socket gets nothing and
    /// its events are not handled.
    ///
    /// What a middleware does for its socket takes effect when the socket is let in. If the socket
    /// is refused, it has no effect. This holds for [`join`](Socket::join) and
    /// [`leave`](Socket::leave), for [`emit`](Socket::emit) and [`send`](Socket::send), whose
    /// messages leave after the answer to the client, and for [`set_data`](Socket::set_data). A
    /// question ([`emit_with_ack`](Socket::emit_with_ack)) fails with
    /// [`EmitError::Disconnected`](crate::EmitError::Disconnected), because its answer cannot come
    /// before the middleware has agreed. A volatile message is dropped.
    ///
    /// A middleware that panics refuses the socket: the client gets `Internal server error`, and
    /// [`Io::on_error`](crate::Io::on_error) or the log gets the details.
    ///
    /// Only a few middlewares of one session wait at the same time
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
        self.io.namespaces.need(H::needs(), "a middleware");
        self.change(|table| table.middleware.push(Arc::new(move |call| middleware.call(call))))
    }

    /// Makes the handlers of one socket run one at a time: the next handler starts when the one
    /// before has finished, however long this takes.
    ///
    /// Events that arrive meanwhile are queued. A socket with too many queued events is closed.
    pub fn one_at_a_time(&self) -> Self {
        self.change(|table| table.one_at_a_time = true)
    }

    /// Limits how fast a client may send in this namespace, instead of
    /// [`Config::socket_rate`](crate::Config::socket_rate). It counts for sockets that are let in
    /// later. A client that leaves the namespace and joins it again has the tokens that it had
    /// before. [`Config::session_rate`](crate::Config::session_rate) counts, too.
    ///
    /// ```
    /// # use sio_app::{Excess, Io, RateLimit};
    /// # fn register(io: &Io) {
    /// io.of("/chat").rate(RateLimit::NONE.events(5, 20).bytes(10_000, 100_000));
    /// io.of("/admin").rate(RateLimit::NONE.events(50, 200).excess(Excess::Disconnect));
    /// # }
    /// ```
    ///
    /// A limit that makes no sense is a mistake, and the server does not start
    /// ([`Io::check`](crate::Io::check)).
    pub fn rate(&self, limit: RateLimit) -> Self {
        if let Err(error) = limit.validate("rate") {
            self.io.note_mistake(RegisterError::Rate(error));
            return self.clone();
        }
        if !limit.is_none() {
            self.io.shards.cells.iter().for_each(|cell| cell.loads().set_measures());
        }
        self.change(|table| table.rate = Some(limit))
    }

    /// Returns the namespace's name, or `None` if the handle means many namespaces
    /// ([`Io::of_pattern`](crate::Io::of_pattern), [`Io::of_fn`](crate::Io::of_fn)).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.whom {
            Whom::Named(name) => Some(name),
            Whom::Ruled(_) => None,
        }
    }

    /// Starts a choice with all sockets of the namespace. If the handle means many namespaces,
    /// these are all sockets of all namespaces into which its pattern or function has let a client.
    /// The call does not create a namespace.
    pub fn all(&self) -> Emitter {
        match &self.whom {
            Whom::Named(name) => Emitter::new(self.io.application(), name.clone()),
            Whom::Ruled(behaviour) => Emitter::to_many(self.io.application(), behaviour.names()),
        }
    }

    /// Sends an event to all sockets of the namespace.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Sent {
        self.all().emit(event, args)
    }

    /// Sends a message without a name to all sockets of the namespace.
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

    /// Says what becomes of an event for clients that do not take it at once; see [`Policy`].
    pub fn policy(&self, policy: Policy) -> Emitter {
        self.all().policy(policy)
    }

    /// Chooses sockets of this node only.
    pub fn local(&self) -> Emitter {
        self.all().local()
    }

    /// Sets how long acknowledgements may take: `namespace.timeout(limit).emit_with_ack(…)` asks
    /// all sockets.
    pub fn timeout(&self, timeout: Duration) -> TimedEmitter {
        self.all().timeout(timeout)
    }

    /// Returns all sockets of the namespace.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.all().sockets()
    }
}

fn seeing(handler: impl Fn(&Socket, &str, &RawArgs) + Send + Sync + 'static) -> AnyFn {
    Arc::new(move |socket: &Arc<SocketCell>, event: &str, args: &RawArgs| {
        handler(&Socket(Arc::clone(socket)), event, args);
    })
}

fn seeing_outgoing(handler: impl Fn(Option<&Socket>, &str, &RawArgs) + Send + Sync + 'static) -> OutgoingFn {
    Arc::new(move |to: Option<&Arc<SocketCell>>, event: &str, args: &RawArgs| {
        let socket = to.map(|socket| Socket(Arc::clone(socket)));
        handler(socket.as_ref(), event, args);
    })
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
