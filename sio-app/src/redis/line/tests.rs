//! Which connections a turn polls, with a broker whose connections wake only the waker that they
//! were polled with last.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use sio_proto::broker::{BrokerConfig, Command, Event, StreamPosition};
use sio_proto::resp::{Decoder, Limits, Value};

use crate::client::network::{Network, Wire};
use crate::link::pipe::Duplex;
use crate::lock::Mutex;
use crate::redis::{BrokerBuilder, BrokerHandle};
use crate::tests::{Counted, RUNTIME, run_tasks_with, set_now};

thread_local! {
    static ENDS: RefCell<Vec<Arc<Mutex<End>>>> = const { RefCell::new(Vec::new()) };
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    /// Whether the listener takes no entries of streams, and who waits until it does.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
    static WAITS: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// The broker's end of a connection. Each piece comes with a read of its own.
#[derive(Default)]
struct End {
    asked: BytesMut,
    said: VecDeque<Bytes>,
    reads: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether the connection takes no bytes.
    is_full: bool,
    /// How many messages were published.
    published: usize,
    hears: bool,
    reads_stream: bool,
}

impl End {
    fn answer(&mut self, parts: &[Value]) {
        let text = |at: usize| parts.get(at).and_then(Value::text).cloned().unwrap_or_default();
        let (name, channel) = (text(0), text(1));
        let answer = match &name[..] {
            b"HELLO" => Bytes::from_static(b"%0\r\n"),
            b"SUBSCRIBE" => {
                self.hears = true;
                let channel = String::from_utf8_lossy(&channel).into_owned();
                format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len()).into()
            }
            b"PUBLISH" => {
                self.published += 1;
                Bytes::from_static(b":1\r\n")
            }
            b"TIME" => Bytes::from_static(b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n"),
            b"XREVRANGE" => Bytes::from_static(b"*0\r\n"),
            b"XREAD" => {
                self.reads_stream = true;
                return;
            }
            _ => Bytes::from_static(b"-ERR unknown command\r\n"),
        };
        self.said.push_back(answer);
    }
}

struct Connection(Arc<Mutex<End>>);

impl Duplex for Connection {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut end = self.0.lock();
        end.reads += 1;
        match end.said.pop_front() {
            Some(said) => {
                into.extend_from_slice(&said);
                Poll::Ready(Ok(said.len()))
            }
            None => {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut end = self.0.lock();
        if end.is_full {
            end.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        end.asked.extend_from_slice(bytes);
        let mut decoder = Decoder::new(Limits::default());
        while let Ok(Some(Value::List(parts))) = decoder.decode(&mut end.asked) {
            end.answer(&parts);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn connect(_: SocketAddr) -> crate::client::network::Dialing {
    let end = Arc::new(Mutex::new(End::default()));
    ENDS.with_borrow_mut(|ends| ends.push(Arc::clone(&end)));
    Box::pin(async { Ok(Box::new(Connection(end)) as Wire) })
}

const NETWORK: Network = Network {
    runtime: RUNTIME,
    can_spawn: || true,
    connect,
    resolve: |_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }),
    sleep: |_| Box::pin(std::future::pending()),
};

/// A task that runs only when it has been woken.
#[derive(Default)]
struct Task(Counted);

impl Task {
    /// Returns what the listener has heard.
    fn run_woken(&self) -> Vec<Event> {
        for _ in 0..100 {
            if self.0.take() == 0 {
                return EVENTS.take();
            }
            run_tasks_with(&self.0.waker());
        }
        panic!("the task is always woken");
    }
}

fn may_read(waker: &Waker) -> bool {
    let holds = HOLDS.get();
    WAITS.set(holds.then(|| waker.clone()));
    !holds
}

/// A broker that hears the channel `c`, and the two ends of its connections: the one for
/// publishing, and the one for subscribing.
fn connected() -> (Task, BrokerHandle, [Arc<Mutex<End>>; 2]) {
    set_now(1_000_000);
    let config = BrokerConfig::from_url("redis://127.0.0.1").unwrap();
    let take = |events: &mut Vec<Event>| EVENTS.with_borrow_mut(|all| all.append(events));
    let broker = BrokerBuilder::new(NETWORK, config)
        .connect_in_batches(take, may_read)
        .unwrap();
    broker.send(Command::Subscribe {
        channel: "c".into(),
        sharded: false,
    });
    let task = Task::default();
    run_tasks_with(&task.0.waker());
    let events = task.run_woken();
    assert!(events.contains(&Event::Up), "{events:?}");
    let mut ends = ENDS.take();
    ends.sort_by_key(|end| end.lock().hears);
    (task, broker, ends.try_into().ok().unwrap())
}

fn publish(broker: &BrokerHandle) {
    broker.send(Command::Publish {
        channel: "c".into(),
        payload: "p".into(),
        sharded: false,
    });
}

/// Lets the broker say the message `m` so often, and wakes who reads.
fn tell(end: &Mutex<End>, times: usize) {
    let reader = {
        let mut end = end.lock();
        let message = Bytes::from_static(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        end.said.extend(vec![message; times]);
        end.reader.take()
    };
    reader.unwrap().wake();
}

fn reads(ends: &[Arc<Mutex<End>>; 2]) -> [usize; 2] {
    [&ends[0], &ends[1]].map(|end| std::mem::take(&mut end.lock().reads))
}

/// Only the connection that was woken, or that has bytes to write, is polled.
#[test]
fn a_connection_with_nothing_to_do_is_not_polled() {
    let (task, broker, ends) = connected();
    let _ = reads(&ends);
    tell(&ends[1], 1);
    assert_eq!(task.run_woken().len(), 1);
    assert_eq!(reads(&ends), [0, 2]);
    publish(&broker);
    assert_eq!(task.run_woken(), []);
    assert_eq!(ends[0].lock().published, 1);
    assert_eq!(reads(&ends), [2, 0], "the answer, and nothing behind it");
    broker.close();
    task.run_woken();
}

/// A connection that has more to read than one turn takes is read on without being woken again.
#[test]
fn a_connection_that_was_not_read_to_its_end_is_read_on() {
    let (task, broker, ends) = connected();
    tell(&ends[1], 1000);
    assert_eq!(task.run_woken().len(), 1000);
    broker.close();
    task.run_woken();
    assert_eq!(run_tasks_with(&task.0.waker()), 0, "it ends with its connections");
}

/// A connection that takes no bytes is written to when it has room. It tells so the waker that it
/// was polled with.
#[test]
fn a_connection_that_was_full_is_written_to_when_it_has_room() {
    let (task, broker, ends) = connected();
    ends[0].lock().is_full = true;
    publish(&broker);
    assert_eq!(task.run_woken(), []);
    publish(&broker);
    assert_eq!(task.run_woken(), []);
    assert_eq!(ends[0].lock().published, 0);
    let writer = {
        let mut end = ends[0].lock();
        end.is_full = false;
        end.writer.take()
    };
    writer.unwrap().wake();
    assert_eq!(task.run_woken(), []);
    assert_eq!(ends[0].lock().published, 2);
    broker.close();
    task.run_woken();
}

/// What comes while the listener takes nothing is read when it takes something again. The
/// connection is not woken again for it.
#[test]
fn a_connection_that_was_not_read_is_read_later() {
    let (task, broker, ends) = connected();
    broker.send(Command::ReadStream {
        stream: "s".into(),
        after: StreamPosition::End,
    });
    assert!(matches!(&task.run_woken()[..], [Event::Reading { .. }]));
    let [reader] = &ENDS.take()[..] else {
        panic!("one connection more")
    };
    assert!(reader.lock().reads_stream);
    HOLDS.set(true);
    let entry = b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$6\r\n9000-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    let wakes = {
        let mut end = reader.lock();
        end.said.push_back(Bytes::from_static(entry));
        end.reader.take()
    };
    wakes.unwrap().wake();
    assert_eq!(task.run_woken(), []);
    // Other connections are read.
    tell(&ends[1], 1);
    assert!(matches!(&task.run_woken()[..], [Event::Message { .. }]));
    HOLDS.set(false);
    WAITS.take().unwrap().wake();
    assert!(matches!(&task.run_woken()[..], [Event::Entry { .. }]));
    broker.close();
    task.run_woken();
}

/// A task may be moved: what comes then wakes the task with its new waker.
#[test]
fn a_connection_wakes_the_task_where_it_runs_now() {
    let (before, broker, ends) = connected();
    let task = Task::default();
    // What comes for the old waker, and what comes for none.
    tell(&ends[1], 1);
    run_tasks_with(&task.0.waker());
    assert_eq!(EVENTS.take().len(), 1);
    let _ = before.0.take();
    tell(&ends[1], 1);
    assert_eq!(before.run_woken(), []);
    assert_eq!(task.run_woken().len(), 1);
    let _ = reads(&ends);
    tell(&ends[0], 1);
    assert_eq!((before.0.take(), task.run_woken()), (0, vec![]));
    assert_eq!(reads(&ends), [2, 0]);
    broker.close();
    task.run_woken();
}
