//! Requests and messages that have arrived only in part.

use super::{Driven, RUNTIME, text};
use crate::{Config, Io, Options};

/// Hardening A14: incomplete bodies and frames take no more than the limit for all connections
/// together.
#[test]
fn who_sends_much_that_is_not_complete_is_closed() {
    let options = Options::default().shards(1).max_receiving_bytes(300_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let mut bystander = Driven::connected(&io);
    let head = b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    let mut slow: Vec<_> = (0..8).map(|_| Driven::new(&io, usize::MAX)).collect();
    for client in &mut slow {
        let _ = client.read(head);
        let _ = client.read(&[b'x'; 60_000]);
    }
    let closed = slow
        .iter_mut()
        .filter_map(|client| client.poll().is_ready().then_some(()))
        .count();
    assert_eq!(
        closed, 4,
        "each counts for 64 KiB, and 300 000 bytes are enough for four"
    );
    assert!(bystander.read(&text("42[\"m\"]")).is_pending());
    // A websocket frame counts, too. Messages that are complete or given up do not count any more.
    let mut large = Driven::connected(&io);
    let _ = large.read(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0]);
    assert!(large.read(&[0; 60_000]).is_ready(), "no room");
    drop(large);
    slow.clear();
    let mut large = Driven::connected(&io);
    let _ = large.read(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0]);
    assert!(large.read(&[0; 60_000]).is_pending());
    drop(large);
    assert_eq!(io.connections(), 1);
}

/// Hardening A14: a byte behind a large message keeps nothing of the buffer of this message,
/// however the end of the message lies in the buffer, and whatever came before it.
#[test]
fn a_byte_behind_a_large_message_keeps_no_large_buffer() {
    let options = Options::default().shards(1);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    for in_front in [&b""[..], &text("6")] {
        let mut client = Driven::connected(&io);
        // The buffer grows by doubling. Behind some of these messages it has room for one more
        // read, and not for more, so that it does not move.
        for length in 259_990..260_030_usize {
            // A noop with a text, which nobody keeps.
            let mut bytes = in_front.to_vec();
            bytes.extend_from_slice(&[0x81, 0xff]);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend(std::iter::repeat_n(b'6', length));
            bytes.push(0x81);
            let (first, rest) = bytes.split_at(1_000);
            client.script.reads.push(first.to_vec());
            client.script.reads.extend(rest.chunks(60_000).map(<[u8]>::to_vec));
            assert!(client.poll().is_pending());
            assert!(!client.connection.keeps_room(20_000), "{length} bytes");
            // The rest of the byte's frame: a noop.
            assert!(client.read(&text("6")[1..]).is_pending());
        }
    }
}
