//! The possible results of an exchange with another HTTP server.

use super::*;
use crate::adapter::Driver;

#[test]
fn what_an_exchange_can_come_to() {
    let io = server(1);
    assert!(Driver::new(&io).concerns("/socket.io/?EIO=4") && !Driver::new(&io).concerns("/socket.ion/"));
    let foreign = Driver::new(&io).exchange(head(Method::Get, "/", &[]), Peer::default(), || None);
    assert!(matches!(foreign, Exchanged::Foreign(head) if &*head.target == "/"));
    let open = || {
        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let sid = open.split('"').nth(3).unwrap();
        format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
    };
    let path = open();
    let mut large = ours(&io, head(Method::Post, &path, &[]));
    large.body(Err(sio_proto::http::BodyTooLarge));
    assert_eq!(reply(&mut large).0, 413);
    assert_eq!(io.sessions(), 0, "what was in it is lost");
    let path = open();
    // Two bodies at the same time break the protocol: the first request gets no answer.
    let mut first = ours(&io, head(Method::Post, &path, &[]));
    first.body_started();
    let mut second = ours(&io, head(Method::Post, &path, &[]));
    second.body_started();
    assert_eq!(reply(&mut second).0, 400);
    assert!(matches!(answer(&mut first), Some(Answer::Aborted)));
    drop((large, first, second));
    assert_eq!((io.sessions(), io.connections()), (0, 0));
    let io = Io::new(Config::default(), Options::default().max_connections(0), RUNTIME).unwrap();
    let full = Driver::new(&io).exchange(head(Method::Get, "/socket.io/", &[]), Peer::default(), || None);
    assert!(matches!(full, Exchanged::Full));
}

/// Hardening A14: bytes of a body that another HTTP server reads count like bytes that a connection
/// reads, as long as they are kept.
#[test]
fn a_body_that_another_server_reads_is_counted() {
    let options = Options::default().shards(1).max_receiving_bytes(300_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let open = || {
        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let sid = open.split('"').nth(3).unwrap();
        ours(
            &io,
            head(
                Method::Post,
                &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"),
                &[],
            ),
        )
    };
    let (mut first, mut second) = (open(), open());
    assert!(first.receive(3_000) && first.receive(150_000) && first.receive(200_000));
    assert!(second.receive(50_000) && !second.receive(150_000));
    first.body(Ok("40".into()));
    assert_eq!(reply(&mut first), (200, "ok".into()));
    assert!(second.receive(150_000));
    drop(second);
    assert!(open().receive(290_000));
}

/// Hardening A14: a websocket that another HTTP server has upgraded keeps nothing of that server's
/// buffer, and the buffer does not count for it. Otherwise an address could have had no more than a
/// thousand such websockets.
#[test]
fn an_upgraded_websocket_keeps_no_buffer_of_the_host() {
    let options = Options::default().shards(1).max_receiving_bytes(60_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let mut connections = Vec::new();
    for _ in 0..4 {
        let target = "/socket.io/?EIO=4&transport=websocket";
        let mut exchange = ours(&io, head(Method::Get, target, &WEBSOCKET));
        exchange.body(Ok(bytes::Bytes::new()));
        assert!(matches!(answer(&mut exchange), Some(Answer::Upgrade(_))));
        let mut ahead = BytesMut::with_capacity(16 * 1024);
        ahead.extend_from_slice(&text("40"));
        let wall = Wall::with_room(usize::MAX);
        let mut connection = exchange.attach(wall.clone(), ahead).unwrap();
        let mut script = Script::default();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(connection.poll(cx, &mut script).is_pending());
        connections.push(connection);
    }
    assert_eq!((io.sessions(), io.connections()), (4, 4));
}
