//! The entry of a socket collects what is done for the socket before it has been let in. A
//! middleware may join rooms and send. If it refuses the socket, nothing of this has happened.
//!
//! The shard learns of the rooms and messages only when the socket is let in: a broadcast must not
//! reach a socket that has not been let in.

use bytestring::ByteString;
use sio_proto::Config;
use sio_proto::server::{AckRequest, Message, SendError};

use crate::error::EmitError;
use crate::turn::credentials::Doubt;

/// The rooms and messages of a socket that asks to be let in. Their limits are those of a socket's
/// rooms and of a session's queue.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) rooms: Vec<ByteString>,
    pub(crate) messages: Vec<(Message, Option<AckRequest>)>,
    /// The questions of revocations that have come meanwhile.
    pub(super) doubts: Vec<Doubt>,
    bytes: usize,
}

impl Entry {
    /// Joins a room when the socket is let in.
    pub(crate) fn join(&mut self, room: &str, config: &Config) -> Result<(), EmitError> {
        if self.rooms.iter().any(|known| **known == *room) {
            return Ok(());
        }
        if self.rooms.len() >= config.max_rooms_per_socket {
            return Err(SendError::Full.into());
        }
        self.rooms.push(room.into());
        Ok(())
    }

    /// Leaves a room.
    pub(crate) fn leave(&mut self, room: &str) {
        self.rooms.retain(|known| **known != *room);
    }

    /// Sends a message of about `bytes` bytes when the socket is let in.
    pub(crate) fn send(
        &mut self,
        message: Message,
        bytes: usize,
        ack: Option<AckRequest>,
        config: &Config,
    ) -> Result<(), EmitError> {
        if self.messages.len() >= config.max_queued_packets || self.bytes + bytes > config.max_queued_bytes {
            return Err(SendError::Full.into());
        }
        self.bytes += bytes;
        self.messages.push((message, ack));
        Ok(())
    }
}
