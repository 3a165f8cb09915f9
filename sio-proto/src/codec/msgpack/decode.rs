//! From MessagePack to packets. First the fields of the packet are found, in any order. Then its
//! data is converted to JSON.

use core::fmt::Write as _;

use alloc::vec::Vec;
use bytes::{BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;

use super::token::{Reader, Token, milliseconds};
use super::{MessagePack, MessagePackError, date};
use crate::codec::{PacketError, Parsed};
use crate::digits::put_decimal;
use crate::json::{self, MAX_DEPTH};
use crate::socket::text::{DecodeError, Limits};
use crate::socket::{Args, Exact, Packet};

use MessagePackError::{InvalidId, InvalidUtf8, Key, Lookalike, NoMap, TooDeep, TooManyBinaries, TrailingBytes};

/// 2^53. A float holds every whole number up to this one.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

pub(super) fn message(message: &Bytes, parser: &MessagePack, limits: &Limits) -> Result<Parsed, PacketError> {
    let fields = Fields::read(message, parser)?;
    let namespace = match fields.namespace {
        Some(Token::Text(text)) => shared(message, text)?,
        _ => return Err(PacketError::InvalidNamespace),
    };
    let id = match fields.id {
        None => None,
        Some(Token::Unsigned(id)) => Some(id),
        Some(_) => return Err(InvalidId.into()),
    };
    // The binary values are a part of the data.
    let text = fields.data.len().saturating_sub(fields.binary);
    let mut data = Transcoder::new(message, fields.data, text, parser, limits);
    let packet = match (fields.kind, fields.data_begins) {
        (Some(Token::Unsigned(0)), None) => Packet::Connect {
            namespace,
            query: None,
            payload: None,
        },
        (Some(Token::Unsigned(0)), Some(Token::Map(_))) if fields.data.len() > limits.max_auth_bytes => {
            return Err(DecodeError::AuthTooLong.into());
        }
        (Some(Token::Unsigned(0)), Some(Token::Map(_))) => Packet::Connect {
            namespace,
            query: None,
            payload: Some(data.payload()?),
        },
        // python-socketio writes data that is null.
        (Some(Token::Unsigned(1)), None | Some(Token::Nil)) => Packet::Disconnect { namespace },
        (Some(Token::Unsigned(2)), Some(Token::Array(len))) => {
            data.reader.token()?;
            let (name, args) = data.event(len)?;
            Packet::Event {
                namespace,
                name,
                id,
                args,
            }
        }
        (Some(Token::Unsigned(3)), Some(Token::Array(len))) => {
            data.reader.token()?;
            let args = data.args(len)?;
            // The packet is accepted and ignored, as in the standard wire.
            let Some(id) = id else { return Ok(Parsed::Nothing) };
            Packet::Ack { namespace, id, args }
        }
        (Some(Token::Unsigned(4)), Some(Token::Map(_) | Token::Text(_))) => Packet::ConnectError {
            namespace,
            payload: data.payload()?,
        },
        (Some(Token::Unsigned(0..=4)), _) => return Err(DecodeError::InvalidPayload.into()),
        _ => return Err(DecodeError::UnknownType.into()),
    };
    Ok(Parsed::Packet(packet))
}

/// An array of an event's name and its arguments. `data` is a value of `message` that was stepped
/// over, so it is complete.
#[cfg(feature = "cluster")]
pub(super) fn event(
    message: &Bytes,
    data: &[u8],
    parser: &MessagePack,
    limits: &Limits,
) -> Result<(ByteString, Args), PacketError> {
    let mut data = Transcoder::new(message, data, 0, parser, limits);
    let Token::Array(len) = data.reader.token()? else {
        return Err(DecodeError::InvalidPayload.into());
    };
    data.event(len)
}

/// One value as the only argument.
#[cfg(feature = "cluster")]
pub(super) fn argument(
    message: &Bytes,
    data: &[u8],
    parser: &MessagePack,
    limits: &Limits,
) -> Result<Args, PacketError> {
    Transcoder::new(message, data, 0, parser, limits).args(1)
}

/// One value as JSON, bytes included.
#[cfg(feature = "cluster")]
pub(super) fn json(
    message: &Bytes,
    data: &[u8],
    parser: &MessagePack,
    limits: &Limits,
) -> Result<ByteString, PacketError> {
    Transcoder::new(message, data, 0, parser, limits).payload()
}

/// The fields in the map of a packet, and how each value begins. A value that is undefined is left
/// out.
struct Fields<'a> {
    kind: Option<Token<'a>>,
    namespace: Option<Token<'a>>,
    id: Option<Token<'a>>,
    data_begins: Option<Token<'a>>,
    data: &'a [u8],
    /// Number of bytes of the binary values in the data.
    binary: usize,
}

