//! Packet parsers: they turn Socket.IO packets into Engine.IO messages, and messages into packets.
//!
//! ```text
//!              encode                                          ┌─ a poll: text, or base64
//!   Packet ──────────────► one or more messages, text or bytes ┤
//!          ◄──────────────                                     └─ a websocket: one frame for each
//!              decode, join
//! ```
//! Nothing on the wire tells which parser a peer has: both ends must be configured with the same
//! parser (docs/protocol/msgpack.md). The parser of a server serves its clients of Engine.IO 4 and
//! 3. Older generations have no parsers; their clients are in the same rooms.
//!
//! A parser keeps nothing between messages. If a packet has several messages, the session keeps the
//! messages that have arrived, within [`Limits::max_attachments`] and
//! [`Limits::max_attachment_bytes`], and no longer than
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
/// The server checks every decoded packet before anybody sees it. So no parser can bring a packet
/// into a room that the room's other members cannot receive. A namespace starts with `/` and has no
/// comma. An event's name is not [reserved](crate::socket::RESERVED_EVENTS). Payloads and arguments
/// are JSON, nested no deeper than [`Limits::max_depth`]. Placeholders name attachments that exist,
/// and no attachment is named twice. Names are no longer than their limits.
///
/// # Locks
///
/// A parser is called from any thread. It reads messages and writes events while no lock is held,
/// with four exceptions, in which the shard of the session is locked:
///
/// - CONNECT, CONNECT_ERROR and DISCONNECT are written when the shard has decided that they are
///   due;
/// - [`join`](Self::join) reads parts that only the session has;
/// - text that is not ASCII, from a client of 1.x or 2.x, is read when the session knows how its
///   client encodes text (docs/protocol/engine-io.md §3.3);
/// - the body of a POST is read again if its query contradicts the session's handshake.
///
/// So a parser must neither wait nor call back into the server: a shard that is locked by the
/// caller cannot be asked.
pub trait PacketParser: fmt::Debug + Send + Sync {
    /// Writes a packet as one message or several. Writing no message counts as an error.
    ///
    /// It is called once for all clients of an Engine.IO revision. A server writes all types of
    /// [`Packet`].
    ///
    /// # Errors
    ///
    /// The packet cannot be written. An event or acknowledgement to one client is then refused as
    /// [`SendError::Unsupported`](crate::server::SendError). A broadcast leaves these clients out.
    /// If a CONNECT, CONNECT_ERROR or DISCONNECT cannot be written, the client is not told: a
    /// parser should be able to write these types.
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError>;

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// What is wrong with the message. The session is then closed, as for any message that is no
    /// packet.
    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError>;

    /// Makes a packet of the [parts](Parsed::Part) that have arrived. Returns `None` if more parts
    /// have to come. It is called for each part.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode). The default implementation is for parsers without parts.
    fn join(&self, parts: &[EngineMessage], limits: &Limits) -> Result<Option<Packet>, PacketError> {
        let _ = (parts, limits);
        Err(PacketError::Packet(DecodeError::UnexpectedAttachment))
    }
}

/// The result of reading a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A complete packet.
    Packet(Packet),
    /// A part of a packet. It is kept until [`PacketParser::join`] makes a packet of it and the
    /// parts before and after it. No complete packet may come between the parts.
    Part(EngineMessage),
    /// No packet, and no error. For example, genuine peers ignore an acknowledgement without id.
    Nothing,
}

/// Why a message is no packet, or why a packet cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The packet breaks a rule of all parsers.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// The namespace does not start with `/`, or has a comma.
    #[error("invalid namespace")]
    InvalidNamespace,
    /// The message is text but should be bytes, or the reverse.
    #[error("text where bytes are due, or bytes where text is")]
    WrongKind,
    /// The message does not have this parser's format.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The message is not valid MessagePack.
    #[cfg(feature = "msgpack")]
    #[error(transparent)]
    MessagePack(#[from] super::MessagePackError),
    /// A text has a raw U+001E, which would end a packet in polls of Engine.IO 4
    /// (docs/protocol/engine-io.md §3.1).
    #[error("text with a raw U+001E")]
    Separator,
    /// The written packet is larger than the queue of a session may be.
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
    /// How many more bytes the messages of this packet may have.
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

    /// How many more bytes this packet may have, from
    /// [`Config::max_queued_bytes`](crate::Config::max_queued_bytes). A packet with more bytes is
    /// [`PacketError::TooLarge`]. A parser that writes more bytes than the packet has should check
    /// this before it writes them.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds a text message.
    ///
    /// Clients of 1.0 to 1.7 read text that is not ASCII differently (docs/protocol/engine-io.md
    /// §3.3).
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

    /// Adds a binary message. `write` appends its bytes to the buffer.
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

/// The messages that a parser makes of a packet. This is for tests, and for callers with their own
/// transport.
///
/// # Errors
///
/// The errors of [`PacketParser::encode`].
pub fn messages(parser: &dyn PacketParser, packet: &Packet) -> Result<Vec<EngineMessage>, PacketError> {
    let frames = assemble(parser, packet, Revision::V4, usize::MAX, &mut BytesMut::new())?;
    let said = |frame: Frame| match frame.is_binary() {
        true => EngineMessage::Binary(frame.payload_bytes()),
        // The text stands behind the type digit of Engine.IO.
        false => EngineMessage::Text(ByteString::try_from(frame.payload_bytes().slice(1..)).unwrap_or_default()),
    };
    Ok(frames.0.into_iter().chain(frames.1).map(said).collect())
}

/// The frames of a packet, of at most about `max_bytes`: the first frame, if there is any, and the
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

/// Reads a message and checks the packet.
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

/// The packet, if it keeps the rules of all parsers.
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

/// Splits the query from the namespace of a CONNECT that a parser has read. A parser knows no
/// revisions, and clients of Engine.IO 3 append the query to the namespace.
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
    // Without attachments nothing is a placeholder, even if it looks like one
    // (docs/protocol/socket-io.md §2.1).
    if !args.attachments.is_empty() {
        json::named_attachments(&args.json, args.attachments.len())?;
    }
    Ok(())
}
