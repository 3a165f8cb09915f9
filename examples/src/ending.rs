//! A future that is ready when the process is asked to end. It works with every runtime.

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

/// Returns a future that is ready when the process is asked to end: by SIGTERM, where the system
/// has it, or by Ctrl-C. After this call, neither of the two ends the process by itself.
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
        // The call fails if the process has another handler already. Then the other handler
        // decides.
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
