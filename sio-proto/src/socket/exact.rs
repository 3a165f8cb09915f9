//! What arguments were on a wire that can say more than JSON.
//!
//! ```text
//! MessagePack   d7 00 00 00 01 9a …   ──►  json    "2026-11-28T06:00:00.000Z"   what handlers read, and clients of all other wires
//!                                          exact   d7 00 00 00 01 9a …          what clients of MessagePack get, if it is only passed on
//! ```
//! Arguments are JSON with attachments for everybody ([`Args`](super::Args)). A date, undefined,
//! NaN, an infinity and an array buffer become what JSON has for them; beside that, an argument
//! with one of them in it is kept here as it came, in slices of the message it came in. Whoever
//! passes the arguments on passes this on; whoever reads them as types and writes them anew does
//! not.
//!
//! Invariant: the bytes have been read and found to be whole values, nested no deeper than the
//! limit, and they say what the JSON says.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

/// The arguments, by their place, that JSON says less exactly than the wire they came on. Mostly
/// none, and then one null pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact(Option<Box<Arguments>>);

/// Place and MessagePack, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Arguments(Vec<(usize, Bytes)>);

/// Most arguments kept for one packet. Each costs some 40 bytes, and an undefined is 3 on the wire;
/// further ones are what JSON says.
const MAX_ARGUMENTS: usize = 64;

impl Exact {
    /// Whether JSON says everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(_, value)| value.len()).sum()
    }

    /// The argument at this place in MessagePack, if JSON says less.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Bytes> {
        self.iter().find_map(|(at, value)| (at == place).then_some(value))
    }

    /// The argument at `place` by itself, as the first of others.
    #[must_use]
    pub fn only(&self, place: usize) -> Self {
        let mut only = Self::default();
        only.insert(0, self.get(place).cloned());
        only
    }

    /// Puts the first argument of `other`, if it is there, at `place`, which is behind all others.
    pub fn append(&mut self, place: usize, other: &Self) {
        self.insert(place, other.get(0).cloned());
    }

    /// The same in memory of its own.
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

    /// Hardening B13: what is kept for a packet is bounded.
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
