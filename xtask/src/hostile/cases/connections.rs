//! Many connections that send little.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::wire;
use std::thread;
use std::time::{Duration, Instant};

/// The least bytes of parts whose end does not come. A server that reads them has room for 32 MiB.
const LEAST: u64 = 100_000_000;

/// Each connection sends one byte of a head now and then.
pub(super) fn half_heads(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..field.size(1000, 4000) {
        let mut peer = field.connect()?;
        peer.say("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nX: ")?;
        peers.push(peer);
    }
    let end = Instant::now() + field.time();
    while Instant::now() < end {
        // The server may have ended the connection.
        peers.retain_mut(|peer| peer.say("x").is_ok());
        thread::sleep(Duration::from_millis(500));
    }
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

/// Each connection announces a frame of nearly a megabyte, and sends a few KiB of it.
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

/// Bodies of nearly a megabyte whose end never comes. One goes to a session, one to a session that
/// does not exist, and one to the application.
pub(super) fn half_bodies(field: &Field) -> Outcome {
    let mut polling = field.connect()?;
    let target = clients::open_polling(&mut polling, 4, "")?;
    let targets = [&*target, "/socket.io/?EIO=4&transport=polling&sid=none", "/elsewhere"];
    let body = "4".repeat(980_000);
    let (mut peers, mut said) = (Vec::new(), 0);
    for number in 0..field.size(300, 900) {
        let target = targets[number % targets.len()];
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 990000\r\n\r\n");
        let mut peer = field.connect()?;
        // The server may refuse it.
        let _ = peer.say(head);
        peer.pour(body.as_bytes(), body.len() as u64, Duration::from_secs(1));
        said += peer.said();
        field.count(&peer);
        peers.push(peer);
    }
    field.assert_least("bytes of bodies", said, LEAST);
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Messages of nearly a megabyte whose end never comes, on many websockets: as one frame, and as
/// many frames.
pub(super) fn half_messages(field: &Field) -> Outcome {
    let mut whole = wire::frame_head(wire::TEXT, 990_000);
    whole.extend_from_slice(&vec![b'4'; 980_000]);
    let mut first = wire::frame(wire::TEXT, "4".repeat(9000));
    first[0] &= 0x7f;
    let mut next = wire::frame(0, "4".repeat(9000));
    next[0] &= 0x7f;
    let fragments = [first, wire::repeat(&next, 100)].concat();
    let (mut peers, mut said) = (Vec::new(), 0);
    for number in 0..field.size(300, 900) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        let message = if number % 2 == 0 { &whole } else { &fragments };
        peer.pour(message, message.len() as u64, Duration::from_secs(1));
        said += peer.said();
        field.count(&peer);
        peers.push(peer);
    }
    field.assert_least("bytes of messages", said, LEAST);
    thread::sleep(Duration::from_millis(500));
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

/// Each client opens a websocket, is let in, and drops the connection.
pub(super) fn passing(field: &Field) -> Outcome {
    let end = Instant::now() + field.time();
    let mut passed = 0;
    for _ in 0..field.size(5000, 20_000) {
        if Instant::now() > end {
            break;
        }
        let peer = clients::join4(ATTACKER, field.port, None)?;
        passed += 1;
        field.count(&peer);
    }
    field.assert_least("clients", passed, 500);
    Ok(())
}
