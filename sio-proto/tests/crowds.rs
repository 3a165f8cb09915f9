//! Crowds: how much one address, and one session, can take from the others, in number and in bytes.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use common::*;
use sio_proto::server::transcript::{Detail, Limits, RecorderOptions, replay};
use sio_proto::server::{Cause, Delivery, Handshake, LocalQuota, NoRoom, Peer, QuotaLimits, SendError, SessionQuota};
use sio_proto::{Config, LinkId};

/// A link from this address.
fn from(world: &mut World, address: &str) -> LinkId {
    let address = SocketAddr::new(address.parse().unwrap(), 4000);
    world.server.open(Peer {
        address: Some(address),
        ..Peer::default()
    })
}

/// The status of an answer to a handshake by polling, on this link.
fn handshake(world: &mut World, link: LinkId, target: &str) -> (u16, String) {
    world.send(link, &get(target));
    let answer = world.received(link);
    (status(&answer), answer)
}

fn polling(world: &mut World, address: &str) -> u16 {
    let link = from(world, address);
    handshake(world, link, "/socket.io/?EIO=4&transport=polling").0
}

/// A websocket client from this address that has joined.
fn joined(world: &mut World, address: &str) -> LinkId {
    let link = from(world, address);
    world.send(link, &upgrade("/socket.io/?EIO=4&transport=websocket"));
    world.send(link, &text("40"));
    world.received(link);
    link
}

/// Hardening A7: a connection that asks for session after session gets as many as its address may
/// have. Other addresses still get sessions.
#[test]
fn one_address_cannot_take_all_sessions() {
    let config = Config::default().max_sessions(100).max_sessions_per_address(10);
    let mut world = World::new(config);
    let first = joined(&mut world, "192.0.2.9");
    world.heard();
    let link = from(&mut world, "192.0.2.1");
    for _ in 0..1_000 {
        world.send(link, &get("/socket.io/?EIO=4&transport=polling"));
        world.send(link, &get("/socket.io/?EIO=3&transport=polling"));
        world.send(link, &get("/socket.io/1/"));
        world.send(link, &get("/socket.io/xhr-polling//1"));
        assert!(world.sessions() <= 11, "{}", world.sessions());
    }
    assert_eq!(polling(&mut world, "192.0.2.2"), 200);
    world.send(first, &text("42[\"still there\"]"));
    assert!(world.heard().contains(&"event still there ".to_owned()));
}

/// Hardening A7: sessions that have joined are not ended to make room. Further sessions of an
/// address that has too many are refused.
#[test]
fn sessions_that_have_joined_stay() {
    let config = Config::default().max_sessions(3).max_sessions_per_address(2);
    let mut world = World::new(config);
    let links = [joined(&mut world, "2001:db8::1"), joined(&mut world, "2001:db8::2")];
    assert_eq!(polling(&mut world, "2001:db8::3"), 503, "of the same network");
    assert_eq!(polling(&mut world, "2001:db8:0:1::1"), 200);
    // There is no room in total, so the session that has joined nothing is ended.
    joined(&mut world, "192.0.2.1");
    assert_eq!(polling(&mut world, "192.0.2.2"), 503);
    world.cut(links[0], Cause::Closed);
    assert_eq!(polling(&mut world, "2001:db8::3"), 200, "there is room again");
    assert_eq!(world.sessions(), 3);
}

/// Hardening A7: in a crowd, sessions that join nothing live for seconds only.
#[test]
fn in_a_crowd_those_who_want_nothing_live_seconds() {
    let config = Config::default().max_sessions(8);
    let mut world = World::new(config);
    for number in 1..=6 {
        assert_eq!(polling(&mut world, &format!("192.0.2.{number}")), 200);
    }
    world.pass(4_900);
    assert_eq!(polling(&mut world, "192.0.2.100"), 200);
    assert_eq!(world.sessions(), 7, "they have had no time yet");
    world.pass(200);
    assert_eq!(polling(&mut world, "192.0.2.101"), 200);
    assert_eq!(world.sessions(), 6, "two have gone for one");
}

