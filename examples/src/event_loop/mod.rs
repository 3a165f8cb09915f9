//! An event loop without an async runtime: one thread and a poller run all of [`sio_app`].
//!
//! ```text
//!          ┌──────────────────────────────── asleep, no longer than the next deadline ◄──┐
//!          ▼                                                                             │
//!   the poller's events ─┐                                                               │
//!   wakers, any thread  ─┼─► the ready queue ─► each entry in it is polled once ─────────┘
//!   tasks of handlers   ─┘      a server: accepts, does what is due
//!                               a connection: `Connection::poll`
//!                               a task: a handler that waits
//! ```
//! Everything that can be woken is an *entry*. An entry stands in the ready queue at most once, so
//! the queue is never longer than the number of entries. An entry may be polled although there is
//! nothing to do, so nobody has to know why an entry was woken.
//!
//! Copy this code for a loop of your own. A loop needs only a few parts: [`RUNTIME`], which is four
//! functions; `tcp`, the two ends of a socket; code that accepts connections; and calls of
//! [`Driver::handle_timeout`] and [`Driver::sweep`] in time. [`sio_app`] has the rest.
//!
//! ```no_run
//! use sio_app::{Config, Io, Options, Socket};
//! use sio_examples::event_loop::{EventLoop, RUNTIME};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME)?;
//!     io.of("/").on("chat", |socket: Socket, text: String| socket.broadcast().emit("chat", text));
//!     let mut event_loop = EventLoop::new()?;
//!     event_loop.serve(&io, std::net::TcpListener::bind("127.0.0.1:3000")?)?;
//!     event_loop.run()?;
//!     Ok(())
//! }
//! ```

mod clock;
mod inbox;
mod server;
mod tcp;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mio::{Events, Interest, Token};
use sio_app::Io;
use sio_app::adapter::{Connection, Driver, Runtime, Task, fill_from_stock};

use inbox::{EntryWaker, Inbox};
use server::Served;
use tcp::{TcpOutlet, TcpSource};

/// The functions that [`sio_app`] needs from a runtime.
pub const RUNTIME: Runtime = Runtime {
    now: clock::now,
    unix_time: clock::unix_time,
    spawn: inbox::spawn,
    fill: |out| {
        fill_from_stock(out, |bytes| {
            getrandom::fill(bytes).expect("the operating system gives random bytes")
        });
    },
};

/// The poller's token for the inbox. The token of an entry is its slot.
const INBOX: Token = Token(usize::MAX);

/// The most events that are taken from the poller at one time.
const EVENTS: usize = 1024;

/// The size of the buffer that bytes are read into. All connections share one buffer.
const READ_BYTES: usize = 64 * 1024;

/// The event loop. It belongs to the thread that runs it. Several loops on several threads may
/// serve the same [`Io`].
#[derive(Debug)]
pub struct EventLoop {
    poll: mio::Poll,
    inbox: Arc<Inbox>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// The slots of the servers.
    servers: Vec<usize>,
    scratch: Box<[u8]>,
}

/// Something that can be woken.
#[derive(Debug)]
struct Entry {
    wakes: Arc<EntryWaker>,
    waker: Waker,
    what: What,
}

enum What {
    Server(Box<Served>),
    Connection(Box<Client>),
    Task(Task),
}

/// A connection, and the end of its socket that the loop reads.
struct Client {
    connection: Connection,
    stream: Arc<mio::net::TcpStream>,
    /// Whether the poller has reported room to write that has not been used yet.
    writable: bool,
}

impl EventLoop {
    /// Creates a loop without entries.
    ///
    /// # Errors
    /// If the operating system gives no poller.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let inbox = Inbox::new(mio::Waker::new(poll.registry(), INBOX)?);
        Ok(Self {
            poll,
            inbox,
            entries: Vec::new(),
            free: Vec::new(),
            servers: Vec::new(),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Serves a listener until [`Io::close`]. `io` must have been made with [`RUNTIME`].
    ///
    /// # Errors
    /// If the poller does not take the listener.
    pub fn serve(&mut self, io: &Io, listener: TcpListener) -> io::Result<()> {
        self.serve_shards(io, listener, 0..Driver::new(io).shards())
    }

    /// Serves a listener that several loops share. This loop handles the deadlines of the shards in
    /// `shards`. Every shard needs a loop.
    ///
    /// # Errors
    /// If the poller does not take the listener.
    pub fn serve_shards(&mut self, io: &Io, listener: TcpListener, shards: Range<usize>) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        let slot = self.free_slot();
        self.poll
            .registry()
            .register(&mut listener, Token(slot), Interest::READABLE)?;
        self.fill(slot, What::Server(Box::new(Served::new(io.clone(), listener, shards))));
        self.servers.push(slot);
        Ok(())
    }

    /// Adds a task of your own.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.inbox.spawn(Box::pin(task));
    }

