//! The builder that says to whom a message goes. It is used for everything except one event to one
//! socket.

#[cfg(feature = "redis")]
use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::server::{self, Sent, Target};
#[cfg(feature = "redis")]
use sio_proto::socket::Offset;

use crate::args::Data;
use crate::error::{EmitError, HandlerError};
use crate::turn;
use crate::turn::application::Application;
#[cfg(feature = "redis")]
use crate::turn::entry_place;
use crate::turn::order::{Audience, Order, To, carry_out};
use crate::turn::policy::Policy;
use crate::turn::socket::SocketCell;
use crate::turn::survey::OpenSurvey;
use crate::turn::table::Names;
#[cfg(feature = "redis")]
use crate::user::cluster::ClusterNode;
#[cfg(feature = "redis")]
use crate::user::inner::Inner;
use crate::user::merging::{counted, send_merged};
use crate::user::message::{Draft, with_scratch};
#[cfg(feature = "redis")]
use crate::user::request::Request;
use crate::user::request::Requests;
use crate::user::rooms::{Rooms, with_names};
use crate::user::socket::Socket;
use crate::user::timed_emitter::TimedEmitter;

/// A choice of sockets, and how to send to them.
///
/// [`Io`](crate::Io) and [`Namespace`](crate::Namespace) start this builder with all sockets.
/// [`Socket`] starts it with [`to`](Socket::to), [`except`](Socket::except),
/// [`broadcast`](Socket::broadcast) or [`local`](Socket::local); then it means sockets without the
/// socket itself. To send to one socket, use a [`SocketEmitter`](crate::SocketEmitter).
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
    /// If set, it replaces the target's namespace: the message goes to all of these namespaces that
    /// have members.
    many: Option<Arc<Names>>,
    /// The socket that started the builder. It is left out.
    sender: Option<Socket>,
    volatile: bool,
    /// Whether only sockets of this node are meant.
    local: bool,
    policy: Option<Policy>,
    /// Set when rooms have been given, even by an empty list. If the target names no room then,
    /// nobody is chosen.
    nobody: bool,
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
            local: false,
            policy: None,
            nobody: false,
        }
    }

    /// Starts with the sockets of a target on this node.
    #[cfg(feature = "redis")]
    pub(crate) fn to_target(application: Weak<dyn Application>, target: Target) -> Self {
        Self {
            target,
            local: true,
            ..Self::new(application, ByteString::new())
        }
    }

    /// Starts with all namespaces of a rule.
    pub(crate) fn to_many(application: Weak<dyn Application>, names: &Arc<Names>) -> Self {
        Self {
            many: Some(Arc::clone(names)),
            ..Self::new(application, ByteString::new())
        }
    }

    /// Starts with all sockets of the namespace without this socket.
    pub(crate) fn from_socket(socket: &Socket) -> Self {
        Self {
            sender: Some(socket.clone()),
            ..Self::new(socket.0.cell.application.clone(), socket.0.namespace().clone())
        }
    }

    /// Starts with one socket.
    pub(crate) fn to_one(socket: &Arc<SocketCell>) -> Self {
        let all = Self::new(socket.cell.application.clone(), socket.namespace().clone());
        all.to(socket.id().as_str())
    }

    /// Chooses the members of this room, or of several rooms. After several calls, it chooses the
    /// members of any of these rooms. An empty list of rooms chooses nobody. A socket's id is a
    /// room, too, whose only member is this socket: both the public id ([`Socket::id`]) and the id
    /// by which the client knows itself ([`Socket::wire_id`]).
    pub fn to<M>(mut self, rooms: impl Rooms<M>) -> Self {
        self.nobody = true;
        let _ = rooms.each(|room| {
            self.target.rooms.push(room.into());
            Ok(())
        });
        self
    }

    /// Leaves out the members of this room, or of several rooms.
    pub fn except<M>(mut self, rooms: impl Rooms<M>) -> Self {
        let _ = rooms.each(|room| {
            self.target.except.push(room.into());
            Ok(())
        });
        self
    }

    /// Sends only to clients that can take the message now. Use it for a state that the next
    /// message replaces anyway. If a handler sends several volatile messages in a row, only the
    /// first is sent until the handler returns. Outside of handlers, only the first message of a
    /// millisecond is sent.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sets what becomes of the event for clients that do not take it at once. Without a policy, a
    /// client whose queue is full is disconnected. Volatile events have no policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Chooses only sockets of this node. Without a cluster there are no others.
    pub const fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Sends an event. In a cluster, the sockets of other nodes get it, too.
    ///
    /// The event is encoded once for all recipients. A socket that cannot keep up is closed, unless
    /// there is a [policy](Emitter::policy), and does not delay the others. The result says how
    /// many sockets of this node get the event, and how many do not. Errors of the event itself
    /// (its arguments, a reserved name, more bytes than a session's queue may hold) are reported to
    /// [`Io::on_error`](crate::Io::on_error).
    pub fn emit<A: Serialize>(self, event: &str, args: A) -> Sent {
        match with_scratch(|scratch| Draft::new(event, &args, scratch)) {
            Ok(draft) => self.send_draft(draft),
            Err(error) => {
                self.report(event, error);
                Sent::default()
            }
        }
    }

    /// Sends a written event.
    pub(super) fn send_draft(self, draft: Draft) -> Sent {
        let event = draft.name().clone();
        let (is_last, mut draft, mut sent) = (self.many.is_none(), Some(draft), Sent::default());
        self.each_in(&event, |application, to| {
            let Some(draft) = (if is_last { draft.take() } else { draft.clone() }) else {
                return Ok(());
            };
            draft.show(&application.watchers(&to.target.namespace), None, |event, panic| {
                application.report(None, event, panic);
            });
            let policy = match self.volatile {
                true => None,
                false => {
                    let own = self.policy.clone();
                    own.or_else(|| application.policy(&to.target.namespace, &event))
                }
            };
            #[cfg(feature = "redis")]
            let elsewhere = self.elsewhere(application).map(|cluster| (cluster, draft.clone()));
            #[cfg(feature = "redis")]
            let is_ordered = !self.volatile && elsewhere.as_ref().is_some_and(|(cluster, _)| cluster.orders(to));
            #[cfg(feature = "redis")]
            if let Some((cluster, draft)) = elsewhere.as_ref().filter(|_| is_ordered) {
                // It is asked before others are told.
                to.shards.histories.of_target(to.shards, to.target)?;
                if cluster.broadcast_in_order(to, draft, policy.as_ref()) {
                    return Ok(());
                }
            }
            let result = broadcast(to, draft, self.volatile, policy.as_ref(), &mut sent);
            #[cfg(feature = "redis")]
            if let Some((cluster, draft)) = elsewhere.filter(|_| !is_ordered)
                && is_said(&result)
            {
                cluster.broadcast(to, self.volatile, draft);
            }
            result
        });
        sent
    }

    /// Sends an event of another node, which has this place in the stream.
    #[cfg(feature = "redis")]
    pub(super) fn send_heard(self, draft: Draft, place: Option<Offset>) {
        let event = draft.name().clone();
        self.each_in(&event, |application, to| {
            draft.show(&application.watchers(&to.target.namespace), None, |event, panic| {
                application.report(None, event, panic);
            });
            let policy = match self.volatile {
                true => None,
                false => application.policy(&to.target.namespace, &event),
            };
            // A volatile event is not kept. It carries the place of the one before it.
            let place = place.filter(|_| !self.volatile);
            entry_place::with(place, || {
                broadcast(to, draft.clone(), self.volatile, policy.as_ref(), &mut Sent::default())
            })
        });
    }

    /// Sets how long the acknowledgements of the chosen sockets may take:
    /// `io.to("room").timeout(limit).emit_with_ack(…)`. There is no question to many sockets
    /// without a time limit, because one of them may never answer.
    pub const fn timeout(self, timeout: Duration) -> TimedEmitter {
        TimedEmitter::new(self, timeout)
    }

    /// Sends an event, and asks for acknowledgements.
    pub(super) fn ask<A: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &A,
        timeout: Duration,
    ) -> Result<OpenSurvey, EmitError> {
        let draft = with_scratch(|scratch| Draft::new(event, args, scratch))?;
        self.ask_draft(&draft, timeout)
    }

    /// Sends a written event, and asks for acknowledgements.
    pub(super) fn ask_draft(&self, draft: &Draft, timeout: Duration) -> Result<OpenSurvey, EmitError> {
        let application = self.application.upgrade().ok_or(EmitError::Disconnected)?;
        let survey = application.shards().surveys.open()?;
        // The arguments live until no lock is held, as in `emit`.
        self.each_in(draft.name(), |application, to| {
            draft.show(&application.watchers(&to.target.namespace), None, |event, panic| {
                application.report(None, event, panic);
            });
            let (shards, namespace) = (to.shards, &to.target.namespace);
            let volatile = self.volatile.then_some(shards.runtime);
            carry_out(Order::Ask {
                to,
                bytes: draft.len(),
                timeout,
                survey: &survey,
                write: &mut |forms| {
                    with_scratch(|scratch| {
                        draft
                            .clone()
                            .asking(namespace, survey.id(), volatile, forms, &shards.config, scratch)
                    })
                },
            })?;
            #[cfg(feature = "redis")]
            if let Some(cluster) = self.elsewhere(application) {
                cluster.ask(to, self.volatile, timeout, draft.clone(), survey.elsewhere());
            }
            Ok(())
        });
        survey.all_asked();
        Ok(survey)
    }

    /// Sends a message without a name; see [`Socket::send`].
    pub fn send(self, data: impl Into<Data>) -> Sent {
        self.emit("message", (data.into(),))
    }

    /// Makes the chosen sockets join a room, or several rooms. If a room's name is the id of a
    /// socket, no socket joins this room, and [`Io::on_error`](crate::Io::on_error) gets
    /// [`EmitError::ReservedRoom`].
    pub fn join<M>(self, rooms: impl Rooms<M>) {
        with_names(rooms, |rooms| {
            self.each("join", |to| carry_out(Order::Join { to: To::All(to), rooms }));
            #[cfg(feature = "redis")]
            self.pass_on(|cluster, to| cluster.join(to, rooms));
        });
    }

    /// Makes the chosen sockets leave a room, or several rooms.
    ///
    /// In a cluster with recovery over streams, events that this server has emitted to these rooms
    /// are sent before. If another thread is sending them at this moment, it also does this.
    pub fn leave<M>(self, rooms: impl Rooms<M>) {
        with_names(rooms, |rooms| {
            #[cfg(feature = "redis")]
            self.leave_behind_events(rooms);
            #[cfg(not(feature = "redis"))]
            self.leave_now(rooms);
            #[cfg(feature = "redis")]
            self.pass_on(|cluster, to| cluster.leave(to, rooms));
        });
    }

    /// Makes the chosen sockets of this node leave rooms.
    pub(super) fn leave_now(&self, rooms: &[&str]) {
        self.each("leave", |to| carry_out(Order::Leave { to: To::All(to), rooms }));
    }

    /// Calls a function for each room of the target's namespaces, or only for the rooms that the
    /// target names, with the number of the room's members in one shard.
    pub(crate) fn each_room(self, found: &mut dyn FnMut(&ByteString, usize)) {
        self.each("rooms", |to| carry_out(Order::Rooms { to, found: &mut *found }));
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
        #[cfg(feature = "redis")]
        self.end_behind_events(close);
        #[cfg(not(feature = "redis"))]
        self.end_now(close);
        #[cfg(feature = "redis")]
        self.pass_on(|cluster, to| cluster.disconnect(to, close));
    }

    /// Ends the chosen sockets of this node.
    pub(super) fn end_now(&self, close: bool) {
        self.each("disconnect", |to| {
            carry_out(Order::Disconnect { to: To::All(to), close })
        });
    }

    /// Makes the chosen sockets of this node leave rooms, behind the events of this node to which
    /// these rooms matter.
    #[cfg(feature = "redis")]
    fn leave_behind_events(&self, rooms: &[&str]) {
        if !self.is_behind_stream() {
            return self.leave_now(rooms);
        }
        let matters = |names: &[ByteString]| names.iter().any(|name| rooms.contains(&&**name));
        let (here, names): (_, Vec<String>) = (self.clone(), rooms.iter().map(ToString::to_string).collect());
        let is_behind = self.behind_events(&|to, except| matters(to) || matters(except), move || {
            with_names(names, |rooms| here.leave_now(rooms));
        });
        if !is_behind {
            self.leave_now(rooms);
        }
    }

    /// Ends the chosen sockets of this node, behind the events of this node that may be for them.
    #[cfg(feature = "redis")]
    fn end_behind_events(&self, close: bool) {
        if !self.is_behind_stream() {
            return self.end_now(close);
        }
        // The rooms of the socket, if only one is chosen.
        let rooms = self.application.upgrade().and_then(|application| {
            let [id] = &self.target.rooms[..] else { return None };
            let socket = Socket(application.shards().find(id)?);
            let mut rooms = socket.rooms();
            rooms.push(id.clone());
            Some(rooms)
        });
        let is_for = |to: &[ByteString]| to.is_empty() || to.iter().any(|room| rooms_has(rooms.as_deref(), room));
        let here = self.clone();
        if !self.behind_events(&|to, _| is_for(to), move || here.end_now(close)) {
            self.end_now(close);
        }
    }

    /// Whether events of this node may wait for a stream.
    #[cfg(feature = "redis")]
    fn is_behind_stream(&self) -> bool {
        let application = self.application.upgrade();
        application.is_some_and(|application| cluster_of(&*application).is_some_and(|cluster| cluster.follows_stream()))
    }

    /// Does something behind the events of this node in the chosen namespaces that are chosen by
    /// the rooms that they are for and those that they leave out. Returns false if no event waits
    /// for a stream here.
    #[cfg(feature = "redis")]
    fn behind_events(
        &self,
        is_chosen: &dyn Fn(&[ByteString], &[ByteString]) -> bool,
        act: impl FnOnce() + Send + 'static,
    ) -> bool {
        let Some(application) = self.application.upgrade() else {
            return false;
        };
        let Some(cluster) = cluster_of(&*application).filter(|cluster| cluster.follows_stream()) else {
            return false;
        };
        let names = self.many.as_ref().map(|names| names.all());
        let is_in = |namespace: &str| match &names {
            None => *self.target.namespace == *namespace,
            Some(names) => names.iter().any(|name| **name == *namespace),
        };
        cluster.behind_events(
            |namespace, to, except| is_in(namespace) && is_chosen(to, except),
            Box::new(act),
        );
        true
    }

    /// Returns the chosen sockets of this node. [`Emitter::fetch_sockets`] asks other nodes, too.
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

    /// Asks the other nodes of the cluster for the chosen sockets.
    pub(super) fn ask_for_sockets(&self) -> Requests {
        #[cfg(feature = "redis")]
        let requests = self.requests(|cluster, to| cluster.fetch(to));
        #[cfg(not(feature = "redis"))]
        let requests = Requests::default();
        requests
    }

    /// Sends an event to the other servers of the cluster.
    pub(super) fn tell_servers(&self, draft: &Draft) {
        #[cfg(feature = "redis")]
        self.pass_on(|cluster, to| cluster.tell_servers(to, draft.clone()));
        #[cfg(not(feature = "redis"))]
        let _ = draft;
    }

    /// Sends an event to the other servers of the cluster, and asks for their answers.
    pub(super) fn ask_servers(&self, draft: &Draft) -> Requests {
        #[cfg(feature = "redis")]
        let requests = self.requests(|cluster, to| cluster.ask_servers(to, draft.clone()));
        #[cfg(not(feature = "redis"))]
        let (_, requests) = (draft, Requests::default());
        requests
    }

    /// Asks the other nodes something in each chosen namespace.
    #[cfg(feature = "redis")]
    fn requests(&self, ask: impl Fn(&Arc<ClusterNode>, Audience<'_>) -> Request) -> Requests {
        let mut requests = Requests::default();
        self.pass_on(|cluster, to| requests.open.push(ask(cluster, to)));
        requests
    }

    /// Tells the other nodes something in each chosen namespace.
    #[cfg(feature = "redis")]
    fn pass_on(&self, mut act: impl FnMut(&Arc<ClusterNode>, Audience<'_>)) {
        self.each_in("cluster", |application, to| {
            if let Some(cluster) = self.elsewhere(application) {
                act(cluster, to);
            }
            Ok(())
        });
    }

    /// Returns the other nodes, if there is a cluster and not only this node is meant.
    #[cfg(feature = "redis")]
    fn elsewhere<'a>(&self, application: &'a dyn Application) -> Option<&'a Arc<ClusterNode>> {
        if self.local {
            return None;
        }
        cluster_of(application)
    }

    /// Does something in each chosen namespace. Errors are reported to the application under this
    /// name.
    fn each(&self, name: &str, mut act: impl FnMut(Audience<'_>) -> Result<(), EmitError>) {
        self.each_in(name, |_, to| act(to));
    }

    fn each_in(&self, name: &str, mut act: impl FnMut(&dyn Application, Audience<'_>) -> Result<(), EmitError>) {
        let Some(application) = self.application.upgrade() else {
            return;
        };
        if self.nobody && self.target.rooms.is_empty() {
            return;
        }
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

/// Returns the node of the cluster that an application is in.
#[cfg(feature = "redis")]
pub(super) fn cluster_of(application: &dyn Application) -> Option<&Arc<ClusterNode>> {
    let application: &dyn Any = application;
    application.downcast_ref::<Inner>()?.cluster.as_ref()
}

/// Whether a room is among these, or may be, if they are not known.
#[cfg(feature = "redis")]
fn rooms_has(rooms: Option<&[ByteString]>, room: &ByteString) -> bool {
    rooms.is_none_or(|rooms| rooms.contains(room))
}

/// Whether an event goes to other nodes. An event that some clients of this node cannot have goes
/// there, because the clients there may be others.
#[cfg(feature = "redis")]
const fn is_said(result: &Result<(), EmitError>) -> bool {
    !matches!(
        result,
        Err(EmitError::SeveralHistories | EmitError::KeyFailed | EmitError::KeyTooLong)
    )
}

/// Sends an event to one namespace. The event is encoded once for all recipients.
pub(super) fn broadcast(
    to: Audience<'_>,
    mut draft: Draft,
    volatile: bool,
    policy: Option<&Policy>,
    sent: &mut Sent,
) -> Result<(), EmitError> {
    let target = to.target;
    let mut merging = None;
    if let Some(policy) = policy {
        let in_core = policy.in_core(&target.namespace, draft.name(), draft.args())?;
        if let (Some(merge), server::Policy::Merge(key)) = (policy.merge_fn(), &in_core) {
            draft = draft.owned();
            merging = Some((draft.clone(), key.clone(), merge));
        }
        draft = draft.by(in_core);
    }
    // What earlier broadcasts of this thread have left there is nobody's any more.
    turn::take_sent();
    let result = encode_and_send(to, draft, volatile);
    let (counted_now, collided) = turn::take_sent();
    *sent += counted_now;
    if let Some((draft, key, merge)) = merging {
        for socket in collided {
            *sent += counted(&send_merged(&socket, &draft, &key, merge));
        }
    }
    result
}

fn encode_and_send(to: Audience<'_>, draft: Draft, volatile: bool) -> Result<(), EmitError> {
    let Audience { shards, target, .. } = to;
    let volatile = volatile.then_some(shards.runtime);
    let (bytes, mut draft, mut encoded) = (draft.len(), Some(draft), Ok(()));
    carry_out(Order::Broadcast {
        to,
        bytes,
        write: &mut |forms, stamp| {
            // A message with a place may have to be written again, for another place.
            let draft = match stamp.history {
                None => draft.take(),
                Some(_) => draft.clone(),
            };
            let draft = draft.unwrap_or_default();
            let (message, result) = with_scratch(|scratch| {
                draft.encoded(&target.namespace, volatile, forms, stamp, &shards.config, scratch)
            });
            encoded = result;
            message
        },
    })
    .and(encoded)
}
