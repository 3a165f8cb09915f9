//! Why a socket or a session ended, in the words the ecosystem knows.

use core::fmt;

/// Why a socket was disconnected or a session closed. [`Reason::as_str`] gives the wording that
/// genuine servers use, so that people can search for it (docs/protocol/socket-io.md §5,
/// engine-io.md §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client left this namespace.
    ClientNamespaceDisconnect,
    /// The server made the client leave this namespace.
    ServerNamespaceDisconnect,
    /// The server is going away.
    ServerShuttingDown,
    /// The client closed its transport, or the transport was cut.
    TransportClose,
    /// The transport failed: an I/O error, or a breach of HTTP, WebSocket or Engine.IO rules.
    TransportError,
    /// The client did not answer a ping, or a heartbeat, in time.
    PingTimeout,
    /// The client sent bytes that are no packet of its protocol.
    ParseError,
    /// The server closed the session because of a packet that breaks the Socket.IO protocol.
    ForcedClose,
    /// The application closed the session, or the client joined no namespace in time.
    ForcedServerClose,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
        Self::ServerShuttingDown,
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ForcedServerClose,
    ];

    /// The wording that the ecosystem uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::ServerShuttingDown => "server shutting down",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ForcedServerClose => "forced server close",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
