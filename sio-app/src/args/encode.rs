//! Writing: a `serde` serializer that makes raw arguments and takes bytes out of them as
//! attachments.

use std::cell::RefCell;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;
use serde::ser::{Error as _, SerializeTuple, Serializer};
use serde_json::Error;
use serde_json::ser::Formatter;
use sio_proto::json::{ONLY_PLACEHOLDER, named_attachments};
use sio_proto::socket::{Args, Exact};

use super::placeholder::Renumbered;
use super::receive::receive;
use super::{ArgsError, HANDOFF, Handoff, RAW, RAW_ARGS, spare_list};

/// The size of the pieces of memory that messages are written into. A message that waits for a slow
/// client keeps its piece, so the pieces are small. Larger messages get pieces of their own.
pub(crate) const SCRATCH_BYTES: usize = 8 * 1024;

/// Takes out of a scratch buffer what is written in it. The buffer is empty then. A piece of memory
/// in which much was written is given away whole: a small message behind it would keep all of it.
pub(crate) fn take_written(scratch: &mut BytesMut) -> Bytes {
    match scratch.len() > SCRATCH_BYTES {
        true => std::mem::take(scratch).freeze(),
        false => scratch.split().freeze(),
    }
}

/// Writes arguments. The documentation of the parent module says how types become arguments.
/// `scratch` must be empty, and is left empty.
pub(crate) fn to_args<T: Serialize + ?Sized>(value: &T, scratch: &mut BytesMut) -> Result<Args, ArgsError> {
    debug_assert!(scratch.is_empty(), "scratch is handed over empty");
    let mut appended = Appended::default();
    write(value, scratch, None, &mut appended)?;
    if let Some(args) = appended.whole {
        return Ok(args);
    }
    appended.check(scratch)?;
    appended.with(take_written(scratch))
}

/// The parts of written arguments that do not stand in their text.
#[derive(Default)]
pub(crate) struct Appended {
    pub(crate) attachments: Vec<Bytes>,
    /// Values that are passed on unchanged.
    exact: Exact,
    /// Arguments that were given in their final form. Then nothing has been appended.
    pub(crate) whole: Option<Args>,
}

impl Appended {
    /// Checks the text of arguments with attachments. A value from a client may look like a
    /// placeholder. In arguments with bytes, the receiving clients would treat it as a placeholder:
    /// they would replace each copy of it by the bytes of another value, or end their connections.
    pub(crate) fn check(&self, text: &[u8]) -> Result<(), ArgsError> {
        if self.attachments.is_empty() || self.attachments.len() == 1 && text == ONLY_PLACEHOLDER.as_bytes() {
            return Ok(());
        }
        let json = std::str::from_utf8(text).map_err(|e| ArgsError::new(Error::custom(e)))?;
        let named = named_attachments(json, self.attachments.len());
        named.map_err(|_| ArgsError::new(Error::custom(LOOKALIKE)))?;
        Ok(())
    }

    /// Makes the arguments, with the text that was appended and checked.
    pub(crate) fn with(self, text: Bytes) -> Result<Args, ArgsError> {
        Ok(Args {
            json: ByteString::try_from(text).map_err(|e| ArgsError::new(Error::custom(e)))?,
            attachments: self.attachments,
            exact: self.exact,
        })
    }
}

/// Appends the JSON of arguments to `text`, joined by commas. The text of arguments that are passed
/// on unchanged is copied, if it says all of them and has at most `max` bytes. What does not stand
/// in the text is put into `appended`, which is empty. After an error, `text` is empty.
#[inline]
pub(crate) fn append<T: Serialize + ?Sized>(
    value: &T,
    text: &mut BytesMut,
    max: usize,
    appended: &mut Appended,
) -> Result<(), ArgsError> {
    write(value, text, Some(max), appended)
}

