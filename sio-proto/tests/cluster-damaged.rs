//! Messages between nodes of which one value is another, is missing, or whose end is missing: each
//! is refused with an error that says why, or it is read as a message that can be written
//! (docs/protocol/cluster-redis.md §9).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sio_proto::cluster::messages::{
    Broadcast, ClassicRequest, ClassicResponse, Envelope, Malformed, MessageLimits, Session,
};
use sio_proto::{Bytes, ClusterConfig};

fn limits() -> MessageLimits {
    MessageLimits::from(&ClusterConfig::default())
}

type Outcome = Result<(), Malformed>;
type Reader = fn(&Bytes) -> Outcome;

/// Reads a message. What was read can be written, and is the same from then on: the first time,
/// JSON in MessagePack is spelled anew.
fn read<M: Debug + PartialEq>(
    bytes: &Bytes,
    decode: impl Fn(&Bytes, &MessageLimits) -> Result<M, Malformed>,
    encode: impl Fn(&M) -> Bytes,
) -> Outcome {
    let message = decode(bytes, &limits())?;
    let spelled = decode(&encode(&message), &limits());
    let spelled = spelled.unwrap_or_else(|error| panic!("{error}: {message:?}"));
    let again = decode(&encode(&spelled), &limits());
    assert_eq!(again.as_ref(), Ok(&spelled), "{}", bytes.escape_ascii());
    Ok(())
}

fn broadcast(bytes: &Bytes) -> Outcome {
    read(bytes, Broadcast::decode, Broadcast::encode)
}

fn request(bytes: &Bytes) -> Outcome {
    read(bytes, ClassicRequest::decode, ClassicRequest::encode)
}

fn response(bytes: &Bytes) -> Outcome {
    read(bytes, ClassicResponse::decode, ClassicResponse::encode)
}

fn envelope(bytes: &Bytes) -> Outcome {
    read(bytes, Envelope::decode, Envelope::encode_sharded)?;
    read(bytes, Envelope::decode, Envelope::encode_message_pack)
}

