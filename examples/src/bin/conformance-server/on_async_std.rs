//! `--runtime async-std`: the server on the executor that was built in. With `--no-default-features
//! --features smol` this is smol's executor.

use std::io;

use sio_async_std::Server;
use sio_examples::asked_to_end;
use smol::LocalExecutor;

use crate::options::Options;

/// The name of the executor, and the environment variable that sets its number of threads.
pub(crate) const EXECUTOR: (&str, &str) = if cfg!(feature = "async-std") {
    ("async-std", "ASYNC_STD_THREAD_COUNT")
} else {
    ("smol", "SMOL_THREADS")
};

pub(crate) fn serve(options: &Options) -> io::Result<()> {
    if let Some(threads) = options.threads {
        have_threads(threads)?;
    }
    let listeners = crate::bind(options)?;
    let parts = crate::parts(options)?;
    let here = LocalExecutor::new();
    let mut serving = Vec::new();
    for (part, listener) in parts.into_iter().zip(listeners) {
        let server = Server::with_options(part.config, part.process).map_err(crate::invalid)?;
        (part.register)(&server);
        let served = server.serve(listener).with_graceful_shutdown(asked_to_end());
        serving.push(here.spawn(served.into_future()));
    }
    crate::say_serving(options);
    smol::block_on(here.run(async {
        for served in serving {
            served.await?;
        }
        Ok(())
    }))
}

/// Makes the executor use this number of threads. Both executors read the number from the
/// environment only, and a process should not change its own environment. So the program starts
/// itself again with a new environment.
fn have_threads(threads: usize) -> io::Result<()> {
    let threads = threads.to_string();
    let (_, variable) = EXECUTOR;
    if std::env::var(variable).is_ok_and(|said| said == threads) {
        return Ok(());
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let mut again = std::process::Command::new(std::env::current_exe()?);
        Err(again.args(std::env::args_os().skip(1)).env(variable, threads).exec())
    }
    #[cfg(not(unix))]
    Err(io::Error::other(format!(
        "--threads {threads} with this runtime needs {variable}={threads} in the environment"
    )))
}
