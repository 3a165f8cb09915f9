//! To whom: the one builder for everything that is not "this event to this socket".

use std::sync::{Arc, Weak};

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::server::Target;

use crate::args::Data;
use crate::error::{EmitError, HandlerError};
use crate::turn::application::Application;
use crate::turn::order::{Audience, Order, To, carry_out};
use crate::turn::table::Names;
use crate::user::message::{Draft, with_scratch};
use crate::user::socket::Socket;

/// A choice of sockets, and how to send to them.
///
/// The same builder starts from [`Io`](crate::Io) and [`Namespace`](crate::Namespace), where it
/// means everybody. It also starts from [`Socket`] with [`to`](Socket::to),
/// [`except`](Socket::except), [`broadcast`](Socket::broadcast) or [`local`](Socket::local). There
/// it means everybody but the socket. How to send to one socket is a
/// [`SocketEmitter`](crate::SocketEmitter).
///
/// ```
/// # use sio_app::{Io, Socket};
/// # fn example(io: &Io, socket: &Socket) {
/// io.emit("news", "to everybody on /");
/// io.of("/admin").to("eu").to("us").except("away").emit("news", "to the members of either room");
/// socket.broadcast().emit("moved", (1, 2));
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "this only says to whom; end it with `emit` or another action"]
pub struct Emitter {
    application: Weak<dyn Application>,
    target: Target,
    /// In place of the target's namespace: all that have members among these.
    many: Option<Arc<Names>>,
    /// The socket that it started from, which is left out.
    sender: Option<Socket>,
    volatile: bool,
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
            sender: None,
            volatile: false,
        }
    }

    /// To the namespaces of a rule.
    pub(crate) fn to_many(application: Weak<dyn Application>, names: &Arc<Names>) -> Self {
        Self {
            many: Some(Arc::clone(names)),
            ..Self::new(application, ByteString::new())
        }
    }

    /// To all but this socket.
    pub(crate) fn from_socket(socket: &Socket) -> Self {
        Self {
            sender: Some(socket.clone()),
            ..Self::new(socket.0.cell.application.clone(), socket.0.namespace.clone())
        }
    }

    /// The members of this room; said again, of either room. A socket's id is a room, too, of this
    /// socket alone: the public one ([`Socket::id`]), and the one by which the client knows itself
    /// ([`Socket::wire_id`]).
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        self.target.rooms.push(room.as_ref().into());
        self
    }

    /// Not the members of this room.
    pub fn except(mut self, room: impl AsRef<str>) -> Self {
        self.target.except.push(room.as_ref().into());
        self
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

    /// Sends an event.
    ///
    /// It is encoded once for all. A socket that cannot keep up is closed and does not hold up the
    /// others. What is wrong with the event itself (arguments, a reserved name, more bytes than a
    /// session's queue may hold) is reported to [`Io::on_error`](crate::Io::on_error).
    pub fn emit<A: Serialize>(self, event: &str, args: A) {
        let draft = match with_scratch(|scratch| Draft::new(event, &args, scratch)) {
            Ok(draft) => draft,
            Err(error) => return self.report(event, error),
        };
        // Bytes in the arguments may be of a kind of the user's own, whose end is the user's code,
        // and comes under no lock.
        let kept = draft.args().clone();
        let (is_last, mut draft) = (self.many.is_none(), Some(draft));
        self.each_in(event, |application, to| {
            let Some(draft) = (if is_last { draft.take() } else { draft.clone() }) else {
                return Ok(());
            };
            draft.show(&application.watchers(&to.target.namespace), None);
            broadcast(to, draft, self.volatile)
        });
        drop(kept);
    }

    /// Sends a message without a name; see [`Socket::send`].
    pub fn send(self, data: impl Into<Data>) {
        self.emit("message", (data.into(),));
    }

    /// Makes the chosen sockets join a room. If its name is the id of a socket, none joins, and
    /// [`Io::on_error`](crate::Io::on_error) hears of [`EmitError::ReservedRoom`].
    pub fn join(self, room: impl AsRef<str>) {
        let room = room.as_ref();
        self.each("join", |to| carry_out(Order::Join { to: To::All(to), room }));
    }

    /// Makes the chosen sockets leave a room.
    pub fn leave(self, room: impl AsRef<str>) {
        let room = room.as_ref();
        self.each("leave", |to| carry_out(Order::Leave { to: To::All(to), room }));
    }

    /// Makes the chosen sockets leave the namespace.
    pub fn disconnect(self) {
        self.end(false);
    }

    /// Closes the whole connections of the chosen sockets.
    pub fn close(self) {
        self.end(true);
    }

    fn end(self, close: bool) {
        self.each("disconnect", |to| {
            carry_out(Order::Disconnect { to: To::All(to), close })
        });
    }

    /// The chosen sockets.
    #[must_use]
    pub fn sockets(self) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.each("sockets", |to| {
            carry_out(Order::Find {
                to: To::All(to),
                found: &mut |socket| sockets.push(Socket(socket)),
            })
        });
        sockets
    }

    /// Does something in each of the namespaces that are meant. What goes wrong is told to the
    /// application under this name.
    fn each(&self, name: &str, mut act: impl FnMut(Audience<'_>) -> Result<(), EmitError>) {
        self.each_in(name, |_, to| act(to));
    }

    fn each_in(&self, name: &str, mut act: impl FnMut(&dyn Application, Audience<'_>) -> Result<(), EmitError>) {
        let Some(application) = self.application.upgrade() else {
            return;
        };
        let mut act_in = |target: &Target| {
            let audience = Audience {
                shards: application.shards(),
                target,
                sender: self.sender.as_ref().map(|socket| &socket.0),
            };
            act(&*application, audience)
        };
        let mut result = Ok(());
        match &self.many {
            None => result = act_in(&self.target),
            Some(names) => {
                for namespace in names.all() {
                    let target = Target {
                        namespace,
                        ..self.target.clone()
                    };
                    let done = act_in(&target);
                    result = result.and(done);
                }
            }
        }
        if let Err(error) = result {
            self.report(name, error);
        }
    }

    fn report(&self, name: &str, error: EmitError) {
        if let Some(application) = self.application.upgrade() {
            application.report(
                self.sender.as_ref().map(|socket| &socket.0),
                name,
                &HandlerError::Emit(error),
            );
        }
    }
}

/// Sends an event to one namespace, written once for all.
fn broadcast(to: Audience<'_>, draft: Draft, volatile: bool) -> Result<(), EmitError> {
    let Audience { shards, target, .. } = to;
    let volatile = volatile.then_some(shards.runtime);
    let (bytes, mut draft, mut encoded) = (draft.len(), Some(draft), Ok(()));
    carry_out(Order::Broadcast {
        to,
        bytes,
        write: &mut |forms| {
            let (message, result) = with_scratch(|scratch| {
                let draft = draft.take().unwrap_or_default();
                draft.encoded(&target.namespace, volatile, forms, &shards.config, scratch)
            });
            encoded = result;
            message
        },
    })
    .and(encoded)
}
