//! A cursor that reads decisions from an input, for targets whose input is a list of operations.

/// The rest of an input. When the input is used up, the cursor returns zeros, so that every input
/// is valid.
#[derive(Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `data`.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether the input is used up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => 0,
        }
    }

    /// Reads an index below `len`, which must not be zero.
    pub fn index(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len
    }

    /// Picks one of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// Picks one of `items`. Returns `None` if there are no items.
    pub fn one_of<'b, T>(&mut self, items: &'b [T]) -> Option<&'b T> {
        items.get(self.byte() as usize % items.len().max(1))
    }

    /// Reads a length byte, and then this number of bytes, or fewer if the input ends before.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    /// Reads bytes as [`Self::bytes`] does, and converts them to text. Invalid UTF-8 is replaced.
    pub fn text(&mut self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }
}
