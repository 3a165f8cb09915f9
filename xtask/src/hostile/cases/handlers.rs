//! Work of the application that a peer starts without waiting for the result.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::{Peer, Poured};
use crate::hostile::wire;
use std::thread;
use std::time::Duration;

/// A middleware that takes 300 ms. The client asks again before it has answered.
pub(super) fn middlewares(field: &Field) -> Outcome {
    let mut peer = clients::open4(ATTACKER, field.port, None)?;
    let mut turn = wire::text(r#"40{"token":"slow"}"#);
    turn.extend(wire::text("41"));
    let times = field.size(120_000, 300_000);
    drained(field, &mut peer, |peer, limit| {
        let turns = wire::repeat(&turn, 1000);
        peer.pour(&turns, (turn.len() * times) as u64, limit)
    })
}

/// Forty times (the short form): a socket connects, starts 4,000 handlers that wait five seconds,
/// and disconnects.
pub(super) fn gone(field: &Field) -> Outcome {
    let handlers = wire::repeat(&wire::text(r#"42["later",5000,"x"]"#), 4000);
    let mut peer = clients::open4(ATTACKER, field.port, None)?;
    for _ in 0..field.size(40, 80) {
        let round = socket_with(&mut peer, &handlers);
        if round.is_err() {
            // If the server ends the session, the attacker opens a new one. So a limit for one
            // session alone does not stop the attack.
            field.count(&peer);
            peer = clients::open4(ATTACKER, field.port, None)?;
        }
    }
    field.count(&peer);
    Ok(())
}

/// A few bytes that cause much work: two thousand messages to all clients in one write, and three
/// thousand in one POST.
pub(super) fn casts(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..field.size(300, 500) {
        peers.push(clients::join4(ATTACKER, field.port, None)?);
    }
    let cast = r#"42["cast",1]"#;
    peers[0].say(wire::repeat(&wire::text(cast), 2000))?;
    let mut polling = field.connect()?;
    let target = clients::open_polling(&mut polling, 4, "")?;
    polling.ask(wire::post(&target, "40"))?;
    polling.ask(wire::post(&target, &[cast; 3000].join("\u{1e}")))?;
    thread::sleep(field.time());
    peers.iter().for_each(|peer| field.count(peer));
    field.count(&polling);
    Ok(())
}

/// Connects a socket, starts these handlers, and disconnects it.
fn socket_with(peer: &mut Peer, handlers: &[u8]) -> Outcome {
    peer.say(wire::text("40"))?;
    peer.message_with("40{")?;
    peer.say(handlers)?;
    peer.say(wire::text("41"))
}

/// Sends while another thread reads the answers and throws them away.
fn drained(field: &Field, peer: &mut Peer, pour: impl FnOnce(&mut Peer, Duration) -> Poured) -> Outcome {
    let limit = field.time();
    let mut reader = peer.reader()?;
    let reading = thread::spawn(move || reader.drain(limit));
    pour(peer, limit);
    field.count(peer);
    thread::sleep(Duration::from_millis(500));
    peer.finish();
    let _ = reading.join();
    Ok(())
}
