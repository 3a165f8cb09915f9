//! What goes wrong with a broker.

use bytestring::ByteString;

/// Why something was not done by the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No connection could be made. The text is the adapter's.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(ByteString),
    /// A connection to the broker has ended. Whether the broker has done what was asked last is not
    /// known.
    #[error("the connection to the broker has ended")]
    Closed,
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// A subscribing connection did not hear what was published for it.
    #[error("a connection to the broker subscribes and hears nothing")]
    Deaf,
    /// The broker sent bytes that are not its protocol, or more of them than the limits allow.
    #[error("the broker sent something that cannot be read: {0}")]
    Unreadable(ByteString),
    /// The broker refused. The text is the broker's, cut short.
    #[error("the broker refused: {text}")]
    Refused {
        /// What kind of refusal it is.
        kind: Refusal,
        /// The words of the broker.
        text: ByteString,
    },
    /// As many bytes wait for the broker as may wait.
    #[error("too much waits for the broker")]
    Full,
    /// No sentinel knows a master by the name.
    #[error("no sentinel knows a master of this name")]
    NoMaster,
    /// The node uses the broker no more.
    #[error("the broker is used no more")]
    Stopped,
}

/// The kinds of refusals that need different measures. Redis writes them as the first word of an
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// `NOAUTH`, `WRONGPASS`: name or password are missing or wrong.
    Credentials,
    /// `NOPERM`: the user may not do this.
    Permission,
    /// `READONLY`: the server is a replica, a failover is under way.
    ReadOnly,
    /// `LOADING`, `MASTERDOWN`, `CLUSTERDOWN`, `TRYAGAIN`, `BUSY`: not now, perhaps soon.
    NotNow,
    /// `OOM`: the memory of the broker is full.
    OutOfMemory,
    /// Everything else: an unknown command, a key of another type.
    Other,
}
