//! Pieces of MessagePack, for messages that are no packets of Socket.IO but contain events: those
//! between the nodes of a cluster.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmp::encode as write;

use super::{MessagePack, decode, encode};
use crate::codec::PacketError;
use crate::socket::Args;
use crate::socket::text::Limits;

pub(crate) use super::token::{Reader, Token};

/// The limits of the pieces of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceLimits {
    parser: MessagePack,
    limits: Limits,
}

impl PieceLimits {
    pub(crate) fn new(max_elements: usize, max_attachments: usize, max_depth: usize) -> Self {
        let max_binaries = max_attachments;
        Self {
            parser: MessagePack {
                max_elements,
                max_binaries,
            },
            limits: Limits {
                max_depth,
                // Names are bounded by their message: a server may let its clients send long ones.
                max_event_name_bytes: usize::MAX,
                ..Limits::default()
            },
        }
    }
}

/// An array of an event's name and its arguments. `data` is a complete value inside `message`.
pub(crate) fn event(message: &Bytes, data: &[u8], limits: &PieceLimits) -> Result<(ByteString, Args), PacketError> {
    decode::event(message, data, &limits.parser, &limits.limits)
}

/// One value as the only argument. `data` is a complete value inside `message`.
pub(crate) fn argument(message: &Bytes, data: &[u8], limits: &PieceLimits) -> Result<Args, PacketError> {
    decode::argument(message, data, &limits.parser, &limits.limits)
}

/// One value as JSON; bytes are written as `JSON.stringify` writes them. `data` is a complete value
/// inside `message`.
pub(crate) fn json(message: &Bytes, data: &[u8], limits: &PieceLimits) -> Result<ByteString, PacketError> {
    decode::json(message, data, &limits.parser, &limits.limits)
}

pub(crate) fn put_map(out: &mut BytesMut, len: usize) {
    encode::header(out, |to| drop(write::write_map_len(to, len as u32)));
}

pub(crate) fn put_array(out: &mut BytesMut, len: usize) {
    encode::header(out, |to| drop(write::write_array_len(to, len as u32)));
}

pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    encode::string(out, text);
}

pub(crate) fn put_unsigned(out: &mut BytesMut, number: u64) {
    encode::unsigned(out, number);
}

pub(crate) fn put_bool(out: &mut BytesMut, value: bool) {
    encode::header(out, |to| drop(write::write_bool(to, value)));
}

/// One JSON value, whose placeholders stand for the attachments.
pub(crate) fn put_json(out: &mut BytesMut, json: &str, attachments: &[Bytes]) {
    encode::json(out, json, attachments);
}

/// The name and the arguments as one array.
pub(crate) fn put_event(out: &mut BytesMut, name: &str, args: &Args) {
    encode::list(out, Some(name), args);
}
