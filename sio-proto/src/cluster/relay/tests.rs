//! Two or three nodes with a broker in memory, which loses and repeats messages as the test says.

mod any_order;
mod rules;
mod shares;
mod signed;
mod timing;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::broker::{BrokerError, Request};
use crate::id::SessionId;

/// What has become of a relay on one node.
#[derive(Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    /// How many of them wait on this node.
    waiting: usize,
    ends: usize,
    why: Option<RelayEnd>,
    reset: Option<Reset>,
    end: Option<Final>,
    room: usize,
}

struct Node {
    relays: Relays,
    subscriptions: BTreeSet<Bytes>,
    seen: BTreeMap<LineId, Seen>,
}

/// A message on its way.
#[derive(Clone)]
struct Post {
    to: usize,
    channel: Bytes,
    payload: Bytes,
}

struct World {
    now: Time,
    nodes: Vec<Node>,
    posts: VecDeque<Post>,
    published: usize,
    seed: u8,
    cluster: ClusterConfig,
    /// Which messages get lost.
    loses: fn(&Body) -> bool,
    /// How often nodes have asked for the number of subscribers, and what the broker says to it.
    questions: usize,
    counting: Counting,
}

/// What the broker answers to a question how many hear a channel.
enum Counting {
    Says,
    Fails,
    IsSilent,
}

fn config() -> RelayConfig {
    RelayConfig::default().max_waiting_bytes(20_000_u32)
}

impl World {
    fn new(count: usize, config: &RelayConfig) -> Self {
        Self::of(count, config, ClusterConfig::default())
    }

    fn of(count: usize, config: &RelayConfig, cluster: ClusterConfig) -> Self {
        let mut world = Self {
            now: Time::from_millis(1),
            nodes: Vec::new(),
            posts: VecDeque::new(),
            published: 0,
            seed: 0,
            cluster,
            loses: |_| false,
            questions: 0,
            counting: Counting::Says,
        };
        for _ in 0..count {
            let node = world.make(config);
            world.nodes.push(node);
            world.begin(world.nodes.len() - 1);
        }
        world.settle();
        world
    }

