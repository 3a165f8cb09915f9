//! Events and states of a client as streams, for code that has no handlers.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use sio_proto::client::{self as machine, ClientError, DisconnectReason, Generation, StopReason, Transport};

use super::ack::Ack;
use super::shared::{Alive, Shared};
use crate::args::{ArgsError, RawArgs, from_args_to_keep};
use crate::lock::Mutex;
use crate::trim::trim_queue;

/// The most states that a stream of states keeps. Older ones are left out.
const MAX_STATES: usize = 64;

/// What an event that waits costs besides its bytes.
pub(super) const ENTRY_BYTES: usize = 128;

/// An event of the server.
#[derive(Debug)]
pub struct Event {
    pub(super) name: ByteString,
    pub(super) args: RawArgs,
    pub(super) ack: Ack,
}

impl Event {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments, before they are converted to a type.
    #[must_use]
    pub const fn raw_args(&self) -> &RawArgs {
        &self.args
    }

    /// The arguments as a type: a tuple for several of them.
    ///
    /// # Errors
    /// If they are not of this type.
    pub fn args<T: DeserializeOwned + 'static>(&self) -> Result<T, ArgsError> {
        from_args_to_keep(self.args.0.clone())
    }

    /// The acknowledgement. Sending it does nothing if the server has not asked for one.
    pub fn into_ack(self) -> Ack {
        self.ack
    }

    /// The arguments and the acknowledgement.
    pub fn into_parts(self) -> (ByteString, RawArgs, Ack) {
        (self.name, self.args, self.ack)
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.args.0.bytes() + ENTRY_BYTES
    }
}

