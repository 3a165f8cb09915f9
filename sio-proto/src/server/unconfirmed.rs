//! Packets that were written, and whose arrival nothing has confirmed yet.
//!
//! The wires of 0.3 to 0.9 acknowledge nothing. What a server can know is this:
//!
//! ```text
//!   websocket, stream   the answer to a heartbeat     everything before the heartbeat has arrived
//!   poll                the next GET of the client    the answer has arrived,
//!                       - with the timestamp of the   unless the browser repeats a GET whose
//!                         GET that was answered       connection has failed
//! ```
//! Packets that may have arrived are not sent again, because no client could tell a repetition from
//! a new message. When nothing can confirm them any more, they are counted
//! ([`Counters::unconfirmed`](super::Counters::unconfirmed)). Packets that have not been written
//! completely come back to their session
//! ([`Shard::handle_returned`](super::Shard::handle_returned)), and are sent on its next
//! connection. So is the answer to a GET that the browser repeats.
//!
//! A websocket or stream of 0.7 to 0.9 is bound to its session, and its end tells the client that
//! the session is over. Its messages are counted only if the client has given it up for another
//! transport.
//!
//! The answer to the last poll is kept for this purpose, within the limits of the queue that it was
//! taken from. Its bytes are charged to the budget of all sessions. The frames are shared, so no
//! message is copied.

use alloc::vec::Vec;

use super::outbox::PACKET_BYTES;
use super::{Heartbeat, Session};
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::{Frame, LinkId};

/// What a session has written since the last confirmation.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    /// Messages on the present websocket or stream.
    written: u32,
    /// The messages among them that were written behind the last heartbeat.
    behind_heartbeat: u32,
    /// Packets in the queue that are no messages: the session id, heartbeats, receipts.
    control: u32,
    /// The packets among them that were queued behind the heartbeat in the queue.
    control_behind: u32,
    /// The last heartbeat.
    heartbeat: Option<Frame>,
    /// The link whose packets have to come back before the session writes on another link.
    replaced: Option<LinkId>,
    /// The answer to the last poll.
    answer: Option<Answer>,
    /// An earlier answer, whose connection is still there: the link, and the number of packets.
    /// It has arrived if the client uses the connection again.
    doubted: Option<(LinkId, u64)>,
    /// The timestamp in the last poll, if it has one.
    stamp: Option<u64>,
    /// Whether the client has polled with different timestamps.
    varies: bool,
}

/// The answer to a poll. The next poll says whether it has arrived.
#[derive(Debug)]
struct Answer {
    link: LinkId,
    frames: Vec<Frame>,
    /// Whether the connection can carry another request.
    keeps_alive: bool,
    /// Whether the connection has ended without another request.
    has_ended: bool,
    /// Whether a part of the answer has not been written.
    is_blocked: bool,
}

/// What a poll says about the answer to the poll before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has arrived, as far as is known, or there was none.
    Arrived,
    /// Perhaps it has arrived. This many packets were in it.
    Unknown(u64),
    /// It has not arrived: these are its packets.
    Missed(Vec<Frame>),
}

impl Unconfirmed {
    /// A packet that is no message was queued: the session id, a receipt.
    pub(crate) const fn note_control(&mut self) {
        self.note_first_control();
        self.control_behind = self.control_behind.saturating_add(1);
    }

    /// A packet that is no message was put in front of the queue.
    pub(crate) const fn note_first_control(&mut self) {
        self.control = self.control.saturating_add(1);
    }

    /// A heartbeat was queued.
    pub(crate) fn note_heartbeat(&mut self, heartbeat: &Frame) {
        self.note_first_control();
        self.control_behind = 0;
        self.heartbeat = Some(heartbeat.clone());
    }

    /// The link gets this number of packets, the whole queue. `heartbeat` is the place of the
    /// heartbeat among them, if it is there.
    fn write(&mut self, queued: usize, heartbeat: Option<usize>) {
        let packets = |packets: usize| u32::try_from(packets).unwrap_or(u32::MAX);
        let all = packets(queued).saturating_sub(core::mem::take(&mut self.control));
        let control_behind = core::mem::take(&mut self.control_behind);
        self.written = self.written.saturating_add(all);
        self.behind_heartbeat = match heartbeat {
            Some(at) => packets(queued - at - 1).saturating_sub(control_behind).min(all),
            None => self.behind_heartbeat.saturating_add(all),
        };
    }

    /// The last heartbeat was answered.
    pub(crate) fn confirm_heartbeat(&mut self) {
        // Messages that were written behind the heartbeat may have come back since.
        self.written = self.written.min(self.behind_heartbeat);
    }

    /// These packets have come back. A heartbeat among them is dropped, because it belongs to the
    /// connection that is gone. Other packets that are no messages count as messages here, and
    /// again when they are written, because nothing marks them.
    pub(super) fn take_back(&mut self, frames: &mut Vec<Frame>) {
        step!(each frames.len());
        frames.retain(|frame| self.heartbeat.as_ref() != Some(frame));
        let messages = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        self.written = self.written.saturating_sub(messages);
    }

