//! What the user has to see.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Auth, Breach, ConnectionError, Form, Garbled, Generation, Handshake, Reason, Stranger, TransportKind};
use crate::engine::EngineMessage;
use crate::socket::Args;
use crate::{SessionKey, Sid, SocketKey, WireId};

/// Something that happened and concerns the user. Deliveries of one socket come in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// A client asks to join a namespace. The user answers, now or later, with
    /// [`Shard::accept`](super::Shard::accept) or [`Shard::refuse`](super::Shard::refuse); until
    /// then the socket gets and sends nothing. The namespace need not exist: whether it does is the
    /// user's decision (static names, patterns, functions).
    Connect {
        /// The socket that would be connected.
        socket: SocketKey,
        /// The session that asks.
        session: SessionKey,
        /// The id it would have, for everybody.
        sid: Sid,
        /// The id by which the client knows itself, where this is not `sid`: a secret.
        wire_id: Option<WireId>,
        /// The namespace it asks for; starts with `/`.
        namespace: ByteString,
        /// What it says for itself. From generations that have no `auth`: the queries.
        auth: Auth,
        /// The request that opened the session.
        handshake: Arc<Handshake>,
        /// The wire it speaks.
        generation: Generation,
        /// How it came.
        transport: TransportKind,
        /// In what form messages for it are written, to be encoded before a shard is asked.
        form: Form,
    },
    /// An event.
    Event {
        /// From whom.
        socket: SocketKey,
        /// Its name.
        name: ByteString,
        /// Its arguments, as raw JSON and attachments.
        args: Args,
        /// The id to acknowledge with, if the client wants that.
        ack: Option<u64>,
    },
    /// An acknowledgement asked for with [`AckRequest`](super::AckRequest), or why there will be
    /// none.
    Ack {
        /// From whom.
        socket: SocketKey,
        /// The id given when it was asked for.
        id: u64,
        /// The arguments, or why there are none.
        result: Result<Args, AckError>,
    },
    /// A socket that was connected, or asked to be, is gone. Nothing follows for it.
    Disconnect {
        /// Which.
        socket: SocketKey,
        /// Why.
        reason: Reason,
        /// Which rule its client has broken, if it has: what ended the session, or else the first
        /// rule that was broken without costing the session (JavaScript has a `description` in this
        /// place).
        breach: Option<Breach>,
        /// Whether it had been accepted; if not, the user's decision is not awaited any more.
        connected: bool,
        /// The rooms that it was in until now, the one of its own id not among them. Their other
        /// members are still there.
        rooms: Vec<ByteString>,
    },
    /// The server drains ([`Command::Drain`](super::Command::Drain)), and it is this socket's turn
    /// to go. The user answers, now or later, with [`Shard::release`](super::Shard::release) when
    /// nothing is under way for it; until then, but not for ever, its session works as before.
    Leaving {
        /// Which.
        socket: SocketKey,
    },
    /// A request was refused for where it comes from, and has had its answer. For logs, at a
    /// limited rate: everybody can send such requests.
    Stranger(Box<Stranger>),
    /// A request was answered with an error, and opened no session. Told only where somebody wants
    /// to know it ([`Shard::tell_connection_errors`](super::Shard::tell_connection_errors)), and as
    /// often as peers send such requests.
    ConnectionError(Box<ConnectionError>),
    /// The session of a socket has moved from polling to a websocket. Told for each of its sockets.
    Upgraded {
        /// Which.
        socket: SocketKey,
        /// How its packets travel from here on.
        transport: TransportKind,
    },
    /// A client has broken a rule. For logs: told at most twice for a session, the first time that
    /// it costs nothing, and when the session ends for it; and once for a connection without a
    /// session. All are counted ([`Counters::broken`](super::Counters::broken)).
    Breach {
        /// Whose client: the first socket of the session, if it has any.
        socket: Option<SocketKey>,
        /// The wire that its session speaks, and how it came, if there is a session.
        session: Option<(Generation, TransportKind)>,
        /// Whether the session, or the connection without one, ends for it.
        ends: bool,
        /// The rule.
        breach: Breach,
    },
    /// A client of the plain-message transports sent a payload that its session's codec could not
    /// read to its end. Told once per session, the first time: most likely the client speaks
    /// another codec's wire.
    Garbled {
        /// Whose client.
        socket: SocketKey,
        /// The name of the session's codec.
        codec: &'static str,
        /// What is wrong.
        garbled: Garbled,
    },
    /// A raw Engine.IO session is open ([`Config::engine_path`](crate::Config::engine_path)).
    EngineOpen {
        /// Which.
        session: SessionKey,
        /// The request that opened it.
        handshake: Arc<Handshake>,
    },
    /// A raw Engine.IO session has moved from polling to a websocket.
    EngineUpgraded {
        /// Which.
        session: SessionKey,
        /// How its messages travel from here on.
        transport: TransportKind,
    },
    /// A message on a raw Engine.IO session.
    EngineMessage {
        /// From which.
        session: SessionKey,
        /// Text or binary.
        message: EngineMessage,
    },
    /// A raw Engine.IO session is closed. Nothing follows for it.
    EngineClose {
        /// Which.
        session: SessionKey,
        /// Why.
        reason: Reason,
        /// Which rule its client has broken, as in [`Delivery::Disconnect`].
        breach: Option<Breach>,
    },
}

/// Why an acknowledgement will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// The time given for it is over.
    #[error("operation has timed out")]
    TimedOut,
    /// The socket is gone.
    #[error("socket has been disconnected")]
    Disconnected,
}
