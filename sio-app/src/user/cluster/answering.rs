//! What this node answers to others.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::cluster::{Asker, Emit, Flags, NotSent, RemoteSocket as Known, Target, Voice, Written};
use sio_proto::socket::Args;

use super::ClusterNode;
use super::receiving::here;
use crate::args::{RawArgs, detached};
use crate::guarded::guarded;
use crate::turn::application::Application;
use crate::turn::server_side::{AnswerFn, ServerSideEvent};
use crate::user::inner::Inner;
use crate::user::message::Draft;
use crate::user::remote_socket::RemoteSocket;

/// The longest time for which sockets are asked for another node, however long it says that it
/// waits.
const MOST_ASKING: Duration = Duration::from_secs(600);

impl ClusterNode {
    /// Sends an answer. What cannot be sent leaves this node silent for the one who asks.
    pub(super) fn answered(
        self: &Arc<Self>,
        asker: &Asker,
        write: impl FnOnce(Voice) -> Result<Option<Written>, NotSent>,
    ) {
        let voice = self.voice(asker.namespace()).ok_or(NotSent::UnknownNamespace);
        let sent = voice.and_then(|voice| match write(voice)? {
            Some(written) => self.send(written).map(drop),
            None => Ok(()),
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer to another node is not sent");
        }
    }

    pub(super) fn give_sockets(self: &Arc<Self>, server: &Arc<Inner>, asker: &Asker, to: Target, ids: bool) {
        let sockets = here(server, asker.namespace().clone(), to).sockets();
        let known = sockets.iter().map(|socket| match ids {
            true => Known {
                id: socket.0.id().as_str().into(),
                ..Known::default()
            },
            false => {
                let RemoteSocket {
                    id,
                    rooms,
                    handshake,
                    data,
                    ..
                } = RemoteSocket::of(socket);
                Known {
                    id,
                    handshake,
                    rooms,
                    data,
                }
            }
        });
        let known = known.collect();
        self.answered(asker, |voice| voice.answer_sockets(asker, known));
    }

    pub(super) fn give_rooms(self: &Arc<Self>, server: &Arc<Inner>, asker: &Asker) {
        let mut rooms: Vec<ByteString> = Vec::new();
        let all = here(server, asker.namespace().clone(), Target::default());
        all.each_room(&mut |room, _| rooms.push(room.clone()));
        rooms.sort();
        rooms.dedup();
        self.answered(asker, |voice| voice.answer_rooms(asker, rooms));
    }

    /// Calls the handlers of an event that another server has sent. As on genuine nodes, nobody
    /// answers if there is no handler.
    pub(super) fn hear_server(
        self: &Arc<Self>,
        server: &Arc<Inner>,
        namespace: ByteString,
        emit: Emit,
        asker: Option<Asker>,
    ) {
        let handlers = server.namespaces.server_side(&namespace, &emit.name);
        if handlers.is_empty() {
            return;
        }
        let owed = asker.map(|asker| self.answer_once(asker));
        // The handlers may keep it.
        let args = RawArgs(detached(emit.args));
        for handler in handlers {
            let event = ServerSideEvent {
                namespace: namespace.clone(),
                name: emit.name.clone(),
                args: args.clone(),
                owed: owed.clone(),
            };
            if let Err(panic) = guarded(|| handler(event)) {
                Application::report(&**server, None, &emit.name, &panic);
            }
        }
    }

    /// Returns a function that answers when it is called for the first time.
    fn answer_once(self: &Arc<Self>, asker: Asker) -> AnswerFn {
        let (cluster, is_answered) = (Arc::downgrade(self), AtomicBool::new(false));
        Arc::new(move |value: Args| {
            if is_answered.swap(true, Ordering::Relaxed) {
                return;
            }
            if let Some(cluster) = cluster.upgrade() {
                cluster.answered(&asker, |voice| voice.answer_server_side_emit(&asker, value));
            }
        })
    }

    /// Asks sockets of this node for another node, and passes on what they answer.
    pub(super) fn ask_here(self: &Arc<Self>, server: &Arc<Inner>, asker: Asker, to: Target, flags: Flags, emit: Emit) {
        let timeout = flags.timeout.unwrap_or(self.settings.config.request_timeout);
        let here = here(server, asker.namespace().clone(), to);
        let here = if flags.volatile { here.volatile() } else { here };
        let draft = Draft::of_parts(emit.name, emit.args);
        let survey = here.ask_draft(&draft, timeout.min(MOST_ASKING)).ok();
        let asked = survey.as_ref().map_or(0, |survey| survey.asked());
        self.answered(&asker, |voice| voice.answer_recipients(&asker, asked as u64));
        let Some(survey) = survey.filter(|_| asked > 0) else {
            return;
        };
        let cluster = Arc::downgrade(self);
        (self.runtime.spawn)(Box::pin(async move {
            while let Some((_, answer)) = poll_fn(|cx| survey.poll_next(cx.waker())).await {
                let (Ok(value), Some(cluster)) = (answer, cluster.upgrade()) else {
                    continue;
                };
                cluster.answered(&asker, |voice| voice.answer_ack(&asker, value));
            }
        }));
    }
}
