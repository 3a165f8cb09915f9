//! The wires of plain messages: 0.5 and 0.6 (docs/protocol/legacy-0.6.md), and the streaming codec
//! (docs/protocol/legacy-streaming.md).
//!
//! Their first packet is the id of the session, which outlives its connections: the client goes
//! back to it by its id (docs/protocol/legacy-0.6.md §18). On websocket, the handshake says whether
//! the server knows the id. On polling, a POST does, because a poll would be held: it sends back
//! the last heartbeat, which every server takes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;

use super::request::{put_encoded, timestamp};
use super::{Context, Heard, Packed, Resume, Session};
use crate::client::config::Transport;
use crate::client::event::Recovery;
use crate::client::line::Purpose;
use crate::client::protocol::Protocol;
use crate::codec::{MessageCodec, PlainMessage};
use crate::http::Method;
use crate::json;
use crate::keep;
use crate::legacy::{framing, streaming};
use crate::socket::{self, Args};

/// How long a genuine client waits for anything on websocket.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a genuine client waits for anything on polling.
const SILENCE_OF_POLLS: Duration = Duration::from_secs(25);

/// The longest id that is taken from a server. It stands in every target from then on.
const MAX_SID_BYTES: usize = 256;

/// A longer heartbeat is not sent back. Genuine servers send numbers.
const MAX_HEARTBEAT_BYTES: usize = 256;

/// What a payload of the server holds.
enum Plain {
    Sid(ByteString),
    Text(ByteString),
    Json(ByteString),
    Heartbeat(ByteString),
    Goodbye,
}

impl Session {
    pub(super) fn target06(&self, method: Method, transport: Transport, cx: &mut Context<'_>) -> String {
        let base = self.opening.endpoint.path.trim_end_matches('/');
        match (transport, method) {
            (Transport::WebSocket, _) if self.sid.is_empty() => format!("{base}/websocket"),
            (Transport::WebSocket, _) => format!("{base}/websocket/{}", self.sid),
            (Transport::Polling, Method::Post) => format!("{base}/xhr-polling/{}/send", self.sid),
            // Without an id, its segment is empty.
            (Transport::Polling, _) => format!("{base}/xhr-polling/{}/{}", self.sid, timestamp(cx)),
        }
    }

    /// A payload of any wire before Engine.IO.
    pub(super) fn handle_text(&mut self, text: &ByteString, cx: &mut Context<'_>) {
        match self.protocol {
            Protocol::Legacy09 => self.handle_text09(text, cx),
            Protocol::Legacy06 => self.handle_frames(text, cx),
            Protocol::Streaming | Protocol::Engine(_) => self.handle_stream(text, cx),
        }
    }

    fn silence06(&self, cx: &Context<'_>) -> Duration {
        let silence = match self.transport {
            Transport::Polling => SILENCE_OF_POLLS,
            Transport::WebSocket => SILENCE,
        };
        cx.config.max_silence.unwrap_or(silence)
    }

    fn handle_frames(&mut self, text: &ByteString, cx: &mut Context<'_>) {
        let mut frames = Vec::new();
        let verdict = framing::decode(text, cx.config.max_packets_per_payload, &mut frames);
        for mut frame in frames {
            step!();
            if let framing::Frame::Text(part) | framing::Frame::Json(part) = &mut frame {
                keep::part_of(text.len(), part);
            }
            self.handle_plain(
                match frame {
                    // The first frame is the id, whatever it holds.
                    framing::Frame::Text(text) if !self.opened => Plain::Sid(text),
                    framing::Frame::Text(text) => Plain::Text(text),
                    framing::Frame::Json(value) => Plain::Json(value),
                    framing::Frame::Heartbeat(number) => Plain::Heartbeat(number),
                },
                cx,
            );
        }
        // Other errors cost the rest of the payload (docs/protocol/legacy-0.6.md §16).
        if verdict == Err(framing::FramingError::TooManyFrames) {
            self.break_off("too many frames in one payload", cx);
        }
        self.note_payload(cx);
    }

    fn handle_stream(&mut self, piece: &ByteString, cx: &mut Context<'_>) {
        let (bytes, packets) = (cx.config.max_message_bytes, cx.config.max_packets_per_payload);
        let decoder = self
            .older
            .stream
            .get_or_insert_with(|| streaming::Decoder::new(bytes, packets));
        let mut packets = Vec::new();
        let verdict = decoder.decode(piece, &mut packets);
        for mut packet in packets {
            step!();
            if let streaming::Packet::Message { data, .. } = &mut packet {
                keep::part_of(piece.len(), data);
            }
            self.handle_plain(
                match packet {
                    streaming::Packet::Handshake(sid) if !self.opened => Plain::Sid(sid),
                    streaming::Packet::Message { annotations, data } if annotations.is_json() => Plain::Json(data),
                    streaming::Packet::Message { data, .. } => Plain::Text(data),
                    streaming::Packet::Heartbeat(number) => Plain::Heartbeat(number),
                    streaming::Packet::Disconnect => Plain::Goodbye,
                    streaming::Packet::Handshake(_) | streaming::Packet::Unknown(..) => continue,
                },
                cx,
            );
        }
        // Nobody can tell where the next packet begins.
        if let Err(error) = verdict {
            self.break_off(&format!("{error}"), cx);
        }
        self.note_payload(cx);
    }

