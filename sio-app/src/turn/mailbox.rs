//! Order: the handlers of one socket start in the order in which its events arrived, whichever
//! threads brought them.
//!
//! Deliveries are in order while their shard is locked. So that is when each is given to somebody:
//! to the turn that locked it, if that turn, or nobody, is at work for the socket; else to the
//! mailbox, from which the one at work takes it when done.
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
use sio_proto::server::Reason;
use sio_proto::socket::Args;

use crate::args::{detached, detached_text};
use crate::lock::Mutex;
use crate::turn::load::{Load, Overflow};

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
        /// The rooms it was in.
        rooms: Vec<ByteString>,
    },
}

impl Mail {
    /// What its parts take in memory; `None` for the end, which is no event, and comes once.
    pub(crate) fn bytes(&self) -> Option<usize> {
        match self {
            Self::Event { name, args, .. } => Some(name.len() + args_bytes(args)),
            Self::Disconnect { .. } => None,
        }
    }

    /// The same in memory of its own, for one that stays: it is a small part of what its thread
    /// reads into, which others need.
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Event { name, args, ack } => Self::Event {
                name: detached_text(name),
                args: detached(args),
                ack,
            },
            Self::Disconnect { .. } => self,
        }
    }
}

/// What arguments take in memory.
pub(crate) fn args_bytes(args: &Args) -> usize {
    args.bytes()
}

/// Who is at work for a socket; unique among turns and futures.
pub(crate) type Owner = u64;

/// Nobody is at work, and the next to be is the turn that has the next mail.
const NOBODY_YET: Owner = Owner::MAX;

#[derive(Default)]
pub(crate) struct Mailbox(Mutex<State>);

#[derive(Default)]
struct State {
    /// Zero if nobody.
    owner: Owner,
    /// How many mails the owner has that it has not finished.
    given: u32,
    /// How many mails a turn has that was the owner and has not come to them. They go before
    /// everything that has arrived since.
    astray: u32,
    queue: VecDeque<Mail>,
    /// How many at the front of the queue were given out and came back.
    returned: usize,
    /// What is under way for the socket beside its owner: handlers that wait, acknowledgements they
    /// have to send.
    guests: usize,
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
    fn waiting(&self) -> usize {
        self.queue.len() + self.guests
    }

    /// Takes the front of the queue.
    fn pop(&mut self, load: &Load) -> Option<Mail> {
        let mail = self.queue.pop_front()?;
        if self.queue.is_empty() && self.queue.capacity() > 32 {
            self.queue = VecDeque::new();
        }
        if let Some(bytes) = mail.bytes() {
            load.leave(bytes);
        }
        self.returned = self.returned.saturating_sub(1);
        Some(mail)
    }

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
    ///
    /// # Errors
    /// [`Overflow`] for an event that would have to wait where too much does.
    pub(crate) fn admit(&self, owner: Owner, mail: Mail, load: &Load) -> Result<Option<Mail>, Overflow> {
        let mut state = self.0.lock();
        if (state.owner == 0 || state.owner == owner) && state.queue.is_empty() && state.astray == 0 {
            state.owner = owner;
            state.given += 1;
            return Ok(Some(mail));
        }
        if let Some(bytes) = mail.bytes() {
            load.enter(bytes)?;
        }
        state.queue.push_back(mail.detached());
        Ok(None)
    }

    /// How much waits.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    /// The turn `owner` comes to a mail it was given. It gets it back unless the mailbox has been
    /// parked meanwhile, and who came after is still at work.
    pub(crate) fn begin(&self, owner: Owner, mail: Mail, load: &Load) -> Option<Mail> {
        let mut state = self.0.lock();
        if state.owner == owner {
            return Some(mail);
        }
        if state.owner == NOBODY_YET {
            state.owner = owner;
            state.given = std::mem::take(&mut state.astray);
            return Some(mail);
        }
        let at = state.returned;
        mail.bytes().into_iter().for_each(|bytes| load.add(bytes));
        state.queue.insert(at, mail.detached());
        state.returned += 1;
        state.astray -= 1;
        None
    }

    /// The owner is done with one mail, and may get another.
    pub(crate) fn done(&self, load: &Load) -> Next {
        let mut state = self.0.lock();
        state.given -= 1;
        if state.given > 0 {
            return Next::Nothing;
        }
        if state.astray > 0 && state.returned == 0 {
            state.owner = NOBODY_YET;
            return Next::Nothing;
        }
        if let Some(mail) = state.pop(load) {
            state.given = 1;
            return Next::Mail(mail);
        }
        state.owner = 0;
        if state.leaves() { Next::Leave } else { Next::Nothing }
    }

    /// Something is under way for the socket that its owner does not wait for. Gives how much waits
    /// now.
    pub(crate) fn enter(&self) -> usize {
        let mut state = self.0.lock();
        state.guests += 1;
        state.waiting()
    }

