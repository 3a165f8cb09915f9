//! What the caller has to do next, until it takes it.

use alloc::collections::VecDeque;

use super::event::Output;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// How many entries a list of a client may always have room for.
const MOST_KEPT: usize = 64;

/// Gives back the memory of a list that is much longer than what is in it: what one large input, or
/// one long time without a connection, has needed. Call it when something was taken out. A list
/// that shrinks has lost more entries than are moved.
pub(super) fn give_back<T>(list: &mut VecDeque<T>) {
    if list.capacity() > MOST_KEPT && list.len() < list.capacity() / 4 {
        list.shrink_to(MOST_KEPT.max(2 * list.len()));
    }
}

/// A queue that knows how many bytes of it are for the network. A caller that does not take them
/// makes them wait here: they count for
/// [`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes).
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    bytes: usize,
}

impl Outputs {
    pub(super) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn push_back(&mut self, output: Output) {
        self.bytes += weight(&output);
        self.queue.push_back(output);
    }

    pub(super) fn pop_front(&mut self) -> Option<Output> {
        let Some(output) = self.queue.pop_front() else {
            give_back(&mut self.queue);
            return None;
        };
        self.bytes -= weight(&output);
        Some(output)
    }

    pub(super) fn extend(&mut self, outputs: impl IntoIterator<Item = Output>) {
        outputs.into_iter().for_each(|output| self.push_back(output));
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        Holding::shrinking::<Output>(self.queue.capacity(), self.queue.len()).with(self.queue.iter().map(weight))
    }

    /// The memory of what is for the network and was not taken yet.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

const fn weight(output: &Output) -> usize {
    match output {
        Output::Bytes(_, bytes) => size_of::<Output>() + bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::State;

    /// One large input makes no client large for ever.
    #[test]
    fn a_list_gives_back_what_one_large_input_has_needed() {
        let mut outputs = Outputs::new();
        outputs.extend((0..10_000).map(|attempt| Output::State(State::Connecting(attempt))));
        assert!(outputs.queue.capacity() >= 10_000);
        while outputs.pop_front().is_some() {}
        assert!(outputs.queue.capacity() < 2 * MOST_KEPT, "{}", outputs.queue.capacity());
    }
}
