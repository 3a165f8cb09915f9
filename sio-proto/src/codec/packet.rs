//! Packet parsers: how Socket.IO packets become messages of Engine.IO, and messages packets.
//!
//! ```text
//!              encode                                          ┌─ a poll: text, or base64
//!   Packet ──────────────► one or more messages, text or bytes ┤
//!          ◄──────────────                                     └─ a websocket: one frame for each
//!              decode, join
//! ```
//! Nothing on the wire says which parser a peer has: both ends must be told the same
//! (docs/protocol/msgpack.md). The parser of a server serves its clients of Engine.IO 4 and 3;
//! older generations have no such choice, and are in the same rooms as ever.
//!
//! A parser keeps nothing between messages. Where a packet is several messages, what has come of it
//! is the session's to keep, within [`Limits::max_attachments`] and
//! [`Limits::max_attachment_bytes`] and no longer than
//! [`Config::attachment_timeout`](crate::Config::attachment_timeout).

use alloc::vec::Vec;
use core::fmt;

use bytes::BytesMut;
use bytestring::ByteString;

use crate::engine::{EngineMessage, Revision, frames};
use crate::socket::text::{DecodeError, Limits};
use crate::socket::{Args, Packet, is_reserved_event};
use crate::{Frame, json};

/// A way to write packets. Give it to [`Config::parser`](crate::Config::parser).
///
/// What it decodes is checked by the server before anybody sees it, so that no parser can put into
/// a room what its other members could not be told: a namespace starts with `/` and has no comma,
/// an event's name is not [reserved](crate::socket::RESERVED_EVENTS), payloads and arguments are
/// JSON, nested no deeper than [`Limits::max_depth`], placeholders name attachments that exist and
/// each another one, and names are no longer than their limits.
pub trait PacketParser: fmt::Debug + Send + Sync {
    /// Writes a packet as one message, or several; one that is none counts as an error.
    ///
    /// It is called once for all clients of an Engine.IO revision. Of the types of [`Packet`] a
    /// server writes all.
    ///
    /// # Errors
    ///
    /// If the packet cannot be said. An event or acknowledgement to one client is then refused as
    /// [`SendError::Unsupported`](crate::server::SendError), a broadcast leaves these clients out,
    /// and of a CONNECT, CONNECT_ERROR or DISCONNECT they hear nothing: a parser ought to have a
    /// way to say those.
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError>;

    /// Reads a message, under no lock.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it. The session is closed then, as for any packet that is none.
    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError>;

    /// Makes a packet of the [parts](Parsed::Part) that have come; `None` as long as there are more
    /// to come. Called for each part.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode). Without a definition of its own, a parser has no parts.
    fn join(&self, parts: &[EngineMessage], limits: &Limits) -> Result<Option<Packet>, PacketError> {
        let _ = (parts, limits);
        Err(PacketError::Packet(DecodeError::UnexpectedAttachment))
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole packet.
    Packet(Packet),
    /// A part of a packet, which is kept until [`PacketParser::join`] makes a packet of it and
    /// those before and after it. Nothing whole may come between.
    Part(EngineMessage),
    /// Nothing, and nothing is wrong with that; as an acknowledgement without id is to genuine
    /// peers.
    Nothing,
}

/// Why a message is no packet, or a packet no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The packet breaks a rule that holds for all parsers.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// The namespace does not start with `/`, or has a comma in it.
    #[error("invalid namespace")]
    InvalidNamespace,
    /// The message is text and should be bytes, or the other way round.
    #[error("text where bytes are due, or bytes where text is")]
    WrongKind,
    /// The message is not written as this parser's format wants it.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The message is not the MessagePack that it should be.
    #[cfg(feature = "msgpack")]
    #[error(transparent)]
    MessagePack(#[from] super::MessagePackError),
    /// A text has a raw U+001E in it, which ends a packet in polls of Engine.IO 4
    /// (docs/protocol/engine-io.md §3.1).
    #[error("text with a raw U+001E")]
    Separator,
    /// The packet, written, is larger than the queue of a session may be.
    #[error("the packet is larger than the queue of a session")]
    TooLarge,
}

/// Takes the messages that [`PacketParser::encode`] writes.
#[derive(Debug)]
pub struct Messages<'a> {
    revision: Revision,
    buffer: &'a mut BytesMut,
    first: Option<Frame>,
    more: Vec<Frame>,
    /// How many bytes more the messages of this packet may have.
    room: usize,
}

impl<'a> Messages<'a> {
    fn new(revision: Revision, room: usize, buffer: &'a mut BytesMut) -> Self {
        Self {
            revision,
            room,
            buffer,
            first: None,
            more: Vec::new(),
        }
    }

    /// How many bytes this packet may yet have, from
    /// [`Config::max_queued_bytes`](crate::Config::max_queued_bytes): a packet with more is
    /// [`PacketError::TooLarge`]. A parser that makes more bytes of a packet than the packet has
    /// should ask before it writes them.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds a text message.
    ///
    /// To clients of 1.0 to 1.7, text that is not ASCII means something else
    /// (docs/protocol/engine-io.md §3.3).
    ///
    /// # Errors
    ///
    /// [`PacketError::Separator`] for text with a raw U+001E.
    pub fn text(&mut self, text: &str) -> Result<(), PacketError> {
        if text.contains('\u{1e}') {
            return Err(PacketError::Separator);
        }
        let frame = frames::text_frame(text, self.buffer);
        self.push(frame);
        Ok(())
    }

