//! A `redis-server` that lives as long as its value: on a free port of this machine, with
//! everything in memory.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a server may take until it accepts.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no server.
#[derive(Debug)]
pub(crate) enum NoRedis {
    /// The program is not installed.
    NotInstalled,
    /// It could not be started.
    Failed(io::Error),
    /// It does not accept, or has ended.
    Silent,
}

impl std::fmt::Display for NoRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotInstalled => f.write_str(
                "it needs redis-server, which is not installed: `apt-get install redis-server` or `brew install redis` \
                 brings it, and --redis URL uses a Redis that runs already",
            ),
            Self::Failed(error) => write!(f, "redis-server cannot be started: {error}"),
            Self::Silent => f.write_str("redis-server was started, and does not accept connections"),
        }
    }
}

impl std::error::Error for NoRedis {}

pub(crate) struct OwnRedis {
    port: u16,
    process: Child,
}

impl OwnRedis {
    pub(crate) async fn start() -> Result<Self, NoRedis> {
        let free = || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
        let port: u16 = free().map_err(NoRedis::Failed)?;
        let words = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        let spawned = Command::new("redis-server")
            .args(words)
            .arg(port.to_string())
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let process = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NoRedis::NotInstalled,
            _ => NoRedis::Failed(error),
        })?;
        let mut redis = Self { port, process };
        let accepts = timeout(PATIENCE, async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                if !matches!(redis.process.try_wait(), Ok(None)) {
                    return false;
                }
                sleep(Duration::from_millis(10)).await;
            }
            true
        });
        match accepts.await {
            Ok(true) => Ok(redis),
            Ok(false) | Err(_) => Err(NoRedis::Silent),
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        // It may have ended by itself: the signal of Ctrl-C goes to both processes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
