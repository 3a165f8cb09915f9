//! What waits for the store of recovery, and how it gets there.
//!
//! ```text
//!   WORKING ── write fails, or too much waits ─► FAILED ── some seconds later ─► REFILLING
//!      ▲                                           ▲                                 │
//!      │                                           │         everything is collected │
//!      └───── written ◄── FILLING ── write fails ──┘                                 │
//!                            ▲───────────────────────────────────────────────────────┘
//! ```
//! Changes are pushed under the lock of recovery, in their order. They are written by the first
//! turn that is about to write to its clients ([`Keeper::settle`]), in one batch with the changes
//! of all other turns. So an emit pays for an entry of a list, and a turn pays for one write.
//!
//! An error never stops the server: it goes on in memory, empties the store, whose contents are out
//! of date, and writes everything again after a while. While everything is collected, nobody waits.
//! What changes meanwhile is in the same batch, so the store is never full and out of date.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sio_proto::Time;

use crate::lock::Mutex;
use crate::rated::Rated;
use crate::runtime::Runtime;
use crate::store::{Row, Store, StoreError, StoreReport};
use crate::turn::rows::{Dates, Head, Noted};
use crate::turn::values::Value;

/// How long the server goes on in memory before it tries the store again, for the first time, and
/// at most. Clients wait for each try, for as long as the store takes to fail.
const RETRY: Duration = Duration::from_secs(5);
const MOST_RETRY: Duration = Duration::from_secs(320);

pub(super) struct Keeper {
    store: Arc<dyn Store>,
    pub(super) dates: Dates,
    /// How many bytes may wait.
    max_bytes: usize,
    queue: Mutex<Queue>,
    /// Held while the store is called.
    writing: Mutex<()>,
    /// How many pushes there were, and how many of them have been written.
    pushed: AtomicU64,
    written: AtomicU64,
    rows: AtomicU64,
    failures: AtomicU64,
    codecs: Mutex<Vec<ValueCodec>>,
    /// The names of the values that were in the store at the start, and the names that types had
    /// before they were named again. Rows under them go with their records.
    old_names: Mutex<BTreeSet<Cow<'static, str>>>,
    /// How packets are written, as a hash.
    print: u64,
    /// The key with which ids are made.
    id_key: OnceLock<[u8; 16]>,
    warnings: Rated,
}

struct Queue {
    noted: Vec<Noted>,
    bytes: usize,
    /// What counts of this for the limit.
    weight: usize,
    /// Whether something was left out, because too much had waited already.
    is_cut: bool,
    mode: Mode,
    /// How many refills have begun.
    refills: u64,
    /// How long the last failure was waited for, and since when the store works, if it does.
    pause: Duration,
    works_since: Option<Time>,
}

impl Queue {
    /// Takes what waits, and says whether it is all.
    ///
    /// # Errors
    /// [`StoreError::Slow`] if something was left out.
    fn take(&mut self) -> (Vec<Noted>, Result<(), StoreError>) {
        (self.bytes, self.weight) = (0, 0);
        let is_whole = match std::mem::take(&mut self.is_cut) {
            true => Err(StoreError::Slow),
            false => Ok(()),
        };
        (std::mem::take(&mut self.noted), is_whole)
    }

    /// Returns how long a store that fails now is left alone: twice as long as the last time,
    /// unless it has worked for longer than that.
    fn next_pause(&mut self, now: Time) -> Duration {
        let worked = self.works_since.take().map(|since| now.saturating_since(since));
        self.pause = match worked.is_some_and(|worked| worked >= self.pause) {
            true => RETRY,
            false => self.pause.saturating_mul(2).min(MOST_RETRY),
        };
        self.pause
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Working,
    /// What is kept is collected for the store, by the refill with this number.
    Refilling {
        number: u64,
        emptied: bool,
    },
    /// What was collected is being written. Others wait for this, as for any write.
    Filling {
        emptied: bool,
    },
    /// `emptied` says whether the store is empty. Until it is, another process could take its
    /// contents for what is kept.
    Failed {
        retry: Time,
        emptied: bool,
    },
    Closed {
        emptied: bool,
    },
}

impl Mode {
    /// Whether the contents of the store are out of date.
    const fn is_stale(mut self) -> bool {
        matches!(self.emptied(), Some(false))
    }

