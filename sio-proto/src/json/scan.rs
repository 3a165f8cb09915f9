//! The scanner: one pass over the bytes, one bit per open bracket.
//!
//! Most bytes of JSON stand in strings, so strings decide the speed. [`plain_run`] steps over
//! characters that need no attention, a word or a block at a time, in loops that the compiler turns
//! into vector instructions.

use super::{JsonError, MAX_DEPTH};

/// Checks that `text` is exactly one JSON value, nested at most `max_depth` deep, with optional
/// whitespace around it.
///
/// A bare scalar has depth 0, `[]` has depth 1. Limits above [`MAX_DEPTH`] mean [`MAX_DEPTH`].
///
/// # Errors
///
/// The first [`JsonError`] from the left.
pub fn validate(text: &str, max_depth: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    scanner.skip_value(max_depth)?;
    scanner.finish()
}

/// The index of the byte at which [`validate`] finds a mistake in `text`, or the length of `text`
/// if there is none. It is for messages to people, and scans the text again.
#[must_use]
pub fn stops_at(text: &str, max_depth: usize) -> usize {
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    // The caller knows the error. Only the position of the scanner is new.
    let _ = scanner.skip_value(max_depth).and_then(|()| scanner.finish());
    scanner.position()
}

/// A position in JSON text.
///
/// Every step ends on an ASCII character or at the end. So any two positions at which the scanner
/// stopped delimit a `str`.
///
/// A step never goes beyond the end of the text, and no text is longer than `isize::MAX` bytes. So
/// the sums of positions cannot wrap. If one did, the scanner would read at another place, but
/// every read is checked.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    controls: Controls,
}

