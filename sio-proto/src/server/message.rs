//! A message from the server to clients, and its encodings. There is one encoding per wire form in
//! use, and each is made at most once.
//!
//! # Messages in each generation
//!
//! Clients of every generation receive the same events in the same rooms. If a generation cannot
//! carry a part of a message, the part is converted as this table says, or the sender gets an
//! error. Nothing is dropped silently. The files of each generation have the details of its column.
//!
//! To clients:
//!
//! | | 4.x | 1.x-2.x | 0.7-0.9 | 0.6 |
//! |---|---|---|---|---|
//! | `emit(name, args)` | EVENT | EVENT, in ASCII | `5`, `{"name","args"}` | JSON message `{"event","args"}` |
//! | `send(text)`, the event `message` with one string | EVENT | EVENT | `3`; if so configured, `4` for a text with a line break | text message |
//! | the event `message` with one other value | EVENT | EVENT | `4` | JSON message with this value |
//! | several values in `message` | EVENT | EVENT | `5` | one message for each |
//! | binary | attachments | attachments; base64 where the transport needs it | `{"base64":"…"}` in place of the bytes | `"attachments":[base64,…]` beside the arguments |
//! | emit with acknowledgement | id | id | `ID+`; for `3` and `4` `ID`, which the client acknowledges by itself | [`SendError::Unsupported`](super::SendError); in a broadcast the event without acknowledgement |
//! | acknowledgement of a client's event | ACK | ACK in the form of 1.0.3 and later | `6:::ID+[…]` | clients never ask for one |
//! | volatile | dropped unless it can leave at once | as 4.x | as 4.x | as 4.x |
//! | [`Policy`] | acts on what waits, has no wire form | as 4.x | as 4.x | as 4.x |
//! | rooms, broadcasts | have no wire form | | | |
//! | accepted in a namespace | CONNECT with an id | CONNECT | `1::`; for `/` the handshake is answered | the session id |
//! | refused | CONNECT_ERROR `{message, data}` | ERROR: the data, or the message if there is no data | `7::/ns:2`, which cannot say why; for `/` 403 `handshake unauthorized` | 401 |
//! | disconnected from a namespace | DISCONNECT | DISCONNECT | `0::/ns`; from `/`: `0::`, the whole session | the session ends |
//! | server shuts down | the transport ends | the transport ends | the transport ends; a poll is answered `7:::1+0`, so that the client comes back | the transport ends |
//!
//! The column "0.6" holds for every codec of the plain-message transports
//! ([`codec`](crate::codec)). The bytes of each codec are:
//!
//! | | `~m~`, 0.5-0.6 | streaming, 2010 | envelope, 0.3-0.4 |
//! |---|---|---|---|
//! | text message | `~m~5~m~hello` | `1:6::hello,` | `{"messages":["hello"]}` |
//! | JSON message | `~m~10~m~~j~{"a":1}` | `1:10:j⏎:{"a":1},` | `{"messages":[{"a":1}]}` |
//! | several messages at once | frames | packets | one array |
//! | the session id | a text message, the first | type 3 | a message that is JSON in a string, the first |
//! | the session ends | the transport ends | `0:0:,`, then the transport ends | the transport ends |
//! | messages of clients | as from the server | as from the server; a realm is ignored | an array without an object around it |
//! | the client ends the session | the transport ends | type 0 | the transport ends |
//! | a broken payload | its rest is ignored | the session ends | the payload is ignored |
//!
//! The columns 4.x and 1.x-2.x describe the standard wire. With a [`Config::parser`], the packets
//! have the form of the parser: with [MessagePack](crate::codec) each packet is one binary message
//! that includes its bytes. If a parser cannot write a message, the result is
//! [`SendError::Unsupported`](super::SendError); a broadcast leaves out these clients.
//!
//! # Sizes
//!
//! A byte of a client can become several bytes for another client. The size of a message in a form
//! is checked before it is written in this form. If it is larger than a queue may be
//! ([`Config::max_queued_bytes`]), the sender gets [`SendError::TooLarge`](super::SendError).
//! Queues hold written messages, so their limits include these factors. Later conversions work on
//! one packet or one poll at a time.
//!
//! | from | to | bytes for a byte, at most |
//! |---|---|---|
//! | the name of an event | a JSON string | 6 |
//! | JSON of arguments | 4.x; `4` and `5` of 0.7-0.9, except U+2028 and U+2029, where 3 bytes become 6 | 1 |
//! | JSON of arguments | 1.x-2.x, in ASCII | 3 |
//! | JSON of arguments | MessagePack (`1.5` is 9 bytes) | 2.25 |
//! | MessagePack | JSON of arguments (`c2` is `false,`), without placeholders | 6 |
//! | an attachment | 4.x, 1.x-2.x, MessagePack | 1 |
//! | an attachment | 0.7-0.9, 0.6, polls and `b64`: base64 | 4/3 |
//! | several values in `message` | 0.6, a frame for each (`1,` is `~m~4~m~~j~1`) | 6 |
//! | text of a raw session | Engine.IO 3 in the dialect of 1.x, UTF-8 twice | 2 |
//! | a payload | the string of a script: a quote becomes 2, a control character 6 | 6 |
//! | a payload | htmlfile: as a script; `<!` becomes 7 | 6 |
//!
//! Messages from clients:
//!
//! | | 4.x | 1.x-2.x | 0.7-0.9 | 0.6 |
//! |---|---|---|---|---|
//! | events | events | events | events; `message` and JSON message are the event `message` | text and JSON messages are the event `message` |
//! | request for an acknowledgement | `ack` | `ack` | `ID+`: `ack`; `ID`: answered on receipt | none |
//! | namespaces | CONNECT | `/` without CONNECT; others by CONNECT, after `/` has been accepted | `/` by the handshake, others by `1::/ns` | `/` only |
//! | `auth` | the payload of CONNECT | the queries of handshake and CONNECT as one JSON object of strings | the queries of handshake and `1::/ns?query` as one JSON object of strings | none; the handshake's query is available |
//! | the id by which the client knows its socket | the public id | in `/` the session's id | the session's id | the session's id |
//! | a packet that breaks the rules | ends the session | ends the session | is ignored | is ignored, unless its codec cannot read on |
//! | packets for a namespace that was not joined | end the session | are ignored | wait for the join, up to a limit | |

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use bytes::BytesMut;
use bytestring::ByteString;

