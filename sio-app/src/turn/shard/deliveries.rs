//! What an input of a shard has put out: writes go to the links, and deliveries to the mailboxes of
//! the sockets or to the turn. All of this runs under the lock of the shard, so what it has to wake
//! or to log is noted, and done when the lock is free.

use std::sync::Arc;

use sio_proto::server::{Delivery, Outputs, Reason, Write};
use sio_proto::{SessionKey, SocketKey};

use super::{ShardCell, State, too_many_events};
use crate::turn::Turn;
use crate::turn::application::EngineNews;
use crate::turn::call::Ending;
use crate::turn::load::Overflow;
use crate::turn::mailbox::Mail;
use crate::turn::note::Note;
use crate::turn::raw_session::RawSession;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;
use crate::turn::work::Work;

/// Gives news of a raw session to the turn, or to the mailbox if another turn works for the
/// session.
fn tell_raw(turn: &Turn, raw: &Arc<RawSession>, news: EngineNews, verdicts: &mut Verdicts) {
    match raw.mailbox.admit(turn.owner(), news, raw.load()) {
        Ok(Some(news)) => turn.add(Work::Engine(Arc::clone(raw), news)),
        Ok(None) => turn.note_load(raw.load()),
        Err(Overflow) if verdicts.flooded.contains(&raw.session) => {}
        Err(Overflow) => verdicts.flooded.push(raw.session),
    }
}

/// What the shard has to be told when all deliveries have been given out.
#[derive(Default)]
struct Verdicts {
    /// The sockets for which too many events wait.
    overflown: Vec<SocketKey>,
    /// The raw sessions for which too many messages wait.
    flooded: Vec<SessionKey>,
    /// The sockets for which nothing is under way.
    free: Vec<SocketKey>,
}

impl ShardCell {
    /// Gives the outputs of an input to the links and to the turn.
    #[inline]
    pub(super) fn settle(self: &Arc<Self>, state: &mut State, turn: &Turn, out: &mut Outputs) {
        // Most inputs are one event.
        if let [Delivery::Event { socket, .. }] = out.deliveries[..]
            && out.writes.is_empty()
            && let Some(Delivery::Event { name, args, ack, .. }) = out.deliveries.pop()
        {
            if let Err(Overflow) = self.deliver_event(state, turn, socket, Mail::Event { name, args, ack }) {
                self.end_overflown(state, turn, socket, out);
            }
            return;
        }
        self.settle_all(state, turn, out);
    }

    #[inline(never)]
    fn settle_all(self: &Arc<Self>, state: &mut State, turn: &Turn, out: &mut Outputs) {
        for write in out.writes.drain(..) {
            let id = write.link();
            state.packets_out += write.packets() as u64;
            if let Write::Response(_, response) = &write
                && response.status >= 400
            {
                turn.note(Note::Refused(response.status));
            }
            if let Some(link) = state.links.get(id) {
                if let Some(waker) = link.push_held(write.into()) {
                    turn.note(Note::Wake(waker));
                }
                turn.touch_link(link, Some((self, id)));
            }
        }
        if out.deliveries.is_empty() {
            return;
        }
        let mut verdicts = Verdicts::default();
        let mut deliveries = std::mem::take(&mut out.deliveries);
        for delivery in deliveries.drain(..) {
            self.deliver(state, turn, delivery, &mut verdicts);
        }
        out.deliveries = deliveries;
        for socket in verdicts.free {
            let now = state.time(turn);
            state.shard.release(now, socket, out);
            self.note_rooms(state, turn);
            self.settle_all(state, turn, out);
        }
        for session in verdicts.flooded {
            let now = state.time(turn);
            state.shard.close_engine(now, session, out);
            self.settle_all(state, turn, out);
        }
        for socket in verdicts.overflown {
            self.end_overflown(state, turn, socket, out);
        }
    }

    /// Ends the session of a socket for which too many events wait.
    #[cold]
    fn end_overflown(self: &Arc<Self>, state: &mut State, turn: &Turn, socket: SocketKey, out: &mut Outputs) {
        turn.note(Note::Overflow(socket));
        let now = state.time(turn);
        state.shard.disconnect_for(now, socket, too_many_events(), out);
        self.note_rooms(state, turn);
        self.settle_all(state, turn, out);
    }

    /// Gives an event to the turn, or to the mailbox of its socket if another turn works for the
    /// socket.
    ///
    /// # Errors
    /// [`Overflow`] if too much waits for the socket. Then the event is lost.
    #[inline]
    fn deliver_event(&self, state: &State, turn: &Turn, socket: SocketKey, event: Mail) -> Result<(), Overflow> {
        let Some(inner) = state.socket(socket) else {
            return Ok(());
        };
        match inner.mailbox.admit(turn.owner(), event, inner.load()) {
            Ok(Some(mail)) => turn.add(Work::Mail(Arc::clone(inner), mail)),
            Ok(None) => {
                self.note_waiting(inner.mailbox.waiting());
                turn.note_load(inner.load());
            }
            Err(Overflow) => {
                // What comes behind a lost event must not be handled either.
                inner.seal_heard();
                return Err(Overflow);
            }
        }
        Ok(())
    }

