//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use sio_app::{Cluster, ClusterKind, Handover, ShardedMode, StreamsConfig};

/// Returns the text of `--help`.
pub(crate) fn help() -> String {
    let (executor, _) = crate::on_async_std::EXECUTOR;
    format!(
        "\
usage: conformance-server [--runtime NAME] --port P [OPTIONS]

--runtime tokio       the default
--runtime axum        tokio, mounted in an axum application
--runtime async-std   sio-async-std; the executor built into this program is {executor}
--runtime loop        the event loop of the examples, one per thread

--conformance         port P alone, as the official test suites expect it
--bench               port P alone, with the events of the load generator
--recovery            with --bench: clients may come back as the same socket
--guarded             limits by address and origins as sio has them by default, where any page
                      and any number of connections is served otherwise; and a hook that refuses
                      requests with a header field X-Refuse; namespaces /locked-* that refuse all
--store DIR           what port P+2 keeps to recover clients stands in this directory, for the next
                      process
--window MS           how long port P+2 waits for a client that has lost its connection; 10000 is
                      the default
--handover            listen so that the next program can listen before this one has gone; use the
                      sockets that a service manager has opened, if there are some
--shutdown-jitter MS  over which time sessions leave after SIGTERM; 0 is the default
--shutdown-pause MS   how long clients are told to stay away after SIGTERM
--redis URL           ports P and, with streams, P+2 are in the cluster of this Redis; not with loop
--adapter NAME        classic, sharded, sharded-static or streams: the adapter of the other servers;
                      classic is the default
--prefix KEY          what the names of channels begin with; socket.io is the default
--without-sticky      requests may come to any server of the cluster; needs --redis, and passes
                      nothing on with axum
--threads N           how many threads serve, and how many shards there are
--ping-interval MS, --ping-timeout MS, --no-legacy, --deflate"
    )
}

/// The set of events to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The whole contract on three ports.
    Contract,
    /// The events that the official test suites expect.
    Suites,
    /// The events of the load generator.
    Bench,
}

/// The runtime that drives the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Tokio,
    /// Tokio, mounted in an axum application.
    Axum,
    /// async-std or smol; a feature chooses when the program is built.
    AsyncStd,
    /// The event loop of the examples.
    Loop,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runtime: Runtime,
    pub(crate) port: u16,
    pub(crate) mode: Mode,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) no_legacy: bool,
    /// Whether the default rules for origins and the default limits per address are on. Tests of
    /// attacks need them.
    pub(crate) guarded: bool,
    /// Who serves the ports when this program has ended.
    pub(crate) handover: Handover,
    pub(crate) threads: Option<usize>,
    /// Whether the events of the load generator are served with recovery.
    pub(crate) recovery: bool,
    /// Where the records and messages of recovery are kept.
    pub(crate) store: Option<PathBuf>,
    /// How long a client that has lost its connection may come back.
    pub(crate) window: Duration,
    /// Over which time sessions leave when the program is asked to go.
    pub(crate) shutdown_jitter: Duration,
    /// How long clients are told to stay away then.
    pub(crate) shutdown_pause: Option<Duration>,
    /// The other servers.
    pub(crate) cluster: Option<Cluster>,
}

