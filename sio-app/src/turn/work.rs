//! The work that a turn does outside of all locks. User code runs only here.
//!
//! User code may panic, return errors, take long or wait. A panic in a handler ends its own socket
//! and no other. A panic in a middleware refuses the socket. A future is first polled directly; it
//! becomes a task only if it has to wait.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytestring::ByteString;
use sio_proto::server::{AckError, Breach, ConnectionError, Reason, Stranger, TransportKind};
use sio_proto::socket::Args;

use crate::args::detached;
use crate::error::HandlerError;
use crate::guarded::{CatchUnwind, guarded};
use crate::turn::admit::{Admitted, Stopped, admit};
use crate::turn::application::{Application, EngineNews, refused};
use crate::turn::call::{Call, Ending, Failure, HandlerFuture, Started, StartedMiddleware};
use crate::turn::coming;
use crate::turn::credentials::{concerns, ended_meanwhile};
use crate::turn::events::{Events, event, hand_over};
use crate::turn::ids;
use crate::turn::mailbox::{Letter, Mail, Next, args_bytes};
use crate::turn::note::Named;
use crate::turn::raw_session::{self, RawSession};
use crate::turn::refusal::Refusal;
use crate::turn::room_news::{self, RoomEvent};
use crate::turn::shard::ShardCell;
use crate::turn::socket::SocketCell;
use crate::turn::table::{SocketFn, Table};
use crate::turn::{self, Turn, new_owner};

pub(crate) enum Work {
    Connect(Arc<SocketCell>),
    /// Events that have come together for one socket.
    Events(Arc<SocketCell>, Events),
    Mail(Arc<SocketCell>, Mail),
    Ack(Arc<SocketCell>, u64, Result<Args, AckError>),
    Engine(Arc<RawSession>, EngineNews),
    Upgraded(Arc<SocketCell>, TransportKind),
    ConnectionError(Arc<ShardCell>, Box<ConnectionError>),
    Stranger(Arc<ShardCell>, Box<Stranger>),
    /// A CONNECT that has waited for other CONNECTs of its session.
    Decide(Arc<SocketCell>),
    /// A socket is gone. This wakes the futures that wait for its end, even while another turn
    /// works for the socket.
    Gone(Arc<SocketCell>),
    /// An event of a room, for an application that wants such events.
    Room(Weak<dyn Application>, Box<RoomEvent>),
    /// This may be the last handle of a socket. The socket's data belongs to the user.
    Release(Arc<SocketCell>),
    ReleaseRaw(Arc<RawSession>),
}

/// What to do after a mail.
pub(super) enum Then {
    Next,
    /// Nothing: a future owns the mailbox, and continues with the next mail when it ends.
    Parked,
}

impl Work {
    /// Copies the work into memory of its own ([`Mail::detached`]).
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Events(socket, events) => Self::Events(socket, events.detached()),
            Self::Mail(socket, mail) => Self::Mail(socket, mail.detached()),
            Self::Ack(socket, id, Ok(args)) => Self::Ack(socket, id, Ok(detached(args))),
            Self::Engine(session, news) => Self::Engine(session, news.detached()),
            other => other,
        }
    }

    /// Returns how many bytes this work keeps, with the data from the peer.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Events(_, events) => events.bytes(),
                Self::Mail(_, mail) => mail.bytes().unwrap_or(0),
                Self::Ack(_, _, Ok(args)) => args_bytes(args),
                Self::Engine(_, news) => news.bytes().unwrap_or(0),
                _ => 0,
            }
    }

    pub(crate) fn perform(self, turn: &Turn) {
        match self {
            Self::Connect(socket) => {
                let then = connect(turn, &socket);
                work_off(turn, &socket, then);
            }
            Self::Events(socket, events) => events.perform(turn, socket),
            Self::Mail(socket, mail) => perform_mail(turn, &socket, mail),
            Self::Ack(socket, id, result) => socket.acknowledged(id, result),
            Self::Engine(session, news) => raw_session::tell(turn, &session, news),
            Self::Upgraded(socket, transport) => upgraded(&socket, transport),
            Self::ConnectionError(cell, error) => refused(&cell, &error),
            Self::Stranger(cell, stranger) => cell.warn_of_stranger(&stranger),
            Self::Decide(socket) => {
                socket.mailbox.resume(turn.owner());
                let then = decide(turn, &socket, Deciding(Arc::clone(&socket)));
                work_off(turn, &socket, then);
            }
            Self::Gone(socket) => {
                socket.note_end();
                if socket.load().withdraw(&socket) {
                    socket.mailbox.resume(turn.owner());
                    work_off(turn, &socket, Then::Next);
                }
            }
            Self::Room(application, event) => room_news::tell(&application, &event),
            Self::Release(socket) => drop(socket),
            Self::ReleaseRaw(session) => drop(session),
        }
    }
}

