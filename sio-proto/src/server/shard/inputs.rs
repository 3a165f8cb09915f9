//! The steps of an input: it finds its sessions, and the rules work on them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    Admission, Alarm, At, Carriage, Cause, Command, Core, Due, Input, LinkId, Part, Posted, Reason, Request, Role,
    SessionKey, Write,
};
use crate::Frame;
use crate::keep::Source;
use crate::wire::Inbound;

/// The empty list of ready sessions keeps memory for so many.
const MOST_READY: usize = 1024;

impl Core {
    /// Gives back memory of the empty list of ready sessions, if it is much.
    #[inline]
    fn trim_ready(&mut self) {
        let room = self.ready.capacity();
        if room > MOST_READY {
            self.ready.shrink_to(room / 2);
        }
    }
}

impl Input<'_> {
    /// A complete request has come.
    pub(super) fn handle_request(&mut self, link: LinkId, request: &mut Request) {
        let mut posted = Posted::new(core::mem::take(&mut request.packets));
        self.handle_posted(link, request, &mut posted);
    }

    /// A complete request, and the packets of this part of its body.
    pub(super) fn handle_posted(&mut self, link: LinkId, request: &Request, posted: &mut Posted) {
        self.out.released.extend(request.extension.clone());
        let (written, told) = (self.out.writes.len(), self.out.deliveries.len());
        let refused = request.stranger().is_none() && matches!(request.admission, Admission::Refused(_));
        if let Some((key, Role::Answered)) = self.shard.core.links.get(link) {
            self.at(key, |mut at: At<'_>| at.answer_was_read(link));
        }
        let core = &mut self.shard.core;
        core.links.clear(link);
        core.counters.packets_in += posted.count_part() as u64;
        self.dispatch_request(link, request, posted);
        posted.end_part();
        self.shard.core.count_refusals(refused, &self.out.writes[written..]);
        self.tell_refusal(request, link, (written, told));
        self.depart();
    }

    /// Packets have come on a websocket.
    pub(super) fn handle_packets(&mut self, link: LinkId, packets: &mut Vec<Inbound>) {
        self.shard.core.counters.packets_in += packets.len() as u64;
        let mut may_wait = false;
        for packet in packets.iter_mut() {
            step!();
            may_wait |= packet.may_wait();
            // The link is looked up for each packet: a packet may end the session or move it to
            // another link.
            self.at_link(link, |at, role| at.packet_came(role, packet));
        }
        packets.clear();
        if may_wait {
            self.at_link(link, |at, _| at.session.reassembly.keep(Source::Read));
        }
        self.depart();
    }

    /// A link is gone.
    pub(super) fn handle_closed(&mut self, link: LinkId, cause: Cause) {
        let Some((key, role)) = self.shard.core.links.get(link) else {
            if let Cause::Broken(breach) = cause {
                self.broke_unheard(breach);
            }
            return;
        };
        self.shard.core.links.clear(link);
        self.at(key, |at: At<'_>| at.link_closed(role, link, cause));
        self.shard.forget_stale_deadlines();
    }

    /// Everything that is due happens.
    pub(super) fn handle_timeout(&mut self) {
        while let Some(due) = self.shard.core.timers.pop(self.now) {
            step!();
            match due {
                Due::Session(key, Alarm::Stalled, _) => _ = self.at(key, |at: At<'_>| at.look_after_blocked()),
                Due::Session(key, alarm, epoch) => _ = self.at(key, |at: At<'_>| at.alarm_rang(alarm, epoch)),
                Due::Leave(key, false) => _ = self.at(key, |at: At<'_>| at.leave()),
                Due::Leave(key, true) => _ = self.at(key, |at: At<'_>| at.close(Reason::ServerShuttingDown)),
                Due::Ack(socket, id) => self.at_session_of(socket, |mut at| at.give_up_ack(socket, id)),
            }
        }
        self.depart();
    }

    /// Takes the only packets of the first ready links, as long as each is a frame
    /// ([`Shard::take_frames`]).
    #[inline]
    pub(super) fn take_frames(&mut self, max: usize, mut each: impl FnMut(LinkId, Frame)) -> usize {
        let core = &mut self.shard.core;
        let mut taken = 0;
        while taken < max
            && let Some(slot) = core.ready.front()
        {
            let Some(session) = self.shard.sessions.get_mut(*slot) else {
                break;
            };
            let is_usual = session.outbox.has_one()
                && !session.awaits_room
                && matches!(session.carriage, Carriage::Frames)
                && !session.blocked.is_blocked();
            let Some(link) = session.link().filter(|_| is_usual) else {
                break;
            };
            step!();
            core.ready.pop_front();
            session.ready = false;
            core.counters.note_one(session.outbox.bytes());
            session.note_written();
            let Some(frame) = session.outbox.take_one() else {
                break;
            };
            session.outbox.trim();
            session.note_taken(self.now, &mut core.backlog);
            each(link, frame);
            taken += 1;
        }
        if core.ready.is_empty() {
            core.trim_ready();
        }
        taken
    }

    /// Takes the packets of the first ready link, if there are two, and each is a frame
    /// ([`Shard::take_pair`]).
    #[inline]
    pub(super) fn take_pair(&mut self) -> Option<(LinkId, [Frame; 2])> {
        let core = &mut self.shard.core;
        let session = self.shard.sessions.get_mut(*core.ready.front()?)?;
        let is_usual =
            !session.awaits_room && matches!(session.carriage, Carriage::Frames) && !session.blocked.is_blocked();
        let link = session.link().filter(|_| is_usual && session.outbox.has_two())?;
        step!();
        core.ready.pop_front();
        session.ready = false;
        core.counters.note_queue(session);
        session.note_written();
        let pair = session.outbox.take_two()?;
        session.outbox.trim();
        session.note_taken(self.now, &mut core.backlog);
        if core.ready.is_empty() {
            core.trim_ready();
        }
        Some((link, pair))
    }

    /// Moves the packets of at most `max` links to the outputs. True if there is more.
    pub(super) fn flush_ready(&mut self, max: usize) -> bool {
        let (now, out) = (self.now, &mut *self.out);
        for _ in 0..max {
            step!();
            let core = &mut self.shard.core;
            let Some(slot) = core.ready.pop_front() else {
                core.trim_ready();
                return false;
            };
            let Some(session) = self.shard.sessions.get_mut(slot) else {
                continue;
            };
            session.ready = false;
            // The entry may belong to an earlier session of this slot. A poll must not get an empty
            // answer because of it.
            if session.outbox.is_empty() {
                continue;
            }
            core.counters.note_queue(session);
            let Some(link) = session.link().filter(|_| session.flows()) else {
                continue;
            };
            if session.carriage != Carriage::Poll {
                session.note_written();
            }
            match session.carriage {
                Carriage::Frames => {
                    session
                        .outbox
                        .drain_to(|frame| out.writes.push(Write::Frame(link, frame)));
                    session.outbox.trim();
                }
                Carriage::Stream => {
                    let Some(form) = session.stream().cloned() else {
                        debug_assert!(false, "a stream has a form");
                        continue;
                    };
                    let frames = session.outbox.drain().collect();
                    session.outbox.trim();
                    out.writes.push(Write::Part(link, Box::new(Part { frames, form })));
                }
                Carriage::Poll => {
                    let key = self.shard.sessions.key(slot);
                    self.shard.input(now, out).at(key, |at: At<'_>| {
                        let at = at.flush_poll();
                        at.session.note_taken(at.now, &mut at.core.backlog);
                        at.core.note_room(key, at.session);
                    });
                    continue;
                }
            }
            session.note_taken(now, &mut core.backlog);
            if session.awaits_room {
                let key = self.shard.sessions.key(slot);
                // The slot is taken: its session has just been served.
                if let Some(session) = self.shard.sessions.get_mut(slot) {
                    self.shard.core.note_room(key, session);
                }
            }
        }
        !self.shard.core.ready.is_empty()
    }

    /// Applies a command to the members of this shard.
    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Broadcast { target, mut message } => self.broadcast(&target, &mut message),
            Command::Join { target, rooms } => {
                for socket in self.shard.members(&target) {
                    step!();
                    for room in &rooms {
                        // Nobody is told: the socket has too many rooms, or the name is an id.
                        let _ = self.shard.join_room(socket, room);
                    }
                }
            }
            Command::Leave { target, rooms } => {
                for socket in self.shard.members(&target) {
                    step!();
                    for room in &rooms {
                        self.shard.leave(socket, room);
                    }
                }
            }
            Command::Disconnect { target, close } => {
                for socket in self.shard.members(&target) {
                    step!();
                    self.disconnect(socket, close, Reason::ServerNamespaceDisconnect);
                }
            }
            Command::Drain {
                spread,
                patience,
                handover,
                pause,
            } => {
                self.shard.core.hands_over = handover;
                self.shard.core.pause = pause;
                self.drain(spread, patience);
            }
            Command::Shutdown { reason } => self.shut_down(reason),
        }
        self.depart();
    }

    /// Closes a raw session of Engine.IO, if it is still there.
    pub(super) fn close_engine(&mut self, session: SessionKey) {
        self.at(session, |at: At<'_>| at.close(Reason::ForcedServerClose));
        self.shard.forget_stale_deadlines();
    }
}
