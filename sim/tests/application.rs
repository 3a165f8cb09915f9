//! The application's side, from seeds: clients of `sio-app` in one process, with a clock and tasks
//! that stand still until a step moves them. The machines are simulated in `src`; here is what
//! `sio-app` adds: middlewares, handlers, patterns of namespaces.
//!
//! The promises are those of `docs/simulator.md`:
//! - 7: the futures of a session are bounded, those of sockets that have gone too;
//! - 12: nobody is let in whom a middleware refuses, whatever else is registered;
//! - 6: when all clients have gone, and all futures have ended, none is left.
//!
//! `SIO_APPLICATION_SEEDS=N` runs more seeds, from `SIO_APPLICATION_FROM` on. With
//! `SIO_APPLICATION_PROMISE=N`, only promise N ends the run, and of all others the first one that
//! is broken is named.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use fastrand::Rng;
use sio_app::adapter::{Connection, Driver, Outlet, Runtime, Source, Task, Time};
use sio_app::{Config, Io, Options, Peer, Socket};

/// How many seeds are run if nobody says how many.
const SEEDS: u64 = 300;

/// The namespaces that clients ask for. The last three are covered by the pattern that refuses.
const NAMES: [&str; 5] = ["/", "/slow", "/locked-1", "/locked-2", "/locked-x"];

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
    static TASKS: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
    /// How many futures may end.
    static TICKETS: Cell<usize> = const { Cell::new(0) };
}

const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.get()),
    unix_time: || 784_111_777,
    spawn: |task| TASKS.with_borrow_mut(|tasks| tasks.push(task)),
    fill: |out| {
        DRAWN.set(DRAWN.get() + 1);
        Rng::with_seed(DRAWN.get()).fill(out);
    },
};

/// A socket that takes everything.
struct Nowhere;

impl Outlet for Nowhere {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn finish(&self) {}
}

/// The client's bytes that have not been read yet.
struct Said(Vec<u8>);

impl Source for Said {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let bytes = std::mem::take(&mut self.0);
        buffer.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts the futures that are alive, for the session of each address.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<BTreeMap<u32, usize>>>);

struct Guard(Alive, u32);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.counts().entry(self.1).or_default() -= 1;
    }
}

impl Alive {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.0.lock().unwrap()
    }

    fn enter(&self, socket: &Socket) -> Guard {
        let session = match socket.handshake().peer().address.map(|address| address.ip()) {
            Some(IpAddr::V4(ip)) => ip.to_bits(),
            _ => panic!("each client has an address"),
        };
        *self.counts().entry(session).or_default() += 1;
        Guard(self.clone(), session)
    }

    /// The most futures of one session.
    fn most(&self) -> usize {
        self.counts().values().copied().max().unwrap_or_default()
    }
}

/// Waits until the world lets one future end.
async fn wait_for_a_ticket() {
    poll_fn(|_| match TICKETS.get().checked_sub(1) {
        Some(left) => {
            TICKETS.set(left);
            Poll::Ready(())
        }
        None => Poll::Pending,
    })
    .await;
}

fn run_tasks() {
    let mut tasks = TASKS.take();
    tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    TASKS.with_borrow_mut(|waiting| waiting.append(&mut tasks));
}

/// A frame of a client. Its mask is zero.
fn frame(packet: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0];
    assert!(packet.len() < 126, "a short packet");
    bytes.extend(packet.bytes());
    bytes
}

