//! How many events of a client have been had, for clients that ask for confirmations
//! (docs/protocol/extensions.md §2).
//!
//! An event is counted when its handler is about to start. Whoever comes back with a new socket
//! first seals the count of the old one: an event that is counted is handled by the old socket, and
//! every other event is handled by the new one, whose client sends it again.
//!
//! The client is told at the latest when a number of events or of bytes has been counted, or with
//! the next sweep. A store is told before the client.
//!
//! A sweep tells the clients of [`PORTION`] sockets, and leaves the rest of those that are listed
//! to a task, which lets others have their turn behind each portion. So no thread is kept for
//! longer than a portion takes, and a store is written once for each portion. A socket stands in
//! the list once at most: from the first event that is counted to the portion that takes it out.
//! The memory of a socket that has ended meanwhile is kept until then.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use crate::lock::Mutex;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::recovery::Recovery;
use crate::turn::socket::SocketCell;

/// The client is told when events of this weight have been counted.
const MOST_UNTOLD: u32 = 32;

/// An event weighs 1, and 1 more for each time that it has this many bytes.
const BYTES_PER_WEIGHT: usize = 2048;

/// The clients of so many sockets are told in one go. This takes well below a millisecond.
const PORTION: usize = 256;

/// The bit of the count that says that nothing more is counted.
const SEALED: u64 = 1 << 63;

/// The count of one socket.
#[derive(Default)]
pub(crate) struct Heard {
    count: AtomicU64,
    /// What the client was told last. It changes under the lock of the shard.
    told: AtomicU64,
    /// The weight of what has been counted since.
    weight: AtomicU32,
    /// Whether the next sweep tells the client.
    is_listed: AtomicBool,
    /// The socket of the client that has come back waits until nothing is under way.
    heir: Mutex<Option<Waker>>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Its handlers start.
    Counted,
    /// Its handlers start, and then the client is told.
    Due,
    /// It is dropped, because the client sends it again on another connection.
    Sealed,
}

impl Heard {
    /// How many events have been counted.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire) & !SEALED
    }

    /// The client has come back, and this many of its events have been had.
    pub(super) fn begin_at(&self, count: u64) {
        self.count.store(count, Ordering::Release);
        self.told.store(count, Ordering::Relaxed);
    }

    /// Counts nothing more. Returns the count.
    fn seal(&self) -> u64 {
        self.count.fetch_or(SEALED, Ordering::AcqRel) & !SEALED
    }

    fn is_sealed(&self) -> bool {
        self.count.load(Ordering::Acquire) & SEALED != 0
    }

    /// Counts an event of this size.
    fn take(&self, bytes: usize) -> Hearing {
        let counted = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count & SEALED == 0).then_some(count + 1)
        });
        if counted.is_err() {
            return Hearing::Sealed;
        }
        let weight = 1 + u32::try_from(bytes / BYTES_PER_WEIGHT).unwrap_or(u32::MAX / 2);
        let before = self.weight.fetch_add(weight.min(MOST_UNTOLD), Ordering::Relaxed);
        match before + weight.min(MOST_UNTOLD) >= MOST_UNTOLD {
            true => Hearing::Due,
            false => Hearing::Counted,
        }
    }
}

impl SocketCell {
    fn heard(&self) -> Option<&Heard> {
        self.seat()?.heard()
    }

    /// Returns how many events of the client have been had, if they are counted.
    pub(super) fn heard_count(&self) -> Option<u64> {
        self.heard().map(Heard::count)
    }

    /// Counts an event whose handlers are about to start, if events of the client are counted.
    #[inline]
    pub(super) fn hear(self: &Arc<Self>, bytes: impl FnOnce() -> usize) -> Hearing {
        match self.heard() {
            None => Hearing::Counted,
            Some(heard) => self.count_event(heard, bytes()),
        }
    }

    fn count_event(self: &Arc<Self>, heard: &Heard, bytes: usize) -> Hearing {
        let hearing = heard.take(bytes);
        // Either the sweep sees the count, or this thread sees that the socket is not listed.
        fence(Ordering::SeqCst);
        if hearing == Hearing::Counted && !heard.is_listed.swap(true, Ordering::Relaxed) {
            self.cell.recovery.untold.list(self);
        }
        hearing
    }

    /// Counts nothing more, because the client sends what is not counted again. Returns the count,
    /// if events of the client are counted.
    pub(super) fn seal_heard(&self) -> Option<u64> {
        self.heard().map(Heard::seal)
    }

    /// Tells the client how many of its events have been had, and before it a store.
    pub(super) fn confirm(self: &Arc<Self>) {
        if let Some(count) = self.untold_count() {
            self.cell.recovery.note_heard(&[(Arc::clone(self), count)]);
            self.tell_heard(count);
        }
    }

    /// Returns how many events of the client have been had, if the client does not know it.
    fn untold_count(&self) -> Option<u64> {
        let heard = self.heard()?;
        heard.weight.store(0, Ordering::Relaxed);
        let count = heard.count();
        (count != heard.told.load(Ordering::Relaxed)).then_some(count)
    }

