//! HTTP long polling: one GET that waits, and one POST at a time (docs/protocol/engine-io.md §4).

use bytes::BytesMut;
use bytestring::ByteString;

use super::request::{is_redirect, retry_after};
use super::{Context, End, Instead, Packed, Session};
use crate::client::config::Transport;
use crate::client::event::{DisconnectReason, ErrorClass};
use crate::client::line::Purpose;
use crate::client::protocol::Protocol;
use crate::engine::{Packet, PayloadError, Revision, payload, payload_v3};
use crate::http::{Method, Response};
use crate::keep::{Source, is_small_part};
use crate::legacy::legacy09::handshake;

/// How many bytes a packet has with its base64 and separators, at most.
pub(super) fn posted_len(packed: &Packed) -> usize {
    match packed {
        Packed::Text(text) => text.len().saturating_add(12),
        Packed::Binary(bytes) => base64_len(bytes).saturating_add(16),
    }
}

fn base64_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3).saturating_mul(4)
}

impl Session {
    /// The most bytes of a message or of a body that the server takes.
    pub(in crate::client) const fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// The bytes that a packet has on the present transport, if it goes alone. When the server has
    /// agreed to the upgrade, nothing more goes by POST.
    pub(in crate::client) fn carried_len(&self, packed: &Packed) -> usize {
        match (self.transport, self.revision(), packed) {
            _ if self.paused => packed.len(),
            (Transport::WebSocket, ..) | (_, Revision::V4, Packed::Text(_)) => packed.len(),
            (Transport::Polling, Revision::V4, Packed::Binary(bytes)) => base64_len(bytes).saturating_add(1),
            (Transport::Polling, Revision::V3, _) => posted_len(packed),
        }
    }

