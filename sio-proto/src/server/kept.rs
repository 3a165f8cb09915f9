//! Messages that are kept for clients of 4.x that come back.

use alloc::vec::Vec;

use super::message::{Encoded, Form, Message, More};
use crate::Frame;
use crate::arena::Arena;
use crate::frame::SmallFrame;

/// A message that is kept: its packets as clients of 4.x get them, without the arguments, which may
/// contain bytes of the user.
#[derive(Clone, Debug)]
pub struct Kept {
    packets: Packets,
    /// A transcript has messages as they were before they were encoded.
    #[cfg(feature = "transcript")]
    original: alloc::sync::Arc<Message>,
}

/// Most messages are small, and have no attachments.
#[derive(Clone, Debug)]
enum Packets {
    Small(SmallFrame),
    Large(Large),
}

/// A message in the form that takes least room.
#[derive(Clone, Debug)]
struct Large {
    first: Frame,
    /// The attachments.
    more: Vec<Frame>,
}

impl Large {
    fn frames(&self) -> impl Iterator<Item = &Frame> {
        core::iter::once(&self.first).chain(&self.more)
    }

    fn bytes(&self) -> usize {
        self.frames().map(Frame::len).sum()
    }
}

impl From<Encoded> for Large {
    fn from(Encoded { first, attachments }: Encoded) -> Self {
        Self {
            first,
            more: attachments.into_list(),
        }
    }
}

// A log has one of these for each message, and counts 256 bytes for its entry.
const _: () = assert!(size_of::<Packets>() <= 72);

impl Message {
    /// The message as it is kept for clients of 4.x that come back ([`Kept`]), and the bytes that
    /// it takes. Packets that are neither very small nor large are copied into `arena`, which the
    /// caller keeps for such messages. `None` if the message is not encoded for these clients.
    #[inline(always)]
    #[must_use]
    pub fn kept(&self, arena: &mut Arena) -> Option<(Kept, usize)> {
        Some(Kept::new(self, self.made(Form::Engine4).ok()?, arena))
    }
}

impl Encoded {
    /// The packets of an event as they are kept for clients of 4.x that come back, and the bytes
    /// that they take, as [`Message::kept`] keeps them. The packets must be in the form of these
    /// clients.
    #[inline(always)]
    #[must_use]
    pub fn kept(&self, arena: &mut Arena) -> (Kept, usize) {
        let (packets, bytes) = Packets::new(self, arena);
        let kept = Kept {
            packets,
            #[cfg(feature = "transcript")]
            original: alloc::sync::Arc::new(read(self).unwrap_or_else(blank)),
        };
        (kept, bytes)
    }
}

impl Frame {
    /// The packet of an event without attachments, as it is kept for clients of 4.x
    /// ([`Encoded::kept`]).
    #[inline(always)]
    #[must_use]
    pub fn kept(&self, arena: &mut Arena) -> (Kept, usize) {
        let packets = match self.small() {
            Some(small) => Packets::Small(small),
            None => Packets::Large(Large {
                first: self.copied(arena),
                more: Vec::new(),
            }),
        };
        let kept = Kept {
            packets,
            #[cfg(feature = "transcript")]
            original: alloc::sync::Arc::new(read(&self.clone().into()).unwrap_or_else(blank)),
        };
        (kept, self.len())
    }
}

impl Packets {
    #[inline(always)]
    fn new(encoded: &Encoded, arena: &mut Arena) -> (Self, usize) {
        let small = match encoded.attachments.is_empty() {
            true => encoded.first.small(),
            false => None,
        };
        match small {
            Some(small) => (Self::Small(small), encoded.first.len()),
            None => (Self::Large(encoded.copied(arena).into()), encoded.bytes()),
        }
    }
}

