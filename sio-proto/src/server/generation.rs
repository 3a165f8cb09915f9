//! Everything that depends on the generation of a session, and nothing else: whoever adds a
//! generation adds a variant here, a room beside this file, and follows the compiler.
//!
//! [`Wiring`] is the part of a session that belongs to its generation. Whether a session of
//! Engine.IO speaks revision 3 or 4 stands inside its variant: the two share one room.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;

use super::{
    Alarm, Asker, Cause, Core, Encoded, Form, Message, Outputs, Reason, Role, SendError, Session, TimeoutReason,
    engine, legacy06, legacy09,
};
use crate::engine::{Revision, frames};
use crate::id::{SessionSlot, SocketSlot};
use crate::request::{Kind, Request};
use crate::wire::Inbound;
use crate::{Config, Frame, LinkId, Time, WireId};

/// The part of a session that belongs to its generation.
#[derive(Debug)]
pub(crate) enum Wiring {
    /// Engine.IO, revision 3 or 4.
    Engine(engine::Engine),
    /// The `/1/` wire.
    Legacy09(legacy09::Legacy09),
    /// The plain-message wire.
    Legacy06(legacy06::Legacy06),
}

impl Wiring {
    /// The part of Engine.IO, if it is that.
    pub(crate) const fn engine(&self) -> Option<&engine::Engine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Legacy09(_) | Self::Legacy06(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) const fn engine_mut(&mut self) -> Option<&mut engine::Engine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Legacy09(_) | Self::Legacy06(_) => None,
        }
    }

    /// The part of 0.7 to 0.9, if it is that.
    pub(crate) const fn legacy09(&self) -> Option<&legacy09::Legacy09> {
        match self {
            Self::Legacy09(legacy09) => Some(legacy09),
            Self::Engine(_) | Self::Legacy06(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) const fn legacy09_mut(&mut self) -> Option<&mut legacy09::Legacy09> {
        match self {
            Self::Legacy09(legacy09) => Some(legacy09),
            Self::Engine(_) | Self::Legacy06(_) => None,
        }
    }

    /// The part of 0.6, if it is that.
    pub(crate) const fn legacy06(&self) -> Option<&legacy06::Legacy06> {
        match self {
            Self::Legacy06(legacy06) => Some(legacy06),
            Self::Engine(_) | Self::Legacy09(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) const fn legacy06_mut(&mut self) -> Option<&mut legacy06::Legacy06> {
        match self {
            Self::Legacy06(legacy06) => Some(legacy06),
            Self::Engine(_) | Self::Legacy09(_) => None,
        }
    }
}

/// What one session is.
impl Session {
    /// In what form its packets are written.
    pub(crate) const fn form(&self) -> Form {
        match &self.wiring {
            Wiring::Engine(engine) => match engine.revision() {
                Revision::V4 => Form::Engine4,
                Revision::V3 => Form::Engine3,
            },
            Wiring::Legacy09(_) => Form::Legacy09,
            Wiring::Legacy06(legacy06) => Form::Plain(legacy06.codec),
        }
    }

    /// Why one of its alarms goes off at this time.
    pub(super) fn wiring_timeout_reason(&self, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        match &self.wiring {
            Wiring::Engine(engine) => engine.timeout_reason(self, alarm, epoch),
            Wiring::Legacy09(legacy09) => legacy09.timeout_reason(self, at, alarm, epoch),
            Wiring::Legacy06(legacy06) => legacy06.timeout_reason(self, at, alarm, epoch),
        }
    }

    /// The id by which its client knows itself, where this is not the public one.
    pub(crate) const fn wire_id(&self) -> Option<WireId> {
        match &self.wiring {
            Wiring::Engine(engine) => match engine.revision() {
                Revision::V4 => None,
                Revision::V3 => Some(WireId::derived(self.id)),
            },
            Wiring::Legacy09(_) => Some(WireId::base64(self.id)),
            Wiring::Legacy06(_) => Some(WireId::base32(self.id)),
        }
    }

    /// The namespace of the socket that its client means by an id. `derived` is the one that the id
    /// itself names, `asked` the one in which it is looked for.
    pub(super) fn namespace_named<'a>(&self, derived: Option<&'a str>, asked: Option<&'a str>) -> Option<&'a str> {
        match (&self.wiring, derived) {
            (Wiring::Engine(engine), derived) => match engine.revision() {
                Revision::V3 => Some(derived.unwrap_or("/")),
                // To clients from 3.0 on the id of their session is no address of any socket.
                Revision::V4 => None,
            },
            (Wiring::Legacy09(_), None) => Some(asked.unwrap_or("/")),
            (Wiring::Legacy06(_), None) => Some("/"),
            (Wiring::Legacy09(_) | Wiring::Legacy06(_), Some(_)) => None,
        }
    }

    /// What the session's peer gets for a frame that all others of its generation get.
    pub(super) fn adapt(&self, frame: &Frame) -> Frame {
        match &self.wiring {
            Wiring::Engine(engine) => frames::to_base64(engine.revision(), frame),
            Wiring::Legacy09(legacy09) => legacy09::packets::readdress(legacy09, frame),
            Wiring::Legacy06(_) => frame.clone(),
        }
    }

    /// What its generation keeps of what its client has sent, in bytes.
    pub(super) fn wiring_bytes(&self) -> usize {
        match &self.wiring {
            Wiring::Engine(engine) => engine.kept_bytes(),
            Wiring::Legacy09(legacy09) => legacy09.kept_bytes(),
            Wiring::Legacy06(legacy06) => legacy06.kept_bytes(),
        }
    }

    /// Most packets that may be queued.
    pub(super) fn max_packets(&self, config: &Config) -> usize {
        match &self.wiring {
            Wiring::Engine(_) => config.max_queued_packets,
            Wiring::Legacy09(_) => legacy09::max_packets(self, config),
            Wiring::Legacy06(_) => legacy06::max_packets(self, config),
        }
    }

    /// Whether it outlives its websocket or stream, and waits for the next.
    pub(super) const fn outlives_link(&self) -> bool {
        match &self.wiring {
            Wiring::Legacy06(_) => true,
            Wiring::Engine(_) | Wiring::Legacy09(_) => false,
        }
    }
}

/// What happens to one session.
impl Core {
    fn wiring(&self, slot: SessionSlot) -> Option<&Wiring> {
        self.sessions.get(slot).map(|session| &session.wiring)
    }

    /// A packet has come on one of its links.
    pub(super) fn packet_came(
        &mut self,
        now: Time,
        slot: SessionSlot,
        role: Role,
        link: LinkId,
        packet: Inbound,
        out: &mut Outputs,
    ) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::handle_packet(self, now, slot, role, link, packet, out),
            Some(Wiring::Legacy09(_)) => legacy09::packets::handle(self, now, slot, packet, out),
            Some(Wiring::Legacy06(_)) => legacy06::handle_packet(self, now, slot, packet, out),
            None => {}
        }
    }

    /// One of its links is gone.
    pub(super) fn link_closed(&mut self, now: Time, slot: SessionSlot, role: Role, cause: Cause, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::handle_closed(self, slot, role, cause, out),
            Some(Wiring::Legacy09(_)) => legacy09::handle_closed(self, now, slot, cause.into(), out),
            Some(Wiring::Legacy06(_)) => legacy06::handle_closed(self, now, slot, out),
            None => {}
        }
    }

    /// One of its alarms goes off.
    pub(super) fn alarm_rang(&mut self, now: Time, slot: SessionSlot, alarm: Alarm, epoch: u32, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::handle_alarm(self, now, slot, alarm, epoch, out),
            Some(Wiring::Legacy09(_)) => legacy09::handle_alarm(self, now, slot, alarm, epoch, out),
            Some(Wiring::Legacy06(_)) => legacy06::handle_alarm(self, now, slot, alarm, epoch, out),
            None => {}
        }
    }

    /// Whether the GET that is held can be answered at any time.
    pub(super) fn may_end_poll(&self, slot: SessionSlot) -> bool {
        match self.wiring(slot) {
            Some(Wiring::Engine(_) | Wiring::Legacy06(_)) => true,
            Some(Wiring::Legacy09(_)) => legacy09::is_handshaken(self, slot),
            None => false,
        }
    }

    /// Answers the GET that is held with what is queued.
    pub(super) fn flush_poll(&mut self, now: Time, slot: SessionSlot, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::flush_poll(self, slot, out),
            Some(Wiring::Legacy09(_)) => legacy09::requests::flush_poll(self, now, slot, out),
            Some(Wiring::Legacy06(_)) => legacy06::requests::flush_poll(self, now, slot, out),
            None => {}
        }
    }

    /// Answers the GET that is held with what is queued, or else with a packet that says nothing.
    pub(super) fn end_poll(&mut self, now: Time, slot: SessionSlot, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::end_poll(self, now, slot, out),
            Some(Wiring::Legacy09(_)) => legacy09::requests::end_poll(self, now, slot, out),
            Some(Wiring::Legacy06(_)) => legacy06::requests::flush_poll(self, now, slot, out),
            None => {}
        }
    }

    /// How long a link may take nothing: as long as a heartbeat and its answer may take.
    pub(super) fn stall_patience(&self, slot: SessionSlot) -> Duration {
        let config = &self.config;
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) | None => config.ping_interval + config.ping_timeout,
            Some(Wiring::Legacy09(_)) => config.legacy09.heartbeat_interval + config.legacy09.heartbeat_timeout,
            Some(Wiring::Legacy06(_)) => config.legacy06.heartbeat_interval + config.legacy06.heartbeat_timeout,
        }
    }

    /// The user has let a socket in: its client is told.
    pub(super) fn tell_accepted(&mut self, now: Time, slot: SessionSlot, socket: SocketSlot, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::accepted(self, slot, socket, out),
            Some(Wiring::Legacy09(_)) => legacy09::accepted(self, now, slot, socket, out),
            Some(Wiring::Legacy06(_)) => legacy06::accepted(self, now, slot, out),
            None => {}
        }
    }

    /// The user has refused a socket, which is forgotten: its client is told.
    pub(super) fn tell_refused(
        &mut self,
        slot: SessionSlot,
        namespace: &ByteString,
        message: &str,
        data: Option<&str>,
        out: &mut Outputs,
    ) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::refused(self, slot, namespace, message, data),
            Some(Wiring::Legacy09(_)) => legacy09::refused(self, slot, namespace, out),
            Some(Wiring::Legacy06(_)) => legacy06::refused(self, slot, out),
            None => {}
        }
    }

    /// The user disconnects a socket; with `close`, its whole session.
    pub(super) fn disconnect_socket(
        &mut self,
        now: Time,
        slot: SessionSlot,
        socket: SocketSlot,
        close: bool,
        out: &mut Outputs,
    ) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::disconnect(self, now, slot, socket, close, out),
            Some(Wiring::Legacy09(_)) => legacy09::disconnect(self, now, slot, socket, close, out),
            Some(Wiring::Legacy06(_)) => legacy06::close(self, slot, Reason::ServerNamespaceDisconnect, out),
            None => {}
        }
    }

    /// Closes a session from this side: the user is told, the peer gets what its transport has for
    /// that.
    pub(crate) fn close_session(&mut self, now: Time, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::close(self, now, slot, reason, out),
            Some(Wiring::Legacy09(_)) => legacy09::close(self, now, slot, reason, out),
            Some(Wiring::Legacy06(_)) => legacy06::close(self, slot, reason, out),
            None => {}
        }
    }

    /// Ends a session that has lost its websocket or stream because its peer takes nothing. What
    /// waited for it is gone already.
    pub(super) fn give_up_session(&mut self, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::fail(self, slot, reason, out),
            Some(Wiring::Legacy09(_)) => legacy09::give_up(self, slot, reason, out),
            Some(Wiring::Legacy06(_)) => legacy06::close(self, slot, reason, out),
            None => {}
        }
    }

    /// Ends a session at once, to make room for another.
    pub(super) fn evict(&mut self, slot: SessionSlot, out: &mut Outputs) {
        match self.wiring(slot) {
            Some(Wiring::Engine(_)) => engine::evict(self, slot, out),
            Some(Wiring::Legacy09(_)) => legacy09::evict(self, slot, out),
            Some(Wiring::Legacy06(_)) => legacy06::close(self, slot, Reason::ForcedServerClose, out),
            None => {}
        }
    }
}

