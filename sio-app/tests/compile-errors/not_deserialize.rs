use sio_app::{Io, Socket};

struct Transfer;

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("pay", |_: Socket, _: Transfer| ());
        //~ `Transfer` cannot be the last parameter of a handler
        //~ as by `#[derive(Deserialize)]`
    };
}
