//! What other nodes want from this one, and what they have answered.

use std::sync::{Arc, Weak};

use bytestring::ByteString;
use sio_proto::cluster::{Delivery, Flags, Order, Outcome, RemoteSocket as Known, RequestEnd, RequestId, Target};
use sio_proto::server;
use sio_proto::socket::{Args, Offset};

use super::{ClusterNode, Waiting};
use crate::args::detached;
use crate::turn::application::Application;
use crate::turn::survey::SurveyElsewhere;
use crate::user::emitter::Emitter;
use crate::user::inner::Inner;
use crate::user::message::Draft;
use crate::user::remote_socket::RemoteSocket;
use crate::user::request::{Request, RequestError};
use crate::user::rooms::with_names;

impl ClusterNode {
    /// Does what the node delivers. No lock is held.
    pub(super) fn deliver(self: &Arc<Self>, delivery: Delivery) {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else {
            return;
        };
        match delivery {
            Delivery::Ready { namespace } => tracing::debug!(namespace = &*namespace, "heard in the cluster"),
            Delivery::CarryOut {
                namespace,
                order,
                confirm,
                entry,
            } => {
                if let Some(entry) = entry {
                    return self.carry_out_in_order(namespace, order, &entry);
                }
                // An order for one socket is none for a room that has the name of its id.
                if confirm.is_some() && !is_known(&server, &order) {
                    return;
                }
                carry_out(&server, namespace, order, None);
                if let Some(asker) = confirm {
                    self.answered(&asker, |voice| voice.answer_done(&asker));
                }
            }
            Delivery::ServerSideEmit { namespace, emit, asker } => self.hear_server(&server, namespace, emit, asker),
            Delivery::Fetch { asker, to, ids } => self.give_sockets(&server, &asker, to, ids),
            Delivery::Rooms { asker } => self.give_rooms(&server, &asker),
            Delivery::Ask { asker, to, flags, emit } => self.ask_here(&server, asker, to, flags, emit),
            Delivery::Sockets {
                request,
                sockets,
                left_out,
            } => self.add_sockets(&server, request, sockets, left_out),
            Delivery::Answer { request, value } => self.add_value(request, value),
            Delivery::Recipients { request, count } => self.with_survey(request, |survey| survey.expect(count)),
            Delivery::Ack { request, value } => self.with_survey(request, |survey| survey.heard(value)),
            Delivery::Ended { request, end } => self.end(request, end),
            Delivery::Echo {
                namespace,
                request,
                entry,
            } => self.echoed(namespace, request, &entry),
            Delivery::Stored { request, entry } => self.stored(request, &entry),
        }
    }
}

/// Answers to requests of this node.
impl ClusterNode {
    fn add_sockets(&self, server: &Arc<Inner>, request: RequestId, sockets: Vec<Known>, left_out: u64) {
        let Some((waiting, namespace)) = self.waiting_for(request) else {
            return;
        };
        let sockets = sockets.into_iter().map(|socket| RemoteSocket {
            application: server.application(),
            namespace: namespace.clone(),
            id: socket.id,
            rooms: socket.rooms,
            handshake: socket.handshake,
            data: socket.data,
        });
        let sockets: Vec<_> = sockets.collect();
        waiting.add(|answers| {
            answers.sockets.extend(sockets);
            answers.left_out = answers.left_out.saturating_add(left_out);
        });
    }

    fn add_value(&self, request: RequestId, value: Args) {
        if let Some((waiting, _)) = self.waiting_for(request) {
            let value = detached(value);
            waiting.add(|answers| answers.values.push(value));
        }
    }

    fn waiting_for(&self, request: RequestId) -> Option<(Request, ByteString)> {
        match self.state.lock().waiting.get(&request)? {
            Waiting::Request(waiting, namespace) => Some((waiting.clone(), namespace.clone())),
            Waiting::Survey(_) => None,
        }
    }

    /// Does something with the survey of a request. It wakes who waits for it, so no lock is held.
    fn with_survey(&self, request: RequestId, act: impl FnOnce(&SurveyElsewhere)) {
        let survey = match self.state.lock().waiting.get(&request) {
            Some(Waiting::Survey(survey)) => Arc::clone(survey),
            _ => return,
        };
        act(&survey);
    }

    fn end(&self, request: RequestId, end: RequestEnd) {
        let ended = self.state.lock().waiting.remove(&request);
        let Some(Waiting::Request(waiting, _)) = ended else {
            // A survey ends when it is dropped, under no lock.
            return;
        };
        waiting.add(|answers| {
            answers.silent = end.silent;
            answers.silent_nodes = end.silent_nodes.iter().map(ToString::to_string).collect();
            answers.error = match end.outcome {
                Outcome::Complete | Outcome::Deadline => None,
                Outcome::Broker(why) => Some(RequestError::Broker(why)),
                Outcome::Closed => Some(RequestError::Closed),
            };
        });
        waiting.end();
    }
}

/// Returns the sockets of a target on this node.
pub(super) fn here(server: &Arc<Inner>, namespace: ByteString, to: Target) -> Emitter {
    let target = server::Target {
        namespace,
        rooms: to.rooms,
        except: to.except,
        except_socket: None,
    };
    Emitter::to_target(server.application(), target)
}

/// Carries out an order of another node for the sockets of this one.
/// `place` is the place of its entry, with the streams adapter.
pub(super) fn carry_out(server: &Arc<Inner>, namespace: ByteString, order: Order, place: Option<Offset>) {
    match order {
        Order::Broadcast {
            to,
            flags: Flags { volatile, .. },
            emit,
        } => {
            let here = here(server, namespace, to);
            let here = if volatile { here.volatile() } else { here };
            here.send_heard(Draft::of_parts(emit.name, emit.args), place);
        }
        Order::Join { to, rooms } => here(server, namespace, to).join(&rooms),
        // These have their place in the stream, so nothing is sent before them that is behind it.
        Order::Leave { to, rooms } => with_names(&rooms, |rooms| here(server, namespace, to).leave_now(rooms)),
        Order::Disconnect { to, close } => here(server, namespace, to).end_now(close),
    }
}

/// Whether an order for one socket is for a socket of this node.
fn is_known(server: &Inner, order: &Order) -> bool {
    let (Order::Broadcast { to, .. } | Order::Join { to, .. } | Order::Leave { to, .. } | Order::Disconnect { to, .. }) =
        order;
    matches!(&to.rooms[..], [id] if server.shards().find(id).is_some())
}
