//! What must arrive where: a model that is so simple that it is right.
//!
//! Every message has a number, and the model writes down for each namespace of each client which
//! numbers were sent to it, in order. What arrives is compared with this list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sio_proto::Time;
use sio_proto::recovery::RecordKey;
use sio_proto::server::Generation;

use crate::host::Socket;

/// A socket of the server.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) client: usize,
    pub(crate) namespace: usize,
    /// The number of the socket. The keys of a server that begins anew are used again.
    pub(crate) serial: u64,
    /// What goes on when a client is recovered: the same for all sockets of one record.
    pub(crate) life: u64,
    pub(crate) record: Option<RecordKey>,
    pub(crate) is_accepted: bool,
    pub(crate) rooms: BTreeSet<usize>,
    pub(crate) generation: Generation,
    /// The socket's public id.
    pub(crate) sid: String,
    /// The questions that the client has not answered: their ids, the numbers of the messages, and
    /// until when the answer may come.
    pub(crate) asks: BTreeMap<u64, (u64, Option<Time>)>,
}

/// A message to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Down {
    pub(crate) number: u64,
    pub(crate) life: u64,
    pub(crate) serial: u64,
    /// Whether it may not be left out while its socket lives.
    pub(crate) is_reliable: bool,
    /// Whether it is sent again if the client is recovered.
    pub(crate) is_kept: bool,
}

impl Down {
    /// Whether it had to arrive before `found`.
    fn is_missing_before(&self, found: &Self) -> bool {
        // What is not kept may be lost with its connection, and what is kept may have come on a
        // later one.
        let is_there = self.is_kept || self.serial == found.serial && !found.is_kept;
        self.is_reliable && self.life == found.life && is_there
    }
}

/// How an event of a client has ended, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    NotSent,
    Had,
    /// It is not sent again, also if the client is recovered: its time is over, or there was no
    /// progress.
    GivenUp,
    Unknown,
}

/// An event of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    pub(crate) is_volatile: bool,
    pub(crate) end: Option<End>,
    /// How often the server has heard it.
    pub(crate) heard: u32,
    /// How many requests that a proxy has repeated have carried it.
    pub(crate) copies: u32,
    /// The life of the socket that has heard it last.
    pub(crate) life: Option<u64>,
    /// How long it is, and whether it has an attachment: its content follows from this.
    pub(crate) padding: usize,
    pub(crate) has_bytes: bool,
}

/// What a wire may do with the events of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing {
    /// The client sends events again until they are acknowledged, or confirmed. What is confirmed
    /// is repeated only in another life.
    pub(crate) repeats: bool,
    /// The server confirms them, so a life loses nothing.
    pub(crate) confirms: bool,
    /// The session may have outlived a connection, and lost what was on the way.
    pub(crate) is_lossy: bool,
}

/// A namespace of a client.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// What was sent to the client and has not arrived, oldest first.
    pub(crate) down: VecDeque<Down>,
    /// All numbers that were sent to the client.
    pub(crate) sent: BTreeSet<u64>,
    /// What may have given way to later messages in a queue, and is kept for a client that comes
    /// back: it may arrive behind them, once (docs/flow-control.md).
    pub(crate) displaced: BTreeSet<u64>,
    /// What the client has sent, by number.
    pub(crate) up: Vec<Up>,
    /// The socket and the life of the last event that the server has heard, and its number.
    pub(crate) last_heard: Option<(u64, u64, usize)>,
    /// The highest number that the server has heard from each socket, or in each life.
    pub(crate) highest: BTreeMap<u64, usize>,
    /// The life of the last message that has arrived.
    pub(crate) last_life: Option<u64>,
    /// Whether the client was told since then that it was not recovered.
    pub(crate) was_told: bool,
    /// Whether the client says that it is connected.
    pub(crate) is_connected: bool,
    /// How often in a row the client was recovered, and the server has heard nothing.
    pub(crate) fruitless: u32,
    /// Whether the client has left by itself since the last connect.
    pub(crate) has_left: bool,
    /// The messages that are missing on an old wire.
    pub(crate) gaps: Vec<u64>,
}

/// What is wrong with a message that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It was never sent there.
    Stray,
    /// It came before, or a later one did.
    Repeated,
    /// An earlier one is missing.
    Gap(u64),
    /// It belongs to a life that the client was told is over.
    OldLife,
    /// It belongs to a new life, and the client believes that the old one goes on.
    Untold,
}

