//! A request that waits for the application's decision.
//!
//! ```text
//!   request ─► hook: a future, polled in place ── ready ─────────────────────► shard
//!                      └─ pending: counted, copied ─► polled by its connection ─┘
//!                                     └─ deadline, panic, too many: refused
//! ```
//! The future belongs to the connection of its request: if the connection ends, the future is
//! dropped, and no session is opened. It is polled and dropped under no lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::Time;
use sio_proto::server::{Admission, Handshake, Request};

use crate::error::HandlerError;
use crate::guarded::guarded;
use crate::turn::refusal::Refusal;
use crate::user::hooks::{AllowFuture, AllowLaterFn};
use crate::user::inner::Inner;
use crate::user::sleep::Sleep;

/// The client gets this text when the decision about its request has taken too long.
const TOO_LATE: &str = "Not decided in time";

/// The client gets this text when too many requests wait for a decision.
const TOO_MANY: &str = "Too many requests wait";

/// The user's future. Dropping it runs user code, so a panic is caught there, too.
struct Guarded(Option<AllowFuture>);

impl Drop for Guarded {
    fn drop(&mut self) {
        let decision = self.0.take();
        let _ = guarded(|| drop(decision));
    }
}

pub(super) struct Asking {
    request: Request,
    decision: Guarded,
    deadline: Sleep,
    /// The memory that the request takes while it waits, in bytes.
    bytes: usize,
}

/// The result of asking the application.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(super) enum Asked {
    Decided(Request),
    Waits(Box<Asking>),
}

impl Asking {
    /// Asks the application. Most futures are ready at once; then the request is not copied.
    pub(super) fn begin(io: &Arc<Inner>, hook: &AllowLaterFn, mut request: Request, now: Time) -> Asked {
        request.prepare(io.config(), now);
        let Some(handshake) = request.prepared() else {
            return Asked::Decided(request);
        };
        let bytes = request.http.target.len() + handshake_bytes(&handshake);
        let mut decision = match guarded(|| hook(handshake)) {
            Ok(decision) => decision,
            Err(error) => {
                request.admission = failed(io, &error);
                return Asked::Decided(request);
            }
        };
        let noop = &mut Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(admission) = poll(io, &mut decision, noop) {
            let _ = guarded(|| drop(decision));
            request.admission = admission;
            return Asked::Decided(request);
        }
        // There is at least one shard.
        let deadline = Sleep::new(Arc::clone(&io.shards.cells[0]), now + io.options.allow_request_timeout);
        // A handshake has no use for a body.
        if let Ok(body) = &mut request.http.body {
            body.clear();
        }
        drop(request.take_packets());
        // A waiting request must not keep a read buffer, so it is copied.
        request.http = request.http.compact();
        Asked::Waits(Box::new(Self {
            request,
            decision: Guarded(Some(decision)),
            deadline,
            bytes,
        }))
    }

    /// The memory that the request takes while it waits, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Polls the decision.
    pub(super) fn poll(&mut self, io: &Inner, cx: &mut Context<'_>) -> Poll<Admission> {
        let Some(decision) = &mut self.decision.0 else {
            return Poll::Ready(Admission::NotAsked);
        };
        let polled = poll(io, decision, cx);
        if polled.is_ready() {
            return polled;
        }
        std::task::ready!(Pin::new(&mut self.deadline).poll(cx));
        io.warnings.undecided.say(io.now(), || {
            tracing::warn!("allow_request took longer than Options::allow_request_timeout: a request is refused");
        });
        Poll::Ready(Admission::Refused(TOO_LATE.into()))
    }

    /// Refuses the request because too many others wait.
    pub(super) fn refuse(self, io: &Inner) -> Request {
        io.warnings.undecided.say(io.now(), || {
            tracing::warn!("too many requests wait for allow_request: a request is refused");
        });
        self.decided(Admission::Refused(TOO_MANY.into()))
    }

    /// Returns the request with this decision.
    pub(super) fn decided(self, admission: Admission) -> Request {
        self.request.admission(admission)
    }
}

/// Polls the user's future once. If it panics, the request is refused.
fn poll(io: &Inner, decision: &mut AllowFuture, cx: &mut Context<'_>) -> Poll<Admission> {
    match guarded(|| decision.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(()))) => Poll::Ready(Admission::Allowed),
        Ok(Poll::Ready(Err(message))) => Poll::Ready(Admission::Refused(message.into())),
        Err(error) => Poll::Ready(failed(io, &error)),
    }
}

fn failed(io: &Inner, error: &HandlerError) -> Admission {
    io.report(None, "allow_request", error);
    Admission::Refused(Refusal::INTERNAL.into())
}

fn handshake_bytes(handshake: &Handshake) -> usize {
    handshake
        .headers()
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
        + handshake.target().len()
}
