//! From packets to text. The text is written into a buffer of the caller, and the raw JSON is
//! copied unchanged.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::digits::put_decimal;
use crate::json::{ascii_len, ascii_string_len, string_len, write_ascii, write_ascii_string, write_string};
use crate::socket::{Args, Packet, Revision};

/// Bytes around an attachment: the header of its frame, and one byte of Engine.IO 3.
pub(crate) const AROUND_ATTACHMENT: usize = 11;

/// Bytes around name and arguments: the header of the frame, the types of both protocols, count,
/// id, commas and brackets.
const AROUND_PACKET: usize = 60;

/// At most so many bytes stand around the name and the arguments of a packet for this namespace.
pub(crate) const fn bytes_around(namespace: &str) -> usize {
    namespace.len().saturating_add(AROUND_PACKET)
}

/// Writes the text part of packets. The caller sends the attachments after it, as binary messages.
///
/// The text starts with the Socket.IO packet type. The `4` of the Engine.IO message around it is
/// not written. A namespace other than `/` is always followed by its comma, which peers of every
/// revision understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoder {
    revision: Revision,
    ascii: bool,
}

impl Encoder {
    /// An encoder for peers of `revision`.
    ///
    /// For revisions before 5, the encoder escapes non-ASCII characters of the JSON, because the
    /// text dialects of Engine.IO 3 encode them differently (docs/protocol/engine-io.md §3.3); see
    /// [`ascii`](Self::ascii). Namespaces cannot be escaped.
    #[must_use]
    pub const fn new(revision: Revision) -> Self {
        Self {
            revision,
            ascii: !matches!(revision, Revision::Five),
        }
    }

    /// Chooses whether the JSON is written in ASCII only, with `\uXXXX` for everything else.
    #[must_use]
    pub const fn ascii(mut self, ascii: bool) -> Self {
        self.ascii = ascii;
        self
    }

    /// Writes the text part of any packet.
    pub fn packet(&self, out: &mut BytesMut, packet: &Packet) {
        match packet {
            Packet::Connect {
                namespace,
                query,
                payload,
            } => self.connect(out, namespace, query.as_deref(), payload.as_deref()),
            Packet::Disconnect { namespace } => self.disconnect(out, namespace),
            Packet::Event {
                namespace,
                name,
                id,
                args,
            } => self.event(out, namespace, *id, name, args),
            Packet::Ack { namespace, id, args } => self.ack(out, namespace, *id, args),
            Packet::ConnectError { namespace, payload } => self.connect_error(out, namespace, payload),
        }
    }

    /// Writes a CONNECT. `query` is for peers before revision 5; `payload` must be a JSON object.
    pub fn connect(&self, out: &mut BytesMut, namespace: &str, query: Option<&str>, payload: Option<&str>) {
        debug_assert!(
            query.is_none() || self.revision < Revision::Five,
            "no queries in revision 5"
        );
        debug_assert!(!query.unwrap_or_default().contains(','), "a comma ends the query");
        out.put_u8(b'0');
        if let Some(query) = query {
            out.extend_from_slice(namespace.as_bytes());
            out.put_u8(b'?');
            out.extend_from_slice(query.as_bytes());
            out.put_u8(b',');
        } else {
            write_namespace(out, namespace);
        }
        if let Some(payload) = payload {
            self.write_json(out, payload);
        }
    }

    /// Writes a DISCONNECT.
    pub fn disconnect(&self, out: &mut BytesMut, namespace: &str) {
        out.put_u8(b'1');
        write_namespace(out, namespace);
    }

    /// Writes an EVENT, or the header of a BINARY_EVENT when there are attachments.
    pub fn event(&self, out: &mut BytesMut, namespace: &str, id: Option<u64>, name: &str, args: &Args) {
        out.reserve(
            estimate(namespace)
                .saturating_add(name.len())
                .saturating_add(args.json.len()),
        );
        self.event_head(out, namespace, id, name, args.attachments.len());
        if !args.is_empty() {
            out.put_u8(b',');
            self.write_json(out, &args.json);
        }
        out.put_u8(b']');
    }

