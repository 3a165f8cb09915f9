//! Bodies: how their end is found, and how their bytes are gathered.
//!
//! ```text
//!   Content-Length: 5       hello
//!   chunked                 5;ext=1 CR LF hello CR LF 0 CR LF trailer: x CR LF CR LF
//!   until close             (responses only)
//! ```
//!
//! A body that arrives in one piece is handed on as a slice of its read buffer. A body that arrives
//! in several pieces is copied, each byte once, into a buffer that grows with the bytes that have
//! arrived. Chunk extensions and trailers are read strictly, so that nobody can hide a request in
//! them. They are counted and dropped.

use bytes::{Buf, Bytes, BytesMut};

use super::error::{BodyTooLarge, HttpError};
use super::headers::{Headers, is_host, is_token_byte, is_value_byte};
use super::known::Name;
use super::limits::Limits;

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The header fields do not say.
    Unstated,
    Length(u64),
    Chunked,
    /// The end of the connection is the end of the body.
    UntilClose,
}

impl Framing {
    /// Finds the framing of a request. The same pass over the fields checks `Host`.
    pub(super) fn of_request(version_minor: u8, headers: &Headers) -> Result<Self, HttpError> {
        let stated = Stated::read(headers)?;
        match stated.host {
            None if version_minor >= 1 => return Err(HttpError::MissingHost),
            Some(host) if !is_host(host) => return Err(HttpError::InvalidHost),
            _ => {}
        }
        stated.framing(version_minor)
    }

    /// Finds the framing of a response.
    pub(super) fn of_response(version_minor: u8, headers: &Headers) -> Result<Self, HttpError> {
        match Stated::read(headers)?.framing(version_minor)? {
            Self::Unstated => Ok(Self::UntilClose),
            stated => Ok(stated),
        }
    }
}

/// The header fields that decide the framing. Each of them may come once.
#[derive(Default)]
struct Stated<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

impl<'a> Stated<'a> {
    fn read(headers: &'a Headers) -> Result<Self, HttpError> {
        let names = [Name::Host, Name::ContentLength, Name::TransferEncoding];
        match names.into_iter().all(|name| headers.comes_once_at_most(name)) {
            true => Ok(Self {
                host: headers.known(Name::Host),
                length: headers.known(Name::ContentLength),
                coding: headers.known(Name::TransferEncoding),
            }),
            false => Self::walk(headers),
        }
    }

    /// Finds out which field is repeated, if one is.
    #[cold]
    fn walk(headers: &'a Headers) -> Result<Self, HttpError> {
        let mut stated = Self::default();
        for (name, value) in headers.raw() {
            step!();
            let (slot, repeated) = match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => (&mut stated.host, HttpError::RepeatedHost),
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    (&mut stated.length, HttpError::RepeatedContentLength)
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    (&mut stated.coding, HttpError::UnsupportedTransferEncoding)
                }
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(repeated);
            }
        }
        Ok(stated)
    }

    fn framing(&self, version_minor: u8) -> Result<Framing, HttpError> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(HttpError::LengthWithTransferEncoding),
            (None, Some(_)) if version_minor == 0 => Err(HttpError::TransferEncodingInHttp10),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (None, Some(_)) => Err(HttpError::UnsupportedTransferEncoding),
            (Some(length), None) => parse_length(length).map(Framing::Length),
            (None, None) => Ok(Framing::Unstated),
        }
    }
}

/// Decimal digits and nothing else: no sign, no list, no blanks.
fn parse_length(text: &[u8]) -> Result<u64, HttpError> {
    if text.is_empty() {
        return Err(HttpError::InvalidContentLength);
    }
    text.iter()
        .try_fold(0_u64, |length, &byte| {
            let digit = char::from(byte).to_digit(10)?;
            length.checked_mul(10)?.checked_add(digit.into())
        })
        .ok_or(HttpError::InvalidContentLength)
}

/// Gathers one body.
#[derive(Debug)]
pub(super) struct BodyReader {
    form: Form,
    gathered: Gathered,
}

#[derive(Debug)]
enum Form {
    Length { remaining: usize },
    Chunked(ChunkReader),
    UntilClose,
}

impl BodyReader {
    /// How many bytes of the body are kept so far.
    pub(super) fn held_bytes(&self) -> usize {
        self.gathered
            .first
            .len()
            .saturating_add(self.gathered.joined.capacity())
    }

    /// # Errors
    ///
    /// The body is announced to be larger than the limit. Nothing has been read.
    pub(super) fn new(framing: Framing, limits: &Limits) -> Result<Self, BodyTooLarge> {
        let form = match framing {
            Framing::Unstated => Form::Length { remaining: 0 },
            Framing::Length(length) => match usize::try_from(length) {
                Ok(remaining) if remaining <= limits.max_body_bytes => Form::Length { remaining },
                _ => return Err(BodyTooLarge),
            },
            Framing::Chunked => Form::Chunked(ChunkReader::default()),
            Framing::UntilClose => Form::UntilClose,
        };
        Ok(Self {
            form,
            gathered: Gathered::default(),
        })
    }

