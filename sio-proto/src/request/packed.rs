//! Texts in one piece of memory, each behind a number. A text that most requests have is only a
//! number.
//!
//! ```text
//!   +--------+------+--------+--------+------+
//!   | number | text | number | number | text |        number: 2 × length of the text behind it
//!   +--------+------+--------+--------+------+                2 × place in a table of known texts + 1
//! ```
//! A number is written in digits of 6 bits, the lowest first. Each digit but the last has bit 6
//! set. So digits are ASCII, and the whole is a text.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Texts that are known.
pub(super) struct Known {
    /// The shortest first.
    texts: &'static [&'static str],
    /// For each length the place of the first text that is not shorter.
    from: [u8; LONGEST + 2],
}

/// The length of the longest known text.
const LONGEST: usize = 42;

impl Known {
    /// `texts` are in the order of their lengths.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "the compiler computes this table"
    )]
    const fn new(texts: &'static [&'static str]) -> Self {
        let mut from = [0; LONGEST + 2];
        let (mut length, mut place) = (0, 0);
        while length < from.len() {
            while place < texts.len() && texts[place].len() < length {
                place += 1;
            }
            from[length] = place as u8;
            length += 1;
        }
        assert!(place == texts.len() && place <= u8::MAX as usize);
        Self { texts, from }
    }

    /// The place of a text.
    fn place(&self, text: &str) -> Option<usize> {
        let (first, behind) = (
            *self.from.get(text.len())?,
            *self.from.get(text.len().saturating_add(1))?,
        );
        let same_length = self.texts.get(usize::from(first)..usize::from(behind))?;
        // Most texts that are not meant differ in the first byte.
        let start = text.as_bytes().first();
        let at = same_length
            .iter()
            .position(|known| known.as_bytes().first() == start && *known == text)?;
        Some(at.saturating_add(first.into()))
    }
}

/// No text is known.
pub(super) static NOTHING: Known = Known::new(&[]);

/// Bits in a digit.
const DIGIT: u32 = 6;
/// The bit of a digit that is not the last.
const MORE: u8 = 1 << DIGIT;
/// A number has at most this many digits.
const MOST_DIGITS: u32 = usize::BITS.div_ceil(DIGIT);

/// Up to this number of bytes, texts are put together without memory of their own.
const FEW: usize = 512;

/// Appends texts to one text.
pub(super) struct Packer {
    few: [u8; FEW],
    /// How many bytes of `few` are used.
    used: usize,
    /// All bytes, if they are more than `few` can hold.
    many: Vec<u8>,
}

impl Packer {
    pub(super) const fn new() -> Self {
        Self {
            few: [0; FEW],
            used: 0,
            many: Vec::new(),
        }
    }

    /// Appends a text.
    pub(super) fn push(&mut self, text: &str, known: &Known) {
        step!(bulk text.len());
        match known.place(text) {
            Some(place) => self.push_number(place.saturating_mul(2).saturating_add(1)),
            None => {
                self.push_length(text.len());
                self.put(text.as_bytes());
            }
        }
    }

    /// Announces a text of this length, of which the caller appends the bytes.
    pub(super) fn push_length(&mut self, length: usize) {
        self.push_number(length.saturating_mul(2));
    }

    /// Appends the lowest digits of a number, the lowest first.
    pub(super) fn push_digits(&mut self, mut number: u128, digits: usize) {
        for _ in 0..digits {
            self.put(&[number as u8 & (MORE - 1)]);
            number >>= DIGIT;
        }
    }

    /// Appends a number of 64 bits, or that there is none.
    pub(super) fn push_optional(&mut self, number: Option<u64>) {
        let digits = number.map_or(0, |number| {
            let bits = u64::BITS.saturating_sub(number.leading_zeros());
            bits.div_ceil(DIGIT).max(1) as usize
        });
        self.push_length(digits);
        self.push_digits(number.unwrap_or_default().into(), digits);
    }

