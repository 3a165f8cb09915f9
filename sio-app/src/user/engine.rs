//! Raw Engine.IO sessions: messages without Socket.IO, under their own path
//! ([`Config::engine_path`](sio_proto::Config::engine_path)).

use std::fmt;
use std::sync::Arc;

use sio_proto::SessionKey;
use sio_proto::server::{EngineMessage, Handshake, Reason};

use crate::error::EmitError;
use crate::turn;
use crate::turn::shard::ShardCell;

/// One raw Engine.IO session. It is a handle, like [`Socket`](crate::Socket).
#[derive(Clone)]
pub struct EngineSocket {
    pub(crate) cell: Arc<ShardCell>,
    pub(crate) session: SessionKey,
}

impl EngineSocket {
    /// Sends a message.
    ///
    /// # Errors
    /// If the session is gone, or its queue is full.
    pub fn send(&self, message: EngineMessage) -> Result<(), EmitError> {
        // The message may contain bytes of the user's own kind. Dropping these runs user code, so
        // they are kept until no lock is held.
        let kept = message.clone();
        let sent = turn::act(self.cell.runtime, |turn| {
            self.cell.input("send", turn, |state, _, _| {
                state.shard.send_engine(self.session, message)
            })
        });
        drop(kept);
        Ok(sent?)
    }

    /// Closes the session.
    pub fn close(&self) {
        self.cell.close_engine(self.session);
    }
}

impl PartialEq for EngineSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell) && self.session == other.session
    }
}

impl Eq for EngineSocket {}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSocket")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// The handlers of raw Engine.IO sessions. The default of each method does nothing.
///
/// The thread that read the message calls the methods. They must not block.
pub trait EngineHandler: Send + Sync + 'static {
    /// Called when a session has been opened.
    fn open(&self, socket: &EngineSocket, handshake: &Handshake) {
        let _ = (socket, handshake);
    }

    /// Called when a message has arrived.
    fn message(&self, socket: &EngineSocket, message: EngineMessage) {
        let _ = (socket, message);
    }

    /// Called when the session has been closed.
    fn close(&self, socket: &EngineSocket, reason: Reason) {
        let _ = (socket, reason);
    }
}

/// A function can be a handler of messages: `|socket: &EngineSocket, message: EngineMessage|`.
impl<F: Fn(&EngineSocket, EngineMessage) + Send + Sync + 'static> EngineHandler for F {
    fn message(&self, socket: &EngineSocket, message: EngineMessage) {
        self(socket, message);
    }
}
