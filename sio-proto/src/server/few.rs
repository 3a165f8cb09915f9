//! A list that usually has one item, which then needs no memory of its own.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;

/// A list that usually has one item.
#[derive(Clone, Debug, Default)]
pub(crate) enum Few<T> {
    #[default]
    None,
    One(T),
    /// Boxed, so that all lists are small.
    #[expect(clippy::box_collection, reason = "a list of its own makes all lists larger")]
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    pub(crate) fn push(&mut self, item: T) {
        *self = match core::mem::take(self) {
            Self::None => Self::One(item),
            Self::One(first) => Self::Many(Box::new(Vec::from([first, item]))),
            Self::Many(mut items) => {
                items.push(item);
                Self::Many(items)
            }
        };
    }

    /// Keeps the items for which this is true.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        match self {
            Self::None => {}
            Self::One(item) => {
                if !is_kept(item) {
                    *self = Self::None;
                }
            }
            Self::Many(items) => {
                step!(each items.len());
                items.retain(is_kept);
                if items.len() <= 1 {
                    *self = items.pop().map_or(Self::None, Self::One);
                }
            }
        }
    }

    /// Takes the items out, in order.
    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        let (one, many) = match self {
            Self::None => (None, Vec::new()),
            Self::One(item) => (Some(item), Vec::new()),
            Self::Many(items) => (None, *items),
        };
        one.into_iter().chain(many)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(item) => core::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut few = Few::default();
        let mut list = Vec::new();
        for item in 0..5 {
            assert_eq!(few[..], list[..]);
            few.push(item);
            list.push(item);
        }
        assert_eq!(few.clone().into_items().collect::<Vec<_>>(), list);
        for kept in (0..5).rev() {
            few.retain(|item| *item >= 5 - kept);
            list.retain(|item| *item >= 5 - kept);
            assert_eq!(few[..], list[..]);
            assert!(
                list.len() > 1 || !matches!(few, Few::Many(_)),
                "one item needs no memory"
            );
        }
        few.push(7);
        few.retain(|_| true);
        assert_eq!(few.into_items().collect::<Vec<_>>(), [7]);
    }
}
