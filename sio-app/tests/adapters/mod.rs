//! The tests that every adapter must pass, and their peers: a websocket client of another library,
//! and HTTP written by hand.
//!
//! An adapter's `tests/adapter.rs` includes this file by its path. Its functions `start`,
//! `start_tls` and `start_stream` say how the adapter serves. The rest is the same for all
//! adapters, and uses no runtime: the peers block.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the lint knows tests by their attribute, and these are their helpers; they wait for what may take a moment"
)]

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use sio_app::{Config, Io, Options};
use tungstenite::{Bytes, Message, WebSocket};

mod busy;
mod client;
mod confirms;
mod deciding;
mod drops;
mod echo;
mod flooding;
mod freezing;
mod http;
mod moments;
mod namespaces;
mod old;
mod older;
mod proxy;
#[cfg(feature = "tls")]
mod redirects;
mod resume;
mod strangers;
#[cfg(feature = "tls")]
mod tls;
mod trouble;

/// The longest time that a test waits for anything. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a value that another thread sends.
fn heard<T>(told: &mpsc::Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("it happens in time")
}

/// Waits until a condition is true.
fn eventually(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it happens in time");
        std::thread::yield_now();
    }
}

/// Lets other tasks run, in any runtime.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A future that becomes ready when the test says so.
#[derive(Clone, Default)]
struct Signal(Arc<Mutex<(bool, Option<Waker>)>>);

impl Signal {
    fn give(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        state.1.take().into_iter().for_each(Waker::wake);
    }

    fn given(self) -> impl Future<Output = ()> + Send + 'static {
        poll_fn(move |cx| {
            let mut state = self.0.lock().unwrap();
            state.1 = Some(cx.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

type Given = Pin<Box<dyn Future<Output = ()> + Send>>;
type Ends = Box<dyn FnOnce(std::io::Result<()>) + Send>;

/// A server on its own port.
struct Served {
    address: SocketAddr,
    io: Io,
    /// Ends the server gracefully.
    signal: Signal,
    ended: mpsc::Receiver<std::io::Result<()>>,
}

fn serve(setup: impl FnOnce(&Io)) -> Served {
    serve_with(Config::default(), Options::default(), setup)
}

fn serve_with(config: Config, options: Options, setup: impl FnOnce(&Io)) -> Served {
    Served::started(|signal, ends| crate::start(config, options, setup, signal, ends))
}

impl Served {
    /// Starts a server. `start` serves until the signal is given, and then calls its second
    /// argument.
    fn started(start: impl FnOnce(Given, Ends) -> (Io, SocketAddr)) -> Self {
        let (signal, (tell, ended)) = (Signal::default(), mpsc::channel());
        let (io, address) = start(
            Box::pin(signal.clone().given()),
            Box::new(move |end| drop(tell.send(end))),
        );
        Self {
            address,
            io,
            signal,
            ended,
        }
    }
}

/// Opens a blocking connection that does not wait for ever.
fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// Opens a session that has joined no namespace.
    fn open(address: SocketAddr) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, dial(address)).unwrap();
        let mut client = Self { socket };
        assert!(client.text().starts_with('0'));
        client
    }

    /// Opens a session and joins the main namespace.
    fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address);
        client.send("40");
        assert!(client.text().starts_with("40{\"sid\":"));
        client
    }

    fn send(&mut self, packet: &str) {
        self.socket.send(Message::text(packet)).unwrap();
    }

    fn send_binary(&mut self, bytes: &'static [u8]) {
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    /// Returns the next text message, and answers pings that come before it.
    fn text(&mut self) -> String {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) if text == "2" => self.send("3"),
                Message::Text(text) => return text.to_string(),
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    fn binary(&mut self) -> Bytes {
        match self.socket.read().unwrap() {
            Message::Binary(bytes) => bytes,
            other => panic!("expected binary, got {other:?}"),
        }
    }

    /// Waits until the server closes the connection.
    fn closed(&mut self) {
        loop {
            match self.socket.read() {
                Ok(Message::Close(_)) => return,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => {
                    assert!(!is_timeout(&error), "it is closed in time");
                    return;
                }
                Err(_) => return,
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
