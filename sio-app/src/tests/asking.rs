//! Requests that wait for the application's decision.

use std::future::poll_fn;
use std::sync::Mutex;

use super::*;
use crate::Handshake;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling&token=a%20b";

/// A decision that is ready when the test says so.
#[derive(Clone, Default)]
struct Gate {
    decision: Arc<Mutex<Option<Result<(), String>>>>,
    asked: Arc<AtomicUsize>,
    /// The number of futures that exist.
    live: Arc<AtomicUsize>,
}

/// Counts a future for as long as it exists.
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    fn guard(&self, io: &Io) {
        let gate = self.clone();
        io.allow_request_async(move |request: Arc<Handshake>| {
            gate.asked.fetch_add(1, Ordering::Relaxed);
            gate.live.fetch_add(1, Ordering::Relaxed);
            let (live, decision) = (Live(Arc::clone(&gate.live)), Arc::clone(&gate.decision));
            async move {
                let _live = live;
                assert_ne!(request.query_value("token").as_deref(), Some("panic"));
                poll_fn(|_| match decision.lock().unwrap().clone() {
                    Some(decision) => Poll::Ready(decision),
                    None => Poll::Pending,
                })
                .await
            }
        });
    }

    fn decide(&self, decision: Result<(), &str>) {
        *self.decision.lock().unwrap() = Some(decision.map_err(str::to_owned));
    }

    fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

fn guarded_server(options: Options) -> (Io, Gate) {
    let io = Io::new(Config::default(), options.shards(2), RUNTIME).unwrap();
    let gate = Gate::default();
    gate.guard(&io);
    (io, gate)
}

fn asked(io: &Io, target: &str) -> Exchange {
    let mut exchange = ours(io, head(Method::Get, target, &[("host", "x")]));
    exchange.body(Ok(bytes::Bytes::new()));
    exchange
}

/// API: allowRequest: async. A poll inside another HTTP server waits, and goes on when it is
/// decided.
#[test]
fn a_request_waits_for_its_decision() {
    for (decision, status, body) in [
        (Ok(()), 200, "0{\"sid\":"),
        (Err("token expired"), 403, "{\"code\":4,\"message\":\"token expired\"}"),
    ] {
        let (io, gate) = guarded_server(Options::default());
        let mut exchange = asked(&io, POLLING);
        assert!(answer(&mut exchange).is_none() && answer(&mut exchange).is_none());
        assert_eq!((gate.asked(), gate.live(), io.sessions()), (1, 1, 0));
        gate.decide(decision);
        let (its, text) = reply(&mut exchange);
        assert_eq!(its, status);
        assert!(text.starts_with(body), "{text}");
        assert_eq!((gate.live(), io.sessions()), (0, usize::from(decision.is_ok())));
        if decision.is_ok() {
            // The later requests of the session need no decision.
            let path = format!("{POLLING}&sid={}", text.split('"').nth(3).unwrap());
            assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
            assert_eq!(io.sockets()[0].handshake().query_value("token").unwrap(), "a b");
        }
        assert_eq!(gate.asked(), 0);
        // A request that is decided at once does not wait.
        assert_eq!(reply(&mut asked(&io, POLLING)).0, status);
    }
}

/// API: allowRequest: async. A websocket waits for the decision, the bytes that its client sends
/// meanwhile are kept, and clients of old generations need a decision, too.
#[test]
fn websockets_and_old_clients_wait() {
    for head in [
        String::from_utf8(UPGRADE.to_vec()).unwrap(),
        "GET /socket.io/1/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /socket.io/xhr-polling//1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let (io, gate) = guarded_server(Options::default());
        let mut client = Driven::new(&io, usize::MAX);
        let _ = client.read(head.as_bytes());
        let _ = client.poll();
        assert_eq!(
            (client.written().as_str(), gate.asked(), io.sessions()),
            ("", 1, 0),
            "{head}"
        );
        gate.decide(Ok(()));
        let _ = client.poll();
        assert!(client.written().starts_with("HTTP/1.1 "), "{head}");
        assert_eq!((gate.live(), io.sessions()), (0, 1), "{head}");
    }
}

/// API: allowRequest: async. A request is refused if the future panics, if the decision does not
/// come in time, or if too many requests wait.
#[test]
fn what_nobody_decides_is_refused() {
    let options = Options::default()
        .allow_request_timeout(Duration::from_secs(3))
        .max_waiting_requests(2);
    let (io, gate) = guarded_server(options);
    let errors = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&errors);
    io.on_error(move |_, _, _| {
        told.fetch_add(1, Ordering::Relaxed);
    });
    let panics = "/socket.io/?EIO=4&transport=polling&token=panic";
    assert_eq!(
        reply(&mut asked(&io, panics)).1,
        "{\"code\":4,\"message\":\"Internal server error\"}"
    );
    assert_eq!((errors.load(Ordering::Relaxed), gate.live()), (1, 0));
    let (mut first, mut second) = (asked(&io, POLLING), asked(&io, POLLING));
    assert!(answer(&mut first).is_none() && answer(&mut second).is_none());
    assert_eq!(
        reply(&mut asked(&io, POLLING)).1,
        "{\"code\":4,\"message\":\"Too many requests wait\"}"
    );
    assert_eq!(gate.live(), 2);
    pass(&io, 2_999);
    assert!(answer(&mut first).is_none());
    pass(&io, 1);
    assert_eq!(
        reply(&mut first),
        (403, "{\"code\":4,\"message\":\"Not decided in time\"}".into())
    );
    assert_eq!(gate.live(), 1);
    // The first request does not wait any more, so another request may.
    let mut third = asked(&io, POLLING);
    assert!(answer(&mut third).is_none());
    gate.decide(Ok(()));
    assert_eq!(reply(&mut third).0, 200);
}

