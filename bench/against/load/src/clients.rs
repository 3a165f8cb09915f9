//! Many clients on websockets.

use crate::arguments::Options;
use crate::failure::{Failure, Outcome};
use crate::handshake::{Greeting, Handshake};
use crate::http;
use crate::link::Link;
use crate::turns::Turns;

/// Opens as many clients as the options say, `at_once` at the same time. `greeting` is what the
/// client with this number sends first.
pub(crate) fn open(
    options: &Options,
    turns: &mut Turns,
    at_once: usize,
    greeting: impl Fn(usize) -> Greeting,
) -> Outcome<Vec<Link>> {
    let request = http::upgrade(options.port, None);
    let mut links: Vec<Link> = Vec::with_capacity(options.clients);
    let mut handshakes: Vec<Handshake> = Vec::with_capacity(options.clients);
    let mut ready = 0;
    turns.has_heard();
    while ready < options.clients {
        while links.len() < options.clients && links.len() - ready < at_once {
            let id = links.len();
            let mut link = Link::open(options.port, turns.poll.registry(), id)?;
            link.send(&request)?;
            links.push(link);
            handshakes.push(Handshake::new(options.is_raw, greeting(id)));
        }
        turns.wait()?;
        for event in &turns.events {
            let id = event.token().0;
            let (Some(link), Some(handshake)) = (links.get_mut(id), handshakes.get_mut(id)) else {
                continue;
            };
            let was_ready = handshake.is_ready();
            turns
                .buffers
                .serve(link, event, |bytes, out| handshake.take(bytes, out))
                .map_err(|failure| Failure::new(format!("client {id}, while it comes: {failure}")))?;
            ready += usize::from(handshake.is_ready() && !was_ready);
        }
    }
    Ok(links)
}
