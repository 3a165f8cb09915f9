//! The naive model: what the user of the server knows, as a map of sockets, each with its rooms and
//! open acknowledgements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::server::{AckError, Breach, Delivery, Generation, Handshake, Target};
use sio_proto::{SessionKey, Sid, SocketKey};

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) sid: Sid,
    pub(super) namespace: ByteString,
    pub(super) connected: bool,
    pub(super) rooms: BTreeSet<&'static str>,
    pub(super) acks: BTreeSet<u64>,
    pub(super) next_ack: u64,
    /// Ids of events that the client wants acknowledged.
    pub(super) wanted: Vec<u64>,
    pub(super) generation: Generation,
    /// Sockets of one session share one handshake.
    handshake: Arc<Handshake>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) sockets: BTreeMap<SocketKey, Socket>,
    pub(super) gone: BTreeSet<SocketKey>,
    garbled: BTreeSet<SocketKey>,
    /// Sockets whose turn to leave has come.
    pub(super) leaving: BTreeSet<SocketKey>,
    pub(super) raw: BTreeSet<SessionKey>,
    raw_gone: BTreeSet<SessionKey>,
}

impl Model {
    /// Checks a delivery against the model, and updates the model.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connect {
                socket,
                sid,
                namespace,
                handshake,
                generation,
                ..
            } => {
                assert!(namespace.starts_with('/'));
                assert!(!self.gone.contains(&socket), "a key is given out twice");
                let asked = Socket {
                    sid,
                    namespace: ByteString::clone(&namespace),
                    connected: false,
                    rooms: BTreeSet::new(),
                    acks: BTreeSet::new(),
                    next_ack: 0,
                    wanted: Vec::new(),
                    generation,
                    handshake,
                };
                assert!(self.sockets.insert(socket, asked).is_none(), "{socket:?} asks twice");
            }
            Delivery::Event { socket, args, ack, .. } => {
                let known = self.sockets.get_mut(&socket).filter(|s| s.connected);
                known.expect("an event of a socket that is not connected").wanted.extend(ack);
                args.iter().for_each(drop);
            }
            Delivery::Ack { socket, id, result } => {
                let known = self.sockets.get_mut(&socket).expect("an acknowledgement of nobody");
                assert!(known.connected && known.acks.remove(&id), "acknowledgement {id} is not owed");
                assert!(!matches!(result, Err(AckError::TimedOut)) || id % 2 == 1, "it has no deadline");
            }
            Delivery::Disconnect { socket, connected, .. } => {
                let known = self.sockets.remove(&socket).expect("nobody goes");
                assert_eq!(known.connected, connected);
                assert!(known.acks.is_empty(), "acknowledgements end before their socket does");
                self.gone.insert(socket);
            }
            Delivery::Garbled { socket, .. } => {
                assert!(self.sockets.contains_key(&socket), "nobody sends what cannot be read");
                assert!(self.garbled.insert(socket), "told twice");
            }
            Delivery::Leaving { socket } => {
                assert!(self.sockets.contains_key(&socket), "nobody leaves");
                assert!(self.leaving.insert(socket), "asked twice");
            }
            Delivery::EngineOpen { session, .. } => {
                assert!(self.raw.insert(session) && !self.raw_gone.contains(&session), "a session opens twice");
            }
            Delivery::EngineMessage { session, .. } => {
                assert!(self.raw.contains(&session), "a message of a session that is not open");
            }
            Delivery::EngineClose { session, .. } => {
                assert!(self.raw.remove(&session), "a session closes that is not open");
                self.raw_gone.insert(session);
            }
            Delivery::Stranger(stranger) => {
                let is_short = |text: &String| text.len() < 140 && text.bytes().all(|byte| byte.is_ascii_graphic());
                assert!(stranger.origin.iter().chain(&stranger.host).all(is_short), "a stranger fills the log");
            }
            Delivery::ConnectionError(error) => {
                let texts = [&error.message, &error.path];
                let more = error.origin.iter().chain(&error.host).chain(&error.user_agent);
                let is_short = |text: &String| text.len() < 140 && !text.contains(|c: char| c.is_control());
                assert!(texts.into_iter().chain(more).all(is_short), "a refused request fills the log");
            }
            Delivery::Upgraded { socket, .. } => {
                assert!(self.sockets.contains_key(&socket), "the upgrade of a socket that does not exist");
            }
            Delivery::EngineUpgraded { session, .. } => {
                assert!(self.raw.contains(&session), "the upgrade of a session that is not open");
            }
            Delivery::Breach { socket, breach, .. } => {
                let is_known = socket.is_none_or(|socket| self.sockets.contains_key(&socket));
                assert!(is_known, "a socket that does not exist breaks a rule");
                let is_short = breach.text().len() <= Breach::MAX_TEXT_BYTES;
                assert!(is_short && !breach.text().contains(|c: char| c.is_control()), "a broken rule fills the log");
            }
            other => panic!("unknown delivery {other:?}"),
        }
    }

    pub(super) fn connected(&self, socket: SocketKey) -> Option<&Socket> {
        self.sockets.get(&socket).filter(|s| s.connected)
    }

    /// Returns the sockets in a target.
    pub(super) fn members(&self, target: &Target) -> Vec<SocketKey> {
        let is_in = |socket: &Socket, room: &ByteString| {
            // Each socket is alone in the room that is named like its id.
            socket.rooms.contains(&**room) || socket.sid.to_string() == **room
        };
        let sockets = self.sockets.iter().filter(|(key, socket)| {
            socket.connected
                && socket.namespace == target.namespace
                && (target.rooms.is_empty() || target.rooms.iter().any(|room| is_in(socket, room)))
                && !target.except.iter().any(|room| is_in(socket, room))
                && target.except_socket != Some(**key)
        });
        sockets.map(|(key, _)| *key).collect()
    }

    /// Returns the least number of sessions that must exist.
    pub(super) fn sessions(&self) -> usize {
        let handshakes: BTreeSet<_> = self.sockets.values().map(|s| Arc::as_ptr(&s.handshake)).collect();
        handshakes.len() + self.raw.len()
    }
}