    fn make(&mut self, config: &RelayConfig) -> Node {
        self.seed += 1;
        let seed = self.seed;
        let entropy = Box::new(move |out: &mut [u8]| out.fill(seed));
        Node {
            relays: Relays::new(config.clone(), &self.cluster, [seed; 16], entropy).unwrap(),
            subscriptions: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    fn begin(&mut self, at: usize) {
        self.act(at, |relays, _, out| relays.start(out));
        self.event(at, &Event::Up);
    }

    /// Replaces a node by a new process.
    fn restart(&mut self, at: usize, config: &RelayConfig) {
        self.nodes[at] = self.make(config);
        self.begin(at);
    }

    fn act<R>(&mut self, at: usize, act: impl FnOnce(&mut Relays, Time, &mut RelayOutputs) -> R) -> R {
        let mut out = RelayOutputs::default();
        let result = act(&mut self.nodes[at].relays, self.now, &mut out);
        for delivery in out.deliveries {
            self.note(at, delivery);
        }
        for command in out.commands {
            self.command(at, command);
        }
        result
    }

    fn note(&mut self, at: usize, delivery: RelayDelivery) {
        let seen = &mut self.nodes[at].seen;
        match delivery {
            RelayDelivery::Opened { line, bytes, .. } => {
                let before = seen.insert(
                    line,
                    Seen {
                        waiting: bytes.len(),
                        bytes: bytes.to_vec(),
                        ..Seen::default()
                    },
                );
                assert!(before.is_none(), "{line:?} twice");
            }
            RelayDelivery::Bytes { line, bytes, end } => {
                let seen = seen.get_mut(&line).unwrap();
                assert_eq!(seen.ends, 0, "bytes behind the end");
                seen.bytes.extend_from_slice(&bytes);
                seen.waiting += bytes.len();
                if end.is_some() {
                    (seen.end, seen.ends) = (end, 1);
                }
            }
            RelayDelivery::Room { line } => seen.get_mut(&line).unwrap().room += 1,
            RelayDelivery::Ended { line, why, reset } => {
                let seen = seen.get_mut(&line).unwrap();
                seen.ends += 1;
                assert_eq!(seen.ends, 1, "it ends once");
                (seen.why, seen.reset) = (Some(why), reset);
            }
        }
    }

    fn command(&mut self, at: usize, command: Command) {
        match command {
            Command::Subscribe { channel, sharded } => {
                self.nodes[at].subscriptions.insert(channel.clone());
                self.event(at, &Event::Subscribed { channel, sharded });
            }
            Command::Unsubscribe { channel, .. } => _ = self.nodes[at].subscriptions.remove(&channel),
            Command::Publish { channel, payload, .. } => {
                self.published += 1;
                if Message::decode(&payload).is_some_and(|message| (self.loses)(&message.body)) {
                    return;
                }
                for (to, node) in self.nodes.iter().enumerate() {
                    if node.subscriptions.contains(&channel) {
                        let (channel, payload) = (channel.clone(), payload.clone());
                        self.posts.push_back(Post { to, channel, payload });
                    }
                }
            }
            Command::Request {
                tag,
                request: Request::Subscribers { channel, .. },
            } => {
                let count = self
                    .nodes
                    .iter()
                    .filter(|node| node.subscriptions.contains(&channel))
                    .count();
                self.questions += 1;
                let answer = match self.counting {
                    Counting::Says => Ok(Answer::Count(count as u64)),
                    Counting::Fails => Err(BrokerError::Closed),
                    Counting::IsSilent => return,
                };
                self.event(at, &Event::Answer { tag, answer });
            }
            other => panic!("{other:?}"),
        }
    }

    fn event(&mut self, at: usize, event: &Event) {
        self.act(at, |relays, now, out| relays.handle_event(now, event, out));
    }

    fn deliver(&mut self, post: Post) {
        let Post { to, channel, payload } = post;
        let sharded = false;
        self.event(
            to,
            &Event::Message {
                channel,
                payload,
                sharded,
            },
        );
    }

    /// Carries messages until there are none.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(post) = self.posts.pop_front() else { return };
            self.deliver(post);
        }
        panic!("messages go round for ever");
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let next = self.nodes.iter().filter_map(|node| node.relays.next_timeout()).min();
            self.now = next
                .filter(|next| *next <= until)
                .map_or(until, |next| next.max(self.now));
            for at in 0..self.nodes.len() {
                self.act(at, |relays, now, out| relays.handle_timeout(now, out));
            }
            self.settle();
            if self.now >= until {
                return;
            }
        }
    }

    fn id(&self, at: usize) -> alloc::string::String {
        let id = SessionId::new(&self.nodes[at].relays.key, 1, 2, [3; 16]);
        core::str::from_utf8(&id.base64()).unwrap().into()
    }

    /// Opens a relay from a node to another one.
    fn open(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<LineId, RelayEnd> {
        self.open_for("192.0.2.1:1", from, to, bytes)
    }

    fn open_for(&mut self, client: &str, from: usize, to: usize, bytes: &[u8]) -> Result<LineId, RelayEnd> {
        let owner = self.nodes[from].relays.owner_of(&self.id(to)).ok_or(RelayEnd::Gone)?;
        let peer = Peer {
            address: Some(client.parse().unwrap()),
            secure: false,
        };
        let (line, _) = self.act(from, |relays, now, out| relays.open(now, owner, peer, bytes, out))?;
        self.nodes[from].seen.insert(line, Seen::default());
        Ok(line)
    }

    /// The other end of a relay of node 0.
    fn other(&self, line: LineId) -> LineId {
        match line {
            LineId::Outgoing(number) => LineId::Incoming(self.nodes[0].relays.name, number),
            LineId::Incoming(_, number) => LineId::Outgoing(number),
        }
    }

    fn seen(&self, at: usize, line: LineId) -> &Seen {
        &self.nodes[at].seen[&line]
    }

    fn counters(&self, at: usize) -> RelayCounters {
        self.nodes[at].relays.counters()
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[test]
fn a_request_is_one_message_and_its_answer_another() {
    let mut world = World::new(3, &config());
    let before = world.published;
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    assert_eq!(world.seen(1, there).bytes, REQUEST);
    let sent = world.act(1, |relays, now, out| {
        relays.send(now, there, b"answer", Some(Final::KeepsAlive), out)
    });
    assert_eq!(sent, 6);
    world.settle();
    let seen = world.seen(0, line);
    assert_eq!((&seen.bytes[..], seen.end), (&b"answer"[..], Some(Final::KeepsAlive)));
    assert_eq!(world.published - before, 2);
    for at in [0, 1] {
        let counters = world.counters(at);
        assert_eq!(
            (
                counters.outgoing.current,
                counters.incoming.current,
                counters.waiting_bytes
            ),
            (0, 0, 0)
        );
        assert_eq!(counters.nodes, 2);
    }
    assert_eq!(world.counters(0).outgoing.ended(RelayEnd::Answered), 1);
    assert_eq!(world.counters(1).incoming.ended(RelayEnd::Answered), 1);
}

/// A thief who makes ids up causes no message, and one who has an id pays for each request.
#[test]
fn who_asks_too_much_is_refused_before_anything_is_sent() {
    let mut world = World::new(2, &config().max_relays_per_address(2).max_requests_per_second(1_u32));
    let before = world.published;
    let made_up = SessionId::new(&[77; 16], 1, 2, [3; 16]).base64();
    let made_up = core::str::from_utf8(&made_up).unwrap();
    assert_eq!(world.nodes[0].relays.owner_of(made_up), None);
    assert_eq!(world.nodes[0].relays.owner_of(&world.id(0)), None, "its own");
    for text in ["", "x", "é", &"A".repeat(32)] {
        assert_eq!(world.nodes[0].relays.owner_of(text), None, "{text}");
    }
    let line = world.open(0, 1, REQUEST).unwrap();
    world.act(0, |relays, now, out| relays.reset(now, line, Reset::Closed, out));
    world.open(0, 1, REQUEST).unwrap();
    assert_eq!(world.open(0, 1, REQUEST), Err(RelayEnd::NoRoom), "a burst of two");
    assert_eq!(world.published - before, 3);
    assert_eq!(world.counters(0).outgoing.ended(RelayEnd::NoRoom), 1);

    let mut world = World::new(2, &config().max_relays(1_usize));
    let line = world.open(0, 1, REQUEST).unwrap();
    assert_eq!(world.open(0, 1, REQUEST), Err(RelayEnd::NoRoom), "one at the same time");
    world.settle();
    // The owner has a limit of its own.
    let (from, to) = (world.nodes[0].relays.name, world.nodes[1].relays.own.clone());
    let body = Body::Open {
        window: 20_000,
        peer: Peer::default(),
        bytes: Bytes::from_static(REQUEST),
    };
    let open = Message {
        sender: from,
        line: 0x0101_0101_0101_0199,
        is_answer: false,
        body,
    }
    .encode();
    world.deliver(Post {
        to: 1,
        channel: to,
        payload: open,
    });
    assert_eq!(world.counters(1).incoming.ended(RelayEnd::NoRoom), 1);
    assert_eq!(world.counters(1).incoming.current, 1);
    assert_eq!(world.seen(0, line).ends, 0);
}

#[test]
fn each_end_sends_what_the_other_takes_and_not_more() {
    let mut world = World::new(2, &config());
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
    let line = world.open(0, 1, &bytes).unwrap();
    world.settle();
    let there = world.other(line);
    let mut sent = RelayConfig::FIRST_BYTES as usize;
    assert_eq!(world.seen(1, there).bytes.len(), sent);
    assert_eq!(world.act(0, |relays, _, _| relays.room(line)), 0);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    for _ in 0..1_000 {
        world.settle();
        sent += world.act(0, |relays, now, out| relays.send(now, line, &bytes[sent..], None, out));
        world.settle();
        assert!(world.counters(1).waiting_bytes <= 20_000);
        let rooms = world.seen(0, line).room;
        world.act(1, |relays, now, out| relays.keep(now, there, 0, out));
        world.settle();
        if sent == bytes.len() {
            break;
        }
        assert_eq!(world.seen(0, line).room, rooms + 1, "it is told that there is room");
    }
    assert_eq!(world.seen(1, there).bytes, bytes);
    // An answer that the client does not read waits at its owner.
    let answered = world.act(1, |relays, now, out| {
        relays.send(now, there, &bytes, Some(Final::Closes), out)
    });
    assert_eq!(answered, 20_000);
    world.settle();
    assert_eq!(world.act(1, |relays, _, _| relays.room(there)), 0);
    world.act(0, |relays, now, out| relays.keep(now, line, 15_000, out));
    world.settle();
    assert_eq!(
        world.act(1, |relays, _, _| relays.room(there)),
        0,
        "half of the window is worth a message"
    );
    world.act(0, |relays, now, out| relays.keep(now, line, 10_000, out));
    world.settle();
    assert_eq!(world.act(1, |relays, _, _| relays.room(there)), 10_000);
}

/// A node whose process was killed says nothing. The broker knows that nobody hears it.
#[test]
fn a_killed_node_is_noticed_and_its_ids_are_refused() {
    let mut world = World::new(3, &config());
    let id = world.id(1);
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.settle();
    world.nodes[1].subscriptions.clear();
    world.nodes[1].relays.is_closed = true;
    world.pass(Duration::from_millis(1_100));
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::Gone));
    assert_eq!(world.nodes[0].relays.owner_of(&id), None);
    assert!(world.nodes[2].relays.owner_of(&id).is_some(), "nobody has asked there");
    world.pass(Duration::from_secs(16));
    assert_eq!(world.nodes[2].relays.owner_of(&id), None);
}

