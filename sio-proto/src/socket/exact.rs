//! Arguments as they came on a wire that can express more than JSON.
//!
//! ```text
//! MessagePack   d7 00 00 00 01 9a …   ──►  json    "2026-11-28T06:00:00.000Z"   what handlers read, and clients of all other wires
//!                                          exact   d7 00 00 00 01 9a …          what clients of MessagePack get, if it is only passed on
//! ```
//! Arguments are JSON with attachments for everybody ([`Args`](super::Args)). JSON has no date,
//! undefined, NaN, infinity or array buffer, so these values become the nearest JSON. An argument
//! that contains such a value is also kept here as it came, in slices of its message. If an
//! application passes the arguments on unchanged, it passes this copy on too. If it reads the
//! arguments as types and writes them anew, the copy is lost.
//!
//! Invariant: the bytes have been checked. They are complete values, nested no deeper than the
//! limit, and they agree with the JSON.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

/// The arguments, by their position, that JSON expresses less exactly than the wire they came on.
/// Mostly there are none, and the value is one null pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact(Option<Box<Arguments>>);

/// Position and MessagePack bytes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Arguments(Vec<(usize, Bytes)>);

/// The largest number of arguments kept for one packet. Each costs about 40 bytes, although an
/// undefined takes only 3 bytes on the wire. Further arguments are kept as JSON only.
const MAX_ARGUMENTS: usize = 64;

impl Exact {
    /// Whether JSON expresses all arguments exactly.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Number of bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(_, value)| value.len()).fold(0, usize::saturating_add)
    }

    /// The argument at this position in MessagePack, if JSON expresses it less exactly.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Bytes> {
        self.iter().find_map(|(at, value)| (at == place).then_some(value))
    }

    /// The argument at `place` alone, as the first of a new list.
    #[must_use]
    pub fn only(&self, place: usize) -> Self {
        let mut only = Self::default();
        only.insert(0, self.get(place).cloned());
        only
    }

    /// Adds the first argument of `other`, if it is kept, at `place`. `place` must be behind all
    /// other positions.
    pub fn append(&mut self, place: usize, other: &Self) {
        self.insert(place, other.get(0).cloned());
    }

    /// A copy in its own memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut detached = Self::default();
        for (place, value) in self.iter() {
            detached.insert(place, Some(Bytes::copy_from_slice(value)));
        }
        detached
    }

    pub(crate) fn insert(&mut self, place: usize, value: Option<Bytes>) {
        let Some(value) = value else { return };
        let Arguments(arguments) = &mut **self.0.get_or_insert_default();
        debug_assert!(arguments.last().is_none_or(|(last, _)| *last < place), "in order");
        if arguments.len() < MAX_ARGUMENTS {
            arguments.push((place, value));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Bytes)> {
        let arguments = self.0.iter().flat_map(|arguments| &arguments.0);
        arguments.map(|(place, value)| (*place, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hardening B13: the bytes that are kept for a packet are bounded.
    #[test]
    fn few_arguments_are_kept() {
        let mut exact = Exact::default();
        assert!(exact.is_empty());
        for place in 0..1_000 {
            exact.insert(2 * place, Some(Bytes::from_static(&[0xd4, 0, 0])));
        }
        assert_eq!(exact.bytes(), 3 * MAX_ARGUMENTS);
        assert_eq!(
            (exact.get(2).is_some(), exact.get(3), exact.get(1_998)),
            (true, None, None)
        );
        assert_eq!(exact.only(2).get(0), exact.get(2));
        assert!(exact.only(3).is_empty());
        assert_eq!(exact.detached(), exact);
    }
}