    /// It is done. True if the socket is to go.
    #[must_use]
    pub(crate) fn exit(&self) -> bool {
        let mut state = self.0.lock();
        state.guests -= 1;
        state.leaves()
    }

    /// The socket is to go: true if it can at once. Else [`done`](Self::done) or
    /// [`exit`](Self::exit) says so, once.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.leaving = true;
        state.leaves()
    }

    /// Nobody will come for what is in the queue.
    pub(crate) fn give_up(&self, load: &Load) {
        let queue = std::mem::take(&mut self.0.lock().queue);
        queue.iter().filter_map(Mail::bytes).for_each(|bytes| load.leave(bytes));
    }

    /// A future takes over from the turn that is at work.
    pub(crate) fn park(&self, future: Owner) {
        let mut state = self.0.lock();
        state.owner = future;
        state.astray += state.given - 1;
        state.given = 1;
    }

    /// A turn takes over from the future.
    pub(crate) fn resume(&self, turn: Owner) {
        self.0.lock().owner = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::turn::load::Limits;
    use std::sync::Arc;

    const LIMITS: Limits = Limits {
        max_events: 4096,
        max_bytes: 1 << 20,
    };

    fn load() -> Arc<Load> {
        Load::of(LIMITS)
    }

    fn event(name: &'static str) -> Mail {
        Mail::Event {
            name: ByteString::from_static(name),
            args: Args::default(),
            ack: None,
        }
    }

    fn next(mailbox: &Mailbox, load: &Load) -> Option<String> {
        match mailbox.done(load) {
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
        let (mailbox, load) = (Mailbox::default(), load());
        for round in ["a", "b", "c"] {
            assert_eq!(name(mailbox.admit(7, event(round), &load).unwrap().unwrap()), round);
        }
        assert_eq!(next(&mailbox, &load), None);
        assert_eq!(next(&mailbox, &load), None);
        assert_eq!(next(&mailbox, &load), None);
        assert!(mailbox.admit(8, event("d"), &load).unwrap().is_some());
    }

    #[test]
    fn another_turns_mail_waits_for_the_first() {
        let (mailbox, load) = (Mailbox::default(), load());
        assert!(mailbox.admit(1, event("a"), &load).unwrap().is_some());
        assert!(mailbox.admit(2, event("b"), &load).unwrap().is_none());
        // Behind what waits, even for the owner.
        assert!(mailbox.admit(1, event("c"), &load).unwrap().is_none());
        assert_eq!(next(&mailbox, &load).unwrap(), "b");
        assert_eq!(next(&mailbox, &load).unwrap(), "c");
        assert_eq!(next(&mailbox, &load), None);
        assert!(mailbox.admit(2, event("d"), &load).unwrap().is_some());
    }

    #[test]
    fn what_was_given_before_a_park_comes_before_what_arrived_after() {
        let (mailbox, load) = (Mailbox::default(), load());
        mailbox.open(1);
        let given = ["a", "b"].map(|n| mailbox.admit(1, event(n), &load).unwrap().unwrap());
        mailbox.park(99);
        assert!(mailbox.admit(2, event("c"), &load).unwrap().is_none());
        for mail in given {
            assert!(mailbox.begin(1, mail, &load).is_none());
        }
        mailbox.resume(3);
        for expected in ["a", "b", "c"] {
            assert_eq!(next(&mailbox, &load).unwrap(), expected);
        }
        assert_eq!(next(&mailbox, &load), None);
    }

    /// Something is under way, as a guest of the socket is.
    fn enter(mailbox: &Mailbox, load: &Load, bytes: usize) {
        mailbox.enter();
        load.enter(bytes).unwrap();
    }

    fn exit(mailbox: &Mailbox, load: &Load, bytes: usize) -> bool {
        load.leave(bytes);
        mailbox.exit()
    }

    #[test]
    fn a_future_that_ends_before_its_turn_goes_on_leaves_the_rest_to_it() {
        let (mailbox, load) = (Mailbox::default(), load());
        mailbox.open(1);
        assert_eq!(next(&mailbox, &load), None);
        let given = ["a", "b", "c"].map(|n| mailbox.admit(1, event(n), &load).unwrap().unwrap());
        let [a, b, c] = given;
        assert!(mailbox.begin(1, a, &load).is_some());
        mailbox.park(99);
        // Another thread has it, and is done before the turn comes to its second mail.
        mailbox.resume(2);
        assert!(
            mailbox.admit(2, event("d"), &load).unwrap().is_none(),
            "behind the others"
        );
        assert_eq!(next(&mailbox, &load), None);
        assert!(mailbox.admit(3, event("e"), &load).unwrap().is_none());
        assert_eq!(name(mailbox.begin(1, b, &load).unwrap()), "b");
        assert_eq!(next(&mailbox, &load), None);
        assert_eq!(name(mailbox.begin(1, c, &load).unwrap()), "c");
        assert_eq!(next(&mailbox, &load).unwrap(), "d");
        assert_eq!(next(&mailbox, &load).unwrap(), "e");
        assert_eq!(next(&mailbox, &load), None);
        assert!(mailbox.admit(4, event("f"), &load).unwrap().is_some());
        assert_eq!(load.waiting(), (0, 0));
    }

    #[test]
    fn events_are_bounded_by_number_together_with_what_is_under_way() {
        let (mailbox, load) = (
            Mailbox::default(),
            Load::of(Limits {
                max_events: 5,
                ..LIMITS
            }),
        );
        mailbox.open(1);
        for _ in 0..3 {
            assert!(mailbox.admit(2, event("x"), &load).unwrap().is_none());
        }
        for _ in 0..2 {
            enter(&mailbox, &load, 0);
        }
        assert_eq!((mailbox.waiting(), load.has_room()), (5, false));
        assert_eq!(mailbox.admit(2, event("x"), &load).unwrap_err(), Overflow);
        let gone = Mail::Disconnect {
            reason: Reason::ForcedClose,
            connected: true,
            rooms: Vec::new(),
        };
        assert!(mailbox.admit(2, gone, &load).unwrap().is_none(), "the end is no event");
        assert_eq!(load.enter(0), Err(Overflow));
        for _ in 0..2 {
            assert!(!exit(&mailbox, &load, 0));
        }
        assert_eq!(next(&mailbox, &load).unwrap(), "x");
        assert!(
            mailbox.admit(2, event("x"), &load).unwrap().is_none(),
            "there is room again"
        );
        while next(&mailbox, &load).is_some() {}
        assert_eq!(load.waiting(), (0, 0));
    }

    #[test]
    fn events_are_bounded_by_their_bytes() {
        let (mailbox, load) = (
            Mailbox::default(),
            Load::of(Limits {
                max_bytes: 10,
                ..LIMITS
            }),
        );
        mailbox.open(1);
        assert!(
            mailbox
                .admit(2, event("the first may be as large as it wants"), &load)
                .unwrap()
                .is_none()
        );
        assert_eq!(mailbox.admit(2, event(""), &load).unwrap_err(), Overflow);
        assert!(next(&mailbox, &load).is_some());
        enter(&mailbox, &load, 4);
        let with_attachments = Mail::Event {
            name: "n".into(),
            args: Args {
                json: "12".into(),
                attachments: vec![Bytes::from_static(b"345")],
                ..Default::default()
            },
            ack: None,
        };
        assert!(
            mailbox.admit(2, with_attachments, &load).unwrap().is_none(),
            "ten bytes together"
        );
        assert_eq!(mailbox.admit(2, event("x"), &load).unwrap_err(), Overflow);
        assert!(!exit(&mailbox, &load, 4));
        assert!(mailbox.admit(2, event("four"), &load).unwrap().is_none());
        mailbox.give_up(&load);
        assert_eq!((mailbox.waiting(), load.waiting()), (0, (0, 0)));
    }

    #[test]
    fn what_waits_keeps_no_buffer_that_it_was_read_into() {
        let (mailbox, load) = (Mailbox::default(), load());
        mailbox.open(1);
        let buffer = Bytes::from(vec![b'7'; 128 * 1024]);
        let part = |range: std::ops::Range<usize>| ByteString::try_from(buffer.slice(range)).unwrap();
        let mail = Mail::Event {
            name: part(0..3),
            args: Args {
                json: part(4..5),
                attachments: vec![buffer.slice(9..99)],
                ..Default::default()
            },
            ack: None,
        };
        assert!(mailbox.admit(2, mail, &load).unwrap().is_none());
        assert!(buffer.is_unique(), "nobody else has a part of it");
        let Next::Mail(Mail::Event { name, args, .. }) = mailbox.done(&load) else {
            panic!("it is there")
        };
        assert_eq!((&*name, &*args.json, args.attachments[0].len()), ("777", "7", 90));
    }

    #[test]
    fn a_socket_leaves_when_nothing_is_under_way() {
        let (mailbox, load) = (Mailbox::default(), load());
        assert!(mailbox.leave(), "nothing is");
        mailbox.open(1);
        assert!(!mailbox.leave());
        enter(&mailbox, &load, 0);
        assert!(mailbox.admit(2, event("a"), &load).unwrap().is_none());
        assert_eq!(next(&mailbox, &load).unwrap(), "a");
        assert_eq!(next(&mailbox, &load), None, "there is a guest");
        assert!(exit(&mailbox, &load, 0));
        // It has been said.
        enter(&mailbox, &load, 0);
        assert!(!exit(&mailbox, &load, 0));

        mailbox.open(3);
        assert!(!mailbox.leave());
        assert_eq!(next(&mailbox, &load).unwrap(), "leave");
    }
}