    /// Whether this body ends only with the connection.
    pub(super) const fn is_until_close(&self) -> bool {
        matches!(self.form, Form::UntilClose)
    }

    /// Whether the body is known to be empty.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.form, Form::Length { remaining: 0 })
    }

    /// Takes the bytes of the body off the front of `bytes`. Returns the body when it is complete.
    pub(super) fn read(&mut self, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Bytes>, HttpError> {
        let whole = match &mut self.form {
            Form::Length { remaining } => {
                let available = bytes.len().min(*remaining);
                self.gathered.take(bytes, available);
                *remaining = remaining.saturating_sub(available);
                *remaining == 0
            }
            Form::Chunked(chunks) => chunks.read(bytes, &mut self.gathered, limits)?,
            Form::UntilClose => {
                if bytes.len() > limits.max_body_bytes.saturating_sub(self.gathered.len()) {
                    return Err(HttpError::BodyTooLarge);
                }
                self.gathered.take(bytes, bytes.len());
                false
            }
        };
        if !whole {
            self.gathered.keep();
            return Ok(None);
        }
        Ok(Some(self.finish()))
    }

    /// The bytes that have been gathered.
    pub(super) fn finish(&mut self) -> Bytes {
        core::mem::take(&mut self.gathered).finish()
    }
}