/// Hardening A7: sessions are counted in bytes too. The sessions of one address keep no more of
/// their clients' bytes than the address may have.
#[test]
fn what_an_address_keeps_is_bounded_in_bytes() {
    let config = Config::default().max_kept_bytes_per_address(100_000);
    let mut world = World::new(config);
    let target = format!("/socket.io/?EIO=4&transport=polling&q={}", "x".repeat(7_000));
    for _ in 0..100 {
        let link = from(&mut world, "192.0.2.1");
        assert_eq!(handshake(&mut world, link, &target).0, 200);
        assert!(world.sessions() <= 12);
    }
    let link = from(&mut world, "192.0.2.2");
    assert_eq!(handshake(&mut world, link, &target).0, 200);
}

/// Hardening A7: the fields of a head that fit are kept, first the fields that applications look
/// for. No field is cut.
#[test]
fn of_a_head_a_few_kilobytes_are_kept() {
    let config = Config::default().max_handshake_bytes(1_000);
    let mut world = World::new(config);
    world.accepts = false;
    let padding: Vec<String> = (0..40).map(|n| format!("X-Padding-{n}: {}", "x".repeat(60))).collect();
    let cookie = format!("Cookie: {}", "c".repeat(300));
    let mut headers: Vec<&str> = padding.iter().map(|line| &**line).collect();
    headers.extend([&*cookie, "User-Agent: agent", "X-Last: short"]);
    let link = from(&mut world, "192.0.2.1");
    world.send(
        link,
        &request("GET", "/socket.io/?EIO=3&transport=polling&token=a", &headers, ""),
    );
    let Some(Delivery::Connect { handshake, .. }) = world.deliveries.pop() else {
        panic!("asked for the namespace")
    };
    let handshake: &Handshake = &handshake;
    assert_eq!(handshake.header("cookie").map(str::len), Some(300));
    assert_eq!(handshake.header("user-agent"), Some("agent"));
    assert_eq!(handshake.header("x-padding-0").map(str::len), Some(60));
    assert_eq!(handshake.header("x-padding-39"), None);
    assert_eq!(handshake.query_value("token").as_deref(), Some("a"));
    let bytes: usize = handshake
        .headers()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    assert!((900..=1_000).contains(&bytes), "{bytes}");
    let kept = handshake.headers().count();
    assert!(
        handshake.left_out() >= 40 - kept && handshake.left_out() < 44 - 2,
        "{}",
        handshake.left_out()
    );
}

/// Hardening A5: a payload full of CONNECTs, each with a long query, costs the shard next to
/// nothing, and ends its session.
#[test]
fn a_payload_of_connects_does_not_stop_a_shard() {
    for version in ["EIO=3", "EIO=4"] {
        let mut world = World::new(Config::default());
        let query: String = (0..1_000).map(|n| format!("&k{n}=v")).collect();
        let link = world.open();
        let (_, answer) = handshake(
            &mut world,
            link,
            &format!("/socket.io/?{version}&transport=polling{query}"),
        );
        let sid = sid(&answer);
        let bystander = world.bystander();
        world.heard();
        let packets = (10_000..75_000).map(|n| format!("40/{n},"));
        let connects = match version {
            "EIO=3" => packets.map(|packet| format!("{}:{packet}", packet.len())).collect(),
            _ => packets.collect::<Vec<_>>().join("\u{1e}"),
        };
        let target = format!("/socket.io/?{version}&transport=polling&sid={sid}");
        assert_eq!(status(&world.ask(&post(&target, &connects))), 200);
        let heard = world.heard();
        let asked = heard.iter().filter(|line| line.starts_with("connect")).count();
        assert_eq!(asked, if version == "EIO=3" { 31 } else { 32 }, "{version}");
        let answers: String = (0..12).map(|_| world.ask(&get(&target))).collect();
        // The first 32 are let in and the others are refused, until there are too many for one
        // second.
        assert_eq!(
            answers.matches("Too many namespaces").count(),
            128 - asked,
            "{version} {answers}"
        );
        world.assert_works(bystander.0, bystander.1);
    }
}

