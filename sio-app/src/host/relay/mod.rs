//! Requests whose session is on another server of the cluster
//! ([`Cluster::without_sticky_sessions`](crate::Cluster::without_sticky_sessions)).
//!
//! ```text
//!   client ══ Connection, with Passing ── the broker ── Carried, with Connection ══ session
//!             (the server it came to)                   (the server of its session)
//! ```
//! On the client's side, a connection whose request names a session of another server passes the
//! request on, and writes what comes back. On the other side, there is a [`Connection`] like any
//! other, whose socket is the relay: the same machine reads the request, with the same limits, and
//! with the address of the client. Such a connection passes nothing on, so no request goes round.
//!
//! [`Connection`]: super::connection::Connection

mod carried;
mod passing;

pub(crate) use carried::take_up;
pub(super) use passing::{Passed, Passing};
