//! Messages: they get their numbers, are kept in the logs, and go when they are too old or too
//! many.

use alloc::vec::Vec;

use super::audience::Recipients;
use super::change::Change;
use super::log::{Entry, Log, LogLimits};
use super::outcome::Expired;
use super::record::Own;
use super::{Namespace, RecordKey, Recovery, saving};
use crate::Time;
use crate::arena::Arena;
use crate::id::PlaceSlot;
use crate::socket::Offset;

/// Messages.
impl<M, D> Recovery<M, D> {
    pub(super) const fn log_limits(&self) -> LogLimits {
        LogLimits {
            bytes: self.config.max_log_bytes,
            packets: self.config.max_log_packets,
            age: self.config.window,
        }
    }

    /// The number of the last message, for those that are not kept and yet end in a text which
    /// clients would take for an offset: volatile ones.
    #[must_use]
    pub fn current(&self, namespace: &str) -> Option<Offset> {
        let place = self.namespaces.get(namespace)?;
        let sequence = place.log.last();
        let epoch = match place.entry == sequence && sequence > 0 {
            true => Offset::STREAM,
            false => self.epoch,
        };
        Some(Offset { epoch, sequence })
    }

    /// Takes the number for the next message of a namespace, which clients see behind the
    /// arguments. If anybody could ask for the message, it is kept: `make` copies it, into the
    /// memory that it is given or elsewhere, and returns it with the bytes that it takes.
    /// `give_back` gets the messages that go, and gives their memory back for the next ones.
    /// Returns the number, and `None` where nobody may come back.
    #[inline]
    pub fn post(
        &mut self,
        now: Time,
        namespace: &str,
        to: Recipients,
        make: impl FnOnce(&mut Arena) -> Option<(M, usize)>,
        mut give_back: impl FnMut(M, &mut Arena),
    ) -> Option<Offset> {
        let (sequence, slot) = match to {
            Recipients::Record(RecordKey { slot, generation }) => match self.records.find(slot, generation) {
                Some(record) => {
                    let place = self.namespaces.at_mut(record.place)?;
                    let (sequence, before) = (place.log.next(), place.log.bytes());
                    place.arena.expect(before);
                    if let Some((message, bytes)) = make(&mut place.arena) {
                        let Own {
                            audience,
                            bytes: names,
                            trail,
                        } = &record.own;
                        let Namespace { log, arena, .. } = place;
                        let gone = |message| give_back(message, arena);
                        log.keep_for(now, *trail, (audience, *names), (bytes, message), gone);
                    }
                    self.log_bytes = self.log_bytes - before + place.log.bytes();
                    (sequence, record.place)
                }
                // The message has been sent, so its number is taken.
                None => {
                    let slot = self.namespaces.find(namespace)?;
                    (self.namespaces.at_mut(slot)?.log.next(), slot)
                }
            },
            Recipients::Audience(audience) => {
                let slot = self.namespaces.find(namespace)?;
                let place = self.namespaces.at_mut(slot)?;
                let (sequence, before) = (place.log.next(), place.log.bytes());
                let is_wanted = place.log.is_wanted(&audience);
                place.arena.expect(before);
                if let Some((message, bytes)) = is_wanted.then(|| make(&mut place.arena)).flatten() {
                    let Namespace { log, arena, .. } = place;
                    log.keep(now, audience, bytes, message, |message| give_back(message, arena));
                }
                self.log_bytes = self.log_bytes - before + place.log.bytes();
                (sequence, slot)
            }
        };
        if self.changes.is_some() {
            self.note_posted(slot);
        }
        if self.log_bytes > self.config.max_total_log_bytes {
            self.shrink();
        }
        Some(Offset {
            epoch: self.epoch,
            sequence,
        })
    }

    /// Notes for a store what a message has changed beside itself.
    fn note_posted(&mut self, slot: PlaceSlot) {
        let (Some(changes), Some(place)) = (&mut self.changes, self.namespaces.at_mut(slot)) else {
            return;
        };
        // A message that is kept is written by the caller, with its number.
        if place.log.newest() != place.log.last() {
            let (namespace, last) = (place.number, place.log.last());
            changes.push(Change::Counted { namespace, last });
        }
        saving::note_losses(Some(changes), place);
    }

    /// Makes room for a sixteenth more than there has to be, so that not every message looks
    /// through the namespaces.
    pub(super) fn shrink(&mut self) {
        let max = self.config.max_total_log_bytes;
        let goal = max - max / 16;
        while self.log_bytes > goal {
            let largest = self.namespaces.largest();
            let Some(place) = largest.filter(|place| !place.log.is_empty()) else {
                return;
            };
            let before = place.log.bytes();
            let excess = self.log_bytes - goal;
            place.log.give_back(excess.min(before / 2 + 1));
            self.log_bytes = self.log_bytes - before + place.log.bytes();
            saving::note_losses(self.changes.as_mut(), place);
        }
    }

    /// The newest message that is kept of a namespace, with the number of the namespace in a store.
    #[must_use]
    pub fn newest(&self, namespace: &str) -> Option<(u32, &Entry<M>)> {
        let place = self.namespaces.get(namespace)?;
        Some((place.number, place.log.entries().next_back()?))
    }

    /// The log of a namespace, if somebody in it may come back.
    #[must_use]
    pub fn log(&self, namespace: &str) -> Option<&Log<M>> {
        self.namespaces.get(namespace).map(|place| &place.log)
    }

    /// When [`Recovery::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let logs = self.namespaces.iter().filter_map(|(_, place)| place.log.next_timeout());
        logs.chain(self.away.next_timeout()).chain(self.brought_until).min()
    }

    /// Ends the records that nobody has come back to, and throws away messages that are too old.
    pub fn handle_timeout(&mut self, now: Time, expired: &mut Vec<Expired<D>>) {
        while let Some(slot) = self.away.due(now) {
            expired.extend(self.remove(slot));
        }
        self.namespaces.retain(|place| {
            let before = place.log.bytes();
            match place.records {
                // Messages that a store has kept, for records that are gone.
                0 => place.log.clear(),
                _ => place.log.prune(now),
            }
            self.log_bytes = self.log_bytes - before + place.log.bytes();
            saving::note_losses(self.changes.as_mut(), place);
            if place.log.is_empty() {
                place.arena = Arena::default();
            }
            if let Some(changes) = self.changes.as_mut().filter(|_| place.records == 0) {
                changes.push(Change::NamespaceGone {
                    namespace: place.number,
                });
            }
            self.highest = match place.records {
                0 => self.highest.max(place.log.last()),
                _ => self.highest,
            };
            place.records > 0
        });
        self.drop_old_brought(now);
    }
}
