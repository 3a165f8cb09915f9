//! What it costs not to read from a connection.

use super::manager::{Client, Stage};
use super::socket::SocketState;
use crate::{LinkId, Time};

/// What a connection brings next ([`Client::reading`]). A caller whose user has enough events may
/// stop reading from a connection that brings events, and has to read the others: without their
/// answers, the client neither connects nor writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// The connection brings no events: it carries POSTs.
    NoEvents,
    /// The client or one of its namespaces connects, the session moves to websocket, or it says
    /// goodbye. Events may come in between.
    Connecting,
    /// Events, and the heartbeat.
    Events {
        /// From this time on, the heartbeat of the server is due. If it is not read, both ends
        /// take the connection for dead. On the wires before 1.0, whose servers do not say when it
        /// comes, it is always due.
        heartbeat: Time,
    },
}

impl Client {
    /// What this connection of the client brings next.
    #[must_use]
    pub fn reading(&self, link: LinkId) -> Reading {
        let Stage::Session(session) = &self.stage else {
            return Reading::Connecting;
        };
        match session.reading(link, &self.config) {
            Reading::Events { .. }
                if self
                    .sockets
                    .iter()
                    .any(|socket| socket.state == SocketState::Connecting) =>
            {
                Reading::Connecting
            }
            reading => reading,
        }
    }
}
