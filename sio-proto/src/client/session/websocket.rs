//! The websocket of a session, and the upgrade to it (docs/protocol/engine-io.md §5 and §7).

use bytes::{Bytes, BytesMut};

use super::{Context, End, Heard, Instead, Packed, Session};
use crate::client::config::Transport;
use crate::client::event::{DisconnectReason, ErrorClass};
use crate::client::line::{Arrival, Line, Purpose};
use crate::engine::{Packet, Revision, packet};
use crate::http::Method;
use crate::websocket::{Opcode, handshake};

impl Session {
    pub(super) fn open_websocket(&mut self, purpose: Purpose, cx: &mut Context<'_>) {
        let mut nonce = [0; 16];
        cx.entropy.fill(&mut nonce);
        let key = handshake::challenge(nonce);
        let own = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", &*key),
        ];
        let mut bytes = BytesMut::new();
        if let Err(error) = self.put_request(&mut bytes, Method::Get, Transport::WebSocket, &own, None, cx) {
            let message = alloc::format!("the request cannot be written: {error}");
            let end = End::new(DisconnectReason::TransportError, ErrorClass::Protocol, &message);
            return self.end(end, cx);
        }
        let at = self.add_line(purpose, cx);
        if let Some(line) = self.lines.get_mut(at) {
            line.ask(Method::Get, Some(key));
        }
        self.write(at, bytes, cx);
    }

    /// Begins the upgrade of a session on polling: when it has opened, and some time after an
    /// upgrade that has failed.
    pub(super) fn begin_upgrade(&mut self, cx: &mut Context<'_>) {
        self.upgrade_again = None;
        self.upgrade_expires = Some(cx.now + cx.config.upgrade_timeout);
        self.open_websocket(Purpose::Probe, cx);
    }

    /// The session stays on polling.
    pub(super) fn fail_upgrade(&mut self, cx: &mut Context<'_>) {
        if self.ended || self.upgrade_expires.take().is_none() {
            return;
        }
        self.close_lines(cx, |line| line.purpose == Purpose::Probe);
        // Without a pause, a server that refuses at once would be asked without end.
        let pause = cx.config.upgrade_pause.max(cx.config.upgrade_timeout);
        self.upgrade_again = Some(cx.now + pause);
        cx.heard.push_back(Heard::UpgradeFailed);
        let was_paused = core::mem::replace(&mut self.paused, false);
        if was_paused && self.closing.is_none() {
            if self.is_idle(Purpose::Get) {
                self.poll(cx);
            }
            self.pump(cx);
        }
    }

    /// The answer to a handshake may set cookies, whether it opens the websocket or not.
    fn take_cookies(&self, arrival: &Arrival, cx: &mut Context<'_>) {
        let headers = match arrival {
            Arrival::Open(headers) => headers,
            Arrival::NotOpened(response, _) => &response.headers,
            _ => return,
        };
        let from = &self.opening.endpoint;
        cx.jar.store(cx.now, headers, from, cx.config.max_cookie_bytes);
    }

    pub(super) fn handle_probe(&mut self, arrival: Arrival, cx: &mut Context<'_>) {
        self.take_cookies(&arrival, cx);
        match arrival {
            Arrival::Open(_) => self.write_frame(Purpose::Probe, Opcode::Text, b"2probe", cx),
            Arrival::Text(text) if &*text == "3probe" && !self.paused => {
                self.paused = true;
                self.switch_if_paused(cx);
            }
            Arrival::Ping(bytes) => self.write_frame(Purpose::Probe, Opcode::Pong, &bytes, cx),
            Arrival::Pong => {}
            _ => self.fail_upgrade(cx),
        }
    }

    /// Moves the session to the probed websocket when no request is under way.
    pub(super) fn switch_if_paused(&mut self, cx: &mut Context<'_>) {
        let is_ready = self.paused && self.is_idle(Purpose::Get) && self.is_idle(Purpose::Post);
        if !is_ready || self.ended {
            return;
        }
        self.write_frame(Purpose::Probe, Opcode::Text, b"5", cx);
        self.close_lines(cx, |line| line.purpose != Purpose::Probe);
        for line in &mut self.lines {
            line.purpose = Purpose::WebSocket;
        }
        self.paused = false;
        self.upgrade_expires = None;
        self.ping_until = None;
        self.transport = Transport::WebSocket;
        cx.heard.push_back(Heard::Upgraded);
        self.pump(cx);
    }

    pub(super) fn handle_message(&mut self, arrival: Arrival, cx: &mut Context<'_>) {
        self.take_cookies(&arrival, cx);
        let packet = match arrival {
            Arrival::Open(_) => {
                if self.older.resuming {
                    self.resumed(cx);
                }
                return;
            }
            Arrival::NotOpened(..) if self.older.resuming => return self.begin_anew(cx),
            Arrival::NotOpened(response, error) => {
                let end = match response.status {
                    101 => End::new(
                        DisconnectReason::TransportError,
                        ErrorClass::Protocol,
                        &alloc::format!("{error}"),
                    ),
                    _ => self.refused(Purpose::WebSocket, &response, cx),
                };
                return self.fail(end, cx);
            }
            Arrival::Ping(bytes) => return self.write_frame(Purpose::WebSocket, Opcode::Pong, &bytes, cx),
            Arrival::Pong => return,
            Arrival::Close if self.closing.is_some() => return self.end_closed(cx),
            Arrival::Close => {
                let end = End::new(
                    DisconnectReason::TransportClose,
                    ErrorClass::Unreachable,
                    "the server closed the websocket",
                );
                return self.fail(end, cx);
            }
            Arrival::Broken(message) => {
                // A genuine server writes HTTP into the websocket in this case (§4.5): `H` has an
                // unknown opcode.
                let end = End::new(DisconnectReason::TransportError, ErrorClass::Protocol, &message);
                let instead = (!self.opened).then_some(Instead::Next);
                return self.fail(End { instead, ..end }, cx);
            }
            Arrival::Text(text) if !self.protocol.has_upgrade() => return self.handle_text(&text, cx),
            // No genuine server before 1.0 sends a binary message.
            Arrival::Binary(_) if !self.protocol.has_upgrade() => return,
            Arrival::Text(text) => {
                let text = match self.revision() {
                    Revision::V4 => text,
                    Revision::V3 => self.dialect.resolve(text),
                };
                self.note_stay_away(&text, cx);
                Packet::decode_text(self.revision(), &text)
            }
            Arrival::Binary(bytes) => Packet::decode_binary(self.revision(), bytes),
            Arrival::Response(_) => return,
        };
        match packet {
            Ok(packet) => self.handle_packet(packet, cx),
            Err(error) => self.break_off(&alloc::format!("{error}"), cx),
        }
    }

    /// Writes all waiting packets to the websocket.
    pub(super) fn write_messages(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.lines.iter().position(|line| line.purpose == Purpose::WebSocket) else {
            return false;
        };
        let mut bytes = BytesMut::new();
        let receipts = core::mem::take(&mut self.older.receipts);
        for text in receipts.iter() {
            step!(bulk text.len());
            Line::put_message(&mut bytes, Opcode::Text, text, cx.entropy);
        }
        drop(receipts);
        while let Some(packed) = self.take_outgoing() {
            step!(bulk packed.len());
            match packed {
                Packed::Text(text) => Line::put_message(&mut bytes, Opcode::Text, &text, cx.entropy),
                Packed::Binary(data) if self.revision() == Revision::V4 => {
                    Line::put_message(&mut bytes, Opcode::Binary, &data, cx.entropy);
                }
                Packed::Binary(data) => {
                    let mut typed = BytesMut::new();
                    packet::encode_binary(self.revision(), &data, &mut typed);
                    Line::put_message(&mut bytes, Opcode::Binary, &typed, cx.entropy);
                }
            }
        }
        if let Some(echo) = self.older.echo.take() {
            Line::put_message(&mut bytes, Opcode::Text, &echo, cx.entropy);
        }
        self.write(at, bytes, cx);
        true
    }

    fn write_frame(&mut self, purpose: Purpose, opcode: Opcode, payload: &[u8], cx: &mut Context<'_>) {
        let mut lines = self.lines.iter().enumerate();
        let Some((at, line)) = lines.find(|(_, line)| line.purpose == purpose) else {
            return;
        };
        // A server that pings and does not read gets no more pongs: they would pile up. And none
        // follows a Close (RFC 6455 §5.5.1).
        if opcode == Opcode::Pong && (line.blocked || self.closing.is_some()) {
            return;
        }
        let mut bytes = BytesMut::new();
        Line::put_message(&mut bytes, opcode, payload, cx.entropy);
        self.write(at, bytes, cx);
    }

    pub(super) fn write_ping(&mut self, cx: &mut Context<'_>) {
        self.write_frame(Purpose::WebSocket, Opcode::Ping, b"", cx);
    }

    pub(super) fn write_close(&mut self, cx: &mut Context<'_>) {
        let Some(at) = self.lines.iter().position(Line::is_websocket) else {
            return self.end_closed(cx);
        };
        let mut bytes = BytesMut::new();
        Line::put_close(&mut bytes, cx.entropy);
        self.write(at, bytes, cx);
    }

    /// The server sent what is no packet.
    pub(super) fn break_off(&mut self, message: &str, cx: &mut Context<'_>) {
        let end = End::new(DisconnectReason::ParseError, ErrorClass::Protocol, message);
        self.fail(end, cx);
    }

    pub(super) fn send_pong(&mut self) {
        if !core::mem::replace(&mut self.pong_waits, true) {
            self.send_first(Packed::Text(Bytes::from_static(b"3")));
        }
    }
}
