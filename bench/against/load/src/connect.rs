//! Clients that come over a websocket, and go.

use std::time::Instant;

use mio::event::Event;
use mio::{Poll, Registry};

use crate::arguments::Options;
use crate::clock;
use crate::failure::Outcome;
use crate::handshake::{Greeting, Handshake};
use crate::http;
use crate::link::Link;
use crate::operations::Client;
use crate::turns::Buffers;

/// A client that comes over a websocket.
pub(crate) struct Newcomer {
    began: Instant,
    link: Link,
    handshake: Handshake,
    /// It has come, and was counted.
    is_counted: bool,
}

impl Client for Newcomer {
    const LINKS: usize = 1;
    const LEAVES: bool = true;

    fn begin(options: &Options, registry: &Registry, token: usize, proves: bool) -> Outcome<Self> {
        let began = clock::now();
        let mut link = Link::open(options.port, registry, token)?;
        link.send(&http::upgrade(options.port, None))?;
        // The proof is an echo.
        let greeting = if proves { Greeting::proof() } else { Greeting::default() };
        Ok(Self {
            began,
            link,
            handshake: Handshake::new(options.is_raw, greeting),
            is_counted: false,
        })
    }

    fn serve(
        &mut self,
        _options: &Options,
        _poll: &Poll,
        event: &Event,
        buffers: &mut Buffers,
    ) -> Outcome<Option<Instant>> {
        let handshake = &mut self.handshake;
        buffers.serve(&mut self.link, event, |bytes, out| handshake.take(bytes, out))?;
        let comes = self.handshake.is_ready() && !self.is_counted;
        self.is_counted |= comes;
        Ok(comes.then_some(self.began))
    }
}
