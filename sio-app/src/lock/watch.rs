//! Finds locks that are held for long, and the threads that wait meanwhile. Only debug builds have
//! this module.
//!
//! A lock that was held for longer than [`LONG`] is logged when the thread holds no lock any more,
//! because subscribers of the log are user code. The level is `debug`: debug builds are slow, so
//! holding a lock for a millisecond is no bug there. Many reports with waiting threads show where a
//! release build may be slow, too.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sio_proto::Time;

use super::clock;
use crate::rated::Rated;

/// A lock that is held for longer than this is logged. In a release build, a turn should hold the
/// lock of a shard for a few microseconds.
pub(super) const LONG: Duration = Duration::from_millis(1);

/// The maximum of reports that a thread keeps until it holds no lock, and the maximum of waiting
/// threads in one report.
const MOST: usize = 16;

static REPORTED: Rated = Rated::new("a lock was held for long");

thread_local! {
    static HELD: Cell<u32> = const { Cell::new(0) };
    static REPORTS: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
}

/// Returns how many locks this thread holds.
pub(super) fn held() -> u32 {
    HELD.get()
}

/// Who takes a lock: a name, if there is one, and the place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    name: &'static str,
    place: &'static Location<'static>,
}

impl Holder {
    #[track_caller]
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            place: Location::caller(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.place.file(), self.place.line());
        match self.name {
            "" => write!(f, "{file}:{line}"),
            name => write!(f, "{name} ({file}:{line})"),
        }
    }
}

/// Identifies a lock by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Which(usize);

impl Which {
    pub(super) fn of<T>(lock: &Mutex<T>) -> Self {
        Self(std::ptr::from_ref(lock).addr())
    }
}

/// The threads that wait for a lock now. There is one list for all locks: few threads wait, and a
/// list in each lock would make every lock larger.
static WAITING: Mutex<Vec<(Which, Holder)>> = Mutex::new(Vec::new());

/// Takes a lock that is not free, and lists this thread in [`WAITING`] meanwhile.
pub(super) fn wait<G>(which: Which, who: Holder, lock: impl FnOnce() -> G) -> G {
    WAITING.lock().push((which, who));
    let guard = lock();
    let mut waiting = WAITING.lock();
    if let Some(place) = waiting.iter().position(|other| *other == (which, who)) {
        waiting.swap_remove(place);
    }
    drop(waiting);
    guard
}

fn waiting(which: Which) -> Vec<Holder> {
    let waiting = WAITING.lock();
    let here = waiting.iter().filter(|(other, _)| *other == which);
    here.map(|(_, who)| *who).take(MOST).collect()
}

/// A report about a lock that was held for long.
#[derive(Debug)]
struct Report {
    holder: Holder,
    lasted: Duration,
    waited: Vec<Holder>,
}

impl Report {
    fn tell(&self, rated: &Rated, now: Time) {
        rated.say(now, || {
            let waited: Vec<String> = self.waited.iter().map(Holder::to_string).collect();
            let micros = u64::try_from(self.lasted.as_micros()).unwrap_or(u64::MAX);
            let (holder, waited) = (&self.holder, waited.join(", "));
            tracing::debug!(target: "sio_app::lock", %holder, micros, waited, "a lock was held for long");
        });
    }
}

/// The time for which a lock is held.
pub(super) struct Hold {
    which: Which,
    holder: Holder,
    since: Instant,
    /// The report that is written when the lock is free.
    report: Option<Report>,
}

impl Hold {
    pub(super) fn begin(which: Which, holder: Holder) -> Self {
        HELD.set(HELD.get() + 1);
        Self {
            which,
            holder,
            since: clock::now(),
            report: None,
        }
    }

    /// Stops the time. This is called just before the lock becomes free.
    pub(super) fn end(&mut self) {
        let lasted = clock::now().saturating_duration_since(self.since);
        if lasted > LONG {
            self.report = Some(Report {
                holder: self.holder,
                lasted,
                waited: waiting(self.which),
            });
        }
    }
}

impl Drop for Hold {
    /// Keeps the report, if there is one. If the thread holds no other lock, all its reports are
    /// written. The lock is already free.
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
        // A thread that ends may take locks while it drops its own variables, for example a runtime
        // with the tasks of clients. Its list has gone then, and nothing is reported.
        if let Some(report) = self.report.take() {
            let _ = REPORTS.try_with(|reports| {
                let mut reports = reports.borrow_mut();
                if reports.len() < MOST {
                    reports.push(report);
                }
            });
        }
        if HELD.get() == 0 {
            // The reports are taken out first, because a subscriber may take locks of this crate.
            let reports = REPORTS.try_with(RefCell::take).unwrap_or_default();
            reports.iter().for_each(|report| report.tell(&REPORTED, clock::time()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock;
    use std::sync::Arc;

    /// A subscriber that keeps the reports about locks. It takes a lock itself for each field.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl tracing::field::Visit for Told {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
            lock::assert_none_held();
            self.0.lock().push(format!("{}={value:?}", field.name()));
        }
    }

    impl tracing::Subscriber for Told {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "sio_app::lock"
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut self.clone());
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    /// Waits until a condition is true. Fails after ten seconds.
    fn until(mut is_so: impl FnMut() -> bool) {
        let start = clock::now();
        while !is_so() {
            assert!(clock::now() - start < Duration::from_secs(10), "in vain");
            std::thread::yield_now();
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "somebody has to wait for the lock")]
    fn who_holds_a_lock_for_long_is_told_with_those_who_waited() {
        let told = Told::default();
        tracing::subscriber::with_default(told.clone(), || {
            let (outer, inner) = (lock::Mutex::new(()), Arc::new(lock::Mutex::new(())));
            let held_outer = outer.lock();
            let held = inner.lock_for("slow one");
            let waiter = {
                let inner = Arc::clone(&inner);
                std::thread::spawn(move || drop(inner.lock_for("patient one")))
            };
            until(|| WAITING.lock().iter().any(|(_, who)| who.name == "patient one"));
            let since = clock::now();
            until(|| clock::now() - since > 2 * LONG);
            drop(held);
            waiter.join().unwrap();
            let reports = REPORTS.take();
            let names: Vec<_> = reports.iter().map(|report| report.holder.name).collect();
            assert_eq!(names, ["slow one"], "it is told when no lock is held any more");
            assert!(reports[0].lasted > LONG);
            let waited: Vec<_> = reports[0].waited.iter().map(|who| who.name).collect();
            assert_eq!(waited, ["patient one"]);
            drop(held_outer);
            // The report is written with a limit of its own, because other tests may have used up
            // the shared limit.
            reports[0].tell(&Rated::new("test"), Time::ZERO);
        });
        let told = told.0.lock().join("\n");
        assert!(told.contains("holder=slow one (sio-app/src/lock/watch.rs:"), "{told}");
        assert!(told.contains("patient one (sio-app/src/lock/watch.rs:"), "{told}");
        assert!(told.contains("a lock was held for long"), "{told}");
        assert!(
            WAITING.lock().iter().all(|(_, who)| who.name != "patient one"),
            "nobody waits any more"
        );
        assert_eq!(held(), 0);
    }
}
