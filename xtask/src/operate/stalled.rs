//! Clients that read nothing, beside a thousand that do.
//!
//! A driver sends a number to all clients again and again. Meanwhile a broadcast of many megabytes
//! goes to a room: first to one client that reads it, and then to this client and one that does
//! not. Both parts have the same server and the same clients. The server's memory may grow by twice
//! the bound of one client, nobody else loses anything, and nobody waits longer: the median and the
//! 99th percentile of the delays are compared. The other ways not to read are judged in the same
//! way: a client that never polls, echoes and pongs that are not read.

use super::{Stage, descriptors};
use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::peer::{Peer, Poured};
use crate::hostile::wire;
use crate::process::{forget_peak, peak_bytes, resident_bytes};
use crate::server::Server;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
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

/// The numbers before the measured ones, and the least numbers that are measured in each part.
const WARM_UP: usize = 10;
const LEAST: usize = 25;

/// The longest time for one of the parts.
const LIMIT: Duration = Duration::from_secs(120);

/// By how much the delays may be worse than without a stalled client. The machine may be busy with
/// other work.
const TOLERANCE: Duration = Duration::from_millis(50);

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// A receive window that is soon full, so that bytes wait in the server instead of in the kernel.
const WINDOW: Option<usize> = Some(4096);

/// How a client does not read.
#[derive(Clone, Copy, Debug)]
enum Stalled {
    Reader,
    Poller,
    Echoes,
    Pongs,
}

const WAYS: [Stalled; 4] = [Stalled::Poller, Stalled::Reader, Stalled::Echoes, Stalled::Pongs];

/// What a part of a run has shown.
struct Seen {
    /// By how many bytes the memory has grown since the crowd is there, at most.
    growth: u64,
    /// The time from the moment when a number was sent until a client had it: the median, the 99th
    /// percentile, and the worst.
    median: Duration,
    late: Duration,
    worst: Duration,
    /// How many numbers were sent.
    numbers: usize,
}

