//! Gives back memory that a crowd of clients, or one large answer, has needed.

use std::collections::VecDeque;

/// How many entries a queue may always have room for.
const MOST_KEPT: usize = 64;

/// Gives back memory of a queue that has become much shorter. This is constant work for each
/// removed entry.
pub(crate) fn trim_queue<T>(queue: &mut VecDeque<T>) {
    let room = queue.capacity();
    if room > MOST_KEPT && queue.len() < room / 4 {
        queue.shrink_to(MOST_KEPT.max(2 * queue.len()));
    }
}

/// Gives back memory of a list that has become much shorter. This is constant work for each removed
/// entry.
pub(crate) fn trim<T>(list: &mut Vec<T>) {
    let room = list.capacity();
    if room > 1024 && list.len() < room / 4 {
        list.shrink_to(2 * list.len());
    }
}
