//! The directory says which shards have members of a room. So an emit to a room of two sockets asks
//! at most two shards, and not all of them.
//!
//! ```text
//!   (namespace, room) ─ hash ─► bucket ─► one bit for each shard
//! ```
//! The bit of a shard in a bucket is set while the shard has rooms in this bucket. Several rooms
//! may share a bucket; then a shard may be asked in vain, and nothing worse happens. So the
//! directory has a fixed size, and no lock.
//!
//! A bit changes while its shard is locked, before the thread that joins or leaves goes on. So
//! every emit that begins after a join has returned sees the join.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::SocketKey;
use sio_proto::server::{RoomWatch, Router, Target};

use crate::turn::room_news::RoomNotes;

/// The number of buckets. With as many rooms in use, about every second room shares its bucket with
/// no other.
const BUCKETS: usize = 4096;

/// How many shards have their bits in one word.
const SHARDS_PER_WORD: usize = 64;

/// The number of words for as many shards as a session id can name.
const MAX_WORDS: usize = 256 / SHARDS_PER_WORD;

pub(crate) struct Directory {
    /// For each bucket, the words of all shards.
    buckets: Box<[AtomicU64]>,
    words: usize,
    hasher: RandomState,
}

impl Directory {
    pub(crate) fn new(shards: usize) -> Self {
        let words = shards.div_ceil(SHARDS_PER_WORD);
        Self {
            buckets: (0..BUCKETS * words).map(|_| AtomicU64::new(0)).collect(),
            words,
            hasher: RandomState::new(),
        }
    }

    fn bucket(&self, namespace: &str, room: &str) -> usize {
        (self.hasher.hash_one((namespace, room)) % BUCKETS as u64) as usize
    }

    fn word(&self, bucket: usize, shard: usize) -> &AtomicU64 {
        &self.words_of(bucket)[shard / SHARDS_PER_WORD]
    }

    fn words_of(&self, bucket: usize) -> &[AtomicU64] {
        &self.buckets[bucket * self.words..][..self.words]
    }
}

const fn bit(shard: usize) -> u64 {
    1 << (shard % SHARDS_PER_WORD)
}

/// One shard's part of the directory. It belongs to the shard.
pub(crate) struct Watch {
    directory: Arc<Directory>,
    shard: usize,
    /// How many rooms the shard has in each bucket.
    rooms: Box<[u32]>,
    notes: Arc<RoomNotes>,
}

impl Watch {
    pub(crate) fn new(directory: &Arc<Directory>, shard: usize, notes: Arc<RoomNotes>) -> Self {
        Self {
            directory: Arc::clone(directory),
            shard,
            notes,
            rooms: vec![0; BUCKETS].into(),
        }
    }
}

impl RoomWatch for Watch {
    fn begins(&mut self, namespace: &str, room: &str) {
        let bucket = self.directory.bucket(namespace, room);
        self.rooms[bucket] += 1;
        if self.rooms[bucket] == 1 {
            let word = self.directory.word(bucket, self.shard);
            word.fetch_or(bit(self.shard), Ordering::Release);
        }
        self.notes.begins(namespace, room);
    }

    fn ends(&mut self, namespace: &str, room: &str) {
        let bucket = self.directory.bucket(namespace, room);
        self.rooms[bucket] -= 1;
        if self.rooms[bucket] == 0 {
            let word = self.directory.word(bucket, self.shard);
            word.fetch_and(!bit(self.shard), Ordering::Release);
        }
        self.notes.ends(namespace, room);
    }

    fn joined(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        self.notes.joined(namespace, room, socket);
    }

    fn left(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        self.notes.left(namespace, room, socket);
    }
}

/// A set of shards, as bits.
#[derive(Clone, Copy)]
pub(crate) struct Bits([u64; MAX_WORDS]);

impl Bits {
    const ALL: Self = Self([u64::MAX; MAX_WORDS]);

    /// Returns the shards that may have members of the target: members of one of its rooms, or the
    /// socket whose id is the name of a room.
    pub(crate) fn of(target: &Target, directory: &Directory, router: &Router) -> Self {
        if target.rooms.is_empty() {
            return Self::ALL;
        }
        let mut shards = [0; MAX_WORDS];
        for room in &target.rooms {
            let bucket = directory.bucket(&target.namespace, room);
            for (mine, word) in shards.iter_mut().zip(directory.words_of(bucket)) {
                *mine |= word.load(Ordering::Acquire);
            }
            if let Some(shard) = router.shard_of(room) {
                shards[shard / SHARDS_PER_WORD] |= bit(shard);
            }
        }
        Self(shards)
    }

    pub(crate) const fn have(&self, shard: usize) -> bool {
        self.0[shard / SHARDS_PER_WORD] & bit(shard) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Driven, server};
    use crate::{Io, Socket};

    fn asked(io: &Io, rooms: &[&str]) -> usize {
        let target = Target {
            namespace: "/".into(),
            rooms: rooms.iter().map(|room| (*room).into()).collect(),
            ..Target::default()
        };
        io.0.shards.of_target(&target).count()
    }

    #[test]
    fn only_shards_with_members_are_asked() {
        let io = server(64);
        let clients: Vec<_> = (0..128).map(|_| Driven::connected(&io)).collect();
        let sockets = io.sockets();
        assert_eq!((asked(&io, &[]), asked(&io, &["pair"])), (64, 0));
        // New sessions go to the shards in turn, and sockets are found in this order. So these two
        // sockets are in different shards.
        let pair: [&Socket; 2] = [&sockets[0], &sockets[127]];
        for socket in pair {
            socket.join("pair").unwrap();
        }
        assert_eq!(asked(&io, &["pair"]), 2);
        assert_eq!(asked(&io, &["pair", "none"]), 2);
        assert_eq!(asked(&io, &[&sockets[5].id()]), 1, "an id says where its socket is");
        pair[0].leave("pair");
        assert_eq!(asked(&io, &["pair"]), 1);
        drop(clients);
        assert_eq!(asked(&io, &["pair"]), 0);
        let words = &io.0.shards.directory.buckets;
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn rooms_of_one_bucket_do_not_hide_each_other() {
        let directory = Arc::new(Directory::new(100));
        let bucket = directory.bucket("/", "0");
        let mut others = (1..).map(|n: u32| n.to_string());
        let other = others.find(|room| directory.bucket("/", room) == bucket).unwrap();
        let has = |shard| directory.word(bucket, shard).load(Ordering::Relaxed) & bit(shard) != 0;
        let mut watch = Watch::new(&directory, 99, Arc::default());
        watch.begins("/", "0");
        watch.begins("/", &other);
        watch.ends("/", "0");
        assert!(has(99) && !has(98) && !has(35));
        watch.ends("/", &other);
        assert!(!has(99));
    }
}
