//! A session of the 0.6 family: the server speaks first, and a session outlives its transport
//! (docs/protocol/legacy-0.6.md §3-§6, §13).
//!
//! ```text
//!   request without id ─► ASKING ── accepted ─► PRESENT ── transport lost ─► ABSENT ── too long ─► (gone)
//!                            │                    ▲  session id frame           │
//!                            └─ refused ─► (gone) └──── request with the id ────┘
//! ```
//! This wire has no CONNECT: opening a session asks for the namespace `/`. The session id frame
//! tells the client that it is connected. It is sent when the user has accepted. Nothing goes
//! before it. In a poll nothing goes with it, unless the session ends with this poll.
//!
//! The codec of the path on which the session was opened defines the payloads
//! ([`wire::legacy06`](crate::wire::legacy06)): `~m~` of 0.5 and 0.6, the streaming wire, the
//! envelope of 0.3-0.4, or a codec of the user.
//!
//! The requests are in [`requests`].
//!
//! Invariant: without a transport, `deadline` is set, and an alarm is armed for it or for an
//! earlier time.

pub(crate) mod message;
pub(crate) mod requests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use crate::codec::Heartbeats;
use crate::server::{
    Alarm, Breach, BreachKind, Carriage, Deadline, Delivery, Ended, Heartbeat, Reason, Session, Standing, StreamForm,
    TimeoutReason, Unconfirmed, Wiring, Write, at,
};
use crate::socket::Args;
use crate::wire::Inbound;
use crate::wire::legacy06::{Garbled, PayloadReader};
use crate::{Config, Frame, Time};
use requests::answer;

/// A cursor at a session of this family.
type At<'a> = at::At<'a, Legacy06>;
/// The result of a rule that may end such a session.
type Fate<'a> = at::Fate<'a, Legacy06>;

/// The part of a session that only this generation has.
#[derive(Debug, Default)]
pub(crate) struct Legacy06 {
    /// The number of its codec.
    pub(crate) codec: u8,
    /// Whether an unreadable payload has been reported.
    reported: bool,
    /// Reads the POSTs, if the codec has streams.
    reader: Option<Box<PayloadReader>>,
    /// Whether the session id frame has been queued.
    announced: bool,
    /// The index of the script that answers the parked GET, if the answer is a script.
    pub(super) script: Option<u64>,
    /// Whether the session id frame is still in the outbox and has to go alone.
    pub(super) id_waits: bool,
    /// Number of the last heartbeat. It also identifies stale alarms.
    beat: u32,
    /// When a held poll is answered without messages, or an absent client is given up.
    deadline: Deadline,
    pub(crate) unconfirmed: Unconfirmed,
    /// How packets are written on the link, if it is a stream.
    pub(super) stream: Option<Box<StreamForm>>,
}

impl Legacy06 {
    /// Why an alarm of this session goes off at this time. The conditions are those of
    /// [`At::alarm_rang`].
    pub(super) fn timeout_reason(&self, session: &Session, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        let parked = session.parked.is_some();
        let flows = session.link().is_some() && !parked;
        match alarm {
            Alarm::Upgrade if session.is_opening(epoch) => TimeoutReason::WebSocketOpening,
            Alarm::Ping if self.beat == epoch && flows => TimeoutReason::Ping,
            Alarm::PingTimeout if self.beat == epoch && flows && session.heartbeat != Heartbeat::Answered => {
                TimeoutReason::Pong
            }
            Alarm::Absence if self.deadline.is_watched_after(at) || flows && self.announced => TimeoutReason::Nothing,
            Alarm::Absence if !self.announced => TimeoutReason::Decision,
            Alarm::Absence if parked => TimeoutReason::Poll,
            Alarm::Absence => TimeoutReason::Absence,
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Upgrade
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Attachments
            | Alarm::Stalled => TimeoutReason::Nothing,
        }
    }

    /// Bytes of the client's data that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.reader.as_ref().map_or(0, |reader| reader.buffered_bytes())
    }

    /// A session in the codec with this number. Its GET is answered with this script, if the answer
    /// has to be a script.
    pub(super) fn new(codec: u8, script: Option<u64>) -> Self {
        Self {
            codec,
            script,
            ..Self::default()
        }
    }
}

/// The part of this generation. With this function a rule borrows only this part of the session.
fn legacy06_of(wiring: &mut Wiring) -> &mut Legacy06 {
    wiring.legacy06_mut()
}

/// The most packets that may be queued. A client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link().is_some() {
        config.max_queued_packets
    } else {
        config.legacy06.max_pending_messages
    }
}

