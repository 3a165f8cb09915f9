//! The queue against a naive model: a list that is searched from the front.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push,
    Extend(usize),
    Front,
    Droppable { more: usize },
    Newest { key: u8, more: usize },
    Merge { key: u8 },
    Release { key: u8 },
    DropOldest,
    TakeAll,
    TakeUpTo { packets: usize, bytes: usize },
    Convert,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => Just(Op::Push),
        2 => (1..4usize).prop_map(Op::Extend),
        1 => Just(Op::Front),
        4 => (0..3usize).prop_map(|more| Op::Droppable { more }),
        4 => (0..4u8, 0..3usize).prop_map(|(key, more)| Op::Newest { key, more }),
        4 => (0..4u8).prop_map(|key| Op::Merge { key }),
        1 => (0..4u8).prop_map(|key| Op::Release { key }),
        2 => Just(Op::DropOldest),
        1 => Just(Op::TakeAll),
        3 => (1..5usize, 0..60usize).prop_map(|(packets, bytes)| Op::TakeUpTo { packets, bytes }),
        1 => Just(Op::Convert),
    ];
    prop::collection::vec(op, 0..80)
}

/// A message of the model: its packets, and what may become of it.
#[derive(Debug)]
struct Waiting {
    packets: Vec<String>,
    droppable: bool,
    key: Option<(u8, Option<String>)>,
}

#[derive(Default)]
struct Model {
    messages: Vec<Waiting>,
    made: usize,
}

impl Model {
    fn texts(&mut self, count: usize) -> Vec<String> {
        let texts = (0..count).map(|n| format!("{}.{n}{}", self.made, "x".repeat(self.made % 13)));
        let texts = texts.collect();
        self.made += 1;
        texts
    }

    fn put(&mut self, packets: Vec<String>, droppable: bool, key: Option<(u8, Option<String>)>) {
        self.messages.push(Waiting {
            packets,
            droppable,
            key,
        });
    }

    fn position(&self, key: u8) -> Option<usize> {
        let has = |waiting: &Waiting| waiting.key.as_ref().is_some_and(|(own, _)| *own == key);
        self.messages.iter().position(has)
    }

    fn packets(&self) -> Vec<String> {
        self.messages
            .iter()
            .flat_map(|message| message.packets.clone())
            .collect()
    }

    fn bytes(&self) -> usize {
        let kept = |(key, args): &(u8, Option<String>)| named(*key).len() + args.as_ref().map_or(0, String::len);
        let kept = self
            .messages
            .iter()
            .filter_map(|message| message.key.as_ref().map(kept));
        kept.sum::<usize>() + self.packets().iter().map(|text| text.len() + 2).sum::<usize>()
    }

    fn take(&mut self, packets: usize, bytes: usize) -> Vec<String> {
        let (mut taken, mut room) = (Vec::new(), bytes);
        if self.packets().len() <= packets && self.bytes() <= bytes {
            taken = self.packets();
            self.messages.clear();
            return taken;
        }
        while taken.len() < packets && !self.messages.is_empty() {
            let first = &mut self.messages[0];
            let len = first.packets[0].len() + 2;
            if len > room && !taken.is_empty() {
                break;
            }
            room = room.saturating_sub(len);
            taken.push(first.packets.remove(0));
            (first.droppable, first.key) = (false, None);
            if first.packets.is_empty() {
                self.messages.remove(0);
            }
        }
        taken
    }
}

fn named(key: u8) -> Key {
    Key::new("/", "event", &format!("{key}")).unwrap()
}

fn frame(text: &str) -> Frame {
    Frame::text(&mut BytesMut::new(), |b| b.put_slice(text.as_bytes()))
}

fn encoded(texts: &[String]) -> Encoded {
    Encoded {
        first: frame(&texts[0]),
        attachments: texts[1..].iter().map(|text| frame(text)).collect(),
    }
}

fn read(frames: &[Frame]) -> Vec<String> {
    let text = |frame: &Frame| String::from_utf8(frame.payload().to_vec()).unwrap();
    frames.iter().map(text).collect()
}

fn take_up_to(outbox: &mut Outbox, packets: usize, bytes: usize) -> Vec<String> {
    let mut taken = Vec::new();
    outbox.take_up_to(packets, bytes, &mut taken);
    read(&taken)
}

fn args(text: &str) -> Args {
    Args {
        json: format!("\"{text}\"").into(),
        ..Args::default()
    }
}

