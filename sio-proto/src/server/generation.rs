//! Everything that depends on the generation of a session, and nothing else. To add a generation,
//! add a variant here and a folder beside this file, and follow the compiler.
//!
//! [`Wiring`] is the part of a session that belongs to its generation. The revision of an Engine.IO
//! session, 3 or 4, is inside its variant, because both revisions share one folder.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::BytesMut;

use super::at::Any;
use super::engine::{Engine, longest_silence};
use super::legacy06::Legacy06;
use super::legacy09::Legacy09;
use super::{
    Alarm, Asker, At, Cause, Encoded, Form, Input, Message, Posted, Reason, Role, SendError, Session, StreamForm,
    TimeoutReason, Unconfirmed, Welcome, Write, engine, legacy06, legacy09,
};
use crate::engine::{Revision, frames};
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::request::{Kind, Request};
use crate::wire::Inbound;
use crate::{Config, Frame, LinkId, SocketKey, Time, WireId};

/// The part of a session that belongs to its generation.
#[derive(Debug)]
pub(crate) enum Wiring {
    /// Engine.IO, revision 3 or 4.
    Engine(Engine),
    /// The `/1/` wire. Boxed, because it is larger than the part of Engine.IO, and few sessions
    /// have it.
    Legacy09(Box<Legacy09>),
    /// The plain-message wire. Boxed for the same reason.
    Legacy06(Box<Legacy06>),
}

/// A generation, named by the type of its part of a session.
pub(crate) trait OfGeneration {
    /// Whether this is the generation of the session.
    fn is(wiring: &Wiring) -> bool;
}

impl OfGeneration for Any {
    fn is(_wiring: &Wiring) -> bool {
        true
    }
}

macro_rules! generations {
    ($($generation:ident $part:ident $part_mut:ident $make:expr;)*) => {
        $(
            impl OfGeneration for $generation {
                fn is(wiring: &Wiring) -> bool {
                    matches!(wiring, Wiring::$generation(_))
                }
            }

            impl From<$generation> for Wiring {
                fn from(part: $generation) -> Self {
                    Self::$generation($make(part))
                }
            }
        )*

        impl Wiring {
            $(
                /// The part of this generation, if the session belongs to it.
                pub(crate) const fn $part(&self) -> Option<&$generation> {
                    match self {
                        Self::$generation(part) => Some(part),
                        _ => None,
                    }
                }

                /// The part of this generation, to change it. Only the rules of the generation call
                /// it. Their cursor stands at a session of the generation.
                pub(crate) fn $part_mut(&mut self) -> &mut $generation {
                    match self {
                        Self::$generation(part) => part,
                        _ => unreachable!("a cursor stands at a session of its generation"),
                    }
                }
            )*
        }
    };
}

impl Wiring {
    /// What was written and is not confirmed, in the generations whose sessions outlive their
    /// connections.
    pub(super) fn unconfirmed(&self) -> Option<&Unconfirmed> {
        match self {
            Self::Engine(_) => None,
            Self::Legacy09(legacy09) => Some(&legacy09.unconfirmed),
            Self::Legacy06(legacy06) => Some(&legacy06.unconfirmed),
        }
    }

    /// What it keeps of what has come, and of requests that wait for an answer.
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> (Holding, Holding) {
        match self {
            Self::Engine(engine) => engine.holding(),
            Self::Legacy09(legacy09) => (legacy09.holding(), Holding::default()),
            Self::Legacy06(legacy06) => (Holding::thing(legacy06.kept_bytes()), Holding::default()),
        }
    }

    /// The memory that it has beside the session, without what is unconfirmed.
    #[cfg(feature = "steps")]
    pub(super) fn memory(&self) -> usize {
        let part = match self {
            Self::Engine(_) => return 0,
            Self::Legacy09(part) => size_of_val(&**part),
            Self::Legacy06(part) => size_of_val(&**part),
        };
        part - size_of::<Unconfirmed>() + self.stream().map_or(0, size_of_val)
    }

    /// The form in which the session's packets are written. It never changes.
    pub(super) const fn form(&self) -> Form {
        match self {
            Self::Engine(engine) => match engine.revision() {
                Revision::V4 => Form::Engine4,
                Revision::V3 => Form::Engine3,
            },
            Self::Legacy09(_) => Form::Legacy09,
            Self::Legacy06(legacy06) => Form::Plain(legacy06.codec),
        }
    }

