//! Relays in a cluster with a secret.

use super::*;
use crate::Secret;

fn secret(byte: u8) -> ClusterConfig {
    ClusterConfig::default().secrets(alloc::vec![Secret::new([byte; 32])])
}

/// What nodes without the secret would write.
fn plain(sender: NodeName, line: u64, body: Body) -> Bytes {
    Message {
        sender,
        line,
        is_answer: false,
        body,
    }
    .encode()
}

fn open() -> Body {
    Body::Open {
        window: 20_000,
        peer: Peer::default(),
        bytes: Bytes::from_static(REQUEST),
    }
}

fn post(to: usize, channel: &Bytes, payload: Bytes) -> Post {
    let channel = channel.clone();
    Post { to, channel, payload }
}

#[test]
fn nodes_with_one_secret_pass_requests_on() {
    let mut world = World::of(2, &config(), secret(1));
    let line = world.open(0, 1, REQUEST).unwrap();
    assert_eq!(world.posts[0].payload[0], 2, "the version of signed messages");
    world.settle();
    let there = world.other(line);
    assert_eq!(world.seen(1, there).bytes, REQUEST);
    world.act(1, |relays, now, out| {
        relays.send(now, there, b"answer", Some(Final::KeepsAlive), out)
    });
    world.settle();
    assert_eq!(world.seen(0, line).bytes, b"answer");
    for at in [0, 1] {
        let counters = world.counters(at);
        assert_eq!((counters.unsigned, counters.forged, counters.replayed), (0, 0, 0));
    }
}

/// Somebody who can write to the broker, and does not know the secret.
#[test]
fn a_stranger_opens_nothing_and_ends_nothing() {
    let mut world = World::of(2, &config(), secret(1));
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    let LineId::Outgoing(number) = line else { panic!() };
    let (name, own) = (world.nodes[0].relays.name, world.nodes[1].relays.own.clone());
    let all = world.nodes[1].relays.all.clone();
    let bodies = [
        open(),
        Body::Reset(Reset::Closed),
        Body::Bye,
        Body::Credit { allowed: 1 },
    ];
    for (at, body) in bodies.into_iter().enumerate() {
        let channel = if body == Body::Bye { &all } else { &own };
        let payload = plain(name, number + at as u64, body);
        // Without a signature, with a wrong one, and as one that is cut.
        let mut forged = bytes::BytesMut::from(&payload[..]);
        forged[0] = 2;
        let cut = forged.clone().freeze();
        forged.extend_from_slice(&[7; 56]);
        for payload in [payload, forged.freeze(), cut] {
            world.deliver(post(1, channel, payload));
        }
    }
    let counters = world.counters(1);
    // A message that is cut has fewer bytes than a signature, or is forged.
    assert_eq!((counters.unsigned, counters.forged + counters.malformed), (4, 8));
    assert_eq!((counters.incoming.current, counters.nodes), (1, 1));
    assert_eq!(world.seen(1, there).ends, 0);
    // One bit of a genuine message.
    world.act(0, |relays, now, out| relays.send(now, line, b"more", None, out));
    let genuine = world.posts.pop_front().unwrap();
    for at in 0..genuine.payload.len() {
        let mut changed = genuine.payload.to_vec();
        changed[at] ^= 1;
        world.deliver(post(1, &own, changed.into()));
    }
    assert_eq!(world.seen(1, there).bytes, REQUEST);
    world.deliver(genuine);
    assert_eq!(world.seen(1, there).bytes.len(), REQUEST.len() + 4);
}

/// A signature is for one receiver, one time and once.
#[test]
fn what_is_published_again_is_refused() {
    let mut world = World::of(3, &config(), secret(1));
    let line = world.open(0, 1, REQUEST).unwrap();
    let opened = world.posts[0].clone();
    world.settle();
    world.deliver(opened.clone());
    assert_eq!((world.counters(1).replayed, world.counters(1).repeated), (1, 0));
    // At another node it would name this node's relay.
    let elsewhere = world.nodes[2].relays.own.clone();
    world.deliver(post(2, &elsewhere, opened.payload));
    assert_eq!((world.counters(2).forged, world.counters(2).incoming.total), (1, 0));
    let there = world.other(line);
    world.act(0, |relays, now, out| relays.send(now, line, b"late", None, out));
    let late = world.posts.pop_front().unwrap();
    world.now = world.now + Duration::from_millis(30_001);
    world.deliver(late);
    assert_eq!(world.counters(1).stale, 1);
    assert_eq!(world.seen(1, there).bytes, REQUEST);
}

