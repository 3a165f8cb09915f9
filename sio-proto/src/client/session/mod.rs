//! One Engine.IO session, from its first request to its end: transports, heartbeat, upgrade.
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

mod packets;
mod polling;
mod request;
mod websocket;

pub(super) use request::put_encoded;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::config::{ClientConfig, Transport};
use super::cookies::CookieJar;
use super::endpoint::Endpoint;
use super::event::{ClientError, Credentials, DisconnectReason, ErrorClass, Output};
use super::line::{Arrival, Line, Purpose};
use super::timeout::TimeoutReason;
use crate::engine::{Dialect, EngineMessage, Revision};
use crate::{Entropy, LinkId, Time};

/// What a session works with during one input.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) config: &'a ClientConfig,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) jar: &'a mut CookieJar,
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) heard: &'a mut VecDeque<Heard>,
    pub(super) next_link: &'a mut u64,
}

/// What a session tells the manager.
#[derive(Debug)]
pub(super) enum Heard {
    Opened,
    Message(EngineMessage),
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
    /// The server speaks the other revision.
    pub(super) other_revision: bool,
}

impl End {
    pub(super) fn new(reason: DisconnectReason, class: ErrorClass, message: &str) -> Self {
        Self {
            reason,
            error: ClientError::new(class, message),
            retry_after: None,
            other_revision: false,
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
    fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// How a session begins.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) endpoint: Endpoint,
    pub(super) revision: Revision,
    /// The transports that may open, in order.
    pub(super) transports: VecDeque<Transport>,
    pub(super) may_upgrade: bool,
    pub(super) credentials: Credentials,
}

/// Most bytes that are taken from the queues at a time.
const BATCH: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) revision: Revision,
    pub(super) transport: Transport,
    pub(super) sid: String,
    opening: Opening,
    redirects: u32,
    opened: bool,
    ended: bool,
    interval: Duration,
    timeout: Duration,
    max_payload: usize,
    dialect: Dialect,
    lines: Vec<Line>,
    outgoing: VecDeque<Packed>,
    outgoing_bytes: usize,
    /// A pong waits already. One is enough.
    pong_waits: bool,
    /// No GET and no POST may begin: the session is about to move to websocket.
    paused: bool,
    /// Before the open packet: the end of the attempt. Then: the end of the heartbeat.
    expires: Time,
    next_ping: Option<Time>,
    upgrade_expires: Option<Time>,
    wake_expires: Option<Time>,
    closing: Option<Time>,
    last_heard: Time,
}

