//! docs/protocol/msgpack.md, "Validation by the genuine decoder", and the limits.

use super::*;
use crate::json::MAX_DEPTH;
use crate::socket::text::DecodeError;
use MessagePackError::*;

/// docs/protocol/msgpack.md, "Validation by the genuine decoder", the column "Robust Rust".
/// Reserved names are checked later, for all parsers alike.
#[test]
fn malformed_input() {
    let packet = |error: DecodeError| PacketError::from(error);
    let text = EngineMessage::Text("0".into());
    let read_text = MessagePack::default().decode(text, &Limits::default());
    assert_eq!(read_text, Err(PacketError::WrongKind));
    for (bytes, error) in [
        // empty, reserved, cut, continued
        ("", Truncated.into()),
        ("c1", Reserved.into()),
        ("00", NoMap.into()),
        ("90", NoMap.into()),
        ("83a47479706501a36e7370a12f", Truncated.into()),
        ("82a47479706501a36e7370a1", Truncated.into()),
        ("82a47479706501a36e7370a12fc0", TrailingBytes.into()),
        (
            "82a47479706501a36e7370a12f82a47479706501a36e7370a12f",
            TrailingBytes.into(),
        ),
        ("83a47479706501a36e7370a12fa178c1", Reserved.into()),
        // types
        ("80", PacketError::InvalidNamespace),
        ("81a36e7370a12f", packet(DecodeError::UnknownType)),
        ("82a47479706505a36e7370a12f", packet(DecodeError::UnknownType)),
        (
            "83a47479706505a36e7370a12fa46461746191a165",
            packet(DecodeError::UnknownType),
        ),
        (
            "83a47479706506a36e7370a12fa46461746190",
            packet(DecodeError::UnknownType),
        ),
        ("82a474797065ffa36e7370a12f", packet(DecodeError::UnknownType)),
        ("82a474797065a131a36e7370a12f", packet(DecodeError::UnknownType)),
        (
            "82a474797065cb3ff0000000000000a36e7370a12f",
            packet(DecodeError::UnknownType),
        ),
        ("82a474797065d40000a36e7370a12f", packet(DecodeError::UnknownType)),
        // namespaces
        ("81a47479706501", PacketError::InvalidNamespace),
        ("82a47479706501a36e737001", PacketError::InvalidNamespace),
        ("82a47479706501a36e7370d40000", PacketError::InvalidNamespace),
        ("82a47479706501a36e7370c4012f", PacketError::InvalidNamespace),
        ("82a47479706501a36e7370a22fff", InvalidUtf8.into()),
        // data
        (
            "83a47479706500a36e7370a12fa464617461c0",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706500a36e7370a12fa464617461a178",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706500a36e7370a12fa46461746190",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706501a36e7370a12fa46461746180",
            packet(DecodeError::InvalidPayload),
        ),
        ("82a47479706502a36e7370a12f", packet(DecodeError::InvalidPayload)),
        (
            "83a47479706502a36e7370a12fa464617461d40000",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa46461746180",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa464617461a16d",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa46461746190",
            packet(DecodeError::InvalidPayload),
        ),
        ("82a47479706503a36e7370a12f", packet(DecodeError::InvalidPayload)),
        (
            "84a47479706503a36e7370a12fa2696401a46461746180",
            packet(DecodeError::InvalidPayload),
        ),
        ("82a47479706504a36e7370a12f", packet(DecodeError::InvalidPayload)),
        (
            "83a47479706504a36e7370a12fa46461746190",
            packet(DecodeError::InvalidPayload),
        ),
        // event names: null, an array, an object that hides a function's name, bytes, undefined
        (
            "83a47479706502a36e7370a12fa46461746191c0",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa4646174619191a16d",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa4646174619181a8746f537472696e6701",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa46461746191c4016d",
            packet(DecodeError::InvalidPayload),
        ),
        (
            "83a47479706502a36e7370a12fa46461746191d40000",
            packet(DecodeError::InvalidPayload),
        ),
        ("83a47479706502a36e7370a12fa46461746191a1ff", InvalidUtf8.into()),
        // ids
        ("84a47479706502a36e7370a12fa26964ffa46461746191a16d", InvalidId.into()),
        ("84a47479706502a36e7370a12fa26964c0a46461746191a16d", InvalidId.into()),
        ("84a47479706502a36e7370a12fa26964a131a46461746191a16d", InvalidId.into()),
        (
            "84a47479706502a36e7370a12fa26964cb3ff8000000000000a46461746191a16d",
            InvalidId.into(),
        ),
        (
            "84a47479706502a36e7370a12fa26964cb3ff0000000000000a46461746191a16d",
            InvalidId.into(),
        ),
        // keys
        ("83a47479706501a36e7370a12f0102", Key.into()),
        ("83a47479706502a36e7370a12fa46461746192a16d810102", Key.into()),
        ("83a47479706502a36e7370a12fa46461746192a16d81c0c0", Key.into()),
        ("83a47479706502a36e7370a12fa46461746192a16d81c40161c0", Key.into()),
        // The keys of values that are undefined are keys, too.
        ("83a47479706502a36e7370a12fa46461746192a16d8191d4000001", Key.into()),
        ("83a47479706502a36e7370a12fa46461746192a16d81c0d40000", Key.into()),
        (
            "83a47479706502a36e7370a12fa46461746192a16d81a1ffd40000",
            InvalidUtf8.into(),
        ),
        // text
        ("83a47479706502a36e7370a12fa46461746192a16da1ff", InvalidUtf8.into()),
        ("83a47479706502a36e7370a12fa46461746192a16da3eda080", InvalidUtf8.into()),
        ("83a47479706502a36e7370a12fa46461746192a16d81a1ffc0", InvalidUtf8.into()),
        // headers that announce more than there is
        ("dfffffffff", Truncated.into()),
        ("83a47479706502a36e7370a12fa464617461ddffffffff", Truncated.into()),
        ("83a47479706502a36e7370a12fa46461746192a16ddfffffffff", Truncated.into()),
        ("83a47479706502a36e7370a12fa46461746192a16dc6ffffffff", Truncated.into()),
        ("83a47479706502a36e7370a12fa46461746192a16ddbffffffff", Truncated.into()),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc9ffffffff00",
            Truncated.into(),
        ),
        // extensions
        ("83a47479706502a36e7370a12fa46461746192a16dd40500", Extension(5).into()),
        (
            "83a47479706502a36e7370a12fa46461746192a16dd5000000",
            Extension(0).into(),
        ),
        ("83a47479706502a36e7370a12fa46461746192a16dd4ff00", Extension(-1).into()),
        (
            "83a47479706502a36e7370a12fa46461746192a16dd8fe00000000000000000000000000000000",
            Extension(-2).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dd7ffee6b280000000000",
            Extension(-1).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc70cff3b9aca000000000000000000",
            Extension(-1).into(),
        ),
        // Timestamps whose length genuine decoders do not believe: they take all of them for 12
        // bytes, or for no timestamp.
        (
            "83a47479706502a36e7370a12fa46461746192a16dc704ff00000000",
            Extension(-1).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc708ff0000000000000000",
            Extension(-1).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc8000cff000000000000000000000000",
            Extension(-1).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc90000000cff000000000000000000000000",
            Extension(-1).into(),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a16dc7010500",
            Extension(5).into(),
        ),
    ] {
        assert_eq!(read(&hex(bytes)), Err(error), "{bytes}");
    }
}

