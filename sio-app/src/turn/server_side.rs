//! Events that servers send to servers.

use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::socket::Args;

use crate::args::{ArgsError, RawArgs, to_args};

/// An event that another server of the cluster has sent to all servers
/// ([`Namespace::server_side_emit`](crate::Namespace::server_side_emit)).
/// [`Namespace::on_server_side`](crate::Namespace::on_server_side) handles it.
///
/// Its sender is another node, or anybody who can write to the broker.
pub struct ServerSideEvent {
    pub(crate) namespace: ByteString,
    pub(crate) name: ByteString,
    pub(crate) args: RawArgs,
    pub(crate) owed: Option<AnswerFn>,
}

/// Sends the answer to the server that has asked.
pub(crate) type AnswerFn = Arc<dyn Fn(Args) + Send + Sync>;

impl ServerSideEvent {
    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the arguments.
    #[must_use]
    pub const fn args(&self) -> &RawArgs {
        &self.args
    }

    /// Reads the arguments as a type, a tuple if there are several.
    ///
    /// # Errors
    /// If the arguments are not of this type.
    pub fn parse<T: DeserializeOwned + 'static>(&self) -> Result<T, ArgsError> {
        self.args.parse()
    }

    /// Whether the other server waits for an answer.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        self.owed.is_some()
    }

    /// Answers, with one value. Nothing is sent if no answer is wanted. The answer may come later:
    /// move the event into a task. The other server waits for as long as its own settings say.
    ///
    /// # Errors
    /// If the answer cannot be written.
    pub fn answer(self, value: impl Serialize) -> Result<(), ArgsError> {
        let Some(answer) = self.owed else { return Ok(()) };
        answer(to_args(&(value,), &mut BytesMut::new())?);
        Ok(())
    }
}

impl fmt::Debug for ServerSideEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSideEvent")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("wants_answer", &self.wants_answer())
            .finish_non_exhaustive()
    }
}
