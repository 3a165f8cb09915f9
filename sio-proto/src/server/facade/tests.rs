use alloc::{format, vec};

use super::*;
use crate::server::{Command, Key, Message, Policy, Target};
use crate::{RateLimit, SocketKey};

/// A frame of a client with a short text. Its mask changes nothing.
fn frame(text: &[u8]) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat()
}

/// A request that becomes a websocket at this target.
fn upgrade(target: &str) -> Vec<u8> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    head.into_bytes()
}

const ENGINE4: &str = "/socket.io/?EIO=4&transport=websocket";

fn server(config: Config) -> Server {
    let mut drawn = 0u64;
    let random = move |out: &mut [u8]| {
        drawn += 1;
        for (at, byte) in out.iter_mut().enumerate() {
            *byte = drawn.to_le_bytes()[at % 8];
        }
    };
    Server::new(config, [7; 16], Box::new(random)).unwrap()
}

/// The outputs until there are no more: the links that get bytes, the links that end, and the
/// sockets that ask, which are accepted.
#[derive(Default)]
struct Taken {
    bytes: Vec<(LinkId, Bytes)>,
    ended: Vec<LinkId>,
    sockets: Vec<SocketKey>,
    gone: usize,
}

impl Taken {
    fn on(&self, link: LinkId) -> Vec<&Bytes> {
        let on = self.bytes.iter().filter(|(to, _)| *to == link);
        on.map(|(_, bytes)| bytes).collect()
    }
}

fn take(server: &mut Server) -> Taken {
    let mut taken = Taken::default();
    while let Some(output) = server.poll_output() {
        match output {
            Output::Bytes(link, bytes) => taken.bytes.push((link, bytes)),
            Output::End(link) => taken.ended.push(link),
            Output::Delivery(Delivery::Connect { socket, .. }) => {
                taken.sockets.push(socket);
                server.shard(Time::ZERO, |shard, out| shard.accept(Time::ZERO, socket, out));
            }
            Output::Delivery(Delivery::Disconnect { .. }) => taken.gone += 1,
            Output::Delivery(_) | Output::Request(..) => {}
        }
    }
    taken
}

fn send(server: &mut Server, link: LinkId, bytes: &[u8]) -> Taken {
    server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(bytes));
    take(server)
}

/// A websocket of 4.x that has joined `/`.
fn joined(server: &mut Server) -> (LinkId, SocketKey) {
    let link = server.open(Peer::default());
    let taken = send(server, link, &[upgrade(ENGINE4), frame(b"40")].concat());
    (link, taken.sockets[0])
}

/// What a connection was to be answered is not sent on another one, if its session has ended in the
/// same bytes.
#[test]
fn answers_go_to_their_own_peer() {
    let ping = [0x89, 0x81, 0, 0, 0, 0, b'a'];
    let close = [0x88, 0x80, 0, 0, 0, 0];
    for behind in [&ping[..], &close[..]] {
        let mut server = server(Config::default());
        let (link, _) = joined(&mut server);
        let (other, _) = joined(&mut server);
        let taken = send(&mut server, link, &[&frame(b"4x")[..], behind].concat());
        assert_eq!((taken.ended, taken.gone), (vec![link], 1));
        let taken = send(&mut server, other, &frame(b"42[\"a\"]"));
        assert_eq!(taken.bytes, [], "{behind:?}");
    }
}

/// All links get what was sent to them before the next input, however many they are, and all
/// deliveries come that follow from it.
#[test]
fn a_turn_leaves_nothing_for_the_next_one() {
    let mut server = server(Config::default().max_queued_packets(2));
    let links: Vec<LinkId> = (0..3 * FLUSH + 1).map(|_| joined(&mut server).0).collect();
    let broadcast = |name: &'static str| Command::Broadcast {
        target: Target {
            namespace: "/".into(),
            ..Target::default()
        },
        message: Message::event("/".into(), name.into(), crate::socket::Args::default(), None),
    };
    server.shard(Time::ZERO, |shard, out| {
        shard.handle_command(Time::ZERO, broadcast("a"), out);
    });
    let taken = take(&mut server);
    for link in &links {
        assert_eq!(taken.on(*link), [&b"\x81\x0742[\"a\"]"[..]], "{link:?}");
    }
    // Sessions whose queues are full end, and their users hear of it.
    server.shard(Time::ZERO, |shard, out| {
        for name in ["b", "c", "d"] {
            shard.handle_command(Time::ZERO, broadcast(name), out);
        }
    });
    let taken = take(&mut server);
    assert_eq!((taken.gone, taken.ended.len()), (links.len(), links.len()));
}

