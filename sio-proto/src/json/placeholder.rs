//! Placeholders: the positions of attachments in the JSON of a binary packet
//! (docs/protocol/socket-io.md §2.1).
//!
//! ```text
//! 51-["b",{"_placeholder":true,"num":0}]   followed by one binary message, number 0
//! ```

use alloc::vec::Vec;

use bytes::BytesMut;

use super::MAX_DEPTH;
use super::scan::Scanner;
use super::string::unescape;

/// Why no honest sender wrote the placeholders of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// A placeholder has no number, or its number is not the number of an attachment.
    #[error("a placeholder names no attachment")]
    NotAnAttachment,
    /// Two placeholders name one attachment. No genuine encoder writes this. A receiver that
    /// replaces placeholders by bytes would write the bytes as often as they are named.
    #[error("two placeholders name one attachment")]
    NamedTwice,
}

/// The numbers of the attachments that the placeholders of a packet name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The first 128 numbers. Nearly every packet has no others.
    low: u128,
    high: Vec<u128>,
}

impl Named {
    /// Whether a placeholder names the attachment `number`.
    #[must_use]
    pub fn contains(&self, number: usize) -> bool {
        let bit = 1 << (number % 128);
        match (number / 128).checked_sub(1) {
            None => self.low & bit != 0,
            Some(word) => self.high.get(word).is_some_and(|word| word & bit != 0),
        }
    }

