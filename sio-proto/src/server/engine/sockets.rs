//! What the user decides about sockets, and what is sent to them, in Engine.IO messages
//! (docs/protocol/socket-io.md §3, §5).

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::{
    Config, Core, Encoded, EngineMessage, Frame, LATE, MAX_LEFT, Message, Outputs, Reason, Revision, Time,
    TransportKind, close, engine_mut, messages, revision_of, revision4, revision5, socket,
};
use crate::codec::{self, PacketError};
use crate::engine::frames;
use crate::id::{SessionSlot, SocketSlot};
use crate::server::SendError;
use crate::socket::Packet;
use crate::socket::text::Encoder;

/// The user has let a socket in.
pub(crate) fn accepted(core: &mut Core, slot: SessionSlot, socket: SocketSlot, out: &mut Outputs) {
    let Some(engine) = engine_mut(core, slot) else { return };
    engine.joined = true;
    let revision = engine.revision;
    let Some((namespace, sid)) = core.socket_names(socket) else {
        return;
    };
    if core.config.parser.is_some() {
        let packet = match revision {
            Revision::V4 => revision5::connected(namespace, &sid),
            Revision::V3 => revision4::connected(namespace),
        };
        push_parsed(core, slot, revision, &packet);
    } else {
        let frame = socket_frame(core, |b| match revision {
            Revision::V4 => revision5::write_connected(b, &namespace, &sid),
            Revision::V3 => revision4::write_connected(b, &namespace),
        });
        core.push_control(slot, frame);
    }
    if revision == Revision::V3 {
        revision4::accepted(core, slot, out);
    }
}

/// The user has refused a socket.
pub(crate) fn refused(core: &mut Core, slot: SessionSlot, namespace: &str, message: &str, data: Option<&str>) {
    let Some(engine) = engine_mut(core, slot) else { return };
    let revision = engine.revision;
    if core.config.parser.is_some() {
        let packet = Packet::ConnectError {
            namespace: namespace.into(),
            payload: match revision {
                Revision::V4 => revision5::refusal(message, data),
                Revision::V3 => revision4::refusal(message, data),
            },
        };
        push_parsed(core, slot, revision, &packet);
    } else {
        let frame = socket_frame(core, |b| match revision {
            Revision::V4 => revision5::write_refused(b, namespace, message, data),
            Revision::V3 => revision4::write_refused(b, namespace, message, data),
        });
        core.push_control(slot, frame);
    }
    if revision == Revision::V3 {
        revision4::refused(core, slot);
    }
}

/// Says once more that the client is in a namespace; revision 3.
pub(crate) fn confirm(core: &mut Core, slot: SessionSlot, namespace: &str) {
    if core.config.parser.is_some() {
        let packet = revision4::connected(namespace.into());
        return push_parsed(core, slot, Revision::V3, &packet);
    }
    let frame = socket_frame(core, |b| revision4::write_connected(b, namespace));
    core.push_control(slot, frame);
}

/// The user disconnects a socket, or with it the session.
pub(crate) fn disconnect(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    socket: SocketSlot,
    whole: bool,
    out: &mut Outputs,
) {
    let reason = Reason::ServerNamespaceDisconnect;
    let leaving = match (whole, core.sessions.get(slot)) {
        (true, Some(session)) => session.sockets.clone(),
        _ => alloc::vec![socket],
    };
    for socket in leaving {
        let Some((namespace, _)) = core.socket_names(socket) else {
            continue;
        };
        push_disconnect(core, slot, &namespace);
        core.left(slot, socket, reason, out);
        if let Some(engine) = engine_mut(core, slot) {
            if engine.left.len() >= MAX_LEFT {
                engine.left.remove(0);
            }
            engine.left.push((namespace, now));
        }
    }
    if whole {
        close(core, now, slot, reason, out);
    }
}

/// Whether packets for this namespace may be late ones for a socket that the server has
/// disconnected.
pub(crate) fn left_lately(core: &mut Core, now: Time, slot: SessionSlot, namespace: &str) -> bool {
    engine_mut(core, slot).is_some_and(|e| {
        e.left
            .iter()
            .any(|(name, at)| *name == *namespace && now.saturating_since(*at) < LATE)
    })
}

