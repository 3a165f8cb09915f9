//! Bytes to replies.

use alloc::vec::Vec;
use core::mem::size_of;
use core::str;

use bytes::{Buf, Bytes, BytesMut};

use super::Value;

/// The longest line: a simple string, an error, a number, a length.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// What ends a line, and stands behind a string.
const LINE_END: &[u8] = b"\r\n";

/// For how many items of a list memory is taken at once.
const FIRST_ITEMS: usize = 32;

/// What a reply may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one reply: its bytes on the wire, and the memory of its values. Default 32
    /// MiB.
    pub max_reply_bytes: usize,
    /// How deep lists may be in lists. Default 16.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_reply_bytes: 32 << 20,
            max_depth: 16,
        }
    }
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No reply begins with this byte.
    #[error("no reply begins with this byte: {0:#04x}")]
    UnknownType(u8),
    /// A number or a length is not one.
    #[error("a number is not one")]
    Number,
    /// A line does not end, or a string is longer or shorter than it says.
    #[error("a line or a string does not end where it should")]
    End,
    /// A truth value or a verbatim string is malformed.
    #[error("a value is malformed")]
    Value,
    /// The reply is larger than [`Limits::max_reply_bytes`].
    #[error("a reply is larger than the limit")]
    TooLarge,
    /// The reply is deeper than [`Limits::max_depth`].
    #[error("a reply is deeper than the limit")]
    TooDeep,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    List,
    Map,
    Push,
    /// Belongs to the value behind it, and is left out.
    Attribute,
}

/// A list whose items have not all come.
#[derive(Debug)]
struct Open {
    kind: Kind,
    left: usize,
    items: Vec<Value>,
}

/// A string whose length is known.
#[derive(Clone, Copy, Debug)]
struct Bulk {
    kind: u8,
    len: usize,
}

/// What a line, or the rest of a string, is.
enum Step {
    /// More bytes are needed.
    Wait,
    /// A list begins, or a string.
    Begun,
    Value(Value),
}

/// Reads replies. It holds what it has of an incomplete one; the bytes behind stay in the caller's
/// buffer.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    open: Vec<Open>,
    bulk: Option<Bulk>,
    /// How many bytes of the buffer are known to hold no end of a line.
    searched: usize,
    /// What the reply has cost so far.
    spent: usize,
}

