//! What a turn does outside all locks: it runs the user's code, and nothing else does.
//!
//! User code may panic, return errors, take its time or wait. A panic ends the socket it was for
//! and no other; in a middleware it refuses it. A future is polled in place first; only one that
//! has to wait becomes a task.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytestring::ByteString;
use sio_proto::SessionKey;
use sio_proto::server::{AckError, EngineMessage, Handshake, Reason, Stranger};
use sio_proto::socket::Args;

use crate::args::{RawArgs, detached, detached_text, small};
use crate::error::HandlerError;
use crate::lock;
use crate::turn::entry::Entry;
use crate::turn::mailbox::{Mail, Next, args_bytes};
use crate::turn::shard::{Named, ShardCell};
use crate::turn::{self, Turn, new_owner};
use crate::user::engine::EngineSocket;
use crate::user::handler::{Call, HandlerFuture, Started, StartedMiddleware};
use crate::user::io::Inner;
use crate::user::middleware::Refusal;
use crate::user::registry::Table;
use crate::user::socket::{Socket, SocketInner};

pub(crate) enum Work {
    Connect(Arc<SocketInner>),
    Mail(Arc<SocketInner>, Mail),
    Ack(Arc<SocketInner>, u64, Result<Args, AckError>),
    EngineOpen(Arc<ShardCell>, SessionKey, Arc<Handshake>),
    EngineMessage(Arc<ShardCell>, SessionKey, EngineMessage),
    EngineClose(Arc<ShardCell>, SessionKey, Reason),
    Stranger(Arc<ShardCell>, Box<Stranger>),
    /// A CONNECT that has waited for others of its session.
    Decide(Arc<SocketInner>),
    /// A socket is gone: what has waited for its end hears of it, whoever is at work for it.
    Gone(Arc<SocketInner>),
    /// This may be the last of a socket, whose data is the user's.
    Release(Arc<SocketInner>),
}

/// Whether the mailbox is free for the next mail.
enum Then {
    Next,
    /// A future owns the mailbox and goes on with it.
    Parked,
}

impl Work {
    /// The same in memory of its own ([`Mail::detached`]).
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Mail(socket, mail) => Self::Mail(socket, mail.detached()),
            Self::Ack(socket, id, Ok(args)) => Self::Ack(socket, id, Ok(detached(args))),
            Self::EngineMessage(cell, session, EngineMessage::Text(text)) => {
                Self::EngineMessage(cell, session, EngineMessage::Text(detached_text(text)))
            }
            Self::EngineMessage(cell, session, EngineMessage::Binary(bytes)) => {
                Self::EngineMessage(cell, session, EngineMessage::Binary(small(bytes)))
            }
            other => other,
        }
    }

    /// Whether others may be at work before it. Raw sessions have no mailbox: what another turn has
    /// for the same session, such as its end, would be heard first.
    pub(crate) const fn may_be_left(&self) -> bool {
        !matches!(
            self,
            Self::EngineOpen(..) | Self::EngineMessage(..) | Self::EngineClose(..)
        )
    }

    /// What it keeps of what a peer has sent.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Mail(_, mail) => mail.bytes().unwrap_or(0),
                Self::Ack(_, _, Ok(args)) => args_bytes(args),
                Self::EngineMessage(_, _, message) => message.len(),
                _ => 0,
            }
    }

    pub(crate) fn perform(self, turn: &Turn) {
        match self {
            Self::Connect(socket) => {
                let then = connect(turn, &socket);
                work_off(turn, &socket, then);
            }
            Self::Mail(socket, mail) => {
                if let Some(mail) = socket.mailbox.begin(turn.owner(), mail, &socket.load) {
                    let then = deliver(&socket, mail);
                    work_off(turn, &socket, then);
                }
            }
            Self::Ack(socket, id, result) => socket.acknowledged(id, result),
            Self::EngineOpen(cell, session, handshake) => {
                with_engine(cell, session, |io, engine| io.engine().open(engine, &handshake));
            }
            Self::EngineMessage(cell, session, message) => {
                with_engine(cell, session, |io, engine| io.engine().message(engine, message));
            }
            Self::EngineClose(cell, session, reason) => {
                with_engine(cell, session, |io, engine| io.engine().close(engine, reason));
            }
            Self::Stranger(cell, stranger) => warn_of_stranger(&cell, &stranger),
            Self::Decide(socket) => {
                socket.mailbox.resume(turn.owner());
                let then = decide(turn, &socket, Deciding(Arc::clone(&socket)));
                work_off(turn, &socket, then);
            }
            Self::Gone(socket) => {
                socket.wake_mourners();
                if socket.load.withdraw(&socket) {
                    socket.mailbox.resume(turn.owner());
                    work_off(turn, &socket, Then::Next);
                }
            }
            Self::Release(socket) => drop(socket),
        }
    }
}

