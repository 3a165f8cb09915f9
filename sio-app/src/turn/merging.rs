//! Messages that are put together with a waiting message of the same key.
//!
//! ```text
//!   read what waits ─► the user's function, no lock held ─► replace, if the same still waits
//!         ▲                                                        │ something else waits
//!         └────────────────────────────────────────────────────────┘
//! ```
//! What waits stays in the queue meanwhile, so it leaves when the client has room, whatever the
//! function does. A queue belongs to one shard of this process, so this is no order for other
//! nodes.

use sio_proto::server::{Key, Message};
use sio_proto::socket::Args;

use crate::error::EmitError;
use crate::turn;
use crate::turn::socket::SocketCell;

/// Returns the arguments of the message with this key that waits for the socket.
pub(crate) fn waiting(socket: &SocketCell, key: &Key) -> Option<Args> {
    socket
        .cell
        .ask("waiting", |state| state.shard.waiting(socket.key, key).cloned())
}

/// Queues a message, if the message of the key that waits for the socket has these arguments.
/// Returns `None` if it has not.
pub(crate) fn send_if(
    socket: &SocketCell,
    key: &Key,
    known: &Args,
    message: &mut Message,
    bytes: usize,
) -> Option<Result<(), EmitError>> {
    turn::act(socket.runtime(), |turn| {
        let sent = socket.cell.queue("merge", turn, |state, now| {
            if state.shard.waiting(socket.key, key) != Some(known) {
                return None;
            }
            let sent = state.shard.emit(now, socket.key, message, None);
            Some((sent, state.unwritten.add(bytes, 1)))
        });
        let (sent, enough) = sent?;
        turn.emitted(bytes, enough);
        Some(sent.map_err(EmitError::from))
    })
}
