//! Header fields: one list of positions in the head that they came in.
//!
//! ```text
//!   head    GET / HTTP/1.1 CR LF Host: a CR LF Accept: */* CR LF CR LF       one shared slice, never copied
//!   fields                       [name][value]  [name][value]                16 bytes each
//! ```
//!
//! Invariant: names are ASCII tokens. Values have no control characters except the tab, and no
//! white space at their ends. Values need not be UTF-8 (RFC 9110 §5.5), so they are kept as bytes
//! and are converted to text when a caller asks for it.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::error::HttpError;
use super::known::{Asked, Name, Place, Places};

/// A part of a head, as offsets. 32 bits are enough, because the limit of a head is smaller.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The position of `part` in `whole`. `part` must be a slice of `whole`; otherwise the span is
    /// empty.
    pub(super) fn locate(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(at), Ok(len)) if start <= whole.len() => Self { start: at, len },
            _ => Self::default(),
        }
    }

    pub(super) fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start.saturating_add(self.len as usize)
    }

    /// The part of `whole` that this span names.
    pub(super) fn of(self, whole: &[u8]) -> &[u8] {
        whole.get(self.range()).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Default)]
struct Field {
    name: Span,
    value: Span,
}

/// How many fields need no memory of their own. Most requests of genuine clients have fewer.
const FEW: usize = 8;

/// The fields of a head, in order.
#[derive(Clone)]
enum Fields {
    Few([Field; FEW], usize),
    Many(Vec<Field>),
}

impl Default for Fields {
    fn default() -> Self {
        Self::Few([Field::default(); FEW], 0)
    }
}

impl Fields {
    fn push(&mut self, field: Field) {
        match self {
            Self::Few(few, count) => match few.get_mut(*count) {
                Some(place) => {
                    *place = field;
                    *count = count.saturating_add(1);
                }
                None => {
                    let mut many = few.to_vec();
                    many.push(field);
                    *self = Self::Many(many);
                }
            },
            Self::Many(many) => many.push(field),
        }
    }

    fn as_slice(&self) -> &[Field] {
        match self {
            Self::Few(few, count) => few.get(..*count).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Field] {
        match self {
            Self::Few(few, count) => few.get_mut(..*count).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }
}

/// The header fields of a message, in order.
///
/// Names are compared without regard to case. To make header fields by hand (for a request that
/// another HTTP server has parsed), collect pairs of name and value.
#[derive(Clone, Default)]
pub struct Headers {
    head: Bytes,
    fields: Fields,
    places: Places,
    asked: Asked,
}

impl Headers {
    /// `places` are those of the fields.
    fn new(head: Bytes, fields: Fields, places: Places) -> Self {
        let mut headers = Self {
            head,
            fields,
            places,
            asked: Asked::default(),
        };
        headers.asked = Asked::of(&headers);
        headers
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match Name::of(name.as_bytes()) {
            Some(known) => self.known(known),
            None => self.get_all(name).next(),
        }
    }

    /// The value of the first field of this name as text. U+FFFD stands for bytes that are not
    /// UTF-8.
    ///
    /// A field that is present is never reported as absent. So a peer cannot use invalid bytes to
    /// look like a peer without `Origin`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(String::from_utf8_lossy)
    }

    /// The values of all fields of this name.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let place = Name::of(name.as_bytes()).map_or(Place::Somewhere, |known| self.places.of(known));
        self.raw_at(place)
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field of this name.
    #[inline]
    pub(crate) fn known(&self, name: Name) -> Option<&[u8]> {
        match self.places.of(name) {
            Place::Absent => None,
            Place::At(at) => self.fields.as_slice().get(at).map(|field| field.value.of(&self.head)),
            Place::Somewhere => self.first_known(name),
        }
    }

    #[cold]
    fn first_known(&self, name: Name) -> Option<&[u8]> {
        self.all_known(name).next()
    }

    /// The values of all fields of this name.
    pub(super) fn all_known(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let place = self.places.of(name);
        self.raw_at(place)
            .filter(move |(other, _)| place != Place::Somewhere || Name::of(other) == Some(name))
            .map(|(_, value)| value)
    }

    /// Whether the field is absent, or known to come once.
    #[inline]
    pub(crate) fn comes_once_at_most(&self, name: Name) -> bool {
        self.places.of(name) != Place::Somewhere
    }

    /// What the fields `Connection` and `Upgrade` ask for.
    pub(crate) const fn asked(&self) -> Asked {
        self.asked
    }

    /// Whether `token` stands in the comma-separated lists of the fields of this name, without
    /// regard to case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).any(|value| is_in_list(value, token))
    }

