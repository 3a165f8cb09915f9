//! Messages of the server as packets for clients of 0.7-0.9 (docs/protocol/legacy-0.9.md §4).
//! [`values`] writes the packets. Here is what a message may cost.

use bytes::BytesMut;

use crate::json;
use crate::legacy::legacy09::values;
use crate::server::Message;

/// Bytes around name and arguments: the header of the frame,
/// `5:ID+:ENDPOINT:{"name":NAME,"args":[ARGS]}`.
const AROUND_PACKET: usize = 64;

/// The length of `{"base64":""}`.
const AROUND_BASE64: usize = 13;

/// Whether the packet of a message fits into `max` bytes, including its frame. Nothing is written
/// to find this out. Only a message that might not fit, or that has attachments, is read through.
///
/// A byte of the name becomes up to 6 bytes, and a byte of the JSON up to 2. Bytes become base64 as
/// often as a placeholder names them.
pub(super) fn fits(message: &Message, max: usize) -> bool {
    let args = &message.args;
    let name = message.name.as_deref().unwrap_or_default();
    let given = message.namespace.len() + AROUND_PACKET;
    if args.attachments.is_empty() && given + 6 * name.len() + 2 * args.json.len() <= max {
        return true;
    }
    let breaks = args.json.matches(['\u{2028}', '\u{2029}']).count();
    let mut bytes = given + json::string_len(name) + args.json.len() + 3 * breaks;
    if !args.attachments.is_empty() {
        json::each_placeholder(&args.json, |number| {
            let attachment = number.and_then(|number| args.attachments.get(number));
            bytes += attachment.map_or(0, |bytes| bytes.len().div_ceil(3) * 4) + AROUND_BASE64;
            bytes <= max
        });
    }
    bytes <= max
}

