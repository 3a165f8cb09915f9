//! The place of one acknowledgement that a client owes.

use std::task::Waker;

use sio_proto::server;
use sio_proto::socket::Args;

use crate::args::detached;
use crate::lock::Mutex;

/// Where the answer is put.
#[derive(Default)]
pub(crate) struct AckSlot(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    result: Option<Result<Args, server::AckError>>,
    waker: Option<Waker>,
}

impl AckSlot {
    pub(crate) fn fill(&self, result: Result<Args, server::AckError>) {
        let waker = {
            let mut slot = self.0.lock();
            // Nobody may come for it for long.
            let result = if slot.waker.is_some() {
                result
            } else {
                result.map(detached)
            };
            slot.result.get_or_insert(result);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The answer; if it is not there, `waker` is woken by it.
    pub(crate) fn take_or_wait(&self, waker: Waker) -> Option<Result<Args, server::AckError>> {
        let (result, _old) = {
            let mut slot = self.0.lock();
            (slot.result.take(), slot.waker.replace(waker))
        };
        result
    }
}