/// Handles a mail, unless another owner of the mailbox has to.
pub(super) fn perform_mail(turn: &Turn, socket: &Arc<SocketCell>, mail: Mail) {
    match socket.mailbox.begin(turn.owner(), mail, socket.load()) {
        Some(mail) => {
            let then = deliver(socket, mail);
            work_off(turn, socket, then);
        }
        None => turn.note_load(socket.load()),
    }
}

/// Called when a mail is done. Handles the next waiting mails, until there is none, or until a
/// future has to finish first.
pub(super) fn work_off(turn: &Turn, socket: &Arc<SocketCell>, mut then: Then) {
    while let Then::Next = then {
        match socket.mailbox.done(socket.load()) {
            Next::Mail(mail) => {
                socket.load().note_done();
                then = deliver(socket, mail);
            }
            Next::Nothing => return socket.wake_heir(),
            Next::Leave => {
                socket.wake_heir();
                return socket.leave(turn);
            }
        }
    }
}

/// Goes on with a mailbox in a turn, when the future that owned the mailbox has ended.
pub(super) fn resume(socket: &Arc<SocketCell>, go_on: impl FnOnce(&Turn) -> Then) {
    turn::run(socket.runtime(), |turn| {
        // Handlers run before the turn works. If one of them lets a connection read, the events
        // may be for a mailbox that waits for a future by then.
        turn.is_fresh.set(false);
        socket.mailbox.resume(turn.owner());
        let then = go_on(turn);
        work_off(turn, socket, then);
    });
}

fn deliver(socket: &Arc<SocketCell>, mail: Mail) -> Then {
    let Some(table) = socket.table() else {
        if let Mail::Disconnect { .. } = mail {
            socket.drop_own();
        }
        return Then::Next;
    };
    match mail {
        Mail::Event { name, args, ack } => {
            let bytes = name.len() + args_bytes(&args);
            hand_over(socket, || bytes, || event(socket, table, name, args, ack))
        }
        Mail::Disconnect {
            reason,
            breach,
            connected,
            rooms,
        } => disconnected(socket, table, &Ending { reason, breach }, rooms, connected),
    }
}

fn disconnected(
    socket: &Arc<SocketCell>,
    table: &Table,
    ending: &Ending,
    rooms: Vec<ByteString>,
    connected: bool,
) -> Then {
    tracing::debug!(
        socket = %Named(socket.key),
        namespace = &**socket.namespace(),
        reason = ending.reason.as_str(),
        why = ending.breach.as_ref().map(Breach::text),
        "disconnected"
    );
    socket.drop_acks();
    let mut then = Then::Next;
    if connected && !socket.is_unmet() {
        if !table.disconnecting.is_empty() {
            socket.set_last_rooms(Some(rooms));
            socket_handlers(socket, "disconnecting", &table.disconnecting, Some(ending), false);
            socket.set_last_rooms(None);
        }
        then = socket_handlers(
            socket,
            "disconnect",
            &table.disconnect,
            Some(ending),
            table.one_at_a_time,
        );
    }
    socket.drop_own();
    then
}

/// Starts the handlers of a connection, or of the end of a connection.
fn socket_handlers(
    socket: &Arc<SocketCell>,
    name: &'static str,
    handlers: &[SocketFn],
    end: Option<&Ending>,
    parks: bool,
) -> Then {
    let call = move |socket: &Arc<SocketCell>, handler: &SocketFn, end: Option<&Ending>| {
        handler(&Call::bare(socket, name, end))
    };
    if let [handler] = handlers {
        let started = guarded(|| call(socket, handler, end));
        return settle(socket, name, 0, started, parks);
    }
    let jobs = handlers.iter().map(|handler| {
        let (socket, handler, end) = (Arc::clone(socket), SocketFn::clone(handler), end.cloned());
        Box::new(move || call(&socket, &handler, end.as_ref())) as Job
    });
    several(socket, name, 0, jobs.collect(), parks)
}

/// One of several handlers, with the values that it is called with.
pub(super) type Job = Box<dyn FnOnce() -> Started + Send>;