use super::{Generation, Policy, SendError};
use crate::arena::Arena;
use crate::socket::{Args, Offset, Packet};
use crate::{Config, Frame, Time};

/// A form of a message. Clients of one generation share one form on every transport: a poll carries
/// the payload of the websocket frame. On the plain-message transports each codec is a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Socket.IO 5 in Engine.IO 4 packets.
    Engine4,
    /// Socket.IO 4 in Engine.IO 3 packets.
    Engine3,
    /// Packets of 0.7-0.9.
    Legacy09,
    /// Payloads of the 0.6 family, in the codec with this number
    /// ([`Legacy06::codecs`](crate::Legacy06::codecs)).
    Plain(u8),
}

impl Form {
    /// The forms that do not belong to a codec.
    pub(crate) const FIXED: [Self; 3] = [Self::Engine4, Self::Engine3, Self::Legacy09];

    /// The generation whose clients read this form.
    #[must_use]
    pub const fn generation(self) -> Generation {
        match self {
            Self::Engine4 => Generation::Engine4,
            Self::Engine3 => Generation::Engine3,
            Self::Legacy09 => Generation::Legacy09,
            Self::Plain(_) => Generation::Legacy06,
        }
    }

    /// The place of the form in [`Form::FIXED`], or behind the places there.
    const fn index(self) -> usize {
        match self {
            Self::Engine4 => 0,
            Self::Engine3 => 1,
            Self::Legacy09 => 2,
            Self::Plain(codec) => Self::FIXED.len() + codec as usize,
        }
    }
}

/// A set of forms. It fits into an atomic ([`Forms::bits`]), so that it can be read without a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms(u32);

// Every codec that a config can have has a bit.
const _: () = assert!(Form::FIXED.len() + crate::Legacy06::MAX_CODECS <= 32);

impl Forms {
    /// The set of these bits, which come from [`Forms::bits`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// This set and one more form.
    #[must_use]
    pub const fn with(self, form: Form) -> Self {
        Self(self.0 | 1 << form.index())
    }