    /// The packets on this link have to come back before the session writes on another link.
    pub(super) const fn reclaim(&mut self, link: LinkId) {
        self.replaced = Some(link);
    }

    /// Whether packets of another link have to come back first.
    pub(super) const fn is_reclaiming(&self) -> bool {
        self.replaced.is_some()
    }

    /// All packets of the other link have come back.
    pub(super) const fn have_reclaimed(&mut self) {
        self.replaced = None;
    }

    /// The answer on this link has not been written completely. Returns its packets, unless they
    /// have been forgotten.
    pub(super) fn take_answer(&mut self, link: LinkId) -> Vec<Frame> {
        let answer = self.answer.take_if(|answer| answer.link == link);
        answer.map_or_else(Vec::new, |answer| answer.frames)
    }

    /// The websocket or stream is gone. Returns how many of its messages were not confirmed.
    pub(crate) const fn lose_link(&mut self) -> u64 {
        self.behind_heartbeat = 0;
        core::mem::replace(&mut self.written, 0) as u64
    }

    /// The session is over. Returns how many messages were not confirmed. `outlives_link` says
    /// whether its messages are counted although their link ends with the session. Otherwise the
    /// end of the link has told the client, and only a link that was replaced before counts.
    pub(crate) fn end(&mut self, outlives_link: bool) -> u64 {
        let doubted = self.doubted.take().map_or(0, |(_, packets)| packets);
        let written = match outlives_link || self.is_reclaiming() {
            true => self.lose_link(),
            false => 0,
        };
        written + self.forget_answer() + doubted
    }

    /// The links that know the session, in addition to its present link.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        let answered = self.answer.as_ref().map(|answer| answer.link);
        let doubted = self.doubted.map(|(link, _)| link);
        answered.into_iter().chain(doubted).chain(self.replaced)
    }

    /// Keeps the answer to the last poll.
    pub(crate) fn keep(&mut self, link: LinkId, keeps_alive: bool, frames: &[Frame]) {
        debug_assert!(
            self.answer.is_none(),
            "the poll was the verdict on the answer before it"
        );
        // The whole queue was taken, with what is no message.
        (self.control, self.control_behind) = (0, 0);
        step!(each frames.len());
        self.answer = Some(Answer {
            link,
            frames: frames.to_vec(),
            keeps_alive,
            has_ended: false,
            is_blocked: false,
        });
    }

    /// What is kept.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let answer = self.answer.as_ref().map_or_else(Holding::default, |answer| {
            Holding::list::<Frame>(answer.frames.capacity()).with(answer.frames.iter().map(Frame::len))
        });
        answer.and(Holding::memory(size_of::<Self>()))
    }

    /// How much memory the kept answer takes, about: as much as its packets took in the queue.
    pub(crate) fn answer_bytes(&self) -> usize {
        let answer = self.answer.as_ref();
        answer.map_or(0, |answer| {
            answer.frames.iter().map(|frame| frame.len() + PACKET_BYTES).sum()
        })
    }

    /// The client has sent another request on this connection, and so has read the answer on it.
    pub(super) fn confirm_answer(&mut self, link: LinkId) {
        self.answer.take_if(|answer| answer.link == link);
        self.doubted.take_if(|(doubted, _)| *doubted == link);
    }

    /// Forgets the kept answer. Returns the number of its packets.
    pub(crate) fn forget_answer(&mut self) -> u64 {
        self.answer.take().map_or(0, |answer| answer.frames.len() as u64)
    }

    /// The operating system takes no more bytes of an answer, or has taken all.
    pub(super) fn block_answer(&mut self, link: LinkId, is_blocked: bool) {
        if let Some(answer) = self.answer.as_mut().filter(|answer| answer.link == link) {
            answer.is_blocked = is_blocked;
        }
    }

    /// The connection on which a poll was answered is gone. Returns how many packets cannot be
    /// confirmed any more.
    pub(super) fn lose_answered_link(&mut self, link: LinkId) -> u64 {
        if let Some(answer) = self.answer.as_mut().filter(|answer| answer.link == link) {
            answer.has_ended = true;
        }
        let doubted = self.doubted.take_if(|(doubted, _)| *doubted == link);
        doubted.map_or(0, |(_, packets)| packets)
    }

    /// The client polls again, with this timestamp.
    ///
    /// A browser repeats a GET, with its timestamp, if the connection has failed before the answer
    /// came. A client that has read the answer asks with another timestamp
    /// (docs/protocol/legacy-0.6.md §6). A client whose timestamps are all the same says nothing by
    /// them. An answer is sent again once at most.
    pub(crate) fn judge(&mut self, stamp: Option<u64>) -> (Verdict, Option<LinkId>) {
        let before = core::mem::replace(&mut self.stamp, stamp);
        let repeats = self.varies && stamp.is_some() && stamp == before;
        self.varies |= stamp != before && before.is_some();
        if repeats && let Some(answer) = self.answer.take_if(|answer| answer.keeps_alive && answer.has_ended) {
            self.stamp = None;
            return (Verdict::Missed(answer.frames), None);
        }
        self.settle_answer(repeats)
    }

    /// The client comes back on another connection than that of the answer. `is_repeated` says
    /// whether it has asked for the same again. Also returns a link that the session forgets.
    pub(super) fn settle_answer(&mut self, is_repeated: bool) -> (Verdict, Option<LinkId>) {
        let Some(answer) = self.answer.take() else {
            return (Verdict::Arrived, None);
        };
        if answer.is_blocked {
            return (Verdict::Missed(answer.frames), Some(answer.link));
        }
        let packets = answer.frames.len() as u64;
        match (answer.has_ended, answer.keeps_alive) {
            // The server has ended the connection after the answer.
            (true, false) => (Verdict::Arrived, None),
            (true, true) => (Verdict::Unknown(packets), None),
            (false, _) if is_repeated => (Verdict::Unknown(packets), Some(answer.link)),
            (false, _) => match self.doubted.replace((answer.link, packets)) {
                None => (Verdict::Arrived, None),
                Some((link, packets)) => (Verdict::Unknown(packets), Some(link)),
            },
        }
    }
}

