//! Attachments: binary messages that belong to the packet before them (docs/protocol/socket-io.md
//! §2.1).
//!
//! ```text
//!            text, whole packet                    text: error
//!          ┌──────────┐        text, header       ┌──────────┐
//!   IDLE ──┴──────────┴──▶ ──────────────▶ PENDING┴──────────┘
//!    ▲ └─ binary: error                     │  └─ binary, more to come ─▶ PENDING
//!    └──────────── binary, the last: packet ┘
//! ```
//!
//! Invariants: while a packet is pending, fewer attachments than announced are held, and no more
//! bytes than [`Limits::max_attachment_bytes`]. Nothing is allocated because of an announced
//! number. The session has the clock, so it limits how long a packet may stay pending, with
//! [`Reassembly::is_pending`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use crate::codec::{PacketError, PacketParser};
use crate::engine::EngineMessage;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::keep::Source;
use crate::socket::text::{DecodeError, Decoded, Limits, Partial, decode};
use crate::socket::{Packet, Revision, Role};

/// Turns the messages of one connection into packets.
///
/// The value has the size of one pointer. It is empty except while attachments are awaited. After
/// an error the connection has to be closed.
#[derive(Debug, Default)]
pub struct Reassembly {
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    what: Awaited,
    bytes: usize,
    /// How many of its parts have been copied into memory of their own.
    kept: usize,
}

#[derive(Debug)]
enum Awaited {
    /// Attachments of a packet of the standard wire.
    Attachments(Partial),
    /// The parts of a packet, for the operator's parser.
    Parts(Vec<EngineMessage>),
}