    /// Whether the store is empty, if what it had was out of date.
    const fn emptied(&mut self) -> Option<&mut bool> {
        match self {
            Self::Working => None,
            Self::Refilling { emptied, .. }
            | Self::Filling { emptied }
            | Self::Failed { emptied, .. }
            | Self::Closed { emptied } => Some(emptied),
        }
    }
}

/// How values of one type are written and read.
#[derive(Clone)]
pub(crate) struct ValueCodec {
    pub(crate) kind: TypeId,
    pub(crate) name: &'static str,
    pub(crate) encode: fn(&Value) -> Option<Vec<u8>>,
    pub(crate) decode: fn(&[u8]) -> Option<Value>,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>, runtime: Runtime, max_bytes: usize, print: u64) -> Self {
        Self {
            store,
            dates: Dates::new((runtime.now)(), (runtime.unix_time)()),
            max_bytes,
            queue: Mutex::new(Queue {
                noted: Vec::new(),
                bytes: 0,
                weight: 0,
                is_cut: false,
                mode: Mode::Working,
                refills: 0,
                pause: Duration::ZERO,
                works_since: Some(Time::ZERO),
            }),
            writing: Mutex::new(()),
            pushed: AtomicU64::new(0),
            written: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            codecs: Mutex::default(),
            old_names: Mutex::default(),
            print,
            id_key: OnceLock::new(),
            warnings: Rated::new("the store of recovery failed"),
        }
    }

    /// Whether packets are written as this process writes them.
    pub(super) const fn can_send(&self, head: Head) -> bool {
        head.print == self.print
    }

    pub(super) const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Notes the changes of one step. The caller holds the lock of recovery, so they are in order.
    ///
    /// A step may be larger than the limit, as when many clients are not waited for any more, and
    /// their records end in one step. It is as large as what it changes, of which memory has as
    /// much, and says nothing of how fast the store is. So it counts as a half of the limit at
    /// most: what other threads do before it is written has room beside it.
    pub(super) fn push(&self, noted: impl Iterator<Item = Noted>) {
        let mut queue = self.queue.lock_for("store queue");
        let before = queue.noted.len();
        if matches!(queue.mode, Mode::Failed { .. } | Mode::Closed { .. }) {
            noted.for_each(drop);
            return;
        }
        if queue.weight > self.max_bytes {
            // The store is too slow, and is given up at the next write. No more has to wait for it.
            queue.is_cut |= noted.count() > 0;
            return;
        }
        queue.noted.extend(noted);
        let bytes: usize = queue.noted.iter().skip(before).map(Noted::bytes).sum();
        queue.bytes = queue.bytes.saturating_add(bytes);
        queue.weight = queue.weight.saturating_add(bytes.min(self.max_bytes / 2));
        if bytes > 0 {
            self.pushed.fetch_add(1, Ordering::Release);
        }
    }

    /// Writes what waits, if anything does. When it returns, everything that was pushed before is
    /// in the store, unless the store has failed. Call it while no lock is held.
    #[inline]
    pub(super) fn settle(&self, now: Time) {
        if self.written.load(Ordering::Acquire) < self.pushed.load(Ordering::Acquire) {
            self.write_waiting(now, Vec::new());
        }
    }

    /// Writes what waits behind these rows, in one batch.
    #[cold]
    fn write_waiting(&self, now: Time, rows: Vec<Row>) {
        // What is collected for a store does not hold up anybody.
        let mode = self.queue.lock_for("store queue").mode;
        if matches!(mode, Mode::Refilling { .. } | Mode::Failed { .. }) {
            return;
        }
        let target = self.pushed.load(Ordering::Acquire);
        let writing = self.writing.lock_for("store");
        if self.written.load(Ordering::Acquire) >= target {
            return;
        }
        let ((noted, is_whole), target) = {
            let mut queue = self.queue.lock_for("store queue");
            if queue.mode != Mode::Working {
                return;
            }
            (queue.take(), self.pushed.load(Ordering::Acquire))
        };
        let result = is_whole.and_then(|()| self.write(rows, noted));
        match &result {
            Ok(()) => self.written.store(target, Ordering::Release),
            Err(_) => self.fail(now),
        }
        drop(writing);
        self.warn(now, result);
    }

