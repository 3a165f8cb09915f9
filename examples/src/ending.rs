//! How a program hears that it is to end, whatever runs its futures.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::task::{Poll, Waker};

static ENDING: Mutex<Ending> = Mutex::new(Ending {
    asked: false,
    waiting: Vec::new(),
});

struct Ending {
    asked: bool,
    waiting: Vec<Waker>,
}

fn ending() -> MutexGuard<'static, Ending> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves when the process is asked to end: by SIGTERM where there is such a thing, or by Ctrl-C.
/// From the call on, neither ends the process by itself.
pub fn asked_to_end() -> impl Future<Output = ()> + Send {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let asked = || {
            let waiting = {
                let mut ending = ending();
                ending.asked = true;
                std::mem::take(&mut ending.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        };
        // It fails if somebody else listens already, who will know what to do.
        let _ = ctrlc::set_handler(asked);
    });
    poll_fn(|cx| {
        let mut ending = ending();
        if ending.asked {
            return Poll::Ready(());
        }
        if !ending.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            ending.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    })
}
