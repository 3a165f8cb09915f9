//! Why a socket or a session ended, in the words the ecosystem knows.

use core::fmt;

/// Why a socket was disconnected or a session closed. [`Reason::as_str`] gives the wording that
/// genuine servers use, so that people can search for it (docs/protocol/socket-io.md §5,
/// engine-io.md §8). Genuine servers know nothing of credentials, so those two have words of their
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client left this namespace.
    ClientNamespaceDisconnect,
    /// The server made the client leave this namespace.
    ServerNamespaceDisconnect,
    /// The time of the socket's credentials is over. The client is told what it is told after
    /// [`Reason::ServerNamespaceDisconnect`].
    CredentialsExpired,
    /// The application has revoked the socket's credentials. The client is told what it is told
    /// after [`Reason::ServerNamespaceDisconnect`].
    CredentialsRevoked,
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
    pub const ALL: [Self; 11] = [
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
        Self::CredentialsExpired,
        Self::CredentialsRevoked,
        Self::ServerShuttingDown,
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ForcedServerClose,
    ];

    /// Whether the server has made the client leave a namespace. Clients do not connect again by
    /// themselves after that.
    #[must_use]
    pub const fn is_dismissal(self) -> bool {
        matches!(
            self,
            Self::ServerNamespaceDisconnect | Self::CredentialsExpired | Self::CredentialsRevoked
        )
    }

    /// The wording that the ecosystem uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::CredentialsExpired => "credentials expired",
            Self::CredentialsRevoked => "credentials revoked",
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
