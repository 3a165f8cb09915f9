//! Who may open a session: one value that starts as "nobody asked", and the permits that are made
//! from it.
//!
//! ```text
//!   Request ── origin allowed? ── application: Allowed? ─► Admitted ── room? not going away? ─► Permit ─► Input::open
//!                    │                    │                                  │
//!                  Denied               Denied                             (none): the generation's own 503
//! ```
//! There is no other way to a session: [`Input::open`] needs a [`Permit`], and only
//! [`Input::permit`] makes one. A route that forgets to ask does not compile. A caller that forgets
//! to set [`Admission::Allowed`] is refused.

use alloc::sync::Arc;

use bytestring::ByteString;

use super::{Admission, Handshake, Input, Request};

/// A request that its origin and the application allow.
pub(crate) struct Admitted<'a>(&'a Request);

/// The permission to open one session. The session has been counted, and the value holds the part
/// of the request that the session keeps. Opening the session uses the permit up. A permit that is
/// not used would be counted for ever.
#[must_use]
pub(crate) struct Permit(Arc<Handshake>);

/// Why a request may not open a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied<'a> {
    /// The host that it names is not the server's, or its page may not open sessions
    /// ([`Config::hosts`](crate::Config::hosts), [`Config::origins`](crate::Config::origins)).
    Origin,
    /// The application has refused it with this message; `None` if the application was not asked.
    Application(Option<&'a ByteString>),
}

impl Request {
    /// Whether the origin and the application allow this request to open a session.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Denied<'_>> {
        if self.stranger().is_some() {
            return Err(Denied::Origin);
        }
        match &self.admission {
            Admission::Allowed => Ok(Admitted(self)),
            Admission::Refused(message) => Err(Denied::Application(Some(message))),
            Admission::NotAsked => Err(Denied::Application(None)),
        }
    }
}

impl Input<'_> {
    /// The permission to open a session; `None` if there are too many sessions, or the server is
    /// shutting down. The session is counted. If there is no room, sessions that have joined
    /// nothing are ended.
    pub(crate) fn permit(&mut self, admitted: Admitted<'_>) -> Option<Permit> {
        if self.shard.core.is_shutting_down() {
            return None;
        }
        let handshake = admitted.0.handshake(&self.shard.core.config, self.now);
        self.make_room(&handshake).then_some(Permit(handshake))
    }
}

impl Permit {
    /// The part of the request that the session keeps.
    pub(crate) fn into_handshake(self) -> Arc<Handshake> {
        self.0
    }
}
