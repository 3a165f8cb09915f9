//! What a client tells its caller.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::config::{Generation, Transport};
use crate::socket::Args;
use crate::{LinkId, Time};

/// A namespace of one client, connected or not. The number is good for the life of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub(super) u32);

/// One call of [`Client::emit`](super::Client::emit). No two calls have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmitId(pub(super) u64);

/// The right to answer one event of the server. It is used up by
/// [`Client::answer`](super::Client::answer), and worth nothing after the connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct AckTicket {
    pub(super) socket: SocketId,
    /// The connection of the namespace on which the event came.
    pub(super) connection: u64,
    pub(super) id: u64,
}

/// What the caller has to do, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Open a connection: resolve the host anew, connect, make TLS. Then call
    /// [`Client::handle_connected`](super::Client::handle_connected) or
    /// [`Client::handle_closed`](super::Client::handle_closed).
    Connect {
        /// The name of the connection from now on.
        link: LinkId,
        /// A name, an IPv4 address, or an IPv6 address in brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether the connection is encrypted.
        tls: bool,
    },
    /// Write these bytes to the connection.
    Bytes(LinkId, Bytes),
    /// Close the connection, after the bytes before have been written. No input names this
    /// connection again; later inputs for it are ignored.
    Close(LinkId),
    /// Somebody has to say with which credentials the client connects. Answer with
    /// [`Client::provide`](super::Client::provide) or
    /// [`Client::provide_nothing`](super::Client::provide_nothing).
    CredentialsWanted(Question),
    /// The state of the connection has changed.
    State(State),
    /// Something for the user's handlers.
    Delivery(Delivery),
}

/// Who asks for credentials, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The number of the question, for the answer.
    pub id: u64,
    /// The number of the attempt: 0 for a first connection, then counted from 1.
    pub attempt: u32,
    /// The namespace that wants to connect on an open connection. `None` before a handshake; then
    /// the answer is used for all namespaces.
    pub socket: Option<SocketId>,
    /// What went wrong before.
    pub last_error: Option<ClientError>,
}

/// The answer to a [`Question`]. The fields come on top of those of the settings.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Header fields, also `Cookie`.
    pub headers: Vec<(String, String)>,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// The `auth` of one namespace, or of all (`None`): a JSON object. The entry of a namespace
    /// counts before the entry of all.
    pub auth: Vec<(Option<SocketId>, ByteString)>,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// An attempt starts: 0 for a first connection, then counted from 1 since the last connection.
    Connecting(u32),
    /// The session is open. Namespaces follow.
    Connected {
        /// The generation that was agreed on: never [`Generation::Auto`].
        generation: Generation,
        /// The transport that has opened.
        transport: Transport,
    },
    /// The session has moved to websocket.
    Upgraded,
    /// The open connection was lost.
    Lost(DisconnectReason),
    /// An attempt has failed.
    Failed(ClientError),
    /// The next attempt starts at this time.
    Waiting(Time),
    /// The client will do nothing more until it is told to connect.
    Stopped(StopReason),
}

/// Why a client does nothing more.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StopReason {
    /// [`Client::close`](super::Client::close). It is final.
    Closed,
    /// No namespace wants a connection.
    NoNamespace,
    /// The connection was lost or could not be made, and
    /// [`reconnection`](super::ClientConfig::reconnection) is off.
    ReconnectionOff,
    /// All [`reconnection_attempts`](super::ClientConfig::reconnection_attempts) have failed.
    AttemptsExhausted,
    /// The server has refused the handshake.
    Refused(ClientError),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::NoNamespace => f.write_str("no namespace is left"),
            Self::ReconnectionOff => f.write_str("the client does not connect again"),
            Self::AttemptsExhausted => f.write_str("all attempts have failed"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

/// The class of an error. The policy of the client decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The server said no: HTTP 401, 403 or 407, or the refusal of a namespace.
    Refused,
    /// No answer, or an answer that the server cannot serve us now.
    Unreachable,
    /// The server does not speak the protocol, or breaks a limit.
    Protocol,
    /// The certificate or the handshake of TLS.
    Tls,
    /// Nobody provided credentials.
    Credentials,
}

/// Why an attempt or a namespace failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// The class.
    pub class: ErrorClass,
    /// The status of the HTTP response, if there was one.
    pub status: Option<u16>,
    /// The server's message, or ours.
    pub message: ByteString,
    /// The server's data, as JSON.
    pub data: Option<ByteString>,
}

impl ClientError {
    pub(super) fn new(class: ErrorClass, message: impl Into<ByteString>) -> Self {
        Self {
            class,
            status: None,
            message: message.into(),
            data: None,
        }
    }
}

/// Why a namespace was disconnected, in the words of socket.io-client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The server made the client leave. The client does not come back by itself.
    Server,
    /// The user left.
    Client,
    /// No heartbeat came in time.
    PingTimeout,
    /// The connection ended.
    TransportClose,
    /// The connection failed, or a request failed.
    TransportError,
    /// The server sent bytes that are no packet, or broke a limit.
    ParseError,
}

