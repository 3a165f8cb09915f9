use sio_app::{Ack, Io, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("x", |_: Ack, _: Socket| ());
        //~ `Ack` cannot stand before the last parameter of a handler
        //~ `Ack` is last
        io.of("/").on("x", |_: Socket, _: Ack, _: String| ());
        //~ `Ack` cannot stand before the last parameter of a handler
    };
}
