//! `b64` belongs to the request that makes a transport. On polling it has no effect. On websocket
//! it turns binary into text.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::Config;
use sio_proto::server::Message;
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes};

const HEAD: &str = "451-[\"b\",{\"_placeholder\":true,\"num\":0}]";

/// Opens a polling session, queues a binary event, upgrades with or without the flag, and queues
/// another event.
fn frames_after_upgrade(polling: &str, websocket: &str) -> Vec<String> {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/?EIO=4&transport=polling{polling}")));
    let sid = sid(&world.received(link));
    world.send(
        link,
        &post(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), "40"),
    );
    world.send(link, &get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}")));
    world.received(link);
    emit(&mut world, &[1]);
    let socket = world.open();
    let target = format!("/socket.io/?EIO=4&transport=websocket{websocket}&sid={sid}");
    world.send(socket, &upgrade(&target));
    world.send(socket, &text("2probe"));
    world.send(socket, &text("5"));
    emit(&mut world, &[2]);
    world.frames(socket)
}

fn emit(world: &mut World, attachment: &[u8]) {
    let (now, socket) = (world.now, world.sockets[0]);
    let args = Args {
        json: ByteString::from_static("{\"_placeholder\":true,\"num\":0}"),
        attachments: vec![Bytes::copy_from_slice(attachment)],
        ..Default::default()
    };
    let mut message = Message::event("/".into(), "b".into(), args, None);
    let sent = world
        .server
        .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
    sent.unwrap();
    world.settle();
}

#[test]
fn flag_of_polling_does_not_outlive_it() {
    let binary = ["3probe", HEAD, "b\"\\x01\"", HEAD, "b\"\\x02\""];
    assert_eq!(frames_after_upgrade("&b64=1", ""), binary);
    assert_eq!(frames_after_upgrade("", ""), binary);
}

#[test]
fn flag_of_websocket_counts_for_what_is_queued_too() {
    let text = ["3probe", HEAD, "bAQ==", HEAD, "bAg=="];
    assert_eq!(frames_after_upgrade("", "&b64=1"), text);
    assert_eq!(frames_after_upgrade("&b64=1", "&b64=1"), text);
}
