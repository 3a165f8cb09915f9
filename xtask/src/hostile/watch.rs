//! What is watched during an attack: the echo times of a bystander, newcomers who connect, and the
//! server's memory.

use super::clients;
use crate::failure::{Failure, Outcome};
use crate::interop::lock;
use crate::process::resident_bytes;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The address of well-behaved clients.
pub(super) const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The pause between two echoes.
const PAUSE: Duration = Duration::from_millis(20);

/// The pause between two newcomers.
const NEWCOMER_PAUSE: Duration = Duration::from_millis(200);

/// A server whose memory has grown by this number of bytes is ended, so that the machine survives.
const DEADLY_BYTES: u64 = 1 << 30;

/// The observations from the beginning to the end of an attack.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The slowest echo of the bystander.
    pub(super) worst_echo: Duration,
    pub(super) echoes: u32,
    /// The slowest newcomer, from its connection to its first echo.
    pub(super) worst_entry: Duration,
    pub(super) newcomers: u32,
    /// What went wrong for the bystander and the newcomers.
    pub(super) complaints: Vec<String>,
}

/// Threads that watch until they are asked to end.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    /// Whoever has it keeps newcomers away. A newcomer has it from its connection to its end.
    door: Arc<Mutex<()>>,
    bystander: JoinHandle<Seen>,
    newcomers: JoinHandle<Seen>,
    memory: JoinHandle<Option<String>>,
}

impl Watch {
    pub(super) fn start(port: u16, process: u32) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (echoing, coming, weighing) = (Arc::clone(&stop), Arc::clone(&stop), Arc::clone(&stop));
        let door = Arc::default();
        let entrance = Arc::clone(&door);
        let mut peer = clients::join4(HOME, port, None)?;
        clients::echo(&mut peer, 0)?;
        let before = resident_bytes(process)?;
        Ok(Self {
            bystander: thread::spawn(move || bystander(peer, &echoing)),
            newcomers: thread::spawn(move || newcomers(port, &entrance, &coming)),
            memory: thread::spawn(move || weigh(process, before, &weighing)),
            stop,
            door,
        })
    }

    /// Returns what keeps newcomers away while it is locked.
    pub(super) fn door(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.door)
    }

    /// Ends the watch, and returns what it saw.
    pub(super) fn end(self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let gone = |_| Failure::new("a thread that watches has panicked");
        let mut seen = self.bystander.join().map_err(gone)?;
        let newcomers = self.newcomers.join().map_err(gone)?;
        seen.worst_entry = newcomers.worst_entry;
        seen.newcomers = newcomers.newcomers;
        seen.complaints.extend(newcomers.complaints);
        seen.complaints.extend(self.memory.join().map_err(gone)?);
        Ok(seen)
    }
}

fn bystander(mut peer: super::peer::Peer, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let echoed = clients::echo(&mut peer, seen.echoes);
        seen.worst_echo = seen.worst_echo.max(asked.elapsed());
        if let Err(why) = echoed {
            seen.complaints.push(format!("the bystander: {why}"));
            return seen;
        }
        seen.echoes += 1;
        thread::sleep(PAUSE);
    }
    seen
}

fn newcomers(port: u16, door: &Mutex<()>, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let inside = lock(door);
        let came = Instant::now();
        let entered = clients::join4(HOME, port, None).and_then(|mut peer| clients::echo(&mut peer, 0));
        seen.worst_entry = seen.worst_entry.max(came.elapsed());
        if let Err(why) = entered {
            seen.complaints.push(format!("a newcomer: {why}"));
            return seen;
        }
        seen.newcomers += 1;
        drop(inside);
        thread::sleep(NEWCOMER_PAUSE);
    }
    seen
}

/// Watches the server's memory. Ends the server when its memory endangers the machine, and returns
/// a complaint.
fn weigh(process: u32, before: u64, stop: &AtomicBool) -> Option<String> {
    while !stop.load(Ordering::Relaxed) {
        let grown = match resident_bytes(process) {
            Ok(now) => now.saturating_sub(before),
            Err(why) => return Some(format!("the memory could not be watched: {why}")),
        };
        if grown > DEADLY_BYTES {
            let _ = Command::new("sh")
                .args(["-c", "kill -KILL \"$1\"", "sh", &process.to_string()])
                .status();
            return Some(format!("the server grew by {} MiB and had to be killed", grown >> 20));
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
