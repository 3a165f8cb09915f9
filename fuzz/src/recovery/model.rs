//! The naive model: for each client what it was to hear, and for how long it is waited for.

use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_proto::recovery::{Audience, NotRecovered, RecordKey, Truncated};
use sio_proto::{Sid, Time};

pub(super) const NAMESPACES: [&str; 2] = ["/", "/chat"];
pub(super) const ROOMS: [&str; 4] = ["red", "green", "blue", "a room with a long name"];

/// How many stays that have ended a record remembers.
const MAX_ENDED_STAYS: usize = 16;

#[derive(Clone)]
pub(super) struct Sent {
    pub(super) sequence: u64,
    pub(super) message: u32,
    pub(super) audience: Audience,
}

#[derive(Clone)]
pub(super) struct Stay {
    room: usize,
    from: u64,
    until: Option<u64>,
}

/// When it is over, and how many went away before.
type Turn = (Time, u64);

#[derive(Clone)]
pub(super) struct Known {
    pub(super) key: RecordKey,
    pub(super) pid: ByteString,
    pub(super) sid: Sid,
    /// What is kept with the record. It grows from record to record.
    pub(super) number: u32,
    pub(super) namespace: usize,
    pub(super) network: u128,
    /// The number of the last message that it has, or that was before it.
    start: u64,
    pub(super) stays: Vec<Stay>,
    forgotten: u64,
    pub(super) is_spoilt: bool,
    /// Everything that was for it.
    heard: Vec<(u64, u32)>,
    /// Its turn, and what is kept for it meanwhile beside the names of its rooms, in bytes.
    pub(super) away: Option<(Turn, usize)>,
}

#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) known: Vec<Known>,
    sent: [Vec<Sent>; NAMESPACES.len()],
    /// The epochs of each namespace, with the last number before each.
    pub(super) epochs: [Vec<(u32, u64)>; NAMESPACES.len()],
    turns: u64,
}

impl Known {
    pub(super) fn new(
        key: RecordKey,
        pid: ByteString,
        sid: Sid,
        number: u32,
        namespace: usize,
        network: u128,
        start: u64,
    ) -> Self {
        Self {
            key,
            pid,
            sid,
            number,
            namespace,
            network,
            start,
            stays: Vec::new(),
            forgotten: 0,
            is_spoilt: false,
            heard: Vec::new(),
            away: None,
        }
    }

    fn is_in(&self, room: usize) -> bool {
        self.stays.iter().any(|stay| stay.room == room && stay.until.is_none())
    }

    pub(super) fn rooms(&self) -> Vec<ByteString> {
        let rooms = (0..ROOMS.len()).filter(|room| self.is_in(*room));
        let mut rooms: Vec<ByteString> = rooms.map(|room| ROOMS[room].into()).collect();
        rooms.sort();
        rooms
    }

    pub(super) fn join(&mut self, room: usize, last: u64) {
        if !self.is_in(room) {
            self.stays.push(Stay {
                room,
                from: last,
                until: None,
            });
        }
    }

    pub(super) fn leave(&mut self, room: usize, last: u64) {
        let Some(stay) = self
            .stays
            .iter_mut()
            .find(|stay| stay.room == room && stay.until.is_none())
        else {
            return;
        };
        stay.until = Some(last);
        if self.stays.iter().filter(|stay| stay.until.is_some()).count() > MAX_ENDED_STAYS {
            let oldest = self
                .stays
                .iter()
                .position(|stay| stay.until.is_some())
                .expect("there are some");
            let gone = self.stays.remove(oldest);
            self.forgotten = self.forgotten.max(gone.until.unwrap_or(0));
        }
    }

    /// What the names of its rooms take.
    pub(super) fn names(&self) -> usize {
        self.stays.iter().map(|stay| ROOMS[stay.room].len() + 64).sum()
    }

    /// What is kept for it while it is away. The rooms that it joins and leaves meanwhile count.
    pub(super) fn away_bytes(&self) -> Option<usize> {
        Some(self.away?.1 + self.names())
    }

    fn is_meant(&self, audience: &Audience) -> bool {
        let own = self.sid.to_string();
        let is_in = |name: &str| {
            ROOMS
                .iter()
                .position(|room| *room == name)
                .is_some_and(|room| self.is_in(room))
        };
        let is_one = |name: &ByteString| **name == *own || is_in(name);
        (audience.rooms.is_empty() || audience.rooms.iter().any(is_one)) && !audience.except.iter().any(is_one)
    }
}

impl Model {
    pub(super) fn at(&self, number: u32) -> Option<usize> {
        self.known.iter().position(|one| one.number == number)
    }

