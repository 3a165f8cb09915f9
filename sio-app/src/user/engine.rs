//! Raw Engine.IO sessions: messages without Socket.IO, under their own path
//! ([`Config::engine_path`](sio_proto::Config::engine_path)).

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use sio_proto::server::{Breach, EngineMessage, Handshake, Reason, TransportKind};

use crate::error::EmitError;
use crate::turn;
use crate::turn::raw_session::RawSession;
use crate::web::request;

/// One raw Engine.IO session. It is a handle, like [`Socket`](crate::Socket).
#[derive(Clone)]
pub struct EngineSocket(pub(crate) Arc<RawSession>);

impl EngineSocket {
    /// Returns the number of the session. It is unique while this process runs, and of no use to an
    /// attacker. It is not the client's id of the session, which is a secret.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.number
    }

    /// The request that opened the session: headers, query, address.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Returns the extension that another HTTP server has given with the request that opened the
    /// session; see [`Socket::extension`](crate::Socket::extension).
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        request::extension(self.handshake().extension.as_ref())
    }

    /// Returns the present transport, or `None` when the session is gone.
    #[must_use]
    pub fn transport(&self) -> Option<TransportKind> {
        let raw = &self.0;
        raw.cell
            .ask("transport", |state| state.shard.engine_transport(raw.session))
    }

    /// Keeps a value with the session. It replaces an earlier value of the same type.
    pub fn set_data<T: Any + Send + Sync>(&self, value: T) {
        let old = self.0.values.replace(Arc::new(value), |_| true);
        drop(old);
    }

    /// Returns the value of this type that is kept with the session.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.values.find(TypeId::of::<T>())?.downcast().ok()
    }

    /// Removes the value of this type from the session, and returns it.
    #[must_use]
    pub fn take_data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.values.take(TypeId::of::<T>())?.downcast().ok()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the session is gone, or its queue is full.
    pub fn send(&self, message: EngineMessage) -> Result<(), EmitError> {
        // The message may contain bytes of the user's own kind. Dropping these runs user code, so
        // they are kept until no lock is held.
        let kept = message.clone();
        let RawSession { cell, session, .. } = &*self.0;
        let sent = turn::act(cell.runtime, |turn| {
            cell.input("send", turn, |state, _, _| state.shard.send_engine(*session, message))
        });
        drop(kept);
        Ok(sent?)
    }

    /// Closes the session.
    pub fn close(&self) {
        self.0.close();
    }
}

impl PartialEq for EngineSocket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for EngineSocket {}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSocket")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// The handlers of raw Engine.IO sessions. The default of each method does nothing.
///
/// The methods are called for one session in the order in which its news have arrived, and
/// [`close`](EngineHandler::close) is the last. What arrives on another thread meanwhile waits,
/// within [`Options::max_waiting_bytes`](crate::Options::max_waiting_bytes) and
/// [`Options::max_waiting_events`](crate::Options::max_waiting_events); a session for which more
/// waits is closed. The thread that read a message calls the methods. They must not block.
pub trait EngineHandler: Send + Sync + 'static {
    /// Called when a session has been opened.
    fn open(&self, socket: &EngineSocket, handshake: &Handshake) {
        let _ = (socket, handshake);
    }

    /// Called when a message has arrived.
    fn message(&self, socket: &EngineSocket, message: EngineMessage) {
        let _ = (socket, message);
    }

    /// Called when the session has moved from polling to a websocket.
    fn upgrade(&self, socket: &EngineSocket, transport: TransportKind) {
        let _ = (socket, transport);
    }

    /// Called when the session has been closed. `breach` is the rule that its client has broken, if
    /// it has broken one.
    fn close(&self, socket: &EngineSocket, reason: Reason, breach: Option<&Breach>) {
        let _ = (socket, reason, breach);
    }
}

/// A function can be a handler of messages: `|socket: &EngineSocket, message: EngineMessage|`.
impl<F: Fn(&EngineSocket, EngineMessage) + Send + Sync + 'static> EngineHandler for F {
    fn message(&self, socket: &EngineSocket, message: EngineMessage) {
        self(socket, message);
    }
}
