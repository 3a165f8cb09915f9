//! Messages that are sent: their arguments are written and encoded before any lock is taken.

use std::cell::Cell;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;
use sio_proto::Config;
use sio_proto::recovery::RecordKey;
use sio_proto::server::{AckRequest, Direct, Encoded, Form, Forms, Message, Policy, SendError};
use sio_proto::socket::{Args, is_reserved_event};

use crate::args::{Appended, LARGE, RawArgs, SCRATCH_BYTES, append, keep_list, take_written, to_args};
use crate::error::{EmitError, HandlerError};
use crate::guarded::guarded;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::asking::Asking;
use crate::turn::last_number::LastNumber;
use crate::turn::numbered::send_written;
use crate::turn::order::{Order, Stamp, carry_out, send_encoded, send_text};
use crate::turn::policy::{self, owned};
use crate::turn::refusal::Refusal;
use crate::turn::socket::SocketCell;
use crate::turn::table::{OutgoingFn, Table};
#[cfg(feature = "redis")]
use crate::user::emitter::cluster_of;
use crate::user::merging::send_by;

thread_local!(static SCRATCH: Cell<Option<BytesMut>> = const { Cell::new(None) });

/// Lends this thread's buffer for writing, empty. It is taken out of its place meanwhile, because
/// writing arguments runs user code, which may itself emit.
pub(crate) fn with_scratch<R>(write: impl FnOnce(&mut BytesMut) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    if scratch.capacity() < 512 {
        scratch.reserve(SCRATCH_BYTES);
    }
    let result = write(&mut scratch);
    scratch.clear();
    if scratch.capacity() > SCRATCH_BYTES {
        // What is left of a large buffer would be kept as a whole by each small message in it. Of
        // what was taken out, only small pieces leave the rest here (`take_written`).
        scratch = BytesMut::new();
    }
    SCRATCH.with(|lent| lent.set(Some(scratch)));
    result
}

/// An event before it is encoded in any form.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    name: ByteString,
    args: Args,
    /// What becomes of it for clients that do not take it at once.
    policy: Policy,
}

impl Draft {
    pub(crate) fn new<A: Serialize + ?Sized>(name: &str, args: &A, scratch: &mut BytesMut) -> Result<Self, EmitError> {
        if is_reserved_event(name) {
            return Err(EmitError::Reserved(name.to_owned()));
        }
        scratch.extend_from_slice(name.as_bytes());
        let name = ByteString::try_from(take_written(scratch)).unwrap_or_default();
        Ok(Self {
            name,
            args: to_args(args, scratch)?,
            policy: Policy::Ordered,
        })
    }

    /// Makes an event of its parts. The name must not be one of the protocol.
    #[cfg(feature = "redis")]
    pub(crate) const fn of_parts(name: ByteString, args: Args) -> Self {
        let policy = Policy::Ordered;
        Self { name, args, policy }
    }

    /// Returns the name and the arguments.
    #[cfg(feature = "redis")]
    pub(crate) fn into_parts(self) -> (ByteString, Args) {
        (self.name, self.args)
    }

    pub(crate) const fn name(&self) -> &ByteString {
        &self.name
    }