    /// Runs until all its servers have ended: [`Io::close`] has been called, and all connections
    /// have ended by themselves or after
    /// [`Options::shutdown_timeout`](sio_app::Options::shutdown_timeout). Tasks that still wait at
    /// that time are dropped.
    ///
    /// # Errors
    /// If the poller fails.
    pub fn run(&mut self) -> io::Result<()> {
        let _here = inbox::enter(&self.inbox);
        let mut events = Events::with_capacity(EVENTS);
        let mut ready = VecDeque::new();
        while !self.servers.is_empty() {
            let deadline = self.servers.iter().filter_map(|slot| self.server(*slot)?.next()).min();
            let timeout = self.inbox.fall_asleep(deadline.map(clock::until));
            let polled = self.poll.poll(&mut events, timeout);
            self.inbox.awake();
            polled.or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            for event in &events {
                self.note(event);
            }
            self.wake_servers();
            self.turn(&mut ready);
        }
        // The end has woken entries: handlers that are called because of it, and sleeps that are
        // over. They get one last turn.
        self.turn(&mut ready);
        Ok(())
    }

    /// Handles an event that the poller reports for an entry.
    fn note(&mut self, event: &mio::event::Event) {
        let Some(Some(entry)) = self.entries.get_mut(event.token().0) else {
            return;
        };
        if let What::Connection(client) = &mut entry.what {
            client.writable |= event.is_writable();
        }
        entry.waker.wake_by_ref();
    }

    /// Wakes the servers that have a deadline now or earlier.
    fn wake_servers(&self) {
        let now = clock::now();
        let due = |slot: &&usize| {
            self.server(**slot)
                .and_then(Served::next)
                .is_some_and(|next| next <= now)
        };
        for entry in self
            .servers
            .iter()
            .filter(due)
            .filter_map(|slot| self.entries[*slot].as_ref())
        {
            entry.waker.wake_by_ref();
        }
    }

    fn server(&self, slot: usize) -> Option<&Served> {
        match self.entries.get(slot)?.as_ref()?.what {
            What::Server(ref server) => Some(server),
            What::Connection(_) | What::Task(_) => None,
        }
    }

    /// Polls every entry that is ready now. An entry that is woken meanwhile is polled in the next
    /// turn, after the poller was asked.
    fn turn(&mut self, ready: &mut VecDeque<usize>) {
        for task in self.inbox.take(ready) {
            let slot = self.free_slot();
            self.fill(slot, What::Task(task));
        }
        for slot in ready.drain(..) {
            let Some(mut entry) = self.entries.get_mut(slot).and_then(Option::take) else {
                continue;
            };
            entry.wakes.begin();
            if self.poll_entry(&mut entry).is_pending() {
                self.entries[slot] = Some(entry);
            } else {
                self.servers.retain(|server| *server != slot);
                self.free.push(slot);
            }
        }
    }

    fn poll_entry(&mut self, entry: &mut Entry) -> Poll<()> {
        let cx = &mut Context::from_waker(&entry.waker);
        match &mut entry.what {
            What::Task(task) => task.as_mut().poll(cx),
            What::Connection(client) => {
                let mut source = TcpSource::new(&client.stream, &mut self.scratch, &mut client.writable);
                client.connection.poll(cx, &mut source)
            }
            What::Server(server) => {
                let ended = server.poll(cx);
                while let Some((stream, peer)) = server.accept(cx) {
                    // On an error the connection is dropped, which closes it.
                    let _ = self.take_up(server.io(), stream, peer);
                }
                ended
            }
        }
    }

    fn take_up(&mut self, io: &Io, mut stream: mio::net::TcpStream, peer: sio_app::Peer) -> io::Result<()> {
        // Packets are small and each is written whole. Nagle's algorithm would only delay them.
        stream.set_nodelay(true)?;
        let slot = self.free_slot();
        // The poller reports each change once. So the connection registers for both events at the
        // beginning: the poller reports room to write again only after a write that did not fit.
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, Token(slot), interest);
        let stream = Arc::new(stream);
        let connection = registered.map(|()| Connection::new(io, peer, TcpOutlet(Arc::clone(&stream))));
        match connection {
            Ok(Some(connection)) => {
                let client = Client {
                    connection,
                    stream,
                    writable: false,
                };
                self.fill(slot, What::Connection(Box::new(client)));
                Ok(())
            }
            Ok(None) => {
                self.free.push(slot);
                Ok(())
            }
            Err(error) => {
                self.free.push(slot);
                Err(error)
            }
        }
    }

    fn free_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        })
    }

    /// Puts an entry into a free slot, and wakes it so that it is polled for the first time.
    fn fill(&mut self, slot: usize, what: What) {
        let wakes = EntryWaker::new(&self.inbox, slot);
        let waker = Waker::from(Arc::clone(&wakes));
        waker.wake_by_ref();
        self.entries[slot] = Some(Entry { wakes, waker, what });
    }
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Connection(_) => "Connection",
            Self::Task(_) => "Task",
        })
    }
}
