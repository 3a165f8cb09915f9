//! One session, from its first request to its end: transports, heartbeat, upgrade.
//!
//! ```text
//!   opening ── open packet ──▶ open ── Close, timeout, error ──▶ ended
//!                               │  polling ─ probe ─ pause ─ `5` ─▶ websocket
//!                               └── goodbye ──▶ closing ─────────▶ ended
//! ```
//!
//! A session owns its lines, and closes all of them when it ends: nothing survives it. It holds at
//! most one batch of packets for the transport. Everything else waits in the queues of the sockets,
//! where the user can look at it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod ends;
#[cfg(feature = "steps")]
mod holding;
mod legacy06;
mod legacy09;
mod packets;
mod polling;
mod receipts;
mod request;
mod websocket;

pub(super) use legacy06::encode_plain;
pub(super) use legacy09::encode_legacy09;
pub(super) use request::{MAX_REFUSAL_BYTES, put_encoded};

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use self::receipts::Receipts;
use super::config::{ClientConfig, Transport};
use super::cookies::CookieJar;
use super::endpoint::Endpoint;
use super::event::{ClientError, Credentials, DisconnectReason, ErrorClass, Output};
use super::line::{Arrival, Line, Purpose};
use super::outputs::{Outputs, give_back};
use crate::client::protocol::Protocol;
use crate::engine::{Dialect, EngineMessage, Revision};
use crate::legacy::streaming::Decoder;
use crate::socket::Packet;
use crate::{Entropy, LinkId, Time};

/// What a session works with during one input.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) config: &'a ClientConfig,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) jar: &'a mut CookieJar,
    pub(super) outputs: &'a mut Outputs,
    pub(super) heard: &'a mut VecDeque<Heard>,
    pub(super) next_link: &'a mut u64,
}

/// What a session tells the manager.
#[derive(Debug)]
pub(super) enum Heard {
    Opened,
    Message(EngineMessage),
    /// A packet of Socket.IO, on a wire without Engine.IO.
    Packet(Packet),
    /// The server has ended the session, and the client does not come back by itself.
    Dismissed,
    Upgraded,
    UpgradeFailed,
    Ended(End),
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: DisconnectReason,
    pub(super) error: ClientError,
    /// The server asked to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
    /// The server speaks another protocol.
    pub(super) instead: Option<Instead>,
    /// The connection ended without an answer to a request.
    pub(super) is_unanswered: bool,
}

/// What to speak with a server that does not speak the protocol of the session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instead {
    This(Protocol),
    /// The next protocol that was not tried.
    Next,
}

/// A session that may go on, on a wire that allows it.
#[derive(Clone, Debug)]
pub(super) struct Resume {
    pub(super) sid: String,
    /// The last heartbeat of the server.
    pub(super) heartbeat: Option<Bytes>,
    /// How often nothing answered.
    pub(super) doubts: u32,
}

impl End {
    pub(super) fn new(reason: DisconnectReason, class: ErrorClass, message: &str) -> Self {
        Self {
            reason,
            error: ClientError::new(class, message),
            retry_after: None,
            instead: None,
            is_unanswered: false,
        }
    }
}

/// A packet for the transport: in text form with its type digit, or the bytes of a binary message.
#[derive(Debug)]
pub(super) enum Packed {
    Text(Bytes),
    Binary(Bytes),
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// How a session begins.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Protocol,
    /// The transports that may open, in order.
    pub(super) transports: VecDeque<Transport>,
    pub(super) may_upgrade: bool,
    /// When an upgrade may be tried, if it may not be tried now.
    pub(super) upgrade_from: Option<Time>,
    pub(super) credentials: Credentials,
    /// The session to go back to.
    pub(super) resume: Option<Resume>,
}

/// Most bytes that are taken from the queues at a time.
const BATCH: usize = 64 * 1024;

