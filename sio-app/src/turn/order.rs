//! What sockets are asked for or told, and the one function that carries it out: over the shards
//! that have sockets of the target, each under its own lock.
//!
//! Whatever goes from the user's side to sockets comes through here: messages, joins, leaves, ends
//! and look-ups, for one socket or for all that a target means. So this is the place for whatever
//! carries an order further, to other nodes.

use bytestring::ByteString;
use std::sync::Arc;

use sio_proto::server::{AckRequest, Command, Forms, Message, Target};

use crate::error::EmitError;
use crate::turn;
use crate::turn::shard::{ShardCell, State};
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;

/// Something for sockets.
pub(crate) enum Order<'a> {
    /// A message for one socket, written in its form. `bytes` is about the size of the message. If
    /// an acknowledgement is asked for, the socket has a place for the answer
    /// ([`SocketCell::open_ack`]).
    Send {
        to: &'a SocketCell,
        message: &'a mut Message,
        bytes: usize,
        ack: Option<AckRequest>,
    },
    /// A message for many. `write` is called once, under no lock, and has to write the message in
    /// these forms: all that any shard needs. The shards share the bytes.
    Broadcast {
        to: Audience<'a>,
        bytes: usize,
        write: &'a mut dyn FnMut(Forms) -> Message,
    },
    /// They join a room.
    Join { to: To<'a>, room: &'a str },
    /// They leave a room.
    Leave { to: To<'a>, room: &'a str },
    /// They leave their namespace; with `close`, their whole sessions end.
    Disconnect { to: To<'a>, close: bool },
    /// They are given to `found`, which is called under the lock of their shard.
    Find {
        to: To<'a>,
        found: &'a mut dyn FnMut(Arc<SocketCell>),
    },
}

/// The sockets that an order is for.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// This one.
    Socket(&'a Arc<SocketCell>),
    /// The one with this id. Only the shard that the id names is asked.
    Id(&'a Shards, &'a str),
    /// All that a target means.
    All(Audience<'a>),
}

/// All that a target means.
#[derive(Clone, Copy)]
pub(crate) struct Audience<'a> {
    pub(crate) shards: &'a Shards,
    pub(crate) target: &'a Target,
    /// The socket that it comes from, which is left out.
    pub(crate) sender: Option<&'a Arc<SocketCell>>,
}

/// Does what an order says.
///
/// # Errors
/// What one socket cannot take. Of many, each takes what it can, and nobody is told.
/// [`EmitError::ReservedRoom`] if the room to join is named as the id of another socket: then none
/// joins.
#[inline]
pub(crate) fn carry_out(order: Order<'_>) -> Result<(), EmitError> {
    match order {
        Order::Send {
            to,
            message,
            bytes,
            ack,
        } => send(to, message, bytes, ack),
        Order::Broadcast { to, bytes, write } => {
            broadcast(to, bytes, write);
            Ok(())
        }
        Order::Join { to, room } => join(to, room),
        Order::Leave { to, room } => {
            leave(to, room);
            Ok(())
        }
        Order::Disconnect { to, close } => {
            disconnect(to, close);
            Ok(())
        }
        Order::Find { to, found } => {
            find(to, found);
            Ok(())
        }
    }
}

impl<'a> Audience<'a> {
    /// The shards that may have some of it.
    fn cells(&self) -> impl Iterator<Item = &'a Arc<ShardCell>> + Clone + use<'a> {
        self.shards.of_target(self.target)
    }

    /// The target as one shard has to see it: only the sender's own knows the sender.
    fn target_in(&self, cell: &Arc<ShardCell>) -> Target {
        let sender = self.sender.filter(|socket| Arc::ptr_eq(&socket.cell, cell));
        Target {
            except_socket: sender.map(|socket| socket.key),
            ..self.target.clone()
        }
    }

