//! A message in several frames is put together here.
//!
//! Invariants: the pieces are copied into one buffer that grows with the bytes that have arrived,
//! never with a declared length. Text is checked once, when it is appended.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::decoder::Event;
use super::error::Error;
use super::frame::Opcode;
use super::utf8::Validator;

/// A fragmented message: the part that has arrived.
#[derive(Debug)]
pub(super) struct Fragments {
    body: Body,
    /// The sum of the declared lengths of all frames so far.
    length: usize,
    /// How many frames have begun.
    count: u32,
}

#[derive(Debug)]
enum Body {
    Text(String, Validator),
    Binary(Vec<u8>),
}

impl Fragments {
    /// How many bytes of the message are kept.
    pub(super) const fn held_bytes(&self) -> usize {
        match &self.body {
            Body::Text(text, _) => text.capacity(),
            Body::Binary(bytes) => bytes.capacity(),
        }
    }

    /// An empty message whose first frame has this opcode.
    pub(super) const fn new(opcode: Opcode) -> Self {
        let body = match opcode {
            Opcode::Text => Body::Text(String::new(), Validator::new()),
            // Only Text and Binary begin a message: `Header::parse` has checked this.
            Opcode::Binary | Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {
                Body::Binary(Vec::new())
            }
        };
        Self {
            body,
            length: 0,
            count: 0,
        }
    }

    /// The length of the message, as its frames declare it.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Counts one more frame. The length of the frame was admitted before, so neither sum can
    /// overflow.
    pub(super) const fn begin(&mut self, length: usize, max_fragments: u32) -> Result<(), Error> {
        if self.count >= max_fragments {
            return Err(Error::TooManyFragments);
        }
        self.count = self.count.saturating_add(1);
        self.length = self.length.saturating_add(length);
        Ok(())
    }

    /// Appends unmasked bytes of a frame.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        step!(bulk piece.len());
        match &mut self.body {
            Body::Text(text, validator) => {
                let (finished, characters) = validator.push(piece).map_err(|_| Error::InvalidUtf8)?;
                text.extend(finished);
                text.push_str(characters);
            }
            Body::Binary(data) => data.extend_from_slice(piece),
        }
        Ok(())
    }

    /// The complete message.
    pub(super) fn finish(self) -> Result<Event, Error> {
        match self.body {
            Body::Text(text, validator) => {
                validator.finish().map_err(|_| Error::InvalidUtf8)?;
                Ok(Event::Text(ByteString::from(text)))
            }
            Body::Binary(data) => Ok(Event::Binary(Bytes::from(data))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_length_allocates_nothing() {
        let mut message = Fragments::new(Opcode::Binary);
        assert_eq!(message.begin(1 << 40, 1), Ok(()));
        message.push(b"abc").unwrap();
        let Body::Binary(data) = &message.body else {
            panic!("binary")
        };
        assert!(data.capacity() < 64);
        assert_eq!(message.length(), 1 << 40);
        assert_eq!(message.begin(0, 1), Err(Error::TooManyFragments));
    }

    #[test]
    fn a_character_over_three_frames() {
        let mut message = Fragments::new(Opcode::Text);
        for piece in ["a€".as_bytes(), b"\xf0\x9f", b"", b"\x98", b"\x80b"] {
            message.push(piece).unwrap();
        }
        assert_eq!(message.finish(), Ok(Event::Text("a€\u{1f600}b".into())));
    }
}
