//! The conformance server. Genuine clients, official test suites and load generators connect to it.
//!
//! ```text
//! conformance-server [--runtime tokio|axum|async-std|loop] --port P [--ping-interval MS] [--ping-timeout MS] [--conformance] [--no-legacy] [--guarded] [--handover] [--bench [--recovery]] [--store DIR] [--window MS] [--shutdown-jitter MS] [--shutdown-pause MS] [--threads N] [--redis URL --adapter classic|sharded|sharded-static|streams [--prefix KEY] [--without-sticky]]
//! ```
//! The server has the same handlers on three ports. Port P uses the standard parser. Port P+1 uses
//! the MessagePack parser. Port P+2 has connection state recovery. `--conformance` serves port P
//! alone, with the events that the official test suites expect. `--bench` serves port P alone, with the events of
//! the load generator, and with `--recovery` its clients may come back. The program prints `listening P` when all ports accept, and ends with 0 on
//! SIGTERM after a graceful drain.
//!
//! By default the program serves pages of any origin, and any number of connections from one
//! address, because the clients of tests are all on one machine. `--guarded` keeps the default
//! rules for origins and the default limits per address, so that tests can try them. It also
//! refuses requests that have the header `X-Refuse`, and adds the rules and values of
//! [`guarded`]. `cargo xtask hostile` uses it to try them.
//!
//! `--handover` makes the program listen so that the next one can listen on the same ports before
//! this one has gone. If a service manager has opened listening sockets for the program, it uses
//! these. From SIGTERM on, new connections are the next program's. `listening P` is said when
//! connections wait for the program, and it accepts them when it has the store of `--store`, which
//! the old program gives back at its end.
//!
//! The contract's handlers are served at `/socket.io`, and also at `/streaming` and `/envelope` for
//! the wires of late 2010 and earlier. Those two use the transports of 0.6.
//!
//! The program uses the public API only. [`parts`] says once what is served. Each runtime has a
//! file that drives it.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it has to say is for whoever started it"
)]

mod bench;
mod everybody;
mod guarded;
mod handlers;
mod on_async_std;
mod on_axum;
mod on_loop;
mod on_tokio;
mod options;
mod stats;
mod suites;

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use options::{Mode, Options, Runtime};
use sio_app::adapter::handover;
use sio_app::codec::{Envelope, MessagePack, Streaming};
use sio_app::{ClusterKind, Config, Cors, Generations, Handover, Io, Origins, RecoveryConfig};
use sio_store::Disk;