/// Starts several handlers, in their order. With `parks`, a handler starts only when the handler
/// before it has finished.
pub(super) fn several(
    socket: &Arc<SocketCell>,
    name: &str,
    bytes: usize,
    mut jobs: VecDeque<Job>,
    parks: bool,
) -> Then {
    while let Some(job) = jobs.pop_front() {
        let first = match guarded(job) {
            Ok(Started::Waiting(future)) if parks && !jobs.is_empty() => future,
            started => {
                if let Then::Parked = settle(socket, name, bytes, started, parks) {
                    return Then::Parked;
                }
                continue;
            }
        };
        warn_if_slow(socket, name);
        let (socket, name, guest) = (Arc::clone(socket), name.to_owned(), socket.guest(bytes));
        socket.mailbox.park(new_owner());
        (socket.runtime().spawn)(Box::pin(async move {
            finish(&socket, &name, first).await;
            for job in jobs {
                match guarded(job) {
                    Ok(Started::Waiting(future)) => finish(&socket, &name, future).await,
                    started => drop(settle(&socket, &name, bytes, started, false)),
                }
            }
            resume(&socket, |_| Then::Next);
            drop(guest);
        }));
        return Then::Parked;
    }
    Then::Next
}

/// Runs a waiting handler to its end, and reports its error.
async fn finish(socket: &Arc<SocketCell>, name: &str, future: HandlerFuture) {
    match CatchUnwind(future).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => fail(socket, name, *failure),
        Err(panic) => fail(socket, name, *Failure::panicked(panic)),
    }
}