impl Decoder {
    /// Begins at the start of a reply.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Vec::new(),
            bulk: None,
            searched: 0,
            spent: 0,
        }
    }

    /// Takes the next reply out of the buffer. Returns `None` if it is not complete. Its strings
    /// are slices of the buffer, without a copy.
    ///
    /// # Errors
    /// If the bytes are not a reply, or one beyond the limits. Nothing more can be read then: the
    /// connection has to be closed.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Value>, DecodeError> {
        loop {
            step!();
            let value = match self.step(input)? {
                Step::Wait => return Ok(None),
                Step::Begun => continue,
                Step::Value(value) => value,
            };
            if let Some(reply) = self.place(value) {
                self.spent = 0;
                return Ok(Some(reply));
            }
        }
    }

    /// The strings of the lists that are not complete, the outermost list first. Behind a reply
    /// that is too large, they say what the reply was about.
    pub(crate) fn begun(&self) -> impl Iterator<Item = &Bytes> {
        self.open
            .iter()
            .flat_map(|open| &open.items)
            .filter_map(|item| match item {
                Value::Text(text) => Some(text),
                _ => None,
            })
    }

    /// Puts a value where it belongs. Returns it if it is a whole reply.
    fn place(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(mut open) = self.open.pop() else {
                return Some(value);
            };
            open.items.push(value);
            open.left = open.left.saturating_sub(1);
            if open.left > 0 {
                self.open.push(open);
                return None;
            }
            value = match open.kind {
                Kind::List => Value::List(open.items),
                Kind::Map => Value::Map(open.items),
                Kind::Push => Value::Push(open.items),
                Kind::Attribute => return None,
            };
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.spent = self.spent.saturating_add(bytes);
        match self.spent > self.limits.max_reply_bytes {
            true => Err(DecodeError::TooLarge),
            false => Ok(()),
        }
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Step, DecodeError> {
        if input.is_empty() {
            return Ok(Step::Wait);
        }
        if let Some(bulk) = self.bulk {
            return self.bulk(bulk, input);
        }
        let Some(end) = self.line_end(input)? else {
            return Ok(Step::Wait);
        };
        self.charge(end)?;
        let line = input.get(..end).unwrap_or_default();
        let Some((&kind, line)) = line.split_first() else {
            return Err(DecodeError::UnknownType(b'\r'));
        };
        let step = match kind {
            b'+' | b'(' | b'-' => {
                let mut text = take(input, end)?;
                text.advance(1);
                return Ok(Step::Value(match kind {
                    b'-' => Value::Error(text),
                    _ => Value::Text(text),
                }));
            }
            b':' => Step::Value(Value::Integer(integer(line)?)),
            b'_' => Step::Value(Value::Null),
            b'#' => Step::Value(Value::Boolean(match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(DecodeError::Value),
            })),
            b',' => Step::Value(Value::Double(double(line)?)),
            b'$' | b'!' | b'=' => self.begin_bulk(kind, line)?,
            b'*' | b'~' => self.begin(Kind::List, 1, line)?,
            b'%' => self.begin(Kind::Map, 2, line)?,
            b'|' => self.begin(Kind::Attribute, 2, line)?,
            b'>' => self.begin(Kind::Push, 1, line)?,
            other => return Err(DecodeError::UnknownType(other)),
        };
        // Only strings need the bytes of their line, and a slice of the buffer costs an allocation.
        input.advance(end.saturating_add(LINE_END.len()));
        Ok(step)
    }

    /// Where the first line ends, if it does.
    fn line_end(&mut self, input: &[u8]) -> Result<Option<usize>, DecodeError> {
        let mut from = self.searched.min(input.len());
        while let Some(at) = memchr::memchr(b'\r', input.get(from..).unwrap_or_default()) {
            step!(bulk at);
            let end = from.saturating_add(at);
            from = end.saturating_add(1);
            if input.get(from) == Some(&b'\n') {
                self.searched = 0;
                return match end > MAX_LINE_BYTES {
                    true => Err(DecodeError::End),
                    false => Ok(Some(end)),
                };
            }
        }
        if input.len() > MAX_LINE_BYTES + 1 {
            return Err(DecodeError::End);
        }
        step!(bulk input.len().saturating_sub(from));
        // The last byte may be the first half of the end.
        self.searched = input.len().saturating_sub(1);
        Ok(None)
    }

    fn begin_bulk(&mut self, kind: u8, line: &[u8]) -> Result<Step, DecodeError> {
        let Some(len) = length(line)? else {
            return Ok(Step::Value(Value::Null));
        };
        self.charge(len)?;
        self.bulk = Some(Bulk { kind, len });
        Ok(Step::Begun)
    }

    fn bulk(&mut self, bulk: Bulk, input: &mut BytesMut) -> Result<Step, DecodeError> {
        let behind = input.get(bulk.len..).unwrap_or_default();
        if behind.len() < LINE_END.len() {
            return Ok(Step::Wait);
        }
        if !behind.starts_with(LINE_END) {
            return Err(DecodeError::End);
        }
        self.bulk = None;
        let text = take(input, bulk.len)?;
        Ok(Step::Value(match bulk.kind {
            b'!' => Value::Error(text),
            b'=' => Value::Text(verbatim(text)?),
            _ => Value::Text(text),
        }))
    }

    fn begin(&mut self, kind: Kind, each: usize, line: &[u8]) -> Result<Step, DecodeError> {
        let Some(len) = length(line)? else {
            return Ok(Step::Value(Value::Null));
        };
        let left = len.saturating_mul(each);
        self.charge(left.saturating_mul(size_of::<Value>()))?;
        if left == 0 {
            return Ok(match kind {
                Kind::List => Step::Value(Value::List(Vec::new())),
                Kind::Map => Step::Value(Value::Map(Vec::new())),
                Kind::Push => Step::Value(Value::Push(Vec::new())),
                Kind::Attribute => Step::Begun,
            });
        }
        if self.open.len() >= self.limits.max_depth {
            return Err(DecodeError::TooDeep);
        }
        let items = Vec::with_capacity(left.min(FIRST_ITEMS));
        self.open.push(Open { kind, left, items });
        Ok(Step::Begun)
    }
}

