use sio_app::{Ack, Io, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("one", |_: Socket| 5_u32);
        //~ this handler cannot return `u32`
        //~ a closure returns nothing if its last expression ends with a semicolon
        io.of("/").on("two", |_: Socket, _: Ack| Ok::<u64, String>(5));
        //~ this handler cannot return `Result<u64, String>`
        io.of("/").with(|_: Socket| ());
        //~ a middleware cannot return `()`
    };
}