/// An entry of a stream, written as an object: each member is a field.
fn entry(bytes: &Bytes) -> Outcome {
    let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else {
        return Err(Malformed::NoObject);
    };
    let bytes = |value: Value| Bytes::from(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let fields = fields.into_iter();
    let fields: Vec<_> = fields.map(|(name, value)| (Bytes::from(name), bytes(value))).collect();
    let message = Envelope::decode_entry(&fields, &limits())?;
    let again = Envelope::decode_entry(&message.encode_entry(), &limits());
    assert_eq!(again, Ok(message), "{fields:?}");
    Ok(())
}

fn session(bytes: &Bytes) -> Outcome {
    let value = Bytes::from(STANDARD.encode(bytes));
    read(&value, Session::decode, Session::encode)
}

/// The messages, and which members they need. A name with a point is that of a member of a member.
fn messages() -> Vec<(Reader, Value, &'static [&'static str])> {
    let opts =
        || json!({"rooms": ["r", 7], "except": ["s"], "flags": {"volatile": true, "compress": false, "timeout": 9}});
    let packet = || json!({"type": 2, "data": ["e", {"a": 1}, -1.5], "nsp": "/n"});
    let socket = || json!({"id": "s", "handshake": {"query": {}}, "rooms": ["s"], "data": {}});
    let of = |kind: u64, data: Value| json!({"type": kind, "uid": "u", "nsp": "/", "data": data});
    let request_of = |kind: u64, more: Value| {
        let mut message = json!({"type": kind, "uid": "u", "requestId": "q"});
        message
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        message
    };
    let always: &[&str] = &["type", "uid", "nsp"];
    vec![
        (broadcast, json!(["u", packet(), opts()]), &["1.type", "1.data"]),
        (request, request_of(0, json!({"rooms": ["r"]})), &["type", "requestId"]),
        (request, request_of(1, json!({})), &["type", "requestId"]),
        (
            request,
            request_of(2, json!({"opts": opts(), "rooms": ["r"]})),
            &["type", "opts", "rooms"],
        ),
        (
            request,
            request_of(3, json!({"opts": opts(), "rooms": ["r"]})),
            &["type", "opts", "rooms"],
        ),
        (
            request,
            request_of(2, json!({"sid": "s", "room": "r"})),
            &["type", "requestId", "room"],
        ),
        (
            request,
            request_of(3, json!({"sid": "s", "room": "r"})),
            &["type", "requestId", "room"],
        ),
        (
            request,
            request_of(4, json!({"sid": "s", "close": true})),
            &["type", "requestId"],
        ),
        (
            request,
            request_of(4, json!({"opts": opts(), "close": true})),
            &["type", "opts"],
        ),
        (
            request,
            request_of(5, json!({"opts": opts()})),
            &["type", "requestId", "opts"],
        ),
        (request, request_of(6, json!({"data": ["e", 1]})), &["type", "data"]),
        (
            request,
            request_of(7, json!({"packet": packet(), "opts": opts()})),
            &["type", "requestId", "packet", "packet.type", "packet.data", "opts"],
        ),
        (
            response,
            json!({"requestId": "q", "uid": "u", "sockets": ["s"]}),
            &["requestId"],
        ),
        (response, json!({"requestId": "q", "rooms": ["r"]}), &["requestId"]),
        (
            response,
            json!({"requestId": "q", "sockets": [socket(), socket()], "leftOut": 3}),
            &["requestId", "sockets.0.id"],
        ),
        (
            response,
            json!({"requestId": "q", "type": 6, "data": [1]}),
            &["requestId"],
        ),
        (
            response,
            json!({"requestId": "q", "type": 8, "clientCount": 3}),
            &["requestId", "clientCount"],
        ),
        (
            response,
            json!({"requestId": "q", "type": 9, "packet": "x"}),
            &["requestId"],
        ),
        (envelope, of(1, json!({})), always),
        (envelope, of(2, json!({"subscribes": true})), always),
        (
            envelope,
            of(3, json!({"packet": packet(), "opts": opts(), "requestId": "q"})),
            &[
                "type",
                "uid",
                "nsp",
                "data",
                "data.packet",
                "data.packet.data",
                "data.opts",
            ],
        ),
        (
            envelope,
            of(4, json!({"opts": opts(), "rooms": ["r"]})),
            &["type", "data", "data.opts", "data.rooms"],
        ),
        (
            envelope,
            of(5, json!({"opts": opts(), "rooms": ["r"]})),
            &["data.opts", "data.rooms"],
        ),
        (envelope, of(6, json!({"opts": opts(), "close": true})), &["data.opts"]),
        (
            envelope,
            of(7, json!({"opts": opts(), "requestId": "q"})),
            &["data.opts", "data.requestId"],
        ),
        (
            envelope,
            of(8, json!({"requestId": "q", "sockets": [socket()], "leftOut": 1})),
            &["data.requestId", "data.sockets.0.id"],
        ),
        (
            envelope,
            of(9, json!({"packet": ["e"], "requestId": "q"})),
            &["data.packet"],
        ),
        (
            envelope,
            of(10, json!({"packet": [1], "requestId": "q"})),
            &["data.requestId"],
        ),
        (
            envelope,
            of(11, json!({"clientCount": 2, "requestId": "q"})),
            &["data.requestId", "data.clientCount"],
        ),
        (
            envelope,
            of(12, json!({"packet": 1, "requestId": "q"})),
            &["data.requestId"],
        ),
        (
            entry,
            json!({"uid": "u", "nsp": "/", "type": "3", "data": json!({"packet": packet(), "opts": opts()}).to_string()}),
            &["uid", "nsp", "type", "data"],
        ),
        (
            session,
            json!({"sid": "s", "pid": "p", "rooms": ["r"], "data": {}, "offset": "1-0", "node": "n", "nsp": "/", "until": "5", "since": ["1-0"]}),
            &["sid", "pid"],
        ),
    ]
}

/// Values that belong nowhere, or not everywhere.
fn others() -> Vec<Value> {
    let long = "x".repeat(65);
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(99),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("é\u{0}\""),
        json!(long),
        json!([]),
        json!([[]]),
        json!([null]),
        json!([{"id": 1}]),
        json!({}),
        json!({"0": "e", "": {}}),
    ]
}

