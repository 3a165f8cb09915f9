//! Arguments of events and acknowledgements: from the wire to types, and back.
//!
//! Arguments stay raw JSON with attachments ([`sio_proto::socket::Args`]) until a handler asks for
//! a type. These are the types:
//!
//! | type | means |
//! |---|---|
//! | `(A, B, …)`, `[A; N]` | the arguments one by one; missing arguments are `null`, further arguments are ignored |
//! | `()` | reading: nothing, all arguments are ignored; writing: no arguments |
//! | `Option::None`, `serde_json::Value::Null`, a unit struct | writing: one argument, `null` |
//! | any other `T` | the first argument |
//! | [`RawArgs`] | all arguments, unchanged: they are forwarded without parsing and copying |
//! | [`Raw`] | one argument, unchanged |
//! | [`Binary`], [`Bytes`] | one binary argument, or binary data at any depth inside an argument |
//! | [`Data`] | one argument, sorted into text, JSON and binary |
//!
//! Each type works for reading and writing. `T` is any `serde` type; bytes inside it become
//! attachments. On the wire, a placeholder `{"_placeholder":true,"num":0}` stands for bytes. A
//! value that looks like a placeholder cannot be sent together with bytes: this is an error,
//! because clients would replace it by bytes. Without bytes, it is like any other value. Note that
//! a `Vec<T>` is *one* argument, an array; use [`RawArgs::values`] for all arguments as values.
//!
//! A `Vec<u8>` is an array of numbers, in both directions, because `serde` cannot distinguish it
//! from other lists. So `emit("image", vec)` sends numbers, which are several times as large, and a
//! `Buffer` of JavaScript does not fit into a `Vec<u8>`. For bytes, use [`Binary`] or [`Bytes`]:
//! `emit("image", Binary::from(vec))`, and `|image: Binary|` in a handler.

mod decode;
mod encode;
mod placeholder;
mod receive;

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};
use sio_proto::socket::Args;

pub(crate) use decode::{detached, detached_text, from_args, from_args_to_keep, small};
pub(crate) use encode::{Appended, SCRATCH_BYTES, append, take_written, to_args};
pub(crate) use receive::LARGE;

thread_local!(static SPARE: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) });

/// A list of more attachments is not kept.
const MOST_SPARE: usize = 64;

/// Returns an empty list for attachments. It has the memory of a list of this thread that has been
/// used, if there is one ([`keep_list`]).
pub(crate) fn spare_list() -> Vec<Bytes> {
    SPARE.take()
}

/// Keeps the memory of a list of attachments for the next one of this thread.
pub(crate) fn keep_list(mut list: Vec<Bytes>) {
    if (1..=MOST_SPARE).contains(&list.capacity()) {
        list.clear();
        // This costs less than `set`, which is also ready for a place that nobody has made yet.
        SPARE.with(|spare| spare.set(list));
    }
}

/// The error when arguments cannot be read as the type that a handler asks for.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct ArgsError(#[from] serde_json::Error);

crate::readable::says_why!(ArgsError);

impl ArgsError {
    pub(crate) fn new(error: serde_json::Error) -> Self {
        Self(error)
    }
}

/// All arguments of an event, unchanged.
///
/// Emitting this value again forwards the bytes as they came. A clone shares the bytes, and also
/// the buffer that they were read into. So a value that is kept keeps the whole buffer: for a long
/// time, keep a [`RawArgs::compact`] copy instead. An `async` handler may wait, so it gets copies
/// of small values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawArgs(pub(crate) Args);

impl RawArgs {
    /// Returns the arguments as JSON values that are joined by commas, without brackets.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// Returns the attachments, in the order of their placeholders' numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.0.attachments
    }

    /// Whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the JSON of each argument.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }

    /// Returns each argument as a JSON tree. In the tree, attachments stay placeholders.
    ///
    /// # Errors
    /// If `serde_json` cannot represent a number or a string.
    pub fn values(&self) -> Result<Vec<serde_json::Value>, ArgsError> {
        self.iter()
            .map(|json| serde_json::from_str(json).map_err(ArgsError))
            .collect()
    }

    /// Reads the arguments as a type. A handler can ask for the type directly, too.
    ///
    /// # Errors
    /// If the arguments are not of this type.
    pub fn parse<T: DeserializeOwned + 'static>(&self) -> Result<T, ArgsError> {
        from_args(self.0.clone())
    }

    /// Returns a copy that shares no memory with the buffer that the arguments were read into.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self(self.0.detached())
    }
}