/// Hardening A5: CONNECT and DISCONNECT in turn, and CONNECTs for namespaces that do not exist, are
/// limited for each second.
#[test]
fn connects_are_limited_for_each_second() {
    let mut world = World::new(Config::default().max_connects_per_second(10));
    let link = joined(&mut world, "192.0.2.1");
    for second in 0..3 {
        for number in 0..9 {
            world.send(link, &text(&format!("40/n{number},")));
            world.send(link, &text(&format!("41/n{number},")));
        }
        let heard = world.heard();
        assert_eq!(
            heard.iter().filter(|line| line.starts_with("connect /n")).count(),
            9,
            "second {second}"
        );
        world.pass(1_000);
    }
    for _ in 0..11 {
        world.send(link, &text("40/x,"));
        world.send(link, &text("41/x,"));
    }
    assert_eq!(world.sessions(), 0);
}

/// Hardening A14: the names of a socket's rooms are counted in bytes.
#[test]
fn rooms_weigh() {
    let mut world = World::new(
        Config::default()
            .max_room_name_bytes(100)
            .max_room_bytes_per_socket(1_000),
    );
    let bystander = world.bystander();
    let (_, socket) = bystander;
    let name = |number: usize| format!("{number:0>100}");
    let join = |world: &mut World, name: &str| world.shard(|shard, _| shard.join(socket, name));
    assert_eq!(join(&mut world, &"x".repeat(101)), Err(SendError::Full));
    for number in 0..10 {
        assert_eq!(join(&mut world, &name(number)), Ok(()));
    }
    assert_eq!(join(&mut world, "y"), Err(SendError::Full));
    assert_eq!(join(&mut world, &name(3)), Ok(()), "it is there already");
    world.shard(|shard, _| shard.leave(socket, &name(3)));
    assert_eq!(join(&mut world, "y"), Ok(()));
    assert_eq!(world.shard(|shard, _| shard.rooms(socket).len()), 10);
}

/// Hardening A14: the `auth` of clients is counted in bytes, for all namespaces of a session
/// together. The bytes are released when the clients leave.
#[test]
fn auth_weighs() {
    let mut world = World::new(Config::default().max_auth_bytes(1_000));
    let link = joined(&mut world, "192.0.2.1");
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(592));
    world.send(link, &text(&format!("40/a,{long}")));
    world.send(link, &text(&format!("40/b,{long}")));
    let frames = world.frames(link);
    assert!(frames[0].starts_with("40/a,"), "{frames:?}");
    assert_eq!(frames[1], r#"44/b,{"message":"Too much auth"}"#);
    world.send(link, &text("41/a,"));
    world.send(link, &text(&format!("40/b,{long}")));
    assert!(world.frames(link)[0].starts_with("40/b,"));

    // In the query of a CONNECT, as clients of 2.x send it.
    let link = from(&mut world, "192.0.2.1");
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    world.frames(link);
    let query = "x".repeat(600);
    world.send(link, &text(&format!("40/a?{query},")));
    world.send(link, &text(&format!("40/b?{query},")));
    let frames = world.frames(link);
    assert_eq!(
        frames,
        ["40/a,", "44/b,\"Too much auth\""],
        "as clients of 2.x write it"
    );
    // Longer than any query may be.
    world.send(link, &text(&format!("40/c?{},", "x".repeat(8_193))));
    assert_eq!(world.frames(link), ["close"]);
}

/// Hardening A14: CONNECTs that wait for `/` are counted in bytes, too.
#[test]
fn connects_that_wait_weigh() {
    let mut world = World::new(Config::default().max_auth_bytes(1_000));
    world.accepts = false;
    let link = from(&mut world, "192.0.2.1");
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    world.frames(link);
    let query = "x".repeat(600);
    world.send(link, &text(&format!("40/a?{query},")));
    world.send(link, &text(&format!("40/b?{query},")));
    assert_eq!(world.frames(link), ["44/b,\"Too much auth\""]);
}

