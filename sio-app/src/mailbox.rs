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

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::server::Reason;
use sio_proto::socket::Args;

use crate::lock::Mutex;

/// What is larger keeps the buffer that it was read into: it is most of it.
const MAX_COPIED: usize = 64 * 1024;

/// How much may wait for one socket. More means that its handlers do not keep up, and costs the session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_events: usize,
    pub(crate) max_bytes: usize,
}

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

impl Mail {
    /// What its parts take in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Event { name, args, .. } => name.len() + args_bytes(args),
            Self::Disconnect { .. } => 0,
        }
    }

    /// The same in memory of its own, for one that stays: it is a small part of what its thread reads into, which others need.
    fn detached(self) -> Self {
        match self {
            Self::Event { name, args, ack } if name.len() + args_bytes(&args) <= MAX_COPIED => Self::Event {
                name: String::from(&*name).into(),
                args: Args {
                    json: String::from(&*args.json).into(),
                    attachments: args
                        .attachments
                        .iter()
                        .map(|bytes| Bytes::copy_from_slice(bytes))
                        .collect(),
                },
                ack,
            },
            other => other,
        }
    }
}

/// What arguments take in memory.
pub(crate) fn args_bytes(args: &Args) -> usize {
    args.json.len() + args.attachments.iter().map(Bytes::len).sum::<usize>()
}

