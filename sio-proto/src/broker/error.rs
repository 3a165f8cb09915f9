//! What goes wrong with a broker.

use alloc::string::String;

use bytestring::ByteString;

/// How much of the broker's words is kept.
const MAX_TEXT_CHARS: usize = 200;

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
    /// An entry before this one has failed, and the caller did not know yet
    /// ([`Request::AddEntry`](super::Request::AddEntry)). The entry was not written.
    #[error("an entry before this one has failed")]
    NotInOrder {
        /// How many entries have failed until now, this one included.
        failed: u64,
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

impl Refusal {
    /// The kind of an error of Redis, by its first word.
    fn of(error: &[u8]) -> Self {
        match error.split(|byte| *byte == b' ').next().unwrap_or_default() {
            b"NOAUTH" | b"WRONGPASS" => Self::Credentials,
            b"NOPERM" => Self::Permission,
            b"READONLY" => Self::ReadOnly,
            b"LOADING" | b"MASTERDOWN" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"BUSY" => Self::NotNow,
            b"OOM" => Self::OutOfMemory,
            _ => Self::Other,
        }
    }
}

impl BrokerError {
    /// What an error of Redis says.
    pub(super) fn refused(error: &[u8]) -> Self {
        let text: String = String::from_utf8_lossy(error).chars().take(MAX_TEXT_CHARS).collect();
        Self::Refused {
            kind: Refusal::of(error),
            text: text.into(),
        }
    }

    /// The broker answered something else than what was asked.
    pub(super) const fn unexpected() -> Self {
        Self::Unreadable(ByteString::from_static(
            "an answer is not of the kind that was asked for",
        ))
    }

    /// Whether it is a refusal of this kind.
    #[must_use]
    pub fn is_refused_as(&self, kind: Refusal) -> bool {
        matches!(self, Self::Refused { kind: known, .. } if *known == kind)
    }
}