/// The queue behind a stream of events.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    ended: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// For how many events there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.lock().events.capacity()
    }

    pub(super) fn push(&self, event: Event) {
        let waker = {
            let mut queue = self.0.lock();
            queue.bytes += event.bytes();
            queue.events.push_back(event);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn end(&self) {
        let waker = {
            let mut queue = self.0.lock();
            queue.ended = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the next event, and says whether the inbox was full before.
    fn poll(&self, max: usize, cx: &Context<'_>) -> Poll<Option<(Event, bool)>> {
        let waker = cx.waker().clone();
        let mut queue = self.0.lock();
        let was_full = queue.bytes >= max;
        if let Some(event) = queue.events.pop_front() {
            queue.bytes -= event.bytes();
            trim_queue(&mut queue.events);
            drop(queue);
            return Poll::Ready(Some((event, was_full)));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        let old = queue.waker.replace(waker);
        drop(queue);
        drop(old);
        Poll::Pending
    }
}

/// The events of one namespace, from the call of [`Socket::events`](super::Socket::events) on, in
/// their order. It ends when the client has closed.
///
/// Handlers get the same events, too. If events wait here that have more bytes than
/// [`ClientBuilder::max_inbox_bytes`](super::ClientBuilder::max_inbox_bytes), the client reads only
/// what cannot wait until some have been taken: what a held receipt or acknowledgement needs,
/// and heartbeats. Drop the stream to end it.
pub struct Events {
    inbox: Arc<Inbox>,
    alive: Arc<Alive>,
}

impl Events {
    pub(super) fn new(alive: &Arc<Alive>, inboxes: &Mutex<Vec<Weak<Inbox>>>) -> Self {
        let inbox = Arc::<Inbox>::default();
        if !alive.0.register(inboxes, &inbox) {
            inbox.end();
        }
        Self {
            inbox,
            alive: Arc::clone(alive),
        }
    }

    /// Waits for the next event. Returns `None` when the client has closed.
    ///
    /// No event is lost if the returned future is dropped before it is ready.
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next_event(cx)).await
    }

    /// Takes the next event, as [`Events::next_event`] does.
    pub fn poll_next_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let shared = &self.alive.0;
        self.inbox.poll(shared.max_inbox_bytes, cx).map(|taken| {
            let (event, was_full) = taken?;
            if was_full {
                shared.wake();
            }
            Some(event)
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // The client may have stopped reading for this stream.
        if self.inbox.bytes() >= self.alive.0.max_inbox_bytes {
            self.inbox = Arc::default();
            self.alive.0.wake();
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The state of the connection to the server. A connection may have several namespaces; the events
/// `connect`, `connect_error` and `disconnect` are those of each namespace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// An attempt starts: 0 for a first connection, then counted from 1 since the last connection.
    Connecting(u32),
    /// The session is open. Namespaces follow.
    Connected {
        /// The generation that was agreed on: never [`Generation::Auto`].
        generation: Generation,
        /// The transport that has opened.
        transport: Transport,
    },
    /// The session has moved to websocket.
    Upgraded,
    /// The open connection was lost.
    Lost(DisconnectReason),
    /// An attempt has failed.
    Failed(ClientError),
    /// The next attempt starts after this time.
    Waiting(Duration),
    /// The client does nothing more until it is told to connect.
    Stopped(StopReason),
}

impl ConnectionState {
    pub(super) fn of(state: machine::State, shared: &Shared) -> Option<Self> {
        Some(match state {
            machine::State::Connecting(attempt) => Self::Connecting(attempt),
            machine::State::Connected { generation, transport } => Self::Connected { generation, transport },
            machine::State::Upgraded => Self::Upgraded,
            machine::State::Lost(reason) => Self::Lost(reason),
            machine::State::Failed(error) => Self::Failed(error),
            machine::State::Waiting(until) => Self::Waiting(until.saturating_since(shared.now())),
            machine::State::Stopped(reason) => Self::Stopped(reason),
            _ => return None,
        })
    }
}

/// A sentence for people. What the server has said may be part of it, as the server has said it.
impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(0) => f.write_str("connecting"),
            Self::Connecting(attempt) => write!(f, "connecting, attempt {attempt}"),
            Self::Connected { generation, transport } => write!(f, "open over {transport}, {generation}"),
            Self::Upgraded => f.write_str("upgraded to websocket"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Waiting(time) => write!(f, "next attempt in {:.1} s", time.as_secs_f64()),
            Self::Stopped(reason) => write!(f, "stopped: {reason}"),
        }
    }
}

/// The queue behind a stream of states.
#[derive(Default)]
pub(super) struct Changes(Mutex<StateQueue>);

#[derive(Default)]
struct StateQueue {
    states: VecDeque<ConnectionState>,
    ended: bool,
    waker: Option<Waker>,
}

impl Changes {
    pub(super) fn push(&self, state: ConnectionState) {
        let (waker, _old) = {
            let mut queue = self.0.lock();
            let old = (queue.states.len() >= MAX_STATES).then(|| queue.states.pop_front());
            queue.states.push_back(state);
            (queue.waker.take(), old)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn end(&self) {
        let waker = {
            let mut queue = self.0.lock();
            queue.ended = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<ConnectionState>> {
        let waker = cx.waker().clone();
        let (result, _old) = {
            let mut queue = self.0.lock();
            match queue.states.pop_front() {
                Some(state) => (Poll::Ready(Some(state)), None),
                None if queue.ended => (Poll::Ready(None), None),
                None => (Poll::Pending, queue.waker.replace(waker)),
            }
        };
        result
    }
}

/// The states of a client's connection, from the call of [`Client::states`](super::Client::states)
/// on. It keeps the last 64, and ends when the client has closed. It does not keep the client open.
pub struct ConnectionStates(Arc<Changes>);

impl ConnectionStates {
    pub(super) fn new(shared: &Shared) -> Self {
        let changes = Arc::<Changes>::default();
        if !shared.register(&shared.watchers, &changes) {
            changes.end();
        }
        Self(changes)
    }

    /// Waits for the next state. Returns `None` when the client has closed.
    pub async fn next_state(&mut self) -> Option<ConnectionState> {
        poll_fn(|cx| self.poll_next_state(cx)).await
    }

    /// Takes the next state, as [`ConnectionStates::next_state`] does.
    pub fn poll_next_state(&mut self, cx: &mut Context<'_>) -> Poll<Option<ConnectionState>> {
        self.0.poll(cx)
    }
}

impl fmt::Debug for ConnectionStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionStates").finish_non_exhaustive()
    }
}
