//! Messages on their way out: arguments written, and encoded before any lock is taken.

use std::cell::Cell;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Serialize;
use sio_proto::Config;
use sio_proto::server::{AckRequest, Forms, Message};
use sio_proto::socket::{Args, is_reserved_event};

use crate::args::to_args;
use crate::error::EmitError;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::socket::SocketCell;

/// Size of the pieces that messages are written into. A message that waits for a slow client keeps
/// its piece alive, so they are small; larger messages get pieces of their own.
const SCRATCH_BYTES: usize = 8 * 1024;

thread_local!(static SCRATCH: Cell<Option<BytesMut>> = const { Cell::new(None) });

/// Lends this thread's scratch, empty. It is taken out meanwhile: writing arguments runs the user's
/// code, which may emit itself.
pub(crate) fn with_scratch<R>(write: impl FnOnce(&mut BytesMut) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    if scratch.capacity() < 512 {
        scratch.reserve(SCRATCH_BYTES);
    }
    let result = write(&mut scratch);
    scratch.clear();
    SCRATCH.with(|lent| lent.set(Some(scratch)));
    result
}

/// An event as it is before anybody has asked for an encoding.
#[derive(Clone)]
pub(crate) struct Draft {
    name: ByteString,
    args: Args,
}

impl Draft {
    pub(crate) fn new<A: Serialize + ?Sized>(name: &str, args: &A, scratch: &mut BytesMut) -> Result<Self, EmitError> {
        if is_reserved_event(name) {
            return Err(EmitError::Reserved(name.to_owned()));
        }
        scratch.extend_from_slice(name.as_bytes());
        let name = ByteString::try_from(scratch.split().freeze()).unwrap_or_default();
        Ok(Self {
            name,
            args: to_args(args, scratch)?,
        })
    }

    pub(crate) const fn args(&self) -> &Args {
        &self.args
    }

    /// About how many bytes it is.
    pub(crate) fn len(&self) -> usize {
        self.args.bytes()
    }

    /// The message, volatile if it has a runtime for the moment, encoded in these forms, and what
    /// could not be said in one of them.
    pub(crate) fn encoded(
        self,
        namespace: &ByteString,
        volatile: Option<Runtime>,
        forms: Forms,
        config: &Config,
        scratch: &mut BytesMut,
    ) -> (Message, Result<(), EmitError>) {
        let mut message = self.message(namespace, None, volatile);
        let mut result = Ok(());
        for form in forms.iter() {
            if let Err(error) = message.encode(form, config, scratch) {
                result = Err(error.into());
            }
        }
        (message, result)
    }

    fn message(self, namespace: &ByteString, id: Option<u64>, volatile: Option<Runtime>) -> Message {
        let message = Message::event(namespace.clone(), self.name, self.args, id);
        match volatile {
            Some(runtime) => message.volatile(true).moment(turn::moment(runtime)),
            None => message,
        }
    }
}

/// Sends an event to one socket.
pub(crate) fn send_event<A: Serialize + ?Sized>(
    socket: &SocketCell,
    name: &str,
    args: &A,
    ack: Option<AckRequest>,
    volatile: bool,
) -> Result<(), EmitError> {
    with_scratch(|scratch| {
        let draft = Draft::new(name, args, scratch)?;
        if volatile && socket.is_asking() {
            return Err(EmitError::Dropped);
        }
        let len = draft.len();
        let message = draft.message(
            &socket.namespace,
            ack.map(|ack| ack.id),
            volatile.then(|| socket.runtime()),
        );
        send(socket, message, len, ack, scratch)
    })
}

/// Sends an acknowledgement to one socket.
pub(crate) fn send_ack<A: Serialize + ?Sized>(socket: &SocketCell, id: u64, args: &A) -> Result<(), EmitError> {
    with_scratch(|scratch| {
        let args = to_args(args, scratch)?;
        let len = args.bytes();
        send(
            socket,
            Message::ack(socket.namespace.clone(), id, args),
            len,
            None,
            scratch,
        )
    })
}

/// Encodes the message, then queues it in the shard. Inside a turn it leaves at the turn's end,
/// else at once.
#[inline(always)]
fn send(
    socket: &SocketCell,
    mut message: Message,
    len: usize,
    ack: Option<AckRequest>,
    scratch: &mut BytesMut,
) -> Result<(), EmitError> {
    message.encode(socket.form, &socket.cell.config, scratch)?;
    if socket.is_asking() {
        // It goes behind the answer to the CONNECT.
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
    turn::act(socket.runtime(), |turn| {
        let (sent, enough) = socket.cell.queue("emit", turn, |state, now| {
            let sent = state.shard.emit(now, socket.key, &mut message, ack);
            (sent, state.unwritten.add(len, 1))
        });
        turn.emitted(len, enough);
        Ok(sent?)
    })
}