/// What is known of the control characters (below U+0020) in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controls {
    /// Nothing.
    Unknown,
    /// There are none.
    Absent,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self::knowing(text, Controls::Unknown)
    }

    /// A scanner of a text of which something is known.
    pub(super) fn knowing(text: &'a str, controls: Controls) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            controls,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The text that has not been read.
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Steps over bytes that have been looked at.
    #[inline(always)]
    fn step(&mut self, bytes: usize) {
        step!(each bytes);
        self.at = self.at.wrapping_add(bytes);
    }

    /// Steps over `wanted` if it comes next.
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.step(usize::from(found));
        found
    }

    /// Steps over `wanted`. It is an error if another character comes next.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), JsonError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    #[inline]
    pub(super) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step(1);
        }
    }

    /// Checks that only whitespace follows.
    pub(super) fn finish(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError::TrailingText),
        }
    }

    /// Checks one value and steps over it. The position must be on its first character.
    pub(super) fn skip_value(&mut self, max_depth: usize) -> Result<(), JsonError> {
        // How many brackets may be opened beyond those that are open.
        let most = max_depth.min(MAX_DEPTH);
        let mut room = most;
        // One bit per open bracket; the innermost bracket is the lowest bit. A set bit means an
        // object, a clear bit means an array.
        let mut objects = 0u128;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(open @ (b'[' | b'{')) => {
                    room = room.checked_sub(1).ok_or(JsonError::TooDeep)?;
                    objects = objects << 1 | u128::from(open == b'{');
                    self.step(1);
                    self.skip_whitespace();
                    if self.peek() != Some(closing(objects)) {
                        self.skip_key_in(objects)?;
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_literal(b"true")?,
                Some(b'f') => self.skip_literal(b"false")?,
                Some(b'n') => self.skip_literal(b"null")?,
                _ => return Err(self.unexpected()),
            }
            // One value has been read. Closes the brackets that end here.
            loop {
                if room == most {
                    return Ok(());
                }
                self.skip_whitespace();
                if self.take(b',') {
                    self.skip_whitespace();
                    self.skip_key_in(objects)?;
                    break;
                }
                self.expect(closing(objects))?;
                room = room.wrapping_add(1); // it is less than `most`
                objects >>= 1;
            }
        }
    }

    /// Steps over `"key" :` if the innermost bracket belongs to an object.
    fn skip_key_in(&mut self, objects: u128) -> Result<(), JsonError> {
        if objects & 1 == 0 {
            return Ok(());
        }
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.skip_string()?;
        self.skip_whitespace();
        self.expect(b':')?;
        self.skip_whitespace();
        Ok(())
    }

    /// Steps over a string. The position must be on its opening quote.
    #[inline]
    pub(super) fn skip_string(&mut self) -> Result<(), JsonError> {
        debug_assert_eq!(self.peek(), Some(b'"'));
        self.step(1);
        loop {
            self.step(run_of_string(self.rest(), self.controls));
            match self.peek() {
                Some(b'"') => {
                    self.step(1);
                    return Ok(());
                }
                Some(b'\\') => self.skip_escape()?,
                Some(_) => return Err(JsonError::ControlCharacter),
                None => return Err(JsonError::UnexpectedEnd),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonError> {
        self.step(1);
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.step(1),
            Some(b'u') => {
                self.step(1);
                for _ in 0..4 {
                    match self.peek() {
                        Some(digit) if digit.is_ascii_hexdigit() => self.step(1),
                        Some(_) => return Err(JsonError::InvalidEscape),
                        None => return Err(JsonError::UnexpectedEnd),
                    }
                }
            }
            Some(_) => return Err(JsonError::InvalidEscape),
            None => return Err(JsonError::UnexpectedEnd),
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.skip_digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(JsonError::InvalidNumber);
        }
        if self.take(b'.') {
            self.skip_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.step(1);
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// Steps over digits. There must be at least one.
    fn skip_digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step(1);
        }
        if self.at > start {
            Ok(())
        } else if self.peek().is_none() {
            Err(JsonError::UnexpectedEnd)
        } else {
            Err(JsonError::InvalidNumber)
        }
    }

    fn skip_literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        let rest = self.rest();
        if rest.starts_with(literal) {
            self.step(literal.len());
            Ok(())
        } else if literal.starts_with(rest) {
            Err(JsonError::UnexpectedEnd)
        } else {
            Err(JsonError::UnexpectedCharacter)
        }
    }

    /// Steps over one value of text that is known to be valid, at any depth.
    pub(super) fn skip_valid_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_valid_string(),
                b'[' | b'{' => {
                    depth = depth.saturating_add(1);
                    self.step(1);
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    self.step(1);
                }
                b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return,
                _ => self.step(1),
            }
        }
    }

    /// Steps over a string of text that is known to be valid.
    pub(super) fn skip_valid_string(&mut self) {
        if self.skip_string().is_err() {
            debug_assert!(false, "the text was said to be valid");
            self.at = self.bytes.len();
        }
    }

    pub(super) fn unexpected(&self) -> JsonError {
        match self.peek() {
            Some(_) => JsonError::UnexpectedCharacter,
            None => JsonError::UnexpectedEnd,
        }
    }
}

/// The bracket that closes the innermost open one.
fn closing(objects: u128) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}

/// The number of bytes before the first quote, backslash or control character.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    run_of_string(bytes, Controls::Unknown)
}

/// [`plain_run`] for bytes of which something is known.
#[inline]
fn run_of_string(bytes: &[u8], controls: Controls) -> usize {
    // Most strings end within a few words. Only longer strings are worth whole blocks.
    match plain_words(bytes, 0, SHORT) {
        Ok(at) => long_plain_run(bytes, at, controls),
        Err(special) => special,
    }
}

/// Where a string ends that begins at `at` and has no escapes: the place behind its closing quote.
/// Returns `None` if there is no such string.
#[inline]
pub(crate) fn end_of_plain_string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let end = match plain_words(bytes, at.wrapping_add(1), bytes.len()) {
        Err(special) => special,
        Ok(at) => at.wrapping_add(bytes.get(at..)?.iter().position(|byte| is_special(*byte))?),
    };
    (bytes.get(end) == Some(&b'"')).then_some(end.wrapping_add(1))
}

/// In the first so many bytes, a special byte is searched a word at a time.
const SHORT: usize = 64;

