//! What the packets of the server mean: the handshake, the heartbeat, messages
//! (docs/protocol/engine-io.md §2 and §6).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;

use super::{Context, End, Heard, Session};
use crate::client::config::Transport;
use crate::client::event::{DisconnectReason, ErrorClass};
use crate::engine::{EngineMessage, Packet, Revision};

/// The data of the open packet. Unknown keys are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    #[serde(default)]
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    #[serde(default)]
    max_payload: Option<u64>,
}

/// The words behind a noop of a server that goes away.
#[derive(Deserialize)]
struct StayAway {
    /// Milliseconds.
    after: u64,
}

/// The longest id that is taken from a server. It stands in every target from then on.
const MAX_SID_BYTES: usize = 512;

/// The longest open packet. The list in it takes many times the bytes of its text.
const MAX_OPEN_BYTES: usize = 16 * 1024;

impl Session {
    pub(super) fn handle_packet(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if self.ended {
            return;
        }
        if !self.opened {
            return match packet {
                Packet::Open(data) => self.handle_open(&data, cx),
                _ => self.break_off("the server sent no open packet", cx),
            };
        }
        if self.revision() == Revision::V3 {
            self.expires = cx.now + self.interval + self.timeout;
        }
        match packet {
            Packet::Message(text) => cx.heard.push_back(Heard::Message(EngineMessage::Text(text))),
            Packet::Binary(bytes) => cx.heard.push_back(Heard::Message(EngineMessage::Binary(bytes))),
            Packet::Ping(_) if self.revision() == Revision::V4 => {
                self.expires = cx.now + self.interval + self.timeout;
                self.ping_until = None;
                self.send_pong();
                self.pump(cx);
            }
            Packet::Pong(_) if self.revision() == Revision::V3 => self.next_ping = Some(cx.now + self.interval),
            Packet::Close => {
                let end = End::new(
                    DisconnectReason::TransportClose,
                    ErrorClass::Unreachable,
                    "the server closed the session",
                );
                self.end(end, cx);
            }
            Packet::Open(_) | Packet::Ping(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => {}
        }
    }

    /// Notes the words behind a noop with which a server of this project says how long to stay away
    /// (docs/protocol/extensions.md §1).
    pub(super) fn note_stay_away(&mut self, text: &str, cx: &Context<'_>) {
        let words = text.strip_prefix('6').filter(|words| !words.is_empty());
        step!(bulk words.map_or(0, str::len));
        let away: Option<StayAway> = words.and_then(|words| serde_json::from_str(words).ok());
        if let Some(away) = away {
            self.stay_away = Some(Duration::from_millis(away.after).min(cx.config.max_retry_after));
        }
    }

    fn handle_open(&mut self, data: &str, cx: &mut Context<'_>) {
        if data.len() > MAX_OPEN_BYTES {
            return self.break_off("the open packet is too long", cx);
        }
        step!(bulk data.len());
        let open: Open = match serde_json::from_str(data) {
            Ok(open) => open,
            Err(_) => return self.break_off("invalid open packet", cx),
        };
        if open.sid.is_empty() || open.sid.len() > MAX_SID_BYTES {
            return self.break_off("invalid session id", cx);
        }
        self.sid = open.sid;
        self.interval = Duration::from_millis(open.ping_interval);
        self.timeout = Duration::from_millis(open.ping_timeout);
        let max_payload = open.max_payload.filter(|max| *max > 0);
        self.max_payload = max_payload.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        self.opened = true;
        self.upgrade_expires = None;
        if let Some(until) = self.closing.take() {
            // The client was closed while the answer was on its way.
            return self.say_goodbye(until, cx);
        }
        self.expires = cx.now + self.interval + self.timeout;
        if self.revision() == Revision::V3 {
            self.next_ping = Some(cx.now + self.interval);
        }
        cx.heard.push_back(Heard::Opened);
        let offers = self.transport == Transport::Polling && open.upgrades.iter().any(|name| name == "websocket");
        if offers && self.opening.may_upgrade {
            self.begin_upgrade(cx);
        } else if offers {
            self.upgrade_again = self.opening.upgrade_from;
        }
    }
}
