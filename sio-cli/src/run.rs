//! The runtime of the commands that speak to servers.

use std::future::Future;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::ending::Failed;

/// Runs a command on a runtime of one thread: what it reports keeps its order.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::Output)?;
    let ended = runtime.block_on(command);
    // A thread that reads the standard input may never end.
    runtime.shutdown_background();
    ended
}

/// Waits for Ctrl-C, for SIGTERM, and for the end of the terminal (SIGHUP). A signal that cannot be
/// waited for ends the process as always.
pub(crate) async fn interrupted() {
    tokio::select! {
        () = signalled(SignalKind::interrupt()) => {}
        () = signalled(SignalKind::terminate()) => {}
        () = signalled(SignalKind::hangup()) => {}
    }
}

async fn signalled(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => _ = signals.recv().await,
        Err(_) => std::future::pending().await,
    }
}