    /// Sets the first field of this name to `value`, and removes all other fields of this name. A
    /// value that is a part of the same head is not copied.
    pub(super) fn replace(&mut self, name: &str, value: &[u8]) {
        let place = Span::locate(&self.head, value);
        let is_name = |field: &&mut Field| field.name.of(&self.head).eq_ignore_ascii_case(name.as_bytes());
        match self.fields.as_mut_slice().iter_mut().find(is_name) {
            Some(field) if place.of(&self.head) == value => {
                field.value = place;
                self.asked = Asked::of(self);
            }
            _ => {
                let others = self.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name));
                *self = core::iter::once((name, value)).chain(others).collect();
            }
        }
    }

    /// All names and values, in order, names spelled as they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.raw()
            .map(|(name, value)| (core::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The fields without the bytes that they stand in.
    pub(super) fn without_head(&self) -> Self {
        self.with_head(Bytes::new())
    }

    /// The same fields in another head, which has them at the same places, with the same values.
    pub(super) fn with_head(&self, head: Bytes) -> Self {
        Self {
            head,
            fields: self.fields.clone(),
            places: self.places,
            asked: self.asked,
        }
    }

    /// All names and values, in order, of the fields whose values are UTF-8.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        // Nearly all heads are UTF-8, and one look at all of it costs less than one at each part.
        let whole = core::str::from_utf8(&self.head).ok();
        self.fields.as_slice().iter().filter_map(move |field| match whole {
            Some(whole) => Some((whole.get(field.name.range())?, whole.get(field.value.range())?)),
            None => {
                let name = core::str::from_utf8(field.name.of(&self.head)).ok()?;
                Some((name, core::str::from_utf8(field.value.of(&self.head)).ok()?))
            }
        })
    }

    /// Memory that the fields take, in bytes, including the head that they came in.
    pub(crate) fn bytes(&self) -> usize {
        self.head.len().saturating_add(size_of_val(self.fields.as_slice()))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.as_slice().len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in its own memory, exactly as large as needed.
    ///
    /// Parsed header fields share the buffer that they were read into. A caller that keeps header
    /// fields for long should keep such a copy instead.
    #[must_use]
    pub fn compact(&self) -> Self {
        self.iter().collect()
    }

    /// All names and values, in order, as bytes.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.raw_at(Place::Somewhere)
    }

    /// The names and values at a place.
    fn raw_at(&self, place: Place) -> impl Iterator<Item = (&[u8], &[u8])> {
        let all = self.fields.as_slice();
        let there = match place {
            Place::Absent => None,
            Place::At(at) => all.get(at..at.saturating_add(1)),
            Place::Somewhere => Some(all),
        };
        there
            .unwrap_or_default()
            .iter()
            .map(|field| (field.name.of(&self.head), field.value.of(&self.head)))
    }

    /// Parses the `count` header lines that stand in `head` from `start` on, the final empty line
    /// included.
    pub(super) fn parse(head: Bytes, start: usize, count: usize) -> Result<Self, HttpError> {
        /// Room on the stack for the header lines of nearly every request.
        const USUAL: usize = 32;
        let block = head.get(start..).unwrap_or_default();
        step!(each block.len());
        let (fields, places) = if count <= USUAL {
            parse_fields(&head, block, &mut [httparse::EMPTY_HEADER; USUAL])?
        } else {
            parse_fields(&head, block, &mut vec![httparse::EMPTY_HEADER; count])?
        };
        debug_assert_eq!(fields.as_slice().len(), count, "one field a line");
        Ok(Self::new(head, fields, places))
    }
}

