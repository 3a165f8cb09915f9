//! A packet for one socket, written in one go: its arguments are written directly into its frame.
//!
//! ```text
//!   begin:   4 2 /admin, [ "name" ,          the head
//!   caller:                         1,"two"  the arguments
//!   finish:  header                         ]
//!            header                         ,"offset"]     in a namespace with recovery
//! ```
//! A [`Message`](super::super::Message) is encoded once for each form of its recipients, so it
//! keeps its arguments apart. Most messages have one recipient, whose form is known. Such a message
//! needs no copy of its arguments, and no value for each form.
//!
//! How many attachments there are is known only behind the arguments, but stands before them. So
//! there is room for this number in front of the head.

use bytes::{BufMut, Bytes, BytesMut};

use super::Revision;
use super::sockets::encoder;
use crate::engine::frames;
use crate::frame::take_written;
use crate::server::{Encoded, Form, More, SendError};
use crate::socket::text::{AROUND_ATTACHMENT, MAX_PLAIN_NAME, bytes_around, is_plain_name};
use crate::socket::{Epoch, Offset};
use crate::websocket::frame::MAX_SERVER_HEADER_BYTES;
use crate::{Config, Frame};

/// Room for the number of attachments, and the `-` behind it.
const MAX_COUNT_BYTES: usize = 8;
/// Where the packet begins, if it has no attachments.
const AT: usize = MAX_SERVER_HEADER_BYTES + MAX_COUNT_BYTES;
/// Up to this number of bytes, attachments get their memory together.
const SMALL: usize = 4 * 1024;
/// The largest number of attachments that fits into the room.
const MAX_ATTACHMENTS: usize = 9_999_999;

/// A packet that has been begun in a buffer. The caller appends the arguments to the buffer, as
/// JSON values that are joined by commas, and then calls [`Direct::finish`].
///
/// ```
/// use sio_proto::server::{Direct, Form};
/// use sio_proto::{BytesMut, Config};
///
/// let mut buffer = BytesMut::new();
/// let direct = Direct::event(Form::Engine4, &Config::default(), "/admin", "say", &mut buffer).unwrap();
/// buffer.extend_from_slice(br#"1,"two""#);
/// let packet = direct.finish(&[], &mut buffer).unwrap();
/// assert_eq!(packet.text().payload(), br#"42/admin,["say",1,"two"]"#);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "the packet is finished by `finish`"]
pub struct Direct {
    revision: Revision,
    is_event: bool,
    /// Where the arguments begin.
    args_at: usize,
    /// How large the packet may be.
    max_bytes: usize,
    /// At most so many bytes stand around the name, the arguments and the attachments.
    around: usize,
    /// What the name takes.
    name_bytes: usize,
    /// What the name takes at most. A message whose arguments are copied is not measured exactly.
    most_name_bytes: usize,
}

impl Direct {
    /// Begins an event in `out`, which is empty. Returns `None` if events for clients of this form
    /// cannot be written in one go, because they are older than 1.0 or the server has a
    /// [`Config::parser`].
    #[inline]
    pub fn event(form: Form, config: &Config, namespace: &str, name: &str, out: &mut BytesMut) -> Option<Self> {
        let revision = revision_for(form, config)?;
        let name_bytes = match namespace == "/" && is_plain_name(name) {
            // This is the usual case: one copy.
            true => {
                let mut head = [0; AT + 6 + MAX_PLAIN_NAME];
                let end = AT + 4 + name.len();
                head[AT..AT + 4].copy_from_slice(b"42[\"");
                head[AT + 4..end].copy_from_slice(name.as_bytes());
                head[end..end + 2].copy_from_slice(b"\",");
                out.put_slice(&head[..end + 2]);
                name.len() + 2
            }
            false => {
                out.reserve(bytes_around(namespace) + name.len());
                out.put_slice(&[0; AT]);
                out.put_u8(b'4');
                let name_bytes = encoder(revision).event_head(out, namespace, None, name, 0);
                out.put_u8(b',');
                name_bytes
            }
        };
        Some(Self {
            revision,
            is_event: true,
            args_at: out.len(),
            max_bytes: config.max_queued_bytes,
            around: bytes_around(namespace),
            name_bytes,
            most_name_bytes: name_bytes.min(6 * name.len()),
        })
    }

