//! Clients that come over a websocket, and go.

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::handshake::{Greeting, Handshake};
use crate::histogram::Histogram;
use crate::http;
use crate::link::Link;
use crate::report::Report;
use crate::turns::{Moment, Stopwatch, Turns};

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let request = http::upgrade(options.port, None);
    let mut turns = Turns::new()?;
    let mut waits = Histogram::new();
    let mut count = 0;
    let begin = |turns: &Turns, id: usize, proves: bool| -> Outcome<_> {
        let start = clock::now();
        let mut link = Link::open(options.port, turns.poll.registry(), id)?;
        link.send(&request)?;
        // Before it counts, each client also tries an echo.
        let greeting = if proves { Greeting::proof() } else { Greeting::default() };
        Ok((link, Handshake::new(options.is_raw, greeting), start))
    };
    let mut clients = Vec::new();
    for id in 0..options.clients {
        clients.push(begin(&turns, id, true)?);
    }
    turns.has_heard();
    let mut watch = Stopwatch::new(options);
    let mut come = Vec::new();
    let measured = loop {
        turns.wait()?;
        for event in &turns.events {
            let id = event.token().0;
            let Some((link, handshake, start)) = clients.get_mut(id) else {
                continue;
            };
            turns
                .buffers
                .serve(link, event, |bytes, out| handshake.take(bytes, out))
                .map_err(|failure| Failure::new(format!("a client that comes: {failure}")))?;
            if handshake.is_ready() && !come.contains(&id) {
                waits.add(clock::now() - *start);
                count += 1;
                come.push(id);
            }
        }
        for id in come.drain(..) {
            clients[id] = begin(&turns, id, !watch.counts())?;
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