/// A request was refused for where it comes from. Whoever has just set the server up wants to know
/// which setting would let it in.
fn warn_of_stranger(cell: &ShardCell, stranger: &Stranger) {
    let Some(io) = cell.io.upgrade() else { return };
    let (origin, host) = (stranger.origin.as_deref(), stranger.host.as_deref());
    io.warnings.strangers.say((io.runtime.now)(), || {
        tracing::warn!(
            origin = origin.unwrap_or("(none)"),
            host = host.unwrap_or("(none)"),
            setting = stranger.why.setting(),
            why = stranger.why.explain(),
            "request refused for where it comes from"
        );
    });
}

/// One mail is done: the next ones that wait follow, until there is none or a future has to finish
/// first.
fn work_off(turn: &Turn, socket: &Arc<SocketInner>, mut then: Then) {
    while let Then::Next = then {
        match socket.mailbox.done(&socket.load) {
            Next::Mail(mail) => then = deliver(socket, mail),
            Next::Nothing => return,
            Next::Leave => return socket.leave(turn),
        }
    }
}

/// A future that owned the mailbox has come to its end: a turn goes on with it.
fn resume(socket: &Arc<SocketInner>, go_on: impl FnOnce(&Turn) -> Then) {
    turn::run(socket.runtime(), |turn| {
        socket.mailbox.resume(turn.owner());
        let then = go_on(turn);
        work_off(turn, socket, then);
    });
}

fn deliver(socket: &Arc<SocketInner>, mail: Mail) -> Then {
    let Some(table) = socket.table() else { return Then::Next };
    match mail {
        Mail::Event { .. } if socket.is_overrun() => Then::Next,
        Mail::Event { .. } if !socket.load.has_room() => {
            socket.overrun();
            Then::Next
        }
        Mail::Event { name, args, ack } => event(socket, table, &name, args, ack),
        Mail::Disconnect {
            reason,
            connected,
            rooms,
        } => disconnected(socket, table, reason, rooms, connected),
    }
}

fn disconnected(
    socket: &Arc<SocketInner>,
    table: &Table,
    reason: Reason,
    rooms: Vec<ByteString>,
    connected: bool,
) -> Then {
    tracing::debug!(
        socket = %Named(socket.key),
        namespace = &*socket.namespace,
        reason = reason.as_str(),
        "disconnected"
    );
    socket.drop_acks();
    if let Some(handler) = table.disconnecting.as_ref().filter(|_| connected) {
        socket.set_last_rooms(Some(rooms));
        let started = guarded(|| handler(Socket(Arc::clone(socket)), reason));
        socket.set_last_rooms(None);
        settle(socket, "disconnecting", 0, started, false);
    }
    if let Some(handler) = table.disconnect.as_ref().filter(|_| connected) {
        let started = guarded(|| handler(Socket(Arc::clone(socket)), reason));
        return settle(socket, "disconnect", 0, started, table.one_at_a_time);
    }
    Then::Next
}

fn event(socket: &Arc<SocketInner>, table: &Table, name: &str, mut args: Args, ack: Option<u64>) -> Then {
    if let Some(any) = &table.any {
        let raw = RawArgs(args);
        if let Err(panic) = guarded(|| any(&Socket(Arc::clone(socket)), name, &raw)) {
            return settle(socket, name, 0, Err(panic), false);
        }
        args = raw.0;
    }
    let Some(handler) = table.events.get(name) else {
        return Then::Next;
    };
    let _span =
        tracing::trace_span!("event", socket = %Named(socket.key), namespace = &*socket.namespace, name).entered();
    let bytes = args_bytes(&args);
    let call = Call {
        socket: Socket(Arc::clone(socket)),
        args,
        ack,
        keeps: false,
    };
    let started = guarded(|| handler(call));
    settle(socket, name, bytes, started, table.one_at_a_time)
}

