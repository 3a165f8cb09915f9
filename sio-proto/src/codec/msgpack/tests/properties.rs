//! Any packet is the same after writing and reading it, and `rmpv` reads the same values.

extern crate std;

use proptest::prelude::*;

use super::*;

fn any_json() -> impl Strategy<Value = serde_json::Value> + Clone {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-300i64..300).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<f32>().prop_map(|number| f64::from(number).into()),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            proptest::collection::vec((any::<String>(), inner), 0..20)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Numbers as JavaScript has them: a whole number has no fraction, however it was written.
fn normal(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if decode::is_whole(float) => (float as i64).into(),
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        other => other,
    }
}

/// The value as `rmpv`, the common MessagePack crate, has it.
fn foreign(value: &serde_json::Value) -> rmpv::Value {
    use serde_json::Value;
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., number) => number.unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => rmpv::Value::Array(values.iter().map(foreign).collect()),
        Value::Object(members) => {
            let member = |(key, value): (&String, _)| (key.as_str().into(), foreign(value));
            rmpv::Value::Map(members.iter().map(member).collect())
        }
    }
}

/// JSON in one spelling. Floats lose digits here, because `serde_json` reads some floats slightly
/// wrong. Another test checks that our floats are exact: the bytes that are written are the bytes
/// that were read.
fn respell(json: &str) -> ByteString {
    fn rounded(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) if number.is_f64() => format!("{:.12e}", number.as_f64().unwrap_or_default()).into(),
            Value::Array(values) => values.into_iter().map(rounded).collect(),
            Value::Object(members) => members.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
            other => other,
        }
    }
    rounded(serde_json::from_str(json).unwrap()).to_string().into()
}

fn respelt(mut packet: Packet) -> Packet {
    match &mut packet {
        Packet::Event { args, .. } | Packet::Ack { args, .. } => args.json = respell(&format!("[{}]", args.json)),
        Packet::Connect { payload, .. } => *payload = payload.as_deref().map(respell),
        Packet::ConnectError { payload, .. } => *payload = respell(payload),
        Packet::Disconnect { .. } => {}
    }
    packet
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let namespace = "/[a-zé#?0-9]{0,6}".prop_map(ByteString::from);
    let attachments = proptest::collection::vec(any::<Vec<u8>>().prop_map(Bytes::from), 0..4);
    let args = (proptest::collection::vec(any_json(), 0..4), attachments).prop_map(|(values, attachments)| {
        let mut json: Vec<String> = values.into_iter().map(|value| normal(value).to_string()).collect();
        for num in 0..attachments.len() {
            json.push(format!("[{{\"_placeholder\":true,\"num\":{num}}}]"));
        }
        Args {
            json: json.join(",").into(),
            attachments,
            ..Default::default()
        }
    });
    let object = any_json().prop_map(|value| ByteString::from(format!("{{\"x\":{}}}", normal(value))));
    let name = any::<String>().prop_filter("too long", |name| name.len() < 1000);
    prop_oneof![
        (namespace.clone(), proptest::option::of(object.clone())).prop_map(|(namespace, payload)| Packet::Connect {
            namespace,
            query: None,
            payload
        }),
        namespace.clone().prop_map(|namespace| Packet::Disconnect { namespace }),
        (namespace.clone(), name, any::<Option<u64>>(), args.clone()).prop_map(|(namespace, name, id, args)| {
            Packet::Event {
                namespace,
                name: name.into(),
                id,
                args,
            }
        }),
        (namespace.clone(), any::<u64>(), args).prop_map(|(namespace, id, args)| Packet::Ack { namespace, id, args }),
        (namespace, object).prop_map(|(namespace, payload)| Packet::ConnectError { namespace, payload }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(packet in any_packet()) {
        let bytes = encoded(&packet);
        let read = decoded(&bytes);
        prop_assert_eq!(encoded(&read), bytes);
        prop_assert_eq!(respelt(read), respelt(packet));
    }

    /// For one value, we and `rmpv` write the same bytes, and both read them alike.
    #[test]
    fn as_others_write_and_read_it(value in any_json()) {
        let value = normal(value);
        let ours = encoded(&ack("/", 0, args(&value.to_string(), &[])));
        let mut theirs = Vec::new();
        let packet = rmpv::Value::Map(Vec::from([
            ("id".into(), 0.into()),
            ("type".into(), 3.into()),
            ("data".into(), rmpv::Value::Array(Vec::from([foreign(&value)]))),
            ("nsp".into(), "/".into()),
        ]));
        rmpv::encode::write_value(&mut theirs, &packet).unwrap();
        prop_assert_eq!(&ours[..], &theirs[..]);
        let Packet::Ack { args, .. } = decoded(&Bytes::from(theirs)) else {
            panic!("no ack");
        };
        prop_assert_eq!(respell(&args.json), respell(&value.to_string()));
        prop_assert_eq!(encoded(&ack("/", 0, args)), ours);
    }

    #[test]
    fn never_panics(bytes in any::<Vec<u8>>()) {
        let _ = read(&Bytes::from(bytes.clone()));
        let mut event = hex("83a47479706502a36e7370a12fa46461746192a16d").to_vec();
        event.extend_from_slice(&bytes);
        let _ = read(&Bytes::from(event));
    }
}
