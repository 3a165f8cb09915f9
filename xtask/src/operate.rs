//! `cargo xtask operate`: runs the conformance server through what an operator does to a server,
//! and through what can happen to it.
//!
//! | run | what |
//! |---|---|
//! | `shutdown` | SIGTERM with two thousand clients of all generations: each client is told in the way of its generation, and the server ends in time |
//! | `descriptors` | no descriptors are left for connections: the server does not end and does not use much processor time, its clients go on, and new clients are accepted later |
//! | `stalled` | clients that read nothing beside a thousand that do: the memory grows by at most twice the bound of one client, and nobody else loses anything or waits longer. `--full` for a broadcast of 160 MB |

mod descriptors;
mod peers;
mod shutdown;
mod stalled;

use crate::arguments::{Arguments, assert_known};
use crate::failure::{Failure, Outcome, While};
use crate::runtimes::{self, Runtime};
use crate::server::{Server, free_ports};
use crate::workspace::Workspace;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

type Run = (&'static str, fn(&Stage) -> Outcome);

const RUNS: &[Run] = &[
    ("shutdown", shutdown::run),
    ("descriptors", descriptors::run),
    ("stalled", stalled::run),
];

/// What a run needs.
struct Stage {
    program: PathBuf,
    logs: PathBuf,
    runtime: &'static Runtime,
    /// Whether the runs that have a full form have its sizes.
    is_full: bool,
}

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let only = arguments.take_list("--only");
    let runtimes = runtimes::chosen(&arguments.take_list("--runtime"))?;
    let named = arguments.take("--server");
    let is_full = arguments.take("--full").is_some();
    arguments.finish()?;
    let names: Vec<&str> = RUNS.iter().map(|(name, _)| *name).collect();
    assert_known("run", &only, &names)?;
    let named = named.map(|path| fs::canonicalize(&path).when(path)).transpose()?;
    let mut failures = Vec::new();
    for runtime in runtimes {
        let stage = Stage {
            program: match &named {
                Some(program) => program.clone(),
                None => runtime.build_server(tree)?,
            },
            logs: tree.target.join("operate"),
            runtime,
            is_full,
        };
        for (name, run) in RUNS {
            if only.is_empty() || only.iter().any(|wanted| wanted == name) {
                println!("\n== {name} on {}", stage.runtime.name);
                let failed = run(&stage).err();
                failures.extend(failed.map(|failure| format!("{name} on {}: {failure}", stage.runtime.name)));
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(failures.join("\n")))
}

impl Stage {
    /// Starts the server with at most this number of descriptors. Returns the port on which it
    /// listens. Its heartbeats are slow, so that clients need not answer any.
    fn start(&self, descriptors: usize) -> Outcome<(Server, u16)> {
        let port = free_ports(3)?;
        let limited = format!("ulimit -n {descriptors} && exec \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &limited, "sh"])
            .arg(&self.program)
            .args(["--runtime", self.runtime.word, "--port", &port.to_string()])
            .args(["--ping-interval", "60000", "--ping-timeout", "60000"]);
        let mut server = Server::start("operated-server", &mut command, &self.logs)?;
        server.wait_for_line(&format!("listening {port}"))?;
        Ok((server, port))
    }
}

/// Returns how many descriptors this process may have. The programs that it starts may have as
/// many.
fn descriptors() -> Outcome<usize> {
    let limits = fs::read_to_string("/proc/self/limits").when("the limits of this process")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft {
        Some("unlimited") => Ok(usize::MAX),
        Some(soft) => soft.parse().when("the limit of descriptors"),
        None => Err(Failure::new("the limits of this process name none of descriptors")),
    }
}
