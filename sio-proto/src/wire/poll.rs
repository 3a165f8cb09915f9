//! The body of the answer to a poll, in every generation.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{engine, legacy06, legacy09};
use crate::Frame;
use crate::codec::Codec;

/// How packets are put together in the body of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollEncoding {
    /// Packets separated by U+001E, binary as base64 (docs/protocol/engine-io.md §3.1).
    Engine4,
    /// Packets as in [`Engine4`](Self::Engine4), in an Engine.IO JSONP answer with this index
    /// (docs/protocol/engine-io.md §4.6).
    Engine4Jsonp(ByteString),
    /// Length-prefixed packets, binary as base64 (docs/protocol/engine-io.md §3.2).
    Engine3,
    /// Packets as in [`Engine3`](Self::Engine3), for a peer that encodes text twice
    /// (docs/protocol/engine-io.md §3.3).
    Engine3Doubled,
    /// Length-prefixed packets in bytes (docs/protocol/engine-io.md §3.4).
    Engine3Binary,
    /// Packets as in [`Engine3`](Self::Engine3), in an Engine.IO JSONP answer with this index
    /// (docs/protocol/engine-io.md §4.6).
    Engine3Jsonp(ByteString),
    /// Packets as in [`Engine3Doubled`](Self::Engine3Doubled), in a JSONP answer with this index.
    Engine3DoubledJsonp(ByteString),
    /// Packets of 0.7-0.9, framed if there are several (docs/protocol/legacy-0.9.md §5).
    Legacy09,
    /// Packets as in [`Legacy09`](Self::Legacy09), in the script of this callback
    /// (docs/protocol/legacy-0.9.md §7).
    Legacy09Jsonp(u64),
    /// Payloads of the 0.6 family, joined by their codec
    /// ([`MessageCodec::join`](crate::codec::MessageCodec::join)).
    Legacy06(Codec),
    /// Payloads as in [`Legacy06`](Self::Legacy06), in the script of this callback
    /// (docs/protocol/legacy-0.6.md §7).
    Legacy06Jsonp(Codec, u64),
}

impl PollEncoding {
    /// Whether it belongs to a generation older than 1.0.
    pub(crate) const fn is_legacy(&self) -> bool {
        match self {
            Self::Legacy09 | Self::Legacy09Jsonp(_) | Self::Legacy06(_) | Self::Legacy06Jsonp(..) => true,
            Self::Engine4
            | Self::Engine4Jsonp(_)
            | Self::Engine3
            | Self::Engine3Doubled
            | Self::Engine3Binary
            | Self::Engine3Jsonp(_)
            | Self::Engine3DoubledJsonp(_) => false,
        }
    }

    /// Puts the packets together. `buffer` is a scratch buffer, and the result shares its memory.
    pub(crate) fn encode(&self, frames: &[Frame], buffer: &mut BytesMut) -> Bytes {
        self.append(frames, buffer);
        buffer.split().freeze()
    }

    /// Appends the packets, put together, to an empty buffer.
    pub(crate) fn append(&self, frames: &[Frame], buffer: &mut BytesMut) {
        debug_assert!(buffer.is_empty(), "a script is made of all that is in the buffer");
        let sum = |sum: usize, frame: &Frame| sum.saturating_add(frame.len()).saturating_add(1);
        buffer.reserve(frames.iter().fold(0, sum));
        match self {
            Self::Engine4 => engine::encode_v4(frames, buffer),
            Self::Engine4Jsonp(index) => {
                engine::encode_v4(frames, buffer);
                engine::encode_script(index, buffer);
            }
            Self::Engine3 => engine::encode_v3(frames, buffer),
            Self::Engine3Doubled => engine::encode_v3_doubled(frames, buffer),
            Self::Engine3Binary => engine::encode_v3_binary(frames, buffer),
            Self::Engine3Jsonp(index) => {
                engine::encode_v3(frames, buffer);
                engine::encode_script(index, buffer);
            }
            Self::Engine3DoubledJsonp(index) => {
                engine::encode_v3_doubled(frames, buffer);
                engine::encode_script(index, buffer);
            }
            Self::Legacy09 => legacy09::encode_poll(frames, buffer),
            Self::Legacy09Jsonp(index) => legacy09::encode_script(*index, frames, buffer),
            Self::Legacy06(codec) => legacy06::encode_poll(codec, frames, buffer),
            Self::Legacy06Jsonp(codec, index) => legacy06::encode_script(codec, *index, frames, buffer),
        }
    }
}
