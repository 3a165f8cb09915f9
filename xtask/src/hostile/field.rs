//! One case: it has its own server, the attack on it, and the result.

use super::memory::{self, Memory, Verdict};
use super::peer::Peer;
use super::rest::{Rest, settle};
use super::rows::Row;
use super::session::status;
use super::watch::{HOME, Watch};
use super::{Case, clients};
use crate::failure::{Outcome, While};
use crate::interop::lock;
use crate::process::{forget_peak, peak_bytes, processor_seconds};
use crate::runtimes::Runtime;
use crate::server::{Server, free_ports};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The address that attacks come from. Other clients have another address, so that limits per
/// address do not affect them.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// The most bytes by which the server's memory may grow.
const MOST_GROWTH: u64 = 64 << 20;

/// The longest time that an echo of the bystander may take.
const SLOWEST_ECHO: Duration = Duration::from_millis(250);

/// The longest time from a newcomer's connection to its first echo.
const SLOWEST_ENTRY: Duration = Duration::from_secs(2);

/// Only one lane at a time chooses ports and starts a server on them.
static STARTING: Mutex<()> = Mutex::new(());

/// The server to attack, and the size of the attacks.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) program: PathBuf,
    pub(super) logs: PathBuf,
    pub(super) runtime: &'static Runtime,
    /// Whether the attacks have the sizes with which the faults were found, instead of the smaller
    /// sizes that show them.
    pub(super) is_full: bool,
    /// The rows of tables to play, as `CASE/ROW`. None means all.
    pub(super) only: Vec<String>,
}

/// The values that an attack gets.
pub(super) struct Field {
    pub(super) port: u16,
    is_full: bool,
    rows: Vec<&'static Row>,
    said: AtomicU64,
    findings: Mutex<Vec<String>>,
    /// Whoever has it keeps newcomers away.
    door: Arc<Mutex<()>>,
}

/// The result of a case.
pub(super) struct Report {
    pub(super) said: u64,
    pub(super) growth: u64,
    /// What is left when everybody has gone, after each time that the attack was played.
    pub(super) left: Vec<Memory>,
    pub(super) worst_echo: Duration,
    pub(super) worst_entry: Duration,
    pub(super) processor: f64,
    pub(super) settled: Duration,
    /// `wrong` is what went wrong apart from times. `slow` is what took too long; a busy machine
    /// alone can be the reason.
    pub(super) wrong: Vec<String>,
    pub(super) slow: Vec<String>,
    /// What took too long at the first time, if the case was run once more.
    pub(super) once: Vec<String>,
}

impl Field {
    /// Opens a connection of the attacker.
    pub(super) fn connect(&self) -> Outcome<Peer> {
        Peer::connect(ATTACKER, self.port, None)
    }

    /// Returns one of the two sizes.
    pub(super) const fn size(&self, short: usize, full: usize) -> usize {
        if self.is_full { full } else { short }
    }

    /// Returns how many sessions of one kind get an input of this number of bytes.
    pub(super) const fn times(&self, bytes: usize) -> usize {
        match bytes {
            0..10_000 => self.size(6, 100),
            10_000..200_000 => self.size(3, 50),
            _ => self.size(2, 10),
        }
    }

    /// Returns the rows of the case's table that are played.
    pub(super) fn rows(&self) -> &[&'static Row] {
        &self.rows
    }

    /// Returns how long an attack that needs time goes on.
    pub(super) const fn time(&self) -> Duration {
        Duration::from_secs(if self.is_full { 20 } else { 6 })
    }

    /// Counts the bytes that the peer has sent.
    pub(super) fn count(&self, peer: &Peer) {
        self.said.fetch_add(peer.said(), Ordering::Relaxed);
    }

    /// Notes what is wrong.
    pub(super) fn finding(&self, words: impl Into<String>) {
        lock(&self.findings).push(words.into());
    }

    /// Notes that there was less of the attack than there has to be. A server that does not know an
    /// event, or that ends the connection at once, has not been attacked.
    pub(super) fn assert_least(&self, what: &str, count: u64, least: u64) {
        if count < least {
            self.finding(format!("{count} {what}, and at least {least} are the attack"));
        }
    }

    /// Notes an answer that has another status than this one.
    pub(super) fn assert_status(&self, what: &str, head: &str, wanted: &str) {
        if status(head) != wanted {
            self.finding(format!("{what} was answered {head:?}"));
        }
    }

    /// Keeps newcomers away for as long as the result is held. Waits for one that is there.
    pub(super) fn without_newcomers(&self) -> MutexGuard<'_, ()> {
        lock(&self.door)
    }

    /// Returns the number of sessions, as the server says.
    pub(super) fn sessions(&self) -> Outcome<u64> {
        clients::sessions(HOME, self.port)
    }
}