#[test]
fn a_node_that_goes_says_so() {
    let mut world = World::new(2, &config());
    let id = world.id(1);
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    world.act(1, |relays, now, out| relays.close(now, out));
    world.settle();
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::Gone));
    assert_eq!(world.seen(1, world.other(line)).ends, 1);
    assert_eq!(world.nodes[0].relays.owner_of(&id), None);
    assert_eq!(world.nodes[1].relays.next_timeout(), None);
}

#[test]
fn without_a_broker_relays_end_and_later_requests_are_refused() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    for at in [0, 1] {
        world.event(
            at,
            &Event::Down {
                why: BrokerError::Closed,
            },
        );
    }
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::NoBroker));
    assert_eq!(world.seen(1, world.other(line)).why, Some(RelayEnd::NoBroker));
    assert_eq!(world.open(0, 1, REQUEST), Err(RelayEnd::NoBroker));
    // It was away for longer than nodes may be silent, and nobody is forgotten.
    world.pass(Duration::from_secs(100));
    for at in [0, 1] {
        let channel = world.nodes[at].relays.own.clone();
        world.event(
            at,
            &Event::Subscribed {
                channel,
                sharded: false,
            },
        );
        world.event(at, &Event::Up);
    }
    world.open(0, 1, REQUEST).unwrap();
}

