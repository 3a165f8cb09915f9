//! Volatile messages, for each generation over each kind of transport.

use std::sync::atomic::Ordering;

use super::clients::Peer;
use super::{now, server, set_now};
use crate::Io;

fn everybody(io: &Io) -> Vec<Peer> {
    vec![
        Peer::today(io),
        Peer::engine3(io),
        Peer::old(io, "0.9 over websocket", "websocket"),
        Peer::old(io, "0.9 over htmlfile", "htmlfile"),
        Peer::polling(io, "4.x over polling", 4),
        Peer::polling(io, "2.x over polling", 3),
        Peer::old(io, "0.9 over xhr-polling", "xhr-polling"),
        Peer::oldest(io, "0.6 over xhr-polling"),
    ]
}

/// Guarantees: a volatile message is sent if the transport can take it at this moment, and
/// otherwise never. A polling client can take a message while its GET waits. A websocket or a
/// stream can take a message if all earlier bytes have left, and if it was given no other volatile
/// message in this moment.
#[test]
fn a_volatile_message_is_sent_now_or_never() {
    let io = server(2);
    let mut peers = everybody(&io);
    assert_eq!(io.sockets().len(), peers.len());
    let emit = |word: &str| {
        set_now(now() + 2_000);
        io.volatile().emit(word, ());
    };
    // No GET waits. The other connections are idle.
    emit("first");
    for peer in &mut peers {
        assert_eq!(
            peer.driven.written().contains("first"),
            !peer.is_polling(),
            "{}",
            peer.name
        );
    }
    // All clients can take a message, and only the first in a moment.
    peers.iter_mut().for_each(|peer| peer.poll(&io));
    emit("second");
    io.volatile().emit("third", ());
    for peer in &mut peers {
        let written = peer.driven.written();
        assert!(written.contains("second"), "{}: {written}", peer.name);
        assert!(!written.contains("third"), "{}: {written}", peer.name);
        assert!(!written.contains("first"), "{}: {written}", peer.name);
    }
    // The kernel takes nothing, and an ordinary message waits.
    peers.iter_mut().for_each(|peer| {
        peer.poll(&io);
        peer.driven.wall.room.store(0, Ordering::Relaxed);
    });
    set_now(now() + 2_000);
    io.emit("ordinary", ());
    emit("fourth");
    for peer in &mut peers {
        peer.driven.wall.room.store(usize::MAX, Ordering::Relaxed);
        let _ = peer.driven.poll();
        let mut written = peer.driven.written();
        if peer.is_polling() {
            peer.poll(&io);
            written.push_str(&peer.driven.written());
        }
        assert!(written.contains("ordinary"), "{}: {written}", peer.name);
        assert!(!written.contains("fourth"), "{}: {written}", peer.name);
    }
}