    /// Begins the acknowledgement of a client's event, as [`Direct::event`] begins an event.
    #[inline]
    pub fn ack(form: Form, config: &Config, namespace: &str, id: u64, out: &mut BytesMut) -> Option<Self> {
        let revision = revision_for(form, config)?;
        out.reserve(bytes_around(namespace));
        out.put_slice(&[0; AT]);
        out.put_u8(b'4');
        encoder(revision).ack_head(out, namespace, id, 0);
        Some(Self {
            revision,
            is_event: false,
            args_at: out.len(),
            max_bytes: config.max_queued_bytes,
            around: bytes_around(namespace),
            // It is measured like an event with an empty name.
            name_bytes: 2,
            most_name_bytes: 0,
        })
    }

    /// How much room there is for the name, the arguments and the attachments.
    #[inline]
    const fn room(&self) -> Option<usize> {
        self.max_bytes.checked_sub(self.around)
    }

    #[inline]
    fn fits(&self, args: usize) -> bool {
        let name = match self.revision {
            Revision::V3 if args > 0 => self.name_bytes,
            Revision::V3 | Revision::V4 => self.most_name_bytes,
        };
        self.room().is_some_and(|room| name.saturating_add(args) <= room)
    }

    /// The length of the longest arguments that fit. A caller that has the arguments looks before
    /// it copies them.
    #[inline]
    #[must_use]
    pub fn max_args(&self) -> usize {
        let name = match self.revision {
            Revision::V3 => self.name_bytes,
            Revision::V4 => self.most_name_bytes,
        };
        self.room().unwrap_or(0).saturating_sub(name)
    }

    /// The JSON of the arguments in the buffer.
    #[inline]
    #[must_use]
    pub fn args<'a>(&self, out: &'a BytesMut) -> &'a [u8] {
        out.get(self.args_at..).unwrap_or_default()
    }

    /// Whether the arguments in the buffer can stay as they are. Clients older than 3.0 get JSON in
    /// ASCII only.
    #[inline]
    #[must_use]
    pub fn keeps(&self, out: &BytesMut) -> bool {
        encoder(self.revision).copies(self.args(out))
    }

    /// Gives the packet up, and takes the arguments out of the buffer, which is then empty.
    #[must_use]
    pub fn give_up(self, out: &mut BytesMut) -> Bytes {
        // All that is written is split off, because the buffer keeps what is behind it.
        let written = take_written(out).freeze();
        match self.args_at <= written.len() {
            true => written.slice(self.args_at..),
            false => Bytes::new(),
        }
    }

    /// Finishes the packet, and takes it out of the buffer, which is then empty.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] if it is larger than the queue of a session may be
    /// ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)). [`SendError::Unsupported`]
    /// if the buffer does not hold the head of the packet any more.
    #[inline]
    pub fn finish(self, attachments: &[Bytes], out: &mut BytesMut) -> Result<Encoded, SendError> {
        if attachments.is_empty() {
            return self.finish_text(out).map(Encoded::from);
        }
        self.end_args(attachments, out)?;
        out.put_u8(b']');
        self.finish_binary(attachments, out)
    }

    /// Does what [`Direct::finish`] does for a packet without attachments.
    ///
    /// # Errors
    /// The errors of [`Direct::finish`].
    #[inline]
    pub fn finish_text(self, out: &mut BytesMut) -> Result<Frame, SendError> {
        self.end_args(&[], out)?;
        out.put_u8(b']');
        Ok(Frame::of_text_at(out, AT))
    }

    /// Does what [`Direct::finish`] does for a client that may come back: it is told where the
    /// event stands in what was said, as a string behind the arguments
    /// (docs/protocol/socket-io.md §6). Clients older than 3.0, and acknowledgements, get no
    /// offset.
    ///
    /// # Errors
    /// The errors of [`Direct::finish`].
    #[inline]
    pub fn finish_at(
        self,
        (epoch, sequence): (&Epoch, u64),
        attachments: &[Bytes],
        out: &mut BytesMut,
    ) -> Result<Encoded, SendError> {
        if attachments.is_empty() {
            return self.finish_text_at((epoch, sequence), out).map(Encoded::from);
        }
        if !self.carries_offset() {
            return self.finish(attachments, out);
        }
        self.end_args(attachments, out)?;
        epoch.write_last(sequence, out);
        let encoded = self.finish_binary(attachments, out)?;
        match encoded.bytes() <= self.max_bytes {
            true => Ok(encoded),
            false => Err(SendError::TooLarge),
        }
    }

    /// Does what [`Direct::finish_at`] does for a packet without attachments.
    ///
    /// # Errors
    /// The errors of [`Direct::finish`].
    #[inline]
    pub fn finish_text_at(self, (epoch, sequence): (&Epoch, u64), out: &mut BytesMut) -> Result<Frame, SendError> {
        if !self.carries_offset() {
            return self.finish_text(out);
        }
        self.end_args(&[], out)?;
        epoch.write_last(sequence, out);
        let packet = Frame::of_text_at(out, AT);
        // A packet that would fit without its offset may be too large with it.
        match packet.len() <= self.max_bytes {
            true => Ok(packet),
            false => Err(SendError::TooLarge),
        }
    }

    const fn carries_offset(&self) -> bool {
        self.is_event && matches!(self.revision, Revision::V4)
    }

    /// Checks the packet, which has all its arguments, and takes a comma away that nothing follows.
    #[inline]
    fn end_args(&self, attachments: &[Bytes], out: &mut BytesMut) -> Result<(), SendError> {
        let Some(args) = out.get(self.args_at..) else {
            return Err(SendError::Unsupported);
        };
        debug_assert!(self.keeps(out), "the caller asks before");
        let args = args.len();
        let mut bytes = args;
        for attachment in attachments {
            bytes = bytes.saturating_add(attachment.len() + AROUND_ATTACHMENT);
        }
        if !self.fits(bytes) {
            return Err(SendError::TooLarge);
        }
        if args == 0 && self.is_event {
            out.truncate(self.args_at - 1);
        }
        Ok(())
    }

    /// The arguments of this length in the text of a packet that [`Direct::finish_at`] has made
    /// with this offset, for a caller that cannot send the packet.
    #[cold]
    #[must_use]
    pub fn args_in<'a>(&self, offset: Offset, text: &'a [u8], len: usize) -> &'a [u8] {
        let behind = match self.carries_offset() {
            // A comma, the offset in quotes, and the bracket.
            true => offset.text().len() + 4,
            false => 1,
        };
        let end = text.len().saturating_sub(behind);
        &text[end.saturating_sub(len)..end]
    }

    /// Changes the type of the packet, writes the number of attachments behind it, and writes the
    /// attachments.
    #[inline(never)]
    fn finish_binary(&self, attachments: &[Bytes], out: &mut BytesMut) -> Result<Encoded, SendError> {
        let mut count = attachments.len();
        if count > MAX_ATTACHMENTS {
            return Err(SendError::TooLarge);
        }
        // Behind the two types of the plain packet, everything stays where it is.
        let mut at = AT + 2;
        let mut put = |byte| {
            at -= 1;
            out[at] = byte;
        };
        put(b'-');
        while count > 0 {
            put(b'0' + (count % 10) as u8);
            count /= 10;
        }
        put(if self.is_event { b'5' } else { b'6' });
        put(b'4');
        // The attachments of a small packet stand behind it in one buffer. While nothing of it is
        // given out yet, the buffer can use its memory again.
        let bytes: usize = attachments.iter().map(|bytes| bytes.len() + AROUND_ATTACHMENT).sum();
        if bytes <= SMALL {
            out.reserve(bytes);
        }
        let first = Frame::of_text_at(out, at);
        let mut frame = |bytes: &Bytes| frames::binary_frame(self.revision, bytes, out);
        let attachments = match attachments {
            // This is usual.
            [only] => More::One(frame(only)),
            several => several.iter().map(frame).collect(),
        };
        Ok(Encoded { attachments, first })
    }
}

