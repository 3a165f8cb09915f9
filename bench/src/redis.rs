//! A broker in memory, for a server of a cluster: it answers as Redis does, and keeps nothing.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Bytes, BytesMut};
use sio_app::adapter::{Driver, Duplex, Network, Runtime, Task, Wire};
use sio_app::{Cluster, Config, Io, Options};
use sio_proto::resp::{Decoder, Limits, Value};

use crate::world::RUNTIME;

/// How the bytes of a message to a channel begin.
const PUBLISH: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n";

/// What the broker answers to a message: one node has heard it.
const HEARD: &[u8] = b":1\r\n";

/// How many messages have come to the broker.
static PUBLISHED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static TASKS: RefCell<Vec<(Task, Arc<Flag>)>> = const { RefCell::new(Vec::new()) };
    /// What the broker has for the subscriber, and what wakes the subscriber.
    static TOLD: RefCell<(Vec<u8>, Option<Waker>)> = const { RefCell::new((Vec::new(), None)) };
}

/// Whether a task has been woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The functions of this world, with tasks that run only when somebody wakes them.
const WOKEN: Runtime = Runtime {
    spawn: |task| TASKS.with_borrow_mut(|tasks| tasks.push((task, Arc::new(Flag(AtomicBool::new(true)))))),
    ..RUNTIME
};

/// Time passes, but no row lasts until a task of the cluster has to do something.
const NETWORK: Network = Network {
    runtime: WOKEN,
    can_spawn: || true,
    connect: |_| Box::pin(async { Ok(Box::new(Connection::default()) as Wire) }),
    resolve: |_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }),
    sleep: |_| Box::pin(pending()),
};

/// Makes a server of a cluster whose broker is there, and whose nodes share this secret.
///
/// # Panics
/// If the options are not valid.
#[must_use]
pub fn server(options: Options, secret: Option<&[u8]>) -> Io {
    let mut cluster = Cluster::from_url("redis://127.0.0.1").expect("a URL of Redis");
    if let Some(secret) = secret {
        cluster = cluster.secret(secret);
    }
    let options = options.shards(1).cluster(cluster);
    let io = Io::new(Config::default(), options, WOKEN).expect("the defaults are valid");
    Driver::new(&io).join_cluster(NETWORK);
    run_woken();
    io
}

/// Runs the tasks that have been woken, until none is.
#[inline]
pub fn run_woken() {
    TASKS.with_borrow_mut(|tasks| {
        let mut again = true;
        while again {
            again = false;
            for (task, flag) in tasks.iter_mut() {
                if flag.0.swap(false, Ordering::Relaxed) {
                    again = true;
                    let waker = Waker::from(Arc::clone(flag));
                    let _ = task.as_mut().poll(&mut Context::from_waker(&waker));
                }
            }
        }
    });
}

/// Lets other servers publish these messages to a channel. The server gets all of them with its
/// next read.
pub fn tell(channel: &str, messages: &[Bytes]) {
    let waker = TOLD.with_borrow_mut(|(told, waker)| {
        for message in messages {
            told.extend_from_slice(b">3\r\n$7\r\nmessage\r\n");
            put_text(told, channel.as_bytes());
            put_text(told, message);
        }
        waker.take()
    });
    waker.into_iter().for_each(Waker::wake);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// How many messages have been published so far.
#[must_use]
pub fn published() -> u64 {
    PUBLISHED.load(Ordering::Relaxed)
}

/// A connection to the broker. It has an answer to each command as soon as the command has come.
#[derive(Default)]
struct Connection {
    said: BytesMut,
    answers: Vec<u8>,
    waker: Option<Waker>,
    /// Whether this is the connection that hears channels.
    hears: bool,
}

impl Connection {
    fn answer(&mut self, command: &Value) {
        let word = |at: usize| command.items().and_then(|items| items.get(at)?.text()).cloned();
        let (name, first) = (word(0).unwrap_or_default(), word(1).unwrap_or_default());
        match &name[..] {
            b"SUBSCRIBE" => {
                self.hears = true;
                self.answers.extend_from_slice(b">3\r\n$9\r\nsubscribe\r\n");
                self.text(&first);
                self.answers.extend_from_slice(b":1\r\n");
            }
            b"PUBSUB" => {
                self.answers.extend_from_slice(b"*2\r\n");
                self.text(&word(2).unwrap_or_default());
                self.answers.extend_from_slice(b":2\r\n");
            }
            b"PUBLISH" => self.answers.extend_from_slice(HEARD),
            b"CLUSTER" => self
                .answers
                .extend_from_slice(b"-ERR This instance has cluster support disabled\r\n"),
            _ => self.answers.extend_from_slice(b"+OK\r\n"),
        }
    }

    fn text(&mut self, text: &[u8]) {
        put_text(&mut self.answers, text);
    }
}

impl Duplex for Connection {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.hears && self.answers.is_empty() {
            TOLD.with_borrow_mut(|(told, waker)| {
                std::mem::swap(told, &mut self.answers);
                *waker = Some(cx.waker().clone());
            });
        }
        if self.answers.is_empty() {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buffer.extend_from_slice(&self.answers);
        let read = self.answers.len();
        self.answers.clear();
        Poll::Ready(Ok(read))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.starts_with(PUBLISH) {
            // While a row is counted, this is all that comes, one message in each write. To read it
            // would be counted, too.
            PUBLISHED.fetch_add(1, Ordering::Relaxed);
            self.answers.extend_from_slice(HEARD);
        } else {
            self.said.extend_from_slice(bytes);
            let mut decoder = Decoder::new(Limits::default());
            while let Ok(Some(command)) = decoder.decode(&mut self.said) {
                self.answer(&command);
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
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
