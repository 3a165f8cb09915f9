//! One line while it is written: words with a space between them, and texts in quotes.
//!
//! ```text
//! 1.250000 > join 3.0 "lobby"
//! time     | verb words…
//!          kind of the line
//! ```
//! A text has no control characters, no line separators and no characters that change the direction
//! of writing. So no payload can control a terminal that shows it.

use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;

use bytes::Bytes;

use super::Detail;
use crate::server::{SendError, TransportKind};
use crate::{LinkId, Time};

/// How many bytes of a payload a short transcript shows.
const SHORT_PAYLOAD_BYTES: usize = 32;
/// How many bytes of a name a short transcript shows.
const SHORT_NAME_BYTES: usize = 128;
/// This many letters and digits in a row may be a secret.
const SECRET_CHARS: usize = 15;

/// The mark in place of text that is left out.
const LEFT_OUT: &str = "…";

/// A line that is being written.
pub(crate) struct Line<'a> {
    text: &'a mut String,
    detail: Detail,
}

impl<'a> Line<'a> {
    /// Begins a line of this kind.
    pub(super) fn new(text: &'a mut String, detail: Detail, now: Time, kind: char) -> Self {
        put(text, format_args!("{} {kind}", Seconds(now.as_micros().into())));
        Self { text, detail }
    }

    /// Begins a line of the head.
    pub(super) fn of_head(text: &'a mut String, detail: Detail, verb: &str) -> Self {
        text.push_str(verb);
        Self { text, detail }
    }

    pub(super) const fn is_full(&self) -> bool {
        matches!(self.detail, Detail::Full)
    }

    /// A word. It must not contain a space or a quote.
    pub(super) fn word(&mut self, word: impl fmt::Display) -> &mut Self {
        put(self.text, format_args!(" {word}"));
        self
    }

    /// A name from the application or the protocol: a namespace, a room, an event.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.quoted(name.as_bytes(), SHORT_NAME_BYTES)
    }

    /// Bytes of a peer or of the application.
    pub(super) fn payload(&mut self, payload: &[u8]) -> &mut Self {
        self.quoted(payload, SHORT_PAYLOAD_BYTES)
    }

    /// Bytes that a short transcript does not show at all.
    pub(super) fn secret(&mut self, secret: &[u8]) -> &mut Self {
        match self.detail {
            Detail::Full => self.payload(secret),
            Detail::Short => self.word(LEFT_OUT),
        }
    }

    /// Bytes that are not text.
    pub(super) fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        self.text.push(' ');
        bytes.iter().for_each(|byte| put(self.text, format_args!("{byte:02x}")));
        self
    }

    /// The key of the server's ids, which a short transcript does not show.
    pub(super) fn key(&mut self, key: &[u8; 16]) -> &mut Self {
        match self.detail {
            Detail::Full => self.hex(key),
            Detail::Short => self.word(LEFT_OUT),
        }
    }

    pub(super) fn optional(&mut self, payload: Option<&str>) -> &mut Self {
        match payload {
            Some(payload) => self.payload(payload.as_bytes()),
            None => self.word('-'),
        }
    }

    pub(super) fn optional_secret(&mut self, secret: Option<&str>) -> &mut Self {
        match secret {
            Some(secret) => self.secret(secret.as_bytes()),
            None => self.word('-'),
        }
    }

    pub(super) fn optional_word(&mut self, word: Option<impl fmt::Display>) -> &mut Self {
        match word {
            Some(word) => self.word(word),
            None => self.word('-'),
        }
    }

    pub(super) fn link(&mut self, link: LinkId) -> &mut Self {
        self.word(format_args!("{}.{}", link.slot(), link.generation()))
    }

    pub(super) fn time(&mut self, time: Time) -> &mut Self {
        self.word(Seconds(time.as_micros().into()))
    }

    pub(super) fn duration(&mut self, duration: Duration) -> &mut Self {
        self.word(Seconds(duration.as_micros()))
    }

    pub(super) fn flag(&mut self, flag: bool, yes: &str, no: &str) -> &mut Self {
        self.word(if flag { yes } else { no })
    }

    pub(super) fn transport(&mut self, transport: TransportKind) -> &mut Self {
        self.word(transport.as_str())
    }

    /// The number of payloads, and each payload.
    pub(super) fn payloads<'b>(&mut self, payloads: impl ExactSizeIterator<Item = &'b Bytes>) -> &mut Self {
        self.word(payloads.len());
        payloads.for_each(|payload| {
            self.payload(payload);
        });
        self
    }

    pub(super) fn result(&mut self, result: Result<(), SendError>) -> &mut Self {
        match result {
            Ok(()) => self.word("ok"),
            Err(error) => self.word(format_args!("{error:?}")),
        }
    }

    fn quoted(&mut self, bytes: &[u8], most: usize) -> &mut Self {
        self.text.push_str(" \"");
        if self.detail == Detail::Full {
            quote(self.text, bytes);
            self.text.push('"');
            return self;
        }
        let shown = cut(bytes, most);
        without_secrets(self.text, shown, bytes);
        self.text.push('"');
        if shown.len() < bytes.len() {
            put(self.text, format_args!("{LEFT_OUT}+{}", bytes.len() - shown.len()));
        }
        self
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        self.text.push('\n');
    }
}

