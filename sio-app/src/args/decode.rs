//! Reading: a `serde` deserializer for raw arguments, and one that replaces placeholders by their
//! attachments.

use std::any::Any;
use std::cell::Cell;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde_json::Error;
use sio_proto::json::plain_placeholder;
use sio_proto::socket::Args;

use super::placeholder::BytesVisitor;
use super::{ArgsError, BINARY, Binary, DATA, Data, HANDOFF, Handoff, RAW, RAW_ARGS, RawArgs, keep_list};

/// Reads arguments as a type, as the documentation of the parent module says.
pub(crate) fn from_args<T: DeserializeOwned + 'static>(mut args: Args) -> Result<T, ArgsError> {
    let mut slot: Option<T> = None;
    if let Some(slot) = (&mut slot as &mut dyn Any).downcast_mut::<Option<RawArgs>>() {
        *slot = Some(RawArgs(args_handed_over(args)));
    } else if let Some(slot) = (&mut slot as &mut dyn Any).downcast_mut::<Option<Binary>>()
        && let Some(place) = plain_placeholder(&args.json)
        && place < args.attachments.len()
    {
        // Bytes alone are usual. Nothing else needs them, so they are moved.
        *slot = Some(Binary(handed_over(args.attachments.swap_remove(place))));
        keep_list(args.attachments);
    } else {
        slot = Some(T::deserialize(List(&args)).map_err(|error| misfit(error, &args))?);
        keep_list(args.attachments);
    }
    slot.ok_or_else(|| ArgsError::new(Error::custom("unreachable: one of the branches has filled it")))
}

/// Makes the error for arguments that do not fit. If the arguments contain bytes, the error names
/// the types that read bytes, because the handler may have asked for a `Vec<u8>`.
fn misfit(error: Error, args: &Args) -> ArgsError {
    ArgsError::new(match &args.attachments[..] {
        [] => error,
        _ => Error::custom(format_args!(
            "{error}; there are bytes in the arguments: `Binary` or `Bytes` reads them"
        )),
    })
}

thread_local!(static KEEPS: Cell<bool> = const { Cell::new(false) });

/// Reads arguments for a caller that may keep them for long: small parts of the value that would
/// share the buffer are copied into memory of their own.
pub(crate) fn from_args_to_keep<T: DeserializeOwned + 'static>(args: Args) -> Result<T, ArgsError> {
    /// Resets the flag even if the type's own code panics.
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            KEEPS.set(false);
        }
    }
    KEEPS.set(true);
    let _ends = Ends;
    from_args(args)
}

/// Returns the bytes as the type gets them: copied, if they are small and may be kept for long.
pub(super) fn handed_over(bytes: Bytes) -> Bytes {
    match KEEPS.get() {
        true => small(bytes),
        false => bytes,
    }
}

fn args_handed_over(args: Args) -> Args {
    match KEEPS.get() {
        true => detached(args),
        false => args,
    }
}

/// The most bytes that are copied. A larger value is most of its buffer, so it keeps the buffer.
const MAX_COPIED: usize = 64 * 1024;

/// Copies the bytes into memory of their own, if there are few.
pub(crate) fn small(bytes: Bytes) -> Bytes {
    match bytes.len() {
        ..=MAX_COPIED => Bytes::copy_from_slice(&bytes),
        _ => bytes,
    }
}

/// Copies a text into memory of its own, if it is small.
pub(crate) fn detached_text(text: ByteString) -> ByteString {
    match text.len() {
        ..=MAX_COPIED => ByteString::from(&*text),
        _ => text,
    }
}

/// Copies arguments that will be kept into memory of their own, except for large parts.
pub(crate) fn detached(args: Args) -> Args {
    Args {
        json: detached_text(args.json),
        attachments: args.attachments.into_iter().map(small).collect(),
        exact: match args.exact.is_empty() {
            true => args.exact,
            false => args.exact.detached(),
        },
    }
}

/// A deserializer for all arguments: a tuple takes them one by one, any other type reads the first.
struct List<'a>(&'a Args);

impl<'a> List<'a> {
    fn first(&self) -> Arg<'a> {
        Arg {
            args: self.0,
            place: 0,
            json: self.0.iter().next(),
        }
    }
}

macro_rules! to_first {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            self.first().$method($($name,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for List<'de> {
    type Error = Error;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements {
            args: self.0,
            rest: self.0.iter(),
            next: 0,
            left: len,
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == RAW_ARGS {
            HANDOFF.set(Some(Handoff::Args(args_handed_over(self.0.clone()))));
            return visitor.visit_unit();
        }
        self.first().deserialize_newtype_struct(name, visitor)
    }

    to_first! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

struct Elements<'a> {
    args: &'a Args,
    rest: sio_proto::json::Elements<'a>,
    next: usize,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let place = self.next;
        self.next += 1;
        seed.deserialize(Arg {
            args: self.args,
            place,
            json: self.rest.next(),
        })
        .map(Some)
    }
}

/// A deserializer for one argument. `json` is `None` if the peer did not send the argument; then it
/// reads as `null`.
struct Arg<'a> {
    args: &'a Args,
    place: usize,
    json: Option<&'a str>,
}