/// The first window of a long search, and the longest.
const FIRST_WINDOW: usize = 256;
const LONGEST_WINDOW: usize = 8 * 1024;

/// [`plain_run`] for bytes whose first `at` bytes are known to be plain.
///
/// Quotes and backslashes are searched in one window of bytes after the other, and control
/// characters only in front of what was found, unless there are none. A window is twice as long as
/// the one before it, so no search reads much more than it steps over, wherever control characters
/// stand.
#[inline(never)]
fn long_plain_run(bytes: &[u8], mut at: usize, controls: Controls) -> usize {
    let mut length = FIRST_WINDOW;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let window = rest.get(..length).unwrap_or(rest);
        step!(bulk window.len());
        let found = memchr::memchr2(b'"', b'\\', window);
        let plain = match found {
            Some(end) => window.get(..end).unwrap_or_default(),
            None => window,
        };
        if controls == Controls::Absent {
            debug_assert!(!has_control(plain), "the text was said to have none");
        } else if has_control(plain) {
            let control = plain.iter().position(|byte| *byte < 0x20);
            return at.wrapping_add(control.unwrap_or(plain.len()));
        }
        at = at.wrapping_add(plain.len());
        if found.is_some() || plain.len() < length {
            return at;
        }
        length = length.wrapping_mul(2).min(LONGEST_WINDOW);
    }
}

/// Whether a control character is among the bytes. A block has no early exit, so that its loop
/// becomes vector instructions.
#[inline]
fn has_control(bytes: &[u8]) -> bool {
    let least = |bytes: &[u8]| bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let (blocks, rest) = bytes.as_chunks::<64>();
    let of_blocks = blocks.iter().fold([u8::MAX; 64], |mut least, block| {
        for (least, byte) in least.iter_mut().zip(block) {
            *least = (*least).min(*byte);
        }
        least
    });
    least(&of_blocks).min(least(rest)) < 0x20
}

/// Steps over whole words from `at` up to `end`. `Err` holds the position of a special byte.
#[inline]
fn plain_words(bytes: &[u8], mut at: usize, end: usize) -> Result<usize, usize> {
    while at < end
        && let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk())
    {
        let specials = special_bytes(u64::from_le_bytes(*word));
        if specials != 0 {
            return Err(at.wrapping_add(specials.trailing_zeros() as usize / 8));
        }
        at = at.wrapping_add(size_of::<u64>());
    }
    Ok(at)
}