    /// The forms of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn insert(&mut self, form: Form) {
        self.0 |= 1 << form.index();
    }

    /// The forms in the set.
    pub fn iter(self) -> impl Iterator<Item = Form> {
        let plain = (0..crate::Legacy06::MAX_CODECS as u8).map(Form::Plain);
        let all = Form::FIXED.into_iter().chain(plain);
        all.filter(move |form| self.0 & 1 << form.index() != 0)
    }
}

/// A message in one form: a frame, and one more for each attachment. With a [`Config::parser`] it
/// has as many frames as the parser writes.
#[derive(Debug)]
pub struct Encoded {
    /// The text part.
    pub(crate) first: Frame,
    /// The attachments, in order.
    pub(crate) attachments: More,
}

/// The frames of a message behind its first. Most messages have none, and most others have one, so
/// these need no list in memory of its own.
#[derive(Debug, Default)]
pub(crate) enum More {
    #[default]
    None,
    One(Frame),
    Many(Vec<Frame>),
}

impl Deref for More {
    type Target = [Frame];

    #[inline]
    fn deref(&self) -> &[Frame] {
        match self {
            Self::None => &[],
            Self::One(frame) => core::slice::from_ref(frame),
            Self::Many(frames) => frames,
        }
    }
}

impl DerefMut for More {
    fn deref_mut(&mut self) -> &mut [Frame] {
        match self {
            Self::None => &mut [],
            Self::One(frame) => core::slice::from_mut(frame),
            Self::Many(frames) => frames,
        }
    }
}

impl Clone for More {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::One(frame) => Self::One(frame.clone()),
            Self::Many(frames) => Self::Many(frames.clone()),
        }
    }
}

impl FromIterator<Frame> for More {
    fn from_iter<I: IntoIterator<Item = Frame>>(frames: I) -> Self {
        let mut frames = frames.into_iter();
        match (frames.next(), frames.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::Many([first, second].into_iter().chain(frames).collect()),
        }
    }
}

impl From<Vec<Frame>> for More {
    fn from(frames: Vec<Frame>) -> Self {
        frames.into_iter().collect()
    }
}

impl More {
    /// The same frames as a list.
    pub(crate) fn into_list(self) -> Vec<Frame> {
        match self {
            Self::None => Vec::new(),
            Self::One(frame) => alloc::vec![frame],
            Self::Many(frames) => frames,
        }
    }
}

/// The state of a message in one form.
#[derive(Clone, Debug)]
enum Encoding {
    /// The form has not been needed yet.
    Missing,
    Made(Encoded),
    /// The message cannot be written in this form.
    Refused(SendError),
}

impl Clone for Encoded {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            first: self.first.clone(),
            attachments: self.attachments.clone(),
        }
    }
}

impl From<Frame> for Encoded {
    /// A message without attachments.
    #[inline]
    fn from(first: Frame) -> Self {
        Self {
            first,
            attachments: More::None,
        }
    }
}

impl Encoded {
    /// The text part, or the first packet that the server's parser has written.
    #[must_use]
    pub const fn text(&self) -> &Frame {
        &self.first
    }

    /// The packets behind the first.
    #[must_use]
    pub fn attachments(&self) -> &[Frame] {
        &self.attachments
    }

    /// The frame of a message that has no other.
    #[inline]
    pub(crate) fn only(&self) -> Option<&Frame> {
        self.attachments.is_empty().then_some(&self.first)
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        core::iter::once(&self.first).chain(&*self.attachments)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.frames().map(Frame::len).sum()
    }

    pub(crate) fn packets(&self) -> usize {
        1 + self.attachments.len()
    }

    /// The encoding with other frames.
    pub(crate) fn converted(&self, convert: impl Fn(&Frame) -> Frame) -> Self {
        Self {
            first: convert(&self.first),
            attachments: self.attachments.iter().map(convert).collect(),
        }
    }

    /// A copy that is kept for long ([`Frame::copied`]).
    #[inline(always)]
    pub(crate) fn copied(&self, arena: &mut Arena) -> Self {
        let first = self.first.copied(arena);
        // Most messages have none.
        let attachments = match self.attachments.is_empty() {
            true => More::None,
            false => self.attachments.iter().map(|frame| frame.copied(arena)).collect(),
        };
        Self { first, attachments }
    }