impl From<Args> for RawArgs {
    fn from(args: Args) -> Self {
        Self(args)
    }
}

impl From<RawArgs> for Args {
    fn from(args: RawArgs) -> Self {
        args.0
    }
}

/// One argument, unchanged. Use it to pass an argument on without reading it.
///
/// It stands for a whole argument, alone or in a tuple (`(String, Raw)`), and not for a part of an
/// argument. Like [`RawArgs`] it may share the buffer of 128 KiB that it was read into. To keep it
/// for a long time, keep a [`RawArgs::compact`] copy of all arguments instead. An `async` handler
/// gets copies of small values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub(crate) Args);

impl Raw {
    /// Returns the argument's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// Reads the argument as a type.
    ///
    /// # Errors
    /// If the argument is not of this type.
    pub fn parse<T: DeserializeOwned + 'static>(&self) -> Result<T, ArgsError> {
        from_args::<(T,)>(self.0.clone()).map(|(value,)| value)
    }
}

impl From<Raw> for RawArgs {
    /// The argument alone.
    fn from(raw: Raw) -> Self {
        Self(raw.0)
    }
}

/// Bytes that are sent as an attachment, at any depth of an argument, without being copied.
///
/// [`Bytes`] and every other type that `serde` treats as bytes work, too, but are copied. Bytes
/// that are not copied may share the buffer of 128 KiB that they were read into. To keep a few
/// bytes for a long time, use [`Bytes`]. An `async` handler gets copies of small values.
///
/// What [`Bytes::from_owner`] was made of is dropped as soon as nobody needs the bytes, perhaps
/// under a lock of the server or client that sends them. Its `Drop` must not use either of them,
/// and must not wait. If it has to, send a copy.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

/// One argument, sorted into text, JSON and binary. [`Socket::send`](crate::Socket::send) sends
/// this type, and handlers of [`Namespace::on_message`](crate::Namespace::on_message) get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A string.
    Text(ByteString),
    /// Any other JSON value, as it came.
    Json(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl Data {
    /// Makes a JSON message from a value.
    ///
    /// # Errors
    /// If `serde_json` cannot write the value.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::Json(serde_json::to_string(value)?.into()))
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<serde_json::Value> for Data {
    /// A string becomes text, everything else JSON.
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::Text(text.into()),
            other => Self::Json(other.to_string().into()),
        }
    }
}

// Unchanged values bypass `serde`: the type asks for a newtype with a special name. Our
// (de)serializers know the name and pass the value through this slot. Other formats do not know the
// name and treat the value as an ordinary newtype.
thread_local!(static HANDOFF: Cell<Option<Handoff>> = const { Cell::new(None) });

enum Handoff {
    Args(Args),
    Data(Data),
    Bytes(Bytes),
}

const RAW_ARGS: &str = "$sio::RawArgs";
const RAW: &str = "$sio::Raw";
const DATA: &str = "$sio::Data";
const BINARY: &str = "$sio::Binary";

fn take_handoff<E: serde::de::Error>() -> Result<Handoff, E> {
    HANDOFF
        .take()
        .ok_or_else(|| E::custom("only events and acknowledgements hold raw arguments"))
}

macro_rules! side_door {
    ($($type:ty, $name:ident, $variant:ident, $wrap:expr, $expecting:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Door;
                impl<'de> Visitor<'de> for Door {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_unit<E: serde::de::Error>(self) -> Result<$type, E> {
                        match take_handoff()? {
                            Handoff::$variant(value) => Ok($wrap(value)),
                            _ => Err(E::custom(concat!("expected ", $expecting))),
                        }
                    }
                }
                deserializer.deserialize_newtype_struct($name, Door)
            }
        }
    )*};
}

