//! Orders to sockets, and the one function that carries them out, in each shard that has sockets of
//! the target, under the shard's own lock.
//!
//! Everything that goes from the user's side to sockets passes through this file: messages, joins,
//! leaves, disconnects and look-ups, for one socket or for all sockets in a target. Orders for all
//! sockets in a target come from the emitter, which also passes them on to the other nodes of a
//! cluster.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use sio_proto::Frame;
use sio_proto::server::{AckRequest, Command, Encoded, Form, Forms, Message, Reason, Target};

use crate::error::EmitError;
use crate::turn;
use crate::turn::asking::{Asking, ask};
use crate::turn::history::broadcast_kept;
use crate::turn::numbered::{broadcast_numbered, change_recorded, join_recorded, leave_recorded, send_numbered};
use crate::turn::recovery::Last;
use crate::turn::shard::{ShardCell, State};
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::survey::OpenSurvey;

/// An order to sockets.
pub(crate) enum Order<'a> {
    /// Sends a message to one socket. The message is encoded in the socket's form. `bytes` is about
    /// the size of the message. If it asks for an acknowledgement, the socket has a place for the
    /// answer ([`SocketCell::open_ack`]).
    Send {
        to: &'a SocketCell,
        message: &'a mut Message,
        bytes: usize,
        ack: Option<AckRequest>,
    },
    /// Sends a message to many sockets. `write` is called under no lock. It must encode the message
    /// in the given forms, which are all forms that any shard needs, with what the stamp says. The
    /// shards share the bytes. `write` is called once, or, if the message goes into the history of
    /// a room, each time that another message has taken its place.
    Broadcast {
        to: Audience<'a>,
        bytes: usize,
        write: &'a mut WriteFn<'a>,
    },
    /// Sends a message to many sockets, and asks each for an acknowledgement. The answers go to
    /// the survey. `write` is called once, under no lock, and encodes the message in the given
    /// forms.
    Ask {
        to: Audience<'a>,
        bytes: usize,
        timeout: Duration,
        survey: &'a OpenSurvey,
        write: &'a mut dyn FnMut(Forms) -> Asking,
    },
    /// The sockets join rooms.
    Join { to: To<'a>, rooms: &'a [&'a str] },
    /// The sockets leave rooms.
    Leave { to: To<'a>, rooms: &'a [&'a str] },
    /// The sockets leave their namespace. With `close`, their whole sessions end.
    Disconnect { to: To<'a>, close: bool },
    /// The socket leaves its namespace, because its credentials have ended. The reason says why.
    Dismiss { to: &'a Arc<SocketCell>, reason: Reason },
    /// `found` is called for each room of the audience's namespace that has members, with the
    /// number of its members in one shard. If the room has members in several shards, it is called
    /// once for each of them. If the target names rooms, it is called for these rooms only. It is
    /// called under the lock of the shard.
    Rooms {
        to: Audience<'a>,
        found: &'a mut dyn FnMut(&ByteString, usize),
    },
    /// `found` is called with each of the sockets, under the lock of the socket's shard.
    Find {
        to: To<'a>,
        found: &'a mut dyn FnMut(Arc<SocketCell>),
    },
}

/// Writes the message of a broadcast.
pub(crate) type WriteFn<'a> = dyn FnMut(Forms, Stamp) -> Message + 'a;

/// What a message tells its recipients of its place among others.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stamp {
    /// The last number of a namespace with recovery.
    pub(crate) recovery: Option<Last>,
    /// The last place in the history of the room that the message is for.
    pub(crate) history: Option<Last>,
}

/// The sockets that an order is for.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// This socket.
    Socket(&'a Arc<SocketCell>),
    /// The socket with this id. Only the shard that the id names is asked.
    Id(&'a Shards, &'a str),
    /// All sockets in a target.
    All(Audience<'a>),
}

/// All sockets in a target.
#[derive(Clone, Copy)]
pub(crate) struct Audience<'a> {
    pub(crate) shards: &'a Shards,
    pub(crate) target: &'a Target,
    /// The socket that sends the order. It is left out.
    pub(crate) sender: Option<&'a Arc<SocketCell>>,
}

/// Carries out an order.
///
/// # Errors
/// If one socket is meant, and it cannot do what the order says. If many sockets are meant, each
/// does what it can, and there is no error. [`EmitError::ReservedRoom`] if the name of the room is
/// the id of another socket; then no socket joins.
#[inline]
pub(crate) fn carry_out(order: Order<'_>) -> Result<(), EmitError> {
    match order {
        Order::Send {
            to,
            message,
            bytes,
            ack,
        } => send(to, message, bytes, ack),
        Order::Broadcast { to, bytes, write } => broadcast(to, bytes, write),
        Order::Ask {
            to,
            bytes,
            timeout,
            survey,
            write,
        } => {
            ask(to, bytes, timeout, survey, write);
            Ok(())
        }
        Order::Join { to, rooms } => join(to, rooms),
        Order::Leave { to, rooms } => {
            leave(to, rooms);
            Ok(())
        }
        Order::Disconnect { to, close } => {
            disconnect(to, close);
            Ok(())
        }
        Order::Dismiss { to, reason } => {
            dismiss(to, reason);
            Ok(())
        }
        Order::Rooms { to, found } => {
            rooms(to, found);
            Ok(())
        }
        Order::Find { to, found } => {
            find(to, found);
            Ok(())
        }
    }
}

impl<'a> Audience<'a> {
    /// Returns the shards that may have sockets of the audience.
    pub(super) fn cells(&self) -> impl Iterator<Item = &'a Arc<ShardCell>> + Clone + use<'a> {
        self.shards.of_target(self.target)
    }

    /// Returns the target for one shard. Only the sender's own shard knows the sender.
    pub(super) fn target_in(&self, cell: &Arc<ShardCell>) -> Cow<'a, Target> {
        match self.sender.filter(|socket| Arc::ptr_eq(&socket.cell, cell)) {
            None => Cow::Borrowed(self.target),
            Some(sender) => Cow::Owned(Target {
                except_socket: Some(sender.key),
                ..self.target.clone()
            }),
        }
    }

    /// Gives each of these shards the same command.
    fn command(&self, command: impl Fn(Target) -> Command) {
        turn::act(self.shards.runtime, |turn| {
            for cell in self.cells() {
                let command = command(self.target_in(cell).into_owned());
                cell.input("command", turn, |state, now, out| {
                    state.shard.handle_command(now, command, out)
                });
            }
        });
    }
}

/// Queues a message for one socket. In a turn it leaves at the end of the turn. Otherwise it leaves
/// at once.
#[inline]
fn send(to: &SocketCell, message: &mut Message, bytes: usize, ack: Option<AckRequest>) -> Result<(), EmitError> {
    if let Some(numbered) = to.numbered()
        && message.carries_offset()
    {
        return send_numbered(to, numbered, message, bytes);
    }
    turn::act(to.runtime(), |turn| {
        let (sent, enough) = to.cell.queue("emit", turn, |state, now| {
            let sent = state.shard.emit(now, to.key, message, ack);
            (sent, state.unwritten.add(bytes, 1))
        });
        turn.emitted(bytes, enough);
        Ok(sent?)
    })
}

/// Queues a message for one socket that has been written in one go, as [`Order::Send`] queues
/// other messages.
#[inline]
pub(crate) fn send_encoded(to: &SocketCell, message: Encoded, bytes: usize) -> Result<(), EmitError> {
    turn::act(to.runtime(), |turn| {
        let (sent, enough) = to.cell.enqueue("emit", turn, |state, now| {
            let sent = state.shard.emit_encoded(now, to.key, to.form, message);
            (sent, state.unwritten.add(bytes, 1))
        });
        turn.emitted(bytes, enough);
        Ok(sent?)
    })
}

/// Does what [`send_encoded`] does for a message without attachments.
#[inline]
pub(crate) fn send_text(to: &SocketCell, packet: Frame, bytes: usize) -> Result<(), EmitError> {
    turn::act(to.runtime(), |turn| {
        let (sent, enough) = to.cell.enqueue("emit", turn, |state, now| {
            let sent = state.shard.emit_text(now, to.key, to.form, packet);
            (sent, state.unwritten.add(bytes, 1))
        });
        turn.emitted(bytes, enough);
        Ok(sent?)
    })
}

fn broadcast(to: Audience<'_>, bytes: usize, write: &mut WriteFn<'_>) -> Result<(), EmitError> {
    // On the wire a comma ends the name of a namespace. So no client can be in a namespace with a
    // comma in its name.
    if to.target.namespace.contains(',') {
        return Ok(());
    }
    let history = to.shards.histories.of_target(to.shards, to.target)?;
    let cells = to.cells();
    let forms = cells
        .clone()
        .fold(Forms::default(), |forms, cell| forms.union(cell.forms()));
    let begun = to.shards.recovery.begun();
    let recovery = to.shards.recovery.last(&to.target.namespace);
    let forms = recovery.map_or(forms, |_| forms.with(Form::Engine4));
    if let Some(history) = history {
        broadcast_kept(to, bytes, forms, history, write);
        return Ok(());
    }
    if recovery.is_some() {
        let stamp = Stamp {
            recovery,
            history: None,
        };
        broadcast_numbered(to, 0, bytes, write(forms, stamp));
        return Ok(());
    }
    // The message may contain bytes of the user's own kind. It is dropped here, under no lock.
    let mut message = write(forms, Stamp::default());
    let (mut last, mut is_stopped) = (None, false);
    turn::act(to.shards.runtime, |turn| {
        let (mut ready, mut enough) = (0, false);
        for cell in cells {
            let target = to.target_in(cell);
            let sent = cell.input("broadcast", turn, |state, now, out| {
                if to.shards.recovery.begun() != begun {
                    return None;
                }
                let State { shard, unwritten, .. } = state;
                shard.broadcast(now, &target, &mut message, out);
                let links = shard.ready_links();
                Some((links, unwritten.add(bytes, links)))
            });
            let Some((links, has_enough)) = sent else {
                is_stopped = true;
                break;
            };
            (ready, enough) = (ready + links, enough || has_enough);
            last = Some(cell);
        }
        turn.broadcast(bytes, ready, enough);
    });
    // The first client that may come back has been let in meanwhile.
    if is_stopped {
        broadcast_numbered(to, to.shards.behind(last), bytes, message);
    }
    Ok(())
}

fn join(to: To<'_>, rooms: &[&str]) -> Result<(), EmitError> {
    match to {
        To::Socket(socket) => rooms.iter().try_for_each(|room| match socket.prepare_join(room) {
            Some(joined) => joined,
            None => match socket.record() {
                Some(record) => join_recorded(socket, record, room),
                None => Ok(socket
                    .cell
                    .change_rooms("join", |state| state.shard.join(socket.key, room))?),
            },
        }),
        To::Id(shards, id) => shards
            .find(id)
            .map_or(Ok(()), |socket| join(To::Socket(&socket), rooms)),
        To::All(audience) if rooms.iter().any(|room| audience.shards.is_id(room)) => Err(EmitError::ReservedRoom),
        To::All(audience) => {
            let rooms = names(rooms);
            let command = |target| Command::Join {
                target,
                rooms: rooms.clone(),
            };
            match audience.shards.recovery.is_possible() {
                true => change_recorded(audience, &rooms, command),
                false => audience.command(command),
            }
            Ok(())
        }
    }
}

fn leave(to: To<'_>, rooms: &[&str]) {
    match to {
        To::Socket(socket) => {
            for room in rooms {
                if socket.prepare(|entry| entry.leave(room)).is_some() {
                    continue;
                }
                match socket.record() {
                    Some(record) => leave_recorded(socket, record, room),
                    None => socket
                        .cell
                        .change_rooms("leave", |state| state.shard.leave(socket.key, room)),
                }
            }
        }
        To::Id(shards, id) => {
            if let Some(socket) = shards.find(id) {
                leave(To::Socket(&socket), rooms);
            }
        }
        To::All(audience) => {
            let rooms = names(rooms);
            let command = |target| Command::Leave {
                target,
                rooms: rooms.clone(),
            };
            match audience.shards.recovery.is_possible() {
                true => change_recorded(audience, &rooms, command),
                false => audience.command(command),
            }
        }
    }
}

fn names(rooms: &[&str]) -> Vec<ByteString> {
    rooms.iter().map(|room| ByteString::from(*room)).collect()
}

fn disconnect(to: To<'_>, close: bool) {
    match to {
        To::Socket(socket) => turn::act(socket.runtime(), |turn| {
            socket.cell.input("disconnect", turn, |state, now, out| {
                state.shard.disconnect(now, socket.key, close, out)
            });
        }),
        To::Id(shards, id) => {
            if let Some(socket) = shards.find(id) {
                disconnect(To::Socket(&socket), close);
            }
        }
        To::All(audience) => audience.command(|target| Command::Disconnect { target, close }),
    }
}

fn dismiss(socket: &Arc<SocketCell>, reason: Reason) {
    turn::act(socket.runtime(), |turn| {
        socket.cell.input("dismiss", turn, |state, now, out| {
            state.shard.dismiss(now, socket.key, reason, out)
        });
    });
}

fn rooms(to: Audience<'_>, found: &mut dyn FnMut(&ByteString, usize)) {
    let Target { namespace, rooms, .. } = to.target;
    for cell in to.cells() {
        cell.ask("rooms", |state| match &rooms[..] {
            // A socket that has its id from before is in a room of this name, which does not count.
            [] => {
                let rooms = state.shard.rooms_in(namespace);
                let rooms = rooms.filter(|(room, _)| !to.shards.is_id(room));
                rooms.for_each(|(room, len)| found(room, len));
            }
            rooms => {
                for room in rooms {
                    found(room, state.shard.room_len(namespace, room));
                }
            }
        });
    }
}

fn find(to: To<'_>, found: &mut dyn FnMut(Arc<SocketCell>)) {
    match to {
        To::Socket(socket) => found(Arc::clone(socket)),
        To::Id(shards, id) => shards.find(id).into_iter().for_each(found),
        To::All(audience) => {
            for cell in audience.cells() {
                let target = audience.target_in(cell);
                cell.ask("members", |state| {
                    let members = state.shard.members(&target).into_iter();
                    members.filter_map(|key| state.find(key)).for_each(&mut *found);
                });
            }
        }
    }
}
