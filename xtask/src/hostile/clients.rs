//! Peers with an open session: attacks begin with them, and well-behaved clients are such peers,
//! too.

use super::peer::Peer;
use super::wire;
use crate::failure::{Failure, Outcome, While};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Opens a websocket of Engine.IO 4, and joins no namespace.
pub(crate) fn open4(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Peer> {
    let mut peer = Peer::connect(from, port, window)?;
    peer.upgrade("/socket.io/?EIO=4&transport=websocket")?;
    peer.message_with("0{")?;
    Ok(peer)
}

/// Opens a websocket of Engine.IO 4, and joins the main namespace.
pub(crate) fn join4(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Peer> {
    let mut peer = open4(from, port, window)?;
    peer.say(wire::text("40"))?;
    peer.message_with("40{")?;
    Ok(peer)
}

/// Opens a websocket of Engine.IO 3. It is in the main namespace at once.
pub(crate) fn join3(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Peer> {
    let mut peer = Peer::connect(from, port, window)?;
    peer.upgrade("/socket.io/?EIO=3&transport=websocket")?;
    peer.message_with("40")?;
    Ok(peer)
}

/// Opens a websocket of 0.9.
pub(crate) fn join09(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Peer> {
    let mut peer = Peer::connect(from, port, window)?;
    let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
    let session = opened.split(':').next().unwrap_or_default().to_owned();
    peer.upgrade(&format!("/socket.io/1/websocket/{session}"))?;
    peer.message_with("1::")?;
    Ok(peer)
}

/// Opens a websocket of 0.6.
pub(crate) fn join06(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Peer> {
    let mut peer = Peer::connect(from, port, window)?;
    peer.upgrade("/socket.io/websocket")?;
    peer.message_with("~m~")?;
    Ok(peer)
}

/// Opens a polling session of this revision. `query` is added to the query of its handshake.
/// Returns the target of its further requests.
pub(crate) fn open_polling(peer: &mut Peer, revision: u8, query: &str) -> Outcome<String> {
    let base = match revision {
        3 => "/socket.io/?EIO=3&transport=polling&b64=1".to_owned(),
        _ => format!("/socket.io/?EIO={revision}&transport=polling"),
    };
    let (head, opened) = peer.ask(wire::get(&format!("{base}{query}")))?;
    let sid = opened
        .split_once("\"sid\":\"")
        .and_then(|(_, rest)| rest.split('"').next());
    match sid {
        Some(sid) => Ok(format!("{base}&sid={sid}")),
        None => Err(Failure::new(format!("no session id in {head:?} {opened:?}"))),
    }
}

/// Emits `echo` and waits for it.
pub(crate) fn echo(peer: &mut Peer, number: u32) -> Outcome {
    let packet = format!("42[\"echo\",\"a bystander's echo of everyday length, number {number}\"]");
    peer.say(wire::text(&packet))?;
    peer.message_with(&packet).map(|_| ())
}

/// Returns how many sessions are open, as `/__stats` says.
pub(crate) fn sessions(from: Ipv4Addr, port: u16) -> Outcome<u64> {
    let stats = stats(from, port)?;
    stats["sessions"]
        .as_u64()
        .ok_or_else(|| Failure::new(format!("no sessions in {stats}")))
}

/// Returns how many sessions have been opened, by generation and transport (`4.x websocket`).
pub(crate) fn opened(from: Ipv4Addr, port: u16) -> Outcome<BTreeMap<String, u64>> {
    let stats = stats(from, port)?;
    let kinds = stats["opened"].as_object();
    let kinds = kinds.ok_or_else(|| Failure::new(format!("no opened in {stats}")))?;
    Ok(kinds
        .iter()
        .filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?)))
        .collect())
}

/// Returns what `/__stats` says.
pub(crate) fn stats(from: Ipv4Addr, port: u16) -> Outcome<Value> {
    let mut peer = Peer::connect(from, port, None)?;
    let request = wire::get_with("/__stats", "Host: localhost\r\nConnection: close\r\n");
    let (_, body) = peer.ask(request)?;
    serde_json::from_str(&body).when("/__stats")
}