    /// Appends a number.
    pub(super) fn push_number(&mut self, mut number: usize) {
        while number >= usize::from(MORE) {
            self.put(&[number as u8 & (MORE - 1) | MORE]);
            number >>= DIGIT;
        }
        self.put(&[number as u8]);
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.used.saturating_add(bytes.len());
        match self.few.get_mut(self.used..end) {
            Some(room) if self.many.is_empty() => {
                room.copy_from_slice(bytes);
                self.used = end;
            }
            _ => self.put_behind_many(bytes),
        }
    }

    #[cold]
    fn put_behind_many(&mut self, bytes: &[u8]) {
        if self.many.is_empty() {
            self.many
                .extend_from_slice(self.few.get(..self.used).unwrap_or_default());
        }
        self.many.extend_from_slice(bytes);
    }

    /// The whole, in memory that is exactly as large as needed.
    pub(super) fn finish(self) -> Box<str> {
        let all = match self.many.is_empty() {
            true => self.few.get(..self.used).unwrap_or_default(),
            false => &self.many,
        };
        Box::from(core::str::from_utf8(all).unwrap_or_default()) // texts, and digits that are ASCII
    }
}

/// Takes texts off the front of what a [`Packer`] has made. They have to be taken with the tables
/// with which they were appended.
#[derive(Clone, Copy)]
pub(super) struct Unpacker<'a>(pub(super) &'a str);

impl<'a> Unpacker<'a> {
    /// The next text, or `None` behind the last.
    pub(super) fn next(&mut self, known: &Known) -> Option<&'a str> {
        step!();
        let number = self.next_number()?;
        if number & 1 == 1 {
            return known.texts.get(number >> 1).copied();
        }
        let (text, rest) = self.0.split_at_checked(number >> 1)?;
        self.0 = rest;
        Some(text)
    }

    /// The next text, which is a number of 64 bits or nothing.
    pub(super) fn next_optional(&mut self) -> Option<u64> {
        let digits = self.next(&NOTHING)?;
        (!digits.is_empty()).then(|| number_of(digits.as_bytes()) as u64)
    }

    /// The next number.
    pub(super) fn next_number(&mut self) -> Option<usize> {
        let mut number = 0;
        for (digit, byte) in (0..MOST_DIGITS).zip(self.0.bytes()) {
            number |= usize::from(byte & (MORE - 1)) << digit.wrapping_mul(DIGIT);
            if byte & MORE == 0 {
                self.0 = self.0.get(digit.wrapping_add(1) as usize..)?;
                return Some(number);
            }
        }
        None
    }
}

/// The number with these digits.
pub(super) fn number_of(digits: &[u8]) -> u128 {
    let number = |number, digit: &u8| number << DIGIT | u128::from(*digit);
    digits.iter().rev().fold(0, number)
}

/// Targets of clients that are not asked to add anything.
pub(super) static TARGETS: Known = Known::new(&[
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/?EIO=4&transport=websocket",
]);

/// Names of header fields, as browsers, other programs and proxies spell them.
pub(super) static NAMES: Known = Known::new(&[
    "TE",
    "te",
    "DNT",
    "dnt",
    "Host",
    "host",
    "Accept",
    "Cookie",
    "Origin",
    "Pragma",
    "accept",
    "cookie",
    "origin",
    "pragma",
    "Referer",
    "Sec-GPC",
    "Upgrade",
    "referer",
    "sec-gpc",
    "upgrade",
    "Priority",
    "priority",
    "Forwarded",
    "X-Real-IP",
    "X-Real-Ip",
    "forwarded",
    "sec-ch-ua",
    "x-real-ip",
    "Connection",
    "User-Agent",
    "connection",
    "user-agent",
    "Content-Type",
    "X-Request-ID",
    "X-Request-Id",
    "content-type",
    "x-request-id",
    "Authorization",
    "Cache-Control",
    "authorization",
    "cache-control",
    "Content-Length",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "content-length",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "Accept-Encoding",
    "Accept-Language",
    "X-Forwarded-For",
    "accept-encoding",
    "accept-language",
    "x-forwarded-for",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Requested-With",
    "sec-ch-ua-mobile",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-requested-with",
    "Sec-WebSocket-Key",
    "X-Forwarded-Proto",
    "sec-websocket-key",
    "x-forwarded-proto",
    "sec-ch-ua-platform",
    "Sec-WebSocket-Version",
    "sec-websocket-version",
    "Sec-WebSocket-Protocol",
    "sec-websocket-protocol",
    "Sec-WebSocket-Extensions",
    "sec-websocket-extensions",
]);