impl Place {
    /// A message has arrived at the client. `is_lossy` says that the wire of the client may lose
    /// what was on the way. Then the server counts what was lost.
    pub(crate) fn arrive(&mut self, number: u64, is_lossy: bool) -> Result<(), Wrong> {
        // A broadcast may be for a socket whose connection is dead, and for that which has replaced
        // it.
        let same = |down: &Down| down.number == number;
        let goes_on = |down: &Down| same(down) && Some(down.life) == self.last_life && !self.was_told && !is_lossy;
        let at = self.down.iter().position(goes_on);
        let newest = |all: &mut dyn Iterator<Item = usize>| all.max_by_key(|at| self.down[*at].life);
        // Of two sessions of an old wire, the newer may be one that the client has never used.
        let is_whole = |at: &usize| {
            let found = &self.down[*at];
            let mut before = self.down.iter().take(*at);
            !before.any(|down| down.is_missing_before(found))
        };
        let all = || (0..self.down.len()).filter(|at| same(&self.down[*at]));
        let whole = || newest(&mut all().filter(is_whole)).filter(|_| is_lossy);
        let found = at.or_else(whole).or_else(|| newest(&mut all()));
        let Some(at) = found else {
            if self.displaced.remove(&number) {
                return Ok(());
            }
            return Err(match self.sent.contains(&number) {
                true => Wrong::Repeated,
                false => Wrong::Stray,
            });
        };
        if !self.is_connected && self.has_left {
            // It was on the way when the client left, and is told with the next connect, as by the
            // genuine client.
            self.down.remove(at);
            return Ok(());
        }
        let found = self.down[at];
        let gives_way = |down: &&Down| !down.is_reliable && down.is_kept;
        let displaced = self.down.iter().take(at).filter(gives_way);
        self.displaced.extend(displaced.map(|down| down.number));
        let skipped = self.down.drain(..=at).take(at);
        let missing = skipped.filter(|down| down.is_missing_before(&found));
        let missing: Vec<u64> = missing.map(|down| down.number).collect();
        let is_new = self.last_life.replace(found.life) != Some(found.life);
        // A session of an old wire goes on without a word, and begins anew without one.
        let was_told = std::mem::take(&mut self.was_told) || is_lossy && is_new;
        match (missing.first(), is_new, was_told) {
            (Some(_), ..) if is_lossy => self.gaps.extend(missing),
            (Some(first), ..) => return Err(Wrong::Gap(*first)),
            (None, true, false) => return Err(Wrong::Untold),
            (None, false, true) => return Err(Wrong::OldLife),
            (None, ..) => {}
        }
        Ok(())
    }

    /// What must have arrived by now, if the socket lives and nothing is under way.
    pub(crate) fn overdue(&self, member: &Member) -> Vec<u64> {
        let is_due = |down: &&Down| {
            let is_there = down.is_kept || down.serial == member.serial;
            down.is_reliable && down.life == member.life && is_there
        };
        self.down.iter().filter(is_due).map(|down| down.number).collect()
    }

    /// The server has heard an event of the client.
    pub(crate) fn hear(&mut self, number: usize, member: &Member, rules: Hearing) -> Result<(), Wrong> {
        let Some(up) = self.up.get_mut(number) else {
            return Err(Wrong::Stray);
        };
        self.fruitless = 0;
        up.heard += 1;
        let is_first = up.heard == 1;
        let is_of_life = up.life.replace(member.life) == Some(member.life);
        if up.end == Some(End::NotSent) {
            return Err(Wrong::Stray);
        }
        if !is_first {
            return match rules.repeats && !up.is_volatile && !(rules.confirms && is_of_life) {
                true => Ok(()),
                false => Err(Wrong::Repeated),
            };
        }
        // A dead connection may bring events late, behind those of the next session.
        let stream = if rules.confirms { member.life } else { member.serial };
        let highest = self.highest.entry(stream).or_insert(number);
        if number < *highest && !rules.is_lossy {
            return Err(Wrong::Repeated);
        }
        *highest = number;
        let last = self.last_heard.replace((member.serial, member.life, number));
        if let Some((serial, life, before)) = last
            && (serial == member.serial || rules.confirms && life == member.life)
            && !rules.is_lossy
        {
            // Who repeats events may give up one of an earlier life that waits in this one.
            let given_up = |up: &Up| match up.end {
                Some(End::GivenUp) => rules.confirms,
                Some(End::Unknown) => rules.confirms && rules.repeats,
                _ => false,
            };
            let may_miss = |up: &Up| up.heard > 0 || up.is_volatile || up.end == Some(End::NotSent) || given_up(up);
            if let Some(missing) = (before + 1..number).find(|at| !may_miss(&self.up[*at])) {
                return Err(Wrong::Gap(missing as u64));
            }
        }
        Ok(())
    }
}

/// Which sockets a broadcast reaches: the members of `rooms` (all if there are none) without those
/// of `except` and without one socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audience {
    pub(crate) namespace: usize,
    pub(crate) rooms: Vec<usize>,
    pub(crate) except: Vec<usize>,
    pub(crate) except_sid: Option<String>,
}

impl Audience {
    pub(crate) fn has(&self, namespace: usize, rooms: &BTreeSet<usize>, sid: &str) -> bool {
        namespace == self.namespace
            && (self.rooms.is_empty() || self.rooms.iter().any(|room| rooms.contains(room)))
            && !self.except.iter().any(|room| rooms.contains(room))
            && self.except_sid.as_deref() != Some(sid)
    }
}

/// The sockets of the server, by their keys.
pub(crate) type Members = BTreeMap<Socket, Member>;
