//! Messages of namespaces with recovery: they take their numbers, and are kept.

use std::sync::Arc;

use sio_proto::recovery::{Recipients, RecordKey};
use sio_proto::server::{Kept, Message};
use sio_proto::socket::Offset;
use sio_proto::{Arena, Time};

use super::{Last, State};
use crate::turn::entry_place;
use crate::turn::last_number::LastNumber;
use crate::turn::rows::Noted;
use crate::turn::socket::SocketCell;

/// Messages.
impl State {
    pub(in crate::turn) fn last(&self, namespace: &str) -> Option<Last> {
        let last = self.machine.current(namespace)?;
        let last = Last::in_epoch(last, self.machine.epoch());
        Some(match entry_place::current() {
            Some(next) => last.before(next),
            None => last,
        })
    }

    /// Gives the next number to a message that is for one socket that is about to be let in.
    pub(in crate::turn) fn number(&self, message: &mut Message) {
        if let Some(last) = self.last(message.namespace()) {
            message.set_offset(last.offset_of(message));
        }
    }

    /// Takes the number of a message that has been sent or is about to be sent under this lock, and
    /// keeps the message for those who may ask for it. Nothing happens for a message without a
    /// number of its own.
    pub(in crate::turn) fn keep(&mut self, now: Time, message: &Message, to: impl FnOnce() -> Recipients) {
        if let Some(posted) = self.post(now, message, to) {
            self.lasts.set(message.namespace(), posted);
        }
    }

    /// Does what [`State::keep`] does for a message to the socket of a record, and looks for no
    /// name. `last` is the last number of the namespace.
    #[inline]
    pub(in crate::turn) fn keep_for(&mut self, now: Time, message: &Message, (record, last): (RecordKey, &LastNumber)) {
        if let Some(posted) = self.post(now, message, || Recipients::Record(record)) {
            last.set(posted);
        }
    }

    /// Does what [`State::keep_for`] does for an event that has been written in one go, with this
    /// offset.
    #[inline]
    pub(in crate::turn) fn keep_written_for(
        &mut self,
        now: Time,
        namespace: &str,
        offset: Offset,
        kept: impl FnOnce(&mut Arena) -> (Kept, usize),
        (record, last): (RecordKey, &LastNumber),
    ) {
        let kept = |arena: &mut Arena| Some(kept(arena));
        if let Some(posted) = self.post_as(now, namespace, offset, Recipients::Record(record), kept) {
            last.set(posted);
        }
    }

    #[inline]
    fn post(&mut self, now: Time, message: &Message, to: impl FnOnce() -> Recipients) -> Option<Offset> {
        let shown = message.shown_offset().filter(|_| !message.is_volatile())?;
        self.post_as(now, message.namespace(), shown, to(), |arena| message.kept(arena))
    }

    /// Takes the number of a message, which clients see in this offset, and keeps it.
    #[inline]
    fn post_as(
        &mut self,
        now: Time,
        namespace: &str,
        shown: Offset,
        to: Recipients,
        make: impl FnOnce(&mut Arena) -> Option<(Kept, usize)>,
    ) -> Option<Offset> {
        let entry = entry_place::current();
        if let Some(entry) = entry {
            self.machine.advance(namespace, entry);
        }
        let mut posted = self.machine.post(now, namespace, to, make, Kept::give_back)?;
        if let Some(entry) = entry {
            self.machine.advanced(namespace, entry);
            posted = self.machine.current(namespace)?;
        }
        debug_assert!(
            entry.is_some() || shown == posted,
            "the number is that which clients see"
        );
        if self.is_stored {
            self.note_message(namespace, posted.sequence);
        }
        Some(posted)
    }

    /// Notes a message for the store, if it is kept.
    fn note_message(&mut self, namespace: &str, sequence: u64) {
        self.take_changes();
        let newest = self.machine.newest(namespace);
        if let Some((namespace, entry)) = newest.filter(|(_, entry)| entry.sequence == sequence) {
            self.noted.push(Noted::message(namespace, entry));
        }
    }

    /// Notes for the store what else belongs to the socket of a record.
    pub(in crate::turn) fn note_socket(&mut self, key: RecordKey, socket: &SocketCell) {
        if self.is_stored
            && let Some(record) = self.machine.record_number(key)
        {
            self.note(Noted::socket(record, socket));
        }
    }

    /// Notes something for the store, behind what has changed before.
    pub(in crate::turn) fn note(&mut self, noted: Noted) {
        self.take_changes();
        self.noted.push(noted);
    }

    /// Notes what has changed in the machine.
    pub(super) fn take_changes(&mut self) {
        self.noted.extend(self.machine.take_changes().map(Noted::Change));
    }

    /// Returns the socket that a message for a gone socket goes to: the socket with which its
    /// client has come back. If the client is away, the gone socket itself is returned, and the
    /// message has to be kept. `None` if the client does not come back.
    pub(in crate::turn) fn heir(&self, key: RecordKey) -> Option<Arc<SocketCell>> {
        let socket = self.machine.data(key)?;
        (!socket.is_final()).then(|| Arc::clone(socket))
    }
}
