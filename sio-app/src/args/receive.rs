//! How raw arguments reach the serializer of this crate without being copied or parsed.
//!
//! ```text
//!   RawArgs::serialize ─► serialize_newtype_struct(RAW_ARGS, Door)
//!                             our serializer: asks the door        any other: an error
//! ```
//! The door gives its text as a string, or the arguments themselves through the slot
//! ([`HANDOFF`]). It opens only for a serializer that has asked for it just before.

use std::cell::Cell;

use bytes::{BufMut, BytesMut};
use serde::ser::{Error as _, Impossible, Serialize, Serializer};
use serde_json::Error;
use sio_proto::socket::Args;

use super::{HANDOFF, Handoff};

/// The size from which on a text gets a buffer of its own size, with room for a bracket behind it.
/// A buffer that grows has up to twice the size of what is in it, and a message that waits for a
/// slow client keeps its buffer.
pub(crate) const LARGE: usize = 4 * 1024;

/// What the serializer that has asked takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nobody has asked.
    Nothing,
    /// The text, if it says everything and is no longer than this, or else the arguments.
    Text(usize),
    /// The arguments.
    Whole,
}

thread_local!(static ASKED: Cell<Takes> = const { Cell::new(Takes::Nothing) });

/// The question of a serializer. It is over when this is dropped, also by a panic of what was
/// asked.
struct Question;

impl Question {
    fn ask(takes: Takes) -> Self {
        ASKED.set(takes);
        Self
    }

    /// Ends the question. Returns whether the door has answered it.
    fn end(self) -> bool {
        ASKED.get() == Takes::Nothing
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        ASKED.set(Takes::Nothing);
    }
}

/// Raw arguments, for a serializer of this crate.
pub(super) struct Door<'a>(pub(super) &'a Args);

impl Serialize for Door<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(args) = self;
        match ASKED.replace(Takes::Nothing) {
            Takes::Nothing => Err(S::Error::custom(
                "raw arguments can only stand for whole arguments of an event",
            )),
            Takes::Text(max) if args.json.len() <= max && args.attachments.is_empty() && args.exact.is_empty() => {
                serializer.serialize_str(&args.json)
            }
            Takes::Text(_) | Takes::Whole => {
                HANDOFF.set(Some(Handoff::Args((*args).clone())));
                serializer.serialize_unit()
            }
        }
    }
}

/// Takes raw arguments: their text is appended to `text`, if there is one, and it has room for the
/// text, and the text says everything. Otherwise the arguments are returned.
#[inline]
pub(super) fn receive<T: Serialize + ?Sized>(
    door: &T,
    text: Option<(&mut BytesMut, usize)>,
) -> Result<Option<Args>, Error> {
    let (text, takes) = match text {
        Some((text, max)) => (Some(text), Takes::Text(max)),
        None => (None, Takes::Whole),
    };
    let question = Question::ask(takes);
    let came = door.serialize(Receiver(text));
    // Something else than the door may have the door's name.
    if !question.end() {
        return Err(unasked());
    }
    match came? {
        Came::AsText => Ok(None),
        Came::Handed => match HANDOFF.take() {
            Some(Handoff::Args(args)) => Ok(Some(args)),
            _ => Err(unasked()),
        },
    }
}

/// How something came.
enum Came {
    AsText,
    /// It is in the slot.
    Handed,
}

struct Receiver<'a>(Option<&'a mut BytesMut>);

#[cold]
fn unasked() -> Error {
    Error::custom("only raw arguments come this way")
}