    /// Adds a binary message; `write` appends its bytes to what is there.
    pub fn binary(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let frame = frames::binary_frame_with(self.revision, self.buffer, write);
        self.push(frame);
    }

    fn push(&mut self, frame: Frame) {
        self.room = self.room.saturating_sub(frame.len());
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.more.push(frame),
        }
    }
}

/// The messages that a parser makes of a packet; for tests, and for those who have a transport of
/// their own.
///
/// # Errors
///
/// Those of [`PacketParser::encode`].
pub fn messages(parser: &dyn PacketParser, packet: &Packet) -> Result<Vec<EngineMessage>, PacketError> {
    let frames = assemble(parser, packet, Revision::V4, usize::MAX, &mut BytesMut::new())?;
    let said = |frame: Frame| match frame.is_binary() {
        true => EngineMessage::Binary(frame.payload_bytes()),
        // Behind the type digit of Engine.IO.
        false => EngineMessage::Text(ByteString::try_from(frame.payload_bytes().slice(1..)).unwrap_or_default()),
    };
    Ok(frames.0.into_iter().chain(frames.1).map(said).collect())
}

/// The frames of a packet, of at most about `max_bytes`: the first, if there is any, and the
/// others.
pub(crate) fn assemble(
    parser: &dyn PacketParser,
    packet: &Packet,
    revision: Revision,
    max_bytes: usize,
    buffer: &mut BytesMut,
) -> Result<(Option<Frame>, Vec<Frame>), PacketError> {
    let mut messages = Messages::new(revision, max_bytes, buffer);
    parser.encode(packet, &mut messages)?;
    Ok((messages.first, messages.more))
}

/// Reads a message and checks what comes of it.
pub(crate) fn parse(
    parser: &dyn PacketParser,
    message: EngineMessage,
    revision: Revision,
    limits: &Limits,
) -> Result<Parsed, PacketError> {
    match parser.decode(message, limits)? {
        Parsed::Packet(packet) => Ok(Parsed::Packet(checked(packet, revision, limits)?)),
        other => Ok(other),
    }
}

/// The packet, if it keeps the rules that hold for all parsers.
pub(crate) fn checked(packet: Packet, revision: Revision, limits: &Limits) -> Result<Packet, PacketError> {
    let packet = match revision {
        Revision::V3 => split_query(packet),
        Revision::V4 => packet,
    };
    let namespace = packet.namespace();
    if !namespace.starts_with('/') || namespace.contains(',') {
        return Err(PacketError::InvalidNamespace);
    }
    if namespace.len() > limits.max_namespace_bytes {
        return Err(DecodeError::NamespaceTooLong.into());
    }
    match &packet {
        Packet::Connect { query, payload, .. } => {
            if query.as_ref().is_some_and(|query| query.len() > limits.max_query_bytes) {
                return Err(DecodeError::QueryTooLong.into());
            }
            if let Some(payload) = payload {
                check_json(payload, limits)?;
                if !payload.starts_with('{') {
                    return Err(DecodeError::InvalidPayload.into());
                }
            }
        }
        Packet::Disconnect { .. } => {}
        Packet::Event { name, args, .. } => {
            if name.len() > limits.max_event_name_bytes {
                return Err(DecodeError::EventNameTooLong.into());
            }
            if is_reserved_event(name) {
                return Err(DecodeError::ReservedEvent.into());
            }
            check_args(args, limits)?;
        }
        Packet::Ack { args, .. } => check_args(args, limits)?,
        Packet::ConnectError { payload, .. } => check_json(payload, limits)?,
    }
    Ok(packet)
}

/// Takes the query off the namespace of a CONNECT that a parser has read: it knows no revisions,
/// and these clients put it there.
fn split_query(packet: Packet) -> Packet {
    match packet {
        Packet::Connect {
            namespace,
            query: None,
            payload,
        } => {
            let split = namespace.split_once('?');
            let (path, query) = split.map_or((&*namespace, None), |(path, query)| (path, Some(query)));
            Packet::Connect {
                query: query.map(|query| namespace.slice_ref(query)),
                namespace: namespace.slice_ref(path),
                payload,
            }
        }
        other => other,
    }
}

fn check_json(json: &str, limits: &Limits) -> Result<(), DecodeError> {
    Ok(json::validate(json, limits.max_depth)?)
}

fn check_args(args: &Args, limits: &Limits) -> Result<(), DecodeError> {
    json::validate_elements(&args.json, limits.max_depth)?;
    // Without attachments nothing is a placeholder, whatever it looks like
    // (docs/protocol/socket-io.md §2.1).
    if !args.attachments.is_empty() {
        json::named_attachments(&args.json, args.attachments.len())?;
    }
    Ok(())
}
