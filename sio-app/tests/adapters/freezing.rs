//! Connections that are dead without a word: what a machine finds when it wakes up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sio_app::client::{ConnectionState, DisconnectReason, Recovery};
use sio_app::{Config, Options, RecoveryConfig};

use super::client::{run, url, ways};
use super::{Served, eventually, serve_with};

/// A relay whose connections can be frozen: they stay open, and nothing comes through any more. New
/// connections work.
struct Relay {
    address: SocketAddr,
    frozen: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Relay {
    fn to(server: &Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, target) = (listener.local_addr().unwrap(), server.address);
        let frozen = Arc::<Mutex<Arc<AtomicBool>>>::default();
        let current = Arc::clone(&frozen);
        // The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(target).unwrap();
                let (from_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let frozen = Arc::clone(&current.lock().unwrap());
                let also = Arc::clone(&frozen);
                std::thread::spawn(move || pass(from_client, server, &frozen));
                std::thread::spawn(move || pass(from_server, client, &also));
            }
        });
        Self { address, frozen }
    }

    fn freeze(&self) {
        let before = std::mem::take(&mut *self.frozen.lock().unwrap());
        before.store(true, Ordering::SeqCst);
    }
}

/// Passes bytes on until the connection ends. What a frozen connection gets is swallowed.
fn pass(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !frozen.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Client C4, C5: a stream of events goes on over a connection that was dead when the machine woke
/// up: the client notices within the time of its probe, comes back as the same client on fresh
/// connections, and hears each event once and in order.
#[test]
fn a_stream_goes_on_after_a_sleep() {
    const PART: u32 = 50;
    for transports in ways() {
        let config = Config::default()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_secs(20));
        let options = Options::default().recovery(RecoveryConfig::default());
        let server = serve_with(config, options, |io| _ = io.of("/").create());
        let relay = Relay::to(&server);
        let url = url(relay.address);
        let last = transports.last().copied();
        run(async move {
            let builder = crate::client(&url).transports(transports).config(|config| {
                let delay = Duration::from_millis(50);
                let config = config.wake_timeout(Duration::from_millis(300));
                config.reconnection_delay(delay).reconnection_delay_max(delay)
            });
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            let (mut events, mut states) = (root.events(), client.states());
            root.connect().unwrap();
            eventually(|| root.is_connected() && client.transport() == last);
            for part in 0..3 {
                for number in part * PART..(part + 1) * PART {
                    server.io.emit("tick", number);
                }
                if part == 1 {
                    client.wake();
                }
                for number in part * PART..(part + 1) * PART {
                    // The last argument is the offset.
                    let event = events.next_event().await.unwrap();
                    assert_eq!(event.args::<(u32, String)>().unwrap().0, number);
                }
                if part == 0 {
                    relay.freeze();
                }
            }
            assert_eq!(root.recovery(), Some(Recovery::Recovered));
            let mut lost = Vec::new();
            client.close();
            while let Some(state) = states.next_state().await {
                lost.extend(matches!(state, ConnectionState::Lost(_)).then_some(state));
            }
            assert_eq!(lost, [ConnectionState::Lost(DisconnectReason::PingTimeout)]);
        });
    }
}
