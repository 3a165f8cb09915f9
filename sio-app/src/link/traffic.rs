//! What all links share: bytes are counted once for each read and each batch of writes, in cells
//! that few threads share, and what waits is charged to one budget.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sio_proto::Time;
use sio_proto::http::Date;
use sio_proto::server::Budget;

use crate::runtime::Runtime;

/// So many cells for bytes there are. Threads that share one wait for each other, as they would for
/// a single one.
const STRIPES: usize = 16;

/// What all links share. First of all bytes read and written: each thread adds to a cell that few
/// others use.
#[derive(Default)]
pub(crate) struct Traffic {
    stripes: [Stripe; STRIPES],
    /// Bytes that wait for peers, those in sessions among them.
    pub(crate) waiting: Arc<Budget>,
    /// The clocks, which links of tests do without.
    runtime: Option<Runtime>,
}

/// Alone in its cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    pub(crate) fn new(waiting: Arc<Budget>, runtime: Runtime) -> Self {
        Self {
            waiting,
            runtime: Some(runtime),
            ..Self::default()
        }
    }

    /// The time, where there is a clock.
    pub(crate) fn now(&self) -> Option<Time> {
        self.runtime.map(|runtime| (runtime.now)())
    }

    /// The date of an answer that is written now. Each thread puts it into text once a second.
    pub(crate) fn date(&self) -> Option<Date> {
        thread_local!(static LATEST: Cell<Option<(u64, Date)>> = const { Cell::new(None) });
        let second = (self.runtime?.unix_time)();
        let latest = LATEST.get().filter(|(of, _)| *of == second);
        let (_, date) = latest.unwrap_or_else(|| (second, Date::from_unix(second)));
        if latest.is_none() {
            LATEST.set(Some((second, date)));
        }
        Some(date)
    }

    /// How many bytes have been read and written.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.stripes.iter().fold((0, 0), |(read, written), stripe| {
            (
                read + stripe.read.load(Ordering::Relaxed),
                written + stripe.written.load(Ordering::Relaxed),
            )
        })
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.stripe().read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn written(&self, bytes: usize) {
        self.stripe().written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn stripe(&self) -> &Stripe {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static MINE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES));
        &self.stripes[MINE.get()]
    }
}
