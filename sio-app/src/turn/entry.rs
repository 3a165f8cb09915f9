//! What is done for a socket before it has been let in: a middleware may join rooms and send, and
//! neither has happened if it refuses.
//!
//! Nothing of this is the shard's before the socket is: a broadcast must not reach somebody who is
//! not in.

use bytestring::ByteString;
use sio_proto::Config;
use sio_proto::server::{AckRequest, Message, SendError};

use crate::error::EmitError;

/// Rooms and messages of a socket that asks. They are as many as a queue and a socket may have.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) rooms: Vec<ByteString>,
    pub(crate) messages: Vec<(Message, Option<AckRequest>)>,
    bytes: usize,
}

impl Entry {
    /// Joins a room, once the socket is in.
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

    /// Sends a message of about so many bytes, once the socket is in.
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
