//! What a second thread brings: `cargo run --release -p sio-bench --example cores`.
//!
//! Clients in memory say something as fast as they are answered: first all of them on one thread,
//! then one half on each of two threads, then on two threads that have a server each, in turns. The
//! last is what the machine gives at most. There is no socket and no runtime, so all of the time is
//! the server's own, and the threads meet at its locks more often than with a kernel in between. On
//! a machine with less than two cores that are free, the numbers say nothing.
//!
//! What a core has written, another core gets later. How long this takes decides about the numbers,
//! and a virtual machine may be moved to other cores at any moment. So it is measured, too: before
//! each pair of measurements, two threads answer each other through one number in memory.
//!
//! Arguments are numbers of shards, and parts of the names of the work to measure. Without any, it
//! is the default number of this machine, and all work.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this program measures times and prints them"
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sio_app::adapter::{Runtime, Time};
use sio_app::{Config, Io, Options, RawArgs, Socket};
use sio_bench::client::Client;
use sio_bench::wire::text;

/// How long one measurement takes.
const MEASURED: Duration = Duration::from_millis(800);
/// What comes before it is not measured.
const WARMED: Duration = Duration::from_millis(200);
/// How often each is made.
const ROUNDS: usize = 5;

/// The clock of the server, in microseconds. The threads move it.
static NOW: AtomicU64 = AtomicU64::new(1_000_000);
/// How many threads have asked for numbers.
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Each thread draws its numbers from a place of its own.
    static DRAWN: Cell<u64> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 40);
}

const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.load(Ordering::Relaxed)),
    unix_time: || 784_111_777,
    spawn: drop,
    fill,
};

/// Fills the slice with numbers that do not repeat. They are no secrets.
fn fill(out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        let drawn = DRAWN.get().wrapping_add(1);
        DRAWN.set(drawn);
        let mixed = drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 32)).to_le_bytes()[..chunk.len()]);
    }
}

/// One kind of work.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    /// How many clients there are, on all threads together.
    clients: usize,
    /// How many clients of a thread speak.
    speakers: usize,
    /// What each of them says.
    said: &'static str,
    /// How many frames the server writes for it.
    frames: usize,
}

/// How many members a small room has.
const FEW: usize = 20;
/// How many members a large room has.
const MANY: usize = 1_000;

const ECHO: &str = r#"42["echo","0123456789abcdef"]"#;
const CAST: &str = r#"42["cast","0123456789abcdef"]"#;

const WORK: [Work; 4] = [
    Work {
        name: "echoes, 50 clients",
        clients: 50,
        speakers: usize::MAX,
        said: ECHO,
        frames: 1,
    },
    Work {
        name: "echoes, 1000 clients",
        clients: MANY,
        speakers: usize::MAX,
        said: ECHO,
        frames: 1,
    },
    Work {
        name: "deliveries to a room of 20",
        clients: FEW,
        speakers: 1,
        said: CAST,
        frames: FEW,
    },
    Work {
        name: "deliveries to a room of 1000",
        clients: MANY,
        speakers: 1,
        said: CAST,
        frames: MANY,
    },
];

/// Makes a server whose handlers pass arguments on as they came.
fn server(shards: usize) -> Io {
    let options = Options::default().shards(shards);
    let io = Io::new(Config::default(), options, RUNTIME).expect("the defaults are valid");
    let everybody = io.clone();
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("cast", move |args: RawArgs| everybody.emit("cast", args));
    io
}

/// Who serves the clients.
#[derive(Clone, Copy, PartialEq)]
enum Served {
    /// One thread.
    ByOne,
    /// Two threads, with one server.
    ByTwo,
    /// Two threads, with a server each.
    Apart,
}

/// Returns how many frames are written in a second.
fn frames_per_second(work: Work, shards: usize, served: Served) -> f64 {
    let threads = if served == Served::ByOne { 1 } else { 2 };
    let io = server(shards);
    let said = text(work.said);
    let begin = &Barrier::new(threads);
    let total = Mutex::new(0.0);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (said, total) = (&said, &total);
            let (io, own) = match served {
                Served::Apart => (server(shards), work.clients),
                _ => (io.clone(), work.clients / threads),
            };
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..own).map(|_| Client::of_4(&io)).collect();
                let speakers = work.speakers.min(clients.len());
                let (mut spoken, mut began) = (0, Instant::now());
                for limit in [WARMED, MEASURED] {
                    begin.wait();
                    (spoken, began) = (0, Instant::now());
                    while began.elapsed() < limit {
                        for client in &mut clients[..speakers] {
                            client.say(said);
                            spoken += 1;
                        }
                        // Nobody is too fast.
                        NOW.fetch_add(1_000, Ordering::Relaxed);
                    }
                }
                let rate = (spoken * work.frames) as f64 / began.elapsed().as_secs_f64();
                *total.lock().expect("no thread panics") += rate;
                begin.wait();
                assert_eq!(io.sessions(), work.clients, "nobody was ended");
                begin.wait();
            });
        }
    });
    total.into_inner().expect("no thread has panicked")
}

/// Returns how many nanoseconds a number takes from one core to another and back.
fn round_trip() -> f64 {
    const TRIPS: u64 = 50_000;
    let number = AtomicU64::new(0);
    let await_number = |awaited| {
        while number.load(Ordering::Acquire) != awaited {
            std::hint::spin_loop();
        }
    };
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..TRIPS {
                await_number(2 * trip + 1);
                number.store(2 * trip + 2, Ordering::Release);
            }
        });
        for trip in 0..TRIPS {
            number.store(2 * trip + 1, Ordering::Release);
            await_number(2 * trip + 2);
        }
    });
    began.elapsed().as_nanos() as f64 / TRIPS as f64
}

/// Returns the median of some measurements of a kind, the least and the most.
fn of_all(mut rates: Vec<f64>) -> [f64; 3] {
    rates.sort_by(f64::total_cmp);
    [rates[rates.len() / 2], rates[0], rates[rates.len() - 1]]
}

fn main() {
    let (mut shards, mut names) = (Vec::new(), Vec::new());
    for said in std::env::args().skip(1) {
        match said.parse::<usize>() {
            Ok(number) => shards.push(number),
            Err(_) => names.push(said),
        }
    }
    if shards.is_empty() {
        shards.push(Options::default().shards);
    }
    let is_wanted = |work: &Work| names.is_empty() || names.iter().any(|name| work.name.contains(name));
    for work in WORK.into_iter().filter(is_wanted) {
        for shards in &shards {
            let (mut one, mut two, mut apart) = (Vec::new(), Vec::new(), Vec::new());
            let mut trips = Vec::new();
            for _ in 0..ROUNDS {
                trips.push(round_trip());
                one.push(frames_per_second(work, *shards, Served::ByOne));
                two.push(frames_per_second(work, *shards, Served::ByTwo));
                apart.push(frames_per_second(work, *shards, Served::Apart));
            }
            let [[one, ..], [two, least, most], [apart, ..]] = [one, two, apart].map(of_all);
            let [trip, shortest, longest] = of_all(trips);
            println!(
                "{}, {shards} shards: {:.2} million a second on one thread, {:.2} on two ({:.2} to {:.2}), {:.2} on two with a server each; two bring {:.2} times one, of at most {:.2}; from core to core and back in {trip:.0} ns ({shortest:.0} to {longest:.0})",
                work.name,
                one / 1e6,
                two / 1e6,
                least / 1e6,
                most / 1e6,
                apart / 1e6,
                two / one,
                apart / one,
            );
        }
    }
}
