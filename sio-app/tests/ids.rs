//! Ids: what an application can do with them, and what it cannot do.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod memory;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use memory::{Script, Wall};
use sio_app::adapter::{Connection, Runtime, Time};
use sio_app::{Config, ConfigError, EmitError, HandlerError, Io, Options, Peer};

const RUNTIME: Runtime = Runtime {
    // Time passes with each look at the clock, so that pauses end.
    now: || {
        static NOW: AtomicU64 = AtomicU64::new(0);
        Time::from_micros(NOW.fetch_add(100, Ordering::Relaxed))
    },
    unix_time: || 784_111_777,
    spawn: std::mem::forget,
    fill: |out| {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        out.fill_with(|| NEXT.fetch_add(73, Ordering::Relaxed));
    },
};

/// A client on a websocket, and the bytes that it has been sent.
struct Client {
    _connection: Connection,
    wall: Wall,
}

impl Client {
    fn new(io: &Io, target: &str, packet: &str) -> Self {
        let wall = Wall::default();
        let mut connection = Connection::new(io, Peer::default(), wall.clone()).unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let frame = [&[0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0], packet.as_bytes()].concat();
        // What follows the head of the handshake is written after a pause, with the next poll.
        for bytes in [Some(request.into_bytes()), None, Some(frame)] {
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = connection.poll(cx, &mut Script(bytes));
        }
        Self {
            _connection: connection,
            wall,
        }
    }

    /// Returns what the client has been sent since the last call.
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.wall.take()).into_owned()
    }
}

const TODAY: (&str, &str) = ("/socket.io/?EIO=4&transport=websocket", "40");
const THEN: (&str, &str) = ("/socket.io/?EIO=3&transport=websocket", "40/room,");

/// Hardening A4.
#[test]
fn a_client_is_reached_by_either_id_and_nobody_else_is() {
    let io = Io::new(Config::default(), Options::default().shards(4), RUNTIME).unwrap();
    io.of("/room").create();
    let clients: Vec<Client> = [THEN, TODAY, TODAY, TODAY, TODAY]
        .iter()
        .map(|(target, packet)| Client::new(&io, target, packet))
        .collect();
    let victim = io
        .sockets()
        .into_iter()
        .find(|s| s.generation().as_str() == "1.x-2.x")
        .unwrap();
    let in_room = io.of("/room").sockets().pop().unwrap();
    let secret = victim.wire_id();
    assert_eq!(in_room.wire_id().reveal(), format!("/room#{}", secret.reveal()));
    assert!(
        clients[0].heard().contains(secret.reveal()),
        "it knows itself by the id of its session"
    );
    assert!(!secret.reveal().contains(victim.id().as_str()));
    for socket in [&victim, &in_room] {
        for id in [socket.id().as_str(), socket.wire_id().reveal()] {
            assert_eq!(io.socket(id).as_ref(), Some(socket), "{id}");
            io.of(socket.namespace()).to(id).emit("told", id.len());
            assert!(clients[0].heard().contains("told"), "by {id}");
            assert!(clients[1..].iter().all(|client| !client.heard().contains("told")));
        }
    }
    // From 3.0 on, both ids are the same.
    let today = io
        .sockets()
        .into_iter()
        .find(|s| s.generation().as_str() == "4.x")
        .unwrap();
    assert_eq!(today.wire_id().reveal(), today.id().as_str());
}

/// Hardening A4.
#[test]
fn a_room_that_a_client_may_choose_is_never_the_id_of_another() {
    let io = Io::new(Config::default(), Options::default().shards(4), RUNTIME).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    io.on_error(move |_, name, error| tell.lock().unwrap().push(format!("{name}: {error}")));
    let clients: Vec<Client> = (0..8).map(|_| Client::new(&io, TODAY.0, TODAY.1)).collect();
    let sockets = io.sockets();
    // The sockets are in four shards, and the rule holds in all of them.
    let host = &sockets[0];
    for thief in &sockets[1..] {
        let refused = thief.join(host.id());
        assert!(matches!(refused, Err(EmitError::ReservedRoom)), "{refused:?}");
    }
    assert!(host.join(host.id()).is_ok());
    io.to("nobody").join(host.id());
    io.except("nobody").join(host.id());
    let error = HandlerError::Emit(EmitError::ReservedRoom);
    assert_eq!(
        *told.lock().unwrap(),
        [format!("join: {error}"), format!("join: {error}")]
    );
    io.to(host.id()).emit("psst", ());
    let heard = clients.iter().filter(|client| client.heard().contains("psst")).count();
    assert_eq!(heard, 1);
    // The rule also holds just after the host has gone.
    let id = host.id();
    host.close();
    assert!(io.socket(&id).is_none());
    assert!(matches!(sockets[1].join(&id), Err(EmitError::ReservedRoom)));
}

/// Hardening A4.
#[test]
fn a_generator_that_gives_nothing_is_an_error() {
    let silent = Runtime {
        fill: |_| (),
        ..RUNTIME
    };
    let refused = Io::new(Config::default(), Options::default(), silent);
    assert!(matches!(refused, Err(ConfigError::Entropy)));
}
