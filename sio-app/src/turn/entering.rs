//! The last step of a client that catches up in a room with a history: it joins the room, and is
//! told so.

use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::recovery::Recipients;
use sio_proto::server::{Message, SendError};
use sio_proto::socket::Offset;

use crate::error::EmitError;
use crate::turn::history::RoomHistory;
use crate::turn::recovery::Gone;
use crate::turn::shard::Aftermath;
use crate::turn::socket::SocketCell;
use crate::turn::{self, Turn};

/// What has become of a socket that has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It is in the room, and the mark is queued.
    In,
    /// Something was said meanwhile, so nothing has happened.
    Behind,
    /// The queue has no room for the mark, so nothing has happened.
    Full,
}

/// Puts a socket into a room, and sends it a mark, in one step: if `place` is still behind the last
/// event of the room's history. `None` means that the room has no history yet.
///
/// # Errors
/// If the mark cannot be sent at all, or the room cannot be joined. Then nothing has happened.
pub(crate) fn join_at(
    socket: &Arc<SocketCell>,
    room: &ByteString,
    history: Option<&RoomHistory>,
    place: Option<Offset>,
    (mark, bytes): (&mut Message, usize),
) -> Result<Entered, EmitError> {
    let Some(application) = socket.application() else {
        return Err(EmitError::Disconnected);
    };
    let shards = application.shards();
    turn::act(socket.runtime(), |turn| {
        let (mut after, mut gone) = (Aftermath::default(), Gone::default());
        let mut step = |mark: &mut Message, records: Option<&mut turn::recovery::State>| match history {
            Some(history) => {
                let state = history.state.lock_for("join");
                match Some(state.last()) == place && history.is_current() {
                    true => enter(turn, (&mut after, &mut gone), socket, room, mark, records),
                    false => Ok(Entered::Behind),
                }
            }
            None => {
                let histories = &shards.histories;
                let entered = histories.without(socket.namespace(), room, || {
                    enter(turn, (&mut after, &mut gone), socket, room, mark, records)
                });
                entered.unwrap_or(Ok(Entered::Behind))
            }
        };
        let done = match socket.record() {
            None => step(mark, None),
            Some(_) => {
                let recovery = &socket.cell.recovery;
                let last = |state: &turn::recovery::State| state.last(socket.namespace());
                recovery.numbered(last, mark, &socket.cell.config, |state, mark| step(mark, Some(state)))
            }
        };
        after.finish(turn, &socket.cell);
        gone.tell();
        if matches!(done, Ok(Entered::In)) {
            turn.emitted(bytes, false);
        }
        done
    })
}

/// Joins the room, and queues the mark. The history is locked.
fn enter(
    turn: &Turn,
    (after, gone): (&mut Aftermath, &mut Gone),
    socket: &Arc<SocketCell>,
    room: &ByteString,
    mark: &mut Message,
    records: Option<&mut turn::recovery::State>,
) -> Result<Entered, EmitError> {
    let entered = socket.cell.input_held("join", turn, after, |state, now, _| {
        state.shard.join(socket.key, room)?;
        let sent = state.shard.emit(now, socket.key, mark, None);
        if sent.is_err() {
            state.shard.leave(socket.key, room);
        }
        match sent {
            Ok(()) => Ok(Entered::In),
            Err(SendError::Full) => Ok(Entered::Full),
            Err(error) => Err(error),
        }
    })?;
    if entered == Entered::Full {
        return Ok(entered);
    }
    if let (Some(records), Some(record)) = (records, socket.record()) {
        records.join(record, room, gone);
        records.keep(turn.now(), mark, || Recipients::Record(record));
    }
    Ok(entered)
}