    /// Tells the client that so many of its events have been had. A store knows it.
    fn tell_heard(self: &Arc<Self>, count: u64) {
        let Some(heard) = self.heard().filter(|_| self.is_connected()) else {
            return;
        };
        let told = turn::act(self.runtime(), |turn| {
            self.cell.input("confirm", turn, |state, now, out| {
                // Of two threads, one may be late.
                count <= heard.told.load(Ordering::Relaxed) || {
                    let told = state.shard.confirm(now, self.key, count, out);
                    if told {
                        heard.told.store(count, Ordering::Relaxed);
                    }
                    told
                }
            })
        });
        // The queue of the client is full. What it is told later says this, too.
        if !told && self.is_connected() && !heard.is_listed.swap(true, Ordering::Relaxed) {
            self.cell.recovery.untold.list(self);
        }
    }

    /// Waits until no handler of this socket is about to start, and nothing waits for one. Only one
    /// may wait: the socket of the client that has come back.
    pub(super) fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        let Some(heard) = self.heard() else {
            return Poll::Ready(());
        };
        let old = heard.heir.lock().replace(cx.waker().clone());
        drop(old);
        match self.mailbox.is_idle() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Wakes the socket that waits for the end of this one. The mailbox has become free.
    #[inline]
    pub(super) fn wake_heir(&self) {
        if let Some(heard) = self.heard().filter(|heard| heard.is_sealed()) {
            let heir = heard.heir.lock().take();
            heir.into_iter().for_each(Waker::wake);
        }
    }
}

/// The sockets whose clients have to be told with the next sweep.
#[derive(Default)]
pub(super) struct Untold {
    list: Mutex<VecDeque<Weak<SocketCell>>>,
    /// Whether a task tells those that the last sweep has left.
    has_task: AtomicBool,
}

impl Untold {
    fn list(&self, socket: &Arc<SocketCell>) {
        self.list.lock().push_back(Arc::downgrade(socket));
    }

    /// Takes the next sockets out of the list, `most` at most.
    fn take(&self, most: usize) -> Vec<Weak<SocketCell>> {
        let mut list = self.list.lock();
        let most = most.min(list.len());
        let portion = list.drain(..most).collect();
        let empty = list.is_empty().then(|| std::mem::take(&mut *list));
        drop(list);
        drop(empty);
        portion
    }
}

/// Says that the task of a sweep has ended, also if its runtime drops it.
struct OfTask(Arc<Recovery>);

impl Drop for OfTask {
    fn drop(&mut self) {
        self.0.untold.has_task.store(false, Ordering::Release);
    }
}

impl Recovery {
    /// Tells the clients whose events have been counted since the last call: some of them at once,
    /// the rest in a task.
    pub(super) fn confirm_untold(self: &Arc<Self>, runtime: Runtime) {
        // Those that are listed from now on are for the next sweep: a client that reads nothing is
        // listed again at once.
        let listed = self.untold.list.lock().len();
        if listed == 0 || self.untold.has_task.load(Ordering::Acquire) {
            return;
        }
        let mut left = self.confirm_portion(runtime, listed);
        if left == 0 {
            return;
        }
        self.untold.has_task.store(true, Ordering::Release);
        let of_task = OfTask(Arc::clone(self));
        (runtime.spawn)(Box::pin(poll_fn(move |cx| {
            left = of_task.0.confirm_portion(runtime, left);
            if left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
    }

    /// Tells the clients of the next sockets, `left` at most. Returns how many are left.
    fn confirm_portion(&self, runtime: Runtime, left: usize) -> usize {
        let portion = self.untold.take(left.min(PORTION));
        let taken = portion.len();
        let sockets: Vec<_> = portion.iter().filter_map(Weak::upgrade).collect();
        drop(portion);
        for heard in sockets.iter().filter_map(|socket| socket.heard()) {
            heard.is_listed.store(false, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        let untold = sockets.into_iter().filter_map(|socket| {
            let count = socket.untold_count()?;
            Some((socket, count))
        });
        let untold: Vec<_> = untold.collect();
        self.note_heard(&untold);
        // One turn writes to the store before it writes to the clients.
        turn::act(runtime, |_| {
            untold.iter().for_each(|(socket, count)| socket.tell_heard(*count));
        });
        match taken {
            0 => 0,
            taken => left - taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_before_the_seal_is_counted_once() {
        let heard = Heard::default();
        heard.begin_at(5);
        assert_eq!(heard.take(0), Hearing::Counted);
        assert_eq!((heard.seal(), heard.take(0), heard.seal()), (6, Hearing::Sealed, 6));
        assert_eq!(heard.count(), 6);
    }

    #[test]
    fn many_events_or_many_bytes_are_told() {
        let heard = Heard::default();
        let told = |bytes| (0..).find(|_| heard.take(bytes) == Hearing::Due);
        assert_eq!(told(0), Some(31));
        heard.weight.store(0, Ordering::Relaxed);
        assert_eq!(told(BYTES_PER_WEIGHT), Some(15));
        heard.weight.store(0, Ordering::Relaxed);
        assert_eq!(told(usize::MAX), Some(0));
    }

    #[test]
    fn threads_and_a_seal_agree_on_the_count() {
        let heard = Heard::default();
        let counted: u64 = std::thread::scope(|scope| {
            let threads = [(); 3]
                .map(|()| scope.spawn(|| (0..100_000).filter(|_| heard.take(0) != Hearing::Sealed).count() as u64));
            let sealed = heard.seal();
            let counted = threads.map(|thread| thread.join().unwrap()).iter().sum();
            assert_eq!(sealed, counted);
            counted
        });
        assert_eq!(heard.count(), counted);
    }
}
