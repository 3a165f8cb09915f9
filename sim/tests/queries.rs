//! What a request costs in steps. Steps are counted for the whole process, so this test is alone in
//! its own.
#![expect(clippy::unwrap_used, reason = "this is a test")]

use bytes::BytesMut;
use sio_proto::server::{Output, Peer, Server};
use sio_proto::{Config, Time, steps_taken};

/// The steps of a handshake whose query is filled with this text.
fn steps(filling: &str) -> usize {
    let filled = filling.repeat(7_800 / filling.len());
    let request = format!("GET /socket.io/?EIO=4&transport=polling&{filled} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let link = server.open(Peer::default());
    let before = steps_taken();
    server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(request.as_bytes()));
    let after = steps_taken();
    let answer = std::iter::from_fn(|| server.poll_output()).find_map(|output| match output {
        Output::Bytes(_, bytes) => Some(bytes),
        _ => None,
    });
    assert!(
        answer.unwrap().starts_with(b"HTTP/1.1 200"),
        "the handshake is answered"
    );
    after.wrapping_sub(before)
}

/// Hardening A15. The cost of a request depends on the length of its query, and hardly on the
/// content: the query is walked over once, with at most some steps for each of its bytes.
#[test]
fn a_query_is_walked_over_once() {
    let plain = steps("a");
    assert!(plain > 7_800 / 16, "letters are counted many at a time: {plain}");
    for filling in ["&", "=", "%73=&", "%2", "a=b&", "EIO=4&", "sid=&"] {
        let steps = steps(filling);
        assert!(
            (plain / 2..8 * 7_800).contains(&steps),
            "{filling}: {steps}, and {plain} for letters"
        );
    }
}
