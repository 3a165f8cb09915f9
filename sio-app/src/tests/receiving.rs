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
