//! Clients that read nothing, beside a thousand that do.
//!
//! A driver sends a number to all clients again and again. Meanwhile a broadcast of many megabytes
//! goes to a room whose members are one client that reads, and one that does not. The run is
//! compared with a run without the client that does not read: the server's memory may grow by twice
//! the bound of one client, nobody else loses anything, and nobody waits longer. The other ways not
//! to read are judged in the same way: a client that never polls, echoes and pongs that are not
//! read.

use super::{Stage, descriptors};
use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::peer::{Peer, Poured};
use crate::hostile::wire;
use crate::process::{forget_peak, peak_bytes, resident_bytes};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many clients read.
const CROWD: usize = 1000;
const THREADS: usize = 2;

/// How many descriptors a process needs apart from these clients.
const OTHER_DESCRIPTORS: usize = 100;

/// The bound of the bytes that wait for one client (`max_queued_bytes` of the conformance server).
const BOUND: u64 = 8 << 20;

/// The size of one message of the large broadcast, and how many there are.
const MESSAGE_BYTES: usize = 65_536;
const MESSAGES: usize = 256;
const FULL_MESSAGES: usize = 2560;

/// The pause between two numbers of the driver.
const PAUSE: Duration = Duration::from_millis(200);

/// The numbers before the measured ones, and the least numbers that are measured.
const WARM_UP: usize = 10;
const LEAST: usize = 50;

/// The longest time for one of the measured runs.
const LIMIT: Duration = Duration::from_secs(120);

/// By how much the delays may be worse than in the run without a stalled client. The machine may be
/// busy with other work.
const TOLERANCE: Duration = Duration::from_millis(50);

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A receive window that is soon full, so that bytes wait in the server instead of in the kernel.
const WINDOW: Option<usize> = Some(4096);

/// How a client does not read.
#[derive(Clone, Copy, Debug)]
enum Stalled {
    Nobody,
    Reader,
    Poller,
    Echoes,
    Pongs,
}

const WAYS: [Stalled; 4] = [Stalled::Poller, Stalled::Reader, Stalled::Echoes, Stalled::Pongs];

/// What a measured run has shown.
struct Seen {
    growth: u64,
    /// The delay from the moment when a number was sent until the last client had it: the median,
    /// and the worst.
    usual: Duration,
    worst: Duration,
    numbers: usize,
}

/// The numbers that have arrived at the clients.
struct Board {
    began: Instant,
    /// For each number: how many clients have it, and when the last one got it, in microseconds.
    numbers: Vec<(AtomicU32, AtomicU64)>,
    is_over: AtomicBool,
}