impl Kept {
    #[cfg_attr(
        not(feature = "transcript"),
        expect(unused_variables, reason = "transcripts need it")
    )]
    #[inline(always)]
    fn new(message: &Message, encoded: &Encoded, arena: &mut Arena) -> (Self, usize) {
        let (packets, bytes) = Packets::new(encoded, arena);
        #[cfg(feature = "transcript")]
        let original = {
            let name = message.name.clone().unwrap_or_default();
            let original = Message::event(message.namespace.clone(), name, message.args.clone(), None);
            alloc::sync::Arc::new(original.offset(message.offset))
        };
        let kept = Self {
            packets,
            #[cfg(feature = "transcript")]
            original,
        };
        (kept, bytes)
    }

    /// Gives memory back that was taken from this arena, for the next messages.
    #[inline(always)]
    pub fn give_back(self, arena: &mut Arena) {
        if let Packets::Large(Large { first, .. }) = self.packets {
            arena.give_back(first.into_bytes());
        }
    }

    /// A message of its packets, and the bytes that it takes. `None` if there is no packet.
    #[must_use]
    pub fn of_frames(mut frames: Vec<Frame>) -> Option<(Self, usize)> {
        if frames.is_empty() {
            return None;
        }
        let large = Large {
            first: frames.remove(0),
            more: frames,
        };
        let bytes = large.bytes();
        let kept = Self {
            packets: Packets::Large(large),
            #[cfg(feature = "transcript")]
            original: alloc::sync::Arc::new(blank()),
        };
        Some((kept, bytes))
    }

    /// The packets of the message: one, and one for each attachment. Each is given as it is without
    /// the websocket header, and with true if it is binary.
    pub fn payloads(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let (small, large) = match &self.packets {
            Packets::Small(small) => (Some((small.payload(), small.is_binary())), None),
            Packets::Large(large) => (None, Some(large)),
        };
        let large = large.into_iter().flat_map(Large::frames);
        small
            .into_iter()
            .chain(large.map(|frame| (frame.payload(), frame.is_binary())))
    }

    /// How many packets it has.
    #[must_use]
    pub fn packets(&self) -> usize {
        match &self.packets {
            Packets::Small(_) => 1,
            Packets::Large(large) => 1 + large.more.len(),
        }
    }

    /// The bytes of its packets on a websocket.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.packets {
            Packets::Small(small) => small.len(),
            Packets::Large(large) => large.bytes(),
        }
    }

    /// The message, to be sent again to a client of 4.x. Small packets have memory of their own,
    /// because a queue may hold them for long.
    #[must_use]
    pub fn message(&self) -> Message {
        let encoded = match &self.packets {
            Packets::Small(small) => Encoded {
                first: small.frame(),
                attachments: More::None,
            },
            Packets::Large(large) => {
                let Large { mut first, mut more } = large.clone();
                first.detach();
                more.iter_mut().for_each(Frame::detach);
                let attachments = more.into();
                Encoded { first, attachments }
            }
        };
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

/// The message that has been written as this event of Socket.IO 5. A transcript has messages as
/// they were before they were encoded. `None` if it is no event that a client would understand.
#[cfg(feature = "transcript")]
fn read(encoded: &Encoded) -> Option<Message> {
    use crate::socket::text::{self, Decoded, Limits};
    use crate::socket::{Packet, Revision, Role};

    let text = bytestring::ByteString::try_from(encoded.first.payload_bytes()).ok()?;
    let limits = Limits {
        max_attachments: usize::MAX,
        max_attachment_bytes: usize::MAX,
        max_namespace_bytes: usize::MAX,
        max_event_name_bytes: usize::MAX,
        ..Limits::default()
    };
    // Behind the type of Engine.IO.
    let packet = match text::decode_at(&text, 1, Revision::Five, Role::Client, &limits).ok()? {
        Decoded::Packet(packet) => packet,
        Decoded::Partial(partial) => partial.packet,
        Decoded::Nothing => return None,
    };
    let Packet::Event {
        namespace, name, args, ..
    } = packet
    else {
        return None;
    };
    let (mut args, offset) = match args.split_offset() {
        Some((args, offset)) => (args, Some(offset)),
        None => (args, None),
    };
    args.attachments = encoded.attachments.iter().map(Frame::payload_bytes).collect();
    Some(Message::event(namespace, name, args, None).offset(offset))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::Config;
    use crate::socket::{Args, Epoch};

    /// An event with so many bytes of text, and these attachments, encoded for clients of 4.x.
    fn event(text: usize, attachments: &[Bytes]) -> Message {
        let places = (0..attachments.len()).map(|n| alloc::format!(",{{\"_placeholder\":true,\"num\":{n}}}"));
        let args = Args {
            json: alloc::format!("\"{}\"{}", "x".repeat(text), places.collect::<alloc::string::String>()).into(),
            attachments: attachments.to_vec(),
            ..Args::default()
        };
        let message = Message::event("/".into(), "news".into(), args, None);
        let mut message = message.offset(Some(Epoch::new(7).offset(3)));
        message
            .encode(Form::Engine4, &Config::default(), &mut BytesMut::new())
            .expect("it fits");
        message
    }

    fn frames(message: &Message) -> Vec<Frame> {
        let encoded = message.made(Form::Engine4).expect("encoded before");
        encoded.frames().cloned().collect()
    }

    fn payloads(kept: &Kept) -> Vec<(Vec<u8>, bool)> {
        kept.payloads()
            .map(|(bytes, is_binary)| (bytes.to_vec(), is_binary))
            .collect()
    }

    /// Small or large, with attachments or without, from a message, its packets or its frames: a
    /// client that comes back gets the packets that the others got.
    #[test]
    fn what_is_kept_is_what_was_sent() {
        let large = Bytes::from(vec![1; 300]);
        for (text, attachments) in [(1, &[][..]), (400, &[]), (1, &[Bytes::from_static(b"a"), large])] {
            let message = event(text, attachments);
            let sent = frames(&message);
            let bytes: usize = sent.iter().map(Frame::len).sum();
            let expected: Vec<_> = sent
                .iter()
                .map(|frame| (frame.payload().to_vec(), frame.is_binary()))
                .collect();
            let mut arena = Arena::default();
            let encoded = message.made(Form::Engine4).expect("encoded before");
            let mut all = vec![
                message.kept(&mut arena).expect("encoded before"),
                encoded.kept(&mut arena),
                Kept::of_frames(sent.clone()).expect("there is a frame"),
            ];
            if let [only] = &sent[..] {
                all.push(only.kept(&mut arena));
            }
            for (kept, counted) in all {
                assert_eq!((counted, kept.bytes(), kept.packets()), (bytes, bytes, sent.len()));
                assert_eq!(payloads(&kept), expected);
                let again = kept.message();
                assert_eq!((frames(&again), again.packets()), (sent.clone(), sent.len()));
                let own = frames(&again);
                drop(again);
                // A queue may hold it for long, and must not hold the memory of others with it.
                assert!(own.iter().all(|frame| frame.bytes().is_unique()));
            }
        }
        assert!(Kept::of_frames(Vec::new()).is_none());
        let message = Message::event("/".into(), "news".into(), Args::default(), None);
        assert!(message.kept(&mut Arena::default()).is_none(), "nobody has encoded it");
        assert_eq!(message.packets(), 0);
    }

    /// A transcript of a client that comes back has the message as it was before it was encoded.
    #[cfg(feature = "transcript")]
    #[test]
    fn a_transcript_has_the_event() {
        let message = event(1, &[Bytes::from_static(b"a")]);
        let encoded = message.made(Form::Engine4).expect("encoded before");
        for (kept, _) in [
            message.kept(&mut Arena::default()).expect("encoded before"),
            encoded.kept(&mut Arena::default()),
        ] {
            let again = kept.message();
            assert_eq!((again.name(), again.args()), (message.name(), message.args()));
            assert_eq!(again.shown_offset(), message.shown_offset());
        }
    }
}