fn parse_fields<'a>(
    head: &'a [u8],
    block: &'a [u8],
    room: &mut [httparse::Header<'a>],
) -> Result<(Fields, Places), HttpError> {
    match httparse::parse_headers(block, room) {
        Ok(httparse::Status::Complete((_, parsed))) => {
            let (mut fields, mut places) = (Fields::default(), Places::default());
            for (at, header) in parsed.iter().enumerate() {
                places.note(at, header.name.as_bytes());
                fields.push(Field {
                    name: Span::locate(head, header.name.as_bytes()),
                    value: Span::locate(head, header.value),
                });
            }
            Ok((fields, places))
        }
        Ok(httparse::Status::Partial) => Err(HttpError::InvalidHeaderName),
        Err(error) => Err(explain(block, error)),
    }
}

/// Finds the rule that a refused block of header lines breaks. It runs only when a connection is
/// refused.
fn explain(block: &[u8], error: httparse::Error) -> HttpError {
    for line in block.split(|&byte| byte == b'\n') {
        step!(each line.len());
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') {
            return HttpError::BareCr;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            if line.is_empty() {
                continue;
            }
            return HttpError::InvalidHeaderName;
        };
        let (name, value) = line.split_at(colon);
        if name.trim_ascii_end().len() < name.len() {
            return HttpError::WhitespaceBeforeColon;
        }
        if !is_token(name) {
            return HttpError::InvalidHeaderName;
        }
        if !is_field_value(value) {
            return HttpError::InvalidHeaderValue;
        }
    }
    match error {
        httparse::Error::TooManyHeaders => HttpError::TooManyHeaders,
        _ => HttpError::InvalidHeaderValue,
    }
}

/// Whether `token` stands in a comma-separated list, without regard to case.
fn is_in_list(list: &[u8], token: &str) -> bool {
    step!(each list.len());
    list.split(|&byte| byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Which bytes are [token bytes](is_token_byte). Names are checked in every answer, and a table is
/// several times as fast as the comparisons.
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut places: &mut [bool] = &mut table;
    let mut byte = 0_u8;
    while let [place, others @ ..] = places {
        *place = is_token_byte(byte);
        byte = byte.wrapping_add(1);
        places = others;
    }
    table
};

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| TOKEN_BYTES.get(usize::from(*byte)) == Some(&true))
}

/// Whether a byte may be part of a header value. Control characters may not, except the tab.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early end, the compiler checks many bytes at a time.
    bytes.iter().fold(true, |good, byte| good & is_value_byte(*byte))
}

/// Whether this may be the value of `Host`: visible ASCII characters, except those that would end a
/// host and port in a URL.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'\\' | b',' | b'"'))
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    /// Takes names and values as they are; nothing is checked.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut head = BytesMut::new();
        let (mut fields, mut places) = (Fields::default(), Places::default());
        let mut append = |part: &[u8]| -> Option<Span> {
            let start = u32::try_from(head.len()).ok()?;
            let len = u32::try_from(part.len()).ok()?;
            start.checked_add(len)?;
            head.extend_from_slice(part);
            Some(Span { start, len })
        };
        for (at, (named, value)) in pairs.into_iter().enumerate() {
            step!();
            let (Some(name), Some(value)) = (append(named.as_ref().as_bytes()), append(value.as_ref())) else {
                break; // four gigabytes of header fields
            };
            places.note(at, named.as_ref().as_bytes());
            fields.push(Field { name, value });
        }
        Self::new(Bytes::copy_from_slice(&head), fields, places)
    }
}

