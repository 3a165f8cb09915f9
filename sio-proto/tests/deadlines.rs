//! A session ends exactly at its deadline, and not a microsecond before it.

use std::time::Duration;

use sio_proto::server::{Output, Peer, Server};
use sio_proto::{BytesMut, Config, Time};

const WEBSOCKET: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Whether a connection has been ended.
fn has_ended(server: &mut Server) -> bool {
    std::iter::from_fn(|| server.poll_output()).fold(false, |ended, output| ended | matches!(output, Output::End(_)))
}

/// Hardening C10.
#[test]
fn a_session_ends_at_its_time_and_not_before() {
    for micros in [1, 999, 500_000, 500_001, 45_000_000] {
        let mut config = Config::default();
        config.connect_timeout = Duration::from_micros(micros);
        let mut server = Server::new(config, [7; 16], Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
        let start = Time::from_micros(1_234_567);
        let link = server.open(Peer::default());
        server.handle_bytes(start, link, &mut BytesMut::from(WEBSOCKET));
        assert!(!has_ended(&mut server));
        let deadline = start + Duration::from_micros(micros);
        while let Some(next) = server.next_timeout().filter(|next| *next < deadline) {
            server.handle_timeout(next);
            assert!(!has_ended(&mut server), "{next:?} is before {deadline:?}");
        }
        assert_eq!(
            server.next_timeout(),
            Some(deadline),
            "the loop is told of it to the microsecond"
        );
        server.handle_timeout(Time::from_micros(1_234_567 + micros - 1));
        assert!(!has_ended(&mut server), "a microsecond too early");
        server.handle_timeout(deadline);
        assert!(has_ended(&mut server), "{micros}");
    }
}