/// Values that header fields of many requests have.
pub(super) static VALUES: Known = Known::new(&[
    "",
    "0",
    "1",
    "13",
    "80",
    "?0",
    "?1",
    "*/*",
    "443",
    "cors",
    "http",
    "close",
    "empty",
    "en-US",
    "https",
    "u=1, i",
    "u=3, i",
    "\"Linux\"",
    "\"macOS\"",
    "Upgrade",
    "no-cors",
    "upgrade",
    "no-cache",
    "trailers",
    "\"Android\"",
    "\"Windows\"",
    "WebSocket",
    "max-age=0",
    "same-site",
    "websocket",
    "cross-site",
    "keep-alive",
    "same-origin",
    "gzip, deflate",
    "XMLHttpRequest",
    "en-US,en;q=0.5",
    "en-US,en;q=0.9",
    "gzip, deflate, br",
    "permessage-deflate",
    "Keep-Alive, Upgrade",
    "keep-alive, Upgrade",
    "gzip, deflate, br, zstd",
    "text/plain;charset=UTF-8",
    "permessage-deflate; client_max_window_bits",
]);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_known_text_has_its_place() {
        for known in [&TARGETS, &NAMES, &VALUES, &NOTHING] {
            for (place, text) in known.texts.iter().enumerate() {
                assert_eq!(known.place(text), Some(place), "{text}");
            }
            for text in [
                "Hos",
                "Hostess",
                "x",
                "13 ",
                &"x".repeat(LONGEST),
                &"x".repeat(LONGEST + 1),
            ] {
                assert_eq!(known.place(text), None, "{text}");
            }
        }
    }

    #[test]
    fn numbers_come_out_as_they_were() {
        let numbers = [None, Some(0), Some(63), Some(64), Some(1_800_000_000), Some(u64::MAX)];
        let mut packer = Packer::new();
        for number in numbers {
            packer.push_optional(number);
            packer.push_number(number.unwrap_or_default() as u32 as usize);
        }
        let packed = packer.finish();
        let mut unpacker = Unpacker(&packed);
        for number in numbers {
            assert_eq!(unpacker.next_optional(), number);
            assert_eq!(unpacker.next_number(), Some(number.unwrap_or_default() as u32 as usize));
        }
        assert_eq!(unpacker.next_optional(), None);
    }

    #[test]
    fn what_was_packed_comes_out() {
        let long = "ä".repeat(70_000);
        let mut texts: Vec<&str> = [0, 1, 31, 32, 63, 64, 2_047, 2_048, 2_049, 70_000]
            .map(|len| &long[..2 * len])
            .into();
        texts.extend(NAMES.texts.iter().chain(VALUES.texts).chain(TARGETS.texts));
        texts.push("HOST");
        let mut packer = Packer::new();
        for text in &texts {
            packer.push(text, &NAMES);
        }
        let packed = packer.finish();
        let mut unpacker = Unpacker(&packed);
        for text in &texts {
            assert_eq!(unpacker.next(&NAMES), Some(*text));
        }
        assert_eq!(unpacker.next(&NAMES), None);

        for len in FEW - 10..FEW + 10 {
            let (mut packer, text) = (Packer::new(), "x".repeat(len));
            packer.push(&text, &NOTHING);
            packer.push("end", &NOTHING);
            let packed = packer.finish();
            let mut unpacker = Unpacker(&packed);
            assert_eq!(unpacker.next(&NOTHING), Some(&*text), "{len} bytes");
            assert_eq!(unpacker.next(&NOTHING), Some("end"), "behind {len} bytes");
        }

        let mut packer = Packer::new();
        NAMES.texts.iter().for_each(|name| packer.push(name, &NAMES));
        assert!(
            packer.finish().len() <= 2 * NAMES.texts.len(),
            "known texts are numbers"
        );
    }
}