    /// Writes `noted` behind these rows, in one batch. What has become a row is given back at once,
    /// because a batch that fills the store is as large as all that is kept.
    fn write(&self, mut rows: Vec<Row>, noted: Vec<Noted>) -> Result<(), StoreError> {
        let codecs = self.codecs();
        let is_named = |name: &&str| codecs.iter().any(|codec| codec.name == *name);
        rows.reserve(noted.len());
        let old_names = self.old_names.lock();
        for noted in noted {
            let named = codecs.iter().map(|codec| codec.name);
            let old = old_names.iter().map(|name| &**name);
            noted.rows_below(named.chain(old.filter(|name| !is_named(name))), &mut rows);
            rows.push(noted.row(self.dates));
        }
        drop(old_names);
        attempt(|| self.store.write(&rows))?;
        self.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Empties the store. The caller holds the lock of the store.
    fn clear(&self) -> Result<(), StoreError> {
        attempt(|| self.store.clear())?;
        if let Some(emptied) = self.queue.lock_for("store queue").mode.emptied() {
            *emptied = true;
        }
        Ok(())
    }

    /// Goes on in memory. What the store has is out of date from now on, so it is emptied.
    fn fail(&self, now: Time) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let emptied = attempt(|| self.store.clear()).is_ok();
        let retry = now + self.queue.lock_for("store queue").next_pause(now);
        self.stop(Mode::Failed { retry, emptied });
    }

    /// Takes nothing more, and forgets what waits.
    fn stop(&self, mode: Mode) {
        let mut queue = self.queue.lock_for("store queue");
        queue.mode = mode;
        let (noted, _) = queue.take();
        self.written
            .store(self.pushed.load(Ordering::Acquire), Ordering::Release);
        drop(queue);
        drop(noted);
    }