/// The nodes of a cluster get their secret one after the other.
#[test]
fn a_secret_is_brought_in_without_an_interruption() {
    let mut world = World::new(1, &config());
    for accept in [true, false] {
        world.cluster = secret(1).accept_unsigned(accept);
        let node = world.make(&config());
        world.nodes.push(node);
        world.begin(world.nodes.len() - 1);
        world.settle();
    }
    // 0 has no secret, 1 takes what is not signed, 2 does not.
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let line = world.open(from, to, REQUEST).unwrap();
        world.settle();
        let LineId::Outgoing(number) = line else { panic!() };
        let there = LineId::Incoming(world.nodes[from].relays.name, number);
        assert_eq!(world.seen(to, there).bytes, REQUEST, "{from} to {to}");
    }
    assert_eq!(world.open(2, 0, REQUEST), Err(RelayEnd::Gone), "2 does not know 0");
    assert!(world.counters(2).unsigned > 0);
    let silent = world.open(0, 2, REQUEST).unwrap();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.seen(0, silent).why, Some(RelayEnd::Silent));
    // Another secret is none.
    world.cluster = secret(2);
    let node = world.make(&config());
    world.nodes.push(node);
    world.begin(3);
    world.pass(Duration::from_secs(6));
    assert!(world.counters(2).forged > 0 && world.counters(3).forged > 0);
    assert_eq!(world.open(2, 3, REQUEST), Err(RelayEnd::Gone));
}

/// More than any node sends is not looked at.
#[test]
fn what_is_too_large_is_not_verified() {
    let mut world = World::of(2, &config(), secret(1));
    let own = world.nodes[1].relays.own.clone();
    // The nodes of this test take 20,000 bytes at once.
    world.deliver(post(1, &own, alloc::vec![2; 20_200].into()));
    let counters = world.counters(1);
    assert_eq!((counters.malformed, counters.forged), (1, 0));
    world.deliver(post(1, &own, alloc::vec![2; 20_000].into()));
    let counters = world.counters(1);
    assert_eq!((counters.malformed, counters.forged), (1, 1));
    // As many as they take come through.
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    world.act(1, |relays, now, out| relays.keep(now, there, 0, out));
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.settle();
    let most = alloc::vec![7; 20_000];
    let sent = world.act(0, |relays, now, out| relays.send(now, line, &most, None, out));
    assert_eq!(sent, 20_000);
    world.settle();
    assert_eq!(world.seen(1, there).bytes.len(), REQUEST.len() + 20_000);
}

/// A process that is started again is a new sender, and its old name is known for a while. The
/// nodes may remember just as many others as there are.
#[test]
fn a_node_that_was_started_again_is_believed_at_once() {
    let config = config().max_nodes(2);
    let mut world = World::of(3, &config, secret(1));
    world.act(2, |relays, now, out| relays.close(now, out));
    world.settle();
    world.restart(2, &config);
    world.settle();
    for (from, to) in [(0, 2), (2, 1)] {
        let line = world.open(from, to, REQUEST).unwrap();
        world.settle();
        let LineId::Outgoing(number) = line else { panic!() };
        let there = LineId::Incoming(world.nodes[from].relays.name, number);
        assert_eq!(world.seen(to, there).bytes, REQUEST, "{from} to {to}");
    }
    assert_eq!(world.counters(0).forgotten, 0);
}

/// docs/protocol/cluster-redis.md §12. The signature is that of Python's `hmac`.
#[test]
fn a_signature_has_its_place() {
    let world = World::of(1, &config(), secret(1));
    let signing = world.nodes[0].relays.signing.as_ref().unwrap();
    let message = Message {
        sender: NodeName([9; 12]),
        line: 5,
        is_answer: true,
        body: Body::Credit { allowed: 7 },
    };
    let signed = signing.sign(Time::from_millis(6), b"socket.io-relay#x#", &message);
    let front = [&b"\x02\x85"[..], &[9; 12], &5_u64.to_be_bytes(), &7_u64.to_be_bytes()].concat();
    assert_eq!(signed[..front.len()], front);
    let stamp = &signed[front.len()..front.len() + 24];
    assert_eq!(
        stamp,
        [&[1; 8][..], &2_u64.to_be_bytes(), &6_u64.to_be_bytes()].concat()
    );
    let mac: alloc::string::String = signed[front.len() + 24..]
        .iter()
        .map(|byte| alloc::format!("{byte:02x}"))
        .collect();
    assert_eq!(mac, "c4cf96dd51dcc466e75b6bdbe65dea3835766bccae1d2fa06344c61e8aaac658");
}

/// Whoever knows the secret can sign under many names. Only so many are known at once.
#[test]
fn as_many_signers_are_known_as_there_may_be() {
    let world = World::of(6, &config().max_nodes(1), secret(1));
    let counters = world.counters(0);
    assert_eq!((counters.nodes, counters.replayed, counters.stale), (1, 0, 0));
    assert!(counters.forgotten >= 4, "{counters:?}");
}