fn step(outbox: &mut Outbox, model: &mut Model, op: &Op) {
    match *op {
        Op::Push => {
            let texts = model.texts(1);
            outbox.push(frame(&texts[0]));
            model.put(texts, false, None);
        }
        Op::Extend(count) => {
            let texts = model.texts(count);
            let frames: Vec<Frame> = texts.iter().map(|text| frame(text)).collect();
            outbox.extend(frames.iter());
            texts
                .into_iter()
                .for_each(|text| model.put(Vec::from([text]), false, None));
        }
        Op::Front => {
            let texts = model.texts(1);
            outbox.push_front(frame(&texts[0]));
            model.put(texts, false, None);
            model.messages.rotate_right(1);
        }
        Op::Droppable { more } => {
            let texts = model.texts(1 + more);
            outbox.push_sorted(encoded(&texts), Hold::Droppable);
            model.put(texts, true, None);
        }
        Op::Newest { key, more } => {
            let texts = model.texts(1 + more);
            let _ = outbox.remove(&named(key));
            outbox.push_sorted(encoded(&texts), Hold::Keyed(named(key), None));
            model.position(key).map(|at| model.messages.remove(at));
            model.put(texts, false, Some((key, None)));
        }
        Op::Merge { key } => {
            let texts = model.texts(1);
            let content = args(&texts[0]);
            let json = content.json.to_string();
            let _ = outbox.remove(&named(key));
            outbox.push_sorted(encoded(&texts), Hold::Keyed(named(key), Some(content.into())));
            model.position(key).map(|at| model.messages.remove(at));
            model.put(texts, false, Some((key, Some(json))));
        }
        Op::Release { key } => {
            outbox.release(&named(key));
            if let Some(at) = model.position(key) {
                model.messages[at].key = None;
            }
        }
        Op::DropOldest => {
            let oldest = model.messages.iter().position(|message| message.droppable);
            assert_eq!(outbox.drop_oldest(), oldest.is_some());
            oldest.map(|at| model.messages.remove(at));
        }
        Op::TakeAll if outbox.has_two() => {
            let taken = outbox.take_two().expect("there are two");
            assert_eq!(read(&taken), model.packets());
            model.messages.clear();
        }
        Op::TakeAll => {
            assert_eq!(read(&outbox.drain().collect::<Vec<_>>()), model.packets());
            model.messages.clear();
        }
        Op::TakeUpTo { packets, bytes } => {
            assert_eq!(take_up_to(outbox, packets, bytes), model.take(packets, bytes));
        }
        Op::Convert => {
            let marked = |text: &String| (!text.ends_with('!')).then(|| format!("{text}!"));
            outbox.convert(|waiting| marked(&read(core::slice::from_ref(waiting))[0]).map(|text| frame(&text)));
            let texts = model.messages.iter_mut().flat_map(|message| &mut message.packets);
            texts.for_each(|text| *text = marked(text).unwrap_or_else(|| text.clone()));
        }
    }
}

fn compare(outbox: &Outbox, model: &Model) {
    let packets = model.packets();
    let waiting: Vec<Frame> = outbox.frames().cloned().collect();
    assert_eq!(read(&waiting), packets);
    assert_eq!((outbox.len(), outbox.bytes()), (packets.len(), model.bytes()));
    assert_eq!(outbox.is_empty(), packets.is_empty());
    assert_eq!(outbox.has_two(), packets.len() == 2 && outbox.tail().is_none());
    assert_eq!(outbox.front(), waiting.first());
    let droppable = model.messages.iter().filter(|message| message.droppable);
    let sizes = droppable.map(|message| {
        let bytes: usize = message.packets.iter().map(|text| text.len() + 2).sum();
        (bytes, message.packets.len())
    });
    let sum = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    assert_eq!(outbox.droppable(), sum);
    let keyed = model.messages.iter().filter(|message| message.key.is_some());
    assert_eq!(outbox.tail().map_or(0, |tail| tail.keys.len()), keyed.count(), "keys");
    for key in 0..4 {
        let kept = model.position(key).and_then(|at| model.messages[at].key.clone()?.1);
        assert_eq!(outbox.waiting(&named(key)).map(|args| args.json.to_string()), kept);
    }
}

proptest! {
    /// Whatever is queued, replaced, dropped and taken: the queue has what a naive list has.
    #[test]
    fn the_queue_is_a_list(ops in ops()) {
        let (mut outbox, mut model) = (Outbox::new(), Model::default());
        for op in &ops {
            step(&mut outbox, &mut model, op);
            compare(&outbox, &model);
        }
    }
}