impl Session {
    /// The whole queue is about to leave on the session's websocket or stream.
    #[inline]
    pub(super) fn note_written(&mut self) {
        if self.is_legacy() {
            self.note_unconfirmed();
        }
    }

    #[inline(never)]
    fn note_unconfirmed(&mut self) {
        let (queued, packets) = (self.heartbeat == Heartbeat::Queued, self.outbox.len());
        if let Some(unconfirmed) = self.wiring.unconfirmed_mut() {
            let heartbeat = unconfirmed.heartbeat.as_ref().filter(|_| queued);
            let at = heartbeat.and_then(|beat| self.outbox.position(beat));
            unconfirmed.write(packets, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets that are no messages are no messages behind a heartbeat either, and many of them are
    /// no fewer.
    #[test]
    fn packets_of_the_server_are_not_counted() {
        let mut unconfirmed = Unconfirmed::default();
        let heartbeat = Frame::text(&mut bytes::BytesMut::new(), |b| b.extend_from_slice(b"2::"));
        unconfirmed.note_heartbeat(&heartbeat);
        for _ in 0..300 {
            unconfirmed.note_control();
        }
        unconfirmed.note_first_control();
        // One in front, a message, the heartbeat, 300, and two messages.
        unconfirmed.write(305, Some(2));
        assert_eq!((unconfirmed.written, unconfirmed.behind_heartbeat), (3, 2));
        unconfirmed.confirm_heartbeat();
        assert_eq!(unconfirmed.lose_link(), 2);
    }

    /// What is no message, and was queued before a heartbeat, does not count behind it.
    #[test]
    fn packets_before_a_heartbeat_are_not_behind_it() {
        let mut unconfirmed = Unconfirmed::default();
        let heartbeat = Frame::text(&mut bytes::BytesMut::new(), |b| b.extend_from_slice(b"2::"));
        unconfirmed.note_control();
        unconfirmed.note_heartbeat(&heartbeat);
        // The session id, the heartbeat, and a message.
        unconfirmed.write(3, Some(1));
        unconfirmed.confirm_heartbeat();
        assert_eq!(unconfirmed.lose_link(), 1);
    }

    /// Packets that have left the queue, and are kept, count as they did in it.
    #[test]
    fn a_kept_answer_counts_what_its_packets_take() {
        let frames = alloc::vec![Frame::from_static(b"\x81\x012"); 100];
        let mut outbox = super::super::outbox::Outbox::new();
        outbox.extend(frames.iter());
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.keep(LinkId::new(0, 1), true, &frames);
        assert_eq!(unconfirmed.answer_bytes(), outbox.memory());
        unconfirmed.forget_answer();
        assert_eq!(unconfirmed.answer_bytes(), 0);
    }

    #[test]
    fn the_answer_to_a_heartbeat_raises_nothing() {
        let mut unconfirmed = Unconfirmed::default();
        let heartbeat = Frame::text(&mut bytes::BytesMut::new(), |b| b.extend_from_slice(b"2::"));
        unconfirmed.note_heartbeat(&heartbeat);
        unconfirmed.write(3, Some(0));
        let mut back = alloc::vec![
            Frame::text(&mut bytes::BytesMut::new(), |b| b.extend_from_slice(b"3:::one")),
            Frame::text(&mut bytes::BytesMut::new(), |b| b.extend_from_slice(b"3:::two"))
        ];
        unconfirmed.take_back(&mut back);
        unconfirmed.confirm_heartbeat();
        assert_eq!(unconfirmed.lose_link(), 0);
    }
}
