//! What is known of one socket that may come back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytestring::ByteString;

use super::audience::{Audience, Stay};
use super::away::Turn;
use super::log::TrailKey;
use crate::id::PlaceSlot;
use crate::{Sid, Time};

/// How many rooms that the socket has left are remembered, with the time that it spent in them.
const MAX_ENDED_STAYS: usize = 16;

/// The secret by which a client is recognised: 144 random bits.
#[derive(Clone, Copy)]
pub(super) struct Pid(pub(super) [u8; Self::BYTES]);

impl Pid {
    pub(super) const BYTES: usize = 18;

    /// Reads a secret as clients show it; `None` if it is none that was drawn here.
    pub(super) fn parse(pid: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if pid.len() != Self::BYTES / 3 * 4 {
            return None;
        }
        URL_SAFE_NO_PAD.decode_slice(pid, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let bytes = one.iter().zip(other);
    let differs = bytes.fold(one.len() ^ other.len(), |differs, (a, b)| differs | usize::from(a ^ b));
    differs == 0
}

/// Where what was said before is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Here, since the record has begun or has come here.
    Here,
    /// In a store, by an earlier process. If there are other servers, they have gone on meanwhile.
    Stored,
    /// The same, and what the stream of these servers had meanwhile was brought here, up to the
    /// number `adopted`.
    Reread,
}

/// A socket with its rooms, there or away.
pub(super) struct Record<D> {
    /// Its number in a store.
    pub(super) number: u64,
    pub(super) pid: Pid,
    /// The secret, if another kind of server has made it.
    pub(super) foreign_pid: Option<Box<str>>,
    /// The number of the last message before the record came here from another server, or before
    /// the stream was read again for it; 0 if it has begun here.
    pub(super) adopted: u64,
    pub(super) past: Past,
    /// Whether what was said before that has still to be brought.
    pub(super) lacks: bool,
    /// Whether it came here from another server, and its client has not been let in here since.
    pub(super) is_strange: bool,
    pub(super) sid: Sid,
    pub(super) namespace: ByteString,
    /// Where its namespace stands, which stays there while the record is there.
    pub(super) place: PlaceSlot,
    /// Whose: the network of the client's address, as the caller names it.
    pub(super) network: u128,
    /// The number of the last message before the socket was there, or of a later message that the
    /// client has said to have.
    pub(super) start: u64,
    pub(super) own: Own,
    pub(super) stays: Vec<Stay>,
    /// The number of the next stay.
    pub(super) next_stay: u32,
    /// What was sent up to this number may have been for a room that is remembered no more.
    pub(super) forgotten: u64,
    /// Whether more rooms were joined than a record may hold: it is good for nothing.
    pub(super) spoilt: bool,
    /// Whether the messages to it were written by another parser: they cannot be sent any more.
    pub(super) is_foreign: bool,
    /// How many events of the client have been had, as far as the caller has said.
    pub(super) heard: u64,
    /// What the names in `stays` take.
    pub(super) bytes: usize,
    /// Until when the client is waited for, and its place among the others; `None` while it is
    /// there.
    pub(super) away: Option<Turn>,
    /// What the record counted when its client went away.
    pub(super) away_bytes: usize,
    pub(super) data: D,
}

/// The room that a socket is alone in, for messages to it alone.
pub(super) struct Own {
    pub(super) audience: Arc<Audience>,
    /// What the audience takes in memory.
    pub(super) bytes: usize,
    pub(super) trail: TrailKey,
}

impl Own {
    pub(super) fn new(room: ByteString, trail: TrailKey) -> Self {
        let audience = Audience {
            rooms: vec![room],
            except: Vec::new(),
        };
        Self {
            bytes: audience.bytes(),
            audience: Arc::new(audience),
            trail,
        }
    }
}

impl<D> Record<D> {
    /// The bytes of the secret.
    pub(super) fn secret(&self) -> &[u8] {
        match &self.foreign_pid {
            Some(pid) => pid.as_bytes(),
            None => &self.pid.0,
        }
    }

