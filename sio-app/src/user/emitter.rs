//! To whom: the one builder for everything that is not "this event to this socket".

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::SocketKey;
use sio_proto::server::{Command, Forms, Outputs, Target};

use crate::args::Data;
use crate::error::{EmitError, HandlerError};
use crate::turn;
use crate::turn::application::Application;
use crate::turn::shard::{ShardCell, State};
use crate::turn::table::Names;
use crate::user::ack::AckFuture;
use crate::user::message::{Draft, with_scratch};
use crate::user::socket::Socket;

/// A choice of sockets, and how to send to them.
///
/// The same builder starts from [`Io`](crate::Io) and [`Namespace`](crate::Namespace) (everybody),
/// and from [`Socket`] (itself; with [`to`](Self::to), [`except`](Self::except) or
/// [`broadcast`](Self::broadcast) everybody meant but itself).
///
/// ```
/// # use sio_app::{Io, Socket};
/// # fn example(io: &Io, socket: &Socket) {
/// io.emit("news", "to everybody on /");
/// io.of("/admin").to("eu").to("us").except("away").emit("news", "to the members of either room");
/// socket.broadcast().emit("moved", (1, 2));
/// socket.volatile().emit("position", (1, 2));
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "this only says to whom; end it with `emit` or another action"]
pub struct Emitter {
    application: Weak<dyn Application>,
    target: Target,
    /// In place of the target's namespace: all that have members among these.
    many: Option<Arc<Names>>,
    socket: Option<Socket>,
    /// The socket alone, as long as no room was named.
    only: bool,
    volatile: bool,
    timeout: Option<Duration>,
}

impl Emitter {
    pub(crate) fn new(application: Weak<dyn Application>, namespace: ByteString) -> Self {
        Self {
            application,
            target: Target {
                namespace,
                ..Target::default()
            },
            many: None,
            socket: None,
            only: false,
            volatile: false,
            timeout: None,
        }
    }

    /// To the namespaces of a rule.
    pub(crate) fn to_many(application: Weak<dyn Application>, names: &Arc<Names>) -> Self {
        Self {
            many: Some(Arc::clone(names)),
            ..Self::new(application, ByteString::new())
        }
    }

    pub(crate) fn from_socket(socket: &Socket) -> Self {
        Self {
            application: socket.0.cell.application.clone(),
            target: Target {
                namespace: socket.0.namespace.clone(),
                ..Target::default()
            },
            many: None,
            socket: Some(socket.clone()),
            only: true,
            volatile: false,
            timeout: None,
        }
    }

    /// All sockets of the namespace, the one that this started from not among them.
    pub fn broadcast(mut self) -> Self {
        self.only = false;
        self
    }