impl Arg<'_> {
    fn raw(&self) -> ByteString {
        self.json.map_or(const { ByteString::from_static("null") }, |json| {
            self.args.json.slice_ref(json)
        })
    }

    fn bytes(&self) -> Option<Bytes> {
        let attachments = &self.args.attachments;
        if attachments.is_empty() {
            return None;
        }
        let visitor = BytesVisitor {
            attachments,
            visitor: super::placeholder::Keep,
        };
        serde_json::Deserializer::from_str(self.json?)
            .deserialize_any(visitor)
            .ok()
    }

    fn data(&self) -> Result<Data, Error> {
        if let Some(bytes) = self.bytes() {
            return Ok(Data::Binary(bytes));
        }
        let raw = self.raw();
        let Some(quoted) = raw.strip_prefix('"') else {
            return Ok(Data::Json(raw));
        };
        if quoted.contains('\\') {
            return serde_json::from_str::<String>(&raw).map(|text| Data::Text(text.into()));
        }
        Ok(Data::Text(raw.slice_ref(quoted.strip_suffix('"').unwrap_or(quoted))))
    }
}

macro_rules! to_json {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            let mut json = serde_json::Deserializer::from_str(self.json.unwrap_or("null"));
            match &self.args.attachments[..] {
                [] => json.$method($($name,)* visitor),
                attachments => Attached { inner: &mut json, attachments }.$method($($name,)* visitor),
            }
        }
    )*};
}

/// The attachment that stands for this JSON, if it is a placeholder as genuine encoders write it.
#[inline]
fn plain_bytes<'a>(json: &str, attachments: &'a [Bytes]) -> Option<&'a Bytes> {
    match attachments {
        [] => None,
        attachments => attachments.get(plain_placeholder(json)?),
    }
}

impl<'de> Deserializer<'de> for Arg<'de> {
    type Error = Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let handoff = match name {
            RAW => Handoff::Args(args_handed_over(Args {
                json: self.raw(),
                attachments: self.args.attachments.clone(),
                exact: self.args.exact.only(self.place),
            })),
            DATA => Handoff::Data(match self.data()? {
                Data::Binary(bytes) => Data::Binary(handed_over(bytes)),
                Data::Text(text) if KEEPS.get() => Data::Text(detached_text(text)),
                Data::Json(json) if KEEPS.get() => Data::Json(detached_text(json)),
                data => data,
            }),
            BINARY if let Some(bytes) = self.json.and_then(|json| plain_bytes(json, &self.args.attachments)) => {
                Handoff::Bytes(bytes.clone())
            }
            _ => {
                let mut json = serde_json::Deserializer::from_str(self.json.unwrap_or("null"));
                return match &self.args.attachments[..] {
                    [] => json.deserialize_newtype_struct(name, visitor),
                    attachments => Attached {
                        inner: &mut json,
                        attachments,
                    }
                    .deserialize_newtype_struct(name, visitor),
                };
            }
        };
        HANDOFF.set(Some(handoff));
        visitor.visit_unit()
    }

    to_json! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// Wraps a deserializer, visitor or access of `serde_json`, together with the attachments. If the
/// type asks for bytes, a placeholder is replaced by its attachment.
struct Attached<'a, T> {
    inner: T,
    attachments: &'a [Bytes],
}

impl<'a, T> Attached<'a, T> {
    const fn wrap<U>(&self, inner: U) -> Attached<'a, U> {
        Attached {
            inner,
            attachments: self.attachments,
        }
    }
}

macro_rules! wrapped {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.wrap(visitor);
            self.inner.$method($($name,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Attached<'_, D> {
    type Error = D::Error;

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(BytesVisitor {
            attachments: self.attachments,
            visitor,
        })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        if name == BINARY {
            let keep = BytesVisitor {
                attachments: self.attachments,
                visitor: super::placeholder::Keep,
            };
            HANDOFF.set(Some(Handoff::Bytes(self.inner.deserialize_any(keep)?)));
            return visitor.visit_unit();
        }
        let visitor = self.wrap(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    wrapped! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

macro_rules! plain_visits {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Attached<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    plain_visits! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let seq = self.wrap(seq);
        self.inner.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = self.wrap(map);
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        let data = self.wrap(data);
        self.inner.visit_enum(data)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Attached<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.wrap(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Attached<'a, A> {
    type Error = A::Error;
    type Variant = Attached<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let attachments = self.attachments;
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((
            value,
            Attached {
                inner: variant,
                attachments,
            },
        ))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Attached<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.wrap(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
