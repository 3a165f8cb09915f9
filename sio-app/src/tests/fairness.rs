//! How much one connection does before others have their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use super::{Counted, Driven, server, text};
use crate::{HttpRequest, HttpResponse, Socket};

/// Polls the connection until it asks for no further turn: how often that was, and how much `done` grew by at most meanwhile.
fn turns(client: &mut Driven, done: &AtomicUsize) -> (usize, usize) {
    let counted = Counted::default();
    let waker = counted.waker();
    let (mut turns, mut most) = (0, 0);
    loop {
        let before = done.load(Ordering::Relaxed);
        let polled = client
            .connection
            .poll(&mut Context::from_waker(&waker), &mut client.script);
        assert!(polled.is_pending());
        turns += 1;
        most = most.max(done.load(Ordering::Relaxed) - before);
        if counted.take() == 0 {
            return (turns, most);
        }
    }
}

/// Hardening A15.
#[test]
fn who_pipelines_a_thousand_requests_lets_others_have_their_turn() {
    let io = server(1);
    let answered = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&answered);
    io.on_request(move |_: &HttpRequest<'_>| {
        counting.fetch_add(1, Ordering::Relaxed);
        HttpResponse::new(404)
    });
    let mut client = Driven::new(&io, usize::MAX);
    client.script.reads = vec![b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000)];
    let (turns, most) = turns(&mut client, &answered);
    assert_eq!(answered.load(Ordering::Relaxed), 1000);
    assert!(most <= 32, "{most} requests in one turn");
    assert!(turns >= 1000 / 32, "{turns}");
    assert_eq!(client.written().matches("HTTP/1.1 404").count(), 1000);
}

/// Hardening A15.
#[test]
fn who_sends_without_a_pause_lets_others_have_their_turn() {
    let io = server(1);
    let heard = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&heard);
    io.of("/").on("x", move |_: Socket| {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    let mut client = Driven::connected(&io);
    client.script.reads = vec![text(r#"42["x"]"#).repeat(256); 100];
    let (turns, most) = turns(&mut client, &heard);
    assert_eq!(heard.load(Ordering::Relaxed), 25_600);
    assert!(most <= 8 * 256, "{most} events in one turn");
    assert!(turns >= 10, "{turns}");
}
