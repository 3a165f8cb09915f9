//! The work that a turn does outside of all locks. User code runs only here.
//!
//! User code may panic, return errors, take long or wait. A panic in a handler ends its own socket
//! and no other. A panic in a middleware refuses the socket. A future is first polled directly; it
//! becomes a task only if it has to wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytestring::ByteString;
use sio_proto::SessionKey;
use sio_proto::server::{AckError, EngineMessage, Reason, Stranger};
use sio_proto::socket::Args;

use crate::args::{RawArgs, detached, detached_text, small};
use crate::error::HandlerError;
use crate::guarded::{CatchUnwind, Guarded, guarded};
use crate::turn::application::EngineNews;
use crate::turn::entry::Entry;
use crate::turn::mailbox::{Mail, Next, args_bytes};
use crate::turn::refusal::Refusal;
use crate::turn::shard::{Named, ShardCell};
use crate::turn::socket::SocketCell;
use crate::turn::table::{Call, Started, StartedMiddleware, Table};
use crate::turn::{self, Turn, new_owner};

pub(crate) enum Work {
    Connect(Arc<SocketCell>),
    Mail(Arc<SocketCell>, Mail),
    Ack(Arc<SocketCell>, u64, Result<Args, AckError>),
    Engine(Arc<ShardCell>, SessionKey, EngineNews),
    Stranger(Arc<ShardCell>, Box<Stranger>),
    /// A CONNECT that has waited for other CONNECTs of its session.
    Decide(Arc<SocketCell>),
    /// A socket is gone. The futures that have waited for its end are woken, whoever works for the
    /// socket.
    Gone(Arc<SocketCell>),
    /// This may be the last handle of a socket. The socket's data belongs to the user.
    Release(Arc<SocketCell>),
}

/// What follows a mail: the mailbox may be free for the next one.
enum Then {
    Next,
    /// A future owns the mailbox and goes on with it.
    Parked,
}

impl Work {
    /// Copies the work into memory of its own ([`Mail::detached`]).
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Mail(socket, mail) => Self::Mail(socket, mail.detached()),
            Self::Ack(socket, id, Ok(args)) => Self::Ack(socket, id, Ok(detached(args))),
            Self::Engine(cell, session, EngineNews::Message(message)) => {
                let message = match message {
                    EngineMessage::Text(text) => EngineMessage::Text(detached_text(text)),
                    EngineMessage::Binary(bytes) => EngineMessage::Binary(small(bytes)),
                };
                Self::Engine(cell, session, EngineNews::Message(message))
            }
            other => other,
        }
    }

    /// Whether other turns may work before it. Raw sessions have no mailbox: if another turn had
    /// something for the same session, for example its end, this would be handled first.
    pub(crate) const fn may_be_left(&self) -> bool {
        !matches!(self, Self::Engine(..))
    }

    /// Returns how many bytes of a peer's data it keeps.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Mail(_, mail) => mail.bytes().unwrap_or(0),
                Self::Ack(_, _, Ok(args)) => args_bytes(args),
                Self::Engine(_, _, EngineNews::Message(message)) => message.len(),
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
            Self::Engine(cell, session, news) => engine(&cell, session, news),
            Self::Stranger(cell, stranger) => cell.warn_of_stranger(&stranger),
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

/// Called when a mail is done. Handles the next waiting mails, until there is none, or until a
/// future has to finish first.
fn work_off(turn: &Turn, socket: &Arc<SocketCell>, mut then: Then) {
    while let Then::Next = then {
        match socket.mailbox.done(&socket.load) {
            Next::Mail(mail) => then = deliver(socket, mail),
            Next::Nothing => return,
            Next::Leave => return socket.leave(turn),
        }
    }
}

/// Goes on with a mailbox in a turn, when the future that owned the mailbox has ended.
fn resume(socket: &Arc<SocketCell>, go_on: impl FnOnce(&Turn) -> Then) {
    turn::run(socket.runtime(), |turn| {
        socket.mailbox.resume(turn.owner());
        let then = go_on(turn);
        work_off(turn, socket, then);
    });
}

fn deliver(socket: &Arc<SocketCell>, mail: Mail) -> Then {
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
    socket: &Arc<SocketCell>,
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
        let started = guarded(|| handler(Arc::clone(socket), reason));
        socket.set_last_rooms(None);
        settle(socket, "disconnecting", 0, started, false);
    }
    if let Some(handler) = table.disconnect.as_ref().filter(|_| connected) {
        let started = guarded(|| handler(Arc::clone(socket), reason));
        return settle(socket, "disconnect", 0, started, table.one_at_a_time);
    }
    Then::Next
}

