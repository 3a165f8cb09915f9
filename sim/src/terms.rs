//! How long each session may be what it is (promises 6 and 8): silent, absent, without a namespace,
//! closing, about to move, or without attachments that were announced. All sessions of all shards
//! are looked at, also those that no socket belongs to: a session that has never joined, was
//! refused, has left all namespaces, or is closing.

use std::collections::BTreeMap;
use std::time::Duration;

use sio_proto::Time;
use sio_proto::server::{Generation, Reason, SessionHolding};

use crate::host::Socket;
use crate::life::Session;
use crate::violation::Promise;
use crate::world::World;

/// What a session says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    generation: Generation,
    polls: bool,
    is_closing: bool,
    has_post: bool,
    /// The websocket that it may move to, and whether its probe has been answered.
    candidate: Option<(u32, bool)>,
    /// How many attachments have come of the packet that waits for more.
    awaits: Option<usize>,
}

impl Seen {
    pub(crate) const fn new(holding: &SessionHolding) -> Self {
        Self {
            generation: holding.generation,
            polls: holding.polls,
            is_closing: holding.is_closing,
            has_post: holding.has_post,
            candidate: holding.candidate,
            awaits: holding.awaits,
        }
    }

    const fn is_engine(self) -> bool {
        matches!(self.generation, Generation::Engine3 | Generation::Engine4)
    }
}

/// What is known of a session.
#[derive(Clone, Copy, Debug)]
struct Term {
    begun: Time,
    /// Since when it is closing.
    closing: Option<Time>,
    /// Whether a socket of it was ever let in.
    has_joined: bool,
    /// Whether its client has done more than open it.
    came_back: bool,
    /// The websocket that it may move to, whether its probe has been answered, and since when it is
    /// there or its probe has been.
    candidate: Option<((u32, bool), Time)>,
    /// When a POST last began, went on or ended.
    posted: Time,
    /// Whether one was under way after the last step.
    has_post: bool,
    /// When one was last seen under way.
    posting: Option<Time>,
    /// How many attachments have come of the packet that waits for more, and since when it waits.
    awaits: Option<(usize, Time)>,
}

impl Term {
    const fn new(now: Time) -> Self {
        Self {
            begun: now,
            closing: None,
            has_joined: false,
            came_back: false,
            candidate: None,
            posted: now,
            has_post: false,
            posting: None,
            awaits: None,
        }
    }

    /// Compares what a session says now with what it said before.
    fn look(&mut self, now: Time, seen: Seen) {
        self.came_back |= !seen.polls;
        if seen.is_closing {
            self.closing.get_or_insert(now);
        }
        let known = self.candidate.filter(|(number, _)| Some(*number) == seen.candidate);
        self.candidate = known.or_else(|| Some((seen.candidate?, now)));
        if seen.has_post {
            self.posting = Some(now);
        } else if self.has_post {
            self.posted = now;
        }
        self.has_post = seen.has_post;
        // Fewer attachments than before are those of another packet.
        let known = self.awaits.filter(|(count, _)| Some(*count) <= seen.awaits);
        let since = known.map_or(now, |(_, since)| since);
        self.awaits = seen.awaits.map(|count| (count, since));
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// What the sessions said after the last step.
    pub(crate) seen: Vec<(Session, Seen)>,
    terms: BTreeMap<Session, Term>,
}

impl World {
    /// A request names a session: its client has come back.
    pub(crate) fn note_back(&mut self, session: Session) {
        if let Some(term) = self.terms.terms.get_mut(&session) {
            term.came_back = true;
        }
    }

    /// A socket is let in.
    pub(crate) fn note_joined(&mut self, socket: Socket) {
        let now = self.now;
        let session = self
            .server
            .shard(now, socket.shard, |shard, _| shard.session_of(socket.key));
        if let Some(key) = session {
            let term = self.terms.terms.entry((socket.shard, key));
            term.or_insert_with(|| Term::new(now)).has_joined = true;
        }
    }

    /// A POST of a session begins, or goes on.
    pub(crate) fn note_post(&mut self, session: Session) {
        if let Some(term) = self.terms.terms.get_mut(&session) {
            term.posted = self.now;
        }
    }

    /// Events have come on a connection: no attachment of an earlier packet is awaited.
    pub(crate) fn note_complete(&mut self, number: u64) {
        let now = self.now;
        let Some(wire) = self.wires.get(&number) else { return };
        let (link, named) = (wire.at_server, wire.line.session());
        let held = link.and_then(|link| self.server.session_on(now, link));
        for session in [held, named].into_iter().flatten() {
            if let Some(term) = self.terms.terms.get_mut(&session) {
                term.awaits = None;
            }
        }
    }

