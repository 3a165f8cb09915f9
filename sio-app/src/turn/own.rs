//! Handlers of one socket, beside those of its namespace.

use std::fmt;

use crate::error::RegisterError;
use crate::turn::table::EventFn;

/// A name that is longer is no event's that an application would handle for one socket.
const MOST_NAME_BYTES: usize = 256;

/// One handler that a socket was given, to take it away again:
/// [`Socket::remove_handler`](crate::Socket::remove_handler).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandlerId(u64);

impl fmt::Debug for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerId({})", self.0)
    }
}

/// The handlers of one socket, in the order in which it was given them.
#[derive(Default)]
pub(crate) struct Own {
    next: u64,
    handlers: Vec<OwnHandler>,
}

struct OwnHandler {
    id: HandlerId,
    event: Box<str>,
    once: bool,
    handler: EventFn,
}

impl Own {
    /// One more, if there are fewer than `max`. What is refused comes back, because its end is the
    /// user's code.
    pub(crate) fn add(
        &mut self,
        event: &str,
        once: bool,
        handler: EventFn,
        max: usize,
    ) -> Result<HandlerId, (RegisterError, EventFn)> {
        if event.len() > MOST_NAME_BYTES {
            return Err((RegisterError::NameTooLong, handler));
        }
        if self.handlers.len() >= max {
            return Err((RegisterError::TooMany, handler));
        }
        let id = HandlerId(self.next);
        self.next += 1;
        self.handlers.push(OwnHandler {
            id,
            event: event.into(),
            once,
            handler,
        });
        Ok(id)
    }

    /// The handlers of an event, which has come: what is for one event only is taken out.
    pub(crate) fn take_for(&mut self, event: &str) -> Vec<EventFn> {
        let mut found = Vec::new();
        self.handlers.retain(|own| {
            let is_meant = *own.event == *event;
            if is_meant {
                found.push(EventFn::clone(&own.handler));
            }
            !(is_meant && own.once)
        });
        found
    }

    /// Takes out those of an event.
    pub(crate) fn remove(&mut self, event: &str) -> Vec<EventFn> {
        self.take_out(|own| *own.event == *event)
    }

    /// Takes out one.
    pub(crate) fn remove_one(&mut self, id: HandlerId) -> Vec<EventFn> {
        self.take_out(|own| own.id == id)
    }

    fn take_out(&mut self, is_meant: impl Fn(&OwnHandler) -> bool) -> Vec<EventFn> {
        let out = self.handlers.extract_if(.., |own| is_meant(own));
        out.map(|own| own.handler).collect()
    }
}
