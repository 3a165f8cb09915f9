//! A client without a network: two clocks that the test moves, a resolver whose answers it chooses,
//! and connections whose other end it writes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use sio_proto::Time;

use super::network::{Dialing, Network, Wire};
use super::{Client, ClientBuilder, ConnectionState, DisconnectReason, Transport};
use crate::link::pipe::Duplex;
use crate::runtime::Runtime;
use crate::tests::{RUNTIME, now, run_tasks, set_now};

const OPEN: &str =
    "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";

/// One connection, as the server sees it.
#[derive(Default)]
struct End {
    to: Option<SocketAddr>,
    read: String,
    answers: VecDeque<Vec<u8>>,
    is_closed: bool,
}

thread_local! {
    static DATE: Cell<u64> = const { Cell::new(1_000_000) };
    static ADDRESS: Cell<u8> = const { Cell::new(1) };
    static RESOLVED: Cell<usize> = const { Cell::new(0) };
    static SLEEPS: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
    static ENDS: RefCell<Vec<End>> = const { RefCell::new(Vec::new()) };
    static REFUSES: Cell<bool> = const { Cell::new(false) };
    static STALLS: Cell<bool> = const { Cell::new(false) };
}

/// The client's end of a connection, by its number.
struct Near(usize);

impl Near {
    fn with<T>(&self, act: impl FnOnce(&mut End) -> T) -> T {
        ENDS.with_borrow_mut(|ends| act(&mut ends[self.0]))
    }
}