/// What a session needs besides on the wires before Engine.IO.
#[derive(Debug, Default)]
struct Older {
    /// The heartbeat that the server gets back. One is enough.
    echo: Option<Bytes>,
    /// The last heartbeat, on wires whose sessions outlive their connections.
    last_heartbeat: Option<Bytes>,
    /// Acknowledgements that nobody but the session gives, and that could not leave yet.
    receipts: Receipts,
    /// The decoder of one connection's stream.
    stream: Option<Decoder>,
    /// The server is asked whether it knows the session.
    resuming: bool,
    resumed: bool,
    gave_up: bool,
    /// The websocket did not open, and polling is tried.
    fell_back: bool,
}

pub(super) struct Session {
    pub(super) protocol: Protocol,
    pub(super) transport: Transport,
    pub(super) sid: String,
    opening: Opening,
    redirects: u32,
    opened: bool,
    ended: bool,
    /// How long the server, which goes away, has asked to be left alone.
    pub(super) stay_away: Option<Duration>,
    interval: Duration,
    timeout: Duration,
    max_payload: usize,
    dialect: Dialect,
    older: Older,
    lines: Vec<Line>,
    outgoing: VecDeque<Packed>,
    outgoing_bytes: usize,
    /// What they have in the body of a POST, at most.
    outgoing_posted: usize,
    /// A pong waits already. One is enough.
    pong_waits: bool,
    /// No GET and no POST may begin: the session is about to move to websocket.
    paused: bool,
    /// Before the open packet: the end of the attempt. Then: the end of the heartbeat.
    expires: Time,
    next_ping: Option<Time>,
    upgrade_expires: Option<Time>,
    /// When the next upgrade is tried: the one before has failed.
    upgrade_again: Option<Time>,
    wake_expires: Option<Time>,
    /// After a probe by POST: when the next ping must have come on the GET that is held.
    ping_until: Option<Time>,
    closing: Option<Time>,
    last_heard: Time,
    /// When the server has last said something where packets come. An answer to a POST does not
    /// show that the GET that is held still brings them.
    last_read: Time,
    /// A ping for namespaces that wait was written, and nothing was read since. One is enough.
    is_greeted: bool,
}