#[test]
fn an_owner_that_says_nothing_is_not_waited_for() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.posts.clear();
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.seen(0, line).ends, 0);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::Silent));
}

/// A websocket on which nobody says anything stays, and one whose other end has forgotten it goes.
#[test]
fn a_quiet_relay_stays_as_long_as_both_ends_know_it() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.pass(Duration::from_secs(600));
    assert_eq!((world.seen(0, line).ends, world.seen(1, there).ends), (0, 0));
    // The word about its end is lost.
    world.act(1, |relays, now, out| relays.reset(now, there, Reset::Failed, out));
    world.posts.clear();
    world.pass(Duration::from_secs(21));
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::Broken));
    assert_eq!(world.seen(0, line).reset, Some(Reset::Unknown));

    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.pass(Duration::from_secs(86_401));
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::TooOld));
    assert_eq!(world.seen(1, there).ends, 1);
}

#[test]
fn what_is_lost_ends_the_relay_and_what_comes_twice_counts_once() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    let open = world.posts[0].clone();
    world.deliver(open);
    world.settle();
    let there = world.other(line);
    assert_eq!(world.counters(1).repeated, 1);
    for bytes in [b"a", b"b", b"c"] {
        world.act(1, |relays, now, out| relays.send(now, there, bytes, None, out));
    }
    let first = world.posts.pop_front().unwrap();
    world.deliver(first.clone());
    world.deliver(first);
    assert_eq!(world.seen(0, line).bytes, b"a");
    world.posts.pop_front();
    world.settle();
    assert_eq!(
        (world.seen(0, line).why, &world.seen(0, line).bytes[..]),
        (Some(RelayEnd::Broken), &b"a"[..])
    );
    assert_eq!(world.seen(1, there).reset, Some(Reset::Broken));
}

