//! The incomplete bytes that a connection has read. Most connections have none, so the buffer has
//! its own memory.

use bytes::BytesMut;

/// A buffer may be larger than four times its bytes by so much.
const SLACK: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Remains(Option<Box<Buffer>>);

// Every connection has one.
const _: () = assert!(size_of::<Remains>() <= 8);

#[derive(Default)]
struct Buffer {
    bytes: BytesMut,
    /// How much memory the buffer has, at most. Its capacity does not count what was taken from its
    /// front: behind a message of 1 MB, a byte would seem to cost nothing.
    memory: usize,
    /// How much of the memory is in front of the bytes.
    before: usize,
}

impl Remains {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|buffer| buffer.bytes.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    /// Returns how much memory is kept, at most.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        let filled = self.0.as_ref().filter(|buffer| !buffer.bytes.is_empty());
        filled.map_or(0, |buffer| buffer.memory)
    }

    /// Takes the bytes out. What is left of them comes back by [`Remains::keep`]. Until then their
    /// place stays, so that a large message costs one place and not one for each of its pieces.
    pub(super) fn take(&mut self) -> BytesMut {
        let Some(buffer) = &mut self.0 else {
            return BytesMut::new();
        };
        buffer.before = buffer.memory.saturating_sub(buffer.bytes.capacity());
        std::mem::take(&mut buffer.bytes)
    }

    /// Notes that the buffer which was taken out may have grown. Call this before anything is taken
    /// from its front.
    pub(super) fn note_growth(&mut self, bytes: &BytesMut) {
        if let Some(buffer) = &mut self.0
            && bytes.capacity() > buffer.memory
        {
            // A buffer that grows keeps what was taken from its front.
            buffer.memory = bytes.capacity().saturating_add(buffer.before);
        }
    }

    /// Keeps what is left of the bytes that were taken out, in no more memory than they need. If
    /// nothing is left, no memory is kept.
    pub(super) fn keep(&mut self, bytes: BytesMut) {
        self.note_growth(&bytes);
        let Some(buffer) = self.0.as_mut().filter(|_| !bytes.is_empty()) else {
            return self.keep_copy(&bytes);
        };
        if buffer.memory > 4 * bytes.len() + SLACK {
            return self.keep_copy(&bytes);
        }
        buffer.bytes = bytes;
    }

    /// Keeps a copy of these bytes, and no others. If there are none, no memory is kept.
    #[inline]
    pub(super) fn keep_copy(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.0 = None;
            return;
        }
        let buffer = self.0.get_or_insert_default();
        buffer.bytes = BytesMut::from(bytes);
        buffer.memory = buffer.bytes.capacity();
    }

    /// Whether the buffer has room for so many bytes, also in front of its own.
    #[cfg(test)]
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        self.0.as_mut().is_some_and(|buffer| buffer.bytes.try_reclaim(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_take_no_memory() {
        let mut remains = Remains::default();
        remains.keep(BytesMut::with_capacity(1000));
        assert_eq!((remains.is_empty(), remains.len(), remains.memory()), (true, 0, 0));
        remains.keep_copy(b"abc");
        assert_eq!((remains.is_empty(), remains.len(), remains.memory()), (false, 3, 3));
        assert_eq!(remains.take(), "abc");
        assert_eq!((remains.is_empty(), remains.len(), remains.memory()), (true, 0, 0));
        assert!(remains.take().is_empty());
        remains.keep_copy(b"");
        assert_eq!((remains.is_empty(), remains.memory()), (true, 0));
    }

    /// What was taken from the front of a buffer is still its memory.
    #[test]
    fn memory_in_front_of_the_bytes_counts() {
        let mut remains = Remains::default();
        remains.keep_copy(&[0; 50_000]);
        let mut bytes = remains.take();
        bytes.reserve(50_000);
        remains.note_growth(&bytes);
        let whole = bytes.capacity();
        bytes.resize(whole, 0);
        let front = bytes.split_to(whole / 2);
        assert!(bytes.capacity() < whole, "the capacity does not count it");
        remains.keep(bytes);
        assert_eq!(remains.memory(), whole);
        // It grows, and what was in front stays.
        let mut bytes = remains.take();
        bytes.reserve(whole);
        remains.note_growth(&bytes);
        assert!(remains.memory() == 0 && bytes.capacity() >= whole);
        let grown = bytes.capacity() + whole - whole / 2;
        remains.keep(bytes);
        assert!(remains.memory() <= grown && remains.memory() >= whole);
        drop(front);
        // So little does not keep so much.
        let mut bytes = remains.take();
        let rest = bytes.split_off(bytes.len() - 1);
        remains.keep(rest);
        assert_eq!((remains.len(), remains.memory()), (1, 1));
    }
}