    /// Sets what becomes of the event for clients that do not take it at once.
    pub(crate) fn by(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Returns the event with other arguments.
    pub(crate) fn with_args(&self, args: Args) -> Self {
        Self { args, ..self.clone() }
    }

    /// Returns the event with arguments that queues can keep.
    pub(crate) fn owned(self) -> Self {
        Self {
            args: owned(self.args),
            ..self
        }
    }

    pub(crate) const fn args(&self) -> &Args {
        &self.args
    }

    /// Calls the functions that are called for sent events. They are user code, so no lock is held.
    /// If one panics, `report` gets the error.
    pub(crate) fn show(
        &self,
        watchers: &[OutgoingFn],
        to: Option<&Arc<SocketCell>>,
        report: impl Fn(&str, &HandlerError),
    ) {
        thread_local!(static SHOWING: Cell<bool> = const { Cell::new(false) });
        if watchers.is_empty() || SHOWING.replace(true) {
            return;
        }
        let args = RawArgs(self.args.clone());
        for watcher in watchers {
            if let Err(panic) = guarded(|| watcher(to, &self.name, &args)) {
                report(&self.name, &panic);
            }
        }
        SHOWING.set(false);
    }

    /// Returns about how many bytes the event has.
    pub(crate) fn len(&self) -> usize {
        self.args.bytes()
    }

    /// Makes the message and encodes it in these forms. It is volatile if a runtime is given, which
    /// is asked for the moment. Also returns the error if the message could not be encoded in one
    /// of the forms.
    pub(crate) fn encoded(
        self,
        namespace: &ByteString,
        volatile: Option<Runtime>,
        forms: Forms,
        stamp: Stamp,
        config: &Config,
        scratch: &mut BytesMut,
    ) -> (Message, Result<(), EmitError>) {
        let args = match stamp.history {
            None => self.args,
            Some(last) => self.args.with_offset(last.place_of(volatile.is_some())),
        };
        let is_counted = stamp.history.is_some() || stamp.recovery.is_some();
        let policy = match self.policy {
            // A message with a number of its own is not put together with others.
            Policy::Merge(_) if is_counted => Policy::Refuse,
            policy => policy,
        };
        let name = self.name;
        let mut message = Self { name, args, policy }.message(namespace, None, volatile);
        message.set_offset(stamp.recovery.and_then(|last| last.offset_of(&message)));
        let mut result = Ok(());
        for form in forms.iter() {
            if let Err(error) = message.encode(form, config, scratch) {
                result = Err(error.into());
            }
        }
        (message, result)
    }

    /// Makes the message that asks for the acknowledgement with this id, and encodes it in these
    /// forms. A form in which it cannot be encoded is noted in the message.
    pub(crate) fn asking(
        self,
        namespace: &ByteString,
        id: u64,
        volatile: Option<Runtime>,
        forms: Forms,
        config: &Config,
        scratch: &mut BytesMut,
    ) -> Asking {
        let is_plain = |form: &Form| matches!(form, Form::Plain(_));
        let plain = forms.iter().any(|form| is_plain(&form));
        let mut plain = plain.then(|| self.clone().message(namespace, None, volatile));
        let mut message = self.message(namespace, Some(id), volatile);
        for form in forms.iter() {
            let message = plain.as_mut().filter(|_| is_plain(&form)).unwrap_or(&mut message);
            // The error is given to each recipient of this form.
            let _ = message.encode(form, config, scratch);
        }
        Asking { message, plain }
    }

    pub(crate) fn message(self, namespace: &ByteString, id: Option<u64>, volatile: Option<Runtime>) -> Message {
        let mut message = Message::event(namespace.clone(), self.name, self.args, id);
        // Most messages have the policy that each message has at first.
        if self.policy != Policy::Ordered {
            message = message.policy(self.policy);
        }
        match volatile {
            Some(runtime) => message.volatile(true).moment(turn::moment(runtime)),
            None => message,
        }
    }
}

/// Sends an event to one socket.
pub(crate) fn send_event<A: Serialize + ?Sized>(
    socket: &Arc<SocketCell>,
    name: &str,
    args: &A,
    ack: Option<AckRequest>,
    volatile: bool,
) -> Result<(), EmitError> {
    with_scratch(|scratch| {
        if ack.is_none() && !volatile && !socket.is_asking() && has_plain_table(socket) && !may_be_in_stream(socket) {
            return send_in_one_go(socket, name, args, scratch);
        }
        let draft = Draft::new(name, args, scratch)?;
        if volatile && socket.is_asking() {
            return Err(EmitError::Dropped);
        }
        if let Some(table) = socket.table() {
            show(&draft, socket, table);
            #[cfg(feature = "redis")]
            if ack.is_none() && !volatile && in_stream(socket, &draft, None) {
                return Ok(());
            }
            if !table.policies.is_empty()
                && ack.is_none()
                && !volatile
                && let Some(policy) = table.policies.get(name)
            {
                return send_by(socket, draft, policy);
            }
        }
        send_draft(socket, draft, ack, volatile, scratch)
    })
}

/// Whether the application wants to see no sent events of the socket, and has no policies for them.
#[inline]
fn has_plain_table(socket: &SocketCell) -> bool {
    socket
        .table()
        .is_some_and(|table| table.outgoing.is_empty() && table.policies.is_empty())
}

/// Whether an event for a socket may have to go through the stream of a cluster ([`in_stream`]).
#[inline]
fn may_be_in_stream(socket: &SocketCell) -> bool {
    socket.cell.recovery.follows_stream() && socket.record().is_some()
}

/// Sends an event to one socket, if possible without making a message of it.
#[inline]
fn send_in_one_go<A: Serialize + ?Sized>(
    socket: &SocketCell,
    name: &str,
    args: &A,
    scratch: &mut BytesMut,
) -> Result<(), EmitError> {
    if is_reserved_event(name) {
        return Err(EmitError::Reserved(name.to_owned()));
    }
    let Some(direct) = Direct::event(socket.form, &socket.cell.config, socket.namespace(), name, scratch) else {
        let draft = Draft::new(name, args, scratch)?;
        return send_draft(socket, draft, None, false, scratch);
    };
    let Some(args) = write_directly(socket, direct, socket.numbered(), args, scratch)? else {
        return Ok(());
    };
    let (name, policy) = (ByteString::from(name), Policy::Ordered);
    send_draft(socket, Draft { name, args, policy }, None, false, scratch)
}

/// Writes arguments behind the head of their packet, and sends the packet. Returns the arguments if
/// they cannot be sent in this way, because they are too large, the client needs other JSON, the
/// buffer has grown for them and is too large for its packet, or the number of the packet in a
/// namespace with recovery has been taken by another.
#[inline]
fn write_directly<A: Serialize + ?Sized>(
    socket: &SocketCell,
    direct: Direct,
    numbered: Option<(RecordKey, &LastNumber)>,
    args: &A,
    scratch: &mut BytesMut,
) -> Result<Option<Args>, EmitError> {
    let max = direct.max_args();
    let mut appended = Appended::default();
    append(args, scratch, max, &mut appended)?;
    if let Some(whole) = appended.whole.take() {
        if whole.json.len() > max {
            scratch.clear();
            return Ok(Some(whole));
        }
        scratch.reserve(whole.json.len() + 1);
        scratch.extend_from_slice(whole.json.as_bytes());
        appended.attachments = whole.attachments;
    } else if !appended.attachments.is_empty() {
        appended.check(direct.args(scratch))?;
    }
    let is_roomy = scratch.len() >= LARGE && scratch.capacity() - scratch.len() > scratch.len() / 8;
    if is_roomy || !direct.keeps(scratch) {
        return Ok(Some(appended.with(direct.give_up(scratch))?));
    }
    let attachments = &appended.attachments[..];
    let args = direct.args(scratch).len();
    let len = args + attachments.iter().map(Bytes::len).sum::<usize>();
    let finished = |message: Result<Encoded, SendError>| message.map_err(|error| unsendable(socket, error));
    let Some(numbered) = numbered else {
        if attachments.is_empty() {
            let packet = direct.finish_text(scratch).map_err(|error| unsendable(socket, error))?;
            return send_text(socket, packet, len).map(|()| None);
        }
        send_encoded(socket, finished(direct.finish(attachments, scratch))?, len)?;
        keep_list(appended.attachments);
        return Ok(None);
    };
    // Writing the arguments may have run code that has sent other messages.
    let offset = numbered.1.last().next();
    let place = (numbered.1.epoch(), offset.sequence);
    let (sent, text) = if attachments.is_empty() {
        let packet = direct
            .finish_text_at(place, scratch)
            .map_err(|error| unsendable(socket, error))?;
        (send_written(socket, numbered, offset, &packet, len), packet)
    } else {
        let message = finished(direct.finish_at(place, attachments, scratch))?;
        (
            send_written(socket, numbered, offset, &message, len),
            message.text().clone(),
        )
    };
    match sent {
        Some(sent) => {
            keep_list(appended.attachments);
            sent.map(|()| None)
        }
        None => {
            let text = text.payload_bytes();
            let args = text.slice_ref(direct.args_in(offset, &text, args));
            Ok(Some(appended.with(args)?))
        }
    }
}

/// Sends an event to one socket by a policy.
pub(crate) fn send_event_by<A: Serialize + ?Sized>(
    socket: &Arc<SocketCell>,
    name: &str,
    args: &A,
    policy: &policy::Policy,
) -> Result<(), EmitError> {
    let draft = with_scratch(|scratch| Draft::new(name, args, scratch))?;
    if let Some(table) = socket.table() {
        show(&draft, socket, table);
    }
    #[cfg(feature = "redis")]
    if in_stream(socket, &draft, Some(policy)) {
        return Ok(());
    }
    send_by(socket, draft, policy)
}

/// Gives an event for one socket to the stream of a cluster, if its client may come back to another
/// node, and so may have to get the event there. Returns false if it has to be sent at once.
#[cfg(feature = "redis")]
fn in_stream(socket: &Arc<SocketCell>, draft: &Draft, policy: Option<&policy::Policy>) -> bool {
    if socket.is_asking() || !may_be_in_stream(socket) {
        return false;
    }
    let Some(application) = socket.application() else {
        return false;
    };
    cluster_of(&*application).is_some_and(|cluster| cluster.send_in_order(&application, socket, draft, policy))
}

/// Shows an event to the functions of the table that are called for sent events.
fn show(draft: &Draft, socket: &Arc<SocketCell>, table: &Table) {
    if !table.outgoing.is_empty() {
        draft.show(&table.outgoing, Some(socket), |event, panic| {
            if let Some(application) = socket.application() {
                application.report(Some(socket), event, panic);
            }
        });
    }
}

/// Makes the message of an event, and sends it to one socket.
pub(crate) fn send_draft(
    socket: &SocketCell,
    draft: Draft,
    ack: Option<AckRequest>,
    volatile: bool,
    scratch: &mut BytesMut,
) -> Result<(), EmitError> {
    let len = draft.len();
    let message = draft.message(
        socket.namespace(),
        ack.map(|ack| ack.id),
        volatile.then(|| socket.runtime()),
    );
    send(socket, message, len, ack, scratch)
}

/// Sends an event of the past to one socket. Nobody is told of it, because it is not new.
pub(crate) fn send_again(socket: &SocketCell, name: ByteString, args: Args) -> Result<(), EmitError> {
    let policy = Policy::Ordered;
    let draft = Draft { name, args, policy };
    with_scratch(|scratch| {
        let len = draft.len();
        send(
            socket,
            draft.message(socket.namespace(), None, None),
            len,
            None,
            scratch,
        )
    })
}

/// Makes an event for one socket that is sent later.
pub(crate) fn prepared<A: Serialize>(socket: &SocketCell, name: &str, args: &A) -> Result<(Message, usize), EmitError> {
    with_scratch(|scratch| {
        let draft = Draft::new(name, args, scratch)?;
        let len = draft.len();
        let mut message = draft.message(socket.namespace(), None, None);
        message.encode(socket.form, &socket.cell.config, scratch)?;
        Ok((message, len))
    })
}

/// Sends an acknowledgement to one socket.
pub(crate) fn send_ack<A: Serialize + ?Sized>(socket: &SocketCell, id: u64, args: &A) -> Result<(), EmitError> {
    with_scratch(|scratch| {
        let direct = match socket.is_asking() {
            false => Direct::ack(socket.form, &socket.cell.config, socket.namespace(), id, scratch),
            true => None,
        };
        let args = match direct {
            None => to_args(args, scratch)?,
            Some(direct) => match write_directly(socket, direct, None, args, scratch)? {
                None => return Ok(()),
                Some(args) => args,
            },
        };
        let len = args.bytes();
        send(
            socket,
            Message::ack(socket.namespace().clone(), id, args),
            len,
            None,
            scratch,
        )
    })
}

/// The answer in place of one that cannot be sent.
#[derive(Serialize)]
struct Unsent {
    error: &'static str,
}

/// Sends an acknowledgement to a client that may have gone. If its arguments cannot be sent, the
/// error is reported, and the client gets an error, so that it does not wait for ever.
pub(crate) fn send_ack_or_report<A: Serialize + ?Sized>(socket: &Arc<SocketCell>, id: u64, args: &A) {
    if let Err(error) = send_ack(socket, id, args)
        && matches!(error, EmitError::Args(_) | EmitError::TooLarge)
    {
        // This answer is a constant. It fails only if the client is gone.
        let unsent = Unsent {
            error: Refusal::INTERNAL,
        };
        let _ = send_ack(socket, id, &unsent);
        socket.report("ack", error);
    }
}

/// Counts a message that would not fit into an empty queue. The shard, which counts what does not
/// fit into a full one, is not asked about it.
#[cold]
fn unsendable(socket: &SocketCell, error: SendError) -> EmitError {
    if error == SendError::TooLarge {
        socket.cell.note_too_large();
    }
    error.into()
}

/// Encodes the message, and then queues it in the shard. In a turn it leaves at the end of the
/// turn. Otherwise it leaves at once.
#[inline(always)]
fn send(
    socket: &SocketCell,
    mut message: Message,
    len: usize,
    ack: Option<AckRequest>,
    scratch: &mut BytesMut,
) -> Result<(), EmitError> {
    if let Some(last) = socket.last() {
        message.set_offset(last.offset_of(&message));
    }
    if let Err(error) = message.encode(socket.form, &socket.cell.config, scratch) {
        return Err(unsendable(socket, error));
    }
    if socket.is_asking() {
        // The message leaves after the answer to the CONNECT.
        let mut early = Some(message);
        let sent = socket.prepare(|entry| {
            early
                .take()
                .map(|early| entry.send(early, len, ack, &socket.cell.config))
        });
        match (sent, early) {
            (Some(Some(sent)), _) => return sent,
            (_, Some(unsent)) => message = unsent,
            (_, None) => return Err(EmitError::Disconnected),
        }
    }
    carry_out(Order::Send {
        to: socket,
        message: &mut message,
        bytes: len,
        ack,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small message that waits for a slow client keeps the buffer that it was written into. So
    /// no large buffer is left for small messages.
    #[test]
    fn the_buffer_of_a_thread_stays_small() {
        with_scratch(|scratch| {
            scratch.extend_from_slice(&[b'x'; 1_000_000]);
            let large = scratch.split().freeze();
            scratch.reserve(1_000_000);
            assert_eq!(large.len(), 1_000_000);
        });
        with_scratch(|scratch| assert!(scratch.capacity() <= SCRATCH_BYTES, "{}", scratch.capacity()));
    }

    /// Arguments of any size leave no large piece of memory to the messages behind them, whether
    /// much or little of it is left, and whether they are still there or not.
    #[test]
    fn large_arguments_leave_no_memory_behind_them() {
        for kilobytes in [9, 15, 1_000, 1_023, 1_024] {
            let numbers = vec![1; kilobytes * 512];
            with_scratch(|scratch| {
                let args = to_args(&[&numbers], scratch).unwrap();
                assert!(args.json.len() > kilobytes * 1_000);
                drop(args);
                scratch.reserve(SCRATCH_BYTES);
                let room = scratch.capacity();
                assert!(room <= SCRATCH_BYTES, "{room} behind {kilobytes} kB");
            });
            with_scratch(|scratch| {
                let name = "n".repeat(kilobytes * 1_024);
                drop(Draft::new(&name, &1, scratch).unwrap());
                scratch.reserve(SCRATCH_BYTES);
                let room = scratch.capacity();
                assert!(room <= SCRATCH_BYTES, "{room} behind {kilobytes} kB");
            });
        }
    }
}