    pub(super) fn send(&mut self, namespace: usize, sent: Sent) {
        for one in self.known.iter_mut().filter(|one| one.namespace == namespace) {
            if one.is_meant(&sent.audience) {
                one.heard.push((sent.sequence, sent.message));
            }
        }
        self.sent[namespace].push(sent);
    }

    pub(super) fn wait_for(&mut self, at: usize, until: Time, bytes: usize) {
        let one = &mut self.known[at];
        if one.away.is_none() {
            self.turns += 1;
            // A record takes 320 bytes beside the names of its rooms.
            one.away = Some(((until, self.turns), 320 + bytes));
        }
    }

    /// How many are away, of one network or of all, and the bytes that are kept for them.
    pub(super) fn away(&self, network: Option<u128>) -> (usize, usize) {
        let all = self
            .known
            .iter()
            .filter(|one| network.is_none_or(|network| one.network == network));
        let away = all.filter_map(Known::away_bytes);
        away.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// Ends those whose time is over.
    pub(super) fn expire(&mut self, now: Time) -> Vec<u32> {
        let is_over = |one: &Known| one.away.is_some_and(|((until, _), _)| until <= now);
        let over = self
            .known
            .iter()
            .filter(|one| is_over(one))
            .map(|one| one.number)
            .collect();
        self.known.retain(|one| !is_over(one));
        over
    }

    /// Nobody is in a namespace any more.
    pub(super) fn forget(&mut self, namespace: usize) {
        self.epochs[namespace].clear();
        self.sent[namespace].clear();
    }

    /// What a client has missed that shows an offset with this epoch and number, and the number
    /// behind which it has missed it.
    pub(super) fn missed(
        &self,
        at: usize,
        place: Option<(u32, u64)>,
        last: u64,
    ) -> Result<(u64, Vec<u32>), NotRecovered> {
        let one = &self.known[at];
        if one.is_spoilt {
            return Err(NotRecovered::Rooms);
        }
        let epochs = &self.epochs[one.namespace];
        let at = |epoch: u32| epochs.iter().position(|(known, _)| *known == epoch);
        let known = place.and_then(|(epoch, sequence)| Some((at(epoch)?, sequence)));
        let after = match known {
            None => one.start,
            Some((epoch, sequence)) => {
                let end = epochs.get(epoch + 1).map(|(_, end)| *end);
                if end.is_none() && sequence > last {
                    return Err(NotRecovered::Offset);
                }
                if end.is_some_and(|end| sequence > end) {
                    return Err(NotRecovered::Truncated(Truncated { pruned: sequence }));
                }
                one.start.max(sequence)
            }
        };
        if one.forgotten > after {
            return Err(NotRecovered::Truncated(Truncated { pruned: one.forgotten }));
        }
        let missed = one.heard.iter().filter(|(sequence, _)| *sequence > after);
        Ok((after, missed.map(|(_, message)| *message).collect()))
    }

    pub(super) fn came_back(&mut self, at: usize, after: u64) {
        let one = &mut self.known[at];
        one.start = after;
        one.away = None;
    }

    /// Whether a message was sent to everybody, or to a room that the client was in after it.
    pub(super) fn concerns(&self, at: usize, sequence: u64, after: u64) -> bool {
        let one = &self.known[at];
        let Some(sent) = self.sent[one.namespace].iter().find(|sent| sent.sequence == sequence) else {
            return false;
        };
        let was_in = |name: &ByteString| {
            **name == *one.sid.to_string()
                || one
                    .stays
                    .iter()
                    .any(|stay| *ROOMS[stay.room] == **name && sequence > stay.from.max(after))
        };
        sent.audience.rooms.is_empty() || sent.audience.rooms.iter().any(was_in)
    }

    /// A namespace goes on in another process, behind this number; or it has gone.
    pub(super) fn goes_on(&mut self, namespace: usize, epoch: u32, last: Option<u64>) {
        match last {
            Some(last) => self.epochs[namespace].push((epoch, last)),
            None => self.forget(namespace),
        }
    }

    /// All records have these keys now, and all clients are away.
    pub(super) fn restart(&mut self, keys: &BTreeMap<u32, RecordKey>, until: Time, max_record_bytes: usize) {
        assert!(
            self.known.iter().all(|one| keys.contains_key(&one.number)),
            "a record is lost"
        );
        assert_eq!(self.known.len(), keys.len());
        self.known.sort_by_key(|one| one.number);
        for at in 0..self.known.len() {
            let one = &mut self.known[at];
            one.key = keys[&one.number];
            one.is_spoilt |= one.names() > max_record_bytes;
            let until = one.away.take().map_or(until, |((until, _), _)| until);
            if !self.known[at].is_spoilt {
                self.wait_for(at, until, 0);
            }
        }
    }
}
