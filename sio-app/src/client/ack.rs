//! Acknowledgements that the server has asked for.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sio_proto::client::{self as machine, AckTicket};

use super::handlers::ClientSide;
use super::socket::Socket;
use crate::args::to_args;
use crate::error::{EmitError, HandlerError};
use crate::lock::Mutex;
use crate::turn::call::Side;
use crate::user::message::with_scratch;

/// The right to answer one event. All handlers and streams of the event share it.
#[derive(Clone)]
pub struct Question(Arc<Mutex<Option<AckTicket>>>);

impl Question {
    pub(super) fn new(ticket: AckTicket) -> Self {
        Self(Arc::new(Mutex::new(Some(ticket))))
    }

    pub(super) fn answer<A: Serialize>(&self, socket: &Socket, args: &A) {
        let args = match with_scratch(|scratch| to_args(args, scratch)) {
            Ok(args) => args,
            Err(error) => {
                let error = HandlerError::Emit(error.into());
                return socket.shared().report(socket.place(), "ack", &error);
            }
        };
        let ticket = self.0.lock().take();
        if let Some(ticket) = ticket {
            let shared = socket.shared();
            let answered = shared.command(|core, now| core.machine.answer(now, ticket, args));
            if let Err(error) = answered {
                let error = HandlerError::Emit(match error {
                    machine::EmitError::TooLarge { .. } => EmitError::TooLarge,
                    _ => EmitError::Unsupported,
                });
                shared.report(socket.place(), "ack", &error);
            }
        }
    }
}

/// Acknowledges one event of the server.
///
/// Sending consumes it, because a server takes only one answer. If it is dropped, nothing is sent.
/// It may be kept, and sent from anywhere; it is worth nothing when the connection has ended on
/// which the event came. If several handlers answer, the first answer counts.
#[must_use = "an acknowledgement that is dropped sends nothing"]
pub struct Ack(Option<(Socket, Question)>);

impl Ack {
    pub(super) fn new(socket: &Socket, question: Option<Question>) -> Self {
        Self(question.map(|question| (socket.clone(), question)))
    }

    /// Whether the server has asked for an answer. If it has not, sending does nothing.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers with these arguments: `()` means none, and a tuple means several. Arguments that
    /// cannot be written, that the generation of the server cannot carry, or that are larger than
    /// the server takes, are reported to the function of
    /// [`ClientBuilder::on_error`](super::ClientBuilder::on_error).
    pub fn send<A: Serialize>(self, args: A) {
        if let Some((socket, question)) = self.0 {
            ClientSide::answer(&socket, question, &args);
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("is_wanted", &self.is_wanted()).finish()
    }
}