/// How long the next program waits for the store of the old one.
const HANDOVER_WAIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("conformance-server: {message}\n\n{}", options::help());
            return ExitCode::from(2);
        }
    };
    let served = match options.runtime {
        Runtime::Tokio | Runtime::Axum => on_tokio::serve(&options),
        Runtime::AsyncStd => on_async_std::serve(&options),
        Runtime::Loop => on_loop::serve(&options),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What one port serves. It is the same on every runtime.
struct Part {
    config: Config,
    process: sio_app::Options,
    register: Box<dyn Fn(&Io)>,
}

/// Returns what each port serves, beginning with port P.
///
/// # Errors
/// If the store of `--store` cannot be used.
fn parts(options: &Options) -> io::Result<Vec<Part>> {
    let part = |config, register: fn(&Io)| Part {
        config,
        process: process(options),
        register: Box::new(register),
    };
    Ok(match options.mode {
        Mode::Contract => {
            let counted = Arc::new(stats::Counted::default());
            let is_guarded = options.guarded;
            let part = |(config, process): (Config, sio_app::Options)| {
                let counted = Arc::clone(&counted);
                Part {
                    config,
                    process,
                    register: Box::new(move |io| {
                        handlers::register(io);
                        counted.add(io);
                        stats::serve(io, &counted);
                        if is_guarded {
                            guarded::register(io);
                        }
                    }),
                }
            };
            let config = contract_config(options);
            let msgpack = config.clone().parser(MessagePack::default());
            let recovery = RecoveryConfig::default().window(options.window).skip_middlewares(true);
            let mut recovering = process(options).recovery(recovery);
            if let Some(directory) = &options.store {
                let wait = match options.handover {
                    Handover::None => Duration::ZERO,
                    _ => HANDOVER_WAIT,
                };
                let store = Disk::at(directory).wait(wait).open();
                let store = store.map_err(|error| io::Error::other(format!("{}: {error}", directory.display())))?;
                recovering = recovering.store(Arc::new(store));
            }
            let (mut main, msgpack_process) = (process(options), process(options));
            if let Some(cluster) = &options.cluster {
                main = main.cluster(cluster.clone());
                if let ClusterKind::Streams(_) = cluster.config.kind {
                    recovering = recovering.cluster(cluster.clone());
                }
            }
            let parts = [(config.clone(), main), (msgpack, msgpack_process), (config, recovering)];
            parts.map(part).into()
        }
        Mode::Suites => vec![part(suites::config(), suites::register)],
        Mode::Bench => {
            let mut part = part(bench::config(), bench::register);
            if options.recovery {
                part.process = part.process.recovery(bench::recovery());
            }
            vec![part]
        }
    })
}

/// Returns the settings of the process.
fn process(options: &Options) -> sio_app::Options {
    // Load generators come from one address.
    let process = match options.guarded {
        true => sio_app::Options::default(),
        false => sio_app::Options::default().max_connections_per_address(usize::MAX),
    };
    let process = process
        .shutdown_jitter(options.shutdown_jitter)
        .shutdown_pause(options.shutdown_pause);
    let process = match options.threads {
        Some(threads) => process.shards(threads),
        None => process,
    };
    // A client between two polls may be away for good, with the next program. It is not waited for
    // as long as usual.
    let patient = process.clone().shutdown_drain(Duration::from_secs(1));
    match options.handover {
        Handover::None => process,
        handover => patient.handover(handover),
    }
}

/// Opens the listeners of all ports. From now on connections wait for the program. With
/// `--handover` this is said at once, because the old program may be asked to end now: its store
/// is opened afterwards.
fn bind(options: &Options) -> io::Result<Vec<TcpListener>> {
    let count = match options.mode {
        Mode::Contract => 3,
        Mode::Suites | Mode::Bench => 1,
    };
    let listeners = open(options, count)?;
    if options.handover != Handover::None {
        say_listening(options);
    }
    Ok(listeners)
}

fn open(options: &Options, count: usize) -> io::Result<Vec<TcpListener>> {
    let ports = (options.port..=u16::MAX).take(count);
    let address = |port| ("127.0.0.1", port);
    match options.handover {
        Handover::SamePort => ports.map(|port| handover::bind(address(port))).collect(),
        Handover::SameSocket => inherited(options, count),
        _ => ports.map(|port| TcpListener::bind(address(port))).collect(),
    }
}

/// Takes the listeners that a service manager has opened, in the order of the ports.
fn inherited(options: &Options, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut listeners = handover::inherited()?;
    listeners.truncate(count);
    let mut ports = (options.port..).zip(&listeners);
    let fits = ports.all(|(port, listener)| listener.local_addr().is_ok_and(|address| address.port() == port));
    match fits && listeners.len() == count {
        true => Ok(listeners),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "LISTEN_FDS must be {count} sockets, for port {} and those above it",
                options.port
            ),
        )),
    }
}

fn say_listening(options: &Options) {
    println!("listening {}", options.port);
}

/// Says that the program serves, unless [`bind`] has said so.
fn say_serving(options: &Options) {
    if options.handover == Handover::None {
        say_listening(options);
    }
}

/// Reports settings that make no sense, which would be a mistake in this program.
fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
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
    // The queue of one session has room for broadcasts of some megabytes to members who read.
    // Bursts of 50 MB wait in their handler. The limit for all sessions together is the queues of
    // six such members.
    config.max_queued_bytes = 8 << 20;
    config.max_total_queued_bytes = 48 << 20;
    config.max_queued_packets = 65_536;
    config.legacy06.heartbeat_interval = Duration::from_millis(3000);
    config.legacy06.reconnect_timeout = Duration::from_millis(4000);
    config.legacy06 = config
        .legacy06
        .mount("/streaming", Streaming)
        .mount("/envelope", Envelope);
    // The server notices within seconds that a client has gone without a word. A client that is
    // still there hears something from the server well before it gives up.
    config.legacy09.heartbeat_interval = Duration::from_millis(3000);
    config.legacy09.heartbeat_timeout = Duration::from_millis(10_000);
    config.legacy09.poll_duration = Duration::from_millis(4000);
    config.legacy09.close_timeout = Duration::from_millis(10_000);
    config.legacy09.open_timeout = Duration::from_millis(10_000);
    if options.guarded {
        config.origins = Origins::default();
    }
    if options.no_legacy {
        config.generations = Generations::modern();
    }
    config
}
