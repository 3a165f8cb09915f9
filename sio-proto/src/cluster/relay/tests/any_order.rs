//! Whatever is lost, repeated or restarted, in any order.

use alloc::vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    /// A node sends so many bytes of the relay with this number.
    Send(usize, usize, usize),
    Finish(usize),
    Keep(usize, usize, usize),
    TakeUp(usize),
    Reset(usize, usize),
    Deliver(usize),
    Lose,
    Repeat,
    Pass(u64),
    Restart,
    Blink(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1usize..40_000).prop_map(Step::Open),
        6 => (0usize..2, 0usize..6, 1usize..30_000).prop_map(|(at, line, bytes)| Step::Send(at, line, bytes)),
        1 => (0usize..6).prop_map(Step::Finish),
        4 => (0usize..2, 0usize..6, 0usize..20_000).prop_map(|(at, line, bytes)| Step::Keep(at, line, bytes)),
        2 => (0usize..6).prop_map(Step::TakeUp),
        1 => (0usize..2, 0usize..6).prop_map(|(at, line)| Step::Reset(at, line)),
        8 => (1usize..20).prop_map(Step::Deliver),
        1 => Just(Step::Lose),
        1 => Just(Step::Repeat),
        1 => (1u64..30_000).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (0usize..2).prop_map(Step::Blink),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The byte at each place of every relay.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn content(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

proptest! {
    #![proptest_config(crate::cases::usually(96))]

    /// Whatever is lost, repeated or restarted: no byte comes twice or behind a gap, nothing waits
    /// beyond the windows, and in the end nothing is left.
    #[test]
    fn no_byte_twice_nothing_grows_and_everything_ends(steps in steps()) {
        let config = config();
        let mut world = World::new(2, &config);
        // Each relay: its names on both nodes, and how many bytes each node has sent.
        let mut lines: Vec<(LineId, LineId, [usize; 2])> = Vec::new();
        for step in steps {
            match step {
                Step::Open(count) => {
                    if let Ok(line) = world.open(0, 1, &content(0, count)) {
                        let first = count.min(RelayConfig::FIRST_BYTES as usize);
                        lines.push((line, world.other(line), [first, 0]));
                    }
                }
                Step::Send(at, line, count) => {
                    if let Some((here, there, sent)) = lines.get_mut(line) {
                        let id = if at == 0 { *here } else { *there };
                        let bytes = content(sent[at], count);
                        sent[at] += world.act(at, |relays, now, out| relays.send(now, id, &bytes, None, out));
                    }
                }
                Step::Finish(line) => {
                    if let Some((_, there, _)) = lines.get(line) {
                        let id = *there;
                        world.act(1, |relays, now, out| relays.send(now, id, b"", Some(Final::KeepsAlive), out));
                    }
                }
                Step::Keep(at, line, waiting) => {
                    if let Some((here, there, _)) = lines.get(line) {
                        let id = if at == 0 { *here } else { *there };
                        let kept = world.nodes[at].seen.get_mut(&id).map(|seen| {
                            seen.waiting = seen.waiting.min(waiting);
                            seen.waiting
                        });
                        if let Some(kept) = kept {
                            world.act(at, |relays, now, out| relays.keep(now, id, kept, out));
                        }
                    }
                }
                Step::TakeUp(line) => {
                    if let Some((_, there, _)) = lines.get(line) {
                        let id = *there;
                        world.act(1, |relays, now, out| relays.take_up(now, id, out));
                    }
                }
                Step::Reset(at, line) => {
                    if let Some((here, there, _)) = lines.get(line) {
                        let id = if at == 0 { *here } else { *there };
                        world.act(at, |relays, now, out| relays.reset(now, id, Reset::Failed, out));
                    }
                }
                Step::Deliver(count) => {
                    for _ in 0..count {
                        if let Some(post) = world.posts.pop_front() {
                            world.deliver(post);
                        }
                    }
                }
                Step::Lose => _ = world.posts.pop_front(),
                Step::Repeat => {
                    if let Some(post) = world.posts.front().cloned() {
                        world.deliver(post);
                    }
                }
                Step::Pass(millis) => {
                    world.now = world.now + Duration::from_millis(millis);
                    for at in [0, 1] {
                        world.act(at, |relays, now, out| relays.handle_timeout(now, out));
                    }
                }
                Step::Restart => {
                    world.restart(1, &config);
                    lines.iter_mut().for_each(|(_, there, _)| *there = LineId::Outgoing(0));
                }
                Step::Blink(at) => {
                    world.event(at, &Event::Down { why: BrokerError::Closed });
                    let channel = world.nodes[at].relays.own.clone();
                    world.event(at, &Event::Subscribed { channel, sharded: false });
                    world.event(at, &Event::Up);
                }
            }
            for node in &world.nodes {
                for (line, seen) in &node.seen {
                    prop_assert_eq!(&seen.bytes, &content(0, seen.bytes.len()), "{:?}", line);
                }
                let relays = &node.relays;
                prop_assert_eq!(relays.deadlines.len(), relays.outgoing.len() + relays.incoming.len());
                let waiting: Vec<usize> = relays.outgoing.values().chain(relays.incoming.values())
                    .map(Line::waiting).collect();
                prop_assert_eq!(relays.room.bytes(), waiting.iter().sum::<usize>());
                prop_assert!(waiting.iter().all(|waiting| *waiting <= 20_000));
            }
        }
        // Nobody says anything any more, and nothing arrives.
        world.posts.clear();
        for node in &mut world.nodes {
            node.subscriptions.clear();
        }
        world.pass(Duration::from_secs(120));
        for node in &world.nodes {
            let counters = node.relays.counters();
            prop_assert_eq!((counters.outgoing.current, counters.incoming.current), (0, 0));
            prop_assert_eq!((counters.waiting_bytes, counters.nodes), (0, 0));
            prop_assert!(node.relays.deadlines.is_empty() && node.relays.room.is_empty());
        }
    }

    /// Nothing that arrives ends the machine.
    #[test]
    fn any_bytes_are_taken(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let mut world = World::new(2, &config());
        let line = world.open(0, 1, REQUEST).unwrap();
        world.settle();
        let (own, name) = (world.nodes[0].relays.own.clone(), world.nodes[1].relays.name);
        let LineId::Outgoing(number) = line else { unreachable!() };
        for mut payload in payloads {
            // Half of them begin as a message of the other node does.
            if payload.first().is_some_and(|byte| byte % 2 == 0) && payload.len() > 2 {
                let head = [&[1, 0x80 | (payload[1] % 8)][..], &name.0, &number.to_be_bytes()].concat();
                payload.splice(..2, head);
            }
            world.deliver(Post { to: 0, channel: own.clone(), payload: payload.into() });
        }
        world.settle();
        let counters = world.counters(0);
        prop_assert!(counters.waiting_bytes <= 20_000);
    }
}
