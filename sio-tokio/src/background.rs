//! Tasks that are started outside of any runtime: this module finds a runtime for them.

use std::sync::{Mutex, PoisonError};

use sio_app::adapter::Task;
use tokio::runtime::Handle;

/// The runtime in which a server serves. Calls from outside of any runtime use it.
static SERVING: Mutex<Option<Handle>> = Mutex::new(None);

/// Runs a task in the caller's runtime. Outside of a runtime, it runs the task in the runtime in
/// which a server serves.
pub(crate) fn spawn(task: Task) {
    let handle = Handle::try_current().ok();
    match handle.or_else(|| SERVING.lock().unwrap_or_else(PoisonError::into_inner).clone()) {
        Some(handle) => drop(handle.spawn(task)),
        None => tracing::error!("a handler was to run, and no runtime serves"),
    }
}

/// Remembers the caller's runtime as the one in which a server serves.
pub(crate) fn remember() {
    *SERVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handle::current());
}
