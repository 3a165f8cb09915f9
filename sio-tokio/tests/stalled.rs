//! Clients that read nothing of a broadcast, over real sockets: what they cost, and that others
//! lose nothing.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "it is about the time that readers really wait")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sio_tokio::{Config, Io, Options, Policy, Queued, Sent, Server, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The broadcast: 256 messages of 64 KiB, 16 MiB together.
const MESSAGES: usize = 256;
const BYTES: usize = 64 * 1024;
const READERS: usize = 20;
/// What may wait for a client that reads nothing.
const BOUND: usize = 4 << 20;
/// No step of these tests takes longer, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patiently<T>(step: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, step).await.expect("in time")
}

async fn serve() -> (Io, SocketAddr) {
    let config = Config::default().max_queued_bytes(BOUND);
    let server = Server::with_options(config, Options::default()).unwrap();
    let io = server.io().clone();
    io.of("/").create();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    (io, address)
}

/// A client that joins `/` over a websocket, and can read the frames that follow.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn join(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut client = Self {
            stream,
            read: Vec::new(),
        };
        let head = loop {
            client.fill().await;
            if let Some(end) = client.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        client.read.drain(..head);
        assert!(client.frame().await.starts_with("0{"));
        client
            .stream
            .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0'])
            .await
            .unwrap();
        assert!(client.frame().await.starts_with("40{"));
        client
    }

    async fn fill(&mut self) {
        let read = patiently(self.stream.read_buf(&mut self.read)).await.unwrap();
        assert!(read > 0, "the server has closed the connection");
    }

    /// The text of the next frame.
    async fn frame(&mut self) -> String {
        loop {
            let len = match self.read.get(1) {
                Some(126) if self.read.len() >= 4 => {
                    Some((4, usize::from(self.read[2]) << 8 | usize::from(self.read[3])))
                }
                Some(127) if self.read.len() >= 10 => {
                    let len = self.read[2..10]
                        .iter()
                        .fold(0, |len, byte| len << 8 | usize::from(*byte));
                    Some((10, len))
                }
                Some(len) if *len < 126 => Some((2, usize::from(*len))),
                _ => None,
            };
            if let Some((head, len)) = len.filter(|(head, len)| self.read.len() >= head + len) {
                let frame: Vec<u8> = self.read.drain(..head + len).skip(head).collect();
                return String::from_utf8(frame).unwrap();
            }
            self.fill().await;
        }
    }

    /// Reads the whole broadcast, in order, up to the last message. With `skips`, messages may be
    /// left out. Returns the longest time between two messages.
    async fn hear_all(mut self, skips: bool) -> Duration {
        let (mut last, mut longest, mut next) = (Instant::now(), Duration::ZERO, 0);
        while next < MESSAGES {
            let frame = loop {
                let frame = self.frame().await;
                if frame != "2" {
                    break frame;
                }
            };
            let number = frame
                .strip_prefix("42[\"part\",")
                .and_then(|rest| rest.split(',').next());
            let number: usize = number.and_then(|number| number.parse().ok()).unwrap();
            assert!(number == next || skips && number > next, "{number} instead of {next}");
            next = number + 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    }
}

/// The resident memory of this process. Server and clients are in it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// Broadcasts to readers and to clients that read nothing. Checks that the readers lose nothing,
/// and that memory does not grow by more than `most`. Returns the counts of the broadcasts.
fn cast(stalled: usize, policy: Option<Policy>, most: usize) -> (Sent, Vec<(bool, Queued)>) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (io, address) = serve().await;
        let skips = policy
            .as_ref()
            .is_some_and(|policy| format!("{policy:?}").contains("newest"));
        let mut silent = Vec::new();
        for _ in 0..stalled {
            silent.push(Client::join(address).await);
        }
        let slow = io.sockets();
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let client = Client::join(address).await;
            readers.push(tokio::spawn(client.hear_all(skips)));
        }
        let readers_only: Vec<Socket> = io
            .sockets()
            .into_iter()
            .filter(|socket| !slow.contains(socket))
            .collect();
        let text = "x".repeat(BYTES);
        let (before, mut highest, mut sum) = (resident(), 0, Sent::default());
        for number in 0..MESSAGES {
            // The sender goes at the pace of those who read.
            for reader in &readers_only {
                patiently(reader.ready()).await.unwrap();
            }
            sum += match &policy {
                None => io.emit("part", (number, &text)),
                Some(policy) => io.policy(policy.clone()).emit("part", (number, &text)),
            };
            highest = highest.max(resident());
        }
        for reader in readers {
            let longest = patiently(reader).await.unwrap();
            assert!(longest < Duration::from_secs(20), "{longest:?}");
        }
        let grown = highest.saturating_sub(before);
        assert!(grown < most, "memory has grown by {grown} bytes");
        let slow = slow.iter().map(|socket| (socket.is_connected(), socket.queued()));
        let slow = slow.collect();
        drop(silent);
        (sum, slow)
    })
}

/// Readers have buffers of their own, and so has the allocator.
const SLACK: usize = 48 << 20;

/// A stalled reader of a broadcast is disconnected when its queue is full. It costs no more than
/// that, and others lose nothing.
#[test]
fn a_stalled_reader_is_ended_and_others_lose_nothing() {
    let (sent, slow) = cast(1, None, 2 * BOUND + SLACK);
    assert!(sent.reached >= READERS * MESSAGES, "{sent:?}");
    assert_eq!(sent.refused, 1, "{sent:?}");
    assert!(!slow[0].0);
}

/// With a policy, clients that read nothing stay, and cost no more than their bounds.
#[test]
fn stalled_readers_may_stay() {
    let (sent, slow) = cast(4, Some(Policy::DROP), 4 * 2 * BOUND + SLACK);
    assert!(sent.dropped > 0 && sent.refused == 0, "{sent:?}");
    let stays = |(connected, queued): &(bool, Queued)| *connected && queued.bytes <= BOUND;
    assert!(slow.iter().all(stays), "{slow:?}");
}

/// With a key, one message waits for each client that reads nothing.
#[test]
fn the_newest_message_waits_for_stalled_readers() {
    let (sent, slow) = cast(4, Some(Policy::newest("")), SLACK);
    assert_eq!((sent.dropped, sent.refused), (0, 0), "{sent:?}");
    assert!(
        slow.iter().all(|(connected, queued)| *connected && queued.packets <= 1),
        "{slow:?}"
    );
}
