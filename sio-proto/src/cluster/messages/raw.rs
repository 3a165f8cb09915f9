//! A received message before anybody knows what it means: JSON or MessagePack.
//!
//! Messages have the same members in both forms, so they are read once for both. Nothing is built:
//! a value is a slice of its message.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Malformed, MessageLimits};
use crate::codec::pieces::{self, PieceLimits, Reader, Token};
use crate::json;
use crate::socket::Args;

/// A whole message whose syntax has been checked.
pub(super) struct Document {
    whole: Whole,
    limits: PieceLimits,
    /// How many names of rooms and sockets may still come.
    names: usize,
}

enum Whole {
    Json(ByteString),
    MessagePack(Bytes),
}

/// One value of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    Json(&'a str),
    MessagePack(&'a [u8]),
}

impl Document {
    /// Checks the syntax and the limits. The first byte decides about the form: `{` begins JSON.
    pub(super) fn read(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        if bytes.first() == Some(&b'{') {
            return Self::json(bytes, limits);
        }
        limits.check_length(bytes.len())?;
        let mut reader = Reader::new(bytes);
        let mut budget = limits.max_elements;
        reader.skip(&mut budget)?;
        match reader.rest() {
            [] => Ok(Self::new(Whole::MessagePack(bytes.clone()), limits)),
            _ => Err(Malformed::Trailing),
        }
    }

    /// A message that can only be JSON.
    pub(super) fn json(bytes: &Bytes, limits: &MessageLimits) -> Result<Self, Malformed> {
        limits.check_length(bytes.len())?;
        let text = ByteString::try_from(bytes.clone()).map_err(|_| Malformed::Utf8)?;
        json::validate(&text, limits.max_depth)?;
        Ok(Self::new(Whole::Json(text), limits))
    }

    /// A message without any value.
    pub(super) fn empty(limits: &MessageLimits) -> Self {
        Self::new(Whole::Json(ByteString::new()), limits)
    }

    fn new(whole: Whole, limits: &MessageLimits) -> Self {
        Self {
            whole,
            limits: PieceLimits::new(limits.max_elements, limits.max_attachments, limits.max_depth),
            names: limits.max_names,
        }
    }

    pub(super) fn root(&self) -> Raw<'_> {
        match &self.whole {
            Whole::Json(text) => Raw::Json(text.trim_ascii()),
            Whole::MessagePack(bytes) => Raw::MessagePack(bytes),
        }
    }

    /// The way to read values, which counts names.
    pub(super) const fn values(&self) -> Values<'_> {
        Values {
            document: self,
            names: self.names,
        }
    }

    fn shared(&self, text: &str) -> ByteString {
        let bytes = match &self.whole {
            Whole::Json(whole) => whole.as_bytes(),
            Whole::MessagePack(whole) => whole,
        };
        // A text that is a part of the message shares its bytes.
        let inside = bytes.as_ptr_range();
        let begins = text.as_ptr();
        match inside.contains(&begins) && !text.is_empty() {
            true => ByteString::try_from(bytes.slice_ref(text.as_bytes())).unwrap_or_default(),
            false => text.into(),
        }
    }
}