impl<'a> Fields<'a> {
    fn read(message: &'a [u8], parser: &MessagePack) -> Result<Self, MessagePackError> {
        let mut reader = Reader::new(message);
        let Token::Map(len) = reader.token()? else {
            return Err(NoMap);
        };
        let mut fields = Self {
            kind: None,
            namespace: None,
            id: None,
            data_begins: None,
            data: &[],
            binary: 0,
        };
        let mut budget = parser.max_elements;
        for _ in 0..len {
            let Token::Text(key) = reader.token()? else {
                return Err(Key);
            };
            let (value, binary) = reader.skip(&mut budget)?;
            let begins = Some(Reader::new(value).token()?).filter(|token| !token.is_undefined());
            match key {
                b"type" => fields.kind = begins,
                b"nsp" => fields.namespace = begins,
                b"id" => fields.id = begins,
                b"data" => (fields.data_begins, fields.data, fields.binary) = (begins, value, binary),
                // `options`, and any field of later versions.
                _ => {}
            }
        }
        match reader.rest() {
            [] => Ok(fields),
            _ => Err(TrailingBytes),
        }
    }
}

/// The text, which shares the message's bytes.
fn shared(message: &Bytes, text: &[u8]) -> Result<ByteString, MessagePackError> {
    ByteString::try_from(message.slice_ref(text)).map_err(|_| InvalidUtf8)
}

/// Writes the data as JSON.
struct Transcoder<'a> {
    message: &'a Bytes,
    reader: Reader<'a>,
    out: BytesMut,
    attachments: Vec<Bytes>,
    max_attachments: usize,
    max_depth: usize,
    max_name: usize,
    /// Whether a map looks like a placeholder.
    lookalike: bool,
    /// Whether JSON expresses less than the part of this argument that has been read.
    inexact: bool,
    /// Whether bytes are written into the JSON. The payload of a CONNECT has no place for bytes
    /// beside the JSON.
    inline: bool,
    /// How many more brackets may be opened at this depth.
    room: usize,
}

/// An open array or map.
#[derive(Clone, Copy, Default)]
struct Open {
    left: u32,
    map: bool,
    /// Whether a value has been written into it.
    begun: bool,
}

impl<'a> Transcoder<'a> {
    /// `text` is the number of bytes of `data` that are not in binary values.
    fn new(message: &'a Bytes, data: &'a [u8], text: usize, parser: &MessagePack, limits: &Limits) -> Self {
        // Commas and quotes need about as much room as headers.
        Self {
            message,
            reader: Reader::new(data),
            out: BytesMut::with_capacity(text.saturating_add(text / 4)),
            attachments: Vec::new(),
            max_attachments: parser.max_binaries,
            max_depth: limits.max_depth.min(MAX_DEPTH),
            max_name: limits.max_event_name_bytes,
            lookalike: false,
            inexact: false,
            inline: false,
            room: 0,
        }
    }

    /// The whole data as one value, including its bytes.
    fn payload(mut self) -> Result<ByteString, PacketError> {
        self.inline = true;
        self.value(self.max_depth)?;
        Ok(self.json())
    }

