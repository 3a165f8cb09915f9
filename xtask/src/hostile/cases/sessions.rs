//! Small requests and packets that cost the server much: handshakes, CONNECTs, queries.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::{Peer, Poured};
use crate::hostile::session::status;
use crate::hostile::wire;
use std::thread;
use std::time::{Duration, Instant};

/// Makes a query of 7 KB, which no limit for targets refuses.
fn long_query() -> String {
    (0..600).map(|number| format!("&key{number:04}=%41")).collect()
}

/// CONNECTs of 2.x to namespaces of a pattern, in as few bodies as possible.
pub(super) fn connects_engine3(field: &Field) -> Outcome {
    let open = |peer: &mut Peer| clients::open_polling(peer, 3, &long_query());
    connects(field, open, |number| {
        let packet = format!("40/tenant-{number}");
        format!("{}:{packet}", packet.len())
    })
}

pub(super) fn connects_09(field: &Field) -> Outcome {
    let open = |peer: &mut Peer| {
        let (_, opened) = peer.ask(wire::get(&format!("/socket.io/1/?t=1{}", long_query())))?;
        let session = opened.split(':').next().unwrap_or_default();
        let target = format!("/socket.io/1/xhr-polling/{session}");
        peer.ask(wire::get(&target))?;
        Ok(target)
    };
    connects(field, open, |number| {
        let packet = format!("1::/tenant-{number}");
        format!("\u{fffd}{}\u{fffd}{packet}", packet.len())
    })
}

/// Sends CONNECTs on many sessions, as many as one may send in a second, and then without end on
/// one session. A session may have 32 sockets, and the other CONNECTs are refused.
fn connects(field: &Field, open: impl Fn(&mut Peer) -> Outcome<String>, packet: impl Fn(usize) -> String) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..field.size(20, 100) {
        let mut peer = field.connect()?;
        let target = open(&mut peer)?;
        let body: String = (0..100).map(&packet).collect();
        let (head, _) = peer.ask(wire::post(&target, &body))?;
        field.assert_status("a POST of CONNECTs", &head, "200");
        field.count(&peer);
        peers.push(peer);
    }
    let sockets = clients::stats(ATTACKER, field.port)?["held"]["sockets"].as_u64();
    field.assert_least("sockets", sockets.unwrap_or(0), (AT_ONCE * peers.len()) as u64);
    let mut peer = field.connect()?;
    let target = open(&mut peer)?;
    let mut is_taken = false;
    for body in bodies((0..field.size(40_000, 65_000)).map(packet)) {
        // The server may end the session or the connection after the first body.
        match peer.ask(wire::post(&target, &body)) {
            Ok((head, _)) => is_taken |= status(&head) == "200",
            Err(_) => break,
        }
    }
    if !is_taken {
        field.finding("no body full of CONNECTs was taken");
    }
    field.count(&peer);
    Ok(())
}

/// Puts the packets into bodies of less than a megabyte.
fn bodies(packets: impl Iterator<Item = String>) -> Vec<String> {
    const MOST: usize = 900_000;
    let mut bodies = vec![String::new()];
    for packet in packets {
        match bodies.last_mut() {
            Some(body) if body.len() + packet.len() <= MOST => body.push_str(&packet),
            _ => bodies.push(packet),
        }
    }
    bodies
}

/// The beginning of an answer that opens a session. Older sessions give way to it.
const OK: &str = "HTTP/1.1 200";

pub(super) fn handshakes(field: &Field) -> Outcome {
    let request = wire::get("/socket.io/?EIO=4&transport=polling");
    flood(field, &request, field.size(200_000, 1_000_000), OK)
}

/// Heads as large as a head may be. A server should keep little of them.
pub(super) fn large_handshakes(field: &Field) -> Outcome {
    let fields: String = (0..40)
        .map(|number| format!("X-Filler-{number}: {}\r\n", "f".repeat(150)))
        .collect();
    let request = wire::get_with(
        "/socket.io/?EIO=4&transport=polling",
        &format!("Host: localhost\r\n{fields}"),
    );
    flood(field, &request, field.size(30_000, 150_000), OK)
}

pub(super) fn handshakes_09(field: &Field) -> Outcome {
    flood(field, &wire::get("/socket.io/1/"), field.size(200_000, 1_000_000), OK)
}

