//! Links that write to an outlet in memory.

use super::write::MAX_PIECES;
use super::*;
use crate::tests::RUNTIME;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// An outlet that records what is written, and takes only a limited number of bytes.
#[derive(Default)]
pub(crate) struct Wall {
    pub(crate) written: Mutex<Vec<u8>>,
    pub(crate) calls: AtomicUsize,
    pub(crate) room: AtomicUsize,
    pub(crate) finished: AtomicUsize,
}

impl Wall {
    pub(crate) fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self {
            room: AtomicUsize::new(room),
            ..Self::default()
        })
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.written.lock())
    }
}

impl Outlet for Arc<Wall> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let room = self.room.load(Ordering::Relaxed).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.fetch_sub(room, Ordering::Relaxed);
        self.written.lock().extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Bell(pub(crate) AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn item(text: &'static str) -> Item {
    Item::Bytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn several_pieces_leave_in_one_write() {
    let wall = Wall::with_room(100);
    let link = Link::new(wall.clone(), Arc::default());
    link.push(item("a"));
    let mut items = [item("b"), item("c")].into_iter();
    assert!(link.claim(&mut items).is_some());
    assert_eq!(link.write(&mut Pen::default(), &mut items), Progress::Done);
    assert_eq!(wall.take(), b"abc");
    assert_eq!(wall.calls.load(Ordering::Relaxed), 1);
    assert!(link.claim_queued().is_none());
}

#[test]
fn what_comes_while_another_writes_is_written_by_it() {
    let wall = Wall::with_room(100);
    let link = Link::new(wall.clone(), Arc::default());
    link.push(item("1"));
    let mut items = [item("2")].into_iter();
    assert!(link.claim(&mut items).is_some());
    assert!(link.claim(&mut [item("3")].into_iter()).is_none());
    assert_eq!(link.write(&mut Pen::default(), &mut items), Progress::Done);
    assert_eq!(wall.take(), b"123");
}

#[test]
fn a_full_socket_keeps_the_rest_in_order() {
    let wall = Wall::with_room(4);
    let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
    let bell = Arc::new(Bell::default());
    link.set_waker(&bell.clone().into());
    let mut items = [item("abc"), item("def"), Item::Finish].into_iter();
    assert!(link.claim(&mut items).is_some());
    assert_eq!(link.write(&mut Pen::default(), &mut items), Progress::Full);
    assert_eq!(bell.0.load(Ordering::Relaxed), 0);
    assert!(link.take_over().is_none(), "the shard has to know first");
    link.hand_over();
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(link.standing(), Standing::Blocked);
    assert!(link.claim(&mut [item("late")].into_iter()).is_none());

    wall.room.store(100, Ordering::Relaxed);
    assert_eq!(link.take_over(), Some(Claim::Queued));
    assert_eq!(link.write(&mut Pen::default(), &mut std::iter::empty()), Progress::Done);
    assert_eq!(wall.take(), b"abcdef");
    assert_eq!(link.standing(), Standing::Finished);
    assert_eq!(wall.finished.load(Ordering::Relaxed), 1);
    link.push(item("x"));
    assert!(link.claim(&mut [item("x")].into_iter()).is_none());
    assert!(link.claim_queued().is_none());
}

#[test]
fn a_large_batch_is_a_vector() {
    let wall = Wall::with_room(1 << 20);
    let link = Link::new(wall.clone(), Arc::default());
    let big = Bytes::from(vec![b'x'; 10_000]);
    let mut items = (0..100).map(|_| Item::Bytes(big.clone()));
    assert!(link.claim(&mut items).is_some());
    assert_eq!(link.write(&mut Pen::default(), &mut items), Progress::Done);
    assert_eq!(wall.take().len(), 1_000_000);
}

/// Hardening A2: the cost of a write depends on what the socket takes, and not on what is queued.
#[test]
fn a_peer_that_reads_in_trickles_costs_no_more_for_a_long_queue() {
    let wall = Wall::with_room(1);
    let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
    let frames = 200_000;
    let mut items = (0..frames).map(|_| item("0123456789"));
    assert!(link.claim(&mut items).is_some());
    let mut pen = Pen::default();
    assert_eq!(link.write(&mut pen, &mut items), Progress::Full);
    assert_eq!(link.held(), frames * 10 - 1);
    for taken in 1..20_000 {
        link.hand_over();
        wall.room.store(1, Ordering::Relaxed);
        assert_eq!(link.take_over(), Some(Claim::Queued));
        assert_eq!(link.write(&mut pen, &mut std::iter::empty()), Progress::Full);
        assert_eq!(link.held(), frames * 10 - 1 - taken);
        let touched = pen.taken.capacity().max(pen.pieces.capacity());
        assert!(touched <= 4 * MAX_PIECES, "{touched} pieces in hand");
    }
    link.hand_over();
    wall.room.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(link.take_over(), Some(Claim::Queued));
    assert_eq!(link.write(&mut pen, &mut std::iter::empty()), Progress::Done);
    assert_eq!(wall.take(), b"0123456789".repeat(frames));
}

/// Hardening A2, A8: the bytes that wait on a link are charged while it is blocked, and given back
/// however the link ends.
#[test]
fn what_waits_is_charged_and_given_back() {
    let budget = Arc::new(Budget::new(1_000));
    let traffic = Arc::new(Traffic::new(Arc::clone(&budget), RUNTIME));
    let wall = Wall::with_room(3);
    let link: Arc<Link> = Arc::new(Link::new(wall.clone(), traffic));
    let full = |pieces: &mut dyn Iterator<Item = Item>| {
        assert!(link.claim(pieces).is_some());
        let progress = link.write(&mut Pen::default(), pieces);
        link.hand_over();
        progress
    };
    assert_eq!(full(&mut [item("0123456789")].into_iter()), Progress::Full);
    assert_eq!(budget.used(), 7);
    link.push(item("abc"));
    assert_eq!(budget.used(), 10);
    wall.room.store(100, Ordering::Relaxed);
    assert!(link.take_over().is_some());
    assert_eq!(link.write(&mut Pen::default(), &mut std::iter::empty()), Progress::Done);
    assert_eq!(budget.used(), 0);
    wall.room.store(0, Ordering::Relaxed);
    assert_eq!(full(&mut [item("0123456789")].into_iter()), Progress::Stuck);
    assert_eq!(budget.used(), 10);
    link.push(Item::Write(Box::new(Write::Abort(sio_proto::LinkId::new(0, 0)))));
    assert_eq!((budget.used(), link.standing()), (0, Standing::Cut));
}
