//! Events of a socket: what has to be so before their handlers start, and which handlers start.
//!
//! ```text
//!   one read ─► Events ─► the mailbox lets this turn work ─► hand_over ─► handlers, one event after the other
//!                             └── another works for the socket: into its mailbox
//! ```
//! What comes with one read is usually nothing but events for one socket. They stay in the list in
//! which they were read, and no queue has an entry for each of them.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::server::BinaryEvent;
use sio_proto::socket::Args;
use sio_proto::socket::text::TextEvent;
use sio_proto::wire::Inbound;

use crate::args::{RawArgs, detached, spare_list};
use crate::guarded::guarded;
use crate::turn::Turn;
use crate::turn::call::{Call, Failure, Owed, Question};
use crate::turn::heard::Hearing;
use crate::turn::incoming::Incoming;
use crate::turn::mailbox::{Mail, Owner, args_bytes};
use crate::turn::note::Named;
use crate::turn::refusal::Refusal;
use crate::turn::socket::SocketCell;
use crate::turn::table::{EventFn, Handlers, Table};
use crate::turn::work::{Job, Then, Work, fail, perform_mail, settle, several, work_off};

/// Events for one socket that have come together, in order.
pub(crate) struct Events {
    /// The packets of one read. All of them are events and their attachments.
    packets: Vec<Inbound>,
    /// How many of the packets have been handled.
    done: usize,
}

impl Events {
    pub(super) const fn new(packets: Vec<Inbound>) -> Self {
        Self { packets, done: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.done == self.packets.len()
    }

    /// Starts the handlers of the next event. `known` are those of the event before it.
    #[inline]
    fn deliver_next<'a>(&mut self, socket: &'a Arc<SocketCell>, known: &mut Option<Known<'a>>) -> Then {
        match self.packets.get_mut(self.done) {
            Some(Inbound::Event(event)) => {
                self.done += 1;
                let bytes = event.bytes();
                deliver(socket, event, bytes, known, |args| args)
            }
            Some(Inbound::Partial(_)) => self.deliver_partial(socket, known),
            _ => match self.take_binary() {
                Some(event) => deliver_binary(socket, event),
                None => Then::Next,
            },
        }
    }

    /// Starts the handlers of the next event, which has attachments, and its parts in its text.
    #[inline(never)]
    fn deliver_partial<'a>(&mut self, socket: &'a Arc<SocketCell>, known: &mut Option<Known<'a>>) -> Then {
        let packets = self.packets.get_mut(self.done..).unwrap_or_default();
        let Some((event, attachments)) = BinaryEvent::split(packets, spare_list()) else {
            debug_assert!(false, "the shard has looked at the packets");
            self.done = self.packets.len();
            return Then::Next;
        };
        self.done += 1 + attachments.len();
        let bytes = event.bytes() + attachments.iter().map(Bytes::len).sum::<usize>();
        deliver(socket, event, bytes, known, |args| Args { attachments, ..args })
    }

    /// Takes the next event, for the mailbox.
    #[cold]
    fn next_mail(&mut self) -> Option<Mail> {
        if let Some(Inbound::Event(event)) = self.packets.get(self.done) {
            self.done += 1;
            return Some(Mail::Event {
                name: event.shared_name(),
                args: event.args(),
                ack: event.id(),
            });
        }
        let BinaryEvent { name, args, id } = self.take_binary()?;
        Some(Mail::Event { name, args, ack: id })
    }

    /// Takes the next event, which has attachments.
    #[inline(never)]
    fn take_binary(&mut self) -> Option<BinaryEvent> {
        let packets = self.packets.get_mut(self.done..)?;
        let taken = BinaryEvent::take(packets, spare_list());
        debug_assert!(taken.is_some(), "the shard has looked at the packets");
        let length = taken.as_ref().map_or(packets.len(), |(_, length)| *length);
        self.done += length;
        taken.map(|(event, _)| event)
    }

    /// Copies the events that are left into memory of their own, because they were read into a
    /// buffer that others need.
    pub(super) fn detached(mut self) -> Self {
        let left = self.packets.drain(self.done..).map(Inbound::kept).collect();
        Self::new(left)
    }

    /// Returns how many bytes the events that are left keep.
    pub(super) fn bytes(&self) -> usize {
        let left = self.packets.iter().skip(self.done);
        left.map(|packet| size_of::<Inbound>() + packet.bytes()).sum()
    }

    /// Handles the events, as many as the turn has time for. The others stay the turn's next work.
    pub(super) fn perform(self, turn: &Turn, socket: Arc<SocketCell>) {
        let owner = turn.owner();
        let has_begun = socket.mailbox.is_owned_by(owner);
        self.go_on(turn, socket, owner, has_begun);
    }

    /// Does the same for events that are the first work of the turn. No handler of this socket has
    /// run since the mailbox was taken for them, so the turn still owns it.
    pub(super) fn perform_first(self, turn: &Turn, socket: Arc<SocketCell>) {
        let owner = turn.owner();
        debug_assert!(socket.mailbox.is_owned_by(owner), "nobody else takes a mailbox");
        self.go_on(turn, socket, owner, true);
    }

    #[inline]
    fn go_on(mut self, turn: &Turn, socket: Arc<SocketCell>, owner: Owner, mut has_begun: bool) {
        let mut known = None;
        // How many events have been handled that the mailbox does not know to be finished.
        let mut unnoted = 0;
        while !self.is_empty() {
            if has_begun || socket.mailbox.is_owned_by(owner) {
                let then = self.deliver_next(&socket, &mut known);
                has_begun = matches!(then, Then::Next) && !self.is_empty();
                if has_begun && !waits_for_handlers(&socket) {
                    unnoted += 1;
                } else {
                    // Where handlers wait for one another, the mailbox knows of each event.
                    debug_assert!(unnoted == 0 || !waits_for_handlers(&socket));
                    has_begun = has_begun && socket.mailbox.goes_on(owner);
                }
                if !has_begun {
                    socket.mailbox.note_finished(owner, std::mem::take(&mut unnoted));
                    work_off(turn, &socket, then);
                }
            } else if let Some(mail) = self.next_mail() {
                perform_mail(turn, &socket, mail);
            }
            if !self.is_empty() && turn.is_long(socket.runtime()) {
                socket.mailbox.note_finished(owner, unnoted);
                return turn.put_back(Work::Events(socket, self));
            }
        }
        turn.keep_list(self.packets);
    }
}

