//! The packets of Socket.IO: namespaces are connected, refused and left, events and
//! acknowledgements arrive (docs/protocol/socket-io.md §3 to §6).

use alloc::string::String;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::config::{Generation, OnRefused};
use super::event::{AckTicket, ClientError, Delivery, DisconnectReason, ErrorClass, Output, Recovery, SocketId};
use super::manager::{Client, Stage};
use super::protocol::Protocol;
use super::session::{End, Heard, Instead};
use super::socket::{Early, Receipts, SocketState};
use super::welcome::{Confirmed, MAX_ID_BYTES, Welcome, offset_of, refusal_of};
use crate::Time;
use crate::codec::{self, Parsed};
use crate::engine::{EngineMessage, Revision};
use crate::keep::Source;
use crate::socket::{self, Packet, Role};

/// The message that socket.io-client has for this case.
const OLD_SERVER: &str = "It seems you are trying to reach a Socket.IO server in v2.x with a v3.x client, but they are \
                          not compatible";

impl Client {
    /// Makes a packet of a message, and acts on it.
    pub(super) fn handle_message(&mut self, now: Time, message: EngineMessage) {
        match self.decode(message) {
            Ok(None) => {}
            Ok(Some(packet)) => self.handle_packet(now, packet),
            Err(error) => self.break_off(now, &error),
        }
    }

    fn decode(&mut self, message: EngineMessage) -> Result<Option<Packet>, String> {
        let limits = &self.config.packet;
        let text = |error: &dyn core::fmt::Display| alloc::format!("{error}");
        let (revision, engine) = match self.protocol {
            Protocol::Engine(Revision::V3) => (socket::Revision::Four, Revision::V3),
            _ => (socket::Revision::Five, Revision::V4),
        };
        let packet = match (&self.config.parser, message) {
            (None, EngineMessage::Text(message)) => {
                let packet = self.reassembly.handle_text(message, revision, Role::Client, limits);
                packet.map_err(|error| text(&error))
            }
            (None, EngineMessage::Binary(bytes)) => {
                let packet = self.reassembly.handle_binary(bytes, limits);
                packet.map_err(|error| text(&error))
            }
            (Some(parser), message) => match codec::parse(&**parser, message, engine, limits) {
                Ok(Parsed::Packet(packet)) => Ok(Some(packet)),
                Ok(Parsed::Nothing) => Ok(None),
                Ok(Parsed::Part(part)) => {
                    let packet = self.reassembly.handle_part(part, &**parser, limits);
                    packet.map_err(|error| text(&error))
                }
                Err(error) => Err(text(&error)),
            },
        };
        self.reassembly.keep(Source::Read);
        packet
    }

    pub(super) fn break_off(&mut self, now: Time, message: &str) {
        let end = End::new(DisconnectReason::ParseError, ErrorClass::Protocol, message);
        self.with_session(now, |session, cx| session.end(end, cx));
        step!(each self.heard.len());
        // What stands behind the broken packet is not heard: a recovery would leave the packet out.
        self.heard.retain(|heard| matches!(heard, Heard::Ended(_)));
    }

    pub(super) fn handle_packet(&mut self, now: Time, packet: Packet) {
        let namespace = packet.namespace();
        step!(each self.sockets.len());
        let Some(at) = self.sockets.iter().position(|socket| socket.namespace == *namespace) else {
            return; // genuine clients ignore other namespaces, too
        };
        let state = self.sockets[at].state;
        match packet {
            Packet::Connect { payload, .. } => self.handle_connect(now, at, payload),
            Packet::ConnectError { payload, .. } => self.handle_refusal(now, at, &payload),
            Packet::Event { .. } if state == SocketState::Connecting => self.keep_early(now, at, packet),
            Packet::Event { .. } if state == SocketState::Connected => self.deliver(at, packet, true),
            Packet::Ack { id, args, .. } if state == SocketState::Connected => {
                let mut receipts = Receipts::new();
                self.sockets[at].acknowledge(id, args, &mut receipts);
                self.report(receipts);
            }
            Packet::Disconnect { .. } if self.sockets[at].is_connected() => {
                self.drop_socket(now, at, DisconnectReason::Server);
                self.close_if_unused(now);
            }
            Packet::Event { .. } | Packet::Ack { .. } | Packet::Disconnect { .. } => {}
        }
    }

