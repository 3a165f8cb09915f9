//! The messages between nodes as bytes, in both directions (docs/protocol/cluster-redis.md §1 to
//! §5).
//!
//! ```text
//! classic    P#N#, P#N#<room>#     MessagePack [uid, packet, opts]                          Broadcast
//!            P-request#N#          JSON {"uid","requestId","type",…}, MessagePack (type 7)  ClassicRequest
//!            P-response#N#         JSON {"requestId",…}, MessagePack (type 9)               ClassicResponse
//! sharded    P#N#, P#N#<uid>#      JSON {"type","data","uid","nsp"}, MessagePack if bytes   Envelope
//! streams    the stream            fields uid, nsp, type, data                              Envelope
//!            P#N#, P#N#<uid>#      MessagePack {type, data, uid, nsp}                       Envelope
//! emitter    as classic            another order of members, or no uid                      the three above
//! ```
//! Arguments stay raw: JSON with attachments, as they are in every packet.
//!
//! Invariants:
//! - A message that is written has all members that genuine nodes expect. A genuine node that reads
//!   an incomplete message may end its process (docs/protocol/cluster-redis.md §9).
//! - A message that is read is complete and within the limits, or it is [`Malformed`]. Nobody is
//!   punished for a malformed message, because nobody knows who has published it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod classic;
mod envelope;
mod opts;
mod raw;
mod session;
mod writer;

pub(super) use classic::encode_broadcast;
pub use classic::{Broadcast, ClassicRequest, ClassicResponse, RequestBody, ResponseBody, SingleBody};
pub use envelope::{Body, Envelope};
pub(super) use session::entry_id;
pub use session::{MissedFilter, Session, is_entry_id};

use crate::ClusterConfig;
use crate::codec::{MessagePackError, PacketError};
use crate::json::JsonError;

/// The name that emitters have instead of a node's.
pub(crate) const EMITTER: &str = "emitter";

/// The field of an order in a stream with its number among those of its sender.
pub(crate) const NUMBER: &str = "n";

/// What one message may have. The values are those of [`ClusterConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageLimits {
    /// [`ClusterConfig::max_message_bytes`].
    pub max_bytes: usize,
    /// [`ClusterConfig::max_names`].
    pub max_names: usize,
    /// [`ClusterConfig::max_elements`].
    pub max_elements: usize,
    /// [`ClusterConfig::max_attachments`].
    pub max_attachments: usize,
    /// [`ClusterConfig::max_depth`]. The members around the arguments take some of it.
    pub max_depth: usize,
}

impl From<&ClusterConfig> for MessageLimits {
    fn from(config: &ClusterConfig) -> Self {
        Self {
            max_bytes: config.max_message_bytes,
            max_names: config.max_names,
            max_elements: config.max_elements,
            max_attachments: config.max_attachments,
            max_depth: config.max_depth,
        }
    }
}

impl MessageLimits {
    const fn check_length(&self, bytes: usize) -> Result<(), Malformed> {
        match bytes > self.max_bytes {
            true => Err(Malformed::TooLarge),
            false => Ok(()),
        }
    }
}

/// Why a message of another node is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It is longer than [`MessageLimits::max_bytes`].
    #[error("the message is too large")]
    TooLarge,
    /// It names more rooms and sockets than [`MessageLimits::max_names`].
    #[error("the message names too many rooms or sockets")]
    TooManyNames,
    /// The name of a node or of a request has more than 64 bytes.
    #[error("the name of a node or of a request is too long")]
    LongName,
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is not MessagePack.
    #[error(transparent)]
    MessagePack(#[from] MessagePackError),
    /// Its event cannot be read.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// It is not base64.
    #[error("invalid base64")]
    Base64,
    /// Bytes follow the message.
    #[error("bytes follow the message")]
    Trailing,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Something that is no object stands where an object belongs.
    #[error("an object is expected")]
    NoObject,
    /// Something that is no array stands where an array belongs.
    #[error("an array is expected")]
    NoArray,
    /// Something that is no text stands where a text belongs.
    #[error("a text is expected")]
    NoText,
    /// The data is no event: no array, or its first value is no name.
    #[error("an event is expected")]
    NoEvent,
    /// A member is missing, or it is of a type that it cannot have.
    #[error("{0} is missing or of the wrong type")]
    Missing(&'static str),
    /// A type that this node does not know.
    #[error("unknown type {0}")]
    UnknownType(u64),
    /// A request of `socket.io-redis` 5 and before, whose numbers mean other things.
    #[error("a request of socket.io-redis 5 or before")]
    OldRequest,
    /// An event whose name only the library itself may send.
    #[error("a reserved event name")]
    ReservedName,
}
