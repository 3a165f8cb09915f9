//! Peers that do not read the answers to their requests.

use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::Peer;
use crate::hostile::session::status;
use crate::hostile::wire;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// The receive window of a peer that reads nothing. It is small, so that bytes wait in the server
/// instead of in the kernel.
const WINDOW: Option<usize> = Some(4096);

/// The least bytes of a flood. What the kernel holds is less, so the server has read some of it.
const LEAST: u64 = 1 << 20;

/// The least bytes that wait for peers that read nothing, and ask for more and more.
const LEAST_QUEUED: u64 = 8 << 20;

/// Sends empty pings, 32 million of them.
pub(super) fn pings(field: &Field) -> Outcome {
    let mut peer = clients::join4(ATTACKER, field.port, WINDOW)?;
    peer.ping()?;
    let pings = wire::repeat(&wire::frame(wire::PING, ""), 10_000);
    peer.pour(&pings, field.size(40 << 20, 187 << 20) as u64, field.time());
    field.assert_least("bytes of pings", peer.said(), LEAST);
    field.count(&peer);
    Ok(())
}

pub(super) fn probes(field: &Field) -> Outcome {
    let mut polling = field.connect()?;
    let target = clients::open_polling(&mut polling, 4, "")?;
    let mut candidate = Peer::connect(ATTACKER, field.port, WINDOW)?;
    candidate.upgrade(&target.replace("polling", "websocket"))?;
    let probes = wire::repeat(&wire::text("2probe"), 10_000);
    candidate.pour(&probes, field.size(120 << 20, 400 << 20) as u64, field.time());
    field.assert_least("bytes of probes", candidate.said(), 10 * LEAST);
    candidate.message_with("3probe")?;
    field.count(&candidate);
    Ok(())
}

pub(super) fn echoes(field: &Field) -> Outcome {
    let mut peer = clients::join4(ATTACKER, field.port, WINDOW)?;
    let echo = wire::text(&format!("42[\"echo\",\"{}\"]", "e".repeat(1000)));
    peer.answer(&echo, "42[\"echo\",\"eee")?;
    peer.pour(
        &wire::repeat(&echo, 100),
        field.size(80 << 20, 187 << 20) as u64,
        field.time(),
    );
    field.assert_least("bytes of events", peer.said(), LEAST);
    field.count(&peer);
    Ok(())
}

/// Sends pings as fast as the server takes them, and reads the pongs in small amounts.
pub(super) fn trickles(field: &Field) -> Outcome {
    let mut peer = clients::join4(ATTACKER, field.port, WINDOW)?;
    let mut reader = peer.reader()?;
    let end = Instant::now() + field.time();
    let sipping = thread::spawn(move || {
        let mut sips = 0;
        while Instant::now() < end && reader.sip(256).is_ok_and(|read| read > 0) {
            sips += 1;
            thread::sleep(Duration::from_millis(1));
        }
        sips
    });
    let pings = wire::repeat(&wire::frame(wire::PING, ""), 10_000);
    peer.pour(&pings, field.size(40 << 20, 187 << 20) as u64, field.time());
    field.assert_least("bytes of pings", peer.said(), LEAST);
    field.count(&peer);
    drop(peer);
    field.assert_least("sips of pongs", sipping.join().unwrap_or(0), 100);
    Ok(())
}

/// Heartbeats of Engine.IO 3, CONNECTs that are refused, and messages of 0.9 that ask for an
/// acknowledgement: the server itself answers each of them.
pub(super) fn replies(field: &Field) -> Outcome {
    let ping = wire::text("2");
    let refused = wire::text("40/nowhere,");
    let acknowledged = wire::text("3:1::x");
    for (mut peer, packet, answer) in [
        (clients::join3(ATTACKER, field.port, WINDOW)?, ping, "3"),
        (clients::join4(ATTACKER, field.port, WINDOW)?, refused, "44/nowhere,"),
        (clients::join09(ATTACKER, field.port, WINDOW)?, acknowledged, "6:::1"),
    ] {
        peer.answer(&packet, answer)?;
        let packets = wire::repeat(&packet, 5000);
        peer.pour(&packets, field.size(30 << 20, 120 << 20) as u64, field.time() / 3);
        field.assert_least(&format!("bytes for {answer}"), peer.said(), LEAST);
        field.count(&peer);
    }
    Ok(())
}

/// Heartbeats of Engine.IO 3 in the bodies of POSTs, without a GET that fetches the answers.
pub(super) fn polled_replies(field: &Field) -> Outcome {
    for _ in 0..field.size(20, 100) {
        let mut peer = field.connect()?;
        let target = clients::open_polling(&mut peer, 3, "")?;
        let mut posts = 0;
        while peer.said() < 10 << 20 {
            // The server may end the session. Then it refuses further requests.
            match peer.ask(wire::post(&target, &"1:2".repeat(300_000))) {
                Ok((head, _)) if status(&head) == "200" => posts += 1,
                _ => break,
            }
        }
        field.assert_least("POSTs of heartbeats", posts, 1);
        field.count(&peer);
    }
    Ok(())
}