    fn handle_connect(&mut self, now: Time, at: usize, payload: Option<ByteString>) {
        let Stage::Session(session) = &self.stage else { return };
        let welcome = payload.as_deref().and_then(Welcome::read);
        let confirmed = welcome.as_ref().and_then(|welcome| welcome.confirmed.events());
        if self.sockets[at].is_connected() && self.sockets[at].unconfirmed.is_on() {
            if let Some(heard) = confirmed {
                self.handle_confirmation(now, at, heard);
            }
            return;
        }
        // It was on its way when the user left, and answers no CONNECT.
        let is_confirmation = |welcome: &Welcome| welcome.sid.is_none() && welcome.confirmed != Confirmed::Nothing;
        if self.config.confirm_events && welcome.as_ref().is_some_and(is_confirmation) {
            return;
        }
        let socket = &mut self.sockets[at];
        let was_left = socket.due.take().is_some_and(|due| due.is_left);
        let was_answered = core::mem::replace(&mut socket.was_answered, true);
        match socket.state {
            _ if was_left => return self.connect_anew(now, at),
            SocketState::Connecting => {}
            // A server of Engine.IO 3 connects `/` without being asked, once. A server that does so
            // again and again, and does not read, must not make goodbyes pile up.
            SocketState::Idle if !was_answered && socket.namespace == "/" => {
                let namespace = socket.namespace.clone();
                return self.send_packet(&Packet::Disconnect { namespace });
            }
            SocketState::Idle | SocketState::Wanted | SocketState::Asking { .. } | SocketState::Connected => return,
        }
        let (sid, pid): (ByteString, Option<ByteString>) = match (self.protocol, welcome) {
            (Protocol::Engine(Revision::V4), Some(Welcome { sid: Some(sid), .. })) if sid.len() > MAX_ID_BYTES => {
                self.refuse(
                    at,
                    ClientError::new(ErrorClass::Protocol, "the id of the socket is too long"),
                );
                return self.close_if_unused(now);
            }
            (
                Protocol::Engine(Revision::V4),
                Some(Welcome {
                    sid: Some(sid), pid, ..
                }),
            ) => {
                let pid = pid.filter(|pid| pid.len() <= MAX_ID_BYTES);
                (sid.into(), pid.map(ByteString::from))
            }
            (Protocol::Engine(Revision::V4), _) => return self.meet_old_server(now, at),
            (Protocol::Engine(Revision::V3), _) if socket.namespace != "/" => {
                (alloc::format!("{}#{}", socket.namespace, session.sid).into(), None)
            }
            _ => (session.sid.as_str().into(), None),
        };
        let recovery = match (&socket.pid, &pid) {
            (None, _) => session.recovery(),
            (Some(held), Some(pid)) if held == pid => Recovery::Recovered,
            (Some(_), _) => Recovery::Lost,
        };
        if recovery != Recovery::Recovered {
            socket.offset = None;
        }
        let mut receipts = Receipts::new();
        let confirmed = confirmed.filter(|_| self.config.confirm_events && pid.is_some());
        if let Some(error) = socket.settle_unconfirmed(recovery, confirmed, &mut receipts) {
            (socket.pid, socket.offset) = (None, None);
            self.report(receipts);
            return self.break_off(now, &alloc::format!("{error}"));
        }
        socket.state = SocketState::Connected;
        socket.was_left = false;
        socket.refusals = 0;
        socket.connection += 1;
        (socket.sid, socket.pid) = (sid.clone(), pid);
        self.report(receipts);
        let socket = &mut self.sockets[at];
        socket.early_bytes = 0;
        for Early { packet, may_answer } in core::mem::take(&mut socket.early) {
            step!();
            self.deliver(at, packet, may_answer);
        }
        self.outputs.push_back(Output::Delivery(Delivery::Connect {
            socket: SocketId(at as u32),
            sid,
            recovery,
        }));
    }

    /// The server has had so many events of a namespace (docs/protocol/extensions.md §2).
    fn handle_confirmation(&mut self, now: Time, at: usize, heard: u64) {
        let mut receipts = Receipts::new();
        let confirmed = self.sockets[at].confirm(heard, &mut receipts);
        self.report(receipts);
        if let Err(error) = confirmed {
            // The next connection begins anew: this server cannot say what it has had.
            let socket = &mut self.sockets[at];
            (socket.pid, socket.offset) = (None, None);
            self.break_off(now, &alloc::format!("{error}"));
        }
    }

    /// A CONNECT without an id: only servers of 1.x and 2.x send it.
    fn meet_old_server(&mut self, now: Time, at: usize) {
        let has_another = self.tried < Protocol::candidates(&self.config).len();
        if self.config.generation == Generation::Auto && has_another {
            let end = End::new(DisconnectReason::ParseError, ErrorClass::Protocol, OLD_SERVER);
            let instead = Some(Instead::This(Protocol::Engine(Revision::V3)));
            self.with_session(now, |session, cx| session.end(End { instead, ..end }, cx));
            return;
        }
        self.refuse(at, ClientError::new(ErrorClass::Protocol, OLD_SERVER));
        self.close_if_unused(now);
    }