/// Whether a handler of the socket may take over its mailbox. If none does, a turn that works for
/// the socket goes on to work for it, and tells the mailbox once what it has finished.
#[inline]
fn waits_for_handlers(socket: &SocketCell) -> bool {
    socket.table().is_none_or(|table| table.one_at_a_time)
}

/// Starts the handlers of an event with attachments.
fn deliver_binary(socket: &Arc<SocketCell>, BinaryEvent { name, args, id }: BinaryEvent) -> Then {
    let Some(table) = socket.table() else {
        return Then::Next;
    };
    let bytes = name.len() + args_bytes(&args);
    hand_over(socket, || bytes, || event(socket, table, name, args, id))
}

/// The name of an event, and its handlers. Events that come together often have one name.
type Known<'a> = (&'a str, &'a Handlers);

/// Starts the handlers of an event of this size, and takes its arguments out of it. `complete` adds
/// to the arguments what does not stand in the text.
#[inline]
fn deliver<'a>(
    socket: &'a Arc<SocketCell>,
    event: &mut TextEvent,
    bytes: usize,
    known: &mut Option<Known<'a>>,
    complete: impl FnOnce(Args) -> Args,
) -> Then {
    let Some(table) = socket.table() else {
        return Then::Next;
    };
    let start = || {
        let name = event.name();
        if known.is_none_or(|(known, _)| known != name) {
            let found = table.events.get_key_value(name);
            *known = found.map(|(name, handlers)| (&**name, handlers));
        }
        let is_plain = table.any.is_empty() && table.filters.is_empty() && !socket.has_own();
        match *known {
            Some((name, Handlers { first, more })) if is_plain && more.is_empty() => {
                one_handler(socket, table, first, name, complete(event.take_args()), event.id())
            }
            _ => self::event(socket, table, event.shared_name(), complete(event.args()), event.id()),
        }
    };
    hand_over(socket, || bytes, start)
}

/// Starts the handlers of an event of this size, if the socket may still have it, and if there is
/// room for handlers that have to wait.
#[inline]
pub(super) fn hand_over(socket: &Arc<SocketCell>, bytes: impl FnOnce() -> usize, start: impl FnOnce() -> Then) -> Then {
    if socket.is_dismissed() {
        return Then::Next;
    }
    if !socket.load().has_room() {
        socket.overrun();
        return Then::Next;
    }
    let hearing = socket.hear(bytes);
    if hearing == Hearing::Sealed {
        return Then::Next;
    }
    let then = start();
    if hearing == Hearing::Due {
        socket.confirm();
    }
    then
}

