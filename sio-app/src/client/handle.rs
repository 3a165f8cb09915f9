//! The client, as its user sees it.

use std::fmt;
use std::sync::Arc;

use sio_proto::client::{CommandError, Transport};

use super::events::ConnectionStates;
use super::shared::Alive;
use super::socket::Socket;
use crate::user::registry::normalized;

/// A client of one server. It is a handle, cheap to clone.
///
/// The client lives as long as a handle of it does, a `Client`, a [`Socket`] or a stream. When the
/// last one is dropped, it closes, as by [`Client::close`].
#[derive(Clone)]
pub struct Client(Arc<Alive>);

impl Client {
    pub(super) const fn new(alive: Arc<Alive>) -> Self {
        Self(alive)
    }

    /// Returns a namespace, which is not connected until [`Socket::connect`]. `chat` means `/chat`.
    /// All namespaces share one connection.
    ///
    /// # Errors
    /// If the name is not valid, or if there are too many namespaces.
    pub fn of(&self, namespace: &str) -> Result<Socket, CommandError> {
        let namespace = normalized(namespace);
        let shared = &self.0.0;
        let id = shared.core.lock_for("of").machine.socket(&namespace)?;
        Ok(Socket::new(Arc::clone(&self.0), shared.place_of(id, namespace)))
    }

    /// Closes the client for good: it says goodbye, and never connects again. All emits end.
    /// [`ConnectionStates`] and [`Events`](super::Events) end when the connection is closed.
    pub fn close(&self) {
        self.0.0.command(|core, now| core.machine.close(now));
    }

    /// Tells the client that the machine has been asleep, that the application was in the
    /// background, or that the network is back. An open connection is probed with a short deadline,
    /// and a waiting client connects at once.
    ///
    /// A sleep of the machine is noticed without this call, within five seconds, if it is at least
    /// two seconds longer than [`ClientConfig::clock_jump`](super::ClientConfig): the client
    /// compares the clock of dates, which it reads in whole seconds, with the one that stands
    /// still. What is shorter than `clock_jump` is never taken for a sleep.
    pub fn wake(&self) {
        self.0.0.command(|core, now| core.machine.wake(now));
    }

    /// Tells the client that the network has gone: the connection ends at once. The client tries
    /// again after the usual delay, or at [`Client::wake`].
    pub fn network_lost(&self) {
        self.0.0.command(|core, now| core.machine.network_lost(now));
    }

    /// Returns the transport of the open connection, if there is one.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.0.0.core.lock_for("transport").machine.transport()
    }

    /// Returns the states of the connection from now on, as a stream.
    #[must_use]
    pub fn states(&self) -> ConnectionStates {
        ConnectionStates::new(&self.0.0)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
