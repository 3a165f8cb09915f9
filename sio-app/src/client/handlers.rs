//! The handlers of one namespace of a client, and their calls.
//!
//! Handlers are called by the client's task, in the order of the events, under no lock. A handler
//! that has to wait goes on as a task of its own, beside later events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::client::{AckTicket, ClientError, DisconnectReason, Recovery};
use sio_proto::socket::Args;

use super::ack::{Ack, Question};
use super::events::{ENTRY_BYTES, Event};
use super::handle::Client;
use super::shared::{Place, Shared};
use super::socket::Socket;
use crate::args::{RawArgs, detached};
use crate::error::HandlerError;
use crate::guarded::{CatchUnwind, guarded};
use crate::lock::Mutex;
use crate::turn::call::{Call, Failure, NotCalled, Side, Started};
use crate::turn::refusal::Refusal;
use crate::user::handler::Told;
use crate::user::handler::{BehindArgs, EndPart, Extract, Last, Needs};
use crate::user::handler::{Free, ViaAck, ViaEnd, ViaExtract};

/// The handlers of a client.
#[derive(Debug)]
pub struct ClientSide;

impl Side for ClientSide {
    type Socket = Socket;
    type Question = Question;
    type End = Ending;

    fn state<T: Send + Sync + 'static>(socket: &Socket) -> Option<&T> {
        socket.shared().states.get()
    }

    fn answer<A: Serialize>(socket: &Socket, question: Question, args: &A) {
        question.answer(socket, args);
    }
}

/// Why a namespace is not connected.
pub enum Ending {
    /// It was connected before.
    Disconnected(DisconnectReason),
    /// It could not connect.
    Failed(ClientError),
}

