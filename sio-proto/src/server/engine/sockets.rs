//! The user's decisions about sockets, and messages to sockets, as Engine.IO messages
//! (docs/protocol/socket-io.md §3, §5).

use bytes::{BufMut, BytesMut};

use super::{At, Fate, LATE, MAX_LEFT, Revision, revision_of, revision4, revision5};
use crate::codec::{self, PacketError};
use crate::engine::frames;
use crate::server::{Encoded, EngineMessage, Message, More, Reason, SendError, Session, TransportKind, Welcome};
use crate::socket::Packet;
use crate::socket::text::Encoder;
use crate::{Config, Frame, SocketKey, socket};

impl<'a> At<'a> {
    /// The user has accepted a socket.
    pub(crate) fn accepted(&mut self, socket: SocketKey, welcome: &Welcome) {
        let engine = self.engine();
        engine.joined = true;
        let revision = engine.revision;
        let namespace = self.core.namespace_of(socket);
        let packet = match revision {
            Revision::V4 => {
                let socket = self.core.socket(socket);
                let drawn = socket.sid.base64();
                let drawn = || core::str::from_utf8(&drawn).unwrap_or_default();
                revision5::connected(namespace, socket.name().unwrap_or_else(drawn), welcome)
            }
            Revision::V3 => revision4::connected(namespace),
        };
        self.push_packet(&packet);
        if revision == Revision::V3 {
            self.ask_queued();
        }
    }

    /// The user has refused a socket.
    pub(crate) fn refused(&mut self, namespace: &str, message: &str, data: Option<&str>) {
        let revision = self.engine().revision;
        self.push_packet(&Packet::ConnectError {
            namespace: namespace.into(),
            payload: match revision {
                Revision::V4 => revision5::refusal(message, data),
                Revision::V3 => revision4::refusal(message, data),
            },
        });
        if revision == Revision::V3 {
            self.refuse_queued();
        }
    }

    /// Tells the client how many of its events have been had. Returns false if there is no room.
    pub(crate) fn confirm_events(&mut self, socket: SocketKey, heard: u64) -> bool {
        if self.engine().revision != Revision::V4 || self.is_full() {
            return false;
        }
        let namespace = self.core.namespace_of(socket);
        self.push_packet(&revision5::confirmation(namespace, heard));
        true
    }

    /// Tells the client once more that it is in a namespace (revision 3).
    pub(super) fn confirm(&mut self, namespace: &str) {
        self.push_packet(&revision4::connected(namespace.into()));
    }

    /// The user disconnects a socket, or the whole session.
    pub(crate) fn disconnect(mut self, socket: SocketKey, whole: bool, reason: Reason) -> Fate<'a> {
        if !whole {
            self.disconnect_one(socket, reason);
            return Ok(self);
        }
        for socket in self.session.sockets.clone().into_items() {
            step!();
            let socket = self.core.socket_key(socket);
            self.disconnect_one(socket, reason);
        }
        self.close(reason)
    }

    fn disconnect_one(&mut self, socket: SocketKey, reason: Reason) {
        let namespace = self.core.namespace_of(socket);
        self.push_packet(&Packet::Disconnect {
            namespace: namespace.clone(),
        });
        self.left(socket, reason);
        let now = self.now;
        let left = &mut self.engine().rare_mut().left;
        if left.len() >= MAX_LEFT {
            left.remove(0);
        }
        left.push((namespace, now));
    }

    /// Whether packets for this namespace may be late packets, for a socket that the server has
    /// disconnected.
    pub(super) fn left_lately(&mut self, namespace: &str) -> bool {
        let now = self.now;
        let Some(rare) = &self.engine().rare else {
            return false;
        };
        let mut left = rare.left.iter();
        left.any(|(name, at)| {
            step!();
            *name == *namespace && now.saturating_since(*at) < LATE
        })
    }

    /// Queues a CONNECT, CONNECT_ERROR or DISCONNECT: in the form of the operator's parser if there
    /// is one, otherwise in the standard form of the session's revision. If the parser cannot write
    /// the packet, the client is not told.
    fn push_packet(&mut self, packet: &Packet) {
        let revision = self.engine().revision;
        let (config, buffer) = (&self.core.config, &mut self.core.buffer);
        let Some(parser) = &config.parser else {
            let frame = Frame::text(buffer, |b| {
                b.put_u8(b'4');
                encoder(revision).packet(b, packet);
            });
            return self.push_control(frame);
        };
        let assembled = codec::assemble(&**parser, packet, revision, config.max_queued_bytes, buffer);
        if let Ok((first, more)) = assembled {
            for frame in first.into_iter().chain(more) {
                let frame = match self.session.adapts {
                    true => frames::to_base64(revision, &frame),
                    false => frame,
                };
                self.push_control(frame);
            }
        }
    }
}

/// The writer of the standard form, for clients of this revision of Engine.IO.
pub(super) const fn encoder(revision: Revision) -> Encoder {
    Encoder::new(match revision {
        Revision::V4 => socket::Revision::Five,
        Revision::V3 => socket::Revision::Four,
    })
}

/// Encodes a message for clients of this generation. It fails if the operator's parser cannot write
/// the message, or if the message is too large for the queue of a session.
pub(crate) fn encode_message(
    revision: Revision,
    message: &Message,
    config: &Config,
    buffer: &mut BytesMut,
) -> Result<Encoded, SendError> {
    let max_bytes = config.max_queued_bytes;
    if let Some(parser) = &config.parser {
        let assembled = codec::assemble(
            &**parser,
            &message.packet(revision == Revision::V4),
            revision,
            max_bytes,
            buffer,
        );
        let (first, attachments) = assembled.map_err(|error| match error {
            PacketError::TooLarge => SendError::TooLarge,
            _ => SendError::Unsupported,
        })?;
        let first = first.ok_or(SendError::Unsupported)?;
        return Ok(Encoded {
            first,
            attachments: attachments.into(),
        });
    }
    let encoder = encoder(revision);
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
    let attachments = match attachments.len() {
        0 => More::None,
        _ => attachments
            .map(|bytes| frames::binary_frame(revision, bytes, buffer))
            .collect(),
    };
    Ok(Encoded { first, attachments })
}

/// Encodes a message of a raw session.
///
/// A text with a raw U+001E is refused for a client of revision 4 that polls: the text would be
/// split there, and its second part would be read as a packet (docs/protocol/engine-io.md §3.1).
pub(crate) fn encode_raw(
    session: &Session,
    message: &EngineMessage,
    buffer: &mut BytesMut,
) -> Result<Frame, SendError> {
    let revision = revision_of(session).ok_or(SendError::Disconnected)?;
    let polls = session.transport == TransportKind::Polling && revision == Revision::V4;
    if polls && matches!(message, EngineMessage::Text(text) if text.contains('\u{1e}')) {
        return Err(SendError::Unsupported);
    }
    Ok(frames::message_frame(revision, message, buffer))
}
