//! A client whose own program is slow: handlers that wait, providers that never answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sio_app::client::{self, BuildError, ClientConfigError, Credentials};
use sio_app::{Ack, EmitError, Socket};

use super::client::{run, url, ways};
use super::{eventually, heard, serve};

/// The limit `max_waiting_handlers`: one read brings more events than may be handled at once. All
/// of them are handled in the end, although each handler waits for an answer of the server.
#[test]
fn handlers_that_wait_have_a_limit() {
    const EVENTS: u32 = 200;
    for (transports, limit) in ways().into_iter().zip([1, 3, 7]) {
        let server = serve(|io| {
            io.of("/")
                .on("flood", |socket: Socket| {
                    (0..EVENTS).try_for_each(|number| socket.emit("work", number).map(drop))
                })
                .on("double", |_: Socket, number: u32, ack: Ack| ack.send(2 * number));
        });
        let url = url(server.address);
        run(async move {
            let builder = crate::client(&url).transports(transports).max_waiting_handlers(limit);
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            let (waiting, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (tell, told) = mpsc::channel();
            let highest = Arc::clone(&most);
            root.on("work", move |socket: client::Socket, number: u32| {
                let (waiting, most, tell) = (Arc::clone(&waiting), Arc::clone(&most), tell.clone());
                most.fetch_max(waiting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                async move {
                    let double: u32 = socket.emit_with_ack("double", number).await.unwrap();
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    tell.send(double).unwrap();
                }
            });
            root.connect().unwrap();
            root.emit("flood", ()).unwrap();
            let mut doubles: Vec<u32> = (0..EVENTS).map(|_| heard(&told)).collect();
            doubles.sort_unstable();
            assert!(doubles.into_iter().eq((0..EVENTS).map(|number| 2 * number)));
            assert_eq!(highest.load(Ordering::SeqCst), limit);
        });
    }
}

/// The limit `max_inbox_bytes`, for handlers: a client whose handlers do not finish stops reading,
/// and loses no event.
#[test]
fn events_that_wait_for_handlers_have_a_limit() {
    const EVENTS: u32 = 200;
    let server = serve(|io| {
        io.of("/").on("flood", |socket: Socket| {
            for number in 0..EVENTS {
                socket.emit("work", (number, "x".repeat(1000)))?;
            }
            Ok::<(), EmitError>(())
        });
    });
    let url = url(server.address);
    run(async move {
        let builder = crate::client(&url).max_waiting_handlers(1).max_inbox_bytes(5000);
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        let (tell, told) = mpsc::channel();
        root.on("work", move |(number, _): (u32, String)| {
            let tell = tell.clone();
            async move {
                super::yield_now().await;
                tell.send(number).unwrap();
            }
        });
        root.connect().unwrap();
        root.emit("flood", ()).unwrap();
        for number in 0..EVENTS {
            assert_eq!(heard(&told), number);
        }
    });
}

/// A limit of 0 is a mistake, and is told.
#[test]
fn limits_of_zero_are_refused() {
    run(async {
        let builder = || crate::client("http://localhost:1");
        for (builder, name) in [
            (builder().max_waiting_handlers(0), "max_waiting_handlers"),
            (builder().max_inbox_bytes(0), "max_inbox_bytes"),
            (builder().inbox_reserve_bytes(0), "inbox_reserve_bytes"),
        ] {
            let built = builder.build();
            assert!(
                matches!(built, Err(BuildError::Config(ClientConfigError::Zero(zero))) if zero == name),
                "{built:?}"
            );
        }
    });
}

/// Counts what lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Client C20: a provider of credentials that never answers leaves nothing behind.
#[test]
fn a_provider_that_never_answers_is_given_up() {
    run(async {
        let (live, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (lives, asks) = (Arc::clone(&live), Arc::clone(&asked));
        let soon = Duration::from_millis(20);
        let builder = crate::client("http://127.0.0.1:1")
            .config(|config| {
                let config = config.connect_timeout(soon).reconnection_delay(soon);
                config.reconnection_delay_max(soon)
            })
            .credentials(move |_| {
                let live = Live::new(&lives);
                asks.fetch_add(1, Ordering::SeqCst);
                async move {
                    let _live = live;
                    std::future::pending::<Result<Credentials, String>>().await
                }
            });
        let client = builder.connect().unwrap();
        eventually(|| asked.load(Ordering::SeqCst) >= 5);
        assert!(live.load(Ordering::SeqCst) <= 2, "the old one goes with the new one");
        client.close();
        eventually(|| live.load(Ordering::SeqCst) == 0);
    });
}
