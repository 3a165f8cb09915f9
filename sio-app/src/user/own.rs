//! Handlers of one socket.

use std::sync::Arc;

use crate::error::RegisterError;
use crate::turn::own::{HandlerId, Own};
use crate::turn::table::EventFn;
use crate::user::handler::EventHandler;
use crate::user::socket::Socket;

/// The socket's own handlers.
impl Socket {
    /// Handles an event of this socket alone, in addition to the handlers of its namespace, which
    /// run first. The handler is removed when the socket ends.
    ///
    /// Handlers of the namespace ([`Namespace::on`](crate::Namespace::on)) are usually better. They
    /// exist once for all sockets, and they exist before the first event of a client. A handler
    /// that is added in an `async` connect handler may miss this event. If a handler needs to know
    /// something about its socket, keep it as the socket's [data](Self::set_data).
    ///
    /// ```
    /// # use sio_app::{Io, RegisterError, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on_connect(|socket: Socket| -> Result<(), RegisterError> {
    ///     let born = std::time::SystemTime::now();
    ///     socket.on("age", move || Ok::<_, String>(born.elapsed().map_or(0, |age| age.as_secs())))?;
    ///     Ok(())
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the socket is gone, if it has as many handlers as [it
    /// may](crate::Options::max_handlers_per_socket), if the name is reserved or longer than 256
    /// bytes, or if the handler asks for a state that the server was not given.
    pub fn on<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Result<HandlerId, RegisterError> {
        self.add_handler(event, handler, false)
    }

    /// Handles the next event with this name, and no later one, as [`Socket::on`] does.
    ///
    /// # Errors
    /// As [`Socket::on`].
    pub fn once<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Result<HandlerId, RegisterError> {
        self.add_handler(event, handler, true)
    }

    fn add_handler<M, H: EventHandler<M>>(
        &self,
        event: &str,
        handler: H,
        once: bool,
    ) -> Result<HandlerId, RegisterError> {
        RegisterError::of_name(event)?;
        if let Some(table) = self.0.table() {
            let missing = H::needs().states.into_iter().find(|(id, _)| !table.states.has(*id));
            if let Some((_, state)) = missing {
                let handler = format!("the handler of {event:?}");
                return Err(RegisterError::NoState { state, handler });
            }
        }
        let io = self.io().ok_or(RegisterError::Disconnected)?;
        let handler: EventFn = Arc::new(move |call| handler.call(call));
        let max = io.options().max_handlers_per_socket;
        let added = self.0.with_own(true, |own| match own {
            Some(own) => own.add(event, once, handler, max),
            None => Err((RegisterError::Disconnected, handler)),
        });
        added.map_err(|(error, _)| error)
    }

    /// Removes all of this socket's own handlers of an event.
    pub fn off(&self, event: &str) {
        self.take_away(|own| own.remove(event));
    }

    /// Removes one of this socket's own handlers.
    pub fn remove_handler(&self, handler: HandlerId) {
        self.take_away(|own| own.remove_one(handler));
    }

    fn take_away(&self, take: impl FnOnce(&mut Own) -> Vec<EventFn>) {
        let taken = self.0.with_own(false, |own| own.map(take));
        drop(taken);
    }
}
