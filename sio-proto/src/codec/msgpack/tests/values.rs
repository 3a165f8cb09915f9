//! docs/protocol/msgpack.md, "Value mapping", and the vectors of notepack.

use super::*;

/// docs/protocol/msgpack.md, "Value mapping", and the vectors of notepack 2.2 and 3.0: the JSON of
/// each value. The JSON is written as the same bytes.
#[test]
fn values_both_ways() {
    let thirty_one = format!("\"{}\"", "a".repeat(31));
    let thirty_two = format!("\"{}\"", "a".repeat(32));
    for (bytes, json) in [
        ("c0", "null"),
        ("c3", "true"),
        ("c2", "false"),
        ("00", "0"),
        ("7f", "127"),
        ("cc80", "128"),
        ("ccff", "255"),
        ("cd0100", "256"),
        ("cdffff", "65535"),
        ("ce00010000", "65536"),
        ("ceffffffff", "4294967295"),
        ("cf0000000100000000", "4294967296"),
        ("cf001fffffffffffff", "9007199254740991"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("ff", "-1"),
        ("e0", "-32"),
        ("d0df", "-33"),
        ("d080", "-128"),
        ("d1ff7f", "-129"),
        ("d18000", "-32768"),
        ("d2ffff7fff", "-32769"),
        ("d280000000", "-2147483648"),
        ("d3ffffffff7fffffff", "-2147483649"),
        ("d3ffe0000000000001", "-9007199254740991"),
        ("d38000000000000000", "-9223372036854775808"),
        ("cb3ff8000000000000", "1.5"),
        ("cb3e7ad7f29abcaf48", "1e-7"),
        ("cb4415af1d78b58c40", "1e20"),
        ("cb7fefffffffffffff", "1.7976931348623157e308"),
        ("a0", "\"\""),
        (
            "bf61616161616161616161616161616161616161616161616161616161616161",
            &thirty_one,
        ),
        (
            "d9206161616161616161616161616161616161616161616161616161616161616161",
            &thirty_two,
        ),
        ("a822000a1ee2808c5c", "\"\\\"\\u0000\\n\\u001e\u{200c}\\\\\""),
        ("90", "[]"),
        ("80", "{}"),
        ("91c0", "[null]"),
        ("82a16190a16281a0c2", r#"{"a":[],"b":{"":false}}"#),
        ("82a16101a16102", r#"{"a":1,"a":2}"#),
        ("81a95f5f70726f746f5f5f80", r#"{"__proto__":{}}"#),
        ("82ac5f706c616365686f6c646572c3a36e756d00", PLACEHOLDER),
    ] {
        assert_eq!(json_of(bytes).as_deref(), Ok(json), "{bytes}");
        assert_eq!(bytes_of(json), bytes, "{json}");
    }
}

/// Forms that we read but do not write.
#[test]
fn values_read() {
    for (bytes, json) in [
        ("d40000", "null"),
        ("91d40000", "[null]"),
        ("82a161d40000a166c0", r#"{"f":null}"#),
        ("82a166c0a161d40000", r#"{"f":null}"#),
        ("81a161d40000", "{}"),
        ("92d4000083a161d40000a16201a163d40000", r#"[null,{"b":1}]"#),
        ("93d4000090d40000", "[null,[],null]"),
        // any width
        ("cc01", "1"),
        ("cd0001", "1"),
        ("ce00000001", "1"),
        ("cf0000000000000001", "1"),
        ("d001", "1"),
        ("d0ff", "-1"),
        ("d1ffff", "-1"),
        ("d2ffffffff", "-1"),
        ("d3ffffffffffffffff", "-1"),
        ("ca3fc00000", "1.5"),
        ("ca3dcccccd", "0.10000000149011612"),
        ("cb3ff0000000000000", "1"),
        ("cbc008000000000000", "-3"),
        ("cb4340000000000000", "9007199254740992"),
        ("cb4340000000000001", "9007199254740994.0"),
        ("cb8000000000000000", "0"),
        ("cb7ff8000000000000", "null"),
        ("cb7ff0000000000000", "null"),
        ("cbfff0000000000000", "null"),
        ("ca7fc00000", "null"),
        ("d90161", "\"a\""),
        ("da000161", "\"a\""),
        ("db0000000161", "\"a\""),
        ("a4f0908080", "\"\u{10000}\""),
        ("dc0001c0", "[null]"),
        ("dd00000001c0", "[null]"),
        ("de0001a161c0", r#"{"a":null}"#),
        ("df00000001a161c0", r#"{"a":null}"#),
        // dates of notepack 2.2 and 3.0
        ("d7000000000000000000", "\"1970-01-01T00:00:00.000Z\""),
        ("d7000000015d3ef7987b", "\"2017-07-14T02:40:00.123Z\""),
        ("d700ffffffffffffffff", "\"1969-12-31T23:59:59.999Z\""),
        ("d7007fffffffffffffff", "null"),
        ("d6ff00000000", "\"1970-01-01T00:00:00.000Z\""),
        ("d7ff1d53530059682f00", "\"2017-07-14T02:40:00.123Z\""),
        ("c70cff0754d4c0ffffffffffffffff", "\"1969-12-31T23:59:59.123Z\""),
        ("c70cff000000007fffffffffffffff", "null"),
    ] {
        assert_eq!(json_of(bytes).as_deref(), Ok(json), "{bytes}");
    }
}

/// JSON of other writers, and the bytes that JavaScript would write for its value.
#[test]
fn values_written() {
    for (json, bytes) in [
        (" [ 1 , { \"a\" : [ ] } ] ", "920181a16190"),
        ("-0", "00"),
        ("-0.0", "00"),
        ("1.0", "01"),
        ("-1.0", "ff"),
        ("1e3", "cd03e8"),
        ("9007199254740992.0", "cf0020000000000000"),
        ("1e16", "cb4341c37937e08000"),
        ("18446744073709551616", "cb43f0000000000000"),
        ("-9223372036854775809", "cbc3e0000000000000"),
        ("1e400", "cb7ff0000000000000"),
        ("-1e400", "cbfff0000000000000"),
        ("1e-400", "00"),
        (r#""\u00e9\ud83d\ude00""#, "a6c3a9f09f9880"),
        (r#""\ud800""#, "a3efbfbd"),
        (r#""\/""#, "a12f"),
        (r#"{"\u0061":1}"#, "81a16101"),
    ] {
        assert_eq!(bytes_of(json), bytes, "{json}");
    }
    for (count, head) in [(15, "9f"), (16, "dc0010"), (65_535, "dcffff"), (65_536, "dd00010000")] {
        let json = format!("[{}]", ["1"; 1].repeat(count).join(","));
        assert!(bytes_of(&json).starts_with(head), "{count}");
        let object = json.replace('1', "\"k\":1").replace('[', "{").replace(']', "}");
        let head = head.replace("9f", "8f").replace("dc", "de").replace("dd", "df");
        assert!(bytes_of(&object).starts_with(&head), "{count}");
    }
}

/// Binary values of every width are slices of the message, at their positions in the message.
#[test]
fn bytes_are_not_copied() {
    for (head, len) in [("c4", 1), ("c5", 2), ("c6", 4), ("c7", 1), ("c8", 2), ("c9", 4)] {
        let mut message = hex("83a47479706502a36e7370a12fa46461746193a16d").to_vec();
        for value in [&b""[..], b"bytes"] {
            message.extend_from_slice(&hex(head));
            message.extend_from_slice(&(value.len() as u32).to_be_bytes()[4 - len..]);
            // The forms of an extension have a type, 0, behind their length.
            message.extend_from_slice(if head < "c7" { b"" } else { b"\0" });
            message.extend_from_slice(value);
        }
        let message = Bytes::from(message);
        let Packet::Event { name, args, .. } = decoded(&message) else {
            panic!("no event");
        };
        assert_eq!(
            &*args.json,
            r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#
        );
        assert_eq!(args.attachments, [&b""[..], b"bytes"]);
        let range = message.as_ptr_range();
        assert!(range.contains(&args.attachments[1].as_ptr()) && range.contains(&name.as_bytes().as_ptr()));
    }
}

#[test]
fn placeholders_and_what_only_looks_like_one() {
    let nested =
        r#"{"_placeholder":true,"x":[{}],"num":1},{"_placeholder":true,"num":2},{"_placeholder":1,"num":0},[0]"#;
    let packet = ack("/", 0, args(nested, &[b"a", b"b"]));
    let written = encoded(&packet);
    // The first object is the second attachment, whatever else is in it. The second object names no
    // attachment. The third object is not marked.
    assert!(
        written.windows(4).any(|window| window == b"\xc4\x01b\x82"),
        "{written:?}"
    );
    let lookalike = "93a16d 82ac5f706c616365686f6c646572c3a36e756d00 c40101";
    let message = hex(&format!("83a47479706502a36e7370a12fa464617461{lookalike}"));
    assert_eq!(read(&message), Err(MessagePackError::Lookalike.into()));
    let mut twice = args(&format!("{PLACEHOLDER},{PLACEHOLDER}"), &[b"a"]);
    twice.attachments[0] = Bytes::from_static(b"same");
    let Packet::Ack { args, .. } = decoded(&encoded(&ack("/", 0, twice))) else {
        panic!("no ack");
    };
    assert_eq!(args.attachments, ["same", "same"]);
}

/// In the payload of a CONNECT, bytes have no place beside the JSON.
#[test]
fn bytes_in_a_payload() {
    let message = hex("83a47479706500a36e7370a12fa46461746181a162c4020109");
    let json = r#"{"b":{"type":"Buffer","data":[1,9]}}"#;
    assert_eq!(decoded(&message), connect("/", Some(json)));
    let message = hex("83a47479706500a36e7370a12fa46461746181a162c400");
    assert_eq!(
        decoded(&message),
        connect("/", Some(r#"{"b":{"type":"Buffer","data":[]}}"#))
    );
    for (max_depth, expected) in [(3, Ok(())), (2, Err(MessagePackError::TooDeep.into()))] {
        let limits = Limits {
            max_depth,
            ..Limits::default()
        };
        let read = MessagePack::default().decode(EngineMessage::Binary(message.clone()), &limits);
        assert_eq!(read.map(|_| ()), expected);
    }
}

/// A name that JSON cannot express says nothing about the argument behind it.
#[test]
fn a_name_has_no_exact_form() {
    let packet = decoded(&hex("83a47479706502a36e7370a12fa46461746192ca7f800010a173"));
    assert_eq!(packet, event("/", None, "null", args("\"s\"", &[])));
}
