//! The command line.

use std::time::Duration;

/// What to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The whole contract on three ports.
    Contract,
    /// What the official test suites expect.
    Suites,
    /// The events of the load generator.
    Bench,
}

/// What drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Tokio,
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
    pub(crate) threads: Option<usize>,
}

impl Options {
    /// Reads the command line; the environment's `WORKERS` stands in for `--threads`.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut port = None;
        let mut options = Self {
            runtime: Runtime::Tokio,
            port: 0,
            mode: Mode::Contract,
            ping_interval: None,
            ping_timeout: None,
            no_legacy: false,
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
                "--port" => {
                    port = Some(u16::try_from(number("--port")?).map_err(|_| "--port is out of range".to_owned())?)
                }
                "--ping-interval" => options.ping_interval = Some(Duration::from_millis(number("--ping-interval")?)),
                "--ping-timeout" => options.ping_timeout = Some(Duration::from_millis(number("--ping-timeout")?)),
                "--threads" => options.threads = Some(number("--threads")?.clamp(1, 256) as usize),
                "--no-legacy" => options.no_legacy = true,
                "--conformance" => options.mode = Mode::Suites,
                "--bench" => options.mode = Mode::Bench,
                "--runtime" => match args.next().as_deref() {
                    Some("tokio") => options.runtime = Runtime::Tokio,
                    Some("loop") => options.runtime = Runtime::Loop,
                    Some(other) => return Err(format!("no runtime {other:?} yet; there are tokio and loop")),
                    None => return Err("--runtime wants a name".to_owned()),
                },
                // Not negotiated as long as sio has no permessage-deflate, which every client must be ready for.
                "--deflate" => {}
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        options.port = port.ok_or("--port is missing")?;
        if options.mode == Mode::Contract && options.port > u16::MAX - 2 {
            return Err("--port leaves no room for the two ports above it".to_owned());
        }
        Ok(options)
    }
}
