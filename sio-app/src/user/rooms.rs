//! Names of rooms, one or several.

use crate::error::EmitError;

/// Marks a type that is the name of one room.
#[doc(hidden)]
pub struct One;
/// Marks a type that is a list of names of rooms.
#[doc(hidden)]
pub struct Many;

/// One room or several: a `&str`, a `String`, a [`SocketId`](crate::SocketId), or an array, a
/// vector or any other iterator of these. The marker `M` is always inferred.
///
/// ```
/// # use sio_app::{EmitError, Io, Socket};
/// # fn example(io: &Io, socket: &Socket) -> Result<(), EmitError> {
/// socket.join("lobby")?;
/// socket.join(["news", "sports"])?;
/// io.to(["news", "sports"]).except("away").emit("breaking", "both, and each once");
/// socket.leave(vec![String::from("news")]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no rooms",
    label = "neither the name of a room nor several",
    note = "a room is a `&str`, a `String`, a `SocketId` or another type that is `AsRef<str>`; several are an array, a vector or an iterator of these"
)]
pub trait Rooms<M>: Sized {
    /// Whether the type is a list.
    #[doc(hidden)]
    const MANY: bool;

    /// Calls a function with each name, until the function fails.
    #[doc(hidden)]
    fn each(self, act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError>;
}

impl<T: AsRef<str>> Rooms<One> for T {
    const MANY: bool = false;

    fn each(self, mut act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError> {
        act(self.as_ref())
    }
}

impl<I: IntoIterator<Item: AsRef<str>>> Rooms<Many> for I {
    const MANY: bool = true;

    fn each(self, mut act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError> {
        self.into_iter().try_for_each(|room| act(room.as_ref()))
    }
}

/// Calls a function once, with all names.
pub(crate) fn with_names<M>(rooms: impl Rooms<M>, act: impl FnOnce(&[&str])) {
    let mut names: Vec<String> = Vec::new();
    let _ = rooms.each(|room| {
        names.push(room.to_owned());
        Ok(())
    });
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    act(&names);
}
