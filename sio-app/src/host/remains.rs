//! The incomplete bytes that a connection has read. Most connections have none, so the buffer has
//! its own memory.

use bytes::BytesMut;

#[derive(Default)]
pub(super) struct Remains(Option<Box<BytesMut>>);

// Every connection has one.
const _: () = assert!(size_of::<Remains>() <= 8);

impl Remains {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|bytes| bytes.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Returns how much memory is kept.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.capacity())
    }

    /// Takes the bytes out. What is left of them comes back by [`Remains::keep`]. Until then their
    /// place stays, so that a large message costs one place and not one for each of its pieces.
    pub(super) fn take(&mut self) -> BytesMut {
        self.0
            .as_mut()
            .map_or_else(BytesMut::new, |bytes| std::mem::take(&mut **bytes))
    }

    /// Keeps these bytes, and no others. If there are none, no memory is kept.
    #[inline]
    pub(super) fn keep(&mut self, bytes: BytesMut) {
        match &mut self.0 {
            place if bytes.is_empty() => *place = None,
            Some(place) => **place = bytes,
            place => *place = Some(Box::new(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_take_no_memory() {
        let mut remains = Remains::default();
        remains.keep(BytesMut::with_capacity(1000));
        assert_eq!((remains.is_empty(), remains.len(), remains.capacity()), (true, 0, 0));
        remains.keep(BytesMut::from("abc"));
        assert_eq!((remains.is_empty(), remains.len()), (false, 3));
        assert_eq!(remains.take(), "abc");
        assert!(remains.is_empty() && remains.take().is_empty());
    }
}