    /// Whether a store has it. A store has no place for the secrets of other servers, forgets whose
    /// messages were written by another parser, and does not know whom this server has let in.
    pub(super) const fn is_saved(&self) -> bool {
        self.foreign_pid.is_none() && !self.is_foreign && !self.is_strange
    }

    /// Until when the client is waited for; `None` while it is there.
    pub(super) fn away_until(&self) -> Option<Time> {
        self.away.map(|(until, _)| until)
    }

    /// What a stay takes beside its name.
    const STAY_BYTES: usize = 64;

    /// What a record takes beside its stays, with its places in the tables.
    const RECORD_BYTES: usize = 320;

    pub(super) fn weight(room: &ByteString) -> usize {
        room.len() + Self::STAY_BYTES
    }

    /// The rooms that the socket is in now, that of its own id not among them.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &ByteString> {
        self.stays
            .iter()
            .skip(1)
            .filter(|stay| stay.until.is_none())
            .map(|stay| &stay.room)
    }

    /// The same rooms, and behind which message the socket has been in each, wherever it was. For a
    /// room that it has left and joined again, this is the first time that is remembered: it may
    /// have missed messages of that time.
    pub(super) fn rooms_since(&self) -> impl Iterator<Item = (&ByteString, u64)> {
        let open = self.stays.iter().skip(1).filter(|stay| stay.until.is_none());
        open.map(|stay| {
            let before = self
                .stays
                .iter()
                .filter(|other| other.until.is_some() && other.room == stay.room);
            let since = before.map(|other| other.since).min();
            (&stay.room, since.map_or(stay.since, |since| since.min(stay.since)))
        })
    }

    /// What the record takes in memory without what the caller keeps.
    pub(super) const fn own_bytes(&self) -> usize {
        Self::RECORD_BYTES + self.bytes
    }

    /// Begins a stay behind message `now`; `None` if there is no room for it.
    pub(super) fn join(&mut self, room: ByteString, now: u64, max_bytes: usize) -> Option<&Stay> {
        let bytes = self.bytes + Self::weight(&room);
        if bytes > max_bytes {
            return None;
        }
        self.bytes = bytes;
        self.stays.push(Stay {
            ordinal: self.next_stay,
            room,
            from: now,
            until: None,
            since: now,
        });
        self.next_stay += 1;
        self.stays.last()
    }

    /// Ends the stay in a room with message `now`. Returns the stay.
    pub(super) fn leave(&mut self, room: &str, now: u64) -> Option<&Stay> {
        // The first one is in the room of its own id, which nobody leaves.
        let mut open = self.stays.iter_mut().skip(1).filter(|stay| stay.until.is_none());
        let stay = open.find(|stay| *stay.room == *room)?;
        stay.until = Some(now);
        Some(stay)
    }

    /// Forgets the oldest stay that has ended if there are too many, and returns it.
    pub(super) fn forget_a_stay(&mut self) -> Option<Stay> {
        let ended = self.stays.iter().filter(|stay| stay.until.is_some()).count();
        if ended <= MAX_ENDED_STAYS {
            return None;
        }
        let oldest = self.stays.iter().position(|stay| stay.until.is_some())?;
        let stay = self.stays.remove(oldest);
        self.bytes -= Self::weight(&stay.room);
        self.forgotten = self.forgotten.max(stay.until.unwrap_or_default());
        Some(stay)
    }
}

#[cfg(test)]
mod tests {
    use super::is_same;

    /// The hash by which a secret is found may be that of another one.
    #[test]
    fn secrets_are_equal_in_all_bytes() {
        assert!(is_same(b"", b"") && is_same(b"abc", b"abc"));
        for other in ["", "ab", "abcd", "xbc", "axc", "abx", "xyz"] {
            assert!(!is_same(b"abc", other.as_bytes()), "{other}");
        }
    }
}