pub(super) fn run(stage: &Stage) -> Outcome {
    let (have, needed) = (descriptors()?, CROWD + OTHER_DESCRIPTORS);
    if have < needed {
        return Err(Failure::new(format!(
            "{CROWD} clients need {needed} descriptors, and this process may have {have}: raise the limit (ulimit -n)"
        )));
    }
    let messages = if stage.is_full { FULL_MESSAGES } else { MESSAGES };
    let mut wrong = Vec::new();
    for way in WAYS {
        let [mut without, mut with] = measure(stage, way, messages)?;
        if with.is_slower_than(&without) {
            println!("{way:?}: the machine may have become busy; once more");
            [without, with] = measure(stage, way, messages)?;
        }
        let more = with.growth.saturating_sub(without.growth);
        if more > 2 * BOUND {
            wrong.push(format!("{way:?}: the memory grew by {} MiB more", more >> 20));
        }
        if with.is_slower_than(&without) {
            wrong.push(format!(
                "{way:?}: the others wait {} instead of {}",
                with.delays(),
                without.delays()
            ));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(wrong.join("\n")))
}

impl Seen {
    fn is_slower_than(&self, other: &Self) -> bool {
        self.median > 2 * other.median + TOLERANCE || self.late > 2 * other.late + TOLERANCE
    }

    fn delays(&self) -> String {
        let [median, late, worst] = [self.median, self.late, self.worst].map(|delay| delay.as_secs_f64() * 1e3);
        format!("{median:.1} ms (99th percentile {late:.1} ms, at worst {worst:.1} ms)")
    }

    fn say(&self, what: &str) {
        println!(
            "{what}: {} numbers to {CROWD} clients, none is missing; they wait {}; memory {:.1} MiB more",
            self.numbers,
            self.delays(),
            self.growth as f64 / f64::from(1 << 20),
        );
    }
}

/// Measures a crowd on a server of its own, first without a client that stalls, and then with one.
fn measure(stage: &Stage, way: Stalled, messages: usize) -> Outcome<[Seen; 2]> {
    let mut scene = Scene::open(stage)?;
    let without = scene.flood(None, messages)?;
    without.say(&format!("{way:?}: before it stalls"));
    let stalled = stall(way, scene.port)?;
    let with = scene.flood(Some((way, stalled)), messages)?;
    with.say(&format!("{way:?}: while it stalls"));
    scene.close()?;
    Ok([without, with])
}

/// A server with a crowd, a driver that sends numbers to it, and a client that reads the large
/// broadcast.
struct Scene {
    server: Server,
    port: u16,
    crowd: Vec<JoinHandle<Outcome>>,
    board: Arc<Board>,
    driver: Peer,
    reader: Option<Peer>,
    /// The memory of the server when the crowd was there.
    resident: u64,
    /// The next number of the driver.
    next: usize,
}

impl Scene {
    fn open(stage: &Stage) -> Outcome<Self> {
        let (server, port) = stage.start(CROWD + OTHER_DESCRIPTORS)?;
        let board = Arc::new(Board::new());
        let mut crowd = Vec::new();
        for _ in 0..THREADS {
            let peers = (0..CROWD / THREADS).map(|_| clients::join4(HOME, port, None));
            let mut peers = peers.collect::<Outcome<Vec<_>>>()?;
            let board = Arc::clone(&board);
            crowd.push(thread::spawn(move || read_all(&mut peers, &board)));
        }
        let driver = clients::join4(HOME, port, None)?;
        let reader = join_flood(clients::join4(HOME, port, None)?)?;
        let mut scene = Self {
            resident: 0,
            server,
            port,
            crowd,
            board,
            driver,
            reader: Some(reader),
            next: 0,
        };
        for _ in 0..WARM_UP {
            scene.drive(0)?;
        }
        scene.resident = resident_bytes(scene.server.id())?;
        Ok(scene)
    }

    /// Sends the large broadcast, and numbers meanwhile.
    fn flood(&mut self, stalled: Option<(Stalled, Peer)>, messages: usize) -> Outcome<Seen> {
        let part = 1 + usize::from(stalled.is_some());
        let gone = || Failure::new("a thread has panicked");
        let reader = self.reader.take().ok_or_else(gone)?;
        let process = self.server.id();
        forget_peak(process)?;
        let poured = stalled.map(|(way, peer)| pour(way, peer, messages));
        let heard = hear_flood(reader, messages);
        let flood = format!(r#"42["flood",{messages},{MESSAGE_BYTES}]"#);
        self.driver.say(wire::text(&flood))?;
        let (first, end) = (self.next, Instant::now() + LIMIT);
        let is_pouring = || poured.as_ref().is_some_and(|poured| !poured.is_finished());
        while self.next - first < LEAST || !heard.is_finished() || is_pouring() {
            if Instant::now() > end || self.next >= Board::MOST {
                return Err(Failure::new("the large broadcast does not end in time"));
            }
            self.drive(part)?;
        }
        self.board.wait_for(first..self.next)?;
        let growth = peak_bytes(process)?.saturating_sub(self.resident);
        self.reader = Some(heard.join().map_err(|_| gone())??);
        if let Some(poured) = poured {
            drop(poured.join().map_err(|_| gone())?);
        }
        self.server.assert_alive()?;
        let [median, late, worst] = [0.5, 0.99, 1.0].map(|share| self.board.delay(part, share));
        Ok(Seen {
            growth,
            median,
            late,
            worst,
            numbers: self.next - first,
        })
    }

    /// Sends the next number, which belongs to this part of the run.
    fn drive(&mut self, part: usize) -> Outcome {
        self.board.send(self.next, part);
        let number = wire::text(&format!(r#"42["castall",{}]"#, self.next));
        self.next += 1;
        self.driver.say(number)?;
        thread::sleep(PAUSE);
        self.driver.waiting_messages().map(|_| ())
    }

    fn close(self) -> Outcome {
        self.board.is_over.store(true, Ordering::Relaxed);
        for reader in self.crowd {
            reader.join().map_err(|_| Failure::new("a thread has panicked"))??;
        }
        self.server.stop()
    }
}

/// Opens the client that will stall.
fn stall(way: Stalled, port: u16) -> Outcome<Peer> {
    match way {
        Stalled::Reader => join_flood(clients::join4(HOME, port, WINDOW)?),
        Stalled::Echoes | Stalled::Pongs => clients::join4(HOME, port, WINDOW),
        Stalled::Poller => {
            let mut peer = Peer::connect(HOME, port, WINDOW)?;
            let target = clients::open_polling(&mut peer, 4, "")?;
            peer.ask(wire::post(&target, "40"))?;
            peer.ask(wire::get(&target))?;
            peer.ask(wire::post(&target, r#"42["join","flood"]"#))?;
            Ok(peer)
        }
    }
}

/// Sends what the stalled client sends, in a thread of its own. It reads nothing.
fn pour(way: Stalled, mut peer: Peer, messages: usize) -> JoinHandle<Peer> {
    let total = (messages * MESSAGE_BYTES) as u64;
    thread::spawn(move || {
        let bytes = match way {
            Stalled::Echoes => wire::repeat(&wire::text(&format!(r#"42["echo","{}"]"#, "e".repeat(1000))), 100),
            Stalled::Pongs => wire::repeat(&wire::frame(wire::PING, ""), 10_000),
            Stalled::Reader | Stalled::Poller => return peer,
        };
        // The question is what waiting answers cost, not how fast the server answers.
        while peer.said() < total && peer.pour(&bytes, bytes.len() as u64, LIMIT / 8) == Poured::All {
            thread::sleep(Duration::from_millis(20));
        }
        peer
    })
}

fn join_flood(mut peer: Peer) -> Outcome<Peer> {
    peer.say(wire::text(r#"420["join","flood"]"#))?;
    peer.message_with("430[")?;
    Ok(peer)
}

/// Reads the whole broadcast.
fn hear_flood(mut peer: Peer, messages: usize) -> JoinHandle<Outcome<Peer>> {
    thread::spawn(move || {
        for number in 0..messages {
            let message = peer.message_with(r#"42["flood","#)?;
            if !message.starts_with(&format!(r#"42["flood",{number},"#)) {
                return Err(Failure::new(format!(
                    "the reader of the broadcast misses number {number}"
                )));
            }
        }
        Ok(peer)
    })
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

/// A number of the driver.
#[derive(Default)]
struct Number {
    /// When it was sent, in microseconds, and in which part of the run.
    sent: AtomicU64,
    part: AtomicUsize,
    /// How many clients have it.
    heard: AtomicU32,
}

/// The numbers that have arrived at the clients.
struct Board {
    began: Instant,
    numbers: Vec<Number>,
    /// For each part of the run: how many numbers have arrived after which time.
    delays: [Vec<AtomicU32>; 3],
    is_over: AtomicBool,
}

impl Board {
    const MOST: usize = 2000;

    /// Delays are counted in steps of so many microseconds. The last step has all longer delays.
    const STEP: u64 = 100;
    const STEPS: usize = 100_000;

    fn new() -> Self {
        Self {
            began: Instant::now(),
            numbers: (0..Self::MOST).map(|_| Number::default()).collect(),
            delays: std::array::from_fn(|_| (0..Self::STEPS).map(|_| AtomicU32::new(0)).collect()),
            is_over: AtomicBool::new(false),
        }
    }

    /// Returns the time since the beginning, in microseconds.
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Notes that a number is sent now.
    fn send(&self, number: usize, part: usize) {
        if let Some(number) = self.numbers.get(number) {
            number.part.store(part, Ordering::Relaxed);
            number.sent.store(self.now(), Ordering::Release);
        }
    }

    /// Notes that a client has this message.
    fn note(&self, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let digits = text
            .strip_prefix(r#"42["castall","#)
            .and_then(|rest| rest.strip_suffix(']'));
        let place = digits.and_then(|digits| digits.parse::<usize>().ok());
        if let Some(number) = place.and_then(|place| self.numbers.get(place)) {
            let delay = self.now().saturating_sub(number.sent.load(Ordering::Acquire));
            let step = (delay / Self::STEP).min(Self::STEPS as u64 - 1);
            self.delays[number.part.load(Ordering::Relaxed)][step as usize].fetch_add(1, Ordering::Relaxed);
            number.heard.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all clients have all of these numbers.
    fn wait_for(&self, numbers: Range<usize>) -> Outcome {
        let numbers = &self.numbers[numbers];
        let missing = || {
            let heard = numbers
                .iter()
                .map(|number| number.heard.load(Ordering::Relaxed) as usize);
            (numbers.len() * CROWD).saturating_sub(heard.sum())
        };
        let end = Instant::now() + LIMIT;
        while missing() > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        match missing() {
            0 => Ok(()),
            missing => Err(Failure::new(format!("{missing} numbers are missing"))),
        }
    }

    /// Returns the delay that this share of the numbers of a part had at most.
    fn delay(&self, part: usize, share: f64) -> Duration {
        let steps = || self.delays[part].iter().map(|count| count.load(Ordering::Relaxed));
        let wanted = (f64::from(steps().sum::<u32>()) * share).ceil() as u32;
        let mut sum = 0;
        let reaches = |count| {
            sum += count;
            sum >= wanted
        };
        let step = steps().position(reaches).unwrap_or(Self::STEPS);
        Duration::from_micros((step as u64 + 1) * Self::STEP)
    }
}
