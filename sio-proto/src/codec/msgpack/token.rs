//! MessagePack, one value after the other. Each value is checked against the bytes that are there.

use rmp::Marker;

/// Why a message is not the MessagePack that a packet is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessagePackError {
    /// The message ends inside a value, or announces more elements than it has bytes for.
    #[error("the message ends too early")]
    Truncated,
    /// Bytes follow the packet.
    #[error("trailing bytes")]
    TrailingBytes,
    /// A byte that begins no value, `c1`.
    #[error("reserved byte")]
    Reserved,
    /// The packet is no map.
    #[error("the packet is no map")]
    NoMap,
    /// A key that is no string.
    #[error("a key that is no string")]
    Key,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// An extension that is not undefined, a date or a timestamp, or one of these with a length or
    /// value that is not allowed.
    #[error("unknown extension type {0}")]
    Extension(i8),
    /// More values than [`MessagePack::max_elements`](super::MessagePack::max_elements).
    #[error("too many values")]
    TooManyElements,
    /// More binary values than [`MessagePack::max_binaries`](super::MessagePack::max_binaries).
    #[error("too many binary values")]
    TooManyBinaries,
    /// Nested deeper than [`Limits::max_depth`](crate::socket::text::Limits::max_depth).
    #[error("nested too deep")]
    TooDeep,
    /// The id is no whole number from 0 to 2^64 − 1 in one of the integer forms.
    #[error("invalid id")]
    InvalidId,
    /// The packet has bytes, and one of its maps looks like a placeholder for bytes.
    #[error("a map that looks like a placeholder")]
    Lookalike,
}

use MessagePackError::{Extension, Reserved, TooManyElements, Truncated};

