//! The `~m~` framing of Socket.IO 0.5-0.6 (docs/protocol/legacy-0.6.md §2).
//!
//! ```text
//! payload = *frame
//! frame   = "~m~" LEN "~m~" BODY            ~m~5~m~hello ~m~10~m~~j~{"a":1} ~m~4~m~~h~1
//! BODY    = "~h~" HEARTBEAT | "~j~" JSON | TEXT
//! ```
//!
//! LEN counts UTF-16 code units of BODY, including its `~h~` or `~j~`. Each websocket message, poll
//! answer and posted value is a complete payload. No frame continues in the next payload.
//!
//! Decoding follows the "robust" column of §16: frames before a bad place are delivered, the rest
//! is dropped, the error is reported, and the session lives. A payload that does not end exactly on
//! a frame boundary may come from a genuine peer that counts in another way. So it is also read
//! with LEN in code points (Go, §2.1), and, from a JSONP form, with the newlines that the browser
//! changed to CRLF (§5.1). LEN is never read as a number of bytes.
//!
//! A text that begins with `~h~` or `~j~` looks like a heartbeat or JSON ([`is_mistakable`]). There
//! is no escape for it; send such a text as JSON, as a string. This module does not check the JSON
//! behind `~j~`: the reader of the JSON drops a message that is not JSON.

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::lengths::{self, Misfit, Unit};
use crate::digits::{Digits, put_decimal};

const DELIMITER: &str = "~m~";
const HEARTBEAT: &str = "~h~";
const JSON: &str = "~j~";

/// Genuine lengths have far fewer digits. Leading zeros count as digits.
const MAX_LENGTH_DIGITS: usize = 10;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// `~h~`: a heartbeat. The client sends it back unchanged. Genuine servers send a number.
    Heartbeat(ByteString),
    /// `~j~`: a JSON value, unparsed.
    Json(ByteString),
    /// Any other text. The first frame that a client gets is the session id.
    Text(ByteString),
}

/// Why the rest of a payload was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A frame does not begin with `~m~`.
    #[error("frame without delimiter")]
    NoDelimiter,
    /// LEN is missing, not decimal, too long, or not followed by `~m~`.
    #[error("invalid frame length")]
    InvalidLength,
    /// LEN goes beyond the end of the payload.
    #[error("frame longer than the payload")]
    Truncated,
    /// LEN ends inside a character.
    #[error("frame length cuts a surrogate pair")]
    CutPair,
    /// There are more frames than the caller allows.
    #[error("too many frames in one payload")]
    TooManyFrames,
}

/// Appends the frames of a complete payload to `frames`, at most `max_frames` of them.
///
/// An empty payload is legal and has no frames.
///
/// # Errors
///
/// Says why the rest was dropped. The frames before the error have been appended and are good.
pub fn decode(payload: &ByteString, max_frames: usize, frames: &mut Vec<Frame>) -> Result<(), FramingError> {
    let start = frames.len();
    let verdict = read(payload, Unit::Utf16, max_frames, frames);
    if verdict.is_ok() || verdict == Err(FramingError::TooManyFrames) || !has_astral(payload) {
        return verdict;
    }
    let prefix_end = frames.len();
    match read(payload, Unit::CodePoint, max_frames, frames) {
        Ok(()) => {
            frames.drain(start..prefix_end);
            Ok(())
        }
        Err(_) => {
            frames.truncate(prefix_end);
            verdict
        }
    }
}

/// [`decode`] for a payload that came in a JSONP form. There the browser changes every lone LF to
/// CRLF after LEN has been computed.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_jsonp(payload: &ByteString, max_frames: usize, frames: &mut Vec<Frame>) -> Result<(), FramingError> {
    step!(bulk payload.len());
    if payload.contains("\r\n") {
        // Browsers count in UTF-16, so no reading may use the other unit: a character outside of
        // the BMP could hide the difference that a line break makes.
        let (start, meant) = (frames.len(), ByteString::from(payload.replace("\r\n", "\n")));
        for text in [payload, &meant] {
            if read(text, Unit::Utf16, max_frames, frames).is_ok() {
                return Ok(());
            }
            frames.truncate(start);
        }
    }
    decode(payload, max_frames, frames)
}

