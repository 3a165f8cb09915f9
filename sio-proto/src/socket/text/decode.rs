//! From text to packets, in one pass. The parts of a packet are slices of the text.
//!
//! The genuine parsers follow JavaScript's idea of a number in some places. This parser is stricter
//! there: ids and counts are digits and nothing else, and the JSON starts directly behind them.
//! Reserved names are refused in every revision.

use alloc::borrow::Cow;

use bytestring::ByteString;

use super::Partial;
use super::event::{EventParts, shared_namespace};
use crate::json::{self, Controls, JsonError, PlaceholderError};
use crate::socket::{Args, Packet, Revision, Role, is_reserved_event};

/// The limits of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Number of attachments of one packet. Default 10, as everywhere else. More are refused.
    pub max_attachments: usize,
    /// Bytes of all attachments of one packet. Default 10 000 000, which is ten messages of
    /// Engine.IO's default size.
    pub max_attachment_bytes: usize,
    /// Nesting of the JSON, including the brackets around name and arguments. The default,
    /// [`json::MAX_DEPTH`], is also the greatest possible value.
    pub max_depth: usize,
    /// Bytes of a namespace, without its query. Default 512.
    pub max_namespace_bytes: usize,
    /// Bytes of the query behind a namespace in a CONNECT. Default 8 KiB, which is also a usual
    /// limit for the target of a request.
    pub max_query_bytes: usize,
    /// Bytes of the `auth` of a CONNECT, if the `auth` has to be rewritten as JSON. Rewriting a
    /// megabyte takes tens of milliseconds. Default 64 KiB. Set by
    /// [`Config::max_auth_bytes`](crate::Config::max_auth_bytes). A standard CONNECT is not
    /// rewritten; for it, the limit applies only to the bytes that are kept.
    pub max_auth_bytes: usize,
    /// Bytes of an event name. Default 1024.
    pub max_event_name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            max_depth: json::MAX_DEPTH,
            max_namespace_bytes: 512,
            max_query_bytes: 8 * 1024,
            max_auth_bytes: 64 * 1024,
            max_event_name_bytes: 1024,
        }
    }
}

/// The result of reading a text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A complete packet.
    Packet(Packet),
    /// A packet whose attachments follow. Each attachment is one binary message.
    Partial(Partial),
    /// An acknowledgement without id or without arguments. Genuine peers of all revisions accept it
    /// and do nothing.
    Nothing,
}

impl Decoded {
    /// Bytes of everything that the client wrote in it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Packet(packet) | Self::Partial(Partial { packet, .. }) => packet.bytes(),
            Self::Nothing => 0,
        }
    }
}

/// Why a message is no packet. Each of these errors closes the connection. The wording is that of
/// the genuine parsers, where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message is empty.
    #[error("empty packet")]
    Empty,
    /// The first character is not a packet type.
    #[error("unknown packet type")]
    UnknownType,
    /// A client sent a CONNECT_ERROR. Only servers may send it.
    #[error("CONNECT_ERROR from a client")]
    ConnectErrorFromClient,
    /// The attachment count is missing, is zero or is not written in digits, or a placeholder names
    /// no attachment.
    #[error("Illegal attachments")]
    IllegalAttachments,
    /// Two placeholders name one attachment. The server would write the attachment as often as it
    /// is named.
    #[error("Illegal attachments: one is named twice")]
    AttachmentNamedTwice,
    /// More attachments than [`Limits::max_attachments`].
    #[error("too many attachments")]
    TooManyAttachments,
    /// The attachments are longer than [`Limits::max_attachment_bytes`].
    #[error("attachments are too large")]
    AttachmentsTooLarge,
    /// The namespace is longer than [`Limits::max_namespace_bytes`].
    #[error("namespace is too long")]
    NamespaceTooLong,
    /// The query behind a namespace is longer than [`Limits::max_query_bytes`].
    #[error("query is too long")]
    QueryTooLong,
    /// The `auth` of a CONNECT is longer than [`Limits::max_auth_bytes`].
    #[error("auth is too long")]
    AuthTooLong,
    /// The id does not fit into 64 bits.
    #[error("id is too large")]
    IdTooLarge,
    /// A binary acknowledgement does not say which event it answers.
    #[error("binary acknowledgement without id")]
    MissingId,
    /// The payload has a type that this packet type does not allow.
    #[error("invalid payload")]
    InvalidPayload,
    /// The payload is not JSON, or is nested too deep.
    #[error("invalid payload: {0}")]
    InvalidJson(#[from] JsonError),
    /// The event name is longer than [`Limits::max_event_name_bytes`].
    #[error("event name is too long")]
    EventNameTooLong,
    /// The event name is one of the [`RESERVED_EVENTS`](crate::socket::RESERVED_EVENTS).
    #[error("reserved event name")]
    ReservedEvent,
    /// A text message came where an attachment was expected.
    #[error("got plaintext data when reconstructing a packet")]
    TextInsteadOfAttachment,
    /// A binary message came that no packet had announced.
    #[error("got binary data when not reconstructing a packet")]
    UnexpectedAttachment,
}