#[test]
fn what_is_taken_all_the_same() {
    // An acknowledgement without id is ignored.
    assert_eq!(
        read(&hex("83a47479706503a36e7370a12fa46461746191a16d")),
        Ok(Parsed::Nothing)
    );
    for (bytes, packet) in [
        // Any order of keys, unknown keys, and the last of two equal keys.
        (
            "86a46461746191a178a26964ccffa36e7370a22f61a47479706502a17881a178c0a464617461 91a16d",
            event("/a", Some(255), "m", args("", &[])),
        ),
        (
            "84a47479706501a47479706502a36e7370a12fa46461746191a16d",
            event("/", None, "m", args("", &[])),
        ),
        (
            "84a47479706502a36e7370a12fa26964d40000a46461746191a16d",
            event("/", None, "m", args("", &[])),
        ),
        // Numbers as names, and names that are legal although they look illegal.
        (
            "83a47479706502a36e7370a12fa4646174619105",
            event("/", None, "5", args("", &[])),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192ffc0",
            event("/", None, "-1", args("null", &[])),
        ),
        (
            "83a47479706502a36e7370a12fa46461746191cb3ff8000000000000",
            event("/", None, "1.5", args("", &[])),
        ),
        (
            "83a47479706502a36e7370a12fa46461746191a0",
            event("/", None, "", args("", &[])),
        ),
        (
            "84a47479706503a36e7370a12fa26964cfffffffffffffffffa46461746190",
            ack("/", u64::MAX, args("", &[])),
        ),
        ("83a47479706501a36e7370a12fa464617461d40000", disconnect("/")),
        // From python-socketio. The genuine decoder refuses it, and ends the connection of someone
        // who leaves a namespace.
        ("83a47479706501a36e7370a12fa464617461c0", disconnect("/")),
        // The query of a client over Engine.IO 3 is taken off later, for all parsers alike.
        (
            "82a47479706500a36e7370aa2f61646d696e3f783d31",
            connect("/admin?x=1", None),
        ),
    ] {
        assert_eq!(decoded(&hex(bytes)), packet, "{bytes}");
    }
}

