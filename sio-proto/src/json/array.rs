//! Arrays are split without being built. Every event and every acknowledgement is an array.

use core::ops::Range;

use super::placeholder::end_of_placeholder;
use super::scan::{Controls, Scanner, end_of_plain_string};
use super::{JsonError, MAX_DEPTH};

/// The parts of a JSON array. All three are slices of the text of the array, without whitespace
/// around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Array<'a> {
    /// Everything between the brackets: values joined by commas, empty for an empty array.
    pub elements: &'a str,
    /// The first value, empty for an empty array.
    pub first: &'a str,
    /// The values after the first, joined by commas.
    pub rest: &'a str,
}

/// Checks that `text` is one JSON array and finds its parts, in one pass.
///
/// The array must start at the first byte; whitespace may follow it. Its own brackets count as one
/// level of `max_depth`, which cannot go beyond [`MAX_DEPTH`].
///
/// # Errors
///
/// [`JsonError::UnexpectedCharacter`] if the text is not an array, otherwise the first mistake from
/// the left.
#[inline]
pub fn scan_array(text: &str, max_depth: usize) -> Result<Array<'_>, JsonError> {
    scan_array_knowing(text, max_depth, Controls::Unknown)
}

/// Does what [`scan_array`] does for a text of which something is known.
#[inline]
pub(crate) fn scan_array_knowing(text: &str, max_depth: usize, controls: Controls) -> Result<Array<'_>, JsonError> {
    // The arguments of many events are a few short strings, or attachments.
    match scan_short(text, max_depth) {
        Some(array) => Ok(array),
        None => scan_any_array(text, max_depth, controls),
    }
}

/// A longer array is not scanned by [`scan_short`], so no text is scanned twice that is longer than
/// this.
const SHORT: usize = 256;

/// Finds the parts of a short array that holds a string, and behind it nothing but strings and
/// placeholders. The strings have no escapes, and there is no whitespace. Returns `None` for any
/// other text.
#[inline]
fn scan_short(text: &str, max_depth: usize) -> Option<Array<'_>> {
    let bytes = text.as_bytes();
    if bytes.len() > SHORT || bytes.first() != Some(&b'[') || max_depth == 0 {
        return None;
    }
    step!(bulk bytes.len());
    let first_end = end_of_plain_string(bytes, 1)?;
    let mut end = first_end;
    while bytes.get(end) == Some(&b',') {
        let at = end.wrapping_add(1);
        end = match bytes.get(at) {
            Some(b'{') if max_depth > 1 => end_of_placeholder(bytes, at)?,
            _ => end_of_plain_string(bytes, at)?,
        };
    }
    if bytes.get(end..) != Some(b"]") {
        return None;
    }
    Some(Array {
        elements: text.get(1..end)?,
        first: text.get(1..first_end)?,
        // Behind the comma, if there is one.
        rest: text.get(first_end.wrapping_add(1).min(end)..end)?,
    })
}

#[inline(never)]
fn scan_any_array(text: &str, max_depth: usize, controls: Controls) -> Result<Array<'_>, JsonError> {
    let mut scanner = Scanner::knowing(text, controls);
    scanner.expect(b'[')?;
    let Some(max_depth) = max_depth.min(MAX_DEPTH).checked_sub(1) else {
        return Err(JsonError::TooDeep);
    };
    scanner.skip_whitespace();
    if scanner.take(b']') {
        scanner.finish()?;
        return Ok(Array::default());
    }
    let start = scanner.position();
    scanner.skip_value(max_depth)?;
    let first_end = scanner.position();
    // The rest starts after the first comma. Without a comma the rest is empty.
    let (mut rest_start, mut end) = (first_end, first_end);
    loop {
        scanner.skip_whitespace();
        if !scanner.take(b',') {
            break;
        }
        scanner.skip_whitespace();
        if rest_start == first_end {
            rest_start = scanner.position();
        }
        scanner.skip_value(max_depth)?;
        end = scanner.position();
    }
    scanner.expect(b']')?;
    scanner.finish()?;
    // The scanner has stopped at each of these positions, and in this order.
    let part = |range: Range<usize>| text.get(range).ok_or(JsonError::UnexpectedCharacter);
    Ok(Array {
        elements: part(start..end)?,
        first: part(start..first_end)?,
        rest: part(rest_start..end)?,
    })
}

