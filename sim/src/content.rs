//! What messages and answers say, byte for byte: the number between `#`, and behind it letters and
//! attachments that follow from the number. What arrives has to be exactly what was sent under its
//! number (promises 1 to 3).

use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes};

/// The digits of base64.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Arguments, in memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) json: String,
    pub(crate) attachments: Vec<Vec<u8>>,
}

/// How long a message of the server is, and how it begins. All of it follows from this and from its
/// number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) padding: usize,
    pub(crate) has_bytes: bool,
    /// Whether it is for an old client alone, so its text may look like a heartbeat.
    pub(crate) is_plain: bool,
}

/// Letters that are others in each message, and at each place.
fn letters(number: u64, count: usize) -> String {
    let letter = |at: usize| char::from(b'a' + ((number as usize + at) % 26) as u8);
    (0..count).map(letter).collect()
}

/// Bytes that are others in each message, and at each place.
fn bytes(number: u64, count: usize) -> Vec<u8> {
    (0..count).map(|at| (number as usize + at) as u8).collect()
}

impl Content {
    pub(crate) fn of(args: &Args) -> Self {
        Self {
            json: args.json.to_string(),
            attachments: args.attachments.iter().map(|bytes| bytes.to_vec()).collect(),
        }
    }

    /// A text, and an attachment if there is one.
    fn new(text: String, attachment: Option<Vec<u8>>) -> Self {
        let json = match attachment {
            None => text,
            Some(_) => format!("{text},{{\"_placeholder\":true,\"num\":0}}"),
        };
        Self {
            json,
            attachments: attachment.into_iter().collect(),
        }
    }

    /// A message of the server.
    pub(crate) fn down(number: u64, shape: Shape) -> Self {
        let padding = letters(number, shape.padding);
        let text = match (shape.is_plain, number % 4) {
            // To an old client, a text that looks like a heartbeat or like JSON has to stay a text.
            (true, 0) => format!("\"~h~#{number}#{padding}\""),
            (true, 1) => format!("\"~j~[#{number}#{padding}\""),
            _ => format!("\"#{number}#{padding}\""),
        };
        Self::new(text, shape.has_bytes.then(|| bytes(number, shape.padding)))
    }

    /// An event of a client.
    pub(crate) fn up(number: usize, client: usize, padding: usize, has_bytes: bool) -> Self {
        let number = number as u64;
        let text = format!("\"#{number}#{client}#{}\"", letters(number, padding));
        Self::new(text, has_bytes.then(|| bytes(number, padding)))
    }

    /// The answer to a question with this number.
    pub(crate) fn answer(number: u64, padding: usize, has_bytes: bool) -> Self {
        let text = format!("\"#{number}#{}\"", letters(number, padding));
        Self::new(text, has_bytes.then(|| bytes(number, padding)))
    }

    /// The JSON of the same on a wire that writes bytes as text.
    fn in_text(&self, is_event: bool) -> String {
        let texts = self.attachments.iter().map(|bytes| base64(bytes));
        let texts: Vec<String> = texts.map(|text| format!("\"{text}\"")).collect();
        let (json, texts) = (&self.json, texts.join(","));
        match (is_event, texts.is_empty(), json.split_once(',')) {
            (false, false, Some((text, _))) => format!("{text},{{\"base64\":{texts}}}"),
            (false, ..) => json.clone(),
            (true, true, _) => format!("{{\"event\":\"m\",\"args\":[{json}]}}"),
            (true, false, _) => format!("{{\"event\":\"m\",\"args\":[{json}],\"attachments\":[{texts}]}}"),
        }
    }

    pub(crate) fn into_args(self) -> Args {
        let mut args = Args::from(ByteString::from(self.json));
        args.attachments = self.attachments.into_iter().map(Bytes::from).collect();
        args
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether a client has heard exactly this. With recovery, an offset stands behind it.
    pub(crate) fn is_heard_in(&self, args: &Args, medium: Medium) -> bool {
        let in_text = match medium {
            Medium::Modern { .. } => None,
            Medium::Old { is_event } => Some(self.in_text(is_event)),
        };
        let attachments = self.attachments.iter().filter(|_| in_text.is_none());
        let is_offset = |rest: &str| {
            let text = rest.strip_prefix(",\"").and_then(|rest| rest.strip_suffix('"'));
            text.is_some_and(|text| !text.is_empty() && !text.contains('"'))
        };
        let expected = in_text.as_ref().unwrap_or(&self.json);
        let has_offset = matches!(medium, Medium::Modern { has_offset: true });
        args.json
            .strip_prefix(&**expected)
            .is_some_and(|rest| rest.is_empty() || has_offset && is_offset(rest))
            && attachments
                .map(|bytes| &bytes[..])
                .eq(args.attachments.iter().map(|bytes| &bytes[..]))
    }
}

/// What a wire makes of arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Medium {
    Modern {
        has_offset: bool,
    },
    /// It has no attachments, and on that of plain messages an event `m` is one message.
    Old {
        is_event: bool,
    },
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let all = part.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= part.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The number that stands in the arguments of an event, between two `#`.
pub(crate) fn number_in(json: &str) -> Option<u64> {
    let (_, behind) = json.split_once('#')?;
    let (number, _) = behind.split_once('#')?;
    number.parse().ok()
}

/// How many attachments the arguments name.
pub(crate) fn names(args: &Args) -> usize {
    args.json.matches("\"_placeholder\":true").count()
}

/// The client that says to have sent an event: the number behind that of the event.
pub(crate) fn speaker_in(json: &str) -> Option<usize> {
    json.split('#').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        padding: 5,
        has_bytes: true,
        is_plain: false,
    };

    fn args(json: &str, attachments: &[&'static [u8]]) -> Args {
        let mut args = Args::from(ByteString::from(json));
        args.attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        args
    }

    #[test]
    fn each_byte_of_a_message_counts() {
        let sent = Content::down(1_000_000, SHAPE);
        let json = "\"#1000000#opqrs\",{\"_placeholder\":true,\"num\":0}";
        let bytes: &[u8] = &[64, 65, 66, 67, 68];
        let modern = |has_offset, args: &Args| sent.is_heard_in(args, Medium::Modern { has_offset });
        assert!(modern(false, &args(json, &[bytes])));
        assert!(!modern(false, &args(json, &[&bytes[1..]])));
        assert!(!modern(false, &args(json, &[])));
        assert!(!modern(false, &args(&json.replace("pq", "qp"), &[bytes])));
        let with_offset = format!("{json},\"17\"");
        assert!(modern(true, &args(&with_offset, &[bytes])));
        assert!(!modern(false, &args(&with_offset, &[bytes])));
        assert!(!modern(true, &args(&format!("{with_offset},\"17\""), &[bytes])));
    }

    #[test]
    fn old_wires_have_bytes_as_text() {
        let sent = Content::down(1_000_000, SHAPE);
        let old = |is_event, json: &str| sent.is_heard_in(&args(json, &[]), Medium::Old { is_event });
        assert!(old(false, "\"#1000000#opqrs\",{\"base64\":\"QEFCQ0Q=\"}"));
        assert!(!old(false, "\"#1000000#opqrs\",{\"base64\":\"QEFCQw==\"}"));
        let message = "{\"event\":\"m\",\"args\":[\"#1000000#opqrs\",{\"_placeholder\":true,\"num\":0}],\"attachments\":[\"QEFCQ0Q=\"]}";
        assert!(old(true, message));
    }
}
