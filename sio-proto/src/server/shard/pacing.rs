//! How fast clients may send: what they send is measured here, and the caller asks here how much
//! it may hand over. The caller keeps what has to wait, and reads nothing more meanwhile.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::recording::noted;
use super::{
    At, Breach, BreachKind, Core, LinkId, Outputs, Reason, Request, Role, SessionKey, Shard, SocketKey, Standing, Time,
};
use crate::RateLimit;
use crate::server::engine::Engine;
use crate::server::{Handshake, Measured, Meter, Pace, Posted};

/// The pace of clients.
impl Shard {
    /// Whether any client has a limit ([`Config::session_rate`](crate::Config::session_rate),
    /// [`Config::socket_rate`](crate::Config::socket_rate),
    /// [`Welcome::rate`](crate::server::Welcome::rate)). If none has, [`Shard::pace`] need not be
    /// asked.
    #[must_use]
    pub const fn measures(&self) -> bool {
        self.core.measures
    }

    /// The session whose websocket this link is, if it is one.
    #[must_use]
    pub fn session_on(&self, link: LinkId) -> Option<SessionKey> {
        self.core.links.get(link).map(|(session, _)| session)
    }

    /// Whether this link is a websocket to which its session may move, and which has not sent `5`.
    /// Do not pause it. What its client has sent on another transport must not keep it from moving
    /// in time, and all that such a link brings is packets of the upgrade, which count nowhere.
    /// Anything else ends it.
    #[must_use]
    pub fn is_candidate(&self, link: LinkId) -> bool {
        let found = self.core.links.get(link).filter(|(_, role)| *role == Role::Candidate);
        let session = found.and_then(|(key, _)| self.sessions.named(key));
        session.is_some_and(|session| session.wiring.engine().is_some_and(Engine::is_undecided))
    }

    /// The session that this request names, if there is such a session. Whether the request may use
    /// the session is not checked.
    #[must_use]
    pub fn session_named_by(&self, request: &Request) -> Option<SessionKey> {
        request.session_part()?;
        self.requested_session(request).map(|(key, _)| key)
    }

    /// The part of its request that a session keeps, if there is such a session.
    #[must_use]
    pub fn handshake(&self, session: SessionKey) -> Option<&Arc<Handshake>> {
        self.sessions.named(session).map(|session| &session.handshake)
    }

    /// How much the client of a session may send now. Hand over no more packets than this, and then
    /// ask again. The rest waits with the caller, which reads nothing more from the client.
    pub fn pace(&mut self, now: Time, session: SessionKey) -> Pace {
        let Self { core, sessions, .. } = self;
        let Some(session) = sessions.named_mut(session).filter(|_| core.measures) else {
            return Pace::FREE;
        };
        let mut pace = session.meter.as_mut().map_or(Pace::FREE, |meter| meter.pace(now));
        let mut is_joining = session.sockets.is_empty() && !session.is_raw();
        for slot in session.sockets.iter() {
            step!();
            let Some(socket) = core.membership.get_mut(*slot) else {
                continue;
            };
            is_joining |= socket.standing() == Standing::Asked;
            if let Some(meter) = socket.meter_mut() {
                pace = pace.and(meter.pace(now));
            }
        }
        // The limit of a socket that has not been let in is not known yet.
        let known = if is_joining { 1 } else { usize::MAX };
        pace.packets = pace.packets.min(known);
        pace
    }

    /// How much may come now on a websocket, and its session. Hand over no more packets than this,
    /// and then ask again: behind packet `5` of an upgrade, a client pays as on any other
    /// websocket.
    pub fn pace_on(&mut self, now: Time, link: LinkId) -> Option<(SessionKey, Pace)> {
        let session = self.session_on(link)?;
        let mut pace = self.pace(now, session);
        if pace != Pace::FREE && self.is_candidate(link) {
            pace = Pace {
                packets: 1,
                until: None,
            };
        }
        Some((session, pace))
    }

