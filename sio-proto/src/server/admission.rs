//! Who may open a session: one value that starts as "nobody asked", and the permits that are made from it.
//!
//! ```text
//!   Request ── origin allowed? ── application: Allowed? ─► Admitted ── room? not going away? ─► Permit ─► Core::open_session
//!                    │                    │                                  │
//!                  Denied               Denied                             (none): the generation's own 503
//! ```
//! There is no other way to a session: [`Core::open_session`] wants a [`Permit`], and only [`Core::permit`] makes one. A route that forgets to
//! ask does not compile; a caller that forgets to say [`Admission::Allowed`] is refused.

use bytestring::ByteString;

use super::{Core, Outputs, Reason, Request};

/// What the application says to a request that would open a session (the `allowRequest` of genuine servers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Nobody has been asked. The request opens no session.
    #[default]
    NotAsked,
    /// Refuse, with this message (docs/protocol/engine-io.md §4.5, code 4).
    Refused(ByteString),
    /// Go on.
    Allowed,
}

/// A request to which neither its origin nor the application is an obstacle.
pub(crate) struct Admitted<'a>(&'a Request);

/// Leave to open one session for this request. It is used up by opening it.
pub(crate) struct Permit<'a>(&'a Request);

/// Why a request may not open a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied<'a> {
    /// The page that it comes from may not ([`Config::origins`](crate::Config::origins)).
    Origin,
    /// The application has said so, with this message; `None` if it was not asked.
    Application(Option<&'a ByteString>),
}

impl Request {
    /// Whether this request may open a session, as far as its origin and the application go.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Denied<'_>> {
        if !self.origin_allowed() {
            return Err(Denied::Origin);
        }
        match &self.admission {
            Admission::Allowed => Ok(Admitted(self)),
            Admission::Refused(message) => Err(Denied::Application(Some(message))),
            Admission::NotAsked => Err(Denied::Application(None)),
        }
    }
}

impl Core {
    /// Leave to open a session; `None` when there may be no more, or when the server is going away.
    ///
    /// A session that is closing has had its say, and only waits for a poll that would tell it so: the first of them makes room.
    pub(crate) fn permit<'a>(&mut self, admitted: Admitted<'a>, out: &mut Outputs) -> Option<Permit<'a>> {
        if self.sessions.len() >= self.config.max_sessions
            && let Some(closing) = self.closing.first().copied()
        {
            self.cut_session(closing, Reason::ForcedServerClose, out);
        }
        let has_room = !self.is_shutting_down() && self.sessions.len() < self.config.max_sessions;
        has_room.then_some(Permit(admitted.0))
    }
}

impl<'a> Permit<'a> {
    /// The request that it was given to.
    pub(crate) const fn request(&self) -> &'a Request {
        self.0
    }
}