    /// Begins a GET.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        self.request(Purpose::Get, None, cx);
    }

    /// Begins a POST of the first packets that fit into what the server accepts. A packet that is
    /// too large alone goes alone. The attachments of an event may come with the next POST.
    pub(super) fn post(&mut self, cx: &mut Context<'_>) -> bool {
        let mut body = BytesMut::new();
        match self.protocol {
            Protocol::Engine(revision) => self.put_packets(revision, &mut body, cx),
            Protocol::Legacy09 => self.put_payload09(&mut body),
            Protocol::Legacy06 | Protocol::Streaming => self.put_form(&mut body),
        }
        self.request(Purpose::Post, Some(&body), cx);
        true
    }

    fn put_packets(&mut self, revision: Revision, body: &mut BytesMut, cx: &Context<'_>) {
        let (mut size, mut count) = (0usize, 0usize);
        while let Some(packed) = self.outgoing.front() {
            step!(bulk packed.len());
            size = size.saturating_add(posted_len(packed));
            let is_first = count == 0;
            if !is_first && (size > self.max_payload || count == cx.config.max_packets_per_post) {
                break;
            }
            count = count.saturating_add(1);
            if let Some(packed) = self.take_outgoing() {
                put_packet(body, revision, is_first, &packed);
            }
        }
    }

    pub(super) fn request(&mut self, purpose: Purpose, body: Option<&[u8]>, cx: &mut Context<'_>) {
        let stale = |line: &crate::client::line::Line| {
            line.purpose == purpose && line.idle_since + cx.config.max_idle <= cx.now
        };
        if let Some(link) = self.lines.iter().find(|line| stale(line)).map(|line| line.link) {
            self.close_lines(cx, |line| line.link == link);
        }
        let at = self.lines.iter().position(|line| line.purpose == purpose);
        let method = match body {
            None => Method::Get,
            Some(_) => Method::Post,
        };
        let own: &[(&str, &str)] = match body {
            None => &[("Accept", "*/*")],
            Some(_) if self.protocol.resumes() => &[
                ("Accept", "*/*"),
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
            ],
            Some(_) => &[("Accept", "*/*"), ("Content-Type", "text/plain;charset=UTF-8")],
        };
        let mut bytes = BytesMut::new();
        if let Err(error) = self.put_request(&mut bytes, method, Transport::Polling, own, body, cx) {
            let message = alloc::format!("the request cannot be written: {error}");
            let end = End::new(DisconnectReason::TransportError, ErrorClass::Protocol, &message);
            return self.end(end, cx);
        }
        let at = at.unwrap_or_else(|| self.add_line(purpose, cx));
        if let Some(line) = self.lines.get_mut(at) {
            line.ask(method, None);
        }
        self.write(at, bytes, cx);
    }

    pub(super) fn handle_response(&mut self, purpose: Purpose, response: Response, cx: &mut Context<'_>) {
        let from = &self.opening.endpoint;
        cx.jar
            .store(cx.now, &response.headers, from, cx.config.max_cookie_bytes);
        match response.keep_alive {
            true => self
                .lines
                .iter_mut()
                .filter(|line| line.purpose == purpose)
                .for_each(|line| line.idle_since = cx.now),
            false => self.close_lines(cx, |line| line.purpose == purpose),
        }
        if self.older.resuming && self.closing.is_none() {
            return match response.status {
                200 => self.resumed(cx),
                _ => self.begin_anew(cx),
            };
        }
        if response.status != 200 {
            match purpose {
                // The session may have gone already, so the status does not matter while it closes.
                _ if self.closing.is_none() => {
                    if !self.redirect(&response, cx) {
                        let end = self.refused(purpose, &response, cx);
                        self.fail(end, cx);
                    }
                    return;
                }
                Purpose::Get if self.opened => return,
                Purpose::Get => return self.end_closed(cx),
                _ => {}
            }
        }
        match purpose {
            Purpose::Get => self.handle_poll(&response, cx),
            _ if self.closing.is_some() && self.has_no_packets() => self.end_closed(cx),
            _ => {
                self.pump(cx);
            }
        }
        self.switch_if_paused(cx);
    }

    /// Follows the redirect of a handshake.
    fn redirect(&mut self, response: &Response, cx: &mut Context<'_>) -> bool {
        if self.opened || !self.protocol.has_upgrade() || !is_redirect(response.status) {
            return false;
        }
        let location = response.headers.text("location").unwrap_or_default();
        let Some(endpoint) = self.opening.endpoint.redirected(&location) else {
            return false;
        };
        if self.redirects >= cx.config.max_redirects {
            return false;
        }
        self.redirects = self.redirects.saturating_add(1);
        self.opening.endpoint = endpoint;
        self.close_lines(cx, |_| true);
        self.poll(cx);
        true
    }

    fn handle_poll(&mut self, response: &Response, cx: &mut Context<'_>) {
        self.stay_away = retry_after(response, cx);
        let body = response.body.clone();
        match self.protocol {
            Protocol::Engine(revision) => self.handle_engine_poll(revision, response, cx),
            Protocol::Legacy09 if self.sid.is_empty() => return self.handle_handshake(body, cx),
            Protocol::Legacy09 | Protocol::Legacy06 | Protocol::Streaming => match ByteString::try_from(body) {
                Ok(text) => self.handle_text(&text, cx),
                Err(_) => self.break_off("the body is not UTF-8", cx),
            },
        }
        if self.ended {
            return;
        }
        if !self.opened {
            return self.break_off("the server sent no open packet", cx);
        }
        let goes_on = !self.paused && self.closing.is_none();
        if goes_on && self.transport == Transport::Polling {
            self.poll(cx);
        }
    }

    fn handle_engine_poll(&mut self, revision: Revision, response: &Response, cx: &mut Context<'_>) {
        let body = response.body.clone();
        step!(bulk body.len());
        let (length, max) = (body.len(), cx.config.max_packets_per_payload);
        let is_binary = response
            .headers
            .text("content-type")
            .is_some_and(|kind| kind.trim().starts_with("application/octet-stream"));
        match (revision, is_binary) {
            (Revision::V3, true) => {
                let mut packets = payload_v3::decode_binary(body, self.dialect, max);
                while let Some(packet) = packets.next() {
                    self.dialect = packets.dialect();
                    if !self.take_packet(packet, length, cx) {
                        return;
                    }
                }
            }
            (revision, _) => {
                let Ok(text) = ByteString::try_from(body) else {
                    return self.break_off("the body is not UTF-8", cx);
                };
                let other = Some(&*text)
                    .filter(|_| !self.opened)
                    .and_then(|text| speaks_other(revision, text));
                if let Some(other) = other {
                    let message = "the server speaks another protocol";
                    let end = End::new(DisconnectReason::ParseError, ErrorClass::Protocol, message);
                    let instead = Some(Instead::This(other));
                    return self.fail(End { instead, ..end }, cx);
                }
                if revision == Revision::V4 {
                    for packet in payload::decode(text, max) {
                        if !self.take_packet(packet, length, cx) {
                            return;
                        }
                    }
                } else {
                    let mut packets = payload_v3::decode_text(text, self.dialect, max);
                    while let Some(packet) = packets.next() {
                        self.dialect = packets.dialect();
                        if !self.take_packet(packet, length, cx) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Takes a packet of a body of this length. Returns whether the next one may be read.
    fn take_packet(&mut self, packet: Result<Packet, PayloadError>, length: usize, cx: &mut Context<'_>) -> bool {
        step!();
        match packet {
            Ok(mut packet) => {
                if is_small_part(packet.bytes(), length) {
                    packet.keep(Source::Body);
                }
                self.handle_packet(packet, cx);
            }
            Err(error) => self.break_off(&alloc::format!("{error}"), cx),
        }
        !self.ended
    }
}

/// The protocol in whose form the answer to a handshake is, if it is another one: `97:0{…}`,
/// `0{…}`, or the words of servers before 1.0.
fn speaks_other(revision: Revision, body: &str) -> Option<Protocol> {
    step!(bulk body.len());
    let after_length = body.trim_start_matches(|c: char| c.is_ascii_digit());
    match revision {
        Revision::V4 if after_length.starts_with(":0{") => Some(Protocol::Engine(Revision::V3)),
        Revision::V3 if body.starts_with("0{") => Some(Protocol::Engine(Revision::V4)),
        _ => body.starts_with(handshake::WELCOME).then_some(Protocol::Legacy09),
    }
}

fn put_packet(body: &mut BytesMut, revision: Revision, is_first: bool, packed: &Packed) {
    match revision {
        Revision::V4 => {
            if !is_first {
                body.extend_from_slice(b"\x1e");
            }
            match packed {
                Packed::Text(text) => body.extend_from_slice(text),
                Packed::Binary(bytes) => crate::engine::packet::encode_base64(revision, bytes, body),
            }
        }
        Revision::V3 => {
            let mut writer = payload_v3::TextWriter::new(body);
            match packed {
                Packed::Text(text) => writer.text(text_of(text)),
                Packed::Binary(bytes) => writer.binary(bytes),
            }
        }
    }
}

/// The text of a packet, which was made of text.
pub(super) fn text_of(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}
