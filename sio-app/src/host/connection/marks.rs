//! What is true of a connection at this moment, in one byte.

/// What is true of a connection at this moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// Bytes have not been handled yet, because other connections had to have their turn.
    pub(super) const HAS_MORE: u8 = 1;
    /// The last bytes wait for the socket. They have a deadline.
    pub(super) const ENDING: u8 = 2;
    pub(super) const LINGERING: u8 = 4;

    #[inline]
    pub(super) const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    #[inline]
    pub(super) const fn set(&mut self, mark: u8, is_set: bool) {
        match is_set {
            true => self.0 |= mark,
            false => self.0 &= !mark,
        }
    }
}
