//! Messages of other nodes of a cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sio_proto::ClusterConfig;
use sio_proto::cluster::messages::{Body, Envelope, MessageLimits, Session};

use super::{Worst, reading, repeated};
use crate::Case;

/// More than any input has.
const MANY: usize = 64 << 20;

pub(super) const INPUTS: &[Worst] = &[
    Worst::new("cluster/rooms", |bytes| {
        let (text, times) = repeated(
            "{\"type\":4,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"opts\":{},\"rooms\":[",
            "\"\",",
            "\"\"]}}",
            bytes,
        );
        envelope(text.into_bytes(), times + 1)
    }),
    Worst::new("cluster/rooms-packed", |bytes| {
        let rooms = (bytes as u32).to_be_bytes();
        let head = b"\x84\xa4type\x04\xa3uid\xa1u\xa3nsp\xa1/\xa4data\x82\xa4opts\x80\xa5rooms\xdd";
        envelope([&head[..], &rooms, &vec![0xa0; bytes]].concat(), bytes)
    }),
    Worst::new("cluster/members", |bytes| {
        let (text, _) = repeated("{\"type\":1,\"uid\":\"u\",\"nsp\":\"/\"", ",\"dat\":1", "}", bytes);
        envelope(text.into_bytes(), 1)
    }),
    Worst::new("cluster/members-packed", |bytes| {
        let members = (bytes as u32 / 5 + 3).to_be_bytes();
        let head = b"\xa4type\x01\xa3uid\xa1u\xa3nsp\xa1/";
        let rest = b"\xa3dat\xc0".repeat(bytes / 5);
        envelope([&b"\xdf"[..], &members, head, &rest].concat(), 1)
    }),
    Worst::new("cluster/escaped-members", |bytes| {
        let (text, _) = repeated(
            "{\"type\":1,\"uid\":\"u\",\"nsp\":\"/\"",
            ",\"\\u0064ata\":null",
            "}",
            bytes,
        );
        envelope(text.into_bytes(), 1)
    }),
    Worst::new("cluster/sockets", |bytes| {
        let head = "{\"type\":8,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"requestId\":\"q\",\"sockets\":[";
        let (text, times) = repeated(head, "{\"id\":1},", "{\"id\":1}]}}", bytes);
        envelope(text.into_bytes(), times + 1)
    }),
    Worst::new("cluster/arguments", |bytes| {
        let head = "{\"type\":9,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"packet\":[\"e\",";
        let (text, _) = repeated(head, "1,", "1]}}", bytes);
        envelope(text.into_bytes(), 1)
    }),
    Worst::new("cluster/arguments-packed", |bytes| {
        let arguments = (bytes as u32 + 1).to_be_bytes();
        let head = b"\x84\xa4type\x09\xa3uid\xa1u\xa3nsp\xa1/\xa4data\x81\xa6packet\xdd";
        let said = [&head[..], &arguments, b"\xa1e", &vec![0xc0; bytes]];
        envelope(said.concat(), 1)
    }),
    Worst::new("cluster/session", |bytes| {
        let (text, times) = repeated(
            "{\"sid\":\"s\",\"pid\":\"p\",\"rooms\":[",
            "\"\",",
            "\"\"]}",
            bytes * 3 / 4,
        );
        reading(STANDARD.encode(text).into_bytes(), times + 1, |value: Bytes| {
            Session::decode(&value, &limits()).map_or(0, |session| session.rooms.len())
        })
    }),
];

fn limits() -> MessageLimits {
    let mut limits = MessageLimits::from(&ClusterConfig::default());
    limits.max_bytes = MANY;
    limits.max_names = MANY;
    limits.max_elements = MANY;
    limits
}

/// A message that has so many rooms or sockets, or is one without.
fn envelope(message: Vec<u8>, things: usize) -> Box<dyn Case> {
    reading(message, things, |message: Bytes| {
        match Envelope::decode(&message, &limits()).map(|message| message.body) {
            Ok(Body::Join { rooms, .. }) => rooms.len(),
            Ok(Body::Sockets { sockets, .. }) => sockets.len(),
            Ok(_) => 1,
            Err(_) => 0,
        }
    })
}