    /// The name and the arguments of an event whose data has `len` elements.
    fn event(mut self, len: u32) -> Result<(ByteString, Args), PacketError> {
        let args = len.checked_sub(1).ok_or(DecodeError::InvalidPayload)?;
        let name = self.event_name()?;
        Ok((name, self.args(args)?))
    }

    /// The name of an event.
    fn event_name(&mut self) -> Result<ByteString, PacketError> {
        match self.reader.token()? {
            Token::Text(name) if name.len() > self.max_name => Err(DecodeError::EventNameTooLong.into()),
            Token::Text(name) => Ok(shared(self.message, name)?),
            // Old native clients use a number as a name. The name is the text that JSON would have.
            number @ (Token::Unsigned(_) | Token::Negative(_) | Token::Float(_)) => {
                self.scalar(number)?;
                // A name has no exact form.
                self.inexact = false;
                Ok(ByteString::try_from(self.out.split().freeze()).unwrap_or_default())
            }
            _ => Err(DecodeError::InvalidPayload.into()),
        }
    }

    /// The next `len` values. They must be the last values of the data.
    fn args(mut self, len: u32) -> Result<Args, PacketError> {
        // The brackets around the arguments count as one level.
        let max_depth = self.max_depth.checked_sub(1).ok_or(TooDeep)?;
        let mut exact = Exact::default();
        for index in 0..len {
            if index > 0 {
                self.out.put_u8(b',');
            }
            let from = self.reader.rest();
            self.value(max_depth)?;
            if core::mem::take(&mut self.inexact) {
                let read = from.len().saturating_sub(self.reader.rest().len());
                let value = from.get(..read).unwrap_or_default();
                exact.insert(index as usize, Some(self.message.slice_ref(value)));
            }
        }
        if self.lookalike && !self.attachments.is_empty() {
            return Err(Lookalike.into());
        }
        let attachments = core::mem::take(&mut self.attachments);
        Ok(Args {
            json: self.json(),
            attachments,
            exact,
        })
    }

    fn json(self) -> ByteString {
        // Every part of the output is text that was checked, or was written here.
        ByteString::try_from(self.out.freeze()).unwrap_or_default()
    }

    /// Writes one value and everything inside it.
    fn value(&mut self, max_depth: usize) -> Result<(), MessagePackError> {
        let mut open = [Open::default(); MAX_DEPTH];
        let mut depth = 0_usize;
        let mut token = self.reader.token()?;
        loop {
            let (left, map) = match token {
                Token::Array(left) => (Some(left), false),
                Token::Map(left) => (Some(left), true),
                scalar => {
                    self.room = max_depth.saturating_sub(depth);
                    self.scalar(scalar)?;
                    (None, false)
                }
            };
            if let Some(left) = left {
                if depth == max_depth {
                    return Err(TooDeep);
                }
                self.out.put_u8(if map { b'{' } else { b'[' });
                let begun = false;
                *open.get_mut(depth).ok_or(TooDeep)? = Open { left, map, begun };
                depth = depth.saturating_add(1);
            }
            // Closes every array and map that is complete, up to the first that is not.
            loop {
                let around = depth.checked_sub(1);
                let Some((around, innermost)) = around.and_then(|at| Some((at, open.get_mut(at)?))) else {
                    return Ok(());
                };
                if let Some(next) = self.next_in(innermost)? {
                    token = next;
                    break;
                }
                self.out.put_u8(if innermost.map { b'}' } else { b']' });
                depth = around;
            }
        }
    }

