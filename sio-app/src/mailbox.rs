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
    /// What is under way for the socket beside its owner: handlers that wait, acknowledgements they have to send.
    guests: u32,
    /// The socket is to go as soon as nothing is under way.
    leaving: bool,
}

/// What comes after a mail.
#[derive(Debug)]
pub(crate) enum Next {
    Mail(Mail),
    Nothing,
    /// Nothing, and the socket is to go.
    Leave,
}

impl State {
    /// Whether the socket is to go now. It is said once.
    const fn leaves(&mut self) -> bool {
        let leaves = self.leaving && self.owner == 0 && self.guests == 0;
        self.leaving &= !leaves;
        leaves
    }
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

    /// How many mails wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().queue.len()
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
    pub(crate) fn done(&self) -> Next {
        let mut state = self.0.lock();
        state.given -= 1;
        if state.given > 0 {
            return Next::Nothing;
        }
        if let Some(mail) = state.queue.pop_front() {
            state.given = 1;
            state.returned = state.returned.saturating_sub(1);
            return Next::Mail(mail);
        }
        state.owner = 0;
        if state.leaves() { Next::Leave } else { Next::Nothing }
    }

    /// Something is under way for the socket that its owner does not wait for.
    pub(crate) fn enter(&self) {
        self.0.lock().guests += 1;
    }

    /// It is done. True if the socket is to go.
    #[must_use]
    pub(crate) fn exit(&self) -> bool {
        let mut state = self.0.lock();
        state.guests -= 1;
        state.leaves()
    }

    /// The socket is to go: true if it can at once. Else [`done`](Self::done) or [`exit`](Self::exit) says so, once.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.leaving = true;
        state.leaves()
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

    fn next(mailbox: &Mailbox) -> Option<String> {
        match mailbox.done() {
            Next::Mail(mail) => Some(name(mail)),
            Next::Nothing => None,
            Next::Leave => Some("leave".into()),
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
        assert_eq!(next(&mailbox), None);
        assert_eq!(next(&mailbox), None);
        assert_eq!(next(&mailbox), None);
        assert!(mailbox.admit(8, event("d")).unwrap().is_some());
    }

    #[test]
    fn another_turns_mail_waits_for_the_first() {
        let mailbox = Mailbox::default();
        assert!(mailbox.admit(1, event("a")).unwrap().is_some());
        assert!(mailbox.admit(2, event("b")).unwrap().is_none());
        // Behind what waits, even for the owner.
        assert!(mailbox.admit(1, event("c")).unwrap().is_none());
        assert_eq!(next(&mailbox).unwrap(), "b");
        assert_eq!(next(&mailbox).unwrap(), "c");
        assert_eq!(next(&mailbox), None);
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
            assert_eq!(next(&mailbox).unwrap(), expected);
        }
        assert_eq!(next(&mailbox), None);
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

    #[test]
    fn a_socket_leaves_when_nothing_is_under_way() {
        let mailbox = Mailbox::default();
        assert!(mailbox.leave(), "nothing is");
        mailbox.open(1);
        assert!(!mailbox.leave());
        mailbox.enter();
        assert!(mailbox.admit(2, event("a")).unwrap().is_none());
        assert_eq!(next(&mailbox).unwrap(), "a");
        assert_eq!(next(&mailbox), None, "there is a guest");
        assert!(mailbox.exit());
        // It has been said.
        mailbox.enter();
        assert!(!mailbox.exit());

        mailbox.open(3);
        assert!(!mailbox.leave());
        assert_eq!(next(&mailbox).unwrap(), "leave");
    }
}