/// The beginning of a value. For arrays and maps it does not include their content; for other
/// values it is the whole value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// A negative number.
    Negative(i64),
    Float(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// Bytes that were an array buffer or a typed array in JavaScript.
    ArrayBuffer(&'a [u8]),
    /// An array; this many values follow.
    Array(u32),
    /// A map; this many keys follow, each with its value.
    Map(u32),
    Extension(i8, &'a [u8]),
}

impl Token<'_> {
    /// JavaScript's undefined, as genuine peers write it.
    pub(crate) const fn is_undefined(self) -> bool {
        matches!(self, Self::Extension(0, [_]))
    }
}

/// The part of a message that has not been read.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn token(&mut self) -> Result<Token<'a>, MessagePackError> {
        step!();
        let [first] = self.array()?;
        Ok(match Marker::from_u8(first) {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(number) => signed(number.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => Token::Text(self.slice(len.into())?),
            Marker::Str8 => Token::Text(self.sliced::<1>()?),
            Marker::Str16 => Token::Text(self.sliced::<2>()?),
            Marker::Str32 => Token::Text(self.sliced::<4>()?),
            Marker::Bin8 => Token::Bytes(self.sliced::<1>()?),
            Marker::Bin16 => Token::Bytes(self.sliced::<2>()?),
            Marker::Bin32 => Token::Bytes(self.sliced::<4>()?),
            Marker::FixArray(len) => Token::Array(self.announced(len.into(), 1)?),
            Marker::Array16 => {
                let len = self.number::<2>()?;
                Token::Array(self.announced(len, 1)?)
            }
            Marker::Array32 => {
                let len = self.number::<4>()?;
                Token::Array(self.announced(len, 1)?)
            }
            Marker::FixMap(len) => Token::Map(self.announced(len.into(), 2)?),
            Marker::Map16 => {
                let len = self.number::<2>()?;
                Token::Map(self.announced(len, 2)?)
            }
            Marker::Map32 => {
                let len = self.number::<4>()?;
                Token::Map(self.announced(len, 2)?)
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let len = self.number::<1>()?;
                self.sized_extension(len, Some(12))?
            }
            Marker::Ext16 => {
                let len = self.number::<2>()?;
                self.sized_extension(len, None)?
            }
            Marker::Ext32 => {
                let len = self.number::<4>()?;
                self.sized_extension(len, None)?
            }
            Marker::Reserved => return Err(Reserved),
        })
    }

    /// Steps over a value and everything inside it. Returns its bytes, and the number of bytes of
    /// its binary values. `budget` is the number of values that are still allowed.
    pub(crate) fn skip(&mut self, budget: &mut usize) -> Result<(&'a [u8], usize), MessagePackError> {
        let (whole, mut binary, mut open) = (self.rest, 0_usize, 1_u64);
        while let Some(left) = open.checked_sub(1) {
            *budget = budget.checked_sub(1).ok_or(TooManyElements)?;
            // At most 2^33 for each byte of the message.
            open = left;
            match self.token()? {
                Token::Array(len) => open = open.saturating_add(len.into()),
                Token::Map(len) => open = open.saturating_add(u64::from(len) << 1),
                Token::Bytes(bytes) | Token::ArrayBuffer(bytes) => binary = binary.saturating_add(bytes.len()),
                Token::Nil
                | Token::Bool(_)
                | Token::Unsigned(_)
                | Token::Negative(_)
                | Token::Float(_)
                | Token::Text(_)
                | Token::Extension(..) => {}
            }
        }
        let read = whole.len().saturating_sub(self.rest.len());
        Ok((whole.get(..read).unwrap_or_default(), binary))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessagePackError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// A length that takes this many bytes.
    fn number<const N: usize>(&mut self) -> Result<u32, MessagePackError> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn slice(&mut self, len: u32) -> Result<&'a [u8], MessagePackError> {
        let len = usize::try_from(len).map_err(|_| Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn sliced<const N: usize>(&mut self) -> Result<&'a [u8], MessagePackError> {
        let len = self.number::<N>()?;
        self.slice(len)
    }

    /// A count of elements, each of at least this many bytes. A sender that announces more elements
    /// than the message can hold is refused.
    fn announced(&self, count: u32, bytes_each: u64) -> Result<u32, MessagePackError> {
        match u64::from(count).saturating_mul(bytes_each) > self.rest.len() as u64 {
            true => Err(Truncated),
            false => Ok(count),
        }
    }

    /// Reads an extension in a form that states its length. The genuine encoder writes an
    /// ArrayBuffer or a typed array with type 0, and a timestamp of 12 bytes behind `c7`. Genuine
    /// decoders take each type −1 behind `c7` for 12 bytes, whatever its length says, and read the
    /// rest of the packet out of step. So a client could write packets in the names of others with
    /// a timestamp that is passed on. No other timestamp is read here.
    fn sized_extension(&mut self, len: u32, timestamp: Option<u32>) -> Result<Token<'a>, MessagePackError> {
        match self.extension(len)? {
            Token::Extension(0, bytes) => Ok(Token::ArrayBuffer(bytes)),
            Token::Extension(kind, _) if kind != -1 || timestamp != Some(len) => Err(Extension(kind)),
            timestamp => Ok(timestamp),
        }
    }

    fn extension(&mut self, len: u32) -> Result<Token<'a>, MessagePackError> {
        let [kind] = self.array()?;
        Ok(Token::Extension(i8::from_be_bytes([kind]), self.slice(len)?))
    }
}

fn signed(number: i64) -> Token<'static> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}

/// The time of a date or timestamp in milliseconds since 1970; `None` if JavaScript cannot express
/// it either.
pub(crate) fn milliseconds(kind: i8, data: &[u8]) -> Result<Option<i64>, MessagePackError> {
    let (seconds, nanoseconds) = match (kind, data.len()) {
        (0, 8) => return Ok(data.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))),
        (-1, 4) => (i64::from(big_endian(data) as u32), 0),
        (-1, 8) => {
            let both = big_endian(data);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        }
        (-1, 12) => {
            let (nanoseconds, seconds) = data.split_at_checked(4).unwrap_or_default();
            (big_endian(seconds) as i64, big_endian(nanoseconds) as u32)
        }
        _ => return Err(Extension(kind)),
    };
    if nanoseconds > 999_999_999 {
        return Err(Extension(kind));
    }
    let whole = seconds.checked_mul(1000);
    Ok(whole.and_then(|whole| whole.checked_add(i64::from(nanoseconds / 1_000_000))))
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