    /// Whether the encoding fits into an empty queue.
    fn fits(&self, config: &Config) -> bool {
        self.bytes() <= config.max_queued_bytes && self.packets() <= config.max_queued_packets
    }
}

/// An event, or the acknowledgement of an event, for clients.
///
/// Encode it for the forms that it will need before handing it to a shard ([`Message::encode`]), so
/// that nothing is encoded under the caller's lock. The shard encodes a missing form when it is
/// first needed.
#[derive(Clone, Debug)]
pub struct Message {
    /// The namespace.
    pub(crate) namespace: ByteString,
    /// The event's name; `None` for an acknowledgement.
    pub(crate) name: Option<ByteString>,
    /// The id of the acknowledgement that is requested, or of the event that is acknowledged.
    pub(crate) id: Option<u64>,
    /// The arguments.
    pub(crate) args: Args,
    /// Whether it may be dropped for clients that cannot take it right now.
    pub(crate) volatile: bool,
    /// The moment at which the message is sent, for the order of volatile messages. If it is not
    /// set, it is the time of the input.
    pub(crate) moment: Option<Time>,
    /// What becomes of it for clients that do not take it at once.
    pub(crate) policy: Policy,
    /// Where the message stands in what was said, if its recipients may come back and ask for what
    /// is behind it.
    pub(crate) offset: Option<Offset>,
    packets: [Encoding; Form::FIXED.len()],
    /// By the number of the codec. There are few.
    plain: Vec<(u8, Encoding)>,
}

impl Message {
    /// An event. With an `id`, clients are asked for an acknowledgement.
    #[must_use]
    pub const fn event(namespace: ByteString, name: ByteString, args: Args, id: Option<u64>) -> Self {
        Self {
            namespace,
            name: Some(name),
            id,
            args,
            volatile: false,
            policy: Policy::Ordered,
            moment: None,
            offset: None,
            packets: [const { Encoding::Missing }; Form::FIXED.len()],
            plain: Vec::new(),
        }
    }

    /// The acknowledgement of the client's event `id`.
    #[must_use]
    pub const fn ack(namespace: ByteString, id: u64, args: Args) -> Self {
        Self {
            namespace,
            name: None,
            id: Some(id),
            args,
            volatile: false,
            policy: Policy::Ordered,
            moment: None,
            offset: None,
            packets: [const { Encoding::Missing }; Form::FIXED.len()],
            plain: Vec::new(),
        }
    }

    /// Lets the message be dropped for clients that cannot take it right now
    /// (docs/protocol/socket-io.md §7).
    #[must_use]
    pub const fn volatile(mut self, volatile: bool) -> Self {
        self.volatile = volatile;
        self
    }

