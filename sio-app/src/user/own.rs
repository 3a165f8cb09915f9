//! Handlers that are given to one socket.

use std::sync::Arc;

use crate::error::RegisterError;
use crate::turn::own::{HandlerId, Own};
use crate::turn::table::EventFn;
use crate::user::handler::EventHandler;
use crate::user::socket::Socket;

/// Handlers of its own.
impl Socket {
    /// Handles an event of this socket alone, beside the handlers of its namespace, which run
    /// first. It ends with the socket.
    ///
    /// Handlers of the namespace ([`Namespace::on`](crate::Namespace::on)) are the better habit:
    /// they exist once, whatever the number of sockets, and they are there before the first event
    /// of a client, which a handler that is given in an `async` connect handler may miss. What a
    /// handler needs to know of its socket is the socket's [data](Self::set_data).
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
    /// If the socket is gone, has [as many](crate::Options::max_handlers_per_socket) as it may, the
    /// name is reserved or longer than 256 bytes, or the handler asks for a state that the server
    /// was not given.
    pub fn on<M, H: EventHandler<M>>(&self, event: &str, handler: H) -> Result<HandlerId, RegisterError> {
        self.add_handler(event, handler, false)
    }

    /// Handles the next event of this name, and no other, as [`Socket::on`] does.
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

    /// Takes away all handlers of an event that this socket was given.
    pub fn off(&self, event: &str) {
        self.take_away(|own| own.remove(event));
    }

    /// Takes away one handler that this socket was given.
    pub fn remove_handler(&self, handler: HandlerId) {
        self.take_away(|own| own.remove_one(handler));
    }

    fn take_away(&self, take: impl FnOnce(&mut Own) -> Vec<EventFn>) {
        let taken = self.0.with_own(false, |own| own.map(take));
        drop(taken);
    }
}