fn push_disconnect(core: &mut Core, slot: SessionSlot, namespace: &ByteString) {
    if core.config.parser.is_some()
        && let Some(revision) = core.sessions.get(slot).and_then(revision_of)
    {
        let namespace = namespace.clone();
        return push_parsed(core, slot, revision, &Packet::Disconnect { namespace });
    }
    let frame = socket_frame(core, |b| messages::write_disconnect(b, namespace));
    core.push_control(slot, frame);
}

/// Queues a packet of the protocol itself as the operator's parser writes it. Of one that it cannot
/// write the client hears nothing.
fn push_parsed(core: &mut Core, slot: SessionSlot, revision: Revision, packet: &Packet) {
    let Some(parser) = &core.config.parser else { return };
    if let Ok((first, more)) = codec::assemble(
        &**parser,
        packet,
        revision,
        core.config.max_queued_bytes,
        &mut core.buffer,
    ) {
        let adapts = core.sessions.get(slot).is_some_and(|session| session.adapts);
        for frame in first.into_iter().chain(more) {
            let frame = match adapts {
                true => frames::to_base64(revision, &frame),
                false => frame,
            };
            core.push_control(slot, frame);
        }
    }
}

/// A Socket.IO packet in an Engine.IO message.
fn socket_frame(core: &mut Core, write: impl FnOnce(&mut BytesMut)) -> Frame {
    Frame::text(&mut core.buffer, |b| {
        b.put_u8(b'4');
        write(b);
    })
}

/// Encodes a message for clients of this generation, unless the operator's parser cannot, or it is
/// too large for the queue of a session.
pub(crate) fn encode_message(
    revision: Revision,
    message: &Message,
    config: &Config,
    buffer: &mut BytesMut,
) -> Result<Encoded, SendError> {
    let max_bytes = config.max_queued_bytes;
    if let Some(parser) = &config.parser {
        let assembled = codec::assemble(&**parser, &message.packet(), revision, max_bytes, buffer);
        let (first, attachments) = assembled.map_err(|error| match error {
            PacketError::TooLarge => SendError::TooLarge,
            _ => SendError::Unsupported,
        })?;
        let first = first.ok_or(SendError::Unsupported)?;
        return Ok(Encoded { first, attachments });
    }
    let encoder = Encoder::new(match revision {
        Revision::V4 => socket::Revision::Five,
        Revision::V3 => socket::Revision::Four,
    });
    let name = message.name.as_deref().unwrap_or_default();
    if !encoder.fits(max_bytes, &message.namespace, name, &message.args) {
        return Err(SendError::TooLarge);
    }
    let first = Frame::text(buffer, |b| {
        b.put_u8(b'4');
        match revision {
            Revision::V4 => revision5::write_message(b, message),
            Revision::V3 => revision4::write_message(b, message),
        }
    });
    let attachments = message.args.attachments.iter();
    let attachments = attachments
        .map(|bytes| frames::binary_frame(revision, bytes, buffer))
        .collect();
    Ok(Encoded { first, attachments })
}

/// Encodes a message of a raw session.
///
/// Refused is text with a raw U+001E for a client of revision 4 that polls: it would split there,
/// and what stands behind it would be a packet of its own (docs/protocol/engine-io.md §3.1).
pub(crate) fn encode_raw(core: &mut Core, slot: SessionSlot, message: &EngineMessage) -> Result<Frame, SendError> {
    let session = core.sessions.get(slot).ok_or(SendError::Disconnected)?;
    let revision = revision_of(session).ok_or(SendError::Disconnected)?;
    let polls = session.transport == TransportKind::Polling && revision == Revision::V4;
    if polls && matches!(message, EngineMessage::Text(text) if text.contains('\u{1e}')) {
        return Err(SendError::Unsupported);
    }
    Ok(frames::message_frame(revision, message, &mut core.buffer))
}
