//! Messages that are kept for clients of 4.x that come back.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::message::{Encoded, Form, Message};
use crate::Frame;

/// A message that is kept: its packets as clients of 4.x get them, without the arguments, which may
/// contain bytes of the user.
#[derive(Clone, Debug)]
pub struct Kept {
    encoded: Encoded,
    /// A transcript has messages as they were before they were encoded.
    #[cfg(feature = "transcript")]
    original: alloc::sync::Arc<Message>,
}

impl Message {
    /// The message as it is kept for clients of 4.x that come back ([`Kept`]), and the bytes that
    /// it takes. Small packets are copied into `arena`, memory that the caller keeps for such
    /// messages and passes empty. `None` if the message is not encoded for these clients.
    #[must_use]
    pub fn kept(&self, arena: &mut BytesMut) -> Option<(Kept, usize)> {
        Some(Kept::new(self, self.made(Form::Engine4).ok()?, arena))
    }
}

impl Kept {
    #[cfg_attr(
        not(feature = "transcript"),
        expect(unused_variables, reason = "transcripts need it")
    )]
    fn new(message: &Message, encoded: &Encoded, arena: &mut BytesMut) -> (Self, usize) {
        let first = encoded.first.copied(arena);
        // Most messages have no attachments.
        let (attachments, bytes) = match &encoded.attachments[..] {
            [] => (Vec::new(), first.len()),
            frames => (
                frames.iter().map(|frame| frame.copied(arena)).collect(),
                encoded.bytes(),
            ),
        };
        let encoded = Encoded { first, attachments };
        #[cfg(feature = "transcript")]
        let original = {
            let name = message.name.clone().unwrap_or_default();
            let original = Message::event(message.namespace.clone(), name, message.args.clone(), None);
            alloc::sync::Arc::new(original.offset(message.offset))
        };
        let kept = Self {
            encoded,
            #[cfg(feature = "transcript")]
            original,
        };
        (kept, bytes)
    }

    /// A message of its [packets](Kept::frames), and the bytes that it takes. `None` if there is no
    /// packet.
    #[must_use]
    pub fn of_frames(mut frames: Vec<Frame>) -> Option<(Self, usize)> {
        if frames.is_empty() {
            return None;
        }
        let encoded = Encoded {
            first: frames.remove(0),
            attachments: frames,
        };
        let bytes = encoded.bytes();
        let kept = Self {
            encoded,
            #[cfg(feature = "transcript")]
            original: alloc::sync::Arc::new(blank()),
        };
        Some((kept, bytes))
    }

    /// The packets of the message: one, and one for each attachment.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.encoded.frames()
    }

    /// How many packets it has.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.encoded.packets()
    }

    /// The message, to be sent again to a client of 4.x. Small packets have memory of their own,
    /// because a queue may hold them for long.
    #[must_use]
    pub fn message(&self) -> Message {
        let mut encoded = self.encoded.clone();
        encoded.first.detach();
        encoded.attachments.iter_mut().for_each(Frame::detach);
        #[cfg(feature = "transcript")]
        let message = (*self.original).clone();
        #[cfg(not(feature = "transcript"))]
        let message = blank();
        message.encoded_before(encoded)
    }
}

fn blank() -> Message {
    let (namespace, name) = Default::default();
    Message::event(namespace, name, crate::socket::Args::default(), None)
}
