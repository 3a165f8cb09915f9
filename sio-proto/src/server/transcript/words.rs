//! One line while it is read. Every mistake is named, and nothing is guessed: one word too many is
//! an error, and so is one word too few.

use alloc::vec::Vec;
use core::str::FromStr;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::Problem;
use crate::id::{SessionSlot, SocketSlot};
use crate::{LinkId, SessionKey, SocketKey, Time};

/// The most items of a list in a line. Each item has at least one word.
const MAX_ITEMS: usize = 1_000_000;

/// The rest of a line.
pub(super) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(super) const fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next word, unchanged.
    pub(super) fn word(&mut self, what: &'static str) -> Result<&'a str, Problem> {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        if word.is_empty() || word.starts_with('"') {
            return Err(Problem::Missing(what));
        }
        self.rest = rest;
        Ok(word)
    }

    /// A text in quotes.
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<Bytes, Problem> {
        let inner = self.rest.strip_prefix('"').ok_or(Problem::Missing(what))?;
        let (bytes, rest) = unquote(inner).ok_or(Problem::Invalid(what))?;
        self.rest = match rest.strip_prefix(' ') {
            Some(rest) => rest,
            None if rest.is_empty() => rest,
            None => return Err(Problem::Invalid(what)),
        };
        Ok(bytes.into())
    }

    /// Bytes as hexadecimal digits.
    pub(super) fn hex(&mut self, what: &'static str) -> Result<Vec<u8>, Problem> {
        let digits = self.word(what)?.as_bytes();
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
            _ => None,
        });
        pairs.collect::<Option<_>>().ok_or(Problem::Invalid(what))
    }

    /// A text in quotes that has to be UTF-8.
    pub(super) fn text(&mut self, what: &'static str) -> Result<ByteString, Problem> {
        ByteString::try_from(self.bytes(what)?).map_err(|_| Problem::Invalid(what))
    }

    /// A text, or the word `-`.
    pub(super) fn optional_text(&mut self, what: &'static str) -> Result<Option<ByteString>, Problem> {
        match self.skip("-") {
            true => Ok(None),
            false => self.text(what).map(Some),
        }
    }

    /// Takes the next word if it is equal to `word`.
    pub(super) fn skip(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else {
            return false;
        };
        let rest = match rest.strip_prefix(' ') {
            None if rest.is_empty() => rest,
            Some(rest) => rest,
            None => return false,
        };
        self.rest = rest;
        true
    }

    pub(super) fn number<T: FromStr>(&mut self, what: &'static str) -> Result<T, Problem> {
        self.word(what)?.parse().map_err(|_| Problem::Invalid(what))
    }

    /// A number, or the word `-`.
    pub(super) fn optional_number<T: FromStr>(&mut self, what: &'static str) -> Result<Option<T>, Problem> {
        match self.skip("-") {
            true => Ok(None),
            false => self.number(what).map(Some),
        }
    }

    /// The number of items that follow.
    pub(super) fn count(&mut self, what: &'static str) -> Result<usize, Problem> {
        let count = self.number(what)?;
        // Each item is a word and a space, so a line has no more items than bytes.
        match count <= MAX_ITEMS && count <= self.rest.len() {
            true => Ok(count),
            false => Err(Problem::Invalid(what)),
        }
    }

    /// A list: the number of items, and each item.
    pub(super) fn texts(&mut self, what: &'static str) -> Result<Vec<ByteString>, Problem> {
        let count = self.count(what)?;
        (0..count).map(|_| self.text(what)).collect()
    }

    pub(super) fn payloads(&mut self, what: &'static str) -> Result<Vec<Bytes>, Problem> {
        let count = self.count(what)?;
        (0..count).map(|_| self.bytes(what)).collect()
    }

    /// One of two words.
    pub(super) fn flag(&mut self, what: &'static str, yes: &str, no: &str) -> Result<bool, Problem> {
        match self.word(what)? {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            _ => Err(Problem::Invalid(what)),
        }
    }

    fn pair(&mut self, what: &'static str) -> Result<(u32, u32), Problem> {
        let (slot, generation) = self.word(what)?.split_once('.').ok_or(Problem::Invalid(what))?;
        let number = |text: &str| text.parse().map_err(|_| Problem::Invalid(what));
        Ok((number(slot)?, number(generation)?))
    }

    pub(super) fn link(&mut self) -> Result<LinkId, Problem> {
        let (slot, generation) = self.pair("a link")?;
        // The shard's table has a place for each slot.
        match slot < MAX_ITEMS as u32 {
            true => Ok(LinkId::new(slot, generation)),
            false => Err(Problem::Invalid("a link")),
        }
    }

    pub(super) fn socket(&mut self) -> Result<SocketKey, Problem> {
        let (slot, generation) = self.pair("a socket")?;
        let slot = SocketSlot(slot);
        Ok(SocketKey { slot, generation })
    }

    pub(super) fn session(&mut self) -> Result<SessionKey, Problem> {
        let (slot, generation) = self.pair("a session")?;
        let slot = SessionSlot(slot);
        Ok(SessionKey { slot, generation })
    }

    pub(super) fn duration(&mut self, what: &'static str) -> Result<Duration, Problem> {
        let (seconds, micros) = self.word(what)?.split_once('.').ok_or(Problem::Invalid(what))?;
        let (seconds, micros) = match micros.len() {
            6 => (seconds.parse::<u64>(), micros.parse::<u32>()),
            _ => return Err(Problem::Invalid(what)),
        };
        match (seconds, micros) {
            // Six digits, so less than a second.
            (Ok(seconds), Ok(micros)) => Ok(Duration::new(seconds, micros * 1_000)),
            _ => Err(Problem::Invalid(what)),
        }
    }

    pub(super) fn time(&mut self, what: &'static str) -> Result<Time, Problem> {
        self.duration(what).map(|since| Time::ZERO + since)
    }

    pub(super) fn optional_time(&mut self, what: &'static str) -> Result<Option<Time>, Problem> {
        match self.skip("-") {
            true => Ok(None),
            false => self.time(what).map(Some),
        }
    }

    /// A duration, or `-` if there is none.
    pub(super) fn optional_duration(&mut self, what: &'static str) -> Result<Option<Duration>, Problem> {
        match self.skip("-") {
            true => Ok(None),
            false => self.duration(what).map(Some),
        }
    }

    /// Checks that no word follows.
    pub(super) const fn end(&self) -> Result<(), Problem> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(Problem::Trailing),
        }
    }
}

/// The bytes of a text in quotes, and the text behind the final quote.
fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\'])?;
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        if rest.as_bytes()[at] == b'"' {
            return Some((bytes, after));
        }
        let (byte, length) = match after.as_bytes().first()? {
            b'"' => (b'"', 1),
            b'\\' => (b'\\', 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'x' => {
                let (high, low) = (*after.as_bytes().get(1)?, *after.as_bytes().get(2)?);
                (hex_digit(high)? << 4 | hex_digit(low)?, 3)
            }
            _ => return None,
        };
        bytes.push(byte);
        rest = &after[length..];
    }
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
