//! An event that the user sends, and what becomes of it without a connection.

use core::time::Duration;

use bytestring::ByteString;

use super::event::EmitId;
use crate::Time;
use crate::socket::Args;

/// What happens to an event that cannot be written at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Offline {
    /// It waits, within the limits of the queue.
    #[default]
    Queue,
    /// It waits, and takes the place of an event with the same key that waits already.
    Newest(ByteString),
    /// [`Client::emit`](super::Client::emit) returns an error if the namespace is not connected.
    Reject,
    /// It is dropped if the transport cannot take it now, or if earlier events of its namespace
    /// wait.
    Volatile,
}

/// An event for the server.
#[derive(Clone, Debug)]
pub struct Emit {
    /// The name.
    pub name: ByteString,
    /// The arguments.
    pub args: Args,
    /// Whether the server is asked for an acknowledgement.
    pub ack: bool,
    /// Time for the acknowledgement, from now. Default
    /// [`ClientConfig::ack_timeout`](super::ClientConfig::ack_timeout).
    pub timeout: Option<Duration>,
    /// What happens if it cannot be written at once.
    pub offline: Offline,
}

impl Emit {
    /// An event without acknowledgement that waits for a connection if there is none.
    #[must_use]
    pub fn new(name: impl Into<ByteString>, args: Args) -> Self {
        Self {
            name: name.into(),
            args,
            ack: false,
            timeout: None,
            offline: Offline::default(),
        }
    }

    /// Asks for an acknowledgement.
    #[must_use]
    pub const fn ack(mut self) -> Self {
        self.ack = true;
        self
    }

    /// Sets [`Emit::timeout`](#structfield.timeout).
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets [`Emit::offline`](#structfield.offline).
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }
}

/// An event that waits in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'a> {
    /// Its number.
    pub emit: EmitId,
    /// Its name.
    pub name: &'a ByteString,
    /// Its arguments.
    pub args: &'a Args,
    /// Since when it waits.
    pub since: Time,
}
