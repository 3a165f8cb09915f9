//! The place of one acknowledgement that a client owes.

use std::task::Waker;

use sio_proto::server;
use sio_proto::socket::Args;

use crate::args::detached;
use crate::lock::Mutex;

/// The place for the answer.
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
            // The answer may wait for a long time.
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

    /// Takes the answer. If it has not come yet, it will wake `waker`.
    pub(crate) fn take_or_wait(&self, waker: Waker) -> Option<Result<Args, server::AckError>> {
        let (result, _old) = {
            let mut slot = self.0.lock();
            (slot.result.take(), slot.waker.replace(waker))
        };
        result
    }
}