pub(super) fn ampersands(field: &Field) -> Outcome {
    let request = wire::get(&format!(
        "/socket.io/?EIO=4&transport=polling&sid=x{}",
        "&".repeat(7800)
    ));
    flood(field, &request, field.size(10_000, 50_000), "HTTP/1.1 400")
}

/// Sends the request `count` times in a row, and reads the answers, which begin so. When the server
/// ends the connection, a new one goes on.
fn flood(field: &Field, request: &str, count: usize, wanted: &'static str) -> Outcome {
    let total = (request.len() * count) as u64;
    let requests = wire::repeat(request.as_bytes(), 1 + 65_536 / request.len());
    let end = Instant::now() + field.time();
    let (mut sent, mut answered) = (0, 0);
    for _ in 0..1000 {
        let time = end.saturating_duration_since(Instant::now());
        let mut peer = field.connect()?;
        let mut reader = peer.reader()?;
        let reading = thread::spawn(move || reader.tally(time, [wanted]));
        let poured = peer.pour(&requests, total - sent, time);
        sent += peer.said();
        field.count(&peer);
        peer.finish();
        let [count] = reading.join().unwrap_or_default();
        answered += count;
        if poured != Poured::Closed || Instant::now() >= end {
            break;
        }
    }
    field.assert_least("requests that were answered", answered, 1000);
    Ok(())
}

/// Sessions whose first packet is malformed, and which send nothing after it. They must end within
/// one heartbeat.
pub(super) fn malformed_posts(field: &Field) -> Outcome {
    let mut peer = field.connect()?;
    let mut ended = 0;
    for number in 0..field.size(1500, 8000) {
        let body = if number % 2 == 0 { "4" } else { "bAQ" };
        let Ok(target) = clients::open_polling(&mut peer, 4, "") else {
            // The server takes no more sessions from this address. This is a limit, too.
            break;
        };
        if peer.ask(wire::post(&target, body)).is_err() {
            field.count(&peer);
            peer = field.connect()?;
        }
        ended += 1;
    }
    field.assert_least("sessions with a malformed POST", ended, 1000);
    field.count(&peer);
    Ok(())
}

/// How many sockets a session has at once, besides that of the main namespace. It may have 32.
const AT_ONCE: usize = 30;

/// Joins and leaves namespaces whose names match a pattern. The server makes each of them when a
/// client asks for it. Many sessions ask as often as they may in a second, and one asks without
/// end.
pub(super) fn pattern_names(field: &Field) -> Outcome {
    let mut joined = 0;
    for session in 0..field.size(60, 600) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        for turn in 0..3 {
            let first = (session * 3 + turn) * AT_ONCE;
            let all = |kind: &str| -> Vec<u8> {
                let packets = (first..first + AT_ONCE).map(|number| wire::text(&format!("{kind}/tenant-{number},")));
                packets.flatten().collect()
            };
            peer.say(all("40"))?;
            for _ in 0..AT_ONCE {
                peer.message_with("40/tenant-")?;
                joined += 1;
            }
            peer.say(all("41"))?;
            peer.answer(&wire::text("42[\"echo\",1]"), "42[\"echo\",1]")?;
        }
        field.count(&peer);
    }
    field.assert_least("namespaces that were joined", joined, field.size(5400, 54_000) as u64);
    let mut peer = clients::join4(ATTACKER, field.port, None)?;
    let mut reader = peer.reader()?;
    let end = field.time();
    let reading = thread::spawn(move || reader.drain(end));
    for first in (0..field.size(60_000, 300_000)).step_by(1000) {
        let turns: Vec<u8> = (first..first + 1000)
            .flat_map(|number| {
                let mut both = wire::text(&format!("40/tenant-{number},"));
                both.extend(wire::text(&format!("41/tenant-{number},")));
                both
            })
            .collect();
        if peer.pour(&turns, turns.len() as u64, Duration::from_secs(2)) != Poured::All {
            break;
        }
    }
    field.count(&peer);
    if !reading.join().unwrap_or(false) {
        field.finding("a session that asks for names without end goes on");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_cut_between_packets() {
        let bodies = bodies((0..150_000).map(|_| "7:40/aaaa".to_owned()));
        assert_eq!(bodies.len(), 2);
        assert!(
            bodies
                .iter()
                .all(|body| body.starts_with("7:40/") && body.len() <= 900_000)
        );
        assert_eq!(bodies.concat().len(), 9 * 150_000);
    }
}
