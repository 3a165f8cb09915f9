//! Clients that each do one operation after the other, and how long each operation waits.

use std::time::Instant;

use mio::event::Event;
use mio::{Poll, Registry};

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::histogram::Histogram;
use crate::report::Report;
use crate::turns::{Buffers, Moment, Stopwatch, Turns};

/// A client, and what it counts.
pub(crate) trait Client: Sized {
    /// How many connections a client has. Connection `n` of client `id` has the token
    /// `id * LINKS + n`.
    const LINKS: usize;

    /// Whether another client begins where one has done its operation.
    const LEAVES: bool;

    /// Begins the client whose first connection has this token. One that `proves` does more than
    /// what is measured: it shows that the server works.
    fn begin(options: &Options, registry: &Registry, token: usize, proves: bool) -> Outcome<Self>;

    /// Handles an event. Returns when the operation began that is done now.
    fn serve(
        &mut self,
        options: &Options,
        poll: &Poll,
        event: &Event,
        buffers: &mut Buffers,
    ) -> Outcome<Option<Instant>>;
}

/// Counts the operations of all clients.
pub(crate) fn run<C: Client>(options: &Options) -> Outcome<String> {
    let mut turns = Turns::new()?;
    let mut waits = Histogram::new();
    let mut count = 0;
    let begin = |poll: &Poll, id: usize, proves| C::begin(options, poll.registry(), id * C::LINKS, proves);
    let mut clients = Vec::new();
    for id in 0..options.clients {
        clients.push(begin(&turns.poll, id, true)?);
    }
    turns.has_heard();
    let mut watch = Stopwatch::new(options);
    let mut done = Vec::new();
    let measured = loop {
        turns.wait()?;
        for event in &turns.events {
            let id = event.token().0 / C::LINKS;
            let Some(client) = clients.get_mut(id) else { continue };
            let began = client
                .serve(options, &turns.poll, event, &mut turns.buffers)
                .map_err(|failure| Failure::new(format!("client {id}: {failure}")))?;
            if let Some(began) = began {
                waits.add(clock::now() - began);
                count += 1;
                done.push(id);
            }
        }
        for id in done.drain(..).filter(|_| C::LEAVES) {
            clients[id] = begin(&turns.poll, id, !watch.counts())?;
        }
        match watch.look()? {
            Moment::Goes => {}
            Moment::Begins => {
                waits.clear();
                count = 0;
            }
            Moment::Ends(measured) => break measured,
        }
    };
    let mut report = Report::new(options);
    report.operations(count, &measured, &waits);
    Ok(report.finish())
}
