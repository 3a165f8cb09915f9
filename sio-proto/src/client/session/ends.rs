//! How a session ends: failures, the goodbye, and the times after which it is over.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::receipts::Receipts;
use super::{Context, End, Heard, Instead, Packed, Session};
use crate::client::config::{ClientConfig, Transport};
use crate::client::event::{DisconnectReason, ErrorClass};
use crate::client::line::Purpose;
use crate::client::protocol::Protocol;
use crate::client::reading::Reading;
use crate::client::timeout::TimeoutReason;
use crate::engine::Revision;
use crate::{LinkId, Time};

impl Session {
    /// The session cannot go on. Before it is open, the next transport may be tried.
    pub(super) fn fail(&mut self, end: End, cx: &mut Context<'_>) {
        let may_go_on = !self.opened && self.closing.is_none() && end.error.class != ErrorClass::Refused;
        let falls_back = self.may_fall_back();
        let is_known = matches!(end.instead, Some(Instead::This(_)));
        let tries_all = cx.config.try_all_transports && !is_known;
        if may_go_on
            && (tries_all || falls_back)
            && let Some(next) = self.opening.transports.pop_front()
        {
            self.older.fell_back |= falls_back;
            self.close_lines(cx, |_| true);
            self.transport = next;
            return self.open_transport(cx);
        }
        self.end(end, cx);
    }

    /// Ends the session at once: all its connections are closed.
    pub(in crate::client) fn end(&mut self, mut end: End, cx: &mut Context<'_>) {
        end.retry_after = end.retry_after.or(self.stay_away);
        if !core::mem::replace(&mut self.ended, true) {
            self.close_lines(cx, |_| true);
            self.outgoing = VecDeque::new();
            self.older.receipts = Receipts::default();
            cx.heard.push_back(Heard::Ended(end));
        }
    }

    /// Says goodbye, and ends when the goodbye has left or [`ClientConfig::close_timeout`] is over.
    /// If the answer to the handshake is due, the goodbye follows it.
    pub(in crate::client) fn close(&mut self, cx: &mut Context<'_>) {
        if self.ended || self.closing.is_some() {
            return;
        }
        let until = cx.now + cx.config.close_timeout;
        if self.opened {
            self.say_goodbye(until, cx);
        } else if self.is_handshake_due() {
            self.begin_closing(until);
        } else {
            self.end_closed(cx);
        }
    }

    /// Whether the server may have made a session that no connection keeps: its open packet is due
    /// as the answer to a GET. Such a session lives on for its whole heartbeat unless it is told
    /// goodbye, and only the open packet says its id.
    fn is_handshake_due(&self) -> bool {
        let is_engine = matches!(self.protocol, Protocol::Engine(_));
        is_engine
            && self
                .line(Purpose::Get)
                .is_some_and(|line| line.is_connected() && line.asked.is_some())
    }

    /// Says goodbye. It has to leave until then.
    pub(super) fn say_goodbye(&mut self, until: Time, cx: &mut Context<'_>) {
        self.close_lines(cx, |line| line.purpose == Purpose::Probe);
        self.paused = false;
        self.upgrade_expires = None;
        self.upgrade_again = None;
        self.wake_expires = None;
        let goodbye: &[u8] = match (self.protocol, self.transport) {
            (Protocol::Engine(_), Transport::Polling) => b"1",
            (Protocol::Legacy09, _) => b"0::",
            (Protocol::Streaming, _) => b"0:0:,",
            (Protocol::Engine(_) | Protocol::Legacy06, _) => b"",
        };
        if !goodbye.is_empty() {
            self.send(Packed::Text(Bytes::from_static(goodbye)));
        }
        self.begin_closing(until);
        self.pump(cx);
        if self.transport == Transport::Polling && self.has_no_packets() && self.is_idle(Purpose::Post) {
            return self.end_closed(cx); // 0.6 has no goodbye
        }
        if self.transport == Transport::WebSocket {
            self.write_close(cx);
        }
    }

    pub(super) fn end_closed(&mut self, cx: &mut Context<'_>) {
        let end = End::new(
            DisconnectReason::TransportClose,
            ErrorClass::Unreachable,
            "closed by the client",
        );
        self.end(end, cx);
    }

