//! From packets to MessagePack, in the forms and the order of genuine servers.
//!
//! The length of a JSON array is known at its end; MessagePack needs it at the beginning. So the
//! JSON is read twice: first the values in each bracket are counted ([`shapes`]), then the values
//! are written. Each pass takes time linear in the text. The list of counts is the only allocation,
//! and it is made only if there is a bracket.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use rmp::encode as write;

use super::decode::is_whole;
use crate::codec::PacketError;
use crate::json::{self, Token, tokens};
use crate::socket::text::DecodeError;
use crate::socket::{Args, Packet};

/// The length of the longest header: a marker and 8 bytes of a number.
const MAX_HEADER_BYTES: usize = 9;

/// Bytes around name, namespace and arguments: keys, headers, type and id.
const AROUND_PACKET: usize = 64;

/// A target for a packet: a buffer, or a counter that measures the packet.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);
    /// Announces that about this many bytes will come.
    fn expect(&mut self, bytes: usize);
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn expect(&mut self, bytes: usize) {
        self.reserve(bytes);
    }
}

/// Counts the bytes of a packet without writing them.
struct Length(usize);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    fn expect(&mut self, _: usize) {}
}

/// Whether a packet fits into `max` bytes. Only a packet that might not fit, or that has
/// attachments, is read through.
///
/// JSON grows at most by a factor of 2.25 (`1.5` and its comma become 9 bytes). An attachment is
/// written as often as a placeholder names it.
pub(super) fn fits(packet: &Packet, max: usize) -> bool {
    let most = match packet {
        Packet::Event {
            namespace, name, args, ..
        } if args.attachments.is_empty() => {
            let names = namespace.len().saturating_add(name.len());
            Some(names.saturating_add(most_bytes(args)))
        }
        Packet::Ack { namespace, args, .. } if args.attachments.is_empty() => {
            Some(namespace.len().saturating_add(most_bytes(args)))
        }
        Packet::Disconnect { namespace } => Some(namespace.len()),
        Packet::Event { .. } | Packet::Ack { .. } | Packet::Connect { .. } | Packet::ConnectError { .. } => None,
    };
    if most.is_some_and(|most| most.saturating_add(AROUND_PACKET) <= max) {
        return true;
    }
    let mut length = Length(0);
    write_packet(packet, &mut length);
    length.0 <= max
}

/// Whether every part of a packet is short enough for MessagePack, whose lengths have 32 bits.
pub(super) fn check_lengths(packet: &Packet) -> Result<(), PacketError> {
    let fits = |len: usize| u32::try_from(len).is_ok();
    let text = |text: &str| fits(text.len());
    let all_fit = match packet {
        Packet::Connect { payload, .. } => payload.as_deref().is_none_or(text),
        Packet::Disconnect { .. } => true,
        Packet::Event { name, args, .. } => text(name) && args_fit(args, fits),
        Packet::Ack { args, .. } => args_fit(args, fits),
        Packet::ConnectError { payload, .. } => text(payload),
    };
    match all_fit {
        true => Ok(()),
        false => Err(DecodeError::AttachmentsTooLarge.into()),
    }
}

fn args_fit(args: &Args, fits: impl Fn(usize) -> bool) -> bool {
    fits(args.json.len().saturating_add(args.exact.bytes())) && args.attachments.iter().all(|bytes| fits(bytes.len()))
}

/// An upper limit for the bytes of arguments without attachments.
fn most_bytes(args: &Args) -> usize {
    let json = args.json.len().saturating_mul(9) / 4;
    json.saturating_add(args.exact.bytes())
}

/// Appends a packet. Its JSON has to be valid; invalid JSON gives bytes without meaning.
pub(super) fn packet(packet: &Packet, out: &mut BytesMut) {
    write_packet(packet, out);
}

fn write_packet(packet: &Packet, out: &mut impl Sink) {
    match packet {
        Packet::Connect {
            namespace,
            query,
            payload,
        } => {
            fields(out, if payload.is_some() { 3 } else { 2 }, 0);
            if let Some(payload) = payload {
                data(out, payload);
            }
            match query {
                None => namespace_field(out, namespace),
                Some(query) => namespace_field(out, &alloc::format!("{namespace}?{query}")),
            }
        }
        Packet::Disconnect { namespace } => {
            fields(out, 2, 1);
            namespace_field(out, namespace);
        }
        Packet::Event {
            namespace,
            name,
            id,
            args,
        } => {
            fields(out, if id.is_some() { 4 } else { 3 }, 2);
            string(out, "data");
            list(out, Some(name), args);
            if let Some(id) = id {
                id_field(out, *id);
            }
            namespace_field(out, namespace);
        }
        Packet::Ack { namespace, id, args } => {
            // The order of genuine servers, which write the id first here.
            header(out, |to| drop(write::write_map_len(to, 4)));
            id_field(out, *id);
            type_field(out, 3);
            string(out, "data");
            list(out, None, args);
            namespace_field(out, namespace);
        }
        Packet::ConnectError { namespace, payload } => {
            fields(out, 3, 4);
            data(out, payload);
            namespace_field(out, namespace);
        }
    }
}