/// Hardening A14: CONNECTs that wait for `/` count for their address. What does not fit is refused,
/// and the session goes on.
#[test]
fn connects_that_wait_weigh_for_their_address() {
    let mut world = World::new(Config::default().max_kept_bytes_per_address(150_000));
    world.accepts = false;
    let query = "x".repeat(8_000);
    let links = [(); 3].map(|()| {
        let link = from(&mut world, "192.0.2.1");
        world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
        world.frames(link);
        for name in 'a'..='g' {
            world.send(link, &text(&format!("40/{name}?{query},")));
        }
        (link, world.frames(link))
    });
    assert_eq!(links[0].1, [""; 0]);
    assert_eq!(links[1].1, [""; 0]);
    // All up to 4 KiB are free for each session.
    let refused: Vec<_> = ('a'..='g').map(|name| format!("44/{name},\"Too much auth\"")).collect();
    assert_eq!(links[2].1, refused);
    // A session that ends makes room.
    world.cut(links[0].0, Cause::Closed);
    world.send(links[2].0, &text(&format!("40/a?{query},")));
    assert_eq!(world.frames(links[2].0), [""; 0]);
}

/// Hardening A14: packets of 0.9 for a namespace that is joined count no more for their address.
#[test]
fn packets_that_are_delivered_weigh_no_more() {
    let mut world = World::new(Config::default().max_kept_bytes_per_address(400_000));
    let large = format!("5::/a:{{\"name\":\"n\",\"args\":[\"{}\"]}}", "x".repeat(50_000));
    for _ in 0..5 {
        let link = from(&mut world, "192.0.2.1");
        world.send(link, &get("/socket.io/1/"));
        let id = body(&world.received(link)).split(':').next().unwrap().to_owned();
        let link = from(&mut world, "192.0.2.1");
        world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
        assert_eq!(world.frames(link), ["1::"]);
        world.heard();
        for _ in 0..4 {
            world.send(link, &text(&large));
        }
        world.send(link, &text("1::/a"));
        assert_eq!(world.frames(link), ["1::/a"]);
        let events = world.heard().iter().filter(|line| line.starts_with("event n")).count();
        assert_eq!(events, 4);
    }
    assert_eq!(world.sessions(), 5);
}

/// Hardening A14: the packets ahead of the end of a POST are together as large as one message, not
/// each of them.
#[test]
fn packets_ahead_of_an_upgrade_weigh() {
    let mut world = World::new(Config::default().max_payload(1_000));
    let sid = world.join_polling();
    world.heard();
    let link = world.candidate(&sid);
    let body = "POST /socket.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
    let slow = world.open();
    world.send(slow, body.replace("SID", &sid).as_bytes());
    world.send(link, &text("5"));
    let message = format!("42[\"m\",\"{}\"]", "x".repeat(400));
    world.send(link, &text(&message));
    world.send(link, &text(&message));
    assert_eq!(world.sessions(), 1);
    world.send(link, &text(&message));
    assert_eq!(world.sessions(), 0, "three are more than one may be");
}

/// Hardening A14: packets that wait for their attachments count for their address and for the
/// server.
#[test]
fn attachments_that_are_awaited_weigh() {
    let mut world = World::new(Config::default().max_kept_bytes_per_address(210_000));
    let bystander = joined(&mut world, "192.0.2.2");
    let links: Vec<LinkId> = (0..4).map(|_| joined(&mut world, "192.0.2.1")).collect();
    world.heard();
    for link in &links {
        world.send(*link, &text("452-[\"m\"]"));
        world.send(*link, &binary(&[0; 60_000]));
    }
    let ended = world
        .heard()
        .iter()
        .filter(|line| line.starts_with("disconnect"))
        .count();
    assert_eq!((ended, world.sessions()), (1, 4), "one was too much");
    for link in &links[..3] {
        world.send(*link, &binary(&[0; 10]));
    }
    assert_eq!(world.heard().len(), 3, "what fits arrives");
    world.send(links[0], &text("452-[\"m\"]"));
    world.send(links[0], &binary(&[0; 60_000]));
    world.send(bystander, &text("42[\"fine\"]"));
    assert_eq!(world.heard(), ["event fine "]);
}

