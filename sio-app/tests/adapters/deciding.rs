//! Requests that wait for the application's decision, over real sockets.

use std::sync::mpsc;
use std::time::Duration;

use sio_app::{Config, Options};

use super::{Client, PATIENCE, Signal, eventually, heard, http, serve_with};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// API: allowRequest: async: a poll and a websocket wait for the decision of another thread.
#[test]
fn a_decision_of_another_thread_is_waited_for() {
    let (asks, asked) = mpsc::channel();
    let server = serve_with(Config::default(), Options::default(), |io| {
        io.of("/").create();
        io.allow_request_async(move |request| {
            let signal = Signal::default();
            asks.send(signal.clone()).unwrap();
            async move {
                signal.given().await;
                match request.query_value("token") {
                    None => Ok(()),
                    Some(token) => Err(format!("{token} is unknown")),
                }
            }
        });
    });
    let mut poll = http::Connection::open(server.address);
    poll.write(&http::get(POLLING));
    let decide = heard(&asked);
    assert_eq!(server.io.sessions(), 0);
    decide.give();
    assert!(poll.response().starts_with("0{\"sid\":"));
    poll.write(&http::get(&format!("{POLLING}&token=a")));
    heard(&asked).give();
    assert_eq!(poll.response(), "{\"code\":4,\"message\":\"a is unknown\"}");
    let address = server.address;
    let client = std::thread::spawn(move || drop(Client::connect(address)));
    heard(&asked).give();
    client.join().unwrap();
    eventually(|| server.io.sessions() == 1);
}

/// API: allowRequest: async: if the decision does not come in time, the request is refused.
#[test]
fn a_decision_that_does_not_come_is_a_refusal() {
    let options = Options::default().allow_request_timeout(Duration::from_millis(50));
    let server = serve_with(Config::default(), options, |io| {
        io.allow_request_async(|_| std::future::pending());
    });
    let mut poll = http::Connection::open(server.address);
    let started = std::time::Instant::now();
    assert_eq!(poll.get(POLLING), "{\"code\":4,\"message\":\"Not decided in time\"}");
    assert!(started.elapsed() >= Duration::from_millis(50) && started.elapsed() < PATIENCE);
    assert_eq!(server.io.sessions(), 0);
}

/// API: allowRequest: async: the decision may sleep, on the server's own time.
#[test]
fn a_decision_may_sleep() {
    let server = serve_with(Config::default(), Options::default(), |io| {
        let clock = io.clone();
        io.allow_request_async(move |_| {
            let sleep = clock.sleep(Duration::from_millis(20));
            async move {
                sleep.await;
                Ok(())
            }
        });
    });
    let mut poll = http::Connection::open(server.address);
    assert!(poll.get(POLLING).starts_with("0{\"sid\":"));
}
