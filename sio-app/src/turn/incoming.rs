//! An event before its handlers are called. A filter reads it and may change it.

use std::fmt;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Serialize;

use crate::args::{ArgsError, RawArgs, to_args};

/// An event that has arrived and that no handler has seen. A filter
/// ([`Namespace::filter`](crate::Namespace::filter)) decides about it.
pub struct Incoming {
    pub(crate) name: ByteString,
    pub(crate) args: RawArgs,
    pub(crate) wants_ack: bool,
}

impl Incoming {
    /// Returns the name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments.
    #[must_use]
    pub const fn args(&self) -> &RawArgs {
        &self.args
    }

    /// Whether the client has asked for an acknowledgement.
    #[must_use]
    pub const fn wants_ack(&self) -> bool {
        self.wants_ack
    }

    /// Changes the name of the event: the handlers of the new name are called.
    pub fn set_name(&mut self, name: impl Into<ByteString>) {
        self.name = name.into();
    }

    /// Changes the arguments: `()` means none, and a tuple means several.
    ///
    /// # Errors
    /// If the arguments cannot be written as JSON.
    pub fn set_args<A: Serialize>(&mut self, args: A) -> Result<(), ArgsError> {
        self.args = RawArgs(to_args(&args, &mut BytesMut::new())?);
        Ok(())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("name", &self.name)
            .field("wants_ack", &self.wants_ack)
            .finish_non_exhaustive()
    }
}
