//! The world around a server: a clock that stands still until a row moves it, and a generator that
//! gives the same bytes in every process.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use sio_app::adapter::{Runtime, Task, Time};
use sio_app::{Config, Io, Options};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
    static TASKS: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
}

/// The functions that the server gets from this world.
pub const RUNTIME: Runtime = Runtime {
    now,
    unix_time: || 784_111_777,
    spawn: |task| TASKS.with_borrow_mut(|tasks| tasks.push(task)),
    fill,
};

/// Returns the time.
#[must_use]
pub fn now() -> Time {
    Time::from_micros(NOW.get())
}

/// Lets time pass. The rates and deadlines of the server see it.
pub fn pass(millis: u64) {
    NOW.set(NOW.get() + millis * 1_000);
}

/// Fills the slice with the next bytes of a fixed sequence (SplitMix64), which never repeats within
/// a run. They are no secrets, so only benches may use them.
pub fn fill(out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        let drawn = DRAWN.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        DRAWN.set(drawn);
        let mixed = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
    }
}

/// Polls the tasks that handlers have left, once.
pub fn run_tasks() {
    let mut tasks = TASKS.take();
    tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    TASKS.with_borrow_mut(|waiting| waiting.append(&mut tasks));
}

/// Makes a server with these options, and with one shard. The config is the default.
///
/// # Panics
/// If the options are not valid.
#[must_use]
pub fn server(options: Options) -> Io {
    Io::new(Config::default(), options.shards(1), RUNTIME).expect("the defaults are valid")
}
