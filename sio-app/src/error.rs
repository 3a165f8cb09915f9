//! Errors: for the caller of `emit`, and in the user's handlers.

use sio_proto::SocketIdError;
use sio_proto::server::{self, SendError};
use sio_proto::socket::is_reserved_event;

use crate::args::ArgsError;
use crate::readable::says_why;

/// Why an event was not sent. After an error nothing has been queued.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is gone.
    #[error("the socket is not connected")]
    Disconnected,
    /// The socket's queue is full: its client reads more slowly than the server sends.
    #[error("the queue of the session is full")]
    Full,
    /// The message, as written for the client's generation, is larger than the queue of a session
    /// may be ([`Config::max_queued_bytes`](sio_proto::Config::max_queued_bytes)). No client of
    /// this generation has got the message, and no client has been disconnected for it.
    #[error("the message is larger than the queue of a session")]
    TooLarge,
    /// The message was volatile, and the transport is busy.
    #[error("the transport is busy and the message was volatile")]
    Dropped,
    /// The function that makes the key of a [`Policy`](crate::Policy) has panicked.
    #[error("the function that makes the key of the policy has panicked")]
    KeyFailed,
    /// The key of a [`Policy`](crate::Policy) is longer than 256 bytes.
    #[error("the key of the policy is too long")]
    KeyTooLong,
    /// The client's generation, or the server's [`Config::parser`](sio_proto::Config::parser),
    /// cannot carry the message.
    #[error("the client's generation cannot carry this message")]
    Unsupported,
    /// The arguments cannot be written as JSON.
    #[error("arguments: {0}")]
    Args(#[from] ArgsError),
    /// The name belongs to the protocol: `connect`, `disconnect` and a few more
    /// (docs/protocol/socket-io.md §4).
    #[error("the event name {0:?} is reserved")]
    Reserved(String),
    /// The room's name is the id of another socket, which may have gone. A message to an id is for
    /// this socket alone.
    #[error("no room is named as the id of a socket")]
    ReservedRoom,
    /// The event was for several rooms, and one of them has a history
    /// ([`Namespace::history`](crate::Namespace::history)). An event has one place in one history.
    #[error("an event to a room with a history is for this room alone")]
    SeveralHistories,
}

/// An event that was not sent: the reason, and its arguments, which the caller gets back
/// ([`Socket::try_emit`](crate::Socket::try_emit)).
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unsent<A> {
    /// Why it was not sent.
    #[source]
    pub error: EmitError,
    /// The arguments.
    pub args: A,
}

impl<A> From<Unsent<A>> for EmitError {
    fn from(unsent: Unsent<A>) -> Self {
        unsent.error
    }
}

impl From<SendError> for EmitError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Disconnected => Self::Disconnected,
            SendError::Full => Self::Full,
            SendError::TooLarge => Self::TooLarge,
            SendError::Dropped => Self::Dropped,
            SendError::Unsupported => Self::Unsupported,
            SendError::Reserved => Self::ReservedRoom,
        }
    }
}

/// Why no acknowledgement came.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The acknowledgement did not come in time.
    #[error("operation has timed out")]
    TimedOut,
    /// The socket went away before the acknowledgement came.
    #[error("socket has been disconnected")]
    Disconnected,
    /// The acknowledgement came, and is not of the type that the caller asked for.
    #[error("the acknowledgement does not fit: {0}")]
    Args(#[from] ArgsError),
    /// The event was a broadcast and has been sent to this client, but the client's generation has
    /// no acknowledgements (0.6 and its family). A question to such a client alone is not sent: it
    /// fails with [`EmitError::Unsupported`].
    #[error("the client has got the event, and its generation has no acknowledgements")]
    Unable,
    /// The acknowledgement of a broadcast came and was dropped, because the answers that nobody has
    /// taken yet are too many bytes
    /// ([`Options::max_broadcast_ack_bytes`](crate::Options::max_broadcast_ack_bytes),
    /// [`Options::max_total_broadcast_ack_bytes`](crate::Options::max_total_broadcast_ack_bytes)).
    #[error("the acknowledgements of the broadcast are too many bytes")]
    TooLarge,
}

impl From<server::AckError> for AckError {
    fn from(error: server::AckError) -> Self {
        match error {
            server::AckError::TimedOut => Self::TimedOut,
            server::AckError::Disconnected => Self::Disconnected,
        }
    }
}