/// The places of all values in a message.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let below = |name: &str| match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    };
    found.push(at.to_owned());
    match value {
        Value::Array(values) => {
            for (number, value) in values.iter().enumerate() {
                places(value, &below(&number.to_string()), found);
            }
        }
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| places(value, &below(name), found)),
        _ => {}
    }
}

/// The message with another value in this place, or without the value there.
fn changed(message: &Value, place: &str, other: Option<&Value>) -> Value {
    let Some((name, rest)) = place
        .split_once('.')
        .or_else(|| (!place.is_empty()).then_some((place, "")))
    else {
        return other.cloned().unwrap_or_default();
    };
    let mut message = message.clone();
    let is_here = rest.is_empty();
    match (&mut message, other) {
        (Value::Object(members), None) if is_here => drop(members.remove(name)),
        (Value::Array(values), None) if is_here => drop(values.remove(name.parse().unwrap())),
        (Value::Object(members), _) => members[name] = changed(&members[name], rest, other),
        (Value::Array(values), _) => {
            let number: usize = name.parse().unwrap();
            values[number] = changed(&values[number], rest, other);
        }
        _ => unreachable!("a place that is not there"),
    }
    message
}

fn packed(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, number) => number.unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => rmpv::Value::Array(values.iter().map(packed).collect()),
        Value::Object(members) => rmpv::Value::Map(
            members
                .iter()
                .map(|(name, value)| (name.as_str().into(), packed(value)))
                .collect(),
        ),
    }
}

/// The message in the syntaxes that its reader knows. A broadcast is always MessagePack, an entry
/// has fields.
fn spelled(reader: Reader, message: &Value) -> Vec<Bytes> {
    let is = |other: Reader| std::ptr::fn_addr_eq(reader, other);
    let mut spelled = Vec::new();
    if !is(broadcast) {
        spelled.push(Bytes::from(message.to_string()));
    }
    if !is(entry) {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &packed(message)).unwrap();
        spelled.push(bytes.into());
    }
    spelled
}

#[test]
fn a_value_that_is_another_is_refused_or_read() {
    let mut errors = BTreeSet::new();
    let mut are_read = 0;
    for (reader, message, _) in messages() {
        for whole in spelled(reader, &message) {
            assert_eq!(reader(&whole), Ok(()), "{message}");
        }
        let mut all = Vec::new();
        places(&message, "", &mut all);
        for (place, other) in all
            .iter()
            .flat_map(|place| others().into_iter().map(move |other| (place, other)))
        {
            for bytes in spelled(reader, &changed(&message, place, Some(&other))) {
                match reader(&bytes) {
                    Ok(()) => are_read += 1,
                    Err(error) => {
                        let error = format!("{error:?}");
                        let kind = error.split('(').next().unwrap_or_default();
                        errors.insert(kind.to_owned());
                    }
                }
            }
        }
    }
    // Most values are optional, and the arguments of an event may be anything.
    assert!(are_read > 1000, "{are_read}");
    for error in [
        "LongName",
        "Missing",
        "NoArray",
        "NoEvent",
        "NoObject",
        "NoText",
        "UnknownType",
    ] {
        assert!(errors.contains(error), "{error}: {errors:?}");
    }
}

#[test]
fn a_member_that_is_needed_is_missed() {
    for (reader, message, needed) in messages() {
        let mut all = Vec::new();
        places(&message, "", &mut all);
        for place in all.iter().filter(|place| !place.is_empty()) {
            for bytes in spelled(reader, &changed(&message, place, None)) {
                let outcome = reader(&bytes);
                if needed.contains(&&**place) {
                    let name = place.rsplit('.').next().unwrap();
                    let Err(Malformed::Missing(missing)) = outcome else {
                        panic!("{place} of {message}: {outcome:?}");
                    };
                    assert!(
                        missing == name || missing.ends_with(&format!(".{name}")),
                        "{missing} for {place}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_message_without_its_end_is_refused() {
    for (reader, message, _) in messages() {
        for whole in spelled(reader, &message) {
            for end in 0..whole.len() {
                assert!(
                    reader(&whole.slice(..end)).is_err(),
                    "{}",
                    whole.slice(..end).escape_ascii()
                );
            }
            let longer = Bytes::from([&whole, &b"\x01"[..]].concat());
            assert!(reader(&longer).is_err(), "{}", longer.escape_ascii());
        }
    }
}