impl At<'_> {
    fn legacy06(&mut self) -> &mut Legacy06 {
        self.session.wiring.legacy06_mut()
    }

    /// Reads a piece of the stream that the session's POSTs form together.
    fn read_piece(&mut self, payload: &ByteString, from_form: bool, packets: &mut Vec<Inbound>) {
        let config = &self.core.config;
        let legacy06 = legacy06_of(&mut self.session.wiring);
        let codec = legacy06.codec;
        let reader = legacy06
            .reader
            .get_or_insert_with(|| Box::new(PayloadReader::new(codec, config)));
        reader.read(payload, from_form, config, packets);
    }
}

// ---- packets and time -----------------------------------------------------------------------------------------------

impl<'a> At<'a> {
    /// One packet on the session's transport.
    pub(crate) fn receive(mut self, packet: Inbound) -> Fate<'a> {
        match packet {
            Inbound::Message(json) => {
                if let Some((socket, Standing::Connected)) = self.socket_in("/") {
                    self.event(socket, ByteString::from_static("message"), Args::from(json), None);
                }
            }
            Inbound::Heartbeat(number) => {
                if self.session.heartbeat.is_answerable() && number.parse() == Ok(self.legacy06().beat) {
                    self.legacy06().unconfirmed.confirm_heartbeat();
                    self.next_heartbeat();
                }
            }
            Inbound::Digest(digest) => {
                if self.complete(digest) {
                    self.mark_ready();
                }
            }
            Inbound::Goodbye => return Err(self.close(Reason::ClientNamespaceDisconnect)),
            Inbound::Garbled(garbled) => {
                let breach = Breach::new(BreachKind::Payload, &garbled.error);
                if garbled.error.is_fatal() {
                    self.broke(breach);
                    self.report(*garbled);
                    return Err(self.close(Reason::ParseError));
                }
                self.tolerated(breach, 1);
                self.report(*garbled);
            }
            Inbound::Engine(_)
            | Inbound::Event(_)
            | Inbound::Partial(_)
            | Inbound::Socket(_)
            | Inbound::Part(_)
            | Inbound::Legacy09(_)
            | Inbound::Payload { .. } => {}
            Inbound::Broken(breach) => self.tolerated(breach, 1),
            Inbound::LeftOut(breach, times) => self.tolerated(breach, times),
        }
        Ok(self)
    }

    /// Tells the user once per session that a payload could not be read. It is the only sign of a
    /// client with the wrong codec.
    fn report(&mut self, garbled: Garbled) {
        if let Some((socket, _)) = self.socket_in("/")
            && !core::mem::replace(&mut self.legacy06().reported, true)
        {
            let legacy06 = legacy06_of(&mut self.session.wiring);
            self.out.deliveries.push(Delivery::Garbled {
                socket,
                codec: self.core.config.legacy06.codec_at(legacy06.codec).name(),
                garbled,
            });
        }
    }

    /// Schedules the next heartbeat of a websocket or stream after the interval, if the codec has
    /// heartbeats.
    fn next_heartbeat(&mut self) {
        let transport = self.session.transport.into();
        let legacy06 = legacy06_of(&mut self.session.wiring);
        let codec = self.core.config.legacy06.codec_at(legacy06.codec);
        if codec.heartbeats(transport) == Heartbeats::None {
            return;
        }
        let usual = self.core.config.legacy06.heartbeat_interval;
        let at = self.now + codec.heartbeat_interval(transport, usual);
        legacy06.beat = legacy06.beat.wrapping_add(1);
        self.core.timers.arm_at(at, Alarm::Ping, self.key, legacy06.beat);
        self.session.heartbeat = Heartbeat::Answered;
    }

    pub(crate) fn alarm_rang(mut self, alarm: Alarm, epoch: u32) {
        let session = &mut *self.session;
        let flows = session.link().is_some() && session.parked.is_none();
        let timeout = self.core.config.legacy06.heartbeat_timeout;
        let answer_due = session.heartbeat_deadline(self.now, timeout);
        let legacy06 = legacy06_of(&mut session.wiring);
        match alarm {
            Alarm::Upgrade => self.give_up_opening(epoch),
            Alarm::Ping if legacy06.beat == epoch && flows => self.beat(epoch),
            Alarm::PingTimeout if legacy06.beat == epoch && flows => match answer_due {
                None => {}
                Some(due) if due > self.now => self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, epoch),
                Some(_) if self.is_excused() => self.beat_again(),
                Some(_) => _ = self.close(Reason::PingTimeout),
            },
            // An alarm that was armed before the deadline moved. The alarm that counts is still to
            // come.
            Alarm::Absence if legacy06.deadline.is_watched_after(self.now) => {}
            Alarm::Absence => {
                legacy06.deadline.disarm();
                let (deadline, announced) = (legacy06.deadline.due(), legacy06.announced);
                if flows && announced {
                } else if deadline > self.now {
                    self.set_deadline(deadline);
                } else if announced && session.parked.is_some() {
                    self.flush_poll();
                } else {
                    self.close(Reason::PingTimeout);
                }
            }
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Stalled
            | Alarm::Attachments => {}
        }
    }

    /// Sends the next heartbeat now, as if the last one had been answered.
    fn beat_again(&mut self) {
        let legacy06 = legacy06_of(&mut self.session.wiring);
        legacy06.beat = legacy06.beat.wrapping_add(1);
        let number = legacy06.beat;
        self.beat(number);
    }

    /// A heartbeat of this number is due.
    fn beat(&mut self, number: u32) {
        let legacy06 = legacy06_of(&mut self.session.wiring);
        let codec = self.core.config.legacy06.codec_at(legacy06.codec);
        let echoed = codec.heartbeats(self.session.transport.into()) == Heartbeats::Echoed;
        if echoed {
            self.session.heartbeat = Heartbeat::Queued;
        }
        let frame = Frame::text(&mut self.core.buffer, |b| codec.encode_heartbeat(number, b));
        legacy06_of(&mut self.session.wiring).unconfirmed.note_heartbeat(&frame);
        self.session.outbox.rest();
        self.push_control(frame);
        if echoed {
            let due = self.now + self.core.config.legacy06.heartbeat_timeout;
            self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, number);
        } else {
            self.next_heartbeat();
        }
    }

    /// The handshake of a websocket has taken too long: the websocket is treated as lost.
    fn give_up_opening(self, epoch: u32) {
        if self.session.is_opening(epoch)
            && let Some(link) = self.session.link()
        {
            self.out.writes.push(Write::Abort(link));
            self.core.links.clear(link);
            self.link_closed();
        }
    }

    /// Sets the deadline.
    fn set_deadline(&mut self, at: Time) {
        let legacy06 = legacy06_of(&mut self.session.wiring);
        legacy06
            .deadline
            .set(at, Alarm::Absence, self.key, &mut self.core.timers);
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

impl<'a> At<'a> {
    /// The user has accepted: the client gets its session id.
    pub(crate) fn accepted(&mut self) {
        self.begin_stream();
        let (sid, polling) = (self.session.id.base32(), self.session.transport.is_polling());
        let legacy06 = legacy06_of(&mut self.session.wiring);
        legacy06.announced = true;
        legacy06.id_waits = polling;
        // A poll takes the id alone, and its answer is not among what a websocket writes.
        if !polling {
            legacy06.unconfirmed.note_control();
        }
        let codec = self.core.config.legacy06.codec_at(legacy06.codec);
        let sid = core::str::from_utf8(&sid).unwrap_or_default();
        let frame = Frame::text(&mut self.core.buffer, |b| codec.encode_session_id(sid, b));
        self.push_control(frame);
        if !polling {
            self.next_heartbeat();
        }
    }

    /// The user has refused: there is no session.
    pub(crate) fn refused(self) -> Ended<'a> {
        if let Some(asker) = self.session.parked.take() {
            self.session.set_link(None);
            self.core.links.clear(asker.link);
            let answer = asker.answer(401, Some("text/plain"), "unauthorized");
            self.out.writes.push(answer);
        }
        self.close(Reason::ForcedServerClose)
    }

    /// A link of the session is gone. The session waits for the client to come back, unless it was
    /// never connected.
    pub(crate) fn link_closed(mut self) {
        self.count_lost_link();
        let session = &mut *self.session;
        session.set_link(None);
        session.parked = None;
        session.unblock(&mut self.core.backlog);
        session.heartbeat = Heartbeat::Answered;
        if self.legacy06().announced {
            self.set_deadline(self.now + self.core.config.legacy06.reconnect_timeout);
        } else {
            self.end(Reason::TransportClose);
        }
    }

    /// Ends the session. Queued packets leave if there is a way, followed by the goodbye if the
    /// codec has one.
    pub(crate) fn close(mut self, reason: Reason) -> Ended<'a> {
        let Self { core, session, out, .. } = &mut self;
        let legacy06 = legacy06_of(&mut session.wiring);
        let (codec, script) = (core.config.legacy06.codec_at(legacy06.codec), legacy06.script);
        if session.link().is_some() {
            let goodbye = Frame::text(&mut core.buffer, |b| codec.encode_goodbye(b));
            if !goodbye.payload().is_empty() {
                session.outbox.push(goodbye);
            }
            match (session.parked.take(), session.carriage) {
                // The stream has not begun.
                (Some(asker), Carriage::Stream) => out.writes.push(asker.answer(503, None, Bytes::new())),
                (Some(asker), Carriage::Poll | Carriage::Frames) => {
                    answer(*asker, codec, script, session.outbox.drain().collect(), out);
                }
                (None, _) => session.end_link(out),
            }
        }
        self.end(reason)
    }
}