#[test]
fn limits_are_reached() {
    let message = |values: &str| hex(&format!("83a47479706502a36e7370a12fa464617461{values}"));
    let taken = |parser: &MessagePack, limits: &Limits, values: &str| {
        parser
            .decode(EngineMessage::Binary(message(values)), limits)
            .map(|_| ())
    };
    let (parser, limits) = (MessagePack::default(), Limits::default());

    // The values of type, namespace and data, and the three values inside data.
    let few = |max_elements| MessagePack { max_elements, ..parser };
    assert_eq!(taken(&few(6), &limits, "93a16d01c0"), Ok(()));
    assert_eq!(taken(&few(5), &limits, "93a16d01c0"), Err(TooManyElements.into()));

    let two = MessagePack {
        max_binaries: 2,
        ..parser
    };
    assert_eq!(taken(&two, &limits, "93a16dc400c400"), Ok(()));
    assert_eq!(
        taken(&two, &limits, "93a16dc40092c400c400"),
        Err(TooManyBinaries.into())
    );

    for max_depth in [1, 2, 5, MAX_DEPTH, usize::MAX] {
        let limits = Limits { max_depth, ..limits };
        let allowed = max_depth.min(MAX_DEPTH) - 1;
        for open in ["91", "81a161"] {
            let deep = |levels: usize| format!("92a16d{}c0", open.repeat(levels));
            assert_eq!(taken(&parser, &limits, &deep(allowed)), Ok(()), "{open} {max_depth}");
            assert_eq!(
                taken(&parser, &limits, &deep(allowed + 1)),
                Err(TooDeep.into()),
                "{open} {max_depth}"
            );
        }
    }
    // The JSON that stands for bytes has a bracket, too.
    let two = Limits { max_depth: 2, ..limits };
    assert_eq!(taken(&parser, &two, "92a16dc400"), Ok(()));
    assert_eq!(taken(&parser, &two, "92a16d91c400"), Err(TooDeep.into()));
    let flat = Limits { max_depth: 0, ..limits };
    assert_eq!(taken(&parser, &flat, "92a16d01"), Err(TooDeep.into()));
    // Fields that are ignored may be nested to any depth, because nothing recurses.
    let mut unknown = hex("83a47479706501a36e7370a12fa178").to_vec();
    unknown.extend(core::iter::repeat_n(0x91, 900_000));
    unknown.push(0xc0);
    assert!(read(&Bytes::from(unknown)).is_ok());

    let short = Limits {
        max_event_name_bytes: 1,
        ..limits
    };
    assert_eq!(taken(&parser, &short, "91a16d"), Ok(()));
    assert_eq!(
        taken(&parser, &short, "91a26d6d"),
        Err(DecodeError::EventNameTooLong.into())
    );
}

