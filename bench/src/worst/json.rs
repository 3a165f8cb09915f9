//! JSON.

use bytes::BytesMut;
use sio_proto::json::{self, MAX_DEPTH};

use super::{Worst, reading, repeated};
use crate::Case;

pub(super) const INPUTS: &[Worst] = &[
    Worst::new("json/deep", |bytes| {
        let nested = format!("{}{},", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        valid(repeated("[", &nested, "0]", bytes).0)
    }),
    Worst::new("json/values", |bytes| valid(repeated("[", "1,", "1]", bytes).0)),
    Worst::new("json/short-strings", |bytes| {
        valid(repeated("[", "\"\",", "\"\"]", bytes).0)
    }),
    Worst::new("json/objects", |bytes| {
        valid(repeated("[", "{\"\":{}},", "0]", bytes).0)
    }),
    Worst::new("json/digits", |bytes| valid("1".repeat(bytes))),
    Worst::new("json/blanks", |bytes| valid(repeated("[", " ", "]", bytes).0)),
    Worst::new("json/escapes", |bytes| valid(repeated("\"", "\\n", "\"", bytes).0)),
    Worst::new("json/code-units", |bytes| {
        valid(repeated("\"", "\\u00e9", "\"", bytes).0)
    }),
    Worst::new("json/split-values", |bytes| {
        let (text, times) = repeated("[", "1,", "1]", bytes);
        reading(text, times + 1, |text: String| {
            json::scan_array(&text, MAX_DEPTH).map_or(0, |array| json::elements(array.elements).count())
        })
    }),
    Worst::new("json/split-members", |bytes| {
        let (text, times) = repeated("{", "\"\":1,", "\"\":1}", bytes);
        reading(text, times + 1, |text: String| json::members(&text).count())
    }),
    Worst::new("json/unescape-pairs", |bytes| {
        let (text, times) = repeated("\"", "\\ud83d\\ude00", "\"", bytes);
        reading(text, times * 4, |text: String| json::unescape(&text).len())
    }),
    Worst::new("json/unescape-half-pairs", |bytes| {
        let (text, times) = repeated("\"", "\\ud83d", "\"", bytes);
        reading(text, times * 3, |text: String| json::unescape(&text).len())
    }),
    Worst::new("json/where-it-stops", |bytes| {
        let (text, times) = repeated("[", "1,", "x]", bytes);
        reading(text, times * 2 + 1, |text: String| json::stops_at(&text, MAX_DEPTH))
    }),
    Worst::new("placeholders/many", |bytes| placeholders(bytes, named)),
    Worst::new("placeholders/escaped-keys", |bytes| {
        let piece = "{\"\\u005fplaceholder\":true,\"n\\u0075m\":0,\"_placeholder\":0},";
        reading(repeated("", piece, "0", bytes).0, 1, |text: String| {
            usize::from(json::named_attachments(&text, 1).is_ok())
        })
    }),
    Worst::new("placeholders/long-numbers", |bytes| {
        let piece = format!("{{\"num\":{}}},", "1".repeat(60_000));
        reading(repeated("", &piece, "0", bytes).0, 1, |text: String| {
            usize::from(json::named_attachments(&text, 1).is_ok())
        })
    }),
    Worst::new("placeholders/replaced", |bytes| placeholders(bytes, replaced)),
    Worst::new("placeholders/nested", |bytes| {
        let nested = format!("{}0{},", "{\"num\":".repeat(MAX_DEPTH - 1), "}".repeat(MAX_DEPTH - 1));
        let (text, times) = repeated("", &nested, "0", bytes);
        reading(text, times * nested.len() + 1, |text: String| {
            let mut out = BytesMut::new();
            json::replace_placeholders(&mut out, &text, |_, _| {});
            out.len()
        })
    }),
    Worst::new("json/written-escapes", |bytes| {
        reading("\u{1}".repeat(bytes), bytes * 6 + 2, |text: String| {
            let mut out = BytesMut::new();
            json::write_string(&mut out, &text);
            out.len()
        })
    }),
    Worst::new("json/written-scripts", |bytes| {
        let (text, times) = repeated("", "</", "", bytes);
        reading(text, times * 3 + 2, |text: String| {
            let mut out = BytesMut::new();
            json::write_script_string(&mut out, &text);
            out.len()
        })
    }),
];

/// A text that has to be valid.
fn valid(text: String) -> Box<dyn Case> {
    reading(text, 1, |text: String| {
        usize::from(json::validate(&text, MAX_DEPTH).is_ok())
    })
}

/// A placeholder for each attachment: the text, and how many there are.
fn placeholders(bytes: usize, read: fn((String, usize)) -> usize) -> Box<dyn Case> {
    let (mut text, mut times) = (String::new(), 0);
    while text.len() < bytes {
        text.push_str(&format!("{{\"_placeholder\":true,\"num\":{times}}},"));
        times += 1;
    }
    text.push('0');
    reading((text, times), times, read)
}

fn named((text, attachments): (String, usize)) -> usize {
    let named = json::named_attachments(&text, attachments).unwrap_or_default();
    (0..attachments).filter(|number| named.contains(*number)).count()
}

fn replaced((text, _): (String, usize)) -> usize {
    let (mut out, mut times) = (BytesMut::new(), 0);
    json::replace_placeholders(&mut out, &text, |out, _| {
        out.extend_from_slice(b"null");
        times += 1;
    });
    times
}