/// Too much waits.
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
    /// What the mails in the queue and the guests take in memory.
    bytes: usize,
    /// How many at the front of the queue were given out and came back.
    returned: usize,
    /// What is under way for the socket beside its owner: handlers that wait, acknowledgements they have to send.
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

    /// Whether so much of one more thing may wait. The first may be as large as it wants.
    fn has_room(&self, bytes: usize, limits: Limits) -> bool {
        let waiting = self.waiting();
        waiting < limits.max_events && (waiting == 0 || self.bytes + bytes <= limits.max_bytes)
    }

    /// Takes the front of the queue.
    fn pop(&mut self) -> Option<Mail> {
        let mail = self.queue.pop_front()?;
        self.bytes -= mail.bytes();
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
    pub(crate) fn admit(&self, owner: Owner, mail: Mail, limits: Limits) -> Result<Option<Mail>, Overflow> {
        let mut state = self.0.lock();
        if (state.owner == 0 || state.owner == owner) && state.queue.is_empty() {
            state.owner = owner;
            state.given += 1;
            return Ok(Some(mail));
        }
        let bytes = mail.bytes();
        if matches!(mail, Mail::Event { .. }) && !state.has_room(bytes, limits) {
            return Err(Overflow);
        }
        state.bytes += bytes;
        state.queue.push_back(mail.detached());
        Ok(None)
    }

    /// How much waits.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    /// The turn `owner` comes to a mail it was given. It gets it back unless the mailbox has been parked meanwhile.
    pub(crate) fn begin(&self, owner: Owner, mail: Mail) -> Option<Mail> {
        let mut state = self.0.lock();
        if state.owner == owner {
            return Some(mail);
        }
        let at = state.returned;
        state.bytes += mail.bytes();
        state.queue.insert(at, mail.detached());
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
        if let Some(mail) = state.pop() {
            state.given = 1;
            return Next::Mail(mail);
        }
        state.owner = 0;
        if state.leaves() { Next::Leave } else { Next::Nothing }
    }

    /// Something of this size is under way for the socket that its owner does not wait for. Gives how much waits now.
    ///
    /// # Errors
    /// [`Overflow`] if that is too much. It is counted all the same, because it is there.
    pub(crate) fn enter(&self, bytes: usize, limits: Limits) -> Result<usize, Overflow> {
        let mut state = self.0.lock();
        let room = state.has_room(bytes, limits);
        state.guests += 1;
        state.bytes += bytes;
        if room { Ok(state.waiting()) } else { Err(Overflow) }
    }

    /// It is done. True if the socket is to go.
    #[must_use]
    pub(crate) fn exit(&self, bytes: usize) -> bool {
        let mut state = self.0.lock();
        state.guests -= 1;
        state.bytes -= bytes;
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

    const LIMITS: Limits = Limits {
        max_events: 4096,
        max_bytes: 1 << 20,
    };

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
            assert_eq!(name(mailbox.admit(7, event(round), LIMITS).unwrap().unwrap()), round);
        }
        assert_eq!(next(&mailbox), None);
        assert_eq!(next(&mailbox), None);
        assert_eq!(next(&mailbox), None);
        assert!(mailbox.admit(8, event("d"), LIMITS).unwrap().is_some());
    }

    #[test]
    fn another_turns_mail_waits_for_the_first() {
        let mailbox = Mailbox::default();
        assert!(mailbox.admit(1, event("a"), LIMITS).unwrap().is_some());
        assert!(mailbox.admit(2, event("b"), LIMITS).unwrap().is_none());
        // Behind what waits, even for the owner.
        assert!(mailbox.admit(1, event("c"), LIMITS).unwrap().is_none());
        assert_eq!(next(&mailbox).unwrap(), "b");
        assert_eq!(next(&mailbox).unwrap(), "c");
        assert_eq!(next(&mailbox), None);
        assert!(mailbox.admit(2, event("d"), LIMITS).unwrap().is_some());
    }

    #[test]
    fn what_was_given_before_a_park_comes_before_what_arrived_after() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        let given = ["a", "b"].map(|n| mailbox.admit(1, event(n), LIMITS).unwrap().unwrap());
        mailbox.park(99);
        assert!(mailbox.admit(2, event("c"), LIMITS).unwrap().is_none());
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
    fn events_are_bounded_by_number_together_with_what_is_under_way() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        let few = Limits {
            max_events: 5,
            ..LIMITS
        };
        for _ in 0..3 {
            assert!(mailbox.admit(2, event("x"), few).unwrap().is_none());
        }
        for _ in 0..2 {
            mailbox.enter(0, few).unwrap();
        }
        assert_eq!(mailbox.waiting(), 5);
        assert_eq!(mailbox.admit(2, event("x"), few).unwrap_err(), Overflow);
        let gone = Mail::Disconnect {
            reason: Reason::ForcedClose,
            connected: true,
        };
        assert!(mailbox.admit(2, gone, few).unwrap().is_none(), "the end is no event");
        assert_eq!(mailbox.enter(0, few), Err(Overflow));
        for _ in 0..3 {
            let _ = mailbox.exit(0);
        }
        assert_eq!(next(&mailbox).unwrap(), "x");
        assert!(
            mailbox.admit(2, event("x"), few).unwrap().is_none(),
            "there is room again"
        );
    }

    #[test]
    fn events_are_bounded_by_their_bytes() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        let little = Limits {
            max_bytes: 10,
            ..LIMITS
        };
        assert!(
            mailbox
                .admit(2, event("the first may be as large as it wants"), little)
                .unwrap()
                .is_none()
        );
        assert_eq!(mailbox.admit(2, event(""), little).unwrap_err(), Overflow);
        assert!(next(&mailbox).is_some());
        mailbox.enter(4, little).unwrap();
        let with_attachments = Mail::Event {
            name: "n".into(),
            args: Args {
                json: "12".into(),
                attachments: vec![Bytes::from_static(b"345")],
            },
            ack: None,
        };
        assert!(
            mailbox.admit(2, with_attachments, little).unwrap().is_none(),
            "ten bytes together"
        );
        assert_eq!(mailbox.admit(2, event("x"), little).unwrap_err(), Overflow);
        assert!(!mailbox.exit(4));
        assert!(mailbox.admit(2, event("four"), little).unwrap().is_none());
        while next(&mailbox).is_some() {}
        assert_eq!(mailbox.waiting(), 0);
        assert_eq!(mailbox.0.lock().bytes, 0);
    }

    #[test]
    fn what_waits_keeps_no_buffer_that_it_was_read_into() {
        let mailbox = Mailbox::default();
        mailbox.open(1);
        let buffer = Bytes::from(vec![b'7'; 128 * 1024]);
        let part = |range: std::ops::Range<usize>| ByteString::try_from(buffer.slice(range)).unwrap();
        let mail = Mail::Event {
            name: part(0..3),
            args: Args {
                json: part(4..5),
                attachments: vec![buffer.slice(9..99)],
            },
            ack: None,
        };
        assert!(mailbox.admit(2, mail, LIMITS).unwrap().is_none());
        assert!(buffer.is_unique(), "nobody else has a part of it");
        let Next::Mail(Mail::Event { name, args, .. }) = mailbox.done() else {
            panic!("it is there")
        };
        assert_eq!((&*name, &*args.json, args.attachments[0].len()), ("777", "7", 90));
    }

    #[test]
    fn a_socket_leaves_when_nothing_is_under_way() {
        let mailbox = Mailbox::default();
        assert!(mailbox.leave(), "nothing is");
        mailbox.open(1);
        assert!(!mailbox.leave());
        mailbox.enter(0, LIMITS).unwrap();
        assert!(mailbox.admit(2, event("a"), LIMITS).unwrap().is_none());
        assert_eq!(next(&mailbox).unwrap(), "a");
        assert_eq!(next(&mailbox), None, "there is a guest");
        assert!(mailbox.exit(0));
        // It has been said.
        mailbox.enter(0, LIMITS).unwrap();
        assert!(!mailbox.exit(0));

        mailbox.open(3);
        assert!(!mailbox.leave());
        assert_eq!(next(&mailbox).unwrap(), "leave");
    }
}