impl Message {
    /// Makes the encoding. What it weighs is asked before it is made.
    pub(super) fn make(&self, form: Form, config: &Config, buffer: &mut BytesMut) -> Result<Encoded, SendError> {
        match form {
            Form::Engine4 => engine::encode_message(Revision::V4, self, config, buffer),
            Form::Engine3 => engine::encode_message(Revision::V3, self, config, buffer),
            Form::Legacy09 => legacy09::encode_message(self, config, buffer),
            Form::Plain(codec) => {
                let codec = config.legacy06.codec_at(codec);
                legacy06::message::encode_message(self, codec, config, buffer)
            }
        }
    }
}

/// A complete request goes to the room of the generation that it speaks.
pub(super) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    out: &mut Outputs,
) {
    match request.findings().kind {
        Kind::Engine { raw, upgrade, route } => {
            let arrival = engine::Arrival {
                request,
                raw,
                upgrade,
                route,
            };
            engine::handle_request(core, now, link, &arrival, packets, out);
        }
        Kind::Legacy09(route) => legacy09::requests::handle_request(core, now, link, request, packets, route, out),
        Kind::UnknownProtocol => legacy09::requests::refuse_protocol(link, request, out),
        Kind::Legacy06(codec, route) => {
            legacy06::requests::handle_request(core, now, link, request, packets, codec, route, out);
        }
        Kind::Foreign => {
            let asker = Asker::new(&core.config, link, request);
            out.writes
                .push(asker.answer(404, Some("text/plain; charset=UTF-8"), "Not Found"));
        }
    }
}

/// The head of a request has come, and its body has not.
pub(super) fn handle_body_started(core: &mut Core, link: LinkId, request: &Request, out: &mut Outputs) {
    match request.findings().kind {
        Kind::Engine { raw, upgrade, route } => {
            let arrival = engine::Arrival {
                request,
                raw,
                upgrade,
                route,
            };
            engine::handle_body_started(core, link, &arrival, out);
        }
        Kind::Legacy09(_) | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => {}
    }
}
