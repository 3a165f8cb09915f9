//! The messages between nodes: those that genuine nodes and emitters have published are read and
//! written again, byte for byte, and what is malformed is refused.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;
use sio_proto::cluster::messages::{
    Body, Broadcast, ClassicRequest, ClassicResponse, Envelope, Malformed, MessageLimits, MissedFilter, RequestBody,
    ResponseBody, Session, SingleBody, is_entry_id,
};
use sio_proto::cluster::{Emit, Flags, RemoteSocket, Target};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, ClusterConfig, broker};

fn limits() -> MessageLimits {
    MessageLimits::from(&ClusterConfig::default())
}

/// The commands of one capture, with texts and bytes as bytes.
fn commands(capture: &str) -> Vec<Vec<Bytes>> {
    let lines: Vec<Value> = serde_json::from_str(capture).unwrap();
    let word = |word: &Value| match word {
        Value::String(text) => Bytes::from(text.clone()),
        other => Bytes::from(STANDARD.decode(other["base64"].as_str().unwrap()).unwrap()),
    };
    let commands = lines.iter().filter_map(|line| line["command"].as_array());
    commands.map(|command| command.iter().map(word).collect()).collect()
}

/// The channel and the payload of each message that was published.
fn published(capture: &str) -> Vec<(String, Bytes)> {
    let commands = commands(capture).into_iter();
    let published = commands.filter(|command| command[0].to_ascii_uppercase().ends_with(b"PUBLISH"));
    published
        .map(|command| (String::from_utf8(command[1].to_vec()).unwrap(), command[2].clone()))
        .collect()
}

/// Reads and writes again every message of the classic adapter or its emitter.
fn classic(capture: &str) -> [Vec<String>; 3] {
    let (mut broadcasts, mut requests, mut responses) = (Vec::new(), Vec::new(), Vec::new());
    for (channel, payload) in published(capture) {
        let written = if channel.starts_with("socket.io-request#") {
            let request = ClassicRequest::decode(&payload, &limits()).unwrap();
            requests.push(format!("{:?}", request.body));
            request.encode()
        } else if channel.starts_with("socket.io-response#") {
            let response = ClassicResponse::decode(&payload, &limits()).unwrap();
            responses.push(format!("{:?}", response.body));
            response.encode()
        } else {
            let broadcast = Broadcast::decode(&payload, &limits()).unwrap();
            broadcasts.push(format!("{:?}", broadcast.emit));
            broadcast.encode()
        };
        assert_eq!(written, payload, "{channel}: {}", payload.escape_ascii());
    }
    [broadcasts, requests, responses]
}

#[test]
fn the_classic_adapter() {
    let [broadcasts, requests, responses] = classic(include_str!("captures/cluster/redis-adapter.json"));
    assert_eq!((broadcasts.len(), requests.len(), responses.len()), (9, 8, 5));
}

#[test]
fn the_emitter() {
    let [broadcasts, requests, responses] = classic(include_str!("captures/cluster/redis-emitter.json"));
    assert_eq!((broadcasts.len(), requests.len(), responses.len()), (7, 4, 0));
}

#[test]
fn the_sharded_adapter() {
    let messages = published(include_str!("captures/cluster/redis-sharded-dynamic.json"));
    let mut types = [0; 14];
    for (channel, payload) in &messages {
        let envelope = Envelope::decode(payload, &limits()).unwrap();
        types[envelope.body.number() as usize] += 1;
        assert_eq!(envelope.encode_sharded(), payload, "{channel}");
    }
    assert_eq!(types, [0, 0, 0, 10, 1, 1, 1, 1, 1, 2, 1, 1, 1, 0]);
}

