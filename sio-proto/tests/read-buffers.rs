//! A caller reads into a large buffer. A few bytes that cannot be used yet do not keep the buffer:
//! a peer would pay a byte, and the server a buffer.
#![allow(clippy::unwrap_used, reason = "tests")]

use sio_proto::server::{Output, Peer, Server};
use sio_proto::{BytesMut, Config, Time};

const LARGE: usize = 64 * 1024;

#[test]
fn a_part_of_a_request_gives_the_buffer_back() {
    let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let link = server.open(Peer::default());
    let mut buffer = BytesMut::with_capacity(LARGE);
    for part in [
        "GET /socket.io/?EIO=4&trans",
        "port=polling HTTP/1.1\r\nHost: sim",
        "\r\n\r\n",
    ] {
        buffer.extend_from_slice(part.as_bytes());
        server.handle_bytes(Time::ZERO, link, &mut buffer);
        assert!(buffer.is_empty());
        // The last part ends the request, which may keep the bytes until it is answered.
        if part != "\r\n\r\n" {
            assert!(
                buffer.capacity() >= LARGE / 2,
                "{part:?} has kept {}",
                buffer.capacity()
            );
        }
    }
    let Some(Output::Bytes(_, bytes)) = server.poll_output() else {
        panic!("no answer");
    };
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
}