/// Writes arguments. `copies` says up to which length the text of arguments in their final form is
/// copied, instead of being given back as it is.
#[inline]
fn write<T: Serialize + ?Sized>(
    value: &T,
    text: &mut BytesMut,
    copies: Option<usize>,
    appended: &mut Appended,
) -> Result<(), ArgsError> {
    let page = RefCell::new(Page {
        text,
        appended,
        argument: 0,
    });
    let result = value.serialize(List {
        json: &mut json(&page),
        page: &page,
        is_unit: is_unit::<T>,
        copies,
    });
    result.map_err(|error| {
        page.borrow_mut().text.clear();
        ArgsError::new(error)
    })
}

const LOOKALIKE: &str = "an object with the key `_placeholder` stands beside binary data, and would be taken for it";

/// Whether `T` is `()`, or a reference to it. For `serde`, `()` and `Value::Null` are the same
/// unit, but only `Value::Null` is an argument.
fn is_unit<T: ?Sized>() -> bool {
    let name = std::any::type_name::<T>();
    name.trim_start_matches('&').trim_start_matches("mut ") == "()"
}

/// The arguments that are being written.
struct Page<'b> {
    text: &'b mut BytesMut,
    appended: &'b mut Appended,
    /// The place of the argument that is being written.
    argument: usize,
}

type Json<'p, 'b> = serde_json::Serializer<Ink<'p, 'b>, Attach<'p, 'b>>;

fn json<'p, 'b>(page: &'p RefCell<Page<'b>>) -> Json<'p, 'b> {
    serde_json::Serializer::with_formatter(Ink(page), Attach(page))
}

struct Ink<'p, 'b>(&'p RefCell<Page<'b>>);

impl io::Write for Ink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().text.put_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().text.put_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A formatter for compact JSON that writes placeholders for bytes.
struct Attach<'p, 'b>(&'p RefCell<Page<'b>>);

impl Formatter for Attach<'_, '_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        let attachment = match HANDOFF.take() {
            Some(Handoff::Bytes(bytes)) if bytes.as_ptr() == value.as_ptr() && bytes.len() == value.len() => bytes,
            _ => Bytes::copy_from_slice(value),
        };
        let number = {
            let attachments = &mut self.0.borrow_mut().appended.attachments;
            if attachments.capacity() == 0 {
                *attachments = spare_list();
            }
            attachments.push(attachment);
            attachments.len() - 1
        };
        if number == 0 {
            return writer.write_all(ONLY_PLACEHOLDER.as_bytes());
        }
        writer.write_all(b"{\"_placeholder\":true,\"num\":")?;
        self.write_u64(writer, number as u64)?;
        writer.write_all(b"}")
    }
}