impl Reassembly {
    /// A value without a pending packet.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: None }
    }

    /// What is kept of a packet that is not complete.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let Some(pending) = &self.pending else {
            return Holding::default();
        };
        let around = Holding::memory(size_of::<Pending>());
        match &pending.what {
            Awaited::Attachments(partial) => {
                let attachments = partial.packet.args().map(|args| &args.attachments);
                let lengths = attachments.into_iter().flatten().map(Bytes::len);
                let own = partial.packet.bytes().saturating_sub(lengths.clone().sum());
                let room = attachments.map_or(0, Vec::capacity);
                around.and(Holding::list::<Bytes>(room)).with([own]).with(lengths)
            }
            Awaited::Parts(parts) => {
                let list = Holding::list::<EngineMessage>(parts.capacity());
                around.and(list).with(parts.iter().map(EngineMessage::len))
            }
        }
    }

    /// How many attachments or parts have come of a packet that is not complete.
    #[cfg(feature = "steps")]
    pub(crate) fn awaits(&self) -> Option<usize> {
        Some(match &self.pending.as_ref()?.what {
            Awaited::Attachments(partial) => partial.packet.args().map_or(0, |args| args.attachments.len()),
            Awaited::Parts(parts) => parts.len(),
        })
    }

    /// Called at the end of an input. The parts that are still awaited may never come, so the parts
    /// that are here must not keep alive what they have been read into.
    pub(crate) fn keep(&mut self, from: Source) {
        let Some(pending) = &mut self.pending else { return };
        let kept = pending.kept;
        pending.kept = match &mut pending.what {
            Awaited::Attachments(partial) => {
                if kept == 0 {
                    partial.packet.keep(from);
                }
                let attachments = partial.packet.args_mut().map(|args| &mut args.attachments[..]);
                let attachments = attachments.unwrap_or_default();
                // The first of the kept parts is the packet itself.
                if let Some(kept) = kept.checked_sub(1) {
                    attachments
                        .iter_mut()
                        .skip(kept)
                        .for_each(|bytes| from.keep_bytes(bytes));
                }
                attachments.len().saturating_add(1)
            }
            Awaited::Parts(parts) => {
                parts.iter_mut().skip(kept).for_each(|part| part.keep(from));
                parts.len()
            }
        };
    }

    /// Whether attachments are awaited.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// How many bytes are kept of the packet that waits.
    pub(crate) fn pending_bytes(&self) -> usize {
        let Some(pending) = &self.pending else { return 0 };
        let head = match &pending.what {
            Awaited::Attachments(partial) => {
                // The attachments are counted in `bytes`.
                let args = partial.packet.args();
                let attachments = args.map_or(0, |args| args.attachments.iter().map(Bytes::len).sum());
                partial.packet.bytes().saturating_sub(attachments)
            }
            Awaited::Parts(_) => 0,
        };
        pending.bytes.saturating_add(head)
    }

    /// Takes a text message. Returns the packet, unless its attachments are still to come or the
    /// message [has no packet](Decoded::Nothing).
    ///
    /// # Errors
    ///
    /// The errors of [`decode`], and [`DecodeError::TextInsteadOfAttachment`].
    pub fn handle_text(
        &mut self,
        text: ByteString,
        revision: Revision,
        role: Role,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.pending.is_some() {
            return Err(DecodeError::TextInsteadOfAttachment);
        }
        self.handle_decoded(decode(&text, revision, role, limits)?)
    }

    /// Takes a text message that has been decoded already, like [`handle_text`](Self::handle_text).
    ///
    /// # Errors
    ///
    /// [`DecodeError::TextInsteadOfAttachment`].
    pub fn handle_decoded(&mut self, decoded: Decoded) -> Result<Option<Packet>, DecodeError> {
        if self.pending.is_some() {
            return Err(DecodeError::TextInsteadOfAttachment);
        }
        match decoded {
            Decoded::Packet(packet) => Ok(Some(packet)),
            Decoded::Nothing => Ok(None),
            Decoded::Partial(partial) => {
                debug_assert!(partial.attachments > 0);
                let what = Awaited::Attachments(partial);
                self.pending = Some(Box::new(Pending {
                    what,
                    bytes: 0,
                    kept: 0,
                }));
                Ok(None)
            }
        }
    }

    /// Takes a binary message. Returns the packet if this is its last attachment.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedAttachment`] and [`DecodeError::AttachmentsTooLarge`]. With the
    /// last attachment also [`DecodeError::IllegalAttachments`] if a placeholder names no
    /// attachment, and [`DecodeError::AttachmentNamedTwice`] if two placeholders name one
    /// attachment.
    pub fn handle_binary(&mut self, attachment: Bytes, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedAttachment)?;
        pending.bytes = pending.bytes.saturating_add(attachment.len());
        if pending.bytes > limits.max_attachment_bytes {
            return Err(DecodeError::AttachmentsTooLarge);
        }
        let Awaited::Attachments(partial) = &mut pending.what else {
            return Err(DecodeError::UnexpectedAttachment);
        };
        let expected = partial.attachments;
        let Some(args) = partial.packet.args_mut() else {
            return Err(DecodeError::UnexpectedAttachment);
        };
        args.attachments.push(attachment);
        if args.attachments.len() < expected {
            self.pending = Some(pending);
            Ok(None)
        } else {
            args.settle_attachments()?;
            match pending.what {
                Awaited::Attachments(partial) => Ok(Some(partial.packet)),
                Awaited::Parts(_) => Ok(None),
            }
        }
    }

    /// Takes a part of a packet. Returns the packet if `parser` makes one of this part and the
    /// parts before it. The caller has to check the packet.
    ///
    /// # Errors
    ///
    /// The errors of [`PacketParser::join`]; [`DecodeError::TooManyAttachments`] and
    /// [`DecodeError::AttachmentsTooLarge`]. The packet's first part does not count as an
    /// attachment, but its bytes count.
    pub(crate) fn handle_part(
        &mut self,
        part: EngineMessage,
        parser: &dyn PacketParser,
        limits: &Limits,
    ) -> Result<Option<Packet>, PacketError> {
        let (mut parts, bytes, kept) = match self.pending.take().map(|pending| *pending) {
            None => (Vec::new(), 0, 0),
            Some(Pending {
                what: Awaited::Parts(parts),
                bytes,
                kept,
            }) => (parts, bytes, kept),
            Some(_) => return Err(DecodeError::UnexpectedAttachment.into()),
        };
        let bytes = bytes.saturating_add(part.len());
        parts.push(part);
        if parts.len() > limits.max_attachments.saturating_add(1) {
            return Err(DecodeError::TooManyAttachments.into());
        }
        if bytes > limits.max_attachment_bytes {
            return Err(DecodeError::AttachmentsTooLarge.into());
        }
        let packet = parser.join(&parts, limits)?;
        if packet.is_none() {
            let what = Awaited::Parts(parts);
            self.pending = Some(Box::new(Pending { what, bytes, kept }));
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::JsonError;

    enum Message {
        Text(&'static str),
        Binary(&'static [u8]),
    }
    use Message::{Binary as B, Text as T};

    fn receive(messages: &[Message], revision: Revision, limits: &Limits) -> Result<Vec<Packet>, DecodeError> {
        let mut reassembly = Reassembly::new();
        let mut packets = Vec::new();
        for message in messages {
            packets.extend(match *message {
                T(text) => reassembly.handle_text(ByteString::from_static(text), revision, Role::Server, limits)?,
                B(bytes) => reassembly.handle_binary(Bytes::from_static(bytes), limits)?,
            });
        }
        assert!(!reassembly.is_pending(), "attachments are missing");
        Ok(packets)
    }

    const _: () = assert!(size_of::<Reassembly>() == size_of::<usize>());

    /// docs/protocol/socket-io.md §9, the column "Robust Rust", and the captures that it cites: the
    /// number of packets, or the error that closes the connection. Some cases need the session, and
    /// are not decided here: events before CONNECT, a second CONNECT, unknown ids.
    #[test]
    fn malformed_input() {
        use crate::json::JsonError::*;
        use DecodeError::*;
        const MANY_DIGITS: &str = "299999999999999999999[\"m\"]";
        let cases: &[(&[Message], Result<usize, DecodeError>)] = &[
            // empty message; unknown type
            (&[T("")], Err(Empty)),
            (&[T("7")], Err(UnknownType)),
            (&[T("x")], Err(UnknownType)),
            (&[T("é")], Err(UnknownType)),
            (&[T(" 2[\"m\"]")], Err(UnknownType)),
            // 4 from a client
            (&[T(r#"4{"message":"x"}"#)], Err(ConnectErrorFromClient)),
            (&[T("4")], Err(ConnectErrorFromClient)),
            // CONNECT payloads
            (&[T("0/a,[1]")], Err(InvalidPayload)),
            (&[T("0/a,\"x\"")], Err(InvalidPayload)),
            (&[T("0/a,null")], Err(InvalidPayload)),
            (&[T("0/a,12")], Err(InvalidPayload)),
            (&[T("0{\"a\":1")], Err(InvalidJson(UnexpectedEnd))),
            (&[T("0{\"a\":1}x")], Err(InvalidJson(TrailingText))),
            (&[T("0/a")], Ok(1)),
            (&[T("0/a,{}")], Ok(1)),
            // event without payload
            (&[T("2")], Err(InvalidPayload)),
            (&[T("2/admin,")], Err(InvalidPayload)),
            (&[T("212")], Err(InvalidPayload)),
            // event payloads
            (&[T("2{\"a\":1}")], Err(InvalidPayload)),
            (&[T("2[]")], Err(InvalidPayload)),
            (&[T("2[\"m\"")], Err(InvalidJson(UnexpectedEnd))),
            (&[T("2[\"m\"]x")], Err(InvalidJson(TrailingText))),
            (&[T("2[null]")], Err(InvalidPayload)),
            (&[T("2[true]")], Err(InvalidPayload)),
            (&[T("2[[\"m\"]]")], Err(InvalidPayload)),
            (&[T("2[{\"toString\":\"foo\"}]")], Err(InvalidPayload)),
            (&[T("2\"m\"")], Err(InvalidPayload)),
            // acks: not an array; no id; no payload (§4: ignored)
            (&[T("3{\"a\":1}")], Err(InvalidPayload)),
            (&[T("31{\"a\":1}")], Err(InvalidPayload)),
            (&[T("31\"x\"")], Err(InvalidPayload)),
            (&[T("31[1")], Err(InvalidJson(UnexpectedEnd))),
            (&[T("3")], Ok(0)),
            (&[T("31")], Ok(0)),
            (&[T("3[1]")], Ok(0)),
            (&[T("3[1")], Err(InvalidJson(UnexpectedEnd))),
            (&[T("399[1]")], Ok(1)),
            // DISCONNECT
            (&[T("1\"x\"")], Err(InvalidPayload)),
            (&[T("1/a,\"x\"")], Err(InvalidPayload)),
            (&[T("1/a")], Ok(1)),
            // ids
            (&[T("2-1[\"m\"]")], Err(InvalidPayload)),
            (&[T("2 [\"m\"]")], Err(InvalidPayload)),
            (&[T("21 [\"m\"]")], Err(InvalidPayload)),
            (&[T("21.5[\"m\"]")], Err(InvalidPayload)),
            (&[T("2007[\"m\"]")], Ok(1)),
            (&[T(MANY_DIGITS)], Err(IdTooLarge)),
            // attachment counts
            (&[T("51[\"m\"]")], Err(IllegalAttachments)),
            (&[T("5-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("5-1-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("51.5-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("51e0-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("50x1-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("5 1-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("5")], Err(IllegalAttachments)),
            (&[T("6[1]")], Err(IllegalAttachments)),
            (&[T("50-[\"m\"]")], Err(IllegalAttachments)),
            (&[T("60-1[]")], Err(IllegalAttachments)),
            (&[T("511-[\"m\"]")], Err(TooManyAttachments)),
            (&[T("599999999-[\"m\"]")], Err(TooManyAttachments)),
            (&[T("599999999999999999999999-[\"m\"]")], Err(TooManyAttachments)),
            (&[T("51-")], Err(InvalidPayload)),
            (&[T("61-[{\"_placeholder\":true,\"num\":0}]")], Err(MissingId)),
            // placeholders
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":5}]"#), B(b"x")],
                Err(IllegalAttachments),
            ),
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":-1}]"#), B(b"x")],
                Err(IllegalAttachments),
            ),
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":"splice"}]"#), B(b"x")],
                Err(IllegalAttachments),
            ),
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":0.5}]"#), B(b"x")],
                Err(IllegalAttachments),
            ),
            (&[T(r#"51-["m",{"_placeholder":1,"num":0}]"#), B(b"x")], Ok(1)),
            (&[T(r#"2["m",{"_placeholder":true,"num":0}]"#)], Ok(1)),
            (&[T(r#"51-["m",1]"#), B(b"x")], Ok(1)),
            (
                &[
                    T(r#"51-["m",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#),
                    B(b"x"),
                ],
                Err(AttachmentNamedTwice),
            ),
            (
                &[
                    T(r#"52-["m",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#),
                    B(b"x"),
                    B(b""),
                ],
                Ok(1),
            ),
            (&[T(r#"61-77[{"_placeholder":true,"num":0}]"#), B(b"x")], Ok(1)),
            // order
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":0}]"#), T("2[\"m\",1]")],
                Err(TextInsteadOfAttachment),
            ),
            (
                &[T(r#"51-["m",{"_placeholder":true,"num":0}]"#), T("")],
                Err(TextInsteadOfAttachment),
            ),
            (&[B(b"x")], Err(UnexpectedAttachment)),
            (&[T(r#"51-["m"]"#), B(b"x"), B(b"x")], Err(UnexpectedAttachment)),
            // namespaces end at the first comma
            (&[T("2/a[\"m\",1]")], Err(InvalidPayload)),
            // JSON
            (&[T("2[\"m\",\"a\u{1e}b\"]")], Err(InvalidJson(ControlCharacter))),
            (&[T(r#"2["m","\u0000\u001e"]"#)], Ok(1)),
            (&[T(r#"2["m","\ud800"]"#)], Ok(1)),
            (&[T(r#"2["m",{"a":1,"a":2},12345678901234567890]"#)], Ok(1)),
            (&[T(r#"2["m",{"__proto__":{"x":1},"constructor":{"y":2}}]"#)], Ok(1)),
            // reserved names
            (&[T("2[\"connect\",\"x\"]")], Err(ReservedEvent)),
            (&[T("2[\"connect_error\",\"x\"]")], Err(ReservedEvent)),
            (&[T("2[\"disconnect\",\"x\"]")], Err(ReservedEvent)),
            (&[T("2[\"disconnecting\",\"x\"]")], Err(ReservedEvent)),
            (&[T("2[\"newListener\",\"x\"]")], Err(ReservedEvent)),
            (&[T("2[\"removeListener\",\"x\"]")], Err(ReservedEvent)),
            (
                &[T(r#"51-["disconnect",{"_placeholder":true,"num":0}]"#)],
                Err(ReservedEvent),
            ),
            (&[T("2[\"error\",\"x\"]")], Ok(1)),
            (&[T("2[5]")], Ok(1)),
            (&[T("2[\"\"]")], Ok(1)),
        ];
        for revision in [Revision::Four, Revision::Five] {
            for (messages, expected) in cases {
                let got = receive(messages, revision, &Limits::default()).map(|packets| packets.len());
                let T(first) = &messages[0] else {
                    assert_eq!(got, *expected);
                    continue;
                };
                assert_eq!(got, *expected, "{first:?} in revision {revision:?}");
            }
        }
    }

    #[test]
    fn ten_attachments_are_kept_in_order() {
        const HEADER: &str = r#"510-/a,7["m",
            {"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2},
            {"_placeholder":true,"num":3},{"_placeholder":true,"num":4},{"_placeholder":true,"num":5},
            {"_placeholder":true,"num":6},{"_placeholder":true,"num":7},{"_placeholder":true,"num":8},
            {"_placeholder":true,"num":9}]"#;
        let messages: Vec<Message> = core::iter::once(T(HEADER))
            .chain((0..10).map(|i| B(&b"0123456789"[i..=i])))
            .collect();
        let packets = receive(&messages, Revision::Five, &Limits::default()).unwrap();
        let [Packet::Event { args, id: Some(7), .. }] = &packets[..] else {
            panic!("{packets:?}");
        };
        assert_eq!(args.attachments.concat(), b"0123456789");
    }

    /// Parts that came in the body of a request keep nothing else of it alive, whatever their size
    /// is. A large part of a read buffer is most of it.
    #[test]
    fn what_waits_keeps_no_body() {
        let limits = Limits::default();
        for (from, large, shared) in [
            (Source::Body, 100_000, false),
            (Source::Body, 100, false),
            (Source::Read, 100_000, true),
            (Source::Read, 100, false),
        ] {
            let mut text = alloc::format!("52-[\"m\",\"{}\"]", "x".repeat(large)).into_bytes();
            text.extend_from_slice(&[b'y'; 1_000_000]);
            let whole = Bytes::from(text);
            let mut reassembly = Reassembly::new();
            let text = ByteString::try_from(whole.slice(..large + 11)).unwrap();
            reassembly
                .handle_text(text, Revision::Five, Role::Server, &limits)
                .unwrap();
            reassembly.keep(from);
            assert_eq!(!whole.is_unique(), shared, "{from:?} {large}: the text");
            let whole = Bytes::from(alloc::vec![7; 1_000_000]);
            let attachment = whole.slice(..large);
            reassembly.handle_binary(attachment, &limits).unwrap();
            reassembly.keep(from);
            assert_eq!(!whole.is_unique(), shared, "{from:?} {large}: the attachment");
        }
    }

    /// All that waits is counted: the namespace, the name, the arguments and the attachments.
    #[test]
    fn what_waits_is_counted() {
        let mut reassembly = Reassembly::new();
        assert_eq!(reassembly.pending_bytes(), 0);
        let text = ByteString::from_static("52-/space,[\"name\",12345]");
        let limits = Limits::default();
        reassembly
            .handle_text(text, Revision::Five, Role::Server, &limits)
            .unwrap();
        assert_eq!(reassembly.pending_bytes(), 6 + 4 + 5);
        reassembly
            .handle_binary(Bytes::from_static(b"1234567"), &limits)
            .unwrap();
        assert_eq!(reassembly.pending_bytes(), 6 + 4 + 5 + 7);
    }

    #[test]
    fn attachments_are_counted_in_bytes() {
        let limits = Limits {
            max_attachment_bytes: 4,
            ..Limits::default()
        };
        let header = T("52-[\"m\"]");
        assert!(receive(&[header, B(b"12"), B(b"34")], Revision::Five, &limits).is_ok());
        assert_eq!(
            receive(&[T("52-[\"m\"]"), B(b"12"), B(b"345")], Revision::Five, &limits),
            Err(DecodeError::AttachmentsTooLarge)
        );
    }

    #[test]
    fn deep_nesting_and_digit_floods_are_refused_in_one_pass() {
        use alloc::string::String;
        let decode =
            |text: String| Reassembly::new().handle_text(text.into(), Revision::Five, Role::Server, &Limits::default());
        let deep = DecodeError::InvalidJson(JsonError::TooDeep);
        assert_eq!(decode(String::from("2[\"m\",") + &"[".repeat(5000)), Err(deep));
        assert_eq!(
            decode(String::from("5") + &"1".repeat(1 << 22)),
            Err(DecodeError::IllegalAttachments)
        );
        assert_eq!(
            decode(String::from("2") + &"1".repeat(1 << 22)),
            Err(DecodeError::IdTooLarge)
        );
        assert_eq!(
            decode(String::from("2/") + &"a".repeat(1 << 22)),
            Err(DecodeError::NamespaceTooLong)
        );
        assert_eq!(
            decode(String::from("2[\"m\"") + &",1".repeat(1 << 20)),
            Err(DecodeError::InvalidJson(JsonError::UnexpectedEnd))
        );
    }
}
