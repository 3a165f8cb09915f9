use sio_app::{Io, Socket};

fn main() {
    let _ = |io: &Io| {
        let names = vec![String::new()];
        io.of("/").on("pick", async move |_: Socket| drop(names.len()));
        //~ async closure does not implement `Fn` because it captures state from its environment
        let local = std::rc::Rc::new(5);
        io.of("/").on("local", move |_: Socket| drop(local.clone()));
        //~ `Rc<i32>` cannot be sent between threads safely
    };
}