pub(super) fn run(stage: &Stage) -> Outcome {
    let (have, needed) = (descriptors()?, CROWD + OTHER_DESCRIPTORS);
    if have < needed {
        return Err(Failure::new(format!(
            "{CROWD} clients need {needed} descriptors, and this process may have {have}: raise the limit (ulimit -n)"
        )));
    }
    let messages = if stage.is_full { FULL_MESSAGES } else { MESSAGES };
    let mut alone = measure(stage, Stalled::Nobody, messages)?;
    say("nobody stalls", &alone);
    let mut wrong = Vec::new();
    for way in WAYS {
        let mut seen = measure(stage, way, messages)?;
        say(&format!("{way:?}"), &seen);
        if seen.is_slower_than(&alone) {
            println!("{way:?}: the machine may have become busy; both once more");
            alone = measure(stage, Stalled::Nobody, messages)?;
            say("nobody stalls", &alone);
            seen = measure(stage, way, messages)?;
            say(&format!("{way:?}"), &seen);
        }
        let more = seen.growth.saturating_sub(alone.growth);
        if more > 2 * BOUND {
            wrong.push(format!("{way:?}: the memory grew by {} MiB more", more >> 20));
        }
        if seen.is_slower_than(&alone) {
            let [with, without] = [seen.usual, alone.usual].map(|delay| delay.as_millis());
            wrong.push(format!("{way:?}: the others wait {with} ms instead of {without} ms"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(wrong.join("\n")))
}

impl Seen {
    fn is_slower_than(&self, other: &Self) -> bool {
        self.usual > 2 * other.usual + TOLERANCE
    }
}

fn say(what: &str, seen: &Seen) {
    println!(
        "{what}: {} numbers to {CROWD} clients, none is missing; delay {:.1} ms, at worst {:.1} ms; memory {:.1} MiB more",
        seen.numbers,
        seen.usual.as_secs_f64() * 1e3,
        seen.worst.as_secs_f64() * 1e3,
        seen.growth as f64 / f64::from(1 << 20),
    );
}

/// Measures the crowd on a server of its own while one client stalls.
fn measure(stage: &Stage, way: Stalled, messages: usize) -> Outcome<Seen> {
    let (mut server, port) = stage.start(CROWD + OTHER_DESCRIPTORS)?;
    let board = Arc::new(Board::new());
    let mut readers = Vec::new();
    for _ in 0..THREADS {
        let mut peers = Vec::new();
        for _ in 0..CROWD / THREADS {
            peers.push(clients::join4(HOME, port, None)?);
        }
        let board = Arc::clone(&board);
        readers.push(thread::spawn(move || read_all(&mut peers, &board)));
    }
    let mut driver = clients::join4(HOME, port, None)?;
    let reader = join_flood(clients::join4(HOME, port, None)?)?;
    let stalled = stall(way, port)?;
    drive(&mut driver, &board, 0, WARM_UP)?;
    let process = server.id();
    let before = resident_bytes(process)?;
    forget_peak(process)?;
    let poured = pour(way, stalled, messages);
    let heard = hear_flood(reader, messages);
    driver.say(wire::text(&format!(r#"42["flood",{messages},{MESSAGE_BYTES}]"#)))?;
    let mut sent = Vec::new();
    let end = Instant::now() + LIMIT;
    while sent.len() < LEAST || !(heard.is_finished() && poured.is_finished()) {
        if Instant::now() > end || WARM_UP + sent.len() >= Board::MOST {
            return Err(Failure::new("the large broadcast does not end in time"));
        }
        sent.extend(drive(&mut driver, &board, WARM_UP + sent.len(), 1)?);
    }
    let growth = peak_bytes(process)?.saturating_sub(before);
    let delays = board.delays(WARM_UP, &sent);
    board.is_over.store(true, Ordering::Relaxed);
    let gone = |_| Failure::new("a thread has panicked");
    for reader in readers {
        reader.join().map_err(gone)??;
    }
    let delays = delays?;
    heard.join().map_err(gone)??;
    drop(poured.join().map_err(gone)?);
    server.assert_alive()?;
    server.stop()?;
    Ok(Seen {
        growth,
        usual: delays[delays.len() / 2],
        worst: delays[delays.len() - 1],
        numbers: delays.len(),
    })
}

/// Opens the client that will stall.
fn stall(way: Stalled, port: u16) -> Outcome<Option<Peer>> {
    match way {
        Stalled::Nobody => Ok(None),
        Stalled::Reader => join_flood(clients::join4(HOME, port, WINDOW)?).map(Some),
        Stalled::Echoes | Stalled::Pongs => clients::join4(HOME, port, WINDOW).map(Some),
        Stalled::Poller => {
            let mut peer = Peer::connect(HOME, port, WINDOW)?;
            let target = clients::open_polling(&mut peer, 4, "")?;
            peer.ask(wire::post(&target, "40"))?;
            peer.ask(wire::get(&target))?;
            peer.ask(wire::post(&target, r#"42["join","flood"]"#))?;
            Ok(Some(peer))
        }
    }
}

/// Sends what the stalled client sends, in a thread of its own. It reads nothing.
fn pour(way: Stalled, stalled: Option<Peer>, messages: usize) -> JoinHandle<Option<Peer>> {
    let total = (messages * MESSAGE_BYTES) as u64;
    thread::spawn(move || {
        let mut peer = stalled?;
        let bytes = match way {
            Stalled::Echoes => wire::repeat(&wire::text(&format!(r#"42["echo","{}"]"#, "e".repeat(1000))), 100),
            Stalled::Pongs => wire::repeat(&wire::frame(wire::PING, ""), 10_000),
            Stalled::Nobody | Stalled::Reader | Stalled::Poller => return Some(peer),
        };
        // The question is what waiting answers cost, not how fast the server answers.
        while peer.said() < total && peer.pour(&bytes, bytes.len() as u64, LIMIT / 8) == Poured::All {
            thread::sleep(Duration::from_millis(20));
        }
        Some(peer)
    })
}

fn join_flood(mut peer: Peer) -> Outcome<Peer> {
    peer.say(wire::text(r#"420["join","flood"]"#))?;
    peer.message_with("430[")?;
    Ok(peer)
}

/// Reads the whole broadcast.
fn hear_flood(mut peer: Peer, messages: usize) -> JoinHandle<Outcome> {
    thread::spawn(move || {
        for number in 0..messages {
            let message = peer.message_with(r#"42["flood","#)?;
            if !message.starts_with(&format!(r#"42["flood",{number},"#)) {
                return Err(Failure::new(format!(
                    "the reader of the broadcast misses number {number}"
                )));
            }
        }
        Ok(())
    })
}

/// Sends some numbers, and returns when each was sent.
fn drive(driver: &mut Peer, board: &Board, first: usize, count: usize) -> Outcome<Vec<u64>> {
    let mut sent = Vec::new();
    for number in first..first + count {
        sent.push(board.now());
        driver.say(wire::text(&format!(r#"42["castall",{number}]"#)))?;
        thread::sleep(PAUSE);
        driver.waiting_messages()?;
    }
    Ok(sent)
}

/// Reads what comes to these clients, until the run is over.
fn read_all(peers: &mut [Peer], board: &Board) -> Outcome {
    while !board.is_over.load(Ordering::Relaxed) {
        let mut is_idle = true;
        for peer in &mut *peers {
            for message in peer.waiting_messages()? {
                is_idle = false;
                match message.as_slice() {
                    b"2" => peer.say(wire::text("3"))?,
                    _ => board.note(&message),
                }
            }
        }
        if is_idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

impl Board {
    const MOST: usize = 2000;

    fn new() -> Self {
        Self {
            began: Instant::now(),
            numbers: (0..Self::MOST).map(|_| Default::default()).collect(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Returns the time since the beginning, in microseconds.
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn note(&self, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let digits = text
            .strip_prefix(r#"42["castall","#)
            .and_then(|rest| rest.strip_suffix(']'));
        let place = digits.and_then(|digits| digits.parse::<usize>().ok());
        if let Some((count, last)) = place.and_then(|place| self.numbers.get(place)) {
            last.fetch_max(self.now(), Ordering::Relaxed);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all clients have all numbers, and returns the delays, the shortest first.
    fn delays(&self, first: usize, sent: &[u64]) -> Outcome<Vec<Duration>> {
        let numbers = &self.numbers[first..first + sent.len()];
        let missing = || {
            let heard: usize = numbers
                .iter()
                .map(|(count, _)| count.load(Ordering::Relaxed) as usize)
                .sum();
            (numbers.len() * CROWD).saturating_sub(heard)
        };
        let end = Instant::now() + LIMIT;
        while missing() > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        if missing() > 0 || numbers.is_empty() {
            return Err(Failure::new(format!("{} numbers are missing", missing())));
        }
        let delay =
            |((_, last), sent): (&(AtomicU32, AtomicU64), &u64)| last.load(Ordering::Relaxed).saturating_sub(*sent);
        let mut delays: Vec<Duration> = numbers.iter().zip(sent).map(delay).map(Duration::from_micros).collect();
        delays.sort();
        Ok(delays)
    }
}
