//! The wire of Socket.IO 0.7-0.9, "protocol revision 1": one packet (docs/protocol/legacy-0.9.md
//! §4).
//!
//! ```text
//! packet = TYPE ":" [ID ["+"]] ":" [ENDPOINT] [":" DATA]
//!
//! 1::                                 connected            5:1+::{"name":"n","args":[1]}   event, wants an answer
//! 3:::hello                           text                 6:::1+["reply"]                 the answer
//! 4::/chat:{"a":1}                    JSON, namespace      7:::1+0                         error: reason, advice
//! ```
//!
//! [`payload`] puts several packets into one HTTP body. [`handshake`] is the exchange before the
//! first packet.
//!
//! Decoding follows the "robust" column of §13: a text that is no packet is an error, which is
//! counted and ignored. It never ends the session. JSON is checked here, so that the content of a
//! packet can be passed on unchanged.
//!
//! Clients before 0.8.3 cannot read a raw LF in a packet. Only packets of type 3 can need a raw LF;
//! JSON and events never do, and all clients understand them.

pub mod handshake;
pub mod payload;
pub(crate) mod values;

use alloc::string::String;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::raw_json;
use crate::digits::put_decimal;
use crate::json;
use crate::keep::{self, Source};

/// Genuine acknowledgement ids have fewer digits.
const MAX_ID_DIGITS: usize = 20;

/// What the allocator takes for a text, in addition to its bytes, about.
const TEXT_BYTES: usize = 16;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Set if the sender wants to know whether the packet has arrived.
    pub id: Option<Id>,
    /// The namespace; empty for the default namespace. In a connect it includes a query if the
    /// client appended one: answer with exactly this text.
    pub endpoint: ByteString,
    /// The content of the packet.
    pub body: Body,
}

/// The number by which the receiver of a packet acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The digits of the id, to be sent back unchanged.
    pub digits: ByteString,
    /// `ID+`: the application answers. Without `+` the receiver answers at once, but genuine
    /// clients never answer an event without `+`.
    pub by_application: bool,
}

/// The content of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `0`: leaves a namespace, or ends the session if the endpoint is empty.
    Disconnect,
    /// `1`: joins a namespace; the server's answer is an equal packet. The value is the text in the
    /// place of data. It is usually empty, but some clients put a query there.
    Connect(ByteString),
    /// `2`: a heartbeat; the client echoes it.
    Heartbeat,
    /// `3`: text.
    Message(ByteString),
    /// `4`: a JSON value.
    Json(ByteString),
    /// `5`: an event.
    Event {
        /// Its name.
        name: ByteString,
        /// Its arguments, a JSON array.
        args: ByteString,
    },
    /// `6`: acknowledges a packet with an id.
    Ack {
        /// The digits of the id.
        id: ByteString,
        /// The answer of the application, a JSON array; `None` if it answers nothing.
        args: Option<ByteString>,
    },
    /// `7`: something was refused.
    Error {
        /// Why, if there is a number for the reason.
        reason: Option<Reason>,
        /// Whether the client should connect anew.
        reconnect: bool,
    },
    /// `8`: ends a poll when there is nothing to send.
    Noop,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `0`
    TransportNotSupported,
    /// `1`: unknown or expired session.
    ClientNotHandshaken,
    /// `2`
    Unauthorized,
}

impl Reason {
    /// The text that genuine clients show.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::TransportNotSupported => "transport not supported",
            Self::ClientNotHandshaken => "client not handshaken",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// The answer to an unknown or expired session, on every transport: the client makes a new
/// handshake.
pub const NOT_HANDSHAKEN: &str = "7:::1+0";

/// Why a text is no usable packet. Count it and ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text does not have the form of a packet.
    #[error("unparsable packet")]
    Unparsable,
    /// Its type is a digit above 8.
    #[error("unknown packet type")]
    UnknownType,
    /// Its data had to be JSON.
    #[error("invalid JSON")]
    InvalidJson,
    /// An event without a name.
    #[error("event without a name")]
    NamelessEvent,
    /// An acknowledgement without the id that it answers.
    #[error("invalid acknowledgement")]
    InvalidAck,
}