/// A client of 0.6 may come back for what was not written, so its packets are kept until they are
/// written, and no longer.
#[test]
fn what_was_written_is_not_kept() {
    let mut server = server(Config::default());
    let link = server.open(Peer::default());
    let socket = send(&mut server, link, &upgrade("/socket.io/websocket")).sockets[0];
    let emit = |server: &mut Server| {
        let args = bytestring::ByteString::from_static("\"hello\"").into();
        let mut message = Message::event("/".into(), "message".into(), args, None);
        let sent = server.shard(Time::ZERO, |shard, _| {
            shard.emit(Time::ZERO, socket, &mut message, None)
        });
        assert_eq!(sent, Ok(()));
        take(server);
    };
    let kept = |server: &mut Server| {
        let outgoing = server
            .connection(link)
            .and_then(|connection| connection.outgoing.as_ref());
        outgoing.map(|outgoing| outgoing.room())
    };
    for by_bytes in [true, false] {
        for _ in 0..100 {
            for _ in 0..20 {
                emit(&mut server);
            }
            match by_bytes {
                true => _ = send(&mut server, link, &frame(b"~m~5~m~hello")),
                false => server.handle_timeout(Time::ZERO),
            }
            assert_eq!(kept(&mut server), Some(0));
        }
    }
    // While a part of them is not written, only what is written is forgotten.
    for _ in 0..20 {
        emit(&mut server);
    }
    let one = 2 + "~m~5~m~hello".len();
    server.handle_blocked(Time::ZERO, link, 7 * one - 1);
    send(&mut server, link, &frame(b"~m~5~m~hello"));
    let outgoing = server
        .connection(link)
        .and_then(|connection| connection.outgoing.take());
    assert_eq!(outgoing.unwrap().take().map(|frames| frames.len()), Some(7));
}

/// A command reads what has become of its own broadcasts, and not of earlier ones.
#[test]
fn a_command_reads_its_own_collisions() {
    let mut server = server(Config::default());
    let (link, _) = joined(&mut server);
    server.handle_blocked(Time::ZERO, link, 1);
    let collisions = |server: &mut Server, messages: usize| {
        server.shard(Time::ZERO, |shard, out| {
            for _ in 0..messages {
                let message = Message::event("/".into(), "a".into(), crate::socket::Args::default(), None);
                let target = Target {
                    namespace: "/".into(),
                    ..Target::default()
                };
                let message = message.policy(Policy::Merge(Key::new("/", "a", "k").unwrap()));
                shard.handle_command(Time::ZERO, Command::Broadcast { target, message }, out);
            }
            out.collisions.len()
        })
    };
    assert_eq!(collisions(&mut server, 3), 2);
    assert_eq!(collisions(&mut server, 0), 0);
}

/// Of a client that may not send more, no further frame is decoded: a packet takes more memory than
/// its bytes.
#[test]
fn what_may_not_come_stays_bytes() {
    let mut server = server(Config::default().session_rate(RateLimit::NONE.events(10, 5)));
    let (link, _) = joined(&mut server);
    send(&mut server, link, &frame(b"42[\"a\"]").repeat(20));
    let connection = server.connection(link).unwrap();
    let slowed = connection.slowed.as_ref().unwrap();
    assert_eq!(
        (slowed.packets.len(), connection.rest.len()),
        (0, 15 * frame(b"42[\"a\"]").len())
    );
}

/// The lists that an input fills, with the entries for which they have memory.
fn rooms(server: &Server) -> [usize; 4] {
    [
        server.queue.capacity(),
        server.outputs.deliveries.capacity(),
        server.outputs.writes.capacity(),
        server.arrivals.packets.capacity(),
    ]
}

#[test]
fn lists_give_back_what_one_large_input_has_needed() {
    let mut server = server(Config::default());
    let (link, _) = joined(&mut server);
    let many = 20 * MOST_KEPT;
    let mut bytes = BytesMut::from(&frame(b"42[\"a\"]").repeat(many)[..]);
    server.handle_bytes(Time::ZERO, link, &mut bytes);
    assert!(server.queue.capacity() >= many);
    let mut heard = 0;
    while let Some(output) = server.poll_output() {
        heard += usize::from(matches!(output, Output::Delivery(Delivery::Event { .. })));
    }
    assert_eq!(heard, many);
    let after = rooms(&server);
    assert!(after.iter().all(|room| *room <= MOST_KEPT), "{after:?}");
}

/// A client that goes while it may not send is forgotten at once, and costs nobody a look.
#[test]
fn a_slow_client_that_is_gone_is_forgotten() {
    let mut server = server(Config::default().session_rate(RateLimit::NONE.events(1, 1)));
    for _ in 0..10 {
        let (link, _) = joined(&mut server);
        send(&mut server, link, &frame(b"42[\"a\"]").repeat(3));
        assert_eq!(server.slow.len(), 1);
        server.handle_closed(Time::ZERO, link, Cause::Failed);
        take(&mut server);
        assert_eq!(server.slow.len(), 0);
    }
}

/// A buffer that grows keeps what was taken from its front. So does its count.
#[test]
fn a_buffer_that_grows_counts_what_was_taken_from_its_front() {
    let mut connection = Connection {
        conn: Conn::new(Arc::new(Config::default()), Peer::default()),
        rest: BytesMut::with_capacity(64_000),
        rest_memory: 64_000,
        slowed: None,
        blocked: None,
        outgoing: None,
    };
    connection.add_rest(&[b'x'; 64_000]);
    assert_eq!(connection.rest_memory, 64_000);
    bytes::Buf::advance(&mut connection.rest, 20_000);
    connection.add_rest(&[b'x'; 10_000]);
    let (memory, capacity) = (connection.rest_memory, connection.rest.capacity());
    assert_eq!(memory, capacity + 20_000);
    // Where nothing grows, nothing is counted.
    connection.add_rest(b"x");
    assert_eq!((connection.rest_memory, connection.rest.capacity()), (memory, capacity));
}
