//! The wire of 0.7 to 0.9 (docs/protocol/legacy-0.9.md): the handshake, packets in both directions.
//!
//! Packets of this wire become those of Socket.IO, so the manager knows no difference: `1::` opens
//! the session and connects `/`, as Engine.IO 3 does. Acknowledgements are counted from 1 here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::polling::text_of;
use super::request::timestamp;
use super::{Context, End, Heard, Packed, Session};
use crate::client::config::{ClientConfig, Transport};
use crate::client::event::{DisconnectReason, ErrorClass};
use crate::client::line::Purpose;
use crate::json;
use crate::keep;
use crate::legacy::legacy09::handshake::Handshake;
use crate::legacy::legacy09::payload::{self, PayloadError};
use crate::legacy::legacy09::{Body, Id, Packet, Reason, values};
use crate::legacy::transports;
use crate::socket::{self, is_reserved_event};

/// A time that a server does not name, or names as 0. Genuine clients take it as "at once".
const DAY: Duration = Duration::from_secs(86_400);

const HEARTBEAT: &[u8] = b"2::";

impl Session {
    pub(super) fn target09(&self, transport: Transport, cx: &mut Context<'_>) -> String {
        let base = self.opening.endpoint.path.trim_end_matches('/');
        if self.sid.is_empty() {
            return format!("{base}/1/?t={}", timestamp(cx));
        }
        match transport {
            Transport::WebSocket => format!("{base}/1/websocket/{}", self.sid),
            Transport::Polling => format!("{base}/1/xhr-polling/{}?t={}", self.sid, timestamp(cx)),
        }
    }

    /// The answer to the handshake: the transports that both ends have are tried in our order.
    pub(super) fn handle_handshake(&mut self, body: Bytes, cx: &mut Context<'_>) {
        let handshake = ByteString::try_from(body).map_err(|_| "the body is not UTF-8".into());
        let handshake = handshake.and_then(|text| Handshake::decode(&text).map_err(|error| format!("{error}")));
        let handshake = match handshake {
            Ok(handshake) => handshake,
            Err(error) => return self.fail09(&error, cx),
        };
        let is_offered = |transport: &Transport| {
            let name = match transport {
                Transport::Polling => transports::Transport::XhrPolling,
                Transport::WebSocket => transports::Transport::Websocket,
            };
            // A genuine client takes an empty list for all transports.
            handshake.transports.is_empty() || handshake.transports.contains(&name)
        };
        self.opening.transports.push_front(self.transport);
        self.opening.transports.retain(is_offered);
        let Some(transport) = self.opening.transports.pop_front() else {
            return self.fail09("the server offers none of the transports", cx);
        };
        let time = |seconds: Option<u32>| {
            let seconds = seconds.filter(|seconds| *seconds > 0);
            seconds.map_or(DAY, |seconds| Duration::from_secs(seconds.into()))
        };
        self.transport = transport;
        self.sid = String::from(&*handshake.sid);
        self.interval = time(handshake.heartbeat_seconds);
        self.timeout = time(handshake.close_seconds);
        if transport == Transport::WebSocket {
            self.close_lines(cx, |line| line.purpose == Purpose::Get);
        }
        self.open_transport(cx);
    }

    fn fail09(&mut self, message: &str, cx: &mut Context<'_>) {
        let end = End::new(DisconnectReason::TransportError, ErrorClass::Protocol, message);
        self.end(end, cx);
    }

    /// How long the server may be silent (docs/protocol/legacy-0.9.md §10).
    fn silence09(&self) -> Duration {
        match self.transport {
            Transport::Polling => self.timeout,
            Transport::WebSocket => self.timeout.min(self.interval),
        }
    }

    pub(super) fn handle_text09(&mut self, text: &ByteString, cx: &mut Context<'_>) {
        if self.opened {
            self.expires = cx.now + self.silence09();
        }
        let mut texts = Vec::new();
        let verdict = payload::decode(text, cx.config.max_packets_per_payload, &mut texts);
        for part in &mut texts {
            step!();
            keep::part_of(text.len(), part);
            // What is no packet is left out (docs/protocol/legacy-0.9.md §13).
            if let Ok(packet) = Packet::decode(part)
                && !self.ended
            {
                self.handle_packet09(packet, cx);
            }
        }
        if verdict == Err(PayloadError::TooManyPackets) {
            self.break_off("too many packets in one payload", cx);
        }
    }

    fn handle_packet09(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let is_root = packet.endpoint.is_empty();
        let Some(namespace) = values::namespace_of(&packet) else {
            return;
        };
        if let Some(id) = packet.id.as_ref().filter(|id| !id.by_application)
            && self.opened
            && matches!(packet.body, Body::Message(_) | Body::Json(_))
        {
            self.acknowledge_receipt(&packet.endpoint, id, cx);
        }
        match packet.body {
            Body::Connect(_) if is_root && !self.opened => self.open09(cx),
            Body::Error { reason, reconnect } if is_root => self.handle_error(reason, reconnect, cx),
            Body::Heartbeat if self.closing.is_some() => {}
            Body::Heartbeat => {
                self.older.echo = Some(Bytes::from_static(HEARTBEAT));
                self.pump(cx);
            }
            Body::Disconnect if is_root && self.closing.is_some() => self.end_closed(cx),
            Body::Disconnect if is_root => cx.heard.push_back(Heard::Dismissed),
            body if self.opened => {
                let packet = heard(namespace, packet.id.as_ref(), body, cx.config);
                cx.heard.extend(packet.map(Heard::Packet));
            }
            _ => {}
        }
    }