/// Takes `len` bytes and the end of a line behind them. The caller has found the end there.
fn take(input: &mut BytesMut, len: usize) -> Result<Bytes, DecodeError> {
    let with_end = len.saturating_add(LINE_END.len());
    if input.len() < with_end {
        return Err(DecodeError::End);
    }
    let mut bytes = input.split_to(with_end).freeze();
    bytes.truncate(len);
    Ok(bytes)
}

/// A length. `None` is the length -1, which stands for nothing.
fn length(line: &[u8]) -> Result<Option<usize>, DecodeError> {
    match integer(line)? {
        -1 => Ok(None),
        len => usize::try_from(len).map(Some).map_err(|_| DecodeError::Number),
    }
}

fn integer(line: &[u8]) -> Result<i64, DecodeError> {
    let text = str::from_utf8(line).map_err(|_| DecodeError::Number)?;
    text.parse().map_err(|_| DecodeError::Number)
}

fn double(line: &[u8]) -> Result<f64, DecodeError> {
    let text = str::from_utf8(line).map_err(|_| DecodeError::Number)?;
    text.parse().map_err(|_| DecodeError::Number)
}

/// A verbatim string without its format, three letters and a colon.
fn verbatim(mut text: Bytes) -> Result<Bytes, DecodeError> {
    if text.get(3) != Some(&b':') {
        return Err(DecodeError::Value);
    }
    text.advance(4);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn text(text: &'static str) -> Value {
        Value::Text(Bytes::from_static(text.as_bytes()))
    }

    fn one(bytes: &[u8]) -> Result<Option<Value>, DecodeError> {
        Decoder::new(Limits::default()).decode(&mut bytes.into())
    }

    /// The examples of the specification.
    #[test]
    fn every_type_is_read() {
        let error = Value::Error(Bytes::from_static(b"ERR no"));
        for (bytes, value) in [
            ("+OK\r\n", text("OK")),
            ("-ERR no\r\n", error.clone()),
            (":-7\r\n", Value::Integer(-7)),
            (":+7\r\n", Value::Integer(7)),
            ("$5\r\nhe\r\no\r\n", text("he\r\no")),
            ("$0\r\n\r\n", text("")),
            ("$-1\r\n", Value::Null),
            ("*-1\r\n", Value::Null),
            ("_\r\n", Value::Null),
            ("#t\r\n", Value::Boolean(true)),
            ("#f\r\n", Value::Boolean(false)),
            (",1.25\r\n", Value::Double(1.25)),
            (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
            ("(12345678901234567890123\r\n", text("12345678901234567890123")),
            ("!6\r\nERR no\r\n", error),
            ("=6\r\ntxt:ab\r\n", text("ab")),
            ("*0\r\n", Value::List(vec![])),
            ("~0\r\n", Value::List(vec![])),
            ("%0\r\n", Value::Map(vec![])),
            (">0\r\n", Value::Push(vec![])),
            ("|0\r\n_\r\n", Value::Null),
            (
                "~2\r\n:1\r\n*1\r\n+a\r\n",
                Value::List(vec![Value::Integer(1), Value::List(vec![text("a")])]),
            ),
            ("%1\r\n+a\r\n:1\r\n", Value::Map(vec![text("a"), Value::Integer(1)])),
            (">2\r\n+a\r\n_\r\n", Value::Push(vec![text("a"), Value::Null])),
            ("|1\r\n+ttl\r\n:9\r\n+OK\r\n", text("OK")),
            (
                "*2\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n:2\r\n",
                Value::List(vec![Value::Integer(1), Value::Integer(2)]),
            ),
        ] {
            assert_eq!(one(bytes.as_bytes()), Ok(Some(value)), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_replies_are_refused() {
        use DecodeError as E;
        for (bytes, error) in [
            ("?\r\n", E::UnknownType(b'?')),
            ("\r\n", E::UnknownType(b'\r')),
            (":1x\r\n", E::Number),
            (":\r\n", E::Number),
            ("$-2\r\n", E::Number),
            ("$?\r\n", E::Number),
            ("$99999999999999999999\r\n", E::Number),
            ("$1\r\nab\r\n", E::End),
            ("#x\r\n", E::Value),
            ("=2\r\nab\r\n", E::Value),
            (",x\r\n", E::Number),
        ] {
            assert_eq!(one(bytes.as_bytes()), Err(error), "{bytes:?}");
        }
        for bytes in [b":\xff\r\n", b",\xff\r\n", b"$\xff\r\n", b"*\xff\r\n"] {
            assert_eq!(one(bytes), Err(E::Number), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn limits_are_asked_before_the_memory() {
        let limits = Limits {
            max_reply_bytes: 1000,
            max_depth: 3,
        };
        let read = |bytes: &[u8]| Decoder::new(limits).decode(&mut bytes.into());
        assert_eq!(read(b"$1001\r\n"), Err(DecodeError::TooLarge));
        assert_eq!(read(b"$9223372036854775807\r\n"), Err(DecodeError::TooLarge));
        assert_eq!(read(b"*9223372036854775807\r\n"), Err(DecodeError::TooLarge));
        assert_eq!(read(b"*1000\r\n"), Err(DecodeError::TooLarge));
        assert_eq!(read(b"*1\r\n*1\r\n*1\r\n*1\r\n"), Err(DecodeError::TooDeep));
        assert_eq!(read(b"*1\r\n*1\r\n*1\r\n*0\r\n").map(|reply| reply.is_some()), Ok(true));
        let mut line = vec![b'+'; MAX_LINE_BYTES + 2];
        assert_eq!(read(&line), Err(DecodeError::End));
        line.extend_from_slice(b"\r\n");
        assert_eq!(read(&line), Err(DecodeError::End));
    }

    #[test]
    fn a_million_lists_in_lists_do_not_recurse() {
        let limits = Limits {
            max_reply_bytes: usize::MAX,
            max_depth: usize::MAX,
        };
        let mut decoder = Decoder::new(limits);
        let mut input = BytesMut::from(&b"*1\r\n".repeat(100_000)[..]);
        assert_eq!(decoder.decode(&mut input), Ok(None));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(bytes in prop::collection::vec(prop::sample::select(&b"*$%>|+-:,#_\r\n0123at"[..]), 0..60), cut in 0usize..60) {
            let read = |pieces: &[&[u8]]| {
                let (mut decoder, mut input, mut all) = (Decoder::new(Limits::default()), BytesMut::new(), vec![]);
                for piece in pieces {
                    input.extend_from_slice(piece);
                    loop {
                        match decoder.decode(&mut input) {
                            Ok(Some(value)) => all.push(Ok(value)),
                            Ok(None) => break,
                            Err(error) => {
                                all.push(Err(error));
                                return all;
                            }
                        }
                    }
                }
                all
            };
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            let (whole, pieces) = (read(&[&bytes]), read(&[left, right]));
            prop_assert_eq!(alloc::format!("{whole:?}"), alloc::format!("{pieces:?}"));
        }
    }
}
