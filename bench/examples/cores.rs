//! What a second thread brings: `cargo run --release -p sio-bench --example cores`.
//!
//! Clients in memory say something as fast as they are answered: first all of them on one thread,
//! then one half on each of two threads, in turns. There is no socket and no runtime, so all of the
//! time is the server's own, and the threads meet at its locks more often than with a kernel in
//! between. On a machine with less than two cores that are free, the numbers say nothing.
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
const MEASURED: Duration = Duration::from_secs(2);
/// How often each is made.
const ROUNDS: usize = 5;
/// How many clients echo, on all threads together.
const ECHOES: usize = 50;
/// How many clients hear a broadcast.
const CROWD: usize = 1_000;

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
    /// The clients of one thread, of so many threads.
    clients: fn(&Io, usize) -> Vec<Client>,
    /// How many of them speak.
    speakers: fn(usize) -> usize,
    /// What each of them says.
    said: &'static str,
    /// How many frames the server writes for it.
    frames: u64,
}

const WORK: [Work; 2] = [
    Work {
        name: "echo",
        clients: |io, threads| (0..ECHOES / threads).map(|_| Client::of_4(io)).collect(),
        speakers: |clients| clients,
        said: r#"42["echo","0123456789abcdef"]"#,
        frames: 1,
    },
    Work {
        name: "delivery of a broadcast",
        clients: |io, threads| (0..CROWD / threads).map(|_| Client::of_4(io)).collect(),
        speakers: |_| 1,
        said: r#"42["cast","0123456789abcdef"]"#,
        frames: CROWD as u64,
    },
];

/// Makes a server whose handlers pass arguments on as they came.
fn server() -> Io {
    let options = Options::default().shards(2);
    let io = Io::new(Config::default(), options, RUNTIME).expect("the defaults are valid");
    let everybody = io.clone();
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("cast", move |args: RawArgs| everybody.emit("cast", args));
    io
}

/// Runs this work on so many threads, and returns how many frames were written in a second.
fn frames_per_second(work: Work, threads: usize) -> f64 {
    let io = server();
    let said = text(work.said);
    let begin = &Barrier::new(threads);
    let total = Mutex::new(0.0);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (io, said, total) = (io.clone(), &said, &total);
            scope.spawn(move || {
                let mut clients = (work.clients)(&io, threads);
                let speakers = (work.speakers)(clients.len());
                let (mut spoken, mut began) = (0_u64, Instant::now());
                // The first second is not measured.
                for limit in [Duration::from_secs(1), MEASURED] {
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
                assert_eq!(io.sessions(), threads * clients.len(), "nobody was ended");
                begin.wait();
            });
        }
    });
    total.into_inner().expect("no thread has panicked")
}

fn main() {
    for work in WORK {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            one.push(frames_per_second(work, 1));
            two.push(frames_per_second(work, 2));
        }
        one.sort_by(f64::total_cmp);
        two.sort_by(f64::total_cmp);
        let (one, two) = (one[ROUNDS / 2], two[ROUNDS / 2]);
        println!(
            "{}: {:.0} a second on one thread, {:.0} on two: {:.2} times as many, and each takes {:.2} times the processor",
            work.name,
            one,
            two,
            two / one,
            2.0 * one / two
        );
    }
}
