//! `cargo xtask leaks`: clients of all generations come and go in every way, and nothing is left of
//! them.
//!
//! A cycle is one client: it opens a session, perhaps joins a room, and goes. `lives` has the kinds
//! of clients, and how they end: clean, cut, silent until the server gives up, refused, half way
//! through an upgrade, recovered, resumed, or never back, so that its record expires. The lives are
//! drawn from a seed.
//!
//! The first cycles warm the server up. Then the command notes what the server holds, runs the
//! cycles, waits until the last deadline has passed, and compares: sessions, sockets, rooms,
//! deadlines, records, connections and queued bytes (`GET /__stats`), descriptors, and memory. The
//! short form has 5,000 cycles, and `--full` has 100,000. `--cycles N` has N.
//!
//! With `--client`, it is the client of this project that is looked at: the example `reconnects`
//! loses its server 10,000 times for each way to it, on tokio and on async-std.

mod crew;
mod lives;
mod random;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome, While};
use crate::hostile::clients::stats;
use crate::process::{open_descriptors, resident_bytes};
use crate::programs::run as run_program;
use crate::runtimes::{self, Runtime};
use crate::server::{Server, free_ports};
use crate::workspace::Workspace;
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// By how many bytes the memory may have grown. It is noise of the allocator: 100,000 cycles that
/// lose a hundred bytes each would grow by more.
const MOST_GROWTH: u64 = 8 << 20;

/// The longest time until the last client is forgotten. The longest deadlines are those of silent
/// clients of 0.9, and the window of recovery, each 10 s.
const SETTLING: Duration = Duration::from_secs(40);

/// How many descriptors more than before may be open: the connection of the question itself.
const SPARE_DESCRIPTORS: usize = 1;

/// What the server holds at one time.
struct Level {
    /// What has to be zero when nobody is there, by name.
    held: Vec<(String, u64)>,
    descriptors: usize,
    resident: u64,
}

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    if arguments.take("--client").is_some() {
        arguments.finish()?;
        return of_the_client(tree);
    }
    let runtimes = runtimes::chosen(&arguments.take_list("--runtime"))?;
    let named = arguments.take("--server");
    let is_full = arguments.take("--full").is_some();
    let seed = match arguments.take("--seed") {
        Some(digits) => digits.parse().when("--seed")?,
        None => random::seed(),
    };
    let named = named.map(|path| fs::canonicalize(&path).when(path)).transpose()?;
    let (mut warm_up, mut cycles) = if is_full { (20_000, 100_000) } else { (1000, 5000) };
    if let Some(number) = arguments.take("--cycles") {
        cycles = number.parse().when("--cycles")?;
        warm_up = cycles / 5;
    }
    arguments.finish()?;
    let mut failures = Vec::new();
    for runtime in runtimes {
        let program = match &named {
            Some(program) => program.clone(),
            None => runtime.build_server(tree)?,
        };
        println!("\n== {}, seed {seed}", runtime.name);
        let judged = judge(&program, &tree.target.join("leaks"), runtime, seed, [warm_up, cycles]);
        failures.extend(
            judged
                .err()
                .map(|why| format!("{} (--seed {seed}): {why}", runtime.name)),
        );
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(failures.join("\n")))
}

/// Lets the client lose its server.
fn of_the_client(tree: &Workspace) -> Outcome {
    let program = runtimes::build(tree, "reconnects", &[])?;
    for runtime in ["tokio", "async-std"] {
        run_program(Command::new(&program).args(["--runtime", runtime, "--cycles", "10000"]))?;
    }
    Ok(())
}

/// Runs the cycles against one server, and compares what it holds.
fn judge(program: &Path, logs: &Path, runtime: &Runtime, seed: u64, [warm_up, cycles]: [u32; 2]) -> Outcome {
    let port = free_ports(3)?;
    let mut command = Command::new(program);
    command
        .args(["--runtime", runtime.word, "--port", &port.to_string()])
        .args(["--threads", "2"])
        .env("RUST_BACKTRACE", "0");
    let mut server = Server::start("leaking-server", &mut command, logs)?;
    server.wait_for_line(&format!("listening {port}"))?;
    crew::work(port, seed, warm_up)?;
    let before = settle(port, server.id())?;
    println!("after {warm_up} cycles: {}", before.words());
    let began = Instant::now();
    let tally = crew::work(port, seed.wrapping_add(1), cycles)?;
    print!("{cycles} cycles in {:.0} s:\n{tally}", began.elapsed().as_secs_f32());
    let after = settle(port, server.id())?;
    println!("after {cycles} more: {}", after.words());
    server.assert_alive()?;
    let grown = after.resident.saturating_sub(before.resident);
    if after.descriptors > before.descriptors + SPARE_DESCRIPTORS {
        return Err(Failure::new(format!(
            "{} descriptors are open, and {} were",
            after.descriptors, before.descriptors
        )));
    }
    if grown > MOST_GROWTH {
        return Err(Failure::new(format!("the memory has grown by {} KiB", grown >> 10)));
    }
    println!("nothing is left; the memory has grown by {} KiB", grown >> 10);
    server.stop()
}

/// Waits until the server holds nothing, and returns what it holds then.
fn settle(port: u16, process: u32) -> Outcome<Level> {
    let end = Instant::now() + SETTLING;
    loop {
        let level = Level::read(port, process)?;
        let left = level.left();
        if left.is_empty() {
            return Ok(level);
        }
        if Instant::now() > end {
            return Err(Failure::new(format!(
                "after {} s there are still {}",
                SETTLING.as_secs(),
                left.join(", ")
            )));
        }
        thread::sleep(Duration::from_millis(250));
    }
}

impl Level {
    fn read(port: u16, process: u32) -> Outcome<Self> {
        let stats = stats(Ipv4Addr::LOCALHOST, port)?;
        let mut held: Vec<(String, u64)> = stats["held"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect();
        if held.is_empty() {
            return Err(Failure::new(format!("/__stats has no `held`: {stats}")));
        }
        held.push(("sessions".to_owned(), count(&stats, "sessions")?));
        Ok(Self {
            held,
            descriptors: open_descriptors(process)?,
            resident: resident_bytes(process)?,
        })
    }

    /// Names what should not be there any more.
    fn left(&self) -> Vec<String> {
        // The question itself is a connection.
        let allowed = |name: &str| u64::from(name == "connections");
        let left = self.held.iter().filter(|(name, count)| *count > allowed(name));
        left.map(|(name, count)| format!("{count} {name}")).collect()
    }

    fn words(&self) -> String {
        let held: Vec<String> = self
            .held
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        format!(
            "{}, {} descriptors, {} KiB",
            held.join(", "),
            self.descriptors,
            self.resident >> 10
        )
    }
}

fn count(stats: &Value, name: &str) -> Outcome<u64> {
    stats[name]
        .as_u64()
        .ok_or_else(|| Failure::new(format!("no {name} in {stats}")))
}
