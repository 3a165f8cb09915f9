//! Links that write to an outlet in memory.

use bytes::BytesMut;
use sio_proto::LinkId;
use sio_proto::http::{Exchange, FixedFields};
use sio_proto::server::Budget;

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

/// Hardening A16: a link that has held much has no more memory than others when all is written.
#[test]
fn what_a_flood_has_needed_is_given_back() {
    let wall = Wall::with_room(1 << 20);
    let link = Link::new(wall.clone(), Arc::default());
    let write = || {
        assert!(link.claim(&mut std::iter::empty()).is_some());
        assert_eq!(link.write_queue(&mut Pen::default()), Progress::Done);
        assert!(link.state.lock().waiting.is_none(), "an idle link needs no queue");
        wall.take().len()
    };
    (0..10_000).for_each(|_| link.push(item("a")));
    assert_eq!(write(), 10_000);
    assert_eq!(spare::count(), 0, "the queue of a flood is not kept");

    link.push(item("a"));
    assert_eq!((write(), spare::count()), (1, 1));
    link.push(item("b"));
    assert_eq!(spare::count(), 0, "the queue is used again");
    assert_eq!((write(), spare::count()), (1, 1));

    let links: Vec<_> = (0..20).map(|_| Link::new(wall.clone(), Arc::default())).collect();
    links.iter().for_each(|link| link.push(item("c")));
    for link in &links {
        assert!(link.claim(&mut std::iter::empty()).is_some());
        assert_eq!(link.write_queue(&mut Pen::default()), Progress::Done);
    }
    assert!(spare::count() < 20, "a thread keeps few");
}

#[test]
fn a_full_socket_keeps_the_rest_in_order() {
    let wall = Wall::with_room(4);
    let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
    let bell = Arc::new(Bell::default());
    link.standing_for(&bell.clone().into());
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

/// A wake takes the waker out, so that nothing of the runtime is cloned under the lock. A task that
/// runs gives it back, and a task that another one has followed is not woken any more.
#[test]
fn a_task_that_was_woken_is_woken_again_when_it_has_run() {
    let link = Link::new(Wall::with_room(4), Arc::default());
    let bells: [Arc<Bell>; 2] = Default::default();
    let rings = || bells.each_ref().map(|bell| bell.0.load(Ordering::Relaxed));
    let [first, second] = bells.each_ref().map(|bell| Waker::from(Arc::clone(bell)));
    link.rest();
    assert_eq!(link.standing_for(&first), Standing::Open);
    link.wake_by_answer();
    assert_eq!(rings(), [0, 0], "there is no answer yet");
    for round in 1..4 {
        link.standing_for(&first);
        link.hand_over();
        link.hand_over();
        assert_eq!(rings(), [round, 0], "a task that has not run since is not woken twice");
    }
    link.standing_for(&first);
    link.standing_for(&second);
    link.cut();
    assert_eq!(rings(), [3, 1]);
    assert_eq!(link.standing_for(&second), Standing::Cut);
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
    link.push(Item::Write(Box::new(Write::Abort(LinkId::new(0, 0)))));
    assert_eq!((budget.used(), link.standing()), (0, Standing::Cut));
}

/// A socket that takes the first part of a write moves, and one that has taken everything is not
/// stalled any more.
#[test]
fn a_socket_that_takes_something_is_not_stalled() {
    let wall = Wall::with_room(0);
    let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
    let mut pen = Pen::default();
    let patience = Duration::from_secs(10);
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    let frame = || Frame::text(&mut BytesMut::new(), |out| out.extend_from_slice(b"0123456789"));
    let drain = |pen: &mut Pen| {
        wall.room.store(1_000, Ordering::Relaxed);
        assert!(link.take_over().is_some());
        assert_eq!(link.write(pen, &mut std::iter::empty()), Progress::Done);
    };
    let write_frame = |pen: &mut Pen, room| {
        wall.room.store(room, Ordering::Relaxed);
        assert!(link.claim(&mut std::iter::empty()).is_some());
        let progress = link.write_frame(pen, &frame());
        link.hand_over();
        progress
    };
    assert_eq!(write_frame(&mut pen, 0), Progress::Stuck);
    assert!(!link.is_stalled(at(1), patience));
    // Nobody looks while it takes everything, and is full again.
    drain(&mut pen);
    assert_eq!(write_frame(&mut pen, 0), Progress::Stuck);
    assert!(!link.is_stalled(at(20), patience), "it has been full for a moment only");
    assert!(!link.is_stalled(at(29), patience));
    assert!(link.is_stalled(at(30), patience));
    drain(&mut pen);
    assert_eq!(write_frame(&mut pen, 3), Progress::Full, "it has taken a part");
    assert!(!link.is_stalled(at(31), patience));
    drain(&mut pen);

    wall.room.store(5, Ordering::Relaxed);
    link.push(Item::Answer(answer(true)));
    assert_eq!(link.claim_queued(), Some(Claim::Queued));
    assert_eq!(link.write_queue(&mut pen), Progress::Full, "the head is begun");
}

fn answer(keep_alive: bool) -> Box<Response> {
    Box::new(Response {
        status: 200,
        content_type: Some("text/plain"),
        fixed: FixedFields::NONE,
        headers: Vec::new(),
        body: Body::Bytes(Bytes::from_static(b"hello")),
        exchange: Exchange {
            is_head: false,
            version_minor: 1,
            keep_alive,
        },
    })
}

/// An answer leaves with one call, or in pieces when the socket is full after any number of bytes,
/// and the reading side hears of it once.
#[test]
fn an_answer_is_written_whole_whatever_the_socket_takes() {
    for keep_alive in [true, false] {
        let mut expected = BytesMut::new();
        let (body, _) = answer(keep_alive).encode(&mut expected, None);
        expected.extend_from_slice(&body);
        for room in 0..=expected.len() {
            let wall = Wall::with_room(room);
            let link = Link::new(wall.clone(), Arc::default());
            let mut pen = Pen::default();
            link.push(Item::Answer(answer(keep_alive)));
            assert_eq!(link.claim_queued(), Some(Claim::Queued));
            let progress = link.write_queue(&mut pen);
            assert_eq!(progress == Progress::Done, room == expected.len(), "{room}");
            if progress != Progress::Done {
                assert_eq!(link.held(), expected.len() - room);
                link.hand_over();
                wall.room.store(1_000, Ordering::Relaxed);
                assert_eq!(link.take_over(), Some(Claim::Queued));
                assert_eq!(link.write(&mut pen, &mut std::iter::empty()), Progress::Done);
            } else {
                assert_eq!(wall.calls.load(Ordering::Relaxed), 1);
            }
            assert_eq!(wall.take(), expected, "{room}");
            assert_eq!(link.take_news().answered, u32::from(keep_alive));
            assert_eq!(wall.finished.load(Ordering::Relaxed), usize::from(!keep_alive));
            assert_eq!(link.held(), 0);
        }
    }
}

/// Items that are queued with an answer keep their places.
#[test]
fn an_answer_leaves_between_its_neighbours() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let wall = Wall::with_room(1_000);
        let link = Link::new(wall.clone(), Arc::default());
        if before {
            link.push(item("before"));
        }
        link.push(Item::Answer(answer(true)));
        if after {
            link.push(item("after"));
        }
        assert!(link.claim_queued().is_some());
        assert_eq!(link.write_queue(&mut Pen::default()), Progress::Done);
        let text = String::from_utf8(wall.take()).unwrap();
        assert_eq!(text.starts_with("before"), before);
        assert_eq!(text.ends_with("helloafter"), after);
        assert!(text.contains("\r\n\r\nhello"));
        assert_eq!(link.take_news().answered, 1);
    }
}

