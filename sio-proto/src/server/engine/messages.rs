//! What a session does with messages of Socket.IO, whatever the revision: attachments find their
//! packet, and the packet the rules of its revision ([`revision4`], [`revision5`]).

use bytes::{Bytes, BytesMut};

use super::{revision4, revision5};
use crate::id::SessionSlot;
use crate::server::{Core, EngineMessage, Outputs, Reason};
use crate::socket::text::{Decoded, Encoder};
use crate::socket::{Packet, Revision};
use crate::{Time, codec, engine};

/// A text message of a session: a packet, or the head of one.
pub(crate) fn handle_text(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    revision: engine::Revision,
    decoded: Decoded,
    out: &mut Outputs,
) -> Result<(), Reason> {
    let Some(session) = core.sessions.get_mut(slot) else {
        return Ok(());
    };
    match session.reassembly.handle_decoded(decoded) {
        Err(_) => Err(Reason::ForcedClose),
        Ok(Some(packet)) => handle_packet(core, now, slot, revision, packet, out),
        Ok(None) => {
            if session.reassembly.is_pending() {
                super::arm_attachments(core, slot, now + core.config.attachment_timeout);
            }
            weigh(core, slot)
        }
    }
}

/// A binary message of a session: an attachment.
pub(crate) fn handle_binary(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    revision: engine::Revision,
    bytes: Bytes,
    out: &mut Outputs,
) -> Result<(), Reason> {
    let config = &core.config;
    let Some(session) = core.sessions.get_mut(slot) else {
        return Ok(());
    };
    match session.reassembly.handle_binary(bytes, &config.packet) {
        Err(_) => Err(Reason::ForcedClose),
        Ok(None) => weigh(core, slot),
        Ok(Some(packet)) => {
            weigh(core, slot)?;
            handle_packet(core, now, slot, revision, packet, out)
        }
    }
}

/// What waits for the rest of its packet counts.
fn weigh(core: &mut Core, slot: SessionSlot) -> Result<(), Reason> {
    match core.weigh(slot) {
        true => Ok(()),
        false => Err(Reason::ForcedClose),
    }
}

/// A part of a packet, to the operator's parser.
pub(crate) fn handle_part(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    revision: engine::Revision,
    part: EngineMessage,
    out: &mut Outputs,
) -> Result<(), Reason> {
    let (config, due) = (&core.config, now + core.config.attachment_timeout);
    let (Some(session), Some(parser)) = (core.sessions.get_mut(slot), &config.parser) else {
        return Ok(());
    };
    let is_first = !session.reassembly.is_pending();
    let joined = session.reassembly.handle_part(part, &**parser, &config.packet);
    let complete = !session.reassembly.is_pending() && !is_first;
    if complete {
        weigh(core, slot)?;
    }
    let config = &core.config;
    match joined.and_then(|packet| packet.map(|p| codec::checked(p, revision, &config.packet)).transpose()) {
        Err(_) => Err(Reason::ForcedClose),
        Ok(Some(packet)) => handle_packet(core, now, slot, revision, packet, out),
        Ok(None) => {
            if is_first {
                super::arm_attachments(core, slot, due);
            }
            weigh(core, slot)
        }
    }
}

fn handle_packet(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    revision: engine::Revision,
    packet: Packet,
    out: &mut Outputs,
) -> Result<(), Reason> {
    match revision {
        engine::Revision::V4 => revision5::handle_packet(core, now, slot, packet, out),
        engine::Revision::V3 => revision4::handle_packet(core, now, slot, packet, out),
    }
}

/// Writes the DISCONNECT from a namespace, which is the same in all revisions.
pub(crate) fn write_disconnect(out: &mut BytesMut, namespace: &str) {
    Encoder::new(Revision::Five).disconnect(out, namespace);
}
