use super::*;

/// A frame of a client with a short text. Its mask changes nothing.
fn frame(text: &[u8]) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat()
}

/// The lists that an input fills, with the entries for which they have memory.
fn rooms(server: &Server) -> [usize; 4] {
    [
        server.queue.capacity(),
        server.outputs.deliveries.capacity(),
        server.outputs.writes.capacity(),
        server.arrivals.packets.capacity(),
    ]
}

#[test]
fn lists_give_back_what_one_large_input_has_needed() {
    let random = Box::new(|out: &mut [u8]| out.fill(7));
    let mut server = Server::new(Config::default(), [7; 16], random).unwrap();
    let link = server.open(Peer::default());
    let opening = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut bytes = BytesMut::from(&[&opening[..], &frame(b"40")].concat()[..]);
    server.handle_bytes(Time::ZERO, link, &mut bytes);
    while let Some(output) = server.poll_output() {
        if let Output::Delivery(Delivery::Connect { socket, .. }) = output {
            server.shard(Time::ZERO, |shard, out| shard.accept(Time::ZERO, socket, out));
        }
    }
    let many = 20 * MOST_KEPT;
    let mut bytes = BytesMut::from(&frame(b"42[\"a\"]").repeat(many)[..]);
    server.handle_bytes(Time::ZERO, link, &mut bytes);
    assert!(server.queue.capacity() >= many);
    let mut heard = 0;
    while let Some(output) = server.poll_output() {
        heard += usize::from(matches!(output, Output::Delivery(Delivery::Event { .. })));
    }
    assert_eq!(heard, many);
    let after = rooms(&server);
    assert!(after.iter().all(|room| *room <= MOST_KEPT), "{after:?}");
}