/// Whether there is a character that JavaScript and Go count differently.
fn has_astral(text: &str) -> bool {
    text.bytes().any(|b| b >= 0xf0)
}

fn read(payload: &ByteString, unit: Unit, max_frames: usize, frames: &mut Vec<Frame>) -> Result<(), FramingError> {
    let mut rest = &**payload;
    let mut left = max_frames;
    while !rest.is_empty() {
        step!();
        left = left.checked_sub(1).ok_or(FramingError::TooManyFrames)?;
        let header = rest.strip_prefix(DELIMITER).ok_or(FramingError::NoDelimiter)?;
        let (length, digits) =
            lengths::take_decimal(header.as_bytes(), MAX_LENGTH_DIGITS).ok_or(FramingError::InvalidLength)?;
        let body = header.get(digits..).and_then(|behind| behind.strip_prefix(DELIMITER));
        let body = body.ok_or(FramingError::InvalidLength)?;
        let end = lengths::offset(body, length, unit).map_err(|misfit| match misfit {
            Misfit::Short => FramingError::Truncated,
            Misfit::CutPair => FramingError::CutPair,
        })?;
        let (content, behind) = body.split_at_checked(end).ok_or(FramingError::Truncated)?;
        frames.push(frame(payload, content));
        rest = behind;
    }
    Ok(())
}

fn frame(payload: &ByteString, body: &str) -> Frame {
    if let Some(heartbeat) = body.strip_prefix(HEARTBEAT) {
        Frame::Heartbeat(payload.slice_ref(heartbeat))
    } else if let Some(json) = body.strip_prefix(JSON) {
        Frame::Json(payload.slice_ref(json))
    } else {
        Frame::Text(payload.slice_ref(body))
    }
}

impl Frame {
    /// Appends the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Heartbeat(heartbeat) => write(HEARTBEAT, heartbeat, out),
            Self::Json(json) => write_json(json, out),
            Self::Text(text) => write_text(text, out),
        }
    }
}

/// Whether a reader would take this text, in a text frame, for a heartbeat or JSON.
#[must_use]
pub fn is_mistakable(text: &str) -> bool {
    text.starts_with(HEARTBEAT) || text.starts_with(JSON)
}

/// Appends a text frame, such as the session id. The text must not be [mistakable](is_mistakable).
pub fn write_text(text: &str, out: &mut BytesMut) {
    write("", text, out);
}

/// Appends a JSON frame.
pub fn write_json(json: &str, out: &mut BytesMut) {
    write(JSON, json, out);
}

/// Appends a heartbeat frame.
pub fn write_heartbeat(number: u64, out: &mut BytesMut) {
    let digits = Digits::decimal(number);
    header(HEARTBEAT, digits.as_bytes().len(), out);
    out.put_slice(digits.as_bytes());
}

fn write(mark: &str, body: &str, out: &mut BytesMut) {
    out.reserve(body.len().saturating_add(20));
    header(mark, lengths::utf16_len(body), out);
    out.put_slice(body.as_bytes());
}

