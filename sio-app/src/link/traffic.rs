//! The counts that all links share. Bytes are counted once for each read and each batch of writes,
//! in cells that few threads share. Bytes that wait are charged to one budget.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sio_proto::http::Date;
use sio_proto::server::Budget;

use crate::runtime::Runtime;

/// The number of cells for bytes. Threads that share a cell wait for each other, as all threads
/// would if there were only one.
const STRIPES: usize = 16;

/// The values that all links share: first of all the counts of bytes that were read and written.
/// Each thread adds to a cell that few other threads use.
#[derive(Default)]
pub(crate) struct Traffic {
    stripes: [Stripe; STRIPES],
    /// The bytes that wait for peers, including those in sessions.
    pub(crate) waiting: Arc<Budget>,
    /// The runtime with its clocks. Links in tests have none.
    runtime: Option<Runtime>,
}

/// One cell. It is alone in its cache lines.
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

    /// Returns the date of an answer that is written now. Each thread converts it to text once a
    /// second.
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

    /// Returns how many bytes have been read and written.
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