/// A handler has been started, with arguments of so many bytes: what is there to do yet? If it
/// `parks`, nothing of the socket's begins before it has finished.
fn settle(
    socket: &Arc<SocketInner>,
    name: &str,
    bytes: usize,
    started: Result<Started, HandlerError>,
    parks: bool,
) -> Then {
    warn_if_slow(socket, name);
    match started {
        Ok(Started::Done(Ok(()))) => Then::Next,
        Ok(Started::Done(Err(error))) | Err(error) => {
            fail(socket, name, &error);
            Then::Next
        }
        Ok(Started::Waiting(future)) => {
            let (socket, name, guest) = (Arc::clone(socket), name.to_owned(), socket.guest(bytes));
            if parks {
                socket.mailbox.park(new_owner());
            }
            (socket.runtime().spawn)(Box::pin(async move {
                if let Err(error) = Guarded(future).await {
                    fail(&socket, &name, &error);
                }
                if parks {
                    resume(&socket, |_| Then::Next);
                }
                drop(guest);
            }));
            if parks { Then::Parked } else { Then::Next }
        }
    }
}

/// A handler, or a middleware, has given its thread back.
fn warn_if_slow(socket: &Arc<SocketInner>, event: &str) {
    if let Some(took) = turn::slow(socket.runtime()) {
        socket.cell.warn_of_slowness(&socket.namespace, event, took);
    }
}

/// A handler failed. Only a panic costs the socket its connection.
fn fail(socket: &Arc<SocketInner>, name: &str, error: &HandlerError) {
    report(socket, name, error);
    if matches!(error, HandlerError::Panicked(_)) {
        Socket(Arc::clone(socket)).disconnect();
    }
}

fn report(socket: &Arc<SocketInner>, name: &str, error: &HandlerError) {
    if let Some(io) = socket.io() {
        io.report(Some(&Socket(Arc::clone(socket))), name, error);
    }
}

/// What decides whether a socket may join has panicked: its client is refused, and hears of it as
/// of any refusal.
fn refusal_for(socket: &Arc<SocketInner>, panic: &HandlerError) -> Refusal {
    report(socket, "connect", panic);
    Refusal::internal()
}

/// A client asks to join a namespace.
fn connect(turn: &Turn, socket: &Arc<SocketInner>) -> Then {
    let Some(io) = socket.io() else { return Then::Next };
    if !socket.load.has_room() {
        socket.overrun();
        return Then::Next;
    }
    let handle = Socket(Arc::clone(socket));
    let table = match guarded(|| io.find_namespace(&handle)) {
        Ok(Some(table)) => table,
        Ok(None) => return refuse(turn, socket, &Refusal::new("Invalid namespace")),
        Err(panic) => return refuse(turn, socket, &refusal_for(socket, &panic)),
    };
    let table = socket.set_table(table);
    if table.middleware.is_empty() {
        return accept(turn, socket, table);
    }
    if !socket.load.may_decide(socket) {
        socket.mailbox.park(new_owner());
        return Then::Parked;
    }
    decide(turn, socket, Deciding(Arc::clone(socket)))
}

/// A middleware at work. When it is done, the next CONNECT of its session has its turn.
struct Deciding(Arc<SocketInner>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some(next) = self.0.load.decided() {
            // The runtime may be at its end, and drop all that waits.
            let _ = guarded(|| turn::act(self.0.runtime(), |turn| turn.add(Work::Decide(next))));
        }
    }
}

/// The middleware of its namespace decides about a socket.
fn decide(turn: &Turn, socket: &Arc<SocketInner>, deciding: Deciding) -> Then {
    if socket.is_gone() {
        return Then::Next;
    }
    let socket_ = Arc::clone(socket);
    let mut decision: Decision = Box::pin(async move { ask_all(&socket_).await });
    let polled = decision
        .as_mut()
        .poll(&mut Context::from_waker(std::task::Waker::noop()));
    warn_if_slow(socket, "middleware");
    match polled {
        Poll::Ready(decision) => decided(turn, socket, decision),
        Poll::Pending => {
            let guest = socket.guest(socket.auth_bytes());
            socket.mailbox.park(new_owner());
            let socket = Arc::clone(socket);
            (socket.runtime().spawn)(Box::pin(async move {
                let decision = decision.await;
                resume(&socket, |turn| {
                    let then = decided(turn, &socket, decision);
                    drop(deciding);
                    then
                });
                drop(guest);
            }));
            Then::Parked
        }
    }
}

