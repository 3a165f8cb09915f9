//! A caller reads into a large buffer. A few bytes that cannot be used yet do not keep the buffer:
//! a peer would pay a byte, and the server a buffer.
#![allow(clippy::unwrap_used, reason = "tests")]

use sio_proto::server::{Delivery, Output, Peer, Server};
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

#[test]
fn a_byte_behind_a_message_that_has_filled_the_buffer_gives_it_back() {
    let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let link = server.open(Peer::default());
    let mut buffer = BytesMut::with_capacity(LARGE);
    buffer.extend_from_slice(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    server.handle_bytes(Time::ZERO, link, &mut buffer);
    buffer.extend_from_slice(&frame(b"40"));
    server.handle_bytes(Time::ZERO, link, &mut buffer);
    while let Some(output) = server.poll_output() {
        if let Output::Delivery(Delivery::Connect { socket, .. }) = output {
            server.shard(Time::ZERO, |shard, out| shard.accept(Time::ZERO, socket, out));
        }
    }
    assert!(buffer.try_reclaim(LARGE), "the buffer is not here before the message");
    let message = [&b"42[\"a\",\""[..], &[b'x'; LARGE - 64], b"\"]"].concat();
    buffer.extend_from_slice(&frame(&message));
    buffer.extend_from_slice(&[0x81]);
    assert!(
        buffer.capacity() - buffer.len() < 64,
        "the message has not filled the buffer"
    );
    server.handle_bytes(Time::ZERO, link, &mut buffer);
    let mut heard = 0;
    while let Some(output) = server.poll_output() {
        heard += usize::from(matches!(output, Output::Delivery(Delivery::Event { .. })));
    }
    assert_eq!(heard, 1);
    // Nobody else has a part of the memory any more, so all of it can be used again.
    assert!(buffer.try_reclaim(LARGE), "a byte has kept {LARGE} bytes");
}

/// A frame of a client, whose mask changes nothing.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let head = match length {
        0..126 => vec![0x81, 0x80 | length as u8],
        _ => [&[0x81, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}
