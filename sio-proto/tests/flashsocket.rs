//! A websocket that Flash opens. Only its name in the URL differs.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use sio_proto::Config;
use sio_proto::server::{Generation, TransportKind};

fn counted(world: &mut World, generation: Generation, transport: TransportKind) -> u32 {
    world.shard(|shard, _| shard.counters().get(generation, transport).current)
}

#[test]
fn of_socket_io_0_6() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/flashsocket"));
    let id = world.frames(link)[0].split_off("~m~39~m~".len());
    world.send(link, &text("~m~2~m~hi"));
    assert_eq!(world.echo(), ["connect / ", "event message \"hi\""]);
    assert_eq!(world.frames(link), ["~m~2~m~hi"]);
    assert_eq!(counted(&mut world, Generation::Legacy06, TransportKind::Flashsocket), 1);
    let newer = world.open();
    world.send(newer, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(counted(&mut world, Generation::Legacy06, TransportKind::Flashsocket), 0);
    assert_eq!(counted(&mut world, Generation::Legacy06, TransportKind::WebSocket), 1);
    assert_eq!(world.reply(&get("/socket.io/flashsocket")).status, 400);
}

#[test]
fn of_socket_io_0_9() {
    let mut config = Config::default();
    config.legacy09.flashsocket = true;
    let mut world = World::new(config);
    let answer = world.reply(&get("/socket.io/1/"));
    let (id, rest) = answer.text().split_once(':').unwrap();
    assert_eq!(rest, "60:60:websocket,flashsocket,htmlfile,xhr-polling,jsonp-polling");
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/flashsocket/{id}")));
    assert_eq!(world.frames(link), ["1::"]);
    let transport = world.shard(|shard, _| shard.counters().get(Generation::Legacy09, TransportKind::Flashsocket));
    assert_eq!((transport.current, transport.total), (1, 1));
    let link = world.open();
    world.send(link, &upgrade("/socket.io/1/flashsocket/nosuch"));
    assert_eq!(world.frames(link), ["7:::1+0", "close"]);
}

/// For Engine.IO it is a websocket: handlers see a websocket, and operators count it as one.
#[test]
fn of_socket_io_1() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=flashsocket"));
    let frames = world.frames(link);
    assert!(frames[0].starts_with("0{\"sid\":"), "{frames:?}");
    assert_eq!(frames[1], "40");
    assert_eq!(counted(&mut world, Generation::Engine3, TransportKind::WebSocket), 1);
    // A polling session may move to it.
    let opened = world.ask(&get("/socket.io/?EIO=3&transport=polling"));
    let link = world.open();
    let target = format!("/socket.io/?EIO=3&transport=flashsocket&sid={}", sid(&opened));
    world.send(link, &upgrade(&target));
    world.send(link, &text("2probe"));
    world.send(link, &text("5"));
    assert_eq!(world.frames(link), ["3probe", "40"]);
    assert_eq!(counted(&mut world, Generation::Engine3, TransportKind::WebSocket), 2);
    // Later releases have no flashsocket.
    for request in [
        upgrade("/socket.io/?EIO=4&transport=flashsocket"),
        upgrade("/socket.io/?transport=flashsocket"),
        get("/socket.io/?EIO=4&transport=flashsocket"),
    ] {
        let answer = world.reply(&request);
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("Transport unknown"), "{}", answer.text());
    }
    let answer = world.reply(&get("/socket.io/?EIO=3&transport=flashsocket"));
    assert_eq!(
        (answer.status, answer.text()),
        (400, "{\"code\":3,\"message\":\"Bad request\"}")
    );
}
