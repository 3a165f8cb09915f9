//! Messages to clients of the plain-message transports, in every codec.
//!
//! A text or JSON message is the event `message` with this one argument. Other events reach the
//! client in the form of [`MessageCodec::encode_event`](crate::codec::MessageCodec::encode_event).
//! This wire cannot carry acknowledgements.

use alloc::vec::Vec;

use bytes::BytesMut;

use crate::codec::{Codec, PlainEvent, PlainMessage};
use crate::server::{Encoded, Message, More, SendError};
use crate::{Config, Frame, json};

/// The most bytes that a known codec puts around a message, with what the event form puts around
/// name, arguments and attachments: 35 bytes for the form, and up to 29 for the frame of a codec,
/// whose length has up to 20 digits.
const AROUND_MESSAGE: usize = 64;

/// Whether the encoded message fits into `max` bytes, including its frame. Nothing is written to
/// find this out.
///
/// Each value of the event `message` becomes a separate message, with a frame of the codec around
/// it. For any other event, the name grows up to 6 times, and attachments grow by a third.
fn fits(message: &Message, max: usize) -> bool {
    let args = &message.args;
    let name = message.name.as_deref().unwrap_or_default();
    let attachments = args.attachments.iter().map(|bytes| bytes.len().div_ceil(3) * 4 + 3);
    let given = args.json.len() + attachments.sum::<usize>() + AROUND_MESSAGE;
    match name == "message" && args.attachments.is_empty() {
        // A value and its comma have at least two bytes.
        true => given + AROUND_MESSAGE / 2 * args.json.len() <= max || given + AROUND_MESSAGE * args.len() <= max,
        false => given + 6 * name.len() <= max || given + json::string_len(name) <= max,
    }
}

/// Encodes a message for clients of one codec, as the module describes, unless the message is too
/// large for the queue of a session.
pub(crate) fn encode_message(
    message: &Message,
    codec: &Codec,
    config: &Config,
    buffer: &mut BytesMut,
) -> Result<Encoded, SendError> {
    if !fits(message, config.max_queued_bytes) {
        return Err(SendError::TooLarge);
    }
    let args = &message.args;
    let first = Frame::text(buffer, |b| match message.name.as_deref() {
        Some("message") if args.attachments.is_empty() => {
            let mut values = args.iter().map(PlainMessage::new);
            match (values.next(), values.next()) {
                (None, _) => codec.encode_messages(&[], b),
                (Some(one), None) => codec.encode_messages(&[one], b),
                (Some(_), Some(_)) => codec.encode_messages(&args.iter().map(PlainMessage::new).collect::<Vec<_>>(), b),
            }
        }
        name => codec.encode_event(&PlainEvent::new(name.unwrap_or_default(), args), b),
    });
    Ok(Encoded {
        first,
        attachments: More::None,
    })
}

/// Checks that this wire can carry the message: it has no acknowledgements.
pub(crate) const fn check(message: &Message) -> Result<(), SendError> {
    if message.id.is_none() {
        Ok(())
    } else {
        Err(SendError::Unsupported)
    }
}
