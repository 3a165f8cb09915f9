//! The content of an Engine.IO poll: the open packet is alone, no poll has more packets than every
//! client reads, and text is in the dialect of its client.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use sio_proto::engine::Dialect;
use sio_proto::server::{Delivery, EngineMessage};
use sio_proto::{Config, SessionKey};

const OLD: &str = "/socket.io/?EIO=3&transport=polling";

fn open_old(world: &mut World, target: &str) -> String {
    let open = world.reply(&get(target));
    assert_eq!(open.text().matches("0{\"sid\"").count(), 1);
    format!("{target}&sid={}", sid(open.text()))
}

/// The packets of a text payload of revision 3, in ASCII.
fn packets(mut payload: &str) -> Vec<&str> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = payload.split_once(':') {
        let (packet, rest) = rest.split_at(length.parse().unwrap());
        packets.push(packet);
        payload = rest;
    }
    packets
}

/// Hardening B11: the open packet is alone in its answer, and `40` comes with the next answer.
#[test]
fn the_open_packet_goes_alone() {
    let mut world = World::new(Config::default());
    let open = world.reply(&get(OLD));
    assert!(open.text().ends_with('}'), "{}", open.text());
    assert_eq!(packets(open.text()).len(), 1);
    let next = format!("{OLD}&sid={}", sid(open.text()));
    assert_eq!(world.reply(&get(&next)).text(), "2:40");
}

/// Hardening B19: an answer has at most 16 packets, in both revisions. The other packets come with
/// the next answers, in order and without a wait.
#[test]
fn a_poll_has_at_most_sixteen_packets() {
    let mut world = World::new(Config::default());
    let new = world.join_polling();
    let new_socket = world.last_socket();
    let old = open_old(&mut world, OLD);
    let old_socket = world.last_socket();
    assert_eq!(world.reply(&get(&old)).text(), "2:40");
    for number in 0..40 {
        world.emit(new_socket, "n", &number.to_string()).unwrap();
        world.emit(old_socket, "n", &number.to_string()).unwrap();
    }
    let wanted: Vec<String> = (0..40).map(|number| format!("42[\"n\",{number}]")).collect();
    for wanted in [&wanted[..16], &wanted[16..32], &wanted[32..]] {
        let answer = world.fetch(&new);
        assert_eq!(body(&answer).split('\u{1e}').collect::<Vec<_>>(), wanted);
        assert_eq!(packets(world.reply(&get(&old)).text()), wanted);
    }
    let link = world.poll(&new);
    assert_eq!(world.received(link), "", "nothing is left");
}

/// Hardening B19: packets that are queued when the session closes arrive before the close, however
/// many answers they need.
#[test]
fn what_is_left_arrives_before_the_close() {
    let mut world = World::new(Config::default());
    let id = world.join_polling();
    let socket = world.last_socket();
    for number in 0..20 {
        world.emit(socket, "n", &number.to_string()).unwrap();
    }
    world.disconnect(socket, true);
    let first = world.fetch(&id);
    assert_eq!(body(&first).split('\u{1e}').count(), 16);
    let second = world.fetch(&id);
    let second: Vec<&str> = body(&second).split('\u{1e}').collect();
    assert_eq!((second.len(), second[3], second[4]), (5, "42[\"n\",19]", "41"));
    assert_eq!(body(&world.fetch(&id)), "6\u{1e}1");
}

/// Hardening B19: the operator sets both limits. A packet that is larger than an answer goes alone.
#[test]
fn an_answer_is_limited_in_bytes() {
    let config = Config::default().max_packets_per_poll(1_000).max_bytes_per_poll(1_000);
    let mut world = World::new(config);
    let id = world.join_polling();
    let socket = world.last_socket();
    for length in [300, 300, 300, 2_000, 1] {
        world.emit(socket, "n", &format!("\"{}\"", "x".repeat(length))).unwrap();
    }
    let lengths: Vec<Vec<usize>> = (0..3)
        .map(|_| {
            let answer = world.fetch(&id);
            body(&answer).split('\u{1e}').map(|packet| packet.len() - 10).collect()
        })
        .collect();
    assert_eq!(lengths, [vec![300, 300, 300], vec![2_000], vec![1]]);
    for nothing in [
        Config::default().max_packets_per_poll(0),
        Config::default().max_bytes_per_poll(0),
    ] {
        assert!(nothing.validate().is_err());
    }
}

/// Hardening C6: clients that know only 1.x get every poll in binary framing, also the handshake,
/// unless they have said that they cannot read it.
#[test]
fn polls_in_binary_framing() {
    let mut world = World::new(Config::default().engine3_binary_polls(true));
    let open = world.reply(&get(OLD));
    assert_eq!(open.header("content-type"), Some("application/octet-stream"));
    // A text packet, and its length in digits.
    let length = open.body.iter().position(|byte| *byte == 0xff).unwrap();
    assert_eq!(open.body[0], 0);
    assert!(open.body[1..length].iter().all(|digit| *digit < 10));
    let packet = String::from_utf8(open.body[length + 1..].to_vec()).unwrap();
    let next = world.reply(&get(&format!("{OLD}&sid={}", sid(&packet))));
    assert_eq!(next.body, b"\x00\x02\xff40");
    for (plain, content_type) in [("&b64=1", "text/plain"), ("&j=0", "text/javascript")] {
        let answer = world.reply(&get(&format!("{OLD}{plain}")));
        assert_eq!(
            answer.header("content-type").unwrap().split(';').next(),
            Some(content_type),
            "{plain}"
        );
    }
    let mut world = World::new(Config::default());
    let answer = world.reply(&get(OLD));
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
}