/// A body that comes in one piece stays a slice of the read buffer. Any other body is copied into
/// one buffer.
#[derive(Debug, Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len().saturating_add(self.joined.len())
    }

    /// Moves `count` bytes over. `bytes` must have at least `count` bytes.
    fn take(&mut self, bytes: &mut BytesMut, count: usize) {
        if count == 0 {
            return;
        }
        step!(bulk count);
        if self.len() == 0 {
            self.first = bytes.split_to(count).freeze();
            return;
        }
        self.keep();
        if let Some(piece) = bytes.get(..count) {
            self.joined.extend_from_slice(piece);
        }
        bytes.advance(count);
    }

    /// More bytes will come, at an unknown time. The first piece is copied now and not when the
    /// second piece arrives, so that the read buffer of the first piece is released.
    fn keep(&mut self) {
        if !self.first.is_empty() {
            step!(bulk self.first.len());
            self.joined.extend_from_slice(&core::mem::take(&mut self.first));
        }
    }

    fn finish(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// Takes chunks apart (RFC 9112 §7.1): framing one byte at a time, data in bulk.
#[derive(Debug, Default)]
struct ChunkReader {
    at: At,
    /// Size of the chunk whose first line is being read.
    size: u64,
    digits: u8,
    /// Bytes of extensions and trailers so far.
    extra: usize,
    /// Chunks so far.
    chunks: usize,
}

/// The part of a chunked body that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    /// The line feed after a chunk's first line.
    SizeLf,
    Data {
        remaining: usize,
    },
    DataCr,
    DataLf,
    /// The beginning of a trailer line, or of the empty line at the end.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// The number of hexadecimal digits of a 64-bit number.
const MAX_SIZE_DIGITS: u8 = 16;

impl ChunkReader {
    /// Moves data to `gathered`. Returns whether the last chunk and the trailers have been read.
    fn read(&mut self, bytes: &mut BytesMut, gathered: &mut Gathered, limits: &Limits) -> Result<bool, HttpError> {
        loop {
            if let At::Data { remaining } = self.at {
                let available = bytes.len().min(remaining);
                gathered.take(bytes, available);
                if available < remaining {
                    self.at = At::Data {
                        remaining: remaining.saturating_sub(available),
                    };
                    return Ok(false);
                }
                self.at = At::DataCr;
            }
            let mut used = 0;
            for (count, &byte) in (1..).zip(bytes.iter()) {
                step!();
                used = count;
                self.at = self.step(byte, gathered.len(), limits)?;
                if matches!(self.at, At::Data { .. } | At::End) {
                    break;
                }
            }
            bytes.advance(used);
            match self.at {
                At::Data { .. } => {}
                at => return Ok(at == At::End),
            }
        }
    }

    /// The transition table. A line feed is accepted only after a carriage return, and a carriage
    /// return has to be followed by a line feed.
    fn step(&mut self, byte: u8, gathered: usize, limits: &Limits) -> Result<At, HttpError> {
        match (self.at, byte) {
            (At::SizeLf, b'\n') => self.begin_data(gathered, limits),
            (At::DataLf, b'\n') => {
                (self.size, self.digits) = (0, 0);
                Ok(At::Size)
            }
            (At::TrailerLf, b'\n') => Ok(At::Trailer),
            (At::EndLf, b'\n') => Ok(At::End),
            (At::SizeLf | At::DataLf | At::TrailerLf | At::EndLf, _) => Err(HttpError::BareCr),
            (_, b'\n') => Err(HttpError::BareLf),

            (At::Size, b'\r') if self.digits > 0 => Ok(At::SizeLf),
            (At::Size, b';') if self.digits > 0 => self.count(At::Extension, limits),
            (At::Size, _) => self.size_digit(byte),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, _) if is_value_byte(byte) => self.count(At::Extension, limits),
            (At::Extension, _) => Err(HttpError::InvalidChunkExtension),

            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataCr, _) => Err(HttpError::MissingChunkEnd),

            (At::Trailer, b'\r') => Ok(At::EndLf),
            (At::Trailer, b' ' | b'\t') => Err(HttpError::ObsFold),
            (At::TrailerName, b' ' | b'\t') => Err(HttpError::WhitespaceBeforeColon),
            (At::TrailerName, b':') => self.count(At::TrailerValue, limits),
            (At::Trailer | At::TrailerName, _) if is_token_byte(byte) => self.count(At::TrailerName, limits),
            (At::Trailer | At::TrailerName, _) => Err(HttpError::InvalidHeaderName),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if is_value_byte(byte) => self.count(At::TrailerValue, limits),
            (At::TrailerValue, _) => Err(HttpError::InvalidHeaderValue),

            (At::Data { .. } | At::End, _) => Ok(self.at),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<At, HttpError> {
        let digit = char::from(byte).to_digit(16).ok_or(HttpError::InvalidChunkSize)?;
        if self.digits == MAX_SIZE_DIGITS {
            return Err(HttpError::ChunkSizeOverflow);
        }
        self.digits = self.digits.saturating_add(1);
        self.size = self.size << 4 | u64::from(digit);
        Ok(At::Size)
    }

    fn begin_data(&mut self, gathered: usize, limits: &Limits) -> Result<At, HttpError> {
        let room = limits.max_body_bytes.saturating_sub(gathered);
        match usize::try_from(self.size) {
            Ok(0) => Ok(At::Trailer),
            Ok(remaining) if remaining <= room && self.chunks < limits.max_chunks => {
                self.chunks = self.chunks.saturating_add(1);
                Ok(At::Data { remaining })
            }
            _ => Err(HttpError::BodyTooLarge),
        }
    }

    /// Counts one more byte that carries no data, and goes on to `next` if the limit allows it.
    fn count(&mut self, next: At, limits: &Limits) -> Result<At, HttpError> {
        self.extra = self.extra.saturating_add(1);
        if self.extra > limits.max_chunk_extra_bytes {
            return Err(HttpError::ChunkExtraTooLarge);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(input: &[u8], limits: &Limits) -> Result<Option<Bytes>, HttpError> {
        let mut bytes = BytesMut::from(input);
        let outcome = BodyReader::new(Framing::Chunked, limits)
            .unwrap()
            .read(&mut bytes, limits);
        if let Ok(Some(_)) = outcome {
            assert_eq!(bytes, b"rest"[..], "{}", input.escape_ascii());
        }
        outcome
    }

    #[test]
    fn chunks_are_joined() {
        for (input, body) in [
            (&b"0\r\n\r\nrest"[..], &b""[..]),
            (b"5\r\nhello\r\n0\r\n\r\nrest", b"hello"),
            (b"5\r\nhello\r\n00001\r\n!\r\n000\r\n\r\nrest", b"hello!"),
            (
                b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\nrest",
                b"01234567890123456789",
            ),
            (b"2;a=\"b c\";d\r\n\r\n\r\n0;x\r\nt: u\r\nv:\r\n\r\nrest", b"\r\n"),
        ] {
            assert_eq!(chunked(input, &Limits::default()).unwrap().unwrap(), body);
        }
    }

    #[test]
    fn chunk_framing_is_strict() {
        for (input, error) in [
            (&b"\r\n"[..], HttpError::InvalidChunkSize),
            (b";x\r\n", HttpError::InvalidChunkSize),
            (b"-5\r\n", HttpError::InvalidChunkSize),
            (b"+5\r\n", HttpError::InvalidChunkSize),
            (b"0x5\r\n", HttpError::InvalidChunkSize),
            (b" 5\r\n", HttpError::InvalidChunkSize),
            (b"5 \r\n", HttpError::InvalidChunkSize),
            (b"5 ;x\r\n", HttpError::InvalidChunkSize),
            (b"g\r\n", HttpError::InvalidChunkSize),
            (b"\xd9\xa5\r\n", HttpError::InvalidChunkSize),
            (b"00000000000000005\r\n", HttpError::ChunkSizeOverflow),
            (b"fffffffffffffffff\r\n", HttpError::ChunkSizeOverflow),
            (b"ffffffffffffffff\r\n", HttpError::BodyTooLarge),
            (b"5\nhello\r\n0\r\n\r\n", HttpError::BareLf),
            (b"5\rhello\r\n0\r\n\r\n", HttpError::BareCr),
            (b"5;a\nhello\r\n0\r\n\r\n", HttpError::BareLf),
            (b"5;a\rb\r\nhello\r\n0\r\n\r\n", HttpError::BareCr),
            (b"5;a\0b\r\nhello\r\n0\r\n\r\n", HttpError::InvalidChunkExtension),
            (b"5\r\nhello0\r\n\r\n", HttpError::MissingChunkEnd),
            (b"5\r\nhello\n0\r\n\r\n", HttpError::BareLf),
            (b"5\r\nhello\r0\r\n\r\n", HttpError::BareCr),
            (b"4\r\nhello\r\n0\r\n\r\n", HttpError::MissingChunkEnd),
            (b"6\r\nhello\r\n0\r\n\r\n", HttpError::BareLf),
            (b"0\r\n\n", HttpError::BareLf),
            (b"0\r\n\rx", HttpError::BareCr),
            (b"0\r\na: b\nc: d\r\n\r\n", HttpError::BareLf),
            (b"0\r\na: b\rc: d\r\n\r\n", HttpError::BareCr),
            (b"0\r\n a: b\r\n\r\n", HttpError::ObsFold),
            (b"0\r\na : b\r\n\r\n", HttpError::WhitespaceBeforeColon),
            (b"0\r\nab\r\n\r\n", HttpError::InvalidHeaderName),
            (b"0\r\n: b\r\n\r\n", HttpError::InvalidHeaderName),
            (b"0\r\na: \0\r\n\r\n", HttpError::InvalidHeaderValue),
            (
                b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                HttpError::WhitespaceBeforeColon,
            ),
        ] {
            assert_eq!(
                chunked(input, &Limits::default()),
                Err(error),
                "{}",
                input.escape_ascii()
            );
        }
    }

    #[test]
    fn limits_hold_over_all_chunks() {
        let limits = Limits::default().max_body_bytes(4).max_chunk_extra_bytes(4);
        for (input, expected) in [
            (
                &b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\nrest"[..],
                Ok(Some(Bytes::from("abcd"))),
            ),
            (b"2\r\nab\r\n3\r\n", Err(HttpError::BodyTooLarge)),
            (b"1;x\r\na\r\n1;x\r\nb\r\n0\r\n\r\nrest", Ok(Some(Bytes::from("ab")))),
            (b"1;x\r\na\r\n1;x\r\nb\r\n0;", Err(HttpError::ChunkExtraTooLarge)),
            (b"0\r\na:bc\r\n\r\nrest", Ok(Some(Bytes::new()))),
            (b"0\r\na:bcd", Err(HttpError::ChunkExtraTooLarge)),
        ] {
            assert_eq!(chunked(input, &limits), expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn one_piece_is_not_copied() {
        for (framing, input) in [
            (Framing::Length(5), &b"hello"[..]),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n"),
        ] {
            let mut bytes = BytesMut::from(input);
            let range = bytes.as_ptr_range();
            let mut reader = BodyReader::new(framing, &Limits::default()).unwrap();
            let body = reader.read(&mut bytes, &Limits::default()).unwrap().unwrap();
            assert_eq!(body, b"hello"[..]);
            assert!(range.contains(&body.as_ptr()));
        }
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        let limits = Limits::default().max_body_bytes(usize::MAX);
        let mut reader = BodyReader::new(Framing::Length(u64::from(u32::MAX)), &limits).unwrap();
        for _ in 0..2 {
            assert_eq!(reader.read(&mut BytesMut::from("abc"), &limits), Ok(None));
        }
        assert!(reader.gathered.joined.capacity() < 1024);
    }

    #[test]
    fn lengths_are_plain_numbers() {
        assert_eq!(parse_length(b"0"), Ok(0));
        assert_eq!(parse_length(b"007"), Ok(7));
        assert_eq!(parse_length(b"18446744073709551615"), Ok(u64::MAX));
        for text in [
            "",
            "+1",
            "-1",
            "0x1",
            "1_0",
            " 1",
            "1 ",
            "1,1",
            "1, 1",
            "1.0",
            "1e3",
            "18446744073709551616",
            "\u{0661}",
        ] {
            assert_eq!(
                parse_length(text.as_bytes()),
                Err(HttpError::InvalidContentLength),
                "{text}"
            );
        }
    }
}
