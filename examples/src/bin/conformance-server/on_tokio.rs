//! `--runtime tokio`, and the code that `--runtime axum` shares with it.

use std::io;

use sio_examples::asked_to_end;
use sio_tokio::Server;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::on_axum;
use crate::options::{Options, Runtime};

pub(crate) fn serve(options: &Options) -> io::Result<()> {
    let mut builder = match options.threads {
        Some(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(threads) = options.threads.filter(|threads| *threads > 1) {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()?.block_on(run(options))
}

async fn run(options: &Options) -> io::Result<()> {
    let listeners = crate::bind(options)?;
    let parts = crate::parts(options)?;
    let mut serving = Vec::new();
    for (part, listener) in parts.into_iter().zip(listeners) {
        let server = Server::with_options(part.config, part.process).map_err(crate::invalid)?;
        (part.register)(&server);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        serving.push(match options.runtime {
            Runtime::Axum => tokio::spawn(on_axum::serve(server, listener)),
            Runtime::Tokio | Runtime::AsyncStd | Runtime::Loop => {
                let served = server.serve(listener).with_graceful_shutdown(asked_to_end());
                tokio::spawn(served.into_future())
            }
        });
    }
    crate::say_serving(options);
    for served in serving {
        served.await??;
    }
    Ok(())
}