/// Many requests in a row, each for an answer of a few hundred bytes.
pub(super) fn responses(field: &Field) -> Outcome {
    let mut peer = Peer::connect(ATTACKER, field.port, WINDOW)?;
    let request = wire::get("/__stats");
    let (head, _) = peer.ask(&request)?;
    field.assert_status("the first request", &head, "200");
    let requests = wire::repeat(request.as_bytes(), 1000);
    peer.pour(&requests, field.size(20 << 20, 187 << 20) as u64, field.time());
    field.assert_least("bytes of requests", peer.said(), LEAST);
    field.count(&peer);
    Ok(())
}

/// Six websockets ask for fifty megabytes each, read nothing, and still send pongs.
pub(super) fn blind_pongs(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..6 {
        let mut peer = clients::join4(ATTACKER, field.port, WINDOW)?;
        peer.answer(&wire::text(r#"42["burst",1,1]"#), r#"42["burst-end",1]"#)?;
        peer.say(wire::text(r#"42["burst",[5000,10000]]"#).as_slice())?;
        peer.say(wire::text(r#"42["burst",5000,10000]"#).as_slice())?;
        peers.push(peer);
    }
    stay_blind(field, &mut peers, &wire::text("3"), LEAST_QUEUED)
}

pub(super) fn blind_09(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..6 {
        let mut peer = clients::join09(ATTACKER, field.port, WINDOW)?;
        peer.say(wire::text(r#"5:::{"name":"burst","args":[5000,10000]}"#))?;
        peers.push(peer);
    }
    stay_blind(field, &mut peers, &wire::text("2::"), LEAST_QUEUED)
}

/// Each client sends messages that the server echoes, until the server takes no more. Then it
/// guesses the numbers of the heartbeats.
pub(super) fn blind_06(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    let message = wire::text(&format!("~m~1000~m~{}", "m".repeat(1000)));
    for _ in 0..6 {
        let mut peer = clients::join06(ATTACKER, field.port, WINDOW)?;
        peer.answer(&message, "~m~1000~m~m")?;
        peer.pour(&wire::repeat(&message, 100), 8 << 20, Duration::from_secs(1));
        field.assert_least("bytes of messages", peer.said(), LEAST);
        peers.push(peer);
    }
    let guesses: Vec<u8> = (1..20)
        .flat_map(|number| {
            let heartbeat = format!("~h~{number}");
            wire::text(&format!("~m~{}~m~{heartbeat}", heartbeat.len()))
        })
        .collect();
    // The server stops reading before much waits.
    stay_blind(field, &mut peers, &guesses, 1)
}

/// Sends the answer to a heartbeat again and again, while this many bytes wait for the peers. Their
/// sessions must end meanwhile.
fn stay_blind(field: &Field, peers: &mut [Peer], answer: &[u8], least_queued: u64) -> Outcome {
    // The heartbeat of 0.9 is the longest of the conformance server: 3 s, and 10 s for its answer.
    let end = Instant::now() + Duration::from_secs(20);
    let mut queued = 0;
    loop {
        for peer in peers.iter_mut() {
            peer.pour(answer, answer.len() as u64, Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(250));
        let (sessions, waiting) = sessions_and_queues(field)?;
        queued = waiting.max(queued);
        if sessions == 1 {
            break;
        }
        if Instant::now() > end {
            field.finding(format!(
                "peers that read nothing still have sessions after 20 s: {sessions}"
            ));
            break;
        }
    }
    field.assert_least("bytes that wait for peers that read nothing", queued, least_queued);
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}

/// Polling sessions that join, and then only POST answers to heartbeats that they never fetch.
pub(super) fn blind_posts(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for revision in [4, 4, 3, 3] {
        let mut peer = field.connect()?;
        let target = clients::open_polling(&mut peer, revision, "")?;
        let [join, burst, pong] = match revision {
            4 => ["40", r#"42["burst",5000,10000]"#, "3"],
            _ => ["2:40", r#"24:42["burst",5000,10000]"#, "1:2"],
        };
        for body in [join, burst] {
            let (head, _) = peer.ask(wire::post(&target, body))?;
            field.assert_status(&format!("a POST of {body}"), &head, "200");
        }
        peers.push((peer, wire::post(&target, pong)));
    }
    let end = Instant::now() + Duration::from_secs(12);
    let mut queued = 0;
    loop {
        let (sessions, waiting) = sessions_and_queues(field)?;
        queued = waiting.max(queued);
        if sessions == 1 {
            break;
        }
        if Instant::now() > end {
            field.finding("polling sessions that never GET still live after 12 s");
            break;
        }
        for (peer, pong) in &mut peers {
            // An answer other than 200 says that the session has ended.
            let _ = peer.ask(pong.as_bytes());
        }
        thread::sleep(Duration::from_millis(250));
    }
    field.assert_least("bytes that wait for sessions that never GET", queued, LEAST_QUEUED);
    peers.iter().for_each(|(peer, _)| field.count(peer));
    Ok(())
}

/// Returns the number of sessions, which is one if the bystander alone is there and no newcomer,
/// and the bytes that wait for them.
fn sessions_and_queues(field: &Field) -> Outcome<(u64, u64)> {
    let stats = clients::stats(ATTACKER, field.port)?;
    let number = |value: &Value| {
        value
            .as_u64()
            .ok_or_else(|| Failure::new(format!("no numbers in {stats}")))
    };
    Ok((number(&stats["sessions"])?, number(&stats["held"]["queued_bytes"])?))
}