    fn warn(&self, now: Time, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.warnings.say(now, || {
                tracing::error!(error = %error, "the store of recovery failed: the server goes on in memory");
            });
        }
    }

    /// Whether it is time to try a store again that has failed.
    pub(super) fn wants_refill(&self, now: Time) -> bool {
        matches!(self.queue.lock_for("store queue").mode, Mode::Failed { retry, .. } if retry <= now)
    }

    /// Tries again to empty a store that has failed and could not be emptied. Until this is done,
    /// the process must not be killed: the next one would recover clients, and know nothing of what
    /// they have missed since. Call it about once a second.
    pub(super) fn empty(&self) {
        // A store that was given back may belong to another process.
        let is_due = || {
            let mode = self.queue.lock_for("store queue").mode;
            mode.is_stale() && !matches!(mode, Mode::Closed { .. })
        };
        if !is_due() {
            return;
        }
        let writing = self.writing.lock_for("store");
        // Another thread may have filled it meanwhile.
        if !is_due() {
            return;
        }
        // If this fails, it is tried again.
        let _ = self.clear();
        drop(writing);
    }

    /// Begins to fill a store again that has failed: what is pushed from now on waits until
    /// everything is written ([`Keeper::refill`]). The caller holds the lock of recovery. Returns
    /// the number of the refill, or `None` if somebody else fills the store, or if it was given
    /// back. The end of the server does not wait for a refill whose values are still being encoded:
    /// with `is_last`, the new one takes its place.
    pub(super) fn begin_refill(&self, is_last: bool) -> Option<u64> {
        let (number, noted) = {
            let mut queue = self.queue.lock_for("store queue");
            let emptied = match queue.mode {
                Mode::Failed { emptied, .. } => emptied,
                Mode::Refilling { emptied, .. } if is_last => emptied,
                _ => return None,
            };
            queue.refills += 1;
            let number = queue.refills;
            queue.mode = Mode::Refilling { number, emptied };
            // The new refill contains this.
            (number, queue.take().0)
        };
        drop(noted);
        Some(number)
    }

    /// Writes everything, in one batch: all that was kept when the refill began, with the values of
    /// the application, and what has changed since.
    pub(super) fn refill(&self, now: Time, number: u64, mut noted: Vec<Noted>) {
        noted.extend(self.head(now));
        let writing = self.writing.lock_for("store");
        let (is_whole, target) = {
            let mut queue = self.queue.lock_for("store queue");
            match queue.mode {
                Mode::Refilling { number: last, emptied } if last == number => queue.mode = Mode::Filling { emptied },
                _ => return,
            }
            let (mut later, is_whole) = queue.take();
            noted.append(&mut later);
            (is_whole, self.pushed.load(Ordering::Acquire))
        };
        let result = is_whole
            .and_then(|()| self.clear())
            .and_then(|()| self.write(Vec::new(), noted));
        match &result {
            Ok(()) => {
                let mut queue = self.queue.lock_for("store queue");
                (queue.mode, queue.works_since) = (Mode::Working, Some(now));
                drop(queue);
                self.written.store(target, Ordering::Release);
            }
            Err(_) => self.fail(now),
        }
        drop(writing);
        self.warn(now, result);
    }

    /// Leaves the store as it is, and goes on in memory for good.
    pub(super) fn abandon(&self) {
        self.stop(Mode::Closed { emptied: true });
    }

    /// Writes what waits, and gives the store back. If the store has failed, it is emptied, unless
    /// this does not work. Whoever has pushed something before waits for this.
    pub(super) fn close(&self, now: Time) {
        let writing = self.writing.lock_for("store");
        let (before, (noted, is_whole)) = {
            let mut queue = self.queue.lock_for("store queue");
            let before = queue.mode;
            let emptied = !before.is_stale();
            queue.mode = Mode::Closed { emptied };
            (before, queue.take())
        };
        let result = match before == Mode::Working && !noted.is_empty() {
            true => is_whole.and_then(|()| self.write(Vec::new(), noted)),
            false => Ok(()),
        };
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.stop(Mode::Closed { emptied: false });
        }
        // A store that was given back before may belong to another process.
        if self.report().stale && !matches!(before, Mode::Closed { .. }) {
            let _ = self.clear();
        }
        self.written
            .store(self.pushed.load(Ordering::Acquire), Ordering::Release);
        let _ = attempt(|| {
            self.store.close();
            Ok(())
        });
        drop(writing);
        self.warn(now, result);
    }

    pub(super) fn report(&self) -> StoreReport {
        let queue = self.queue.lock_for("store queue");
        StoreReport {
            complete: queue.mode == Mode::Working,
            stale: queue.mode.is_stale(),
            failures: self.failures.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            waiting_bytes: queue.bytes,
        }
    }

    /// Writes what each process has to know first, with what has changed while the store was read,
    /// and without the rows that were found to belong to nothing. It is one batch: the packets of
    /// another parser do not go before the store says that their clients have lost them. If the
    /// store does not take this, it has failed, as in any other write.
    pub(super) fn begin(&self, id_key: [u8; 16], useless: Vec<Row>, now: Time) {
        let _ = self.id_key.set(id_key);
        self.push(self.head(now));
        self.write_waiting(now, useless);
    }

    fn head(&self, now: Time) -> impl Iterator<Item = Noted> + use<> {
        let print = self.print;
        let head = self.id_key.get().map(|id_key| {
            let id_key = *id_key;
            Noted::Head(Head { id_key, print })
        });
        head.into_iter().chain([Noted::Alive(now)])
    }

    /// Adds a type of values that are kept.
    pub(super) fn add_codec(&self, codec: ValueCodec) {
        let mut codecs = self.codecs.lock();
        // A record that ends at this moment finds the earlier name in one of the two places.
        let earlier = codecs.iter().find(|known| known.kind == codec.kind);
        self.remember_names(earlier.map(|known| Cow::Borrowed(known.name)));
        codecs.retain(|known| known.name != codec.name && known.kind != codec.kind);
        codecs.push(codec);
    }

    /// Remembers names under which there are values in the store, although no type has them.
    pub(super) fn remember_names(&self, names: impl IntoIterator<Item = Cow<'static, str>>) {
        self.old_names.lock().extend(names);
    }

    pub(super) fn codecs(&self) -> Vec<ValueCodec> {
        self.codecs.lock().clone()
    }

    pub(super) fn codec(&self, kind: TypeId) -> Option<ValueCodec> {
        self.codecs.lock().iter().find(|codec| codec.kind == kind).cloned()
    }
}

/// Calls a store. A panic of the store is an error.
pub(super) fn attempt<R>(act: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(StoreError::Damaged("the code of the store panicked".to_owned())))
}