/// Checks that `raw` is empty, or holds JSON values joined by commas, like [`Array::elements`]. The
/// values may have whitespace around them. The brackets around `raw` count as one level of
/// `max_depth`, as in [`scan_array`].
///
/// # Errors
///
/// The first mistake from the left.
pub fn validate_elements(raw: &str, max_depth: usize) -> Result<(), JsonError> {
    let Some(max_depth) = max_depth.min(MAX_DEPTH).checked_sub(1) else {
        return Err(JsonError::TooDeep);
    };
    if raw.is_empty() {
        return Ok(());
    }
    let mut scanner = Scanner::new(raw);
    loop {
        scanner.skip_whitespace();
        scanner.skip_value(max_depth)?;
        scanner.skip_whitespace();
        if !scanner.take(b',') {
            return scanner.finish();
        }
    }
}

/// The values of `raw`. `raw` must be valid JSON values joined by commas, like [`Array::elements`]
/// and [`Array::rest`].
///
/// Text that is not valid yields slices without meaning, but does not panic.
#[must_use]
pub fn elements(raw: &str) -> Elements<'_> {
    Elements { raw }
}

/// Iterator over raw JSON values, made by [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    raw: &'a str,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut scanner = Scanner::new(self.raw);
        scanner.skip_whitespace();
        let start = scanner.position();
        scanner.peek()?;
        scanner.skip_valid_value();
        let end = scanner.position();
        scanner.skip_whitespace();
        if !scanner.take(b',') && scanner.peek().is_some() {
            debug_assert!(false, "the text was said to be valid");
            self.raw = "";
            return None;
        }
        let value = self.raw.get(start..end)?;
        self.raw = self.raw.get(scanner.position()..).unwrap_or_default();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    /// The scan of short arrays finds what the scan of any array finds, or nothing.
    #[test]
    fn short_arrays_are_scanned_as_any_array() {
        let parts = [
            "",
            "a",
            "\"",
            "\\",
            ",",
            "]",
            "[",
            " ",
            "\u{1}",
            "\"\"",
            "\"a\"",
            "\"1234567\"",
            "\"12345678\"",
            "1",
            "é",
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":10"#,
            r#"{"_placeholder":true,"num":01}"#,
        ];
        let mut texts: Vec<String> = Vec::from([String::new()]);
        for _ in 0..4 {
            let longer = |text: &String| parts.map(|part| alloc::format!("{text}{part}"));
            texts = texts.iter().flat_map(longer).collect();
            for text in &texts {
                for whole in [
                    alloc::format!("[{text}]"),
                    alloc::format!("[{text}"),
                    alloc::format!("[\"m\",{text}]"),
                ] {
                    for depth in 1..3 {
                        let general = scan_any_array(&whole, depth, Controls::Unknown);
                        if let Some(found) = scan_short(&whole, depth) {
                            assert_eq!(Ok(found), general, "{whole}");
                        }
                        assert_eq!(scan_array(&whole, depth), general, "{whole}");
                    }
                }
            }
        }
        let exact = alloc::format!("[\"{}\"]", "x".repeat(SHORT - 4));
        assert!(scan_short(&exact, 1).is_some());
        assert!(scan_short(&exact.replacen('x', "xx", 1), 1).is_none());
        assert_eq!(scan_array("[\"m\"]", 0), Err(JsonError::TooDeep));
        let binary = r#"["m",{"_placeholder":true,"num":0},"x",{"_placeholder":true,"num":17}]"#;
        assert!(scan_short(binary, 2).is_some());
        assert!(scan_short(binary, 1).is_none());
    }

    proptest! {
        /// A text that is known to have no control characters is scanned as any other.
        #[test]
        fn what_is_known_changes_nothing(
            strings in proptest::collection::vec(("[ -~é]{0,9}", 0..120usize), 0..4),
            damage in proptest::option::of((any::<proptest::sample::Index>(), "[ -~é]?")),
        ) {
            let strings: Vec<String> = strings.into_iter().map(|(text, times)| text.repeat(times)).collect();
            let mut text = serde_json::to_string(&strings).unwrap();
            if let Some((index, other)) = damage {
                let place = index.index(text.len());
                if text.is_char_boundary(place) && text.is_char_boundary(place + 1) {
                    text.replace_range(place..=place, &other);
                }
            }
            let general = scan_any_array(&text, MAX_DEPTH, Controls::Unknown);
            prop_assert_eq!(scan_any_array(&text, MAX_DEPTH, Controls::Absent), general);
        }
    }

    #[test]
    fn the_parts_of_an_array() {
        for (text, elements, first, rest) in [
            ("[]", "", "", ""),
            ("[ ] \n", "", "", ""),
            (r#"["m"]"#, r#""m""#, r#""m""#, ""),
            (r#"["m",1,{"a":[2]}]"#, r#""m",1,{"a":[2]}"#, r#""m""#, r#"1,{"a":[2]}"#),
            (
                r#"[ "a,]\"" , 1 , [ ] ] "#,
                r#""a,]\"" , 1 , [ ]"#,
                r#""a,]\"""#,
                "1 , [ ]",
            ),
            (
                r#"[{"a":","},"é€😀"]"#,
                r#"{"a":","},"é€😀""#,
                r#"{"a":","}"#,
                r#""é€😀""#,
            ),
        ] {
            let expected = Array { elements, first, rest };
            assert_eq!(scan_array(text, MAX_DEPTH), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_array() {
        use JsonError::*;
        for (text, expected) in [
            ("", UnexpectedEnd),
            ("{}", UnexpectedCharacter),
            (" []", UnexpectedCharacter),
            ("\"[]\"", UnexpectedCharacter),
            ("[", UnexpectedEnd),
            (r#"["m""#, UnexpectedEnd),
            (r#"["m"]x"#, TrailingText),
            (r#"["m",]"#, UnexpectedCharacter),
            (r#"["m" 1]"#, UnexpectedCharacter),
            (r#"["m"}"#, UnexpectedCharacter),
            ("[\"a\u{1e}b\"]", ControlCharacter),
        ] {
            assert_eq!(scan_array(text, MAX_DEPTH), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_goes_between_the_brackets() {
        for raw in ["", "1", r#"1,{"a":[2]},"x""#, " 1 , [ ] "] {
            assert_eq!(validate_elements(raw, MAX_DEPTH), Ok(()), "{raw}");
        }
        for (raw, expected) in [
            (" ", JsonError::UnexpectedEnd),
            ("1,", JsonError::UnexpectedEnd),
            (",1", JsonError::UnexpectedCharacter),
            ("1]", JsonError::TrailingText),
            ("1],[2", JsonError::TrailingText),
            ("1 2", JsonError::TrailingText),
        ] {
            assert_eq!(validate_elements(raw, MAX_DEPTH), Err(expected), "{raw}");
        }
        assert_eq!(validate_elements("1,[]", 2), Ok(()));
        assert_eq!(validate_elements("1,[]", 1), Err(JsonError::TooDeep));
        assert_eq!(validate_elements("", 0), Err(JsonError::TooDeep));
    }

    #[test]
    fn the_outer_brackets_count() {
        assert_eq!(scan_array("[]", 0), Err(JsonError::TooDeep));
        assert!(scan_array("[1]", 1).is_ok());
        assert_eq!(scan_array("[1,[]]", 1), Err(JsonError::TooDeep));
        let deep = |n| "[".repeat(n) + &"]".repeat(n);
        assert!(scan_array(&deep(128), usize::MAX).is_ok());
        assert_eq!(scan_array(&deep(129), usize::MAX), Err(JsonError::TooDeep));
    }

    #[test]
    fn values_one_by_one() {
        for (raw, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("1", &["1"]),
            (r#"1,{"a":2},"x""#, &["1", r#"{"a":2}"#, r#""x""#]),
            (r#" 1 , [ 1 , 2 ] ,"a,\"]" "#, &["1", "[ 1 , 2 ]", r#""a,\"]""#]),
            ("null,true,-1.5e3,\"é\"", &["null", "true", "-1.5e3", "\"é\""]),
        ] {
            assert_eq!(elements(raw).collect::<Vec<_>>(), expected, "{raw}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(elements(&(deep.clone() + ",1")).collect::<Vec<_>>(), [&deep, "1"]);
    }
}