    /// The beginning of the next value of the innermost array or map, if it has one. Writes the
    /// text before this value. Like `JSON.stringify`, it leaves out members of a map that are
    /// undefined.
    fn next_in(&mut self, open: &mut Open) -> Result<Option<Token<'a>>, MessagePackError> {
        while let Some(left) = open.left.checked_sub(1) {
            open.left = left;
            let key = match open.map {
                true => Some(self.key()?),
                false => None,
            };
            let value = self.reader.token()?;
            if key.is_some() && value.is_undefined() {
                self.inexact = true;
                continue;
            }
            if core::mem::replace(&mut open.begun, true) {
                self.out.put_u8(b',');
            }
            if let Some(key) = key {
                json::write_string(&mut self.out, key);
                self.out.put_u8(b':');
                self.lookalike |= key == "_placeholder" && value == Token::Bool(true);
            }
            return Ok(Some(value));
        }
        Ok(None)
    }

    /// The next key of a map. It is checked even if its value is undefined: the map may be passed
    /// on to other clients as it came.
    fn key(&mut self) -> Result<&'a str, MessagePackError> {
        match self.reader.token()? {
            Token::Text(key) => core::str::from_utf8(key).map_err(|_| InvalidUtf8),
            _ => Err(Key),
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), MessagePackError> {
        let text = core::str::from_utf8(text).map_err(|_| InvalidUtf8)?;
        json::write_string(&mut self.out, text);
        Ok(())
    }

    fn scalar(&mut self, token: Token<'a>) -> Result<(), MessagePackError> {
        let out = &mut self.out;
        let written = match token {
            Token::Nil => out.write_str("null"),
            Token::Bool(value) => out.write_str(if value { "true" } else { "false" }),
            // A message can hold a million of these two kinds. Using `core::fmt` for them would
            // cost a third of the time for reading the message.
            Token::Unsigned(number) => {
                put_decimal(number, out);
                Ok(())
            }
            Token::Negative(number) => {
                out.put_u8(b'-');
                put_decimal(number.unsigned_abs(), out);
                Ok(())
            }
            Token::Float(number) if !number.is_finite() => {
                self.inexact = true;
                out.write_str("null")
            }
            Token::Float(number) if is_whole(number) => write!(out, "{}", number as i64),
            // The shortest digits that give the same number, with an exponent if there would be
            // many zeros.
            Token::Float(number) => write!(out, "{number:?}"),
            Token::Text(text) => return self.text(text),
            Token::Bytes(bytes) => return self.bytes(bytes),
            Token::ArrayBuffer(bytes) => {
                self.inexact = true;
                return self.bytes(bytes);
            }
            token @ Token::Extension(..) if token.is_undefined() => {
                self.inexact = true;
                out.write_str("null")
            }
            Token::Extension(kind, data) => {
                self.inexact = true;
                date::write(out, milliseconds(kind, data)?);
                Ok(())
            }
            Token::Array(_) | Token::Map(_) => Ok(()), // not scalars
        };
        debug_assert!(written.is_ok(), "a buffer that grows takes everything");
        Ok(())
    }

    fn bytes(&mut self, bytes: &'a [u8]) -> Result<(), MessagePackError> {
        let out = &mut self.out;
        // The brackets of the JSON that stands for the bytes.
        if self.room < if self.inline { 2 } else { 1 } {
            return Err(TooDeep);
        }
        let written = if self.inline {
            let comma = |at: usize| if at == 0 { "" } else { "," };
            let mut each = bytes.iter().enumerate();
            out.put_slice(b"{\"type\":\"Buffer\",\"data\":[");
            let written = each.try_for_each(|(at, byte)| write!(out, "{}{byte}", comma(at)));
            out.put_slice(b"]}");
            written
        } else if self.attachments.len() == self.max_attachments {
            return Err(TooManyBinaries);
        } else {
            let num = self.attachments.len();
            self.attachments.push(self.message.slice_ref(bytes));
            write!(out, "{{\"_placeholder\":true,\"num\":{num}}}")
        };
        debug_assert!(written.is_ok(), "a buffer that grows takes everything");
        Ok(())
    }
}

/// Whether a float is a whole number that a float holds exactly.
pub(super) fn is_whole(number: f64) -> bool {
    number.abs() <= MAX_SAFE && number as i64 as f64 == number
}
