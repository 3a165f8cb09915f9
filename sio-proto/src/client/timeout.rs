//! Why a client wants to be woken.

/// Why a client wants to be woken at [`Client::next_timeout`](super::Client::next_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// The attempt has lasted too long, or the CONNECT of a namespace has no answer.
    Connect,
    /// Nobody has provided credentials.
    Credentials,
    /// The next attempt is due.
    Reconnect,
    /// No heartbeat of the server has come.
    Heartbeat,
    /// A heartbeat of the client is due (Engine.IO 3).
    Ping,
    /// The upgrade has lasted too long.
    Upgrade,
    /// The next upgrade is due, after one that has failed.
    UpgradeAgain,
    /// The probe of a wake-up has no answer.
    Wake,
    /// The connection has been silent for too long.
    Silence,
    /// The goodbye has not left in time.
    Goodbye,
    /// An acknowledgement is late, or an event has waited for too long.
    Emit,
    /// The next event may leave the queue.
    Drain,
}
