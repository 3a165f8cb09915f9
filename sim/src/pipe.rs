//! One direction of a connection: bytes that are under way, in pieces, each with the time of its
//! arrival.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use sio_proto::Time;

/// How the network treats bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// The longest way of a piece, in milliseconds.
    pub(crate) latency: u64,
    /// How many of a hundred writes are cut into pieces.
    pub(crate) splits: u32,
    /// How many bytes may be under way before the sender has to keep the rest.
    pub(crate) window: usize,
    /// A proxy on the way collects bytes, and passes them on at multiples of so many milliseconds.
    /// 0 if there is none.
    pub(crate) holds: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pieces: VecDeque<(Time, Vec<u8>)>,
    queued: usize,
    /// Nothing arrives before this time.
    pub(crate) frozen: Time,
    /// Until this time the receiver takes nothing: its window is zero.
    pub(crate) shut: Time,
    /// How many bytes were under way when the window became zero.
    room: usize,
    /// Whether the sender knows that it has to wait.
    pub(crate) blocked: bool,
    /// When the sender's end of the connection arrives, behind all bytes.
    end: Option<Time>,
}

impl Pipe {
    /// The sender writes bytes.
    pub(crate) fn push(&mut self, now: Time, bytes: &[u8], traffic: Traffic, rng: &mut Rng) {
        let mut rest = bytes;
        if rng.u32(0..100) < traffic.splits {
            for _ in 0..rng.usize(1..4) {
                // The first bytes of a write are a head, where a cut hurts most.
                let most = if rng.bool() { rest.len().min(24) } else { rest.len() };
                let (piece, behind) = rest.split_at(rng.usize(0..=most));
                self.push_piece(now, piece, traffic, rng);
                rest = behind;
            }
        }
        self.push_piece(now, rest, traffic, rng);
    }

    fn push_piece(&mut self, now: Time, bytes: &[u8], traffic: Traffic, rng: &mut Rng) {
        if bytes.is_empty() {
            return;
        }
        let way = Duration::from_micros(rng.u64(1..=traffic.latency * 1000 + 1));
        let last = self.pieces.back().map_or(Time::ZERO, |(at, _)| *at);
        let mut at = (now + way).max(last);
        if traffic.holds > 0 {
            let step = traffic.holds * 1000;
            let micros = at.saturating_since(Time::ZERO).as_micros() as u64;
            at = Time::from_micros(micros.div_ceil(step) * step);
        }
        self.queued += bytes.len();
        self.pieces.push_back((at, bytes.to_vec()));
    }

    /// The sender closes the connection behind what it has written.
    pub(crate) fn finish(&mut self, now: Time) {
        let last = self.pieces.back().map_or(now, |(at, _)| *at);
        if self.end.is_none() {
            self.end = Some(last.max(now));
        }
    }

    /// When something arrives next.
    pub(crate) fn next(&self) -> Option<Time> {
        let piece = self.pieces.front().map(|(at, _)| *at);
        piece.or(self.end).map(|at| at.max(self.frozen))
    }

    /// Takes what has arrived by now: one piece, or several at once.
    pub(crate) fn pop(&mut self, now: Time, rng: &mut Rng) -> Option<Vec<u8>> {
        let (at, _) = self.pieces.front()?;
        if (*at).max(self.frozen) > now {
            return None;
        }
        let (_, mut bytes) = self.pieces.pop_front()?;
        while self.pieces.front().is_some_and(|(at, _)| *at <= now) && rng.bool() {
            bytes.extend(self.pieces.pop_front().map(|(_, more)| more).unwrap_or_default());
        }
        self.queued -= bytes.len();
        Some(bytes)
    }

    /// Whether the end of the connection has arrived.
    pub(crate) fn has_ended(&self, now: Time) -> bool {
        self.pieces.is_empty() && self.end.is_some_and(|end| end.max(self.frozen) <= now)
    }

    /// How many bytes the sender still keeps.
    pub(crate) fn kept_back(&self, now: Time, traffic: Traffic) -> usize {
        self.queued.saturating_sub(self.window(now, traffic))
    }

    /// How many bytes are under way.
    pub(crate) const fn under_way(&self) -> usize {
        self.queued
    }

    fn window(&self, now: Time, traffic: Traffic) -> usize {
        if self.shut > now { self.room } else { traffic.window }
    }

    /// The receiver takes nothing more until then.
    pub(crate) fn shut(&mut self, now: Time, until: Time, traffic: Traffic) {
        self.room = self.queued.min(self.window(now, traffic));
        self.shut = self.shut.max(until);
        self.frozen = self.frozen.max(self.shut);
    }

    /// Cuts the connection: so many of the bytes that are under way arrive, and no more.
    pub(crate) fn cut(&mut self, now: Time, traffic: Traffic, rng: &mut Rng) -> Vec<u8> {
        let under_way = self.queued.min(self.window(now, traffic));
        let arrives = match rng.u32(0..4) {
            0 => under_way,
            1 => 0,
            _ => rng.usize(0..=under_way),
        };
        let mut bytes: Vec<u8> = self.pieces.drain(..).flat_map(|(_, bytes)| bytes).collect();
        bytes.truncate(arrives);
        self.queued = 0;
        bytes
    }

    /// Throws everything away that is under way.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.queued = 0;
    }
}
