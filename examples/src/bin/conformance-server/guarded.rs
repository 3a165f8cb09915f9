//! What `--guarded` adds to the contract: rules and values that attacks try to switch off or to
//! get stuck in.

use sio_app::{HttpRequest, Io, Refusal, Socket};

/// Adds the rules of an application, and the events `address` and `keep`.
pub(crate) fn register(io: &Io) {
    io.allow_request(guard);
    io.of_pattern("/locked-*")
        .with(|_: Socket| Err::<(), _>(Refusal::new("locked")));
    // Whoever tries all places of the stars does not come to an end with one long name.
    io.of_pattern("/starred-*a*a*a*a*b")
        .with(|_: Socket| Err::<(), _>(Refusal::new("starred")));
    let root = io.of("/");
    // An application that sends to a namespace by its name does not make it.
    root.on("address", |io: Io, name: String| {
        io.of(&name).emit("addressed", 1);
    });
    root.on("keep", |io: Io, socket: Socket| socket.set_data(LooksBack(io)));
}

/// The application's rule: it refuses a request that has the header `X-Refuse`.
fn guard(request: &HttpRequest<'_>) -> Result<(), String> {
    match request.header("x-refuse") {
        Some(_) => Err("refused".to_owned()),
        None => Ok(()),
    }
}

/// A value of the application. When it is dropped, it asks the server and sends a message.
struct LooksBack(Io);

impl Drop for LooksBack {
    fn drop(&mut self) {
        let sessions = self.0.sessions();
        self.0.to("looks-back").emit("gone", sessions);
    }
}
