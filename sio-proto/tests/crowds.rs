//! Crowds: how much one address, and one session, can take from the others, in number and in bytes.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::net::SocketAddr;

use common::*;
use sio_proto::server::{Delivery, Handshake, LocalQuota, NoRoom, Peer, QuotaLimits, SendError, SessionQuota};
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
    world.cut(links[0], sio_proto::server::Cause::Closed);
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
    world.cut(links[0].0, sio_proto::server::Cause::Closed);
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

/// Several shards share one quota.
#[test]
fn shards_share_a_quota() {
    #[derive(Clone)]
    struct Shared(std::sync::Arc<std::sync::Mutex<LocalQuota>>);
    impl SessionQuota for Shared {
        fn enter(&mut self, address: Option<std::net::IpAddr>, bytes: usize) -> Result<(), NoRoom> {
            self.0.lock().unwrap().enter(address, bytes)
        }
        fn grow(&mut self, address: Option<std::net::IpAddr>, bytes: usize) -> Result<(), NoRoom> {
            self.0.lock().unwrap().grow(address, bytes)
        }
        fn shrink(&mut self, address: Option<std::net::IpAddr>, bytes: usize) {
            self.0.lock().unwrap().shrink(address, bytes);
        }
        fn leave(&mut self, address: Option<std::net::IpAddr>, bytes: usize) {
            self.0.lock().unwrap().leave(address, bytes);
        }
        fn is_crowded(&self) -> bool {
            self.0.lock().unwrap().is_crowded()
        }
        fn network(&self, address: std::net::IpAddr) -> std::net::IpAddr {
            self.0.lock().unwrap().network(address)
        }
    }
    let config = Config::default().max_sessions_per_address(3);
    let shared = Shared(std::sync::Arc::new(std::sync::Mutex::new(LocalQuota::new(
        QuotaLimits::new(&config),
    ))));
    let mut worlds = [World::new(config.clone()), World::new(config)];
    for world in &mut worlds {
        world.shard(|shard, _| shard.share_quota(Box::new(shared.clone())));
    }
    joined(&mut worlds[0], "192.0.2.1");
    joined(&mut worlds[0], "192.0.2.1");
    let last = joined(&mut worlds[1], "192.0.2.1");
    assert_eq!(polling(&mut worlds[0], "192.0.2.1"), 503);
    worlds[1].cut(last, sio_proto::server::Cause::Closed);
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
