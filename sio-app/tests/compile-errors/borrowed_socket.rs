use sio_app::{Ack, Io, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("one", |_: &Socket| ());
        //~ `&Socket` cannot be the last parameter of a handler
        //~ the socket is taken by value: `Socket`, not `&Socket`
        io.of("/").on("two", |_: &Socket, _: Ack| ());
        //~ `&Socket` cannot stand before the last parameter of a handler
        io.of("/").on_connect(|_: &Socket| ());
        //~ `&Socket` cannot stand here in a handler
    };
}
