//! The runtime, as four function pointers.
//!
//! There is no runtime trait: an adapter's reading and writing is a loop written out in the
//! adapter, and all the rest of the code needs of a runtime is in this struct.

use std::future::Future;
use std::pin::Pin;

use sio_proto::Time;

/// A future to be run to its end in the background.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is needed of a runtime. Plain functions: they are called where no handle is at hand, from
/// any thread.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// The time since a fixed start. It must not go backwards.
    pub now: fn() -> Time,
    /// The seconds since the beginning of the year 1970, leap seconds not counted: the `Date` of
    /// answers (RFC 9110 §6.6.1), and nothing else. So it may jump, as the clocks of machines do.
    pub unix_time: fn() -> u64,
    /// Runs a task in the background.
    pub spawn: fn(Task),
    /// Fills the slice with unpredictable bytes: session ids are made of them, which are secrets.
    /// So it must be the operating system's generator, or one that is as good. If it fails it must
    /// panic: a slice that is left as it was would be an id that anybody can guess.
    pub fill: fn(&mut [u8]),
}