    /// Writes an EVENT, or the header of a BINARY_EVENT, up to its name. The arguments follow
    /// behind a comma, and then a bracket. Returns how many bytes the name takes.
    #[inline]
    pub(crate) fn event_head(
        &self,
        out: &mut BytesMut,
        namespace: &str,
        id: Option<u64>,
        name: &str,
        attachments: usize,
    ) -> usize {
        if id.is_none() && attachments == 0 && namespace == "/" && is_plain_name(name) {
            // This is the usual case: one copy.
            let mut head = [b'"'; MAX_PLAIN_NAME + 4];
            head[..2].copy_from_slice(b"2[");
            // A plain name is short, so no sum wraps.
            let end = name.len().wrapping_add(4);
            if let Some(room) = head.get_mut(3..end.wrapping_sub(1)) {
                room.copy_from_slice(name.as_bytes());
            }
            out.extend_from_slice(head.get(..end).unwrap_or_default());
            return name.len().wrapping_add(2);
        }
        if attachments == 0 {
            out.put_u8(b'2');
        } else {
            out.put_u8(b'5');
            write_attachments(out, attachments);
        }
        write_namespace(out, namespace);
        if let Some(id) = id {
            put_decimal(id, out);
        }
        out.put_u8(b'[');
        let name_at = out.len();
        if self.ascii {
            write_ascii_string(out, name);
        } else {
            write_string(out, name);
        }
        // The name was appended.
        out.len().wrapping_sub(name_at)
    }

    /// Whether the text of an event or acknowledgement and its attachments fit into `max` bytes,
    /// including the frames. Nothing is written to find this out. Only a message that might not fit
    /// is read through.
    ///
    /// The JSON is copied byte for byte. In ASCII, a byte of it becomes up to 3 bytes. A byte of
    /// the name becomes up to 6 bytes.
    pub(crate) fn fits(&self, max: usize, namespace: &str, name: &str, args: &Args) -> bool {
        let json = if self.ascii { 3 } else { 1 };
        let attachment = |bytes: &Bytes| bytes.len().saturating_add(AROUND_ATTACHMENT);
        let attachments = args.attachments.iter().map(attachment);
        let given = attachments.fold(bytes_around(namespace), usize::saturating_add);
        let most = name
            .len()
            .saturating_mul(6)
            .saturating_add(args.json.len().saturating_mul(json));
        if given.saturating_add(most) <= max {
            return true;
        }
        let spelt = match self.ascii {
            true => ascii_string_len(name).saturating_add(ascii_len(&args.json)),
            false => string_len(name).saturating_add(args.json.len()),
        };
        given.saturating_add(spelt) <= max
    }

    /// Writes an ACK, or the header of a BINARY_ACK when there are attachments.
    pub fn ack(&self, out: &mut BytesMut, namespace: &str, id: u64, args: &Args) {
        out.reserve(estimate(namespace).saturating_add(args.json.len()));
        self.ack_head(out, namespace, id, args.attachments.len());
        self.write_json(out, &args.json);
        out.put_u8(b']');
    }

    /// Writes an ACK, or the header of a BINARY_ACK, up to its opening bracket. The arguments
    /// follow, and then a bracket.
    #[inline]
    pub(crate) fn ack_head(&self, out: &mut BytesMut, namespace: &str, id: u64, attachments: usize) {
        if self.revision == Revision::Three {
            // One type serves both kinds, and the count is always written.
            out.put_u8(b'3');
            write_attachments(out, attachments);
        } else if attachments == 0 {
            out.put_u8(b'3');
        } else {
            out.put_u8(b'6');
            write_attachments(out, attachments);
        }
        write_namespace(out, namespace);
        put_decimal(id, out);
        out.put_u8(b'[');
    }

    /// Writes a CONNECT_ERROR (before revision 5: ERROR). `payload` is JSON.
    pub fn connect_error(&self, out: &mut BytesMut, namespace: &str, payload: &str) {
        out.put_u8(b'4');
        write_namespace(out, namespace);
        self.write_json(out, payload);
    }

    /// Whether the JSON of arguments is copied unchanged.
    pub(crate) fn copies(&self, json: &[u8]) -> bool {
        !self.ascii || json.is_ascii()
    }