    /// The server does not let the client into the namespace.
    fn handle_refusal(&mut self, now: Time, at: usize, payload: &ByteString) {
        let socket = &mut self.sockets[at];
        let was_left = socket.due.take().is_some_and(|due| due.is_left);
        socket.was_answered = true;
        if socket.state != SocketState::Connecting {
            return;
        }
        // Another CONNECT was refused than the one that the user wants now.
        if was_left {
            self.send_connect(now, at);
            return self.close_if_unused(now);
        }
        // The server has read what the client wrote before, also that it has left.
        socket.was_left = false;
        let error = refusal_of(payload, self.protocol);
        socket.refusals += 1;
        let asks = self.config.provider && self.config.on_refused == OnRefused::AskOnce;
        if asks && socket.refusals == 1 {
            self.last_error = Some(error);
            return self.join(now, at);
        }
        self.refuse(at, error);
        self.close_if_unused(now);
    }

    /// The namespace does not connect, and the user is told once.
    pub(super) fn refuse(&mut self, at: usize, error: ClientError) {
        let socket = &mut self.sockets[at];
        socket.state = SocketState::Idle;
        socket.early = Vec::new();
        socket.early_bytes = 0;
        self.outputs.push_back(Output::Delivery(Delivery::ConnectError {
            socket: SocketId(at as u32),
            error,
        }));
    }

    /// The user leaves the namespace.
    pub(super) fn leave(&mut self, now: Time, at: usize) {
        if self.sockets[at].is_connected() {
            self.flush_socket(now, at);
            let namespace = self.sockets[at].namespace.clone();
            self.send_packet(&Packet::Disconnect { namespace });
            self.drop_socket(now, at, DisconnectReason::Client);
            self.sockets[at].was_left = true;
        }
        let mut receipts = Receipts::new();
        let socket = &mut self.sockets[at];
        socket.state = SocketState::Idle;
        (socket.pid, socket.offset) = (None, None);
        if let Some(due) = &mut socket.due {
            due.is_left = true;
        }
        socket.abandon(&mut receipts);
        self.limit_waiting(now, at);
        self.report(receipts);
    }

    /// The server has ended the session, and no namespace comes back by itself.
    pub(super) fn dismissed(&mut self, now: Time) {
        for at in 0..self.sockets.len() {
            step!();
            match self.sockets[at].state {
                SocketState::Connected => self.drop_socket(now, at, DisconnectReason::Server),
                SocketState::Idle => {}
                SocketState::Wanted | SocketState::Asking { .. } | SocketState::Connecting => {
                    self.refuse(
                        at,
                        ClientError::new(ErrorClass::Refused, "the server ended the session"),
                    );
                }
            }
        }
        let end = End::new(
            DisconnectReason::Server,
            ErrorClass::Refused,
            "the server ended the session",
        );
        self.with_session(now, |session, cx| session.end(end, cx));
    }

    /// The namespace is disconnected, and does not come back by itself.
    fn drop_socket(&mut self, now: Time, at: usize, reason: DisconnectReason) {
        let mut receipts = Receipts::new();
        let socket = &mut self.sockets[at];
        socket.state = SocketState::Idle;
        (socket.pid, socket.offset) = (None, None);
        socket.lose(&mut receipts);
        self.limit_waiting(now, at);
        self.report(receipts);
        self.outputs.push_back(Output::Delivery(Delivery::Disconnect {
            socket: SocketId(at as u32),
            reason,
        }));
    }

    /// An event that came before the CONNECT of its namespace waits for it. If the connection ends
    /// before, it is dropped: the server sends it again, because its offset was not taken.
    ///
    /// After the user has left the namespace on this session, nothing tells an event for the socket
    /// before from one that a middleware has sent to the new one. As in JavaScript, the new one
    /// gets both. A question is delivered as an event that wants no answer: an answer to the socket
    /// before could be taken for one to a question of the new socket.
    fn keep_early(&mut self, now: Time, at: usize, mut packet: Packet) {
        let socket = &mut self.sockets[at];
        socket.early_bytes += packet.bytes() + size_of::<Early>();
        if socket.early_bytes > self.config.max_early_bytes {
            return self.break_off(now, "too many events before the namespace was connected");
        }
        packet.keep(Source::Read);
        let may_answer = !socket.was_left;
        socket.early.push(Early { packet, may_answer });
    }

    /// `may_answer` says whether a question may be answered.
    fn deliver(&mut self, at: usize, packet: Packet, may_answer: bool) {
        let Packet::Event { name, id, args, .. } = packet else {
            return;
        };
        let (place, socket) = (SocketId(at as u32), &mut self.sockets[at]);
        if socket.pid.is_some()
            && id.is_none()
            && let Some(offset) = offset_of(&args)
        {
            socket.offset = Some(offset);
        }
        let connection = socket.connection;
        let ack = id.filter(|_| may_answer).map(|id| AckTicket {
            socket: place,
            connection,
            id,
        });
        self.outputs.push_back(Output::Delivery(Delivery::Event {
            socket: place,
            name,
            args,
            ack,
        }));
    }
}