impl From<PlaceholderError> for DecodeError {
    fn from(error: PlaceholderError) -> Self {
        match error {
            PlaceholderError::NotAnAttachment => Self::IllegalAttachments,
            PlaceholderError::NamedTwice => Self::AttachmentNamedTwice,
        }
    }
}

/// Reads the text of one Engine.IO message.
///
/// An ordinary event allocates nothing: namespace, name and arguments are slices of `text`. Only a
/// name that is written with escapes is copied.
///
/// # Errors
///
/// A [`DecodeError`]. The caller has to close the connection.
pub fn decode(text: &ByteString, revision: Revision, role: Role, limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_at(text, 0, revision, role, limits)
}

/// Does what [`decode`] does for a packet that begins at byte `at` of its text.
#[inline]
pub(crate) fn decode_at(
    text: &ByteString,
    at: usize,
    revision: Revision,
    role: Role,
    limits: &Limits,
) -> Result<Decoded, DecodeError> {
    let kind = *text.as_bytes().get(at).ok_or(DecodeError::Empty)?;
    // Behind a byte that is not ASCII, no text begins.
    let rest = text.get(at.saturating_add(1)..);
    let packet = Reader {
        rest: rest.ok_or(DecodeError::UnknownType)?,
        text,
        revision,
        limits,
        controls: Controls::Unknown,
    };
    match kind {
        b'0' => packet.connect().map(Decoded::Packet),
        b'1' => packet.disconnect().map(Decoded::Packet),
        b'2' => packet.event(None),
        b'3' => packet.ack_of_any_revision(),
        b'4' if role == Role::Server => Err(DecodeError::ConnectErrorFromClient),
        b'4' => packet.connect_error().map(Decoded::Packet),
        b'5' => packet.binary_event(),
        b'6' => packet.binary_ack(),
        _ => Err(DecodeError::UnknownType),
    }
}

/// The index of the first wrong byte in the JSON of a packet that [`decode`] has refused with
/// [`InvalidJson`](DecodeError::InvalidJson). It is for messages to people, and reads the text
/// again.
#[must_use]
pub fn stops_at(text: &str, limits: &Limits) -> usize {
    let mut rest = text.get(1..).unwrap_or_default();
    let (_, behind) = split_digits(rest);
    rest = behind.strip_prefix('-').unwrap_or(rest);
    if rest.starts_with('/') {
        rest = rest.split_once(',').map_or("", |(_, rest)| rest);
    }
    (_, rest) = split_digits(rest);
    let before = text.len().saturating_sub(rest.len());
    before.saturating_add(json::stops_at(rest, limits.max_depth))
}

/// In names of this length, an escape is searched byte by byte.
const SHORT_NAME: usize = 24;

/// The text of a packet and the position up to which it has been read.
struct Reader<'a> {
    text: &'a ByteString,
    rest: &'a str,
    revision: Revision,
    limits: &'a Limits,
    controls: Controls,
}