side_door! {
    RawArgs, RAW_ARGS, Args, RawArgs, "the arguments of an event";
    Raw, RAW, Args, Raw, "one argument of an event";
    Data, DATA, Data, |data| data, "one argument of an event";
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Door;
        impl<'de> Visitor<'de> for Door {
            type Value = Binary;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Binary, E> {
                match take_handoff()? {
                    Handoff::Bytes(bytes) => Ok(Binary(decode::handed_over(bytes))),
                    Handoff::Args(_) | Handoff::Data(_) => Err(E::custom("expected bytes")),
                }
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Binary, D::Error> {
                Bytes::deserialize(deserializer).map(Binary)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Binary, E> {
                Ok(Binary(Bytes::copy_from_slice(bytes)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Binary, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Binary(bytes.into()))
            }
        }
        deserializer.deserialize_newtype_struct(BINARY, Door)
    }
}

/// A value that only our own serializers can write, through the slot. With any other serializer it
/// is an error.
struct OnlyHere;

impl Serialize for OnlyHere {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(
            "raw arguments can only stand for whole arguments of an event",
        ))
    }
}

fn hand_over<S: Serializer>(serializer: S, name: &'static str, handoff: Handoff) -> Result<S::Ok, S::Error> {
    HANDOFF.with(|slot| slot.set(Some(handoff)));
    let result = serializer.serialize_newtype_struct(name, &OnlyHere);
    drop(HANDOFF.take());
    result
}

