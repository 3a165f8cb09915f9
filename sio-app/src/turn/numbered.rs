//! Orders in namespaces with recovery. Each is one step under the lock of recovery: a message takes
//! its number, goes into the queues and is kept, and a room is joined in the shard and in the
//! record, before anything else happens.

use std::sync::Arc;
use std::task::Waker;

use bytestring::ByteString;
use sio_proto::recovery::{self, Recipients, RecordKey};
use sio_proto::server::{Command, Encoded, Kept, Message, SendError, Shard, Target};
use sio_proto::socket::Offset;
use sio_proto::{Arena, Frame, Time};

use crate::error::EmitError;
use crate::turn;
use crate::turn::last_number::LastNumber;
use crate::turn::order::Audience;
use crate::turn::recovery::Gone;
use crate::turn::shard::{Aftermath, ShardCell, State};
use crate::turn::socket::SocketCell;

/// Sends a message to one socket. If its client is away, the message is kept for it. If the client
/// has come back with another socket, the message goes there.
pub(super) fn send_numbered(
    to: &SocketCell,
    numbered: (RecordKey, &LastNumber),
    message: &mut Message,
    bytes: usize,
) -> Result<(), EmitError> {
    let recovery = &to.cell.recovery;
    turn::act(to.runtime(), |turn| {
        let act = |state: &mut turn::recovery::State, message: &mut Message| {
            let (mut sent, mut heir) = (queue(turn, to, message, bytes), None);
            if sent.result == Err(SendError::Disconnected) {
                (sent, heir) = send_to_heir(turn, state, numbered.0, message, bytes);
            }
            if sent.result.is_ok() {
                state.keep_for(turn.now(), message, numbered);
            }
            (sent, heir)
        };
        let last = |_: &turn::recovery::State| Some(numbered.1.last());
        let (sent, heir) = recovery.numbered(last, message, &to.cell.config, act);
        if let Some(timer) = sent.wake {
            timer.wake();
        }
        // The socket may have data of the user, which must not be dropped under a lock.
        drop(heir);
        // The turn writes to the store, even if the client is away.
        if recovery.keeper.is_some() {
            turn.touch(&to.cell);
        }
        turn.emitted(bytes, sent.has_enough);
        Ok(sent.result?)
    })
}

/// An event that has been written in one go, for the client of one socket.
pub(crate) trait Written {
    /// Queues it for the client.
    fn send(&self, shard: &mut Shard, now: Time, to: &SocketCell) -> Result<(), SendError>;

    /// Returns it as it is kept, and the bytes that it takes.
    fn kept(&self, arena: &mut Arena) -> (Kept, usize);
}

// The queue and the caller share the memory of the packets.
impl Written for Frame {
    #[inline(always)]
    fn send(&self, shard: &mut Shard, now: Time, to: &SocketCell) -> Result<(), SendError> {
        shard.emit_text(now, to.key, to.form, self.clone())
    }

    #[inline(always)]
    fn kept(&self, arena: &mut Arena) -> (Kept, usize) {
        self.kept(arena)
    }
}

impl Written for Encoded {
    fn send(&self, shard: &mut Shard, now: Time, to: &SocketCell) -> Result<(), SendError> {
        shard.emit_encoded(now, to.key, to.form, self.clone())
    }

    fn kept(&self, arena: &mut Arena) -> (Kept, usize) {
        self.kept(arena)
    }
}

