//! Small parts of large buffers that are kept for long, and large values that are kept whole.

use super::messages::join_msgpack;
use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::{Peer, Poured};
use crate::hostile::wire;
use std::thread;
use std::time::Duration;

/// A client whose messages fill the server's buffers, so that the messages of other clients come
/// after them in the buffers.
struct Neighbour {
    peer: Peer,
    events: Vec<u8>,
}

impl Neighbour {
    fn new(field: &Field) -> Outcome<Self> {
        Ok(Self {
            peer: clients::join4(ATTACKER, field.port, None)?,
            events: ordinary(60),
        })
    }

    fn speak(&mut self) -> Outcome {
        for message in self.peer.waiting_messages()? {
            // Otherwise it is gone before a busy machine has opened all connections.
            if message == b"2" {
                self.peer.say(wire::text("3"))?;
            }
        }
        self.peer.say(&self.events)
    }
}

/// Makes `count` events of one KiB that need no answer.
fn ordinary(count: usize) -> Vec<u8> {
    let event = wire::text(&format!("42[\"echo-ack\",\"{}\"]", "n".repeat(1000)));
    wire::repeat(&event, count)
}

/// Heads of POSTs to existing sessions, each on a new connection.
pub(super) fn bodies(field: &Field) -> Outcome {
    let mut neighbour = Neighbour::new(field)?;
    let mut polling = field.connect()?;
    let target = clients::open_polling(&mut polling, 4, "")?;
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n4");
    let mut peers = Vec::new();
    for _ in 0..field.size(1500, 4000) {
        let mut peer = field.connect()?;
        peer.say(&head)?;
        peers.push(peer);
        neighbour.speak()?;
    }
    thread::sleep(Duration::from_millis(500));
    let held = clients::stats(ATTACKER, field.port)?["held"]["connections"].as_u64();
    field.assert_least("connections", held.unwrap_or(0), peers.len() as u64);
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

pub(super) fn attachments(field: &Field) -> Outcome {
    let mut neighbour = Neighbour::new(field)?;
    let packet = wire::text(r#"451-["cast",{"_placeholder":true,"num":0}]"#);
    let mut peers = Vec::new();
    for _ in 0..field.size(1500, 4000) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        peer.say(&packet)?;
        peers.push(peer);
        neighbour.speak()?;
    }
    thread::sleep(Duration::from_millis(500));
    // The first of them may have gone for their heartbeats, on a busy machine.
    field.assert_least("sessions", field.sessions()?, 200);
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

/// Events whose handlers wait for five seconds, between events whose handlers do not wait.
pub(super) fn arguments(field: &Field) -> Outcome {
    let mut neighbour = Neighbour::new(field)?;
    let mut peer = clients::join4(ATTACKER, field.port, None)?;
    let small = wire::text(r#"42["later",5000,"x"]"#);
    let mut rounds = 0;
    for _ in 0..field.size(1000, 3000) {
        let both = [&small[..], &ordinary(120)].concat();
        if peer.pour(&both, both.len() as u64, Duration::from_secs(2)) != Poured::All {
            break;
        }
        rounds += 1;
        neighbour.speak()?;
    }
    field.assert_least("handlers that wait", rounds, 100);
    peer.message_with(r#"42["later","x"]"#)?;
    field.count(&peer);
    Ok(())
}

/// Many rooms with few sockets each: with names as long as a message may be, which no socket joins,
/// and with names as long and as many as the limits allow.
pub(super) fn rooms(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    let mut number = 0;
    for _ in 0..4 {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        for _ in 0..field.size(60, 500) {
            number += 1;
            let join = wire::text(&format!("42{number}[\"join\",\"{number}{}\"]", "r".repeat(900_000)));
            if peer.pour(&join, join.len() as u64, Duration::from_secs(2)) != Poured::All {
                break;
            }
        }
        field.assert_least("bytes of names", peer.said(), 20 << 20);
        // The server reads up to the last message.
        let said = peer.answer(&wire::text("42[\"echo\",\"end\"]"), "4")?;
        if !said.starts_with("42[\"echo\",\"end\"]") {
            field.finding(format!("a room with a name of 900,000 bytes: {said}"));
        }
        field.count(&peer);
        peers.push(peer);
    }
    let (mut joined, long) = (0, "r".repeat(1000));
    for _ in 0..field.size(40, 400) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        for place in 0..250 {
            number += 1;
            peer.say(wire::text(&format!("42{place}[\"join\",\"{number}{long}\"]")))?;
        }
        field.count(&peer);
        // The next one would not be answered, either.
        if peer.message_with("43249[\"ok\"]").is_err() {
            break;
        }
        joined += 1;
        peers.push(peer);
    }
    field.assert_least("sockets in 250 rooms each", joined, field.size(40, 400) as u64);
    Ok(())
}

/// `{type: 0, nsp: "/", data: {token: "slow", a: [-32, -32, ...]}}` with so many numbers: each has
/// one byte on the wire, and more in JSON.
fn numbers(count: u32) -> Vec<u8> {
    let mut packet = b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x82\xa5token\xa4slow\xa1a\xdd".to_vec();
    packet.extend_from_slice(&count.to_be_bytes());
    // The number of one byte that becomes longest in JSON: it is written as `-32,`.
    packet.extend_from_slice(&vec![0xe0; count as usize]);
    wire::frame(wire::BINARY, packet)
}

/// Authentication data that is as large as a message may be, and as large as it may be.
pub(super) fn auth(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    let connect = numbers(990_000);
    for _ in 0..field.size(60, 300) {
        let mut peer = clients::open4(ATTACKER, field.port + 1, None)?;
        peer.pour(&connect, connect.len() as u64, Duration::from_secs(2));
        field.assert_least("bytes of a CONNECT", peer.said(), connect.len() as u64);
        if peer.message().is_ok() {
            field.finding("a CONNECT of nearly a megabyte was answered");
        }
        field.count(&peer);
        peers.push(peer);
    }
    let connect = numbers(15_000);
    let mut waiting = Vec::new();
    for _ in 0..field.size(200, 1000) {
        let mut peer = clients::open4(ATTACKER, field.port + 1, None)?;
        peer.say(&connect)?;
        waiting.push(peer);
    }
    let mut joined = 0;
    for peer in &mut waiting {
        let answer = peer.message().unwrap_or_default();
        field.count(peer);
        if !answer.windows(4).any(|part| part == b"\xa3sid") {
            break;
        }
        joined += 1;
    }
    field.assert_least("sessions with 60 KB of auth", joined, waiting.len() as u64);
    // An ordinary client is still let in.
    join_msgpack(field.port + 1)?;
    Ok(())
}