    /// Whether the server is still there: something is sent that it has to react to.
    pub(in crate::client) fn wake(&mut self, cx: &mut Context<'_>) {
        if !self.is_open() || self.closing.is_some() || self.wake_expires.is_some() {
            return;
        }
        let soon = cx.now + cx.config.wake_timeout;
        self.wake_expires = Some(soon);
        // The network may be another one.
        self.upgrade_again = self.upgrade_again.map(|_| soon);
        let revision = match (self.transport, self.protocol) {
            // A genuine server acknowledges any packet with an id, and breaks the answer to a ping.
            (_, Protocol::Legacy09) => {
                self.send(Packed::Text(Bytes::from_static(b"8:0::")));
                self.pump(cx);
                return;
            }
            // A server answers nothing but the poll, which has its own time.
            (Transport::Polling, Protocol::Legacy06 | Protocol::Streaming) => {
                self.wake_expires = None;
                return;
            }
            (Transport::WebSocket, _) | (Transport::Polling, Protocol::Engine(_)) => self.revision(),
        };
        match (self.transport, revision) {
            (Transport::WebSocket, _) => self.write_ping(cx),
            // The answer comes on the GET that is held, so both connections are proved.
            (Transport::Polling, Revision::V3) => {
                self.next_ping = None;
                self.send_first(Packed::Text(Bytes::from_static(b"2")));
            }
            // The answer to the POST counts. A server ignores the packet itself. The GET that is
            // held may be dead nevertheless: the next ping of the server must be on time, by the
            // clock of the client. The server may have counted on during a sleep, or the clock of
            // dates was set, and nothing tells the one from the other: a genuine server ends the
            // session if the GET is closed or sent twice (docs/protocol/engine-io.md §4.4).
            (Transport::Polling, Revision::V4) => {
                let on_time = self.expires - self.timeout + cx.config.wake_timeout;
                let latest = on_time.max(soon);
                self.ping_until.get_or_insert(latest);
                self.send(Packed::Text(Bytes::from_static(b"6")));
            }
        }
        self.pump(cx);
    }

    /// Lets a server that is there say something, if this is possible in front of all others. It
    /// may as well be silent: the session does not end for it.
    pub(in crate::client) fn greet(&mut self, cx: &mut Context<'_>) {
        let is_answered = matches!(
            (self.transport, self.protocol),
            (Transport::WebSocket, Protocol::Engine(_))
        );
        if is_answered && self.is_writable() && self.wake_expires.is_none() && !self.is_greeted {
            self.is_greeted = true;
            self.write_ping(cx);
        }
    }

    /// Whether the server has said something since then, and no probe waits for its answer.
    pub(in crate::client) fn is_there_since(&self, time: Time) -> bool {
        self.wake_expires.is_none() && self.ping_until.is_none() && self.last_read >= time
    }

    // Time.

    pub(in crate::client) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
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
        if self.expires <= cx.now || is_due(self.ping_until) || is_due(self.wake_expires) || silent {
            let (reason, message) = match self.opened {
                true => (DisconnectReason::PingTimeout, "ping timeout"),
                false => (DisconnectReason::TransportClose, "timeout"),
            };
            return self.end(End::new(reason, ErrorClass::Unreachable, message), cx);
        }
        if is_due(self.upgrade_expires) && self.has_another(cx.config) {
            let end = End::new(DisconnectReason::TransportClose, ErrorClass::Unreachable, "timeout");
            return self.fail(end, cx);
        }
        if is_due(self.upgrade_expires) {
            self.fail_upgrade(cx);
        }
        if is_due(self.upgrade_again) {
            self.begin_upgrade(cx);
        }
        if is_due(self.next_ping) {
            self.next_ping = None;
            self.expires = cx.now + self.timeout;
            self.send_first(Packed::Text(Bytes::from_static(b"2")));
            self.pump(cx);
        }
    }

    /// What a line brings next.
    pub(in crate::client) fn reading(&self, link: LinkId, config: &ClientConfig) -> Reading {
        let line = self.lines.iter().find(|line| line.link == link);
        let is_settled = self.is_open() && self.closing.is_none() && self.upgrade_expires.is_none() && !self.paused;
        match line.map(|line| line.purpose) {
            Some(Purpose::Post) => return Reading::NoEvents,
            Some(Purpose::Get | Purpose::WebSocket) if is_settled => {}
            Some(Purpose::Get | Purpose::WebSocket | Purpose::Probe) | None => return Reading::Connecting,
        }
        let expected = match self.protocol {
            _ if self.wake_expires.is_some() || config.max_silence.is_some() => Time::ZERO,
            Protocol::Engine(Revision::V4) => self.expires - self.timeout,
            // The client sends the ping, and the server answers at once.
            Protocol::Engine(Revision::V3) => self.next_ping.unwrap_or(Time::ZERO),
            Protocol::Legacy09 | Protocol::Legacy06 | Protocol::Streaming => Time::ZERO,
        };
        Reading::Events { heartbeat: expected }
    }

    pub(in crate::client) fn next_timeout(&self, config: &ClientConfig) -> Option<(Time, TimeoutReason)> {
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
            self.ping_until.map(|time| (time, TimeoutReason::Heartbeat)),
            self.next_ping.map(|time| (time, TimeoutReason::Ping)),
            self.upgrade_expires.map(|time| (time, TimeoutReason::Upgrade)),
            self.upgrade_again.map(|time| (time, TimeoutReason::UpgradeAgain)),
            self.wake_expires.map(|time| (time, TimeoutReason::Wake)),
            silence.map(|silence| (self.last_heard + silence, TimeoutReason::Silence)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(time, _)| *time)
    }
}
