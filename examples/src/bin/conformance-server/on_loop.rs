//! `--runtime loop`: the event loop of the examples, one per thread. All loops accept on all
//! listeners. Each loop handles the deadlines of its own shard.

use std::io;
use std::net::TcpListener;
use std::thread;

use sio_app::Io;
use sio_examples::asked_to_end;
use sio_examples::event_loop::{EventLoop, RUNTIME};

use crate::options::Options;

pub(crate) fn serve(options: &Options) -> io::Result<()> {
    let listeners = crate::bind(options)?;
    let parts = crate::parts(options)?;
    let threads = crate::process(options).shards;
    let mut serving = Vec::new();
    for (part, listener) in parts.into_iter().zip(listeners) {
        let io = Io::new(part.config, part.process, RUNTIME).map_err(crate::invalid)?;
        (part.register)(&io);
        serving.push((io, listener));
    }
    let mut first = event_loop(&serving, 0)?;
    let ios: Vec<Io> = serving.iter().map(|(io, _)| io.clone()).collect();
    let close = move || ios.iter().for_each(Io::close);
    let (asked, close_when_asked) = (asked_to_end(), close.clone());
    first.spawn(async move {
        asked.await;
        close_when_asked();
    });
    let others = (1..threads).map(|shard| event_loop(&serving, shard));
    let others = others.collect::<io::Result<Vec<EventLoop>>>()?;
    drop(serving);
    crate::say_serving(options);
    thread::scope(|scope| {
        let others: Vec<_> = others
            .into_iter()
            .map(|mut other| scope.spawn(move || other.run()))
            .collect();
        let first = first.run();
        if first.is_err() {
            close();
        }
        let join = |other: thread::ScopedJoinHandle<'_, io::Result<()>>| {
            other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a loop has panicked")))
        };
        others.into_iter().map(join).fold(first, Result::and)
    })
}

fn event_loop(serving: &[(Io, TcpListener)], shard: usize) -> io::Result<EventLoop> {
    let mut event_loop = EventLoop::new()?;
    for (io, listener) in serving {
        event_loop.serve_shards(io, listener.try_clone()?, shard..shard + 1)?;
    }
    Ok(event_loop)
}
