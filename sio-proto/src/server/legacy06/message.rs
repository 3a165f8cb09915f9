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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Envelope, Framing, Streaming};
    use crate::socket::Args;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use bytes::Bytes;
    use bytestring::ByteString;

    /// The smallest queue into which a message fits, by the estimate.
    fn least(message: &Message) -> usize {
        let (mut low, mut high) = (0, 1 << 24);
        while low < high {
            let middle = (low + high) / 2;
            match fits(message, middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        low
    }

    /// The estimate allows no message that is larger when it is written, whichever codec writes it,
    /// and refuses none that has 64 bytes to spare for each of its values.
    #[test]
    fn the_estimate_is_never_too_small_and_rarely_too_large() {
        let long = "x".repeat(3_000);
        let quotes = "\"".repeat(300);
        for (name, json, attachments) in [
            ("message", format!("\"{long}\""), vec![]),
            ("message", format!("{{\"a\":\"{long}\"}}"), vec![]),
            ("message", String::new(), vec![]),
            ("message", vec!["1"; 1_000].join(","), vec![]),
            ("message", format!("1,\"{long}\",\"~h~1\""), vec![]),
            (
                "message",
                String::from("{\"_placeholder\":true,\"num\":0}"),
                vec![3_000],
            ),
            ("news", format!("\"{long}\""), vec![]),
            (&*long, String::from("1"), vec![]),
            (&*quotes, String::from("1"), vec![]),
            ("news", String::from("1,2"), vec![0, 1, 1_000]),
            ("news", String::from("1,2"), vec![2; 100]),
        ] {
            let values = match name == "message" && attachments.is_empty() {
                true => json.split(',').count(),
                false => 1,
            };
            let mut args = Args::from(ByteString::from(json));
            args.attachments = attachments.iter().map(|len| Bytes::from(vec![7; *len])).collect();
            let message = Message::event("/".into(), name.into(), args, None);
            let least = least(&message);
            let mut longest = 0;
            for codec in [Codec::new(Framing), Codec::new(Streaming), Codec::new(Envelope)] {
                let mut config = Config {
                    max_queued_bytes: least,
                    ..Config::default()
                };
                let written = encode_message(&message, &codec, &config, &mut BytesMut::new()).unwrap();
                longest = longest.max(written.first.payload().len());
                config.max_queued_bytes = least - 1;
                let refused = encode_message(&message, &codec, &config, &mut BytesMut::new());
                assert!(matches!(refused, Err(SendError::TooLarge)));
            }
            let name = &name[..name.len().min(10)];
            assert!(least >= longest, "{name}: {least} is less than {longest}");
            assert!(least <= longest + 64 * (values + 1), "{name}: {least} for {longest}");
        }
    }
}