/// Microseconds as seconds: `1.250000`.
struct Seconds(u128);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn put(text: &mut String, words: fmt::Arguments<'_>) {
    let written = text.write_fmt(words);
    debug_assert!(written.is_ok(), "a string takes everything");
}

/// The first bytes. Text is cut between two characters.
fn cut(bytes: &[u8], most: usize) -> &[u8] {
    let is_inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = bytes.len().min(most);
    let end = (end.saturating_sub(3)..=end).rev().find(|at| !is_inside(*at));
    &bytes[..end.unwrap_or(most).min(bytes.len())]
}

/// Writes the beginning of a text without the runs of letters and digits that may be a secret, even
/// if such a run is cut.
fn without_secrets(text: &mut String, shown: &[u8], whole: &[u8]) {
    let is_of_id = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut at = 0;
    while at < shown.len() {
        let run = whole[at..].iter().take_while(|byte| is_of_id(byte)).count();
        if run >= SECRET_CHARS {
            text.push_str(LEFT_OUT);
            at += run;
            continue;
        }
        let other = whole[at + run..].iter().take_while(|byte| !is_of_id(byte)).count();
        let end = (at + run + other).min(shown.len());
        quote(text, &shown[at..end]);
        at = end;
    }
}

/// Writes bytes in the form in which they stand between quotes.
fn quote(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if must_escape(c) => escape(text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => text.push(c),
            }
        }
        escape(text, chunk.invalid());
    }
}

/// Whether a character would change the look of the rest of the line: control characters, line
/// separators, characters that change the direction of writing, and the mark of left-out text.
fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '…')
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        put(text, format_args!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload as a short transcript shows it.
    fn short(payload: &str) -> String {
        let mut text = String::new();
        Line::of_head(&mut text, Detail::Short, "").payload(payload.as_bytes());
        text
    }

    #[test]
    fn a_short_text_ends_between_two_characters() {
        let words = "a b c d e f g h i j k l m n o p ";
        for (begin, character, shown) in [(32, "é", 32), (31, "é", 31), (30, "é", 32), (29, "\u{1f600}", 29)] {
            let whole = alloc::format!("{}{character} and more", &words[..begin]);
            let left = whole.len() - shown;
            assert_eq!(short(&whole), alloc::format!(" \"{}\"…+{left}", &whole[..shown]));
        }
        let whole = &words[..32];
        assert_eq!(short(whole), alloc::format!(" \"{whole}\""), "as long as it may be");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let run = "abcdefghijklmno";
        assert_eq!(short(&run[..14]), " \"abcdefghijklmn\"");
        assert_eq!(short(run), " \"…\"");
        assert_eq!(short(&alloc::format!("a {run} b")), " \"a … b\"");
        // Also if only its beginning would be shown.
        assert_eq!(
            short(&alloc::format!("{}{run}", &"a b c d e f g h i j k l m n o"[..20])),
            " \"a b c d e f g h i j …\"…+3"
        );
    }
}