fn raw_world(mut config: Config) -> World {
    config.engine_path = Some("/engine.io".into());
    World::new(config)
}

fn last_raw(world: &World) -> SessionKey {
    let opened = world.deliveries.iter().rev().find_map(|delivery| match delivery {
        Delivery::EngineOpen { session, .. } => Some(*session),
        _ => None,
    });
    opened.unwrap()
}

/// Hardening C3: a raw session is answered in the dialect of its client, in polls of text and of
/// script.
#[test]
fn a_raw_session_speaks_the_dialect_of_its_client() {
    let mut world = raw_world(Config::default());
    for (extra, said, answered) in [
        ("", "9:4cash â\u{82}¬", "9:4cash â\u{82}¬"),
        ("&b64=1", "9:4cash â\u{82}¬", "9:4cash â\u{82}¬"),
        ("", "7:4cash €", "7:4cash €"),
        ("", "6:4cash ", "7:4cash €"),
    ] {
        let target = format!("/engine.io/?EIO=3&transport=polling{extra}");
        let poll = open_old(&mut world, &target);
        let session = last_raw(&world);
        assert_eq!(world.reply(&post(&poll, said)).text(), "ok");
        let message = EngineMessage::Text("cash €".into());
        world.shard(|shard, _| shard.send_engine(session, message)).unwrap();
        assert_eq!(world.reply(&get(&poll)).text(), answered, "{said}");
    }
    let doubled = Config::default().dialect(Dialect::Double);
    let mut world = raw_world(doubled);
    let open = world.reply(&get("/engine.io/?EIO=3&transport=polling&j=0"));
    let id = sid(&open.text().replace('\\', ""));
    let session = last_raw(&world);
    world
        .shard(|shard, _| shard.send_engine(session, EngineMessage::Text("€\u{1}".into())))
        .unwrap();
    let answer = world.reply(&get(&format!("/engine.io/?EIO=3&transport=polling&j=0&sid={id}")));
    assert_eq!(answer.text(), "___eio[0](\"5:4â\u{82}¬\\u0001\");");
}

/// Hardening C3: in binary framing, and on a websocket, text is not encoded twice in any dialect.
#[test]
fn binary_framing_has_no_dialect() {
    let mut world = raw_world(Config::default().dialect(Dialect::Double));
    let poll = open_old(&mut world, "/engine.io/?EIO=3&transport=polling");
    let session = last_raw(&world);
    for message in [
        EngineMessage::Text("€".into()),
        EngineMessage::Binary(b"x".as_slice().into()),
    ] {
        world.shard(|shard, _| shard.send_engine(session, message)).unwrap();
    }
    assert_eq!(
        world.reply(&get(&poll)).body,
        b"\x00\x04\xff4\xe2\x82\xac\x01\x02\xff\x04x"
    );
}

/// Hardening B15: a POST behind a GET that is held is read at once, and the GET is answered before
/// the POST.
#[test]
fn a_post_behind_a_held_get_is_heard_at_once() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let link = world.poll(&sid);
    world.heard();
    let request = post(&session(&sid), "42[\"hello\"]");
    let (first, second) = request.split_at(30);
    world.send(link, first);
    world.send(link, second);
    assert_eq!(world.heard(), ["event hello "]);
    let answers = world.received(link);
    let (noop, ok) = answers.rsplit_once("HTTP/1.1").unwrap();
    assert_eq!((status(noop), body(noop)), (200, "6"));
    assert!(ok.ends_with("\r\n\r\nok"), "{ok}");
    // Three more requests, one behind the other.
    let gets = [get(&session(&sid)), get(&session(&sid)), request].concat();
    world.send(link, &gets);
    assert_eq!(world.heard(), ["event hello "]);
    let answers = world.received(link);
    assert_eq!(answers.matches("\r\n\r\n6").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\nok"), "{answers}");
}

/// Hardening B15, for clients older than 1.0: the GET that is held is answered before the request
/// behind it.
#[test]
fn a_request_behind_a_held_get_of_an_old_client_is_heard_at_once() {
    let mut world = World::new(Config::default());
    let answer = world.reply(&get("/socket.io/1/"));
    let target = format!("/socket.io/1/xhr-polling/{}", answer.text().split(':').next().unwrap());
    assert_eq!(world.reply(&get(&target)).text(), "1::");
    let link = world.park(&get(&target));
    world.heard();
    world.send(link, &post(&target, "3:::hello"));
    assert_eq!(world.heard(), ["event message \"hello\""]);
    let answers = world.received(link);
    let (first, second) = answers.rsplit_once("HTTP/1.1").unwrap();
    assert_eq!((body(first), body(second)), ("8::", "1"), "{answers}");

    let id = world.reply(&get("/socket.io/xhr-polling//1")).text()["~m~39~m~".len()..].to_string();
    let link = world.park(&get(&format!("/socket.io/xhr-polling/{id}/2")));
    world.heard();
    let form = older::post_bytes(
        &format!("/socket.io/xhr-polling/{id}/send"),
        "application/x-www-form-urlencoded",
        b"data=~m~5~m~hello",
    );
    world.send(link, &form);
    assert_eq!(world.heard(), ["event message \"hello\""]);
    let answers = world.received(link);
    let (first, second) = answers.rsplit_once("HTTP/1.1").unwrap();
    assert_eq!((status(first), body(first), body(second)), (200, "", "ok"), "{answers}");
}