macro_rules! forward {
    ($target:ident: $($method:ident($($name:ident: $type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<$ok, Error> {
            self.$target.$method($($name),*)
        }
    )*};
}

macro_rules! forward_all {
    () => {
        forward! { json:
            serialize_bool(v: bool) -> ();
            serialize_i8(v: i8) -> ();
            serialize_i16(v: i16) -> ();
            serialize_i32(v: i32) -> ();
            serialize_i64(v: i64) -> ();
            serialize_i128(v: i128) -> ();
            serialize_u8(v: u8) -> ();
            serialize_u16(v: u16) -> ();
            serialize_u32(v: u32) -> ();
            serialize_u64(v: u64) -> ();
            serialize_u128(v: u128) -> ();
            serialize_f32(v: f32) -> ();
            serialize_f64(v: f64) -> ();
            serialize_char(v: char) -> ();
            serialize_str(v: &str) -> ();
            serialize_bytes(v: &[u8]) -> ();
            serialize_none() -> ();
            serialize_unit_struct(name: &'static str) -> ();
            serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
            serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
            serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> Self::SerializeTupleVariant;
            serialize_map(len: Option<usize>) -> Self::SerializeMap;
            serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
            serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> Self::SerializeStructVariant;
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            name: &'static str,
            index: u32,
            variant: &'static str,
            value: &T,
        ) -> Result<(), Error> {
            self.json.serialize_newtype_variant(name, index, variant, value)
        }
    };
}

type Inner<'s, 'p, 'b> = &'s mut Json<'p, 'b>;

/// A serializer for all arguments: each element of a tuple is an argument, any other value is the
/// only argument.
struct List<'s, 'p, 'b> {
    json: &'s mut Json<'p, 'b>,
    page: &'p RefCell<Page<'b>>,
    /// Returns whether the value is `()`, which means no arguments. It is called only when a unit
    /// is written, because it costs more than writing most events.
    is_unit: fn() -> bool,
    /// Up to which length the text of arguments in their final form is copied.
    copies: Option<usize>,
}

impl<'s, 'p, 'b> Serializer for List<'s, 'p, 'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = <Inner<'s, 'p, 'b> as Serializer>::SerializeSeq;
    type SerializeTuple = Spread<'p, 'b>;
    type SerializeTupleStruct = <Inner<'s, 'p, 'b> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <Inner<'s, 'p, 'b> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <Inner<'s, 'p, 'b> as Serializer>::SerializeMap;
    type SerializeStruct = <Inner<'s, 'p, 'b> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <Inner<'s, 'p, 'b> as Serializer>::SerializeStructVariant;

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Ok(Spread {
            page: self.page,
            first: true,
        })
    }

    fn serialize_unit(self) -> Result<(), Error> {
        match (self.is_unit)() {
            true => Ok(()),
            false => self.json.serialize_unit(),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        if name == RAW_ARGS {
            let page = &mut *self.page.borrow_mut();
            page.appended.whole = receive(value, self.copies.map(|max| (&mut *page.text, max)))?;
            return Ok(());
        }
        One {
            json: self.json,
            page: self.page,
        }
        .serialize_newtype_struct(name, value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(One {
            json: self.json,
            page: self.page,
        })
    }

    forward_all!();
}

struct Spread<'p, 'b> {
    page: &'p RefCell<Page<'b>>,
    first: bool,
}

impl SerializeTuple for Spread<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !std::mem::take(&mut self.first) {
            let mut page = self.page.borrow_mut();
            page.text.put_u8(b',');
            page.argument += 1;
        }
        value.serialize(One {
            json: &mut json(self.page),
            page: self.page,
        })
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// A serializer for one argument: it writes JSON as `serde_json` does, and raw text if that is
/// given.
struct One<'s, 'p, 'b> {
    json: &'s mut Json<'p, 'b>,
    page: &'p RefCell<Page<'b>>,
}

impl<'s, 'p, 'b> Serializer for One<'s, 'p, 'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = <Inner<'s, 'p, 'b> as Serializer>::SerializeSeq;
    type SerializeTuple = <Inner<'s, 'p, 'b> as Serializer>::SerializeTuple;
    type SerializeTupleStruct = <Inner<'s, 'p, 'b> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <Inner<'s, 'p, 'b> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <Inner<'s, 'p, 'b> as Serializer>::SerializeMap;
    type SerializeStruct = <Inner<'s, 'p, 'b> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <Inner<'s, 'p, 'b> as Serializer>::SerializeStructVariant;

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        if name == RAW
            && let Some(Handoff::Args(args)) = HANDOFF.take()
        {
            if !args.exact.is_empty() {
                let page = &mut *self.page.borrow_mut();
                page.appended.exact.append(page.argument, &args.exact);
            }
            if args.attachments.is_empty() {
                self.page.borrow_mut().text.put_slice(args.json.as_bytes());
                return Ok(());
            }
            let value: serde_json::Value = serde_json::from_str(&args.json)?;
            return Renumbered {
                value: &value,
                attachments: &args.attachments,
            }
            .serialize(self.json);
        }
        self.json.serialize_newtype_struct(name, value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Error> {
        self.json.serialize_tuple(len)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.json.serialize_unit()
    }

    forward_all!();
}