fn event(socket: &Arc<SocketCell>, table: &Table, name: &str, mut args: Args, ack: Option<u64>) -> Then {
    if let Some(any) = &table.any {
        let raw = RawArgs(args);
        if let Err(panic) = guarded(|| any(socket, name, &raw)) {
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
        socket: Arc::clone(socket),
        args,
        ack,
        keeps: false,
    };
    let started = guarded(|| handler(call));
    settle(socket, name, bytes, started, table.one_at_a_time)
}

/// Finishes a handler that has been started with arguments of `bytes` bytes. If it `parks`, nothing
/// else of the socket begins before it has finished.
fn settle(
    socket: &Arc<SocketCell>,
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

/// Warns if a handler or a middleware has kept its thread for too long. Called when it returns or
/// waits.
fn warn_if_slow(socket: &Arc<SocketCell>, event: &str) {
    if let Some(took) = turn::slow(socket.runtime()) {
        socket.cell.warn_of_slowness(&socket.namespace, event, took);
    }
}

/// Reports that a handler failed. Only a panic disconnects the socket.
fn fail(socket: &Arc<SocketCell>, name: &str, error: &HandlerError) {
    report(socket, name, error);
    if matches!(error, HandlerError::Panicked(_)) {
        socket.disconnect(false);
    }
}

fn report(socket: &Arc<SocketCell>, name: &str, error: &HandlerError) {
    if let Some(application) = socket.application() {
        application.report(Some(socket), name, error);
    }
}

/// Returns the refusal for a middleware or a rule that has panicked. The client gets it like any
/// other refusal.
fn refusal_for(socket: &Arc<SocketCell>, panic: &HandlerError) -> Refusal {
    report(socket, "connect", panic);
    Refusal::internal()
}

/// Handles a client that asks to join a namespace.
fn connect(turn: &Turn, socket: &Arc<SocketCell>) -> Then {
    let Some(application) = socket.application() else {
        return Then::Next;
    };
    if !socket.load.has_room() {
        socket.overrun();
        return Then::Next;
    }
    let table = match guarded(|| application.table(socket)) {
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

/// A running middleware. When it is done, the next CONNECT of its session has its turn.
struct Deciding(Arc<SocketCell>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some(next) = self.0.load.decided() {
            // The runtime may be at its end and drop all waiting futures.
            let _ = guarded(|| turn::act(self.0.runtime(), |turn| turn.add(Work::Decide(next))));
        }
    }
}

/// Lets the middlewares of the namespace decide about a socket.
fn decide(turn: &Turn, socket: &Arc<SocketCell>, deciding: Deciding) -> Then {
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

fn decided(turn: &Turn, socket: &Arc<SocketCell>, decision: Result<(), Refusal>) -> Then {
    match (decision, socket.table()) {
        (Ok(()), Some(table)) => accept(turn, socket, table),
        (Ok(()), None) => Then::Next,
        (Err(refusal), _) => refuse(turn, socket, &refusal),
    }
}

type Decision = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// Asks all middlewares of the namespace, one after the other. A panic is a refusal.
async fn ask_all(socket: &Arc<SocketCell>) -> Result<(), Refusal> {
    let Some(table) = socket.table() else { return Ok(()) };
    for middleware in &table.middleware {
        let started = guarded(|| middleware(Arc::clone(socket)));
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

fn accept(turn: &Turn, socket: &Arc<SocketCell>, table: &Table) -> Then {
    let (accepted, entry, failed) = socket.cell.input("accept", turn, |state, now, out| {
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
    // Messages may contain bytes of the user, which must not be dropped under a lock.
    drop(entry);
    if !accepted {
        return Then::Next;
    }
    if let Some(error) = failed {
        report(socket, "connect", &HandlerError::Emit(error.into()));
    }
    tracing::debug!(
        socket = %Named(socket.key),
        namespace = &*socket.namespace,
        generation = socket.form.generation().as_str(),
        "connected"
    );
    let Some(handler) = &table.connect else {
        return Then::Next;
    };
    let started = guarded(|| handler(Arc::clone(socket)));
    settle(socket, "connect", 0, started, table.one_at_a_time)
}

fn refuse(turn: &Turn, socket: &Arc<SocketCell>, refusal: &Refusal) -> Then {
    tracing::debug!(socket = %Named(socket.key), namespace = &*socket.namespace, "refused");
    socket.turn_away();
    socket.cell.input("refuse", turn, |state, now, out| {
        state.forget(socket.key);
        let (message, data) = (refusal.message(), refusal.data());
        state.shard.refuse(now, socket.key, message, data, out);
    });
    Then::Next
}

/// Something has happened to a raw session. A panic of the user's ends it.
fn engine(cell: &Arc<ShardCell>, session: SessionKey, news: EngineNews) {
    let Some(application) = cell.application.upgrade() else {
        return;
    };
    if let Err(error) = guarded(|| application.engine(Arc::clone(cell), session, news)) {
        application.report(None, "engine", &error);
        cell.close_engine(session);
    }
}