    /// `1::`: the session is open, and `/` is connected.
    fn open09(&mut self, cx: &mut Context<'_>) {
        self.expires = cx.now + self.silence09();
        self.tell_opened(cx);
    }

    /// The session is open, and `/` is connected, on a wire on which the server connects `/`.
    pub(super) fn tell_opened(&mut self, cx: &mut Context<'_>) {
        self.opened = true;
        self.upgrade_expires = None;
        if self.older.fell_back {
            cx.heard.push_back(Heard::UpgradeFailed);
        }
        cx.heard.push_back(Heard::Opened);
        cx.heard.push_back(Heard::Packet(connect("/".into())));
    }

    fn handle_error(&mut self, reason: Option<Reason>, reconnect: bool, cx: &mut Context<'_>) {
        // On an open session, a genuine client shows the error and goes on.
        if self.opened && !reconnect {
            return;
        }
        let text = reason.map_or("the server refuses the session", Reason::text);
        let end = End::new(DisconnectReason::TransportError, ErrorClass::Unreachable, text);
        match reason {
            Some(Reason::TransportNotSupported) => self.fail(end, cx),
            // Another transport would not help: the session is gone.
            _ => self.end(end, cx),
        }
    }

    /// Acknowledges a message, as genuine clients do by themselves.
    fn acknowledge_receipt(&mut self, endpoint: &ByteString, id: &Id, cx: &mut Context<'_>) {
        let ack = Packet {
            id: None,
            endpoint: endpoint.clone(),
            body: Body::Ack {
                id: id.digits.clone(),
                args: None,
            },
        };
        // Nothing follows the goodbye.
        if self.closing.is_some() {
            return;
        }
        let mut text = BytesMut::new();
        ack.encode(&mut text);
        if !self.older.receipts.push(&text, cx.config.max_answer_bytes) {
            return self.break_off("the server asks, and does not read the answers", cx);
        }
        self.pump(cx);
    }

    /// Writes everything that waits as one payload.
    pub(super) fn put_payload09(&mut self, body: &mut BytesMut) {
        let receipts = take(&mut self.older.receipts);
        let count = receipts.count().saturating_add(self.outgoing.len());
        let is_framed = count.saturating_add(self.older.echo.iter().count()) > 1;
        for text in receipts.iter() {
            payload::put(text_of(text), is_framed, body);
        }
        while let Some(Packed::Text(text)) = self.take_outgoing() {
            payload::put(text_of(&text), is_framed, body);
        }
        if let Some(echo) = self.older.echo.take() {
            payload::put(text_of(&echo), is_framed, body);
        }
    }
}

fn connect(namespace: ByteString) -> socket::Packet {
    socket::Packet::Connect {
        namespace,
        query: None,
        payload: None,
    }
}

/// The packet of the server as one of Socket.IO; none if it has no meaning, or breaks a limit.
fn heard(namespace: ByteString, id: Option<&Id>, body: Body, config: &ClientConfig) -> Option<socket::Packet> {
    let limits = &config.packet;
    // An id that does not fit our number type cannot be answered.
    let id = id.filter(|id| id.by_application).and_then(|id| id.digits.parse().ok());
    let event = |name, args| socket::Packet::Event {
        namespace: namespace.clone(),
        name,
        id,
        args,
    };
    match body {
        Body::Connect(_) => Some(connect(namespace)),
        Body::Disconnect => Some(socket::Packet::Disconnect { namespace }),
        Body::Message(text) => Some(event("message".into(), json::string(&text).into())),
        Body::Json(value) => {
            json::validate(&value, limits.max_depth).ok()?;
            Some(event("message".into(), value.into()))
        }
        Body::Event { name, args } => {
            let is_good = !is_reserved_event(&name) && name.len() <= limits.max_event_name_bytes;
            let args = values::arguments(Some(&args), limits.max_depth).ok()?;
            is_good.then(|| event(name, args))
        }
        Body::Ack { id, args } => {
            let id = id.parse::<u64>().ok()?.checked_sub(1)?;
            let args = values::arguments(args.as_ref(), limits.max_depth).ok()?;
            Some(socket::Packet::Ack { namespace, id, args })
        }
        Body::Error { reason, .. } => {
            let text = reason.map(Reason::text).unwrap_or_default();
            let payload = json::string(text);
            Some(socket::Packet::ConnectError { namespace, payload })
        }
        Body::Heartbeat | Body::Noop => None,
    }
}

/// A packet of Socket.IO for this wire; none if nothing is sent for it.
pub(in crate::client) fn encode_legacy09(packet: &socket::Packet) -> Option<Packed> {
    let to = |namespace: &ByteString, body| Packet {
        id: None,
        endpoint: values::endpoint(namespace).into(),
        body,
    };
    let packet = match packet {
        socket::Packet::Connect { namespace, query, .. } => {
            // A query in the endpoint would be a part of the name for genuine servers.
            let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            to(namespace, Body::Connect(query.into()))
        }
        // It would end the session.
        socket::Packet::Disconnect { namespace } if namespace == "/" => return None,
        socket::Packet::Disconnect { namespace } => to(namespace, Body::Disconnect),
        socket::Packet::Event {
            namespace,
            name,
            id,
            args,
        } => values::event(namespace, name, id.map(|id| id.saturating_add(1)), args, false),
        socket::Packet::Ack { namespace, id, args } => values::answer(namespace, *id, args),
        socket::Packet::ConnectError { .. } => return None,
    };
    Some(packed(&packet))
}

fn packed(packet: &Packet) -> Packed {
    let mut text = BytesMut::new();
    packet.encode(&mut text);
    Packed::Text(text.freeze())
}
