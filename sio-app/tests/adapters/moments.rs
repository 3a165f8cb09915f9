//! Times: the date in answers, the first packet after a handshake, and the end of a silent session.

use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime};

use sio_app::{ClientFiles, Config, HttpResponse, Options};

use super::{Client, dial, http, serve, serve_with};

const WEBSOCKET: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Checks that a head has one `Date`, and that it is the present time.
fn assert_dated(head: &str, what: &str) {
    let dates: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("Date: ")).collect();
    let [date] = dates[..] else {
        panic!("{what}: {} dates in {head}", dates.len());
    };
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{what}: {date}");
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = date[17..25].split(':').map(|part| part.parse::<u64>().unwrap());
    let said = time.fold(0, |sum, part| sum * 60 + part);
    let age = (since_1970.as_secs() + 86_400 - said) % 86_400;
    assert!(age < 60, "{what}: {date} is {age} seconds ago");
}

/// Hardening B9.
#[test]
fn every_answer_says_the_date() {
    let options = Options::default()
        .body_timeout(Duration::from_millis(50))
        .client_files(ClientFiles::default());
    let mut config = Config::default();
    config.http.max_head_bytes = 4096;
    let server = serve_with(config, options, |io| {
        io.on_request(|request| match request.path() {
            "/panic" => panic!("in a request"),
            "/own" => HttpResponse::new(200).header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            "/split" => HttpResponse::new(200).header("X-Test", "a\r\nb"),
            _ => HttpResponse::text("hello"),
        });
    });
    let websocket = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n{WEBSOCKET}\r\n");
    let old_websocket =
        format!("GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: localhost\r\n{WEBSOCKET}\r\n");
    let long_head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(5000));
    let large_chunk = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
        "x".repeat(100_000)
    );
    for (request, status) in [
        (&*http::get("/"), "200"),
        (&*http::get("/panic"), "500"),
        (&*http::get("/split"), "500"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "204"),
        (&http::get("/socket.io/?EIO=4&transport=polling"), "200"),
        (&http::get("/socket.io/?EIO=3&transport=polling"), "200"),
        (&http::get("/socket.io/1/"), "200"),
        (&http::get("/socket.io/xhr-polling//1"), "200"),
        (&http::get("/socket.io/xhr-multipart//1"), "200"),
        (&http::get("/socket.io/?EIO=4&transport=what"), "400"),
        (&http::post("/socket.io/?EIO=4&transport=polling&sid=no", "3"), "400"),
        (&websocket, "101"),
        (&old_websocket, "101"),
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", "505"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "501"),
        (&large_chunk, "413"),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na",
            "408",
        ),
        (&long_head, "431"),
    ] {
        let mut connection = http::Connection::open(server.address);
        connection.write(request);
        let (head, _) = connection.response_with_head();
        assert_eq!(&head[9..12], status, "{request}");
        assert_dated(&head, request);
    }
    let mut connection = http::Connection::open(server.address);
    connection.write(&http::get("/own"));
    let (head, _) = connection.response_with_head();
    assert!(
        head.contains("date: Sun, 06 Nov 1994 08:49:37 GMT") && !head.contains("Date:"),
        "{head}"
    );
}

/// A client of Engine.IO 4 listens before it has read the head: it gets head and open packet in one
/// write, which is one read for it.
#[test]
fn a_client_of_engine_io_4_reads_head_and_open_packet_at_once() {
    let server = serve(|io| _ = io.of("/").create());
    let request = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n{WEBSOCKET}\r\n");
    for _ in 0..10 {
        let mut stream = dial(server.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 4096];
        let read = stream.read(&mut first).unwrap();
        let first = String::from_utf8_lossy(&first[..read]);
        let (head, packet) = first.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{first}");
        assert!(packet.contains(r#"0{"sid":""#) && packet.ends_with('}'), "{first}");
    }
}

/// Hardening C1: an older client that starts to listen when the websocket is open must not have
/// read the first packet before.
#[test]
fn a_handshake_is_read_before_the_first_packet() {
    const ROUNDS: usize = 50;
    let server = serve(|io| _ = io.of("/").create());
    let websocket = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{WEBSOCKET}\r\n");
    let oldest = "GET /socket.io/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                  Origin: http://localhost\r\n\r\n";
    for request in [
        &*websocket("/socket.io/?EIO=3&transport=websocket"),
        &websocket("/socket.io/websocket"),
        oldest,
    ] {
        let heads_alone = || {
            let is_alone = |_: &usize| {
                let mut stream = dial(server.address);
                stream.write_all(request.as_bytes()).unwrap();
                let mut first = [0; 4096];
                let read = stream.read(&mut first).unwrap();
                assert!(first.starts_with(b"HTTP/1.1 101"), "{request}");
                let is_alone = first[..read].ends_with(b"\r\n\r\n");
                assert!(
                    !is_alone || stream.read(&mut first).unwrap() > 0,
                    "the packet comes, too"
                );
                is_alone
            };
            (0..ROUNDS).filter(is_alone).count()
        };
        // A busy machine delays the client in some rounds, so that it reads both at once, and for
        // some time perhaps in many.
        let is_enough = (0..5).any(|_| heads_alone() * 4 >= ROUNDS * 3);
        assert!(is_enough, "fewer than three of four heads came alone: {request}");
    }
}

/// Hardening C10: a session never ends before its time. It may end later, because timers round up
/// and the machine may be busy.
#[test]
fn a_session_is_not_ended_before_its_time() {
    const TIME: Duration = Duration::from_millis(250);
    let mut config = Config::default();
    config.connect_timeout = TIME;
    let server = serve_with(config, Options::default(), |_| ());
    for _ in 0..4 {
        let start = Instant::now();
        let mut client = Client::open(server.address);
        let opened = Instant::now();
        client.closed();
        assert!(start.elapsed() >= TIME, "{:?}", start.elapsed());
        assert!(opened.elapsed() < TIME * 8, "{:?}", opened.elapsed());
    }
}