    /// The form of the packets on the session's stream, if its link is a stream. Engine.IO has no
    /// streams.
    pub(super) fn stream(&self) -> Option<&StreamForm> {
        match self {
            Self::Engine(_) => None,
            Self::Legacy09(legacy09) => legacy09.stream.as_deref(),
            Self::Legacy06(legacy06) => legacy06.stream.as_deref(),
        }
    }

    pub(super) fn set_stream(&mut self, form: Option<StreamForm>) {
        match self {
            Self::Engine(_) => debug_assert!(form.is_none(), "Engine.IO has no streams"),
            Self::Legacy09(legacy09) => legacy09.stream = form.map(Box::new),
            Self::Legacy06(legacy06) => legacy06.stream = form.map(Box::new),
        }
    }

    /// Does what [`Wiring::unconfirmed`] does, to change it.
    pub(super) fn unconfirmed_mut(&mut self) -> Option<&mut Unconfirmed> {
        match self {
            Self::Engine(_) => None,
            Self::Legacy09(legacy09) => Some(&mut legacy09.unconfirmed),
            Self::Legacy06(legacy06) => Some(&mut legacy06.unconfirmed),
        }
    }
}

generations! {
    Engine engine engine_mut core::convert::identity;
    Legacy09 legacy09 legacy09_mut Box::new;
    Legacy06 legacy06 legacy06_mut Box::new;
}

/// Facts about one session.
impl Session {
    /// Why one of its alarms goes off at this time.
    pub(super) fn wiring_timeout_reason(&self, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        match &self.wiring {
            Wiring::Engine(engine) => engine.timeout_reason(self, at, alarm, epoch),
            Wiring::Legacy09(legacy09) => legacy09.timeout_reason(self, at, alarm, epoch),
            Wiring::Legacy06(legacy06) => legacy06.timeout_reason(self, at, alarm, epoch),
        }
    }

    /// The id by which its client knows itself, if it is not the public id.
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

    /// The namespace of the socket that the client's id names. `derived` is the namespace inside
    /// the id. `asked` is the namespace in which the caller looks.
    pub(super) fn namespace_named<'a>(&self, derived: Option<&'a str>, asked: Option<&'a str>) -> Option<&'a str> {
        match (&self.wiring, derived) {
            (Wiring::Engine(engine), derived) => match engine.revision() {
                Revision::V3 => Some(derived.unwrap_or("/")),
                // For clients from 3.0 on, the id of the session addresses no socket.
                Revision::V4 => None,
            },
            (Wiring::Legacy09(_), None) => Some(asked.unwrap_or("/")),
            (Wiring::Legacy06(_), None) => Some("/"),
            (Wiring::Legacy09(_) | Wiring::Legacy06(_), Some(_)) => None,
        }
    }

    /// The frame for this session's peer, made of the frame that all others of its generation get.
    pub(super) fn adapt(&self, frame: &Frame) -> Frame {
        match &self.wiring {
            Wiring::Engine(engine) => frames::to_base64(engine.revision(), frame),
            Wiring::Legacy09(legacy09) => legacy09::packets::readdress(legacy09, frame),
            Wiring::Legacy06(_) => frame.clone(),
        }
    }

    /// Bytes of the client's data that its generation keeps.
    pub(super) fn wiring_bytes(&self) -> usize {
        match &self.wiring {
            Wiring::Engine(engine) => engine.kept_bytes(),
            Wiring::Legacy09(legacy09) => legacy09.kept_bytes(),
            Wiring::Legacy06(legacy06) => legacy06.kept_bytes(),
        }
    }

    /// The most packets that may be queued.
    pub(super) fn max_packets(&self, config: &Config) -> usize {
        match self.form() {
            Form::Engine4 | Form::Engine3 => config.max_queued_packets,
            Form::Legacy09 => legacy09::max_packets(self, config),
            Form::Plain(_) => legacy06::max_packets(self, config),
        }
    }

    /// Whether it is a raw session of Engine.IO.
    pub(super) const fn is_raw(&self) -> bool {
        match &self.wiring {
            Wiring::Engine(engine) => engine.is_raw(),
            Wiring::Legacy09(_) | Wiring::Legacy06(_) => false,
        }
    }

    /// Whether the GET that is held can be answered at any time.
    pub(super) fn may_end_poll(&self) -> bool {
        match &self.wiring {
            Wiring::Engine(_) | Wiring::Legacy06(_) => true,
            Wiring::Legacy09(legacy09) => legacy09.is_handshaken(),
        }
    }