/// Hardening A14: the packets of one POST are counted.
#[test]
fn packets_of_one_payload_are_counted() {
    let mut world = World::new(Config::default().max_packets_per_payload(3));
    let sid = world.join_polling();
    world.heard();
    assert_eq!(
        status(&world.push(&sid, "42[\"a\"]\u{1e}42[\"b\"]\u{1e}42[\"c\"]")),
        200
    );
    assert_eq!(world.heard().len(), 3);
    world.push(&sid, "42[\"a\"]\u{1e}42[\"b\"]\u{1e}42[\"c\"]\u{1e}42[\"d\"]");
    assert_eq!(world.sessions(), 0);
}

/// A quota that shards share.
#[derive(Clone)]
struct Shared(Arc<Mutex<LocalQuota>>);

impl Shared {
    fn new(config: &Config) -> Self {
        Self(Arc::new(Mutex::new(LocalQuota::new(QuotaLimits::new(config)))))
    }

    fn bytes(&self) -> usize {
        self.0.lock().unwrap().taken().1
    }
}

impl SessionQuota for Shared {
    fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.0.lock().unwrap().enter(address, bytes)
    }
    fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.0.lock().unwrap().grow(address, bytes)
    }
    fn shrink(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.0.lock().unwrap().shrink(address, bytes);
    }
    fn leave(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.0.lock().unwrap().leave(address, bytes);
    }
    fn is_crowded(&self) -> bool {
        self.0.lock().unwrap().is_crowded()
    }
    fn network(&self, address: IpAddr) -> IpAddr {
        self.0.lock().unwrap().network(address)
    }
}

/// Several shards share one quota.
#[test]
fn shards_share_a_quota() {
    let config = Config::default().max_sessions_per_address(3);
    let shared = Shared::new(&config);
    let mut worlds = [World::new(config.clone()), World::new(config)];
    for world in &mut worlds {
        world.shard(|shard, _| shard.share_quota(Box::new(shared.clone())));
    }
    joined(&mut worlds[0], "192.0.2.1");
    joined(&mut worlds[0], "192.0.2.1");
    let last = joined(&mut worlds[1], "192.0.2.1");
    assert_eq!(polling(&mut worlds[0], "192.0.2.1"), 503);
    worlds[1].cut(last, Cause::Closed);
    assert_eq!(polling(&mut worlds[0], "192.0.2.1"), 200);
    assert_eq!(shared.0.lock().unwrap().taken().0, 3);
    for world in &mut worlds {
        world.shard(|shard, out| {
            let reason = sio_proto::server::Reason::ServerShuttingDown;
            shard.handle_command(
                sio_proto::Time::ZERO,
                sio_proto::server::Command::Shutdown { reason },
                out,
            );
        });
        world.pass(100_000);
    }
    assert_eq!(shared.0.lock().unwrap().taken(), (0, 0), "all is given back");
}

/// A session that has joined a namespace, and whose client has come back, is never ended to make
/// room, however it has come.
#[test]
fn whoever_has_joined_stays_by_every_road() {
    let room = || World::new(Config::default().max_sessions(1));
    let is_full = |world: &mut World| polling(world, "192.0.2.9") == 503;

    // Its first request after the handshake is the upgrade.
    let mut world = room();
    let sid = sid(&world.ask(&get(POLLING)));
    let link = world.candidate(&sid);
    for packet in ["2probe", "5", "40"] {
        world.send(link, &text(packet));
    }
    assert!(is_full(&mut world), "it has moved to a websocket");

    // It polls in the wire of 0.6, and in that of 0.9.
    let mut world = room();
    let answer = world.ask(&get("/socket.io/xhr-polling//1"));
    let id = body(&answer).rsplit('~').next().unwrap().to_owned();
    let poll = world.open();
    world.send(poll, &get(&format!("/socket.io/xhr-polling/{id}/2")));
    assert!(is_full(&mut world), "0.6");
    let mut world = room();
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    world.ask(&get(&format!("/socket.io/1/xhr-polling/{id}")));
    assert!(is_full(&mut world), "0.9");

    // The application has not decided about another namespace yet.
    let mut world = room();
    world.accepts = false;
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40"));
    world.send(link, &text("40/a,"));
    let (now, first) = (world.now, world.sockets[0]);
    world.shard(|shard, out| shard.accept(now, first, out));
    assert!(is_full(&mut world), "one of two namespaces");
}

