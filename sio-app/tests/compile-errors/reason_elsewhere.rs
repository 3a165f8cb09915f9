use sio_app::{Io, Reason, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("x", |_: Socket, _: Reason| ());
        //~ `Reason` cannot be the last parameter of a handler
        io.of("/").on_disconnect(|_: Socket, _: String| ());
        //~ `String` cannot stand here in a handler
    };
}