    fn deliver(self: &Arc<Self>, state: &mut State, turn: &Turn, delivery: Delivery, verdicts: &mut Verdicts) {
        match delivery {
            Delivery::Event {
                socket,
                name,
                args,
                ack,
            } => {
                let mail = Mail::Event { name, args, ack };
                if let Err(Overflow) = self.deliver_event(state, turn, socket, mail)
                    && !verdicts.overflown.contains(&socket)
                {
                    verdicts.overflown.push(socket);
                }
            }
            Delivery::Ack { socket, id, result } => {
                if let Some(inner) = state.socket(socket) {
                    turn.add(Work::Ack(Arc::clone(inner), id, result));
                }
            }
            Delivery::Connect {
                socket,
                session: _,
                sid,
                wire_id,
                namespace,
                auth,
                handshake,
                generation: _,
                transport: _,
                form,
            } => {
                let inner = SocketCell::new(
                    Arc::clone(self),
                    handshake,
                    socket,
                    (SocketId::new(sid), wire_id),
                    namespace,
                    auth,
                    form,
                );
                let inner = Arc::new(inner);
                inner.mailbox.open(turn.owner());
                state.remember(&inner);
                turn.add(Work::Connect(inner));
            }
            Delivery::Disconnect {
                socket,
                reason,
                breach,
                connected,
                rooms,
            } => {
                let Some(inner) = state.forget(socket) else { return };
                if reason == Reason::ClientNamespaceDisconnect || reason.is_dismissal() {
                    inner.set_final();
                    if self.recovery.keeper.is_some() && inner.record().is_some() {
                        state.parted.push(Arc::clone(&inner));
                    }
                }
                match reason.is_dismissal() {
                    true => inner.dismiss(),
                    false => inner.set_gone(),
                }
                if connected && let Some(names) = inner.table().and_then(|table| table.names.as_ref()) {
                    names.leave(inner.namespace());
                }
                let mail = Mail::Disconnect {
                    reason,
                    breach,
                    connected,
                    rooms,
                };
                let given = inner.mailbox.admit(turn.owner(), mail, inner.load());
                turn.add(Work::Gone(Arc::clone(&inner)));
                match given {
                    Ok(Some(mail)) => turn.add(Work::Mail(inner, mail)),
                    Ok(None) | Err(Overflow) => turn.add(Work::Release(inner)),
                }
            }
            Delivery::Leaving { socket } => {
                if state.socket(socket).is_none_or(|inner| inner.mailbox.leave()) {
                    verdicts.free.push(socket);
                }
            }
            Delivery::Breach {
                socket,
                session,
                ends,
                breach,
            } => turn.note(Note::Broken {
                socket,
                session,
                ends,
                breach,
            }),
            Delivery::Garbled { socket, codec, garbled } => {
                turn.note(Note::Garbled(socket, codec, garbled));
            }
            Delivery::EngineOpen { session, handshake } => {
                let raw = Arc::new(RawSession::new(Arc::clone(self), session, handshake));
                raw.mailbox.open(turn.owner());
                if state.raw.len() <= session.slot() {
                    state.raw.resize(session.slot() + 1, None);
                }
                state.raw[session.slot()] = Some(Arc::clone(&raw));
                turn.add(Work::Engine(raw, EngineNews::Opened));
            }
            Delivery::EngineMessage { session, message } => {
                if let Some(raw) = state.raw(session) {
                    tell_raw(turn, raw, EngineNews::Message(message), verdicts);
                }
            }
            Delivery::EngineClose {
                session,
                reason,
                breach,
            } => {
                if let Some(raw) = state.forget_raw(session) {
                    tell_raw(turn, &raw, EngineNews::Closed(Ending { reason, breach }), verdicts);
                    // It may be the last handle, and its data belongs to the user.
                    turn.add(Work::ReleaseRaw(raw));
                }
            }
            Delivery::EngineUpgraded { session, transport } => {
                if let Some(raw) = state.raw(session) {
                    tell_raw(turn, raw, EngineNews::Upgraded(transport), verdicts);
                }
            }
            Delivery::Upgraded { socket, transport } => {
                if let Some(inner) = state.socket(socket) {
                    turn.add(Work::Upgraded(Arc::clone(inner), transport));
                }
            }
            Delivery::ConnectionError(error) => turn.add(Work::ConnectionError(Arc::clone(self), error)),
            Delivery::Stranger(stranger) => turn.add(Work::Stranger(Arc::clone(self), stranger)),
            _ => debug_assert!(false, "every delivery is known here"),
        }
    }
}