/// A session that has ended, and only waits until its client is told, makes room. So does a
/// handshake of 0.9 that waits for the application: it is answered.
#[test]
fn sessions_of_0_9_that_want_nothing_make_room() {
    let mut world = World::new(Config::default().max_sessions(1));
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    world.ask(&get(&format!("/socket.io/1/xhr-polling/{id}")));
    assert_eq!(polling(&mut world, "192.0.2.9"), 503);
    let socket = world.last_socket();
    world.disconnect(socket, true);
    assert_eq!(world.sessions(), 1, "its next poll would tell it");
    assert_eq!(polling(&mut world, "192.0.2.9"), 200);

    let mut world = World::new(Config::default().max_sessions(1));
    world.accepts = false;
    let asking = world.open();
    world.send(asking, &get("/socket.io/1/"));
    assert_eq!(polling(&mut world, "192.0.2.9"), 200);
    assert_eq!(status(&world.received(asking)), 503);
}

/// Only in a crowd, clients that take their time are ended early.
#[test]
fn without_a_crowd_nobody_is_hurried() {
    let mut world = World::new(Config::default().max_sessions(8));
    assert_eq!(polling(&mut world, "192.0.2.1"), 200);
    world.pass(10_000);
    assert_eq!(polling(&mut world, "192.0.2.2"), 200);
    assert_eq!(world.sessions(), 2);
}

/// What a session keeps is counted in full, in steps of 64 KiB, and given back when it is not kept
/// any more.
#[test]
fn what_is_kept_is_counted_in_full_and_given_back() {
    const STEP: usize = 64 * 1024;
    let config = Config::default().max_auth_bytes(1_000_000);
    let shared = Shared::new(&config);
    let mut world = World::new(config);
    world.shard(|shard, _| shard.share_quota(Box::new(shared.clone())));
    let link = joined(&mut world, "192.0.2.1");
    let before = shared.bytes();
    world.heard();

    world.send(
        link,
        &text("452-[\"m\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"),
    );
    world.send(link, &binary(&[0; 600_000]));
    assert_eq!(shared.bytes() - before, 10 * STEP);
    world.send(link, &binary(b"x"));
    assert_eq!(world.heard().len(), 1);
    assert_eq!(shared.bytes(), before, "the packet has been delivered");

    let auth = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    world.send(link, &text(&format!("40/a,{}", auth(300_000))));
    assert_eq!(shared.bytes() - before, 5 * STEP);
    world.send(link, &text(&format!("40/b,{}", auth(200_000))));
    assert_eq!(shared.bytes() - before, 8 * STEP);
    world.send(link, &text("41/a,"));
    assert_eq!(shared.bytes() - before, 4 * STEP);
    world.cut(link, Cause::Closed);
    assert_eq!(shared.bytes(), 0);
}

/// Credentials that were refused do not count: neither those for which there is no room, nor those
/// for a namespace too many. The limit is exact.
#[test]
fn refused_credentials_weigh_nothing() {
    let auth = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let ask = |world: &mut World, link, name: &str, bytes| {
        world.send(link, &text(&format!("40/{name},{}", auth(bytes))));
        world.frames(link).join(" ").contains("sid")
    };
    let mut world = World::new(Config::default().max_auth_bytes(1_000).max_namespaces(2));
    let other = joined(&mut world, "192.0.2.1");
    let link = joined(&mut world, "192.0.2.2");
    world.send(other, &text("40/taken,"));
    assert!(!ask(&mut world, link, "a", 600), "the server has two namespaces");
    world.send(other, &text("41/taken,"));
    assert!(ask(&mut world, link, "a", 600));
    world.send(link, &text("41/a,"));
    assert!(!ask(&mut world, link, "a", 1_001));
    assert!(ask(&mut world, link, "a", 1_000), "to the byte");

    let config = Config::default()
        .max_auth_bytes(150_000)
        .max_kept_bytes_per_address(100_000);
    let mut world = World::new(config);
    let link = joined(&mut world, "192.0.2.1");
    assert!(ask(&mut world, link, "a", 50_000));
    assert!(!ask(&mut world, link, "b", 60_000), "the address has no room");
    assert!(ask(&mut world, link, "c", 10_000), "what was refused is not kept");
}