impl Serialize for RawArgs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(RAW_ARGS, &receive::Door(&self.0))
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hand_over(serializer, RAW, Handoff::Args(self.0.clone()))
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(json) => hand_over(serializer, RAW, Handoff::Args(Args::from(json.clone()))),
            Self::Binary(bytes) => Binary(bytes.clone()).serialize(serializer),
        }
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HANDOFF.with(|slot| slot.set(Some(Handoff::Bytes(self.0.clone()))));
        let result = serializer.serialize_bytes(&self.0);
        drop(HANDOFF.take());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use serde_json::{Value, json};

    fn args(json: &str) -> Args {
        Args::from(ByteString::from(json))
    }

    fn written<T: Serialize + ?Sized>(value: &T) -> Args {
        to_args(value, &mut BytesMut::new()).unwrap()
    }

    #[test]
    fn arguments_become_types() {
        let two = args(r#""a",2"#);
        assert_eq!(from_args::<(String, u8)>(two.clone()).unwrap(), ("a".into(), 2));
        assert_eq!(from_args::<(String,)>(two.clone()).unwrap().0, "a");
        assert_eq!(from_args::<String>(two.clone()).unwrap(), "a");
        assert_eq!(
            from_args::<(String, u8, Option<u8>)>(two.clone()).unwrap(),
            ("a".into(), 2, None)
        );
        from_args::<()>(two.clone()).unwrap();
        assert_eq!(from_args::<RawArgs>(two.clone()).unwrap().json(), r#""a",2"#);
        let (name, rest) = from_args::<(String, Raw)>(args(r#""room",{"x":[1,2]}"#)).unwrap();
        assert_eq!((&*name, rest.json()), ("room", r#"{"x":[1,2]}"#));
        assert_eq!(from_args::<Vec<u8>>(args("[1,2]")).unwrap(), [1, 2]);
        assert_eq!(from_args::<Option<u8>>(args("")).unwrap(), None);
        assert_eq!(from_args::<Value>(args(r#"{"a":1}"#)).unwrap(), json!({"a": 1}));
        assert!(from_args::<(u8,)>(two.clone()).is_err());
        assert!(from_args::<(String, u8, u8)>(two).is_err());
    }

    #[derive(Serialize)]
    struct Nothing;

    /// Hardening C4.
    #[test]
    fn null_is_an_argument() {
        assert_eq!(&*written(&Value::Null).json, "null");
        assert_eq!(&*written(&&Value::Null).json, "null");
        assert_eq!(&*written(&Data::from(Value::Null)).json, "null");
        assert_eq!(&*written(&()).json, "");
    }

    /// Hardening A3: JSON from a client cannot act as a placeholder for other bytes in the
    /// arguments.
    #[test]
    fn a_lookalike_beside_bytes_is_an_error() {
        let stand_in = json!({"_placeholder": true, "num": 0});
        let bytes = Binary::from(vec![7; 1000]);
        let many: Vec<&Value> = vec![&stand_in; 800];
        for result in [
            to_args(&(&many, &bytes), &mut BytesMut::new()),
            to_args(&(&stand_in, &bytes), &mut BytesMut::new()),
            to_args(&(Raw(written(&stand_in)), &bytes), &mut BytesMut::new()),
            to_args(&(&bytes, json!({"_placeholder": true, "num": 1})), &mut BytesMut::new()),
            to_args(&(&bytes, json!([{"_placeholder": true}])), &mut BytesMut::new()),
        ] {
            assert!(result.unwrap_err().to_string().contains("_placeholder"));
        }
        let same_twice = written(&(&bytes, &bytes));
        assert_eq!(same_twice.attachments.len(), 2);
        assert_eq!(same_twice.attachments[0].as_ptr(), same_twice.attachments[1].as_ptr());
        assert_eq!(written(&many).attachments.len(), 0);
    }

    #[test]
    fn types_become_arguments() {
        for (actual, expected) in [
            (written(&("a", 2)), r#""a",2"#),
            (written("a"), r#""a""#),
            (written(&()), ""),
            (written(&vec![1, 2]), "[1,2]"),
            (written(&[1, 2]), "1,2"),
            (written(&json!({"a": [null]})), r#"{"a":[null]}"#),
            (written(&f64::NAN), "null"),
            (written(&&()), ""),
            (written(&&mut ()), ""),
            (written(&None::<u8>), "null"),
            (written(&Some(())), "null"),
            (written(&((),)), "null"),
            (written(&Nothing), "null"),
            (written(&(1, Value::Null)), "1,null"),
            (written(&RawArgs(args("1, 2"))), "1, 2"),
            (written(&("x", Raw(args("{ }")))), r#""x",{ }"#),
            (written(&Data::Json("[ 1 ]".into())), "[ 1 ]"),
            (written(&Data::Text("é\"".into())), r#""é\"""#),
        ] {
            assert_eq!(&*actual.json, expected);
            assert!(actual.attachments.is_empty());
        }
    }

    /// Hardening B13: the exact values of MessagePack stay with arguments that are passed on, all
    /// together or one by one, and with no other arguments.
    #[cfg(feature = "msgpack")]
    #[test]
    fn what_was_said_exactly_is_passed_on() {
        let mut first = Args::from(ByteString::from("null"));
        let undefined = exact();
        first.exact = undefined.clone();
        let mut both = args("null,1");
        both.exact = undefined.clone();

        let raw = from_args::<RawArgs>(both.clone()).unwrap();
        assert_eq!(written(&raw), both);
        let one = from_args::<Raw>(both.clone()).unwrap();
        assert_eq!(written(&one), first);
        let (one, two) = from_args::<(Raw, Raw)>(both.clone()).unwrap();
        assert!(two.0.exact.is_empty());
        let turned = written(&("x", two, one));
        assert_eq!((&*turned.json, turned.exact.get(1)), ("\"x\",1,null", None));
        assert_eq!(turned.exact.get(2), undefined.get(0));
        assert!(
            written(&from_args::<(Value, Value)>(both.clone()).unwrap())
                .exact
                .is_empty()
        );
        assert_eq!(RawArgs(both.clone()).compact().0, both);
    }

    /// Returns the exact values of a MessagePack client's packet with one undefined argument.
    #[cfg(feature = "msgpack")]
    fn exact() -> sio_proto::socket::Exact {
        use sio_proto::codec::{MessagePack, PacketParser, Parsed};
        use sio_proto::server::EngineMessage;
        use sio_proto::socket::{Packet, text::Limits};
        let event = b"\x83\xa4type\x02\xa4data\x92\xa1e\xd4\x00\x00\xa3nsp\xa1/";
        let message = EngineMessage::Binary(Bytes::from_static(event));
        match MessagePack::default().decode(message, &Limits::default()) {
            Ok(Parsed::Packet(Packet::Event { args, .. })) => args.exact,
            other => panic!("{other:?}"),
        }
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Photo {
        name: String,
        pixels: Binary,
        thumbs: Vec<Option<Bytes>>,
    }

    #[test]
    fn bytes_travel_as_attachments_at_any_depth() {
        let photo = Photo {
            name: "x".into(),
            pixels: Binary::from(&b"abc"[..]),
            thumbs: vec![Some(Bytes::from_static(b"d")), None],
        };
        let sent = written(&(1, &photo));
        assert_eq!(
            &*sent.json,
            r#"1,{"name":"x","pixels":{"_placeholder":true,"num":0},"thumbs":[{"_placeholder":true,"num":1},null]}"#
        );
        assert_eq!(sent.attachments, ["abc", "d"]);
        let (one, back) = from_args::<(u8, Photo)>(sent.clone()).unwrap();
        assert_eq!((one, &back), (1, &photo));

        // `Binary` is passed on without a copy.
        let (_, again) = from_args::<(u8, Photo)>(sent.clone()).unwrap();
        assert_eq!(again.pixels.0.as_ptr(), sent.attachments[0].as_ptr());
        assert_eq!(
            written(&again.pixels).attachments[0].as_ptr(),
            sent.attachments[0].as_ptr()
        );

        let (first, second) = from_args::<(u8, Raw)>(sent).unwrap();
        assert_eq!(first, 1);
        assert_eq!(second.parse::<Photo>().unwrap(), photo);
        // When a value is passed on together with other binary arguments, its placeholders get new
        // numbers.
        let mixed = written(&(Binary::from(&b"first"[..]), second));
        assert_eq!(mixed.attachments, ["first", "abc", "d"]);
        let (_, back) = from_args::<(Bytes, Photo)>(mixed).unwrap();
        assert_eq!(back, photo);
    }

    /// Newcomers D3: if a handler asks for numbers and the client has sent bytes, the error names
    /// the type to ask for.
    #[test]
    fn bytes_do_not_fit_into_numbers() {
        let sent = written(&Binary::from(vec![1, 2]));
        let error = from_args::<Vec<u8>>(sent).unwrap_err().to_string();
        assert!(error.ends_with("`Binary` or `Bytes` reads them"), "{error}");
        assert!(
            !from_args::<Vec<u8>>(args("\"x\""))
                .unwrap_err()
                .to_string()
                .contains("Binary")
        );
        assert_eq!(&*written(&vec![1_u8, 2]).json, "[1,2]");
    }

    #[test]
    fn one_binary_argument() {
        let sent = written(&Bytes::from_static(b"xyz"));
        assert_eq!(&*sent.json, r#"{"_placeholder":true,"num":0}"#);
        assert_eq!(from_args::<Bytes>(sent.clone()).unwrap(), "xyz");
        assert_eq!(from_args::<Binary>(sent.clone()).unwrap().0, "xyz");
        assert_eq!(from_args::<(Bytes,)>(sent.clone()).unwrap().0, "xyz");
        assert_eq!(from_args::<Data>(sent).unwrap(), Data::Binary("xyz".into()));
        assert_eq!(from_args::<Data>(args(r#""a\n""#)).unwrap(), Data::Text("a\n".into()));
        assert_eq!(
            from_args::<Data>(args(r#"{"a":1}"#)).unwrap(),
            Data::Json(r#"{"a":1}"#.into())
        );
        assert!(from_args::<Bytes>(args("\"x\"")).is_ok());
        assert!(from_args::<Binary>(args("5")).is_err());
        assert!(serde_json::to_string(&Raw(args("1"))).is_err());
        assert!(serde_json::from_str::<RawArgs>("1").is_err());
    }
}