/// Sends an event that has been written in one go, with this offset, to one socket. Returns `None`
/// if another message has taken the number, or if the socket is gone. Then nothing has been done,
/// and the caller sends the event as a message.
#[inline]
pub(crate) fn send_written(
    to: &SocketCell,
    (record, last): (RecordKey, &LastNumber),
    offset: Offset,
    message: &impl Written,
    bytes: usize,
) -> Option<Result<(), EmitError>> {
    let recovery = &to.cell.recovery;
    turn::act(to.runtime(), |turn| {
        let (sent, enough) = recovery.if_next(last, offset, |state| {
            let (sent, enough) = to.cell.enqueue("emit", turn, |shard, now| {
                let sent = message.send(&mut shard.shard, now, to);
                (sent, shard.unwritten.add(bytes, 1))
            });
            if sent.is_ok() {
                let kept = |arena: &mut Arena| message.kept(arena);
                state.keep_written_for(turn.now(), to.namespace(), offset, kept, (record, last));
            }
            (sent, enough)
        })?;
        turn.emitted(bytes, enough);
        match sent {
            Ok(()) => Some(Ok(())),
            Err(SendError::Disconnected) => None,
            Err(error) => Some(Err(error.into())),
        }
    })
}

/// What has become of a message to one socket.
struct Queued {
    result: Result<(), SendError>,
    /// Whether the shard has enough to write.
    has_enough: bool,
    /// Woken when no lock is held.
    wake: Option<Waker>,
}

/// Queues a message for one socket, for a caller that holds the lock of recovery.
#[inline(always)]
fn queue(turn: &turn::Turn, to: &SocketCell, message: &mut Message, bytes: usize) -> Queued {
    let ((result, has_enough), wake) = to.cell.queue_held("emit", turn, |shard, now| {
        let sent = shard.shard.emit(now, to.key, message, None);
        (sent, shard.unwritten.add(bytes, 1))
    });
    Queued {
        result,
        has_enough,
        wake,
    }
}

/// Sends a message for a socket that is gone to the socket with which its client has come back. The
/// client may be away, perhaps once more. What is volatile does not wait for it.
#[cold]
fn send_to_heir(
    turn: &turn::Turn,
    state: &turn::recovery::State,
    record: RecordKey,
    message: &mut Message,
    bytes: usize,
) -> (Queued, Option<Arc<SocketCell>>) {
    let heir = state.heir(record);
    let mut sent = match heir.as_ref().filter(|heir| heir.is_connected()) {
        Some(heir) => queue(turn, heir, message, bytes),
        None => Queued {
            result: Err(SendError::Disconnected),
            has_enough: false,
            wake: None,
        },
    };
    if sent.result == Err(SendError::Disconnected) && heir.is_some() && !message.is_volatile() {
        sent.result = Ok(());
    }
    (sent, heir)
}

/// Sends a message to many sockets, in the shards from the one with this index on.
pub(super) fn broadcast_numbered(to: Audience<'_>, from: usize, bytes: usize, mut message: Message) {
    let recovery = &to.shards.recovery;
    let Some(first) = to.shards.cells.first() else { return };
    turn::act(to.shards.runtime, |turn| {
        let mut after = Aftermath::default();
        let act = |state: &mut turn::recovery::State, message: &mut Message| {
            state.keep(turn.now(), message, || kept_audience(to));
            fan_out(to, from, bytes, turn, &mut after, message)
        };
        let last = |state: &turn::recovery::State| state.last(&to.target.namespace);
        let (ready, enough) = recovery.numbered(last, &mut message, &to.shards.config, act);
        after.finish(turn, first);
        // The turn writes to the store, even if nobody is there who gets the message.
        if recovery.keeper.is_some() {
            turn.touch(first);
        }
        turn.broadcast(bytes, ready, enough);
    });
}

/// Queues a message for all sockets of an audience, in the shards from the one with the index
/// `from` on, for a caller that holds a lock. Returns how
/// many links are ready to write, and whether a shard has enough to write.
pub(super) fn fan_out(
    to: Audience<'_>,
    from: usize,
    bytes: usize,
    turn: &turn::Turn,
    after: &mut Aftermath,
    message: &mut Message,
) -> (usize, bool) {
    let (mut ready, mut enough) = (0, false);
    let is_left = |cell: &&Arc<ShardCell>| from == 0 || to.shards.behind(Some(cell)) > from;
    for cell in to.cells().filter(is_left) {
        let target = to.target_in(cell);
        let (links, has_enough) = cell.input_held("broadcast", turn, after, |state, now, out| {
            let State { shard, unwritten, .. } = state;
            shard.broadcast(now, &target, message, out);
            let links = shard.ready_links();
            (links, unwritten.add(bytes, links))
        });
        (ready, enough) = (ready + links, enough || has_enough);
    }
    (ready, enough)
}

