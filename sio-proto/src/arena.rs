//! Memory for frames that are kept for long, in pieces that several frames share.
//!
//! ```text
//!   piece   | frame | frame | frame |   free   |     freed when the last of its frames is dropped
//! ```
//! Frames with memory of their own cost an allocation each, and allocators are dear beside a copy.
//! The frames of an arena are dropped in the order in which they came. So a piece is held for
//! little longer than its frames.
//!
//! So the next piece is often made of the memory of the oldest one, which costs no allocation.
//!
//! Invariants: a piece has at most [`LARGEST_PIECE`] bytes, and at most a
//! [sixteenth](Arena::expect) of what is kept or [`SMALLEST_PIECE`]; at most a quarter of a full
//! piece is left free; at most one piece without frames is kept for the next one.

use bytes::{Bytes, BytesMut};

/// The size of the pieces as long as little is kept.
const SMALLEST_PIECE: usize = 1024;

/// The size of the pieces when much is kept.
const LARGEST_PIECE: usize = 32 * 1024;

/// Memory for frames that are kept for long: [`Message::kept`](crate::server::Message::kept)
/// copies them into it. An arena without frames has no memory.
#[derive(Debug, Default)]
pub struct Arena {
    /// The free rest of the present piece. It is always empty.
    piece: BytesMut,
    /// The memory of a piece without frames, or none.
    spare: BytesMut,
    /// The size of the next piece, if it is between the smallest and the largest.
    next: usize,
}

impl Arena {
    /// So many bytes are kept of this arena and others like it. Pieces get a sixteenth of it.
    #[inline]
    pub(crate) const fn expect(&mut self, kept: usize) {
        self.next = kept / 16;
    }

    /// The most memory that it keeps: the present piece, one that is free, and the oldest piece,
    /// some of whose frames are gone.
    #[cfg(feature = "steps")]
    pub(crate) fn most_memory(&self) -> usize {
        let size = self.next.clamp(SMALLEST_PIECE, LARGEST_PIECE);
        self.piece.capacity() + self.spare.capacity() + 2 * size
    }

    /// A copy of these bytes, or `None` if they are so large that they should have memory of their
    /// own.
    #[inline(always)]
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Option<Bytes> {
        if self.piece.capacity() < bytes.len() {
            let size = self.next.clamp(SMALLEST_PIECE, LARGEST_PIECE);
            if bytes.len() > size / 4 {
                return None;
            }
            self.piece = core::mem::take(&mut self.spare);
            if !self.piece.try_reclaim(size) {
                self.piece = BytesMut::with_capacity(size);
            }
        }
        self.piece.extend_from_slice(bytes);
        Some(self.piece.split().freeze())
    }

    /// Takes the memory of a frame back, if no other frame uses it.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, frame: Bytes) {
        if self.spare.capacity() == 0
            && let Ok(mut piece) = frame.try_into_mut()
            && piece.capacity() <= LARGEST_PIECE
        {
            piece.clear();
            self.spare = piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn frames_share_pieces_that_grow_with_what_is_kept() {
        let mut arena = Arena::default();
        assert_eq!(arena.copy(&[1; 257]), None, "a quarter of the smallest piece");
        let small: Vec<Bytes> = (0..5)
            .map(|byte| arena.copy(&[byte; 200]).unwrap_or_default())
            .collect();
        for (byte, frame) in (0..5).zip(&small) {
            assert_eq!(frame[..], [byte; 200]);
        }
        // The sixth begins another piece.
        let sixth = arena.copy(&[6; 200]).unwrap_or_default();
        assert_eq!(arena.piece.capacity(), SMALLEST_PIECE - 200);
        arena.expect(16 * 5000);
        assert_eq!(arena.copy(&[7; 1251]), None, "a quarter of the next piece");
        let large = arena.copy(&[7; 1250]).unwrap_or_default();
        assert_eq!((large.len(), arena.piece.capacity()), (1250, 3750));
        arena.expect(usize::MAX);
        assert_eq!(arena.copy(&vec![8; LARGEST_PIECE / 4 + 1]), None);
        let largest = arena.copy(&vec![8; LARGEST_PIECE / 4]).unwrap_or_default();
        assert_eq!(arena.piece.capacity(), LARGEST_PIECE / 4 * 3);
        drop((small, large));
        assert_eq!((sixth[0], largest[0]), (6, 8), "what others have left stays");
    }

    #[test]
    fn the_memory_of_the_oldest_piece_is_used_again() {
        let mut arena = Arena::default();
        let mut kept: Vec<Bytes> = (0..6).filter_map(|byte| arena.copy(&[byte; 200])).collect();
        let first = kept[0].as_ptr();
        // The first five share a piece.
        for frame in kept.drain(..4) {
            arena.give_back(frame);
            assert_eq!(arena.spare.capacity(), 0, "others use its piece");
        }
        arena.give_back(kept.remove(0));
        assert!(arena.spare.capacity() > 0);
        kept.extend((6..10).filter_map(|byte| arena.copy(&[byte; 200])));
        assert!(arena.spare.capacity() > 0, "there was room in the second piece");
        let eleventh = arena.copy(&[10; 200]).unwrap_or_default();
        assert_eq!(
            (arena.spare.capacity(), arena.piece.capacity()),
            (0, SMALLEST_PIECE - 200)
        );
        assert_eq!(eleventh.as_ptr(), first);
        for (frame, number) in kept.iter().zip(5..) {
            assert_eq!(frame[..], [number; 200]);
        }
        // What others use, or is larger than a piece, is not kept.
        arena.give_back(eleventh.clone());
        arena.give_back(Bytes::from(vec![0; LARGEST_PIECE + 1]));
        assert_eq!((arena.spare.capacity(), eleventh[0]), (0, 10));
        arena.give_back(Bytes::from(vec![0; 100]));
        assert_eq!(arena.spare.capacity(), 100);
        arena.expect(16 * 5000);
        assert!(arena.copy(&[1; 1250]).is_some());
        assert_eq!(arena.piece.capacity(), 3750, "the spare memory was too small");
    }
}