/// Whatever a message holds, its JSON is at most six times as long as the message, without
/// placeholders.
#[test]
fn nothing_grows_beyond_six_times() {
    for value in [
        "c0",
        "c2",
        "80",
        "90",
        "d40000",
        "a100",
        "a2001e",
        "ca00800000",
        "cb0010000000000001",
        "d6ff00000000",
        "81a000",
    ] {
        let value = hex(value);
        let mut message = hex("83a47479706502a36e7370a12fa46461746192a16ddd000003e8").to_vec();
        message.extend((0..1000).flat_map(|_| value.iter()));
        let Packet::Event { args, .. } = decoded(&Bytes::from(message.clone())) else {
            panic!("no event");
        };
        assert!(args.json.len() <= 6 * message.len(), "{value:?}: {}", args.json.len());
    }
}

/// Hardening A14: an `auth` that is too large is refused before it is rewritten.
#[test]
fn auth_weighs_before_it_is_rewritten() {
    // {type: 0, nsp: "/", data: {a: [1, 1, ...]}}
    let connect = |numbers: u16| {
        let mut bytes = BytesMut::from(&b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa1a\xdc"[..]);
        bytes.extend_from_slice(&numbers.to_be_bytes());
        bytes.resize(bytes.len() + usize::from(numbers), 1);
        bytes.freeze()
    };
    let limits = Limits {
        max_auth_bytes: 106,
        ..Limits::default()
    };
    let read = |bytes| MessagePack::default().decode(EngineMessage::Binary(bytes), &limits);
    // The map, its key and the header of the array are 6 bytes.
    assert!(matches!(
        read(connect(100)),
        Ok(Parsed::Packet(Packet::Connect { payload: Some(_), .. }))
    ));
    assert_eq!(read(connect(101)).unwrap_err(), DecodeError::AuthTooLong.into());
}

/// A packet that is cut anywhere is refused, with every type of value in it.
#[test]
fn every_packet_without_its_end_is_refused() {
    let in_event = [
        "c0",
        "c3",
        "7f",
        "e0",
        "cc80",
        "cd8000",
        "ce80000000",
        "cf8000000000000000",
        "d080",
        "d18000",
        "d280000000",
        "d38000000000000000",
        "ca3fc00000",
        "cb3ff8000000000000",
        "a161",
        "d90161",
        "da000161",
        "db0000000161",
        "c40107",
        "c5000107",
        "c60000000107",
        "9101",
        "dc000101",
        "dd0000000101",
        "81a16101",
        "de0001a16101",
        "df00000001a16101",
        "d40000",
        "d5000000",
        "d6ff00000000",
        "d7ff0000000000000000",
        "d80000000000000000000000000000000000",
        "c70100aa",
        "c8000100aa",
        "c90000000100aa",
    ];
    let packets = in_event.map(|value| ["83a47479706502a36e7370a12fa46461746192a165", value]);
    let others = [
        "83a47479706500a36e7370a12fa46461746181a16101",
        "83a47479706501a36e7370a22f61a2696405",
        "84a47479706503a36e7370a12fa2696405a4646174619101",
        "83a47479706504a36e7370a12fa464617461a178",
    ];
    for packet in packets
        .map(|parts| parts.concat())
        .into_iter()
        .chain(others.map(Into::into))
    {
        let whole = hex(&packet);
        if let Err(error) = read(&whole) {
            // Some extensions have no JSON. They are refused for this reason.
            assert_ne!(error, Truncated.into(), "{packet}");
        }
        for end in 0..whole.len() {
            let error = read(&whole.slice(..end)).unwrap_err();
            assert_eq!(error, Truncated.into(), "{packet}, cut at {end}");
        }
    }
}
