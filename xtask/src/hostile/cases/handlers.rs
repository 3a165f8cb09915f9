//! Work of the application that a peer starts without waiting for the result.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::Peer;
use crate::hostile::wire;
use std::thread;

/// A middleware that takes 300 ms. The client asks again before it has answered: without end, until
/// the server ends the session, and on many sessions as often as one may ask in a second.
pub(super) fn middlewares(field: &Field) -> Outcome {
    let mut turn = wire::text(r#"40{"token":"slow"}"#);
    turn.extend(wire::text("41"));
    let mut peer = clients::open4(ATTACKER, field.port, None)?;
    let limit = field.time();
    let mut reader = peer.reader()?;
    let reading = thread::spawn(move || reader.drain(limit));
    peer.pour(
        &wire::repeat(&turn, 1000),
        (turn.len() * field.size(120_000, 300_000)) as u64,
        limit,
    );
    field.count(&peer);
    if !reading.join().unwrap_or(false) {
        field.finding("a session that only connects and disconnects goes on");
    }
    let mut peers = Vec::new();
    for _ in 0..field.size(100, 1000) {
        let mut peer = clients::open4(ATTACKER, field.port, None)?;
        peer.say(wire::repeat(&turn, TURNS))?;
        peer.say(wire::text(r#"40{"token":"slow"}"#))?;
        peers.push(peer);
    }
    let mut joined = 0;
    for peer in &mut peers {
        field.count(peer);
        // The next one would not be answered, either.
        if peer.message_with("40{").is_err() {
            break;
        }
        joined += 1;
    }
    field.assert_least("sessions that are let in at the end", joined, peers.len() as u64 / 2);
    Ok(())
}

/// How often a session asks. It may ask 128 times in a second.
const TURNS: usize = 100;

/// Twenty times (the short form): a socket connects, starts 4,000 handlers that wait five seconds,
/// and disconnects.
pub(super) fn gone(field: &Field) -> Outcome {
    let mut asker = clients::join4(ATTACKER, field.port, None)?;
    asker.answer(&wire::text(r#"42["later",0,"x"]"#), r#"42["later","x"]"#)?;
    let handlers = wire::repeat(&wire::text(r#"42["later",5000,"x"]"#), 4000);
    let mut peer = clients::open4(ATTACKER, field.port, None)?;
    let mut rounds = 0;
    for _ in 0..field.size(20, 80) {
        let round = socket_with(&mut peer, &handlers);
        rounds += u64::from(round.is_ok());
        if round.is_err() {
            // If the server ends the session, the attacker opens a new one. So a limit for one
            // session alone does not stop the attack.
            field.count(&peer);
            peer = clients::open4(ATTACKER, field.port, None)?;
        }
    }
    field.assert_least("sockets that have started handlers and gone", rounds, 10);
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
    let mut reader = peers[1].reader()?;
    let limit = field.time();
    let reading = thread::spawn(move || reader.tally(limit, [r#"42["cast",1]"#]));
    let cast = r#"42["cast",1]"#;
    peers[0].say(wire::repeat(&wire::text(cast), 2000))?;
    let mut polling = field.connect()?;
    let target = clients::open_polling(&mut polling, 4, "")?;
    for body in ["40", &[cast; 3000].join("\u{1e}")] {
        let (head, _) = polling.ask(wire::post(&target, body))?;
        field.assert_status("a POST", &head, "200");
    }
    thread::sleep(field.time());
    let [heard] = reading.join().unwrap_or_default();
    field.assert_least("casts that came to one of hundreds", heard, 2000);
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