impl DisconnectReason {
    /// The wording of socket.io-client.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "io server disconnect",
            Self::Client => "io client disconnect",
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::ParseError => "parse error",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a connection goes on from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// The client did not ask for a recovery: this is the first connection, the server does not
    /// recover, or the client left by itself.
    New,
    /// The server knew the client. Everything that was sent meanwhile has been delivered.
    Recovered,
    /// The server did not know the client any more. Events may have been missed.
    Lost,
}

/// Something for the user's handlers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// The namespace is connected.
    Connect {
        /// The namespace.
        socket: SocketId,
        /// The id that the server gave. On Engine.IO 3, the derived id of genuine clients. Before
        /// 1.0, the id of the session.
        sid: ByteString,
        /// Whether this goes on from the connection before.
        recovery: Recovery,
    },
    /// The namespace could not connect. After a refusal it stays disconnected until
    /// [`Client::connect`](super::Client::connect).
    ConnectError {
        /// The namespace.
        socket: SocketId,
        /// Why.
        error: ClientError,
    },
    /// The namespace is not connected any more.
    Disconnect {
        /// The namespace.
        socket: SocketId,
        /// Why.
        reason: DisconnectReason,
    },
    /// An event of the server.
    Event {
        /// The namespace.
        socket: SocketId,
        /// The name.
        name: ByteString,
        /// The arguments. The offset of a recoverable server is the last of them, as in
        /// JavaScript.
        args: Args,
        /// The right to answer, if the server wants an answer.
        ack: Option<AckTicket>,
    },
    /// The end of an emit. Each emit ends exactly once.
    ///
    /// After [`State::Stopped`] or [`Delivery::ConnectError`], what waits goes on waiting for
    /// [`Client::connect`](super::Client::connect), as the buffer of the client in JavaScript does:
    /// events that were never written, and with
    /// [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events) those that were
    /// written and not confirmed, because a client that is recovered later loses none of them.
    /// Without another connection, each of them ends at the time of its acknowledgement, or by
    /// [`ClientConfig::max_queue_age`](super::ClientConfig::max_queue_age), or by
    /// [`Client::close`](super::Client::close). What was written ends by
    /// [`Client::disconnect`](super::Client::disconnect), too, and what was never written by
    /// [`Client::clear_pending`](super::Client::clear_pending). With
    /// [`ClientConfig::retries`](super::ClientConfig::retries), what was written and not
    /// acknowledged waits with what was never written, and the time of an acknowledgement is that
    /// of one try: it ends nothing that waits.
    Receipt {
        /// The emit.
        emit: EmitId,
        /// How it ended.
        outcome: Outcome,
    },
}

/// How an emit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was written to a connection. Only for emits without acknowledgement, where the server
    /// does not confirm events. On polling, it stands in a POST that has left; attachments for
    /// which this POST has no room follow with the next one. What leaves ahead of the goodbye of
    /// [`Client::disconnect`](super::Client::disconnect) may need several POSTs.
    Sent,
    /// The server has had it, and has begun to handle it. Only for emits without acknowledgement,
    /// with [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events).
    Confirmed,
    /// The server has answered.
    Acknowledged(Args),
    /// It was written, but no acknowledgement came in time.
    TimedOut,
    /// The server has had it and handles it once, and the acknowledgement was lost with the
    /// connection. Only with
    /// [`ClientConfig::confirm_events`](super::ClientConfig::confirm_events).
    Unanswered,
    /// It was written, and the connection ended before the acknowledgement or the confirmation.
    /// Nobody knows whether the server has had it.
    Disconnected,
    /// It was never written.
    NotSent(NotSent),
}

/// Why an emit was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotSent {
    /// It was volatile, and could not be written at once: the transport was not free, or earlier
    /// events of its namespace waited.
    #[error("it was volatile, and could not be written at once")]
    Volatile,
    /// It waited for longer than [`max_queue_age`](super::ClientConfig::max_queue_age), or for
    /// longer than the time of its acknowledgement.
    #[error("it waited for too long")]
    Expired,
    /// A newer emit with the same key took its place.
    #[error("a newer one with the same key took its place")]
    Replaced,
    /// The user removed it from the queue.
    #[error("it was removed from the queue")]
    Removed,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// The parser could not write it, or the generation that was agreed on cannot carry it.
    #[error("the parser or the generation of the server cannot carry it")]
    Unsupported,
    /// It waited for a connection, and the server takes less on the transport of this connection
    /// ([`EmitError::TooLarge`](super::EmitError::TooLarge)). Polling carries binary data as
    /// base64, so an event can be too large before an upgrade that would have carried it.
    #[error("it is larger than the server takes")]
    TooLarge,
}