/// Hardening A16: a queue that never holds more than one packet takes no memory beside its session,
/// and a burst leaves nothing behind when its session rests.
#[test]
fn what_a_burst_has_needed_is_given_back() {
    let mut outbox = Outbox::new();
    for _ in 0..3 {
        outbox.push(frame("a"));
        assert_eq!(read(&outbox.take_first()), ["a"]);
        assert!(outbox.more.is_none());
    }
    for (packets, kept) in [(20, true), (10_000, false)] {
        for _ in 0..packets {
            outbox.push(frame("a"));
        }
        outbox.rest();
        assert_eq!(outbox.len(), packets, "what waits stays");
        outbox.drain_to(drop);
        outbox.trim();
        assert_eq!(outbox.more.is_some(), kept);
        outbox.rest();
        assert!(outbox.more.is_none());
    }
}

/// Also a poll that empties the queue gives back what a burst has needed, whether it brings all of
/// the burst or the rest.
#[test]
fn a_poll_that_empties_the_queue_gives_back_what_a_burst_has_needed() {
    for most in [10_000, 30] {
        let mut outbox = Outbox::new();
        (0..1_000).for_each(|_| outbox.push(frame("a")));
        while !outbox.is_empty() {
            outbox.take_up_to(most, usize::MAX, &mut Vec::new());
        }
        assert!(outbox.more.is_none(), "{most}");
    }
}

/// A queue from which all sorted messages have gone is plain again, so that it costs no more.
#[test]
fn the_queue_becomes_plain_again() {
    let mut outbox = Outbox::new();
    outbox.push_sorted(encoded(&[String::from("a")]), Hold::Droppable);
    outbox.push(frame("b"));
    assert!(outbox.tail().is_some());
    assert_eq!(take_up_to(&mut outbox, 1, 100), ["a"]);
    assert_eq!(take_up_to(&mut outbox, 1, 100), ["b"]);
    assert!(outbox.tail().is_none());
    outbox.push_sorted(encoded(&[String::from("c")]), Hold::Keyed(named(1), None));
    assert!(outbox.remove(&named(1)));
    assert!(outbox.is_empty() && outbox.tail().is_none());
    assert_eq!((outbox.bytes(), outbox.memory()), (0, 0));
}

/// The next message begins, and its key with it. The message before it keeps its place, and counts
/// without its key and its arguments.
#[test]
fn a_key_is_taken_from_the_message_before() {
    let mut outbox = Outbox::new();
    for text in ["a", "b"] {
        outbox.release(&named(1));
        outbox.push_sorted(encoded(&[text.into()]), Hold::Keyed(named(1), Some(args(text).into())));
    }
    let (first, second) = (frame("a").len(), outbox.size_of(&named(1)));
    assert_eq!(outbox.bytes(), first + second.0);
    assert_eq!(take_up_to(&mut outbox, 1, 100), ["a"]);
    assert_eq!(outbox.size_of(&named(1)), second, "the key belongs to the second");
    assert!(outbox.remove(&named(1)) && outbox.is_empty());
    assert_eq!(outbox.bytes(), 0);
}

/// The shortest way out: of the only packet.
#[test]
fn the_only_packet_leaves_nothing() {
    let mut outbox = Outbox::new();
    assert!(!outbox.has_one());
    for _ in 0..3 {
        outbox.push(frame("a"));
        assert!(outbox.has_one());
        assert_eq!(outbox.take_one(), Some(frame("a")));
        assert_eq!((outbox.len(), outbox.bytes(), outbox.has_one()), (0, 0, false));
    }
    outbox.push_sorted(encoded(&["a".into()]), Hold::Droppable);
    assert!(!outbox.has_one(), "it may be dropped");
    outbox.push(frame("b"));
    assert!(!outbox.has_one());
}

/// A client that has not read the packet that opens its session expects nothing before it.
#[test]
fn a_heartbeat_stands_in_front_but_behind_the_packet_that_opens_the_session() {
    let ping = frame("2");
    for (waiting, expected) in [
        (
            &["0{\"sid\":\"a\"}", "40", "42[\"a\"]"][..],
            &["0{\"sid\":\"a\"}", "2", "40", "42[\"a\"]"][..],
        ),
        (&["0{\"sid\":\"a\"}"], &["0{\"sid\":\"a\"}", "2"]),
        (&["42[\"a\"]", "0"], &["2", "42[\"a\"]", "0"]),
        (&[], &["2"]),
    ] {
        let mut outbox = Outbox::default();
        waiting.iter().for_each(|text| outbox.push(frame(text)));
        assert!(!outbox.has_heartbeat(&ping));
        let before = outbox.bytes();
        outbox.push_heartbeat(ping.clone());
        assert_eq!(outbox.bytes(), before + ping.len());
        assert!(outbox.has_heartbeat(&ping));
        let left: Vec<Frame> = outbox.drain().collect();
        assert_eq!(left, expected.iter().map(|text| frame(text)).collect::<Vec<_>>());
    }
}
