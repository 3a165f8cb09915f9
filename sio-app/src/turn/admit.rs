//! A socket is let in: its client is told, and it gets its rooms and what was sent to it before.

use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::recovery::Recipients;
use sio_proto::server::{Message, Outputs, SendError, Welcome};

use crate::turn::Turn;
use crate::turn::comeback::{Comeback, Seat};
use crate::turn::entry::Entry;
use crate::turn::heard::Heard;
use crate::turn::recovery::{self, Gone, Returned};
use crate::turn::shard::{Aftermath, State};
use crate::turn::socket::SocketCell;
use crate::turn::stored_values::EncodedValue;
use crate::turn::table::Table;

/// What has become of a socket that was to be let in.
#[derive(Default)]
pub(super) struct Admitted {
    /// False if the socket is gone, or must not be let in.
    pub(super) accepted: bool,
    /// Why the socket was not let in, although it is not gone.
    pub(super) stopped: Option<Stopped>,
    /// Whether it is the first socket of a rule's namespace.
    pub(super) begins: bool,
    /// What was done for the socket before. It may contain bytes of the user, which must not be
    /// dropped under a lock.
    pub(super) entry: Entry,
    pub(super) failed: Option<SendError>,
    /// The socket that the client had before, if events for it may still be under way and the
    /// handlers of the new socket have to wait for them.
    pub(super) before: Option<Arc<SocketCell>>,
}

/// Why a socket whose client wanted to come back is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The socket that the client had has been ended for good meanwhile, for example by a
    /// revocation. What was decided about the client may rest on the data of that socket.
    Ended,
    /// The client has lost its record, and no middleware has decided about it.
    Undecided,
    /// The client could not have its earlier socket back after all, so the new one needs an id of
    /// the application.
    Unnamed,
}

/// Lets a socket in.
pub(super) fn admit(turn: &Turn, socket: &Arc<SocketCell>, table: &Table) -> Admitted {
    match socket.seat() {
        None => socket.cell.input("accept", turn, |state, now, out| {
            let welcome = Welcome {
                id: socket.own_id().map(|id| id.as_str().into()),
                pid: None,
                rate: table.rate,
                confirmed: None,
            };
            enter(state, now, out, socket, table, &welcome, |state, entry| {
                join_and_send(state, now, socket, entry)
            })
        }),
        Some(seat) => admit_recoverable(turn, socket, table, seat),
    }
}

/// Lets the socket into its shard. `then` is called if the socket is let in.
fn enter(
    state: &mut State,
    now: Time,
    out: &mut Outputs,
    socket: &Arc<SocketCell>,
    table: &Table,
    welcome: &Welcome,
    then: impl FnOnce(&mut State, &mut Entry) -> Result<(), SendError>,
) -> Admitted {
    if !state.shard.accept_as(now, socket.key, welcome, out) {
        return Admitted::default();
    }
    let begins = table
        .names
        .as_ref()
        .is_some_and(|names| names.enter(socket.namespace()));
    let mut entry = socket.let_in(table);
    state.keep_expiry(socket);
    let failed = then(state, &mut entry).err();
    Admitted {
        accepted: true,
        stopped: None,
        begins,
        entry,
        failed,
        before: None,
    }
}

fn join_and_send(state: &mut State, now: Time, socket: &Arc<SocketCell>, entry: &mut Entry) -> Result<(), SendError> {
    let joined = entry.rooms.iter().map(|room| state.shard.join(socket.key, room));
    let joined = joined.fold(Ok(()), Result::and);
    let messages = entry.messages.iter_mut();
    let sent = messages.map(|(message, ack)| state.shard.emit(now, socket.key, message, *ack));
    sent.fold(joined, Result::and)
}

