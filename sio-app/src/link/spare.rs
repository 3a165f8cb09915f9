//! The memory of queues that are empty, for the next links on which something has to wait. So an
//! idle link has no queue, and a link that needs one for a moment allocates nothing.

use std::cell::RefCell;

use super::state::Waiting;

/// A thread keeps this many queues. Few turns write to more links that need one.
const MOST_SPARE: usize = 4;

/// A queue is kept if it has room for no more items than this.
pub(super) const MOST_KEPT: usize = 8;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    static SPARE: RefCell<Vec<Box<Waiting>>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty queue.
pub(super) fn take() -> Box<Waiting> {
    // A thread that is ending has no spare memory any more.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    spare.ok().flatten().unwrap_or_default()
}

/// Keeps the memory of a queue in which nothing waits.
pub(super) fn keep(mut waiting: Box<Waiting>) {
    let is_empty = waiting.queue.is_empty() && waiting.pong.is_empty() && waiting.holds_nothing();
    debug_assert!(is_empty && waiting.charged == 0 && waiting.stalled_since.is_none());
    if !is_empty || waiting.queue.capacity() > MOST_KEPT {
        return;
    }
    waiting.bytes = 0;
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST_SPARE {
            spare.push(waiting);
        }
    });
}

/// How many queues the thread keeps.
#[cfg(test)]
pub(super) fn count() -> usize {
    SPARE.with_borrow(Vec::len)
}