impl Packet {
    /// A packet to the default namespace that asks for no acknowledgement.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            id: None,
            endpoint: ByteString::new(),
            body,
        }
    }

    /// The endpoint without the query that some clients append to it when they connect (§11).
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.endpoint.split_once('?') {
            Some((namespace, _)) => namespace,
            None => &self.endpoint,
        }
    }

    /// Its texts.
    fn texts(&self) -> impl Iterator<Item = &ByteString> {
        let (first, second) = match &self.body {
            Body::Connect(text) | Body::Message(text) | Body::Json(text) => (Some(text), None),
            Body::Event { name, args } => (Some(name), Some(args)),
            Body::Ack { id, args } => (Some(id), args.as_ref()),
            Body::Disconnect | Body::Heartbeat | Body::Error { .. } | Body::Noop => (None, None),
        };
        let id = self.id.as_ref().map(|id| &id.digits);
        [id, Some(&self.endpoint), first, second].into_iter().flatten()
    }

    /// Number of bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        self.texts().fold(0, |bytes, text| bytes.saturating_add(text.len()))
    }

    /// About how much memory it takes in a box, with texts that have memory of their own.
    pub(crate) fn memory(&self) -> usize {
        let texts = self.texts().filter(|text| !text.is_empty());
        let texts = texts.map(|text| text.len().saturating_add(TEXT_BYTES));
        texts.fold(size_of::<Self>(), usize::saturating_add)
    }

    /// Gives its texts their own memory, as far as they are copied.
    pub(crate) fn keep(&mut self, from: Source) {
        let (first, second) = match &mut self.body {
            Body::Connect(text) | Body::Message(text) | Body::Json(text) => (Some(text), None),
            Body::Event { name, args } => (Some(name), Some(args)),
            Body::Ack { id, args } => (Some(id), args.as_mut()),
            Body::Disconnect | Body::Heartbeat | Body::Error { .. } | Body::Noop => (None, None),
        };
        let id = self.id.as_mut().map(|id| &mut id.digits);
        let texts = [id, Some(&mut self.endpoint), first, second];
        texts.into_iter().flatten().for_each(|text| from.keep_text(text));
    }

    /// Reads one packet.
    ///
    /// # Errors
    ///
    /// Says why the packet has to be ignored.
    pub fn decode(text: &ByteString) -> Result<Self, DecodeError> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().ok_or(DecodeError::Unparsable);
        let (kind, id, endpoint) = (part()?, part()?, part()?);
        let data = parts.next().map(|data| text.slice_ref(data)).unwrap_or_default();
        let &[kind @ b'0'..=b'9'] = kind.as_bytes() else {
            return Err(DecodeError::Unparsable);
        };
        let id = decode_id(text, id)?;
        let body = match kind {
            b'0' => Body::Disconnect,
            b'1' => Body::Connect(data),
            b'2' => Body::Heartbeat,
            b'3' => Body::Message(data),
            b'4' if raw_json::is_value(&data) => Body::Json(data),
            b'4' => return Err(DecodeError::InvalidJson),
            b'5' => decode_event(&data)?,
            b'6' => decode_ack(&data)?,
            b'7' => decode_error(&data),
            b'8' => Body::Noop,
            _ => return Err(DecodeError::UnknownType),
        };
        Ok(Self {
            id,
            endpoint: text.slice_ref(endpoint),
            body,
        })
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut BytesMut) {
        let id = self.id.as_ref();
        let mut head = |kind| write_head(kind, id, &self.endpoint, out);
        match &self.body {
            Body::Disconnect => head(b'0'),
            Body::Connect(query) => {
                head(b'1');
                if !query.is_empty() {
                    put_data(query, out);
                }
            }
            Body::Heartbeat => head(b'2'),
            Body::Message(text) => {
                head(b'3');
                put_data(text, out);
            }
            Body::Json(json) => {
                head(b'4');
                put_data(json, out);
            }
            Body::Event { name, args } => write_event(id, &self.endpoint, name, args, out),
            Body::Ack { id, args } => {
                head(b'6');
                put_data(id, out);
                if let Some(args) = args {
                    out.put_u8(b'+');
                    out.put_slice(args.as_bytes());
                }
            }
            Body::Error { reason, reconnect } => {
                head(b'7');
                put_error(*reason, *reconnect, out);
            }
            Body::Noop => head(b'8'),
        }
    }
}