#[test]
fn the_streams_adapter() {
    let capture = include_str!("captures/cluster/redis-streams.json");
    for (channel, payload) in published(capture) {
        let envelope = Envelope::decode(&payload, &limits()).unwrap();
        assert_eq!(envelope.encode_message_pack(), payload, "{channel}");
    }
    let mut types = [0; 14];
    for command in commands(capture) {
        match &*command[0] {
            b"XADD" => {
                let fields: Vec<_> = command[6..]
                    .chunks(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect();
                let envelope = Envelope::decode_entry(&fields, &limits()).unwrap();
                types[envelope.body.number() as usize] += 1;
                assert_eq!(envelope.encode_entry(), fields);
            }
            b"SET" => {
                let session = Session::decode(&command[2], &limits()).unwrap();
                assert_eq!(session.rooms, ["p4rI0Y4R0TS8W4eIAAAC", "room1", "onlyB", "r3"]);
                assert_eq!(session.data, r#"{"on":"B"}"#);
                assert_eq!(session.encode(), command[2]);
            }
            _ => {}
        }
    }
    assert_eq!(types[3..7], [10, 1, 1, 1]);
}

/// docs/protocol/cluster-redis.md §9: what ends or confuses genuine nodes is refused.
#[test]
fn what_is_malformed_is_refused() {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (bytes, expected) in [
        (&b"hello"[..], Malformed::Trailing),
        (
            b"\x93\xa1a\x83",
            Malformed::MessagePack(sio_proto::codec::MessagePackError::Truncated),
        ),
        (
            b"\x92\xa1a\x82\xa4type\x02\xa4data\x91\xa1e",
            Malformed::Missing("opts"),
        ),
        (b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa1e\xc0", Malformed::NoObject),
        (b"\x93\xa1a\x81\xa4type\x02\x80", Malformed::Missing("packet.data")),
        (
            b"\x93\xa1a\x82\xa4type\x01\xa4data\x91\xa1e\x80",
            Malformed::UnknownType(1),
        ),
        (
            b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa7connect\x80",
            Malformed::ReservedName,
        ),
        (
            b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5rooms\x01",
            Malformed::NoArray,
        ),
    ] {
        let bytes = Bytes::from_static(bytes);
        assert_eq!(
            Broadcast::decode(&bytes, &limits()),
            Err(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
    for (json, expected) in [
        (
            "{\"type\":5",
            Malformed::Json(sio_proto::json::JsonError::UnexpectedEnd),
        ),
        (r#"{"type":5,"requestId":"a","uid":"b"}"#, Malformed::Missing("opts")),
        (r#"{"type":5,"uid":"b","opts":{}}"#, Malformed::Missing("requestId")),
        (r#"{"type":6,"uid":"b","data":{"0":"e"}}"#, Malformed::NoEvent),
        (r#"{"type":6,"uid":"b"}"#, Malformed::Missing("data")),
        (r#"{"type":2,"opts":{"rooms":[]}}"#, Malformed::Missing("rooms")),
        (r#"{"type":17}"#, Malformed::UnknownType(17)),
        (
            r#"{"type":1,"requestId":"01234567890123456789012345678901234567890123456789012345678901234"}"#,
            Malformed::LongName,
        ),
        (r#"{"type":"5"}"#, Malformed::Missing("type")),
        (r#"{"requestid":"x","type":1}"#, Malformed::OldRequest),
    ] {
        assert_eq!(ClassicRequest::decode(&text(json), &limits()), Err(expected), "{json}");
    }
    assert_eq!(
        ClassicRequest::decode(&Bytes::from_static(b"\xc0"), &limits()),
        Err(Malformed::NoObject)
    );
    let field = |name: &'static str, value: &'static str| (text(name), text(value));
    let poison = [field("uid", "u"), field("nsp", "/"), field("type", "3")];
    assert_eq!(
        Envelope::decode_entry(&poison, &limits()),
        Err(Malformed::Missing("data"))
    );
    let odd = [
        field("uid", "u"),
        field("nsp", "/"),
        field("type", "3"),
        field("data", "?"),
    ];
    assert_eq!(Envelope::decode_entry(&odd, &limits()), Err(Malformed::Base64));
    assert_eq!(
        Session::decode(&text("e30="), &limits()),
        Err(Malformed::Missing("sid"))
    );
}

/// Messages of old packages (docs/protocol/cluster-redis.md §1.3).
#[test]
fn old_packages() {
    // Of socket.io-redis 5, with bytes: type 5, no rooms, no flags.
    let old = Bytes::from_static(
        b"\x93\xa1a\x83\xa4type\x05\xa4data\x92\xa1e\xc4\x01\x07\xa3nsp\xa1/\x81\xa6except\x91\xa1s",
    );
    let broadcast = Broadcast::decode(&old, &limits()).unwrap();
    assert_eq!(broadcast.to.except, ["s"]);
    assert_eq!(broadcast.emit.args.attachments, [&[7u8][..]]);
    // Of socket.io-redis 6, for one socket.
    let single = Bytes::from_static(br#"{"requestId":"r","type":3,"sid":"s","room":"x"}"#);
    let single = ClassicRequest::decode(&single, &limits()).unwrap();
    assert_eq!(
        single.body,
        RequestBody::Single("s".into(), SingleBody::Leave("x".into()))
    );
    let ids = Bytes::from_static(br#"{"requestId":"r","sockets":["s","t"]}"#);
    let ids = ClassicResponse::decode(&ids, &limits()).unwrap();
    assert_eq!(ids.body, ResponseBody::Ids(vec!["s".into(), "t".into()]));
    let done = Bytes::from_static(br#"{"requestId":"r"}"#);
    assert_eq!(
        ClassicResponse::decode(&done, &limits()).unwrap().body,
        ResponseBody::Done
    );
    // JavaScript lets rooms have numbers as names.
    let numbers = Bytes::from_static(br#"{"type":2,"opts":{"rooms":[7],"except":[]},"rooms":[-1,"a"]}"#);
    let Ok(RequestBody::Join { to, rooms }) = ClassicRequest::decode(&numbers, &limits()).map(|request| request.body)
    else {
        panic!("a join");
    };
    assert_eq!((to.rooms, rooms), (vec!["7".into()], vec!["-1".into(), "a".into()]));
}

/// Each limit of a message is reached.
#[test]
fn limits_are_kept() {
    let envelope = |rooms: usize, args: &str| Envelope {
        uid: "u".into(),
        namespace: "/".into(),
        body: Body::Broadcast {
            to: Target {
                rooms: vec!["r".into(); rooms],
                except: vec![],
            },
            flags: Flags::default(),
            emit: Emit {
                name: "e".into(),
                args: Args::from(ByteString::from(args)),
            },
            request_id: None,
        },
    };
    let decode = |config: ClusterConfig, message: &Envelope, packed: bool| {
        let bytes = if packed {
            message.encode_message_pack()
        } else {
            message.encode_sharded()
        };
        Envelope::decode(&bytes, &MessageLimits::from(&config)).err()
    };
    let config = ClusterConfig::default;
    let message = envelope(3, "[[1]]");
    let too_many = Malformed::MessagePack(sio_proto::codec::MessagePackError::TooManyElements);
    for (packed, length) in [
        (false, message.encode_sharded().len()),
        (true, message.encode_message_pack().len()),
    ] {
        assert_eq!(decode(config(), &message, packed), None);
        assert_eq!(decode(config().max_message_bytes(length), &message, packed), None);
        let short = decode(config().max_message_bytes(length - 1), &message, packed);
        assert_eq!(short, Some(Malformed::TooLarge));
        assert_eq!(decode(config().max_names(3), &message, packed), None);
        assert_eq!(
            decode(config().max_names(2), &message, packed),
            Some(Malformed::TooManyNames)
        );
        assert!(decode(config().max_depth(2), &message, packed).is_some());
    }
    assert_eq!(decode(config().max_elements(8), &message, true), Some(too_many));
    let mut binary = envelope(0, r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#);
    let Body::Broadcast { emit, .. } = &mut binary.body else {
        panic!("a broadcast");
    };
    emit.args.attachments = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    assert_eq!(decode(config().max_attachments(2), &binary, false), None);
    assert!(matches!(
        decode(config().max_attachments(1), &binary, false),
        Some(Malformed::Packet(_))
    ));
}

/// Entries of streams, records and names are bounded to the byte, too.
#[test]
fn limits_are_kept_to_the_byte() {
    let entry = Envelope {
        uid: "u".into(),
        namespace: "/".into(),
        body: Body::Disconnect {
            to: Target::room("r"),
            close: true,
        },
    };
    let fields = entry.encode_entry();
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let limits_of = |bytes| MessageLimits::from(&ClusterConfig::default().max_message_bytes(bytes));
    assert_eq!(Envelope::decode_entry(&fields, &limits_of(bytes)), Ok(entry));
    assert_eq!(
        Envelope::decode_entry(&fields, &limits_of(bytes - 1)),
        Err(Malformed::TooLarge)
    );
    let session = Session {
        sid: "s".into(),
        pid: "p".into(),
        rooms: vec!["s".into(), "r".into()],
        data: "{}".into(),
        since: vec!["".into(), "7-1".into()],
        ..Session::default()
    };
    let record = session.encode();
    assert_eq!(Session::decode(&record, &limits_of(record.len())), Ok(session.clone()));
    assert_eq!(
        Session::decode(&record, &limits_of(record.len() - 1)),
        Err(Malformed::TooLarge)
    );
    assert_eq!(session.places(), [None, Some((7, 1))]);
    let plain = Session {
        since: vec!["".into(); 2],
        ..session
    };
    let short = STANDARD.decode(plain.encode()).unwrap();
    assert!(
        !short.windows(5).any(|part| part == b"since"),
        "what says nothing is left out"
    );
    for (length, is_read) in [(64, true), (65, false)] {
        let request = format!(r#"{{"type":1,"requestId":"{}"}}"#, "x".repeat(length));
        assert_eq!(ClassicRequest::decode(&request.into(), &limits()).is_ok(), is_read);
    }
}

/// Other implementations write numbers and what is missing in other ways.
#[test]
fn values_that_javascript_writes_in_several_ways() {
    let request = |bytes: &'static [u8]| ClassicRequest::decode(&Bytes::from_static(bytes), &limits());
    let with_type = |number: f64| {
        let mut bytes = b"\x82\xa4type\xcb".to_vec();
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(b"\xa9requestId\xa1r");
        ClassicRequest::decode(&bytes.into(), &limits()).map(|request| request.body)
    };
    assert_eq!(with_type(0.0), Ok(RequestBody::Sockets(vec![])));
    assert_eq!(with_type(1.0), Ok(RequestBody::AllRooms));
    for number in [-1.0, 1.5, 1e300, f64::NAN] {
        assert_eq!(with_type(number), Err(Malformed::Missing("type")), "{number}");
    }
    // `null` and `undefined` are as good as nothing.
    for missing in [&b"\xc0"[..], b"\xd4\x00\x00"] {
        let bytes = [
            &b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa1e\x82\xa5rooms"[..],
            missing,
            b"\xa6except",
            missing,
        ];
        let broadcast = Broadcast::decode(&bytes.concat().into(), &limits()).unwrap();
        assert_eq!(broadcast.to, Target::default());
    }
    let join = request(b"\x83\xa4type\x02\xa4opts\x81\xa5rooms\x91\x07\xa5rooms\x92\xff\xa1a");
    let Ok(RequestBody::Join { to, rooms }) = join.map(|request| request.body) else {
        panic!("a join");
    };
    assert_eq!((to.rooms, rooms), (vec!["7".into()], vec!["-1".into(), "a".into()]));
    for name in ["true", "null", "[]", "{}"] {
        let json = format!(r#"{{"type":2,"opts":{{"rooms":[{name}]}},"rooms":["a"]}}"#);
        let refused = ClassicRequest::decode(&json.into(), &limits()).unwrap_err();
        assert_eq!(refused, Malformed::NoText, "{name}");
    }
}

/// Bytes and deep arguments need MessagePack, and everything else is JSON, however long it is. The
/// classic adapter writes bytes for servers as `JSON.stringify` writes a `Buffer`.
#[test]
fn arguments_have_the_syntax_that_they_need() {
    let bytes = || {
        let mut args = Args::from(ByteString::from_static(
            r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        ));
        args.attachments = vec![Bytes::from_static(b"\x01\x02\xff"), Bytes::new()];
        args
    };
    let deep = || Args::from(ByteString::from("[".repeat(125) + &"]".repeat(125)));
    let long = || Args::from(ByteString::from("[".to_owned() + &"[],".repeat(200) + "1]"));
    for (value, is_json) in [(bytes(), false), (deep(), false), (long(), true)] {
        let (name, request_id) = (ByteString::from_static("e"), ByteString::from_static("r"));
        let emit = Emit {
            name,
            args: value.clone(),
        };
        let bodies = [
            Body::ServerSideAnswer {
                request_id: request_id.clone(),
                value: value.clone(),
            },
            Body::Ack { request_id, value },
            Body::ServerSideEmit { emit, request_id: None },
        ];
        for body in bodies {
            let envelope = Envelope {
                uid: "u".into(),
                namespace: "/".into(),
                body,
            };
            let message = envelope.encode_sharded();
            assert_eq!(message[0] == b'{', is_json, "{envelope:?}");
            let read = Envelope::decode(&message, &limits()).unwrap();
            assert_eq!(read.encode_sharded(), message);
            let entry = Envelope::decode_entry(&envelope.encode_entry(), &limits()).unwrap();
            assert_eq!(entry.encode_sharded(), message);
        }
    }
    let event = ClassicRequest {
        uid: None,
        request_id: None,
        body: RequestBody::ServerSideEmit(Emit {
            name: "e".into(),
            args: bytes(),
        }),
    };
    let expected = r#"{"type":6,"data":["e",[{"type":"Buffer","data":[1,2,255]},{"type":"Buffer","data":[]}]]}"#;
    assert_eq!(event.encode(), expected.as_bytes());
}

/// docs/protocol/cluster-redis.md §4.3: which entries a client has missed.
#[test]
fn missed_entries() {
    let entry = |namespace: &str, to: Target, flags: Flags| {
        let envelope = Envelope {
            uid: "u".into(),
            namespace: namespace.into(),
            body: Body::Broadcast {
                to,
                flags,
                emit: Emit {
                    name: "e".into(),
                    args: Args::default(),
                },
                request_id: None,
            },
        };
        broker::Entry {
            id: Bytes::from_static(b"5-0"),
            fields: envelope.encode_entry(),
        }
    };
    let rooms = [ByteString::from_static("sid"), ByteString::from_static("a")];
    let filter = MissedFilter {
        namespace: "/",
        rooms: &rooms,
        since: &[],
        left: &[],
    };
    let plain = Flags::default();
    let mut volatile = plain;
    volatile.volatile = true;
    let except = Target {
        rooms: vec![],
        except: vec!["a".into()],
    };
    let two = Target {
        rooms: vec!["b".into(), "a".into()],
        except: vec![],
    };
    for (entry, missed) in [
        (entry("/", Target::default(), plain), true),
        (entry("/", Target::room("a"), plain), true),
        (entry("/", Target::room("b"), plain), false),
        (entry("/", two, plain), true),
        (entry("/", except, plain), false),
        (entry("/x", Target::default(), plain), false),
        (entry("/", Target::default(), volatile), false),
    ] {
        assert_eq!(filter.missed(&entry, &limits()).unwrap().is_some(), missed, "{entry:?}");
    }
    // Before it was in a room, nothing was missed there.
    for (since, missed) in [((4, 9), true), ((5, 0), false), ((6, 0), false)] {
        let since = [None, Some(since)];
        let filter = MissedFilter {
            since: &since,
            ..filter
        };
        let entry = entry("/", Target::room("a"), plain);
        assert_eq!(filter.missed(&entry, &limits()).unwrap().is_some(), missed, "{since:?}");
    }
    for id in ["1795448768796-0", "0-0", "18446744073709551615-18446744073709551615"] {
        assert!(is_entry_id(id), "{id}");
    }
    for id in ["$", "-0", "5-", "+5-0", "5-0-0", "99999999999999999999-0"] {
        assert!(!is_entry_id(id), "{id}");
    }
}

fn name() -> impl Strategy<Value = ByteString> {
    "[a-z\"\\\\é#/]{0,9}".prop_map(ByteString::from)
}

fn names() -> impl Strategy<Value = Vec<ByteString>> {
    prop::collection::vec(name(), 0..4)
}

fn target() -> impl Strategy<Value = Target> {
    (names(), names()).prop_map(|(rooms, except)| Target { rooms, except })
}

fn flags() -> impl Strategy<Value = Flags> {
    (any::<bool>(), any::<bool>(), any::<Option<u32>>()).prop_map(|(volatile, compress, timeout)| {
        let mut flags = Flags::default();
        (flags.volatile, flags.compress) = (volatile, compress);
        flags.timeout = timeout.map(|timeout| Duration::from_millis(timeout.into()));
        flags
    })
}

/// Arguments in the spelling that reading MessagePack gives, with bytes if `bytes`.
fn args(bytes: bool) -> impl Strategy<Value = Args> {
    let value = prop_oneof![
        Just(r#"{"a":[1,-2,1.5,null,true],"é":""}"#),
        Just("\"x\\\"y\""),
        Just("18446744073709551615"),
        Just("[]"),
        Just("{}"),
    ];
    let bytes = prop::collection::vec(any::<Vec<u8>>(), 0..if bytes { 3 } else { 1 });
    (prop::collection::vec(value, 0..4), bytes).prop_map(|(mut values, bytes)| {
        let placeholders: Vec<_> = (0..bytes.len())
            .map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#))
            .collect();
        values.extend(placeholders.iter().map(|text| &**text));
        Args {
            json: values.join(",").into(),
            attachments: bytes.into_iter().map(Bytes::from).collect(),
            ..Args::default()
        }
    })
}

fn emit(bytes: bool) -> impl Strategy<Value = Emit> {
    let name = name().prop_filter("a reserved name", |name| !sio_proto::socket::is_reserved_event(name));
    (name, args(bytes)).prop_map(|(name, args)| Emit { name, args })
}

/// One value, or what stands for no value.
fn value() -> impl Strategy<Value = Args> {
    let text = prop_oneof![Just("\"pong\""), Just("[1,{\"a\":2}]"), Just("7")];
    text.prop_map(|text| Args::from(ByteString::from_static(text)))
}

fn sockets() -> impl Strategy<Value = Vec<RemoteSocket>> {
    let json = || prop_oneof![Just("{\"a\":[1,\"é\"]}"), Just("{}"), Just("null")].prop_map(ByteString::from_static);
    let socket = (name(), json(), names(), json()).prop_map(|(id, handshake, rooms, data)| {
        // What is null is missing, and is written as an object.
        let filled = |json: ByteString| if json == "null" { ByteString::new() } else { json };
        RemoteSocket {
            id,
            handshake: filled(handshake),
            rooms,
            data: filled(data),
        }
    });
    prop::collection::vec(socket, 0..4)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::InitialHeartbeat),
        any::<bool>().prop_map(|subscribes| Body::Heartbeat { subscribes }),
        (target(), flags(), emit(true), prop::option::of(name())).prop_map(|(to, flags, emit, request_id)| {
            Body::Broadcast {
                to,
                flags,
                emit,
                request_id,
            }
        }),
        (target(), names()).prop_map(|(to, rooms)| Body::Join { to, rooms }),
        (target(), names()).prop_map(|(to, rooms)| Body::Leave { to, rooms }),
        (target(), any::<bool>()).prop_map(|(to, close)| Body::Disconnect { to, close }),
        (target(), name()).prop_map(|(to, request_id)| Body::Fetch { to, request_id }),
        (name(), sockets(), 0..3u64).prop_map(|(request_id, sockets, left_out)| Body::Sockets {
            request_id,
            sockets,
            left_out,
        }),
        (emit(true), prop::option::of(name())).prop_map(|(emit, request_id)| Body::ServerSideEmit { emit, request_id }),
        (name(), value()).prop_map(|(request_id, value)| Body::ServerSideAnswer { request_id, value }),
        (name(), any::<u64>()).prop_map(|(request_id, count)| Body::ClientCount { request_id, count }),
        (name(), value()).prop_map(|(request_id, value)| Body::Ack { request_id, value }),
        Just(Body::Close),
    ]
}

fn request_body() -> impl Strategy<Value = RequestBody> {
    let single = prop_oneof![
        name().prop_map(SingleBody::Join),
        name().prop_map(SingleBody::Leave),
        any::<bool>().prop_map(SingleBody::Disconnect),
    ];
    prop_oneof![
        names().prop_map(RequestBody::Sockets),
        Just(RequestBody::AllRooms),
        (target(), names()).prop_map(|(to, rooms)| RequestBody::Join { to, rooms }),
        (target(), names()).prop_map(|(to, rooms)| RequestBody::Leave { to, rooms }),
        (target(), any::<bool>()).prop_map(|(to, close)| RequestBody::Disconnect { to, close }),
        (name(), single).prop_map(|(sid, body)| RequestBody::Single(sid, body)),
        target().prop_map(RequestBody::Fetch),
        emit(false).prop_map(RequestBody::ServerSideEmit),
        (name(), target(), flags(), emit(true)).prop_map(|(namespace, to, flags, emit)| RequestBody::Broadcast {
            namespace,
            to,
            flags,
            emit,
        }),
    ]
}

fn response_body() -> impl Strategy<Value = ResponseBody> {
    let some = prop::collection::vec(name(), 1..4);
    prop_oneof![
        some.prop_map(ResponseBody::Ids),
        names().prop_map(ResponseBody::Rooms),
        (sockets(), 0..3u64).prop_map(|(sockets, left_out)| ResponseBody::Sockets { sockets, left_out }),
        value().prop_map(ResponseBody::ServerSideEmit),
        any::<u64>().prop_map(ResponseBody::ClientCount),
        value().prop_map(ResponseBody::Ack),
        Just(ResponseBody::Done),
    ]
}

/// JSON in the spelling that it has after it was written: an empty text is an empty object.
fn spelled(mut sockets: Vec<RemoteSocket>) -> Vec<RemoteSocket> {
    for socket in &mut sockets {
        for json in [&mut socket.handshake, &mut socket.data] {
            if json.is_empty() {
                *json = ByteString::from_static("{}");
            }
        }
    }
    sockets
}

proptest! {
    #[test]
    fn envelopes_are_read_as_they_were_written(uid in name(), namespace in name(), mut body in body()) {
        let envelope = Envelope { uid: uid.clone(), namespace: namespace.clone(), body: body.clone() };
        if let Body::Sockets { sockets, .. } = &mut body {
            *sockets = spelled(core::mem::take(sockets));
        }
        let expected = Ok(Envelope { uid, namespace, body });
        prop_assert_eq!(&Envelope::decode(&envelope.encode_sharded(), &limits()), &expected);
        prop_assert_eq!(&Envelope::decode(&envelope.encode_message_pack(), &limits()), &expected);
        prop_assert_eq!(&Envelope::decode_entry(&envelope.encode_entry(), &limits()), &expected);
    }

    #[test]
    fn broadcasts_are_read_as_they_were_written(
        uid in name(), namespace in name(), to in target(), flags in flags(), emit in emit(true)
    ) {
        let broadcast = Broadcast { uid, namespace, to, flags, emit };
        prop_assert_eq!(Broadcast::decode(&broadcast.encode(), &limits()), Ok(broadcast));
    }

    #[test]
    fn requests_are_read_as_they_were_written(uid in prop::option::of(name()), id in name(), body in request_body()) {
        let request = ClassicRequest { uid, request_id: Some(id), body };
        prop_assert_eq!(ClassicRequest::decode(&request.encode(), &limits()), Ok(request));
    }

    #[test]
    fn responses_are_read_as_they_were_written(uid in prop::option::of(name()), id in name(), mut body in response_body()) {
        let response = ClassicResponse { uid: uid.clone(), request_id: id.clone(), body: body.clone() };
        if let ResponseBody::Sockets { sockets, .. } = &mut body {
            *sockets = spelled(core::mem::take(sockets));
        }
        let expected = ClassicResponse { uid, request_id: id, body };
        prop_assert_eq!(ClassicResponse::decode(&response.encode(), &limits()), Ok(expected));
    }

    #[test]
    fn anything_is_refused_or_read(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        // Neither panics. What is read can be written.
        drop(Broadcast::decode(&bytes, &limits()).map(|message| message.encode()));
        drop(ClassicRequest::decode(&bytes, &limits()).map(|message| message.encode()));
        drop(ClassicResponse::decode(&bytes, &limits()).map(|message| message.encode()));
        drop(Envelope::decode(&bytes, &limits()).map(|message| message.encode_sharded()));
        drop(Session::decode(&bytes, &limits()).map(|session| session.encode()));
    }
}
