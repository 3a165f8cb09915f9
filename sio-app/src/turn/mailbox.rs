//! The mailbox of a socket keeps order: the handlers of one socket start in the order in which its
//! events arrived, whichever threads have read them. Raw sessions have one, too.
//!
//! Deliveries are in order while their shard is locked. So each delivery is assigned under this
//! lock. It goes to the turn that has the lock, if this turn or nobody works for the socket.
//! Otherwise it goes to the mailbox, and the present owner takes it from there when it has finished
//! its mail.
//!
//! ```text
//!   FREE ──admit──► owned by a turn ──done, queue empty──► FREE
//!                        │   ▲
//!                   park │   │ resume            owned by a future: a middleware, or a handler of a
//!                        ▼   │                   namespace that runs one at a time
//!                   owned by a future
//! ```
//!
//! In the usual case nothing is queued and nothing is allocated.

use std::collections::VecDeque;

use bytestring::ByteString;
use sio_proto::server::{Breach, Reason};
use sio_proto::socket::Args;

use crate::args::{detached, detached_text};
use crate::lock::Mutex;
use crate::turn::load::{Load, Overflow};

/// The deliveries for one socket, which are handled in order.
#[derive(Debug)]
pub(crate) enum Mail {
    Event {
        name: ByteString,
        args: Args,
        ack: Option<u64>,
    },
    Disconnect {
        reason: Reason,
        breach: Option<Breach>,
        connected: bool,
        /// The rooms that the socket was in.
        rooms: Vec<ByteString>,
    },
}

/// What a mailbox holds.
pub(crate) trait Letter {
    /// Returns how much memory its parts take. Returns `None` for what comes only once, as the
    /// disconnection, and counts for nobody.
    fn bytes(&self) -> Option<usize>;

    /// Copies a letter that waits into memory of its own. It is a small part of its thread's read
    /// buffer, which others need.
    fn detached(self) -> Self;
}

impl Letter for Mail {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Event { name, args, .. } => Some(name.len() + args_bytes(args)),
            Self::Disconnect { .. } => None,
        }
    }

    fn detached(self) -> Self {
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

/// Returns how much memory arguments take.
pub(crate) fn args_bytes(args: &Args) -> usize {
    args.bytes()
}

/// The turn or future that works for a socket. The number is unique among turns and futures.
pub(crate) type Owner = u64;

/// Nobody works for the socket. The turn that has the next mail becomes the owner.
const NOBODY_YET: Owner = Owner::MAX;

pub(crate) struct Mailbox<M = Mail>(Mutex<State<M>>);

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self(Mutex::new(State {
            owner: 0,
            mails: None,
            given: 0,
            guests: Guests(0),
        }))
    }
}

struct State<M> {
    /// Zero if nobody works for the socket.
    owner: Owner,
    /// The mails that wait. Most sockets never have any.
    mails: Option<Box<Mails<M>>>,
    /// How many mails the owner has and has not finished.
    given: u32,
    guests: Guests,
}

/// How many things are under way for the socket, apart from its owner: handlers that wait, and
/// acknowledgements that they have to send. The highest bit says whether the socket has to leave as
/// soon as nothing is under way.
#[derive(Clone, Copy)]
struct Guests(u32);

impl Guests {
    const LEAVING: u32 = 1 << 31;

    const fn count(self) -> u32 {
        self.0 & !Self::LEAVING
    }

    const fn is_leaving(self) -> bool {
        self.0 & Self::LEAVING != 0
    }
}

// Every socket has one.
const _: () = assert!(size_of::<Mailbox>() <= if cfg!(debug_assertions) { 40 } else { 32 });

/// The mails that wait for a socket.
struct Mails<M> {
    queue: VecDeque<M>,
    /// How many mails at the front of the queue had been given out and were returned.
    returned: usize,
    /// How many mails are with a turn that is not the owner any more and has not begun them. They
    /// come before everything that has arrived since.
    astray: u32,
}

impl<M> Default for Mails<M> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            returned: 0,
            astray: 0,
        }
    }
}

/// What follows after a mail.
#[derive(Debug)]
pub(crate) enum Next<M = Mail> {
    Mail(M),
    Nothing,
    /// Nothing, and the socket has to leave.
    Leave,
}

impl<M: Letter> State<M> {
    /// Returns how many mails wait.
    fn len(&self) -> usize {
        self.mails.as_ref().map_or(0, |mails| mails.queue.len())
    }

    fn waiting(&self) -> usize {
        self.len() + self.guests.count() as usize
    }

    /// Whether no mail waits, or will be returned.
    #[inline]
    fn has_no_mail(&self) -> bool {
        let is_empty = |mails: &Mails<M>| mails.queue.is_empty() && mails.astray == 0;
        self.mails.as_ref().is_none_or(|mails| is_empty(mails))
    }

