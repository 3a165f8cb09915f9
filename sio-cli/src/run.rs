//! The runtime of the commands that speak to servers.

use std::future::Future;

use tokio::runtime::Builder;

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

/// Waits for Ctrl-C. If it cannot be waited for, it ends the process as always.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
