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
use alloc::string::String;

/// Texts that are known, the shortest first. Texts of one length are in the order of their bytes.
pub(super) type Known = &'static [&'static str];

/// Bits in a digit.
const DIGIT: u32 = 6;
/// The bit of a digit that is not the last.
const MORE: u8 = 1 << DIGIT;
/// A number has at most this many digits.
const MOST_DIGITS: u32 = usize::BITS.div_ceil(DIGIT);

/// Appends texts to one text.
pub(super) struct Packer(String);

impl Packer {
    /// `bytes` is the memory that the texts need at most, beside a few bytes for each.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Appends a text.
    pub(super) fn push(&mut self, text: &str, known: Known) {
        let order = |other: &&str| (other.len(), *other).cmp(&(text.len(), text));
        match known.binary_search_by(order) {
            Ok(place) => self.push_number(place.saturating_mul(2).saturating_add(1)),
            Err(_) => {
                self.push_number(text.len().saturating_mul(2));
                self.0.push_str(text);
            }
        }
    }

    fn push_number(&mut self, mut number: usize) {
        while number >= usize::from(MORE) {
            self.0.push(char::from(number as u8 & (MORE - 1) | MORE));
            number >>= DIGIT;
        }
        self.0.push(char::from(number as u8));
    }

    pub(super) fn finish(self) -> Box<str> {
        self.0.into_boxed_str()
    }
}

/// Takes texts off the front of what a [`Packer`] has made. They have to be taken with the tables
/// with which they were appended.
#[derive(Clone, Copy)]
pub(super) struct Unpacker<'a>(pub(super) &'a str);

impl<'a> Unpacker<'a> {
    /// The next text, or `None` behind the last.
    pub(super) fn next(&mut self, known: Known) -> Option<&'a str> {
        let number = self.next_number()?;
        if number & 1 == 1 {
            return known.get(number >> 1).copied();
        }
        let (text, rest) = self.0.split_at_checked(number >> 1)?;
        self.0 = rest;
        Some(text)
    }

    fn next_number(&mut self) -> Option<usize> {
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

/// Targets of clients that are not asked to add anything.
pub(super) const TARGETS: Known = &[
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/?EIO=4&transport=websocket",
];

/// Names of header fields, as browsers, other programs and proxies spell them.
pub(super) const NAMES: Known = &[
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
];

/// Values that header fields of many requests have.
pub(super) const VALUES: Known = &[
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
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn known_texts_are_in_order() {
        for known in [TARGETS, NAMES, VALUES] {
            assert!(known.is_sorted_by_key(|text| (text.len(), *text)), "{known:?}");
            assert!(known.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn what_was_packed_comes_out() {
        let long = "ä".repeat(70_000);
        let mut texts: Vec<&str> = [0, 1, 31, 32, 63, 64, 2_047, 2_048, 2_049, 70_000]
            .map(|len| &long[..2 * len])
            .into();
        texts.extend(NAMES.iter().chain(VALUES).chain(TARGETS));
        texts.push("HOST");
        let mut packer = Packer::with_capacity(0);
        for text in &texts {
            packer.push(text, NAMES);
        }
        let packed = packer.finish();
        let mut unpacker = Unpacker(&packed);
        for text in &texts {
            assert_eq!(unpacker.next(NAMES), Some(*text));
        }
        assert_eq!(unpacker.next(NAMES), None);

        let mut packer = Packer::with_capacity(0);
        NAMES.iter().for_each(|name| packer.push(name, NAMES));
        assert!(packer.finish().len() <= 2 * NAMES.len(), "known texts are numbers");
    }
}
