//! Clients that are dropped at any moment.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sio_app::client::{self, Transport};
use sio_app::{HandlerError, Socket};

use super::client::{run, url, ways};
use super::{Served, eventually, serve};

/// A client that holds one clone of `live` as long as its task or a handle lives.
fn client(address: SocketAddr, transports: Vec<Transport>, live: &Arc<()>) -> client::Client {
    let live = Arc::clone(live);
    crate::client(&url(address))
        .transports(transports)
        .on_error(move |_: &str, _: &str, _: &HandlerError| _ = &live)
        .build()
        .unwrap()
}

fn answering() -> Served {
    serve(|io| {
        io.of("/")
            .on("never", |_: Socket| {})
            .on("call", |socket: Socket| socket.emit("called", ()));
    })
}

/// Client C19: a client is dropped after each of its first states, while a timer and an
/// acknowledgement are pending. Its task ends, and its connections with it.
#[test]
fn a_client_may_be_dropped_after_each_state() {
    let server = answering();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let places = [(silent.local_addr().unwrap(), 2), (nobody, 4), (server.address, 4)];
    for transports in ways() {
        for (address, most) in places {
            // A client on one transport has no third state.
            let most = if transports.len() == 1 { most.min(3) } else { most };
            for states in 0..most {
                let live = Arc::new(());
                let (held, transports) = (Arc::clone(&live), transports.clone());
                run(async move {
                    let client = client(address, transports, &held);
                    let mut told = client.states();
                    let root = client.of("/").unwrap();
                    let ack = root.emit_with_ack::<u32>("never", ());
                    root.connect().unwrap();
                    for _ in 0..states {
                        told.next_state().await.unwrap();
                    }
                    drop((client, root, ack));
                });
                eventually(|| Arc::strong_count(&live) == 1);
            }
        }
    }
    eventually(|| server.io.sessions() == 0 && server.io.connections() == 0);
}

/// Client C19: the last handle is dropped by a handler, which runs in the client's task.
#[test]
fn a_handler_may_drop_the_last_handle() {
    let server = answering();
    for transports in ways() {
        let live = Arc::new(());
        let (address, held) = (server.address, Arc::clone(&live));
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        run(async move {
            let client = client(address, transports, &held);
            let root = client.of("/").unwrap();
            let last = Mutex::new(Some(client));
            root.on("called", move || {
                count.fetch_add(usize::from(last.lock().unwrap().take().is_some()), Ordering::SeqCst);
            });
            root.connect().unwrap();
            root.emit("call", ()).unwrap();
        });
        eventually(|| Arc::strong_count(&live) == 1);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
    eventually(|| server.io.sessions() == 0 && server.io.connections() == 0);
}