    /// Returns false if the number was there already.
    fn insert(&mut self, number: usize) -> bool {
        let bit = 1 << (number % 128);
        let word = match (number / 128).checked_sub(1) {
            None => &mut self.low,
            Some(word) => {
                if self.high.len() <= word {
                    self.high.resize(word.saturating_add(1), 0);
                }
                match self.high.get_mut(word) {
                    Some(word) => word,
                    None => return false,
                }
            }
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// Checks that every placeholder in `json` names one of `attachments` attachments, and that no
/// attachment is named twice. Returns the numbers that are named.
///
/// `json` holds valid JSON values joined by commas, nested at most [`MAX_DEPTH`](super::MAX_DEPTH)
/// deep. A placeholder is an object whose member `_placeholder` is exactly `true`. Its `num` must
/// be an integer from 0 below `attachments`, written in digits (docs/protocol/socket-io.md §9:
/// attackers have tried `-1`, `0.5` and `"splice"`). If a key appears twice, the last one counts,
/// as in `JSON.parse`.
///
/// The function takes time linear in `json`, and one bit of memory for each of `attachments`. The
/// caller has bounded this number.
///
/// # Errors
///
/// The first mistake that is found.
pub fn named_attachments(json: &str, attachments: usize) -> Result<Named, PlaceholderError> {
    // This is usual, and one comparison.
    if json == ONLY_PLACEHOLDER && attachments > 0 {
        return Ok(Named {
            low: 1,
            high: Vec::new(),
        });
    }
    match named_plainly(json, attachments) {
        Some(named) => Ok(named),
        None => named_anywhere(json, attachments),
    }
}

/// The placeholder of the first attachment, as genuine encoders write it. Most packets with
/// attachments have no other argument.
pub const ONLY_PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// The text before the number of a placeholder, as genuine encoders write it.
const PLAIN: &str = r#"{"_placeholder":true,"num":"#;

/// The number of a placeholder, if `json` is nothing else than a placeholder as genuine encoders
/// write it. Any other text may hold placeholders, too.
#[inline]
#[must_use]
pub fn plain_placeholder(json: &str) -> Option<usize> {
    // This is usual, and one comparison.
    if json == ONLY_PLACEHOLDER {
        return Some(0);
    }
    let (number, rest) = leading_placeholder(json)?;
    rest.is_empty().then_some(number)
}

/// The number of the placeholder at the start of `json`, if it is written as genuine encoders write
/// it, and what follows.
#[inline]
fn leading_placeholder(json: &str) -> Option<(usize, &str)> {
    let digits = json.strip_prefix(PLAIN)?;
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit())?;
    let number = digits.get(..end)?.parse().ok()?;
    Some((number, digits.get(end..)?.strip_prefix('}')?))
}

/// Where a placeholder ends that begins at `at`, if it is valid JSON, and written as genuine
/// encoders write it.
#[inline]
pub(super) fn end_of_placeholder(text: &[u8], at: usize) -> Option<usize> {
    let digits_at = at.wrapping_add(PLAIN.len());
    if text.get(at..digits_at) != Some(PLAIN.as_bytes()) {
        return None;
    }
    let digits = text.get(digits_at..)?;
    let len = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let is_number = len == 1 || len > 1 && digits.first() != Some(&b'0');
    let end = digits_at.wrapping_add(len);
    (is_number && text.get(end) == Some(&b'}')).then_some(end.wrapping_add(1))
}

/// The number of a placeholder that begins at `at`, if it is written as genuine encoders write it,
/// with one digit, and where it ends.
#[inline]
pub(crate) fn short_placeholder(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let (plain, behind) = text.get(at..)?.split_first_chunk()?;
    let &[digit @ b'0'..=b'9', b'}', ..] = behind else {
        return None;
    };
    const BEFORE: &[u8; 27] = match PLAIN.as_bytes().first_chunk() {
        Some(plain) => plain,
        None => &[0; 27],
    };
    (plain == BEFORE).then_some((
        u32::from(digit.wrapping_sub(b'0')),
        at.wrapping_add(ONLY_PLACEHOLDER.len()),
    ))
}

/// Does what [`named_attachments`] does for arguments that are nothing but plain placeholders. This
/// is usual. Returns `None` for any other text, and if there is a mistake.
#[inline]
fn named_plainly(json: &str, attachments: usize) -> Option<Named> {
    let (mut named, mut rest) = (Named::default(), json);
    loop {
        step!();
        let (number, behind) = leading_placeholder(rest)?;
        if number >= attachments || !named.insert(number) {
            return None;
        }
        if behind.is_empty() {
            return Some(named);
        }
        rest = behind.strip_prefix(',')?;
    }
}

fn named_anywhere(json: &str, attachments: usize) -> Result<Named, PlaceholderError> {
    let mut named = Named::default();
    let mut fault = Ok(());
    each_placeholder(json, |number| {
        fault = match number.filter(|number| *number < attachments) {
            None => Err(PlaceholderError::NotAnAttachment),
            Some(number) if !named.insert(number) => Err(PlaceholderError::NamedTwice),
            Some(_) => Ok(()),
        };
        fault.is_ok()
    });
    fault.map(|()| named)
}

/// Calls `visit` with the number of every placeholder in `json`, or with `None` if the placeholder
/// has no valid number. It stops when `visit` returns false. `json` is as in [`named_attachments`].
pub(crate) fn each_placeholder(json: &str, mut visit: impl FnMut(Option<usize>) -> bool) {
    let mut scanner = Scanner::new(json);
    // `marked` has one bit per open bracket; the innermost bracket is the lowest bit. `numbers` has
    // the numbers of the open brackets; the outermost bracket comes first.
    let (mut marked, mut depth) = (0u128, 0usize);
    let mut numbers = [None; MAX_DEPTH + 1];
    while let Some(byte) = scanner.peek() {
        match byte {
            b'"' => {
                let start = scanner.position();
                scanner.skip_valid_string();
                let key = start..scanner.position();
                scanner.skip_whitespace();
                if !scanner.take(b':') {
                    continue; // a value, not a key
                }
                scanner.skip_whitespace();
                let value = json.get(scanner.position()..).unwrap_or_default();
                match &*unescape(json.get(key).unwrap_or_default()) {
                    "_placeholder" => marked = marked & !1 | u128::from(value.starts_with("true")),
                    "num" => note(&mut numbers, depth, leading_number(value)),
                    _ => {}
                }
            }
            b'{' | b'[' => {
                marked <<= 1;
                depth = depth.saturating_add(1);
                note(&mut numbers, depth, None);
                scanner.take(byte);
            }
            b'}' | b']' => {
                if marked & 1 != 0 && !visit(numbers.get(depth).copied().flatten()) {
                    return;
                }
                marked >>= 1;
                depth = depth.saturating_sub(1);
                scanner.take(byte);
            }
            _ => {
                scanner.take(byte);
            }
        }
    }
}

/// Notes the number of the open bracket at this depth. Valid arguments are not nested deeper than
/// the list is long. A deeper object would have no number, which no attachment has either.
fn note(numbers: &mut [Option<usize>], depth: usize, number: Option<usize>) {
    if let Some(place) = numbers.get_mut(depth) {
        *place = number;
    }
}

/// Copies JSON values joined by commas. Every placeholder is replaced by the text that `write`
/// writes for its number.
///
/// The same objects count as placeholders as in [`named_attachments`]. `write` has to check whether
/// a number is in range.
pub fn replace_placeholders(out: &mut BytesMut, json: &str, mut write: impl FnMut(&mut BytesMut, usize)) {
    let mut scanner = Scanner::new(json);
    let mut open: Vec<Object> = Vec::new();
    let mut copied = 0;
    while let Some(byte) = scanner.peek() {
        let start = scanner.position();
        match byte {
            b'"' => {
                scanner.skip_valid_string();
                let key = start..scanner.position();
                scanner.skip_whitespace();
                if !scanner.take(b':') {
                    continue; // a value, not a key
                }
                scanner.skip_whitespace();
                let value = json.get(scanner.position()..).unwrap_or_default();
                if let Some(object) = open.last_mut() {
                    match &*unescape(json.get(key).unwrap_or_default()) {
                        "_placeholder" => object.marked = value.starts_with("true"),
                        "num" => object.number = leading_number(value),
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => {
                out.extend_from_slice(json.as_bytes().get(copied..start).unwrap_or_default());
                copied = start;
                open.push(Object {
                    start: out.len(),
                    marked: false,
                    number: None,
                });
                scanner.take(byte);
            }
            b'}' | b']' => {
                scanner.take(byte);
                if let Some(object) = open.pop()
                    && let (true, Some(number)) = (object.marked, object.number)
                {
                    out.truncate(object.start);
                    write(out, number);
                    copied = scanner.position();
                }
            }
            _ => {
                scanner.take(byte);
            }
        }
    }
    out.extend_from_slice(json.as_bytes().get(copied..).unwrap_or_default());
}

/// An open bracket: where its copy begins, and the members that have been seen behind it.
struct Object {
    start: usize,
    marked: bool,
    number: Option<usize>,
}

/// The whole number (without sign, fraction or exponent) at the start of `value`.
pub(crate) fn leading_number(value: &str) -> Option<usize> {
    let end = value.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at(end);
    if rest.starts_with(['.', 'e', 'E']) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for (json, attachments, expected) in [
            ("", 0, true),
            ("1,\"x\",[{}]", 1, true),
            (r#"{"_placeholder":true,"num":0}"#, 1, true),
            (r#"{"num":0,"_placeholder":true}"#, 1, true),
            (
                r#"{ "x" : [ 1 ] , "num" : 0 , "_placeholder" : true , "y" : {} }"#,
                1,
                true,
            ),
            (
                r#"{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}"#,
                2,
                true,
            ),
            (
                r#"{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}"#,
                2,
                true,
            ),
            (
                r#"{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}"#,
                1,
                false,
            ),
            (r#"{"_placeholder":true,"num":5}"#, 1, false),
            (r#"{"_placeholder":true,"num":1}"#, 1, false),
            (r#"{"_placeholder":true,"num":-1}"#, 1, false),
            (r#"{"_placeholder":true,"num":-0}"#, 1, false),
            (r#"{"_placeholder":true,"num":0.5}"#, 1, false),
            (r#"{"_placeholder":true,"num":0e0}"#, 1, false),
            (r#"{"_placeholder":true,"num":"splice"}"#, 1, false),
            (r#"{"_placeholder":true,"num":"0"}"#, 1, false),
            (r#"{"_placeholder":true,"num":[0]}"#, 1, false),
            (r#"{"_placeholder":true,"num":null}"#, 1, false),
            (r#"{"_placeholder":true}"#, 1, false),
            (r#"{"_placeholder":true,"num":99999999999999999999999999}"#, 1, false),
            (r#"{"_placeholder":1,"num":9}"#, 1, true),
            (r#"{"_placeholder":"true","num":9}"#, 1, true),
            (r#"{"_placeholder":false,"num":9}"#, 1, true),
            (r#"{"_placeholder":[true],"num":9}"#, 1, true),
            (r#"{"x":"_placeholder","num":9}"#, 1, true),
            (r#"["_placeholder",true,"num",9]"#, 1, true),
            (r#"{"_placeholder":true,"num":0,"num":9}"#, 1, false),
            (r#"{"_placeholder":true,"num":9,"num":0}"#, 1, true),
            (r#"{"_placeholder":true,"_placeholder":false,"num":9}"#, 1, true),
            (r#"{"num":0,"x":{"_placeholder":true}}"#, 1, false),
            (r#"{"_placeholder":true,"x":{"num":0}}"#, 1, false),
            (r#"{"_placeholder":true,"num":0,"x":{"num":9}}"#, 1, true),
            // The same keys, written so that a search for their text does not find them.
            (r#"{"\u005fplaceholder":true,"num":9}"#, 1, false),
            (r#"{"_placeholder":true,"\u006eum":9}"#, 1, false),
        ] {
            assert_eq!(
                named_attachments(json, attachments).is_ok(),
                expected,
                "{json} of {attachments}"
            );
        }
    }

    /// Hardening A3.
    #[test]
    fn no_attachment_is_named_twice() {
        let one = r#"{"_placeholder":true,"num":0}"#;
        for json in [
            alloc::format!("{one},{one}"),
            alloc::format!("[{one},{{\"a\":{one}}}]"),
            r#"{"_placeholder":true,"num":0},{"num":0,"\u005fplaceholder":true}"#.into(),
            // The outer placeholder replaces everything in it. A genuine sender writes no
            // placeholder inside another.
            alloc::format!(r#"{{"_placeholder":true,"num":0,"x":{one}}}"#),
        ] {
            assert_eq!(named_attachments(&json, 2), Err(PlaceholderError::NamedTwice), "{json}");
        }
        let each = |numbers: &[usize]| {
            let one = |number: &usize| alloc::format!("{{\"_placeholder\":true,\"num\":{number}}}");
            numbers.iter().map(one).collect::<Vec<_>>().join(",")
        };
        let named = named_attachments(&each(&[5, 127, 128, 999]), 1_000).unwrap();
        let numbers: Vec<usize> = (0..1_100).filter(|number| named.contains(*number)).collect();
        assert_eq!(numbers, [5, 127, 128, 999]);
        assert_eq!(
            named_attachments(&each(&[300, 2, 300]), 1_000),
            Err(PlaceholderError::NamedTwice)
        );
        assert_eq!(
            named_attachments(&each(&[1_000]), 1_000),
            Err(PlaceholderError::NotAnAttachment)
        );
    }

    /// The look at plain placeholders finds what the look at any text finds, or nothing.
    #[test]
    fn plain_placeholders_are_found_as_any_others() {
        let parts = [
            "",
            ",",
            " ",
            "1",
            "[",
            "]",
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":1}"#,
            r#"{"_placeholder":true,"num":12}"#,
            r#"{"_placeholder":true,"num":1.5}"#,
            r#"{"_placeholder":true,"num":99999999999999999999999}"#,
            r#"{"num":2,"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":2,"num":0}"#,
        ];
        let mut plain = 0;
        let is_json = |text: &str| crate::json::validate_elements(text, MAX_DEPTH).is_ok();
        let mut texts = alloc::vec![alloc::string::String::new()];
        for _ in 0..5 {
            let longer = texts
                .iter()
                .flat_map(|text| parts.map(|part| alloc::format!("{text}{part}")));
            texts = longer.collect();
            texts.sort_unstable();
            texts.dedup();
            for text in texts.iter().filter(|text| is_json(text)) {
                for attachments in [0, 1, 2, 13] {
                    let any = named_anywhere(text, attachments);
                    assert_eq!(named_attachments(text, attachments), any, "{text}");
                    let found = named_plainly(text, attachments);
                    plain += usize::from(found.is_some());
                    if let Some(found) = found {
                        assert_eq!(Ok(found), named_anywhere(text, attachments), "{text}");
                    }
                    if let Some(number) = plain_placeholder(text) {
                        assert_eq!(
                            named_anywhere(text, number + 1).map(|n| n.contains(number)),
                            Ok(true),
                            "{text}"
                        );
                    }
                }
            }
            texts.truncate(4_000);
        }
        assert!(plain > 20, "{plain}");
        assert_eq!(plain_placeholder(parts[6]), Some(0));
        assert_eq!(plain_placeholder(parts[8]), Some(12));
    }

    #[test]
    fn placeholders_are_replaced_where_they_stand() {
        for (json, replaced) in [
            ("", ""),
            ("1, \"x\" ,[ {} ]", "1, \"x\" ,[ {} ]"),
            (r#"{"_placeholder":true,"num":0}"#, "<0>"),
            (r#"1,{"num":12,"_placeholder":true},2"#, "1,<12>,2"),
            (
                r#"[ {"a":{"_placeholder":true,"num":1},"b":[{"_placeholder":true,"num":0}]} ]"#,
                r#"[ {"a":<1>,"b":[<0>]} ]"#,
            ),
            (r#"{"_placeholder":true,"num":0,"x":{"y":[1]}},3"#, "<0>,3"),
            (
                r#"{"_placeholder":true,"x":{"_placeholder":true,"num":3},"num":1}"#,
                "<1>",
            ),
            (r#"{"_placeholder":1,"num":9}"#, r#"{"_placeholder":1,"num":9}"#),
            (r#"["_placeholder",true,"num",9]"#, r#"["_placeholder",true,"num",9]"#),
            ("{\"\\u005fplaceholder\":true,\"num\":9}", "<9>"),
        ] {
            let mut out = BytesMut::new();
            replace_placeholders(&mut out, json, |out, number| {
                out.extend_from_slice(alloc::format!("<{number}>").as_bytes());
            });
            assert_eq!(out, replaced.as_bytes(), "{json}");
        }
    }
}
