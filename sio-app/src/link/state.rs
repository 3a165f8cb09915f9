//! The state of a link: who writes, and what waits.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;
use sio_proto::Time;
use sio_proto::conn::Stage;
use sio_proto::server::{Budget, Response};

use super::unwritten::Unwritten;
use super::{Awaiting, Claim, HandedOut, Item, News, Phase, Standing, spare};

#[derive(Default)]
pub(super) struct State {
    /// What waits. An idle link has none.
    pub(super) waiting: Option<Box<Waiting>>,
    /// Whether the end is in the queue.
    pub(super) ending: bool,
    /// Whether the socket has taken something since [`Link::is_stalled`] was asked.
    pub(super) moved: bool,
    pub(super) phase: Phase,
    pub(super) news: News,
    /// Whether the reading side holds bytes that wait for news.
    pub(super) impatient: bool,
    pub(super) websocket: bool,
    /// The link is blocked although the socket has room: the head of a handshake has just left.
    pub(super) rests: bool,
    /// What the peer has to send next. If it is late, the connection is closed (slow loris).
    awaited: Option<Stage>,
    /// Until when it has to come. It counts only with a stage.
    awaited_until: Time,
    /// Wakes the connection's task. Who wakes it takes it out, so that nothing of the runtime runs
    /// under the lock of the link. The task sets it again when it runs.
    pub(super) waker: Option<Waker>,
}

/// What waits for the socket.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) queue: VecDeque<Item>,
    /// The number of bytes in the queue.
    pub(super) bytes: usize,
    /// How many of these bytes are charged to the budget: all of them while the link is blocked.
    pub(super) charged: usize,
    /// The answer to the latest ping, while the socket is busy or full. It leaves after the queue.
    pub(super) pong: Bytes,
    /// Since when the socket has taken nothing, as far as is known.
    pub(super) stalled_since: Option<Time>,
    /// The packets that were not written when the link was cut.
    pub(super) unwritten: Option<Box<Unwritten>>,
    /// The answer that was handed out and waits for the other server. Few links hand answers out.
    pub(super) answer: Option<Box<HandedOut>>,
}

// Every connection has one, beside its outlet.
const _: () = assert!(size_of::<State>() <= 48);

impl Waiting {
    /// Whether there is nothing in it beside the queue.
    pub(super) const fn holds_nothing(&self) -> bool {
        self.unwritten.is_none() && self.answer.is_none()
    }
}

impl State {
    pub(super) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Idle | Phase::Busy => Standing::Open,
            Phase::Blocked if self.rests => Standing::Resting,
            Phase::Blocked => Standing::Blocked,
            Phase::Finished => Standing::Finished,
            Phase::Cut => Standing::Cut,
        }
    }

    /// Whether it is this task that would be woken. The wakers are only compared.
    #[inline]
    pub(super) fn wakes(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    pub(super) fn set_awaiting(&mut self, awaiting: Option<Awaiting>) {
        self.awaited = awaiting.map(|awaiting| awaiting.stage);
        self.awaited_until = awaiting.map_or(Time::ZERO, |awaiting| awaiting.until);
    }

    pub(super) fn awaiting(&self) -> Option<Awaiting> {
        let until = self.awaited_until;
        self.awaited.map(|stage| Awaiting { stage, until })
    }

    /// Whether the queue is empty. A pong may wait beside it.
    #[inline]
    pub(super) fn has_no_queue(&self) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.queue.is_empty())
    }

    pub(super) fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_with(spare::take)
    }

    pub(super) fn claim(&mut self) -> Claim {
        self.phase = Phase::Busy;
        if self.has_no_queue() {
            Claim::Clear
        } else {
            Claim::Queued
        }
    }

    pub(super) fn enqueue(&mut self, item: Item) {
        self.ending |= item.is_end();
        let waiting = self.waiting();
        waiting.bytes += item.weight();
        waiting.queue.push_back(item);
    }

    /// Takes the next items, for one write.
    pub(super) fn take_into(&mut self, taken: &mut VecDeque<Item>, most: usize) {
        let Some(waiting) = &mut self.waiting else { return };
        let count = waiting.queue.len().min(most);
        for item in waiting.queue.drain(..count) {
            waiting.bytes -= item.weight();
            taken.push_back(item);
        }
        if waiting.queue.is_empty() && !waiting.pong.is_empty() {
            taken.push_back(Item::Bytes(std::mem::take(&mut waiting.pong)));
        }
    }

    /// Ends the work of the writer. Returns false if something has been queued meanwhile.
    #[inline]
    pub(super) fn release(&mut self, budget: &Budget) -> bool {
        if self.waiting.is_some() && !self.put_queue_away(budget) {
            return false;
        }
        if self.phase == Phase::Busy {
            self.phase = Phase::Idle;
        }
        true
    }

    /// Gives up the memory of a queue, which a packet of a websocket usually does not need. Returns
    /// false if something is in it.
    #[inline(never)]
    fn put_queue_away(&mut self, budget: &Budget) -> bool {
        if let Some(waiting) = &mut self.waiting {
            if !waiting.queue.is_empty() || !waiting.pong.is_empty() {
                return false;
            }
            waiting.stalled_since = None;
            budget.recharge(std::mem::take(&mut waiting.charged), 0);
            if let Some(waiting) = self.waiting.take_if(|waiting| waiting.holds_nothing()) {
                spare::keep(waiting);
            }
        }
        true
    }

    /// Takes the answer out of a queue that holds nothing else.
    pub(super) fn take_only_answer(&mut self) -> Option<Box<Response>> {
        let waiting = self.waiting.as_mut()?;
        if waiting.queue.len() != 1 || !waiting.pong.is_empty() {
            return None;
        }
        match waiting.queue.pop_front()? {
            Item::Answer(response) => {
                waiting.bytes = 0;
                Some(response)
            }
            other => {
                waiting.queue.push_front(other);
                None
            }
        }
    }

    /// Takes the waker of the reading side, if it waits for news.
    pub(super) fn take_impatient(&mut self) -> Option<Waker> {
        match std::mem::take(&mut self.impatient) {
            true => self.waker.take(),
            false => None,
        }
    }

    /// Tells the budget how many bytes wait.
    pub(super) fn recharge(&mut self, budget: &Budget) {
        let Some(waiting) = &mut self.waiting else { return };
        let due = match self.phase {
            Phase::Blocked => waiting.bytes,
            Phase::Idle | Phase::Busy | Phase::Finished | Phase::Cut => 0,
        };
        budget.recharge(std::mem::replace(&mut waiting.charged, due), due);
    }
}