/// Appends an event whose arguments are the JSON array `args`.
pub fn write_event(id: Option<&Id>, endpoint: &str, name: &str, args: &str, out: &mut BytesMut) {
    debug_assert!(raw_json::is_array(args), "arguments are a JSON array");
    let parts = [endpoint.len(), name.len(), args.len()];
    out.reserve(parts.into_iter().fold(48, usize::saturating_add));
    write_head(b'5', id, endpoint, out);
    out.put_slice(b":{\"name\":");
    json::write_string(out, name);
    if args != "[]" {
        out.put_slice(b",\"args\":");
        out.put_slice(args.as_bytes());
    }
    out.put_u8(b'}');
}

fn write_head(kind: u8, id: Option<&Id>, endpoint: &str, out: &mut BytesMut) {
    debug_assert!(!endpoint.contains(':'), "nothing escapes a colon in an endpoint");
    out.put_slice(&[kind, b':']);
    if let Some(id) = id {
        out.put_slice(id.digits.as_bytes());
        if id.by_application {
            out.put_u8(b'+');
        }
    }
    out.put_u8(b':');
    out.put_slice(endpoint.as_bytes());
}

fn put_data(data: &str, out: &mut BytesMut) {
    out.reserve(data.len().saturating_add(1));
    out.put_u8(b':');
    out.put_slice(data.as_bytes());
}

fn put_error(reason: Option<Reason>, reconnect: bool, out: &mut BytesMut) {
    let reason = match reason {
        None if !reconnect => return,
        None => None,
        Some(Reason::TransportNotSupported) => Some(0),
        Some(Reason::ClientNotHandshaken) => Some(1),
        Some(Reason::Unauthorized) => Some(2),
    };
    out.put_u8(b':');
    if let Some(reason) = reason {
        put_decimal(reason, out);
    }
    if reconnect {
        out.put_slice(b"+0");
    }
}

fn decode_id(text: &ByteString, id: &str) -> Result<Option<Id>, DecodeError> {
    if id.is_empty() {
        return Ok(None);
    }
    let digits = id.strip_suffix('+').unwrap_or(id);
    if !is_id(digits) {
        return Err(DecodeError::Unparsable);
    }
    Ok(Some(Id {
        digits: text.slice_ref(digits),
        by_application: digits.len() < id.len(),
    }))
}