fn header(mark: &str, units: usize, out: &mut BytesMut) {
    out.put_slice(DELIMITER.as_bytes());
    put_decimal(mark.len().saturating_add(units) as u64, out);
    out.put_slice(DELIMITER.as_bytes());
    out.put_slice(mark.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn text(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    fn json(text: &str) -> Frame {
        Frame::Json(text.into())
    }

    fn heartbeat(text: &str) -> Frame {
        Frame::Heartbeat(text.into())
    }

    fn read(payload: &str) -> (Vec<Frame>, Result<(), FramingError>) {
        let mut frames = Vec::new();
        let verdict = decode(&payload.into(), 100, &mut frames);
        (frames, verdict)
    }

    /// The table of §2, and payloads that a genuine client and server of 0.6.18 have exchanged.
    #[test]
    fn captured_payloads() {
        let cases: &[(&str, &[Frame])] = &[
            ("~m~5~m~hello", &[text("hello")]),
            ("~m~0~m~", &[text("")]),
            ("~m~10~m~~j~{\"a\":1}", &[json("{\"a\":1}")]),
            ("~m~4~m~~h~1", &[heartbeat("1")]),
            ("~m~3~m~one~m~3~m~two", &[text("one"), text("two")]),
            ("~m~16~m~4895096807746584", &[text("4895096807746584")]),
            ("~m~8~m~Sid00001~m~7~m~welcome", &[text("Sid00001"), text("welcome")]),
            (
                "~m~6~m~early1~m~14~m~~j~{\"early\":2}",
                &[text("early1"), json("{\"early\":2}")],
            ),
            (
                "~m~31~m~hé♥😀 \"q\" & = + % </script> \n x",
                &[text("hé♥😀 \"q\" & = + % </script> \n x")],
            ),
            ("~m~2~m~42~m~0~m~~m~0~m~", &[text("42"), text(""), text("")]),
            ("~m~20~m~~j~{\"a\":{\"b\":\"♥😀\"}}", &[json("{\"a\":{\"b\":\"♥😀\"}}")]),
            (
                "~m~12~m~~j~{\"two\":2}~m~8~m~thré♥e😀",
                &[json("{\"two\":2}"), text("thré♥e😀")],
            ),
            ("~m~7~m~~h~fake", &[heartbeat("fake")]),
            ("~m~8~m~~m~2~m~x", &[text("~m~2~m~x")]),
        ];
        for (payload, frames) in cases {
            assert_eq!(read(payload), (frames.to_vec(), Ok(())), "{payload}");
            let mut out = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut out));
            assert_eq!(out, payload.as_bytes());
        }
        let mut out = BytesMut::new();
        write_heartbeat(123, &mut out);
        assert_eq!(out, &b"~m~6~m~~h~123"[..]);
    }

    #[test]
    fn a_go_peer_counts_code_points() {
        assert_eq!(read("~m~4~m~a😀bc"), (alloc::vec![text("a😀bc")], Ok(())));
        assert_eq!(
            read("~m~1~m~😀~m~2~m~hi"),
            (alloc::vec![text("😀"), text("hi")], Ok(()))
        );
        // The reading in code points counts only if it ends exactly on a boundary. Otherwise the
        // first reading is used.
        assert_eq!(
            read("~m~2~m~ok~m~1~m~😀zz"),
            (alloc::vec![text("ok")], Err(FramingError::CutPair))
        );
    }

    /// The table of §16.
    #[test]
    fn malformed_payloads() {
        use FramingError::*;
        let cases: &[(&str, &[Frame], Result<(), FramingError>)] = &[
            ("", &[], Ok(())),
            ("hello", &[], Err(NoDelimiter)),
            ("~m~2~m~okgarbage", &[text("ok")], Err(NoDelimiter)),
            ("~m~20~m~hi", &[], Err(Truncated)),
            ("~m~2~m~ok~m~20~m~hi", &[text("ok")], Err(Truncated)),
            ("~m~3~m~hello", &[text("hel")], Err(NoDelimiter)),
            ("~m~3~m~hello~m~2~m~ok", &[text("hel")], Err(NoDelimiter)),
            ("~m~", &[], Err(InvalidLength)),
            ("~m~12", &[], Err(InvalidLength)),
            ("~m~~m~x", &[], Err(InvalidLength)),
            ("~m~-2~m~ok", &[], Err(InvalidLength)),
            ("~m~x~m~hi", &[], Err(InvalidLength)),
            ("~m~ 2~m~ok", &[], Err(InvalidLength)),
            ("~m~002~m~ok", &[text("ok")], Ok(())),
            ("~m~2XYZok", &[], Err(InvalidLength)),
            ("~m~99999999999999999999~m~ok", &[], Err(InvalidLength)),
            ("~m~9999999999~m~ok", &[], Err(Truncated)),
            ("~m~4~m~~j~{", &[json("{")], Ok(())),
            ("~m~4~m~~h~7~m~2~m~hi", &[heartbeat("7"), text("hi")], Ok(())),
            ("~m~1~m~😀zz", &[], Err(CutPair)),
            ("~m~3~m~♥", &[], Err(Truncated)),
            ("~m~3~m~♥~m~1~m~z", &[text("♥~m")], Err(NoDelimiter)),
        ];
        for (payload, frames, verdict) in cases {
            assert_eq!(read(payload), (frames.to_vec(), *verdict), "{payload}");
        }
    }

    #[test]
    fn newlines_of_a_jsonp_form_are_repaired() {
        let jsonp = |payload: &str| {
            let mut frames = alloc::vec![text("earlier")];
            let verdict = decode_jsonp(&payload.into(), 100, &mut frames);
            (frames.split_off(1), verdict)
        };
        for (wire, frames) in [
            ("~m~3~m~a\r\nb~m~2~m~hi", alloc::vec![text("a\nb"), text("hi")]),
            ("~m~4~m~a\r\nb~m~2~m~hi", alloc::vec![text("a\r\nb"), text("hi")]),
            ("~m~4~m~😀\r\nb", alloc::vec![text("😀\nb")]),
        ] {
            assert_eq!(jsonp(wire), (frames, Ok(())), "{wire:?}");
        }
        assert_eq!(
            jsonp("~m~3~m~a\r\nbcd"),
            (alloc::vec![text("a\r\n")], Err(FramingError::NoDelimiter))
        );
    }

    #[test]
    fn frames_are_counted() {
        let mut frames = Vec::new();
        let payload = "~m~1~m~1~m~1~m~2~m~1~m~3".into();
        assert_eq!(decode(&payload, 2, &mut frames), Err(FramingError::TooManyFrames));
        assert_eq!(frames, [text("1"), text("2")]);
        assert_eq!(decode(&payload, 3, &mut frames), Ok(()));
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let body = || any::<String>().prop_map(ByteString::from);
        prop_oneof![
            body().prop_map(Frame::Heartbeat),
            body().prop_map(Frame::Json),
            body()
                .prop_filter("would be a heartbeat or JSON", |b| {
                    !b.starts_with(HEARTBEAT) && !b.starts_with(JSON)
                })
                .prop_map(Frame::Text),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(frames in prop::collection::vec(any_frame(), 0..8)) {
            let mut out = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut out));
            let payload = ByteString::try_from(out).unwrap();
            prop_assert_eq!(read(&payload), (frames, Ok(())));
        }

        #[test]
        fn never_panics(payload in "(~m~|[0-9]|~h~|~j~|♥|😀|\r\n|x){0,20}") {
            let _ = decode_jsonp(&payload.as_str().into(), 5, &mut Vec::new());
        }

        #[test]
        fn a_cut_payload_gives_a_prefix(bodies in prop::collection::vec("[a-z~0-9é♥]{0,8}", 0..5), at in any::<prop::sample::Index>()) {
            // Texts without astral characters. With such characters, a cut text can by chance end
            // where the frame of a Go peer would end.
            let mut out = BytesMut::new();
            bodies.iter().for_each(|body| write_text(body, &mut out));
            let payload = ByteString::try_from(out).unwrap();
            let (whole, _) = read(&payload);
            let cut = payload.char_indices().map(|(i, _)| i).nth(at.index(payload.chars().count() + 1));
            let (got, _) = read(&payload[..cut.unwrap_or(payload.len())]);
            prop_assert!(whole.starts_with(&got));
        }
    }
}