/// Returns the audience as logs know it. The sender is known by its id.
pub(super) fn kept_audience(to: Audience<'_>) -> Recipients {
    let Target { rooms, except, .. } = to.target;
    let sender = to.sender.map(|sender| ByteString::from(sender.id().as_str()));
    Recipients::Audience(recovery::Audience {
        rooms: rooms.clone(),
        except: except.iter().cloned().chain(sender).collect(),
    })
}

/// Puts a socket into a room, and notes it in its record.
pub(super) fn join_recorded(socket: &Arc<SocketCell>, record: RecordKey, room: &str) -> Result<(), EmitError> {
    let is_own = *room == **socket.id();
    turn::act(socket.runtime(), |turn| {
        let (mut after, mut gone) = (Aftermath::default(), Gone::default());
        let joined = socket.cell.recovery.with("join", |state| {
            let cell = &socket.cell;
            let joined = cell.input_held("join", turn, &mut after, |shard, _, _| {
                shard.shard.join(socket.key, room)
            });
            if joined.is_ok() && !is_own {
                state.join(record, &room.into(), &mut gone);
            }
            joined
        });
        after.finish(turn, &socket.cell);
        gone.tell();
        Ok(joined?)
    })
    .inspect(|()| socket.tell_record())
}

/// Takes a socket out of a room, and notes it in its record. Nobody leaves the room of its own id.
pub(super) fn leave_recorded(socket: &Arc<SocketCell>, record: RecordKey, room: &str) {
    if *room == **socket.id() {
        return;
    }
    turn::act(socket.runtime(), |turn| {
        let mut after = Aftermath::default();
        socket.cell.recovery.with("leave", |state| {
            socket.cell.input_held("leave", turn, &mut after, |shard, _, _| {
                shard.shard.leave(socket.key, room);
            });
            // If the client has come back with another socket, that one stays in its rooms.
            if state.belongs_to(record, socket) {
                state.leave(record, room);
            }
        });
        after.finish(turn, &socket.cell);
    });
    socket.tell_record();
}

/// Has all sockets of an audience join or leave rooms, and notes it in their records.
pub(super) fn change_recorded(to: Audience<'_>, rooms: &[ByteString], command: impl Fn(Target) -> Command) {
    let Some(first) = to.shards.cells.first() else { return };
    // The room of a socket's own id is not left.
    let others: Vec<&ByteString> = rooms.iter().filter(|room| !to.shards.is_id(room)).collect();
    let mut changed = Vec::new();
    turn::act(to.shards.runtime, |turn| {
        let (mut after, mut gone) = (Aftermath::default(), Gone::default());
        to.shards.recovery.with("rooms", |records| {
            for cell in to.cells() {
                let target = to.target_in(cell);
                cell.input_held("command", turn, &mut after, |state, now, out| {
                    let members = state.shard.members(&target);
                    state.shard.handle_command(now, command(target.into_owned()), out);
                    for key in members {
                        let Some(socket) = state.find(key) else { continue };
                        let Some(record) = socket.record() else { continue };
                        let current = state.shard.rooms(key);
                        for room in &others {
                            match current.contains(room) {
                                true => records.join(record, room, &mut gone),
                                false => records.leave(record, room),
                            }
                        }
                        changed.push(socket);
                    }
                });
            }
        });
        after.finish(turn, first);
        gone.tell();
    });
    changed.iter().for_each(SocketCell::tell_record);
}