fn is_id(digits: &str) -> bool {
    (1..=MAX_ID_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn decode_event(data: &ByteString) -> Result<Body, DecodeError> {
    let (mut name, mut args) = (None, None);
    let object = raw_json::each_member(data, |key, value| match key {
        "name" => name = Some(value),
        "args" => args = Some(value),
        _ => {}
    });
    if object.is_none() {
        let error = match raw_json::is_value(data) {
            true => DecodeError::NamelessEvent,
            false => DecodeError::InvalidJson,
        };
        return Err(error);
    }
    let name = name
        .filter(|name| name.starts_with('"'))
        .ok_or(DecodeError::NamelessEvent)?;
    let name = match raw_json::plain_string(name) {
        Some(name) => data.slice_ref(name),
        None => serde_json::from_str::<String>(name)
            .map_err(|_| DecodeError::InvalidJson)?
            .into(),
    };
    let args = match args {
        None | Some("null") => ByteString::from_static("[]"),
        Some(array) if array.starts_with('[') => keep::slice_of(data, array),
        // A value that is not an array becomes a single argument.
        Some(value) => alloc::format!("[{value}]").into(),
    };
    Ok(Body::Event { name, args })
}

fn decode_ack(data: &ByteString) -> Result<Body, DecodeError> {
    let (id, args) = match data.split_once('+') {
        Some((id, args)) => (id, Some(args).filter(|args| !args.is_empty())),
        None => (&**data, None),
    };
    if !is_id(id) {
        return Err(DecodeError::InvalidAck);
    }
    if args.is_some_and(|args| !raw_json::is_array(args)) {
        return Err(DecodeError::InvalidJson);
    }
    Ok(Body::Ack {
        id: data.slice_ref(id),
        args: args.map(|args| keep::slice_of(data, args)),
    })
}

fn decode_error(data: &str) -> Body {
    let (reason, advice) = data.split_once('+').unwrap_or((data, ""));
    Body::Error {
        reason: match reason {
            "0" => Some(Reason::TransportNotSupported),
            "1" => Some(Reason::ClientNotHandshaken),
            "2" => Some(Reason::Unauthorized),
            _ => None,
        },
        reconnect: advice == "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(digits: &str, by_application: bool) -> Option<Id> {
        Some(Id {
            digits: digits.into(),
            by_application,
        })
    }

    fn packet(id: Option<Id>, endpoint: &str, body: Body) -> Packet {
        Packet {
            id,
            endpoint: endpoint.into(),
            body,
        }
    }

    fn event(name: &str, args: &str) -> Body {
        Body::Event {
            name: name.into(),
            args: args.into(),
        }
    }

    fn ack(id: &str, args: Option<&str>) -> Body {
        Body::Ack {
            id: id.into(),
            args: args.map(ByteString::from),
        }
    }

    fn encoded(packet: &Packet) -> ByteString {
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        ByteString::try_from(out).unwrap()
    }

    /// Texts that are exactly what we write for their packet: the table of §4, and captured
    /// packets.
    #[test]
    fn packets_both_ways() {
        let error = |reason, reconnect| Body::Error { reason, reconnect };
        for (text, expected) in [
            ("0::", packet(None, "", Body::Disconnect)),
            ("0::/chat", packet(None, "/chat", Body::Disconnect)),
            ("1::", packet(None, "", Body::Connect("".into()))),
            ("1::/chat", packet(None, "/chat", Body::Connect("".into()))),
            (
                "1::/test?my=param",
                packet(None, "/test?my=param", Body::Connect("".into())),
            ),
            ("1::/chat:?x=1", packet(None, "/chat", Body::Connect("?x=1".into()))),
            ("2::", packet(None, "", Body::Heartbeat)),
            ("3:::hello", packet(None, "", Body::Message("hello".into()))),
            ("3:::", packet(None, "", Body::Message("".into()))),
            ("3:1::hi", packet(id("1", false), "", Body::Message("hi".into()))),
            ("3:1+::hi", packet(id("1", true), "", Body::Message("hi".into()))),
            ("3:::a:b\nc::", packet(None, "", Body::Message("a:b\nc::".into()))),
            (
                "4:::{\"a\":[1,\"♥\"]}",
                packet(None, "", Body::Json("{\"a\":[1,\"♥\"]}".into())),
            ),
            (
                "5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}",
                packet(id("1", true), "", event("echo", "[1,{\"x\":null}]")),
            ),
            (
                "5:::{\"name\":\"auto-acked\"}",
                packet(None, "", event("auto-acked", "[]")),
            ),
            (
                "5:1:/chat:{\"name\":\"n\"}",
                packet(id("1", false), "/chat", event("n", "[]")),
            ),
            ("6:::2", packet(None, "", ack("2", None))),
            (
                "6:::1+[\"reply\",{\"q\":1}]",
                packet(None, "", ack("1", Some("[\"reply\",{\"q\":1}]"))),
            ),
            (
                "6::/chat:1+[\"in-chat\"]",
                packet(None, "/chat", ack("1", Some("[\"in-chat\"]"))),
            ),
            (
                "7:::1+0",
                packet(None, "", error(Some(Reason::ClientNotHandshaken), true)),
            ),
            (
                "7::/admin:2",
                packet(None, "/admin", error(Some(Reason::Unauthorized), false)),
            ),
            (
                "7:::0",
                packet(None, "", error(Some(Reason::TransportNotSupported), false)),
            ),
            ("7::/nsp", packet(None, "/nsp", error(None, false))),
            ("8::", packet(None, "", Body::Noop)),
        ] {
            assert_eq!(Packet::decode(&text.into()), Ok(expected.clone()), "{text}");
            assert_eq!(encoded(&expected), text);
        }
        assert_eq!(
            encoded(&Packet::new(Body::Error {
                reason: Some(Reason::ClientNotHandshaken),
                reconnect: true
            })),
            NOT_HANDSHAKEN
        );
    }

    /// Texts of packets that we would write in another way.
    #[test]
    fn packets_one_way() {
        for (text, expected) in [
            ("0:::", packet(None, "", Body::Disconnect)),
            ("2:::", packet(None, "", Body::Heartbeat)),
            ("3::", packet(None, "", Body::Message("".into()))),
            ("6:::1+", packet(None, "", ack("1", None))),
            (
                "7::/err:undefined",
                packet(
                    None,
                    "/err",
                    Body::Error {
                        reason: None,
                        reconnect: false,
                    },
                ),
            ),
            ("5:::{\"args\":5,\"name\":\"n\"}", packet(None, "", event("n", "[5]"))),
            ("5:::{\"name\":\"n\",\"args\":null}", packet(None, "", event("n", "[]"))),
            (
                "5:::{\"name\":\"a\\nb\",\"x\":{}}",
                packet(None, "", event("a\nb", "[]")),
            ),
            (
                "5:::{\"name\":\"n\",\"args\":{\"a\":1}}",
                packet(None, "", event("n", "[{\"a\":1}]")),
            ),
            (
                "3:99999999999999999999::x",
                packet(id("99999999999999999999", false), "", Body::Message("x".into())),
            ),
        ] {
            assert_eq!(Packet::decode(&text.into()), Ok(expected), "{text}");
        }
        let query = Packet::decode(&"1::/test?my=param".into()).unwrap();
        assert_eq!(query.namespace(), "/test");
    }

    /// The table of §13.
    #[test]
    fn what_is_ignored() {
        use DecodeError::*;
        for (text, error) in [
            ("garbage", Unparsable),
            ("3", Unparsable),
            ("0", Unparsable),
            ("2", Unparsable),
            ("2:", Unparsable),
            ("", Unparsable),
            ("::::", Unparsable),
            ("xx3:::hi", Unparsable),
            (":3:::hi", Unparsable),
            ("03:::hi", Unparsable),
            ("3:x::hi", Unparsable),
            ("3:+::hi", Unparsable),
            ("3:1++::hi", Unparsable),
            ("3:-1::hi", Unparsable),
            ("3:999999999999999999999::hi", Unparsable),
            ("9:::x", UnknownType),
            ("4:::{bad", InvalidJson),
            ("4::", InvalidJson),
            ("4:::1 2", InvalidJson),
            ("5:::{bad", InvalidJson),
            ("5:::", InvalidJson),
            ("5:::null", NamelessEvent),
            ("5:::[]", NamelessEvent),
            ("5:::{}", NamelessEvent),
            ("5:::{\"name\":1}", NamelessEvent),
            ("5:::{\"name\":\"\\ud800\"}", InvalidJson),
            ("6:::x", InvalidAck),
            ("6:::", InvalidAck),
            ("6::", InvalidAck),
            ("6:::1+[bad", InvalidJson),
            ("6:::1+5", InvalidJson),
        ] {
            assert_eq!(Packet::decode(&text.into()), Err(error), "{text}");
        }
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let text = || any::<String>().prop_map(ByteString::from);
        let args = || prop::sample::select(&["[]", "[1]", "[\"a\",{\"b\":null}]"][..]).prop_map(ByteString::from);
        let reason = prop::sample::select(
            &[
                None,
                Some(Reason::TransportNotSupported),
                Some(Reason::ClientNotHandshaken),
                Some(Reason::Unauthorized),
            ][..],
        );
        let body = prop_oneof![
            Just(Body::Disconnect),
            text().prop_map(Body::Connect),
            Just(Body::Heartbeat),
            text().prop_map(Body::Message),
            args().prop_map(Body::Json),
            (text(), args()).prop_map(|(name, args)| Body::Event { name, args }),
            ("[0-9]{1,20}", prop::option::of(args())).prop_map(|(id, args)| Body::Ack { id: id.into(), args }),
            (reason, any::<bool>()).prop_map(|(reason, reconnect)| Body::Error { reason, reconnect }),
            Just(Body::Noop),
        ];
        let id = ("[0-9]{1,20}", any::<bool>()).prop_map(|(digits, by_application)| Id {
            digits: digits.into(),
            by_application,
        });
        (prop::option::of(id), "(/[^:]*)?", body).prop_map(|(id, endpoint, body)| packet(id, &endpoint, body))
    }

    proptest! {
        #[test]
        fn round_trip(packet in any_packet()) {
            prop_assert_eq!(Packet::decode(&encoded(&packet)), Ok(packet));
        }

        #[test]
        fn never_panics(text in "[0-9:+/?a{}\"\\[\\],]{0,20}", any in any::<String>()) {
            let _ = Packet::decode(&text.into());
            let _ = Packet::decode(&any.into());
        }
    }
}
