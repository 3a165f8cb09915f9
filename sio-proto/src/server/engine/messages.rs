//! What a session does with messages of Socket.IO, whatever the revision: attachments find their
//! packet, and the packet the rules of its revision ([`revision4`], [`revision5`]).

use bytes::{Bytes, BytesMut};

use super::At;
#[cfg(doc)]
use super::{revision4, revision5};
use crate::server::{EngineMessage, Reason};
use crate::socket::text::{Decoded, Encoder};
use crate::socket::{Packet, Revision};
use crate::{codec, engine};

impl At<'_> {
    /// A text message of a session: a packet, or the head of one.
    pub(super) fn handle_text(&mut self, revision: engine::Revision, decoded: Decoded) -> Result<(), Reason> {
        match self.session.reassembly.handle_decoded(decoded) {
            Err(_) => Err(Reason::ForcedClose),
            Ok(Some(packet)) => self.handle_packet(revision, packet),
            Ok(None) => {
                if self.session.reassembly.is_pending() {
                    self.arm_attachments(self.now + self.core.config.attachment_timeout);
                }
                self.weigh_kept()
            }
        }
    }

    /// A binary message of a session: an attachment.
    pub(super) fn handle_binary(&mut self, revision: engine::Revision, bytes: Bytes) -> Result<(), Reason> {
        let limits = &self.core.config.packet;
        match self.session.reassembly.handle_binary(bytes, limits) {
            Err(_) => Err(Reason::ForcedClose),
            Ok(None) => self.weigh_kept(),
            Ok(Some(packet)) => {
                self.weigh_kept()?;
                self.handle_packet(revision, packet)
            }
        }
    }

    /// A part of a packet, to the operator's parser.
    pub(super) fn handle_part(&mut self, revision: engine::Revision, part: EngineMessage) -> Result<(), Reason> {
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
            Err(_) => Err(Reason::ForcedClose),
            Ok(Some(packet)) => self.handle_packet(revision, packet),
            Ok(None) => {
                if is_first {
                    self.arm_attachments(self.now + self.core.config.attachment_timeout);
                }
                self.weigh_kept()
            }
        }
    }

    /// What waits for the rest of its packet counts.
    fn weigh_kept(&mut self) -> Result<(), Reason> {
        match self.weigh() {
            true => Ok(()),
            false => Err(Reason::ForcedClose),
        }
    }

    fn handle_packet(&mut self, revision: engine::Revision, packet: Packet) -> Result<(), Reason> {
        match revision {
            engine::Revision::V4 => self.handle_packet5(packet),
            engine::Revision::V3 => self.handle_packet4(packet),
        }
    }
}

/// Writes the DISCONNECT from a namespace, which is the same in all revisions.
pub(crate) fn write_disconnect(out: &mut BytesMut, namespace: &str) {
    Encoder::new(Revision::Five).disconnect(out, namespace);
}
