//! Pairs on their way from a shard to a link in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::link::tests::Wall;

const FIRST: &str = "first";
const SECOND: &str = "second";

/// A link with room for so many bytes, and a batch.
struct Lane {
    wall: Arc<Wall>,
    link: Arc<Link>,
    links: Links,
    id: LinkId,
    batch: Batch,
}

fn frame(text: &str) -> Frame {
    Frame::text(&mut bytes::BytesMut::new(), |out| {
        out.extend_from_slice(text.as_bytes());
    })
}

fn pair() -> [Frame; 2] {
    [frame(FIRST), frame(SECOND)]
}

fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect()
}

impl Lane {
    fn with_room(room: usize) -> Self {
        let wall = Wall::with_room(room);
        let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
        let mut links = Links::default();
        let id = links.insert(Arc::clone(&link));
        Self {
            wall,
            link,
            links,
            id,
            batch: Batch::default(),
        }
    }

    fn collect_pair(&mut self) {
        self.batch.collect_pair(&self.links, self.id, pair());
    }

    /// Writes what has been collected. Returns how often the link was found full.
    fn write(&mut self) -> usize {
        let blocked = AtomicUsize::new(0);
        self.batch.write(|id, link| {
            assert_eq!(id, self.id);
            blocked.fetch_add(1, Ordering::Relaxed);
            link.hand_over();
        });
        blocked.into_inner()
    }

    /// What its task writes when there is room. Returns everything that has been written.
    fn make_room(&self) -> Vec<u8> {
        self.wall.room.store(1_000, Ordering::Relaxed);
        assert!(self.link.take_over().is_some(), "something waits");
        let mut pen = Pen::default();
        assert_eq!(self.link.write(&mut pen, &mut std::iter::empty()), Progress::Done);
        self.wall.take()
    }
}

/// It leaves in one write, and the link is idle again.
#[test]
fn a_pair_for_an_idle_link_claims_it() {
    let mut lane = Lane::with_room(1_000);
    lane.collect_pair();
    assert!(!lane.link.claim_idle(), "it is claimed under the lock of the shard");
    assert_eq!(lane.write(), 0);
    assert_eq!(lane.wall.take(), bytes_of(&pair()));
    assert_eq!(lane.wall.calls.load(Ordering::Relaxed), 1);
    assert!(lane.link.claim_idle());
    // The batch can be used again.
    assert!(lane.batch.pair.is_none() && lane.batch.groups.is_empty());
}

/// The shard learns once that the link is full, wherever the pair was cut.
#[test]
fn a_pair_that_is_cut_goes_on_where_it_was_cut() {
    let whole = bytes_of(&pair());
    for room in 0..whole.len() {
        let mut lane = Lane::with_room(room);
        lane.collect_pair();
        assert_eq!(lane.write(), 1, "room for {room}");
        let first = lane.wall.take();
        assert_eq!(first.len(), room);
        assert_eq!([first, lane.make_room()].concat(), whole, "room for {room}");
    }
}

/// Nothing overtakes what is queued.
#[test]
fn a_pair_stands_behind_what_is_queued() {
    let mut lane = Lane::with_room(1_000);
    lane.link.push(Item::Bytes(Bytes::from_static(b"older")));
    lane.collect_pair();
    assert!(lane.batch.pair.is_none());
    assert_eq!(lane.write(), 0);
    assert_eq!(lane.wall.take(), [&b"older"[..], &bytes_of(&pair())].concat());
    assert!(lane.link.claim_idle());
}

/// Who writes the link writes the pair, too.
#[test]
fn a_pair_for_a_link_that_another_writes_is_left_to_it() {
    let mut lane = Lane::with_room(1_000);
    assert!(lane.link.claim_idle());
    lane.collect_pair();
    assert_eq!(lane.write(), 0);
    assert_eq!(lane.wall.take(), b"");
    let older = frame("older");
    assert_eq!(lane.link.write_frame(&mut Pen::default(), &older), Progress::Done);
    let all = [&[older], &pair()[..]].concat();
    assert_eq!(lane.wall.take(), bytes_of(&all));
}

/// The shard knows already that such a link is full.
#[test]
fn a_pair_for_a_full_link_waits() {
    let mut lane = Lane::with_room(0);
    lane.batch.collect_frame(&lane.links, lane.id, frame("older"));
    assert_eq!(lane.write(), 1);
    lane.collect_pair();
    assert_eq!(lane.write(), 0);
    let all = [&[frame("older")], &pair()[..]].concat();
    assert_eq!(lane.make_room(), bytes_of(&all));
}

/// What cannot be written is dropped after the lock of the shard, or is nothing to wait for.
#[test]
fn a_pair_for_a_link_that_has_gone_is_dropped() {
    let mut lane = Lane::with_room(1_000);
    lane.links.remove(lane.id);
    lane.collect_pair();
    assert!(lane.batch.pair.is_some(), "it is not dropped under the lock");
    assert_eq!(lane.write(), 0);
    assert!(lane.batch.pair.is_none());
    assert_eq!(lane.wall.take(), b"");

    let mut lane = Lane::with_room(1_000);
    lane.link.cut();
    lane.collect_pair();
    assert_eq!((lane.write(), lane.link.held()), (0, 0));
    assert_eq!(lane.wall.take(), b"");
}

/// A pair that is queued has no part of the writes of the flush.
#[test]
fn a_queued_pair_takes_no_write_of_another_link() {
    let mut lane = Lane::with_room(1_000);
    lane.link.push(Item::Bytes(Bytes::from_static(b"older")));
    lane.collect_pair();
    let wall = Wall::with_room(1_000);
    let other = lane.links.insert(Arc::new(Link::new(wall.clone(), Arc::default())));
    let mut out = Outputs::default();
    out.writes.extend(pair().map(|frame| Write::Frame(other, frame)));
    assert_eq!(lane.batch.collect(&lane.links, &mut out), 2);
    assert_eq!(lane.write(), 0);
    assert_eq!(wall.take(), bytes_of(&pair()));
    assert_eq!(lane.wall.take(), [&b"older"[..], &bytes_of(&pair())].concat());
}
