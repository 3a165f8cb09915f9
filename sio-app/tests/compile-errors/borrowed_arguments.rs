use sio_app::{Io, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("say", |_: Socket, _text: &str| ());
        //~ `&str` must implement
    };
}