#[inline]
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Sets the highest bit of each special byte. Borrows run upwards, so a byte above a special byte
/// may be marked by mistake. The lowest mark is always right.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    // With this bit changed, the quote is 0x20 and follows the control characters directly.
    let low = below(word ^ (ONES * 2), 0x21);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (low | backslash) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    #[test]
    fn what_json_parse_says() {
        use JsonError::*;
        let cases: &[(&str, Result<(), JsonError>)] = &[
            ("null", Ok(())),
            (" \t\r\n true \n", Ok(())),
            ("false", Ok(())),
            ("\"\"", Ok(())),
            ("\"é€😀\"", Ok(())),
            (r#""\"\\\/\b\f\n\r\t\u00e9\ud800""#, Ok(())),
            ("0", Ok(())),
            ("-0", Ok(())),
            ("-12.50e+3", Ok(())),
            ("1E9999", Ok(())),
            ("12345678901234567890", Ok(())),
            ("[]", Ok(())),
            ("[ ]", Ok(())),
            ("{ }", Ok(())),
            ("[1, [2, {\"a\" : [ ] , \"b\":{}}], \"x\"]", Ok(())),
            (r#"{"a":1,"a":2}"#, Ok(())),
            ("\"\u{7f}\u{2028}\"", Ok(())),
            ("", Err(UnexpectedEnd)),
            ("  ", Err(UnexpectedEnd)),
            ("nul", Err(UnexpectedEnd)),
            ("nulx", Err(UnexpectedCharacter)),
            ("nullx", Err(TrailingText)),
            ("True", Err(UnexpectedCharacter)),
            ("\"", Err(UnexpectedEnd)),
            ("\"\\", Err(UnexpectedEnd)),
            ("\"\\u12", Err(UnexpectedEnd)),
            ("\"\\u12g4\"", Err(InvalidEscape)),
            ("\"\\x\"", Err(InvalidEscape)),
            ("\"a\nb\"", Err(ControlCharacter)),
            ("\"\u{1e}\"", Err(ControlCharacter)),
            ("\"\u{0}\"", Err(ControlCharacter)),
            ("'a'", Err(UnexpectedCharacter)),
            ("01", Err(InvalidNumber)),
            ("-", Err(UnexpectedEnd)),
            ("-x", Err(InvalidNumber)),
            ("+1", Err(UnexpectedCharacter)),
            (".5", Err(UnexpectedCharacter)),
            ("1.", Err(UnexpectedEnd)),
            ("1.e3", Err(InvalidNumber)),
            ("1e", Err(UnexpectedEnd)),
            ("1e+-2", Err(InvalidNumber)),
            ("0x1", Err(TrailingText)),
            ("NaN", Err(UnexpectedCharacter)),
            ("[", Err(UnexpectedEnd)),
            ("[1", Err(UnexpectedEnd)),
            ("[1,", Err(UnexpectedEnd)),
            ("[1,]", Err(UnexpectedCharacter)),
            ("[,1]", Err(UnexpectedCharacter)),
            ("[1 2]", Err(UnexpectedCharacter)),
            ("[1}", Err(UnexpectedCharacter)),
            ("{]", Err(UnexpectedCharacter)),
            ("{\"a\"}", Err(UnexpectedCharacter)),
            ("{\"a\":}", Err(UnexpectedCharacter)),
            ("{\"a\":1,}", Err(UnexpectedCharacter)),
            ("{1:1}", Err(UnexpectedCharacter)),
            ("{\"a\":1", Err(UnexpectedEnd)),
            ("1]", Err(TrailingText)),
            ("[] []", Err(TrailingText)),
            ("\u{a0}1", Err(UnexpectedCharacter)),
            ("\u{feff}1", Err(UnexpectedCharacter)),
        ];
        for &(text, expected) in cases {
            assert_eq!(validate(text, MAX_DEPTH), expected, "{text:?}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |n| "[{\"a\":".repeat(n) + "1" + &"}]".repeat(n);
        assert_eq!(validate("1", 0), Ok(()));
        assert_eq!(validate("[]", 0), Err(JsonError::TooDeep));
        assert_eq!(validate("[[]]", 1), Err(JsonError::TooDeep));
        assert_eq!(validate(&nested(64), 128), Ok(()));
        assert_eq!(validate(&nested(64), 127), Err(JsonError::TooDeep));
        assert_eq!(validate(&nested(65), usize::MAX), Err(JsonError::TooDeep));
        assert_eq!(validate(&"[".repeat(1_000_000), 128), Err(JsonError::TooDeep));
        assert_eq!(
            validate(&("[[[]],[[]],".repeat(1000) + "1"), 128),
            Err(JsonError::TooDeep)
        );
        assert_eq!(validate(&("[".repeat(128) + &"]".repeat(128)), 128), Ok(()));
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for length in 0..300 {
            let mut bytes: Vec<u8> = (0..length).map(|i| [b' ', b'a', 0x7f, 0xc3, 0xff][i % 5]).collect();
            assert_eq!(plain_run(&bytes), length);
            for special in [b'"', b'\\', 0, 0x1e, 0x1f] {
                for at in 0..length {
                    let plain = core::mem::replace(&mut bytes[at], special);
                    assert_eq!(plain_run(&bytes), at, "{special} in {length}");
                    if special >= 0x20 {
                        assert_eq!(run_of_string(&bytes, Controls::Absent), at, "{special} in {length}");
                    }
                    bytes[at] = plain;
                }
            }
        }
    }

    /// A long search has windows. Whatever stands first is found, and nothing behind it.
    #[test]
    fn a_special_byte_is_found_in_every_window() {
        let mut bytes = alloc::vec![b'a'; 40_000];
        assert_eq!(plain_run(&bytes), bytes.len());
        let ends = [1, 3, 7, 15, 31].map(|windows| SHORT + windows * FIRST_WINDOW);
        let last = [bytes.len() - 1, bytes.len()];
        for at in ends.into_iter().chain(last).flat_map(|end| end - 1..end + 2) {
            for special in [b'"', b'\\', 0, 0x1f] {
                let Some(place) = bytes.get_mut(at) else { continue };
                *place = special;
                let other = if special < 0x20 { b'"' } else { 0 };
                for behind in [at + 1, at + 100, at + 9_000] {
                    let kept = bytes.get_mut(behind).map(|byte| core::mem::replace(byte, other));
                    assert_eq!(plain_run(&bytes), at, "{special} in front of {behind}");
                    if let (Some(byte), Some(kept)) = (bytes.get_mut(behind), kept) {
                        *byte = kept;
                    }
                }
                bytes[at] = b'a';
            }
        }
    }

    /// JSON texts, most of them valid: values of every kind, with whitespace between the tokens.
    fn json_text() -> impl Strategy<Value = String> {
        let space = prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t\r\n")];
        let string = prop_oneof![
            "[a-z\"é\\\\]{0,4}".prop_map(|s| serde_json::to_string(&s).unwrap()),
            "\"[ -~\u{80}-\u{2ff}]{0,80}\"",
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
            r#""(\\(["\\/bfnrt]|u[0-9a-fA-F]{4})|[a-c])*""#,
        ];
        let leaf = prop_oneof![
            string.clone(),
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            Just(String::from("null")),
            Just(String::from("true")),
            Just(String::from("false")),
        ];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            let padded = (space.clone(), inner, space.clone()).prop_map(|(a, v, b)| alloc::format!("{a}{v}{b}"));
            let member = (string.clone(), padded.clone()).prop_map(|(k, v)| alloc::format!("{k}:{v}"));
            prop_oneof![
                proptest::collection::vec(padded, 0..5).prop_map(|v| alloc::format!("[{}]", v.join(","))),
                proptest::collection::vec(member, 0..5).prop_map(|v| alloc::format!("{{{}}}", v.join(","))),
            ]
        })
    }

    /// The expected result comes from `serde_json` when it skips a value. Like `JSON.parse`, it
    /// then accepts lone surrogates and numbers that no `f64` can hold. When `serde_json` builds a
    /// value, it refuses them.
    fn oracle(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_anything(text in "[\\[\\]{},:\"\\\\0-2.eE+\\-tfnu ral\u{1}é]{0,24}") {
            prop_assert_eq!(validate(&text, MAX_DEPTH).is_ok(), oracle(&text));
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert_eq!(validate(&text, MAX_DEPTH), Ok(()));
            }
        }

        #[test]
        fn agrees_with_serde_json_on_json(text in json_text()) {
            prop_assert_eq!(validate(&text, MAX_DEPTH).is_ok(), oracle(&text));
        }

        #[test]
        fn agrees_with_serde_json_on_damaged_json(
            text in json_text(), at in any::<prop::sample::Index>(), new in "[\\[\\]{},:\"\\\\0a. \u{1}]?",
        ) {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..=at, new.chars());
            let text: String = chars.into_iter().collect();
            prop_assert_eq!(validate(&text, MAX_DEPTH).is_ok(), oracle(&text), "{}", text);
        }

        #[test]
        fn skipping_valid_text_ends_where_checking_it_does(text in json_text(), tail in "|[,]|, 1|  ,2") {
            if oracle(&text) {
                let text = text + &tail;
                let (mut checking, mut skipping) = (Scanner::new(&text), Scanner::new(&text));
                prop_assert_eq!(checking.skip_value(MAX_DEPTH), Ok(()));
                skipping.skip_valid_value();
                prop_assert_eq!(checking.position(), skipping.position());
            }
        }
    }
}
