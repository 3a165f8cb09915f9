//! What messages of the server become for clients of 0.7-0.9 (docs/protocol/legacy-0.9.md §4).
//!
//! | message | packet |
//! |---|---|
//! | event `message` with one string | `3:::text` |
//! | event `message` with one other argument | `4:::json` |
//! | any other event | `5:::{"name":…,"args":[…]}` |
//! | acknowledgement | `6:::ID+[…]`, `6:::ID` without arguments |
//! | any of them, to be acknowledged | the same with `ID+` |
//!
//! Bytes become `{"base64":"…"}` where they stood. No packet has a raw line break, which clients before 0.8.3 cannot read: text that has one goes as
//! JSON, which for the client is the same event, and in JSON a line break can be blank or an escape.

use alloc::format;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::{Body, Id, Packet};
use crate::json;
use crate::server::Message;
use crate::socket::Args;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What breaks a line in the eyes of a regular expression of JavaScript.
const LINE_BREAKS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// The namespace that the wire leaves nameless.
const ROOT: &str = "/";

/// The endpoint by which the wire knows a namespace.
pub(super) fn endpoint(namespace: &str) -> &str {
    if namespace == ROOT { "" } else { namespace }
}

/// Writes a message; nothing at all if the wire has no way to name its namespace, in which no client of this generation can be then.
pub(super) fn write(message: &Message, out: &mut BytesMut) {
    if message.namespace.contains(':') {
        return;
    }
    let packet = |id, body| Packet {
        id,
        endpoint: endpoint(&message.namespace).into(),
        body,
    };
    let digits = message.id.map(|id| ByteString::from(format!("{id}")));
    let body = match &message.name {
        None => {
            let args = (!message.args.is_empty()).then(|| array(&message.args));
            let id = digits.unwrap_or_default();
            return packet(None, Body::Ack { id, args }).encode(out);
        }
        Some(name) if &**name == "message" && message.args.len() == 1 => simple(&message.args),
        Some(name) => Body::Event {
            name: name.clone(),
            args: array(&message.args),
        },
    };
    let id = digits.map(|digits| Id {
        digits,
        by_application: true,
    });
    packet(id, body).encode(out);
}

/// The event `message` with one argument.
fn simple(args: &Args) -> Body {
    let value = &*args.json;
    if value.starts_with('"') {
        let text = json::unescape(value);
        // Half a surrogate pair is something that JSON can say, and text cannot.
        let halved = text.contains('\u{fffd}') && value.contains('\\');
        if !text.contains(LINE_BREAKS) && !halved {
            return Body::Message(ByteString::from(&*text));
        }
    }
    Body::Json(line(args))
}

fn array(args: &Args) -> ByteString {
    format!("[{}]", line(args)).into()
}

/// The arguments on one line, their bytes written out.
fn line(args: &Args) -> ByteString {
    let inlined;
    let values = if args.attachments.is_empty() {
        &*args.json
    } else {
        inlined = inline(args);
        &*inlined
    };
    if !values.contains(LINE_BREAKS) {
        return values.into();
    }
    // Between values a line break is blank; inside strings JSON has only the two that it does not count as such.
    let blanked = values.replace(['\n', '\r'], " ");
    blanked
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .into()
}

fn inline(args: &Args) -> ByteString {
    let mut out = BytesMut::with_capacity(args.json.len());
    json::replace_placeholders(&mut out, &args.json, |out, number| {
        let bytes = args.attachments.get(number).map_or(&[][..], |bytes| bytes);
        out.put_slice(b"{\"base64\":\"");
        out.put_slice(STANDARD.encode(bytes).as_bytes());
        out.put_slice(b"\"}");
    });
    ByteString::try_from(out.freeze()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use bytes::Bytes;

    fn written(message: &Message) -> String {
        let mut out = BytesMut::new();
        write(message, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
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
            ("/", "message", "\"a\\nb\"", None, "4:::\"a\\nb\""),
            ("/", "message", "\"\u{2028}\"", None, "4:::\"\\u2028\""),
            ("/", "message", "\"\\ud800\"", None, "4:::\"\\ud800\""),
            ("/", "message", "{\"a\":[1,\"♥\"]}", None, "4:::{\"a\":[1,\"♥\"]}"),
            ("/", "message", "null", None, "4:::null"),
            ("/chat", "message", "\"hi\"", Some(7), "3:7+:/chat:hi"),
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
