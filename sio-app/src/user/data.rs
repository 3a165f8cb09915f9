//! The application's own data that is kept with a socket, by type.

use std::any::{Any, TypeId};
use std::sync::Arc;

use crate::turn::values::Value;
use crate::user::socket::Socket;

/// The application's own data, by type.
impl Socket {
    /// Keeps a value with the socket. It replaces an earlier value of the same type.
    ///
    /// The value lives as long as a handle of the socket. So a value that holds a handle of its own
    /// socket, or of a socket whose value holds this one, is never dropped: keep the socket's
    /// [`id`](Socket::id) instead, or take the value out in `on_disconnect`
    /// ([`Socket::take_data`]).
    pub fn set_data<T: Any + Send + Sync>(&self, value: T) {
        self.put(value, |_| true);
    }

    /// Keeps a value, if `may` returns true for the value of the same type that was kept before.
    fn put<T: Any + Send + Sync>(&self, value: T, may: impl FnOnce(Option<&Value>) -> bool) -> bool {
        let values = self.0.data(true);
        let is_kept = values.is_some_and(|values| values.replace(Arc::new(value), may).is_ok());
        if is_kept {
            self.0.cell.recovery.value_changed(&self.0, TypeId::of::<T>());
        }
        is_kept
    }

    /// Returns the value of this type that is kept with the socket.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.0.data(false)?.find(TypeId::of::<T>())?;
        value.downcast().ok()
    }

    /// Changes the value of this type that is kept with the socket, and returns the result of
    /// `change`. Returns `None` if there is no such value.
    ///
    /// `change` gets a copy of the value, under no lock, and then the copy replaces the value. If
    /// another thread has changed the value meanwhile, `change` is called again with the new value.
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// #[derive(Clone)]
    /// struct Score(u32);
    ///
    /// # fn register(io: &Io) {
    /// io.of("/")
    ///     .on_connect(|socket: Socket| socket.set_data(Score(0)))
    ///     .on("hit", |socket: Socket, points: u32| {
    ///         let score = socket.update_data(|score: &mut Score| {
    ///             score.0 += points;
    ///             score.0
    ///         });
    ///         score.ok_or("not playing")
    ///     });
    /// # }
    /// ```
    pub fn update_data<T: Any + Clone + Send + Sync, R>(&self, mut change: impl FnMut(&mut T) -> R) -> Option<R> {
        loop {
            let old = self.data::<T>()?;
            let mut new = T::clone(&old);
            let result = change(&mut new);
            let is_still =
                |now: Option<&Value>| now.is_some_and(|now| std::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(&old)));
            if self.put(new, is_still) {
                return Some(result);
            }
        }
    }

    /// Removes the value of this type from the socket, and returns it.
    pub fn take_data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.0.data(false)?.take(TypeId::of::<T>())?;
        self.0.cell.recovery.value_changed(&self.0, TypeId::of::<T>());
        value.downcast().ok()
    }
}