/// Lets in a socket that may come back, or that has come back. All of it is one step under the lock
/// of recovery: a message is either among those that were missed, or is sent to the new socket.
fn admit_recoverable(turn: &Turn, socket: &Arc<SocketCell>, table: &Table, seat: &Seat) -> Admitted {
    let recovery = Arc::clone(&socket.cell.recovery);
    let mut random = [0; 18];
    (socket.runtime().fill)(&mut random);
    let (mut after, mut gone) = (Aftermath::default(), Gone::default());
    let old = seat.take_old();
    let mut values = recovery.encode_values(socket);
    let admitted = recovery.with("accept", |state| {
        // A connection that is gone must not take the place of one that has come after it.
        if socket.is_gone() {
            return Admitted::default();
        }
        #[cfg(test)]
        cut_if_told(turn, socket, &mut after);
        if seat.former().is_some_and(|former| state.is_overtaken(former)) {
            close_session_of(turn, socket, &mut after);
            return Admitted::default();
        }
        let comes_back = socket.is_coming_back();
        let returned = reclaim(turn, state, socket, seat, (&mut after, &mut gone));
        let (pid, rooms, missed, before) = match returned {
            Some((Returned { pid, rooms, missed }, before)) => (Some(pid), rooms, missed, Some(before)),
            None => {
                let unnamed = comes_back && socket.cell.config.socket_id_prefix.is_some();
                let unnamed = unnamed.then_some(Stopped::Unnamed);
                if let Some(why) = seat.stopped(old.as_ref(), table).or(unnamed) {
                    return Admitted {
                        stopped: Some(why),
                        ..Admitted::default()
                    };
                }
                if let Some(stale) = seat.stale() {
                    state.give_up(stale, &mut gone);
                }
                let opened = state.open(socket, random);
                let pid = opened.and_then(|(key, pid)| {
                    seat.set_record(key, state.last_of(socket.namespace())?);
                    Some(pid)
                });
                (pid, Vec::new(), Vec::new(), None)
            }
        };
        let id = (socket.id() != socket.drawn_id()).then(|| socket.id().as_str().into());
        let confirmed = seat.heard().filter(|_| pid.is_some()).map(Heard::count);
        let welcome = Welcome {
            pid,
            id,
            rate: table.rate,
            confirmed,
        };
        let mut admitted = socket.cell.input_held("accept", turn, &mut after, |shard, now, out| {
            enter(shard, now, out, socket, table, &welcome, |shard, entry| {
                let replayed = replay(shard, now, socket, &rooms, missed);
                join_and_send_numbered(state, shard, now, (socket, entry), &mut gone).and(replayed)
            })
        });
        match (seat.record(), admitted.accepted, before) {
            (None, ..) => {}
            (Some(key), true, before) => {
                state.machine.let_in(key);
                state.note_socket(key, socket);
                state.note_values(key, socket, &mut values);
                admitted.before = before.filter(|_| confirmed.is_some());
            }
            // The connection was cut meanwhile.
            (Some(key), false, None) => state.close(key, &mut gone),
            (Some(_), false, Some(before)) => {
                if let Some(former) = seat.former() {
                    state.give_back(turn.now(), former, &before, &mut gone);
                }
            }
        }
        admitted
    });
    after.finish(turn, &socket.cell);
    gone.tell();
    if admitted.accepted {
        recovery.count(seat.outcome(), seat.absence());
        recovery.note_late_values(socket, values);
        socket.tell_record();
    } else {
        values.into_iter().for_each(EncodedValue::let_go);
    }
    admitted
}

/// Gives the client its old socket back. If its old connection still stands, it is closed first.
fn reclaim(
    turn: &Turn,
    state: &mut recovery::State,
    socket: &Arc<SocketCell>,
    seat: &Seat,
    (after, gone): (&mut Aftermath, &mut Gone),
) -> Option<(Returned, Arc<SocketCell>)> {
    let former = seat.former()?;
    match state.claim(former, socket.cell.recovery.room(), socket) {
        Ok((returned, old)) => {
            if let Some(last) = state.last_of(socket.namespace()) {
                seat.set_record(former.key, last);
            }
            socket.follow_expiry_of(&old, seat.old_expiry());
            seat.decide(Comeback::Recovered {
                missed: returned.missed.len(),
            });
            if !old.is_gone() {
                close_session_of(turn, &old, after);
            }
            gone.dropped.push(Arc::clone(&old));
            Some((returned, old))
        }
        Err(why) => {
            seat.decide(Comeback::Lost(why));
            None
        }
    }
}

/// Closes a connection that its client has left.
fn close_session_of(turn: &Turn, socket: &Arc<SocketCell>, after: &mut Aftermath) {
    socket.cell.input_held("take over", turn, after, |shard, now, out| {
        if let Some(session) = shard.shard.session_of(socket.key) {
            shard.shard.close_engine(now, session, out);
        }
    });
}

/// Puts a recovered socket into its rooms, and sends what was missed behind the answer to its
/// CONNECT. A genuine client that got the messages before the answer would deliver them twice, if
/// its connection were cut between the two.
fn replay(
    state: &mut State,
    now: Time,
    socket: &Arc<SocketCell>,
    rooms: &[ByteString],
    missed: Vec<Message>,
) -> Result<(), SendError> {
    let joined = rooms.iter().map(|room| state.shard.join(socket.key, room));
    let mut result = joined.fold(Ok(()), Result::and);
    for mut message in missed {
        let sent = state.shard.emit(now, socket.key, &mut message, None);
        result = result.and(sent);
    }
    result
}

/// Does what [`join_and_send`] does for a socket with a record. The messages of middlewares get
/// their numbers only now, so the shard encodes them.
fn join_and_send_numbered(
    state: &mut recovery::State,
    shard: &mut State,
    now: Time,
    (socket, entry): (&Arc<SocketCell>, &mut Entry),
    gone: &mut Gone,
) -> Result<(), SendError> {
    let record = socket.record();
    let mut result = Ok(());
    for room in &entry.rooms {
        let joined = shard.shard.join(socket.key, room);
        if let (Ok(()), Some(record)) = (joined, record) {
            state.join(record, room, gone);
        }
        result = result.and(joined);
    }
    for (message, ack) in &mut entry.messages {
        state.number(message);
        let sent = shard.shard.emit(now, socket.key, message, *ack);
        if let (Ok(()), Some(record)) = (sent, record) {
            state.keep(now, message, || Recipients::Record(record));
        }
        result = result.and(sent);
    }
    result
}

#[cfg(test)]
thread_local!(
    /// A test wants the connection of the next socket that may come back to be cut while the socket
    /// is let in.
    pub(crate) static CUT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }
);

/// Does what another thread may do at this moment.
#[cfg(test)]
fn cut_if_told(turn: &Turn, socket: &Arc<SocketCell>, after: &mut Aftermath) {
    if CUT.take() {
        close_session_of(turn, socket, after);
    }
}
