//! The date of answers. The core knows no date; the caller tells it.

use sio_proto::http::Date;
use sio_proto::server::{Output, Peer, Server};
use sio_proto::{BytesMut, Config, Time};

/// The server's answer to these bytes on a new connection.
fn ask(server: &mut Server, request: &str) -> String {
    let link = server.open(Peer::default());
    server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(request));
    let mut answer = Vec::new();
    while let Some(output) = server.poll_output() {
        if let Output::Bytes(_, bytes) = output {
            answer.extend_from_slice(&bytes);
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Hardening B9.
#[test]
fn the_facade_says_the_date_that_it_is_told() {
    let entropy = |out: &mut [u8]| out.fill(7);
    let mut server = Server::new(Config::default(), [7; 16], Box::new(entropy)).unwrap();
    let requests = [
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /socket.io/?EIO=4&transport=what HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "nonsense\r\n\r\n",
    ];
    for request in requests {
        let answer = ask(&mut server, request);
        assert!(answer.starts_with("HTTP/1.1 "), "{request}{answer}");
        assert!(!answer.contains("Date"), "{answer}");
    }
    for (second, said) in [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
    ] {
        server.set_date(Some(Date::from_unix(second)));
        for request in requests {
            let answer = ask(&mut server, request);
            assert_eq!(answer.matches(&format!("\r\nDate: {said}\r\n")).count(), 1, "{answer}");
        }
    }
}
