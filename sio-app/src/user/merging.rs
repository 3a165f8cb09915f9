//! Sending by a policy: to one socket, and to the recipients of a broadcast for which a message of
//! the same key waits.

use std::cell::Cell;
use std::sync::Arc;

use bytes::BytesMut;
use sio_proto::server::{self, Key, Sent};

use crate::error::{EmitError, HandlerError};
use crate::guarded::guarded;
use crate::turn::merging::{send_if, waiting};
use crate::turn::policy::{MergeFn, Policy};
use crate::turn::socket::SocketCell;
use crate::user::emitter::Emitter;
use crate::user::message::{Draft, send_draft, with_scratch};

/// How often the user's function is called for one message, if other threads emit with the same key
/// meanwhile. Then both messages are sent.
const TRIES: usize = 8;

/// How deep functions of the user may run inside each other, because a function emits an event that
/// is merged, too. Below this, both messages are sent. So a function that emits its own event ends.
const MOST_NESTED: usize = 2;

thread_local!(static NESTED: Cell<usize> = const { Cell::new(0) });

/// Sends an event to one socket by a policy.
pub(crate) fn send_by(socket: &Arc<SocketCell>, draft: Draft, policy: &Policy) -> Result<(), EmitError> {
    let in_core = policy.in_core(socket.namespace(), draft.name(), draft.args())?;
    // A message that a client has missed is sent to it again as it was, so nothing is put together
    // for clients that may come back. Before the socket is let in, nothing waits.
    let is_counted = socket.is_asking() || socket.record().is_some();
    match (policy.merge_fn(), in_core) {
        (Some(merge), server::Policy::Merge(key)) if !is_counted => send_merged(socket, &draft.owned(), &key, merge),
        (_, in_core) => {
            let in_core = match in_core {
                server::Policy::Merge(_) => server::Policy::Refuse,
                in_core => in_core,
            };
            let ends = in_core == server::Policy::Ordered && !socket.is_asking();
            let rest = ends.then(|| draft.clone());
            let sent = with_scratch(|scratch| send_draft(socket, draft.by(in_core), None, false, scratch));
            match (sent, rest) {
                // A broadcast to this socket alone ends its session if the queue is still full.
                (Err(EmitError::Full), Some(draft)) => {
                    let sent = Emitter::to_one(socket).send_draft(draft);
                    if sent.reached == 1 {
                        Ok(())
                    } else {
                        Err(EmitError::Full)
                    }
                }
                (sent, _) => sent,
            }
        }
    }
}

/// Sends an event to one socket, or puts it together with the one of its key that waits.
pub(crate) fn send_merged(
    socket: &Arc<SocketCell>,
    draft: &Draft,
    key: &Key,
    merge: &MergeFn,
) -> Result<(), EmitError> {
    let most = socket.cell.config.max_queued_bytes;
    for _ in 0..TRIES {
        if NESTED.get() >= MOST_NESTED {
            break;
        }
        let Some(known) = waiting(socket, key) else { break };
        NESTED.set(NESTED.get() + 1);
        let merged = guarded(|| merge(&known, draft.args(), most));
        NESTED.set(NESTED.get() - 1);
        let merged = match merged {
            Ok(Ok(Some(args))) => draft.with_args(args).owned(),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                report(socket, draft, &HandlerError::Emit(error));
                break;
            }
            Err(panic) => {
                report(socket, draft, &panic);
                break;
            }
        };
        let bytes = merged.len();
        let mut message = merged
            .by(server::Policy::Merge(key.clone()))
            .message(socket.namespace(), None, None);
        if let Err(error) = message.encode(socket.form, &socket.cell.config, &mut BytesMut::new()) {
            report(socket, draft, &HandlerError::Emit(error.into()));
            break;
        }
        if let Some(sent) = send_if(socket, key, &known, &mut message, bytes) {
            return sent;
        }
    }
    let behind = draft.clone().by(server::Policy::Behind(key.clone()));
    with_scratch(|scratch| send_draft(socket, behind, None, false, scratch))
}

fn report(socket: &Arc<SocketCell>, draft: &Draft, error: &HandlerError) {
    if let Some(application) = socket.application() {
        application.report(Some(socket), draft.name(), error);
    }
}

/// Counts the result of an event to one socket.
pub(crate) const fn counted(sent: &Result<(), EmitError>) -> Sent {
    let (reached, dropped, refused) = match sent {
        Ok(()) => (1, 0, 0),
        Err(EmitError::Dropped) => (0, 1, 0),
        Err(EmitError::Disconnected) => (0, 0, 0),
        Err(_) => (0, 0, 1),
    };
    Sent {
        reached,
        dropped,
        refused,
    }
}
