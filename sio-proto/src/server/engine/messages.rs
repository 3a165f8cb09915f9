//! What a session does with messages of Socket.IO, whatever the revision: attachments find their
//! packet, and the packet the rules of its revision ([`revision4`], [`revision5`]).

use bytes::{Bytes, BytesMut};

use super::{revision4, revision5};
use crate::id::SessionSlot;
use crate::server::shard::kept_too_much;
use crate::server::{Breach, BreachKind, Core, EngineMessage, Outputs};
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
) -> Result<(), Breach> {
    let Some(session) = core.sessions.get_mut(slot) else {
        return Ok(());
    };
    match session.reassembly.handle_decoded(decoded) {
        Err(error) => Err(Breach::new(BreachKind::Attachment, error)),
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
) -> Result<(), Breach> {
    let config = &core.config;
    let Some(session) = core.sessions.get_mut(slot) else {
        return Ok(());
    };
    match session.reassembly.handle_binary(bytes, &config.packet) {
        Err(error) => Err(Breach::new(BreachKind::Attachment, error)),
        Ok(None) => weigh(core, slot),
        Ok(Some(packet)) => {
            weigh(core, slot)?;
            handle_packet(core, now, slot, revision, packet, out)
        }
    }
}

/// What waits for the rest of its packet counts.
fn weigh(core: &mut Core, slot: SessionSlot) -> Result<(), Breach> {
    match core.weigh(slot) {
        true => Ok(()),
        false => Err(kept_too_much()),
    }
}

/// More CONNECTs than one second, or the queue for their answers, has room for.
#[cold]
pub(super) fn too_many_connects() -> Breach {
    Breach::new(
        BreachKind::Limit,
        "more CONNECTs than a second, or the queue of answers, has room for",
    )
}

/// A packet for a namespace in which it has no place. The namespace is not named unless it is `/`:
/// the name is what the client makes of it, and may hold a secret.
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

/// A part of a packet, to the operator's parser.
pub(crate) fn handle_part(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    revision: engine::Revision,
    part: EngineMessage,
    out: &mut Outputs,
) -> Result<(), Breach> {
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
        Err(error) => Err(Breach::new(BreachKind::SocketPacket, error)),
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
) -> Result<(), Breach> {
    match revision {
        engine::Revision::V4 => revision5::handle_packet(core, now, slot, packet, out),
        engine::Revision::V3 => revision4::handle_packet(core, now, slot, packet, out),
    }
}

/// Writes the DISCONNECT from a namespace, which is the same in all revisions.
pub(crate) fn write_disconnect(out: &mut BytesMut, namespace: &str) {
    Encoder::new(Revision::Five).disconnect(out, namespace);
}