/// Asks the filters about an event, and starts its handlers.
pub(super) fn event(
    socket: &Arc<SocketCell>,
    table: &Table,
    mut name: ByteString,
    mut args: Args,
    ack: Option<u64>,
) -> Then {
    if !table.any.is_empty() {
        let raw = RawArgs(args);
        for any in &table.any {
            if let Err(panic) = guarded(|| any(socket, &name, &raw)) {
                return settle(socket, &name, 0, Err(panic), false);
            }
        }
        args = raw.0;
    }
    if !table.filters.is_empty() {
        match filter(socket, table, name, args, ack) {
            Ok(passed) => (name, args) = passed,
            Err(then) => return then,
        }
    }
    let found = table.events.get(&*name);
    if let Some(Handlers { first, more }) = found
        && more.is_empty()
        && !socket.has_own()
    {
        return one_handler(socket, table, first, &name, args, ack);
    }
    let own = socket.take_own_for(&name);
    let all = found
        .into_iter()
        .flat_map(|found| [&found.first].into_iter().chain(&found.more));
    let mut all = all.chain(&own);
    match (all.next(), all.next()) {
        (None, _) => {
            if let Some(id) = ack.filter(|_| table.refuses_unknown) {
                let owed = Owed::new(socket, Question::new(id));
                fail(socket, &name, *Failure::refused(Refusal::unknown_event(), Some(owed)));
            }
            Then::Next
        }
        (Some(only), None) => one_handler(socket, table, only, &name, args, ack),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(all);
            handlers_of_event(socket, &name, all, args, ack, table.one_at_a_time)
        }
    }
}

/// Starts the only handler of an event.
#[inline]
fn one_handler(
    socket: &Arc<SocketCell>,
    table: &Table,
    handler: &EventFn,
    name: &str,
    args: Args,
    ack: Option<u64>,
) -> Then {
    let _span =
        tracing::trace_span!("event", socket = %Named(socket.key), namespace = &**socket.namespace(), name).entered();
    let bytes = args_bytes(&args);
    let call = Call::new(socket, name, args, ack.map(Question::new));
    let started = guarded(|| handler(call));
    settle(socket, name, bytes, started, table.one_at_a_time)
}

/// Asks the filters of the namespace about an event. Returns the event, as the filters have left
/// it.
///
/// # Errors
/// If a filter refuses the event or panics. The error says what to do next.
fn filter(
    socket: &Arc<SocketCell>,
    table: &Table,
    name: ByteString,
    args: Args,
    ack: Option<u64>,
) -> Result<(ByteString, Args), Then> {
    let mut incoming = Incoming {
        name,
        args: RawArgs(args),
        wants_ack: ack.is_some(),
    };
    for filter in &table.filters {
        let failure = match guarded(|| filter(socket, &mut incoming)) {
            Ok(Ok(())) => continue,
            Ok(Err(refusal)) => Failure::refused(refusal, ack.map(|id| Owed::new(socket, Question::new(id)))),
            Err(panic) => Failure::panicked(panic),
        };
        fail(socket, &incoming.name, *failure);
        return Err(Then::Next);
    }
    Ok((incoming.name, incoming.args.0))
}

/// Starts several handlers of one event. The first acknowledgement of one of them is sent.
fn handlers_of_event<'a>(
    socket: &Arc<SocketCell>,
    name: &ByteString,
    handlers: impl Iterator<Item = &'a EventFn>,
    args: Args,
    ack: Option<u64>,
    parks: bool,
) -> Then {
    let bytes = args_bytes(&args);
    // The arguments may be stored while a handler waits. They are copied, so that they keep no
    // buffer of the thread in use.
    let args = if parks { detached(args) } else { args };
    let ack = ack.map(Question::of_several);
    let jobs = handlers.map(|handler| {
        let (socket, name, args, ack) = (Arc::clone(socket), name.clone(), args.clone(), ack.clone());
        let handler = EventFn::clone(handler);
        Box::new(move || {
            let _span =
                tracing::trace_span!("event", socket = %Named(socket.key), namespace = &**socket.namespace(), name = &*name)
                    .entered();
            handler(Call::new(&socket, &name, args, ack))
        }) as Job
    });
    several(socket, name, bytes, jobs.collect(), parks)
}