fn decided(turn: &Turn, socket: &Arc<SocketInner>, decision: Result<(), Refusal>) -> Then {
    match (decision, socket.table()) {
        (Ok(()), Some(table)) => accept(turn, socket, table),
        (Ok(()), None) => Then::Next,
        (Err(refusal), _) => refuse(turn, socket, &refusal),
    }
}

type Decision = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// All middleware of the namespace, one after the other. A panic refuses.
async fn ask_all(socket: &Arc<SocketInner>) -> Result<(), Refusal> {
    let Some(table) = socket.table() else { return Ok(()) };
    for middleware in &table.middleware {
        let started = guarded(|| middleware(Socket(Arc::clone(socket))));
        let decision = match started {
            Ok(StartedMiddleware::Done(decision)) => Ok(decision),
            Ok(StartedMiddleware::Waiting(future)) => CatchUnwind(future).await,
            Err(panic) => Err(panic),
        };
        match decision {
            Ok(decision) => decision?,
            Err(panic) => return Err(refusal_for(socket, &panic)),
        }
    }
    Ok(())
}

fn accept(turn: &Turn, socket: &Arc<SocketInner>, table: &Table) -> Then {
    let (accepted, entry, failed) = socket.cell.input(turn, |state, now, out| {
        if !state.shard.accept(now, socket.key, out) {
            return (false, Entry::default(), None);
        }
        if let Some(names) = &table.names {
            names.enter(&socket.namespace);
        }
        let mut entry = socket.let_in(table);
        let joined = entry.rooms.iter().map(|room| state.shard.join(socket.key, room));
        let joined = joined.fold(Ok(()), Result::and);
        let messages = entry.messages.iter_mut();
        let sent = messages.map(|(message, ack)| state.shard.emit(now, socket.key, message, *ack));
        let failed = sent.fold(joined, Result::and).err();
        (true, entry, failed)
    });
    // Messages may hold bytes of the user's own.
    drop(entry);
    if !accepted {
        return Then::Next;
    }
    if let Some(error) = failed {
        Socket(Arc::clone(socket)).report("connect", error.into());
    }
    tracing::debug!(
        socket = %Named(socket.key),
        namespace = &*socket.namespace,
        generation = Socket(Arc::clone(socket)).generation().as_str(),
        "connected"
    );
    let Some(handler) = &table.connect else {
        return Then::Next;
    };
    let started = guarded(|| handler(Socket(Arc::clone(socket))));
    settle(socket, "connect", 0, started, table.one_at_a_time)
}

fn refuse(turn: &Turn, socket: &Arc<SocketInner>, refusal: &Refusal) -> Then {
    tracing::debug!(socket = %Named(socket.key), namespace = &*socket.namespace, "refused");
    socket.turn_away();
    socket.cell.input(turn, |state, now, out| {
        state.forget(socket.key);
        let (message, data) = (refusal.message(), refusal.data());
        state.shard.refuse(now, socket.key, message, data, out);
    });
    Then::Next
}

fn with_engine(cell: Arc<ShardCell>, session: SessionKey, act: impl FnOnce(&Inner, &EngineSocket)) {
    let Some(io) = cell.io.upgrade() else { return };
    let engine = EngineSocket { cell, session };
    if let Err(error) = guarded(|| act(&io, &engine)) {
        io.report(None, "engine", &error);
        engine.close();
    }
}

/// Runs user code; a panic becomes an error.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Result<R, HandlerError> {
    lock::assert_none_held();
    // What the code may have left half done is the user's own, and the socket it was for ends.
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| HandlerError::Panicked(panic_message(&*panic)))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// A future whose panics become errors.
struct CatchUnwind<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Future for CatchUnwind<T> {
    type Output = Result<T, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match guarded(|| self.0.as_mut().poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// The same for handlers, whose own errors are errors too.
struct Guarded(HandlerFuture);

impl Future for Guarded {
    type Output = Result<(), HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        guarded(|| self.0.as_mut().poll(cx)).unwrap_or_else(|panic| Poll::Ready(Err(panic)))
    }
}