    /// Sets what becomes of the message for clients that do not take it at once. Acknowledgements
    /// and events that ask for one have no policy.
    ///
    /// With [`Policy::Merge`] and [`Policy::Behind`] the queue keeps the arguments of the message.
    /// If dropping them runs code of the user, give the message a copy of them.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        if self.carries_offset() {
            self.policy = policy;
        }
        self
    }

    /// Sets the moment at which a volatile message is sent, if it is not the time of its input. If
    /// a client gets several volatile messages in one moment, the first is sent and the others are
    /// dropped, even if the client's connection has taken the first one already. Genuine servers do
    /// the same: their connection is busy until their code has returned.
    #[must_use]
    pub const fn moment(mut self, moment: Option<Time>) -> Self {
        self.moment = moment;
        self
    }

    /// Has clients of 4.x told where the message stands, as a string behind its arguments
    /// (docs/protocol/socket-io.md §6). A message that asks for an acknowledgement carries no
    /// offset, because genuine clients do not look for it there.
    #[must_use]
    pub const fn offset(mut self, offset: Option<Offset>) -> Self {
        self.offset = offset;
        self
    }

    /// Changes the offset of a message that may have been encoded already. Only the encoding for
    /// clients of 4.x changes with it.
    #[inline]
    pub fn set_offset(&mut self, offset: Option<Offset>) {
        if self.offset != offset {
            self.offset = offset;
            self.packets[Form::Engine4.index()] = Encoding::Missing;
        }
    }

    /// Whether clients of 4.x keep the offset of such a message. They do if it is an event that
    /// asks for no acknowledgement.
    #[must_use]
    pub const fn carries_offset(&self) -> bool {
        self.name.is_some() && self.id.is_none()
    }

    /// Where the message stands in what was said ([`Message::offset`]).
    #[must_use]
    pub const fn shown_offset(&self) -> Option<Offset> {
        self.offset
    }

    /// The name of the event; `None` for an acknowledgement.
    #[must_use]
    pub const fn name(&self) -> Option<&ByteString> {
        self.name.as_ref()
    }

    /// The arguments.
    #[must_use]
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &ByteString {
        &self.namespace
    }

    /// Whether the message may be dropped for clients that cannot take it right now.
    #[must_use]
    pub const fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// How many packets the message is for a client of 4.x: one, and one for each attachment. It is
    /// zero if the message is not encoded for them.
    #[inline]
    #[must_use]
    pub fn packets(&self) -> usize {
        match &self.packets[Form::Engine4.index()] {
            Encoding::Made(encoded) => encoded.packets(),
            _ => 0,
        }
    }

    /// Makes the encoding for `form` if it does not exist yet. `config` is the server's config.
    /// `buffer` is a scratch buffer that the caller keeps and passes empty.
    ///
    /// # Errors
    ///
    /// [`SendError::Unsupported`] if the server's [`Config::parser`] cannot write the message,
    /// [`SendError::TooLarge`] if it would not fit into the empty queue of a session.
    pub fn encode(&mut self, form: Form, config: &Config, buffer: &mut BytesMut) -> Result<(), SendError> {
        self.encoded(form, config, buffer).map(|_| ())
    }

    /// The encoding for `form`, which is made now if it does not exist yet.
    #[inline]
    pub(crate) fn encoded(
        &mut self,
        form: Form,
        config: &Config,
        buffer: &mut BytesMut,
    ) -> Result<&Encoded, SendError> {
        if matches!(self.place(form), Encoding::Missing) {
            self.fill(form, config, buffer);
        }
        match self.place(form) {
            Encoding::Made(encoded) => Ok(encoded),
            Encoding::Missing => Err(SendError::Unsupported),
            Encoding::Refused(error) => Err(*error),
        }
    }

    /// Makes the encoding for `form`. It stands apart, so that the look at an encoding that exists
    /// stays small: a broadcast looks once for each recipient.
    #[inline(never)]
    fn fill(&mut self, form: Form, config: &Config, buffer: &mut BytesMut) {
        let made = self.make(form, config, buffer);
        // The size of a message in an operator's codec is known only after encoding.
        let made = made.and_then(|made| match made.fits(config) {
            true => Ok(made),
            false => Err(SendError::TooLarge),
        });
        *self.place(form) = made.map_or_else(Encoding::Refused, Encoding::Made);
    }

    /// The encoding for `form`, if it has been made.
    #[inline]
    pub(crate) fn made(&self, form: Form) -> Result<&Encoded, SendError> {
        let place = match form {
            Form::Plain(codec) => self
                .plain
                .iter()
                .find(|(known, _)| *known == codec)
                .map(|(_, made)| made),
            Form::Engine4 | Form::Engine3 | Form::Legacy09 => Some(&self.packets[form.index()]),
        };
        match place {
            Some(Encoding::Made(encoded)) => Ok(encoded),
            Some(Encoding::Refused(error)) => Err(*error),
            Some(Encoding::Missing) | None => Err(SendError::Unsupported),
        }
    }

    /// A message that has been encoded for clients of 4.x, and cannot be encoded for others.
    pub(super) fn encoded_before(self, encoded: Encoded) -> Self {
        let mut message = self;
        *message.place(Form::Engine4) = Encoding::Made(encoded);
        message
    }

    /// The place of the encoding for `form`.
    #[inline]
    fn place(&mut self, form: Form) -> &mut Encoding {
        match form {
            Form::Engine4 | Form::Engine3 | Form::Legacy09 => &mut self.packets[form.index()],
            Form::Plain(codec) => self.plain_place(codec),
        }
    }

    fn plain_place(&mut self, codec: u8) -> &mut Encoding {
        let known = self.plain.iter().position(|(known, _)| *known == codec);
        let at = known.unwrap_or_else(|| {
            self.plain.push((codec, Encoding::Missing));
            self.plain.len() - 1
        });
        &mut self.plain[at].1
    }

    /// The message as a packet, which shares its bytes; for clients that keep offsets, with the
    /// offset behind the arguments.
    pub(crate) fn packet(&self, keeps_offsets: bool) -> Packet {
        let (namespace, mut args) = (self.namespace.clone(), self.args.clone());
        if let Some(offset) = self.offset.filter(|_| keeps_offsets && self.id.is_none()) {
            args = args.with_offset(offset);
        }
        match &self.name {
            Some(name) => Packet::Event {
                namespace,
                name: name.clone(),
                id: self.id,
                args,
            },
            None => Packet::Ack {
                namespace,
                id: self.id.unwrap_or_default(),
                args,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Clients of 4.x keep the offset of an event that asks for no acknowledgement. Nobody else is
    /// told one.
    #[test]
    fn an_offset_is_for_those_who_keep_it() {
        let epoch = crate::socket::Epoch::new(7);
        let (first, second) = (epoch.offset(1), epoch.offset(2));
        let arguments = |message: &Message, keeps_offsets| match message.packet(keeps_offsets) {
            Packet::Event { args, .. } | Packet::Ack { args, .. } => args.len(),
            _ => 0,
        };
        let event = |id| Message::event("/".into(), "a".into(), Args::default(), id).offset(Some(first));
        assert_eq!((arguments(&event(None), true), arguments(&event(None), false)), (1, 0));
        assert_eq!(
            (arguments(&event(Some(1)), true), arguments(&event(Some(1)), false)),
            (0, 0)
        );
        // If it changes, the message is written anew for those who get it.
        let mut message = event(None);
        let encoded = |message: &mut Message, form| {
            let encoded = message.encoded(form, &Config::default(), &mut BytesMut::new());
            encoded.expect("it fits").text().clone()
        };
        let older = encoded(&mut message, Form::Engine3);
        let before = encoded(&mut message, Form::Engine4);
        message.set_offset(Some(first));
        assert_eq!(message.packets(), 1, "nothing has changed");
        message.set_offset(Some(second));
        assert_eq!((message.packets(), message.shown_offset()), (0, Some(second)));
        assert_ne!(encoded(&mut message, Form::Engine4), before);
        assert_eq!(encoded(&mut message, Form::Engine3), older);
    }

    /// A message fits if an empty queue has room for its packets and their bytes, and not by one
    /// byte or packet more.
    #[test]
    fn a_message_fits_into_an_empty_queue() {
        let frame = Frame::text(&mut BytesMut::new(), |b| b.extend_from_slice(b"12345678"));
        let encoded = Encoded {
            first: frame.clone(),
            attachments: More::from(vec![frame.clone(), frame]),
        };
        for (packets, bytes, fits) in [(3, 30, true), (2, 30, false), (3, 29, false), (2, 29, false)] {
            let config = Config::default().max_queued_packets(packets).max_queued_bytes(bytes);
            assert_eq!(encoded.fits(&config), fits, "{packets} packets, {bytes} bytes");
        }
    }

    #[test]
    fn a_set_of_forms_has_what_was_put_in() {
        let all = [
            Form::Engine4,
            Form::Engine3,
            Form::Legacy09,
            Form::Plain(0),
            Form::Plain(crate::Legacy06::MAX_CODECS as u8 - 1),
        ];
        let mut forms = Forms::default();
        assert_eq!(forms.iter().next(), None);
        all.into_iter().for_each(|form| forms.insert(form));
        assert_eq!(forms.iter().collect::<Vec<_>>(), all);
        let mut one = Forms::default();
        one.insert(Form::Plain(2));
        assert_eq!(
            Forms::from_bits(one.bits()).iter().collect::<Vec<_>>(),
            vec![Form::Plain(2)]
        );
        assert_eq!(one.union(forms).iter().count(), 6);
    }
}
