//! Where tasks run that are started outside of any runtime.

use std::sync::{Mutex, PoisonError};

use sio_app::adapter::Task;
use tokio::runtime::Handle;

/// The runtime that serves, for calls that come from outside of any.
static SERVING: Mutex<Option<Handle>> = Mutex::new(None);

/// Runs a task in the caller's runtime, or in the one that serves.
pub(crate) fn spawn(task: Task) {
    let handle = Handle::try_current().ok();
    match handle.or_else(|| SERVING.lock().unwrap_or_else(PoisonError::into_inner).clone()) {
        Some(handle) => drop(handle.spawn(task)),
        None => tracing::error!("a handler was to run, and no runtime serves"),
    }
}

/// Notes that the caller's runtime serves.
pub(crate) fn remember() {
    *SERVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handle::current());
}
