//! Who may open a session: one value that starts as "nobody asked", and the permits that are made
//! from it.
//!
//! ```text
//!   Request ── origin allowed? ── application: Allowed? ─► Admitted ── room? not going away? ─► Permit ─► Input::open
//!                    │                    │                                  │
//!                  Denied               Denied                             (none): the generation's own 503
//! ```
//! There is no other way to a session: [`Input::open`] wants a [`Permit`], and only
//! [`Input::permit`] makes one. A route that forgets to ask does not compile; a caller that forgets
//! to say [`Admission::Allowed`] is refused.

use alloc::sync::Arc;

use bytestring::ByteString;

use super::{Admission, Handshake, Input, Request};

/// A request to which neither its origin nor the application is an obstacle.
pub(crate) struct Admitted<'a>(&'a Request);

/// Leave to open one session, which has been counted, and what that session keeps of its request.
/// It is used up by opening the session; one that is not would be counted for ever.
#[must_use]
pub(crate) struct Permit(Arc<Handshake>);

/// Why a request may not open a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied<'a> {
    /// Its host is none of ours, or the page that it comes from may not
    /// ([`Config::hosts`](crate::Config::hosts), [`Config::origins`](crate::Config::origins)).
    Origin,
    /// The application has said so, with this message; `None` if it was not asked.
    Application(Option<&'a ByteString>),
}

impl Request {
    /// Whether this request may open a session, as far as its origin and the application go.
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
    /// Leave to open a session; `None` when there may be no more, or when the server is going away.
    /// It counts the session, and ends others that have joined nothing if that makes room.
    pub(crate) fn permit(&mut self, admitted: Admitted<'_>) -> Option<Permit> {
        if self.shard.core.is_shutting_down() {
            return None;
        }
        let handshake = admitted.0.handshake(&self.shard.core.config, self.now);
        self.make_room(&handshake).then_some(Permit(handshake))
    }
}

impl Permit {
    /// What the session keeps of the request.
    pub(crate) fn into_handshake(self) -> Arc<Handshake> {
        self.0
    }
}