    /// Promises 6 and 8: no session is longer silent, absent, without a namespace, closing, about
    /// to move, or without its attachments than it may be.
    pub(crate) fn check_terms(&mut self) {
        let now = self.now;
        let (mut signs, mut polls, mut terms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let seen = std::mem::take(&mut self.terms.seen);
        for (session, seen) in &seen {
            let heard = |times: &BTreeMap<Session, Time>| times.get(session).copied().unwrap_or(now);
            signs.insert(*session, heard(&self.lives.signs));
            polls.insert(*session, heard(&self.lives.polls));
            let term = self.terms.terms.get(session).copied();
            let mut term = term.unwrap_or_else(|| Term::new(now));
            term.look(now, *seen);
            terms.insert(*session, term);
        }
        (self.lives.signs, self.lives.polls, self.terms.terms) = (signs, polls, terms);
        // What is due now is done next.
        if self.server.next_timeout().is_some_and(|due| due <= now) {
            return;
        }
        for (session, seen) in seen {
            let late = self.overdue(session, seen);
            if let Some((promise, what, time, most)) = late {
                let owner = match self.owner_of(session) {
                    Some(client) => format!("client {client}"),
                    None => format!("a session without a socket of {:?}", seen.generation),
                };
                let words = format_args!("the server keeps {owner}, which {what} {time:?}, at most {most:?}");
                return self.fail(promise, words);
            }
        }
    }

    /// What of a session has lasted too long.
    fn overdue(&self, session: Session, seen: Seen) -> Option<(Promise, &'static str, Duration, Duration)> {
        let (config, now) = (&self.plan.server, self.now);
        let since = |time: Time| now.saturating_since(time);
        let term = self.terms.terms.get(&session)?;
        let patience = self.longest_silence(seen.generation, seen.polls);
        let silence = since(*self.lives.signs.get(&session)?);
        // A client that fetches what is left of a session that closes is alive. That time is below.
        if silence > patience && term.closing.is_none() {
            return Some((Promise::Heartbeat, "is silent for", silence, patience));
        }
        // A client that answers blindly, and takes nothing. Its last poll may have got the ping
        // that it has answered last.
        let (absence, most) = (since(*self.lives.polls.get(&session)?), patience * 2);
        if seen.polls && seen.is_engine() && absence > most {
            return Some((Promise::Heartbeat, "has not polled for", absence, most));
        }
        if let Some(closing) = term.closing {
            let old = &config.legacy09;
            let most = match seen.generation {
                // It waits for its next poll as long as it would if it were not closing.
                Generation::Legacy09 => old.close_timeout.max(old.open_timeout),
                _ => config.close_timeout,
            };
            let time = since(closing);
            return (time > most).then_some((Promise::Leftover, "is closing for", time, most));
        }
        let (age, most) = (since(term.begun), config.connect_timeout);
        if seen.is_engine() && !term.has_joined && age > most {
            return Some((Promise::Leftover, "has joined nothing for", age, most));
        }
        if let Some((_, begun)) = term.awaits {
            let (time, most) = (since(begun), config.attachment_timeout);
            if time > most {
                return Some((Promise::Leftover, "waits for attachments for", time, most));
            }
        }
        self.overdue_upgrade(term)
    }

    /// Whether a session has been about to move for too long. The time begins again when the probe
    /// is answered. The client may wait for the answer to a POST before it moves, so the time
    /// begins again with that, but it is no more than half as long again unless a POST is under way
    /// at its end.
    fn overdue_upgrade(&self, term: &Term) -> Option<(Promise, &'static str, Duration, Duration)> {
        let ((_, begun), most) = (term.candidate?, self.plan.server.upgrade_timeout);
        let last = term.posting.map_or(begun, |posting| posting.max(begun));
        let time = self.now.saturating_since(last.max(term.posted));
        if time > most {
            return Some((
                Promise::Leftover,
                "is about to move since its last POST for",
                time,
                most,
            ));
        }
        let (time, most) = (self.now.saturating_since(last), most * 3 / 2);
        (time > most).then_some((Promise::Leftover, "is about to move for", time, most))
    }

    /// The client whose socket belongs to a session.
    fn owner_of(&mut self, session: Session) -> Option<usize> {
        let now = self.now;
        let Self { members, server, .. } = self;
        let here = members.iter().filter(|(socket, _)| socket.shard == session.0);
        let mut here = here.filter(|(socket, _)| {
            let of = server.shard(now, session.0, |shard, _| shard.session_of(socket.key));
            of == Some(session.1)
        });
        here.next().map(|(_, member)| member.client)
    }

    /// Promise 12: who has joined, and has come back, is not ended to make room for another.
    pub(crate) fn check_evicted(&mut self, socket: Socket, reason: Reason, is_breach: bool) {
        let Some(member) = self.members.get(&socket) else {
            return;
        };
        let term = self
            .names
            .session_of(socket)
            .and_then(|session| self.terms.terms.get(&session));
        let (client, is_here) = (
            member.client,
            term.is_some_and(|term| term.has_joined && term.came_back),
        );
        let is_made_room = self.door.was_full() && self.giving.is_some_and(|giving| giving != client);
        if reason == Reason::ForcedServerClose && !is_breach && is_made_room && is_here && member.is_accepted {
            let words = format_args!("client {client} has joined, and is ended to make room for another");
            self.fail(Promise::Admission, words);
        }
    }

    /// Promise 12: nobody is turned away while there is a session that has joined nothing. Each
    /// shard only looks among its own sessions.
    pub(crate) fn check_turned_away(&mut self) {
        if !self.door.is_turned_away() || self.plan.shards > 1 {
            return;
        }
        let (mut idle, terms) = (0, &self.terms.terms);
        self.server.holding_of_sessions(|session, holding| {
            let has_joined = terms.get(&session).is_some_and(|term| term.has_joined);
            idle += usize::from(holding.is_closing || !has_joined);
        });
        if idle > 0 {
            let words = format_args!("a client finds no room, and {idle} sessions have joined nothing");
            self.fail(Promise::Admission, words);
        }
    }
}