impl PartialEq for Headers {
    /// Same names, spelled the same, with the same values in the same order.
    fn eq(&self, other: &Self) -> bool {
        self.raw().eq(other.raw())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    /// Shows names and lengths only: cookies and tokens do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, value.len())))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn parse(block: &'static [u8]) -> Result<Headers, HttpError> {
        let count = block.split(|&b| b == b'\n').count() - 2;
        Headers::parse(Bytes::from_static(block), 0, count)
    }

    #[test]
    fn values_are_found_whatever_the_case() {
        let headers = parse(b"Host: a\r\nX-Empty:\r\nx-blank: \t \r\ncookie:  a=b \t\r\nCOOKIE: c=d\r\n\r\n").unwrap();
        assert_eq!(headers.len(), 5);
        assert_eq!(headers.get("HOST"), Some(&b"a"[..]));
        assert_eq!(headers.get("x-empty"), Some(&b""[..]));
        assert_eq!(headers.get("X-Blank"), Some(&b""[..]));
        assert_eq!(headers.get("Cookie"), Some(&b"a=b"[..]));
        assert!(headers.get_all("cookie").eq([&b"a=b"[..], b"c=d"]));
        assert_eq!(headers.get("absent"), None);
        assert!(
            headers
                .iter()
                .map(|(name, _)| name)
                .eq(["Host", "X-Empty", "x-blank", "cookie", "COOKIE"])
        );
    }

    #[test]
    fn one_byte_anywhere_makes_a_name_or_a_value_wrong() {
        for byte in 0..=255 {
            for place in 0..40 {
                let mut text = [b'a'; 40];
                text[place] = byte;
                assert_eq!(is_token(&text), is_token_byte(byte), "{byte} at {place}");
                assert_eq!(is_field_value(&text), is_value_byte(byte), "{byte} at {place}");
            }
        }
        assert!(!is_token(b"") && is_field_value(b""));
    }

    #[test]
    fn tokens_are_found_in_lists() {
        let headers = parse(b"Connection: keep-alive ,\tUPGRADE\r\nconnection: x,,y\r\n\r\n").unwrap();
        for token in ["Keep-Alive", "upgrade", "x", "Y"] {
            assert!(headers.has_token("connection", token), "{token}");
        }
        for token in ["keep", "alive", "upgradex", "close"] {
            assert!(!headers.has_token("connection", token), "{token}");
        }
    }

    #[test]
    fn values_need_not_be_text() {
        let headers = parse(b"Origin: \xff\xfe\r\nname: caf\xc3\xa9\r\n\r\n").unwrap();
        assert_eq!(headers.get("origin"), Some(&b"\xff\xfe"[..]));
        assert_eq!(headers.text("origin").unwrap(), "\u{fffd}\u{fffd}");
        assert_eq!(headers.text("name").unwrap(), "café");
        assert!(!headers.has_token("origin", "null"));
    }

    #[test]
    fn many_headers_take_the_larger_room() {
        for count in [0, FEW - 1, FEW, FEW + 1, 32, 33, 100] {
            let mut block = String::new();
            for i in 0..count {
                block += &format!("h{i}: {i}\r\n");
            }
            block += "\r\n";
            let headers = Headers::parse(Bytes::from(block), 0, count).unwrap();
            assert_eq!((headers.len(), headers.is_empty()), (count, count == 0));
            for i in 0..count {
                let value = headers.get(&format!("H{i}"));
                assert_eq!(value, Some(format!("{i}").as_bytes()), "{i} of {count}");
            }
            assert_eq!(headers.compact(), headers);
        }
    }

    #[test]
    fn a_compact_copy_is_equal_and_secrets_stay_out_of_debug() {
        let headers = parse(b"Cookie: secret\r\nHost: a\r\n\r\n").unwrap();
        let copy = headers.compact();
        assert_eq!(copy, headers);
        assert_eq!(
            copy.head.len(),
            "Cookie".len() + "secret".len() + "Host".len() + "a".len()
        );
        assert_eq!(format!("{copy:?}"), r#"{"Cookie": 6, "Host": 1}"#);
    }
}
