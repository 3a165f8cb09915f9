//! Messages of Socket.IO in a session, for all revisions: attachments are joined to their packet,
//! and the packet is handled by the rules of its revision ([`revision4`], [`revision5`]).

use bytes::Bytes;

use super::At;
#[cfg(doc)]
use super::{revision4, revision5};
use crate::server::shard::kept_too_much;
use crate::server::{Breach, BreachKind, EngineMessage, Standing};
use crate::socket::Packet;
use crate::socket::text::{Decoded, TextEvent};
use crate::{codec, engine};

impl At<'_> {
    /// A text message of a session: a packet, or the header of a packet with attachments.
    pub(super) fn handle_text(&mut self, revision: engine::Revision, decoded: Decoded) -> Result<(), Breach> {
        match self.session.reassembly.handle_decoded(decoded) {
            Err(error) => Err(Breach::new(BreachKind::Attachment, error)),
            Ok(Some(mut packet)) => self.handle_packet(revision, &mut packet),
            Ok(None) => {
                if self.session.reassembly.is_pending() {
                    self.arm_attachments(self.now + self.core.config.attachment_timeout);
                }
                self.weigh_kept()
            }
        }
    }

    /// A binary message of a session: an attachment.
    pub(super) fn handle_binary(&mut self, revision: engine::Revision, bytes: Bytes) -> Result<(), Breach> {
        let limits = &self.core.config.packet;
        match self.session.reassembly.handle_binary(bytes, limits) {
            Err(error) => Err(Breach::new(BreachKind::Attachment, error)),
            Ok(None) => self.weigh_kept(),
            Ok(Some(mut packet)) => {
                self.weigh_kept()?;
                self.handle_packet(revision, &mut packet)
            }
        }
    }

    /// A part of a packet, for the operator's parser.
    pub(super) fn handle_part(&mut self, revision: engine::Revision, part: EngineMessage) -> Result<(), Breach> {
        let (session, config) = (&mut *self.session, &self.core.config);
        let Some(parser) = &config.parser else {
            debug_assert!(false, "a message is a part only where there is a parser");
            return Ok(());
        };
        let is_first = !session.reassembly.is_pending();
        let joined = session.reassembly.handle_part(part, &**parser, &config.packet);
        let complete = !session.reassembly.is_pending() && !is_first;
        if complete {
            self.weigh_kept()?;
        }
        let limits = &self.core.config.packet;
        match joined.and_then(|packet| packet.map(|p| codec::checked(p, revision, limits)).transpose()) {
            Err(error) => Err(Breach::new(BreachKind::SocketPacket, error)),
            Ok(Some(mut packet)) => self.handle_packet(revision, &mut packet),
            Ok(None) => {
                if is_first {
                    self.arm_attachments(self.now + self.core.config.attachment_timeout);
                }
                self.weigh_kept()
            }
        }
    }

    /// Counts the bytes that wait for the rest of their packet.
    fn weigh_kept(&mut self) -> Result<(), Breach> {
        match self.weigh() {
            true => Ok(()),
            false => Err(kept_too_much()),
        }
    }

    /// An event with its parts in their text.
    pub(super) fn handle_event(&mut self, revision: engine::Revision, event: &TextEvent) -> Result<(), Breach> {
        match self.socket_in(event.namespace()) {
            Some((socket, Standing::Connected)) => {
                self.event(socket, event.shared_name(), event.args(), event.id());
                Ok(())
            }
            _ => self.handle_packet(revision, &mut event.to_packet()),
        }
    }

    /// A whole packet. An event for a socket is the same in all revisions.
    pub(super) fn handle_packet(&mut self, revision: engine::Revision, packet: &mut Packet) -> Result<(), Breach> {
        let found = self.socket_in(packet.namespace());
        if let (Packet::Event { .. }, Some((socket, Standing::Connected))) = (&*packet, found)
            && let Packet::Event { name, id, args, .. } = packet.take()
        {
            self.event(socket, name, args, id);
            return Ok(());
        }
        match revision {
            engine::Revision::V4 => self.handle_packet5(packet.take(), found),
            engine::Revision::V3 => self.handle_packet4(packet.take(), found),
        }
    }
}

/// The breach of a client that sends too many CONNECTs for one second, or for the queue of their
/// answers.
#[cold]
pub(super) fn too_many_connects() -> Breach {
    Breach::new(
        BreachKind::Limit,
        "more CONNECTs than a second, or the queue of answers, has room for",
    )
}

/// The breach of a packet that is not allowed for its namespace. The text names the namespace only
/// if it is `/`, because the client chooses other names, and they may hold a secret.
#[cold]
pub(super) fn misplaced(packet: &Packet, why: &str) -> Breach {
    let what = match packet {
        Packet::Connect { .. } => "CONNECT",
        Packet::Disconnect { .. } => "DISCONNECT",
        Packet::Event { .. } => "EVENT",
        Packet::Ack { .. } => "ACK",
        Packet::ConnectError { .. } => "CONNECT_ERROR",
    };
    let namespace = match &**packet.namespace() {
        "/" => "the namespace /",
        _ => "a namespace",
    };
    Breach::new(BreachKind::Namespace, format_args!("{what} for {namespace}, {why}"))
}
