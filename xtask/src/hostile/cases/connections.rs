//! Connections that come in numbers, and say little.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::wire;
use std::thread;
use std::time::{Duration, Instant};

/// Each sends a byte of a head now and then.
pub(super) fn half_heads(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..field.size(1000, 4000) {
        let mut peer = field.connect()?;
        peer.say("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nX: ")?;
        peers.push(peer);
    }
    let end = Instant::now() + field.time();
    while Instant::now() < end {
        // The server may have ended it.
        peers.retain_mut(|peer| peer.say("x").is_ok());
        thread::sleep(Duration::from_millis(500));
    }
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

/// Each announces a frame of nearly a megabyte, and sends a few KiB of it.
pub(super) fn half_frames(field: &Field) -> Outcome {
    let mut part = wire::frame_head(wire::TEXT, 900_000);
    part.extend_from_slice(&[b'4'; 2000]);
    let mut peers = Vec::new();
    for _ in 0..field.size(1000, 4000) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        peer.say(&part)?;
        peers.push(peer);
    }
    thread::sleep(Duration::from_millis(500));
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

pub(super) fn idle(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..field.size(3000, 9000) {
        peers.push(field.connect()?);
    }
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Each is let in by websocket and goes without a word.
pub(super) fn passing(field: &Field) -> Outcome {
    let end = Instant::now() + field.time();
    for _ in 0..field.size(5000, 20_000) {
        if Instant::now() > end {
            break;
        }
        let peer = clients::join4(ATTACKER, field.port, None)?;
        field.count(&peer);
    }
    Ok(())
}
