//! The acknowledgements that a client of 0.9 gives by itself, until they can leave.

use alloc::vec::Vec;

/// Ends each acknowledgement: no UTF-8 has this byte.
const END: u8 = 0xff;

/// Acknowledgements that wait, all in one buffer: they are short, and one answer of the server can
/// ask for very many. The buffer itself has never more than the limit.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    texts: Vec<u8>,
    count: usize,
}

impl Receipts {
    /// Adds one, unless all would take more bytes than this. Returns whether it was added.
    #[must_use]
    pub(super) fn push(&mut self, text: &[u8], most: usize) -> bool {
        let needed = self.texts.len().saturating_add(text.len()).saturating_add(1);
        if needed > most {
            return false;
        }
        if needed > self.texts.capacity() {
            let room = needed.saturating_mul(2).min(most);
            self.texts.reserve_exact(room.saturating_sub(self.texts.len()));
        }
        self.texts.extend_from_slice(text);
        self.texts.push(END);
        self.count = self.count.saturating_add(1);
        true
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let texts = self.texts.split(|byte| *byte == END);
        // Behind the last end is nothing.
        texts.take(self.count)
    }

    /// The memory that they take.
    #[cfg(any(test, feature = "steps"))]
    pub(super) const fn memory(&self) -> usize {
        self.texts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_has_more_than_the_limit() {
        let mut receipts = Receipts::default();
        let mut count = 0;
        while receipts.push(b"6:::1", 1000) {
            count += 1;
            assert!(receipts.memory() <= 1000, "{count}");
        }
        assert_eq!((count, receipts.count()), (166, 166));
        assert!(receipts.iter().all(|text| text == b"6:::1"));
        assert_eq!(receipts.iter().count(), 166);
        assert_eq!(Receipts::default().iter().count(), 0);
    }
}