/// The revision of clients of this form, if they get packets in the standard form.
#[inline]
fn revision_for(form: Form, config: &Config) -> Option<Revision> {
    if config.parser.is_some() {
        return None;
    }
    match form {
        Form::Engine4 => Some(Revision::V4),
        Form::Engine3 => Some(Revision::V3),
        Form::Legacy09 | Form::Plain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use bytestring::ByteString;
    use proptest::prelude::*;

    use super::*;
    use crate::server::Message;
    use crate::socket::Args;

    const FORMS: [Form; 2] = [Form::Engine4, Form::Engine3];

    /// The frames of a message that is encoded in the general way.
    fn encoded(mut message: Message, form: Form, config: &Config) -> Result<Vec<Frame>, SendError> {
        message.encode(form, config, &mut BytesMut::new())?;
        Ok(message.made(form)?.frames().cloned().collect())
    }

    /// Both ways to write an event and an acknowledgement agree, with and without an offset.
    fn compare(form: Form, config: &Config, namespace: &str, name: &str, json: &str, attachments: &[Bytes]) {
        let offset = |sequence| Offset {
            epoch: 36 * 36,
            sequence,
        };
        for offset in [None, Some(offset(9)), Some(offset(10)), Some(offset(u64::MAX))] {
            compare_at(offset, form, config, namespace, name, json, attachments);
        }
    }

    fn compare_at(
        offset: Option<Offset>,
        form: Form,
        config: &Config,
        namespace: &str,
        name: &str,
        json: &str,
        attachments: &[Bytes],
    ) {
        let space = ByteString::from(namespace);
        let args = Args {
            attachments: attachments.to_vec(),
            ..Args::from(ByteString::from(json))
        };
        let mut out = BytesMut::new();
        for is_event in [true, false] {
            let (direct, message) = match is_event {
                true => (
                    Direct::event(form, config, namespace, name, &mut out),
                    Message::event(space.clone(), name.into(), args.clone(), None).offset(offset),
                ),
                false => (
                    Direct::ack(form, config, namespace, 17, &mut out),
                    Message::ack(space.clone(), 17, args.clone()),
                ),
            };
            let direct = direct.expect("the form is of Engine.IO");
            out.extend_from_slice(json.as_bytes());
            assert_eq!(direct.args(&out), json.as_bytes());
            if direct.keeps(&out) {
                let written = match offset {
                    None => direct.finish(attachments, &mut out),
                    Some(Offset { epoch, sequence }) => {
                        direct.finish_at((&Epoch::new(epoch), sequence), attachments, &mut out)
                    }
                };
                if let (Ok(packet), Some(offset)) = (&written, offset) {
                    let text = packet.text().payload();
                    assert_eq!(direct.args_in(offset, text, json.len()), json.as_bytes());
                }
                let written = written.map(|encoded| encoded.frames().cloned().collect::<Vec<_>>());
                assert_eq!(
                    written,
                    encoded(message, form, config),
                    "{form:?} {namespace} {name} {json}"
                );
            } else {
                assert!(form == Form::Engine3 && !json.is_ascii());
                assert_eq!(direct.give_up(&mut out), json.as_bytes());
            }
            out.clear();
        }
    }

    fn text(len: usize) -> String {
        alloc::format!("\"{}\"", "x".repeat(len))
    }

    #[test]
    fn it_is_the_packet_of_the_message_for_every_length() {
        let config = Config::default();
        for form in FORMS {
            for len in (0..300).chain([65_530, 65_540]) {
                compare(form, &config, "/", "say", &text(len), &[]);
            }
            compare(form, &config, "/admin", "say", "", &[]);
            compare(form, &config, "/", "", "1,2", &[]);
            compare(form, &config, "/", "say", r#""\u00e9""#, &[]);
        }
    }

    #[test]
    fn attachments_stand_behind_their_number() {
        let config = Config::default().max_queued_packets(2_000);
        for form in FORMS {
            for count in [1, 2, 9, 10, 99, 100, 1_000] {
                let attachments = vec![Bytes::from_static(b"abc"); count];
                compare(
                    form,
                    &config,
                    "/admin",
                    "say",
                    r#"{"_placeholder":true,"num":0}"#,
                    &attachments,
                );
            }
        }
    }

    #[test]
    fn the_limit_is_that_of_the_message_to_the_byte() {
        for form in FORMS {
            for name in ["", "say", "\"\u{1}", "grüße"] {
                for max in 1_000..1_100 {
                    let config = Config::default().max_queued_bytes(max);
                    for len in [900, 910, 920, 930, 940, 950] {
                        compare(form, &config, "/", name, &text(len), &[]);
                        let attachment = Bytes::from(vec![7; len - 100]);
                        compare(form, &config, "/", name, &text(60), &[attachment]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_buffer_that_has_been_cleared_is_an_error() {
        let config = Config::default();
        for attachments in [&[][..], &[Bytes::from_static(b"abc")]] {
            for len in 0..AT + 8 {
                let mut out = BytesMut::new();
                let direct = Direct::event(Form::Engine4, &config, "/", "say", &mut out).expect("of Engine.IO");
                assert_eq!(out.len(), AT + 9);
                out.truncate(len);
                assert!(direct.args(&out).is_empty());
                assert_eq!(
                    direct.finish(attachments, &mut out).map(|_| ()),
                    Err(SendError::Unsupported)
                );
                assert_eq!(
                    direct.finish_at((&Epoch::new(7), 1), attachments, &mut out).map(|_| ()),
                    Err(SendError::Unsupported)
                );
            }
        }
    }

    #[test]
    fn other_forms_have_none() {
        let (config, mut out) = (Config::default(), BytesMut::new());
        for form in [Form::Legacy09, Form::Plain(0)] {
            assert!(Direct::event(form, &config, "/", "say", &mut out).is_none());
            assert!(Direct::ack(form, &config, "/", 1, &mut out).is_none());
            assert!(out.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_event_is_written_as_its_message(name: String, argument: String, space in "/[a-zé]{0,4}") {
            let json = serde_json::to_string(&argument).unwrap_or_default();
            for form in FORMS {
                compare(form, &Config::default(), &space, &name, &json, &[]);
            }
        }
    }
}