    /// Gives each of its shards the same command.
    fn command(&self, command: impl Fn(Target) -> Command) {
        turn::act(self.shards.runtime, |turn| {
            for cell in self.cells() {
                let command = command(self.target_in(cell));
                cell.input(turn, |state, now, out| state.shard.handle_command(now, command, out));
            }
        });
    }
}

/// Inside a turn the message leaves at the turn's end, else at once.
#[inline]
fn send(to: &SocketCell, message: &mut Message, bytes: usize, ack: Option<AckRequest>) -> Result<(), EmitError> {
    turn::act(to.runtime(), |turn| {
        let (sent, enough) = to.cell.queue(turn, |state, now| {
            let sent = state.shard.emit(now, to.key, message, ack);
            (sent, state.unwritten.add(bytes, 1))
        });
        turn.emitted(bytes, enough);
        Ok(sent?)
    })
}

fn broadcast(to: Audience<'_>, bytes: usize, write: &mut dyn FnMut(Forms) -> Message) {
    // A comma ends a name where it is written, so nobody can be in such a namespace, whoever chose
    // its name.
    if to.target.namespace.contains(',') {
        return;
    }
    let mut cells = to.cells().peekable();
    let forms = cells
        .clone()
        .fold(Forms::default(), |forms, cell| forms.union(cell.forms()));
    let mut message = Some(write(forms));
    turn::act(to.shards.runtime, |turn| {
        let (mut ready, mut enough) = (0, false);
        while let Some(cell) = cells.next() {
            let last = cells.peek().is_none();
            let Some(message) = (if last { message.take() } else { message.clone() }) else {
                break;
            };
            let target = to.target_in(cell);
            let (links, has_enough) = cell.input(turn, |state, now, out| {
                let State { shard, unwritten, .. } = state;
                shard.handle_command(now, Command::Broadcast { target, message }, out);
                let links = shard.ready_links();
                (links, unwritten.add(bytes, links))
            });
            (ready, enough) = (ready + links, enough || has_enough);
        }
        turn.broadcast(bytes, ready, enough);
    });
}

fn join(to: To<'_>, room: &str) -> Result<(), EmitError> {
    match to {
        To::Socket(socket) => match socket.prepare_join(room) {
            Some(joined) => joined,
            None => Ok(socket.cell.ask(|state| state.shard.join(socket.key, room))?),
        },
        To::Id(shards, id) => shards.find(id).map_or(Ok(()), |socket| join(To::Socket(&socket), room)),
        To::All(audience) if audience.shards.is_id(room) => Err(EmitError::ReservedRoom),
        To::All(audience) => {
            let rooms = [ByteString::from(room)];
            audience.command(|target| Command::Join {
                target,
                rooms: rooms.to_vec(),
            });
            Ok(())
        }
    }
}

fn leave(to: To<'_>, room: &str) {
    match to {
        To::Socket(socket) => {
            if socket.prepare(|entry| entry.leave(room)).is_none() {
                socket.cell.ask(|state| state.shard.leave(socket.key, room));
            }
        }
        To::Id(shards, id) => {
            if let Some(socket) = shards.find(id) {
                leave(To::Socket(&socket), room);
            }
        }
        To::All(audience) => {
            let rooms = [ByteString::from(room)];
            audience.command(|target| Command::Leave {
                target,
                rooms: rooms.to_vec(),
            });
        }
    }
}

fn disconnect(to: To<'_>, close: bool) {
    match to {
        To::Socket(socket) => turn::act(socket.runtime(), |turn| {
            socket.cell.input(turn, |state, now, out| {
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

fn find(to: To<'_>, found: &mut dyn FnMut(Arc<SocketCell>)) {
    match to {
        To::Socket(socket) => found(Arc::clone(socket)),
        To::Id(shards, id) => shards.find(id).into_iter().for_each(found),
        To::All(audience) => {
            for cell in audience.cells() {
                let target = audience.target_in(cell);
                cell.ask(|state| {
                    let members = state.shard.members(&target).into_iter();
                    members.filter_map(|key| state.find(key)).for_each(&mut *found);
                });
            }
        }
    }
}
