//! Handlers of one socket, beside those of its namespace.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::RegisterError;
use crate::turn::table::EventFn;

/// The longest name of an event that a socket's own handler can have, in bytes. No application
/// needs a longer one.
const MOST_NAME_BYTES: usize = 256;

/// Names one of a socket's own handlers, so that it can be removed:
/// [`Socket::remove_handler`](crate::Socket::remove_handler).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandlerId(u64);

impl fmt::Debug for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerId({})", self.0)
    }
}

/// The handlers of one socket, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Own {
    handlers: Vec<OwnHandler>,
}

struct OwnHandler {
    id: HandlerId,
    event: Box<str>,
    once: bool,
    handler: EventFn,
}

impl Own {
    /// Adds a handler, if there are fewer than `max`. A refused handler is returned, because
    /// dropping it runs user code.
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
        // An id of another socket's handler removes nothing here.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = HandlerId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.handlers.push(OwnHandler {
            id,
            event: event.into(),
            once,
            handler,
        });
        Ok(id)
    }

    /// Returns the handlers of an event that has arrived. Handlers for one event only are removed.
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

    /// Removes the handlers of an event, and returns them.
    pub(crate) fn remove(&mut self, event: &str) -> Vec<EventFn> {
        self.take_out(|own| *own.event == *event)
    }

    /// Removes one handler, and returns it.
    pub(crate) fn remove_one(&mut self, id: HandlerId) -> Vec<EventFn> {
        self.take_out(|own| own.id == id)
    }

    fn take_out(&mut self, is_meant: impl Fn(&OwnHandler) -> bool) -> Vec<EventFn> {
        let out = self.handlers.extract_if(.., |own| is_meant(own));
        out.map(|own| own.handler).collect()
    }
}