impl<'a> Reader<'a> {
    fn connect(mut self) -> Result<Packet, DecodeError> {
        let raw = self.raw_namespace();
        // Revision 5 sends credentials as payload, and a `?` is a part of the namespace.
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) if self.revision < Revision::Five => (path, Some(query)),
            _ => (raw, None),
        };
        let namespace = self.namespace(path)?;
        if query.is_some_and(|query| query.len() > self.limits.max_query_bytes) {
            return Err(DecodeError::QueryTooLong);
        }
        let payload = match self.rest.as_bytes().first() {
            None => None,
            Some(b'{') => Some(self.payload()?),
            Some(_) => return Err(DecodeError::InvalidPayload),
        };
        Ok(Packet::Connect {
            namespace,
            query: query.map(|query| self.text.slice_ref(query)),
            payload,
        })
    }

    fn disconnect(mut self) -> Result<Packet, DecodeError> {
        let raw = self.raw_namespace();
        if !self.rest.is_empty() {
            return Err(DecodeError::InvalidPayload);
        }
        Ok(Packet::Disconnect {
            namespace: self.namespace(raw)?,
        })
    }

    fn connect_error(mut self) -> Result<Packet, DecodeError> {
        let raw = self.raw_namespace();
        let namespace = self.namespace(raw)?;
        if self.revision == Revision::Five && !self.rest.starts_with(['{', '"']) {
            return Err(DecodeError::InvalidPayload);
        }
        Ok(Packet::ConnectError {
            namespace,
            payload: self.payload()?,
        })
    }

    fn event(self, attachments: Option<usize>) -> Result<Decoded, DecodeError> {
        let text = self.text;
        Ok(complete_or_partial(self.event_parts()?.packet(text), attachments))
    }

    #[inline]
    fn event_parts(mut self) -> Result<EventParts<'a>, DecodeError> {
        let raw = self.raw_namespace();
        let namespace = self.allowed(raw)?;
        let id = self.id()?;
        let array = self.array()?;
        Ok(EventParts {
            namespace,
            name: self.event_name(array.first)?,
            id,
            args: array.rest,
        })
    }

    fn ack(mut self, attachments: Option<usize>) -> Result<Decoded, DecodeError> {
        let raw = self.raw_namespace();
        let namespace = self.namespace(raw)?;
        let id = self.id()?;
        if self.rest.is_empty() && attachments.is_none() {
            return Ok(Decoded::Nothing);
        }
        let array = self.array()?;
        let Some(id) = id else {
            return match attachments {
                None => Ok(Decoded::Nothing),
                Some(_) => Err(DecodeError::MissingId),
            };
        };
        let args = Args::from(crate::keep::slice_of(self.text, array.elements));
        Ok(complete_or_partial(Packet::Ack { namespace, id, args }, attachments))
    }

    /// Type 3. In revision 3 every acknowledgement announces its attachments, even if there are
    /// none. In other revisions an id is never followed by `-`, so one rule serves both older
    /// revisions.
    fn ack_of_any_revision(mut self) -> Result<Decoded, DecodeError> {
        let (digits, behind) = split_digits(self.rest);
        if self.revision == Revision::Five || digits.is_empty() || !behind.starts_with('-') {
            return self.ack(None);
        }
        let attachments = self.attachments()?;
        self.ack((attachments > 0).then_some(attachments))
    }

    fn binary_event(mut self) -> Result<Decoded, DecodeError> {
        let attachments = self.at_least_one_attachment()?;
        self.event(Some(attachments))
    }

    fn binary_ack(mut self) -> Result<Decoded, DecodeError> {
        let attachments = self.at_least_one_attachment()?;
        self.ack(Some(attachments))
    }

    fn at_least_one_attachment(&mut self) -> Result<usize, DecodeError> {
        match self.attachments()? {
            0 => Err(DecodeError::IllegalAttachments),
            attachments => Ok(attachments),
        }
    }

    /// Takes `1*DIGIT "-"`.
    fn attachments(&mut self) -> Result<usize, DecodeError> {
        let (digits, behind) = split_digits(self.rest);
        let Some(rest) = behind.strip_prefix('-') else {
            return Err(DecodeError::IllegalAttachments);
        };
        if digits.is_empty() {
            return Err(DecodeError::IllegalAttachments);
        }
        self.rest = rest;
        match digits.parse() {
            Ok(attachments) if attachments <= self.limits.max_attachments => Ok(attachments),
            _ => Err(DecodeError::TooManyAttachments),
        }
    }

    /// Takes the namespace and its comma. 1.x leaves the comma out at the end of a packet.
    fn raw_namespace(&mut self) -> &'a str {
        if !self.rest.starts_with('/') {
            return "/";
        }
        let end = memchr::memchr(b',', self.rest.as_bytes());
        let (raw, behind) = end
            .and_then(|comma| self.rest.split_at_checked(comma))
            .unwrap_or((self.rest, ""));
        step!(bulk raw.len());
        self.rest = behind.get(1..).unwrap_or_default(); // without the comma
        raw
    }

    fn namespace(&self, path: &'a str) -> Result<ByteString, DecodeError> {
        Ok(shared_namespace(self.text, self.allowed(path)?))
    }

    /// Checks the length of a namespace.
    #[inline]
    fn allowed(&self, path: &'a str) -> Result<&'a str, DecodeError> {
        match path == "/" || path.len() <= self.limits.max_namespace_bytes {
            true => Ok(path),
            false => Err(DecodeError::NamespaceTooLong),
        }
    }

    /// Takes the id, if there is one.
    fn id(&mut self) -> Result<Option<u64>, DecodeError> {
        let (digits, behind) = split_digits(self.rest);
        if digits.is_empty() {
            return Ok(None);
        }
        self.rest = behind;
        digits.parse().map(Some).map_err(|_| DecodeError::IdTooLarge)
    }

    /// Reads the rest as a JSON array.
    fn array(&self) -> Result<json::Array<'a>, DecodeError> {
        if !self.rest.starts_with('[') {
            return Err(DecodeError::InvalidPayload);
        }
        Ok(json::scan_array_knowing(
            self.rest,
            self.limits.max_depth,
            self.controls,
        )?)
    }

    /// Reads the rest as one JSON value.
    fn payload(&self) -> Result<ByteString, DecodeError> {
        json::validate(self.rest, self.limits.max_depth)?;
        Ok(self.text.slice_ref(self.rest.trim_ascii()))
    }

    /// The text of an event name that is given as JSON. It is a string, or a number from old native
    /// clients.
    #[inline]
    fn event_name(&self, json: &'a str) -> Result<Cow<'a, str>, DecodeError> {
        let name = match json.as_bytes().first() {
            // Most names are short, and written without escapes.
            Some(b'"') if json.len() <= SHORT_NAME && !json.as_bytes().contains(&b'\\') => {
                Cow::Borrowed(json.get(1..json.len().saturating_sub(1)).unwrap_or_default())
            }
            Some(b'"') => json::unescape(json),
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(json),
            _ => return Err(DecodeError::InvalidPayload),
        };
        if name.len() > self.limits.max_event_name_bytes {
            Err(DecodeError::EventNameTooLong)
        } else if is_reserved_event(&name) {
            Err(DecodeError::ReservedEvent)
        } else {
            Ok(name)
        }
    }
}