impl Options {
    /// Reads the command line. The environment variable `WORKERS` is used if `--threads` is not
    /// given. Returns `None` if the user asks for help.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut port = None;
        let (mut redis, mut kind, mut prefix, mut without_sticky) = (None, None, None, false);
        let mut options = Self {
            runtime: Runtime::Tokio,
            port: 0,
            mode: Mode::Contract,
            ping_interval: None,
            ping_timeout: None,
            no_legacy: false,
            guarded: false,
            recovery: false,
            store: None,
            window: Duration::from_secs(10),
            shutdown_jitter: Duration::ZERO,
            shutdown_pause: None,
            cluster: None,
            handover: Handover::None,
            threads: std::env::var("WORKERS").ok().and_then(|n| n.parse().ok()),
        };
        while let Some(arg) = args.next() {
            let mut number = |name: &str| -> Result<u64, String> {
                let value = args.next().ok_or_else(|| format!("{name} wants a number"))?;
                value
                    .parse()
                    .map_err(|_| format!("{name} wants a number, not {value:?}"))
            };
            match arg.as_str() {
                "--help" => return Ok(None),
                "--port" => {
                    port = Some(u16::try_from(number("--port")?).map_err(|_| "--port is out of range".to_owned())?)
                }
                "--ping-interval" => options.ping_interval = Some(Duration::from_millis(number("--ping-interval")?)),
                "--ping-timeout" => options.ping_timeout = Some(Duration::from_millis(number("--ping-timeout")?)),
                "--threads" => options.threads = Some(number("--threads")?.clamp(1, 256) as usize),
                "--shutdown-jitter" => {
                    options.shutdown_jitter = Duration::from_millis(number("--shutdown-jitter")?);
                }
                "--shutdown-pause" => {
                    options.shutdown_pause = Some(Duration::from_millis(number("--shutdown-pause")?));
                }
                "--window" => options.window = Duration::from_millis(number("--window")?),
                "--store" => options.store = Some(args.next().ok_or("--store wants a directory")?.into()),
                "--redis" => {
                    let url = args.next().ok_or("--redis wants a URL")?;
                    redis = Some(Cluster::from_url(&url).map_err(|error| format!("--redis {url}: {error}"))?);
                }
                "--adapter" => kind = Some(adapter(args.next().as_deref())?),
                "--prefix" => prefix = Some(args.next().ok_or("--prefix wants a text")?),
                "--without-sticky" => without_sticky = true,
                "--no-legacy" => options.no_legacy = true,
                "--guarded" => options.guarded = true,
                "--recovery" => options.recovery = true,
                "--handover" => {
                    options.handover = match std::env::var_os("LISTEN_FDS") {
                        Some(_) => Handover::SameSocket,
                        None => Handover::SamePort,
                    }
                }
                "--conformance" => options.mode = Mode::Suites,
                "--bench" => options.mode = Mode::Bench,
                "--runtime" => match args.next().as_deref() {
                    Some("tokio") => options.runtime = Runtime::Tokio,
                    Some("axum") => options.runtime = Runtime::Axum,
                    Some("async-std") => options.runtime = Runtime::AsyncStd,
                    Some("loop") => options.runtime = Runtime::Loop,
                    Some(other) => {
                        return Err(format!(
                            "no runtime {other:?}; there are tokio, axum, async-std and loop"
                        ));
                    }
                    None => return Err("--runtime wants a name".to_owned()),
                },
                // sio has no permessage-deflate, so this option does nothing. Every client must
                // work without it.
                "--deflate" => {}
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        options.cluster = cluster(redis, kind, prefix, without_sticky)?;
        if options.cluster.is_some() && options.runtime == Runtime::Loop {
            return Err("--runtime loop has no cluster: it opens no connections".to_owned());
        }
        options.port = port.ok_or("--port is missing")?;
        if options.mode == Mode::Contract && options.port > u16::MAX - 2 {
            return Err("--port leaves no room for the two ports above it".to_owned());
        }
        Ok(Some(options))
    }
}

fn adapter(name: Option<&str>) -> Result<ClusterKind, String> {
    match name {
        Some("classic") => Ok(ClusterKind::Classic),
        Some("sharded") => Ok(ClusterKind::Sharded {
            mode: ShardedMode::Dynamic,
        }),
        Some("sharded-static") => Ok(ClusterKind::Sharded {
            mode: ShardedMode::Static,
        }),
        Some("streams") => Ok(ClusterKind::Streams(StreamsConfig::default())),
        Some(other) => Err(format!(
            "no adapter {other:?}; there are classic, sharded, sharded-static and streams"
        )),
        None => Err("--adapter wants a name".to_owned()),
    }
}

fn cluster(
    redis: Option<Cluster>,
    kind: Option<ClusterKind>,
    prefix: Option<String>,
    without_sticky: bool,
) -> Result<Option<Cluster>, String> {
    let Some(cluster) = redis else {
        return match (kind, prefix, without_sticky) {
            (None, None, false) => Ok(None),
            _ => Err("--adapter, --prefix and --without-sticky need --redis".to_owned()),
        };
    };
    let cluster = match without_sticky {
        true => cluster.without_sticky_sessions(),
        false => cluster,
    };
    let cluster = match prefix {
        Some(prefix) => cluster.prefix(prefix),
        None => cluster,
    };
    Ok(Some(cluster.kind(kind.unwrap_or_default())))
}
