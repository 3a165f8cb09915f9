//! A list that usually has one item, which then needs no memory of its own.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;

#[cfg(feature = "steps")]
use crate::holding::Holding;

/// A list with several items has room for this many at least.
const FEWEST: usize = 4;

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
            Self::One(first) => {
                let mut items = Vec::with_capacity(FEWEST);
                items.extend([first, item]);
                Self::Many(Box::new(items))
            }
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
                self.settle();
            }
        }
    }

    /// Takes the last item out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Self::Many(items) => {
                let item = items.pop();
                self.settle();
                item
            }
            Self::None | Self::One(_) => match core::mem::take(self) {
                Self::One(item) => Some(item),
                Self::None | Self::Many(_) => None,
            },
        }
    }

    /// Takes an item out, and puts the last one into its place. `None` if there is no such item.
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<T> {
        match self {
            Self::Many(items) if at < items.len() => {
                let item = items.swap_remove(at);
                self.settle();
                Some(item)
            }
            Self::One(_) if at == 0 => self.pop(),
            Self::None | Self::One(_) | Self::Many(_) => None,
        }
    }

    /// The items, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        match self {
            Self::None => [].iter_mut(),
            Self::One(item) => core::slice::from_mut(item).iter_mut(),
            Self::Many(items) => items.iter_mut(),
        }
    }

    /// One item needs no memory.
    fn settle(&mut self) {
        if let Self::Many(items) = self
            && items.len() <= 1
        {
            *self = items.pop().map_or(Self::None, Self::One);
        }
    }

    /// What it holds beside its place.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        match self {
            Self::None | Self::One(_) => Holding::default(),
            Self::Many(items) => Holding::list::<T>(items.capacity()).and(Holding::memory(size_of::<Vec<T>>())),
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
        for at in 0..3 {
            (few, list) = (Few::default(), Vec::new());
            for item in 0..4 {
                few.push(item);
                list.push(item);
            }
            while at < list.len() {
                assert_eq!(few.swap_remove(at), Some(list.swap_remove(at)));
                few.iter_mut().chain(&mut list).for_each(|item| *item += 10);
                assert_eq!(few[..], list[..]);
            }
            assert_eq!(few.swap_remove(at), None);
            while let Some(item) = list.pop() {
                assert_eq!(few.pop(), Some(item));
                assert!(list.len() > 1 || !matches!(few, Few::Many(_)));
            }
            assert_eq!(few.pop(), None);
        }
        few.push(7);
        few.retain(|_| true);
        assert_eq!(few.into_items().collect::<Vec<_>>(), [7]);
    }
}