fn fields(out: &mut impl Sink, count: u32, kind: u8) {
    header(out, |to| drop(write::write_map_len(to, count)));
    type_field(out, kind);
}

fn type_field(out: &mut impl Sink, kind: u8) {
    string(out, "type");
    unsigned(out, kind.into());
}

fn id_field(out: &mut impl Sink, id: u64) {
    string(out, "id");
    unsigned(out, id);
}

fn namespace_field(out: &mut impl Sink, namespace: &str) {
    string(out, "nsp");
    string(out, namespace);
}

/// Writes one JSON value as the data of a packet.
fn data(out: &mut impl Sink, json: &str) {
    string(out, "data");
    self::json(out, json, &[]);
}

/// Writes one JSON value, whose placeholders stand for the attachments.
pub(super) fn json(out: &mut impl Sink, json: &str, attachments: &[Bytes]) {
    let (_, shapes) = shapes(json, attachments.len());
    values(out, json, &shapes, attachments);
}

/// Writes the name, if there is one, and the arguments as one array.
pub(super) fn list(out: &mut impl Sink, name: Option<&str>, args: &Args) {
    if !args.exact.is_empty() {
        return exact_list(out, name, args);
    }
    if let (Some(name), Some(text)) = (name, plain_text(&args.json)) {
        out.expect(text.len().saturating_add(name.len()).saturating_add(AROUND_PACKET));
        header(out, |to| drop(write::write_array_len(to, 2)));
        string(out, name);
        return string(out, text);
    }
    let (count, shapes) = shapes(&args.json, args.attachments.len());
    let parts = args.attachments.iter().map(Bytes::len);
    let parts = parts.chain([args.json.len(), name.map_or(0, str::len)]);
    out.expect(parts.fold(AROUND_PACKET, usize::saturating_add));
    let len = count.saturating_add(u32::from(name.is_some()));
    header(out, |to| drop(write::write_array_len(to, len)));
    if let Some(name) = name {
        string(out, name);
    }
    values(out, &args.json, &shapes, &args.attachments);
}

/// The text of arguments that are one text without escapes. Events with such arguments are common,
/// and their text is not read a second time.
fn plain_text(json: &str) -> Option<&str> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr2(b'"', b'\\', text.as_bytes()).is_none().then_some(text)
}

/// Writes the array of [`list`] if JSON expresses some arguments less exactly than they came. These
/// arguments are passed on as they came.
fn exact_list(out: &mut impl Sink, name: Option<&str>, args: &Args) {
    let given = args.bytes().saturating_add(name.map_or(0, str::len));
    out.expect(given.saturating_add(AROUND_PACKET));
    let len = (args.len() as u32).saturating_add(u32::from(name.is_some()));
    header(out, |to| drop(write::write_array_len(to, len)));
    if let Some(name) = name {
        string(out, name);
    }
    for (place, json) in args.iter().enumerate() {
        match args.exact.get(place) {
            Some(value) => out.put(value),
            None => {
                let (_, shapes) = shapes(json, args.attachments.len());
                values(out, json, &shapes, &args.attachments);
            }
        }
    }
}

/// The content of a bracket. The list of shapes has the order in which brackets open.
struct Shape {
    /// Number of values, or of keys.
    items: u32,
    /// The bracket around it, while it is open.
    around: Option<u32>,
    object: bool,
    /// Whether the object is marked as a placeholder.
    marked: bool,
    number: Option<usize>,
    /// The index of the first bracket behind this one in the list.
    end: u32,
}

/// Counts the values of `json`, and the values in each of its brackets. An object that names one of
/// `attachments` is a placeholder. Without attachments nothing is a placeholder
/// (docs/protocol/socket-io.md §2.1).
fn shapes(json: &str, attachments: usize) -> (u32, Vec<Shape>) {
    // The lengths have been checked: there are less than 2^32 values.
    let (mut count, mut shapes, mut inside, mut key) = (0_u32, Vec::<Shape>::new(), None::<u32>, None);
    for token in tokens(json) {
        let opened = shapes.len() as u32;
        let shape = inside.and_then(|at| shapes.get_mut(at as usize));
        match (token, shape) {
            (Token::Key(literal), Some(shape)) => {
                shape.items = shape.items.saturating_add(1);
                key = (attachments > 0).then(|| json::unescape(literal));
            }
            (Token::Close, Some(shape)) => {
                inside = shape.around.take();
                shape.end = opened;
                shape.number = shape.number.filter(|number| shape.marked && *number < attachments);
            }
            (Token::Key(_) | Token::Close, None) => {}
            (value @ (Token::Open { .. } | Token::String(_) | Token::Word(_)), shape) => {
                match shape {
                    None => count = count.saturating_add(1),
                    Some(shape) if shape.object => note(shape, key.take().as_deref(), value),
                    Some(shape) => shape.items = shape.items.saturating_add(1),
                }
                if let Token::Open { object } = value {
                    shapes.push(Shape {
                        items: 0,
                        around: inside,
                        object,
                        marked: false,
                        number: None,
                        end: 0,
                    });
                    inside = Some(opened);
                }
            }
        }
    }
    (count, shapes)
}