macro_rules! refuse {
    ($($method:ident($($type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$ok, Error> {
            Err(unasked())
        }
    )*};
}

impl Serializer for Receiver<'_> {
    type Ok = Came;
    type Error = Error;
    type SerializeSeq = Impossible<Came, Error>;
    type SerializeTuple = Impossible<Came, Error>;
    type SerializeTupleStruct = Impossible<Came, Error>;
    type SerializeTupleVariant = Impossible<Came, Error>;
    type SerializeMap = Impossible<Came, Error>;
    type SerializeStruct = Impossible<Came, Error>;
    type SerializeStructVariant = Impossible<Came, Error>;

    #[inline]
    fn serialize_str(self, text: &str) -> Result<Came, Error> {
        let Some(out) = self.0 else { return Err(unasked()) };
        if text.len() >= LARGE {
            let mut own = BytesMut::with_capacity(out.len() + text.len() + 1);
            own.put_slice(out);
            *out = own;
        }
        out.put_slice(text.as_bytes());
        Ok(Came::AsText)
    }

    fn serialize_unit(self) -> Result<Came, Error> {
        Ok(Came::Handed)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Came, Error> {
        Err(unasked())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Came, Error> {
        Err(unasked())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Came, Error> {
        Err(unasked())
    }

    refuse! {
        serialize_bool(bool) -> Came;
        serialize_i8(i8) -> Came;
        serialize_i16(i16) -> Came;
        serialize_i32(i32) -> Came;
        serialize_i64(i64) -> Came;
        serialize_u8(u8) -> Came;
        serialize_u16(u16) -> Came;
        serialize_u32(u32) -> Came;
        serialize_u64(u64) -> Came;
        serialize_f32(f32) -> Came;
        serialize_f64(f64) -> Came;
        serialize_char(char) -> Came;
        serialize_bytes(&[u8]) -> Came;
        serialize_none() -> Came;
        serialize_unit_struct(&'static str) -> Came;
        serialize_unit_variant(&'static str, u32, &'static str) -> Came;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use bytestring::ByteString;

    use super::super::encode::Appended;
    use super::super::{ArgsError, RawArgs, to_args};
    use super::*;

    fn append<T: Serialize + ?Sized>(value: &T, text: &mut BytesMut, max: usize) -> Result<Appended, ArgsError> {
        let mut appended = Appended::default();
        super::super::append(value, text, max, &mut appended).map(|()| appended)
    }

    fn raw(json: &'static str, attachments: &[&'static [u8]]) -> RawArgs {
        RawArgs(Args {
            attachments: attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect(),
            ..Args::from(ByteString::from_static(json))
        })
    }

    #[test]
    fn the_text_is_appended_and_attachments_come_with_the_whole() {
        let mut text = BytesMut::from(&b"["[..]);
        let appended = append(&raw(r#"1,"two""#, &[]), &mut text, 7).unwrap();
        assert!(appended.whole.is_none() && appended.attachments.is_empty());
        assert_eq!(text, &br#"[1,"two""#[..]);
        let binary = raw(r#"{"_placeholder":true,"num":0}"#, &[b"abc"]);
        text.clear();
        let appended = append(&binary, &mut text, 100).unwrap();
        assert_eq!((appended.whole, text.len()), (Some(binary.0.clone()), 0));
        let long = raw("12345678", &[]);
        let appended = append(&long, &mut text, 7).unwrap();
        assert_eq!((appended.whole, text.len()), (Some(long.0), 0), "nothing is copied");
        assert_eq!(to_args(&binary, &mut text).unwrap(), binary.0);
    }

    #[test]
    fn a_large_text_has_a_buffer_of_its_own_size() {
        let mut text = BytesMut::with_capacity(8 * 1024);
        text.put_slice(b"[");
        let large = RawArgs(Args::from(ByteString::from(format!("\"{}\"", "x".repeat(LARGE)))));
        append(&large, &mut text, usize::MAX).unwrap();
        assert_eq!((text.len(), text.capacity()), (LARGE + 3, LARGE + 4));
    }

    /// A type of the user's own with the name of raw arguments is none.
    #[test]
    fn the_name_of_raw_arguments_opens_nothing() {
        struct Pretends;

        impl Serialize for Pretends {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(crate::args::RAW_ARGS, "]; not JSON")
            }
        }

        let mut text = BytesMut::new();
        assert!(append(&Pretends, &mut text, 100).is_err());
        assert!(to_args(&Pretends, &mut text).is_err());
        assert!(text.is_empty());
    }

    /// It is user code, so it may panic.
    #[test]
    fn a_question_ends_with_a_panic() {
        struct Panics;

        impl Serialize for Panics {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                struct Inside;

                impl Serialize for Inside {
                    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                        panic!("user code");
                    }
                }
                serializer.serialize_newtype_struct(crate::args::RAW_ARGS, &Inside)
            }
        }

        assert!(crate::guarded::guarded(|| append(&Panics, &mut BytesMut::new(), 100).is_ok()).is_err());
        assert!(serde_json::to_string(&raw("1", &[])).is_err());
    }

    #[test]
    fn nobody_else_gets_raw_arguments() {
        let plain = raw("1", &[]);
        assert!(serde_json::to_string(&plain).is_err());
        assert!(to_args(&(&plain, 1), &mut BytesMut::new()).is_err());
        assert_eq!(&*to_args(&plain, &mut BytesMut::new()).unwrap().json, "1");
        assert!(serde_json::to_string(&plain).is_err(), "the question is over");
    }
}
