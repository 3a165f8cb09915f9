//! A client of today and a client of 0.6 send events in one room.

mod common;

use bytes::Bytes;
use bytestring::ByteString;
use common::*;
use sio_proto::Config;
use sio_proto::server::{Command, Delivery, Message, Target};

#[test]
fn two_generations_in_one_room() {
    let mut world = World::new(Config::default());
    let modern = world.open();
    world.send(modern, WEBSOCKET);
    let open = world.frames(modern);
    assert_eq!(open.len(), 1);
    assert!(
        open[0].starts_with("0{\"sid\":\"")
            && open[0]
                .ends_with("\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}")
    );
    world.send(modern, &text("40"));
    assert!(world.frames(modern)[0].starts_with("40{\"sid\":\""));

    let old = world.open();
    world.send(old, &get("/socket.io/xhr-polling//1795447966090"));
    let answer = world.received(old);
    let id = answer.split("~m~39~m~").nth(1).expect("the session id").to_string();
    world.send(old, &get(&format!("/socket.io/xhr-polling/{id}/1795447966104")));
    assert_eq!(world.received(old), "");

    let post_link = world.open();
    world.send(
        post_link,
        &post(&format!("/socket.io/xhr-polling/{id}/send"), "data=~m~5~m~hello"),
    );
    assert!(world.received(post_link).ends_with("\r\n\r\nok"));
    let Some(Delivery::Event { name, args, .. }) = world.deliveries.last() else {
        panic!()
    };
    assert_eq!((&**name, &*args.json), ("message", "\"hello\""));

    let message = Message::event("/".into(), "chat".into(), ByteString::from("\"é\"").into(), None);
    let target = Target {
        namespace: "/".into(),
        ..Target::default()
    };
    let now = world.now;
    world.server.shard(now, |shard, out| {
        shard.handle_command(now, Command::Broadcast { target, message }, out)
    });
    world.settle();
    assert_eq!(world.frames(modern), ["42[\"chat\",\"é\"]"]);
    assert!(
        world
            .received(old)
            .ends_with("\r\n\r\n~m~32~m~~j~{\"event\":\"chat\",\"args\":[\"é\"]}")
    );
}

#[test]
fn binary_both_ways() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.send(link, &text("451-[\"bin\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &binary(&[1, 2, 3]));
    let Some(Delivery::Event {
        socket,
        name,
        args,
        ack: None,
    }) = world.deliveries.pop()
    else {
        panic!()
    };
    assert_eq!(
        (&*name, &args.attachments[..]),
        ("bin", &[Bytes::from_static(&[1, 2, 3])][..])
    );
    let now = world.now;
    let mut message = Message::event("/".into(), name, args, None);
    world
        .server
        .shard(now, |shard, _| shard.emit(now, socket, &mut message, None))
        .unwrap();
    world.settle();
    assert_eq!(
        world.frames(link),
        [
            "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]",
            "b\"\\x01\\x02\\x03\""
        ]
    );
}
