//! Order: the handlers of one socket start in the order in which its events arrived, whichever threads brought them.
//!
//! Deliveries are in order while their shard is locked. So that is when each is given to somebody: to the turn that locked it, if that
//! turn, or nobody, is at work for the socket; else to the mailbox, from which the one at work takes it when done.
//!
//! ```text
//!   FREE ──admit──► owned by a turn ──done, queue empty──► FREE
//!                        │   ▲
//!                   park │   │ resume            owned by a future: a middleware, or a handler of a
//!                        ▼   │                   namespace that runs one at a time
//!                   owned by a future
//! ```
//!
//! On the ordinary path nothing is queued and nothing is allocated.

use std::collections::VecDeque;

use bytestring::ByteString;
use parking_lot::Mutex;
use sio_proto::server::Reason;
use sio_proto::socket::Args;

/// Most events that wait for one socket. More means that its handlers do not keep up: the session is closed.
const MAX_WAITING: usize = 4096;

/// What concerns one socket, in order.
#[derive(Debug)]
pub(crate) enum Mail {
    Event {
        name: ByteString,
        args: Args,
        ack: Option<u64>,
    },
    Disconnect {
        reason: Reason,
        connected: bool,
    },
}

/// Too many events wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Who is at work for a socket; unique among turns and futures.
pub(crate) type Owner = u64;

#[derive(Default)]
pub(crate) struct Mailbox(Mutex<State>);

#[derive(Default)]
struct State {
    /// Zero if nobody.
    owner: Owner,
    /// How many mails the owner has that it has not finished.
    given: u32,
    queue: VecDeque<Mail>,
    /// How many at the front of the queue were given out and came back.
    returned: usize,
}

impl Mailbox {
    /// The socket begins, with its owner at work on its connection.
    pub(crate) fn open(&self, owner: Owner) {
        let mut state = self.0.lock();
        state.owner = owner;
        state.given = 1;
    }

    /// A mail arrives with the turn `owner`, who gets it back if it is to work on it.
    pub(crate) fn admit(&self, owner: Owner, mail: Mail) -> Result<Option<Mail>, Overflow> {
        let mut state = self.0.lock();
        if (state.owner == 0 || state.owner == owner) && state.queue.is_empty() {
            state.owner = owner;
            state.given += 1;
            return Ok(Some(mail));
        }
        if state.queue.len() >= MAX_WAITING && matches!(mail, Mail::Event { .. }) {
            return Err(Overflow);
        }
        state.queue.push_back(mail);
        Ok(None)
    }

    /// The turn `owner` comes to a mail it was given. It gets it back unless the mailbox has been parked meanwhile.
    pub(crate) fn begin(&self, owner: Owner, mail: Mail) -> Option<Mail> {
        let mut state = self.0.lock();
        if state.owner == owner {
            return Some(mail);
        }
        let at = state.returned;
        state.queue.insert(at, mail);
        state.returned += 1;
        state.given -= 1;
        None
    }

    /// The owner is done with one mail, and may get another.
    pub(crate) fn done(&self) -> Option<Mail> {
        let mut state = self.0.lock();
        state.given -= 1;
        if state.given > 0 {
            return None;
        }
        let next = state.queue.pop_front();
        match next {
            Some(_) => {
                state.given = 1;
                state.returned = state.returned.saturating_sub(1);
            }
            None => state.owner = 0,
        }
        next
    }

    /// A future takes over from the turn that is at work.
    pub(crate) fn park(&self, future: Owner) {
        self.0.lock().owner = future;
    }

    /// A turn takes over from the future.
    pub(crate) fn resume(&self, turn: Owner) {
        self.0.lock().owner = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str) -> Mail {
        Mail::Event {
            name: ByteString::from_static(name),
            args: Args::default(),
            ack: None,
        }
    }

    fn name(mail: Mail) -> String {
        match mail {
            Mail::Event { name, .. } => name.to_string(),
            Mail::Disconnect { .. } => "disconnect".into(),
        }
    }

    #[test]
    fn one_turn_gets_its_own_mails_at_once() {
        let mailbox = Mailbox::default();
        for round in ["a", "b", "c"] {
            assert_eq!(name(mailbox.admit(7, event(round)).unwrap().unwrap()), round);
        }
        assert!(mailbox.done().is_none());
        assert!(mailbox.done().is_none());
        assert!(mailbox.done().is_none());
        assert!(mailbox.admit(8, event("d")).unwrap().is_some());
    }

    #[test]
    fn another_turns_mail_waits_for_the_first() {
        let mailbox = Mailbox::default();
        assert!(mailbox.admit(1, event("a")).unwrap().is_some());
        assert!(mailbox.admit(2, event("b")).unwrap().is_none());
        // Behind what waits, even for the owner.
        assert!(mailbox.admit(1, event("c")).unwrap().is_none());
        assert_eq!(name(mailbox.done().unwrap()), "b");
        assert_eq!(name(mailbox.done().unwrap()), "c");
        assert!(mailbox.done().is_none());
        assert!(mailbox.admit(2, event("d")).unwrap().is_some());
    }

    #[test]
    fn what_was_given_before_a_park_comes_before_what_arrived_after() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        let given = ["a", "b"].map(|n| mailbox.admit(1, event(n)).unwrap().unwrap());
        mailbox.park(99);
        assert!(mailbox.admit(2, event("c")).unwrap().is_none());
        for mail in given {
            assert!(mailbox.begin(1, mail).is_none());
        }
        mailbox.resume(3);
        for expected in ["a", "b", "c"] {
            assert_eq!(name(mailbox.done().unwrap()), expected);
        }
        assert!(mailbox.done().is_none());
    }

    #[test]
    fn it_is_bounded_for_events_only() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        for _ in 0..MAX_WAITING {
            assert!(mailbox.admit(2, event("x")).unwrap().is_none());
        }
        assert_eq!(mailbox.admit(2, event("x")).unwrap_err(), Overflow);
        let gone = Mail::Disconnect {
            reason: Reason::ForcedClose,
            connected: true,
        };
        assert!(mailbox.admit(2, gone).unwrap().is_none());
    }
}
