//! The acknowledgements of a broadcast.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::args::from_args;
use crate::error::{AckError, EmitError};
use crate::turn::socket_id::SocketId;
use crate::turn::survey::{OpenSurvey, Outcome};

/// The acknowledgements of a broadcast, when every recipient has been heard of. Await it for all of
/// them, or take them one by one with [`BroadcastAcks::next`].
/// [`TimedEmitter::emit_with_ack`](crate::TimedEmitter::emit_with_ack) returns it.
///
/// The event has been sent already, even if this value is never polled. If it is dropped, the
/// clients owe nothing any more, and their answers are ignored.
#[must_use = "the event is sent at once; await this for the answers, or use `emit`"]
pub struct BroadcastAcks<T> {
    state: Result<OpenSurvey, Option<EmitError>>,
    answer: PhantomData<fn() -> T>,
}

/// One recipient of a broadcast, and its answer or the reason why there is none.
pub type BroadcastAnswer<T> = (SocketId, Result<T, AckError>);

/// What has become of a broadcast that asked for acknowledgements. Each recipient is in one of the
/// two lists, once.
#[derive(Debug)]
pub struct BroadcastAnswers<T> {
    /// The sockets that have answered, with their answers, in the order in which the answers came.
    pub answers: Vec<(SocketId, T)>,
    /// The sockets without an answer, with the reasons, in the order in which the reasons became
    /// known: sockets that could not be asked come first, and sockets that have not answered in
    /// time ([`AckError::TimedOut`]) come last.
    pub missing: Vec<(SocketId, AckError)>,
}

impl<T> BroadcastAnswers<T> {
    /// Whether every recipient has answered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the answers alone, in the order in which they came.
    #[must_use]
    pub fn into_values(self) -> Vec<T> {
        self.answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

impl<T> BroadcastAcks<T> {
    pub(crate) fn new(asked: Result<OpenSurvey, EmitError>) -> Self {
        Self {
            state: asked.map_err(Some),
            answer: PhantomData,
        }
    }
}

impl<T: DeserializeOwned + 'static> BroadcastAcks<T> {
    /// Waits for the next recipient that answers, or of which it is known that it will not answer.
    /// Returns `None` when every recipient has been heard of, which is at the time limit at the
    /// latest. Nothing is lost if the returned future is dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::{EmitError, Io};
    /// # async fn ask(io: Io) -> Result<(), EmitError> {
    /// let mut acks = io.to("quiz").timeout(Duration::from_secs(10)).emit_with_ack::<u8>("guess", ());
    /// while let Some((socket, guess)) = acks.next().await? {
    ///     match guess {
    ///         Ok(guess) => println!("{socket} guesses {guess}"),
    ///         Err(why) => println!("{socket} does not guess: {why}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If nothing was sent, as for the whole future. After the error, the result is `None`.
    pub async fn next(&mut self) -> Result<Option<BroadcastAnswer<T>>, EmitError> {
        match &mut self.state {
            Err(error) => error.take().map_or(Ok(None), Err),
            Ok(survey) => {
                let next = poll_fn(|cx| survey.poll_next(cx.waker())).await;
                Ok(next.map(read))
            }
        }
    }
}

impl<T: DeserializeOwned + 'static> Future for BroadcastAcks<T> {
    /// An error means that nothing was sent to anybody.
    type Output = Result<BroadcastAnswers<T>, EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let survey = match &mut self.state {
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or(EmitError::Disconnected))),
            Ok(survey) => survey,
        };
        let Poll::Ready(outcomes) = survey.poll_all(cx.waker()) else {
            return Poll::Pending;
        };
        let (mut answers, mut missing) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match read(outcome) {
                (id, Ok(answer)) => answers.push((id, answer)),
                (id, Err(why)) => missing.push((id, why)),
            }
        }
        Poll::Ready(Ok(BroadcastAnswers { answers, missing }))
    }
}

/// Reads an answer as the type that the caller asked for. This runs code of the user.
fn read<T: DeserializeOwned + 'static>((id, result): Outcome) -> BroadcastAnswer<T> {
    (id, result.and_then(|args| from_args(args).map_err(AckError::Args)))
}

impl<T> fmt::Debug for BroadcastAcks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAcks").finish_non_exhaustive()
    }
}