/// What somebody publishes who is no node of ours.
#[test]
fn nonsense_is_counted_and_ends_nothing() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let (own, all) = (world.nodes[0].relays.own.clone(), world.nodes[0].relays.all.clone());
    let LineId::Outgoing(number) = line else { panic!() };
    let stranger = NodeName([200; 12]);
    let message = |sender, is_answer, body| {
        Message {
            sender,
            line: number,
            is_answer,
            body,
        }
        .encode()
    };
    let reset = message(stranger, true, Body::Reset(Reset::Closed));
    let known = world.nodes[1].relays.name;
    let renamed = message(
        known,
        true,
        Body::Hello {
            key: [99; 16],
            asks: true,
        },
    );
    for (channel, payload) in [
        (&own, Bytes::new()),
        (&own, Bytes::from_static(b"{}")),
        (&own, reset),
        (&all, message(known, true, Body::Reset(Reset::Closed))),
        (&all, renamed),
        (
            &own,
            message(
                known,
                true,
                Body::Open {
                    window: 1,
                    peer: Peer::default(),
                    bytes: Bytes::new(),
                },
            ),
        ),
    ] {
        world.deliver(Post {
            to: 0,
            channel: channel.clone(),
            payload,
        });
    }
    world.settle();
    assert_eq!(world.counters(0).malformed, 6);
    assert_eq!(world.seen(0, line).ends, 0);
    // A node with the name of another cannot be told from it. Other relays are not touched.
    let before = world.published;
    for sender in 0..50 {
        let payload = message(NodeName([sender; 12]), false, Body::Credit { allowed: 1 });
        world.deliver(Post {
            to: 0,
            channel: own.clone(),
            payload,
        });
    }
    assert!(
        world.published - before <= 2,
        "strangers are asked for their names once a second"
    );
}

#[test]
fn nodes_and_bytes_are_bounded() {
    let config = config().max_nodes(2_usize).max_total_waiting_bytes(50_000_usize);
    let world = World::new(4, &config);
    assert_eq!((world.counters(0).nodes, world.counters(0).forgotten > 0), (2, true));
    let is_known = |at: &usize| world.nodes[0].relays.owner_of(&world.id(*at)).is_some();
    assert_eq!((1..4).filter(is_known).count(), 2);
    let mut world = World::new(2, &config);
    let lines: Vec<_> = (0..4).map(|_| world.open(0, 1, &[7; 16_384]).unwrap()).collect();
    world.settle();
    assert_eq!(world.counters(1).incoming.ended(RelayEnd::NoRoom), 1);
    assert!(world.counters(1).waiting_bytes <= 50_000);
    let refused = lines
        .iter()
        .filter(|line| world.seen(0, **line).why == Some(RelayEnd::NoRoom));
    assert_eq!(refused.count(), 1);
}

/// Somebody fills what may wait for all relays. Whoever brings a little has its answer.
#[test]
fn who_fills_the_room_of_all_relays_loses_it() {
    let config = config().max_total_waiting_bytes(50_000_usize);
    let mut world = World::new(2, &config);
    let quiet = world.open(0, 1, REQUEST).unwrap();
    let greedy: Vec<_> = (0..3).map(|_| world.open(0, 1, &[7; 16_384]).unwrap()).collect();
    world.settle();
    assert_eq!(world.counters(1).incoming.current, 4);
    let ended = |world: &World, lines: &[LineId]| lines.iter().filter(|line| world.seen(0, **line).ends > 0).count();
    // A neighbour brings more, ...
    let more = [1; 2_000];
    assert_eq!(
        world.act(0, |relays, now, out| relays.send(now, quiet, &more, None, out)),
        2_000
    );
    world.settle();
    assert_eq!((ended(&world, &[quiet]), ended(&world, &greedy)), (0, 1));
    assert_eq!(world.seen(1, world.other(quiet)).bytes.len(), REQUEST.len() + 2_000);
    // ... and others are new.
    let new: Vec<_> = (0..10).map(|_| world.open(0, 1, &[1; 2_000]).unwrap()).collect();
    world.settle();
    assert_eq!((ended(&world, &new), ended(&world, &greedy)), (0, 2));
    assert_eq!(world.counters(1).incoming.ended(RelayEnd::NoRoom), 2);
    // Who has the most and brings more is the one.
    let last = greedy
        .iter()
        .find(|line| world.seen(0, **line).ends == 0)
        .copied()
        .unwrap();
    let there = world.other(last);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.settle();
    let more: Vec<_> = (0..4).map(|_| world.open(0, 1, &[1; 2_800]).unwrap()).collect();
    world.settle();
    world.act(0, |relays, now, out| relays.send(now, last, &[7; 3_600], None, out));
    world.settle();
    assert_eq!(
        (ended(&world, &more), world.seen(0, last).why),
        (0, Some(RelayEnd::NoRoom))
    );
    assert!(world.counters(1).waiting_bytes <= 50_000);
}