/// Reads an event without attachments, whose type stands at byte `at` of the text. `controls` says
/// what is known of the text.
#[inline]
pub(crate) fn event_at<'a>(
    text: &'a ByteString,
    at: usize,
    revision: Revision,
    controls: Controls,
    limits: &'a Limits,
) -> Result<EventParts<'a>, DecodeError> {
    debug_assert_eq!(text.as_bytes().get(at), Some(&b'2'), "the caller looks before");
    let rest = text.get(at.saturating_add(1)..).ok_or(DecodeError::Empty)?;
    let packet = Reader {
        text,
        rest,
        revision,
        limits,
        controls,
    };
    packet.event_parts()
}

fn complete_or_partial(packet: Packet, attachments: Option<usize>) -> Decoded {
    match attachments {
        None => Decoded::Packet(packet),
        Some(attachments) => Decoded::Partial(Partial { packet, attachments }),
    }
}

/// The digits at the beginning of a text, and what follows them.
fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit());
    end.and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn read(text: &str, revision: Revision, role: Role) -> Result<Decoded, DecodeError> {
        decode(&ByteString::from(text), revision, role, &Limits::default())
    }

    fn packet(text: &str, revision: Revision) -> Packet {
        match read(text, revision, Role::Client) {
            Ok(Decoded::Packet(packet)) => packet,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn is_slice_of(part: &ByteString, whole: &ByteString) -> bool {
        whole.as_bytes().as_ptr_range().contains(&part.as_bytes().as_ptr())
    }

    #[test]
    fn an_event_is_slices_of_its_text() {
        let text = ByteString::from(String::from(r#"2/admin,12["chat",{"text":"hi"},1]"#));
        let decoded = decode(&text, Revision::Five, Role::Server, &Limits::default());
        let Ok(Decoded::Packet(Packet::Event {
            namespace,
            name,
            id,
            args,
        })) = decoded
        else {
            panic!("{decoded:?}");
        };
        assert_eq!((&*namespace, &*name, id), ("/admin", "chat", Some(12)));
        assert_eq!(&*args.json, r#"{"text":"hi"},1"#);
        assert!(
            [&namespace, &name, &args.json]
                .into_iter()
                .all(|part| is_slice_of(part, &text))
        );
    }

    #[test]
    fn event_names() {
        for (text, expected) in [
            (r#"2["foo"]"#, "foo"),
            ("2[5]", "5"),
            ("2[-1.5,1]", "-1.5"),
            (r#"2[""]"#, ""),
            (r#"2["error","x"]"#, "error"),
            (r#"2["connection","x"]"#, "connection"),
            (r#"2["__proto__","x"]"#, "__proto__"),
            (r#"2["hasOwnProperty","x"]"#, "hasOwnProperty"),
            (r#"2["\u00e9\n\ud800"]"#, "é\n\u{fffd}"),
        ] {
            for revision in [Revision::Three, Revision::Four, Revision::Five] {
                let Packet::Event { name, .. } = packet(text, revision) else {
                    panic!("{text}");
                };
                assert_eq!(name, expected, "{text}");
            }
        }
    }

    #[test]
    fn reserved_names_in_any_spelling() {
        for name in crate::socket::RESERVED_EVENTS {
            for role in [Role::Server, Role::Client] {
                for revision in [Revision::Three, Revision::Four, Revision::Five] {
                    let refused = Err(DecodeError::ReservedEvent);
                    assert_eq!(read(&alloc::format!("2[\"{name}\",\"x\"]"), revision, role), refused);
                    assert_eq!(read(&alloc::format!("51-[\"{name}\"]"), revision, role), refused);
                }
            }
        }
        let refused = Err(DecodeError::ReservedEvent);
        assert_eq!(read(r#"2["dis\u0063onnect"]"#, Revision::Five, Role::Server), refused);
    }

    #[test]
    fn connect_with_query() {
        let connect = |namespace: &'static str, query: Option<&'static str>| Packet::Connect {
            namespace: ByteString::from_static(namespace),
            query: query.map(ByteString::from_static),
            payload: None,
        };
        for (text, four, five) in [
            ("0", connect("/", None), connect("/", None)),
            ("0/", connect("/", None), connect("/", None)),
            ("0/,", connect("/", None), connect("/", None)),
            ("0/admin", connect("/admin", None), connect("/admin", None)),
            ("0/admin,", connect("/admin", None), connect("/admin", None)),
            (
                "0/admin?token=t0ken,",
                connect("/admin", Some("token=t0ken")),
                connect("/admin?token=t0ken", None),
            ),
            ("0/a?x=1?y", connect("/a", Some("x=1?y")), connect("/a?x=1?y", None)),
            ("0/a?,", connect("/a", Some("")), connect("/a?", None)),
            ("0/?x=1,", connect("/", Some("x=1")), connect("/?x=1", None)),
        ] {
            assert_eq!(packet(text, Revision::Three), four, "{text}");
            assert_eq!(packet(text, Revision::Four), four, "{text}");
            assert_eq!(packet(text, Revision::Five), five, "{text}");
        }
    }

    #[test]
    fn refusals() {
        let invalid = |error| Err(DecodeError::InvalidJson(error));
        let payload = |payload: &'static str| Ok(ByteString::from_static(payload));
        for (text, four, five) in [
            (
                r#"4{"message":"x"}"#,
                payload(r#"{"message":"x"}"#),
                payload(r#"{"message":"x"}"#),
            ),
            (
                r#"4/nope,"Invalid namespace""#,
                payload(r#""Invalid namespace""#),
                payload(r#""Invalid namespace""#),
            ),
            ("4/a,12", payload("12"), Err(DecodeError::InvalidPayload)),
            ("4/a,[1]", payload("[1]"), Err(DecodeError::InvalidPayload)),
            ("4/a,null ", payload("null"), Err(DecodeError::InvalidPayload)),
            ("4", invalid(JsonError::UnexpectedEnd), Err(DecodeError::InvalidPayload)),
            (
                "4{",
                invalid(JsonError::UnexpectedEnd),
                invalid(JsonError::UnexpectedEnd),
            ),
        ] {
            for (revision, expected) in [(Revision::Four, four), (Revision::Five, five)] {
                let got = read(text, revision, Role::Client).map(|decoded| match decoded {
                    Decoded::Packet(Packet::ConnectError { payload, .. }) => payload,
                    other => panic!("{text}: {other:?}"),
                });
                assert_eq!(got, expected, "{text}");
                let refused = Err(DecodeError::ConnectErrorFromClient);
                assert_eq!(read(text, revision, Role::Server), refused);
            }
        }
    }

    #[test]
    fn acks_of_revision_3() {
        for revision in [Revision::Three, Revision::Four] {
            let Packet::Ack { id, args, .. } = packet(r#"30-1["x"]"#, revision) else {
                panic!("no ack");
            };
            assert_eq!((id, &*args.json), (1, r#""x""#));
            let Ok(Decoded::Partial(partial)) = read(r#"32-/admin,7[1]"#, revision, Role::Server) else {
                panic!("no partial ack");
            };
            assert_eq!((partial.attachments(), &**partial.packet().namespace()), (2, "/admin"));
            assert_eq!(read("30-[1]", revision, Role::Server), Ok(Decoded::Nothing));
            assert_eq!(read("31-[1]", revision, Role::Server), Err(DecodeError::MissingId));
            assert_eq!(
                read("311-1[1]", revision, Role::Server),
                Err(DecodeError::TooManyAttachments)
            );
        }
        let refused = Err(DecodeError::InvalidPayload);
        assert_eq!(read(r#"30-1["x"]"#, Revision::Five, Role::Server), refused);
    }

    #[test]
    fn every_limit() {
        let limits = Limits {
            max_attachments: 2,
            max_depth: 2,
            max_namespace_bytes: 4,
            max_event_name_bytes: 3,
            ..Limits::default()
        };
        for (text, expected) in [
            (r#"52-["m"]"#, None),
            (r#"53-["m"]"#, Some(DecodeError::TooManyAttachments)),
            (r#"2["m",[]]"#, None),
            (r#"2["m",[[]]]"#, Some(DecodeError::InvalidJson(JsonError::TooDeep))),
            (r#"0{"a":{}}"#, None),
            (r#"0{"a":[{}]}"#, Some(DecodeError::InvalidJson(JsonError::TooDeep))),
            (r#"2/abc,["m"]"#, None),
            (r#"2/abcd,["m"]"#, Some(DecodeError::NamespaceTooLong)),
            ("0/abc?a-long-query,", None),
            (r#"2["abc"]"#, None),
            (r#"2["abcd"]"#, Some(DecodeError::EventNameTooLong)),
            ("2[1234]", Some(DecodeError::EventNameTooLong)),
            (r#"218446744073709551615["m"]"#, None),
            (r#"218446744073709551616["m"]"#, Some(DecodeError::IdTooLarge)),
        ] {
            let got = decode(&ByteString::from(text), Revision::Four, Role::Server, &limits);
            assert_eq!(got.err(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text: String, server: bool) {
            let role = if server { Role::Server } else { Role::Client };
            for revision in [Revision::Three, Revision::Four, Revision::Five] {
                let _ = read(&text, revision, role);
            }
        }

        #[test]
        fn any_text_like_a_packet_is_taken_or_refused(
            text in "[0-7]([0-9]{0,3}-)?(/[a-zé?]{0,3},?)?[0-9]{0,22}[\\[{]?[\\[\\]{}\",:\\\\0-9a-zé ]{0,12}[\\]}]?",
        ) {
            for revision in [Revision::Three, Revision::Four, Revision::Five] {
                for role in [Role::Server, Role::Client] {
                    if let Ok(Decoded::Packet(Packet::Event { args, .. })) = read(&text, revision, role) {
                        prop_assert_eq!(serde_json::from_str::<alloc::vec::Vec<serde::de::IgnoredAny>>(
                            &alloc::format!("[{}]", args.json)).unwrap().len(), args.len());
                    }
                }
            }
        }
    }
}
