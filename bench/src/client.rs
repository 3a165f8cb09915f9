//! A client in memory, with its connection to the server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use sio_app::adapter::{Connection, Outlet, Source};
use sio_app::{Io, Peer};

use crate::wire::{get, text, upgrade};

/// What the server has written to a client. While a row is counted, only lengths are noted: a
/// socket that keeps the bytes would cost as much as the server for large messages.
#[derive(Debug, Default)]
struct Wall {
    bytes: AtomicU64,
    records: AtomicBool,
    record: Mutex<Vec<u8>>,
}

/// The server's end of the wall.
struct End(Arc<Wall>);

impl Outlet for End {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.0.records.load(Ordering::Relaxed) {
            let mut record = self.0.record.lock().unwrap_or_else(PoisonError::into_inner);
            record.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn try_write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        pieces.iter().try_fold(0, |sum, piece| Ok(sum + self.try_write(piece)?))
    }

    fn finish(&self) {}
}

/// The client's bytes that have not been read yet.
struct Said<'a>(&'a [u8]);

impl Source for Said<'_> {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let room = buffer.capacity() - buffer.len();
        let (now, later) = self.0.split_at(room.min(self.0.len()));
        buffer.extend_from_slice(now);
        self.0 = later;
        Poll::Ready(Ok(now.len()))
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client. Dropping it cuts its connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    wall: Arc<Wall>,
}

impl Client {
    /// A client whose connection has just been accepted.
    ///
    /// # Panics
    /// If the server takes no more connections.
    #[must_use]
    pub fn new(io: &Io) -> Self {
        let wall = Arc::new(Wall::default());
        let connection = Connection::new(io, Peer::default(), End(Arc::clone(&wall)));
        Self {
            connection: connection.expect("the limit of connections is not reached"),
            wall,
        }
    }

    /// A client with a websocket to this target, which has said this.
    #[must_use]
    pub fn on_websocket(io: &Io, target: &str, packets: &[&str]) -> Self {
        let mut client = Self::new(io);
        client.say(&upgrade(target));
        // The connection pauses behind the head of its handshake.
        crate::world::pass(1);
        client.say(b"");
        for packet in packets {
            client.say(&text(packet));
        }
        client
    }

    /// A client of 4.x.
    #[must_use]
    pub fn of_4(io: &Io) -> Self {
        Self::on_websocket(io, "/socket.io/?EIO=4&transport=websocket", &["40"])
    }

    /// A client of 2.x.
    #[must_use]
    pub fn of_2(io: &Io) -> Self {
        Self::on_websocket(io, "/socket.io/?EIO=3&transport=websocket", &[])
    }

    /// A client of 0.9.
    #[must_use]
    pub fn of_09(io: &Io) -> Self {
        let id = Self::handshake_09(io);
        Self::on_websocket(io, &format!("/socket.io/1/websocket/{id}"), &[])
    }

    /// A client of 0.6.
    #[must_use]
    pub fn of_06(io: &Io) -> Self {
        Self::on_websocket(io, "/socket.io/websocket", &[])
    }

    /// Makes the handshake of 0.9, and returns the id of the session.
    #[must_use]
    pub fn handshake_09(io: &Io) -> String {
        let mut client = Self::new(io);
        let answer = client.hear(&get("/socket.io/1/?t=1"));
        Self::id_of_09(&answer).to_owned()
    }

    /// Returns the id of the session in the answer to a handshake of 0.9.
    #[must_use]
    pub fn id_of_09(answer: &str) -> &str {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        body.split(':').next().unwrap_or_default()
    }

    /// Sends these bytes, and lets the server do everything that follows.
    #[inline]
    pub fn say(&mut self, bytes: &[u8]) {
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = self.connection.poll(cx, &mut Said(bytes));
    }

    /// Sends these bytes, and returns what the server writes.
    #[must_use]
    pub fn hear(&mut self, bytes: &[u8]) -> String {
        self.listen();
        self.say(bytes);
        self.heard()
    }

    /// Records from now on what the server writes.
    pub fn listen(&self) {
        self.wall.records.store(true, Ordering::Relaxed);
    }

    /// Returns what was recorded, and ends the recording.
    #[must_use]
    pub fn heard(&self) -> String {
        self.wall.records.store(false, Ordering::Relaxed);
        let mut record = self.wall.record.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&std::mem::take(&mut *record)).into_owned()
    }
}

/// Fails unless a text contains another exactly so often.
///
/// # Panics
/// If it does not.
pub fn expect(heard: &str, what: &str, times: usize) {
    let found = heard.matches(what).count();
    let shown: String = heard.chars().take(300).collect();
    assert_eq!(found, times, "{what:?} in {shown:?}");
}

/// Returns the id of a session of Engine.IO that has just been opened.
#[must_use]
pub fn sid_in(open: &str) -> &str {
    let (_, rest) = open.split_once("\"sid\":\"").unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}
