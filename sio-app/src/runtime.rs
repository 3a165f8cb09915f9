//! The runtime, as four function pointers.
//!
//! There is no runtime trait. The adapter itself reads and writes sockets. This struct has
//! everything else that the code needs from a runtime.

use std::future::Future;
use std::pin::Pin;

use sio_proto::Time;

/// A future that is run to its end in the background.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The functions that are needed from a runtime. They are plain functions, because any thread may
/// call them, also where no handle is available.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// The time since a fixed start. It must not go backwards.
    pub now: fn() -> Time,
    /// The seconds since the beginning of the year 1970, without leap seconds. It is used for the
    /// `Date` of answers (RFC 9110 §6.6.1), for the signatures of a cluster with a secret, and by
    /// clients to notice that the machine has slept. It may jump, as the clocks of machines do. The
    /// clocks of the nodes of such a cluster must not be further apart than
    /// [`ClusterConfig::signature_age`](crate::ClusterConfig).
    pub unix_time: fn() -> u64,
    /// Runs a task in the background.
    pub spawn: fn(Task),
    /// Fills the slice with unpredictable bytes. Session ids are made of them and are secrets. So
    /// use the operating system's generator, or one that is as good. If the generator fails, the
    /// function must panic: an unfilled slice would become an id that anybody can guess.
    pub fill: fn(&mut [u8]),
}