impl Session {
    /// Begins a session: the first request leaves as soon as its connection stands.
    pub(super) fn start(mut opening: Opening, cx: &mut Context<'_>) -> Self {
        let transport = opening.transports.pop_front().unwrap_or(Transport::WebSocket);
        let mut session = Self {
            protocol: opening.protocol,
            transport,
            sid: String::new(),
            opening,
            redirects: 0,
            opened: false,
            ended: false,
            stay_away: None,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            max_payload: usize::MAX,
            dialect: Dialect::Auto,
            older: Older::default(),
            lines: Vec::new(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            outgoing_posted: 0,
            pong_waits: false,
            paused: false,
            expires: cx.now + cx.config.connect_timeout,
            next_ping: None,
            upgrade_expires: None,
            upgrade_again: None,
            wake_expires: None,
            ping_until: None,
            closing: None,
            last_heard: cx.now,
            last_read: cx.now,
            is_greeted: false,
        };
        if let Some(resume) = session.opening.resume.take() {
            session.older.resuming = true;
            session.older.last_heartbeat = resume.heartbeat;
            session.sid = resume.sid;
        }
        session.open_transport(cx);
        session
    }

    fn open_transport(&mut self, cx: &mut Context<'_>) {
        if self.protocol == Protocol::Legacy09 && self.sid.is_empty() {
            return self.poll(cx);
        }
        let has_another = self.has_another(cx.config);
        self.upgrade_expires = has_another.then(|| cx.now + cx.config.upgrade_timeout);
        match self.transport {
            Transport::Polling if self.older.resuming => self.ask_for_session(cx),
            Transport::Polling => self.poll(cx),
            Transport::WebSocket => self.open_websocket(Purpose::WebSocket, cx),
        }
    }

    /// The revision of a session that speaks Engine.IO.
    const fn revision(&self) -> Revision {
        match self.protocol {
            Protocol::Engine(revision) => revision,
            Protocol::Legacy09 | Protocol::Legacy06 | Protocol::Streaming => Revision::V4,
        }
    }

    /// Whether another transport follows if this websocket does not open. Generations without
    /// upgrades try websocket first.
    fn may_fall_back(&self) -> bool {
        let is_shaken = self.protocol != Protocol::Legacy09 || !self.sid.is_empty();
        let is_first = self.opening.may_upgrade && self.transport == Transport::WebSocket && !self.opened;
        !self.protocol.has_upgrade() && is_shaken && is_first && !self.opening.transports.is_empty()
    }

    /// Whether another transport follows if the present one does not open.
    fn has_another(&self, config: &ClientConfig) -> bool {
        let tries_all = config.try_all_transports && !self.opened && !self.opening.transports.is_empty();
        tries_all || self.may_fall_back()
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened && !self.ended
    }

    /// The credentials of the attempt.
    pub(super) const fn credentials(&self) -> &Credentials {
        &self.opening.credentials
    }

    /// Ends the pause behind a failed upgrade for a session that is not open yet. Generations
    /// without upgrades have chosen their first transport already.
    pub(super) const fn end_upgrade_pause(&mut self) {
        if self.protocol.has_upgrade() && self.opening.upgrade_from.is_some() {
            self.opening.may_upgrade = true;
        }
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether the transport can take packets now.
    pub(super) fn is_writable(&self) -> bool {
        self.is_open()
            && !self.paused
            && self.closing.is_none()
            && match self.transport {
                Transport::Polling => self.is_idle(Purpose::Post),
                Transport::WebSocket => self.line(Purpose::WebSocket).is_some_and(|line| !line.blocked),
            }
    }

    /// Whether another packet may be taken from the queues now.
    pub(super) fn has_room(&self, config: &ClientConfig) -> bool {
        let is_full = self.is_posted_in_parts() && self.outgoing.len() >= config.max_packets_per_post;
        self.is_writable() && !is_full && self.outgoing_bytes < BATCH.min(self.max_payload)
    }

    /// Whether these packets of one event leave with what waits already. On polling, one POST takes
    /// a part only, and what does not leave with it stays in its queue: there the user can look at
    /// it, and there it waits for the next connection if this one is lost.
    pub(super) fn fits(&self, packets: &[Packed], config: &ClientConfig) -> bool {
        if !self.is_posted_in_parts() || self.outgoing.is_empty() {
            return true;
        }
        let posted = packets.iter().map(polling::posted_len);
        let posted = posted.fold(self.outgoing_posted, usize::saturating_add);
        let count = self.outgoing.len().saturating_add(packets.len());
        posted <= self.max_payload && count <= config.max_packets_per_post
    }

    /// Whether one POST takes no more than the server accepts. Before 1.0, it takes everything.
    const fn is_posted_in_parts(&self) -> bool {
        matches!(
            (self.transport, self.protocol),
            (Transport::Polling, Protocol::Engine(_))
        )
    }

    /// Puts a packet behind all others. Nothing is written before [`Session::pump`]. Nothing
    /// follows the goodbye.
    pub(super) fn send(&mut self, packed: Packed) {
        if self.closing.is_none() {
            self.count_outgoing(&packed);
            self.outgoing.push_back(packed);
        }
    }

    fn count_outgoing(&mut self, packed: &Packed) {
        self.outgoing_bytes = self.outgoing_bytes.saturating_add(packed.len());
        self.outgoing_posted = self.outgoing_posted.saturating_add(polling::posted_len(packed));
    }

    /// Puts a heartbeat in front of all others: on polling, what waits leaves in parts, and behind
    /// many events the heartbeat would come too late.
    fn send_first(&mut self, packed: Packed) {
        if self.closing.is_none() {
            self.count_outgoing(&packed);
            self.outgoing.push_front(packed);
        }
    }

    /// Writes what the transport can take. Returns whether anything was written.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let has_nothing = self.has_no_packets() && self.older.echo.is_none();
        if has_nothing || !self.opened || self.ended || self.paused {
            return false;
        }
        let may_write = |line: &Line| !line.blocked || self.closing.is_some();
        let wrote = match self.transport {
            Transport::Polling => self.is_idle(Purpose::Post) && self.post(cx),
            // What the server asks for without reading waits here: a heartbeat, acknowledgements.
            Transport::WebSocket if self.line(Purpose::WebSocket).is_some_and(may_write) => self.write_messages(cx),
            Transport::WebSocket => false,
        };
        if wrote {
            self.pong_waits = false;
        }
        wrote
    }

    /// Nothing but what waits already is sent any more.
    fn begin_closing(&mut self, until: Time) {
        self.closing = Some(until);
        self.older.echo = None;
    }

    /// Whether no packet waits for the transport.
    fn has_no_packets(&self) -> bool {
        self.outgoing.is_empty() && self.older.receipts.is_empty()
    }

    fn take_outgoing(&mut self) -> Option<Packed> {
        let packed = self.outgoing.pop_front()?;
        debug_assert!(self.outgoing_bytes >= packed.len(), "each packet was counted");
        self.outgoing_bytes = self.outgoing_bytes.saturating_sub(packed.len());
        self.outgoing_posted = self.outgoing_posted.saturating_sub(polling::posted_len(&packed));
        give_back(&mut self.outgoing);
        Some(packed)
    }

    /// For how many packets there is room.
    #[cfg(test)]
    pub(super) fn outgoing_room(&self) -> usize {
        self.outgoing.capacity()
    }

    /// How much memory the acknowledgements take that the session gives by itself.
    #[cfg(test)]
    pub(super) const fn receipt_memory(&self) -> usize {
        self.older.receipts.memory()
    }

    /// How much memory its lines keep of messages that are not complete.
    #[cfg(test)]
    pub(super) fn input_memory(&self) -> usize {
        self.lines.iter().map(Line::input_memory).sum()
    }

    /// How much memory its lines keep for what has left.
    #[cfg(test)]
    pub(super) fn unsent_memory(&self) -> usize {
        self.lines.iter().map(Line::unsent_memory).sum()
    }

    // Lines.

    fn line(&self, purpose: Purpose) -> Option<&Line> {
        self.lines.iter().find(|line| line.purpose == purpose)
    }

    fn is_idle(&self, purpose: Purpose) -> bool {
        self.line(purpose).is_none_or(|line| line.asked.is_none())
    }

    /// A new connection to the server.
    fn add_line(&mut self, purpose: Purpose, cx: &mut Context<'_>) -> usize {
        let link = LinkId(*cx.next_link);
        *cx.next_link = cx.next_link.wrapping_add(1);
        cx.outputs.push_back(Output::Connect {
            link,
            host: self.opening.endpoint.host.clone(),
            port: self.opening.endpoint.port,
            tls: self.opening.endpoint.tls,
        });
        let at = self.lines.len();
        self.lines.push(Line::new(link, purpose));
        at
    }

    fn close_lines(&mut self, cx: &mut Context<'_>, which: impl Fn(&Line) -> bool) {
        self.lines.retain(|line| {
            let closes = which(line);
            if closes {
                cx.outputs.push_back(Output::Close(line.link));
            }
            !closes
        });
    }

    fn write(&mut self, at: usize, bytes: BytesMut, cx: &mut Context<'_>) {
        let Some(line) = self.lines.get_mut(at) else { return };
        if let Some(bytes) = line.write(bytes) {
            cx.outputs.push_back(Output::Bytes(line.link, bytes));
        }
    }

    // Inputs.

    pub(super) fn handle_connected(&mut self, link: LinkId, cx: &mut Context<'_>) {
        let Some(line) = self.lines.iter_mut().find(|line| line.link == link) else {
            return;
        };
        let bytes = line.connected();
        if !bytes.is_empty() {
            cx.outputs.push_back(Output::Bytes(link, bytes));
        }
    }

    pub(super) fn set_blocked(&mut self, link: LinkId, blocked: bool) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.link == link) {
            line.blocked = blocked;
        }
    }

    pub(super) fn handle_bytes(&mut self, link: LinkId, bytes: &mut BytesMut, cx: &mut Context<'_>) {
        let Some(line) = self.lines.iter_mut().find(|line| line.link == link) else {
            bytes.clear();
            return;
        };
        self.last_heard = cx.now;
        if line.purpose != Purpose::Post {
            self.last_read = cx.now;
            self.is_greeted = false;
        }
        let mut arrivals = Vec::new();
        line.receive(bytes, cx.config, &mut arrivals);
        let proves = match line.purpose {
            Purpose::Get | Purpose::WebSocket => true,
            Purpose::Post => self.protocol == Protocol::Engine(Revision::V4),
            Purpose::Probe => false,
        };
        if proves {
            self.wake_expires = None;
        }
        for arrival in arrivals {
            step!();
            // The purpose is read anew: a probe becomes the websocket between two arrivals.
            let Some(line) = self.lines.iter().find(|line| line.link == link) else {
                return;
            };
            self.arrive(line.purpose, arrival, cx);
        }
    }

    /// The connection has ended, or could not be made.
    pub(super) fn handle_closed(&mut self, link: LinkId, fault: Option<ClientError>, cx: &mut Context<'_>) {
        let Some(at) = self.lines.iter().position(|line| line.link == link) else {
            return;
        };
        let mut line = self.lines.swap_remove(at);
        if let Some(last) = line.receive_end(fault.is_some(), cx.config) {
            return self.arrive(line.purpose, last, cx);
        }
        let error = fault.unwrap_or_else(|| ClientError::new(ErrorClass::Unreachable, "the connection was closed"));
        let reason = match line.purpose {
            Purpose::Get | Purpose::Post if line.asked.is_none() => return,
            Purpose::Get if self.closing.is_some() && self.opened => return,
            _ if self.closing.is_some() => return self.end_closed(cx),
            Purpose::Probe => return self.fail_upgrade(cx),
            Purpose::WebSocket if self.opened => DisconnectReason::TransportClose,
            Purpose::Get | Purpose::Post | Purpose::WebSocket => DisconnectReason::TransportError,
        };
        let is_unanswered = line.is_connected() && line.asked.is_some();
        // A genuine server of 0.9 says nothing to a websocket of a later generation.
        let is_strange = is_unanswered && !self.opened && line.purpose == Purpose::WebSocket;
        let end = End {
            error,
            instead: is_strange.then_some(Instead::Next),
            is_unanswered,
            ..End::new(reason, ErrorClass::Unreachable, "")
        };
        self.fail(end, cx);
    }

    fn arrive(&mut self, purpose: Purpose, arrival: Arrival, cx: &mut Context<'_>) {
        match (purpose, arrival) {
            (_, _) if self.ended => {}
            (Purpose::Get | Purpose::Post, Arrival::Response(response)) => self.handle_response(purpose, response, cx),
            (Purpose::Probe, arrival) => self.handle_probe(arrival, cx),
            (Purpose::WebSocket, arrival) => self.handle_message(arrival, cx),
            (Purpose::Get | Purpose::Post, Arrival::Broken(message)) => {
                let end = End::new(DisconnectReason::TransportError, ErrorClass::Protocol, &message);
                self.fail(end, cx);
            }
            (Purpose::Get | Purpose::Post, _) => {
                let end = End::new(
                    DisconnectReason::TransportError,
                    ErrorClass::Protocol,
                    "no HTTP response",
                );
                self.fail(end, cx);
            }
        }
    }
}
