//! Clients that have sent more than they may: what they have sent waits here, and is handed over
//! when it may come.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{Request, Server, Slowed};
use crate::server::{Pace, Posted};
use crate::wire::Inbound;
use crate::{LinkId, SessionKey, Time};

impl Server {
    /// How many packets of a websocket are decoded at once, if its client has a limit.
    pub(super) fn pace(&mut self, now: Time, link: LinkId) -> Option<NonZeroUsize> {
        // A POST whose body is coming has a session, too. It is paced when it is complete.
        if !self.shard.measures() || !self.connection(link)?.conn.is_websocket() {
            return None;
        }
        let (_, pace) = self.shard.pace_on(now, link)?;
        NonZeroUsize::new(pace.packets.max(1)).filter(|packets| packets.get() < usize::MAX)
    }

    /// Hands over packets of a websocket, as far as they may come.
    pub(super) fn hand_over(&mut self, now: Time, link: LinkId, mut packets: VecDeque<Inbound>, is_kept: bool) {
        loop {
            step!();
            let paced = self.shard.pace_on(now, link);
            let pace = paced.map_or(Pace::FREE, |(_, pace)| pace);
            if let (Some((session, _)), Some(until)) = (paced, pace.until) {
                if !is_kept {
                    step!(each packets.len());
                    packets = packets.into_iter().map(Inbound::kept).collect();
                }
                return self.slow_down(now, link, session, until, packets, None);
            }
            if packets.is_empty() {
                return;
            }
            let mut part = packets.drain(..pace.packets.min(packets.len())).collect();
            self.shard.handle_packets(now, link, &mut part, &mut self.outputs);
        }
    }

    /// Hands over the packets of a POST, as far as they may come.
    pub(super) fn hand_over_post(&mut self, now: Time, link: LinkId, mut request: Request, mut posted: Posted) {
        loop {
            step!();
            let session = self.shard.session_named_by(&request);
            let pace = session.map_or(Pace::FREE, |session| self.shard.pace(now, session));
            if let (Some(session), Some(until)) = (session, pace.until) {
                let Self { shard, outputs, .. } = self;
                if posted.begins() && !shard.handle_waiting_post(now, link, &request, outputs) {
                    return;
                }
                request.http = request.http.compact();
                let post = Some((request, posted.kept()));
                return self.slow_down(now, link, session, until, VecDeque::new(), post);
            }
            let Self { shard, outputs, .. } = self;
            if !shard.handle_part(now, link, &request, &mut posted, pace.packets, outputs) {
                return;
            }
        }
    }

    /// Lets the rest wait, and reads nothing more meanwhile.
    fn slow_down(
        &mut self,
        now: Time,
        link: LinkId,
        session: SessionKey,
        until: Time,
        packets: VecDeque<Inbound>,
        post: Option<(Request, Posted)>,
    ) {
        self.shard.excuse(now, session, &mut self.outputs);
        // The client is excused again before its heartbeat is due.
        let until = until.min(now + self.config.longest_pause());
        if let Some(connection) = self.connection(link) {
            connection.slowed = Some(Box::new(Slowed { until, packets, post }));
            self.slow.insert((until, link));
        }
    }

    /// Goes on with what has waited, where its time has come.
    pub(super) fn go_on_slowly(&mut self, now: Time) {
        let is_due = |(until, _): &&(Time, LinkId)| *until <= now;
        // What has to wait again waits for a later time, or for the next call.
        let due: Vec<_> = self.slow.iter().take_while(is_due).copied().collect();
        for slow @ (_, link) in due {
            step!();
            // Its connection may have gone meanwhile.
            if self.slow.remove(&slow) {
                self.go_on_with(now, link);
            }
        }
    }

    fn go_on_with(&mut self, now: Time, link: LinkId) {
        let Some(slowed) = self.connection(link).and_then(|connection| connection.slowed.take()) else {
            return;
        };
        let Slowed { packets, post, .. } = *slowed;
        match post {
            Some((request, posted)) => self.hand_over_post(now, link, request, posted),
            None => self.hand_over(now, link, packets, true),
        }
        self.resumed.push_back(link);
    }
}