/// API: allowRequest: async. When the client goes away, the future is dropped, and no session is
/// opened.
#[test]
fn a_client_that_goes_away_is_not_waited_for() {
    let (io, gate) = guarded_server(Options::default().max_waiting_requests(1));
    for _ in 0..3 {
        let mut exchange = asked(&io, POLLING);
        assert!(answer(&mut exchange).is_none());
        assert_eq!(gate.live(), 1);
        drop(exchange);
        assert_eq!(gate.live(), 0);
        let mut client = Driven::new(&io, usize::MAX);
        let _ = client.read(UPGRADE);
        assert_eq!(gate.live(), 1);
        assert!(client.read(b"").is_ready(), "the end of the stream");
        assert_eq!(gate.live(), 0);
    }
    gate.decide(Ok(()));
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

/// API: allowRequest: async. The application is not asked about a request whose origin is refused
/// anyway. If several functions were set, the last one decides.
#[test]
fn strangers_are_not_asked_about() {
    let (io, gate) = guarded_server(Options::default());
    let evil = [("host", "x"), ("origin", "http://evil.example")];
    let mut exchange = ours(&io, head(Method::Get, POLLING, &evil));
    exchange.body(Ok(bytes::Bytes::new()));
    assert_eq!((reply(&mut exchange).0, gate.asked()), (403, 0));
    io.allow_request(|_| Ok(()));
    assert_eq!((reply(&mut asked(&io, POLLING)).0, gate.asked()), (200, 0));
    gate.guard(&io);
    assert!(answer(&mut asked(&io, POLLING)).is_none());
}

/// API: allowRequest: async. A waiting request keeps no buffer that others need, and its bytes
/// count as received.
#[test]
fn what_waits_is_counted() {
    let options = Options::default().max_receiving_bytes(40_000);
    let (io, gate) = guarded_server(options);
    let long = "x".repeat(9_000);
    let head = format!("GET {POLLING}&long={long} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut first = Driven::new(&io, usize::MAX);
    let _ = first.read(head.as_bytes());
    assert!(crate::host::connection::is_read_buffer_free());
    let mut second = Driven::new(&io, usize::MAX);
    assert!(second.read(head.as_bytes()).is_ready(), "there is no room for it");
    drop(second);
    assert_eq!(gate.live(), 1);
    gate.decide(Ok(()));
    let _ = first.poll();
    assert!(first.written().starts_with("HTTP/1.1 200 "));
}

/// Hardening A14: a request that waits for its decision counts as received, also inside another
/// HTTP server. Its body does not wait: a handshake has no use for one.
#[test]
fn a_request_that_waits_is_counted_and_keeps_no_body() {
    let (io, gate) = guarded_server(Options::default().max_receiving_bytes(32 * 1024 + 5_000));
    let long = "x".repeat(7_000);
    let post = || {
        let headers = [("host", "x"), ("x-long", &*long)];
        let mut exchange = ours(&io, head(Method::Post, "/socket.io/1/", &headers));
        let body = bytes::Bytes::from(vec![b'x'; 15_000]);
        assert!(exchange.receive(body.len()));
        exchange.body(Ok(body.clone()));
        assert!(body.is_unique(), "it is gone");
        exchange
    };
    let mut first = post();
    assert!(answer(&mut first).is_none());
    let mut other = ours(&io, head(Method::Post, "/socket.io/1/", &[("host", "x")]));
    assert!(!other.receive(15_000), "its head counts");
    gate.decide(Ok(()));
    assert_eq!(reply(&mut first).0, 200);
    assert!(other.receive(15_000), "nothing waits any more");
    drop((first, other));

    *gate.decision.lock().unwrap() = None;
    let mut exchanges: Vec<_> = (0..5)
        .map(|_| {
            let headers = [("host", "x"), ("x-long", &*long)];
            let mut exchange = ours(&io, head(Method::Get, "/socket.io/1/", &headers));
            exchange.body(Ok(bytes::Bytes::new()));
            exchange
        })
        .collect();
    assert!(exchanges.iter_mut().all(|exchange| answer(exchange).is_none()));
    let mut last = ours(
        &io,
        head(Method::Get, "/socket.io/1/", &[("host", "x"), ("x-long", &*long)]),
    );
    last.body(Ok(bytes::Bytes::new()));
    assert!(matches!(answer(&mut last), Some(Answer::Aborted)), "there is no room");
    gate.decide(Ok(()));
    assert!(exchanges.iter_mut().all(|exchange| reply(exchange).0 == 200));
}