impl Duplex for Near {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.with(|end| match end.answers.pop_front() {
            Some(bytes) => {
                buffer.extend_from_slice(&bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            None => Poll::Pending,
        })
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|end| end.read.push_str(&String::from_utf8_lossy(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        // The test may have ended, and its ends with it.
        let _ = ENDS.try_with(|ends| {
            if let Some(end) = ends.borrow_mut().get_mut(self.0) {
                end.is_closed = true;
            }
        });
    }
}

fn connect(to: SocketAddr) -> Dialing {
    Box::pin(async move {
        if REFUSES.get() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if STALLS.get() {
            std::future::pending::<()>().await;
        }
        let number = ENDS.with_borrow_mut(|ends| {
            ends.push(End {
                to: Some(to),
                ..End::default()
            });
            ends.len() - 1
        });
        Ok(Box::new(Near(number)) as Wire)
    })
}

fn network() -> Network {
    Network {
        runtime: Runtime {
            unix_time: || DATE.get(),
            ..RUNTIME
        },
        can_spawn: || true,
        connect,
        resolve: |_, port| {
            RESOLVED.set(RESOLVED.get() + 1);
            let address = SocketAddr::from(([10, 0, 0, ADDRESS.get()], port));
            Box::pin(async move { Ok(vec![address]) })
        },
        sleep: |duration| {
            SLEEPS.with_borrow_mut(|sleeps| sleeps.push(duration));
            let until = now() + duration.as_micros() as u64;
            Box::pin(std::future::poll_fn(move |_| match now() >= until {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }))
        },
    }
}

/// A polling client whose delays have no jitter. Both clocks stand at the beginning.
fn client() -> Client {
    client_with(|builder| builder)
}

/// Such a client with more settings.
pub(super) fn client_with(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    set_now(1_000_000);
    let builder = ClientBuilder::new(network(), "http://server.example").no_proxy();
    let builder = builder.transports([Transport::Polling]);
    change(builder)
        .config(|config| config.randomization_factor(0.0))
        .connect()
        .unwrap()
}

/// Time passes on both clocks.
fn pass(millis: u64) {
    set_now(now() + millis * 1000);
    DATE.set(DATE.get() + millis / 1000);
    run_tasks();
}

/// The machine sleeps: only the clock of dates goes on. Then the task has its turn.
fn sleep(seconds: u64) {
    DATE.set(DATE.get() + seconds);
    run_tasks();
}

/// How many connections were made.
fn connections() -> usize {
    ENDS.with_borrow(Vec::len)
}

/// What the client has written on all its connections since the last call.
fn written() -> String {
    ENDS.with_borrow_mut(|ends| ends.iter_mut().map(|end| std::mem::take(&mut end.read)).collect())
}

/// Answers on a connection.
fn answer(number: usize, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    ENDS.with_borrow_mut(|ends| ends[number].answers.push_back(head.into_bytes()));
    run_tasks();
}

/// A client that is connected by polling: its GET is held on connection 0, and its POSTs have
/// connection 1.
fn connected() -> Client {
    let client = client();
    run_tasks();
    answer(0, OPEN);
    answer(1, "ok");
    answer(0, "40{\"sid\":\"x\"}");
    assert!(client.of("/").unwrap().is_connected());
    written();
    client
}

/// Begins anew: what is left of a client goes.
fn reset() {
    crate::tests::drop_tasks();
    STALLS.set(false);
    REFUSES.set(false);
    ENDS.take();
}

fn next_state(states: &mut super::ConnectionStates) -> Option<ConnectionState> {
    match states.poll_next_state(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(state) => state,
        Poll::Pending => None,
    }
}

/// Client C4: a client that waits for its next attempt connects at once after a sleep in which its
/// clock stood still. A clock of dates that was set a little ahead, or back, is no sleep.
#[test]
fn a_sleep_ends_the_wait() {
    REFUSES.set(true);
    let client = client();
    let mut states = client.states();
    for _ in 0..4 {
        run_tasks();
        pass(5000);
    }
    let attempts = |states: &mut super::ConnectionStates| {
        let all = std::iter::from_fn(|| next_state(states));
        all.filter(|state| matches!(state, ConnectionState::Connecting(_)))
            .count()
    };
    attempts(&mut states);
    pass(100);
    DATE.set(DATE.get() - 3000);
    run_tasks();
    sleep(5);
    assert_eq!(attempts(&mut states), 0, "a small step, or a step back, is no sleep");
    sleep(60);
    assert_eq!(attempts(&mut states), 1);
    sleep(0);
    assert_eq!(attempts(&mut states), 0, "a sleep counts once");
}

/// Client C4: an open connection is probed after a sleep, at the latest five seconds behind it. A
/// server that answers is kept, and one that does not is left for fresh connections.
#[test]
fn a_sleep_is_followed_by_a_probe() {
    for answers in [true, false] {
        reset();
        let client = connected();
        let mut states = client.states();
        // Nothing wakes the task before its timer, and this timer is a clock that stood still.
        let longest = SLEEPS.with_borrow(|sleeps| sleeps.last().copied());
        assert!(longest <= Some(Duration::from_secs(5)), "{longest:?}");
        pass(5000);
        sleep(4);
        pass(5000);
        assert_eq!(written(), "", "nobody has slept");
        DATE.set(DATE.get() + 600);
        pass(5000);
        let probe = written();
        assert!(
            probe.contains("POST /socket.io/") && probe.ends_with("\r\n\r\n6"),
            "{probe}"
        );
        // The connection of the POST was idle for too long, so the probe has a fresh one.
        assert_eq!(connections(), 3);
        if answers {
            answer(2, "ok");
            answer(0, "2");
            pass(2900);
            assert_eq!(next_state(&mut states), None, "the server is there");
            continue;
        }
        pass(3000);
        let lost = ConnectionState::Lost(DisconnectReason::PingTimeout);
        assert_eq!(next_state(&mut states), Some(lost));
        let first_delay = ConnectionState::Waiting(Duration::from_secs(1));
        assert_eq!(next_state(&mut states), Some(first_delay));
        pass(1000);
        assert_eq!(next_state(&mut states), Some(ConnectionState::Connecting(1)));
        assert_eq!(connections(), 4);
        ENDS.with_borrow(|ends| {
            assert!(ends[..3].iter().all(|end| end.is_closed), "nothing old is kept");
            assert!(ends[3].read.starts_with("GET /socket.io/") && !ends[3].read.contains("sid="));
        });
    }
}

/// Client C4: an attempt that was under way when the machine fell asleep begins anew.
#[test]
fn a_sleep_ends_an_attempt() {
    let client = client();
    let mut states = client.states();
    run_tasks();
    assert_eq!(connections(), 1);
    sleep(3600);
    assert_eq!(connections(), 2);
    assert!(ENDS.with_borrow(|ends| ends[0].is_closed));
    assert_eq!(next_state(&mut states), Some(ConnectionState::Connecting(0)));
    assert!(matches!(next_state(&mut states), Some(ConnectionState::Failed(error)) if error.message.contains("slept")));
    assert_eq!(next_state(&mut states), Some(ConnectionState::Connecting(0)));
}

/// A client that waits for nothing is not woken by its own clocks.
#[test]
fn an_idle_client_sets_no_timer() {
    let client = client();
    client.of("/").unwrap().disconnect();
    run_tasks();
    pass(10_000);
    SLEEPS.take();
    for _ in 0..10 {
        pass(10_000);
        sleep(1000);
    }
    assert!(SLEEPS.take().is_empty());
}

/// Client C7: each attempt asks for the addresses of the name again, so a server that has moved is
/// found.
#[test]
fn each_attempt_resolves_the_name_again() {
    let client = client();
    for (round, address) in [(0, 1), (1, 7), (2, 9)] {
        ADDRESS.set(address);
        pass(4000);
        let asked = RESOLVED.get();
        assert_eq!(asked, round + 1);
        let to = ENDS.with_borrow(|ends| ends.last().and_then(|end| end.to));
        assert_eq!(to, Some(SocketAddr::from(([10, 0, 0, address], 80))));
        client.network_lost();
        run_tasks();
    }
    assert!(ENDS.with_borrow(|ends| ends.iter().all(|end| end.is_closed)));
}

#[test]
fn clocks_that_go_alike_are_not_ahead() {
    let mut clocks = super::clocks::Clocks::read(network());
    let start = now();
    for step in 1..1000u64 {
        set_now(start + step * 700_000);
        DATE.set(1_000_000 + step * 7 / 10);
        assert_eq!(clocks.look(network()), Duration::ZERO);
        assert!(clocks.next_look() > Time::from_micros(now()));
    }
}

/// Client C4: wherever the seconds of the clock of dates begin, a sleep is seen as at most as long
/// as it was, and as less than two seconds shorter.
#[test]
fn a_sleep_is_measured_to_two_seconds() {
    for phase in (0..1000).step_by(50) {
        for awake in (0..=5000).step_by(250) {
            for slept in (2000..=8000).step_by(125) {
                let date = |millis: u64| DATE.set(1_000_000 + (phase + millis) / 1000);
                set_now(1_000_000);
                date(0);
                let mut clocks = super::clocks::Clocks::read(network());
                set_now(1_000_000 + awake * 1000);
                date(awake + slept);
                let seen = clocks.look(network());
                let longest = Duration::from_millis(slept);
                assert!(seen <= longest, "{phase} {awake} {slept}: {seen:?}");
                let shortest = Duration::from_millis(slept - 2000);
                assert!(seen > shortest, "{phase} {awake} {slept}: {seen:?}");
            }
        }
    }
}

/// Brings a client to a state, and returns it.
type Way = fn() -> Client;

const WAYS: [(&str, Way); 8] = [
    ("idle", || {
        let builder = ClientBuilder::new(network(), "http://server.example").no_proxy();
        builder.build().unwrap()
    }),
    ("asked for credentials", || {
        let builder = ClientBuilder::new(network(), "http://server.example").no_proxy();
        let client = builder
            .credentials(|_| std::future::pending::<Result<super::Credentials, String>>())
            .connect()
            .unwrap();
        run_tasks();
        client
    }),
    ("dialing", || {
        STALLS.set(true);
        let client = client();
        run_tasks();
        client
    }),
    ("before the open packet", || {
        let client = client();
        run_tasks();
        client
    }),
    ("connected", connected),
    ("probed", || {
        let client = connected();
        client.wake();
        run_tasks();
        client
    }),
    ("waiting for the next attempt", || {
        REFUSES.set(true);
        let client = client();
        run_tasks();
        client
    }),
    ("saying goodbye", || {
        let client = connected();
        client.close();
        run_tasks();
        client
    }),
];

/// Client C19: in every state, with a timer pending, a client that is dropped leaves no task and no
/// connection.
#[test]
fn a_client_may_be_dropped_in_every_state() {
    for (state, way) in WAYS {
        let client = way();
        assert!(run_tasks() == 1, "{state}");
        drop(client);
        run_tasks();
        // The goodbye may take its time, and the end of its connection, too.
        pass(2000);
        pass(2000);
        assert_eq!(run_tasks(), 0, "{state}: the task has ended");
        assert!(ENDS.with_borrow(|ends| ends.iter().all(|end| end.is_closed)), "{state}");
        reset();
    }
}

/// Client C19: a runtime may end in every state. The connections end with the task, what somebody
/// waits for ends, and the handles say that the client was closed.
#[test]
fn a_runtime_may_end_in_every_state() {
    for (state, way) in WAYS {
        let client = way();
        let root = client.of("/").unwrap();
        let mut states = client.states();
        let mut ack = Box::pin(root.emit_with_ack::<u32>("never", ()));
        run_tasks();
        crate::tests::drop_tasks();
        assert!(ENDS.with_borrow(|ends| ends.iter().all(|end| end.is_closed)), "{state}");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(ack.as_mut().poll(&mut cx).is_ready(), "{state}");
        assert!(root.connect().is_err() && root.emit("late", ()).is_err(), "{state}");
        while next_state(&mut states).is_some() {}
        assert!(matches!(states.poll_next_state(&mut cx), Poll::Ready(None)), "{state}");
        reset();
    }
}

/// Client C19: a stream that is made after the client has ended has ended, too, also that of a
/// namespace that nobody has used before.
#[test]
fn a_stream_that_is_made_too_late_has_ended() {
    for closes in [true, false] {
        let client = connected();
        if closes {
            client.close();
            pass(2000);
            pass(2000);
            assert_eq!(run_tasks(), 0);
        } else {
            crate::tests::drop_tasks();
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let state = client.states().poll_next_state(&mut cx);
        assert!(matches!(state, Poll::Ready(None)), "{closes}");
        for name in ["/", "/another"] {
            let mut events = client.of(name).unwrap().events();
            assert!(matches!(events.poll_next_event(&mut cx), Poll::Ready(None)), "{name}");
        }
        reset();
    }
}

/// Client C19: the last handle may be dropped by a handler of the client itself, which runs in its
/// task.
#[test]
fn a_handler_may_drop_its_client() {
    for by_event in [false, true] {
        let client = client();
        let root = client.of("/").unwrap();
        let last = Arc::new(Mutex::new(Some(client)));
        let (at_connect, at_event) = (Arc::clone(&last), last);
        root.on_connect(move || {
            if !by_event {
                drop(at_connect.lock().unwrap().take());
            }
        });
        root.on("leave", move || drop(at_event.lock().unwrap().take()));
        drop(root);
        run_tasks();
        answer(0, OPEN);
        answer(1, "ok");
        answer(0, "40{\"sid\":\"x\"}\u{1e}42[\"leave\"]");
        pass(2000);
        pass(2000);
        assert_eq!(run_tasks(), 0);
        reset();
    }
}