/// Runs the case. If only times were wrong, it runs the case once more, because other programs on
/// the machine may have been the reason.
pub(super) fn judge(stage: &Stage, case: &Case) -> Outcome<Report> {
    let report = attempt(stage, case)?;
    if report.wrong.is_empty() && !report.slow.is_empty() {
        println!("{}: {}; once more", case.name, report.slow.join("; "));
        return Ok(Report {
            once: report.slow,
            ..attempt(stage, case)?
        });
    }
    Ok(report)
}

fn attempt(stage: &Stage, case: &Case) -> Outcome<Report> {
    let (mut server, port) = stage.start(case)?;
    let process = server.id();
    let watch = Watch::start(port, process)?;
    // Now the server is warm, and the watch has seen how fast the machine is without an attack.
    thread::sleep(Duration::from_millis(500));
    let door = watch.door();
    let first = {
        let _alone = lock(&door);
        Rest::first(port, process)?
    };
    let (before, used) = (Memory::read(port, process)?, processor_seconds(process)?);
    forget_peak(process)?;
    let field = Field {
        port,
        is_full: stage.is_full,
        rows: case.chosen(&stage.only),
        said: AtomicU64::new(0),
        findings: Mutex::default(),
        door,
    };
    let (mut wrong, mut left) = (Vec::new(), Vec::new());
    let settled = loop {
        if let Err(why) = (case.attack)(&field) {
            wrong.push(format!("the attack could not be carried out: {why}"));
        }
        let settling = Instant::now();
        let settled = {
            let _alone = field.without_newcomers();
            settle(&field, process, &first, case.settle)
        };
        if server.assert_alive().is_err() {
            wrong.push("the server has ended".to_owned());
        } else if let Err(left) = settled {
            wrong.push(left);
        }
        let settled = settling.elapsed();
        match Memory::left(port, process, before, case.kept << 20) {
            Ok(memory) => left.push(memory),
            Err(why) => wrong.push(format!("the memory that is left is not known: {why}")),
        }
        if !wrong.is_empty() {
            break settled;
        }
        match memory::judge(&left, case.kept << 20) {
            Verdict::Again => {}
            Verdict::Held => break settled,
            Verdict::Lost(words) => {
                wrong.push(words);
                break settled;
            }
        }
    };
    let growth = peak_bytes(process).map(|peak| peak.saturating_sub(before.resident));
    let growth = known(&mut wrong, "peak of memory", growth);
    let processor = known(&mut wrong, "processor time", processor_seconds(process)) - used;
    let seen = watch.end()?;
    wrong.extend(seen.complaints);
    wrong.append(&mut lock(&field.findings));
    if growth > MOST_GROWTH {
        wrong.push(format!("memory grew by {} MiB", growth >> 20));
    }
    let mut slow = Vec::new();
    if seen.worst_echo > SLOWEST_ECHO {
        slow.push(format!("an echo took {} ms", seen.worst_echo.as_millis()));
    }
    if seen.worst_entry > SLOWEST_ENTRY {
        slow.push(format!("a newcomer took {} ms", seen.worst_entry.as_millis()));
    }
    if seen.echoes == 0 || seen.newcomers == 0 {
        wrong.push("nobody was there to suffer".to_owned());
    }
    if server.assert_alive().is_ok()
        && let Err(why) = server.stop()
    {
        let words = why.to_string();
        wrong.extend(words.lines().next().map(str::to_owned));
    }
    Ok(Report {
        said: field.said.into_inner(),
        growth,
        left,
        worst_echo: seen.worst_echo,
        worst_entry: seen.worst_entry,
        processor,
        settled,
        wrong,
        slow,
        once: Vec::new(),
    })
}

/// Returns a reading. One that has failed is wrong, and not a small number.
fn known<T: Default>(wrong: &mut Vec<String>, what: &str, reading: Outcome<T>) -> T {
    reading.unwrap_or_else(|why| {
        wrong.push(format!("the {what} is not known: {why}"));
        T::default()
    })
}

impl Stage {
    /// Starts a server for the case, with a memory limit. If it needs more, the server ends, and
    /// the machine survives.
    fn start(&self, case: &Case) -> Outcome<(Server, u16)> {
        let _starting = lock(&STARTING);
        let port = free_ports(3)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 8388608 && exec \"$@\"", "sh"])
            .arg(&self.program)
            .args(["--runtime", self.runtime.word, "--port", &port.to_string()])
            .args(["--threads", "2"])
            .args(case.options)
            .env("RUST_BACKTRACE", "0");
        let mut server = Server::start("attacked-server", &mut command, &self.logs)?;
        server.wait_for_line(&format!("listening {port}")).when(case.name)?;
        Ok((server, port))
    }
}