impl Session {
    /// Begins a session: the first request leaves as soon as its connection stands.
    pub(super) fn start(mut opening: Opening, cx: &mut Context<'_>) -> Self {
        let transport = opening.transports.pop_front().unwrap_or(Transport::WebSocket);
        let mut session = Self {
            revision: opening.revision,
            transport,
            sid: String::new(),
            opening,
            redirects: 0,
            opened: false,
            ended: false,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            max_payload: usize::MAX,
            dialect: Dialect::Auto,
            lines: Vec::new(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            pong_waits: false,
            paused: false,
            expires: cx.now + cx.config.connect_timeout,
            next_ping: None,
            upgrade_expires: None,
            wake_expires: None,
            closing: None,
            last_heard: cx.now,
        };
        session.open_transport(cx);
        session
    }

    fn open_transport(&mut self, cx: &mut Context<'_>) {
        match self.transport {
            Transport::Polling => self.poll(cx),
            Transport::WebSocket => self.open_websocket(Purpose::WebSocket, cx),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened && !self.ended
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
    pub(super) fn has_room(&self) -> bool {
        self.is_writable() && self.outgoing_bytes < BATCH.min(self.max_payload)
    }

    /// Puts a packet behind all others. Nothing is written before [`Session::pump`].
    pub(super) fn send(&mut self, packed: Packed) {
        self.outgoing_bytes += packed.len();
        self.outgoing.push_back(packed);
    }

    /// Writes what the transport can take. Returns whether anything was written.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        if self.outgoing.is_empty() || !self.opened || self.ended || self.paused {
            return false;
        }
        let wrote = match self.transport {
            Transport::Polling => self.is_idle(Purpose::Post) && self.post(cx),
            Transport::WebSocket => self.write_messages(cx),
        };
        if wrote {
            self.pong_waits = false;
        }
        wrote
    }

    fn take_outgoing(&mut self) -> Option<Packed> {
        let packed = self.outgoing.pop_front()?;
        self.outgoing_bytes -= packed.len();
        Some(packed)
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
        *cx.next_link += 1;
        cx.outputs.push_back(Output::Connect {
            link,
            host: self.opening.endpoint.host.clone(),
            port: self.opening.endpoint.port,
            tls: self.opening.endpoint.tls,
        });
        self.lines.push(Line::new(link, purpose));
        self.lines.len() - 1
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
        let mut arrivals = Vec::new();
        line.receive(bytes, cx.config, &mut arrivals);
        let proves = match line.purpose {
            Purpose::Get | Purpose::WebSocket => true,
            Purpose::Post => self.revision == Revision::V4,
            Purpose::Probe => false,
        };
        if proves {
            self.wake_expires = None;
        }
        for arrival in arrivals {
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
        if let Some(last) = line.receive_end() {
            return self.arrive(line.purpose, last, cx);
        }
        let error = fault.unwrap_or_else(|| ClientError::new(ErrorClass::Unreachable, "the connection was closed"));
        let reason = match line.purpose {
            Purpose::Get | Purpose::Post if line.asked.is_none() => return,
            Purpose::Get if self.closing.is_some() => return,
            _ if self.closing.is_some() => return self.end_closed(cx),
            Purpose::Probe => return self.fail_upgrade(cx),
            Purpose::WebSocket if self.opened => DisconnectReason::TransportClose,
            Purpose::Get | Purpose::Post | Purpose::WebSocket => DisconnectReason::TransportError,
        };
        let end = End {
            error,
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

    // Ends.

    /// The session cannot go on. Before it is open, the next transport may be tried.
    fn fail(&mut self, end: End, cx: &mut Context<'_>) {
        let may_go_on = !self.opened && self.closing.is_none() && end.error.class != ErrorClass::Refused;
        if may_go_on
            && !end.other_revision
            && cx.config.try_all_transports
            && let Some(next) = self.opening.transports.pop_front()
        {
            self.close_lines(cx, |_| true);
            self.transport = next;
            return self.open_transport(cx);
        }
        self.end(end, cx);
    }

    /// Ends the session at once: all its connections are closed.
    pub(super) fn end(&mut self, end: End, cx: &mut Context<'_>) {
        if !core::mem::replace(&mut self.ended, true) {
            self.close_lines(cx, |_| true);
            self.outgoing.clear();
            cx.heard.push_back(Heard::Ended(end));
        }
    }

    /// Says goodbye, and ends when the goodbye has left or [`ClientConfig::close_timeout`] is over.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        if self.ended || self.closing.is_some() {
            return;
        }
        if !self.opened {
            return self.end_closed(cx);
        }
        self.close_lines(cx, |line| line.purpose == Purpose::Probe);
        self.paused = false;
        self.upgrade_expires = None;
        self.wake_expires = None;
        self.closing = Some(cx.now + cx.config.close_timeout);
        if self.transport == Transport::Polling {
            self.send(Packed::Text(Bytes::from_static(b"1")));
        }
        self.pump(cx);
        if self.transport == Transport::WebSocket {
            self.write_close(cx);
        }
    }

    fn end_closed(&mut self, cx: &mut Context<'_>) {
        let end = End::new(
            DisconnectReason::TransportClose,
            ErrorClass::Unreachable,
            "closed by the client",
        );
        self.end(end, cx);
    }

    /// Whether the server is still there: something is sent that it has to react to.
    pub(super) fn wake(&mut self, cx: &mut Context<'_>) {
        if !self.is_open() || self.closing.is_some() || self.wake_expires.is_some() {
            return;
        }
        let soon = cx.now + cx.config.wake_timeout;
        self.wake_expires = Some(soon);
        match (self.transport, self.revision) {
            (Transport::WebSocket, _) => self.write_ping(cx),
            // The answer comes on the GET that is held, so both connections are proved.
            (Transport::Polling, Revision::V3) => {
                self.next_ping = None;
                self.send(Packed::Text(Bytes::from_static(b"2")));
            }
            // The answer to the POST counts. A server ignores the packet itself. The GET that is
            // held may be dead nevertheless: the next ping of the server must be on time.
            (Transport::Polling, Revision::V4) => {
                let on_time = self.expires - self.timeout + cx.config.wake_timeout;
                self.expires = self.expires.min(on_time.max(soon));
                self.send(Packed::Text(Bytes::from_static(b"6")));
            }
        }
        self.pump(cx);
    }

    // Time.

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let is_due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.closing) {
            return self.end_closed(cx);
        }
        if self.closing.is_some() || self.ended {
            return;
        }
        let silence = cx.config.max_silence.filter(|_| self.opened);
        let silent = silence.is_some_and(|silence| self.last_heard + silence <= cx.now);
        if self.expires <= cx.now || is_due(self.wake_expires) || silent {
            let (reason, message) = match self.opened {
                true => (DisconnectReason::PingTimeout, "ping timeout"),
                false => (DisconnectReason::TransportClose, "timeout"),
            };
            return self.end(End::new(reason, ErrorClass::Unreachable, message), cx);
        }
        if is_due(self.upgrade_expires) {
            self.fail_upgrade(cx);
        }
        if is_due(self.next_ping) {
            self.next_ping = None;
            self.expires = cx.now + self.timeout;
            self.send(Packed::Text(Bytes::from_static(b"2")));
            self.pump(cx);
        }
    }

    pub(super) fn next_timeout(&self, config: &ClientConfig) -> Option<(Time, TimeoutReason)> {
        if self.ended {
            return None;
        }
        if let Some(closing) = self.closing {
            return Some((closing, TimeoutReason::Goodbye));
        }
        let expires = match self.opened {
            true => TimeoutReason::Heartbeat,
            false => TimeoutReason::Connect,
        };
        let silence = config.max_silence.filter(|_| self.opened);
        [
            Some((self.expires, expires)),
            self.next_ping.map(|time| (time, TimeoutReason::Ping)),
            self.upgrade_expires.map(|time| (time, TimeoutReason::Upgrade)),
            self.wake_expires.map(|time| (time, TimeoutReason::Wake)),
            silence.map(|silence| (self.last_heard + silence, TimeoutReason::Silence)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(time, _)| *time)
    }
}