    /// Whether the turn `owner` handles a mail that arrives with it: nobody else works for the
    /// socket, and nothing waits.
    fn is_free_for(&self, owner: Owner) -> bool {
        (self.owner == 0 || self.owner == owner) && self.has_no_mail()
    }

    /// Takes the first mail of the queue.
    fn pop(&mut self, load: Load<'_>) -> Option<M> {
        let mails = self.mails.as_mut()?;
        let mail = mails.queue.pop_front()?;
        mails.returned = mails.returned.saturating_sub(1);
        if mails.queue.is_empty() && mails.queue.capacity() > 32 && mails.astray == 0 {
            self.mails = None;
        }
        if let Some(bytes) = mail.bytes() {
            load.leave(bytes);
        }
        Some(mail)
    }

    /// Whether the socket has to leave now. This returns true only once.
    fn leaves(&mut self) -> bool {
        let leaves = self.owner == 0 && self.guests.is_leaving() && self.guests.count() == 0;
        if leaves {
            self.guests = Guests(0);
        }
        leaves
    }
}

impl<M: Letter> Mailbox<M> {
    /// Opens the mailbox of a new socket. Its owner works on the connection.
    pub(crate) fn open(&self, owner: Owner) {
        let mut state = self.0.lock();
        state.owner = owner;
        state.given = 1;
    }

    /// Takes a mail that has arrived with the turn `owner`. Returns the mail if this turn has to
    /// work on it.
    ///
    /// # Errors
    /// [`Overflow`] if an event would have to wait, and too much waits already.
    pub(crate) fn admit(&self, owner: Owner, mail: M, load: Load<'_>) -> Result<Option<M>, Overflow> {
        let mut state = self.0.lock();
        if state.is_free_for(owner) {
            state.owner = owner;
            state.given += 1;
            return Ok(Some(mail));
        }
        if let Some(bytes) = mail.bytes() {
            load.enter(bytes)?;
        }
        state.mails.get_or_insert_default().queue.push_back(mail.detached());
        Ok(None)
    }

    /// Takes several mails that have arrived with the turn `owner`, as [`admit`](Self::admit) does,
    /// if this turn has to work on them. Otherwise this returns false, and nothing has happened.
    pub(crate) fn admit_all(&self, owner: Owner, count: u32) -> bool {
        let mut state = self.0.lock();
        let admits = state.is_free_for(owner) && count > 0;
        if admits {
            state.owner = owner;
            state.given += count;
        }
        admits
    }

    /// Whether this turn works for the socket.
    pub(crate) fn is_owned_by(&self, owner: Owner) -> bool {
        self.0.lock().owner == owner
    }

    /// Called when the turn `owner` has finished a mail, and has further ones. Returns whether it
    /// begins the next one now. Otherwise nothing has happened: the mail is [`done`](Self::done),
    /// and the next one [begins](Self::begin) after it.
    pub(crate) fn goes_on(&self, owner: Owner) -> bool {
        let mut state = self.0.lock();
        let goes_on = state.owner == owner && state.given > 1;
        if goes_on {
            state.given -= 1;
        }
        goes_on
    }

    /// Notes that the turn `owner` has finished this number of mails since the mailbox was told
    /// last, and that the last of those that it was given is not among them. The turn has been the
    /// owner all the time.
    #[inline]
    pub(crate) fn note_finished(&self, owner: Owner, count: u32) {
        if count > 0 {
            let mut state = self.0.lock();
            debug_assert_eq!(state.owner, owner, "nobody takes a mailbox from a turn");
            state.given -= count;
        }
    }

