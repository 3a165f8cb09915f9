//! What this node tells the others: each order of the application that is not for this node alone.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::cluster::{Emit, Flags, LocalOrder, NotSent, Order, Question, Recipients, Target, Voice, Written};

use super::{ClusterNode, Waiting};
use crate::turn::order::Audience;
use crate::turn::survey::SurveyElsewhere;
use crate::user::message::Draft;
use crate::user::request::Request;

/// Orders that nobody answers.
impl ClusterNode {
    /// Has the sockets of other nodes get an event, too.
    pub(in crate::user) fn broadcast(self: &Arc<Self>, to: Audience<'_>, volatile: bool, draft: Draft) {
        if is_for_one_here(to) {
            return;
        }
        let recipients = Recipients {
            rooms: &to.target.rooms,
            except: &to.target.except,
            sender: to.sender.map(|sender| sender.id().as_str()),
        };
        let (flags, emit) = (flags(volatile, None), emit_of(draft));
        self.tell_as(to, |voice| voice.broadcast(recipients, flags, emit));
    }

    /// Puts the sockets of other nodes into rooms, too. No room has the name of a socket's id.
    pub(in crate::user) fn join(self: &Arc<Self>, to: Audience<'_>, rooms: &[&str]) {
        if rooms.iter().any(|room| to.shards.is_id(room)) {
            return;
        }
        self.pass_on(to, |to| Order::Join {
            to,
            rooms: names(rooms),
        });
    }

    /// Takes the sockets of other nodes out of rooms, too.
    pub(in crate::user) fn leave(self: &Arc<Self>, to: Audience<'_>, rooms: &[&str]) {
        self.pass_on(to, |to| Order::Leave {
            to,
            rooms: names(rooms),
        });
    }

    /// Ends the sockets of other nodes, too.
    pub(in crate::user) fn disconnect(self: &Arc<Self>, to: Audience<'_>, close: bool) {
        self.pass_on(to, |to| Order::Disconnect { to, close });
    }

    /// Passes an order on, unless it is for one socket that is here.
    fn pass_on(self: &Arc<Self>, to: Audience<'_>, order: impl FnOnce(Target) -> Order) {
        if !is_for_one_here(to) {
            self.tell(to, LocalOrder::CarryOut(order(target_of(to))));
        }
    }

    /// Sends the other servers an event.
    pub(in crate::user) fn tell_servers(self: &Arc<Self>, to: Audience<'_>, draft: Draft) {
        self.tell(to, LocalOrder::ServerSideEmit(emit_of(draft)));
    }

    fn tell(self: &Arc<Self>, to: Audience<'_>, order: LocalOrder) {
        self.tell_as(to, |voice| voice.write(order));
    }

    fn tell_as(self: &Arc<Self>, to: Audience<'_>, write: impl FnOnce(Voice) -> Result<Written, NotSent>) {
        let namespace = &to.target.namespace;
        let voice = {
            let now = (self.runtime.now)();
            let mut state = self.state.lock_for("cluster voice");
            match state.node.id(namespace) {
                Some(_) => state.node.voice(now, namespace),
                // Nobody is in the namespace on this node.
                None => Some(state.node.guest_voice(now, namespace)),
            }
        };
        let told = match voice {
            Some(voice) => write(voice).and_then(|written| self.send(written)),
            None => Err(NotSent::UnknownNamespace),
        };
        if let Err(error) = told {
            self.note_unsent(&error);
        }
    }
}

/// Questions.
impl ClusterNode {
    /// Asks for the sockets of other nodes.
    pub(in crate::user) fn fetch(self: &Arc<Self>, to: Audience<'_>) -> Request {
        let question = Question::Sockets { to: target_of(to) };
        self.request(to, question)
    }

    /// Sends the other servers an event, and asks for their answers.
    pub(in crate::user) fn ask_servers(self: &Arc<Self>, to: Audience<'_>, draft: Draft) -> Request {
        self.request(to, Question::ServerSideEmit { emit: emit_of(draft) })
    }

    fn request(self: &Arc<Self>, to: Audience<'_>, question: Question) -> Request {
        let request = Request::default();
        let waiting = Waiting::Request(request.clone(), to.target.namespace.clone());
        self.ask_nodes(to, question, None, waiting);
        request
    }

    /// Asks the sockets of other nodes for acknowledgements of an event.
    pub(in crate::user) fn ask(
        self: &Arc<Self>,
        to: Audience<'_>,
        volatile: bool,
        timeout: Duration,
        draft: Draft,
        survey: SurveyElsewhere,
    ) {
        if is_for_one_here(to) {
            return;
        }
        let question = Question::Acks {
            to: target_of(to),
            flags: flags(volatile, Some(timeout)),
            emit: emit_of(draft),
        };
        self.ask_nodes(to, question, Some(timeout), Waiting::Survey(Arc::new(survey)));
    }

    fn ask_nodes(self: &Arc<Self>, to: Audience<'_>, question: Question, timeout: Option<Duration>, waiting: Waiting) {
        let order = LocalOrder::Ask { question, timeout };
        let voice = self.with(|node, now, out| node.asking_voice(now, &to.target.namespace, out));
        let refused = match voice.and_then(|voice| voice.write(order)) {
            Ok(written) => self.with_state(|state, now| match state.node.send(now, written, &mut state.out) {
                Ok(Some(request)) => {
                    state.waiting.insert(request, waiting);
                    None
                }
                // A question always has a name.
                Ok(None) => Some((waiting, NotSent::UnknownNamespace)),
                Err(error) => Some((waiting, error)),
            }),
            Err(error) => Some((waiting, error)),
        };
        if let Some((waiting, error)) = refused {
            waiting.refuse(&error);
        }
    }
}

fn flags(volatile: bool, timeout: Option<Duration>) -> Flags {
    let mut flags = Flags::default();
    flags.volatile = volatile;
    flags.timeout = timeout;
    flags
}

pub(super) fn emit_of(draft: Draft) -> Emit {
    let (name, args) = draft.into_parts();
    Emit { name, args }
}

fn names(rooms: &[&str]) -> Vec<ByteString> {
    rooms.iter().map(|room| ByteString::from(*room)).collect()
}

/// Returns the target as other nodes know it. The sender is left out by its id.
pub(super) fn target_of(to: Audience<'_>) -> Target {
    let sender = to.sender.map(|sender| ByteString::from(sender.id().as_str()));
    Target {
        rooms: to.target.rooms.clone(),
        except: to.target.except.iter().cloned().chain(sender).collect(),
    }
}

/// Whether an order is for one socket, which is on this node. Its id is no room of any other socket
/// ([`Shards::is_id`](crate::turn::shards::Shards::is_id)), so no other node has anything to do.
/// Genuine nodes publish such an order; each of the others reads it and throws it away.
fn is_for_one_here(to: Audience<'_>) -> bool {
    match &to.target.rooms[..] {
        [room] => to.shards.find(room).is_some(),
        _ => false,
    }
}