/// Writes a message. It writes nothing if this wire cannot name the message's namespace; no client
/// of this generation can be in such a namespace.
pub(super) fn write(message: &Message, line_breaks_as_json: bool, out: &mut BytesMut) {
    if message.namespace.contains(':') {
        return;
    }
    let packet = match &message.name {
        None => values::answer(&message.namespace, message.id.unwrap_or_default(), &message.args),
        Some(name) => values::event(&message.namespace, name, message.id, &message.args, line_breaks_as_json),
    };
    packet.encode(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Args;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use bytes::Bytes;
    use bytestring::ByteString;

    fn written(message: &Message) -> String {
        let mut out = BytesMut::new();
        write(message, false, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Hardening B12.
    #[test]
    fn a_line_break_is_text_unless_the_operator_has_clients_that_cannot_read_it() {
        for (json, text, as_json) in [
            ("\"a\\nb\"", "3:::a\nb", "4:::\"a\\nb\""),
            ("\"a\\r\\n\"", "3:::a\r\n", "4:::\"a\\r\\n\""),
            ("\"\u{2028}\"", "3:::\u{2028}", "4:::\"\\u2028\""),
            ("\"a b\"", "3:::a b", "3:::a b"),
        ] {
            let message = Message::event("/".into(), "message".into(), args(json), None);
            for (line_breaks_as_json, expected) in [(false, text), (true, as_json)] {
                let mut out = BytesMut::new();
                write(&message, line_breaks_as_json, &mut out);
                assert_eq!(out, expected.as_bytes(), "{json}");
            }
        }
    }

    /// Hardening C5: the client itself acknowledges a message; its application acknowledges an
    /// event.
    #[test]
    fn who_acknowledges_is_in_the_id() {
        assert_eq!(event("/", "message", "\"tobi\"", Some(1)), "3:1::tobi");
        assert_eq!(event("/chat", "message", "{\"a\":1}", Some(2)), "4:2:/chat:{\"a\":1}");
        assert_eq!(
            event("/", "message", "1,2", Some(3)),
            "5:3+::{\"name\":\"message\",\"args\":[1,2]}"
        );
        assert_eq!(event("/", "tobi", "", Some(4)), "5:4+::{\"name\":\"tobi\"}");
    }

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

    /// The estimate allows no message that is larger when it is written, and refuses none that has
    /// 64 bytes to spare.
    #[test]
    fn the_estimate_is_never_too_small_and_rarely_too_large() {
        let long = "x".repeat(3_000);
        let quotes = "\"".repeat(300);
        let breaks = "\u{2028}".repeat(100);
        let placeholder = |number: usize| format!("{{\"_placeholder\":true,\"num\":{number}}}");
        for (name, json, attachments) in [
            ("news", format!("\"{long}\""), vec![]),
            ("message", format!("{{\"a\":\"{long}\"}}"), vec![]),
            (&*long, String::from("1"), vec![]),
            (&*quotes, String::from("1"), vec![]),
            ("news", format!("\"{breaks}\""), vec![]),
            // Nothing stands for it, because there are no bytes.
            ("news", vec![placeholder(0); 50].join(","), vec![]),
            ("news", placeholder(0), vec![3_000]),
            ("news", vec![placeholder(1); 50].join(","), vec![0, 1_000]),
        ] {
            let mut args = Args::from(ByteString::from(json));
            args.attachments = attachments.iter().map(|len| Bytes::from(vec![7; *len])).collect();
            let message = Message::event("/chat".into(), name.into(), args, Some(1_000_000));
            let mut out = BytesMut::new();
            write(&message, true, &mut out);
            let (least, written) = (least(&message), out.len());
            let name = &name[..name.len().min(10)];
            assert!(least >= written, "{name}: {least} is less than {written}");
            // A placeholder is replaced, and has about 30 bytes.
            let replaced = 32 * out.windows(8).filter(|window| window == b"\"base64\"").count();
            assert!(least <= written + 64 + replaced, "{name}: {least} for {written}");
        }
    }

    fn args(json: &'static str) -> Args {
        Args::from(ByteString::from_static(json))
    }

    fn event(namespace: &str, name: &str, json: &'static str, id: Option<u64>) -> String {
        written(&Message::event(namespace.into(), name.into(), args(json), id))
    }

    #[test]
    fn events() {
        for (namespace, name, json, id, wire) in [
            ("/", "message", "\"hi\"", None, "3:::hi"),
            ("/", "message", "\"\"", None, "3:::"),
            (
                "/",
                "message",
                "\"hello é♥😀 / \\\"q\\\"\"",
                None,
                "3:::hello é♥😀 / \"q\"",
            ),
            ("/", "message", "\"\\ud800\"", None, "4:::\"\\ud800\""),
            ("/", "message", "{\"a\":[1,\"♥\"]}", None, "4:::{\"a\":[1,\"♥\"]}"),
            ("/", "message", "null", None, "4:::null"),
            ("/chat", "message", "\"hi\"", Some(7), "3:7:/chat:hi"),
            ("/", "message", "", None, "5:::{\"name\":\"message\"}"),
            ("/", "message", "1,2", None, "5:::{\"name\":\"message\",\"args\":[1,2]}"),
            ("/", "n", "", None, "5:::{\"name\":\"n\"}"),
            (
                "/",
                "n",
                "1,\n\"a\u{2029}\"",
                None,
                "5:::{\"name\":\"n\",\"args\":[1, \"a\\u2029\"]}",
            ),
            ("/chat", "n", "[]", Some(0), "5:0+:/chat:{\"name\":\"n\",\"args\":[[]]}"),
            ("/a:b", "n", "1", None, ""),
        ] {
            assert_eq!(event(namespace, name, json, id), wire);
        }
    }

    #[test]
    fn acknowledgements() {
        let ack = |namespace: &str, json| written(&Message::ack(namespace.into(), 1, args(json)));
        assert_eq!(ack("/", ""), "6:::1");
        assert_eq!(ack("/", "\"reply\",{\"q\":1}"), "6:::1+[\"reply\",{\"q\":1}]");
        assert_eq!(ack("/chat", "\"in-chat\""), "6::/chat:1+[\"in-chat\"]");
    }

    #[test]
    fn bytes_stand_where_they_stood() {
        let binary = |name: &str, json| {
            let mut args = args(json);
            args.attachments = vec![Bytes::from_static(&[1, 2, 3, 4]), Bytes::new()];
            written(&Message::event("/".into(), name.into(), args, None))
        };
        assert_eq!(
            binary(
                "b",
                r#"{"n":1,"list":[{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]}"#
            ),
            r#"5:::{"name":"b","args":[{"n":1,"list":[{"base64":""},{"base64":"AQIDBA=="}]}]}"#
        );
        assert_eq!(
            binary("message", r#"{"_placeholder":true,"num":0}"#),
            r#"4:::{"base64":"AQIDBA=="}"#
        );
    }
}