    /// Whether nobody works for the socket, and nothing waits for somebody.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.0.lock();
        state.owner == 0 && state.has_no_mail()
    }

    /// Returns how many things wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    /// Called when the turn `owner` begins a mail that it was given. Returns the mail, unless a
    /// future has taken over the mailbox meanwhile and the new owner still works.
    pub(crate) fn begin(&self, owner: Owner, mail: M, load: Load<'_>) -> Option<M> {
        let mut state = self.0.lock();
        if state.owner == owner {
            return Some(mail);
        }
        if state.owner == NOBODY_YET {
            state.owner = owner;
            state.given = state
                .mails
                .as_mut()
                .map_or(0, |mails| std::mem::take(&mut mails.astray));
            return Some(mail);
        }
        mail.bytes().into_iter().for_each(|bytes| load.add(bytes));
        let mails = state.mails.get_or_insert_default();
        mails.queue.insert(mails.returned, mail.detached());
        mails.returned += 1;
        mails.astray -= 1;
        None
    }

    /// Called when the owner has finished a mail. Returns what follows.
    pub(crate) fn done(&self, load: Load<'_>) -> Next<M> {
        let mut state = self.0.lock();
        state.given -= 1;
        if state.given > 0 {
            return Next::Nothing;
        }
        let is_next_astray = |mails: &Mails<M>| mails.astray > 0 && mails.returned == 0;
        if state.mails.as_ref().is_some_and(|mails| is_next_astray(mails)) {
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

    /// Notes something under way for which the owner does not wait. Returns how many things wait
    /// now.
    pub(crate) fn enter(&self) -> usize {
        let mut state = self.0.lock();
        state.guests.0 += 1;
        state.waiting()
    }

    /// Notes that something under way is done. Returns true if the socket has to leave.
    #[must_use]
    pub(crate) fn exit(&self) -> bool {
        let mut state = self.0.lock();
        state.guests.0 -= 1;
        state.leaves()
    }

    /// Notes that the socket has to leave. Returns true if it can leave at once. Otherwise
    /// [`done`](Self::done) or [`exit`](Self::exit) says so once, later.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.guests.0 |= Guests::LEAVING;
        state.leaves()
    }

    /// Drops the queue, because nobody will take its mails any more.
    pub(crate) fn give_up(&self, load: Load<'_>) {
        let mails = self.0.lock().mails.take();
        let waiting = mails.iter().flat_map(|mails| &mails.queue);
        waiting.filter_map(M::bytes).for_each(|bytes| load.leave(bytes));
    }

    /// Makes a future the owner, instead of the turn that works.
    pub(crate) fn park(&self, future: Owner) {
        let mut state = self.0.lock();
        state.owner = future;
        let astray = std::mem::replace(&mut state.given, 1) - 1;
        if astray > 0 {
            state.mails.get_or_insert_default().astray += astray;
        }
    }

    /// Makes a turn the owner, instead of the future.
    pub(crate) fn resume(&self, turn: Owner) {
        self.0.lock().owner = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::turn::load::{Limits, Lone};

    const LIMITS: Limits = Limits {
        max_events: 4096,
        max_bytes: 1 << 20,
    };

    fn lone() -> Lone {
        Lone::new(LIMITS)
    }

    fn event(name: &'static str) -> Mail {
        Mail::Event {
            name: ByteString::from_static(name),
            args: Args::default(),
            ack: None,
        }
    }

    fn next(mailbox: &Mailbox, load: Load<'_>) -> Option<String> {
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
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
        for round in ["a", "b", "c"] {
            assert_eq!(name(mailbox.admit(7, event(round), load).unwrap().unwrap()), round);
        }
        assert_eq!(next(&mailbox, load), None);
        assert_eq!(next(&mailbox, load), None);
        assert_eq!(next(&mailbox, load), None);
        assert!(mailbox.admit(8, event("d"), load).unwrap().is_some());
    }

    #[test]
    fn another_turns_mail_waits_for_the_first() {
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
        assert!(mailbox.admit(1, event("a"), load).unwrap().is_some());
        assert!(mailbox.admit(2, event("b"), load).unwrap().is_none());
        // A mail goes behind those that wait, even if it arrives with the owner.
        assert!(mailbox.admit(1, event("c"), load).unwrap().is_none());
        assert_eq!(next(&mailbox, load).unwrap(), "b");
        assert_eq!(next(&mailbox, load).unwrap(), "c");
        assert_eq!(next(&mailbox, load), None);
        assert!(mailbox.admit(2, event("d"), load).unwrap().is_some());
    }

    #[test]
    fn what_was_given_before_a_park_comes_before_what_arrived_after() {
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
        mailbox.open(1);
        let given = ["a", "b"].map(|n| mailbox.admit(1, event(n), load).unwrap().unwrap());
        mailbox.park(99);
        assert!(mailbox.admit(2, event("c"), load).unwrap().is_none());
        for mail in given {
            assert!(mailbox.begin(1, mail, load).is_none());
        }
        mailbox.resume(3);
        for expected in ["a", "b", "c"] {
            assert_eq!(next(&mailbox, load).unwrap(), expected);
        }
        assert_eq!(next(&mailbox, load), None);
    }

    /// Notes something under way, as a guest of the socket does.
    fn enter(mailbox: &Mailbox, load: Load<'_>, bytes: usize) {
        mailbox.enter();
        load.enter(bytes).unwrap();
    }

    fn exit(mailbox: &Mailbox, load: Load<'_>, bytes: usize) -> bool {
        load.leave(bytes);
        mailbox.exit()
    }

    #[test]
    fn a_future_that_ends_before_its_turn_goes_on_leaves_the_rest_to_it() {
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
        mailbox.open(1);
        assert_eq!(next(&mailbox, load), None);
        let given = ["a", "b", "c"].map(|n| mailbox.admit(1, event(n), load).unwrap().unwrap());
        let [a, b, c] = given;
        assert!(mailbox.begin(1, a, load).is_some());
        mailbox.park(99);
        // Another thread resumes the mailbox, and finishes before the turn begins its second mail.
        mailbox.resume(2);
        assert!(
            mailbox.admit(2, event("d"), load).unwrap().is_none(),
            "behind the others"
        );
        assert_eq!(next(&mailbox, load), None);
        assert!(mailbox.admit(3, event("e"), load).unwrap().is_none());
        assert_eq!(name(mailbox.begin(1, b, load).unwrap()), "b");
        assert_eq!(next(&mailbox, load), None);
        assert_eq!(name(mailbox.begin(1, c, load).unwrap()), "c");
        assert_eq!(next(&mailbox, load).unwrap(), "d");
        assert_eq!(next(&mailbox, load).unwrap(), "e");
        assert_eq!(next(&mailbox, load), None);
        assert!(mailbox.admit(4, event("f"), load).unwrap().is_some());
        assert_eq!(load.waiting(), (0, 0));
    }

    #[test]
    fn events_are_bounded_by_number_together_with_what_is_under_way() {
        let (mailbox, lone) = (
            Mailbox::default(),
            Lone::new(Limits {
                max_events: 5,
                ..LIMITS
            }),
        );
        let load = lone.load();
        mailbox.open(1);
        for _ in 0..3 {
            assert!(mailbox.admit(2, event("x"), load).unwrap().is_none());
        }
        for _ in 0..2 {
            enter(&mailbox, load, 0);
        }
        assert_eq!((mailbox.waiting(), load.has_room()), (5, false));
        assert_eq!(mailbox.admit(2, event("x"), load).unwrap_err(), Overflow);
        let gone = Mail::Disconnect {
            reason: Reason::ForcedClose,
            breach: None,
            connected: true,
            rooms: Vec::new(),
        };
        assert!(mailbox.admit(2, gone, load).unwrap().is_none(), "the end is no event");
        assert_eq!(load.enter(0), Err(Overflow));
        for _ in 0..2 {
            assert!(!exit(&mailbox, load, 0));
        }
        assert_eq!(next(&mailbox, load).unwrap(), "x");
        assert!(
            mailbox.admit(2, event("x"), load).unwrap().is_none(),
            "there is room again"
        );
        while next(&mailbox, load).is_some() {}
        assert_eq!(load.waiting(), (0, 0));
    }

    #[test]
    fn events_are_bounded_by_their_bytes() {
        let (mailbox, lone) = (
            Mailbox::default(),
            Lone::new(Limits {
                max_bytes: 10,
                ..LIMITS
            }),
        );
        let load = lone.load();
        mailbox.open(1);
        assert!(
            mailbox
                .admit(2, event("the first may be as large as it wants"), load)
                .unwrap()
                .is_none()
        );
        assert_eq!(mailbox.admit(2, event(""), load).unwrap_err(), Overflow);
        assert!(next(&mailbox, load).is_some());
        enter(&mailbox, load, 4);
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
            mailbox.admit(2, with_attachments, load).unwrap().is_none(),
            "ten bytes together"
        );
        assert_eq!(mailbox.admit(2, event("x"), load).unwrap_err(), Overflow);
        assert!(!exit(&mailbox, load, 4));
        assert!(mailbox.admit(2, event("four"), load).unwrap().is_none());
        mailbox.give_up(load);
        assert_eq!((mailbox.waiting(), load.waiting()), (0, (0, 0)));
    }

    #[test]
    fn what_waits_keeps_no_buffer_that_it_was_read_into() {
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
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
        assert!(mailbox.admit(2, mail, load).unwrap().is_none());
        assert!(buffer.is_unique(), "nobody else has a part of it");
        let Next::Mail(Mail::Event { name, args, .. }) = mailbox.done(load) else {
            panic!("it is there")
        };
        assert_eq!((&*name, &*args.json, args.attachments[0].len()), ("777", "7", 90));
    }

    #[test]
    fn a_socket_leaves_when_nothing_is_under_way() {
        let (mailbox, lone) = (Mailbox::default(), lone());
        let load = lone.load();
        assert!(mailbox.leave(), "nothing is");
        mailbox.open(1);
        assert!(!mailbox.leave());
        enter(&mailbox, load, 0);
        assert!(mailbox.admit(2, event("a"), load).unwrap().is_none());
        assert_eq!(next(&mailbox, load).unwrap(), "a");
        assert_eq!(next(&mailbox, load), None, "there is a guest");
        assert!(exit(&mailbox, load, 0));
        // The mailbox has told the socket to leave once, and does not tell it again.
        enter(&mailbox, load, 0);
        assert!(!exit(&mailbox, load, 0));

        mailbox.open(3);
        assert!(!mailbox.leave());
        assert_eq!(next(&mailbox, load).unwrap(), "leave");
    }
}
