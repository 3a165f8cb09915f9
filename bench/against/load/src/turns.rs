//! The event loop: waiting, reading, writing, and the times between which is measured.

use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::link::{Link, SCRATCH};
use crate::server::{self, Processor};

/// A server that sends nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(10);

const TURN: Duration = Duration::from_millis(100);

/// What waits for events, and the buffers that all connections share.
pub(crate) struct Turns {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) buffers: Buffers,
    heard: Instant,
}

pub(crate) struct Buffers {
    scratch: Vec<u8>,
    pub(crate) out: Vec<u8>,
}

impl Turns {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffers: Buffers {
                scratch: vec![0; SCRATCH],
                out: Vec::new(),
            },
            heard: clock::now(),
        })
    }

    /// Waits for events, for a tenth of a second at most.
    pub(crate) fn wait(&mut self) -> Outcome {
        match self.poll.poll(&mut self.events, Some(TURN)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            waited => waited?,
        }
        let now = clock::now();
        if !self.events.is_empty() {
            self.heard = now;
        } else if now - self.heard > SILENCE {
            return Err(Failure::new("the server has been silent for ten seconds"));
        }
        Ok(())
    }

    /// Silence is allowed until now.
    pub(crate) fn has_heard(&mut self) {
        self.heard = clock::now();
    }
}

impl Buffers {
    /// Does what an event of a connection asks for. `take` is given the bytes that have come, and
    /// returns how many it needs no more; what it writes into its second parameter is sent.
    pub(crate) fn serve(
        &mut self,
        link: &mut Link,
        event: &Event,
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> Outcome<usize>,
    ) -> Outcome {
        if event.is_writable() {
            link.flush()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        let chunk = link.read(&mut self.scratch, event.is_read_closed())?;
        let bytes = &self.scratch[..chunk.filled];
        self.out.clear();
        let used = take(bytes, &mut self.out)?;
        link.keep(&bytes[used..]);
        if chunk.is_closed {
            return Err(Failure::new("the server has closed a connection"));
        }
        if !self.out.is_empty() {
            link.send(&self.out)?;
        }
        Ok(())
    }
}

/// The time of a measurement: first some time that does not count, then the time that does.
pub(crate) struct Stopwatch<'a> {
    options: &'a Options,
    opened: Instant,
    begin: Option<(Instant, Processor, Processor)>,
}

/// What a measurement has seen of the two processes.
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) server: Duration,
    pub(crate) generator: Duration,
}

pub(crate) enum Moment {
    Goes,
    /// From now on it counts.
    Begins,
    Ends(Measured),
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self {
            options,
            opened: clock::now(),
            begin: None,
        }
    }

    pub(crate) fn counts(&self) -> bool {
        self.begin.is_some()
    }

    pub(crate) fn look(&mut self) -> Outcome<Moment> {
        let now = clock::now();
        let Some((begin, server, generator)) = &self.begin else {
            if now - self.opened < self.options.warmup {
                return Ok(Moment::Goes);
            }
            self.begin = Some((now, server::processor(&self.options.pid)?, server::processor("self")?));
            return Ok(Moment::Begins);
        };
        if now - *begin < self.options.measured {
            return Ok(Moment::Goes);
        }
        Ok(Moment::Ends(Measured {
            seconds: (now - *begin).as_secs_f64(),
            server: server::processor(&self.options.pid)?.since(server),
            generator: server::processor("self")?.since(generator),
        }))
    }
}
