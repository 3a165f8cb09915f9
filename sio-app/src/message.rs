//! Messages on their way out: arguments written, and encoded before any lock is taken.

use std::cell::Cell;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Serialize;
use sio_proto::server::{Form, Message};
use sio_proto::socket::{Args, is_reserved_event};

use crate::args::{ArgsError, to_args};
use crate::error::EmitError;
use crate::socket::SocketInner;

/// Size of the pieces that messages are written into. A message that waits for a slow client keeps its piece alive, so they are small;
/// larger messages get pieces of their own.
const SCRATCH_BYTES: usize = 8 * 1024;

thread_local!(static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new()));

/// Lends this thread's scratch, empty. It is taken out meanwhile: writing arguments runs the user's code, which may emit itself.
pub(crate) fn with_scratch<R>(write: impl FnOnce(&mut BytesMut) -> R) -> R {
    let mut scratch = SCRATCH.take();
    if scratch.capacity() < 512 {
        scratch.reserve(SCRATCH_BYTES);
    }
    let result = write(&mut scratch);
    scratch.clear();
    SCRATCH.set(scratch);
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

    /// The message, encoded in these forms.
    pub(crate) fn encoded(self, namespace: &ByteString, volatile: bool, forms: u8, scratch: &mut BytesMut) -> Message {
        let mut message = self.message(namespace, None, volatile);
        for form in Form::ALL.into_iter().filter(|form| forms & form.bit() != 0) {
            message.encode(form, scratch);
        }
        message
    }

    fn message(self, namespace: &ByteString, id: Option<u64>, volatile: bool) -> Message {
        Message::event(namespace.clone(), self.name, self.args, id).volatile(volatile)
    }
}

/// An event for one socket, encoded.
pub(crate) fn event<A: Serialize + ?Sized>(
    socket: &SocketInner,
    name: &str,
    args: &A,
    id: Option<u64>,
    volatile: bool,
) -> Result<Message, EmitError> {
    with_scratch(|scratch| {
        let mut message = Draft::new(name, args, scratch)?.message(&socket.namespace, id, volatile);
        message.encode(Form::of(socket.generation), scratch);
        Ok(message)
    })
}

/// An acknowledgement for one socket, encoded.
pub(crate) fn ack<A: Serialize + ?Sized>(socket: &SocketInner, id: u64, args: &A) -> Result<Message, ArgsError> {
    with_scratch(|scratch| {
        let mut message = Message::ack(socket.namespace.clone(), id, to_args(args, scratch)?);
        message.encode(Form::of(socket.generation), scratch);
        Ok(message)
    })
}
