//! Requests of one session that come on several connections at the same time, and are read by
//! several threads.

use std::io;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};
use std::thread;

use super::{Driven, Script, fetch, server, set_now, text};
use crate::adapter::Driver;
use crate::adapter::{Connection, Outlet};
use crate::{Io, Method, Peer};

/// The writes on several connections, in order.
type Log = Arc<Mutex<Vec<(&'static str, String)>>>;

/// An outlet that logs what is written, with the name of its connection.
struct Told(&'static str, Log);

impl Outlet for Told {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.1.lock().unwrap().push((self.0, text));
        Ok(bytes.len())
    }

    fn finish(&self) {}
}

struct Client(Connection, Script);

impl Client {
    fn new(io: &Io, name: &'static str, log: &Log) -> Self {
        let outlet = Told(name, Arc::clone(log));
        Self(Connection::new(io, Peer::default(), outlet).unwrap(), Script::default())
    }

    fn read(&mut self, bytes: &[u8]) {
        self.1.reads.push(bytes.to_vec());
        let _ = self.0.poll(&mut Context::from_waker(Waker::noop()), &mut self.1);
    }
}

fn opened(io: &Io) -> String {
    let (_, open) = fetch(io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
    let sid = open.split('"').nth(3).unwrap();
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

/// Two threads read at the same time, each on its own connection.
fn at_once(first: (&mut Client, &[u8]), second: (&mut Client, &[u8])) {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for (client, bytes) in [first, second] {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                client.read(bytes);
            });
        }
    });
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

fn goodbye(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1").into_bytes()
}

/// Hardening C9: the outputs of one input are written in their order, even on two connections.
#[test]
fn the_poll_that_a_goodbye_ends_is_answered_before_it() {
    let (io, log) = (server(1), Log::default());
    let path = opened(&io);
    let mut poll = Client::new(&io, "GET", &log);
    poll.read(&get(&path));
    assert_eq!(log.lock().unwrap().len(), 0);
    Client::new(&io, "POST", &log).read(&goodbye(&path));
    let log = log.lock().unwrap();
    let order: Vec<_> = log.iter().map(|(name, _)| *name).collect();
    assert_eq!(order, ["GET", "POST"], "{log:?}");
}

/// Hardening C9: a closing packet and a GET are read by two threads.
#[test]
fn a_goodbye_and_a_get_are_answered_alike_whoever_is_first() {
    let io = server(1);
    for round in 0..500 {
        let (path, log) = (opened(&io), Log::default());
        let (mut poll, mut post) = (Client::new(&io, "GET", &log), Client::new(&io, "POST", &log));
        at_once((&mut poll, &get(&path)), (&mut post, &goodbye(&path)));
        let log = log.lock().unwrap();
        let [("GET", got), ("POST", posted)] = &log[..] else {
            panic!("round {round}: {log:?}");
        };
        assert!(got.ends_with("\r\n\r\n6"), "round {round}: {got}");
        assert!(posted.ends_with("\r\n\r\nok"), "round {round}: {posted}");
        assert_eq!(io.sessions(), 0);
    }
}

/// Hardening C9: a `5` and the GET that follows it are read by two threads. In every other round
/// the GET would be held, because its client has polled too often. Then it is always refused.
#[test]
fn an_upgrade_and_a_get_are_each_answered_whoever_is_first() {
    let io = server(1);
    for round in 0..500 {
        let (path, log) = (opened(&io), Log::default());
        let mut poll = Client::new(&io, "GET", &log);
        let mut websocket = Client::new(&io, "websocket", &log);
        let upgrade = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            path.replace("polling", "websocket")
        );
        websocket.read(upgrade.as_bytes());
        websocket.read(&text("2probe"));
        let held = round % 2 == 1;
        for _ in 0..if held { 3 } else { 0 } {
            poll.read(&get(&path));
        }
        log.lock().unwrap().clear();
        at_once((&mut poll, &get(&path)), (&mut websocket, &text("5")));
        let log = log.lock().unwrap();
        let [("GET", got)] = &log[..] else {
            panic!("round {round}: {log:?}");
        };
        let noop = got.starts_with("HTTP/1.1 200 ") && got.ends_with("\r\n\r\n6");
        let refused = got.starts_with("HTTP/1.1 400 ");
        assert!(refused || (noop && !held), "round {round}: {got}");
    }
}

/// Hardening C9: a closing packet without a poll is answered at its deadline.
#[test]
fn a_goodbye_without_a_poll_is_answered_soon() {
    let io = server(1);
    let path = opened(&io);
    let mut client = Driven::new(&io, usize::MAX);
    let _ = client.read(&goodbye(&path));
    assert_eq!(client.written(), "");
    set_now(30_000);
    Driver::new(&io).handle_timeout(0, Waker::noop());
    assert!(client.written().ends_with("ok"));
    assert_eq!(io.sessions(), 0);
}
