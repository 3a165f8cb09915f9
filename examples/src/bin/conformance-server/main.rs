//! The conformance server: what genuine clients, official suites and load generators are pointed at.
//!
//! ```text
//! conformance-server --runtime tokio --port P [--ping-interval MS] [--ping-timeout MS] [--conformance] [--no-legacy] [--bench] [--threads N]
//! ```
//! It serves port P, and on P+1 and P+2 the same handlers: those are for the MessagePack parser and for connection state recovery, and answer as servers
//! without them as long as sio has neither. `--conformance` serves port P alone, with what the official test suites expect; `--bench` serves port P alone, with
//! the events of the load generator. It says `listening P` when all ports accept, and ends with 0 on SIGTERM after a graceful drain.
//!
//! Beside `/socket.io` the contract's handlers are served at `/streaming` and `/envelope` in the wires of late 2010 and of before: the transports are those of 0.6.
//!
//! It uses the public API and nothing else.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it has to say is for whoever started it"
)]

mod bench;
mod handlers;
mod options;
mod stats;
mod suites;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use options::{Mode, Options};
use sio_tokio::codec::{Envelope, Streaming};
use sio_tokio::{Config, Cors, Generations, Origins, Server};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("conformance-server: {message}");
            return ExitCode::from(2);
        }
    };
    let mut builder = if options.threads == Some(1) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if let Some(threads) = options.threads.filter(|threads| *threads > 1) {
        builder.worker_threads(threads);
    }
    let served = builder
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(&options)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> std::io::Result<()> {
    let servers: Vec<Server> = match options.mode {
        Mode::Contract => {
            let counted = Arc::new(stats::Counted::default());
            (0..3)
                .map(|_| {
                    let server = server(contract_config(options), options)?;
                    handlers::register(&server);
                    counted.add(&server);
                    stats::serve(&server, &counted);
                    Ok(server)
                })
                .collect::<std::io::Result<_>>()?
        }
        Mode::Suites => {
            let server = server(suites::config(), options)?;
            suites::register(&server);
            vec![server]
        }
        Mode::Bench => {
            let server = server(bench::config(), options)?;
            bench::register(&server);
            vec![server]
        }
    };
    let mut listeners = Vec::new();
    for at in 0..servers.len() {
        listeners.push(TcpListener::bind(("127.0.0.1", options.port + at as u16)).await?);
    }
    println!("listening {}", options.port);
    let serving = servers.iter().zip(listeners).map(|(server, listener)| {
        let server = server.clone();
        tokio::spawn(async move {
            server
                .serve(listener)
                .with_graceful_shutdown(sio_examples::asked_to_end())
                .await
        })
    });
    for served in serving.collect::<Vec<_>>() {
        served.await??;
    }
    Ok(())
}

fn server(config: Config, options: &Options) -> std::io::Result<Server> {
    // Load generators come from one address.
    let process = sio_tokio::Options::default().max_connections_per_address(usize::MAX);
    let process = match options.threads {
        Some(threads) => process.shards(threads),
        None => process,
    };
    Server::with_options(config, process).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
}

fn contract_config(options: &Options) -> Config {
    let mut config = Config::default()
        .ping_interval(options.ping_interval.unwrap_or(Duration::from_millis(1000)))
        .ping_timeout(options.ping_timeout.unwrap_or(Duration::from_millis(1500)))
        .connect_timeout(Duration::from_millis(3000))
        .upgrade_timeout(Duration::from_millis(5000))
        .max_payload(1_000_000)
        .cors(Cors::list(["http://good.example"]).with_credentials())
        .origins(Origins::Any);
    // The largest burst of the contract: 5000 events of 10 000 bytes, and their frames.
    config.max_queued_bytes = 64 << 20;
    config.legacy.heartbeat_interval = Duration::from_millis(3000);
    config.legacy.reconnect_timeout = Duration::from_millis(4000);
    config.legacy = config
        .legacy
        .mount("/streaming", Streaming)
        .mount("/envelope", Envelope);
    config.legacy09.heartbeat_interval = Duration::from_millis(3000);
    if options.no_legacy {
        config.generations = Generations::modern();
    }
    config
}
