//! Servers in this process that are nodes of a cluster, and clients of theirs: websockets of
//! another library.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use sio_app::{Cluster, Io, Options};
use tungstenite::{Message, WebSocket};

/// A server that ends with its value.
pub(super) struct Served {
    pub(super) io: Io,
    pub(super) address: SocketAddr,
    stop: Stop,
}

#[derive(Clone, Default)]
struct Stop(Arc<Mutex<(bool, Option<Waker>)>>);

impl Stop {
    fn asked(self) -> impl Future<Output = ()> + Send + 'static {
        poll_fn(move |cx| {
            let mut stop = self.0.lock().unwrap();
            stop.1 = Some(cx.waker().clone());
            if stop.0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl Served {
    pub(super) fn start(cluster: Cluster, setup: impl FnOnce(&Io)) -> Self {
        Self::start_with(Options::default(), cluster, setup)
    }

    pub(super) fn start_with(options: Options, cluster: Cluster, setup: impl FnOnce(&Io)) -> Self {
        let stop = Stop::default();
        let options = options
            .cluster(cluster)
            .max_connections_per_address(10_000)
            .shutdown_drain(std::time::Duration::ZERO);
        let (io, address) = crate::serve(options, setup, stop.clone().asked());
        Self { io, address, stop }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let waker = {
            let mut stop = self.stop.0.lock().unwrap();
            stop.0 = true;
            stop.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A websocket that is connected to `/`.
pub(super) fn dial(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tungstenite::client(url, stream).unwrap();
    assert!(said(&mut socket).starts_with('0'));
    socket.send(Message::text("40")).unwrap();
    assert!(said(&mut socket).starts_with("40{"));
    socket
}

/// The next packet.
pub(super) fn said(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

/// A client that notes the numbers that it hears, and when.
pub(super) struct Hearer(Arc<Mutex<Vec<(u64, Instant)>>>);

impl Hearer {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let mut socket = dial(address);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        // The thread ends with the connection.
        std::thread::spawn(move || {
            while let Ok(message) = socket.read() {
                let now = Instant::now();
                let Message::Text(text) = message else { continue };
                if text.as_str() == "2" && socket.send(Message::text("3")).is_err() {
                    return;
                }
                let number = text
                    .strip_prefix(r#"42["n","#)
                    .and_then(|rest| rest.split([',', ']']).next());
                if let Some(number) = number {
                    notes.lock().unwrap().push((number.parse().unwrap(), now));
                }
            }
        });
        Self(heard)
    }

    pub(super) fn heard(&self) -> Vec<(u64, Instant)> {
        self.0.lock().unwrap().clone()
    }
}
