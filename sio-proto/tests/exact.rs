//! Values that MessagePack can express and JSON cannot arrive at clients of MessagePack as they
//! were sent, if the application passes them on unchanged.
#![cfg(feature = "msgpack")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use bytes::Bytes;
use common::*;
use sio_proto::codec::MessagePack;
use sio_proto::server::{Delivery, EngineMessage, Form, Message};
use sio_proto::socket::text::Limits;
use sio_proto::socket::{Args, Packet};
use sio_proto::{Config, LinkId};

const DATE: &[u8] = b"\xd7\x00\x00\x00\x01\xa2\x0a\x9a\x59\x8a";
const TIMESTAMP: &[u8] = b"\xd6\xff\x69\x00\x00\x00";
const UNDEFINED: &[u8] = b"\xd4\x00\x00";
const NAN: &[u8] = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00";
const INFINITY: &[u8] = b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00";
const ARRAY_BUFFER: &[u8] = b"\xc7\x02\x00\x01\x02";
const NESTED: &[u8] = b"\x82\xa1d\xd7\x00\x00\x00\x01\xa2\x0a\x9a\x59\x8a\xa1u\x92\xd4\x00\x00\xc4\x01\x09";

fn event(values: &[&[u8]]) -> Vec<u8> {
    let head = b"\x83\xa4type\x02\xa4data";
    let count = [0x90 | (values.len() as u8 + 1)];
    [head, &count[..], b"\xa4cast", &values.concat(), b"\xa3nsp\xa1/"].concat()
}

fn join(world: &mut World) -> LinkId {
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &binary(b"\x82\xa4type\x00\xa3nsp\xa1/"));
    world.received(link);
    link
}

/// The arguments of the last event.
fn heard(world: &mut World) -> Args {
    let deliveries = world.deliveries.drain(..);
    let mut events = deliveries.filter_map(|delivery| match delivery {
        Delivery::Event { args, .. } => Some(args),
        _ => None,
    });
    events.next_back().unwrap()
}

/// Hardening B13.
#[test]
fn what_is_passed_on_arrives_as_it_was_sent() {
    let mut world = World::new(Config::default().parser(MessagePack::default()));
    let sender = join(&mut world);
    let receiver = join(&mut world);
    let nine = world.reply_sid();
    for values in [
        &[DATE][..],
        &[TIMESTAMP, b"\x05"],
        &[UNDEFINED],
        &[NAN, INFINITY],
        &[ARRAY_BUFFER],
        &[
            b"\xa5plain",
            NESTED,
            b"\xc4\x01\x07",
            ARRAY_BUFFER,
            b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
        ],
    ] {
        let sent = event(values);
        world.send(sender, &binary(&sent));
        let args = heard(&mut world);
        world.cast("/", &[], "cast", args);
        assert_eq!(world.frames(receiver), [format!("{:?}", Bytes::from(sent))]);
    }
    assert!(world.received(nine).contains(r#"{"name":"cast","args":["2026-1"#));
}

/// Hardening B13: all other clients receive the same arguments as before.
#[test]
fn to_clients_of_json_they_are_what_json_has_for_them() {
    let parser = MessagePack::default();
    let message = EngineMessage::Binary(event(&[DATE, UNDEFINED, NAN, ARRAY_BUFFER, NESTED]).into());
    let parsed = sio_proto::codec::PacketParser::decode(&parser, message, &Limits::default()).unwrap();
    let sio_proto::codec::Parsed::Packet(Packet::Event { args, .. }) = parsed else {
        panic!("{parsed:?}")
    };
    let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let date = "\"2026-11-28T06:13:01.002Z\"".to_owned();
    let parts: Vec<String> = args.iter().map(str::to_owned).collect();
    assert_eq!(parts[1..4], ["null", "null", &placeholder(0)]);
    assert_eq!(parts[0].len(), date.len());
    assert_eq!(
        parts[4],
        format!(r#"{{"d":{},"u":[null,{}]}}"#, parts[0], placeholder(1))
    );
    assert_eq!(args.attachments, [&[1, 2][..], &[9]]);
    assert!((0..5).all(|place| args.exact.get(place).is_some()));
    let mut standard = Message::event("/".into(), "m".into(), args, None);
    let (config, mut buffer) = (Config::default(), sio_proto::BytesMut::new());
    assert_eq!(standard.encode(Form::Engine4, &config, &mut buffer), Ok(()));
}

impl World {
    /// A websocket of 0.9.
    fn reply_sid(&mut self) -> LinkId {
        let id = self
            .reply(&get("/socket.io/1/"))
            .text()
            .split(':')
            .next()
            .unwrap()
            .to_owned();
        let link = self.open();
        self.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
        self.received(link);
        link
    }
}