    /// How long a link may take nothing: the time of a heartbeat and its answer.
    pub(super) fn stall_patience(&self, config: &Config) -> Duration {
        match &self.wiring {
            Wiring::Engine(_) => longest_silence(config),
            Wiring::Legacy09(_) => config.legacy09.heartbeat_interval + config.legacy09.heartbeat_timeout,
            Wiring::Legacy06(_) => config.legacy06.heartbeat_interval + config.legacy06.heartbeat_timeout,
        }
    }

    /// The answer that is still pending when the session ends, and the link that waits for it.
    pub(super) fn farewell_answer(&mut self) -> Option<(LinkId, Write)> {
        match &mut self.wiring {
            Wiring::Engine(engine) => engine.farewell_answer(),
            Wiring::Legacy09(_) | Wiring::Legacy06(_) => None,
        }
    }

    /// Whether the session lives on without its websocket or stream, and waits for the next one.
    pub(super) const fn outlives_link(&self) -> bool {
        match &self.wiring {
            Wiring::Legacy06(_) => true,
            Wiring::Engine(_) | Wiring::Legacy09(_) => false,
        }
    }
}

/// A cursor with the rules of its session's generation.
enum Rules<'a> {
    Engine(At<'a, Engine>),
    Legacy09(At<'a, Legacy09>),
    Legacy06(At<'a, Legacy06>),
}

/// Events of one session.
impl<'a> At<'a> {
    fn rules(self) -> Rules<'a> {
        match self.session.wiring {
            Wiring::Engine(_) => Rules::Engine(self.retyped()),
            Wiring::Legacy09(_) => Rules::Legacy09(self.retyped()),
            Wiring::Legacy06(_) => Rules::Legacy06(self.retyped()),
        }
    }

    /// A packet has come on one of its links.
    pub(super) fn packet_came(self, role: Role, packet: &mut Inbound) {
        match self.rules() {
            Rules::Engine(at) => at.packet_came(role, packet),
            Rules::Legacy09(at) => _ = at.receive(packet.take()),
            Rules::Legacy06(at) => _ = at.receive(packet.take()),
        }
    }

    /// Nothing is read from the client for now. If a client of the generation would take this for
    /// the end of its server, it is told something. A packet may wait longer for the rest.
    pub(super) fn comfort(self) {
        if let Rules::Engine(mut at) = self.rules() {
            at.comfort();
            at.await_attachments();
        }
    }

    /// One of its links is gone.
    pub(super) fn link_closed(mut self, role: Role, link: LinkId, cause: Cause) {
        let is_former = matches!(role, Role::Answered | Role::Replaced);
        if let Cause::Broken(breach) = &cause {
            match self.session.outlives_link() || role == Role::Candidate || is_former {
                true => self.tolerated(breach.clone(), 1),
                false => self.broke(breach.clone()),
            }
        }
        if is_former {
            return self.former_link_closed(role, link);
        }
        match self.rules() {
            Rules::Engine(at) => at.link_closed(role, cause),
            Rules::Legacy09(at) => at.link_closed(cause.into()),
            Rules::Legacy06(at) => at.link_closed(),
        }
    }

    /// One of its alarms goes off.
    pub(super) fn alarm_rang(self, alarm: Alarm, epoch: u32) {
        match self.rules() {
            Rules::Engine(at) => at.alarm_rang(alarm, epoch),
            Rules::Legacy09(at) => at.alarm_rang(alarm, epoch),
            Rules::Legacy06(at) => at.alarm_rang(alarm, epoch),
        }
    }

    /// Answers the held GET with the queued packets.
    pub(super) fn flush_poll(self) -> Self {
        match self.rules() {
            Rules::Engine(mut at) => {
                at.flush_poll();
                at.retyped()
            }
            Rules::Legacy09(mut at) => {
                at.flush_poll();
                at.retyped()
            }
            Rules::Legacy06(mut at) => {
                at.flush_poll();
                at.retyped()
            }
        }
    }

    /// Answers the held GET with the queued packets, or with an empty packet if there are none.
    pub(super) fn end_poll(self) -> Self {
        match self.rules() {
            Rules::Engine(mut at) => {
                at.end_poll();
                at.retyped()
            }
            Rules::Legacy09(mut at) => {
                at.end_poll();
                at.retyped()
            }
            Rules::Legacy06(mut at) => {
                at.flush_poll();
                at.retyped()
            }
        }
    }

    /// The user has accepted a socket: tells its client.
    pub(super) fn tell_accepted(self, socket: SocketKey, welcome: &Welcome) {
        match self.rules() {
            Rules::Engine(mut at) => at.accepted(socket, welcome),
            Rules::Legacy09(mut at) => at.accepted(socket),
            Rules::Legacy06(mut at) => at.accepted(),
        }
    }

    /// Tells the client of a socket how many of its events have been had. Returns false if the
    /// client is not told.
    pub(super) fn tell_confirmed(self, socket: SocketKey, heard: u64) -> bool {
        match self.rules() {
            Rules::Engine(mut at) => at.confirm_events(socket, heard),
            Rules::Legacy09(_) | Rules::Legacy06(_) => false,
        }
    }

    /// The user has refused a socket, which is forgotten: tells its client.
    pub(super) fn tell_refused(self, namespace: &str, message: &str, data: Option<&str>) {
        match self.rules() {
            Rules::Engine(mut at) => at.refused(namespace, message, data),
            Rules::Legacy09(at) => _ = at.refused(namespace),
            Rules::Legacy06(at) => _ = at.refused(),
        }
    }

    /// The user disconnects a socket, for a reason that is a dismissal. With `close`, its whole
    /// session ends.
    pub(super) fn disconnect_socket(self, socket: SocketKey, close: bool, reason: Reason) {
        match self.rules() {
            Rules::Engine(at) => _ = at.disconnect(socket, close, reason),
            Rules::Legacy09(at) => _ = at.disconnect(socket, close, reason),
            Rules::Legacy06(at) => _ = at.close(reason),
        }
    }

    /// The server closes the session: the user is told, and the peer gets the close of its
    /// transport.
    pub(super) fn close(self, reason: Reason) {
        match self.rules() {
            Rules::Engine(at) => _ = at.close(reason),
            Rules::Legacy09(at) => _ = at.close(reason),
            Rules::Legacy06(at) => _ = at.close(reason),
        }
    }

    /// Ends a session that has lost its websocket or stream because its peer takes nothing. The
    /// packets that waited for it are dropped already.
    pub(super) fn give_up(self, reason: Reason) {
        match self.rules() {
            Rules::Engine(at) => _ = at.fail(reason),
            Rules::Legacy09(at) => _ = at.give_up(reason),
            Rules::Legacy06(at) => _ = at.close(reason),
        }
    }

    /// Ends a session at once, to make room for another.
    pub(super) fn evict(self) {
        match self.rules() {
            Rules::Engine(at) => _ = at.fail(Reason::ForcedServerClose),
            Rules::Legacy09(at) => _ = at.evict(),
            Rules::Legacy06(at) => _ = at.close(Reason::ForcedServerClose),
        }
    }
}

impl Message {
    /// Makes the encoding. The size is checked before the encoding is made.
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

/// Requests.
impl Input<'_> {
    /// Gives a complete request to the rules of its generation.
    pub(super) fn dispatch_request(&mut self, link: LinkId, request: &Request, posted: &mut Posted) {
        match request.findings().kind {
            Kind::Engine { raw, upgrade, route } => {
                let arrival = engine::Arrival {
                    request,
                    raw,
                    upgrade,
                    route,
                };
                arrival.handle(self, link, posted);
            }
            Kind::Legacy09(route) => legacy09::requests::handle(self, link, request, posted, route),
            Kind::UnknownProtocol => legacy09::requests::refuse_protocol(link, request, self.out),
            Kind::Legacy06(codec, route) => {
                let arrival = legacy06::requests::Arrival { request, codec, route };
                arrival.handle(self, link, posted);
            }
            Kind::Foreign => {
                let asker = Asker::new(&self.shard.core.config, link, request);
                let answer = asker.answer(404, Some("text/plain; charset=UTF-8"), "Not Found");
                self.out.writes.push(answer);
            }
        }
    }

    /// The head of a request has come, and its body has not.
    pub(super) fn handle_body_started(&mut self, link: LinkId, request: &Request) {
        match request.findings().kind {
            Kind::Engine { raw, upgrade, route } => {
                let arrival = engine::Arrival {
                    request,
                    raw,
                    upgrade,
                    route,
                };
                arrival.handle_body_started(self, link);
            }
            Kind::Legacy09(_) | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => {}
        }
    }
}
