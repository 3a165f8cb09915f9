//! The events of a shard for the user.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Auth, Breach, ConnectionError, Form, Garbled, Generation, Handshake, Reason, Stranger, TransportKind};
use crate::engine::EngineMessage;
use crate::socket::Args;
use crate::{SessionKey, Sid, SocketKey, WireId};

/// An event that concerns the user. The deliveries of one socket come in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// A client asks to join a namespace. The user answers, now or later, with
    /// [`Shard::accept`](super::Shard::accept) or [`Shard::refuse`](super::Shard::refuse). Until
    /// then the socket neither receives nor sends. The namespace need not exist: the user decides
    /// whether it exists (static names, patterns, functions).
    Connect {
        /// The socket that would be connected.
        socket: SocketKey,
        /// The session of the client.
        session: SessionKey,
        /// The public id that the socket would have.
        sid: Sid,
        /// The id by which the client knows itself, if it is not `sid`. It is a secret.
        wire_id: Option<WireId>,
        /// The namespace that the client asks for. It starts with `/`. All sockets of a namespace
        /// share the text, as long as the shard has any.
        namespace: Arc<ByteString>,
        /// The client's credentials. For generations without `auth` these are the queries.
        auth: Auth,
        /// The request that opened the session.
        handshake: Arc<Handshake>,
        /// The generation of the session.
        generation: Generation,
        /// The transport of the session.
        transport: TransportKind,
        /// The form in which messages for this socket are written, so that they can be encoded
        /// before a shard is called.
        form: Form,
    },
    /// An event.
    Event {
        /// The sender.
        socket: SocketKey,
        /// The name of the event.
        name: ByteString,
        /// The arguments, as raw JSON and attachments.
        args: Args,
        /// The id of the acknowledgement, if the client wants one.
        ack: Option<u64>,
    },
    /// An acknowledgement that was requested with [`AckRequest`](super::AckRequest), or the reason
    /// why there will be none.
    Ack {
        /// The sender.
        socket: SocketKey,
        /// The id of the request.
        id: u64,
        /// The arguments, or why there are none.
        result: Result<Args, AckError>,
    },
    /// A socket that was connected, or asked to be, is gone. It has no later deliveries.
    Disconnect {
        /// The socket.
        socket: SocketKey,
        /// The reason.
        reason: Reason,
        /// The rule that its client has broken, if any. It is the rule that ended the session, or
        /// otherwise the first rule that was broken without ending it (JavaScript has a
        /// `description` in this place).
        breach: Option<Breach>,
        /// Whether the socket had been accepted. If not, the user's decision is no longer awaited.
        connected: bool,
        /// The rooms that the socket was in until now, without the room of its own id. Their other
        /// members are still there.
        rooms: Vec<ByteString>,
    },
    /// The server drains ([`Command::Drain`](super::Command::Drain)), and this socket has to leave.
    /// The user answers, now or later, with [`Shard::release`](super::Shard::release) when no work
    /// is under way for the socket. Until then its session works as before, but only for a limited
    /// time.
    Leaving {
        /// The socket.
        socket: SocketKey,
    },
    /// A request was refused because of its host or page, and has been answered. Log it at a
    /// limited rate, because anybody can send such requests.
    Stranger(Box<Stranger>),
    /// A request was answered with an error, and opened no session. It is reported only if the
    /// caller asks for it
    /// ([`Shard::tell_connection_errors`](super::Shard::tell_connection_errors)), and as often as
    /// peers send such requests.
    ConnectionError(Box<ConnectionError>),
    /// The session of a socket has moved from polling to a websocket. There is one delivery for
    /// each of its sockets.
    Upgraded {
        /// The socket.
        socket: SocketKey,
        /// The transport from now on.
        transport: TransportKind,
    },
    /// A client has broken a rule. This is for logs. It is reported at most twice for a session: at
    /// the first rule that does not end the session, and at the rule that ends it. It is reported
    /// once for a connection without a session. All broken rules are counted
    /// ([`Counters::broken`](super::Counters::broken)).
    Breach {
        /// The first socket of the client's session, if it has any.
        socket: Option<SocketKey>,
        /// The generation and the transport of the session, if there is one.
        session: Option<(Generation, TransportKind)>,
        /// Whether the session, or the connection without a session, ends because of it.
        ends: bool,
        /// The rule.
        breach: Breach,
    },
    /// A client of the plain-message transports sent a payload that its session's codec could not
    /// read to its end. It is reported once per session, at the first payload: most likely the
    /// client uses the wire of another codec.
    Garbled {
        /// The socket of the client.
        socket: SocketKey,
        /// The name of the session's codec.
        codec: &'static str,
        /// The error.
        garbled: Garbled,
    },
    /// A raw Engine.IO session is open ([`Config::engine_path`](crate::Config::engine_path)).
    EngineOpen {
        /// The session.
        session: SessionKey,
        /// The request that opened it.
        handshake: Arc<Handshake>,
    },
    /// A raw Engine.IO session has moved from polling to a websocket.
    EngineUpgraded {
        /// The session.
        session: SessionKey,
        /// The transport from now on.
        transport: TransportKind,
    },
    /// A message on a raw Engine.IO session.
    EngineMessage {
        /// The session.
        session: SessionKey,
        /// The message: text or binary.
        message: EngineMessage,
    },
    /// A raw Engine.IO session is closed. It has no later deliveries.
    EngineClose {
        /// The session.
        session: SessionKey,
        /// The reason.
        reason: Reason,
        /// The rule that its client has broken, as in [`Delivery::Disconnect`].
        breach: Option<Breach>,
    },
}

/// Why an acknowledgement will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The time for the acknowledgement is over.
    #[error("operation has timed out")]
    TimedOut,
    /// The socket is gone.
    #[error("socket has been disconnected")]
    Disconnected,
}