pub(super) type EventFn = Arc<dyn Fn(Call<'_, ClientSide>) -> Started<ClientSide> + Send + Sync>;
pub(super) type SocketFn = Arc<dyn Fn(&Call<'_, ClientSide>) -> Started<ClientSide> + Send + Sync>;
pub(super) type AnyFn = Arc<dyn Fn(&Socket, &str, &RawArgs) + Send + Sync>;

/// A handler of an event.
#[derive(Clone)]
pub(super) struct OfEvent {
    pub(super) handler: EventFn,
    /// Set for a handler of one event only: whether it has been called.
    pub(super) once: Option<Arc<AtomicBool>>,
}

impl OfEvent {
    fn may_run(&self) -> bool {
        self.once
            .as_ref()
            .is_none_or(|called| !called.swap(true, Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        self.once.as_ref().is_some_and(|called| called.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) events: HashMap<Box<str>, Vec<OfEvent>>,
    pub(super) any: Vec<AnyFn>,
    pub(super) connect: Vec<SocketFn>,
    pub(super) connect_error: Vec<SocketFn>,
    pub(super) disconnect: Vec<SocketFn>,
}

/// The table is replaced as a whole, so that it is read without a lock. Handlers belong to the
/// user: none is called or dropped under a lock.
#[derive(Default)]
pub(super) struct Handlers {
    table: Mutex<Arc<Table>>,
    /// Allows only one change at a time.
    changing: Mutex<()>,
}

impl Handlers {
    pub(super) fn change(&self, change: impl FnOnce(&mut Table)) {
        let old = {
            let _changing = self.changing.lock();
            let old = self.table();
            let mut new = Table::clone(&old);
            // The removed handlers stay in the old table until no lock is held.
            change(&mut new);
            let before = std::mem::replace(&mut *self.table.lock(), Arc::new(new));
            (old, before)
        };
        drop(old);
    }

    /// Whether there is a handler of this event.
    pub(super) fn knows(&self, event: &str) -> bool {
        self.table().events.contains_key(event)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock())
    }
}

/// What has happened to a namespace.
pub(super) enum News {
    /// With the id of the connection, and whether it goes on from the one before.
    Connected(ByteString, Recovery),
    Failed(ClientError),
    Disconnected(DisconnectReason),
    Event {
        name: ByteString,
        args: Args,
        ack: Option<AckTicket>,
    },
}

impl News {
    /// What the news count while they wait.
    pub(super) fn bytes(&self) -> usize {
        let own = match self {
            Self::Event { name, args, .. } => name.len() + args.bytes(),
            Self::Failed(error) => error.message.len() + error.data.as_ref().map_or(0, |data| data.len()),
            Self::Connected(sid, _) => sid.len(),
            Self::Disconnected(_) => 0,
        };
        own + ENTRY_BYTES
    }

    /// Copies what shares the buffer that it was read into.
    pub(super) fn detach(&mut self) {
        if let Self::Event { name, args, .. } = self {
            *name = ByteString::from(&**name);
            *args = detached(std::mem::take(args));
        }
    }
}

/// Tells the handlers and streams of a namespace.
pub(super) fn tell(shared: &Arc<Shared>, place: &Arc<Place>, news: News) {
    // Without handles the client is closing.
    let Some(socket) = shared.socket(place) else { return };
    let table = place.handlers.table();
    match news {
        News::Connected(..) => call_all(&socket, "connect", &table.connect, None),
        News::Failed(error) => {
            let end = Ending::Failed(error);
            call_all(&socket, "connect_error", &table.connect_error, Some(&end));
        }
        News::Disconnected(reason) => {
            let end = Ending::Disconnected(reason);
            call_all(&socket, "disconnect", &table.disconnect, Some(&end));
        }
        News::Event { name, args, ack } => event(&socket, &table, name, args, ack),
    }
}

fn call_all(socket: &Socket, name: &str, handlers: &[SocketFn], end: Option<&Ending>) {
    for handler in handlers {
        let started = guarded(|| handler(&Call::bare(socket, name, end)));
        settle(socket, name, started);
    }
}

fn event(socket: &Socket, table: &Table, name: ByteString, args: Args, ack: Option<AckTicket>) {
    let args = RawArgs(args);
    let question = ack.map(Question::new);
    for any in &table.any {
        if let Err(panic) = guarded(|| any(socket, &name, &args)) {
            settle(socket, &name, Err(panic));
        }
    }
    let mut is_over = false;
    for of_event in table.events.get(&*name).into_iter().flatten() {
        if !of_event.may_run() {
            continue;
        }
        is_over |= of_event.is_over();
        let call = Call::new(socket, &name, args.0.clone(), question.clone());
        let started = guarded(|| (of_event.handler)(call));
        settle(socket, &name, started);
    }
    if is_over {
        socket.place().handlers.change(|table| {
            if let Some(of_event) = table.events.get_mut(&*name) {
                of_event.retain(|handler| !handler.is_over());
            }
        });
    }
    let inboxes = socket.place().inboxes();
    if inboxes.is_empty() {
        return;
    }
    // An event may wait here for long. It must not keep the buffer that it was read into.
    let args = RawArgs(detached(args.0));
    for inbox in inboxes {
        inbox.push(Event {
            name: ByteString::from(&*name),
            args: args.clone(),
            ack: Ack::new(socket, question.clone()),
        });
    }
}

/// Counts a handler that waits, for as long as it lives.
struct Busy(Socket);

impl Busy {
    fn new(socket: &Socket) -> Self {
        socket.shared().waiting_handlers.fetch_add(1, Ordering::Relaxed);
        Self(socket.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let shared = self.0.shared();
        let before = shared.waiting_handlers.fetch_sub(1, Ordering::Relaxed);
        if before >= shared.max_waiting_handlers {
            shared.wake();
        }
    }
}

fn settle(socket: &Socket, name: &str, started: Result<Started<ClientSide>, HandlerError>) {
    match started {
        Ok(Started::Done(Ok(()))) => {}
        Ok(Started::Done(Err(failure))) => fail(socket, name, *failure),
        Err(panic) => fail(socket, name, *Failure::panicked(panic)),
        Ok(Started::Waiting(future)) => {
            let (busy, name) = (Busy::new(socket), name.to_owned());
            let spawn = socket.shared().network.runtime.spawn;
            spawn(Box::pin(async move {
                match CatchUnwind(future).await {
                    Ok(Ok(())) => {}
                    Ok(Err(failure)) => fail(&busy.0, &name, *failure),
                    Err(panic) => fail(&busy.0, &name, *Failure::panicked(panic)),
                }
            }));
        }
    }
}

/// Reports that a handler failed, and tells a server that waits for an acknowledgement. The
/// connection goes on, also after a panic.
fn fail(socket: &Socket, name: &str, failure: Failure<ClientSide>) {
    let Failure { error, words, owed } = failure;
    socket.shared().report(socket.place(), name, &error);
    if let Some(owed) = owed {
        owed.send(&Told(words.unwrap_or_else(Refusal::internal)));
    }
}

impl Extract<ClientSide> for Socket {
    type Error = Infallible;

    fn extract(call: &Call<'_, ClientSide>) -> Result<Self, Infallible> {
        Ok(call.socket.clone())
    }
}

impl Extract<ClientSide> for Client {
    type Error = Infallible;

    fn extract(call: &Call<'_, ClientSide>) -> Result<Self, Infallible> {
        Ok(call.socket.client())
    }
}

impl Last<ViaExtract, ViaAck, ClientSide> for Ack {
    type Owes = Free;

    fn take(call: &mut Call<'_, ClientSide>) -> Result<Self, NotCalled> {
        Ok(Self::take_last(call))
    }

    fn needs(_: &mut Needs) {}
}

impl BehindArgs<ClientSide> for Ack {
    fn take_last(call: &mut Call<'_, ClientSide>) -> Self {
        Self::new(call.socket, call.ack.take())
    }
}

impl EndPart<ViaEnd, ClientSide> for DisconnectReason {
    fn take(call: &Call<'_, ClientSide>) -> Result<Self, NotCalled> {
        match call.end {
            Some(Ending::Disconnected(reason)) => Ok(*reason),
            _ => Err(NotCalled::not_extracted::<Self, _>(&"nothing was connected")),
        }
    }

    fn needs(_: &mut Needs) {}
}

impl EndPart<ViaEnd, ClientSide> for ClientError {
    fn take(call: &Call<'_, ClientSide>) -> Result<Self, NotCalled> {
        match call.end {
            Some(Ending::Failed(error)) => Ok(error.clone()),
            _ => Err(NotCalled::not_extracted::<Self, _>(&"nothing has failed")),
        }
    }

    fn needs(_: &mut Needs) {}
}