/// Clients of 2.x: CONNECTs wait for `/` up to the number of namespaces and the bytes of
/// credentials that a session may have. What was refused meanwhile is not asked later.
#[test]
fn connects_wait_up_to_the_limit_and_not_beyond() {
    let waiting = |config: Config| {
        let mut world = World::new(config);
        world.accepts = false;
        let link = from(&mut world, "192.0.2.1");
        world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
        world.frames(link);
        (world, link)
    };
    let (mut world, link) = waiting(Config::default().max_namespaces_per_session(2));
    for name in ["a", "b", "c"] {
        world.send(link, &text(&format!("40/{name}")));
    }
    assert_eq!(world.frames(link), ["44/c,\"Too many namespaces\""]);

    let (mut world, link) = waiting(Config::default().max_auth_bytes(1_000));
    world.send(link, &text(&format!("40/a?{},", "x".repeat(998))));
    assert_eq!(world.frames(link), [""; 0], "the name and the query have 1000 bytes");

    // Another client of the address takes the room, and gives it back before `/` is accepted.
    let config = Config::default().max_auth_bytes(40_000);
    let (mut world, link) = waiting(config.max_kept_bytes_per_address(100_000));
    let other = from(&mut world, "192.0.2.1");
    world.send(other, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    world.frames(other);
    let connect = |name: &str| text(&format!("40/{name}?{},", "x".repeat(8_000)));
    for name in ["a", "b", "c"] {
        world.send(other, &connect(name));
    }
    assert_eq!(world.frames(other), [""; 0]);
    let names = ["a", "b", "c"].into_iter();
    let refused = names.filter(|name| {
        world.send(link, &connect(name));
        !world.frames(link).is_empty()
    });
    let refused = refused.count();
    assert!(refused > 0, "the address has no room");
    world.cut(other, Cause::Closed);
    world.heard();
    let (now, main) = (world.now, world.sockets[0]);
    world.shard(|shard, out| shard.accept(now, main, out));
    assert_eq!(world.heard().len(), 3 - refused, "what was refused is not asked");
}

/// A transcript holds what the shared quota said, and its replay hears the same, although nobody
/// else has sessions there. A second transcript holds nothing of the time between.
#[test]
fn transcripts_hold_their_own_time_and_no_other() {
    let config = Config::default().max_sessions(2);
    let mut world = World::new(config.clone());
    let mut quota = Shared::new(&config);
    let shared = quota.clone();
    let start = |world: &mut World| {
        world.shard(|shard, _| shard.start_transcript(RecorderOptions::default().detail(Detail::Full)));
    };
    let end = |world: &mut World| world.shard(|shard, _| shard.end_transcript());
    start(&mut world);
    world.shard(|shard, _| shard.share_quota(Box::new(shared)));
    for _ in 0..2 {
        quota.enter(None, 1_000).unwrap();
    }
    assert_eq!(status(&world.ask(&get(POLLING))), 503);
    let first = end(&mut world);
    replay(&first, config, &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{first}"));

    quota.leave(None, 1_000);
    let link = world.join();
    world.cut(link, Cause::Closed);
    start(&mut world);
    let link = world.join();
    world.cut(link, Cause::Closed);
    let second = end(&mut world);
    // In the first input: whether there is a crowd, the room (`ro` or `co`), and an id's bytes.
    let facts: Vec<&str> = second.lines().filter(|line| line.contains(" * ")).take(2).collect();
    assert_eq!(facts.len(), 2, "{second}");
    let drawn = facts.iter().find(|line| line.contains(" * drawn ")).unwrap();
    let hex = drawn.rsplit(' ').next().unwrap();
    assert!(hex.len() <= 2 * 16, "{drawn}");
    let asked = facts.iter().find(|line| line.contains(" * quota ")).unwrap();
    assert!(asked.ends_with(" 726f") || asked.ends_with(" 636f"), "{asked}");
}