    /// The members of this room; said again, of either room. A socket's id is a room, too, of this
    /// socket alone: the public one ([`Socket::id`]), and the one by which the client knows itself
    /// ([`Socket::wire_id`]).
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        self.target.rooms.push(room.as_ref().into());
        self.broadcast()
    }

    /// Not the members of this room.
    pub fn except(mut self, room: impl AsRef<str>) -> Self {
        self.target.except.push(room.as_ref().into());
        self.broadcast()
    }

    /// Only those who can take it right now: for a state that the next message replaces anyway. Of
    /// several in a row the first is sent, as long as the code that sends them has not returned
    /// (outside of handlers, for a millisecond).
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Only sockets of this node. Without a cluster there are no others.
    #[expect(clippy::missing_const_for_fn, reason = "a cluster will make it more than this")]
    pub fn local(self) -> Self {
        self
    }

    /// How long acknowledgements may take.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event.
    ///
    /// It is encoded once for all. A socket that cannot keep up is closed and does not hold up the
    /// others. What is wrong with the event itself (arguments, a reserved name, more bytes than a
    /// session's queue may hold) is reported to [`Io::on_error`](crate::Io::on_error).
    pub fn emit<A: Serialize>(self, event: &str, args: A) {
        if let Err(error) = self.try_emit(event, &args)
            && let Some(io) = self.application.upgrade()
        {
            io.report(
                self.socket.as_ref().map(|socket| &socket.0),
                event,
                &HandlerError::Emit(error),
            );
        }
    }

    /// Sends a message without a name; see [`Socket::send`].
    pub fn send(self, data: impl Into<Data>) {
        self.emit("message", (data.into(),));
    }

    fn try_emit<A: Serialize>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.only) {
            return match socket.emit_with(event, args, self.volatile) {
                Err(error @ (EmitError::Args(_) | EmitError::Reserved(_) | EmitError::TooLarge)) => Err(error),
                _ => Ok(()),
            };
        }
        let Some(io) = self.application.upgrade() else {
            return Ok(());
        };
        let draft = with_scratch(|scratch| Draft::new(event, args, scratch))?;
        // Bytes in them may be of a kind of the user's own, whose end is the user's code, and comes
        // under no lock.
        let kept = draft.args().clone();
        let Some(names) = &self.many else {
            return self.emit_in(&*io, &self.target, draft);
        };
        let emitted = names
            .all()
            .into_iter()
            .map(|namespace| self.emit_in(&*io, &self.in_namespace(namespace), draft.clone()));
        let emitted = emitted.fold(Ok(()), Result::and);
        drop(kept);
        emitted
    }

    /// The target in one of many namespaces.
    fn in_namespace(&self, namespace: ByteString) -> Target {
        Target {
            namespace,
            ..self.target.clone()
        }
    }

    /// Sends an event to one namespace.
    fn emit_in(&self, io: &dyn Application, target: &Target, draft: Draft) -> Result<(), EmitError> {
        // A comma ends a name where it is written, so nobody can be in such a namespace, whoever
        // chose its name.
        if target.namespace.contains(',') {
            return Ok(());
        }
        let bytes = draft.len();
        let mut cells = io.shards().of_target(target).peekable();
        // Encoded once, for all forms that any shard needs; the shards share the bytes.
        let forms = cells
            .clone()
            .fold(Forms::default(), |forms, cell| forms.union(cell.forms()));
        let (message, encoded) = with_scratch(|s| {
            draft.encoded(
                &target.namespace,
                self.volatile.then_some(io.shards().runtime),
                forms,
                &io.shards().config,
                s,
            )
        });
        let mut message = Some(message);
        turn::act(io.shards().runtime, |turn| {
            let (mut ready, mut enough) = (0, false);
            while let Some(cell) = cells.next() {
                let last = cells.peek().is_none();
                let Some(message) = (if last { message.take() } else { message.clone() }) else {
                    break;
                };
                let target = self.target_for(target, cell);
                let (links, has_enough) = cell.input("broadcast", turn, |state, now, out| {
                    let State { shard, unwritten, .. } = state;
                    shard.handle_command(now, Command::Broadcast { target, message }, out);
                    let links = shard.ready_links();
                    (links, unwritten.add(bytes, links))
                });
                (ready, enough) = (ready + links, enough || has_enough);
            }
            turn.broadcast(bytes, ready, enough);
        });
        encoded
    }

    /// Sends an event to one socket and waits for its acknowledgement; only for a choice that is
    /// one socket, as [`Socket::timeout`] and [`Socket::volatile`] leave it.
    ///
    /// For other choices the future fails with [`EmitError::Unsupported`].
    pub fn emit_with_ack<T: DeserializeOwned + 'static, A: Serialize>(self, event: &str, args: A) -> AckFuture<T> {
        match self.socket.filter(|_| self.only) {
            Some(socket) => socket.ask(event, &args, self.timeout),
            None => AckFuture::failed(EmitError::Unsupported),
        }
    }

    /// Makes the chosen sockets join a room. If its name is the id of a socket, none joins, and
    /// [`Io::on_error`](crate::Io::on_error) hears of [`EmitError::ReservedRoom`].
    pub fn join(self, room: impl AsRef<str>) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.only) {
            if let Err(error) = socket.join(room) {
                socket.report("join", error);
            }
            return;
        }
        let Some(io) = self.application.upgrade() else { return };
        if io.shards().is_id(room.as_ref()) {
            let error = HandlerError::Emit(EmitError::ReservedRoom);
            return io.report(self.socket.as_ref().map(|socket| &socket.0), "join", &error);
        }
        let rooms = vec![ByteString::from(room.as_ref())];
        self.command(|target| Command::Join {
            target,
            rooms: rooms.clone(),
        });
    }

    /// Makes the chosen sockets leave a room.
    pub fn leave(self, room: impl AsRef<str>) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.only) {
            return socket.leave(room);
        }
        let rooms = vec![ByteString::from(room.as_ref())];
        self.command(|target| Command::Leave {
            target,
            rooms: rooms.clone(),
        });
    }

    /// Makes the chosen sockets leave the namespace.
    pub fn disconnect(self) {
        self.command(|target| Command::Disconnect { target, close: false });
    }

    /// Closes the whole connections of the chosen sockets.
    pub fn close(self) {
        self.command(|target| Command::Disconnect { target, close: true });
    }

    /// The chosen sockets.
    #[must_use]
    pub fn sockets(self) -> Vec<Socket> {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.only) {
            return vec![socket.clone()];
        }
        let Some(io) = self.application.upgrade() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        self.each_target(|target| {
            for cell in io.shards().of_target(target) {
                let target = self.target_for(target, cell);
                cell.ask("members", |state| {
                    let keys: Vec<SocketKey> = state.shard.members(&target);
                    found.extend(keys.into_iter().filter_map(|key| state.find(key)).map(Socket));
                });
            }
        });
        found
    }

    fn command(self, command: impl Fn(Target) -> Command) {
        let Some(io) = self.application.upgrade() else { return };
        turn::act(io.shards().runtime, |turn| {
            if let Some(socket) = self.socket.as_ref().filter(|_| self.only) {
                let target = Target {
                    rooms: vec![ByteString::from(&*socket.id())],
                    ..self.target.clone()
                };
                let order = command(target);
                socket.0.cell.input("command", turn, |state, now, out: &mut Outputs| {
                    state.shard.handle_command(now, order, out)
                });
                return;
            }
            self.each_target(|target| {
                for cell in io.shards().of_target(target) {
                    let order = command(self.target_for(target, cell));
                    cell.input("command", turn, |state, now, out| {
                        state.shard.handle_command(now, order, out)
                    });
                }
            });
        });
    }

    /// The target, in each of the namespaces that are meant.
    fn each_target(&self, mut act: impl FnMut(&Target)) {
        match &self.many {
            None => act(&self.target),
            Some(names) => names
                .all()
                .into_iter()
                .for_each(|namespace| act(&self.in_namespace(namespace))),
        }
    }

    /// The target as one shard has to see it: only the sender's own knows the sender.
    fn target_for(&self, target: &Target, cell: &Arc<ShardCell>) -> Target {
        let sender = self.socket.as_ref().filter(|socket| Arc::ptr_eq(&socket.0.cell, cell));
        Target {
            except_socket: sender.map(|socket| socket.0.key),
            ..target.clone()
        }
    }
}