    /// Handles at most `max` packets of a POST. Returns true if more are left: then call this
    /// again, with the same link and request. With the last packets, or if the request is refused,
    /// it is answered, and this returns false. `posted` has what
    /// [`Request::take_packets`] has returned.
    ///
    /// As long as packets are left, the POST counts as one whose body is still coming: its session
    /// ends with its link, and a second POST beside it breaks the protocol. If the POST has to wait
    /// before its first part, call [`Shard::handle_waiting_post`].
    pub fn handle_part(
        &mut self,
        now: Time,
        link: LinkId,
        request: &Request,
        posted: &mut Posted,
        max: usize,
        out: &mut Outputs,
    ) -> bool {
        noted!(
            self,
            Some(now),
            Some(&*out),
            Some(posted.begin_part(max)),
            |line, _| {
                line.part(link, request, max);
                false
            },
            {
                posted.begin_part(max);
                self.input(now, out).handle_posted(link, request, posted);
                posted.goes_on()
            }
        )
    }

    /// Notes that a POST waits before its first part ([`Posted::begins`]). It counts as one whose
    /// body is still coming, so that nothing which its client sends later overtakes it. Returns
    /// false if the POST is refused. Then it is answered, and nothing more is handed over.
    ///
    /// In the generations before 1.0, a POST is not noted: as on genuine servers, several of them
    /// may be under way, a client may come back by another transport meanwhile, and no connection
    /// of a POST ends its session. What the client sends on another connection before the POST is
    /// answered may overtake it. Clients of these generations send the next POST when the one
    /// before has been answered.
    #[must_use]
    pub fn handle_waiting_post(&mut self, now: Time, link: LinkId, request: &Request, out: &mut Outputs) -> bool {
        self.handle_body_started(now, link, request, out);
        self.session_named_by(request).is_some()
    }

    /// Notes that nothing is read from the client of a session for now, because it may not send
    /// more, or because its handlers lag. It is not expected to answer the heartbeat that is under
    /// way. Call this when a pause begins, and again at least after each half of the shortest time
    /// for an answer ([`Config::longest_pause`](crate::Config::longest_pause)).
    pub fn excuse(&mut self, now: Time, session: SessionKey, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.excuse(session);
                false
            },
            {
                let mut input = self.input(now, out);
                input.at(session, |at: At<'_>| {
                    at.session.marks.excuse();
                    at.comfort();
                });
                input.depart();
            }
        )
    }
}

impl Core {
    /// Full buckets for a limit, if it is one.
    pub(super) fn meter(&mut self, limit: RateLimit, now: Time) -> Option<Box<Meter>> {
        if limit.is_none() {
            return None;
        }
        self.measures = true;
        Some(Box::new(Meter::new(limit, now)))
    }
}

impl<G> At<'_, G> {
    /// Measures something that the client has sent for the user. False if the user does not get it:
    /// the session ends at the end of the input.
    #[inline]
    pub(crate) fn measure(&mut self, socket: Option<SocketKey>, size: impl FnOnce() -> usize) -> bool {
        !self.core.measures || self.measure_by(socket, size())
    }

    fn measure_by(&mut self, socket: Option<SocketKey>, size: usize) -> bool {
        let Self {
            core,
            session,
            key,
            now,
            ..
        } = self;
        step!(each core.hasty.len());
        if core.hasty.iter().any(|(hasty, _)| hasty == key) {
            return false;
        }
        let own = socket.and_then(|socket| core.membership.get_mut(socket.slot)?.meter_mut());
        let whole = session.meter.as_deref_mut();
        let meters = whole.into_iter().chain(own);
        for meter in meters {
            let measured = meter.measure(*now, size);
            if measured != Measured::Fits {
                core.hasty.push((*key, measured));
                return false;
            }
        }
        true
    }

    /// Whether the client need not have answered its heartbeat, because nothing was read from it.
    /// This is asked when the time for the answer is over. The next one has to be answered, unless
    /// reading still pauses.
    pub(crate) const fn is_excused(&mut self) -> bool {
        self.session.marks.take_excuse()
    }
}

impl At<'_> {
    /// Ends the session of a client that was too fast.
    #[cold]
    pub(super) fn end_hasty(mut self, measured: Measured) {
        self.broke(Breach::new(
            BreachKind::Rate,
            match measured {
                Measured::TooLarge => "an event has more bytes than the client may send at once",
                Measured::TooFast | Measured::Fits => "the client sends faster than it may",
            },
        ));
        self.close(Reason::ForcedServerClose);
    }
}