/// What went wrong in a handler. The function of [`Io::on_error`](crate::Io::on_error) gets this
/// error. If there is no such function, the error is logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// The arguments are not of the types that the handler asks for. The handler was not called.
    #[error("arguments do not fit: {0}")]
    Args(#[from] ArgsError),
    /// The handler returned an error.
    #[error("failed: {0}")]
    Failed(String),
    /// A handler panicked, and its socket is disconnected. Or a middleware or the function of
    /// [`Io::of_fn`](crate::Io::of_fn) panicked, and its client is refused.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A message that the handler sent without waiting for the result could not be sent.
    #[error("could not emit: {0}")]
    Emit(#[from] EmitError),
    /// The handler asks for something apart from the arguments, and this is not available. The
    /// handler was not called.
    #[error("cannot have `{what}`: {error}")]
    Extract {
        /// The type that the handler asks for.
        what: &'static str,
        /// Why it is not available.
        error: String,
    },
    /// The socket cannot have the id that the function of
    /// [`Io::generate_id`](crate::Io::generate_id) has made for it. Its client is refused.
    #[error("no such id for a socket: {0}")]
    Id(#[from] IdError),
    /// A filter ([`Namespace::filter`](crate::Namespace::filter)) has refused the event. This is
    /// not reported, because filters exist to refuse events. The client's acknowledgement says it.
    #[error("refused: {0}")]
    Refused(String),
}

/// Why a socket cannot have an id that the application has made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Another socket of the namespace has the id. It is connected, or its client is waited for.
    #[error("another socket has it")]
    Taken,
    /// It is no id.
    #[error(transparent)]
    Invalid(#[from] SocketIdError),
}

/// Why something could not be registered. The server keeps the first such error and does not start:
/// the function that serves a listener returns the error, and so does
/// [`Io::check`](crate::Io::check).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No event can have this name, because it belongs to the protocol (docs/protocol/socket-io.md
    /// §4).
    #[error("no event is called {name:?}: {instead}")]
    Reserved {
        /// The name.
        name: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A handler asks for a state that the server was not given.
    #[error("{handler} asks for `State<{state}>`, and the server was given none: `io.state(value)` gives it one")]
    NoState {
        /// The type of the state.
        state: &'static str,
        /// The handler that asks for it.
        handler: String,
    },
    /// The server has a function that makes ids of sockets, and no prefix for these ids
    /// ([`Config::socket_id_prefix`](sio_proto::Config::socket_id_prefix)).
    #[error("`generate_id` needs `Config::socket_id_prefix`, with which its ids begin")]
    NoSocketIdPrefix,
    /// The server was given two states of one type. The first counts.
    #[error("the server was given a state of the type `{0}` already")]
    StateTwice(&'static str),
    /// A history was asked for that could keep nothing.
    #[error("the history of {pattern:?}: {error}")]
    Ring {
        /// The pattern of its rooms.
        pattern: String,
        /// What is wrong with its limits.
        error: sio_proto::ConfigError,
    },
    /// The limit of what clients may send makes no sense.
    #[error(transparent)]
    Rate(sio_proto::ConfigError),
    /// The socket has the highest number of own handlers that it may have
    /// ([`Options::max_handlers_per_socket`](crate::Options::max_handlers_per_socket)).
    #[error("the socket has as many handlers of its own as it may")]
    TooMany,
    /// The name of an event is longer than 256 bytes, for a handler of one socket.
    #[error("the name of the event is too long for a handler of one socket")]
    NameTooLong,
    /// The socket is gone.
    #[error("the socket is not connected")]
    Disconnected,
    /// What the store of recovery has cannot be used ([`Options::store`](crate::Options::store)).
    #[error("the store of recovery cannot be used: {0}")]
    Store(String),
}

says_why!(EmitError, AckError, RegisterError);

impl RegisterError {
    /// Checks the name of an event.
    pub(crate) fn of_name(event: &str) -> Result<(), Self> {
        let instead = match event {
            "connect" | "connection" => "`on_connect` handles connections",
            "disconnect" => "`on_disconnect` handles their end",
            "disconnecting" => "`on_disconnecting` handles their end, while the socket has its rooms",
            "connect_error" => "a middleware (`with`) refuses connections, and clients hear of it",
            "newListener" | "removeListener" => "it belongs to JavaScript's emitters",
            _ if is_reserved_event(event) => "it belongs to the protocol",
            _ => return Ok(()),
        };
        Err(Self::Reserved {
            name: event.to_owned(),
            instead,
        })
    }
}
