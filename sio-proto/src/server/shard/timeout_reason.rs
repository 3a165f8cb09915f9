//! Why a shard has to be woken: the result of [`Shard::next_timeout_reason`], for logs.
//!
//! It helps to find out why a loop wakes up too often. Nothing in the shard depends on it. The
//! rules arm the deadlines, and `timers` keeps them.

use core::fmt;

use super::Shard;
use crate::server::timers::Due;
use crate::server::{Alarm, Server, Session, State};
use crate::{SessionKey, SocketKey, Time};

/// Why a shard has to be woken. [`TimeoutReason::as_str`] gives it in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// A ping, or a heartbeat of 0.6 to 0.9, has to be sent (docs/protocol/engine-io.md §6).
    Ping,
    /// The client has been pinged, and its answer is awaited.
    Pong,
    /// In Engine.IO 3 the client pings, and its next ping is awaited.
    ClientPing,
    /// The session has to join a namespace in time
    /// ([`Config::connect_timeout`](crate::Config::connect_timeout)).
    Join,
    /// The client probes a websocket, and has to move to it in time
    /// ([`Config::upgrade_timeout`](crate::Config::upgrade_timeout)).
    Upgrade,
    /// While a client moves to a websocket, its held GET has to be answered now and then.
    UpgradePoll,
    /// The last bytes of the handshake of an old websocket (hixie-76) are awaited
    /// (docs/protocol/legacy-0.6.md §10.1).
    WebSocketOpening,
    /// A closed session is kept for the GET that fetches its close
    /// ([`Config::close_timeout`](crate::Config::close_timeout)).
    Closing,
    /// A packet waits for its attachments
    /// ([`Config::attachment_timeout`](crate::Config::attachment_timeout)).
    Attachments,
    /// A websocket or stream takes no bytes. If this goes on, it is given up.
    Stalled,
    /// A poll of 0.6 to 0.9 has been held long enough, and is answered.
    Poll,
    /// A session of 0.6 to 0.9 has no transport, and its client has to come back in time.
    Absence,
    /// The application has been asked whether a client of 0.6 to 0.9 may connect, and its answer is
    /// awaited.
    Decision,
    /// The client owes an acknowledgement
    /// ([`AckRequest::timeout`](crate::server::AckRequest::timeout)).
    Acknowledgement,
    /// The server drains, and the session has to leave
    /// ([`Command::Drain`](crate::server::Command::Drain)).
    Drain,
    /// The session has to leave, and the shard waits for work that is under way.
    DrainPatience,
    /// The reason has happened or gone. The shard will find nothing to do then: deadlines are not
    /// removed early, they run out.
    Nothing,
}

impl TimeoutReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::Ping,
        Self::Pong,
        Self::ClientPing,
        Self::Join,
        Self::Upgrade,
        Self::UpgradePoll,
        Self::WebSocketOpening,
        Self::Closing,
        Self::Attachments,
        Self::Stalled,
        Self::Poll,
        Self::Absence,
        Self::Decision,
        Self::Acknowledgement,
        Self::Drain,
        Self::DrainPatience,
        Self::Nothing,
    ];

    /// The reason in a few words, for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "a ping is due",
            Self::Pong => "the answer to a ping is awaited",
            Self::ClientPing => "the ping of the client is awaited",
            Self::Join => "the session has to join a namespace",
            Self::Upgrade => "an upgrade is under way",
            Self::UpgradePoll => "a poll is answered for an upgrade",
            Self::WebSocketOpening => "the end of a websocket handshake is awaited",
            Self::Closing => "a closed session waits for a poll",
            Self::Attachments => "attachments are awaited",
            Self::Stalled => "a link takes no bytes",
            Self::Poll => "a poll has been held for long enough",
            Self::Absence => "the client has to come back",
            Self::Decision => "the application has to decide on a handshake",
            Self::Acknowledgement => "an acknowledgement is awaited",
            Self::Drain => "the session's turn to leave comes",
            Self::DrainPatience => "the session leaves when its work is done",
            Self::Nothing => "nothing is left to do",
        }
    }
}

impl fmt::Display for TimeoutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The next time when a shard has to be woken, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextTimeout {
    /// The time, equal to [`Shard::next_timeout`].
    pub at: Time,
    /// The reason.
    pub reason: TimeoutReason,
    /// The key of the session that the reason is about; the key is no secret. `None` if the session
    /// has gone.
    pub session: Option<SessionKey>,
    /// The socket that the reason is about, if it is an acknowledgement.
    pub socket: Option<SocketKey>,
}

impl fmt::Display for NextTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.reason)?;
        if let Some(session) = self.session {
            write!(f, ", session {session}")?;
        }
        match self.socket {
            Some(socket) => write!(f, ", socket {socket}"),
            None => Ok(()),
        }
    }
}

impl Shard {
    /// When [`Shard::handle_timeout`] has to be called next, as in [`Shard::next_timeout`], and the
    /// reason. It is for logs, and costs a few look-ups.
    #[must_use]
    pub fn next_timeout_reason(&self) -> Option<NextTimeout> {
        let (at, due) = self.core.timers.first()?;
        Some(self.reason_of(at, due))
    }

    fn reason_of(&self, at: Time, due: Due) -> NextTimeout {
        let mut next = NextTimeout {
            at,
            reason: TimeoutReason::Nothing,
            session: None,
            socket: None,
        };
        match due {
            Due::Session(key, alarm, epoch) => {
                if let Some(session) = self.sessions.named(key) {
                    next.session = Some(key);
                    next.reason = session.timeout_reason(at, alarm, epoch);
                }
            }
            Due::Leave(key, late) => {
                if let Some(session) = self.sessions.named(key) {
                    next.session = Some(key);
                    next.reason = match (session.state, late) {
                        (State::Open, true) => TimeoutReason::DrainPatience,
                        (State::Open, false) if !session.leaving => TimeoutReason::Drain,
                        (State::Open | State::Closing | State::Over, _) => TimeoutReason::Nothing,
                    };
                }
            }
            Due::Ack(key, id) => {
                if let Some(socket) = self.core.membership.find(key) {
                    next.socket = Some(key);
                    next.session = Some(self.sessions.key(socket.session));
                    if socket.owes(id) {
                        next.reason = TimeoutReason::Acknowledgement;
                    }
                }
            }
        }
        next
    }
}

impl Server {
    /// When [`handle_timeout`](Self::handle_timeout) has to be called next, and the reason
    /// ([`Shard::next_timeout_reason`]).
    #[must_use]
    pub fn next_timeout_reason(&self) -> Option<NextTimeout> {
        self.as_shard().next_timeout_reason()
    }
}

impl Session {
    /// Why an alarm of this session goes off at this time.
    fn timeout_reason(&self, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        match alarm {
            Alarm::Stalled if self.blocked.is_full() => TimeoutReason::Stalled,
            Alarm::Stalled => TimeoutReason::Nothing,
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Upgrade
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Attachments
            | Alarm::Absence => self.wiring_timeout_reason(at, alarm, epoch),
        }
    }
}