    fn note_payload(&mut self, cx: &Context<'_>) {
        if self.opened {
            self.expires = cx.now + self.silence06(cx);
        }
    }

    fn handle_plain(&mut self, plain: Plain, cx: &mut Context<'_>) {
        if self.ended {
            return;
        }
        match plain {
            Plain::Sid(sid) => self.handle_sid(&sid, cx),
            _ if !self.opened => self.break_off("the server sent no session id", cx),
            Plain::Text(text) => cx.heard.push_back(message(json::string(&text))),
            Plain::Json(value) => {
                // What is no JSON is left out.
                if json::validate(&value, cx.config.packet.max_depth).is_ok() {
                    cx.heard.push_back(message(value));
                }
            }
            Plain::Heartbeat(number) if number.len() <= MAX_HEARTBEAT_BYTES && self.closing.is_none() => {
                let mut echo = BytesMut::new();
                match self.protocol {
                    Protocol::Streaming => streaming::Packet::Heartbeat(number).encode(&mut echo),
                    _ => framing::Frame::Heartbeat(number).encode(&mut echo),
                }
                let echo = echo.freeze();
                self.older.last_heartbeat = Some(echo.clone());
                self.older.echo = Some(echo);
                self.pump(cx);
            }
            Plain::Heartbeat(_) => {}
            Plain::Goodbye if self.closing.is_some() => self.end_closed(cx),
            Plain::Goodbye => cx.heard.push_back(Heard::Dismissed),
        }
    }

    fn handle_sid(&mut self, sid: &str, cx: &mut Context<'_>) {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if sid.is_empty() || sid.len() > MAX_SID_BYTES || !sid.bytes().all(is_safe) {
            return self.break_off("invalid session id", cx);
        }
        self.sid = String::from(sid);
        self.tell_opened(cx);
    }

    // Going back to a session.

    /// Asks by POST whether the server knows the session.
    pub(super) fn ask_for_session(&mut self, cx: &mut Context<'_>) {
        let body = match &self.older.last_heartbeat {
            Some(heartbeat) => form(heartbeat),
            None => {
                let mut heartbeat = BytesMut::new();
                match self.protocol {
                    Protocol::Streaming => streaming::write_heartbeat(0, &mut heartbeat),
                    _ => framing::write_heartbeat(0, &mut heartbeat),
                }
                form(&heartbeat)
            }
        };
        self.request(Purpose::Post, Some(&body), cx);
    }

    /// The server knows the session.
    pub(super) fn resumed(&mut self, cx: &mut Context<'_>) {
        self.older.resuming = false;
        self.older.resumed = true;
        self.tell_opened(cx);
        self.note_payload(cx);
        if self.transport == Transport::Polling {
            self.poll(cx);
        }
    }

    /// The server does not know the session: a new one follows at once.
    pub(super) fn begin_anew(&mut self, cx: &mut Context<'_>) {
        self.older.resuming = false;
        self.older.gave_up = true;
        self.sid.clear();
        self.close_lines(cx, |_| true);
        self.open_transport(cx);
    }

    /// What the next session needs to go back to this one.
    pub(in crate::client) fn to_resume(&self) -> Resume {
        Resume {
            sid: self.sid.clone(),
            heartbeat: self.older.last_heartbeat.clone(),
            doubts: 0,
        }
    }

    pub(in crate::client) const fn has_given_up_resuming(&self) -> bool {
        self.older.gave_up
    }

    /// Whether this session goes on from the one before.
    pub(in crate::client) const fn recovery(&self) -> Recovery {
        match (self.older.resumed, self.older.gave_up) {
            (true, _) => Recovery::Recovered,
            (false, true) => Recovery::Lost,
            (false, false) => Recovery::New,
        }
    }

    /// Writes everything that waits as the form of a POST. The heartbeat stands last, because a
    /// genuine server drops what stands behind it.
    pub(super) fn put_form(&mut self, body: &mut BytesMut) {
        let mut payload = BytesMut::new();
        while let Some(Packed::Text(text)) = self.take_outgoing() {
            step!(bulk text.len());
            payload.extend_from_slice(&text);
        }
        payload.extend_from_slice(&self.older.echo.take().unwrap_or_default());
        *body = form(&payload);
    }
}

/// The form with a payload, which is text.
fn form(payload: &[u8]) -> BytesMut {
    let mut form = String::from("data=");
    put_encoded(&mut form, core::str::from_utf8(payload).unwrap_or_default());
    BytesMut::from(form.as_bytes())
}

fn message(json: ByteString) -> Heard {
    Heard::Packet(socket::Packet::Event {
        namespace: "/".into(),
        name: "message".into(),
        id: None,
        args: Args::from(json),
    })
}

/// A packet of Socket.IO in a codec of plain messages; none if nothing is sent for it. Each
/// argument is a message.
pub(in crate::client) fn encode_plain(codec: &dyn MessageCodec, packet: &socket::Packet) -> Option<Packed> {
    let socket::Packet::Event { args, .. } = packet else {
        return None;
    };
    let messages: Vec<_> = args.iter().map(PlainMessage::new).collect();
    let mut payload = BytesMut::new();
    codec.encode_messages(&messages, &mut payload);
    Some(Packed::Text(payload.freeze()))
}