impl<'a> Raw<'a> {
    /// The members with these names. If a name comes twice, the last one counts; one that is null
    /// or undefined is missing.
    pub(super) fn members<const N: usize>(self, names: [&str; N]) -> Result<[Option<Self>; N], Malformed> {
        let mut found = [None; N];
        let mut put = |at: usize, value| {
            if let Some(place) = found.get_mut(at) {
                *place = value;
            }
        };
        match self {
            Raw::Json(text) if text.starts_with('{') => {
                for (literal, value) in json::members(text) {
                    let name = json::unescape(literal);
                    if let Some(at) = names.iter().position(|wanted| *wanted == name) {
                        put(at, Some(Raw::Json(value)).filter(|_| value != "null"));
                    }
                }
            }
            Raw::Json(_) => return Err(Malformed::NoObject),
            Raw::MessagePack(bytes) => {
                let mut reader = Reader::new(bytes);
                let Token::Map(len) = reader.token()? else {
                    return Err(Malformed::NoObject);
                };
                for _ in 0..len {
                    let (key, _) = reader.skip(&mut usize::MAX.clone())?;
                    let (value, _) = reader.skip(&mut usize::MAX.clone())?;
                    let Token::Text(name) = Reader::new(key).token()? else {
                        continue;
                    };
                    if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                        let begins = Reader::new(value).token()?;
                        let missing = begins == Token::Nil || begins.is_undefined();
                        put(at, Some(Raw::MessagePack(value)).filter(|_| !missing));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The first `N` values of an array.
    pub(super) fn elements<const N: usize>(self) -> Result<[Option<Self>; N], Malformed> {
        let mut found = [None; N];
        let mut places = found.iter_mut();
        self.each(|value| {
            if let Some(place) = places.next() {
                *place = Some(value);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every value of an array.
    fn each(self, mut visit: impl FnMut(Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        match self {
            Raw::Json(text) => {
                let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let inside = inside.ok_or(Malformed::NoArray)?.trim_ascii();
                json::elements(inside).try_for_each(|value| visit(Raw::Json(value)))
            }
            Raw::MessagePack(bytes) => {
                let mut reader = Reader::new(bytes);
                let Token::Array(len) = reader.token()? else {
                    return Err(Malformed::NoArray);
                };
                for _ in 0..len {
                    let (value, _) = reader.skip(&mut usize::MAX.clone())?;
                    visit(Raw::MessagePack(value))?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self {
            Raw::Json("true") => Some(true),
            Raw::Json("false") => Some(false),
            Raw::Json(_) => None,
            Raw::MessagePack(bytes) => match Reader::new(bytes).token() {
                Ok(Token::Bool(value)) => Some(value),
                _ => None,
            },
        }
    }

    /// A whole number from 0 on.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Raw::Json(text) => text.parse().ok(),
            Raw::MessagePack(bytes) => match Reader::new(bytes).token() {
                Ok(Token::Unsigned(number)) => Some(number),
                Ok(Token::Float(number)) if number >= 0.0 && number as u64 as f64 == number => Some(number as u64),
                _ => None,
            },
        }
    }

    /// A text, or a number as a text: JavaScript lets rooms have numbers as names.
    fn name(self) -> Result<Cow<'a, str>, Malformed> {
        match self {
            Raw::Json(text) if text.starts_with('"') => Ok(json::unescape(text)),
            Raw::Json(text) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                Ok(Cow::Borrowed(text))
            }
            Raw::Json(_) => Err(Malformed::NoText),
            Raw::MessagePack(bytes) => match Reader::new(bytes).token()? {
                Token::Text(text) => core::str::from_utf8(text)
                    .map(Cow::Borrowed)
                    .map_err(|_| Malformed::Utf8),
                Token::Unsigned(number) => Ok(Cow::Owned(alloc::format!("{number}"))),
                Token::Negative(number) => Ok(Cow::Owned(alloc::format!("{number}"))),
                _ => Err(Malformed::NoText),
            },
        }
    }
}

/// The longest name of a node or of a request. Genuine nodes draw 6 to 16 characters.
const MAX_ID_BYTES: usize = 64;

pub(super) fn short(id: ByteString) -> Result<ByteString, Malformed> {
    match id.len() > MAX_ID_BYTES {
        true => Err(Malformed::LongName),
        false => Ok(id),
    }
}

/// Reads values of one document.
pub(super) struct Values<'a> {
    document: &'a Document,
    names: usize,
}

impl<'a> Values<'a> {
    pub(super) fn text(&self, raw: Raw<'_>) -> Result<ByteString, Malformed> {
        raw.name().map(|name| self.document.shared(&name))
    }

    /// The name of a node or of a request. It is kept for longer than its message, so it is short.
    pub(super) fn id(&self, raw: Raw<'_>) -> Result<ByteString, Malformed> {
        self.text(raw).and_then(short)
    }

    /// A list of names. A name that stands there alone is a list of one.
    pub(super) fn names(&mut self, raw: Option<Raw<'a>>) -> Result<Vec<ByteString>, Malformed> {
        let mut names = Vec::new();
        self.list(raw, |values, value| {
            names.push(values.text(value)?);
            Ok(())
        })?;
        Ok(names)
    }

    /// Visits each value of a list, and counts it. No list is an empty list.
    pub(super) fn list(
        &mut self,
        raw: Option<Raw<'a>>,
        mut visit: impl FnMut(&mut Self, Raw<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(raw) = raw else { return Ok(()) };
        raw.each(|value| {
            self.names = self.names.checked_sub(1).ok_or(Malformed::TooManyNames)?;
            visit(self, value)
        })
    }

    /// An array of an event's name and its arguments.
    pub(super) fn event(&self, raw: Raw<'_>) -> Result<(ByteString, Args), Malformed> {
        match (raw, &self.document.whole) {
            (Raw::MessagePack(bytes), Whole::MessagePack(whole)) => {
                Ok(pieces::event(whole, bytes, &self.document.limits)?)
            }
            (Raw::Json(text), _) if text.starts_with('[') => {
                let array = json::scan_array(text, json::MAX_DEPTH)?;
                let name = match array.first.as_bytes().first() {
                    Some(b'"' | b'-' | b'0'..=b'9') => self.text(Raw::Json(array.first))?,
                    _ => return Err(Malformed::NoEvent),
                };
                Ok((name, self.document.shared(array.rest).into()))
            }
            (Raw::Json(_) | Raw::MessagePack(_), _) => Err(Malformed::NoEvent),
        }
    }

    /// One value as arguments. No value is no argument.
    pub(super) fn argument(&self, raw: Option<Raw<'_>>) -> Result<Args, Malformed> {
        match (raw, &self.document.whole) {
            (Some(Raw::MessagePack(bytes)), Whole::MessagePack(whole)) => {
                Ok(pieces::argument(whole, bytes, &self.document.limits)?)
            }
            (Some(Raw::Json(text)), _) => Ok(self.document.shared(text).into()),
            (Some(Raw::MessagePack(_)) | None, _) => Ok(Args::default()),
        }
    }

    /// One value as JSON, an empty text if there is none.
    pub(super) fn json(&self, raw: Option<Raw<'_>>) -> Result<ByteString, Malformed> {
        match (raw, &self.document.whole) {
            (Some(Raw::MessagePack(bytes)), Whole::MessagePack(whole)) => {
                Ok(pieces::json(whole, bytes, &self.document.limits)?)
            }
            (Some(Raw::Json(text)), _) => Ok(self.document.shared(text)),
            (Some(Raw::MessagePack(_)) | None, _) => Ok(ByteString::new()),
        }
    }
}