struct World {
    io: Io,
    rng: Rng,
    clients: Vec<Option<Connection>>,
    deciding: Alive,
    handling: Alive,
    /// How many middlewares of one session may wait, and how many of its events.
    most: (usize, usize),
    intruders: Arc<AtomicUsize>,
    opened: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let most = (rng.usize(1..5), rng.usize(4..40));
        let options = Options::default()
            .shards(rng.usize(1..3))
            .max_waiting_middlewares(most.0)
            .max_waiting_events(most.1);
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        let (deciding, handling, intruders) = (Alive::default(), Alive::default(), Arc::default());
        let world = Self {
            io,
            rng,
            clients: (0..3).map(|_| None).collect(),
            deciding,
            handling,
            most,
            intruders,
            opened: 0,
        };
        let alive = world.handling.clone();
        let _ = world.io.of("/").on("work", move |socket: Socket| {
            let guard = alive.enter(&socket);
            async move {
                wait_for_a_ticket().await;
                drop(guard);
            }
        });
        let alive = world.deciding.clone();
        let _ = world.io.of("/slow").with(move |socket: Socket| {
            let guard = alive.enter(&socket);
            async move {
                wait_for_a_ticket().await;
                drop(guard);
                Ok::<(), &str>(())
            }
        });
        let _ = world
            .io
            .of_pattern("/locked-*")
            .with(|_: Socket| Err::<(), _>("nobody comes in here"));
        world
    }

    /// Something is said to a name, or registered for it, which is covered by the pattern.
    fn address_a_name(&mut self) {
        let name = NAMES[self.rng.usize(2..NAMES.len())];
        let intruders = Arc::clone(&self.intruders);
        match self.rng.u32(0..3) {
            0 => _ = self.io.of(name).emit("news", "nobody hears this"),
            1 => {
                let _ = self
                    .io
                    .of(name)
                    .on_connect(move |_: Socket| _ = intruders.fetch_add(1, Ordering::Relaxed));
            }
            _ => {
                let _ = self
                    .io
                    .of(name)
                    .on("work", move |_: Socket| _ = intruders.fetch_add(1, Ordering::Relaxed));
            }
        }
    }

    fn say(&mut self, client: usize, bytes: Vec<u8>) {
        if let Some(connection) = &mut self.clients[client] {
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = connection.poll(cx, &mut Said(bytes));
        }
    }

    /// A client asks for the namespace with the slow middleware and leaves it, again and again, and
    /// each time in a read of its own: in one read it would be gone before anybody is asked.
    fn come_and_go(&mut self, client: usize) {
        for _ in 0..self.rng.usize(1..8) {
            self.say(client, frame("40/slow,"));
            self.say(client, frame("41/slow,"));
        }
    }

    fn step(&mut self) {
        let client = self.rng.usize(0..self.clients.len());
        match self.rng.u32(0..12) {
            0 => self.address_a_name(),
            1 => {
                // The old connection is cut.
                self.opened += 1;
                let ip = Ipv4Addr::from_bits(10 << 24 | self.opened);
                let peer = Peer {
                    address: Some(SocketAddr::new(ip.into(), 4000)),
                    ..Peer::default()
                };
                self.clients[client] = Connection::new(&self.io, peer, Nowhere);
                let opening = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
                               Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                self.say(client, opening.as_bytes().to_vec());
            }
            2..7 => {
                let name = NAMES[self.rng.usize(0..NAMES.len())];
                let ends = if name == "/" { String::new() } else { format!("{name},") };
                let mut all = frame(&format!("40{ends}"));
                for _ in 0..self.rng.usize(0..30) {
                    all.extend(frame(&format!("42{ends}[\"work\"]")));
                }
                if self.rng.bool() {
                    all.extend(frame(&format!("41{ends}")));
                }
                let times = self.rng.usize(1..4);
                self.say(client, all.repeat(times));
            }
            7 | 8 => TICKETS.set(self.rng.usize(0..8)),
            9 => {
                NOW.set(NOW.get() + self.rng.u64(1..400_000));
                let driver = Driver::new(&self.io);
                for shard in 0..driver.shards() {
                    let _ = driver.handle_timeout(shard, Waker::noop());
                }
            }
            10 => self.come_and_go(client),
            _ => {}
        }
        run_tasks();
    }

    /// What is wrong now.
    fn fault(&self) -> Option<String> {
        let intruders = self.intruders.load(Ordering::Relaxed);
        if intruders > 0 {
            return Some(format!(
                "promise 12 (Admission): {intruders} were let in where nobody may"
            ));
        }
        for name in &NAMES[2..] {
            let inside = self.io.of(name).sockets().len();
            if inside > 0 {
                return Some(format!(
                    "promise 12 (Admission): {inside} sockets are in {name}, where nobody may be"
                ));
            }
        }
        let (deciding, handling) = (self.deciding.most(), self.handling.most());
        if deciding > self.most.0 {
            let most = self.most.0;
            return Some(format!(
                "promise 7 (Price): {deciding} middlewares for a session, at most {most}"
            ));
        }
        if handling > self.most.1 {
            let most = self.most.1;
            return Some(format!(
                "promise 7 (Price): {handling} handlers for a session, at most {most}"
            ));
        }
        None
    }

    /// All clients go, and all futures may end.
    fn say_goodbye(&mut self) -> Option<String> {
        self.clients.iter_mut().for_each(|client| *client = None);
        TICKETS.set(usize::MAX);
        for _ in 0..100 {
            NOW.set(NOW.get() + 1_000_000);
            let driver = Driver::new(&self.io);
            (0..driver.shards()).for_each(|shard| _ = driver.handle_timeout(shard, Waker::noop()));
            run_tasks();
        }
        let (deciding, handling, sessions) = (self.deciding.most(), self.handling.most(), self.io.sessions());
        (deciding + handling + sessions > 0).then(|| {
            format!("promise 6 (Leftover): {deciding} middlewares, {handling} handlers, {sessions} sessions are left")
        })
    }
}

/// Runs a seed. Returns what is wrong, if something is.
fn run(seed: u64) -> Option<String> {
    NOW.set(1_000_000);
    DRAWN.set(seed << 32);
    TICKETS.set(0);
    drop(TASKS.take());
    let mut world = World::new(seed);
    let steps = world.rng.usize(10..80);
    for _ in 0..steps {
        world.step();
        let fault = world.fault();
        if fault.is_some() {
            return fault;
        }
    }
    let fault = world.say_goodbye();
    Driver::new(&world.io).clear();
    fault
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds = std::env::var("SIO_APPLICATION_SEEDS").ok();
    let seeds = seeds.map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let promise = std::env::var("SIO_APPLICATION_PROMISE").ok();
    let promise = promise.map(|number| format!("promise {number} ("));
    let mut others = 0;
    let from = std::env::var("SIO_APPLICATION_FROM").map_or(0, |from| from.parse().unwrap());
    for seed in from..from + seeds {
        let Some(fault) = run(seed) else { continue };
        match &promise {
            Some(promise) if !fault.starts_with(promise) => {
                if others == 0 {
                    eprintln!("\nseed {seed}: {fault}");
                }
                others += 1;
            }
            Some(_) | None => panic!("\nseed {seed}: {fault}"),
        }
    }
    assert_eq!(others, 0, "promises that are broken, but not this one");
}