/// Records a member that may make an object a placeholder. If several members have one name, the
/// last one counts.
fn note(shape: &mut Shape, key: Option<&str>, value: Token<'_>) {
    match key {
        Some("_placeholder") => shape.marked = value == Token::Word("true"),
        Some("num") => {
            shape.number = match value {
                Token::Word(word) => json::leading_number(word),
                _ => None,
            };
        }
        _ => {}
    }
}

/// Appends the values of `json`, whose brackets are `shapes`.
fn values(out: &mut impl Sink, json: &str, shapes: &[Shape], attachments: &[Bytes]) {
    let (mut at, mut tokens) = (0_usize, tokens(json));
    while let Some(token) = tokens.next() {
        match token {
            Token::Open { .. } => {
                let Some(shape) = shapes.get(at) else { return };
                at = at.saturating_add(1);
                if let Some(attachment) = shape.number.and_then(|number| attachments.get(number)) {
                    header(out, |to| drop(write::write_bin_len(to, attachment.len() as u32)));
                    out.put(attachment);
                    skip_to_end(&mut tokens);
                    at = shape.end as usize;
                } else if shape.object {
                    header(out, |to| drop(write::write_map_len(to, shape.items)));
                } else {
                    header(out, |to| drop(write::write_array_len(to, shape.items)));
                }
            }
            Token::Close => {}
            Token::Key(literal) | Token::String(literal) => string(out, &json::unescape(literal)),
            Token::Word("null") => header(out, |to| drop(write::write_nil(to))),
            Token::Word("true") => header(out, |to| drop(write::write_bool(to, true))),
            Token::Word("false") => header(out, |to| drop(write::write_bool(to, false))),
            Token::Word(text) => number(out, text),
        }
    }
}

/// Steps behind the bracket that closes the bracket opened last.
fn skip_to_end<'a>(tokens: &mut impl Iterator<Item = Token<'a>>) {
    let mut open = 1_usize;
    for token in tokens {
        match token {
            Token::Open { .. } => open = open.saturating_add(1),
            Token::Close => open = open.saturating_sub(1),
            Token::Key(_) | Token::String(_) | Token::Word(_) => {}
        }
        if open == 0 {
            return;
        }
    }
}

fn number(out: &mut impl Sink, text: &str) {
    if let Ok(number) = text.parse::<u64>() {
        return unsigned(out, number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return signed(out, number);
    }
    // The number is too large, or has a fraction or an exponent: it is read as JavaScript reads it.
    // A number that is too large even for a float is infinite.
    let number: f64 = text.parse().unwrap_or_default();
    if is_whole(number) {
        signed(out, number as i64);
    } else {
        header(out, |to| drop(write::write_f64(to, number)));
    }
}

fn signed(out: &mut impl Sink, number: i64) {
    match u64::try_from(number) {
        Ok(number) => unsigned(out, number),
        Err(_) => header(out, |to| drop(write::write_sint(to, number))),
    }
}

pub(super) fn unsigned(out: &mut impl Sink, number: u64) {
    header(out, |to| drop(write::write_uint(to, number)));
}

/// The longest text whose length stands in one byte with its kind (`fixstr`).
const SHORT_BYTES: usize = 31;

pub(super) fn string(out: &mut impl Sink, text: &str) {
    // Most texts are short, and are written at once: `fixstr`.
    if text.len() <= SHORT_BYTES {
        let mut bytes = [0xa0 | text.len() as u8; SHORT_BYTES + 1];
        if let Some(room) = bytes.get_mut(1..=text.len()) {
            room.copy_from_slice(text.as_bytes());
        }
        return out.put(bytes.get(..=text.len()).unwrap_or_default());
    }
    header(out, |to| drop(write::write_str_len(to, text.len() as u32)));
    out.put(text.as_bytes());
}

/// Appends the bytes that `write` writes. There is room for every header, so `write` cannot fail.
pub(super) fn header(out: &mut impl Sink, write: impl FnOnce(&mut &mut [u8])) {
    let mut bytes = [0; MAX_HEADER_BYTES];
    let mut room = &mut bytes[..];
    write(&mut room);
    let written = MAX_HEADER_BYTES.saturating_sub(room.len());
    out.put(bytes.get(..written).unwrap_or_default());
}
