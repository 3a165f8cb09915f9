//! The application's own data that is kept with a socket, by type.

use std::any::{Any, TypeId};
use std::sync::Arc;

use crate::turn::socket::Kept;
use crate::user::socket::Socket;

fn of_type<T: 'static>(value: &Kept) -> bool {
    (**value).type_id() == TypeId::of::<T>()
}

/// The application's own data, by type.
impl Socket {
    /// Keeps a value with the socket. It replaces an earlier value of the same type.
    ///
    /// The value lives as long as a handle of the socket. So a value that holds a handle of its own
    /// socket, or of a socket whose value holds this one, is never dropped: keep the socket's
    /// [`id`](Socket::id) instead, or take the value out in `on_disconnect`
    /// ([`Socket::take_data`]).
    pub fn set_data<T: Any + Send + Sync>(&self, value: T) {
        self.put(Arc::new(value), |_| true);
    }

    /// Keeps a value, if `may` returns true for the value of the same type that was kept before.
    /// The user's destructors do not run under the lock.
    fn put<T: Any + Send + Sync>(&self, value: Arc<T>, may: impl FnOnce(Option<&Kept>) -> bool) -> bool {
        let Some(data) = self.0.data(true) else { return false };
        let value: Kept = value;
        let mut data = data.lock();
        let at = data.iter().position(of_type::<T>);
        if !may(at.and_then(|at| data.get(at))) {
            drop(data);
            drop(value);
            return false;
        }
        let old = match at.and_then(|at| data.get_mut(at)) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                data.push(value);
                None
            }
        };
        drop(data);
        drop(old);
        true
    }

    /// Returns the value of this type that is kept with the socket.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = {
            let data = self.0.data(false)?.lock();
            let value = data.iter().find(|value| of_type::<T>(value));
            value.map(Arc::clone)?
        };
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
                |now: Option<&Kept>| now.is_some_and(|now| std::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(&old)));
            if self.put(Arc::new(new), is_still) {
                return Some(result);
            }
        }
    }

    /// Removes the value of this type from the socket, and returns it.
    pub fn take_data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = {
            let mut data = self.0.data(false)?.lock();
            let at = data.iter().position(of_type::<T>)?;
            data.swap_remove(at)
        };
        value.downcast().ok()
    }
}