    fn write_json(&self, out: &mut BytesMut, json: &str) {
        if self.ascii {
            write_ascii(out, json);
        } else {
            out.extend_from_slice(json.as_bytes());
        }
    }
}

/// About how many bytes stand around the name and the arguments of a packet: namespace, type,
/// count, id, brackets, quotes.
const fn estimate(namespace: &str) -> usize {
    namespace.len().saturating_add(32)
}

/// The longest name that is looked at by [`is_plain_name`].
pub(crate) const MAX_PLAIN_NAME: usize = 28;

/// Whether a name is short and in ASCII, and needs no escapes in any revision.
#[inline]
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    name.len() <= MAX_PLAIN_NAME && name.bytes().fold(true, |all, byte| all & is_plain(byte))
}

fn write_namespace(out: &mut BytesMut, namespace: &str) {
    debug_assert!(
        namespace.starts_with('/') && !namespace.contains(','),
        "the text form cannot carry {namespace:?}"
    );
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.put_u8(b',');
    }
}

fn write_attachments(out: &mut BytesMut, attachments: usize) {
    put_decimal(attachments as u64, out);
    out.put_u8(b'-');
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::socket::Role;
    use crate::socket::text::Limits;
    use crate::wire::Reassembly;
    use alloc::string::String;
    use alloc::vec::Vec;
    use bytestring::ByteString;
    use proptest::prelude::*;

    fn encoded(encoder: Encoder, packet: &Packet) -> String {
        let mut out = BytesMut::new();
        encoder.packet(&mut out, packet);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// The packet that the other end reads from a text and the attachments after it.
    fn received(text: &str, attachments: &[Bytes], revision: Revision) -> Option<Packet> {
        let mut reassembly = Reassembly::new();
        let limits = Limits::default();
        let mut packet = reassembly
            .handle_text(ByteString::from(text), revision, Role::Client, &limits)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        for attachment in attachments {
            assert_eq!(packet, None);
            packet = reassembly.handle_binary(attachment.clone(), &limits).unwrap();
        }
        packet
    }

    /// Short names in ASCII are copied, and all others are escaped.
    #[test]
    fn names_of_every_length_and_character() {
        let names = (0..40).map(|len| "x".repeat(len));
        let special = (0..=0x250).filter_map(char::from_u32).map(|c| alloc::format!("a{c}b"));
        for name in names.chain(special) {
            for encoder in [Encoder::new(Revision::Four), Encoder::new(Revision::Five)] {
                let (mut head, mut literal) = (BytesMut::new(), BytesMut::new());
                let len = encoder.event_head(&mut head, "/", None, &name, 0);
                match encoder.ascii {
                    true => write_ascii_string(&mut literal, &name),
                    false => write_string(&mut literal, &name),
                }
                assert_eq!((len, &head[..2], &head[2..]), (literal.len(), &b"2["[..], &literal[..]));
            }
        }
    }

    fn connect(namespace: &'static str, payload: Option<&'static str>) -> Packet {
        Packet::Connect {
            namespace: namespace.into(),
            query: None,
            payload: payload.map(ByteString::from_static),
        }
    }

    fn disconnect(namespace: &'static str) -> Packet {
        Packet::Disconnect {
            namespace: namespace.into(),
        }
    }

    fn args(json: &'static str, attachments: &[&'static [u8]]) -> Args {
        Args {
            json: json.into(),
            attachments: attachments.iter().map(|&bytes| Bytes::from_static(bytes)).collect(),
            ..Default::default()
        }
    }

    fn event(namespace: &'static str, id: Option<u64>, name: &'static str, args: Args) -> Packet {
        Packet::Event {
            namespace: namespace.into(),
            name: name.into(),
            id,
            args,
        }
    }

    fn ack(namespace: &'static str, id: u64, args: Args) -> Packet {
        Packet::Ack {
            namespace: namespace.into(),
            id,
            args,
        }
    }

    fn connect_error(namespace: &'static str, payload: &'static str) -> Packet {
        Packet::ConnectError {
            namespace: namespace.into(),
            payload: payload.into(),
        }
    }

    /// The cases of the captured vectors (`sio_parser_3_4`, `sio_parser_4_2`) and the examples of
    /// docs/protocol/socket-io.md §2, in both directions.
    #[test]
    fn packets_of_revisions_4_and_5() {
        for (packet, text) in [
            (connect("/", None), "0"),
            (connect("/admin", None), "0/admin,"),
            (connect("/admin", Some(r#"{"token":"a"}"#)), r#"0/admin,{"token":"a"}"#),
            (disconnect("/"), "1"),
            (disconnect("/admin"), "1/admin,"),
            (
                event("/", None, "e", args(r#"1,null,{"a":"é"}"#, &[])),
                r#"2["e",1,null,{"a":"é"}]"#,
            ),
            (event("/admin", Some(12), "e", args("", &[])), r#"2/admin,12["e"]"#),
            (ack("/", 0, args("", &[])), "30[]"),
            (ack("/admin", 456, args(r#""x""#, &[])), r#"3/admin,456["x"]"#),
            (connect_error("/", r#"{"message":"no"}"#), r#"4{"message":"no"}"#),
            (connect_error("/a", r#""text""#), r#"4/a,"text""#),
            (
                event("/", None, "b", args(r#"{"_placeholder":true,"num":0}"#, &[&[1]])),
                r#"51-["b",{"_placeholder":true,"num":0}]"#,
            ),
            (
                event(
                    "/admin",
                    Some(7),
                    "b",
                    args(
                        r#"{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}"#,
                        &[&[1], &[2]],
                    ),
                ),
                r#"52-/admin,7["b",{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]"#,
            ),
            (
                ack("/", 1, args(r#"{"_placeholder":true,"num":0}"#, &[&[3]])),
                r#"61-1[{"_placeholder":true,"num":0}]"#,
            ),
            // §2
            (connect("/", Some(r#"{"token":"123"}"#)), r#"0{"token":"123"}"#),
            (
                connect("/", Some(r#"{"sid":"L0g-…","pid":"d5ga…"}"#)),
                r#"0{"sid":"L0g-…","pid":"d5ga…"}"#,
            ),
            (
                connect_error("/", r#"{"message":"Not authorized","data":{"code":"E1"}}"#),
                r#"4{"message":"Not authorized","data":{"code":"E1"}}"#,
            ),
            (
                connect_error("/denied", r#"{"code":"E1"}"#),
                r#"4/denied,{"code":"E1"}"#,
            ),
            (
                connect_error("/nope", r#""Invalid namespace""#),
                r#"4/nope,"Invalid namespace""#,
            ),
            (event("/", None, "foo", args("", &[])), r#"2["foo"]"#),
            (
                event("/", Some(u64::MAX), "", args("[]", &[])),
                r#"218446744073709551615["",[]]"#,
            ),
            (event("/é", None, "\"\n", args("", &[])), r#"2/é,["\"\n"]"#),
        ] {
            for revision in [Revision::Four, Revision::Five] {
                assert_eq!(encoded(Encoder::new(revision).ascii(false), &packet), text);
                let attachments = match &packet {
                    Packet::Event { args, .. } | Packet::Ack { args, .. } => &args.attachments[..],
                    Packet::Connect { .. } | Packet::Disconnect { .. } | Packet::ConnectError { .. } => &[],
                };
                assert_eq!(received(text, attachments, revision), Some(packet.clone()), "{text}");
            }
        }
    }

    /// The captured vectors of `sio_parser_2_3` that differ: they have no comma at the end.
    #[test]
    fn namespaces_without_comma_are_understood() {
        for revision in [Revision::Three, Revision::Four, Revision::Five] {
            assert_eq!(received("0/admin", &[], revision), Some(connect("/admin", None)));
            assert_eq!(received("1/admin", &[], revision), Some(disconnect("/admin")));
        }
    }

    #[test]
    fn acks_of_revision_3_announce_their_attachments() {
        let three = Encoder::new(Revision::Three);
        let plain = ack("/", 1, args(r#""x""#, &[]));
        assert_eq!(encoded(three, &plain), r#"30-1["x"]"#);
        assert_eq!(received(r#"30-1["x"]"#, &[], Revision::Three), Some(plain));
        let binary = ack("/admin", 1, args(r#"{"_placeholder":true,"num":0}"#, &[b"x"]));
        assert_eq!(encoded(three, &binary), r#"31-/admin,1[{"_placeholder":true,"num":0}]"#);
    }

    #[test]
    fn queries_follow_the_namespace_in_revision_4() {
        let packet = Packet::Connect {
            namespace: "/admin".into(),
            query: Some("token=t0ken".into()),
            payload: None,
        };
        assert_eq!(encoded(Encoder::new(Revision::Four), &packet), "0/admin?token=t0ken,");
        assert_eq!(received("0/admin?token=t0ken,", &[], Revision::Four), Some(packet));
    }

    #[test]
    fn before_revision_5_json_is_ascii() {
        let packet = event("/", Some(1), "naïve", args(r#""€😀","plain""#, &[]));
        let escaped = r#"21["na\u00efve","\u20ac\ud83d\ude00","plain"]"#;
        assert_eq!(encoded(Encoder::new(Revision::Four), &packet), escaped);
        assert_eq!(encoded(Encoder::new(Revision::Five).ascii(true), &packet), escaped);
        assert_eq!(
            encoded(Encoder::new(Revision::Five), &packet),
            r#"21["naïve","€😀","plain"]"#
        );
        let error = connect_error("/", r#"{"message":"é"}"#);
        assert_eq!(
            encoded(Encoder::new(Revision::Four), &error),
            r#"4{"message":"\u00e9"}"#
        );
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let namespace = prop_oneof![Just(String::from("/")), "/[a-zé#\\[\"0-9]{0,6}"].prop_map(ByteString::from);
        let json = prop_oneof![
            Just(String::from("null")),
            any::<f64>().prop_map(|n| serde_json::to_string(&n).unwrap()),
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
            any::<Vec<(String, bool)>>().prop_map(|v| serde_json::to_string(&v).unwrap()),
        ];
        let object = any::<String>().prop_map(|s| alloc::format!("{{\"a\":{}}}", serde_json::to_string(&s).unwrap()));
        let object = object.prop_map(ByteString::from);
        let attachments = proptest::collection::vec(any::<Vec<u8>>().prop_map(Bytes::from), 0..4);
        let args = (proptest::collection::vec(json, 0..4), attachments).prop_map(|(mut json, attachments)| {
            for num in 0..attachments.len() {
                json.push(alloc::format!(r#"{{"_placeholder":true,"num":{num}}}"#));
            }
            Args {
                json: ByteString::from(json.join(",")),
                attachments,
                ..Default::default()
            }
        });
        let name = any::<String>().prop_filter("reserved or long", |name| {
            name.len() < 1000 && !crate::socket::is_reserved_event(name)
        });
        prop_oneof![
            (namespace.clone(), proptest::option::of(object.clone())).prop_map(|(namespace, payload)| {
                Packet::Connect {
                    namespace,
                    query: None,
                    payload,
                }
            }),
            namespace.clone().prop_map(|namespace| Packet::Disconnect { namespace }),
            (namespace.clone(), name, any::<Option<u64>>(), args.clone()).prop_map(|(namespace, name, id, args)| {
                Packet::Event {
                    namespace,
                    name: ByteString::from(name),
                    id,
                    args,
                }
            }),
            (namespace.clone(), any::<u64>(), args).prop_map(|(namespace, id, args)| Packet::Ack {
                namespace,
                id,
                args
            }),
            (namespace, object).prop_map(|(namespace, payload)| Packet::ConnectError { namespace, payload }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(packet in any_packet()) {
            for revision in [Revision::Three, Revision::Four, Revision::Five] {
                for ascii in [false, true] {
                    let text = encoded(Encoder::new(revision).ascii(ascii), &packet);
                    let attachments = match &packet {
                        Packet::Event { args, .. } | Packet::Ack { args, .. } => &args.attachments[..],
                        Packet::Connect { .. } | Packet::Disconnect { .. } | Packet::ConnectError { .. } => &[],
                    };
                    let mut got = received(&text, attachments, revision).unwrap();
                    if ascii {
                        // The meaning is the same, in another spelling. Writing it once more
                        // changes nothing.
                        let again = encoded(Encoder::new(revision).ascii(true), &got);
                        prop_assert_eq!(&again, &text);
                        got = packet.clone();
                    }
                    prop_assert_eq!(&got, &packet);
                }
            }
        }
    }
}
