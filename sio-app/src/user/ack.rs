//! Acknowledgements: the answer to a client's event, and the client's answer to ours.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::server::AckRequest;

use crate::args::from_args;
use crate::error::{AckError, EmitError};
use crate::turn::ack_slot::AckSlot;
use crate::turn::call::Question;
use crate::turn::guest::Guest;
use crate::turn::socket::SocketCell;
use crate::user::message;

/// Acknowledges one event of a client.
///
/// Sending consumes it, because a client takes only one answer. If it is dropped, nothing is sent,
/// and the client waits until its own timeout. It may be kept, and sent from anywhere.
#[must_use = "an acknowledgement that is dropped sends nothing"]
pub struct Ack(Option<Wanted>);

/// The acknowledgement that is owed to the client.
struct Wanted {
    question: Question,
    guest: Guest,
}

impl Ack {
    pub(crate) fn new(socket: &Arc<SocketCell>, question: Option<Question>) -> Self {
        Self(question.map(|question| Wanted {
            question,
            guest: socket.guest(0),
        }))
    }

    /// Whether the client asked for an answer. If it did not, sending does nothing.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers with these arguments: `()` means none, and a tuple means several.
    ///
    /// If the client is gone, nothing happens. Arguments that cannot be written, or are too large,
    /// are reported to [`Io::on_error`](crate::Io::on_error). If several handlers of one event
    /// answer, the first answer counts.
    pub fn send<A: Serialize>(self, args: A) {
        let Some(Wanted { question, guest }) = self.0 else {
            return;
        };
        if question.take() {
            message::send_ack_or_report(guest.socket(), question.id, &args);
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0.as_ref().map(|wanted| wanted.question.id);
        f.debug_struct("Ack").field("id", &id).finish_non_exhaustive()
    }
}

/// A future for a client's acknowledgement.
/// [`Socket::emit_with_ack`](crate::Socket::emit_with_ack) returns it.
///
/// The event has been sent already, even if this future is never polled. If the future is dropped,
/// the client owes nothing any more, and its answer is ignored.
#[must_use = "the event is sent at once; await this for the answer, or use `emit`"]
pub struct AckFuture<T> {
    state: State,
    answer: PhantomData<fn() -> T>,
}

enum State {
    Failed(Option<EmitError>),
    Waiting {
        socket: Arc<SocketCell>,
        id: u64,
        slot: Arc<AckSlot>,
    },
}

impl<T> AckFuture<T> {
    pub(crate) const fn failed(error: EmitError) -> Self {
        Self {
            state: State::Failed(Some(error)),
            answer: PhantomData,
        }
    }

    pub(crate) const fn waiting(socket: Arc<SocketCell>, id: u64, slot: Arc<AckSlot>) -> Self {
        Self {
            state: State::Waiting { socket, id, slot },
            answer: PhantomData,
        }
    }
}

/// Sends an event to a socket, and asks for its acknowledgement.
pub(crate) fn ask<T, A: Serialize + ?Sized>(
    socket: &Arc<SocketCell>,
    event: &str,
    args: &A,
    timeout: Option<Duration>,
    volatile: bool,
) -> AckFuture<T> {
    // A middleware that waits for the answer would wait for itself.
    if socket.is_asking() {
        return AckFuture::failed(EmitError::Disconnected);
    }
    let (id, slot) = socket.open_ack();
    match message::send_event(socket, event, args, Some(AckRequest { id, timeout }), volatile) {
        Ok(()) => AckFuture::waiting(Arc::clone(socket), id, slot),
        Err(error) => {
            socket.take_back_ack(id);
            AckFuture::failed(error)
        }
    }
}

impl<T: DeserializeOwned + 'static> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Failed(error) => Poll::Ready(Err(error.take().map_or(AckError::Disconnected, AckError::Emit))),
            State::Waiting { slot, .. } => {
                // Types and wakers belong to the user: they are not read, cloned or dropped under
                // the lock.
                let Some(result) = slot.take_or_wait(cx.waker().clone()) else {
                    return Poll::Pending;
                };
                Poll::Ready(match result {
                    Ok(args) => from_args(args).map_err(AckError::Args),
                    Err(error) => Err(error.into()),
                })
            }
        }
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { socket, id, .. } = &self.state {
            socket.forget_ack(*id);
        }
    }
}

impl<T> fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}