/// Handles what a started handler has returned. `bytes` is the size of its arguments. With `parks`,
/// no other handler of the socket starts until this handler has finished.
pub(super) fn settle(
    socket: &Arc<SocketCell>,
    name: &str,
    bytes: usize,
    started: Result<Started, HandlerError>,
    parks: bool,
) -> Then {
    warn_if_slow(socket, name);
    match started {
        Ok(Started::Done(Ok(()))) => Then::Next,
        Ok(Started::Done(Err(failure))) => {
            fail(socket, name, *failure);
            Then::Next
        }
        Err(panic) => {
            fail(socket, name, *Failure::panicked(panic));
            Then::Next
        }
        Ok(Started::Waiting(future)) => {
            let (socket, name, guest) = (Arc::clone(socket), name.to_owned(), socket.guest(bytes));
            if parks {
                socket.mailbox.park(new_owner());
            }
            (socket.runtime().spawn)(Box::pin(async move {
                finish(&socket, &name, future).await;
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
        // A client chooses the names of events that no handler is for.
        let is_ours = event == "middleware" || socket.table().is_none_or(|table| table.knows(event));
        let event = if is_ours { event } else { "(any)" };
        socket.cell.warn_of_slowness(socket.namespace(), event, took);
    }
}

/// Reports that a handler failed, and tells a client that waits for an acknowledgement. Only a
/// panic disconnects the socket.
pub(super) fn fail(socket: &Arc<SocketCell>, name: &str, failure: Failure) {
    let panicked = matches!(failure.error, HandlerError::Panicked(_));
    if let Some(application) = socket.application() {
        application.failed(socket, name, failure);
    }
    if panicked {
        socket.disconnect(false);
    }
}

pub(super) fn report(socket: &Arc<SocketCell>, name: &str, error: &HandlerError) {
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
    if !socket.load().has_room() {
        socket.overrun();
        return Then::Next;
    }
    let table = match guarded(|| application.table(socket)) {
        Ok(Some(table)) => table,
        Ok(None) => return refuse(turn, socket, &Refusal::new("Invalid namespace")),
        Err(panic) => return refuse(turn, socket, &refusal_for(socket, &panic)),
    };
    let table = socket.set_table(table);
    #[cfg(feature = "redis")]
    if let Some(bringing) = application.bring_back(socket, table) {
        return coming::wait_for_record(socket, bringing);
    }
    coming::enter(turn, socket, table, None)
}

/// Lets the middlewares decide about a socket, if there are some.
pub(super) fn ask(turn: &Turn, socket: &Arc<SocketCell>, table: &Table) -> Then {
    if table.middleware.is_empty() {
        return accept(turn, socket, table);
    }
    if !socket.load().may_decide(socket) {
        return Then::Parked;
    }
    decide(turn, socket, Deciding(Arc::clone(socket)))
}

/// A running middleware. When it is done, the next CONNECT of the session is handled.
struct Deciding(Arc<SocketCell>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some(next) = self.0.load().decided() {
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
        let started = guarded(|| middleware(&Call::bare(socket, "connect", None)));
        let decision = match started {
            Ok(Ok(StartedMiddleware::Done(decision))) => Ok(decision),
            Ok(Ok(StartedMiddleware::Waiting(future))) => CatchUnwind(future).await,
            Ok(Err(not_called)) => {
                let (error, refusal) = not_called.into_refusal();
                report(socket, "connect", &error);
                Ok(Err(refusal))
            }
            Err(panic) => Err(panic),
        };
        match decision {
            Ok(decision) => decision?,
            Err(panic) => return Err(refusal_for(socket, &panic)),
        }
    }
    Ok(())
}

pub(super) fn accept(turn: &Turn, socket: &Arc<SocketCell>, table: &Table) -> Then {
    if let Some(refusal) = ended_meanwhile(socket, &socket.take_doubts()) {
        return refuse(turn, socket, &refusal);
    }
    if let Err(refusal) = ids::name(socket) {
        return refuse(turn, socket, &refusal);
    }
    let Admitted {
        accepted,
        stopped,
        begins,
        entry,
        failed,
        before,
    } = admit(turn, socket, table);
    match stopped {
        None => {}
        Some(Stopped::Ended) => return refuse(turn, socket, &Refusal::new(Reason::CredentialsRevoked.as_str())),
        Some(Stopped::Undecided) => return ask(turn, socket, table),
        Some(Stopped::Unnamed) => return accept(turn, socket, table),
    }
    let is_revoked = concerns(socket, &entry.doubts);
    drop(entry);
    if !accepted {
        // A socket with a record has given its id back with the record.
        if socket.record().is_none() {
            socket.cell.recovery.ended(socket);
        }
        return Then::Next;
    }
    if let Some(error) = failed {
        report(socket, "connect", &HandlerError::Emit(error.into()));
    }
    tracing::debug!(
        socket = %Named(socket.key),
        namespace = &**socket.namespace(),
        generation = socket.form.generation().as_str(),
        "connected"
    );
    if let Some(old) = before.filter(|old| !old.mailbox.is_idle()) {
        return wait_for(socket, old, begins, is_revoked);
    }
    begin(socket, table, begins, is_revoked)
}

/// Begins with a socket when the socket that its client had before has nothing under way, so that
/// the events of the client are handled in order.
fn wait_for(socket: &Arc<SocketCell>, old: Arc<SocketCell>, begins: bool, is_revoked: bool) -> Then {
    let guest = socket.guest(socket.auth_bytes());
    socket.mailbox.park(new_owner());
    let socket = Arc::clone(socket);
    (socket.runtime().spawn)(Box::pin(async move {
        poll_fn(|cx| old.poll_idle(cx)).await;
        drop(old);
        resume(&socket, |_| match socket.table() {
            Some(table) => begin(&socket, table, begins, is_revoked),
            None => Then::Next,
        });
        drop(guest);
    }));
    Then::Parked
}

/// Calls the connect handlers of a socket that has been let in.
fn begin(socket: &Arc<SocketCell>, table: &Table, begins: bool, is_revoked: bool) -> Then {
    if begins
        && let Some(application) = socket.application()
        && let Err(panic) = guarded(|| application.namespace_begins(socket))
    {
        report(socket, "namespace", &panic);
    }
    if is_revoked {
        // The revocation came at the last moment. No handler gets to know the socket.
        socket.set_unmet();
        socket.dismiss_for(Reason::CredentialsRevoked);
        return Then::Next;
    }
    socket.tell_change();
    socket_handlers(socket, "connect", &table.connect, None, table.one_at_a_time)
}

fn refuse(turn: &Turn, socket: &Arc<SocketCell>, refusal: &Refusal) -> Then {
    tracing::debug!(socket = %Named(socket.key), namespace = &**socket.namespace(), "refused");
    socket.cell.recovery.ids.release(socket);
    socket.turn_away();
    socket.cell.input("refuse", turn, |state, now, out| {
        state.forget(socket.key);
        let (message, data) = (refusal.message(), refusal.data());
        state.shard.refuse(now, socket.key, message, data, out);
    });
    Then::Next
}

/// Tells the user that the session of a socket has another transport. A panic in the user's code
/// ends the socket.
fn upgraded(socket: &Arc<SocketCell>, transport: TransportKind) {
    // A socket that is not let in is nobody's yet. Its connect handler can ask for the transport.
    let Some(application) = socket.application().filter(|_| socket.is_connected()) else {
        return;
    };
    if let Err(error) = guarded(|| application.upgraded(Arc::clone(socket), transport)) {
        fail(socket, "upgrade", *Failure::panicked(error));
    }
}