/// Frames that leave in one plain write leave as any other writes, wherever the socket is found
/// full: in the same order, each once, with the same rest in the queue.
#[test]
fn several_frames_leave_as_other_writes_do() {
    let mut scratch = BytesMut::new();
    let mut frame = |text: &str| Frame::text(&mut scratch, |out| out.extend_from_slice(text.as_bytes()));
    let frames = [
        frame("a"),
        frame("second"),
        frame(""),
        frame(&"x".repeat(200)),
        frame("last"),
    ];
    let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
    for large in [false, true] {
        for room in 0..=whole.len() {
            let mut outcomes = Vec::new();
            for at_once in [true, false] {
                let wall = Wall::with_room(room);
                let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
                let mut writes: Vec<Write> = frames.iter().map(|f| Write::Frame(LinkId(0), f.clone())).collect();
                if large {
                    // It is no frame, so all of them take the other way.
                    writes.push(Write::Bytes(LinkId(0), Bytes::from_static(b"bytes")));
                }
                assert!(link.claim(&mut std::iter::empty()).is_some());
                let mut pen = Pen::default();
                let progress = match at_once {
                    true => link.write_several(&mut pen, &mut writes),
                    false => link.write(&mut pen, &mut taken(&mut writes)),
                };
                let (first, queued) = (wall.take(), link.held());
                link.hand_over();
                wall.room.store(10_000, Ordering::Relaxed);
                if progress != Progress::Done {
                    assert!(link.take_over().is_some());
                    assert_eq!(link.write(&mut pen, &mut std::iter::empty()), Progress::Done);
                }
                outcomes.push((progress, first, queued, wall.take()));
            }
            assert_eq!(outcomes[0], outcomes[1], "room for {room}");
            let all = [&outcomes[0].1[..], &outcomes[0].3[..]].concat();
            assert_eq!(&all[..whole.len()], &whole[..], "room for {room}");
        }
    }
}

/// So do two frames that leave as a pair, in one plain write or, if they are large, as a vector.
#[test]
fn a_pair_leaves_as_other_writes_do() {
    let mut scratch = BytesMut::new();
    let mut frame = |text: &str| Frame::text(&mut scratch, |out| out.extend_from_slice(text.as_bytes()));
    let pairs = [
        [frame("first"), frame("second")],
        [frame(""), frame("")],
        [frame("small"), frame(&"x".repeat(20_000))],
    ];
    for pair in pairs {
        let whole: Vec<u8> = pair.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
        for room in (0..=whole.len()).filter(|room| room % 997 < 20 || whole.len() - room < 3) {
            let mut outcomes = Vec::new();
            for is_pair in [true, false] {
                let wall = Wall::with_room(room);
                let link: Arc<Link> = Arc::new(Link::new(wall.clone(), Arc::default()));
                assert!(link.claim_idle());
                let mut pen = Pen::default();
                let progress = match is_pair {
                    true => link.write_pair(&mut pen, pair.clone()),
                    false => link.write(&mut pen, &mut pair.clone().into_iter().map(Item::Frame)),
                };
                let (first, queued) = (wall.take(), link.held());
                link.hand_over();
                wall.room.store(100_000, Ordering::Relaxed);
                if progress != Progress::Done {
                    assert!(link.take_over().is_some());
                    assert_eq!(link.write(&mut pen, &mut std::iter::empty()), Progress::Done);
                }
                outcomes.push((progress, first, queued, wall.take()));
            }
            assert_eq!(outcomes[0], outcomes[1], "room for {room}");
            let all = [&outcomes[0].1[..], &outcomes[0].3[..]].concat();
            assert_eq!(all, whole, "room for {room}");
        }
    }
}
