//! Events and acknowledgements as packets, and the content of packets as arguments, for both ends
//! (docs/protocol/legacy-0.9.md §4).
//!
//! | value | packet |
//! |---|---|
//! | event `message` with one string | `3:::text` |
//! | event `message` with one other argument | `4:::json` |
//! | any other event | `5:::{"name":…,"args":[…]}` |
//! | acknowledgement | `6:::ID+[…]`, `6:::ID` without arguments |
//! | an event with a request for an acknowledgement | `5` with `ID+`: the peer's application answers |
//! | the event `message` with one argument, with a request for an acknowledgement | `3` or `4` with `ID`: the peer answers by itself on receipt |
//!
//! Bytes become `{"base64":"…"}` in place. JSON never has a raw line break, which clients before
//! 0.8.3 cannot read: in JSON a line break can be a blank or an escape. A text with a line break is
//! sent unchanged, as from genuine peers. For old clients an operator can have it sent as JSON
//! ([`Legacy09::line_breaks_as_json`](crate::Legacy09::line_breaks_as_json)), which is the same
//! event for the client.

use alloc::format;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::{Body, Id, Packet};
use crate::json::{self, JsonError};
use crate::socket::Args;

/// The characters that a regular expression of JavaScript treats as line breaks.
const LINE_BREAKS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// The namespace that has no name on this wire.
const ROOT: &str = "/";

/// The endpoint of a namespace on this wire.
pub(crate) fn endpoint(namespace: &str) -> &str {
    if namespace == ROOT { "" } else { namespace }
}

/// The namespace of a packet; `None` if the endpoint names none. Other generations cannot carry a
/// comma.
pub(crate) fn namespace_of(packet: &Packet) -> Option<ByteString> {
    match packet.namespace() {
        "" => Some(ByteString::from_static(ROOT)),
        name => is_namespace(name).then(|| packet.endpoint.slice_ref(name)),
    }
}

/// The namespace of a packet in the form of a text. Nothing behind the endpoint is read.
pub(crate) fn namespace_in(text: &str) -> Option<&str> {
    let endpoint = text.split(':').nth(2)?;
    match endpoint.split_once('?').map_or(endpoint, |(name, _)| name) {
        "" => Some(ROOT),
        name => is_namespace(name).then_some(name),
    }
}

fn is_namespace(name: &str) -> bool {
    name.starts_with('/') && name.len() > 1 && !name.contains(',')
}

/// The packet of an event. With an id, its sender wants an acknowledgement.
pub(crate) fn event(
    namespace: &str,
    name: &ByteString,
    id: Option<u64>,
    args: &Args,
    line_breaks_as_json: bool,
) -> Packet {
    let body = if &**name == "message" && args.len() == 1 {
        simple(args, line_breaks_as_json)
    } else {
        let (name, args) = (name.clone(), array(args));
        Body::Event { name, args }
    };
    // For a message, genuine peers only want to know whether it has arrived. With `+` the receiver
    // would wait for its application, which has no answer to a message.
    let by_application = matches!(body, Body::Event { .. });
    let id = id.map(|id| Id {
        digits: format!("{id}").into(),
        by_application,
    });
    let endpoint = endpoint(namespace).into();
    Packet { id, endpoint, body }
}

/// The packet of an acknowledgement.
pub(crate) fn answer(namespace: &str, id: u64, args: &Args) -> Packet {
    let args = (!args.is_empty()).then(|| array(args));
    let id = format!("{id}").into();
    Packet {
        id: None,
        endpoint: endpoint(namespace).into(),
        body: Body::Ack { id, args },
    }
}

/// The elements of an array as arguments.
///
/// # Errors
///
/// If the text is no JSON array, or an array that is nested too deep.
pub(crate) fn arguments(array: Option<&ByteString>, max_depth: usize) -> Result<Args, JsonError> {
    let Some(array) = array else {
        return Ok(Args::default());
    };
    let scanned = json::scan_array(array.trim_start(), max_depth)?;
    Ok(Args::from(array.slice_ref(scanned.elements)))
}

/// The event `message` with one argument.
fn simple(args: &Args, line_breaks_as_json: bool) -> Body {
    let value = &*args.json;
    if value.starts_with('"') {
        let text = json::unescape(value);
        // JSON can hold half of a surrogate pair, but text cannot.
        let halved = text.contains('\u{fffd}') && value.contains('\\');
        let cut = line_breaks_as_json && text.contains(LINE_BREAKS);
        if !halved && !cut {
            return Body::Message(ByteString::from(&*text));
        }
    }
    Body::Json(line(args))
}

fn array(args: &Args) -> ByteString {
    format!("[{}]", line(args)).into()
}

/// The arguments on one line, with their bytes written out.
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
    // Between values, a line break is only a blank. Inside strings, JSON can only have the two line
    // breaks that it does not treat as such.
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
