use sio_app::{Io, Socket};

fn main() {
    let _ = |io: &Io| {
        io.of("/").on("sum", |_: Socket, _: f64, _: f64| ());
        //~ `f64` cannot stand behind the arguments of an event
        //~ several arguments are a tuple, `(a, b): (String, u32)`
        io.of("/").on("sum", |_: Socket, _: f64, _: f64, _: f64| ());
        //~ `f64` cannot stand here in a handler
    };
}
